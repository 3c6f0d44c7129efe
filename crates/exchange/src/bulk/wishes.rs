//! What a kick-off asks for (Bulk Data Access IG 2.0.0, "Query Parameters").

use holdfast_base::Timestamp;
use holdfast_fhir::Issue;
use holdfast_fhir::search::{Handling, Query, parse_query};
use serde::{Deserialize, Serialize};

/// Type filters of one export: each is evaluated on every resource of its type.
const FILTERS_MAX: usize = 64;
/// Patients that one export names.
const PATIENTS_MAX: usize = 10_000;
/// The names of NDJSON.
const FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];
/// The one set of associated data that is offered.
const LATEST_PROVENANCE: &str = "LatestProvenanceResources";

/// Whose records an export is of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BulkLevel {
    /// All, and what is about no patient.
    #[default]
    System,
    /// All patients.
    Patient,
    /// The members of a Group.
    Group(String),
}

/// What is to be in the files.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Wishes {
    pub level: BulkLevel,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// None: all.
    pub types: Vec<String>,
    /// Type, and search parameters; those of one type are alternatives.
    pub filters: Vec<(String, Vec<(String, String)>)>,
    /// Type (empty: every type), and element.
    pub elements: Vec<(String, String)>,
    /// Logical ids; none: all of the level.
    pub patients: Vec<String>,
    /// Also the newest Provenance of whatever is in the files.
    pub provenance: bool,
}

impl Wishes {
    /// Reads parameters: those of a URL, or those of a Parameters resource by name.
    /// Every problem is named.
    pub fn read(
        level: BulkLevel,
        pairs: &[(String, String)],
        handling: Handling,
    ) -> Result<Self, Vec<Issue>> {
        let mut wishes = Self { level, ..Self::default() };
        let mut problems = Vec::new();
        let parts = |value: &str| -> Vec<String> {
            value.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
        };
        for (name, value) in pairs {
            let problem = match name.as_str() {
                "_outputFormat" => {
                    // A plus sign that was not escaped in a query has become a space.
                    let known = FORMATS.contains(&value.replace(' ', "+").as_str());
                    (!known).then(|| {
                        let text = "is one of application/fhir+ndjson, application/ndjson, ndjson";
                        Issue::error("not-supported", name.as_str(), text)
                    })
                }
                "_since" => instant(&mut wishes.since, name, value),
                "_until" => instant(&mut wishes.until, name, value),
                "_type" => {
                    let types = parts(value);
                    let unknown = types.iter().any(|t| holdfast_fhir::type_code(t).is_none());
                    wishes.types.extend(types);
                    unknown.then(|| Issue::error("value", name.as_str(), "has to be R4 types"))
                }
                "_typeFilter" => wishes.add_filter(name, value, handling),
                "_elements" => {
                    for element in parts(value) {
                        let (of, element) = element.split_once('.').unwrap_or(("", &element));
                        wishes.elements.push((of.to_owned(), element.to_owned()));
                    }
                    None
                }
                "patient" => {
                    let id = value.rsplit_once('/').map_or(value.as_str(), |(_, id)| id);
                    let is_patient = value == id || value.ends_with(&format!("Patient/{id}"));
                    wishes.patients.push(id.to_owned());
                    (!is_patient || !holdfast_fhir::is_id(id)).then(|| {
                        Issue::error("value", name.as_str(), "has to be a reference to a Patient")
                    })
                }
                "includeAssociatedData" => {
                    let sets = parts(value);
                    wishes.provenance |= sets.iter().any(|set| set == LATEST_PROVENANCE);
                    let unknown = sets.iter().any(|set| set != LATEST_PROVENANCE);
                    (unknown && handling == Handling::Strict).then(|| {
                        let text = format!("only {LATEST_PROVENANCE} is offered");
                        Issue::error("not-supported", name.as_str(), text)
                    })
                }
                "_format" | "_pretty" => None,
                _ if handling == Handling::Lenient => None,
                "organizeOutputBy" => Some(Issue::error(
                    "not-supported",
                    name.as_str(),
                    "is not offered: files are organized by resource type",
                )),
                _ => Some(Issue::error(
                    "not-supported",
                    name.as_str(),
                    "is no parameter of an export; send Prefer: handling=lenient to have it ignored",
                )),
            };
            problems.extend(problem);
        }
        if wishes.patients.len() > PATIENTS_MAX {
            let text = format!("at most {PATIENTS_MAX}; name a Group instead");
            problems.push(Issue::error("too-costly", "patient", text));
        }
        if !wishes.patients.is_empty() && wishes.level == BulkLevel::System {
            let text = "is for exports of Patient or Group";
            problems.push(Issue::error("not-supported", "patient", text));
        }
        if wishes.filters.len() > FILTERS_MAX {
            problems.push(Issue::error("too-costly", "_typeFilter", "are too many"));
        }
        if problems.is_empty() { Ok(wishes) } else { Err(problems) }
    }

    fn add_filter(&mut self, name: &str, value: &str, handling: Handling) -> Option<Issue> {
        let (of, query) = value.split_once('?').unwrap_or((value, ""));
        if holdfast_fhir::type_code(of).is_none() {
            return Some(Issue::error("value", name, "has to be [type]?[search parameters]"));
        }
        let pairs = query_pairs(query);
        match parse_query(of, &pairs, handling) {
            Ok(_) => {
                self.filters.push((of.to_owned(), pairs));
                None
            }
            Err(issues) => {
                let first = issues.into_iter().next();
                first.map(|issue| {
                    let text = format!("{}: {}", issue.expression, issue.diagnostics);
                    Issue::error(issue.code, name, text)
                })
            }
        }
    }

    /// Whether resources of a type are asked for by themselves.
    pub fn wants(&self, resource_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == resource_type)
    }

    /// The queries that a type's resources have to match one of, and what presents
    /// them. Parsed once a job.
    pub fn queries(&self) -> Queries {
        let parsed =
            |of: &str, pairs: &[(String, String)]| parse_query(of, pairs, Handling::Lenient).ok();
        let filters = self
            .filters
            .iter()
            .filter_map(|(of, pairs)| Some((of.clone(), parsed(of, pairs)?)))
            .collect();
        Queries { filters, elements: self.elements.clone(), shown: Default::default() }
    }
}

/// Parsed filters.
pub(super) struct Queries {
    filters: Vec<(String, Query)>,
    elements: Vec<(String, String)>,
    shown: std::collections::HashMap<String, Option<Query>>,
}

impl Queries {
    /// The filters of a type.
    pub fn of(&self, resource_type: &str) -> impl Iterator<Item = &Query> {
        self.filters.iter().filter(move |(of, _)| of == resource_type).map(|(_, query)| query)
    }

    /// Whether a row passes the filters of its type.
    pub fn pass(&self, row: &crate::disclose::OpenRow) -> bool {
        let mut filters = self.of(&row.resource_type).peekable();
        filters.peek().is_none()
            || filters.any(|query| query.matches(&row.id, row.row.last_updated, &row.entries))
    }

    /// The resource with the elements that were asked for.
    pub fn present(
        &mut self,
        resource_type: &str,
        resource: serde_json::Value,
    ) -> serde_json::Value {
        if self.elements.is_empty() {
            return resource;
        }
        let elements = &self.elements;
        let query = self.shown.entry(resource_type.to_owned()).or_insert_with(|| {
            let of_type = |(of, _): &&(String, String)| of.is_empty() || of == resource_type;
            let names: Vec<_> =
                elements.iter().filter(of_type).map(|(_, name)| name.as_str()).collect();
            let pairs = [("_elements".to_owned(), names.join(","))];
            let asked = !names.is_empty();
            asked.then(|| parse_query(resource_type, &pairs, Handling::Lenient).ok()).flatten()
        });
        match query {
            Some(query) => query.present(resource),
            None => resource,
        }
    }
}

fn instant(into: &mut Option<Timestamp>, name: &str, value: &str) -> Option<Issue> {
    match value.replace(' ', "+").parse() {
        Ok(at) => {
            *into = Some(at);
            None
        }
        Err(_) => Some(Issue::error("value", name, "has to be an instant with seconds and zone")),
    }
}

/// The pairs of the query in a type filter, which was decoded once already.
fn query_pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// Percent-decoding of what may have been escaped twice.
pub(crate) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Wishes, Vec<Issue>> {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Wishes::read(BulkLevel::Patient, &pairs, Handling::Strict)
    }

    #[test]
    fn a_comma_in_type_means_the_same_as_repeating_it() {
        let comma = read(&[("_type", "Patient,Observation")]).expect("is fine");
        let repeated = read(&[("_type", "Patient"), ("_type", "Observation")]).expect("is fine");
        assert_eq!(comma.types, repeated.types);
        assert!(comma.wants("Observation") && !comma.wants("Condition"));
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let problems = read(&[
            ("_outputFormat", "text/csv"),
            ("_since", "yesterday"),
            ("_type", "Patients"),
            ("_typeFilter", "Observation?colour=blue"),
            ("patient", "Practitioner/1"),
            ("includeAssociatedData", "RelevantProvenanceResources"),
            ("organizeOutputBy", "Patient"),
            ("colour", "blue"),
        ])
        .expect_err("all are wrong");
        let places: Vec<_> = problems.iter().map(|issue| issue.expression.as_str()).collect();
        assert_eq!(
            places,
            [
                "_outputFormat",
                "_since",
                "_type",
                "_typeFilter",
                "patient",
                "includeAssociatedData",
                "organizeOutputBy",
                "colour"
            ]
        );
    }

    #[test]
    fn the_three_names_of_ndjson_are_taken() {
        for name in ["application/fhir+ndjson", "application/fhir ndjson", "ndjson"] {
            assert!(read(&[("_outputFormat", name)]).is_ok(), "{name}");
        }
    }
}
