//! The protocol between front process and keeper: frames over a Unix socket, or over
//! TCP with mutual TLS.
//!
//! A frame is: length of what follows (4 bytes, big-endian), protocol version
//! (1 byte), request id (8 bytes, big-endian), body (postcard). Answers carry the
//! id of their request and come in any order; a bundle comes in several frames.
//! Ledger entries travel as the JSON that they are in the ledger.
//!
//! Invariants: parsing never panics, never allocates more than a frame may hold,
//! and refuses what is left over after a body. Frames are wiped after use: they
//! carry keys.

use holdfast_base::{CommitNumber, OrganizationId, PatientId, PrincipalId, RequestId, SessionId};
use holdfast_ledger::{ExportOptions, Filter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::asked::{PopulationMerge, PopulationSearch, ReleaseRequest};
use crate::budget::Budget;
use crate::error::Refused;
use crate::keyring::Keys;
use crate::people::{ImportedPrincipal, NewPrincipal, Proof, SessionFacts, SessionToken};
use crate::population::{IndexedResource, Needed};
use crate::primitive::Secret;
use crate::process::KeyRows;
use crate::process::rotation::{KeysAnswer, KeysRequest, SecretBytes};
use crate::process::{BulkGrant, GrantProposal};
use crate::public::{PublicAnswer, PublicRequest};

/// The version that is spoken; another one is refused. 2: keys have generations, who
/// asks is proved, and the inbox gives out content keys of single payloads. 3: people
/// look at kept payloads, and the passphrase recovers an administrator.
pub(crate) const VERSION: u8 = 3;
/// The largest frame: 1024 entries of ordinary length fit in many times over.
pub(crate) const FRAME_BYTES_MAX: usize = 32 << 20;
/// How much of a bundle or a query's answer is put into one frame.
pub(crate) const PART_BYTES: usize = 1 << 20;
/// Patients in one release.
pub(crate) const PATIENTS_COUNT_MAX: usize = 10_000;
/// Entries in one append.
pub(crate) const ENTRIES_COUNT_MAX: usize = 4_096;
/// Kept payloads in one opening.
pub(crate) const PAYLOADS_COUNT_MAX: usize = 256;
/// Principals in one import.
pub(crate) const IMPORT_COUNT_MAX: usize = 100_000;
/// Length of a reason code or a role.
pub(crate) const REASON_BYTES_MAX: usize = 512;
/// Length of a password, a sign-in name, a code or an address.
pub(crate) const SHOWN_BYTES_MAX: usize = 256;

pub(crate) const LENGTH_BYTES: usize = 4;
pub(crate) const HEADER_BYTES: usize = 1 + 8;

/// What can be asked about the population index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PopulationRequest {
    Search(Box<PopulationSearch>),
    Merge(PopulationMerge),
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

/// What somebody signs in with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireSignIn {
    pub name: String,
    pub password: Zeroizing<String>,
    pub code: String,
    pub address: Option<String>,
}

impl std::fmt::Debug for WireSignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireSignIn([secret])")
    }
}

/// Whose budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BudgetOwner {
    /// A principal's own.
    Principal(PrincipalId),
    /// That of all principals of an organization together.
    Organization(OrganizationId),
}

/// A step of a bulk grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GrantStep {
    Propose(GrantProposal),
    Approve(RequestId),
    Revoke(RequestId, String),
}

/// A kept payload that is to be opened: its number, its place, its sealed header (or,
/// of one that has none, all of it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WirePayload {
    pub message: u64,
    pub place: Vec<u8>,
    pub sealed: Vec<u8>,
}

/// What opens a kept payload.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum WireContent {
    /// The key of its content.
    Key(Secret),
    /// The content of one that has no header, as an older exchange kept it.
    Plain(Zeroizing<Vec<u8>>),
}

impl std::fmt::Debug for WireContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireContent([secret])")
    }
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    CreateOrganization {
        proof: Proof,
        organization: OrganizationId,
    },
    ServiceKeys {
        reason: String,
    },
    OpenInbox {
        organization: OrganizationId,
        payloads: Vec<WirePayload>,
        reason: String,
    },
    Release(ReleaseRequest),
    Append {
        entries: Vec<Vec<u8>>,
    },
    Query {
        filter: Filter,
        after: Option<u64>,
        limit: u64,
    },
    Forget {
        proof: Proof,
        organization: OrganizationId,
        patient: PatientId,
        reason: String,
    },
    SetBudget {
        proof: Proof,
        whose: BudgetOwner,
        budget: Budget,
        reason: String,
    },
    Suspend {
        proof: Proof,
        principal: PrincipalId,
        reason: String,
    },
    Lift {
        proof: Proof,
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
    Enrol {
        proof: Proof,
        new: NewPrincipal,
    },
    Import {
        principals: Vec<ImportedPrincipal>,
    },
    ResetSecrets {
        proof: Proof,
        principal: PrincipalId,
        certificate: Option<[u8; 32]>,
    },
    ClosePrincipal {
        proof: Proof,
        principal: PrincipalId,
    },
    OpenSession(WireSignIn),
    Vouch {
        certificate: [u8; 32],
        address: Option<String>,
    },
    CheckSession {
        proof: Proof,
    },
    CloseSession {
        proof: Proof,
    },
    FindSession {
        token: SessionToken,
    },
    Grant {
        proof: Proof,
        step: GrantStep,
    },
    Grants {
        proof: Proof,
    },
    BackupKey {
        proof: Proof,
        reason: String,
    },
    CopyKeys {
        proof: Proof,
        after: Option<(String, Vec<u8>)>,
    },
    CopyLedger {
        proof: Proof,
        from: u64,
    },
    ShowPayload {
        proof: Proof,
        organization: OrganizationId,
        payload: WirePayload,
        reason: String,
    },
    RecoverAdministrator {
        secret: SecretBytes,
        principal: PrincipalId,
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

/// Password and TOTP secret; empty for systems.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct WireSecrets {
    pub password: Zeroizing<String>,
    pub totp_secret: Zeroizing<String>,
}

impl std::fmt::Debug for WireSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WireSecrets([secret])")
    }
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Refused(Refused),
    Done,
    Organization(WireOrganization),
    ServiceKeys(WireServiceKeys),
    /// What opens each payload that was named, in that order; nothing for one that
    /// does not open.
    Inbox(Vec<Option<WireContent>>),
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
    Secrets(WireSecrets),
    Opened {
        token: SessionToken,
        facts: SessionFacts,
    },
    Session(SessionFacts),
    Found(Option<SessionId>),
    Grant(RequestId),
    Grants(Vec<BulkGrant>),
}

/// Why a frame was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    TooLarge,
    TooShort,
    OtherVersion(u8),
    Body,
}

impl FrameError {
    pub fn what(self) -> &'static str {
        match self {
            Self::TooLarge => "a frame is too large",
            Self::TooShort => "a frame is too short",
            Self::OtherVersion(_) => "it has another version",
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
        return Err(FrameError::OtherVersion(version));
    }
    let (id, body) = rest.split_first_chunk::<8>().ok_or(FrameError::TooShort)?;
    let body = match postcard::take_from_bytes::<T>(body) {
        Ok((body, [])) => Ok(body),
        Ok(_) | Err(_) => Err(FrameError::Body),
    };
    Ok((u64::from_be_bytes(*id), body))
}

#[cfg(test)]
mod tests {
    use holdfast_base::{ClassSet, Purpose};
    use proptest::prelude::*;

    use super::*;
    use crate::asked::PopulationQuestion;
    use crate::population::{Condition, Range};
    use crate::process::rotation::Change;

    fn id<T: std::str::FromStr>(text: &str) -> T {
        text.parse().unwrap_or_else(|_| panic!("{text} is valid"))
    }

    /// One of every kind, and of some kinds more.
    fn every_request() -> Vec<Request> {
        let proof = || Proof::session(SessionToken::random(), Some("192.0.2.7"));
        let set_up = Proof::set_up(id("set-up:me"));
        let (organization, principal) = (|| id("lakeside"), || id("dr.okafor@lakeside"));
        let reason = || "own-organization".to_owned();
        let request = RequestId::from_bytes([1; 16]);
        let release = ReleaseRequest {
            proof: proof(),
            request,
            organization: organization(),
            patients: vec![PatientId::from_bytes([3; 16]); 3],
            classes: ClassSet::ALL,
            purpose: Purpose::Treatment,
            reason: reason(),
            create_missing: false,
        };
        let payload = WirePayload { message: 7, place: b"inbox".to_vec(), sealed: vec![2; 90] };
        let new = |certificate| NewPrincipal {
            id: principal(),
            organization: organization(),
            role: "clinician".to_owned(),
            certificate,
        };
        let imported = ImportedPrincipal {
            principal: new(None),
            password_hash: Some("x".to_owned()),
            totp_secret: Some("y".to_owned()),
        };
        let sign_in = WireSignIn {
            name: "dr.okafor".to_owned(),
            password: Zeroizing::new("correct horse".to_owned()),
            code: "123456".to_owned(),
            address: None,
        };
        let proposal = GrantProposal {
            organization: organization(),
            account: principal(),
            patients_max: 9,
            until: holdfast_base::Timestamp::from_millis(8),
            reason: reason(),
        };
        let everything = Range { from: vec![1; 20], to: vec![2; 20], checks: Vec::new() };
        let question = PopulationQuestion {
            organization: organization(),
            conditions: vec![Condition { excludes: false, ranges: vec![everything.clone()] }],
            everything,
            classes: ClassSet::ALL,
            as_of: 7,
            runs: Vec::new(),
            deltas: Vec::new(),
            page: Some((0, 10)),
        };
        let search = PopulationSearch {
            proof: proof(),
            request,
            resource_type: "Observation".to_owned(),
            parameters: vec!["code".to_owned()],
            purpose: Purpose::Treatment,
            question,
        };
        let merge = PopulationMerge {
            organization: organization(),
            runs: Vec::new(),
            deltas: Vec::new(),
            output: [4; 16],
            step: 1,
            first_block: 2,
            first_piece: 3,
        };
        let filter = Filter { kinds: vec!["access".to_owned()], ..Filter::default() };
        let budget = Budget::new(1, 2, 3);
        let (whose, patient) =
            (BudgetOwner::Organization(organization()), PatientId::from_bytes([3; 16]));
        vec![
            Request::CreateOrganization { proof: set_up, organization: organization() },
            Request::ServiceKeys { reason: reason() },
            Request::OpenInbox {
                organization: organization(),
                payloads: vec![payload.clone()],
                reason: reason(),
            },
            Request::Release(ReleaseRequest { proof: Proof::front(), ..release.clone() }),
            Request::Release(release),
            Request::Append { entries: vec![b"{}".to_vec()] },
            Request::Query { filter: filter.clone(), after: Some(3), limit: 9 },
            Request::Forget {
                proof: proof(),
                organization: organization(),
                patient,
                reason: reason(),
            },
            Request::SetBudget { proof: proof(), whose, budget, reason: reason() },
            Request::Suspend { proof: proof(), principal: principal(), reason: reason() },
            Request::Lift { proof: proof(), principal: principal(), reason: reason() },
            Request::Status,
            Request::ExportBundle { filter, seen: vec![1, 2] },
            Request::LastStoreCommit,
            Request::Enrol { proof: proof(), new: new(Some([9; 32])) },
            Request::Import { principals: vec![imported] },
            Request::ResetSecrets { proof: proof(), principal: principal(), certificate: None },
            Request::ClosePrincipal { proof: proof(), principal: principal() },
            Request::OpenSession(sign_in),
            Request::Vouch { certificate: [9; 32], address: Some("192.0.2.7".to_owned()) },
            Request::CheckSession { proof: proof() },
            Request::CloseSession { proof: proof() },
            Request::FindSession { token: SessionToken::random() },
            Request::Grant { proof: proof(), step: GrantStep::Propose(proposal) },
            Request::Grant { proof: proof(), step: GrantStep::Approve(request) },
            Request::Grant { proof: proof(), step: GrantStep::Revoke(request, reason()) },
            Request::Grants { proof: proof() },
            Request::Keys(KeysRequest::Status),
            Request::BackupKey { proof: proof(), reason: reason() },
            Request::CopyKeys { proof: proof(), after: Some(("named".to_owned(), vec![1])) },
            Request::CopyLedger { proof: proof(), from: 7 },
            Request::ShowPayload {
                proof: proof(),
                organization: organization(),
                payload: payload.clone(),
                reason: reason(),
            },
            Request::RecoverAdministrator {
                secret: SecretBytes::of(b"correct horse"),
                principal: principal(),
            },
            Request::Keys(KeysRequest::Change {
                secret: SecretBytes::of(b"correct horse"),
                change: Change::Escrow { needed: 2, shares: 3 },
                reason: reason(),
            }),
            Request::Population(PopulationRequest::Search(Box::new(search))),
            Request::Population(PopulationRequest::Merge(merge)),
            Request::Population(PopulationRequest::Supply { handle: 3, rows: vec![vec![1; 40]] }),
            Request::Touched { filter: Filter::default() },
            Request::Public(PublicRequest::ProveInclusion { index: 7, size: Some(9) }),
            Request::ExportBundleWith {
                filter: Filter::default(),
                options: ExportOptions::default(),
            },
        ]
    }

    /// Fails to compile when a kind of request is new and not in `every_request`.
    #[test]
    fn every_kind_of_request_is_tried() {
        let kind = |request: &Request| match request {
            Request::CreateOrganization { .. } => 0,
            Request::ServiceKeys { .. } => 1,
            Request::OpenInbox { .. } => 2,
            Request::Release(_) => 3,
            Request::Append { .. } => 4,
            Request::Query { .. } => 5,
            Request::Forget { .. } => 6,
            Request::SetBudget { .. } => 7,
            Request::Suspend { .. } => 8,
            Request::Lift { .. } => 9,
            Request::Status => 10,
            Request::ExportBundle { .. } => 11,
            Request::LastStoreCommit => 12,
            Request::Enrol { .. } => 13,
            Request::Import { .. } => 14,
            Request::ResetSecrets { .. } => 15,
            Request::ClosePrincipal { .. } => 16,
            Request::OpenSession(_) => 17,
            Request::Vouch { .. } => 18,
            Request::CheckSession { .. } => 19,
            Request::CloseSession { .. } => 20,
            Request::FindSession { .. } => 21,
            Request::Grant { .. } => 22,
            Request::Grants { .. } => 23,
            Request::Keys(_) => 24,
            Request::Touched { .. } => 25,
            Request::Public(_) => 26,
            Request::ExportBundleWith { .. } => 27,
            Request::Population(_) => 28,
            Request::BackupKey { .. } => 29,
            Request::CopyKeys { .. } => 30,
            Request::CopyLedger { .. } => 31,
            Request::ShowPayload { .. } => 32,
            Request::RecoverAdministrator { .. } => 33,
        };
        let kinds: std::collections::BTreeSet<i32> = every_request().iter().map(kind).collect();
        assert_eq!(kinds, (0..34).collect());
    }

    #[test]
    fn a_frame_gives_back_what_went_in() {
        for request in every_request() {
            let frame = encode(42, &request).expect("encodes");
            assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
            let (id, body) = decode::<Request>(&frame[4..]).expect("decodes");
            assert_eq!((id, body), (42, Ok(request)));
        }
    }

    #[test]
    fn no_request_prints_a_secret() {
        for request in every_request() {
            let printed = format!("{request:?}");
            assert!(!printed.contains("correct horse"), "{printed}");
        }
    }

    /// Every byte of every request, changed in three ways, and every cut.
    #[test]
    fn a_mutated_request_of_any_kind_never_panics() {
        for request in every_request() {
            let frame = encode(1, &request).expect("encodes");
            for at in 4..frame.len() {
                for change in [1, 0x80, 0xff] {
                    let mut changed = frame.to_vec();
                    changed[at] ^= change;
                    let _ = decode::<Request>(&changed[4..]);
                    let _ = decode::<Answer>(&changed[4..]);
                }
                let cut = decode::<Request>(&frame[4..at]);
                assert!(!matches!(cut, Ok((_, Ok(_)))), "a cut request is none: {request:?}");
            }
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut frame = encode(1, &Request::Status).expect("encodes");
        frame[4] = VERSION + 1;
        let refused = decode::<Request>(&frame[4..]).expect_err("refused");
        assert_eq!(refused, FrameError::OtherVersion(VERSION + 1));
    }

    #[test]
    fn what_is_left_over_after_a_body_is_refused() {
        let mut frame = encode(1, &Request::Status).expect("encodes");
        frame.push(0);
        assert_eq!(decode::<Request>(&frame[4..]), Ok((1, Err(FrameError::Body))));
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
        fn a_damaged_request_never_panics(
            kind in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let requests = every_request();
            let mut frame = encode(1, kind.get(&requests)).expect("encodes");
            let at = at.index(frame.len());
            frame[at] = byte;
            let _ = decode::<Request>(&frame[4..]);
            let _ = decode::<Request>(&frame[4..at.max(4)]);
        }
    }
}
