//! A simple in-memory store that the real one is compared with, and short ways
//! to make what goes into both.
#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_base::{CommitNumber, ElementClass, MessageId, PatientId, Timestamp};
use holdfast_store::{
    CommitError, KeptPayload, KeptState, OpenError, Precondition, ResourceKey, RowWrite,
    SealedVersion, Snapshot, Store, StoreLocation, Table, Transaction,
};
use holdfast_testkit_postgres::Postgres;

pub fn resource(organization: u32, patient: u8, type_code: u16, token: u8) -> ResourceKey {
    let patient = PatientId::from_bytes([patient; 16]);
    ResourceKey { organization, patient, type_code, id_token: [token; 16] }
}

pub fn sealed(version: u64, fill: u8, len: usize) -> SealedVersion {
    SealedVersion {
        version,
        deleted: fill % 4 == 3,
        last_updated: Timestamp::from_millis(1_432_598_400_000 + version as i64),
        parts: vec![
            (ElementClass::Identity, vec![fill; len]),
            (ElementClass::GovernmentId, vec![fill; usize::from(fill % 3)]),
        ],
        index: vec![fill; usize::from(fill % 5)],
        id_sealed: vec![fill, 1],
    }
}

pub fn put(key: ResourceKey, sealed: SealedVersion) -> Transaction {
    Transaction { puts: vec![(key, sealed)], ..Transaction::default() }
}

pub fn row(table: Table, key: &[u8], value: Option<&[u8]>) -> RowWrite {
    RowWrite { table, key: key.to_vec(), value: value.map(<[u8]>::to_vec) }
}

pub fn payload(fill: u8, len: usize) -> KeptPayload {
    KeptPayload {
        organization: fill.into(),
        received: Timestamp::from_millis(7),
        format: fill % 3,
        meta_sealed: vec![fill; 5],
        payload_sealed: vec![fill; len],
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Why the model refuses, comparable with [`CommitError`].
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Precondition(usize),
    Order(usize),
    Unknown,
    Finished,
}

pub fn refusal(error: &CommitError) -> Refused {
    match error {
        CommitError::Precondition { index } => Refused::Precondition(*index),
        CommitError::VersionOrder { index, .. } => Refused::Order(*index),
        CommitError::UnknownMessage(_) => Refused::Unknown,
        CommitError::Finished(_) => Refused::Finished,
        other => panic!("{other}"),
    }
}

/// Everything that a store holds after some commit.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub commit: u64,
    pub versions: BTreeMap<ResourceKey, Vec<(u64, SealedVersion)>>,
    pub rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub inbox: BTreeMap<u64, (u64, KeptPayload, KeptState, Vec<u8>)>,
}

impl Model {
    pub fn current(&self, key: &ResourceKey) -> Option<u64> {
        self.versions.get(key)?.last().map(|(_, sealed)| sealed.version)
    }

    pub fn keep(&mut self, payload: &KeptPayload) -> u64 {
        self.commit += 1;
        let message = self.inbox.len() as u64 + 1;
        self.inbox.insert(message, (self.commit, payload.clone(), KeptState::Pending, vec![]));
        message
    }

    pub fn commit(&mut self, transaction: &Transaction) -> Result<u64, Refused> {
        for (index, precondition) in transaction.preconditions.iter().enumerate() {
            let holds = match precondition {
                Precondition::CurrentVersion { key, expected } => self.current(key) == *expected,
                Precondition::RowAbsent { table, key } => {
                    !self.rows.contains_key(&(*table, key.clone()))
                }
                Precondition::RowEquals { table, key, value } => {
                    self.rows.get(&(*table, key.clone())) == Some(value)
                }
                Precondition::Pending(message) => {
                    self.inbox.get(&message.0).is_some_and(|kept| kept.2 == KeptState::Pending)
                }
            };
            if !holds {
                return Err(Refused::Precondition(index));
            }
        }
        for (index, (key, sealed)) in transaction.puts.iter().enumerate() {
            if self.current(key).is_some_and(|current| current >= sealed.version) {
                return Err(Refused::Order(index));
            }
        }
        if let Some((message, state, outcome)) = &transaction.finish {
            let kept = self.inbox.get_mut(&message.0).ok_or(Refused::Unknown)?;
            if matches!(kept.2, KeptState::Accepted | KeptState::Duplicate) {
                return Err(Refused::Finished);
            }
            (kept.2, kept.3) = (*state, outcome.clone());
        }
        self.commit += 1;
        for (key, sealed) in &transaction.puts {
            self.versions.entry(*key).or_default().push((self.commit, sealed.clone()));
        }
        for row in &transaction.rows {
            let key = (row.table, row.key.clone());
            match &row.value {
                Some(value) => self.rows.insert(key, value.clone()),
                None => self.rows.remove(&key),
            };
        }
        Ok(self.commit)
    }

    /// Compares everything that a snapshot shows with this model.
    pub fn assert_shown(&self, snapshot: &Snapshot, universe: &[ResourceKey]) {
        assert_eq!(snapshot.commit(), CommitNumber(self.commit));
        self.assert_versions(snapshot, universe);
        self.assert_rows(snapshot);
        self.assert_inbox(snapshot);
    }

    /// Compares what has versions.
    pub fn assert_versions(&self, snapshot: &Snapshot, universe: &[ResourceKey]) {
        for key in universe {
            let versions = self.versions.get(key).map_or(&[][..], Vec::as_slice);
            let history = snapshot.history(key).unwrap();
            let shown: Vec<_> =
                history.iter().rev().map(|v| (v.commit.0, v.sealed.clone())).collect();
            assert_eq!(shown, versions);
            assert!(history.iter().all(|version| version.key == *key));
            let current = snapshot.current(key).unwrap();
            assert_eq!(current.as_ref(), history.first());
            for number in 0..12 {
                let found = snapshot.version(key, number).unwrap().map(|found| found.sealed);
                let wanted = versions.iter().find(|(_, v)| v.version == number);
                assert_eq!(found.as_ref(), wanted.map(|(_, v)| v));
            }
            for type_code in [None, Some(key.type_code)] {
                self.assert_scan(snapshot, key, type_code);
            }
        }
    }

    fn assert_scan(&self, snapshot: &Snapshot, of: &ResourceKey, type_code: Option<u16>) {
        let wanted: Vec<_> = self
            .versions
            .iter()
            .filter(|(key, _)| key.organization == of.organization && key.patient == of.patient)
            .filter(|(key, _)| type_code.is_none_or(|code| key.type_code == code))
            .filter_map(|(key, versions)| {
                versions.last().map(|(commit, v)| (*key, *commit, v.clone()))
            })
            .collect();
        let found: Vec<_> = snapshot
            .scan_current(of.organization, of.patient, type_code)
            .map(|row| {
                let stored = snapshot.body(row.unwrap()).unwrap();
                (stored.key, stored.commit.0, stored.sealed)
            })
            .collect();
        assert_eq!(found, wanted);
    }

    pub fn assert_rows(&self, snapshot: &Snapshot) {
        use Table::{Dedupe, Directory, Link, Locate, Outbox, System};
        for table in [System, Locate, Directory, Dedupe, Outbox, Link] {
            for prefix in [&[][..], &[0xff], &[0xff, 0xff], &[1]] {
                let found: Vec<_> =
                    snapshot.scan_rows(table, prefix).collect::<Result<_, _>>().unwrap();
                let wanted: Vec<_> = self
                    .rows
                    .iter()
                    .filter(|((of, key), _)| *of == table && key.starts_with(prefix))
                    .map(|((_, key), value)| (key.clone(), value.clone()))
                    .collect();
                assert_eq!(found, wanted);
            }
        }
        for ((table, key), value) in &self.rows {
            assert_eq!(snapshot.row(*table, key).unwrap().as_ref(), Some(value));
        }
        assert_eq!(snapshot.row(System, b"never written").unwrap(), None);
    }

    pub fn assert_inbox(&self, snapshot: &Snapshot) {
        for number in 0..self.inbox.len() as u64 + 2 {
            let kept = snapshot.kept(MessageId(number)).unwrap();
            let wanted = self.inbox.get(&number);
            assert_eq!(kept.is_some(), wanted.is_some());
            if let (Some(kept), Some((commit, payload, state, outcome))) = (kept, wanted) {
                assert_eq!(kept.row.message, MessageId(number));
                assert_eq!(kept.row.commit, CommitNumber(*commit));
                assert_eq!((&kept.row.state, &kept.row.outcome), (state, outcome));
                assert_eq!(kept.row.meta_sealed, payload.meta_sealed);
                assert_eq!(kept.row.organization, payload.organization);
                assert_eq!(
                    (kept.row.received, kept.row.format),
                    (payload.received, payload.format)
                );
                assert_eq!(kept.payload_sealed, payload.payload_sealed);
            }
        }
        let waits = |kept: &(u64, KeptPayload, KeptState, Vec<u8>)| kept.2 == KeptState::Pending;
        let pending: Vec<_> = snapshot.pending().map(|message| message.unwrap().0).collect();
        let wanted: Vec<_> = self
            .inbox
            .iter()
            .filter(|(_, kept)| waits(kept))
            .map(|(message, _)| *message)
            .collect();
        assert_eq!(pending, wanted);
        let mut backwards: Vec<_> =
            snapshot.kept_range(MessageId(2)).rev().map(|row| row.unwrap().message.0).collect();
        backwards.reverse();
        assert_eq!(
            backwards,
            self.inbox.range(2..).map(|(message, _)| *message).collect::<Vec<_>>()
        );
    }
}

/// Where a test has its store: on one of the engines, gone at the end.
pub struct Bed {
    pub dir: tempfile::TempDir,
    url: Option<String>,
}

impl Bed {
    pub fn embedded() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), url: None }
    }

    /// `None`, said so, without a PostgreSQL on this machine.
    pub fn postgres() -> Option<Self> {
        Postgres::shared().map(Self::on)
    }

    pub fn on(server: &Postgres) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), url: Some(server.create_database()) }
    }

    /// Another folder before the same database.
    pub fn with_folder(&self, dir: tempfile::TempDir) -> Self {
        Self { dir, url: self.url.clone() }
    }

    /// An empty bed of the same kind.
    pub fn another(&self) -> Self {
        match &self.url {
            None => Self::embedded(),
            Some(_) => Self::postgres().unwrap(),
        }
    }

    pub fn database(&self) -> &str {
        self.url.as_ref().unwrap().rsplit('/').next().unwrap()
    }

    pub fn location(&self) -> StoreLocation {
        StoreLocation::parse(self.url.as_deref().unwrap_or_default(), self.dir.path()).unwrap()
    }

    pub fn try_open(&self) -> Result<Store, OpenError> {
        Store::open_at(&self.location())
    }

    /// Opens, saying why not.
    pub fn open(&self) -> Store {
        self.try_open().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Runs each test on the embedded engine and on PostgreSQL.
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$note:meta])* fn $name:ident($bed:ident: &Bed) $body:block)+) => {
        $($(#[$note])* fn $name($bed: &$crate::common::Bed) $body)+

        mod embedded {
            $(#[test] fn $name() {
                super::$name(&$crate::common::Bed::embedded());
            })+
        }

        mod postgres {
            $(#[test] fn $name() {
                if let Some(bed) = $crate::common::Bed::postgres() {
                    super::$name(&bed);
                }
            })+
        }
    };
}

/// Opens, saying why not.
pub fn open(dir: &Path) -> Store {
    Store::open(dir).unwrap_or_else(|error| panic!("{error}"))
}
