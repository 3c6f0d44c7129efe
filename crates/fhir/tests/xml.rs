//! XML and JSON say the same: documents of others, there and back.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use holdfast_fhir::xml::{from_xml, to_xml};
use holdfast_fhir::{Limits, parse_resource};

fn corpus(name: &str, extension: &str) -> Vec<PathBuf> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/fhir").join(name);
    if !folder.exists() {
        println!("skipped: {} is not at hand", folder.display());
        return Vec::new();
    }
    let mut found = Vec::new();
    files(&folder, extension, &mut found);
    assert!(!found.is_empty(), "{name} has no files");
    found.sort();
    found
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|of| of == extension) {
            found.push(path);
        }
    }
}

/// How many documents came back as they were; the others are printed.
fn round_trip(set: &str, step: usize) -> (usize, Vec<String>) {
    let (mut count, mut problems) = (0, Vec::new());
    for path in corpus(set, "json").into_iter().step_by(step) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(resource) = parse_resource(&std::fs::read(&path).unwrap(), Limits::default()) else {
            continue;
        };
        for pretty in [false, true] {
            let xml = to_xml(&resource, pretty);
            match from_xml(xml.as_bytes(), Limits::default()) {
                Ok(back) if back == resource => count += 1,
                Ok(_) => problems.push(format!("{name}: came back different")),
                Err(issues) => problems.push(format!("{name}: {}", issues[0])),
            }
        }
    }
    (count, problems)
}

fn expect_round_trip(set: &str, step: usize) {
    let (count, problems) = round_trip(set, step);
    println!("{set}: {count} documents");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn us_core_examples_come_back_from_xml_as_they_were() {
    expect_round_trip("us-core-examples", 1);
}

#[test]
fn synthea_bundles_come_back_from_xml_as_they_were() {
    // Large, and alike: some of them tell as much as all.
    expect_round_trip("synthea", 10);
}

#[test]
fn ihe_examples_come_back_from_xml_as_they_were() {
    expect_round_trip("ihe-mhd", 1);
    expect_round_trip("ihe-pdqm", 1);
    expect_round_trip("ihe-pixm", 1);
}

#[test]
fn xml_of_others_is_read_and_written_the_same() {
    for set in ["fhirpath-r4/input", "validator-r4"] {
        let (mut count, mut refused) = (0, Vec::new());
        for path in corpus(set, "xml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match from_xml(&std::fs::read(&path).unwrap(), Limits::default()) {
                Ok(resource) => {
                    let xml = to_xml(&resource, true);
                    let back = from_xml(xml.as_bytes(), Limits::default());
                    assert_eq!(back.as_ref(), Ok(&resource), "{name}");
                    count += 1;
                }
                Err(issues) => refused.push(format!("{name}: {}", issues[0])),
            }
        }
        println!("{set}: {count} read; refused:\n{}", refused.join("\n"));
        assert!(set != "fhirpath-r4/input" || refused.is_empty());
    }
}
