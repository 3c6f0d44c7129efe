//! Duties: thresholds, triggers and last days.
#![allow(clippy::unwrap_used)]

use holdfast_base::{ClassSet, ElementClass, PatientId, PersonId};
use holdfast_respond::{Certainty, Duty, Law, Scope, Who, duties, duties_for, scope};

#[allow(dead_code, reason = "shared with other tests that use more of it")]
#[path = "../examples/specimens/community.rs"]
mod community;
use community::{at, entry, organization, profile, release};

const MEDICAL: ClassSet = ClassSet::of(ElementClass::Identity).with(ElementClass::Clinical);
const NUMBERS: ClassSet = MEDICAL.with(ElementClass::GovernmentId);
const NAMES: ClassSet = ClassSet::of(ElementClass::Identity);

/// `count` residents of `state`, all patients of one organization.
fn residents(count: u32, state: &str, classes: ClassSet) -> Scope {
    let kept = organization("a");
    let (mut entries, mut profiles) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut bytes = [7; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let (patient, person) = (PatientId::from_bytes(bytes), PersonId::from_bytes(bytes));
        entries.push(entry(
            u64::from(number),
            at(community::FIRST),
            release(&kept, patient, classes),
        ));
        profiles.push(entry(
            u64::from(number),
            at(community::FIRST),
            profile(&kept, patient, person, Some(state)),
        ));
    }
    scope(&entries, &profiles)
}

fn find<'a>(duties: &'a [Duty], law: &str, who: Who, recipient: &str) -> Option<&'a Duty> {
    duties.iter().find(|d| d.jurisdiction == law && d.who == who && d.recipient.contains(recipient))
}

/// Residents, their state and classes; law, who and recipient; the last day,
/// or that there is no such duty.
type Case = (u32, &'static str, ClassSet, &'static str, Who, &'static str, Option<&'static str>);

#[test]
fn every_threshold_and_last_day() {
    use Who::{Client, ConsumerReportingAgencies as Bureaus, Individual, Media, Regulator};
    // Discovered on Tuesday, June 16, 2026.
    let table: &[Case] = &[
        // HIPAA: 60 days for all; HHS by size; media from 501 residents.
        (1, "OH", NAMES, "US-HIPAA", Client, "covered entity", Some("2026-08-15")),
        (1, "OH", NAMES, "US-HIPAA", Individual, "", Some("2026-08-15")),
        (499, "OH", NAMES, "US-HIPAA", Regulator, "yearly log", Some("2027-03-01")),
        (499, "OH", NAMES, "US-HIPAA", Regulator, "breach portal", None),
        (500, "OH", NAMES, "US-HIPAA", Regulator, "breach portal", Some("2026-08-15")),
        (500, "OH", NAMES, "US-HIPAA", Regulator, "yearly log", None),
        (500, "OH", NAMES, "US-HIPAA", Media, "", None),
        (501, "OH", NAMES, "US-HIPAA", Media, "(OH)", Some("2026-08-15")),
        // Indiana: 45 days, government numbers only, bureaus above 1,000.
        (1, "IN", MEDICAL, "IN", Individual, "", None),
        (1, "IN", NUMBERS, "IN", Individual, "", Some("2026-07-31")),
        (1, "IN", NUMBERS, "IN", Regulator, "Attorney General", Some("2026-07-31")),
        (1000, "IN", NUMBERS, "IN", Bureaus, "", None),
        // California: 30 days, medical too; sample above 500, 15 days later.
        (1, "CA", NAMES, "CA", Individual, "", None),
        (1, "CA", MEDICAL, "CA", Individual, "", Some("2026-07-16")),
        (500, "CA", MEDICAL, "CA", Regulator, "Attorney General", None),
        (501, "CA", MEDICAL, "CA", Regulator, "Attorney General", Some("2026-07-31")),
        // Massachusetts has no number of days, and medical is no trigger.
        (1, "MA", MEDICAL, "MA", Individual, "", None),
    ];
    for (count, state, classes, law, who, recipient, due) in table {
        let all =
            duties(&residents(*count, state, *classes), at(community::DISCOVERED), Law::built_in());
        let found = find(&all, law, *who, recipient);
        let got = found.and_then(|duty| duty.due).map(|day| day.to_string());
        assert_eq!(got.as_deref(), *due, "{count} {state} {classes} {law} {who:?} {recipient}");
        assert!(due.is_none() || found.unwrap().count == u64::from(*count));
        assert!(due.is_some() || found.is_none(), "absent below its threshold: {found:?}");
    }
}

#[test]
fn duties_without_a_number_of_days_are_there_and_come_first() {
    let all = duties(&residents(2, "MA", NUMBERS), at(community::DISCOVERED), Law::built_in());
    for recipient in ["Attorney General", "Consumer Affairs"] {
        let duty = find(&all, "MA", Who::Regulator, recipient).unwrap();
        assert_eq!((duty.due, duty.count), (None, 2));
        assert_eq!(duty.due_text(), "without unreasonable delay");
    }
    assert!(all[0].due.is_none() && all.last().unwrap().due.is_some());
    let bureaus =
        duties(&residents(1001, "IN", NUMBERS), at(community::DISCOVERED), Law::built_in());
    assert!(find(&bureaus, "IN", Who::ConsumerReportingAgencies, "").is_some());
}

#[test]
fn the_facility_statute_follows_the_license() {
    let law = Law::built_in();
    let made = community::community();
    let all = duties_for(&made.scope, made.incident.discovered, law, &made.organizations);
    let facility: Vec<&Duty> = all.iter().filter(|d| d.jurisdiction == "CA-CDPH").collect();
    assert_eq!(facility.len(), 2);
    for duty in facility {
        assert_eq!(duty.organization.as_str(), "mercy-ridge", "only the licensee");
        // 15 business days after Tuesday, June 16; July 3 is counted.
        assert_eq!(duty.due.unwrap().to_string(), "2026-07-07");
        assert_eq!(duty.count, 5, "all of its patients, wherever they live");
        assert!(duty.needs_review());
    }
    // Nothing known of the organization: shown, with the question.
    let unknown = duties(&residents(1, "CA", MEDICAL), made.incident.discovered, law);
    let duty = find(&unknown, "CA-CDPH", Who::Regulator, "").unwrap();
    assert!(duty.note.contains("not recorded"), "{}", duty.note);
    let elsewhere = duties(&residents(1, "OH", MEDICAL), made.incident.discovered, law);
    assert!(find(&elsewhere, "CA-CDPH", Who::Regulator, "").is_none());
}

#[test]
fn what_is_uncertain_needs_review_and_what_is_not_does_not() {
    let law = Law::built_in();
    let all = duties(&residents(1, "TX", NUMBERS), at(community::DISCOVERED), law);
    let texas = find(&all, "TX", Who::Regulator, "").unwrap();
    assert_eq!(texas.certainty, Certainty::D);
    assert!(texas.note.contains("eeds counsel's review"), "{}", texas.note);
    assert_eq!(texas.state(), "DRAFT - counsel's review needed");
    let federal = find(&all, "US-HIPAA", Who::Individual, "").unwrap();
    assert_eq!(federal.state(), "DRAFT");
    let indiana = duties(&residents(1, "IN", NUMBERS), at(community::DISCOVERED), law);
    let duty = find(&indiana, "IN", Who::Individual, "").unwrap();
    assert_eq!(duty.certainty, Certainty::A);
    assert!(duty.needs_review() && duty.note.contains("24-4.9-3-3.5"), "an exemption is open");
}

#[test]
fn an_earlier_discovery_gets_no_number_of_days_of_a_later_statute() {
    let all = duties(&residents(1, "CA", MEDICAL), at("2015-05-26T15:00:00Z"), Law::built_in());
    let duty = find(&all, "CA", Who::Individual, "").unwrap();
    assert_eq!(duty.due, None);
    assert!(duty.note.contains("earlier text"), "{}", duty.note);
    let federal = find(&all, "US-HIPAA", Who::Individual, "").unwrap();
    assert_eq!(federal.due.unwrap().to_string(), "2015-07-25");
}

#[test]
fn duties_are_json_with_plain_dates() {
    let all = duties(&residents(1, "CA", MEDICAL), at(community::DISCOVERED), Law::built_in());
    let json = serde_json::to_value(find(&all, "CA", Who::Individual, "").unwrap()).unwrap();
    assert_eq!(json["due"], "2026-07-16");
    assert_eq!(json["who"], "individual");
}

#[test]
fn nobody_touched_owes_nobody_anything() {
    assert!(duties(&Scope::default(), at(community::DISCOVERED), Law::built_in()).is_empty());
}
