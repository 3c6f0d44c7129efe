//! The query index: who, whose record, when, from where, and what scope needs to
//! know of each entry, in sealed, immutable segments beside the bodies.
//!
//! Invariants: the index follows from the entries and is never trusted over them.
//! A segment carries the roots of the full tiles that it covers; at open these
//! must give the signed root, and every body that is read must be the one that
//! they commit to. What does not open or does not fit is made anew from the
//! bodies. No name, token or number of it stands readable on disk: every block is
//! sealed, has the same length, and their number is rounded up.
//!
//! The layout stands in `docs/ledger.md`.

mod contents;
mod encode;
mod file;
mod matching;
mod scope;
mod segment;

use holdfast_base::{ClassSet, PatientId};

use crate::{Entry, Event};

pub(crate) use contents::{Contents, Draft, tile_root};
#[cfg(test)]
pub(crate) use file::BLOCK_BYTES;
pub(crate) use file::{Cache, list, path_of, remove_others, write};
pub(crate) use matching::matching;
pub(crate) use scope::Gathering;
pub use scope::TouchedRecord;
pub(crate) use segment::Segment;

/// No ordinal: the entry has no such thing.
pub(crate) const NONE: u32 = u32::MAX;

/// What entries are found by, and what their facts name by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Dimension {
    Principal = 0,
    Session = 1,
    Address = 2,
    Organization = 3,
    Patient = 4,
    Kind = 5,
    /// Resource types: no postings.
    ResourceType = 6,
    /// Residences: no postings.
    Residence = 7,
}

impl Dimension {
    pub(crate) const ALL: [Dimension; 8] = [
        Self::Principal,
        Self::Session,
        Self::Address,
        Self::Organization,
        Self::Patient,
        Self::Kind,
        Self::ResourceType,
        Self::Residence,
    ];
    /// So many of them, from the first, have postings.
    pub(crate) const POSTED: usize = 6;
}

/// The facts of one entry, as wide as 32 bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// When, in milliseconds.
    pub(crate) at: i64,
    /// Where its record begins in its body segment.
    pub(crate) offset: u64,
    /// Ordinal of its kind.
    pub(crate) kind: u16,
    /// What was done, of an access; see [`action_code`].
    pub(crate) action: u8,
    /// Classes of a release, or of everything that an access touched.
    pub(crate) classes: ClassSet,
    /// Ordinal of the organization that keeps the record it is about.
    pub(crate) organization: u32,
    /// Ordinal of the patient that it is about.
    pub(crate) patient: u32,
    /// The first of its touches.
    pub(crate) touches: u32,
    /// How many touches it has.
    pub(crate) touches_count: u16,
}

/// One resource of an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TouchFact {
    /// Ordinal of the resource type.
    pub(crate) resource_type: u32,
    /// The first 8 bytes of SHA-256 over the logical id: tells the resources of
    /// one patient and type apart.
    pub(crate) id: u64,
    /// Its classes.
    pub(crate) classes: u8,
}

/// What a profile says of a patient record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfileFact {
    /// The patient.
    pub(crate) patient: PatientId,
    /// Ordinal of the keeping organization.
    pub(crate) organization: u32,
    /// Ordinal of the residence.
    pub(crate) residence: u32,
    /// The person's bytes.
    pub(crate) person: [u8; 16],
}

/// A part of the index that did not open, or does not have its form.
#[derive(Debug)]
pub(crate) enum IndexFault {
    /// The segment that begins with this entry.
    Damaged(u64),
    /// The disk refused.
    Io(std::io::Error),
}

impl From<std::io::Error> for IndexFault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Something that knows the facts of consecutive entries: a segment on disk, or
/// what is still in memory.
pub(crate) trait Facts {
    /// The first entry.
    fn first(&self) -> u64;
    /// Number of entries.
    fn count(&self) -> u32;
    /// The earliest and the latest time.
    fn span(&self) -> (i64, i64);
    /// The ordinal of `key`.
    fn find(&self, dimension: Dimension, key: &[u8]) -> Result<Option<u32>, IndexFault>;
    /// The key of an ordinal.
    fn key(&self, dimension: Dimension, ordinal: u32) -> Result<Vec<u8>, IndexFault>;
    /// The entries that have `ordinal`, counted from the first, ascending.
    fn postings(&self, dimension: Dimension, ordinal: u32) -> Result<Vec<u32>, IndexFault>;
    /// Shows rows to `visit`: those in `only`, ascending, or all from `from` on;
    /// until it answers false.
    fn rows(
        &self,
        only: Option<&[u32]>,
        from: u32,
        visit: &mut dyn FnMut(u32, &Row) -> bool,
    ) -> Result<(), IndexFault>;
    /// The touches of a row.
    fn touches(&self, row: &Row, visit: &mut dyn FnMut(TouchFact)) -> Result<(), IndexFault>;
    /// Number of profiles.
    fn profiles_count(&self) -> u32;
    /// Profiles `from..to`, in order of patient and organization.
    fn profiles(&self, from: u32, to: u32) -> Result<Vec<ProfileFact>, IndexFault>;
}

/// The number of an action in a row; 0 is none.
pub(crate) fn action_code(entry: &Entry) -> u8 {
    use crate::Action;
    match &entry.event {
        Event::Access { action, .. } => match action {
            Action::Read => 1,
            Action::Search => 2,
            Action::Write => ACTION_WRITE,
            Action::Deliver => 4,
            Action::Notify => 5,
            Action::Delete => ACTION_DELETE,
        },
        _ => 0,
    }
}

/// The number of [`Action::Write`](crate::Action::Write).
pub(crate) const ACTION_WRITE: u8 = 3;
/// The number of [`Action::Delete`](crate::Action::Delete).
pub(crate) const ACTION_DELETE: u8 = 6;
