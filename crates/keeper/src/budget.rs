//! Budgets: how many distinct patients a principal, and all principals of an
//! organization together, may open a minute, an hour and a day. Pure; time is an
//! argument.
//!
//! Invariants:
//! - Never under-counts. Releases are counted in buckets; a bucket leaves its
//!   window when its youngest possible release has left it, so a patient may
//!   count up to one bucket longer than the window (1 s, 1 min, 10 min), never
//!   shorter.
//! - A refused request spends nothing; a patient who is in the window already
//!   costs nothing; [`PatientId::NONE`] never counts.
//! - A clock that steps back opens no new room.

use std::collections::{HashMap, HashSet, VecDeque};

use holdfast_base::{OrganizationId, PatientId, PrincipalId, Timestamp};
use serde::{Deserialize, Serialize};

/// How many distinct patients may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Distinct patients in any 60 seconds.
    pub per_minute: u32,
    /// Distinct patients in any 60 minutes.
    pub per_hour: u32,
    /// Distinct patients in any 24 hours.
    pub per_day: u32,
}

impl Budget {
    /// For a role without a budget of its own: less than any working role needs.
    pub const UNKNOWN_ROLE: Budget = Budget::new(3, 5, 10);

    /// What all principals of an organization may open together until somebody sets
    /// another: a busy interface and its staff. More is bulk work, for which there
    /// are grants.
    pub const ORGANIZATION: Budget = Budget::new(3_000, 30_000, 150_000);
    /// Kept payloads that the front process may open again, of one organization.
    pub(crate) const INBOX: Budget = Budget::new(1_000, 10_000, 50_000);

    /// Distinct patients a minute, an hour, a day.
    pub const fn new(per_minute: u32, per_hour: u32, per_day: u32) -> Self {
        Self { per_minute, per_hour, per_day }
    }

    /// The budget that `role` has until somebody sets another for a principal.
    /// Bulk roles (registration, laboratory, transcription) see more people than
    /// a physician; nobody but an interface sees thousands an hour. The front
    /// process's own budget is for payloads of people that it kept while the keeper
    /// was away.
    pub fn for_role(role: &str) -> Self {
        Self::of_known_role(role).unwrap_or(Self::UNKNOWN_ROLE)
    }

    /// As [`for_role`](Self::for_role), and nothing for a role that is not listed.
    pub(crate) fn of_known_role(role: &str) -> Option<Self> {
        Some(match role {
            "clinician" | "occupational-clinician" => Self::new(20, 120, 400),
            "nurse" | "registrar" | "laboratory-staff" | "transcriptionist" => {
                Self::new(40, 200, 600)
            }
            "privacy-officer" => Self::new(500, 2_000, 5_000),
            "patient" => Self::new(3, 5, 10),
            "employer-manager" | "security-officer" | "administrator" => Self::new(0, 0, 0),
            "system" => Self::new(2_000, 20_000, 100_000),
            FRONT_ROLE => Self::new(60, 300, 1_000),
            _ => return None,
        })
    }

    /// The smaller of both limits in each window.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self {
            per_minute: self.per_minute.min(other.per_minute),
            per_hour: self.per_hour.min(other.per_hour),
            per_day: self.per_day.min(other.per_day),
        }
    }

    /// Whether this budget exceeds `other` in some window.
    pub fn exceeds(self, other: Self) -> bool {
        self.stricter(other) != self
    }

    /// The limits as they stand in a ledger entry.
    pub fn limits(self) -> [u32; 3] {
        [self.per_minute, self.per_hour, self.per_day]
    }
}

/// Role of the front process itself. No principal can have it.
pub(crate) const FRONT_ROLE: &str = "front";

impl From<[u32; 3]> for Budget {
    fn from([per_minute, per_hour, per_day]: [u32; 3]) -> Self {
        Self { per_minute, per_hour, per_day }
    }
}

/// The span of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Window {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
    /// The life of a bulk grant.
    Grant,
}

impl Window {
    /// Every window of a budget, shortest first.
    pub const ALL: [Window; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// `minute`, `hour`, `day`, `grant`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Grant => "grant",
        }
    }

    /// Length in milliseconds.
    pub const fn span_ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day | Self::Grant => DAY_MS,
        }
    }

    const fn bucket_ms(self) -> i64 {
        match self {
            Self::Minute => 1_000,
            Self::Hour => 60_000,
            Self::Day | Self::Grant => 600_000,
        }
    }
}

/// The longest window: what is older has no influence on any budget.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// A request that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// The window that is full.
    pub window: Window,
    /// Its limit.
    pub limit: u32,
    /// Distinct patients already opened in it.
    pub opened: u64,
    /// Further distinct patients that were asked for.
    pub asked: u64,
}

/// What one principal opened in the last day.
#[derive(Debug)]
pub struct Usage {
    last_release: HashMap<PatientId, Timestamp>,
    rings: [Ring; 3],
    latest: Timestamp,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            last_release: HashMap::new(),
            rings: Window::ALL.map(Ring::new),
            latest: Timestamp::MIN,
        }
    }
}

impl Usage {
    /// Counts a release that did happen, whatever the budget (rebuilding from
    /// the ledger).
    pub fn record(&mut self, patient: PatientId, at: Timestamp) {
        if patient.is_nobody() {
            return;
        }
        let at = self.advance(at);
        let before = self.last_release.insert(patient, at);
        for ring in &mut self.rings {
            if let Some(before) = before {
                ring.take_out(before);
            }
            ring.put_in(at);
        }
    }

    /// Counts the release of `patients` when all of it fits, or nothing.
    ///
    /// # Errors
    /// [`Over`] with the shortest window that has no room.
    #[cfg(test)]
    pub fn admit(
        &mut self,
        budget: Budget,
        patients: &[PatientId],
        now: Timestamp,
    ) -> Result<(), Over> {
        let asked = distinct(patients);
        self.has_room(budget, &asked, now)?;
        self.record_all(&asked, now);
        Ok(())
    }

    /// Whether the release of `asked` fits. Counts nothing.
    ///
    /// # Errors
    /// [`Over`] with the shortest window that has no room.
    pub fn has_room(
        &mut self,
        budget: Budget,
        asked: &HashSet<PatientId>,
        now: Timestamp,
    ) -> Result<(), Over> {
        self.advance(now);
        for (ring, limit) in self.rings.iter().zip(budget.limits()) {
            let fresh = asked
                .iter()
                .filter(|p| !self.last_release.get(p).is_some_and(|at| ring.holds(*at)))
                .count() as u64;
            let shut = limit == 0 && !asked.is_empty();
            if shut || (fresh > 0 && ring.total + fresh > u64::from(limit)) {
                let (window, opened) = (ring.window, ring.total);
                return Err(Over { window, limit, opened, asked: fresh });
            }
        }
        Ok(())
    }

    /// Counts the release of `asked`.
    pub fn record_all(&mut self, asked: &HashSet<PatientId>, now: Timestamp) {
        for patient in asked {
            self.record(*patient, now);
        }
    }

    /// Distinct patients opened in the last `window` before `now`.
    #[cfg(test)]
    fn opened(&mut self, window: Window, now: Timestamp) -> u64 {
        self.advance(now);
        self.rings[window as usize].total
    }

    /// Lets old releases leave; gives the instant to count with, which never
    /// steps back.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        self.latest = self.latest.max(now);
        for ring in &mut self.rings {
            ring.expire(self.latest);
        }
        let day = &self.rings[Window::Day as usize];
        // Half of the memory stands for patients who have left: sweep.
        if self.last_release.len() as u64 > 2 * day.total + 1_024 {
            self.last_release.retain(|_, at| day.holds(*at));
        }
        self.latest
    }
}

/// The patients of a request, each once; what belongs to no patient never counts.
pub(crate) fn distinct(patients: &[PatientId]) -> HashSet<PatientId> {
    patients.iter().copied().filter(|patient| !patient.is_nobody()).collect()
}

/// The releases of one window, counted by bucket. Each patient is in the bucket
/// of his last release only.
#[derive(Debug)]
struct Ring {
    window: Window,
    buckets: VecDeque<(i64, u64)>,
    total: u64,
    /// Buckets before this number have left the window.
    from: i64,
}

impl Ring {
    fn new(window: Window) -> Self {
        Self { window, buckets: VecDeque::new(), total: 0, from: 0 }
    }

    fn bucket(&self, at: Timestamp) -> i64 {
        at.millis().div_euclid(self.window.bucket_ms())
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.bucket(at) >= self.from
    }

    fn expire(&mut self, now: Timestamp) {
        let oldest = now.plus_millis(-self.window.span_ms());
        self.from = self.from.max(self.bucket(oldest));
        while let Some(&(bucket, count)) = self.buckets.front()
            && bucket < self.from
        {
            self.total -= count;
            self.buckets.pop_front();
        }
    }

    fn put_in(&mut self, at: Timestamp) {
        let bucket = self.bucket(at);
        match self.buckets.binary_search_by_key(&bucket, |(number, _)| *number) {
            Ok(place) => self.buckets[place].1 += 1,
            Err(place) => self.buckets.insert(place, (bucket, 1)),
        }
        self.total += 1;
    }

    fn take_out(&mut self, at: Timestamp) {
        let bucket = self.bucket(at);
        if let Ok(place) = self.buckets.binary_search_by_key(&bucket, |(number, _)| *number) {
            self.buckets[place].1 -= 1;
            self.total -= 1;
        }
    }
}

/// The usage of every principal and every organization that opened something in
/// the last day, and of every inbox.
#[derive(Debug, Default)]
pub struct Usages {
    principals: HashMap<PrincipalId, Usage>,
    organizations: HashMap<OrganizationId, Usage>,
    inboxes: HashMap<OrganizationId, Usage>,
}

impl Usages {
    /// The usage of `principal`.
    pub fn of(&mut self, principal: &PrincipalId) -> &mut Usage {
        self.principals.entry(principal.clone()).or_default()
    }

    /// What the principals of `organization` used together.
    pub fn of_organization(&mut self, organization: &OrganizationId) -> &mut Usage {
        self.organizations.entry(organization.clone()).or_default()
    }

    /// The kept payloads of `organization` that were opened again. A payload stands
    /// where a patient stands elsewhere.
    pub fn of_inbox(&mut self, organization: &OrganizationId) -> &mut Usage {
        self.inboxes.entry(organization.clone()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: Budget = Budget::new(2, 3, 4);

    fn patient(number: u8) -> PatientId {
        PatientId::from_bytes([number; 16])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn each_window_has_its_own_limit_and_frees_itself() {
        let mut usage = Usage::default();
        assert_eq!(usage.admit(SMALL, &[patient(1), patient(2)], at(0)), Ok(()));
        let over = usage.admit(SMALL, &[patient(3)], at(1)).expect_err("third in a minute");
        assert_eq!((over.window, over.limit, over.opened), (Window::Minute, 2, 2));
        assert_eq!(usage.admit(SMALL, &[patient(3)], at(62)), Ok(()));
        let over = usage.admit(SMALL, &[patient(4)], at(130)).expect_err("fourth in an hour");
        assert_eq!(over.window, Window::Hour);
        assert_eq!(usage.admit(SMALL, &[patient(4)], at(3_800)), Ok(()));
        let over = usage.admit(SMALL, &[patient(5)], at(8_000)).expect_err("fifth in a day");
        assert_eq!(over.window, Window::Day);
        assert_eq!(usage.admit(SMALL, &[patient(5)], at(87_000)), Ok(()));
    }

    #[test]
    fn a_patient_in_the_window_costs_nothing() {
        let mut usage = Usage::default();
        for second in 0..100 {
            assert_eq!(usage.admit(SMALL, &[patient(1), patient(2)], at(second)), Ok(()));
        }
        assert_eq!(usage.opened(Window::Day, at(100)), 2);
    }

    #[test]
    fn a_request_is_counted_whole_or_not_at_all() {
        let mut usage = Usage::default();
        let over = usage.admit(SMALL, &[patient(1), patient(2), patient(3)], at(0));
        assert_eq!(over.expect_err("three at once").asked, 3);
        assert_eq!(usage.opened(Window::Minute, at(0)), 0);
        assert_eq!(usage.admit(SMALL, &[patient(1), patient(1), patient(1)], at(0)), Ok(()));
        assert_eq!(usage.opened(Window::Minute, at(0)), 1);
    }

    #[test]
    fn what_belongs_to_no_patient_never_counts() {
        let mut usage = Usage::default();
        let shut = Budget::new(0, 0, 0);
        assert_eq!(usage.admit(shut, &[PatientId::NONE], at(0)), Ok(()));
        assert!(usage.admit(shut, &[patient(1)], at(0)).is_err());
        usage.record(PatientId::NONE, at(0));
        assert_eq!(usage.opened(Window::Day, at(0)), 0);
    }

    #[test]
    fn a_clock_that_steps_back_opens_no_room() {
        let mut usage = Usage::default();
        assert_eq!(usage.admit(SMALL, &[patient(1), patient(2)], at(0)), Ok(()));
        assert!(usage.admit(SMALL, &[patient(3)], at(-90_000)).is_err());
        assert!(usage.admit(SMALL, &[patient(3)], at(1)).is_err());
    }

    #[test]
    fn a_principal_of_unknown_role_gets_next_to_nothing() {
        assert_eq!(Budget::for_role("wizard"), Budget::UNKNOWN_ROLE);
        assert!(Budget::for_role("clinician").exceeds(Budget::for_role("patient")));
        assert!(!Budget::for_role("patient").exceeds(Budget::for_role("clinician")));
    }

    proptest! {
        /// Against the definition: the distinct patients released in the window,
        /// at most one bucket longer.
        #[test]
        fn counts_agree_with_the_definition(
            steps in proptest::collection::vec((1..13u8, 0..1_200_000i64), 1..120),
        ) {
            let mut usage = Usage::default();
            let mut releases = Vec::new();
            let mut now = at(0);
            for (who, wait_ms) in steps {
                now = now.plus_millis(wait_ms);
                usage.record(patient(who), now);
                releases.push((patient(who), now));
                for window in Window::ALL {
                    let distinct = |span_ms: i64| {
                        let from = now.plus_millis(-span_ms);
                        let inside = releases.iter().filter(|(_, at)| *at > from);
                        inside.map(|(who, _)| who).collect::<HashSet<_>>().len() as u64
                    };
                    let counted = usage.opened(window, now);
                    prop_assert!(counted >= distinct(window.span_ms()));
                    prop_assert!(counted <= distinct(window.span_ms() + window.bucket_ms()));
                }
            }
        }

        #[test]
        fn no_sequence_of_requests_gets_past_a_limit(
            steps in proptest::collection::vec((1..41u8, 0..20_000i64), 1..200),
        ) {
            let mut usage = Usage::default();
            let mut granted = Vec::new();
            let mut now = at(0);
            for (who, wait_ms) in steps {
                now = now.plus_millis(wait_ms);
                if usage.admit(SMALL, &[patient(who)], now).is_ok() {
                    granted.push((patient(who), now));
                }
                for (window, limit) in Window::ALL.into_iter().zip(SMALL.limits()) {
                    let from = now.plus_millis(-window.span_ms());
                    let inside = granted.iter().filter(|(_, at)| *at > from);
                    let distinct = inside.map(|(who, _)| who).collect::<HashSet<_>>().len();
                    prop_assert!(distinct <= limit as usize);
                }
            }
        }
    }
}
