//! What was seen lately: distinct things with the last time of each.

use std::collections::HashMap;
use std::hash::Hash;

use holdfast_base::Timestamp;

/// Distinct values, each with the times that it was first and last seen. Spans
/// end at the latest time of all, so entries that arrive out of order count alike.
#[derive(Debug)]
pub(crate) struct Recent<K> {
    seen: HashMap<K, (Timestamp, Timestamp)>,
    latest: Timestamp,
    /// Forget when this many are kept; doubled after each clearing, so that
    /// clearing costs a constant share.
    clear_at: usize,
}

/// Fewer than this are never worth clearing.
const CLEAR_MIN: usize = 64;

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self { seen: HashMap::new(), latest: Timestamp::MIN, clear_at: CLEAR_MIN }
    }
}

impl<K: Eq + Hash + Clone> Recent<K> {
    /// Notes `value`, and forgets what is older than `keep_ms`.
    pub(crate) fn note(&mut self, value: K, at: Timestamp, keep_ms: i64) {
        self.latest = self.latest.max(at);
        let (first, last) = self.seen.entry(value).or_insert((at, at));
        (*first, *last) = (at.min(*first), at.max(*last));
        if self.seen.len() >= self.clear_at {
            let latest = self.latest;
            self.seen.retain(|_, (_, last)| latest.millis_since(*last) < keep_ms);
            self.clear_at = CLEAR_MIN.max(self.seen.len() * 2);
        }
    }

    /// What was seen within `window_ms` before the latest time, each with the
    /// earliest time known within that span.
    pub(crate) fn within(&self, window_ms: i64) -> impl Iterator<Item = (&K, Timestamp)> {
        let latest = self.latest;
        let inside = move |at: Timestamp| latest.millis_since(at) < window_ms;
        self.seen
            .iter()
            .filter(move |(_, (_, last))| inside(*last))
            .map(move |(value, (first, last))| (value, if inside(*first) { *first } else { *last }))
    }

    /// The latest time of all.
    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Whether all of it is older than `keep_ms` at `now`.
    pub(crate) fn is_stale(&self, now: Timestamp, keep_ms: i64) -> bool {
        now.millis_since(self.latest) >= keep_ms
    }

    /// How many values are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_is_forgotten_so_memory_is_bounded_by_the_span() {
        let mut recent = Recent::default();
        for n in 0..100_000 {
            recent.note(n, Timestamp::from_millis(n * 10), 1_000);
            assert_eq!(recent.within(1_000).count(), 100.min(n as usize + 1));
            assert!(recent.len() <= 256, "{} kept", recent.len());
        }
    }
}
