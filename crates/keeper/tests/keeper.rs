//! The keeper as a front process meets it: over its socket, across restarts.
#![allow(clippy::unwrap_used)]

mod common;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::{Keeper, PASSPHRASE, START, copy_dir, events, lakeside, place, principal, release};
use holdfast_base::{
    Category, ClassSet, Clock, CommitNumber, ElementClass, ManualClock, MessageId, OrganizationId,
    PatientId, Purpose,
};
use holdfast_keeper::{
    Budget, BudgetOwner, KeeperConfig, KeeperError, KeptPayload, Proof, ReleaseRequest, SealError,
    StartError, initialise, run,
};
use holdfast_ledger::{Action, Actor, Entry, Event, Filter};
use zeroize::Zeroizing;

/// Whoever the front process says it was.
fn actor(name: &str) -> Actor {
    Actor {
        principal: principal(name),
        session: None,
        organization: Some(lakeside()),
        address: Some("192.0.2.7".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_key_release_is_durable_before_the_key_leaves() {
    let keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 3).await;
    let keys = client.release(&cast.reading("dr.okafor", &patients)).await.unwrap();
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
    let released = events(&client, "dr.okafor.own", "key-release").await;
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
    let keys = client.release(&cast.reading("dr.okafor", &patients[..1])).await.unwrap();
    let key = keys[0].class(ElementClass::Clinical).unwrap();
    assert_eq!(key.open(&place(&lakeside(), patients[0]), &sealed).unwrap(), b"result");
    revived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_over_budget_is_refused_alerted_and_in_the_ledger() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 22).await;
    for patient in &patients[..20] {
        client.release(&cast.reading("dr.okafor", &[*patient])).await.unwrap();
    }
    let over = client.release(&cast.reading("dr.okafor", &patients[20..21])).await.unwrap_err();
    let who = principal("dr.okafor.own");
    assert_eq!(over, KeeperError::OverBudget { principal: who, window: "minute", limit: 20 });
    assert_eq!(over.category(), Category::Forbidden);
    // A patient who is within the budget is still readable, others are not touched.
    client.release(&cast.reading("dr.okafor", &patients[..5])).await.unwrap();
    client.release(&cast.reading("dr.lindqvist", &patients[20..])).await.unwrap();

    let refusals = events(&client, "dr.okafor.own", "refusal").await;
    assert_eq!(
        refusals,
        [Event::Refusal {
            door: "keeper".to_owned(),
            reason: "over-budget".to_owned(),
            patient: Some(patients[20]),
            organization: Some(lakeside()),
        }]
    );
    let alerts = events(&client, "dr.okafor.own", "alert").await;
    let Event::Alert { detector, patients_count, .. } = &alerts[0] else { panic!("no alert") };
    assert_eq!((detector.as_str(), *patients_count, alerts.len()), ("keeper-budget", 21, 1));

    // A restart gives nothing back.
    keeper.stop().await;
    keeper.clock.advance_ms(30_000);
    keeper.resume().await;
    let refused = client.release(&cast.reading("dr.okafor", &patients[21..])).await.unwrap_err();
    assert!(matches!(refused, KeeperError::OverBudget { window: "minute", .. }), "{refused}");
    keeper.clock.advance_ms(32_000);
    client.release(&cast.reading("dr.okafor", &patients[21..])).await.unwrap();
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_ones_own_holds_over_a_restart_and_nobody_raises_his() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 4).await;
    let own = client
        .set_budget(
            &cast.of("officer"),
            &BudgetOwner::Principal(principal("officer.own")),
            Budget::new(900, 900, 900),
            "more",
        )
        .await
        .unwrap_err();
    assert_eq!(own, KeeperError::OwnCase { act: "raise a budget" });
    let whose = BudgetOwner::Principal(principal("dr.okafor.own"));
    let small = Budget::new(2, 2, 2);
    for nobody in ["dr.okafor", "ada", "privacy", "interface"] {
        let refused = client.set_budget(&cast.of(nobody), &whose, small, "x").await.unwrap_err();
        assert_eq!(refused, KeeperError::NotPermitted { reason: "task-not-for-role" });
    }
    client.set_budget(&cast.of("officer"), &whose, small, "drill").await.unwrap();
    keeper.stop().await;
    keeper.resume().await;
    client.release(&cast.reading("dr.okafor", &patients[..2])).await.unwrap();
    let over = client.release(&cast.reading("dr.okafor", &patients[2..3])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { limit: 2, .. }));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p08_a_suspended_principal_gets_no_key_until_somebody_else_lifts_it() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 1).await;
    let who = principal("dr.okafor.own");
    client.suspend(&Proof::front(), &who, "honey-patient").await.unwrap();
    keeper.stop().await;
    keeper.resume().await;
    let suspended = KeeperError::Suspended { principal: who.clone() };
    let asked = cast.reading("dr.okafor", &patients);
    assert_eq!(client.release(&asked).await.unwrap_err(), suspended);
    // It learns nothing about who exists, and gets no other key either.
    let stranger = cast.reading("dr.okafor", &[PatientId::random()]);
    assert_eq!(client.release(&stranger).await.unwrap_err(), suspended);
    assert_eq!(client.check_session(&cast.of("dr.okafor")).await.unwrap_err(), suspended);
    assert_eq!(client.status().await.unwrap().suspended.len(), 1);
    let own = client.lift(&cast.of("dr.okafor"), &who, "please").await.unwrap_err();
    assert_eq!(own, KeeperError::OwnCase { act: "lift a suspension" });
    let machine = client.lift(&Proof::front(), &who, "please").await.unwrap_err();
    assert_eq!(machine, KeeperError::NotPermitted { reason: "task-not-for-role" });
    // An officer who was suspended does not free himself either.
    client.suspend(&cast.of("privacy"), &principal("officer.own"), "drill").await.unwrap();
    let own = client.lift(&cast.of("officer"), &principal("officer.own"), "please").await;
    assert_eq!(own.unwrap_err(), KeeperError::OwnCase { act: "lift a suspension" });
    client.lift(&cast.of("privacy"), &who, "reviewed").await.unwrap();
    // The session ended with the suspension.
    assert_eq!(client.release(&asked).await.unwrap_err(), KeeperError::NotSignedIn);
    keeper.clock.advance_ms(30_000);
    let again = keeper.sign_in("dr.okafor.own", &cast.secrets["dr.okafor"]).await;
    client.release(&ReleaseRequest { proof: again, ..asked }).await.unwrap();
    assert_eq!(events(&client, "dr.okafor.own", "refusal").await.len(), 4);
    assert_eq!(events(&client, "dr.okafor.own", "key-release").await.len(), 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_patient_gets_no_key_unless_intake_makes_one() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let known = cast.with_patients(&client, 1).await;
    let unknown = PatientId::random();
    let both = [known[0], unknown];
    let refused = client.release(&cast.reading("dr.okafor", &both)).await.unwrap_err();
    assert_eq!(refused, KeeperError::UnknownPatient);
    assert!(events(&client, "dr.okafor.own", "key-release").await.is_empty(), "all or nothing");
    let elsewhere = ReleaseRequest {
        organization: OrganizationId::new("hillside").unwrap(),
        ..cast.reading("dr.okafor", &known)
    };
    assert_eq!(client.release(&elsewhere).await.unwrap_err(), KeeperError::UnknownOrganization);

    // Two intakes of one new patient at the same time: one key.
    let (first, second) = (cast.intake(&[unknown]), cast.intake(&[unknown]));
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
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 1).await;
    keeper.stop().await;
    for _ in 0..3 {
        let away = client.release(&cast.reading("dr.okafor", &patients)).await.unwrap_err();
        assert_eq!((away.category(), away), (Category::Busy, KeeperError::Unreachable));
    }
    keeper.resume().await;
    client.release(&cast.reading("dr.okafor", &patients)).await.unwrap();
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_say_what_the_keeper_did_are_refused_from_outside() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patient = cast.with_patients(&client, 1).await[0];
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
        Event::AccountChange {
            account: principal("web-shell"),
            change: "created".to_owned(),
            role: "system".to_owned(),
        },
        Event::Session { change: "opened".to_owned() },
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
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 2).await;
    let refused = client.forget(&cast.of("officer"), &lakeside(), patients[0], "x").await;
    assert!(matches!(refused.unwrap_err(), KeeperError::NotPermitted { .. }));
    let officer = cast.of("privacy");
    let forget = |patient| {
        let (client, officer) = (client.clone(), officer.clone());
        async move { client.forget(&officer, &lakeside(), patient, "court-order").await }
    };
    forget(patients[0]).await.unwrap();
    forget(patients[0]).await.unwrap();
    assert_eq!(forget(PatientId::random()).await.unwrap_err(), KeeperError::UnknownPatient);
    for _ in 0..2 {
        let gone = client.release(&cast.intake(&patients)).await.unwrap_err();
        assert_eq!(gone, KeeperError::ForgottenPatient, "not even intake makes a new key");
        client.release(&cast.reading("dr.okafor", &patients[1..])).await.unwrap();
        assert_eq!(client.status().await.unwrap().patients_count, 1);
        keeper.stop().await;
        keeper.resume().await;
    }
    assert_eq!(events(&client, "privacy.own", "forgotten").await.len(), 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_keys_are_the_same_after_a_restart_and_open_no_record() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 1).await;
    let created = client.create_organization(&cast.of("ada"), &lakeside()).await.unwrap();
    let before = client.service_keys("start").await.unwrap();
    let kept = before.organizations[&lakeside()].inbox.seal(b"place", b"MSH|");
    let row = before.system.seal("accounts/1", b"row");
    keeper.stop().await;
    keeper.resume().await;
    let after = client.service_keys("start").await.unwrap();
    assert_eq!(after.system.open("accounts/1", &row).unwrap(), b"row");
    assert_eq!(after.mpi.0.open("accounts/1", &row), Err(SealError::NotAuthentic));
    assert_eq!(after.mpi.1.token("ssn", b"1"), before.mpi.1.token("ssn", b"1"));
    let token = after.organizations[&lakeside()].token.token("id", b"1");
    assert_eq!(token, created.token.token("id", b"1"));
    let kept = KeptPayload { message: MessageId(7), aad: b"place", sealed: &kept };
    let opened = client.open_inbox(&lakeside(), &[kept], "catch-up").await.unwrap();
    assert_eq!(opened[0].as_ref().map(|payload| payload.to_vec()), Some(b"MSH|".to_vec()));
    let keys = client.release(&cast.intake(&patients)).await.unwrap();
    let organization = lakeside();
    let body = keys[0]
        .class(ElementClass::Clinical)
        .unwrap()
        .seal(&place(&organization, patients[0]), b"{}");
    assert!(after.system.open("accounts/1", &body).is_err());
    let scopes: Vec<String> = events(&client, "system:exchange", "service-key-release")
        .await
        .into_iter()
        .map(|event| match event {
            Event::ServiceKeyRelease { scope, .. } => scope,
            other => panic!("{}", other.kind()),
        })
        .collect();
    let once = ["system", "mpi", "token:lakeside"];
    assert_eq!(scopes[..6], [&once[..], &once[..]].concat());
    assert!(scopes[6].starts_with("inbox:lakeside:7:"), "{}", scopes[6]);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_follows_within_a_second_and_at_the_end() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 1).await;
    within(Duration::from_secs(20), || async {
        let status = client.status().await.unwrap();
        size_of(&status.checkpoint) == status.ledger_size
    })
    .await;
    let status = client.status().await.unwrap();
    assert!(status.log_vkey.starts_with("test.example/ledger+"));
    for _ in 0..5 {
        client.release(&cast.reading("dr.okafor", &patients)).await.unwrap();
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
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 200).await;
    let mut cast = cast;
    for number in 0..40 {
        cast.connect(&keeper, &format!("interface-{number}"), 10 + number).await;
    }
    let mut asked = tokio::task::JoinSet::new();
    for (number, patient) in patients.iter().copied().enumerate() {
        let client = client.clone();
        let who = cast.of(&format!("interface-{}", number % 40));
        asked.spawn(async move { client.release(&release(who, &[patient])).await.map(drop) });
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
    let (dir, socket) = (folder.path().join("keeper"), folder.path().join("keeper.sock"));
    let config = KeeperConfig::new(dir, socket, "test.example/ledger");
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
    let config = keeper.config();
    let clock: Arc<dyn Clock> = keeper.clock.clone();
    let passphrase = Zeroizing::new(PASSPHRASE.to_vec());
    let second = run(config, passphrase, clock, std::future::pending(), || {}).await;
    assert!(matches!(second, Err(StartError::Ledger(_))));
    keeper.settle().await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_without_reason_patient_or_class_is_malformed() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 1).await;
    for malformed in [
        ReleaseRequest { reason: " ".to_owned(), ..cast.reading("dr.okafor", &patients) },
        ReleaseRequest { patients: Vec::new(), ..cast.reading("dr.okafor", &patients) },
        ReleaseRequest { classes: ClassSet::EMPTY, ..cast.reading("dr.okafor", &patients) },
        ReleaseRequest { reason: "r".repeat(1_000), ..cast.reading("dr.okafor", &patients) },
    ] {
        let refused = client.release(&malformed).await.unwrap_err();
        assert_eq!(refused.category(), Category::Incorrect, "{refused}");
    }
    keeper.stop().await;
}
