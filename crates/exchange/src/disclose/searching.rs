//! One search under way: the records that it opened, the rows that it looked at,
//! and what of them leaves.
//!
//! Invariant: each record is opened by its own permit, and each record that something
//! is told of has its access entry before anything of the search is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_base::{ClassSet, CommitNumber, PatientId};
use holdfast_fhir::search::Query;
use holdfast_ledger::Action;
use holdfast_policy::Act;
use holdfast_store::Snapshot;

use super::Disclosed;
use super::open::OpenRow;
use super::own::is_directory_type;
use super::read::Opened;
use super::rows::RecordRows;
use super::ways::Slice;
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

pub(super) struct Searching<'a> {
    pub exchange: &'a Exchange,
    pub ask: &'a Ask,
    pub keeping: Arc<Organization>,
    pub snapshot: Snapshot,
    pub commit: CommitNumber,
    /// The record that everything lies in, when the URL names a compartment.
    pub within: Option<PatientId>,
    records: BTreeMap<PatientId, Record>,
}

struct Record {
    opened: Arc<Opened>,
    rows: Option<Arc<RecordRows>>,
    shown: Vec<Disclosed>,
    /// Whether the answer tells something of the record, even if that is that there is
    /// nothing.
    is_told: bool,
}

/// What a search within opened rows gives.
#[derive(Default)]
pub(super) struct Found {
    /// How many there are in all.
    pub total: usize,
    /// Those of the page.
    pub picks: Vec<OpenRow>,
}

impl<'a> Searching<'a> {
    pub fn new(
        exchange: &'a Exchange,
        ask: &'a Ask,
        keeping: &Arc<Organization>,
        commit: CommitNumber,
    ) -> Result<Self, ExchangeError> {
        let snapshot = exchange.store().snapshot_at(commit).ok_or(ExchangeError::NotFound)?;
        Ok(Self {
            exchange,
            ask,
            keeping: Arc::clone(keeping),
            snapshot,
            commit,
            within: None,
            records: BTreeMap::new(),
        })
    }

    /// The record, opened once.
    pub async fn record(&mut self, patient: PatientId) -> Result<Arc<Opened>, ExchangeError> {
        if let Some(record) = self.records.get(&patient) {
            return Ok(Arc::clone(&record.opened));
        }
        let (keeping, wanted) = (Arc::clone(&self.keeping), ClassSet::ALL);
        let opened =
            self.exchange.open_record(self.ask, &keeping, patient, Act::Search, wanted).await?;
        let opened = Arc::new(opened);
        let (rows, shown, is_told) = (None, Vec::new(), false);
        let record = Record { opened: Arc::clone(&opened), rows, shown, is_told };
        self.records.insert(patient, record);
        Ok(opened)
    }

    /// The current rows of a record.
    pub async fn rows(&mut self, patient: PatientId) -> Result<Arc<RecordRows>, ExchangeError> {
        let opened = self.record(patient).await?;
        let Some(record) = self.records.get_mut(&patient) else {
            return Err(ExchangeError::Internal("a record that was opened is not there"));
        };
        record.is_told = true;
        if let Some(rows) = &record.rows {
            return Ok(Arc::clone(rows));
        }
        let rows = self.exchange.record_rows(&opened, &self.snapshot)?;
        record.rows = Some(Arc::clone(&rows));
        Ok(rows)
    }

    /// One resource's row, where it is expected first and then wherever it lies;
    /// nothing when it is not there, or not for the caller.
    pub async fn row_of(
        &mut self,
        resource_type: &str,
        id: &str,
        near: PatientId,
    ) -> Result<Option<OpenRow>, ExchangeError> {
        let own = is_directory_type(resource_type);
        let near = if own { PatientId::NONE } else { near };
        if let Some(row) = self.row_in(resource_type, id, near).await? {
            return Ok(Some(row));
        }
        let located = self.exchange.locate(&self.keeping, &format!("{resource_type}/{id}"))?;
        let Some(patient) = located.filter(|patient| *patient != near) else { return Ok(None) };
        if patient == PatientId::NONE && !own {
            return Ok(None);
        }
        match self.row_in(resource_type, id, patient).await {
            // What may not be seen and what is not there answer alike.
            Err(ExchangeError::NotFound) => Ok(None),
            found => found,
        }
    }

    async fn row_in(
        &mut self,
        resource_type: &str,
        id: &str,
        patient: PatientId,
    ) -> Result<Option<OpenRow>, ExchangeError> {
        let key = self.exchange.store_key(&self.keeping, patient, resource_type, id)?;
        let row = self.snapshot.current_index(&key).map_err(ExchangeError::store)?;
        let Some(row) = row.filter(|row| !row.deleted) else { return Ok(None) };
        let opened = self.record(patient).await?;
        self.exchange.open_row(&self.keeping, row, &opened.keys)
    }

    /// Opens a resource whose row was found, to be shown.
    pub async fn show(&mut self, row: &OpenRow) -> Result<Disclosed, ExchangeError> {
        let disclosed = self.open(row).await?;
        if let Some(record) = self.records.get_mut(&row.row.key.patient) {
            record.shown.push(disclosed.clone());
        }
        Ok(disclosed)
    }

    /// Opens a resource to look at it.
    pub async fn open(&mut self, row: &OpenRow) -> Result<Disclosed, ExchangeError> {
        let opened = self.record(row.row.key.patient).await?;
        let stored = self.snapshot.body(row.row.clone()).map_err(ExchangeError::store)?;
        self.exchange.disclose(&opened, &row.id, &stored)
    }

    /// The matches of a search in one record, in order: those of `slice`.
    pub async fn matches_in(
        &mut self,
        patient: PatientId,
        query: &Query,
        slice: &Slice,
    ) -> Result<Found, ExchangeError> {
        let rows = self.rows(patient).await?;
        let meets = |row: &&OpenRow| {
            row.resource_type == query.resource_type()
                && query.matches(&row.id, row.row.last_updated, &row.entries)
        };
        let mut found: Vec<&OpenRow> = rows.rows.iter().filter(meets).collect();
        if query.needs_document() {
            let mut sure = Vec::new();
            for row in found {
                let resource = self.open(row).await?.resource;
                if query.matches_document(&row.facts(), &resource) {
                    sure.push(row);
                }
            }
            found = sure;
        }
        in_order(query, &mut found);
        Ok(slice.of(&found))
    }

    /// Makes the access entries of everything that is told, durable. Also a search
    /// that found nothing, or was only to count, has told something.
    pub async fn record_accesses(&self) -> Result<(), ExchangeError> {
        let entry = |record: &Record| {
            self.exchange.access_entry(self.ask, &record.opened, Action::Search, &record.shown)
        };
        let told = self.records.values().filter(|r| r.is_told || !r.shown.is_empty());
        let entries = told.filter_map(entry).collect();
        self.exchange.record_entries(entries).await
    }
}

/// The order that the search asks for; otherwise what was written last comes first.
pub(super) fn in_order(query: &Query, found: &mut [&OpenRow]) {
    found.sort_by(|a, b| {
        let newest_first = b.row.commit.cmp(&a.row.commit);
        if query.is_sorted() { query.compare(&a.facts(), &b.facts()) } else { newest_first }
    });
}

/// Number and lasting name of a resource type.
pub(super) fn coded(resource_type: &str) -> Option<(u16, &'static str)> {
    let code = holdfast_fhir::type_code(resource_type)?;
    Some((code, holdfast_fhir::type_name(code)?))
}
