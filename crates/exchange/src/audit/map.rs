//! From a ledger entry to a FHIR R4 AuditEvent, by the patterns of IHE Basic Audit Log
//! Patterns (BALP). Pure. The ledger is the source: the id of an AuditEvent is the
//! index of its entry.
//!
//! A profile is claimed where it fits whole. BALP wants one `System Object` in a read or
//! write and none but the query in a search; whatever else was touched stands beside
//! it as an entity whose type is its resource type.

use holdfast_ledger::{Action, Actor, Event, Placed, Touch};
use serde_json::{Value, json};

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const EVENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const INTERACTION: &str = "http://hl7.org/fhir/restful-interaction";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ROLE_CLASS: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleClass";
const REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ENTITY_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
const SOURCE_TYPE: &str = "http://terminology.hl7.org/CodeSystem/security-source-type";
const LIFECYCLE: &str = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";
const BALP_ENTITY: &str = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType";
/// Systems of identifiers of ours.
const PRINCIPAL: &str = "urn:holdfast:principal";
const ORGANIZATION: &str = "urn:holdfast:organization";
const RECORD: &str = "urn:holdfast:record";
/// The one who records.
const OBSERVER: &str = "Holdfast";

/// Kinds of entries that are shown, with the codes that `type` may have. Key releases are
/// not: they are the upper bound that a scope counts, and each that was used has an
/// access.
pub(super) const KINDS: [(&str, &[&str]); 9] = [
    ("access", &["rest", "110106"]),
    ("population-query", &["rest"]),
    ("refusal", &["110113", "110114"]),
    ("session", &["110114"]),
    ("intake", &["110107"]),
    ("delivery", &["110106"]),
    ("forgotten", &["rest"]),
    ("ledger-read", &["110101"]),
    ("bulk-job", &["110106", "110107"]),
];

/// A coding: system, code, display.
type Code = [&'static str; 3];

const REST: Code = [EVENT_TYPE, "rest", "Restful Operation"];
const EXPORT: Code = [DCM, "110106", "Export"];
const IMPORT: Code = [DCM, "110107", "Import"];
const SECURITY_ALERT: Code = [DCM, "110113", "Security Alert"];
const AUTHENTICATION: Code = [DCM, "110114", "User Authentication"];
const LOG_USED: Code = [DCM, "110101", "Audit Log Used"];
const LOGIN: Code = [DCM, "110122", "Login"];
const LOGOUT: Code = [DCM, "110123", "Logout"];
const SEARCH: Code = [INTERACTION, "search-type", "search-type"];
const DISCLOSE: Code = [LIFECYCLE, "disclose", "Disclose Record Lifecycle Event"];
const SOURCE: Code = [DCM, "110153", "Source Role ID"];
const DESTINATION: Code = [DCM, "110152", "Destination Role ID"];
const SYSTEM_OBJECT: Code = [ENTITY_TYPE, "2", "System Object"];

/// What kind of audit event an entry is.
#[derive(Clone, Copy)]
struct Pattern<'a> {
    /// Name of the BALP profile, without `Patient`, where one may fit.
    profile: Option<&'static str>,
    kind: Code,
    subtype: Option<Code>,
    /// `C`, `R`, `U`, `D`, `E`.
    action: &'static str,
    /// `0` for success, `4` for a refusal.
    outcome: &'static str,
    outcome_text: Option<&'a str>,
    purpose: Option<&'static str>,
    touches: &'a [Touch],
}

const PLAIN: Pattern<'static> = Pattern {
    profile: None,
    kind: REST,
    subtype: None,
    action: "E",
    outcome: "0",
    outcome_text: None,
    purpose: None,
    touches: &[],
};

/// The AuditEvent of an entry; `None` for kinds that are none. `patients` are the logical
/// ids of those whom it is about, `site` the organization whose records they are in.
pub(super) fn audit_event(placed: &Placed, patients: &[String], site: &str) -> Option<Value> {
    let entry = &placed.entry;
    let pattern = pattern(&entry.event)?;
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": placed.index.0.to_string(),
        "meta": { "versionId": "1", "lastUpdated": entry.at.to_string() },
        "type": coding(pattern.kind),
    });
    if let Some(profile) = claimed(&pattern, &entry.actor, patients) {
        event["meta"]["profile"] = json!([profile]);
    }
    if let Some(subtype) = pattern.subtype {
        event["subtype"] = json!([coding(subtype)]);
    }
    event["action"] = json!(pattern.action);
    event["recorded"] = json!(entry.at.to_string());
    event["outcome"] = json!(pattern.outcome);
    if let Some(text) = pattern.outcome_text {
        event["outcomeDesc"] = json!(text);
    }
    if let Some(code) = pattern.purpose {
        event["purposeOfEvent"] = json!([concept(REASON, code)]);
    }
    event["agent"] = Value::Array(agents(&entry.event, &entry.actor, &pattern, site));
    event["source"] = json!({
        "site": site,
        "observer": { "display": OBSERVER },
        "type": [coding([SOURCE_TYPE, "4", "Application Server"])],
    });
    let entities = entities(placed, patients, &pattern);
    if !entities.is_empty() {
        event["entity"] = Value::Array(entities);
    }
    Some(event)
}

fn coding([system, code, display]: Code) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code }] })
}

/// The profile that the event fits whole.
fn claimed(pattern: &Pattern<'_>, actor: &Actor, patients: &[String]) -> Option<String> {
    let profile = pattern.profile?;
    // Every profile wants the client's network, and reads and writes their object.
    let has_object = is_search(pattern) || !pattern.touches.is_empty();
    if actor.address.is_none() || !has_object {
        return None;
    }
    let patient = match patients {
        [] => "",
        [_] => "Patient",
        _ => return None,
    };
    Some(format!("{BALP}{patient}{profile}"))
}

fn is_search(pattern: &Pattern<'_>) -> bool {
    pattern.subtype == Some(SEARCH)
}

fn pattern(event: &Event) -> Option<Pattern<'_>> {
    Some(match event {
        Event::Access { action, purpose, touches, .. } => {
            let (profile, subtype, code): (_, Code, _) = match action {
                Action::Search => (Some("Query"), SEARCH, "E"),
                Action::Write if touches.iter().all(|touch| touch.version == 1) => {
                    (Some("Create"), [INTERACTION, "create", "create"], "C")
                }
                Action::Write => (Some("Update"), [INTERACTION, "update", "update"], "U"),
                Action::Delete => (Some("Delete"), [INTERACTION, "delete", "delete"], "D"),
                Action::Deliver => (None, DISCLOSE, "R"),
                Action::Read | Action::Notify => (Some("Read"), [INTERACTION, "read", "read"], "R"),
            };
            let kind = if *action == Action::Deliver { EXPORT } else { REST };
            let (subtype, purpose) = (Some(subtype), Some(purpose.code()));
            Pattern { profile, kind, subtype, action: code, purpose, touches, ..PLAIN }
        }
        Event::PopulationQuery { purpose, .. } => Pattern {
            profile: Some("Query"),
            subtype: Some(SEARCH),
            purpose: Some(purpose.code()),
            ..PLAIN
        },
        Event::Refusal { door, reason, .. } => {
            let at_sign_in = door == "sign-in";
            Pattern {
                kind: if at_sign_in { AUTHENTICATION } else { SECURITY_ALERT },
                subtype: at_sign_in.then_some(LOGIN),
                outcome: "4",
                outcome_text: Some(reason),
                ..PLAIN
            }
        }
        Event::Session { change } => {
            let subtype = Some(if change == "closed" { LOGOUT } else { LOGIN });
            let outcome_text = Some(change.as_str());
            Pattern { kind: AUTHENTICATION, subtype, outcome_text, ..PLAIN }
        }
        Event::Intake { outcome, .. } => Pattern {
            kind: IMPORT,
            action: "C",
            outcome: if outcome == "refused" { "4" } else { "0" },
            outcome_text: Some(outcome),
            ..PLAIN
        },
        Event::Delivery { what, .. } => Pattern {
            kind: EXPORT,
            subtype: Some(DISCLOSE),
            action: "R",
            outcome_text: Some(what),
            ..PLAIN
        },
        Event::Forgotten { .. } => {
            let subtype = Some([INTERACTION, "delete", "delete"]);
            Pattern { subtype, action: "D", ..PLAIN }
        }
        Event::LedgerRead { .. } => Pattern { kind: LOG_USED, action: "R", ..PLAIN },
        Event::BulkJob { what, step, .. } => {
            let imports = what == "import";
            Pattern {
                kind: if imports { IMPORT } else { EXPORT },
                action: if imports { "C" } else { "R" },
                outcome: if step == "failed" { "4" } else { "0" },
                outcome_text: Some(step),
                ..PLAIN
            }
        }
        _ => return None,
    })
}

/// Client, server and user, then whom the user acts for, and who got what was passed on.
/// What was written or asked for came from the client, what was read went to it.
fn agents(event: &Event, actor: &Actor, pattern: &Pattern<'_>, site: &str) -> Vec<Value> {
    let from_client = matches!(pattern.action, "C" | "U" | "D" | "E");
    let (client, server) = if from_client { (SOURCE, DESTINATION) } else { (DESTINATION, SOURCE) };
    let mut agents = Vec::new();
    let network = actor.address.as_ref();
    let recipient = match event {
        Event::Delivery { recipient, .. } => Some(recipient),
        _ => None,
    };
    if let (Some(address), None) = (network, recipient) {
        agents.push(json!({
            "type": { "coding": [coding(client)] },
            "who": { "display": address },
            "requestor": false,
            "network": { "address": address, "type": "2" },
        }));
    }
    agents.push(json!({
        "type": { "coding": [coding(server)] },
        "who": { "display": OBSERVER },
        "requestor": false,
        "network": { "address": format!("/fhir/{site}"), "type": "5" },
    }));
    if let Some(recipient) = recipient {
        agents.push(json!({
            "type": { "coding": [coding(DESTINATION)] },
            "who": { "identifier": { "system": ORGANIZATION, "value": recipient.as_str() } },
            "requestor": false,
            "network": { "address": format!("/fhir/{recipient}"), "type": "5" },
        }));
    }
    let part = if matches!(pattern.action, "C" | "U") { "INF" } else { "IRCP" };
    let principal = actor.principal.as_str();
    let mut user = json!({
        "type": concept(PARTICIPATION, part),
        "who": { "identifier": { "system": PRINCIPAL, "value": principal } },
        "altId": principal,
        "name": principal,
        "requestor": true,
    });
    if let Some(code) = pattern.purpose {
        user["purposeOfUse"] = json!([concept(REASON, code)]);
    }
    agents.push(user);
    if let Some(organization) = &actor.organization {
        agents.push(json!({
            "type": concept(ROLE_CLASS, "PROV"),
            "who": { "identifier": { "system": ORGANIZATION, "value": organization.as_str() } },
            "requestor": false,
        }));
    }
    agents
}

fn entities(placed: &Placed, patients: &[String], pattern: &Pattern<'_>) -> Vec<Value> {
    let entry = &placed.entry;
    let mut entities = Vec::new();
    if is_search(pattern) {
        // The ledger holds names of parameters and never their values.
        let query = match &entry.event {
            Event::PopulationQuery { resource_type, parameters, .. } => {
                format!("{resource_type}?{}", parameters.join("&"))
            }
            _ => "not recorded".to_owned(),
        };
        entities.push(json!({
            "type": coding(SYSTEM_OBJECT),
            "role": coding([ENTITY_ROLE, "24", "Query"]),
            "description": "values of parameters are not recorded",
            "query": data_encoding::BASE64.encode(query.as_bytes()),
        }));
    }
    let objects_count = if is_search(pattern) { 0 } else { 1 };
    for (place, touch) in pattern.touches.iter().enumerate() {
        let kind = match place < objects_count {
            true => coding(SYSTEM_OBJECT),
            false => json!({ "system": RESOURCE_TYPES, "code": touch.resource_type }),
        };
        entities.push(json!({
            "what": { "reference": format!("{}/{}", touch.resource_type, touch.id) },
            "type": kind,
            "role": coding([ENTITY_ROLE, "4", "Domain Resource"]),
            "description": format!("version {}, classes {}", touch.version, touch.classes),
        }));
    }
    let record = entry.event.patient().map(|(_, patient)| patient.to_string());
    for patient in patients {
        let mut what = json!({ "reference": format!("Patient/{patient}") });
        if let Some(record) = &record {
            what["identifier"] = json!({ "system": RECORD, "value": record });
        }
        entities.push(json!({
            "what": what,
            "type": coding([ENTITY_TYPE, "1", "Person"]),
            "role": coding([ENTITY_ROLE, "1", "Patient"]),
        }));
    }
    if let Some(request) = &entry.request {
        entities.push(json!({
            "what": { "identifier": { "value": request.to_string() } },
            "type": { "system": BALP_ENTITY, "code": "XrequestId" },
        }));
    }
    entities
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
