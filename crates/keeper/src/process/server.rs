//! Connections: reads frames, runs every request as a task of its own, writes
//! answers as they come. Decides nothing: that is the scribe's.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{OrganizationId, PatientId};
use holdfast_ledger::{Entry, ExportOptions, Filter, Ledger};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::acts::{Claim, Claimant, is_keepers_own};
use super::copy;
use super::payloads::Showing;
use super::release::{LookedUp, Release};
use super::rotation::{self, Custody, SecretBytes};
use super::scribe::{Job, Outcome, Task};
use super::sign_in::{Door, open_session};
use super::{StartError, population};
use crate::asked::ReleaseRequest;
use crate::error::{Malformed, Refused};
use crate::frames::{FrameReader, write_frames};
use crate::inbox;
use crate::keyring::Keys;
use crate::people::{ImportedPrincipal, Kind, NewPrincipal, PrincipalRow, Proof, Who};
use crate::population::Desk;
use crate::protocol::{
    Answer, ENTRIES_COUNT_MAX, FrameError, GrantStep, IMPORT_COUNT_MAX, KeeperStatus, PART_BYTES,
    PATIENTS_COUNT_MAX, PAYLOADS_COUNT_MAX, REASON_BYTES_MAX, Request, SHOWN_BYTES_MAX, VERSION,
    WireOrganization, WirePayload, WireSecrets, WireServiceKeys, decode, encode_sized,
};
use crate::public;
use crate::table::{KeyTable, Organization};

/// Requests of one connection under way; beyond that, its frames wait.
const IN_FLIGHT_MAX: usize = 1_024;
/// Answers that wait to be written.
const WRITE_QUEUE_MAX: usize = 64;
/// Connections at once: front processes are few.
const CONNECTIONS_MAX: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the last answers to a peer that sends no more may take.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Up to so many patients, looking up and deriving is not worth another thread.
const INLINE_PATIENTS_MAX: usize = 4;

pub(super) struct Shared {
    ledger: Arc<Ledger>,
    pub table: Arc<KeyTable>,
    custody: Arc<Custody>,
    pub door: Door,
    jobs: mpsc::Sender<Job>,
    pub desk: Desk<Box<population::Asking>>,
}

/// Where a keeper hears.
pub(super) struct Listeners {
    pub unix: UnixListener,
    /// Who is heard there besides the keeper's own user.
    pub front_uid: Option<u32>,
    pub tcp: Option<(TcpListener, tokio_rustls::TlsAcceptor)>,
}

/// The listening side of a keeper.
pub(super) struct Server(Arc<Shared>);

impl Server {
    pub fn new(
        ledger: Arc<Ledger>,
        table: Arc<KeyTable>,
        custody: Arc<Custody>,
        door: Door,
        jobs: mpsc::Sender<Job>,
    ) -> Self {
        Self(Arc::new(Shared { ledger, table, custody, door, jobs, desk: Desk::default() }))
    }

    /// Serves every connection of who may be heard. Connections end with the future.
    pub async fn serve(&self, listeners: Listeners) -> Result<(), StartError> {
        let Listeners { unix, front_uid, tcp } = listeners;
        let own_uid = rustix::process::geteuid().as_raw();
        let mut connections = JoinSet::new();
        let tcp_accept = async || match &tcp {
            Some((listener, acceptor)) => {
                listener.accept().await.map(|(stream, _)| (stream, acceptor.clone()))
            }
            None => std::future::pending().await,
        };
        // Out of file handles, most likely: let others finish.
        let breathe = || tokio::time::sleep(Duration::from_millis(50));
        loop {
            tokio::select! {
                accepted = unix.accept() => {
                    let Ok((stream, _)) = accepted else { breathe().await; continue };
                    let heard = |uid| uid == own_uid || Some(uid) == front_uid;
                    if !stream.peer_cred().is_ok_and(|peer| heard(peer.uid())) {
                        tracing::error!("a connection of another user was refused");
                    } else if connections.len() < CONNECTIONS_MAX {
                        let (reader, writer) = stream.into_split();
                        connections.spawn(serve_connection(Arc::clone(&self.0), reader, writer));
                    }
                }
                accepted = tcp_accept() => {
                    let Ok((stream, acceptor)) = accepted else { breathe().await; continue };
                    if connections.len() < CONNECTIONS_MAX {
                        connections.spawn(serve_tls(Arc::clone(&self.0), stream, acceptor));
                    }
                }
                Some(_) = connections.join_next() => {}
                () = self.0.jobs.closed() => {
                    return Err(StartError::Stopped { what: "its writing thread failed" });
                }
            }
        }
    }
}

async fn serve_tls(
    shared: Arc<Shared>,
    stream: tokio::net::TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
) {
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let (reader, writer) = tokio::io::split(stream);
            serve_connection(shared, reader, writer).await;
        }
        _ => tracing::error!("a connection without a certificate of the authority was refused"),
    }
}

type Frames = mpsc::Sender<Zeroizing<Vec<u8>>>;

async fn serve_connection(
    shared: Arc<Shared>,
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
) {
    let (frames, mut queue) = mpsc::channel::<Zeroizing<Vec<u8>>>(WRITE_QUEUE_MAX);
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    // Requests under way end with the connection; what the scribe has got by then
    // is written all the same.
    let mut requests = JoinSet::new();
    let reading = async {
        let mut frames_in = FrameReader::new(&mut reader);
        while let Ok(Some(Ok(frame))) = frames_in.next().await {
            let (id, request) = match decode::<Request>(&frame) {
                Ok(decoded) => decoded,
                Err(error) => {
                    refuse_frame(error, &frames).await;
                    return;
                }
            };
            while requests.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
            let (shared, frames) = (Arc::clone(&shared), frames.clone());
            requests.spawn(async move {
                let _permit = permit;
                let reply = Reply { id, frames };
                let answered = match request {
                    Ok(request) => answer(&shared, request, &reply).await,
                    Err(_) => Err(Malformed::Request.into()),
                };
                if let Err(refused) = answered {
                    reply.send(&Answer::Refused(refused), 0).await;
                }
            });
        }
    };
    let writing = write_frames(&mut writer, &mut queue);
    tokio::pin!(writing);
    tokio::select! { () = reading => drop(frames), _ = &mut writing => return }
    requests.shutdown().await;
    // The last word to a peer of another version, and what was answered by now.
    let _ = tokio::time::timeout(LAST_WORD, writing).await;
}

/// A peer of another version is told so, in a frame that says which version this is.
async fn refuse_frame(error: FrameError, frames: &Frames) {
    let FrameError::OtherVersion(theirs) = error else { return };
    tracing::error!(
        theirs,
        ours = VERSION,
        "a front process of another protocol version was refused: run the same version of \
         Holdfast on both sides"
    );
    if let Ok(frame) = encode_sized(0, &Answer::Refused(Malformed::Request.into()), 64) {
        let _ = frames.send(frame).await;
    }
}

/// Where the answers to one request go.
struct Reply {
    id: u64,
    frames: Frames,
}

impl Reply {
    /// Sends one frame; `false` when nobody listens any more.
    async fn send(&self, answer: &Answer, size_hint: usize) -> bool {
        match encode_sized(self.id, answer, size_hint + 256) {
            Ok(frame) => self.frames.send(frame).await.is_ok(),
            Err(_) => {
                let refused = Answer::Refused(Malformed::TooLarge.into());
                match encode_sized(self.id, &refused, 64) {
                    Ok(frame) => self.frames.send(frame).await.is_ok(),
                    Err(_) => false,
                }
            }
        }
    }
}

async fn answer(shared: &Arc<Shared>, request: Request, reply: &Reply) -> Result<(), Refused> {
    let answered = match request {
        Request::Release(asked) => {
            let (patients_count, classes) = (asked.patients.len(), asked.classes);
            let keys = shared.release(asked).await?;
            let derive = move || -> Vec<Vec<Keys>> {
                let labels: Vec<String> = classes.iter().map(class_label).collect();
                keys.iter().map(|key| key.derive_all(&labels)).collect()
            };
            let few = patients_count <= INLINE_PATIENTS_MAX;
            let released = if few { derive() } else { blocking(move || Ok(derive())).await? };
            let released = Answer::Released(released);
            let size = patients_count * (2 + 40 * classes.iter().count());
            reply.send(&released, size).await;
            return Ok(());
        }
        Request::Population(asked) => Answer::Population(population::answer(shared, asked).await?),
        Request::Append { entries } => match shared.scribe(Task::Append(parse(&entries)?)).await? {
            Outcome::Appended(range) => Answer::Appended { start: range.start, end: range.end },
            _ => return Err(mixed_up()),
        },
        Request::CreateOrganization { proof, organization } => {
            let task = Task::CreateOrganization { claim: claim(proof)?, organization };
            match shared.scribe(task).await? {
                Outcome::Organization(keys) => Answer::Organization(organization_keys(&keys)),
                _ => return Err(mixed_up()),
            }
        }
        Request::ServiceKeys { reason } => {
            let task = Task::ServiceKeys { reason: checked(reason)? };
            let Outcome::Organizations(organizations) = shared.scribe(task).await? else {
                return Err(mixed_up());
            };
            let size = 128 + organizations.len() * 128;
            let keys = WireServiceKeys {
                system: shared.table.named("system")?,
                mpi_seal: shared.table.named("mpi-seal")?,
                mpi_token: shared.table.named("mpi-token")?.newest().clone(),
                organizations: organizations.iter().map(|keys| organization_keys(keys)).collect(),
            };
            reply.send(&Answer::ServiceKeys(keys), size).await;
            return Ok(());
        }
        Request::OpenInbox { organization, payloads, reason } => {
            shared.open_inbox(&organization, payloads, checked(reason)?).await?
        }
        Request::ShowPayload { proof, organization, payload, reason } => {
            shared.show_payload(claim(proof)?, &organization, payload, checked(reason)?).await?
        }
        Request::RecoverAdministrator { secret, principal } => {
            shared.recover(&secret, principal).await?
        }
        Request::Forget { proof, organization, patient, reason } => {
            let (organization, reason) = (shared.organization(&organization)?, checked(reason)?);
            let claim = claim(proof)?;
            shared.done(Task::Forget { claim, organization, patient, reason }).await?
        }
        Request::SetBudget { proof, whose, budget, reason } => {
            let (claim, reason) = (claim(proof)?, checked(reason)?);
            shared.done(Task::SetBudget { claim, whose, budget, reason }).await?
        }
        Request::Suspend { proof, principal, reason } => {
            let (claim, reason) = (claim(proof)?, checked(reason)?);
            shared.done(Task::Suspend { claim, principal, reason }).await?
        }
        Request::Lift { proof, principal, reason } => {
            let (claim, reason) = (claim(proof)?, checked(reason)?);
            shared.done(Task::Lift { claim, principal, reason }).await?
        }
        Request::Enrol { proof, new } => shared.enrol(claim(proof)?, new).await?,
        Request::Import { principals } => shared.import(principals).await?,
        Request::ResetSecrets { proof, principal, certificate } => {
            shared.reset(claim(proof)?, principal, certificate).await?
        }
        Request::ClosePrincipal { proof, principal } => {
            shared.done(Task::Close { claim: claim(proof)?, principal }).await?
        }
        Request::OpenSession(shown) => {
            let address = checked_address(shown.address.clone())?;
            open_session(shared, crate::protocol::WireSignIn { address, ..shown }).await?
        }
        Request::Vouch { certificate, address } => {
            let address = checked_address(address)?;
            match shared.scribe(Task::Vouch { certificate, address }).await? {
                Outcome::Opened(opened) => {
                    Answer::Opened { token: opened.token, facts: opened.facts }
                }
                _ => return Err(mixed_up()),
            }
        }
        Request::CheckSession { proof } => {
            match shared.scribe(Task::CheckSession { claim: claim(proof)? }).await? {
                Outcome::Session(facts) => Answer::Session(*facts),
                _ => return Err(mixed_up()),
            }
        }
        Request::CloseSession { proof } => {
            shared.done(Task::CloseSession { claim: claim(proof)? }).await?
        }
        Request::FindSession { token } => {
            match shared.scribe(Task::FindSession { digest: token.digest() }).await? {
                Outcome::Found(session) => Answer::Found(session),
                _ => return Err(mixed_up()),
            }
        }
        Request::Grant { proof, step } => {
            let step = match step {
                GrantStep::Propose(mut proposal) => {
                    proposal.reason = checked(proposal.reason)?;
                    GrantStep::Propose(proposal)
                }
                GrantStep::Revoke(grant, reason) => GrantStep::Revoke(grant, checked(reason)?),
                approve => approve,
            };
            match shared.scribe(Task::Grant { claim: claim(proof)?, step }).await? {
                Outcome::Grant(grant) => Answer::Grant(grant),
                Outcome::Done => Answer::Done,
                _ => return Err(mixed_up()),
            }
        }
        Request::Grants { proof } => {
            match shared.scribe(Task::Grants { claim: claim(proof)? }).await? {
                Outcome::Grants(grants) => Answer::Grants(grants),
                _ => return Err(mixed_up()),
            }
        }
        Request::BackupKey { proof, reason } => {
            let (claim, reason) = (claim(proof)?, Some(checked(reason)?));
            shared.scribe(Task::Backup { claim, reason }).await?;
            let table = Arc::clone(&shared.table);
            blocking(move || copy::backup_keys(&table)).await?
        }
        Request::CopyKeys { proof, after } => {
            shared.scribe(Task::Backup { claim: claim(proof)?, reason: None }).await?;
            let table = Arc::clone(&shared.table);
            blocking(move || copy::keys(&table, after)).await?
        }
        Request::CopyLedger { proof, from } => {
            shared.scribe(Task::Backup { claim: claim(proof)?, reason: None }).await?;
            let ledger = Arc::clone(&shared.ledger);
            blocking(move || copy::ledger(&ledger, from)).await?
        }
        Request::LastStoreCommit => match shared.scribe(Task::LastCommit).await? {
            Outcome::Commit(commit) => Answer::Commit(commit),
            _ => return Err(mixed_up()),
        },
        Request::Keys(asked) => Answer::Keys(shared.keys(asked).await?),
        Request::Status => Answer::Status(shared.status().await?),
        Request::Query { filter, after, limit } => shared.query(filter, after, limit).await?,
        Request::Touched { filter } => return shared.touched(filter, reply).await,
        Request::ExportBundle { filter, seen } => {
            let options = ExportOptions { seen, ..ExportOptions::default() };
            return shared.export(filter, options, reply).await;
        }
        Request::ExportBundleWith { filter, options } => {
            return shared.export(filter, options, reply).await;
        }
        Request::Public(request) => {
            let ledger = Arc::clone(&shared.ledger);
            Answer::Public(blocking(move || public::answer(&ledger, request)).await?)
        }
    };
    reply.send(&answered, 4 << 10).await;
    Ok(())
}

impl Shared {
    /// Gives `task` to the scribe and waits until what it wrote is durable.
    pub async fn scribe(&self, task: Task) -> Result<Outcome, Refused> {
        let (reply, outcome) = oneshot::channel();
        let stopped = || Refused::Ledger { reason: "the keeper is stopping".to_owned() };
        self.jobs.send(Job { task, reply }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }

    async fn done(&self, task: Task) -> Result<Answer, Refused> {
        self.scribe(task).await.map(|_| Answer::Done)
    }

    async fn enrol(&self, claim: Claim, new: NewPrincipal) -> Result<Answer, Refused> {
        let new = NewPrincipal { role: bounded(new.role)?, ..new };
        let (kind, secrets) = self.new_kind(new.certificate).await?;
        let row = Box::new(PrincipalRow::new(&new, kind, self.door.clock.now()));
        self.scribe(Task::Enrol { claim, row }).await?;
        Ok(Answer::Secrets(secrets))
    }

    async fn reset(
        &self,
        claim: Claim,
        principal: holdfast_base::PrincipalId,
        certificate: Option<[u8; 32]>,
    ) -> Result<Answer, Refused> {
        let (kind, secrets) = self.new_kind(certificate).await?;
        self.scribe(Task::Reset { claim, principal, kind }).await?;
        Ok(Answer::Secrets(secrets))
    }

    async fn new_kind(
        &self,
        certificate: Option<[u8; 32]>,
    ) -> Result<(Kind, WireSecrets), Refused> {
        match certificate {
            Some(certificate) => Ok((Kind::System { certificate }, WireSecrets::default())),
            None => self.door.make_secrets().await,
        }
    }

    async fn import(&self, principals: Vec<ImportedPrincipal>) -> Result<Answer, Refused> {
        if principals.len() > IMPORT_COUNT_MAX {
            return Err(Malformed::TooMany.into());
        }
        let now = self.door.clock.now();
        let rows = principals.iter().map(|imported| {
            let kind = Kind::imported(imported).ok_or(Malformed::Principal)?;
            Ok(PrincipalRow::new(&imported.principal, kind, now))
        });
        let rows = rows.collect::<Result<Vec<_>, Malformed>>()?;
        self.done(Task::Import { rows }).await
    }

    /// Opens kept payloads, after their entries. What does not open costs as much.
    async fn open_inbox(
        &self,
        organization: &OrganizationId,
        payloads: Vec<WirePayload>,
        reason: String,
    ) -> Result<Answer, Refused> {
        if payloads.is_empty() {
            return Err(Malformed::NothingAsked.into());
        }
        if payloads.len() > PAYLOADS_COUNT_MAX {
            return Err(Malformed::TooMany.into());
        }
        let organization = self.organization(organization)?;
        let messages = payloads.iter().map(|p| (p.message, inbox::token(p))).collect();
        let task = Task::Inbox { organization: Arc::clone(&organization), messages, reason };
        self.scribe(task).await?;
        let contents = blocking(move || {
            let private = organization.inbox_private();
            let opened = payloads.iter().map(|p| inbox::open(&organization.id, &private, p).ok());
            Ok(opened.collect())
        });
        Ok(Answer::Inbox(contents.await?))
    }

    /// Opens one kept payload for whoever may look at it, after its entry.
    async fn show_payload(
        &self,
        claim: Claim,
        organization: &OrganizationId,
        payload: WirePayload,
        reason: String,
    ) -> Result<Answer, Refused> {
        let organization = self.organization(organization)?;
        let showing = Showing {
            claim,
            organization: Arc::clone(&organization),
            message: payload.message,
            token: inbox::token(&payload),
            reason,
        };
        self.scribe(Task::ShowPayload(Box::new(showing))).await?;
        let opened = blocking(move || {
            Ok(inbox::open(&organization.id, &organization.inbox_private(), &payload).ok())
        });
        Ok(Answer::Inbox(vec![opened.await?]))
    }

    /// New secrets of an administrator, for whoever has the passphrase or PIN.
    async fn recover(
        &self,
        secret: &SecretBytes,
        principal: holdfast_base::PrincipalId,
    ) -> Result<Answer, Refused> {
        rotation::refuse_wrong_secret(&self.custody, &self.jobs, secret).await?;
        let (kind, secrets) = self.new_kind(None).await?;
        self.scribe(Task::Recover { principal, kind }).await?;
        Ok(Answer::Secrets(secrets))
    }

    pub fn organization(&self, id: &OrganizationId) -> Result<Arc<Organization>, Refused> {
        self.table.organization(id).ok_or(Refused::UnknownOrganization)
    }

    async fn release(&self, asked: ReleaseRequest) -> Result<Vec<Keys>, Refused> {
        if asked.patients.is_empty() || asked.classes.is_empty() {
            return Err(Malformed::NothingAsked.into());
        }
        if asked.patients.len() > PATIENTS_COUNT_MAX {
            return Err(Malformed::TooMany.into());
        }
        let organization = self.organization(&asked.organization)?;
        let looked_up = self.look_up(&organization, &asked.patients).await?;
        let release = Release {
            claim: claim(asked.proof)?,
            request: asked.request,
            organization,
            patients: asked.patients,
            classes: asked.classes,
            purpose: asked.purpose,
            reason: checked(asked.reason)?,
            create_missing: asked.create_missing,
            looked_up,
        };
        match self.scribe(Task::Release(release)).await? {
            Outcome::Keys(keys) => Ok(keys),
            _ => Err(mixed_up()),
        }
    }

    async fn look_up(
        &self,
        organization: &Arc<Organization>,
        patients: &[PatientId],
    ) -> Result<LookedUp, Refused> {
        if patients.len() <= INLINE_PATIENTS_MAX {
            return Ok(LookedUp::read(&self.table, organization, patients));
        }
        let (table, organization) = (Arc::clone(&self.table), Arc::clone(organization));
        let patients = patients.to_vec();
        blocking(move || Ok(LookedUp::read(&table, &organization, &patients))).await
    }

    async fn keys(
        self: &Arc<Self>,
        asked: rotation::KeysRequest,
    ) -> Result<rotation::KeysAnswer, Refused> {
        rotation::answer(&self.custody, &self.table, &self.jobs, asked).await
    }

    async fn status(&self) -> Result<KeeperStatus, Refused> {
        let Outcome::Suspended(suspended) = self.scribe(Task::Suspended).await? else {
            return Err(mixed_up());
        };
        let (ledger, table) = (Arc::clone(&self.ledger), Arc::clone(&self.table));
        blocking(move || {
            let organizations = table.organizations();
            Ok(KeeperStatus {
                ledger_size: ledger.len(),
                root: ledger.root(),
                checkpoint: ledger.checkpoint().map(|c| c.note().to_owned()).unwrap_or_default(),
                log_vkey: ledger.vkey(),
                log_second_vkey: ledger.second_vkey(),
                witnessed: ledger.witnessed().map(|c| c.note().to_owned()),
                patients_count: table.patients_count(),
                organizations: organizations.iter().map(|keys| keys.id.clone()).collect(),
                suspended,
            })
        })
        .await
    }

    /// As much of the answer as fits into a frame.
    async fn query(
        &self,
        filter: Filter,
        after: Option<u64>,
        limit: u64,
    ) -> Result<Answer, Refused> {
        /// Entries read from the ledger at once.
        const STEP: usize = 512;
        let ledger = Arc::clone(&self.ledger);
        blocking(move || {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let (mut entries, mut bytes, mut after) = (Vec::new(), 0, after);
            while entries.len() < limit {
                let step = STEP.min(limit - entries.len());
                let found = ledger
                    .query(&filter, after.map(holdfast_base::LedgerIndex), step)
                    .map_err(fault)?;
                let last_step = found.len() < step;
                for placed in found {
                    let json = serde_json::to_vec(&placed.entry).map_err(fault)?;
                    bytes += json.len() + 16;
                    after = Some(placed.index.0);
                    entries.push((placed.index.0, json));
                    if bytes >= PART_BYTES {
                        return Ok(Answer::Entries { entries, more: true });
                    }
                }
                if last_step {
                    return Ok(Answer::Entries { entries, more: false });
                }
            }
            Ok(Answer::Entries { entries, more: true })
        })
        .await
    }

    /// Sends touched records in parts.
    async fn touched(&self, filter: Filter, reply: &Reply) -> Result<(), Refused> {
        /// Records in a part: some hundred bytes each, and a few for each entry.
        const STEP: usize = 1_024;
        let ledger = Arc::clone(&self.ledger);
        let parts = blocking(move || {
            let records = ledger.touched(&filter).map_err(fault)?;
            let encode = |some| postcard::to_stdvec(&some).map_err(fault);
            records.chunks(STEP).map(encode).collect::<Result<Vec<_>, _>>()
        });
        for bytes in parts.await? {
            if !reply.send(&Answer::Part { bytes, last: false }, PART_BYTES).await {
                return Ok(());
            }
        }
        reply.send(&Answer::Part { bytes: Vec::new(), last: true }, 64).await;
        Ok(())
    }

    /// Sends a bundle in parts.
    async fn export(
        &self,
        filter: Filter,
        options: ExportOptions,
        reply: &Reply,
    ) -> Result<(), Refused> {
        let ledger = Arc::clone(&self.ledger);
        let (parts, mut queue) = mpsc::channel(2);
        let writing = tokio::task::spawn_blocking(move || {
            let mut out = Parts { part: Vec::with_capacity(PART_BYTES), parts };
            ledger.export_bundle_with(&filter, &options, &mut out).map_err(fault)?;
            Ok::<_, Refused>(out.part)
        });
        while let Some(bytes) = queue.recv().await {
            if !reply.send(&Answer::Part { bytes, last: false }, PART_BYTES).await {
                return Ok(());
            }
        }
        let bytes = writing.await.map_err(fault)??;
        reply.send(&Answer::Part { bytes, last: true }, PART_BYTES).await;
        Ok(())
    }
}

/// Cuts what is written to it into parts.
struct Parts {
    part: Vec<u8>,
    parts: mpsc::Sender<Vec<u8>>,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.part.len());
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART_BYTES {
            let full = std::mem::replace(&mut self.part, Vec::with_capacity(PART_BYTES));
            let sent = self.parts.blocking_send(full);
            sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.map_err(fault)?
}

pub(super) fn fault(error: impl std::fmt::Display) -> Refused {
    Refused::Fault { what: error.to_string() }
}

pub(super) fn mixed_up() -> Refused {
    Refused::Fault { what: "an answer to another question".to_owned() }
}

/// Who says that they ask; of a token only its hash goes further.
pub(super) fn claim(proof: Proof) -> Result<Claim, Refused> {
    let who = match proof.who {
        Who::Front => Claimant::Front,
        Who::SetUp(operator) if operator.as_str().starts_with("set-up:") => {
            Claimant::SetUp(operator)
        }
        Who::SetUp(_) => return Err(Malformed::Principal.into()),
        Who::Session(token) => Claimant::Session(token.digest()),
    };
    Ok(Claim { who, address: checked_address(proof.address)? })
}

fn checked_address(address: Option<String>) -> Result<Option<String>, Refused> {
    match address {
        Some(text) if text.len() > SHOWN_BYTES_MAX => Err(Malformed::TooLarge.into()),
        address => Ok(address),
    }
}

fn class_label(class: holdfast_base::ElementClass) -> String {
    format!("holdfast/v1/patient/class/{class}")
}

fn organization_keys(keys: &Organization) -> WireOrganization {
    WireOrganization {
        organization: keys.id.clone(),
        token: keys.token.clone(),
        inbox_public: keys.inbox_public,
        population_public: keys.population_public,
    }
}

fn bounded(text: String) -> Result<String, Refused> {
    if text.len() > REASON_BYTES_MAX { Err(Malformed::ReasonTooLong.into()) } else { Ok(text) }
}

/// A reason: every release and change has one.
fn checked(reason: String) -> Result<String, Refused> {
    if reason.trim().is_empty() { Err(Malformed::NoReason.into()) } else { bounded(reason) }
}

/// Entries from outside; kinds that say what the keeper did are refused.
fn parse(entries: &[Vec<u8>]) -> Result<Vec<Entry>, Refused> {
    if entries.len() > ENTRIES_COUNT_MAX {
        return Err(Malformed::TooMany.into());
    }
    let parse = |json: &Vec<u8>| {
        if json.len() > holdfast_ledger::ENTRY_BYTES_MAX {
            return Err(Refused::from(Malformed::TooLarge));
        }
        let entry: Entry = serde_json::from_slice(json).map_err(|_| Malformed::Entry)?;
        if is_keepers_own(&entry) {
            return Err(Refused::Entry { kind: entry.event.kind().to_owned() });
        }
        Ok(entry)
    };
    entries.iter().map(parse).collect()
}
