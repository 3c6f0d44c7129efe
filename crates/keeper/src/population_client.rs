//! Searches over an organization's patients, from the front process's side: it
//! brings the sealed rows that the keeper asks for, and learns which resources
//! match.

use holdfast_base::{ClassSet, OrganizationId, Purpose, RequestId};

use crate::client::KeeperClient;
use crate::error::KeeperError;
use crate::people::Proof;
use crate::population::{Condition, DeltaRef, IndexedResource, Needed, Range, RunRef};
use crate::protocol::{
    Answer, PopulationAnswer, PopulationRequest, Request, WireMerge, WireSearch,
};

/// A search over an organization's patients.
#[derive(Debug, Clone)]
pub struct PopulationSearch {
    /// Who asks, from where: budget, role and entry follow from it.
    pub proof: Proof,
    /// The request that the search is part of.
    pub request: RequestId,
    /// The organization whose patients are searched.
    pub organization: OrganizationId,
    /// FHIR resource type, for the entry.
    pub resource_type: String,
    /// Names of the parameters, for the entry; never values.
    pub parameters: Vec<String>,
    /// Purpose of use.
    pub purpose: Purpose,
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
#[derive(Debug, Clone)]
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

/// What one step made: sealed blocks and directory pieces, numbered on from where
/// the step before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedStep {
    /// Blocks.
    pub blocks: Vec<Vec<u8>>,
    /// Pieces of the directory.
    pub fences: Vec<Vec<u8>>,
    /// Steps in all.
    pub steps: u32,
}

impl KeeperClient {
    /// Searches. `fetch` brings the sealed rows that the keeper needs, in their
    /// order; nothing for one that is not there. The entry is durable before the
    /// answer comes.
    ///
    /// # Errors
    /// [`KeeperError`]; [`KeeperError::OverBudget`] when the answer would name more
    /// patients than the caller may be told.
    pub async fn population_search(
        &self,
        search: PopulationSearch,
        fetch: impl FnMut(&[Needed]) -> Option<Vec<Vec<u8>>>,
    ) -> Result<(u64, Vec<IndexedResource>), KeeperError> {
        let search = PopulationRequest::Search(Box::new(WireSearch {
            proof: search.proof,
            request: search.request,
            organization: search.organization,
            resource_type: search.resource_type,
            parameters: search.parameters,
            purpose: search.purpose,
            conditions: search.conditions,
            everything: search.everything,
            classes: search.classes,
            as_of: search.as_of,
            runs: search.runs,
            deltas: search.deltas,
            page: search.page,
        }));
        match self.supply(search, fetch).await? {
            PopulationAnswer::Found { total, resources } => Ok((total, resources)),
            _ => Err(KeeperError::Protocol { what: "an unexpected answer" }),
        }
    }

    /// Makes one step of a merge; `fetch` as for a search. Safe to repeat.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn population_merge(
        &self,
        merge: PopulationMerge,
        fetch: impl FnMut(&[Needed]) -> Option<Vec<Vec<u8>>>,
    ) -> Result<MergedStep, KeeperError> {
        let merge = PopulationRequest::Merge(WireMerge {
            organization: merge.organization,
            runs: merge.runs,
            deltas: merge.deltas,
            output: merge.output,
            step: merge.step,
            first_block: merge.first_block,
            first_piece: merge.first_piece,
        });
        match self.supply(merge, fetch).await? {
            PopulationAnswer::Merged { blocks, fences, steps } => {
                Ok(MergedStep { blocks, fences, steps })
            }
            _ => Err(KeeperError::Protocol { what: "an unexpected answer" }),
        }
    }

    /// Asks, and brings what is needed until there is an answer.
    async fn supply(
        &self,
        mut request: PopulationRequest,
        mut fetch: impl FnMut(&[Needed]) -> Option<Vec<Vec<u8>>>,
    ) -> Result<PopulationAnswer, KeeperError> {
        loop {
            match self.ask(Request::Population(request)).await? {
                Answer::Population(PopulationAnswer::Need { handle, rows }) => {
                    let what = "a row of the population index is missing";
                    let missing = || KeeperError::Fault { what: what.to_owned() };
                    let rows = fetch(&rows).ok_or_else(missing)?;
                    request = PopulationRequest::Supply { handle, rows };
                }
                Answer::Population(answer) => return Ok(answer),
                _ => return Err(KeeperError::Protocol { what: "an unexpected answer" }),
            }
        }
    }
}
