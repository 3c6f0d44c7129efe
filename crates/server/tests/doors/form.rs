//! How the FHIR API speaks: formats, compression, what it refuses to speak.

use std::io::{Read as _, Write as _};

use axum::http::{Method, Request, StatusCode};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast_fhir::Limits;
use holdfast_fhir::xml::{from_xml, to_xml};
use serde_json::{Value, json};

use crate::{Answer, Doors};

const XML: &str = "application/fhir+xml; charset=utf-8";
const JSON: &str = "application/fhir+json; charset=utf-8";

fn observation(patient: &str) -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "valueQuantity": { "value": 97, "unit": "mg/dL" },
    })
}

impl Answer {
    fn xml(&self) -> Value {
        assert_eq!(self.header("content-type"), XML, "{}", String::from_utf8_lossy(&self.body));
        from_xml(&self.body, Limits::default()).unwrap()
    }

    fn unpacked(&self) -> Vec<u8> {
        assert_eq!(self.header("content-encoding"), "gzip");
        let mut plain = Vec::new();
        GzDecoder::new(&self.body[..]).read_to_end(&mut plain).unwrap();
        plain
    }
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

impl Doors {
    /// A request with a body of any kind.
    pub(crate) async fn bytes(
        &self,
        token: &str,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(url);
        request = request.header("authorization", format!("Bearer {token}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request, body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_in_xml_is_read_in_either_format_with_the_same_content() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    // A decimal keeps its digits on every way.
    let sent = to_xml(&observation(&patient), true).replace("\"97\"", "\"97.00\"");
    let xml = [("content-type", "application/fhir+xml"), ("accept", "application/fhir+xml")];
    let representation = ("prefer", "return=representation");
    let headers = [xml[0], xml[1], representation];
    let url = format!("{base}/Observation");
    let created = doors.bytes(&token, Method::POST, &url, &headers, sent.as_bytes()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&created.body));
    let written = created.xml();
    assert_eq!(written["valueQuantity"]["value"].to_string(), "97.00");
    let current = format!("{url}/{}", written["id"].as_str().unwrap());

    let as_json = doors.get(&token, &current).await;
    assert_eq!(as_json.header("content-type"), JSON);
    assert_eq!(as_json.header("vary"), "Accept, Accept-Encoding");
    assert_eq!(as_json.json(), written);
    let as_xml = doors.get(&token, &format!("{current}?_format=xml&_pretty=true")).await;
    assert_eq!(as_xml.xml(), written);
    assert!(as_xml.body.starts_with(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Observation "));
    let head = doors.bytes(&token, Method::HEAD, &current, &xml[1..], b"").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!((head.header("content-type"), head.header("etag")), (XML, "W/\"1\""));

    let changed = String::from_utf8(as_xml.body).unwrap().replace("97.00", "98.10");
    let updated = doors.bytes(&token, Method::PUT, &current, &headers, changed.as_bytes()).await;
    assert_eq!((updated.status, updated.header("etag")), (StatusCode::OK, "W/\"2\""));
    assert_eq!(updated.xml()["valueQuantity"]["value"].to_string(), "98.10");

    let search = format!("{url}?patient={patient}");
    let found = doors.bytes(&token, Method::GET, &search, &xml, b"").await.xml();
    assert_eq!((&found["resourceType"], &found["total"]), (&json!("Bundle"), &json!(1)));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("patient={patient}&_format=xml");
    let url = format!("{url}/_search");
    let found = doors.bytes(&token, Method::POST, &url, &form, body.as_bytes()).await.xml();
    assert_eq!(found["total"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_statements_and_failures_are_told_in_the_format_that_is_asked_for() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let transaction = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [{
        "resource": observation(&patient), "request": { "method": "POST", "url": "Observation" },
    }]});
    let xml = [("content-type", "text/xml"), ("accept", "application/xml")];
    let sent = to_xml(&transaction, false);
    let done = doors.bytes(&token, Method::POST, &base, &xml, sent.as_bytes()).await.xml();
    assert_eq!(done["entry"][0]["response"]["status"], "201 Created");

    let statement = doors.get(&token, &format!("{base}/metadata?_format=xml")).await.xml();
    assert_eq!(statement, doors.get(&token, &format!("{base}/metadata")).await.json());
    let refused =
        doors.bytes(&token, Method::GET, &format!("{base}/Patient/none"), &xml, b"").await;
    assert_eq!(
        (refused.status, &refused.xml()["issue"][0]["code"]),
        (StatusCode::NOT_FOUND, &json!("not-found"))
    );
    // Also what was no question for any handler.
    let refused = doors.bytes("wrong", Method::GET, &format!("{base}/Patient/1"), &xml, b"").await;
    assert_eq!(
        (refused.status, &refused.xml()["issue"][0]["code"]),
        (StatusCode::UNAUTHORIZED, &json!("login"))
    );
    let page = [("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];
    let page = doors.bytes(&token, Method::GET, &format!("{base}/Patient/none"), &page, b"").await;
    assert!(page.header("content-type") == JSON && page.body.starts_with(b"{\n  \""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn xml_that_cannot_be_read_is_refused_with_its_places() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let xml = [("content-type", "application/fhir+xml")];
    let url = format!("{base}/Patient");
    let text =
        "<Patient xmlns='http://hl7.org/fhir'><name><famly value='x'/></name><colour/></Patient>";
    let refused = doors.bytes(&token, Method::POST, &url, &xml, text.as_bytes()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let places: Vec<_> = refused.json()["issue"]
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| issue["expression"][0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(places, ["Patient.name[0]", "Patient"]);
    let bomb = "<!DOCTYPE a [<!ENTITY b 'bbbb'>]><Patient xmlns='http://hl7.org/fhir'/>";
    let refused = doors.bytes(&token, Method::POST, &url, &xml, bomb.as_bytes()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(
        refused.json()["issue"][0]["diagnostics"].as_str().unwrap().contains("type definition")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_formats_are_refused_as_http_says() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let read = format!("{base}/Patient/{patient}");
    for accept in ["text/turtle", "application/pdf", "application/fhir+json; fhirVersion=5.0"] {
        let refused = doors.bytes(&token, Method::GET, &read, &[("accept", accept)], b"").await;
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE, "{accept}");
        assert_eq!(refused.json()["issue"][0]["code"], "not-supported");
    }
    let refused = doors.get(&token, &format!("{read}?_format=ttl")).await;
    assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    let body = observation(&patient).to_string();
    let url = format!("{base}/Observation");
    for called in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/fhir+json; fhirVersion=3.0")],
        &[("content-type", "application/fhir+json; charset=utf-16")],
        &[("content-type", "application/fhir+json"), ("content-encoding", "br")],
    ] {
        let refused = doors.bytes(&token, Method::POST, &url, called, body.as_bytes()).await;
        assert_eq!(refused.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{called:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_answers_are_compressed_within_bounds() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let gzip = [("content-type", "application/fhir+json"), ("content-encoding", "gzip")];
    let body = packed(observation(&patient).to_string().as_bytes());
    let url = format!("{base}/Observation");
    let created = doors.bytes(&token, Method::POST, &url, &gzip, &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&created.body));
    let xml = [("content-type", "application/fhir+xml"), ("content-encoding", "gzip")];
    let body = packed(to_xml(&observation(&patient), false).as_bytes());
    let created = doors.bytes(&token, Method::POST, &url, &xml, &body).await;
    assert_eq!(created.status, StatusCode::CREATED);

    let metadata = format!("{base}/metadata");
    let plain = doors.get(&token, &metadata).await;
    let accept = [("accept-encoding", "gzip, deflate, br")];
    let short = doors.bytes(&token, Method::GET, &metadata, &accept, b"").await;
    assert!(short.body.len() * 5 < plain.body.len());
    assert_eq!(short.unpacked(), plain.body);
    let with_cookie = [accept[0], ("cookie", "a=b")];
    let open = doors.bytes(&token, Method::GET, &metadata, &with_cookie, b"").await;
    assert!(!open.headers.contains_key("content-encoding"));

    let bomb = packed(&vec![b' '; 40 * 1024 * 1024]);
    let refused = doors.bytes(&token, Method::POST, &url, &gzip, &bomb).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let refused = doors.bytes(&token, Method::POST, &url, &gzip, b"no gzip").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}
