//! US Core 6.1: its definitions are compiled from their differentials, and its own
//! examples are valid by the profiles that they claim.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use holdfast_fhir::profile::{Package, Registry, Strictness, check_profiles};
use holdfast_fhir::{Limits, parse_resource, validate};
use serde_json::Value;

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not at hand", path.display());
    None
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                std::fs::read(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    found
}

fn us_core() -> Option<Registry> {
    let package = Package::from_files(files(&shared("definitions/us-core-6.1.0")?)).unwrap();
    let mut registry = Registry::default();
    for resource in package.resources {
        registry.add(resource);
    }
    Some(registry)
}

#[test]
fn every_profile_of_us_core_is_compiled_whole() {
    let Some(registry) = us_core() else { return };
    let mut notes = Vec::new();
    for url in registry.urls() {
        let profile = registry.profile(url).unwrap_or_else(|| panic!("{url} does not compile"));
        notes.extend(profile.notes.iter().map(|note| format!("{url}: {note}")));
    }
    assert_eq!(registry.urls().len(), 59);
    // What it derives from is in a guide of its own, which nobody loaded.
    assert_eq!(
        notes,
        ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-questionnaireresponse: \
          http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaireresponse, \
          which it derives from, is not at hand"]
    );
}

/// Profiles that the examples claim and 6.1 has not yet.
const LATER: &[&str] = &[
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-adi-documentreference|9.0.0",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-average-blood-pressure|9.0.0",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-care-experience-preference|9.0.0",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-device|9.0.0",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-familymemberhistory|9.0.0",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-adi-documentation|9.0.0",
    "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire",
];

/// Errors that are real, by file and place: the examples are of a later version, which
/// asks for less than 6.1 does.
const REAL: &[(&str, &str)] = &[
    ("colonoscopy.json", "CarePlan.category"),
    ("e-cig-user.json", "Observation.effective"),
    ("patient-child-example.json", "Patient.gender"),
    ("patient-deceased-example.json", "Patient.gender"),
    ("patient-infant-example.json", "Patient.gender"),
];

#[test]
fn the_examples_of_us_core_meet_the_profiles_that_they_claim() {
    let Some(registry) = us_core() else { return };
    let Some(folder) = shared("corpora/fhir/us-core-examples") else { return };
    let (mut found, mut unknown) = (BTreeMap::new(), BTreeSet::new());
    let (mut claimed, mut count) = (0, 0);
    for (name, bytes) in files(&folder) {
        let resource: Value = parse_resource(&bytes, Limits::default()).unwrap();
        let report = check_profiles(&resource, &registry, &[], Strictness::Usual);
        unknown.extend(report.unknown);
        claimed += resource["meta"]["profile"].as_array().map_or(0, Vec::len);
        count += 1;
        for issue in validate(&resource).into_iter().chain(report.issues) {
            if issue.is_error() {
                found.insert((name.clone(), issue.expression.clone()), issue.to_string());
            }
        }
    }
    for ((name, place), issue) in &found {
        println!("{name} {place} {issue}");
    }
    println!("{count} examples, {claimed} claims, {} errors", found.len());
    let unexpected: Vec<&String> = found
        .iter()
        .filter(|((name, place), _)| !REAL.contains(&(name.as_str(), place.as_str())))
        .map(|(_, issue)| issue)
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    for (name, place) in REAL {
        assert!(found.contains_key(&((*name).to_owned(), (*place).to_owned())), "{name} {place}");
    }
    assert_eq!(Vec::from_iter(&unknown), LATER);
    assert!(claimed > 60, "{claimed}");
}
