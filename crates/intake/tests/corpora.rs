//! Every message of the public corpora (`<workspace>/../shared/corpora`) goes
//! through: split, parsed, rendered, acknowledged, converted. None may panic.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use holdfast_base::{OrganizationId, Timestamp};
use holdfast_fhir::Severity;
use holdfast_intake::hl7v2::{self, AckCode};
use holdfast_intake::{Converted, PATIENT_URL, Refusal, Settings, convert_hl7v2, mllp};
use serde_json::Value;

fn corpora() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/hl7v2");
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
        } else if path.extension().is_some_and(|end| end == "hl7" || end == "txt" || end == "bin") {
            found.push(path);
        }
    }
}

fn settings() -> Settings {
    let mut settings = Settings::new(OrganizationId::new("corpora").unwrap());
    settings.time_zone = "EST5EDT,M3.2.0,M11.1.0".to_owned();
    settings
}

/// The messages of a file, taken out of MLLP frames where it has them.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    if bytes.contains(&0x0B) {
        let mut decoder = mllp::Decoder::default();
        decoder.feed(bytes);
        payloads.extend(std::iter::from_fn(|| decoder.next()).filter_map(Result::ok));
        payloads.extend(decoder.next_without_return());
    } else {
        payloads.push(bytes.to_vec());
    }
    let split = |payload: &Vec<u8>| -> Vec<Vec<u8>> {
        hl7v2::split(payload).iter().map(|part| part.to_vec()).collect()
    };
    payloads.iter().flat_map(split).collect()
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
fn every_file_is_read_and_converted_or_refused_for_a_reason() {
    let Some(folder) = corpora() else { return };
    let mut paths = Vec::new();
    files(&folder, &mut paths);
    paths.sort();
    let mut outcomes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut invalid = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let set = name.split('/').next().unwrap().to_owned();
        let bytes = std::fs::read(path).unwrap();
        let mut count = |what: &str| {
            *outcomes.entry(set.clone()).or_default().entry(what.to_owned()).or_default() += 1;
        };
        for bytes in messages(&bytes) {
            let ack = hl7v2::acknowledge(&bytes, AckCode::AA, &[], "1", Timestamp::MIN);
            let message = match hl7v2::parse(&bytes) {
                Ok(message) => message,
                Err(error) => {
                    count(&format!("unreadable: {error}"));
                    continue;
                }
            };
            let back = hl7v2::parse(&ack).unwrap();
            assert_eq!(back.header(5).raw(), message.header(3).raw(), "{name}");
            match convert_hl7v2(&message, &settings()) {
                Ok(converted) => {
                    check(&converted, &name, &mut invalid);
                    let again = convert_hl7v2(&message, &settings()).unwrap();
                    let keys = |of: &Converted| -> Vec<Option<String>> {
                        of.resources.iter().map(|added| added.natural_key.clone()).collect()
                    };
                    assert_eq!(keys(&converted), keys(&again), "{name}");
                    count("converted");
                }
                Err(Refusal::Missing { what, .. }) => count(&format!("no {what}")),
                Err(refusal) => count(&refusal.to_string()),
            }
        }
    }
    println!("{outcomes:#?}");
    assert!(
        invalid.is_empty(),
        "{} are not valid R4: {:#?}",
        invalid.len(),
        &invalid[..invalid.len().min(40)]
    );
    // One message a mapping rule, most without any patient identifier.
    outcomes.remove("reportstream-mapping");
    let total: usize = outcomes.values().flat_map(BTreeMap::values).sum();
    let converted: usize = outcomes.values().filter_map(|set| set.get("converted")).sum();
    assert!(total > 300 && converted * 100 / total >= 90, "{converted} of {total}");
}
