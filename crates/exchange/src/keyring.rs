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
use holdfast_ledger::Actor;
use parking_lot::Mutex;

/// How long a released key may stay in the front process.
pub(crate) const KEY_LIFE_MS: i64 = 60_000;
/// How many patients' keys the whole front process may hold: a web shell that
/// reads this memory gets no more than these.
const KEYS_COUNT_MAX: usize = 2_048;

/// Who holds it, whose it is, what for, and which organization keeps the record.
type Slot = ((SessionId, PatientId, Purpose), OrganizationId);

struct Held {
    keys: Arc<PatientKeys>,
    /// The same for acts that are permitted fewer classes.
    narrowed: Vec<Arc<PatientKeys>>,
    until: Timestamp,
    actor: Actor,
    /// Whether an entry says what they were used for.
    used: bool,
}

/// Keys that were dropped without having been used: something for the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Unused {
    pub at: Timestamp,
    pub actor: Actor,
    pub organization: OrganizationId,
    pub patient: PatientId,
}

/// The keys that live sessions hold.
#[derive(Default)]
pub(crate) struct Keyring {
    held: Mutex<HashMap<Slot, Held>>,
    unused: Mutex<Vec<Unused>>,
}

impl Keyring {
    /// The session's keys of `patient` for exactly `classes`, when it holds those and
    /// they are young: what was released for one act opens no more for another.
    pub fn get(&self, slot: Slot, classes: ClassSet, now: Timestamp) -> Option<Arc<PatientKeys>> {
        let mut held = self.held.lock();
        let entry = held.get_mut(&slot)?;
        if entry.until <= now || !entry.keys.classes().contains_all(classes) {
            return None;
        }
        let fits = |keys: &&Arc<PatientKeys>| keys.classes() == classes;
        if let Some(keys) = [&entry.keys].into_iter().chain(&entry.narrowed).find(fits) {
            return Some(Arc::clone(keys));
        }
        let keys = Arc::new(entry.keys.narrowed(classes));
        entry.narrowed.push(Arc::clone(&keys));
        Some(keys)
    }

    /// Takes keys that were just released to `actor`.
    pub fn put(&self, slot: Slot, actor: Actor, keys: Arc<PatientKeys>, now: Timestamp) {
        let mut held = self.held.lock();
        if held.len() >= KEYS_COUNT_MAX {
            self.drop_those(&mut held, now, |_, entry| entry.until <= now);
        }
        if held.len() >= KEYS_COUNT_MAX {
            self.drop_those(&mut held, now, |_, _| true);
        }
        let until = now.plus_millis(KEY_LIFE_MS);
        let entry = Held { keys, narrowed: Vec::new(), until, actor, used: false };
        let former = held.insert(slot.clone(), entry);
        former.into_iter().for_each(|former| self.note_dropped(slot.clone(), former, now));
    }

    /// Notes that an entry says what a session's keys of `patient` were used for.
    pub fn mark_used(&self, session: SessionId, organization: &OrganizationId, patient: PatientId) {
        let mut held = self.held.lock();
        let slot = |purpose| ((session, patient, purpose), organization.clone());
        for purpose in Purpose::ALL {
            if let Some(entry) = held.get_mut(&slot(purpose)) {
                entry.used = true;
            }
        }
    }

    /// Wipes everything that `session` holds.
    pub fn drop_session(&self, session: SessionId, now: Timestamp) {
        self.drop_those(&mut self.held.lock(), now, |((owner, ..), _), _| *owner == session);
    }

    /// Wipes everybody's keys of `patient`.
    pub fn drop_patient(&self, patient: PatientId, now: Timestamp) {
        self.drop_those(&mut self.held.lock(), now, |((_, of, _), _), _| *of == patient);
    }

    /// Wipes everything.
    pub fn drop_all(&self, now: Timestamp) {
        self.drop_those(&mut self.held.lock(), now, |_, _| true);
    }

    /// Wipes what is past its time.
    pub fn sweep(&self, now: Timestamp) {
        self.drop_those(&mut self.held.lock(), now, |_, entry| entry.until <= now);
    }

    /// What was dropped unused since the last time.
    pub fn take_unused(&self) -> Vec<Unused> {
        std::mem::take(&mut self.unused.lock())
    }

    /// Brings back what could not be told.
    pub fn keep_unused(&self, unused: Vec<Unused>) {
        self.unused.lock().extend(unused);
    }

    fn drop_those(
        &self,
        held: &mut HashMap<Slot, Held>,
        now: Timestamp,
        which: impl Fn(&Slot, &Held) -> bool,
    ) {
        let drops = |slot: &Slot, entry: &mut Held| which(slot, entry);
        for (slot, entry) in held.extract_if(drops) {
            self.note_dropped(slot, entry, now);
        }
    }

    fn note_dropped(&self, slot: Slot, entry: Held, now: Timestamp) {
        let ((_, patient, _), organization) = slot;
        if !entry.used && patient != PatientId::NONE {
            // It was over when its time was, however late that is noticed.
            let at = now.min(entry.until);
            let Held { actor, .. } = entry;
            self.unused.lock().push(Unused { at, actor, organization, patient });
        }
    }
}
