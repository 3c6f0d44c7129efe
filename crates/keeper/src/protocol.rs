//! The protocol between front process and keeper: frames over a Unix socket.
//!
//! A frame is: length of what follows (4 bytes, big-endian), protocol version
//! (1 byte), request id (8 bytes, big-endian), body (postcard). Answers carry the
//! id of their request and come in any order; a bundle comes in several frames.
//! Ledger entries travel as the JSON that they are in the ledger.
//!
//! Invariants: parsing never panics, never allocates more than a frame may hold,
//! and refuses what is left over after a body. Frames are wiped after use: they
//! carry keys.

use holdfast_base::{
    ClassSet, CommitNumber, OrganizationId, PatientId, PrincipalId, Purpose, RequestId, SessionId,
};
use holdfast_ledger::{Actor, ExportOptions, Filter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use zeroize::Zeroizing;

use crate::budget::Budget;
use crate::error::Refused;
use crate::keyring::Keys;
use crate::population::{Condition, DeltaRef, IndexedResource, Needed, Range, RunRef};
use crate::primitive::Secret;
use crate::process::KeyRows;
use crate::process::rotation::{KeysAnswer, KeysRequest};
use crate::public::{PublicAnswer, PublicRequest};

/// The version that is spoken; another one is refused.
pub(crate) const VERSION: u8 = 2;
/// The largest frame: 1024 entries of ordinary length fit in many times over.
pub(crate) const FRAME_BYTES_MAX: usize = 32 << 20;
/// How much of a bundle or a query's answer is put into one frame.
pub(crate) const PART_BYTES: usize = 1 << 20;
/// Patients in one release.
pub(crate) const PATIENTS_COUNT_MAX: usize = 10_000;
/// Entries in one append.
pub(crate) const ENTRIES_COUNT_MAX: usize = 4_096;
/// Length of a reason code or a role.
pub(crate) const REASON_BYTES_MAX: usize = 512;

const LENGTH_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + 8;

/// An [`Actor`] as it travels: its own form leaves fields out, which a compact
/// encoding cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireActor {
    principal: PrincipalId,
    session: Option<SessionId>,
    organization: Option<OrganizationId>,
    address: Option<String>,
}

impl From<&Actor> for WireActor {
    fn from(actor: &Actor) -> Self {
        Self {
            principal: actor.principal.clone(),
            session: actor.session,
            organization: actor.organization.clone(),
            address: actor.address.clone(),
        }
    }
}

impl From<WireActor> for Actor {
    fn from(actor: WireActor) -> Self {
        Self {
            principal: actor.principal,
            session: actor.session,
            organization: actor.organization,
            address: actor.address,
        }
    }
}

/// A release that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireRelease {
    pub actor: WireActor,
    pub role: String,
    pub request: RequestId,
    pub organization: OrganizationId,
    pub patients: Vec<PatientId>,
    pub classes: ClassSet,
    pub purpose: Purpose,
    pub reason: String,
    pub create_missing: bool,
}

/// A search over an organization's patients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireSearch {
    pub actor: WireActor,
    pub role: String,
    pub request: RequestId,
    pub organization: OrganizationId,
    pub resource_type: String,
    pub parameters: Vec<String>,
    pub purpose: Purpose,
    pub conditions: Vec<Condition>,
    pub everything: Range,
    pub classes: ClassSet,
    pub as_of: u64,
    pub runs: Vec<RunRef>,
    pub deltas: Vec<DeltaRef>,
    pub page: Option<(u64, u64)>,
}

/// One step of a merge of the population index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireMerge {
    pub organization: OrganizationId,
    pub runs: Vec<RunRef>,
    pub deltas: Vec<DeltaRef>,
    pub output: [u8; 16],
    pub step: u32,
    pub first_block: u32,
    pub first_piece: u32,
}

/// What can be asked about the population index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PopulationRequest {
    Search(Box<WireSearch>),
    Merge(WireMerge),
    /// The rows that an answer needed, in its order.
    Supply {
        handle: u64,
        rows: Vec<Vec<u8>>,
    },
}

/// What is answered about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum PopulationAnswer {
    Need { handle: u64, rows: Vec<Needed> },
    Found { total: u64, resources: Vec<IndexedResource> },
    Merged { blocks: Vec<Vec<u8>>, fences: Vec<Vec<u8>>, steps: u32 },
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    CreateOrganization {
        actor: WireActor,
        organization: OrganizationId,
    },
    ServiceKeys {
        actor: WireActor,
        reason: String,
    },
    InboxOpener {
        actor: WireActor,
        organization: OrganizationId,
        reason: String,
    },
    Release(WireRelease),
    Append {
        entries: Vec<Vec<u8>>,
    },
    Query {
        filter: Filter,
        after: Option<u64>,
        limit: u64,
    },
    Forget {
        actor: WireActor,
        organization: OrganizationId,
        patient: PatientId,
        reason: String,
    },
    SetBudget {
        actor: WireActor,
        principal: PrincipalId,
        budget: Budget,
        reason: String,
    },
    Suspend {
        actor: WireActor,
        principal: PrincipalId,
        reason: String,
    },
    Lift {
        actor: WireActor,
        principal: PrincipalId,
        reason: String,
    },
    Status,
    ExportBundle {
        filter: Filter,
        seen: Vec<u64>,
    },
    LastStoreCommit,
    Keys(KeysRequest),
    /// Answered in parts: postcard of a list of touched records each, before an
    /// empty last one.
    Touched {
        filter: Filter,
    },
    Public(PublicRequest),
    ExportBundleWith {
        filter: Filter,
        options: ExportOptions,
    },
    Population(PopulationRequest),
    BackupKey {
        actor: WireActor,
        reason: String,
    },
    CopyKeys {
        after: Option<(String, Vec<u8>)>,
    },
    CopyLedger {
        from: u64,
    },
}

/// The keys of one organization that the front process holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireOrganization {
    pub organization: OrganizationId,
    pub token: Secret,
    pub inbox_public: (u32, [u8; 32]),
    pub population_public: (u32, [u8; 32]),
}

/// The service keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WireServiceKeys {
    pub system: Keys,
    pub mpi_seal: Keys,
    pub mpi_token: Secret,
    pub organizations: Vec<WireOrganization>,
}

/// The state of the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperStatus {
    /// Durable entries in the ledger.
    pub ledger_size: u64,
    /// Root of the tree over them.
    pub root: [u8; 32],
    /// The checkpoint that was published last, as a C2SP signed note.
    pub checkpoint: String,
    /// The key that checkpoints are verified with, as C2SP vkey text.
    pub log_vkey: String,
    /// The log's second key (ML-DSA-44), as C2SP vkey text.
    pub log_second_vkey: Option<String>,
    /// The newest checkpoint that witnesses have cosigned.
    pub witnessed: Option<String>,
    /// Patients that have a key, over all organizations.
    pub patients_count: u64,
    /// Organizations that have a key.
    pub organizations: Vec<OrganizationId>,
    /// Who is suspended, with the reason.
    pub suspended: Vec<(PrincipalId, String)>,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Refused(Refused),
    Done,
    Organization(WireOrganization),
    ServiceKeys(WireServiceKeys),
    Inbox(Keys),
    /// Class keys of each patient that was asked for, in that order; of each the
    /// classes that were asked for, in key order.
    Released(Vec<Vec<Keys>>),
    Appended {
        start: u64,
        end: u64,
    },
    /// Entries with their index, as JSON; `more` when the limit was not reached
    /// and others may follow.
    Entries {
        entries: Vec<(u64, Vec<u8>)>,
        more: bool,
    },
    Status(KeeperStatus),
    Part {
        bytes: Vec<u8>,
        last: bool,
    },
    Commit(Option<(CommitNumber, String)>),
    Keys(KeysAnswer),
    Public(PublicAnswer),
    Population(PopulationAnswer),
    BackupKey {
        keys: Keys,
        wrapped: KeyRows,
    },
}

/// Why a frame was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    TooLarge,
    TooShort,
    OtherVersion,
    Body,
}

impl FrameError {
    pub fn what(self) -> &'static str {
        match self {
            Self::TooLarge => "a frame is too large",
            Self::TooShort => "a frame is too short",
            Self::OtherVersion => "it has another version",
            Self::Body => "a frame has an unknown form",
        }
    }
}

/// Encodes one frame, its length included.
pub(crate) fn encode<T: Serialize>(id: u64, body: &T) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    // Room for most frames, so that growing does not leave copies of keys behind.
    encode_sized(id, body, 4 << 10)
}

/// As [`encode`], with room for a body of `size_hint` bytes from the start.
pub(crate) fn encode_sized<T: Serialize>(
    id: u64,
    body: &T,
    size_hint: usize,
) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let mut frame = Vec::with_capacity(LENGTH_BYTES + HEADER_BYTES + size_hint);
    frame.extend_from_slice(&[0; LENGTH_BYTES]);
    frame.push(VERSION);
    frame.extend_from_slice(&id.to_be_bytes());
    let mut frame = Zeroizing::new(postcard::to_extend(body, frame).map_err(|_| FrameError::Body)?);
    let length = frame.len() - LENGTH_BYTES;
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge);
    }
    let length = u32::try_from(length).map_err(|_| FrameError::TooLarge)?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Decodes what follows the length: request id and body. A body that is not
/// understood still has an id, so that it can be refused.
pub(crate) fn decode<T: DeserializeOwned>(
    frame: &[u8],
) -> Result<(u64, Result<T, FrameError>), FrameError> {
    let (&version, rest) = frame.split_first().ok_or(FrameError::TooShort)?;
    if version != VERSION {
        return Err(FrameError::OtherVersion);
    }
    let (id, body) = rest.split_first_chunk::<8>().ok_or(FrameError::TooShort)?;
    let body = match postcard::take_from_bytes::<T>(body) {
        Ok((body, [])) => Ok(body),
        Ok(_) | Err(_) => Err(FrameError::Body),
    };
    Ok((u64::from_be_bytes(*id), body))
}

/// Reads one frame without its length; nothing at the end of the stream.
pub(crate) async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<Option<Result<Zeroizing<Vec<u8>>, FrameError>>> {
    let length = match from.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > FRAME_BYTES_MAX {
        return Ok(Some(Err(FrameError::TooLarge)));
    }
    if length < HEADER_BYTES {
        return Ok(Some(Err(FrameError::TooShort)));
    }
    let mut frame = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut frame).await?;
    Ok(Some(Ok(frame)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn release() -> Request {
        Request::Release(WireRelease {
            actor: WireActor {
                principal: PrincipalId::new("dr.okafor@lakeside").expect("valid"),
                session: Some(SessionId::from_bytes([7; 16])),
                organization: None,
                address: Some("192.0.2.7".to_owned()),
            },
            role: "clinician".to_owned(),
            request: RequestId::from_bytes([1; 16]),
            organization: OrganizationId::new("lakeside").expect("valid"),
            patients: vec![PatientId::from_bytes([3; 16]); 3],
            classes: ClassSet::ALL,
            purpose: Purpose::Treatment,
            reason: "own-organization".to_owned(),
            create_missing: false,
        })
    }

    #[test]
    fn a_frame_gives_back_what_went_in() {
        let filter = Filter { kinds: vec!["access".to_owned()], ..Filter::default() };
        for request in
            [release(), Request::Status, Request::Query { filter, after: Some(3), limit: 9 }]
        {
            let frame = encode(42, &request).expect("encodes");
            assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
            let (id, body) = decode::<Request>(&frame[4..]).expect("decodes");
            assert_eq!((id, body), (42, Ok(request)));
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut frame = encode(1, &Request::Status).expect("encodes");
        frame[4] = VERSION + 1;
        assert_eq!(decode::<Request>(&frame[4..]).expect_err("refused"), FrameError::OtherVersion);
    }

    #[test]
    fn what_is_left_over_after_a_body_is_refused() {
        let mut frame = encode(1, &Request::Status).expect("encodes");
        frame.push(0);
        assert_eq!(decode::<Request>(&frame[4..]), Ok((1, Err(FrameError::Body))));
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_before_anything_is_allocated() {
        let mut bytes: &[u8] = &[0xff; 8];
        let frame = read_frame(&mut bytes).await.expect("reads").expect("not the end");
        assert_eq!(frame.expect_err("refused"), FrameError::TooLarge);
        let mut none: &[u8] = &[];
        assert!(read_frame(&mut none).await.expect("reads").is_none());
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_bytes_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            shift in 0..20u8,
        ) {
            let _ = decode::<Request>(&bytes);
            let _ = decode::<Answer>(&bytes);
            let mut framed = vec![VERSION, 0, 0, 0, 0, 0, 0, 0, 1, shift];
            framed.extend_from_slice(&bytes);
            let _ = decode::<Request>(&framed);
            let _ = decode::<Answer>(&framed);
        }

        #[test]
        fn a_damaged_request_never_panics(at in any::<prop::sample::Index>(), byte: u8) {
            let mut frame = encode(1, &release()).expect("encodes");
            let at = at.index(frame.len());
            frame[at] = byte;
            let _ = decode::<Request>(&frame[4..]);
            let _ = decode::<Request>(&frame[4..at.max(4)]);
        }
    }
}
