//! The watch at work: it reads the ledger behind the exchange's back, like
//! anybody who may, and what it finds it contains at once (P8).

use std::sync::{Arc, Weak};
use std::time::Duration;

use holdfast_base::PrincipalId;
use holdfast_keeper::Proof;
use holdfast_ledger::{Entry, Event, Filter, Placed};
use holdfast_watch::{Finding, Response};

use crate::state::{Exchange, server_actor};
use crate::system::Kind;
use crate::{Caller, ExchangeError};

/// How often the watch looks: misuse is to be seen in seconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often ledger and store are held against each other.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// How often bulk jobs are looked after: those that wait try again so often.
const BULK_EVERY: Duration = Duration::from_secs(15);
/// What is kept and not finished after so long was left behind by something.
const SPOOL_AGE_MS: i64 = 2_000;
/// How many entries it takes at once.
const LOOK_COUNT_MAX: usize = 5_000;

impl Exchange {
    /// Starts what runs beside the requests: the watch, catching up, clearing.
    /// Ends when the exchange is dropped.
    pub fn start_background(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let (watching, reconciling) = (Arc::downgrade(self), Arc::downgrade(self));
        let working = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::join!(
                Self::keep_watching(watching),
                Self::keep_reconciling(reconciling),
                Self::keep_working(working),
            );
        })
    }

    async fn keep_watching(exchange: Weak<Self>) {
        let mut beat = tokio::time::interval(LOOK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut keeper_was_away = false;
        loop {
            beat.tick().await;
            let Some(exchange) = exchange.upgrade() else { return };
            exchange.start_upkeep();
            match exchange.round().await {
                Ok(()) if keeper_was_away => {
                    keeper_was_away = false;
                    tracing::info!("the keeper answers again");
                }
                Ok(()) => {}
                Err(away @ (ExchangeError::KeeperAway | ExchangeError::StoreAway)) => {
                    if !keeper_was_away {
                        tracing::error!(error = %away, "intake waits");
                    }
                    keeper_was_away = true;
                }
                Err(error) => tracing::error!(error = %error, "a background round failed"),
            }
        }
    }

    /// Has bulk jobs go on that a restart left or that waited, and deletes what is past
    /// its time.
    async fn keep_working(exchange: Weak<Self>) {
        let mut beat = tokio::time::interval(BULK_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let Some(exchange) = exchange.upgrade() else { return };
            if let Err(error) = exchange.look_after_bulk().await {
                tracing::error!(error = %error, "bulk jobs were not looked after");
            }
        }
    }

    /// Holds ledger and store against each other, once a minute; what has piled up, in
    /// turns.
    async fn keep_reconciling(exchange: Weak<Self>) {
        let mut beat = tokio::time::interval(RECONCILE_EVERY);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            loop {
                let Some(exchange) = exchange.upgrade() else { return };
                match exchange.reconcile_new().await {
                    Ok(true) => {}
                    Ok(false) | Err(ExchangeError::KeeperAway | ExchangeError::StoreAway) => break,
                    Err(error) => {
                        tracing::error!(error = %error, "the reconciliation failed");
                        break;
                    }
                }
                drop(exchange);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn round(&self) -> Result<(), ExchangeError> {
        let now = self.now();
        self.keyring().sweep(now);
        self.sessions().sweep(now).into_iter().for_each(|s| self.keyring().drop_session(s, now));
        self.open_rows().sweep();
        self.check_some().await?;
        self.tell_unused().await?;
        self.look().await?;
        self.settle_intents().await?;
        self.catch_up_older_than(SPOOL_AGE_MS).await.map(drop)
    }

    /// Shows the watch what is new in the ledger, and acts on what it finds.
    ///
    /// # Errors
    /// When the keeper does not answer; the next look begins where this one ended.
    pub async fn look(&self) -> Result<(), ExchangeError> {
        loop {
            let after = *self.office().seen.lock();
            let fresh = self.keeper().query(&Filter::default(), after, LOOK_COUNT_MAX).await?;
            let Some(last) = fresh.last() else { return Ok(()) };
            let last = last.index;
            self.follow_rotations(&fresh).await?;
            for placed in &fresh {
                let findings = self.office().watch.lock().observe(placed);
                for finding in findings {
                    self.respond_to(&finding, placed).await?;
                }
            }
            *self.office().seen.lock() = Some(last);
        }
    }

    /// A finding becomes part of an incident; a grave one suspends its principal.
    async fn respond_to(&self, finding: &Finding, placed: &Placed) -> Result<(), ExchangeError> {
        if !self.is_news(finding, placed) {
            return Ok(());
        }
        let incident = self.add_finding(finding, placed.entry.at).await?;
        let free = self.account(&finding.principal).is_none_or(|a| a.suspended.is_none());
        if finding.response == Response::Suspend && free {
            self.suspend(None, &finding.principal, finding.detector, Some(incident)).await?;
        }
        Ok(())
    }

    /// After a restart the watch reads the ledger from its beginning; what was
    /// found and answered then is not found anew.
    fn is_news(&self, finding: &Finding, placed: &Placed) -> bool {
        let incidents = self.office().incidents.lock();
        !incidents.values().any(|incident| {
            incident.principal == finding.principal
                && incident.findings.iter().any(|known| {
                    known.detector == finding.detector
                        && known.at >= placed.entry.at
                        && known.patients_count >= finding.patients.len() as u64
                })
        })
    }

    /// Suspends a principal, in the name of `by` or of the machine: no new session, no
    /// live one, no key from the keeper.
    pub(crate) async fn suspend(
        &self,
        by: Option<&Caller>,
        principal: &PrincipalId,
        reason: &str,
        incident: Option<holdfast_base::IncidentId>,
    ) -> Result<(), ExchangeError> {
        let (actor, proof) = match by {
            Some(caller) => (caller.actor(), self.proof_of(caller).await?),
            None => (server_actor(), Proof::front()),
        };
        if let Some(mut account) = self.account(principal)
            && account.suspended.is_none()
        {
            account.suspended = Some(reason.to_owned());
            self.replace_account(account.clone());
            self.save_system(Kind::Account, principal.as_str(), &account).await?;
        }
        for session in self.sessions().revoke(principal) {
            self.keyring().drop_session(session, self.now());
        }
        // The keeper writes the containment entry before it answers.
        self.keeper().suspend(&proof, principal, reason).await?;
        if let Some(incident) = incident {
            let event = Event::IncidentStep {
                incident,
                step: "contained".into(),
                note: format!("{principal} suspended, sessions revoked: {reason}"),
            };
            let entry = Entry { at: self.now(), actor, request: None, event };
            self.keeper().append(vec![entry]).await?;
        }
        // The reason may be somebody's own words: it is in the ledger, not in the log.
        tracing::warn!(principal = %principal, "suspended");
        Ok(())
    }
}
