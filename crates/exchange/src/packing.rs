//! Bodies and search rows between what they say and what is sealed: compressed, padded
//! to one of few sizes.
//!
//! Each thread keeps its compressors' tables. Making them anew costs more than
//! compressing an ordinary resource.

use std::cell::RefCell;

use serde_json::Value;

use crate::{ExchangeError, sizes};

/// Smaller levels save little time on documents of some kilobytes, larger ones
/// little space.
const ZSTD_LEVEL: i32 = 3;
/// Largest resource that is decompressed: what the doors accept, and room.
const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What ordinary resources, and their search rows, have in common: with these, their
/// compressed forms are a third as long. `examples/dictionaries.rs` makes them.
/// Frames name theirs by number; those of before have none, and read as well.
const BODY_DICTIONARY: &[u8] = include_bytes!("../data/body-1.zdict");
const ROW_DICTIONARY: &[u8] = include_bytes!("../data/row-2.zdict");

/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const FRAME: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// A compressor and a decompressor with the same dictionary.
struct Packer {
    dictionary: &'static [u8],
    compressor: Option<zstd::bulk::Compressor<'static>>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
}

thread_local! {
    static BODIES: RefCell<Packer> = const { RefCell::new(Packer::with(BODY_DICTIONARY)) };
    static ROWS: RefCell<Packer> = const { RefCell::new(Packer::with(ROW_DICTIONARY)) };
}

impl Packer {
    const fn with(dictionary: &'static [u8]) -> Self {
        Self { dictionary, compressor: None, decompressor: None }
    }

    fn pack(&mut self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => {
                none.insert(zstd::bulk::Compressor::with_dictionary(ZSTD_LEVEL, self.dictionary)?)
            }
        };
        compressor.compress(plain)
    }

    fn unpack(&mut self, packed: &[u8], bytes_max: usize) -> std::io::Result<Vec<u8>> {
        let declared = zstd::bulk::Decompressor::upper_bound(packed).unwrap_or(bytes_max);
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(zstd::bulk::Decompressor::with_dictionary(self.dictionary)?),
        };
        decompressor.decompress(packed, declared.min(bytes_max))
    }
}

/// First bytes of a frame that readers skip and that holds a sealed part.
const INNER_FRAME: u32 = 0x184D_2A51;

/// Compressed and padded JSON, with `inner`, sealed, among what pads it: whether it
/// is there does not show.
pub(crate) fn pack_around(value: &Value, inner: Option<&[u8]>) -> Result<Vec<u8>, ExchangeError> {
    let mut packed = compress(value)?;
    if let Some(inner) = inner {
        packed.extend_from_slice(&INNER_FRAME.to_le_bytes());
        packed.extend_from_slice(&(inner.len() as u32).to_le_bytes());
        packed.extend_from_slice(inner);
    }
    Ok(sizes::pad_compressed(packed))
}

/// What was packed among the padding.
pub(crate) fn inner(packed: &[u8]) -> Option<&[u8]> {
    let own = zstd::zstd_safe::find_frame_compressed_size(packed).ok()?;
    let (magic, rest) = packed.get(own..)?.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (u32::from_le_bytes(*magic) == INNER_FRAME).then(|| rest.get(..length))?
}

/// Compressed JSON.
pub(crate) fn compress(value: &Value) -> Result<Vec<u8>, ExchangeError> {
    let plain = serde_json::to_vec(value)
        .map_err(|_| ExchangeError::Internal("a resource does not serialise"))?;
    compress_bytes(&plain)
}

/// Compressed bytes of whatever form.
pub(crate) fn compress_bytes(plain: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    let packed = BODIES.with_borrow_mut(|bodies| bodies.pack(plain));
    packed.map_err(|_| ExchangeError::Internal("bytes do not compress"))
}

/// The JSON again.
pub(crate) fn unpack(packed: &[u8]) -> Result<Value, ExchangeError> {
    let plain = unpack_bytes(packed)?;
    serde_json::from_slice(&plain).map_err(|_| ExchangeError::Internal("a stored body is no JSON"))
}

/// The bytes again.
pub(crate) fn unpack_bytes(packed: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    let plain = BODIES.with_borrow_mut(|bodies| bodies.unpack(packed, BODY_BYTES_MAX));
    plain.map_err(|_| ExchangeError::Internal("stored bytes do not decompress"))
}

/// A search row, compressed and padded.
pub(crate) fn pack_row(plain: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    let packed = ROWS.with_borrow_mut(|rows| rows.pack(plain));
    let packed = packed.map_err(|_| ExchangeError::Internal("a search row does not compress"))?;
    Ok(sizes::pad_row(packed))
}

/// A search row again. One that was stored before they were compressed is as it was:
/// it begins with the length of a name, and no name's first byte is a frame's second.
pub(crate) fn unpack_row(packed: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
    if !packed.starts_with(&FRAME) {
        return Ok(packed);
    }
    let plain = ROWS.with_borrow_mut(|rows| rows.unpack(&packed, BODY_BYTES_MAX));
    plain.map_err(|_| ExchangeError::Internal("a stored search row does not decompress"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_and_a_damaged_frame_spoils_no_later_one() {
        let (short, long) = (serde_json::json!({"a": 1}), serde_json::json!(["x".repeat(90_000)]));
        for _ in 0..3 {
            for value in [&short, &long] {
                let packed = pack_around(value, None).expect("packs");
                assert_eq!(inner(&packed), None);
                let around = pack_around(value, Some(b"sealed")).expect("packs");
                assert_eq!(&unpack(&around).expect("unpacks"), value);
                assert_eq!(inner(&around), Some(&b"sealed"[..]));
                assert_eq!(packed.len(), around.len());
                assert_eq!(&unpack(&packed).expect("unpacks"), value);
                assert!(unpack(&packed[..packed.len() - 1]).is_err());
            }
        }
        assert!(unpack(b"no frame").is_err());
    }

    #[test]
    fn what_was_packed_before_there_were_dictionaries_reads_as_it_was() {
        let value = serde_json::json!({"resourceType": "Observation", "status": "final"});
        let plain = serde_json::to_vec(&value).expect("serialises");
        let former = sizes::pad_compressed(zstd::bulk::compress(&plain, 3).expect("compresses"));
        assert_eq!(unpack(&former).expect("unpacks"), value);
        let mut row = b"\x0bObservation\x01o".to_vec();
        row.resize(1_024, 0);
        assert_eq!(unpack_row(row.clone()).expect("reads"), row);
        let packed = pack_row(&row).expect("packs");
        assert!(packed.len() < row.len());
        assert_eq!(unpack_row(packed).expect("reads"), row);
    }

    #[test]
    fn frames_name_their_dictionary() {
        for (dictionary, number) in [(BODY_DICTIONARY, 1), (ROW_DICTIONARY, 2)] {
            let packed = Packer::with(dictionary).pack(b"x").expect("packs");
            let named = zstd::zstd_safe::get_dict_id_from_frame(&packed);
            assert_eq!(named.map(std::num::NonZero::get), Some(number));
            let other = if number == 1 { ROW_DICTIONARY } else { BODY_DICTIONARY };
            assert!(Packer::with(other).unpack(&packed, 10).is_err());
        }
    }
}
