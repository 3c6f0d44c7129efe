//! Time of validation over the FHIR files of a folder: `validate_cost DIR [DEFINITIONS]`,
//! with the profiles of the folder DEFINITIONS if one is named.

use std::path::Path;
use std::time::Instant;

use holdfast_fhir::profile::{Package, Registry, Strictness, check_profiles};
use holdfast_fhir::{Limits, parse_resource, validate};

fn files(folder: &Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            found.push((path.to_string_lossy().into_owned(), std::fs::read(&path)?));
        }
    }
    found.sort();
    Ok(found)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("a folder is needed")?;
    let mut registry = Registry::default();
    if let Some(definitions) = arguments.next() {
        let package = Package::from_files(files(Path::new(&definitions))?)?;
        for resource in package.resources {
            registry.add(resource);
        }
    }
    let documents: Vec<_> = files(Path::new(&folder))?
        .into_iter()
        .filter_map(|(_, bytes)| parse_resource(&bytes, Limits::default()).ok())
        .collect();
    let resources: usize =
        documents.iter().map(|it| it["entry"].as_array().map_or(1, Vec::len)).sum();
    // The tables are decoded and the expressions compiled at the first call.
    if let Some(first) = documents.first() {
        let _ = (validate(first), check_profiles(first, &registry, &[], Strictness::Usual));
    }
    let started = Instant::now();
    let base: usize = documents.iter().map(|document| validate(document).len()).sum();
    let structure = started.elapsed();
    let started = Instant::now();
    let check = |document| check_profiles(document, &registry, &[], Strictness::Usual).issues.len();
    let profiles: usize = documents.iter().map(check).sum();
    let profile_time = started.elapsed();
    let each = |time: std::time::Duration| time.as_micros() as f64 / resources.max(1) as f64;
    println!(
        "{resources} resources: R4 {:.1} µs each ({base} issues), profiles {:.1} µs each ({profiles} issues)",
        each(structure),
        each(profile_time)
    );
    Ok(())
}
