//! The CapabilityStatement and the OpenAPI document promise what is there, all of it
//! answers, and what they do not promise is refused.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use holdfast_fhir::{TypeKind, definitions};
use serde_json::{Map, Value, json};

use crate::{Answer, Doors};

/// The least that the definitions take for a resource of this type.
fn least(resource_type: &str, patient: &str) -> Value {
    let mut resource = json!({ "resourceType": resource_type });
    fill(resource.as_object_mut().unwrap(), resource_type, "");
    for name in ["subject", "patient", "beneficiary", "individual", "for"] {
        let known = definitions().elements(resource_type).iter().find(|e| e.path == name);
        let refers = known.is_some_and(|element| {
            element.types.iter().any(|t| t.code == "Reference" && t.targets.contains(&"Patient"))
        });
        if refers {
            let reference = json!({ "reference": format!("Patient/{patient}") });
            let list = known.is_some_and(|element| element.is_list());
            resource[name] = if list { json!([reference]) } else { reference };
        }
    }
    resource
}

fn fill(object: &mut Map<String, Value>, owner: &str, path: &str) {
    let below = |at: &str| match at.strip_prefix(path) {
        Some(rest) if path.is_empty() => !rest.contains('.'),
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| !rest.contains('.')),
        None => false,
    };
    for element in definitions().elements(owner) {
        if element.min == 0 || !below(element.path) {
            continue;
        }
        let Some(kind) = element.types.first() else { continue };
        let of_kind = definitions().type_definition(kind.code).map(|kind| kind.kind);
        let value = match (kind.code, of_kind) {
            ("BackboneElement" | "Element", _) => {
                let mut inner = Map::new();
                fill(&mut inner, owner, element.path);
                if inner.is_empty() {
                    inner.insert("id".into(), json!("a"));
                }
                Value::Object(inner)
            }
            ("Reference", _) => json!({ "display": "somebody" }),
            ("CodeableConcept", _) => json!({ "text": "something" }),
            ("Meta" | "Narrative", _) => continue,
            (code, Some(TypeKind::Complex)) => {
                let mut inner = Map::new();
                fill(&mut inner, code, "");
                if inner.is_empty() {
                    inner.insert("id".into(), json!("a"));
                }
                Value::Object(inner)
            }
            (code, _) => primitive(code, element.value_set),
        };
        let name = if element.is_choice() {
            let mut letters = kind.code.chars();
            let first = letters.next().unwrap().to_ascii_uppercase();
            format!("{}{first}{}", element.name(), letters.as_str())
        } else {
            element.name().to_owned()
        };
        object.insert(name, if element.is_list() { json!([value]) } else { value });
    }
}

fn primitive(code: &str, value_set: &str) -> Value {
    let of_set = definitions().value_set(value_set);
    let of_set = of_set.and_then(|set| set.systems.first()?.1.first().copied());
    match (code, of_set) {
        ("code", Some(code)) => json!(code),
        ("boolean", _) => json!(true),
        ("integer" | "unsignedInt" | "positiveInt" | "decimal", _) => json!(1),
        ("date" | "dateTime" | "instant", _) => {
            json!("2020-01-01T10:00:00Z"[..if code == "date" { 10 } else { 20 }])
        }
        ("time", _) => json!("10:00:00"),
        ("uri" | "url" | "canonical", _) => json!("https://x.example/a"),
        ("oid", _) => json!("urn:oid:1.2.3"),
        ("uuid", _) => json!("urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9"),
        ("base64Binary", _) => json!("AAAA"),
        ("xhtml", _) => json!("<div xmlns=\"http://www.w3.org/1999/xhtml\">a</div>"),
        _ => json!("a"),
    }
}

/// Whether an answer says that there is no such thing here.
fn is_missing(answer: &Answer) -> bool {
    matches!(
        answer.status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
    )
}

fn codes(list: &Value) -> BTreeSet<&str> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item["code"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statement_promises_what_answers_and_nothing_else_does() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let statement = doors.get(&token, &format!("{base}/metadata")).await.json();
    assert_eq!(holdfast_fhir::validate(&statement), []);
    let rest = &statement["rest"][0];
    let mut problems = Vec::new();
    let mut judge = |promised: bool, what: String, answer: &Answer| {
        if promised == is_missing(answer) || answer.status.is_server_error() && promised {
            let text = String::from_utf8_lossy(&answer.body);
            problems.push(format!("{what} (promised: {promised}): {} {text:.300}", answer.status));
        }
    };
    let patch_type = statement["patchFormat"][0].as_str().unwrap_or("application/json-patch+json");
    // One of each kind; a walk over all 146 types takes minutes.
    let walked = [
        "Patient",
        "Observation",
        "Encounter",
        "Organization",
        "ValueSet",
        "Binary",
        "AuditEvent",
        "Library",
        "Group",
        "MessageHeader",
    ];
    for resource in rest["resource"].as_array().unwrap() {
        let name = resource["type"].as_str().unwrap();
        if !walked.contains(&name) {
            continue;
        }
        let promised = codes(&resource["interaction"]);
        let has = |code: &str| promised.contains(code);
        let url = format!("{base}/{name}");
        let mut own = least(name, &patient);
        let created = doors.ask(&token, Method::POST, &url, &[], Some(&own)).await;
        judge(has("create"), format!("create {name}"), &created);
        let location = match created.status {
            StatusCode::CREATED => created.header("location").to_owned(),
            _ if name == "AuditEvent" => String::new(),
            _ => {
                println!("{name} is not taken: {}", String::from_utf8_lossy(&created.body));
                continue;
            }
        };
        let at = match location.split("/_history/").next().unwrap_or_default() {
            "" => {
                let found = doors.get(&token, &format!("{url}?_count=1")).await.json();
                let id = found["entry"][0]["resource"]["id"].as_str().unwrap_or("none").to_owned();
                format!("{url}/{id}")
            }
            at => at.strip_prefix("https://hie.example").unwrap().to_owned(),
        };
        let id = at.rsplit('/').next().unwrap().to_owned();
        let get = async |url: String| doors.get(&token, &url).await;
        if id != "none" {
            judge(has("read"), format!("read {name}"), &get(at.clone()).await);
            judge(has("vread"), format!("vread {name}"), &get(format!("{at}/_history/1")).await);
        }
        judge(has("search-type"), format!("search {name}"), &get(format!("{url}?_id={id}")).await);
        judge(
            has("history-type"),
            format!("history {name}"),
            &get(format!("{url}/_history")).await,
        );
        let history = get(format!("{at}/_history")).await;
        judge(has("history-instance"), format!("history of one {name}"), &history);
        own["id"] = json!(id);
        let updated = doors.ask(&token, Method::PUT, &at, &[], Some(&own)).await;
        judge(has("update"), format!("update {name}"), &updated);
        let patch = [("content-type", patch_type)];
        let patched = doors.bytes(&token, Method::PATCH, &at, &patch, b"[]").await;
        judge(has("patch"), format!("patch {name}"), &patched);
        let json = [("content-type", "application/fhir+json")];
        let body = least(name, &patient).to_string();
        let where_ = format!("{url}?_id=not-there");
        let put = doors.bytes(&token, Method::PUT, &where_, &json, body.as_bytes()).await;
        judge(resource["conditionalUpdate"] == true, format!("conditional update {name}"), &put);
        let gone = doors.bytes(&token, Method::DELETE, &where_, &[], b"").await;
        let conditional = resource["conditionalDelete"].as_str().unwrap_or("not-supported");
        let nothing_found = gone.status == StatusCode::NOT_FOUND && conditional != "not-supported";
        if !nothing_found {
            judge(conditional != "not-supported", format!("conditional delete {name}"), &gone);
        }
        let one = doors.bytes(&token, Method::DELETE, &at, &[], b"").await;
        judge(has("delete"), format!("delete {name}"), &one);
    }
    let system = codes(&rest["interaction"]);
    let has = |code: &str| system.contains(code);
    for kind in ["transaction", "batch"] {
        let bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": [] });
        let answer = doors.ask(&token, Method::POST, &base, &[], Some(&bundle)).await;
        judge(has(kind), kind.to_owned(), &answer);
    }
    let answer = doors.get(&token, &format!("{base}/_history")).await;
    judge(has("history-system"), "history of the system".to_owned(), &answer);
    let answer = doors.get(&token, &format!("{base}?_type=Patient&_id={patient}")).await;
    judge(has("search-system"), "search over all types".to_owned(), &answer);
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_of_the_openapi_document_answers_and_no_other_does() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let only = "resource=Patient,Encounter,Observation,Group,ValueSet";
    let document = doors.get(&token, &format!("{base}/openapi.json?{only}")).await;
    assert_eq!(document.header("content-type"), "application/json");
    let document = document.json();
    assert_eq!(document["servers"][0]["url"], format!("https://hie.example{base}"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 15, "{}", paths.len());
    let parameters = json!({ "resourceType": "Parameters" });
    for (path, methods) in paths.iter().filter(|(path, _)| path.contains('$')) {
        let url = format!("{base}{}", path.replace("{id}", &patient));
        for method in methods.as_object().unwrap().keys() {
            let answer = match method.as_str() {
                "get" => doors.get(&token, &url).await,
                _ => doors.ask(&token, Method::POST, &url, &[], Some(&parameters)).await,
            };
            let text = String::from_utf8_lossy(&answer.body);
            // An id that is a patient's is no other type's; and an operation may say no to
            // one caller, which is no word about another.
            let missing = match answer.status {
                StatusCode::NOT_FOUND => path.starts_with("/Patient/{id}"),
                StatusCode::NOT_IMPLEMENTED => text.contains("operations are not offered"),
                status => status == StatusCode::METHOD_NOT_ALLOWED,
            };
            assert!(!missing, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    for path in ["$zebra", "Patient/$zebra", "Patient/1/$zebra"] {
        let url = format!("{base}/{path}");
        let answer = doors.get(&token, &url).await;
        assert!(is_missing(&answer), "GET {path}: {}", answer.status);
        let answer = doors.ask(&token, Method::POST, &url, &[], Some(&parameters)).await;
        assert!(is_missing(&answer), "POST {path}: {}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mode_of_a_statement_is_known_or_refused() {
    let doors = Doors::open().await;
    for (mode, status) in [("full", 200), ("normative", 200), ("zebra", 400)] {
        let url = format!("/fhir/lakeside-family/metadata?mode={mode}");
        let answer = doors.bytes("wrong", Method::GET, &url, &[], b"").await;
        assert_eq!(answer.status.as_u16(), status, "{mode}");
    }
    let told = [
        "/fhir/lakeside-family/openapi.json?resource=Patient,Zebra",
        "/fhir/lakeside-family/openapi.json?resource=%zz",
    ];
    for url in told {
        let answer = doors.bytes("wrong", Method::GET, url, &[], b"").await;
        assert!(answer.status.is_client_error(), "{url}");
    }
}
