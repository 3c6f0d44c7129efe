//! An incident: what was found, and the frozen scope with its proof.

use holdfast_base::{IncidentId, PrincipalId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::scope::{Scope, ScopeQuery};

/// Where an incident stands. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Found; the principal may still act.
    Open,
    /// The principal can no longer act.
    Contained,
    /// The scope is computed and frozen.
    ScopeFrozen,
    /// Notices and letters were drafted. They were not sent by this.
    NoticesDrafted,
    /// Nothing is left to do.
    Closed,
}

impl Status {
    /// The name in ledger entries and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Contained => "contained",
            Self::ScopeFrozen => "scope-frozen",
            Self::NoticesDrafted => "notices-drafted",
            Self::Closed => "closed",
        }
    }
}

/// Something that a detector or a person found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentFinding {
    /// When it was found.
    pub at: Timestamp,
    /// What found it: a detector's name, or `person`.
    pub detector: String,
    /// `notice`, `serious` or `critical`.
    pub severity: String,
    /// Distinct patients behind it.
    pub patients_count: u64,
    /// One sentence of ours; no data of a record.
    pub summary: String,
}

/// A scope as it was at one state of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenScope {
    /// When it was frozen.
    pub at: Timestamp,
    /// What was asked.
    pub query: ScopeQuery,
    /// The answer.
    pub scope: Scope,
    /// Number of ledger entries that it was computed from.
    pub ledger_size: u64,
    /// Root hash of the ledger at that size, lower-case hex.
    pub ledger_root: String,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// When it was opened here.
    pub opened: Timestamp,
    /// When it was known, or with reasonable diligence would have been known:
    /// the instant that the deadlines count from. 45 CFR 164.404(a)(2), 164.410(a)(2).
    pub discovered: Timestamp,
    /// Whose acts it is about.
    pub principal: PrincipalId,
    /// What was found, oldest first.
    pub findings: Vec<IncidentFinding>,
    /// Where it stands.
    pub status: Status,
    /// The frozen scope, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<FrozenScope>,
}

impl Incident {
    /// The number that letters quote: `HF-000007`.
    pub fn reference(&self) -> String {
        format!("HF-{:06}", self.id.0)
    }
}
