//! What one commit wrote, read back from where it lies, and its digest.
//!
//! Versions and payloads stay where they were written. A generic row or the state
//! of a message may have been written over since; then its value is in `past`,
//! or missing here.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use holdfast_base::{MessageId, Timestamp};

use crate::chain::{CommitRow, Digest, Position};
use crate::codec::{In, Out};
use crate::engine::{Bytes, Space, View, Write};
use crate::error::ReadError;
use crate::layout::{self, ResourceBytes, damaged};
use crate::model::{KeptPayload, KeptState};
use crate::past;

/// Digest of a transaction, over its rows in key order.
pub(crate) fn transaction_digest<'a>(
    puts: impl ExactSizeIterator<Item = (&'a ResourceBytes, &'a [u8], &'a [u8])>,
    rows: impl ExactSizeIterator<Item = (u8, &'a [u8], Option<&'a [u8]>)>,
    finish: Option<(MessageId, KeptState, &[u8])>,
) -> [u8; 32] {
    let mut digest = Digest::new("holdfast/store/transaction/v1");
    digest.number(puts.len() as u64);
    for (resource, index, body) in puts {
        digest.raw(resource).bytes(index).bytes(body);
    }
    digest.number(rows.len() as u64);
    for (table, key, value) in rows {
        digest.number(table.into()).bytes(key);
        match value {
            Some(value) => digest.number(1).bytes(value),
            None => digest.number(0),
        };
    }
    match finish {
        Some((message, state, outcome)) => {
            digest.number(1).number(message.0).number(state as u64).bytes(outcome)
        }
        None => digest.number(0),
    };
    digest.done()
}

/// Digest of a kept payload.
pub(crate) fn keep_digest(
    organization: u32,
    received: Timestamp,
    format: u8,
    meta_sealed: &[u8],
    payload_sealed: &[u8],
) -> [u8; 32] {
    let mut digest = Digest::new("holdfast/store/keep/v1");
    digest
        .number(organization.into())
        .raw(&received.millis().to_be_bytes())
        .number(format.into())
        .bytes(meta_sealed)
        .bytes(payload_sealed);
    digest.done()
}

/// A generic row as one commit wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowContent {
    Written(Bytes),
    Deleted,
    /// Written over since, and nowhere kept.
    Missing,
}

/// What one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub row: CommitRow,
    /// Index and body value of each put, in the order of the commit row.
    pub puts: Vec<(Bytes, Bytes)>,
    /// Of each row, in the order of the commit row.
    pub rows: Vec<RowContent>,
    /// Inbox value and payload, when it kept a message.
    pub kept: Option<(Bytes, Bytes)>,
    /// Inbox value of the message that it finished; `None` when there is none, or
    /// it was written over.
    pub finished: Option<Bytes>,
}

impl Content {
    /// What `row`, which follows on `before`, wrote.
    pub(crate) fn read(
        view: &dyn View,
        row: CommitRow,
        before: &Position,
    ) -> Result<Self, ReadError> {
        let commit = row.position.commit;
        let mut puts = Vec::with_capacity(row.puts.len());
        for resource in &row.puts {
            let key = layout::version_key(resource, commit);
            let get = |space| {
                let value = view.get(space, &key)?;
                value.ok_or_else(|| damaged(space, &key, "a committed version is missing"))
            };
            puts.push((get(Space::Index)?, get(Space::Bodies)?));
        }
        let mut rows = Vec::with_capacity(row.rows.len());
        for (key, written) in &row.rows {
            rows.push(if !written {
                RowContent::Deleted
            } else {
                let found = past::as_written(view, Space::Rows, key, commit)?;
                found.map_or(RowContent::Missing, RowContent::Written)
            });
        }
        let kept = if row.position.message > before.message {
            let key = layout::message_key(row.position.message);
            let missing = |space| damaged(space, &key, "a kept payload is missing");
            let now = view.get(Space::Inbox, &key)?.ok_or_else(|| missing(Space::Inbox))?;
            let payload =
                view.get(Space::Payloads, &key)?.ok_or_else(|| missing(Space::Payloads))?;
            let now = layout::read_inbox(&key, &now)?;
            if now.commit != commit {
                return Err(damaged(Space::Inbox, &key, "it names another commit than kept it"));
            }
            let facts = KeptPayload {
                organization: now.organization,
                received: now.received,
                format: now.format,
                meta_sealed: now.meta_sealed,
                payload_sealed: Vec::new(),
            };
            let value = layout::inbox_value(&facts, commit, commit, KeptState::Pending, &[]);
            Some((value.into(), payload))
        } else {
            None
        };
        let finished = match row.finished {
            MessageId(0) => None,
            message => past::as_written(view, Space::Inbox, &layout::message_key(message), commit)?,
        };
        Ok(Self { row, puts, rows, kept, finished })
    }

    /// Whether nothing of it was written over and lost.
    pub(crate) fn is_complete(&self) -> bool {
        !self.rows.contains(&RowContent::Missing)
            && (self.row.finished == MessageId(0)) == self.finished.is_none()
    }

    /// Whether it is what the commit's digest covers; `None` when that cannot be
    /// said: something is missing, or the row is of a layout whose digest followed
    /// an order that was not written down.
    pub(crate) fn is_authentic(&self) -> Option<bool> {
        if !self.is_complete() || (!self.row.ordered && !self.row.rows.is_empty()) {
            return None;
        }
        let digest = self.digest();
        Some(
            digest.is_some_and(|digest| verify_slices_are_equal(&digest, &self.row.digest).is_ok()),
        )
    }

    /// Its digest; `None` when it does not say that this commit wrote it.
    fn digest(&self) -> Option<[u8; 32]> {
        let commit = self.row.position.commit;
        if let Some((inbox, payload)) = &self.kept {
            let key = layout::message_key(self.row.position.message);
            let facts = layout::read_inbox(&key, inbox).ok()?;
            let new = facts.state == KeptState::Pending && facts.outcome.is_empty();
            (new && (facts.commit, facts.changed) == (commit, commit)).then_some(())?;
            let (organization, received) = (facts.organization, facts.received);
            let meta = &facts.meta_sealed;
            return Some(keep_digest(organization, received, facts.format, meta, payload));
        }
        let puts = self.row.puts.iter().zip(&self.puts);
        let puts = puts.map(|(resource, (index, body))| (resource, &**index, &**body));
        let mut rows = Vec::with_capacity(self.rows.len());
        for (key, content) in self.row.rows.keys().zip(&self.rows) {
            let (table, own) = key.split_first()?;
            rows.push(match content {
                RowContent::Written(value) => {
                    let (writer, value) = layout::read_row(key, value).ok()?;
                    (writer == commit).then_some((*table, own, Some(value)))?
                }
                RowContent::Deleted => (*table, own, None),
                RowContent::Missing => return None,
            });
        }
        let finished = match &self.finished {
            Some(value) => {
                let key = layout::message_key(self.row.finished);
                let row = layout::read_inbox(&key, value).ok()?;
                Some((row.changed == commit).then_some(row)?)
            }
            None => None,
        };
        let finish = finished.as_ref().map(|f| (f.message, f.state, f.outcome.as_slice()));
        Some(transaction_digest(puts, rows.into_iter(), finish))
    }

    /// The changes that make a store what it was after this commit.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let commit = self.row.position.commit;
        let mut writes = Vec::new();
        let mut set = |space, key, value| writes.push(Write { space, key, value });
        set(Space::Commits, CommitRow::key(commit), Some(self.row.value().into()));
        for (resource, (index, body)) in self.row.puts.iter().zip(self.puts) {
            let key = layout::version_key(resource, commit);
            set(Space::Index, key.clone(), Some(index));
            set(Space::Bodies, key, Some(body));
        }
        for (key, content) in self.row.rows.into_keys().zip(self.rows) {
            match content {
                RowContent::Written(value) => set(Space::Rows, key, Some(value)),
                RowContent::Deleted => set(Space::Rows, key, None),
                RowContent::Missing => {}
            }
        }
        if let Some((inbox, payload)) = self.kept {
            let key = layout::message_key(self.row.position.message);
            set(Space::Inbox, key.clone(), Some(inbox));
            set(Space::Payloads, key.clone(), Some(payload));
            set(Space::Pending, key, Some(Bytes::from(&[][..])));
        }
        if let Some(inbox) = self.finished {
            let key = layout::message_key(self.row.finished);
            let state = layout::read_inbox(&key, &inbox).map(|row| row.state);
            let waits = matches!(state, Ok(KeptState::Pending));
            set(Space::Inbox, key.clone(), Some(inbox));
            set(Space::Pending, key, waits.then(|| Bytes::from(&[][..])));
        }
        writes
    }

    /// As it stands in a segment.
    pub(crate) fn encode(&self, out: Out) -> Out {
        let mut out = out.u64(self.row.position.commit.0).bytes(&self.row.value());
        for (index, body) in &self.puts {
            out = out.bytes(index).bytes(body);
        }
        for content in &self.rows {
            out = match content {
                RowContent::Written(value) => out.u8(1).bytes(value),
                RowContent::Deleted => out.u8(0),
                RowContent::Missing => out.u8(2),
            };
        }
        out = match &self.kept {
            Some((inbox, payload)) => out.u8(1).bytes(inbox).bytes(payload),
            None => out.u8(0),
        };
        match &self.finished {
            Some(inbox) => out.u8(1).bytes(inbox),
            None => out.u8(0),
        }
    }

    /// What [`encode`](Self::encode) wrote.
    pub(crate) fn decode(fields: &mut In<'_>) -> Option<Self> {
        let key = fields.u64()?.to_be_bytes();
        let row = CommitRow::read(&key, fields.bytes()?).ok()?;
        let mut puts = Vec::new();
        for _ in &row.puts {
            puts.push((Bytes::from(fields.bytes()?), Bytes::from(fields.bytes()?)));
        }
        let mut rows = Vec::new();
        for _ in &row.rows {
            rows.push(match fields.u8()? {
                0 => RowContent::Deleted,
                1 => RowContent::Written(Bytes::from(fields.bytes()?)),
                2 => RowContent::Missing,
                _ => return None,
            });
        }
        let kept = match fields.u8()? {
            0 => None,
            1 => Some((Bytes::from(fields.bytes()?), Bytes::from(fields.bytes()?))),
            _ => return None,
        };
        let finished = match fields.u8()? {
            0 => None,
            1 => Some(Bytes::from(fields.bytes()?)),
            _ => return None,
        };
        Some(Self { row, puts, rows, kept, finished })
    }
}
