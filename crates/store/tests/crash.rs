//! What is left after a kill, a power loss, or damage to the disk.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Model, copy_folder, open, payload, put, resource, row, sealed};
use holdfast_base::CommitNumber;
use holdfast_store::{KeptState, OpenError, ResourceKey, Store, Table, Transaction};
use proptest::prelude::*;

const WRITERS: u8 = 3;

fn universe() -> Vec<ResourceKey> {
    (0..4).map(|token| resource(1, token % 2, 1, token)).collect()
}

/// A store with a little of everything, and its model after every commit.
fn fill(dir: &Path, commits: u64) -> Vec<Model> {
    let store = open(dir);
    let keys = universe();
    let mut model = Model::default();
    let mut states = vec![model.clone()];
    for number in 0..commits {
        if number % 4 == 3 {
            let payload = payload(number as u8, 500);
            model.keep(&payload);
            store.keep(&payload).unwrap();
        } else {
            let key = keys[number as usize % keys.len()];
            let version = model.current(&key).unwrap_or(0) + 1;
            let mut transaction = put(key, sealed(version, number as u8, 700));
            transaction.rows.push(row(Table::Link, &[number as u8 % 5], Some(&[number as u8; 40])));
            if number % 8 == 6 {
                let message = *model.inbox.keys().next_back().unwrap();
                let message = holdfast_base::MessageId(message);
                transaction.finish = Some((message, KeptState::Accepted, vec![1; 9]));
            }
            model.commit(&transaction).unwrap();
            store.commit(transaction).unwrap();
        }
        states.push(model.clone());
    }
    states
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.metadata().unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn journal(dir: &Path) -> PathBuf {
    let is_journal = |path: &PathBuf| path.extension().is_some_and(|end| end == "jnl");
    files(dir).into_iter().find(is_journal).expect("the engine has a journal")
}

/// Where the journal's last byte that is not zero lies.
fn used(journal: &Path) -> usize {
    let bytes = std::fs::read(journal).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn a_copy_of_the_folder_at_rest_opens_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let states = fill(dir.path(), 20);
    let store = open(dir.path());
    let place = tempfile::tempdir().unwrap();
    // As the disk looks when the process is killed now: no drop has run.
    copy_folder(dir.path(), place.path());
    let copy = open(place.path());
    states[20].assert_shown(&copy.snapshot(), &universe());
    assert_eq!(copy.check().unwrap(), store.check().unwrap());
}

#[test]
fn a_journal_that_lost_its_end_is_refused_when_commits_were_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 20);
    let journal = journal(dir.path());
    let file = std::fs::OpenOptions::new().write(true).open(&journal).unwrap();
    file.set_len(used(&journal) as u64 * 3 / 4).unwrap();
    for _ in 0..2 {
        match Store::open(dir.path()) {
            Err(OpenError::Lost { acknowledged: CommitNumber(20), found }) => {
                assert!(found < CommitNumber(20));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_schema_of_another_build_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 1);
    let path = dir.path().join("format");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("schema 2\n"));
    std::fs::write(&path, text.replace("schema 2", "schema 7")).unwrap();
    let error = Store::open(dir.path()).expect_err("another schema");
    assert!(matches!(error, OpenError::Schema { found: 7, known: 2, .. }), "{error}");
}

#[test]
fn a_missing_part_is_named_and_never_made_anew() {
    for (part, place) in [("format", "format"), ("watermark", ""), ("engine", "engine")] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), 3);
        let path = dir.path().join(part);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        for _ in 0..2 {
            match Store::open(dir.path()).expect_err(part) {
                OpenError::Damaged { place: found, .. } => assert_eq!(found, place),
                OpenError::Io { path: found, .. } => assert_eq!(found, path),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_folder_that_stopped_before_it_was_a_store_can_become_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    std::fs::remove_file(dir.path().join("format")).unwrap();
    let store = open(dir.path());
    store.keep(&payload(1, 1)).unwrap();
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip(u8),
    ZeroPage,
    Truncate,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Power loss: the journal ends anywhere, and the watermark is an old one.
    #[test]
    fn a_journal_cut_anywhere_opens_at_a_whole_commit(cut in 0.0..1.0f64) {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let before = std::fs::read(dir.path().join("watermark")).unwrap();
        let states = fill(dir.path(), 16);
        std::fs::write(dir.path().join("watermark"), before).unwrap();
        let journal = journal(dir.path());
        let len = (used(&journal) as f64 * cut) as u64;
        std::fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(len).unwrap();
        let store = open(dir.path());
        let CommitNumber(last) = store.last_commit().0;
        states[last as usize].assert_shown(&store.snapshot(), &universe());
        store.check().unwrap();
        store.keep(&payload(1, 1)).unwrap();
    }

    /// Damage anywhere in the folder: refused, or nothing of it shows.
    #[test]
    fn damage_is_never_served(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        damage in prop_oneof![
            (1..=255u8).prop_map(Damage::Flip),
            Just(Damage::ZeroPage),
            Just(Damage::Truncate),
        ],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let states = fill(dir.path(), 16);
        let mut candidates = files(dir.path());
        // Over a damaged tree manifest (`v1`) the engine aborts the whole process:
        // loud enough, and no test of ours.
        candidates.retain(|path| path.file_name().is_none_or(|name| name != "v1" && name != "v0"));
        // Most of what can be damaged is the journal: take it every other time.
        candidates.extend(std::iter::repeat_n(journal(dir.path()), candidates.len()));
        let path = file.get(&candidates);
        let mut bytes = std::fs::read(path).unwrap();
        let at = at.index(used(path).max(1));
        match damage {
            Damage::Flip(mask) => bytes[at] ^= mask,
            Damage::ZeroPage => {
                let start = at / 512 * 512;
                let end = bytes.len().min(start + 512);
                bytes[start..end].fill(0);
            }
            Damage::Truncate => bytes.truncate(at),
        }
        std::fs::write(path, bytes).unwrap();
        if let Ok(store) = Store::open(dir.path()) {
            let CommitNumber(last) = store.last_commit().0;
            prop_assert_eq!(last, 16, "acknowledged commits are gone: {:?}", path);
            store.check().unwrap();
            states[16].assert_shown(&store.snapshot(), &universe());
        }
    }
}

/// Where the last batch of a journal begins.
fn last_batch(bytes: &[u8]) -> usize {
    let mut ends = bytes.windows(5).enumerate();
    let last = ends.rfind(|(_, five)| *five == b"FJL\x03\x01");
    last.expect("the journal has several batches").0 + 4
}

/// Sectors that were not synced come to the disk in any order: the last batch may have
/// its end and not its middle.
#[test]
fn p14_a_last_batch_torn_in_its_middle_is_set_aside_unless_it_was_acknowledged() {
    for acknowledged in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let states = fill(dir.path(), 14);
        let before = std::fs::read(dir.path().join("watermark")).unwrap();
        let store = open(dir.path());
        let (key, version) = (universe()[0], 9);
        store.commit(put(key, sealed(version, 1, 3000))).unwrap();
        drop(store);
        if !acknowledged {
            // As it was before anybody was told.
            std::fs::write(dir.path().join("watermark"), before).unwrap();
        }
        let journal = journal(dir.path());
        let mut bytes = std::fs::read(&journal).unwrap();
        let (begin, end) = (last_batch(&bytes[..used(&journal)]), used(&journal));
        let middle = (begin + end) / 2;
        bytes[middle..middle + 512].fill(0);
        std::fs::write(&journal, &bytes).unwrap();
        for _ in 0..2 {
            match Store::open(dir.path()) {
                Ok(store) => {
                    assert!(!acknowledged, "an acknowledged commit is gone without a word");
                    states[14].assert_shown(&store.snapshot(), &universe());
                    store.check().unwrap();
                }
                Err(OpenError::Lost { acknowledged: CommitNumber(15), found }) => {
                    assert!(acknowledged && found == CommitNumber(14), "{found}");
                }
                Err(error) => panic!("{acknowledged}: {error}"),
            }
        }
        // Nothing was thrown away.
        let kept = files(dir.path());
        let kept = kept.iter().find(|path| path.to_str().unwrap().contains("torn-")).unwrap();
        assert!(std::fs::read(kept).unwrap() == bytes[begin..end]);
    }
}

/// Wherever the missing sector begins, also within the lengths that the engine reads
/// before it knows the batch's checksum.
#[test]
fn p14_a_last_batch_torn_anywhere_in_its_head_leaves_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let states = fill(dir.path(), 14);
    let journal = journal(dir.path());
    let before = std::fs::read(&journal).unwrap();
    let (watermark, from) = (std::fs::read(dir.path().join("watermark")).unwrap(), used(&journal));
    open(dir.path()).commit(put(universe()[0], sealed(9, 1, 3000))).unwrap();
    let whole = std::fs::read(&journal).unwrap();
    assert!(whole[..from] == before[..from], "the commit went to the same journal");
    for missing in 1..80 {
        let mut bytes = whole.clone();
        bytes[from + missing..from + missing + 512].fill(0);
        std::fs::write(&journal, &bytes).unwrap();
        std::fs::write(dir.path().join("watermark"), &watermark).unwrap();
        let store = Store::open(dir.path()).unwrap_or_else(|error| panic!("{missing}: {error}"));
        states[14].assert_shown(&store.snapshot(), &universe());
    }
}

/// A commit that nobody was told of, and that is shown after a crash, is acted on: from
/// then on it counts as acknowledged.
#[test]
fn p14_what_was_shown_after_a_crash_is_missed_when_it_is_gone_later() {
    let (dir, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(dir.path(), 14);
    let watermark = std::fs::read(dir.path().join("watermark")).unwrap();
    copy_folder(&dir.path().join("engine"), earlier.path());
    open(dir.path()).commit(put(universe()[0], sealed(9, 1, 3000))).unwrap();
    std::fs::write(dir.path().join("watermark"), &watermark).unwrap();
    assert_eq!(open(dir.path()).last_commit().0, CommitNumber(15));
    std::fs::remove_dir_all(dir.path().join("engine")).unwrap();
    copy_folder(earlier.path(), &dir.path().join("engine"));
    let error = Store::open(dir.path()).expect_err("a commit that was shown is gone");
    let (acknowledged, found) = (CommitNumber(15), CommitNumber(14));
    assert!(
        matches!(error, OpenError::Lost { acknowledged: a, found: f } if (a, f) == (acknowledged, found)),
        "{error}"
    );
}

/// Damage before the last batch is no power loss: nothing is cut off.
#[test]
fn p14_a_batch_damaged_in_the_middle_of_the_journal_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 14);
    let journal = journal(dir.path());
    let mut bytes = std::fs::read(&journal).unwrap();
    let (last, used) = (last_batch(&bytes[..used(&journal)]), used(&journal));
    let earlier = last_batch(&bytes[..last]);
    bytes[(earlier + last) / 2] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    for _ in 0..2 {
        let error = Store::open(dir.path()).expect_err("damaged");
        assert!(matches!(error, OpenError::Engine(_)), "{error}");
        assert!(std::fs::read(&journal).unwrap()[..used] == bytes[..used]);
    }
}

/// The other half of the kill test: writes and says what is durable until it is
/// killed. Reads the folder from its standard input.
#[test]
#[ignore = "runs as a child of the kill test"]
fn child_writes_until_it_is_killed() {
    let mut dir = String::new();
    std::io::stdin().read_line(&mut dir).unwrap();
    if dir.trim().is_empty() {
        return;
    }
    let store = open(Path::new(dir.trim()));
    std::thread::scope(|scope| {
        for token in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let key = resource(1, token, 1, token);
                let current = store.snapshot().current_index(&key).unwrap();
                for version in current.map_or(0, |row| row.version) + 1.. {
                    let transaction = Transaction {
                        rows: vec![row(Table::Link, &[token], Some(&version.to_be_bytes()))],
                        ..put(key, sealed(version, version as u8, 4000))
                    };
                    let committed = store.commit(transaction).unwrap();
                    let line = format!("\nack {token} {version} {}\n", committed.commit);
                    let mut out = std::io::stdout().lock();
                    out.write_all(line.as_bytes()).unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_to_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = [0u64; WRITERS as usize];
    let mut last = 0;
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_it_is_killed", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", dir.path().display()).unwrap();
        // Odd counts of acknowledgements make kills fall at any moment.
        let mut wanted = 1 + round * 17 % 90;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            if words.next() != Some("ack") {
                continue;
            }
            let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            let [token, version, commit] = numbers[..] else { continue };
            acknowledged[token as usize] = version;
            last = last.max(commit);
            // Kills once; what the pipe still holds was acknowledged as well.
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = open(dir.path());
        let CommitNumber(found) = store.last_commit().0;
        assert!(found >= last, "commit {last} was acknowledged, {found} is the newest");
        store.check().unwrap();
        let snapshot = store.snapshot();
        for token in 0..WRITERS {
            let history = snapshot.history(&resource(1, token, 1, token)).unwrap();
            let newest = history.first().map_or(0, |stored| stored.sealed.version);
            assert!(newest >= acknowledged[usize::from(token)]);
            for (stored, version) in history.iter().zip((1..=newest).rev()) {
                assert!(stored.sealed == sealed(version, version as u8, 4000));
            }
            assert_eq!(history.len() as u64, newest);
            let counter = snapshot.row(Table::Link, &[token]).unwrap();
            assert_eq!(counter, (newest > 0).then(|| newest.to_be_bytes().to_vec()));
        }
    }
    assert!(last > 100, "the children wrote something: {last}");
}

/// What lies in tables and blob files instead of the journal.
#[test]
fn damage_to_flushed_files_is_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let keys = universe();
    let store = open(dir.path());
    let mut model = Model::default();
    // Bodies large enough that the engine moves them out of its journal.
    for number in 0..40u64 {
        let key = keys[number as usize % keys.len()];
        let version = model.current(&key).unwrap_or(0) + 1;
        let transaction = put(key, sealed(version, number as u8, 1 << 20));
        model.commit(&transaction).unwrap();
        store.commit(transaction).unwrap();
    }
    drop(store);
    let journals = |path: &PathBuf| path.extension().is_none_or(|end| end != "jnl");
    let flushed: Vec<PathBuf> = files(&dir.path().join("engine"))
        .into_iter()
        .filter(journals)
        .filter(|path| path.metadata().unwrap().len() > 1000)
        .collect();
    assert!(flushed.iter().any(|path| path.metadata().unwrap().len() > 1 << 20), "{flushed:?}");
    for path in flushed {
        let bytes = std::fs::read(&path).unwrap();
        for part in 0..6 {
            let mut damaged = bytes.clone();
            let at = bytes.len() * part / 6 + 17;
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            if let Ok(store) = Store::open(dir.path()) {
                let whole = store.check().is_ok();
                let snapshot = store.snapshot();
                for key in &keys {
                    for (_, wanted) in &model.versions[key] {
                        match snapshot.version(key, wanted.version) {
                            Ok(Some(found)) => {
                                assert!(found.sealed == *wanted, "{} {at}", path.display());
                            }
                            Ok(None) => panic!("{} {at}: a version is gone", path.display()),
                            Err(_) => assert!(!whole, "{} {at}", path.display()),
                        }
                    }
                }
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    model.assert_versions(&open(dir.path()).snapshot(), &keys);
}

/// The engine's checksums leave out the number that orders its batches: a flip in
/// it lets an older value of an overwritten key win.
#[test]
fn a_batch_that_the_engine_puts_in_the_wrong_order_is_noticed() {
    const TRAILER: &[u8] = b"FJL\x03";
    let dir = tempfile::tempdir().unwrap();
    let states = fill(dir.path(), 16);
    let path = journal(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    // Behind each trailer: tag 1, number of items 4, batch number 8, little-endian.
    let ends = bytes.windows(TRAILER.len()).enumerate();
    let numbers: Vec<_> = ends
        .filter(|(_, window)| *window == TRAILER)
        .map(|(at, _)| at + TRAILER.len() + 5)
        .collect();
    assert!(numbers.len() >= 16, "the journal has another form");
    let mut noticed = 0;
    for at in numbers {
        if bytes.get(at).is_none_or(|byte| *byte == 0) {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[at] = 1;
        std::fs::write(&path, damaged).unwrap();
        match Store::open(dir.path()) {
            Ok(store) => states[16].assert_shown(&store.snapshot(), &universe()),
            Err(OpenError::Damaged { .. }) => noticed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(noticed > 0, "an older value would have won at least once");
}
