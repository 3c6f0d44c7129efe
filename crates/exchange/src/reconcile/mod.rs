//! Reconciliation: releases, access details and the store must tell the same. A job in
//! the background judges what is new, from where it stood before; a gap is an alert with
//! its place. `docs/decisions/0023` has the rules.
//!
//! Invariants: nothing is judged before whatever belongs to it had its time, nor while
//! entries are owed to the ledger; the position moves on after its gaps were told, so a
//! crash may tell one twice and never loses one.

mod judge;
mod used;

pub(crate) use used::uses;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use holdfast_base::{
    CommitNumber, LedgerIndex, MessageId, OrganizationId, PatientId, PrincipalId, Timestamp,
};
use holdfast_ledger::{Entry, Event, Filter, Placed, Touch};
use holdfast_policy::Task;
use holdfast_store::{CommitFacts, ReadError, ResourceKey, Snapshot, Store, Table};
use serde::{Deserialize, Serialize};

use crate::keyring::KEY_LIFE_MS;
use crate::state::{Exchange, server_actor};
use crate::system::Kind;
use crate::{Ask, ExchangeError};
use judge::{Around, REACH_MS, SLACK_MS, Span, place, spans};

/// The detector's name in alerts.
const DETECTOR: &str = holdfast_watch::RECONCILIATION;
/// How long after an entry everything that belongs to it is there.
const SETTLE_MS: i64 = KEY_LIFE_MS + 2 * SLACK_MS;
/// Entries that are judged at once.
const BATCH_COUNT: usize = 1_000;
/// Batches of one round in the background: the rest waits for the next.
const BATCHES_MAX: usize = 20;
/// Gaps that are told one by one; of more, only the count.
const GAPS_MAX: usize = 100;
/// Entries that are judged.
const JUDGED: [&str; 4] = ["key-release", "access", "intake", "store-commit"];
/// Entries that they are held against.
const COMPARED: [&str; 4] = ["key-release", "access", "intake", "release-unused"];
/// Name of the row that holds the position.
const POSITION: &str = "reconciliation";

/// What does not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// Keys left the keeper, and nothing says what for.
    ReleaseWithoutDetail,
    /// The same, and the server was started anew before it could have said so.
    ReleaseInterrupted,
    /// Parts were opened without a release of their keys.
    AccessWithoutRelease,
    /// An access names a version that the store does not have.
    VersionMissing,
    /// A commit wrote versions, and no intake entry names it.
    CommitWithoutEntry,
    /// An intake entry names a commit that is not there or is another message's.
    EntryWithoutCommit,
    /// A store-commit entry does not fit the store's chain.
    ChainDiffers,
}

impl Gap {
    fn text(self) -> &'static str {
        match self {
            Self::ReleaseWithoutDetail => "keys were released and nothing says what for",
            Self::ReleaseInterrupted => {
                "keys were released and the server ended before it said what for"
            }
            Self::AccessWithoutRelease => "an access has no release of its keys before it",
            Self::VersionMissing => "an access names a version that the store does not have",
            Self::CommitWithoutEntry => "the store has a write that no entry tells of",
            Self::EntryWithoutCommit => "an entry tells of a write that the store does not have",
            Self::ChainDiffers => "the store's chain is not the one in the ledger",
        }
    }

    fn severity(self) -> &'static str {
        if self == Self::ReleaseInterrupted { "notice" } else { "critical" }
    }
}

/// A gap and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundGap {
    /// What does not agree.
    pub gap: Gap,
    /// The ledger entry, where there is one.
    pub entry: Option<LedgerIndex>,
    /// The store's transaction, where there is one.
    pub commit: Option<CommitNumber>,
    /// Whose act it is.
    pub principal: PrincipalId,
}

impl FoundGap {
    fn at_entry(gap: Gap, entry: LedgerIndex, principal: &PrincipalId) -> Self {
        Self { gap, entry: Some(entry), commit: None, principal: principal.clone() }
    }

    fn at_commit(self, commit: CommitNumber) -> Self {
        Self { commit: Some(commit), ..self }
    }
}

impl std::fmt::Display for FoundGap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&place(self.entry))?;
        if let Some(commit) = self.commit {
            let comma = if self.entry.is_some() { ", " } else { "" };
            write!(f, "{comma}commit {}", commit.0)?;
        }
        write!(f, ": {}", self.gap.text())
    }
}

/// What a reconciliation looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Key releases.
    pub releases_count: u64,
    /// Access details.
    pub accesses_count: u64,
    /// Transactions of the store.
    pub commits_count: u64,
    /// How many gaps there are in all.
    pub gaps_count: u64,
    /// The gaps, up to a hundred.
    pub gaps: Vec<FoundGap>,
}

impl Reconciled {
    fn add(&mut self, gap: FoundGap) {
        self.gaps_count += 1;
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push(gap);
        }
    }
}

/// How far the job in the background is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReconcileState {
    /// Entries before this one were judged.
    pub entries_done: u64,
    /// Commits up to this one were judged.
    pub commits_done: u64,
    /// When the job last looked.
    pub looked_at: Option<Timestamp>,
    /// What it compared and found since the server started.
    pub found: Reconciled,
}

/// Where the job stands; a sealed row of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The last entry that was judged.
    after: Option<LedgerIndex>,
    /// Commits up to this one were judged.
    commit: CommitNumber,
}

/// The job's memory.
#[derive(Default)]
pub(crate) struct Progress {
    position: Option<Position>,
    /// The newest commit at some instant: judged when its entry has had its time, also
    /// if nothing more is ever written.
    seen: Option<(Timestamp, CommitNumber)>,
    found: Reconciled,
    looked_at: Option<Timestamp>,
}

/// What the store says about a batch.
struct StoreFacts {
    missing: HashSet<LedgerIndex>,
    commits: HashMap<CommitNumber, CommitFacts>,
    written: Vec<CommitNumber>,
    commits_count: u64,
}

impl Exchange {
    /// Holds entries from `from` to `to` (both optional) against each other and against
    /// the store. What is too young to be judged is left out. Tells no alert.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for all but the office of the organization that
    /// runs the exchange, [`ExchangeError::KeeperAway`].
    pub async fn reconcile(
        &self,
        ask: &Ask,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Reconciled, ExchangeError> {
        self.require_whole_reach(ask).await?;
        let filter = Filter { from, to, ..judged() };
        let mut found = Reconciled::default();
        // Where only a part is looked at, commits are judged from its first batch on.
        let mut position = Position::default();
        let mut commit_known = from.is_none();
        while let Some(next) = self.step(&filter, position, commit_known, &mut found).await? {
            (position, commit_known) = (next, true);
        }
        Ok(found)
    }

    /// How far the job in the background is, and what it found.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile).
    pub async fn reconciliation(&self, ask: &Ask) -> Result<ReconcileState, ExchangeError> {
        self.require_whole_reach(ask).await?;
        let progress = self.office().progress.lock().await;
        let position = progress.position.unwrap_or_default();
        Ok(ReconcileState {
            entries_done: position.after.map_or(0, |after| after.0 + 1),
            commits_done: position.commit.0,
            looked_at: progress.looked_at,
            found: progress.found.clone(),
        })
    }

    async fn require_whole_reach(&self, ask: &Ask) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Ledger).await?;
        match self.within_reach(ask, None)? {
            None => Ok(()),
            Some(_) => Err(ExchangeError::NotPermitted { reason: "of-the-whole-exchange" }),
        }
    }

    /// Judges what is new and old enough, and alerts about every gap. Gives whether
    /// there is more to judge at once.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`]; the next time goes on from where this one stood.
    pub async fn reconcile_new(&self) -> Result<bool, ExchangeError> {
        let mut progress = self.office().progress.lock().await;
        self.keyring().sweep(self.now());
        self.tell_unused().await?;
        let known = match progress.position {
            Some(position) => Some(position),
            None => self.load_system(Kind::Reconciliation, POSITION)?,
        };
        let (newest, now) = (self.store().last_commit().0, self.now());
        let Some(mut position) = known else {
            // What was before is for `holdfast ledger reconcile` to look at.
            let size = self.keeper().status().await?.ledger_size;
            let position = Position { after: size.checked_sub(1).map(LedgerIndex), commit: newest };
            self.save_system(Kind::Reconciliation, POSITION, &position).await?;
            progress.position = Some(position);
            return Ok(false);
        };
        progress.position = Some(position);
        progress.looked_at = Some(now);
        if self.owes_entries()? {
            return Ok(false);
        }
        let (seen_at, seen) = *progress.seen.get_or_insert((now, newest));
        for batch in 0..BATCHES_MAX {
            let mut found = Reconciled::default();
            let next = match self.step(&judged(), position, true, &mut found).await? {
                Some(next) => next,
                None if now.millis_since(seen_at) >= SETTLE_MS => {
                    progress.seen = Some((now, newest));
                    let commit = self.commits_to(position, seen, &mut found).await?;
                    Position { commit, ..position }
                }
                None => return Ok(false),
            };
            for gap in &found.gaps {
                self.tell_gap(gap, gap.to_string()).await?;
            }
            if let Some(last) = found.gaps.last().filter(|_| found.gaps_count > GAPS_MAX as u64) {
                let text = format!("{} gaps at once; holdfast ledger reconcile", found.gaps_count);
                self.tell_gap(last, text).await?;
            }
            let moved = next.after != position.after || found.gaps_count > 0;
            add_up(&mut progress.found, found);
            position = next;
            progress.position = Some(position);
            if moved {
                self.save_system(Kind::Reconciliation, POSITION, &position).await?;
            }
            if !moved && batch > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Judges one batch after `position`; `None` when nothing more is old enough.
    async fn step(
        &self,
        filter: &Filter,
        position: Position,
        commit_known: bool,
        found: &mut Reconciled,
    ) -> Result<Option<Position>, ExchangeError> {
        let mut batch = self.keeper().query(filter, position.after, BATCH_COUNT).await?;
        let now = self.now();
        // What a wrong clock dated ahead is not waited for.
        let settled =
            |at: Timestamp| now.millis_since(at) >= SETTLE_MS || at.millis_since(now) > SLACK_MS;
        batch.truncate(batch.iter().take_while(|placed| settled(placed.entry.at)).count());
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(None) };
        let (first, last) = (first.index, last.index);
        self.compare_entries(&batch, found).await?;

        // Commits before a restore are not those that the store has now.
        let restored = self.last_restored(first).await?;
        let current: Vec<&Placed> =
            batch.iter().filter(|placed| Some(placed.index) > restored).collect();
        let named: HashMap<CommitNumber, Option<MessageId>> = current
            .iter()
            .filter_map(|placed| named_by(&placed.entry.event))
            .fold(HashMap::new(), |mut named, (commit, message)| {
                let known = named.entry(commit).or_insert(message);
                *known = known.or(message);
                named
            });
        let top = named.keys().max().copied().unwrap_or_default().max(position.commit);
        let from = if commit_known { position.commit } else { top };
        let facts = self.store_facts(&current, named.keys().copied(), from, top).await?;
        self.compare_store(&current, &facts, found);
        found.commits_count += facts.commits_count;
        let unnamed = facts.written.into_iter().filter(|c| !matches!(named.get(c), Some(Some(_))));
        self.tell_unnamed(unnamed.collect(), last, found).await?;
        Ok(Some(Position { after: Some(last), commit: top }))
    }

    /// Judges the commits after `position` up to `top`, whose entries have had their
    /// time although no younger entry came.
    async fn commits_to(
        &self,
        position: Position,
        top: CommitNumber,
        found: &mut Reconciled,
    ) -> Result<CommitNumber, ExchangeError> {
        if top <= position.commit {
            return Ok(position.commit);
        }
        let facts = self.store_facts(&[], std::iter::empty(), position.commit, top).await?;
        found.commits_count += facts.commits_count;
        let after = position.after.unwrap_or_default();
        self.tell_unnamed(facts.written.into_iter().collect(), after, found).await?;
        Ok(top)
    }

    /// Releases and details against each other.
    async fn compare_entries(
        &self,
        batch: &[Placed],
        found: &mut Reconciled,
    ) -> Result<(), ExchangeError> {
        let judged = |placed: &&Placed| {
            matches!(placed.entry.event, Event::KeyRelease { .. } | Event::Access { .. })
        };
        let about = batch.iter().filter(judged);
        let patients: HashSet<PatientId> =
            about.clone().filter_map(|p| p.entry.event.patient()).map(|(_, p)| p).collect();
        let mut around = Vec::new();
        for (from, to) in spans(about.clone().map(|placed| placed.entry.at).collect()) {
            around.extend(self.compared((from, to), &COMPARED, patients.clone()).await?);
        }
        let compared = Around::of(around.iter().map(|placed| &placed.entry));
        for placed in about {
            match placed.entry.event {
                Event::KeyRelease { .. } => found.releases_count += 1,
                _ => found.accesses_count += 1,
            }
            let Some(mut gap) = compared.judge(placed) else { continue };
            if gap.gap == Gap::ReleaseWithoutDetail {
                let (at, end) = (placed.entry.at, placed.entry.at.plus_millis(REACH_MS));
                let starts =
                    self.compared((at, end), &["service-key-release"], HashSet::new()).await?;
                let starts = starts.iter().map(|placed| &placed.entry);
                let with_starts = Around::of(around.iter().map(|p| &p.entry).chain(starts));
                gap = with_starts.judge(placed).unwrap_or(gap);
            }
            found.add(gap);
        }
        Ok(())
    }

    async fn compared(
        &self,
        (from, to): Span,
        kinds: &[&str],
        patients: HashSet<PatientId>,
    ) -> Result<Vec<Placed>, ExchangeError> {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let (from, to) = (Some(from), Some(to.plus_millis(1)));
        self.all_entries(&Filter { from, to, kinds, patients, ..Filter::default() }).await
    }

    /// The last restore after `first`: what stands before it is about another store.
    async fn last_restored(
        &self,
        first: LedgerIndex,
    ) -> Result<Option<LedgerIndex>, ExchangeError> {
        let filter = Filter { kinds: vec!["restored".to_owned()], ..Filter::default() };
        let after = first.0.checked_sub(1).map(LedgerIndex);
        let restored = self.keeper().query(&filter, after, BATCH_COUNT).await?;
        Ok(restored.last().map(|placed| placed.index))
    }

    /// What the store has of the versions and commits that `entries` name, and which of
    /// the commits after `from` up to `top` wrote versions.
    async fn store_facts(
        &self,
        entries: &[&Placed],
        named: impl Iterator<Item = CommitNumber>,
        from: CommitNumber,
        top: CommitNumber,
    ) -> Result<StoreFacts, ExchangeError> {
        let mut wanted: Vec<(LedgerIndex, Vec<(ResourceKey, u64)>)> = Vec::new();
        let mut missing = HashSet::new();
        for placed in entries {
            let Event::Access { organization, patient, touches, .. } = &placed.entry.event else {
                continue;
            };
            match self.version_keys(organization, *patient, touches) {
                Ok(keys) => wanted.push((placed.index, keys)),
                Err(ExchangeError::NotFound | ExchangeError::NoOrganization(_)) => {
                    missing.insert(placed.index);
                }
                Err(error) => return Err(error),
            }
        }
        let named: Vec<CommitNumber> = named.collect();
        let store = Arc::clone(self.store());
        let looking = tokio::task::spawn_blocking(move || {
            let snapshot = store.snapshot();
            for (index, keys) in wanted {
                if !has_versions(&snapshot, &keys)? {
                    missing.insert(index);
                }
            }
            let mut commits = HashMap::new();
            for commit in named {
                if let Some(facts) = store.commit_facts(commit)? {
                    commits.insert(commit, facts);
                }
            }
            let written = written(&store, from, top)?;
            let commits_count = top.0.saturating_sub(from.0);
            Ok::<_, ReadError>(StoreFacts { missing, commits, written, commits_count })
        });
        let looked = looking.await;
        looked
            .map_err(|_| ExchangeError::Internal("the store's thread ended"))?
            .map_err(ExchangeError::store)
    }

    fn version_keys(
        &self,
        organization: &OrganizationId,
        patient: PatientId,
        touches: &[Touch],
    ) -> Result<Vec<(ResourceKey, u64)>, ExchangeError> {
        let keeping = self.organization(organization)?;
        let key = |touch: &Touch| {
            let key = self.store_key(&keeping, patient, &touch.resource_type, &touch.id)?;
            Ok((key, touch.version))
        };
        touches.iter().map(key).collect()
    }

    fn compare_store(&self, entries: &[&Placed], facts: &StoreFacts, found: &mut Reconciled) {
        for placed in entries {
            let gap = |gap| FoundGap::at_entry(gap, placed.index, &placed.entry.actor.principal);
            match &placed.entry.event {
                Event::Access { .. } if facts.missing.contains(&placed.index) => {
                    found.add(gap(Gap::VersionMissing));
                }
                Event::Intake { message, commit: Some(commit), .. } => {
                    let there = facts.commits.get(commit);
                    if there.is_none_or(|facts| facts.finished != *message) {
                        found.add(gap(Gap::EntryWithoutCommit).at_commit(*commit));
                    }
                }
                Event::StoreCommit { commit, chain } => {
                    let there = facts.commits.get(commit);
                    let same = |facts: &CommitFacts| {
                        data_encoding::HEXLOWER.encode(&facts.chain) == *chain
                    };
                    if !there.is_some_and(same) {
                        found.add(gap(Gap::ChainDiffers).at_commit(*commit));
                    }
                }
                _ => {}
            }
        }
    }

    /// Adds the commits that no intake entry after `after` names either.
    async fn tell_unnamed(
        &self,
        mut unnamed: BTreeSet<CommitNumber>,
        after: LedgerIndex,
        found: &mut Reconciled,
    ) -> Result<(), ExchangeError> {
        let filter = Filter { kinds: vec!["intake".to_owned()], ..Filter::default() };
        let mut after = Some(after);
        while !unnamed.is_empty() {
            let page = self.keeper().query(&filter, after, BATCH_COUNT).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.index);
            for (commit, _) in page.iter().filter_map(|placed| named_by(&placed.entry.event)) {
                unnamed.remove(&commit);
            }
        }
        for commit in unnamed {
            let (gap, principal) = (Gap::CommitWithoutEntry, server_actor().principal);
            found.add(FoundGap { gap, entry: None, commit: Some(commit), principal });
        }
        Ok(())
    }

    /// Whether the ledger has yet to be told of something that was committed.
    fn owes_entries(&self) -> Result<bool, ExchangeError> {
        for row in self.store().snapshot().scan_rows(Table::Outbox, b"e") {
            let (key, _) = row.map_err(ExchangeError::store)?;
            let number = key.get(1..9).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            let message = MessageId(number.map_or(0, u64::from_be_bytes));
            let on_its_way = self.in_work().lock().contains(&message);
            if !on_its_way && !self.office().told.lock().contains(&key) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn tell_gap(&self, gap: &FoundGap, summary: String) -> Result<(), ExchangeError> {
        tracing::error!(gap = gap.gap.text(), "ledger and store do not agree");
        let event = Event::Alert {
            detector: DETECTOR.to_owned(),
            principal: gap.principal.clone(),
            patients_count: 0,
            severity: gap.gap.severity().to_owned(),
            summary,
        };
        let entry = Entry { at: self.now(), actor: server_actor(), request: None, event };
        self.record_entries(vec![entry]).await
    }
}

fn judged() -> Filter {
    Filter { kinds: JUDGED.map(str::to_owned).to_vec(), ..Filter::default() }
}

fn add_up(all: &mut Reconciled, found: Reconciled) {
    all.releases_count += found.releases_count;
    all.accesses_count += found.accesses_count;
    all.commits_count += found.commits_count;
    let told = found.gaps.len() as u64;
    found.gaps.into_iter().for_each(|gap| all.add(gap));
    all.gaps_count += found.gaps_count - told;
}

/// The commit that an entry names; with the message, for intake entries.
fn named_by(event: &Event) -> Option<(CommitNumber, Option<MessageId>)> {
    match event {
        Event::Intake { message, commit: Some(commit), .. } => Some((*commit, Some(*message))),
        Event::StoreCommit { commit, .. } => Some((*commit, None)),
        _ => None,
    }
}

fn has_versions(snapshot: &Snapshot, keys: &[(ResourceKey, u64)]) -> Result<bool, ReadError> {
    for (key, version) in keys {
        if !snapshot.has_version(key, *version)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The commits after `from` up to `top` that wrote versions.
fn written(
    store: &Store,
    from: CommitNumber,
    top: CommitNumber,
) -> Result<Vec<CommitNumber>, ReadError> {
    let mut written = Vec::new();
    for number in from.0 + 1..=top.0 {
        let commit = CommitNumber(number);
        if store.commit_facts(commit)?.is_some_and(|facts| facts.versions_count > 0) {
            written.push(commit);
        }
    }
    Ok(written)
}
