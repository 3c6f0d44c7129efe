//! Many threads at one queue.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{open, payload, put, resource, row, sealed};
use holdfast_base::{CommitNumber, MessageId};
use holdfast_store::{CommitError, KeptState, OpenError, Precondition, Store, Table, Transaction};

on_both_engines! {
fn of_those_who_race_for_a_version_exactly_one_wins(bed: &Bed) {
    let store = bed.open();
    let key = resource(1, 1, 1, 1);
    let (won, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let expected =
                        store.snapshot().current_index(&key).unwrap().map(|row| row.version);
                    let mut transaction = put(key, sealed(expected.unwrap_or(0) + 1, 0, 10));
                    transaction.preconditions.push(Precondition::CurrentVersion { key, expected });
                    match store.commit(transaction) {
                        Ok(_) => won.fetch_add(1, Ordering::Relaxed),
                        Err(CommitError::Precondition { index: 0 }) => {
                            lost.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
    });
    let (won, lost) = (won.into_inner(), lost.into_inner());
    assert_eq!(won + lost, 200);
    assert_eq!(store.last_commit().0, CommitNumber(won), "what was refused has no number");
    assert_eq!(store.snapshot().current(&key).unwrap().unwrap().sealed.version, won);
    store.check().unwrap();
}

fn a_message_is_processed_once_however_many_try(bed: &Bed) {
    let store = bed.open();
    let message = store.keep(&payload(1, 100)).unwrap();
    let won: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|token| {
                let store = &store;
                scope.spawn(move || {
                    let transaction = Transaction {
                        preconditions: vec![Precondition::Pending(message)],
                        finish: Some((message, KeptState::Accepted, vec![token])),
                        ..put(resource(1, 1, 1, token), sealed(1, 0, 10))
                    };
                    u32::from(store.commit(transaction).is_ok())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(store.check().unwrap().versions_count, 1);
    assert_eq!(store.snapshot().pending().count(), 0);
}

fn everybody_is_told_a_number_of_their_own(bed: &Bed) {
    let store = bed.open();
    let numbers: BTreeSet<MessageId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6u8)
            .map(|fill| {
                let store = &store;
                let keep = move |_| store.keep(&payload(fill, 2000)).unwrap();
                scope.spawn(move || (0..30).map(keep).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(numbers, (1..=180).map(MessageId).collect());
    assert_eq!(store.check().unwrap().pending_count, 180);
}

fn a_reader_sees_all_of_a_transaction_or_nothing(bed: &Bed) {
    let store = bed.open();
    let key = resource(1, 1, 1, 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1..=200u64 {
                let value = version.to_be_bytes();
                let mut transaction = put(key, sealed(version, 0, 10));
                transaction.rows = vec![
                    row(Table::Link, b"a", Some(&value)),
                    row(Table::Outbox, b"b", Some(&value)),
                ];
                store.commit(transaction).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = CommitNumber(0);
                while !done.load(Ordering::Acquire) {
                    let snapshot = store.snapshot();
                    assert!(snapshot.commit() >= newest, "time runs forward");
                    newest = snapshot.commit();
                    let value = (newest.0 > 0).then(|| newest.0.to_be_bytes().to_vec());
                    assert_eq!(snapshot.row(Table::Link, b"a").unwrap(), value);
                    assert_eq!(snapshot.row(Table::Outbox, b"b").unwrap(), value);
                    let current = snapshot.current_index(&key).unwrap();
                    assert_eq!(current.map_or(0, |row| row.version), newest.0);
                }
            });
        }
    });
}

fn a_backup_of_a_busy_store_is_one_moment_of_it(bed: &Bed) {
    let store = bed.open();
    let done = AtomicBool::new(false);
    let place = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for token in 0..2u8 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut version = 0;
                while !done.load(Ordering::Acquire) {
                    version += 1;
                    let mut transaction =
                        put(resource(1, 1, 1, token), sealed(version, token, 3000));
                    transaction.rows.push(row(Table::Link, &[token], Some(&version.to_be_bytes())));
                    store.commit(transaction).unwrap();
                }
            });
        }
        for number in 0..4 {
            let target = place.path().join(number.to_string());
            let report = store.backup_to(&target).unwrap();
            assert_eq!(store.chain_at(report.commit), Some(report.chain));
            let copy = open(&target);
            let found = copy.check().unwrap();
            assert_eq!(found.commits_count, report.commit.0);
            let snapshot = copy.snapshot();
            for token in 0..2u8 {
                let version = snapshot
                    .current(&resource(1, 1, 1, token))
                    .unwrap()
                    .map(|stored| stored.sealed.version.to_be_bytes().to_vec());
                assert_eq!(snapshot.row(Table::Link, &[token]).unwrap(), version);
            }
        }
        done.store(true, Ordering::Release);
    });
}

fn a_second_opener_is_refused_until_the_last_snapshot_is_gone(bed: &Bed) {
    let store = bed.open();
    assert!(matches!(bed.try_open(), Err(OpenError::InUse { .. })));
    let snapshot = store.snapshot();
    drop(store);
    assert!(matches!(bed.try_open(), Err(OpenError::InUse { .. })));
    assert_eq!(snapshot.pending().count(), 0, "a snapshot outlives its store");
    drop(snapshot);
    bed.open();
}

fn documents_of_many_megabytes_are_kept_and_found_again(bed: &Bed) {
    const LEN: usize = 5 << 20;
    let store = bed.open();
    let key = resource(1, 1, 1, 1);
    for version in 1..=8u64 {
        let fill = version as u8;
        store.commit(put(key, sealed(version, fill, LEN))).unwrap();
        store.keep(&payload(fill, LEN)).unwrap();
    }
    let check = |store: &Store| {
        let snapshot = store.snapshot();
        for version in [1, 4, 8u64] {
            let fill = version as u8;
            let stored = snapshot.version(&key, version).unwrap().unwrap();
            assert!(stored.sealed == sealed(version, fill, LEN));
            let kept = snapshot.kept(MessageId(version)).unwrap().unwrap();
            assert!(kept.payload_sealed == payload(fill, LEN).payload_sealed);
        }
        store.check().unwrap()
    };
    let report = check(&store);
    drop(store);
    let store = bed.open();
    assert_eq!(check(&store), report);
    let place = tempfile::tempdir().unwrap();
    let backup = store.backup_to(&place.path().join("copy")).unwrap();
    assert!(backup.bytes > 16 * LEN as u64);
    assert_eq!(check(&open(&place.path().join("copy"))), report);
}
}
