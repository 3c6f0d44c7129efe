//! The ways in which a search is answered: within one record, over what is about no
//! patient, by a look-up of patients, over all patients.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::PatientId;
use holdfast_fhir::Issue;
use holdfast_fhir::search::{Contained, Query, Row};

use super::open::OpenRow;
use super::own::{is_about_no_patient, is_directory_type};
use super::searching::{Found, Searching};
use crate::ExchangeError;
use crate::directory::Listing;

/// Ids that are looked for one by one to find the record that they lie in.
const LOCATED_MAX: usize = 100;
/// Patients of a look-up who are opened to be put in order.
const SORTED_MAX: usize = 10_000;
/// Patients of a look-up who are opened to see whether they match.
const LOOKED_AT_MAX: usize = 50;

/// How a search is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing can match.
    Nothing,
    /// Within one patient's record, or among what is about no patient.
    Record(PatientId),
    /// As a record, found by an id: that it may not be seen looks as if it were not
    /// there.
    Located(PatientId),
    /// By the directory's tokens.
    LookUp,
    /// By the keeper, over all patients.
    Population,
}

/// Which matches are wanted: from the `offset`th, `count` of them. A look-up goes on
/// after an id instead.
#[derive(Debug, Clone, Default)]
pub(super) struct Slice {
    pub offset: usize,
    pub count: usize,
    pub after: Option<String>,
}

impl Slice {
    pub const ALL: Self = Self { offset: 0, count: usize::MAX, after: None };

    pub fn of(&self, all: &[&OpenRow]) -> Found {
        let picks = all.iter().skip(self.offset).take(self.count);
        Found { total: all.len(), picks: picks.map(|row| OpenRow::clone(row)).collect() }
    }
}

impl Searching<'_> {
    /// How a search whose links were followed is answered.
    pub fn way(&self, query: &Query) -> Result<Way, ExchangeError> {
        if query.is_impossible() {
            return Ok(Way::Nothing);
        }
        let kind = query.resource_type();
        if let Some(patient) = self.within {
            return Ok(Way::Record(if is_directory_type(kind) {
                PatientId::NONE
            } else {
                patient
            }));
        }
        if is_directory_type(kind) {
            return Ok(Way::Record(PatientId::NONE));
        }
        if is_about_no_patient(kind) {
            return Ok(Way::Located(PatientId::OWN));
        }
        if let Some(id) = query.patient().filter(|_| kind != "Patient") {
            let located = self.exchange.locate(&self.keeping, &format!("Patient/{id}"))?;
            return located.map(Way::Record).ok_or(ExchangeError::NotFound);
        }
        let ids = query.ids().filter(|ids| ids.len() <= LOCATED_MAX);
        // Tokens find patients; what tokens cannot answer, a record or the index can.
        let tokens_do = kind == "Patient" && query.lookup().is_ok();
        if let Some(ids) = ids.filter(|_| !tokens_do || query.needs_document()) {
            let mut located = BTreeSet::new();
            for id in ids {
                located.extend(self.exchange.locate(&self.keeping, &format!("{kind}/{id}"))?);
            }
            let mut located = located.into_iter();
            match (located.next(), located.next()) {
                (None, _) => return Ok(Way::Nothing),
                (Some(patient), None) => return Ok(Way::Located(patient)),
                _ => {}
            }
        }
        Ok(if tokens_do { Way::LookUp } else { Way::Population })
    }

    /// Answers a search whose links were followed.
    pub async fn find(&mut self, query: &Query, slice: &Slice) -> Result<Found, ExchangeError> {
        let way = self.way(query)?;
        if query.contained() != Contained::False {
            return self.find_contained(query, way, slice).await;
        }
        match way {
            Way::Nothing => Ok(Found::default()),
            Way::Record(patient) => self.matches_in(patient, query, slice).await,
            Way::Located(patient) => match self.matches_in(patient, query, slice).await {
                Err(ExchangeError::NotFound) => Ok(Found::default()),
                found => found,
            },
            Way::LookUp => self.find_patients(query, slice).await,
            Way::Population => self.find_in_population(query, slice).await,
        }
    }

    /// The patients who fit by tokens and whom the caller may find, by id.
    pub fn listed(&self, query: &Query) -> Result<Vec<Arc<Listing>>, ExchangeError> {
        let mut found = self.exchange.listings_that_fit(&self.keeping, query)?;
        found.retain(|listing| self.exchange.may_look_up(self.ask, listing));
        found.sort_by(|a, b| a.logical_id.cmp(&b.logical_id));
        Ok(found)
    }

    /// A look-up of patients: only those of the page are opened, unless their order, or
    /// whether they match, can be seen in the open only.
    async fn find_patients(
        &mut self,
        query: &Query,
        slice: &Slice,
    ) -> Result<Found, ExchangeError> {
        let mut found = self.listed(query)?;
        if query.needs_document() {
            if found.len() > LOOKED_AT_MAX {
                let text = format!(
                    "more than {LOOKED_AT_MAX} patients would have to be opened to answer this; \
                     narrow the search"
                );
                return Err(ExchangeError::Invalid(vec![Issue::error("too-costly", "", text)]));
            }
            let mut sure = Vec::new();
            for row in self.open_patients(&found).await? {
                let resource = self.open(&row).await?.resource;
                if query.matches_document(&row.facts(), &resource) {
                    sure.push(row);
                }
            }
            if query.is_sorted() {
                sure.sort_by(|a, b| query.compare(&a.facts(), &b.facts()));
            }
            return Ok(slice.of(&sure.iter().collect::<Vec<_>>()));
        }
        let by_id_only = query.sorted_by().next().is_none_or(|first| first == "_id");
        if !by_id_only && !query.is_count_only() {
            if found.len() > SORTED_MAX {
                let what = "more than 10,000 patients match: too many to put in order";
                return Err(ExchangeError::Invalid(vec![Issue::error(
                    "too-costly",
                    "_sort",
                    what,
                )]));
            }
            let mut rows = self.open_patients(&found).await?;
            rows.sort_by(|a, b| query.compare(&a.facts(), &b.facts()));
            return Ok(slice.of(&rows.iter().collect::<Vec<_>>()));
        }
        if query.is_sorted() {
            fn facts(listing: &Listing) -> Row<'_> {
                Row { id: &listing.logical_id, last_updated: listing.updated, entries: &[] }
            }
            found.sort_by(|a, b| query.compare(&facts(a), &facts(b)));
        }
        let total = found.len();
        let skip = match &slice.after {
            Some(after) if !query.is_sorted() => {
                found.partition_point(|listing| listing.logical_id.as_str() <= after.as_str())
            }
            _ => slice.offset,
        };
        let asked: Vec<_> = found.into_iter().skip(skip).take(slice.count).collect();
        if asked.is_empty() && total > 0 {
            self.exchange.record_count(self.ask, &self.keeping).await?;
        }
        Ok(Found { total, picks: self.open_patients(&asked).await? })
    }

    /// The rows of these Patients, keys by one release. Who was registered after the
    /// state that is searched is not in it.
    async fn open_patients(
        &mut self,
        listings: &[Arc<Listing>],
    ) -> Result<Vec<OpenRow>, ExchangeError> {
        self.exchange.release_together(self.ask, &self.keeping, listings).await?;
        let mut rows = Vec::new();
        for listing in listings {
            self.record(listing.patient).await?;
            rows.extend(self.row_of("Patient", &listing.logical_id, listing.patient).await?);
        }
        Ok(rows)
    }

    /// `_contained`: containers of matches within one record, or among what is about
    /// no patient.
    async fn find_contained(
        &mut self,
        query: &Query,
        way: Way,
        slice: &Slice,
    ) -> Result<Found, ExchangeError> {
        let (patient, both) = match (way, query.contained()) {
            (Way::Nothing, _) => return Ok(Found::default()),
            (
                Way::Record(patient) | Way::Located(patient),
                Contained::True { container: true } | Contained::Both { container: true },
            ) => (patient, matches!(query.contained(), Contained::Both { .. })),
            (Way::Record(_) | Way::Located(_), _) => {
                let what = "contained resources are returned with their containers only";
                return Err(ExchangeError::Invalid(vec![Issue::error(
                    "not-supported",
                    "_containedType",
                    what,
                )]));
            }
            _ => {
                let what = "contained resources are searched within one patient's record only: \
                            add `patient=Patient/{id}`";
                return Err(ExchangeError::Invalid(vec![Issue::error(
                    "not-supported",
                    "_contained",
                    what,
                )]));
            }
        };
        let mut found = match both {
            true => self.matches_in(patient, query, &Slice::ALL).await?.picks,
            false => Vec::new(),
        };
        let rows = self.rows(patient).await?;
        for row in &rows.rows {
            if found.iter().any(|known| known.row.key == row.row.key) {
                continue;
            }
            let resource = self.open(row).await?.resource;
            let inner = resource["contained"].as_array().into_iter().flatten();
            let meets = |inner: &serde_json::Value| {
                let entries = holdfast_fhir::search::index(inner);
                let id = inner["id"].as_str().unwrap_or_default();
                let facts = Row { id, last_updated: row.row.last_updated, entries: &entries };
                inner["resourceType"] == *query.resource_type()
                    && query.matches_document(&facts, inner)
            };
            if inner.into_iter().any(meets) {
                found.push(row.clone());
            }
        }
        Ok(slice.of(&found.iter().collect::<Vec<_>>()))
    }
}
