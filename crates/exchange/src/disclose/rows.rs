//! Search rows of a record, opened, for as long as the keys that opened them are held.
//!
//! Opening a row costs some microseconds, and people ask several times about the
//! same record. What was opened stays with the keys: it is found again by those very
//! keys only, and is dropped when they are. Not more than [`ROWS_COUNT_MAX`] rows stay.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use holdfast_base::{CommitNumber, PatientId};
use holdfast_keeper::PatientKeys;
use holdfast_store::Snapshot;
use parking_lot::Mutex;

use super::open::OpenRow;
use super::read::Opened;
use crate::ExchangeError;
use crate::state::Exchange;

/// How many opened rows the front process keeps: at about a kilobyte each, some
/// tens of megabytes.
const ROWS_COUNT_MAX: usize = 65_536;

/// What a record has in it, as far as the keys open it: current, not deleted.
pub(crate) struct RecordRows {
    /// The commit that last changed the record: what is here holds from then on.
    changed: CommitNumber,
    /// The rows in the order of their keys.
    pub rows: Vec<OpenRow>,
}

struct Held {
    keys: Weak<PatientKeys>,
    /// Not there while they are being opened.
    rows: Option<Arc<RecordRows>>,
    ticket: u64,
    used: u64,
}

impl Held {
    fn is_of(&self, keys: &Arc<PatientKeys>) -> bool {
        std::ptr::eq(self.keys.as_ptr(), Arc::as_ptr(keys))
    }

    fn count(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.rows.len())
    }
}

#[derive(Default)]
struct Records {
    held: HashMap<PatientId, Vec<Held>>,
    /// Records that are being written to, and by how many commits.
    writers: HashMap<PatientId, usize>,
    rows_count: usize,
    /// Counts looks, so that what was not used for longest is dropped first.
    looks: u64,
}

impl Records {
    fn drop_those(&mut self, which: impl Fn(&PatientId, &Held) -> bool) {
        let mut dropped = 0;
        self.held.retain(|patient, held| {
            held.retain(|held| {
                let drops = which(patient, held);
                dropped += if drops { held.count() } else { 0 };
                !drops
            });
            !held.is_empty()
        });
        self.rows_count -= dropped;
    }

    fn drop_patient(&mut self, patient: PatientId) {
        let held = self.held.remove(&patient).unwrap_or_default();
        self.rows_count -= held.iter().map(Held::count).sum::<usize>();
    }

    fn make_room(&mut self, rows_count: usize) {
        if self.rows_count + rows_count <= ROWS_COUNT_MAX {
            return;
        }
        let mut ages: Vec<u64> = self.held.values().flatten().map(|held| held.used).collect();
        ages.sort_unstable();
        let middle = ages.get(ages.len() / 2).copied().unwrap_or(u64::MAX);
        self.drop_those(|_, held| held.used <= middle);
    }
}

/// The opened search rows that are kept.
#[derive(Default)]
pub(crate) struct OpenRows(Mutex<Records>);

/// Keeps the rows of some records from being taken for current while they are
/// written to.
pub(crate) struct Writing<'a>(&'a OpenRows, Vec<PatientId>);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut records = self.0.0.lock();
        for patient in &self.1 {
            records.drop_patient(*patient);
            if let Some(writers) = records.writers.get_mut(patient) {
                *writers -= 1;
                if *writers == 0 {
                    records.writers.remove(patient);
                }
            }
        }
    }
}

impl OpenRows {
    /// Announces a commit that writes to these records.
    pub fn writing(&self, mut patients: Vec<PatientId>) -> Writing<'_> {
        patients.sort_unstable();
        patients.dedup();
        let mut records = self.0.lock();
        for patient in &patients {
            records.drop_patient(*patient);
            *records.writers.entry(*patient).or_default() += 1;
        }
        Writing(self, patients)
    }

    /// Drops what was opened with keys that are no longer held.
    pub fn sweep(&self) {
        self.0.lock().drop_those(|_, held| held.keys.strong_count() == 0);
    }

    /// What these keys opened before, if it is what `commit` shows.
    fn get(&self, keys: &Arc<PatientKeys>, commit: CommitNumber) -> Option<Arc<RecordRows>> {
        let mut records = self.0.lock();
        records.looks += 1;
        let looks = records.looks;
        let held = records.held.get_mut(&keys.patient)?.iter_mut().find(|held| held.is_of(keys))?;
        held.used = looks;
        held.rows.as_ref().filter(|rows| rows.changed <= commit).map(Arc::clone)
    }

    /// Announces that these keys will open the rows as they are now; `None` while they
    /// are being written.
    fn begin(&self, keys: &Arc<PatientKeys>) -> Option<u64> {
        let mut records = self.0.lock();
        if records.writers.contains_key(&keys.patient) {
            return None;
        }
        records.looks += 1;
        let ticket = records.looks;
        let held = Held { keys: Arc::downgrade(keys), rows: None, ticket, used: ticket };
        let of_patient = records.held.entry(keys.patient).or_default();
        let former = of_patient.extract_if(.., |held| held.is_of(keys)).map(|held| held.count());
        let former: usize = former.sum();
        of_patient.push(held);
        records.rows_count -= former;
        Some(ticket)
    }

    /// Keeps what was opened, unless the record was written to since.
    fn keep(&self, keys: &Arc<PatientKeys>, ticket: u64, rows: &Arc<RecordRows>) {
        let count = rows.rows.len();
        let mut records = self.0.lock();
        if count <= ROWS_COUNT_MAX / 4 {
            records.make_room(count);
        }
        let of_patient = records.held.get_mut(&keys.patient);
        let Some(held) = of_patient.and_then(|of| of.iter_mut().find(|h| h.ticket == ticket))
        else {
            return;
        };
        if count <= ROWS_COUNT_MAX / 4 {
            held.rows = Some(Arc::clone(rows));
            records.rows_count += count;
        }
    }
}

impl Exchange {
    /// The current search rows of an opened record at `snapshot`, as far as its keys
    /// open them.
    pub(crate) fn record_rows(
        &self,
        opened: &Opened,
        snapshot: &Snapshot,
    ) -> Result<Arc<RecordRows>, ExchangeError> {
        let cache = self.open_rows();
        if let Some(rows) = cache.get(&opened.keys, snapshot.commit()) {
            return Ok(rows);
        }
        let Some(ticket) = cache.begin(&opened.keys) else {
            return self.open_all_rows(opened, snapshot).map(Arc::new);
        };
        let rows = Arc::new(self.open_all_rows(opened, &self.store().snapshot())?);
        cache.keep(&opened.keys, ticket, &rows);
        // The search began before the record last changed.
        if rows.changed > snapshot.commit() {
            return self.open_all_rows(opened, snapshot).map(Arc::new);
        }
        Ok(rows)
    }

    fn open_all_rows(
        &self,
        opened: &Opened,
        snapshot: &Snapshot,
    ) -> Result<RecordRows, ExchangeError> {
        let keeping = &opened.organization;
        let mut found = RecordRows { changed: CommitNumber(0), rows: Vec::new() };
        for row in snapshot.scan_current(keeping.ordinal, opened.patient, None) {
            let row = row.map_err(ExchangeError::store)?;
            found.changed = found.changed.max(row.commit);
            if row.deleted {
                continue;
            }
            if let Some(mut row) = self.open_row(keeping, row, &opened.keys)? {
                // What is opened needs its sealed form no more, but for the first byte,
                // which says how the body's parts are labelled.
                row.row.index.truncate(1);
                row.row.index.shrink_to_fit();
                found.rows.push(row);
            }
        }
        Ok(found)
    }
}
