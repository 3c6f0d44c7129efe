//! The one thread that writes: takes what waits, writes it as one batch, publishes
//! it, answers.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use holdfast_base::{CommitNumber, MessageId};

use crate::apply::{Batch, Receipt};
use crate::chain::Position;
use crate::engine::{Durability, EngineError, Settled, Write, WriteError};
use crate::error::CommitError;
use crate::folder::Watermark;
use crate::queue::Job;
use crate::snapshot::Pinned;
use crate::store::Shared;

/// Between two attempts to learn what became of a batch: short beside the seconds
/// that a database takes to come back, long beside an attempt.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
/// After so many attempts (half a minute, unless each takes long) callers are told
/// that it is not known. The attempts go on.
const SETTLE_PATIENCE: u32 = 300;

type Answer = SyncSender<Result<Receipt, CommitError>>;

/// The writer, with what only it may touch.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    watermark: Watermark,
    /// From which commit on what is written over is kept.
    past_after: Option<CommitNumber>,
}

/// What reached the disk is not known: only opening anew will tell.
struct Broken;

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        watermark: Watermark,
        past_after: Option<CommitNumber>,
    ) -> Self {
        Self { shared, watermark, past_after }
    }

    /// Writes until the queue is closed and empty, or the engine is broken.
    pub(crate) fn run(mut self) {
        // Whatever ends this thread, nobody may wait for it in vain.
        struct Abandon(Arc<Shared>);
        impl Drop for Abandon {
            fn drop(&mut self) {
                self.0.queue.abandon();
            }
        }
        let _abandon = Abandon(self.shared.clone());
        while let Some(jobs) = self.shared.queue.take() {
            if self.write(jobs).is_err() {
                break;
            }
        }
        if let Err(error) = self.watermark.sync() {
            tracing::error!(%error, "the watermark was not synced");
        }
    }

    /// Checks the jobs in order, writes those that may be written in one synced
    /// batch, publishes it, then answers.
    fn write(&mut self, jobs: Vec<Job>) -> Result<(), Broken> {
        let before = self.shared.published.read().clone();
        let mut batch = Batch::new(before.view.as_ref(), before.position, self.past_after);
        if let Err(error) = batch.read_ahead(jobs.iter().map(|job| &job.work)) {
            tracing::warn!(%error, "the checks of a batch were not read ahead");
        }
        let mut admitted = Vec::with_capacity(jobs.len());
        let mut refused = Vec::new();
        for job in jobs {
            match batch.admit(job.work) {
                Ok(receipt) => admitted.push((job.answer, receipt)),
                Err(error) => refused.push((job.answer, error)),
            }
        }
        let position = batch.position();
        let pending_from = batch
            .first_pending()
            .map_or(before.pending_from, |first| first.min(before.pending_from));
        let past_after = batch.past_after();
        let writes = batch.into_writes();
        let written = if writes.is_empty() {
            Ok(Settled::Written)
        } else {
            self.write_durably(&writes, position, &mut admitted)
        };
        match written {
            Ok(Settled::Written) => {
                self.past_after = past_after;
                if !writes.is_empty() {
                    before.recent.forget(&writes, position.commit);
                    self.publish(position, pending_from);
                }
                for (answer, receipt) in admitted {
                    let _gone = answer.send(Ok(receipt));
                }
                for (answer, error) in refused {
                    let _gone = answer.send(Err(error));
                }
                Ok(())
            }
            Ok(Settled::NotWritten) => {
                // Others were refused because of what was not written now.
                let admitted = admitted.into_iter().map(|(answer, _)| answer);
                for answer in admitted.chain(refused.into_iter().map(|(answer, _)| answer)) {
                    let _gone = answer.send(Err(CommitError::Away));
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(commit = position.commit.0, %error, "the storage engine failed");
                for (answer, _) in admitted {
                    let _gone = answer.send(Err(CommitError::Engine(error.clone())));
                }
                for (answer, _) in refused {
                    let _gone = answer.send(Err(CommitError::Stopped));
                }
                Err(Broken)
            }
        }
    }

    fn write_durably(
        &self,
        writes: &[Write],
        position: Position,
        admitted: &mut Vec<(Answer, Receipt)>,
    ) -> Result<Settled, EngineError> {
        match self.shared.engine.write(writes, Durability::Synced) {
            Ok(()) => Ok(Settled::Written),
            Err(WriteError::NotWritten(error)) => {
                let commit = position.commit.0;
                tracing::warn!(commit, %error, "the storage engine takes no commits");
                Ok(Settled::NotWritten)
            }
            Err(WriteError::InDoubt(error)) => {
                let commit = position.commit.0;
                tracing::warn!(commit, %error, "the end of a commit is not known yet");
                self.shared.queue.turn_away(true);
                let settled = self.settle(admitted);
                self.shared.queue.turn_away(false);
                tracing::warn!(commit, ?settled, "the end of a commit was looked up");
                settled
            }
            Err(WriteError::Broken(error)) => Err(error),
        }
    }

    /// Asks until the engine knows what became of the batch. Meanwhile the queue
    /// turns everybody away.
    fn settle(&self, admitted: &mut Vec<(Answer, Receipt)>) -> Result<Settled, EngineError> {
        let mut attempts = 0;
        loop {
            match self.shared.engine.settle() {
                Ok(settled) => return Ok(settled),
                Err(WriteError::Broken(error)) => return Err(error),
                Err(WriteError::InDoubt(error) | WriteError::NotWritten(error)) => {
                    attempts += 1;
                    if attempts == SETTLE_PATIENCE {
                        for (answer, _) in admitted.drain(..) {
                            let _gone = answer.send(Err(CommitError::Engine(error.clone())));
                        }
                    }
                    if !self.shared.queue.pause(SETTLE_PAUSE) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Shows the engine's new state to new snapshots.
    fn publish(&mut self, position: Position, pending_from: MessageId) {
        if let Err(error) = self.watermark.advance(&position) {
            // The commit is durable; only the check at the next open is weaker.
            tracing::error!(commit = position.commit.0, %error, "the watermark stands still");
        }
        let Shared { engine, folder, published, store_id, .. } = &*self.shared;
        let recent = published.read().recent.clone();
        let (own, its) = (engine.clone(), folder.clone());
        let view = engine.view();
        let pinned = Pinned::new(view, position, pending_from, *store_id, recent, own, its);
        *published.write() = Arc::new(pinned);
    }
}
