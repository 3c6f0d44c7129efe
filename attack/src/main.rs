//! `cargo xtask attack`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use holdfast_attack::features::{Seen, look};
use holdfast_attack::stolen::Stolen;
use holdfast_attack::trial::{Score, Thief, attack_all, learn_all};
use holdfast_attack::truth::Truth;
use holdfast_attack::{Failure, database, report, victim, weak};
use holdfast_testkit::Postgres;

/// Steals a store and tries to recover what it is about.
///
/// Fictitious people are drawn from public tables of names, ages and diagnoses; a
/// whole exchange stores their records. Then a thief, who knows the tables exactly
/// and has every byte on disk but no key, learns on a store of his own what sizes,
/// counts, neighbourhoods and repetitions go with what, and guesses: the type of
/// each resource, the code of each condition and observation, each patient's sex,
/// birth, names, and who has a sensitive diagnosis. The table shows what he gets
/// right beside guessing blindly.
///
/// Ends with 1 when anything is recovered better than by guessing, with 2 when the
/// attack could not be made.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask attack")]
struct Options {
    /// People in the store that is stolen, and in the thief's own.
    #[arg(long, default_value_t = 2_000)]
    people: usize,
    /// From which the people follow; keys and ids are random every time.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The engine of the store that is stolen.
    #[arg(long, value_enum, default_value_t = Engine::Both)]
    engine: Engine,
    /// Attack a layout that is weak on purpose instead: shows that the attack works.
    #[arg(long)]
    weak: bool,
    /// Attack the store in this data folder (closed, or a copy) instead of a new one.
    #[arg(long, value_name = "DIR")]
    stolen: Option<PathBuf>,
    /// Attack the store in this database instead of a new one; with --stolen, the
    /// data folder whose ledger is stolen with it.
    #[arg(long, value_name = "URL")]
    stolen_postgres: Option<String>,
    /// What is so in that store, as --keep wrote it. Without it the table shows how
    /// sure the thief is instead of what he gets right.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Copy the data folder of the victim on the embedded engine here, with the truth
    /// beside it in truth.json.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The embedded one.
    Fjall,
    /// A PostgreSQL that is started for this and thrown away.
    Postgresql,
    /// One after the other.
    Both,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("attack: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("attack: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was recovered better than by guessing.
async fn run(options: &Options) -> Result<bool, Failure> {
    if options.weak {
        return Ok(against_the_weak(options));
    }
    if options.stolen.is_some() || options.stolen_postgres.is_some() {
        return against_given(options).await;
    }
    let thieves = thieves(options).await?;
    let mut all = Vec::new();
    if options.engine != Engine::Postgresql {
        let victim = made(options, "to be stolen, on fjall", 1, None).await?;
        let stolen = Stolen::from_folder(&victim.folder)?;
        if let Some(keep) = &options.keep {
            keep_copy(&victim, keep)?;
        }
        all.extend(told("fjall", &stolen, &look(&stolen), &thieves, &victim.truth));
    }
    if options.engine != Engine::Fjall {
        match Postgres::shared() {
            None if options.engine == Engine::Postgresql => {
                return Err("no PostgreSQL on this machine".into());
            }
            None => {}
            Some(server) => {
                let url = server.create_database();
                let victim =
                    made(options, "to be stolen, on PostgreSQL", 2, Some(url.clone())).await?;
                let stolen = database::from_postgres(&url, Some(&victim.folder)).await?;
                all.extend(told("PostgreSQL", &stolen, &look(&stolen), &thieves, &victim.truth));
            }
        }
    }
    Ok(ending(&all))
}

fn against_the_weak(options: &Options) -> bool {
    let (own, truth) = weak::make(options.people, options.seed);
    let thieves = learn_all(&look(&own), &truth, options.seed);
    let (stolen, truth) = weak::make(options.people, options.seed + 1);
    let scores = told("the weak layout", &stolen, &look(&stolen), &thieves, &truth);
    ending(&scores)
}

/// The thief's own store, and what he learns from it.
async fn thieves(options: &Options) -> Result<Vec<Thief>, Failure> {
    let own = made(options, "the thief's own", 0, None).await?;
    let stolen = Stolen::from_folder(&own.folder)?;
    eprintln!("learning …");
    Ok(learn_all(&look(&stolen), &own.truth, options.seed))
}

async fn made(
    options: &Options,
    what: &str,
    which: u64,
    url: Option<String>,
) -> Result<victim::Victim, Failure> {
    eprintln!("storing the records of {} people ({what}) …", options.people);
    let victim = victim::make(options.people, options.seed * 1_000 + which, url).await?;
    eprintln!("  {} messages", victim.messages);
    Ok(victim)
}

async fn against_given(options: &Options) -> Result<bool, Failure> {
    let folder = options.stolen.as_deref();
    let stolen = match (&options.stolen_postgres, folder) {
        (Some(url), folder) => database::from_postgres(url, folder).await?,
        (None, Some(folder)) => Stolen::from_folder(folder)?,
        (None, None) => return Err("nothing was stolen".into()),
    };
    let seen = look(&stolen);
    let thieves = thieves(options).await?;
    let Some(truth) = &options.truth else {
        let confidences: Vec<_> = thieves.iter().map(|thief| thief.confidence(&seen)).collect();
        print!("{}", report::confidences("the store that was given", &confidences));
        return Ok(true);
    };
    let truth: Truth = serde_json::from_slice(&std::fs::read(truth)?)?;
    Ok(ending(&told("the store that was given", &stolen, &seen, &thieves, &truth)))
}

fn told(name: &str, stolen: &Stolen, seen: &Seen, thieves: &[Thief], truth: &Truth) -> Vec<Score> {
    let scores = attack_all(thieves, seen, truth);
    let title = format!(
        "{name}: {} patients, {} resources, {:.1} MB, {} ledger records ({})",
        seen.patients.len(),
        seen.resources.len(),
        stolen.bytes() as f64 / 1e6,
        stolen.ledger.len(),
        if seen.ledger_aligned { "told apart by commit" } else { "not told apart by commit" },
    );
    print!("{}", report::table(&title, &scores));
    scores
}

fn ending(scores: &[Score]) -> bool {
    print!("{}", report::legend());
    let leaking = report::leaking(scores);
    if leaking.is_empty() {
        println!("\nNothing was recovered better than by guessing blindly.");
    } else {
        let names: Vec<&str> = leaking.iter().map(|score| score.class.name()).collect();
        println!("\nRecovered better than by guessing blindly: {}.", names.join(", "));
    }
    leaking.is_empty()
}

fn keep_copy(victim: &victim::Victim, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    let status = std::process::Command::new("cp")
        .args(["-r", "--"])
        .arg(victim.folder.join("store"))
        .arg(victim.folder.join("keeper"))
        .arg(to)
        .status()?;
    if !status.success() {
        return Err("the data folder was not copied".into());
    }
    std::fs::write(to.join("truth.json"), serde_json::to_vec(&victim.truth)?)?;
    Ok(())
}
