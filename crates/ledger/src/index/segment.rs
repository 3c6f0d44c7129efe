//! A segment on disk, read block by block.

use std::path::Path;
use std::sync::Arc;

use super::contents::Contents;
use super::encode::{
    Directory, PROFILE_BYTES, ROW_BYTES, Section, TOUCH_BYTES, decode, decode_postings,
    decode_profile, decode_row, decode_touch, read_u32,
};
use super::file::{BLOCK_BYTES, Blocks, Cache};
use super::{Dimension, Facts, IndexFault, ProfileFact, Row, TouchFact};
use crate::ledger::BodySealer;

const ROWS_IN_BLOCK: u32 = (BLOCK_BYTES / ROW_BYTES) as u32;

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    blocks: Blocks,
    pub(crate) directory: Directory,
}

impl Segment {
    /// Opens a segment and reads its directory.
    pub(crate) fn open(
        dir: &Path,
        first: u64,
        count: u64,
        sealer: &dyn BodySealer,
        cache: &Arc<Cache>,
    ) -> Result<Self, IndexFault> {
        let blocks = Blocks::open(dir, first, count, cache)?;
        let head = blocks.open_block(sealer, 0)?;
        let length = Directory::length(&head).ok_or_else(|| blocks.damaged())?;
        let bytes = if length <= head.len() { head } else { blocks.read(sealer, 0, length)? };
        let directory = Directory::decode(&bytes).ok_or_else(|| blocks.damaged())?;
        let fits = directory.first == first
            && directory.count == count
            && directory.subtrees.len() as u64 * 256 == count;
        if fits { Ok(Self { blocks, directory }) } else { Err(blocks.damaged()) }
    }

    pub(crate) fn last(&self) -> u64 {
        self.directory.first + self.directory.count
    }

    /// All of it, to be merged.
    pub(crate) fn contents(&self, sealer: &dyn BodySealer) -> Result<Contents, IndexFault> {
        let all = self.blocks.open_all(sealer)?;
        decode(&all).ok_or_else(|| self.blocks.damaged())
    }

    /// The row of one entry, counted from the first.
    pub(crate) fn row(&self, sealer: &dyn BodySealer, place: u32) -> Result<Row, IndexFault> {
        let block = self.blocks.block(sealer, self.row_block(place))?;
        Ok(decode_row(&block[(place % ROWS_IN_BLOCK) as usize * ROW_BYTES..]))
    }

    fn row_block(&self, place: u32) -> u32 {
        let (offset, _) = self.directory.section(Section::Rows);
        (offset / BLOCK_BYTES as u64) as u32 + place / ROWS_IN_BLOCK
    }

    /// A segment with the key to read it.
    pub(crate) fn with<'a>(&'a self, sealer: &'a dyn BodySealer) -> Reader<'a> {
        Reader { segment: self, sealer }
    }
}

/// A segment with the key to read it.
pub(crate) struct Reader<'a> {
    segment: &'a Segment,
    sealer: &'a dyn BodySealer,
}

impl Reader<'_> {
    /// The bytes `from..to` of a section.
    fn read(&self, section: Section, from: u64, to: u64) -> Result<Vec<u8>, IndexFault> {
        let (offset, length) = self.segment.directory.section(section);
        if from > to || to > length {
            return Err(self.segment.blocks.damaged());
        }
        self.segment.blocks.read(self.sealer, offset + from, (to - from) as usize)
    }

    /// Where item `ordinal` of a list begins and ends, by the list of ends.
    fn item(&self, ends: Section, ordinal: u32) -> Result<(u64, u64), IndexFault> {
        let at = u64::from(ordinal) * 4;
        if ordinal == 0 {
            let end = self.read(ends, 0, 4)?;
            return Ok((0, read_u32(&end).into()));
        }
        let pair = self.read(ends, at - 4, at + 4)?;
        Ok((read_u32(&pair).into(), read_u32(&pair[4..]).into()))
    }
}

impl Facts for Reader<'_> {
    fn first(&self) -> u64 {
        self.segment.directory.first
    }

    fn count(&self) -> u32 {
        self.segment.directory.count as u32
    }

    fn span(&self) -> (i64, i64) {
        self.segment.directory.span
    }

    fn find(&self, dimension: Dimension, key: &[u8]) -> Result<Option<u32>, IndexFault> {
        let (_, length) = self.segment.directory.section(Section::KeyEnds(dimension));
        let (mut low, mut high) = (0, (length / 4) as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(dimension, middle)?.as_slice().cmp(key) {
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    fn key(&self, dimension: Dimension, ordinal: u32) -> Result<Vec<u8>, IndexFault> {
        let (from, to) = self.item(Section::KeyEnds(dimension), ordinal)?;
        self.read(Section::Keys(dimension), from, to)
    }

    fn postings(&self, dimension: Dimension, ordinal: u32) -> Result<Vec<u32>, IndexFault> {
        let (from, to) = self.item(Section::PostingEnds(dimension), ordinal)?;
        Ok(decode_postings(&self.read(Section::Postings(dimension), from, to)?))
    }

    fn rows(
        &self,
        only: Option<&[u32]>,
        from: u32,
        visit: &mut dyn FnMut(u32, &Row) -> bool,
    ) -> Result<(), IndexFault> {
        let Some(only) = only else {
            let mut place = from;
            while place < self.count() {
                let block = self.segment.row_block(place);
                let block = self.segment.blocks.open_block(self.sealer, block)?;
                let start = (place % ROWS_IN_BLOCK) as usize * ROW_BYTES;
                for row in block[start..].chunks_exact(ROW_BYTES) {
                    if place == self.count() || !visit(place, &decode_row(row)) {
                        return Ok(());
                    }
                    place += 1;
                }
            }
            return Ok(());
        };
        let mut held = None;
        for place in only {
            if *place >= self.count() {
                return Err(self.segment.blocks.damaged());
            }
            let number = self.segment.row_block(*place);
            let block = match held.take() {
                Some((block, bytes)) if block == number => bytes,
                _ => self.segment.blocks.block(self.sealer, number)?,
            };
            let row = decode_row(&block[(place % ROWS_IN_BLOCK) as usize * ROW_BYTES..]);
            held = Some((number, block));
            if !visit(*place, &row) {
                break;
            }
        }
        Ok(())
    }

    fn touches(&self, row: &Row, visit: &mut dyn FnMut(TouchFact)) -> Result<(), IndexFault> {
        if row.touches_count > 0 {
            let from = u64::from(row.touches) * TOUCH_BYTES as u64;
            let to = from + u64::from(row.touches_count) * TOUCH_BYTES as u64;
            let bytes = self.read(Section::Touches, from, to)?;
            bytes.chunks_exact(TOUCH_BYTES).for_each(|touch| visit(decode_touch(touch)));
        }
        Ok(())
    }

    fn profiles_count(&self) -> u32 {
        let (_, length) = self.segment.directory.section(Section::Profiles);
        (length / PROFILE_BYTES as u64) as u32
    }

    fn profiles(&self, from: u32, to: u32) -> Result<Vec<ProfileFact>, IndexFault> {
        let place = |number: u32| u64::from(number) * PROFILE_BYTES as u64;
        let bytes = self.read(Section::Profiles, place(from), place(to))?;
        Ok(bytes.chunks_exact(PROFILE_BYTES).map(decode_profile).collect())
    }
}
