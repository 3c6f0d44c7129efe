//! Documents of others: what is published as valid must validate, be indexed
//! and survive the row format.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use holdfast_fhir::patch::{fhirpath_patch, json_patch};
use holdfast_fhir::xml::from_xml;
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

/// What stands between the first `<name>` and its end in `text`.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let from = text.find(&format!("<{name}>"))? + name.len() + 2;
    let to = text[from..].find(&format!("</{name}>"))?;
    Some(text[from..from + to].trim())
}

#[test]
fn json_patches_of_the_official_suite_do_what_it_says() {
    let Some(folder) = corpus("patch-r4") else { return };
    let text = std::fs::read(folder.join("json-patch-tests.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let mut failed = Vec::new();
    for case in &cases {
        let told = json_patch(&case["doc"], &case["patch"]);
        let expected = case.get("expected").filter(|_| case.get("error").is_none());
        if told.as_ref().ok() != expected {
            failed.push(format!("{}: {told:?}", case["comment"]));
        }
    }
    println!("patch-r4: {} of {} JSON Patch cases", cases.len() - failed.len(), cases.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn fhirpath_patches_of_the_official_suite_do_what_it_says() {
    let Some(folder) = corpus("patch-r4") else { return };
    let text = std::fs::read_to_string(folder.join("fhir-patch-tests.xml")).unwrap();
    let read = |xml: &str| from_xml(xml.as_bytes(), Limits::default()).unwrap();
    let (mut count, mut failed) = (0, Vec::new());
    for case in text.split("<case ").skip(1) {
        let name = case.split('"').nth(1).unwrap();
        let input = read(between(case, "input").unwrap());
        let patch = read(between(case, "diff").unwrap());
        let expected = between(case, "output").map(read);
        let told = fhirpath_patch(&input, &patch);
        count += 1;
        // White space of a narrative, which says nothing, is not the same in the file.
        let plain = |mut value: Value| {
            if let Some(div) = value.pointer_mut("/text/div") {
                let words: String = div.as_str().unwrap_or_default().split_whitespace().collect();
                *div = Value::String(words.replace("&quot;", "\""));
            }
            value
        };
        if told.clone().ok().map(plain) != expected.clone().map(plain) {
            failed.push(format!("{name}: {told:?}, not {expected:?}"));
        }
    }
    println!("patch-r4: {} of {count} FHIRPath Patch cases", count - failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count > 30);
}
