//! What was read last, up to a bound, so that it need not be read again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use parking_lot::Mutex;

/// The youngest so many values; cloned out, so they are cheap to clone.
#[derive(Debug)]
pub(crate) struct Kept<K, V> {
    values: Mutex<Values<K, V>>,
    count_max: usize,
}

#[derive(Debug)]
struct Values<K, V> {
    by_key: HashMap<K, V>,
    oldest_first: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, V: Clone> Kept<K, V> {
    pub(crate) fn new(count_max: usize) -> Self {
        let values = Values { by_key: HashMap::new(), oldest_first: VecDeque::new() };
        Self { values: Mutex::new(values), count_max }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.values.lock().by_key.get(key).cloned()
    }

    pub(crate) fn keep(&self, key: K, value: V) {
        let mut values = self.values.lock();
        if values.by_key.insert(key, value).is_none() {
            values.oldest_first.push_back(key);
        }
        while values.oldest_first.len() > self.count_max {
            if let Some(oldest) = values.oldest_first.pop_front() {
                values.by_key.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_are_kept_and_no_more_than_the_bound() {
        let kept = Kept::new(2);
        for n in 0..5 {
            kept.keep(n, n * 10);
        }
        assert_eq!([2, 3, 4].map(|n| kept.get(&n)), [None, Some(30), Some(40)]);
    }
}
