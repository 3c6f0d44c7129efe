//! The round: number what happened, then shake hands, send events, beat, try again.

use std::sync::Arc;

use holdfast_base::{ClassSet, PatientId, Timestamp};
use holdfast_ledger::{Action, Event, Touch};
use holdfast_policy::{Act, Decision, Principal, Relationship};
use holdfast_store::{RowWrite, Table, Transaction};
use serde_json::Value;
use tokio::task::JoinSet;

use super::bundle::{self, Kind};
use super::row::{Content, Hook, Row, SentEvent, SubscriptionStatus};
use super::topics::News;
use super::{change_of, parse};
use crate::caller::Shown;
use crate::state::Exchange;
use crate::{Ask, Caller, ExchangeError};

/// The first pause after a failure; each further one is twice as long.
const PAUSE_MS: i64 = 5_000;
/// The longest pause.
const PAUSE_MS_MAX: i64 = 3_600_000;
/// An endpoint that fails for so long is given up until somebody asks for a replay.
const GIVE_UP_MS: i64 = 3 * 86_400_000;
/// How long events are kept: delivered ones for `$events`, others for a replay.
const DELIVERED_LIFE_MS: i64 = 7 * 86_400_000;
const EVENT_LIFE_MS: i64 = 30 * 86_400_000;
/// How often old events are looked for.
const PRUNE_MS: i64 = 3_600_000;

/// A message to an endpoint.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to; https, on a host that the organization has listed.
    pub endpoint: String,
    /// Headers of the subscription, as `Name: value`.
    pub headers: Vec<String>,
    /// The body; none for R4 subscriptions without a payload.
    pub body: Vec<u8>,
    /// What it is signed with: HMAC-SHA256 over time, dot and body.
    pub secret: String,
    /// Logical id of the subscription.
    pub subscription: String,
    /// When.
    pub at: Timestamp,
}

/// Sends messages. Follows no redirect, reads no body, ends in bounded time.
pub trait Notifier: Send + Sync + 'static {
    /// Sends one; the HTTP status of the answer, or why there is none (a word of ours).
    fn send(
        &self,
        message: Outgoing,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<u16, &'static str>> + Send + '_>>;
}

impl Exchange {
    /// One round over all subscriptions; how many messages were delivered.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn notify_round(
        self: &Arc<Self>,
        notifier: &Arc<dyn Notifier>,
        base_url: &str,
    ) -> Result<usize, ExchangeError> {
        let _round = self.subscribers().round.lock().await;
        self.number_events().await?;
        let now = self.now();
        self.prune_events(now).await?;
        let mut going = JoinSet::new();
        for row in self.subscribers().all() {
            if !is_due(&row, now) || !self.subscribers().busy.lock().insert(row.place()) {
                continue;
            }
            let (exchange, notifier) = (Arc::clone(self), Arc::clone(notifier));
            let base = format!("{base_url}/fhir/{}", row.organization);
            going.spawn(async move {
                let done = exchange.serve(&row, &notifier, &base).await;
                exchange.subscribers().busy.lock().remove(&row.place());
                done
            });
        }
        let mut delivered = 0;
        while let Some(done) = going.join_next().await {
            match done {
                Ok(Ok(sent)) => delivered += usize::from(sent),
                Ok(Err(ExchangeError::KeeperAway | ExchangeError::StoreAway)) | Err(_) => {}
                Ok(Err(error)) => tracing::error!(%error, "a subscription could not be served"),
            }
        }
        Ok(delivered)
    }

    /// Serves one subscription once; whether something was delivered.
    async fn serve(
        &self,
        row: &Row,
        notifier: &Arc<dyn Notifier>,
        base: &str,
    ) -> Result<bool, ExchangeError> {
        let now = self.now();
        if row.end.is_some_and(|end| now >= end) {
            self.change_row(&row.place(), |row| row.status = SubscriptionStatus::Off).await?;
            return Ok(false);
        }
        let Hook { endpoint, headers } = &row.hook;
        let hosts = self.notify_hosts_of(&row.organization)?;
        if parse::endpoint_problem(endpoint, &hosts).is_some() {
            self.failed(row, now, "its host is not on the organization's list").await?;
            return Ok(false);
        }
        let last = row.events.min(row.delivered + row.events_max);
        let (kind, events) = match row.status {
            SubscriptionStatus::Requested => (Kind::Handshake, Vec::new()),
            _ if last > row.delivered => {
                let events = self.events_between(&row.place(), (row.delivered + 1, last))?;
                (Kind::EventNotification, events)
            }
            _ => (Kind::Heartbeat, Vec::new()),
        };
        let body = if row.bare {
            if !events.is_empty() {
                self.tell_delivery(&self.ask_of(row)?, row, &[]).await?;
            }
            Vec::new()
        } else {
            let shown = match kind {
                // What the client reads is what it is once it has answered.
                Kind::Handshake => &Row { status: SubscriptionStatus::Requested, ..row.clone() },
                _ => row,
            };
            let resources = self.contents(row, &events).await?;
            let bundle = bundle::notification(shown, kind, base, now, &events, &resources);
            serde_json::to_vec(&bundle)
                .map_err(|_| ExchangeError::Internal("a notification does not serialise"))?
        };
        let message = Outgoing {
            endpoint: endpoint.clone(),
            headers: headers.clone(),
            body,
            secret: row.secret.clone(),
            subscription: row.id.clone(),
            at: now,
        };
        match notifier.send(message).await {
            Ok(200..=299) => {
                self.succeeded(row, kind, last).await?;
                Ok(true)
            }
            Ok(status) => {
                self.failed(row, now, &format!("the endpoint answered {status}")).await?;
                Ok(false)
            }
            Err(why) => {
                self.failed(row, now, why).await?;
                Ok(false)
            }
        }
    }

    /// The resources of events, where a subscription asks for them: each opened by the
    /// subscriber's permit, and in the ledger, like a read. For the others, that ids go
    /// out is in the ledger.
    async fn contents(
        &self,
        row: &Row,
        events: &[SentEvent],
    ) -> Result<Vec<Option<Value>>, ExchangeError> {
        if events.is_empty() || row.content == Content::Empty {
            return Ok(Vec::new());
        }
        let ask = self.ask_of(row)?;
        self.tell_delivery(&ask, row, events).await?;
        if row.content == Content::IdOnly {
            return Ok(Vec::new());
        }
        let keeping = self.organization(&row.organization)?;
        let mut resources = Vec::new();
        for event in events {
            let opened =
                self.open_record(&ask, &keeping, event.patient, Act::Deliver, ClassSet::ALL).await;
            let opened = match opened {
                Ok(opened) => opened,
                // What may not be seen any more goes out as an id.
                Err(ExchangeError::NotFound) => {
                    resources.push(None);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let key = self.store_key(&keeping, event.patient, &event.resource_type, &event.id)?;
            let stored = self.store().snapshot().version(&key, event.version);
            let stored = stored.map_err(ExchangeError::store)?.filter(|s| !s.sealed.deleted);
            let Some(stored) = stored else {
                resources.push(None);
                continue;
            };
            let disclosed = self.disclose(&opened, &event.id, &stored)?;
            let told = std::slice::from_ref(&disclosed);
            self.record_access(&ask, &opened, Action::Deliver, told).await?;
            resources.push(Some(disclosed.resource));
        }
        Ok(resources)
    }

    /// That something of these patients is told to the subscriber: durable on return.
    pub(super) async fn tell_delivery(
        &self,
        ask: &Ask,
        row: &Row,
        events: &[SentEvent],
    ) -> Result<(), ExchangeError> {
        let now = self.now();
        let mut entries = Vec::new();
        for event in events.iter().filter(|event| event.patient != PatientId::NONE) {
            let organization = row.organization.clone();
            let delivered = Event::Delivery {
                organization: organization.clone(),
                patient: event.patient,
                recipient: row.organization.clone(),
                what: "subscription".into(),
            };
            let touch = Touch {
                resource_type: event.resource_type.clone(),
                id: event.id.clone(),
                version: event.version,
                classes: ClassSet::EMPTY,
            };
            let detail = Event::Access {
                organization,
                patient: event.patient,
                action: Action::Deliver,
                purpose: ask.purpose,
                relationship: Relationship::Organization.as_str().into(),
                touches: vec![touch],
            };
            entries.extend([ask.entry(now, delivered), ask.entry(now, detail)]);
        }
        self.record_entries(entries).await
    }

    /// Whether policy lets the subscriber be told of this: the class of what was written,
    /// and the patient.
    pub(super) fn may_be_told(&self, row: &Row, news: &News) -> Result<bool, ExchangeError> {
        if news.patient == PatientId::NONE {
            return Ok(true);
        }
        let Ok(ask) = self.ask_of(row) else { return Ok(false) };
        let listing = self.directory().read().get(&row.organization, news.patient);
        let Some(listing) = listing else { return Ok(false) };
        if self.refuse_suspended(&ask.caller).is_err() {
            return Ok(false);
        }
        let stands = Relationship::Organization;
        let decision = self.decide(&ask, &listing, Act::Deliver, ClassSet::ALL, stands)?;
        Ok(matches!(decision, Decision::Permit(permit) if permit.classes().contains(news.class)))
    }

    /// The subscriber, as it stands in the ledger and before the keeper.
    fn ask_of(&self, row: &Row) -> Result<Ask, ExchangeError> {
        let account = self.account(&row.owner).ok_or(ExchangeError::NotSignedIn)?;
        let certificate = account.certificate.ok_or(ExchangeError::NotSignedIn)?;
        let principal: Principal = account.principal();
        Ok(Ask::new(Caller {
            display_name: account.display_name.clone(),
            principal,
            npi: None,
            session: holdfast_base::SessionId::from_bytes(
                self.tokens().token("subscriber", row.owner.as_str().as_bytes()),
            ),
            address: None,
            shown: Shown::Certificate(certificate),
        }))
    }

    async fn succeeded(&self, row: &Row, kind: Kind, last: u64) -> Result<(), ExchangeError> {
        let now = self.now();
        let changed = self
            .change_row(&row.place(), |row| {
                match kind {
                    Kind::Handshake if row.status == SubscriptionStatus::Requested => {
                        row.status = SubscriptionStatus::Active;
                    }
                    Kind::EventNotification => row.delivered = row.delivered.max(last),
                    _ => {}
                }
                (row.tries, row.failing_since, row.error) = (0, None, None);
                (row.next_try, row.last_sent) = (now, now);
            })
            .await?;
        if let (Kind::Handshake, Some(row)) = (kind, changed) {
            let entry = self.ask_of(&row)?.entry(now, change_of(&row, "active"));
            self.record_entries(vec![entry]).await?;
        }
        Ok(())
    }

    async fn failed(&self, row: &Row, now: Timestamp, why: &str) -> Result<(), ExchangeError> {
        let changed = self
            .change_row(&row.place(), |row| {
                let since = *row.failing_since.get_or_insert(now);
                let pause = PAUSE_MS.saturating_mul(1 << row.tries.min(20)).min(PAUSE_MS_MAX);
                row.tries += 1;
                row.next_try = now.plus_millis(pause);
                row.error = Some(why.to_owned());
                if now.millis_since(since) >= GIVE_UP_MS {
                    row.status = SubscriptionStatus::Error;
                }
            })
            .await?;
        if let Some(row) = changed
            && row.status == SubscriptionStatus::Error
        {
            let entry = self.own_actors_entry(change_of(&row, "error"));
            self.record_entries(vec![entry]).await?;
        }
        Ok(())
    }

    fn own_actors_entry(&self, event: Event) -> holdfast_ledger::Entry {
        let actor = crate::state::server_actor();
        holdfast_ledger::Entry { at: self.now(), actor, request: None, event }
    }

    /// Deletes events that are old.
    async fn prune_events(&self, now: Timestamp) -> Result<(), ExchangeError> {
        {
            let mut pruned = self.subscribers().pruned.lock();
            if *pruned != Timestamp::MIN && now.millis_since(*pruned) < PRUNE_MS {
                return Ok(());
            }
            *pruned = now;
        }
        for row in self.subscribers().all() {
            let mut rows = Vec::new();
            let mut lost = 0;
            let prefix = self.event_prefix(&row.place());
            for event in self.store().snapshot().scan_rows(Table::Outbox, &prefix) {
                let (key, sealed) = event.map_err(ExchangeError::store)?;
                let event: SentEvent = self.open_outbox(&key, &sealed)?;
                let age_ms = now.millis_since(event.at);
                let delivered = event.number <= row.delivered;
                if age_ms > EVENT_LIFE_MS || (delivered && age_ms > DELIVERED_LIFE_MS) {
                    if !delivered {
                        lost = event.number;
                    }
                    rows.push(RowWrite { table: Table::Outbox, key, value: None });
                }
            }
            if lost > 0 {
                self.change_row(&row.place(), |row| row.delivered = row.delivered.max(lost))
                    .await?;
            }
            if !rows.is_empty() {
                self.commit(Transaction { rows, ..Transaction::default() }).await?;
            }
        }
        Ok(())
    }
}

/// Whether there is something to send, and it is time.
fn is_due(row: &Row, now: Timestamp) -> bool {
    let ended = row.end.is_some_and(|end| now >= end) && row.status != SubscriptionStatus::Off;
    let beats = row.heartbeat_s.is_some_and(|s| {
        now.millis_since(row.last_sent) >= i64::try_from(s * 1_000).unwrap_or(i64::MAX)
    });
    let wants = match row.status {
        SubscriptionStatus::Requested => true,
        SubscriptionStatus::Active => row.delivered < row.events || beats,
        SubscriptionStatus::Error | SubscriptionStatus::Off => false,
    };
    ended || (wants && now >= row.next_try)
}
