//! The generations of one key: the newest seals, the older ones still open.
//!
//! Sealed values name their generation. Those of the first one have no number in
//! front, so that what was sealed before keys had generations stays what it is:
//!
//! | first byte | then |
//! |---|---|
//! | `1` | generation 1: nonce ‖ ciphertext ‖ tag (see `primitive`) |
//! | `2` | generation `u32` big-endian ‖ a sealed value that begins with `1` |

use serde::{Deserialize, Serialize};

use crate::SealError;
use crate::primitive::Secret;

/// First byte of a value that names its generation.
const FORMAT_GENERATION: u8 = 2;

/// The number of the first generation.
pub(crate) const FIRST: u32 = 1;

/// One key in all its generations that still exist. Never empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Keys {
    newest: (u32, Secret),
    older: Vec<(u32, Secret)>,
}

impl Keys {
    /// A key that was never rotated.
    pub fn first(secret: Secret) -> Self {
        Self { newest: (FIRST, secret), older: Vec::new() }
    }

    /// From generations in any order; nothing when there is none.
    pub fn of(mut generations: Vec<(u32, Secret)>) -> Option<Self> {
        generations.sort_by_key(|(number, _)| *number);
        let newest = generations.pop()?;
        Some(Self { newest, older: generations })
    }

    /// Number of the newest generation.
    pub fn generation(&self) -> u32 {
        self.newest.0
    }

    /// The newest generation: what seals.
    pub fn newest(&self) -> &Secret {
        &self.newest.1
    }

    /// The generation `number`, if it still exists.
    pub fn get(&self, number: u32) -> Option<&Secret> {
        let all = std::iter::once(&self.newest).chain(&self.older);
        all.into_iter().find(|(of, _)| *of == number).map(|(_, secret)| secret)
    }

    /// Every generation, newest first.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Secret)> {
        let older = self.older.iter().rev();
        std::iter::once(&self.newest).chain(older).map(|(number, secret)| (*number, secret))
    }

    /// The key that `label` names under each generation of this one.
    pub fn derive(&self, label: &str) -> Self {
        Self {
            newest: (self.newest.0, self.newest.1.derive(label)),
            older: self.older.iter().map(|(n, secret)| (*n, secret.derive(label))).collect(),
        }
    }

    /// The keys that `labels` name under each generation of this one.
    pub fn derive_all(&self, labels: &[String]) -> Vec<Self> {
        let newest = self.newest.1.derive_all(labels).into_iter();
        let mut derived: Vec<Self> = newest
            .map(|secret| Self { newest: (self.newest.0, secret), older: Vec::new() })
            .collect();
        for (number, secret) in &self.older {
            for (keys, older) in derived.iter_mut().zip(secret.derive_all(labels)) {
                keys.older.push((*number, older));
            }
        }
        derived
    }

    /// Seals with the newest generation.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let sealed = self.newest.1.seal(aad, plaintext);
        let mut named = named(self.newest.0);
        if named.is_empty() {
            return sealed;
        }
        named.extend_from_slice(&sealed);
        named
    }

    /// Opens with the generation that the value names.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (generation, sealed) = generation_of(sealed)?;
        self.get(generation).ok_or(SealError::NoGeneration { generation })?.open(aad, sealed)
    }
}

/// What stands before a value of the generation `number`.
pub(crate) fn named(number: u32) -> Vec<u8> {
    if number == FIRST {
        return Vec::new();
    }
    let mut bytes = vec![FORMAT_GENERATION];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes
}

/// The generation that a sealed value names, and the value without the name.
pub(crate) fn generation_of(sealed: &[u8]) -> Result<(u32, &[u8]), SealError> {
    match sealed.split_first() {
        Some((&FORMAT_GENERATION, rest)) => {
            let (number, rest) = rest.split_first_chunk::<4>().ok_or(SealError::Malformed)?;
            Ok((u32::from_be_bytes(*number), rest))
        }
        Some(_) => Ok((FIRST, sealed)),
        None => Err(SealError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(count: u32) -> Keys {
        Keys::of((1..=count).map(|number| (number, Secret::random())).collect()).expect("some")
    }

    #[test]
    fn the_newest_generation_seals_and_every_kept_one_opens() {
        let all = keys(3);
        assert_eq!(all.generation(), 3);
        for number in 1..=3 {
            let then = (1..=number).map(|n| (n, all.get(n).expect("kept").clone())).collect();
            let then = Keys::of(then).expect("some");
            let sealed = then.seal(b"place", b"text");
            assert_eq!(all.open(b"place", &sealed), Ok(b"text".to_vec()), "generation {number}");
            let without = all.all().filter(|(n, _)| *n != number);
            let without = without.map(|(n, secret)| (n, secret.clone())).collect();
            let without = Keys::of(without).expect("some");
            let refused = Err(SealError::NoGeneration { generation: number });
            assert_eq!(without.open(b"place", &sealed), refused);
        }
    }

    #[test]
    fn what_was_sealed_before_keys_had_generations_opens_as_the_first() {
        let secret = Secret::random();
        let sealed = secret.seal(b"", b"text");
        assert_eq!(Keys::first(secret.clone()).open(b"", &sealed), Ok(b"text".to_vec()));
        let mine = Keys::first(secret.clone()).seal(b"", b"text");
        assert_eq!(secret.open(b"", &mine), Ok(b"text".to_vec()));
    }

    proptest! {
        #[test]
        fn another_generation_in_front_does_not_open(from in 1..4u32, to in 1..4u32) {
            let all = keys(3);
            let then = all.all().filter(|(n, _)| *n <= from).map(|(n, s)| (n, s.clone()));
            let sealed = Keys::of(then.collect()).expect("some").seal(b"", b"text");
            let (_, rest) = generation_of(&sealed).expect("named");
            let moved = [named(to), rest.to_vec()].concat();
            prop_assert_eq!(all.open(b"", &moved).is_ok(), from == to);
        }

        #[test]
        fn arbitrary_bytes_never_open_and_never_panic(
            sealed in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            prop_assert!(keys(2).open(b"", &sealed).is_err());
        }
    }
}
