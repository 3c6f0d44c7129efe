//! The errors of the ledger's door.

use std::io;

use holdfast_base::{Category, LedgerIndex};

use crate::note::NoteError;

/// A sealed body that the sealer cannot open: another key, another index, or
/// changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed body cannot be opened")]
pub struct BodyUnreadable;

/// What is wrong with a record or a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Bytes that are no whole record, where acknowledged records follow.
    #[error("its bytes do not fit their check")]
    Check,
    /// The sealer cannot open it.
    #[error("its sealed body cannot be opened")]
    Sealed,
    /// Salt and entry do not hash to the commitment in the tree.
    #[error("its body is not the one that the tree commits to")]
    Commitment,
    /// The body is no entry that this version knows.
    #[error("its body is no known entry")]
    Form,
    /// A tile is not the one that follows from the entries.
    #[error("it is not what follows from the entries")]
    Tile,
    /// A part of the query index cannot be opened, and not be made anew either.
    #[error("its part of the index cannot be opened")]
    Index,
    /// The file does not have the length that it had when it was complete.
    #[error("it does not have the length that it had")]
    Length,
    /// The file should not be there, or one before it is missing.
    #[error("it does not belong there, or one before it is missing")]
    Place,
}

/// Why a ledger was not opened. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the ledger is open in another process")]
    AlreadyOpen,
    /// The signer is of another log.
    #[error("the signing key is not of the origin that was asked for")]
    WrongOrigin,
    /// The file `checkpoint` is not a checkpoint of this log and key.
    #[error("the checkpoint is not one of this log and key: {0}")]
    Checkpoint(NoteError),
    /// There are entries and no checkpoint.
    #[error("the ledger has {found} entries and no checkpoint")]
    CheckpointMissing {
        /// Entries that are there.
        found: u64,
    },
    /// Entries that were acknowledged are gone.
    #[error("the ledger once had {known} entries and has {found}")]
    Lost {
        /// Entries that the checkpoint, or a tile, knows of.
        known: u64,
        /// Entries that are there.
        found: u64,
    },
    /// The entries do not have the root that was signed.
    #[error("the first {size} entries do not have the root that was signed")]
    Forked {
        /// Size of the signed checkpoint.
        size: u64,
    },
    /// A file is damaged.
    #[error("{file} is damaged{}: {damage}", index.map(|i| format!(" at entry {i}")).unwrap_or_default())]
    Damaged {
        /// The file, relative to the ledger's folder.
        file: String,
        /// The entry, where one can be named.
        index: Option<LedgerIndex>,
        /// What is wrong.
        damage: Damage,
    },
    /// The disk refused.
    #[error("the ledger's folder cannot be read or written")]
    Io(#[from] io::Error),
    /// The first entry could not be written.
    #[error("the first entry could not be written")]
    Append(#[from] AppendError),
}

impl OpenError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::AlreadyOpen => Category::Busy,
            Self::WrongOrigin => Category::Incorrect,
            _ => Category::Fault,
        }
    }
}

/// Why entries were not appended. None of them is in the ledger, unless the
/// variant says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// An entry is too long.
    #[error("an entry of {bytes} bytes; at most {bytes_max} are allowed")]
    TooLong {
        /// Its length as JSON.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The ledger holds as many entries as it can number.
    #[error("the ledger is full")]
    Full,
    /// The disk refused (full, not writable). The ledger goes on.
    #[error("the ledger could not be written: {0}")]
    Refused(io::ErrorKind),
    /// The disk failed in a way that leaves unknown what is durable. Nothing more
    /// is appended until the ledger is opened anew; the entries of this call may
    /// then be found in it, never having been acknowledged.
    #[error("the ledger stopped after a failed write; it must be opened anew")]
    Stopped,
}

impl AppendError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::TooLong { .. } => Category::Incorrect,
            _ => Category::Fault,
        }
    }
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The ledger has no entry of this index.
    #[error("no entry {0}")]
    NoSuchEntry(LedgerIndex),
    /// The entry is damaged on disk.
    #[error("entry {index} is damaged: {damage}")]
    Damaged {
        /// Which.
        index: LedgerIndex,
        /// What is wrong.
        damage: Damage,
    },
    /// The disk refused.
    #[error("the ledger's folder cannot be read")]
    Io(#[from] io::Error),
}

impl ReadError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::NoSuchEntry(_) => Category::NotFound,
            _ => Category::Fault,
        }
    }
}

/// Why no evidence bundle was made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// An entry could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoint that the bundle stands on could not be made.
    #[error("no checkpoint for the bundle")]
    Checkpoint(#[from] AppendError),
    /// A consistency proof was asked for from a size that the ledger does not have.
    #[error("no size {size}: the ledger has {len} entries")]
    NoSuchSize {
        /// What was asked for.
        size: u64,
        /// What there is.
        len: u64,
    },
    /// A tile is damaged, so that an entry cannot be proven.
    #[error("{file} is damaged: entries cannot be proven")]
    Damaged {
        /// The tile.
        file: String,
    },
    /// The policy to enclose is none.
    #[error("the policy to enclose is no policy")]
    Policy,
    /// Reading or writing failed.
    #[error("the bundle cannot be written")]
    Io(#[from] io::Error),
}

impl ExportError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::Read(error) => error.category(),
            Self::Checkpoint(error) => error.category(),
            Self::NoSuchSize { .. } | Self::Policy => Category::Incorrect,
            Self::Damaged { .. } | Self::Io(_) => Category::Fault,
        }
    }
}
