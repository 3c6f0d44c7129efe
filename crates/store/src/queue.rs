//! The commit queue: many submitters, one writer, one fsync for all that wait.
//!
//! Bounds: a full queue makes submitters wait, so memory stays bounded when the
//! disk is slower than the doors.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::apply::{COMMIT_BYTES_MAX, Receipt, Work};
use crate::error::CommitError;

/// More callers than this waiting at once means that the doors are open too wide.
const QUEUE_DEPTH_MAX: usize = 1024;
/// At least one largest commit, and a few.
const QUEUE_BYTES_MAX: usize = 2 * COMMIT_BYTES_MAX;
/// Enough to make the fsync cheap for each, few enough to answer soon.
const BATCH_JOBS_MAX: usize = 256;
/// Bounds the time that the first of a batch waits for the last.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Work and whom to answer.
pub(crate) struct Job {
    pub work: Work,
    pub answer: SyncSender<Result<Receipt, CommitError>>,
    bytes: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    stopped: bool,
    /// The engine is away: nobody waits in vain, everybody is told so.
    away: bool,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    left: Condvar,
}

impl Queue {
    /// Submits work of about `bytes` and waits until it is durable or refused.
    pub(crate) fn submit(&self, work: Work, bytes: usize) -> Result<Receipt, CommitError> {
        let answer = self.enqueue(work, bytes)?;
        answer.recv().unwrap_or(Err(CommitError::Stopped))
    }

    fn enqueue(
        &self,
        work: Work,
        bytes: usize,
    ) -> Result<Receiver<Result<Receipt, CommitError>>, CommitError> {
        let (answer, receiver) = sync_channel(1);
        let mut waiting = self.waiting.lock();
        while !waiting.stopped
            && !waiting.away
            && (waiting.jobs.len() >= QUEUE_DEPTH_MAX || waiting.bytes + bytes > QUEUE_BYTES_MAX)
        {
            self.left.wait(&mut waiting);
        }
        if waiting.stopped {
            return Err(CommitError::Stopped);
        }
        if waiting.away {
            return Err(CommitError::Away);
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back(Job { work, answer, bytes });
        drop(waiting);
        self.arrived.notify_one();
        Ok(receiver)
    }

    /// Waits for work and takes what is there, up to the bounds of a batch.
    /// `None` once the queue was stopped and is empty.
    pub(crate) fn take(&self) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        while waiting.jobs.is_empty() {
            if waiting.stopped {
                return None;
            }
            self.arrived.wait(&mut waiting);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(job) = waiting.jobs.front() {
            let full = taken.len() >= BATCH_JOBS_MAX || bytes + job.bytes > BATCH_BYTES_MAX;
            if full && !taken.is_empty() {
                break;
            }
            bytes += job.bytes;
            taken.extend(waiting.jobs.pop_front());
        }
        waiting.bytes -= bytes;
        drop(waiting);
        self.left.notify_all();
        Some(taken)
    }

    /// Lets nobody in any more; what waits is still taken.
    pub(crate) fn close(&self) {
        self.waiting.lock().stopped = true;
        self.arrived.notify_all();
        self.left.notify_all();
    }

    /// Turns away who comes, and who waits, until `away` is false again.
    pub(crate) fn turn_away(&self, away: bool) {
        let mut waiting = self.waiting.lock();
        waiting.away = away;
        if away {
            waiting.bytes = 0;
            for job in waiting.jobs.drain(..) {
                let _gone = job.answer.send(Err(CommitError::Away));
            }
            drop(waiting);
            self.left.notify_all();
        }
    }

    /// Waits for `pause`, or until the queue is closed: then false.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.stopped {
            self.arrived.wait_for(&mut waiting, pause);
        }
        !waiting.stopped
    }

    /// Closes and turns away what waits: their answers are dropped.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut waiting = self.waiting.lock();
        waiting.bytes = 0;
        waiting.jobs.clear();
    }
}
