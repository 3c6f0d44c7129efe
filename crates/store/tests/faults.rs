//! A full disk, flipped bits, folders that cannot be used.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Model, copy_folder, open, payload, put, resource, row, sealed};
use holdfast_base::{CommitNumber, MessageId};
use holdfast_store::{CommitError, KeptState, OpenError, ResourceKey, Store, Table, Transaction};
use holdfast_testkit_power::record;

fn universe() -> Vec<ResourceKey> {
    (0..4).map(|token| resource(1, token % 2, 1, token)).collect()
}

/// The `number`-th transaction of a model that grows by `len` bytes a time.
fn next(model: &Model, number: u64, len: usize) -> Transaction {
    let keys = universe();
    let key = keys[number as usize % keys.len()];
    let version = model.current(&key).unwrap_or(0) + 1;
    let mut transaction = put(key, sealed(version, number as u8, len));
    transaction.rows.push(row(Table::Link, &[number as u8 % 5], Some(&number.to_be_bytes())));
    transaction
}

/// A small file system in memory, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, said so, where nothing may be mounted.
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "holdfast-test"])
            .arg(dir.path())
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        println!("skipped: mounting a small file system is not allowed here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the file system is in use");
    }
}

#[test]
fn a_full_disk_refuses_commits_by_name_reads_on_and_loses_nothing() {
    let Some(disk) = SmallDisk::new("size=24m") else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![7; 12 << 20]).unwrap();
    let dir = disk.path().join("store");
    let store = open(&dir);
    let mut model = Model::default();
    let mut named = None;
    for number in 0..400 {
        let transaction = next(&model, number, 100_000);
        match store.commit(transaction.clone()) {
            Ok(_) => drop(model.commit(&transaction).unwrap()),
            Err(error) => {
                named = Some(error);
                break;
            }
        }
    }
    let error = named.expect("12 MiB are full before 40 MB are written");
    let CommitError::Engine(engine) = &error else { panic!("{error}") };
    assert!(engine.is_disk_full(), "{error}");
    assert!(error.to_string().contains("the disk is full; make room"), "{error}");
    assert!(model.commit > 20, "{}", model.commit);
    for _ in 0..3 {
        let transaction = next(&model, 401, 10);
        assert!(matches!(store.commit(transaction), Err(CommitError::Stopped)));
        model.assert_versions(&store.snapshot(), &universe());
        model.assert_rows(&store.snapshot());
    }
    // Nothing torn and nothing lost, whether the disk still is full or not.
    drop(store);
    if let Ok(store) = Store::open(&dir) {
        model.assert_versions(&store.snapshot(), &universe());
    }
    std::fs::remove_file(&ballast).unwrap();
    let store = open(&dir);
    assert_eq!(store.last_commit().0, CommitNumber(model.commit), "an unacknowledged commit");
    store.check().unwrap();
    model.assert_rows(&store.snapshot());
    for number in 500..520 {
        let transaction = next(&model, number, 100_000);
        model.commit(&transaction).unwrap();
        store.commit(transaction).unwrap();
    }
    model.assert_versions(&store.snapshot(), &universe());
    store.check().unwrap();
}

/// Writes to the store of the folder on its standard input until the disk is full,
/// looks at what must hold then, and ends with how many commits it has.
#[test]
#[ignore = "runs as a child of the test of a full disk"]
fn child_writes_until_the_disk_is_full() {
    let mut dir = String::new();
    std::io::stdin().read_line(&mut dir).unwrap();
    if dir.trim().is_empty() {
        return;
    }
    let store = open(Path::new(dir.trim()));
    let mut model = Model::default();
    let error = loop {
        let transaction = next(&model, model.commit, 9000);
        match store.commit(transaction.clone()) {
            Ok(_) => drop(model.commit(&transaction).unwrap()),
            Err(error) => break error,
        }
    };
    let CommitError::Engine(engine) = &error else { panic!("{error}") };
    assert!(engine.is_disk_full(), "{error}");
    for _ in 0..3 {
        let transaction = next(&model, 401, 10);
        assert!(matches!(store.commit(transaction), Err(CommitError::Stopped)));
        model.assert_versions(&store.snapshot(), &universe());
        model.assert_rows(&store.snapshot());
    }
    // Nothing can be written any more, not even what a test has to say.
    std::process::exit(model.commit as i32);
}

/// As the test above where nothing may be mounted: the system says `ENOSPC` from some
/// write of each thread on.
#[test]
fn p14_a_disk_that_takes_no_more_writes_is_named_and_loses_nothing() {
    const WRITES: i32 = 30;
    if !record::is_possible() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (dir, trace) = (place.path().join("store"), place.path().join("trace"));
    drop(open(&dir));
    let full = format!("write:error=ENOSPC:when={WRITES}+");
    let program = std::env::current_exe().unwrap();
    let mut child = record::under_strace(&program, &trace, &[&full])
        .args(["--exact", "child_writes_until_the_disk_is_full", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", dir.display()).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    // 101 is a claim that failed.
    assert!((3..=WRITES).contains(&code), "{code}");
    let mut model = Model::default();
    for number in 0..code as u64 {
        let transaction = next(&model, number, 9000);
        model.commit(&transaction).unwrap();
    }
    // There is room again.
    let store = open(&dir);
    assert_eq!(store.last_commit().0, CommitNumber(model.commit), "an unacknowledged commit");
    store.check().unwrap();
    model.assert_rows(&store.snapshot());
    model.assert_versions(&store.snapshot(), &universe());
    let transaction = next(&model, 500, 100_000);
    store.commit(transaction).unwrap();
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_in_one_clear_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"no folder").unwrap();
    let error = Store::open(&file).expect_err("a file is no folder");
    assert!(matches!(&error, OpenError::Io { path, .. } if *path == file), "{error}");
    assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"no folder");
    let below = Store::open(&file.join("store")).expect_err("below a file");
    assert!(below.to_string().contains("Not a directory"), "{below}");

    // Root writes everywhere but on what is mounted read-only.
    let Some(disk) = SmallDisk::new("size=8m,ro") else { return };
    let error = Store::open(&disk.path().join("store")).expect_err("read-only");
    assert!(error.to_string().contains("Read-only"), "{error}");
}

/// Holds the store of the folder on its standard input until that ends.
#[test]
#[ignore = "runs as a child of the test of the lock"]
fn child_holds_the_store() {
    let mut input = BufReader::new(std::io::stdin());
    let mut dir = String::new();
    input.read_line(&mut dir).unwrap();
    if dir.trim().is_empty() {
        return;
    }
    let store = open(Path::new(dir.trim()));
    println!("\nholds");
    input.read_line(&mut String::new()).unwrap();
    drop(store);
}

#[test]
fn a_folder_that_another_process_serves_is_refused_until_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child("child_holds_the_store");
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", dir.path().display()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holds"));
    let error = Store::open(dir.path()).expect_err("held");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert_eq!(error.to_string(), format!("{} is open elsewhere", dir.path().display()));
    drop(input);
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    open(dir.path());
}

fn child(name: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A folder in memory where there is such a place: quick copies.
fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.unwrap()
}

/// What the store of the sweep holds.
fn sample(dir: &Path) -> Model {
    let store = open(dir);
    let mut model = Model::default();
    for number in 0..10 {
        let transaction = next(&model, number, 600);
        model.commit(&transaction).unwrap();
        store.commit(transaction).unwrap();
        model.keep(&payload(number as u8, 300));
        store.keep(&payload(number as u8, 300)).unwrap();
    }
    let finish = Some((MessageId(3), KeptState::Accepted, vec![1; 9]));
    let transaction = Transaction { finish, ..Transaction::default() };
    model.commit(&transaction).unwrap();
    store.commit(transaction).unwrap();
    model
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Opens each folder that is named on its standard input and compares; says what
/// it found. The engine may abort this process.
#[test]
#[ignore = "runs as a child of the sweep"]
fn child_reads_damaged_folders() {
    let reference = in_memory();
    let model = sample(reference.path());
    for dir in std::io::stdin().lines() {
        let dir = dir.unwrap();
        match Store::open(Path::new(dir.trim())) {
            Err(error) => println!("\nrefused {error}"),
            Ok(store) => match store.check() {
                Err(error) => println!("\nnamed {error}"),
                Ok(_) => {
                    // What a check passes is what was written, all of it.
                    model.assert_shown(&store.snapshot(), &universe());
                    println!("\nwhole");
                }
            },
        }
    }
}

#[test]
fn a_flipped_bit_in_any_file_is_refused_or_named_or_changes_nothing() {
    // Aborts leave their folder behind: all lie in this one.
    let place = in_memory();
    let whole = place.path().join("whole");
    sample(&whole);
    let mut counts = std::collections::BTreeMap::new();
    let mut running: Option<(std::process::Child, Box<dyn BufRead>)> = None;
    for (number, path) in files(&whole).into_iter().enumerate() {
        let bytes = std::fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for part in 0..used.min(4) {
            let at = (used * part / 4 + number) % used;
            let dir = place.path().join("damaged");
            copy_folder(&whole, &dir);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << ((at + part) % 8);
            std::fs::write(dir.join(path.strip_prefix(&whole).unwrap()), damaged).unwrap();
            let (child, lines) = running.get_or_insert_with(|| {
                let mut child = child("child_reads_damaged_folders");
                let lines = BufReader::new(child.stdout.take().unwrap());
                (child, Box::new(lines))
            });
            writeln!(child.stdin.as_mut().unwrap(), "{}", dir.display()).unwrap();
            let said = lines.lines().map(Result::unwrap).find_map(|line| {
                let known = ["refused", "named", "whole"].into_iter();
                known.into_iter().find(|word| line.starts_with(word))
            });
            let said = said.unwrap_or_else(|| {
                // The engine aborts over some of its manifests; a panic of the
                // comparison ends the child with a code instead.
                let (mut child, _) = running.take().unwrap();
                let status = child.wait().unwrap();
                assert!(!status.success() && status.code().is_none(), "{path:?} {at}: {status}");
                "aborted"
            });
            *counts.entry(said).or_insert(0) += 1;
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
    if let Some((mut child, _)) = running {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    println!("flipped bits: {counts:?}");
    assert!(counts.get("refused").is_some_and(|count| *count > 5), "{counts:?}");
    assert!(counts.values().sum::<u32>() > 30, "{counts:?}");
}
