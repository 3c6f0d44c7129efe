//! Subscriptions over the doors, with an endpoint that the test holds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::http::{Method, Request, StatusCode};
use holdfast_exchange::{Ask, Event, Filter, Notifier, Outgoing};
use serde_json::{Value, json};

use crate::bulk::{Backend, certificate, text};
use crate::{Answer, Doors};

const SYSTEM: &str = "hl7v2@lakeside-family";
const BASE: &str = "/fhir/lakeside-family";
const JSON: (&str, &str) = ("content-type", "application/fhir+json");
const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";

/// An endpoint: what it was sent, and what it answers.
#[derive(Default)]
struct Endpoint {
    sent: std::sync::Mutex<Vec<Outgoing>>,
    answers: AtomicU16,
}

impl Notifier for Endpoint {
    fn send(
        &self,
        message: Outgoing,
    ) -> Pin<Box<dyn Future<Output = Result<u16, &'static str>> + Send + '_>> {
        self.sent.lock().unwrap().push(message);
        let status = self.answers.load(Ordering::Relaxed);
        Box::pin(async move { if status == 0 { Err("it cannot be reached") } else { Ok(status) } })
    }
}

struct Hooks {
    doors: Doors,
    certificate: [u8; 32],
    endpoint: Arc<Endpoint>,
    patient: String,
}

impl Hooks {
    async fn open() -> Self {
        let doors = Doors::open().await;
        let patient = doors.with_a_patient().await;
        let certificate = certificate(&doors, SYSTEM).await;
        let endpoint = Arc::new(Endpoint::default());
        endpoint.answers.store(200, Ordering::Relaxed);
        let (office, _) = doors.kit.sign_in_for_token("administrator").await;
        let url = "/ops/organizations/lakeside-family/notify-hosts";
        let host = json!({ "host": "hooks.example", "allowed": true });
        assert_eq!(doors.post(&office, url, &host).await.status, StatusCode::OK);
        Self { doors, certificate, endpoint, patient }
    }

    fn backend(&self) -> Backend<'_> {
        Backend { doors: &self.doors, certificate: self.certificate }
    }

    async fn subscribe(&self, subscription: &Value) -> Answer {
        let body = subscription.to_string();
        let url = format!("{BASE}/Subscription");
        self.backend().send(Method::POST, &url, &[JSON], body.as_bytes()).await
    }

    async fn round(&self) -> usize {
        let endpoint: Arc<dyn Notifier> = self.endpoint.clone();
        let exchange = self.doors.kit.exchange();
        exchange.notify_round(&endpoint, "https://hie.example").await.unwrap()
    }

    /// What was sent since the last time.
    fn sent(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.endpoint.sent.lock().unwrap())
    }

    async fn write(&self, resource: &Value) -> String {
        let url = format!("{BASE}/{}", resource["resourceType"].as_str().unwrap());
        let body = resource.to_string();
        let done = self.backend().send(Method::POST, &url, &[JSON], body.as_bytes()).await;
        assert_eq!(done.status, StatusCode::CREATED, "{}", text(&done));
        let location = done.header("location").to_owned();
        location.rsplit('/').nth(2).unwrap().to_owned()
    }

    fn result(&self, code: &str, value: u32) -> Value {
        json!({
            "resourceType": "Observation", "status": "final",
            "code": { "coding": [{ "system": "http://loinc.org", "code": code }] },
            "subject": { "reference": format!("Patient/{}", self.patient) },
            "valueQuantity": { "value": value, "unit": "mg/dL" },
        })
    }

    fn encounter(&self, status: &str) -> Value {
        json!({
            "resourceType": "Encounter", "status": status,
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP" },
            "subject": { "reference": format!("Patient/{}", self.patient) },
        })
    }
}

fn topic(topic: &str, filter: Option<&str>, content: &str) -> Value {
    let mut subscription = json!({
        "resourceType": "Subscription", "status": "requested", "reason": "test",
        "criteria": format!("urn:holdfast:topic:{topic}"),
        "channel": {
            "type": "rest-hook", "endpoint": "https://hooks.example/fhir",
            "payload": "application/fhir+json",
            "_payload": { "extension": [
                { "url": format!("{BACKPORT}backport-payload-content"), "valueCode": content },
            ]},
            "header": ["Authorization: Bearer of-the-client"],
        },
    });
    if let Some(filter) = filter {
        subscription["_criteria"] = json!({ "extension": [
            { "url": format!("{BACKPORT}backport-filter-criteria"), "valueString": filter },
        ]});
    }
    subscription
}

fn bundle(message: &Outgoing) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

/// The value of a parameter in the notification's status.
fn told<'a>(bundle: &'a Value, name: &str) -> Vec<&'a Value> {
    let parameters = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap();
    parameters.iter().filter(|parameter| parameter["name"] == name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_shakes_hands_then_tells_ids_in_numbers_without_gaps() {
    let hooks = Hooks::open().await;
    let made =
        hooks.subscribe(&topic("new-result", Some("Observation?code=2345-7"), "id-only")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", text(&made));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let secret = made.header("x-holdfast-subscription-secret").to_owned();
    assert_eq!(made.json()["status"], "requested");
    let url = format!("{BASE}/Subscription/{id}");
    let read = hooks.backend().get(&url).await;
    assert!(!read.headers.contains_key("x-holdfast-subscription-secret"), "shown once");

    hooks.round().await;
    let sent = hooks.sent();
    assert_eq!(told(&bundle(&sent[0]), "type")[0]["valueCode"], "handshake");
    assert_eq!(sent[0].secret, secret);
    assert_eq!(sent[0].headers, ["Authorization: Bearer of-the-client"]);
    assert_eq!(hooks.backend().get(&url).await.json()["status"], "active");

    let first = hooks.write(&hooks.result("2345-7", 1)).await;
    hooks.write(&hooks.result("718-7", 2)).await;
    let second = hooks.write(&hooks.result("2345-7", 3)).await;
    hooks.round().await;
    let sent = hooks.sent();
    assert_eq!(sent.len(), 1, "events that wait go together");
    let notification = bundle(&sent[0]);
    assert_eq!(holdfast_fhir::validate(&notification), []);
    assert_eq!(notification["type"], "history");
    let events = told(&notification, "notification-event");
    let numbers: Vec<_> = events.iter().map(|e| e["part"][0]["valueString"].clone()).collect();
    assert_eq!(numbers, ["1", "2"]);
    for (event, id) in events.iter().zip([&first, &second]) {
        let focus = event["part"][2]["valueReference"]["reference"].as_str().unwrap();
        assert_eq!(focus, format!("https://hie.example{BASE}/Observation/{id}"));
    }
    let body = notification.to_string();
    assert!(!body.contains("mg/dL") && !body.contains("2345-7"), "ids and no values");
    hooks.round().await;
    assert_eq!(hooks.sent().len(), 0, "once");

    let status = hooks.backend().get(&format!("{url}/$status")).await.json();
    let count = status["entry"][0]["resource"]["parameter"][4]["valueString"].clone();
    assert_eq!((status["type"].clone(), count), (json!("searchset"), json!("2")));
    let events = hooks.backend().get(&format!("{url}/$events?eventsSinceNumber=2")).await;
    assert_eq!(events.status, StatusCode::OK, "{}", text(&events));
    assert_eq!(told(&events.json(), "notification-event").len(), 1);

    // Each telling is in the ledger, before it went.
    let ask = Ask::new(hooks.doors.kit.sign_in("security-officer").await);
    let filter = Filter { kinds: vec!["delivery".into()], ..Filter::default() };
    let entries = hooks.doors.kit.exchange().ledger_entries(&ask, &filter).await.unwrap();
    let subscription =
        |e: &Event| matches!(e, Event::Delivery { what, .. } if what == "subscription");
    assert_eq!(entries.iter().filter(|p| subscription(&p.entry.event)).count(), 3);

    let gone = hooks.backend().send(Method::DELETE, &url, &[], b"").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(hooks.backend().get(&url).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admissions_and_discharges_are_told_once_and_r4_criteria_work() {
    let hooks = Hooks::open().await;
    for name in ["encounter-start", "encounter-end"] {
        assert_eq!(
            hooks.subscribe(&topic(name, None, "id-only")).await.status,
            StatusCode::CREATED
        );
    }
    let mut plain = topic("encounter-start", None, "id-only");
    plain["criteria"] = json!(format!("Encounter?patient=Patient/{}", hooks.patient));
    plain["channel"].as_object_mut().unwrap().retain(|name, _| !name.contains("payload"));
    let made = hooks.subscribe(&plain).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", text(&made));
    hooks.round().await;
    assert_eq!(hooks.sent().len(), 3);

    let id = hooks.write(&hooks.encounter("in-progress")).await;
    for status in ["in-progress", "finished"] {
        let mut encounter = hooks.encounter(status);
        encounter["id"] = json!(id);
        encounter["reasonCode"] = json!([{ "text": status }]);
        let url = format!("{BASE}/Encounter/{id}");
        let body = encounter.to_string();
        let done = hooks.backend().send(Method::PUT, &url, &[JSON], body.as_bytes()).await;
        assert_eq!(done.status, StatusCode::OK, "{}", text(&done));
    }
    hooks.round().await;
    let sent = hooks.sent();
    let bare: Vec<_> = sent.iter().filter(|message| message.body.is_empty()).collect();
    assert_eq!(bare.len(), 1, "R4 without payload: a POST without a body");
    let mut topics = Vec::new();
    for message in sent.iter().filter(|message| !message.body.is_empty()) {
        let bundle = bundle(message);
        assert_eq!(told(&bundle, "notification-event").len(), 1);
        topics.push(told(&bundle, "topic")[0]["valueCanonical"].as_str().unwrap().to_owned());
    }
    topics.sort();
    assert_eq!(topics, ["urn:holdfast:topic:encounter-end", "urn:holdfast:topic:encounter-start"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_what_an_endpoint_did_not_take_is_tried_for_days_kept_and_replayed() {
    let mut hooks = Hooks::open().await;
    let made = hooks.subscribe(&topic("new-result", None, "id-only")).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let url = format!("{BASE}/Subscription/{id}");
    hooks.round().await;
    hooks.sent();
    hooks.endpoint.answers.store(503, Ordering::Relaxed);
    hooks.write(&hooks.result("2345-7", 1)).await;
    hooks.round().await;
    hooks.round().await;
    assert_eq!(hooks.sent().len(), 1, "the second round waits");
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let mut waited = 0;
        while hooks.sent().is_empty() {
            hooks.doors.kit.clock.advance_ms(5_000);
            waited += 5;
            hooks.round().await;
        }
        pauses.push(waited);
    }
    assert_eq!(pauses, [5, 10, 20, 40], "each pause is twice as long");
    // After a restart it goes on; after days it stops, and nothing is lost.
    let held = Arc::downgrade(hooks.doors.kit.exchange());
    hooks.doors.router = axum::Router::new();
    hooks.doors.kit.close();
    while held.strong_count() > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    hooks.doors.kit.reopen().await;
    hooks.doors = Doors::over(hooks.doors.kit);
    for _ in 0..80 {
        hooks.doors.kit.clock.advance_ms(3_600_000);
        hooks.round().await;
    }
    hooks.sent();
    let given_up = hooks.backend().get(&url).await.json();
    assert_eq!(
        (&given_up["status"], &given_up["error"]),
        (&json!("error"), &json!("the endpoint answered 503"))
    );
    hooks.write(&hooks.result("2345-7", 2)).await;
    hooks.endpoint.answers.store(200, Ordering::Relaxed);
    hooks.doors.kit.clock.advance_ms(3_600_000);
    hooks.round().await;
    assert_eq!(hooks.sent().len(), 0);

    let (office, _) = hooks.doors.kit.sign_in_for_token("administrator").await;
    let listed = hooks.doors.get(&office, "/ops/subscriptions").await.json();
    assert_eq!(listed["subscriptions"][0]["waiting"], 2);
    let replay = format!("/ops/subscriptions/lakeside-family/{id}/replay");
    let (token, ..) = hooks.doors.clinician().await;
    assert_eq!(hooks.doors.post(&token, &replay, &json!({})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(hooks.doors.post(&office, &replay, &json!({})).await.status, StatusCode::OK);
    hooks.round().await;
    let sent = hooks.sent();
    assert_eq!(told(&bundle(&sent[0]), "notification-event").len(), 2);
    assert_eq!(hooks.backend().get(&url).await.json()["status"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_only_listed_hosts_are_sent_to_and_a_subscription_is_its_systems_own() {
    let hooks = Hooks::open().await;
    for endpoint in ["https://169.254.169.254/", "http://hooks.example/", "https://evil.example/"] {
        let mut subscription = topic("new-result", None, "id-only");
        subscription["channel"]["endpoint"] = json!(endpoint);
        let refused = hooks.subscribe(&subscription).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{endpoint}");
        assert!(text(&refused).contains("Subscription.channel.endpoint"));
    }
    let made = hooks.subscribe(&topic("new-result", None, "id-only")).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    hooks.round().await;
    hooks.sent();

    // People have none, others do not see it, nobody of another organization hears of it.
    let (token, base, _) = hooks.doors.clinician().await;
    let url = format!("{base}/Subscription");
    let body = topic("new-result", None, "id-only");
    let refused = hooks.doors.ask(&token, Method::POST, &url, &[], Some(&body)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(hooks.doors.get(&token, &format!("{url}/{id}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(hooks.doors.get(&token, &url).await.json()["total"], 0);
    let community = holdfast_sample::community();
    let other = community
        .organizations
        .iter()
        .find(|o| o.id.as_str() != "lakeside-family" && !o.interfaces.is_empty())
        .unwrap();
    let stranger = Backend {
        doors: &hooks.doors,
        certificate: certificate(&hooks.doors, other.interfaces[0].principal.as_str()).await,
    };
    for url in [format!("{url}/{id}"), format!("{url}/{id}/$status"), format!("{url}/{id}/$events")]
    {
        assert_eq!(stranger.get(&url).await.status, StatusCode::NOT_FOUND);
    }
    let refused = stranger.send(Method::POST, &url, &[JSON], body.to_string().as_bytes()).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    let nobody = Request::builder().uri(format!("{url}/{id}"));
    assert_eq!(hooks.doors.send(nobody, b"").await.status, StatusCode::UNAUTHORIZED);

    // A host that is taken off the list gets nothing any more.
    let (office, _) = hooks.doors.kit.sign_in_for_token("administrator").await;
    let hosts = "/ops/organizations/lakeside-family/notify-hosts";
    let off = json!({ "host": "hooks.example", "allowed": false });
    assert_eq!(hooks.doors.post(&office, hosts, &off).await.json()["hosts"], json!([]));
    hooks.write(&hooks.result("2345-7", 1)).await;
    hooks.round().await;
    assert_eq!(hooks.sent().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_resources_go_out_by_permit_only_and_restricted_parts_are_never_told() {
    let hooks = Hooks::open().await;
    let made =
        hooks.subscribe(&topic("resource-change", Some("Observation"), "full-resource")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", text(&made));
    hooks.round().await;
    hooks.sent();
    hooks.write(&hooks.result("2345-7", 97)).await;
    let mut restricted = hooks.result("2345-7", 424_242_424);
    restricted["meta"] = json!({ "security": [
        { "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R" },
    ]});
    hooks.write(&restricted).await;
    hooks.round().await;
    let sent = hooks.sent();
    let notification = bundle(&sent[0]);
    assert_eq!(told(&notification, "notification-event").len(), 1);
    let entry = &notification["entry"][1];
    assert_eq!(entry["resource"]["valueQuantity"]["value"], 97);
    assert_eq!(entry["request"]["method"], "POST");
    assert!(!notification.to_string().contains("424242424"));
    crate::bulk::assert_no_gaps(&hooks.doors).await;
    // One within a transaction would send nothing: it is refused.
    let transaction = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [{
        "resource": topic("new-result", None, "id-only"),
        "request": { "method": "POST", "url": "Subscription" },
    }]});
    let refused =
        hooks.backend().send(Method::POST, BASE, &[JSON], transaction.to_string().as_bytes()).await;
    assert!(refused.status.is_client_error(), "{}", text(&refused));
    assert!(text(&refused).contains("request of its own"), "{}", text(&refused));
}
