//! PATCH (FHIR R4 http.html#patch): JSON Patch and FHIRPath Patch.

use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::history::{observation, put};
use crate::{Answer, Doors};

const JSON_PATCH: &str = "application/json-patch+json";
const FHIR: &str = "application/fhir+json";

async fn patch(
    doors: &Doors,
    token: &str,
    url: &str,
    headers: &[(&str, &str)],
    (media_type, body): (&str, &Value),
) -> Answer {
    let mut request = Request::builder()
        .method(Method::PATCH)
        .uri(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", media_type);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    doors.send(request, body.to_string().as_bytes()).await
}

fn fhirpath(kind: &str, path: &str, value: Option<Value>) -> Value {
    let mut parts = vec![
        json!({ "name": "type", "valueCode": kind }),
        json!({ "name": "path", "valueString": path }),
    ];
    parts.extend(value);
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": parts }] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_makes_a_version_that_is_valid_or_none() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut resource = observation(&known, 1);
    resource["id"] = json!("o1");
    put(&doors, &token, &base, &resource).await;
    let url = format!("{base}/Observation/o1");

    let amended = json!([
        { "op": "test", "path": "/status", "value": "final" },
        { "op": "replace", "path": "/status", "value": "amended" },
    ]);
    let headers = [("if-match", "W/\"1\""), ("prefer", "return=representation")];
    let done = patch(&doors, &token, &url, &headers, (JSON_PATCH, &amended)).await;
    assert_eq!((done.status, done.header("etag")), (StatusCode::OK, "W/\"2\""));
    assert_eq!(done.json()["status"], "amended");
    let value = json!({ "name": "value", "valueString": "mmol/L" });
    let unit = fhirpath("replace", "Observation.value.unit", Some(value));
    let done = patch(&doors, &token, &url, &[], (FHIR, &unit)).await;
    assert_eq!(done.header("etag"), "W/\"3\"", "{}", String::from_utf8_lossy(&done.body));
    assert_eq!(doors.get(&token, &url).await.json()["valueQuantity"]["unit"], "mmol/L");

    let test_fails = json!([{ "op": "test", "path": "/status", "value": "final" }]);
    let invalid = json!([{ "op": "replace", "path": "/status", "value": "Zebulon" }]);
    let renames = json!([{ "op": "replace", "path": "/id", "value": "o2" }]);
    let moves = json!([{ "op": "replace", "path": "/subject/reference", "value": "Patient/x" }]);
    let text = json!("no operations");
    let nothing = fhirpath("replace", "Observation.method", Some(json!({ "name": "value" })));
    for (media_type, body, headers, status) in [
        (JSON_PATCH, &test_fails, &[][..], 422),
        (JSON_PATCH, &invalid, &[][..], 422),
        (JSON_PATCH, &renames, &[][..], 422),
        (JSON_PATCH, &moves, &[][..], 422),
        (JSON_PATCH, &text, &[][..], 422),
        (FHIR, &nothing, &[][..], 422),
        (FHIR, &resource, &[][..], 400),
        ("application/merge-patch+json", &resource, &[][..], 415),
        (JSON_PATCH, &amended, &[("if-match", "W/\"1\"")][..], 412),
    ] {
        let refused = patch(&doors, &token, &url, headers, (media_type, body)).await;
        assert_eq!(refused.status.as_u16(), status, "{body}");
        let told = refused.json();
        assert_eq!(told["resourceType"], "OperationOutcome");
        assert!(!told.to_string().contains("Zebulon"), "{told}");
    }
    let history = doors.get(&token, &format!("{url}/_history")).await.json();
    assert_eq!(history["total"], 3);
    let never = format!("{base}/Observation/never");
    let refused = patch(&doors, &token, &never, &[], (JSON_PATCH, &amended)).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_patch_patches_the_one_that_fits() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let person = json!({
        "resourceType": "Patient", "id": "p1", "active": true,
        "identifier": [{ "system": "urn:test", "value": "P1" },
            { "system": "http://hl7.org/fhir/sid/us-ssn", "value": "123-45-6789" }],
        "name": [{ "family": "Patched" }],
    });
    put(&doors, &token, &base, &person).await;
    let rename = json!([{ "op": "replace", "path": "/name/0/family", "value": "Renamed" }]);
    let by = |number: &str| format!("{base}/Patient?identifier=urn:test%7C{number}");
    let done = patch(&doors, &token, &by("P1"), &[], (JSON_PATCH, &rename)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", String::from_utf8_lossy(&done.body));
    // The directory knows the new name, and the number that nobody sees is as it was.
    let found = doors.get(&token, &format!("{base}/Patient?family=Renamed")).await.json();
    assert_eq!(found["total"], 1);
    assert_eq!(found["entry"][0]["resource"]["identifier"][1]["value"], "***-**-6789");
    let nobody = patch(&doors, &token, &by("P2"), &[], (JSON_PATCH, &rename)).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_a_patch_touches_nothing_of_another_organization() {
    let doors = Doors::open().await;
    let known = doors.with_a_patient().await;
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let gone = json!([{ "op": "remove", "path": "/name" }]);
    for id in [known.as_str(), "nothing"] {
        let url = format!("/fhir/lakeside-family/Patient/{id}");
        let refused = patch(&doors, &lab, &url, &[], (JSON_PATCH, &gone)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
}
