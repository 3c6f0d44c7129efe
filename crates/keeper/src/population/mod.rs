//! The population index: which resources of an organization have which postings,
//! in sealed sorted runs that only the keeper can open. Pure but for its caches.
//!
//! A transaction carries a sealed [`Delta`] of the postings that it adds and
//! removes; the front process can seal one and cannot open it. Deltas are folded
//! into runs, runs are merged into larger ones. A run is a row of sealed blocks of
//! one size, and sealed pieces of its directory (*fences*). Nothing but the number
//! of blocks shows.
//!
//! Invariants:
//! - additions and removals of one posting of one resource alternate, so that
//!   their sum up to a commit says whether the posting stood then, in whatever
//!   order they are met;
//! - a block or fence opens as what it is, of its run, at its number, only;
//! - what the keeper answers names resources, never postings.

mod block;
mod delta;
mod desk;
mod fold;
mod query;

pub(crate) use desk::{Desk, IndexKeys, Step, Waiting};
pub(crate) use fold::Merge;
pub(crate) use query::Search;

pub use delta::{Delta, DeltaSealer, PostedResource};

use std::cmp::Reverse;

use holdfast_base::PatientId;
use serde::{Deserialize, Serialize};

/// Plain bytes of a block, padded.
pub(crate) const BLOCK_BYTES: usize = 4_096;
/// Blocks whose directory is one piece.
pub(crate) const PIECE_BLOCKS_MAX: usize = 512;
/// Sealed rows that are asked for at once: 4 MiB of blocks.
pub(crate) const NEEDED_MAX: usize = 1_024;
/// Bytes of deltas that are asked for at once, one delta at least.
const NEEDED_BYTES_MAX: u64 = 8 << 20;

/// A resource as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IndexedResource {
    /// Whose record.
    pub patient: PatientId,
    /// Keyed token of its id.
    pub token: [u8; 16],
    /// Number of the element class that its search values are sealed under.
    pub class: u8,
}

/// One addition or removal of one posting; in the order in which runs hold them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub key: Vec<u8>,
    pub resource: IndexedResource,
    pub commit: Reverse<u64>,
    pub adds: bool,
}

/// A run as a query or a merge names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunRef {
    /// Random.
    pub run: [u8; 16],
    /// Pieces of its directory.
    pub pieces: u32,
}

/// A delta that is not folded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeltaRef {
    /// Random.
    pub delta: [u8; 16],
    /// The commit that wrote it.
    pub commit: u64,
    /// Sealed bytes of it.
    pub bytes: u32,
}

/// A sealed row that the keeper has to see to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Needed {
    /// A delta.
    Delta([u8; 16]),
    /// A piece of a run's directory.
    Fence([u8; 16], u32),
    /// A block of a run.
    Block([u8; 16], u32),
}

/// One condition of a search: bytes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Whether it leaves out what it finds.
    pub excludes: bool,
    /// A resource is found by one posting in one of these.
    pub ranges: Vec<Range>,
}

/// Postings from `from` up to but without `to` that pass all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first posting.
    pub from: Vec<u8>,
    /// The first posting after the last.
    pub to: Vec<u8>,
    /// What must hold of bytes further on.
    pub checks: Vec<Check>,
}

/// The bytes of a posting at `at`, as many as `from` has, lie in a half-open range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Where they begin.
    pub at: u16,
    /// The least that they may be.
    pub from: Vec<u8>,
    /// What they must stay below.
    pub to: Option<Vec<u8>>,
}

impl Range {
    fn holds(&self, key: &[u8]) -> bool {
        let passes = |check: &Check| {
            let at = usize::from(check.at);
            key.get(at..at + check.from.len()).is_some_and(|bytes| {
                bytes >= check.from.as_slice()
                    && check.to.as_ref().is_none_or(|to| bytes < to.as_slice())
            })
        };
        key >= self.from.as_slice() && key < self.to.as_slice() && self.checks.iter().all(passes)
    }
}

/// What a sealed row of the index is: additional data of its AEAD.
fn row_place(organization: &str, needed: Needed) -> Vec<u8> {
    let (what, run, number) = match needed {
        Needed::Delta(delta) => ("delta", delta, 0),
        Needed::Fence(run, number) => ("fence", run, number),
        Needed::Block(run, number) => ("block", run, number),
    };
    crate::primitive::place(
        "holdfast/v1/population",
        &[organization.as_bytes(), what.as_bytes(), &run, &number.to_be_bytes()],
    )
}

/// Why the index cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexError {
    /// A sealed row is not authentic in its place, or has an unknown form.
    Damaged,
    /// More is asked for than one query may name.
    TooMany,
}

impl From<crate::SealError> for IndexError {
    fn from(_: crate::SealError) -> Self {
        Self::Damaged
    }
}
