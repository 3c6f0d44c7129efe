//! Is the store what was written? A part of it at every open, all of it on
//! request.

use std::collections::HashSet;

use holdfast_base::{CommitNumber, MessageId};

use crate::chain::{CommitRow, Position};
use crate::engine::{Space, View};
use crate::error::{OpenError, ReadError};
use crate::layout::{self, ResourceBytes, damaged};
use crate::model::KeptState;

/// How many of the newest commits are checked at open: what a crash or a
/// damaged journal concerns, in well under a second.
const RECENT_COMMITS: u64 = 4096;
/// How many of the newest commits' versions and payloads are looked up at open.
const RECENT_ITEMS_MAX: usize = 8192;

/// What a full check found to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Commits, all linked.
    pub commits_count: u64,
    /// Versions, each with its body and its commit.
    pub versions_count: u64,
    /// Generic rows, each as its newest commit made it.
    pub rows_count: u64,
    /// Kept payloads.
    pub messages_count: u64,
    /// Those that wait to be processed.
    pub pending_count: u64,
}

/// Where the engine stands: after its newest commit row.
pub(crate) fn newest(view: &dyn View, store_id: &[u8; 16]) -> Result<Position, ReadError> {
    match view.scan(Space::Commits, &[], None).next_back() {
        Some(row) => {
            let (key, value) = row?;
            Ok(CommitRow::read(&key, &value)?.position)
        }
        None => Ok(Position::genesis(store_id)),
    }
}

/// Where the store stood after `commit`.
pub(crate) fn position_at(
    view: &dyn View,
    store_id: &[u8; 16],
    commit: CommitNumber,
) -> Result<Option<Position>, ReadError> {
    if commit == CommitNumber(0) {
        return Ok(Some(Position::genesis(store_id)));
    }
    let key = CommitRow::key(commit);
    let value = view.get(Space::Commits, &key)?;
    value.map(|value| Ok(CommitRow::read(&key, &value)?.position)).transpose()
}

/// The row of `commit`.
pub(crate) fn commit_row(
    view: &dyn View,
    commit: CommitNumber,
) -> Result<Option<CommitRow>, ReadError> {
    let key = CommitRow::key(commit);
    view.get(Space::Commits, &key)?.map(|value| CommitRow::read(&key, &value)).transpose()
}

/// Checks the links of the newest commits and that what they wrote is there.
pub(crate) fn recent(
    view: &dyn View,
    store_id: &[u8; 16],
    end: &Position,
) -> Result<(), ReadError> {
    if let Some(first) = view.keys(Space::Commits, &[], None).next().transpose()?
        && *first != *CommitRow::key(CommitNumber(1))
    {
        return Err(damaged(Space::Commits, &first, "the first commit is missing"));
    }
    let start = CommitNumber(end.commit.0.saturating_sub(RECENT_COMMITS));
    let mut before = position_at(view, store_id, start)?
        .ok_or_else(|| damaged(Space::Commits, &CommitRow::key(start), "the row is missing"))?;
    for row in commit_rows(view, CommitNumber(start.0 + 1)) {
        let row = row?;
        linked(&row, &before)?;
        before = row.position;
    }
    let mut items = 0;
    let (mut rows_seen, mut messages_seen) = (HashSet::new(), HashSet::new());
    let mut rows = view.scan(Space::Commits, &CommitRow::key(start), None).rev().peekable();
    while let Some(row) = rows.next() {
        let (key, value) = row?;
        let row = CommitRow::read(&key, &value)?;
        for put in &row.puts {
            present(view, put, row.position.commit)?;
        }
        // At most one message a commit, and only if the number grew.
        let earlier = match rows.peek() {
            Some(Ok((key, value))) => CommitRow::read(key, value)?.position.message,
            _ if row.position.commit == CommitNumber(1) => MessageId(0),
            _ => row.position.message,
        };
        if row.position.message > earlier && messages_seen.insert(row.position.message) {
            kept(view, row.position.message, row.position.commit)?;
        }
        if row.finished != MessageId(0) && messages_seen.insert(row.finished) {
            kept(view, row.finished, row.position.commit)?;
        }
        items += row.puts.len() + row.rows.len() + 1;
        // Newest first: the first write of a row that is met is the one that counts.
        for (key, written) in row.rows {
            if !rows_seen.contains(&key) {
                row_is_newest(view, &key, row.position.commit, written)?;
                rows_seen.insert(key);
            }
        }
        if items >= RECENT_ITEMS_MAX {
            break;
        }
    }
    Ok(())
}

/// Checks that the newest acknowledged commit is there, and is the same.
pub(crate) fn acknowledged(
    view: &dyn View,
    store_id: &[u8; 16],
    end: &Position,
    acknowledged: CommitNumber,
    chain: &[u8; 32],
) -> Result<(), OpenError> {
    if acknowledged > end.commit {
        return Err(OpenError::Lost { acknowledged, found: end.commit });
    }
    match position_at(view, store_id, acknowledged)? {
        Some(position) if position.chain == *chain => Ok(()),
        _ => Err(OpenError::Damaged {
            place: layout::place(Space::Commits, &CommitRow::key(acknowledged)),
            what: "the row is not the one that was acknowledged",
        }),
    }
}

/// Checks everything up to `end`, which is where `view` stands.
pub(crate) fn everything(
    view: &dyn View,
    store_id: &[u8; 16],
    end: &Position,
) -> Result<CheckReport, ReadError> {
    let mut report = CheckReport::default();
    let mut before = Position::genesis(store_id);
    let mut puts_count = 0;
    let mut rows = RowsCheck::default();
    for row in commit_rows(view, CommitNumber(0)) {
        let row = row?;
        linked(&row, &before)?;
        for put in &row.puts {
            present(view, put, row.position.commit)?;
        }
        puts_count += row.puts.len() as u64;
        for (key, written) in row.rows {
            rows.meet(view, key, row.position.commit, written)?;
        }
        if row.finished != MessageId(0) {
            changed(view, row.finished, row.position.commit)?;
        }
        before = row.position;
    }
    if before != *end {
        return Err(damaged(Space::Commits, &CommitRow::key(end.commit), "the row is missing"));
    }
    report.commits_count = end.commit.0;
    report.versions_count = versions(view)?;
    if report.versions_count != puts_count {
        return Err(damaged(Space::Index, &[], "a version belongs to no commit"));
    }
    for key in view.keys(Space::Rows, &[], None) {
        key?;
        report.rows_count += 1;
    }
    rows.end(report.rows_count)?;
    (report.messages_count, report.pending_count) = messages(view, end.message)?;
    Ok(report)
}

/// Follows the generic rows through all commits, oldest first.
#[derive(Default)]
struct RowsCheck {
    /// Rows whose present value was met.
    newest_count: u64,
    /// Rows that were met, are not there now and whose deletion is still to come.
    /// Bounded by how many such rows there were at any one time.
    vanished: HashSet<Vec<u8>>,
}

impl RowsCheck {
    fn meet(
        &mut self,
        view: &dyn View,
        key: Vec<u8>,
        commit: CommitNumber,
        written: bool,
    ) -> Result<(), ReadError> {
        match written_by(view, &key)? {
            Some(by) if by < commit || (by == commit && !written) => {
                return Err(damaged(Space::Rows, &key, "an older value came back"));
            }
            Some(by) => self.newest_count += u64::from(by == commit),
            None if written => {
                self.vanished.insert(key);
            }
            None => {
                self.vanished.remove(&key);
            }
        }
        Ok(())
    }

    fn end(self, rows_count: u64) -> Result<(), ReadError> {
        if let Some(key) = self.vanished.iter().next() {
            return Err(damaged(Space::Rows, key, "the row is missing"));
        }
        if self.newest_count != rows_count {
            return Err(damaged(Space::Rows, &[], "a row belongs to no commit"));
        }
        Ok(())
    }
}

/// A message was not changed earlier than by `commit`.
fn changed(view: &dyn View, message: MessageId, commit: CommitNumber) -> Result<(), ReadError> {
    let key = layout::message_key(message);
    match view.get(Space::Inbox, &key)? {
        Some(value) if layout::read_inbox(&key, &value)?.changed >= commit => Ok(()),
        Some(_) => Err(damaged(Space::Inbox, &key, "an older state came back")),
        None => Err(damaged(Space::Inbox, &key, "a kept payload is missing")),
    }
}

/// Walks versions and bodies side by side: same keys, readable values, version
/// numbers that grow.
fn versions(view: &dyn View) -> Result<u64, ReadError> {
    let mut bodies = view.scan(Space::Bodies, &[], None);
    let mut newer: Option<crate::IndexRow> = None;
    let mut count = 0;
    for row in view.scan(Space::Index, &[], None) {
        let (key, value) = row?;
        let row = layout::read_index(&key, &value)?;
        match bodies.next().transpose()? {
            Some((body_key, body)) if body_key == key => {
                layout::read_body(&key, &body, row.version)?;
            }
            _ => return Err(damaged(Space::Bodies, &key, "the body is missing")),
        }
        if newer.is_some_and(|newer| newer.key == row.key && newer.version <= row.version) {
            return Err(damaged(Space::Index, &key, "version numbers do not grow"));
        }
        newer = Some(row);
        count += 1;
    }
    match bodies.next().transpose()? {
        Some((key, _)) => Err(damaged(Space::Bodies, &key, "the body belongs to no version")),
        None => Ok(count),
    }
}

/// Walks the inbox: numbers without a gap up to `last`, each with its payload,
/// and among those that wait exactly if its state says so.
fn messages(view: &dyn View, last: MessageId) -> Result<(u64, u64), ReadError> {
    let mut payloads = view.scan(Space::Payloads, &[], None);
    let mut pending = view.keys(Space::Pending, &[], None).peekable();
    let (mut count, mut pending_count) = (0, 0);
    for row in view.scan(Space::Inbox, &[], None) {
        let (key, value) = row?;
        let row = layout::read_inbox(&key, &value)?;
        count += 1;
        if row.message.0 != count {
            return Err(damaged(Space::Inbox, &key, "a message before this one is missing"));
        }
        match payloads.next().transpose()? {
            Some((payload_key, _)) if payload_key == key => {}
            _ => return Err(damaged(Space::Payloads, &key, "the payload is missing")),
        }
        let waits = matches!(pending.peek(), Some(Ok(next)) if *next == key);
        if waits != (row.state == KeptState::Pending) {
            return Err(damaged(Space::Pending, &key, "the state in the inbox differs"));
        }
        if waits {
            pending.next();
            pending_count += 1;
        }
    }
    if count != last.0 {
        let key = layout::message_key(last);
        return Err(damaged(Space::Inbox, &key, "the last messages are missing"));
    }
    match pending.next().transpose()? {
        Some(key) => Err(damaged(Space::Pending, &key, "no such message was kept")),
        None => Ok((count, pending_count)),
    }
}

pub(crate) fn commit_rows(
    view: &dyn View,
    from: CommitNumber,
) -> impl Iterator<Item = Result<CommitRow, ReadError>> {
    view.scan(Space::Commits, &CommitRow::key(from), None).map(|row| {
        let (key, value) = row?;
        CommitRow::read(&key, &value)
    })
}

pub(crate) fn linked(row: &CommitRow, before: &Position) -> Result<(), ReadError> {
    let key = CommitRow::key(CommitNumber(before.commit.0 + 1));
    if row.position.commit.0 != before.commit.0 + 1 {
        return Err(damaged(Space::Commits, &key, "the row is missing"));
    }
    if !row.follows(before) {
        return Err(damaged(Space::Commits, &key, "the chain hash does not fit"));
    }
    Ok(())
}

fn present(
    view: &dyn View,
    resource: &ResourceBytes,
    commit: CommitNumber,
) -> Result<(), ReadError> {
    let key = layout::version_key(resource, commit);
    for space in [Space::Index, Space::Bodies] {
        if !view.contains(space, &key)? {
            return Err(damaged(space, &key, "a committed version is missing"));
        }
    }
    Ok(())
}

/// A generic row whose newest write was by `commit` is what that commit made it.
fn row_is_newest(
    view: &dyn View,
    key: &[u8],
    commit: CommitNumber,
    written: bool,
) -> Result<(), ReadError> {
    let found = written_by(view, key)?;
    if found == written.then_some(commit) {
        Ok(())
    } else {
        Err(damaged(Space::Rows, key, "the row is not what its newest commit made it"))
    }
}

/// The commit that wrote what a generic row holds now.
fn written_by(view: &dyn View, key: &[u8]) -> Result<Option<CommitNumber>, ReadError> {
    match view.get(Space::Rows, key)? {
        Some(value) => Ok(Some(layout::read_row(key, &value)?.0)),
        None => Ok(None),
    }
}

/// A message whose newest change was by `changed` is what that commit made it.
fn kept(view: &dyn View, message: MessageId, changed: CommitNumber) -> Result<(), ReadError> {
    let key = layout::message_key(message);
    let row = match view.get(Space::Inbox, &key)? {
        Some(value) => layout::read_inbox(&key, &value)?,
        None => return Err(damaged(Space::Inbox, &key, "a kept payload is missing")),
    };
    if row.changed != changed {
        return Err(damaged(Space::Inbox, &key, "the row is not what its newest commit made it"));
    }
    if !view.contains(Space::Payloads, &key)? {
        return Err(damaged(Space::Payloads, &key, "a kept payload is missing"));
    }
    if view.contains(Space::Pending, &key)? != (row.state == KeptState::Pending) {
        return Err(damaged(Space::Pending, &key, "the state in the inbox differs"));
    }
    Ok(())
}
