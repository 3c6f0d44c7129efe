//! Damaged talk on the keeper's socket: whatever arrives, nobody gets a key without
//! a living session, and everybody else is served on.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Keeper, events, lakeside};
use holdfast_base::PatientId;
use holdfast_keeper::{KeeperClient, Proof};
use holdfast_ledger::Filter;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Damaged conversations in an ordinary run; `FUZZ_ROUNDS` sets another number.
const ROUNDS: usize = 400;

/// Stands between a client and the keeper and keeps what the client says.
fn record(socket: &Path, keeper: &Path) -> Arc<Mutex<Vec<u8>>> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let listener = UnixListener::bind(socket).unwrap();
    let (keeper, kept) = (keeper.to_owned(), Arc::clone(&said));
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = UnixStream::connect(keeper).unwrap();
        let (mut back_from, mut back_to) =
            (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let (mut client, mut server, mut some) = (client, server, [0; 4096]);
        while let Ok(count @ 1..) = client.read(&mut some) {
            kept.lock().unwrap().extend_from_slice(&some[..count]);
            server.write_all(&some[..count]).unwrap();
        }
    });
    said
}

fn frames(mut said: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = said.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        frames.push([length.to_be_bytes()[4..].to_vec(), rest[..length].to_vec()].concat());
        said = &rest[length..];
    }
    frames
}

/// What is done to a frame.
#[derive(Debug, Clone)]
enum Damage {
    None,
    Flip(Vec<(prop::sample::Index, u8)>),
    Cut(prop::sample::Index),
    Length(u32),
    /// What follows the first place is that of another frame.
    Splice(prop::sample::Index, prop::sample::Index),
    Noise(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = || any::<prop::sample::Index>();
    prop_oneof![
        1 => Just(Damage::None),
        4 => prop::collection::vec((place(), 1..=255_u8), 1..6).prop_map(Damage::Flip),
        2 => place().prop_map(Damage::Cut),
        1 => prop_oneof![any::<u32>(), 0..300_u32].prop_map(Damage::Length),
        2 => (place(), place()).prop_map(|(at, other)| Damage::Splice(at, other)),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Noise),
    ]
}

fn damaged(frames: &[Vec<u8>], which: &prop::sample::Index, damage: &Damage) -> Vec<u8> {
    let mut frame = which.get(frames).clone();
    match damage {
        Damage::None => {}
        Damage::Flip(bits) => {
            // Length and version stay: what is behind them is what gets read.
            for (at, mask) in bits {
                let at = 5 + at.index(frame.len() - 5);
                frame[at] ^= mask;
            }
        }
        Damage::Cut(at) => frame.truncate(at.index(frame.len())),
        Damage::Length(length) => frame[..4].copy_from_slice(&length.to_be_bytes()),
        Damage::Splice(at, other) => {
            let other = other.get(frames);
            let at = 4 + at.index(frame.len().min(other.len()) - 4);
            frame.truncate(at);
            frame.extend_from_slice(&other[at..]);
            let length = u32::try_from(frame.len() - 4).unwrap();
            frame[..4].copy_from_slice(&length.to_be_bytes());
        }
        Damage::Noise(noise) => frame.clone_from(noise),
    }
    frame
}

/// One of everything that a front process asks of a keeper with a session.
async fn talk(client: &KeeperClient, cast: &common::Cast, patients: &[PatientId]) {
    client.release(&cast.reading("dr.okafor", patients)).await.unwrap();
    client.release(&cast.reading("dr.okafor", &patients[..1])).await.unwrap();
    client.check_session(&cast.of("dr.okafor")).await.unwrap();
    client.service_keys("test").await.unwrap();
    client.query(&Filter::default(), None, 10).await.unwrap();
    client.status().await.unwrap();
    assert!(client.grants(&cast.of("dr.okafor")).await.is_err(), "a clinician sees none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_damaged_talk_gets_no_key_and_stops_nobody() {
    let mut keeper = Keeper::start().await;
    let client = keeper.client();
    let cast = keeper.settle().await;
    let patients = cast.with_patients(&client, 3).await;

    let recorder = keeper.folder.path().join("recorder.sock");
    let said = record(&recorder, &keeper.socket());
    talk(&KeeperClient::with_timeout(recorder, Duration::from_secs(60)), &cast, &patients).await;
    let frames = frames(&said.lock().unwrap());
    assert!(frames.len() >= 7, "every request was recorded, not {}", frames.len());
    // From now on nothing that was recorded may open anything.
    client.close_session(&cast.of("dr.okafor")).await.unwrap();
    let before = events(&client, "dr.okafor.own", "key-release").await.len();
    assert_eq!(before, 4, "the talk itself had its entries");

    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok());
    let socket = keeper.socket();
    let shut = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::deterministic();
        let one = (any::<prop::sample::Index>(), damage());
        let several = prop::collection::vec(one, 1..5);
        let mut refused_count = 0;
        for _ in 0..rounds.unwrap_or(ROUNDS) {
            let damages = several.new_tree(&mut runner).unwrap().current();
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            for (which, damage) in &damages {
                // The keeper may have closed the connection over the one before.
                let _ = stream.write_all(&damaged(&frames, which, damage));
            }
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answers = Vec::new();
            match stream.read_to_end(&mut answers) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                Err(error) => panic!("the keeper neither answered nor closed: {error}"),
            }
            refused_count += usize::from(!answers.is_empty());
        }
        refused_count
    });
    assert!(shut.await.unwrap() > ROUNDS / 10, "some of it was read and answered");

    let after = events(&client, "dr.okafor.own", "key-release").await.len();
    assert_eq!(after, before, "no key left to a session that had ended");
    let keys = client.release(&cast.intake(&patients)).await.unwrap();
    assert_eq!(keys.len(), patients.len(), "everybody else is served on");
    let stranger = Proof::set_up(common::principal("set-up:stranger"));
    assert!(client.create_organization(&stranger, &lakeside()).await.is_err());
    client.check_session(&cast.of("interface")).await.unwrap();
    keeper.stop().await;
}

/// The strategies are sampled, not run by a test runner of their own: this says that
/// they are what an ordinary run would sample.
#[test]
fn every_kind_of_damage_is_tried() {
    let mut runner = TestRunner::deterministic();
    let tried: std::collections::HashSet<_> = (0..ROUNDS)
        .map(|_| std::mem::discriminant(&damage().new_tree(&mut runner).unwrap().current()))
        .collect();
    assert_eq!(tried.len(), 6);
}
