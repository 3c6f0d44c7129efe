//! Every C-CDA document of the public corpora (`<workspace>/../shared/corpora`)
//! goes through: converted to valid R4, or refused for a reason. None may panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use holdfast_base::OrganizationId;
use holdfast_fhir::Severity;
use holdfast_intake::{Converted, Format, PATIENT_URL, Settings, convert_ccda, detect};
use serde_json::Value;

fn corpora() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/ccda");
    if !path.is_dir() {
        println!("skipped: no corpora beside the workspace");
        return None;
    }
    Some(path)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "xml") {
            found.push(path);
        }
    }
}

fn settings() -> Settings {
    let mut settings = Settings::new(OrganizationId::new("corpora").unwrap());
    settings.time_zone = "EST5EDT,M3.2.0,M11.1.0".to_owned();
    settings
}

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

fn check(converted: &Converted, name: &str, invalid: &mut Vec<String>) {
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

#[test]
fn every_document_is_converted_to_valid_resources_or_refused_for_a_reason() {
    let Some(folder) = corpora() else { return };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    paths.sort();
    let mut outcomes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    let mut issues: BTreeMap<String, usize> = BTreeMap::new();
    let mut invalid = Vec::new();
    let mut fragments = 0;
    for path in &paths {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let set = name.split('/').next().unwrap().to_owned();
        let bytes = std::fs::read(path).unwrap();
        let outcome = convert_ccda(&bytes, &settings());
        if detect(&bytes) != Some(Format::Ccda) {
            // Sections and entries without a document around them.
            assert!(outcome.is_err(), "{name}");
            fragments += 1;
            continue;
        }
        let what = match &outcome {
            Ok(converted) => {
                check(converted, &name, &mut invalid);
                let again = convert_ccda(&bytes, &settings()).unwrap();
                let keys = |of: &Converted| -> Vec<Option<String>> {
                    of.resources.iter().map(|added| added.natural_key.clone()).collect()
                };
                assert_eq!(keys(converted), keys(&again), "{name}");
                for added in &converted.resources {
                    *types.entry(added.resource_type().to_owned()).or_default() += 1;
                }
                for issue in &converted.issues {
                    let text = issue.text.split('(').next().unwrap().to_owned();
                    *issues.entry(text).or_default() += 1;
                }
                "converted".to_owned()
            }
            Err(refusal) => format!("{refusal} [{name}]"),
        };
        *outcomes.entry(set).or_default().entry(what).or_default() += 1;
    }
    println!("{outcomes:#?}\n{types:#?}\n{issues:#?}\n{fragments} fragments skipped");
    assert!(
        invalid.is_empty(),
        "{} are not valid R4: {:#?}",
        invalid.len(),
        &invalid[..invalid.len().min(60)]
    );
    for (set, least) in [("vendors", 53), ("onc", 18), ("synthea", 3), ("microsoft", 14)] {
        let of_set = &outcomes[set];
        // What is refused names no patient; nothing in these sets is malformed.
        let reasons = of_set.keys().filter(|what| *what != "converted");
        let mut others = reasons.filter(|what| !what.starts_with("required patient identifier"));
        assert_eq!(others.next(), None, "{set}");
        assert!(of_set["converted"] >= least, "{set}: {of_set:#?}");
    }
}
