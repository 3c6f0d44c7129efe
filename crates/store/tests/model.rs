//! The store against a simple in-memory model: any run of transactions, kept
//! payloads, pinned snapshots, reopenings and backups.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bed, Model, open, payload, refusal, resource, row, sealed};
use holdfast_base::{CommitNumber, MessageId};
use holdfast_store::{KeptState, Precondition, ResourceKey, Store, Table, Transaction};
use proptest::prelude::*;

/// Neighbours whose keys differ in one field, with bytes at the edges of order.
fn universe() -> Vec<ResourceKey> {
    vec![
        resource(0, 0, 1, 0),
        resource(0, 0, 1, 0xff),
        resource(0, 0, 2, 0),
        resource(0, 0xff, 1, 0xff),
        resource(1, 0xff, u16::MAX, 0xff),
        resource(u32::MAX, 0xff, u16::MAX, 0xff),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    Commit {
        /// Resource and how far its version grows; 0 must be refused.
        puts: Vec<(usize, u64, u8)>,
        rows: Vec<(Table, Vec<u8>, Option<u8>)>,
        conditions: Vec<Condition>,
        finish: Option<(u64, KeptState)>,
    },
    Keep(u8),
    Pin,
    Reopen,
    Backup,
}

#[derive(Debug, Clone)]
enum Condition {
    /// Expects the current version, or one that is off by so much.
    Version(usize, u64),
    Absent(Table, Vec<u8>),
    Equals(Table, Vec<u8>, u8),
    Pending(u64),
}

fn any_table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Table::System), Just(Table::Outbox), Just(Table::Link)]
}

fn any_row_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![1]), Just(vec![1, 0]), Just(vec![0xff]), Just(vec![0xff, 0xff, 3])]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        (0..6usize, prop_oneof![4 => Just(0u64), 1 => Just(1)])
            .prop_map(|(key, off)| Condition::Version(key, off)),
        (any_table(), any_row_key()).prop_map(|(table, key)| Condition::Absent(table, key)),
        (any_table(), any_row_key(), 0..2u8)
            .prop_map(|(table, key, value)| Condition::Equals(table, key, value)),
        (1..4u64).prop_map(Condition::Pending),
    ]
}

fn any_state() -> impl Strategy<Value = KeptState> {
    use KeptState::{Accepted, Duplicate, Pending, Refused, Review};
    prop_oneof![Just(Pending), Just(Accepted), Just(Duplicate), Just(Refused), Just(Review)]
}

fn any_op() -> impl Strategy<Value = Op> {
    let puts = proptest::collection::btree_map(
        0..6usize,
        (prop_oneof![1 => Just(0u64), 12 => Just(1), 2 => Just(2)], any::<u8>()),
        0..4,
    )
    .prop_map(|puts| puts.into_iter().map(|(key, (grow, fill))| (key, grow, fill)).collect());
    let rows = proptest::collection::vec(
        (any_table(), any_row_key(), proptest::option::weighted(0.7, 0..2u8)),
        0..3,
    );
    let commit = (
        puts,
        rows,
        proptest::collection::vec(any_condition(), 0..2),
        proptest::option::weighted(0.3, (1..4u64, any_state())),
    )
        .prop_map(|(puts, rows, conditions, finish)| Op::Commit {
            puts,
            rows,
            conditions,
            finish,
        });
    prop_oneof![
        12 => commit,
        3 => any::<u8>().prop_map(Op::Keep),
        4 => Just(Op::Pin),
        1 => Just(Op::Reopen),
        1 => Just(Op::Backup),
    ]
}

/// What `op` means where `model` stands.
fn transaction(model: &Model, op: &Op) -> Option<Transaction> {
    let Op::Commit { puts, rows, conditions, finish } = op else { return None };
    let keys = universe();
    let current = |key: usize| model.current(&keys[key]);
    let condition = |condition: &Condition| match condition.clone() {
        Condition::Version(key, 0) => {
            Precondition::CurrentVersion { key: keys[key], expected: current(key) }
        }
        Condition::Version(key, off) => {
            let expected = Some(current(key).unwrap_or(0) + off);
            Precondition::CurrentVersion { key: keys[key], expected }
        }
        Condition::Absent(table, key) => Precondition::RowAbsent { table, key },
        Condition::Equals(table, key, value) => {
            Precondition::RowEquals { table, key, value: vec![value; 3] }
        }
        Condition::Pending(message) => Precondition::Pending(MessageId(message)),
    };
    let version = |(key, grow, fill): &(usize, u64, u8)| {
        let number = (current(*key).unwrap_or(0) + grow).max(1);
        (keys[*key], sealed(number, *fill, usize::from(*fill) * 20))
    };
    Some(Transaction {
        puts: puts.iter().map(version).collect(),
        rows: rows
            .iter()
            .map(|(table, key, value)| {
                row(*table, key, value.map(|value| [value; 3]).as_ref().map(<[u8; 3]>::as_slice))
            })
            .collect(),
        preconditions: conditions.iter().map(condition).collect(),
        finish: finish.map(|(message, state)| (MessageId(message), state, vec![state as u8; 4])),
    })
}

/// Runs `ops` on the store of `bed` and on the model.
fn compare(bed: &Bed, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut store = bed.open();
    let mut model = Model::default();
    let mut states = vec![model.clone()];
    let mut chains = vec![store.last_commit().1];
    let mut pins = Vec::new();
    for op in ops {
        match op {
            Op::Commit { .. } => {
                let transaction = transaction(&model, op).unwrap();
                let wanted = model.commit(&transaction);
                let found = store.commit(transaction);
                match (found, wanted) {
                    (Ok(found), Ok(wanted)) => {
                        prop_assert_eq!(found.commit, CommitNumber(wanted));
                        prop_assert_eq!(store.last_commit(), (found.commit, found.chain));
                        chains.push(found.chain);
                        states.push(model.clone());
                    }
                    (Err(found), Err(wanted)) => prop_assert_eq!(refusal(&found), wanted),
                    (found, wanted) => panic!("{found:?} where {wanted:?} was due"),
                }
            }
            Op::Keep(fill) => {
                let payload = payload(*fill, usize::from(*fill) * 30);
                let wanted = model.keep(&payload);
                prop_assert_eq!(store.keep(&payload).unwrap(), MessageId(wanted));
                chains.push(store.last_commit().1);
                states.push(model.clone());
            }
            Op::Pin => pins.push((store.snapshot(), model.clone())),
            Op::Reopen => {
                // Snapshots hold the folder: all must go before another opens it.
                check_pins(&pins);
                pins.clear();
                drop(store);
                store = bed.open();
            }
            Op::Backup => check_backup(&store, &model),
        }
    }
    check_pins(&pins);
    check_all_commits(&store, &states, &chains);
    model.assert_shown(&store.snapshot(), &universe());
    let report = store.check().unwrap();
    prop_assert_eq!(report.commits_count, model.commit);
    prop_assert_eq!(report.rows_count, model.rows.len() as u64);
    prop_assert_eq!(report.messages_count, model.inbox.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_store_is_its_model_embedded(ops in proptest::collection::vec(any_op(), 1..40)) {
        compare(&Bed::embedded(), &ops)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::with_cases(10) })]

    #[test]
    fn the_store_is_its_model_on_postgres(ops in proptest::collection::vec(any_op(), 1..40)) {
        if let Some(bed) = Bed::postgres() {
            compare(&bed, &ops)?;
        }
    }
}

/// A snapshot shows what there was when it was taken, whatever came later.
fn check_pins(pins: &[(holdfast_store::Snapshot, Model)]) {
    for (snapshot, model) in pins {
        model.assert_shown(snapshot, &universe());
    }
}

/// Resources can be read as of every commit there ever was.
fn check_all_commits(store: &Store, states: &[Model], chains: &[[u8; 32]]) {
    for (state, chain) in states.iter().zip(chains) {
        let commit = CommitNumber(state.commit);
        state.assert_versions(&store.snapshot_at(commit).unwrap(), &universe());
        assert_eq!(store.chain_at(commit).as_ref(), Some(chain));
    }
    let next = CommitNumber(states.len() as u64);
    assert!(store.snapshot_at(next).is_none());
    assert_eq!(store.chain_at(next), None);
}

/// A copy shows the same, proves whole, and goes its own way afterwards.
fn check_backup(store: &Store, model: &Model) {
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("copy");
    let report = store.backup_to(&target).unwrap();
    assert_eq!((report.commit, report.chain), store.last_commit());
    let copy = open(&target);
    model.assert_shown(&copy.snapshot(), &universe());
    assert_eq!(copy.check().unwrap(), store.check().unwrap());
    copy.keep(&payload(1, 1)).unwrap();
    assert_ne!(copy.last_commit(), store.last_commit());
    assert!(store.backup_to(&target).is_err(), "a backup overwrites nothing");
}
