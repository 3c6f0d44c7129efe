//! What released keys were used for, and what the ledger is told when they were not.

use holdfast_base::{OrganizationId, PatientId, SessionId};
use holdfast_ledger::{Entry, Event};

use super::judge::is_detail;
use crate::ExchangeError;
use crate::keyring::Unused;
use crate::state::Exchange;

/// A session's use of keys to a record.
pub(crate) type Use = (SessionId, OrganizationId, PatientId);

/// Which keys `entries` say the use of.
pub(crate) fn uses(entries: &[Entry]) -> Vec<Use> {
    let used = |entry: &Entry| {
        let (organization, patient) = entry.event.patient().filter(|_| is_detail(&entry.event))?;
        Some((entry.actor.session?, organization.clone(), patient))
    };
    entries.iter().filter_map(used).collect()
}

impl Exchange {
    /// The ledger has been told of these uses.
    pub(crate) fn mark_used(&self, uses: &[Use]) {
        for (session, organization, patient) in uses {
            self.keyring().mark_used(*session, organization, *patient);
        }
    }

    /// Drops every key that sessions hold, and says in the ledger which were not used:
    /// for whoever is about to stop serving.
    pub async fn put_keys_away(&self) {
        self.keyring().drop_all(self.now());
        if let Err(error) = self.tell_unused().await {
            tracing::warn!(%error, "the ledger was not told which keys were not used");
        }
    }

    /// Tells the ledger which keys were dropped without having been used.
    pub(crate) async fn tell_unused(&self) -> Result<(), ExchangeError> {
        let unused = self.keyring().take_unused();
        if unused.is_empty() {
            return Ok(());
        }
        let entry = |unused: &Unused| {
            let (organization, patient) = (unused.organization.clone(), unused.patient);
            let event = Event::ReleaseUnused { organization, patient };
            Entry { at: unused.at, actor: unused.actor.clone(), request: None, event }
        };
        let told = self.keeper().append(unused.iter().map(entry).collect()).await;
        if told.is_err() {
            self.keyring().keep_unused(unused);
        }
        Ok(told.map(drop)?)
    }
}
