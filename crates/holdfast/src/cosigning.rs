//! Asking the configured witnesses for their cosignatures, every few seconds when
//! there is something new. The keeper has no network; the server may carry the bytes,
//! because a cosignature proves itself.
//!
//! A witness that is away is asked again and, after a time, alerted about. A witness
//! that has seen another history is a critical alert at once: somebody has forked the
//! ledger or rolled it back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_base::{Clock, Timestamp};
use holdfast_exchange::{Exchange, ExchangeError};
use holdfast_ledger::verify::Policy;
use holdfast_ledger::witness::submission;
use holdfast_ledger::{VerifierKey, stated};

use crate::commands::read_policy;
use crate::failure::Failure;

/// How often witnesses are asked when there is something new.
const ASK_EVERY: Duration = Duration::from_secs(3);
/// How long one may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The detector's name in alerts.
const DETECTOR: &str = "witness";

/// One witness and how it has been answering.
struct Asked {
    name: String,
    url: String,
    /// The size that it cosigned last, as far as is known.
    cosigned: u64,
    away_since: Option<Timestamp>,
    told_away: bool,
    told_conflict: bool,
}

/// What became of asking.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Its lines for the checkpoint.
    Cosigned(String),
    /// It says that it has seen another history.
    Conflict(String),
    /// It did not answer, or could not be understood.
    Away(String),
}

/// The witnesses of a policy.
pub struct Cosigning {
    policy: Policy,
    witnesses: Vec<Asked>,
    alert_after_ms: i64,
    http: reqwest::Client,
    /// The note that was published with enough cosignatures last.
    done: Option<String>,
}

impl Cosigning {
    /// Reads the policy file at `path`; its log must be the one of `exchange`.
    ///
    /// # Errors
    /// One sentence about what is wrong with the file.
    pub async fn of(path: &Path, alert_minutes: u32, exchange: &Exchange) -> Result<Self, Failure> {
        let policy = read_policy(path)?;
        let state = exchange.ledger_state().await.map_err(|e| Failure::new(e.to_string()))?;
        if VerifierKey::parse(&state.verifier_key).ok().as_ref() != Some(&policy.key) {
            return Err(Failure::new(format!(
                "{} is the policy of another log: its key is not this ledger's",
                path.display()
            )));
        }
        let mut urls = BTreeMap::new();
        for witness in &policy.witnesses {
            if let Some(url) = &witness.url {
                urls.insert(witness.key.name().to_owned(), url.trim_end_matches('/').to_owned());
            }
        }
        if urls.is_empty() {
            return Err(Failure::new(format!("{} has no witness with a url", path.display())));
        }
        let asked = |(name, url)| Asked {
            name,
            url,
            cosigned: 0,
            away_since: None,
            told_away: false,
            told_conflict: false,
        };
        crate::wiring::install_tls_provider();
        let http = reqwest::Client::builder().timeout(ANSWER_TIMEOUT).no_proxy().build();
        let http = http.map_err(|error| Failure::new(error.to_string()))?;
        exchange.set_witness_policy(policy.to_toml());
        Ok(Self {
            policy,
            witnesses: urls.into_iter().map(asked).collect(),
            alert_after_ms: i64::from(alert_minutes) * 60_000,
            http,
            done: None,
        })
    }

    /// Asks until the task is aborted.
    pub async fn run(mut self, exchange: Arc<Exchange>, clock: Arc<dyn Clock>) {
        let mut beat = tokio::time::interval(ASK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            // A keeper that is away is told about by others.
            let _ = self.round(&exchange, &*clock).await;
        }
    }

    /// Asks everybody once, if there is something new; publishes what is enough.
    async fn round(&mut self, exchange: &Exchange, clock: &dyn Clock) -> Result<(), ExchangeError> {
        let note = exchange.ledger_state().await?.checkpoint;
        let Ok((size, _)) = stated(&note) else { return Ok(()) };
        let troubled = self.witnesses.iter().any(|w| w.away_since.is_some() || w.told_conflict);
        if self.done.as_ref() == Some(&note) && !troubled {
            return Ok(());
        }
        let mut lines = String::new();
        let mut signed = BTreeSet::new();
        for place in 0..self.witnesses.len() {
            let outcome = self.ask(place, exchange, &note, size).await?;
            if let Outcome::Cosigned(theirs) = &outcome {
                lines.push_str(theirs);
                signed.insert(self.witnesses[place].name.clone());
            }
            self.note(place, outcome, exchange, clock.now()).await?;
        }
        if !signed.is_empty() && signed.len() >= self.policy.witnesses_required {
            exchange.publish_witnessed(&format!("{note}{lines}")).await?;
            self.done = Some(note);
        }
        Ok(())
    }

    /// Asks one witness; again from the size that it names, once.
    async fn ask(
        &mut self,
        place: usize,
        exchange: &Exchange,
        note: &str,
        size: u64,
    ) -> Result<Outcome, ExchangeError> {
        let mut old = self.witnesses[place].cosigned.min(size);
        for _ in 0..2 {
            let proof = exchange.growth(old, Some(size)).await?;
            let body = submission(old, &proof.proof, note);
            let url = format!("{}/add-checkpoint", self.witnesses[place].url);
            let sent = self.http.post(url).body(body).send().await;
            let Ok(answer) = sent else {
                return Ok(Outcome::Away("it does not answer".to_owned()));
            };
            let status = answer.status().as_u16();
            let Ok(text) = answer.text().await else {
                return Ok(Outcome::Away("its answer broke off".to_owned()));
            };
            match (status, text.trim_end().parse::<u64>()) {
                (200, _) => {
                    let lines = self.policy.accepted_lines(note, &text).unwrap_or_default();
                    if lines.is_empty() {
                        let text = "its answer has no cosignature of the keys in the policy";
                        return Ok(Outcome::Away(text.to_owned()));
                    }
                    self.witnesses[place].cosigned = size;
                    return Ok(Outcome::Cosigned(lines));
                }
                (409, Ok(theirs)) if theirs > size => {
                    // Another submission of ours may have been newer than this note.
                    let now = exchange.ledger_state().await?;
                    if stated(&now.checkpoint).is_ok_and(|(size, _)| theirs <= size) {
                        return Ok(Outcome::Away("it has cosigned a newer one".to_owned()));
                    }
                    return Ok(Outcome::Conflict(format!(
                        "it has cosigned {theirs} entries and the ledger has {size}: rolled back"
                    )));
                }
                (409, Ok(theirs)) if theirs != old => old = theirs,
                (409, Ok(theirs)) => {
                    return Ok(Outcome::Conflict(format!(
                        "it has cosigned another history of {theirs} entries: forked"
                    )));
                }
                (422, _) => {
                    return Ok(Outcome::Conflict(format!(
                        "what it cosigned at {old} entries is not the beginning of the ledger: forked"
                    )));
                }
                (404, _) => return Ok(Outcome::Away("it does not know this log".to_owned())),
                (403, _) => return Ok(Outcome::Away("it has another key for this log".to_owned())),
                (status, _) => return Ok(Outcome::Away(format!("it answers {status}"))),
            }
        }
        Ok(Outcome::Away("it changes its mind about what it cosigned".to_owned()))
    }

    /// Alerts about what became of asking, once for each trouble.
    async fn note(
        &mut self,
        place: usize,
        outcome: Outcome,
        exchange: &Exchange,
        now: Timestamp,
    ) -> Result<(), ExchangeError> {
        let alert_after_ms = self.alert_after_ms;
        let witness = &mut self.witnesses[place];
        match outcome {
            Outcome::Cosigned(_) => {
                (witness.away_since, witness.told_away, witness.told_conflict) =
                    (None, false, false);
            }
            Outcome::Conflict(why) if !witness.told_conflict => {
                let text = format!("witness {} contradicts the ledger: {why}", witness.name);
                exchange.alert_about_ledger(DETECTOR, "critical", text).await?;
                witness.told_conflict = true;
            }
            Outcome::Conflict(_) => {}
            Outcome::Away(why) => {
                let since = *witness.away_since.get_or_insert(now);
                if !witness.told_away && now.millis_since(since) >= alert_after_ms {
                    let minutes = now.millis_since(since) / 60_000;
                    let text = format!(
                        "witness {} has not cosigned for {minutes} minutes: {why}",
                        witness.name
                    );
                    exchange.alert_about_ledger(DETECTOR, "serious", text).await?;
                    witness.told_away = true;
                }
            }
        }
        Ok(())
    }
}
