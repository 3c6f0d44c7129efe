//! Searching over all patients of an organization. The keeper answers which
//! resources match, after an entry, within the caller's budget; then they are
//! opened like any others, and looked at once more.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::{ClassSet, PatientId};
use holdfast_fhir::Issue;
use holdfast_fhir::search::{PostingRange, Query};
use holdfast_keeper::{
    Check, Condition, IndexedResource, KeeperError, PopulationQuestion, PopulationSearch, Range,
};
use holdfast_policy::{Act, Consent, Decision, Permit, Question, Relationship, decide};
use holdfast_store::ResourceKey;

use super::open::OpenRow;
use super::searching::{Found, Searching};
use super::ways::Slice;
use crate::people::Organization;
use crate::population::{deltas, fetch};
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Resources that are named at most so that they can be put in order.
const SORTED_MAX: u64 = 10_000;
/// Resources that one answer of the keeper names.
const NAMED_MAX: usize = 10_000;

fn range(range: PostingRange) -> Range {
    let check = |c: holdfast_fhir::search::PostingCheck| Check { at: c.at, from: c.from, to: c.to };
    Range { from: range.from, to: range.to, checks: range.checks.into_iter().map(check).collect() }
}

impl Searching<'_> {
    /// A search over every patient of the caller's own organization, in what the
    /// caller may see of any of them.
    pub async fn find_in_population(
        &mut self,
        query: &Query,
        slice: &Slice,
    ) -> Result<Found, ExchangeError> {
        let page = match (query.is_count_only() || slice.count == 0, query.is_sorted()) {
            (true, _) => None,
            (false, true) => Some((0, SORTED_MAX)),
            // Whoever wants all of them has to be told all of them.
            (false, false) if slice.count > NAMED_MAX => Some((0, NAMED_MAX as u64)),
            (false, false) => Some((slice.offset as u64, slice.count as u64)),
        };
        let (total, named) = self.ask_keeper(query, page).await?;
        let too_many = |parameter: &str, what: &str| {
            Err(ExchangeError::Invalid(vec![Issue::error("too-costly", parameter, what)]))
        };
        if query.is_sorted() && page.is_some() && named.len() < total {
            let what = "more than 10,000 resources match: too many to put in order";
            return too_many("_sort", what);
        }
        if slice.count > NAMED_MAX && page.is_some() && named.len() < total {
            return too_many("", "more than 10,000 resources match in the middle of a chain");
        }
        let mut rows = self.open_named(query, &named).await?;
        if query.is_sorted() {
            rows.sort_by(|a, b| query.compare(&a.facts(), &b.facts()));
            rows = rows.into_iter().skip(slice.offset).take(slice.count).collect();
        }
        Ok(Found { total, picks: rows })
    }

    /// Whose records the matches lie in; none of them is opened.
    pub async fn patients_in_population(
        &mut self,
        query: &Query,
    ) -> Result<BTreeSet<PatientId>, ExchangeError> {
        let (total, named) = self.ask_keeper(query, Some((0, NAMED_MAX as u64))).await?;
        if named.len() < total {
            let what = "more than 10,000 resources match in the middle of a chain";
            return Err(ExchangeError::Invalid(vec![Issue::error("too-costly", "", what)]));
        }
        Ok(named.into_iter().map(|resource| resource.patient).collect())
    }

    /// The number of matches, and the resources of `page`.
    async fn ask_keeper(
        &self,
        query: &Query,
        page: Option<(u64, u64)>,
    ) -> Result<(usize, Vec<IndexedResource>), ExchangeError> {
        let (exchange, ask, keeping) = (self.exchange, self.ask, &self.keeping);
        let permit = exchange.permit_population(ask, keeping).await?;
        let conditions = query.population().map_err(ExchangeError::Invalid)?;
        let conditions = conditions.into_iter().map(|condition| Condition {
            excludes: condition.excludes,
            ranges: condition.ranges.into_iter().map(range).collect(),
        });
        let snapshot = exchange.store().snapshot();
        let manifest = exchange.manifest(keeping, &snapshot)?;
        let (manifest, _) = manifest.ok_or(ExchangeError::IndexUnfinished)?;
        if !manifest.ready {
            return Err(ExchangeError::IndexUnfinished);
        }
        if self.commit < manifest.since {
            let what = "this page is of a state before the index was made; search anew";
            return Err(ExchangeError::Invalid(vec![Issue::error("expired", "_page", what)]));
        }
        let mut parameters: Vec<String> = query.parameters().map(str::to_owned).collect();
        parameters.sort_unstable();
        parameters.dedup();
        let asked = PopulationSearch {
            proof: exchange.proof_of(&ask.caller).await?,
            request: ask.request,
            resource_type: query.resource_type().into(),
            parameters,
            purpose: permit.purpose(),
            question: PopulationQuestion {
                organization: keeping.id().clone(),
                conditions: conditions.collect(),
                everything: range(query.everything()),
                classes: permit.classes(),
                as_of: self.commit.0,
                runs: manifest.runs.iter().map(|run| run.reference()).collect(),
                deltas: deltas(keeping, &snapshot)?,
                page,
            },
        };
        let search = |asked| exchange.keeper().population_search(asked, fetch(keeping, &snapshot));
        let found = match search(asked.clone()).await {
            // As for a release: a vouched session that is over is vouched for anew, once.
            Err(KeeperError::NotSignedIn) if exchange.forget_vouched(&ask.caller) => {
                let proof = exchange.proof_of(&ask.caller).await?;
                search(PopulationSearch { proof, ..asked }).await
            }
            found => found,
        };
        let (total, named) = found.map_err(|error| match error {
            KeeperError::Malformed { .. } => ExchangeError::Invalid(vec![Issue::error(
                "too-costly",
                "",
                "too many resources match; narrow the search, or leave out `_sort`",
            )]),
            other => other.into(),
        })?;
        Ok((usize::try_from(total).unwrap_or(usize::MAX), named))
    }

    /// Opens the search rows of what the keeper named, keys by one release, and looks at
    /// each once more.
    async fn open_named(
        &mut self,
        query: &Query,
        named: &[IndexedResource],
    ) -> Result<Vec<OpenRow>, ExchangeError> {
        let type_code = holdfast_fhir::type_code(query.resource_type());
        let type_code = type_code.ok_or(ExchangeError::NotFound)?;
        let mut listings = BTreeMap::new();
        for resource in named.iter().filter(|resource| !resource.patient.is_nobody()) {
            let listing = self.exchange.directory().read().get(self.keeping.id(), resource.patient);
            let listing =
                listing.ok_or(ExchangeError::Internal("an unknown patient is indexed"))?;
            listings.insert(resource.patient, listing);
        }
        let together: Vec<_> = listings.into_values().collect();
        self.exchange.release_together(self.ask, &self.keeping, &together).await?;
        let differs = || ExchangeError::Internal("the population index and a record differ");
        let mut rows: Vec<OpenRow> = Vec::new();
        for resource in named {
            let opened = self.record(resource.patient).await?;
            let key = self.exchange.placed(ResourceKey {
                organization: self.keeping.ordinal,
                patient: resource.patient,
                type_code,
                id_token: resource.token,
            })?;
            let row = self.snapshot.current_index(&key).map_err(ExchangeError::store)?;
            let row = row.filter(|row| !row.deleted).ok_or_else(differs)?;
            let open = self.exchange.open_row(&self.keeping, row, &opened.keys)?;
            let open = open.ok_or_else(differs)?;
            if !query.matches(&open.id, open.row.last_updated, &open.entries) {
                return Err(differs());
            }
            rows.push(open);
        }
        Ok(rows)
    }
}

impl Exchange {
    /// What the caller may see of any patient of its own organization. Other
    /// organizations' patients are not searched, whether there are any or not.
    async fn permit_population(
        &self,
        ask: &Ask,
        keeping: &Organization,
    ) -> Result<Permit, ExchangeError> {
        if ask.caller.organization() != keeping.id() {
            return Err(ExchangeError::Invalid(vec![Issue::error(
                "not-supported",
                "patient",
                "a search in another organization needs a patient: add `patient=Patient/{id}`",
            )]));
        }
        let decision = decide(&Question {
            principal: &ask.caller.principal,
            purpose: ask.purpose,
            organization: keeping.id(),
            module: keeping.facts.module,
            act: Act::Search,
            relationship: Relationship::Organization,
            consent: Consent::NotStated,
            wanted: ClassSet::ALL,
            emergency: None,
        });
        match decision {
            Decision::Permit(permit) => Ok(permit),
            Decision::Refuse(refusal) => {
                self.append_refusal(ask.caller.actor(), "policy", refusal.reason).await?;
                Err(ExchangeError::NotPermitted { reason: refusal.reason })
            }
        }
    }
}
