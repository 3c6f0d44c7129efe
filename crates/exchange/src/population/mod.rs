//! The index over all patients of an organization, as the front process keeps it:
//! sealed rows that it can add to and cannot read. What they hold, and who reads
//! them, is the keeper's.
//!
//! Rows of [`Table::Population`], each key after the organization's ordinal:
//! `m` the manifest, `d` ‖ name a delta, `b` ‖ run ‖ number a block, `f` ‖ run ‖
//! number a piece of a run's directory.
//!
//! Invariant: the manifest names exactly the runs that count; one transaction
//! takes the deltas and runs away that another run holds from then on.

mod build;
mod upkeep;

use holdfast_base::{CommitNumber, ElementClass, PatientId, Timestamp, fill_random};
use holdfast_fhir::search::{self, IndexEntry};
use holdfast_keeper::{
    Delta, DeltaRef, IndexedResource, Needed, PatientKeys, PostedResource, RunRef,
};
use holdfast_store::{
    IndexRow, Precondition, ResourceKey, RowWrite, Snapshot, Stored, Table, Transaction,
};
use serde::{Deserialize, Serialize};

use crate::ExchangeError;
use crate::disclose::{OpenRow, is_about_no_patient};
use crate::people::Organization;
use crate::state::Exchange;

/// A run of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub run: [u8; 16],
    pub blocks: u32,
    pub pieces: u32,
}

/// A run in the making.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    pub output: Run,
    pub runs: Vec<Run>,
    pub deltas: Vec<DeltaRef>,
    pub step: u32,
}

/// What belongs to the index of one organization.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The commit after which every transaction carries its delta.
    pub since: CommitNumber,
    /// Whether what was there before is in the index, too.
    pub ready: bool,
    /// The last patient whose earlier record is in the index.
    pub built_to: Option<PatientId>,
    pub runs: Vec<Run>,
    pub work: Option<Work>,
    /// Runs whose rows are to be deleted.
    pub trash: Vec<Run>,
}

fn key(organization: &Organization, kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut key = organization.ordinal.to_be_bytes().to_vec();
    key.push(kind);
    rest.iter().for_each(|part| key.extend_from_slice(part));
    key
}

fn needed_key(organization: &Organization, needed: &Needed) -> Vec<u8> {
    match needed {
        Needed::Delta(name) => key(organization, b'd', &[name]),
        Needed::Block(run, number) => key(organization, b'b', &[run, &number.to_be_bytes()]),
        Needed::Fence(run, number) => key(organization, b'f', &[run, &number.to_be_bytes()]),
    }
}

fn row(key: Vec<u8>, value: Option<Vec<u8>>) -> RowWrite {
    RowWrite { table: Table::Population, key, value }
}

/// The sealed rows of what a transaction changes.
/// There is one also when nothing changes although versions are `shown`: what is
/// restricted is not in the index, and is not to be told by that.
pub(crate) fn delta_rows(organization: &Organization, delta: Delta, shown: usize) -> Vec<RowWrite> {
    let sealed = |part: Delta| {
        let mut name = [0; 16];
        fill_random(&mut name);
        let value = organization.keys.population.seal(name, &part);
        row(key(organization, b'd', &[&name]), Some(value))
    };
    delta.into_parts(shown).into_iter().map(sealed).collect()
}

/// What a version is found by among all patients' resources, and those that are nobody's
/// though of a patient's type. The directory is not searched this way, and who has restricted records is not to be
/// found out from a search over everybody.
pub(crate) fn posted(
    key: &ResourceKey,
    class: ElementClass,
    id: &str,
    last_updated: Timestamp,
    resource_type: &str,
    entries: &[IndexEntry],
) -> Option<PostedResource> {
    let listed = key.patient == PatientId::NONE && is_about_no_patient(resource_type);
    if listed || class == ElementClass::Restricted {
        return None;
    }
    let resource =
        IndexedResource { patient: key.patient, token: key.id_token, class: class as u8 };
    let postings = search::postings(resource_type, id, last_updated, entries);
    Some(PostedResource { resource, postings })
}

/// Brings sealed rows of the index as a snapshot shows them.
pub(crate) fn fetch<'a>(
    organization: &'a Organization,
    snapshot: &'a Snapshot,
) -> impl FnMut(&[Needed]) -> Option<Vec<Vec<u8>>> + 'a {
    move |needed| {
        let find = |needed| snapshot.row(Table::Population, &needed_key(organization, needed));
        needed.iter().map(|needed| find(needed).ok().flatten()).collect()
    }
}

/// The deltas that are not folded yet.
pub(crate) fn deltas(
    organization: &Organization,
    snapshot: &Snapshot,
) -> Result<Vec<DeltaRef>, ExchangeError> {
    let mut deltas = Vec::new();
    for row in snapshot.scan_written(Table::Population, &key(organization, b'd', &[])) {
        let (key, commit, value) = row.map_err(ExchangeError::store)?;
        let delta = key.get(5..).and_then(|name| name.try_into().ok());
        let delta = delta.ok_or(ExchangeError::Internal("a delta has an unknown name"))?;
        let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
        deltas.push(DeltaRef { delta, commit: commit.0, bytes });
    }
    Ok(deltas)
}

impl Run {
    pub fn reference(self) -> RunRef {
        RunRef { run: self.run, pieces: self.pieces }
    }
}

impl Exchange {
    /// The manifest and its sealed row.
    pub(crate) fn manifest(
        &self,
        organization: &Organization,
        snapshot: &Snapshot,
    ) -> Result<Option<(Manifest, Vec<u8>)>, ExchangeError> {
        let key = key(organization, b'm', &[]);
        let row = snapshot.row(Table::Population, &key).map_err(ExchangeError::store)?;
        let Some(sealed) = row else { return Ok(None) };
        let plain = self.system().open(&context(&key), &sealed)?;
        let manifest = postcard::from_bytes(&plain)
            .map_err(|_| ExchangeError::Internal("an index manifest has an unknown form"))?;
        Ok(Some((manifest, sealed)))
    }

    /// Writes rows and the manifest that they belong to, unless somebody else has
    /// changed it since `before` was read.
    async fn save_manifest(
        &self,
        organization: &Organization,
        before: Option<Vec<u8>>,
        manifest: &Manifest,
        mut rows: Vec<RowWrite>,
    ) -> Result<(), ExchangeError> {
        let key = key(organization, b'm', &[]);
        let mut plain = postcard::to_stdvec(manifest)
            .map_err(|_| ExchangeError::Internal("an index manifest does not serialise"))?;
        plain.resize(plain.len().next_multiple_of(1_024), 0);
        let table = Table::Population;
        let precondition = match before {
            Some(value) => Precondition::RowEquals { table, key: key.clone(), value },
            None => Precondition::RowAbsent { table, key: key.clone() },
        };
        let sealed = self.system().seal(&context(&key), &plain);
        rows.push(row(key, Some(sealed)));
        let preconditions = vec![precondition];
        self.commit(Transaction { rows, preconditions, ..Transaction::default() }).await.map(drop)
    }

    /// What a stored version is found by.
    pub(crate) fn posted(
        &self,
        organization: &Organization,
        stored: Option<&Stored>,
        keys: &PatientKeys,
    ) -> Result<Option<PostedResource>, ExchangeError> {
        let Some(stored) = stored else { return Ok(None) };
        let sealed = &stored.sealed;
        let row = IndexRow {
            key: stored.key,
            version: sealed.version,
            deleted: sealed.deleted,
            last_updated: sealed.last_updated,
            commit: stored.commit,
            index: sealed.index.clone(),
            id_sealed: sealed.id_sealed.clone(),
        };
        Ok(self.open_row(organization, row, keys)?.as_ref().and_then(posted_row))
    }
}

/// What an opened row is found by.
fn posted_row(open: &OpenRow) -> Option<PostedResource> {
    if open.row.deleted {
        return None;
    }
    let last_updated = open.row.last_updated;
    posted(&open.row.key, open.class, &open.id, last_updated, &open.resource_type, &open.entries)
}

fn context(key: &[u8]) -> String {
    format!("population/{}", data_encoding::HEXLOWER.encode(key))
}
