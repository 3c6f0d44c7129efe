//! `holdfast grant`: bulk grants by two people.

use serde_json::{Value, json};

use crate::cli::GrantTask;
use crate::commands::signed_in;
use crate::failure::Failure;

/// Whom the credentials file is searched for.
const ROLES: &[&str] = &["privacy-officer", "security-officer", "administrator"];

/// Does one step.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn run(step: GrantTask) -> Result<(), Failure> {
    match step {
        GrantTask::Propose { sign_in, organization, principal, patients, hours, reason } => {
            let client = signed_in(&sign_in, ROLES).await?;
            let proposal = json!({
                "organization": organization,
                "principal": principal,
                "patients": patients,
                "hours": hours,
                "reason": reason,
            });
            let answer = client.post_json("/ops/grants", &proposal).await?.accepted()?.json()?;
            println!("{}", answer["grant"].as_str().unwrap_or_default());
            eprintln!("it waits until somebody else approves it");
        }
        GrantTask::Approve { sign_in, grant } => {
            let client = signed_in(&sign_in, ROLES).await?;
            let path = format!("/ops/grants/{}/approve", checked(&grant)?);
            client.post_json(&path, &json!({})).await?.accepted()?;
            println!("approved {grant}");
        }
        GrantTask::Revoke { sign_in, grant, reason } => {
            let client = signed_in(&sign_in, ROLES).await?;
            let path = format!("/ops/grants/{}/revoke", checked(&grant)?);
            client.post_json(&path, &json!({ "reason": reason })).await?.accepted()?;
            println!("revoked {grant}");
        }
        GrantTask::List { sign_in } => {
            let client = signed_in(&sign_in, ROLES).await?;
            let answer = client.get("/ops/grants").await?.accepted()?.json()?;
            let grants = answer["grants"].as_array().cloned().unwrap_or_default();
            if grants.is_empty() {
                println!("no grants");
            }
            grants.iter().for_each(print);
        }
    }
    Ok(())
}

fn print(grant: &Value) {
    let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
    let approved = match grant["approved_by"].as_str() {
        Some(who) => format!("approved by {who}"),
        None => "waits".to_owned(),
    };
    println!(
        "{}  {:<24} {:<20} {:>7} of {:<7} until {}  proposed by {}, {approved}: {}",
        text("grant"),
        text("principal"),
        text("organization"),
        grant["opened"],
        grant["patients"],
        text("until"),
        text("proposed_by"),
        text("reason"),
    );
}

/// A number of a grant goes into a path.
fn checked(grant: &str) -> Result<&str, Failure> {
    let fits = grant.len() == 32 && grant.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits {
        return Ok(grant);
    }
    Err(Failure::new(format!(
        "{grant:?} is no number of a grant; `holdfast grant list` shows them"
    )))
}
