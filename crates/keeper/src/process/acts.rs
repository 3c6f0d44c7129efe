//! Who asks, and what they may: every decision that is not a release.

use std::sync::Arc;

use holdfast_base::{OrganizationId, PatientId, PrincipalId, RequestId, SessionId, Timestamp};
use holdfast_ledger::{Actor, Entry, Event};

use super::grants::{self, APPROVED, GrantProposal, PROPOSED, REVOKED};
use super::rotation::OPERATOR;
use super::rules::{self, Act, OPERATOR_ROLE, SET_UP_ROLE};
use super::scribe::{Decided, Outcome, Scribe, Then, entry, service_release};
use super::sessions::LIFE_MS;
use super::standing::{LIFTED, SUSPENDED};
use crate::budget::{Budget, DAY_MS, FRONT_ROLE};
use crate::error::{Malformed, NotPermitted, OwnCase, Refused};
use crate::people::{
    Kind, OpenedSession, PrincipalRow, Row, SessionKind, SessionRow, SessionToken, is_reserved,
    is_shared,
};
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

fn actor_named(name: &'static str, address: Option<String>) -> Actor {
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
                        && self.standing.is_suspended(&row.principal)
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
        if !operator && self.standing.is_suspended(&actor.principal) {
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
    fn identify_for(
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
    fn home_of(&self, principal: &PrincipalId) -> Option<OrganizationId> {
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
        if patient == PatientId::NONE {
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
        self.standing.suspend(&principal, &reason);
        let ended = self.sessions.end_all(&principal);
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

    /// Makes a principal. `row` was made beforehand: hashing takes its time.
    pub fn decide_enrol(&mut self, claim: &Claim, row: PrincipalRow, now: Timestamp) -> Decided {
        let who = match self.identify_for(claim, Act::Principals, Some(&row.organization)) {
            Ok(who) => who,
            Err(denied) => return denied.decided(Some(&row.organization), now),
        };
        if who.role == SET_UP_ROLE && row.role != "administrator" {
            return Decided::refused(NotPermitted::FirstIsAdministrator);
        }
        if let Err(refused) = self.check_new(&row) {
            return Decided::refused(refused);
        }
        self.make(&who.actor, row, "created", now)
    }

    /// Takes the principals of an older exchange, once.
    pub fn decide_import(&mut self, rows: Vec<PrincipalRow>, now: Timestamp) -> Decided {
        if !self.people.is_empty() || !self.making.is_empty() {
            return Decided::refused(NotPermitted::NotEmpty);
        }
        let actor = front_actor(None);
        let mut all = Decided::with(Vec::new(), Ok(Outcome::Done));
        for row in rows {
            // Names were checked when the accounts were made.
            if Budget::of_known_role(&row.role).is_none() || !self.making.insert(row.id.clone()) {
                return Decided::refused(Malformed::Principal);
            }
            let one = self.make(&actor, row, "imported", now);
            all.entries.extend(one.entries);
            all.rows.extend(one.rows);
            all.then.extend(one.then);
        }
        all
    }

    fn check_new(&self, row: &PrincipalRow) -> Result<(), Refused> {
        if is_shared(row.id.as_str()) {
            return Err(Malformed::SharedName.into());
        }
        let fits = (row.role == "system") == matches!(row.kind, Kind::System { .. });
        let known = row.role != FRONT_ROLE && Budget::of_known_role(&row.role).is_some();
        if !fits || !known || is_reserved(row.id.as_str()) {
            return Err(Malformed::Principal.into());
        }
        if self.table.organization(&row.organization).is_none() {
            return Err(Refused::UnknownOrganization);
        }
        let taken = match &row.kind {
            Kind::System { certificate } => self.people.of_certificate(certificate).is_some(),
            Kind::Person { .. } => false,
        };
        let known = self.people.get(&row.id).is_some() || self.making.contains(&row.id);
        if taken || known { Err(Refused::Taken) } else { Ok(()) }
    }

    fn make(&mut self, actor: &Actor, row: PrincipalRow, change: &str, now: Timestamp) -> Decided {
        self.making.insert(row.id.clone());
        self.change(actor, row, change, now)
    }

    /// A principal's row as it is from now on, with its entry.
    fn change(&self, actor: &Actor, row: PrincipalRow, change: &str, now: Timestamp) -> Decided {
        let event = Event::AccountChange {
            account: row.id.clone(),
            change: change.to_owned(),
            role: row.role.clone(),
        };
        let rows = vec![Row::Principal(Box::new(row.clone()))];
        let then = vec![Then::Learn(Box::new(row))];
        Decided { rows, then, ..Decided::done(entry(now, actor, None, event)) }
    }

    /// Gives a person new secrets, or a system another certificate; ends its sessions.
    pub fn decide_reset(
        &mut self,
        claim: &Claim,
        principal: &PrincipalId,
        kind: Kind,
        now: Timestamp,
    ) -> Decided {
        let home = self.home_of(principal);
        let who = match self.identify_for(claim, Act::Principals, home.as_ref()) {
            Ok(who) => who,
            Err(denied) => return denied.decided(home.as_ref(), now),
        };
        let Some(row) = self.people.open_one(principal) else {
            return Decided::refused(Refused::UnknownPrincipal);
        };
        let same = matches!(row.kind, Kind::Person { .. }) == matches!(kind, Kind::Person { .. });
        if !same {
            return Decided::refused(Malformed::Principal);
        }
        let row = PrincipalRow { kind, ..(*row).clone() };
        let changed = self.change(&who.actor, row, "secret-reset", now);
        self.ending_sessions(changed, principal)
    }

    /// Closes a principal for good; ends its sessions. The name is never given again.
    pub fn decide_close(
        &mut self,
        claim: &Claim,
        principal: &PrincipalId,
        now: Timestamp,
    ) -> Decided {
        let home = self.home_of(principal);
        let who = match self.identify_for(claim, Act::Principals, home.as_ref()) {
            Ok(who) => who,
            Err(denied) => return denied.decided(home.as_ref(), now),
        };
        let Some(row) = self.people.open_one(principal) else {
            return Decided::refused(Refused::UnknownPrincipal);
        };
        let row = PrincipalRow { closed: true, ..(*row).clone() };
        let changed = self.change(&who.actor, row, "closed", now);
        self.ending_sessions(changed, principal)
    }

    fn ending_sessions(&mut self, mut decided: Decided, principal: &PrincipalId) -> Decided {
        let ended = self.sessions.end_all(principal);
        decided.rows.extend(ended.into_iter().map(|row| Row::Session(Box::new(row))));
        decided
    }

    /// Opens the session of a person whose password and code were right.
    pub fn decide_open_session(
        &mut self,
        principal: &PrincipalId,
        step: i64,
        address: Option<String>,
        now: Timestamp,
    ) -> Decided {
        let Some(row) = self.people.open_one(principal) else {
            return Decided::refused(Refused::NotSignedIn);
        };
        let actor = Actor {
            principal: row.id.clone(),
            session: None,
            organization: Some(row.organization.clone()),
            address: address.clone(),
        };
        let refuse = |reason, refused| {
            let event = refusal("sign-in", reason, None, None);
            Decided::with(vec![entry(now, &actor, None, event)], Err(refused))
        };
        if !self.sessions.is_first_use(principal, step) {
            return refuse("code-used-before", Refused::NotSignedIn);
        }
        if self.standing.is_suspended(principal) {
            let refused = Refused::Suspended { principal: principal.clone() };
            return refuse("suspended", refused);
        }
        self.begin_session(&row, SessionKind::Person { step }, actor, "opened", now)
    }

    /// Opens a session of the system that has a certificate, on the front process's
    /// word that its TLS has verified it.
    pub fn decide_vouch(
        &mut self,
        certificate: &[u8; 32],
        address: Option<String>,
        now: Timestamp,
    ) -> Decided {
        let Some(row) = self.people.of_certificate(certificate) else {
            let actor = actor_named("nobody", address);
            let event = refusal("token", "unknown-certificate", None, None);
            let entries = vec![entry(now, &actor, None, event)];
            return Decided::with(entries, Err(Refused::NotSignedIn));
        };
        let actor = Actor {
            principal: row.id.clone(),
            session: None,
            organization: Some(row.organization.clone()),
            address,
        };
        if self.standing.is_suspended(&row.id) {
            let refused = Refused::Suspended { principal: row.id.clone() };
            let event = refusal("token", "suspended", None, None);
            return Decided::with(vec![entry(now, &actor, None, event)], Err(refused));
        }
        self.begin_session(&row, SessionKind::Vouched, actor, "vouched", now)
    }

    fn begin_session(
        &self,
        row: &PrincipalRow,
        kind: SessionKind,
        actor: Actor,
        change: &str,
        now: Timestamp,
    ) -> Decided {
        let token = SessionToken::random();
        let session = SessionRow {
            layout: SessionRow::LAYOUT,
            id: SessionId::random(),
            digest: token.digest(),
            principal: row.id.clone(),
            organization: row.organization.clone(),
            role: row.role.clone(),
            address: actor.address.clone(),
            opened: now,
            expires: self.latest.plus_millis(LIFE_MS),
            kind,
            ended: false,
        };
        let actor = Actor { session: Some(session.id), ..actor };
        let event = Event::Session { change: change.to_owned() };
        let opened = OpenedSession { token, facts: session.facts() };
        Decided {
            rows: vec![Row::Session(Box::new(session.clone()))],
            then: vec![Then::Begin(Box::new(session))],
            ..Decided::with(
                vec![entry(now, &actor, None, event)],
                Ok(Outcome::Opened(Box::new(opened))),
            )
        }
    }

    /// Whether a session lives; it is thereby in use.
    pub fn decide_check_session(&mut self, claim: &Claim, now: Timestamp) -> Decided {
        let Claimant::Session(digest) = &claim.who else {
            return Decided::refused(Refused::NotSignedIn);
        };
        // A token that is none is not worth an entry: anybody can show one.
        if self.sessions.row(digest).is_none() {
            return Decided::refused(Refused::NotSignedIn);
        }
        if let Err(denied) = self.identify(claim, Act::OwnSession) {
            return denied.decided(None, now);
        }
        match self.sessions.use_one(digest, self.latest) {
            Some(session) => {
                Decided::with(Vec::new(), Ok(Outcome::Session(Box::new(session.facts()))))
            }
            None => Decided::refused(Refused::NotSignedIn),
        }
    }

    /// Ends a session; one that is over already is nobody's business.
    pub fn decide_close_session(&mut self, claim: &Claim, now: Timestamp) -> Decided {
        let nothing = || Decided::with(Vec::new(), Ok(Outcome::Done));
        let Claimant::Session(digest) = &claim.who else { return nothing() };
        if self.sessions.use_one(digest, self.latest).is_none() {
            return nothing();
        }
        let Some(row) = self.sessions.end(digest) else { return nothing() };
        let actor = Actor {
            principal: row.principal.clone(),
            session: Some(row.id),
            organization: Some(row.organization.clone()),
            address: claim.address.clone(),
        };
        let event = Event::Session { change: "closed".to_owned() };
        let rows = vec![Row::Session(Box::new(row))];
        Decided { rows, ..Decided::done(entry(now, &actor, None, event)) }
    }

    /// The entry of a wrong attempt to sign in. The name that was typed is the actor
    /// only when it is a principal's: what people mistype may be a password.
    pub fn decide_refuse_sign_in(
        &mut self,
        name: Option<&PrincipalId>,
        address: Option<String>,
        reason: &str,
        now: Timestamp,
    ) -> Decided {
        let actor = match name.and_then(|name| self.people.get(name)) {
            Some(row) => Actor {
                principal: row.id.clone(),
                session: None,
                organization: Some(row.organization.clone()),
                address,
            },
            None => actor_named("nobody", address),
        };
        Decided::done(entry(now, &actor, None, refusal("sign-in", reason, None, None)))
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

/// The scope under which the opening of one kept payload stands in the ledger.
fn inbox_scope(organization: &OrganizationId, message: u64, token: &[u8; 16]) -> String {
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
