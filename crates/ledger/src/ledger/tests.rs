//! Append, query, reopen, lose power.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use holdfast_base::LedgerIndex;
use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::testing::*;
use crate::tree::naive;

#[test]
fn what_was_appended_is_there_after_reopening() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    assert_eq!(ledger.append(&releases(0..3)), Ok(1..4));
    assert_eq!(ledger.append(&[]), Ok(4..4));
    assert_eq!(ledger.append(&releases(3..300)), Ok(4..301));
    let root = ledger.root();
    drop(ledger);
    let ledger = open(dir.path()).unwrap();
    assert_eq!((ledger.len(), ledger.root()), (301, root));
    assert_eq!(ledger.get(LedgerIndex(5)).unwrap().entry, release(4));
    assert_eq!(ledger.get(LedgerIndex(0)).unwrap().entry.event.kind(), "ledger-opened");
    assert!(matches!(ledger.get(LedgerIndex(301)), Err(ReadError::NoSuchEntry(_))));
    assert_eq!(ledger.append(&releases(300..301)), Ok(301..302));
}

#[test]
fn the_root_is_that_of_a_naive_tree_over_the_entry_tiles() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..599)).unwrap();
    let checkpoint = ledger.publish_checkpoint().unwrap();
    let mut leaves = Vec::new();
    for name in ["000", "001", "002.p/88"] {
        let tile = fs::read(dir.path().join("tile/entries").join(name)).unwrap();
        leaves.extend(tile.chunks(35).map(|leaf| leaf[2..].to_vec()));
    }
    assert_eq!(leaves.len(), 600);
    assert_eq!(naive::mth(&leaves), checkpoint.root());
    assert_eq!(ledger.root(), checkpoint.root());
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::AlreadyOpen)));
}

#[test]
fn appends_of_many_threads_are_all_there_and_keep_together() {
    let dir = tempdir().unwrap();
    let ledger = Arc::new(open(dir.path()).unwrap());
    let threads = (0..8_u64).map(|thread| {
        let ledger = Arc::clone(&ledger);
        std::thread::spawn(move || {
            for round in 0..20 {
                let n = thread * 1000 + round * 10;
                let range = ledger.append(&releases(n..n + 3)).unwrap();
                for (index, n) in range.zip(n..) {
                    assert_eq!(ledger.get(LedgerIndex(index)).unwrap().entry, release(n));
                }
                if round % 5 == 0 {
                    ledger.publish_checkpoint().unwrap();
                }
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    assert_eq!(ledger.len(), 1 + 8 * 20 * 3);
    drop(ledger);
    assert_eq!(open(dir.path()).unwrap().len(), 1 + 8 * 20 * 3);
}

#[test]
fn an_entry_that_is_too_long_is_refused_and_the_next_is_not() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut long = release(0);
    long.actor.address = Some("x".repeat(ENTRY_BYTES_MAX));
    assert!(matches!(ledger.append(&[long]), Err(AppendError::TooLong { .. })));
    assert_eq!(ledger.append(&releases(0..1)), Ok(1..2));
}

/// Every way to ask gives what a scan with [`Filter::matches`] gives.
fn check_query(ledger: &Ledger, filter: &Filter) {
    let all = (0..ledger.len()).map(|index| ledger.get(LedgerIndex(index)).unwrap());
    let due: Vec<Placed> = all.filter(|placed| filter.matches(&placed.entry)).collect();
    assert_eq!(ledger.query(filter, None, usize::MAX).unwrap(), due, "{filter:?}");
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|placed: &Placed| placed.index);
        let page = ledger.query(filter, after, 7).unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, due, "paged, {filter:?}");
}

#[test]
fn queries_find_exactly_what_the_filter_matches() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..700)).unwrap();
    let everything = Filter::default();
    let principal = Some("dr.3@lakeside".parse().unwrap());
    check_query(&ledger, &everything);
    check_query(&ledger, &Filter { principal: principal.clone(), ..everything.clone() });
    check_query(&ledger, &Filter { address: Some("192.0.2.1".into()), ..everything.clone() });
    check_query(
        &ledger,
        &Filter {
            principal,
            patients: [patient(2), patient(9)].into(),
            from: Some(release(100).at),
            to: Some(release(650).at),
            ..everything.clone()
        },
    );
    let patients = (0..9).map(patient).collect();
    check_query(&ledger, &Filter { patients, ..everything.clone() });
    check_query(&ledger, &Filter { kinds: vec!["ledger-opened".into()], ..everything.clone() });
    check_query(
        &ledger,
        &Filter { kinds: vec!["key-release".into(), "key-release".into()], ..everything.clone() },
    );
    check_query(&ledger, &Filter { patients: [patient(99)].into(), ..everything.clone() });
    check_query(
        &ledger,
        &Filter { organization: Some("elsewhere".parse().unwrap()), ..everything },
    );
}

/// The bodies of a ledger whose checkpoint is at 5 entries and that has 12.
fn crashed() -> (tempfile::TempDir, Vec<u8>, Vec<u64>) {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..4)).unwrap();
    ledger.publish_checkpoint().unwrap();
    let bodies = dir.path().join("bodies/000000");
    let mut ends = vec![fs::metadata(&bodies).unwrap().len()];
    for n in 4..11 {
        ledger.append(&[release(n)]).unwrap();
        ends.push(fs::metadata(&bodies).unwrap().len());
    }
    drop(ledger);
    let bytes = fs::read(bodies).unwrap();
    (dir, bytes, ends)
}

#[test]
fn a_tail_cut_at_any_byte_loses_no_whole_entry() {
    let (dir, bytes, ends) = crashed();
    for cut in ends[0]..=*ends.last().unwrap() {
        // Every byte about a border, and some between.
        if cut % 23 != 0 && ends.iter().all(|end| end.abs_diff(cut) > 3) {
            continue;
        }
        let image = tempdir().unwrap();
        copy(dir.path(), image.path());
        fs::write(image.path().join("bodies/000000"), &bytes[..cut as usize]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
        let ledger = open(image.path()).unwrap();
        assert_eq!(ledger.len(), 5 + whole, "cut at {cut}");
        assert_eq!(ledger.append(&[release(77)]), Ok(5 + whole..6 + whole));
        drop(ledger);
        let ledger = open(image.path()).unwrap();
        assert_eq!(ledger.get(LedgerIndex(5 + whole)).unwrap().entry, release(77));
    }
}

#[test]
fn a_cut_below_the_checkpoint_is_refused_and_named() {
    let (dir, bytes, ends) = crashed();
    for cut in [0, 10, 24, ends[0] - 1] {
        let image = tempdir().unwrap();
        copy(dir.path(), image.path());
        fs::write(image.path().join("bodies/000000"), &bytes[..cut as usize]).unwrap();
        let refused = open(image.path()).unwrap_err();
        assert!(
            matches!(refused, OpenError::Lost { known: 5, .. } | OpenError::Damaged { .. }),
            "cut at {cut}: {refused}"
        );
        assert_eq!(fs::read(image.path().join("bodies/000000")).unwrap().len(), cut as usize);
    }
}

#[test]
fn a_flipped_byte_anywhere_before_the_last_group_refuses_to_open() {
    let (dir, bytes, ends) = crashed();
    let last_group = ends[ends.len() - 2];
    for place in (0..last_group).step_by(11) {
        let image = tempdir().unwrap();
        copy(dir.path(), image.path());
        let mut bytes = bytes.clone();
        bytes[place as usize] ^= 0x10;
        fs::write(image.path().join("bodies/000000"), &bytes).unwrap();
        let refused = open(image.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "byte {place}: {refused}");
    }
}

#[test]
fn a_ledger_without_its_checkpoint_or_with_a_longer_one_is_refused() {
    let (dir, _, _) = crashed();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::CheckpointMissing { found: 12 })));
    let (dir, _, _) = crashed();
    let more = tempdir().unwrap();
    copy(dir.path(), more.path());
    let ledger = open(more.path()).unwrap();
    ledger.append(&releases(0..9)).unwrap();
    ledger.publish_checkpoint().unwrap();
    fs::copy(more.path().join("checkpoint"), dir.path().join("checkpoint")).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Lost { known: 21, found: 12 })));
}

#[test]
fn missing_tiles_come_back_and_changed_tiles_are_refused() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..300)).unwrap();
    ledger.publish_checkpoint().unwrap();
    drop(ledger);
    for tile in ["tile/0/000", "tile/entries/000", "tile/0/001.p/45", "tile/1/000.p/1"] {
        let path = dir.path().join(tile);
        let mut bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        drop(open(dir.path()).unwrap());
        assert_eq!(fs::read(&path).unwrap(), bytes, "{tile}");
        bytes[17] ^= 1;
        fs::write(&path, bytes).unwrap();
        let refused = open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(tile), "{refused}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn segments_continue_each_other() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let count = crate::bodies::SEGMENT_ENTRIES + 10;
    ledger.append(&releases(0..count)).unwrap();
    drop(ledger);
    let ledger = open(dir.path()).unwrap();
    assert_eq!(ledger.len(), count + 1);
    assert_eq!(ledger.get(LedgerIndex(count)).unwrap().entry, release(count - 1));
    ledger.publish_checkpoint().unwrap();
    drop(ledger);
    fs::rename(dir.path().join("bodies/000000"), dir.path().join("bodies/000002")).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged { damage: Damage::Place, .. })));
}

fn open_on(dir: &Path, medium: Arc<dyn Medium>) -> Result<Ledger, OpenError> {
    Ledger::open_on(dir, ORIGIN, keys(), clock(), medium, Shape::default())
}

/// A disk that stops for good after so many bytes, leaving the last write torn.
fn dying(bytes: i64) -> Arc<dyn Medium> {
    let left = AtomicI64::new(bytes);
    Ruled::new(move |disk: &Disk, op: &Op| match op {
        Op::Write(path, offset, bytes) => {
            let left = left.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
            if left >= bytes.len() as i64 {
                return op.apply(disk);
            }
            disk.write(path, *offset, &bytes[..left.max(0) as usize])?;
            Err(io::ErrorKind::StorageFull.into())
        }
        _ if left.load(Ordering::SeqCst) > 0 => op.apply(disk),
        _ => Err(io::ErrorKind::StorageFull.into()),
    })
}

#[test]
fn after_a_stop_at_any_write_every_acknowledged_entry_is_there() {
    for bytes in (300..9000).step_by(97) {
        let dir = tempdir().unwrap();
        let mut acknowledged = Vec::new();
        match open_on(dir.path(), dying(bytes)) {
            Err(refused) => assert!(matches!(refused, OpenError::Append(_)), "{refused}"),
            Ok(ledger) => {
                for round in 0..20 {
                    match ledger.append(&releases(round * 3..round * 3 + 1 + round % 3)) {
                        Ok(range) => acknowledged.extend(range.zip(round * 3..)),
                        Err(error) => {
                            assert_eq!(error, AppendError::Stopped);
                            assert_eq!(ledger.append(&[release(0)]), Err(AppendError::Stopped));
                            assert!(ledger.publish_checkpoint().is_err());
                            break;
                        }
                    }
                    if round % 4 == 3 && ledger.publish_checkpoint().is_err() {
                        break;
                    }
                }
            }
        }
        let ledger = open(dir.path()).unwrap();
        for (index, n) in acknowledged {
            assert_eq!(ledger.get(LedgerIndex(index)).unwrap().entry, release(n));
        }
    }
}

/// A disk that is full for the `nth` write to bodies, and leaves half of it.
fn full_once(nth: i64) -> Arc<dyn Medium> {
    let left = AtomicI64::new(nth);
    Ruled::new(move |disk: &Disk, op: &Op| match op {
        Op::Write(path, offset, bytes) if path.to_string_lossy().contains("bodies") => {
            if left.fetch_sub(1, Ordering::SeqCst) == 0 {
                disk.write(path, *offset, &bytes[..bytes.len() / 2])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            op.apply(disk)
        }
        op => op.apply(disk),
    })
}

#[test]
fn a_full_disk_refuses_and_the_ledger_goes_on_when_there_is_room() {
    let dir = tempdir().unwrap();
    let ledger = open_on(dir.path(), full_once(2)).unwrap();
    assert_eq!(ledger.append(&releases(0..2)), Ok(1..3));
    let full = AppendError::Refused(io::ErrorKind::StorageFull);
    assert_eq!(ledger.append(&releases(2..9)), Err(full));
    assert_eq!(ledger.len(), 3);
    assert_eq!(ledger.append(&releases(2..4)), Ok(3..5));
    drop(ledger);
    assert_eq!(open(dir.path()).unwrap().len(), 5);
}

#[test]
fn a_disk_that_fills_up_between_two_segments_leaves_no_trace() {
    let dir = tempdir().unwrap();
    let ledger = open_on(dir.path(), full_once(3)).unwrap();
    let before = crate::bodies::SEGMENT_ENTRIES - 5;
    ledger.append(&releases(1..before)).unwrap();
    assert!(matches!(ledger.append(&releases(0..10)), Err(AppendError::Refused(_))));
    drop(ledger);
    let ledger = open(dir.path()).unwrap();
    assert_eq!(ledger.append(&releases(0..10)), Ok(before..before + 10));
    drop(ledger);
    assert_eq!(open(dir.path()).unwrap().len(), before + 10);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_history_of_appends_publishes_and_reopenings_keeps_root_and_entries(
        steps in prop::collection::vec((0_u8..4, 1_u64..90), 1..14)
    ) {
        let dir = tempdir().unwrap();
        let mut ledger = open(dir.path()).unwrap();
        let mut due = vec![ledger.get(LedgerIndex(0)).unwrap().entry];
        for (step, count) in steps {
            match step {
                0 => {
                    let root = ledger.root();
                    drop(ledger);
                    ledger = open(dir.path()).unwrap();
                    prop_assert_eq!(ledger.root(), root);
                }
                1 => prop_assert_eq!(ledger.publish_checkpoint().unwrap().size(), ledger.len()),
                _ => {
                    let entries = releases(count..count * 2);
                    ledger.append(&entries).unwrap();
                    due.extend(entries);
                }
            }
        }
        let found = ledger.query(&Filter::default(), None, usize::MAX).unwrap();
        prop_assert_eq!(found.into_iter().map(|placed| placed.entry).collect::<Vec<_>>(), due);
    }
}
