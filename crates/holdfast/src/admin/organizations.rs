//! `holdfast organization`.

use serde_json::{Map, Value, json};

use super::args::{OrganizationSettings, OrganizationTask};
use super::{escaped, text};
use crate::commands::signed_in;
use crate::failure::Failure;

const ADMINISTRATOR: &[&str] = &["administrator"];
const OFFICE: &[&str] = &["security-officer", "privacy-officer"];

/// Does one task.
///
/// # Errors
/// What the exchange refuses, and why.
pub async fn run(task: OrganizationTask) -> Result<(), Failure> {
    match task {
        OrganizationTask::Add { sign_in, organization, settings } => {
            let facts = new_settings(&organization, &settings)?;
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let answer =
                client.post_json("/ops/organizations", &facts).await?.accepted()?.json()?;
            match answer["new"].as_bool() {
                Some(true) => println!("{organization} is on the exchange."),
                _ => println!("{organization} was there already, just so."),
            }
            println!("Its FHIR base: {}", text(&answer, "fhir_base"));
        }
        OrganizationTask::Change { sign_in, organization, settings } => {
            let changes = given(&settings)?;
            if changes.is_empty() {
                return Err(Failure::new("say what changes, such as --phone 260-555-0112"));
            }
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let path = format!("/ops/organizations/{}", escaped(&organization));
            client.post_json(&path, &Value::Object(changes)).await?.accepted()?;
            println!("Changed {organization}.");
        }
        OrganizationTask::List { sign_in } => {
            let client = signed_in(&sign_in, &[ADMINISTRATOR, OFFICE].concat()).await?;
            let answer = client.get("/ops/organizations").await?.accepted()?.json()?;
            answer["organizations"].as_array().into_iter().flatten().for_each(print);
        }
        OrganizationTask::Show { sign_in, organization } => {
            let client = signed_in(&sign_in, ADMINISTRATOR).await?;
            let path = format!("/ops/organizations/{}", escaped(&organization));
            let answer = client.get(&path).await?.accepted()?.json()?;
            println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
        }
        OrganizationTask::Suspend { sign_in, organization, reason } => {
            let client = signed_in(&sign_in, OFFICE).await?;
            let path = format!("/ops/organizations/{}/suspend", escaped(&organization));
            client.post_json(&path, &json!({ "reason": reason })).await?.accepted()?;
            println!("Suspended everybody and every system of {organization}.");
        }
        OrganizationTask::Restore { sign_in, organization, reason } => {
            let client = signed_in(&sign_in, OFFICE).await?;
            let path = format!("/ops/organizations/{}/lift", escaped(&organization));
            client.post_json(&path, &json!({ "reason": reason })).await?.accepted()?;
            println!("{organization} may work again.");
        }
    }
    Ok(())
}

fn print(organization: &Value) {
    let standing = match organization["suspended"].as_str() {
        Some(why) => format!("SUSPENDED: {why}"),
        None => String::new(),
    };
    let line = format!(
        "{:<28} {:<14} {:<40} {:<20} {standing}",
        text(organization, "id"),
        text(organization, "module"),
        text(organization, "name"),
        text(organization, "place"),
    );
    println!("{}", line.trim_end());
}

/// Whole settings: what an organization must have, and what was given.
fn new_settings(organization: &str, settings: &OrganizationSettings) -> Result<Value, Failure> {
    let mut given = given(settings)?;
    for (flag, name) in
        [("name", "name"), ("module", "module"), ("state", "state"), ("time-zone", "time_zone")]
    {
        if !given.contains_key(name) {
            return Err(Failure::new(format!("a new organization needs --{flag}")));
        }
    }
    for name in ["street", "city", "postal_code", "phone"] {
        given.entry(name).or_insert_with(|| json!(""));
    }
    given.entry("authorities").or_insert_with(|| json!({}));
    given.entry("default_authority").or_insert(Value::Null);
    given.insert("id".to_owned(), json!(organization));
    Ok(Value::Object(given))
}

/// The settings that were given.
fn given(settings: &OrganizationSettings) -> Result<Map<String, Value>, Failure> {
    let mut given = Map::new();
    for (name, value) in [
        ("name", &settings.name),
        ("module", &settings.module),
        ("street", &settings.street),
        ("city", &settings.city),
        ("state", &settings.state),
        ("postal_code", &settings.zip),
        ("phone", &settings.phone),
        ("default_authority", &settings.default_authority),
        ("time_zone", &settings.time_zone),
    ] {
        if let Some(value) = value {
            given.insert(name.to_owned(), json!(value));
        }
    }
    if !settings.authorities.is_empty() {
        let mut authorities = Map::new();
        for authority in &settings.authorities {
            let (name, system) = authority.split_once('=').ok_or_else(|| {
                Failure::new(format!(
                    "--authority is NAME=SYSTEM, such as LAKESIDEFM=urn:oid:2.999.4471.1, not {authority:?}"
                ))
            })?;
            authorities.insert(name.to_owned(), json!(system));
        }
        given.insert("authorities".to_owned(), Value::Object(authorities));
    }
    Ok(given)
}
