//! The commit chain: what makes a lost, changed or inserted commit noticeable.
//!
//! `chain(0) = SHA-256("holdfast/store/genesis/v1\0" ‖ store id)`;
//! `chain(t) = SHA-256("holdfast/store/chain/v1\0" ‖ chain(t-1) ‖ t ‖ digest(t) ‖
//! last message)`, where the digest covers everything that the commit wrote.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use holdfast_base::{CommitNumber, MessageId};

use crate::codec::{In, Out};
use crate::engine::Space;
use crate::error::ReadError;
use crate::layout::{RESOURCE_BYTES, ResourceBytes, damaged};

/// Rows of a commit were hashed in the order in which they came.
const AS_GIVEN: u8 = 1;
/// In the order of their keys, so that the digest can be made again.
const ORDERED: u8 = 2;

/// SHA-256 of parts one after the other.
pub(crate) struct Digest(Context);

impl Digest {
    /// Starts with a name that no other use of SHA-256 here starts with.
    pub(crate) fn new(domain: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(domain.as_bytes());
        context.update(&[0]);
        Self(context)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&number.to_be_bytes())
    }

    /// With its length, so that neighbours cannot trade bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).raw(bytes)
    }

    pub(crate) fn done(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

/// Where a store stands after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub commit: CommitNumber,
    pub chain: [u8; 32],
    /// The last message number that was given out.
    pub message: MessageId,
}

impl Position {
    /// Before the first commit.
    pub(crate) fn genesis(store_id: &[u8; 16]) -> Self {
        let mut digest = Digest::new("holdfast/store/genesis/v1");
        digest.raw(store_id);
        Self { commit: CommitNumber(0), chain: digest.done(), message: MessageId(0) }
    }

    /// After one more commit, which wrote what `digest` covers.
    pub(crate) fn next(&self, digest: &[u8; 32], message: MessageId) -> Self {
        let commit = CommitNumber(self.commit.0 + 1);
        let mut chain = Digest::new("holdfast/store/chain/v1");
        chain.raw(&self.chain).number(commit.0).raw(digest).number(message.0);
        Self { commit, chain: chain.done(), message }
    }
}

/// The row of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitRow {
    pub position: Position,
    pub digest: [u8; 32],
    /// The message that it finished or put back; 0 for none.
    pub finished: MessageId,
    /// The resources that it wrote a version of.
    pub puts: Vec<ResourceBytes>,
    /// The generic rows that it wrote (true) or deleted (false).
    pub rows: BTreeMap<Vec<u8>, bool>,
    /// Whether the digest covers the rows in key order.
    pub ordered: bool,
}

impl CommitRow {
    pub(crate) fn new(position: Position, digest: [u8; 32]) -> Self {
        Self {
            position,
            digest,
            finished: MessageId(0),
            puts: Vec::new(),
            rows: BTreeMap::new(),
            ordered: true,
        }
    }

    pub(crate) fn key(commit: CommitNumber) -> Vec<u8> {
        commit.0.to_be_bytes().to_vec()
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let start = Out::with_capacity(89 + self.puts.len() * RESOURCE_BYTES)
            .u8(if self.ordered { ORDERED } else { AS_GIVEN })
            .raw(&self.position.chain)
            .raw(&self.digest)
            .u64(self.position.message.0)
            .u64(self.finished.0)
            .u32(count(self.puts.len()))
            .u32(count(self.rows.len()));
        let puts = self.puts.iter().fold(start, |out, put| out.raw(put));
        let rows = self.rows.iter();
        rows.fold(puts, |out, (key, written)| out.u8((*written).into()).bytes(key)).done()
    }

    pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Self, ReadError> {
        Self::parse(key, value)
            .ok_or_else(|| damaged(Space::Commits, key, "the row has another form"))
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let commit = CommitNumber(u64::from_be_bytes(key.try_into().ok()?));
        let mut fields = In::new(value);
        let ordered = match fields.u8()? {
            AS_GIVEN => false,
            ORDERED => true,
            _ => return None,
        };
        let chain = fields.array()?;
        let digest = fields.array()?;
        let message = MessageId(fields.u64()?);
        let finished = MessageId(fields.u64()?);
        let puts_count = fields.u32()?;
        let rows_count = fields.u32()?;
        let mut puts = Vec::new();
        for _ in 0..puts_count {
            puts.push(fields.array()?);
        }
        let mut rows = BTreeMap::new();
        for _ in 0..rows_count {
            let written = match fields.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            };
            rows.insert(fields.bytes()?.to_vec(), written);
        }
        fields.end()?;
        let position = Position { commit, chain, message };
        Some(Self { position, digest, finished, puts, rows, ordered })
    }

    /// Whether this row follows on `before`.
    pub(crate) fn follows(&self, before: &Position) -> bool {
        before.next(&self.digest, self.position.message) == self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_follows_only_on_its_own_predecessor() {
        let genesis = Position::genesis(&[1; 16]);
        let row = CommitRow {
            position: genesis.next(&[5; 32], MessageId(1)),
            digest: [5; 32],
            finished: MessageId(1),
            puts: vec![[9; RESOURCE_BYTES]],
            rows: BTreeMap::from([(vec![1, 2], true), (vec![1, 3], false)]),
            ordered: true,
        };
        let key = CommitRow::key(row.position.commit);
        let read = CommitRow::read(&key, &row.value()).expect("a commit row");
        assert_eq!(read, row);
        assert!(read.follows(&genesis));
        assert!(!read.follows(&Position::genesis(&[2; 16])));
        assert!(!CommitRow { digest: [6; 32], ..read.clone() }.follows(&genesis));
        assert!(!read.follows(&read.position));
    }
}
