//! Patients' class keys that live sessions hold: few, briefly, per session.
//!
//! A key is here only after the keeper released it to the very session that
//! uses it, for the very purpose, so a second read within the time needs no second
//! release and the ledger still names everybody who could read. Keys are wiped
//! when they leave.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_base::{ClassSet, OrganizationId, PatientId, Purpose, SessionId, Timestamp};
use holdfast_keeper::PatientKeys;
use parking_lot::Mutex;

/// How long a released key may stay in the front process.
const KEY_LIFE_MS: i64 = 60_000;
/// How many patients' keys the whole front process may hold: a web shell that
/// reads this memory gets no more than these.
const KEYS_COUNT_MAX: usize = 2_048;

/// Who holds it, whose it is, what for, and which organization keeps the record.
type Slot = ((SessionId, PatientId, Purpose), OrganizationId);

struct Held {
    keys: Arc<PatientKeys>,
    until: Timestamp,
}

/// The keys that live sessions hold.
#[derive(Default)]
pub(crate) struct Keyring {
    held: Mutex<HashMap<Slot, Held>>,
}

impl Keyring {
    /// The session's keys of `patient`, when they cover `classes` and are young.
    pub fn get(&self, slot: Slot, classes: ClassSet, now: Timestamp) -> Option<Arc<PatientKeys>> {
        let held = self.held.lock();
        let entry = held.get(&slot)?;
        let usable = entry.until > now && entry.keys.classes().contains_all(classes);
        usable.then(|| Arc::clone(&entry.keys))
    }

    /// Takes keys that were just released.
    pub fn put(&self, slot: Slot, keys: Arc<PatientKeys>, now: Timestamp) {
        let mut held = self.held.lock();
        if held.len() >= KEYS_COUNT_MAX {
            held.retain(|_, entry| entry.until > now);
        }
        if held.len() >= KEYS_COUNT_MAX {
            held.clear();
        }
        held.insert(slot, Held { keys, until: now.plus_millis(KEY_LIFE_MS) });
    }

    /// Wipes everything that `session` holds.
    pub fn drop_session(&self, session: SessionId) {
        self.held.lock().retain(|((owner, ..), _), _| *owner != session);
    }

    /// Wipes everybody's keys of `patient`.
    pub fn drop_patient(&self, patient: PatientId) {
        self.held.lock().retain(|((_, of, _), _), _| *of != patient);
    }

    /// Wipes what is past its time.
    pub fn sweep(&self, now: Timestamp) {
        self.held.lock().retain(|_, entry| entry.until > now);
    }
}
