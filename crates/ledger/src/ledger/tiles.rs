//! The public face on disk: tiles and checkpoint. They follow from the entries
//! and are written when a checkpoint is published: tiles first, then the
//! checkpoint that needs them, each synced.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use crate::layout::{CHECKPOINT, TileAddress, TileKind};
use crate::leaf::{LEAF_BYTES, leaf_data};
use crate::medium::{Medium, write_all_whole, write_whole};
use crate::note::Checkpoint;
use crate::tree::{Frontier, Hash, TILE_WIDTH, leaf_hash};

/// The tree while it grows: its right edge, and finished tiles not yet on disk.
#[derive(Debug, Default)]
pub(crate) struct GrowingTree {
    frontier: Frontier,
    /// Leaf data of the unfinished entries tile, encoded.
    entries: Vec<u8>,
    finished: VecDeque<(TileAddress, Vec<u8>)>,
}

/// Adds a leaf to the bytes of an entries tile: uint16 length, data.
pub(crate) fn encode_leaf(commitment: &Hash, tile: &mut Vec<u8>) {
    tile.extend_from_slice(&(LEAF_BYTES as u16).to_be_bytes());
    tile.extend_from_slice(&leaf_data(commitment));
}

impl GrowingTree {
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Adds the leaf of an entry.
    pub(crate) fn push(&mut self, commitment: &Hash) {
        let index = self.frontier.size() / TILE_WIDTH as u64;
        encode_leaf(commitment, &mut self.entries);
        let width = TILE_WIDTH as u16;
        if self.entries.len() == (2 + LEAF_BYTES) * TILE_WIDTH {
            let tile = TileAddress { kind: TileKind::Entries, index, width };
            self.finished.push_back((tile, std::mem::take(&mut self.entries)));
        }
        let finished = &mut self.finished;
        self.frontier.push(leaf_hash(&leaf_data(commitment)), |level, index, hashes| {
            let tile = TileAddress { kind: TileKind::Hashes(level), index, width };
            finished.push_back((tile, hashes.concat()));
        });
    }

    /// Adds the 256 leaves of a full tile, whose own tiles are on disk, by the root
    /// over them. Only at the border of such a tile.
    pub(crate) fn push_subtree(&mut self, root: Hash) {
        let finished = &mut self.finished;
        self.frontier.push_subtree(root, |level, index, hashes| {
            let tile =
                TileAddress { kind: TileKind::Hashes(level), index, width: TILE_WIDTH as u16 };
            finished.push_back((tile, hashes.concat()));
        });
    }

    /// Finished tiles that are not known to be on disk, and every unfinished one.
    pub(crate) fn to_write(&self) -> Vec<(TileAddress, Vec<u8>)> {
        let mut tiles: Vec<_> = self.finished.iter().cloned().collect();
        tiles.extend(self.unfinished());
        tiles
    }

    /// Every unfinished tile.
    pub(crate) fn unfinished(&self) -> Vec<(TileAddress, Vec<u8>)> {
        let size = self.size();
        let mut tiles = Vec::new();
        let mut add = |kind, index, bytes: Vec<u8>| {
            if let Some(tile) = TileAddress::in_tree(kind, index, size).filter(|t| !t.is_full()) {
                tiles.push((tile, bytes));
            }
        };
        add(TileKind::Entries, size / TILE_WIDTH as u64, self.entries.clone());
        for (level, hashes) in self.frontier.unfinished().iter().enumerate() {
            let index = size >> (8 * (level + 1));
            add(TileKind::Hashes(level as u8), index, hashes.concat());
        }
        tiles
    }

    /// Takes the finished tiles that are not known to be on disk.
    pub(crate) fn take_finished(&mut self) -> VecDeque<(TileAddress, Vec<u8>)> {
        std::mem::take(&mut self.finished)
    }

    /// Notes that the first `count` finished tiles are on disk.
    pub(crate) fn wrote_finished(&mut self, count: usize) {
        self.finished.drain(..count.min(self.finished.len()));
    }
}

/// Writes `tiles` and then `checkpoint`. Partial tiles of a tile that is now full
/// go away after that.
pub(crate) fn publish(
    medium: &dyn Medium,
    dir: &Path,
    tiles: &[(TileAddress, Vec<u8>)],
    checkpoint: &Checkpoint,
) -> io::Result<()> {
    let files: Vec<_> = tiles.iter().map(|(tile, bytes)| (tile.path(), &bytes[..])).collect();
    write_all_whole(medium, dir, &files)?;
    write_whole(medium, dir, CHECKPOINT, checkpoint.note().as_bytes())?;
    for (tile, _) in tiles.iter().filter(|(tile, _)| tile.is_full()) {
        medium.remove_folder(&dir.join(format!("{}.p", tile.path())))?;
    }
    Ok(())
}
