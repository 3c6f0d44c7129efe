//! Segments: some commits, whole, as bytes that another store can be made of.
//! What a backup ships and a restore applies. Unsealed; whoever keeps them seals
//! them.
//!
//! A segment is the layout number 1 and one record a commit (`docs/storage.md`).

use std::path::Path;

use holdfast_base::{Category, CommitNumber};

use crate::chain::{CommitRow, Position};
use crate::check;
use crate::codec::{In, Out};
use crate::content::Content;
use crate::engine::{Durability, Engine, EngineError, FjallEngine, Space, Write};
use crate::error::{OpenError, ReadError};
use crate::folder::{EngineKind, Folder, io};
use crate::layout::damaged;
use crate::snapshot::Snapshot;
use crate::store::Store;

const LAYOUT: u8 = 1;
/// In a folder that is being made from segments: the store's identifier.
const MARK: &str = "restoring";
/// Written to the engine at once.
const CHUNK_BYTES: usize = 4 << 20;

/// Some commits, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The last commit before it.
    pub after: CommitNumber,
    /// Its last commit; the same as `after` when there is none.
    pub to: CommitNumber,
    /// Chain hash after its last commit.
    pub chain: [u8; 32],
    /// Whether every commit is complete. If not, rows that some of its commits
    /// wrote had been written over: only the state that it was read from can be
    /// made of it.
    pub exact: bool,
    /// The commits.
    pub bytes: Vec<u8>,
}

/// What a segment turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proven {
    /// Its last commit.
    pub commit: CommitNumber,
    /// The chain hash there.
    pub chain: [u8; 32],
    /// Commits whose content was hashed again and fits.
    pub hashed_count: u64,
    /// Commits that are linked only: something of them was written over, or their
    /// digest cannot be made again.
    pub linked_count: u64,
}

/// Why segments do not make a store.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The target holds something else.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The target.
        dir: std::path::PathBuf,
    },
    /// The bytes are no segment.
    #[error("after commit {after} the bytes are no commit")]
    Form {
        /// The last commit that could be read.
        after: CommitNumber,
    },
    /// A commit does not follow on the one before.
    #[error("commit {found} does not continue the chain after commit {after}")]
    Chain {
        /// Where the chain stands.
        after: CommitNumber,
        /// What came.
        found: CommitNumber,
    },
    /// A commit's content is not what its digest covers.
    #[error("the content of commit {commit} is not what was committed")]
    Content {
        /// Which.
        commit: CommitNumber,
    },
    /// The target cannot be read or written.
    #[error("the new store cannot be written")]
    Open(#[from] OpenError),
    /// The target cannot be read.
    #[error("the new store cannot be read")]
    Read(#[from] ReadError),
}

impl ImportError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::NotEmpty { .. } => Category::Incorrect,
            _ => Category::Fault,
        }
    }
}

impl Store {
    /// The identifier that the chain begins with.
    pub fn id(&self) -> [u8; 16] {
        self.shared.store_id
    }

    /// Hashes the content of the commits after `after` again, at most
    /// `commits_max` of them: for checks that go through the store bit by bit.
    ///
    /// # Errors
    /// [`ReadError`] that names the first commit whose content is not what was
    /// committed.
    pub fn check_content(
        &self,
        after: CommitNumber,
        commits_max: u64,
    ) -> Result<Proven, ReadError> {
        let pinned = self.shared.published.read().clone();
        let view = pinned.view.as_ref();
        let missing = || damaged(Space::Commits, &CommitRow::key(after), "the row is missing");
        let mut before =
            check::position_at(view, &self.shared.store_id, after)?.ok_or_else(missing)?;
        let mut proven = Proven { commit: after, chain: before.chain, ..Proven::default() };
        let rows = check::commit_rows(view, CommitNumber(after.0 + 1));
        for row in rows.take(usize::try_from(commits_max).unwrap_or(usize::MAX)) {
            let row = row?;
            check::linked(&row, &before)?;
            let content = Content::read(view, row, &before)?;
            before = content.row.position;
            match content.is_authentic() {
                Some(true) => proven.hashed_count += 1,
                Some(false) => {
                    let key = CommitRow::key(before.commit);
                    return Err(damaged(
                        Space::Commits,
                        &key,
                        "the content is not what was committed",
                    ));
                }
                None => proven.linked_count += 1,
            }
            (proven.commit, proven.chain) = (before.commit, before.chain);
        }
        Ok(proven)
    }
}

impl Snapshot {
    /// The commits after `after` up to this snapshot's, as many as fit in about
    /// `bytes_max`, but at least one if there is one.
    ///
    /// # Errors
    /// [`ReadError`], also when a commit's content is not what was committed: no
    /// damage is taken into a backup.
    pub fn segment(&self, after: CommitNumber, bytes_max: usize) -> Result<Segment, ReadError> {
        let (view, store_id) = (self.view(), self.store_id());
        let missing = || damaged(Space::Commits, &CommitRow::key(after), "the row is missing");
        let mut before = check::position_at(view, store_id, after)?.ok_or_else(missing)?;
        let mut out = Out::default().u8(LAYOUT);
        let mut exact = true;
        if after < self.commit() {
            for row in check::commit_rows(view, CommitNumber(after.0 + 1)) {
                let row = row?;
                check::linked(&row, &before)?;
                let content = Content::read(view, row, &before)?;
                before = content.row.position;
                exact &= content.is_complete();
                if content.is_authentic() == Some(false) {
                    let key = CommitRow::key(before.commit);
                    let what = "the content is not what was committed";
                    return Err(damaged(Space::Commits, &key, what));
                }
                out = content.encode(out);
                if out.len() >= bytes_max || before.commit >= self.commit() {
                    break;
                }
            }
        }
        let bytes = out.done();
        Ok(Segment { after, to: before.commit, chain: before.chain, exact, bytes })
    }
}

/// Reads a segment's commits one after the other and proves each.
fn walk(
    bytes: &[u8],
    mut before: Option<Position>,
    mut visit: impl FnMut(Content) -> Result<(), ImportError>,
) -> Result<Proven, ImportError> {
    let mut proven = Proven::default();
    let mut fields = In::new(bytes);
    let form = |proven: &Proven| ImportError::Form { after: proven.commit };
    if fields.u8() != Some(LAYOUT) {
        return Err(form(&proven));
    }
    while !fields.is_empty() {
        let content = Content::decode(&mut fields).ok_or_else(|| form(&proven))?;
        let position = content.row.position;
        if let Some(before) = &before
            && !content.row.follows(before)
        {
            return Err(ImportError::Chain { after: before.commit, found: position.commit });
        }
        match content.is_authentic() {
            Some(true) => proven.hashed_count += 1,
            Some(false) => return Err(ImportError::Content { commit: position.commit }),
            None => proven.linked_count += 1,
        }
        before = Some(position);
        (proven.commit, proven.chain) = (position.commit, position.chain);
        visit(content)?;
    }
    Ok(proven)
}

/// Proves segments one after the other, without making a store of them.
#[derive(Debug)]
pub struct Proof {
    position: Position,
}

impl Proof {
    /// Of the store with this identifier, from its first commit.
    pub fn new(store_id: &[u8; 16]) -> Self {
        Self { position: Position::genesis(store_id) }
    }

    /// Takes the next segment.
    ///
    /// # Errors
    /// [`ImportError`] that names the commit that does not fit.
    pub fn take(&mut self, segment: &[u8]) -> Result<Proven, ImportError> {
        let mut end = self.position;
        let proven = walk(segment, Some(self.position), |content| {
            end = content.row.position;
            Ok(())
        })?;
        self.position = end;
        Ok(proven)
    }

    /// Where it stands.
    pub fn last_commit(&self) -> (CommitNumber, [u8; 32]) {
        (self.position.commit, self.position.chain)
    }
}

/// A store that is being made of segments. Does not open before it is finished;
/// one that was interrupted goes on where it stopped.
pub struct Import {
    folder: Folder,
    engine: FjallEngine,
    store_id: [u8; 16],
    position: Position,
}

impl Import {
    /// Begins in `dir`, which must be absent, empty, or left by an import of the
    /// same store that was interrupted.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn begin(dir: &Path, store_id: [u8; 16]) -> Result<Self, ImportError> {
        let mark = dir.join(MARK);
        let id = format!("{:032x}\n", u128::from_be_bytes(store_id));
        match std::fs::read_to_string(&mark) {
            Ok(text) if text == id => {}
            Ok(_) => return Err(ImportError::NotEmpty { dir: dir.to_owned() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let occupied = std::fs::read_dir(dir).is_ok_and(|mut all| all.next().is_some());
                if occupied {
                    return Err(ImportError::NotEmpty { dir: dir.to_owned() });
                }
            }
            Err(error) => return Err(OpenError::Io { path: mark, source: error }.into()),
        }
        let folder = Folder::lock(dir)?;
        std::fs::write(&mark, &id).map_err(io(&mark))?;
        let engine = FjallEngine::open(&folder.engine()).map_err(OpenError::Engine)?;
        let position = check::newest(engine.view().as_ref(), &store_id)?;
        Ok(Self { folder, engine, store_id, position })
    }

    /// The newest commit that is there.
    pub fn last_commit(&self) -> (CommitNumber, [u8; 32]) {
        (self.position.commit, self.position.chain)
    }

    /// Applies the commits of a segment up to and with `upto`; passes over those
    /// that are there. Durable on return.
    ///
    /// # Errors
    /// [`ImportError`]; what came before it in the segment may have been applied.
    pub fn apply(&mut self, segment: &[u8], upto: CommitNumber) -> Result<Proven, ImportError> {
        let mut position = self.position;
        let engine = &self.engine;
        let mut chunk = Chunk::default();
        let proven = walk(segment, None, |content| {
            let row = &content.row;
            if row.position.commit <= position.commit || row.position.commit > upto {
                return Ok(());
            }
            if !row.follows(&position) {
                let (after, found) = (position.commit, row.position.commit);
                return Err(ImportError::Chain { after, found });
            }
            position = row.position;
            chunk.add(content.into_writes());
            if chunk.bytes >= CHUNK_BYTES {
                chunk.write(engine, Durability::Buffered)?;
            }
            Ok(())
        })?;
        chunk.write(engine, Durability::Synced)?;
        self.position = position;
        Ok(proven)
    }

    /// Makes the folder a store that opens, and opens it once.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn finish(self) -> Result<(CommitNumber, [u8; 32]), ImportError> {
        let Self { folder, engine, store_id, position } = self;
        drop(engine);
        let dir = folder.path().to_owned();
        folder.create_watermark(&position)?;
        folder.write_format(EngineKind::Embedded, &store_id)?;
        let mark = dir.join(MARK);
        std::fs::remove_file(&mark).map_err(io(&mark))?;
        drop(folder);
        Ok(Store::open(&dir)?.last_commit())
    }
}

/// Writes that wait to be one engine batch. No key twice: the last one counts.
#[derive(Default)]
struct Chunk {
    writes: std::collections::BTreeMap<(Space, Vec<u8>), Option<crate::engine::Bytes>>,
    bytes: usize,
}

impl Chunk {
    fn add(&mut self, writes: Vec<Write>) {
        for Write { space, key, value } in writes {
            self.bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            self.writes.insert((space, key), value);
        }
    }

    fn write(&mut self, engine: &dyn Engine, durability: Durability) -> Result<(), ImportError> {
        let writes = std::mem::take(&mut self.writes).into_iter();
        let writes = writes.map(|((space, key), value)| Write { space, key, value });
        let writes: Vec<Write> = writes.collect();
        self.bytes = 0;
        let written = engine.write(&writes, durability);
        Ok(written.map_err(|error| OpenError::Engine(EngineError::new(error)))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::{RowWrite, Table, Transaction};

    #[test]
    fn p14_a_changed_value_of_a_row_is_found_by_its_commits_digest() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("opens");
        let row = RowWrite { table: Table::Link, key: vec![7], value: Some(vec![1; 9]) };
        let transaction = Transaction { rows: vec![row], ..Transaction::default() };
        store.commit(transaction).expect("commits");
        let key = [Table::Link as u8, 7];
        let engine_dir = dir.path().join("engine");
        drop(store);
        let engine = FjallEngine::open(&engine_dir).expect("opens");
        let value = engine.view().get(Space::Rows, &key).expect("reads").expect("is there");
        let mut changed = value.to_vec();
        *changed.last_mut().expect("bytes") ^= 1;
        let write = Write { space: Space::Rows, key: key.to_vec(), value: Some(changed.into()) };
        engine.write(&[write], Durability::Synced).expect("writes");
        drop(engine);
        let store = Store::open(dir.path()).expect("opens: the links are right");
        let told = store.check().expect_err("changed");
        assert!(told.to_string().contains("commits 0000000000000001"), "{told}");
        assert!(store.snapshot().segment(CommitNumber(0), 1).is_err(), "not taken into a backup");
    }
}
