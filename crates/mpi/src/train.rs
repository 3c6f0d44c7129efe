//! Learning weights without labels: expectation and maximisation (Dempster,
//! Laird, Rubin 1977; Winkler 1988 for record linkage).

use std::collections::BTreeMap;

use crate::{Pattern, Weights};

/// Most rounds; it settles in far fewer.
const ROUNDS_MAX: u32 = 200;
/// It has settled when no chance moves by more than this.
const SETTLED: f64 = 1e-5;
/// Every start is worth this many pairs a field: a level that the pairs never
/// show keeps the chance that it started with instead of becoming impossible.
const START_PAIRS: f64 = 40.0;

/// How the training went.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingReport {
    /// Pairs that were learned from.
    pub pairs_count: u64,
    /// Rounds until it settled.
    pub rounds: u32,
    /// Whether it settled within the bound.
    pub is_settled: bool,
}

/// Learns the chances of each level and the prior from candidate pairs, from
/// `start` on. The bands are kept. Missing fields count for neither side.
pub fn train(
    start: &Weights,
    pairs: impl IntoIterator<Item = Pattern>,
) -> (Weights, TrainingReport) {
    let mut counts = BTreeMap::<Pattern, u64>::new();
    for pattern in pairs {
        *counts.entry(pattern).or_default() += 1;
    }
    let pairs_count: u64 = counts.values().sum();
    let mut weights = start.clone();
    let mut report = TrainingReport { pairs_count, rounds: 0, is_settled: pairs_count == 0 };
    while !report.is_settled && report.rounds < ROUNDS_MAX {
        let next = round(start, &weights, &counts);
        report.is_settled = distance(&weights, &next) < SETTLED;
        report.rounds += 1;
        weights = next;
    }
    (weights, report)
}

/// One round: how likely each pattern is the same person under `present`, then
/// the chances that these likelihoods give.
fn round(start: &Weights, present: &Weights, counts: &BTreeMap<Pattern, u64>) -> Weights {
    let mut next = start.clone();
    for level in next.fields.iter_mut().flat_map(|field| &mut field.levels) {
        level.same *= START_PAIRS;
        level.other *= START_PAIRS;
    }
    let (mut same_sum, mut sum) = (START_PAIRS * start.prior, START_PAIRS);
    for (pattern, count) in counts {
        let count = *count as f64;
        let same = count * present.probability(present.score(pattern));
        same_sum += same;
        sum += count;
        for (field, level) in next.fields.iter_mut().zip(pattern) {
            let level = level.and_then(|level| field.levels.get_mut(usize::from(level)));
            if let Some(level) = level {
                level.same += same;
                level.other += count - same;
            }
        }
    }
    for field in &mut next.fields {
        let same: f64 = field.levels.iter().map(|level| level.same).sum();
        let other: f64 = field.levels.iter().map(|level| level.other).sum();
        for level in &mut field.levels {
            level.same /= same;
            level.other /= other;
        }
    }
    next.prior = same_sum / sum;
    next
}

fn distance(a: &Weights, b: &Weights) -> f64 {
    let levels = |w: &Weights| -> Vec<f64> {
        let levels = w.fields.iter().flat_map(|field| &field.levels);
        levels.flat_map(|level| [level.same, level.other]).chain([w.prior]).collect()
    };
    levels(a).iter().zip(levels(b)).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}
