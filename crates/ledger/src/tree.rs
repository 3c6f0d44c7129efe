//! The RFC 6962 Merkle tree (section 2.1), by SHA-256, cut into tiles of 256
//! hashes. Pure: hashes in, hashes out. A [`Frontier`] holds the right edge of a
//! growing tree and nothing else, so its size does not depend on the log's.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// How many hashes a full tile has.
pub(crate) const TILE_WIDTH: usize = 256;

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// SHA-256 over `parts`, one after the other.
pub(crate) fn hash_parts(parts: &[&[u8]]) -> Hash {
    sha256(parts)
}

/// The hash of a leaf: SHA-256(0x00 ‖ data).
pub(crate) fn leaf_hash(data: &[u8]) -> Hash {
    sha256(&[&[0], data])
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub(crate) fn empty_root() -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &[]).as_ref());
    hash
}

/// The largest power of two that is smaller than `n`; `n` must be at least 2.
pub(crate) fn split_point(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The root over `hashes`, each the root of a perfect subtree of one size.
pub(crate) fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split_point(many.len() as u64) as usize);
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// The right edge of a growing tree: for each tile level the hashes of its
/// unfinished tile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frontier {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Frontier {
    /// Number of leaves.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The unfinished tile of each level, level 0 first; a tile may be empty.
    pub(crate) fn unfinished(&self) -> &[Vec<Hash>] {
        &self.levels
    }

    /// Adds a leaf by its hash. `finished` is told of each tile that this
    /// completes: its level, its index and its 256 hashes.
    pub(crate) fn push(&mut self, leaf: Hash, finished: impl FnMut(u8, u64, &[Hash])) {
        self.size += 1;
        self.carry(0, leaf, finished);
    }

    /// Adds the 256 leaves of a full tile by the root over them. The size must be
    /// a multiple of 256.
    pub(crate) fn push_subtree(&mut self, root: Hash, finished: impl FnMut(u8, u64, &[Hash])) {
        debug_assert_eq!(self.size % TILE_WIDTH as u64, 0);
        if self.levels.is_empty() {
            self.levels.push(Vec::with_capacity(TILE_WIDTH));
        }
        self.size += TILE_WIDTH as u64;
        self.carry(1, root, finished);
    }

    fn carry(&mut self, mut level: usize, hash: Hash, mut finished: impl FnMut(u8, u64, &[Hash])) {
        let mut carry = Some(hash);
        while let Some(hash) = carry.take() {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let tile = &mut self.levels[level];
            tile.push(hash);
            if tile.len() == TILE_WIDTH {
                let index = (self.size >> (8 * (level + 1))) - 1;
                finished(level as u8, index, tile);
                carry = Some(fold(tile));
                tile.clear();
                level += 1;
            }
        }
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        let mut right: Option<Hash> = None;
        for tile in &self.levels {
            let mut end = tile.len();
            while end > 0 {
                let width = 1 << end.trailing_zeros();
                let subtree = fold(&tile[end - width..end]);
                right = Some(match right {
                    None => subtree,
                    Some(right) => node_hash(&subtree, &right),
                });
                end -= width;
            }
        }
        right.unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
pub(crate) mod naive {
    //! RFC 6962 section 2.1 word by word, over the leaf data: the second
    //! implementation that the first is held against.
    use super::{Hash, empty_root, sha256};

    pub(crate) fn mth(leaves: &[Vec<u8>]) -> Hash {
        match leaves.len() {
            0 => empty_root(),
            1 => sha256(&[&[0], &leaves[0]]),
            n => {
                let mut k = 1;
                while k * 2 < n {
                    k *= 2;
                }
                sha256(&[&[1], &mth(&leaves[..k]), &mth(&leaves[k..])])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| n.to_be_bytes().to_vec()).collect()
    }

    #[test]
    fn roots_are_those_of_the_naive_tree_at_every_size() {
        let data = leaves(1100);
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), naive::mth(&[]));
        for (n, leaf) in data.iter().enumerate() {
            frontier.push(leaf_hash(leaf), |_, _, _| {});
            if n < 40 || n % 37 == 0 || (n + 1) % 256 < 2 {
                assert_eq!(frontier.root(), naive::mth(&data[..=n]), "size {}", n + 1);
            }
        }
    }

    #[test]
    fn roots_survive_the_second_tile_level() {
        let data = leaves(65_536 + 300);
        let mut frontier = Frontier::default();
        let mut tiles = Vec::new();
        for leaf in &data {
            frontier.push(leaf_hash(leaf), |level, index, _| tiles.push((level, index)));
        }
        assert_eq!(frontier.root(), naive::mth(&data));
        assert_eq!(tiles.iter().filter(|(level, _)| *level == 0).count(), 257);
        assert!(tiles.contains(&(1, 0)));
        assert_eq!(frontier.unfinished()[0].len(), 44);
        assert_eq!(frontier.unfinished()[1].len(), 1);
        assert_eq!(frontier.unfinished()[2].len(), 1);
    }

    #[test]
    fn whole_tiles_by_their_roots_give_the_tree_of_their_leaves() {
        let data = leaves(256 * 259 + 3);
        let (mut by_leaf, mut by_tile) = (Frontier::default(), Frontier::default());
        let (mut tiles, mut others) = (Vec::new(), Vec::new());
        for tile in data.chunks(256) {
            let hashes: Vec<Hash> = tile.iter().map(|leaf| leaf_hash(leaf)).collect();
            for hash in &hashes {
                by_leaf.push(*hash, |level, index, _| tiles.push((level, index)));
            }
            if hashes.len() == 256 {
                by_tile.push_subtree(fold(&hashes), |level, index, _| others.push((level, index)));
            } else {
                for hash in hashes {
                    by_tile.push(hash, |_, _, _| {});
                }
            }
            assert_eq!(by_leaf.root(), by_tile.root(), "size {}", by_leaf.size());
        }
        assert_eq!(by_leaf.unfinished(), by_tile.unfinished());
        tiles.retain(|(level, _)| *level > 0);
        assert_eq!(tiles, others);
    }

    #[test]
    fn the_empty_root_is_the_known_value() {
        let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(data_encoding::HEXLOWER.encode(&empty_root()), known);
    }
}
