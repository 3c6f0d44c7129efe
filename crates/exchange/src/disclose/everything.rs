//! `$everything`: a whole record, or all of one encounter
//! (FHIR R4 patient-operation-everything.html, encounter-operation-everything.html).
//!
//! One permit, one release, one pass over the record's rows; a page opens the
//! bodies that it shows. Every page of one call is of the same commit.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use holdfast_base::{ClassSet, CommitNumber, OrganizationId, PatientId, Timestamp};
use holdfast_fhir::Issue;
use holdfast_fhir::operations::{CareDates, encounter_parameter};
use holdfast_fhir::search::{self, Handling, Query};
use holdfast_ledger::Action;
use holdfast_policy::Act;
use holdfast_store::Snapshot;
use serde::{Deserialize, Serialize};

use super::open::OpenRow;
use super::read::Opened;
use super::rows::RecordRows;
use super::{Disclosed, is_directory_type};
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Resources of a record on one page, when `_count` does not say less. Bounds the
/// memory of an answer: some ten megabytes.
pub const EVERYTHING_PAGE_MAX: usize = 5_000;
/// Practitioners, organizations and the like that go along with one page.
const INCLUDED_MAX: usize = 1_000;
/// Resources that one access entry names; the ledger bounds an entry's length.
const TOUCHES_MAX: usize = 1_000;
/// A page token is worth so long.
const TOKEN_MS: i64 = 3_600_000;

/// What is asked of a record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EverythingAsked {
    /// Care given from then on.
    pub start: Option<String>,
    /// Care given up to then.
    pub end: Option<String>,
    /// Changed after then.
    pub since: Option<Timestamp>,
    /// Resource types; empty is all.
    pub types: Vec<String>,
    /// Resources on a page.
    pub count: Option<usize>,
}

/// One page of a record.
pub struct Everything {
    /// What belongs to the record, the resource that was asked for first.
    pub matches: Vec<Disclosed>,
    /// What the matches point to and belongs to no patient; for an encounter also
    /// its patient.
    pub included: Vec<Disclosed>,
    /// How many matches there are on all pages.
    pub total: usize,
    /// Opens the next page; sealed, for this call only.
    pub next: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Token {
    organization: String,
    root: String,
    asked: EverythingAsked,
    offset: usize,
    commit: CommitNumber,
    until: Timestamp,
}

impl Exchange {
    /// All of a Patient's record or of an Encounter that the caller may see; with
    /// `page`, the page that it opens of a call that was made before.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`ExchangeError::Invalid`] for a `page` that is none.
    pub async fn everything(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        resource_type: &str,
        id: &str,
        asked: EverythingAsked,
        page: Option<&str>,
    ) -> Result<Everything, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let root = format!("{resource_type}/{id}");
        let mut token = match page {
            Some(page) => self.everything_page(organization, &root, page)?,
            None => Token {
                organization: organization.to_string(),
                root: root.clone(),
                asked,
                offset: 0,
                commit: self.store().last_commit().0,
                until: self.now().plus_millis(TOKEN_MS),
            },
        };
        let patient = self.locate(&keeping, &root)?.ok_or(ExchangeError::NotFound)?;
        if patient == PatientId::NONE {
            return Err(ExchangeError::NotFound);
        }
        let snapshot = self.store().snapshot_at(token.commit).ok_or_else(no_page)?;
        let opened = self.open_record(ask, &keeping, patient, Act::Search, ClassSet::ALL).await?;
        let rows = self.record_rows(&opened, &snapshot)?;
        let found = self.rows_of_everything(&rows, resource_type, id, &token.asked)?;
        let total = found.len();
        let count = token.asked.count.unwrap_or(EVERYTHING_PAGE_MAX).min(EVERYTHING_PAGE_MAX);
        let mut matches = Vec::new();
        for row in found.into_iter().skip(token.offset).take(count) {
            let stored = snapshot.body(row.row.clone()).map_err(ExchangeError::store)?;
            matches.push(self.disclose(&opened, &row.id, &stored)?);
        }
        let mut included = Vec::new();
        let mut told: Vec<Disclosed> = Vec::new();
        if resource_type == "Encounter" && token.offset == 0 && count > 0 {
            let listing = self.directory().read().get(keeping.id(), patient);
            let logical_id = listing.map(|listing| listing.logical_id.clone());
            if let Some(id) = logical_id {
                told.extend(self.within(&opened, &snapshot, &format!("Patient/{id}"))?);
            }
        }
        included.extend(told.iter().cloned());
        let pointing = matches.iter().chain(&told);
        included.extend(self.directory_of(ask, &keeping, &snapshot, pointing).await?);
        told.extend(matches.iter().cloned());
        self.record_touches(ask, &opened, Action::Search, &told).await?;
        token.offset += matches.len();
        let more = token.offset < total && !matches.is_empty();
        let next = if more { Some(self.everything_token(&token)?) } else { None };
        Ok(Everything { matches, included, total, next })
    }

    /// The logical id of the caller's own record at `organization`, when they are a
    /// patient of it.
    pub fn own_record(&self, ask: &Ask, organization: &OrganizationId) -> Option<String> {
        let (kept_by, patient) = ask.caller.principal.patient.as_ref()?;
        let listing = self.directory().read().get(kept_by, *patient)?;
        (kept_by == organization).then(|| listing.logical_id.clone())
    }

    /// The rows that belong to the answer, in the order in which it shows them.
    fn rows_of_everything<'a>(
        &self,
        rows: &'a RecordRows,
        root_type: &str,
        root_id: &str,
        asked: &EverythingAsked,
    ) -> Result<Vec<&'a OpenRow>, ExchangeError> {
        let mut dates = CareDates::new(asked.start.as_deref(), asked.end.as_deref())
            .map_err(ExchangeError::Invalid)?;
        let mut encounters = EncounterParts::of(root_type, root_id);
        let (mut found, mut root) = (Vec::new(), false);
        for row in &rows.rows {
            let is_root = row.resource_type == root_type && row.id == root_id;
            root |= is_root;
            let of_type = asked.types.is_empty() || asked.types.contains(&row.resource_type);
            let changed = asked.since.is_none_or(|since| row.row.last_updated > since);
            let in_reach = is_root || encounters.as_mut().is_none_or(|parts| parts.has(row));
            if of_type
                && changed
                && in_reach
                && (is_root || dates.covers(&row.resource_type, row.facts()))
            {
                found.push(row);
            }
        }
        if !root {
            // The record is there, and this part of it is not, or not for the caller.
            return Err(ExchangeError::NotFound);
        }
        found.sort_by(|a, b| {
            let first = |row: &&OpenRow| !(row.resource_type == root_type && row.id == root_id);
            (first(a), &a.resource_type, std::cmp::Reverse(a.row.commit), &a.id).cmp(&(
                first(b),
                &b.resource_type,
                std::cmp::Reverse(b.row.commit),
                &b.id,
            ))
        });
        Ok(found)
    }

    /// A resource of an opened record by `Type/id`; `None` when it is not in it, was
    /// deleted, or is not for the caller.
    pub(crate) fn within(
        &self,
        opened: &Opened,
        snapshot: &Snapshot,
        reference: &str,
    ) -> Result<Option<Disclosed>, ExchangeError> {
        let Some(parts) = holdfast_fhir::parse_reference(reference) else { return Ok(None) };
        let told = format!("{}/{}", parts.resource_type, parts.id);
        if !parts.base.is_empty()
            || self.locate(&opened.organization, &told)? != Some(opened.patient)
        {
            return Ok(None);
        }
        let key =
            self.store_key(&opened.organization, opened.patient, parts.resource_type, parts.id)?;
        let stored = snapshot.current(&key).map_err(ExchangeError::store)?;
        let Some(stored) = stored.filter(|stored| !stored.sealed.deleted) else { return Ok(None) };
        match self.disclose(opened, parts.id, &stored) {
            Ok(disclosed) => Ok(Some(disclosed)),
            Err(ExchangeError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What belongs to no patient and is pointed to, directly or by another of its
    /// kind.
    pub(crate) async fn directory_of(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        snapshot: &Snapshot,
        pointing: impl Iterator<Item = &Disclosed>,
    ) -> Result<Vec<Disclosed>, ExchangeError> {
        let mut seen = BTreeSet::new();
        let mut waiting = VecDeque::new();
        for disclosed in pointing {
            note(&disclosed.resource, &mut seen, &mut waiting);
        }
        let mut found = Vec::new();
        if waiting.is_empty() {
            return Ok(found);
        }
        let opened = self.open_own_compartment(ask, keeping).await?;
        while let Some(reference) = waiting.pop_front() {
            if found.len() == INCLUDED_MAX {
                break;
            }
            if let Some(disclosed) = self.within(&opened, snapshot, &reference)? {
                note(&disclosed.resource, &mut seen, &mut waiting);
                found.push(disclosed);
            }
        }
        Ok(found)
    }

    /// As [`record_access`](Self::record_access), in as many entries as it takes.
    pub(crate) async fn record_touches(
        &self,
        ask: &Ask,
        opened: &Opened,
        action: Action,
        disclosed: &[Disclosed],
    ) -> Result<(), ExchangeError> {
        if disclosed.is_empty() {
            return self.record_access(ask, opened, action, disclosed).await;
        }
        let entries = disclosed
            .chunks(TOUCHES_MAX)
            .filter_map(|part| self.access_entry(ask, opened, action, part));
        self.record_entries(entries.collect()).await
    }

    fn everything_page(
        &self,
        organization: &OrganizationId,
        root: &str,
        page: &str,
    ) -> Result<Token, ExchangeError> {
        let sealed =
            data_encoding::BASE64URL_NOPAD.decode(page.as_bytes()).map_err(|_| no_page())?;
        let plain = self.system().open("everything-page", &sealed).map_err(|_| no_page())?;
        let token: Token = serde_json::from_slice(&plain).map_err(|_| no_page())?;
        let ours = token.organization == organization.as_str() && token.root == root;
        if ours && self.now() <= token.until { Ok(token) } else { Err(no_page()) }
    }

    fn everything_token(&self, token: &Token) -> Result<String, ExchangeError> {
        let plain = serde_json::to_vec(token)
            .map_err(|_| ExchangeError::Internal("a page token does not serialise"))?;
        let sealed = self.system().seal("everything-page", &plain);
        Ok(data_encoding::BASE64URL_NOPAD.encode(&sealed))
    }
}

fn no_page() -> ExchangeError {
    let text = "no page of this call, or too old: ask anew";
    ExchangeError::Invalid(vec![Issue::error("expired", "_page", text)])
}

/// Puts the references to what belongs to no patient on the list, each once.
fn note(resource: &serde_json::Value, seen: &mut BTreeSet<String>, waiting: &mut VecDeque<String>) {
    for reference in holdfast_fhir::references(resource) {
        let Some(parts) = holdfast_fhir::parse_reference(reference) else { continue };
        if parts.base.is_empty() && is_directory_type(parts.resource_type) {
            let told = format!("{}/{}", parts.resource_type, parts.id);
            if seen.insert(told.clone()) {
                waiting.push_back(told);
            }
        }
    }
}

/// What belongs to an encounter: its compartment, by each type's own parameter.
struct EncounterParts {
    reference: String,
    by_type: std::collections::HashMap<String, Option<Query>>,
}

impl EncounterParts {
    /// `None` when the answer is not about an encounter.
    fn of(root_type: &str, root_id: &str) -> Option<Self> {
        let reference = format!("Encounter/{root_id}");
        (root_type == "Encounter").then(|| Self { reference, by_type: Default::default() })
    }

    fn has(&mut self, row: &OpenRow) -> bool {
        let reference = &self.reference;
        let query = self.by_type.entry(row.resource_type.clone()).or_insert_with(|| {
            let name = encounter_parameter(&row.resource_type)?;
            let pairs = [(name.to_owned(), reference.clone())];
            search::parse_query(&row.resource_type, &pairs, Handling::Strict).ok()
        });
        query.as_ref().is_some_and(|q| q.matches(&row.id, row.row.last_updated, &row.entries))
    }
}
