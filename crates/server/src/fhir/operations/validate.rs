//! `$validate` (FHIR R4 resource-operation-validate.html): whether a resource could be
//! created or updated, or deleted, and what is wrong with it by R4 and by profiles.
//! What is sent is looked at and forgotten; a stored resource is read the one path.

use holdfast_fhir::operations::{Declared, Kind};
use holdfast_fhir::{Issue, Severity, operation_outcome};
use serde_json::Value;

use super::{Call, Level, Operation};
use crate::error::Failure;

/// `[type]/$validate` and `[type]/[id]/$validate`.
pub(super) const VALIDATE: Operation = Operation {
    name: "validate",
    levels: &[Level::Type, Level::Instance],
    types: &[],
    affects_state: false,
    parameters: &[
        Declared::new("resource", Kind::Resource),
        Declared::new("mode", Kind::Text),
        Declared::new("profile", Kind::Text),
    ],
    alone: Some("resource"),
};

pub(super) async fn answer(call: &Call<'_>) -> Result<Value, Failure> {
    let text = |name: &str| call.arguments.text(name);
    let mode = text("mode").unwrap_or_default();
    if !matches!(mode, "" | "create" | "update" | "delete" | "profile") {
        return Err(Failure::incorrect("mode is create, update, delete or profile"));
    }
    if call.id.is_empty() && matches!(mode, "delete" | "profile") {
        return Err(Failure::incorrect("this mode is for one resource: [type]/[id]/$validate"));
    }
    let sent = call.arguments.json("resource");
    let stored;
    let resource = match (sent, call.id) {
        (Some(sent), _) => sent,
        (None, "") => return Err(Failure::incorrect("resource is needed")),
        (None, id) => {
            let found = call
                .state
                .exchange
                .read(call.ask, call.organization, call.resource_type, id, None)
                .await?;
            stored = found.resource;
            &stored
        }
    };
    let mut issues = Vec::new();
    if mode == "delete" {
        // Whoever may read it knows that it is there; whether they may delete it is told
        // when they do.
        return Ok(operation_outcome(&[Issue {
            severity: Severity::Information,
            code: "informational",
            expression: String::new(),
            diagnostics: "Nothing stands against deleting it.".to_owned(),
        }]));
    }
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    if kind != call.resource_type {
        let text = format!("a {} is needed here", call.resource_type);
        issues.push(Issue::error("invalid", "", text));
    }
    let is_other = sent.is_some() && !call.id.is_empty() && resource["id"] != *call.id;
    if is_other || (mode == "update" && !resource["id"].is_string()) {
        let at = format!("{}.id", call.resource_type);
        issues.push(Issue::error("value", at, "an update needs the id of the resource"));
    }
    let profiles: Vec<&str> = text("profile").into_iter().collect();
    let found =
        call.state.exchange.problems_of(call.ask, call.organization, resource, &profiles)?;
    issues.extend(found);
    Ok(operation_outcome(&issues))
}
