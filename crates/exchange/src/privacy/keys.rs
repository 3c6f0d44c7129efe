//! Following the keeper's rotations: the exchange takes over new generations of
//! the keys that it holds, without a restart.

use holdfast_base::Timestamp;
use holdfast_ledger::{Event, Placed};
use holdfast_policy::Role;

use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// When the keeper's keys are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysDue {
    /// Names of the keys that are due for rotation now.
    pub overdue: Vec<String>,
    /// The key that is due next, and when.
    pub next: Option<(String, Timestamp)>,
    /// Whether there is a kit that recovers the root key.
    pub has_kit: bool,
}

impl Exchange {
    /// When keys are due, for those who run the exchange or watch over it; `None` for
    /// everybody else.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`].
    pub async fn keys_due(&self, ask: &Ask) -> Result<Option<KeysDue>, ExchangeError> {
        let runs = matches!(
            ask.caller.role(),
            Role::Administrator | Role::SecurityOfficer | Role::PrivacyOfficer
        );
        if !runs || self.within_reach(ask, None)?.is_some() {
            return Ok(None);
        }
        let status = self.keeper().keys_status().await?;
        let overdue = status.overdue().map(|line| line.name.clone()).collect();
        let ahead = status.lines.iter().filter_map(|line| {
            let due = status.due_at(line).filter(|due| *due > status.now)?;
            Some((line.name.clone(), due))
        });
        let next = ahead.min_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
        Ok(Some(KeysDue { overdue, next, has_kit: status.kit.is_some() }))
    }

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
