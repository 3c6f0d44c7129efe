//! One error enum a door. Places are keyspaces, keys of ours and numbers; never
//! a value.

use std::path::PathBuf;

use holdfast_base::{Category, CommitNumber, MessageId};

use crate::engine::EngineError;

/// What is wrong with the address of a database. Repeats nothing of it but the
/// name of a file: the address may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no URL of a PostgreSQL database.
    #[error("the store's address is no postgres://host/database")]
    Malformed,
    /// The server is on another host and its certificate would not be checked.
    #[error("a database on another host needs sslmode=verify-full")]
    NotVerified,
    /// `sslmode=verify-full` without authorities.
    #[error("sslmode=verify-full needs sslrootcert=FILE with the authorities to trust")]
    NoAuthorities,
    /// The authorities cannot be read.
    #[error("{} holds no certificates that can be used", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
}

impl AddressError {
    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        Category::Incorrect
    }
}

/// Why a store did not open. Nothing is served from a store that did not.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has the folder open.
    #[error("{} is open elsewhere", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder was written by another schema than this build knows.
    #[error(
        "{} has schema {found}, this version of Holdfast reads schemas 1 to {known}: use the newer \
         version that wrote it",
        dir.display()
    )]
    Schema {
        /// The folder.
        dir: PathBuf,
        /// What its `format` file says.
        found: u32,
        /// What this build reads and writes.
        known: u32,
    },
    /// Something is not what was written.
    #[error("the store is damaged: {place}: {what}")]
    Damaged {
        /// Where: a keyspace and key, or a file.
        place: String,
        /// What does not fit.
        what: &'static str,
    },
    /// Commits that had been acknowledged are gone.
    #[error("commits up to {acknowledged} were acknowledged, the newest found is {found}")]
    Lost {
        /// The newest commit that somebody was told about.
        acknowledged: CommitNumber,
        /// The newest commit on disk.
        found: CommitNumber,
    },
    /// The folder or one of its files cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The folder belongs to another engine, or to another database.
    #[error("{}: {what}", dir.display())]
    Elsewhere {
        /// The folder.
        dir: PathBuf,
        /// What is the case.
        what: &'static str,
    },
    /// The database cannot be used: it does not answer, or is set up so that
    /// promises would break.
    #[error("{place}: {what}")]
    Unfit {
        /// The database.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The storage engine refused.
    #[error("the storage engine did not open")]
    Engine(#[source] EngineError),
}

impl OpenError {
    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        match self {
            Self::InUse { .. } => Category::Busy,
            Self::Schema { .. } => Category::Unsupported,
            Self::Elsewhere { .. } | Self::Unfit { .. } => Category::Incorrect,
            Self::Engine(error) => error.category(),
            Self::Damaged { .. } | Self::Lost { .. } | Self::Io { .. } => Category::Fault,
        }
    }
}

/// Why a read failed. "Not there" is no error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A stored row is not what was written, or one that must be there is not.
    #[error("the store is damaged: {place}: {what}")]
    Damaged {
        /// Keyspace and key.
        place: String,
        /// What does not fit.
        what: &'static str,
    },
    /// The storage engine failed.
    #[error("the storage engine failed to read")]
    Engine(#[from] EngineError),
}

impl ReadError {
    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        match self {
            Self::Damaged { .. } => Category::Fault,
            Self::Engine(error) => error.category(),
        }
    }
}

/// Why a transaction was not committed. Unless the variant says otherwise,
/// nothing of it was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// A precondition does not hold. Read again and retry.
    #[error("precondition {index} does not hold")]
    Precondition {
        /// Place in [`Transaction::preconditions`](crate::Transaction::preconditions).
        index: usize,
    },
    /// The version is not newer than the current one; versions are immutable.
    #[error("put {index} has version {version}, the current version is {current}")]
    VersionOrder {
        /// Place in [`Transaction::puts`](crate::Transaction::puts).
        index: usize,
        /// The version that was to be written.
        version: u64,
        /// The version that is current.
        current: u64,
    },
    /// The message to finish was never kept.
    #[error("message {0} was never kept")]
    UnknownMessage(MessageId),
    /// The message to finish has a final outcome already.
    #[error("message {0} is finished")]
    Finished(MessageId),
    /// The transaction cannot be written by anybody: a defect of the caller.
    #[error("malformed transaction: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The transaction is larger than a commit may be.
    #[error("the transaction has {bytes} bytes, at most {bytes_max} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// What the preconditions are checked against cannot be read.
    #[error("the store is damaged: {place}: {what}")]
    Damaged {
        /// Keyspace and key.
        place: String,
        /// What does not fit.
        what: &'static str,
    },
    /// The storage engine failed. Whether the transaction is durable is not
    /// known: read, or submit it again under preconditions. The store may take no
    /// more commits until it is opened again.
    #[error("the storage engine failed to write: {0}")]
    Engine(EngineError),
    /// The storage engine cannot be reached, or takes nothing at the moment.
    /// Nothing was written; the same transaction may succeed later.
    #[error("the storage engine is away; nothing was written")]
    Away,
    /// The store is closing, or an earlier write failed. Nothing was written.
    #[error("the store takes no more commits")]
    Stopped,
}

impl CommitError {
    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        match self {
            Self::Precondition { .. }
            | Self::VersionOrder { .. }
            | Self::UnknownMessage(_)
            | Self::Finished(_) => Category::Conflict,
            Self::TooLarge { .. } => Category::Incorrect,
            Self::Stopped | Self::Away => Category::Busy,
            Self::Malformed { .. } | Self::Damaged { .. } | Self::Engine(_) => Category::Fault,
        }
    }
}

impl From<ReadError> for CommitError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { place, what } => Self::Damaged { place, what },
            ReadError::Engine(error) if error.category() == Category::Busy => Self::Away,
            ReadError::Engine(error) => Self::Engine(error),
        }
    }
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { place, what } => Self::Damaged { place, what },
            ReadError::Engine(error) => Self::Engine(error),
        }
    }
}

/// Why a backup was not made. What was written so far does not open.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists and is not an empty folder.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The target.
        dir: PathBuf,
    },
    /// The store could not be read.
    #[error("the store cannot be read")]
    Read(#[from] ReadError),
    /// The copy could not be written.
    #[error("the copy cannot be written")]
    Write(#[source] EngineError),
    /// The copy could not be made or does not prove whole.
    #[error("the copy does not open")]
    Copy(#[from] OpenError),
}

impl BackupError {
    /// Whose fault, and what to do about it.
    pub fn category(&self) -> Category {
        match self {
            Self::NotEmpty { .. } => Category::Incorrect,
            Self::Read(error) => error.category(),
            Self::Write(_) => Category::Fault,
            Self::Copy(error) => error.category(),
        }
    }
}
