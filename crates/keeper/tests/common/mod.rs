//! A keeper in a temporary folder, with people who ask it.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{
    ClassSet, Clock, ElementClass, ManualClock, OrganizationId, PatientId, PrincipalId, Purpose,
    RequestId, Timestamp,
};
use holdfast_keeper::{
    KeeperClient, KeeperConfig, NewPrincipal, Proof, ReleaseRequest, SealContext, Secrets,
    StartError, initialise, run, totp,
};
use holdfast_ledger::{Event, Filter, Placed};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

pub const PASSPHRASE: &[u8] = b"correct horse battery staple";
pub const START: Timestamp = Timestamp::from_millis(1_780_000_000_000);
pub const ADDRESS: &str = "192.0.2.7";

pub struct Keeper {
    pub folder: TempDir,
    pub clock: Arc<ManualClock>,
    pub running: Option<Running>,
}

pub type Running = (oneshot::Sender<()>, JoinHandle<Result<(), StartError>>);

impl Keeper {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        initialise(&folder.path().join("keeper"), PASSPHRASE).unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let mut keeper = Self { folder, clock, running: None };
        keeper.resume().await;
        keeper
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/keeper.sock")
    }

    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("keeper")
    }

    pub fn config(&self) -> KeeperConfig {
        KeeperConfig::new(self.dir(), self.socket(), "test.example/ledger")
    }

    pub fn client(&self) -> KeeperClient {
        KeeperClient::with_timeout(self.socket(), Duration::from_secs(60))
    }

    pub async fn resume(&mut self) {
        self.resume_with(self.config()).await;
    }

    pub async fn resume_with(&mut self, config: KeeperConfig) {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let shutdown = async { drop(stopped.await) };
        let passphrase = Zeroizing::new(PASSPHRASE.to_vec());
        let ready = move || ready.send(()).unwrap();
        let running = tokio::spawn(run(config, passphrase, clock, shutdown, ready));
        if is_ready.await.is_err() {
            panic!("the keeper did not start: {:?}", running.await);
        }
        self.running = Some((stop, running));
    }

    pub async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    }

    pub fn code(&self, secrets: &Secrets) -> String {
        let seconds = (self.clock.now().millis() / 1_000) as u64;
        totp::code(secrets.totp_secret.expose(), seconds).unwrap()
    }

    pub async fn sign_in(&self, name: &str, secrets: &Secrets) -> Proof {
        let opened = self
            .client()
            .open_session(name, &secrets.password, &self.code(secrets), Some(ADDRESS))
            .await
            .unwrap();
        Proof::session(opened.token, Some(ADDRESS))
    }

    /// Makes `lakeside`, its administrator, officers, two clinicians and an interface,
    /// and signs all of them in.
    pub async fn settle(&self) -> Cast {
        let client = self.client();
        let set_up = Proof::set_up(principal("set-up:test"));
        client.create_organization(&set_up, &lakeside()).await.unwrap();
        let mut cast = Cast::default();
        cast.join(self, &set_up, &new("ada", "administrator")).await;
        let ada = cast.of("ada");
        for (name, role) in [
            ("officer", "security-officer"),
            ("privacy", "privacy-officer"),
            ("dr.okafor", "clinician"),
            ("dr.lindqvist", "clinician"),
        ] {
            cast.join(self, &ada, &new(&format!("{name}.own"), role)).await;
        }
        cast.connect(self, "interface", 1).await;
        cast
    }
}

/// Everybody's session and secrets, by the first part of their name.
#[derive(Default)]
pub struct Cast {
    pub proofs: HashMap<String, Proof>,
    pub secrets: HashMap<String, Secrets>,
}

impl Cast {
    pub fn of(&self, name: &str) -> Proof {
        self.proofs[name].clone()
    }

    /// Makes a person and signs them in.
    pub async fn join(&mut self, keeper: &Keeper, by: &Proof, new: &NewPrincipal) {
        let secrets = keeper.client().enrol(by, new).await.unwrap();
        let proof = keeper.sign_in(new.id.as_str(), &secrets).await;
        let name = new.id.as_str().trim_end_matches(".own").to_owned();
        self.proofs.insert(name.clone(), proof);
        self.secrets.insert(name, secrets);
    }

    /// Makes an interface of `lakeside` and vouches for it.
    pub async fn connect(&mut self, keeper: &Keeper, name: &str, certificate: u8) {
        let client = keeper.client();
        let certificate = [certificate; 32];
        let system = NewPrincipal { certificate: Some(certificate), ..new(name, "system") };
        client.enrol(&self.of("ada"), &system).await.unwrap();
        let opened = client.vouch_system(&certificate, Some(ADDRESS)).await.unwrap();
        self.proofs.insert(name.to_owned(), Proof::session(opened.token, Some(ADDRESS)));
    }

    /// A release to the interface, which makes keys of new patients.
    pub fn intake(&self, patients: &[PatientId]) -> ReleaseRequest {
        release(self.of("interface"), patients)
    }

    pub fn reading(&self, who: &str, patients: &[PatientId]) -> ReleaseRequest {
        ReleaseRequest {
            classes: ClassSet::of(ElementClass::Clinical),
            purpose: Purpose::Treatment,
            reason: "own-organization".to_owned(),
            create_missing: false,
            ..release(self.of(who), patients)
        }
    }

    pub async fn with_patients(&self, client: &KeeperClient, count: usize) -> Vec<PatientId> {
        let patients: Vec<PatientId> = (0..count).map(|_| PatientId::random()).collect();
        client.release(&self.intake(&patients)).await.unwrap();
        patients
    }
}

pub fn release(proof: Proof, patients: &[PatientId]) -> ReleaseRequest {
    ReleaseRequest {
        proof,
        request: RequestId::random(),
        organization: lakeside(),
        patients: patients.to_vec(),
        classes: ClassSet::ALL,
        purpose: Purpose::Operations,
        reason: "intake".to_owned(),
        create_missing: true,
    }
}

pub fn new(name: &str, role: &str) -> NewPrincipal {
    let role = role.to_owned();
    NewPrincipal { id: principal(name), organization: lakeside(), role, certificate: None }
}

pub fn lakeside() -> OrganizationId {
    OrganizationId::new("lakeside").unwrap()
}

pub fn principal(name: &str) -> PrincipalId {
    PrincipalId::new(name).unwrap()
}

pub async fn placed(client: &KeeperClient, who: &str, kind: &str) -> Vec<Placed> {
    let filter = Filter {
        principal: Some(principal(who)),
        kinds: vec![kind.to_owned()],
        ..Filter::default()
    };
    client.query(&filter, None, 100_000).await.unwrap()
}

pub async fn events(client: &KeeperClient, who: &str, kind: &str) -> Vec<Event> {
    placed(client, who, kind).await.into_iter().map(|placed| placed.entry.event).collect()
}

pub fn place<'a>(organization: &'a OrganizationId, patient: PatientId) -> SealContext<'a> {
    SealContext {
        organization,
        patient,
        resource_type: "Observation",
        id: "o1",
        version: 1,
        class: ElementClass::Clinical,
        part: "body",
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
