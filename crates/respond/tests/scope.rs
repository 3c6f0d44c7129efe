//! Scope: exact against a naive count, and released ⊇ returned.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_base::{
    ClassSet, ElementClass, LedgerIndex, ManualClock, PatientId, PrincipalId, Timestamp,
};
use holdfast_ledger::{
    Action, BodySealer, BodyUnreadable, CheckpointSigner, Event, Filter, IndexPlace, Ledger,
    LedgerKeys, Placed,
};
use holdfast_respond::{RESIDENCE_UNKNOWN, ScopeQuery, scope, scope_of};
use proptest::prelude::*;

#[allow(dead_code, reason = "shared with other tests that use more of it")]
#[path = "../examples/specimens/community.rs"]
mod community;
use community::{at, entry, organization, patient, person, profile, read, release, touch};

/// What one generated entry says.
#[derive(Debug, Clone)]
enum Act {
    Release(u8, u8, u8),
    Touched(u8, u8, Action, Vec<(u8, u8)>),
    Delivered(u8, u8),
    Named(u8, Vec<u8>, bool),
    Noise,
}

fn act() -> impl Strategy<Value = Act> {
    let organizations = 0u8..3;
    let patients = 0u8..6; // 0 stands for nobody
    let actions = prop_oneof![Just(Action::Read), Just(Action::Search), Just(Action::Write)];
    let touches = prop::collection::vec((0u8..3, 0u8..5), 0..4);
    prop_oneof![
        (organizations.clone(), patients.clone(), 1u8..32)
            .prop_map(|(o, p, c)| Act::Release(o, p, c)),
        (organizations.clone(), patients.clone(), actions, touches)
            .prop_map(|(o, p, a, t)| Act::Touched(o, p, a, t)),
        (organizations.clone(), patients.clone()).prop_map(|(o, p)| Act::Delivered(o, p)),
        (organizations, prop::collection::vec(patients, 0..4), any::<bool>())
            .prop_map(|(o, p, who)| Act::Named(o, p, who)),
        Just(Act::Noise),
    ]
}

const TYPES: [&str; 3] = ["Patient", "Observation", "DocumentReference"];

fn build(acts: &[Act]) -> Vec<Placed> {
    let name = |o: &u8| organization(&format!("org-{o}"));
    acts.iter()
        .enumerate()
        .map(|(index, act)| {
            let event = match act {
                Act::Release(o, p, c) => release(&name(o), patient(*p), ClassSet::from_bits(*c)),
                Act::Touched(o, p, action, touches) => {
                    let touches = touches
                        .iter()
                        .map(|(kind, class)| {
                            let class = ElementClass::ALL[usize::from(*class)];
                            touch(TYPES[usize::from(*kind)], &format!("r{class}"), class)
                        })
                        .collect();
                    match read(&name(o), patient(*p), touches) {
                        Event::Access {
                            organization,
                            patient,
                            purpose,
                            relationship,
                            touches,
                            ..
                        } => Event::Access {
                            organization,
                            patient,
                            action: *action,
                            purpose,
                            relationship,
                            touches,
                        },
                        other => other,
                    }
                }
                Act::Delivered(o, p) => Event::Delivery {
                    organization: name(o),
                    patient: patient(*p),
                    recipient: organization("elsewhere"),
                    what: "result".to_owned(),
                },
                Act::Named(o, patients, who) => Event::PopulationQuery {
                    organization: name(o),
                    resource_type: if *who { "Patient" } else { "Condition" }.to_owned(),
                    parameters: vec!["code".to_owned()],
                    purpose: holdfast_base::Purpose::Treatment,
                    matches_count: patients.len() as u64,
                    named: patients.iter().map(|p| patient(*p)).collect(),
                },
                Act::Noise => Event::Session { change: "opened".to_owned() },
            };
            let time = Timestamp::from_millis(1_700_000_000_000 + index as i64 * 1000);
            entry(index as u64, time, event)
        })
        .collect()
}

proptest! {
    #[test]
    fn totals_are_those_of_a_naive_count(acts in prop::collection::vec(act(), 0..60), linked in 0u8..6) {
        let entries = build(&acts);
        // The first `linked` patients of every organization are the same persons.
        let mut profiles = Vec::new();
        for o in 0..3u8 {
            for p in 1..=linked {
                let state = ["IN", "CA", "MA"][usize::from((o + p) % 3)];
                let state = (p % 4 != 0).then_some(state);
                let event = profile(&organization(&format!("org-{o}")), patient(p), person(p), state);
                profiles.push(entry(1000 + profiles.len() as u64, at(community::FIRST), event));
            }
        }
        let scope = scope(&entries, &profiles);

        let mut released: BTreeMap<(u8, u8), u8> = BTreeMap::new();
        let mut returned: BTreeMap<(u8, u8), u8> = BTreeMap::new();
        let mut resources: BTreeMap<(u8, u8), BTreeSet<(u8, u8)>> = BTreeMap::new();
        let mut touched = BTreeSet::new();
        for act in &acts {
            match act {
                Act::Release(o, p, c) if *p > 0 => {
                    touched.insert((*o, *p));
                    *released.entry((*o, *p)).or_default() |= c;
                }
                Act::Touched(o, p, action, touches) if *p > 0 => {
                    touched.insert((*o, *p));
                    if *action != Action::Write {
                        for (kind, class) in touches {
                            *returned.entry((*o, *p)).or_default() |= 1 << class;
                            resources.entry((*o, *p)).or_default().insert((*kind, *class));
                        }
                    }
                }
                Act::Delivered(o, p) if *p > 0 => {
                    touched.insert((*o, *p));
                }
                Act::Named(o, patients, who) => {
                    let class = if *who { ElementClass::Identity } else { ElementClass::Clinical };
                    for p in patients.iter().filter(|p| **p > 0) {
                        touched.insert((*o, *p));
                        *released.entry((*o, *p)).or_default() |= ClassSet::of(class).bits();
                    }
                }
                _ => {}
            }
        }
        prop_assert_eq!(scope.totals.patients as usize, touched.len());
        prop_assert_eq!(scope.rows.len(), touched.len());
        let who = |(o, p): &(u8, u8)| if *p <= linked { (9, *p) } else { (*o, *p) };
        let persons: BTreeSet<_> = touched.iter().map(who).collect();
        prop_assert_eq!(scope.totals.persons as usize, persons.len());
        for (o, count) in (0..3u8).filter_map(|o| {
            Some((o, scope.totals.organizations.get(&organization(&format!("org-{o}")))?))
        }) {
            prop_assert_eq!(count.patients as usize, touched.iter().filter(|t| t.0 == o).count());
        }
        let in_states: u64 = scope.totals.states.values().map(|count| count.patients).sum();
        prop_assert_eq!(in_states, scope.totals.patients);
        let unknown = touched.iter().filter(|(_, p)| *p > linked || *p % 4 == 0).count() as u64;
        let counted = scope.totals.states.get(RESIDENCE_UNKNOWN).map_or(0, |count| count.patients);
        prop_assert_eq!(counted, unknown);

        for row in &scope.rows {
            prop_assert!(row.released.contains_all(row.returned));
            prop_assert!(row.patient != PatientId::NONE);
            prop_assert!(row.first <= row.last);
            let o: u8 = row.organization.as_str()[4..].parse().unwrap();
            let key = (o, row.patient.as_bytes()[0]);
            let seen = returned.get(&key).copied().unwrap_or_default();
            prop_assert_eq!(row.returned.bits(), seen);
            prop_assert_eq!(row.released.bits(), released.get(&key).copied().unwrap_or_default() | seen);
            let distinct: u64 = row.resources.values().sum();
            prop_assert_eq!(distinct as usize, resources.get(&key).map_or(0, BTreeSet::len));
        }
    }

    #[test]
    fn the_order_of_entries_does_not_matter(acts in prop::collection::vec(act(), 0..30)) {
        let entries = build(&acts);
        let mut turned = entries.clone();
        turned.reverse();
        prop_assert_eq!(scope(&entries, &[]), scope(&turned, &[]));
    }
}

/// Seals nothing: what is tested here is arithmetic.
struct Open;

impl BodySealer for Open {
    fn seal(&self, _: LedgerIndex, body: &[u8]) -> Vec<u8> {
        body.to_vec()
    }

    fn open(&self, _: LedgerIndex, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        Ok(sealed.to_vec())
    }

    fn seal_index(&self, _: IndexPlace, block: &[u8]) -> Vec<u8> {
        block.to_vec()
    }

    fn open_index(&self, _: IndexPlace, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        Ok(sealed.to_vec())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn p09_the_scope_of_the_ledgers_index_is_that_of_its_opened_entries(
        acts in prop::collection::vec(act(), 0..60),
        profiles in prop::collection::vec((0u8..3, 1u8..6, 1u8..9), 0..12),
        asked in prop::option::of(0u8..3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let signer = CheckpointSigner::from_seed("test.example/ledger", &[7; 32]).unwrap();
        let keys = LedgerKeys { sealer: Box::new(Open), signer };
        let clock = Arc::new(ManualClock::at(at(community::FIRST)));
        let ledger = Ledger::open(dir.path(), "test.example/ledger", keys, clock).unwrap();
        let mut entries: Vec<_> = build(&acts).into_iter().map(|placed| placed.entry).collect();
        for (place, (o, p, who)) in profiles.into_iter().enumerate() {
            let state = (who % 3 > 0).then_some(["IN", "CA"][usize::from(who % 2)]);
            let kept = organization(&format!("org-{o}"));
            let event = profile(&kept, patient(p), person(who), state);
            let place = (place * 7) % (entries.len() + 1);
            entries.insert(place, entry(0, at(community::FIRST), event).entry);
        }
        ledger.append(&entries).unwrap();

        let organization = asked.map(|o| organization(&format!("org-{o}")));
        let principal: Option<PrincipalId> =
            entries.first().filter(|_| asked.is_none()).map(|entry| entry.actor.principal.clone());
        let query = ScopeQuery { organization, principal, ..ScopeQuery::default() };
        let mut matching = ledger.query(&query.filter(), None, usize::MAX).unwrap();
        // Searches are about no single record: of the organization are those inside.
        if let Some(asked) = &query.organization {
            let everywhere = ScopeQuery { organization: None, ..query.clone() }.filter();
            let searches = ledger.query(&everywhere, None, usize::MAX).unwrap();
            matching.extend(searches.into_iter().filter(|placed| {
                matches!(&placed.entry.event, Event::PopulationQuery { organization, .. }
                    if organization == asked)
            }));
        }
        let profiles = ScopeQuery::profiles_filter(&matching);
        let profiles =
            profiles.map(|filter: Filter| ledger.query(&filter, None, usize::MAX).unwrap());
        let due = scope(&matching, &profiles.unwrap_or_default());
        prop_assert_eq!(scope_of(ledger.touched(&query.filter()).unwrap()), due);
    }
}

#[test]
fn a_release_outside_of_the_asked_time_still_counts_as_the_upper_bound() {
    let kept = organization("a");
    let access = read(&kept, patient(1), vec![touch("Patient", "1", ElementClass::Identity)]);
    let scope = scope(&[entry(5, at(community::FIRST), access)], &[]);
    assert_eq!(scope.rows[0].released, ClassSet::of(ElementClass::Identity));
    assert_eq!(scope.totals.persons, 1, "a record that is linked to nobody is a person");
}

#[test]
fn the_last_profile_counts() {
    let kept = organization("a");
    let entries = [entry(9, at(community::FIRST), release(&kept, patient(1), ClassSet::ALL))];
    let moved = [
        entry(7, at(community::FIRST), profile(&kept, patient(1), person(2), Some("CA"))),
        entry(2, at(community::FIRST), profile(&kept, patient(1), person(1), Some("IN"))),
    ];
    let scope = scope(&entries, &moved);
    assert_eq!(scope.rows[0].residence.as_deref(), Some("CA"));
    assert_eq!(scope.rows[0].person, Some(person(2)));
}

#[test]
fn the_filters_ask_for_exactly_what_scope_reads() {
    let made = community::community();
    let query =
        ScopeQuery { principal: Some(made.incident.principal.clone()), ..Default::default() };
    let kept = organization("a");
    let entries = [
        entry(1, at(community::FIRST), release(&kept, patient(1), ClassSet::ALL)),
        entry(2, at(community::FIRST), Event::Session { change: "opened".to_owned() }),
    ];
    let filter = query.filter();
    assert!(filter.matches(&entries[0].entry) && !filter.matches(&entries[1].entry));
    let profiles = ScopeQuery::profiles_filter(&entries).unwrap();
    assert_eq!(profiles.patients.len(), 1);
    assert!(profiles.matches(
        &entry(3, at(community::FIRST), profile(&kept, patient(1), person(1), None)).entry
    ));
    assert!(ScopeQuery::profiles_filter(&[]).is_none());
}

#[test]
fn csv_json_and_table_agree_and_hold_no_name() {
    let made = community::community();
    let csv = made.scope.to_csv();
    let rows = csv::Reader::from_reader(csv.as_bytes()).into_records().count();
    assert_eq!(rows, made.scope.rows.len());
    let json: holdfast_respond::Scope = serde_json::from_str(&made.scope.to_json()).unwrap();
    assert_eq!(json, made.scope);
    let table = made.scope.to_table();
    assert!(
        table.starts_with("9 persons, 9 patient records, 2 organizations, 18 ledger entries"),
        "{table}"
    );
    for person in &made.persons {
        for text in [&csv, &table, &made.scope.to_json()] {
            assert!(!text.contains(person.name.expose().as_str()));
        }
    }
}

#[test]
fn an_incident_survives_json() {
    let incident = community::community().incident;
    let json = serde_json::to_string(&incident).unwrap();
    assert_eq!(serde_json::from_str::<holdfast_respond::Incident>(&json).unwrap(), incident);
}
