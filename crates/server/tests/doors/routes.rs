//! Every route, without credentials and with wrong ones.

use std::path::Path;

use axum::http::{Method, Request, StatusCode};
use holdfast_server::Peer;

use crate::Doors;

/// What is open without sign-in. A route that is added here wants a reason:
/// `healthz` says nothing, `token` is where one signs in, `metadata`, its
/// OpenAPI document and `$versions` are the same for everybody (FHIR R4 http.html#capabilities), the console's sign-in page holds
/// nothing of anybody, and nor does its style sheet, whose path is no template; the
/// public part of the ledger is salted commitments, for everybody's monitor.
const OPEN: [(&str, &str); 11] = [
    ("GET", "/healthz"),
    ("POST", "/auth/token"),
    ("GET", "/fhir/{organization}/metadata"),
    ("GET", "/fhir/{organization}/$versions"),
    ("POST", "/fhir/{organization}/$versions"),
    ("GET", "/fhir/{organization}/openapi.json"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/ledger/checkpoint"),
    ("GET", "/ledger/checkpoint.witnessed"),
    ("GET", "/ledger/tile/{*rest}"),
];

/// The route templates in the source, so that no route can be forgotten here.
fn templates(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            templates(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            let compact: String = source.split_whitespace().collect();
            for part in compact.split(".route(\"").skip(1) {
                found.push(part.split('"').next().unwrap().to_owned());
            }
        }
    }
}

fn url_of(template: &str) -> String {
    [
        ("{organization}", "lakeside-family"),
        ("{type}", "Patient"),
        ("{id}", "1"),
        ("{operation}", "everything"),
        ("{version}", "1"),
        ("{number}", "1"),
        ("{principal}", "somebody"),
        ("{*rest}", "a/b/c/d/e/f"),
    ]
    .iter()
    .fold(template.to_owned(), |url, (name, value)| url.replace(name, value))
}

fn is_refused(status: StatusCode, location: Option<&str>) -> bool {
    let sent_to_sign_in =
        status.is_redirection() && location.is_some_and(|to| to.starts_with("/sign-in"));
    // 403: what changes something and does not come from a page of ours.
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
    refused.contains(&status) || sent_to_sign_in
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_every_route_is_refused_without_credentials_and_with_wrong_ones() {
    let doors = Doors::open().await;
    let mut all = Vec::new();
    templates(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    assert!(all.len() > 25, "the source has routes: {all:?}");
    for template in &all {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            if OPEN.contains(&(method.as_str(), template.as_str())) {
                continue;
            }
            for credential in [None, Some("Bearer wrong"), Some("Basic d3Jvbmc6d3Jvbmc=")] {
                let url = url_of(template);
                let mut request = Request::builder().method(method.clone()).uri(&url);
                if let Some(credential) = credential {
                    request = request.header("authorization", credential);
                }
                let answer = doors.send(request, b"").await;
                let location = answer.headers.get("location").and_then(|to| to.to_str().ok());
                assert!(
                    is_refused(answer.status, location),
                    "{method} {template} with {credential:?}: {}",
                    answer.status
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_numbered_and_kept_by_no_cache() {
    let doors = Doors::open().await;
    for url in ["/healthz", "/nothing/here", "/ops/status", "/fhir/lakeside-family/Patient/1"] {
        let answer = doors.send(Request::builder().uri(url), b"").await;
        assert_eq!(answer.header("x-request-id").len(), 32, "{url}");
        assert_eq!(answer.header("cache-control"), "no-store", "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_door_refuses_in_its_own_form_with_the_request_id() {
    let doors = Doors::open().await;
    let fhir = doors.send(Request::builder().uri("/fhir/lakeside-family/Patient/1"), b"").await;
    assert_eq!(fhir.header("content-type"), "application/fhir+json; charset=utf-8");
    assert_eq!(fhir.json()["resourceType"], "OperationOutcome");
    assert_eq!(fhir.json()["id"], fhir.header("x-request-id"));
    assert_eq!(fhir.header("www-authenticate"), "Bearer realm=\"holdfast\"");
    let ops = doors.send(Request::builder().uri("/ops/status"), b"").await;
    assert_eq!(ops.json()["request"], ops.header("x-request-id"));
    let method = doors.send(Request::builder().method("POST").uri("/fhir/a/Patient/1"), b"").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(method.json()["issue"][0]["code"], "not-supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_a_token_is_worth_nothing_at_another_address() {
    let doors = Doors::open().await;
    let (token, ..) = doors.clinician().await;
    assert_eq!(doors.get(&token, "/ops/status").await.status, StatusCode::OK);
    let elsewhere = Peer::new("198.51.100.9".parse().unwrap(), None);
    let request = Request::builder()
        .uri("/ops/status")
        .header("authorization", format!("Bearer {token}"))
        .extension(elsewhere);
    assert_eq!(doors.send(request, b"").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_the_sign_out() {
    let doors = Doors::open().await;
    let (token, ..) = doors.clinician().await;
    let out = doors.ask(&token, Method::POST, "/auth/sign-out", &[], None).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_eq!(doors.get(&token, "/ops/status").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_wrong_credentials_are_refused_in_the_same_words() {
    let doors = Doors::open().await;
    let mut told = Vec::new();
    for user in ["tester", "nobody.at.all", "Not A Name"] {
        let body = serde_json::json!({ "user": user, "password": "tester", "code": "000000" });
        let request = Request::builder().method("POST").uri("/auth/token");
        let request = request.header("content-type", "application/json");
        let answer = doors.send(request, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        told.push(answer.json()["error"].clone());
    }
    told.dedup();
    assert_eq!(told.len(), 1);
}
