//! The key table: wrapped keys of organizations and patients, in fjall.
//!
//! Keyspaces (keys are identifiers of ours, values sealed and bound to the key):
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `organizations` | organization | its key, wrapped under the root |
//! | `patients` | organization `0x00` patient (16 bytes) | its key, wrapped under the organization; one byte `0x00` when forgotten |
//! | `marks` | hour since 1970 (8 bytes, big-endian) | ledger length when the hour began, sealed |
//!
//! Invariant: a key is durable before [`KeyTable`] gives it out. Writes come from
//! one thread (the scribe); reads from any.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use holdfast_base::{OrganizationId, PatientId};
use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use crate::inbox::public_key;
use crate::primitive::{Secret, place};

/// Unwrapped patient keys that the keeper holds in each of two generations.
const CACHE_PATIENTS_MAX: usize = 8_192;
const FORGOTTEN: [u8; 1] = [0];

/// Why the key table does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("the key table cannot be read or written")]
    Engine(#[from] fjall::Error),
    #[error("a {row} row of the key table is damaged")]
    Damaged { row: &'static str },
}

/// An organization's key and what is derived from it.
pub(crate) struct Organization {
    pub id: OrganizationId,
    /// Key of the equality tokens.
    pub token: Secret,
    /// Public half of the inbox key.
    pub inbox_public: [u8; 32],
    inbox: Secret,
    wrap: Secret,
}

impl Organization {
    fn new(id: OrganizationId, key: &Secret) -> Self {
        let inbox = key.derive("holdfast/v1/organization/inbox");
        Self {
            id,
            token: key.derive("holdfast/v1/organization/token"),
            inbox_public: public_key(&inbox),
            inbox,
            wrap: key.derive("holdfast/v1/organization/wrap-patients"),
        }
    }

    /// Private half of the inbox key.
    pub fn inbox_private(&self) -> Secret {
        self.inbox.clone()
    }
}

/// What the table knows about a patient.
pub(crate) enum Found {
    Key(Secret),
    Unknown,
    Forgotten,
}

pub(crate) struct KeyTable {
    database: Database,
    organizations: Keyspace,
    patients: Keyspace,
    marks: Keyspace,
    wrap: Secret,
    seal_marks: Secret,
    known: RwLock<HashMap<OrganizationId, Arc<Organization>>>,
    cache: Mutex<Cache>,
    forgets: AtomicU64,
    patients_count: AtomicU64,
}

impl KeyTable {
    pub fn open(dir: &Path, root: &Secret) -> Result<Self, TableError> {
        let database = Database::builder(dir).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (organizations, patients, marks) =
            (keyspace("organizations")?, keyspace("patients")?, keyspace("marks")?);
        let wrap = root.derive("holdfast/v1/root/wrap-organizations");
        let mut known = HashMap::new();
        for row in organizations.iter() {
            let (key, wrapped) = row.into_inner()?;
            let id = std::str::from_utf8(&key).ok().and_then(|name| OrganizationId::new(name).ok());
            let id = id.ok_or(TableError::Damaged { row: "organization" })?;
            let secret = unwrap(&wrap, &organization_place(&id), &wrapped, "organization")?;
            known.insert(id.clone(), Arc::new(Organization::new(id, &secret)));
        }
        let mut count = 0;
        for row in patients.iter() {
            let (key, value) = row.into_inner()?;
            count +=
                u64::from(value[..] != FORGOTTEN && !key.ends_with(PatientId::NONE.as_bytes()));
        }
        Ok(Self {
            organizations,
            patients,
            marks,
            wrap,
            seal_marks: root.derive("holdfast/v1/root/marks"),
            known: RwLock::new(known),
            cache: Mutex::default(),
            forgets: AtomicU64::new(0),
            patients_count: AtomicU64::new(count),
            database,
        })
    }

    pub fn organization(&self, id: &OrganizationId) -> Option<Arc<Organization>> {
        self.known.read().get(id).cloned()
    }

    /// Every organization, in order of names.
    pub fn organizations(&self) -> Vec<Arc<Organization>> {
        let mut all: Vec<_> = self.known.read().values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Patients that have a key, over all organizations.
    pub fn patients_count(&self) -> u64 {
        self.patients_count.load(Ordering::Relaxed)
    }

    /// How many patients were forgotten since the table was opened: a key that was
    /// found before this number changed must be looked up again.
    pub fn forgets(&self) -> u64 {
        self.forgets.load(Ordering::SeqCst)
    }

    /// The key of `patient`: from memory, or read and unwrapped.
    pub fn find(
        &self,
        organization: &Organization,
        patient: PatientId,
    ) -> Result<Found, TableError> {
        let row = patient_row(&organization.id, patient);
        // The lock is held over the read, so that a key that is being forgotten
        // cannot come back into memory.
        let mut cache = self.cache.lock();
        if let Some(key) = cache.get(&row) {
            return Ok(Found::Key(key));
        }
        let Some(wrapped) = self.patients.get(&row)? else {
            return Ok(Found::Unknown);
        };
        if wrapped[..] == FORGOTTEN {
            return Ok(Found::Forgotten);
        }
        let place = patient_place(&organization.id, patient);
        let key = unwrap(&organization.wrap, &place, &wrapped, "patient")?;
        cache.put(row, key.clone());
        Ok(Found::Key(key))
    }

    /// Makes the organization's key and that of its compartment without a patient.
    /// Durable on return; gives what is there when it exists.
    pub fn create_organization(
        &self,
        id: &OrganizationId,
    ) -> Result<(Arc<Organization>, bool), TableError> {
        if let Some(organization) = self.organization(id) {
            return Ok((organization, false));
        }
        let key = Secret::random();
        let wrapped = self.wrap.seal(&organization_place(id), key.bytes());
        let organization = Arc::new(Organization::new(id.clone(), &key));
        let none =
            organization.wrap.seal(&patient_place(id, PatientId::NONE), Secret::random().bytes());
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.organizations, id.as_str(), wrapped);
        batch.insert(&self.patients, patient_row(id, PatientId::NONE), none);
        batch.commit()?;
        self.known.write().insert(id.clone(), Arc::clone(&organization));
        Ok((organization, true))
    }

    /// Makes keys for `patients`, who have none. Durable on return: one sync for
    /// all of them.
    pub fn create(
        &self,
        patients: &[(Arc<Organization>, PatientId, Secret)],
    ) -> Result<(), TableError> {
        if patients.is_empty() {
            return Ok(());
        }
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for (organization, patient, key) in patients {
            let place = patient_place(&organization.id, *patient);
            let wrapped = organization.wrap.seal(&place, key.bytes());
            batch.insert(&self.patients, patient_row(&organization.id, *patient), wrapped);
        }
        batch.commit()?;
        let count = patients.iter().filter(|(_, patient, _)| *patient != PatientId::NONE).count();
        self.patients_count.fetch_add(count as u64, Ordering::Relaxed);
        let mut cache = self.cache.lock();
        for (organization, patient, key) in patients {
            cache.put(patient_row(&organization.id, *patient), key.clone());
        }
        Ok(())
    }

    /// Destroys the key of `patient`. Durable on return. Idempotent.
    pub fn forget(&self, id: &OrganizationId, patient: PatientId) -> Result<(), TableError> {
        let row = patient_row(id, patient);
        let had = self.patients.get(&row)?.is_some_and(|value| value[..] != FORGOTTEN);
        if had {
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
            batch.insert(&self.patients, row.as_slice(), FORGOTTEN.as_slice());
            batch.commit()?;
            self.patients_count.fetch_sub(1, Ordering::Relaxed);
        }
        self.cache.lock().remove(&row);
        self.forgets.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Rewrites the patients' keyspace, so that wrapped keys that were forgotten
    /// leave the files too. Slow.
    pub fn compact(&self) -> Result<(), TableError> {
        self.patients.rotate_memtable_and_wait()?;
        Ok(self.patients.major_compact()?)
    }

    /// Notes that the ledger had `ledger_len` entries when `hour` began. Not
    /// synced: losing a mark costs time at the next start, nothing else.
    pub fn mark_hour(&self, hour: i64, ledger_len: u64) -> Result<(), TableError> {
        let key = hour.to_be_bytes();
        let sealed = self.seal_marks.seal(&mark_place(hour), &ledger_len.to_be_bytes());
        Ok(self.marks.insert(key, sealed)?)
    }

    /// The ledger length at the latest mark that is not after `hour`; 0 when there
    /// is none that can be trusted.
    pub fn mark_before(&self, hour: i64) -> Result<u64, TableError> {
        let Some(row) = self.marks.range(..=hour.to_be_bytes()).next_back() else {
            return Ok(0);
        };
        let (key, sealed) = row.into_inner()?;
        let marked = <[u8; 8]>::try_from(&key[..]).map(i64::from_be_bytes).ok();
        let opened = marked.and_then(|at| self.seal_marks.open(&mark_place(at), &sealed).ok());
        let length = opened.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        Ok(length.unwrap_or(0))
    }
}

fn unwrap(
    wrap: &Secret,
    place: &[u8],
    wrapped: &[u8],
    row: &'static str,
) -> Result<Secret, TableError> {
    let opened = wrap.open(place, wrapped).map(Zeroizing::new).ok();
    opened.and_then(|bytes| Secret::from_slice(&bytes)).ok_or(TableError::Damaged { row })
}

fn organization_place(id: &OrganizationId) -> Vec<u8> {
    place("holdfast/v1/key/organization", &[id.as_str().as_bytes()])
}

fn patient_place(id: &OrganizationId, patient: PatientId) -> Vec<u8> {
    place("holdfast/v1/key/patient", &[id.as_str().as_bytes(), patient.as_bytes()])
}

fn mark_place(hour: i64) -> Vec<u8> {
    place("holdfast/v1/mark", &[&hour.to_be_bytes()])
}

fn patient_row(id: &OrganizationId, patient: PatientId) -> Vec<u8> {
    let mut key = Vec::with_capacity(id.as_str().len() + 17);
    key.extend_from_slice(id.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(patient.as_bytes());
    key
}

/// Unwrapped patient keys: two generations, the older one is dropped (and wiped)
/// when the younger one is full.
#[derive(Default)]
struct Cache {
    young: HashMap<Vec<u8>, Secret>,
    old: HashMap<Vec<u8>, Secret>,
}

impl Cache {
    fn get(&mut self, row: &[u8]) -> Option<Secret> {
        if let Some(key) = self.young.get(row) {
            return Some(key.clone());
        }
        let key = self.old.remove(row)?;
        self.put(row.to_vec(), key.clone());
        Some(key)
    }

    fn put(&mut self, row: Vec<u8>, key: Secret) {
        if self.young.len() >= CACHE_PATIENTS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(row, key);
    }

    fn remove(&mut self, row: &[u8]) {
        self.young.remove(row);
        self.old.remove(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lakeside() -> OrganizationId {
        OrganizationId::new("lakeside").expect("a valid name")
    }

    fn key_of(table: &KeyTable, patient: PatientId) -> Option<[u8; 32]> {
        let organization = table.organization(&lakeside()).expect("exists");
        match table.find(&organization, patient).expect("reads") {
            Found::Key(key) => Some(*key.bytes()),
            Found::Unknown | Found::Forgotten => None,
        }
    }

    fn create(table: &KeyTable, patient: PatientId) {
        let (organization, _) = table.create_organization(&lakeside()).expect("creates");
        table.create(&[(organization, patient, Secret::random())]).expect("creates");
    }

    #[test]
    fn keys_are_the_same_after_reopening_and_under_the_same_root_only() {
        let folder = tempfile::tempdir().expect("temp dir");
        let (root, patient) = (Secret::random(), PatientId::random());
        let table = KeyTable::open(folder.path(), &root).expect("opens");
        create(&table, patient);
        let before = (key_of(&table, patient), key_of(&table, PatientId::NONE));
        assert!(before.0.is_some() && before.1.is_some());
        let token = *table.organization(&lakeside()).expect("exists").token.bytes();
        drop(table);
        let table = KeyTable::open(folder.path(), &root).expect("opens");
        assert_eq!((key_of(&table, patient), key_of(&table, PatientId::NONE)), before);
        assert_eq!(table.organization(&lakeside()).expect("exists").token.bytes(), &token);
        assert_eq!(table.patients_count(), 1);
        drop(table);
        let other = KeyTable::open(folder.path(), &Secret::random());
        assert!(matches!(other, Err(TableError::Damaged { row: "organization" })));
    }

    #[test]
    fn a_forgotten_key_is_gone_for_good() {
        let folder = tempfile::tempdir().expect("temp dir");
        let (root, patient) = (Secret::random(), PatientId::random());
        let table = KeyTable::open(folder.path(), &root).expect("opens");
        create(&table, patient);
        let wrapped = table.patients.get(patient_row(&lakeside(), patient)).expect("reads");
        let wrapped = wrapped.expect("exists").to_vec();
        table.forget(&lakeside(), patient).expect("forgets");
        table.forget(&lakeside(), patient).expect("forgets again");
        assert_eq!((key_of(&table, patient), table.patients_count()), (None, 0));
        table.compact().expect("compacts");
        assert!(!holds(&folder.path().join("keyspaces"), &wrapped), "still in a table file");
        drop(table);
        let table = KeyTable::open(folder.path(), &root).expect("opens");
        let organization = table.organization(&lakeside()).expect("exists");
        assert!(matches!(table.find(&organization, patient), Ok(Found::Forgotten)));
    }

    /// Whether some file under `dir` has `needle` in it.
    fn holds(dir: &Path, needle: &[u8]) -> bool {
        std::fs::read_dir(dir).expect("a folder").any(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                return holds(&path, needle);
            }
            let bytes = std::fs::read(&path).expect("reads");
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    }

    #[test]
    fn a_wrapped_key_moved_to_another_patient_does_not_open() {
        let folder = tempfile::tempdir().expect("temp dir");
        let table = KeyTable::open(folder.path(), &Secret::random()).expect("opens");
        let (from, to) = (PatientId::random(), PatientId::random());
        create(&table, from);
        let wrapped = table.patients.get(patient_row(&lakeside(), from)).expect("reads");
        let wrapped = wrapped.expect("exists");
        table.patients.insert(patient_row(&lakeside(), to), wrapped).expect("writes");
        let organization = table.organization(&lakeside()).expect("exists");
        let found = table.find(&organization, to);
        assert!(matches!(found, Err(TableError::Damaged { row: "patient" })));
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        cache.put(vec![0xff; 9], Secret::random());
        for number in 0..5 * CACHE_PATIENTS_MAX as u64 {
            cache.put(number.to_be_bytes().to_vec(), Secret::random());
            assert!(cache.get(&[0xff; 9]).is_some(), "used, so kept");
            assert!(cache.young.len() + cache.old.len() <= 2 * CACHE_PATIENTS_MAX);
        }
        assert!(cache.get(&0u64.to_be_bytes()).is_none(), "long unused, so dropped");
    }

    #[test]
    fn a_mark_names_the_latest_hour_before() {
        let folder = tempfile::tempdir().expect("temp dir");
        let table = KeyTable::open(folder.path(), &Secret::random()).expect("opens");
        assert_eq!(table.mark_before(5).expect("reads"), 0);
        table.mark_hour(3, 30).expect("writes");
        table.mark_hour(5, 50).expect("writes");
        let marks = [2, 3, 4, 5, 9].map(|hour| table.mark_before(hour).expect("reads"));
        assert_eq!(marks, [0, 30, 30, 50, 50]);
        table.marks.insert(9i64.to_be_bytes(), "forged").expect("writes");
        assert_eq!(table.mark_before(9).expect("reads"), 0);
    }
}
