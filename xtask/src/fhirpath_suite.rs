//! The published FHIRPath suite, as `corpora` reports it.

#[path = "../../crates/fhir/tests/suite/fhirpath.rs"]
mod suite;

use std::path::Path;

use crate::Outcome;

/// Runs the suite below `corpora` and prints what became of it.
pub fn report(corpora: &Path) -> Outcome {
    let folder = corpora.join("fhir/fhirpath-r4");
    if !folder.is_dir() {
        println!("fhirpath-r4 skipped: no {}", folder.display());
        return Ok(());
    }
    let text = std::fs::read_to_string(folder.join("tests-fhir-r4.dev.xml"))?;
    let report = suite::run(&roxmltree::Document::parse(&text)?, &folder);
    let count = report.passed + report.listed.len() + report.wrong.len();
    println!("fhirpath-r4: {} of {count} cases passed", report.passed);
    report.listed.iter().for_each(|(name, why)| println!("    not {name}: {why}"));
    report.wrong.iter().for_each(|wrong| println!("    FAILED {wrong}"));
    if report.wrong.is_empty() { Ok(()) } else { Err("corpora: FHIRPath cases failed".into()) }
}
