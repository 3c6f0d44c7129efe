//! What was: the versions of one resource, of a type, or of everything (FHIR R4
//! http.html#history).
//!
//! Invariants: every page of one history sees the same commit; total and order are
//! exact; what is deleted is an entry without a resource; a history opens what its
//! caller may open now, and each version that it gives is in the ledger.

use std::sync::Arc;

use holdfast_base::{ClassSet, CommitNumber, OrganizationId, PatientId, Timestamp};
use holdfast_fhir::Issue;
use holdfast_fhir::search::Span;
use holdfast_ledger::Action;
use holdfast_policy::Act;
use holdfast_store::{IndexRow, Snapshot};
use serde::{Deserialize, Serialize};

use super::read::Opened;
use super::{Disclosed, compartment_of_nobody, is_about_no_patient};
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError, cover};

/// Versions on a page when `_count` does not say, and most of them.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1_000;
/// Patients whose records one history may look into.
const PATIENTS_MAX: usize = 100;
/// Versions that one history puts in order.
const VERSIONS_MAX: usize = 100_000;

/// One version in a history.
#[derive(Clone)]
pub struct Version {
    /// FHIR resource type.
    pub resource_type: String,
    /// Logical id.
    pub id: String,
    /// `meta.versionId`.
    pub version: u64,
    /// `meta.lastUpdated`.
    pub last_updated: Timestamp,
    /// The resource; `None` when this version says that it was deleted.
    pub resource: Option<serde_json::Value>,
    /// Whether nothing stood there before: it is new, or was deleted.
    pub creates: bool,
}

/// One page of a history, newest first.
pub struct History {
    /// The versions.
    pub versions: Vec<Version>,
    /// How many there are in all; exact.
    pub total: usize,
    /// Opens the next page; sealed, for this history only.
    pub next: Option<String>,
}

/// What a history is asked for.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    count: Option<usize>,
    since: Option<Timestamp>,
    /// The span of `_at`, its end excluded.
    at: Option<(Timestamp, Timestamp)>,
    patient: Option<String>,
}

/// What a page token says; sealed.
#[derive(Serialize, Deserialize)]
struct Token {
    organization: String,
    resource_type: Option<String>,
    id: Option<String>,
    wanted: Wanted,
    offset: usize,
    commit: CommitNumber,
}

/// A version that belongs into a history, not yet opened.
struct Row {
    row: IndexRow,
    resource_type: String,
    id: String,
    creates: bool,
    /// Place of the record among those that were opened.
    record: usize,
}

fn invalid(code: &'static str, place: &str, text: &str) -> ExchangeError {
    ExchangeError::Invalid(vec![Issue::error(code, place, text)])
}

impl Exchange {
    /// The history of one resource (`resource_type` and `id`), of a type (without `id`)
    /// or of everything (without either) that the caller may read in `organization`.
    /// Parameters: `_since`, `_at`, `_count`, `_page`, and `patient`, which confines the
    /// history to one record.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`ExchangeError::Invalid`] also when the history would
    /// look into more records than one request may.
    pub async fn history(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        (resource_type, id): (Option<&str>, Option<&str>),
        pairs: &[(String, String)],
    ) -> Result<History, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let token = self.token_asked(organization, (resource_type, id), pairs)?;
        let snapshot = self.store().snapshot_at(token.commit).ok_or(ExchangeError::NotFound)?;
        let mut records: Vec<Arc<Opened>> = Vec::new();
        let mut rows: Vec<Row> = Vec::new();
        if let (Some(resource_type), Some(id)) = (resource_type, id) {
            let (opened, found) =
                self.instance_rows(ask, &keeping, &snapshot, resource_type, id).await?;
            records.push(Arc::new(opened));
            rows = found;
        } else {
            let wanted = self.records_wanted(ask, &keeping, resource_type, &token.wanted)?;
            for patient in wanted {
                let all = ClassSet::ALL;
                let opened = self.open_record(ask, &keeping, patient, Act::Read, all).await;
                let opened = match opened {
                    // What the caller may not see is not part of their history.
                    Err(ExchangeError::NotFound) if token.wanted.patient.is_none() => continue,
                    opened => opened?,
                };
                let record = records.len();
                self.versions_of_record(
                    &keeping,
                    &snapshot,
                    &opened,
                    resource_type,
                    record,
                    &mut rows,
                )?;
                records.push(Arc::new(opened));
                if rows.len() > VERSIONS_MAX {
                    let text = "this history is too long for one request: name a patient";
                    return Err(invalid("too-costly", "patient", text));
                }
            }
        }
        confine(&mut rows, &token.wanted);
        rows.sort_by(|a, b| {
            let place = |row: &Row| (row.row.commit, row.row.last_updated, row.row.version);
            place(b).cmp(&place(a)).then_with(|| a.id.cmp(&b.id))
        });
        let total = rows.len();
        let count = token.wanted.count.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let page: Vec<Row> = rows.into_iter().skip(token.offset).take(count).collect();
        let versions = self.open_versions(ask, &snapshot, &records, page).await?;
        let offset = token.offset + versions.len();
        let next = if offset < total && !versions.is_empty() {
            Some(self.seal_token(&Token { offset, ..token })?)
        } else {
            None
        };
        Ok(History { versions, total, next })
    }

    /// Every version of one resource.
    async fn instance_rows(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        snapshot: &Snapshot,
        resource_type: &str,
        id: &str,
    ) -> Result<(Opened, Vec<Row>), ExchangeError> {
        let located = self.locate(keeping, &format!("{resource_type}/{id}"))?;
        let patient = located.ok_or(ExchangeError::NotFound)?;
        let opened = self.open_record(ask, keeping, patient, Act::Read, ClassSet::ALL).await?;
        let key = self.store_key(keeping, patient, resource_type, id)?;
        let mut rows = Vec::new();
        for row in snapshot.versions(&key) {
            let row = row.map_err(ExchangeError::store)?;
            if let Some(open) = self.open_row(keeping, row, &opened.keys)? {
                let (resource_type, id) = (open.resource_type, open.id);
                rows.push(Row { row: open.row, resource_type, id, creates: false, record: 0 });
            }
        }
        if rows.is_empty() {
            return Err(ExchangeError::NotFound);
        }
        mark_created(&mut rows);
        Ok((opened, rows))
    }

    /// Which records a history of a type or of everything looks into.
    fn records_wanted(
        &self,
        ask: &Ask,
        keeping: &Organization,
        resource_type: Option<&str>,
        wanted: &Wanted,
    ) -> Result<Vec<PatientId>, ExchangeError> {
        if let Some(id) = &wanted.patient {
            let located = self.locate(keeping, &format!("Patient/{id}"))?;
            return located.map(|patient| vec![patient]).ok_or(ExchangeError::NotFound);
        }
        let mut records = match resource_type {
            Some(kind) => vec![compartment_of_nobody(kind)],
            None => vec![PatientId::NONE, PatientId::OWN],
        };
        if resource_type.is_none_or(|kind| !is_about_no_patient(kind)) {
            let directory = self.directory().read();
            let listings: Vec<_> = directory.of_organization(keeping.id()).collect();
            drop(directory);
            let mut patients: Vec<PatientId> = listings
                .iter()
                .filter(|listing| self.may_look_up(ask, listing))
                .map(|listing| listing.patient)
                .take(PATIENTS_MAX + 1)
                .collect();
            patients.sort_unstable();
            if patients.len() > PATIENTS_MAX {
                let text = "a history over more than 100 patients is bulk work, which needs a \
                            bulk grant and $export: add patient={id}, or ask for the history of \
                            one resource";
                return Err(invalid("too-costly", "patient", text));
            }
            records.extend(patients);
        }
        Ok(records)
    }

    /// Every version that belongs into the history, of one record.
    fn versions_of_record(
        &self,
        keeping: &Arc<Organization>,
        snapshot: &Snapshot,
        opened: &Opened,
        wanted: Option<&str>,
        record: usize,
        rows: &mut Vec<Row>,
    ) -> Result<(), ExchangeError> {
        let ordinal = keeping.ordinal;
        let types: Vec<Option<u16>> = match wanted {
            None => vec![None],
            Some(wanted) => vec![Some(cover::UNTOLD_TYPE), holdfast_fhir::type_code(wanted)],
        };
        let mut of_one: Vec<Row> = Vec::new();
        for type_code in types {
            for row in snapshot.scan_versions(ordinal, opened.patient, type_code) {
                let row = row.map_err(ExchangeError::store)?;
                if of_one.first().is_some_and(|first| first.row.key != row.key) {
                    flush(&mut of_one, wanted, rows);
                }
                if let Some(open) = self.open_row(keeping, row, &opened.keys)? {
                    let (resource_type, id) = (open.resource_type, open.id);
                    let row = open.row;
                    of_one.push(Row { row, resource_type, id, creates: false, record });
                }
            }
            flush(&mut of_one, wanted, rows);
        }
        Ok(())
    }

    /// Opens the versions of a page; durable in the ledger when this returns.
    async fn open_versions(
        &self,
        ask: &Ask,
        snapshot: &Snapshot,
        records: &[Arc<Opened>],
        page: Vec<Row>,
    ) -> Result<Vec<Version>, ExchangeError> {
        let mut versions = Vec::new();
        let mut disclosed: Vec<Vec<Disclosed>> = records.iter().map(|_| Vec::new()).collect();
        for Row { row, resource_type, id, creates, record } in page {
            let fault = || ExchangeError::Internal("a version of no opened record");
            let opened = records.get(record).ok_or_else(fault)?;
            let deleted = row.deleted;
            let stored = snapshot.body(row).map_err(ExchangeError::store)?;
            let shown = self.disclose(opened, &id, &stored)?;
            let (version, last_updated) = (shown.version, shown.last_updated);
            let resource = (!deleted).then(|| shown.resource.clone());
            disclosed.get_mut(record).ok_or_else(fault)?.push(shown);
            versions.push(Version { resource_type, id, version, last_updated, resource, creates });
        }
        let mut entries = Vec::new();
        for (opened, shown) in records.iter().zip(&disclosed) {
            // A record that was looked into and gave nothing has told something, too.
            entries.extend(self.access_entry(ask, opened, Action::Read, shown));
        }
        self.record_entries(entries).await?;
        Ok(versions)
    }

    /// What is asked for: parameters, or the page token among them.
    fn token_asked(
        &self,
        organization: &OrganizationId,
        (resource_type, id): (Option<&str>, Option<&str>),
        pairs: &[(String, String)],
    ) -> Result<Token, ExchangeError> {
        if let Some((_, text)) = pairs.iter().find(|(name, _)| name == "_page") {
            let wrong = || invalid("invalid", "_page", "no page of this history");
            let sealed =
                data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| wrong())?;
            let plain = self.system().open("history-page", &sealed).map_err(|_| wrong())?;
            let token: Token = serde_json::from_slice(&plain).map_err(|_| wrong())?;
            let same = token.organization == organization.as_str()
                && token.resource_type.as_deref() == resource_type
                && token.id.as_deref() == id;
            return if same { Ok(token) } else { Err(wrong()) };
        }
        Ok(Token {
            organization: organization.to_string(),
            resource_type: resource_type.map(str::to_owned),
            id: id.map(str::to_owned),
            wanted: Wanted::of(pairs, id.is_none())?,
            offset: 0,
            commit: self.store().last_commit().0,
        })
    }

    fn seal_token(&self, token: &Token) -> Result<String, ExchangeError> {
        let plain = serde_json::to_vec(token)
            .map_err(|_| ExchangeError::Internal("a page token does not serialise"))?;
        Ok(data_encoding::BASE64URL_NOPAD.encode(&self.system().seal("history-page", &plain)))
    }
}

impl Wanted {
    fn of(pairs: &[(String, String)], of_many: bool) -> Result<Self, ExchangeError> {
        let mut wanted = Self::default();
        for (name, value) in pairs {
            let wrong = |text| Err(invalid("invalid", name, text));
            match name.as_str() {
                "_count" => match value.parse() {
                    Ok(count) => wanted.count = Some(count),
                    Err(_) => return wrong("has to be a number"),
                },
                "_since" => match Span::parse(value) {
                    Some(span) => wanted.since = Some(Timestamp::from_millis(span.from)),
                    None => return wrong("has to be an instant"),
                },
                "_at" => match Span::parse(value) {
                    Some(span) => wanted.at = Some(instants(span)),
                    None => return wrong("has to be a date or an instant"),
                },
                "patient" if of_many => {
                    let id = value.strip_prefix("Patient/").unwrap_or(value);
                    wanted.patient = Some(id.to_owned());
                }
                "_format" | "_pretty" | "_summary" | "_elements" => {}
                _ => {
                    return Err(invalid("not-supported", name, "is no parameter of a history"));
                }
            }
        }
        Ok(wanted)
    }
}

/// A span with its end excluded.
fn instants(span: Span) -> (Timestamp, Timestamp) {
    (Timestamp::from_millis(span.from), Timestamp::from_millis(span.to.saturating_add(1)))
}

/// Adds the versions of one resource, when they belong into the history.
fn flush(of_one: &mut Vec<Row>, wanted: Option<&str>, rows: &mut Vec<Row>) {
    let mut found = std::mem::take(of_one);
    let Some(first) = found.first() else { return };
    if wanted.is_none_or(|wanted| wanted == first.resource_type) {
        mark_created(&mut found);
        rows.append(&mut found);
    }
}

/// Which of the versions of one resource (newest first) began it, or began it anew.
fn mark_created(rows: &mut [Row]) {
    for place in 0..rows.len() {
        let before = rows.get(place + 1).is_some_and(|former| !former.row.deleted);
        if let Some(row) = rows.get_mut(place) {
            row.creates = !before && !row.row.deleted;
        }
    }
}

/// Leaves what `_since` and `_at` ask for.
fn confine(rows: &mut Vec<Row>, wanted: &Wanted) {
    if let Some(since) = wanted.since {
        rows.retain(|row| row.row.last_updated >= since);
    }
    if let Some((from, to)) = wanted.at {
        let mut ended: std::collections::HashMap<_, Vec<(u64, Timestamp)>> = Default::default();
        for row in rows.iter() {
            let versions = ended.entry(row.row.key).or_default();
            versions.push((row.row.version, row.row.last_updated));
        }
        // A version was current from when it was written until the next was.
        rows.retain(|row| {
            let versions = ended.get(&row.row.key).map(Vec::as_slice).unwrap_or_default();
            let next = versions.iter().filter(|(version, _)| *version > row.row.version).min();
            let over = next.is_some_and(|(_, at)| *at <= from);
            row.row.last_updated < to && !over
        });
    }
}
