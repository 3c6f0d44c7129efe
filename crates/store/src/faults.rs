//! The engine fails at its n-th write, in every way that the seam knows, for every
//! n over one script.
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub, unused_macros)]
#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Model, payload, put, resource, row, sealed};
use holdfast_base::{CommitNumber, MessageId};

use crate::engine::{Durability, Engine, EngineError, Settled, View, Write, WriteError};
use crate::location::{self, Opened};
use crate::{
    CommitError, KeptPayload, KeptState, ResourceKey, Store, StoreLocation, Table, Transaction,
};

/// What happens at the n-th write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing reaches the disk, and from then on nothing does.
    BrokenBefore,
    /// All of it reaches the disk, but the caller is told of a failure.
    BrokenAfter,
    /// All of it reaches the disk and is acknowledged; the next write fails.
    BrokenNext,
    /// Nothing reaches the disk; the engine knows it and goes on.
    NotWritten,
    /// The engine does not know for a while; it was written.
    DoubtWritten,
    /// The engine does not know for a while; it was not written.
    DoubtNotWritten,
}

const FAULTS: [Fault; 6] = [
    Fault::BrokenBefore,
    Fault::BrokenAfter,
    Fault::BrokenNext,
    Fault::NotWritten,
    Fault::DoubtWritten,
    Fault::DoubtNotWritten,
];

impl Fault {
    /// Whether the engine takes nothing more until it is opened again.
    fn stays(self) -> bool {
        matches!(self, Self::BrokenBefore | Self::BrokenAfter | Self::BrokenNext)
    }

    /// Whether the n-th write is acknowledged.
    fn acknowledges(self) -> bool {
        matches!(self, Self::BrokenNext | Self::DoubtWritten)
    }
}

struct FaultyEngine {
    inner: Arc<dyn Engine>,
    fault: Fault,
    at: u64,
    /// Writes so far.
    count: AtomicU64,
}

fn broken() -> EngineError {
    EngineError::new("the test pulled the plug")
}

impl Engine for FaultyEngine {
    fn view(&self) -> Box<dyn View> {
        self.inner.view()
    }

    fn write(&self, writes: &[Write], durability: Durability) -> Result<(), WriteError> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if number < self.at || (number > self.at && !self.fault.stays()) {
            return self.inner.write(writes, durability);
        }
        if number > self.at {
            return Err(WriteError::Broken(broken()));
        }
        match self.fault {
            Fault::BrokenBefore => Err(WriteError::Broken(broken())),
            Fault::BrokenAfter => {
                self.inner.write(writes, durability)?;
                Err(WriteError::Broken(broken()))
            }
            Fault::BrokenNext => self.inner.write(writes, durability),
            Fault::NotWritten => Err(WriteError::NotWritten(EngineError::away("not now"))),
            Fault::DoubtWritten => {
                self.inner.write(writes, durability)?;
                Err(WriteError::InDoubt(EngineError::away("not now")))
            }
            Fault::DoubtNotWritten => Err(WriteError::InDoubt(EngineError::away("not now"))),
        }
    }

    fn settle(&self) -> Result<Settled, WriteError> {
        Ok(match self.fault {
            Fault::DoubtWritten => Settled::Written,
            _ => Settled::NotWritten,
        })
    }
}

enum Step {
    Commit(Transaction),
    Keep(KeptPayload),
}

fn universe() -> Vec<ResourceKey> {
    (0..3).map(|token| resource(1, token % 2, 1, token)).collect()
}

/// Puts, rows written, written over and deleted, payloads kept and finished.
fn script() -> Vec<Step> {
    let keys = universe();
    let finish = |message, state| Transaction {
        finish: Some((MessageId(message), state, vec![3; 5])),
        rows: vec![row(Table::Dedupe, &[message as u8], Some(&[1]))],
        ..Transaction::default()
    };
    let rows = |rows| Transaction { rows, ..Transaction::default() };
    let both = Transaction {
        puts: vec![(keys[0], sealed(2, 4, 300)), (keys[2], sealed(1, 5, 3000))],
        rows: vec![row(Table::Link, &[1], Some(&[2; 9]))],
        ..Transaction::default()
    };
    vec![
        Step::Commit(put(keys[0], sealed(1, 0, 300))),
        Step::Keep(payload(1, 400)),
        Step::Commit(rows(vec![row(Table::Link, &[1], Some(&[1; 9]))])),
        Step::Commit(put(keys[1], sealed(1, 2, 5000))),
        Step::Commit(both),
        Step::Keep(payload(2, 9000)),
        Step::Commit(finish(1, KeptState::Refused)),
        Step::Commit(rows(vec![row(Table::Link, &[1], None), row(Table::Locate, &[7], Some(&[]))])),
        Step::Keep(payload(3, 1)),
        Step::Commit(finish(1, KeptState::Accepted)),
        Step::Commit(finish(3, KeptState::Review)),
        Step::Commit(put(keys[1], sealed(2, 7, 10))),
    ]
}

fn apply(model: &mut Model, step: &Step) -> bool {
    match step {
        Step::Commit(transaction) => model.commit(transaction).is_ok(),
        Step::Keep(payload) => model.keep(payload) > 0,
    }
}

fn submit(store: &Store, step: &Step) -> Result<(), CommitError> {
    match step {
        Step::Commit(transaction) => store.commit(transaction.clone()).map(|_| ()),
        Step::Keep(payload) => store.keep(payload).map(|_| ()),
    }
}

fn open_faulty(dir: &Path, fault: Fault, at: u64) -> Store {
    let opened = location::open(&StoreLocation::Folder(dir.to_owned())).unwrap();
    let Opened { folder, engine, store_id } = opened;
    let engine = Arc::new(FaultyEngine { inner: engine, fault, at, count: AtomicU64::new(0) });
    Store::start(Opened { folder, engine, store_id }).unwrap()
}

/// Runs the script on an engine that fails at write `at`; each step is one write.
fn stop_at(fault: Fault, at: u64) {
    // In memory where there is such a place: what the disk keeps is not asked here.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.unwrap();
    let keys = universe();
    let store = open_faulty(dir.path(), fault, at);
    let mut model = Model::default();
    // What may be there although its caller was told of a failure.
    let mut unsure: Option<Model> = None;
    let mut stopped = false;
    let mut number = 0;
    for step in script() {
        // A step that follows from one that was not written may be refused.
        let mut after = model.clone();
        let valid = apply(&mut after, &step);
        number += u64::from(valid);
        let acknowledged = submit(&store, &step);
        match acknowledged {
            Ok(()) => {
                assert!(valid && !stopped, "{fault:?} {at}");
                assert!(number != at || fault.acknowledges(), "{fault:?} {at}");
                model = after;
            }
            Err(CommitError::Engine(_)) => {
                assert!(!stopped && fault.stays() && valid, "{fault:?} {at}");
                stopped = true;
                unsure = Some(after);
            }
            Err(CommitError::Stopped) => assert!(stopped, "{fault:?} {at}"),
            Err(CommitError::Away) => assert!(number == at && !fault.stays(), "{fault:?} {at}"),
            Err(_) => assert!(!valid && !stopped, "{fault:?} {at}"),
        }
        // Reads go on, and show what was acknowledged, whatever became of the writes.
        model.assert_shown(&store.snapshot(), &keys);
    }
    let writes = script().len() as u64;
    let should = fault.stays() && at + u64::from(fault == Fault::BrokenNext) <= writes;
    assert_eq!(stopped, should, "{fault:?} {at}");
    drop(store);

    let store = common::open(dir.path());
    let CommitNumber(found) = store.last_commit().0;
    let model = match unsure {
        Some(unsure) if found == unsure.commit => {
            assert_eq!(fault, Fault::BrokenAfter, "a commit that was never written is there");
            unsure
        }
        _ => model,
    };
    model.assert_shown(&store.snapshot(), &keys);
    let report = store.check().unwrap();
    assert_eq!(report.commits_count, model.commit);
    assert_eq!(report.messages_count, model.inbox.len() as u64);
    // And takes commits again, with the next numbers.
    let next = store.keep(&payload(9, 9)).unwrap();
    assert_eq!(next, MessageId(model.inbox.len() as u64 + 1));
    assert_eq!(store.last_commit().0, CommitNumber(model.commit + 1));
}

#[test]
fn an_engine_that_fails_at_any_write_loses_nothing_acknowledged_and_leaves_no_half() {
    for fault in FAULTS {
        for at in 1..=script().len() as u64 + 1 {
            stop_at(fault, at);
        }
    }
}
