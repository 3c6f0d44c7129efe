//! The embedded engine: fjall, a log-structured merge tree in Rust.
//!
//! Values are sealed, so nothing is compressed anywhere. Bodies and payloads are
//! kept apart from their keys (key-value separation): compaction then moves
//! pointers, not megabytes.

use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
    Readable,
};

use super::{
    Bytes, Durability, Engine, EngineError, Keys, Scan, Space, View, Write, WriteError, torn,
};

/// What this engine reads.
pub(crate) use fjall::Slice;

/// Shared by all keyspaces; index rows of the patients that are being read.
const CACHE_BYTES: u64 = 64 << 20;
/// Bounds what is replayed at open: about a second's worth of reading.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// Two of eight keyspaces see most bytes: bounds memory to some tens of MiB.
const MEMTABLE_BYTES_MAX: u64 = 16 << 20;
/// Larger values than this are kept apart from their keys.
const SEPARATED_BYTES_MIN: u32 = 2 << 10;
/// Size of the files of separated values: several documents a file, and still
/// cheap to rewrite.
const BLOB_FILE_BYTES: u64 = 64 << 20;

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        let full = match &error {
            fjall::Error::Io(error) => is_full(error),
            _ => false,
        };
        if full { Self::full() } else { Self::new(format_args!("{error:?}")) }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

#[derive(Clone)]
struct Keyspaces([Keyspace; Space::ALL.len()]);

impl Keyspaces {
    fn of(&self, space: Space) -> &Keyspace {
        &self.0[space as usize]
    }
}

/// A fjall database with the keyspaces of a store.
pub(crate) struct FjallEngine {
    database: Database,
    keyspaces: Keyspaces,
}

impl FjallEngine {
    /// Opens the database in `dir`, or makes it. Replays the journal.
    pub(crate) fn open(dir: &Path) -> Result<Self, EngineError> {
        let error = match Self::read_guarded(dir) {
            Ok(engine) => return Ok(engine),
            Err(Unread::Otherwise(error)) => return Err(error),
            Err(Unread::Damaged(error)) => error,
        };
        let failed = |error| EngineError::from(fjall::Error::Io(error));
        let Some(torn) = torn::set_aside(dir).map_err(failed)? else { return Err(error) };
        if let Ok(engine) = Self::read_guarded(dir) {
            let kept = torn.kept.display();
            tracing::warn!(%kept, "the last batch of the journal was torn; it was set aside");
            return Ok(engine);
        }
        torn.put_back().map_err(failed)?;
        Err(error)
    }

    /// The engine panics on some damage to its files: that is an error here.
    fn read_guarded(dir: &Path) -> Result<Self, Unread> {
        let read = std::panic::AssertUnwindSafe(|| Self::read(dir));
        match std::panic::catch_unwind(read) {
            Ok(Ok(engine)) => Ok(engine),
            Ok(Err(error @ fjall::Error::JournalRecovery(_))) => Err(Unread::Damaged(error.into())),
            Ok(Err(error)) => Err(Unread::Otherwise(error.into())),
            Err(_) => Err(Unread::Damaged(EngineError::new("the engine panicked over its files"))),
        }
    }

    fn read(dir: &Path) -> fjall::Result<Self> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .journal_compression(CompressionType::None)
            .open()?;
        let open = |space: Space| database.keyspace(space.name(), || options(space));
        let mut spaces = Space::ALL;
        spaces.sort_unstable();
        let opened: Vec<Keyspace> = spaces.into_iter().map(open).collect::<Result<_, _>>()?;
        let opened = opened.try_into().unwrap_or_else(|_| unreachable!("as many as asked for"));
        Ok(Self { database, keyspaces: Keyspaces(opened) })
    }
}

/// Why the engine did not open its files.
enum Unread {
    /// Bytes in them are not what was written: perhaps a torn last batch.
    Damaged(EngineError),
    Otherwise(EngineError),
}

fn options(space: Space) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::disabled())
        .index_block_compression_policy(CompressionPolicy::disabled())
        .max_memtable_size(MEMTABLE_BYTES_MAX);
    match space {
        Space::Bodies | Space::Payloads => options.with_kv_separation(Some(
            KvSeparationOptions::default()
                .compression(CompressionType::None)
                .separation_threshold(SEPARATED_BYTES_MIN)
                .file_target_size(BLOB_FILE_BYTES),
        )),
        _ => options,
    }
}

impl Engine for FjallEngine {
    fn view(&self) -> Box<dyn View> {
        Box::new(FjallView {
            snapshot: self.database.snapshot(),
            keyspaces: self.keyspaces.clone(),
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), WriteError> {
        let mode = match durability {
            Durability::Synced => PersistMode::SyncAll,
            Durability::Buffered => PersistMode::Buffer,
        };
        let mut batch = self.database.batch().durability(Some(mode));
        for write in writes {
            let keyspace = self.keyspaces.of(write.space);
            let key = write.key.as_slice();
            match &write.value {
                Some(value) => batch.insert(keyspace, key, value.embedded()),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(|error| WriteError::Broken(error.into()))
    }
}

struct FjallView {
    snapshot: fjall::Snapshot,
    keyspaces: Keyspaces,
}

impl FjallView {
    fn range(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> fjall::Iter {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let range = (Included(from), to.map_or(Unbounded, Excluded));
        self.snapshot.range::<&[u8], _>(self.keyspaces.of(space), range)
    }
}

impl View for FjallView {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.snapshot.get(self.keyspaces.of(space), key)?.map(Bytes::from))
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Scan {
        Box::new(self.range(space, from, to).map(|row| {
            let (key, value) = row.into_inner()?;
            Ok((key.into(), value.into()))
        }))
    }

    fn keys(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Keys {
        Box::new(self.range(space, from, to).map(|row| Ok(row.key()?.into())))
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, EngineError> {
        Ok(self.snapshot.contains_key(self.keyspaces.of(space), key)?)
    }
}
