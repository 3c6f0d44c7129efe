//! What the office has on its desk: honey records, open incidents, the watch.

use std::collections::{BTreeMap, HashSet};

use holdfast_base::{IncidentId, LedgerIndex, MessageId, PatientId, Timestamp};
use holdfast_keeper::SystemKey;
use holdfast_respond::Incident;
use holdfast_store::Store;
use holdfast_watch::{Settings, Watch};
use parking_lot::Mutex;

use crate::ExchangeError;
use crate::reconcile::Progress;
use crate::system::{self, Kind};

/// The office's desk.
pub(crate) struct Office {
    pub watch: Mutex<Watch>,
    /// The last entry that the watch has seen.
    pub seen: Mutex<Option<LedgerIndex>>,
    pub incidents: Mutex<BTreeMap<IncidentId, Incident>>,
    pub honey: Mutex<HashSet<PatientId>>,
    /// Intents that the ledger has been told and that can be cleared away.
    pub told: Mutex<Vec<Vec<u8>>>,
    /// Kept payloads that failed for a reason of ours; tried again after a restart.
    pub stuck: Mutex<HashSet<MessageId>>,
    /// Which witnesses are asked, as a policy's TOML; goes into evidence bundles.
    pub witness_policy: Mutex<Option<String>>,
    /// Catching up pauses until then: its budget is used up.
    pub catch_up_after: Mutex<Timestamp>,
    /// How far the reconciliation has come.
    pub progress: tokio::sync::Mutex<Progress>,
    /// Held while a new record is matched to a person.
    pub placing: tokio::sync::Mutex<()>,
    /// Held while a kept payload is tried again.
    pub replaying: tokio::sync::Mutex<()>,
}

impl Office {
    pub fn load(store: &Store, key: &SystemKey) -> Result<Self, ExchangeError> {
        let honey: Vec<PatientId> = system::load_all(store, key, Kind::Honey)?;
        let honey: HashSet<_> = honey.into_iter().collect();
        let incidents: Vec<Incident> = system::load_all(store, key, Kind::Incident)?;
        Ok(Self {
            watch: Mutex::new(Watch::new(Settings::default(), honey.clone())),
            seen: Mutex::default(),
            incidents: Mutex::new(incidents.into_iter().map(|i| (i.id, i)).collect()),
            honey: Mutex::new(honey),
            told: Mutex::default(),
            stuck: Mutex::default(),
            witness_policy: Mutex::default(),
            catch_up_after: Mutex::new(Timestamp::MIN),
            progress: tokio::sync::Mutex::default(),
            placing: tokio::sync::Mutex::default(),
            replaying: tokio::sync::Mutex::default(),
        })
    }
}
