//! What a thief reads: every row of the engine and the frame of every ledger
//! record. Nothing here knows a key, or uses the store's own code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Failure;

/// Keyspaces as `docs/storage.md` names them.
pub const SPACES: [&str; 8] =
    ["past", "bodies", "index", "rows", "payloads", "inbox", "pending", "commits"];

/// A row as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// What stands in front of a sealed record of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRecord {
    /// Its place.
    pub index: u64,
    /// The first record that was written with the same sync.
    pub group: u64,
    /// Length of what is sealed.
    pub bytes: usize,
}

/// Everything that was taken.
#[derive(Debug, Clone, Default)]
pub struct Stolen {
    /// Rows by keyspace, in key order.
    pub rows: BTreeMap<&'static str, Vec<Row>>,
    /// The ledger's records in order; empty when there was no ledger to take.
    pub ledger: Vec<LedgerRecord>,
}

impl Stolen {
    /// The rows of a keyspace.
    pub fn of(&self, space: &str) -> &[Row] {
        self.rows.get(space).map_or(&[], Vec::as_slice)
    }

    /// Reads a data folder (`store/`, `keeper/ledger/`) or a store's own folder with
    /// the embedded engine. Works on a copy: an engine that opens its files changes
    /// them.
    ///
    /// # Errors
    /// When there is no such store.
    pub fn from_folder(folder: &Path) -> Result<Self, Failure> {
        let store = [folder.join("store"), folder.to_owned()];
        let store = store.into_iter().find(|store| store.join("engine").is_dir());
        let store = store.ok_or_else(|| {
            Failure::from(format!("{}: no engine/ in it, nor in store/", folder.display()))
        })?;
        let copy = tempfile::tempdir()?;
        copy_folder(&store.join("engine"), copy.path())?;
        let database = fjall::Database::builder(copy.path()).open()?;
        let mut rows = BTreeMap::new();
        for space in SPACES {
            let keyspace = database.keyspace(space, fjall::KeyspaceCreateOptions::default)?;
            let mut read = Vec::new();
            for row in keyspace.iter() {
                let (key, value) = row.into_inner()?;
                read.push(Row { key: key.to_vec(), value: value.to_vec() });
            }
            rows.insert(space, read);
        }
        Ok(Self { rows, ledger: ledger(folder)? })
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        let rows = self.rows.values().flatten();
        rows.map(|row| row.key.len() + row.value.len()).sum()
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The frames of the records in `keeper/ledger/bodies` of a data folder.
///
/// # Errors
/// When a file does not read.
pub fn ledger(folder: &Path) -> Result<Vec<LedgerRecord>, Failure> {
    let bodies = folder.join("keeper/ledger/bodies");
    if !bodies.is_dir() {
        return Ok(Vec::new());
    }
    let mut segments: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(bodies)? {
        segments.push(entry?.path());
    }
    segments.sort();
    let mut records = Vec::new();
    for segment in segments {
        let bytes = std::fs::read(segment)?;
        let mut rest = bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default();
        while let Some((record, after)) = record(rest) {
            records.push(record);
            rest = after;
        }
    }
    Ok(records)
}

/// `holdfast-bodies1` and the number of the first record.
const SEGMENT_HEADER_BYTES: usize = 24;
/// Length, index, group, commitment.
const RECORD_HEADER_BYTES: usize = 52;
const RECORD_CHECK_BYTES: usize = 32;

fn record(bytes: &[u8]) -> Option<(LedgerRecord, &[u8])> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    let length = usize::try_from(number(header.get(..4)?)).ok()?;
    let after = bytes.get(RECORD_HEADER_BYTES + length + RECORD_CHECK_BYTES..)?;
    let record = LedgerRecord {
        index: number(&header[4..12]),
        group: number(&header[12..20]),
        bytes: length,
    };
    Some((record, after))
}

/// A big-endian number of up to eight bytes.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
