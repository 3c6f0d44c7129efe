//! Following the keeper's rotations: the exchange takes over new generations of
//! the keys that it holds, without a restart.

use holdfast_ledger::{Event, Placed};

use crate::ExchangeError;
use crate::state::Exchange;

impl Exchange {
    /// Fetches the service keys again when one of `entries` says that one of them was
    /// rotated. What was sealed before still opens.
    pub(crate) async fn follow_rotations(&self, entries: &[Placed]) -> Result<(), ExchangeError> {
        let ours = |key: &str| matches!(key, "system" | "mpi-seal") || key.ends_with("/inbox");
        let rotated = entries.iter().any(|placed| {
            matches!(&placed.entry.event, Event::KeyChange { key, change, .. }
                if change == "rotated" && ours(key))
        });
        if !rotated {
            return Ok(());
        }
        let keys = self.keeper().service_keys("rotated").await?;
        self.system().take_over(&keys.system);
        self.features_key().take_over(&keys.mpi.0);
        for organization in self.organizations() {
            if let Some(newer) = keys.organizations.get(organization.id()) {
                organization.keys.inbox.take_over(&newer.inbox);
            }
        }
        Ok(())
    }
}
