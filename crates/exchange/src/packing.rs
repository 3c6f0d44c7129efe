//! Bodies between JSON and what is sealed: compressed JSON, padded to one of few
//! sizes.
//!
//! Each thread keeps its compressor's tables. Making them anew costs more than
//! compressing an ordinary resource.

use std::cell::RefCell;

use serde_json::Value;

use crate::{ExchangeError, sizes};

/// Smaller levels save little time on documents of some kilobytes, larger ones
/// little space.
const ZSTD_LEVEL: i32 = 3;
/// Largest resource that is decompressed: what the doors accept, and room.
const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;

thread_local! {
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> =
        const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
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
    let packed = COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(compressor) => compressor.compress(&plain),
        None => kept.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?).compress(&plain),
    });
    packed.map_err(|_| ExchangeError::Internal("a resource does not compress"))
}

/// The JSON again.
pub(crate) fn unpack(packed: &[u8]) -> Result<Value, ExchangeError> {
    let declared = zstd::bulk::Decompressor::upper_bound(packed).unwrap_or(BODY_BYTES_MAX);
    let bytes_max = declared.min(BODY_BYTES_MAX);
    let plain = DECOMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(decompressor) => decompressor.decompress(packed, bytes_max),
        None => kept.insert(zstd::bulk::Decompressor::new()?).decompress(packed, bytes_max),
    });
    let plain = plain.map_err(|_| ExchangeError::Internal("a stored body does not decompress"))?;
    serde_json::from_slice(&plain).map_err(|_| ExchangeError::Internal("a stored body is no JSON"))
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
}
