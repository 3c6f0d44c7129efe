//! Finding a person by what is known of them (FHIR R4 patient-operation-match.html,
//! IHE PDQm ITI-119): scored by the matcher over keyed features, so that nobody's
//! record is opened but those of the answer.

use std::sync::Arc;

use holdfast_base::{ClassSet, OrganizationId};
use holdfast_fhir::Issue;
use holdfast_ledger::Action;
use holdfast_mpi::Band;
use holdfast_policy::Act;
use serde_json::Value;

use super::Disclosed;
use crate::directory::Listing;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Patients in an answer when the caller does not say: each is a key release.
const MATCHES_DEFAULT: usize = 10;
/// Most patients in an answer.
pub const MATCHES_MAX: usize = 50;

/// How sure a match is (value set match-grade).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchGrade {
    /// A person should look, and more likely it is somebody else.
    Possible,
    /// A person should look, and more likely it is the same person.
    Probable,
    /// The same person.
    Certain,
}

impl MatchGrade {
    /// The code of value set match-grade.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Probable => "probable",
            Self::Possible => "possible",
        }
    }

    fn of(band: Band, probability: f64) -> Option<Self> {
        match band {
            Band::Link => Some(Self::Certain),
            Band::Review if probability >= 0.5 => Some(Self::Probable),
            Band::Review => Some(Self::Possible),
            Band::None => None,
        }
    }
}

/// One match.
pub struct PatientMatch {
    /// The Patient.
    pub patient: Disclosed,
    /// Probability that it is the same person, 0 to 1.
    pub score: f64,
    /// How sure that is.
    pub grade: MatchGrade,
}

/// What a match found.
pub struct PatientMatches {
    /// The matches, the best first.
    pub matches: Vec<PatientMatch>,
    /// Whether there was more than one certain match, where only one was wanted.
    pub is_ambiguous: bool,
}

impl Exchange {
    /// The patients of an organization who may be `patient`, of those whom the caller
    /// may look up.
    ///
    /// # Errors
    /// [`ExchangeError::Invalid`] when too little is known of the patient to look for;
    /// otherwise as [`read`](Self::read).
    pub async fn match_patients(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        patient: &Value,
        only_certain: bool,
        count: Option<usize>,
    ) -> Result<PatientMatches, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let keeping = self.organization(organization).map_err(|_| ExchangeError::NotFound)?;
        let features = self.features_of(patient);
        if holdfast_mpi::blocking_keys(&features).is_empty() {
            let text = "too little to look for: give an identifier, or names with a birth date";
            return Err(ExchangeError::Invalid(vec![Issue::error("required", "resource", text)]));
        }
        let mut scored = self.scored(organization, &features);
        scored.retain(|(_, grade, listing)| {
            (*grade == MatchGrade::Certain || !only_certain) && self.may_look_up(ask, listing)
        });
        let is_ambiguous = only_certain && scored.len() > 1;
        if is_ambiguous {
            scored.clear();
        }
        scored.truncate(count.unwrap_or(MATCHES_DEFAULT).min(MATCHES_MAX));
        let listings: Vec<_> = scored.iter().map(|(_, _, listing)| Arc::clone(listing)).collect();
        if listings.is_empty() {
            self.record_count(ask, &keeping).await?;
        }
        self.release_together(ask, &keeping, &listings).await?;
        let mut matches = Vec::new();
        for (score, grade, listing) in scored {
            let patient = self
                .open_patient(ask, &listing, Act::Search, ClassSet::ALL, Action::Search)
                .await?;
            matches.push(PatientMatch { patient, score, grade });
        }
        Ok(PatientMatches { matches, is_ambiguous })
    }

    fn scored(
        &self,
        organization: &OrganizationId,
        features: &holdfast_mpi::Features,
    ) -> Vec<(f64, MatchGrade, Arc<Listing>)> {
        let directory = self.directory().read();
        let matching = directory.matching();
        let near = matching.candidates(features).into_iter();
        let mut scored: Vec<_> = near
            .filter(|record| record.organization == *organization)
            .filter_map(|record| directory.get(&record.organization, record.patient))
            .filter(|listing| listing.merged_into.is_none())
            .filter_map(|listing| {
                let decision =
                    holdfast_mpi::compare(features, &listing.features, matching.weights());
                let grade = MatchGrade::of(decision.band, decision.probability)?;
                Some((decision.probability, grade, listing))
            })
            .collect();
        scored.sort_by(|a, b| {
            let better = b.1.cmp(&a.1).then(b.0.total_cmp(&a.0));
            better.then_with(|| a.2.logical_id.cmp(&b.2.logical_id))
        });
        scored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_matcher_would_link_is_certain() {
        assert_eq!(MatchGrade::of(Band::Link, 0.99), Some(MatchGrade::Certain));
        assert_eq!(MatchGrade::of(Band::Review, 0.99), Some(MatchGrade::Probable));
        assert_eq!(MatchGrade::of(Band::Review, 0.3), Some(MatchGrade::Possible));
        assert_eq!(MatchGrade::of(Band::None, 0.99), None);
    }
}
