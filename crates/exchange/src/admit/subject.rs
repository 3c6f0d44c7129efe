//! Whose record a payload is part of: by the sender's own identifiers first,
//! and only then by matching.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::{PatientId, PersonId, RequestId, Timestamp};
use holdfast_fhir::search;
use holdfast_intake::Converted;
use holdfast_mpi::{Band, Placement, Tokens};
use holdfast_store::Table;
use serde_json::Value;

use super::Matched;
use crate::ExchangeError;
use crate::directory::{Listing, Token};
use crate::people::Organization;
use crate::state::Exchange;

/// First byte of a [`Table::Locate`] key for a patient's identifier.
const IDENTIFIER: u8 = b'i';
/// First byte of a [`Table::Locate`] key for a resource id.
const RESOURCE: u8 = b'r';

/// The patient record that a payload is about.
#[derive(Clone)]
pub(crate) struct Subject {
    pub patient: PatientId,
    pub logical_id: String,
    pub known: Option<Arc<Listing>>,
}

impl Subject {
    /// A compartment of no patient.
    pub(crate) fn nobody(patient: PatientId) -> Self {
        Self { patient, logical_id: String::new(), known: None }
    }
}

/// Keyed tokens for the matcher.
struct MatchTokens<'a>(&'a Exchange);

impl Tokens for MatchTokens<'_> {
    fn token(&self, label: &str, value: &str) -> [u8; 8] {
        self.0.short_token(label, value.as_bytes())
    }
}

impl Exchange {
    /// Keys under which a Patient's identifiers are located; government numbers
    /// are not among them.
    pub(crate) fn identifier_keys(
        &self,
        organization: &Organization,
        patient: &Value,
    ) -> Vec<Vec<u8>> {
        let identifiers = patient["identifier"].as_array().into_iter().flatten();
        identifiers
            .filter(|identifier| !holdfast_fhir::is_government_id(identifier))
            .filter_map(|identifier| self.identifier_key(organization, identifier))
            .collect()
    }

    /// The key of one identifier that has system and value.
    pub(crate) fn identifier_key(
        &self,
        organization: &Organization,
        identifier: &Value,
    ) -> Option<Vec<u8>> {
        let system = identifier["system"].as_str()?;
        let value = identifier["value"].as_str()?.trim();
        let text = format!("{system}|{value}");
        Some(locate_key(IDENTIFIER, organization, "identifier", &text))
    }

    /// The key under which a resource is located by `Type/id`.
    pub(crate) fn resource_key(&self, organization: &Organization, reference: &str) -> Vec<u8> {
        locate_key(RESOURCE, organization, "resource-id", reference)
    }

    /// The patient compartment in which `Type/id` lies.
    pub(crate) fn locate(
        &self,
        organization: &Organization,
        reference: &str,
    ) -> Result<Option<PatientId>, ExchangeError> {
        self.located(&self.resource_key(organization, reference))
    }

    fn located(&self, key: &[u8]) -> Result<Option<PatientId>, ExchangeError> {
        let row = self.store().snapshot().row(Table::Locate, key).map_err(ExchangeError::store)?;
        let bytes = row.and_then(|value| <[u8; 16]>::try_from(value.as_slice()).ok());
        Ok(bytes.map(PatientId::from_bytes))
    }

    /// The record that a payload is about; `None` when it is about nobody's.
    pub(crate) fn subject_of(
        &self,
        organization: &Organization,
        converted: &Converted,
    ) -> Result<Option<Subject>, ExchangeError> {
        let patient = converted.patient.as_ref();
        patient.map(|patient| self.subject(organization, patient)).transpose()
    }

    /// The record whose Patient has this logical id, or a new one.
    pub(super) fn subject_named(
        &self,
        organization: &Organization,
        id: &str,
    ) -> Result<Subject, ExchangeError> {
        match self.locate(organization, &format!("Patient/{id}"))? {
            Some(known) => self.known_subject(organization, known),
            None => {
                Ok(Subject { patient: PatientId::random(), logical_id: id.to_owned(), known: None })
            }
        }
    }

    /// The record of `patient`: one that has its identifiers, or a new one.
    pub(super) fn subject(
        &self,
        organization: &Organization,
        patient: &Value,
    ) -> Result<Subject, ExchangeError> {
        for key in self.identifier_keys(organization, patient) {
            if let Some(known) = self.located(&key)? {
                return self.known_subject(organization, known);
            }
        }
        if self.identifier_keys(organization, patient).is_empty()
            && let Some(listing) = self.same_demographics(organization, patient)
        {
            return self.known_subject(organization, listing.patient);
        }
        let logical_id = RequestId::random().to_string();
        Ok(Subject { patient: PatientId::random(), logical_id, known: None })
    }

    /// The record of a patient that is located already.
    pub(crate) fn known_subject(
        &self,
        organization: &Organization,
        patient: PatientId,
    ) -> Result<Subject, ExchangeError> {
        let listing = self.directory().read().get(organization.id(), patient);
        let listing = listing.ok_or(ExchangeError::Conflict)?;
        Ok(Subject { patient, logical_id: listing.logical_id.clone(), known: Some(listing) })
    }

    /// What the matcher goes by, as keyed tokens.
    pub(crate) fn features_of(&self, patient: &Value) -> holdfast_mpi::Features {
        holdfast_mpi::features(patient, &MatchTokens(self))
    }

    /// A record of the same organization that is beyond doubt the same person.
    fn same_demographics(
        &self,
        organization: &Organization,
        patient: &Value,
    ) -> Option<Arc<Listing>> {
        let features = holdfast_mpi::features(patient, &MatchTokens(self));
        let directory = self.directory().read();
        let matching = directory.matching();
        let best = matching
            .candidates(&features)
            .into_iter()
            .filter(|record| record.organization == *organization.id())
            .filter_map(|record| directory.get(&record.organization, record.patient))
            .map(|l| (holdfast_mpi::compare(&features, &l.features, matching.weights()), l))
            .filter(|(decision, _)| decision.band == Band::Link)
            .max_by(|a, b| a.0.score.total_cmp(&b.0.score));
        best.map(|(_, listing)| listing)
    }

    /// Whom a new record belongs to, among everybody known on the exchange.
    pub(crate) fn place_person(&self, features: &holdfast_mpi::Features) -> (PersonId, Matched) {
        let directory = self.directory().read();
        match holdfast_mpi::place(directory.matching(), features) {
            Placement::Link { person, .. } => (person, Matched::Linked),
            Placement::Review { .. } => (PersonId::random(), Matched::Review),
            Placement::New => (PersonId::random(), Matched::New),
        }
    }

    /// The listing of a Patient as it now stands, and how it was matched.
    pub(crate) fn listing_for(
        &self,
        organization: &Organization,
        subject: &Subject,
        patient: &Value,
        changed: &Changes,
        now: Timestamp,
    ) -> (Listing, Matched) {
        let features = holdfast_mpi::features(patient, &MatchTokens(self));
        let survivor = self.replaced_by(organization, subject, patient);
        let (person, matched) = match (&survivor, &subject.known) {
            (Some(survivor), known) => {
                (survivor.person, known.as_ref().map_or(Matched::Linked, |_| Matched::Known))
            }
            (None, Some(known)) => (known.person, Matched::Known),
            (None, None) => self.place_person(&features),
        };
        let known = subject.known.as_deref();
        let into = survivor.map(|survivor| survivor.logical_id.clone());
        let mut care_team = known.map(|k| k.care_team.clone()).unwrap_or_default();
        care_team.extend(changed.care_team.iter().copied());
        let listing = Listing {
            organization: organization.id().clone(),
            patient: subject.patient,
            logical_id: subject.logical_id.clone(),
            person,
            residence: holdfast_fhir::residence(patient),
            features,
            search: self.search_tokens(organization, patient),
            care_team,
            last_visit: changed.visit.max(known.and_then(|k| k.last_visit)),
            opted_out: known.is_some_and(|k| k.opted_out),
            merged_into: into.or_else(|| known.and_then(|k| k.merged_into.clone())),
            deleted: false,
            updated: now,
        };
        (listing, matched)
    }

    /// The record of the same organization that a Patient says it was replaced by
    /// (Patient.link, IHE PIXm ITI-104), unless that was replaced by this one.
    fn replaced_by(
        &self,
        organization: &Organization,
        subject: &Subject,
        patient: &Value,
    ) -> Option<Arc<Listing>> {
        let links = patient["link"].as_array()?;
        let other = &links.iter().find(|link| link["type"] == "replaced-by")?["other"];
        let located = match other["reference"].as_str() {
            Some(reference) => self.locate(organization, reference).ok()?,
            None => self.located(&self.identifier_key(organization, &other["identifier"])?).ok()?,
        };
        let survivor = self.directory().read().get(organization.id(), located?)?;
        let is_this = survivor.patient == subject.patient
            || survivor.merged_into.as_ref() == Some(&subject.logical_id);
        (!is_this).then_some(survivor)
    }

    /// Tokens of everything that a Patient can be looked up by.
    fn search_tokens(&self, organization: &Organization, patient: &Value) -> Vec<Token> {
        let mut labels = search::lookup_labels(&search::index(patient));
        labels.extend(crate::disclose::domain_labels(patient));
        labels.iter().map(|label| self.search_token(organization, label)).collect()
    }

    /// The token under which a search label stands in the directory.
    pub(crate) fn search_token(&self, organization: &Organization, label: &str) -> Token {
        let mut short = [0; 8];
        short.copy_from_slice(&organization.keys.token.token("search", label.as_bytes())[..8]);
        short
    }
}

/// What else a payload changes in the directory.
#[derive(Default, Clone)]
pub(crate) struct Changes {
    pub care_team: BTreeSet<Token>,
    pub visit: Option<Timestamp>,
}

/// A key like that of a resource's place, which leads to no resource.
pub(crate) fn stand_in_locate(organization: &Organization, token: &[u8; 16]) -> Vec<u8> {
    [&[RESOURCE][..], &organization.ordinal.to_be_bytes(), token].concat()
}

fn locate_key(kind: u8, organization: &Organization, label: &str, text: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&organization.ordinal.to_be_bytes());
    key.extend_from_slice(&organization.keys.token.token(label, text.as_bytes()));
    key
}
