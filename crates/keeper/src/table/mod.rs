//! The key table: wrapped keys, in fjall.
//!
//! Keyspaces (keys are names and identifiers of ours, values sealed and bound to
//! the key):
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `format` | number of this layout, `u32` |
//! | `meta` | `root` | generation `u32` ‖ created `i64` ‖ check of the root that wraps the named keys |
//! | `named` | name `0x00` generation | a named key, wrapped under the root ([`named`]) |
//! | `patients` | organization `0x00` patient (16 bytes) | its generations, wrapped under the organization's `wrap` key ([`patient`]) |
//! | `marks` | hour since 1970 (8 bytes, big-endian) | ledger length when the hour began, sealed |
//!
//! Folders of layout 1 derived the named keys from the root and an organization
//! key in the keyspace `organizations`: the first open imports what was derived,
//! in one write.
//!
//! Invariants: a key is durable before [`KeyTable`] gives it out; every change is
//! one write, whole or not at all. Writes come from one thread (the scribe); reads
//! from any.

mod cache;
pub(crate) mod named;
mod patient;
mod rotate;
#[cfg(test)]
mod stops;
mod upgrade;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use holdfast_base::{OrganizationId, PatientId, Timestamp, disk};
use parking_lot::{Mutex, RwLock};

use crate::inbox::public_key;
use crate::keyring::{FIRST, Keys};
use crate::population::IndexKeys;
use crate::primitive::{Secret, place};
use crate::root::Roots;
use crate::steps::Steps;
use cache::Cache;
use named::{Generation, Named};
pub use rotate::KeyLine;
pub(crate) use upgrade::root_of as named_root_of;

/// Why the key table does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("the key table cannot be read or written")]
    Engine(#[from] fjall::Error),
    #[error("the key table cannot be written")]
    Stopped(#[from] std::io::Error),
    #[error("a {row} row of the key table is damaged")]
    Damaged { row: &'static str },
    #[error(
        "the key table is wrapped under generation {generation} of another root key: this root.key is an older or a foreign copy"
    )]
    OtherRoot { generation: u32 },
    #[error("the key table has layout {found}, made by a newer version; this one knows {known}")]
    Newer { found: u32, known: u32 },
    #[error("there is no key {name}")]
    NoSuchKey { name: String },
    #[error("the key has {count} generations; no more are made")]
    TooManyGenerations { count: usize },
}

/// An organization's keys.
pub(crate) struct Organization {
    pub id: OrganizationId,
    /// Key of the equality tokens.
    pub token: Secret,
    /// Generation and public half of the newest inbox key.
    pub inbox_public: (u32, [u8; 32]),
    /// Generation and public half of the newest key of index deltas.
    pub population_public: (u32, [u8; 32]),
    inbox: Keys,
    population: IndexKeys,
    wrap: Keys,
}

impl Organization {
    fn of(id: OrganizationId, named: &Named) -> Option<Self> {
        let keys = |part| named::keys(named, &named::of_organization(&id, part));
        let (token, inbox, wrap) = (keys("token")?, keys("inbox")?, keys("wrap")?);
        let inbox_public = (inbox.generation(), public_key(inbox.newest()));
        let population = keys("population")?;
        let part = |label| population.derive(label);
        let population = IndexKeys {
            seal: part("holdfast/v1/population/seal"),
            delta: part("holdfast/v1/population/delta"),
        };
        let delta = &population.delta;
        let population_public = (delta.generation(), public_key(delta.newest()));
        let token = token.newest().clone();
        Some(Self { id, token, inbox_public, population_public, inbox, population, wrap })
    }

    /// The keys of the population index.
    pub fn population_keys(&self) -> &IndexKeys {
        &self.population
    }

    /// Private halves of the inbox key.
    pub fn inbox_private(&self) -> Keys {
        self.inbox.clone()
    }
}

/// What the table knows about a patient.
pub(crate) enum Found {
    Key(Keys),
    Unknown,
    Forgotten,
}

pub(crate) struct KeyTable {
    database: Database,
    spaces: Spaces,
    steps: Steps,
    held: RwLock<Held>,
    cache: Mutex<Cache>,
    forgets: AtomicU64,
    patients_count: AtomicU64,
}

struct Spaces {
    meta: Keyspace,
    named: Keyspace,
    patients: Keyspace,
    marks: Keyspace,
}

/// What is unwrapped in memory.
struct Held {
    root: (u32, Secret),
    root_created: i64,
    named: Named,
    organizations: HashMap<OrganizationId, Arc<Organization>>,
}

impl Held {
    /// Makes the organizations anew from their named keys.
    fn refresh(&mut self) {
        let ids = self.named.keys().filter_map(|name| named::organization_of(name));
        let ids: Vec<_> = ids.filter(|(_, part)| *part == "wrap").map(|(id, _)| id).collect();
        let all = ids.into_iter().filter_map(|id| Organization::of(id, &self.named));
        self.organizations = all.map(|one| (one.id.clone(), Arc::new(one))).collect();
    }
}

impl KeyTable {
    /// Opens the table in `dir`, brings it to this layout, and wraps its keys under
    /// the newest of `roots`.
    pub fn open(
        dir: &Path,
        roots: &Roots,
        now: Timestamp,
        steps: Steps,
    ) -> Result<Self, TableError> {
        let database = Database::builder(dir).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let spaces = Spaces {
            meta: keyspace("meta")?,
            named: keyspace("named")?,
            patients: keyspace("patients")?,
            marks: keyspace("marks")?,
        };
        // The engine does not sync the names of all folders that it makes; before there
        // is a format, no key was given out.
        if spaces.meta.get("format")?.is_none() {
            disk::sync_folders(dir)?;
            disk::sync_name(dir)?;
        }
        upgrade::bring_up(&database, &spaces, roots, now, &steps)?;
        let mut named = Named::new();
        for row in spaces.named.iter() {
            let (key, value) = row.into_inner()?;
            let (name, one) = named::parse(&key, &value, roots)?;
            named.entry(name).or_default().push(one);
        }
        upgrade::add_missing(&database, &spaces, roots, &mut named, now)?;
        let root_created = upgrade::root_created(&spaces)?;
        let root = (roots.newest().number, roots.newest().secret.clone());
        let mut count = 0;
        for row in spaces.patients.iter() {
            let (key, value) = row.into_inner()?;
            let somebody = !key.ends_with(PatientId::NONE.as_bytes());
            count += u64::from(somebody && !patient::is_forgotten(&value));
        }
        let mut held = Held { root, root_created, named, organizations: HashMap::new() };
        held.refresh();
        let table = Self {
            database,
            spaces,
            steps,
            held: RwLock::new(held),
            cache: Mutex::default(),
            forgets: AtomicU64::new(0),
            patients_count: AtomicU64::new(count),
        };
        table.finish_rewrapping_named(now)?;
        table.add_service_keys(now)?;
        Ok(table)
    }

    fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncAll))
    }

    /// Writes `batch`, whole or not at all. Durable on return.
    fn commit(&self, batch: OwnedWriteBatch) -> Result<(), TableError> {
        self.steps.step()?;
        batch.commit()?;
        Ok(self.steps.step()?)
    }

    /// The database, for what is kept beside the keys, and for copies.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Makes the service keys that folders of an earlier version do not have yet.
    fn add_service_keys(&self, now: Timestamp) -> Result<(), TableError> {
        let mut held = self.held.write();
        let (root, root_secret) = held.root.clone();
        for (name, _) in named::SERVICE {
            if held.named.contains_key(name) {
                continue;
            }
            let (created, secret) = (now.millis(), Secret::random());
            let one = Generation { number: FIRST, created, secret, root };
            let (key, value) = named::row(name, &one, &root_secret);
            let mut batch = self.batch();
            batch.insert(&self.spaces.named, key, value);
            self.commit(batch)?;
            held.named.insert(name.to_owned(), vec![one]);
        }
        Ok(())
    }

    /// The service key `name` in all its generations.
    pub fn named(&self, name: &str) -> Result<Keys, TableError> {
        let keys = named::keys(&self.held.read().named, name);
        keys.ok_or_else(|| TableError::NoSuchKey { name: name.to_owned() })
    }

    pub fn organization(&self, id: &OrganizationId) -> Option<Arc<Organization>> {
        self.held.read().organizations.get(id).cloned()
    }

    /// Every organization, in order of names.
    pub fn organizations(&self) -> Vec<Arc<Organization>> {
        let mut all: Vec<_> = self.held.read().organizations.values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Patients that have a key, over all organizations.
    pub fn patients_count(&self) -> u64 {
        self.patients_count.load(Ordering::Relaxed)
    }

    /// How often a patient was forgotten or given a new key since the table was
    /// opened: a key that was found before this number changed must be looked up
    /// again.
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
        let Some(value) = self.spaces.patients.get(&row)? else {
            return Ok(Found::Unknown);
        };
        if patient::is_forgotten(&value) {
            return Ok(Found::Forgotten);
        }
        // Rotated since the caller looked the organization up: the row may name a
        // wrapping key that the caller does not have.
        let current = self.organization(&organization.id);
        let wrap = current.as_ref().map_or(&organization.wrap, |current| &current.wrap);
        let key = match patient::open(&value, &organization.id, patient, wrap) {
            Ok(key) => key,
            // Wrapped again between the two reads, perhaps.
            Err(error) => match self.spaces.patients.get(&row)? {
                Some(again) if again != value && !patient::is_forgotten(&again) => {
                    patient::open(&again, &organization.id, patient, wrap)?
                }
                _ => return Err(error),
            },
        };
        cache.put(row, key.clone());
        Ok(Found::Key(key))
    }

    /// Whether the patient's key was destroyed. What cannot be read counts as that.
    pub fn is_forgotten(&self, id: &OrganizationId, patient: PatientId) -> bool {
        let row = self.spaces.patients.get(patient_row(id, patient));
        !matches!(row, Ok(Some(row)) if !patient::is_forgotten(&row))
    }

    /// Makes the organization's keys and that of its compartment without a patient.
    /// Durable on return; gives what is there when it exists.
    pub fn create_organization(
        &self,
        id: &OrganizationId,
        now: Timestamp,
    ) -> Result<(Arc<Organization>, bool), TableError> {
        if let Some(organization) = self.organization(id) {
            return Ok((organization, false));
        }
        let mut held = self.held.write();
        let (root, root_secret) = held.root.clone();
        let mut made = Named::new();
        let mut batch = self.batch();
        for (part, _) in named::OF_ORGANIZATION {
            let name = named::of_organization(id, part);
            let secret = Secret::random();
            let one = Generation { number: FIRST, created: now.millis(), secret, root };
            let (key, value) = named::row(&name, &one, &root_secret);
            batch.insert(&self.spaces.named, key, value);
            made.insert(name, vec![one]);
        }
        let organization = Organization::of(id.clone(), &made);
        let organization = Arc::new(organization.ok_or(TableError::Damaged { row: "named key" })?);
        let none = (PatientId::NONE, &Secret::random());
        batch.insert(
            &self.spaces.patients,
            patient_row(id, PatientId::NONE),
            new_patient(&organization, none, now),
        );
        self.commit(batch)?;
        held.named.append(&mut made);
        held.organizations.insert(id.clone(), Arc::clone(&organization));
        Ok((organization, true))
    }

    /// Makes keys for `patients`, who have none. Durable on return: one sync for
    /// all of them.
    pub fn create(
        &self,
        patients: &[(Arc<Organization>, PatientId, Secret)],
        now: Timestamp,
    ) -> Result<(), TableError> {
        if patients.is_empty() {
            return Ok(());
        }
        let mut batch = self.batch();
        for (organization, patient, key) in patients {
            // With the wrapping key of this moment: it may be younger than the
            // caller's.
            let current = self.organization(&organization.id);
            let organization = current.as_ref().unwrap_or(organization);
            let value = new_patient(organization, (*patient, key), now);
            batch.insert(&self.spaces.patients, patient_row(&organization.id, *patient), value);
        }
        self.commit(batch)?;
        let count = patients.iter().filter(|(_, patient, _)| *patient != PatientId::NONE).count();
        self.patients_count.fetch_add(count as u64, Ordering::Relaxed);
        let mut cache = self.cache.lock();
        for (organization, patient, key) in patients {
            let row = patient_row(&organization.id, *patient);
            cache.put(row, Keys::first(key.clone()));
        }
        Ok(())
    }

    /// Destroys the key of `patient`. Durable on return. Idempotent.
    pub fn forget(&self, id: &OrganizationId, patient: PatientId) -> Result<(), TableError> {
        let row = patient_row(id, patient);
        let found = self.spaces.patients.get(&row)?;
        if found.is_some_and(|value| !patient::is_forgotten(&value)) {
            let mut batch = self.batch();
            batch.insert(&self.spaces.patients, row.as_slice(), patient::FORGOTTEN.as_slice());
            self.commit(batch)?;
            self.patients_count.fetch_sub(1, Ordering::Relaxed);
        }
        self.cache.lock().remove(&row);
        self.forgets.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Rewrites the keyspaces of keys, so that wrapped keys that were forgotten or
    /// replaced leave the files too. Slow.
    pub fn compact(&self) -> Result<(), TableError> {
        for keyspace in [&self.spaces.patients, &self.spaces.named] {
            keyspace.rotate_memtable_and_wait()?;
            keyspace.major_compact()?;
        }
        Ok(())
    }

    /// Notes that the ledger had `ledger_len` entries when `hour` began. Not
    /// synced: losing a mark costs time at the next start, nothing else.
    pub fn mark_hour(&self, hour: i64, ledger_len: u64) -> Result<(), TableError> {
        let key = hour.to_be_bytes();
        let sealed = self.named("marks")?.seal(&mark_place(hour), &ledger_len.to_be_bytes());
        Ok(self.spaces.marks.insert(key, sealed)?)
    }

    /// The ledger length at the latest mark that is not after `hour`; 0 when there
    /// is none that can be trusted.
    pub fn mark_before(&self, hour: i64) -> Result<u64, TableError> {
        let Some(row) = self.spaces.marks.range(..=hour.to_be_bytes()).next_back() else {
            return Ok(0);
        };
        let (key, sealed) = row.into_inner()?;
        let marked = <[u8; 8]>::try_from(&key[..]).map(i64::from_be_bytes).ok();
        let marks = self.named("marks")?;
        let opened = marked.and_then(|at| marks.open(&mark_place(at), &sealed).ok());
        let length = opened.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        Ok(length.unwrap_or(0))
    }
}

fn new_patient(
    organization: &Organization,
    (patient, key): (PatientId, &Secret),
    now: Timestamp,
) -> Vec<u8> {
    let (id, wrap) = (&organization.id, &organization.wrap);
    patient::encode(&[patient::Wrapped::new(id, patient, (FIRST, now.millis()), wrap, key)])
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);

    fn open(dir: &Path, root: &Secret) -> Result<KeyTable, TableError> {
        KeyTable::open(dir, &Roots::one(1, root.clone()), NOW, Steps::default())
    }

    fn lakeside() -> OrganizationId {
        OrganizationId::new("lakeside").expect("a valid name")
    }

    fn key_of(table: &KeyTable, patient: PatientId) -> Option<[u8; 32]> {
        let organization = table.organization(&lakeside()).expect("exists");
        match table.find(&organization, patient).expect("reads") {
            Found::Key(key) => Some(*key.newest().bytes()),
            Found::Unknown | Found::Forgotten => None,
        }
    }

    fn create(table: &KeyTable, patient: PatientId) {
        let (organization, _) = table.create_organization(&lakeside(), NOW).expect("creates");
        table.create(&[(organization, patient, Secret::random())], NOW).expect("creates");
    }

    #[test]
    fn keys_are_the_same_after_reopening_and_under_the_same_root_only() {
        let folder = tempfile::tempdir().expect("temp dir");
        let (root, patient) = (Secret::random(), PatientId::random());
        let table = open(folder.path(), &root).expect("opens");
        create(&table, patient);
        let before = (key_of(&table, patient), key_of(&table, PatientId::NONE));
        assert!(before.0.is_some() && before.1.is_some());
        let token = *table.organization(&lakeside()).expect("exists").token.bytes();
        drop(table);
        let table = open(folder.path(), &root).expect("opens");
        assert_eq!((key_of(&table, patient), key_of(&table, PatientId::NONE)), before);
        assert_eq!(table.organization(&lakeside()).expect("exists").token.bytes(), &token);
        assert_eq!(table.patients_count(), 1);
        drop(table);
        let other = open(folder.path(), &Secret::random());
        assert!(matches!(other, Err(TableError::Damaged { row: "named key" })));
    }

    #[test]
    fn a_forgotten_key_is_gone_for_good() {
        let folder = tempfile::tempdir().expect("temp dir");
        let (root, patient) = (Secret::random(), PatientId::random());
        let table = open(folder.path(), &root).expect("opens");
        create(&table, patient);
        let wrapped = table.spaces.patients.get(patient_row(&lakeside(), patient)).expect("reads");
        let wrapped = wrapped.expect("exists").to_vec();
        table.forget(&lakeside(), patient).expect("forgets");
        table.forget(&lakeside(), patient).expect("forgets again");
        assert_eq!((key_of(&table, patient), table.patients_count()), (None, 0));
        table.compact().expect("compacts");
        assert!(!holds(&folder.path().join("keyspaces"), &wrapped), "still in a table file");
        drop(table);
        let table = open(folder.path(), &root).expect("opens");
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
        let table = open(folder.path(), &Secret::random()).expect("opens");
        let (from, to) = (PatientId::random(), PatientId::random());
        create(&table, from);
        let wrapped = table.spaces.patients.get(patient_row(&lakeside(), from)).expect("reads");
        let wrapped = wrapped.expect("exists");
        table.spaces.patients.insert(patient_row(&lakeside(), to), wrapped).expect("writes");
        let organization = table.organization(&lakeside()).expect("exists");
        let found = table.find(&organization, to);
        assert!(matches!(found, Err(TableError::Damaged { row: "patient" })));
    }

    #[test]
    fn a_mark_names_the_latest_hour_before() {
        let folder = tempfile::tempdir().expect("temp dir");
        let table = open(folder.path(), &Secret::random()).expect("opens");
        assert_eq!(table.mark_before(5).expect("reads"), 0);
        table.mark_hour(3, 30).expect("writes");
        table.mark_hour(5, 50).expect("writes");
        let marks = [2, 3, 4, 5, 9].map(|hour| table.mark_before(hour).expect("reads"));
        assert_eq!(marks, [0, 30, 30, 50, 50]);
        table.spaces.marks.insert(9i64.to_be_bytes(), "forged").expect("writes");
        assert_eq!(table.mark_before(9).expect("reads"), 0);
    }
}
