//! Which entries somebody asks for.

use std::collections::HashSet;

use holdfast_base::{LedgerIndex, OrganizationId, PatientId, PrincipalId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Entry;

/// A condition on entries; every part that is present must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Acts of this principal.
    pub principal: Option<PrincipalId>,
    /// Acts in this session.
    pub session: Option<SessionId>,
    /// Acts from this address.
    pub address: Option<String>,
    /// Entries about records that this organization keeps.
    pub organization: Option<OrganizationId>,
    /// Entries about any of these patients; empty means any patient or none.
    pub patients: HashSet<PatientId>,
    /// Not before this instant.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
    /// Event kinds ([`Event::kind`](crate::Event::kind)); empty means any.
    pub kinds: Vec<String>,
}

impl Filter {
    /// Whether `entry` fulfils every part.
    pub fn matches(&self, entry: &Entry) -> bool {
        let about = entry.event.patient();
        let fits = |wanted: Option<bool>| wanted.unwrap_or(true);
        fits(self.principal.as_ref().map(|p| *p == entry.actor.principal))
            && fits(self.session.map(|s| Some(s) == entry.actor.session))
            && fits(self.address.as_ref().map(|a| Some(a) == entry.actor.address.as_ref()))
            && fits(self.organization.as_ref().map(|o| about.is_some_and(|(org, _)| org == o)))
            && (self.patients.is_empty()
                || about.is_some_and(|(_, patient)| self.patients.contains(&patient)))
            && fits(self.from.map(|from| entry.at >= from))
            && fits(self.to.map(|to| entry.at < to))
            && (self.kinds.is_empty() || self.kinds.iter().any(|k| k == entry.event.kind()))
    }
}

/// An entry with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Leaf index.
    pub index: LedgerIndex,
    /// The entry.
    pub entry: Entry,
}
