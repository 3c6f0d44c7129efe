//! What a front process asks a keeper for, as the caller fills it in and as it goes
//! over the wire.

use holdfast_base::{ClassSet, OrganizationId, PatientId, Purpose, RequestId};
use serde::{Deserialize, Serialize};

use crate::people::Proof;
use crate::population::{Condition, DeltaRef, Range, RunRef};

/// What a release is asked for with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// Who asks, from where: what the entry says of them follows from the proof.
    pub proof: Proof,
    /// The request that the release is part of.
    pub request: RequestId,
    /// The organization that keeps the records.
    pub organization: OrganizationId,
    /// The patients: all of them are released, or none.
    pub patients: Vec<PatientId>,
    /// The classes whose keys are wanted.
    pub classes: ClassSet,
    /// Purpose of use.
    pub purpose: Purpose,
    /// Why policy permitted it: a reason code.
    pub reason: String,
    /// Make a key for a patient who has none (intake of a new patient).
    pub create_missing: bool,
}

/// A search over an organization's patients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PopulationSearch {
    /// Who asks, from where: budget, role and entry follow from it.
    pub proof: Proof,
    /// The request that the search is part of.
    pub request: RequestId,
    /// FHIR resource type, for the entry.
    pub resource_type: String,
    /// Names of the parameters, for the entry; never values.
    pub parameters: Vec<String>,
    /// Purpose of use.
    pub purpose: Purpose,
    /// What is looked for.
    pub question: PopulationQuestion,
}

/// What a search over an organization's patients looks for, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PopulationQuestion {
    /// The organization whose patients are searched.
    pub organization: OrganizationId,
    /// All of them must be met.
    pub conditions: Vec<Condition>,
    /// The posting that every resource of the type has.
    pub everything: Range,
    /// Classes that the caller may see of any patient.
    pub classes: ClassSet,
    /// The commit whose state is searched.
    pub as_of: u64,
    /// The runs of the index.
    pub runs: Vec<RunRef>,
    /// What is not folded into them yet.
    pub deltas: Vec<DeltaRef>,
    /// From which match on how many are named; none: they are only counted.
    pub page: Option<(u64, u64)>,
}

/// One step of folding deltas and runs into one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PopulationMerge {
    /// Whose index.
    pub organization: OrganizationId,
    /// Runs to merge.
    pub runs: Vec<RunRef>,
    /// Deltas to fold.
    pub deltas: Vec<DeltaRef>,
    /// Random name of the run that is made.
    pub output: [u8; 16],
    /// Which step, from 0.
    pub step: u32,
    /// Blocks that the steps before made.
    pub first_block: u32,
    /// Pieces of the directory that the steps before made.
    pub first_piece: u32,
}
