//! Incidents: what was found, contained and decided, step by step.

use holdfast_base::{IncidentId, OrganizationId, PrincipalId, Timestamp};
use holdfast_ledger::{Actor, Entry, Event};
use holdfast_policy::{Role, Task};
use holdfast_respond::{Incident, IncidentFinding, Status};
use holdfast_watch::{Finding, Response};

use crate::state::{Exchange, server_actor};
use crate::system::Kind;
use crate::{Ask, ExchangeError};

/// Findings of one principal within this time belong to one incident.
const SAME_INCIDENT_MS: i64 = 24 * 3_600_000;

/// A finding as the office sees it.
#[derive(Debug, Clone)]
pub struct FindingView {
    /// When the detector spoke.
    pub at: Timestamp,
    /// Which detector.
    pub detector: String,
    /// Whom it is about.
    pub principal: PrincipalId,
    /// `notice`, `serious`, `critical`.
    pub severity: String,
    /// How many patients stand behind it.
    pub patients_count: u64,
    /// One sentence.
    pub summary: String,
    /// The incident that it is part of.
    pub incident: IncidentId,
}

/// A finding that grows by one patient is the same finding; one that is graver or
/// has doubled is told again.
fn is_worth_telling(before: &IncidentFinding, now: &IncidentFinding) -> bool {
    before.severity != now.severity || now.patients_count >= 2 * before.patients_count.max(1)
}

impl Exchange {
    /// Adds a finding to the principal's open incident, or opens one.
    pub(crate) async fn add_finding(
        &self,
        finding: &Finding,
        happened: Timestamp,
    ) -> Result<IncidentId, ExchangeError> {
        let now = self.now();
        let noted = IncidentFinding {
            at: now.max(happened),
            detector: finding.detector.to_owned(),
            severity: finding.severity.as_str().to_owned(),
            patients_count: finding.patients.len() as u64,
            summary: finding.summary.clone(),
        };
        let (incident, opened, news) = {
            let mut incidents = self.office().incidents.lock();
            let open = incidents.values_mut().find(|incident| {
                incident.principal == finding.principal
                    && incident.status != Status::Closed
                    && now.millis_since(incident.opened) < SAME_INCIDENT_MS
            });
            match open {
                Some(incident) => {
                    let known =
                        incident.findings.iter_mut().find(|f| f.detector == finding.detector);
                    let news = match known {
                        Some(known) => {
                            let news = is_worth_telling(known, &noted);
                            *known = noted;
                            news
                        }
                        None => {
                            incident.findings.push(noted);
                            true
                        }
                    };
                    (incident.clone(), false, news)
                }
                None => {
                    let last = incidents.keys().next_back().map_or(0, |id| id.0);
                    let incident = Incident {
                        id: IncidentId(last + 1),
                        opened: now,
                        discovered: now,
                        principal: finding.principal.clone(),
                        findings: vec![noted],
                        status: Status::Open,
                        scope: None,
                    };
                    incidents.insert(incident.id, incident.clone());
                    (incident, true, true)
                }
            }
        };
        let mut incident = incident;
        if finding.response == Response::Suspend && incident.status == Status::Open {
            incident.status = Status::Contained;
            self.office().incidents.lock().insert(incident.id, incident.clone());
        }
        self.save_system(Kind::Incident, &incident.id.to_string(), &incident).await?;
        if !news {
            return Ok(incident.id);
        }
        let actor = server_actor();
        let mut entries = Vec::new();
        let entry = |event| Entry { at: now, actor: actor.clone(), request: None, event };
        // Those two are made from an alert that stands in the ledger already.
        let told = [holdfast_watch::KEEPER_BUDGET, holdfast_watch::RECONCILIATION];
        if !told.contains(&finding.detector) {
            entries.push(entry(Event::Alert {
                detector: finding.detector.to_owned(),
                principal: finding.principal.clone(),
                patients_count: finding.patients.len() as u64,
                severity: finding.severity.as_str().to_owned(),
                summary: finding.summary.clone(),
            }));
        }
        entries.push(entry(Event::IncidentStep {
            incident: incident.id,
            step: if opened { "opened" } else { "finding" }.into(),
            note: format!("{}: {}", finding.detector, finding.summary),
        }));
        self.keeper().append(entries).await?;
        tracing::warn!(
            incident = %incident.id, detector = finding.detector, principal = %finding.principal, "finding"
        );
        Ok(incident.id)
    }

    /// Every incident, newest first.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for whoever does not work on incidents.
    pub async fn incidents(&self, ask: &Ask) -> Result<Vec<Incident>, ExchangeError> {
        self.require_task(ask, Task::Incidents).await?;
        let own = self.within_reach(ask, None)?;
        let incidents: Vec<Incident> =
            self.office().incidents.lock().values().rev().cloned().collect();
        Ok(incidents.into_iter().filter_map(|i| self.visible(i, own.as_ref())).collect())
    }

    /// One incident.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`], [`ExchangeError::NotPermitted`].
    pub async fn incident(&self, ask: &Ask, id: IncidentId) -> Result<Incident, ExchangeError> {
        self.require_task(ask, Task::Incidents).await?;
        let own = self.within_reach(ask, None)?;
        let incident = self.office().incidents.lock().get(&id).cloned();
        incident.and_then(|i| self.visible(i, own.as_ref())).ok_or(ExchangeError::NotFound)
    }

    /// What the office of `own` (nothing: all) may see of an incident: those of its own
    /// people, and those whose scope names its patients, with no other's rows.
    pub(crate) fn visible(
        &self,
        mut incident: Incident,
        own: Option<&OrganizationId>,
    ) -> Option<Incident> {
        let Some(own) = own else { return Some(incident) };
        let of = |organization: OrganizationId| organization == *own;
        let own_people =
            self.account(&incident.principal).is_some_and(|account| of(account.organization));
        let mut touched = false;
        if let Some(frozen) = &mut incident.scope {
            frozen.scope = frozen.scope.of_organization(own);
            touched = !frozen.scope.rows.is_empty();
        }
        (own_people || touched).then_some(incident)
    }

    /// Refuses an officer of a client whatever concerns another organization's people
    /// or patients.
    async fn require_reach(
        &self,
        ask: &Ask,
        organization: Option<&OrganizationId>,
    ) -> Result<(), ExchangeError> {
        let own = self.within_reach(ask, None)?;
        if own.is_none() || own.as_ref() == organization {
            return Ok(());
        }
        let reason = "other-organization";
        self.append_refusal(ask.caller.actor(), "policy", reason).await?;
        Err(ExchangeError::NotPermitted { reason })
    }

    /// Replaces an incident and notes the step in the ledger.
    pub(crate) async fn step_incident(
        &self,
        actor: &Actor,
        incident: Incident,
        step: &str,
        note: String,
    ) -> Result<(), ExchangeError> {
        let id = incident.id;
        self.save_system(Kind::Incident, &id.to_string(), &incident).await?;
        self.office().incidents.lock().insert(id, incident);
        let event = Event::IncidentStep { incident: id, step: step.into(), note };
        let entry = Entry { at: self.now(), actor: actor.clone(), request: None, event };
        Ok(self.keeper().append(vec![entry]).await.map(drop)?)
    }

    /// Suspends a principal by hand.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for whoever may not contain.
    pub async fn contain(
        &self,
        ask: &Ask,
        principal: &PrincipalId,
        reason: &str,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Containment).await?;
        let home = self.account(principal).map(|account| account.organization);
        self.require_reach(ask, home.as_ref()).await?;
        self.suspend(Some(&ask.caller), principal, reason, None).await
    }

    /// Lifts a suspension, with a reason.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`]; nobody lifts their own.
    pub async fn lift(
        &self,
        ask: &Ask,
        principal: &PrincipalId,
        reason: &str,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Containment).await?;
        if principal == ask.caller.id() || ask.caller.role() == Role::System {
            return Err(ExchangeError::NotPermitted { reason: "own-suspension" });
        }
        let mut account = self.account(principal).ok_or(ExchangeError::NotFound)?;
        self.require_reach(ask, Some(&account.organization)).await?;
        let proof = self.proof_of(&ask.caller).await?;
        self.keeper().lift(&proof, principal, reason).await?;
        account.suspended = None;
        self.replace_account(account.clone());
        self.save_system(Kind::Account, principal.as_str(), &account).await
    }

    /// Marks a Patient as a honey record: nobody has a reason to open it, so
    /// whoever does is found.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`], [`ExchangeError::NotPermitted`].
    pub async fn mark_honey(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        patient: &str,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Containment).await?;
        self.require_reach(ask, Some(organization)).await?;
        let listing = self.listing_of(organization, patient)?;
        self.save_system(Kind::Honey, &listing.patient.to_string(), &listing.patient).await?;
        let honey = {
            let mut honey = self.office().honey.lock();
            honey.insert(listing.patient);
            honey.clone()
        };
        self.office().watch.lock().set_honey(honey);
        Ok(())
    }

    /// All findings of all incidents, newest first.
    ///
    /// # Errors
    /// As [`incidents`](Self::incidents).
    pub async fn findings(&self, ask: &Ask) -> Result<Vec<FindingView>, ExchangeError> {
        let mut views = Vec::new();
        for incident in self.incidents(ask).await? {
            views.extend(incident.findings.into_iter().map(|finding| FindingView {
                at: finding.at,
                detector: finding.detector,
                principal: incident.principal.clone(),
                severity: finding.severity,
                patients_count: finding.patients_count,
                summary: finding.summary,
                incident: incident.id,
            }));
        }
        views.sort_by_key(|view| std::cmp::Reverse(view.at));
        Ok(views)
    }
}
