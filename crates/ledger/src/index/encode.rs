//! A segment's contents as bytes: a directory, then the sections that it names.
//! Integers are big-endian.

use holdfast_base::{ClassSet, PatientId};

use super::contents::Contents;
use super::file::BLOCK_BYTES;
use super::{Dimension, NONE, ProfileFact, Row, TouchFact};
use crate::tree::Hash;

pub(crate) const ROW_BYTES: usize = 32;
pub(crate) const TOUCH_BYTES: usize = 13;
pub(crate) const PROFILE_BYTES: usize = 40;

/// A part of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Rows,
    Touches,
    Profiles,
    /// Where each key ends, as u32.
    KeyEnds(Dimension),
    Keys(Dimension),
    /// Where the postings of each key end, as u32.
    PostingEnds(Dimension),
    Postings(Dimension),
}

const SECTIONS: usize = 3 + 2 * 8 + 2 * Dimension::POSTED;

impl Section {
    fn number(self) -> usize {
        match self {
            Self::Rows => 0,
            Self::Touches => 1,
            Self::Profiles => 2,
            Self::KeyEnds(dimension) => 3 + 2 * dimension as usize,
            Self::Keys(dimension) => 4 + 2 * dimension as usize,
            Self::PostingEnds(dimension) => 19 + 2 * dimension as usize,
            Self::Postings(dimension) => 20 + 2 * dimension as usize,
        }
    }
}

/// What stands at the beginning of a segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) span: (i64, i64),
    pub(crate) end: u64,
    sections: Vec<(u64, u64)>,
    pub(crate) subtrees: Vec<Hash>,
    pub(crate) bodies: Vec<(u64, u64)>,
}

const FIXED_BYTES: usize = 48 + SECTIONS * 16;

impl Directory {
    /// Offset and length of a section.
    pub(crate) fn section(&self, section: Section) -> (u64, u64) {
        self.sections.get(section.number()).copied().unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.first.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend(self.span.0.to_be_bytes());
        out.extend(self.span.1.to_be_bytes());
        out.extend(self.end.to_be_bytes());
        out.extend((self.subtrees.len() as u32).to_be_bytes());
        out.extend((self.bodies.len() as u32).to_be_bytes());
        for (a, b) in &self.sections {
            out.extend(a.to_be_bytes());
            out.extend(b.to_be_bytes());
        }
        self.subtrees.iter().for_each(|hash| out.extend(hash));
        for (a, b) in &self.bodies {
            out.extend(a.to_be_bytes());
            out.extend(b.to_be_bytes());
        }
        out
    }

    /// Length of the directory that begins with `bytes`.
    pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
        let count = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
        Some(FIXED_BYTES + count(40)? * 32 + count(44)? * 16)
    }

    /// Reads a directory; `None` when it does not have the form.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let length = Self::length(bytes)?;
        let mut rest = bytes.get(..length)?;
        let mut number = || {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_be_bytes(*head))
        };
        let (first, count) = (number()?, number()?);
        let span = (number()? as i64, number()? as i64);
        let (end, counts) = (number()?, number()?);
        let mut pairs = |count: u64| {
            (0..count).map(|_| Some((number()?, number()?))).collect::<Option<Vec<_>>>()
        };
        let sections = pairs(SECTIONS as u64)?;
        let mut directory = Self { first, count, span, end, sections, ..Self::default() };
        let (subtrees, bodies) = rest.split_at_checked((counts >> 32) as usize * 32)?;
        directory.subtrees = subtrees.chunks_exact(32).map(to_hash).collect();
        let pair = |chunk: &[u8]| (read_u64(chunk), read_u64(&chunk[8..]));
        directory.bodies = bodies.chunks_exact(16).map(pair).collect();
        Some(directory)
    }
}

fn to_hash(chunk: &[u8]) -> Hash {
    Hash::try_from(chunk).unwrap_or_default()
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

pub(crate) fn read_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |chunk| u32::from_be_bytes(*chunk))
}

/// Everything of a segment, unsealed.
pub(crate) fn encode(contents: &Contents) -> Vec<u8> {
    let sorted: Vec<Sorted> = contents.names.iter().map(|names| Sorted::of(&names.keys)).collect();
    let number = |dimension: Dimension, old: u32| sorted[dimension as usize].number(old);
    let mut directory = Directory {
        first: contents.first,
        count: contents.rows.len() as u64,
        span: contents.span.unwrap_or_default(),
        end: contents.end,
        sections: vec![(0, 0); SECTIONS],
        subtrees: contents.subtrees.clone(),
        bodies: contents.bodies.clone(),
    };
    let start = directory.encode().len().next_multiple_of(BLOCK_BYTES);
    let mut out = vec![0; start];
    let mut add = |section: Section, out: &mut Vec<u8>, write: &mut dyn FnMut(&mut Vec<u8>)| {
        let offset = out.len();
        write(out);
        let place = (offset as u64, (out.len() - offset) as u64);
        directory.sections[section.number()] = place;
    };
    add(Section::Rows, &mut out, &mut |out| {
        for row in &contents.rows {
            let row = Row {
                kind: number(Dimension::Kind, row.kind.into()) as u16,
                organization: number(Dimension::Organization, row.organization),
                patient: number(Dimension::Patient, row.patient),
                ..*row
            };
            encode_row(&row, out);
        }
    });
    add(Section::Touches, &mut out, &mut |out| {
        for touch in &contents.touches {
            out.extend(number(Dimension::ResourceType, touch.resource_type).to_be_bytes());
            out.push(touch.classes);
            out.extend(touch.id.to_be_bytes());
        }
    });
    add(Section::Profiles, &mut out, &mut |out| {
        let mut profiles: Vec<ProfileFact> = contents.profiles.values().copied().collect();
        for profile in &mut profiles {
            profile.organization = number(Dimension::Organization, profile.organization);
            profile.residence = number(Dimension::Residence, profile.residence);
        }
        profiles.sort_unstable_by_key(|profile| (profile.patient, profile.organization));
        for profile in profiles {
            out.extend(profile.patient.as_bytes());
            out.extend(profile.organization.to_be_bytes());
            out.extend(profile.residence.to_be_bytes());
            out.extend(profile.person);
        }
    });
    for dimension in Dimension::ALL {
        let sorted = &sorted[dimension as usize];
        let keys = &contents.names[dimension as usize].keys;
        add(Section::KeyEnds(dimension), &mut out, &mut |out| {
            let mut end = 0_u32;
            for old in &sorted.order {
                end += keys[*old as usize].len() as u32;
                out.extend(end.to_be_bytes());
            }
        });
        add(Section::Keys(dimension), &mut out, &mut |out| {
            sorted.order.iter().for_each(|old| out.extend(&keys[*old as usize]));
        });
        if (dimension as usize) < Dimension::POSTED {
            let (ends, postings) = postings(contents, dimension, sorted);
            add(Section::PostingEnds(dimension), &mut out, &mut |out| {
                ends.iter().for_each(|end| out.extend(end.to_be_bytes()));
            });
            add(Section::Postings(dimension), &mut out, &mut |out| out.extend(&postings));
        }
    }
    let directory = directory.encode();
    out[..directory.len()].copy_from_slice(&directory);
    out
}

/// The order of keys by their bytes, and the way back.
struct Sorted {
    /// Old ordinals in the new order.
    order: Vec<u32>,
    /// New ordinals by the old.
    numbers: Vec<u32>,
}

impl Sorted {
    fn of(keys: &[Box<[u8]>]) -> Self {
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_unstable_by(|a, b| keys[*a as usize].cmp(&keys[*b as usize]));
        let mut numbers = vec![NONE; keys.len()];
        for (new, old) in order.iter().enumerate() {
            numbers[*old as usize] = new as u32;
        }
        Self { order, numbers }
    }

    fn number(&self, old: u32) -> u32 {
        self.numbers.get(old as usize).copied().unwrap_or(NONE)
    }
}

/// The postings of each key in the new order, as differences in LEB128, and
/// where those of each key end.
fn postings(contents: &Contents, dimension: Dimension, sorted: &Sorted) -> (Vec<u32>, Vec<u8>) {
    let mut lists: Vec<Vec<u8>> = vec![Vec::new(); sorted.order.len()];
    let mut last = vec![0_u32; sorted.order.len()];
    for (old, place) in contents.column(dimension).zip(0_u32..) {
        let number = sorted.number(old) as usize;
        if let Some(list) = lists.get_mut(number) {
            let mut difference = place - last[number];
            last[number] = place;
            while difference >= 0x80 {
                list.push(difference as u8 | 0x80);
                difference >>= 7;
            }
            list.push(difference as u8);
        }
    }
    let mut end = 0;
    let ends = lists.iter().map(|list| {
        end += list.len() as u32;
        end
    });
    (ends.collect(), lists.concat())
}

/// Reads a posting list.
pub(crate) fn decode_postings(bytes: &[u8]) -> Vec<u32> {
    let (mut places, mut place, mut part, mut shift) = (Vec::new(), 0_u32, 0_u32, 0);
    for byte in bytes {
        part |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        shift += 7;
        if byte & 0x80 == 0 {
            place = place.wrapping_add(part);
            places.push(place);
            (part, shift) = (0, 0);
        }
    }
    places
}

/// Writes one row of [`ROW_BYTES`].
fn encode_row(row: &Row, out: &mut Vec<u8>) {
    out.extend(row.at.to_be_bytes());
    out.extend(&row.offset.to_be_bytes()[2..]);
    out.extend(row.kind.to_be_bytes());
    out.push(row.action);
    out.push(row.classes.bits());
    out.extend(row.organization.to_be_bytes());
    out.extend(row.patient.to_be_bytes());
    out.extend(row.touches.to_be_bytes());
    out.extend(row.touches_count.to_be_bytes());
}

/// Reads one row of [`ROW_BYTES`].
pub(crate) fn decode_row(bytes: &[u8]) -> Row {
    let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    Row {
        at: read_u64(bytes) as i64,
        offset: u64::from(short(8)) << 32 | u64::from(read_u32(&bytes[10..])),
        kind: short(14),
        action: bytes[16],
        classes: ClassSet::from_bits(bytes[17]),
        organization: read_u32(&bytes[18..]),
        patient: read_u32(&bytes[22..]),
        touches: read_u32(&bytes[26..]),
        touches_count: short(30),
    }
}

/// Reads one touch of [`TOUCH_BYTES`].
pub(crate) fn decode_touch(bytes: &[u8]) -> TouchFact {
    TouchFact { resource_type: read_u32(bytes), classes: bytes[4], id: read_u64(&bytes[5..]) }
}

/// Reads one profile of [`PROFILE_BYTES`].
pub(crate) fn decode_profile(bytes: &[u8]) -> ProfileFact {
    let half = |at: usize| bytes[at..].first_chunk::<16>().copied().unwrap_or_default();
    ProfileFact {
        patient: PatientId::from_bytes(half(0)),
        organization: read_u32(&bytes[16..]),
        residence: read_u32(&bytes[20..]),
        person: half(24),
    }
}

/// Everything of an opened segment as contents, `None` when it does not have the
/// form.
pub(crate) fn decode(bytes: &[u8]) -> Option<Contents> {
    let directory = Directory::decode(bytes)?;
    let section = |section| {
        let (offset, length) = directory.section(section);
        bytes.get(offset as usize..offset.checked_add(length)? as usize)
    };
    let mut contents = Contents::starting_at(directory.first);
    contents.rows = section(Section::Rows)?.chunks_exact(ROW_BYTES).map(decode_row).collect();
    let touches = section(Section::Touches)?.chunks_exact(TOUCH_BYTES);
    contents.touches = touches.map(decode_touch).collect();
    let profiles = section(Section::Profiles)?.chunks_exact(PROFILE_BYTES).map(decode_profile);
    contents.profiles =
        profiles.map(|profile| ((profile.patient, profile.organization), profile)).collect();
    contents.actors = vec![[NONE; 3]; contents.rows.len()];
    for dimension in Dimension::ALL {
        let keys = section(Section::Keys(dimension))?;
        let mut start = 0;
        for (end, ordinal) in section(Section::KeyEnds(dimension))?.chunks_exact(4).zip(0..) {
            let end = read_u32(end) as usize;
            if contents.names[dimension as usize].ordinal(keys.get(start..end)?) != ordinal {
                return None;
            }
            start = end;
        }
    }
    for (column, dimension) in
        [Dimension::Principal, Dimension::Session, Dimension::Address].into_iter().enumerate()
    {
        let postings = section(Section::Postings(dimension))?;
        let mut start = 0;
        for (end, ordinal) in section(Section::PostingEnds(dimension))?.chunks_exact(4).zip(0..) {
            let end = read_u32(end) as usize;
            for place in decode_postings(postings.get(start..end)?) {
                contents.actors.get_mut(place as usize)?[column] = ordinal;
            }
            start = end;
        }
    }
    contents.span = Some(directory.span);
    contents.end = directory.end;
    contents.subtrees = directory.subtrees;
    contents.bodies = directory.bodies;
    (contents.rows.len() as u64 == directory.count).then_some(contents)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of `docs/ledger.md`.
    #[test]
    fn the_row_of_the_documentation_is_written_and_read_back() {
        let text = include_str!("../../../../docs/ledger.md");
        let example = text.split("### A row").nth(1).expect("the example").split("###").next();
        let lines = example.expect("its end").lines().filter(|line| line.starts_with("    "));
        let hex: String = lines.filter_map(|line| line.split_whitespace().next()).collect();
        let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).expect("hexadecimal digits");
        let row = Row {
            at: 1_432_598_400_007,
            offset: 115_368,
            kind: 1,
            action: 1,
            classes: ClassSet::from_bits(5),
            organization: 3,
            patient: 42,
            touches: 16,
            touches_count: 2,
        };
        let mut written = Vec::new();
        encode_row(&row, &mut written);
        assert_eq!((written.len(), &written), (ROW_BYTES, &bytes));
        assert_eq!(decode_row(&bytes), row);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = decode(&bytes);
            let _ = decode_postings(&bytes);
        }

        #[test]
        fn a_changed_directory_never_panics(at in 0..700_usize, byte: u8) {
            let mut bytes = encode(&Contents::starting_at(256));
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
