//! IHE on FHIR: PIXm (ITI-83), with the profile's own example patients.

use axum::http::{Method, StatusCode};
use holdfast_exchange::Format;
use serde_json::{Value, json};

use crate::Doors;
use crate::operations_everything::create;

const RED: &str = "urn:oid:1.3.6.1.4.1.21367.13.20.1000";
const GREEN: &str = "urn:oid:1.3.6.1.4.1.21367.13.20.2000";
const BLUE: &str = "urn:oid:1.3.6.1.4.1.21367.13.20.3000";

/// Alice Mohr of the PIXm examples, as one organization knows her.
fn alice(identifiers: &[(&str, &str)]) -> Value {
    let identifiers: Vec<_> = identifiers
        .iter()
        .map(|(system, value)| json!({ "system": system, "value": value }))
        .collect();
    json!({
        "resourceType": "Patient", "active": true, "identifier": identifiers,
        "name": [{ "use": "official", "family": "MOHR", "given": ["ALICE"] }],
        "gender": "female", "birthDate": "1958-01-30",
        "telecom": [{ "system": "phone", "value": "260-555-0199" }],
        "address": [{ "use": "home", "line": ["820 JORIE BLVD."], "city": "OAK BROOK",
            "state": "IL", "postalCode": "60523" }],
    })
}

/// Registers a patient at `cedar-hollow-family`.
async fn register_elsewhere(doors: &Doors, patient: Value) {
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [{
        "fullUrl": "urn:uuid:0a6d2c1e-0000-4000-8000-000000000001",
        "resource": patient, "request": { "method": "POST", "url": "Patient" },
    }] });
    let bytes = serde_json::to_vec(&bundle).unwrap();
    let admission = doors.kit.send("hl7v2@cedar-hollow-family", Format::Fhir, &bytes).await;
    assert_eq!(admission.written.len(), 1, "{:?}", admission.outcome);
}

fn values(parameters: &Value) -> Vec<&str> {
    let listed = parameters["parameter"].as_array().map(Vec::as_slice).unwrap_or_default();
    let identifiers = listed.iter().filter(|one| one["name"] == "targetIdentifier");
    identifiers.map(|one| one["valueIdentifier"]["value"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iti_83_gives_the_other_identifiers_of_a_person_and_where_they_are_kept() {
    let doors = Doors::open().await;
    let (token, base, ask) = doors.clinician().await;
    let own = alice(&[(RED, "IHERED-994"), (GREEN, "IHEGREEN-994")]);
    let made = create(&doors, &token, &base, &own).await;
    let url = |query: &str| format!("{base}/Patient/$ihe-pix?{query}");
    let red = "sourceIdentifier=urn:oid:1.3.6.1.4.1.21367.13.20.1000%7CIHERED-994";
    let answer = doors.get(&token, &url(red)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let found = answer.json();
    assert_eq!(holdfast_fhir::validate(&found), []);
    assert_eq!(values(&found), ["IHEGREEN-994"]);
    let reference = &found["parameter"][1]["valueReference"]["reference"];
    assert_eq!(*reference, json!(format!("https://hie.example{base}/{made}")));

    // The same by POST, and restricted to a domain.
    let body = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "sourceIdentifier", "valueString": format!("{RED}|IHERED-994") },
        { "name": "targetSystem", "valueUri": GREEN },
    ] });
    let posted = doors
        .ask(&token, Method::POST, &format!("{base}/Patient/$ihe-pix"), &[], Some(&body))
        .await;
    assert_eq!(values(&posted.json()), ["IHEGREEN-994"]);
    // A domain in which the person has no other identifier: an empty answer.
    let same = doors.get(&token, &url(&format!("{red}&targetSystem={RED}"))).await;
    assert_eq!(
        (same.status, same.json()),
        (StatusCode::OK, json!({ "resourceType": "Parameters" }))
    );

    // Each answer is in the ledger as a search of that record.
    let (office, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let entries =
        doors.get(&office, &format!("/ops/ledger/entries?principal={}", ask.caller.id())).await;
    assert!(String::from_utf8_lossy(&entries.body).contains("search"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iti_83_tells_what_is_not_known_by_status_and_code() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    create(&doors, &token, &base, &alice(&[(RED, "IHERED-994")])).await;
    // Known elsewhere only, to somebody else.
    let mut other = alice(&[(BLUE, "IHEBLUE-1")]);
    other["name"][0] = json!({ "family": "QUILL", "given": ["OTTO"] });
    other["birthDate"] = json!("1931-05-05");
    register_elsewhere(&doors, other).await;
    for (query, status, code) in [
        (format!("sourceIdentifier={RED}%7CIHERED-0"), 404, "not-found"),
        ("sourceIdentifier=urn:oid:9.9.9%7C1".into(), 400, "code-invalid"),
        (format!("sourceIdentifier={BLUE}%7CIHEBLUE-1"), 400, "code-invalid"),
        (
            format!("sourceIdentifier={RED}%7CIHERED-994&targetSystem=urn:oid:9.9.9"),
            403,
            "code-invalid",
        ),
        (format!("sourceIdentifier={RED}%7CIHERED-994&targetSystem={BLUE}"), 403, "code-invalid"),
        ("sourceIdentifier=IHERED-994".into(), 400, "value"),
        (format!("targetSystem={RED}"), 400, "required"),
        (format!("sourceIdentifier={RED}%7CIHERED-994&colour=red"), 400, "not-supported"),
    ] {
        let answer = doors.get(&token, &format!("{base}/Patient/$ihe-pix?{query}")).await;
        let outcome = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{query}: {outcome}");
        assert_eq!(outcome["issue"][0]["code"], code, "{query}: {outcome}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iti_83_links_the_records_of_other_organizations_as_far_as_they_permit() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    create(&doors, &token, &base, &alice(&[(RED, "IHERED-994")])).await;
    register_elsewhere(&doors, alice(&[(BLUE, "IHEBLUE-994")])).await;
    let url = format!("{base}/Patient/$ihe-pix?sourceIdentifier={RED}%7CIHERED-994");
    let found = doors.get(&token, &url).await;
    assert_eq!((found.status, values(&found.json())), (StatusCode::OK, vec!["IHEBLUE-994"]));
    let reference = found.json()["parameter"][1]["valueReference"]["reference"].clone();
    let there = "https://hie.example/fhir/cedar-hollow-family/Patient/";
    assert!(reference.as_str().unwrap().starts_with(there), "{reference}");
    // A role that may see no patient learns neither identifiers nor whether there are any.
    let (manager, caller) = doors.kit.sign_in_for_token("employer-manager").await;
    let own = format!("/fhir/{}/Patient/$ihe-pix", caller.organization());
    for base in [format!("{base}/Patient/$ihe-pix"), own] {
        let url = format!("{base}?sourceIdentifier={RED}%7CIHERED-994");
        let refused = doors.get(&manager, &url).await;
        assert!(refused.status.is_client_error(), "{}", refused.json());
        assert!(!String::from_utf8_lossy(&refused.body).contains("IHEBLUE"));
    }
}

fn corpus(name: &str) -> Option<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/corpora/fhir")
        .join(name);
    if !folder.is_dir() {
        println!("skipped: no {}", folder.display());
        return None;
    }
    Some(folder)
}

fn examples(folder: &std::path::Path, prefix: &str) -> Vec<(String, Value)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix) && name.ends_with(".json"))
        .collect();
    found.sort();
    let read =
        |name: &String| serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    found.iter().map(|name| (name.clone(), read(name))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pdqm_examples_are_taken_found_and_matched() {
    let Some(folder) = corpus("ihe-pdqm") else { return };
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    for (name, patient) in examples(&folder, "Patient-ex-") {
        let url = format!("{base}/Patient/{}", patient["id"].as_str().unwrap());
        let put = doors.ask(&token, Method::PUT, &url, &[], Some(&patient)).await;
        assert_eq!(put.status, StatusCode::CREATED, "{name}: {}", put.json());
    }
    // ITI-78: the parameters of the profile.
    for query in [
        "family=Schmidt&given=John",
        "_id=ex-patient",
        "birthdate=1923-07-25&gender=other",
        "address-state=WI",
    ] {
        let found = doors.get(&token, &format!("{base}/Patient?{query}")).await;
        assert_eq!(found.status, StatusCode::OK, "{query}: {}", found.json());
        assert!(found.json()["total"].as_u64() >= Some(1), "{query}: {}", found.json());
    }
    // ITI-119: both forms of the examples' input are understood.
    for (name, parameters) in examples(&folder, "Parameters-ex-match-input") {
        let url = format!("{base}/Patient/$match");
        let found = doors.ask(&token, Method::POST, &url, &[], Some(&parameters)).await;
        assert_eq!(found.status, StatusCode::OK, "{name}: {}", found.json());
        assert_eq!(found.json()["type"], "searchset");
    }
}
/// Provide bundles of the examples that are refused, and why.
const NOT_PROVIDED: [(&str, &str); 2] = [
    ("Bundle-ex-ProvideDocumentBundle-addToFolder.json", "PUT List names no id and no criteria"),
    (
        "Bundle-ex-comprehensiveProvideDocumentBundleDocument.json",
        "the patient is one of another server, and not in the bundle",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iti_65_takes_the_example_bundles_and_iti_66_67_68_give_what_they_hold() {
    let Some(folder) = corpus("ihe-mhd") else { return };
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    for kind in ["Patient", "DocumentReference"] {
        for (name, resource) in examples(&folder, &format!("{kind}-ex-")) {
            let url = format!("{base}/{kind}/{}", resource["id"].as_str().unwrap());
            let put = doors.ask(&token, Method::PUT, &url, &[], Some(&resource)).await;
            assert_eq!(put.status, StatusCode::CREATED, "{name}: {}", put.json());
        }
    }
    let mut provided = 0;
    for (name, bundle) in examples(&folder, "Bundle-ex-") {
        if bundle["type"] != "transaction" {
            continue;
        }
        let answer = doors.ask(&token, Method::POST, &base, &[], Some(&bundle)).await;
        let told = answer.json();
        if NOT_PROVIDED.iter().any(|(known, _)| *known == name) {
            assert!(answer.status.is_client_error(), "{name}: {told}");
            continue;
        }
        assert_eq!(answer.status, StatusCode::OK, "{name}: {told}");
        assert_eq!(told["type"], "transaction-response");
        assert_eq!(
            told["entry"].as_array().unwrap().len(),
            bundle["entry"].as_array().unwrap().len()
        );
        provided += 1;
    }
    assert_eq!(provided, 5);

    // ITI-66: submission sets of the patient.
    let sets = doors
        .get(&token, &format!("{base}/List?patient=ex-patient&code=submissionset"))
        .await
        .json();
    assert!(sets["total"].as_u64().unwrap() >= 3, "{sets}");
    // The examples' documents are labelled restricted: without a permit for that
    // neither what tells of them is there nor they themselves.
    let url = format!("{base}/DocumentReference?patient=ex-patient&status=current&_count=50");
    assert_eq!(doors.get(&token, &url).await.json()["total"], 2);
    let multiple = examples(&folder, "Bundle-ex-comprehensiveProvideDocumentBundleMultiple");
    let mut bundle = multiple[0].1.clone();
    let written = doors.ask(&token, Method::POST, &base, &[], Some(&bundle)).await.json();
    for entry in [1, 2, 3, 4] {
        let location = written["entry"][entry]["response"]["location"].as_str().unwrap();
        let place = location.split("/_history").next().unwrap();
        let hidden = doors.get(&token, &format!("{base}/{place}")).await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{place}");
    }

    // ITI-67 and ITI-68: with a normal label they are found, and each is given in its
    // own media type, out of the record of its patient.
    for entry in [1, 2] {
        bundle["entry"][entry]["resource"]["securityLabel"][0]["coding"][0]["code"] = json!("N");
    }
    let written = doors.ask(&token, Method::POST, &base, &[], Some(&bundle)).await;
    assert_eq!(written.status, StatusCode::OK);
    let found = doors.get(&token, &url).await.json();
    assert_eq!(found["total"], 4, "{found}");
    let urls: Vec<&str> = found["entry"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry["resource"]["content"][0]["attachment"]["url"].as_str())
        .filter(|url| url.starts_with("Binary/"))
        .collect();
    assert_eq!(urls.len(), 2, "{found}");
    for url in urls {
        let url = format!("{base}/{url}");
        let raw = doors.ask(&token, Method::GET, &url, &[("accept", "text/plain")], None).await;
        assert_eq!(raw.status, StatusCode::OK);
        assert!(raw.header("content-type").starts_with("text/plain"));
        assert!(!raw.body.is_empty());
    }
    let url = format!("{base}/Patient/ex-patient/$everything?_type=Binary");
    let everything = doors.get(&token, &url).await.json();
    let entries = everything["entry"].as_array().unwrap().iter();
    let binaries = entries.filter(|entry| entry["resource"]["resourceType"] == "Binary").count();
    assert_eq!(binaries, 2, "{everything}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iti_104_feeds_changes_and_resolves_duplicates_by_identifier() {
    let Some(folder) = corpus("ihe-pixm") else { return };
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let url = |value: &str| format!("{base}/Patient?identifier={RED}%7C{value}");
    let example = |name: &str| examples(&folder, name).remove(0).1;
    let feed = async |name: &str, value: &str| {
        let mut patient = example(name);
        patient.as_object_mut().unwrap().shift_remove("id");
        doors.ask(&token, Method::PUT, &url(value), &[], Some(&patient)).await
    };
    let made = feed("Patient-MohrAlice-Red", "IHERED-994").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&made.body));
    // A new name for the same identifier is the same record.
    let changed = feed("Patient-MohrAlissa-Red", "IHERED-994").await;
    assert_eq!(changed.status, StatusCode::OK);
    let found = doors.get(&token, &url("IHERED-994")).await.json();
    assert_eq!(
        (&found["total"], &found["entry"][0]["resource"]["name"][0]["given"][0]),
        (&json!(1), &json!("ALISSA"))
    );

    // A duplicate is registered, and replaced by the first.
    let mut maiden = example("Patient-MohrMaidenResolvedByMohrMalice-Red");
    let fields = maiden.as_object_mut().unwrap();
    fields.shift_remove("id");
    let link = fields.shift_remove("link").unwrap();
    fields.insert("active".into(), json!(true));
    let put = doors.ask(&token, Method::PUT, &url("IHERED-m94"), &[], Some(&maiden)).await;
    assert_eq!(put.status, StatusCode::CREATED);
    maiden["link"] = link;
    maiden["active"] = json!(false);
    let put = doors.ask(&token, Method::PUT, &url("IHERED-m94"), &[], Some(&maiden)).await;
    assert_eq!(put.status, StatusCode::OK, "{}", String::from_utf8_lossy(&put.body));
    // ITI-83 takes the replaced identifier for the surviving record.
    let pix = format!("{base}/Patient/$ihe-pix?sourceIdentifier={RED}%7CIHERED-m94");
    let told = doors.get(&token, &pix).await.json();
    assert_eq!(values(&told), ["IHERED-994"]);
    // And the surviving record alone answers look-ups by name.
    let by_name = doors.get(&token, &format!("{base}/Patient?family=mohr")).await.json();
    assert_eq!(by_name["total"], 1, "{by_name}");
}
