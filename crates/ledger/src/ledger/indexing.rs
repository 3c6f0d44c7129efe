//! Keeps the query index behind the signed entries: seals what is complete,
//! merges what is small, and makes anew from the bodies what was damaged.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use holdfast_base::LedgerIndex;
use parking_lot::RwLock;

use super::view::{Piece, View};
use super::{BodySealer, open_record};
use crate::Entry;
use crate::bodies::{SEGMENT_ENTRIES, Start, scan_from};
use crate::error::{Damage, ReadError};
use crate::index::{self, Cache, Contents, Draft, IndexFault, tile_root};
use crate::kept::Kept;
use crate::layout::{TileAddress, TileKind};
use crate::leaf::{LEAF_BYTES, LEAF_VERSION, SALT_BYTES};
use crate::medium::Medium;
use crate::tree::{Hash, TILE_WIDTH};

/// Tiles whose commitments are kept, 8 KiB each.
const TILES_KEPT_MAX: usize = 1_024;

/// What indexing works with.
#[derive(Clone, Copy)]
pub(super) struct Workshop<'a> {
    pub dir: &'a Path,
    pub medium: &'a dyn Medium,
    pub sealer: &'a dyn BodySealer,
    pub cache: &'a Arc<Cache>,
}

impl Workshop<'_> {
    /// Seals complete drafts below the signed size and merges small segments. The
    /// index only follows: when the disk refuses, it is tried again later.
    pub fn grow(&self, view: &RwLock<View>, signed: u64) {
        loop {
            let Some(draft) = view.read().next_to_seal(signed) else { break };
            let sealed =
                index::write(self.medium, self.dir, self.sealer, self.cache, &draft.contents);
            let Ok(segment) = sealed else { return };
            view.write().replace(Arc::new(segment));
            if self.merge(view).is_err() {
                return;
            }
        }
    }

    fn merge(&self, view: &RwLock<View>) -> Result<(), IndexFault> {
        let Some(small) = view.read().next_to_merge() else { return Ok(()) };
        let mut contents = Contents::starting_at(small[0].directory.first);
        for segment in &small {
            contents.absorb(&segment.contents(self.sealer)?);
        }
        let merged = index::write(self.medium, self.dir, self.sealer, self.cache, &contents)?;
        view.write().replace(Arc::new(merged));
        for segment in small {
            let path = index::path_of(segment.directory.first, segment.directory.count);
            self.medium.remove(&self.dir.join(path))?;
        }
        Ok(())
    }

    /// Makes the segment that begins with entry `first` anew from the bodies.
    pub fn mend(&self, view: &RwLock<View>, first: u64) -> Result<(), ReadError> {
        let damaged = |index, damage| ReadError::Damaged { index: LedgerIndex(index), damage };
        let found = view.read().pieces.iter().find_map(|piece| match piece {
            Piece::Sealed(segment) if piece.first() == first => Some(Arc::clone(segment)),
            _ => None,
        });
        let Some(old) = found else { return Ok(()) };
        let mut draft = Draft::starting_at(first);
        for segment in first / SEGMENT_ENTRIES..old.last().div_ceil(SEGMENT_ENTRIES) {
            scan_from(
                self.dir,
                segment,
                Start::of_segment(segment),
                old.last(),
                |offset, record| {
                    if record.index >= first {
                        let (index, end) = (record.index, offset + record.bytes());
                        let salted = open_record(self.sealer, &record)
                            .map_err(|damage| damaged(index, damage))?;
                        let entry: Entry = serde_json::from_slice(&salted[SALT_BYTES..])
                            .map_err(|_| damaged(index, Damage::Form))?;
                        draft.push(&entry, offset, end, record.commitment);
                    }
                    Ok::<(), ReadError>(())
                },
            )?;
        }
        if draft.contents.last() != old.last() {
            return Err(damaged(draft.contents.last(), Damage::Check));
        }
        if draft.contents.subtrees != old.directory.subtrees {
            return Err(damaged(first, Damage::Commitment));
        }
        let made = index::write(self.medium, self.dir, self.sealer, self.cache, &draft.contents);
        match made {
            Ok(segment) => view.write().replace(Arc::new(segment)),
            Err(IndexFault::Io(error)) => return Err(error.into()),
            Err(IndexFault::Damaged(first)) => return Err(damaged(first, Damage::Index)),
        }
        Ok(())
    }
}

/// Commitments by full tile, checked against the tree; the youngest tiles.
#[derive(Debug)]
pub(super) struct Leaves(Kept<u64, Arc<Vec<Hash>>>);

impl Default for Leaves {
    fn default() -> Self {
        Self(Kept::new(TILES_KEPT_MAX))
    }
}

impl Leaves {
    /// The commitment of entry `index`, whose full tile has the root `root`: from
    /// the tile on disk, or from `records` when that is not what was signed.
    pub fn commitment(
        &self,
        dir: &Path,
        index: u64,
        root: &Hash,
        records: impl Fn(u64) -> Result<Hash, ReadError>,
    ) -> Result<Hash, ReadError> {
        let (tile, place) = (index / TILE_WIDTH as u64, index as usize % TILE_WIDTH);
        if let Some(kept) = self.0.get(&tile) {
            return Ok(kept[place]);
        }
        let commitments = match read_entries_tile(dir, tile) {
            Some(commitments) if tile_root(&commitments) == *root => commitments,
            _ => {
                let first = tile * TILE_WIDTH as u64;
                let all = (first..first + TILE_WIDTH as u64).map(records);
                let all = all.collect::<Result<Vec<Hash>, _>>()?;
                if tile_root(&all) != *root {
                    let index = LedgerIndex(index);
                    return Err(ReadError::Damaged { index, damage: Damage::Tile });
                }
                all
            }
        };
        let commitment = commitments[place];
        self.0.keep(tile, Arc::new(commitments));
        Ok(commitment)
    }
}

fn read_entries_tile(dir: &Path, index: u64) -> Option<Vec<Hash>> {
    let tile = TileAddress { kind: TileKind::Entries, index, width: TILE_WIDTH as u16 };
    let bytes = fs::read(dir.join(tile.path())).ok()?;
    let leaf = |leaf: &[u8]| match leaf {
        [0, length, LEAF_VERSION, rest @ ..] if usize::from(*length) == LEAF_BYTES => {
            Hash::try_from(rest).ok()
        }
        _ => None,
    };
    let whole = bytes.len() == TILE_WIDTH * (2 + LEAF_BYTES);
    whole.then(|| bytes.chunks(2 + LEAF_BYTES).map(leaf).collect::<Option<Vec<_>>>())?
}
