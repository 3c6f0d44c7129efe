//! FHIR transactions: entries that are carried out together or not at all (FHIR R4
//! http.html#transaction, #trules). Single interactions are transactions of one entry.
//!
//! Invariants: entries with one condition wait for each other, so racing conditional
//! creates make one resource; no resource is written twice in one transaction; whatever
//! is written goes through the same draft, preconditions and ledger as any payload.

mod asked;
mod conditional;
mod documents;
mod plan;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_intake::Converted;
use holdfast_store::KeptState;

use super::{Admission, Arrival, Outcome};
use crate::ExchangeError;
use crate::state::Exchange;

/// A refusal of one entry, with its place.
fn refuse(category: &'static str, entry: usize, part: &str, text: &'static str) -> ExchangeError {
    ExchangeError::EntryRefused { category, place: format!("Bundle.entry[{entry}]{part}"), text }
}

impl Exchange {
    /// Applies the entries of a transaction, once.
    pub(crate) async fn transact(
        &self,
        arrival: &Arrival<'_>,
        converted: &Converted,
    ) -> Result<Admission, ExchangeError> {
        let asked = asked::read_all(converted)?;
        let mut lanes: BTreeSet<usize> = BTreeSet::new();
        for entry in &asked {
            lanes.extend(self.lanes_of(arrival, entry)?);
        }
        lanes.insert(self.lane_number(&arrival.dedupe));
        let mut held = Vec::new();
        for lane in lanes {
            held.push(self.numbered_lane(lane).await);
        }
        // New records are placed one after the other, as in `apply`.
        let placing = if self.brings_newcomers(arrival, &asked)? {
            Some(self.office().placing.lock().await)
        } else {
            None
        };
        let plan = self.plan(arrival, asked).await?;
        let draft = self.draft_plan(arrival, plan).await?;
        let admission = Admission {
            message: arrival.message,
            outcome: Outcome::Accepted,
            issues: [converted.issues.clone(), draft.issues.clone()].concat(),
            control_id: converted.control_id.clone(),
            written: draft.written.clone(),
            matched: draft.matched,
            category: None,
        };
        let listings: Vec<_> = draft.listings.iter().cloned().map(Arc::new).collect();
        let reviews = draft.reviews.clone();
        self.finish(arrival, KeptState::Accepted, "accepted", Some(draft), &admission).await?;
        {
            let mut directory = self.directory().write();
            listings.iter().for_each(|listing| directory.put(Arc::clone(listing)));
        }
        drop((placing, held));
        for listing in reviews.into_iter().filter_map(|place| listings.get(place)) {
            self.add_review(listing).await?;
        }
        Ok(admission)
    }
}
