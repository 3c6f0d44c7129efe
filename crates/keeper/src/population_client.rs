//! Searches over an organization's patients, from the front process's side: it
//! brings the sealed rows that the keeper asks for, and learns which resources
//! match.

use crate::asked::{PopulationMerge, PopulationSearch};
use crate::client::KeeperClient;
use crate::error::KeeperError;
use crate::population::{IndexedResource, Needed};
use crate::protocol::{Answer, PopulationAnswer, PopulationRequest, Request};

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
        match self.supply(PopulationRequest::Search(Box::new(search)), fetch).await? {
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
        match self.supply(PopulationRequest::Merge(merge), fetch).await? {
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
