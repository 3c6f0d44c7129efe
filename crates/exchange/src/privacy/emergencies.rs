//! Broken glass: who opened what by declaring an emergency, and why. The ledger and
//! the alert say that it happened; the reason, which may speak of the patient, is
//! kept sealed beside, for the office's review.

use holdfast_base::{OrganizationId, PatientId, PrincipalId, Timestamp};
use holdfast_ledger::{Action, Event};
use holdfast_policy::Role;
use serde::{Deserialize, Serialize};

use crate::directory::Listing;
use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, ExchangeError};

/// One declared emergency.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EmergencyItem {
    /// When the record was opened.
    pub at: Timestamp,
    /// By whom.
    pub principal: PrincipalId,
    /// From which organization.
    pub from: OrganizationId,
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// Logical id of the Patient there.
    pub patient: String,
    pub(crate) record: PatientId,
    /// Why, in the words of who opened it. May speak of the patient.
    pub reason: String,
}

impl Exchange {
    /// Keeps the reason and alerts the office, both durable, before the record opens
    /// (P5: emergency access is loud and reviewed).
    pub(crate) async fn tell_broken_glass(
        &self,
        ask: &Ask,
        listing: &Listing,
    ) -> Result<(), ExchangeError> {
        let item = EmergencyItem {
            at: self.now(),
            principal: ask.caller.id().clone(),
            from: ask.caller.organization().clone(),
            organization: listing.organization.clone(),
            patient: listing.logical_id.clone(),
            record: listing.patient,
            reason: ask.emergency.clone().unwrap_or_default(),
        };
        let name = format!("{}/{}", ask.request, listing.patient);
        self.save_system(Kind::Emergency, &name, &item).await?;
        let event = Event::Alert {
            detector: "break-glass".into(),
            principal: item.principal,
            patients_count: 1,
            severity: "notice".into(),
            summary: "a record was opened by declaring an emergency; review the reason".into(),
        };
        tracing::warn!(principal = %ask.caller.id(), "emergency access");
        self.record_entries(vec![ask.entry(item.at, event)]).await
    }

    /// Declared emergencies, newest first: for the privacy office of the organization
    /// that keeps the record, or of the one from which it was opened. A reason may
    /// speak of the patient, so reading it is an access like any other.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for everybody but privacy officers,
    /// [`ExchangeError::KeeperAway`].
    pub async fn emergencies(&self, ask: &Ask) -> Result<Vec<EmergencyItem>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        if ask.caller.role() != Role::PrivacyOfficer {
            return Err(ExchangeError::NotPermitted { reason: "only-privacy-officers-review" });
        }
        let own = ask.caller.organization();
        let mut items: Vec<EmergencyItem> = self.load_all_system(Kind::Emergency)?;
        items.retain(|item| item.organization == *own || item.from == *own);
        items.sort_by_key(|item| std::cmp::Reverse(item.at));
        let seen = items.iter().map(|item| {
            let event = Event::Access {
                organization: item.organization.clone(),
                patient: item.record,
                action: Action::Read,
                purpose: ask.purpose,
                relationship: "none".into(),
                touches: Vec::new(),
            };
            ask.entry(self.now(), event)
        });
        self.record_entries(seen.collect()).await?;
        Ok(items)
    }
}
