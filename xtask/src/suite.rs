//! `test`: the one test command. Cheap steps come first; the first that fails ends
//! the run. The steps share one target folder and one profile, so that nothing is
//! built twice for the sake of a step.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Outcome;

/// One step of the suite.
struct Step {
    /// What it shows, for the reader of the log.
    name: &'static str,
    /// Arguments to cargo.
    cargo: &'static [&'static str],
    /// What to do about a failure.
    hint: &'static str,
}

/// The steps before and after our own rules, which need no process.
const FORMAT: Step = Step {
    name: "format",
    cargo: &["fmt", "--all", "--check"],
    hint: "`cargo fmt --all` mends it",
};
const REST: &[Step] = &[
    Step {
        name: "clippy",
        cargo: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        hint: "warnings are errors here",
    },
    Step {
        name: "tests",
        cargo: &["test", "--workspace", "--locked", "--no-fail-fast"],
        hint: "the failing claims stand above, below `failures:`",
    },
    Step {
        name: "documentation",
        cargo: &["doc", "--workspace", "--no-deps", "--locked"],
        hint: "broken links and examples stand above",
    },
];

/// Tools that some tests use when they are there.
const OPTIONAL: &[(&str, &str)] = &[
    ("pdftotext", "letters are not read back as text (poppler-utils)"),
    ("chromium", "no screenshots of the console"),
];

/// Runs the verb.
pub fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("test takes no argument, not `{unknown}`").into());
    }
    for (tool, loss) in OPTIONAL.iter().filter(|(tool, _)| !is_on_path(tool)) {
        println!("without {tool}: {loss}");
    }
    let begun = Instant::now();
    report("format", || cargo(&FORMAT))?;
    report("tidy", || crate::tidy::run(&[]))?;
    report("cbom", || crate::cbom::run(&["--check".to_owned()]))?;
    for step in REST {
        report(step.name, || cargo(step))?;
    }
    println!("everything holds ({})", spent(begun.elapsed()));
    Ok(())
}

/// Runs a step and prints a line with its time.
fn report(name: &str, step: impl FnOnce() -> Outcome) -> Outcome {
    println!("{name} …");
    let begun = Instant::now();
    let outcome = step();
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("{name}: {verdict} ({})", spent(begun.elapsed()));
    outcome.map_err(|error| format!("stopped at {name}: {error}").into())
}

fn cargo(step: &Step) -> Outcome {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(step.cargo)
        .current_dir(crate::tidy::workspace())
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(failure(step).into()) }
}

/// One sentence with the command to repeat the step alone.
fn failure(step: &Step) -> String {
    format!("`cargo {}` failed; {}", step.cargo.join(" "), step.hint)
}

fn is_on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// `4.2 s`, `3 min 05 s`.
fn spent(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_ends_the_run_with_its_name() {
        let told = report("clippy", || Err("seven warnings".into())).expect_err("it failed");
        assert_eq!(told.to_string(), "stopped at clippy: seven warnings");
        assert!(report("clippy", || Ok(())).is_ok());
    }

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        assert!(failure(&FORMAT).starts_with("`cargo fmt --all --check` failed"));
    }

    #[test]
    fn times_read_well() {
        assert_eq!(spent(Duration::from_millis(4_210)), "4.2 s");
        assert_eq!(spent(Duration::from_secs(185)), "3 min 05 s");
    }

    #[test]
    fn a_tool_that_is_nowhere_is_not_found() {
        assert!(is_on_path("cargo"));
        assert!(!is_on_path("no-such-tool-of-ours"));
    }
}
