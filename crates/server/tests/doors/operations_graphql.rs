//! `$graphql` (FHIR R4 graphql.html).

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Doors;
use crate::operations_everything::create;

async fn ask(doors: &Doors, token: &str, url: &str, query: &str) -> (StatusCode, Value) {
    let body = json!({ "query": query, "variables": { "yes": true, "code": "2345-7" } });
    let json = [("content-type", "application/json")];
    let mut request = axum::http::Request::builder()
        .method(Method::POST)
        .uri(format!("{url}/$graphql"))
        .header("authorization", format!("Bearer {token}"));
    for (name, value) in json {
        request = request.header(name, value);
    }
    let answer = doors.send(request, &serde_json::to_vec(&body).unwrap()).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_walks_fields_references_and_searches_and_only_as_far_as_it_may() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let observation = json!({
        "resourceType": "Observation", "status": "final",
        "code": { "coding": [
            { "system": "http://loinc.org", "code": "2345-7" }, { "system": "urn:x", "code": "g" }] },
        "subject": { "reference": format!("Patient/{patient}") }, "valueString": "high",
    });
    let made = create(&doors, &token, &base, &observation).await;
    let url = format!("{base}/{made}");
    let fine = async |url: &str, query: &str| {
        let (status, told) = ask(&doors, &token, url, query).await;
        assert_eq!(status, StatusCode::OK, "{query}: {told}");
        assert_eq!(told["errors"], Value::Null, "{query}: {told}");
        told["data"].clone()
    };
    let told = fine(
        &url,
        "query q($yes: Boolean) { status value: valueString @include(if: $yes) id @skip(if: $yes)
           code { coding(system: \"urn:x\") { code } first: coding @first { ...c } }
           subject { resource { resourceType ... on Patient { id } ... on Group { type } } } }
         fragment c on Coding { system }",
    )
    .await;
    assert_eq!(
        told,
        json!({ "status": "final", "value": "high",
            "code": { "coding": [{ "code": "g" }], "first": { "system": "http://loinc.org" } },
            "subject": { "resource": { "resourceType": "Patient", "id": patient } } })
    );
    let query = format!(
        "query ($code: String) {{ Patient(id: \"{patient}\") {{ id
           ObservationList(_reference: patient, code: $code) {{ status }} }}
         ObservationList(patient: \"{patient}\", _count: 1) {{ valueString }} }}"
    );
    let told = fine(&base, &query).await;
    assert_eq!(told["Patient"]["ObservationList"], json!([{ "status": "final" }]));
    assert_eq!(told["ObservationList"], json!([{ "valueString": "high" }]));
    // The same by GET, whose answer has only what was asked for.
    let get = doors.get(&token, &format!("{url}/$graphql?query=%7Bstatus%7D")).await;
    assert_eq!(get.json(), json!({ "data": { "status": "final" } }));

    let deep = format!("{}id{}", "{ subject ".repeat(60), "}".repeat(60));
    let circle = "{ ...a } fragment a on Observation { ...a }";
    let many = format!(
        "{{ {} }}",
        (0..300).map(|n| format!("a{n}: Patient(id: \"{patient}\") {{ id }} ")).collect::<String>()
    );
    for (url, query) in [
        (&url, "{ colour }"),
        (&url, "{ code }"),
        (&url, "{ status { x } }"),
        (&url, "{ status @flatten }"),
        (&url, "{ code { coding(colour: 1) { code } } }"),
        (&url, "mutation { status }"),
        (&url, "{ status"),
        (&url, deep.as_str()),
        (&url, circle),
        (&base, "{ Nothing(id: 1) { id } }"),
        (&base, "{ PatientList(colour: 1) { id } }"),
        (&base, many.as_str()),
    ] {
        let (status, told) = ask(&doors, &token, url, query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {told}");
        assert_eq!(told["resourceType"], "OperationOutcome");
    }

    // P11: somebody else's record is not there, whatever the way to it.
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    assert_eq!(ask(&doors, &lab, &url, "{ status }").await.0, StatusCode::NOT_FOUND);
    let (status, told) = ask(&doors, &lab, &base, &query).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{told}");
    let unauthenticated = ask(&doors, "wrong", &url, "{ status }").await.0;
    assert_eq!(unauthenticated, StatusCode::UNAUTHORIZED);
}
