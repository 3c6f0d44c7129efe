//! The matching work list: new records that may belong to a person already known.

use holdfast_base::{OrganizationId, Timestamp};
use holdfast_policy::Role;
use serde::{Deserialize, Serialize};

use crate::directory::Listing;
use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, ExchangeError};

/// A record that a person has to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReviewItem {
    /// When it arrived.
    pub at: Timestamp,
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// Logical id of the Patient.
    pub patient: String,
}

impl Exchange {
    pub(crate) async fn add_review(&self, listing: &Listing) -> Result<(), ExchangeError> {
        let item = ReviewItem {
            at: self.now(),
            organization: listing.organization.clone(),
            patient: listing.logical_id.clone(),
        };
        self.save_system(Kind::Review, &listing.patient.to_string(), &item).await
    }

    /// The work list of the caller's organization.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub fn reviews(&self, ask: &Ask) -> Result<Vec<ReviewItem>, ExchangeError> {
        self.refuse_suspended(&ask.caller)?;
        let everybody = ask.caller.role() == Role::Administrator;
        let mut items: Vec<ReviewItem> = self.load_all_system(Kind::Review)?;
        items.retain(|item| everybody || item.organization == *ask.caller.organization());
        Ok(items)
    }
}
