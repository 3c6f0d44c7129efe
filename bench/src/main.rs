#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cold;
mod document;
mod figure;
mod ledger;
mod opens;
mod rewrap;
mod rig;
mod writes;

use std::process::ExitCode;

use figure::Figure;
use rig::Options;

/// What may go wrong: the first failure ends the run and is shown.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What measures one or more figures.
type Measure = fn(&Options) -> Result<Vec<Figure>, Failure>;

/// Every name that can be asked for, in the order of the table.
const FIGURES: &[(&str, Measure)] = &[
    ("store", writes::figures),
    ("opens", opens::figures),
    ("cold", cold::figures),
    ("rewrap", rewrap::figures),
    ("ledger", ledger::figures),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.as_slice() {
        [first, dir, socket] if first == rig::KEEPER => rig::serve_keeper(dir, socket),
        _ => measure(&arguments),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("holdfast-bench: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Measures what was asked for and prints the table. Whether all was reached.
fn measure(arguments: &[String]) -> Result<bool, Failure> {
    let options = Options { quick: arguments.iter().any(|argument| argument == "--quick") };
    let asked: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| *name != "--quick").collect();
    let known = |name: &str| name == "all" || FIGURES.iter().any(|(known, _)| *known == name);
    if asked.is_empty() || !asked.iter().all(|name| known(name)) {
        let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        return Err(format!("say which: all, {}", names.join(", ")).into());
    }
    let mut figures = Vec::new();
    for (name, measure) in FIGURES {
        if asked.contains(&"all") || asked.contains(name) {
            eprintln!("measuring {name} …");
            figures.extend(measure(&options)?);
        }
    }
    print!("{}", figure::table(&figures));
    Ok(figures.iter().all(Figure::is_reached))
}
