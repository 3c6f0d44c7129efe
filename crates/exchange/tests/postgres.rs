//! P15: the same exchange over the second storage engine.
#![allow(clippy::unwrap_used)]

use holdfast_exchange::{Ask, Handling, Outcome};
use holdfast_sample::Options;
use holdfast_testkit::{Postgres, TestExchange};

#[tokio::test(flavor = "multi_thread")]
async fn p15_the_sample_stream_ends_the_same_on_both_engines() {
    let Some(server) = Postgres::shared() else { return };
    let options = Options { patients: 8, seed: 7, ..Options::default() };
    let embedded = TestExchange::start().await;
    let mut database = TestExchange::start_on(server.create_database()).await;
    let (one, two) = (embedded.send_stream(&options).await, database.send_stream(&options).await);
    assert!(one.len() > 20);
    for ((_, one), (_, two)) in one.iter().zip(&two) {
        assert_eq!(one.outcome, two.outcome);
        assert_eq!(one.written.len(), two.written.len());
    }
    let accepted = two.iter().filter(|(_, a)| matches!(a.outcome, Outcome::Accepted)).count();
    assert!(accepted > 10, "{accepted}");

    // What was written can be read, also by an exchange that was opened again.
    database.reopen().await;
    let doctor = database.sign_in("clinician").await;
    let home = doctor.organization().clone();
    let ask = Ask::new(doctor);
    let few = [("_count".to_owned(), "5".to_owned())];
    let exchange = database.exchange();
    let page = exchange.search(&ask, &home, "Patient", &few, Handling::Strict).await.unwrap();
    let patient = page.matches.first().unwrap();
    let chart = exchange.chart(&ask, &home, &patient.id).await.unwrap();
    assert!(!chart.own.resources.is_empty());

    // Sent again, everything is known.
    let again = database.send_stream(&options).await;
    assert_eq!(again.len(), two.len());
    for ((_, before), (_, now)) in two.iter().zip(&again) {
        if matches!(before.outcome, Outcome::Accepted) {
            assert!(matches!(now.outcome, Outcome::Duplicate), "{:?}", now.outcome);
        }
    }
}
