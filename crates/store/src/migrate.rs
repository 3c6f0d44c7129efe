//! Moving a store from one engine to the other, in place: the folder stays the
//! same, with its lock and its newest acknowledged commit; its `format` says in
//! the end where the rows lie, and changing that file is the move.
//!
//! Copies row by row in the order of [`Space::ALL`] and of keys. So the last row of
//! the target says where a copy that was stopped goes on. `migration` in the folder
//! names the commit that is being copied: after another one, it begins anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_base::{Category, CommitNumber, disk};

use crate::chain::Digest;
use crate::check;
use crate::engine::{
    Durability, Engine, EngineError, FjallEngine, PostgresAddress, Space, Standing, View, Write,
};
use crate::error::{OpenError, ReadError};
use crate::folder::{EngineKind, Folder, SCHEMA, io};
use crate::layout;
use crate::location::{StoreLocation, connect};
use crate::snapshot::Pinned;
use crate::store::Store;

/// How much is written at once.
const CHUNK_BYTES: usize = 4 << 20;
/// And how many rows, whichever comes first.
const CHUNK_ROWS: usize = 2048;
/// Where the embedded engine's files grow until they are whole.
const INCOMING: &str = "engine.incoming";

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrateReport {
    /// The newest commit.
    pub commit: CommitNumber,
    /// The chain hash up to and with it.
    pub chain: [u8; 32],
    /// Rows of all keyspaces.
    pub rows_count: u64,
    /// Rows that an attempt before had copied.
    pub resumed_count: u64,
    /// SHA-256 over every key and value, the same on both sides.
    pub digest: [u8; 32],
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateProgress {
    /// So many rows were copied by this attempt.
    Copied(u64),
    /// So many rows were compared.
    Compared(u64),
}

/// Why a store was not moved. The source is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Both are on the same engine, or of different folders.
    #[error("a store moves between its folder and a database, not from {from} to {to}")]
    Nowhere {
        /// From where.
        from: String,
        /// Where to.
        to: String,
    },
    /// The database has another store, or a newer one.
    #[error("{place} holds a store already: {what}")]
    Occupied {
        /// The database.
        place: String,
        /// Which.
        what: &'static str,
    },
    /// The source does not open, or the target does not.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A side cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The copy cannot be written.
    #[error("the copy cannot be written")]
    Write(#[source] EngineError),
    /// The copy is not the same.
    #[error("the copy differs: {place}")]
    Differs {
        /// Keyspace and key.
        place: String,
    },
}

impl MigrateError {
    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        match self {
            Self::Nowhere { .. } | Self::Occupied { .. } => Category::Incorrect,
            Self::Open(error) => error.category(),
            Self::Read(error) => error.category(),
            Self::Write(error) => error.category(),
            Self::Differs { .. } => Category::Fault,
        }
    }
}

impl From<EngineError> for MigrateError {
    fn from(error: EngineError) -> Self {
        Self::Read(error.into())
    }
}

impl Store {
    /// Moves the store at `from` to `to`: between the engine in a folder and a
    /// database, in either direction, of the same folder. Nobody else may have it
    /// open. Every row of the copy is read back and compared, and the chain
    /// checked, before the folder says that the store lies there. Safe to repeat
    /// after it was stopped anywhere: it goes on.
    ///
    /// # Errors
    /// [`MigrateError`]; then the store still lies at `from`.
    pub fn migrate(
        from: &StoreLocation,
        to: &StoreLocation,
        progress: &mut dyn FnMut(MigrateProgress),
    ) -> Result<MigrateReport, MigrateError> {
        match (from, to) {
            (StoreLocation::Folder(dir), StoreLocation::Postgres { address, dir: beside })
                if dir == beside =>
            {
                to_database(Self::open_at(from)?, address, progress)
            }
            (StoreLocation::Postgres { dir: beside, .. }, StoreLocation::Folder(dir))
                if dir == beside =>
            {
                to_folder(Self::open_at(from)?, dir, progress)
            }
            _ => Err(MigrateError::Nowhere { from: from.to_string(), to: to.to_string() }),
        }
    }
}

fn to_database(
    source: Store,
    address: &PostgresAddress,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<MigrateReport, MigrateError> {
    let pinned = source.shared.published.read().clone();
    let folder = &source.shared.folder;
    let store_id = source.shared.store_id;
    let (target, standing) = connect(address)?;
    let occupied = |what| MigrateError::Occupied { place: address.to_string(), what };
    let resumes = match standing {
        None => false,
        Some(found) if found.store_id != store_id => {
            return Err(occupied("it is another store"));
        }
        Some(Standing { ready: false, .. }) => is_copy_of(folder, &pinned)?,
        Some(_) => {
            // It lay there before. What is there must be a part of what is here.
            let end = check::newest(target.view().as_ref(), &store_id)?;
            let here = check::position_at(pinned.view.as_ref(), &store_id, end.commit)?;
            if here != Some(end) {
                return Err(occupied("it has commits that the source has not"));
            }
            false
        }
    };
    if !resumes {
        target.clear().map_err(MigrateError::Write)?;
        let standing = Standing { store_id, schema: SCHEMA, ready: false };
        target.create(&standing).map_err(MigrateError::Write)?;
        note(folder, &pinned)?;
    }
    let report = copy_and_compare(&pinned, &target, progress)?;
    target.set_ready().map_err(MigrateError::Write)?;
    end_of_note(folder)?;
    // From here on the store lies in the database.
    folder.write_format(EngineKind::Postgres, &store_id)?;
    let old = folder.engine();
    drop((pinned, target));
    let dir = source.shared.folder.dir().to_owned();
    drop(source);
    set_aside(&old, &dir, report.commit)?;
    Ok(report)
}

/// Renames an engine's files that do not count any more. Nobody deletes them but
/// the operator.
fn set_aside(engine: &Path, dir: &Path, commit: CommitNumber) -> Result<(), OpenError> {
    let mut kept = dir.join(format!("engine.before-{commit}"));
    for number in 2.. {
        if !kept.exists() {
            break;
        }
        kept = dir.join(format!("engine.before-{commit}.{number}"));
    }
    std::fs::rename(engine, &kept).map_err(io(&kept))?;
    disk::sync_name(&kept).map_err(io(&kept))
}

fn to_folder(
    source: Store,
    dir: &Path,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<MigrateReport, MigrateError> {
    let pinned = source.shared.published.read().clone();
    let folder = &source.shared.folder;
    let incoming = dir.join(INCOMING);
    if !is_copy_of(folder, &pinned)? {
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming).map_err(io(&incoming))?;
        }
        note(folder, &pinned)?;
    }
    let target = FjallEngine::open(&incoming).map_err(OpenError::Engine)?;
    let report = copy_and_compare(&pinned, &target, progress)?;
    drop(target);
    let engine = folder.engine();
    if engine.exists() {
        set_aside(&engine, dir, report.commit)?;
    }
    std::fs::rename(&incoming, &engine).map_err(io(&engine))?;
    disk::sync_name(&engine).map_err(io(&engine))?;
    end_of_note(folder)?;
    // From here on the store lies in the folder.
    folder.write_format(EngineKind::Embedded, &source.shared.store_id)?;
    Ok(report)
}

fn note_path(folder: &Folder) -> PathBuf {
    folder.dir().join("migration")
}

/// What is being copied, as text.
fn note_of(pinned: &Pinned) -> String {
    let chain: String = pinned.position.chain.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("commit {}\nchain {chain}\n", pinned.position.commit)
}

fn note(folder: &Folder, pinned: &Pinned) -> Result<(), OpenError> {
    let path = note_path(folder);
    std::fs::write(&path, note_of(pinned)).map_err(io(&path))
}

/// Whether the copy that was begun is one of what is there now.
fn is_copy_of(folder: &Folder, pinned: &Pinned) -> Result<bool, OpenError> {
    let path = note_path(folder);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text == note_of(pinned)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

fn end_of_note(folder: &Folder) -> Result<(), OpenError> {
    let path = note_path(folder);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(OpenError::Io { path, source })
        }
        _ => Ok(()),
    }
}

fn copy_and_compare(
    pinned: &Arc<Pinned>,
    target: &dyn Engine,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<MigrateReport, MigrateError> {
    let source = pinned.view.as_ref();
    let resumed_count = copy(source, target, progress)?;
    let view = target.view();
    let (rows_count, digest) = compare(source, view.as_ref(), progress)?;
    check::everything(view.as_ref(), &pinned.store_id, &pinned.position)?;
    let (commit, chain) = (pinned.position.commit, pinned.position.chain);
    Ok(MigrateReport { commit, chain, rows_count, resumed_count, digest })
}

/// Copies what the target does not have yet; durable on return. Says how many rows
/// it had.
fn copy(
    source: &dyn View,
    target: &dyn Engine,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<u64, MigrateError> {
    let had = target.view();
    let (mut resumed, mut copied) = (0, 0);
    let mut chunk: Vec<Write> = Vec::new();
    let mut chunk_bytes = 0;
    for space in Space::ALL {
        let from = match had.scan(space, &[], None).next_back().transpose()? {
            Some((last, _)) => {
                for key in had.keys(space, &[], None) {
                    key?;
                    resumed += 1;
                }
                [&*last, &[0]].concat()
            }
            None => Vec::new(),
        };
        for row in source.scan(space, &from, None) {
            let (key, value) = row?;
            chunk_bytes += key.len() + value.len();
            chunk.push(Write { space, key: key.to_vec(), value: Some(value) });
            if chunk_bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
                write(target, &chunk, Durability::Buffered)?;
                copied += chunk.len() as u64;
                progress(MigrateProgress::Copied(copied));
                chunk.clear();
                chunk_bytes = 0;
            }
        }
    }
    drop(had);
    write(target, &chunk, Durability::Synced)?;
    progress(MigrateProgress::Copied(copied + chunk.len() as u64));
    Ok(resumed)
}

fn write(target: &dyn Engine, chunk: &[Write], durability: Durability) -> Result<(), MigrateError> {
    let written = target.write(chunk, durability);
    written.map_err(|error| MigrateError::Write(error.into_engine_error()))
}

/// Reads both sides in full: the same keys, the same values, nothing more.
fn compare(
    source: &dyn View,
    target: &dyn View,
    progress: &mut dyn FnMut(MigrateProgress),
) -> Result<(u64, [u8; 32]), MigrateError> {
    let mut digest = Digest::new("holdfast/store/rows/v1");
    let mut count = 0_u64;
    for space in Space::ALL {
        digest.number(space as u64);
        let mut copies = target.scan(space, &[], None);
        for row in source.scan(space, &[], None) {
            let (key, value) = row?;
            if copies.next().transpose()?.as_ref() != Some(&(key.clone(), value.clone())) {
                return Err(MigrateError::Differs { place: layout::place(space, &key) });
            }
            digest.bytes(&key).bytes(&value);
            count += 1;
            if count.is_multiple_of(CHUNK_ROWS as u64) {
                progress(MigrateProgress::Compared(count));
            }
        }
        if let Some((key, _)) = copies.next().transpose()? {
            return Err(MigrateError::Differs { place: layout::place(space, &key) });
        }
    }
    Ok((count, digest.done()))
}
