//! What a backup takes from the keeper, and what a restore gives back: rows of the
//! key table, wrapped as they are, and sealed records of the ledger.

use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode, Readable};
use holdfast_base::Timestamp;
use holdfast_ledger::Ledger;

use super::acts::Claim;
use super::rules::Act;
use super::scribe::{Decided, Outcome, Scribe, entry, service_release};
use super::server::fault;
use crate::error::Refused;
use crate::keyring::Keys;
use crate::protocol::{Answer, PART_BYTES};
use crate::root::Roots;
use crate::table::{KeyTable, TableError, named};

/// Rows of the key table: keyspace, key, value.
pub type KeyRows = Vec<(String, Vec<u8>, Vec<u8>)>;

/// The named key that the backup key is derived from.
const NAMED: &str = "system";

/// Whether somebody may make a backup; with a reason, the entry of the key that it is
/// sealed under.
pub(super) fn decide(
    scribe: &mut Scribe,
    claim: &Claim,
    reason: Option<String>,
    now: Timestamp,
) -> Decided {
    let who = match scribe.identify(claim, Act::Backup) {
        Ok(who) => who,
        Err(denied) => return denied.decided(None, now),
    };
    let release = |reason: String| entry(now, &who.actor, None, service_release("backup", &reason));
    Decided::with(reason.map(release).into_iter().collect(), Ok(Outcome::Done))
}

/// The key that backups are sealed under, and the rows that it can be made of with
/// nothing but the root key: a restore has no key table yet.
pub(super) fn backup_keys(table: &KeyTable) -> Result<Answer, Refused> {
    let database = table.database();
    let keyspace = database.keyspace("named", KeyspaceCreateOptions::default).map_err(fault)?;
    let mut wrapped = KeyRows::new();
    for row in database.snapshot().prefix(&keyspace, [NAMED.as_bytes(), &[0]].concat()) {
        let (key, value) = row.into_inner().map_err(fault)?;
        wrapped.push(("named".to_owned(), key.to_vec(), value.to_vec()));
    }
    Ok(Answer::BackupKey { keys: backup_of(&table.named(NAMED)?), wrapped })
}

/// The backup key under each generation.
fn backup_of(system: &Keys) -> Keys {
    system.derive("holdfast/v1/backup")
}

/// The backup key from such rows.
pub(super) fn unwrap(wrapped: &KeyRows, roots: &Roots) -> Result<Keys, TableError> {
    let mut generations = Vec::new();
    for (_, key, value) in wrapped {
        let (_, generation) = named::parse(key, value, roots)?;
        generations.push((generation.number, generation.secret));
    }
    let keys = Keys::of(generations).ok_or(TableError::Damaged { row: "named key" })?;
    Ok(backup_of(&keys))
}

/// Rows after `after`, about one frame of them, over all keyspaces in order.
pub(super) fn keys(table: &KeyTable, after: Option<(String, Vec<u8>)>) -> Result<Answer, Refused> {
    let database = table.database();
    let mut names: Vec<String> =
        database.list_keyspace_names().iter().map(|name| name.to_string()).collect();
    names.sort();
    let snapshot = database.snapshot();
    let (mut rows, mut bytes) = (KeyRows::new(), 0);
    for name in names {
        let from = match &after {
            Some((space, _)) if *space > name => continue,
            Some((space, key)) if *space == name => std::ops::Bound::Excluded(key.clone()),
            _ => std::ops::Bound::Unbounded,
        };
        let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default).map_err(fault)?;
        let range = (from, std::ops::Bound::<Vec<u8>>::Unbounded);
        for row in snapshot.range(&keyspace, range) {
            if bytes >= PART_BYTES {
                return part(&rows, false);
            }
            let (key, value) = row.into_inner().map_err(fault)?;
            bytes += key.len() + value.len() + name.len() + 8;
            rows.push((name.clone(), key.to_vec(), value.to_vec()));
        }
    }
    part(&rows, true)
}

fn part(rows: &KeyRows, last: bool) -> Result<Answer, Refused> {
    Ok(Answer::Part { bytes: postcard::to_stdvec(rows).map_err(fault)?, last })
}

/// Records from `from` on, about one frame of them, after the index behind them.
pub(super) fn ledger(ledger: &Ledger, from: u64) -> Result<Answer, Refused> {
    let (records, next) = ledger.copy_records(from, PART_BYTES).map_err(fault)?;
    let mut bytes = next.to_be_bytes().to_vec();
    bytes.extend_from_slice(&records);
    Ok(Answer::Part { bytes, last: true })
}

/// Writes rows into the key table in `dir`, which is made if need be. Durable on
/// return.
pub(super) fn restore_keys(
    dir: &Path,
    all: impl Iterator<Item = KeyRows>,
) -> Result<(), TableError> {
    let database = Database::builder(dir).open()?;
    for rows in all {
        let mut batch = database.batch();
        for (name, key, value) in rows {
            let keyspace = database.keyspace(&name, KeyspaceCreateOptions::default)?;
            batch.insert(&keyspace, key, value);
        }
        batch.commit()?;
    }
    Ok(database.persist(PersistMode::SyncAll)?)
}
