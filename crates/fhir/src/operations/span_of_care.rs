//! Which resources of a record belong to a span of care, or to an encounter
//! (FHIR R4 patient-operation-everything.html, compartmentdefinition-encounter.html).

use std::collections::HashMap;

use crate::definitions::{ParameterKind, definitions};
use crate::outcome::Issue;
use crate::search::{Handling, Query, Row, parse_query};

/// Search parameters that say when care was given, the closest first.
const CARE_DATES: [&str; 22] = [
    "period",
    "date",
    "effective-time",
    "effective",
    "performed",
    "occurrence",
    "occurence",
    "onset-date",
    "started",
    "whenhandedover",
    "authoredon",
    "authored-on",
    "authored",
    "sent",
    "datetime",
    "collected",
    "billable-period",
    "service-date",
    "created",
    "issued",
    "recorded",
    "recorded-date",
];
/// What once began and has not been said to be over is part of every later span.
const STANDING: [&str; 2] = ["AllergyIntolerance", "Condition"];

/// A date parameter, and what lies outside of the span by it.
type Outside = (&'static str, Vec<Query>);

/// The span of `start` and `end`: made once for a call, asked for each row.
#[derive(Debug, Default)]
pub struct CareDates {
    start: Option<String>,
    end: Option<String>,
    by_type: HashMap<String, Vec<Outside>>,
}

impl CareDates {
    /// The span from `start` to `end`, both within it.
    ///
    /// # Errors
    /// The parameter that is no date.
    pub fn new(start: Option<&str>, end: Option<&str>) -> Result<Self, Vec<Issue>> {
        for (name, text) in [("start", start), ("end", end)] {
            if text.is_some_and(|text| crate::search::Span::parse(text).is_none()) {
                return Err(vec![Issue::error("value", name, "has to be a date")]);
            }
        }
        let (start, end) = (start.map(str::to_owned), end.map(str::to_owned));
        Ok(Self { start, end, by_type: HashMap::new() })
    }

    /// Whether a resource belongs to the span. What has no date of care always does:
    /// nothing is left out because nobody wrote down when it was.
    pub fn covers(&mut self, resource_type: &str, row: Row<'_>) -> bool {
        if self.start.is_none() && self.end.is_none() {
            return true;
        }
        if !self.by_type.contains_key(resource_type) {
            let made = self.queries(resource_type);
            self.by_type.insert(resource_type.to_owned(), made);
        }
        let known = self.by_type.get(resource_type).map(Vec::as_slice).unwrap_or_default();
        // The closest of its dates counts.
        let has = |name: &str| row.entries.iter().any(|entry| entry.param == name);
        let Some((_, outside)) = known.iter().find(|(name, _)| has(name)) else { return true };
        !outside.iter().any(|query| query.matches(row.id, row.last_updated, row.entries))
    }

    /// For each of the type's dates, queries for what lies before the span or after it.
    fn queries(&self, resource_type: &str) -> Vec<Outside> {
        let start = self.start.as_ref().filter(|_| !STANDING.contains(&resource_type));
        let before = start.map(|start| format!("eb{start}"));
        let after = self.end.as_ref().map(|end| format!("sa{end}"));
        let values: Vec<String> = before.into_iter().chain(after).collect();
        let is_date = |name: &&&'static str| {
            let parameter = definitions().search_parameter(resource_type, name);
            parameter.is_some_and(|parameter| parameter.kind == ParameterKind::Date)
        };
        let outside = |name: &&'static str| {
            let pair = |value: &String| [((*name).to_owned(), value.clone())];
            let query = |value| parse_query(resource_type, &pair(value), Handling::Strict).ok();
            (*name, values.iter().filter_map(query).collect())
        };
        CARE_DATES.iter().filter(is_date).map(outside).collect()
    }
}

/// The search parameter by which a resource of this type is in an encounter's
/// compartment; `None` when the type is in none.
pub fn encounter_parameter(resource_type: &str) -> Option<&'static str> {
    ["encounter", "context", "related-ref"].into_iter().find(|name| {
        let parameter = definitions().search_parameter(resource_type, name);
        parameter.is_some_and(|p| {
            p.kind == ParameterKind::Reference
                && (p.targets.contains(&"Encounter") || resource_type == "DocumentManifest")
        })
    })
}

#[cfg(test)]
mod tests {
    use holdfast_base::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::search::index;

    fn covers(start: Option<&str>, end: Option<&str>, resource: &Value) -> bool {
        let entries = index(resource);
        let row = Row { id: "x", last_updated: Timestamp::MIN, entries: &entries };
        let kind = resource["resourceType"].as_str().expect("a type");
        CareDates::new(start, end).expect("dates").covers(kind, row)
    }

    #[test]
    fn a_span_has_what_was_done_in_it_and_what_nobody_dated() {
        let visit = json!({ "resourceType": "Encounter", "period": { "start": "2015-03-01", "end": "2015-03-05" } });
        let check = |start, end, resource: &Value, expected| {
            assert_eq!(covers(start, end, resource), expected, "{start:?} {end:?} {resource}");
        };
        check(None, None, &visit, true);
        check(Some("2015-03-04"), None, &visit, true);
        check(Some("2015-03-06"), None, &visit, false);
        check(None, Some("2015-03-01"), &visit, true);
        check(None, Some("2015-02"), &visit, false);
        check(Some("2016"), Some("2017"), &json!({ "resourceType": "Encounter" }), true);
        check(Some("2016"), None, &json!({ "resourceType": "Coverage" }), true);
        let order = json!({ "resourceType": "MedicationRequest", "authoredOn": "2014" });
        check(Some("2015"), None, &order, false);
        let asthma = json!({ "resourceType": "Condition", "onsetDateTime": "1999" });
        check(Some("2015"), None, &asthma, true);
        check(None, Some("1998"), &asthma, false);
        assert!(CareDates::new(Some("noon"), None).is_err());
    }

    #[test]
    fn every_type_of_the_encounters_compartment_has_its_parameter() {
        for (kind, name) in [
            ("Observation", Some("encounter")),
            ("Condition", Some("encounter")),
            ("MedicationAdministration", Some("context")),
            ("ChargeItem", Some("context")),
            ("DocumentManifest", Some("related-ref")),
            ("Patient", None),
            ("Coverage", None),
        ] {
            assert_eq!(encounter_parameter(kind), name, "{kind}");
        }
    }
}
