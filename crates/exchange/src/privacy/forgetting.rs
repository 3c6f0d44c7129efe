//! Forgetting a patient: the key is destroyed, and with it everything that it
//! sealed. In two steps, because nothing brings it back.

use holdfast_base::OrganizationId;
use holdfast_policy::Task;
use holdfast_store::{RowWrite, Table, Transaction};

use crate::state::Exchange;
use crate::{Ask, ExchangeError};

/// What became of a request to forget somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgetting {
    /// Nothing yet: the same person has to ask again with this code.
    Confirm {
        /// Good for this patient, this reason and this session.
        code: String,
    },
    /// The key is destroyed.
    Done,
}

impl Exchange {
    /// Destroys the key of a patient's record, and the row by which it is found. The
    /// first call gives a code and does nothing; the second brings the code back. In
    /// the ledger, with `reason`.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for all but privacy officers,
    /// [`ExchangeError::NotFound`], [`ExchangeError::Conflict`] for a code that is not
    /// the right one.
    pub async fn forget_patient(
        &self,
        ask: &Ask,
        (organization, patient): (&OrganizationId, &str),
        reason: &str,
        confirm: Option<&str>,
    ) -> Result<Forgetting, ExchangeError> {
        self.require_task(ask, Task::Forgetting).await?;
        let listing = self.listing_of(organization, patient)?;
        let actor = ask.caller.actor();
        let session = actor.session.map(|session| session.to_string()).unwrap_or_default();
        let what = format!("{organization}/{}/{session}/{reason}", listing.patient);
        let token = self.tokens().token("forgetting", what.as_bytes());
        let code = data_encoding::HEXLOWER.encode(&token[..4]);
        match confirm {
            None => return Ok(Forgetting::Confirm { code }),
            Some(given) if given != code => return Err(ExchangeError::Conflict),
            Some(_) => {}
        }
        let proof = self.proof_of(&ask.caller).await?;
        self.keeper().forget(&proof, organization, listing.patient, reason).await?;
        self.keyring().drop_patient(listing.patient, self.now());
        let ordinal = self.organization(organization)?.ordinal;
        let row = listing.row(self.features_key(), ordinal)?;
        let rows = vec![RowWrite { table: Table::Directory, key: row.key, value: None }];
        self.commit(Transaction { rows, ..Transaction::default() }).await?;
        self.directory().write().remove(&(organization.clone(), listing.patient));
        self.drop_exports_of(ask, organization).await?;
        Ok(Forgetting::Done)
    }
}
