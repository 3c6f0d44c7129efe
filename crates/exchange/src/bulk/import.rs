//! `$import`: NDJSON that was sent to us becomes resources, as transactions through the
//! one way in, so everything that holds for a payload holds here: kept sealed, judged,
//! permitted, told to the ledger.
//!
//! Lines are taken in three passes, whatever order the files have: what is about no
//! patient, Patients, the rest. Each line is an update as create by its own id, so
//! sending it again changes nothing. A line that is refused is an OperationOutcome in
//! the job's error file, and holds up no other.

use std::sync::Arc;

use holdfast_base::{OrganizationId, RequestId};
use holdfast_fhir::{Issue, operation_outcome};
use holdfast_intake::Format;
use holdfast_policy::Role;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use super::files::{CHUNK_BYTES, Extent};
use super::job::{FILES_LIFE_MS, Job, JobFile};
use super::wishes::Wishes;
use super::{BulkFileKind, BulkJob, BulkKind, BulkState, Step, bulk_event};
use crate::admit::{Admission, Outcome};
use crate::disclose::is_directory_type;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Files of one import.
const FILES_MAX: usize = 1_000;
/// Lines of one transaction: enough to share the cost of a commit, few enough to be
/// done again one by one when one of them is refused.
const TRANSACTION_LINES: usize = 100;
/// Transactions that are on their way at once: they share fsyncs.
const AT_ONCE: usize = 4;
/// Passes over the files.
const PASSES: u8 = 3;
/// System of the number that makes one import's transactions its own.
const IMPORT_SYSTEM: &str = "urn:holdfast:import";

/// Where an import stands.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Place {
    pass: u8,
    /// Position among the files.
    file: usize,
    chunk: u32,
    /// Lines of the file before the chunk.
    lines: u64,
}

/// What is read of a line before it is admitted.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "resourceType")]
    resource_type: String,
    id: Option<String>,
}

/// A line on its way.
struct Line {
    number: u64,
    resource_type: String,
    id: String,
    bytes: Vec<u8>,
}

/// What became of some lines.
#[derive(Default)]
struct Told {
    written: Vec<(String, u64)>,
    refused: Vec<(u64, Vec<Issue>)>,
}

fn pass_of(resource_type: &str) -> u8 {
    match resource_type {
        "Patient" => 1,
        other if is_directory_type(other) => 0,
        _ => 2,
    }
}

impl Exchange {
    /// Makes an import of the caller's own organization, which takes files until it is
    /// started.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for who may not send payloads for it.
    pub async fn make_import(
        self: &Arc<Self>,
        ask: &Ask,
        organization: &OrganizationId,
        request: &str,
    ) -> Result<BulkJob, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let may_send = !matches!(
            ask.caller.role(),
            Role::Administrator | Role::SecurityOfficer | Role::EmployerManager | Role::Patient
        );
        if !may_send || ask.caller.organization() != organization {
            self.append_refusal(ask.caller.actor(), "intake", "not-the-sender").await?;
            return Err(ExchangeError::NotPermitted { reason: "not-the-sender" });
        }
        let start = (BulkKind::Import, BulkState::Uploading);
        self.keep_job(ask, start, organization, Wishes::default(), request).await
    }

    /// Takes one file of NDJSON, sealed before it is on disk; one of the same name is
    /// replaced.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] for everybody but who made the import;
    /// [`ExchangeError::Conflict`] when it was started.
    pub async fn add_import_file(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
        name: &str,
        ndjson: &[u8],
    ) -> Result<(), ExchangeError> {
        let mut job = self.own_job(ask, organization, job)?;
        if job.kind != BulkKind::Import || job.state != BulkState::Uploading {
            return Err(ExchangeError::Conflict);
        }
        if job.files.len() >= FILES_MAX {
            return Err(ExchangeError::Setting("an import takes at most 1,000 files"));
        }
        let number = job.files.iter().map(|file| file.number).max().unwrap_or(0) + 1;
        let mut file = JobFile {
            number,
            kind: BulkFileKind::Input,
            resource_type: String::new(),
            name: name.to_owned(),
            lines: 0,
            extent: Extent::default(),
            closed: true,
            passes: Vec::new(),
        };
        let mut rest = ndjson;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_end(rest));
            rest = after;
            for line in lines_of(chunk) {
                file.lines += 1;
                // What cannot be read is reported in the first pass.
                let pass = serde_json::from_slice(line)
                    .map_or(0, |head: Head| pass_of(&head.resource_type));
                if !file.passes.contains(&pass) {
                    file.passes.push(pass);
                }
            }
            let place = (job.id, number);
            self.desk().spool.append(self.system(), place, &mut file.extent, chunk)?;
        }
        let (spool, id) = (Arc::clone(&self.desk().spool), job.id);
        if file.extent.chunks > 0 {
            tokio::task::spawn_blocking(move || spool.sync(id, number))
                .await
                .map_err(|_| ExchangeError::Internal("a thread of the disk ended"))??;
        }
        if let Some(former) = job.files.iter_mut().find(|file| file.name == name) {
            self.desk().spool.remove_file(job.id, former.number)?;
            *former = file;
        } else {
            job.files.push(file);
        }
        match self.save_job(&job).await? {
            true => Ok(()),
            false => Err(ExchangeError::NotFound),
        }
    }

    /// Starts an import: no file is taken any more.
    ///
    /// # Errors
    /// As [`add_import_file`](Self::add_import_file).
    pub async fn start_import(
        self: &Arc<Self>,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
    ) -> Result<BulkJob, ExchangeError> {
        let mut job = self.own_job(ask, organization, job)?;
        if job.kind != BulkKind::Import || job.state != BulkState::Uploading {
            return Err(ExchangeError::Conflict);
        }
        job.state = BulkState::Running;
        if !self.save_job(&job).await? {
            return Err(ExchangeError::NotFound);
        }
        self.desk().owners.lock().insert(job.id, Ask { request: job.id, ..ask.clone() });
        self.start_job(job.id);
        Ok(job.view())
    }

    /// One step: one chunk of one file, or the end.
    pub(super) async fn import_step(
        self: &Arc<Self>,
        ask: &Ask,
        mut job: Job,
    ) -> Result<Step, ExchangeError> {
        let mut place = job.place;
        let inputs: Vec<usize> =
            (0..job.files.len()).filter(|at| job.files[*at].kind == BulkFileKind::Input).collect();
        // The next chunk that has lines of the pass.
        let file = loop {
            if place.pass >= PASSES {
                return self.end_import(ask, job).await;
            }
            let Some(at) = inputs.get(place.file) else {
                place = Place { pass: place.pass + 1, ..Place::default() };
                continue;
            };
            let file = &job.files[*at];
            if place.chunk < file.extent.chunks && file.passes.contains(&place.pass) {
                break file.clone();
            }
            place = Place { pass: place.pass, file: place.file + 1, ..Place::default() };
        };
        let read = self.desk().spool.read(self.system(), (job.id, file.number), &file.extent)?;
        let chunk = read.skip_to(place.chunk)?;
        let mut lines = Vec::new();
        let mut told = Told::default();
        let mut number = place.lines;
        for line in lines_of(&chunk) {
            number += 1;
            match serde_json::from_slice(line) {
                Ok(Head { resource_type, id: Some(id) })
                    if pass_of(&resource_type) == place.pass =>
                {
                    lines.push(Line { number, resource_type, id, bytes: line.to_vec() });
                }
                Ok(Head { id: None, ref resource_type })
                    if pass_of(resource_type) == place.pass =>
                {
                    let text = "a line needs an id: it is stored under it";
                    told.refused.push((number, vec![Issue::error("required", "id", text)]));
                }
                Err(_) if place.pass == 0 => {
                    let text = "is no FHIR resource in JSON";
                    told.refused.push((number, vec![Issue::error("structure", "", text)]));
                }
                _ => {}
            }
        }
        // Two Patients do not fit into one transaction.
        let together = if place.pass == 1 { 1 } else { TRANSACTION_LINES };
        let mut work: Vec<Vec<Line>> = Vec::new();
        for line in lines {
            match work.last_mut().filter(|group| group.len() < together) {
                Some(group) => group.push(line),
                None => work.push(vec![line]),
            }
        }
        let organization = job.organization.clone();
        let mut going = JoinSet::new();
        for group in work {
            if going.len() >= AT_ONCE
                && let Some(done) = going.join_next().await
            {
                told.add(joined(done)?);
            }
            let (exchange, ask, job) = (Arc::clone(self), ask.clone(), job.id);
            let organization = organization.clone();
            going
                .spawn(async move { exchange.import_lines(&ask, &organization, job, group).await });
        }
        while let Some(done) = going.join_next().await {
            told.add(joined(done)?);
        }
        job.resources_done += told.count();
        place.chunk += 1;
        place.lines = number;
        job.place = place;
        self.keep_told(&mut job, &file.name, told).await?;
        Ok(if self.save_job(&job).await? { Step::More } else { Step::Pause })
    }

    /// Notes what was written, and writes the errors into the error file.
    async fn keep_told(
        &self,
        job: &mut Job,
        name: &str,
        mut told: Told,
    ) -> Result<(), ExchangeError> {
        for (resource_type, count) in told.written {
            *job.written.entry(resource_type).or_default() += count;
        }
        if told.refused.is_empty() {
            return Ok(());
        }
        told.refused.sort_by_key(|(number, _)| *number);
        let mut ndjson = Vec::new();
        for (number, issues) in &told.refused {
            let placed = issues.iter().map(|issue| {
                let text = format!("{name} line {number}: {}", issue.diagnostics);
                Issue::error(issue.code, issue.expression.clone(), text)
            });
            let outcome = operation_outcome(&placed.collect::<Vec<_>>());
            serde_json::to_writer(&mut ndjson, &outcome)
                .map_err(|_| ExchangeError::Internal("an outcome does not serialise"))?;
            ndjson.push(b'\n');
        }
        let id = job.id;
        job.refused += told.refused.len() as u64;
        let file = job.open_file(BulkFileKind::Error, "OperationOutcome");
        file.lines += told.refused.len() as u64;
        let number = file.number;
        self.desk().spool.append(self.system(), (id, number), &mut file.extent, &ndjson)?;
        let spool = Arc::clone(&self.desk().spool);
        tokio::task::spawn_blocking(move || spool.sync(id, number))
            .await
            .map_err(|_| ExchangeError::Internal("a thread of the disk ended"))?
    }

    /// Admits lines as one transaction; when it is refused, one by one.
    async fn import_lines(
        self: Arc<Self>,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
        lines: Vec<Line>,
    ) -> Result<Told, ExchangeError> {
        let mut told = Told::default();
        let admission = self.import_transaction(ask, organization, job, &lines).await?;
        let refused = matches!(admission.outcome, Outcome::Refused(_));
        if !refused {
            told.written.extend(lines.into_iter().map(|line| (line.resource_type, 1)));
            return Ok(told);
        }
        if let [line] = lines.as_slice() {
            told.refused.push((line.number, issues_of(&admission)));
            return Ok(told);
        }
        for line in lines {
            let one = [line];
            let admission = self.import_transaction(ask, organization, job, &one).await?;
            let [line] = one;
            match admission.outcome {
                Outcome::Refused(_) => told.refused.push((line.number, issues_of(&admission))),
                _ => told.written.push((line.resource_type, 1)),
            }
        }
        Ok(told)
    }

    async fn import_transaction(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        job: RequestId,
        lines: &[Line],
    ) -> Result<Admission, ExchangeError> {
        let identifier = json!({ "system": IMPORT_SYSTEM, "value": job.to_string() });
        let mut payload = format!(
            "{{\"resourceType\":\"Bundle\",\"identifier\":{identifier},\"type\":\"transaction\",\"entry\":["
        )
        .into_bytes();
        for (place, line) in lines.iter().enumerate() {
            let url = format!("{}/{}", line.resource_type, line.id);
            let request = json!({ "method": "PUT", "url": url });
            payload.extend_from_slice(if place == 0 {
                b"{\"resource\":"
            } else {
                b",{\"resource\":"
            });
            payload.extend_from_slice(&line.bytes);
            payload.extend_from_slice(format!(",\"request\":{request}}}").as_bytes());
        }
        payload.extend_from_slice(b"]}");
        let admission = self.admit(ask, organization, Format::Fhir, &payload).await?;
        match (&admission.outcome, admission.category) {
            // Kept, and applied when the keeper answers; the rest waits for it too.
            (Outcome::Queued, _) => Err(ExchangeError::KeeperAway),
            (_, Some("over-budget")) => {
                Err(ExchangeError::OverBudget { window: "minute", limit: 0 })
            }
            (_, Some("suspended")) => Err(ExchangeError::Suspended),
            _ => Ok(admission),
        }
    }

    async fn end_import(&self, ask: &Ask, mut job: Job) -> Result<Step, ExchangeError> {
        job.state = BulkState::Finished;
        job.expires = self.now().plus_millis(FILES_LIFE_MS);
        let inputs = job.files.iter().filter(|file| file.kind == BulkFileKind::Input);
        let inputs: Vec<u32> = inputs.map(|file| file.number).collect();
        job.files.retain(|file| file.kind != BulkFileKind::Input);
        let written = job.written.values().sum();
        let event =
            bulk_event(&job, "finished", job.written.get("Patient").copied().unwrap_or(0), written);
        self.record_entries(vec![ask.entry(self.now(), event)]).await?;
        self.save_job(&job).await?;
        self.desk().owners.lock().remove(&job.id);
        inputs.into_iter().try_for_each(|file| self.desk().spool.remove_file(job.id, file))?;
        Ok(Step::Pause)
    }
}

impl Told {
    fn add(&mut self, other: Self) {
        self.written.extend(other.written);
        self.refused.extend(other.refused);
    }

    fn count(&self) -> u64 {
        self.written.iter().map(|(_, count)| count).sum::<u64>() + self.refused.len() as u64
    }
}

fn joined(
    done: Result<Result<Told, ExchangeError>, tokio::task::JoinError>,
) -> Result<Told, ExchangeError> {
    done.map_err(|_| ExchangeError::Internal("a task of an import ended"))?
}

/// Why a line was refused; no values.
fn issues_of(admission: &Admission) -> Vec<Issue> {
    let errors = admission.issues.iter().filter(|i| i.severity == holdfast_intake::Severity::Error);
    let place = |place: &str| {
        // The place within the line, and not within our transaction.
        let inner = place.strip_prefix("Bundle.entry[0].resource.");
        inner.unwrap_or(place).to_owned()
    };
    let mut issues: Vec<Issue> =
        errors.map(|i| Issue::error("invalid", place(&i.place), i.text.clone())).collect();
    if issues.is_empty() {
        issues.push(Issue::error("processing", "", "was refused"));
    }
    issues
}

/// Where the next chunk ends: behind a whole line.
fn chunk_end(rest: &[u8]) -> usize {
    if rest.len() <= CHUNK_BYTES {
        return rest.len();
    }
    let whole = rest[..CHUNK_BYTES].iter().rposition(|byte| *byte == b'\n');
    let longer = || rest.iter().position(|byte| *byte == b'\n');
    whole.or_else(longer).map_or(rest.len(), |at| at + 1)
}

/// The lines of a chunk; blank ones count for nothing.
fn lines_of(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = chunk.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_behind_whole_lines_and_add_up() {
        let line = [vec![b'x'; 70_000], b"\n".to_vec()].concat();
        let file = line.repeat(20);
        let (mut rest, mut lines, mut bytes) = (&file[..], 0, 0);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_end(rest));
            assert!(chunk.ends_with(b"\n") && chunk.len() <= CHUNK_BYTES);
            lines += lines_of(chunk).count();
            bytes += chunk.len();
            rest = after;
        }
        assert_eq!((lines, bytes), (20, file.len()));
        let long = vec![b'x'; CHUNK_BYTES + 5];
        assert_eq!(chunk_end(&long), long.len());
    }

    #[test]
    fn what_others_refer_to_comes_first() {
        assert!(pass_of("Practitioner") < pass_of("Patient"));
        assert!(pass_of("Patient") < pass_of("Observation"));
    }
}
