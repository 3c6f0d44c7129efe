//! What is written together, and under which conditions.

use holdfast_base::{CommitNumber, MessageId};

use crate::model::{KeptState, ResourceKey, SealedVersion};

/// The generic tables. Their rows have no versions: a snapshot sees them as
/// they were when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Accounts, organizations, settings, incidents.
    System = 1,
    /// Token of a resource id → where it lies.
    Locate = 2,
    /// Sealed values for finding patients.
    Directory = 3,
    /// Tokens of messages that were accepted.
    Dedupe = 4,
    /// What is to be delivered.
    Outbox = 5,
    /// Persons and the patient records linked to them.
    Link = 6,
    /// Sealed index of what many patients' resources are found by.
    Population = 7,
}

/// Writes or deletes one row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowWrite {
    /// The table.
    pub table: Table,
    /// The key: tokens and identifiers of ours, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// The sealed value, or `None` to delete the row.
    pub value: Option<Vec<u8>>,
}

/// What must be so for a transaction to be written. Checked against everything
/// that was committed before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The resource's current version, deleted or not; `None`: it has none.
    CurrentVersion {
        /// The resource.
        key: ResourceKey,
        /// Its version.
        expected: Option<u64>,
    },
    /// The table has no such row.
    RowAbsent {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
    },
    /// The row is there and has this value.
    RowEquals {
        /// The table.
        table: Table,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// The message is kept and waits to be processed.
    Pending(MessageId),
}

/// What is written together: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// New versions, at most one a resource, each newer than the current one.
    pub puts: Vec<(ResourceKey, SealedVersion)>,
    /// Rows; the last write of a key counts.
    pub rows: Vec<RowWrite>,
    /// What must be so, checked in order before anything is written.
    pub preconditions: Vec<Precondition>,
    /// The kept payload that this transaction processes, its new state and the
    /// sealed outcome. A payload with a final state cannot be finished again.
    /// [`KeptState::Pending`] puts a refused or reviewed one back in the queue.
    pub finish: Option<(MessageId, KeptState, Vec<u8>)>,
}

/// The receipt of a durable transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Its number, *t*.
    pub commit: CommitNumber,
    /// The chain hash up to and with it.
    pub chain: [u8; 32],
}
