//! Searching over all patients of an organization. The keeper answers which
//! resources match, after an entry, within the caller's budget; then they are
//! opened like any others, and looked at once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_base::{ClassSet, CommitNumber, PatientId};
use holdfast_fhir::Issue;
use holdfast_fhir::search::{PostingRange, Query};
use holdfast_keeper::{
    Check, Condition, IndexedResource, KeeperError, PopulationQuestion, PopulationSearch, Range,
};
use holdfast_ledger::Action;
use holdfast_policy::{Act, Consent, Decision, Permit, Question, Relationship, decide};
use holdfast_store::ResourceKey;

use super::Page;
use super::open::OpenRow;
use super::search::{PATIENTS_PAGE_DEFAULT, page_size};
use crate::people::Organization;
use crate::population::{deltas, fetch};
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Resources that are named at most so that they can be put in order.
const SORTED_MAX: u64 = 10_000;

fn range(range: PostingRange) -> Range {
    let check = |c: holdfast_fhir::search::PostingCheck| Check { at: c.at, from: c.from, to: c.to };
    Range { from: range.from, to: range.to, checks: range.checks.into_iter().map(check).collect() }
}

impl Exchange {
    /// A search over every patient of the caller's own organization, in what the
    /// caller may see of any of them. In the state that `commit` left.
    pub(super) async fn search_population(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        query: &Query,
        offset: usize,
        commit: CommitNumber,
    ) -> Result<Page, ExchangeError> {
        let permit = self.permit_population(ask, keeping).await?;
        let conditions = query.population().map_err(ExchangeError::Invalid)?;
        let conditions = conditions.into_iter().map(|condition| Condition {
            excludes: condition.excludes,
            ranges: condition.ranges.into_iter().map(range).collect(),
        });
        let snapshot = self.store().snapshot();
        let manifest = self.manifest(keeping, &snapshot)?;
        let (manifest, _) = manifest.ok_or(ExchangeError::IndexUnfinished)?;
        if !manifest.ready {
            return Err(ExchangeError::IndexUnfinished);
        }
        if commit < manifest.since {
            let what = "this page is of a state before the index was made; search anew";
            return Err(ExchangeError::Invalid(vec![Issue::error("expired", "_page", what)]));
        }
        let count = page_size(query, PATIENTS_PAGE_DEFAULT);
        let page = match (query.is_count_only(), query.is_sorted()) {
            (true, _) => None,
            (false, true) => Some((0, SORTED_MAX)),
            (false, false) => Some((offset as u64, count as u64)),
        };
        let mut parameters: Vec<String> = query.parameters().map(str::to_owned).collect();
        parameters.sort_unstable();
        parameters.dedup();
        let asked = PopulationSearch {
            proof: self.proof_of(&ask.caller).await?,
            request: ask.request,
            resource_type: query.resource_type().into(),
            parameters,
            purpose: permit.purpose(),
            question: PopulationQuestion {
                organization: keeping.id().clone(),
                conditions: conditions.collect(),
                everything: range(query.everything()),
                classes: permit.classes(),
                as_of: commit.0,
                runs: manifest.runs.iter().map(|run| run.reference()).collect(),
                deltas: deltas(keeping, &snapshot)?,
                page,
            },
        };
        let search = |asked| self.keeper().population_search(asked, fetch(keeping, &snapshot));
        let found = match search(asked.clone()).await {
            // As for a release: a vouched session that is over is vouched for anew, once.
            Err(KeeperError::NotSignedIn) if self.forget_vouched(&ask.caller) => {
                let proof = self.proof_of(&ask.caller).await?;
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
        drop(snapshot);
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        if query.is_sorted() && named.len() < total && !query.is_count_only() {
            let what = "more than 10,000 resources match: too many to put in order";
            return Err(ExchangeError::Invalid(vec![Issue::error("too-costly", "_sort", what)]));
        }
        let slice = if query.is_sorted() { (offset, count) } else { (0, count) };
        let matches = self.open_named(ask, keeping, query, &named, slice, commit).await?;
        Ok(Page { matches, total, next: None, used: query.used().to_vec() })
    }

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

    /// Opens what the keeper named: keys, search rows, and of `slice` the bodies.
    async fn open_named(
        &self,
        ask: &Ask,
        keeping: &Arc<Organization>,
        query: &Query,
        named: &[IndexedResource],
        (skip, count): (usize, usize),
        commit: CommitNumber,
    ) -> Result<Vec<super::Disclosed>, ExchangeError> {
        let type_code = holdfast_fhir::type_code(query.resource_type());
        let type_code = type_code.ok_or(ExchangeError::NotFound)?;
        let snapshot = self.store().snapshot_at(commit).ok_or(ExchangeError::NotFound)?;
        let mut listings = BTreeMap::new();
        for resource in named {
            let listing = self.directory().read().get(keeping.id(), resource.patient);
            let listing =
                listing.ok_or(ExchangeError::Internal("an unknown patient is indexed"))?;
            listings.insert(resource.patient, listing);
        }
        let together: Vec<_> = listings.values().cloned().collect();
        self.release_together(ask, keeping, &together).await?;
        let mut records = BTreeMap::new();
        for patient in listings.keys() {
            let opened =
                self.open_record(ask, keeping, *patient, Act::Search, ClassSet::ALL).await?;
            records.insert(*patient, opened);
        }
        let differs = || ExchangeError::Internal("the population index and a record differ");
        let mut rows: Vec<OpenRow> = Vec::new();
        for resource in named {
            let key = self.placed(ResourceKey {
                organization: keeping.ordinal,
                patient: resource.patient,
                type_code,
                id_token: resource.token,
            })?;
            let row = snapshot.current_index(&key).map_err(ExchangeError::store)?;
            let row = row.filter(|row| !row.deleted).ok_or_else(differs)?;
            let keys = &records.get(&resource.patient).ok_or_else(differs)?.keys;
            let open = self.open_row(keeping, row, keys)?.ok_or_else(differs)?;
            if !query.matches(&open.id, open.row.last_updated, &open.entries) {
                return Err(differs());
            }
            rows.push(open);
        }
        if query.is_sorted() {
            rows.sort_by(|a, b| query.compare(&a.facts(), &b.facts()));
        }
        let mut matches = Vec::new();
        let mut by_patient: BTreeMap<PatientId, Vec<super::Disclosed>> = BTreeMap::new();
        for row in rows.into_iter().skip(skip).take(count) {
            let patient = row.row.key.patient;
            let opened = records.get(&patient).ok_or_else(differs)?;
            let stored = snapshot.body(row.row).map_err(ExchangeError::store)?;
            let disclosed = self.disclose(opened, &row.id, &stored)?;
            by_patient.entry(patient).or_default().push(disclosed.clone());
            matches.push(disclosed);
        }
        let mut entries = Vec::new();
        for (patient, disclosed) in &by_patient {
            let opened = records.get(patient).ok_or_else(differs)?;
            entries.extend(self.access_entry(ask, opened, Action::Search, disclosed));
        }
        self.record_entries(entries).await?;
        Ok(matches)
    }
}
