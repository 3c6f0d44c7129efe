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
    /// The principal, or its organization, opened as many patients as it may. In the
    /// ledger, with an alert.
    #[error("{principal} may open {limit} patients a {window}")]
    OverBudget {
        /// Whose budget it is: who asked, or `organization:{organization}`.
        principal: PrincipalId,
        /// `minute`, `hour`, `day`, `grant`.
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
    /// Name, password and code do not belong together, or no live session has the
    /// token. Which part was wrong is nobody's business. In the ledger.
    #[error("not signed in")]
    NotSignedIn,
    /// Too many wrong attempts. In the ledger.
    #[error("too many failed attempts; wait {wait_seconds} seconds")]
    Throttled {
        /// How long the next attempt has to wait.
        wait_seconds: u64,
    },
    /// The role, or the organization, of who asked does not do this. In the ledger.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// A reason code.
        reason: &'static str,
    },
    /// A principal of this name, or with this certificate, exists.
    #[error("the name or the certificate is taken")]
    Taken,
    /// There is no such principal, or it was closed.
    #[error("no such principal")]
    UnknownPrincipal,
    /// No grant of this number waits or lives.
    #[error("no such grant")]
    UnknownGrant,
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
    /// Client and keeper are of different versions.
    #[error(
        "the keeper speaks protocol {theirs} and this program {ours}: run the same version of Holdfast on both sides"
    )]
    OtherVersion {
        /// What the keeper speaks.
        theirs: u8,
        /// What this program speaks.
        ours: u8,
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
            | Self::GuardAway { .. }
            | Self::Throttled { .. } => Category::Busy,
            Self::Taken => Category::Conflict,
            Self::NotSignedIn
            | Self::NotPermitted { .. }
            | Self::OverBudget { .. }
            | Self::Suspended { .. }
            | Self::EntryRefused { .. }
            | Self::WrongPassphrase
            | Self::OwnCase { .. } => Category::Forbidden,
            Self::UnknownPatient
            | Self::ForgottenPatient
            | Self::UnknownOrganization
            | Self::UnknownPrincipal
            | Self::UnknownGrant => Category::NotFound,
            Self::Malformed { .. } | Self::KeyChange { .. } => Category::Incorrect,
            Self::Fault { .. } | Self::Protocol { .. } | Self::OtherVersion { .. } => {
                Category::Fault
            }
        }
    }
}

/// A refusal as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refused {
    OverBudget { principal: PrincipalId, window: Window, limit: u32 },
    Suspended { principal: PrincipalId },
    NotSignedIn,
    Throttled { wait_seconds: u64 },
    NotPermitted(NotPermitted),
    Taken,
    UnknownPrincipal,
    UnknownGrant,
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

/// Why somebody may not do something at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NotPermitted {
    /// The role does not do this.
    Role,
    /// It concerns another organization.
    OtherOrganization,
    /// There is an administrator: nothing is left to set up.
    AlreadySetUp,
    /// The first principal is an administrator.
    FirstIsAdministrator,
    /// There are principals already: nothing is imported.
    NotEmpty,
    /// Nobody could administer the exchange any more.
    LastAdministrator,
    /// The organization that runs the exchange is not suspended.
    RunsTheExchange,
    /// Bulk work without a bulk grant that lives.
    NoBulkGrant,
}

impl NotPermitted {
    /// As it stands in entries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Role => "task-not-for-role",
            Self::OtherOrganization => "other-organization",
            Self::AlreadySetUp => "already-set-up",
            Self::FirstIsAdministrator => "first-is-administrator",
            Self::NotEmpty => "not-empty",
            Self::LastAdministrator => "last-administrator",
            Self::RunsTheExchange => "runs-the-exchange",
            Self::NoBulkGrant => NO_BULK_GRANT,
        }
    }
}

/// Reason of a refusal: bulk work without a bulk grant that lives.
pub const NO_BULK_GRANT: &str = "no-bulk-grant";

impl From<NotPermitted> for Refused {
    fn from(why: NotPermitted) -> Self {
        Self::NotPermitted(why)
    }
}

/// What nobody may do for himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OwnCase {
    RaiseBudget,
    LiftSuspension,
    ApproveGrant,
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
    Principal,
    SharedName,
    Grant,
    Inbox,
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
            Refused::NotSignedIn => Self::NotSignedIn,
            Refused::Throttled { wait_seconds } => Self::Throttled { wait_seconds },
            Refused::NotPermitted(why) => Self::NotPermitted { reason: why.as_str() },
            Refused::Taken => Self::Taken,
            Refused::UnknownPrincipal => Self::UnknownPrincipal,
            Refused::UnknownGrant => Self::UnknownGrant,
            Refused::UnknownPatient => Self::UnknownPatient,
            Refused::ForgottenPatient => Self::ForgottenPatient,
            Refused::UnknownOrganization => Self::UnknownOrganization,
            Refused::Entry { kind } => Self::EntryRefused { kind },
            Refused::OwnCase(case) => Self::OwnCase {
                act: match case {
                    OwnCase::RaiseBudget => "raise a budget",
                    OwnCase::LiftSuspension => "lift a suspension",
                    OwnCase::ApproveGrant => "approve a grant",
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
                    Malformed::Principal => {
                        "a person has a known role and no certificate, a system has one, and some names \
                         are the keeper's"
                    }
                    Malformed::SharedName => {
                        "an account belongs to one person or one system: this name is one that many \
                         share"
                    }
                    Malformed::Grant => "a grant has patients, and ends within seven days",
                    Malformed::Inbox => "a kept payload does not open",
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
