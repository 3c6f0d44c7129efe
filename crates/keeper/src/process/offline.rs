//! The keeper's folder without a keeper: for restoring. Whoever has the root key
//! and its passphrase may do this, and it leaves an entry.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use holdfast_base::{Clock, CommitNumber, Timestamp};
use holdfast_ledger::{Actor, Entry, Event, Ledger, LedgerKeys, OpenError};
use parking_lot::RwLock;

use super::copy::{KeyRows, restore_keys, unwrap};
use super::{Bodies, StartError, lock, root_failed, signer, standing};
use crate::root::{FILE_NAME, OpenRoot, RootError};
use crate::sealing::SystemKey;
use crate::steps::Steps;
use crate::table::KeyTable;

/// What the ledger says about the store's commits.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged {
    /// Chain value (hex) and time, by commit: those that the store must hold.
    pub commits: BTreeMap<CommitNumber, (String, Timestamp)>,
}

impl Acknowledged {
    /// The newest one.
    pub fn last(&self) -> Option<CommitNumber> {
        self.commits.last_key_value().map(|(commit, _)| *commit)
    }

    /// The newest one that was acknowledged by `at`.
    pub fn by(&self, at: Timestamp) -> Option<CommitNumber> {
        let by_then = self.commits.iter().filter(|(_, (_, when))| *when <= at);
        by_then.map(|(commit, _)| *commit).next_back()
    }

    /// The first and the last one after `commit`, with their times.
    pub fn after(
        &self,
        commit: CommitNumber,
    ) -> Option<((CommitNumber, Timestamp), (CommitNumber, Timestamp))> {
        let mut later = self.commits.range(CommitNumber(commit.0 + 1)..);
        let first = later.next().map(|(commit, (_, at))| (*commit, *at))?;
        let last = later.next_back().map_or(first, |(commit, (_, at))| (*commit, *at));
        Some((first, last))
    }
}

fn root_of(dir: &Path, passphrase: &[u8]) -> Result<OpenRoot, StartError> {
    if !dir.join(FILE_NAME).exists() {
        return Err(root_failed(dir, RootError::Missing));
    }
    OpenRoot::open(dir, passphrase, Steps::default()).map_err(|error| root_failed(dir, error))
}

/// The key that backups are sealed under, from the root key in `dir` and the rows
/// that lie beside the backups.
///
/// # Errors
/// [`StartError`]; [`StartError::KeyTable`] when they are wrapped under another root.
pub fn backup_key(
    dir: &Path,
    passphrase: &[u8],
    wrapped: &KeyRows,
) -> Result<SystemKey, StartError> {
    Ok(SystemKey::new(unwrap(wrapped, root_of(dir, passphrase)?.roots())?))
}

/// A keeper's folder that no keeper has open.
pub struct Offline {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    _lock: File,
}

impl Offline {
    /// Writes rows of a key table into the keeper's folder `dir`.
    ///
    /// # Errors
    /// [`StartError`] when the disk refuses.
    pub fn restore_keys(dir: &Path, rows: impl Iterator<Item = KeyRows>) -> Result<(), StartError> {
        Ok(restore_keys(dir, rows)?)
    }

    /// Opens ledger and key table: proves the ledger against its signed checkpoint
    /// and that the root key opens the table's organizations.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn open(
        dir: &Path,
        origin: &str,
        passphrase: &[u8],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let root = root_of(dir, passphrase)?;
        let lock = lock::take(dir);
        let lock = lock.map_err(|source| StartError::Io { path: dir.to_owned(), source })?;
        let lock = lock.ok_or(StartError::Ledger(OpenError::AlreadyOpen))?;
        let table = KeyTable::open(&dir.join("keys"), root.roots(), clock.now(), Steps::default())?;
        let signer = signer(origin, &table.named("ledger-signer")?)
            .ok_or_else(|| StartError::Origin { origin: origin.to_owned() })?;
        let bodies = Bodies(Arc::new(RwLock::new(table.named("ledger-bodies")?)));
        let keys = LedgerKeys { sealer: Box::new(bodies), signer };
        let ledger = Ledger::open(&dir.join("ledger"), origin, keys, Arc::clone(&clock))?;
        Ok(Self { ledger, clock, _lock: lock })
    }

    /// Entries in the ledger.
    pub fn ledger_len(&self) -> u64 {
        self.ledger.len()
    }

    /// What the store must hold.
    ///
    /// # Errors
    /// [`StartError`] when an entry cannot be read.
    pub fn acknowledged(&self) -> Result<Acknowledged, StartError> {
        let mut found = Acknowledged::default();
        let filter = standing::kinds(&["store-commit", "restored"]);
        standing::each(&self.ledger, &filter, 0, |placed| match placed.entry.event {
            Event::StoreCommit { commit, chain } => {
                found.commits.insert(commit, (chain, placed.entry.at));
            }
            Event::Restored { commit, chain, .. } => {
                found.commits.split_off(&commit);
                found.commits.insert(commit, (chain, placed.entry.at));
            }
            _ => {}
        })?;
        Ok(found)
    }

    /// Writes down that the store was brought back to `commit`, and signs it.
    /// Durable on return.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn record_restored(
        &self,
        actor: &Actor,
        commit: CommitNumber,
        chain: String,
        acknowledged: CommitNumber,
        reason: &str,
    ) -> Result<(), StartError> {
        let reason = reason.to_owned();
        let event = Event::Restored { commit, chain, acknowledged, reason };
        let entry = Entry { at: self.clock.now(), actor: actor.clone(), request: None, event };
        let refused = |_| StartError::Stopped { what: "the ledger refused the entry" };
        self.ledger.append(&[entry]).map_err(refused)?;
        self.ledger.publish_checkpoint().map_err(refused)?;
        Ok(())
    }
}
