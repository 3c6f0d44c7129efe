//! Searching. A search within one patient's record opens the record's sealed
//! search rows; a look-up of patients goes through the directory's tokens, and
//! opens only those whom it returns; a search over all patients is the keeper's
//! (`population.rs`).

use std::sync::Arc;

use holdfast_base::{ClassSet, CommitNumber, OrganizationId, PatientId};
use holdfast_fhir::Issue;
use holdfast_fhir::search::{self, Handling, Query};
use holdfast_ledger::{Action, Event};
use holdfast_policy::Act;
use serde::{Deserialize, Serialize};

use super::open::OpenRow;
use super::{Disclosed, is_directory_type};
use crate::audit::AUDIT_EVENT;
use crate::directory::Listing;
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Matches on a page when `_count` does not say.
pub(crate) const PAGE_DEFAULT: usize = 50;
/// Patients on a page of a look-up when `_count` does not say: each is a key
/// release, and counts in the caller's budget.
pub(super) const PATIENTS_PAGE_DEFAULT: usize = 10;
/// Most matches on a page.
const PAGE_MAX: usize = 1_000;

/// One page of a search.
pub struct Page {
    /// The matches, in order.
    pub matches: Vec<Disclosed>,
    /// How many matches there are in all; exact.
    pub total: usize,
    /// Opens the next page; sealed, for this search only.
    pub next: Option<String>,
    /// The parameters that were used, in order.
    pub used: Vec<(String, String)>,
}

/// What a page token says; sealed.
#[derive(Serialize, Deserialize)]
struct PageToken {
    organization: String,
    resource_type: String,
    pairs: Vec<(String, String)>,
    place: Place,
}

/// Where a page begins, and in which state of the store.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Place {
    offset: usize,
    /// The commit that every page of one search sees; pages never shift under
    /// the reader.
    commit: Option<CommitNumber>,
    /// For AuditEvents: how many entries of the ledger every page of one search sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
}

impl Exchange {
    /// Searches one organization's records.
    ///
    /// # Errors
    /// [`ExchangeError::Invalid`] names every parameter that is unknown, malformed
    /// or not supported; otherwise as [`read`](Self::read).
    pub async fn search(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        resource_type: &str,
        pairs: &[(String, String)],
        handling: Handling,
    ) -> Result<Page, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        if holdfast_fhir::type_code(resource_type).is_none() {
            return Err(ExchangeError::NotFound);
        }
        let (pairs, mut place) = self.page_asked(organization, resource_type, pairs)?;
        let commit = *place.commit.get_or_insert(self.store().last_commit().0);
        let query = match search::parse_query(resource_type, &pairs, handling) {
            Ok(query) => query,
            Err(issues) => {
                self.append_refusal(ask.caller.actor(), "input", "malformed-parameter").await?;
                return Err(ExchangeError::Invalid(issues));
            }
        };
        let many = match query.patient() {
            Some(_) => false,
            // Tokens find patients; what tokens cannot answer, the index can.
            None if resource_type == "Patient" => query.lookup().is_err(),
            None => !is_directory_type(resource_type),
        };
        let mut page = if resource_type == AUDIT_EVENT {
            let size = match place.entries {
                Some(size) => size,
                None => self.keeper().status().await?.ledger_size,
            };
            place.entries = Some(size);
            self.audit_events(ask, organization, &query, place.offset, size).await?
        } else if many {
            self.search_population(ask, &keeping, &query, place.offset, commit).await?
        } else if resource_type == "Patient" {
            self.look_up(ask, &keeping, &query, place.offset).await?
        } else {
            self.search_record(ask, &keeping, resource_type, &query, place.offset, commit).await?
        };
        place.offset += page.matches.len();
        if place.offset < page.total && !page.matches.is_empty() {
            page.next = Some(self.page_token(organization, resource_type, pairs, place)?);
        }
        Ok(page)
    }

    /// A search within one record, or within what belongs to no patient.
    async fn search_record(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        resource_type: &str,
        query: &Query,
        offset: usize,
        commit: CommitNumber,
    ) -> Result<Page, ExchangeError> {
        let patient = match query.patient() {
            Some(id) => {
                let located = self.locate(keeping, &format!("Patient/{id}"))?;
                located.ok_or(ExchangeError::NotFound)?
            }
            None => PatientId::NONE,
        };
        let opened = self.open_record(ask, keeping, patient, Act::Search, ClassSet::ALL).await?;
        let snapshot = self.store().snapshot_at(commit).ok_or(ExchangeError::NotFound)?;
        let rows = self.record_rows(&opened, &snapshot)?;
        let mut found: Vec<&OpenRow> = rows.rows.iter().collect();
        found.retain(|row| {
            row.resource_type == resource_type
                && query.matches(&row.id, row.row.last_updated, &row.entries)
        });
        found.sort_by(|a, b| {
            let newest_first = b.row.commit.cmp(&a.row.commit);
            if query.is_sorted() { query.compare(&a.facts(), &b.facts()) } else { newest_first }
        });
        let total = found.len();
        let count = page_size(query, PAGE_DEFAULT);
        let mut matches = Vec::new();
        for row in found.into_iter().skip(offset).take(count) {
            let stored = snapshot.body(row.row.clone()).map_err(ExchangeError::store)?;
            matches.push(self.disclose(&opened, &row.id, &stored)?);
        }
        // Also a search that found nothing, or was only to count, has told something.
        self.record_access(ask, &opened, Action::Search, &matches).await?;
        Ok(Page { matches, total, next: None, used: query.used().to_vec() })
    }

    /// A look-up of patients.
    async fn look_up(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        query: &Query,
        offset: usize,
    ) -> Result<Page, ExchangeError> {
        let mut found = self.find_patients(keeping, query)?;
        found.retain(|listing| self.may_look_up(ask, listing));
        found.sort_by(|a, b| a.logical_id.cmp(&b.logical_id));
        let total = found.len();
        let count = page_size(query, PATIENTS_PAGE_DEFAULT);
        let asked: Vec<_> = found.into_iter().skip(offset).take(count).collect();
        if asked.is_empty() && total > 0 {
            self.record_count(ask, keeping).await?;
        }
        self.release_together(ask, keeping, &asked).await?;
        let mut matches = Vec::new();
        for listing in asked {
            matches.push(
                self.open_patient(ask, &listing, Act::Search, ClassSet::ALL, Action::Search)
                    .await?,
            );
        }
        Ok(Page { matches, total, next: None, used: query.used().to_vec() })
    }

    /// A look-up that returns nobody of those whom it found has told how many there are.
    pub(super) async fn record_count(
        &self,
        ask: &Ask,
        keeping: &Organization,
    ) -> Result<(), ExchangeError> {
        let event = Event::Access {
            organization: keeping.id().clone(),
            patient: PatientId::NONE,
            action: Action::Search,
            purpose: ask.purpose,
            relationship: "none".into(),
            touches: Vec::new(),
        };
        self.record_entries(vec![ask.entry(self.now(), event)]).await
    }

    /// One release for a whole page: one wait for the ledger, all or nothing.
    pub(super) async fn release_together(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        listings: &[Arc<Listing>],
    ) -> Result<(), ExchangeError> {
        let mut groups: std::collections::BTreeMap<(u8, &str), (Ask, Vec<PatientId>)> =
            Default::default();
        for listing in listings {
            let permit = self.permit(ask, listing, Act::Search, ClassSet::ALL).await?;
            let group = groups.entry((permit.classes().bits(), permit.reason()));
            let ask = Ask { purpose: permit.purpose(), ..ask.clone() };
            group.or_insert((ask, Vec::new())).1.push(listing.patient);
        }
        for ((bits, reason), (ask, patients)) in groups {
            let classes = ClassSet::from_bits(bits);
            self.open_keys(&ask, keeping.id(), &patients, classes, reason, false).await?;
        }
        Ok(())
    }

    pub(super) fn may_look_up(&self, ask: &Ask, listing: &Listing) -> bool {
        let relationship = self.relationship(&ask.caller, listing);
        let decision = self.decide(ask, listing, Act::Search, ClassSet::ALL, relationship);
        decision.is_ok_and(|decision| decision.into_result().is_ok())
    }

    /// The listings that fit every condition, by tokens.
    fn find_patients(
        &self,
        keeping: &Organization,
        query: &Query,
    ) -> Result<Vec<Arc<Listing>>, ExchangeError> {
        let groups = query.lookup().map_err(ExchangeError::Invalid)?;
        let groups: Vec<Vec<_>> = groups
            .iter()
            .map(|labels| labels.iter().map(|label| self.search_token(keeping, label)).collect())
            .collect();
        let ids = query.ids();
        let mut found = self.directory().read().find(keeping.id(), &groups);
        found.retain(|listing| {
            listing.merged_into.is_none()
                && ids.as_ref().is_none_or(|ids| ids.contains(&listing.logical_id.as_str()))
        });
        Ok(found)
    }

    fn page_asked(
        &self,
        organization: &OrganizationId,
        resource_type: &str,
        pairs: &[(String, String)],
    ) -> Result<(Vec<(String, String)>, Place), ExchangeError> {
        let Some((_, token)) = pairs.iter().find(|(name, _)| name == "_page") else {
            return Ok((pairs.to_vec(), Place::default()));
        };
        let wrong = || {
            ExchangeError::Invalid(vec![Issue::error("invalid", "_page", "no page of this search")])
        };
        let sealed =
            data_encoding::BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| wrong())?;
        let plain = self.system().open("page", &sealed).map_err(|_| wrong())?;
        let token: PageToken = serde_json::from_slice(&plain).map_err(|_| wrong())?;
        if token.organization != organization.as_str() || token.resource_type != resource_type {
            return Err(wrong());
        }
        Ok((token.pairs, token.place))
    }

    fn page_token(
        &self,
        organization: &OrganizationId,
        resource_type: &str,
        pairs: Vec<(String, String)>,
        place: Place,
    ) -> Result<String, ExchangeError> {
        let token = PageToken {
            organization: organization.to_string(),
            resource_type: resource_type.to_owned(),
            pairs,
            place,
        };
        let plain = serde_json::to_vec(&token)
            .map_err(|_| ExchangeError::Internal("a page token does not serialise"))?;
        Ok(data_encoding::BASE64URL_NOPAD.encode(&self.system().seal("page", &plain)))
    }
}

pub(crate) fn page_size(query: &Query, default: usize) -> usize {
    if query.is_count_only() {
        return 0;
    }
    query.count().map_or(default, |count| count as usize).min(PAGE_MAX)
}
