use holdfast_base::{ElementClass, MessageId, Purpose, SessionId};
use holdfast_ledger::{Actor, Touch};

use super::*;

fn organization() -> OrganizationId {
    "lakeside-family".parse().expect("a name")
}

fn patient(number: u8) -> PatientId {
    PatientId::from_bytes([number; 16])
}

fn classes() -> ClassSet {
    ClassSet::of(ElementClass::Identity).with(ElementClass::Clinical)
}

fn entry(seconds: i64, principal: &str, event: Event) -> Entry {
    let actor = Actor {
        principal: principal.parse().expect("a name"),
        session: Some(SessionId::random()),
        organization: Some(organization()),
        address: None,
    };
    Entry { at: Timestamp::from_millis(seconds * 1_000), actor, request: None, event }
}

fn release(classes: ClassSet, reason: &str) -> Event {
    Event::KeyRelease {
        organization: organization(),
        patient: patient(1),
        classes,
        purpose: Purpose::Treatment,
        reason: reason.into(),
    }
}

fn access(number: u8, action: Action, classes: ClassSet) -> Event {
    let touch = Touch { resource_type: "Patient".into(), id: "p".into(), version: 1, classes };
    Event::Access {
        organization: organization(),
        patient: patient(number),
        action,
        purpose: Purpose::Treatment,
        relationship: "care-team".into(),
        touches: vec![touch],
    }
}

fn start() -> Event {
    Event::ServiceKeyRelease { scope: "system".into(), reason: "start".into() }
}

fn intake(number: u8) -> Event {
    Event::Intake {
        organization: organization(),
        message: MessageId(1),
        format: "hl7v2".into(),
        outcome: "accepted".into(),
        patient: Some(patient(number)),
        commit: None,
    }
}

/// What is found about the first of these entries.
fn about_first(entries: &[Entry]) -> Option<Gap> {
    let placed = Placed { index: LedgerIndex(7), entry: entries[0].clone() };
    let found = Around::of(entries).judge(&placed)?;
    assert_eq!(found.entry, Some(LedgerIndex(7)), "a gap has its place");
    assert_eq!(found.principal.as_str(), entries[0].actor.principal.as_str());
    Some(found.gap)
}

#[test]
fn a_release_needs_a_detail_of_the_same_principal_and_record_in_its_time() {
    let released = || entry(1_000, "dr.a", release(classes(), "care-team"));
    let read = |at, who, number| entry(at, who, access(number, Action::Read, classes()));
    let unused = Event::ReleaseUnused { organization: organization(), patient: patient(1) };
    for agreeing in [
        read(1_000, "dr.a", 1),
        read(1_060, "dr.a", 1),
        read(940, "dr.a", 1),
        entry(1_060, "dr.a", unused),
        entry(1_001, "dr.a", intake(1)),
    ] {
        assert_eq!(about_first(&[released(), agreeing.clone()]), None, "{agreeing:?}");
    }
    for other in [
        read(1_000, "dr.b", 1),
        read(1_000, "dr.a", 2),
        read(1_121, "dr.a", 1),
        read(939, "dr.a", 1),
        entry(1_001, "dr.a", intake(2)),
    ] {
        let found = about_first(&[released(), other.clone()]);
        assert_eq!(found, Some(Gap::ReleaseWithoutDetail), "{other:?}");
    }
    assert_eq!(about_first(&[released()]), Some(Gap::ReleaseWithoutDetail));
}

#[test]
fn a_release_whose_server_ended_is_told_apart() {
    let released = || entry(1_000, "dr.a", release(classes(), "care-team"));
    let started = |at| entry(at, "system:exchange", start());
    assert_eq!(about_first(&[released(), started(1_030)]), Some(Gap::ReleaseInterrupted));
    assert_eq!(about_first(&[released(), started(999)]), Some(Gap::ReleaseWithoutDetail));
    assert_eq!(about_first(&[released(), started(1_500)]), Some(Gap::ReleaseWithoutDetail));
}

#[test]
fn what_the_exchange_releases_for_itself_is_used_in_the_name_of_the_sender() {
    let released = entry(1_000, "system:exchange", release(classes(), "intake"));
    let written = entry(1_001, "hl7v2@lab", access(1, Action::Write, classes()));
    assert_eq!(about_first(&[released.clone(), written.clone()]), None);
    assert_eq!(about_first(&[written, released]), None);
    let indexing = entry(1_000, "system:exchange", release(classes(), "population-index"));
    assert_eq!(about_first(&[indexing]), None);
    let borrowed = entry(1_000, "dr.a", release(classes(), "population-index"));
    assert_eq!(about_first(&[borrowed]), Some(Gap::ReleaseWithoutDetail), "nobody else's reason");
}

#[test]
fn an_access_needs_releases_of_every_class_that_it_opened_before_it() {
    let read = || entry(1_000, "dr.a", access(1, Action::Read, classes()));
    let released = |at, who, classes| entry(at, who, release(classes, "care-team"));
    let (identity, clinical) =
        (ClassSet::of(ElementClass::Identity), ClassSet::of(ElementClass::Clinical));
    for agreeing in [
        vec![released(1_000, "dr.a", ClassSet::ALL)],
        vec![released(940, "dr.a", classes())],
        vec![released(990, "dr.a", identity), released(995, "dr.a", clinical)],
        vec![released(990, "system:exchange", classes())],
    ] {
        assert_eq!(about_first(&[vec![read()], agreeing].concat()), None);
    }
    for cut in [
        vec![],
        vec![released(990, "dr.a", identity)],
        vec![released(990, "dr.b", classes())],
        vec![released(879, "dr.a", classes())],
        vec![released(1_061, "dr.a", classes())],
    ] {
        let found = about_first(&[vec![read()], cut].concat());
        assert_eq!(found, Some(Gap::AccessWithoutRelease));
    }
    // Passing on opens nothing; nor does a search that found nothing.
    assert_eq!(about_first(&[entry(1, "dr.a", access(1, Action::Deliver, classes()))]), None);
    assert_eq!(about_first(&[entry(1, "dr.a", access(1, Action::Search, ClassSet::EMPTY))]), None);
}

#[test]
fn spans_are_few_and_hold_everything_in_reach() {
    let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
    assert_eq!(spans(Vec::new()), []);
    let found = spans(vec![at(10_000), at(100), at(200)]);
    assert_eq!(found, [(at(-20), at(320)), (at(9_880), at(10_120))]);
}
