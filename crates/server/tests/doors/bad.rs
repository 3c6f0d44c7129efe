//! Bad input at the FHIR door: each an OperationOutcome with the right status, code
//! and place, soon, and without a value of what was sent.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Answer, Doors};

/// Longer than any refusal takes, also on a slow machine; without bounds, these would
/// take minutes or all memory.
const PATIENCE: Duration = Duration::from_secs(60);

const JSON: &[(&str, &str)] = &[("content-type", "application/fhir+json")];
const XML: &[(&str, &str)] = &[("content-type", "application/fhir+xml")];
const NONE: &[(&str, &str)] = &[];

/// Headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];
/// What is expected: status, issue code, and a part of the issue's text.
type Told = (u16, &'static str, &'static str);

async fn check(
    doors: &Doors,
    token: &str,
    name: &str,
    (method, url, headers, body): (Method, &str, Headers<'_>, &[u8]),
    (status, code, said): Told,
) -> Answer {
    let asked = doors.bytes(token, method, url, headers, body);
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect(name);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status.as_u16(), status, "{name}: {text:.400}");
    let outcome = answer.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome", "{name}: {text:.400}");
    let issues = outcome["issue"].as_array().expect(name);
    assert!(issues.iter().any(|issue| issue["code"] == code), "{name}: {text:.400}");
    assert!(text.contains(said), "{name}: {text:.400}");
    assert!(text.len() < 200_000, "{name}: {} bytes of answer", text.len());
    assert!(!text.contains("Zebulon"), "{name}: {text:.400}");
    assert_eq!(outcome["id"], answer.header("x-request-id"), "{name}");
    answer
}

fn patient(inner: &str) -> Vec<u8> {
    format!("{{\"resourceType\":\"Patient\"{inner}}}").into_bytes()
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_malformed_body_is_refused_with_its_place() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let url = format!("{base}/Patient");
    let huge = format!(",\"name\":[{{\"family\":\"{}\"}}]", "Zebulon".repeat(8 << 20));
    let long_text = format!(",\"name\":[{{\"family\":\"{}\"}}]", "Zebulon".repeat(200_000));
    let digits = "9".repeat(10_000);
    let number = format!(",\"multipleBirthInteger\":{digits}");
    let cases: Vec<(&str, Headers<'_>, Vec<u8>, Told)> = vec![
        ("empty", JSON, vec![], (400, "structure", "ends too early")),
        ("no JSON", JSON, b"Zebulon".to_vec(), (400, "structure", "line 1 column 1")),
        ("cut", JSON, b"{\"resourceType\":\"Patient\",".to_vec(), (400, "structure", "line 1")),
        ("a list", JSON, b"[]".to_vec(), (400, "structure", "resourceType is missing")),
        ("a text", JSON, b"\"Zebulon\"".to_vec(), (400, "structure", "resourceType is missing")),
        ("null", JSON, b"null".to_vec(), (400, "structure", "resourceType is missing")),
        (
            "two values",
            JSON,
            b"{\"resourceType\":\"Patient\"}{}".to_vec(),
            (400, "structure", "line"),
        ),
        (
            "unknown type",
            JSON,
            b"{\"resourceType\":\"Zebulon\"}".to_vec(),
            (400, "structure", "names no"),
        ),
        ("type no text", JSON, b"{\"resourceType\":1}".to_vec(), (400, "structure", "missing")),
        (
            "another type",
            JSON,
            b"{\"resourceType\":\"Device\"}".to_vec(),
            (400, "invalid", "resourceType"),
        ),
        (
            "duplicate keys",
            JSON,
            patient(",\"id\":\"Zebulon\",\"id\":\"b\""),
            (400, "structure", "twice"),
        ),
        ("NUL", JSON, patient(",\"id\":\"a\0b\""), (400, "structure", "line 1")),
        ("a lone surrogate", JSON, patient(",\"id\":\"\\ud800\""), (400, "structure", "line 1")),
        (
            "invalid UTF-8",
            JSON,
            [&b"{\"resourceType\":\"Pat"[..], b"\xff\"}"].concat(),
            (400, "structure", "line 1"),
        ),
        (
            "UTF-16",
            JSON,
            "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            (400, "structure", ""),
        ),
        (
            "deep objects",
            JSON,
            patient(&format!(",\"a\":{}", nested("{\"a\":", "}", 100_000))),
            (400, "structure", "deeply"),
        ),
        (
            "deep lists",
            JSON,
            patient(&format!(",\"a\":{}", nested("[", "]", 1_000_000))),
            (400, "structure", "deeply"),
        ),
        (
            "deep and open",
            JSON,
            nested("[", "", 5_000_000).into_bytes(),
            (400, "structure", "deeply"),
        ),
        ("50 MB", JSON, patient(&huge), (413, "too-long", "longer than")),
        ("a long text", JSON, patient(&long_text), (422, "value", "1 MiB")),
        ("10,000 digits", JSON, patient(&number), (422, "value", "Patient.multipleBirth")),
        (
            "1e400",
            JSON,
            patient(",\"multipleBirthInteger\":1e400"),
            (422, "value", "Patient.multipleBirth"),
        ),
        (
            "not a number",
            JSON,
            patient(",\"multipleBirthInteger\":NaN"),
            (400, "structure", "line 1"),
        ),
        ("unknown element", JSON, patient(",\"colour\":\"Zebulon\""), (422, "structure", "colour")),
        (
            "100,000 unknown elements",
            JSON,
            patient(&(0..100_000).map(|n| format!(",\"x{n}\":1")).collect::<String>()),
            (422, "structure", "more than"),
        ),
        (
            "a million nulls",
            JSON,
            patient(&format!(",\"name\":[{}null]", "null,".repeat(1_000_000))),
            (422, "structure", "Patient.name[0]"),
        ),
        ("XML said, JSON sent", XML, patient(""), (400, "structure", "line 1")),
        (
            "XML, cut",
            XML,
            b"<Patient xmlns='http://hl7.org/fhir'><name>".to_vec(),
            (400, "structure", "line 1"),
        ),
        (
            "XML, invalid UTF-8",
            XML,
            b"<Patient xmlns='http://hl7.org/fhir' a='\xff'/>".to_vec(),
            (400, "structure", "byte 40"),
        ),
        (
            "XML, NUL",
            XML,
            b"<Patient xmlns='http://hl7.org/fhir'><id value='&#0;'/></Patient>".to_vec(),
            (400, "structure", "line 1"),
        ),
        (
            "XML, deep",
            XML,
            nested("<a>", "</a>", 500_000).into_bytes(),
            (400, "structure", "deeply"),
        ),
        (
            "XML, entities",
            XML,
            b"<!DOCTYPE a [<!ENTITY b 'Zebulon'>]><Patient xmlns='http://hl7.org/fhir'/>".to_vec(),
            (400, "structure", "document type definition"),
        ),
        (
            "XML, an outside file",
            XML,
            b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><Patient xmlns='http://hl7.org/fhir'/>"
                .to_vec(),
            (400, "structure", "document type definition"),
        ),
        (
            "XML, attributes",
            XML,
            format!(
                "<Patient xmlns='http://hl7.org/fhir' {}/>",
                (0..100_000).map(|n| format!("a{n}='' ")).collect::<String>()
            )
            .into_bytes(),
            (400, "structure", "attributes"),
        ),
        (
            "XML, too many elements",
            XML,
            format!("<Patient xmlns='http://hl7.org/fhir'>{}</Patient>", "<a/>".repeat(3_000_000))
                .into_bytes(),
            (400, "structure", "too many elements"),
        ),
        (
            "XML, duplicate attributes",
            XML,
            b"<Patient xmlns='http://hl7.org/fhir'><id value='a' value='b'/></Patient>".to_vec(),
            (400, "structure", "line 1"),
        ),
    ];
    for (name, headers, body, told) in cases {
        check(&doors, &token, name, (Method::POST, &url, headers, &body), told).await;
    }
    // A byte-order mark is no fault.
    let body = [&b"\xef\xbb\xbf"[..], &patient(",\"colour\":1")].concat();
    let told = (422, "structure", "colour");
    check(&doors, &token, "BOM", (Method::POST, &url, JSON, &body), told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_malformed_address_header_and_parameter_is_refused() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let long = "a".repeat(20_000);
    let many = (0..5_000).map(|n| format!("&family=a{n}")).collect::<String>();
    let get = [
        ("a type that is none", "/Zebulon", (404, "not-found", "")),
        ("a type in other letters", "/patient/1", (404, "not-found", "")),
        ("an id of wrong letters", "/Patient/a_b!", (404, "not-found", "")),
        (
            "an id that is too long",
            "/Patient/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            (404, "not-found", ""),
        ),
        ("NUL in an id", "/Patient/a%00b", (404, "not-found", "")),
        ("a path out of the folder", "/Patient/..%2f..%2fetc%2fpasswd", (404, "not-found", "")),
        ("no UTF-8 in the path", "/Patient/%ff%fe", (400, "invalid", "")),
        ("no UTF-8 in the query", "/Patient?name=%ff", (400, "invalid", "UTF-8")),
        ("a percent sign alone", "/Patient?name=100%", (400, "invalid", "%25")),
        ("a percent sign that escapes nothing", "/Patient?name=%zz", (400, "invalid", "%25")),
        ("NUL in the query", "/Patient?name=a%00", (400, "invalid", "NUL")),
        ("a parameter that is none", "/Patient?zebra=Zebulon", (400, "not-supported", "zebra")),
        ("a modifier that is none", "/Patient?name:zebra=Zebulon", (400, "not-supported", "name")),
        ("a date that is none", "/Patient?birthdate=Zebulon", (400, "value", "birthdate")),
        ("a prefix that is none", "/Patient?birthdate=zz2000", (400, "value", "birthdate")),
        ("a count that is none", "/Patient?_count=Zebulon", (400, "value", "_count")),
        ("a count below nothing", "/Patient?_count=-1", (400, "value", "_count")),
        ("an order that is none", "/Patient?_sort=zebra", (400, "", "_sort")),
        ("a page that is none", "/Patient?_page=Zebulon", (400, "", "page")),
        ("a version that is none", "/Patient/1/_history/Zebulon", (404, "not-found", "")),
        (
            "a version of 30 digits",
            "/Patient/1/_history/999999999999999999999999999999",
            (404, "not-found", ""),
        ),
    ];
    for (name, path, (status, code, said)) in get {
        let url = format!("{base}{path}");
        let asked = doors.bytes(&token, Method::GET, &url, NONE, b"");
        let answer = tokio::time::timeout(PATIENCE, asked).await.expect(name);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status.as_u16(), status, "{name}: {text}");
        let issue = &answer.json()["issue"][0];
        assert!(code.is_empty() || issue["code"] == code, "{name}: {text}");
        assert!(text.contains(said) && !text.contains("Zebulon"), "{name}: {text}");
    }
    for (name, path) in
        [("a long value", format!("/Patient?name={long}")), ("many", format!("/Patient?{many}"))]
    {
        let url = format!("{base}{path}");
        let asked = doors.bytes(&token, Method::GET, &url, NONE, b"");
        let answer = tokio::time::timeout(PATIENCE, asked).await.expect(name);
        assert!(!answer.status.is_server_error(), "{name}: {}", answer.status);
    }
    let headers: [(&str, Headers<'_>, Told); 3] = [
        ("a purpose that is none", &[("x-purpose", "Zebulon")], (400, "invalid", "")),
        ("an Accept that is none", &[("accept", "Zebulon")], (406, "not-supported", "")),
        ("a format that is none", &[("accept", "a/b;q=Zebulon")], (406, "not-supported", "")),
    ];
    for (name, headers, told) in headers {
        let url = format!("{base}/Patient/1");
        check(&doors, &token, name, (Method::GET, &url, headers, b""), told).await;
    }
    let put = patient(",\"id\":\"b\"");
    let url = format!("{base}/Patient/a");
    let told = (400, "invalid", "Patient.id");
    check(&doors, &token, "another id", (Method::PUT, &url, JSON, &put), told).await;
    let url = format!("{base}/Patient/b");
    let tag = [JSON[0], ("if-match", "Zebulon")];
    let told = (400, "invalid", "If-Match");
    check(&doors, &token, "a tag that is none", (Method::PUT, &url, &tag, &put), told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_beyond_all_measure_are_refused_or_worked_off_within_bounds() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let bundle = |kind: &str, entries: Vec<Value>| {
        json!({ "resourceType": "Bundle", "type": kind, "entry": entries }).to_string()
    };
    let get = json!({ "request": { "method": "GET", "url": "Patient/none" } });
    let many = bundle("batch", vec![get.clone(); 100_000]);
    let told = (413, "too-long", "Bundle.entry");
    let answer =
        check(&doors, &token, "a batch", (Method::POST, &base, JSON, many.as_bytes()), told).await;
    assert!(answer.body.len() < 2_000);
    let nothing = bundle("transaction", vec![json!({}); 100_000]);
    let asked = doors.bytes(&token, Method::POST, &base, JSON, nothing.as_bytes());
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("in time");
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body.len() < 200_000, "{} bytes", answer.body.len());
    for (name, kind) in [("no type", ""), ("another type", "collection"), ("unknown", "Zebulon")] {
        let empty = bundle(kind, vec![]);
        let told = (400, "invalid", "Bundle.type");
        check(&doors, &token, name, (Method::POST, &base, JSON, empty.as_bytes()), told).await;
    }

    // Entries that refer to each other in a circle are what they are: a circle.
    let linked = |own: &str, other: &str| {
        json!({
            "fullUrl": own,
            "resource": {
                "resourceType": "Observation", "status": "final", "code": { "text": "x" },
                "subject": { "reference": format!("Patient/{patient}") },
                "derivedFrom": [{ "reference": other }],
            },
            "request": { "method": "POST", "url": "Observation" },
        })
    };
    let one = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9";
    let two = "urn:uuid:05efabf0-4be2-4561-91ce-51548425acba";
    let circle = bundle("transaction", vec![linked(one, two), linked(two, one)]);
    let asked = doors.bytes(&token, Method::POST, &base, JSON, circle.as_bytes());
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("in time");
    assert!(!answer.status.is_server_error(), "{}", String::from_utf8_lossy(&answer.body));
    let myself = bundle("transaction", vec![linked(one, one)]);
    let asked = doors.bytes(&token, Method::POST, &base, JSON, myself.as_bytes());
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("in time");
    assert!(!answer.status.is_server_error(), "{}", String::from_utf8_lossy(&answer.body));
    let contained = json!({
        "resourceType": "Observation", "status": "final", "code": { "text": "x" },
        "subject": { "reference": format!("Patient/{patient}") },
        "contained": [
            { "resourceType": "Observation", "id": "a", "status": "final", "code": { "text": "x" }, "derivedFrom": [{ "reference": "#b" }] },
            { "resourceType": "Observation", "id": "b", "status": "final", "code": { "text": "x" }, "derivedFrom": [{ "reference": "#a" }] },
        ],
        "derivedFrom": [{ "reference": "#a" }],
    });
    let url = format!("{base}/Observation");
    let contained = contained.to_string();
    let asked = doors.bytes(&token, Method::POST, &url, JSON, contained.as_bytes());
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("in time");
    assert!(!answer.status.is_server_error(), "{}", String::from_utf8_lossy(&answer.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_any_length_keep_their_digits_or_are_refused() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let long = "9".repeat(10_000);
    for number in ["1e400", "-1e-400", "0.0000000000000000000000000001", "1E+5", &long] {
        let body = format!(
            "{{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}},\
             \"subject\":{{\"reference\":\"Patient/{patient}\"}},\
             \"valueQuantity\":{{\"value\":{number},\"code\":\"mg\",\"system\":\"http://unitsofmeasure.org\"}}}}"
        );
        let url = format!("{base}/Observation");
        let headers = [JSON[0], ("prefer", "return=representation")];
        let answer = doors.bytes(&token, Method::POST, &url, &headers, body.as_bytes()).await;
        let shown = &number[..number.len().min(40)];
        assert!(!answer.status.is_server_error(), "{shown}");
        if answer.status == StatusCode::CREATED {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let kept = text.to_lowercase().replace("e+", "e");
            let wanted = number.to_lowercase().replace("e+", "e");
            assert!(kept.contains(&format!("\"value\":{wanted}")), "{text:.600}");
        }
        let search = format!("{base}/Observation?patient={patient}&value-quantity={number}");
        let found = doors.get(&token, &search.replace('+', "%2B")).await;
        assert!(!found.status.is_server_error(), "{shown}: {}", found.status);
    }
}
