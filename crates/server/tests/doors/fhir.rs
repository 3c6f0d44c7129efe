//! The FHIR API.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Doors;

fn observation(patient: &str, value: u32) -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "valueQuantity": {
            "value": value, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL",
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_created_is_read_searched_and_updated() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    assert_eq!(base, "/fhir/lakeside-family");

    let url = format!("{base}/Observation");
    let created =
        doors.ask(&token, Method::POST, &url, &[], Some(&observation(&patient, 97))).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&created.body));
    assert_eq!(created.header("etag"), "W/\"1\"");
    let location =
        created.header("location").strip_prefix("https://hie.example").unwrap().to_owned();
    let current = location.strip_suffix("/_history/1").unwrap().to_owned();

    let read = doors.get(&token, &current).await;
    assert_eq!((read.status, read.header("etag")), (StatusCode::OK, "W/\"1\""));
    assert!(read.headers.contains_key("last-modified"));
    assert_eq!(read.json()["valueQuantity"]["value"], json!(97));
    let unchanged =
        doors.ask(&token, Method::GET, &current, &[("if-none-match", "W/\"1\"")], None).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0));

    let mut changed = observation(&patient, 101);
    changed["id"] = read.json()["id"].clone();
    let stale = [("if-match", "W/\"7\"")];
    let refused = doors.ask(&token, Method::PUT, &current, &stale, Some(&changed)).await;
    assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED);
    let fresh = [("if-match", "W/\"1\""), ("prefer", "return=representation")];
    let updated = doors.ask(&token, Method::PUT, &current, &fresh, Some(&changed)).await;
    assert_eq!((updated.status, updated.header("etag")), (StatusCode::OK, "W/\"2\""));
    assert_eq!(updated.json()["meta"]["versionId"], "2");
    let former = doors.get(&token, &location).await;
    assert_eq!(former.json()["valueQuantity"]["value"], json!(97));

    let found =
        doors.get(&token, &format!("{base}/Observation?patient={patient}&code=2345-7")).await;
    assert_eq!(found.status, StatusCode::OK);
    let bundle = found.json();
    assert_eq!((&bundle["total"], &bundle["type"]), (&json!(1), &json!("searchset")));
    assert_eq!(bundle["entry"][0]["fullUrl"], format!("https://hie.example{current}"));
    assert_eq!(holdfast_fhir::validate(&bundle), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_puts_a_then_b_then_a_again_has_a() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let url = format!("{base}/Observation/a-b-a");
    for (value, version) in [(1, "W/\"1\""), (2, "W/\"2\""), (1, "W/\"3\"")] {
        let mut resource = observation(&patient, value);
        resource["id"] = json!("a-b-a");
        let put = doors.ask(&token, Method::PUT, &url, &[], Some(&resource)).await;
        assert_eq!(put.header("etag"), version);
    }
    assert_eq!(doors.get(&token, &url).await.json()["valueQuantity"]["value"], json!(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_their_next_links_and_add_up_to_the_total() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    for value in 0..5 {
        let body = observation(&patient, value);
        doors.ask(&token, Method::POST, &format!("{base}/Observation"), &[], Some(&body)).await;
    }
    let mut url = format!("{base}/Observation?patient={patient}&_count=2");
    let mut ids = std::collections::BTreeSet::new();
    loop {
        let page = doors.get(&token, &url).await.json();
        assert_eq!(page["total"], 5);
        for entry in page["entry"].as_array().unwrap() {
            assert!(ids.insert(entry["resource"]["id"].to_string()));
        }
        let next = page["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next");
        let Some(next) = next else { break };
        url = next["url"].as_str().unwrap().strip_prefix("https://hie.example").unwrap().to_owned();
        assert!(!url.contains(&patient), "no link names a patient");
    }
    assert_eq!(ids.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_and_batches_are_answered_entry_by_entry() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let entry = |value| {
        json!({
            "resource": observation(&patient, value), "request": { "method": "POST", "url": "Observation" },
        })
    };
    let transaction =
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry(1), entry(2)] });
    let done = doors.ask(&token, Method::POST, &base, &[], Some(&transaction)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", String::from_utf8_lossy(&done.body));
    let done = done.json();
    assert_eq!(done["type"], "transaction-response");
    for answer in done["entry"].as_array().unwrap() {
        assert_eq!(answer["response"]["status"], "201 Created");
        assert!(answer["response"]["location"].as_str().unwrap().starts_with("Observation/"));
    }
    let mut broken = observation(&patient, 3);
    broken["status"] = json!(17);
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [
        { "request": { "method": "GET", "url": format!("Patient/{patient}") } },
        { "resource": broken, "request": { "method": "POST", "url": "Observation" } },
        { "request": { "method": "GET", "url": format!("Observation?patient={patient}") } },
        { "request": { "method": "DELETE", "url": format!("Patient/{patient}") } },
        entry(4),
    ]});
    let done = doors.ask(&token, Method::POST, &format!("{base}/"), &[], Some(&batch)).await.json();
    let statuses: Vec<_> = done["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap()[..3].to_owned())
        .collect();
    assert_eq!(statuses, ["200", "422", "200", "409", "201"]);
    assert_eq!(done["entry"][2]["resource"]["total"], 2);
    assert_eq!(holdfast_fhir::validate(&done["entry"][1]["response"]["outcome"]), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_its_place_and_without_its_value() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let check = async |method: Method,
                       path: String,
                       headers: &[(&str, &str)],
                       body: Option<Value>,
                       status: u16| {
        let answer =
            doors.ask(&token, method, &format!("{base}{path}"), headers, body.as_ref()).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status.as_u16(), status, "{path}: {text}");
        assert_eq!(answer.json()["resourceType"], "OperationOutcome", "{path}");
        assert!(!text.contains("Zebulon"), "{text}");
        answer.json()
    };
    let get = Method::GET;
    check(get.clone(), "/Patient/nobody".into(), &[], None, 404).await;
    check(get.clone(), "/Nothing/1".into(), &[], None, 404).await;
    check(get.clone(), "/Patient/1/_history".into(), &[], None, 404).await;
    check(get.clone(), format!("/Patient/{patient}/$nothing"), &[], None, 501).await;
    check(get.clone(), "/Patient?colour=Zebulon".into(), &[], None, 400).await;
    check(get.clone(), "/Patient?birthdate=Zebulon".into(), &[], None, 400).await;
    check(get.clone(), "/Observation?value-string:contains=Zebulon".into(), &[], None, 400).await;
    check(get.clone(), "/Patient?_page=Zebulon".into(), &[], None, 400).await;
    check(get.clone(), "/Patient?name=%FF".into(), &[], None, 400).await;
    check(get.clone(), "/Patient?_format=ttl".into(), &[], None, 406).await;
    check(get.clone(), "/Patient".into(), &[("accept", "text/turtle")], None, 406).await;
    check(get, "/Patient".into(), &[("x-purpose", "Zebulon")], None, 400).await;
    let wrong = json!({ "resourceType": "Observation", "status": "Zebulon" });
    let outcome = check(Method::POST, "/Observation".into(), &[], Some(wrong), 422).await;
    assert!(outcome["issue"].as_array().unwrap().iter().any(|i| i["expression"][0].is_string()));
    let other = json!({ "resourceType": "Patient" });
    check(Method::POST, "/Observation".into(), &[], Some(other), 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_unknown_organizations_and_unknown_ids_answer_alike() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let mut told = Vec::new();
    for url in [
        format!("/fhir/lakeside-family/Patient/{patient}"),
        "/fhir/lakeside-family/Patient/nobody".into(),
        format!("/fhir/nowhere/Patient/{patient}"),
        "/fhir/No%20Name/Patient/1".into(),
    ] {
        let answer = doors.get(&lab, &url).await;
        let mut outcome = answer.json();
        outcome["id"] = Value::Null;
        told.push((answer.status, outcome));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    let statement = |organization: &str| {
        let url = format!("/fhir/{organization}/metadata");
        async { doors.send(axum::http::Request::builder().uri(url), b"").await }
    };
    let (there, nowhere) = (statement("lakeside-family").await, statement("nowhere").await);
    assert_eq!((there.status, nowhere.status), (StatusCode::OK, StatusCode::OK));
    let text = String::from_utf8(there.body).unwrap().replace("lakeside-family", "nowhere");
    assert_eq!(text.as_bytes(), nowhere.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_that_is_away_is_said_clearly_and_a_write_is_kept() {
    let mut doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    doors.kit.stop_keeper().await;
    let read = doors.get(&token, &format!("{base}/Patient/{patient}")).await;
    assert_eq!((read.status, read.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    assert_eq!(read.json()["issue"][0]["code"], "transient");
    let body = observation(&patient, 5);
    let kept =
        doors.ask(&token, Method::POST, &format!("{base}/Observation"), &[], Some(&body)).await;
    assert_eq!(kept.status, StatusCode::ACCEPTED);
}
