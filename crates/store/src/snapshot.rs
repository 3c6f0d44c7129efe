//! Reads at one commit.

use std::sync::Arc;

use holdfast_base::{CommitNumber, MessageId, PatientId};

use crate::chain::Position;
use crate::engine::{Engine, Scan, Space, View};
use crate::error::ReadError;
use crate::folder::Folder;
use crate::layout::{self, after_prefix, damaged, resource_bytes, version_key};
use crate::model::{IndexRow, Kept, KeptRow, ResourceKey, Stored};
use crate::recent::Recent;
use crate::transaction::Table;

/// A consistent view of the engine and where the store stood. Keeps the engine
/// and the folder's lock alive (in this order of fields: view first).
pub(crate) struct Pinned {
    pub(crate) view: Box<dyn View>,
    pub(crate) position: Position,
    /// No message before this one waits. Deleted keys cost a scan as much as
    /// others until they are compacted away; this passes them over.
    pub(crate) pending_from: MessageId,
    pub(crate) store_id: [u8; 16],
    pub(crate) recent: Arc<Recent>,
    _engine: Arc<dyn Engine>,
    _folder: Arc<Folder>,
}

impl Pinned {
    /// `view` stands at `position`, and no message before `pending_from` waits.
    pub(crate) fn new(
        view: Box<dyn View>,
        position: Position,
        pending_from: MessageId,
        store_id: [u8; 16],
        recent: Arc<Recent>,
        engine: Arc<dyn Engine>,
        folder: Arc<Folder>,
    ) -> Self {
        let first = view.keys(Space::Pending, &layout::message_key(pending_from), None).next();
        let pending_from = match first {
            None => MessageId(position.message.0 + 1),
            // What cannot be read now is reported by who scans.
            Some(key) => key
                .map_err(ReadError::from)
                .and_then(|key| layout::read_message_key(Space::Pending, &key))
                .unwrap_or(pending_from),
        };
        Self { view, position, pending_from, store_id, recent, _engine: engine, _folder: folder }
    }
}

/// The store as it was after one commit. Later commits never show; a clone sees
/// the same.
#[derive(Clone)]
pub struct Snapshot {
    pinned: Arc<Pinned>,
    commit: CommitNumber,
}

impl Snapshot {
    pub(crate) fn at(pinned: Arc<Pinned>, commit: CommitNumber) -> Self {
        Self { pinned, commit }
    }

    pub(crate) fn view(&self) -> &dyn View {
        self.pinned.view.as_ref()
    }

    pub(crate) fn store_id(&self) -> &[u8; 16] {
        &self.pinned.store_id
    }

    /// The commit that it shows: *t*.
    pub fn commit(&self) -> CommitNumber {
        self.commit
    }

    /// The current version of a resource; one that says "deleted" is a version.
    ///
    /// # Errors
    /// [`ReadError`] when the store is damaged or the engine fails, here and in
    /// every other read.
    pub fn current(&self, key: &ResourceKey) -> Result<Option<Stored>, ReadError> {
        let resource = resource_bytes(key);
        if let Some(held) = self.pinned.recent.get(&resource, self.commit) {
            return Ok(Some(Stored::clone(&held)));
        }
        let Some(row) = self.current_index(key)? else { return Ok(None) };
        let stored = Arc::new(self.body(row)?);
        self.pinned.recent.put(resource, Arc::clone(&stored), self.commit);
        Ok(Some(Arc::unwrap_or_clone(stored)))
    }

    /// [`current`](Self::current) without the body.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn current_index(&self, key: &ResourceKey) -> Result<Option<IndexRow>, ReadError> {
        self.rows_of(key).next().transpose()
    }

    /// The version with this number, if it had been written.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn version(&self, key: &ResourceKey, version: u64) -> Result<Option<Stored>, ReadError> {
        for row in self.rows_of(key) {
            let row = row?;
            if row.version <= version {
                return (row.version == version).then(|| self.body(row)).transpose();
            }
        }
        Ok(None)
    }

    /// Whether the version with this number had been written; its body is not read.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn has_version(&self, key: &ResourceKey, version: u64) -> Result<bool, ReadError> {
        for row in self.rows_of(key) {
            let row = row?;
            if row.version <= version {
                return Ok(row.version == version);
            }
        }
        Ok(false)
    }

    /// Every version without its body, newest first.
    pub fn versions(
        &self,
        key: &ResourceKey,
    ) -> impl Iterator<Item = Result<IndexRow, ReadError>> + use<> {
        let pinned = self.pinned.clone();
        self.rows_of(key).inspect(move |_| {
            let _alive = &pinned;
        })
    }

    /// Every version of a patient's resources, or of those of one type, in key order and
    /// without bodies: of each resource the newest first.
    pub fn scan_versions(
        &self,
        organization: u32,
        patient: PatientId,
        type_code: Option<u16>,
    ) -> impl Iterator<Item = Result<IndexRow, ReadError>> + Send + use<> {
        let prefix = layout::patient_prefix(organization, patient, type_code);
        let rows = self.pinned.view.scan(Space::Index, &prefix, after_prefix(&prefix).as_deref());
        let (pinned, commit) = (self.pinned.clone(), self.commit);
        rows.filter_map(move |row| {
            let _alive = &pinned;
            let read = row.map_err(ReadError::from).and_then(|(key, value)| {
                let (_, written) = layout::read_version_key(Space::Index, &key)?;
                if written > commit {
                    return Ok(None);
                }
                layout::read_index(&key, &value).map(Some)
            });
            read.transpose()
        })
    }

    /// Every version, newest first; empty when there is none.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn history(&self, key: &ResourceKey) -> Result<Vec<Stored>, ReadError> {
        self.rows_of(key).map(|row| self.body(row?)).collect()
    }

    /// The version that `row` (of this store) stands for, with its body.
    ///
    /// # Errors
    /// As [`current`](Self::current); a missing body is damage.
    pub fn body(&self, row: IndexRow) -> Result<Stored, ReadError> {
        let key = version_key(&resource_bytes(&row.key), row.commit);
        let value = self.pinned.view.get(Space::Bodies, &key)?;
        let value = value.ok_or_else(|| damaged(Space::Bodies, &key, "the body is missing"))?;
        let parts = layout::read_body(&key, &value, row.version)?;
        let IndexRow { key, version, deleted, last_updated, commit, index, id_sealed } = row;
        let sealed =
            crate::SealedVersion { version, deleted, last_updated, parts, index, id_sealed };
        Ok(Stored { key, commit, sealed })
    }

    /// The current versions of a patient's resources, or of those of one type,
    /// in key order and without bodies. Deleted ones are among them and say so.
    /// After an error the iterator ends.
    pub fn scan_current(
        &self,
        organization: u32,
        patient: PatientId,
        type_code: Option<u16>,
    ) -> impl Iterator<Item = Result<IndexRow, ReadError>> + Send + use<> {
        let prefix = layout::patient_prefix(organization, patient, type_code);
        let rows = self.pinned.view.scan(Space::Index, &prefix, after_prefix(&prefix).as_deref());
        Current { rows, _pinned: self.pinned.clone(), commit: self.commit, last: None }
    }

    /// A row of a table.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn row(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        let key = layout::row_key(table, key);
        match self.pinned.view.get(Space::Rows, &key)? {
            Some(value) => Ok(Some(layout::read_row(&key, &value)?.1.to_vec())),
            None => Ok(None),
        }
    }

    /// The rows of a table whose keys start with `prefix`, in key order; an
    /// empty prefix means all. Yields whole keys.
    pub fn scan_rows(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), ReadError>> + Send + use<> {
        let prefix = layout::row_key(table, prefix);
        let rows = self.pinned.view.scan(Space::Rows, &prefix, after_prefix(&prefix).as_deref());
        let pinned = self.pinned.clone();
        rows.map(move |row| {
            let _alive = &pinned;
            let (key, value) = row?;
            Ok((key[1..].to_vec(), layout::read_row(&key, &value)?.1.to_vec()))
        })
    }

    /// As [`scan_rows`](Self::scan_rows), with the commit that wrote each row.
    pub fn scan_written(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, CommitNumber, Vec<u8>), ReadError>> + Send + use<>
    {
        let prefix = layout::row_key(table, prefix);
        let rows = self.pinned.view.scan(Space::Rows, &prefix, after_prefix(&prefix).as_deref());
        let pinned = self.pinned.clone();
        rows.map(move |row| {
            let _alive = &pinned;
            let (key, value) = row?;
            let (commit, value) = layout::read_row(&key, &value)?;
            Ok((key[1..].to_vec(), commit, value.to_vec()))
        })
    }

    /// A kept payload.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn kept(&self, message: MessageId) -> Result<Option<Kept>, ReadError> {
        let Some(row) = self.kept_row(message)? else { return Ok(None) };
        let key = layout::message_key(message);
        let payload = self.pinned.view.get(Space::Payloads, &key)?;
        let payload =
            payload.ok_or_else(|| damaged(Space::Payloads, &key, "the payload is missing"))?;
        Ok(Some(Kept { row, payload_sealed: payload.to_vec() }))
    }

    /// [`kept`](Self::kept) without the payload.
    ///
    /// # Errors
    /// As [`current`](Self::current).
    pub fn kept_row(&self, message: MessageId) -> Result<Option<KeptRow>, ReadError> {
        let key = layout::message_key(message);
        let value = self.pinned.view.get(Space::Inbox, &key)?;
        value.map(|value| layout::read_inbox(&key, &value)).transpose()
    }

    /// The messages that wait to be processed, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = Result<MessageId, ReadError>> + Send + use<> {
        let from = layout::message_key(self.pinned.pending_from);
        let rows = self.pinned.view.keys(Space::Pending, &from, None);
        let pinned = self.pinned.clone();
        rows.map(move |key| {
            let _alive = &pinned;
            layout::read_message_key(Space::Pending, &key?)
        })
    }

    /// Kept payloads (without the payloads) numbered `from` or higher, oldest
    /// first; `.rev()` starts with the newest.
    pub fn kept_range(
        &self,
        from: MessageId,
    ) -> impl DoubleEndedIterator<Item = Result<KeptRow, ReadError>> + Send + use<> {
        self.kept_between(from, None)
    }

    /// As [`kept_range`](Self::kept_range), of those numbered below `before`.
    pub fn kept_between(
        &self,
        from: MessageId,
        before: Option<MessageId>,
    ) -> impl DoubleEndedIterator<Item = Result<KeptRow, ReadError>> + Send + use<> {
        let (from, to) = (layout::message_key(from), before.map(layout::message_key));
        let rows = self.pinned.view.scan(Space::Inbox, &from, to.as_deref());
        let pinned = self.pinned.clone();
        rows.map(move |row| {
            let _alive = &pinned;
            let (key, value) = row?;
            layout::read_inbox(&key, &value)
        })
    }

    /// Index rows of one resource, newest first, from what was current at *t*.
    fn rows_of(
        &self,
        key: &ResourceKey,
    ) -> impl Iterator<Item = Result<IndexRow, ReadError>> + Send + use<> {
        let resource = resource_bytes(key);
        let from = version_key(&resource, self.commit);
        let to = after_prefix(&resource);
        self.pinned.view.scan(Space::Index, &from, to.as_deref()).map(|row| {
            let (key, value) = row?;
            layout::read_index(&key, &value)
        })
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("commit", &self.commit).finish_non_exhaustive()
    }
}

/// Of each resource the newest version that is not younger than the snapshot.
struct Current {
    rows: Scan,
    _pinned: Arc<Pinned>,
    commit: CommitNumber,
    /// The resource that was yielded last: its older versions are passed over.
    last: Option<ResourceKey>,
}

impl Iterator for Current {
    type Item = Result<IndexRow, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = self.rows.next()?.map_err(ReadError::from).and_then(|(key, value)| {
                let (resource, commit) = layout::read_version_key(Space::Index, &key)?;
                if commit > self.commit || self.last == Some(resource) {
                    return Ok(None);
                }
                self.last = Some(resource);
                layout::read_index(&key, &value).map(Some)
            });
            match found {
                Ok(None) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err(error) => {
                    self.rows = Box::new(std::iter::empty());
                    return Some(Err(error));
                }
            }
        }
    }
}
