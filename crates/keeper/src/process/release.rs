//! Deciding a release: suspended? known? within the budget? In that order, so
//! that a suspended principal learns nothing and an unknown patient costs nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdfast_base::{ClassSet, PatientId, PrincipalId, Purpose, RequestId, Timestamp};
use holdfast_ledger::{Actor, Event};

use super::scribe::{Decided, NewKey, Outcome, Scribe, entry, key_releases};
use crate::budget::Over;
use crate::error::Refused;
use crate::keyring::Keys;
use crate::primitive::Secret;
use crate::table::{Found, KeyTable, Organization, TableError};

/// A release that is asked for, with the keys that were found beforehand.
pub(super) struct Release {
    pub actor: Actor,
    pub role: String,
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
    let principal = &asked.actor.principal;
    if scribe.standing.is_suspended(principal) {
        let refused = Refused::Suspended { principal: principal.clone() };
        return refuse(&asked, "suspended", refused, now, None);
    }
    let (keys, new_keys) = match collect(scribe, &asked) {
        Ok(collected) => collected,
        Err(Missing::Unknown) => {
            return refuse(&asked, "unknown-patient", Refused::UnknownPatient, now, None);
        }
        Err(Missing::Forgotten) => {
            return refuse(&asked, "forgotten-patient", Refused::ForgottenPatient, now, None);
        }
        Err(Missing::Table(error)) => return Decided::refused(error),
    };
    let budget = scribe.standing.budget(principal, &asked.role);
    if let Err(over) = scribe.usages.of(principal).admit(budget, &asked.patients, now) {
        let (window, limit) = (over.window, over.limit);
        let refused = Refused::OverBudget { principal: principal.clone(), window, limit };
        return refuse(&asked, "over-budget", refused, now, Some(alert(&asked, over)));
    }
    for (organization, patient, key) in &new_keys {
        scribe.pending.insert((organization.id.clone(), *patient), key.clone());
    }
    let mut seen = HashSet::new();
    let distinct: Vec<PatientId> =
        asked.patients.iter().copied().filter(|patient| seen.insert(*patient)).collect();
    let id = &asked.organization.id;
    let events = key_releases(id, &distinct, asked.classes, asked.purpose, &asked.reason);
    let entries = events
        .into_iter()
        .map(|event| entry(now, &asked.actor, Some(asked.request), event))
        .collect();
    Decided { new_keys, ..Decided::with(entries, Ok(Outcome::Keys(keys))) }
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
    let refusal = Event::Refusal {
        door: "keeper".to_owned(),
        reason: reason.to_owned(),
        patient,
        organization: Some(asked.organization.id.clone()),
    };
    let events = std::iter::once(refusal).chain(alert);
    let entries = events.map(|event| entry(now, &asked.actor, Some(asked.request), event));
    Decided::with(entries.collect(), Err(refused))
}

fn alert(asked: &Release, over: Over) -> Event {
    budget_alert(&asked.actor.principal, over)
}

/// The alert that a principal is over its budget.
pub(super) fn budget_alert(principal: &PrincipalId, over: Over) -> Event {
    let Over { window, limit, opened, asked: further } = over;
    Event::Alert {
        detector: "keeper-budget".to_owned(),
        principal: principal.clone(),
        patients_count: opened + further,
        severity: "critical".to_owned(),
        summary: format!(
            "asked for {further} more distinct patients after {opened} in one {}; the limit is {limit}",
            window.as_str()
        ),
    }
}
