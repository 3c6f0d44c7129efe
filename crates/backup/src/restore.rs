//! Coming back: which moment, what the ledger knows beyond it, and the folders
//! that are made.

use std::path::Path;

use data_encoding::HEXLOWER;
use holdfast_base::{CommitNumber, Timestamp};
use holdfast_keeper::{Acknowledged, KeyRows, Offline};
use holdfast_ledger::LedgerCopy;
use holdfast_store::{Import, Store};

use crate::source::Source;
use crate::{BackupError, Manifest};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The end of the newest backup.
    Newest,
    /// The end of the backup with this number.
    Backup(u64),
    /// This commit.
    Commit(u64),
    /// What had been acknowledged by then.
    Time(Timestamp),
}

impl std::str::FromStr for Moment {
    type Err = BackupError;

    /// `newest`, `backup:7`, `commit:1234`, or a time (RFC 3339).
    fn from_str(text: &str) -> Result<Self, BackupError> {
        let wrong = || {
            BackupError::Moment(format!(
                "{text:?} is no moment: say newest, backup:NUMBER, commit:NUMBER or a time such as \
                 2026-05-07T00:00:00Z"
            ))
        };
        if text == "newest" {
            return Ok(Self::Newest);
        }
        match text.split_once(':') {
            Some(("backup", number)) => number.parse().map(Self::Backup).map_err(|_| wrong()),
            Some(("commit", number)) => number.parse().map(Self::Commit).map_err(|_| wrong()),
            _ => text.parse().map(Self::Time).map_err(|_| wrong()),
        }
    }
}

/// Commits that the ledger acknowledged and the restored store will lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The first commit that will be missing.
    pub from: u64,
    /// The last one that the ledger knows.
    pub to: u64,
    /// When the first that the ledger names was acknowledged.
    pub first_at: Timestamp,
    /// And the last.
    pub last_at: Timestamp,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, first_at, last_at } = self;
        write!(f, "commits {from} to {to}, acknowledged from {first_at} to {last_at}")
    }
}

/// A restore that is possible.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The backup whose segments are used.
    pub manifest: Manifest,
    /// The commit that the store will end at.
    pub commit: u64,
}

impl Source {
    /// The newest backup: its key table and ledger are the ones to restore.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn newest(&self) -> Result<Manifest, BackupError> {
        let empty = BackupError::Empty { target: self.target.to_string() };
        self.manifest(*self.numbers().await?.last().ok_or(empty)?).await
    }

    /// Makes a keeper's ledger and key table in `dir` from the newest backup; parts
    /// that are there are left as they are. Says what it made.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn restore_keeper(
        &self,
        manifest: &Manifest,
        dir: &Path,
    ) -> Result<Vec<&'static str>, BackupError> {
        let mut made = Vec::new();
        let io = |path: &Path| {
            let path = path.display().to_string();
            move |source| BackupError::Io { path, source }
        };
        let fresh = |name: &str| -> Result<std::path::PathBuf, BackupError> {
            let draft = dir.join(format!("{name}.restoring"));
            match std::fs::remove_dir_all(&draft) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(io(&draft)(error))
                }
                _ => Ok(draft),
            }
        };
        let (keys, ledger) = (dir.join("keys"), dir.join("ledger"));
        if !keys.exists() {
            let draft = fresh("keys")?;
            let mut all: Vec<KeyRows> = Vec::new();
            for part in &manifest.keys {
                let rows = postcard::from_bytes(&self.part(part).await?);
                all.push(rows.map_err(|_| BackupError::Damaged {
                    object: part.object.clone(),
                    what: "the rows have another form".to_owned(),
                })?);
            }
            let place = draft.clone();
            let writing = move || Offline::restore_keys(&place, all.into_iter());
            let written = tokio::task::spawn_blocking(writing).await;
            written.map_err(|_| BackupError::Internal("a thread ended"))??;
            std::fs::rename(&draft, &keys).map_err(io(&keys))?;
            made.push("key table");
        }
        if !ledger.exists() {
            let draft = fresh("ledger")?;
            let mut copy = LedgerCopy::begin(&draft).map_err(io(&draft))?;
            for part in &manifest.ledger {
                let records = self.part(part).await?;
                copy.take(&records).map_err(|error| BackupError::Damaged {
                    object: part.object.clone(),
                    what: format!("after entry {} the records do not go on: {error}", copy.next()),
                })?;
            }
            copy.finish(&manifest.checkpoint).map_err(io(&draft))?;
            std::fs::rename(&draft, &ledger).map_err(io(&ledger))?;
            made.push("ledger");
        }
        if let Ok(folder) = std::fs::File::open(dir) {
            folder.sync_all().map_err(io(dir))?;
        }
        Ok(made)
    }

    /// Finds the backup and the commit for `moment`.
    ///
    /// # Errors
    /// [`BackupError::Moment`] when no backup answers to it.
    pub async fn plan(
        &self,
        moment: Moment,
        acknowledged: &Acknowledged,
    ) -> Result<Plan, BackupError> {
        let wanted = match moment {
            Moment::Newest => {
                let manifest = self.newest().await?;
                return Ok(Plan { commit: manifest.commit(), manifest });
            }
            Moment::Backup(number) => {
                let known = self.numbers().await?.contains(&number);
                if !known {
                    return Err(BackupError::Moment(format!("there is no backup {number}")));
                }
                let manifest = self.manifest(number).await?;
                return Ok(Plan { commit: manifest.commit(), manifest });
            }
            Moment::Commit(commit) => commit,
            Moment::Time(at) => {
                let none =
                    || BackupError::Moment(format!("the ledger knows of no commit before {at}"));
                acknowledged.by(at).ok_or_else(none)?.0
            }
        };
        let manifest = self.newest().await?;
        let run = manifest.runs.iter().find(|run| run.after < wanted && wanted <= run.to);
        let Some(run) = run else {
            return Err(BackupError::Moment(format!(
                "the backups end at commit {}; commit {wanted} is in none",
                manifest.commit()
            )));
        };
        if !run.exact && wanted != run.to {
            return Err(BackupError::Moment(format!(
                "backup {} holds commits {} to {} as one: only commit {} can be restored from it",
                run.number,
                run.after + 1,
                run.to,
                run.to
            )));
        }
        Ok(Plan { commit: wanted, manifest })
    }

    /// Makes the store in `dir`, proves every commit on the way, and compares it
    /// with the ledger. Goes on where it was interrupted. Gives its last commit
    /// and chain value (hex).
    ///
    /// # Errors
    /// [`BackupError`] that names the object or commit that does not fit.
    pub async fn restore_store(
        &self,
        plan: &Plan,
        dir: &Path,
        acknowledged: &Acknowledged,
    ) -> Result<(CommitNumber, String), BackupError> {
        let upto = CommitNumber(plan.commit);
        let mut import = Import::begin(dir, self.store)?;
        for part in &plan.manifest.commits {
            if part.after >= upto.0 {
                break;
            }
            if part.to <= import.last_commit().0.0 {
                continue;
            }
            let bytes = self.part(part).await?;
            let object = part.object.clone();
            let applying = move || (import.apply(&bytes, upto), import);
            let applied = tokio::task::spawn_blocking(applying).await;
            let (applied, back) = applied.map_err(|_| BackupError::Internal("a thread ended"))?;
            import = back;
            applied.map_err(|error| match error {
                holdfast_store::ImportError::Open(_) | holdfast_store::ImportError::Read(_) => {
                    BackupError::Import(error)
                }
                other => BackupError::Damaged { object, what: other.to_string() },
            })?;
        }
        let (commit, chain) = import.last_commit();
        if commit != upto {
            let what = format!("its segments end at commit {commit}, not at {upto}");
            let object = crate::source::manifest_object(plan.manifest.number);
            return Err(BackupError::Damaged { object, what });
        }
        // Before it opens as a store: what the ledger acknowledged must be in it.
        import.finish()?;
        let store = Store::open(dir).map_err(holdfast_store::ImportError::from)?;
        for (at, (wanted, _)) in acknowledged.commits.range(..=commit) {
            let found = store.chain_at(*at).map(|chain| HEXLOWER.encode(&chain));
            if found.as_deref() != Some(wanted.as_str()) {
                return Err(BackupError::Damaged {
                    object: format!("commit {at}"),
                    what: "it is not the one that the ledger acknowledged".to_owned(),
                });
            }
        }
        let checking = tokio::task::spawn_blocking(move || store.check());
        checking.await.map_err(|_| BackupError::Internal("a thread ended"))??;
        Ok((commit, HEXLOWER.encode(&chain)))
    }
}

impl Plan {
    /// What the ledger knows beyond the plan.
    pub fn missing(&self, acknowledged: &Acknowledged) -> Option<Missing> {
        let commit = CommitNumber(self.commit);
        let ((_, first_at), (to, last_at)) = acknowledged.after(commit)?;
        Some(Missing { from: self.commit + 1, to: to.0, first_at, last_at })
    }
}
