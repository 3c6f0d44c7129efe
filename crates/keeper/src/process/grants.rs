//! Bulk grants: more patients than a budget allows, by two people, with a ceiling
//! and an end. They live in the ledger and nowhere else.

use std::collections::{BTreeMap, HashSet};

use holdfast_base::{OrganizationId, PatientId, PrincipalId, RequestId, Timestamp};
use holdfast_ledger::{Entry, Event};
use serde::{Deserialize, Serialize};

use crate::budget::{Over, Window};

/// Longest life of a grant.
pub(super) const LIFE_MS_MAX: i64 = 7 * 86_400_000;

pub(super) const PROPOSED: &str = "proposed";
pub(super) const APPROVED: &str = "approved";
pub(super) const REVOKED: &str = "revoked";

/// A bulk grant that waits for its second person, or lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkGrant {
    /// Its number.
    pub id: RequestId,
    /// The organization whose records it is for.
    pub organization: OrganizationId,
    /// The principal who may use it.
    pub account: PrincipalId,
    /// Distinct patients, at most, over its whole life.
    pub patients_max: u32,
    /// Distinct patients that were opened under it.
    pub patients_count: u64,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Who proposed it.
    pub proposed_by: PrincipalId,
    /// Who approved it; nobody yet: it waits.
    pub approved_by: Option<PrincipalId>,
}

/// What is asked for with a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantProposal {
    /// The organization whose records it is for.
    pub organization: OrganizationId,
    /// The principal who may use it.
    pub account: PrincipalId,
    /// Distinct patients, at most, over its whole life.
    pub patients_max: u32,
    /// When it ends by itself: within seven days.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

#[derive(Debug)]
struct Grant {
    facts: BulkGrant,
    opened: HashSet<PatientId>,
    /// Where in the ledger its life began, and ended before its time.
    from: Option<u64>,
    to: Option<u64>,
}

/// Grants that wait or live, and while the keeper starts those that did.
#[derive(Debug, Default)]
pub(super) struct Grants(BTreeMap<RequestId, Grant>);

impl Grants {
    /// Follows one durable entry, which stands at `index`.
    pub fn observe(&mut self, entry: &Entry, index: u64) {
        let Event::BulkGrant { grant, step, account, organization, patients_max, until, reason } =
            &entry.event
        else {
            return;
        };
        match step.as_str() {
            PROPOSED => {
                let facts = BulkGrant {
                    id: *grant,
                    organization: organization.clone(),
                    account: account.clone(),
                    patients_max: *patients_max,
                    patients_count: 0,
                    until: *until,
                    reason: reason.clone(),
                    proposed_by: entry.actor.principal.clone(),
                    approved_by: None,
                };
                let waiting = Grant { facts, opened: HashSet::new(), from: None, to: None };
                self.0.entry(*grant).or_insert(waiting);
            }
            APPROVED => {
                if let Some(grant) = self.0.get_mut(grant)
                    && grant.from.is_none()
                {
                    grant.facts.approved_by = Some(entry.actor.principal.clone());
                    grant.from = Some(index);
                }
            }
            REVOKED => {
                if let Some(grant) = self.0.get_mut(grant)
                    && grant.to.is_none()
                {
                    grant.to = Some(index);
                }
            }
            _ => {}
        }
    }

    /// Counts a release of the ledger under the grant that lived then; `false` when
    /// there was none.
    pub fn replay(
        &mut self,
        account: &PrincipalId,
        organization: &OrganizationId,
        patient: PatientId,
        at: Timestamp,
        index: u64,
    ) -> bool {
        let lived = |grant: &&mut Grant| {
            grant.facts.account == *account
                && grant.facts.organization == *organization
                && grant.from.is_some_and(|from| from < index)
                && grant.to.is_none_or(|to| index < to)
                && at < grant.facts.until
        };
        let grant = self.0.values_mut().find(lived);
        grant.is_some_and(|grant| {
            if !patient.is_nobody() {
                grant.opened.insert(patient);
            }
            true
        })
    }

    /// Where the life of the oldest grant that still lives began.
    pub fn oldest(&self, now: Timestamp) -> Option<u64> {
        self.0.values().filter(|grant| grant.is_open(now)).filter_map(|grant| grant.from).min()
    }

    /// Lets go what is over.
    pub fn sweep(&mut self, now: Timestamp) {
        self.0.retain(|_, grant| grant.is_open(now));
    }

    /// Whether `account` has a grant for records of `organization` that lives.
    pub fn lives(
        &self,
        account: &PrincipalId,
        organization: &OrganizationId,
        now: Timestamp,
    ) -> Option<RequestId> {
        let of = |grant: &&Grant| {
            grant.facts.account == *account
                && grant.facts.organization == *organization
                && grant.from.is_some()
                && grant.is_open(now)
        };
        self.0.values().find(of).map(|grant| grant.facts.id)
    }

    /// Counts `asked` under a grant when all of it fits, or nothing.
    pub fn admit(&mut self, id: RequestId, asked: &HashSet<PatientId>) -> Result<(), Over> {
        let Some(grant) = self.0.get_mut(&id) else { return Ok(()) };
        let opened = grant.opened.len() as u64;
        let fresh = asked.difference(&grant.opened).count() as u64;
        let limit = grant.facts.patients_max;
        if opened + fresh > u64::from(limit) {
            return Err(Over { window: Window::Grant, limit, opened, asked: fresh });
        }
        grant.opened.extend(asked);
        Ok(())
    }

    /// A grant that waits or lives.
    pub fn get(&self, id: RequestId, now: Timestamp) -> Option<BulkGrant> {
        self.0.get(&id).filter(|grant| grant.is_open(now)).map(Grant::view)
    }

    /// Grants that wait or live.
    pub fn list(&self, now: Timestamp) -> Vec<BulkGrant> {
        self.0.values().filter(|grant| grant.is_open(now)).map(Grant::view).collect()
    }
}

impl Grant {
    fn is_open(&self, now: Timestamp) -> bool {
        self.to.is_none() && now < self.facts.until
    }

    fn view(&self) -> BulkGrant {
        BulkGrant { patients_count: self.opened.len() as u64, ..self.facts.clone() }
    }
}
