//! Principals and their sessions: enrolling, secrets, signing in and out.

use std::sync::Arc;

use holdfast_base::{PrincipalId, SessionId, Timestamp};
use holdfast_ledger::{Actor, Event};

use super::acts::{Claim, Claimant, Identity, actor_named, front_actor, refusal};
use super::rules::{Act, SET_UP_ROLE};
use super::scribe::{Decided, Outcome, Scribe, Then, entry};
use super::sessions::LIFE_MS;
use crate::budget::{Budget, FRONT_ROLE};
use crate::error::{Malformed, NotPermitted, Refused};
use crate::people::{
    ADMINISTRATOR, Kind, OpenedSession, PrincipalRow, Row, SessionKind, SessionRow, SessionToken,
    is_reserved, is_shared,
};

impl Scribe {
    /// Makes a principal. `row` was made beforehand: hashing takes its time.
    pub fn decide_enrol(&mut self, claim: &Claim, row: PrincipalRow, now: Timestamp) -> Decided {
        let who = match self.identify_for(claim, Act::Principals, Some(&row.organization)) {
            Ok(who) => who,
            Err(denied) => return denied.decided(Some(&row.organization), now),
        };
        if who.role == SET_UP_ROLE && row.role != ADMINISTRATOR {
            return Decided::refused(NotPermitted::FirstIsAdministrator);
        }
        // Administrators work for one organization: that makes it the one that runs the
        // exchange, whose officers reach everywhere.
        let elsewhere = who.role != SET_UP_ROLE && !self.people.runs_exchange(&row.organization);
        if row.role == ADMINISTRATOR && elsewhere {
            return Decided::refused(NotPermitted::OtherOrganization);
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

    /// A principal that is to be changed, and who changes it, if they may.
    fn open_for(
        &mut self,
        claim: &Claim,
        principal: &PrincipalId,
        now: Timestamp,
    ) -> Result<(Identity, Arc<PrincipalRow>), Box<Decided>> {
        let home = self.home_of(principal);
        let who = match self.identify_for(claim, Act::Principals, home.as_ref()) {
            Ok(who) => who,
            Err(denied) => return Err(Box::new(denied.decided(home.as_ref(), now))),
        };
        match self.people.open_one(principal) {
            Some(row) => Ok((who, row)),
            None => Err(Box::new(Decided::refused(Refused::UnknownPrincipal))),
        }
    }

    /// Gives a person new secrets, or a system another certificate; ends its sessions.
    pub fn decide_reset(
        &mut self,
        claim: &Claim,
        principal: &PrincipalId,
        kind: Kind,
        now: Timestamp,
    ) -> Decided {
        let (who, row) = match self.open_for(claim, principal, now) {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        let same = matches!(row.kind, Kind::Person { .. }) == matches!(kind, Kind::Person { .. });
        if !same {
            return Decided::refused(Malformed::Principal);
        }
        let row = PrincipalRow { kind, ..(*row).clone() };
        let changed = self.change(&who.actor, row, "secret-reset", now);
        self.ending_sessions(changed, principal)
    }

    /// Gives an administrator new secrets for whoever has shown the passphrase or PIN
    /// that opens the root; only what showed it comes this far.
    pub fn decide_recover(
        &mut self,
        principal: &PrincipalId,
        kind: Kind,
        now: Timestamp,
    ) -> Decided {
        let shown = Claim { who: Claimant::Operator, address: None };
        let who = match self.identify(&shown, Act::RecoverAdministrator) {
            Ok(who) => who,
            Err(denied) => return denied.decided(None, now),
        };
        let Some(row) = self.people.open_one(principal) else {
            return Decided::refused(Refused::UnknownPrincipal);
        };
        if row.role != ADMINISTRATOR {
            return Decided::refused(NotPermitted::Role);
        }
        let row = PrincipalRow { kind, ..(*row).clone() };
        let changed = self.change(&who.actor, row, "recovered", now);
        self.ending_sessions(changed, principal)
    }

    /// Closes a principal for good; ends its sessions. The name is never given again.
    pub fn decide_close(
        &mut self,
        claim: &Claim,
        principal: &PrincipalId,
        now: Timestamp,
    ) -> Decided {
        let (who, row) = match self.open_for(claim, principal, now) {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        // Without one, the exchange would be open to whoever sets it up.
        if row.role == ADMINISTRATOR && !self.people.has_other_administrator(principal) {
            return Decided::refused(NotPermitted::LastAdministrator);
        }
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
        if self.standing.is_barred(principal, &row.organization) {
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
        if self.standing.is_barred(&row.id, &row.organization) {
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
}
