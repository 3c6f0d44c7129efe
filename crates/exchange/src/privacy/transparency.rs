//! The ledger towards outsiders: what anybody may read of it, proofs, witnesses.

use holdfast_base::LedgerIndex;
use holdfast_ledger::{Event, ExportOptions, Filter, Placed, Proof};
use holdfast_policy::Task;

use crate::state::{Exchange, server_actor};
use crate::{Ask, ExchangeError};

impl Exchange {
    /// A public file of the ledger by its path (C2SP `tlog-tiles`): `checkpoint`,
    /// `checkpoint.witnessed`, `tile/…`. For everybody: leaves are salted commitments
    /// and say nothing of an entry.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`], [`ExchangeError::KeeperAway`].
    pub async fn ledger_file(&self, path: &str) -> Result<Vec<u8>, ExchangeError> {
        self.keeper().public_file(path).await?.ok_or(ExchangeError::NotFound)
    }

    /// The proof that an entry is in the tree of `size`, or of now.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`], [`ExchangeError::NotFound`] when there is no
    /// such entry or size.
    pub async fn prove_entry(
        &self,
        ask: &Ask,
        index: u64,
        size: Option<u64>,
    ) -> Result<Proof, ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        self.keeper().prove_inclusion(index, size).await?.ok_or(ExchangeError::NotFound)
    }

    /// The proof that the tree of `size`, or of now, begins with that of `from`.
    ///
    /// # Errors
    /// As [`prove_entry`](Self::prove_entry).
    pub async fn prove_growth(
        &self,
        ask: &Ask,
        from: u64,
        size: Option<u64>,
    ) -> Result<Proof, ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        self.growth(from, size).await
    }

    /// As [`prove_growth`](Self::prove_growth), for the exchange's own submissions to
    /// witnesses: whoever reads the public tiles can make the same proof.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] when there is no such size.
    pub async fn growth(&self, from: u64, size: Option<u64>) -> Result<Proof, ExchangeError> {
        self.keeper().prove_consistency(from, size).await?.ok_or(ExchangeError::NotFound)
    }

    /// The first `limit` entries after `after` that fit `filter`.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`], [`ExchangeError::KeeperAway`].
    pub async fn ledger_page(
        &self,
        ask: &Ask,
        filter: &Filter,
        after: Option<LedgerIndex>,
        limit: usize,
    ) -> Result<Vec<Placed>, ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        let organization = self.within_reach(ask, filter.organization.as_ref())?;
        let filter = Filter { organization, ..filter.clone() };
        Ok(self.keeper().query(&filter, after, limit).await?)
    }

    /// Publishes a checkpoint with the cosignatures that were collected for it.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`].
    pub async fn publish_witnessed(&self, note: &str) -> Result<bool, ExchangeError> {
        Ok(self.keeper().publish_witnessed(note).await?)
    }

    /// Says which witnesses the exchange asks: enclosed in evidence bundles.
    pub fn set_witness_policy(&self, toml: String) {
        *self.office().witness_policy.lock() = Some(toml);
    }

    /// Puts an alert about the ledger itself into the ledger: a witness that is away
    /// or contradicts, entries and store that do not agree.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`].
    pub async fn alert_about_ledger(
        &self,
        detector: &str,
        severity: &str,
        summary: String,
    ) -> Result<(), ExchangeError> {
        tracing::error!(detector, severity, "an alert about the ledger itself");
        let actor = server_actor();
        let event = Event::Alert {
            detector: detector.to_owned(),
            principal: actor.principal.clone(),
            patients_count: 0,
            severity: severity.to_owned(),
            summary,
        };
        let entry = holdfast_ledger::Entry { at: self.now(), actor, request: None, event };
        self.record_entries(vec![entry]).await
    }

    /// An evidence bundle that verifies offline, also by those who saw the ledger at
    /// one of the sizes in `seen` before; on what witnesses cosigned last, if so asked.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`], [`ExchangeError::KeeperAway`].
    pub async fn evidence(
        &self,
        ask: &Ask,
        filter: &Filter,
        seen: &[u64],
        witnessed: bool,
    ) -> Result<Vec<u8>, ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        let organization = self.within_reach(ask, filter.organization.as_ref())?;
        let filter = Filter { organization, ..filter.clone() };
        let policy = self.office().witness_policy.lock().clone();
        let options = ExportOptions { seen: seen.to_vec(), witnessed, policy };
        Ok(self.keeper().export_bundle_with(&filter, &options).await?)
    }
}
