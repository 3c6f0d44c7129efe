//! What the ledger says about principals and the store: suspensions, budgets,
//! roles, the last commit. Rebuilt from the ledger at start by the same code that
//! follows it while running.

use std::collections::{BTreeMap, HashMap};

use holdfast_base::{CommitNumber, LedgerIndex, PrincipalId, Timestamp};
use holdfast_ledger::{Entry, Event, Filter, Ledger, Placed, ReadError};

use crate::budget::{Budget, DAY_MS, Usages};

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
    roles: HashMap<PrincipalId, String>,
    last_commit: Option<(CommitNumber, String)>,
}

impl Standing {
    /// Follows one durable entry.
    pub fn observe(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Containment { principal, action, reason, .. } => match action.as_str() {
                SUSPENDED => self.suspend(principal, reason),
                LIFTED => drop(self.suspended.remove(principal)),
                _ => {}
            },
            Event::BudgetChange { account, limits, .. } => {
                self.budgets.insert(account.clone(), Budget::from(*limits));
            }
            Event::AccountChange { account, role, .. } => {
                self.roles.insert(account.clone(), role.clone());
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

    pub fn suspended(&self) -> Vec<(PrincipalId, String)> {
        self.suspended.iter().map(|(who, why)| (who.clone(), why.clone())).collect()
    }

    /// The budget in force: the principal's own, or that of its role. A front
    /// process that claims a better role than the ledger knows gains nothing.
    pub fn budget(&self, principal: &PrincipalId, claimed_role: &str) -> Budget {
        if let Some(own) = self.budgets.get(principal) {
            return *own;
        }
        let claimed = Budget::for_role(claimed_role);
        let known = self.roles.get(principal).and_then(|role| Budget::of_known_role(role));
        known.map_or(claimed, |known| known.stricter(claimed))
    }

    /// The budget to compare a change with.
    pub fn budget_before(&self, principal: &PrincipalId) -> Budget {
        let role = self.roles.get(principal).map_or("", String::as_str);
        self.budgets.get(principal).copied().unwrap_or_else(|| Budget::for_role(role))
    }

    pub fn last_commit(&self) -> Option<(CommitNumber, String)> {
        self.last_commit.clone()
    }
}

/// Rebuilds everything that the keeper knows about principals. Releases are read
/// from the entry `releases_from`, which must not be younger than a day.
pub(super) fn rebuild(
    ledger: &Ledger,
    releases_from: u64,
    now: Timestamp,
) -> Result<(Standing, Usages), ReadError> {
    let mut standing = Standing::default();
    let changes = kinds(&["containment", "budget-change", "account-change"]);
    each(ledger, &changes, 0, |placed| standing.observe(&placed.entry))?;
    standing.last_commit = last_commit(ledger)?;

    let mut usages = Usages::default();
    let day_ago = now.plus_millis(-DAY_MS);
    let releases = Filter { from: Some(day_ago), ..kinds(&["key-release", "population-query"]) };
    each(ledger, &releases, releases_from, |placed| {
        let usage = usages.of(&placed.entry.actor.principal);
        match placed.entry.event {
            Event::KeyRelease { patient, .. } => usage.record(patient, placed.entry.at),
            Event::PopulationQuery { named, .. } => {
                named.into_iter().for_each(|patient| usage.record(patient, placed.entry.at));
            }
            _ => {}
        }
    })?;
    Ok((standing, usages))
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
    fn a_claimed_role_gains_nothing_over_the_one_in_the_ledger() {
        let mut standing = Standing::default();
        let who = principal("dr.okafor");
        let system = Budget::for_role("system");
        assert_eq!(standing.budget(&who, "system"), system);
        standing.observe(&entry(Event::AccountChange {
            account: who.clone(),
            change: "created".to_owned(),
            role: "clinician".to_owned(),
        }));
        assert_eq!(standing.budget(&who, "system"), Budget::for_role("clinician"));
        assert_eq!(standing.budget(&who, "patient"), Budget::for_role("patient"));
        standing.observe(&entry(Event::BudgetChange {
            account: who.clone(),
            limits: [1, 2, 3],
            reason: "test".to_owned(),
        }));
        assert_eq!(standing.budget(&who, "system"), Budget::new(1, 2, 3));
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
            standing.observe(&entry(Event::Containment {
                principal: who.clone(),
                action: action.to_owned(),
                reason: "test".to_owned(),
                incident: None,
            }));
            assert_eq!(standing.is_suspended(&who), suspended, "{action}");
        }
    }
}
