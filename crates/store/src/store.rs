//! The store itself: open, commit, keep, snapshot.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use holdfast_base::{CommitNumber, MessageId};
use parking_lot::RwLock;

use crate::apply::Work;
use crate::chain::Position;
use crate::check;
use crate::engine::Engine;
use crate::error::{CommitError, OpenError, ReadError};
use crate::folder::{Folder, io};
use crate::location::{self, Opened, StoreLocation};
use crate::model::KeptPayload;
use crate::past;
use crate::queue::Queue;
use crate::recent::Recent;
use crate::snapshot::{Pinned, Snapshot};
use crate::transaction::{Committed, Transaction};
use crate::writer::Writer;

/// The sealed store of one server. Thread-safe; share it in an `Arc`.
///
/// Calls block (on the disk, and in [`commit`](Self::commit) and
/// [`keep`](Self::keep) on the queue): call them from blocking threads.
/// Dropping the store finishes what waits in the queue.
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What callers and the writer share.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    /// What new snapshots see: the newest durable commit.
    pub(crate) published: RwLock<Arc<Pinned>>,
    pub(crate) store_id: [u8; 16],
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) folder: Arc<Folder>,
}

/// What a commit did, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitFacts {
    /// The chain hash after it.
    pub chain: [u8; 32],
    /// The kept payload that it finished or put back; 0 for none.
    pub finished: MessageId,
    /// How many versions it wrote.
    pub versions_count: usize,
}

impl Store {
    /// Opens the store in `dir`, or makes one where there is none.
    ///
    /// Checks the schema, the newest acknowledged commit, the chain and counts
    /// of the newest commits and that what these wrote is there.
    /// [`check`](Self::check) looks at everything.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is served from a store that does not open.
    pub fn open(dir: &Path) -> Result<Store, OpenError> {
        Self::open_at(&StoreLocation::Folder(dir.to_owned()))
    }

    /// [`open`](Self::open), on the engine that `location` says.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_at(location: &StoreLocation) -> Result<Store, OpenError> {
        Self::start(location::open(location)?)
    }

    pub(crate) fn start(opened: Opened) -> Result<Store, OpenError> {
        let Opened { folder, engine, store_id } = opened;
        let folder = Arc::new(folder);
        let view = engine.view();
        let (mut watermark, acknowledged, chain) = folder.open_watermark()?;
        let position = check::newest(view.as_ref(), &store_id)?;
        check::recent(view.as_ref(), &store_id, &position)?;
        check::acknowledged(view.as_ref(), &store_id, &position, acknowledged, &chain)?;
        if position.commit > acknowledged {
            // Nobody was told of these commits before they are shown now.
            engine.sync().map_err(OpenError::Engine)?;
            let advanced = watermark.advance(&position);
            advanced.map_err(io(&folder.watermark()))?;
        }
        let past_after = past::read_after(view.as_ref())?;
        let (first, recent) = (MessageId(0), Arc::new(Recent::new(position.commit)));
        let (own, its) = (engine.clone(), folder.clone());
        let pinned = Pinned::new(view, position, first, store_id, recent, own, its);
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            published: RwLock::new(Arc::new(pinned)),
            store_id,
            engine,
            folder,
        });
        let writer = Writer::new(shared.clone(), watermark, past_after);
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let writer = thread
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io { path: "store-writer".into(), source })?;
        Ok(Store { shared, writer: Some(writer) })
    }

    /// A view of everything up to the newest durable commit. Cheap; keep it for
    /// the length of a request, not for ever.
    pub fn snapshot(&self) -> Snapshot {
        let pinned = self.shared.published.read().clone();
        let commit = pinned.position.commit;
        Snapshot::at(pinned, commit)
    }

    /// Resources as they were after commit `commit`: for the later pages of a
    /// search. Generic rows and the inbox have no versions: they show as they
    /// are now. `None` when there is no such commit yet.
    pub fn snapshot_at(&self, commit: CommitNumber) -> Option<Snapshot> {
        let pinned = self.shared.published.read().clone();
        (commit <= pinned.position.commit).then(|| Snapshot::at(pinned, commit))
    }

    /// Writes `transaction`, all of it or nothing. Durable on return. Shares one
    /// fsync with whatever else waits; not safe to repeat blindly after
    /// [`CommitError::Engine`].
    ///
    /// # Errors
    /// [`CommitError`]; a precondition that fails concerns its own transaction
    /// only.
    pub fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let (work, bytes) = Work::transaction(transaction)?;
        let Position { commit, chain, .. } = self.shared.queue.submit(work, bytes)?.position;
        Ok(Committed { commit, chain })
    }

    /// Keeps an inbound payload as pending. Durable on return.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn keep(&self, payload: &KeptPayload) -> Result<MessageId, CommitError> {
        let (work, bytes) = Work::keep(payload)?;
        Ok(self.shared.queue.submit(work, bytes)?.position.message)
    }

    /// The newest durable commit and its chain hash; commit 0 and the hash of
    /// the store's identifier when there is none.
    pub fn last_commit(&self) -> (CommitNumber, [u8; 32]) {
        let position = self.shared.published.read().position;
        (position.commit, position.chain)
    }

    /// The chain hash after `commit`: to compare with what the ledger knows.
    /// `None` when there is no such commit or its row cannot be read; the first
    /// cannot happen to a commit that was acknowledged.
    pub fn chain_at(&self, commit: CommitNumber) -> Option<[u8; 32]> {
        let pinned = self.shared.published.read().clone();
        match check::position_at(pinned.view.as_ref(), &self.shared.store_id, commit) {
            Ok(position) => position.map(|position| position.chain),
            Err(error) => {
                tracing::error!(commit = commit.0, %error, "a commit row cannot be read");
                None
            }
        }
    }

    /// What `commit` did, in numbers: to compare with what the ledger says of it. `None`
    /// when there is no such commit.
    ///
    /// # Errors
    /// [`ReadError`] when its row cannot be read.
    pub fn commit_facts(&self, commit: CommitNumber) -> Result<Option<CommitFacts>, ReadError> {
        let pinned = self.shared.published.read().clone();
        if commit > pinned.position.commit {
            return Ok(None);
        }
        let row = check::commit_row(pinned.view.as_ref(), commit)?;
        Ok(row.map(|row| CommitFacts {
            chain: row.position.chain,
            finished: row.finished,
            versions_count: row.puts.len(),
        }))
    }

    /// Looks at everything: every link of the chain, every version with its body,
    /// every kept payload, and hashes again what each commit wrote. Takes as long
    /// as reading everything does; commits go on meanwhile.
    ///
    /// # Errors
    /// [`ReadError`] that names the first place that does not fit.
    pub fn check(&self) -> Result<check::CheckReport, ReadError> {
        let pinned = self.shared.published.read().clone();
        let report =
            check::everything(pinned.view.as_ref(), &self.shared.store_id, &pinned.position)?;
        self.check_content(CommitNumber(0), pinned.position.commit.0)?;
        Ok(report)
    }

    /// [`check`](Self::check) without hashing: every link, version, row and message.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_links(&self) -> Result<check::CheckReport, ReadError> {
        let pinned = self.shared.published.read().clone();
        check::everything(pinned.view.as_ref(), &self.shared.store_id, &pinned.position)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("last", &self.last_commit().0).finish_non_exhaustive()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer had panicked");
        }
    }
}
