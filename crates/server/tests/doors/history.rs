//! Deleting, and what was (FHIR R4 http.html#delete, #history, #vread).

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Answer, Doors};

pub(crate) fn observation(patient: &str, value: u32) -> Value {
    json!({
        "resourceType": "Observation", "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "valueQuantity": { "value": value, "unit": "mg/dL" },
    })
}

/// Puts `resource` at `Type/id`.
pub(crate) async fn put(doors: &Doors, token: &str, base: &str, resource: &Value) -> Answer {
    let (kind, id) = (resource["resourceType"].as_str(), resource["id"].as_str());
    let url = format!("{base}/{}/{}", kind.unwrap(), id.unwrap());
    let done = doors.ask(token, Method::PUT, &url, &[], Some(resource)).await;
    assert!(done.status.is_success(), "{}", String::from_utf8_lossy(&done.body));
    done
}

pub(crate) async fn delete(doors: &Doors, token: &str, url: &str) -> Answer {
    doors.ask(token, Method::DELETE, url, &[], None).await
}

fn with_id(mut resource: Value, id: &str) -> Value {
    resource["id"] = json!(id);
    resource
}

/// Method and version of each entry.
fn told(bundle: &Value) -> Vec<(String, String)> {
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&entry["request"]["method"]), text(&entry["response"]["etag"]))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_gone_from_reads_and_searches_and_stays_in_history() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let url = format!("{base}/Observation/o1");
    put(&doors, &token, &base, &with_id(observation(&patient, 1), "o1")).await;
    put(&doors, &token, &base, &with_id(observation(&patient, 2), "o1")).await;

    // http.html#delete: 204; a read is 410; deleting again changes nothing.
    let gone = delete(&doors, &token, &url).await;
    assert_eq!((gone.status, gone.header("etag")), (StatusCode::NO_CONTENT, "W/\"3\""));
    let read = doors.get(&token, &url).await;
    assert_eq!(read.status, StatusCode::GONE);
    assert_eq!(read.json()["issue"][0]["code"], "deleted");
    let again = delete(&doors, &token, &url).await;
    assert_eq!((again.status, again.header("etag")), (StatusCode::NO_CONTENT, "W/\"3\""));
    let never = delete(&doors, &token, &format!("{base}/Observation/never")).await;
    assert_eq!(never.status, StatusCode::NO_CONTENT);
    assert!(!never.headers.contains_key("etag"));

    // http.html#vread: a former version is there, the deletion itself is 410.
    let former = doors.get(&token, &format!("{url}/_history/2")).await;
    assert_eq!(former.json()["valueQuantity"]["value"], json!(2));
    assert_eq!(doors.get(&token, &format!("{url}/_history/3")).await.status, StatusCode::GONE);
    assert_eq!(doors.get(&token, &format!("{url}/_history/4")).await.status, StatusCode::NOT_FOUND);

    // Searches, within the record and over all patients, forget it.
    for query in [format!("patient={patient}"), "code=2345-7".to_owned()] {
        let found = doors.get(&token, &format!("{base}/Observation?{query}")).await;
        assert_eq!(found.json()["total"], 0, "{query}: {}", found.json());
    }

    // http.html#history: newest first, a deletion without its resource.
    let history = doors.get(&token, &format!("{url}/_history")).await.json();
    assert_eq!((&history["type"], &history["total"]), (&json!("history"), &json!(3)));
    let expected = [("DELETE", "W/\"3\""), ("PUT", "W/\"2\""), ("PUT", "W/\"1\"")];
    assert_eq!(told(&history), expected.map(|(m, v)| (m.to_owned(), v.to_owned())));
    assert!(history["entry"][0].get("resource").is_none());
    let statuses: Vec<_> =
        (0..3).map(|n| history["entry"][n]["response"]["status"].clone()).collect();
    assert_eq!(statuses, ["204 No Content", "200 OK", "201 Created"]);
    assert_eq!(holdfast_fhir::validate(&history), []);

    // http.html#upsert: it can be brought back.
    let back = put(&doors, &token, &base, &with_id(observation(&patient, 4), "o1")).await;
    assert_eq!((back.status, back.header("etag")), (StatusCode::CREATED, "W/\"4\""));
    assert_eq!(doors.get(&token, &url).await.json()["valueQuantity"]["value"], json!(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_is_confined_by_time_and_its_pages_see_one_state() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut written = Vec::new();
    for value in 1..=5 {
        doors.kit.clock.advance_ms(10_000);
        put(&doors, &token, &base, &with_id(observation(&patient, value), "o1")).await;
        let read = doors.get(&token, &format!("{base}/Observation/o1")).await.json();
        written.push(read["meta"]["lastUpdated"].as_str().unwrap().to_owned());
    }
    let url = format!("{base}/Observation/o1/_history");
    let versions = async |query: &str| {
        let answer = doors.get(&token, &format!("{url}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.json());
        let told = told(&answer.json());
        told.into_iter().map(|(_, tag)| tag.replace(['W', '/', '"'], "")).collect::<Vec<_>>()
    };
    // _since: at or after; _at: current at that time (http.html#history).
    assert_eq!(versions(&format!("_since={}", written[3])).await, ["5", "4"]);
    assert_eq!(versions(&format!("_at={}", written[1])).await, ["2"]);
    assert_eq!(versions("_at=2026-01-05").await, ["5", "4", "3", "2", "1"]);
    assert_eq!(versions("_at=2026-01-06").await, ["5"]);
    for wrong in ["_since=yesterday", "_count=many", "colour=blue", "_page=x"] {
        let answer = doors.get(&token, &format!("{url}?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }

    let first = doors.get(&token, &format!("{url}?_count=2")).await.json();
    put(&doors, &token, &base, &with_id(observation(&patient, 9), "o1")).await;
    let next = |page: &Value| {
        let links = page["link"].as_array().unwrap();
        let next = links.iter().find(|link| link["relation"] == "next")?;
        let url = next["url"].as_str().unwrap();
        Some(url.strip_prefix("https://hie.example").unwrap().to_owned())
    };
    let mut seen = told(&first);
    let mut url = next(&first);
    while let Some(there) = url {
        assert!(!there.contains("o1?") && !there.contains(&patient), "no link names a patient");
        let page = doors.get(&token, &there).await.json();
        assert_eq!(page["total"], 5);
        seen.extend(told(&page));
        url = next(&page);
    }
    let tags: Vec<_> = seen.iter().map(|(_, tag)| tag.as_str()).collect();
    assert_eq!(tags, ["W/\"5\"", "W/\"4\"", "W/\"3\"", "W/\"2\"", "W/\"1\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_and_everything_have_a_history_of_what_the_caller_may_read() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    put(&doors, &token, &base, &with_id(observation(&patient, 1), "o1")).await;
    put(&doors, &token, &base, &with_id(observation(&patient, 2), "o2")).await;
    delete(&doors, &token, &format!("{base}/Observation/o1")).await;

    let of_type = doors.get(&token, &format!("{base}/Observation/_history")).await.json();
    assert_eq!(of_type["total"], 3, "{of_type}");
    assert_eq!(told(&of_type)[0].0, "DELETE");
    let everything = doors.get(&token, &format!("{base}/_history?_count=500")).await.json();
    let kinds: std::collections::BTreeSet<_> = everything["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["request"]["url"].as_str().unwrap().split('/').next().unwrap())
        .collect();
    assert!(kinds.is_superset(&["Observation", "Patient", "Practitioner"].into()), "{kinds:?}");
    let confined = doors.get(&token, &format!("{base}/_history?patient={patient}")).await.json();
    assert!(confined["total"].as_u64() < everything["total"].as_u64());
    assert!(confined["total"].as_u64() >= Some(4));
    let issues = holdfast_fhir::validate(&everything);
    assert!(!issues.iter().any(holdfast_fhir::Issue::is_error), "{issues:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_histories_and_deletions_show_and_touch_nothing_of_another_organization() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    put(&doors, &token, &base, &with_id(observation(&patient, 1), "o1")).await;
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let there = doors.get(&lab, &format!("{base}/Observation/o1/_history")).await;
    let nowhere = doors.get(&lab, &format!("{base}/Observation/nothing/_history")).await;
    let without_id = |answer: &Answer| {
        let mut outcome = answer.json();
        outcome["id"] = Value::Null;
        (answer.status, outcome)
    };
    assert_eq!(without_id(&there), without_id(&nowhere));
    for url in [format!("{base}/Observation/_history"), format!("{base}/_history")] {
        let shown = doors.get(&lab, &url).await.json();
        let text = shown.to_string();
        assert!(!text.contains(&patient) && !text.contains("Observation/o1"), "{text}");
    }
    let own = doors.get(&lab, &format!("{base}/_history?patient={patient}")).await;
    assert_eq!(own.status, StatusCode::NOT_FOUND);
    for id in ["o1", "nothing"] {
        let refused = delete(&doors, &lab, &format!("{base}/Observation/{id}")).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(doors.get(&token, &format!("{base}/Observation/o1")).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_a_deletion_and_a_history_are_entries_of_the_ledger() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    put(&doors, &token, &base, &with_id(observation(&patient, 1), "o1")).await;
    delete(&doors, &token, &format!("{base}/Observation/o1")).await;
    doors.get(&token, &format!("{base}/Observation/o1/_history")).await;
    let officer = holdfast_exchange::Ask::new(doors.kit.sign_in("privacy-officer").await);
    let filter =
        holdfast_exchange::Filter { kinds: vec!["access".to_owned()], ..Default::default() };
    let entries = doors.kit.exchange().ledger_entries(&officer, &filter).await.unwrap();
    let versions = |wanted: &str| -> Vec<u64> {
        entries
            .iter()
            .filter_map(|placed| match &placed.entry.event {
                holdfast_exchange::Event::Access { action, touches, .. } => {
                    (json!(action) == wanted).then_some(touches)
                }
                _ => None,
            })
            .flatten()
            .filter(|touch| touch.id == "o1")
            .map(|touch| touch.version)
            .collect()
    };
    assert_eq!(versions("delete"), [2]);
    assert_eq!(versions("read"), [2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_is_deleted_when_the_record_is_empty_and_nobody_finds_them_then() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let patient = json!({
        "resourceType": "Patient", "id": "p1", "name": [{ "family": "Vanishing" }],
        "identifier": [{ "system": "urn:test", "value": "V1" }],
    });
    put(&doors, &token, &base, &patient).await;
    put(&doors, &token, &base, &with_id(observation("p1", 1), "o1")).await;
    let url = format!("{base}/Patient/p1");
    let refused = delete(&doors, &token, &url).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.json());

    let both = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "request": { "method": "DELETE", "url": "Patient/p1" } },
        { "request": { "method": "DELETE", "url": "Observation/o1" } },
    ]});
    let done = doors.ask(&token, Method::POST, &base, &[], Some(&both)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.json());
    assert_eq!(doors.get(&token, &url).await.status, StatusCode::GONE);
    for query in ["identifier=urn:test|V1", "family=Vanishing", "_id=p1"] {
        let found = doors.get(&token, &format!("{base}/Patient?{query}")).await.json();
        assert_eq!(found["total"], 0, "{query}");
    }
    let history = doors.get(&token, &format!("{url}/_history")).await.json();
    assert_eq!(history["total"], 2);
    let orphan = with_id(observation("p1", 2), "o2");
    let refused =
        doors.ask(&token, Method::PUT, &format!("{base}/Observation/o2"), &[], Some(&orphan)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    // Brought back, it is the same record; the number is free for it again.
    let back = put(&doors, &token, &base, &patient).await;
    assert_eq!(back.header("etag"), "W/\"3\"");
    let found = doors.get(&token, &format!("{base}/Patient?identifier=urn:test|V1")).await.json();
    assert_eq!(found["total"], 1);
}
