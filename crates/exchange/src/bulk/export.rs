//! `$export`: the kick-off, and the steps that write records into files, batch by batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use holdfast_base::{ClassSet, OrganizationId, PatientId, Purpose, RequestId};
use holdfast_fhir::search::Handling;
use holdfast_keeper::{BULK_EXPORT, PatientKeys, ReleaseRequest};
use holdfast_ledger::{Action, Entry, Event, Touch};
use holdfast_policy::{Act, Permit, Role};
use holdfast_store::Snapshot;
use serde_json::{Value, json};

use super::files::CHUNK_BYTES;
use super::job::{FILES_LIFE_MS, Job};
use super::wishes::{Queries, Wishes};
use super::{BulkFileKind, BulkJob, BulkKind, BulkLevel, BulkState, Step, bulk_event};
use crate::directory::Listing;
use crate::disclose::{Opened, is_directory_type};
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Patients whose keys are held at a time, and that are done again after a crash.
const BATCH_PATIENTS: usize = 32;
/// NDJSON of one file; what is longer goes on in another.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Resources that one access entry names.
const TOUCHES_MAX: usize = 1_000;
/// Deletions in one bundle.
const DELETIONS_MAX: usize = 500;
/// How long an export waits for writes that were on their way when it was asked for.
const BARRIER_ROUNDS: u32 = 3_000;
const BARRIER_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

impl Exchange {
    /// Starts an export of the caller's own organization.
    ///
    /// # Errors
    /// [`ExchangeError::Invalid`] names every parameter that is wrong;
    /// [`ExchangeError::NotPermitted`] with `no-bulk-grant` when no bulk grant of the
    /// caller lives.
    pub async fn start_export(
        self: &Arc<Self>,
        ask: &Ask,
        organization: &OrganizationId,
        level: BulkLevel,
        pairs: &[(String, String)],
        handling: Handling,
        request: &str,
    ) -> Result<BulkJob, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        if keeping.id() != ask.caller.organization() {
            self.append_refusal(ask.caller.actor(), "policy", "other-organization").await?;
            return Err(ExchangeError::NotFound);
        }
        let mut wishes = Wishes::read(level, pairs, handling).map_err(ExchangeError::Invalid)?;
        // Asks the keeper for the grant: the keys of what is about no patient, which
        // this reason opens under a grant only.
        let no_patient = [PatientId::NONE];
        self.release_for_export(ask, &keeping, &no_patient, ClassSet::ALL, ask.purpose).await?;
        for id in &wishes.patients {
            self.listing_of(organization, id)?;
        }
        if let BulkLevel::Group(id) = &wishes.level {
            let members = self.group_members(ask, organization, id).await?;
            wishes.patients = match wishes.patients.is_empty() {
                true => members.into_iter().collect(),
                false => wishes.patients.into_iter().filter(|p| members.contains(p)).collect(),
            };
        }
        let start = (BulkKind::Export, BulkState::Running);
        let job = self.keep_job(ask, start, organization, wishes, request).await?;
        self.start_job(job.id);
        Ok(job)
    }

    /// The patients of this organization that a Group names, read as anybody reads it.
    async fn group_members(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<HashSet<String>, ExchangeError> {
        let group = self.read(ask, organization, "Group", id, None).await?.resource;
        let members = group["member"].as_array().into_iter().flatten();
        let active = members.filter(|member| member["inactive"] != true);
        let ids = active.filter_map(|member| {
            let id = member["entity"]["reference"].as_str()?.rsplit_once("Patient/")?.1;
            self.listing_of(organization, id).ok()?;
            Some(id.to_owned())
        });
        Ok(ids.collect())
    }

    /// Keys under the caller's bulk grant, durable in the ledger before they arrive.
    /// They are used and dropped; no session holds them.
    async fn release_for_export(
        &self,
        ask: &Ask,
        keeping: &Organization,
        patients: &[PatientId],
        classes: ClassSet,
        purpose: Purpose,
    ) -> Result<Vec<PatientKeys>, ExchangeError> {
        let request = ReleaseRequest {
            proof: self.proof_of(&ask.caller).await?,
            request: ask.request,
            organization: keeping.id().clone(),
            patients: patients.to_vec(),
            classes,
            purpose,
            reason: BULK_EXPORT.into(),
            create_missing: patients == [PatientId::NONE],
        };
        match self.keeper().release(&request).await {
            // A vouched session that is over is vouched for anew, once.
            Err(holdfast_keeper::KeeperError::NotSignedIn) if self.forget_vouched(&ask.caller) => {
                let proof = self.proof_of(&ask.caller).await?;
                Ok(self.keeper().release(&ReleaseRequest { proof, ..request }).await?)
            }
            released => Ok(released?),
        }
    }

    /// One step: pin the state of the store, or what is about no patient, or a batch of
    /// patients, or the end.
    pub(super) async fn export_step(&self, ask: &Ask, mut job: Job) -> Result<Step, ExchangeError> {
        let keeping = self.organization(&job.organization)?;
        let Some(commit) = job.commit else {
            self.let_writes_pass().await;
            job.commit = Some(self.store().last_commit().0);
            job.patients_total = self.roster(&job).len() as u64;
            return self.go_on(&job).await;
        };
        let snapshot = self.store().snapshot_at(commit);
        let snapshot = snapshot.ok_or(ExchangeError::Internal("an export's commit is gone"))?;
        let mut writing = Writing::of(self, &job);
        if !job.directory_done {
            let keys = self
                .release_for_export(ask, &keeping, &[PatientId::NONE], ClassSet::ALL, job.purpose)
                .await?;
            let keys = keys.into_iter().next().map(Arc::new).ok_or(ExchangeError::NotFound)?;
            let patient = PatientId::NONE;
            let opened = Opened { organization: keeping, patient, keys, permit: None };
            self.export_record(&snapshot, &opened, &mut job, &mut writing)?;
            job.directory_done = true;
        } else {
            let roster = self.roster(&job);
            let from = job.after.map_or(0, |after| roster.partition_point(|p| *p <= after));
            let batch = &roster[from..roster.len().min(from + BATCH_PATIENTS)];
            let Some(last) = batch.last() else { return self.end_export(ask, job).await };
            self.export_batch(ask, &keeping, &snapshot, batch, (&mut job, &mut writing)).await?;
            job.after = Some(*last);
            job.patients_done += batch.len() as u64;
        }
        writing.flush(self, &mut job)?;
        writing.sync(self, job.id).await?;
        self.go_on(&job).await
    }

    async fn go_on(&self, job: &Job) -> Result<Step, ExchangeError> {
        Ok(if self.save_job(job).await? { Step::More } else { Step::Pause })
    }

    async fn end_export(&self, ask: &Ask, mut job: Job) -> Result<Step, ExchangeError> {
        job.state = BulkState::Finished;
        job.expires = self.now().plus_millis(FILES_LIFE_MS);
        // In the ledger before anybody can fetch a file.
        let event = bulk_event(&job, "finished", job.patients_done, job.resources_done);
        self.record_entries(vec![ask.entry(self.now(), event)]).await?;
        self.save_job(&job).await?;
        self.desk().owners.lock().remove(&job.id);
        self.desk().roster.lock().take_if(|(of, _)| *of == job.id);
        Ok(Step::Pause)
    }

    /// Lets writes finish that had begun when the export was asked for: their resources
    /// may be older than its time, and are in it then.
    async fn let_writes_pass(&self) {
        let begun: HashSet<_> = self.in_work().lock().iter().copied().collect();
        for _ in 0..BARRIER_ROUNDS {
            if self.in_work().lock().is_disjoint(&begun) {
                return;
            }
            tokio::time::sleep(BARRIER_PAUSE).await;
        }
    }

    /// The patients of an export, in order. Honey records are nobody's, and are left
    /// out.
    fn roster(&self, job: &Job) -> Arc<Vec<PatientId>> {
        if let Some((of, roster)) = &*self.desk().roster.lock()
            && *of == job.id
        {
            return Arc::clone(roster);
        }
        let mut roster: Vec<PatientId> = match (&job.wishes.level, job.wishes.patients.as_slice()) {
            (BulkLevel::System | BulkLevel::Patient, []) => {
                let directory = self.directory().read();
                directory.of_organization(&job.organization).map(|l| l.patient).collect()
            }
            (_, named) => {
                let listed =
                    named.iter().filter_map(|id| self.listing_of(&job.organization, id).ok());
                listed.map(|listing| listing.patient).collect()
            }
        };
        {
            let honey = self.office().honey.lock();
            roster.retain(|patient| !honey.contains(patient));
        }
        roster.sort_unstable();
        roster.dedup();
        let roster = Arc::new(roster);
        *self.desk().roster.lock() = Some((job.id, Arc::clone(&roster)));
        roster
    }

    /// Permits, one release, the records, their access entries: durable when it returns.
    async fn export_batch(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        snapshot: &Snapshot,
        batch: &[PatientId],
        (job, writing): (&mut Job, &mut Writing),
    ) -> Result<(), ExchangeError> {
        let mut permitted: BTreeMap<u8, Vec<(Arc<Listing>, Permit)>> = BTreeMap::new();
        let act = if ask.caller.role() == Role::System { Act::Export } else { Act::Read };
        for patient in batch {
            let listing = self.directory().read().get(keeping.id(), *patient);
            // Whoever was registered after the export's commit is not in it.
            let is_there = snapshot.scan_current(keeping.ordinal, *patient, None).next().is_some();
            let Some(listing) = listing.filter(|_| is_there) else { continue };
            match self.permit(ask, &listing, act, ClassSet::ALL).await {
                Ok(permit) => {
                    permitted.entry(permit.classes().bits()).or_default().push((listing, permit));
                }
                Err(ExchangeError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        for (bits, patients) in permitted {
            let ids: Vec<PatientId> = patients.iter().map(|(l, _)| l.patient).collect();
            let purpose = patients[0].1.purpose();
            let classes = ClassSet::from_bits(bits);
            let keys = self.release_for_export(ask, keeping, &ids, classes, purpose).await?;
            let mut keys: HashMap<PatientId, PatientKeys> =
                keys.into_iter().map(|keys| (keys.patient, keys)).collect();
            let mut entries = Vec::new();
            for (listing, permit) in patients {
                let keys = keys.remove(&listing.patient).map(Arc::new);
                let keys = keys.ok_or(ExchangeError::NotFound)?;
                let opened = Opened {
                    organization: Arc::clone(keeping),
                    patient: listing.patient,
                    keys,
                    permit: Some(permit),
                };
                let touches = self.export_record(snapshot, &opened, job, writing)?;
                entries.extend(self.export_entries(ask, &opened, touches));
                tokio::task::yield_now().await;
            }
            self.record_entries(entries).await?;
        }
        Ok(())
    }

    fn export_entries(&self, ask: &Ask, opened: &Opened, touches: Vec<Touch>) -> Vec<Entry> {
        let Some(permit) = opened.permit.as_ref() else { return Vec::new() };
        // A record of which nothing was asked for was opened all the same.
        let mut parts: Vec<&[Touch]> = touches.chunks(TOUCHES_MAX).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let entry = |touches: &[Touch]| {
            let event = Event::Access {
                organization: opened.organization.id().clone(),
                patient: opened.patient,
                action: Action::Read,
                purpose: permit.purpose(),
                relationship: permit.relationship().as_str().into(),
                touches: touches.to_vec(),
            };
            ask.entry(self.now(), event)
        };
        parts.into_iter().map(entry).collect()
    }

    /// Writes what is asked for of one record into the job's buffers; gives what it was.
    fn export_record(
        &self,
        snapshot: &Snapshot,
        opened: &Opened,
        job: &mut Job,
        writing: &mut Writing,
    ) -> Result<Vec<Touch>, ExchangeError> {
        let Opened { organization, patient, keys, .. } = opened;
        let mut touches = Vec::new();
        let mut told = HashSet::new();
        let mut provenances = Vec::new();
        for row in snapshot.scan_current(organization.ordinal, *patient, None) {
            let row = row.map_err(ExchangeError::store)?;
            let at = row.last_updated;
            let Some(row) = self.open_row(organization, row, keys)? else { continue };
            let wishes = &job.wishes;
            if *patient == PatientId::NONE && !is_directory_type(&row.resource_type) {
                continue;
            }
            let timely = wishes.since.is_none_or(|since| at > since)
                && wishes.until.is_none_or(|until| at <= until);
            let associated = wishes.provenance && row.resource_type == "Provenance";
            let wanted = wishes.wants(&row.resource_type);
            if !timely || !(wanted || associated) {
                continue;
            }
            if row.row.deleted {
                if wishes.since.is_some() {
                    writing.deletion(&row.resource_type, &row.id);
                }
                continue;
            }
            if wanted && !writing.queries.pass(&row) {
                continue;
            }
            let (resource_type, id, version) =
                (row.resource_type.clone(), row.id.clone(), row.row.version);
            let stored = snapshot.body(row.row).map_err(ExchangeError::store)?;
            let (resource, classes) = self.open_body(organization.id(), &id, &stored, keys)?;
            let touch = Touch { resource_type, id, version, classes };
            if associated && !wanted {
                provenances.push((at, touch, resource));
                continue;
            }
            told.insert(format!("{}/{}", touch.resource_type, touch.id));
            writing.line(self, job, BulkFileKind::Output, &touch.resource_type, resource)?;
            touches.push(touch);
        }
        // Of each resource the newest Provenance.
        provenances.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        for (_, touch, resource) in provenances {
            let targets = resource["target"].as_array().into_iter().flatten();
            let targets = targets.filter_map(|target| target["reference"].as_str());
            // Each target is told of once, by the newest.
            if targets.filter(|target| told.remove(*target)).count() > 0 {
                writing.line(self, job, BulkFileKind::Output, &touch.resource_type, resource)?;
                touches.push(touch);
            }
        }
        Ok(touches)
    }
}

/// The lines of one step, before they are sealed.
struct Writing {
    queries: Queries,
    buffers: BTreeMap<(u8, String), (BulkFileKind, Vec<u8>, u64)>,
    deletions: Vec<Value>,
    /// Files that were written to.
    touched: HashSet<u32>,
}

impl Writing {
    fn of(_: &Exchange, job: &Job) -> Self {
        Self {
            queries: job.wishes.queries(),
            buffers: BTreeMap::new(),
            deletions: Vec::new(),
            touched: HashSet::new(),
        }
    }

    fn deletion(&mut self, resource_type: &str, id: &str) {
        let url = format!("{resource_type}/{id}");
        self.deletions.push(json!({ "request": { "method": "DELETE", "url": url } }));
    }

    fn line(
        &mut self,
        exchange: &Exchange,
        job: &mut Job,
        kind: BulkFileKind,
        resource_type: &str,
        resource: Value,
    ) -> Result<(), ExchangeError> {
        let resource = match kind {
            BulkFileKind::Output => self.queries.present(resource_type, resource),
            _ => resource,
        };
        let key = (kind as u8, resource_type.to_owned());
        let (_, buffer, lines) =
            self.buffers.entry(key.clone()).or_insert_with(|| (kind, Vec::new(), 0));
        serde_json::to_writer(&mut *buffer, &resource)
            .map_err(|_| ExchangeError::Internal("a resource does not serialise"))?;
        buffer.push(b'\n');
        *lines += 1;
        if kind == BulkFileKind::Output {
            job.resources_done += 1;
        }
        if buffer.len() >= CHUNK_BYTES
            && let Some((kind, buffer, lines)) = self.buffers.remove(&key)
        {
            self.write(exchange, job, (kind, resource_type), &buffer, lines)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        exchange: &Exchange,
        job: &mut Job,
        (kind, resource_type): (BulkFileKind, &str),
        buffer: &[u8],
        lines: u64,
    ) -> Result<(), ExchangeError> {
        let id = job.id;
        let file = job.open_file(kind, resource_type);
        let place = (id, file.number);
        exchange.desk().spool.append(exchange.system(), place, &mut file.extent, buffer)?;
        file.lines += lines;
        file.closed = file.extent.plain_bytes >= FILE_BYTES_MAX;
        self.touched.insert(file.number);
        Ok(())
    }

    /// Seals what is left.
    fn flush(&mut self, exchange: &Exchange, job: &mut Job) -> Result<(), ExchangeError> {
        let deletions = std::mem::take(&mut self.deletions);
        for entries in deletions.chunks(DELETIONS_MAX) {
            let bundle =
                json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
            self.line(exchange, job, BulkFileKind::Deleted, "Bundle", bundle)?;
        }
        for ((_, resource_type), (kind, buffer, lines)) in std::mem::take(&mut self.buffers) {
            self.write(exchange, job, (kind, &resource_type), &buffer, lines)?;
        }
        Ok(())
    }

    async fn sync(&self, exchange: &Exchange, job: RequestId) -> Result<(), ExchangeError> {
        let (spool, touched) = (Arc::clone(&exchange.desk().spool), self.touched.clone());
        tokio::task::spawn_blocking(move || {
            touched.into_iter().try_for_each(|file| spool.sync(job, file))
        })
        .await
        .map_err(|_| ExchangeError::Internal("a thread of the disk ended"))?
    }
}
