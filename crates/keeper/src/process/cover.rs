//! Lengths of the ledger's sealed bodies: few, and the same for entries that name a
//! few resources more or less.

use holdfast_ledger::ENTRY_BYTES_MAX;

/// The smallest body of an entry; most are not longer.
const BODY_BYTES_MIN: usize = 512;
/// Bytes for each resource that an entry names, of at least [`NAMED_MIN`].
const NAMED_BYTES: usize = 256;
const NAMED_MIN: usize = 8;
/// From here on sizes are eight to each doubling.
const BODY_POWERS_BYTES_MAX: usize = 8_192;

/// A body with blanks after it, so that its length says little of how many
/// resources it names, and nothing of their types.
pub(super) fn covered(body: &[u8]) -> Vec<u8> {
    let named = body.windows(VERSION_MARK.len()).filter(|text| *text == VERSION_MARK).count();
    let about = if named == 0 { 0 } else { named.max(NAMED_MIN).next_power_of_two() };
    let about = (about * NAMED_BYTES).min(ENTRY_BYTES_MAX);
    let bytes = body.len().max(about).max(BODY_BYTES_MIN);
    let size = if bytes <= BODY_POWERS_BYTES_MAX {
        bytes.next_power_of_two()
    } else if bytes <= ENTRY_BYTES_MAX {
        bytes.next_multiple_of(1 << (bytes.ilog2() - 3))
    } else {
        // No longer than the ledger takes.
        bytes
    };
    let mut covered = Vec::with_capacity(size);
    covered.extend_from_slice(body);
    covered.resize(size, b' ');
    covered
}

/// What stands once for each resource that an entry names.
const VERSION_MARK: &[u8] = b"\"version\":";

/// The body again. An entry is JSON and ends with no blank.
pub(super) fn uncovered(mut covered: Vec<u8>) -> Vec<u8> {
    let bytes = covered.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    covered.truncate(bytes);
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(count: usize) -> Vec<u8> {
        let touches =
            r#"{"type":"Observation","id":"0123456789abcdef0123456789abcdef","version":1},"#;
        format!(r#"{{"kind":"access","touches":[{}]}}"#, touches.repeat(count)).into_bytes()
    }

    #[test]
    fn p02_bodies_of_one_to_eight_resources_are_equally_long_and_open_as_they_were() {
        let length = |count| covered(&naming(count)).len();
        assert!((1..=8).all(|count| length(count) == 2_048));
        assert!((9..=16).all(|count| length(count) == 4_096));
        for count in [0, 1, 9, 400, 9_000] {
            assert_eq!(uncovered(covered(&naming(count))), naming(count));
        }
        // As it was before bodies were covered.
        assert_eq!(uncovered(naming(3)), naming(3));
    }

    #[test]
    fn no_body_becomes_longer_than_the_ledger_takes() {
        for bytes in (1..=ENTRY_BYTES_MAX).step_by(10_007).chain([ENTRY_BYTES_MAX]) {
            let size = covered(&vec![b'x'; bytes]).len();
            assert!((bytes..=ENTRY_BYTES_MAX.max(bytes)).contains(&size), "{bytes} to {size}");
        }
        assert!(covered(&naming(9_000)).len() <= ENTRY_BYTES_MAX);
    }
}
