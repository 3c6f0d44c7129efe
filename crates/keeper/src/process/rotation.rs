//! Keys while the keeper runs: what there is, changing it, and whether what
//! protects the root is still there.
//!
//! Every change is asked for with the passphrase or PIN, so that code in the front
//! process cannot ask for one. The scribe carries changes out, between releases: an
//! entry `rotating` is durable before anything changes, another says what came of
//! it. An interrupted change has no second entry; the next start finishes it or it
//! never happened.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use holdfast_base::{Clock, OrganizationId, PatientId, PrincipalId, Timestamp};
use holdfast_ledger::{Actor, Entry, Event, Ledger};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroize;

use super::acts::{Claim, Claimant, front_actor};
use super::rules::Act;
use super::scribe::{Decided, Job, Outcome, Scribe, Task, Then, entry};
use super::{Bodies, KeeperConfig, signer};
use crate::error::{Malformed, Refused};
use crate::primitive::Secret;
use crate::protocol::REASON_BYTES_MAX;
use crate::root::{GuardText, KitNote, OpenRoot, RootError, TokenText, weakness};
use crate::table::named::{of_organization, organization_of};
use crate::table::{KeyLine, KeyTable};

/// How often what protects the root proves that it is there.
const PRESENCE_EVERY: Duration = Duration::from_secs(1);
/// How often ages of keys are looked at.
const DUE_EVERY_MS: i64 = 24 * 3_600_000;
/// Patients that are wrapped again with one sync, between two groups of releases.
pub(crate) const REWRAP_COUNT: usize = 512;
/// How long a wrong passphrase costs; one after the other.
const GUESS_PAUSE: Duration = Duration::from_secs(1);
const DAY_MS: i64 = 24 * 3_600_000;

/// After how many days keys are due for rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationDue {
    /// The root.
    pub root_days: u32,
    /// Keys of the service, the ledger and organizations.
    pub keys_days: u32,
}

impl Default for RotationDue {
    /// A year each.
    fn default() -> Self {
        Self { root_days: 365, keys_days: 365 }
    }
}

/// Bytes that nobody prints: wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretBytes(Vec<u8>);

impl SecretBytes {
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A question or an order about keys, as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeysRequest {
    Status,
    Change { secret: SecretBytes, change: Change, reason: String },
}

/// A change that somebody who has the passphrase can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    RotateRoot,
    RotateNamed { name: String },
    RotatePatient { organization: OrganizationId, patient: PatientId },
    RetireSigner,
    ToPassphrase { passphrase: SecretBytes },
    ToToken { module: String, token: String, pin: SecretBytes },
    Escrow { needed: u8, shares: u8 },
    NoteRecovery,
}

/// What the scribe is to do.
pub(super) enum KeyChange {
    Asked { change: Change, reason: String },
    Rewrap { organization: OrganizationId, from: PatientId },
    Rewrapped { organization: OrganizationId, patients_count: u64 },
}

/// What is answered about keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum KeysAnswer {
    Status(KeysStatus),
    Changed { generation: u32 },
    Shares(Vec<SecretBytes>),
    Rewrapped { rewrapped_count: u64, next: Option<PatientId> },
}

/// The keys of a keeper, without any key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysStatus {
    /// Every generation of the root and of every named key.
    pub lines: Vec<KeyLine>,
    /// What protects the root, and where.
    pub guard: String,
    /// Why it is away; nothing when it is there.
    pub guard_away: Option<String>,
    /// The last recovery kit.
    pub kit: Option<KitNote>,
    /// Organizations whose patients are being wrapped again, with how many were.
    pub rewrapping: Vec<(OrganizationId, u64)>,
    /// Whether the keeper's memory is kept out of swap.
    pub memory_locked: bool,
    /// When keys are due.
    pub due: RotationDue,
    /// The keeper's time.
    pub now: Timestamp,
}

impl KeysStatus {
    /// When the newest generation of `line`'s key is due for rotation; nothing for
    /// older generations, and for keys that are not rotated.
    pub fn due_at(&self, line: &KeyLine) -> Option<Timestamp> {
        let days = match line.name.as_str() {
            "root" => self.due.root_days,
            name if !can_rotate(name) => return None,
            _ => self.due.keys_days,
        };
        let created = line.created.unwrap_or(Timestamp::MIN);
        line.newest.then(|| created.plus_millis(i64::from(days) * DAY_MS))
    }

    /// The keys that are due.
    pub fn overdue(&self) -> impl Iterator<Item = &KeyLine> {
        self.lines.iter().filter(|line| self.due_at(line).is_some_and(|due| due <= self.now))
    }
}

/// Keys of equality tokens are not rotated: every token on disk would have to be
/// made again from its value, which nobody but the patient's key opens.
fn can_rotate(name: &str) -> bool {
    name != "mpi-token" && !name.ends_with("/token")
}

/// What guards the root while the keeper runs, and everything about keys that is
/// not in the table.
pub(crate) struct Custody {
    root: Mutex<OpenRoot>,
    /// Tells the right passphrase or PIN, without holding it.
    proof: Mutex<Proof>,
    away: RwLock<Option<String>>,
    bodies: Bodies,
    origin: String,
    due: RotationDue,
    clock: Arc<dyn Clock>,
    rewrapping: Mutex<BTreeMap<OrganizationId, u64>>,
    guesses: tokio::sync::Mutex<()>,
    memory_locked: bool,
    stopping: AtomicBool,
    /// Held for as long as the keeper runs.
    _lock: File,
}

struct Proof {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Proof {
    fn of(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, Secret::random().bytes());
        let tag = hmac::sign(&key, secret);
        Self { key, tag }
    }

    fn is_of(&self, secret: &[u8]) -> bool {
        hmac::verify(&self.key, secret, self.tag.as_ref()).is_ok()
    }
}

impl Custody {
    pub fn new(
        root: OpenRoot,
        secret: &[u8],
        bodies: Bodies,
        config: &KeeperConfig,
        clock: Arc<dyn Clock>,
        lock: File,
    ) -> Self {
        Self {
            root: Mutex::new(root),
            proof: Mutex::new(Proof::of(secret)),
            away: RwLock::new(None),
            bodies,
            origin: config.origin.clone(),
            due: config.due,
            clock,
            rewrapping: Mutex::default(),
            guesses: tokio::sync::Mutex::default(),
            memory_locked: super::lock::lock_memory(),
            stopping: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Ends what goes on by itself; the next start goes on with it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    fn status(&self, table: &KeyTable) -> KeysStatus {
        let root = self.root.lock();
        KeysStatus {
            lines: table.lines(),
            guard: root.guard().whereabouts(),
            guard_away: self.away.read().clone(),
            kit: root.kit(),
            rewrapping: self.rewrapping.lock().iter().map(|(id, n)| (id.clone(), *n)).collect(),
            memory_locked: self.memory_locked,
            due: self.due,
            now: self.clock.now(),
        }
    }
}

/// Who acts when nobody signed in: the keeper itself, or who has the passphrase.
fn actor(name: &'static str) -> Actor {
    let principal =
        PrincipalId::new(name).unwrap_or_else(|_| unreachable!("{name} is a valid name"));
    Actor { principal, session: None, organization: None, address: None }
}

const KEEPER: &str = "system:keeper";
/// Who showed the passphrase or PIN.
pub(super) const OPERATOR: &str = "system:operator";

impl From<RootError> for Refused {
    fn from(error: RootError) -> Self {
        match error {
            RootError::WrongSecret => Self::WrongPassphrase,
            RootError::Away(what) => Self::GuardAway { what },
            other => Self::Fault { what: other.to_string() },
        }
    }
}

/// Answers `asked`, with the entry of a wrong passphrase.
pub(super) async fn answer(
    custody: &Arc<Custody>,
    table: &Arc<KeyTable>,
    jobs: &mpsc::Sender<Job>,
    asked: KeysRequest,
) -> Result<KeysAnswer, Refused> {
    let (secret, change, reason) = match asked {
        KeysRequest::Status => return Ok(KeysAnswer::Status(custody.status(table))),
        KeysRequest::Change { secret, change, reason } => (secret, change, reason),
    };
    if reason.trim().is_empty() {
        return Err(Malformed::NoReason.into());
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(Malformed::ReasonTooLong.into());
    }
    refuse_wrong_secret(custody, jobs, &secret).await?;
    check(&change)?;
    let wraps = match &change {
        Change::RotateNamed { name } => organization_of(name).filter(|(_, part)| *part == "wrap"),
        _ => None,
    };
    let wraps = wraps.map(|(id, _)| id);
    let answer = change_keys(jobs, KeyChange::Asked { change, reason }).await?;
    if let Some(organization) = wraps {
        custody.rewrapping.lock().insert(organization.clone(), 0);
        tokio::spawn(rewrap(Arc::clone(custody), jobs.clone(), organization));
    }
    Ok(answer)
}

/// Refuses whoever does not know the passphrase or PIN, with an entry. One guess at a
/// time, and none quick.
pub(super) async fn refuse_wrong_secret(
    custody: &Custody,
    jobs: &mpsc::Sender<Job>,
    secret: &SecretBytes,
) -> Result<(), Refused> {
    let _one_at_a_time = custody.guesses.lock().await;
    if custody.proof.lock().is_of(secret.bytes()) {
        return Ok(());
    }
    let event = Event::Refusal {
        door: "keys".to_owned(),
        reason: "wrong-passphrase".to_owned(),
        patient: None,
        organization: None,
    };
    let entry = entry(custody.clock.now(), &actor(OPERATOR), None, event);
    let _ = ask(jobs, Task::Append(vec![entry])).await;
    tokio::time::sleep(GUESS_PAUSE).await;
    Err(Refused::WrongPassphrase)
}

/// Refuses what cannot be done before it is in the ledger.
fn check(change: &Change) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::KeyChange { why });
    match change {
        Change::RotateNamed { name } if !can_rotate(name) => refuse(format!(
            "the key {name} makes equality tokens and is not rotated: every token on disk would have to be made again"
        )),
        Change::ToPassphrase { passphrase } => match weakness(passphrase.bytes()) {
            Some(why) => refuse(why),
            None => Ok(()),
        },
        Change::Escrow { needed, shares } if *needed < 2 || shares < needed || *shares > 64 => {
            refuse("a kit has 2 to 64 shares, and needs 2 of them or more".to_owned())
        }
        _ => Ok(()),
    }
}

async fn ask(jobs: &mpsc::Sender<Job>, task: Task) -> Result<Outcome, Refused> {
    let (reply, outcome) = oneshot::channel();
    let stopped = || Refused::Ledger { reason: "the keeper is stopping".to_owned() };
    jobs.send(Job { task, reply }).await.map_err(|_| stopped())?;
    outcome.await.map_err(|_| stopped())?
}

async fn change_keys(jobs: &mpsc::Sender<Job>, change: KeyChange) -> Result<KeysAnswer, Refused> {
    match ask(jobs, Task::ChangeKeys(Box::new(change))).await? {
        Outcome::KeysChanged(answer) => Ok(answer),
        _ => Err(Refused::Fault { what: "an answer to another question".to_owned() }),
    }
}

/// Wraps all patients of `organization` under the newest wrapping key, a part after
/// the other, and destroys the older ones. What a kill interrupts, the next start
/// begins again.
async fn rewrap(custody: Arc<Custody>, jobs: mpsc::Sender<Job>, organization: OrganizationId) {
    let (mut from, mut patients_count) = (PatientId::NONE, 0);
    while !custody.stopping.load(Ordering::SeqCst) {
        let step = KeyChange::Rewrap { organization: organization.clone(), from };
        let Ok(KeysAnswer::Rewrapped { rewrapped_count, next }) = change_keys(&jobs, step).await
        else {
            tracing::error!("patients' keys could not be wrapped again; the next start goes on");
            return;
        };
        patients_count += rewrapped_count;
        custody.rewrapping.lock().insert(organization.clone(), patients_count);
        match next {
            Some(next) => from = next,
            None => return rewrapped(custody, jobs, organization, patients_count).await,
        }
    }
}

async fn rewrapped(
    custody: Arc<Custody>,
    jobs: mpsc::Sender<Job>,
    organization: OrganizationId,
    patients_count: u64,
) {
    let done = KeyChange::Rewrapped { organization: organization.clone(), patients_count };
    if change_keys(&jobs, done).await.is_err() {
        tracing::error!("an older wrapping key could not be destroyed; the next start tries again");
    }
    custody.rewrapping.lock().remove(&organization);
}

/// Goes on with what was interrupted; proves the guard's presence; looks at ages.
pub(super) async fn watch(custody: Arc<Custody>, table: Arc<KeyTable>, jobs: mpsc::Sender<Job>) {
    for organization in table.organizations_to_rewrap() {
        custody.rewrapping.lock().insert(organization.clone(), 0);
        tokio::spawn(rewrap(Arc::clone(&custody), jobs.clone(), organization));
    }
    let mut due_looked = Timestamp::MIN;
    let mut every = tokio::time::interval(PRESENCE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let guard = custody.root.lock().guard();
        let proven = tokio::task::spawn_blocking(move || guard.prove_presence()).await;
        let away = match proven {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("its proof of presence failed".to_owned()),
        };
        let before = std::mem::replace(&mut *custody.away.write(), away.clone());
        let told = match (before, away) {
            (None, Some(what)) => {
                tracing::error!("what protects the root key is away: no key is released");
                Some(("critical", format!("away, so no key is released: {what}")))
            }
            (Some(_), None) => {
                tracing::warn!("what protects the root key is back");
                Some(("notice", "back: keys are released again".to_owned()))
            }
            _ => None,
        };
        let now = custody.clock.now();
        let mut alerts: Vec<Event> = told
            .map(|(severity, summary)| alert("root-guard", severity, summary))
            .into_iter()
            .collect();
        if now.millis_since(due_looked) >= DUE_EVERY_MS {
            due_looked = now;
            let status = custody.status(&table);
            let due: Vec<&str> = status.overdue().map(|line| line.name.as_str()).collect();
            if !due.is_empty() {
                let summary =
                    format!("{} keys are due for rotation, {} among them", due.len(), due[0]);
                alerts.push(alert("key-rotation-due", "notice", summary));
            }
        }
        let by = actor(KEEPER);
        let entries: Vec<Entry> =
            alerts.into_iter().map(|event| entry(now, &by, None, event)).collect();
        if !entries.is_empty() {
            let _ = ask(&jobs, Task::Append(entries)).await;
        }
    }
}

fn alert(detector: &str, severity: &str, summary: String) -> Event {
    Event::Alert {
        detector: detector.to_owned(),
        principal: actor(KEEPER).principal,
        patients_count: 0,
        severity: severity.to_owned(),
        summary,
    }
}

/// Refuses what would release a key while what protects the root is away.
pub(super) fn refuse_unguarded(scribe: &Scribe, task: &Task, now: Timestamp) -> Option<Decided> {
    let what = scribe.custody.as_ref()?.away.read().clone()?;
    let actor = match task {
        Task::Release(asked) => scribe.actor_of(&asked.claim),
        Task::ShowPayload(asked) => scribe.actor_of(&asked.claim),
        Task::CreateOrganization { claim, .. } => scribe.actor_of(claim),
        Task::ServiceKeys { .. } | Task::Inbox { .. } => front_actor(None),
        _ => return None,
    };
    let event = Event::Refusal {
        door: "keeper".to_owned(),
        reason: "root-guard-away".to_owned(),
        patient: None,
        organization: None,
    };
    let entries = vec![entry(now, &actor, None, event)];
    Some(Decided::with(entries, Err(Refused::GuardAway { what })))
}

/// Name and verb of a change, for the ledger.
fn named(change: &Change) -> (String, &'static str, &'static str) {
    match change {
        Change::RotateRoot => ("root".to_owned(), "rotating", "rotated"),
        Change::RotateNamed { name } => (name.clone(), "rotating", "rotated"),
        Change::RotatePatient { organization, patient } => {
            (format!("patient/{organization}/{patient}"), "rotating", "rotated")
        }
        Change::RetireSigner => ("ledger-signer".to_owned(), "retiring", "retired"),
        Change::ToPassphrase { .. } => ("root".to_owned(), "guarding", "guarded-by-passphrase"),
        Change::ToToken { .. } => ("root".to_owned(), "guarding", "guarded-by-token"),
        Change::Escrow { .. } => ("root".to_owned(), "escrowing", "escrowed"),
        Change::NoteRecovery => ("root".to_owned(), "recovering", "recovered"),
    }
}

fn event(key: &str, change: &str, generation: u32, reason: &str) -> Event {
    let (key, change, reason) = (key.to_owned(), change.to_owned(), reason.to_owned());
    Event::KeyChange { key, change, generation, reason }
}

/// The entry that comes before a change.
pub(super) fn decide(scribe: &mut Scribe, change: Box<KeyChange>, now: Timestamp) -> Decided {
    let entries = match &*change {
        KeyChange::Asked { change, reason } => {
            // Only what showed the passphrase comes this far.
            let shown = Claim { who: Claimant::Operator, address: None };
            let who = match scribe.identify(&shown, Act::ChangeKeys) {
                Ok(who) => who,
                Err(denied) => return denied.decided(None, now),
            };
            let (key, begun, _) = named(change);
            vec![entry(now, &who.actor, None, event(&key, begun, 0, reason))]
        }
        KeyChange::Rewrap { .. } | KeyChange::Rewrapped { .. } => Vec::new(),
    };
    let then = vec![Then::ChangeKeys(change)];
    Decided { then, ..Decided::with(entries, Ok(Outcome::Done)) }
}

/// Changes what was decided, with the entry about what came of it.
pub(super) fn carry_out(
    scribe: &mut Scribe,
    change: KeyChange,
    now: Timestamp,
) -> Result<KeysAnswer, Refused> {
    let custody = scribe.custody.clone();
    let custody = custody.ok_or_else(|| Refused::Fault { what: "no root".to_owned() })?;
    let table = Arc::clone(&scribe.table);
    match change {
        KeyChange::Rewrap { organization, from } => {
            let step = table.rewrap_patients(&organization, from, REWRAP_COUNT)?;
            let (rewrapped_count, next) = (step.rewrapped_count, step.next);
            Ok(KeysAnswer::Rewrapped { rewrapped_count, next })
        }
        KeyChange::Rewrapped { organization, patients_count } => {
            let name = of_organization(&organization, "wrap");
            table.retire(&name)?;
            let generation = newest(&table, &name);
            let reason = format!("{patients_count} patients were wrapped again");
            let by = actor(KEEPER);
            let done = event(&name, "older-destroyed", generation, &reason);
            scribe.append(&[entry(now, &by, None, done)])?;
            scribe.compact_soon();
            Ok(KeysAnswer::Changed { generation })
        }
        KeyChange::Asked { change, reason } => {
            let (key, _, done) = named(&change);
            let by = actor(OPERATOR);
            match apply(&custody, &scribe.ledger, &table, change, now) {
                Ok((generation, answer)) => {
                    let done = event(&key, done, generation, &reason);
                    scribe.append(&[entry(now, &by, None, done)])?;
                    Ok(answer)
                }
                Err(refused) => {
                    let failed = event(&key, "failed", 0, &reason);
                    scribe.append(&[entry(now, &by, None, failed)])?;
                    Err(refused)
                }
            }
        }
    }
}

fn newest(table: &KeyTable, name: &str) -> u32 {
    table.named(name).map_or(0, |keys| keys.generation())
}

fn apply(
    custody: &Custody,
    ledger: &Ledger,
    table: &KeyTable,
    change: Change,
    now: Timestamp,
) -> Result<(u32, KeysAnswer), Refused> {
    let mut root = custody.root.lock();
    let generation = match change {
        Change::RotateRoot => {
            let roots = root.begin_rotation()?.clone();
            table.rewrap_named(&roots, now)?;
            root.settle()?;
            roots.newest().number
        }
        Change::RotateNamed { name } => {
            let generation = table.rotate(&name, now)?;
            match name.as_str() {
                "ledger-signer" => change_signer(custody, ledger, table)?,
                "ledger-bodies" => *custody.bodies.0.write() = table.named(&name)?,
                _ => {}
            }
            generation
        }
        Change::RotatePatient { organization, patient } => {
            table.rotate_patient(&organization, patient, now)?.ok_or(Refused::UnknownPatient)?
        }
        Change::RetireSigner => {
            table.retire("ledger-signer")?;
            change_signer(custody, ledger, table)?;
            newest(table, "ledger-signer")
        }
        Change::ToPassphrase { passphrase } => {
            root.protect(GuardText::passphrase(), passphrase.bytes())?;
            *custody.proof.lock() = Proof::of(passphrase.bytes());
            root.roots().newest().number
        }
        Change::ToToken { module, token, pin } => {
            let text = TokenText::create(module.as_ref(), &token, pin.bytes());
            let text = text.map_err(RootError::from)?;
            root.protect(GuardText::Token(text), pin.bytes())?;
            *custody.proof.lock() = Proof::of(pin.bytes());
            root.roots().newest().number
        }
        Change::Escrow { needed, shares } => {
            let shares = root.make_kit(needed, shares, now)?;
            let shares = shares.iter().map(|text| SecretBytes::of(text.as_bytes())).collect();
            return Ok((root.roots().newest().number, KeysAnswer::Shares(shares)));
        }
        Change::NoteRecovery => root.roots().newest().number,
    };
    Ok((generation, KeysAnswer::Changed { generation }))
}

fn change_signer(custody: &Custody, ledger: &Ledger, table: &KeyTable) -> Result<(), Refused> {
    let fault = || Refused::Fault { what: "the signer's key does not sign".to_owned() };
    let signer = signer(&custody.origin, &table.named("ledger-signer")?).ok_or_else(fault)?;
    ledger.change_signer(signer);
    // Whoever asks for a checkpoint now gets one by the new signers. A disk that refuses
    // it takes it later: the keeper tries each second.
    if let Err(error) = ledger.publish_checkpoint() {
        tracing::warn!(%error, "the first checkpoint of the new signers waits");
    }
    Ok(())
}
