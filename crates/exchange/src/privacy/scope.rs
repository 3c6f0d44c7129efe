//! Scope is a query (P9): whom somebody touched, from the ledger alone.

use holdfast_base::{IncidentId, OrganizationId};
use holdfast_ledger::{Filter, Placed};
use holdfast_policy::{Role, Task};
use holdfast_respond::{FrozenScope, Incident, Scope, ScopeQuery, Status};

use crate::people::Account;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Entries fetched from the keeper at once.
const PAGE_ENTRIES: usize = 5_000;

/// Where the ledger stands.
#[derive(Debug, Clone)]
pub struct LedgerState {
    /// Entries.
    pub size: u64,
    /// Root hash, lower-case hex.
    pub root: String,
    /// The signed checkpoint, as a C2SP note.
    pub checkpoint: String,
    /// The key that verifies it, as a C2SP verifier key.
    pub verifier_key: String,
    /// The log's second key (ML-DSA-44), as a C2SP verifier key.
    pub second_key: Option<String>,
    /// The newest checkpoint that witnesses have cosigned.
    pub witnessed: Option<String>,
}

impl Exchange {
    /// Computes a scope.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`], [`ExchangeError::KeeperAway`].
    pub async fn scope(&self, ask: &Ask, query: &ScopeQuery) -> Result<Scope, ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        let organization = self.within_reach(ask, query.organization.as_ref())?;
        self.compute_scope(&ScopeQuery { organization, ..query.clone() }).await
    }

    /// Which organization's records an officer's question may be about: any for the
    /// office of the organization that runs the exchange (where its administrators
    /// are), the own ones for every other (P11). `None` is all.
    pub(crate) fn within_reach(
        &self,
        ask: &Ask,
        asked: Option<&OrganizationId>,
    ) -> Result<Option<OrganizationId>, ExchangeError> {
        let own = ask.caller.organization();
        let runs =
            |a: Account| a.role == Role::Administrator && !a.closed && a.organization == *own;
        if self.accounts().any(runs) {
            return Ok(asked.cloned());
        }
        match asked {
            Some(other) if other != own => {
                Err(ExchangeError::NotPermitted { reason: "other-organization" })
            }
            _ => Ok(Some(own.clone())),
        }
    }

    pub(crate) async fn compute_scope(&self, query: &ScopeQuery) -> Result<Scope, ExchangeError> {
        Ok(holdfast_respond::scope_of(self.keeper().touched(&query.filter()).await?))
    }

    pub(crate) async fn all_entries(&self, filter: &Filter) -> Result<Vec<Placed>, ExchangeError> {
        let mut entries: Vec<Placed> = Vec::new();
        loop {
            let after = entries.last().map(|placed| placed.index);
            let page = self.keeper().query(filter, after, PAGE_ENTRIES).await?;
            let done = page.len() < PAGE_ENTRIES;
            entries.extend(page);
            if done {
                return Ok(entries);
            }
        }
    }

    /// The entries that fit `filter`, for the ledger's page and command.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`], [`ExchangeError::KeeperAway`].
    pub async fn ledger_entries(
        &self,
        ask: &Ask,
        filter: &Filter,
    ) -> Result<Vec<Placed>, ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        let organization = self.within_reach(ask, filter.organization.as_ref())?;
        self.all_entries(&Filter { organization, ..filter.clone() }).await
    }

    /// Where the ledger stands; open to everybody who is signed in, because a
    /// checkpoint says nothing about anybody.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`].
    pub async fn ledger_state(&self) -> Result<LedgerState, ExchangeError> {
        let status = self.keeper().status().await?;
        Ok(LedgerState {
            size: status.ledger_size,
            root: data_encoding::HEXLOWER.encode(&status.root),
            checkpoint: status.checkpoint,
            verifier_key: status.log_vkey,
            second_key: status.log_second_vkey,
            witnessed: status.witnessed,
        })
    }

    /// Freezes the scope of an incident: what its principal touched up to now,
    /// with the ledger's size and root that prove it.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`], [`ExchangeError::NotPermitted`].
    pub async fn freeze_scope(&self, ask: &Ask, id: IncidentId) -> Result<Incident, ExchangeError> {
        self.incident(ask, id).await?;
        // The whole incident, not what its reader sees of it.
        let whole = self.office().incidents.lock().get(&id).cloned();
        let mut incident = whole.ok_or(ExchangeError::NotFound)?;
        let query =
            ScopeQuery { principal: Some(incident.principal.clone()), ..ScopeQuery::default() };
        let scope = self.compute_scope(&query).await?;
        let state = self.ledger_state().await?;
        let note = format!(
            "{} persons in {} organizations and {} states",
            scope.totals.persons,
            scope.totals.organizations.len(),
            scope.totals.states.len()
        );
        incident.scope = Some(FrozenScope {
            at: self.now(),
            query,
            scope,
            ledger_size: state.size,
            ledger_root: state.root,
        });
        if incident.status == Status::Open {
            incident.status = Status::ScopeFrozen;
        }
        self.step_incident(&ask.caller.actor(), incident.clone(), "scope-frozen", note).await?;
        let own = self.within_reach(ask, None)?;
        self.visible(incident, own.as_ref()).ok_or(ExchangeError::NotFound)
    }
}
