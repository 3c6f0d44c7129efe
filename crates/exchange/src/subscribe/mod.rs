//! Subscriptions: R4 rest-hooks and the R5 backport's topics, for systems of the
//! organization that keeps the records.
//!
//! What is written leaves a sealed row in the very transaction that writes it; a round
//! in the background gives each subscription its events, numbered without gaps, and
//! sends them. Invariants: nothing that was committed is forgotten by a crash; an event
//! is for who may be told of that patient, now; no bytes about a patient leave before
//! the ledger says so; only hosts that the organization has listed are sent to; ids go
//! out unless a subscription asks for more and policy permits it.

mod bundle;
mod deliver;
mod parse;
mod row;
mod topics;

pub use deliver::{Notifier, Outgoing};
pub use row::{SubscriptionStatus, SubscriptionView};
pub(crate) use topics::News;
pub use topics::TOPICS;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_base::{MessageId, OrganizationId, RequestId, Timestamp};
use holdfast_fhir::search;
use holdfast_keeper::SystemKey;
use holdfast_ledger::Event;
use holdfast_policy::{Role, Task};
use holdfast_store::{RowWrite, Store, Table, Transaction};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::people::Organization;
use crate::state::Exchange;
use crate::system::{self, Kind};
use crate::{Ask, ExchangeError, sizes};
use row::{Place, Row, SentEvent};

/// Subscriptions of one system: each is looked at with every write.
const SUBSCRIPTIONS_MAX: usize = 100;
/// Hosts that one organization lists.
const HOSTS_MAX: usize = 100;
/// Events of one answer to `$events`.
const QUERIED_MAX: u64 = 1_000;
/// Begins the keys of what was written and not yet looked at, and of events.
const NEWS: u8 = b'w';
const EVENT: u8 = b'n';

/// The subscriptions, in memory.
pub(crate) struct Subscribers {
    rows: RwLock<HashMap<Place, Arc<Row>>>,
    /// Held while rows are changed.
    changing: tokio::sync::Mutex<()>,
    /// Held by the round.
    round: tokio::sync::Mutex<()>,
    busy: Mutex<HashSet<Place>>,
    /// Whether there may be news that nobody has looked at.
    news: AtomicBool,
    pruned: Mutex<Timestamp>,
}

impl Subscribers {
    /// Opens every subscription of the store.
    pub fn load(store: &Store, key: &SystemKey) -> Result<Self, ExchangeError> {
        let rows: Vec<Row> = system::load_all(store, key, Kind::Subscription)?;
        Ok(Self {
            rows: RwLock::new(rows.into_iter().map(|row| (row.place(), Arc::new(row))).collect()),
            changing: tokio::sync::Mutex::default(),
            round: tokio::sync::Mutex::default(),
            busy: Mutex::default(),
            news: AtomicBool::new(true),
            pruned: Mutex::new(Timestamp::MIN),
        })
    }

    fn all(&self) -> Vec<Arc<Row>> {
        self.rows.read().values().cloned().collect()
    }

    fn get(&self, place: &Place) -> Option<Arc<Row>> {
        self.rows.read().get(place).cloned()
    }
}

/// What one transaction wrote, for those who listen.
#[derive(Serialize, Deserialize)]
struct Written {
    organization: OrganizationId,
    news: Vec<News>,
}

impl Exchange {
    /// Whether anybody listens to what `organization` writes.
    pub(crate) fn has_listeners(&self, organization: &OrganizationId) -> bool {
        let rows = self.subscribers().rows.read();
        rows.values().any(|row| row.organization == *organization && row.listens())
    }

    /// The row that goes into the transaction of what was written.
    pub(crate) fn news_row(
        &self,
        message: MessageId,
        organization: &Organization,
        news: Vec<News>,
    ) -> Result<Option<RowWrite>, ExchangeError> {
        if news.is_empty() {
            return Ok(None);
        }
        let key = [&[NEWS][..], &message.0.to_be_bytes()].concat();
        let written = Written { organization: organization.id().clone(), news };
        self.outbox_row(key, &written).map(Some)
    }

    /// Says that a transaction with news was committed.
    pub(crate) fn tell_news(&self) {
        self.subscribers().news.store(true, Ordering::Release);
    }

    fn outbox_row(&self, key: Vec<u8>, value: &impl Serialize) -> Result<RowWrite, ExchangeError> {
        let plain = serde_json::to_vec(value)
            .map_err(|_| ExchangeError::Internal("an outbox row does not serialise"))?;
        let sealed = self.system().seal(&outbox_context(&key), &sizes::pad_json(plain));
        Ok(RowWrite { table: Table::Outbox, key, value: Some(sealed) })
    }

    fn open_outbox<T: serde::de::DeserializeOwned>(
        &self,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<T, ExchangeError> {
        let plain = self.system().open(&outbox_context(key), sealed)?;
        serde_json::from_slice(&plain)
            .map_err(|_| ExchangeError::Internal("an outbox row has an unknown form"))
    }

    /// Where a subscription's events lie.
    fn event_prefix(&self, (organization, id): &Place) -> Vec<u8> {
        let token = self.tokens().token("subscription", format!("{organization}/{id}").as_bytes());
        [&[EVENT][..], &token[..]].concat()
    }

    /// The events of a subscription with numbers from `from` to `to`, as far as they are
    /// kept.
    fn events_between(
        &self,
        place: &Place,
        (from, to): (u64, u64),
    ) -> Result<Vec<SentEvent>, ExchangeError> {
        let snapshot = self.store().snapshot();
        let prefix = self.event_prefix(place);
        let mut events = Vec::new();
        for number in from..=to {
            let key = [&prefix[..], &number.to_be_bytes()].concat();
            let row = snapshot.row(Table::Outbox, &key).map_err(ExchangeError::store)?;
            if let Some(sealed) = row {
                events.push(self.open_outbox(&key, &sealed)?);
            }
        }
        Ok(events)
    }

    /// Makes a subscription, or changes it (`id` of one that is there). Gives it, and
    /// when it is new the secret that its deliveries are signed with: shown this once.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] but for systems of the organization;
    /// [`ExchangeError::Invalid`] names every problem.
    pub async fn subscribe(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: Option<&str>,
        resource: Value,
    ) -> Result<(SubscriptionView, Option<String>), ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        if ask.caller.organization() != organization {
            self.append_refusal(ask.caller.actor(), "policy", "other-organization").await?;
            return Err(ExchangeError::NotFound);
        }
        if ask.caller.role() != Role::System {
            let reason = "subscriptions-belong-to-systems";
            self.append_refusal(ask.caller.actor(), "policy", reason).await?;
            return Err(ExchangeError::NotPermitted { reason });
        }
        let _changing = self.subscribers().changing.lock().await;
        let now = self.now();
        let hosts = self.notify_hosts_of(organization)?;
        let asked = parse::read(&resource, &hosts).map_err(ExchangeError::Invalid)?;
        let id = id.map_or_else(|| RequestId::random().to_string(), str::to_owned);
        let known = self.subscribers().get(&(organization.clone(), id.clone()));
        if known.as_ref().is_some_and(|row| row.owner != *ask.caller.id()) {
            return Err(ExchangeError::NotFound);
        }
        let own = |row: &&Arc<Row>| row.owner == *ask.caller.id();
        if known.is_none()
            && self.subscribers().all().iter().filter(own).count() >= SUBSCRIPTIONS_MAX
        {
            return Err(ExchangeError::Setting("a system has at most 100 subscriptions"));
        }
        let secret = known.as_ref().map_or_else(
            || format!("{}{}", RequestId::random(), RequestId::random()),
            |row| row.secret.clone(),
        );
        let same_way = known.as_ref().is_some_and(|row| row.hook == asked.hook);
        let status = match known.as_ref().map(|row| row.status) {
            _ if asked.off => SubscriptionStatus::Off,
            // The same endpoint has answered before.
            Some(SubscriptionStatus::Active) if same_way => SubscriptionStatus::Active,
            _ => SubscriptionStatus::Requested,
        };
        let row = Row {
            id,
            organization: organization.clone(),
            owner: ask.caller.id().clone(),
            resource,
            version: known.as_ref().map_or(1, |row| row.version + 1),
            updated: now,
            status,
            error: None,
            about: asked.about,
            hook: asked.hook,
            content: asked.content,
            bare: asked.bare,
            heartbeat_s: asked.heartbeat_s,
            events_max: asked.events_max,
            end: asked.end,
            secret: secret.clone(),
            events: known.as_ref().map_or(0, |row| row.events),
            delivered: known.as_ref().map_or(0, |row| row.delivered),
            tries: 0,
            failing_since: None,
            next_try: now,
            last_sent: now,
        };
        let change = if known.is_none() { "created" } else { "changed" };
        self.keep_row(&row).await?;
        self.record_entries(vec![ask.entry(now, change_of(&row, change))]).await?;
        Ok((row.view(), known.is_none().then_some(secret)))
    }

    /// A subscription of the caller.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`] also when it is another system's.
    pub fn subscription(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<SubscriptionView, ExchangeError> {
        Ok(self.own_row(ask, organization, id)?.view())
    }

    /// The caller's subscriptions, by id.
    ///
    /// # Errors
    /// [`ExchangeError::Suspended`].
    pub fn subscriptions(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
    ) -> Result<Vec<SubscriptionView>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let mut rows = self.subscribers().all();
        rows.retain(|row| row.owner == *ask.caller.id() && row.organization == *organization);
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(rows.iter().map(|row| row.view()).collect())
    }

    /// Deletes a subscription of the caller with its events.
    ///
    /// # Errors
    /// As [`subscription`](Self::subscription).
    pub async fn unsubscribe(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<(), ExchangeError> {
        let _changing = self.subscribers().changing.lock().await;
        let row = self.own_row(ask, organization, id)?;
        let mut rows = vec![self.no_system_row(Kind::Subscription, &row_name(&row.place()))];
        let prefix = self.event_prefix(&row.place());
        for event in self.store().snapshot().scan_rows(Table::Outbox, &prefix) {
            let (key, _) = event.map_err(ExchangeError::store)?;
            rows.push(RowWrite { table: Table::Outbox, key, value: None });
        }
        self.commit(Transaction { rows, ..Transaction::default() }).await?;
        self.subscribers().rows.write().remove(&row.place());
        self.record_entries(vec![ask.entry(self.now(), change_of(&row, "deleted"))]).await
    }

    /// `$status`: the SubscriptionStatus as Parameters.
    ///
    /// # Errors
    /// As [`subscription`](Self::subscription).
    pub fn subscription_status(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
        base: &str,
    ) -> Result<Value, ExchangeError> {
        let row = self.own_row(ask, organization, id)?;
        Ok(bundle::status(&row, bundle::Kind::QueryStatus, base, &[]))
    }

    /// `$events`: events that happened, by number, as far as they are kept. In the ledger
    /// like a delivery.
    ///
    /// # Errors
    /// As [`subscription`](Self::subscription).
    pub async fn subscription_events(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
        (since, until): (u64, Option<u64>),
        base: &str,
    ) -> Result<Value, ExchangeError> {
        let row = self.own_row(ask, organization, id)?;
        let from = since.max(1);
        let to = until.unwrap_or(u64::MAX).min(row.events).min(from.saturating_add(QUERIED_MAX));
        let events = self.events_between(&row.place(), (from, to))?;
        // Ids only, whatever the content: a resource is read where it lies.
        self.tell_delivery(ask, &row, &events).await?;
        let kind = bundle::Kind::QueryEvent;
        Ok(bundle::notification(&row, kind, base, self.now(), &events, &[]))
    }

    fn own_row(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<Arc<Row>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let row = self.subscribers().get(&(organization.clone(), id.to_owned()));
        row.filter(|row| row.owner == *ask.caller.id()).ok_or(ExchangeError::NotFound)
    }

    /// The subscriptions of the caller's organization, or of all for who runs the
    /// exchange.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] but for administrators and security officers.
    pub async fn all_subscriptions(
        &self,
        ask: &Ask,
    ) -> Result<Vec<SubscriptionView>, ExchangeError> {
        self.require_task(ask, Task::Subscriptions).await?;
        let mut rows = self.subscribers().all();
        rows.retain(|row| self.within_reach(ask, Some(&row.organization)).is_ok());
        rows.sort_by_key(|row| row.place());
        Ok(rows.iter().map(|row| row.view()).collect())
    }

    /// Has what was not delivered sent again, from the first, or turns a subscription
    /// off.
    ///
    /// # Errors
    /// As [`all_subscriptions`](Self::all_subscriptions); [`ExchangeError::NotFound`].
    pub async fn replay_subscription(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        id: &str,
        on: bool,
    ) -> Result<SubscriptionView, ExchangeError> {
        self.require_task(ask, Task::Subscriptions).await?;
        if self.within_reach(ask, Some(organization)).is_err() {
            return Err(ExchangeError::NotFound);
        }
        let now = self.now();
        let place = (organization.clone(), id.to_owned());
        let changed = self
            .change_row(&place, |row| {
                row.status = match (on, row.status) {
                    (false, _) => SubscriptionStatus::Off,
                    (true, SubscriptionStatus::Requested) => SubscriptionStatus::Requested,
                    (true, _) => SubscriptionStatus::Active,
                };
                (row.tries, row.failing_since, row.error) = (0, None, None);
                row.next_try = now;
            })
            .await?;
        let row = changed.ok_or(ExchangeError::NotFound)?;
        let change = if on { "replayed" } else { "off" };
        self.record_entries(vec![ask.entry(now, change_of(&row, change))]).await?;
        Ok(row.view())
    }

    /// The hosts that subscriptions of an organization may be sent to.
    ///
    /// # Errors
    /// As [`all_subscriptions`](Self::all_subscriptions).
    pub async fn notify_hosts(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
    ) -> Result<Vec<String>, ExchangeError> {
        self.require_task(ask, Task::Subscriptions).await?;
        self.within_reach(ask, Some(organization)).map_err(|_| ExchangeError::NotFound)?;
        self.organization(organization)?;
        self.notify_hosts_of(organization)
    }

    /// Adds a host to that list, or takes it off: then nothing goes there any more, also
    /// for subscriptions that exist.
    ///
    /// # Errors
    /// As [`notify_hosts`](Self::notify_hosts); [`ExchangeError::Setting`] for what is no
    /// host.
    pub async fn allow_notify_host(
        &self,
        ask: &Ask,
        organization: &OrganizationId,
        host: &str,
        allowed: bool,
    ) -> Result<Vec<String>, ExchangeError> {
        let mut hosts = self.notify_hosts(ask, organization).await?;
        let host = host.to_ascii_lowercase();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        if host.is_empty() || host.len() > 255 || !host.bytes().all(known) {
            return Err(ExchangeError::Setting("a host is a name, or name:port"));
        }
        hosts.retain(|known| *known != host);
        if allowed {
            hosts.push(host.clone());
        }
        if hosts.len() > HOSTS_MAX {
            return Err(ExchangeError::Setting("at most 100 hosts"));
        }
        hosts.sort();
        self.save_system(Kind::NotifyHosts, organization.as_str(), &hosts).await?;
        let event = Event::SubscriptionChange {
            organization: organization.clone(),
            subscription: host,
            change: if allowed { "host-allowed" } else { "host-removed" }.into(),
        };
        self.record_entries(vec![ask.entry(self.now(), event)]).await?;
        Ok(hosts)
    }

    fn notify_hosts_of(&self, organization: &OrganizationId) -> Result<Vec<String>, ExchangeError> {
        Ok(self.load_system(Kind::NotifyHosts, organization.as_str())?.unwrap_or_default())
    }

    async fn keep_row(&self, row: &Row) -> Result<(), ExchangeError> {
        self.save_system(Kind::Subscription, &row_name(&row.place()), row).await?;
        self.subscribers().rows.write().insert(row.place(), Arc::new(row.clone()));
        Ok(())
    }

    /// Changes a row that is still there.
    async fn change_row(
        &self,
        place: &Place,
        change: impl FnOnce(&mut Row),
    ) -> Result<Option<Arc<Row>>, ExchangeError> {
        let _changing = self.subscribers().changing.lock().await;
        let Some(row) = self.subscribers().get(place) else { return Ok(None) };
        let mut row = Row::clone(&row);
        change(&mut row);
        self.keep_row(&row).await?;
        Ok(self.subscribers().get(place))
    }

    /// Gives each subscription the events of what was written: one transaction for each
    /// that wrote it, so that no number is given twice or left out.
    async fn number_events(&self) -> Result<(), ExchangeError> {
        if !self.subscribers().news.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let waiting: Result<Vec<_>, _> =
            self.store().snapshot().scan_rows(Table::Outbox, &[NEWS]).collect();
        for (key, sealed) in waiting.map_err(ExchangeError::store)? {
            let done = self.number_events_of(key, &sealed).await;
            if done.is_err() {
                self.tell_news();
                return done;
            }
        }
        Ok(())
    }

    async fn number_events_of(&self, key: Vec<u8>, sealed: &[u8]) -> Result<(), ExchangeError> {
        let written: Written = self.open_outbox(&key, sealed)?;
        let _changing = self.subscribers().changing.lock().await;
        let mut rows = vec![RowWrite { table: Table::Outbox, key, value: None }];
        let mut changed: HashMap<Place, Row> = HashMap::new();
        let listeners: Vec<Arc<Row>> = self
            .subscribers()
            .all()
            .into_iter()
            .filter(|row| row.organization == written.organization && row.listens())
            .collect();
        for news in &written.news {
            let entries = search::decode(&news.index)
                .map_err(|_| ExchangeError::Internal("news have an unknown form"))?;
            for row in &listeners {
                if !news.is_about(&row.about, &entries) || !self.may_be_told(row, news)? {
                    continue;
                }
                let row = changed.entry(row.place()).or_insert_with(|| Row::clone(row));
                row.events += 1;
                let number = row.events.to_be_bytes();
                let key = [&self.event_prefix(&row.place())[..], &number[..]].concat();
                let event = SentEvent {
                    number: row.events,
                    at: news.at,
                    patient: news.patient,
                    resource_type: news.resource_type.clone(),
                    id: news.id.clone(),
                    version: news.version,
                };
                rows.push(self.outbox_row(key, &event)?);
            }
        }
        for (place, row) in &changed {
            rows.push(self.system_row(Kind::Subscription, &row_name(place), row)?);
        }
        self.commit(Transaction { rows, ..Transaction::default() }).await?;
        let mut known = self.subscribers().rows.write();
        known.extend(changed.into_iter().map(|(place, row)| (place, Arc::new(row))));
        Ok(())
    }
}

fn row_name((organization, id): &Place) -> String {
    format!("{organization}/{id}")
}

fn outbox_context(key: &[u8]) -> String {
    format!("outbox/{}", data_encoding::HEXLOWER.encode(key))
}

fn change_of(row: &Row, change: &str) -> Event {
    Event::SubscriptionChange {
        organization: row.organization.clone(),
        subscription: row.id.clone(),
        change: change.into(),
    }
}
