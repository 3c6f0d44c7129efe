//! A person's chart: the record that was asked for, and what other organizations
//! keep of the same person, as far as each permits.

use std::collections::HashMap;

use holdfast_base::{ClassSet, OrganizationId, PrincipalId, Timestamp};
use holdfast_ledger::{Action, Event, Filter};
use holdfast_policy::{Act, Relationship, Role};

use super::read::{Opened, count_by_type};
use super::{Disclosed, OpenRow};
use crate::directory::Listing;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Resources of one record that a chart opens at most; the newest come first.
const RESOURCES_COUNT_MAX: usize = 1_000;

/// A chart.
pub struct Chart {
    /// The record that was asked for.
    pub own: ChartRecord,
    /// Other records of the same person that the caller may see.
    pub linked: Vec<ChartRecord>,
    /// How many further records there are that the caller may not see.
    pub withheld: usize,
    /// How the caller stands to the patient.
    pub relationship: Relationship,
}

/// One organization's record of the person.
pub struct ChartRecord {
    /// The organization that keeps it.
    pub organization: OrganizationId,
    /// Its name.
    pub organization_name: String,
    /// The Patient.
    pub patient: Disclosed,
    /// Everything else, newest first.
    pub resources: Vec<Disclosed>,
    /// Classes that the permit opened.
    pub classes: ClassSet,
}

impl ChartRecord {
    /// How many resources of each type it has.
    pub fn counts(&self) -> std::collections::BTreeMap<&str, usize> {
        count_by_type(&self.resources)
    }
}

/// Somebody looked at a record.
#[derive(Debug, Clone)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub principal: PrincipalId,
    /// From which organization.
    pub organization: Option<OrganizationId>,
    /// What for.
    pub purpose: String,
    /// How they stood to the patient.
    pub relationship: String,
    /// How many resources of each type.
    pub resources: Vec<(String, usize)>,
}

impl Exchange {
    /// Opens the chart of a patient.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn chart(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        patient: &str,
    ) -> Result<Chart, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let listing = self.listing_of(organization, patient)?;
        let relationship = self.relationship(&ask.caller, &listing);
        let own = self.chart_record(ask, &listing).await?;
        let mut linked = Vec::new();
        let mut withheld = 0;
        let records = self.directory().read().of_person(listing.person);
        for other in records.iter().filter(|other| other.patient != listing.patient) {
            match self.chart_record(ask, other).await {
                Ok(record) => linked.push(record),
                Err(ExchangeError::NotFound) => withheld += 1,
                Err(error) => return Err(error),
            }
        }
        linked.sort_by(|a, b| a.organization_name.cmp(&b.organization_name));
        Ok(Chart { own, linked, withheld, relationship })
    }

    async fn chart_record(
        &self,
        ask: &Ask,
        listing: &Listing,
    ) -> Result<ChartRecord, ExchangeError> {
        let keeping = self.organization(&listing.organization)?;
        let opened =
            self.open_record(ask, &keeping, listing.patient, Act::Read, ClassSet::ALL).await?;
        let mut disclosed = self.disclose_all(&opened, RESOURCES_COUNT_MAX)?;
        self.record_access(ask, &opened, Action::Read, &disclosed).await?;
        let at = disclosed.iter().position(|d| d.resource_type == "Patient");
        let patient = at.map(|at| disclosed.remove(at)).ok_or(ExchangeError::NotFound)?;
        Ok(ChartRecord {
            organization: listing.organization.clone(),
            organization_name: keeping.facts.name.clone(),
            patient,
            resources: disclosed,
            classes: opened.keys.classes(),
        })
    }

    /// Opens everything of a record that the permit covers, the Patient first.
    pub(crate) fn disclose_all(
        &self,
        opened: &Opened,
        count_max: usize,
    ) -> Result<Vec<Disclosed>, ExchangeError> {
        let snapshot = self.store().snapshot();
        let held = self.record_rows(opened, &snapshot)?;
        let mut rows: Vec<&OpenRow> = held.rows.iter().collect();
        rows.sort_by_key(|r| (r.resource_type != "Patient", std::cmp::Reverse(r.row.commit)));
        rows.truncate(count_max);
        let mut disclosed = Vec::with_capacity(rows.len());
        for row in rows {
            let stored = snapshot.body(row.row.clone()).map_err(ExchangeError::store)?;
            disclosed.push(self.disclose(opened, &row.id, &stored)?);
        }
        Ok(disclosed)
    }

    /// Who looked at a patient's record, newest first: for the patient and for the
    /// privacy office of the organization that keeps it.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] for everybody else.
    pub async fn who_looked(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        patient: &str,
    ) -> Result<Vec<Look>, ExchangeError> {
        let listing = self.listing_of(organization, patient)?;
        let own = self.relationship(&ask.caller, &listing) == Relationship::SelfRecord;
        let office =
            ask.caller.role() == Role::PrivacyOfficer && ask.caller.organization() == organization;
        if !(own || office) {
            return Err(ExchangeError::NotFound);
        }
        let filter = Filter {
            organization: Some(organization.clone()),
            patients: [listing.patient].into(),
            kinds: vec!["access".into()],
            ..Filter::default()
        };
        let mut looks = Vec::new();
        for placed in self.all_entries(&filter).await? {
            let Event::Access { action, purpose, relationship, touches, .. } = placed.entry.event
            else {
                continue;
            };
            if action == Action::Write {
                continue;
            }
            let mut resources: HashMap<String, usize> = HashMap::new();
            for touch in touches {
                *resources.entry(touch.resource_type).or_default() += 1;
            }
            let mut resources: Vec<_> = resources.into_iter().collect();
            resources.sort();
            looks.push(Look {
                at: placed.entry.at,
                principal: placed.entry.actor.principal,
                organization: placed.entry.actor.organization,
                purpose: purpose.code().into(),
                relationship,
                resources,
            });
        }
        looks.reverse();
        Ok(looks)
    }
}
