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
    SessionId, Timestamp,
};
use holdfast_ledger::{Actor, Entry, Event, Ledger};
use tokio::sync::{mpsc, oneshot};

use super::acts::Claim;
use super::copy;
use super::grants::BulkGrant;
use super::payloads::{self, Showing};
use super::population::{self, Finding};
use super::release::{self, Release};
use super::rotation::{self, Custody, KeyChange, KeysAnswer};
use super::sessions::Sessions;
use super::standing::Standing;
use crate::budget::{Budget, Usages};
use crate::error::Refused;
use crate::keyring::Keys;
use crate::people::{Kind, OpenedSession, People, PrincipalRow, Row, SessionFacts, SessionRow};
use crate::primitive::Secret;
use crate::protocol::{BudgetOwner, GrantStep};
use crate::table::{KeyTable, Organization, TableError};

/// Requests that share one sync at most; bounds the wait of the first of them.
const GROUP_JOBS_MAX: usize = 1_024;
/// Entries that share one sync at most.
const GROUP_ENTRIES_MAX: usize = 16_384;
/// Length of an hour, the distance of marks.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// What the scribe is asked to do.
pub(super) enum Task {
    Release(Release),
    MaySearch { claim: Claim, organization: OrganizationId },
    Population(Box<Finding>),
    Append(Vec<Entry>),
    CreateOrganization { claim: Claim, organization: OrganizationId },
    ServiceKeys { reason: String },
    Inbox { organization: Arc<Organization>, messages: Vec<(u64, [u8; 16])>, reason: String },
    ShowPayload(Box<Showing>),
    Forget { claim: Claim, organization: Arc<Organization>, patient: PatientId, reason: String },
    SetBudget { claim: Claim, whose: BudgetOwner, budget: Budget, reason: String },
    Suspend { claim: Claim, principal: PrincipalId, reason: String },
    Lift { claim: Claim, principal: PrincipalId, reason: String },
    Enrol { claim: Claim, row: Box<PrincipalRow> },
    Import { rows: Vec<PrincipalRow> },
    Reset { claim: Claim, principal: PrincipalId, kind: Kind },
    Recover { principal: PrincipalId, kind: Kind },
    Close { claim: Claim, principal: PrincipalId },
    OpenSession { principal: PrincipalId, step: i64, address: Option<String> },
    Vouch { certificate: [u8; 32], address: Option<String> },
    CheckSession { claim: Claim },
    CloseSession { claim: Claim },
    FindSession { digest: [u8; 32] },
    RefuseSignIn { name: Option<PrincipalId>, address: Option<String>, reason: &'static str },
    Grant { claim: Claim, step: GrantStep },
    Grants { claim: Claim },
    Backup { claim: Claim, reason: Option<String> },
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
    Opened(Box<OpenedSession>),
    Session(Box<SessionFacts>),
    Found(Option<SessionId>),
    Grant(RequestId),
    Grants(Vec<BulkGrant>),
}

pub(super) type Reply = oneshot::Sender<Result<Outcome, Refused>>;

/// A task with the place for its answer.
pub(super) struct Job {
    pub task: Task,
    pub reply: Reply,
}

/// A patient's key that has to be made before the release can be.
pub(super) type NewKey = (Arc<Organization>, PatientId, Secret);

/// What was decided: rows and entries to write, what to do when they are durable,
/// and what to answer then.
pub(super) struct Decided {
    pub entries: Vec<Entry>,
    pub new_keys: Vec<NewKey>,
    pub rows: Vec<Row>,
    pub then: Vec<Then>,
    pub answer: Result<Outcome, Refused>,
}

/// What is done once its entry is durable.
pub(super) enum Then {
    Forget(OrganizationId, PatientId),
    Learn(Box<PrincipalRow>),
    Begin(Box<SessionRow>),
    ChangeKeys(Box<KeyChange>),
}

impl Decided {
    pub fn with(entries: Vec<Entry>, answer: Result<Outcome, Refused>) -> Self {
        Self { entries, new_keys: Vec::new(), rows: Vec::new(), then: Vec::new(), answer }
    }

    pub fn refused(refused: impl Into<Refused>) -> Self {
        Self::with(Vec::new(), Err(refused.into()))
    }

    pub fn done(entry: Entry) -> Self {
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
    pub people: Arc<People>,
    pub standing: Standing,
    pub usages: Usages,
    pub sessions: Sessions,
    /// The latest time that was seen. Sessions and budgets go by it, so that a clock
    /// that steps back gives nobody more; entries say what the clock said.
    pub latest: Timestamp,
    hour_marked: i64,
    /// Keys that this group is about to make.
    pub pending: HashMap<(OrganizationId, PatientId), Secret>,
    /// Patients whom this group is about to forget.
    pub forgetting: HashSet<(OrganizationId, PatientId)>,
    /// Principals that this group is about to make.
    pub making: HashSet<PrincipalId>,
    compaction: Option<JoinHandle<()>>,
    compact_again: bool,
}

fn compact(table: &KeyTable) {
    if table.compact().is_err() {
        tracing::error!("the key table could not be compacted");
    }
}

/// What a scribe knows when it begins.
pub(super) struct Beginning {
    pub ledger: Arc<Ledger>,
    pub table: Arc<KeyTable>,
    pub people: Arc<People>,
    pub clock: Arc<dyn Clock>,
    pub standing: Standing,
    pub usages: Usages,
    pub sessions: Sessions,
    pub latest: Timestamp,
}

impl Scribe {
    pub fn new(beginning: Beginning) -> Self {
        let Beginning { ledger, table, people, clock, standing, usages, sessions, latest } =
            beginning;
        Self {
            ledger,
            table,
            custody: None,
            people,
            clock,
            standing,
            usages,
            sessions,
            latest,
            hour_marked: i64::MIN,
            pending: HashMap::new(),
            forgetting: HashSet::new(),
            making: HashSet::new(),
            compaction: None,
            compact_again: false,
        }
    }

    /// Works until every sender of `jobs` is gone.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            self.pending.clear();
            self.forgetting.clear();
            self.making.clear();
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
        self.latest = self.latest.max(now);
        if let Some(refused) = rotation::refuse_unguarded(self, &task, now) {
            return refused;
        }
        let told = |outcome| Decided::with(Vec::new(), Ok(outcome));
        match task {
            Task::ChangeKeys(change) => rotation::decide(self, change, now),
            Task::Release(asked) => release::decide(self, asked, now),
            Task::MaySearch { claim, organization } => {
                population::may(self, &claim, &organization, now)
            }
            Task::Population(found) => population::decide(self, *found, now),
            Task::Append(entries) => Decided::with(entries, Ok(Outcome::Appended(0..0))),
            Task::CreateOrganization { claim, organization } => {
                self.decide_organization(&claim, &organization, now)
            }
            Task::ServiceKeys { reason } => self.decide_service_keys(&reason, now),
            Task::Inbox { organization, messages, reason } => {
                self.decide_inbox(organization, &messages, &reason, now)
            }
            Task::ShowPayload(asked) => payloads::decide_show(self, *asked, now),
            Task::Forget { claim, organization, patient, reason } => {
                self.decide_forget(&claim, &organization, patient, reason, now)
            }
            Task::SetBudget { claim, whose, budget, reason } => {
                self.decide_budget(&claim, whose, budget, reason, now)
            }
            Task::Suspend { claim, principal, reason } => {
                self.decide_suspend(&claim, principal, reason, now)
            }
            Task::Lift { claim, principal, reason } => {
                self.decide_lift(&claim, principal, reason, now)
            }
            Task::Enrol { claim, row } => self.decide_enrol(&claim, *row, now),
            Task::Import { rows } => self.decide_import(rows, now),
            Task::Reset { claim, principal, kind } => {
                self.decide_reset(&claim, &principal, kind, now)
            }
            Task::Recover { principal, kind } => self.decide_recover(&principal, kind, now),
            Task::Close { claim, principal } => self.decide_close(&claim, &principal, now),
            Task::OpenSession { principal, step, address } => {
                self.decide_open_session(&principal, step, address, now)
            }
            Task::Vouch { certificate, address } => self.decide_vouch(&certificate, address, now),
            Task::CheckSession { claim } => self.decide_check_session(&claim, now),
            Task::CloseSession { claim } => self.decide_close_session(&claim, now),
            Task::FindSession { digest } => {
                told(Outcome::Found(self.sessions.row(&digest).map(|row| row.id)))
            }
            Task::RefuseSignIn { name, address, reason } => {
                self.decide_refuse_sign_in(name.as_ref(), address, reason, now)
            }
            Task::Grant { claim, step } => self.decide_grant(&claim, step, now),
            Task::Backup { claim, reason } => copy::decide(self, &claim, reason, now),
            Task::Grants { claim } => self.decide_grants(&claim, now),
            Task::Suspended => told(Outcome::Suspended(self.standing.suspended())),
            Task::LastCommit => told(Outcome::Commit(self.standing.last_commit())),
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
        let rows: Vec<&Row> = group.iter().flat_map(|(decided, _)| &decided.rows).collect();
        if let Err(error) = self.people.write(&rows) {
            tracing::error!(rows_count = rows.len(), "principals or sessions could not be stored");
            let what = error.to_string();
            for (decided, _) in group.iter_mut().filter(|(d, _)| !d.rows.is_empty()) {
                *decided = Decided::refused(Refused::Fault { what: what.clone() });
            }
        }
        let entries: Vec<Entry> =
            group.iter().flat_map(|(decided, _)| decided.entries.iter().cloned()).collect();
        match self.append(&entries) {
            Ok(mut next) => {
                for (index, entry) in (next..).zip(&entries) {
                    self.standing.observe(entry, index);
                }
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
        for then in decided.then {
            match then {
                Then::Forget(organization, patient) => {
                    self.table.forget(&organization, patient)?;
                    self.compact_soon();
                }
                Then::Learn(row) => self.people.learn(*row),
                Then::Begin(session) => self.sessions.insert(*session, self.latest),
                Then::ChangeKeys(change) => {
                    let now = self.clock.now();
                    return rotation::carry_out(self, *change, now).map(Outcome::KeysChanged);
                }
            }
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
            self.sweep();
        }
    }
}

pub(super) fn service_release(scope: &str, reason: &str) -> Event {
    Event::ServiceKeyRelease { scope: scope.to_owned(), reason: reason.to_owned() }
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
    use super::super::acts::Claimant;
    use super::super::release::LookedUp;
    use super::*;
    use crate::people::SessionKind;
    use crate::root::Roots;
    use crate::steps::Steps;

    fn principal(name: &str) -> PrincipalId {
        PrincipalId::new(name).expect("a valid name")
    }

    /// Of whoever's session has the digest that is made of the first letter.
    fn claim(name: &str) -> Claim {
        Claim { who: Claimant::Session([name.as_bytes()[0]; 32]), address: None }
    }

    fn session(name: &str, role: &str, organization: &OrganizationId) -> SessionRow {
        SessionRow {
            layout: SessionRow::LAYOUT,
            id: SessionId::random(),
            digest: [name.as_bytes()[0]; 32],
            principal: principal(name),
            organization: organization.clone(),
            role: role.to_owned(),
            address: None,
            opened: Timestamp::from_millis(0),
            expires: Timestamp::from_millis(1_000_000),
            kind: SessionKind::Person { step: 0 },
            ended: false,
        }
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
                claim: claim(who),
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
            claim: claim("officer"),
            organization: Arc::clone(&organization),
            patient: old,
            reason: "test".to_owned(),
        };
        let suspend = Task::Suspend {
            claim: Claim { who: Claimant::Front, address: None },
            principal: principal("a"),
            reason: "test".to_owned(),
        };
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
        let people = People::open(table.database(), Keys::first(root), |_| true).expect("opens");
        let mut sessions = Sessions::default();
        let now = clock.now();
        for (who, role) in [("a", "clinician"), ("b", "clinician"), ("officer", "privacy-officer")]
        {
            sessions.insert(session(who, role, &id), now);
        }
        Scribe::new(Beginning {
            ledger: Arc::clone(&ledger),
            table: Arc::clone(&table),
            people: Arc::new(people),
            clock,
            standing: Standing::default(),
            usages: Usages::default(),
            sessions,
            latest: now,
        })
        .run(queue);

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
