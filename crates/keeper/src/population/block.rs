//! Blocks and fences: records as bytes, cut to size and sealed.

use std::cmp::Reverse;

use holdfast_base::PatientId;

use super::{
    BLOCK_BYTES, IndexError, IndexedResource, Needed, PIECE_BLOCKS_MAX, Record, row_place,
};
use crate::keyring::Keys;

/// First byte of a block's and a fence's plain bytes.
const LAYOUT: u8 = 1;
/// layout 1 ‖ count 2.
const HEADER_BYTES: usize = 3;
const ADDS: u8 = 1;
const SAME_PATIENT: u8 = 2;

/// A piece of a run's directory: where its blocks begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fence {
    /// Number of the first block of the piece.
    pub first_block: u32,
    /// The first record of each block, in order.
    pub starts: Vec<Record>,
    /// The key of the last record.
    pub last_key: Vec<u8>,
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn number(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub(super) fn take<'a>(from: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(bytes)?;
    *from = rest;
    Some(taken)
}

fn put_record(out: &mut Vec<u8>, record: &Record, before: Option<&Record>) {
    let shared = before
        .map_or(0, |before| record.key.iter().zip(&before.key).take_while(|(a, b)| a == b).count());
    let same = before.is_some_and(|before| before.resource.patient == record.resource.patient);
    out.push(if record.adds { ADDS } else { 0 } | if same { SAME_PATIENT } else { 0 });
    put_number(out, shared as u64);
    put_number(out, (record.key.len() - shared) as u64);
    out.extend_from_slice(&record.key[shared..]);
    if !same {
        out.extend_from_slice(record.resource.patient.as_bytes());
    }
    out.extend_from_slice(&record.resource.token);
    out.push(record.resource.class);
    put_number(out, record.commit.0);
}

fn record(from: &mut &[u8], before: Option<&Record>) -> Option<Record> {
    let flags = take(from, 1)?[0];
    let (shared, rest) = (number(from)?, number(from)?);
    let mut key = match before {
        Some(before) => before.key.get(..usize::try_from(shared).ok()?)?.to_vec(),
        None => (shared == 0).then(Vec::new)?,
    };
    key.extend_from_slice(take(from, usize::try_from(rest).ok()?)?);
    let patient = match flags & SAME_PATIENT {
        0 => PatientId::from_bytes(take(from, 16)?.try_into().ok()?),
        _ => before?.resource.patient,
    };
    let token = take(from, 16)?.try_into().ok()?;
    let class = take(from, 1)?[0];
    let commit = Reverse(number(from)?);
    let resource = IndexedResource { patient, token, class };
    Some(Record { key, resource, commit, adds: flags & ADDS != 0 })
}

/// Cuts sorted records into sealed blocks and their fences.
pub(super) struct Cutter<'a> {
    key: &'a Keys,
    organization: &'a str,
    run: [u8; 16],
    next_block: u32,
    plain: Vec<u8>,
    count: u16,
    before: Option<Record>,
    fence: Fence,
    pub blocks: Vec<Vec<u8>>,
    pub fences: Vec<Fence>,
}

impl<'a> Cutter<'a> {
    pub fn new(key: &'a Keys, organization: &'a str, run: [u8; 16], next_block: u32) -> Self {
        Self {
            key,
            organization,
            run,
            next_block,
            plain: vec![LAYOUT, 0, 0],
            count: 0,
            before: None,
            fence: Fence { first_block: next_block, ..Fence::default() },
            blocks: Vec::new(),
            fences: Vec::new(),
        }
    }

    pub fn push(&mut self, record: Record) -> Result<(), IndexError> {
        let mut bytes = Vec::new();
        put_record(&mut bytes, &record, self.before.as_ref());
        if self.plain.len() + bytes.len() > BLOCK_BYTES {
            self.close();
            bytes.clear();
            put_record(&mut bytes, &record, None);
            if HEADER_BYTES + bytes.len() > BLOCK_BYTES {
                return Err(IndexError::Damaged);
            }
        }
        if self.count == 0 {
            self.fence.starts.push(record.clone());
        }
        self.plain.extend_from_slice(&bytes);
        self.count += 1;
        self.before = Some(record);
        Ok(())
    }

    fn close(&mut self) {
        let Some(last) = self.before.take() else { return };
        let mut plain = std::mem::replace(&mut self.plain, vec![LAYOUT, 0, 0]);
        plain[1..HEADER_BYTES].copy_from_slice(&self.count.to_be_bytes());
        plain.resize(BLOCK_BYTES, 0);
        let place = row_place(self.organization, Needed::Block(self.run, self.next_block));
        self.blocks.push(self.key.seal(&place, &plain));
        self.next_block += 1;
        self.count = 0;
        self.fence.last_key = last.key;
        if self.fence.starts.len() == PIECE_BLOCKS_MAX {
            let next = Fence { first_block: self.next_block, ..Fence::default() };
            self.fences.push(std::mem::replace(&mut self.fence, next));
        }
    }

    /// What is left becomes the last block and piece.
    pub fn finish(mut self) -> (Vec<Vec<u8>>, Vec<Fence>) {
        self.close();
        if !self.fence.starts.is_empty() {
            self.fences.push(std::mem::take(&mut self.fence));
        }
        (self.blocks, self.fences)
    }
}

/// The records of a sealed block.
pub(super) fn open_block(
    key: &Keys,
    organization: &str,
    (run, block): ([u8; 16], u32),
    sealed: &[u8],
) -> Result<Vec<Record>, IndexError> {
    let plain = key.open(&row_place(organization, Needed::Block(run, block)), sealed)?;
    let parse = || {
        let mut from = plain.as_slice();
        (take(&mut from, 1)?[0] == LAYOUT).then_some(())?;
        let count = u16::from_be_bytes(take(&mut from, 2)?.try_into().ok()?);
        let mut records: Vec<Record> = Vec::with_capacity(count.into());
        for _ in 0..count {
            let next = record(&mut from, records.last())?;
            records.push(next);
        }
        Some(records)
    };
    parse().ok_or(IndexError::Damaged)
}

/// A fence, sealed; padded so that the keys in it do not show in its size.
pub(super) fn seal_fence(
    key: &Keys,
    organization: &str,
    (run, piece): ([u8; 16], u32),
    fence: &Fence,
) -> Vec<u8> {
    let mut plain = vec![LAYOUT];
    put_number(&mut plain, fence.first_block.into());
    put_number(&mut plain, fence.starts.len() as u64);
    let mut before = None;
    for start in &fence.starts {
        put_record(&mut plain, start, before);
        before = Some(start);
    }
    put_number(&mut plain, fence.last_key.len() as u64);
    plain.extend_from_slice(&fence.last_key);
    // Room for the longest usual starts: the number of blocks alone says the size.
    let usual = (fence.starts.len() * 160).next_multiple_of(BLOCK_BYTES);
    let padded = plain.len().next_multiple_of(BLOCK_BYTES).max(usual);
    plain.resize(padded, 0);
    key.seal(&row_place(organization, Needed::Fence(run, piece)), &plain)
}

pub(super) fn open_fence(
    key: &Keys,
    organization: &str,
    (run, piece): ([u8; 16], u32),
    sealed: &[u8],
) -> Result<Fence, IndexError> {
    let plain = key.open(&row_place(organization, Needed::Fence(run, piece)), sealed)?;
    let parse = || {
        let mut from = plain.as_slice();
        (take(&mut from, 1)?[0] == LAYOUT).then_some(())?;
        let first_block = u32::try_from(number(&mut from)?).ok()?;
        let count = number(&mut from)?;
        let mut starts: Vec<Record> = Vec::new();
        for _ in 0..count {
            let start = record(&mut from, starts.last())?;
            starts.push(start);
        }
        let length = usize::try_from(number(&mut from)?).ok()?;
        let last_key = take(&mut from, length)?.to_vec();
        Some(Fence { first_block, starts, last_key })
    };
    parse().ok_or(IndexError::Damaged)
}

impl Fence {
    /// The number of the block at `place`, and the keys that it may hold.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, &Record, &[u8])> {
        self.starts.iter().enumerate().map(|(at, start)| {
            let last = self.starts.get(at + 1).map_or(self.last_key.as_slice(), |next| &next.key);
            (self.first_block + at as u32, start, last)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let record = (
            proptest::collection::vec(any::<u8>(), 1..60),
            0..4u8,
            any::<[u8; 16]>(),
            0..5u8,
            0..1_000_000u64,
            any::<bool>(),
        )
            .prop_map(|(key, patient, token, class, commit, adds)| Record {
                key,
                resource: IndexedResource {
                    patient: PatientId::from_bytes([patient; 16]),
                    token,
                    class,
                },
                commit: Reverse(commit),
                adds,
            });
        proptest::collection::btree_set(record, 0..300).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn p02_blocks_give_back_their_records_and_show_their_number_only(records in records()) {
            let key = Keys::first(crate::primitive::Secret::random());
            let run = [7; 16];
            let mut cutter = Cutter::new(&key, "lakeside", run, 3);
            for record in &records {
                cutter.push(record.clone()).expect("fits");
            }
            let (blocks, fences) = cutter.finish();
            let mut again = Vec::new();
            for (number, block) in (3..).zip(&blocks) {
                prop_assert_eq!(block.len(), BLOCK_BYTES + crate::primitive::OVERHEAD_BYTES);
                again.extend(open_block(&key, "lakeside", (run, number), block).expect("opens"));
                prop_assert!(open_block(&key, "lakeside", (run, number + 1), block).is_err());
                prop_assert!(open_block(&key, "hillside", (run, number), block).is_err());
            }
            prop_assert_eq!(&again, &records);
            for (piece, fence) in (0..).zip(&fences) {
                let sealed = seal_fence(&key, "lakeside", (run, piece), fence);
                let opened = open_fence(&key, "lakeside", (run, piece), &sealed);
                prop_assert_eq!(opened.expect("opens"), fence.clone());
                prop_assert!(open_block(&key, "lakeside", (run, piece), &sealed).is_err());
            }
        }
    }
}
