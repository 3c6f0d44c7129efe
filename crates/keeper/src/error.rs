//! The errors of the keeper's door.

use holdfast_base::{Category, PrincipalId};
use serde::{Deserialize, Serialize};

use crate::budget::Window;

/// Why the keeper did not do what was asked. No variant says whose record was
/// meant or holds anything of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeeperError {
    /// The keeper is away. What was asked may or may not have been done; nothing
    /// was released to this caller.
    #[error("the keeper cannot be reached")]
    Unreachable,
    /// The keeper did not answer in time; as [`Unreachable`](Self::Unreachable).
    #[error("the keeper did not answer in time")]
    TimedOut,
    /// The principal opened as many patients as it may. In the ledger, with an alert.
    #[error("{principal} may open {limit} patients a {window}")]
    OverBudget {
        /// Who asked.
        principal: PrincipalId,
        /// `minute`, `hour`, `day`.
        window: &'static str,
        /// Distinct patients in it.
        limit: u32,
    },
    /// The principal is suspended. In the ledger.
    #[error("{principal} is suspended")]
    Suspended {
        /// Who asked.
        principal: PrincipalId,
    },
    /// A patient has no key, and none was to be made.
    #[error("no such patient")]
    UnknownPatient,
    /// The patient's key was destroyed.
    #[error("the patient was forgotten")]
    ForgottenPatient,
    /// The organization has no key.
    #[error("no such organization")]
    UnknownOrganization,
    /// Entries of this kind are written by the keeper only.
    #[error("entries of kind {kind} are written by the keeper only")]
    EntryRefused {
        /// The entry's kind.
        kind: String,
    },
    /// Nobody raises his own budget or lifts his own suspension.
    #[error("nobody may {act} for himself")]
    OwnCase {
        /// What was tried.
        act: &'static str,
    },
    /// The request breaks a bound or a rule of form.
    #[error("malformed request: {what}")]
    Malformed {
        /// Which.
        what: &'static str,
    },
    /// The ledger did not take the entry, so nothing was done.
    #[error("the ledger refused: {reason}")]
    LedgerRefused {
        /// What the ledger said.
        reason: String,
    },
    /// The keeper's disk or key table failed.
    #[error("the keeper failed: {what}")]
    Fault {
        /// What failed.
        what: String,
    },
    /// What protects the root key is away: no key is released until it is back.
    #[error("what protects the root key is away, so no key is released: {what}")]
    GuardAway {
        /// What is missing.
        what: String,
    },
    /// The passphrase or PIN that a change of keys was asked with is wrong.
    #[error("the passphrase or PIN is wrong")]
    WrongPassphrase,
    /// A change of keys is not possible.
    #[error("{why}")]
    KeyChange {
        /// Why.
        why: String,
    },
    /// Client and keeper do not speak the same protocol.
    #[error("the keeper speaks another protocol: {what}")]
    Protocol {
        /// What was wrong.
        what: &'static str,
    },
}

impl KeeperError {
    /// Whose fault it is, and whether trying again can help.
    pub fn category(&self) -> Category {
        match self {
            Self::Unreachable
            | Self::TimedOut
            | Self::LedgerRefused { .. }
            | Self::GuardAway { .. } => Category::Busy,
            Self::OverBudget { .. }
            | Self::Suspended { .. }
            | Self::EntryRefused { .. }
            | Self::WrongPassphrase
            | Self::OwnCase { .. } => Category::Forbidden,
            Self::UnknownPatient | Self::ForgottenPatient | Self::UnknownOrganization => {
                Category::NotFound
            }
            Self::Malformed { .. } | Self::KeyChange { .. } => Category::Incorrect,
            Self::Fault { .. } | Self::Protocol { .. } => Category::Fault,
        }
    }
}

/// A refusal as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refused {
    OverBudget { principal: PrincipalId, window: Window, limit: u32 },
    Suspended { principal: PrincipalId },
    UnknownPatient,
    ForgottenPatient,
    UnknownOrganization,
    Entry { kind: String },
    OwnCase(OwnCase),
    Malformed(Malformed),
    Ledger { reason: String },
    GuardAway { what: String },
    WrongPassphrase,
    KeyChange { why: String },
    Fault { what: String },
}

/// What nobody may do for himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OwnCase {
    RaiseBudget,
    LiftSuspension,
}

/// Bounds and rules of form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Malformed {
    Request,
    Entry,
    NoReason,
    ReasonTooLong,
    NothingAsked,
    TooMany,
    TooLarge,
}

impl From<Malformed> for Refused {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

impl From<Refused> for KeeperError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::OverBudget { principal, window, limit } => {
                Self::OverBudget { principal, window: window.as_str(), limit }
            }
            Refused::Suspended { principal } => Self::Suspended { principal },
            Refused::UnknownPatient => Self::UnknownPatient,
            Refused::ForgottenPatient => Self::ForgottenPatient,
            Refused::UnknownOrganization => Self::UnknownOrganization,
            Refused::Entry { kind } => Self::EntryRefused { kind },
            Refused::OwnCase(case) => Self::OwnCase {
                act: match case {
                    OwnCase::RaiseBudget => "raise a budget",
                    OwnCase::LiftSuspension => "lift a suspension",
                },
            },
            Refused::Malformed(what) => Self::Malformed {
                what: match what {
                    Malformed::Request => "it cannot be parsed",
                    Malformed::Entry => "an entry cannot be parsed",
                    Malformed::NoReason => "a reason is missing",
                    Malformed::ReasonTooLong => "a reason or role is too long",
                    Malformed::NothingAsked => "it names no patient or no class",
                    Malformed::TooMany => "it names too many patients or entries",
                    Malformed::TooLarge => "it is too large",
                },
            },
            Refused::Ledger { reason } => Self::LedgerRefused { reason },
            Refused::GuardAway { what } => Self::GuardAway { what },
            Refused::WrongPassphrase => Self::WrongPassphrase,
            Refused::KeyChange { why } => Self::KeyChange { why },
            Refused::Fault { what } => Self::Fault { what },
        }
    }
}
