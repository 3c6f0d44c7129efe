//! The topics, and what happened as the transaction that wrote it left it behind.

use holdfast_base::{ElementClass, PatientId, Timestamp};
use holdfast_fhir::search::{self, Handling, IndexEntry};
use serde::{Deserialize, Serialize};

use super::row::{About, Filter};

/// Somebody was admitted: an Encounter has begun.
pub const ENCOUNTER_START: &str = "urn:holdfast:topic:encounter-start";
/// Somebody was discharged: an Encounter has ended.
pub const ENCOUNTER_END: &str = "urn:holdfast:topic:encounter-end";
/// A DiagnosticReport or Observation became final, or was amended or corrected.
pub const NEW_RESULT: &str = "urn:holdfast:topic:new-result";
/// A DocumentReference was written.
pub const NEW_DOCUMENT: &str = "urn:holdfast:topic:new-document";
/// A resource of any type was written; needs a filter.
pub const RESOURCE_CHANGE: &str = "urn:holdfast:topic:resource-change";

/// Every topic.
pub const TOPICS: [&str; 5] =
    [ENCOUNTER_START, ENCOUNTER_END, NEW_RESULT, NEW_DOCUMENT, RESOURCE_CHANGE];

/// One version that was written.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct News {
    pub patient: PatientId,
    pub resource_type: String,
    pub id: String,
    pub version: u64,
    pub class: ElementClass,
    pub at: Timestamp,
    /// `status` of this version, and of the one before.
    pub status: Option<String>,
    pub was: Option<String>,
    /// The encoded index entries.
    pub index: Vec<u8>,
}

impl News {
    /// Whether the version came to have one of these statuses by being written.
    fn became(&self, statuses: &[&str]) -> bool {
        let is = |status: &Option<String>| status.as_deref().is_some_and(|s| statuses.contains(&s));
        is(&self.status) && !is(&self.was)
    }

    fn is_of(&self, types: &[&str]) -> bool {
        types.contains(&self.resource_type.as_str())
    }

    /// Whether it is an event of the topic.
    fn fits(&self, topic: &str) -> bool {
        match topic {
            ENCOUNTER_START => {
                self.is_of(&["Encounter"]) && self.became(&["arrived", "triaged", "in-progress"])
            }
            ENCOUNTER_END => self.is_of(&["Encounter"]) && self.became(&["finished"]),
            NEW_RESULT => {
                let statuses = ["final", "amended", "corrected", "appended"];
                let status = self.status.as_deref().unwrap_or_default();
                // A correction of a correction is news, too.
                self.is_of(&["DiagnosticReport", "Observation"]) && statuses.contains(&status)
            }
            NEW_DOCUMENT => self.is_of(&["DocumentReference"]) && self.version == 1,
            RESOURCE_CHANGE => true,
            _ => false,
        }
    }

    /// The types that a topic is about; none: all.
    pub(super) fn types_of(topic: &str) -> &'static [&'static str] {
        match topic {
            ENCOUNTER_START | ENCOUNTER_END => &["Encounter"],
            NEW_RESULT => &["DiagnosticReport", "Observation"],
            NEW_DOCUMENT => &["DocumentReference"],
            _ => &[],
        }
    }

    /// Whether a subscription about this is told of it.
    pub(super) fn is_about(&self, about: &About, entries: &[IndexEntry]) -> bool {
        let passes = |(_, pairs): &Filter| {
            search::parse_query(&self.resource_type, pairs, Handling::Strict)
                .is_ok_and(|query| query.matches(&self.id, self.at, entries))
        };
        match about {
            About::Criteria(filter) => filter.0 == self.resource_type && passes(filter),
            About::Topic { canonical, filters } => {
                let mut own = filters.iter().filter(|(of, _)| *of == self.resource_type).peekable();
                // Filters for other types only: this type was not asked for.
                let asked = filters.is_empty() || own.peek().is_some();
                asked && self.fits(canonical) && own.all(passes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encounter(status: &str, was: Option<&str>) -> News {
        News {
            patient: PatientId::NONE,
            resource_type: "Encounter".into(),
            id: "e".into(),
            version: 1,
            class: ElementClass::Clinical,
            at: Timestamp::MIN,
            status: Some(status.into()),
            was: was.map(str::to_owned),
            index: Vec::new(),
        }
    }

    #[test]
    fn an_admission_is_told_once_and_not_with_every_change_of_the_encounter() {
        assert!(encounter("in-progress", None).fits(ENCOUNTER_START));
        assert!(encounter("in-progress", Some("planned")).fits(ENCOUNTER_START));
        assert!(!encounter("in-progress", Some("arrived")).fits(ENCOUNTER_START));
        assert!(!encounter("planned", None).fits(ENCOUNTER_START));
        assert!(encounter("finished", Some("in-progress")).fits(ENCOUNTER_END));
        assert!(!encounter("finished", Some("finished")).fits(ENCOUNTER_END));
    }

    #[test]
    fn a_filter_for_another_type_leaves_this_one_out() {
        let about = About::Topic {
            canonical: RESOURCE_CHANGE.into(),
            filters: vec![("Observation".into(), Vec::new())],
        };
        assert!(!encounter("finished", None).is_about(&about, &[]));
    }
}
