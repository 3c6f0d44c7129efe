//! The query index: exact against a scan of opened entries, sealed, and made anew
//! when it is damaged or gone.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_base::{
    ClassSet, ElementClass, LedgerIndex, OrganizationId, PatientId, PersonId, Purpose, SessionId,
    Timestamp,
};
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::layout::{INDEX, files_below};
use crate::testing::*;
use crate::{Action, Actor, Touch};

/// Small segments, so that a test has many and merges some.
const SMALL: Shape = Shape { entries: 256, merged: 3 };

fn open_small(dir: &Path) -> Ledger {
    Ledger::open_on(dir, ORIGIN, keys(), clock(), unsynced(), SMALL).unwrap()
}

/// The n-th of varied entries: all kinds that scope counts, and others.
fn varied(n: u64) -> Entry {
    let mix = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let organization = OrganizationId::new(["lakeside", "riverton", "hill"][(mix % 3) as usize]);
    let (organization, whose) = (organization.unwrap(), mix / 3 % 40);
    let whose = if whose == 0 { PatientId::NONE } else { patient(whose) };
    let actions = [Action::Read, Action::Search, Action::Write, Action::Deliver, Action::Notify];
    let event = match mix / 7 % 8 {
        0..=2 => Event::KeyRelease {
            organization,
            patient: whose,
            classes: ClassSet::from_bits(1 + (mix / 11 % 31) as u8),
            purpose: Purpose::Treatment,
            reason: "own-organization".to_owned(),
        },
        3 | 4 => Event::Access {
            organization,
            patient: whose,
            action: actions[(mix / 13 % 5) as usize],
            purpose: Purpose::Treatment,
            relationship: "care-team".to_owned(),
            touches: (0..mix / 17 % 4)
                .map(|touch| Touch {
                    resource_type: ["Patient", "Observation"][(touch % 2) as usize].to_owned(),
                    id: format!("r{}", (mix / 19 + touch) % 5),
                    version: 1,
                    classes: ClassSet::of(ElementClass::ALL[((mix / 23 + touch) % 5) as usize]),
                })
                .collect(),
        },
        5 => Event::PatientProfile {
            organization,
            patient: whose,
            person: PersonId::from_bytes([(mix / 29 % 9) as u8; 16]),
            residence: (!mix.is_multiple_of(5))
                .then(|| ["IN", "CA"][(mix / 31 % 2) as usize].to_owned()),
        },
        6 => Event::Delivery {
            organization,
            patient: whose,
            recipient: OrganizationId::new("elsewhere").unwrap(),
            what: "result".to_owned(),
        },
        _ if mix.is_multiple_of(2) => Event::PopulationQuery {
            organization,
            resource_type: "Observation".to_owned(),
            parameters: vec!["code".to_owned()],
            purpose: Purpose::Treatment,
            matches_count: 3,
            named: [7, 11, 13].map(|part| patient(1 + mix / part % 40))[..(mix / 3 % 4) as usize]
                .to_vec(),
        },
        _ => Event::Session { change: "opened".to_owned() },
    };
    Entry {
        // Clocks go backwards now and then.
        at: Timestamp::from_millis(1_432_598_400_000 + n as i64 * 1000 - (mix % 4) as i64 * 1700),
        actor: Actor {
            principal: format!("dr.{}@lakeside", mix / 37 % 6).parse().unwrap(),
            session: (!mix.is_multiple_of(3))
                .then(|| SessionId::from_bytes([(mix / 41 % 8) as u8; 16])),
            organization: None,
            address: (!mix.is_multiple_of(7)).then(|| format!("192.0.2.{}", mix / 43 % 5)),
        },
        request: None,
        event,
    }
}

fn fill(ledger: &Ledger, from: u64, to: u64) {
    let entries: Vec<Entry> = (from..to).map(varied).collect();
    for some in entries.chunks(97) {
        ledger.append(some).unwrap();
        ledger.publish_checkpoint().unwrap();
    }
}

/// What [`Ledger::touched`] must give, from opened entries, word by word.
fn naive(all: &[Placed], filter: &Filter) -> Vec<TouchedRecord> {
    let mut records: BTreeMap<(OrganizationId, PatientId), TouchedRecord> = BTreeMap::new();
    let mut seen: BTreeSet<(OrganizationId, PatientId, bool, String, String)> = BTreeSet::new();
    let new_record = |organization: &OrganizationId, patient, at| TouchedRecord {
        organization: organization.clone(),
        patient,
        person: None,
        residence: None,
        released: ClassSet::EMPTY,
        returned: ClassSet::EMPTY,
        resources: BTreeMap::new(),
        written: 0,
        deliveries: 0,
        first: at,
        last: at,
        entries: Vec::new(),
    };
    let named_too =
        filter.kinds.is_empty() || filter.kinds.iter().any(|kind| kind == "population-query");
    for Placed { index, entry } in all {
        if let Event::PopulationQuery { organization, named, .. } = &entry.event {
            let anyhow = Filter {
                organization: None,
                patients: Default::default(),
                kinds: Vec::new(),
                ..filter.clone()
            };
            let own = filter.organization.as_ref().is_none_or(|asked| asked == organization);
            for patient in named.iter().filter(|_| own && named_too && anyhow.matches(entry)) {
                if !filter.patients.is_empty() && !filter.patients.contains(patient) {
                    continue;
                }
                let record = records
                    .entry((organization.clone(), *patient))
                    .or_insert_with(|| new_record(organization, *patient, entry.at));
                record.entries.retain(|known| known != index);
                record.entries.push(*index);
                record.first = record.first.min(entry.at);
                record.last = record.last.max(entry.at);
                record.released = record.released.union(ClassSet::of(ElementClass::Clinical));
            }
            continue;
        }
        let counts = ["key-release", "access", "delivery"].contains(&entry.event.kind());
        let Some((organization, patient)) = entry.event.patient() else { continue };
        if !counts || !filter.matches(entry) || patient == PatientId::NONE {
            continue;
        }
        let record = records.entry((organization.clone(), patient));
        let record = record.or_insert_with(|| new_record(organization, patient, entry.at));
        record.entries.push(*index);
        record.first = record.first.min(entry.at);
        record.last = record.last.max(entry.at);
        match &entry.event {
            Event::KeyRelease { classes, .. } => record.released = record.released.union(*classes),
            Event::Delivery { .. } => record.deliveries += 1,
            Event::Access { action, touches, .. } => {
                for touch in touches {
                    let written = *action == Action::Write;
                    let kind = touch.resource_type.clone();
                    let key =
                        (organization.clone(), patient, written, kind.clone(), touch.id.clone());
                    if !written {
                        record.returned = record.returned.union(touch.classes);
                    }
                    match (seen.insert(key), written) {
                        (false, _) => {}
                        (true, true) => record.written += 1,
                        (true, false) => *record.resources.entry(kind).or_insert(0) += 1,
                    }
                }
            }
            _ => {}
        }
    }
    for Placed { entry, .. } in all {
        if let Event::PatientProfile { organization, patient, person, residence } = &entry.event
            && let Some(record) = records.get_mut(&(organization.clone(), *patient))
        {
            (record.person, record.residence) = (Some(*person), residence.clone());
        }
    }
    records.into_values().collect()
}

fn entries(ledger: &Ledger) -> Vec<Placed> {
    (0..ledger.len()).map(|index| ledger.get(LedgerIndex(index)).unwrap()).collect()
}

/// Query, paged query and scope against a scan of `all`.
fn check(ledger: &Ledger, all: &[Placed], filter: &Filter) {
    let due: Vec<&Placed> = all.iter().filter(|placed| filter.matches(&placed.entry)).collect();
    let found = ledger.query(filter, None, usize::MAX).unwrap();
    assert!(found.iter().eq(due.iter().copied()), "{filter:?}");
    let middle = due.get(due.len() / 2).map(|placed| placed.index);
    let page = ledger.query(filter, middle, 7).unwrap();
    let rest = due.iter().copied().filter(|placed| Some(placed.index) > middle).take(7);
    assert!(page.iter().eq(rest), "after {middle:?}: {filter:?}");
    assert_eq!(ledger.touched(filter).unwrap(), naive(all, filter), "{filter:?}");
}

fn filter() -> impl Strategy<Value = Filter> {
    let at = |n: u64| Timestamp::from_millis(1_432_598_400_000 + n as i64 * 1000);
    let time = prop::option::of((0..2100_u64).prop_map(at));
    let patients = prop::collection::hash_set((0..45_u64).prop_map(patient), 0..4);
    const KINDS: [&str; 6] =
        ["key-release", "access", "delivery", "patient-profile", "session", "unheard-of"];
    (
        (prop::option::of(0..7_u8), prop::option::of(0..9_u8), prop::option::of(0..6_u8)),
        (prop::option::of(0..4_usize), patients, time.clone(), time),
        prop::collection::vec(prop::sample::select(&KINDS[..]), 0..4),
    )
        .prop_map(
            |((principal, session, address), (organization, patients, from, to), kinds)| {
                let names = ["lakeside", "riverton", "hill", "nowhere"];
                Filter {
                    principal: principal.map(|n| format!("dr.{n}@lakeside").parse().unwrap()),
                    session: session.map(|n| SessionId::from_bytes([n; 16])),
                    address: address.map(|n| format!("192.0.2.{n}")),
                    organization: organization.map(|n| names[n].parse().unwrap()),
                    patients,
                    from,
                    to,
                    kinds: kinds.into_iter().map(str::to_owned).collect(),
                }
            },
        )
}

#[test]
fn p09_scope_and_queries_by_the_index_are_those_of_a_scan_of_opened_entries() {
    let dir = tempdir().unwrap();
    let ledger = open_small(dir.path());
    fill(&ledger, 0, 1_900);
    // Merged, new and unfinished pieces are there, all three.
    let files = files_below(dir.path(), INDEX).unwrap();
    assert!(files.contains(&"index/0000000000-768".to_owned()), "{files:?}");
    assert!(files.contains(&"index/0001536-256".replace("0001536", "0000001536")), "{files:?}");
    let all = entries(&ledger);
    check(&ledger, &all, &Filter::default());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    runner
        .run(&filter(), |filter| {
            check(&ledger, &all, &filter);
            Ok(())
        })
        .unwrap();
    drop(ledger);
    let ledger = open_small(dir.path());
    assert_eq!(files_below(dir.path(), INDEX).unwrap(), files, "the index was taken as it is");
    check(&ledger, &all, &Filter::default());
    fill(&ledger, 1_900, 2_400);
    let all = entries(&ledger);
    check(&ledger, &all, &Filter { principal: "dr.1@lakeside".parse().ok(), ..Filter::default() });
}

#[test]
fn a_ledger_without_an_index_gets_one_when_it_is_opened() {
    let dir = tempdir().unwrap();
    let ledger = open_small(dir.path());
    fill(&ledger, 0, 1_000);
    let (all, root) = (entries(&ledger), ledger.root());
    drop(ledger);
    fs::remove_dir_all(dir.path().join(INDEX)).unwrap();
    let ledger = open_small(dir.path());
    assert_eq!(ledger.root(), root);
    check(&ledger, &all, &Filter::default());
    assert_eq!(files_below(dir.path(), INDEX).unwrap(), ["index/0000000000-768"]);
}

/// Copies of a ledger, and what is in it.
fn sample() -> (tempfile::TempDir, Vec<Placed>, Vec<PathBuf>) {
    let dir = tempdir().unwrap();
    let ledger = open_small(dir.path());
    fill(&ledger, 0, 1_300);
    let all = entries(&ledger);
    drop(ledger);
    let files = files_below(dir.path(), INDEX).unwrap();
    (dir, all, files.into_iter().map(PathBuf::from).collect())
}

#[test]
fn a_flipped_bit_anywhere_in_the_index_is_mended_and_never_answers() {
    let (dir, all, files) = sample();
    let ask = Filter { address: Some("192.0.2.1".to_owned()), ..Filter::default() };
    for file in files {
        let whole = fs::read(dir.path().join(&file)).unwrap();
        for place in (0..whole.len()).step_by(whole.len() / 9) {
            let image = tempdir().unwrap();
            copy(dir.path(), image.path());
            let mut bytes = whole.clone();
            bytes[place] ^= 0x04;
            fs::write(image.path().join(&file), &bytes).unwrap();
            let ledger = open_small(image.path());
            check(&ledger, &all, &ask);
            assert_eq!(entries(&ledger), all, "{file:?} at {place}");
            assert_eq!(
                ledger.touched(&Filter::default()).unwrap(),
                naive(&all, &Filter::default())
            );
        }
    }
}

#[test]
fn a_missing_cut_or_swapped_index_segment_is_made_anew() {
    let (dir, all, files) = sample();
    type Spoil<'a> = &'a dyn Fn(&Path, &Path);
    let spoil: [Spoil<'_>; 3] = [
        &|file, _| fs::remove_file(file).unwrap(),
        &|file, _| fs::write(file, &fs::read(file).unwrap()[..70_000]).unwrap(),
        &|file, other| assert!(fs::copy(other, file).is_ok()),
    ];
    for spoil in spoil {
        for (place, file) in files.iter().enumerate() {
            let image = tempdir().unwrap();
            copy(dir.path(), image.path());
            let other = &files[(place + 1) % files.len()];
            spoil(&image.path().join(file), &image.path().join(other));
            let ledger = open_small(image.path());
            check(&ledger, &all, &Filter::default());
            drop(ledger);
            assert!(image.path().join(file).is_file(), "{file:?} is back");
        }
    }
}

#[test]
fn a_flipped_bit_in_a_body_below_the_index_is_named_when_it_is_read_and_never_served() {
    let (dir, all, _) = sample();
    let file = dir.path().join("bodies/000000");
    let mut bytes = fs::read(&file).unwrap();
    bytes[10_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let ledger = open_small(dir.path());
    let mut damaged = Vec::new();
    for placed in &all {
        match ledger.get(placed.index) {
            Ok(read) => assert_eq!(read, *placed),
            Err(ReadError::Damaged { index, .. }) => damaged.push(index),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(damaged.len(), 1);
    let refused = ledger.query(&Filter::default(), None, usize::MAX).unwrap_err();
    assert!(matches!(refused, ReadError::Damaged { index, .. } if index == damaged[0]));
}

#[test]
fn lost_bodies_below_the_index_are_named_at_open() {
    let (dir, _, _) = sample();
    fs::remove_dir_all(dir.path().join(INDEX)).unwrap();
    drop(open_small(dir.path()));
    let file = dir.path().join("bodies/000000");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let refused = Ledger::open_on(dir.path(), ORIGIN, keys(), clock(), unsynced(), SMALL);
    assert!(matches!(refused, Err(OpenError::Damaged { .. } | OpenError::Lost { .. })));
}

#[test]
fn an_older_index_of_another_history_is_not_believed() {
    let (dir, _, files) = sample();
    let other = tempdir().unwrap();
    let ledger = open_small(other.path());
    fill(&ledger, 5_000, 6_300);
    let all = entries(&ledger);
    drop(ledger);
    // The same places, sealed under the same key, and of other entries.
    for file in &files {
        fs::copy(dir.path().join(file), other.path().join(file)).unwrap();
    }
    let ledger = open_small(other.path());
    assert_eq!(entries(&ledger), all);
    check(&ledger, &all, &Filter::default());
}

#[test]
fn a_changed_entries_tile_below_the_index_changes_no_answer() {
    let (dir, all, _) = sample();
    let tile = dir.path().join("tile/entries/001");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[50] ^= 1;
    fs::write(&tile, bytes).unwrap();
    assert_eq!(entries(&open_small(dir.path())), all);
}

#[test]
fn p02_nothing_of_an_entry_stands_readable_in_the_index_and_sizes_are_rounded() {
    let (dir, all, files) = sample();
    let mut known: Vec<Vec<u8>> = vec![b"lakeside".to_vec(), b"dr.1".to_vec(), b"192.0.2".to_vec()];
    known.extend([b"Observation".to_vec(), b"key-release".to_vec()]);
    known.extend(all.iter().filter_map(|p| Some(p.entry.event.patient()?.1.as_bytes().to_vec())));
    known.retain(|key| *key != PatientId::NONE.as_bytes());
    known.sort();
    known.dedup();
    for file in files {
        let bytes = fs::read(dir.path().join(&file)).unwrap();
        for key in &known {
            assert!(!bytes.windows(key.len()).any(|window| window == &key[..]), "{file:?}");
        }
        let blocks = (bytes.len() - 56) / (crate::index::BLOCK_BYTES + 16);
        assert_eq!(bytes.len(), 56 + blocks * (crate::index::BLOCK_BYTES + 16));
        assert!(blocks < 8 || blocks.is_multiple_of(1 << (blocks.ilog2() - 2)));
    }
}
