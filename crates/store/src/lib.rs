//! The sealed store: immutable versions, index rows, generic rows and the inbox,
//! behind one commit queue.
//!
//! Invariants
//! - Only sealed bytes and tokens come in: no key, no plaintext, no JSON, and
//!   this crate knows no cipher.
//! - [`Store::commit`] and [`Store::keep`] are durable when they return.
//! - A version is written once and never changed; a [`Snapshot`] never sees a
//!   commit that is younger than it.
//! - Commits are numbered without a gap and hash-chained; a store whose chain,
//!   counts or newest acknowledged commit do not fit does not open.
//! - No clock and no randomness but the store's own identifier.
//!
//! Every key and value is laid out in `docs/storage.md`.
#![forbid(unsafe_code)]

// What the tests share names this crate from outside.
#[cfg(test)]
extern crate self as holdfast_store;

mod apply;
mod backup;
mod chain;
mod check;
mod codec;
mod content;
mod engine;
mod error;
#[cfg(test)]
mod faults;
mod folder;
mod layout;
mod location;
mod migrate;
mod model;
mod past;
mod queue;
mod recent;
mod segment;
mod snapshot;
mod store;
mod transaction;
mod upgrade;
#[cfg(test)]
mod worked_example;
mod writer;

pub use backup::BackupReport;
pub use check::CheckReport;
pub use engine::PostgresAddress;
pub use error::{AddressError, BackupError, CommitError, OpenError, ReadError};
pub use folder::SCHEMA;
pub use location::StoreLocation;
pub use migrate::{MigrateError, MigrateProgress, MigrateReport};
pub use model::{
    IndexRow, Kept, KeptPayload, KeptRow, KeptState, ResourceKey, SealedVersion, Stored,
};
pub use segment::{Import, ImportError, Proof, Proven, Segment};
pub use snapshot::Snapshot;
pub use store::{CommitFacts, Store};
pub use transaction::{Committed, Precondition, RowWrite, Table, Transaction};

/// The example of the README runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
