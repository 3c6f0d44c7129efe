//! `holdfast profiles`.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use holdfast_fhir::profile::Package;
use serde_json::{Value, json};

use super::{escaped, text};
use crate::cli::SignInArguments;
use crate::commands::signed_in;
use crate::failure::Failure;

const ADMINISTRATOR: &[&str] = &["administrator"];

/// Tasks with profiles.
#[derive(Subcommand)]
pub enum ProfileTask {
    /// Load a package of definitions (StructureDefinitions, ValueSets, CodeSystems,
    /// Questionnaires); one of the same name is replaced.
    Add {
        /// Who does it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// An npm package of FHIR (.tgz), or a folder of JSON files.
        package: PathBuf,
        /// For this organization only; default: for all.
        #[arg(long)]
        organization: Option<String>,
        /// Its name; default: what the package says, or the name of the folder.
        #[arg(long)]
        name: Option<String>,
    },
    /// List what is loaded.
    List {
        /// Who asks: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
    },
    /// Remove a package.
    Remove {
        /// Who does it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Its name.
        name: String,
        /// The organization that it was loaded for.
        #[arg(long)]
        organization: Option<String>,
    },
    /// Say what an organization does about resources that do not meet a profile. Errors
    /// in R4 itself always refuse.
    Policy {
        /// Who does it: an administrator.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Whose.
        organization: String,
        /// What is done.
        #[arg(long, value_enum, default_value = "warn")]
        on_problem: OnProblem,
        /// A profile that every resource of its type has to meet, claimed or not: its
        /// canonical URL. Once for each; those of before are replaced.
        #[arg(long = "always", value_name = "URL")]
        always: Vec<String>,
    },
}

/// What is done about a problem.
#[derive(Clone, Copy, ValueEnum)]
pub enum OnProblem {
    /// Refuse the resource.
    Reject,
    /// Store it and tell the sender.
    Warn,
    /// Store it with a label in meta.tag and tell the sender.
    Tag,
}

impl OnProblem {
    fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Warn => "warn",
            Self::Tag => "tag",
        }
    }
}

/// Does one task.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn run(task: ProfileTask) -> Result<(), Failure> {
    match task {
        ProfileTask::Add { sign_in, package, organization, name } => {
            let read = read(&package)?;
            let own = Some(read.name.clone()).filter(|own| !own.is_empty());
            let of_path = || package.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let name = name.or(own).or_else(of_path).unwrap_or_default();
            let body = json!({
                "name": name,
                "version": read.version,
                "organization": organization,
                "resources": read.resources,
            });
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let answer = client.post_json("/ops/profiles", &body).await?.accepted()?.json()?;
            print(&answer);
        }
        ProfileTask::List { sign_in } => {
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let answer = client.get("/ops/profiles").await?.accepted()?.json()?;
            answer["packages"].as_array().into_iter().flatten().for_each(print);
        }
        ProfileTask::Remove { sign_in, name, organization } => {
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let body = json!({ "name": name, "organization": organization });
            client.post_json("/ops/profiles/remove", &body).await?.accepted()?;
            println!("Removed {name}.");
        }
        ProfileTask::Policy { sign_in, organization, on_problem, always } => {
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let path = format!("/ops/organizations/{}/profiles", escaped(&organization));
            let policy = json!({ "on_problem": on_problem.as_str(), "always": always });
            client.post_json(&path, &policy).await?.accepted()?;
            println!("{organization}: {} from now on.", on_problem.as_str());
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Package, Failure> {
    let failure = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{} cannot be read: {error}", path.display()))
    };
    if !path.is_dir() {
        let bytes = std::fs::read(path).map_err(|error| failure(&error))?;
        return Package::from_tgz(&bytes).map_err(|error| failure(&error));
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| failure(&error))? {
        let file = entry.map_err(|error| failure(&error))?.path();
        if file.extension().is_some_and(|ending| ending == "json") {
            let bytes = std::fs::read(&file).map_err(|error| failure(&error))?;
            files.push((file.to_string_lossy().into_owned(), bytes));
        }
    }
    // The order of a folder is chance; of two versions of one URL the last counts.
    files.sort();
    Package::from_files(files).map_err(|error| failure(&error))
}

fn print(package: &Value) {
    let whose = package["organization"].as_str().unwrap_or("everybody");
    println!(
        "{:<32} {:<10} {:<24} {} profile(s), {} other definition(s)",
        text(package, "name"),
        text(package, "version"),
        whose,
        package["profiles_count"],
        package["others_count"],
    );
    for note in package["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("    not checked: {note}");
    }
}
