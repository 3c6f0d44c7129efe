//! The watch: what it remembers, and how findings open and grow.

use std::collections::{BTreeSet, HashMap, HashSet};

use holdfast_base::{PatientId, PrincipalId, Timestamp};
use holdfast_ledger::{Entry, Event, Placed};

use crate::detectors::Detected;
use crate::recent::Recent;
use crate::{Finding, Settings};

/// Who a finding is kept under: a principal or, for probing, an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Principal(PrincipalId),
    Address(String),
}

/// Observes the ledger, entry after entry.
///
/// After a restart, feed it the entries of the last day: findings that were
/// open then open again under new numbers, so act on those only once
/// (containment is idempotent).
#[derive(Debug)]
pub struct Watch {
    pub(crate) settings: Settings,
    pub(crate) honey: HashSet<PatientId>,
    pub(crate) roles: HashMap<PrincipalId, String>,
    pub(crate) unrelated: HashMap<PrincipalId, Recent<PatientId>>,
    pub(crate) released: HashMap<PrincipalId, Recent<PatientId>>,
    pub(crate) refusals: HashMap<Subject, Recent<u64>>,
    pub(crate) refusals_count: u64,
    open: HashMap<(&'static str, Subject), Finding>,
    findings_count: u64,
    latest: Timestamp,
    tidied: Timestamp,
}

impl Watch {
    /// A watch that has seen nothing yet.
    pub fn new(settings: Settings, honey: HashSet<PatientId>) -> Self {
        Self {
            settings,
            honey,
            roles: HashMap::new(),
            unrelated: HashMap::new(),
            released: HashMap::new(),
            refusals: HashMap::new(),
            refusals_count: 0,
            open: HashMap::new(),
            findings_count: 0,
            latest: Timestamp::MIN,
            tidied: Timestamp::MIN,
        }
    }

    /// Replaces the honey patients. Touches before this are not looked at again.
    pub fn set_honey(&mut self, honey: HashSet<PatientId>) {
        self.honey = honey;
    }

    /// Tells the role of an account (`clinician`, `system`, …). The ledger's
    /// account entries tell it too; at a start, tell it for every account that
    /// exists, or intake of a honey patient by an unknown account is a finding.
    pub fn set_role(&mut self, principal: PrincipalId, role: &str) {
        self.roles.insert(principal, role.to_owned());
    }

    /// Takes one entry and returns the findings that it opened or made grow,
    /// each as it stands now. Feed entries in the order of the ledger; within
    /// the span of a detector the order does not matter.
    pub fn observe(&mut self, placed: &Placed) -> Vec<Finding> {
        let entry = &placed.entry;
        self.latest = self.latest.max(entry.at);
        self.tidy();
        match &entry.event {
            Event::AccountChange { account, role, .. } => {
                self.set_role(account.clone(), role);
                return Vec::new();
            }
            Event::Containment { principal, action, .. } if action == "lifted" => {
                self.pardon(principal);
                return Vec::new();
            }
            _ => {}
        }
        let detected = self.detect(entry);
        detected.into_iter().filter_map(|found| self.grow(entry, found)).collect()
    }

    /// The findings that still grow, as they stand now, in the order in which
    /// they were opened. Times and counts move on without being news.
    pub fn open_findings(&self) -> Vec<&Finding> {
        let mut open: Vec<_> = self.open.values().collect();
        open.sort_by_key(|finding| finding.number);
        open
    }

    /// Somebody looked into it and lifted the containment: start anew, or the
    /// next chart would suspend again for what was already judged.
    fn pardon(&mut self, principal: &PrincipalId) {
        self.unrelated.remove(principal);
        self.released.remove(principal);
        let subject = Subject::Principal(principal.clone());
        self.open.retain(|(_, of), _| *of != subject);
    }

    /// Opens or grows the finding; returns it when that is news.
    fn grow(&mut self, entry: &Entry, found: Detected) -> Option<Finding> {
        let window_ms = self.settings.finding_window_ms;
        let key = (found.detector, found.subject);
        let present = self.open.get(&key).filter(|f| entry.at.millis_since(f.last) < window_ms);
        let is_new = present.is_none();
        if is_new {
            self.findings_count += 1;
            let opened = Finding {
                number: self.findings_count,
                detector: found.detector,
                principal: entry.actor.principal.clone(),
                session: None,
                address: None,
                severity: found.severity,
                patients: BTreeSet::new(),
                first: found.first,
                last: found.last,
                entries_count: 0,
                summary: String::new(),
                response: found.response,
            };
            self.open.insert(key.clone(), opened);
        }
        let finding = self.open.get_mut(&key)?;
        let before = (finding.patients.len(), finding.severity, finding.response);
        finding.patients.extend(found.patients);
        finding.severity = finding.severity.max(found.severity);
        finding.response = finding.response.max(found.response);
        finding.first = finding.first.min(found.first);
        finding.entries_count += 1;
        finding.principal = found.principal;
        finding.last = finding.last.max(found.last);
        if entry.at >= finding.last || is_new {
            finding.session = entry.actor.session.or(finding.session);
            finding.address = entry.actor.address.clone().or(finding.address.take());
        }
        let after = (finding.patients.len(), finding.severity, finding.response);
        let news = is_new || before != after;
        if news {
            finding.summary = (found.summary)(finding.patients.len());
        }
        news.then(|| finding.clone())
    }

    /// Once in an hour of ledger time, forgets whoever was not seen for longer
    /// than any detector looks back.
    fn tidy(&mut self) {
        const EVERY_MS: i64 = 3_600_000;
        if self.latest.millis_since(self.tidied) < EVERY_MS {
            return;
        }
        self.tidied = self.latest;
        let latest = self.latest;
        let settings = &self.settings;
        let unrelated_ms = settings.unrelated_window_max_ms();
        self.unrelated.retain(|_, recent| !recent.is_stale(latest, unrelated_ms));
        self.released.retain(|_, recent| !recent.is_stale(latest, settings.finding_window_ms));
        self.refusals.retain(|_, recent| !recent.is_stale(latest, settings.probing_window_ms));
        self.open.retain(|_, f| latest.millis_since(f.last) < settings.finding_window_ms);
    }
}
