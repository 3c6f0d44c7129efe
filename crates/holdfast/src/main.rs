//! The `holdfast` command: wiring, command line, demo and drill.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod commands;
mod config;
mod demo;
mod drill;
mod failure;
mod load;
mod serve;
mod tls;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("holdfast: cannot start: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = runtime.block_on(commands::run(arguments));
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
