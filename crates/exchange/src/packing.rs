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

/// Compressed and padded JSON.
pub(crate) fn pack(value: &Value) -> Result<Vec<u8>, ExchangeError> {
    let plain = serde_json::to_vec(value)
        .map_err(|_| ExchangeError::Internal("a resource does not serialise"))?;
    let packed = COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(compressor) => compressor.compress(&plain),
        None => kept.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?).compress(&plain),
    });
    packed
        .map(sizes::pad_compressed)
        .map_err(|_| ExchangeError::Internal("a resource does not compress"))
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
                let packed = pack(value).expect("packs");
                assert_eq!(&unpack(&packed).expect("unpacks"), value);
                assert!(unpack(&packed[..packed.len() - 1]).is_err());
            }
        }
        assert!(unpack(b"no frame").is_err());
    }
}
