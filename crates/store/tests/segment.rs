//! Segments: what a backup ships and a restore applies; and the past that makes
//! them exact.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Model, open, payload, put, resource, row, sealed};
use holdfast_base::{CommitNumber, MessageId};
use holdfast_store::{
    Import, ImportError, KeptState, OpenError, Proof, ResourceKey, Segment, Store, Table,
};

const SEGMENT_BYTES: usize = 3_000;

fn universe() -> Vec<ResourceKey> {
    (0..4).map(|token| resource(1, token % 2, 1, token)).collect()
}

/// `count` more commits of every kind, which write over each other's rows.
fn write(store: &Store, model: &mut Model, states: &mut Vec<Model>, count: u64) {
    let keys = universe();
    for _ in 0..count {
        let number = states.len() as u64 - 1;
        if number % 4 == 3 {
            let payload = payload(number as u8, 500);
            model.keep(&payload);
            store.keep(&payload).unwrap();
        } else {
            let key = keys[number as usize % keys.len()];
            let version = model.current(&key).unwrap_or(0) + 1;
            let mut transaction = put(key, sealed(version, number as u8, 700));
            let value = (number % 7 != 6).then_some([number as u8; 40]);
            let value = value.as_ref().map(|value| &value[..]);
            transaction.rows.push(row(Table::Outbox, &[9 - number as u8 % 5], Some(&[1])));
            transaction.rows.push(row(Table::Link, &[number as u8 % 3], value));
            if number % 4 == 2 && number > 4 {
                let message = *model.inbox.keys().next_back().unwrap();
                // Put back first, then finished: its state is written over twice.
                let state = if number % 8 == 2 { KeptState::Review } else { KeptState::Pending };
                transaction.finish = Some((MessageId(message), state, vec![number as u8; 9]));
            }
            model.commit(&transaction).unwrap();
            store.commit(transaction).unwrap();
        }
        states.push(model.clone());
    }
}

fn segments(store: &Store, after: CommitNumber) -> Vec<Segment> {
    let snapshot = store.snapshot();
    let mut segments: Vec<Segment> = Vec::new();
    let mut at = after;
    while at < snapshot.commit() {
        let segment = snapshot.segment(at, SEGMENT_BYTES).unwrap();
        at = segment.to;
        segments.push(segment);
    }
    segments
}

on_both_engines! {
fn p14_every_commit_since_the_past_is_kept_can_be_restored_exactly(bed: &Bed) {
    let mut model = Model::default();
    let mut states = vec![model.clone()];
    let store = bed.open();
    write(&store, &mut model, &mut states, 24);
    // The first backup: what was written over before it is gone.
    store.keep_past(Some(store.last_commit().0)).unwrap();
    let base = segments(&store, CommitNumber(0));
    assert!(base.len() > 2 && base.iter().any(|segment| !segment.exact));
    let end_of_base = store.last_commit().0;
    write(&store, &mut model, &mut states, 40);
    drop(store);
    let store = bed.open();
    assert_eq!(store.past_after().unwrap(), Some(end_of_base));
    let later = segments(&store, end_of_base);
    assert!(later.iter().all(|segment| segment.exact), "the past was kept");

    let mut proof = Proof::new(&store.id());
    for segment in base.iter().chain(&later) {
        proof.take(&segment.bytes).unwrap();
    }
    assert_eq!(proof.last_commit(), store.last_commit());

    for moment in end_of_base.0..=store.last_commit().0.0 {
        let target = tempfile::tempdir().unwrap();
        let mut import = Import::begin(target.path(), store.id()).unwrap();
        for segment in base.iter().chain(&later) {
            import.apply(&segment.bytes, CommitNumber(moment)).unwrap();
            if segment.to.0 % 3 == 0 {
                // Interrupted: goes on where it stopped, and does not open before.
                drop(import);
                let early = Store::open(target.path());
                assert!(matches!(early, Err(OpenError::Damaged { .. })), "{early:?}");
                import = Import::begin(target.path(), store.id()).unwrap();
            }
        }
        let (commit, chain) = import.finish().unwrap();
        assert_eq!((commit, Some(chain)), (CommitNumber(moment), store.chain_at(commit)));
        let restored = open(target.path());
        restored.check().unwrap();
        states[moment as usize].assert_shown(&restored.snapshot(), &universe());
        // And it is a store like any other.
        restored.keep(&payload(1, 9)).unwrap();
    }

    // Once a backup has them, they are forgotten.
    store.keep_past(Some(store.last_commit().0)).unwrap();
    assert!(segments(&store, end_of_base).iter().any(|segment| !segment.exact));
}

fn what_commits_wrote_is_hashed_again_bit_by_bit(bed: &Bed) {
    let mut model = Model::default();
    let mut states = vec![model.clone()];
    let store = bed.open();
    write(&store, &mut model, &mut states, 30);
    let end = store.last_commit();
    let whole = store.check_content(CommitNumber(0), u64::MAX).unwrap();
    assert_eq!((whole.commit, whole.chain), end);
    assert_eq!(whole.hashed_count + whole.linked_count, 30);
    assert!(whole.linked_count > 0 && whole.hashed_count > 5, "{whole:?}");
    // Bit by bit it comes to the same.
    let mut at = CommitNumber(0);
    while at < end.0 {
        at = store.check_content(at, 7).unwrap().commit;
    }
}
}

#[test]
fn a_segment_that_was_changed_or_left_out_is_named() {
    let (dir, mut model) = (tempfile::tempdir().unwrap(), Model::default());
    let mut states = vec![model.clone()];
    let store = open(dir.path());
    store.keep_past(Some(CommitNumber(0))).unwrap();
    write(&store, &mut model, &mut states, 20);
    let segments = segments(&store, CommitNumber(0));
    assert!(segments.len() > 2 && segments.iter().all(|segment| segment.exact));

    let target = tempfile::tempdir().unwrap();
    let mut import = Import::begin(target.path(), store.id()).unwrap();
    import.apply(&segments[0].bytes, CommitNumber(u64::MAX)).unwrap();
    let gap = import.apply(&segments[2].bytes, CommitNumber(u64::MAX)).unwrap_err();
    let after = segments[0].to;
    assert!(matches!(gap, ImportError::Chain { after: at, .. } if at == after), "{gap}");

    // Every byte counts: those of lengths, of commit rows, of values.
    for at in (1..segments[1].bytes.len()).step_by(7) {
        let mut changed = segments[1].bytes.clone();
        changed[at] ^= 0x20;
        let mut proof = Proof::new(&store.id());
        proof.take(&segments[0].bytes).unwrap();
        // At the least it is no longer a commit that was hashed again.
        let unnoticed = proof.take(&changed).is_ok_and(|proven| proven.linked_count == 0);
        if unnoticed {
            // Of a message that it finished, what another commit covers: the whole
            // store tells.
            let target = tempfile::tempdir().unwrap();
            let mut import = Import::begin(target.path(), store.id()).unwrap();
            import.apply(&segments[0].bytes, CommitNumber(u64::MAX)).unwrap();
            import.apply(&changed, CommitNumber(u64::MAX)).unwrap();
            let whole = import.finish().is_ok() && open(target.path()).check().is_ok();
            assert!(!whole, "byte {at} was changed and nobody noticed");
        }
    }
    let other = Import::begin(target.path(), [1; 16]);
    assert!(matches!(other, Err(ImportError::NotEmpty { .. }) | Err(ImportError::Open(_))));
}

#[test]
fn a_store_of_the_first_schema_is_brought_forward_in_place() {
    let (dir, mut model) = (tempfile::tempdir().unwrap(), Model::default());
    let mut states = vec![model.clone()];
    let store = open(dir.path());
    write(&store, &mut model, &mut states, 9);
    drop(store);
    let path = dir.path().join("format");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("schema 2", "schema 1")).unwrap();
    let store = open(dir.path());
    assert!(std::fs::read_to_string(&path).unwrap().contains("schema 2\n"));
    states[9].assert_shown(&store.snapshot(), &universe());
    write(&store, &mut model, &mut states, 9);
    store.check().unwrap();
}
