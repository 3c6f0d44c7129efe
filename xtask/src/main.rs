//! Project chores: `cargo xtask <verb>`. Each verb is a file of its own.
#![forbid(unsafe_code)]

mod archive;
mod fhir_defs;

use std::process::ExitCode;

/// What a verb answers: nothing, or one sentence that says why it failed.
type Outcome = Result<(), Box<dyn std::error::Error>>;

const USAGE: &str = "usage: cargo xtask <verb>
  fhir-defs [--wheel FILE] [--check]   make (or compare) the FHIR R4 tables in crates/fhir/data";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let outcome = match verb.as_str() {
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
