//! `attack`: runs the crate of that name, which needs far more than the other
//! chores do and is built only for this.

use std::process::Command;

use crate::Outcome;

/// Runs the verb; what is asked of it is the crate's to understand.
pub fn run(arguments: &[String]) -> Outcome {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--locked", "--package", "holdfast-attack", "--"])
        .args(arguments)
        .current_dir(crate::tidy::workspace())
        .status()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    // It has said itself what it found, or what went wrong.
    std::process::exit(status.code().unwrap_or(2))
}
