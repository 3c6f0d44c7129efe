//! What the tests over public corpora share: finding files, and what every conversion
//! has to hold to.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use holdfast_base::OrganizationId;
use holdfast_fhir::Severity;
use holdfast_intake::{Converted, PATIENT_URL, Settings};
use serde_json::Value;

/// The corpora of one format, beside the workspace; nothing where they are not.
pub fn corpora(format: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora").join(format);
    if !path.is_dir() {
        println!("skipped: no corpora beside the workspace");
        return None;
    }
    Some(path)
}

/// The files below `folder` whose names have one of these endings, in order.
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if path.extension().is_some_and(|end| endings.iter().any(|one| end == *one)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// How the corpora are read.
pub fn settings() -> Settings {
    let mut settings = Settings::new(OrganizationId::new("corpora").unwrap());
    settings.time_zone = "EST5EDT,M3.2.0,M11.1.0".to_owned();
    settings
}

/// Every relative or `urn:holdfast:` reference must lead somewhere.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("reference") {
                found.push(reference.clone());
            }
            object.values().for_each(|member| references(member, found));
        }
        _ => {}
    }
}

fn empty_parts(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty() || items.iter().any(empty_parts),
        Value::Object(object) => object.is_empty() || object.values().any(empty_parts),
        _ => false,
    }
}

/// Nothing is empty, no reference leads nowhere, no two resources have one key; what is no
/// valid R4 is added to `invalid`.
pub fn check(converted: &Converted, name: &str, invalid: &mut Vec<String>) {
    let urls: HashSet<&str> =
        converted.resources.iter().map(|added| added.full_url.as_str()).collect();
    let mut keys = HashSet::new();
    let patient = converted.patient.as_ref().unwrap();
    for resource in converted.resources.iter().map(|added| &added.resource).chain([patient]) {
        assert!(!empty_parts(resource), "{name}: something empty in {}", resource["resourceType"]);
        let mut found = Vec::new();
        references(resource, &mut found);
        for reference in found {
            let contained = reference.strip_prefix('#').is_some_and(|id| {
                let contained = resource["contained"].as_array().unwrap();
                contained.iter().any(|inner| inner["id"] == id)
            });
            let known = reference == PATIENT_URL || urls.contains(reference.as_str());
            assert!(known || contained, "{name}: a reference leads nowhere: {reference}");
        }
        for issue in holdfast_fhir::validate(resource) {
            if matches!(issue.severity, Severity::Fatal | Severity::Error) {
                let kind = resource["resourceType"].as_str().unwrap();
                invalid.push(format!("{name}: {kind} {}: {}", issue.expression, issue.diagnostics));
            }
        }
    }
    for key in converted.resources.iter().filter_map(|added| added.natural_key.as_ref()) {
        assert!(keys.insert(key), "{name}: two resources with one natural key");
    }
}

/// The natural keys, in order: the same however often a payload is converted.
pub fn keys(of: &Converted) -> Vec<Option<String>> {
    of.resources.iter().map(|added| added.natural_key.clone()).collect()
}
