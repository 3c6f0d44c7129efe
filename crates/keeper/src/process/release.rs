//! Deciding a release: who asks, may they, is the patient known, is it within the
//! budgets? In that order, so that a suspended principal learns nothing and an
//! unknown patient costs nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdfast_base::{
    ClassSet, OrganizationId, PatientId, PrincipalId, Purpose, RequestId, Timestamp,
};
use holdfast_ledger::{Actor, Event};

use super::acts::{
    Claim, Denied, Identity, ORGANIZATION_BUDGET, SERVICE_BUDGET, organization_account, refusal,
};
use super::rules::Act;
use super::scribe::{Decided, NewKey, Outcome, Scribe, entry, key_releases};
use crate::budget::{FRONT_ROLE, Over, Window, distinct};
use crate::error::{NotPermitted, Refused};
use crate::keyring::Keys;
use crate::primitive::Secret;
use crate::table::{Found, KeyTable, Organization, TableError};

/// Reason of releases of a bulk export: given under a bulk grant that lives, and not
/// otherwise.
pub const BULK_EXPORT: &str = "bulk-export";

/// A release that is asked for, with the keys that were found beforehand.
pub(super) struct Release {
    pub claim: Claim,
    pub request: RequestId,
    pub organization: Arc<Organization>,
    pub patients: Vec<PatientId>,
    pub classes: ClassSet,
    pub purpose: Purpose,
    pub reason: String,
    pub create_missing: bool,
    pub looked_up: LookedUp,
}

/// Keys that were looked up outside of the scribe's thread, which must not wait
/// for the disk when it need not.
pub(super) struct LookedUp {
    found: HashMap<PatientId, Keys>,
    forgets: u64,
}

impl LookedUp {
    /// Looks every patient up. Damage and absence are left to the decision.
    pub fn read(table: &KeyTable, organization: &Organization, patients: &[PatientId]) -> Self {
        let forgets = table.forgets();
        let mut found = HashMap::with_capacity(patients.len());
        for patient in patients {
            if let Ok(Found::Key(key)) = table.find(organization, *patient) {
                found.insert(*patient, key);
            }
        }
        Self { found, forgets }
    }
}

enum Missing {
    Unknown,
    Forgotten,
    Table(TableError),
}

/// Decides `asked`.
pub(super) fn decide(scribe: &mut Scribe, asked: Release, now: Timestamp) -> Decided {
    let who = match scribe.identify(&asked.claim, Act::Release) {
        Ok(who) => who,
        Err(Denied { actor, reason, refused }) => {
            return refuse(&asked, &actor, reason, refused, now, None);
        }
    };
    let actor = &who.actor;
    // An interface sends for its own organization and has no business elsewhere.
    let patients = distinct(&asked.patients);
    let elsewhere = actor.organization.as_ref() != Some(&asked.organization.id);
    if who.role == "system" && elsewhere && !patients.is_empty() {
        let why = NotPermitted::OtherOrganization;
        return refuse(&asked, actor, why.as_str(), why.into(), now, None);
    }
    // Within a budget or not: a whole population is taken out by two people only.
    if asked.reason == BULK_EXPORT
        && scribe
            .standing
            .grants
            .lives(&actor.principal, &asked.organization.id, scribe.latest)
            .is_none()
    {
        let why = NotPermitted::NoBulkGrant;
        return refuse(&asked, actor, why.as_str(), why.into(), now, None);
    }
    let (keys, new_keys) = match collect(scribe, &asked) {
        Ok(collected) => collected,
        Err(Missing::Unknown) => {
            return refuse(&asked, actor, "unknown-patient", Refused::UnknownPatient, now, None);
        }
        Err(Missing::Forgotten) => {
            let refused = Refused::ForgottenPatient;
            return refuse(&asked, actor, "forgotten-patient", refused, now, None);
        }
        Err(Missing::Table(error)) => return Decided::refused(error),
    };
    if let Err(over) = admit(scribe, &who, &asked.organization.id, &patients, now) {
        return refuse_over(&asked, &who, over, now);
    }
    for (organization, patient, key) in &new_keys {
        scribe.pending.insert((organization.id.clone(), *patient), key.clone());
    }
    let mut seen = HashSet::new();
    let once: Vec<PatientId> =
        asked.patients.iter().copied().filter(|patient| seen.insert(*patient)).collect();
    let id = &asked.organization.id;
    let events = key_releases(id, &once, asked.classes, asked.purpose, &asked.reason);
    let entries =
        events.into_iter().map(|event| entry(now, actor, Some(asked.request), event)).collect();
    Decided { new_keys, ..Decided::with(entries, Ok(Outcome::Keys(keys))) }
}

/// A request that does not fit, and into whose budget.
pub(super) struct OverWhose {
    over: Over,
    account: PrincipalId,
    pub reason: &'static str,
    detector: &'static str,
}

impl OverWhose {
    /// The refusal, and what is told of it.
    pub fn told(self, principal: &PrincipalId) -> (Refused, Event) {
        let Self { over, account, detector, .. } = self;
        let alert = alert(principal, detector, over, "patients");
        let (window, limit) = (over.window, over.limit);
        (Refused::OverBudget { principal: account, window, limit }, alert)
    }
}

/// Counts what is told of `patients` of `organization` under a grant that lives, or in the budgets of the principal
/// and of its organization: in all of them, or in none.
pub(super) fn admit(
    scribe: &mut Scribe,
    who: &Identity,
    organization: &OrganizationId,
    patients: &HashSet<PatientId>,
    now: Timestamp,
) -> Result<(), OverWhose> {
    let principal = &who.actor.principal;
    let own = |over| {
        let front = who.role == FRONT_ROLE;
        let reason = if front { "service-over-budget" } else { "over-budget" };
        let detector = if front { SERVICE_BUDGET } else { "keeper-budget" };
        OverWhose { over, account: principal.clone(), reason, detector }
    };
    let latest = scribe.latest;
    if let Some(grant) = scribe.standing.grants.lives(principal, organization, latest) {
        return scribe.standing.grants.admit(grant, patients).map_err(own);
    }
    let budget = scribe.standing.budget_of(principal, &who.role);
    scribe.usages.of(principal).has_room(budget, patients, now).map_err(own)?;
    if let Some(home) = &who.actor.organization {
        let budget = scribe.standing.organization_budget(home);
        let usage = scribe.usages.of_organization(home);
        usage.has_room(budget, patients, now).map_err(|over| OverWhose {
            over,
            account: organization_account(home),
            reason: "organization-over-budget",
            detector: ORGANIZATION_BUDGET,
        })?;
        usage.record_all(patients, now);
    }
    scribe.usages.of(principal).record_all(patients, now);
    Ok(())
}

fn refuse_over(asked: &Release, who: &Identity, whose: OverWhose, now: Timestamp) -> Decided {
    let reason = whose.reason;
    // An export goes as far as its grant and waits for another: no sign of misuse.
    let expected = asked.reason == BULK_EXPORT && whose.over.window == Window::Grant;
    let (refused, alert) = whose.told(&who.actor.principal);
    refuse(asked, &who.actor, reason, refused, now, (!expected).then_some(alert))
}

/// The keys in the order that they were asked for, and those that must be made.
fn collect(scribe: &Scribe, asked: &Release) -> Result<(Vec<Keys>, Vec<NewKey>), Missing> {
    let fresh = asked.looked_up.forgets == scribe.table.forgets();
    let mut keys = Vec::with_capacity(asked.patients.len());
    let mut new_keys: Vec<NewKey> = Vec::new();
    let mut made: HashMap<PatientId, Keys> = HashMap::new();
    for patient in &asked.patients {
        if scribe.forgetting.contains(&(asked.organization.id.clone(), *patient)) {
            return Err(Missing::Forgotten);
        }
        let looked_up = asked.looked_up.found.get(patient).filter(|_| fresh);
        if let Some(key) = looked_up.or_else(|| made.get(patient)) {
            keys.push(key.clone());
            continue;
        }
        let pending = scribe.pending.get(&(asked.organization.id.clone(), *patient));
        if let Some(key) = pending {
            // Made by an earlier request of this group: this one depends on it too.
            new_keys.push((Arc::clone(&asked.organization), *patient, key.clone()));
            made.insert(*patient, Keys::first(key.clone()));
            keys.push(Keys::first(key.clone()));
            continue;
        }
        match scribe.table.find(&asked.organization, *patient) {
            Ok(Found::Key(key)) => keys.push(key),
            Ok(Found::Forgotten) => return Err(Missing::Forgotten),
            Ok(Found::Unknown) if asked.create_missing => {
                let key = Secret::random();
                new_keys.push((Arc::clone(&asked.organization), *patient, key.clone()));
                made.insert(*patient, Keys::first(key.clone()));
                keys.push(Keys::first(key));
            }
            Ok(Found::Unknown) => return Err(Missing::Unknown),
            Err(error) => return Err(Missing::Table(error)),
        }
    }
    Ok((keys, new_keys))
}

/// A refusal with its entry, and the alert when there is one.
fn refuse(
    asked: &Release,
    actor: &Actor,
    reason: &str,
    refused: Refused,
    now: Timestamp,
    alert: Option<Event>,
) -> Decided {
    // Which of several patients it was about nobody can say.
    let patient = match asked.patients.as_slice() {
        [patient] => Some(*patient),
        _ => None,
    };
    let refusal = refusal("keeper", reason, patient, Some(asked.organization.id.clone()));
    let events = std::iter::once(refusal).chain(alert);
    let entries = events.map(|event| entry(now, actor, Some(asked.request), event));
    Decided::with(entries.collect(), Err(refused))
}

/// What is told of a budget that is used up; `what` is counted in it.
pub(super) fn alert(principal: &PrincipalId, detector: &str, over: Over, what: &str) -> Event {
    let Over { window, limit, opened, asked: further } = over;
    Event::Alert {
        detector: detector.to_owned(),
        principal: principal.clone(),
        patients_count: opened + further,
        severity: "critical".to_owned(),
        summary: format!(
            "asked for {further} more distinct {what} after {opened} in one {}; the limit is {limit}",
            window.as_str()
        ),
    }
}
