//! The scribe: the one thread that decides and writes. It takes all requests
//! that wait, decides each of them in order, makes new keys durable with one
//! sync, makes all their entries durable with one sync, and only then answers.
//!
//! Invariants:
//! - nothing is answered before its entries are durable; when the ledger refuses,
//!   everybody of the group is refused;
//! - decisions are in the order of the entries: no `key-release` of a principal
//!   follows its suspension, of a patient its being forgotten;
//! - a suspension holds from its decision, a lifting from its being durable.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use holdfast_base::{
    ClassSet, Clock, CommitNumber, OrganizationId, PatientId, PrincipalId, Purpose, RequestId,
    Timestamp,
};
use holdfast_ledger::{Actor, Entry, Event, Ledger};
use tokio::sync::{mpsc, oneshot};

use super::population::{self, Finding};
use super::release::{self, Release};
use super::rotation::{self, Custody, KeyChange, KeysAnswer};
use super::standing::{LIFTED, SUSPENDED, Standing};
use crate::budget::{Budget, Usages};
use crate::error::{OwnCase, Refused};
use crate::keyring::Keys;
use crate::primitive::Secret;
use crate::table::{Found, KeyTable, Organization, TableError};

/// Requests that share one sync at most; bounds the wait of the first of them.
const GROUP_JOBS_MAX: usize = 1_024;
/// Entries that share one sync at most.
const GROUP_ENTRIES_MAX: usize = 16_384;
/// Length of an hour, the distance of marks.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// What the scribe is asked to do.
pub(super) enum Task {
    Release(Release),
    Population(Box<Finding>),
    Append(Vec<Entry>),
    CreateOrganization { actor: Actor, organization: OrganizationId },
    ServiceKeys { actor: Actor, reason: String },
    Inbox { actor: Actor, organization: Arc<Organization>, reason: String },
    BackupKey { actor: Actor, reason: String },
    Forget { actor: Actor, organization: Arc<Organization>, patient: PatientId, reason: String },
    SetBudget { actor: Actor, principal: PrincipalId, budget: Budget, reason: String },
    Suspend { actor: Actor, principal: PrincipalId, reason: String },
    Lift { actor: Actor, principal: PrincipalId, reason: String },
    Suspended,
    LastCommit,
    ChangeKeys(Box<KeyChange>),
}

/// What the scribe answers.
pub(super) enum Outcome {
    Done,
    Appended(Range<u64>),
    Organization(Arc<Organization>),
    Organizations(Vec<Arc<Organization>>),
    /// Keys of the patients, in the order they were asked for.
    Keys(Vec<Keys>),
    KeysChanged(KeysAnswer),
    Suspended(Vec<(PrincipalId, String)>),
    Commit(Option<(CommitNumber, String)>),
}

pub(super) type Reply = oneshot::Sender<Result<Outcome, Refused>>;

/// A task with the place for its answer.
pub(super) struct Job {
    pub task: Task,
    pub reply: Reply,
}

/// A patient's key that has to be made before the release can be.
pub(super) type NewKey = (Arc<Organization>, PatientId, Secret);

/// What was decided: entries to write, and what to answer when they are durable.
pub(super) struct Decided {
    pub entries: Vec<Entry>,
    pub new_keys: Vec<NewKey>,
    pub answer: Result<Outcome, Refused>,
    pub then_forget: Option<(OrganizationId, PatientId)>,
    pub then_change: Option<Box<KeyChange>>,
}

impl Decided {
    pub fn with(entries: Vec<Entry>, answer: Result<Outcome, Refused>) -> Self {
        Self { entries, new_keys: Vec::new(), answer, then_forget: None, then_change: None }
    }

    pub fn refused(refused: impl Into<Refused>) -> Self {
        Self::with(Vec::new(), Err(refused.into()))
    }

    fn done(entry: Entry) -> Self {
        Self::with(vec![entry], Ok(Outcome::Done))
    }
}

impl From<TableError> for Refused {
    fn from(error: TableError) -> Self {
        Self::Fault { what: error.to_string() }
    }
}

/// One entry by `actor`.
pub(super) fn entry(
    at: Timestamp,
    actor: &Actor,
    request: Option<RequestId>,
    event: Event,
) -> Entry {
    Entry { at, actor: actor.clone(), request, event }
}

pub(super) struct Scribe {
    pub ledger: Arc<Ledger>,
    pub table: Arc<KeyTable>,
    /// What guards the root; nothing in tests of the order of decisions.
    pub custody: Option<Arc<Custody>>,
    clock: Arc<dyn Clock>,
    pub standing: Standing,
    pub usages: Usages,
    hour_marked: i64,
    /// Keys that this group is about to make.
    pub pending: HashMap<(OrganizationId, PatientId), Secret>,
    /// Patients whom this group is about to forget.
    pub forgetting: HashSet<(OrganizationId, PatientId)>,
    compaction: Option<JoinHandle<()>>,
    compact_again: bool,
}

fn compact(table: &KeyTable) {
    if table.compact().is_err() {
        tracing::error!("the key table could not be compacted");
    }
}

impl Scribe {
    pub fn new(
        ledger: Arc<Ledger>,
        table: Arc<KeyTable>,
        clock: Arc<dyn Clock>,
        standing: Standing,
        usages: Usages,
    ) -> Self {
        Self {
            ledger,
            table,
            custody: None,
            clock,
            standing,
            usages,
            hour_marked: i64::MIN,
            pending: HashMap::new(),
            forgetting: HashSet::new(),
            compaction: None,
            compact_again: false,
        }
    }

    /// Works until every sender of `jobs` is gone.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            self.pending.clear();
            self.forgetting.clear();
            let mut group = Vec::new();
            let mut entries_count = 0;
            let mut next = Some(first);
            while let Some(Job { task, reply }) = next {
                let decided = self.decide(task);
                entries_count += decided.entries.len();
                group.push((decided, reply));
                let full = group.len() >= GROUP_JOBS_MAX || entries_count >= GROUP_ENTRIES_MAX;
                next = if full { None } else { jobs.try_recv().ok() };
            }
            self.write(group);
        }
        if let Some(running) = self.compaction.take() {
            let _ = running.join();
        }
        if self.compact_again {
            compact(&self.table);
        }
    }

    fn decide(&mut self, task: Task) -> Decided {
        let now = self.clock.now();
        let write = |actor: &Actor, event| entry(now, actor, None, event);
        if let Some(refused) = rotation::refuse_unguarded(self, &task, now) {
            return refused;
        }
        match task {
            Task::ChangeKeys(change) => rotation::decide(change, now),
            Task::Release(asked) => release::decide(self, asked, now),
            Task::Population(found) => population::decide(self, *found, now),
            Task::Append(entries) => Decided::with(entries, Ok(Outcome::Appended(0..0))),
            Task::CreateOrganization { actor, organization } => {
                match self.table.create_organization(&organization, now) {
                    Ok((organization, new)) => {
                        let reason =
                            if new { "organization-created" } else { "organization-known" };
                        let released =
                            service_release(&format!("token:{}", organization.id), reason);
                        let answer = Ok(Outcome::Organization(organization));
                        Decided::with(vec![write(&actor, released)], answer)
                    }
                    Err(error) => Decided::refused(error),
                }
            }
            Task::ServiceKeys { actor, reason } => {
                if let Some(refused) = self.refuse_suspended(&actor, None, now) {
                    return refused;
                }
                let organizations = self.table.organizations();
                let tokens = organizations.iter().map(|o| format!("token:{}", o.id));
                let scopes = ["system".to_owned(), "mpi".to_owned()].into_iter().chain(tokens);
                let entries =
                    scopes.map(|scope| write(&actor, service_release(&scope, &reason))).collect();
                Decided::with(entries, Ok(Outcome::Organizations(organizations)))
            }
            Task::Inbox { actor, organization, reason } => {
                if let Some(refused) = self.refuse_suspended(&actor, Some(&organization.id), now) {
                    return refused;
                }
                let scope = format!("inbox:{}", organization.id);
                let entries = vec![write(&actor, service_release(&scope, &reason))];
                Decided::with(entries, Ok(Outcome::Organization(organization)))
            }
            Task::BackupKey { actor, reason } => {
                if let Some(refused) = self.refuse_suspended(&actor, None, now) {
                    return refused;
                }
                Decided::done(write(&actor, service_release("backup", &reason)))
            }
            Task::Forget { actor, organization, patient, reason } => {
                self.decide_forget(&actor, &organization, patient, reason, now)
            }
            Task::SetBudget { actor, principal, budget, reason } => {
                let before = self.standing.budget_before(&principal);
                if actor.principal == principal && budget.exceeds(before) {
                    return Decided::refused(Refused::OwnCase(OwnCase::RaiseBudget));
                }
                let limits = budget.limits();
                Decided::done(write(
                    &actor,
                    Event::BudgetChange { account: principal, limits, reason },
                ))
            }
            Task::Suspend { actor, principal, reason } => {
                self.standing.suspend(&principal, &reason);
                Decided::done(write(&actor, containment(principal, SUSPENDED, reason)))
            }
            Task::Lift { actor, principal, reason } => {
                if actor.principal == principal {
                    return Decided::refused(Refused::OwnCase(OwnCase::LiftSuspension));
                }
                Decided::done(write(&actor, containment(principal, LIFTED, reason)))
            }
            Task::Suspended => {
                Decided::with(Vec::new(), Ok(Outcome::Suspended(self.standing.suspended())))
            }
            Task::LastCommit => {
                Decided::with(Vec::new(), Ok(Outcome::Commit(self.standing.last_commit())))
            }
        }
    }

    /// The refusal of a suspended principal, with its entry.
    fn refuse_suspended(
        &self,
        actor: &Actor,
        organization: Option<&OrganizationId>,
        now: Timestamp,
    ) -> Option<Decided> {
        self.standing.is_suspended(&actor.principal).then(|| {
            let event = Event::Refusal {
                door: "keeper".to_owned(),
                reason: "suspended".to_owned(),
                patient: None,
                organization: organization.cloned(),
            };
            let principal = actor.principal.clone();
            let entries = vec![entry(now, actor, None, event)];
            Decided::with(entries, Err(Refused::Suspended { principal }))
        })
    }

    fn decide_forget(
        &mut self,
        actor: &Actor,
        organization: &Organization,
        patient: PatientId,
        reason: String,
        now: Timestamp,
    ) -> Decided {
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
                let then_forget = Some((organization.clone(), patient));
                let event = Event::Forgotten { organization, patient, reason };
                Decided { then_forget, ..Decided::done(entry(now, actor, None, event)) }
            }
            Err(error) => Decided::refused(error),
        }
    }

    /// Makes what was decided durable, follows it, and answers.
    fn write(&mut self, mut group: Vec<(Decided, Reply)>) {
        self.mark_hour();
        let mut seen = HashSet::new();
        let asked = group.iter().flat_map(|(decided, _)| &decided.new_keys);
        let new_keys: Vec<NewKey> = asked
            .filter(|(organization, patient, _)| seen.insert((&organization.id, *patient)))
            .cloned()
            .collect();
        if let Err(error) = self.table.create(&new_keys, self.clock.now()) {
            tracing::error!(keys_count = new_keys.len(), "new keys could not be stored");
            let what = error.to_string();
            for (decided, _) in group.iter_mut().filter(|(d, _)| !d.new_keys.is_empty()) {
                *decided = Decided::refused(Refused::Fault { what: what.clone() });
            }
        }
        let entries: Vec<Entry> =
            group.iter().flat_map(|(decided, _)| decided.entries.iter().cloned()).collect();
        match self.append(&entries) {
            Ok(mut next) => {
                entries.iter().for_each(|entry| self.standing.observe(entry));
                for (decided, reply) in group {
                    let range = next..next + decided.entries.len() as u64;
                    next = range.end;
                    // Whoever asked may have left; the entry stays.
                    let _ = reply.send(self.carry_out(decided, range));
                }
            }
            Err(refused) => {
                for (_, reply) in group {
                    let _ = reply.send(Err(refused.clone()));
                }
            }
        }
    }

    /// The index of the first entry.
    pub fn append(&self, entries: &[Entry]) -> Result<u64, Refused> {
        if entries.is_empty() {
            return Ok(self.ledger.len());
        }
        self.ledger.append(entries).map(|range| range.start).map_err(|error| {
            tracing::error!(entries_count = entries.len(), "the ledger refused entries");
            Refused::Ledger { reason: error.to_string() }
        })
    }

    /// What is left to do when the entries are durable.
    fn carry_out(&mut self, decided: Decided, range: Range<u64>) -> Result<Outcome, Refused> {
        if let Some((organization, patient)) = decided.then_forget {
            self.table.forget(&organization, patient)?;
            self.compact_soon();
        }
        if let Some(change) = decided.then_change {
            let now = self.clock.now();
            return rotation::carry_out(self, *change, now).map(Outcome::KeysChanged);
        }
        match decided.answer {
            Ok(Outcome::Appended(_)) => Ok(Outcome::Appended(range)),
            answer => answer,
        }
    }

    /// Starts rewriting the key table's files, unless that is under way already:
    /// then it is done again when the next patient is forgotten, or at the end.
    pub fn compact_soon(&mut self) {
        if self.compaction.as_ref().is_some_and(|running| !running.is_finished()) {
            self.compact_again = true;
            return;
        }
        let table = Arc::clone(&self.table);
        self.compact_again = false;
        self.compaction = Some(std::thread::spawn(move || compact(&table)));
    }

    /// Notes the ledger's length once an hour: where a rebuild of budgets starts.
    fn mark_hour(&mut self) {
        let hour = self.clock.now().millis().div_euclid(HOUR_MS);
        if hour > self.hour_marked && self.table.mark_hour(hour, self.ledger.len()).is_ok() {
            self.hour_marked = hour;
        }
    }
}

fn service_release(scope: &str, reason: &str) -> Event {
    Event::ServiceKeyRelease { scope: scope.to_owned(), reason: reason.to_owned() }
}

fn containment(principal: PrincipalId, action: &str, reason: String) -> Event {
    Event::Containment { principal, action: action.to_owned(), reason, incident: None }
}

/// The events that tell of a release, one for each patient.
pub(super) fn key_releases(
    organization: &OrganizationId,
    patients: &[PatientId],
    classes: ClassSet,
    purpose: Purpose,
    reason: &str,
) -> Vec<Event> {
    let event = |patient: &PatientId| Event::KeyRelease {
        organization: organization.clone(),
        patient: *patient,
        classes,
        purpose,
        reason: reason.to_owned(),
    };
    patients.iter().map(event).collect()
}

#[cfg(test)]
mod tests {
    use holdfast_base::ManualClock;
    use holdfast_ledger::{CheckpointSigner, LedgerKeys};

    use super::super::Bodies;
    use super::super::release::LookedUp;
    use super::*;
    use crate::root::Roots;
    use crate::steps::Steps;

    fn actor(name: &str) -> Actor {
        let principal = PrincipalId::new(name).expect("a valid name");
        Actor { principal, session: None, organization: None, address: None }
    }

    /// Everything waits before the scribe starts, so it is one group: the order
    /// inside a group counts as much as that of groups.
    #[test]
    fn decisions_within_one_group_are_in_the_order_of_the_requests() {
        let folder = tempfile::tempdir().expect("temp dir");
        let root = Secret::random();
        let (roots, now) = (Roots::one(1, root.clone()), Timestamp::from_millis(1));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let bodies = Bodies(Arc::new(parking_lot::RwLock::new(Keys::first(root.clone()))));
        let signer = CheckpointSigner::from_seed("test.example/l", root.bytes()).expect("a name");
        let keys = LedgerKeys { sealer: Box::new(bodies), signer };
        let dir = folder.path().join("ledger");
        let ledger = Ledger::open(&dir, "test.example/l", keys, Arc::clone(&clock));
        let ledger = Arc::new(ledger.expect("opens"));
        let table = KeyTable::open(&folder.path().join("keys"), &roots, now, Steps::default())
            .expect("opens");
        let table = Arc::new(table);
        let id = OrganizationId::new("lakeside").expect("a valid name");
        let (organization, _) = table.create_organization(&id, now).expect("creates");
        let (old, new) = (PatientId::random(), PatientId::random());
        table.create(&[(Arc::clone(&organization), old, Secret::random())], now).expect("creates");

        let release = |who: &str, patient: PatientId, create_missing: bool| {
            Task::Release(Release {
                actor: actor(who),
                role: "clinician".to_owned(),
                request: RequestId::random(),
                organization: Arc::clone(&organization),
                patients: vec![patient],
                classes: ClassSet::ALL,
                purpose: Purpose::Treatment,
                reason: "test".to_owned(),
                create_missing,
                looked_up: LookedUp::read(&table, &organization, &[patient]),
            })
        };
        let forget = Task::Forget {
            actor: actor("officer"),
            organization: Arc::clone(&organization),
            patient: old,
            reason: "test".to_owned(),
        };
        let principal = actor("a").principal;
        let suspend =
            Task::Suspend { actor: actor("officer"), principal, reason: "test".to_owned() };
        let (jobs, queue) = mpsc::channel(16);
        let tasks = [
            release("a", old, false),
            release("a", new, true),
            release("b", new, true),
            suspend,
            release("a", old, false),
            forget,
            release("b", old, true),
        ];
        let mut outcomes = Vec::new();
        for task in tasks {
            let (reply, outcome) = oneshot::channel();
            assert!(jobs.try_send(Job { task, reply }).is_ok(), "there is room");
            outcomes.push(outcome);
        }
        drop(jobs);
        let (standing, usages) = (Standing::default(), Usages::default());
        Scribe::new(Arc::clone(&ledger), Arc::clone(&table), clock, standing, usages).run(queue);

        let answers: Vec<Result<Outcome, Refused>> =
            outcomes.iter_mut().map(|o| o.try_recv().expect("answered")).collect();
        let key = |place: usize| match &answers[place] {
            Ok(Outcome::Keys(keys)) => *keys[0].newest().bytes(),
            _ => panic!("request {place} got no key"),
        };
        assert_ne!(key(0), key(1));
        assert_eq!(key(1), key(2), "both requests for a new patient get the one key");
        assert!(matches!(answers[4], Err(Refused::Suspended { .. })));
        assert!(matches!(answers[6], Err(Refused::ForgottenPatient)));
        let kinds: Vec<&str> = (1..ledger.len())
            .map(|index| ledger.get(holdfast_base::LedgerIndex(index)).expect("reads"))
            .map(|placed| placed.entry.event.kind())
            .collect();
        let release = "key-release";
        let expected =
            [release, release, release, "containment", "refusal", "forgotten", "refusal"];
        assert_eq!(kinds, expected);
        assert_eq!(table.patients_count(), 1, "the new one; the old one is forgotten");
    }
}
