//! Every resource type: what is about no patient is the organization's own, and a
//! Binary is its bytes (FHIR R4 http.html#binary, binary.html#rest).

use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::{Answer, Doors};

async fn create(doors: &Doors, token: &str, base: &str, resource: &Value) -> Answer {
    let url = format!("{base}/{}", resource["resourceType"].as_str().unwrap());
    doors.ask(token, Method::POST, &url, &[], Some(resource)).await
}

fn path(answer: &Answer) -> String {
    let location = answer.header("location").strip_prefix("https://hie.example").unwrap();
    location.split("/_history").next().unwrap().to_owned()
}

/// One of each kind of resource that names no patient, with a search that finds it.
fn own_resources() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({ "resourceType": "ValueSet", "status": "active", "url": "http://x.example/vs" }),
            "url=http://x.example/vs",
        ),
        (
            json!({ "resourceType": "Questionnaire", "status": "draft", "title": "Intake form" }),
            "status=draft",
        ),
        (
            json!({ "resourceType": "List", "status": "current", "mode": "working", "title": "Rounds" }),
            "status=current",
        ),
        (json!({ "resourceType": "Group", "type": "person", "actual": false }), "type=person"),
        (
            json!({
                "resourceType": "Observation", "status": "final", "code": { "text": "water" },
                "subject": { "reference": "Location/tap" },
            }),
            "status=final",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_what_is_about_no_patient_is_its_organizations_own() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let (lab, caller) = doors.kit.sign_in_for_token("laboratory-staff").await;
    assert_ne!(caller.organization().as_str(), "lakeside-family");
    for (resource, query) in own_resources() {
        let kind = resource["resourceType"].as_str().unwrap();
        let created = create(&doors, &token, &base, &resource).await;
        assert_eq!(
            created.status,
            StatusCode::CREATED,
            "{kind}: {}",
            String::from_utf8_lossy(&created.body)
        );
        let url = path(&created);
        let read = doors.get(&token, &url).await;
        assert_eq!(read.status, StatusCode::OK, "{kind}");
        let found = doors.get(&token, &format!("{base}/{kind}?{query}")).await;
        assert_eq!(found.json()["total"], 1, "{kind}: {}", found.json());
        let mut changed = read.json();
        changed["language"] = json!("en");
        let updated = doors.ask(&token, Method::PUT, &url, &[], Some(&changed)).await;
        assert_eq!((updated.status, updated.header("etag")), (StatusCode::OK, "W/\"2\""), "{kind}");

        // Others, in what they may ask for, see what they see of what is not there.
        let nothing = format!("{base}/{kind}/nothing");
        for suffix in ["", "/_history", "/_history/1"] {
            let there = doors.get(&lab, &format!("{url}{suffix}")).await;
            let nowhere = doors.get(&lab, &format!("{nothing}{suffix}")).await;
            let told = |answer: &Answer| {
                let mut outcome = answer.json();
                outcome["id"] = Value::Null;
                (answer.status, outcome)
            };
            assert_eq!(told(&there), told(&nowhere), "{kind}{suffix}");
        }
        let elsewhere = doors.get(&lab, &format!("{base}/{kind}?{query}")).await;
        assert_ne!(elsewhere.json()["total"], 1, "{kind}");
        assert!(!String::from_utf8_lossy(&elsewhere.body).contains(&url), "{kind}");
        let refused = doors.ask(&lab, Method::PUT, &url, &[], Some(&changed)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{kind}");
        let history = doors.get(&lab, &format!("{base}/{kind}/_history")).await;
        assert!(!String::from_utf8_lossy(&history.body).contains(&url), "{kind}");

        let gone = doors.ask(&token, Method::DELETE, &url, &[], None).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT, "{kind}");
        let found = doors.get(&token, &format!("{base}/{kind}?{query}")).await;
        assert_eq!(found.json()["total"], 0, "{kind}");
    }
    // The directory stays open to everybody who works on the exchange.
    let place = json!({ "resourceType": "Location", "name": "Room 4" });
    let created = create(&doors, &token, &base, &place).await;
    assert_eq!(doors.get(&lab, &path(&created)).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_a_look_at_an_organizations_own_resource_is_an_entry() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let (resource, _) = own_resources().remove(0);
    let url = path(&create(&doors, &token, &base, &resource).await);
    doors.get(&token, &url).await;
    let officer = holdfast_exchange::Ask::new(doors.kit.sign_in("privacy-officer").await);
    let filter = holdfast_exchange::Filter { kinds: vec!["access".into()], ..Default::default() };
    let entries = doors.kit.exchange().ledger_entries(&officer, &filter).await.unwrap();
    let actions: Vec<_> = entries
        .iter()
        .filter_map(|placed| match &placed.entry.event {
            holdfast_exchange::Event::Access { action, touches, .. } => {
                touches.iter().any(|touch| touch.resource_type == "ValueSet").then(|| json!(action))
            }
            _ => None,
        })
        .collect();
    assert_eq!(actions, ["write", "read"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_clinical_that_names_nobody_is_refused_with_its_element() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let homeless =
        json!({ "resourceType": "Observation", "status": "final", "code": { "text": "x" } });
    let refused = create(&doors, &token, &base, &homeless).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let issue = &refused.json()["issue"][0];
    assert_eq!(issue["code"], "required");
    assert!(issue["expression"][0].as_str().unwrap().ends_with("subject"), "{issue}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_comes_and_goes_as_it_is_and_belongs_to_whom_it_says() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let request = Request::builder()
        .method("POST")
        .uri(format!("{base}/Binary"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "image/png")
        .header("x-security-context", format!("Patient/{patient}"));
    let bytes = b"\x89PNG\r\n\x1a\n\xff\x00";
    let created = doors.send(request, bytes).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&created.body));
    let url = path(&created);

    let raw = doors.ask(&token, Method::GET, &url, &[("accept", "image/png")], None).await;
    assert_eq!((raw.status, raw.body.as_slice()), (StatusCode::OK, &bytes[..]));
    assert_eq!(raw.header("content-type"), "image/png");
    assert_eq!(raw.header("x-security-context"), format!("Patient/{patient}"));
    assert_eq!(raw.header("content-disposition"), "attachment");
    let fhir = doors.get(&token, &url).await.json();
    assert_eq!(fhir["contentType"], "image/png");
    let other = doors.ask(&token, Method::GET, &url, &[("accept", "audio/mpeg")], None).await;
    assert_eq!(other.status, StatusCode::NOT_ACCEPTABLE);

    // It lies in that patient's record: its history is part of the record's.
    let history = doors.get(&token, &format!("{base}/Binary/_history?patient={patient}")).await;
    assert_eq!(history.json()["total"], 1, "{}", history.json());
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    assert_eq!(doors.get(&lab, &url).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decimals_extensions_and_the_order_of_elements_survive_byte_for_byte() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    // In an order that nobody would write, with digits that no float has.
    let tail = format!(
        concat!(
            r#""valueQuantity":{{"code":"mg/dL","value":1.00000000000000000000100,"unit":"mg/dL","#,
            r#""system":"http://unitsofmeasure.org"}},"#,
            r#""subject":{{"reference":"Patient/{}"}},"#,
            r#""extension":[{{"valueDecimal":1.500,"url":"http://x.example/unknown"}}],"#,
            r#""status":"final","code":{{"text":"é\"\\/ 😀"}}"#,
        ),
        patient
    );
    let body = format!(r#"{{"resourceType":"Observation","id":"exact",{tail}}}"#);
    let url = format!("{base}/Observation/exact");
    let request = Request::builder()
        .method("PUT")
        .uri(&url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/fhir+json");
    let put = doors.send(request, body.as_bytes()).await;
    assert_eq!(put.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&put.body));
    let read = doors.get(&token, &url).await;
    let text = String::from_utf8(read.body).unwrap();
    assert!(text.ends_with(&format!("}},{tail}}}")), "{text}");
    assert!(text.starts_with(r#"{"resourceType":"Observation","id":"exact","meta":{"#), "{text}");
}
