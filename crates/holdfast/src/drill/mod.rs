//! `holdfast drill mie-2015`: the attack of 2015 in small, against a running
//! exchange and through its real doors; then what the exchange saw of it.
//!
//! What happened then: shared logins `tester`/`tester` and `testing`/`testing`, an
//! SQL injection, a privileged account, chart after chart for nineteen days, and a
//! copied database that could be read.

mod attack;
mod theft;
mod timeline;

use std::path::Path;
use std::time::Duration;

use holdfast_base::{Clock as _, Timestamp};

use crate::client::{Client, Credential, Credentials};
use crate::config::Config;
use crate::failure::Failure;
use crate::wiring::SystemClock;

/// Longest wait for the watch: misuse is to be seen in seconds.
const WATCH_TIMEOUT_MS: i64 = 10_000;

/// What the attacker did, step by step, and what came of it.
#[derive(Default)]
pub struct Story {
    /// Lines of the timeline.
    pub lines: Vec<Line>,
    /// Whether everything that should have been stopped was.
    pub failures: Vec<String>,
}

/// One line of the timeline.
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Who speaks: `attacker` or `holdfast`.
    pub who: &'static str,
    /// What happened.
    pub what: String,
}

impl Story {
    fn tell(&mut self, who: &'static str, what: impl Into<String>) {
        self.lines.push(Line { at: SystemClock.now(), who, what: what.into() });
    }

    /// Notes that something went through that should not have.
    fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell("attacker", format!("SUCCEEDED: {what}"));
        self.failures.push(what);
    }
}

/// Runs the drill.
///
/// # Errors
/// Exit code 1 when the exchange let something through or saw nothing.
pub async fn run(dir: &Path, credentials: &Path, victim: Option<&str>) -> Result<(), Failure> {
    let config = Config::read(dir)?;
    let credentials = Credentials::read(credentials)?;
    let victim = match victim {
        Some(user) => credentials.of_user(user),
        None => credentials.with_role("clinician"),
    }
    .ok_or_else(|| Failure::new("the credentials file has no such clinician"))?;
    let watcher = person(&credentials, "security-officer")?;
    let anonymous = Client::of_folder(dir, &config)?;
    let office = anonymous.clone().sign_in_as(watcher, &SystemClock).await?;

    let mut story = Story::default();
    let began = SystemClock.now();
    attack::shared_logins(&anonymous, &mut story).await?;
    let stolen = anonymous.sign_in_as(victim, &SystemClock).await?;
    story.tell("attacker", format!("has the live token of {}", victim.user));
    attack::injections(&stolen, victim, &mut story).await?;
    let reached = attack::chart_after_chart(&stolen, victim, &office, &mut story).await?;
    let incident = wait_for_containment(&office, victim, began, &mut story).await?;
    theft::copied_folder(dir, &reached, &mut story)?;
    let scope = scope_of(&office, victim, began).await?;
    timeline::print(&story, &office, victim, began, &reached, &scope, incident).await?;
    match story.failures.as_slice() {
        [] => Ok(()),
        failures => Err(Failure::negative(format!("{} step(s) got through", failures.len()))),
    }
}

fn person<'a>(credentials: &'a Credentials, role: &str) -> Result<&'a Credential, Failure> {
    credentials
        .with_role(role)
        .ok_or_else(|| Failure::new(format!("the credentials file has no {role}")))
}

/// Waits until the victim's account is suspended and gives the incident's number.
async fn wait_for_containment(
    office: &Client,
    victim: &Credential,
    began: Timestamp,
    story: &mut Story,
) -> Result<Option<u64>, Failure> {
    let patience_ends = SystemClock.now().plus_millis(WATCH_TIMEOUT_MS);
    while SystemClock.now() < patience_ends {
        let answer = office.get("/ops/incidents").await?.accepted()?.json()?;
        let incidents = answer["incidents"].as_array().cloned().unwrap_or_default();
        let about_victim = incidents.iter().find(|incident| {
            let opened = incident["opened"].as_str().and_then(|text| text.parse().ok());
            incident["principal"] == victim.user.as_str() && opened >= Some(began)
        });
        if let Some(incident) = about_victim
            && incident["status"] != "open"
        {
            return Ok(incident["id"].as_u64());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    story.fail("no incident contained the stolen account");
    Ok(None)
}

async fn scope_of(
    office: &Client,
    victim: &Credential,
    began: Timestamp,
) -> Result<serde_json::Value, Failure> {
    let path = format!("/ops/scope?principal={}&from={began}&format=json", victim.user);
    office.get(&path).await?.accepted()?.json()
}
