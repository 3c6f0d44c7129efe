//! `Patient/$match` (FHIR R4 patient-operation-match.html; IHE PDQm ITI-119).

use holdfast_exchange::{MATCHES_MAX, PatientMatch};
use holdfast_fhir::operations::{Declared, Kind};
use holdfast_fhir::{Issue, Severity, operation_outcome};
use serde_json::{Value, json};

use super::{Call, Level, Operation};
use crate::error::Failure;

/// The operation.
pub(super) const MATCH: Operation = Operation {
    name: "match",
    levels: &[Level::Type],
    types: &["Patient"],
    affects_state: false,
    parameters: &[
        Declared::new("resource", Kind::Resource).required(),
        Declared::new("onlyCertainMatches", Kind::Boolean),
        Declared::new("count", Kind::Count),
    ],
    alone: Some("resource"),
};

const GRADE: &str = "http://hl7.org/fhir/StructureDefinition/match-grade";

pub(super) async fn answer(call: &Call<'_>) -> Result<Value, Failure> {
    let patient = call.arguments.json("resource").unwrap_or(&Value::Null);
    let mut issues = Vec::new();
    if patient["resourceType"] != "Patient" {
        issues.push(Issue::error("invalid", "resource", "has to be a Patient"));
    }
    let count = call.arguments.count("count");
    if count.is_some_and(|count| count == 0 || count > MATCHES_MAX) {
        let text = format!("has to be from 1 to {MATCHES_MAX}");
        issues.push(Issue::error("value", "count", text));
    }
    if !issues.is_empty() {
        return Err(Failure::invalid(issues));
    }
    let only_certain = call.arguments.boolean("onlyCertainMatches").unwrap_or(false);
    let found = call
        .state
        .exchange
        .match_patients(call.ask, call.organization, patient, only_certain, count)
        .await?;
    let base = call.base();
    let total = found.matches.len();
    let mut entries: Vec<Value> = found.matches.into_iter().map(|one| entry(&base, one)).collect();
    if found.is_ambiguous {
        let text = "more than one patient is certain to match; ask without onlyCertainMatches";
        let told = Issue::error("multiple-matches", "", text).with_severity(Severity::Warning);
        entries.push(json!({
            "resource": operation_outcome(&[told]), "search": { "mode": "outcome" },
        }));
    }
    let mut bundle = json!({
        "resourceType": "Bundle", "type": "searchset", "total": total,
        "link": [{ "relation": "self", "url": format!("{base}/Patient/$match") }],
    });
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    Ok(bundle)
}

fn entry(base: &str, one: PatientMatch) -> Value {
    // Four digits: the rest is of no use to anybody.
    let score = (one.score * 10_000.0).round() / 10_000.0;
    json!({
        "fullUrl": format!("{base}/Patient/{}", one.patient.id),
        "resource": one.patient.resource,
        "search": {
            "extension": [{ "url": GRADE, "valueCode": one.grade.as_str() }],
            "mode": "match",
            "score": score,
        },
    })
}
