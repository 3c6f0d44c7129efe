//! What a detector found.

use std::collections::BTreeSet;

use holdfast_base::{PatientId, PrincipalId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

/// The keeper refused keys because a budget was used up.
pub const KEEPER_BUDGET: &str = "keeper-budget";
/// Charts opened for treatment without a documented relationship.
pub const NO_RELATIONSHIP: &str = "no-relationship";
/// A record that stands for nobody was opened.
pub const HONEY_PATIENT: &str = "honey-patient";
/// A burst of refusals from one place.
pub const PROBING: &str = "probing";

/// Ledger and store do not agree.
pub const RECONCILIATION: &str = "reconciliation";

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a look.
    Notice,
    /// A person should look today.
    Serious,
    /// A person should look now.
    Critical,
}

impl Severity {
    /// The name that stands in the ledger's alert entries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Serious => "serious",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the machine should do at once. Always reversible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Nothing but tell.
    None,
    /// Suspend the principal and revoke its sessions.
    Suspend,
}

/// One finding, as it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Number within this watch, from 1: the same number is the same finding,
    /// grown.
    pub number: u64,
    /// Which detector: [`KEEPER_BUDGET`], [`NO_RELATIONSHIP`],
    /// [`HONEY_PATIENT`], [`PROBING`] or [`RECONCILIATION`].
    pub detector: &'static str,
    /// Whom it is about. For probing: who was refused last, whom a stranger may
    /// merely have named.
    pub principal: PrincipalId,
    /// The session of the latest entry behind it.
    pub session: Option<SessionId>,
    /// The client address of the latest entry behind it.
    pub address: Option<String>,
    /// How grave.
    pub severity: Severity,
    /// The patients behind it.
    pub patients: BTreeSet<PatientId>,
    /// The earliest entry behind it.
    pub first: Timestamp,
    /// The latest entry behind it.
    pub last: Timestamp,
    /// How many entries stand behind it since it was opened.
    pub entries_count: u64,
    /// One sentence of ours for people; no data of a record.
    pub summary: String,
    /// What the machine should do.
    pub response: Response,
}
