//! What the attacker does.

use std::collections::BTreeSet;

use super::Story;
use crate::client::{Client, Credential};
use crate::failure::Failure;

/// The logins of 2015 and those that are tried next.
const SHARED: [(&str, &str); 5] = [
    ("tester", "tester"),
    ("testing", "testing"),
    ("admin", "admin"),
    ("test", "Test1234!"),
    ("demo", "demo"),
];

/// Search fields, and what is put into each.
const FIELDS: [&str; 10] = [
    "_id",
    "identifier",
    "name",
    "family",
    "given",
    "birthdate",
    "gender",
    "phone",
    "email",
    "address-city",
];
const INJECTIONS: [&str; 4] = [
    "' OR '1'='1",
    "'; DROP TABLE patient;--",
    "\" or \"\"=\"",
    "1) UNION SELECT ssn FROM identity--",
];

/// Charts that the attacker would read if nobody stopped it.
const CHARTS_WANTED: usize = 150;

/// What left before the exchange stopped it.
#[derive(Default)]
pub struct Reached {
    /// Logical ids of Patients whose record answered.
    pub patients: BTreeSet<String>,
    /// Names and numbers that were read: what the thief then looks for in the
    /// stolen folder.
    pub values: Vec<String>,
}

pub async fn shared_logins(anonymous: &Client, story: &mut Story) -> Result<(), Failure> {
    let mut refused = 0;
    for (user, password) in SHARED {
        match anonymous.clone().sign_in(user, password, "000000").await {
            Ok(_) => story.fail(format!("signed in as {user}/{password}")),
            Err(_) => refused += 1,
        }
    }
    story
        .tell("attacker", format!("tries {} shared logins, `tester`/`tester` first", SHARED.len()));
    story.tell(
        "holdfast",
        format!(
            "refuses {refused} of them: no such account can exist, and none signs in without a code"
        ),
    );
    Ok(())
}

pub async fn injections(
    stolen: &Client,
    victim: &Credential,
    story: &mut Story,
) -> Result<(), Failure> {
    let (mut refused, mut empty) = (0, 0);
    for field in FIELDS {
        for injection in INJECTIONS {
            let encoded: String = injection.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let path = format!("/fhir/{}/Patient?{field}={encoded}&_count=50", victim.organization);
            let answer = stolen.get(&path).await?;
            let found =
                answer.json().map_or(0, |body| body["entry"].as_array().map_or(0, Vec::len));
            match (answer.status, found) {
                (200, 0) => empty += 1,
                (200, _) => story.fail(format!("an injection in {field} found {found} patients")),
                (500.., _) => story.fail(format!("an injection in {field} broke the server")),
                _ => refused += 1,
            }
        }
    }
    let tried = FIELDS.len() * INJECTIONS.len();
    story.tell("attacker", format!("tries {tried} injections, in every search field"));
    story.tell("holdfast", format!("refuses {refused} by name of the field; {empty} find nobody: there is no query language behind the doors"));
    Ok(())
}

pub async fn chart_after_chart(
    stolen: &Client,
    victim: &Credential,
    office: &Client,
    story: &mut Story,
) -> Result<Reached, Failure> {
    story.tell("attacker", "reads chart after chart with the stolen token");
    let _ = office;
    let mut reached = Reached::default();
    let fhir = format!("/fhir/{}", victim.organization);
    for letter in ('a'..='z').cycle().take(52) {
        let path = format!("{fhir}/Patient?family={letter}&_count=5");
        let answer = stolen.get(&path).await?;
        if answer.status != 200 {
            story.tell("holdfast", format!("answers {}: {}", answer.status, reason(&answer)));
            return Ok(reached);
        }
        let body = answer.json()?;
        for entry in body["entry"].as_array().into_iter().flatten() {
            let patient = &entry["resource"];
            if let Some(id) = patient["id"].as_str() {
                reached.patients.insert(id.to_owned());
                remember(patient, &mut reached.values);
                let chart = format!("{fhir}/Condition?patient=Patient/{id}");
                let answer = stolen.get(&chart).await?;
                if answer.status != 200 {
                    story.tell(
                        "holdfast",
                        format!("answers {}: {}", answer.status, reason(&answer)),
                    );
                    return Ok(reached);
                }
            }
        }
        if reached.patients.len() >= CHARTS_WANTED {
            story.fail(format!("read {CHARTS_WANTED} charts unhindered"));
            break;
        }
    }
    Ok(reached)
}

fn reason(answer: &crate::client::Answer) -> String {
    let body = answer.json().unwrap_or_default();
    body["issue"][0]["diagnostics"].as_str().unwrap_or("no reason given").to_owned()
}

fn remember(patient: &serde_json::Value, values: &mut Vec<String>) {
    let mut take = |value: &serde_json::Value| {
        if let Some(text) = value.as_str().filter(|text| text.len() >= 5) {
            values.push(text.to_owned());
        }
    };
    take(&patient["birthDate"]);
    for name in patient["name"].as_array().into_iter().flatten() {
        take(&name["family"]);
    }
    for identifier in patient["identifier"].as_array().into_iter().flatten() {
        take(&identifier["value"]);
    }
    for address in patient["address"].as_array().into_iter().flatten() {
        address["line"].as_array().into_iter().flatten().for_each(&mut take);
    }
}
