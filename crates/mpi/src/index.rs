//! The index in memory, and the place of an arriving record in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holdfast_base::{OrganizationId, PatientId, PersonId};

use crate::blocking::blocking_keys;
use crate::compare::{Band, Decision, compare};
use crate::features::{Features, Token};
use crate::weights::Weights;

/// One organization's record of one patient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatientRef {
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// The patient.
    pub patient: PatientId,
}

/// A blocking key that joins more records than this says too little: it is
/// skipped, so that one arriving patient costs a bounded number of comparisons.
const BUCKET_RECORDS_MAX: usize = 400;

#[derive(Debug)]
struct Record {
    reference: PatientRef,
    person: PersonId,
    features: Features,
}

/// Every record that is matched against, with the person it stands for.
#[derive(Debug, Default)]
pub struct Index {
    weights: Weights,
    records: Vec<Option<Record>>,
    free: Vec<u32>,
    places: HashMap<PatientRef, u32>,
    buckets: HashMap<Token, Vec<u32>>,
    people: HashMap<PersonId, Vec<u32>>,
}

impl Index {
    /// An empty index that decides by `weights`.
    pub fn new(weights: Weights) -> Self {
        Self { weights, ..Self::default() }
    }

    /// What it decides by.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a record, or replaces what was known of it.
    pub fn add(&mut self, reference: PatientRef, person: PersonId, features: Features) {
        self.remove(&reference);
        let place = self.free.pop().unwrap_or(self.records.len() as u32);
        for key in blocking_keys(&features) {
            self.buckets.entry(key).or_default().push(place);
        }
        self.people.entry(person).or_default().push(place);
        self.places.insert(reference.clone(), place);
        let record = Some(Record { reference, person, features });
        match self.records.get_mut(place as usize) {
            Some(slot) => *slot = record,
            None => self.records.push(record),
        }
    }

    /// Replaces the features of a record and keeps its person. `false` when
    /// there is no such record.
    pub fn update(&mut self, reference: &PatientRef, features: Features) -> bool {
        let Some(person) = self.person(reference) else { return false };
        self.add(reference.clone(), person, features);
        true
    }

    /// Links a record to another person. `false` when there is no such record.
    pub fn set_person(&mut self, reference: &PatientRef, person: PersonId) -> bool {
        let Some(record) = self.remove(reference) else { return false };
        self.add(reference.clone(), person, record);
        true
    }

    /// Takes a record out, and gives its features back.
    pub fn remove(&mut self, reference: &PatientRef) -> Option<Features> {
        let place = self.places.remove(reference)?;
        let record = self.records.get_mut(place as usize)?.take()?;
        for key in blocking_keys(&record.features) {
            drop_place(&mut self.buckets, &key, place);
        }
        drop_place(&mut self.people, &record.person, place);
        self.free.push(place);
        Some(record.features)
    }

    /// The person that a record stands for.
    pub fn person(&self, reference: &PatientRef) -> Option<PersonId> {
        self.record(*self.places.get(reference)?).map(|record| record.person)
    }

    /// What is known of a record.
    pub fn features(&self, reference: &PatientRef) -> Option<&Features> {
        self.record(*self.places.get(reference)?).map(|record| &record.features)
    }

    /// The records that stand for a person, in order.
    pub fn records_of(&self, person: &PersonId) -> Vec<PatientRef> {
        let places = self.people.get(person).into_iter().flatten();
        let mut records: Vec<_> =
            places.filter_map(|place| Some(self.record(*place)?.reference.clone())).collect();
        records.sort();
        records
    }

    /// The records worth comparing with `features`, in order.
    pub fn candidates(&self, features: &Features) -> Vec<PatientRef> {
        let mut candidates: Vec<_> =
            self.candidate_records(features).map(|record| record.reference.clone()).collect();
        candidates.sort();
        candidates
    }

    fn candidate_records(&self, features: &Features) -> impl Iterator<Item = &Record> {
        let keys = blocking_keys(features);
        let buckets = keys.iter().filter_map(|key| self.buckets.get(key));
        let places: BTreeSet<u32> =
            buckets.filter(|b| b.len() <= BUCKET_RECORDS_MAX).flatten().copied().collect();
        places.into_iter().filter_map(|place| self.record(place))
    }

    fn record(&self, place: u32) -> Option<&Record> {
        self.records.get(place as usize)?.as_ref()
    }
}

fn drop_place<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<u32>>, key: &K, place: u32) {
    if let Some(list) = lists.get_mut(key) {
        list.retain(|other| *other != place);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

/// Where an arriving record belongs.
#[derive(Debug, Clone, PartialEq)]
pub enum Placement {
    /// To this person.
    Link {
        /// The person.
        person: PersonId,
        /// The strongest decision, with its reasons.
        decision: Decision,
    },
    /// To a person of its own for now; somebody should look at these.
    Review {
        /// Persons that it may be, the likeliest first, each with the strongest
        /// decision. Never empty.
        candidates: Vec<(PersonId, Decision)>,
    },
    /// To a person of its own.
    New,
}

/// Compares `features` with the whole index. Linked is who is linked to exactly
/// one person, none of whose records contradicts it; all else that is near goes
/// to review. To place a record again, take it out of the index first.
pub fn place(index: &Index, features: &Features) -> Placement {
    let mut people = BTreeMap::<PersonId, Decision>::new();
    for record in index.candidate_records(features) {
        let decision = compare(features, &record.features, &index.weights);
        if decision.band == Band::None {
            continue;
        }
        let rank = |d: &Decision| (d.band, d.score);
        match people.entry(record.person) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(decision);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                if rank(&decision) > rank(entry.get()) {
                    entry.insert(decision);
                }
            }
        }
    }
    let mut linked = people.iter().filter(|(_, decision)| decision.band == Band::Link);
    if let (Some((person, decision)), None) = (linked.next(), linked.next())
        && !is_contradicted(index, *person, features)
    {
        return Placement::Link { person: *person, decision: decision.clone() };
    }
    if people.is_empty() {
        return Placement::New;
    }
    let mut candidates: Vec<_> = people.into_iter().collect();
    candidates.sort_by(|(_, a), (_, b)| b.band.cmp(&a.band).then(b.score.total_cmp(&a.score)));
    Placement::Review { candidates }
}

/// Whether any record of `person` contradicts `features`: links would chain
/// the members of a household together otherwise.
fn is_contradicted(index: &Index, person: PersonId, features: &Features) -> bool {
    let places = index.people.get(&person).into_iter().flatten();
    places
        .filter_map(|place| index.record(*place))
        .any(|record| compare(features, &record.features, &index.weights).is_contradiction())
}
