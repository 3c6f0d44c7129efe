//! One search: which resources meet every condition at a commit.

use std::collections::{BTreeSet, HashMap};

use holdfast_base::{ElementClass, OrganizationId, PatientId};

use super::block::open_block;
use super::desk::{Caches, IndexKeys, Opened, Step};
use super::{Condition, IndexError, IndexedResource, NEEDED_MAX, Needed, Range, Record};
use crate::asked::PopulationQuestion;

/// Resources that one condition may hold in memory: some 300 MB.
const CANDIDATES_MAX: usize = 4_000_000;
/// Resources that one answer may name.
pub(crate) const NAMED_MAX: usize = 10_000;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    pub total: u64,
    pub named: Vec<IndexedResource>,
}

/// A search under way.
pub(crate) struct Search {
    question: PopulationQuestion,
    /// Of each condition, what was added less what was removed, by resource.
    sums: Vec<HashMap<IndexedResource, i32>>,
    opened: Opened,
    /// Rows that are still to be seen, the next one last.
    blocks: Option<Vec<Needed>>,
}

impl Search {
    pub fn new(mut question: PopulationQuestion) -> Self {
        if question.conditions.iter().all(|condition| condition.excludes) {
            let everything = vec![question.everything.clone()];
            question.conditions.insert(0, Condition { excludes: false, ranges: everything });
        }
        let sums = vec![HashMap::new(); question.conditions.len()];
        let (runs, deltas) = (question.runs.clone(), question.deltas.clone());
        let opened = Opened::new(question.organization.clone(), runs, deltas);
        Self { question, sums, opened, blocks: None }
    }

    pub fn organization(&self) -> &OrganizationId {
        &self.question.organization
    }

    /// Takes rows that were needed and says what is needed next.
    pub fn go_on(
        &mut self,
        keys: &IndexKeys,
        caches: &Caches,
        rows: Vec<(Needed, Vec<u8>)>,
    ) -> Result<Step, IndexError> {
        for (needed, sealed) in rows {
            match needed {
                Needed::Block(run, number) => {
                    let name = self.question.organization.as_str();
                    let records = open_block(&keys.seal, name, (run, number), &sealed)?;
                    self.count(&records)?;
                }
                other => self.opened.take(keys, caches, other, &sealed)?,
            }
        }
        if self.blocks.is_none() {
            let missing = self.opened.missing(caches);
            if !missing.is_empty() {
                return Ok(Step::Need(missing));
            }
            for records in std::mem::take(&mut self.opened.records).values() {
                self.count(records)?;
            }
            self.blocks = Some(self.overlapping());
        }
        let blocks = self.blocks.get_or_insert_default();
        if blocks.is_empty() {
            return Ok(Step::Done);
        }
        Ok(Step::Need(blocks.split_off(blocks.len().saturating_sub(NEEDED_MAX))))
    }

    /// The blocks that may hold a posting in one of the ranges.
    fn overlapping(&self) -> Vec<Needed> {
        let ranges: Vec<&Range> = self.question.conditions.iter().flat_map(|c| &c.ranges).collect();
        let mut blocks = BTreeSet::new();
        for ((run, _), fence) in &self.opened.fences {
            for (number, start, last) in fence.blocks() {
                let meets = |range: &&Range| {
                    start.key.as_slice() < range.to.as_slice() && last >= range.from.as_slice()
                };
                if ranges.iter().any(meets) {
                    blocks.insert((*run, number));
                }
            }
        }
        blocks.into_iter().rev().map(|(run, number)| Needed::Block(run, number)).collect()
    }

    fn count(&mut self, records: &[Record]) -> Result<(), IndexError> {
        for (condition, sums) in self.question.conditions.iter().zip(&mut self.sums) {
            for range in &condition.ranges {
                let from = records.partition_point(|record| record.key < range.from);
                let within = records[from..].iter().take_while(|record| record.key < range.to);
                for record in within {
                    if record.commit.0 <= self.question.as_of && range.holds(&record.key) {
                        *sums.entry(record.resource).or_default() +=
                            if record.adds { 1 } else { -1 };
                    }
                }
            }
            if sums.len() > CANDIDATES_MAX {
                return Err(IndexError::TooMany);
            }
        }
        Ok(())
    }

    /// The answer, when every row was seen. Patients whose key was destroyed are in
    /// no answer.
    pub fn answer(self, is_forgotten: &dyn Fn(PatientId) -> bool) -> Result<Found, IndexError> {
        let holds = |place: usize, resource: &IndexedResource| {
            self.sums[place].get(resource).is_some_and(|sum| *sum > 0)
        };
        let conditions = &self.question.conditions;
        let smallest = (0..conditions.len())
            .filter(|place| !conditions[*place].excludes)
            .min_by_key(|place| self.sums[*place].len());
        let Some(smallest) = smallest else { return Err(IndexError::Damaged) };
        let readable = |class: u8| {
            ElementClass::ALL
                .get(usize::from(class))
                .is_some_and(|c| self.question.classes.contains(*c))
        };
        let mut found: Vec<IndexedResource> = self.sums[smallest]
            .iter()
            .filter(|(resource, sum)| **sum > 0 && readable(resource.class))
            .map(|(resource, _)| *resource)
            .filter(|resource| {
                conditions.iter().enumerate().all(|(place, c)| holds(place, resource) != c.excludes)
            })
            .collect();
        found.sort_unstable();
        let mut last = None;
        found.retain(|resource| {
            let known = last.filter(|(patient, _)| *patient == resource.patient);
            let (_, forgotten) = *last.insert(
                known.unwrap_or_else(|| (resource.patient, is_forgotten(resource.patient))),
            );
            !forgotten
        });
        let total = found.len() as u64;
        let Some((offset, count)) = self.question.page else {
            return Ok(Found { total, named: Vec::new() });
        };
        let (offset, count) = (
            usize::try_from(offset).unwrap_or(usize::MAX),
            usize::try_from(count).unwrap_or(usize::MAX),
        );
        let named: Vec<IndexedResource> = found.into_iter().skip(offset).take(count).collect();
        if named.len() > NAMED_MAX {
            return Err(IndexError::TooMany);
        }
        Ok(Found { total, named })
    }
}
