//! `holdfast forget`: two calls, because nothing brings a destroyed key back.

use serde_json::json;

use crate::cli::SignInArguments;
use crate::commands::{ask, signed_in};
use crate::failure::Failure;

/// Asks the exchange; without a code, shows it and asks on the terminal for it.
///
/// # Errors
/// What the exchange refuses.
pub async fn run(
    sign_in: &SignInArguments,
    (organization, patient): (&str, &str),
    reason: &str,
    confirm: Option<&str>,
) -> Result<(), Failure> {
    let client = signed_in(sign_in, &["privacy-officer"]).await?;
    let mut body = json!({ "organization": organization, "patient": patient, "reason": reason });
    let first = client.post_json("/ops/forget", &body).await?.accepted()?.json()?;
    let code = first["confirm"].as_str().unwrap_or_default().to_owned();
    let given = match confirm {
        Some("yes") => code.clone(),
        Some(given) => given.to_owned(),
        None => {
            eprintln!("Patient/{patient} of {organization} can never be read again after this.");
            ask(&format!("Type {code} to destroy the key: "))?
        }
    };
    body["confirm"] = json!(given);
    client.post_json("/ops/forget", &body).await?.accepted()?;
    println!("The key of Patient/{patient} of {organization} is destroyed.");
    println!("Copies of the key table in backups are yours to destroy.");
    Ok(())
}
