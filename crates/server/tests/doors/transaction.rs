//! Transactions and batches (FHIR R4 http.html#transaction, #trules, #brules).

use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::history::{observation, put};
use crate::{Answer, Doors};

fn bundle(kind: &str, entries: Vec<Value>) -> Value {
    json!({ "resourceType": "Bundle", "type": kind, "entry": entries })
}

fn entry(method: &str, url: &str, resource: Option<Value>) -> Value {
    let mut entry = json!({ "request": { "method": method, "url": url } });
    if let Some(resource) = resource {
        entry["resource"] = resource;
    }
    entry
}

fn named(full_url: &str, mut entry: Value) -> Value {
    entry["fullUrl"] = json!(full_url);
    entry
}

async fn submit(doors: &Doors, token: &str, base: &str, bundle: &Value) -> Answer {
    doors.ask(token, Method::POST, base, &[], Some(bundle)).await
}

fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let bundle = answer.json();
    assert_eq!(holdfast_fhir::validate(&bundle), []);
    let entries = bundle["entry"].as_array().unwrap();
    entries.iter().map(|e| e["response"]["status"].as_str().unwrap()[..3].to_owned()).collect()
}

fn patient(family: &str, number: &str) -> Value {
    json!({
        "resourceType": "Patient", "name": [{ "family": family }],
        "identifier": [{ "system": "urn:test", "value": number }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_answered_in_order_however_they_are_carried_out() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    for id in ["old", "kept"] {
        let mut resource = observation(&known, 1);
        resource["id"] = json!(id);
        put(&doors, &token, &base, &resource).await;
    }
    let mut updated = observation(&known, 2);
    updated["id"] = json!("kept");
    let uuid = "urn:uuid:0f6c1d0e-9d3c-4f5e-8a46-00000000000";
    let oid = "urn:oid:1.2.3.4";
    let mut of_new = observation("x", 3);
    of_new["subject"]["reference"] = json!(format!("{uuid}1"));
    of_new["encounter"] = json!({ "reference": oid });
    of_new["note"] = json!([{ "text": format!("{uuid}1") }]);
    let encounter = json!({
        "resourceType": "Encounter", "status": "finished", "class": { "code": "AMB" },
        "subject": { "reference": format!("{uuid}1") },
    });
    let of_known = observation(&known, 4);
    let asked = bundle(
        "transaction",
        vec![
            entry("GET", "Observation/kept", None),
            named(&format!("{uuid}2"), entry("POST", "Observation", Some(of_new))),
            entry("PUT", "Observation/kept", Some(updated)),
            named(&format!("{uuid}1"), entry("POST", "Patient", Some(patient("One", "T1")))),
            named(&format!("{uuid}3"), entry("POST", "Patient", Some(patient("Two", "T2")))),
            named(oid, entry("POST", "Encounter", Some(encounter))),
            entry("POST", "Observation", Some(of_known)),
            entry("DELETE", "Observation/old", None),
            entry("HEAD", "Observation/old", None),
        ],
    );
    let answer = submit(&doors, &token, &base, &asked).await;
    let expected = ["200", "201", "200", "201", "201", "201", "201", "204", "410"];
    assert_eq!(statuses(&answer), expected);
    let bundle = answer.json();
    // What is read, is read after everything was written.
    assert_eq!(bundle["entry"][0]["resource"]["valueQuantity"]["value"], 2);
    let place = |entry: usize| {
        let location = bundle["entry"][entry]["response"]["location"].as_str().unwrap();
        location.split("/_history").next().unwrap().to_owned()
    };
    let stored = doors.get(&token, &format!("{base}/{}", place(1))).await.json();
    assert_eq!(stored["subject"]["reference"], place(3).as_str());
    assert_eq!(stored["encounter"]["reference"], place(5).as_str());
    assert_eq!(stored["note"][0]["text"], format!("{uuid}1"), "text is no reference");
    assert_ne!(place(3), place(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_transaction_is_carried_out_or_nothing() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let good = || entry("POST", "Observation", Some(observation(&known, 1)));
    let with = |name: &str, value: &str, mut entry: Value| {
        entry["request"][name] = json!(value);
        entry
    };
    let mut kept = observation(&known, 5);
    kept["id"] = json!("kept");
    put(&doors, &token, &base, &kept).await;
    let mut referring = observation(&known, 1);
    referring["performer"] = json!([{ "reference": "Practitioner?identifier=urn:x|nobody" }]);
    let orphan = observation("nobody", 1);
    let mut broken = observation(&known, 1);
    broken["status"] = json!("Zebulon");
    let same = || named("urn:uuid:1", good());
    let refused: Vec<(&str, Vec<Value>, u16)> = vec![
        ("invalid", vec![entry("POST", "Observation", Some(broken))], 422),
        ("an unknown patient", vec![entry("POST", "Observation", Some(orphan))], 422),
        ("a reference that fits nothing", vec![entry("POST", "Observation", Some(referring))], 412),
        (
            "another version",
            vec![with("ifMatch", "W/\"9\"", entry("PUT", "Observation/kept", Some(kept.clone())))],
            412,
        ),
        (
            "there already",
            vec![with("ifNoneMatch", "*", entry("PUT", "Observation/kept", Some(kept.clone())))],
            412,
        ),
        (
            "the same resource twice",
            vec![
                entry("DELETE", "Observation/kept", None),
                entry("PUT", "Observation/kept", Some(kept.clone())),
            ],
            400,
        ),
        (
            "the same resource twice, by criteria",
            vec![
                entry("DELETE", "Observation?_id=kept", None),
                entry("PUT", "Observation/kept", Some(kept.clone())),
            ],
            400,
        ),
        (
            "the same patient twice",
            vec![
                entry("POST", "Patient", Some(patient("A", "S1"))),
                entry("POST", "Patient", Some(patient("B", "S1"))),
            ],
            400,
        ),
        ("the same full URL twice", vec![same(), same()], 400),
        ("another type than the URL's", vec![entry("POST", "List", Some(kept.clone()))], 400),
        ("no such method", vec![entry("SPAM", "Observation", Some(kept.clone()))], 422),
    ];
    for (what, mut entries, status) in refused {
        entries.insert(0, good());
        let answer = submit(&doors, &token, &base, &bundle("transaction", entries)).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.json());
        let issue = &answer.json()["issue"][0];
        let place = issue["expression"][0].as_str().unwrap_or_default();
        assert!(!place.is_empty(), "{what}: {issue}");
        assert!(!issue.to_string().contains("Zebulon"), "{what}");
    }
    let found = doors.get(&token, &format!("{base}/Observation?patient={known}")).await;
    assert_eq!(found.json()["total"], 1, "nothing of them was written");
    let found = doors.get(&token, &format!("{base}/Patient?identifier=urn:test%7CS1")).await;
    assert_eq!(found.json()["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_within_a_transaction_find_what_is_stored() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let practitioner = json!({
        "resourceType": "Practitioner", "id": "dr", "name": [{ "family": "Reed" }],
        "identifier": [{ "system": "urn:test", "value": "DR" }],
    });
    put(&doors, &token, &base, &practitioner).await;
    put(&doors, &token, &base, &{
        let mut own = patient("Found", "F1");
        own["id"] = json!("f1");
        own
    })
    .await;
    let mut referring = observation("x", 1);
    referring["subject"]["reference"] = json!("Patient?identifier=urn:test|F1");
    referring["performer"] = json!([{ "reference": "Practitioner?identifier=urn:test%7CDR" }]);
    let mut conditional = entry("POST", "Patient", Some(patient("Found", "F1")));
    conditional["request"]["ifNoneExist"] = json!("identifier=urn:test|F1");
    let conditional = named("urn:uuid:p", conditional);
    let mut of_found = observation("x", 2);
    of_found["subject"]["reference"] = json!("urn:uuid:p");
    let patch = json!({
        "resourceType": "Binary", "contentType": "application/json-patch+json",
        "data": "W3sib3AiOiJyZXBsYWNlIiwicGF0aCI6Ii9zdGF0dXMiLCJ2YWx1ZSI6ImFtZW5kZWQifV0=",
    });
    let mut stored = observation(&known, 1);
    stored["id"] = json!("o1");
    put(&doors, &token, &base, &stored).await;
    let asked = bundle(
        "transaction",
        vec![
            entry("POST", "Observation", Some(referring)),
            conditional,
            entry("POST", "Observation", Some(of_found)),
            entry("PATCH", "Observation/o1", Some(patch)),
            entry("DELETE", "Observation?patient=f1&code=nothing", None),
        ],
    );
    let answer = submit(&doors, &token, &base, &asked).await;
    assert_eq!(statuses(&answer), ["201", "200", "201", "200", "204"]);
    let found = doors.get(&token, &format!("{base}/Observation?patient=f1")).await.json();
    assert_eq!(found["total"], 2);
    let text = found.to_string();
    assert!(text.contains("\"Practitioner/dr\"") && text.contains("\"Patient/f1\""), "{text}");
    let patched = doors.get(&token, &format!("{base}/Observation/o1")).await.json();
    assert_eq!(patched["status"], "amended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_batch_fail_alone() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut own = observation(&known, 1);
    own["id"] = json!("b1");
    let asked = bundle(
        "batch",
        vec![
            entry("PUT", "Observation/b1", Some(own.clone())),
            entry("GET", "Observation/nothing", None),
            entry("POST", "Observation", Some(observation("nobody", 1))),
            entry("GET", "Observation/b1/_history", None),
            entry("DELETE", "Observation/b1", None),
            entry("HEAD", "Observation/b1", None),
            entry("POST", "Observation/_search", Some(own)),
        ],
    );
    let answer = submit(&doors, &token, &base, &asked).await;
    assert_eq!(statuses(&answer), ["201", "404", "422", "200", "204", "410", "501"]);
    assert_eq!(answer.json()["entry"][3]["resource"]["type"], "history");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_preferred_comes_back_with_each_entry() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let asked =
        bundle("transaction", vec![entry("POST", "Observation", Some(observation(&known, 1)))]);
    let back = async |prefer: &str| {
        let headers = [("prefer", prefer)];
        let answer = doors.ask(&token, Method::POST, &base, &headers, Some(&asked)).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json()["entry"][0].clone()
    };
    let minimal = back("return=minimal").await;
    assert!(minimal.get("resource").is_none() && minimal["response"].get("outcome").is_none());
    assert_eq!(back("return=representation").await["resource"]["status"], "final");
    let outcome = &back("return=OperationOutcome").await["response"]["outcome"];
    assert_eq!(outcome["resourceType"], "OperationOutcome");
}

/// A POST makes a resource each time, a message counts once: this is the door of the
/// former.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_transaction_twice_is_two_transactions() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut resource = observation(&known, 1);
    resource["identifier"] = json!([{ "system": "urn:test", "value": "T" }]);
    let asked = bundle("transaction", vec![entry("POST", "Observation", Some(resource))]);
    for _ in 0..2 {
        assert_eq!(statuses(&submit(&doors, &token, &base, &asked).await), ["201"]);
    }
    let found = doors.get(&token, &format!("{base}/Observation?patient={known}")).await;
    assert_eq!(found.json()["total"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_of_synthea_is_loaded_at_once_with_every_reference() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/corpora/fhir/synthea");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not at hand", folder.display());
        return;
    };
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.retain(|path| std::fs::metadata(path).is_ok_and(|facts| facts.len() > 200_000));
    let bytes = std::fs::read(&files[0]).unwrap();
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let request = Request::builder()
        .method("POST")
        .uri(&base)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/fhir+json");
    let answer = doors.send(request, &bytes).await;
    let statuses = statuses(&answer);
    let sent: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(statuses.len(), sent["entry"].as_array().unwrap().len());
    assert!(statuses.iter().all(|status| status == "201"), "{statuses:?}");
    let bundle = answer.json();
    let locations: Vec<_> = bundle["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["location"].as_str().unwrap())
        .collect();
    let patient = locations.iter().find(|place| place.starts_with("Patient/")).unwrap();
    let id = patient.split('/').nth(1).unwrap();
    let url = format!("{base}/Patient/{id}/$everything");
    let everything = doors.get(&token, &url).await;
    let text = String::from_utf8(everything.body.clone()).unwrap();
    assert!(!text.contains("\"reference\":\"urn:uuid"), "every reference was resolved");
    let count = everything.json()["entry"].as_array().unwrap().len();
    assert_eq!(count, locations.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_of_a_hundred_thousand_entries_is_refused_at_once() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    for kind in ["transaction", "batch"] {
        let many = vec![entry("DELETE", "List/1", None); 100_000];
        let answer = submit(&doors, &token, &base, &bundle(kind, many)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_a_transaction_reaches_nothing_of_another_organization() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (lab, caller) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let lab_base = format!("/fhir/{}", caller.organization());
    // A patient of another organization is nobody here, in every way to name them.
    for reference in [
        format!("Patient/{known}"),
        format!("https://hie.example/fhir/lakeside-family/Patient/{known}"),
    ] {
        let mut resource = observation("x", 1);
        resource["subject"]["reference"] = json!(reference);
        let asked = bundle("transaction", vec![entry("POST", "Observation", Some(resource))]);
        let refused = submit(&doors, &lab, &lab_base, &asked).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{reference}");
    }
    let asked = bundle("transaction", vec![entry("DELETE", &format!("Patient/{known}"), None)]);
    let across = submit(&doors, &lab, "/fhir/lakeside-family", &asked).await;
    assert_eq!(across.status, StatusCode::FORBIDDEN);
    let own = submit(&doors, &lab, &lab_base, &asked).await;
    assert_eq!(statuses(&own), ["204"], "there is no such patient here");
    let (token, base, _) = doors.clinician().await;
    assert_eq!(doors.get(&token, &format!("{base}/Patient/{known}")).await.status, StatusCode::OK);
}
