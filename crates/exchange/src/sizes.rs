//! Sizes and labels that say little: what is sealed is padded to a few sizes
//! before it is sealed, and the class of a part is written as a number that only
//! the organization's token key explains.

use holdfast_base::ElementClass;
use holdfast_store::ResourceKey;

use crate::people::Organization;

/// Up to here sizes are powers of two.
const POWERS_BYTES_MAX: usize = 8_192;
/// The smallest size.
const BYTES_MIN: usize = 512;
/// Bits of a size after its first, beyond [`POWERS_BYTES_MAX`].
const KEPT_BITS: u32 = 3;
/// First bytes of a zstd frame that readers skip (RFC 8878, 3.1.2), and its length.
const SKIPPED_FRAME: u32 = 0x184D_2A50;
const SKIPPED_HEADER_BYTES: usize = 8;
/// Stands in front of a search row whose label is masked.
const MASKED: u8 = 0x10;

/// The size that `bytes` are padded to: a power of two, and from 8 KiB on one of
/// eight sizes to each doubling, at most an eighth more. Padmé (Nikitin et al.
/// 2019, "Reducing Metadata Leakage from Encrypted Files and Communication with
/// PURBs") has more sizes the longer the text; an eighth costs us little.
pub(crate) fn padded(bytes: usize) -> usize {
    padded_from(BYTES_MIN, bytes)
}

fn padded_from(bytes_min: usize, bytes: usize) -> usize {
    if bytes <= POWERS_BYTES_MAX {
        return bytes.max(bytes_min).next_power_of_two();
    }
    bytes.next_multiple_of(1 << (bytes.ilog2() - KEPT_BITS))
}

/// The smallest size of a body: nearly all that are no documents are not longer.
const BODY_BYTES_MIN: usize = 512;
/// The smallest size of a search row: nearly all are not longer.
const ROW_BYTES_MIN: usize = 256;

/// Pads a compressed body with a frame that reading skips.
pub(crate) fn pad_compressed(packed: Vec<u8>) -> Vec<u8> {
    pad_frame(packed, BODY_BYTES_MIN)
}

/// Pads a compressed search row with a frame that reading skips.
pub(crate) fn pad_row(packed: Vec<u8>) -> Vec<u8> {
    pad_frame(packed, ROW_BYTES_MIN)
}

fn pad_frame(mut packed: Vec<u8>, bytes_min: usize) -> Vec<u8> {
    let size = padded_from(bytes_min, packed.len() + SKIPPED_HEADER_BYTES);
    let rest = size - packed.len() - SKIPPED_HEADER_BYTES;
    packed.extend_from_slice(&SKIPPED_FRAME.to_le_bytes());
    packed.extend_from_slice(&(rest as u32).to_le_bytes());
    packed.resize(size, 0);
    packed
}

/// Pads JSON with blanks.
pub(crate) fn pad_json(mut json: Vec<u8>) -> Vec<u8> {
    json.resize(padded(json.len()), b' ');
    json
}

/// The smallest size of what is sealed of a payload: most messages are not longer.
const PAYLOAD_BYTES_MIN: usize = 8_192;
/// Up to here sizes of payloads are powers of two.
const PAYLOAD_POWERS_BYTES_MAX: usize = 1 << 20;

/// A payload with blanks after it; its length is kept beside it.
pub(crate) fn pad_payload(payload: &[u8]) -> Vec<u8> {
    let bytes = payload.len().max(PAYLOAD_BYTES_MIN);
    let size =
        if bytes <= PAYLOAD_POWERS_BYTES_MAX { bytes.next_power_of_two() } else { padded(bytes) };
    let mut padded = Vec::with_capacity(size);
    padded.extend_from_slice(payload);
    padded.resize(size, b' ');
    padded
}

/// Pads JSON about so many resources with blanks: to a size that goes with the
/// number that is shown, and not with the true one.
pub(crate) fn pad_json_about(mut json: Vec<u8>, shown: usize, each: usize) -> Vec<u8> {
    json.resize(padded(json.len().max(shown * each)), b' ');
    json
}

/// The labels of one version's element classes: another permutation for each, so
/// that a label alone says nothing.
pub(crate) struct Labels([ElementClass; ElementClass::ALL.len()]);

impl Labels {
    /// Those of a version.
    pub fn of(organization: &Organization, key: &ResourceKey, version: u64) -> Self {
        let place = [key.patient.as_bytes(), &key.id_token[..], &version.to_be_bytes()].concat();
        let token = organization.keys.token.token("class-labels", &place);
        let mut classes = ElementClass::ALL;
        for last in (1..classes.len()).rev() {
            let from = u16::from_be_bytes([token[2 * last], token[2 * last + 1]]);
            classes.swap(last, usize::from(from) % (last + 1));
        }
        Self(classes)
    }

    /// What stands for `class`.
    pub fn label(&self, class: ElementClass) -> ElementClass {
        let place = self.0.iter().position(|other| *other == class);
        place.map_or(class, |place| ElementClass::ALL[place])
    }

    /// What `label` stands for.
    pub fn class(&self, label: ElementClass) -> ElementClass {
        self.0[label as usize]
    }
}

/// The first byte of a search row that is sealed under the class of `label`.
pub(crate) fn masked(label: ElementClass) -> u8 {
    MASKED | label as u8
}

/// Whether labels are masked in a version with this search row, which versions
/// that were stored earlier are not.
pub(crate) fn is_masked(index: &[u8]) -> bool {
    index.first().is_some_and(|first| first & MASKED != 0)
}

/// The class that the first byte of a search row names.
pub(crate) fn class_named(labels: &Labels, first: u8) -> Option<ElementClass> {
    let class = ElementClass::ALL.get(usize::from(first & !MASKED)).copied()?;
    Some(if first & MASKED == 0 { class } else { labels.class(class) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p02_sizes_are_few_and_never_much_larger() {
        let mut sizes = std::collections::BTreeSet::new();
        for bytes in 1..200_000 {
            let size = padded(bytes);
            assert!(size >= bytes && padded(size) == size);
            assert!(bytes <= POWERS_BYTES_MAX || size * 8 <= bytes * 9 + 8, "{bytes} to {size}");
            sizes.insert(size);
        }
        assert!(sizes.len() < 50, "{} sizes", sizes.len());
    }

    #[test]
    fn what_was_padded_reads_as_it_was() {
        for length in [0, 1, 500, 505, 4_000, 70_000] {
            let text: Vec<u8> = (0..length).map(|at: u32| (at * 7919 % 251) as u8).collect();
            let packed = pad_compressed(zstd::bulk::compress(&text, 3).expect("compresses"));
            assert_eq!(packed.len(), padded(packed.len()));
            let room = zstd::bulk::Decompressor::upper_bound(&packed).expect("a bound");
            assert_eq!(zstd::bulk::decompress(&packed, room).expect("reads"), text);
        }
        let json = pad_json(b"{\"a\":1}".to_vec());
        assert_eq!(json.len(), BYTES_MIN);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).expect("reads")["a"], 1);
    }
}
