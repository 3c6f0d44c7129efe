//! The ledger as the keeper holds it: append, publish, read.

mod copy;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod index_tests;
mod indexing;
mod recover;
#[cfg(test)]
mod tests;
mod tiles;
mod view;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use holdfast_base::{Clock, LedgerIndex, PatientId, fill_random};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::bodies::{Record, read_record};
use crate::error::{AppendError, BodyUnreadable, Damage, OpenError, ReadError};
use crate::index::{Cache, Facts, Gathering, IndexFault, TouchedRecord, matching};
use crate::leaf::{SALT_BYTES, commitment};
use crate::medium::{Disk, Medium};
use crate::note::{Checkpoint, CheckpointSigner};
use crate::tree::Hash;
use crate::{Entry, Event, Filter, Placed, told_by_name};

pub use copy::LedgerCopy;
use indexing::{Leaves, Workshop};
pub(crate) use tiles::{GrowingTree, publish};
use view::{ENTRIES_MAX, Piece, Shape, Spot, View};
use writer::BodyWriter;

/// No entry is longer as JSON: an access to some thousands of resources fits.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Entries that a query looks for at once in what is in memory, where appends wait
/// for it.
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
    /// Seals a block of the query index, bound to `place`, which no body has.
    /// Always longer by the same number of bytes, at most 1024.
    fn seal_index(&self, place: IndexPlace, block: &[u8]) -> Vec<u8>;
    /// Opens what [`seal_index`](Self::seal_index) made for the same place.
    ///
    /// # Errors
    /// [`BodyUnreadable`] when it was sealed for another place, under another key,
    /// or changed.
    fn open_index(&self, place: IndexPlace, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable>;
}

/// Where a block of the query index belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPlace {
    /// The segment's first entry.
    pub first: u64,
    /// Its number of entries.
    pub count: u64,
    /// Random, of the one file.
    pub file: [u8; 16],
    /// The block, from 0.
    pub block: u32,
}

impl IndexPlace {
    /// As bytes that no other place has.
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.count.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.file);
        bytes[32..].copy_from_slice(&self.block.to_be_bytes());
        bytes
    }
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
    medium: Arc<dyn Medium>,
    cache: Arc<Cache>,
    leaves: Leaves,
    /// Also the lock of those who change the index's files.
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
    fn of(entry: &Entry, salt: &[u8; SALT_BYTES]) -> Result<Self, AppendError> {
        let mut salted = salt.to_vec();
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
        Self::open_on(dir, origin, keys, clock, Arc::new(Disk::default()), Shape::default())
    }

    pub(crate) fn open_on(
        dir: &Path,
        origin: &str,
        keys: LedgerKeys,
        clock: Arc<dyn Clock>,
        medium: Arc<dyn Medium>,
        shape: Shape,
    ) -> Result<Self, OpenError> {
        recover::open(dir, origin, keys, clock, medium, shape)
    }

    /// Appends `entries`, one after the other without another's between them, and
    /// returns their indexes. Durable on return. Callers at the same time share
    /// one sync.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was acknowledged then, and the caller must refuse
    /// what it was about to do.
    pub fn append(&self, entries: &[Entry]) -> Result<Range<u64>, AppendError> {
        // One call to the system for all of them.
        let mut salts = vec![[0; SALT_BYTES]; entries.len()];
        fill_random(salts.as_flattened_mut());
        let bodies = entries.iter().zip(&salts).map(|(entry, salt)| Body::of(entry, salt));
        let bodies: Vec<Body> = bodies.collect::<Result<_, _>>()?;
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
        let outcome = outcome.map(|places| {
            let mut view = self.view.write();
            for (body, (offset, end)) in jobs.iter().flat_map(|job| &job.bodies).zip(places) {
                writer.tree.push(&body.commitment);
                view.push(&body.entry, offset, end, body.commitment);
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
        publish(&*self.medium, &self.dir, &tiles, &checkpoint)
            .map_err(|error| AppendError::Refused(error.kind()))?;
        self.writer.lock().tree.wrote_finished(finished);
        *published = Some(checkpoint.clone());
        self.workshop().grow(&self.view, size);
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

    /// The log's second public key, when it has one.
    pub fn second_vkey(&self) -> Option<String> {
        self.signer().second_verifier().map(ToString::to_string)
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

    /// Salt and entry bytes of `index`, checked against the tree.
    pub(crate) fn salted(&self, index: LedgerIndex) -> Result<Vec<u8>, ReadError> {
        let damaged = |damage| ReadError::Damaged { index, damage };
        let spot = self.view.read().spot(index.0).ok_or(ReadError::NoSuchEntry(index))?;
        let (offset, due) = match spot {
            Spot::Known(offset, commitment) => (offset, commitment),
            Spot::Sealed(segment, place, root) => {
                let offset = match segment.row(self.sealer(), place) {
                    Ok(row) => row.offset,
                    Err(_) => self.offset(index.0)?,
                };
                let record = |index| self.record_commitment(index);
                (offset, self.leaves.commitment(&self.dir, index.0, &root, record)?)
            }
        };
        let record =
            read_record(&self.dir, index.0, offset)?.ok_or_else(|| damaged(Damage::Check))?;
        if record.commitment != due {
            return Err(damaged(Damage::Commitment));
        }
        open_record(self.sealer(), &record).map_err(damaged)
    }

    /// Where the record of entry `index` begins.
    fn offset(&self, index: u64) -> Result<u64, ReadError> {
        self.by_index(|| {
            let spot = self.view.read().spot(index);
            match spot {
                Some(Spot::Known(offset, _)) => Ok(Some(offset)),
                Some(Spot::Sealed(segment, place, _)) => {
                    segment.row(self.sealer(), place).map(|row| Some(row.offset))
                }
                None => Ok(None),
            }
        })?
        .ok_or(ReadError::NoSuchEntry(LedgerIndex(index)))
    }

    /// The commitment as the record of entry `index` has it.
    fn record_commitment(&self, index: u64) -> Result<Hash, ReadError> {
        let record = read_record(&self.dir, index, self.offset(index)?)?;
        let index = LedgerIndex(index);
        let record = record.ok_or(ReadError::Damaged { index, damage: Damage::Check })?;
        Ok(record.commitment)
    }

    /// Does `work` on the index; where that finds damage, the segment is made anew
    /// from the bodies and the work done again.
    fn by_index<T>(&self, work: impl Fn() -> Result<T, IndexFault>) -> Result<T, ReadError> {
        let mut mended = None;
        loop {
            match work() {
                Ok(found) => return Ok(found),
                Err(IndexFault::Io(error)) => return Err(error.into()),
                Err(IndexFault::Damaged(first)) if mended == Some(first) => {
                    let index = LedgerIndex(first);
                    return Err(ReadError::Damaged { index, damage: Damage::Index });
                }
                Err(IndexFault::Damaged(first)) => {
                    let _writing = self.published.lock();
                    self.workshop().mend(&self.view, first)?;
                    mended = Some(first);
                }
            }
        }
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
        let mut start = after.map_or(0, |index| index.0.saturating_add(1));
        while found.len() < limit && start < self.len() {
            let (candidates, next) =
                self.by_index(|| self.candidates(filter, start, limit - found.len()))?;
            for index in candidates {
                let placed = self.get(LedgerIndex(index))?;
                if filter.matches(&placed.entry) {
                    found.push(placed);
                }
            }
            start = next;
        }
        Ok(found)
    }

    /// Up to `limit` indexes from `start` on that match `filter`, from one piece of
    /// the index, and where to go on.
    fn candidates(
        &self,
        filter: &Filter,
        start: u64,
        limit: usize,
    ) -> Result<(Vec<u64>, u64), IndexFault> {
        let search = |facts: &dyn Facts, last: u64, limit: usize| {
            let first = facts.first();
            let from = start.saturating_sub(first) as u32;
            let mut found = Vec::new();
            matching(facts, filter, from, &mut |place, _| {
                found.push(first + u64::from(place));
                found.len() < limit
            })?;
            let next = found.last().filter(|_| found.len() >= limit).map_or(last, |last| last + 1);
            Ok((found, next))
        };
        let piece = {
            let view = self.view.read();
            match view.piece_of(start) {
                Some(place) => view.pieces[place].clone(),
                None => return search(&view.open.contents, view.len(), limit.min(QUERY_STEP)),
            }
        };
        match &piece {
            Piece::Draft(draft) => search(&draft.contents, piece.last(), limit),
            Piece::Sealed(segment) => search(&segment.with(self.sealer()), piece.last(), limit),
        }
    }

    /// Whose records the entries that match `filter` touched, and how: what a
    /// scope consists of, computed from the index. Of the entries, only searches over
    /// many patients are opened: whom they named counts, too. In order of organization
    /// and patient.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn touched(&self, filter: &Filter) -> Result<Vec<TouchedRecord>, ReadError> {
        let searches = self.searches(filter)?;
        self.by_index(|| {
            let (pieces, open) = {
                let view = self.view.read();
                (view.pieces.clone(), view.open.contents.clone())
            };
            let mut gathering = Gathering::default();
            for piece in &pieces {
                match piece {
                    Piece::Draft(draft) => gathering.add(&draft.contents, filter)?,
                    Piece::Sealed(segment) => {
                        gathering.add(&segment.with(self.sealer()), filter)?
                    }
                }
            }
            gathering.add(&open, filter)?;
            for Placed { index, entry } in &searches {
                let Event::PopulationQuery { organization, resource_type, named, .. } =
                    &entry.event
                else {
                    continue;
                };
                let told = told_by_name(resource_type);
                let wanted =
                    |p: &&PatientId| filter.patients.is_empty() || filter.patients.contains(p);
                for patient in named.iter().filter(wanted) {
                    gathering.add_named(organization, *patient, told, (*index, entry.at));
                }
            }
            let mut collected = gathering.collected();
            collected.add_profiles(&open)?;
            for piece in pieces.iter().rev() {
                match piece {
                    Piece::Draft(draft) => collected.add_profiles(&draft.contents)?,
                    Piece::Sealed(segment) => {
                        collected.add_profiles(&segment.with(self.sealer()))?;
                    }
                }
            }
            Ok(collected.finish())
        })
    }

    /// The searches over many patients that `filter` asks for: they are about no single
    /// record, so the filter's organization and patients are looked for inside.
    fn searches(&self, filter: &Filter) -> Result<Vec<Placed>, ReadError> {
        const KIND: &str = "population-query";
        if !filter.kinds.is_empty() && !filter.kinds.iter().any(|kind| kind == KIND) {
            return Ok(Vec::new());
        }
        let wanted = Filter {
            kinds: vec![KIND.to_owned()],
            organization: None,
            patients: HashSet::new(),
            ..filter.clone()
        };
        let mut found = self.query(&wanted, None, usize::MAX)?;
        found.retain(|placed| match &placed.entry.event {
            Event::PopulationQuery { organization, named, .. } => {
                let own = filter.organization.as_ref().is_none_or(|asked| asked == organization);
                own && !named.is_empty()
            }
            _ => false,
        });
        Ok(found)
    }

    fn sealer(&self) -> &dyn BodySealer {
        &*self.sealer
    }

    fn workshop(&self) -> Workshop<'_> {
        Workshop {
            dir: &self.dir,
            medium: &*self.medium,
            sealer: self.sealer(),
            cache: &self.cache,
        }
    }

    pub(crate) fn medium(&self) -> &dyn Medium {
        &*self.medium
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
