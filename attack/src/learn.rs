//! How a thief learns: values of features in few bins, naive Bayes, and a forest
//! of decision trees.

use crate::people::Dice;

/// Bins of one feature.
const BINS_MAX: usize = 48;
/// Trees of a forest.
const TREES: usize = 40;
const DEPTH_MAX: usize = 14;
const LEAF_ITEMS_MIN: usize = 6;

/// Probabilities of the classes.
pub type Odds = Vec<f32>;

/// Something that has learned.
pub trait Learned {
    /// How likely each class is.
    fn odds(&self, features: &[f32]) -> Odds;
}

/// Items to learn from: features and class of each.
#[derive(Debug)]
pub struct Lessons<'a> {
    /// Equally long.
    pub features: Vec<&'a [f32]>,
    /// Below `classes`.
    pub labels: Vec<usize>,
    /// How many classes there are.
    pub classes: usize,
}

impl Lessons<'_> {
    fn width(&self) -> usize {
        self.features.first().map_or(0, |features| features.len())
    }
}

/// Cuts of every feature.
#[derive(Debug)]
struct Cuts(Vec<Vec<f32>>);

impl Cuts {
    fn of(lessons: &Lessons<'_>) -> Self {
        let cut = |at: usize| {
            let mut values: Vec<f32> = lessons.features.iter().map(|f| f[at]).collect();
            values.sort_by(f32::total_cmp);
            let mut distinct = values.clone();
            distinct.dedup();
            if distinct.len() > BINS_MAX {
                distinct = (1..BINS_MAX).map(|bin| values[bin * values.len() / BINS_MAX]).collect();
                distinct.dedup();
            } else if !distinct.is_empty() {
                distinct.remove(0);
            }
            distinct
        };
        Self((0..lessons.width()).map(cut).collect())
    }

    /// The bin of each feature: how many cuts are not above it.
    fn bins(&self, features: &[f32]) -> Vec<u8> {
        let bin = |(cuts, value): (&Vec<f32>, &f32)| cuts.partition_point(|cut| cut <= value) as u8;
        self.0.iter().zip(features).map(bin).collect()
    }
}

/// Naive Bayes over binned features.
pub struct Bayes {
    cuts: Cuts,
    prior: Vec<f32>,
    /// Logarithm of the share of a bin: feature, class, bin.
    shares: Vec<Vec<[f32; BINS_MAX + 1]>>,
}

impl Bayes {
    /// Counts.
    pub fn learn(lessons: &Lessons<'_>) -> Self {
        let cuts = Cuts::of(lessons);
        let mut counts = vec![vec![[1.0_f32; BINS_MAX + 1]; lessons.classes]; lessons.width()];
        let mut totals = vec![1.0_f32; lessons.classes];
        for (features, label) in lessons.features.iter().zip(&lessons.labels) {
            totals[*label] += 1.0;
            for (feature, bin) in cuts.bins(features).into_iter().enumerate() {
                counts[feature][*label][usize::from(bin)] += 1.0;
            }
        }
        let sum: f32 = totals.iter().sum();
        let prior = totals.iter().map(|total| (total / sum).ln()).collect();
        for (feature, classes) in counts.iter_mut().enumerate() {
            let bins = cuts.0[feature].len() + 1;
            for class in classes {
                let sum: f32 = class[..bins].iter().sum();
                class.iter_mut().for_each(|count| *count = (*count / sum).ln());
            }
        }
        Self { cuts, prior, shares: counts }
    }
}

impl Learned for Bayes {
    fn odds(&self, features: &[f32]) -> Odds {
        let mut odds = self.prior.clone();
        for (feature, bin) in self.cuts.bins(features).into_iter().enumerate() {
            for (class, sum) in odds.iter_mut().enumerate() {
                *sum += self.shares[feature][class][usize::from(bin)];
            }
        }
        let most = odds.iter().copied().fold(f32::MIN, f32::max);
        odds.iter_mut().for_each(|odd| *odd = (*odd - most).exp());
        let sum: f32 = odds.iter().sum();
        odds.iter_mut().for_each(|odd| *odd /= sum);
        odds
    }
}

enum Node {
    Leaf(Odds),
    /// Up to this bin of this feature to the first, else to the second.
    Fork(usize, u8, usize, usize),
}

/// A forest of decision trees over binned features.
pub struct Forest {
    cuts: Cuts,
    trees: Vec<Vec<Node>>,
    /// How much each feature told, by place; sums to one unless nothing did.
    pub told: Vec<f32>,
}

impl Forest {
    /// Grows it.
    pub fn learn(lessons: &Lessons<'_>, seed: u64) -> Self {
        let cuts = Cuts::of(lessons);
        let bins: Vec<Vec<u8>> = lessons.features.iter().map(|f| cuts.bins(f)).collect();
        let mut grower =
            Grower { lessons, bins, dice: Dice::new(seed), told: vec![0.0; lessons.width()] };
        let trees = (0..TREES).map(|_| grower.tree()).collect();
        let sum: f32 = grower.told.iter().sum();
        let told = grower.told.iter().map(|told| told / sum.max(f32::MIN_POSITIVE)).collect();
        Self { cuts, trees, told }
    }
}

impl Learned for Forest {
    fn odds(&self, features: &[f32]) -> Odds {
        let bins = self.cuts.bins(features);
        let mut odds: Odds = Vec::new();
        for tree in &self.trees {
            let mut at = 0;
            let leaf = loop {
                match &tree[at] {
                    Node::Leaf(leaf) => break leaf,
                    Node::Fork(feature, bin, low, high) => {
                        at = if bins[*feature] <= *bin { *low } else { *high };
                    }
                }
            };
            odds.resize(leaf.len(), 0.0);
            odds.iter_mut().zip(leaf).for_each(|(sum, odd)| *sum += odd / TREES as f32);
        }
        odds
    }
}

struct Grower<'a> {
    lessons: &'a Lessons<'a>,
    bins: Vec<Vec<u8>>,
    dice: Dice,
    told: Vec<f32>,
}

impl Grower<'_> {
    fn tree(&mut self) -> Vec<Node> {
        let count = self.bins.len() as u32;
        let items: Vec<u32> = (0..count).map(|_| self.dice.below(count)).collect();
        let mut nodes = Vec::new();
        self.grow(items, 0, &mut nodes);
        nodes
    }

    fn grow(&mut self, items: Vec<u32>, depth: usize, nodes: &mut Vec<Node>) -> usize {
        let place = nodes.len();
        let counts = self.count(&items);
        nodes.push(Node::Leaf(Vec::new()));
        let fork = if depth < DEPTH_MAX && items.len() >= 2 * LEAF_ITEMS_MIN {
            self.best_fork(&items, &counts)
        } else {
            None
        };
        let Some((feature, bin, gain)) = fork else {
            let sum = items.len().max(1) as f32;
            nodes[place] = Node::Leaf(counts.iter().map(|count| count / sum).collect());
            return place;
        };
        self.told[feature] += gain;
        let low_side = |item: &u32| self.bins[*item as usize][feature] <= bin;
        let (low, high): (Vec<u32>, Vec<u32>) = items.into_iter().partition(low_side);
        let low = self.grow(low, depth + 1, nodes);
        let high = self.grow(high, depth + 1, nodes);
        nodes[place] = Node::Fork(feature, bin, low, high);
        place
    }

    fn count(&self, items: &[u32]) -> Vec<f32> {
        let mut counts = vec![0.0; self.lessons.classes];
        items.iter().for_each(|item| counts[self.lessons.labels[*item as usize]] += 1.0);
        counts
    }

    /// The fork after which the classes are told apart best (Gini), among some of
    /// the features.
    fn best_fork(&mut self, items: &[u32], counts: &[f32]) -> Option<(usize, u8, f32)> {
        let classes = self.lessons.classes;
        let width = self.lessons.width();
        let looked_at = (width as f64).sqrt() as usize * 2;
        let whole = purity(counts, items.len() as f32);
        let mut best: Option<(usize, u8, f32)> = None;
        for _ in 0..looked_at.clamp(1, width.max(1)) {
            let feature = self.dice.below(width as u32) as usize;
            let mut bins = vec![0.0_f32; (BINS_MAX + 1) * classes];
            for item in items {
                let bin = usize::from(self.bins[*item as usize][feature]);
                bins[bin * classes + self.lessons.labels[*item as usize]] += 1.0;
            }
            let mut low = vec![0.0_f32; classes];
            let (mut low_count, mut high) = (0.0_f32, counts.to_vec());
            for bin in 0..BINS_MAX {
                let here = &bins[bin * classes..(bin + 1) * classes];
                let count: f32 = here.iter().sum();
                if count == 0.0 {
                    continue;
                }
                low_count += count;
                low.iter_mut().zip(here).for_each(|(sum, count)| *sum += count);
                high.iter_mut().zip(here).for_each(|(sum, count)| *sum -= count);
                let high_count = items.len() as f32 - low_count;
                if low_count.min(high_count) < LEAF_ITEMS_MIN as f32 {
                    continue;
                }
                let gain = purity(&low, low_count) + purity(&high, high_count) - whole;
                if gain > best.map_or(1e-3, |(_, _, gain)| gain) {
                    best = Some((feature, bin as u8, gain));
                }
            }
        }
        best
    }
}

/// Sum of squares over the sum: how alone the commonest classes are.
fn purity(counts: &[f32], sum: f32) -> f32 {
    if sum <= 0.0 { 0.0 } else { counts.iter().map(|count| count * count).sum::<f32>() / sum }
}

/// The place of the largest.
pub fn most_likely(odds: &[f32]) -> usize {
    let best = odds.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(learned: &dyn Learned, features: &[Vec<f32>], labels: &[usize]) -> f64 {
        let hits =
            features.iter().zip(labels).filter(|(f, l)| most_likely(&learned.odds(f)) == **l);
        hits.count() as f64 / labels.len() as f64
    }

    #[test]
    fn both_learn_what_is_there_and_nothing_where_nothing_is() {
        let mut dice = Dice::new(5);
        let mut throw = |tells: bool| {
            let mut features = Vec::new();
            let mut labels = Vec::new();
            for _ in 0..3_000 {
                let label = dice.below(4) as usize;
                let clue = if tells { label as u32 } else { dice.below(4) };
                features.push(vec![dice.below(100) as f32, (clue * 10 + dice.below(4)) as f32]);
                labels.push(label);
            }
            (features, labels)
        };
        for tells in [true, false] {
            let ((own, labels), (others, truth)) = (throw(tells), throw(tells));
            let features = own.iter().map(Vec::as_slice).collect();
            let lessons = Lessons { features, labels, classes: 4 };
            let forest = Forest::learn(&lessons, 1);
            for learned in [&Bayes::learn(&lessons) as &dyn Learned, &forest] {
                let share = accuracy(learned, &others, &truth);
                assert!(if tells { share > 0.95 } else { share < 0.32 }, "{tells}: {share}");
            }
            assert!(!tells || forest.told[1] > 0.9, "{:?}", forest.told);
        }
    }
}
