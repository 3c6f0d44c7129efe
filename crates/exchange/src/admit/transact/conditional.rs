//! Which resources fit the criteria of a conditional interaction (FHIR R4
//! http.html#ccreate, #cond-update, #3.1.0.7.1).
//!
//! Patients are found by their tokens; what names a patient, or is nobody's, by its
//! search rows; anything else by a search of the caller over all patients.

use holdfast_base::{PatientId, Timestamp};
use holdfast_fhir::search::{self, Handling, Query};
use holdfast_store::Snapshot;

use super::asked::{Asked, Criteria, Method};
use super::refuse;
use crate::admit::{Arrival, Subject};
use crate::disclose::{compartment_of_nobody, is_about_no_patient};
use crate::state::Exchange;
use crate::{ExchangeError, cover};

/// Parameters that say how to answer, not what to find.
const NO_CRITERIA: [&str; 12] = [
    "_count",
    "_sort",
    "_include",
    "_revinclude",
    "_summary",
    "_elements",
    "_total",
    "_contained",
    "_containedType",
    "_format",
    "_pretty",
    "_page",
];

impl Exchange {
    /// The lanes in which an entry waits for others that may mean the same resource.
    pub(super) fn lanes_of(
        &self,
        arrival: &Arrival<'_>,
        asked: &Asked<'_>,
    ) -> Result<Vec<usize>, ExchangeError> {
        let mut lanes = Vec::new();
        let named = |token: &[u8]| self.lane_number(token);
        if let Some(criteria) = &asked.criteria {
            let mut sorted = criteria.clone();
            sorted.sort_unstable();
            let text = serde_json::to_vec(&(asked.kind, sorted))
                .map_err(|_| ExchangeError::Internal("criteria do not serialise"))?;
            lanes.push(named(&arrival.organization.keys.token.token("criteria", &text)));
        }
        if asked.kind == "Patient" && matches!(asked.method, Method::Create | Method::Update) {
            let keys = self.identifier_keys(&arrival.organization, &asked.source.resource);
            lanes.extend(keys.iter().map(|key| named(key)));
        }
        Ok(lanes)
    }

    /// The logical ids that fit the criteria: of more than two, two.
    pub(super) async fn fitting(
        &self,
        arrival: &Arrival<'_>,
        kind: &str,
        criteria: &Criteria,
        (entry, part): (usize, &str),
    ) -> Result<Vec<String>, ExchangeError> {
        let no_criteria = |(name, _): &(String, String)| NO_CRITERIA.contains(&name.as_str());
        if criteria.is_empty() || criteria.iter().any(no_criteria) {
            return Err(refuse("request", entry, part, "has to have criteria, and nothing else"));
        }
        let query = search::parse_query(kind, criteria, Handling::Strict)
            .map_err(|_| refuse("request", entry, part, "has criteria that are not understood"))?;
        if let Some(found) = self.fitting_patients(arrival, kind, &query)? {
            return Ok(found);
        }
        let of_patient = query.patient();
        if of_patient.is_none() && !is_about_no_patient(kind) {
            return self.fitting_population(arrival, kind, criteria, (entry, part)).await;
        }
        let owner = match of_patient {
            None => Subject::nobody(compartment_of_nobody(kind)),
            Some(id) => match self.locate(&arrival.organization, &format!("Patient/{id}"))? {
                Some(patient) => self.known_subject(&arrival.organization, patient)?,
                None => return Ok(Vec::new()),
            },
        };
        let mut keys = self.keys_for_writing(arrival, std::iter::once(&owner)).await?;
        let keys = keys.remove(&owner.patient).ok_or(ExchangeError::NotFound)?;
        let snapshot = self.store().snapshot();
        let mut found = Vec::new();
        let ordinal = arrival.organization.ordinal;
        for type_code in [Some(cover::UNTOLD_TYPE), holdfast_fhir::type_code(kind)] {
            for row in snapshot.scan_current(ordinal, owner.patient, type_code) {
                let row = row.map_err(ExchangeError::store)?;
                if row.deleted {
                    continue;
                }
                if let Some(row) = self.open_row(&arrival.organization, row, &keys)?
                    && row.resource_type == kind
                    && query.matches(&row.id, row.row.last_updated, &row.entries)
                {
                    found.push(row.id);
                }
                if found.len() > 1 {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Patients that fit, where tokens can tell.
    fn fitting_patients(
        &self,
        arrival: &Arrival<'_>,
        kind: &str,
        query: &Query,
    ) -> Result<Option<Vec<String>>, ExchangeError> {
        if kind != "Patient" || query.lookup().is_err() {
            return Ok(None);
        }
        let found = self.listings_that_fit(&arrival.organization, query)?;
        Ok(Some(found.iter().take(2).map(|listing| listing.logical_id.clone()).collect()))
    }

    /// What fits among all patients', as the caller may find it.
    async fn fitting_population(
        &self,
        arrival: &Arrival<'_>,
        kind: &str,
        criteria: &Criteria,
        (entry, part): (usize, &str),
    ) -> Result<Vec<String>, ExchangeError> {
        let limited = [criteria.clone(), vec![("_count".into(), "2".into())]].concat();
        let organization = arrival.organization.id();
        let page = self.search(arrival.ask, organization, kind, &limited, Handling::Strict).await;
        match page {
            Ok(page) => Ok(page.matches.into_iter().map(|found| found.id).collect()),
            Err(ExchangeError::NotPermitted { .. }) => {
                let text = "looks among all patients, which this account may not: \
                            name the patient in the criteria";
                Err(refuse("not-permitted", entry, part, text))
            }
            Err(ExchangeError::Invalid(_)) => {
                let text = "has criteria that cannot be answered over all patients: \
                            name the patient";
                Err(refuse("request", entry, part, text))
            }
            Err(error) => Err(error),
        }
    }

    /// The current version of a resource, its place and whose it is.
    pub(super) fn standing(
        &self,
        arrival: &Arrival<'_>,
        snapshot: &Snapshot,
        kind: &str,
        id: &str,
    ) -> Result<Option<Standing>, ExchangeError> {
        let organization = &arrival.organization;
        let Some(patient) = self.locate(organization, &format!("{kind}/{id}"))? else {
            return Ok(None);
        };
        let key = self.store_key(organization, patient, kind, id)?;
        let row = snapshot.current_index(&key).map_err(ExchangeError::store)?;
        Ok(Some(Standing {
            patient,
            version: row.as_ref().map(|row| row.version),
            last_updated: row.as_ref().map_or_else(|| self.now(), |row| row.last_updated),
            alive: row.is_some_and(|row| !row.deleted),
        }))
    }
}

/// Where a resource stands.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub patient: PatientId,
    pub version: Option<u64>,
    pub last_updated: Timestamp,
    pub alive: bool,
}
