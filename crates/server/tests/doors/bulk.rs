//! Bulk Data: `$export` and `$import` over the doors.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Method, Request, StatusCode};
use holdfast_exchange::{Ask, Caller, Event, Filter, Format, GrantProposal};
use holdfast_server::Peer;
use holdfast_testkit::ADDRESS;
use serde_json::{Value, json};

use crate::{Answer, Doors};

const ASYNC: (&str, &str) = ("prefer", "respond-async");
/// Tries before a test gives up on a job: jobs here take a fraction of a second.
const TRIES: usize = 2_000;

/// Certificate of the first interface of `lakeside-family`, as the kit makes it.
pub(crate) async fn certificate(doors: &Doors, principal: &str) -> [u8; 32] {
    let _known = doors.kit.system(principal).await;
    let community = holdfast_sample::community();
    for (number, organization) in community.organizations.iter().enumerate() {
        for (place, interface) in organization.interfaces.iter().enumerate() {
            if interface.principal.as_str() == principal {
                let mut certificate = [number as u8; 32];
                certificate[0] = place as u8;
                return certificate;
            }
        }
    }
    panic!("no system is called {principal}");
}

/// A system that speaks FHIR with its client certificate.
pub(crate) struct Backend<'a> {
    pub(crate) doors: &'a Doors,
    pub(crate) certificate: [u8; 32],
}

impl Backend<'_> {
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let url = url.strip_prefix("https://hie.example").unwrap_or(url);
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let peer = Peer::new(ADDRESS.parse().unwrap(), Some(self.certificate));
        self.doors.send(request.extension(peer), body).await
    }

    pub(crate) async fn get(&self, url: &str) -> Answer {
        self.send(Method::GET, url, &[], b"").await
    }

    /// Kicks off and gives the status URL.
    async fn export(&self, url: &str) -> String {
        let answer = self.send(Method::GET, url, &[ASYNC], b"").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", text(&answer));
        answer.header("content-location").to_owned()
    }

    /// Polls until the answer is not 202, or says that it waits.
    async fn poll(&self, status: &str) -> Answer {
        for _ in 0..TRIES {
            let answer = self.get(status).await;
            let waits = answer
                .headers
                .get("x-progress")
                .is_some_and(|progress| progress.to_str().unwrap().contains("waits for"));
            if answer.status != StatusCode::ACCEPTED || waits {
                return answer;
            }
            assert!(answer.headers.contains_key("retry-after"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the job does not end");
    }

    /// Every line of the output files, by type.
    async fn lines(&self, manifest: &Value) -> BTreeMap<String, Vec<Value>> {
        let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for file in manifest["output"].as_array().unwrap() {
            let answer = self.get(file["url"].as_str().unwrap()).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header("content-type"), "application/fhir+ndjson");
            let read = ndjson(&answer.body);
            assert_eq!(file["count"], read.len());
            for resource in read {
                assert_eq!(resource["resourceType"], file["type"]);
                lines.entry(file["type"].as_str().unwrap().into()).or_default().push(resource);
            }
        }
        lines
    }
}

fn ndjson(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Gives `principal` a bulk grant by two people.
async fn grant(doors: &Doors, caller: &Caller, patients_max: u32) {
    let security = Ask::new(doors.kit.sign_in("security-officer").await);
    let administrator = Ask::new(doors.kit.sign_in("administrator").await);
    let exchange = doors.kit.exchange();
    let proposal = GrantProposal {
        organization: caller.organization().clone(),
        account: caller.id().clone(),
        patients_max,
        until: holdfast_base::Clock::now(&*doors.kit.clock).plus_millis(3_600_000),
        reason: "test".into(),
    };
    let proposed = exchange.propose_grant(&security, proposal).await.unwrap();
    exchange.approve_grant(&administrator, proposed).await.unwrap();
}

/// Sends registrations and results of several patients to `lakeside-family`.
async fn with_patients(doors: &Doors, patients: u32) {
    let options = holdfast_sample::Options { patients, seed: 7, ..Default::default() };
    for item in holdfast_sample::generate(&options) {
        if item.interface.as_str() == "hl7v2@lakeside-family" {
            doors.kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
        }
    }
}

const SYSTEM: &str = "hl7v2@lakeside-family";
const BASE: &str = "/fhir/lakeside-family";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_an_export_needs_a_grant_by_two_people_and_says_how_to_get_one() {
    let doors = Doors::open().await;
    with_patients(&doors, 6).await;
    let backend = Backend { doors: &doors, certificate: certificate(&doors, SYSTEM).await };
    for url in ["$export", "Patient/$export"] {
        let url = format!("{BASE}/{url}");
        let sync = backend.get(&url).await;
        assert_eq!(sync.status, StatusCode::BAD_REQUEST);
        assert!(text(&sync).contains("respond-async"));
        let refused = backend.send(Method::GET, &url, &[ASYNC], b"").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let outcome = refused.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        assert!(text(&refused).contains("holdfast grant propose --organization lakeside-family"));
        assert_eq!(holdfast_fhir::validate(&outcome), []);
    }
    let nobody = Request::builder().uri(format!("{BASE}/$export")).header("prefer", ASYNC.1);
    assert_eq!(doors.send(nobody, b"").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_has_every_record_once_in_files_of_one_type_and_the_ledger_names_all_of_it() {
    let doors = Doors::open().await;
    with_patients(&doors, 24).await;
    let system = doors.kit.system(SYSTEM).await;
    grant(&doors, &system, 500).await;
    let backend = Backend { doors: &doors, certificate: certificate(&doors, SYSTEM).await };
    let status = backend.export(&format!("{BASE}/$export?_outputFormat=ndjson")).await;
    assert!(status.starts_with("https://hie.example/fhir/lakeside-family/"));
    let done = backend.poll(&status).await;
    assert_eq!(done.status, StatusCode::OK, "{}", text(&done));
    assert!(done.headers.contains_key("expires"));
    let manifest = done.json();
    assert_eq!(manifest["requiresAccessToken"], true);
    assert_eq!(
        manifest["request"],
        format!("https://hie.example{BASE}/$export?_outputFormat=ndjson")
    );
    for name in ["deleted", "error", "link"] {
        assert_eq!(manifest[name], json!([]), "{name}");
    }
    let lines = backend.lines(&manifest).await;
    let patients = lines["Patient"].len();
    assert!(patients >= 4 && lines.len() >= 3, "{:?}", lines.keys());
    assert!(lines.contains_key("Practitioner"), "what is about no patient, too");
    let mut seen = std::collections::BTreeSet::new();
    for resource in lines.values().flatten() {
        let name = format!("{}/{}", resource["resourceType"], resource["id"]);
        assert!(seen.insert(name), "each once");
        assert!(
            !resource.to_string().contains("us-ssn")
                || !resource.to_string().contains("\"value\":\"9")
        );
    }

    // What left stands in accesses, each after a release under the grant.
    let ask = Ask::new(doors.kit.sign_in("security-officer").await);
    let entries = doors.kit.exchange().ledger_entries(&ask, &Filter::default()).await;
    let entries = entries.unwrap();
    let mut touched = std::collections::BTreeSet::new();
    let (mut releases, mut steps) = (0, Vec::new());
    for placed in &entries {
        match &placed.entry.event {
            Event::KeyRelease { reason, patient, .. } if reason == "bulk-export" => {
                releases += usize::from(*patient != holdfast_base::PatientId::NONE);
            }
            Event::Access { relationship, touches, .. } if relationship != "intake" => {
                touched.extend(
                    touches.iter().map(|t| format!("\"{}\"/\"{}\"", t.resource_type, t.id)),
                );
            }
            Event::BulkJob { step, .. } => steps.push(step.clone()),
            _ => {}
        }
    }
    assert_eq!(releases, patients);
    let directory = ["Practitioner", "Organization", "Location", "Medication", "PractitionerRole"];
    for name in &seen {
        let of_nobody = directory.iter().any(|t| name.starts_with(&format!("\"{t}\"")));
        assert!(of_nobody || touched.contains(name), "{name} has its access entry");
    }
    assert_eq!(&steps[..2], ["started", "finished"]);
    assert!(steps[2..].iter().all(|step| step == "downloaded") && steps.len() > 2);

    // Deleted: gone, and so are the files.
    assert_eq!(backend.send(Method::DELETE, &status, &[], b"").await.status, StatusCode::ACCEPTED);
    assert_eq!(backend.get(&status).await.status, StatusCode::NOT_FOUND);
    let url = manifest["output"][0]["url"].as_str().unwrap();
    assert_eq!(backend.get(url).await.status, StatusCode::NOT_FOUND);
    let folder = doors.kit.dir().join("bulk");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    assert_no_gaps(&doors).await;
}

/// Releases, accesses and the store agree.
pub(crate) async fn assert_no_gaps(doors: &Doors) {
    doors.kit.clock.advance_ms(10 * 60_000);
    doors.kit.exchange().reconcile_new().await.unwrap();
    let (office, _) = doors.kit.sign_in_for_token("security-officer").await;
    let found = doors.post(&office, "/ops/ledger/reconcile", &json!({})).await.json();
    assert_eq!(found["gaps_count"], 0, "{found}");
    assert!(found["accesses_count"].as_u64().unwrap() > 1, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_filters_elements_and_since_are_exact() {
    let doors = Doors::open().await;
    with_patients(&doors, 8).await;
    let system = doors.kit.system(SYSTEM).await;
    grant(&doors, &system, 500).await;
    let backend = Backend { doors: &doors, certificate: certificate(&doors, SYSTEM).await };
    let run = async |query: &str| {
        let status = backend.export(&format!("{BASE}/Patient/$export?{query}")).await;
        let done = backend.poll(&status).await;
        assert_eq!(done.status, StatusCode::OK, "{}", text(&done));
        let manifest = done.json();
        let lines = backend.lines(&manifest).await;
        assert_eq!(
            backend.send(Method::DELETE, &status, &[], b"").await.status,
            StatusCode::ACCEPTED
        );
        (manifest, lines)
    };
    let (whole, all) = run("_type=Patient,Encounter").await;
    assert_eq!(all.keys().collect::<Vec<_>>(), ["Encounter", "Patient"]);
    let (_, women) =
        run("_type=Patient&_typeFilter=Patient%3Fgender%3Dfemale&_elements=Patient.gender").await;
    let expected = all["Patient"].iter().filter(|p| p["gender"] == "female").count();
    assert_eq!(women["Patient"].len(), expected);
    assert!(expected > 0 && expected < all["Patient"].len());
    for patient in &women["Patient"] {
        assert!(patient["gender"] == "female" && patient.get("name").is_none());
        assert_eq!(patient["meta"]["tag"][0]["code"], "SUBSETTED");
    }
    // Nothing was written since; then one thing is.
    let since = whole["transactionTime"].as_str().unwrap();
    let query = format!("_since={since}");
    assert_eq!(run(&query).await.1.len(), 0);
    doors.kit.clock.advance_ms(1_000);
    let patient = all["Patient"][0]["id"].as_str().unwrap();
    let (token, ..) = doors.clinician().await;
    let body = json!({
        "resourceType": "Observation", "status": "final", "code": { "text": "x" },
        "subject": { "reference": format!("Patient/{patient}") },
    });
    let created =
        doors.ask(&token, Method::POST, &format!("{BASE}/Observation"), &[], Some(&body)).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", text(&created));
    let (_, news) = run(&query).await;
    assert_eq!(news.keys().collect::<Vec<_>>(), ["Observation"]);

    // What was deleted since is told as deletions.
    let at = created.header("location").split("/_history").next().unwrap().to_owned();
    let at = at.strip_prefix("https://hie.example").unwrap();
    let gone = doors.ask(&token, Method::DELETE, at, &[], None).await;
    assert!(gone.status.is_success(), "{}", text(&gone));
    let status = backend.export(&format!("{BASE}/Patient/$export?{query}")).await;
    let manifest = backend.poll(&status).await.json();
    assert_eq!(manifest["output"], json!([]));
    let deleted = backend.get(manifest["deleted"][0]["url"].as_str().unwrap()).await;
    let request = ndjson(&deleted.body)[0]["entry"][0]["request"].clone();
    let url = at.strip_prefix(BASE).unwrap().trim_start_matches('/');
    assert_eq!(request, json!({ "method": "DELETE", "url": url }));

    // By POST, for one patient.
    let parameters = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "patient", "valueReference": { "reference": format!("Patient/{patient}") } },
        { "name": "_type", "valueString": "Patient,Observation" },
    ]});
    let headers = [ASYNC, ("content-type", "application/fhir+json")];
    let url = format!("{BASE}/Patient/$export");
    let kicked =
        backend.send(Method::POST, &url, &headers, parameters.to_string().as_bytes()).await;
    assert_eq!(kicked.status, StatusCode::ACCEPTED, "{}", text(&kicked));
    let done = backend.poll(kicked.header("content-location")).await;
    let lines = backend.lines(&done.json()).await;
    assert_eq!(lines["Patient"].len(), 1);
    assert_eq!(lines["Patient"][0]["id"], patient);

    // Every wrong parameter is named.
    let wrong = "_outputFormat=csv&_since=x&colour=blue&organizeOutputBy=Patient";
    let wrong = backend.send(Method::GET, &format!("{url}?{wrong}"), &[ASYNC], b"").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert_eq!(wrong.json()["issue"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p14_an_export_goes_on_where_a_stop_left_it_and_waits_for_a_new_grant() {
    let mut doors = Doors::open().await;
    with_patients(&doors, 80).await;
    let system = doors.kit.system(SYSTEM).await;
    // Enough for the first batch only.
    grant(&doors, &system, 33).await;
    let own = certificate(&doors, SYSTEM).await;
    let status = {
        let backend = Backend { doors: &doors, certificate: own };
        let status = backend.export(&format!("{BASE}/Patient/$export?_type=Patient")).await;
        let waits = backend.poll(&status).await;
        // A ceiling that was reached is no sign of misuse.
        let office = Ask::new(doors.kit.sign_in("security-officer").await);
        let alerts = Filter { kinds: vec!["alert".into()], ..Filter::default() };
        let alerts = doors.kit.exchange().ledger_entries(&office, &alerts).await.unwrap();
        assert_eq!(alerts.len(), 0);
        let progress = waits.header("x-progress").to_owned();
        assert!(progress.starts_with("32 of ") && progress.contains("grant"), "{progress}");
        status
    };
    let doors = {
        let held = std::sync::Arc::downgrade(doors.kit.exchange());
        doors.router = axum::Router::new();
        doors.kit.close();
        while held.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        doors.kit.reopen().await;
        Doors::over(doors.kit)
    };
    doors.kit.clock.advance_ms(3_700_000);
    let system = doors.kit.system(SYSTEM).await;
    grant(&doors, &system, 500).await;
    let backend = Backend { doors: &doors, certificate: own };
    let mut done = backend.poll(&status).await;
    for _ in 0..TRIES {
        if done.status == StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        done = backend.poll(&status).await;
    }
    assert_eq!(done.status, StatusCode::OK, "{}", text(&done));
    let lines = backend.lines(&done.json()).await;
    let ids: std::collections::BTreeSet<_> =
        lines["Patient"].iter().map(|patient| patient["id"].to_string()).collect();
    assert!(ids.len() > 33);
    assert_eq!(ids.len(), lines["Patient"].len(), "nobody twice");
    // A day later they are gone, also for who asked.
    doors.kit.clock.advance_ms(25 * 3_600_000);
    doors.kit.exchange().look_after_bulk().await.unwrap();
    assert_eq!(backend.get(&status).await.status, StatusCode::NOT_FOUND);
    assert_eq!(std::fs::read_dir(doors.kit.dir().join("bulk")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_a_job_and_its_files_are_for_who_asked_for_them() {
    let doors = Doors::open().await;
    with_patients(&doors, 6).await;
    let system = doors.kit.system(SYSTEM).await;
    grant(&doors, &system, 500).await;
    let backend = Backend { doors: &doors, certificate: certificate(&doors, SYSTEM).await };
    let status = backend.export(&format!("{BASE}/Patient/$export")).await;
    let manifest = backend.poll(&status).await.json();
    let file = manifest["output"][0]["url"].as_str().unwrap().to_owned();

    let elsewhere = holdfast_sample::community();
    let other = elsewhere
        .organizations
        .iter()
        .find(|o| o.id.as_str() != "lakeside-family" && !o.interfaces.is_empty())
        .unwrap();
    let other = certificate(&doors, other.interfaces[0].principal.as_str()).await;
    let stranger = Backend { doors: &doors, certificate: other };
    let (token, ..) = doors.clinician().await;
    for url in [&status, &file] {
        let path = url.strip_prefix("https://hie.example").unwrap();
        assert_eq!(stranger.get(url).await.status, StatusCode::NOT_FOUND);
        assert_eq!(doors.get(&token, path).await.status, StatusCode::NOT_FOUND);
        let nobody = Request::builder().uri(path);
        assert_eq!(doors.send(nobody, b"").await.status, StatusCode::UNAUTHORIZED);
    }
    let ended = stranger.send(Method::DELETE, &status, &[], b"").await;
    assert_eq!(ended.status, StatusCode::NOT_FOUND);
    // Nor does another organization's base export anything for a stranger.
    let url = format!("{BASE}/Patient/$export");
    let refused = stranger.send(Method::GET, &url, &[ASYNC], b"").await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);

    // The office sees that there is a job, and can end it.
    let (office, _) = doors.kit.sign_in_for_token("administrator").await;
    let jobs = doors.get(&office, "/ops/bulk").await.json();
    assert_eq!(jobs["jobs"][0]["state"], "finished");
    let url = format!("/ops/bulk/{}/cancel", jobs["jobs"][0]["job"].as_str().unwrap());
    assert_eq!(doors.post(&token, &url, &json!({})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(doors.post(&office, &url, &json!({})).await.status, StatusCode::OK);
    assert_eq!(backend.get(&file).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_nothing_of_an_export_is_readable_on_disk() {
    let doors = Doors::open().await;
    with_patients(&doors, 8).await;
    let system = doors.kit.system(SYSTEM).await;
    grant(&doors, &system, 500).await;
    let backend = Backend { doors: &doors, certificate: certificate(&doors, SYSTEM).await };
    let status = backend.export(&format!("{BASE}/$export")).await;
    let manifest = backend.poll(&status).await.json();
    let lines = backend.lines(&manifest).await;
    let mut secrets: Vec<String> = vec!["resourceType".into(), "Observation".into()];
    for patient in &lines["Patient"] {
        secrets.extend(patient["name"][0]["family"].as_str().map(str::to_owned));
        secrets.extend(patient["id"].as_str().map(str::to_owned));
    }
    let mut files = 0;
    let mut folders = vec![doors.kit.dir().join("bulk")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            for secret in &secrets {
                let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!found, "{} in {}", secret, path.display());
            }
            // A changed byte does not open.
            if files == 1 {
                let mut changed = bytes.clone();
                *changed.last_mut().unwrap() ^= 1;
                std::fs::write(&path, changed).unwrap();
                let number = path.file_stem().unwrap().to_str().unwrap();
                let url = format!("{}/{number}", status.replace("$bulk-status", "$bulk-file"));
                let damaged = backend.get(&url).await;
                assert_eq!(damaged.status, StatusCode::INTERNAL_SERVER_ERROR);
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    assert!(files >= 3);
    // Whoever is forgotten is in no file either.
    let office = Ask::new(doors.kit.sign_in("privacy-officer").await);
    let organization = office.caller.organization().clone();
    let patient = lines["Patient"][0]["id"].as_str().unwrap();
    let (exchange, whose) = (doors.kit.exchange(), (&organization, patient));
    let asked = exchange.forget_patient(&office, whose, "asked for it", None).await.unwrap();
    let holdfast_exchange::Forgetting::Confirm { code } = asked else { panic!("it asks first") };
    exchange.forget_patient(&office, whose, "asked for it", Some(&code)).await.unwrap();
    assert_eq!(std::fs::read_dir(doors.kit.dir().join("bulk")).unwrap().count(), 0);
    assert_eq!(backend.get(&status).await.status, StatusCode::NOT_FOUND);
}

/// One line of NDJSON.
fn line(resource: &Value) -> String {
    // A decimal's last digit says how exact it is.
    format!("{resource}\n").replace("97.1,", "97.10,")
}

fn patient(id: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "gender": "female", "birthDate": "1970-02-03",
        "name": [{ "family": format!("Quillfeather{id}"), "given": ["Ada"] }],
        "identifier": [{ "system": "urn:oid:1.2.3.4", "value": format!("import-{id}") }],
    })
}

fn result(id: &str, patient: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "performer": [{ "reference": "Practitioner/imported-doctor" }],
        "valueQuantity": { "value": 97.10, "unit": "mg/dL" },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_takes_files_in_any_order_and_again_without_harm() {
    let doors = Doors::open().await;
    let backend = Backend { doors: &doors, certificate: certificate(&doors, SYSTEM).await };
    let json_type = ("content-type", "application/fhir+json");
    let fetched = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "input", "part": [{ "name": "url", "valueUrl": "https://elsewhere.example/x" }] },
    ]});
    let url = format!("{BASE}/$import");
    let refused =
        backend.send(Method::POST, &url, &[ASYNC, json_type], fetched.to_string().as_bytes()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(text(&refused).contains("not fetched"));

    for round in 0..2 {
        let made = backend.send(Method::POST, &url, &[ASYNC], b"").await;
        assert_eq!(made.status, StatusCode::ACCEPTED, "{}", text(&made));
        let status = made.header("content-location").to_owned();
        let put = made.json()["put"].as_str().unwrap().replace("{name}", "");
        let ndjson = ("content-type", "application/fhir+ndjson");
        // Results before patients before the one who performed them.
        let results: String = (0..250)
            .map(|n| line(&result(&format!("r{n}"), &format!("p{}", n % 5))))
            .chain([line(&result("lost", "nobody-here")), "no json\n".to_owned()])
            .collect();
        let patients: String = (0..5).map(|n| line(&patient(&format!("p{n}")))).collect();
        let doctor = line(&json!({
            "resourceType": "Practitioner", "id": "imported-doctor",
            "name": [{ "family": "Chen" }],
        }));
        for (name, file) in [("a.ndjson", &results), ("b.ndjson", &patients), ("c.ndjson", &doctor)]
        {
            let url = put.replace(".ndjson", name);
            let done = backend.send(Method::PUT, &url, &[ndjson], file.as_bytes()).await;
            assert_eq!(done.status, StatusCode::CREATED, "{}", text(&done));
        }
        let start = made.json()["start"].as_str().unwrap().to_owned();
        let started = backend.send(Method::POST, &start, &[], b"").await;
        assert_eq!(started.status, StatusCode::ACCEPTED);
        let late = backend.send(Method::PUT, &put, &[ndjson], doctor.as_bytes()).await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        let done = backend.poll(&status).await;
        assert_eq!(done.status, StatusCode::OK, "{}", text(&done));
        let manifest = done.json();
        assert_eq!(
            manifest["output"],
            json!([
                { "type": "Observation", "count": 250 },
                { "type": "Patient", "count": 5 },
                { "type": "Practitioner", "count": 1 },
            ])
        );
        assert_eq!(manifest["error"][0]["count"], 2);
        let errors = ndjson_of(&backend, manifest["error"][0]["url"].as_str().unwrap()).await;
        assert!(errors.iter().all(|e| e["resourceType"] == "OperationOutcome"));
        let told: Vec<_> =
            errors.iter().map(|e| e["issue"][0]["diagnostics"].as_str().unwrap()).collect();
        assert!(told.iter().any(|t| t.starts_with("a.ndjson line 252")), "{told:?}");
        assert!(told.iter().any(|t| t.starts_with("a.ndjson line 251")), "{told:?}");

        // What was imported is read, and the second round wrote no second version.
        let (token, ..) = doors.clinician().await;
        let read = doors.get(&token, &format!("{BASE}/Observation/r7")).await;
        assert_eq!((read.status, read.header("etag")), (StatusCode::OK, "W/\"1\""), "{round}");
        assert!(text(&read).contains("97.10"), "decimals keep their digits");
        let found = doors.get(&token, &format!("{BASE}/Observation?patient=p1&_count=1")).await;
        assert_eq!(found.json()["total"], 50);
    }
    let (office, _) = doors.kit.sign_in_for_token("administrator").await;
    let jobs = doors.get(&office, "/ops/bulk").await.json();
    assert_eq!(
        (&jobs["jobs"][0]["kind"], &jobs["jobs"][0]["refused"]),
        (&json!("import"), &json!(2))
    );
    // Inputs are gone, what is left tells nothing.
    for folder in std::fs::read_dir(doors.kit.dir().join("bulk")).unwrap() {
        let files: Vec<_> = std::fs::read_dir(folder.unwrap().path()).unwrap().collect();
        assert_eq!(files.len(), 1);
    }
}

async fn ndjson_of(backend: &Backend<'_>, url: &str) -> Vec<Value> {
    ndjson(&backend.get(url).await.body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p14_an_import_goes_on_after_a_restart_and_is_the_senders_own() {
    let mut doors = Doors::open().await;
    let own = certificate(&doors, SYSTEM).await;
    let ndjson = ("content-type", "application/fhir+ndjson");
    let file: String = (0..40)
        .map(|n| line(&patient(&format!("p{n}"))))
        .chain((0..200).map(|n| line(&result(&format!("r{n}"), &format!("p{}", n % 40)))))
        .collect();
    let (token, ..) = doors.clinician().await;
    let status = {
        let backend = Backend { doors: &doors, certificate: own };
        let url = format!("{BASE}/$import");
        let elsewhere = "/fhir/st-brendan-hospital/$import";
        let refused =
            backend.send(Method::POST, elsewhere, &[ASYNC, ndjson], file.as_bytes()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let made = backend.send(Method::POST, &url, &[ASYNC, ndjson], file.as_bytes()).await;
        assert_eq!(made.status, StatusCode::ACCEPTED, "{}", text(&made));
        made.header("content-location").to_owned()
    };
    // Stopped at once, wherever it is.
    let held = std::sync::Arc::downgrade(doors.kit.exchange());
    doors.router = axum::Router::new();
    doors.kit.close();
    while held.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    doors.kit.reopen().await;
    let doors = Doors::over(doors.kit);
    let backend = Backend { doors: &doors, certificate: own };
    let path = status.strip_prefix("https://hie.example").unwrap();
    assert_eq!(doors.get(&token, path).await.status, StatusCode::NOT_FOUND);
    doors.kit.exchange().look_after_bulk().await.unwrap();
    let done = backend.poll(&status).await;
    assert_eq!(done.status, StatusCode::OK, "{}", text(&done));
    assert_eq!(
        done.json()["output"],
        json!([{ "type": "Observation", "count": 200 }, { "type": "Patient", "count": 40 }])
    );
}
