//! Documents of others: what is published as valid must validate, be indexed
//! and survive the row format.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use holdfast_fhir::{Limits, compartment_patient, parse_resource, search, validate};
use serde_json::Value;

fn corpus(name: &str) -> Option<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/fhir").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not at hand", path.display());
    None
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

/// Each problem of a resource, and how many resources (those in bundles
/// included) were indexed.
fn check(resource: &Value, problems: &mut Vec<String>, name: &str) -> usize {
    problems.extend(
        validate(resource)
            .iter()
            .filter(|issue| issue.is_error())
            .map(|issue| format!("{name}: {issue}")),
    );
    let entries = search::index(resource);
    assert_eq!(search::decode(&search::encode(&entries)).unwrap(), entries, "{name}");
    let inner = resource["entry"].as_array().into_iter().flatten();
    let inner = inner.filter(|entry| entry["resource"].is_object());
    1 + inner
        .map(|entry| {
            let entries = search::index(&entry["resource"]);
            assert!(!entries.is_empty(), "{name}");
            assert_eq!(search::decode(&search::encode(&entries)).unwrap(), entries, "{name}");
        })
        .count()
}

fn expect_no_problem(set: &str) {
    let Some(folder) = corpus(set) else { return };
    let (mut paths, mut problems, mut resources) = (Vec::new(), Vec::new(), 0);
    files(&folder, &mut paths);
    paths.retain(|path| !path.components().any(|part| part.as_os_str() == "conformance"));
    assert!(!paths.is_empty(), "{set} has no files");
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        match parse_resource(&bytes, Limits::default()) {
            Ok(resource) => resources += check(&resource, &mut problems, &name),
            Err(issue) => problems.push(format!("{name}: {issue}")),
        }
    }
    println!("{set}: {resources} resources");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn us_core_examples_have_no_errors() {
    expect_no_problem("us-core-examples");
}

#[test]
fn synthea_bundles_have_no_errors() {
    expect_no_problem("synthea");
}

#[test]
fn ihe_examples_have_no_errors() {
    for set in ["ihe-basicaudit", "ihe-pdqm", "ihe-pixm", "ihe-mhd"] {
        expect_no_problem(set);
    }
}

/// Broken documents and odd ones among them.
#[test]
fn no_document_of_the_official_suites_panics() {
    for set in ["validator-r4", "fhirpath-r4", "patch-r4"] {
        let Some(folder) = corpus(set) else { return };
        let mut paths = Vec::new();
        files(&folder, &mut paths);
        let (mut read, mut refused) = (0, 0);
        for path in paths {
            let Ok(value) = parse_resource(&std::fs::read(&path).unwrap(), Limits::default())
            else {
                refused += 1;
                continue;
            };
            read += 1;
            let _ = (validate(&value), search::index(&value), compartment_patient(&value));
        }
        println!("{set}: {read} read, {refused} refused");
        assert!(read + refused > 0, "{set} has no files");
    }
}
