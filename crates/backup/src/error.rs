//! What can go wrong. Names objects and commits; never a value.

use holdfast_base::Category;
use holdfast_keeper::{KeeperError, StartError};
use holdfast_store::{CommitError, ImportError, ReadError};

/// Why a backup was not made, not proven or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// What was given is no target.
    #[error("{target}: {what}")]
    Target {
        /// What was given.
        target: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no backup.
    #[error("{target} holds no backup")]
    Empty {
        /// Where.
        target: String,
    },
    /// The backup is of another format.
    #[error("the backup has format {found}; this version of Holdfast reads format 1")]
    Format {
        /// What it says.
        found: u32,
    },
    /// The target holds backups of another store.
    #[error("{target} holds backups of another store; give this one a place of its own")]
    OtherStore {
        /// Where.
        target: String,
    },
    /// It was sealed under another root key.
    #[error(
        "the backup was sealed under another root key: restore needs the root.key that was in \
         force when it was made"
    )]
    OtherKeeper,
    /// An object that a backup needs is not there.
    #[error("{object} is missing")]
    Missing {
        /// Its name.
        object: String,
    },
    /// An object is not what was written.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// Its name.
        object: String,
        /// What does not fit.
        what: String,
    },
    /// Nothing answers to what was asked for.
    #[error("{0}")]
    Moment(String),
    /// The target holds something already.
    #[error("{0}")]
    NotEmpty(String),
    /// The ledger knows of commits that the restored store would lack.
    #[error("{0}")]
    Ahead(String),
    /// The object store failed.
    #[error("the target failed")]
    Object(#[from] object_store::Error),
    /// A file cannot be used.
    #[error("{path}")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The keeper failed.
    #[error("the keeper failed")]
    Keeper(#[from] KeeperError),
    /// The keeper's folder does not open.
    #[error("the keeper's folder does not open")]
    Folder(#[from] StartError),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] ReadError),
    /// The store cannot be written.
    #[error("the store takes no commits")]
    Commit(#[from] CommitError),
    /// The segments make no store.
    #[error("the copy is not whole")]
    Import(#[from] ImportError),
    /// A thread ended.
    #[error("internal fault: {0}")]
    Internal(&'static str),
}

impl BackupError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::Target { .. }
            | Self::OtherStore { .. }
            | Self::Moment(_)
            | Self::NotEmpty(_)
            | Self::Ahead(_) => Category::Incorrect,
            Self::Empty { .. } => Category::NotFound,
            Self::Format { .. } => Category::Unsupported,
            Self::OtherKeeper => Category::Forbidden,
            Self::Keeper(error) => error.category(),
            Self::Folder(error) => error.category(),
            Self::Commit(error) => error.category(),
            Self::Import(error) => error.category(),
            _ => Category::Fault,
        }
    }
}
