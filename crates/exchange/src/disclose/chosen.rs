//! Searches whose answer is a choice among the matches of one record: the latest
//! observations (FHIR R4 observation-operation-lastn.html), documents for a span of
//! care (US Core `$docref`), a composition with what it is made of (FHIR R4
//! composition-operation-document.html). Only what was chosen is opened.

use std::collections::HashMap;

use holdfast_base::{ClassSet, OrganizationId, PatientId};
use holdfast_fhir::Issue;
use holdfast_fhir::operations::CareDates;
use holdfast_fhir::search::{self, Handling, IndexValue, Query};
use holdfast_ledger::Action;
use holdfast_policy::Act;

use super::Disclosed;
use super::open::OpenRow;
use super::read::Opened;
use crate::state::Exchange;
use crate::{Ask, ExchangeError, cover};

/// Resources that one answer holds; more asks for a narrower question.
const CHOSEN_MAX: usize = 5_000;

/// A resource and those that it is made of.
pub struct Gathered {
    /// The resource that was asked for.
    pub root: Disclosed,
    /// What it points to and the caller may see.
    pub parts: Vec<Disclosed>,
}

impl Exchange {
    /// The last `max` observations of each code, the newest first; those that are as
    /// old as the last of them go along.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn last_observations(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        pairs: &[(String, String)],
        max: usize,
    ) -> Result<Vec<Disclosed>, ExchangeError> {
        let newest = ("_sort".to_owned(), "-date".to_owned());
        let pairs = [pairs, &[newest]].concat();
        self.choose(ask, organization, "Observation", &pairs, |query, rows| {
            let mut kept = Vec::new();
            for mut group in by_code(rows) {
                group.sort_by(|a, b| query.compare(&a.facts(), &b.facts()));
                // Those as late as the last one go along, whoever came first.
                let last = group.get(max.saturating_sub(1)).map(dates_of);
                let count = last.map_or(group.len(), |last| {
                    let tied = group.iter().skip(max).take_while(|row| dates_of(row) == last);
                    max + tied.count()
                });
                kept.extend(group.into_iter().take(count));
            }
            kept
        })
        .await
    }

    /// The documents about care in a span; without a span the latest one.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn documents_about(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        pairs: &[(String, String)],
        (start, end): (Option<&str>, Option<&str>),
    ) -> Result<Vec<Disclosed>, ExchangeError> {
        let mut dates = CareDates::new(start, end).map_err(ExchangeError::Invalid)?;
        let newest = ("_sort".to_owned(), "-date".to_owned());
        let pairs = [pairs, &[newest]].concat();
        let only_latest = start.is_none() && end.is_none();
        self.choose(ask, organization, "DocumentReference", &pairs, |_, mut rows| {
            rows.retain(|row| dates.covers(&row.resource_type, row.facts()));
            rows.truncate(if only_latest { 1 } else { rows.len() });
            rows
        })
        .await
    }

    /// Opens what `choice` leaves of the matches in one patient's record.
    async fn choose(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        resource_type: &str,
        pairs: &[(String, String)],
        choice: impl FnOnce(&Query, Vec<OpenRow>) -> Vec<OpenRow> + Send,
    ) -> Result<Vec<Disclosed>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let query = search::parse_query(resource_type, pairs, Handling::Strict)
            .map_err(ExchangeError::Invalid)?;
        let id = query.patient().ok_or_else(|| {
            let text = "name one patient: `patient=Patient/{id}`";
            ExchangeError::Invalid(vec![Issue::error("required", "patient", text)])
        })?;
        let patient = self.locate(&keeping, &format!("Patient/{id}"))?;
        let patient = patient.ok_or(ExchangeError::NotFound)?;
        let snapshot = self.store().snapshot();
        let opened = self.open_record(ask, &keeping, patient, Act::Search, ClassSet::ALL).await?;
        let mut rows = Vec::new();
        let untold = snapshot.scan_current(keeping.ordinal, patient, Some(cover::UNTOLD_TYPE));
        let type_code = holdfast_fhir::type_code(resource_type);
        for row in untold.chain(snapshot.scan_current(keeping.ordinal, patient, type_code)) {
            let row = row.map_err(ExchangeError::store)?;
            if !row.deleted
                && let Some(row) = self.open_row(&keeping, row, &opened.keys)?
                && row.resource_type == resource_type
                && query.matches(&row.id, row.row.last_updated, &row.entries)
            {
                rows.push(row);
            }
        }
        rows.sort_by(|a, b| {
            let newest = b.row.commit.cmp(&a.row.commit);
            query.compare(&a.facts(), &b.facts()).then(newest).then_with(|| a.id.cmp(&b.id))
        });
        let chosen = choice(&query, rows);
        if chosen.len() > CHOSEN_MAX {
            let text = format!("more than {CHOSEN_MAX} resources; ask more narrowly");
            return Err(ExchangeError::Invalid(vec![Issue::error("too-costly", "", text)]));
        }
        let mut disclosed = Vec::with_capacity(chosen.len());
        for row in chosen {
            let stored = snapshot.body(row.row).map_err(ExchangeError::store)?;
            disclosed.push(self.disclose(&opened, &row.id, &stored)?);
        }
        self.record_touches(ask, &opened, Action::Search, &disclosed).await?;
        Ok(disclosed)
    }

    /// A resource of a record with everything that it points to: in the same record,
    /// and of what belongs to no patient.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn gather(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        resource_type: &str,
        id: &str,
    ) -> Result<Gathered, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let reference = format!("{resource_type}/{id}");
        let patient = self.locate(&keeping, &reference)?.ok_or(ExchangeError::NotFound)?;
        if patient == PatientId::NONE {
            return Err(ExchangeError::NotFound);
        }
        let snapshot = self.store().snapshot();
        let opened: Opened =
            self.open_record(ask, &keeping, patient, Act::Read, ClassSet::ALL).await?;
        let root = self.within(&opened, &snapshot, &reference)?.ok_or(ExchangeError::NotFound)?;
        let mut seen = vec![reference];
        let mut parts = Vec::new();
        for pointed in holdfast_fhir::references(&root.resource) {
            let Some(named) = holdfast_fhir::parse_reference(pointed) else { continue };
            let named = format!("{}/{}", named.resource_type, named.id);
            if seen.contains(&named) || seen.len() > CHOSEN_MAX {
                continue;
            }
            parts.extend(self.within(&opened, &snapshot, &named)?);
            seen.push(named);
        }
        let told: Vec<Disclosed> = std::iter::once(&root).chain(&parts).cloned().collect();
        let directory = self.directory_of(ask, &keeping, &snapshot, told.iter()).await?;
        self.record_touches(ask, &opened, Action::Read, &told).await?;
        parts.extend(directory);
        Ok(Gathered { root, parts })
    }
}

/// When an observation was made, as far as anybody said.
fn dates_of(row: &OpenRow) -> Vec<&IndexValue> {
    row.entries.iter().filter(|entry| entry.param == "date").map(|entry| &entry.value).collect()
}

/// Rows that have a code in common, even through others, in one group; the order
/// within stays. What has no code is grouped by its text.
fn by_code(rows: Vec<OpenRow>) -> Vec<Vec<OpenRow>> {
    let mut groups: Vec<Option<Vec<OpenRow>>> = Vec::new();
    let mut place_of: HashMap<(u8, String, String), usize> = HashMap::new();
    for row in rows {
        let codes: Vec<_> = row.entries.iter().filter(|entry| entry.param == "code").collect();
        let tokens = codes.iter().filter_map(|entry| match &entry.value {
            IndexValue::Token { system, code } => {
                Some((0, system.clone().unwrap_or_default(), code.clone()))
            }
            _ => None,
        });
        let mut keys: Vec<_> = tokens.collect();
        if keys.is_empty() {
            keys.extend(codes.iter().filter_map(|entry| match &entry.value {
                IndexValue::TokenText(text) => Some((1, String::new(), text.clone())),
                _ => None,
            }));
        }
        let mut places: Vec<usize> =
            keys.iter().filter_map(|key| place_of.get(key)).copied().collect();
        places.sort_unstable();
        places.dedup();
        let home = places.first().copied().unwrap_or(groups.len());
        if home == groups.len() {
            groups.push(Some(Vec::new()));
        }
        let mut joined: Vec<OpenRow> = Vec::new();
        for other in places.iter().skip(1) {
            joined.extend(groups.get_mut(*other).and_then(Option::take).into_iter().flatten());
            place_of.values_mut().filter(|place| *place == other).for_each(|place| *place = home);
        }
        if let Some(Some(group)) = groups.get_mut(home) {
            group.extend(joined);
            group.push(row);
        }
        place_of.extend(keys.into_iter().map(|key| (key, home)));
    }
    groups.into_iter().flatten().collect()
}
