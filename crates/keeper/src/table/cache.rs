//! Unwrapped patient keys in memory: bounded, wiped when dropped.

use std::collections::HashMap;

use crate::keyring::Keys;

/// Unwrapped patient keys that the keeper holds in each of two generations.
const PATIENTS_MAX: usize = 8_192;

/// Two halves; the older one is dropped when the younger one is full.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<Vec<u8>, Keys>,
    old: HashMap<Vec<u8>, Keys>,
}

impl Cache {
    pub fn get(&mut self, row: &[u8]) -> Option<Keys> {
        if let Some(key) = self.young.get(row) {
            return Some(key.clone());
        }
        let key = self.old.remove(row)?;
        self.put(row.to_vec(), key.clone());
        Some(key)
    }

    pub fn put(&mut self, row: Vec<u8>, key: Keys) {
        if self.young.len() >= PATIENTS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(row, key);
    }

    pub fn remove(&mut self, row: &[u8]) {
        self.young.remove(row);
        self.old.remove(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::Secret;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        let key = Keys::first(Secret::random());
        cache.put(vec![0xff; 9], key.clone());
        for number in 0..5 * PATIENTS_MAX as u64 {
            cache.put(number.to_be_bytes().to_vec(), key.clone());
            assert!(cache.get(&[0xff; 9]).is_some(), "used, so kept");
            assert!(cache.young.len() + cache.old.len() <= 2 * PATIENTS_MAX);
        }
        assert!(cache.get(&0u64.to_be_bytes()).is_none(), "long unused, so dropped");
    }
}
