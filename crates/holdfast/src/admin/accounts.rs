//! `holdfast account` on a running exchange.

use std::path::Path;

use holdfast_exchange::{Enrollment, totp};
use serde_json::{Value, json};

use super::args::{AccountTask, BudgetArguments, CertificateArguments};
use super::{escaped, first, text};
use crate::client::{Client, Credential, Credentials, write_private};
use crate::commands::signed_in;
use crate::failure::Failure;
use crate::tls::KeyAndRequest;

const ADMINISTRATOR: &[&str] = &["administrator"];
const OFFICE: &[&str] = &["security-officer", "privacy-officer"];
/// Who looks accounts up.
const LOOKS: &[&str] = &["administrator", "security-officer", "privacy-officer"];

/// A person's secrets, to be shown once.
pub struct Secrets {
    user: String,
    password: String,
    totp_secret: String,
}

impl Secrets {
    /// Those of a new account.
    pub fn of(enrolled: &Enrollment) -> Self {
        Self {
            user: enrolled.id.to_string(),
            password: enrolled.password.expose().clone(),
            totp_secret: enrolled.totp_secret.expose().clone(),
        }
    }

    fn read(answer: &Value) -> Self {
        let own = |name| text(answer, name).to_owned();
        Self { user: own("user"), password: own("password"), totp_secret: own("totp_secret") }
    }
}

/// Prints a person's secrets.
pub fn show_once(secrets: &Secrets) {
    println!("Sign-in data of {}, shown once and kept nowhere:", secrets.user);
    println!("    password     {}", secrets.password);
    println!("    code secret  {}", secrets.totp_secret);
    println!("    for the app  {}", totp::url(&secrets.totp_secret, &secrets.user));
}

/// Puts sign-in data into a credentials file, in place of what it has of this person.
///
/// # Errors
/// When the file cannot be read or written.
pub fn keep(path: Option<&Path>, credential: Credential) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let mut credentials = match path.exists() {
        true => Credentials::read(path)?,
        false => Credentials::default(),
    };
    let known = credentials.people.iter_mut().find(|person| person.user == credential.user);
    match known {
        Some(known) => {
            known.password = credential.password;
            known.totp_secret = credential.totp_secret;
        }
        None => credentials.people.push(credential),
    }
    credentials.write(path)?;
    eprintln!("also in {}", path.display());
    Ok(())
}

/// Does one task.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn run(task: AccountTask) -> Result<(), Failure> {
    match task {
        AccountTask::First { dir, first } => first::run(&dir.dir, &first, None).await,
        AccountTask::Recover { dir, administrator, credentials } => {
            first::recover(&dir.dir, &administrator, credentials.as_deref()).await
        }
        AccountTask::Add { sign_in, account, organization, role, name, npi, certificate, out } => {
            let request = request_of(&certificate, role == "system")?;
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let wanted = json!({
                "user": account,
                "organization": organization,
                "role": role,
                "name": name,
                "npi": npi,
                "certificate_request": request.as_ref().map(|made| &made.request_pem),
            });
            let answer = client.post_json("/ops/accounts", &wanted).await?.accepted()?.json()?;
            println!("Made {account}: {role} at {organization}.");
            let known = Credential {
                user: account,
                name,
                organization,
                role,
                password: String::new(),
                totp_secret: String::new(),
            };
            hand_over(&answer, request, &certificate, (known, out.as_deref()))
        }
        AccountTask::List { sign_in, organization } => {
            let client = signed_in(&sign_in, LOOKS).await?;
            let answer = client.get("/ops/accounts").await?.accepted()?.json()?;
            let accounts = answer["accounts"].as_array().into_iter().flatten();
            let of = |account: &&Value| {
                organization.as_deref().is_none_or(|own| text(account, "organization") == own)
            };
            accounts.filter(of).for_each(print);
            Ok(())
        }
        AccountTask::Show { sign_in, account } => {
            let client = signed_in(&sign_in, LOOKS).await?;
            println!("{}", pretty(&shown(&client, &account).await?));
            Ok(())
        }
        AccountTask::Suspend { sign_in, account, reason } => {
            let client = signed_in(&sign_in, OFFICE).await?;
            let path = format!("/ops/principals/{}/suspend", escaped(&account));
            client.post_json(&path, &json!({ "reason": reason })).await?.accepted()?;
            println!("Suspended {account}; sessions are over.");
            Ok(())
        }
        AccountTask::Restore { sign_in, account, reason } => {
            let client = signed_in(&sign_in, OFFICE).await?;
            let path = format!("/ops/principals/{}/lift", escaped(&account));
            client.post_json(&path, &json!({ "reason": reason })).await?.accepted()?;
            println!("{account} may sign in again.");
            Ok(())
        }
        AccountTask::Reset { sign_in, account, certificate, out } => {
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let known = shown(&client, &account).await?;
            let request = request_of(&certificate, text(&known, "role") == "system")?;
            let wanted = match &request {
                Some(made) => json!({ "certificate_request": made.request_pem }),
                None => json!({}),
            };
            let path = format!("/ops/accounts/{}/reset", escaped(&account));
            let answer = client.post_json(&path, &wanted).await?.accepted()?.json()?;
            println!("Reset {account}; sessions are over.");
            let of = |name| text(&known, name).to_owned();
            let known = Credential {
                user: account,
                name: of("name"),
                organization: of("organization"),
                role: of("role"),
                password: String::new(),
                totp_secret: String::new(),
            };
            hand_over(&answer, request, &certificate, (known, out.as_deref()))
        }
        AccountTask::Close { sign_in, account } => {
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let path = format!("/ops/accounts/{}/close", escaped(&account));
            client.post_json(&path, &json!({})).await?.accepted()?;
            println!("Closed {account} for good.");
            Ok(())
        }
    }
}

/// Sets a budget.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn set_budget(budget: BudgetArguments) -> Result<(), Failure> {
    let (kind, whose) = match (&budget.principal, &budget.organization) {
        (Some(principal), _) => ("principals", principal),
        (None, Some(organization)) => ("organizations", organization),
        (None, None) => return Err(Failure::new("say whose: --principal or --organization")),
    };
    let client = signed_in(&budget.sign_in, &["security-officer"]).await?;
    let wanted = json!({
        "per_minute": budget.per_minute,
        "per_hour": budget.per_hour,
        "per_day": budget.per_day,
        "reason": budget.reason,
    });
    let path = format!("/ops/{kind}/{}/budget", escaped(whose));
    client.post_json(&path, &wanted).await?.accepted()?;
    println!("{whose} may open so many distinct patients from now on.");
    Ok(())
}

async fn shown(client: &Client, account: &str) -> Result<Value, Failure> {
    client.get(&format!("/ops/accounts/{}", escaped(account))).await?.accepted()?.json()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn print(account: &Value) {
    let standing = match (account["closed"].as_bool(), account["suspended"].as_str()) {
        (Some(true), _) => "closed".to_owned(),
        (_, Some(why)) => format!("SUSPENDED: {why}"),
        _ => String::new(),
    };
    let line = format!(
        "{:<32} {:<24} {:<22} {:<32} {standing}",
        text(account, "user"),
        text(account, "organization"),
        text(account, "role"),
        text(account, "name"),
    );
    println!("{}", line.trim_end());
}

/// The certificate request of a system: its own, or one of a key that is made here.
fn request_of(
    wanted: &CertificateArguments,
    system: bool,
) -> Result<Option<KeyAndRequest>, Failure> {
    match (system, &wanted.certificate, &wanted.request) {
        (false, None, _) => Ok(None),
        (false, Some(_), _) => {
            Err(Failure::new("people sign in with password and code: leave --certificate out"))
        }
        (true, None, _) => Err(Failure::new(
            "a system signs in by certificate: say where to write it, --certificate FILE",
        )),
        (true, Some(path), None) => {
            refuse_over(path)?;
            KeyAndRequest::make().map(Some)
        }
        (true, Some(path), Some(request)) => {
            refuse_over(path)?;
            let request_pem = std::fs::read_to_string(request)
                .map_err(|error| Failure::io("read", request, &error))?;
            Ok(Some(KeyAndRequest { key_pem: None, request_pem }))
        }
    }
}

fn refuse_over(path: &Path) -> Result<(), Failure> {
    match path.exists() {
        true => Err(Failure::new(format!("{} exists already", path.display()))),
        false => Ok(()),
    }
}

/// Shows a person's secrets, or writes a system's certificate.
fn hand_over(
    answer: &Value,
    request: Option<KeyAndRequest>,
    wanted: &CertificateArguments,
    (known, out): (Credential, Option<&Path>),
) -> Result<(), Failure> {
    if let (Some(made), Some(path)) = (request, &wanted.certificate) {
        let key = made.key_pem.as_ref().map_or("", |key| key.expose());
        let pem = format!("{key}{}", text(answer, "certificate"));
        write_private(path, pem.as_bytes())?;
        let with = if key.is_empty() { "certificate" } else { "key and certificate" };
        println!("Its {with}: {}", path.display());
        return Ok(());
    }
    let secrets = Secrets::read(answer);
    show_once(&secrets);
    let Secrets { password, totp_secret, .. } = secrets;
    keep(out, Credential { password, totp_secret, ..known })
}
