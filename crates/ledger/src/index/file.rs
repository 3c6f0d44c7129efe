//! An index segment as a file: a short readable header, then sealed blocks of one
//! length, so that a file shows no more than how many blocks it has, rounded up.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use holdfast_base::fill_random;

use super::contents::Contents;
use super::encode::encode;
use super::{IndexFault, Segment};
use crate::kept::Kept;
use crate::layout::{INDEX, files_below};
use crate::ledger::{BodySealer, IndexPlace};
use crate::medium::{Medium, write_whole};

/// Length of a block before it is sealed.
pub(crate) const BLOCK_BYTES: usize = 1 << 16;
/// A sealed block is at most so much longer.
const OVERHEAD_BYTES_MAX: usize = 1024;
/// Format number included: another one is made anew.
const MAGIC: &[u8; 16] = b"holdfast-index01";
const HEADER_BYTES: usize = 16 + 8 + 8 + 16 + 4 + 4;
/// Opened blocks that are kept: 32 MiB.
const BLOCKS_KEPT_MAX: usize = 512;

/// The path of a segment below the ledger's folder.
pub(crate) fn path_of(first: u64, count: u64) -> String {
    format!("{INDEX}/{first:010}-{count}")
}

/// Segments as first entry and count, and the names of what is none.
type Listing = (Vec<(u64, u64)>, Vec<String>);

/// The segments that lie in `dir` as first entry and count, by name; and every
/// other file.
pub(crate) fn list(dir: &Path) -> io::Result<Listing> {
    let (mut segments, mut others) = (Vec::new(), Vec::new());
    for file in files_below(dir, INDEX)? {
        let name = file.rsplit('/').next().unwrap_or_default();
        let parts = name.split_once('-').and_then(|(first, count)| {
            Some((first.parse::<u64>().ok()?, count.parse::<u64>().ok()?))
        });
        match parts {
            Some((first, count)) if path_of(first, count) == file => segments.push((first, count)),
            _ => others.push(file),
        }
    }
    Ok((segments, others))
}

/// The number of blocks that a file of so many is filled up to: no number has
/// more than three significant binary digits, so that sizes say little.
pub(crate) fn padded(blocks: usize) -> usize {
    let grain = 1 << (usize::BITS - blocks.leading_zeros()).saturating_sub(3);
    blocks.next_multiple_of(grain)
}

/// Seals `contents` and makes them a durable file; opens it.
pub(crate) fn write(
    medium: &dyn Medium,
    dir: &Path,
    sealer: &dyn BodySealer,
    cache: &Arc<Cache>,
    contents: &Contents,
) -> Result<Segment, IndexFault> {
    let mut plain = encode(contents);
    let blocks = padded(plain.len().div_ceil(BLOCK_BYTES));
    plain.resize(blocks * BLOCK_BYTES, 0);
    let mut id = [0; 16];
    fill_random(&mut id);
    let count = contents.rows.len() as u64;
    let mut place = IndexPlace { first: contents.first, count, file: id, block: 0 };
    let mut out = Vec::with_capacity(HEADER_BYTES + blocks * (BLOCK_BYTES + 64));
    out.extend(MAGIC);
    out.extend(contents.first.to_be_bytes());
    out.extend(count.to_be_bytes());
    out.extend(id);
    for (block, number) in plain.chunks_exact(BLOCK_BYTES).zip(0..) {
        place.block = number;
        let sealed = sealer.seal_index(place, block);
        if number == 0 {
            out.extend((sealed.len() as u32).to_be_bytes());
            out.extend((blocks as u32).to_be_bytes());
        }
        out.extend(sealed);
    }
    write_whole(medium, dir, &path_of(contents.first, count), &out)?;
    Segment::open(dir, contents.first, count, sealer, cache)
}

/// An open file of sealed blocks.
#[derive(Debug)]
pub(crate) struct Blocks {
    file: File,
    place: IndexPlace,
    sealed_bytes: usize,
    count: u32,
    cache: Arc<Cache>,
}

impl Blocks {
    /// Opens the file and checks header and length.
    pub(crate) fn open(
        dir: &Path,
        first: u64,
        count: u64,
        cache: &Arc<Cache>,
    ) -> Result<Self, IndexFault> {
        let damaged = || IndexFault::Damaged(first);
        let file = match File::open(dir.join(path_of(first, count))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
            file => file?,
        };
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 {
            return Err(damaged());
        }
        file.read_exact_at(&mut header, 0)?;
        let number = |at: usize| {
            header[at..at + 4].iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        let mut id = [0; 16];
        id.copy_from_slice(&header[32..48]);
        let (sealed_bytes, blocks) = (number(48) as usize, number(52));
        let due = HEADER_BYTES as u64 + sealed_bytes as u64 * u64::from(blocks);
        let fits = header[..16] == MAGIC[..]
            && header[16..24] == first.to_be_bytes()
            && header[24..32] == count.to_be_bytes()
            && (BLOCK_BYTES..=BLOCK_BYTES + OVERHEAD_BYTES_MAX).contains(&sealed_bytes)
            && blocks > 0
            && length == due;
        if !fits {
            return Err(damaged());
        }
        let place = IndexPlace { first, count, file: id, block: 0 };
        Ok(Self { file, place, sealed_bytes, count: blocks, cache: Arc::clone(cache) })
    }

    pub(crate) fn damaged(&self) -> IndexFault {
        IndexFault::Damaged(self.place.first)
    }

    /// Opens one block without keeping it.
    pub(crate) fn open_block(
        &self,
        sealer: &dyn BodySealer,
        block: u32,
    ) -> Result<Vec<u8>, IndexFault> {
        if block >= self.count {
            return Err(self.damaged());
        }
        let mut sealed = vec![0; self.sealed_bytes];
        let offset = HEADER_BYTES as u64 + self.sealed_bytes as u64 * u64::from(block);
        match self.file.read_exact_at(&mut sealed, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged());
            }
            read => read?,
        }
        let opened = sealer.open_index(IndexPlace { block, ..self.place }, &sealed);
        match opened {
            Ok(plain) if plain.len() == BLOCK_BYTES => Ok(plain),
            _ => Err(self.damaged()),
        }
    }

    /// One block, from the blocks that are kept if it is there.
    pub(crate) fn block(
        &self,
        sealer: &dyn BodySealer,
        block: u32,
    ) -> Result<Arc<Vec<u8>>, IndexFault> {
        let key = (self.place.file, block);
        if let Some(kept) = self.cache.0.get(&key) {
            return Ok(kept);
        }
        let opened = Arc::new(self.open_block(sealer, block)?);
        self.cache.0.keep(key, Arc::clone(&opened));
        Ok(opened)
    }

    /// The bytes from `offset` on; few, or through [`open_all`](Self::open_all).
    pub(crate) fn read(
        &self,
        sealer: &dyn BodySealer,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, IndexFault> {
        let mut out = Vec::with_capacity(length.min(BLOCK_BYTES * self.count as usize));
        let mut offset = offset;
        while out.len() < length {
            let block = u32::try_from(offset / BLOCK_BYTES as u64).map_err(|_| self.damaged())?;
            let within = (offset % BLOCK_BYTES as u64) as usize;
            let taken = (length - out.len()).min(BLOCK_BYTES - within);
            // What is longer than a few blocks would only drive others out.
            if length > 4 * BLOCK_BYTES {
                out.extend(&self.open_block(sealer, block)?[within..within + taken]);
            } else {
                out.extend(&self.block(sealer, block)?[within..within + taken]);
            }
            offset += taken as u64;
        }
        Ok(out)
    }

    /// Everything.
    pub(crate) fn open_all(&self, sealer: &dyn BodySealer) -> Result<Vec<u8>, IndexFault> {
        self.read(sealer, 0, self.count as usize * BLOCK_BYTES)
    }
}

/// Opened blocks, by their file and number.
#[derive(Debug)]
pub(crate) struct Cache(Kept<([u8; 16], u32), Arc<Vec<u8>>>);

impl Default for Cache {
    fn default() -> Self {
        Self(Kept::new(BLOCKS_KEPT_MAX))
    }
}

/// Removes every file of the index that is not among `kept`; what cannot be
/// removed stays.
pub(crate) fn remove_others(dir: &Path, kept: &[(u64, u64)]) {
    let Ok((segments, others)) = list(dir) else { return };
    let old = segments.into_iter().filter(|segment| !kept.contains(segment));
    for path in old.map(|(first, count)| path_of(first, count)).chain(others) {
        let _ = fs::remove_file(dir.join(path));
    }
}
