//! The terminology operations (FHIR R4 terminology-service.html): over the core
//! package, what the call brings along, and what the organization has stored.

mod at_hand;
mod codes;
mod sets;

pub(super) use codes::{LOOKUP, SUBSUMES, VALIDATE_CODE, lookup, subsumes, validate_code};
pub(super) use sets::{EXPAND, TRANSLATE, VALIDATE_MEMBER, expand, translate, validate_member};

use holdfast_fhir::Issue;
use serde_json::{Value, json};

use super::Call;
use crate::error::Failure;

/// A code that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    system: Option<String>,
    code: String,
    display: Option<String>,
}

impl Asked {
    fn of(coding: &Value) -> Option<Self> {
        let text = |name: &str| coding[name].as_str().map(str::to_owned);
        Some(Self { system: text("system"), code: text("code")?, display: text("display") })
    }
}

/// The codes of a call: `code` (with `system`), `coding`, or those of `codeableConcept`.
fn asked(call: &Call<'_>) -> Result<Vec<Asked>, Failure> {
    let arguments = &call.arguments;
    let text = |name: &str| arguments.text(name).map(str::to_owned);
    let mut all: Vec<Asked> = Vec::new();
    if let Some(code) = text("code") {
        all.push(Asked { system: text("system"), code, display: text("display") });
    }
    all.extend(arguments.json("coding").and_then(Asked::of));
    let concept = arguments.json("codeableConcept");
    let codings = concept.and_then(|concept| concept["coding"].as_array());
    all.extend(codings.into_iter().flatten().filter_map(Asked::of));
    if all.is_empty() {
        return Err(problem("required", "code", "a code, coding or codeableConcept is needed"));
    }
    Ok(all)
}

fn problem(code: &'static str, place: &str, text: impl Into<String>) -> Failure {
    Failure::invalid(vec![Issue::error(code, place, text)])
}

/// What is asked for is not at hand: said plainly, as codes are nobody's secret.
fn unknown(place: &str, text: impl Into<String>) -> Failure {
    problem("not-found", place, text).with_status(axum::http::StatusCode::NOT_FOUND)
}

fn parameters(list: Vec<Value>) -> Value {
    json!({ "resourceType": "Parameters", "parameter": list })
}
