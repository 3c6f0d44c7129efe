//! Results, reports and notices of admission go to who needs them: to the
//! organizations of the providers that a payload names, and, when somebody is
//! admitted, to the practices where the person is a patient.
//!
//! A delivery is a pointer, not a copy: the recipient reads through the same path
//! as everybody, by its own permit. It is in the ledger as a disclosure.

use std::collections::BTreeSet;

use holdfast_base::{ClassSet, OrganizationId, PatientId, RequestId, Timestamp};
use holdfast_intake::{Notice, NoticeKind};
use holdfast_ledger::{Action, Event, Touch};
use holdfast_policy::{Act, Decision, Module, Relationship, Role};
use serde::{Deserialize, Serialize};

use crate::admit::{Admission, Arrival};
use crate::directory::Listing;
use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, ExchangeError};

/// News for an organization.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InboxItem {
    /// When it was delivered.
    pub at: Timestamp,
    /// To whom.
    pub recipient: OrganizationId,
    /// `admission`, `discharge`, `transfer`, `registration`, `result`, `report`.
    pub what: String,
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// Logical id of the Patient there.
    pub patient: String,
    /// The resources that it is about: type and logical id.
    pub resources: Vec<(String, String)>,
}

impl Exchange {
    /// Delivers what a payload is an occasion for.
    pub(crate) async fn deliver(
        &self,
        arrival: &Arrival<'_>,
        notice: &Notice,
        patient: PatientId,
        admission: &mut Admission,
    ) -> Result<(), ExchangeError> {
        let listing = self.directory().read().get(arrival.organization.id(), patient);
        let Some(listing) = listing else { return Ok(()) };
        for (recipient, relationship) in self.recipients(notice, &listing) {
            let ask = Ask { purpose: holdfast_base::Purpose::Treatment, ..self.as_system(arrival) };
            let decision =
                self.decide(&ask, &listing, Act::Deliver, ClassSet::ALL, relationship)?;
            let Decision::Permit(permit) = decision else { continue };
            let news = admission.written.iter().filter(|w| {
                matches!(
                    w.resource_type.as_str(),
                    "DiagnosticReport" | "DocumentReference" | "Encounter"
                )
            });
            let resources: Vec<_> =
                news.map(|w| (w.resource_type.clone(), w.id.clone(), w.version)).collect();
            let item = InboxItem {
                at: self.now(),
                recipient: recipient.clone(),
                what: notice.kind.as_str().into(),
                organization: listing.organization.clone(),
                patient: listing.logical_id.clone(),
                resources: resources.iter().map(|(t, id, _)| (t.clone(), id.clone())).collect(),
            };
            let touches = resources.into_iter().map(|(resource_type, id, version)| Touch {
                resource_type,
                id,
                version,
                classes: ClassSet::EMPTY,
            });
            let delivered = Event::Delivery {
                organization: listing.organization.clone(),
                patient,
                recipient,
                what: item.what.clone(),
            };
            let detail = Event::Access {
                organization: listing.organization.clone(),
                patient,
                action: Action::Deliver,
                purpose: permit.purpose(),
                relationship: permit.relationship().as_str().into(),
                touches: touches.collect(),
            };
            let now = self.now();
            self.keeper().append(vec![ask.entry(now, delivered), ask.entry(now, detail)]).await?;
            let name = format!("{}/{}", item.recipient, RequestId::random());
            self.save_system(Kind::Delivery, &name, &item).await?;
        }
        Ok(())
    }

    /// The news of the caller's organization, newest first.
    ///
    /// # Errors
    /// When the store or its rows cannot be read.
    pub fn inbox(&self, ask: &Ask) -> Result<Vec<InboxItem>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let may_see = matches!(
            ask.caller.role(),
            Role::Clinician | Role::Nurse | Role::OccupationalClinician
        );
        if !may_see {
            return Ok(Vec::new());
        }
        let mut items: Vec<InboxItem> = self.load_all_system(Kind::Delivery)?;
        items.retain(|item| item.recipient == *ask.caller.organization());
        items.sort_by_key(|item| std::cmp::Reverse(item.at));
        Ok(items)
    }

    fn as_system(&self, arrival: &Arrival<'_>) -> Ask {
        let mut ask = arrival.ask.clone();
        ask.caller.principal.role = Role::System;
        ask
    }

    fn recipients(
        &self,
        notice: &Notice,
        listing: &Listing,
    ) -> Vec<(OrganizationId, Relationship)> {
        let records = self.directory().read().of_person(listing.person);
        let linked: BTreeSet<_> = records.iter().map(|r| r.organization.clone()).collect();
        let mut wanted = BTreeSet::new();
        for hint in &notice.recipients_hint {
            let npi = hint.rsplit('|').next().unwrap_or(hint);
            let named = self.accounts().filter(|account| account.npi.as_deref() == Some(npi));
            wanted.extend(named.map(|account| account.organization));
        }
        if !matches!(notice.kind, NoticeKind::Result | NoticeKind::Report) {
            wanted.extend(linked.iter().filter(|org| self.is_practice(org)).cloned());
        }
        wanted.remove(&listing.organization);
        wanted
            .into_iter()
            .map(|recipient| {
                let known = linked.contains(&recipient);
                let stands =
                    if known { Relationship::LinkedOrganization } else { Relationship::None };
                (recipient, stands)
            })
            .collect()
    }

    fn is_practice(&self, organization: &OrganizationId) -> bool {
        self.organization(organization).is_ok_and(|o| o.facts.module == Module::Practice)
    }
}
