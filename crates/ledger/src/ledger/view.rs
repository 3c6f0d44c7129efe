//! What a reader needs: the index of all durable entries, as sealed segments on
//! disk and, for the youngest entries, drafts in memory. Memory does not grow with
//! the ledger.

use std::sync::Arc;

use crate::Entry;
use crate::bodies::SEGMENT_ENTRIES;
use crate::index::{Draft, Facts, Segment};
use crate::tree::{Hash, TILE_WIDTH};

/// The largest number of entries: a segment counts them with 32 bits, and so does
/// the name of its file with ten digits.
pub(crate) const ENTRIES_MAX: u64 = u32::MAX as u64;

/// How the index is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Entries of a new segment; a multiple of 256.
    pub(crate) entries: u64,
    /// So many new segments are merged into one.
    pub(crate) merged: u64,
}

impl Default for Shape {
    /// A new segment for each body segment; merged ones of 262,144 entries are
    /// made anew from the bodies within seconds, and forty of them are ten million.
    fn default() -> Self {
        Self { entries: SEGMENT_ENTRIES, merged: 16 }
    }
}

/// A part of the index.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// On disk.
    Sealed(Arc<Segment>),
    /// Complete, and not on disk yet.
    Draft(Arc<Draft>),
}

impl Piece {
    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.directory.first,
            Self::Draft(draft) => draft.contents.first,
        }
    }

    pub(crate) fn last(&self) -> u64 {
        match self {
            Self::Sealed(segment) => segment.last(),
            Self::Draft(draft) => draft.contents.last(),
        }
    }

    /// First entry and count of a segment on disk.
    pub(crate) fn on_disk(&self) -> Option<(u64, u64)> {
        match self {
            Self::Sealed(segment) => Some((segment.directory.first, segment.directory.count)),
            Self::Draft(_) => None,
        }
    }

    fn subtrees(&self) -> &[Hash] {
        match self {
            Self::Sealed(segment) => &segment.directory.subtrees,
            Self::Draft(draft) => &draft.contents.subtrees,
        }
    }
}

/// Where the facts of an entry are.
pub(crate) enum Spot {
    /// In a segment on disk, at this place; with the root over its full tile.
    Sealed(Arc<Segment>, u32, Hash),
    /// In memory: offset and commitment.
    Known(u64, Hash),
}

/// The index of the durable entries.
#[derive(Debug)]
pub(crate) struct View {
    shape: Shape,
    /// Without a gap, from the first entry on.
    pub(crate) pieces: Vec<Piece>,
    /// What follows them.
    pub(crate) open: Draft,
}

impl View {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, pieces: Vec::new(), open: Draft::default() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.open.contents.last()
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: &Entry, offset: u64, end: u64, commitment: Hash) {
        self.open.push(entry, offset, end, commitment);
        if self.len().is_multiple_of(self.shape.entries) {
            self.close();
        }
    }

    /// Ends the open draft, at the border of a full tile.
    pub(crate) fn close(&mut self) {
        if self.open.contents.count() > 0 {
            let next = Draft::starting_at(self.len());
            let draft = std::mem::replace(&mut self.open, next);
            self.pieces.push(Piece::Draft(Arc::new(draft)));
        }
    }

    /// Takes a segment that continues what there is; nothing may be open.
    pub(crate) fn adopt(&mut self, segment: Segment) {
        self.open = Draft::starting_at(segment.last());
        self.pieces.push(Piece::Sealed(Arc::new(segment)));
    }

    /// Puts a segment in the place of the pieces that it covers.
    pub(crate) fn replace(&mut self, segment: Arc<Segment>) {
        let from = self.pieces.partition_point(|piece| piece.first() < segment.directory.first);
        let to = self.pieces.partition_point(|piece| piece.last() <= segment.last());
        self.pieces.splice(from..to, [Piece::Sealed(segment)]);
    }

    /// The place in `pieces` of the piece that holds entry `index`.
    pub(crate) fn piece_of(&self, index: u64) -> Option<usize> {
        let place = self.pieces.partition_point(|piece| piece.last() <= index);
        (place < self.pieces.len()).then_some(place)
    }

    /// Where the facts of entry `index` are.
    pub(crate) fn spot(&self, index: u64) -> Option<Spot> {
        let Some(piece) = self.piece_of(index) else {
            return known(&self.open, index);
        };
        match &self.pieces[piece] {
            Piece::Draft(draft) => known(draft, index),
            piece @ Piece::Sealed(segment) => {
                let place = index - piece.first();
                let root = piece.subtrees().get(place as usize / TILE_WIDTH)?;
                Some(Spot::Sealed(Arc::clone(segment), place as u32, *root))
            }
        }
    }

    /// The first piece that is complete, below the signed size, and not on disk.
    pub(crate) fn next_to_seal(&self, signed: u64) -> Option<Arc<Draft>> {
        self.pieces.iter().take_while(|piece| piece.last() <= signed).find_map(
            |piece| match piece {
                Piece::Draft(draft) => Some(Arc::clone(draft)),
                Piece::Sealed(_) => None,
            },
        )
    }

    /// New segments that are due to be one.
    pub(crate) fn next_to_merge(&self) -> Option<Vec<Arc<Segment>>> {
        let Shape { entries, merged } = self.shape;
        let small = |piece: &Piece| match piece {
            Piece::Sealed(segment) if segment.directory.count == entries => {
                Some(Arc::clone(segment))
            }
            _ => None,
        };
        (0..self.pieces.len()).rev().find_map(|place| {
            let run = self.pieces.get(place..place + merged as usize)?;
            let aligned = run[0].first().is_multiple_of(entries * merged);
            aligned.then(|| run.iter().map(small).collect::<Option<Vec<_>>>())?
        })
    }
}

fn known(draft: &Draft, index: u64) -> Option<Spot> {
    let place = usize::try_from(index.checked_sub(draft.contents.first)?).ok()?;
    let row = draft.contents.rows.get(place)?;
    Some(Spot::Known(row.offset, *draft.commitments.get(place)?))
}
