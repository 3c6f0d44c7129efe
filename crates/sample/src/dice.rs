//! Choices from a seed. Everything random in a stream comes from here, and only
//! from 64-bit words of ChaCha8, so that no library's sampling method decides
//! what the same seed gives.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A source of choices.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The choices of stream `stream` under `seed`; streams are independent.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut source = ChaCha8Rng::seed_from_u64(seed);
        source.set_stream(stream);
        Self(source)
    }

    /// A whole number below `bound`; 0 when `bound` is 0. The bias of the
    /// multiplication is below 2^-32 for the bounds in use.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.0.next_u64()) * bound as u128;
        (wide >> 64) as usize
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1).max(1) as usize) as i64
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(1000) < percent as usize * 10
    }

    /// One of `choices`, which is not empty.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A place in `weights`, in proportion to them.
    pub(crate) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().map(|&w| w as usize).sum());
        for (place, &weight) in weights.iter().enumerate() {
            if left < weight as usize {
                return place;
            }
            left -= weight as usize;
        }
        0
    }

    /// A number from a bell around `mean` (sum of four uniform draws), never
    /// farther than two times `spread` from it.
    pub(crate) fn bell(&mut self, mean: f64, spread: f64) -> f64 {
        let sum: f64 = (0..4).map(|_| self.below(1_000_001) as f64 / 1e6).sum();
        mean + (sum - 2.0) * spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_stay_in_bounds_and_streams_differ() {
        let mut dice = Dice::new(7, 1);
        for _ in 0..1000 {
            assert!((3..=9).contains(&dice.between(3, 9)));
            assert!((80.0..=120.0).contains(&dice.bell(100.0, 10.0)));
        }
        let first: Vec<_> = (0..8).map(|_| Dice::new(7, 1).below(1 << 30)).collect();
        assert!(first.iter().all(|&n| n == first[0]));
        assert_ne!(Dice::new(7, 2).below(1 << 30), first[0]);
        assert_eq!(dice.below(0), 0);
    }
}
