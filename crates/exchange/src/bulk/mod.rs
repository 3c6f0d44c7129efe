//! Bulk export and import (FHIR Bulk Data Access IG 2.0.0): jobs that go on after the
//! request that asked for them, and after a restart.
//!
//! Invariants: patients' keys for an export leave the keeper under a bulk grant by two
//! people only; what is in a file stands in access entries that were durable before the
//! file can be fetched; nothing of a file is on disk unsealed; a file is for who asked
//! for it, and for a stated time; a job goes on from what its row says, and what was
//! written behind that does not count. Memory: the keys of one batch, one record's
//! search rows, and a chunk of each file.

mod export;
mod files;
mod import;
mod job;
mod wishes;

pub(crate) use wishes::decoded as percent_decoded;

pub use job::{BulkFile, BulkFileKind, BulkJob, BulkKind, BulkState};
pub use wishes::BulkLevel;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use holdfast_base::{OrganizationId, PatientId, RequestId, Timestamp};
use holdfast_keeper::NO_BULK_GRANT;
use holdfast_ledger::Event;
use holdfast_policy::{Role, Task};
use holdfast_store::Transaction;
use parking_lot::Mutex;

use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, ExchangeError};
use files::{Chunks, Spool};
use job::{FILES_LIFE_MS, JOB_LIFE_MS, Job};

/// How often a job that waits for somebody is tried again by itself.
const RETRY_MS: i64 = 600_000;
/// Jobs of one principal that are not over: each is hours of work.
const JOBS_OF_ONE_MAX: usize = 5;

/// What the exchange holds of bulk jobs beside their rows.
pub(crate) struct Desk {
    spool: Arc<Spool>,
    /// Who asked, as they were last seen; a restart forgets it.
    owners: Mutex<HashMap<RequestId, Ask>>,
    working: Mutex<HashSet<RequestId>>,
    /// One job works at a time: what it holds in memory is bounded so.
    turn: Arc<tokio::sync::Semaphore>,
    /// Held while a row is written: one that was deleted does not come back.
    writing: tokio::sync::Mutex<()>,
    roster: Mutex<Option<(RequestId, Arc<Vec<PatientId>>)>>,
    /// When jobs that wait were tried again by themselves.
    tried: Mutex<HashMap<RequestId, Timestamp>>,
}

impl Desk {
    /// With its files in `dir`.
    pub fn at(dir: PathBuf) -> Self {
        Self {
            spool: Arc::new(Spool::at(dir)),
            owners: Mutex::default(),
            working: Mutex::default(),
            turn: Arc::new(tokio::sync::Semaphore::new(1)),
            writing: tokio::sync::Mutex::default(),
            roster: Mutex::default(),
            tried: Mutex::default(),
        }
    }
}

/// What one step of a job came to.
enum Step {
    More,
    /// Over, or nothing can be done now.
    Pause,
}

/// The contents of a file, chunk by chunk. Reading blocks.
pub struct BulkDownload(Chunks);

impl Iterator for BulkDownload {
    type Item = Result<Vec<u8>, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl Exchange {
    /// A job, for who asked for it; a job that waited goes on.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] for everybody else, and when it was deleted.
    pub fn bulk_job(
        self: &Arc<Self>,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
    ) -> Result<BulkJob, ExchangeError> {
        let job = self.own_job(ask, organization, job)?;
        if !job.state.is_over() && job.state != BulkState::Uploading {
            self.desk().owners.lock().insert(job.id, Ask { request: job.id, ..ask.clone() });
            self.start_job(job.id);
        }
        Ok(job.view())
    }

    /// A file of a finished job. That it is fetched is in the ledger before it is read.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] for everybody but who asked for the job, and when its
    /// time is over.
    pub async fn bulk_file(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
        file: u32,
    ) -> Result<BulkDownload, ExchangeError> {
        let job = self.own_job(ask, organization, job)?;
        let found = job.files.iter().find(|f| f.number == file && f.kind != BulkFileKind::Input);
        let found = found.filter(|_| job.state == BulkState::Finished);
        let file = found.ok_or(ExchangeError::NotFound)?;
        let event = bulk_event(&job, "downloaded", job.patients_done, file.lines);
        self.record_entries(vec![ask.entry(self.now(), event)]).await?;
        let place = (job.id, file.number);
        self.desk().spool.read(self.system(), place, &file.extent).map(BulkDownload)
    }

    /// Ends a job and deletes its files, for who asked for it.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`].
    pub async fn delete_bulk_job(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
    ) -> Result<(), ExchangeError> {
        let job = self.own_job(ask, organization, job)?;
        self.drop_job(Some(ask), &job, "cancelled").await
    }

    /// The jobs of the caller's organization, or of all for who runs the exchange;
    /// newest first.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] but for officers and administrators.
    pub async fn bulk_jobs(&self, ask: &Ask) -> Result<Vec<BulkJob>, ExchangeError> {
        self.require_task(ask, Task::BulkJobs).await?;
        let mut jobs: Vec<Job> = self.load_all_system(Kind::Bulk)?;
        jobs.retain(|job| self.in_reach(ask, job) && self.now() < job.expires);
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created));
        Ok(jobs.iter().map(Job::view).collect())
    }

    /// Ends a job of somebody else and deletes its files.
    ///
    /// # Errors
    /// As [`bulk_jobs`](Self::bulk_jobs); [`ExchangeError::NotFound`].
    pub async fn cancel_bulk_job(&self, ask: &Ask, job: RequestId) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::BulkJobs).await?;
        let job: Option<Job> = self.load_system(Kind::Bulk, &job.to_string())?;
        let job = job.filter(|job| self.in_reach(ask, job)).ok_or(ExchangeError::NotFound)?;
        self.drop_job(Some(ask), &job, "cancelled").await
    }

    /// Goes on with what a restart left, and deletes what is past its time.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn look_after_bulk(self: &Arc<Self>) -> Result<(), ExchangeError> {
        let jobs: Vec<Job> = self.load_all_system(Kind::Bulk)?;
        for job in &jobs {
            if self.now() >= job.expires {
                self.drop_job(None, job, "expired").await?;
            } else if !job.state.is_over() && job.state != BulkState::Uploading && self.is_time(job)
            {
                self.start_job(job.id);
            }
        }
        self.desk().tried.lock().retain(|id, _| jobs.iter().any(|job| job.id == *id));
        // Folders whose row a crash kept from being written, or deleted.
        let known: HashSet<RequestId> = jobs.iter().map(|job| job.id).collect();
        let _writing = self.desk().writing.lock().await;
        for folder in self.desk().spool.jobs() {
            let row: Option<Job> = self.load_system(Kind::Bulk, &folder.to_string())?;
            if !known.contains(&folder) && row.is_none() {
                self.desk().spool.remove(folder)?;
            }
        }
        Ok(())
    }

    /// Whether a job is tried again by itself: each try that is refused is an entry, so one
    /// that waits for somebody is tried seldom. Who asks for its status tries it at once.
    fn is_time(&self, job: &Job) -> bool {
        if !matches!(job.state, BulkState::Waiting(_)) {
            return true;
        }
        let now = self.now();
        let mut tried = self.desk().tried.lock();
        let last = tried.get(&job.id).copied();
        let due = last.is_none_or(|last| now.millis_since(last) >= RETRY_MS);
        if due {
            tried.insert(job.id, now);
        }
        due
    }

    /// Ends and deletes the exports of an organization: somebody whose record may be in
    /// their files has been forgotten, and files are sealed with no patient's key.
    pub(crate) async fn drop_exports_of(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
    ) -> Result<(), ExchangeError> {
        let jobs: Vec<Job> = self.load_all_system(Kind::Bulk)?;
        let exports =
            |job: &&Job| job.kind == BulkKind::Export && job.organization == *organization;
        for job in jobs.iter().filter(exports) {
            self.drop_job(Some(ask), job, "cancelled").await?;
        }
        Ok(())
    }

    fn in_reach(&self, ask: &Ask, job: &Job) -> bool {
        self.within_reach(ask, Some(&job.organization)).is_ok()
    }

    /// The job, when the caller asked for it. Whoever did not learns nothing.
    fn own_job(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
    ) -> Result<Job, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let job: Option<Job> = self.load_system(Kind::Bulk, &job.to_string())?;
        let own = |job: &Job| {
            job.owner == *ask.caller.id()
                && job.organization == *organization
                && self.now() < job.expires
        };
        job.filter(own).ok_or(ExchangeError::NotFound)
    }

    /// A new job of the caller, kept and said in the ledger.
    async fn keep_job(
        self: &Arc<Self>,
        ask: &Ask,
        (kind, state): (BulkKind, BulkState),
        organization: &OrganizationId,
        wishes: wishes::Wishes,
        request: &str,
    ) -> Result<BulkJob, ExchangeError> {
        let now = self.now();
        let jobs: Vec<Job> = self.load_all_system(Kind::Bulk)?;
        let live = jobs.iter().filter(|j| j.owner == *ask.caller.id() && !j.state.is_over());
        if live.filter(|job| now < job.expires).count() >= JOBS_OF_ONE_MAX {
            return Err(ExchangeError::Setting(
                "five of your bulk jobs are not over: delete one at its status URL",
            ));
        }
        let job = Job {
            id: RequestId::random(),
            kind,
            state,
            organization: organization.clone(),
            owner: ask.caller.id().clone(),
            session: ask.caller.session,
            address: ask.caller.address.clone(),
            purpose: ask.purpose,
            request: request.to_owned(),
            wishes,
            created: now,
            expires: now.plus_millis(JOB_LIFE_MS),
            commit: None,
            directory_done: false,
            after: None,
            patients_total: 0,
            patients_done: 0,
            resources_done: 0,
            files: Vec::new(),
            place: import::Place::default(),
            written: Default::default(),
            refused: 0,
        };
        self.desk().spool.make(job.id)?;
        self.save_system(Kind::Bulk, &job.id.to_string(), &job).await?;
        self.desk().owners.lock().insert(job.id, Ask { request: job.id, ..ask.clone() });
        let event = bulk_event(&job, "started", 0, 0);
        self.record_entries(vec![ask.entry(now, event)]).await?;
        Ok(job.view())
    }

    /// Deletes a job with its files, and says so.
    async fn drop_job(
        &self,
        ask: Option<&Ask>,
        job: &Job,
        step: &str,
    ) -> Result<(), ExchangeError> {
        {
            let _writing = self.desk().writing.lock().await;
            let rows = vec![self.no_system_row(Kind::Bulk, &job.id.to_string())];
            self.commit(Transaction { rows, ..Transaction::default() }).await?;
            self.desk().spool.remove(job.id)?;
        }
        self.desk().owners.lock().remove(&job.id);
        let event = bulk_event(job, step, job.patients_done, job.resources_done);
        let entry = match ask {
            Some(ask) => ask.entry(self.now(), event),
            None => self.own_entry(event),
        };
        self.record_entries(vec![entry]).await
    }

    /// Writes a row, unless the job was deleted meanwhile: then there is none to write.
    async fn save_job(&self, job: &Job) -> Result<bool, ExchangeError> {
        let _writing = self.desk().writing.lock().await;
        let name = job.id.to_string();
        if self.load_system::<Job>(Kind::Bulk, &name)?.is_none() {
            return Ok(false);
        }
        self.save_system(Kind::Bulk, &name, job).await?;
        Ok(true)
    }

    /// Has a job work, unless it does.
    fn start_job(self: &Arc<Self>, job: RequestId) {
        if !self.desk().working.lock().insert(job) {
            return;
        }
        let turn = Arc::clone(&self.desk().turn);
        tokio::spawn(Self::work(Arc::downgrade(self), job, turn));
    }

    async fn work(exchange: Weak<Self>, job: RequestId, turn: Arc<tokio::sync::Semaphore>) {
        let Ok(_turn) = turn.acquire_owned().await else { return };
        loop {
            let Some(exchange) = exchange.upgrade() else { return };
            let step = exchange.job_step(job).await.unwrap_or_else(|error| {
                tracing::error!(job = %job, error = %error, "a bulk job stands still");
                Step::Pause
            });
            if matches!(step, Step::Pause) {
                exchange.desk().working.lock().remove(&job);
                return;
            }
            drop(exchange);
            tokio::task::yield_now().await;
        }
    }

    /// One step of a job, and what its failure means.
    async fn job_step(self: &Arc<Self>, id: RequestId) -> Result<Step, ExchangeError> {
        let job: Option<Job> = self.load_system(Kind::Bulk, &id.to_string())?;
        let now = self.now();
        let due = |job: &Job| {
            !job.state.is_over() && job.state != BulkState::Uploading && now < job.expires
        };
        let Some(mut job) = job.filter(due) else { return Ok(Step::Pause) };
        let ask = match self.owner_of(&job).await {
            Ok(ask) => ask,
            Err(error) => return self.stop_step(job, error).await,
        };
        job.state = BulkState::Running;
        let kept = job.clone();
        let done = match job.kind {
            BulkKind::Export => self.export_step(&ask, job).await,
            BulkKind::Import => self.import_step(&ask, job).await,
        };
        match done {
            Ok(step) => Ok(step),
            Err(error) => self.stop_step(kept, error).await,
        }
    }

    /// What an error makes of a job: those that pass by themselves nothing, those that
    /// somebody can mend a job that waits, the others its end.
    async fn stop_step(&self, mut job: Job, error: ExchangeError) -> Result<Step, ExchangeError> {
        let grant = "for a bulk grant: the last one ended or is used up. Have another proposed \
                     and approved, then ask for the status again";
        let state = match &error {
            ExchangeError::KeeperAway | ExchangeError::StoreAway => return Ok(Step::Pause),
            ExchangeError::OverBudget { .. } if job.kind == BulkKind::Import => {
                BulkState::Waiting("for the sender's budget of patients to have room again".into())
            }
            ExchangeError::NotPermitted { reason } if *reason == NO_BULK_GRANT => {
                BulkState::Waiting(grant.into())
            }
            ExchangeError::OverBudget { .. } => BulkState::Waiting(grant.into()),
            ExchangeError::NotSignedIn => {
                self.desk().owners.lock().remove(&job.id);
                let text = "for whoever asked for it to sign in and ask for its status";
                BulkState::Waiting(text.into())
            }
            ExchangeError::Suspended => BulkState::Waiting("for a suspension to be lifted".into()),
            other => {
                let cause = other.to_string();
                tracing::error!(job = %job.id, cause, "a bulk job failed");
                BulkState::Failed("something is wrong on our side; tell the operator".into())
            }
        };
        let failed = state.is_over();
        let news = job.state != state;
        job.state = state;
        if failed {
            job.expires = self.now().plus_millis(FILES_LIFE_MS);
        }
        if news {
            self.save_job(&job).await?;
        }
        if failed {
            let event = bulk_event(&job, "failed", job.patients_done, job.resources_done);
            self.record_entries(vec![self.own_entry(event)]).await?;
        }
        Ok(Step::Pause)
    }

    /// In whose name a job goes on. Systems are vouched for anew; people come back.
    async fn owner_of(&self, job: &Job) -> Result<Ask, ExchangeError> {
        if let Some(ask) = self.desk().owners.lock().get(&job.id) {
            return Ok(ask.clone());
        }
        let account = self.account(&job.owner).ok_or(ExchangeError::NotSignedIn)?;
        let certificate = account.certificate.filter(|_| account.role == Role::System);
        let certificate = certificate.ok_or(ExchangeError::NotSignedIn)?;
        let caller = self.authenticate_system(&certificate, job.address.as_deref()).await?;
        let ask = Ask { purpose: job.purpose, request: job.id, ..Ask::new(caller) };
        self.desk().owners.lock().insert(job.id, ask.clone());
        Ok(ask)
    }

    fn own_entry(&self, event: Event) -> holdfast_ledger::Entry {
        let actor = crate::state::server_actor();
        holdfast_ledger::Entry { at: self.now(), actor, request: None, event }
    }
}

fn bulk_event(job: &Job, step: &str, patients_count: u64, resources_count: u64) -> Event {
    Event::BulkJob {
        job: job.id,
        organization: job.organization.clone(),
        what: job.kind.as_str().into(),
        step: step.into(),
        patients_count,
        resources_count,
    }
}
