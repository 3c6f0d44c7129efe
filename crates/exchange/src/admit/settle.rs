//! Ending what was begun: commit, say so in the ledger, tell the directory and
//! those who wait for the news.

use std::sync::Arc;

use holdfast_base::{CommitNumber, MessageId, RequestId};
use holdfast_intake::{Converted, Issue, Refusal, Severity};
use holdfast_ledger::{Action, Entry, Event, Filter};
use holdfast_store::{KeptState, Precondition, RowWrite, Table, Transaction};
use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::{Admission, Arrival, KeptOutcome, Matched, Outcome, format_name};
use crate::people::Organization;
use crate::state::{Exchange, server_actor};
use crate::{Ask, ExchangeError};
use crate::{population, sizes};

/// Bytes of an outcome, and of an intent, for each version that is shown: as many as
/// the true ones need at most.
const OUTCOME_EACH: usize = 256;
const INTENT_EACH: usize = 512;

/// Entries that a committed transaction owes the ledger.
#[derive(Serialize, Deserialize)]
pub(crate) struct Intent {
    message: MessageId,
    entries: Vec<Entry>,
}

/// Marks a message as being processed for as long as it lives.
pub(crate) struct InWork<'a>(&'a Exchange, MessageId);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        self.0.in_work().lock().remove(&self.1);
    }
}

impl Exchange {
    pub(crate) fn mark_in_work(&self, message: MessageId) -> InWork<'_> {
        self.in_work().lock().insert(message);
        InWork(self, message)
    }

    /// What makes two payloads of one sender the same.
    pub(crate) fn dedupe_key(
        &self,
        organization: &Organization,
        ask: &Ask,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut told = ask.caller.id().as_str().as_bytes().to_vec();
        told.push(0);
        told.extend_from_slice(payload);
        let token = organization.keys.token.token("payload", &told);
        [&organization.ordinal.to_be_bytes()[..], &token[..]].concat()
    }

    /// What stands for an interaction where the token of its content stands for a message.
    pub(crate) fn interaction_key(
        &self,
        organization: &Organization,
        message: MessageId,
    ) -> Vec<u8> {
        let told = message.0.to_be_bytes();
        let token = organization.keys.token.token("interaction", &told);
        [&organization.ordinal.to_be_bytes()[..], &token[..]].concat()
    }

    /// The answer that the same payload got before.
    pub(crate) fn answered_before(
        &self,
        dedupe: &[u8],
    ) -> Result<Option<Admission>, ExchangeError> {
        let snapshot = self.store().snapshot();
        let row = snapshot.row(Table::Dedupe, dedupe).map_err(ExchangeError::store)?;
        let Some(number) = row.and_then(|value| <[u8; 8]>::try_from(value.as_slice()).ok()) else {
            return Ok(None);
        };
        let message = MessageId(u64::from_be_bytes(number));
        let kept = snapshot.kept(message).map_err(ExchangeError::store)?;
        let Some(kept) = kept else { return Ok(None) };
        let plain = self.system().open(&outcome_context(message), &kept.row.outcome)?;
        let told: KeptOutcome = serde_json::from_slice(&plain)
            .map_err(|_| ExchangeError::Internal("a kept outcome has an unknown form"))?;
        let outcome = Outcome::Duplicate;
        let issues = told.issues.into_iter().map(|(place, text)| Issue::information(place, text));
        Ok(Some(Admission {
            message,
            outcome,
            issues: issues.collect(),
            control_id: None,
            written: told.written,
            matched: Matched::Known,
            category: None,
        }))
    }

    /// Applies a converted payload, once.
    pub(crate) async fn apply(
        &self,
        arrival: &Arrival<'_>,
        converted: &Converted,
    ) -> Result<Admission, ExchangeError> {
        let organization = &arrival.organization;
        let lane = converted
            .patient
            .as_ref()
            .and_then(|patient| self.identifier_keys(organization, patient).into_iter().next());
        let _lane = self.lane(lane.as_deref().unwrap_or(&arrival.dedupe)).await;
        // New records are placed one after the other: two first registrations of
        // one person at the same moment must find each other.
        let subject = self.subject_of(organization, converted)?;
        let newcomer = subject.is_some_and(|subject| subject.known.is_none());
        let placing = if newcomer { Some(self.office().placing.lock().await) } else { None };
        let draft = self.draft(arrival, converted).await?;
        let mut admission = Admission {
            message: arrival.message,
            outcome: Outcome::Accepted,
            issues: [converted.issues.clone(), draft.issues.clone()].concat(),
            control_id: converted.control_id.clone(),
            written: draft.written.clone(),
            matched: draft.matched,
            category: None,
        };
        let listings: Vec<_> = draft.listings.iter().cloned().map(Arc::new).collect();
        let main = draft.main;
        let matched = draft.matched;
        self.finish(arrival, KeptState::Accepted, "accepted", Some(draft), &admission).await?;
        {
            let mut directory = self.directory().write();
            listings.iter().for_each(|listing| directory.put(Arc::clone(listing)));
        }
        drop(placing);
        if matched == Matched::Review
            && let Some(listing) = listings.first()
        {
            self.add_review(listing).await?;
        }
        if let (Some(notice), Some(patient)) = (&converted.notice, main) {
            self.deliver(arrival, notice, patient, &mut admission).await?;
        }
        Ok(admission)
    }

    /// Keeps a payload as refused, with the reason and its category, and says so in the ledger.
    pub(crate) async fn refuse_payload(
        &self,
        arrival: &Arrival<'_>,
        (refusal, category): (&Refusal, &'static str),
        issues: Vec<Issue>,
    ) -> Result<Admission, ExchangeError> {
        // What the sender may not is no question of what is supported.
        let reason = match (refusal, category) {
            (Refusal::Unsupported { what }, category) if category != "unsupported" => {
                (*what).to_owned()
            }
            _ => refusal.to_string(),
        };
        let mut issues = issues;
        if issues.iter().all(|issue| issue.severity != Severity::Error) {
            issues.push(Issue::error(place_of(refusal), reason.clone()));
        }
        let admission = Admission {
            message: arrival.message,
            outcome: Outcome::Refused(reason),
            issues,
            control_id: None,
            written: Vec::new(),
            matched: Matched::Known,
            category: Some(category),
        };
        self.finish(arrival, KeptState::Refused, "refused", None, &admission).await?;
        Ok(admission)
    }

    /// One transaction: versions, rows, the intent for the ledger, the outcome of
    /// the kept payload and the token of its content. Then the ledger.
    pub(crate) async fn finish(
        &self,
        arrival: &Arrival<'_>,
        state: KeptState,
        outcome: &str,
        draft: Option<Draft>,
        admission: &Admission,
    ) -> Result<(), ExchangeError> {
        let draft = draft.unwrap_or_default();
        let shown = draft.puts.len();
        let entries = self.entries_of(arrival, outcome, &draft);
        let intent = Intent { message: arrival.message, entries };
        let intent_key = intent_key(arrival.message);
        let kept = KeptOutcome {
            outcome: outcome.to_owned(),
            category: admission.category.map(str::to_owned),
            reason: match &admission.outcome {
                Outcome::Refused(reason) => Some(reason.clone()),
                _ => None,
            },
            issues: admission.issues.iter().map(|i| (i.place.clone(), i.text.clone())).collect(),
            written: admission.written.clone(),
        };
        let kept = serde_json::to_vec(&kept)
            .map_err(|_| ExchangeError::Internal("a kept outcome does not serialise"))?;
        let mut rows = draft.rows;
        let mut preconditions = draft.preconditions;
        preconditions.push(Precondition::Pending(arrival.message));
        // What was refused may be sent again: its patient may be known by then.
        if state == KeptState::Accepted {
            let key = arrival.dedupe.clone();
            preconditions.push(Precondition::RowAbsent { table: Table::Dedupe, key: key.clone() });
            let value = Some(arrival.message.0.to_be_bytes().to_vec());
            rows.push(RowWrite { table: Table::Dedupe, key, value });
        }
        rows.push(RowWrite {
            table: Table::Outbox,
            key: intent_key.clone(),
            value: Some(self.system().seal(
                &intent_context(&intent_key),
                &sizes::pad_json_about(intent_bytes(&intent)?, shown, INTENT_EACH),
            )),
        });
        rows.extend(self.news_row(arrival.message, &arrival.organization, draft.news)?);
        rows.extend(population::delta_rows(&arrival.organization, draft.delta, shown));
        let kept = sizes::pad_json_about(kept, shown, OUTCOME_EACH);
        let outcome_sealed = self.system().seal(&outcome_context(arrival.message), &kept);
        let committed = self
            .commit(Transaction {
                puts: draft.puts,
                rows,
                preconditions,
                finish: Some((arrival.message, state, outcome_sealed)),
            })
            .await?;
        self.tell_news();
        // From here on it is done. When the keeper is away now, the intent stays
        // in the outbox and the ledger is told when it answers again.
        let chain = data_encoding::HEXLOWER.encode(&committed.chain);
        match self.tell_ledger(intent, committed.commit, chain).await {
            Ok(()) => self.office().told.lock().push(intent_key),
            Err(ExchangeError::KeeperAway | ExchangeError::StoreAway) => {}
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn entries_of(&self, arrival: &Arrival<'_>, outcome: &str, draft: &Draft) -> Vec<Entry> {
        let now = self.now();
        let ask = arrival.ask;
        let organization = arrival.organization.id();
        let mut entries = Vec::new();
        for listing in &draft.listings {
            let event = Event::PatientProfile {
                organization: organization.clone(),
                patient: listing.patient,
                person: listing.person,
                residence: listing.residence.clone(),
            };
            let before = self.directory().read().get(organization, listing.patient);
            let told = before
                .is_some_and(|b| b.person == listing.person && b.residence == listing.residence);
            if !told {
                entries.push(ask.entry(now, event));
            }
        }
        let written = draft.touches.iter().map(|touched| (Action::Write, touched));
        let deleted = draft.removed.iter().map(|touched| (Action::Delete, touched));
        for (action, (patient, touches)) in written.chain(deleted) {
            let event = Event::Access {
                organization: organization.clone(),
                patient: *patient,
                action,
                purpose: ask.purpose,
                relationship: "intake".into(),
                touches: touches.clone(),
            };
            entries.push(ask.entry(now, event));
        }
        let event = Event::Intake {
            organization: organization.clone(),
            message: arrival.message,
            format: format_name(arrival.format).into(),
            outcome: outcome.into(),
            patient: draft.main,
            commit: None,
        };
        entries.push(ask.entry(now, event));
        entries
    }

    async fn tell_ledger(
        &self,
        intent: Intent,
        commit: CommitNumber,
        chain: String,
    ) -> Result<(), ExchangeError> {
        let mut entries = intent.entries;
        for entry in &mut entries {
            if let Event::Intake { commit: place, .. } = &mut entry.event {
                *place = Some(commit);
            }
        }
        let event = Event::StoreCommit { commit, chain };
        entries.push(Entry { at: self.now(), actor: server_actor(), request: None, event });
        let uses = crate::reconcile::uses(&entries);
        self.keeper().append(entries).await?;
        self.mark_used(&uses);
        Ok(())
    }

    /// Tells the ledger what a crash or a keeper that was away kept from it. An
    /// intent whose intake entry is there already is only cleared away.
    pub(crate) async fn settle_intents(&self) -> Result<usize, ExchangeError> {
        let mut open = Vec::new();
        for row in self.store().snapshot().scan_rows(Table::Outbox, b"e") {
            let (key, sealed) = row.map_err(ExchangeError::store)?;
            if !self.office().told.lock().contains(&key) {
                let plain = self.system().open(&intent_context(&key), &sealed)?;
                let intent: Intent = serde_json::from_slice(&plain)
                    .map_err(|_| ExchangeError::Internal("an intent has an unknown form"))?;
                open.push((key, intent));
            }
        }
        let settled = open.len();
        for (key, intent) in open {
            if self.in_work().lock().contains(&intent.message) {
                continue;
            }
            if !self.ledger_knows(&intent).await? {
                let (commit, chain) = self.commit_of(intent.message)?;
                let chain = data_encoding::HEXLOWER.encode(&chain);
                self.tell_ledger(intent, commit, chain).await?;
            }
            self.office().told.lock().push(key);
        }
        self.clear_told().await?;
        Ok(settled)
    }

    /// The commit that finished `message`, with its chain value.
    fn commit_of(&self, message: MessageId) -> Result<(CommitNumber, [u8; 32]), ExchangeError> {
        let row = self.store().snapshot().kept_row(message).map_err(ExchangeError::store)?;
        let commit = row.map(|row| row.changed);
        let found = commit.and_then(|commit| Some((commit, self.store().chain_at(commit)?)));
        found.ok_or(ExchangeError::Internal("an intent has no finished message"))
    }

    /// Removes the intents that the ledger has been told, many at once.
    pub(crate) async fn clear_told(&self) -> Result<(), ExchangeError> {
        let told: Vec<_> = self.office().told.lock().clone();
        if told.is_empty() {
            return Ok(());
        }
        let clear =
            |key: &Vec<u8>| RowWrite { table: Table::Outbox, key: key.clone(), value: None };
        let rows = told.iter().map(clear).collect();
        self.commit(Transaction { rows, ..Transaction::default() }).await?;
        self.office().told.lock().retain(|key| !told.contains(key));
        Ok(())
    }

    async fn ledger_knows(&self, intent: &Intent) -> Result<bool, ExchangeError> {
        let request: Option<RequestId> = intent.entries.first().and_then(|entry| entry.request);
        let Some(first) = intent.entries.first() else { return Ok(true) };
        let filter = Filter {
            principal: Some(first.actor.principal.clone()),
            session: first.actor.session,
            kinds: vec!["intake".into()],
            from: Some(first.at),
            ..Filter::default()
        };
        let entries = self.keeper().query(&filter, None, 10_000).await?;
        let same = |event: &Event| matches!(event, Event::Intake { message, .. } if *message == intent.message);
        Ok(entries.iter().any(|p| p.entry.request == request && same(&p.entry.event)))
    }
}

fn place_of(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Malformed { place, .. } | Refusal::Missing { place, .. } => place.clone(),
        _ => "payload".to_owned(),
    }
}

fn intent_bytes(intent: &Intent) -> Result<Vec<u8>, ExchangeError> {
    serde_json::to_vec(intent).map_err(|_| ExchangeError::Internal("an intent does not serialise"))
}

fn intent_key(message: MessageId) -> Vec<u8> {
    [&b"e"[..], &message.0.to_be_bytes()].concat()
}

fn intent_context(key: &[u8]) -> String {
    format!("outbox/{}", data_encoding::HEXLOWER.encode(key))
}

pub(crate) fn outcome_context(message: MessageId) -> String {
    format!("outcome/{message}")
}
