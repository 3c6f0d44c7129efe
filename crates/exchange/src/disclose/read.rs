//! Reading one resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_base::{ClassSet, OrganizationId, PatientId, Timestamp};
use holdfast_keeper::PatientKeys;
use holdfast_ledger::{Action, Entry, Event, Touch};
use holdfast_policy::{Act, Permit};
use holdfast_store::Stored;
use serde_json::Value;

use crate::audit::AUDIT_EVENT;
use crate::directory::Listing;
use crate::disclose::is_directory_type;
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// A resource that left the exchange; the ledger says so.
#[derive(Clone)]
pub struct Disclosed {
    /// The resource, redacted to the permit.
    pub resource: Value,
    /// FHIR resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// `meta.versionId`.
    pub version: u64,
    /// `meta.lastUpdated`.
    pub last_updated: Timestamp,
    /// The classes that were opened.
    pub classes: ClassSet,
}

/// What a permit for one patient's record opens.
pub(crate) struct Opened {
    pub organization: Arc<Organization>,
    pub patient: PatientId,
    pub keys: Arc<PatientKeys>,
    /// Relationship and purpose, for the access entries; the directory has none.
    pub permit: Option<Permit>,
}

impl Exchange {
    /// Reads the current version of a resource, or a former one.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] when it is not there or may not be seen,
    /// [`ExchangeError::Gone`] when it was deleted, [`ExchangeError::OverBudget`],
    /// [`ExchangeError::KeeperAway`].
    pub async fn read(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        resource_type: &str,
        id: &str,
        version: Option<u64>,
    ) -> Result<Disclosed, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        if resource_type == AUDIT_EVENT {
            return self.audit_event(ask, organization, id, version).await;
        }
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let reference = format!("{resource_type}/{id}");
        let patient = self.locate(&keeping, &reference)?.ok_or(ExchangeError::NotFound)?;
        if patient == PatientId::NONE && !is_directory_type(resource_type) {
            return Err(ExchangeError::NotFound);
        }
        let key = self.store_key(&keeping, patient, resource_type, id)?;
        let snapshot = self.store().snapshot();
        let stored = match version {
            Some(version) => snapshot.version(&key, version),
            None => snapshot.current(&key),
        };
        let stored = stored.map_err(ExchangeError::store)?.ok_or(ExchangeError::NotFound)?;
        let opened = self.open_record(ask, &keeping, patient, Act::Read, ClassSet::ALL).await?;
        if stored.sealed.deleted {
            return Err(ExchangeError::Gone);
        }
        let disclosed = self.disclose(&opened, id, &stored)?;
        self.record_access(ask, &opened, Action::Read, std::slice::from_ref(&disclosed)).await?;
        Ok(disclosed)
    }

    /// Permit, then keys: what stands between a caller and a record.
    pub(crate) async fn open_record(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        patient: PatientId,
        act: Act,
        wanted: ClassSet,
    ) -> Result<Opened, ExchangeError> {
        if patient == PatientId::NONE {
            return self.open_own_compartment(ask, keeping).await;
        }
        if patient == PatientId::OWN {
            return self.open_own(ask, keeping, act).await;
        }
        let listing = self.directory().read().get(keeping.id(), patient);
        let listing = listing.ok_or(ExchangeError::NotFound)?;
        let permit = self.permit(ask, &listing, act, wanted).await?;
        if permit.is_emergency() {
            self.tell_broken_glass(ask, &listing).await?;
        }
        let ask = Ask { purpose: permit.purpose(), ..ask.clone() };
        let keys = self
            .open_keys(&ask, keeping.id(), &[patient], permit.classes(), permit.reason(), false)
            .await?;
        let keys = keys.get(&patient).cloned().ok_or(ExchangeError::NotFound)?;
        Ok(Opened { organization: Arc::clone(keeping), patient, keys, permit: Some(permit) })
    }

    /// Practitioners, locations and the like: open to everybody who works for an
    /// organization of the exchange.
    pub(super) async fn open_own_compartment(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
    ) -> Result<Opened, ExchangeError> {
        let patient = PatientId::NONE;
        let keys =
            self.open_keys(ask, keeping.id(), &[patient], ClassSet::ALL, "directory", true).await?;
        let keys = keys.get(&patient).cloned().ok_or(ExchangeError::NotFound)?;
        Ok(Opened { organization: Arc::clone(keeping), patient, keys, permit: None })
    }

    /// Opens a stored version with what the permit opened.
    pub(crate) fn disclose(
        &self,
        opened: &Opened,
        id: &str,
        stored: &Stored,
    ) -> Result<Disclosed, ExchangeError> {
        let (resource, classes) =
            self.open_body(opened.organization.id(), id, stored, &opened.keys)?;
        Ok(Disclosed {
            resource_type: resource["resourceType"].as_str().unwrap_or_default().to_owned(),
            resource,
            id: id.to_owned(),
            version: stored.sealed.version,
            last_updated: stored.sealed.last_updated,
            classes,
        })
    }

    /// The access detail, durable: which resources, which versions, which classes.
    pub(crate) async fn record_access(
        &self,
        ask: &Ask,
        opened: &Opened,
        action: Action,
        disclosed: &[Disclosed],
    ) -> Result<(), ExchangeError> {
        let entries = self.access_entry(ask, opened, action, disclosed);
        self.record_entries(entries.into_iter().collect()).await
    }

    pub(crate) async fn record_entries(&self, entries: Vec<Entry>) -> Result<(), ExchangeError> {
        if entries.is_empty() {
            return Ok(());
        }
        let uses = crate::reconcile::uses(&entries);
        self.keeper().append(entries).await?;
        self.mark_used(&uses);
        Ok(())
    }

    /// The access entry of one record; none for the directory, which is nobody's.
    pub(crate) fn access_entry(
        &self,
        ask: &Ask,
        opened: &Opened,
        action: Action,
        disclosed: &[Disclosed],
    ) -> Option<Entry> {
        let permit = opened.permit.as_ref()?;
        let touches = disclosed.iter().map(|resource| Touch {
            resource_type: resource.resource_type.clone(),
            id: resource.id.clone(),
            version: resource.version,
            classes: resource.classes,
        });
        let event = Event::Access {
            organization: opened.organization.id().clone(),
            patient: opened.patient,
            action,
            purpose: permit.purpose(),
            relationship: permit.relationship().as_str().into(),
            touches: touches.collect(),
        };
        Some(ask.entry(self.now(), event))
    }

    /// The Patient resource of a listing, opened for `act`.
    pub(crate) async fn open_patient(
        &self,
        ask: &Ask,
        listing: &Listing,
        act: Act,
        wanted: ClassSet,
        action: Action,
    ) -> Result<Disclosed, ExchangeError> {
        let keeping = self.organization(&listing.organization)?;
        let opened = self.open_record(ask, &keeping, listing.patient, act, wanted).await?;
        let key = self.store_key(&keeping, listing.patient, "Patient", &listing.logical_id)?;
        let stored = self.store().snapshot().current(&key).map_err(ExchangeError::store)?;
        let disclosed =
            self.disclose(&opened, &listing.logical_id, &stored.ok_or(ExchangeError::NotFound)?)?;
        self.record_access(ask, &opened, action, std::slice::from_ref(&disclosed)).await?;
        Ok(disclosed)
    }
}

/// How many resources of each type were disclosed.
pub(crate) fn count_by_type(disclosed: &[Disclosed]) -> BTreeMap<&str, usize> {
    disclosed.iter().fold(BTreeMap::new(), |mut counts, resource| {
        *counts.entry(resource.resource_type.as_str()).or_default() += 1;
        counts
    })
}
