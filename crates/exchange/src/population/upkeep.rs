//! Upkeep of the index: deltas are folded into runs, runs of one size are merged
//! into a larger one, rows of runs that were merged are deleted. Each step is one
//! transaction; searches go on and are right before and after each of them.

use std::sync::Arc;

use holdfast_base::fill_random;
use holdfast_keeper::{Needed, PopulationMerge};

use super::{Manifest, Run, Work, deltas, fetch, needed_key, row};
use crate::ExchangeError;
use crate::people::Organization;
use crate::state::Exchange;

/// Deltas that wait before they are folded: what a search opens one by one.
const FOLD_DELTAS_MIN: usize = 64;
/// Deltas, and bytes of them, that are folded at once.
const FOLD_DELTAS_MAX: usize = 1_024;
const FOLD_BYTES_MAX: u64 = 16 << 20;
/// Runs of one size that are merged into one of the next.
const FAN: usize = 4;
/// Rows that one transaction deletes.
const DELETE_ROWS_MAX: u32 = 2_048;

impl Exchange {
    /// Starts upkeep of all indexes, unless it is under way.
    pub(crate) fn start_upkeep(self: &Arc<Self>) {
        let exchange = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_busy) = exchange.upkeep().try_lock() else { return };
            for organization in exchange.organizations() {
                loop {
                    match exchange.tend(&organization, FOLD_DELTAS_MIN).await {
                        Ok(true) => {}
                        Ok(false) | Err(ExchangeError::KeeperAway | ExchangeError::Conflict) => {
                            break;
                        }
                        Err(error) => {
                            tracing::error!(error = %error, "upkeep of a population index failed");
                            break;
                        }
                    }
                }
            }
        });
    }

    /// Brings all indexes up to date: everything folded that waits. Gives the
    /// number of steps that it took.
    ///
    /// # Errors
    /// When keeper or store fail; it goes on from there when it is called again.
    pub async fn tend_populations(&self) -> Result<usize, ExchangeError> {
        let _alone = self.upkeep().lock().await;
        let mut steps = 0;
        for organization in self.organizations() {
            while self.tend(&organization, 1).await? {
                steps += 1;
            }
        }
        Ok(steps)
    }

    /// One step; whether there was anything to do.
    async fn tend(
        &self,
        organization: &Organization,
        deltas_min: usize,
    ) -> Result<bool, ExchangeError> {
        let snapshot = self.store().snapshot();
        let Some((mut manifest, sealed)) = self.manifest(organization, &snapshot)? else {
            return Ok(false);
        };
        if let Some(work) = manifest.work.clone() {
            self.merge_on(organization, manifest, sealed, work).await?;
            return Ok(true);
        }
        if let Some(run) = manifest.trash.pop() {
            self.delete_run(organization, manifest, sealed, run).await?;
            return Ok(true);
        }
        if !manifest.ready {
            return self.build_within_budget(organization, manifest, sealed).await;
        }
        let mut waiting = deltas(organization, &snapshot)?;
        let (mut runs, mut fold) = (Vec::new(), Vec::new());
        if waiting.len() >= deltas_min {
            waiting.sort_by_key(|delta| delta.commit);
            let mut bytes = 0;
            fold = waiting;
            fold.truncate(FOLD_DELTAS_MAX);
            let fits = fold.iter().take_while(|delta| {
                bytes += u64::from(delta.bytes);
                bytes <= FOLD_BYTES_MAX
            });
            let fits = fits.count().max(1);
            fold.truncate(fits);
        } else {
            runs = mergeable(&manifest.runs);
        }
        if runs.is_empty() && fold.is_empty() {
            return Ok(false);
        }
        let mut output = Run { run: [0; 16], blocks: 0, pieces: 0 };
        fill_random(&mut output.run);
        let work = Work { output, runs, deltas: fold, step: 0 };
        self.merge_on(organization, manifest, sealed, work).await?;
        Ok(true)
    }

    /// The next step of a merge; with the last one the new run takes the place of
    /// what it was made of.
    async fn merge_on(
        &self,
        organization: &Organization,
        mut manifest: Manifest,
        sealed: Vec<u8>,
        mut work: Work,
    ) -> Result<(), ExchangeError> {
        let snapshot = self.store().snapshot();
        let merge = PopulationMerge {
            organization: organization.id().clone(),
            runs: work.runs.iter().map(|run| run.reference()).collect(),
            deltas: work.deltas.clone(),
            output: work.output.run,
            step: work.step,
            first_block: work.output.blocks,
            first_piece: work.output.pieces,
        };
        let merged = self.keeper().population_merge(merge, fetch(organization, &snapshot)).await?;
        drop(snapshot);
        let mut rows = Vec::new();
        for (number, block) in (work.output.blocks..).zip(merged.blocks) {
            let needed = Needed::Block(work.output.run, number);
            rows.push(row(needed_key(organization, &needed), Some(block)));
            work.output.blocks += 1;
        }
        for (number, fence) in (work.output.pieces..).zip(merged.fences) {
            let needed = Needed::Fence(work.output.run, number);
            rows.push(row(needed_key(organization, &needed), Some(fence)));
            work.output.pieces += 1;
        }
        work.step += 1;
        if work.step < merged.steps {
            manifest.work = Some(work);
        } else {
            manifest.work = None;
            manifest.runs.retain(|run| !work.runs.contains(run));
            if work.output.blocks > 0 {
                manifest.runs.push(work.output);
            }
            manifest.trash.extend(work.runs);
            for delta in &work.deltas {
                rows.push(row(needed_key(organization, &Needed::Delta(delta.delta)), None));
            }
        }
        self.save_manifest(organization, Some(sealed), &manifest, rows).await
    }

    /// Deletes the last rows of a run; what is left of it stays in the manifest.
    async fn delete_run(
        &self,
        organization: &Organization,
        mut manifest: Manifest,
        sealed: Vec<u8>,
        mut run: Run,
    ) -> Result<(), ExchangeError> {
        let mut rows = Vec::new();
        for _ in 0..DELETE_ROWS_MAX {
            let needed = if run.blocks > 0 {
                run.blocks -= 1;
                Needed::Block(run.run, run.blocks)
            } else if run.pieces > 0 {
                run.pieces -= 1;
                Needed::Fence(run.run, run.pieces)
            } else {
                break;
            };
            rows.push(row(needed_key(organization, &needed), None));
        }
        if run.blocks > 0 || run.pieces > 0 {
            manifest.trash.push(run);
        }
        self.save_manifest(organization, Some(sealed), &manifest, rows).await
    }
}

/// The runs of the smallest size of which there are enough to merge.
fn mergeable(runs: &[Run]) -> Vec<Run> {
    let size = |run: &Run| (run.blocks / 16 + 1).ilog(FAN as u32);
    let mut sizes: Vec<u32> = runs.iter().map(size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let of_size = |wanted: u32| runs.iter().filter(|run| size(run) == wanted).copied().collect();
    sizes.into_iter().map(of_size).find(|same: &Vec<Run>| same.len() >= FAN).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_ends_and_leaves_few_runs() {
        let mut runs = Vec::new();
        for number in 0..1_000_u32 {
            let mut name = [0; 16];
            name[..4].copy_from_slice(&number.to_be_bytes());
            runs.push(Run { run: name, blocks: 5 + number % 40, pieces: 1 });
            loop {
                let inputs = mergeable(&runs);
                if inputs.is_empty() {
                    break;
                }
                assert!(inputs.len() >= FAN);
                let blocks = inputs.iter().map(|run| run.blocks).sum();
                runs.retain(|run| !inputs.contains(run));
                runs.push(Run { blocks, ..inputs[0] });
            }
            assert!(runs.len() <= (FAN - 1) * 10, "{} runs after {number}", runs.len());
        }
    }
}
