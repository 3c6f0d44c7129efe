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
    Budget, BudgetOwner, KeeperClient, KeeperConfig, KeeperError, NewPrincipal, OrganizationKeys,
    PatientKeys, Proof, ReleaseRequest, Secrets, SystemKey, totp,
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
const ADDRESS: &str = "192.0.2.7";

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

/// When every run starts, by its own clock.
const RUN_STARTS: Timestamp = Timestamp::from_millis(1_767_600_000_000);

/// A clock that starts at a fixed time and goes as fast as the machine's.
pub struct RunClock {
    from: Timestamp,
    started: Instant,
}

impl RunClock {
    /// One that starts now.
    pub fn start() -> Self {
        Self { from: RUN_STARTS, started: now() }
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
    let config =
        KeeperConfig::new(PathBuf::from(dir), PathBuf::from(socket), "bench.example/ledger");
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
    /// Proves the session of an interface whose budget never ends.
    pub proof: Proof,
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
        let (organization, proof) = runtime.block_on(settle(&client))?;
        let system = runtime.block_on(client.service_keys("start"))?.system;
        Ok(Self { child, runtime, client, organization, system, proof })
    }

    /// Releases the keys of `patients`, making those that do not exist.
    pub fn release(&self, patients: &[PatientId]) -> Result<Vec<PatientKeys>, Failure> {
        let mut keys = Vec::new();
        for some in patients.chunks(1_000) {
            let request = release_request(&self.proof, some.to_vec());
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

/// Makes the organization, its people and an interface without a budget to speak of;
/// gives the organization's keys and the interface's session.
async fn settle(client: &KeeperClient) -> Result<(OrganizationKeys, Proof), KeeperError> {
    let set_up = Proof::set_up(principal("set-up:bench"));
    let keys = client.create_organization(&set_up, &organization()).await?;
    let new = |name: &str, role: &str, certificate| NewPrincipal {
        id: principal(name),
        organization: organization(),
        role: role.to_owned(),
        certificate,
    };
    let administrator = new("ada.runs.it", "administrator", None);
    let secrets = client.enrol(&set_up, &administrator).await?;
    let administrator = sign_in(client, &administrator, secrets).await?;
    let officer = new("otto.watches", "security-officer", None);
    let secrets = client.enrol(&administrator, &officer).await?;
    let officer = sign_in(client, &officer, secrets).await?;
    let interface = new("interface:bench", "system", Some([7; 32]));
    client.enrol(&administrator, &interface).await?;
    let endless = Budget::new(u32::MAX, u32::MAX, u32::MAX);
    for whose in [BudgetOwner::Principal(interface.id), BudgetOwner::Organization(organization())] {
        client.set_budget(&officer, &whose, endless, "bench").await?;
    }
    let opened = client.vouch_system(&[7; 32], Some(ADDRESS)).await?;
    Ok((keys, Proof::session(opened.token, Some(ADDRESS))))
}

async fn sign_in(
    client: &KeeperClient,
    who: &NewPrincipal,
    secrets: Secrets,
) -> Result<Proof, KeeperError> {
    // The keeper has run for seconds: its time step is the first one, or the next.
    let seconds = (RUN_STARTS.millis() / 1_000) as u64;
    let code = totp::code(secrets.totp_secret.expose(), seconds).unwrap_or_default();
    let opened =
        client.open_session(who.id.as_str(), &secrets.password, &code, Some(ADDRESS)).await?;
    Ok(Proof::session(opened.token, Some(ADDRESS)))
}

fn principal(name: &str) -> PrincipalId {
    PrincipalId::new(name).unwrap_or_else(|_| unreachable!("a valid name"))
}

/// The one organization.
pub fn organization() -> OrganizationId {
    OrganizationId::new(ORGANIZATION).unwrap_or_else(|_| unreachable!("a valid name"))
}

/// Somebody.
pub fn actor(name: &str) -> Actor {
    Actor {
        principal: principal(name),
        session: Some(SessionId::from_bytes([7; 16])),
        organization: Some(organization()),
        address: Some(ADDRESS.to_owned()),
    }
}

/// A release by whoever `proof` says.
pub fn release_request(proof: &Proof, patients: Vec<PatientId>) -> ReleaseRequest {
    ReleaseRequest {
        proof: proof.clone(),
        request: RequestId::random(),
        organization: organization(),
        patients,
        classes: ClassSet::ALL,
        purpose: Purpose::Treatment,
        reason: "own-organization".to_owned(),
        create_missing: true,
    }
}

/// How long nothing must be written for the engines to count as at rest.
const REST: Duration = Duration::from_millis(300);
/// How long is waited for that at most.
const REST_PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the engines' own work is done (flushes, compactions), so that no
/// side of a figure pays for what the other one wrote.
pub fn rest() {
    let until = now() + REST_PATIENCE;
    let (mut written, mut since) = (bytes_written(), now());
    while now() < until && since.elapsed() < REST {
        std::thread::sleep(REST / 10);
        let newest = bytes_written();
        if newest != written {
            (written, since) = (newest, now());
        }
    }
}

/// What this process handed to the system to write; nothing where the system does
/// not say.
fn bytes_written() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/self/io").ok()?;
    let line = counts.lines().find_map(|line| line.strip_prefix("wchar: "))?;
    line.parse().ok()
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
