//! Whose records some entries touched, from the facts of the index alone.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use holdfast_base::{ClassSet, LedgerIndex, OrganizationId, PatientId, PersonId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    ACTION_DELETE, ACTION_WRITE, Dimension, Facts, IndexFault, NONE, ProfileFact, Row, TouchFact,
    matching,
};
use crate::Filter;

/// One patient record, and what entries that match a filter did to it: what a
/// scope says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchedRecord {
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// The patient.
    pub patient: PatientId,
    /// The person whom the record was last linked to, by any entry.
    pub person: Option<PersonId>,
    /// State or country of residence, as the last profile has it.
    pub residence: Option<String>,
    /// Classes whose keys were released.
    pub released: ClassSet,
    /// Classes of what was read, found, delivered or opened for a notice.
    pub returned: ClassSet,
    /// Distinct resources of these, by type.
    pub resources: BTreeMap<String, u64>,
    /// Distinct resources that were written.
    pub written: u64,
    /// Results, reports and notices that went out.
    pub deliveries: u64,
    /// The earliest entry's time.
    pub first: Timestamp,
    /// The latest entry's time.
    pub last: Timestamp,
    /// The entries, ascending.
    pub entries: Vec<LedgerIndex>,
}

/// A multiplicative hash for keys that are random or numbers of ours.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }
}

type Mixed<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// What is known of one record so far.
struct Gathered {
    organization: u32,
    patient: PatientId,
    released: ClassSet,
    returned: ClassSet,
    /// Type and hash of each touch, with repetitions.
    resources: Vec<(u32, u64)>,
    written: Vec<(u32, u64)>,
    deliveries: u64,
    first: i64,
    last: i64,
    entries: Vec<LedgerIndex>,
    profile: Option<(PersonId, Option<u32>)>,
}

/// Gathers records over segments.
#[derive(Default)]
pub(crate) struct Gathering {
    organizations: Numbers,
    types: Numbers,
    residences: Numbers,
    places: Mixed<(u32, [u8; 16]), u32>,
    records: Vec<Gathered>,
}

/// Texts, numbered over all segments.
#[derive(Default)]
struct Numbers {
    texts: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, u32>,
}

impl Numbers {
    fn of(&mut self, text: Vec<u8>) -> u32 {
        let next = self.texts.len() as u32;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        })
    }

    fn text(&self, number: u32) -> String {
        let text = self.texts.get(number as usize).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// Numbers of one segment as numbers of all.
struct Translation<'a> {
    facts: &'a dyn Facts,
    dimension: Dimension,
    known: HashMap<u32, u32>,
}

impl<'a> Translation<'a> {
    fn new(facts: &'a dyn Facts, dimension: Dimension) -> Self {
        Self { facts, dimension, known: HashMap::new() }
    }

    fn of(&mut self, numbers: &mut Numbers, ordinal: u32) -> Result<u32, IndexFault> {
        if let Some(number) = self.known.get(&ordinal) {
            return Ok(*number);
        }
        let number = numbers.of(self.facts.key(self.dimension, ordinal)?);
        self.known.insert(ordinal, number);
        Ok(number)
    }
}

/// What a row of a segment counts as, by the segment's ordinals of kinds.
struct Kinds {
    release: Option<u32>,
    access: Option<u32>,
    delivery: Option<u32>,
}

impl Kinds {
    fn of(facts: &dyn Facts) -> Result<Self, IndexFault> {
        let find = |kind: &str| facts.find(Dimension::Kind, kind.as_bytes());
        Ok(Self {
            release: find("key-release")?,
            access: find("access")?,
            delivery: find("delivery")?,
        })
    }

    fn counts(&self, row: &Row) -> bool {
        let kind = Some(u32::from(row.kind));
        kind == self.release || kind == self.access || kind == self.delivery
    }
}

impl Gathering {
    /// Adds what entries of `facts` that match `filter` did. Key releases,
    /// accesses and deliveries count, and no others.
    pub(crate) fn add(&mut self, facts: &dyn Facts, filter: &Filter) -> Result<(), IndexFault> {
        let kinds = Kinds::of(facts)?;
        let mut rows: Vec<(u32, Row)> = Vec::new();
        matching(facts, filter, 0, &mut |place, row| {
            if row.patient != NONE && kinds.counts(row) {
                rows.push((place, *row));
            }
            true
        })?;
        let mut organizations = Translation::new(facts, Dimension::Organization);
        let mut types = Translation::new(facts, Dimension::ResourceType);
        let mut records: Mixed<(u32, u32), Option<u32>> = Mixed::default();
        for (place, row) in rows {
            let record = match records.get(&(row.organization, row.patient)) {
                Some(record) => *record,
                None => {
                    let record = self.record(facts, &row, &mut organizations)?;
                    records.insert((row.organization, row.patient), record);
                    record
                }
            };
            let Some(record) = record.and_then(|record| self.records.get_mut(record as usize))
            else {
                continue;
            };
            record.entries.push(LedgerIndex(facts.first() + u64::from(place)));
            record.first = record.first.min(row.at);
            record.last = record.last.max(row.at);
            let kind = Some(u32::from(row.kind));
            if kind == kinds.release {
                record.released = record.released.union(row.classes);
            } else if kind == kinds.delivery {
                record.deliveries += 1;
            } else {
                let written = matches!(row.action, ACTION_WRITE | ACTION_DELETE);
                if !written {
                    record.returned = record.returned.union(row.classes);
                }
                let list = if written { &mut record.written } else { &mut record.resources };
                let mut touched: Result<(), IndexFault> = Ok(());
                facts.touches(&row, &mut |touch: TouchFact| match types
                    .of(&mut self.types, touch.resource_type)
                {
                    Ok(resource_type) => list.push((resource_type, touch.id)),
                    Err(fault) => touched = Err(fault),
                })?;
                touched?;
            }
        }
        Ok(())
    }

    /// The record that a row is about; none for what concerns no patient.
    fn record(
        &mut self,
        facts: &dyn Facts,
        row: &Row,
        organizations: &mut Translation<'_>,
    ) -> Result<Option<u32>, IndexFault> {
        let key = facts.key(Dimension::Patient, row.patient)?;
        let patient = key.first_chunk().map(|bytes| PatientId::from_bytes(*bytes));
        let Some(patient) = patient.filter(|patient| !patient.is_nobody()) else {
            return Ok(None);
        };
        let organization = organizations.of(&mut self.organizations, row.organization)?;
        Ok(Some(self.place(organization, patient)))
    }

    /// The place of a record, which is made when there is none.
    fn place(&mut self, organization: u32, patient: PatientId) -> u32 {
        let records = &mut self.records;
        let place = self.places.entry((organization, *patient.as_bytes()));
        let place = place.or_insert_with(|| {
            records.push(Gathered {
                organization,
                patient,
                released: ClassSet::EMPTY,
                returned: ClassSet::EMPTY,
                resources: Vec::new(),
                written: Vec::new(),
                deliveries: 0,
                first: i64::MAX,
                last: i64::MIN,
                entries: Vec::new(),
                profile: None,
            });
            records.len() as u32 - 1
        });
        *place
    }

    /// Adds that a search over many patients named this one: whoever asked knows that
    /// the record has a resource of the type that matches.
    pub(crate) fn add_named(
        &mut self,
        organization: &OrganizationId,
        patient: PatientId,
        told: ClassSet,
        (index, at): (LedgerIndex, Timestamp),
    ) {
        if patient.is_nobody() {
            return;
        }
        let organization = self.organizations.of(organization.as_str().as_bytes().to_vec());
        let place = self.place(organization, patient);
        let Some(record) = self.records.get_mut(place as usize) else { return };
        record.released = record.released.union(told);
        record.entries.push(index);
        record.first = record.first.min(at.millis());
        record.last = record.last.max(at.millis());
    }

    /// No more entries: orders the records, and looks for their profiles next.
    pub(crate) fn collected(mut self) -> Collected {
        self.places = Mixed::default();
        self.records.sort_unstable_by_key(|record| (record.patient, record.organization));
        let missing = self.records.len();
        Collected { gathering: self, missing }
    }
}

/// Gathered records, which profiles are looked up for: from the youngest segment
/// to the oldest.
pub(crate) struct Collected {
    gathering: Gathering,
    missing: usize,
}

impl Collected {
    /// Takes the profiles that `facts` has for records that have none yet.
    pub(crate) fn add_profiles(&mut self, facts: &dyn Facts) -> Result<(), IndexFault> {
        let count = facts.profiles_count();
        if self.missing == 0 || count == 0 {
            return Ok(());
        }
        let mut organizations = Translation::new(facts, Dimension::Organization);
        let mut residences = Translation::new(facts, Dimension::Residence);
        // Many records: one walk over all profiles. Few: a search for each.
        let all = (self.missing >= count as usize / 64).then(|| facts.profiles(0, count));
        let all = all.transpose()?;
        let mut rest = all.as_deref().unwrap_or_default();
        let Gathering { organizations: names, residences: places, records, .. } =
            &mut self.gathering;
        for record in records.iter_mut().filter(|record| record.profile.is_none()) {
            let of_patient: Vec<ProfileFact> = if all.is_some() {
                rest = &rest[rest.partition_point(|profile| profile.patient < record.patient)..];
                let same = rest.partition_point(|profile| profile.patient == record.patient);
                rest[..same].to_vec()
            } else {
                profiles_of(facts, record.patient)?
            };
            for profile in of_patient {
                if organizations.of(names, profile.organization)? == record.organization {
                    let residence = match profile.residence {
                        NONE => None,
                        ordinal => Some(residences.of(places, ordinal)?),
                    };
                    record.profile = Some((PersonId::from_bytes(profile.person), residence));
                    self.missing -= 1;
                }
            }
        }
        Ok(())
    }

    /// The records, in order of organization and patient.
    pub(crate) fn finish(self) -> Vec<TouchedRecord> {
        let Gathering { organizations, types, residences, mut records, .. } = self.gathering;
        let names: Vec<Option<OrganizationId>> = (0..organizations.texts.len() as u32)
            .map(|number| OrganizationId::new(&organizations.text(number)).ok())
            .collect();
        records.sort_by(|a, b| {
            let name = |record: &Gathered| names[record.organization as usize].as_ref();
            name(a).cmp(&name(b)).then(a.patient.cmp(&b.patient))
        });
        let touched = records.into_iter().filter_map(|mut record| {
            record.resources.sort_unstable();
            record.resources.dedup();
            record.written.sort_unstable();
            record.written.dedup();
            record.entries.sort_unstable();
            record.entries.dedup();
            let mut resources = BTreeMap::new();
            for (resource_type, _) in record.resources {
                *resources.entry(resource_type).or_insert(0) += 1;
            }
            let (person, residence) = record.profile.unzip();
            Some(TouchedRecord {
                organization: names[record.organization as usize].clone()?,
                patient: record.patient,
                person,
                residence: residence.flatten().map(|number| residences.text(number)),
                released: record.released,
                returned: record.returned,
                resources: resources.into_iter().map(|(n, count)| (types.text(n), count)).collect(),
                written: record.written.len() as u64,
                deliveries: record.deliveries,
                first: Timestamp::from_millis(record.first),
                last: Timestamp::from_millis(record.last),
                entries: record.entries,
            })
        });
        touched.collect()
    }
}

/// The profiles of one patient, by a search.
fn profiles_of(facts: &dyn Facts, patient: PatientId) -> Result<Vec<ProfileFact>, IndexFault> {
    let (mut low, mut high) = (0, facts.profiles_count());
    let count = high;
    while low < high {
        let middle = low + (high - low) / 2;
        match facts.profiles(middle, middle + 1)?.first() {
            Some(profile) if profile.patient < patient => low = middle + 1,
            _ => high = middle,
        }
    }
    let mut found = Vec::new();
    while low < count {
        let next = facts.profiles(low, low + 1)?;
        if next.first().is_none_or(|profile| profile.patient != patient) {
            break;
        }
        found.extend(next);
        low += 1;
    }
    Ok(found)
}
