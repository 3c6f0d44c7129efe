//! Searching. A search within one patient's record opens the record's sealed
//! search rows; a look-up of patients goes through the directory's tokens, and
//! opens only those whom it returns; a search over all patients is the keeper's
//! (`population.rs`). Which way a search goes is decided in `ways.rs`, after the
//! links to other resources were followed (`follow.rs`).

use std::sync::Arc;

use holdfast_base::{CommitNumber, OrganizationId, PatientId, Timestamp};
use holdfast_fhir::Issue;
use holdfast_fhir::search::{
    Contained, Handling, PublishedTerms, Query, SearchContext, parse_query_in,
};
use holdfast_ledger::Event;
use holdfast_policy::Act;
use serde::{Deserialize, Serialize};

use super::Disclosed;
use super::include;
use super::open::OpenRow;
use super::own::is_directory_type;
use super::searching::{Found, Searching, in_order};
use super::ways::{Slice, Way};
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
/// How long the next page can be asked for: as long as somebody who reads pages may
/// take, and no longer.
const PAGE_LIFE_MS: i64 = 30 * 60_000;
/// Types in one search.
const TYPES_MAX: usize = 50;

/// What is searched: resource types, and within which compartment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchScope {
    /// Resource types; none means every type of the compartment.
    pub types: Vec<String>,
    /// Type and id of the resource whose compartment it is.
    pub compartment: Option<(String, String)>,
}

impl SearchScope {
    /// The resources of one type.
    pub fn of(resource_type: &str) -> Self {
        Self { types: vec![resource_type.to_owned()], compartment: None }
    }
}

/// One page of a search.
pub struct Page {
    /// The matches, in order.
    pub matches: Vec<Disclosed>,
    /// What goes along with them by `_include` and `_revinclude`; no match among it.
    pub included: Vec<Disclosed>,
    /// How many matches there are in all; exact.
    pub total: usize,
    /// Opens the next page; sealed, for this search only, for half an hour.
    pub next: Option<String>,
    /// The parameters that were used, in order.
    pub used: Vec<(String, String)>,
    /// What has to be said about the answer.
    pub issues: Vec<Issue>,
}

impl Page {
    /// A page of matches alone.
    pub(crate) fn of(matches: Vec<Disclosed>, total: usize, query: &Query) -> Self {
        Self {
            matches,
            included: Vec::new(),
            total,
            next: None,
            used: query.used().to_vec(),
            issues: Vec::new(),
        }
    }
}

/// What a page token says; sealed.
#[derive(Serialize, Deserialize)]
struct PageToken {
    organization: String,
    scope: SearchScope,
    pairs: Vec<(String, String)>,
    place: Place,
    /// The last moment at which it opens a page.
    until: i64,
}

/// Where a page begins, and in which state of the store.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Place {
    offset: usize,
    /// The commit that every page of one search sees; pages never shift under
    /// the reader.
    commit: Option<CommitNumber>,
    /// For AuditEvents: how many entries of the ledger every page of one search sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    /// For look-ups: the last id that was shown, and the total of the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<(String, usize)>,
}

impl Exchange {
    /// Searches one organization's records for resources of one type.
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
        let scope = SearchScope::of(resource_type);
        self.search_in(ask, organization, &scope, pairs, handling).await
    }

    /// Searches for resources of several types, or in a compartment.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    pub async fn search_in(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        scope: &SearchScope,
        pairs: &[(String, String)],
        handling: Handling,
    ) -> Result<Page, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let named = scope.types.iter().chain(scope.compartment.iter().map(|(kind, _)| kind));
        if named.into_iter().any(|name| holdfast_fhir::type_code(name).is_none()) {
            return Err(ExchangeError::NotFound);
        }
        let (pairs, mut place) = self.page_asked(organization, scope, pairs)?;
        let commit = *place.commit.get_or_insert(self.store().last_commit().0);
        let mut queries = match understood(scope, &pairs, handling) {
            Ok(queries) => queries,
            Err(issues) => {
                self.append_refusal(ask.caller.actor(), "input", "malformed-parameter").await?;
                return Err(ExchangeError::Invalid(issues));
            }
        };
        if scope.types.iter().any(|name| name == AUDIT_EVENT) {
            let page = self.audit_page(ask, organization, scope, &queries, &mut place).await?;
            return self.with_next(page, organization, scope, pairs, place);
        }
        let mut searching = Searching::new(self, ask, &keeping, commit)?;
        searching.within = self.record_of_compartment(&keeping, scope)?;
        for query in &mut queries {
            searching.follow(query).await?;
        }
        let first = &queries[0];
        let default = match first.count() {
            Some(_) => PAGE_DEFAULT,
            None => default_size(&searching, &queries)?,
        };
        let count = page_size(first, default);
        let slice = Slice {
            offset: place.offset,
            count,
            after: place.after.as_ref().map(|(id, _)| id.clone()),
        };
        let found = find_all(&mut searching, &queries, slice).await?;
        let mut matches = Vec::with_capacity(found.picks.len());
        for row in &found.picks {
            matches.push(searching.show(row).await?);
        }
        let (included, mut issues) = searching.included(&found.picks, first.includes()).await?;
        issues.extend(first.issues().iter().cloned());
        searching.record_accesses().await?;

        let of_patients = queries.len() == 1 && first.resource_type() == "Patient";
        let is_look_up = of_patients && searching.way(first)? == Way::LookUp;
        let mut total = found.total;
        place.offset += matches.len();
        if is_look_up && !first.is_sorted() {
            total = place.after.as_ref().map_or(total, |(_, total)| *total);
            place.after = matches.last().map(|last| (last.id.clone(), total));
        }
        let page = Page { included, issues, ..Page::of(matches, total, first) };
        // What was left out of the first page is not asked for again.
        let mut pairs = pairs;
        pairs.retain(|pair| pair.0 == "_type" || queries.iter().all(|q| q.used().contains(pair)));
        self.with_next(page, organization, scope, pairs, place)
    }

    /// How a search would be answered, in words; nothing is opened, and nothing of any
    /// record is in it.
    ///
    /// # Errors
    /// As [`search`](Self::search) for what is malformed.
    pub fn explain(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        scope: &SearchScope,
        pairs: &[(String, String)],
        handling: Handling,
    ) -> Result<Vec<String>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let queries = understood(scope, pairs, handling).map_err(ExchangeError::Invalid)?;
        Ok(super::plan::plan(&queries, scope))
    }

    async fn audit_page(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        scope: &SearchScope,
        queries: &[Query],
        place: &mut Place,
    ) -> Result<Page, ExchangeError> {
        let query = &queries[0];
        let plain = scope.types.len() == 1
            && scope.compartment.is_none()
            && !query.is_linked()
            && query.includes().is_empty()
            && query.contained() == Contained::False
            && !query.needs_document();
        if !plain {
            let what = "AuditEvent is a view of the ledger: it is searched by itself, without \
                        chains, includes, compartments and parameters that look into resources";
            return Err(ExchangeError::Invalid(vec![Issue::error("not-supported", "", what)]));
        }
        let size = match place.entries {
            Some(size) => size,
            None => self.keeper().status().await?.ledger_size,
        };
        place.entries = Some(size);
        let page = self.audit_events(ask, organization, query, place.offset, size).await?;
        place.offset += page.matches.len();
        Ok(page)
    }

    /// The page, with the token of the next one when there is more.
    fn with_next(
        &self,
        mut page: Page,
        organization: &OrganizationId,
        scope: &SearchScope,
        pairs: Vec<(String, String)>,
        place: Place,
    ) -> Result<Page, ExchangeError> {
        if place.offset < page.total && !page.matches.is_empty() {
            page.next = Some(self.page_token(organization, scope, pairs, place)?);
        }
        Ok(page)
    }

    /// The record in which all of a compartment lies, for compartments of patients and
    /// of what is in patients' records.
    fn record_of_compartment(
        &self,
        keeping: &Organization,
        scope: &SearchScope,
    ) -> Result<Option<PatientId>, ExchangeError> {
        let Some((kind, id)) = &scope.compartment else { return Ok(None) };
        let located = self.locate(keeping, &format!("{kind}/{id}"))?;
        let patient = located.ok_or(ExchangeError::NotFound)?;
        Ok((!is_directory_type(kind)).then_some(patient))
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
            action: holdfast_ledger::Action::Search,
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
            let wanted = holdfast_base::ClassSet::ALL;
            let permit = self.permit(ask, listing, Act::Search, wanted).await?;
            let group = groups.entry((permit.classes().bits(), permit.reason()));
            let ask = Ask { purpose: permit.purpose(), ..ask.clone() };
            group.or_insert((ask, Vec::new())).1.push(listing.patient);
        }
        for ((bits, reason), (ask, patients)) in groups {
            let classes = holdfast_base::ClassSet::from_bits(bits);
            self.open_keys(&ask, keeping.id(), &patients, classes, reason, false).await?;
        }
        Ok(())
    }

    pub(super) fn may_look_up(&self, ask: &Ask, listing: &Listing) -> bool {
        let relationship = self.relationship(&ask.caller, listing);
        let wanted = holdfast_base::ClassSet::ALL;
        let decision = self.decide(ask, listing, Act::Search, wanted, relationship);
        decision.is_ok_and(|decision| decision.into_result().is_ok())
    }

    /// The listings that fit every condition, by tokens.
    pub(crate) fn listings_that_fit(
        &self,
        keeping: &Organization,
        query: &Query,
    ) -> Result<Vec<Arc<Listing>>, ExchangeError> {
        let groups = query.lookup().map_err(ExchangeError::Invalid)?;
        let groups: Vec<Vec<_>> = groups
            .iter()
            .map(|labels| labels.iter().map(|label| self.search_token(keeping, label)).collect())
            .collect();
        let directory = self.directory().read();
        let mut found = match query.ids().filter(|_| groups.is_empty()) {
            // Ids alone need no look at everybody.
            Some(ids) => {
                let named = |id: &&str| directory.by_logical_id(keeping.id(), id);
                ids.iter().filter_map(named).collect()
            }
            None => directory.find(keeping.id(), &groups),
        };
        let ids = query.ids();
        found.retain(|listing| !listing.deleted);
        // A record that was merged into another is found by its own id only.
        found.retain(|listing| match &ids {
            Some(ids) => ids.contains(&listing.logical_id.as_str()),
            None => listing.merged_into.is_none(),
        });
        Ok(found)
    }

    fn page_asked(
        &self,
        organization: &OrganizationId,
        scope: &SearchScope,
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
        if token.organization != organization.as_str() || token.scope != *scope {
            return Err(wrong());
        }
        if self.now() > Timestamp::from_millis(token.until) {
            let text = "the page is older than half an hour: search anew";
            return Err(ExchangeError::Invalid(vec![Issue::error("expired", "_page", text)]));
        }
        Ok((token.pairs, token.place))
    }

    fn page_token(
        &self,
        organization: &OrganizationId,
        scope: &SearchScope,
        pairs: Vec<(String, String)>,
        place: Place,
    ) -> Result<String, ExchangeError> {
        let token = PageToken {
            organization: organization.to_string(),
            scope: scope.clone(),
            pairs,
            place,
            until: self.now().plus_millis(PAGE_LIFE_MS).millis(),
        };
        let plain = serde_json::to_vec(&token)
            .map_err(|_| ExchangeError::Internal("a page token does not serialise"))?;
        Ok(data_encoding::BASE64URL_NOPAD.encode(&self.system().seal("page", &plain)))
    }
}

/// One search for each type.
fn understood(
    scope: &SearchScope,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Vec<Query>, Vec<Issue>> {
    let mut types: Vec<&str> = scope.types.iter().map(String::as_str).collect();
    let mut common: Vec<(String, String)> = pairs.to_vec();
    if let (Some((compartment, _)), true) = (&scope.compartment, types.is_empty()) {
        let said = pairs.iter().find(|(name, _)| name == "_type");
        match said {
            Some((_, said)) => types = said.split(',').map(str::trim).collect(),
            None => types = holdfast_fhir::compartment_types(compartment),
        }
    }
    if scope.types.len() != 1 {
        common.retain(|(name, _)| name != "_type");
    }
    if types.is_empty() || (scope.compartment.is_none() && types.len() > TYPES_MAX) {
        let text = format!("name the resource types, at most {TYPES_MAX}, by `_type`");
        return Err(vec![Issue::error("too-costly", "_type", text)]);
    }
    let context = SearchContext { terms: &PublishedTerms, base: None };
    let mut queries = Vec::new();
    for kind in types {
        let mut query = parse_query_in(&context, kind, &common, handling)?;
        if let Some((compartment, id)) = &scope.compartment
            && !query.limit_to_compartment(compartment, id)
        {
            let text = format!("{kind} is in no compartment of a {compartment}");
            return Err(vec![Issue::error("not-supported", "", text)]);
        }
        let beyond = include::unanswered(&query);
        if !beyond.is_empty() {
            return Err(beyond);
        }
        queries.push(query);
    }
    Ok(queries)
}

/// How many matches a page has when it is not said: fewer when each is a patient.
fn default_size(searching: &Searching<'_>, queries: &[Query]) -> Result<usize, ExchangeError> {
    for query in queries {
        if matches!(searching.way(query)?, Way::LookUp | Way::Population) {
            return Ok(PATIENTS_PAGE_DEFAULT);
        }
    }
    Ok(PAGE_DEFAULT)
}

/// The matches of every search, one type after the other; those of one record in one
/// order.
async fn find_all(
    searching: &mut Searching<'_>,
    queries: &[Query],
    slice: Slice,
) -> Result<Found, ExchangeError> {
    if let [query] = queries {
        return searching.find(query, &slice).await;
    }
    let mut records = std::collections::BTreeSet::new();
    for query in queries {
        records.insert(match searching.way(query)? {
            Way::Nothing => continue,
            Way::Record(patient) | Way::Located(patient) => Some(patient),
            Way::LookUp | Way::Population => None,
        });
    }
    let opened = !records.contains(&None);
    if opened {
        let mut all: Vec<OpenRow> = Vec::new();
        for query in queries {
            all.extend(searching.find(query, &Slice::ALL).await?.picks);
        }
        let mut ordered: Vec<&OpenRow> = all.iter().collect();
        in_order(&queries[0], &mut ordered);
        return Ok(slice.of(&ordered));
    }
    if queries[0].is_sorted() {
        let what = "several types over many patients are not put in one order";
        return Err(ExchangeError::Invalid(vec![Issue::error("not-supported", "_sort", what)]));
    }
    let mut found = Found::default();
    for query in queries {
        let part = Slice {
            offset: slice.offset.saturating_sub(found.total),
            count: slice.count - found.picks.len(),
            after: None,
        };
        let of_type = searching.find(query, &part).await?;
        found.total += of_type.total;
        found.picks.extend(of_type.picks);
    }
    Ok(found)
}

pub(crate) fn page_size(query: &Query, default: usize) -> usize {
    if query.is_count_only() {
        return 0;
    }
    query.count().map_or(default, |count| count as usize).min(PAGE_MAX)
}
