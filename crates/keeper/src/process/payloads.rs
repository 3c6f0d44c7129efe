//! Opening a kept payload for somebody who wants to look at it: proved, within the
//! person's budget, and in the ledger under the person's name before its key leaves.

use std::collections::HashSet;
use std::sync::Arc;

use holdfast_base::{PatientId, Timestamp};

use super::acts::{Claim, Denied, inbox_scope, refusal};
use super::release;
use super::rules::Act;
use super::scribe::{Decided, Outcome, Scribe, entry, service_release};
use crate::error::NotPermitted;
use crate::table::Organization;

/// A payload that somebody asks for.
pub(super) struct Showing {
    pub claim: Claim,
    pub organization: Arc<Organization>,
    pub message: u64,
    /// Fingerprint of what the keeper is shown of it.
    pub token: [u8; 16],
    pub reason: String,
}

/// Decides `asked`. Only whoever works for the organization that sent the payload may:
/// nobody knows whom it is about, so nobody else's office has a claim to it. It counts
/// as one patient.
pub(super) fn decide_show(scribe: &mut Scribe, asked: Showing, now: Timestamp) -> Decided {
    let id = &asked.organization.id;
    let who = match scribe.identify(&asked.claim, Act::ShowPayload) {
        Ok(who) => who,
        Err(denied) => return denied.decided(Some(id), now),
    };
    if who.actor.organization.as_ref() != Some(id) {
        let why = NotPermitted::OtherOrganization;
        let actor = Box::new(who.actor);
        return Denied { actor, reason: why.as_str(), refused: why.into() }.decided(Some(id), now);
    }
    let once = HashSet::from([PatientId::from_bytes(asked.token)]);
    if let Err(over) = release::admit(scribe, &who, id, &once, now) {
        let event = refusal("keeper", over.reason, None, Some(id.clone()));
        let (refused, alert) = over.told(&who.actor.principal);
        let entries = [event, alert].map(|event| entry(now, &who.actor, None, event));
        return Decided::with(entries.to_vec(), Err(refused));
    }
    let scope = inbox_scope(id, asked.message, &asked.token);
    let released = service_release(&scope, &format!("shown: {}", asked.reason));
    Decided::with(vec![entry(now, &who.actor, None, released)], Ok(Outcome::Done))
}
