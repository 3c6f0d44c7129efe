//! The `holdfast` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use holdfast::{cli, run};

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("holdfast: cannot start: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = runtime.block_on(run(arguments));
    // A question on standard input may still wait for its answer.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("holdfast: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
