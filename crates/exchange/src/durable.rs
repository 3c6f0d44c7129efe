//! Coming back (P14): backups of the running exchange, and the check in the
//! background that the store is what was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_backup::{Report, Target, back_up};
use holdfast_base::{Category, CommitNumber, Timestamp};
use holdfast_ledger::{Entry, Event};
use holdfast_policy::Task;
use parking_lot::Mutex;

use crate::state::{Exchange, server_actor};
use crate::{Ask, ExchangeError};

/// Commits that are hashed again at one beat: a share of the disk that nobody
/// feels.
const CHECK_COMMITS: u64 = 64;
/// Between the end of one round through the store and the beginning of the next.
const CHECK_PAUSE_MS: i64 = 6 * 3_600_000;

/// What the check in the background found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckState {
    /// Commits of the round under way whose content was looked at.
    pub commits_done: u64,
    /// When a round last came to its end, everything being whole.
    pub whole_at: Option<Timestamp>,
    /// What is damaged: keyspace, key and what does not fit.
    pub damage: Option<String>,
}

/// What the exchange remembers about its own durability.
#[derive(Default)]
pub(crate) struct Durable {
    /// One backup at a time.
    writing: tokio::sync::Mutex<()>,
    last: Mutex<Option<(Timestamp, Report)>>,
    check: Mutex<CheckState>,
    damaged: AtomicBool,
}

impl Exchange {
    /// Backs up to `to` (a folder or `s3://bucket/prefix`) while everything goes on.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`], [`ExchangeError::Backup`].
    pub async fn back_up(&self, ask: &Ask, to: &str) -> Result<Report, ExchangeError> {
        self.require_task(ask, Task::Backup).await?;
        let Ok(_writing) = self.durable().writing.try_lock() else {
            return Err(ExchangeError::Setting("a backup is being made already"));
        };
        let proof = self.proof_of(&ask.caller).await?;
        let key = self.keeper().backup_key(&proof, "backup").await?;
        let status = self.keeper().status().await?;
        let origin = status.checkpoint.lines().next().unwrap_or_default().to_owned();
        let target = Target::parse(to, true)?;
        let now = self.now();
        let report =
            back_up(self.store(), (self.keeper(), &proof), key, target, &origin, now).await?;
        tracing::info!(
            number = report.number,
            commit = report.commit.0,
            bytes = report.bytes,
            "a backup was made"
        );
        *self.durable().last.lock() = Some((now, report.clone()));
        Ok(report)
    }

    /// The newest backup since the start, and how the check in the background
    /// stands.
    pub fn durability(&self) -> (Option<(Timestamp, Report)>, CheckState) {
        (self.durable().last.lock().clone(), self.durable().check.lock().clone())
    }

    /// Refuses once damage was found: nothing is served from a store that is not
    /// what was written.
    pub(crate) fn refuse_damaged(&self) -> Result<(), ExchangeError> {
        if self.durable().damaged.load(Ordering::SeqCst) {
            return Err(ExchangeError::StoreDamaged);
        }
        Ok(())
    }

    /// One beat of the check: a few commits more, and at the end of a round
    /// everything else.
    pub(crate) async fn check_some(&self) -> Result<(), ExchangeError> {
        let state = self.durable().check.lock().clone();
        let pause = |at: Timestamp| self.now().millis_since(at) < CHECK_PAUSE_MS;
        if state.damage.is_some() || (state.commits_done == 0 && state.whole_at.is_some_and(pause))
        {
            return Ok(());
        }
        let store = Arc::clone(self.store());
        let after = CommitNumber(state.commits_done);
        let checking = tokio::task::spawn_blocking(move || {
            let last = store.last_commit().0;
            let proven = store.check_content(after, CHECK_COMMITS)?;
            let ended = proven.commit >= last;
            if ended {
                store.check_links()?;
            }
            Ok::<_, holdfast_store::ReadError>((proven.commit, ended))
        });
        let checked =
            checking.await.map_err(|_| ExchangeError::Internal("the store's thread ended"))?;
        match checked {
            Ok((_, true)) => {
                let mut check = self.durable().check.lock();
                (check.commits_done, check.whole_at) = (0, Some(self.now()));
                Ok(())
            }
            Ok((commit, false)) => {
                self.durable().check.lock().commits_done = commit.0;
                Ok(())
            }
            // Away, as a database may be: no damage.
            Err(error) if error.category() == Category::Busy => Ok(()),
            Err(error) => self.stop_serving(&error).await,
        }
    }

    async fn stop_serving(&self, error: &holdfast_store::ReadError) -> Result<(), ExchangeError> {
        self.durable().damaged.store(true, Ordering::SeqCst);
        self.durable().check.lock().damage = Some(error.to_string());
        tracing::error!(%error, "the store is not what was written: nothing more is served");
        let event = Event::Alert {
            detector: "store-check".to_owned(),
            principal: server_actor().principal,
            patients_count: 0,
            severity: "critical".to_owned(),
            summary: error.to_string(),
        };
        let entry = Entry { at: self.now(), actor: server_actor(), request: None, event };
        Ok(self.keeper().append(vec![entry]).await.map(drop)?)
    }
}
