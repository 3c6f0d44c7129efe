//! What the store knows of a bulk job: one sealed row, rewritten at each step, from
//! which a server that starts anew goes on.

use std::collections::BTreeMap;

use holdfast_base::{
    CommitNumber, OrganizationId, PatientId, PrincipalId, RequestId, SessionId, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::files::Extent;
use super::wishes::Wishes;

/// How long finished files can be fetched.
pub(super) const FILES_LIFE_MS: i64 = 24 * 3_600_000;
/// How long a job may wait for its owner, a grant or its uploads.
pub(super) const JOB_LIFE_MS: i64 = 7 * 86_400_000;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkKind {
    /// Writes records into files.
    Export,
    /// Reads files into records.
    Import,
}

impl BulkKind {
    /// `export`, `import`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Import => "import",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkState {
    /// An import whose files are being sent.
    Uploading,
    /// At work, or about to be.
    Running,
    /// Cannot go on until something happens; says what.
    Waiting(String),
    /// Done; its files can be fetched.
    Finished,
    /// Ended without a result; says why.
    Failed(String),
}

impl BulkState {
    /// `uploading`, `running`, `waiting`, `finished`, `failed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Running => "running",
            Self::Waiting(_) => "waiting",
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
        }
    }

    /// What it waits for, or why it failed.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Waiting(reason) | Self::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Finished | Self::Failed(_))
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkFileKind {
    /// Resources.
    Output,
    /// Bundles of deletions.
    Deleted,
    /// OperationOutcomes.
    Error,
    /// What is to be imported.
    Input,
}

/// A file of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct JobFile {
    /// Number within the job; also its name on disk.
    pub number: u32,
    pub kind: BulkFileKind,
    /// Resource type of each line; empty when an input did not say.
    pub resource_type: String,
    /// The uploader's name for it.
    #[serde(default)]
    pub name: String,
    pub lines: u64,
    pub extent: Extent,
    /// Full: nothing is added any more.
    #[serde(default)]
    pub closed: bool,
    /// Of an input: the passes that have lines in it.
    #[serde(default)]
    pub passes: Vec<u8>,
}

/// The row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub id: RequestId,
    pub kind: BulkKind,
    pub state: BulkState,
    pub organization: OrganizationId,
    pub owner: PrincipalId,
    /// Under which session, address and purpose its entries stand.
    pub session: SessionId,
    pub address: Option<String>,
    pub purpose: holdfast_base::Purpose,
    /// The URL of the kick-off.
    pub request: String,
    pub wishes: Wishes,
    pub created: Timestamp,
    /// When it is deleted with its files.
    pub expires: Timestamp,
    /// The state of the store that it shows; none before it has begun.
    pub commit: Option<CommitNumber>,
    /// Whether what is about no patient is in the files.
    pub directory_done: bool,
    /// The last patient whose record is in the files.
    pub after: Option<PatientId>,
    pub patients_total: u64,
    pub patients_done: u64,
    pub resources_done: u64,
    pub files: Vec<JobFile>,
    /// Where an import stands.
    #[serde(default)]
    pub place: super::import::Place,
    /// What an import wrote, by type.
    #[serde(default)]
    pub written: BTreeMap<String, u64>,
    /// Lines of an import that were refused.
    #[serde(default)]
    pub refused: u64,
}

/// A job as it is shown.
#[derive(Debug, Clone)]
pub struct BulkJob {
    /// Its number.
    pub id: RequestId,
    /// What it does.
    pub kind: BulkKind,
    /// How far it is.
    pub state: BulkState,
    /// Whose records.
    pub organization: OrganizationId,
    /// Who asked for it.
    pub owner: PrincipalId,
    /// The URL of the kick-off.
    pub request: String,
    /// When it was asked for: what was changed later is not in it.
    pub transaction_time: Timestamp,
    /// When it and its files are deleted.
    pub expires: Timestamp,
    /// Patients in all, as far as is known.
    pub patients_total: u64,
    /// Patients that are done.
    pub patients_done: u64,
    /// Resources that were written to files, or lines that were read.
    pub resources_done: u64,
    /// What an import wrote, by type.
    pub written: BTreeMap<String, u64>,
    /// Lines of an import that were refused.
    pub refused: u64,
    /// Its files.
    pub files: Vec<BulkFile>,
}

/// A file of a job as it is shown.
#[derive(Debug, Clone)]
pub struct BulkFile {
    /// Number within the job.
    pub number: u32,
    /// What it is for.
    pub kind: BulkFileKind,
    /// Resource type of its lines.
    pub resource_type: String,
    /// What its sender calls it, of an import's input.
    pub name: String,
    /// Lines.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Job {
    pub fn view(&self) -> BulkJob {
        let files = self.files.iter().filter(|file| file.lines > 0);
        BulkJob {
            id: self.id,
            kind: self.kind,
            state: self.state.clone(),
            organization: self.organization.clone(),
            owner: self.owner.clone(),
            request: self.request.clone(),
            transaction_time: self.created,
            expires: self.expires,
            patients_total: self.patients_total,
            patients_done: self.patients_done,
            resources_done: self.resources_done,
            written: self.written.clone(),
            refused: self.refused,
            files: files
                .map(|file| BulkFile {
                    number: file.number,
                    kind: file.kind,
                    resource_type: file.resource_type.clone(),
                    name: file.name.clone(),
                    count: file.lines,
                    bytes: file.extent.plain_bytes,
                })
                .collect(),
        }
    }

    /// The file that takes lines of a kind and type; a new one when none is open.
    pub fn open_file(&mut self, kind: BulkFileKind, resource_type: &str) -> &mut JobFile {
        let open = |file: &JobFile| {
            !file.closed && file.kind == kind && file.resource_type == resource_type
        };
        let at = match self.files.iter().position(open) {
            Some(at) => at,
            None => {
                self.files.push(JobFile {
                    number: self.files.iter().map(|file| file.number).max().unwrap_or(0) + 1,
                    kind,
                    resource_type: resource_type.to_owned(),
                    name: String::new(),
                    lines: 0,
                    extent: Extent::default(),
                    closed: false,
                    passes: Vec::new(),
                });
                self.files.len() - 1
            }
        };
        &mut self.files[at]
    }
}
