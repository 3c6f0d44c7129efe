//! `holdfast bulk`: bulk exports and imports that are at work or can be fetched.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::SignInArguments;
use crate::commands::signed_in;
use crate::failure::Failure;

/// Whom the credentials file is searched for.
const ROLES: &[&str] = &["administrator", "security-officer", "privacy-officer"];

/// What can be done with bulk jobs of others.
#[derive(Subcommand)]
pub enum BulkTask {
    /// List the jobs, newest first.
    List {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
    },
    /// Show one job.
    Show {
        /// Who asks.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Number of the job.
        job: String,
    },
    /// End a job and delete its files.
    Cancel {
        /// Who ends it.
        #[command(flatten)]
        sign_in: SignInArguments,
        /// Number of the job.
        job: String,
    },
}

/// Does one task.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn run(task: BulkTask) -> Result<(), Failure> {
    match task {
        BulkTask::List { sign_in } => {
            let jobs = jobs(&sign_in).await?;
            if jobs.is_empty() {
                println!("no bulk jobs");
            }
            jobs.iter().for_each(print);
        }
        BulkTask::Show { sign_in, job } => {
            let jobs = jobs(&sign_in).await?;
            let found = jobs.iter().find(|known| known["job"] == job.as_str());
            let found = found.ok_or_else(|| Failure::new("there is no such bulk job"))?;
            for (name, value) in found.as_object().into_iter().flatten() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                println!("{name:<14} {text}");
            }
        }
        BulkTask::Cancel { sign_in, job } => {
            let fits = job.len() == 32 && job.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !fits {
                return Err(Failure::new("that is no number of a bulk job"));
            }
            let client = signed_in(&sign_in, ROLES).await?;
            client.post_json(&format!("/ops/bulk/{job}/cancel"), &json!({})).await?.accepted()?;
            println!("cancelled {job}");
        }
    }
    Ok(())
}

async fn jobs(sign_in: &SignInArguments) -> Result<Vec<Value>, Failure> {
    let client = signed_in(sign_in, ROLES).await?;
    let answer = client.get("/ops/bulk").await?.accepted()?.json()?;
    Ok(answer["jobs"].as_array().cloned().unwrap_or_default())
}

fn print(job: &Value) {
    let text = |name: &str| job[name].as_str().unwrap_or_default().to_owned();
    println!(
        "{}  {:<7} {:<9} {:<20} {:<24} {:>7} of {:<7} patients, {} resources, until {} {}",
        text("job"),
        text("kind"),
        text("state"),
        text("organization"),
        text("principal"),
        job["patients_done"],
        job["patients"],
        job["resources"],
        text("expires"),
        text("reason"),
    );
}
