//! Who asks, and what they may: every decision that is not a release.

use std::sync::Arc;

use holdfast_base::{OrganizationId, PatientId, PrincipalId, RequestId, Timestamp};
use holdfast_ledger::{Actor, Entry, Event};

use super::grants::{self, APPROVED, GrantProposal, PROPOSED, REVOKED};
use super::rotation::OPERATOR;
use super::rules::{self, Act, OPERATOR_ROLE, SET_UP_ROLE};
use super::scribe::{Decided, Outcome, Scribe, Then, entry, service_release};
use super::standing::{LIFTED, SUSPENDED};
use crate::budget::{Budget, DAY_MS, FRONT_ROLE};
use crate::error::{Malformed, NotPermitted, OwnCase, Refused};
use crate::people::Row;
use crate::protocol::{BudgetOwner, GrantStep};
use crate::table::{Found, Organization, TableError};

/// Who says that they ask: a [`Proof`](crate::Proof) whose token was hashed.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub who: Claimant,
    pub address: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Claimant {
    Front,
    SetUp(PrincipalId),
    /// Whoever showed the passphrase or PIN that opens the root.
    Operator,
    Session([u8; 32]),
}

/// Who asks, by what the keeper knows.
pub(super) struct Identity {
    pub actor: Actor,
    pub role: String,
}

/// Somebody who may not; with the actor for the entry.
pub(super) struct Denied {
    pub actor: Box<Actor>,
    pub reason: &'static str,
    pub refused: Refused,
}

impl Denied {
    /// The refusal with its entry.
    pub fn decided(self, organization: Option<&OrganizationId>, now: Timestamp) -> Decided {
        let event = refusal("keeper", self.reason, None, organization.cloned());
        Decided::with(vec![entry(now, &self.actor, None, event)], Err(self.refused))
    }
}

/// The name under which the front process acts on its own account.
pub(super) fn front_actor(address: Option<String>) -> Actor {
    actor_named("system:exchange", address)
}

pub(super) fn actor_named(name: &'static str, address: Option<String>) -> Actor {
    let principal =
        PrincipalId::new(name).unwrap_or_else(|_| unreachable!("{name} is a valid name"));
    Actor { principal, session: None, organization: None, address }
}

pub(super) fn refusal(
    door: &str,
    reason: &str,
    patient: Option<PatientId>,
    organization: Option<OrganizationId>,
) -> Event {
    Event::Refusal { door: door.to_owned(), reason: reason.to_owned(), patient, organization }
}

impl Scribe {
    /// Who claims to ask, for an entry that names them and gives them nothing.
    pub fn actor_of(&self, claim: &Claim) -> Actor {
        let address = claim.address.clone();
        match &claim.who {
            Claimant::Front => front_actor(address),
            Claimant::Operator => actor_named(OPERATOR, address),
            Claimant::SetUp(operator) => {
                let principal = operator.clone();
                Actor { principal, session: None, organization: None, address }
            }
            Claimant::Session(digest) => match self.sessions.row(digest) {
                Some(row) => Actor {
                    principal: row.principal.clone(),
                    session: Some(row.id),
                    organization: Some(row.organization.clone()),
                    address,
                },
                None => actor_named("nobody", address),
            },
        }
    }

    /// Who asks, when they may do `act`.
    pub fn identify(&mut self, claim: &Claim, act: Act) -> Result<Identity, Denied> {
        let address = claim.address.clone();
        let identity = match &claim.who {
            Claimant::Front => {
                Identity { actor: front_actor(address), role: FRONT_ROLE.to_owned() }
            }
            Claimant::Operator => {
                let actor = actor_named(OPERATOR, address);
                Identity { actor, role: OPERATOR_ROLE.to_owned() }
            }
            Claimant::SetUp(operator) => {
                let actor = Actor {
                    principal: operator.clone(),
                    session: None,
                    organization: None,
                    address,
                };
                if self.people.has_administrator() || !self.making.is_empty() {
                    let why = NotPermitted::AlreadySetUp;
                    return Err(Denied {
                        actor: Box::new(actor),
                        reason: why.as_str(),
                        refused: why.into(),
                    });
                }
                Identity { actor, role: SET_UP_ROLE.to_owned() }
            }
            Claimant::Session(digest) => match self.sessions.use_one(digest, self.latest) {
                Some(session) => {
                    let actor = Actor {
                        principal: session.principal.clone(),
                        session: Some(session.id),
                        organization: Some(session.organization.clone()),
                        address,
                    };
                    if session.address != claim.address {
                        let refused = Refused::NotSignedIn;
                        return Err(Denied {
                            actor: Box::new(actor),
                            reason: "other-address",
                            refused,
                        });
                    }
                    Identity { actor, role: session.role.clone() }
                }
                None => {
                    // A suspension ends sessions; who is suspended is told so.
                    if let Some(row) = self.sessions.row(digest)
                        && self.standing.is_barred(&row.principal, &row.organization)
                    {
                        let actor = Actor {
                            principal: row.principal.clone(),
                            session: Some(row.id),
                            organization: Some(row.organization.clone()),
                            address,
                        };
                        let refused = Refused::Suspended { principal: row.principal.clone() };
                        return Err(Denied {
                            actor: Box::new(actor),
                            reason: "suspended",
                            refused,
                        });
                    }
                    let actor = actor_named("nobody", address);
                    let refused = Refused::NotSignedIn;
                    return Err(Denied {
                        actor: Box::new(actor),
                        reason: "no-such-session",
                        refused,
                    });
                }
            },
        };
        let Identity { actor, role } = identity;
        // The front process may suspend; it must not hinder who has the passphrase.
        let operator = matches!(claim.who, Claimant::Operator);
        let barred = match &actor.organization {
            Some(organization) => self.standing.is_barred(&actor.principal, organization),
            None => self.standing.is_suspended(&actor.principal),
        };
        if !operator && barred {
            let refused = Refused::Suspended { principal: actor.principal.clone() };
            return Err(Denied { actor: Box::new(actor), reason: "suspended", refused });
        }
        if !rules::permits(act, &role) {
            let why = NotPermitted::Role;
            return Err(Denied {
                actor: Box::new(actor),
                reason: why.as_str(),
                refused: why.into(),
            });
        }
        Ok(Identity { actor, role })
    }

    /// As [`identify`](Self::identify), for what concerns `organization`: only whoever
    /// works there, or for the organization that runs the exchange, may.
    pub(super) fn identify_for(
        &mut self,
        claim: &Claim,
        act: Act,
        organization: Option<&OrganizationId>,
    ) -> Result<Identity, Denied> {
        let who = self.identify(claim, act)?;
        let own = who.actor.organization.as_ref();
        let everywhere = matches!(claim.who, Claimant::Front | Claimant::SetUp(_))
            || own.is_some_and(|own| self.people.runs_exchange(own));
        if everywhere || (own.is_some() && own == organization) {
            return Ok(who);
        }
        let why = NotPermitted::OtherOrganization;
        Err(Denied { actor: Box::new(who.actor), reason: why.as_str(), refused: why.into() })
    }

    /// The organization that a principal works for, as far as the keeper knows.
    pub(super) fn home_of(&self, principal: &PrincipalId) -> Option<OrganizationId> {
        self.people.get(principal).map(|row| row.organization.clone())
    }

    pub fn decide_organization(
        &mut self,
        claim: &Claim,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Decided {
        let who = match self.identify_for(claim, Act::CreateOrganization, Some(organization)) {
            Ok(who) => who,
            Err(denied) => return denied.decided(None, now),
        };
        match self.table.create_organization(organization, now) {
            Ok((organization, new)) => {
                let reason = if new { "organization-created" } else { "organization-known" };
                let released = service_release(&format!("token:{}", organization.id), reason);
                let entries = vec![entry(now, &who.actor, None, released)];
                Decided::with(entries, Ok(Outcome::Organization(organization)))
            }
            Err(error) => Decided::refused(error),
        }
    }

    pub fn decide_service_keys(&mut self, reason: &str, now: Timestamp) -> Decided {
        let actor = front_actor(None);
        let organizations = self.table.organizations();
        let tokens = organizations.iter().map(|o| format!("token:{}", o.id));
        let scopes = ["system".to_owned(), "mpi".to_owned()].into_iter().chain(tokens);
        let entries =
            scopes.map(|scope| entry(now, &actor, None, service_release(&scope, reason))).collect();
        Decided::with(entries, Ok(Outcome::Organizations(organizations)))
    }

    /// Opens kept payloads again: one entry each, within the inbox's budget.
    pub fn decide_inbox(
        &mut self,
        organization: Arc<Organization>,
        messages: &[(u64, [u8; 16])],
        reason: &str,
        now: Timestamp,
    ) -> Decided {
        let actor = front_actor(None);
        let asked = messages.iter().map(|(_, token)| PatientId::from_bytes(*token)).collect();
        let usage = self.usages.of_inbox(&organization.id);
        if let Err(over) = usage.has_room(Budget::INBOX, &asked, now) {
            let refused = Refused::OverBudget {
                principal: organization_account(&organization.id),
                window: over.window,
                limit: over.limit,
            };
            let event = refusal("keeper", "inbox-over-budget", None, Some(organization.id.clone()));
            let alert = super::release::alert(&actor.principal, SERVICE_BUDGET, over, "payloads");
            let entries = [event, alert].map(|event| entry(now, &actor, None, event)).to_vec();
            return Decided::with(entries, Err(refused));
        }
        usage.record_all(&asked, now);
        let entries = messages.iter().map(|(message, token)| {
            let scope = inbox_scope(&organization.id, *message, token);
            entry(now, &actor, None, service_release(&scope, reason))
        });
        Decided::with(entries.collect(), Ok(Outcome::Organization(Arc::clone(&organization))))
    }

    pub fn decide_forget(
        &mut self,
        claim: &Claim,
        organization: &Organization,
        patient: PatientId,
        reason: String,
        now: Timestamp,
    ) -> Decided {
        let who = match self.identify_for(claim, Act::Forget, Some(&organization.id)) {
            Ok(who) => who,
            Err(denied) => return denied.decided(Some(&organization.id), now),
        };
        if patient.is_nobody() {
            return Decided::refused(Refused::UnknownPatient);
        }
        match self.table.find(organization, patient) {
            Ok(Found::Unknown) => Decided::refused(Refused::UnknownPatient),
            Ok(Found::Forgotten) => Decided::with(Vec::new(), Ok(Outcome::Done)),
            // A key that does not unwrap can be forgotten as well.
            Ok(Found::Key(_)) | Err(TableError::Damaged { .. }) => {
                let organization = organization.id.clone();
                self.forgetting.insert((organization.clone(), patient));
                let then = vec![Then::Forget(organization.clone(), patient)];
                let event = Event::Forgotten { organization, patient, reason };
                Decided { then, ..Decided::done(entry(now, &who.actor, None, event)) }
            }
            Err(error) => Decided::refused(error),
        }
    }

    pub fn decide_budget(
        &mut self,
        claim: &Claim,
        whose: BudgetOwner,
        budget: Budget,
        reason: String,
        now: Timestamp,
    ) -> Decided {
        let (account, home, before) = match whose {
            BudgetOwner::Principal(principal) => {
                let role = self.people.get(&principal).map(|row| row.role.clone());
                let before =
                    self.standing.budget_of(&principal, role.as_deref().unwrap_or_default());
                let home = self.home_of(&principal);
                (principal, home, before)
            }
            BudgetOwner::Organization(organization) => {
                let before = self.standing.organization_budget(&organization);
                (organization_account(&organization), Some(organization), before)
            }
        };
        let who = match self.identify_for(claim, Act::Budget, home.as_ref()) {
            Ok(who) => who,
            Err(denied) => return denied.decided(home.as_ref(), now),
        };
        if who.actor.principal == account && budget.exceeds(before) {
            return Decided::refused(Refused::OwnCase(OwnCase::RaiseBudget));
        }
        let event = Event::BudgetChange { account, limits: budget.limits(), reason };
        Decided::done(entry(now, &who.actor, None, event))
    }

    pub fn decide_suspend(
        &mut self,
        claim: &Claim,
        principal: PrincipalId,
        reason: String,
        now: Timestamp,
    ) -> Decided {
        let home = self.home_of(&principal);
        let who = match self.identify_for(claim, Act::Suspend, home.as_ref()) {
            Ok(who) => who,
            Err(denied) => return denied.decided(home.as_ref(), now),
        };
        let organization = organization_of(&principal);
        if let Some(organization) = &organization {
            if self.people.runs_exchange(organization) {
                return Decided::refused(NotPermitted::RunsTheExchange);
            }
            if self.table.organization(organization).is_none() {
                return Decided::refused(Refused::UnknownOrganization);
            }
        }
        self.standing.suspend(&principal, &reason);
        let ended = match &organization {
            Some(organization) => self.sessions.end_all_of(organization),
            None => self.sessions.end_all(&principal),
        };
        let rows = ended.into_iter().map(|row| Row::Session(Box::new(row))).collect();
        let event = containment(principal, SUSPENDED, reason);
        Decided { rows, ..Decided::done(entry(now, &who.actor, None, event)) }
    }

    pub fn decide_lift(
        &mut self,
        claim: &Claim,
        principal: PrincipalId,
        reason: String,
        now: Timestamp,
    ) -> Decided {
        let home = self.home_of(&principal);
        let who = match self.identify_for(claim, Act::Lift, home.as_ref()) {
            Ok(who) => who,
            Err(denied) if denied.actor.principal == principal => {
                return Denied { refused: Refused::OwnCase(OwnCase::LiftSuspension), ..denied }
                    .decided(home.as_ref(), now);
            }
            Err(denied) => return denied.decided(home.as_ref(), now),
        };
        if who.actor.principal == principal {
            return Decided::refused(Refused::OwnCase(OwnCase::LiftSuspension));
        }
        Decided::done(entry(now, &who.actor, None, containment(principal, LIFTED, reason)))
    }

    pub fn decide_grant(&mut self, claim: &Claim, step: GrantStep, now: Timestamp) -> Decided {
        match step {
            GrantStep::Propose(proposal) => self.propose(claim, proposal, now),
            GrantStep::Approve(id) => self.settle(claim, id, None, now),
            GrantStep::Revoke(id, reason) => self.settle(claim, id, Some(reason), now),
        }
    }

    fn propose(&mut self, claim: &Claim, proposal: GrantProposal, now: Timestamp) -> Decided {
        let GrantProposal { organization, account, patients_max, until, reason } = proposal;
        let who = match self.identify_for(claim, Act::Grants, Some(&organization)) {
            Ok(who) => who,
            Err(denied) => return denied.decided(Some(&organization), now),
        };
        let life_ms = until.millis_since(self.latest);
        if patients_max == 0 || life_ms <= 0 || life_ms > grants::LIFE_MS_MAX {
            return Decided::refused(Malformed::Grant);
        }
        if self.table.organization(&organization).is_none() {
            return Decided::refused(Refused::UnknownOrganization);
        }
        // The exchange itself: to index what an older one stored.
        let front = account == front_actor(None).principal;
        if !front && self.people.open_one(&account).is_none() {
            return Decided::refused(Refused::UnknownPrincipal);
        }
        let grant = RequestId::random();
        let step = PROPOSED.to_owned();
        let event =
            Event::BulkGrant { grant, step, account, organization, patients_max, until, reason };
        Decided::with(vec![entry(now, &who.actor, None, event)], Ok(Outcome::Grant(grant)))
    }

    /// Approves a grant that waits, or with a reason ends one.
    fn settle(
        &mut self,
        claim: &Claim,
        id: RequestId,
        revoking: Option<String>,
        now: Timestamp,
    ) -> Decided {
        let grant = self.standing.grants.get(id, self.latest);
        let home = grant.as_ref().map(|grant| grant.organization.clone());
        let who = match self.identify_for(claim, Act::Grants, home.as_ref()) {
            Ok(who) => who,
            Err(denied) => return denied.decided(home.as_ref(), now),
        };
        let waits = |approved: bool| revoking.is_some() || !approved;
        let Some(grant) = grant.filter(|grant| waits(grant.approved_by.is_some())) else {
            return Decided::refused(Refused::UnknownGrant);
        };
        let own = [&grant.proposed_by, &grant.account].contains(&&who.actor.principal);
        if revoking.is_none() && own {
            let event = refusal("keeper", "own-grant", None, home);
            let entries = vec![entry(now, &who.actor, None, event)];
            return Decided::with(entries, Err(Refused::OwnCase(OwnCase::ApproveGrant)));
        }
        let (step, reason) = match revoking {
            Some(reason) => (REVOKED, reason),
            None => (APPROVED, grant.reason),
        };
        let event = Event::BulkGrant {
            grant: id,
            step: step.to_owned(),
            account: grant.account,
            organization: grant.organization,
            patients_max: grant.patients_max,
            until: grant.until,
            reason,
        };
        Decided::done(entry(now, &who.actor, None, event))
    }

    /// The grants that whoever asks may see.
    pub fn decide_grants(&mut self, claim: &Claim, now: Timestamp) -> Decided {
        let who = match self.identify(claim, Act::Grants) {
            Ok(who) => who,
            Err(denied) => return denied.decided(None, now),
        };
        let own = who.actor.organization;
        let all = own.as_ref().is_some_and(|own| self.people.runs_exchange(own));
        let mut grants = self.standing.grants.list(self.latest);
        grants.retain(|grant| all || Some(&grant.organization) == own.as_ref());
        Decided::with(Vec::new(), Ok(Outcome::Grants(grants)))
    }

    /// Once an hour: lets go sessions that are long over, and grants.
    pub fn sweep(&mut self) {
        self.standing.grants.sweep(self.latest);
        let over = self.sessions.sweep(self.latest.plus_millis(-DAY_MS));
        let rows: Vec<Row> = over.into_iter().map(Row::DropSession).collect();
        if self.people.write(&rows.iter().collect::<Vec<_>>()).is_err() {
            tracing::error!("sessions that are over could not be deleted");
        }
    }
}

/// Detector name of the budgets that are no principal's own: found, but nobody is
/// suspended for what others have used up.
pub(super) const SERVICE_BUDGET: &str = "service-budget";
/// As [`SERVICE_BUDGET`], of an organization.
pub(super) const ORGANIZATION_BUDGET: &str = "organization-budget";

/// The name under which an organization's budget stands in entries.
pub(super) fn organization_account(organization: &OrganizationId) -> PrincipalId {
    // 13 + 40 characters at most, all of which a principal's name may have.
    PrincipalId::new(&format!("organization:{organization}"))
        .unwrap_or_else(|_| unreachable!("an organization's name fits into a principal's"))
}

/// The organization that [`organization_account`] is the name of. The office of the
/// organization that runs the exchange suspends one, and nobody else: it is nobody's
/// home.
fn organization_of(account: &PrincipalId) -> Option<OrganizationId> {
    OrganizationId::new(account.as_str().strip_prefix("organization:")?).ok()
}

/// The scope under which the opening of one kept payload stands in the ledger.
pub(super) fn inbox_scope(organization: &OrganizationId, message: u64, token: &[u8; 16]) -> String {
    format!("inbox:{organization}:{message}:{}", data_encoding::HEXLOWER.encode(token))
}

/// Which payload a scope of [`inbox_scope`] is about.
pub(super) fn parse_inbox_scope(scope: &str) -> Option<(OrganizationId, [u8; 16])> {
    let mut parts = scope.strip_prefix("inbox:")?.split(':');
    let organization = OrganizationId::new(parts.next()?).ok()?;
    let token = data_encoding::HEXLOWER.decode(parts.nth(1)?.as_bytes()).ok()?;
    Some((organization, token.try_into().ok()?))
}

fn containment(principal: PrincipalId, action: &str, reason: String) -> Event {
    Event::Containment { principal, action: action.to_owned(), reason, incident: None }
}

/// What entries of the front process may not say: the keeper did it, or acts on it
/// after a restart.
pub(super) fn is_keepers_own(entry: &Entry) -> bool {
    match &entry.event {
        Event::LedgerOpened { .. }
        | Event::KeyRelease { .. }
        | Event::PopulationQuery { .. }
        | Event::ServiceKeyRelease { .. }
        | Event::BudgetChange { .. }
        | Event::BulkGrant { .. }
        | Event::AccountChange { .. }
        | Event::Session { .. }
        | Event::KeyChange { .. }
        | Event::Restored { .. }
        | Event::Forgotten { .. } => true,
        Event::Containment { action, .. } => action == SUSPENDED || action == LIFTED,
        Event::Refusal { door, .. } => door == "keeper" || door == "sign-in",
        Event::Alert { detector, .. } => {
            ["keeper-budget", SERVICE_BUDGET, ORGANIZATION_BUDGET].contains(&detector.as_str())
        }
        _ => false,
    }
}
