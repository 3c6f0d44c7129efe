//! What the store keeps: resources in versions, and inbound payloads.

use holdfast_base::{CommitNumber, ElementClass, MessageId, PatientId, Timestamp};

/// Which resource. Rows of one patient lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// Ordinal of the organization that keeps the record.
    pub organization: u32,
    /// Whose record, or [`PatientId::NONE`].
    pub patient: PatientId,
    /// Stable number of the resource type.
    pub type_code: u16,
    /// Keyed token of the logical id.
    pub id_token: [u8; 16],
}

/// One version of a resource, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedVersion {
    /// FHIR `meta.versionId`, from 1, growing.
    pub version: u64,
    /// Whether this version says that the resource is deleted.
    pub deleted: bool,
    /// FHIR `meta.lastUpdated`.
    pub last_updated: Timestamp,
    /// The body, one sealed part a class.
    pub parts: Vec<(ElementClass, Vec<u8>)>,
    /// The sealed index row (search values); may be empty.
    pub index: Vec<u8>,
    /// The sealed logical id.
    pub id_sealed: Vec<u8>,
}

/// A version with its place in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which resource.
    pub key: ResourceKey,
    /// The commit that wrote the version.
    pub commit: CommitNumber,
    /// The version.
    pub sealed: SealedVersion,
}

/// A version without its body: what a search opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRow {
    /// Which resource.
    pub key: ResourceKey,
    /// FHIR `meta.versionId`.
    pub version: u64,
    /// Whether this version says that the resource is deleted.
    pub deleted: bool,
    /// FHIR `meta.lastUpdated`.
    pub last_updated: Timestamp,
    /// The commit that wrote the version.
    pub commit: CommitNumber,
    /// The sealed index row; may be empty.
    pub index: Vec<u8>,
    /// The sealed logical id.
    pub id_sealed: Vec<u8>,
}

/// An inbound payload to keep, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPayload {
    /// Ordinal of the organization that sent it.
    pub organization: u32,
    /// When it arrived.
    pub received: Timestamp,
    /// Format number; the exchange's own.
    pub format: u8,
    /// Sealed particulars of the arrival.
    pub meta_sealed: Vec<u8>,
    /// The sealed payload.
    pub payload_sealed: Vec<u8>,
}

/// What became of a kept payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeptState {
    /// Waits to be processed.
    Pending = 0,
    /// Became part of a record. Final.
    Accepted = 1,
    /// Was there already. Final.
    Duplicate = 2,
    /// Was refused; may be replayed.
    Refused = 3,
    /// Waits for a person's decision.
    Review = 4,
}

impl KeptState {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Pending, Self::Accepted, Self::Duplicate, Self::Refused, Self::Review]
            .into_iter()
            .find(|state| *state as u8 == number)
    }

    /// Whether no transaction may finish the message once more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate)
    }
}

/// A kept payload without the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRow {
    /// Its number.
    pub message: MessageId,
    /// The commit that kept it.
    pub commit: CommitNumber,
    /// Ordinal of the organization that sent it.
    pub organization: u32,
    /// When it arrived.
    pub received: Timestamp,
    /// Format number; the exchange's own.
    pub format: u8,
    /// What became of it.
    pub state: KeptState,
    /// The commit that wrote this state.
    pub changed: CommitNumber,
    /// Sealed particulars of the arrival.
    pub meta_sealed: Vec<u8>,
    /// Sealed outcome; empty until it is finished.
    pub outcome: Vec<u8>,
}

/// A kept payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Everything but the payload.
    pub row: KeptRow,
    /// The sealed payload.
    pub payload_sealed: Vec<u8>,
}
