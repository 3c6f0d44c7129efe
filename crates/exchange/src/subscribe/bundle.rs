//! Notifications, as the Subscriptions R5 Backport IG 1.1.0 wants them in R4: a Bundle of
//! type history whose first entry is the SubscriptionStatus as Parameters.

use holdfast_base::{RequestId, Timestamp};
use serde_json::{Value, json};

use super::row::{Content, Row, SentEvent};

const NOTIFICATION: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-notification-r4";
const STATUS: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-status-r4";

/// What a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Handshake,
    Heartbeat,
    EventNotification,
    QueryStatus,
    QueryEvent,
}

impl Kind {
    pub fn code(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Heartbeat => "heartbeat",
            Self::EventNotification => "event-notification",
            Self::QueryStatus => "query-status",
            Self::QueryEvent => "query-event",
        }
    }
}

/// The SubscriptionStatus of a subscription.
pub(super) fn status(row: &Row, kind: Kind, base: &str, events: &[SentEvent]) -> Value {
    let reference = format!("{base}/Subscription/{}", row.id);
    let mut parameters = vec![
        json!({ "name": "subscription", "valueReference": { "reference": reference } }),
        json!({ "name": "topic", "valueCanonical": row.topic() }),
        json!({ "name": "status", "valueCode": row.status.as_str() }),
        json!({ "name": "type", "valueCode": kind.code() }),
        json!({ "name": "events-since-subscription-start", "valueString": row.events.to_string() }),
    ];
    for event in events {
        let mut parts = vec![
            json!({ "name": "event-number", "valueString": event.number.to_string() }),
            json!({ "name": "timestamp", "valueInstant": event.at }),
        ];
        if row.content != Content::Empty {
            let focus = format!("{base}/{}/{}", event.resource_type, event.id);
            parts.push(json!({ "name": "focus", "valueReference": { "reference": focus } }));
        }
        parameters.push(json!({ "name": "notification-event", "part": parts }));
    }
    if let Some(error) = &row.error {
        parameters.push(json!({ "name": "error", "valueCodeableConcept": { "text": error } }));
    }
    json!({
        "resourceType": "Parameters",
        "id": RequestId::random().to_string(),
        "meta": { "profile": [STATUS] },
        "parameter": parameters,
    })
}

/// A notification. `resources` are those of the events, where they go along.
pub(super) fn notification(
    row: &Row,
    kind: Kind,
    base: &str,
    at: Timestamp,
    events: &[SentEvent],
    resources: &[Option<Value>],
) -> Value {
    let status = status(row, kind, base, events);
    let mut entries = vec![json!({
        "fullUrl": format!("urn:uuid:{}", uuid()),
        "resource": status,
        "request": { "method": "GET", "url": format!("{base}/Subscription/{}/$status", row.id) },
        "response": { "status": "200" },
    })];
    if row.content != Content::Empty {
        for (place, event) in events.iter().enumerate() {
            let created = event.version == 1;
            let url = match created {
                true => event.resource_type.clone(),
                false => format!("{}/{}", event.resource_type, event.id),
            };
            let mut entry = json!({
                "fullUrl": format!("{base}/{}/{}", event.resource_type, event.id),
                "request": { "method": if created { "POST" } else { "PUT" }, "url": url },
                "response": { "status": if created { "201" } else { "200" } },
            });
            if let Some(Some(resource)) = resources.get(place) {
                entry["resource"] = resource.clone();
            }
            entries.push(entry);
        }
    }
    json!({
        "resourceType": "Bundle",
        "id": RequestId::random().to_string(),
        "meta": { "profile": [NOTIFICATION] },
        "type": "history",
        "timestamp": at,
        "entry": entries,
    })
}

/// A random UUID (RFC 9562, version 4) as its URN wants it.
fn uuid() -> String {
    let mut bytes = *RequestId::random().as_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
