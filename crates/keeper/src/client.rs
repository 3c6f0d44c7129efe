//! The front process's side: asks the keeper, and fails closed when it is away.
//!
//! One connection, many requests at once, told apart by id. The connection is
//! made when it is needed and made anew when it broke; a request that was under
//! way then fails with [`KeeperError::Unreachable`] and is not repeated, because
//! an append must not happen twice unnoticed.

mod people;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_base::{CommitNumber, LedgerIndex, OrganizationId, PatientId, PrincipalId};
use holdfast_ledger::{Entry, ExportOptions, Filter, Placed, TouchedRecord};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::asked::ReleaseRequest;
use crate::budget::Budget;
use crate::error::{KeeperError, Malformed, Refused};
use crate::frames::{FrameReader, write_frames};
use crate::inbox::{InboxSealer, KeptPayload};
use crate::net::KeeperAddress;
use crate::people::Proof;
use crate::population::DeltaSealer;
use crate::process::KeyRows;
use crate::process::rotation::{KeysAnswer, KeysRequest};
use crate::protocol::{
    Answer, BudgetOwner, FrameError, KeeperStatus, Request, VERSION, WireOrganization, decode,
    encode,
};
use crate::sealing::{PatientKeys, SystemKey};
use crate::tokens::TokenKey;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long each part of a bundle or of a query's answer may take.
const TIMEOUT_LONG: Duration = Duration::from_secs(60);
/// Frames that wait to be written; a caller beyond that waits.
const WRITE_QUEUE_MAX: usize = 256;
/// Entries asked for in one round of a query.
const QUERY_ROUND: usize = 10_000;
/// A bundle larger than this is not taken into memory.
const BUNDLE_BYTES_MAX: usize = 1 << 30;

/// The keys of an organization that the front process holds. None opens a record.
#[derive(Debug, Clone)]
pub struct OrganizationKeys {
    /// Makes equality tokens of resource ids and message ids.
    pub token: TokenKey,
    /// Seals inbound payloads.
    pub inbox: InboxSealer,
    /// Seals what transactions change in the population index.
    pub population: DeltaSealer,
}

/// The keys that a front process holds from its start. None opens a patient's record.
#[derive(Debug)]
pub struct ServiceKeys {
    /// Seals accounts, links, incidents, outbox rows.
    pub system: SystemKey,
    /// Seals matching features, and makes their tokens.
    pub mpi: (SystemKey, TokenKey),
    /// By organization.
    pub organizations: HashMap<OrganizationId, OrganizationKeys>,
}

/// A connection to the keeper. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct KeeperClient(Arc<Shared>);

struct Shared {
    address: KeeperAddress,
    timeout: Duration,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
    next_id: AtomicU64,
}

impl std::fmt::Debug for KeeperClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.address {
            KeeperAddress::Unix { socket, .. } => write!(f, "KeeperClient({})", socket.display()),
            KeeperAddress::Tcp { address, .. } => write!(f, "KeeperClient({address})"),
        }
    }
}

impl KeeperClient {
    /// A client of the keeper at `address`, or on a socket of the same user. Connects
    /// when it is first asked for something.
    pub fn new(address: impl Into<KeeperAddress>) -> Self {
        Self::with_timeout(address, TIMEOUT)
    }

    /// As [`new`](Self::new), with another limit to how long an answer may take.
    pub fn with_timeout(address: impl Into<KeeperAddress>, timeout: Duration) -> Self {
        Self(Arc::new(Shared {
            address: address.into(),
            timeout,
            connection: tokio::sync::Mutex::default(),
            next_id: AtomicU64::new(1),
        }))
    }

    /// Makes the organization's keys, or gives those that exist. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn create_organization(
        &self,
        proof: &Proof,
        organization: &OrganizationId,
    ) -> Result<OrganizationKeys, KeeperError> {
        let (proof, organization) = (proof.clone(), organization.clone());
        match self.ask(Request::CreateOrganization { proof, organization }).await? {
            Answer::Organization(keys) => Ok(keys.into()),
            other => Err(unexpected(other)),
        }
    }

    /// The service keys. The entries are durable before they leave the keeper.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn service_keys(&self, reason: &str) -> Result<ServiceKeys, KeeperError> {
        let reason = reason.to_owned();
        match self.ask(Request::ServiceKeys { reason }).await? {
            Answer::ServiceKeys(keys) => Ok(ServiceKeys {
                system: SystemKey::new(keys.system),
                mpi: (SystemKey::new(keys.mpi_seal), TokenKey::new(&keys.mpi_token)),
                organizations: keys
                    .organizations
                    .into_iter()
                    .map(|keys| (keys.organization.clone(), keys.into()))
                    .collect(),
            }),
            other => Err(unexpected(other)),
        }
    }

    /// Opens kept payloads of an organization: those that are named and no others. An
    /// entry for each is durable first, and each counts in the inbox's budget. Nothing
    /// stands for a payload that does not open.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn open_inbox(
        &self,
        organization: &OrganizationId,
        kept: &[KeptPayload<'_>],
        reason: &str,
    ) -> Result<Vec<Option<Zeroizing<Vec<u8>>>>, KeeperError> {
        let request = Request::OpenInbox {
            organization: organization.clone(),
            payloads: kept.iter().map(|kept| kept.to_wire()).collect(),
            reason: reason.to_owned(),
        };
        match self.ask(request).await? {
            Answer::Inbox(contents) if contents.len() == kept.len() => {
                let opened = kept.iter().zip(contents);
                let open = |(kept, content): (&KeptPayload<'_>, Option<_>)| {
                    content.and_then(|content| kept.open(organization, content).ok())
                };
                Ok(opened.map(open).collect())
            }
            other => Err(unexpected(other)),
        }
    }

    /// Opens one kept payload for a person who looks at it. The entry, under the person's
    /// name, is durable first, and the payload counts as a patient in their budget.
    /// Nothing when it does not open.
    ///
    /// # Errors
    /// [`KeeperError::NotPermitted`] unless a privacy officer of the organization that
    /// sent it asks; [`KeeperError::OverBudget`].
    pub async fn show_payload(
        &self,
        proof: &Proof,
        organization: &OrganizationId,
        kept: KeptPayload<'_>,
        reason: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KeeperError> {
        let request = Request::ShowPayload {
            proof: proof.clone(),
            organization: organization.clone(),
            payload: kept.to_wire(),
            reason: reason.to_owned(),
        };
        match self.ask(request).await? {
            Answer::Inbox(mut contents) if contents.len() == 1 => {
                let content = contents.pop().flatten();
                Ok(content.and_then(|content| kept.open(organization, content).ok()))
            }
            other => Err(unexpected(other)),
        }
    }

    /// The class keys of some patients, in the order they were asked for: all of
    /// them or none. One `key-release` entry for each is durable before any key
    /// leaves the keeper.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn release(&self, request: &ReleaseRequest) -> Result<Vec<PatientKeys>, KeeperError> {
        let ReleaseRequest { organization, patients, classes, .. } = request;
        match self.ask(Request::Release(request.clone())).await? {
            Answer::Released(keys) if keys.len() == patients.len() => {
                let keys = patients.iter().zip(keys).map(|(patient, secrets)| {
                    PatientKeys::new(organization.clone(), *patient, *classes, secrets)
                });
                Ok(keys.collect())
            }
            other => Err(unexpected(other)),
        }
    }

    /// Appends entries, one after the other without another's between them.
    /// Durable on return. Not safe to repeat blindly: after
    /// [`KeeperError::Unreachable`] they may be in the ledger.
    ///
    /// # Errors
    /// [`KeeperError::EntryRefused`] for kinds that only the keeper writes;
    /// nothing was appended then.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Range<u64>, KeeperError> {
        let entries = entries.iter().map(serde_json::to_vec).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|_| Refused::from(Malformed::Entry))?;
        match self.ask(Request::Append { entries }).await? {
            Answer::Appended { start, end } => Ok(start..end),
            other => Err(unexpected(other)),
        }
    }

    /// The first `limit` entries after `after` that match, in ascending order.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn query(
        &self,
        filter: &Filter,
        after: Option<LedgerIndex>,
        limit: usize,
    ) -> Result<Vec<Placed>, KeeperError> {
        let mut found: Vec<Placed> = Vec::new();
        let mut after = after.map(|index| index.0);
        while found.len() < limit {
            let round = (limit - found.len()).min(QUERY_ROUND);
            let request = Request::Query { filter: filter.clone(), after, limit: round as u64 };
            let mut answers = self.begin(request).await?;
            let Answer::Entries { entries, more } = answers.next(TIMEOUT_LONG).await? else {
                return Err(KeeperError::Protocol { what: "an unexpected answer" });
            };
            for (index, json) in entries {
                let entry = serde_json::from_slice(&json)
                    .map_err(|_| KeeperError::Protocol { what: "an unknown ledger entry" })?;
                found.push(Placed { index: LedgerIndex(index), entry });
                after = Some(index);
            }
            if !more {
                break;
            }
        }
        Ok(found)
    }

    /// Whose records the entries that match touched, and how: what a scope consists
    /// of, without the entries.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn touched(&self, filter: &Filter) -> Result<Vec<TouchedRecord>, KeeperError> {
        let mut answers = self.begin(Request::Touched { filter: filter.clone() }).await?;
        let mut records = Vec::new();
        loop {
            match answers.next(TIMEOUT_LONG).await? {
                Answer::Part { last: true, .. } => return Ok(records),
                Answer::Part { bytes, last: false } => {
                    let part: Vec<TouchedRecord> = postcard::from_bytes(&bytes)
                        .map_err(|_| KeeperError::Protocol { what: "an unknown touched record" })?;
                    records.extend(part);
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Destroys the patient's key: what it sealed can never be opened again. In
    /// the ledger. Idempotent.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn forget(
        &self,
        proof: &Proof,
        organization: &OrganizationId,
        patient: PatientId,
        reason: &str,
    ) -> Result<(), KeeperError> {
        let (proof, organization) = (proof.clone(), organization.clone());
        let reason = reason.to_owned();
        self.done(Request::Forget { proof, organization, patient, reason }).await
    }

    /// Gives a principal a budget of its own, instead of its role's, or an organization
    /// one instead of the default. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError`]; nobody raises his own.
    pub async fn set_budget(
        &self,
        proof: &Proof,
        whose: &BudgetOwner,
        budget: Budget,
        reason: &str,
    ) -> Result<(), KeeperError> {
        let (proof, whose, reason) = (proof.clone(), whose.clone(), reason.to_owned());
        self.done(Request::SetBudget { proof, whose, budget, reason }).await
    }

    /// Suspends `principal`: its sessions end, and no key is released to it until it is
    /// lifted. In the ledger, and in force after a restart.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn suspend(
        &self,
        proof: &Proof,
        principal: &PrincipalId,
        reason: &str,
    ) -> Result<(), KeeperError> {
        let (proof, principal, reason) = (proof.clone(), principal.clone(), reason.to_owned());
        self.done(Request::Suspend { proof, principal, reason }).await
    }

    /// Lifts a suspension. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError`]; nobody lifts his own.
    pub async fn lift(
        &self,
        proof: &Proof,
        principal: &PrincipalId,
        reason: &str,
    ) -> Result<(), KeeperError> {
        let (proof, principal, reason) = (proof.clone(), principal.clone(), reason.to_owned());
        self.done(Request::Lift { proof, principal, reason }).await
    }

    /// The state of the keeper.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn status(&self) -> Result<KeeperStatus, KeeperError> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(other)),
        }
    }

    /// An evidence bundle of the entries that match: verifies offline.
    ///
    /// `seen` names sizes of the ledger that its verifiers saw before: the bundle
    /// proves that it is consistent with each.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn export_bundle(
        &self,
        filter: &Filter,
        seen: &[u64],
    ) -> Result<Vec<u8>, KeeperError> {
        let options = ExportOptions { seen: seen.to_vec(), ..ExportOptions::default() };
        self.export_bundle_with(filter, &options).await
    }

    /// As [`export_bundle`](Self::export_bundle), as `options` say.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn export_bundle_with(
        &self,
        filter: &Filter,
        options: &ExportOptions,
    ) -> Result<Vec<u8>, KeeperError> {
        let (filter, options) = (filter.clone(), options.clone());
        let request = Request::ExportBundleWith { filter, options };
        let mut answers = self.begin(request).await?;
        let mut bundle = Vec::new();
        loop {
            match answers.next(TIMEOUT_LONG).await? {
                Answer::Part { bytes, last } => {
                    bundle.extend_from_slice(&bytes);
                    if last {
                        return Ok(bundle);
                    }
                    if bundle.len() > BUNDLE_BYTES_MAX {
                        return Err(Refused::from(Malformed::TooLarge).into());
                    }
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    /// The last state of the store that the ledger knows: transaction number and
    /// chain value.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn last_store_commit(&self) -> Result<Option<(CommitNumber, String)>, KeeperError> {
        match self.ask(Request::LastStoreCommit).await? {
            Answer::Commit(commit) => Ok(commit),
            other => Err(unexpected(other)),
        }
    }

    /// The key that backups are sealed under, with the rows that the root key makes
    /// it of. The entry is durable first.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn backup_key(
        &self,
        proof: &Proof,
        reason: &str,
    ) -> Result<(SystemKey, KeyRows), KeeperError> {
        let reason = reason.to_owned();
        match self.ask(Request::BackupKey { proof: proof.clone(), reason }).await? {
            Answer::BackupKey { keys, wrapped } => Ok((SystemKey::new(keys), wrapped)),
            other => Err(unexpected(other)),
        }
    }

    /// Some rows of the key table after the row `after`, wrapped as they are, and
    /// whether they are the last ones. Ask on from the last row's keyspace and key.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn copy_keys(
        &self,
        proof: &Proof,
        after: Option<(String, Vec<u8>)>,
    ) -> Result<(KeyRows, bool), KeeperError> {
        let mut answers = self.begin(Request::CopyKeys { proof: proof.clone(), after }).await?;
        match answers.next(TIMEOUT_LONG).await? {
            Answer::Part { bytes, last } => {
                let rows = postcard::from_bytes(&bytes);
                let what = "the rows of the key table have another form";
                Ok((rows.map_err(|_| KeeperError::Protocol { what })?, last))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Some sealed records of the ledger from index `from` on, and the index after
    /// them; no records when there are none.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn copy_ledger(
        &self,
        proof: &Proof,
        from: u64,
    ) -> Result<(Vec<u8>, u64), KeeperError> {
        let mut answers = self.begin(Request::CopyLedger { proof: proof.clone(), from }).await?;
        match answers.next(TIMEOUT_LONG).await? {
            Answer::Part { mut bytes, .. } if bytes.len() >= 8 => {
                let records = bytes.split_off(8);
                let next = bytes.try_into().map_or(from, u64::from_be_bytes);
                Ok((records, next))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Asks about or changes keys.
    pub(crate) async fn keys(
        &self,
        request: KeysRequest,
        timeout: Duration,
    ) -> Result<KeysAnswer, KeeperError> {
        match self.begin(Request::Keys(request)).await?.next(timeout).await? {
            Answer::Keys(answer) => Ok(answer),
            other => Err(unexpected(other)),
        }
    }

    async fn done(&self, request: Request) -> Result<(), KeeperError> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, KeeperError> {
        let timeout = self.0.timeout;
        let asked = async { self.begin(request).await?.next(timeout).await };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Err(KeeperError::TimedOut))
    }

    /// Sends `request`; its answers come through what is returned.
    async fn begin(&self, request: Request) -> Result<Answers, KeeperError> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = encode(id, &request).map_err(|error| match error {
            FrameError::TooLarge => KeeperError::from(Refused::from(Malformed::TooLarge)),
            other => KeeperError::Protocol { what: other.what() },
        })?;
        // A keeper that hangs must not hang whoever waits in line for it.
        let sending = async {
            let connection = self.connection().await?;
            let answers = connection.expect_answers(id)?;
            connection.frames.send(frame).await.map_err(|_| KeeperError::Unreachable)?;
            Ok(answers)
        };
        let sent = tokio::time::timeout(self.0.timeout, sending).await;
        sent.unwrap_or(Err(KeeperError::TimedOut))
    }

    /// The connection, made anew when there is none that works.
    async fn connection(&self) -> Result<Arc<Connection>, KeeperError> {
        let mut slot = self.0.connection.lock().await;
        if let Some(connection) = slot.as_ref()
            && connection.is_open()
        {
            return Ok(Arc::clone(connection));
        }
        let connecting = tokio::time::timeout(self.0.timeout, connect(&self.0.address));
        let connection = Arc::new(connecting.await.map_err(|_| KeeperError::TimedOut)??);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

/// Connects to a keeper that is who it should be.
async fn connect(address: &KeeperAddress) -> Result<Connection, KeeperError> {
    match address {
        KeeperAddress::Unix { socket, keeper_uid } => {
            let stream = UnixStream::connect(socket).await;
            let stream = stream.map_err(|_| KeeperError::Unreachable)?;
            let uid = keeper_uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
            if !stream.peer_cred().is_ok_and(|peer| peer.uid() == uid) {
                return Err(KeeperError::Protocol { what: "it runs as another user" });
            }
            let (reader, writer) = stream.into_split();
            Ok(Connection::start(reader, writer))
        }
        KeeperAddress::Tcp { address, identity } => {
            let unusable = |_| KeeperError::Protocol { what: "the certificates cannot be used" };
            let connector = tokio_rustls::TlsConnector::from(identity.client().map_err(unusable)?);
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = rustls::pki_types::ServerName::try_from(host)
                .map_err(|_| KeeperError::Protocol { what: "its address is no host name" })?;
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|_| KeeperError::Unreachable)?;
            let _ = stream.set_nodelay(true);
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|_| KeeperError::Protocol {
                what: "TLS with it failed: no certificate of the authority, or another host's",
            })?;
            let (reader, writer) = tokio::io::split(stream);
            Ok(Connection::start(reader, writer))
        }
    }
}

impl From<WireOrganization> for OrganizationKeys {
    fn from(keys: WireOrganization) -> Self {
        Self {
            token: TokenKey::new(&keys.token),
            population: DeltaSealer::new(keys.organization.clone(), keys.population_public),
            inbox: InboxSealer::new(keys.organization, keys.inbox_public),
        }
    }
}

fn unexpected(answer: Answer) -> KeeperError {
    match answer {
        Answer::Refused(refused) => refused.into(),
        _ => KeeperError::Protocol { what: "an unexpected answer" },
    }
}

type Waiting = Mutex<Option<HashMap<u64, mpsc::UnboundedSender<Answer>>>>;

/// One connection: a task that writes frames, a task that hands answers out.
struct Connection {
    frames: mpsc::Sender<Zeroizing<Vec<u8>>>,
    /// Who waits for an answer; nothing once the connection broke.
    waiting: Arc<Waiting>,
    /// The version of a keeper that speaks another one; 0: none was seen.
    other_version: Arc<AtomicU8>,
    tasks: [tokio::task::AbortHandle; 2],
}

impl Connection {
    fn start(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let (frames, queue) = mpsc::channel(WRITE_QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let other_version = Arc::new(AtomicU8::new(0));
        let reading = read_answers(reader, Arc::clone(&waiting), Arc::clone(&other_version));
        let tasks = [
            tokio::spawn(write_requests(writer, queue, Arc::clone(&waiting))).abort_handle(),
            tokio::spawn(reading).abort_handle(),
        ];
        Self { frames, waiting, other_version, tasks }
    }

    fn is_open(&self) -> bool {
        self.waiting.lock().is_some()
    }

    fn expect_answers(&self, id: u64) -> Result<Answers, KeeperError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut waiting = self.waiting.lock();
        waiting.as_mut().ok_or(KeeperError::Unreachable)?.insert(id, sender);
        let other_version = Arc::clone(&self.other_version);
        Ok(Answers { id, receiver, waiting: Arc::clone(&self.waiting), other_version })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

async fn write_requests(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Zeroizing<Vec<u8>>>,
    waiting: Arc<Waiting>,
) {
    if write_frames(&mut writer, &mut queue).await.is_ok() {
        waiting.lock().take();
    }
    // Otherwise what the keeper said last is read before it is given up.
}

async fn read_answers(
    mut reader: impl AsyncRead + Unpin,
    waiting: Arc<Waiting>,
    other_version: Arc<AtomicU8>,
) {
    let mut frames = FrameReader::new(&mut reader);
    while let Ok(Some(Ok(frame))) = frames.next().await {
        let (id, answer) = match decode::<Answer>(&frame) {
            Ok((id, Ok(answer))) => (id, answer),
            Err(FrameError::OtherVersion(theirs)) => {
                other_version.store(theirs, Ordering::SeqCst);
                break;
            }
            _ => break,
        };
        if let Some(waiting) = waiting.lock().as_ref()
            && let Some(asked) = waiting.get(&id)
        {
            // Nobody waits any more after a time-out.
            let _ = asked.send(answer);
        }
    }
    waiting.lock().take();
}

/// The answers to one request.
struct Answers {
    id: u64,
    receiver: mpsc::UnboundedReceiver<Answer>,
    waiting: Arc<Waiting>,
    other_version: Arc<AtomicU8>,
}

impl Answers {
    async fn next(&mut self, timeout: Duration) -> Result<Answer, KeeperError> {
        match tokio::time::timeout(timeout, self.receiver.recv()).await {
            Ok(Some(Answer::Refused(refused))) => Err(refused.into()),
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(match self.other_version.load(Ordering::SeqCst) {
                0 => KeeperError::Unreachable,
                theirs => KeeperError::OtherVersion { theirs, ours: VERSION },
            }),
            Err(_) => Err(KeeperError::TimedOut),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.lock().as_mut() {
            waiting.remove(&self.id);
        }
    }
}
