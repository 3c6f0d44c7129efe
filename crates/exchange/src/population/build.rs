//! Building the index of what was stored before it: patient by patient, beside
//! the writes, from where it was interrupted. Keys are released to the exchange itself,
//! within its own small budget, or under a bulk grant to `system:exchange`.

use holdfast_base::{ClassSet, PatientId, Purpose, RequestId};
use holdfast_keeper::{Delta, KeeperError, PatientKeys, Proof, ReleaseRequest};

use super::{Manifest, delta_rows, posted_row};
use crate::ExchangeError;
use crate::people::Organization;
use crate::state::Exchange;

/// Patients whose records go into the index with one transaction.
const BATCH_PATIENTS: usize = 32;
/// How long building waits when the exchange's budget is used up.
const PAUSE_MS: i64 = 3_600_000;

impl Exchange {
    /// Makes the organization's index if there is none. What is in the store by
    /// then is put into it by [`build_on`](Self::build_on); what comes after brings
    /// its delta along.
    pub(crate) async fn start_population(
        &self,
        organization: &Organization,
    ) -> Result<(), ExchangeError> {
        let snapshot = self.store().snapshot();
        if self.manifest(organization, &snapshot)?.is_some() {
            return Ok(());
        }
        let ready = self.directory().read().of_organization(organization.id()).next().is_none();
        let since = snapshot.commit();
        let manifest = Manifest { since, ready, ..Manifest::default() };
        self.save_manifest(organization, None, &manifest, Vec::new()).await
    }

    /// As [`build_on`](Self::build_on), unless building waits for budget; whether it
    /// went on.
    pub(super) async fn build_within_budget(
        &self,
        organization: &Organization,
        manifest: Manifest,
        sealed: Vec<u8>,
    ) -> Result<bool, ExchangeError> {
        if self.now() < *self.building_waits().lock() {
            return Ok(false);
        }
        match self.build_on(organization, manifest, sealed).await {
            Err(ExchangeError::OverBudget { .. }) => {
                *self.building_waits().lock() = self.now().plus_millis(PAUSE_MS);
                tracing::warn!(
                    "building a population index waits: the exchange's own budget is used up; \
                     a bulk grant to system:exchange makes it faster"
                );
                Ok(false)
            }
            built => built.map(|()| true),
        }
    }

    /// Puts the records of some more patients into the index, as they were when it
    /// was made.
    async fn build_on(
        &self,
        organization: &Organization,
        mut manifest: Manifest,
        sealed: Vec<u8>,
    ) -> Result<(), ExchangeError> {
        let mut patients: Vec<PatientId> = {
            let directory = self.directory().read();
            let all = directory.of_organization(organization.id()).map(|listing| listing.patient);
            all.filter(|patient| manifest.built_to.is_none_or(|done| *patient > done)).collect()
        };
        patients.sort_unstable();
        patients.truncate(BATCH_PATIENTS);
        let snapshot = self.store().snapshot_at(manifest.since);
        let snapshot =
            snapshot.ok_or(ExchangeError::Internal("the index is ahead of the store"))?;
        let mut delta = Delta::as_of(manifest.since.0);
        for keys in self.keys_for_building(organization, &patients).await? {
            for row in snapshot.scan_current(organization.ordinal, keys.patient, None) {
                let row = row.map_err(ExchangeError::store)?;
                if let Some(open) = self.open_row(organization, row, &keys)? {
                    delta.replace(None, posted_row(&open));
                }
            }
        }
        match patients.last() {
            Some(last) => manifest.built_to = Some(*last),
            None => manifest.ready = true,
        }
        let rows = delta_rows(organization, delta, 0);
        self.save_manifest(organization, Some(sealed), &manifest, rows).await
    }

    /// The keys of everybody who was not forgotten.
    async fn keys_for_building(
        &self,
        organization: &Organization,
        patients: &[PatientId],
    ) -> Result<Vec<PatientKeys>, ExchangeError> {
        let mut keys = Vec::new();
        for patient in patients {
            let request = ReleaseRequest {
                proof: Proof::front(),
                request: RequestId::random(),
                organization: organization.id().clone(),
                patients: vec![*patient],
                classes: ClassSet::ALL,
                purpose: Purpose::Operations,
                reason: "population-index".into(),
                create_missing: false,
            };
            match self.keeper().release(&request).await {
                Ok(released) => keys.extend(released),
                Err(KeeperError::UnknownPatient | KeeperError::ForgottenPatient) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(keys)
    }
}
