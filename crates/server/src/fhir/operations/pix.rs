//! `Patient/$ihe-pix` (IHE PIXm, ITI-83): the other identifiers of a person.

use axum::http::StatusCode;
use holdfast_exchange::CrossReferenced;
use holdfast_fhir::Issue;
use holdfast_fhir::operations::{Declared, Kind};
use serde_json::{Value, json};

use super::{Call, Level, Operation};
use crate::error::Failure;

/// The operation.
pub(super) const PIX: Operation = Operation {
    name: "ihe-pix",
    levels: &[Level::Type],
    types: &["Patient"],
    affects_state: false,
    parameters: &[
        Declared::new("sourceIdentifier", Kind::Text).required(),
        Declared::new("targetSystem", Kind::Text).repeats(),
    ],
    alone: None,
};

pub(super) async fn answer(call: &Call<'_>) -> Result<Value, Failure> {
    let source = call.arguments.text("sourceIdentifier").unwrap_or_default();
    let (system, value) = source.split_once('|').unwrap_or(("", source));
    if system.is_empty() || value.is_empty() {
        let text = "has to be system|value: the domain and the identifier";
        return Err(Failure::invalid(vec![Issue::error("value", "sourceIdentifier", text)]));
    }
    let targets: Vec<&str> = call
        .arguments
        .texts("targetSystem")
        .into_iter()
        .flat_map(|list| list.split(','))
        .filter(|target| !target.is_empty())
        .collect();
    let exchange = &call.state.exchange;
    let found =
        exchange.cross_reference(call.ask, call.organization, (system, value), &targets).await?;
    // ITI-83 section 2:3.83.4.2.2: which domain is not known is told by status and code.
    let unknown = |status, place: &str, text: &str| {
        Failure::invalid(vec![Issue::error("code-invalid", place, text)]).with_status(status)
    };
    let found = match found {
        CrossReferenced::Found(found) => found,
        CrossReferenced::UnknownSource => {
            let text = "Assigning Authority not found";
            return Err(unknown(StatusCode::BAD_REQUEST, "sourceIdentifier", text));
        }
        CrossReferenced::UnknownTarget(_) => {
            return Err(unknown(StatusCode::FORBIDDEN, "targetSystem", "not found"));
        }
    };
    let identifiers = found
        .identifiers
        .into_iter()
        .map(|identifier| json!({ "name": "targetIdentifier", "valueIdentifier": identifier }));
    let patients = found.patients.into_iter().map(|(organization, id)| {
        let reference = format!("{}/Patient/{id}", call.state.fhir_base(&organization));
        json!({ "name": "targetId", "valueReference": { "reference": reference } })
    });
    let parameters: Vec<Value> = identifiers.chain(patients).collect();
    let mut answer = json!({ "resourceType": "Parameters" });
    if !parameters.is_empty() {
        answer["parameter"] = Value::Array(parameters);
    }
    Ok(answer)
}
