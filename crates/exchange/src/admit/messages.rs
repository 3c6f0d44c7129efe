//! Kept payloads as those see them who mend what was refused: which wait or were
//! refused, and why; one opened, by name; one or many tried again.
//!
//! Invariants: a list says nothing that a payload says; whoever opens one stands in
//! the ledger before its key leaves the keeper; trying again goes the way that every
//! payload goes, and applies each once.

use std::sync::Arc;

use holdfast_base::{Category, MessageId, OrganizationId, PrincipalId, Sensitive, Timestamp};
use holdfast_keeper::{KeptPayload, SealError};
use holdfast_ledger::Event;
use holdfast_policy::Task;
use holdfast_store::{Kept, KeptRow, KeptState, ReadError, Transaction};

use super::settle::outcome_context;
use super::{
    Admission, KeptMeta, KeptOutcome, Outcome, format_name, meta_context, payload_context,
};
use crate::people::Organization;
use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// Rows of the inbox that one question looks at: a fraction of a second.
const SCAN_ROWS_MAX: usize = 50_000;
/// Payloads of one page, and of one order to try again: each costs up to a sync.
const PAGE_COUNT_MAX: usize = 200;

/// Which kept payloads.
#[derive(Debug, Clone, Default)]
pub struct KeptFilter {
    /// Of this organization.
    pub organization: Option<OrganizationId>,
    /// Refused for a reason of this category.
    pub category: Option<String>,
    /// Where the page before ended.
    pub after: Option<MessageId>,
    /// At most so many.
    pub limit: usize,
}

/// A kept payload that is part of no record, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptView {
    /// Its number.
    pub message: MessageId,
    /// Who sent it.
    pub organization: OrganizationId,
    /// The system or person that sent it.
    pub sender: PrincipalId,
    /// When it arrived.
    pub received: Timestamp,
    /// `hl7v2`, `ccda`, `fhir`.
    pub format: &'static str,
    /// `waiting`, `refused`, `review`, `accepted`, `duplicate`.
    pub state: &'static str,
    /// Category of the reason: what lists are filtered by.
    pub category: Option<String>,
    /// The reason, in a sentence of ours.
    pub reason: Option<String>,
    /// Place and sentence of everything that was found; no values.
    pub issues: Vec<(String, String)>,
}

/// A page of kept payloads.
#[derive(Debug, Clone, Default)]
pub struct KeptPage {
    /// The payloads: a list has the newest first, what was tried again the oldest.
    pub messages: Vec<KeptView>,
    /// Where the next page goes on, when there may be more.
    pub next: Option<MessageId>,
}

/// A kept payload, opened.
#[derive(Debug)]
pub struct OpenedMessage {
    /// Its particulars.
    pub view: KeptView,
    /// What it says.
    pub payload: Sensitive<Vec<u8>>,
}

/// What became of payloads that were tried again.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Each, as it stands now.
    pub messages: Vec<KeptView>,
    /// Where the next order goes on, when there may be more.
    pub next: Option<MessageId>,
    /// Why it ended early: the keeper is away, or a budget is used up.
    pub stopped: Option<String>,
}

impl Exchange {
    /// The payloads that wait or were refused, newest first: no word of what they say.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`]; a client's people see the client's own.
    pub async fn kept_messages(
        &self,
        ask: &Ask,
        filter: &KeptFilter,
    ) -> Result<KeptPage, ExchangeError> {
        self.require_task(ask, Task::Messages).await?;
        self.kept_page(ask, filter, true).await
    }

    /// One kept payload, without what it says.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`], [`ExchangeError::NotPermitted`].
    pub async fn kept_message(
        &self,
        ask: &Ask,
        message: MessageId,
    ) -> Result<KeptView, ExchangeError> {
        self.require_task(ask, Task::Messages).await?;
        self.kept_within_reach(ask, message).and_then(|kept| self.kept_view(&kept.row))
    }

    /// Opens a payload that was refused or waits, for a privacy officer of the
    /// organization that sent it. In the ledger with the reason, and one patient of the
    /// officer's budget.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`]; [`ExchangeError::NotPermitted`];
    /// [`ExchangeError::Setting`] for one that became part of a record: it is read
    /// there, by whoever may; [`ExchangeError::OverBudget`].
    pub async fn show_message(
        &self,
        ask: &Ask,
        message: MessageId,
        reason: &str,
    ) -> Result<OpenedMessage, ExchangeError> {
        self.require_task(ask, Task::Payloads).await?;
        let kept = self.kept(message)?;
        let organization = self.organization_of_kept(&kept.row)?;
        // Not even the office of those who run the exchange: nobody knows who is in it.
        if organization.id() != ask.caller.organization() {
            let reason = "other-organization";
            self.append_refusal(ask.caller.actor(), "policy", reason).await?;
            return Err(ExchangeError::NotFound);
        }
        if kept.row.state.is_final() {
            return Err(ExchangeError::Setting("it is part of a record: read it there"));
        }
        let view = self.kept_view(&kept.row)?;
        let aad = payload_context(&organization, kept.row.received);
        let sealed = KeptPayload { message, aad: &aad, sealed: &kept.payload_sealed };
        let proof = self.proof_of(&ask.caller).await?;
        let opened = self.keeper().show_payload(&proof, organization.id(), sealed, reason).await?;
        let payload = opened.ok_or(SealError::NotAuthentic)?;
        let meta = self.kept_meta(&organization, &kept.row)?;
        let payload = meta.payload_of(&payload)?.into_owned().into();
        Ok(OpenedMessage { view, payload })
    }

    /// Has a kept payload processed again, as if it arrived now from whoever sent it.
    /// One that became part of a record stays as it is.
    ///
    /// # Errors
    /// [`ExchangeError::NotFound`], [`ExchangeError::NotPermitted`].
    pub async fn replay_message(
        &self,
        ask: &Ask,
        message: MessageId,
    ) -> Result<Replayed, ExchangeError> {
        self.require_task(ask, Task::Messages).await?;
        let kept = self.kept_within_reach(ask, message)?;
        let mut replayed = Replayed::default();
        self.replay_into(&mut replayed, ask, &kept.row).await?;
        Ok(replayed)
    }

    /// As [`replay_message`](Self::replay_message) for all that `filter` names, the
    /// oldest first, page by page.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`].
    pub async fn replay_messages(
        &self,
        ask: &Ask,
        filter: &KeptFilter,
    ) -> Result<Replayed, ExchangeError> {
        self.require_task(ask, Task::Messages).await?;
        let page = self.kept_page(ask, filter, false).await?;
        let mut replayed = Replayed { next: page.next, ..Replayed::default() };
        for view in page.messages {
            let kept = self.kept(view.message)?;
            self.replay_into(&mut replayed, ask, &kept.row).await?;
            if replayed.stopped.is_some() {
                replayed.next = None;
                break;
            }
        }
        Ok(replayed)
    }

    async fn replay_into(
        &self,
        replayed: &mut Replayed,
        ask: &Ask,
        row: &KeptRow,
    ) -> Result<(), ExchangeError> {
        // Two people who order the same must not both put it back.
        let _one_at_a_time = self.office().replaying.lock().await;
        match self.replay(ask, row).await {
            Ok(Some(Admission { outcome: Outcome::Queued, .. })) => {
                replayed.stopped = Some(ExchangeError::KeeperAway.to_string());
            }
            Ok(_) => {}
            Err(error) if error.category() == Category::Busy => {
                replayed.stopped = Some(error.to_string());
            }
            Err(error) => return Err(error),
        }
        replayed.messages.push(self.kept_view(&self.kept(row.message)?.row)?);
        Ok(())
    }

    /// Puts a refused payload back and processes it. `None` for one that is finished or
    /// under way.
    async fn replay(&self, ask: &Ask, row: &KeptRow) -> Result<Option<Admission>, ExchangeError> {
        let message = row.message;
        let organization = self.organization_of_kept(row)?;
        let kept = self.kept(message)?;
        if kept.row.state.is_final() || self.in_work().lock().contains(&message) {
            return Ok(None);
        }
        let format = self.kept_meta(&organization, &kept.row)?.format_in(&kept.row);
        let event = Event::Intake {
            organization: organization.id().clone(),
            message,
            format: format_name(format).to_owned(),
            outcome: "replayed".to_owned(),
            patient: None,
            commit: None,
        };
        self.keeper().append(vec![ask.entry(self.now(), event)]).await?;
        let _working = self.mark_in_work(message);
        let outcome = kept.row.outcome.clone();
        let finish = Some((message, KeptState::Pending, outcome));
        self.commit(Transaction { finish, ..Transaction::default() }).await?;
        self.office().stuck.lock().remove(&message);
        self.resume(message, &kept, "replay").await.map(Some)
    }

    async fn kept_page(
        &self,
        ask: &Ask,
        filter: &KeptFilter,
        newest_first: bool,
    ) -> Result<KeptPage, ExchangeError> {
        let own = self.within_reach(ask, filter.organization.as_ref())?;
        let ordinal = match own {
            Some(id) => Some(self.organization(&id)?.ordinal),
            None => None,
        };
        let store = Arc::clone(self.store());
        let after = filter.after;
        let scan = move || -> Result<_, ReadError> {
            let snapshot = store.snapshot();
            let fits = |row: &KeptRow| {
                !row.state.is_final() && ordinal.is_none_or(|ordinal| ordinal == row.organization)
            };
            let from = match after {
                Some(after) if !newest_first => MessageId(after.0 + 1),
                _ => MessageId(0),
            };
            let before = after.filter(|_| newest_first);
            let mut rows = snapshot.kept_between(from, before);
            let (mut found, mut seen) = (Vec::new(), 0);
            while let Some(row) = if newest_first { rows.next_back() } else { rows.next() } {
                let row = row?;
                let last = row.message;
                seen += 1;
                found.extend(fits(&row).then_some(row));
                // A category is looked for once the rows are open: take more of them.
                if seen == SCAN_ROWS_MAX || found.len() == PAGE_COUNT_MAX {
                    return Ok((found, Some(last)));
                }
            }
            Ok((found, None))
        };
        let scanned = tokio::task::spawn_blocking(scan).await;
        let scanned = scanned.map_err(|_| ExchangeError::Internal("the store's thread ended"))?;
        let (rows, mut next) = scanned.map_err(ExchangeError::store)?;
        let limit = filter.limit.clamp(1, PAGE_COUNT_MAX);
        let mut messages = Vec::new();
        for row in rows {
            let view = self.kept_view(&row)?;
            if filter.category.is_none() || filter.category == view.category {
                messages.push(view);
            }
            if messages.len() == limit {
                next = Some(row.message);
                break;
            }
        }
        Ok(KeptPage { messages, next })
    }

    fn kept(&self, message: MessageId) -> Result<Kept, ExchangeError> {
        let kept = self.store().snapshot().kept(message).map_err(ExchangeError::store)?;
        kept.ok_or(ExchangeError::NotFound)
    }

    fn kept_within_reach(&self, ask: &Ask, message: MessageId) -> Result<Kept, ExchangeError> {
        let kept = self.kept(message)?;
        let organization = self.organization_of_kept(&kept.row)?;
        match self.within_reach(ask, Some(organization.id())) {
            Ok(_) => Ok(kept),
            Err(_) => Err(ExchangeError::NotFound),
        }
    }

    fn organization_of_kept(&self, row: &KeptRow) -> Result<Arc<Organization>, ExchangeError> {
        self.organization_at(row.organization)
            .ok_or(ExchangeError::Internal("a kept payload names an unknown organization"))
    }

    /// What was noted of a payload's arrival.
    pub(super) fn kept_meta(
        &self,
        organization: &Organization,
        row: &KeptRow,
    ) -> Result<KeptMeta, ExchangeError> {
        let context = meta_context(organization, row.received);
        let meta = self.system().open(&context, &row.meta_sealed)?;
        serde_json::from_slice(&meta)
            .map_err(|_| ExchangeError::Internal("kept particulars have an unknown form"))
    }

    fn kept_view(&self, row: &KeptRow) -> Result<KeptView, ExchangeError> {
        let organization = self.organization_of_kept(row)?;
        let meta = self.kept_meta(&organization, row)?;
        let format = meta.format_in(row);
        let mut view = KeptView {
            message: row.message,
            organization: organization.id().clone(),
            sender: meta.principal.id,
            received: row.received,
            format: format_name(format),
            state: match row.state {
                KeptState::Pending => "waiting",
                KeptState::Accepted => "accepted",
                KeptState::Duplicate => "duplicate",
                KeptState::Refused => "refused",
                KeptState::Review => "review",
            },
            category: None,
            reason: None,
            issues: Vec::new(),
        };
        // While it waits, what was said of it before does not count.
        if row.state != KeptState::Pending && !row.outcome.is_empty() {
            let told = self.system().open(&outcome_context(row.message), &row.outcome)?;
            let told: KeptOutcome = serde_json::from_slice(&told)
                .map_err(|_| ExchangeError::Internal("a kept outcome has an unknown form"))?;
            let refused = row.state == KeptState::Refused;
            view.category = told.category.or_else(|| refused.then(|| "other".to_owned()));
            view.reason = told.reason;
            view.issues = told.issues;
        }
        Ok(view)
    }
}
