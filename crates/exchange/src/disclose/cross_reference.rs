//! The other identifiers of a person (IHE PIXm ITI-83, `$ihe-pix`).
//!
//! The source identifier is looked for among the patients of the organization that
//! is asked; the records linked to the same person elsewhere are opened as far as
//! each permits. DEVIATION: whether another organization uses an identifier domain
//! is not told: a target domain counts as known when the organization that is asked
//! has it, or a record of the answer does.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::{ClassSet, ElementClass, OrganizationId};
use holdfast_fhir::search::{Handling, parse_query};
use holdfast_ledger::Action;
use holdfast_policy::Act;
use serde_json::Value;

use crate::directory::{Directory, Listing};
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Label of a listing that has labels for the domains of its identifiers.
const DOMAINS: &str = "identifier-domains";

/// What is known of a person by their identifiers.
#[derive(Debug, Default)]
pub struct CrossReference {
    /// The other identifiers, as FHIR Identifiers.
    pub identifiers: Vec<Value>,
    /// The Patients that have them: organization and logical id.
    pub patients: Vec<(OrganizationId, String)>,
}

/// What a cross-reference found.
pub enum CrossReferenced {
    /// The identifiers in the target domains; there may be none.
    Found(CrossReference),
    /// Nobody uses the domain of the source identifier here.
    UnknownSource,
    /// Nobody uses the domain at this place of the targets.
    UnknownTarget(usize),
}

/// The labels by which a Patient's listing tells the domains of its identifiers.
pub(crate) fn domain_labels(patient: &Value) -> BTreeSet<String> {
    let identifiers = patient["identifier"].as_array().into_iter().flatten();
    let systems = identifiers.filter_map(|identifier| identifier["system"].as_str());
    let labels = systems.map(|system| format!("identifier-domain={system}"));
    labels.chain([DOMAINS.to_owned()]).collect()
}

impl Exchange {
    /// The identifiers of the person who has the identifier `value` of `system`, in
    /// the `targets` or, when there are none, in every domain.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] when the caller may see nobody who has it;
    /// otherwise as [`read`](Self::read).
    pub async fn cross_reference(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        (system, value): (&str, &str),
        targets: &[&str],
    ) -> Result<CrossReferenced, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let sources = self.identified(ask, &keeping, system, value)?;
        if sources.is_empty() {
            // Whoever asks has learnt that there is nobody: that is in the ledger, too.
            self.record_count(ask, &keeping).await?;
            return match self.has_domain(&keeping, system) {
                true => Err(ExchangeError::NotFound),
                false => Ok(CrossReferenced::UnknownSource),
            };
        }
        let own: BTreeSet<_> = sources.iter().map(|listing| listing.patient).collect();
        let records: Vec<Arc<Listing>> = {
            let directory = self.directory().read();
            let persons: BTreeSet<_> = sources.iter().map(|listing| listing.person).collect();
            let all = persons.into_iter().flat_map(|person| directory.of_person(person));
            all.filter(|listing| listing.merged_into.is_none() && !listing.deleted).collect()
        };
        let mut found = CrossReference::default();
        let mut seen = BTreeSet::new();
        for listing in &records {
            // One's own are looked up; what others keep is read, as in a chart.
            let act = if own.contains(&listing.patient) { Act::Search } else { Act::Read };
            let wanted = ClassSet::of(ElementClass::Identity);
            let opened = self.open_patient(ask, listing, act, wanted, Action::Search).await;
            let patient = match opened {
                Ok(patient) => patient.resource,
                Err(ExchangeError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            let mut is_listed = false;
            for identifier in patient["identifier"].as_array().into_iter().flatten() {
                let domain = identifier["system"].as_str().unwrap_or_default();
                let number = identifier["value"].as_str().unwrap_or_default();
                seen.insert(domain.to_owned());
                let is_source = domain == system && number == value;
                if domain.is_empty() || number.is_empty() || is_source {
                    continue;
                }
                if targets.is_empty() || targets.contains(&domain) {
                    is_listed = true;
                    if !found.identifiers.contains(identifier) {
                        found.identifiers.push(identifier.clone());
                    }
                }
            }
            if is_listed {
                found.patients.push((listing.organization.clone(), listing.logical_id.clone()));
            }
        }
        found.patients.sort();
        let is_unknown =
            |target: &&str| !seen.contains(*target) && !self.has_domain(&keeping, target);
        Ok(match targets.iter().position(is_unknown) {
            Some(place) => CrossReferenced::UnknownTarget(place),
            None => CrossReferenced::Found(found),
        })
    }

    /// The organization's patients who have an identifier and whom the caller may
    /// look up; one that was merged stands for the one that it was merged into.
    fn identified(
        &self,
        ask: &Ask,
        keeping: &Organization,
        system: &str,
        value: &str,
    ) -> Result<Vec<Arc<Listing>>, ExchangeError> {
        let escaped = |text: &str| {
            text.replace('\\', "\\\\").replace('|', "\\|").replace(',', "\\,").replace('$', "\\$")
        };
        let pair = ("identifier".to_owned(), format!("{}|{}", escaped(system), escaped(value)));
        let query = parse_query("Patient", &[pair], Handling::Strict);
        let groups = query.and_then(|query| query.lookup()).map_err(ExchangeError::Invalid)?;
        let token = |label: &String| self.search_token(keeping, label);
        let groups: Vec<Vec<_>> =
            groups.iter().map(|labels| labels.iter().map(token).collect()).collect();
        let directory = self.directory().read();
        let found = directory.find(keeping.id(), &groups).into_iter();
        let surviving = found.filter_map(|listing| survivor(&directory, listing));
        let present = surviving.filter(|listing| !listing.deleted);
        Ok(present.filter(|listing| self.may_look_up(ask, listing)).collect())
    }

    /// Whether a patient of the organization has an identifier of this domain. Where
    /// a listing is from before domains were noted, it may be.
    fn has_domain(&self, keeping: &Organization, system: &str) -> bool {
        let token = |label: &str| vec![vec![self.search_token(keeping, label)]];
        let directory = self.directory().read();
        let with_it = directory.find(keeping.id(), &token(&format!("identifier-domain={system}")));
        !with_it.is_empty()
            || directory.find(keeping.id(), &token(DOMAINS)).len()
                < directory.of_organization(keeping.id()).count()
    }
}

/// The record that a merged one is part of now.
fn survivor(directory: &Directory, listing: Arc<Listing>) -> Option<Arc<Listing>> {
    /// Merges that follow each other.
    const STEPS_MAX: usize = 8;
    let mut listing = listing;
    for _ in 0..STEPS_MAX {
        let Some(into) = &listing.merged_into else { return Some(listing) };
        listing = directory.by_logical_id(&listing.organization, into)?;
    }
    None
}
