//! What a leaf holds: a salted commitment to an entry, so that the tree can be
//! shown to strangers and survives the loss of any entry's key.

use crate::tree::{Hash, hash_parts};

/// Version of the leaf data.
pub(crate) const LEAF_VERSION: u8 = 0x01;
/// Length of the leaf data.
pub(crate) const LEAF_BYTES: usize = 33;
/// Length of a salt.
pub(crate) const SALT_BYTES: usize = 32;

const COMMITMENT_LABEL: &[u8] = b"holdfast/ledger/entry/v1\0";

/// SHA-256(`holdfast/ledger/entry/v1\0` ‖ salt ‖ entry). `salted` is salt ‖ entry.
pub(crate) fn commitment(salted: &[u8]) -> Hash {
    hash_parts(&[COMMITMENT_LABEL, salted])
}

/// The leaf data that holds `commitment`.
pub(crate) fn leaf_data(commitment: &Hash) -> [u8; LEAF_BYTES] {
    let mut data = [LEAF_VERSION; LEAF_BYTES];
    data[1..].copy_from_slice(commitment);
    data
}
