//! How somebody stands to a patient, from what the record documents.

use std::sync::Arc;

use holdfast_base::{ClassSet, OrganizationId};
use holdfast_ledger::Event;
use holdfast_policy::{Act, Consent, Decision, Permit, Question, Relationship, Role, decide};

use crate::directory::Listing;
use crate::state::Exchange;
use crate::{Ask, Caller, ExchangeError};

/// Staff who serve whoever is there are related to a patient who was there so
/// recently.
const VISIT_COUNTS_MS: i64 = 30 * 86_400_000;

impl Exchange {
    /// The token under which an NPI stands in care teams.
    pub(crate) fn npi_token(&self, npi: &str) -> [u8; 8] {
        self.short_token("npi", npi.as_bytes())
    }

    pub(crate) fn short_token(&self, label: &str, value: &[u8]) -> [u8; 8] {
        let mut short = [0; 8];
        short.copy_from_slice(&self.tokens().token(label, value)[..8]);
        short
    }

    /// How `caller` stands to the patient of `listing`.
    pub(crate) fn relationship(&self, caller: &Caller, listing: &Listing) -> Relationship {
        let own_record = (listing.organization.clone(), listing.patient);
        if caller.principal.patient.as_ref() == Some(&own_record) {
            return Relationship::SelfRecord;
        }
        let records = self.directory().read().of_person(listing.person);
        if listing.organization != *caller.organization() {
            let known = records.iter().any(|r| r.organization == *caller.organization());
            return if known { Relationship::LinkedOrganization } else { Relationship::None };
        }
        let now = self.now();
        let treats = caller.npi.as_deref().map(|npi| self.npi_token(npi));
        let documented = match caller.role() {
            Role::Clinician | Role::OccupationalClinician => {
                treats.is_some_and(|npi| records.iter().any(|r| r.care_team.contains(&npi)))
            }
            Role::System => false,
            _ => listing.last_visit.is_some_and(|at| now.millis_since(at) <= VISIT_COUNTS_MS),
        };
        if documented { Relationship::CareTeam } else { Relationship::Organization }
    }

    /// Asks policy; a refusal is in the ledger before it is an answer, and the
    /// answer does not tell whether the record exists.
    pub(crate) async fn permit(
        &self,
        ask: &Ask,
        listing: &Listing,
        act: Act,
        wanted: ClassSet,
    ) -> Result<Permit, ExchangeError> {
        let relationship = self.relationship(&ask.caller, listing);
        match self.decide(ask, listing, act, wanted, relationship)? {
            Decision::Permit(permit) => Ok(permit),
            Decision::Refuse(refusal) => {
                let event = Event::Refusal {
                    door: "policy".into(),
                    reason: refusal.reason.into(),
                    patient: Some(listing.patient),
                    organization: Some(listing.organization.clone()),
                };
                self.keeper().append(vec![ask.entry(self.now(), event)]).await?;
                Err(ExchangeError::NotFound)
            }
        }
    }

    /// Asks policy about a relationship that is known; nothing is recorded.
    pub(crate) fn decide(
        &self,
        ask: &Ask,
        listing: &Listing,
        act: Act,
        wanted: ClassSet,
        relationship: Relationship,
    ) -> Result<Decision, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(&listing.organization)?;
        let consent = if listing.opted_out { Consent::OptedOut } else { Consent::NotStated };
        Ok(decide(&Question {
            principal: &ask.caller.principal,
            purpose: ask.purpose,
            organization: &listing.organization,
            module: keeping.facts.module,
            act,
            relationship,
            consent,
            wanted,
            emergency: ask.emergency.as_deref(),
        }))
    }

    /// The listing of a Patient by logical id, within what `organization` keeps.
    pub(crate) fn listing_of(
        &self,
        organization: &OrganizationId,
        logical_id: &str,
    ) -> Result<Arc<Listing>, ExchangeError> {
        let listing = self.directory().read().by_logical_id(organization, logical_id);
        listing.ok_or(ExchangeError::NotFound)
    }
}
