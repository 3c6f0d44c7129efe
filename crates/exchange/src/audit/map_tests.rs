use std::path::{Path, PathBuf};

use holdfast_base::{
    ClassSet, CommitNumber, ElementClass, LedgerIndex, MessageId, OrganizationId, PatientId,
    Purpose, RequestId, SessionId, Timestamp,
};
use holdfast_ledger::Entry;

use super::*;

fn organization() -> OrganizationId {
    "lakeside-family".parse().expect("a name")
}

fn touch(resource_type: &str, version: u64) -> Touch {
    let classes = ClassSet::of(ElementClass::Clinical);
    Touch { resource_type: resource_type.into(), id: format!("{version}a"), version, classes }
}

fn access(action: Action, touches: Vec<Touch>) -> Event {
    Event::Access {
        organization: organization(),
        patient: PatientId::from_bytes([7; 16]),
        action,
        purpose: Purpose::Treatment,
        relationship: "care-team".into(),
        touches,
    }
}

fn shown(event: Event, patients: &[&str]) -> Value {
    let actor = Actor {
        principal: "dr.okafor".parse().expect("a name"),
        session: Some(SessionId::random()),
        organization: Some(organization()),
        address: Some("192.0.2.7".into()),
    };
    let (at, request) = (Timestamp::from_millis(1_432_598_400_007), Some(RequestId::random()));
    let placed = Placed { index: LedgerIndex(31), entry: Entry { at, actor, request, event } };
    let patients: Vec<String> = patients.iter().map(|&patient| patient.to_owned()).collect();
    audit_event(&placed, &patients, "lakeside-family").expect("is shown")
}

/// One event of every kind that is shown, and of every action.
fn examples() -> Vec<(&'static str, Value)> {
    let patient = PatientId::from_bytes([7; 16]);
    let refusal = |door: &str| Event::Refusal {
        door: door.into(),
        reason: "not-permitted".into(),
        patient: None,
        organization: None,
    };
    let one = |event| shown(event, &["p1"]);
    let nobody = |event| shown(event, &[]);
    vec![
        ("access", one(access(Action::Read, vec![touch("Observation", 1)]))),
        ("access", one(access(Action::Read, vec![touch("Patient", 2), touch("Condition", 1)]))),
        ("access", one(access(Action::Search, vec![touch("Observation", 1)]))),
        ("access", nobody(access(Action::Search, Vec::new()))),
        ("access", one(access(Action::Write, vec![touch("Patient", 1)]))),
        ("access", one(access(Action::Write, vec![touch("Patient", 2), touch("Encounter", 1)]))),
        ("access", one(access(Action::Deliver, vec![touch("DiagnosticReport", 1)]))),
        ("access", one(access(Action::Notify, vec![touch("Patient", 1)]))),
        (
            "population-query",
            shown(
                Event::PopulationQuery {
                    organization: organization(),
                    resource_type: "Observation".into(),
                    parameters: vec!["code".into(), "date".into()],
                    purpose: Purpose::Treatment,
                    matches_count: 2,
                    named: Vec::new(),
                },
                &["p1", "p2"],
            ),
        ),
        ("refusal", nobody(refusal("policy"))),
        ("refusal", nobody(refusal("sign-in"))),
        ("session", nobody(Event::Session { change: "opened".into() })),
        ("session", nobody(Event::Session { change: "closed".into() })),
        (
            "intake",
            one(Event::Intake {
                organization: organization(),
                message: MessageId(9),
                format: "hl7v2".into(),
                outcome: "accepted".into(),
                patient: Some(patient),
                commit: Some(CommitNumber(4)),
            }),
        ),
        (
            "bulk-job",
            nobody(Event::BulkJob {
                job: RequestId::random(),
                organization: organization(),
                what: "export".into(),
                step: "finished".into(),
                patients_count: 12,
                resources_count: 900,
            }),
        ),
        (
            "delivery",
            one(Event::Delivery {
                organization: organization(),
                patient,
                recipient: "st-brendan-hospital".parse().expect("a name"),
                what: "result".into(),
            }),
        ),
        (
            "forgotten",
            one(Event::Forgotten { organization: organization(), patient, reason: "asked".into() }),
        ),
        (
            "ledger-read",
            one(Event::LedgerRead {
                view: "AuditEvent".into(),
                organization: organization(),
                patient: Some(patient),
                entries_count: 3,
            }),
        ),
    ]
}

fn items<'a>(event: &'a Value, name: &str) -> Vec<&'a Value> {
    event[name].as_array().map(|items| items.iter().collect()).unwrap_or_default()
}

fn has_type(item: &Value, system: &str, code: &str) -> bool {
    let kind = &item["type"];
    let codings = kind["coding"].as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
    codings.iter().any(|coding| coding["system"] == system && coding["code"] == code)
}

/// What the profile that an event claims wants and the event does not have; written from
/// the profiles of BALP 1.1, for those that may be claimed.
fn lacks(event: &Value, profile: &str) -> Vec<String> {
    let mut lacks = Vec::new();
    let mut want = |holds: bool, what: &str| {
        if !holds {
            lacks.push(format!("{profile}: {what}"));
        }
    };
    let base = profile.strip_prefix("Patient").unwrap_or(profile);
    let (subtypes, action): (&[&str], _) = match base {
        "Read" => (&["read", "vread"], "R"),
        "Query" => (&["search", "search-type", "search-system"], "E"),
        "Create" => (&["create"], "C"),
        _ => (&["update", "patch"], "U"),
    };
    let of_rest = |s: &&Value| s["system"] == "http://hl7.org/fhir/restful-interaction";
    want(event["type"]["code"] == "rest", "type");
    let named = |s: &&Value| subtypes.iter().any(|code| s["code"] == *code);
    want(items(event, "subtype").into_iter().filter(of_rest).any(|s| named(&s)), "subtype");
    want(event["action"] == action, "action");
    want(event["outcome"] == "0", "outcome");
    let (client, server) = if base == "Read" { ("110152", "110153") } else { ("110153", "110152") };
    let agents = items(event, "agent");
    for (role, code) in [("client", client), ("server", server)] {
        let mut of_role = agents.iter().filter(|agent| has_type(agent, DCM, code));
        let one = of_role.next();
        let whole = one.is_some_and(|a| a["who"].is_object() && a["network"].is_object());
        want(whole && of_role.next().is_none(), role);
    }
    let users: &[&str] =
        if matches!(base, "Read" | "Query") { &["IRCP"] } else { &["AUT", "INF", "CST"] };
    for user in agents.iter().filter(|agent| agent["requestor"] == true) {
        let known = users.iter().any(|code| has_type(user, PARTICIPATION, code));
        want(known && user["who"].is_object() && user["network"].is_null(), "user");
    }
    let entities = items(event, "entity");
    let objects: Vec<_> = entities.iter().filter(|e| has_type(e, ENTITY_TYPE, "2")).collect();
    want(objects.len() == 1, "one System Object");
    for object in objects {
        let role = object["role"]["code"].as_str().unwrap_or_default();
        if base == "Query" {
            let clean = object["what"].is_null() && object["detail"].is_null();
            want(role == "24" && object["query"].is_string() && clean, "query");
        } else {
            want(["3", "4", "20"].contains(&role) && object["what"].is_object(), "data");
        }
    }
    if profile != base {
        let patients: Vec<_> = entities.iter().filter(|e| has_type(e, ENTITY_TYPE, "1")).collect();
        let is_one = |e: &&Value| e["role"]["code"] == "1" && e["what"]["reference"].is_string();
        want(patients.len() == 1 && patients.iter().all(|e| is_one(e)), "patient");
    }
    for transaction in entities.iter().filter(|e| has_type(e, BALP_ENTITY, "XrequestId")) {
        want(transaction["what"]["identifier"]["value"].is_string(), "transaction");
    }
    lacks
}

fn claimed_of(event: &Value) -> Option<&str> {
    let profile = event["meta"]["profile"][0].as_str()?.strip_prefix(BALP)?;
    let base = profile.strip_prefix("Patient").unwrap_or(profile);
    ["Read", "Query", "Create", "Update"].contains(&base).then_some(profile)
}

#[test]
fn every_kind_is_a_valid_audit_event_that_says_what_the_entry_says() {
    for (kind, event) in examples() {
        let problems: Vec<_> =
            holdfast_fhir::validate(&event).into_iter().filter(|issue| issue.is_error()).collect();
        assert!(problems.is_empty(), "{kind}: {problems:?}\n{event:#}");
        let (_, types) = KINDS.iter().find(|(of, _)| *of == kind).expect("is listed");
        let code = event["type"]["code"].as_str().expect("has a type");
        assert!(types.contains(&code), "a search by type {code} would pass over {kind}");
        assert_eq!(event["id"], "31");
        assert_eq!(event["recorded"], "2015-05-26T00:00:00.007Z");
        let user = items(&event, "agent").into_iter().find(|agent| agent["requestor"] == true);
        assert_eq!(user.expect("somebody did it")["altId"], "dr.okafor");
    }
    let shown: std::collections::BTreeSet<_> = examples().into_iter().map(|e| e.0).collect();
    assert_eq!(shown.len(), KINDS.len(), "every kind has an example");
}

#[test]
fn a_profile_is_claimed_where_it_fits_whole_and_nowhere_else() {
    let mut claims = Vec::new();
    for (kind, event) in examples() {
        if let Some(profile) = claimed_of(&event) {
            assert_eq!(lacks(&event, profile), Vec::<String>::new(), "{kind}: {event:#}");
            claims.push(profile.to_owned());
        }
    }
    let expected = [
        "PatientRead",
        "PatientRead",
        "PatientQuery",
        "Query",
        "PatientCreate",
        "PatientUpdate",
        "PatientRead",
    ];
    assert_eq!(claims, expected);
    // The checker is one: without a client's network nothing fits.
    let (_, mut event) = examples().swap_remove(0);
    event["agent"][0]["network"] = Value::Null;
    assert_eq!(lacks(&event, "PatientRead"), ["PatientRead: client"]);
    // A read of nothing, and an actor without an address, claim nothing.
    let nothing = shown(access(Action::Read, Vec::new()), &["p1"]);
    assert_eq!(claimed_of(&nothing), None);
}

#[test]
fn what_is_not_an_audit_event_is_none() {
    let actor = Actor {
        principal: "system:holdfast".parse().expect("a name"),
        session: None,
        organization: None,
        address: None,
    };
    let event = Event::StoreCommit { commit: CommitNumber(1), chain: "00".into() };
    let entry = Entry { at: Timestamp::from_millis(0), actor, request: None, event };
    assert_eq!(audit_event(&Placed { index: LedgerIndex(0), entry }, &[], "x"), None);
}

/// The published examples: they fit the checker above, and searches find ours as theirs.
#[test]
fn examples_of_balp_have_the_shape_that_ours_have() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/fhir");
    let folders = std::fs::read_dir(&shared).into_iter().flatten().flatten();
    let is_ihe = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ihe-"))
    };
    let mut open: Vec<PathBuf> = folders.map(|entry| entry.path()).filter(is_ihe).collect();
    if open.is_empty() {
        println!("skipped: {} has no ihe-*", shared.display());
        return;
    }
    let mut checked = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder").flatten();
            open.extend(entries.map(|entry| entry.path()));
            continue;
        }
        let text = std::fs::read(&path).unwrap_or_default();
        let Ok(example) = serde_json::from_slice::<Value>(&text) else { continue };
        if example["resourceType"] != "AuditEvent" {
            continue;
        }
        if let Some(profile) = claimed_of(&example) {
            assert_eq!(lacks(&example, profile), Vec::<String>::new(), "{}", path.display());
            checked += 1;
        }
    }
    println!("{checked} examples");
}
