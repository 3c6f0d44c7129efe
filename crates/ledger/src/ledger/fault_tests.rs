//! Faults of the disk: stopped after any write or sync, power lost with bytes and
//! names that were not synced, full, and full for a while. Everything that the
//! ledger asks of the disk is recorded; what a disk may hold after every prefix of
//! it is built anew, and opened.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_base::LedgerIndex;
use parking_lot::Mutex;
use tempfile::tempdir;

use super::*;
use crate::testing::*;
use crate::verify::{Policy, verify_path};

/// Segments of 256 entries, two of which are merged.
const SMALL: Shape = Shape { entries: 256, merged: 2 };

fn open_on(dir: &Path, medium: Arc<dyn Medium>) -> Result<Ledger, OpenError> {
    Ledger::open_on(dir, ORIGIN, keys(), clock(), medium, SMALL)
}

/// What happened, in order.
#[derive(Debug, Clone)]
enum Step {
    Asked(Op),
    /// So many entries are acknowledged.
    Acknowledged(u64),
}

type Recording = Arc<Mutex<Vec<Step>>>;

fn recording(steps: &Recording) -> Arc<dyn Medium> {
    let steps = Arc::clone(steps);
    Ruled::new(move |disk: &Disk, op: &Op| {
        steps.lock().push(Step::Asked(op.clone()));
        op.apply(disk)
    })
}

/// A ledger's life: appends of several sizes, checkpoints, full tiles, index
/// segments, a merge, and one reopening.
fn record() -> (PathBuf, Vec<Step>) {
    let dir = tempdir().unwrap();
    let steps = Recording::default();
    let mut next = 0;
    for appends in [&[3_u64, 1, 240, 20, 1, 230][..], &[40, 1, 2]] {
        let ledger = open_on(dir.path(), recording(&steps)).unwrap();
        steps.lock().push(Step::Acknowledged(ledger.len()));
        for (round, count) in appends.iter().enumerate() {
            let range = ledger.append(&releases(next..next + count)).unwrap();
            steps.lock().push(Step::Acknowledged(range.end));
            next += count;
            if round % 2 == 1 {
                ledger.publish_checkpoint().unwrap();
            }
        }
    }
    let steps = steps.lock().clone();
    (dir.path().to_owned(), steps)
}

/// What becomes of bytes that were written and not synced.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unsynced {
    /// They are there: the process died, the machine did not.
    Kept,
    /// They never came; nor did names.
    Dropped,
    /// Names and lengths came, and zeros in the place of bytes.
    Zeroed,
    /// The first half came.
    Torn,
    /// Every other page of 512 bytes came, zeros between.
    Holes,
}

/// A file's bytes as they are read, and as they are on the medium.
#[derive(Debug, Clone, Default)]
struct Node {
    now: Vec<u8>,
    synced: Vec<u8>,
}

impl Node {
    fn after(&self, unsynced: Unsynced) -> Vec<u8> {
        let Node { now, synced } = self;
        let came = |place: usize| match unsynced {
            Unsynced::Kept => true,
            Unsynced::Dropped | Unsynced::Zeroed => false,
            Unsynced::Torn => place < synced.len() + now.len().saturating_sub(synced.len()) / 2,
            Unsynced::Holes => (place / 512).is_multiple_of(2),
        };
        match unsynced {
            Unsynced::Dropped => synced.clone(),
            Unsynced::Torn => {
                let length = synced.len() + now.len().saturating_sub(synced.len()) / 2;
                now[..length.min(now.len())].to_vec()
            }
            _ => {
                let byte = |(place, byte): (usize, &u8)| {
                    let old = synced.get(place).copied().unwrap_or(0);
                    if came(place) { *byte } else { old }
                };
                now.iter().enumerate().map(byte).collect()
            }
        }
    }
}

/// A file system that knows what is durable.
#[derive(Debug, Clone, Default)]
struct Model {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    folders: Vec<PathBuf>,
}

impl Model {
    fn follow(&mut self, op: &Op) {
        match op {
            Op::Write(path, offset, bytes) => {
                let next = self.nodes.len();
                let fresh = path.extension().is_some_and(|ending| ending == "new");
                let known = self.names.get(path).copied().filter(|_| !fresh);
                let node = known.unwrap_or_else(|| {
                    self.nodes.push(Node::default());
                    self.names.insert(path.clone(), next);
                    next
                });
                let now = &mut self.nodes[node].now;
                let end = *offset as usize + bytes.len();
                now.resize(now.len().max(end), 0);
                now[*offset as usize..end].copy_from_slice(bytes);
            }
            Op::Cut(path, length) => self.nodes[self.names[path]].now.truncate(*length as usize),
            Op::Sync(path) => self.sync(self.names[path]),
            Op::Rename(from, to) => {
                let node = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), node);
            }
            Op::Remove(path) => drop(self.names.remove(path)),
            Op::RemoveFolder(path) => self.names.retain(|name, _| !name.starts_with(path)),
            Op::CreateFolder(path) => self.folders.push(path.clone()),
            Op::SyncFolder(path) => {
                let inside = |name: &PathBuf| name.parent() == Some(path);
                self.durable_names.retain(|name, _| !inside(name));
                let now = self.names.iter().filter(|(name, _)| inside(name));
                self.durable_names.extend(now.map(|(name, node)| (name.clone(), *node)));
            }
            Op::SyncEverything(_) => {
                (0..self.nodes.len()).for_each(|node| self.sync(node));
                self.durable_names = self.names.clone();
            }
        }
    }

    fn sync(&mut self, node: usize) {
        self.nodes[node].synced = self.nodes[node].now.clone();
    }

    /// Puts what the disk holds into `dir`; paths were below `root`.
    fn image(&self, root: &Path, dir: &Path, unsynced: Unsynced) {
        for folder in &self.folders {
            fs::create_dir_all(dir.join(folder.strip_prefix(root).unwrap())).unwrap();
        }
        let names = match unsynced {
            Unsynced::Dropped => &self.durable_names,
            _ => &self.names,
        };
        for (name, node) in names {
            let path = dir.join(name.strip_prefix(root).unwrap());
            fs::write(path, self.nodes[*node].after(unsynced)).unwrap();
        }
    }
}

/// Opens what a disk holds: every acknowledged entry is there, appending goes on,
/// and a stranger finds the folder whole.
fn check(image: &Path, acknowledged: u64, what: &str) {
    let ledger = open_on(image, unsynced()).unwrap_or_else(|error| {
        panic!("{what}: {error}: {:?}", std::error::Error::source(&error));
    });
    assert!(ledger.len() >= acknowledged.max(1), "{what}: {} entries", ledger.len());
    // Every entry that was acknowledged last, and some before.
    for index in (1..ledger.len()).filter(|i| i % 41 == 0 || i + 4 > acknowledged) {
        let placed = ledger.get(LedgerIndex(index)).unwrap();
        assert_eq!(placed.entry, release(index - 1), "{what}");
    }
    let principal = release(3).actor.principal;
    let filter = Filter { principal: Some(principal.clone()), ..Filter::default() };
    let due = (0..ledger.len() - 1).filter(|n| release(*n).actor.principal == principal).count();
    assert_eq!(ledger.query(&filter, None, usize::MAX).unwrap().len(), due, "{what}");
    let next = ledger.len();
    assert_eq!(ledger.append(&[release(next - 1)]).unwrap(), next..next + 1, "{what}");
    ledger.publish_checkpoint().unwrap();
    drop(ledger);
    let policy = Policy::new(ORIGIN, keys().signer.verifier().clone());
    let report = verify_path(image, &policy).unwrap_or_else(|found| panic!("{what}: {found:?}"));
    assert_eq!(report.size, next + 1, "{what}");
}

/// The disk after each of the recorded steps, in the states `unsynced`.
fn matrix(unsynced: &[Unsynced]) {
    let (root, steps) = record();
    let (mut model, mut acknowledged) = (Model::default(), 0);
    for (place, step) in steps.iter().enumerate() {
        match step {
            Step::Acknowledged(count) => acknowledged = *count,
            Step::Asked(op) => {
                model.follow(op);
                for unsynced in unsynced {
                    let image = tempdir().unwrap();
                    model.image(&root, image.path(), *unsynced);
                    check(image.path(), acknowledged, &format!("{unsynced:?} after {place}"));
                }
            }
        }
    }
    assert!(steps.len() > 100, "the recording has {} steps", steps.len());
}

#[test]
fn p14_a_stop_after_any_write_or_sync_loses_nothing_acknowledged() {
    matrix(&[Unsynced::Kept]);
}

#[test]
fn p14_power_lost_after_any_write_or_sync_loses_nothing_acknowledged() {
    matrix(&[Unsynced::Dropped, Unsynced::Holes]);
}

#[test]
fn p14_torn_and_zeroed_pages_after_any_write_lose_nothing_acknowledged() {
    matrix(&[Unsynced::Torn, Unsynced::Zeroed]);
}

#[test]
fn p14_a_full_disk_refuses_appends_goes_on_reading_and_recovers() {
    for fails in 0..14 {
        let dir = tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(false));
        let writes = Arc::new(Mutex::new(0));
        let rule = {
            let (full, writes) = (Arc::clone(&full), Arc::clone(&writes));
            move |disk: &Disk, op: &Op| match op {
                Op::Write(path, offset, bytes) if full.load(Ordering::SeqCst) => {
                    let mut writes = writes.lock();
                    *writes += 1;
                    if *writes <= fails {
                        return op.apply(disk);
                    }
                    disk.write(path, *offset, &bytes[..bytes.len() / 3])?;
                    Err(std::io::ErrorKind::StorageFull.into())
                }
                op => op.apply(disk),
            }
        };
        let ledger = open_on(dir.path(), Ruled::new(rule)).unwrap();
        ledger.append(&releases(0..250)).unwrap();
        ledger.publish_checkpoint().unwrap();
        full.store(true, Ordering::SeqCst);
        let mut len = ledger.len();
        let mut refused = false;
        for _ in 0..30 {
            match ledger.append(&releases(len - 1..len + 4)) {
                Ok(range) => len = range.end,
                Err(AppendError::Refused(kind)) => {
                    assert_eq!(kind, std::io::ErrorKind::StorageFull);
                    refused = true;
                }
                Err(other) => panic!("{other}"),
            }
            let _ = ledger.publish_checkpoint();
            assert_eq!(ledger.len(), len);
            for index in [1, len / 2, len - 1] {
                let entry = ledger.get(LedgerIndex(index)).unwrap().entry;
                assert_eq!(entry, release(index - 1));
            }
        }
        assert!(refused);
        full.store(false, Ordering::SeqCst);
        ledger.append(&releases(len - 1..len + 300)).unwrap();
        assert_eq!(ledger.publish_checkpoint().unwrap().size(), len + 301);
        drop(ledger);
        check(dir.path(), len + 301, &format!("full after {fails} writes"));
    }
}
