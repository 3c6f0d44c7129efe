//! Administration as the keeper allows it: who runs the exchange, suspending a whole
//! organization, looking at kept payloads, coming back without any administrator.
#![allow(clippy::unwrap_used)]

mod common;

use common::{ADDRESS, Cast, Keeper, PASSPHRASE, events, lakeside, new, principal};
use holdfast_base::{MessageId, OrganizationId};
use holdfast_keeper::{
    Budget, BudgetOwner, KeeperClient, KeeperError, KeptPayload, NewPrincipal, Proof,
};
use holdfast_ledger::Event;

fn hillside() -> OrganizationId {
    OrganizationId::new("hillside").unwrap()
}

fn not_permitted<T>(reason: &'static str) -> Result<T, KeeperError> {
    Err(KeeperError::NotPermitted { reason })
}

/// A second organization with a doctor, an interface and both officers.
async fn with_hillside(keeper: &Keeper, cast: &mut Cast) {
    let (client, ada) = (keeper.client(), cast.of("ada"));
    client.create_organization(&ada, &hillside()).await.unwrap();
    for (name, role) in [
        ("hill.doctor", "clinician"),
        ("hill.security", "security-officer"),
        ("hill.privacy", "privacy-officer"),
    ] {
        let there = NewPrincipal { organization: hillside(), ..new(name, role) };
        cast.join(keeper, &ada, &there).await;
    }
    let system = NewPrincipal {
        organization: hillside(),
        certificate: Some([7; 32]),
        ..new("hill.interface", "system")
    };
    client.enrol(&ada, &system).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_administrators_are_where_the_exchange_is_run_and_there_is_always_one() {
    let mut keeper = Keeper::start().await;
    let (client, mut cast) = (keeper.client(), keeper.settle().await);
    with_hillside(&keeper, &mut cast).await;
    let ada = cast.of("ada");
    // An administrator there would give hillside's officers everybody's records.
    let there = NewPrincipal { organization: hillside(), ..new("eve.hill", "administrator") };
    assert_eq!(client.enrol(&ada, &there).await.map(drop), not_permitted("other-organization"));
    let last = client.close_principal(&ada, &principal("ada")).await;
    assert_eq!(last, not_permitted("last-administrator"));
    cast.join(&keeper, &ada, &new("grace", "administrator")).await;
    client.close_principal(&cast.of("grace"), &principal("ada")).await.unwrap();
    let last = client.close_principal(&cast.of("grace"), &principal("grace")).await;
    assert_eq!(last, not_permitted("last-administrator"));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p07_a_suspended_organization_does_nothing_also_after_a_restart() {
    let mut keeper = Keeper::start().await;
    let (client, mut cast) = (keeper.client(), keeper.settle().await);
    with_hillside(&keeper, &mut cast).await;
    let (hill, lake) = (principal("organization:hillside"), principal("organization:lakeside"));
    let officer = cast.of("officer");
    for refused in [
        client.suspend(&cast.of("hill.security"), &hill, "x").await,
        client.suspend(&cast.of("hill.security"), &lake, "x").await,
    ] {
        assert_eq!(refused, not_permitted("other-organization"));
    }
    assert_eq!(client.suspend(&officer, &lake, "x").await, not_permitted("runs-the-exchange"));
    let nobody = principal("organization:nowhere");
    let unknown = client.suspend(&officer, &nobody, "x").await;
    assert_eq!(unknown, Err(KeeperError::UnknownOrganization));
    client.check_session(&cast.of("hill.doctor")).await.unwrap();
    client.suspend(&officer, &hill, "their network is not theirs any more").await.unwrap();
    for restart in [false, true] {
        if restart {
            keeper.stop().await;
            keeper.resume().await;
        }
        let over = client.check_session(&cast.of("hill.doctor")).await;
        assert!(over.is_err(), "{over:?}");
        assert!(client.vouch_system(&[7; 32], Some(ADDRESS)).await.is_err());
        keeper.clock.advance_ms(30_000);
        let secrets = &cast.secrets["hill.doctor"];
        let code = keeper.code(secrets);
        let again = client.open_session("hill.doctor", &secrets.password, &code, None).await;
        assert!(matches!(again.map(drop), Err(KeeperError::Suspended { .. })));
        client.check_session(&cast.of("dr.okafor")).await.unwrap();
    }
    client.lift(&cast.of("officer"), &hill, "a new network").await.unwrap();
    keeper.clock.advance_ms(30_000);
    keeper.sign_in("hill.doctor", &cast.secrets["hill.doctor"]).await;
    client.vouch_system(&[7; 32], Some(ADDRESS)).await.unwrap();
    keeper.stop().await;
}

async fn show(
    client: &KeeperClient,
    proof: &Proof,
    sealed: &[u8],
) -> Result<Option<Vec<u8>>, KeeperError> {
    let kept = KeptPayload { message: MessageId(9), aad: b"place", sealed };
    let shown = client.show_payload(proof, &lakeside(), kept, "the sender asks why").await?;
    Ok(shown.map(|payload| payload.to_vec()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_kept_payload_is_shown_to_its_organizations_privacy_office_within_its_budget() {
    let mut keeper = Keeper::start().await;
    let (client, mut cast) = (keeper.client(), keeper.settle().await);
    with_hillside(&keeper, &mut cast).await;
    let sealer = &client.service_keys("start").await.unwrap().organizations[&lakeside()].inbox;
    let sealed: Vec<_> = (0..3_u8).map(|number| sealer.seal(b"place", &[number])).collect();
    for who in ["ada", "officer", "dr.okafor", "interface"] {
        let refused = show(&client, &cast.of(who), &sealed[0]).await;
        assert_eq!(refused, not_permitted("task-not-for-role"), "{who}");
    }
    assert_eq!(
        show(&client, &Proof::front(), &sealed[0]).await,
        not_permitted("task-not-for-role")
    );
    let elsewhere = show(&client, &cast.of("hill.privacy"), &sealed[0]).await;
    assert_eq!(elsewhere, not_permitted("other-organization"));
    let privacy = cast.of("privacy");
    assert_eq!(show(&client, &privacy, &sealed[0]).await, Ok(Some(vec![0])));
    let told = events(&client, "privacy.own", "service-key-release").await;
    assert!(
        matches!(&told[..], [Event::ServiceKeyRelease { scope, reason }]
            if scope.starts_with("inbox:lakeside:9:") && reason == "shown: the sender asks why"),
        "{told:?}"
    );
    // Each counts like a patient, and is remembered.
    let whose = BudgetOwner::Principal(principal("privacy.own"));
    client.set_budget(&cast.of("officer"), &whose, Budget::new(2, 2, 2), "test").await.unwrap();
    assert_eq!(show(&client, &privacy, &sealed[1]).await, Ok(Some(vec![1])));
    for restart in [false, true] {
        if restart {
            keeper.stop().await;
            keeper.resume().await;
        }
        let over = show(&client, &privacy, &sealed[2]).await;
        assert!(matches!(over, Err(KeeperError::OverBudget { limit: 2, .. })), "{over:?}");
        assert_eq!(show(&client, &privacy, &sealed[0]).await, Ok(Some(vec![0])), "seen already");
    }
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p06_the_passphrase_gives_an_administrator_new_secrets_and_nobody_else() {
    let mut keeper = Keeper::start().await;
    let (client, cast) = (keeper.client(), keeper.settle().await);
    let (ada, okafor) = (principal("ada"), principal("dr.okafor.own"));
    let wrong = client.recover_administrator(b"open sesame", &ada).await.map(drop);
    assert_eq!(wrong, Err(KeeperError::WrongPassphrase));
    let other = client.recover_administrator(PASSPHRASE, &okafor).await.map(drop);
    assert_eq!(other, not_permitted("task-not-for-role"));
    let unknown = client.recover_administrator(PASSPHRASE, &principal("eve.own")).await.map(drop);
    assert_eq!(unknown, Err(KeeperError::UnknownPrincipal));
    let fresh = client.recover_administrator(PASSPHRASE, &ada).await.unwrap();
    assert!(client.check_session(&cast.of("ada")).await.is_err(), "sessions of before are over");
    keeper.clock.advance_ms(30_000);
    keeper.sign_in("ada", &fresh).await;
    let refusals = events(&client, "system:operator", "refusal").await;
    assert_eq!(refusals.len(), 1, "a wrong passphrase is in the ledger: {refusals:?}");
    keeper.stop().await;
}
