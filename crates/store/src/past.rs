//! What was written over: generic rows and message states as earlier commits
//! wrote them, kept until a backup has them. So a backup can tell every commit
//! since the last one exactly, and a restore can stop between two backups.
//!
//! Nothing is kept until somebody asks for it ([`Store::keep_past`]).

use holdfast_base::CommitNumber;

use crate::apply::Work;
use crate::codec::{In, Out};
use crate::engine::{Bytes, Space, View};
use crate::error::{CommitError, ReadError};
use crate::layout;
use crate::store::Store;

/// Keys that one change deletes: bounds the batch that it is part of.
const FORGET_KEYS_MAX: usize = 4_096;
/// Space number of the store's own notes; no commit has the number 0.
const NOTES: u8 = 0xff;

/// The key of what `writer` wrote at `key`.
pub(crate) fn key(writer: CommitNumber, space: Space, key: &[u8]) -> Vec<u8> {
    Out::with_capacity(9 + key.len()).u64(writer.0).u8(space as u8).raw(key).done()
}

/// The key of a note of the store's own.
pub(crate) fn note_key(name: &str) -> Vec<u8> {
    Out::default().u64(0).u8(NOTES).raw(name.as_bytes()).done()
}

/// The note that says from which commit on the past is kept.
pub(crate) fn note_after(after: Option<CommitNumber>) -> (Vec<u8>, Option<Bytes>) {
    let value = after.map(|after| Bytes::from(&after.0.to_be_bytes()[..]));
    (note_key("past-after"), value)
}

/// What [`note_after`] wrote last.
pub(crate) fn read_after(view: &dyn View) -> Result<Option<CommitNumber>, ReadError> {
    let (key, _) = note_after(None);
    let Some(value) = view.get(Space::Past, &key)? else { return Ok(None) };
    let after = In::new(&value).u64().map(CommitNumber);
    after.map(Some).ok_or_else(|| layout::damaged(Space::Past, &key, "the value has another form"))
}

/// The commit that wrote `value`.
pub(crate) fn writer_of(space: Space, key: &[u8], value: &[u8]) -> Result<CommitNumber, ReadError> {
    match space {
        Space::Inbox => Ok(layout::read_inbox(key, value)?.changed),
        _ => Ok(layout::read_row(key, value)?.0),
    }
}

/// What `commit` wrote at `key`: what is there now, or what was kept of it.
pub(crate) fn as_written(
    view: &dyn View,
    space: Space,
    at: &[u8],
    commit: CommitNumber,
) -> Result<Option<Bytes>, ReadError> {
    if let Some(value) = view.get(space, at)?
        && writer_of(space, at, &value)? == commit
    {
        return Ok(Some(value));
    }
    Ok(view.get(Space::Past, &key(commit, space, at))?)
}

/// Keeps the past of later commits than `after`, or of none, and forgets the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub after: Option<CommitNumber>,
}

impl Change {
    /// Keys that are to be forgotten, some at a time.
    pub(crate) fn forgets(&self, view: &dyn View) -> Result<Vec<Vec<u8>>, ReadError> {
        let from = CommitNumber(1).0.to_be_bytes();
        let to = self.after.map(|after| (after.0 + 1).to_be_bytes());
        let keys = view.keys(Space::Past, &from, to.as_ref().map(|to| &to[..]));
        keys.take(FORGET_KEYS_MAX).map(|key| Ok(key?.to_vec())).collect()
    }
}

impl Store {
    /// From now on keeps what commits after `after` write and later ones write
    /// over; forgets what was kept of earlier ones. `None` keeps nothing. Durable
    /// on return.
    ///
    /// # Errors
    /// [`CommitError`].
    pub fn keep_past(&self, after: Option<CommitNumber>) -> Result<(), CommitError> {
        let change = Change { after };
        loop {
            self.shared.queue.submit(Work::Past(change), 0)?;
            let pinned = self.shared.published.read().clone();
            if change.forgets(pinned.view.as_ref())?.is_empty() {
                return Ok(());
            }
        }
    }

    /// What [`keep_past`](Self::keep_past) was told last.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn past_after(&self) -> Result<Option<CommitNumber>, ReadError> {
        read_after(self.shared.published.read().view.as_ref())
    }
}
