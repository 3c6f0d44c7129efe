//! The attack wins where it must, and recovers nothing but what is written down.
#![allow(clippy::unwrap_used)]

use holdfast_attack::features::look;
use holdfast_attack::stolen::Stolen;
use holdfast_attack::trial::{Class, Score, Thief, attack_all, learn_all};
use holdfast_attack::{database, victim, weak};
use holdfast_testkit::Postgres;

#[test]
fn the_attack_recovers_most_of_a_layout_that_is_weak_on_purpose() {
    let margins = [
        (Class::Condition, 0.2),
        (Class::Observation, 0.4),
        (Class::Family, 0.1),
        (Class::Given, 0.03),
        (Class::Sensitive, 0.1),
    ];
    let (own, own_truth) = weak::make(1_000, 1);
    let (stolen, truth) = weak::make(1_000, 2);
    let (own, stolen) = (look(&own), look(&stolen));
    for (class, margin) in margins {
        let thief = Thief::learn(class, &own, &own_truth, 1).unwrap();
        let score = thief.attack(&stolen, &truth).unwrap();
        assert!(score.difference() > margin && score.leaks(3.0), "{score:?}");
    }
}

/// What Holdfast's layout must not give away.
const CLOSED: &[Class] = &[
    Class::ResourceType,
    Class::Condition,
    Class::Sex,
    Class::BirthYear,
    Class::Family,
    Class::Given,
    Class::Sensitive,
];

/// What a small store may give away, on either engine: nothing beyond chance, but
/// for what `docs/attack.md` says stays open, which may not become more.
async fn hold(url: Option<String>) -> Vec<Score> {
    let people = 90;
    let own = victim::make(people, 1, None).await.unwrap();
    let stolen = Stolen::from_folder(&own.folder).unwrap();
    let thieves = learn_all(&look(&stolen), &own.truth, 1);
    let victim = victim::make(people, 2, url.clone()).await.unwrap();
    let stolen = match &url {
        Some(url) => database::from_postgres(url, Some(&victim.folder)).await.unwrap(),
        None => Stolen::from_folder(&victim.folder).unwrap(),
    };
    assert!(stolen.of("index").len() > people * 5 && stolen.ledger.len() > people);
    attack_all(&thieves, &look(&stolen), &victim.truth)
}

fn nothing_told(scores: &[Score]) {
    assert_eq!(scores.len(), Class::ALL.len());
    for score in scores.iter().filter(|score| CLOSED.contains(&score.class)) {
        // Two engines, two times six questions: chance alone reaches this once in
        // thousands of runs.
        assert!(!score.leaks(4.0), "{score:?}");
    }
    // Of this a little stays open: one or two in a hundred. It was two thirds.
    let observation = scores.iter().find(|score| score.class == Class::Observation).unwrap();
    assert!(observation.difference() < 0.05, "{observation:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_thief_of_an_embedded_store_learns_no_name_sex_or_diagnosis() {
    nothing_told(&hold(None).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p02_a_thief_of_a_database_learns_no_name_sex_or_diagnosis() {
    let Some(server) = Postgres::shared() else { return };
    nothing_told(&hold(Some(server.create_database())).await);
}
