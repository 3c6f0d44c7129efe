//! Turns work into one engine batch: checks each transaction in order against
//! the engine and the transactions that were admitted to the batch before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use holdfast_base::{CommitNumber, MessageId};

use crate::chain::{CommitRow, Position};
use crate::content;
use crate::engine::{Bytes, KeyRange, Space, View, Write};
use crate::error::{CommitError, ReadError};
use crate::layout::{self, ResourceBytes};
use crate::model::{KeptPayload, KeptRow, KeptState, ResourceKey};
use crate::past;
use crate::transaction::{Precondition, RowWrite, Transaction};

/// A commit's size: what the journal, the queue and memory are laid out for.
/// Larger documents belong in several resources.
pub(crate) const COMMIT_BYTES_MAX: usize = 64 << 20;
/// Longest key of a generic row.
const ROW_KEY_BYTES_MAX: usize = 1024;
/// What a written row costs beside its value.
const ROW_OVERHEAD_BYTES: usize = 128;

/// What waits in the queue, encoded as far as possible by whoever submits it.
pub(crate) enum Work {
    Transaction(Prepared),
    Keep {
        payload: KeptPayload,
        body: Bytes,
        digest: [u8; 32],
    },
    /// Changes what is kept of the past; no commit.
    Past(past::Change),
}

pub(crate) struct Prepared {
    puts: Vec<Put>,
    rows: Vec<RowWrite>,
    preconditions: Vec<Precondition>,
    finish: Option<(MessageId, KeptState, Vec<u8>)>,
    digest: [u8; 32],
}

struct Put {
    resource: ResourceBytes,
    version: u64,
    index: Bytes,
    body: Bytes,
}

/// What a submitter is told once its work is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt {
    pub position: Position,
}

impl Work {
    /// Checks the form of `transaction` and encodes it.
    pub(crate) fn transaction(transaction: Transaction) -> Result<(Self, usize), CommitError> {
        let Transaction { puts, rows, preconditions, finish } = transaction;
        let mut resources = BTreeSet::new();
        for (key, sealed) in &puts {
            if !resources.insert(*key) {
                return Err(CommitError::Malformed { what: "two versions of one resource" });
            }
            if sealed.version == 0 {
                return Err(CommitError::Malformed { what: "version 0" });
            }
            if sealed.parts.len() > usize::from(u8::MAX) {
                return Err(CommitError::Malformed { what: "more than 255 parts" });
            }
        }
        if rows.iter().any(|row| !(1..=ROW_KEY_BYTES_MAX).contains(&row.key.len())) {
            return Err(CommitError::Malformed { what: "a row key of 0 or over 1,024 bytes" });
        }
        let put = |(key, sealed): &(ResourceKey, crate::model::SealedVersion)| Put {
            resource: layout::resource_bytes(key),
            version: sealed.version,
            index: layout::index_value(sealed).into(),
            body: layout::body_value(sealed).into(),
        };
        let puts: Vec<Put> = puts.iter().map(put).collect();
        let rows = in_key_order(rows);
        let put_bytes = puts.iter().map(|put| put.index.len() + put.body.len());
        let row_bytes =
            rows.iter().map(|row| row.key.len() + row.value.as_ref().map_or(0, Vec::len));
        let outcome_bytes = finish.as_ref().map_or(0, |(_, _, outcome)| outcome.len());
        let overhead = (1 + puts.len() + rows.len()) * ROW_OVERHEAD_BYTES;
        let bytes = bounded(
            put_bytes.sum::<usize>() + row_bytes.sum::<usize>() + outcome_bytes + overhead,
        )?;
        let digest = digest_of(&puts, &rows, finish.as_ref());
        Ok((Self::Transaction(Prepared { puts, rows, preconditions, finish, digest }), bytes))
    }

    /// Encodes a payload to keep.
    pub(crate) fn keep(payload: &KeptPayload) -> Result<(Self, usize), CommitError> {
        let bytes = bounded(
            payload.meta_sealed.len() + payload.payload_sealed.len() + 3 * ROW_OVERHEAD_BYTES,
        )?;
        let digest = content::keep_digest(
            payload.organization,
            payload.received,
            payload.format,
            &payload.meta_sealed,
            &payload.payload_sealed,
        );
        let body = Bytes::from(payload.payload_sealed.as_slice());
        let payload = KeptPayload {
            organization: payload.organization,
            received: payload.received,
            format: payload.format,
            meta_sealed: payload.meta_sealed.clone(),
            payload_sealed: Vec::new(),
        };
        Ok((Self::Keep { payload, body, digest }, bytes))
    }
}

/// The last write of each key, in key order: what the digest covers is then what
/// lies in the store, and can be hashed again.
fn in_key_order(rows: Vec<RowWrite>) -> Vec<RowWrite> {
    let keyed = rows.into_iter().map(|row| (layout::row_key(row.table, &row.key), row));
    keyed.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn bounded(bytes: usize) -> Result<usize, CommitError> {
    if bytes > COMMIT_BYTES_MAX {
        Err(CommitError::TooLarge { bytes, bytes_max: COMMIT_BYTES_MAX })
    } else {
        Ok(bytes)
    }
}

fn digest_of(
    puts: &[Put],
    rows: &[RowWrite],
    finish: Option<&(MessageId, KeptState, Vec<u8>)>,
) -> [u8; 32] {
    let puts = puts.iter().map(|put| (&put.resource, put.index.as_ref(), put.body.as_ref()));
    let rows = rows.iter().map(|row| (row.table as u8, row.key.as_slice(), row.value.as_deref()));
    let finish = finish.map(|(message, state, outcome)| (*message, *state, outcome.as_slice()));
    content::transaction_digest(puts, rows, finish)
}

/// One engine batch in the making.
pub(crate) struct Batch<'a> {
    view: &'a dyn View,
    position: Position,
    /// What will be written; also what later transactions of the batch see. A
    /// map, because an engine takes no key twice in one batch.
    writes: BTreeMap<(Space, Vec<u8>), Option<Bytes>>,
    /// Current versions of the resources that the batch writes.
    heads: HashMap<ResourceBytes, u64>,
    /// From which commit on what is written over is kept; `None`: nothing is.
    past_after: Option<CommitNumber>,
    /// What the view was asked already, and what was read ahead of the checks.
    known: Known,
}

/// What the view said already.
#[derive(Default)]
struct Known {
    heads: HashMap<ResourceBytes, Option<u64>>,
    rows: HashMap<(Space, Vec<u8>), Option<Bytes>>,
}

impl<'a> Batch<'a> {
    /// An empty batch on top of what `view` shows, which stands at `position`.
    pub(crate) fn new(
        view: &'a dyn View,
        position: Position,
        past_after: Option<CommitNumber>,
    ) -> Self {
        Self {
            view,
            position,
            writes: BTreeMap::new(),
            heads: HashMap::new(),
            past_after,
            known: Known::default(),
        }
    }

    /// As [`new`](Self::new) was told, or as the batch changes it.
    pub(crate) fn past_after(&self) -> Option<CommitNumber> {
        self.past_after
    }

    /// Reads what the checks of `works` will look at, where reading one by one is
    /// slow.
    pub(crate) fn read_ahead<'w>(
        &mut self,
        works: impl Iterator<Item = &'w Work>,
    ) -> Result<(), ReadError> {
        if !self.view.is_remote() {
            return Ok(());
        }
        let mut heads: BTreeSet<ResourceBytes> = BTreeSet::new();
        let mut rows: BTreeSet<(Space, Vec<u8>)> = BTreeSet::new();
        for work in works {
            let Work::Transaction(prepared) = work else { continue };
            heads.extend(prepared.puts.iter().map(|put| put.resource));
            for precondition in &prepared.preconditions {
                match precondition {
                    Precondition::CurrentVersion { key, .. } => {
                        heads.insert(layout::resource_bytes(key));
                    }
                    Precondition::RowAbsent { table, key }
                    | Precondition::RowEquals { table, key, .. } => {
                        rows.insert((Space::Rows, layout::row_key(*table, key)));
                    }
                    Precondition::Pending(message) => {
                        rows.insert((Space::Pending, layout::message_key(*message)));
                    }
                }
            }
            if let Some((message, ..)) = &prepared.finish {
                rows.insert((Space::Inbox, layout::message_key(*message)));
            }
        }
        let ranges = heads.iter().map(head_range).collect();
        for (resource, found) in heads.iter().zip(self.view.first_many(Space::Index, ranges)?) {
            let version = match found {
                Some((key, value)) => Some(layout::read_index(&key, &value)?.version),
                None => None,
            };
            self.known.heads.insert(*resource, version);
        }
        for space in [Space::Rows, Space::Pending, Space::Inbox] {
            let keys: Vec<Vec<u8>> =
                rows.iter().filter(|(of, _)| *of == space).map(|(_, key)| key.clone()).collect();
            let found = self.view.get_many(space, keys.clone())?;
            let mut found: HashMap<Vec<u8>, Bytes> =
                found.into_iter().map(|(key, value)| (key.to_vec(), value)).collect();
            for key in keys {
                let value = found.remove(&key);
                self.known.rows.insert((space, key), value);
            }
        }
        Ok(())
    }

    /// Where the store will stand.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The lowest message that the batch puts among those that wait.
    pub(crate) fn first_pending(&self) -> Option<MessageId> {
        let written = self.writes.range((Space::Pending, Vec::new())..);
        let mut waiting = written
            .take_while(|((space, _), _)| *space == Space::Pending)
            .filter(|(_, value)| value.is_some());
        let ((space, key), _) = waiting.next()?;
        layout::read_message_key(*space, key).ok()
    }

    /// Adds `work`, or says why it may not be written; then the batch is as it
    /// was before.
    pub(crate) fn admit(&mut self, work: Work) -> Result<Receipt, CommitError> {
        match work {
            Work::Transaction(prepared) => self.admit_transaction(prepared),
            Work::Keep { payload, body, digest } => Ok(self.admit_keep(&payload, body, &digest)),
            Work::Past(change) => {
                let keys = change.forgets(self.view)?;
                self.past_after = change.after;
                let (key, value) = past::note_after(change.after);
                self.set(Space::Past, key, value);
                keys.into_iter().for_each(|key| self.set(Space::Past, key, None));
                Ok(Receipt { position: self.position })
            }
        }
    }

    /// The changes in key order.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let writes = self.writes.into_iter();
        writes.map(|((space, key), value)| Write { space, key, value }).collect()
    }

    fn admit_keep(&mut self, payload: &KeptPayload, body: Bytes, digest: &[u8; 32]) -> Receipt {
        let message = MessageId(self.position.message.0 + 1);
        let position = self.position.next(digest, message);
        let key = layout::message_key(message);
        let row =
            layout::inbox_value(payload, position.commit, position.commit, KeptState::Pending, &[]);
        self.set(Space::Inbox, key.clone(), Some(row.into()));
        self.set(Space::Payloads, key.clone(), Some(body));
        self.set(Space::Pending, key, Some(Bytes::empty()));
        self.advance(CommitRow::new(position, *digest))
    }

    fn admit_transaction(&mut self, prepared: Prepared) -> Result<Receipt, CommitError> {
        for (index, precondition) in prepared.preconditions.iter().enumerate() {
            if !self.holds(precondition)? {
                return Err(CommitError::Precondition { index });
            }
        }
        for (index, put) in prepared.puts.iter().enumerate() {
            match self.current_version(&put.resource)? {
                Some(current) if current >= put.version => {
                    return Err(CommitError::VersionOrder { index, version: put.version, current });
                }
                _ => {}
            }
        }
        let finish = match prepared.finish {
            Some((message, state, outcome)) => {
                let row = self.inbox_row(message)?.ok_or(CommitError::UnknownMessage(message))?;
                if row.state.is_final() {
                    return Err(CommitError::Finished(message));
                }
                Some(KeptRow { state, outcome, ..row })
            }
            None => None,
        };
        self.keep_past(&prepared.rows, finish.as_ref().map(|row| row.message))?;
        // Nothing below can fail.
        let position = self.position.next(&prepared.digest, self.position.message);
        let mut commit = CommitRow::new(position, prepared.digest);
        commit.puts = prepared.puts.iter().map(|put| put.resource).collect();
        for put in prepared.puts {
            let key = layout::version_key(&put.resource, position.commit);
            self.heads.insert(put.resource, put.version);
            self.set(Space::Index, key.clone(), Some(put.index));
            self.set(Space::Bodies, key, Some(put.body));
        }
        for row in prepared.rows {
            let key = layout::row_key(row.table, &row.key);
            let value = row.value.map(|value| layout::row_value(position.commit, &value));
            commit.rows.insert(key.clone(), value.is_some());
            self.set(Space::Rows, key, value.map(Bytes::from));
        }
        if let Some(mut row) = finish {
            row.changed = position.commit;
            commit.finished = row.message;
            let key = layout::message_key(row.message);
            let waits = (row.state == KeptState::Pending).then(Bytes::empty);
            self.set(Space::Inbox, key.clone(), Some(layout::inbox_value_of(&row).into()));
            self.set(Space::Pending, key, waits);
        }
        Ok(self.advance(commit))
    }

    /// Sets aside what `rows` and the end of `message` are about to write over.
    fn keep_past(
        &mut self,
        rows: &[RowWrite],
        message: Option<MessageId>,
    ) -> Result<(), ReadError> {
        let Some(after) = self.past_after else { return Ok(()) };
        let keys = rows.iter().map(|row| (Space::Rows, layout::row_key(row.table, &row.key)));
        let inbox = message.map(|message| (Space::Inbox, layout::message_key(message)));
        let mut kept = Vec::new();
        for (space, key) in keys.chain(inbox) {
            let Some(value) = self.get(space, key.clone())? else { continue };
            let writer = past::writer_of(space, &key, &value)?;
            if writer > after {
                kept.push((past::key(writer, space, &key), value));
            }
        }
        kept.into_iter().for_each(|(key, value)| self.set(Space::Past, key, Some(value)));
        Ok(())
    }

    fn advance(&mut self, row: CommitRow) -> Receipt {
        let position = row.position;
        self.set(Space::Commits, CommitRow::key(position.commit), Some(row.value().into()));
        self.position = position;
        Receipt { position }
    }

    fn set(&mut self, space: Space, key: Vec<u8>, value: Option<Bytes>) {
        self.writes.insert((space, key), value);
    }

    fn get(&self, space: Space, key: Vec<u8>) -> Result<Option<Bytes>, ReadError> {
        let at = (space, key);
        match self.writes.get(&at).or_else(|| self.known.rows.get(&at)) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.view.get(space, &at.1)?),
        }
    }

    fn holds(&mut self, precondition: &Precondition) -> Result<bool, ReadError> {
        Ok(match precondition {
            Precondition::CurrentVersion { key, expected } => {
                self.current_version(&layout::resource_bytes(key))? == *expected
            }
            Precondition::RowAbsent { table, key } => {
                self.get(Space::Rows, layout::row_key(*table, key))?.is_none()
            }
            Precondition::RowEquals { table, key, value } => {
                let key = layout::row_key(*table, key);
                match self.get(Space::Rows, key.clone())? {
                    Some(found) => layout::read_row(&key, &found)?.1 == value.as_slice(),
                    None => false,
                }
            }
            Precondition::Pending(message) => {
                self.get(Space::Pending, layout::message_key(*message))?.is_some()
            }
        })
    }

    fn current_version(&mut self, resource: &ResourceBytes) -> Result<Option<u64>, ReadError> {
        if let Some(version) = self.heads.get(resource) {
            return Ok(Some(*version));
        }
        if let Some(version) = self.known.heads.get(resource) {
            return Ok(*version);
        }
        let (from, to) = head_range(resource);
        let version = match self.view.scan(Space::Index, &from, to.as_deref()).next() {
            Some(row) => {
                let (key, value) = row?;
                Some(layout::read_index(&key, &value)?.version)
            }
            None => None,
        };
        // A condition and the order of versions both ask, and a search is dear.
        self.known.heads.insert(*resource, version);
        Ok(version)
    }

    fn inbox_row(&self, message: MessageId) -> Result<Option<KeptRow>, ReadError> {
        let key = layout::message_key(message);
        let value = self.get(Space::Inbox, key.clone())?;
        value.map(|value| layout::read_inbox(&key, &value)).transpose()
    }
}

/// Where the versions of a resource lie, the newest first.
fn head_range(resource: &ResourceBytes) -> KeyRange {
    let from = layout::version_key(resource, CommitNumber(u64::MAX));
    (from, layout::after_prefix(resource))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use holdfast_base::{ElementClass, PatientId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{Durability, Engine, FjallEngine};
    use crate::model::SealedVersion;
    use crate::transaction::Table;

    #[derive(Debug, Clone)]
    enum Step {
        Commit(Transaction),
        Keep(KeptPayload),
    }

    fn resource(token: u8) -> ResourceKey {
        ResourceKey {
            organization: 1,
            patient: PatientId::from_bytes([2; 16]),
            type_code: 3,
            id_token: [token; 16],
        }
    }

    fn sealed(version: u64) -> SealedVersion {
        SealedVersion {
            version,
            deleted: version == 3,
            last_updated: Timestamp::from_millis(1),
            parts: vec![(ElementClass::Clinical, vec![version as u8; 3])],
            index: vec![],
            id_sealed: vec![],
        }
    }

    fn precondition() -> impl Strategy<Value = Precondition> {
        let row = (0..2u8, 0..2u8);
        prop_oneof![
            (0..3u8, proptest::option::of(1..4u64)).prop_map(|(token, expected)| {
                Precondition::CurrentVersion { key: resource(token), expected }
            }),
            row.clone().prop_map(|(key, _)| Precondition::RowAbsent {
                table: Table::Dedupe,
                key: vec![key]
            }),
            row.prop_map(|(key, value)| Precondition::RowEquals {
                table: Table::Dedupe,
                key: vec![key],
                value: vec![value]
            }),
            (1..4u64).prop_map(|message| Precondition::Pending(MessageId(message))),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let puts = proptest::collection::btree_map(0..3u8, 1..4u64, 0..3).prop_map(|puts| {
            puts.into_iter().map(|(token, version)| (resource(token), sealed(version))).collect()
        });
        let row = (0..2u8, proptest::option::of(0..2u8)).prop_map(|(key, value)| RowWrite {
            table: Table::Dedupe,
            key: vec![key],
            value: value.map(|value| vec![value]),
        });
        let state = prop_oneof![
            Just(KeptState::Pending),
            Just(KeptState::Accepted),
            Just(KeptState::Review)
        ];
        let finish =
            (1..4u64, state).prop_map(|(message, state)| (MessageId(message), state, vec![7]));
        let transaction = (
            puts,
            proptest::collection::vec(row, 0..3),
            proptest::collection::vec(precondition(), 0..2),
            proptest::option::weighted(0.3, finish),
        )
            .prop_map(|(puts, rows, preconditions, finish)| {
                Step::Commit(Transaction { puts, rows, preconditions, finish })
            });
        let keep = Just(Step::Keep(KeptPayload {
            organization: 1,
            received: Timestamp::from_millis(5),
            format: 1,
            meta_sealed: vec![1],
            payload_sealed: vec![2; 9],
        }));
        prop_oneof![4 => transaction, 1 => keep]
    }

    /// Writes the steps in batches of `size` and says how each one ended.
    fn run(engine: &FjallEngine, steps: &[Step], size: usize) -> Vec<String> {
        let mut position = Position::genesis(&[0; 16]);
        let mut ends = Vec::new();
        for steps in steps.chunks(size) {
            let view = engine.view();
            let mut batch = Batch::new(view.as_ref(), position, Some(CommitNumber(0)));
            for step in steps {
                let (work, _) = match step {
                    Step::Commit(transaction) => Work::transaction(transaction.clone()).unwrap(),
                    Step::Keep(payload) => Work::keep(payload).unwrap(),
                };
                ends.push(format!("{:?}", batch.admit(work)));
            }
            position = batch.position();
            engine.write(&batch.into_writes(), Durability::Buffered).unwrap();
        }
        ends
    }

    fn dump(engine: &FjallEngine) -> Vec<(Space, Vec<u8>, Vec<u8>)> {
        let view = engine.view();
        let rows = Space::ALL.into_iter().flat_map(|space| {
            let rows = view.scan(space, &[], None).map(move |row| (space, row.unwrap()));
            rows.collect::<Vec<_>>()
        });
        rows.map(|(space, (key, value))| (space, key.to_vec(), value.to_vec())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn one_batch_of_many_is_many_batches_of_one(
            steps in proptest::collection::vec(step(), 1..24),
        ) {
            let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let one = FjallEngine::open(one.path()).unwrap();
            let many = FjallEngine::open(many.path()).unwrap();
            prop_assert_eq!(run(&one, &steps, 1), run(&many, &steps, steps.len()));
            prop_assert_eq!(dump(&one), dump(&many));
        }
    }

    #[test]
    fn what_nobody_could_write_is_refused_before_it_waits() {
        let twice = Transaction {
            puts: vec![(resource(1), sealed(1)), (resource(1), sealed(2))],
            ..Transaction::default()
        };
        assert!(matches!(Work::transaction(twice), Err(CommitError::Malformed { .. })));
        let zero = Transaction { puts: vec![(resource(1), sealed(0))], ..Transaction::default() };
        assert!(matches!(Work::transaction(zero), Err(CommitError::Malformed { .. })));
        for key in [vec![], vec![0; ROW_KEY_BYTES_MAX + 1]] {
            let row = RowWrite { table: Table::Link, key, value: None };
            let odd = Transaction { rows: vec![row], ..Transaction::default() };
            assert!(matches!(Work::transaction(odd), Err(CommitError::Malformed { .. })));
        }
        let row =
            RowWrite { table: Table::Link, key: vec![1], value: Some(vec![0; COMMIT_BYTES_MAX]) };
        let huge = Transaction { rows: vec![row], ..Transaction::default() };
        assert!(matches!(Work::transaction(huge), Err(CommitError::TooLarge { .. })));
    }
}
