//! Inclusion and consistency proofs of RFC 6962 (sections 2.1.1 and 2.1.2): made
//! from tiles, and verified by the algorithms of RFC 9162 (sections 2.1.3.2 and
//! 2.1.4.2).

use crate::tree::{Hash, TILE_WIDTH, fold, node_hash, split_point};

/// Gives hashes of a tree by tile level and index in the level.
pub(crate) trait HashSource {
    /// Why a hash is not to be had.
    type Error;
    /// The hashes `first..first + count` of `level`; they lie in one tile.
    fn hashes(&mut self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, Self::Error>;
}

/// The root of the leaves `low..high`; `low` is a multiple of the largest power
/// of two that `high - low` reaches.
fn subtree<S: HashSource>(source: &mut S, low: u64, high: u64) -> Result<Hash, S::Error> {
    let size = high - low;
    if size.is_power_of_two() {
        let height = size.trailing_zeros();
        let (level, width) = (height / 8, 1 << (height % 8));
        return Ok(fold(&source.hashes(level as u8, low >> (8 * level), width)?));
    }
    let middle = low + split_point(size);
    Ok(node_hash(&subtree(source, low, middle)?, &subtree(source, middle, high)?))
}

/// The root of the tree of the first `size` leaves.
pub(crate) fn root_of<S: HashSource>(source: &mut S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 { Ok(crate::tree::empty_root()) } else { subtree(source, 0, size) }
}

/// The inclusion proof of leaf `index` in the tree of `size`: PATH(m, D\[n\]).
pub(crate) fn inclusion<S: HashSource>(
    source: &mut S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, S::Error> {
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split_point(high - low);
        if index < middle {
            path.push(subtree(source, middle, high)?);
            high = middle;
        } else {
            path.push(subtree(source, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The consistency proof between the trees of `old` and `size`: PROOF(m, D\[n\]).
/// Empty when `old` is 0 or `size`.
pub(crate) fn consistency<S: HashSource>(
    source: &mut S,
    old: u64,
    size: u64,
) -> Result<Vec<Hash>, S::Error> {
    if old == 0 || old >= size {
        return Ok(Vec::new());
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while old != high {
        let middle = low + split_point(high - low);
        if old <= middle {
            path.push(subtree(source, middle, high)?);
            high = middle;
        } else {
            path.push(subtree(source, low, middle)?);
            low = middle;
        }
    }
    if low > 0 {
        path.push(subtree(source, low, high)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` proves that `leaf` is leaf `index` of the tree of `size` with
/// this root.
pub(crate) fn is_included(leaf: Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `path` proves that the tree of `size` with `root` begins with the tree
/// of `old` with `old_root`.
pub(crate) fn is_consistent(
    old: u64,
    old_root: &Hash,
    size: u64,
    root: &Hash,
    path: &[Hash],
) -> bool {
    if old == 0 || old >= size {
        return path.is_empty() && (old == 0 || (old == size && old_root == root));
    }
    let roots = match old.is_power_of_two() {
        true => proven_roots(old, size, old_root, path),
        false => path.split_first().and_then(|(first, path)| proven_roots(old, size, first, path)),
    };
    roots == Some((*old_root, *root))
}

/// Whether `path` can be a consistency proof from `old` to the tree of `size` with
/// `root`, as far as can be said without the old root.
pub(crate) fn may_be_consistent(old: u64, size: u64, root: &Hash, path: &[Hash]) -> bool {
    if old == 0 || old >= size {
        return path.is_empty() && old <= size;
    }
    let Some((first, rest)) = path.split_first() else { return false };
    old.is_power_of_two()
        || proven_roots(old, size, first, rest).is_some_and(|(_, proven)| proven == *root)
}

/// The roots of the trees of `old` and of `size` that a proof leads to.
fn proven_roots(old: u64, size: u64, first: &Hash, path: &[Hash]) -> Option<(Hash, Hash)> {
    let (mut node, mut last) = (old - 1, size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut hash) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some((old_hash, hash))
}

/// Which tile of `level` holds the hash `index`, and where in it.
pub(crate) fn tile_of(index: u64) -> (u64, usize) {
    (index / TILE_WIDTH as u64, (index % TILE_WIDTH as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{leaf_hash, naive};

    /// All leaves in memory; hashes of upper levels by the naive tree.
    struct Leaves(Vec<Vec<u8>>);

    impl HashSource for Leaves {
        type Error = std::convert::Infallible;
        fn hashes(
            &mut self,
            level: u8,
            first: u64,
            count: usize,
        ) -> Result<Vec<Hash>, Self::Error> {
            let width = 256_usize.pow(level.into());
            let hash = |index| naive::mth(&self.0[index * width..(index + 1) * width]);
            Ok((first as usize..first as usize + count).map(hash).collect())
        }
    }

    fn leaves(count: u64) -> Leaves {
        Leaves((0..count).map(|n| n.to_be_bytes().to_vec()).collect())
    }

    /// RFC 6962 section 2.1.1 word by word.
    fn naive_path(index: usize, leaves: &[Vec<u8>]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = split_point(leaves.len() as u64) as usize;
        if index < k {
            let mut path = naive_path(index, &leaves[..k]);
            path.push(naive::mth(&leaves[k..]));
            path
        } else {
            let mut path = naive_path(index - k, &leaves[k..]);
            path.push(naive::mth(&leaves[..k]));
            path
        }
    }

    #[test]
    fn inclusion_proofs_are_the_naive_ones_and_verify_and_prove_nothing_else() {
        for size in [1, 2, 3, 7, 8, 255, 256, 257, 700] {
            let mut source = leaves(size);
            let root = naive::mth(&source.0);
            for index in (0..size).filter(|i| size < 9 || i % 61 == 0 || i + 2 > size) {
                let Ok(path) = inclusion(&mut source, index, size);
                assert_eq!(path, naive_path(index as usize, &source.0), "{index} of {size}");
                let leaf = leaf_hash(&source.0[index as usize]);
                assert!(is_included(leaf, index, size, &path, &root), "{index} of {size}");
                assert!(!is_included([3; 32], index, size, &path, &root));
                assert!(!is_included(leaf, index + 1, size, &path, &root));
                assert!(!is_included(leaf, index, size, &[&path[..], &[[0; 32]]].concat(), &root));
                for place in 0..path.len() {
                    let mut changed = path.clone();
                    changed[place][5] ^= 1;
                    assert!(!is_included(leaf, index, size, &changed, &root));
                    assert!(!is_included(leaf, index, size, &path[..place], &root));
                }
            }
        }
    }

    #[test]
    fn consistency_proofs_verify_between_all_sizes_and_for_no_other_tree() {
        for (old, size) in (1..20_u64).flat_map(|n| (1..=n).map(move |m| (m, n))).chain([
            (256, 700),
            (255, 256),
            (300, 700),
            (512, 513),
        ]) {
            let mut source = leaves(size);
            let root = naive::mth(&source.0);
            let old_root = naive::mth(&source.0[..old as usize]);
            let Ok(path) = consistency(&mut source, old, size);
            assert!(is_consistent(old, &old_root, size, &root, &path), "{old} to {size}");
            assert!(may_be_consistent(old, size, &root, &path), "{old} to {size}");
            assert!(!is_consistent(old, &[9; 32], size, &root, &path), "{old} to {size}");
            assert!(!is_consistent(old, &old_root, size, &[9; 32], &path), "{old} to {size}");
            for place in 0..path.len() {
                let mut changed = path.clone();
                changed[place][0] ^= 1;
                assert!(!is_consistent(old, &old_root, size, &root, &changed));
            }
        }
    }
}
