//! What `bench/` measures and nothing else uses: wrapping patients' keys again.

use std::path::Path;
use std::sync::Arc;

use holdfast_base::{Category, OrganizationId, PatientId, Timestamp};

use crate::primitive::Secret;
use crate::process::rotation::REWRAP_COUNT;
use crate::root::Roots;
use crate::steps::Steps;
use crate::table::KeyTable;
use crate::table::named::of_organization;

/// A key table with patients of one organization, under a root of its own.
pub struct RewrapRig {
    table: KeyTable,
    organization: OrganizationId,
}

impl std::fmt::Debug for RewrapRig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RewrapRig({})", self.organization)
    }
}

/// The table could not be made or written.
#[derive(Debug, thiserror::Error)]
#[error("the key table of the measurement failed: {0}")]
pub struct RewrapFailed(String);

impl RewrapFailed {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        Category::Fault
    }
}

fn failed(error: impl std::fmt::Display) -> RewrapFailed {
    RewrapFailed(error.to_string())
}

impl RewrapRig {
    /// Makes the table in `dir` with keys of `patients_count` patients.
    ///
    /// # Errors
    /// [`RewrapFailed`].
    pub fn make(dir: &Path, patients_count: usize) -> Result<Self, RewrapFailed> {
        let now = Timestamp::from_millis(0);
        let roots = Roots::one(1, Secret::random());
        let table = KeyTable::open(dir, &roots, now, Steps::default()).map_err(failed)?;
        let id = OrganizationId::new("measured").map_err(failed)?;
        let (organization, _) = table.create_organization(&id, now).map_err(failed)?;
        let mut left = patients_count;
        while left > 0 {
            let count = left.min(10_000);
            let one = || (Arc::clone(&organization), PatientId::random(), Secret::random());
            let new: Vec<_> = std::iter::repeat_with(one).take(count).collect();
            table.create(&new, now).map_err(failed)?;
            left -= count;
        }
        Ok(Self { table, organization: id })
    }

    /// Rotates the organization's wrapping key and wraps everybody again, as a keeper
    /// does it: durable part by part. Gives how many were wrapped.
    ///
    /// # Errors
    /// [`RewrapFailed`].
    pub fn rotate(&self) -> Result<u64, RewrapFailed> {
        let name = of_organization(&self.organization, "wrap");
        self.table.rotate(&name, Timestamp::from_millis(0)).map_err(failed)?;
        let (mut from, mut patients_count) = (Some(PatientId::NONE), 0);
        while let Some(start) = from {
            let step = self.table.rewrap_patients(&self.organization, start, REWRAP_COUNT);
            let step = step.map_err(failed)?;
            patients_count += step.rewrapped_count;
            from = step.next;
        }
        self.table.retire(&name).map_err(failed)?;
        Ok(patients_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_patient_is_wrapped_again_once_a_rotation() {
        let folder = tempfile::tempdir().expect("temp dir");
        let rig = RewrapRig::make(folder.path(), 1_500).expect("makes");
        for _ in 0..2 {
            // With the compartment without a patient.
            assert_eq!(rig.rotate().expect("rotates"), 1_501);
        }
    }
}
