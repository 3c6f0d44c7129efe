//! The keeper process: opens key table and ledger, listens, and ends in order.
//!
//! Invariants: one keeper a folder (the ledger's lock); only the configured user, and
//! over TCP only who shows a certificate of the authority, is heard; a checkpoint is at
//! most a second behind; secrets are wiped at the end and never reach a core file, nor
//! swap where the system allows it.

mod account_acts;
mod acts;
mod copy;
mod cover;
mod grants;
pub(crate) mod lock;
mod offline;
mod payloads;
mod population;
mod release;
pub(crate) mod rotation;
mod rules;
mod scribe;
mod server;
mod sessions;
mod sign_in;
mod standing;

pub use grants::{BulkGrant, GrantProposal};

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{Category, Clock, LedgerIndex};
use holdfast_ledger::{
    BodySealer, BodyUnreadable, CheckpointSigner, Event, IndexPlace, Ledger, LedgerKeys, OpenError,
    ReadError,
};
use parking_lot::RwLock;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::keyring::Keys;
use crate::net::{TcpListen, TlsError};
use crate::people::People;
use crate::primitive::{Secret, place};
use crate::root::{FILE_NAME, OpenRoot, RootError, private_dir};
use crate::steps::Steps;
use crate::table::{KeyTable, TableError};
pub use copy::KeyRows;
pub use offline::{Acknowledged, Offline, backup_key};
pub use release::BULK_EXPORT;
use rotation::{Custody, RotationDue};
use scribe::{Beginning, HOUR_MS, Scribe};
use server::{Listeners, Server};
use sessions::Sessions;
use sign_in::Door;
use standing::Rebuilt;

/// Requests that wait for the scribe; beyond that, connections wait.
const SCRIBE_QUEUE_MAX: usize = 4_096;
/// How far a checkpoint may be behind.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// Where a keeper works.
#[derive(Debug, Clone)]
pub struct KeeperConfig {
    /// The keeper's own folder: `root.key`, `keys/`, `ledger/`.
    pub dir: PathBuf,
    /// The Unix socket that it listens on. At most about 100 characters, a limit
    /// of the operating system.
    pub socket: PathBuf,
    /// The user id of the front process, when it is another than the keeper's own:
    /// then it and the keeper's own user are heard.
    pub front_uid: Option<u32>,
    /// Where it listens besides, for front processes of other hosts.
    pub tcp: Option<TcpListen>,
    /// Name of the log in its checkpoints, like `holdfast.example/ledger`.
    pub origin: String,
    /// After how many days keys are due for rotation.
    pub due: RotationDue,
}

impl KeeperConfig {
    /// A keeper for front processes of the same host and user.
    pub fn new(dir: PathBuf, socket: PathBuf, origin: &str) -> Self {
        let (origin, due) = (origin.to_owned(), RotationDue::default());
        Self { dir, socket, front_uid: None, tcp: None, origin, due }
    }
}

/// Why a keeper did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The passphrase or PIN does not open the root key.
    #[error("wrong passphrase: it does not open the keeper's root key")]
    WrongPassphrase,
    /// The token that protects the root key is not there.
    #[error("the root key cannot be opened: {what}")]
    GuardAway {
        /// What is missing.
        what: String,
    },
    /// The root key file is of a newer version.
    #[error("the root key file has the unknown format {found:?}: made by a newer version")]
    RootNewer {
        /// What it says.
        found: String,
    },
    /// There is no root key in the folder.
    #[error("no root key in {}; initialise the keeper first", dir.display())]
    NotInitialised {
        /// The keeper's folder.
        dir: PathBuf,
    },
    /// The root key file was changed or cut off.
    #[error("the root key file in {} is damaged", dir.display())]
    RootDamaged {
        /// The keeper's folder.
        dir: PathBuf,
    },
    /// The origin cannot be the name of a log.
    #[error("{origin:?} cannot be the name of a log")]
    Origin {
        /// What was given.
        origin: String,
    },
    /// The ledger does not open.
    #[error("the ledger does not open")]
    Ledger(#[from] OpenError),
    /// An entry of the ledger cannot be read.
    #[error("the ledger cannot be read")]
    LedgerRead(#[from] ReadError),
    /// The key table does not open.
    #[error("the key table does not open: {what}")]
    KeyTable {
        /// What it said.
        what: String,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The address for other hosts cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The certificates for other hosts cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file or folder cannot be read or written.
    #[error("cannot use the keeper's folder {}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The keeper ended because one of its threads did.
    #[error("the keeper stopped: {what}")]
    Stopped {
        /// Which.
        what: &'static str,
    },
}

impl StartError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::WrongPassphrase => Category::Forbidden,
            Self::NotInitialised { .. } => Category::NotFound,
            Self::Origin { .. } | Self::Tls(_) => Category::Incorrect,
            Self::GuardAway { .. } => Category::Busy,
            Self::RootNewer { .. } => Category::Unsupported,
            Self::Ledger(error) => error.category(),
            Self::LedgerRead(error) => error.category(),
            Self::RootDamaged { .. }
            | Self::KeyTable { .. }
            | Self::Socket { .. }
            | Self::Listen { .. }
            | Self::Io { .. }
            | Self::Stopped { .. } => Category::Fault,
        }
    }
}

impl From<TableError> for StartError {
    fn from(error: TableError) -> Self {
        Self::KeyTable { what: error.to_string() }
    }
}

/// Everything that is open while a keeper runs.
struct Opened {
    ledger: Arc<Ledger>,
    table: Arc<KeyTable>,
    door: Door,
    scribe: Scribe,
    custody: Arc<Custody>,
}

/// Runs a keeper until `shutdown` is ready. Calls `ready` once it listens. Ends
/// with a published checkpoint.
///
/// # Errors
/// [`StartError`]; after `ready` only when the machine fails.
pub async fn run(
    config: KeeperConfig,
    passphrase: Zeroizing<Vec<u8>>,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce(),
) -> Result<(), StartError> {
    lock::harden();
    let (socket, front_uid, tcp) = (config.socket.clone(), config.front_uid, config.tcp.clone());
    let opening = tokio::task::spawn_blocking(move || open(&config, &passphrase, clock));
    let opened = opening.await.map_err(|_| StartError::Stopped { what: "it failed to open" })?;
    let Opened { ledger, table, scribe, door, custody } = opened?;

    // The ledger's lock is ours, so a socket that is there is nobody's.
    let unix = listen(&socket, front_uid)?;
    let tcp = match tcp {
        Some(TcpListen { address, identity }) => {
            let failed = |source| StartError::Listen { address, source };
            let acceptor = tokio_rustls::TlsAcceptor::from(identity.server()?);
            Some((TcpListener::bind(address).await.map_err(failed)?, acceptor))
        }
        None => None,
    };
    let listeners = Listeners { unix, front_uid, tcp };
    let (jobs, queue) = mpsc::channel(SCRIBE_QUEUE_MAX);
    let writer = std::thread::Builder::new()
        .name("keeper-scribe".to_owned())
        .spawn(move || scribe.run(queue))
        .map_err(|source| StartError::Io { path: socket.clone(), source })?;
    let server = {
        let (ledger, table) = (Arc::clone(&ledger), Arc::clone(&table));
        Server::new(ledger, table, Arc::clone(&custody), door, jobs.clone())
    };
    let watching = rotation::watch(Arc::clone(&custody), table, jobs);
    ready();
    let stopped = tokio::select! {
        () = shutdown => Ok(()),
        () = publish_checkpoints(Arc::clone(&ledger)) => Ok(()),
        () = watching => Ok(()),
        stopped = server.serve(listeners) => stopped,
    };
    let _ = std::fs::remove_file(&socket);
    custody.stop();
    // The connections are closed and their queue ends: what was begun is written.
    drop(server);
    let ended = tokio::task::spawn_blocking(move || {
        let joined = writer.join();
        let published = ledger.publish_checkpoint();
        (joined.is_ok(), published.is_ok())
    });
    match ended.await {
        Ok((true, true)) => stopped,
        Ok((false, _)) => Err(StartError::Stopped { what: "its writing thread failed" }),
        _ => Err(StartError::Stopped { what: "the last checkpoint could not be published" }),
    }
}

/// What the root key file's errors mean for a start.
fn root_failed(dir: &Path, error: RootError) -> StartError {
    let dir = dir.to_owned();
    match error {
        RootError::Missing => StartError::NotInitialised { dir },
        RootError::Damaged => StartError::RootDamaged { dir },
        RootError::Newer { found } => StartError::RootNewer { found },
        RootError::WrongSecret => StartError::WrongPassphrase,
        RootError::Away(what) => StartError::GuardAway { what },
        RootError::Io(source) => StartError::Io { path: dir, source },
    }
}

fn open(
    config: &KeeperConfig,
    passphrase: &[u8],
    clock: Arc<dyn Clock>,
) -> Result<Opened, StartError> {
    let dir = &config.dir;
    let failed = |error| root_failed(dir, error);
    if !dir.join(FILE_NAME).exists() {
        return Err(failed(RootError::Missing));
    }
    let lock = lock::take(dir).map_err(|source| StartError::Io { path: dir.clone(), source })?;
    let lock = lock.ok_or(StartError::Ledger(OpenError::AlreadyOpen))?;
    let mut root = OpenRoot::open(dir, passphrase, Steps::default()).map_err(failed)?;
    let ledger_dir = dir.join("ledger");
    private_dir(&ledger_dir)
        .map_err(|source| StartError::Io { path: ledger_dir.clone(), source })?;
    let now = clock.now();
    let steps = Steps::default();
    let table = Arc::new(KeyTable::open(&dir.join("keys"), root.roots(), now, steps)?);
    // What a crash left between a new root and wrapping under it, or between
    // importing an older folder's keys and writing its root key file anew.
    root.settle().map_err(failed)?;
    let signer = signer(&config.origin, &table.named("ledger-signer")?)
        .ok_or_else(|| StartError::Origin { origin: config.origin.clone() })?;
    let bodies = Bodies(Arc::new(RwLock::new(table.named("ledger-bodies")?)));
    let keys = LedgerKeys { sealer: Box::new(bodies.clone()), signer };
    let ledger = Arc::new(Ledger::open(&ledger_dir, &config.origin, keys, Arc::clone(&clock))?);

    // One hour more than a day: marks are at the beginning of an hour, or later.
    let releases_from = table.mark_before(now.millis().div_euclid(HOUR_MS) - 25)?;
    let rebuilt = standing::rebuild(&ledger, releases_from, now)?;
    let Rebuilt { standing, usages, throttle, latest } = rebuilt;
    finish_forgetting(&ledger, &table)?;
    let people =
        People::open(table.database(), table.named("people")?, |who| standing.was_made(who))?;
    let people = Arc::new(people);
    let kept = people.sessions()?;
    let sessions = Sessions::load(
        kept,
        &people,
        |row| standing.is_barred(&row.principal, &row.organization),
        latest,
    );
    let door = Door::new(Arc::clone(&people), Arc::clone(&clock), throttle);
    let custody =
        Arc::new(Custody::new(root, passphrase, bodies, config, Arc::clone(&clock), lock));
    let mut scribe = Scribe::new(Beginning {
        ledger: Arc::clone(&ledger),
        table: Arc::clone(&table),
        people,
        clock,
        standing,
        usages,
        sessions,
        latest,
    });
    scribe.custody = Some(Arc::clone(&custody));
    Ok(Opened { ledger, table, scribe, door, custody })
}

/// The entry is what counts: destroys keys whose destruction a crash interrupted.
fn finish_forgetting(ledger: &Ledger, table: &KeyTable) -> Result<(), StartError> {
    let mut failed = None;
    standing::each(ledger, &standing::kinds(&["forgotten"]), 0, |placed| {
        if let Event::Forgotten { organization, patient, .. } = &placed.entry.event
            && let Err(error) = table.forget(organization, *patient)
        {
            failed = Some(error);
        }
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// With a front process of another user the socket is open to connect to, and who
/// connects is asked of the kernel: only the configured user is heard.
fn listen(socket: &Path, front_uid: Option<u32>) -> Result<UnixListener, StartError> {
    let failed = |source| StartError::Socket { socket: socket.to_path_buf(), source };
    if let Some(dir) = socket.parent() {
        match front_uid {
            None => private_dir(dir).map_err(failed)?,
            Some(_) => {
                std::fs::create_dir_all(dir).map_err(failed)?;
                // A folder that somebody else made is theirs to open.
                let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o711));
            }
        }
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    let mode = if front_uid.is_some() { 0o666 } else { 0o600 };
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// Publishes a checkpoint every second; cheap when nothing is new.
async fn publish_checkpoints(ledger: Arc<Ledger>) {
    let mut every = tokio::time::interval(CHECKPOINT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let ledger = Arc::clone(&ledger);
        let published = tokio::task::spawn_blocking(move || ledger.publish_checkpoint().map(drop));
        if !matches!(published.await, Ok(Ok(()))) {
            tracing::error!("a checkpoint could not be published");
        }
    }
}

/// Signs with every generation of the signer's key, the newest first: while there
/// are two, whoever trusts either of them can verify.
fn signer(origin: &str, keys: &Keys) -> Option<CheckpointSigner> {
    let mut all = keys.all();
    let (_, newest) = all.next()?;
    let mut signer = twofold(origin, newest)?;
    for (_, older) in all {
        signer = signer.with_former(twofold(origin, older)?);
    }
    Some(signer)
}

/// Keys of a ledger that is made to be measured, from 32 bytes that anybody may
/// know. `None` when `origin` cannot be the name of a log.
pub fn throwaway_ledger_keys(seed: [u8; 32], origin: &str) -> Option<LedgerKeys> {
    let keys = Keys::first(Secret::from_slice(&seed)?);
    let signer = twofold(origin, &Secret::from_slice(&seed)?)?;
    let sealer = Box::new(Bodies(Arc::new(RwLock::new(keys))));
    Some(LedgerKeys { sealer, signer })
}

/// A signer by Ed25519 with this seed, and by ML-DSA-44 with one derived from it.
fn twofold(origin: &str, seed: &Secret) -> Option<CheckpointSigner> {
    let second = seed.derive("holdfast/v1/ledger-signer/ml-dsa-44");
    let signer = CheckpointSigner::from_seed(origin, seed.bytes()).ok()?;
    signer.with_ml_dsa_44(second.bytes()).ok()
}

/// Seals the ledger's bodies, each bound to its index, and the blocks of its query
/// index, each bound to its place, which no body has. Clones share the key.
#[derive(Clone)]
pub(crate) struct Bodies(Arc<RwLock<Keys>>);

impl Bodies {
    fn place(index: LedgerIndex) -> Vec<u8> {
        place("holdfast/v1/ledger-body", &[&index.0.to_be_bytes()])
    }
}

impl BodySealer for Bodies {
    fn seal(&self, index: LedgerIndex, body: &[u8]) -> Vec<u8> {
        self.0.read().seal(&Self::place(index), &cover::covered(body))
    }

    fn open(&self, index: LedgerIndex, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        let body = self.0.read().open(&Self::place(index), sealed);
        Ok(cover::uncovered(body.map_err(|_| BodyUnreadable)?))
    }

    fn seal_index(&self, at: IndexPlace, block: &[u8]) -> Vec<u8> {
        self.0.read().seal(&place("holdfast/v1/ledger-index", &[&at.to_bytes()]), block)
    }

    fn open_index(&self, at: IndexPlace, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        let place = place("holdfast/v1/ledger-index", &[&at.to_bytes()]);
        self.0.read().open(&place, sealed).map_err(|_| BodyUnreadable)
    }
}
