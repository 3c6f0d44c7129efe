//! The seam to a storage engine: ordered keyspaces, consistent views, atomic
//! durable batches. Everything above it is engine-neutral.

mod bytes;
mod on_fjall;
mod postgres;
mod torn;

use std::sync::Arc;

use holdfast_base::Category;

pub(crate) use bytes::Bytes;
pub(crate) use on_fjall::FjallEngine;
pub use postgres::PostgresAddress;
pub(crate) use postgres::{PostgresEngine, PostgresOpenError, Standing};

/// The ordered keyspaces of a store. `docs/storage.md` has their layouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Space {
    /// Commit number → chain row.
    Commits = 0,
    /// Resource and commit, descending → version without body.
    Index = 1,
    /// Resource and commit, descending → sealed parts.
    Bodies = 2,
    /// Table and key → value.
    Rows = 3,
    /// Message → state and particulars.
    Inbox = 4,
    /// Message → sealed payload.
    Payloads = 5,
    /// Message → nothing; those that wait.
    Pending = 6,
    /// Commit, keyspace and key → what that commit wrote there and a later one
    /// wrote over, until a backup has it. Also the store's own notes.
    Past = 7,
}

impl Space {
    /// All, in the order in which a backup copies them: what proves a copy
    /// whole comes last.
    pub(crate) const ALL: [Space; 8] = [
        Self::Past,
        Self::Bodies,
        Self::Index,
        Self::Rows,
        Self::Payloads,
        Self::Inbox,
        Self::Pending,
        Self::Commits,
    ];

    /// Whether keys are written more than once, or deleted.
    pub(crate) fn is_overwritten(self) -> bool {
        !matches!(self, Self::Commits | Self::Index | Self::Bodies | Self::Payloads)
    }

    /// The name in errors and on disk.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commits => "commits",
            Self::Index => "index",
            Self::Bodies => "bodies",
            Self::Rows => "rows",
            Self::Inbox => "inbox",
            Self::Payloads => "payloads",
            Self::Pending => "pending",
            Self::Past => "past",
        }
    }
}

/// What the storage engine says when it fails. Says nothing about values.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct EngineError {
    what: Arc<str>,
    away: bool,
    full: bool,
}

impl EngineError {
    /// Something is broken, and stays so.
    pub(crate) fn new(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string().into(), away: false, full: false }
    }

    /// Not now: the engine may be back later.
    pub(crate) fn away(what: impl std::fmt::Display) -> Self {
        Self { what: what.to_string().into(), away: true, full: false }
    }

    /// The disk is full. What reached it of the last batch is not known.
    pub(crate) fn full() -> Self {
        let what = "the disk is full; make room, then open the store again";
        Self { full: true, ..Self::new(what) }
    }

    /// Whether it failed because the disk is full.
    pub fn is_disk_full(&self) -> bool {
        self.full
    }

    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        if self.away { Category::Busy } else { Category::Fault }
    }
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Nothing of it was written, and the engine goes on.
    #[error("nothing was written: {0}")]
    NotWritten(EngineError),
    /// It may have been written: [`Engine::settle`] finds out. Until then the
    /// engine takes no other batch.
    #[error("what was written is not known: {0}")]
    InDoubt(EngineError),
    /// What reached the disk is not known, and only opening anew will tell.
    #[error("{0}")]
    Broken(EngineError),
}

impl WriteError {
    /// What the engine said.
    pub(crate) fn into_engine_error(self) -> EngineError {
        match self {
            Self::NotWritten(error) | Self::InDoubt(error) | Self::Broken(error) => error,
        }
    }
}

/// What became of a batch that was in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// All of it is durable.
    Written,
    /// Nothing of it was written, nor will it be.
    NotWritten,
}

/// Key and value pairs in key order, from either end.
pub(crate) type Scan =
    Box<dyn DoubleEndedIterator<Item = Result<(Bytes, Bytes), EngineError>> + Send>;

/// Keys in key order, without reading their values.
pub(crate) type Keys = Box<dyn Iterator<Item = Result<Bytes, EngineError>> + Send>;

/// Whether a batch must have reached the disk when the write returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Yes: fsync.
    Synced,
    /// Not yet: a later synced batch of the same engine carries it along.
    Buffered,
}

/// One change of one key.
pub(crate) struct Write {
    pub space: Space,
    pub key: Vec<u8>,
    /// `None` deletes.
    pub value: Option<Bytes>,
}

/// A storage engine.
pub(crate) trait Engine: Send + Sync {
    /// A consistent view over all keyspaces as they are now.
    fn view(&self) -> Box<dyn View>;

    /// Writes all or nothing, no key twice. Only one thread writes.
    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), WriteError>;

    /// Makes what was found at opening durable, which a process that was killed may have
    /// left to the system's memory. What a database committed, is.
    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// What became of the last batch, after [`WriteError::InDoubt`]. Blocks as
    /// long as one attempt takes; safe to repeat.
    fn settle(&self) -> Result<Settled, WriteError> {
        Err(WriteError::Broken(EngineError::new("this engine is never in doubt")))
    }
}

/// A consistent view: later writes do not show.
pub(crate) trait View: Send + Sync {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// From `from` on, up to but without `to`.
    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Scan;

    /// The keys of [`scan`](Self::scan).
    fn keys(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Keys;

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, EngineError>;

    /// Whether a read costs so much that many should be asked for at once, with
    /// [`get_many`](Self::get_many) and [`first_many`](Self::first_many).
    fn is_remote(&self) -> bool {
        false
    }

    /// The values of `keys` that are there, with their keys, in any order.
    fn get_many(
        &self,
        space: Space,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let found = keys.into_iter().map(|key| {
            let value = self.get(space, &key)?;
            Ok(value.map(|value| (key.into(), value)))
        });
        found.filter_map(Result::transpose).collect()
    }

    /// Of each range the first row, if there is one.
    fn first_many(
        &self,
        space: Space,
        ranges: Vec<KeyRange>,
    ) -> Result<Vec<Option<(Bytes, Bytes)>>, EngineError> {
        let first =
            |(from, to): KeyRange| self.scan(space, &from, to.as_deref()).next().transpose();
        ranges.into_iter().map(first).collect()
    }
}

/// From the first on, up to but without the second.
pub(crate) type KeyRange = (Vec<u8>, Option<Vec<u8>>);
