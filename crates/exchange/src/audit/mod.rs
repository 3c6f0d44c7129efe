//! The ledger as FHIR AuditEvents, read-only, for the privacy and security offices:
//! about the records that an organization keeps, and what its own people did. Looking is
//! itself an entry, `ledger-read`, durable before anything is shown.

mod map;

use std::sync::Arc;

use holdfast_base::{ClassSet, LedgerIndex, OrganizationId, PatientId, PrincipalId, Timestamp};
use holdfast_fhir::Issue;
use holdfast_fhir::search::{self, IndexEntry, Query, Row};
use holdfast_ledger::{Event, Filter, Placed};
use holdfast_policy::Task;
use serde_json::Value;

use crate::disclose::{Disclosed, PAGE_DEFAULT, Page, page_size};
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// The type whose resources are a view of the ledger.
pub(crate) const AUDIT_EVENT: &str = "AuditEvent";
/// Resource types that nobody writes.
pub const READ_ONLY_TYPES: &[&str] = &[AUDIT_EVENT];

/// Entries that one search looks at; more wants a narrower question.
const CANDIDATES_MAX: usize = 10_000;
/// Entries that are looked at before others get their turn.
const TURN_COUNT: usize = 128;
/// Kinds of entries that may be about no single record.
const UNRELATED: [&str; 5] = ["population-query", "refusal", "session", "intake", "ledger-read"];

/// A match: the entry, its id, and what it is sorted by.
struct Found {
    placed: Placed,
    id: String,
    entries: Vec<IndexEntry>,
}

impl Found {
    fn row(&self) -> Row<'_> {
        Row { id: &self.id, last_updated: self.placed.entry.at, entries: &self.entries }
    }
}

impl Exchange {
    /// One audit event; its id is the index of its ledger entry.
    pub(crate) async fn audit_event(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
        version: Option<u64>,
    ) -> Result<Disclosed, ExchangeError> {
        let keeping = self.audit_reach(ask, organization).await?;
        let index: u64 = id.parse().map_err(|_| ExchangeError::NotFound)?;
        if index.to_string() != id || version.is_some_and(|version| version != 1) {
            return Err(ExchangeError::NotFound);
        }
        let after = index.checked_sub(1).map(LedgerIndex);
        let found = self.keeper().query(&Filter::default(), after, 1).await?;
        let placed = found.into_iter().next().filter(|placed| placed.index.0 == index);
        let placed = placed.ok_or(ExchangeError::NotFound)?;
        let event = self.as_audit_event(&keeping, &placed).ok_or(ExchangeError::NotFound)?;
        let about = placed.entry.event.patient().map(|(_, patient)| patient);
        self.record_ledger_read(ask, organization, about, 1).await?;
        Ok(disclosed(event, &placed))
    }

    /// Audit events that fit a search, newest first unless it says otherwise, of the
    /// first `size` entries of the ledger.
    pub(crate) async fn audit_events(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        query: &Query,
        offset: usize,
        size: u64,
    ) -> Result<Page, ExchangeError> {
        let keeping = self.audit_reach(ask, organization).await?;
        let filter = self.narrowed(&keeping, query)?;
        let about = filter.as_ref().and_then(|filter| filter.patients.iter().next().copied());
        let candidates = match &filter {
            Some(filter) => self.candidates(&keeping, filter).await?,
            None => Vec::new(),
        };
        let mut found = Vec::new();
        for (place, placed) in candidates.into_iter().rev().enumerate() {
            if place % TURN_COUNT == TURN_COUNT - 1 {
                tokio::task::yield_now().await;
            }
            if placed.index.0 >= size {
                continue;
            }
            let Some(event) = self.as_audit_event(&keeping, &placed) else { continue };
            let (id, mut entries) = (placed.index.0.to_string(), search::index(&event));
            if query.matches(&id, placed.entry.at, &entries) {
                if !query.is_sorted() {
                    entries = Vec::new();
                }
                found.push(Found { placed, id, entries });
            }
        }
        if query.is_sorted() {
            found.sort_by(|a, b| query.compare(&a.row(), &b.row()));
        }
        let total = found.len();
        let page = found.into_iter().skip(offset).take(page_size(query, PAGE_DEFAULT));
        let shown = |found: Found| {
            let event = self.as_audit_event(&keeping, &found.placed)?;
            Some(disclosed(event, &found.placed))
        };
        let matches: Vec<_> = page.filter_map(shown).collect();
        self.record_ledger_read(ask, organization, about, matches.len() as u64).await?;
        Ok(Page::of(matches, total, query))
    }

    /// The organization, for whoever may see the audit events of its records: the
    /// policy says which roles, and each office has its reach. What is out of reach is
    /// answered like what is not there.
    async fn audit_reach(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
    ) -> Result<Arc<Organization>, ExchangeError> {
        self.require_task(ask, Task::AuditEvents).await?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        if self.within_reach(ask, Some(organization)).is_err() {
            self.append_refusal(ask.caller.actor(), "policy", "other-organization").await?;
            return Err(ExchangeError::NotFound);
        }
        Ok(keeping)
    }

    /// What every match's entry fits; `None` when nothing can match.
    fn narrowed(
        &self,
        keeping: &Organization,
        query: &Query,
    ) -> Result<Option<Filter>, ExchangeError> {
        let mut filter = Filter::default();
        let (recorded, updated) = (query.span("date"), query.span("_lastUpdated"));
        let (from, to) = (recorded.from.max(updated.from), recorded.to.min(updated.to));
        filter.from = (from > i64::MIN).then(|| Timestamp::from_millis(from));
        filter.to = (to < i64::MAX).then(|| Timestamp::from_millis(to + 1));
        if let Some([one]) = query.codes("altid").as_deref() {
            let Ok(principal) = PrincipalId::new(one) else { return Ok(None) };
            filter.principal = Some(principal);
        }
        if let Some(codes) = query.codes("type") {
            let fits = |(_, types): &&(&str, &[&str])| types.iter().any(|t| codes.contains(t));
            let kinds = map::KINDS.iter().filter(fits);
            filter.kinds = kinds.map(|(kind, _)| (*kind).to_owned()).collect();
            if filter.kinds.is_empty() {
                return Ok(None);
            }
        } else {
            filter.kinds = map::KINDS.iter().map(|(kind, _)| (*kind).to_owned()).collect();
        }
        if let Some(id) = query.patient() {
            let Ok(listing) = self.listing_of(keeping.id(), id) else { return Ok(None) };
            filter.patients.insert(listing.patient);
        } else if let Some((resource_type, id)) = query.reference("entity") {
            let located = self.locate(keeping, &format!("{resource_type}/{id}"))?;
            let Some(patient) = located.filter(|patient| !patient.is_nobody()) else {
                return Ok(None);
            };
            filter.patients.insert(patient);
        }
        Ok(Some(filter))
    }

    /// Entries among which every match is, in their order.
    async fn candidates(
        &self,
        keeping: &Organization,
        filter: &Filter,
    ) -> Result<Vec<Placed>, ExchangeError> {
        let about_records = Filter { organization: Some(keeping.id().clone()), ..filter.clone() };
        let mut entries = self.bounded(&about_records).await?;
        let mut kinds = filter.kinds.clone();
        // Searches over all patients name those whom they named inside.
        let inside = |kind: &str| filter.patients.is_empty() || kind == "population-query";
        kinds.retain(|kind| UNRELATED.contains(&kind.as_str()) && inside(kind));
        if !kinds.is_empty() {
            let others = Filter { kinds, patients: Default::default(), ..filter.clone() };
            let others = self.bounded(&others).await?;
            entries.extend(others.into_iter().filter(|p| p.entry.event.patient().is_none()));
            entries.sort_by_key(|placed| placed.index);
        }
        Ok(entries)
    }

    async fn bounded(&self, filter: &Filter) -> Result<Vec<Placed>, ExchangeError> {
        let entries = self.keeper().query(filter, None, CANDIDATES_MAX + 1).await?;
        if entries.len() > CANDIDATES_MAX {
            let text =
                "more than 10,000 entries to look at: narrow by patient, date, altid or type";
            return Err(ExchangeError::Invalid(vec![Issue::error("too-costly", "date", text)]));
        }
        Ok(entries)
    }

    /// The event, when it belongs to what `keeping`'s office may see.
    fn as_audit_event(&self, keeping: &Organization, placed: &Placed) -> Option<Value> {
        let event = &placed.entry.event;
        let of_actor = || placed.entry.actor.organization.as_ref();
        let about = match event {
            Event::PopulationQuery { organization, .. }
            | Event::Intake { organization, .. }
            | Event::LedgerRead { organization, .. }
            | Event::BulkJob { organization, .. }
            | Event::Refusal { organization: Some(organization), .. } => Some(organization),
            Event::Refusal { .. } | Event::Session { .. } => of_actor(),
            _ => event.patient().map(|(organization, _)| organization),
        };
        if about != Some(keeping.id()) {
            return None;
        }
        let named = match event {
            Event::PopulationQuery { named, .. } => named.clone(),
            _ => event.patient().into_iter().map(|(_, patient)| patient).collect(),
        };
        let directory = self.directory().read();
        let known = |patient| Some(directory.get(keeping.id(), patient)?.logical_id.clone());
        let patients: Vec<String> = named.into_iter().filter_map(known).collect();
        map::audit_event(placed, &patients, keeping.id().as_str())
    }

    async fn record_ledger_read(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        patient: Option<PatientId>,
        entries_count: u64,
    ) -> Result<(), ExchangeError> {
        let (view, organization) = (AUDIT_EVENT.to_owned(), organization.clone());
        let event = Event::LedgerRead { view, organization, patient, entries_count };
        self.record_entries(vec![ask.entry(self.now(), event)]).await
    }
}

fn disclosed(resource: Value, placed: &Placed) -> Disclosed {
    Disclosed {
        resource,
        resource_type: AUDIT_EVENT.to_owned(),
        id: placed.index.0.to_string(),
        version: 1,
        last_updated: placed.entry.at,
        classes: ClassSet::EMPTY,
    }
}
