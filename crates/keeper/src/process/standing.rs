//! What the ledger says about principals and the store: suspensions, budgets, bulk
//! grants, who was made, the last commit. Rebuilt from the ledger at start by the same code that
//! follows it while running.

use std::collections::{BTreeMap, HashMap, HashSet};

use holdfast_base::{CommitNumber, LedgerIndex, OrganizationId, PatientId, PrincipalId, Timestamp};
use holdfast_ledger::{Entry, Event, Filter, Ledger, Placed, ReadError};

use super::acts::{front_actor, organization_account, parse_inbox_scope};
use super::grants::Grants;
use crate::budget::{Budget, Usages};
use crate::people::{Throttle, throttle};

/// `Containment` action that suspends.
pub(super) const SUSPENDED: &str = "suspended";
/// `Containment` action that lifts.
pub(super) const LIFTED: &str = "lifted";

/// Entries read at once while rebuilding.
const ROUND: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Standing {
    suspended: BTreeMap<PrincipalId, String>,
    budgets: HashMap<PrincipalId, Budget>,
    pub grants: Grants,
    /// Principals that the keeper made, with their entry.
    made: HashSet<PrincipalId>,
    last_commit: Option<(CommitNumber, String)>,
}

impl Standing {
    /// Follows one durable entry, which stands at `index`.
    pub fn observe(&mut self, entry: &Entry, index: u64) {
        match &entry.event {
            Event::Containment { principal, action, reason, .. } => match action.as_str() {
                SUSPENDED => self.suspend(principal, reason),
                LIFTED => drop(self.suspended.remove(principal)),
                _ => {}
            },
            Event::BudgetChange { account, limits, .. } => {
                self.budgets.insert(account.clone(), Budget::from(*limits));
            }
            Event::BulkGrant { .. } => self.grants.observe(entry, index),
            Event::AccountChange { account, .. } => {
                self.made.insert(account.clone());
            }
            Event::StoreCommit { commit, chain } => {
                self.last_commit = Some((*commit, chain.clone()));
            }
            Event::Restored { commit, chain, .. } => {
                self.last_commit = Some((*commit, chain.clone()));
            }
            _ => {}
        }
    }

    /// Suspends at once, before the entry is durable: a failed write must not
    /// leave the principal free.
    pub fn suspend(&mut self, principal: &PrincipalId, reason: &str) {
        self.suspended.insert(principal.clone(), reason.to_owned());
    }

    pub fn is_suspended(&self, principal: &PrincipalId) -> bool {
        self.suspended.contains_key(principal)
    }

    /// Whether a principal may do nothing: suspended, or its whole organization is.
    pub fn is_barred(&self, principal: &PrincipalId, organization: &OrganizationId) -> bool {
        self.is_suspended(principal) || self.is_suspended(&organization_account(organization))
    }

    pub fn suspended(&self) -> Vec<(PrincipalId, String)> {
        self.suspended.iter().map(|(who, why)| (who.clone(), why.clone())).collect()
    }

    /// The budget in force: the principal's own, or that of its role.
    pub fn budget_of(&self, principal: &PrincipalId, role: &str) -> Budget {
        self.budgets.get(principal).copied().unwrap_or_else(|| Budget::for_role(role))
    }

    /// What the principals of `organization` may open together.
    pub fn organization_budget(&self, organization: &OrganizationId) -> Budget {
        let own = self.budgets.get(&organization_account(organization));
        own.copied().unwrap_or(Budget::ORGANIZATION)
    }

    /// Whether the ledger says that the principal was made.
    pub fn was_made(&self, principal: &PrincipalId) -> bool {
        self.made.contains(principal)
    }

    pub fn last_commit(&self) -> Option<(CommitNumber, String)> {
        self.last_commit.clone()
    }
}

/// What is rebuilt from the ledger.
pub(super) struct Rebuilt {
    pub standing: Standing,
    pub usages: Usages,
    pub throttle: Throttle,
    /// The latest time that is known: the clock's, or the last entry's when the
    /// clock stepped back in between.
    pub latest: Timestamp,
}

/// Rebuilds everything that the keeper knows about principals. Releases are read
/// from the entry `releases_from`, which must not be younger than a day.
pub(super) fn rebuild(
    ledger: &Ledger,
    releases_from: u64,
    now: Timestamp,
) -> Result<Rebuilt, ReadError> {
    let mut latest = now;
    if let Some(last) = ledger.len().checked_sub(1) {
        latest = latest.max(ledger.get(LedgerIndex(last))?.entry.at);
    }
    let mut standing = Standing::default();
    let changes = kinds(&["containment", "budget-change", "account-change", "bulk-grant"]);
    each(ledger, &changes, 0, |placed| standing.observe(&placed.entry, placed.index.0))?;
    standing.last_commit = last_commit(ledger)?;

    let mut usages = Usages::default();
    let from = standing.grants.oldest(latest).map_or(releases_from, |at| at.min(releases_from));
    let releases = kinds(&["key-release", "population-query", "service-key-release"]);
    each(ledger, &releases, from, |placed| match &placed.entry.event {
        Event::KeyRelease { organization, patient, .. } => {
            count(&mut standing, &mut usages, &placed, organization, *patient);
        }
        Event::PopulationQuery { organization, named, .. } => {
            for patient in named {
                count(&mut standing, &mut usages, &placed, organization, *patient);
            }
        }
        Event::ServiceKeyRelease { scope, .. } => {
            if let Some((organization, token)) = parse_inbox_scope(scope) {
                let payload = PatientId::from_bytes(token);
                let Entry { at, actor, .. } = &placed.entry;
                if actor.principal == front_actor(None).principal {
                    usages.of_inbox(&organization).record(payload, *at);
                } else {
                    count(&mut standing, &mut usages, &placed, &organization, payload);
                }
            }
        }
        _ => {}
    })?;
    standing.grants.sweep(latest);
    let throttle = rebuild_throttle(ledger, latest)?;
    Ok(Rebuilt { standing, usages, throttle, latest })
}

/// Counts one patient whom the entry `placed` told somebody: under the grant that
/// lived then, or in the budgets of the principal and of its organization.
fn count(
    standing: &mut Standing,
    usages: &mut Usages,
    placed: &Placed,
    organization: &OrganizationId,
    patient: PatientId,
) {
    let (at, actor) = (placed.entry.at, &placed.entry.actor);
    let index = placed.index.0;
    if standing.grants.replay(&actor.principal, organization, patient, at, index) {
        return;
    }
    usages.of(&actor.principal).record(patient, at);
    if let Some(home) = &actor.organization {
        usages.of_organization(home).record(patient, at);
    }
}

/// Who has to wait with the next attempt to sign in.
fn rebuild_throttle(ledger: &Ledger, now: Timestamp) -> Result<Throttle, ReadError> {
    let throttle = Throttle::default();
    let from = Some(now.plus_millis(-2 * throttle::WAIT_MS_MAX));
    let filter = Filter { from, ..kinds(&["refusal", "session"]) };
    each(ledger, &filter, 0, |placed| {
        let Entry { at, actor, event, .. } = &placed.entry;
        let keys = Throttle::keys(actor.principal.as_str(), actor.address.as_deref());
        match event {
            Event::Refusal { door, reason, .. }
                if door == "sign-in" && reason == "wrong-credentials" =>
            {
                throttle.failed(&keys, *at);
            }
            Event::Session { change } if change == "opened" => throttle.succeeded(&keys),
            _ => {}
        }
    })?;
    Ok(throttle)
}

/// The last state of the store, looked for from the end.
fn last_commit(ledger: &Ledger) -> Result<Option<(CommitNumber, String)>, ReadError> {
    let commits = kinds(&["store-commit", "restored"]);
    let (len, mut span) = (ledger.len(), 1_000);
    loop {
        let from = len.saturating_sub(span);
        let mut last = None;
        each(ledger, &commits, from, |placed| {
            if let Event::StoreCommit { commit, chain } | Event::Restored { commit, chain, .. } =
                placed.entry.event
            {
                last = Some((commit, chain));
            }
        })?;
        if last.is_some() || from == 0 {
            return Ok(last);
        }
        span = span.saturating_mul(10);
    }
}

pub(super) fn kinds(names: &[&str]) -> Filter {
    Filter { kinds: names.iter().map(|name| (*name).to_owned()).collect(), ..Filter::default() }
}

/// Calls `visit` for every entry from index `from` on that matches.
pub(super) fn each(
    ledger: &Ledger,
    filter: &Filter,
    from: u64,
    mut visit: impl FnMut(Placed),
) -> Result<(), ReadError> {
    let mut after = from.checked_sub(1).map(LedgerIndex);
    loop {
        let found = ledger.query(filter, after, ROUND)?;
        let count = found.len();
        for placed in found {
            after = Some(placed.index);
            visit(placed);
        }
        if count < ROUND {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::Actor;

    use super::*;

    fn principal(name: &str) -> PrincipalId {
        PrincipalId::new(name).expect("a valid name")
    }

    fn entry(event: Event) -> Entry {
        let actor = Actor {
            principal: principal("officer"),
            session: None,
            organization: None,
            address: None,
        };
        Entry { at: Timestamp::MIN, actor, request: None, event }
    }

    #[test]
    fn a_budget_of_ones_own_goes_over_the_roles() {
        let mut standing = Standing::default();
        let who = principal("dr.okafor");
        let lakeside = OrganizationId::new("lakeside").expect("a valid name");
        assert_eq!(standing.budget_of(&who, "clinician"), Budget::for_role("clinician"));
        for account in [who.clone(), organization_account(&lakeside)] {
            let (limits, reason) = ([1, 2, 3], "test".to_owned());
            standing.observe(&entry(Event::BudgetChange { account, limits, reason }), 1);
        }
        assert_eq!(standing.budget_of(&who, "system"), Budget::new(1, 2, 3));
        assert_eq!(standing.organization_budget(&lakeside), Budget::new(1, 2, 3));
        let other = OrganizationId::new("hillside").expect("a valid name");
        assert_eq!(standing.organization_budget(&other), Budget::ORGANIZATION);
    }

    #[test]
    fn only_suspending_suspends_and_only_lifting_lifts() {
        let mut standing = Standing::default();
        let who = principal("dr.okafor");
        for (action, suspended) in [
            ("sessions-revoked", false),
            (SUSPENDED, true),
            ("sessions-revoked", true),
            (LIFTED, false),
        ] {
            standing.observe(
                &entry(Event::Containment {
                    principal: who.clone(),
                    action: action.to_owned(),
                    reason: "test".to_owned(),
                    incident: None,
                }),
                1,
            );
            assert_eq!(standing.is_suspended(&who), suspended, "{action}");
        }
    }
}
