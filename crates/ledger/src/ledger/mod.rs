//! The ledger as the keeper holds it: append, publish, read.

mod recover;
#[cfg(test)]
mod tests;
mod tiles;
mod view;
mod writer;

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use holdfast_base::{Clock, LedgerIndex, fill_random};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::bodies::{Record, read_record};
use crate::error::{AppendError, BodyUnreadable, Damage, OpenError, ReadError};
use crate::leaf::{SALT_BYTES, commitment};
use crate::note::{Checkpoint, CheckpointSigner};
use crate::tree::Hash;
use crate::{Entry, Filter, Placed};

pub(crate) use tiles::{GrowingTree, publish};
use view::{ENTRIES_MAX, View};
use writer::{BodyWriter, Disk, Medium};

/// No entry is longer as JSON: an access to some thousands of resources fits.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// How many candidates a query looks at before it lets writers pass.
const QUERY_STEP: usize = 512;

/// Seals entry bodies. Implemented by the keeper: the ledger has no cipher.
pub trait BodySealer: Send + Sync {
    /// Seals `body`, bound to `index`. At most 1024 bytes longer than the body.
    fn seal(&self, index: LedgerIndex, body: &[u8]) -> Vec<u8>;
    /// Opens what [`seal`](Self::seal) made for the same index.
    ///
    /// # Errors
    /// [`BodyUnreadable`] when it was sealed for another index, under another key,
    /// or changed.
    fn open(&self, index: LedgerIndex, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable>;
}

/// The keys that a ledger works with.
pub struct LedgerKeys {
    /// Seals and opens bodies.
    pub sealer: Box<dyn BodySealer>,
    /// Signs checkpoints.
    pub signer: CheckpointSigner,
}

/// An append-only Merkle log in a folder. See the crate's README for the promises
/// and the format. Thread-safe; every method takes `&self`.
pub struct Ledger {
    dir: PathBuf,
    origin: String,
    sealer: Box<dyn BodySealer>,
    signer: RwLock<Arc<CheckpointSigner>>,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    answered: Condvar,
    writer: Mutex<Writer>,
    view: RwLock<View>,
    published: Mutex<Option<Checkpoint>>,
    /// Locked for as long as the ledger is open.
    _lock: File,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({})", self.origin())
    }
}

/// Appends that wait for the next sync.
#[derive(Default)]
struct Queue {
    waiting: Vec<Job>,
    /// Whether a thread is writing what waited before.
    led: bool,
}

type Answer = Arc<OnceLock<Result<Range<u64>, AppendError>>>;

struct Job {
    bodies: Vec<Body>,
    answer: Answer,
}

impl Drop for Job {
    /// A job that nobody answered (its leader panicked) did not succeed.
    fn drop(&mut self) {
        let _ = self.answer.set(Err(AppendError::Stopped));
    }
}

/// An entry ready to be sealed.
struct Body {
    entry: Entry,
    salted: Vec<u8>,
    commitment: Hash,
}

impl Body {
    fn of(entry: &Entry) -> Result<Self, AppendError> {
        let mut salted = vec![0; SALT_BYTES];
        fill_random(&mut salted);
        // Entries hold identifiers, numbers and texts: none can fail to serialise.
        serde_json::to_writer(&mut salted, entry).map_err(|_| AppendError::Stopped)?;
        let bytes = salted.len() - SALT_BYTES;
        if bytes > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLong { bytes, bytes_max: ENTRY_BYTES_MAX });
        }
        Ok(Self { entry: entry.clone(), commitment: commitment(&salted), salted })
    }
}

/// The one end that writes.
struct Writer {
    bodies: BodyWriter,
    tree: GrowingTree,
    /// After a failure that leaves unknown what is durable.
    stopped: bool,
}

/// Gives the lead back, also when the leader panics.
struct Lead<'a>(&'a Ledger);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().led = false;
        self.0.answered.notify_all();
    }
}

impl Ledger {
    /// Opens the ledger in `dir`, or makes a new one whose first entry is
    /// `ledger-opened`. Checks every entry against its commitment and the tree
    /// against tiles and checkpoint; cuts a torn end off that no acknowledged
    /// entry can have been in.
    ///
    /// # Errors
    /// [`OpenError`]: when somebody else has it open, or anything that was
    /// acknowledged is missing or changed.
    pub fn open(
        dir: &Path,
        origin: &str,
        keys: LedgerKeys,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        Self::open_on(dir, origin, keys, clock, Box::new(Disk::default()))
    }

    pub(crate) fn open_on(
        dir: &Path,
        origin: &str,
        keys: LedgerKeys,
        clock: Arc<dyn Clock>,
        medium: Box<dyn Medium>,
    ) -> Result<Self, OpenError> {
        recover::open(dir, origin, keys, clock, medium)
    }

    /// Appends `entries`, one after the other without another's between them, and
    /// returns their indexes. Durable on return. Callers at the same time share
    /// one sync.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was acknowledged then, and the caller must refuse
    /// what it was about to do.
    pub fn append(&self, entries: &[Entry]) -> Result<Range<u64>, AppendError> {
        let bodies: Vec<Body> = entries.iter().map(Body::of).collect::<Result<_, _>>()?;
        if bodies.is_empty() {
            let len = self.len();
            return Ok(len..len);
        }
        let answer = Answer::default();
        let mut queue = self.queue.lock();
        queue.waiting.push(Job { bodies, answer: answer.clone() });
        loop {
            if let Some(answer) = answer.get() {
                return answer.clone();
            }
            if queue.led {
                self.answered.wait(&mut queue);
                continue;
            }
            queue.led = true;
            let jobs = std::mem::take(&mut queue.waiting);
            drop(queue);
            let lead = Lead(self);
            self.write_group(jobs);
            drop(lead);
            queue = self.queue.lock();
        }
    }

    /// Makes one group durable, then visible, then answers.
    fn write_group(&self, jobs: Vec<Job>) {
        let mut writer = self.writer.lock();
        let first = writer.tree.size();
        let count: usize = jobs.iter().map(|job| job.bodies.len()).sum();
        let outcome = if writer.stopped {
            Err(AppendError::Stopped)
        } else if first + count as u64 > ENTRIES_MAX {
            Err(AppendError::Full)
        } else {
            let bodies = jobs.iter().flat_map(|job| &job.bodies);
            let sealed = bodies.zip(first..).map(|(body, index)| Record {
                index,
                group: first,
                commitment: body.commitment,
                sealed: self.sealer.seal(LedgerIndex(index), &body.salted),
            });
            let records: Vec<Record> = sealed.collect();
            writer.bodies.append(&records).map_err(|failed| {
                writer.stopped = !failed.undone;
                if failed.undone { AppendError::Refused(failed.kind) } else { AppendError::Stopped }
            })
        };
        let outcome = outcome.map(|offsets| {
            let mut view = self.view.write();
            for (body, offset) in jobs.iter().flat_map(|job| &job.bodies).zip(offsets) {
                writer.tree.push(&body.commitment);
                view.push(&body.entry, offset);
            }
        });
        let mut next = first;
        for job in jobs {
            let range = next..next + job.bodies.len() as u64;
            next = range.end;
            let _ = job.answer.set(outcome.map(|()| range));
        }
    }

    /// Signs the present state and makes tiles and checkpoint durable. Cheap when
    /// nothing was appended since the last time.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when the disk refuses; try again later: no entry is
    /// lost by it. [`AppendError::Stopped`] after a failed write.
    pub fn publish_checkpoint(&self) -> Result<Checkpoint, AppendError> {
        let mut published = self.published.lock();
        let (tiles, finished, size, root) = {
            let writer = self.writer.lock();
            if writer.stopped {
                return Err(AppendError::Stopped);
            }
            let tiles = writer.tree.to_write();
            let finished = tiles.iter().filter(|(tile, _)| tile.is_full()).count();
            (tiles, finished, writer.tree.size(), writer.tree.root())
        };
        if let Some(last) = published.as_ref().filter(|last| last.size() == size) {
            return Ok(last.clone());
        }
        let checkpoint = Checkpoint::sign(&self.signer(), size, root);
        publish(&self.dir, &tiles, &checkpoint)
            .map_err(|error| AppendError::Refused(error.kind()))?;
        self.writer.lock().tree.wrote_finished(finished);
        *published = Some(checkpoint.clone());
        Ok(checkpoint)
    }

    /// The checkpoint that was published last.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.published.lock().clone()
    }

    /// Name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key that checkpoints are checked with, as C2SP vkey.
    pub fn vkey(&self) -> String {
        self.signer().vkey()
    }

    /// Signs with `signer` from the next checkpoint on, which is published at once
    /// when it is asked for, though nothing was appended.
    pub fn change_signer(&self, signer: CheckpointSigner) {
        let mut published = self.published.lock();
        *self.signer.write() = Arc::new(signer);
        *published = None;
    }

    /// Number of durable entries.
    #[allow(clippy::len_without_is_empty)] // A ledger has its first entry from the start.
    pub fn len(&self) -> u64 {
        self.view.read().len()
    }

    /// Root of the tree over the durable entries.
    pub fn root(&self) -> Hash {
        self.writer.lock().tree.root()
    }

    /// The entry of `index`, checked against its commitment.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, index: LedgerIndex) -> Result<Placed, ReadError> {
        let salted = self.salted(index)?;
        let entry = serde_json::from_slice(&salted[SALT_BYTES..])
            .map_err(|_| ReadError::Damaged { index, damage: Damage::Form })?;
        Ok(Placed { index, entry })
    }

    /// Salt and entry bytes of `index`, checked against the commitment.
    pub(crate) fn salted(&self, index: LedgerIndex) -> Result<Vec<u8>, ReadError> {
        let offset = self.view.read().offset(index.0).ok_or(ReadError::NoSuchEntry(index))?;
        let damaged = |damage| ReadError::Damaged { index, damage };
        let record =
            read_record(&self.dir, index.0, offset)?.ok_or_else(|| damaged(Damage::Check))?;
        open_record(&*self.sealer, &record).map_err(damaged)
    }

    /// The first `limit` entries after `after` that match `filter`, ascending.
    ///
    /// # Errors
    /// [`ReadError`]; an entry that matches and cannot be read is never left out.
    pub fn query(
        &self,
        filter: &Filter,
        after: Option<LedgerIndex>,
        limit: usize,
    ) -> Result<Vec<Placed>, ReadError> {
        let mut found = Vec::new();
        let mut from = Some(after.map_or(0, |index| index.0.saturating_add(1)));
        while let Some(start) = from.filter(|_| found.len() < limit) {
            let (candidates, next) = self.view.read().candidates(filter, start, QUERY_STEP);
            for index in candidates {
                let placed = self.get(LedgerIndex(index))?;
                if filter.matches(&placed.entry) {
                    found.push(placed);
                    if found.len() == limit {
                        break;
                    }
                }
            }
            from = next;
        }
        Ok(found)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn signer(&self) -> Arc<CheckpointSigner> {
        Arc::clone(&self.signer.read())
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// Opens a record's body and checks it against the record's commitment: gives
/// salt ‖ entry.
fn open_record(sealer: &dyn BodySealer, record: &Record) -> Result<Vec<u8>, Damage> {
    let salted =
        sealer.open(LedgerIndex(record.index), &record.sealed).map_err(|_| Damage::Sealed)?;
    let right = salted.len() > SALT_BYTES && commitment(&salted) == record.commitment;
    if right { Ok(salted) } else { Err(Damage::Commitment) }
}
