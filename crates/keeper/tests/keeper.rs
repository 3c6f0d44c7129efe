//! The keeper as a front process meets it: over its socket, across restarts.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{
    Category, ClassSet, Clock, CommitNumber, ElementClass, ManualClock, OrganizationId, PatientId,
    PrincipalId, Purpose, RequestId, Timestamp,
};
use holdfast_keeper::{
    Budget, KeeperClient, KeeperConfig, KeeperError, ReleaseRequest, RotationDue, SealContext,
    SealError, StartError, initialise, run,
};
use holdfast_ledger::{Action, Actor, Entry, Event, Filter};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

const PASSPHRASE: &[u8] = b"correct horse battery staple";
const START: Timestamp = Timestamp::from_millis(1_780_000_000_000);

struct Keeper {
    folder: TempDir,
    clock: Arc<ManualClock>,
    running: Option<Running>,
}

type Running = (oneshot::Sender<()>, JoinHandle<Result<(), StartError>>);

impl Keeper {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        initialise(&folder.path().join("keeper"), PASSPHRASE).unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let mut keeper = Self { folder, clock, running: None };
        keeper.resume().await;
        keeper
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/keeper.sock")
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("keeper")
    }

    fn client(&self) -> KeeperClient {
        KeeperClient::with_timeout(self.socket(), Duration::from_secs(30))
    }

    async fn resume(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let shutdown = async { drop(stopped.await) };
        let passphrase = Zeroizing::new(PASSPHRASE.to_vec());
        let config = KeeperConfig {
            dir: self.dir(),
            socket: self.socket(),
            origin: "test.example/ledger".to_owned(),
            due: RotationDue::default(),
        };
        let ready = move || ready.send(()).unwrap();
        let running = tokio::spawn(run(config, passphrase, clock, shutdown, ready));
        if is_ready.await.is_err() {
            panic!("the keeper did not start: {:?}", running.await);
        }
        self.running = Some((stop, running));
    }

    async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    }
}

fn lakeside() -> OrganizationId {
    OrganizationId::new("lakeside").unwrap()
}

fn principal(name: &str) -> PrincipalId {
    PrincipalId::new(name).unwrap()
}

fn actor(name: &str) -> Actor {
    Actor {
        principal: principal(name),
        session: None,
        organization: Some(lakeside()),
        address: Some("192.0.2.7".to_owned()),
    }
}

fn intake(patients: &[PatientId]) -> ReleaseRequest {
    ReleaseRequest {
        actor: actor("interface"),
        role: "system".to_owned(),
        request: RequestId::random(),
        organization: lakeside(),
        patients: patients.to_vec(),
        classes: ClassSet::ALL,
        purpose: Purpose::Operations,
        reason: "intake".to_owned(),
        create_missing: true,
    }
}

fn reading(who: &str, patients: &[PatientId]) -> ReleaseRequest {
    ReleaseRequest {
        actor: actor(who),
        role: "clinician".to_owned(),
        classes: ClassSet::of(ElementClass::Clinical),
        purpose: Purpose::Treatment,
        reason: "own-organization".to_owned(),
        create_missing: false,
        ..intake(patients)
    }
}

async fn with_patients(client: &KeeperClient, count: usize) -> Vec<PatientId> {
    client.create_organization(&actor("officer"), &lakeside()).await.unwrap();
    let patients: Vec<PatientId> = (0..count).map(|_| PatientId::random()).collect();
    client.release(&intake(&patients)).await.unwrap();
    patients
}

async fn events(client: &KeeperClient, who: &str, kind: &str) -> Vec<Event> {
    let filter = Filter {
        principal: Some(principal(who)),
        kinds: vec![kind.to_owned()],
        ..Filter::default()
    };
    let placed = client.query(&filter, None, 100_000).await.unwrap();
    placed.into_iter().map(|placed| placed.entry.event).collect()
}

fn place<'a>(organization: &'a OrganizationId, patient: PatientId) -> SealContext<'a> {
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

fn copy_dir(from: &Path, to: &Path) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_key_release_is_durable_before_the_key_leaves() {
    let keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 3).await;
    let keys = client.release(&reading("dr.okafor", &patients)).await.unwrap();
    let sealed = keys[0]
        .class(ElementClass::Clinical)
        .unwrap()
        .seal(&place(&lakeside(), patients[0]), b"result");

    // The machine dies now: what is on disk is what there is. The keeper that
    // runs on has no part in it.
    let mut revived = Keeper {
        folder: tempfile::tempdir().unwrap(),
        clock: Arc::clone(&keeper.clock),
        running: None,
    };
    copy_dir(&keeper.dir(), &revived.dir());
    revived.resume().await;
    let client = revived.client();
    let released = events(&client, "dr.okafor", "key-release").await;
    let expected: Vec<Event> = patients
        .iter()
        .map(|patient| Event::KeyRelease {
            organization: lakeside(),
            patient: *patient,
            classes: ClassSet::of(ElementClass::Clinical),
            purpose: Purpose::Treatment,
            reason: "own-organization".to_owned(),
        })
        .collect();
    assert_eq!(released, expected);
    // And the keys of new patients were durable too: the same key comes back.
    let keys = client.release(&reading("dr.okafor", &patients[..1])).await.unwrap();
    let key = keys[0].class(ElementClass::Clinical).unwrap();
    assert_eq!(key.open(&place(&lakeside(), patients[0]), &sealed).unwrap(), b"result");
    revived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_over_budget_is_refused_alerted_and_in_the_ledger() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 22).await;
    for patient in &patients[..20] {
        client.release(&reading("dr.okafor", &[*patient])).await.unwrap();
    }
    let over = client.release(&reading("dr.okafor", &patients[20..21])).await.unwrap_err();
    let who = principal("dr.okafor");
    assert_eq!(over, KeeperError::OverBudget { principal: who, window: "minute", limit: 20 });
    assert_eq!(over.category(), Category::Forbidden);
    // A patient who is within the budget is still readable, others are not touched.
    client.release(&reading("dr.okafor", &patients[..5])).await.unwrap();
    client.release(&reading("dr.lindqvist", &patients[20..])).await.unwrap();

    let refusals = events(&client, "dr.okafor", "refusal").await;
    assert_eq!(
        refusals,
        [Event::Refusal {
            door: "keeper".to_owned(),
            reason: "over-budget".to_owned(),
            patient: Some(patients[20]),
            organization: Some(lakeside()),
        }]
    );
    let alerts = events(&client, "dr.okafor", "alert").await;
    let Event::Alert { detector, patients_count, .. } = &alerts[0] else { panic!("no alert") };
    assert_eq!((detector.as_str(), *patients_count, alerts.len()), ("keeper-budget", 21, 1));

    // A restart gives nothing back.
    keeper.stop().await;
    keeper.clock.advance_ms(30_000);
    keeper.resume().await;
    let refused = client.release(&reading("dr.okafor", &patients[21..])).await.unwrap_err();
    assert!(matches!(refused, KeeperError::OverBudget { window: "minute", .. }), "{refused}");
    keeper.clock.advance_ms(32_000);
    client.release(&reading("dr.okafor", &patients[21..])).await.unwrap();
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_ones_own_holds_over_a_restart_and_nobody_raises_his() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 4).await;
    let who = principal("dr.okafor");
    let own = client
        .set_budget(&actor("dr.okafor"), &who, Budget::new(900, 900, 900), "more")
        .await
        .unwrap_err();
    assert_eq!(own, KeeperError::OwnCase { act: "raise a budget" });
    client.set_budget(&actor("officer"), &who, Budget::new(2, 2, 2), "drill").await.unwrap();
    keeper.stop().await;
    keeper.resume().await;
    client.release(&reading("dr.okafor", &patients[..2])).await.unwrap();
    let over = client.release(&reading("dr.okafor", &patients[2..3])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { limit: 2, .. }));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p08_a_suspended_principal_gets_no_key_until_somebody_else_lifts_it() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 1).await;
    let who = principal("dr.okafor");
    client.suspend(&actor("watch"), &who, "honey-patient").await.unwrap();
    keeper.stop().await;
    keeper.resume().await;
    let suspended = KeeperError::Suspended { principal: who.clone() };
    let asked = reading("dr.okafor", &patients);
    assert_eq!(client.release(&asked).await.unwrap_err(), suspended);
    // It learns nothing about who exists, and gets no other key either.
    let stranger = reading("dr.okafor", &[PatientId::random()]);
    assert_eq!(client.release(&stranger).await.unwrap_err(), suspended);
    let inbox = client.inbox_opener(&actor("dr.okafor"), &lakeside(), "x").await;
    assert_eq!(inbox.unwrap_err(), suspended);
    assert_eq!(client.status().await.unwrap().suspended.len(), 1);
    let own = client.lift(&actor("dr.okafor"), &who, "please").await.unwrap_err();
    assert_eq!(own, KeeperError::OwnCase { act: "lift a suspension" });
    client.lift(&actor("officer"), &who, "reviewed").await.unwrap();
    client.release(&asked).await.unwrap();
    assert_eq!(events(&client, "dr.okafor", "refusal").await.len(), 3);
    assert_eq!(events(&client, "dr.okafor", "key-release").await.len(), 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_patient_gets_no_key_unless_intake_makes_one() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let known = with_patients(&client, 1).await;
    let unknown = PatientId::random();
    let both = [known[0], unknown];
    let refused = client.release(&reading("dr.okafor", &both)).await.unwrap_err();
    assert_eq!(refused, KeeperError::UnknownPatient);
    assert!(events(&client, "dr.okafor", "key-release").await.is_empty(), "all or nothing");
    let elsewhere = ReleaseRequest {
        organization: OrganizationId::new("hillside").unwrap(),
        ..reading("dr.okafor", &known)
    };
    assert_eq!(client.release(&elsewhere).await.unwrap_err(), KeeperError::UnknownOrganization);

    // Two intakes of one new patient at the same time: one key.
    let (first, second) = (intake(&[unknown]), intake(&[unknown]));
    let (first, second) = tokio::join!(client.release(&first), client.release(&second));
    let (first, second) = (first.unwrap(), second.unwrap());
    let organization = lakeside();
    let ctx = place(&organization, unknown);
    let sealed = first[0].class(ElementClass::Clinical).unwrap().seal(&ctx, b"x");
    let key = second[0].class(ElementClass::Clinical).unwrap();
    assert_eq!(key.open(&ctx, &sealed).unwrap(), b"x");
    assert_eq!(client.status().await.unwrap().patients_count, 2);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_fails_closed_while_the_keeper_is_away_and_recovers_by_itself() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 1).await;
    keeper.stop().await;
    for _ in 0..3 {
        let away = client.release(&reading("dr.okafor", &patients)).await.unwrap_err();
        assert_eq!((away.category(), away), (Category::Busy, KeeperError::Unreachable));
    }
    keeper.resume().await;
    client.release(&reading("dr.okafor", &patients)).await.unwrap();
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_say_what_the_keeper_did_are_refused_from_outside() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patient = with_patients(&client, 1).await[0];
    let of = |event| Entry { at: START, actor: actor("web-shell"), request: None, event };
    let access = of(Event::Access {
        organization: lakeside(),
        patient,
        action: Action::Read,
        purpose: Purpose::Treatment,
        relationship: "care-team".to_owned(),
        touches: Vec::new(),
    });
    let before = client.status().await.unwrap().ledger_size;
    let contained = |action: &str| Event::Containment {
        principal: principal("web-shell"),
        action: action.to_owned(),
        reason: "x".to_owned(),
        incident: None,
    };
    for event in [
        Event::LedgerOpened { origin: "x".to_owned() },
        Event::KeyRelease {
            organization: lakeside(),
            patient,
            classes: ClassSet::ALL,
            purpose: Purpose::Treatment,
            reason: "x".to_owned(),
        },
        Event::ServiceKeyRelease { scope: "system".to_owned(), reason: "x".to_owned() },
        Event::BudgetChange {
            account: principal("web-shell"),
            limits: [9, 9, 9],
            reason: "x".to_owned(),
        },
        Event::Forgotten { organization: lakeside(), patient, reason: "x".to_owned() },
        contained("lifted"),
        contained("suspended"),
    ] {
        let kind = event.kind().to_owned();
        let refused = client.append(vec![access.clone(), of(event)]).await.unwrap_err();
        assert_eq!(refused, KeeperError::EntryRefused { kind });
    }
    assert_eq!(client.status().await.unwrap().ledger_size, before, "nothing was appended");
    let revoked = of(contained("sessions-revoked"));
    let range = client.append(vec![access, revoked]).await.unwrap();
    assert_eq!(range, before..before + 2);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_destroys_the_key_for_good() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 2).await;
    let officer = actor("officer");
    let forget = |patient| {
        let (client, officer) = (client.clone(), officer.clone());
        async move { client.forget(&officer, &lakeside(), patient, "court-order").await }
    };
    forget(patients[0]).await.unwrap();
    forget(patients[0]).await.unwrap();
    assert_eq!(forget(PatientId::random()).await.unwrap_err(), KeeperError::UnknownPatient);
    for _ in 0..2 {
        let gone = client.release(&intake(&patients)).await.unwrap_err();
        assert_eq!(gone, KeeperError::ForgottenPatient, "not even intake makes a new key");
        client.release(&reading("dr.okafor", &patients[1..])).await.unwrap();
        assert_eq!(client.status().await.unwrap().patients_count, 1);
        keeper.stop().await;
        keeper.resume().await;
    }
    assert_eq!(events(&client, "officer", "forgotten").await.len(), 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_keys_are_the_same_after_a_restart_and_open_no_record() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 1).await;
    let created = client.create_organization(&actor("officer"), &lakeside()).await.unwrap();
    let before = client.service_keys(&actor("server"), "start").await.unwrap();
    let kept = before.organizations[&lakeside()].inbox.seal(b"place", b"MSH|");
    let row = before.system.seal("accounts/1", b"row");
    keeper.stop().await;
    keeper.resume().await;
    let after = client.service_keys(&actor("server"), "start").await.unwrap();
    assert_eq!(after.system.open("accounts/1", &row).unwrap(), b"row");
    assert_eq!(after.mpi.0.open("accounts/1", &row), Err(SealError::NotAuthentic));
    assert_eq!(after.mpi.1.token("ssn", b"1"), before.mpi.1.token("ssn", b"1"));
    let token = after.organizations[&lakeside()].token.token("id", b"1");
    assert_eq!(token, created.token.token("id", b"1"));
    let opener = client.inbox_opener(&actor("server"), &lakeside(), "catch-up").await.unwrap();
    assert_eq!(opener.open(b"place", &kept).unwrap(), b"MSH|");
    let keys = client.release(&intake(&patients)).await.unwrap();
    let organization = lakeside();
    let body = keys[0]
        .class(ElementClass::Clinical)
        .unwrap()
        .seal(&place(&organization, patients[0]), b"{}");
    assert!(after.system.open("accounts/1", &body).is_err());
    let scopes: Vec<String> = events(&client, "server", "service-key-release")
        .await
        .into_iter()
        .map(|event| match event {
            Event::ServiceKeyRelease { scope, .. } => scope,
            other => panic!("{}", other.kind()),
        })
        .collect();
    let once = ["system", "mpi", "token:lakeside"];
    assert_eq!(scopes, [&once[..], &once[..], &["inbox:lakeside"]].concat());
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_follows_within_a_second_and_at_the_end() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 1).await;
    within(Duration::from_secs(20), || async {
        let status = client.status().await.unwrap();
        size_of(&status.checkpoint) == status.ledger_size
    })
    .await;
    let status = client.status().await.unwrap();
    assert!(status.log_vkey.starts_with("test.example/ledger+"));
    for _ in 0..5 {
        client.release(&reading("dr.okafor", &patients)).await.unwrap();
    }
    let size = client.status().await.unwrap().ledger_size;
    keeper.stop().await;
    let note = std::fs::read_to_string(keeper.dir().join("ledger/checkpoint")).unwrap();
    assert_eq!(size_of(&note), size);
}

fn size_of(note: &str) -> u64 {
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

/// Waits until `holds`, at most `limit`.
async fn within<F: Future<Output = bool>>(limit: Duration, holds: impl Fn() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, waiting).await.expect("it came true in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_all_answered_and_all_in_the_ledger() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 200).await;
    let mut asked = tokio::task::JoinSet::new();
    for (number, patient) in patients.iter().copied().enumerate() {
        let client = client.clone();
        let who = format!("dr.{}", number % 40);
        asked.spawn(async move { client.release(&reading(&who, &[patient])).await.map(drop) });
    }
    while let Some(released) = asked.join_next().await {
        released.unwrap().unwrap();
    }
    let filter = Filter { kinds: vec!["key-release".to_owned()], ..Filter::default() };
    assert_eq!(client.query(&filter, None, 1_000).await.unwrap().len(), 400);
    assert_eq!(client.query(&filter, None, 7).await.unwrap().len(), 7);
    let bundle = client.export_bundle(&filter, &[]).await.unwrap();
    assert!(bundle.len() > 400 * 100);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_store_commit_is_known_after_a_restart() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    assert_eq!(client.last_store_commit().await.unwrap(), None);
    for number in 1..4 {
        let event = Event::StoreCommit { commit: CommitNumber(number), chain: "ab".to_owned() };
        let entry = Entry { at: START, actor: actor("server"), request: None, event };
        client.append(vec![entry]).await.unwrap();
    }
    let last = Some((CommitNumber(3), "ab".to_owned()));
    assert_eq!(client.last_store_commit().await.unwrap(), last);
    keeper.stop().await;
    keeper.resume().await;
    assert_eq!(client.last_store_commit().await.unwrap(), last);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_passphrase_and_a_missing_key_are_told_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let config = KeeperConfig {
        dir: folder.path().join("keeper"),
        socket: folder.path().join("keeper.sock"),
        origin: "test.example/ledger".to_owned(),
        due: RotationDue::default(),
    };
    let start = |passphrase: &[u8]| {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(START));
        let passphrase = Zeroizing::new(passphrase.to_vec());
        run(config.clone(), passphrase, clock, std::future::pending(), || panic!("it started"))
    };
    let missing = start(PASSPHRASE).await.unwrap_err();
    assert!(matches!(missing, StartError::NotInitialised { .. }));
    initialise(&config.dir, PASSPHRASE).unwrap();
    let wrong = start(b"password").await.unwrap_err();
    assert!(matches!(wrong, StartError::WrongPassphrase));
    assert!(wrong.to_string().starts_with("wrong passphrase"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_keeper_of_the_same_folder_is_refused_and_the_first_goes_on() {
    let mut keeper = Keeper::start().await;
    let config = KeeperConfig {
        dir: keeper.dir(),
        socket: keeper.socket(),
        origin: "test.example/ledger".to_owned(),
        due: RotationDue::default(),
    };
    let clock: Arc<dyn Clock> = keeper.clock.clone();
    let passphrase = Zeroizing::new(PASSPHRASE.to_vec());
    let second = run(config, passphrase, clock, std::future::pending(), || {}).await;
    assert!(matches!(second, Err(StartError::Ledger(_))));
    with_patients(&keeper.client(), 1).await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_without_reason_patient_or_class_is_malformed() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let patients = with_patients(&client, 1).await;
    for malformed in [
        ReleaseRequest { reason: " ".to_owned(), ..reading("dr.okafor", &patients) },
        ReleaseRequest { patients: Vec::new(), ..reading("dr.okafor", &patients) },
        ReleaseRequest { classes: ClassSet::EMPTY, ..reading("dr.okafor", &patients) },
        ReleaseRequest { role: "r".repeat(1_000), ..reading("dr.okafor", &patients) },
    ] {
        let refused = client.release(&malformed).await.unwrap_err();
        assert_eq!(refused.category(), Category::Incorrect, "{refused}");
    }
    keeper.stop().await;
}
