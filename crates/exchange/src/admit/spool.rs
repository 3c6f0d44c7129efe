//! Catching up: payloads that were kept while the keeper was away, or whose
//! processing a crash cut off.

use holdfast_base::MessageId;
use holdfast_keeper::{KeptPayload, SealError};
use holdfast_policy::Role;
use holdfast_store::Kept;

use super::{Admission, Arrival, payload_context};
use crate::caller::Shown;
use crate::state::Exchange;
use crate::{Ask, Caller, ExchangeError};

/// How long catching up pauses when its budget is used up.
const PAUSE_MS: i64 = 60_000;

impl Exchange {
    /// Processes what is kept and not finished, in order of arrival. Gives how many
    /// payloads reached an outcome.
    ///
    /// # Errors
    /// [`ExchangeError::KeeperAway`] as soon as the keeper does not answer; what is
    /// left stays kept.
    pub async fn catch_up(&self) -> Result<usize, ExchangeError> {
        self.catch_up_older_than(0).await
    }

    /// As [`catch_up`](Self::catch_up), for payloads that arrived `age_ms` ago or
    /// earlier: younger ones are on their way.
    pub(crate) async fn catch_up_older_than(&self, age_ms: i64) -> Result<usize, ExchangeError> {
        let now = self.now();
        if now < *self.office().catch_up_after.lock() {
            return Ok(0);
        }
        let pending: Vec<_> = self.store().snapshot().pending().collect();
        let mut finished = 0;
        for message in pending {
            let message = message.map_err(ExchangeError::store)?;
            let busy = self.in_work().lock().contains(&message);
            if busy || self.office().stuck.lock().contains(&message) {
                continue;
            }
            let _working = self.mark_in_work(message);
            // It may have been finished since the snapshot was taken.
            let kept = self.store().snapshot().kept(message).map_err(ExchangeError::store)?;
            let due = kept.filter(|kept| {
                kept.row.state == holdfast_store::KeptState::Pending
                    && now.millis_since(kept.row.received) >= age_ms
            });
            let Some(kept) = due else { continue };
            match self.resume(message, &kept, "catch-up").await {
                Ok(_) => finished += 1,
                Err(away @ (ExchangeError::KeeperAway | ExchangeError::StoreAway)) => {
                    return Err(away);
                }
                Err(ExchangeError::OverBudget { .. }) => {
                    *self.office().catch_up_after.lock() = now.plus_millis(PAUSE_MS);
                    return Ok(finished);
                }
                Err(error) => {
                    // It stays kept; one that cannot be processed must not keep the
                    // others waiting, nor be tried four times a second.
                    tracing::error!(message = %message, error = %error, "a kept payload is stuck");
                    self.office().stuck.lock().insert(message);
                }
            }
        }
        Ok(finished)
    }

    /// Processes a kept payload that waits, as when it arrived.
    pub(super) async fn resume(
        &self,
        message: MessageId,
        kept: &Kept,
        reason: &str,
    ) -> Result<Admission, ExchangeError> {
        let organization = self
            .organization_at(kept.row.organization)
            .ok_or(ExchangeError::Internal("a kept payload names an unknown organization"))?;
        let received = kept.row.received;
        let meta = self.kept_meta(&organization, &kept.row)?;
        let aad = payload_context(&organization, received);
        let sealed = KeptPayload { message, aad: &aad, sealed: &kept.payload_sealed };
        let opened = self.keeper().open_inbox(organization.id(), &[sealed], reason).await?;
        let payload = opened.into_iter().next().flatten();
        let payload = payload.ok_or(SealError::NotAuthentic)?;
        let payload = meta.payload_of(&payload)?;
        let format = meta.format_in(&kept.row);
        let interaction = meta.interaction;
        let purpose = match meta.principal.role {
            Role::System | Role::Registrar => holdfast_base::Purpose::Operations,
            _ => holdfast_base::Purpose::Treatment,
        };
        // A person's session is over by now: the exchange opens for itself, within its
        // own small budget. A system it can vouch for.
        let certificate = self.account(&meta.principal.id).and_then(|a| a.certificate);
        let shown = certificate.map_or(Shown::Nothing, Shown::Certificate);
        let caller = Caller {
            shown,
            display_name: meta.principal.id.to_string(),
            principal: meta.principal,
            npi: None,
            session: meta.session,
            address: meta.address,
        };
        let ask = Ask { caller, purpose, request: meta.request, emergency: None };
        let dedupe = match interaction {
            true => self.interaction_key(&organization, message),
            false => self.dedupe_key(&organization, &ask, &payload),
        };
        let arrival = Arrival { ask: &ask, organization, format, message, dedupe, interaction };
        self.process(&arrival, &payload).await
    }
}
