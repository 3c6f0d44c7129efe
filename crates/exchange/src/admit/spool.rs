//! Catching up: payloads that were kept while the keeper was away, or whose
//! processing a crash cut off.

use holdfast_base::MessageId;
use holdfast_intake::Format;
use holdfast_policy::Role;
use holdfast_store::Kept;

use super::{Arrival, KeptMeta, meta_context, payload_context};
use crate::state::{Exchange, server_actor};
use crate::{Ask, Caller, ExchangeError};

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
            match self.resume(message, &kept).await {
                Ok(()) => finished += 1,
                Err(away @ (ExchangeError::KeeperAway | ExchangeError::StoreAway)) => {
                    return Err(away);
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

    async fn resume(&self, message: MessageId, kept: &Kept) -> Result<(), ExchangeError> {
        let organization = self
            .organization_at(kept.row.organization)
            .ok_or(ExchangeError::Internal("a kept payload names an unknown organization"))?;
        let received = kept.row.received;
        let meta =
            self.system().open(&meta_context(&organization, received), &kept.row.meta_sealed)?;
        let meta: KeptMeta = serde_json::from_slice(&meta)
            .map_err(|_| ExchangeError::Internal("kept particulars have an unknown form"))?;
        let opener =
            self.keeper().inbox_opener(&server_actor(), organization.id(), "catch-up").await?;
        let payload =
            opener.open(&payload_context(&organization, received), &kept.payload_sealed)?;
        let purpose = match meta.principal.role {
            Role::System | Role::Registrar => holdfast_base::Purpose::Operations,
            _ => holdfast_base::Purpose::Treatment,
        };
        let caller = Caller {
            display_name: meta.principal.id.to_string(),
            principal: meta.principal,
            npi: None,
            session: meta.session,
            address: meta.address,
        };
        let ask = Ask { caller, purpose, request: meta.request, emergency: None };
        let dedupe = self.dedupe_key(&organization, &ask, &payload);
        let format = match kept.row.format {
            1 => Format::Hl7v2,
            2 => Format::Ccda,
            _ => Format::Fhir,
        };
        let arrival = Arrival { ask: &ask, organization, format, message, dedupe };
        self.process(&arrival, &payload).await.map(drop)
    }
}
