//! P1, P14: killed at any moment, every acknowledged message is there exactly once.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Demo, text, told};
use holdfast::client::Client;
use holdfast::demo::stream::{MllpConnection, read_acknowledgement};
use holdfast::tls::Identity;

/// Times that something is killed, unless `KILL_ROUNDS` says how often.
const ROUNDS: usize = 30;

fn rounds() -> usize {
    match std::env::var("KILL_ROUNDS") {
        Ok(rounds) => rounds.parse().expect("KILL_ROUNDS is a number"),
        Err(_) => ROUNDS,
    }
}

/// A registration of its own for each number.
fn message(system: usize, number: usize) -> Vec<u8> {
    let born = format!("{}{:02}{:02}", 1930 + number % 70, 1 + number % 12, 1 + number % 28);
    format!(
        "MSH|^~\\&|KILL|SENDER{system}|HOLDFAST|X|20260101120000||ADT^A04^ADT_A01|K{system}-{number}|P|2.5.1\r\
         EVN|A04|20260101120000\r\
         PID|1||K{system}{number:05}^^^KILLTEST^MR||Testcase{number}^Round{system}||{born}|F\r\
         PV1|1|O|CLINIC^1|||||||||||||||V{system}{number:05}^^^KILLTEST\r"
    )
    .into_bytes()
}

/// What one sender has sent.
#[derive(Default)]
struct Sent {
    next: AtomicUsize,
    acknowledged: Mutex<BTreeSet<usize>>,
    doubtful: Mutex<BTreeSet<usize>>,
}

/// Sends until the door closes. What was not acknowledged is sent again first.
async fn send_until_killed(demo: Arc<Demo>, system: usize, name: &'static str, sent: Arc<Sent>) {
    let identity = Identity::read(&demo.certificates.join(format!("{name}.pem"))).unwrap();
    let mut tried = 0;
    let mut connection = loop {
        match MllpConnection::open(&demo.dir, &demo.config(), &identity).await {
            Ok(connection) => break connection,
            Err(_) if tried < 20 => tried += 1,
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    loop {
        let again = sent.doubtful.lock().unwrap().first().copied();
        let number = again.unwrap_or_else(|| sent.next.fetch_add(1, Ordering::SeqCst));
        sent.doubtful.lock().unwrap().insert(number);
        match connection.send(&message(system, number)).await {
            Ok(answer) => {
                let (code, why) = read_acknowledgement(&answer);
                if code != "AA" {
                    // Not taken over, and said so: it stays to be sent again.
                    assert!(why.is_some(), "a refusal says why");
                    return;
                }
                sent.acknowledged.lock().unwrap().insert(number);
                sent.doubtful.lock().unwrap().remove(&number);
            }
            Err(_) => return,
        }
    }
}

fn acknowledged(sent: &[Arc<Sent>]) -> usize {
    sent.iter().map(|sent| sent.acknowledged.lock().unwrap().len()).sum()
}

#[test]
fn p01_p14_killed_at_random_moments_nothing_acknowledged_is_lost_or_doubled() {
    let demo = Arc::new(Demo::make(1));
    let systems = ["hl7v2@lakeside-family", "hl7v2@st-brendan-hospital"];
    let sent: Vec<Arc<Sent>> = systems.iter().map(|_| Arc::default()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut random = 0x2015_0507_u64;
    let before = {
        let serving = demo.serve();
        let counts = runtime.block_on(counts(&demo));
        assert!(serving.stop());
        counts
    };
    let rounds = rounds();
    for round in 0..rounds {
        let serving = demo.serve();
        let senders: Vec<_> = systems
            .iter()
            .enumerate()
            .map(|(system, name)| {
                let sender =
                    send_until_killed(Arc::clone(&demo), system, name, Arc::clone(&sent[system]));
                runtime.spawn(sender)
            })
            .collect();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // After so many acknowledgements, however long they take here, and a moment.
        let wanted = acknowledged(&sent) + 1 + (random >> 33) as usize % 6;
        while acknowledged(&sent) < wanted && !senders.iter().all(|sender| sender.is_finished()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis((random >> 45) % 80));
        // In turn the server, both, and the keeper first.
        match round % 3 {
            0 => serving.kill(true, false),
            1 => serving.kill(true, true),
            _ => {
                serving.kill_keeper();
                std::thread::sleep(Duration::from_millis((random >> 40) % 60));
                serving.kill(true, false);
            }
        }
        for sender in senders {
            runtime.block_on(sender).unwrap();
        }
    }

    let serving = demo.serve();
    let acknowledged = acknowledged(&sent);
    assert!(acknowledged >= rounds, "only {acknowledged} messages in {rounds} rounds");
    let patients = |counts: &serde_json::Value| counts["patients"].as_u64().unwrap() as usize;
    // Nothing was sent again yet: what was acknowledged is there by itself.
    let kept = runtime.block_on(settled_counts(&demo));
    let made = patients(&kept) - patients(&before);
    assert!(made >= acknowledged, "{acknowledged} acknowledged, {made} there after the last kill");
    // Everything that was ever sent, acknowledged or not, is sent once more.
    let mut total = 0;
    for (system, name) in systems.iter().enumerate() {
        let identity = Identity::read(&demo.certificates.join(format!("{name}.pem"))).unwrap();
        runtime.block_on(async {
            let mut connection =
                MllpConnection::open(&demo.dir, &demo.config(), &identity).await.unwrap();
            for number in 0..sent[system].next.load(Ordering::SeqCst) {
                let answer = connection.send(&message(system, number)).await.unwrap();
                let (code, why) = read_acknowledgement(&answer);
                assert_eq!(code, "AA", "{why:?}");
                total += 1;
            }
        });
    }
    let after = runtime.block_on(settled_counts(&demo));
    println!("rounds {rounds}, acknowledged {acknowledged}, sent in all {total}");
    assert_eq!(after["pending"], 0, "nothing waits");
    assert_eq!(patients(&after) - patients(&before), total, "each message made one record, once");
    let intake = runtime.block_on(accepted_in_ledger(&demo));
    assert_eq!(intake, total, "the ledger has each exactly once");

    let policy = demo.outside("policy.toml");
    let made = demo.run(&["ledger", "policy", "--out", policy.to_str().unwrap()]);
    assert!(made.status.success(), "{}", told(&made));
    assert!(serving.stop());
    let verified = common::holdfast(&[
        "ledger",
        "verify",
        demo.dir.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
    ]);
    assert!(verified.status.success(), "{}{}", text(&verified), told(&verified));
}

async fn office(demo: &Demo) -> Client {
    demo.client_of(&demo.user_with("security-officer")).await
}

async fn counts(demo: &Demo) -> serde_json::Value {
    counted(&office(demo).await).await
}

async fn counted(office: &Client) -> serde_json::Value {
    let status = office.get("/ops/status").await.unwrap().accepted().unwrap();
    status.json().unwrap()["counts"].clone()
}

/// As soon as nothing waits to be applied.
async fn settled_counts(demo: &Demo) -> serde_json::Value {
    let office = office(demo).await;
    let mut counts = counted(&office).await;
    for _ in 0..600 {
        if counts["pending"] == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        counts = counted(&office).await;
    }
    counts
}

/// Distinct messages of the kill test that the ledger says were accepted; fails when
/// one stands there twice.
async fn accepted_in_ledger(demo: &Demo) -> usize {
    let office = office(demo).await;
    let mut messages = BTreeSet::new();
    for name in ["hl7v2%40lakeside-family", "hl7v2%40st-brendan-hospital"] {
        let path = format!("/ops/ledger/entries?kind=intake&limit=10000&principal={name}");
        let answer = office.get(&path).await.unwrap().accepted().unwrap().json().unwrap();
        for placed in answer["entries"].as_array().unwrap() {
            let event = &placed["entry"]["event"];
            let number = event["message"].as_u64().unwrap();
            if event["outcome"] == "accepted" {
                assert!(
                    messages.insert(number),
                    "message {number} is accepted twice in the ledger"
                );
            }
        }
    }
    // The demo's own messages came first and are not counted.
    let own = holdfast_sample::stream(&holdfast_sample::Options {
        patients: 1,
        seed: common::SEED,
        ..Default::default()
    });
    let from_demo = own.items.iter().filter(|item| {
        matches!(item.interface.as_str(), "hl7v2@lakeside-family" | "hl7v2@st-brendan-hospital")
    });
    // Honey records are registered through the first interface of each organization.
    messages.len() - from_demo.count() - 2 * HONEY_EACH
}

/// Honey records that the demo plants at each organization.
const HONEY_EACH: usize = 3;
