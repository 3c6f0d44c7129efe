//! Making a backup of a running exchange.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use holdfast_base::{CommitNumber, Timestamp};
use holdfast_keeper::{KeeperClient, KeyRows, Proof, SystemKey};
use holdfast_store::{Snapshot, Store};

use crate::manifest::{Manifest, Part, Run};
use crate::source::{Source, manifest_object};
use crate::{BackupError, Target};

/// Bytes of a segment, about: few objects, and none that is slow to repeat.
const SEGMENT_BYTES: usize = 8 << 20;
/// Bytes of an object of key rows or ledger records, about.
const PART_BYTES: usize = 8 << 20;

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub number: u64,
    /// The commit that it ends at.
    pub commit: CommitNumber,
    /// Commits that it added.
    pub commits_count: u64,
    /// Whether every one of them can be restored to.
    pub exact: bool,
    /// Entries of the ledger in it.
    pub entries_count: u64,
    /// Objects and bytes that were written.
    pub objects_count: u64,
    /// Sealed bytes that were written.
    pub bytes: u64,
}

/// Ships what came since the last backup in `target`, or everything. Commits go on
/// meanwhile and are not in it.
///
/// # Errors
/// [`BackupError`]; without its manifest the backup does not exist.
pub async fn back_up(
    store: &Arc<Store>,
    (keeper, proof): (&KeeperClient, &Proof),
    (key, wrapped): (SystemKey, KeyRows),
    target: Target,
    origin: &str,
    now: Timestamp,
) -> Result<Report, BackupError> {
    let source = Source::begin(target, key, &wrapped, store.id()).await?;
    let numbers = source.numbers().await?;
    let number = numbers.last().map_or(1, |last| last + 1);
    let before = ancestor(&source, store, &numbers).await?;
    // What is written over from here on is kept, so that the next backup is exact.
    if store.past_after()?.is_none() {
        let (own, commit) = (Arc::clone(store), store.last_commit().0);
        blocking(move || Ok(own.keep_past(Some(commit))?)).await?;
    }
    let mut writing = Writing { source: &source, number, objects_count: 0, bytes: 0 };

    // First the store, then what its commits refer to.
    let snapshot = store.snapshot();
    let mut at = before.as_ref().map_or(0, Manifest::commit);
    let mut run =
        Run { number, at: now, after: at, to: at, chain: chain_of(store, at)?, exact: true };
    let mut commits = before.as_ref().map(|b| b.commits.clone()).unwrap_or_default();
    let mut index = 0;
    while at < snapshot.commit().0 {
        let segment = segment(&snapshot, at).await?;
        let object = format!("commits/{number:010}/{index:06}");
        let bytes = writing.write(&object, &segment.bytes).await?;
        commits.push(Part { object, bytes, after: at, to: segment.to.0 });
        at = segment.to.0;
        index += 1;
        (run.to, run.chain) = (at, HEXLOWER.encode(&segment.chain));
        run.exact &= segment.exact;
    }
    drop(snapshot);
    let keys = writing.keys(keeper, proof).await?;
    // The checkpoint before the records: it may be of fewer, never of more.
    let checkpoint = keeper.status().await?.checkpoint;
    let had = before.as_ref().map(|b| b.ledger.clone()).unwrap_or_default();
    let ledger = writing.ledger((keeper, proof), had).await?;

    let (commit, commits_count, exact) = (CommitNumber(run.to), run.to - run.after, run.exact);
    let mut runs = before.map(|b| b.runs).unwrap_or_default();
    runs.push(run);
    let manifest = Manifest {
        format: 1,
        number,
        at: now,
        store: HEXLOWER.encode(&store.id()),
        runs,
        commits,
        keys,
        ledger,
        origin: origin.to_owned(),
        checkpoint,
    };
    let entries_count = manifest.ledger_len();
    let text = serde_json::to_vec(&manifest)
        .map_err(|_| BackupError::Internal("the manifest has no form"))?;
    writing.write(&manifest_object(number), &text).await?;
    let (objects_count, bytes) = (writing.objects_count, writing.bytes);
    let own = Arc::clone(store);
    blocking(move || Ok(own.keep_past(Some(commit))?)).await?;
    Ok(Report { number, commit, commits_count, exact, entries_count, objects_count, bytes })
}

/// The newest backup that the store as it is now continues.
async fn ancestor(
    source: &Source,
    store: &Store,
    numbers: &[u64],
) -> Result<Option<Manifest>, BackupError> {
    for number in numbers.iter().rev() {
        let manifest = source.manifest(*number).await?;
        let ours = store.chain_at(CommitNumber(manifest.commit()));
        let theirs = manifest.runs.last().map(|run| run.chain.clone());
        if ours.is_some() && ours.map(|chain| HEXLOWER.encode(&chain)) == theirs {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

fn chain_of(store: &Store, commit: u64) -> Result<String, BackupError> {
    let chain = store.chain_at(CommitNumber(commit));
    let chain = chain.ok_or(BackupError::Internal("a commit has no row"))?;
    Ok(HEXLOWER.encode(&chain))
}

async fn segment(snapshot: &Snapshot, after: u64) -> Result<holdfast_store::Segment, BackupError> {
    let snapshot = snapshot.clone();
    blocking(move || Ok(snapshot.segment(CommitNumber(after), SEGMENT_BYTES)?)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|_| BackupError::Internal("a thread ended"))?
}

struct Writing<'a> {
    source: &'a Source,
    number: u64,
    objects_count: u64,
    bytes: u64,
}

impl Writing<'_> {
    async fn write(&mut self, object: &str, plain: &[u8]) -> Result<u64, BackupError> {
        let bytes = self.source.write(object, plain).await?;
        self.objects_count += 1;
        self.bytes += bytes;
        Ok(bytes)
    }

    /// The whole key table: rows are replaced when keys are forgotten or wrapped
    /// anew, so there is nothing to add to.
    async fn keys(
        &mut self,
        keeper: &KeeperClient,
        proof: &Proof,
    ) -> Result<Vec<Part>, BackupError> {
        let mut parts = Vec::new();
        let (mut after, mut done) = (None, false);
        while !done {
            let (mut rows, mut size) = (Vec::new(), 0);
            while !done && size < PART_BYTES {
                let (more, last) = keeper.copy_keys(proof, after.take()).await?;
                size += more.iter().map(|(_, key, value)| key.len() + value.len()).sum::<usize>();
                done = last;
                after = more.last().map(|(space, key, _)| (space.clone(), key.clone()));
                rows.extend(more);
            }
            let object = format!("keys/{:010}/{:06}", self.number, parts.len());
            let plain = postcard::to_stdvec(&rows)
                .map_err(|_| BackupError::Internal("key rows have no form"))?;
            let bytes = self.write(&object, &plain).await?;
            parts.push(Part { object, bytes, after: 0, to: 0 });
        }
        Ok(parts)
    }

    /// The records that `had` lacks. More than the checkpoint covers, never fewer:
    /// it was asked for before.
    async fn ledger(
        &mut self,
        (keeper, proof): (&KeeperClient, &Proof),
        had: Vec<Part>,
    ) -> Result<Vec<Part>, BackupError> {
        let mut parts = had;
        let mut from = parts.last().map_or(0, |part| part.to);
        let mut index = 0;
        let end = keeper.status().await?.ledger_size;
        while from < end {
            let (mut plain, after) = (Vec::new(), from);
            while from < end && plain.len() < PART_BYTES {
                let (records, next) = keeper.copy_ledger(proof, from).await?;
                if next <= from {
                    return Err(BackupError::Internal("the ledger gives no more records"));
                }
                plain.extend_from_slice(&records);
                from = next;
            }
            let object = format!("ledger/{:010}/{index:06}", self.number);
            let bytes = self.write(&object, &plain).await?;
            parts.push(Part { object, bytes, after, to: from });
            index += 1;
        }
        Ok(parts)
    }
}
