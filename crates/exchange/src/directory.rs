//! The patient directory: who is registered where, by keyed tokens only.
//!
//! One sealed row a patient record. The rows hold tokens (HMAC), random ids and a
//! state of residence; no name, birth date or number can be read from them, neither
//! on disk nor in this process's memory. They answer patient look-ups, matching and
//! the question how somebody is related to a patient, without opening a record.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use holdfast_base::{OrganizationId, PatientId, PersonId, Timestamp};
use holdfast_keeper::SystemKey;
use holdfast_mpi::{Features, Index, PatientRef, Weights};
use holdfast_store::{RowWrite, Store, Table};
use serde::{Deserialize, Serialize};

use crate::ExchangeError;
use crate::sizes;

/// A keyed token of a search value.
pub(crate) type Token = [u8; 8];

/// Where a patient record is.
pub(crate) type Place = (OrganizationId, PatientId);

/// What the directory knows of one patient record.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub organization: OrganizationId,
    pub patient: PatientId,
    /// Logical id of the Patient resource.
    pub logical_id: String,
    pub person: PersonId,
    /// State of residence, for scope.
    pub residence: Option<String>,
    pub features: Features,
    /// Tokens of the Patient's search values, sorted.
    pub search: Vec<Token>,
    /// Tokens of the NPIs of those who treat the patient.
    pub care_team: BTreeSet<Token>,
    /// Last time that a message told of a visit.
    pub last_visit: Option<Timestamp>,
    /// Whether the patient opted out of exchange between organizations.
    pub opted_out: bool,
    /// Logical id of the record that this one was merged into.
    pub merged_into: Option<String>,
    /// Whether the Patient resource was deleted: nobody finds it any more.
    #[serde(default)]
    pub deleted: bool,
    /// Last change of the Patient resource.
    pub updated: Timestamp,
}

/// All listings, in memory.
pub(crate) struct Directory {
    listings: HashMap<Place, Arc<Listing>>,
    by_token: HashMap<(OrganizationId, Token), BTreeSet<PatientId>>,
    by_person: HashMap<PersonId, BTreeSet<Place>>,
    by_logical_id: HashMap<(OrganizationId, String), PatientId>,
    matching: Index,
}

impl Directory {
    /// Opens every directory row of the store.
    pub fn load(store: &Store, key: &SystemKey) -> Result<Self, ExchangeError> {
        let mut directory = Self {
            listings: HashMap::new(),
            by_token: HashMap::new(),
            by_person: HashMap::new(),
            by_logical_id: HashMap::new(),
            matching: Index::new(Weights::default()),
        };
        for row in store.snapshot().scan_rows(Table::Directory, &[]) {
            let (place, sealed) = row.map_err(ExchangeError::store)?;
            let plain = key.open(&context(&place), &sealed)?;
            let listing = serde_json::from_slice(&plain)
                .map_err(|_| ExchangeError::Internal("a directory row has an unknown form"))?;
            directory.put(Arc::new(listing));
        }
        Ok(directory)
    }

    /// Adds or replaces a listing.
    pub fn put(&mut self, listing: Arc<Listing>) {
        let place = (listing.organization.clone(), listing.patient);
        self.remove(&place);
        let searched = listing.search.iter().filter(|_| !listing.deleted);
        for token in searched {
            let key = (listing.organization.clone(), *token);
            self.by_token.entry(key).or_default().insert(listing.patient);
        }
        let named = (listing.organization.clone(), listing.logical_id.clone());
        self.by_logical_id.insert(named, listing.patient);
        self.by_person.entry(listing.person).or_default().insert(place.clone());
        if listing.merged_into.is_none() && !listing.deleted {
            self.matching.add(record(&place), listing.person, listing.features.clone());
        }
        self.listings.insert(place, listing);
    }

    /// Takes a listing out.
    pub fn remove(&mut self, place: &Place) {
        let Some(old) = self.listings.remove(place) else { return };
        for token in &old.search {
            let key = (old.organization.clone(), *token);
            if let Some(patients) = self.by_token.get_mut(&key) {
                patients.remove(&old.patient);
                if patients.is_empty() {
                    self.by_token.remove(&key);
                }
            }
        }
        if let Some(places) = self.by_person.get_mut(&old.person) {
            places.remove(place);
        }
        self.matching.remove(&record(place));
    }

    /// One listing.
    pub fn get(&self, organization: &OrganizationId, patient: PatientId) -> Option<Arc<Listing>> {
        self.listings.get(&(organization.clone(), patient)).cloned()
    }

    /// The listing that has this logical id.
    pub fn by_logical_id(&self, organization: &OrganizationId, id: &str) -> Option<Arc<Listing>> {
        let patient = self.by_logical_id.get(&(organization.clone(), id.to_owned()))?;
        self.get(organization, *patient)
    }

    /// The organization's patients that have at least one token of each group.
    pub fn find(&self, organization: &OrganizationId, groups: &[Vec<Token>]) -> Vec<Arc<Listing>> {
        let mut found: Option<BTreeSet<PatientId>> = None;
        for group in groups {
            let mut matches = BTreeSet::new();
            for token in group {
                if let Some(patients) = self.by_token.get(&(organization.clone(), *token)) {
                    matches.extend(patients.iter().copied());
                }
            }
            found = Some(match found {
                Some(before) => before.intersection(&matches).copied().collect(),
                None => matches,
            });
        }
        match found {
            Some(patients) => {
                patients.into_iter().filter_map(|p| self.get(organization, p)).collect()
            }
            None => self.of_organization(organization).filter(|l| !l.deleted).collect(),
        }
    }

    /// Every patient record of an organization, of deleted Patients, too.
    pub fn of_organization<'a>(
        &'a self,
        organization: &'a OrganizationId,
    ) -> impl Iterator<Item = Arc<Listing>> + 'a {
        self.listings.values().filter(move |l| l.organization == *organization).cloned()
    }

    /// Every record of a person.
    pub fn of_person(&self, person: PersonId) -> Vec<Arc<Listing>> {
        let places = self.by_person.get(&person).into_iter().flatten();
        places.filter_map(|place| self.listings.get(place).cloned()).collect()
    }

    /// The matching index.
    pub fn matching(&self) -> &Index {
        &self.matching
    }

    /// Counts: patient records, persons.
    pub fn counts(&self) -> (usize, usize) {
        let persons: HashSet<_> = self.listings.values().map(|l| l.person).collect();
        (self.listings.len(), persons.len())
    }
}

impl Listing {
    /// The listing as a sealed row.
    pub fn row(&self, key: &SystemKey, ordinal: u32) -> Result<RowWrite, ExchangeError> {
        let place = [&ordinal.to_be_bytes()[..], self.patient.as_bytes()].concat();
        let plain = serde_json::to_vec(self)
            .map_err(|_| ExchangeError::Internal("a listing does not serialise"))?;
        let sealed = key.seal(&context(&place), &sizes::pad_json(plain));
        Ok(RowWrite { table: Table::Directory, key: place, value: Some(sealed) })
    }
}

fn record((organization, patient): &Place) -> PatientRef {
    PatientRef { organization: organization.clone(), patient: *patient }
}

fn context(place: &[u8]) -> String {
    format!("directory/{}", data_encoding::HEXLOWER.encode(place))
}
