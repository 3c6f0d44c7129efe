//! Searches and merges that wait for sealed rows, and what was opened of late.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use holdfast_base::{OrganizationId, fill_random};
use parking_lot::Mutex;

use super::block::{Fence, open_fence};
use super::delta::open_delta;
use super::{
    DeltaRef, IndexError, Merge, NEEDED_BYTES_MAX, NEEDED_MAX, Needed, Record, RunRef, Search,
};
use crate::keyring::Keys;

/// Searches and merges under way; beyond that, the oldest is given up.
const WAITING_MAX: usize = 64;
/// Pieces of directories in memory: some 512 × 50 kB.
const FENCES_MAX: usize = 512;
/// Records of open deltas in memory.
const DELTA_RECORDS_MAX: usize = 500_000;

/// The keys of an organization's index.
pub(crate) struct IndexKeys {
    /// Seals blocks and fences.
    pub seal: Keys,
    /// Opens deltas.
    pub delta: Keys,
}

/// Whether something is ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Need(Vec<Needed>),
    Done,
}

/// What waits.
pub(crate) enum Waiting<S> {
    Search(Box<Search>, S),
    Merge(Box<Merge>),
}

/// How many jobs there were, and those that wait by their handle: number, job, what
/// it needs next.
type Jobs<S> = (u64, BTreeMap<u64, (u64, Waiting<S>, Vec<Needed>)>);

/// The waiting jobs, each with what it needs next.
pub(crate) struct Desk<S> {
    waiting: Mutex<Jobs<S>>,
    pub caches: Caches,
}

impl<S> Default for Desk<S> {
    fn default() -> Self {
        Self { waiting: Mutex::new((0, BTreeMap::new())), caches: Caches::default() }
    }
}

impl<S> Desk<S> {
    /// Puts a job down until `needed` comes; gives its handle.
    pub fn put(&self, job: Waiting<S>, needed: Vec<Needed>) -> u64 {
        let mut secret = [0; 8];
        fill_random(&mut secret);
        let mut waiting = self.waiting.lock();
        waiting.0 += 1;
        let number = waiting.0;
        if waiting.1.len() >= WAITING_MAX {
            let oldest = waiting.1.iter().min_by_key(|(_, (number, ..))| *number);
            if let Some(handle) = oldest.map(|(handle, _)| *handle) {
                waiting.1.remove(&handle);
            }
        }
        let handle = u64::from_be_bytes(secret);
        waiting.1.insert(handle, (number, job, needed));
        handle
    }

    /// Takes the job up again, with the rows that it waited for.
    pub fn take(&self, handle: u64) -> Option<(Waiting<S>, Vec<Needed>)> {
        self.waiting.lock().1.remove(&handle).map(|(_, job, needed)| (job, needed))
    }
}

#[derive(Default)]
struct Cached {
    fences: HashMap<(OrganizationId, [u8; 16], u32), Arc<Fence>>,
    deltas: HashMap<(OrganizationId, [u8; 16]), Arc<Vec<Record>>>,
    delta_records: usize,
}

/// Directories and deltas that were opened of late.
#[derive(Default)]
pub(crate) struct Caches(Mutex<Cached>);

/// The directories of the runs and the deltas that one job looks at.
pub(super) struct Opened {
    pub organization: OrganizationId,
    pub runs: Vec<RunRef>,
    pub deltas: Vec<DeltaRef>,
    pub fences: BTreeMap<([u8; 16], u32), Arc<Fence>>,
    pub records: BTreeMap<[u8; 16], Arc<Vec<Record>>>,
}

impl Opened {
    pub fn new(organization: OrganizationId, runs: Vec<RunRef>, deltas: Vec<DeltaRef>) -> Self {
        let (fences, records) = (BTreeMap::new(), BTreeMap::new());
        Self { organization, runs, deltas, fences, records }
    }

    /// Takes what is known already and says what is missing.
    pub fn missing(&mut self, caches: &Caches) -> Vec<Needed> {
        let cached = caches.0.lock();
        let mut missing = Vec::new();
        for run in &self.runs {
            for piece in 0..run.pieces {
                let at = (run.run, piece);
                if self.fences.contains_key(&at) {
                    continue;
                }
                match cached.fences.get(&(self.organization.clone(), run.run, piece)) {
                    Some(fence) => drop(self.fences.insert(at, Arc::clone(fence))),
                    None => missing.push(Needed::Fence(run.run, piece)),
                }
            }
        }
        let mut bytes_sum = 0;
        for DeltaRef { delta, bytes, .. } in &self.deltas {
            if self.records.contains_key(delta) {
                continue;
            }
            match cached.deltas.get(&(self.organization.clone(), *delta)) {
                Some(records) => drop(self.records.insert(*delta, Arc::clone(records))),
                None => {
                    bytes_sum += u64::from(*bytes);
                    if bytes_sum <= NEEDED_BYTES_MAX || missing.is_empty() {
                        missing.push(Needed::Delta(*delta));
                    }
                }
            }
        }
        missing.truncate(NEEDED_MAX);
        missing
    }

    /// Opens a fence or a delta, for this job and the next ones.
    pub fn take(
        &mut self,
        keys: &IndexKeys,
        caches: &Caches,
        needed: Needed,
        sealed: &[u8],
    ) -> Result<(), IndexError> {
        let organization = &self.organization;
        match needed {
            Needed::Fence(run, piece) => {
                let fence = open_fence(&keys.seal, organization.as_str(), (run, piece), sealed)?;
                let fence = Arc::new(fence);
                let mut cached = caches.0.lock();
                if cached.fences.len() >= FENCES_MAX {
                    cached.fences.clear();
                }
                cached.fences.insert((organization.clone(), run, piece), Arc::clone(&fence));
                self.fences.insert((run, piece), fence);
            }
            Needed::Delta(name) => {
                let known = self.deltas.iter().find(|delta| delta.delta == name);
                let commit = known.ok_or(IndexError::Damaged)?.commit;
                let records = open_delta(&keys.delta, organization, name, commit, sealed)?;
                let records = Arc::new(records);
                let mut cached = caches.0.lock();
                cached.delta_records += records.len();
                if cached.delta_records > DELTA_RECORDS_MAX {
                    cached.deltas.clear();
                    cached.delta_records = records.len();
                }
                cached.deltas.insert((organization.clone(), name), Arc::clone(&records));
                self.records.insert(name, records);
            }
            Needed::Block(..) => return Err(IndexError::Damaged),
        }
        Ok(())
    }
}
