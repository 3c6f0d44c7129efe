//! A consistent copy of a running store.

use std::path::Path;

use holdfast_base::CommitNumber;

use crate::engine::{Durability, Engine, FjallEngine, Space, View, Write, WriteError};
use crate::error::{BackupError, OpenError, ReadError};
use crate::folder::{EngineKind, Folder, io};
use crate::store::Store;

/// How much is read before it is written to the copy.
const CHUNK_BYTES: usize = 4 << 20;
/// And how many rows, whichever comes first.
const CHUNK_ROWS: usize = 4096;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupReport {
    /// The commit that it shows.
    pub commit: CommitNumber,
    /// The chain hash up to and with it: compare with what the ledger knows.
    pub chain: [u8; 32],
    /// Rows of all keyspaces.
    pub rows_count: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Store {
    /// Copies the store as it is now into `dir`, which must be absent or empty;
    /// commits go on meanwhile and are not in the copy. The copy is a store:
    /// restoring is opening it. It was opened once (with the checks of
    /// [`open`](Self::open)) and is durable when this returns; an unfinished one
    /// does not open.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn backup_to(&self, dir: &Path) -> Result<BackupReport, BackupError> {
        let occupied = match std::fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(BackupError::Copy(io(dir)(error))),
        };
        if occupied {
            return Err(BackupError::NotEmpty { dir: dir.to_owned() });
        }
        let pinned = self.shared.published.read().clone();
        let folder = Folder::lock(dir)?;
        let engine = FjallEngine::open(&folder.engine()).map_err(OpenError::Engine)?;
        let (rows_count, bytes) = copy(pinned.view.as_ref(), &engine)?;
        drop(engine);
        folder.create_watermark(&pinned.position)?;
        folder.write_format(EngineKind::Embedded, &self.shared.store_id)?;
        drop(folder);
        let (commit, chain) = (pinned.position.commit, pinned.position.chain);
        if Store::open(dir)?.last_commit() != (commit, chain) {
            return Err(BackupError::Copy(OpenError::Damaged {
                place: "commits".to_owned(),
                what: "the copy stands elsewhere than the store",
            }));
        }
        Ok(BackupReport { commit, chain, rows_count, bytes })
    }
}

/// Copies every keyspace, the commits last; synced at the end.
fn copy(view: &dyn View, target: &dyn Engine) -> Result<(u64, u64), BackupError> {
    let (mut rows_count, mut bytes) = (0, 0);
    let mut chunk = Vec::new();
    let mut chunk_bytes = 0;
    for space in Space::ALL {
        for row in view.scan(space, &[], None) {
            let (key, value) = row.map_err(ReadError::from)?;
            if chunk_bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
                let full = std::mem::take(&mut chunk);
                write(target, &full, Durability::Buffered)?;
                chunk_bytes = 0;
            }
            chunk_bytes += key.len() + value.len();
            rows_count += 1;
            bytes += (key.len() + value.len()) as u64;
            chunk.push(Write { space, key: key.to_vec(), value: Some(value) });
        }
    }
    write(target, &chunk, Durability::Synced)?;
    Ok((rows_count, bytes))
}

fn write(target: &dyn Engine, chunk: &[Write], durability: Durability) -> Result<(), BackupError> {
    target.write(chunk, durability).map_err(|error| match error {
        WriteError::NotWritten(error) | WriteError::InDoubt(error) | WriteError::Broken(error) => {
            BackupError::Write(error)
        }
    })
}
