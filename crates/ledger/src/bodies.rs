//! The sealed bodies: the ledger's write-ahead log. Salt and entry are sealed by
//! the keeper; what stands around them can be checked without a key.
//!
//! `bodies/<segment>` holds [`SEGMENT_ENTRIES`] records (the last one fewer)
//! after a header. Integers are big-endian.
//!
//! | part | bytes | |
//! |---|---|---|
//! | header | 16 | `holdfast-bodies1` |
//! | | 8 | index of the segment's first record |
//! | record | 4 | length of the sealed bytes |
//! | | 8 | index |
//! | | 8 | index of the first record of the group that was written with one sync |
//! | | 32 | the commitment that the leaf of this index holds |
//! | | n | sealed bytes |
//! | | 32 | SHA-256(`holdfast/ledger/record/v1\0` ‖ all of the above) |
//!
//! The group number tells a torn tail from damage: a group is written only
//! after the one before it was synced, so a bad record that a later group
//! follows had been whole.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::layout::BODIES;
use crate::tree::{Hash, hash_parts};

/// Records in a full segment: about ten megabytes, quick to copy and to scan.
pub(crate) const SEGMENT_ENTRIES: u64 = 16_384;
/// No sealed body is longer; a length above it is damage, not a record.
pub(crate) const SEALED_BYTES_MAX: usize = (1 << 20) + 1024;

pub(crate) const MAGIC: &[u8; 16] = b"holdfast-bodies1";
const HEADER_BYTES: u64 = 24;
const RECORD_HEADER_BYTES: usize = 4 + 8 + 8 + 32;
const CHECK_BYTES: usize = 32;
const CHECK_LABEL: &[u8] = b"holdfast/ledger/record/v1\0";

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) index: u64,
    pub(crate) group: u64,
    pub(crate) commitment: Hash,
    pub(crate) sealed: Vec<u8>,
}

impl Record {
    fn header(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..4].copy_from_slice(&(self.sealed.len() as u32).to_be_bytes());
        header[4..12].copy_from_slice(&self.index.to_be_bytes());
        header[12..20].copy_from_slice(&self.group.to_be_bytes());
        header[20..].copy_from_slice(&self.commitment);
        header
    }

    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        let header = self.header();
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.sealed);
        out.extend_from_slice(&hash_parts(&[CHECK_LABEL, &header, &self.sealed]));
    }

    /// Bytes of the record on disk.
    pub(crate) fn bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + self.sealed.len() + CHECK_BYTES) as u64
    }

    /// Reads one record. `None` when what stands there is no whole record.
    pub(crate) fn read_from(input: &mut dyn Read) -> io::Result<Option<Self>> {
        let mut header = [0; RECORD_HEADER_BYTES];
        if !fill(input, &mut header)? {
            return Ok(None);
        }
        let number = |at: usize| {
            header[at..at + 8].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte))
        };
        let length = (number(0) >> 32) as usize;
        if length > SEALED_BYTES_MAX {
            return Ok(None);
        }
        let mut rest = vec![0; length + CHECK_BYTES];
        if !fill(input, &mut rest)? {
            return Ok(None);
        }
        let check = rest.split_off(length);
        if hash_parts(&[CHECK_LABEL, &header, &rest]) != check[..] {
            return Ok(None);
        }
        let mut commitment = [0; 32];
        commitment.copy_from_slice(&header[20..]);
        Ok(Some(Self { index: number(4), group: number(12), commitment, sealed: rest }))
    }
}

/// Fills `buffer`; false when the input ends before.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The path of a segment below the ledger's folder.
pub(crate) fn segment_path(segment: u64) -> String {
    format!("{BODIES}/{segment:06}")
}

/// What a scan found after the last whole record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// Bytes that are no whole record, and no later group.
    Torn,
    /// Bytes that are no whole record, before a later group or beyond the
    /// segment's last record: damage.
    Damaged,
}

/// The outcome of reading a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanned {
    /// Whole records, from the segment's start.
    pub(crate) records: u64,
    /// Length of the header and the whole records.
    pub(crate) bytes: u64,
    /// What follows them.
    pub(crate) tail: Tail,
}

/// Reads the records of a segment in order and shows each, with its offset, to
/// `visit`; stops at the first that is not whole or not the next one.
pub(crate) fn scan_segment<E: From<io::Error>>(
    dir: &Path,
    segment: u64,
    visit: impl FnMut(u64, Record) -> Result<(), E>,
) -> Result<Scanned, E> {
    scan_from(dir, segment, Start::of_segment(segment), u64::MAX, visit)
}

/// Where in a segment to begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// The first entry to read.
    pub(crate) index: u64,
    /// Where its record begins; 0 for the segment's header.
    pub(crate) offset: u64,
}

impl Start {
    /// The beginning of `segment`.
    pub(crate) fn of_segment(segment: u64) -> Self {
        Self { index: segment * SEGMENT_ENTRIES, offset: 0 }
    }
}

/// As [`scan_segment`], from `start` up to the entry before `until`. What follows
/// the last one is looked at only when it is the segment's last.
pub(crate) fn scan_from<E: From<io::Error>>(
    dir: &Path,
    segment: u64,
    start: Start,
    until: u64,
    mut visit: impl FnMut(u64, Record) -> Result<(), E>,
) -> Result<Scanned, E> {
    let first = segment * SEGMENT_ENTRIES;
    let mut input = BufReader::with_capacity(1 << 18, File::open(dir.join(segment_path(segment)))?);
    let mut header = [0; HEADER_BYTES as usize];
    let length = input.get_ref().metadata()?.len();
    if !fill(&mut input, &mut header)? {
        let tail = if length == 0 { Tail::Clean } else { Tail::Torn };
        return Ok(Scanned { records: 0, bytes: 0, tail });
    }
    let fits = header[..16] == MAGIC[..] && header[16..] == first.to_be_bytes();
    if !fits {
        // Power may have been lost before its first bytes came.
        let tail = tail_after(dir, segment, 0, first)?;
        return Ok(Scanned { records: 0, bytes: 0, tail });
    }
    if length < start.offset {
        return Ok(Scanned { records: 0, bytes: 0, tail: Tail::Damaged });
    }
    let mut bytes = start.offset.max(HEADER_BYTES);
    input.seek(SeekFrom::Start(bytes))?;
    for index in start.index..first + SEGMENT_ENTRIES {
        let place = index - first;
        if index >= until {
            return Ok(Scanned { records: place, bytes, tail: Tail::Clean });
        }
        match Record::read_from(&mut input)? {
            Some(record) if record.index == index && record.group <= index => {
                let offset = bytes;
                bytes += record.bytes();
                visit(offset, record)?;
            }
            _ if bytes == length => {
                return Ok(Scanned { records: place, bytes, tail: Tail::Clean });
            }
            _ => {
                let tail = tail_after(dir, segment, bytes, index)?;
                return Ok(Scanned { records: place, bytes, tail });
            }
        }
    }
    let tail = if bytes == length { Tail::Clean } else { Tail::Damaged };
    Ok(Scanned { records: SEGMENT_ENTRIES, bytes, tail })
}

/// What the bytes from `offset` on are, where no whole record `index` stands:
/// looks for any whole record of a later group.
fn tail_after(dir: &Path, segment: u64, offset: u64, index: u64) -> io::Result<Tail> {
    let bytes = fs::read(dir.join(segment_path(segment)))?;
    let rest = bytes.get(offset as usize..).unwrap_or_default();
    for start in 0..rest.len().saturating_sub(RECORD_HEADER_BYTES + CHECK_BYTES) {
        // A plausible length and index first: hashing at every byte would be slow.
        let plausible = rest[start] == 0 && rest[start + 4] == 0 && rest[start + 12] == 0;
        if !plausible {
            continue;
        }
        if let Some(record) = Record::read_from(&mut &rest[start..])?
            && (record.group > index || record.index < index)
        {
            return Ok(Tail::Damaged);
        }
    }
    Ok(Tail::Torn)
}

/// The segments that lie in `dir`, ascending; names that are none are given back
/// as the second list.
pub(crate) fn list_segments(dir: &Path) -> io::Result<(Vec<u64>, Vec<String>)> {
    let files = crate::layout::files_below(dir, BODIES)?;
    let mut segments = Vec::new();
    let mut others = Vec::new();
    for file in files {
        let name = file.rsplit('/').next().unwrap_or_default();
        match name.parse::<u64>() {
            Ok(number) if segment_path(number) == file => segments.push(number),
            _ => others.push(file),
        }
    }
    segments.sort_unstable();
    Ok((segments, others))
}

/// Reads the record at `offset` of the segment that holds `index`; `None` when no
/// whole record `index` stands there.
pub(crate) fn read_record(dir: &Path, index: u64, offset: u64) -> io::Result<Option<Record>> {
    let file = File::open(dir.join(segment_path(index / SEGMENT_ENTRIES)))?;
    let mut head = [0; RECORD_HEADER_BYTES];
    match file.read_exact_at(&mut head, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = head[..4].iter().fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte));
    if length > SEALED_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; RECORD_HEADER_BYTES + length + CHECK_BYTES];
    match file.read_exact_at(&mut bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    Ok(Record::read_from(&mut bytes.as_slice())?.filter(|record| record.index == index))
}
