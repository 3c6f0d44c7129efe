//! What figures are measured on: folders, a keeper process, a clock, the disk.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_base::{
    ClassSet, Clock, OrganizationId, PatientId, PrincipalId, Purpose, RequestId, SessionId,
    Timestamp,
};
use holdfast_keeper::{
    KeeperClient, KeeperConfig, OrganizationKeys, PatientKeys, ReleaseRequest, SystemKey,
};
use holdfast_ledger::Actor;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::Failure;

/// The argument that makes this program a keeper.
pub const KEEPER: &str = "keeper-process";
const PASSPHRASE: &[u8] = b"of a bench, guards nothing";
const ORGANIZATION: &str = "bench";

/// How a run was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Fewer and shorter rounds.
    pub quick: bool,
}

impl Options {
    /// How many rounds.
    pub fn rounds(&self) -> usize {
        if self.quick { 2 } else { 7 }
    }

    /// How long each side of a round takes.
    pub fn round(&self) -> Duration {
        Duration::from_millis(if self.quick { 300 } else { 2_000 })
    }
}

/// The stop watch of all figures.
pub fn now() -> Instant {
    // tidy: clock, measuring how long things take is what this program is for
    Instant::now()
}

/// A clock that starts at a fixed time and goes as fast as the machine's.
pub struct RunClock {
    from: Timestamp,
    started: Instant,
}

impl RunClock {
    /// One that starts now.
    pub fn start() -> Self {
        Self { from: Timestamp::from_millis(1_767_600_000_000), started: now() }
    }
}

impl Clock for RunClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.from.millis().saturating_add(passed))
    }
}

/// A folder of its own for a run, removed at its end.
pub fn folder() -> Result<TempDir, Failure> {
    Ok(tempfile::Builder::new().prefix("holdfast-bench").tempdir()?)
}

/// Runs a keeper until standard input ends.
pub fn serve_keeper(dir: &str, socket: &str) -> Result<bool, Failure> {
    let config = KeeperConfig {
        dir: PathBuf::from(dir),
        socket: PathBuf::from(socket),
        origin: "bench.example/ledger".to_owned(),
        due: holdfast_keeper::RotationDue::default(),
    };
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let shutdown = async { drop(ended.await) };
        let ready = || {
            println!("ready");
            let _ = std::io::stdout().flush();
        };
        let passphrase = Zeroizing::new(PASSPHRASE.to_vec());
        holdfast_keeper::run(config, passphrase, Arc::new(RunClock::start()), shutdown, ready).await
    })?;
    Ok(true)
}

/// A keeper process and a client of it.
pub struct Keeper {
    child: Child,
    /// Where its client runs.
    pub runtime: Runtime,
    /// The client.
    pub client: KeeperClient,
    /// Keys of the one organization.
    pub organization: OrganizationKeys,
    /// Seals rows that belong to no patient.
    pub system: SystemKey,
}

impl Keeper {
    /// Starts one below `folder` and makes an organization.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let (dir, socket) = (folder.join("keeper"), folder.join("keeper.sock"));
        holdfast_keeper::initialise(&dir, PASSPHRASE)?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(KEEPER)
            .arg(&dir)
            .arg(&socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 5];
        if let Some(out) = child.stdout.as_mut() {
            out.read_exact(&mut said)?;
        }
        let runtime = Runtime::new()?;
        let client = KeeperClient::with_timeout(socket, Duration::from_secs(60));
        let actor = actor("operator@bench");
        let organization = runtime.block_on(client.create_organization(&actor, &organization()))?;
        let system = runtime.block_on(client.service_keys(&actor, "start"))?.system;
        Ok(Self { child, runtime, client, organization, system })
    }

    /// Releases the keys of `patients`, making those that do not exist.
    pub fn release(&self, patients: &[PatientId]) -> Result<Vec<PatientKeys>, Failure> {
        let mut keys = Vec::new();
        for some in patients.chunks(1_000) {
            let request = release_request(some.to_vec());
            keys.extend(self.runtime.block_on(self.client.release(&request))?);
        }
        Ok(keys)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The one organization.
pub fn organization() -> OrganizationId {
    OrganizationId::new(ORGANIZATION).unwrap_or_else(|_| unreachable!("a valid name"))
}

/// Somebody.
pub fn actor(name: &str) -> Actor {
    let principal = PrincipalId::new(name).unwrap_or_else(|_| unreachable!("a valid name"));
    Actor {
        principal,
        session: Some(SessionId::from_bytes([7; 16])),
        organization: Some(organization()),
        address: Some("192.0.2.7".to_owned()),
    }
}

/// A release by an interface, whose budget is the widest.
pub fn release_request(patients: Vec<PatientId>) -> ReleaseRequest {
    ReleaseRequest {
        actor: actor("interface:bench"),
        role: "system".to_owned(),
        request: RequestId::random(),
        organization: organization(),
        patients,
        classes: ClassSet::ALL,
        purpose: Purpose::Treatment,
        reason: "own-organization".to_owned(),
        create_missing: true,
    }
}

/// Fsyncs a second of the disk below `folder`: 4 KiB written, synced, and again.
pub fn syncs_a_second(folder: &Path, during: Duration) -> Result<f64, Failure> {
    let file = File::create(folder.join("probe"))?;
    let page = [0x5a; 4096];
    let (started, mut syncs) = (now(), 0_u64);
    while started.elapsed() < during {
        file.write_all_at(&page, syncs * 4096)?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = syncs as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(folder.join("probe"))?;
    Ok(rate)
}
