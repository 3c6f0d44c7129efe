//! Folding and merging: deltas and runs become one run, some hundred blocks a
//! step. A step depends on its inputs and its number only, so that it can be done
//! again after whoever writes the blocks was interrupted.

use std::collections::HashSet;

use holdfast_base::{OrganizationId, PatientId};

use super::block::{Cutter, open_block, seal_fence};
use super::desk::{Caches, IndexKeys, Opened, Step};
use super::{IndexError, NEEDED_MAX, Needed, Record};
use crate::asked::PopulationMerge;

/// Blocks of the inputs that one step reads, those at its ends not counted.
const STEP_BLOCKS: usize = 512;

/// What a step made, sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    pub blocks: Vec<Vec<u8>>,
    pub fences: Vec<Vec<u8>>,
    /// Steps in all.
    pub steps: u32,
}

/// A merge step under way.
pub(crate) struct Merge {
    asked: PopulationMerge,
    opened: Opened,
    records: Vec<Record>,
    plan: Option<Plan>,
}

struct Plan {
    steps: u32,
    from: Option<Record>,
    to: Option<Record>,
    blocks: Vec<Needed>,
}

impl Merge {
    pub fn new(asked: PopulationMerge) -> Self {
        let (runs, deltas) = (asked.runs.clone(), asked.deltas.clone());
        let opened = Opened::new(asked.organization.clone(), runs, deltas);
        Self { asked, opened, records: Vec::new(), plan: None }
    }

    pub fn organization(&self) -> &OrganizationId {
        &self.asked.organization
    }

    pub fn go_on(
        &mut self,
        keys: &IndexKeys,
        caches: &Caches,
        rows: Vec<(Needed, Vec<u8>)>,
    ) -> Result<Step, IndexError> {
        for (needed, sealed) in rows {
            match needed {
                Needed::Block(run, number) => {
                    let name = self.asked.organization.as_str();
                    let records = open_block(&keys.seal, name, (run, number), &sealed)?;
                    self.take(records);
                }
                other => self.opened.take(keys, caches, other, &sealed)?,
            }
        }
        if self.plan.is_none() {
            let missing = self.opened.missing(caches);
            if !missing.is_empty() {
                return Ok(Step::Need(missing));
            }
            self.plan = Some(self.plan());
            for records in std::mem::take(&mut self.opened.records).into_values() {
                self.take(records.to_vec());
            }
        }
        let Some(plan) = &mut self.plan else { return Err(IndexError::Damaged) };
        if plan.blocks.is_empty() {
            return Ok(Step::Done);
        }
        let rest = plan.blocks.len().saturating_sub(NEEDED_MAX);
        Ok(Step::Need(plan.blocks.split_off(rest)))
    }

    /// Which records the step is about, and which blocks may hold them.
    fn plan(&self) -> Plan {
        let mut starts: Vec<&Record> =
            self.opened.fences.values().flat_map(|f| &f.starts).collect();
        starts.sort_unstable();
        let steps = starts.len().div_ceil(STEP_BLOCKS).max(1);
        let step = self.asked.step as usize;
        let bound = |number: usize| match number {
            0 => None,
            number => starts.get(number * STEP_BLOCKS).map(|record| Record::clone(record)),
        };
        let (from, to) = (bound(step), bound(step + 1));
        let mut blocks = Vec::new();
        for ((run, piece), fence) in &self.opened.fences {
            let following =
                self.opened.fences.get(&(*run, piece + 1)).and_then(|f| f.starts.first());
            for (at, start) in fence.starts.iter().enumerate() {
                let next = fence.starts.get(at + 1).or(following);
                let early = to.as_ref().is_none_or(|to| start < to);
                let late = match (&from, next) {
                    (Some(from), Some(next)) => next > from,
                    _ => true,
                };
                if early && late {
                    blocks.push(Needed::Block(*run, fence.first_block + at as u32));
                }
            }
        }
        Plan { steps: u32::try_from(steps).unwrap_or(u32::MAX), from, to, blocks }
    }

    fn take(&mut self, records: Vec<Record>) {
        let Some(plan) = &self.plan else { return };
        let within = |record: &Record| {
            plan.from.as_ref().is_none_or(|from| record >= from)
                && plan.to.as_ref().is_none_or(|to| record < to)
        };
        self.records.extend(records.into_iter().filter(within));
    }

    /// The step's part of the new run. What belongs to patients whose key was
    /// destroyed is left out.
    pub fn answer(
        mut self,
        keys: &IndexKeys,
        is_forgotten: &dyn Fn(PatientId) -> bool,
    ) -> Result<Merged, IndexError> {
        self.records.sort_unstable();
        let patients: HashSet<PatientId> =
            self.records.iter().map(|r| r.resource.patient).collect();
        let gone: HashSet<PatientId> = patients.into_iter().filter(|p| is_forgotten(*p)).collect();
        let name = self.asked.organization.as_str();
        let mut cutter = Cutter::new(&keys.seal, name, self.asked.output, self.asked.first_block);
        for record in self.records {
            if !gone.contains(&record.resource.patient) {
                cutter.push(record)?;
            }
        }
        let (blocks, fences) = cutter.finish();
        let fences = (self.asked.first_piece..)
            .zip(&fences)
            .map(|(piece, fence)| seal_fence(&keys.seal, name, (self.asked.output, piece), fence));
        let steps = self.plan.map_or(1, |plan| plan.steps);
        Ok(Merged { fences: fences.collect(), blocks, steps })
    }
}
