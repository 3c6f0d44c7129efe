//! From the scope to the letters: opens the identity of those concerned, for
//! that purpose and with an entry for each, and composes the drafts.

use holdfast_base::{ClassSet, ElementClass, IncidentId, Purpose, Sensitive};
use holdfast_fhir::PatientView;
use holdfast_ledger::Action;
use holdfast_policy::{Act, Module, Role, Task};
use holdfast_respond::{
    Addressee, AffectedPerson, Contact, Letterhead, License, Organization as Client, OutputFile,
    ScopeQuery, Status,
};

use crate::state::Exchange;
use crate::{Ask, ExchangeError};

impl Exchange {
    /// The letterhead of this exchange, dated today: what notices are drafted under
    /// until the office says otherwise.
    pub fn letterhead(&self) -> Letterhead {
        Letterhead {
            exchange: "Holdfast Health Information Exchange".into(),
            exchange_address: Vec::new(),
            contact: Contact::default(),
            signatory: None,
            date: self.now(),
            monitoring: None,
            what_happened: None,
            delayed_by_law_enforcement: false,
        }
    }

    /// Drafts every notice of an incident: freezes its scope if nobody has yet,
    /// opens who is concerned, and composes packages, letters and deadlines.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is a privacy officer,
    /// [`ExchangeError::OverBudget`] when those concerned are more than the budget
    /// allows.
    pub async fn draft_notices(
        &self,
        ask: &Ask,
        id: IncidentId,
        letterhead: &Letterhead,
    ) -> Result<Vec<OutputFile>, ExchangeError> {
        self.require_task(ask, Task::Incidents).await?;
        if ask.caller.role() != Role::PrivacyOfficer {
            return Err(ExchangeError::NotPermitted { reason: "only-privacy-officers-draft" });
        }
        let ask = Ask { purpose: Purpose::Compliance, ..ask.clone() };
        let mut incident = self.incident(&ask, id).await?;
        if incident.scope.is_none() {
            incident = self.freeze_scope(&ask, id).await?;
        }
        let frozen =
            incident.scope.clone().ok_or(ExchangeError::Internal("the scope is frozen"))?;
        // The frozen scope is the exchange's; a client's own officer opens and drafts
        // for the client's own patients.
        let scope = match self.within_reach(&ask, None)? {
            None => frozen.scope,
            own => {
                let to = frozen.query.to.or(Some(frozen.at));
                self.compute_scope(&ScopeQuery { organization: own, to, ..frozen.query }).await?
            }
        };
        let mut persons = Vec::new();
        for row in &scope.rows {
            let listing = self.directory().read().get(&row.organization, row.patient);
            // A patient whose key was destroyed can no longer be told by letter; the
            // row stays in the client's package.
            let Some(listing) = listing else { continue };
            let identity = ClassSet::of(ElementClass::Identity);
            let opened =
                self.open_patient(&ask, &listing, Act::Notify, identity, Action::Notify).await?;
            persons.push(affected(row, &opened.resource));
        }
        let clients: Vec<Client> = self.organizations().iter().map(|o| client(&o.facts)).collect();
        let files = holdfast_respond::draft(&incident, &scope, &persons, &clients, letterhead)
            .map_err(|_| ExchangeError::Internal("the notices could not be composed"))?;
        // What is kept is the whole incident, not what this office sees of it.
        let whole = self.office().incidents.lock().get(&id).cloned();
        let mut incident = whole.ok_or(ExchangeError::NotFound)?;
        incident.status = Status::NoticesDrafted;
        let note = format!("{} files, {} persons", files.len(), persons.len());
        self.step_incident(&ask.caller.actor(), incident, "notices-drafted", note).await?;
        Ok(files)
    }
}

fn affected(row: &holdfast_respond::ScopeRow, patient: &serde_json::Value) -> AffectedPerson {
    let view = PatientView::of(patient);
    let address = view.addresses.first();
    let text = |part: Option<&Sensitive<String>>| part.cloned().unwrap_or_default();
    let lines = address.iter().flat_map(|a| &a.lines).map(|line| line.expose().clone());
    AffectedPerson {
        organization: row.organization.clone(),
        patient: row.patient,
        person: row.person,
        name: text(view.name().map(|name| &name.full)),
        address: lines.collect::<Vec<_>>().into(),
        city: text(address.map(|a| &a.city)),
        state: row.residence.clone(),
        zip: text(address.map(|a| &a.postal_code)),
        addressee: if view.is_deceased { Addressee::NextOfKin } else { Addressee::Patient },
        classes: row.released,
    }
}

fn client(facts: &crate::NewOrganization) -> Client {
    Client {
        id: facts.id.clone(),
        name: facts.name.clone(),
        address: vec![
            facts.street.clone(),
            format!("{}, {} {}", facts.city, facts.state, facts.postal_code),
        ],
        contact: Contact { telephone: Some(facts.phone.clone()), ..Contact::default() },
        parent: None,
        signatory: None,
        licenses: match (facts.module, facts.state.as_str()) {
            (Module::Hospital | Module::Practice | Module::Employer, "CA") => {
                vec![License::CaliforniaHealthFacility]
            }
            _ => Vec::new(),
        },
    }
}
