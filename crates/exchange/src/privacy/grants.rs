//! Budgets and bulk grants. The keeper decides who may; the exchange passes on who
//! asks.

use holdfast_base::RequestId;
use holdfast_keeper::{Budget, BudgetOwner, BulkGrant, GrantProposal};
use holdfast_policy::Task;

use crate::state::Exchange;
use crate::{Ask, ExchangeError};

impl Exchange {
    /// Changes the budget of a principal, or of all principals of an organization
    /// together, with a reason.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is a security officer; nobody
    /// raises their own.
    pub async fn set_budget(
        &self,
        ask: &Ask,
        whose: &BudgetOwner,
        budget: Budget,
        reason: &str,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Budgets).await?;
        let proof = self.proof_of(&ask.caller).await?;
        Ok(self.keeper().set_budget(&proof, whose, budget, reason).await?)
    }

    /// Proposes a bulk grant; it waits for a second person.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an officer or administrator
    /// of the organization, or of the one that runs the exchange.
    pub async fn propose_grant(
        &self,
        ask: &Ask,
        proposal: GrantProposal,
    ) -> Result<RequestId, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let proof = self.proof_of(&ask.caller).await?;
        Ok(self.keeper().propose_grant(&proof, proposal).await?)
    }

    /// Approves a bulk grant that waits.
    ///
    /// # Errors
    /// As [`propose_grant`](Self::propose_grant); also for who proposed it or is to use
    /// it. [`ExchangeError::NotFound`] when no such grant waits.
    pub async fn approve_grant(&self, ask: &Ask, grant: RequestId) -> Result<(), ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let proof = self.proof_of(&ask.caller).await?;
        Ok(self.keeper().approve_grant(&proof, grant).await?)
    }

    /// Ends a bulk grant before its time, with a reason.
    ///
    /// # Errors
    /// As [`propose_grant`](Self::propose_grant); [`ExchangeError::NotFound`].
    pub async fn revoke_grant(
        &self,
        ask: &Ask,
        grant: RequestId,
        reason: &str,
    ) -> Result<(), ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let proof = self.proof_of(&ask.caller).await?;
        Ok(self.keeper().revoke_grant(&proof, grant, reason).await?)
    }

    /// The bulk grants that wait or live, of the caller's organization or of all.
    ///
    /// # Errors
    /// As [`propose_grant`](Self::propose_grant).
    pub async fn grants(&self, ask: &Ask) -> Result<Vec<BulkGrant>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let proof = self.proof_of(&ask.caller).await?;
        Ok(self.keeper().grants(&proof).await?)
    }
}
