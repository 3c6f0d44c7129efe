//! Who asks: credentials, sessions, budgets and grants, and what a front process that
//! somebody else controls gets out of a keeper.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{ADDRESS, Cast, Keeper, START, events, lakeside, new, placed, principal, release};
use holdfast_base::{MessageId, OrganizationId, PatientId, Sensitive};
use holdfast_keeper::{
    Budget, BudgetOwner, GrantProposal, ImportedPrincipal, KeeperError, KeptPayload, NewPrincipal,
    Proof, ReleaseRequest, SessionToken,
};
use holdfast_ledger::Event;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn other_token() -> SessionToken {
    SessionToken::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap()
}

fn not_for_role() -> KeeperError {
    KeeperError::NotPermitted { reason: "task-not-for-role" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_code_in_the_front_process_gets_its_own_small_budget_and_no_power() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let patients = cast.with_patients(&client, 70).await;
    // A token that it makes up, a session that it borrows at another address, set-up.
    let made_up = Proof::session(other_token(), Some(ADDRESS));
    let refused = client.release(&release(made_up, &patients[..1])).await.unwrap_err();
    assert_eq!(refused, KeeperError::NotSignedIn);
    let elsewhere = Proof { address: Some("203.0.113.9".to_owned()), ..cast.of("dr.okafor") };
    let refused = client.release(&release(elsewhere, &patients[..1])).await.unwrap_err();
    assert_eq!(refused, KeeperError::NotSignedIn);
    let set_up = Proof::set_up(principal("set-up:me"));
    let refused = client.release(&release(set_up.clone(), &patients[..1])).await.unwrap_err();
    assert_eq!(refused, KeeperError::NotPermitted { reason: "already-set-up" });
    // In its own name: sixty patients a minute, and an alert.
    client.release(&release(Proof::front(), &patients[..60])).await.unwrap();
    let over = client.release(&release(Proof::front(), &patients[60..61])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { window: "minute", limit: 60, .. }));
    let alerts = events(&client, "system:exchange", "alert").await;
    assert!(matches!(&alerts[..], [Event::Alert { detector, .. }] if detector == "service-budget"));
    // It makes nobody, raises nothing, lifts and grants nothing.
    let wide = Budget::new(9_999, 9_999, 9_999);
    let (who, front) = (principal("interface"), Proof::front());
    let whose = BudgetOwner::Principal(who.clone());
    let proposal = proposal(100, HOUR_MS);
    for refused in [
        client.enrol(&front, &new("me", "system")).await.map(drop),
        client.enrol(&set_up, &new("me", "administrator")).await.map(drop),
        client.set_budget(&front, &whose, wide, "x").await,
        client.lift(&front, &who, "x").await,
        client.propose_grant(&front, proposal).await.map(drop),
        client.forget(&front, &lakeside(), patients[0], "x").await,
        client.import(vec![imported("me", "administrator")]).await,
    ] {
        assert!(matches!(refused, Err(KeeperError::NotPermitted { .. })), "{refused:?}");
    }
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_an_entry_says_what_the_keeper_knows_of_who_asked() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let patients = cast.with_patients(&client, 1).await;
    let facts = client.check_session(&cast.of("dr.okafor")).await.unwrap();
    assert_eq!((facts.role.as_str(), facts.organization), ("clinician", lakeside()));
    client.release(&cast.reading("dr.okafor", &patients)).await.unwrap();
    for kind in ["session", "key-release"] {
        let entry = placed(&client, "dr.okafor.own", kind).await.remove(0).entry;
        assert_eq!(entry.actor.session, Some(facts.session), "{kind}");
        assert_eq!(entry.actor.organization, Some(lakeside()), "{kind}");
        assert_eq!(entry.actor.address.as_deref(), Some(ADDRESS), "{kind}");
    }
    let vouched = events(&client, "interface", "session").await;
    assert_eq!(vouched, [Event::Session { change: "vouched".to_owned() }]);
    // An interface has no business with another organization's patients.
    let hillside = OrganizationId::new("hillside").unwrap();
    client.create_organization(&cast.of("ada"), &hillside).await.unwrap();
    let elsewhere =
        ReleaseRequest { organization: hillside, ..cast.intake(&[PatientId::random()]) };
    let refused = client.release(&elsewhere).await.unwrap_err();
    assert_eq!(refused, KeeperError::NotPermitted { reason: "other-organization" });
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p14_sessions_survive_a_keeper_that_dies_and_their_limits_too() {
    let mut keeper = Keeper::start().await;
    let (client, mut cast) = (keeper.client(), keeper.settle().await);
    let patients = cast.with_patients(&client, 1).await;
    client.close_session(&cast.of("dr.lindqvist")).await.unwrap();
    keeper.stop().await;
    keeper.resume().await;
    client.release(&cast.reading("dr.okafor", &patients)).await.unwrap();
    let closed = client.release(&cast.reading("dr.lindqvist", &patients)).await.unwrap_err();
    assert_eq!(closed, KeeperError::NotSignedIn);
    // Idle: fifteen minutes, counted from the last use, whatever the front says.
    keeper.clock.advance_ms(14 * MINUTE_MS);
    client.check_session(&cast.of("dr.okafor")).await.unwrap();
    keeper.clock.advance_ms(14 * MINUTE_MS);
    client.release(&cast.reading("dr.okafor", &patients)).await.unwrap();
    keeper.clock.advance_ms(15 * MINUTE_MS);
    let idle = client.release(&cast.reading("dr.okafor", &patients)).await.unwrap_err();
    assert_eq!(idle, KeeperError::NotSignedIn);
    // A clock that steps back wakes nobody up, also not over a restart.
    keeper.clock.advance_ms(-HOUR_MS);
    assert!(client.check_session(&cast.of("dr.okafor")).await.is_err());
    // Lifetime: ten hours, however busy.
    keeper.clock.advance_ms(2 * HOUR_MS);
    let again = keeper.sign_in("dr.lindqvist.own", &cast.secrets["dr.lindqvist"]).await;
    cast.proofs.insert("dr.lindqvist".to_owned(), again);
    for _ in 0..59 {
        keeper.clock.advance_ms(10 * MINUTE_MS);
        let _ = client.check_session(&cast.of("dr.lindqvist")).await;
    }
    keeper.clock.advance_ms(2 * HOUR_MS);
    assert!(client.check_session(&cast.of("dr.lindqvist")).await.is_err());
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_a_clock_that_steps_back_over_a_restart_grants_nothing() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let patients = cast.with_patients(&client, 21).await;
    client.release(&cast.reading("dr.okafor", &patients[..20])).await.unwrap();
    keeper.stop().await;
    keeper.clock.advance_ms(-3 * HOUR_MS);
    keeper.resume().await;
    let over = client.release(&cast.reading("dr.okafor", &patients[20..])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { window: "minute", .. }), "{over}");
    // The entry says what the clock said.
    let refused = placed(&client, "dr.okafor.own", "refusal").await.remove(0);
    assert_eq!(refused.entry.at, START.plus_millis(-3 * HOUR_MS));
    // Ten hours after its opening by the later clock the session is over, not after
    // thirteen.
    keeper.clock.advance_ms(13 * HOUR_MS);
    assert!(client.check_session(&cast.of("interface")).await.is_err());
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_wrong_attempts_wait_and_a_code_works_once_also_over_a_restart() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let secrets = &cast.secrets["dr.okafor"];
    let wrong = Sensitive::new("not it".to_owned());
    let try_it = async |password: &Sensitive<String>, code: &str, from: &str| {
        client.open_session("dr.okafor.own", password, code, Some(from)).await.map(drop)
    };
    // The code that signed in before.
    let replayed = try_it(&secrets.password, &keeper.code(secrets), "198.51.100.1").await;
    assert_eq!(replayed, Err(KeeperError::NotSignedIn));
    keeper.stop().await;
    keeper.resume().await;
    let replayed = try_it(&secrets.password, &keeper.code(secrets), "198.51.100.1").await;
    assert_eq!(replayed, Err(KeeperError::NotSignedIn));
    keeper.clock.advance_ms(30_000);
    for attempt in 0..6 {
        let refused = try_it(&wrong, &keeper.code(secrets), "198.51.100.2").await;
        match attempt {
            0..5 => assert_eq!(refused, Err(KeeperError::NotSignedIn), "{attempt}"),
            _ => assert_eq!(refused, Err(KeeperError::Throttled { wait_seconds: 1 })),
        }
    }
    keeper.stop().await;
    keeper.resume().await;
    let right = try_it(&secrets.password, &keeper.code(secrets), "198.51.100.3").await;
    assert_eq!(right, Err(KeeperError::Throttled { wait_seconds: 1 }), "a restart frees nobody");
    keeper.clock.advance_ms(1_000);
    try_it(&secrets.password, &keeper.code(secrets), "198.51.100.3").await.unwrap();
    let nobody = client.open_session("no.such.person", &wrong, "000000", None).await;
    assert_eq!(nobody.map(drop), Err(KeeperError::NotSignedIn));
    let reasons: Vec<String> = events(&client, "dr.okafor.own", "refusal")
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::Refusal { door, reason, .. } if door == "sign-in" => Some(reason),
            _ => None,
        })
        .collect();
    let (used, wrong) = ("code-used-before", "wrong-credentials");
    let expected = [&[used; 2][..], &[wrong; 5][..], &["throttled"; 2][..]].concat();
    assert_eq!(reasons, expected);
    assert_eq!(events(&client, "nobody", "refusal").await.len(), 1, "what was typed is not kept");
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_the_first_principal_is_an_administrator_and_makes_the_others() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let set_up = Proof::set_up(principal("set-up:test"));
    let (first, borrowed) = (new("ada", "administrator"), Proof::set_up(principal("ada")));
    let borrowed = client.enrol(&borrowed, &first).await;
    assert!(matches!(borrowed, Err(KeeperError::Malformed { .. })), "no borrowed name");
    let nowhere = client.enrol(&set_up, &new("ada", "administrator")).await.unwrap_err();
    assert_eq!(nowhere, KeeperError::UnknownOrganization);
    client.create_organization(&set_up, &lakeside()).await.unwrap();
    let clerk = client.enrol(&set_up, &new("dr.okafor.own", "clinician")).await.unwrap_err();
    assert_eq!(clerk, KeeperError::NotPermitted { reason: "first-is-administrator" });
    let mut cast = Cast::default();
    cast.join(&keeper, &set_up, &new("ada", "administrator")).await;
    let late = client.enrol(&set_up, &new("eve", "administrator")).await.unwrap_err();
    assert_eq!(late, KeeperError::NotPermitted { reason: "already-set-up" });
    let ada = cast.of("ada");
    let certificate = Some([3; 32]);
    for (malformed, why) in [
        (new("tester", "clinician"), "a name that many share"),
        (new("system:exchange", "clinician"), "a name of the keeper's"),
        (new("wiz.ard", "wizard"), "an unknown role"),
        (new("fro.nt", "front"), "the keeper's own role"),
        (new("interface", "system"), "a system without certificate"),
        (NewPrincipal { certificate, ..new("per.son", "nurse") }, "a person with one"),
    ] {
        let refused = client.enrol(&ada, &malformed).await.map(drop);
        assert!(matches!(refused, Err(KeeperError::Malformed { .. })), "{why}: {refused:?}");
    }
    let taken = client.enrol(&ada, &new("ada", "nurse")).await.map(drop);
    assert_eq!(taken, Err(KeeperError::Taken));
    cast.connect(&keeper, "interface", 3).await;
    let same = NewPrincipal { certificate, ..new("interface-b", "system") };
    assert_eq!(client.enrol(&ada, &same).await.map(drop), Err(KeeperError::Taken));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_secrets_and_closing_end_sessions_for_good() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let (ada, okafor) = (cast.of("ada"), principal("dr.okafor.own"));
    let refused = client.reset_secrets(&cast.of("officer"), &okafor, None).await.map(drop);
    assert_eq!(refused, Err(not_for_role()));
    let fresh = client.reset_secrets(&ada, &okafor, None).await.unwrap();
    let ended = client.check_session(&cast.of("dr.okafor")).await.unwrap_err();
    assert_eq!(ended, KeeperError::NotSignedIn);
    keeper.clock.advance_ms(30_000);
    let old = &cast.secrets["dr.okafor"];
    let code = keeper.code(old);
    let with_old = client.open_session("dr.okafor.own", &old.password, &code, None).await;
    assert_eq!(with_old.map(drop), Err(KeeperError::NotSignedIn));
    let again = keeper.sign_in("dr.okafor.own", &fresh).await;
    client.close_principal(&ada, &okafor).await.unwrap();
    client.close_principal(&ada, &principal("interface")).await.unwrap();
    for _ in 0..2 {
        assert!(client.check_session(&again).await.is_err());
        assert!(client.vouch_system(&[1; 32], Some(ADDRESS)).await.is_err());
        keeper.clock.advance_ms(30_000);
        let code = keeper.code(&fresh);
        let closed = client.open_session("dr.okafor.own", &fresh.password, &code, None).await;
        assert_eq!(closed.map(drop), Err(KeeperError::NotSignedIn));
        keeper.stop().await;
        keeper.resume().await;
    }
    let reused = client.enrol(&ada, &new("dr.okafor.own", "nurse")).await.map(drop);
    assert_eq!(reused, Err(KeeperError::Taken), "a name stands for one person for ever");
    let changes: Vec<String> = events(&client, "ada", "account-change")
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::AccountChange { account, change, .. } if account == okafor => Some(change),
            _ => None,
        })
        .collect();
    assert_eq!(changes, ["created", "secret-reset", "closed"]);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_an_organizations_budget_bounds_what_vouched_systems_do_together() {
    let mut keeper = Keeper::start().await;
    let (client, mut cast) = (keeper.client(), keeper.settle().await);
    cast.connect(&keeper, "interface-b", 2).await;
    let whose = BudgetOwner::Organization(lakeside());
    let small = Budget::new(10, 20, 30);
    client.set_budget(&cast.of("officer"), &whose, small, "drill").await.unwrap();
    cast.with_patients(&client, 6).await;
    for restart in [false, true] {
        if restart {
            keeper.stop().await;
            keeper.resume().await;
        }
        let five: Vec<PatientId> = (0..5).map(|_| PatientId::random()).collect();
        let asked = release(cast.of("interface-b"), &five);
        let over = client.release(&asked).await.unwrap_err();
        let principal = principal("organization:lakeside");
        assert_eq!(over, KeeperError::OverBudget { principal, window: "minute", limit: 10 });
    }
    let four: Vec<PatientId> = (0..4).map(|_| PatientId::random()).collect();
    client.release(&release(cast.of("interface-b"), &four)).await.unwrap();
    let reasons = events(&client, "interface-b", "refusal").await;
    assert_eq!(reasons.len(), 2);
    let alerts = events(&client, "interface-b", "alert").await;
    let detector = |event: &Event| matches!(event, Event::Alert { detector, .. } if detector == "organization-budget");
    assert!(alerts.len() == 2 && alerts.iter().all(detector));
    keeper.stop().await;
}

fn proposal(patients_max: u32, life_ms: i64) -> GrantProposal {
    GrantProposal {
        organization: lakeside(),
        account: principal("dr.okafor.own"),
        patients_max,
        until: START.plus_millis(life_ms),
        reason: "recall of a vaccine lot".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_bulk_work_needs_a_second_person_and_ends_at_its_ceiling_and_by_itself() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let patients = cast.with_patients(&client, 60).await;
    let (officer, privacy) = (cast.of("officer"), cast.of("privacy"));
    for (malformed, why) in [
        (proposal(0, HOUR_MS), "no patients"),
        (proposal(9, -1), "over before it began"),
        (proposal(9, 8 * 24 * HOUR_MS), "too long"),
        (GrantProposal { reason: " ".to_owned(), ..proposal(9, HOUR_MS) }, "no reason"),
    ] {
        let refused = client.propose_grant(&officer, malformed).await;
        assert!(matches!(refused, Err(KeeperError::Malformed { .. })), "{why}: {refused:?}");
    }
    for nobody in ["dr.okafor", "interface"] {
        let refused = client.propose_grant(&cast.of(nobody), proposal(9, HOUR_MS)).await;
        assert_eq!(refused, Err(not_for_role()));
    }
    let grant = client.propose_grant(&officer, proposal(50, HOUR_MS)).await.unwrap();
    let own = client.approve_grant(&officer, grant).await.unwrap_err();
    assert_eq!(own, KeeperError::OwnCase { act: "approve a grant" });
    let waiting = client.release(&cast.reading("dr.okafor", &patients[..21])).await.unwrap_err();
    assert!(matches!(waiting, KeeperError::OverBudget { window: "minute", limit: 20, .. }));
    client.approve_grant(&privacy, grant).await.unwrap();
    assert_eq!(client.approve_grant(&cast.of("ada"), grant).await, Err(KeeperError::UnknownGrant));
    client.release(&cast.reading("dr.okafor", &patients[..45])).await.unwrap();
    // The ceiling holds over a restart.
    keeper.stop().await;
    keeper.resume().await;
    let listed = client.grants(&officer).await.unwrap().remove(0);
    assert_eq!((listed.id, listed.patients_count, listed.patients_max), (grant, 45, 50));
    assert_eq!(listed.approved_by, Some(principal("privacy.own")));
    let over = client.release(&cast.reading("dr.okafor", &patients[45..51])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { window: "grant", limit: 50, .. }), "{over}");
    client.release(&cast.reading("dr.okafor", &patients[45..50])).await.unwrap();
    // It ends by itself; what was opened under it did not use the budget up.
    for _ in 0..5 {
        keeper.clock.advance_ms(12 * MINUTE_MS);
        for who in ["officer", "privacy", "dr.okafor"] {
            client.check_session(&cast.of(who)).await.unwrap();
        }
    }
    assert!(client.grants(&officer).await.unwrap().is_empty());
    client.release(&cast.reading("dr.okafor", &patients[40..60])).await.unwrap();
    let over = client.release(&cast.reading("dr.okafor", &patients[..1])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { window: "minute", limit: 20, .. }));
    // Another one is revoked.
    let grant = client.propose_grant(&privacy, proposal(50, 2 * HOUR_MS)).await.unwrap();
    client.approve_grant(&officer, grant).await.unwrap();
    client.release(&cast.reading("dr.okafor", &patients[..1])).await.unwrap();
    client.revoke_grant(&privacy, grant, "done").await.unwrap();
    let over = client.release(&cast.reading("dr.okafor", &patients[..1])).await.unwrap_err();
    assert!(matches!(over, KeeperError::OverBudget { window: "minute", .. }));
    let steps: Vec<String> = [
        events(&client, "officer.own", "bulk-grant").await,
        events(&client, "privacy.own", "bulk-grant").await,
    ]
    .concat()
    .into_iter()
    .map(|event| match event {
        Event::BulkGrant { step, .. } => step,
        other => panic!("{}", other.kind()),
    })
    .collect();
    assert_eq!(steps, ["proposed", "approved", "approved", "proposed", "revoked"]);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_an_officer_of_a_client_acts_for_the_client_only() {
    let mut keeper = Keeper::start().await;
    let (client, mut cast) = (keeper.client(), keeper.settle().await);
    let hillside = OrganizationId::new("hillside").unwrap();
    let ada = cast.of("ada");
    client.create_organization(&ada, &hillside).await.unwrap();
    let theirs =
        NewPrincipal { organization: hillside.clone(), ..new("hill.officer", "security-officer") };
    cast.join(&keeper, &ada, &theirs).await;
    let theirs = cast.of("hill.officer");
    let okafor = principal("dr.okafor.own");
    let (whose, budget) = (BudgetOwner::Principal(okafor.clone()), Budget::new(1, 1, 1));
    let lake = BudgetOwner::Organization(lakeside());
    for refused in [
        client.suspend(&theirs, &okafor, "x").await,
        client.lift(&theirs, &okafor, "x").await,
        client.set_budget(&theirs, &whose, budget, "x").await,
        client.set_budget(&theirs, &lake, budget, "x").await,
        client.propose_grant(&theirs, proposal(9, HOUR_MS)).await.map(drop),
    ] {
        assert_eq!(refused, Err(KeeperError::NotPermitted { reason: "other-organization" }));
    }
    let own = BudgetOwner::Organization(hillside);
    client.set_budget(&theirs, &own, budget, "quiet weeks").await.unwrap();
    let grant = client.propose_grant(&cast.of("officer"), proposal(9, HOUR_MS)).await.unwrap();
    assert!(client.approve_grant(&theirs, grant).await.is_err());
    assert!(client.grants(&theirs).await.unwrap().is_empty());
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_kept_payloads_open_one_by_one_with_an_entry_each_and_within_a_budget() {
    let mut keeper = Keeper::start().await;
    let (client, _cast) = (keeper.client(), keeper.settle().await);
    let sealer = &client.service_keys("start").await.unwrap().organizations[&lakeside()].inbox;
    let sealed: Vec<Vec<u8>> =
        (0..1_001_u32).map(|number| sealer.seal(b"place", &number.to_be_bytes())).collect();
    let kept = |range: std::ops::Range<usize>| -> Vec<KeptPayload<'_>> {
        let of =
            |at: usize| KeptPayload { message: MessageId(1), aad: b"place", sealed: &sealed[at] };
        range.map(of).collect()
    };
    // Whatever number they are given: each counts.
    for chunk in 0..4 {
        let some = kept(chunk * 250..chunk * 250 + 250);
        let opened = client.open_inbox(&lakeside(), &some, "catch-up").await.unwrap();
        let first = opened[0].as_ref().unwrap();
        assert_eq!(first[..], (chunk as u32 * 250).to_be_bytes());
    }
    for restart in [false, true] {
        if restart {
            keeper.stop().await;
            keeper.resume().await;
        }
        let over = client.open_inbox(&lakeside(), &kept(1_000..1_001), "x").await.unwrap_err();
        assert!(matches!(over, KeeperError::OverBudget { window: "minute", .. }), "{over}");
    }
    let again = client.open_inbox(&lakeside(), &kept(0..1), "again").await.unwrap();
    assert!(again[0].is_some(), "opened within the window already, and an entry all the same");
    let scopes = events(&client, "system:exchange", "service-key-release").await;
    let opened = |event: &&Event| matches!(event, Event::ServiceKeyRelease { scope, .. } if scope.starts_with("inbox:lakeside:1:"));
    assert_eq!(scopes.iter().filter(opened).count(), 1_001);
    keeper.stop().await;
}

fn imported(name: &str, role: &str) -> ImportedPrincipal {
    ImportedPrincipal {
        principal: new(name, role),
        // Of "correct horse", as an older exchange hashed it.
        password_hash: Some(HASH.to_owned()),
        totp_secret: Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned()),
    }
}

/// Argon2id of nothing that anybody knows.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
    WFjPvx1kT4xBu1sMwhyq6n7CCNqUMpwnQ3kM8Eh8dVU";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn principals_of_an_older_exchange_are_taken_over_once() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let broken = ImportedPrincipal { password_hash: None, ..imported("ada", "administrator") };
    assert!(client.import(vec![broken]).await.is_err());
    let all = vec![imported("ada", "administrator"), imported("dr.okafor.own", "clinician")];
    client.import(all.clone()).await.unwrap();
    for _ in 0..2 {
        let again = client.import(all.clone()).await.unwrap_err();
        assert_eq!(again, KeeperError::NotPermitted { reason: "not-empty" });
        let set_up = Proof::set_up(principal("set-up:me"));
        let late = client.enrol(&set_up, &new("eve", "administrator")).await.map(drop);
        assert_eq!(late, Err(KeeperError::NotPermitted { reason: "already-set-up" }));
        keeper.stop().await;
        keeper.resume().await;
    }
    assert_eq!(events(&client, "system:exchange", "account-change").await.len(), 2);
    keeper.stop().await;
}

/// Speaks to the socket itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_version_is_told_which_one_is_spoken() {
    use std::io::{Read, Write};
    let mut keeper = Keeper::start().await;
    let socket = keeper.socket();
    for version in [0_u8, 1, 2, 4, 255] {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut frame = vec![0, 0, 0, 10, version];
        frame.extend_from_slice(&7_u64.to_be_bytes());
        frame.push(5);
        stream.write_all(&frame).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.get(4), Some(&3), "the answer says which version is spoken: {answer:?}");
    }
    keeper.stop().await;
}

/// A keeper of the next version, as a client of this one meets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_of_another_version_is_named_in_a_clear_sentence() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("keeper.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 13];
            let _ = stream.read_exact(&mut asked).await;
            let _ = stream.write_all(&[0, 0, 0, 10, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await;
        }
    });
    let client = holdfast_keeper::KeeperClient::new(socket);
    let refused = client.status().await.unwrap_err();
    assert_eq!(refused, KeeperError::OtherVersion { theirs: 4, ours: 3 });
    assert!(refused.to_string().contains("run the same version of Holdfast on both sides"));
}
