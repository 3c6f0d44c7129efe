//! What can go wrong on the one path, and whose fault it is.

use holdfast_base::{Category, OrganizationId};
use holdfast_fhir::Issue;
use holdfast_keeper::{KeeperError, SealError};

/// An operation of the exchange did not succeed. No variant carries PHI; the
/// doors render it for the caller, and the wiring logs it once.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nobody is signed in, or the credentials, token or certificate are wrong.
    /// One variant for all of it: which part was wrong is nobody's business.
    #[error("sign in with a user name, password and code that belong together")]
    NotSignedIn,
    /// Too many wrong attempts; the account waits.
    #[error("too many failed attempts; wait {wait_seconds} seconds and try again")]
    Throttled {
        /// How long the next attempt has to wait.
        wait_seconds: u64,
    },
    /// The account is suspended by the machine or by the privacy office.
    #[error("this account is suspended; ask your privacy office")]
    Suspended,
    /// The caller's role or purpose does not allow the act, whomever it concerns.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// Reason code of the policy.
        reason: &'static str,
    },
    /// It is not there, or the caller may not learn whether it is.
    #[error("there is no such resource that you may see")]
    NotFound,
    /// It was there and was deleted.
    #[error("the resource was deleted")]
    Gone,
    /// The request is wrong; each issue names its place.
    #[error("the request has {} problem(s)", .0.len())]
    Invalid(Vec<Issue>),
    /// One entry of a request cannot be carried out, and with it the whole request.
    #[error("{place} {text}")]
    EntryRefused {
        /// What kind of refusal it is: a name for lists and doors.
        category: &'static str,
        /// The element.
        place: String,
        /// What is wrong with it.
        text: &'static str,
    },
    /// It clashes with what is stored, and did so on every retry.
    #[error("the stored version is another one than the request expects")]
    Conflict,
    /// The caller asked for more patients than the budget allows.
    #[error("the budget of {limit} patients a {window} is used up; your privacy office was told")]
    OverBudget {
        /// `minute`, `hour`, `day`, or `grant`.
        window: &'static str,
        /// Distinct patients allowed in it.
        limit: u32,
    },
    /// The keeper does not answer: nothing can be opened.
    #[error("the keeper does not answer; no record can be opened until it does")]
    KeeperAway,
    /// The index over all patients of the organization is not complete yet.
    #[error("the index over all patients is being built; try again later")]
    IndexUnfinished,
    /// An organization of this name exists already, or a setting is wrong.
    #[error("{0}")]
    Setting(&'static str),
    /// The organization is not on this exchange.
    #[error("there is no organization {0} on this exchange")]
    NoOrganization(OrganizationId),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store's database does not answer at the moment.
    #[error("the store's database does not answer; try again")]
    StoreAway,
    /// The keeper failed.
    #[error("the keeper failed")]
    Keeper(#[source] KeeperError),
    /// What was sealed does not open: damaged, moved or sealed under another key.
    #[error("a sealed row does not open")]
    Damaged(#[source] SealError),
    /// The ledger and the store disagree about what was acknowledged.
    #[error(
        "the store lacks transactions that the ledger acknowledged: it ends at {store}, the ledger saw {ledger}"
    )]
    LostCommits {
        /// Last transaction of the store.
        store: u64,
        /// Last transaction in the ledger.
        ledger: u64,
    },
    /// The check found that the store is not what was written.
    #[error("the store is damaged: nothing is served until it was restored")]
    StoreDamaged,
    /// A backup was not made.
    #[error("{0}")]
    Backup(#[from] holdfast_backup::BackupError),
    /// A defect of ours.
    #[error("internal fault: {0}")]
    Internal(&'static str),
}

impl ExchangeError {
    /// Whose fault it is; the doors map it to status codes, once.
    pub fn category(&self) -> Category {
        match self {
            Self::NotSignedIn | Self::Suspended | Self::NotPermitted { .. } => Category::Forbidden,
            Self::NotFound | Self::Gone | Self::NoOrganization(_) => Category::NotFound,
            Self::Invalid(_) | Self::Setting(_) | Self::EntryRefused { .. } => Category::Incorrect,
            Self::Conflict => Category::Conflict,
            Self::Throttled { .. }
            | Self::OverBudget { .. }
            | Self::KeeperAway
            | Self::StoreAway
            | Self::IndexUnfinished => Category::Busy,
            Self::Backup(error) => error.category(),
            Self::Store(_)
            | Self::Keeper(_)
            | Self::Damaged(_)
            | Self::LostCommits { .. }
            | Self::StoreDamaged
            | Self::Internal(_) => Category::Fault,
        }
    }

    pub(crate) fn store(error: impl StoreError) -> Self {
        if error.is_away() { Self::StoreAway } else { Self::Store(Box::new(error)) }
    }
}

/// What the store may answer instead of a result.
pub(crate) trait StoreError: std::error::Error + Send + Sync + 'static {
    /// Whether it is away and may come back.
    fn is_away(&self) -> bool;
}

impl StoreError for holdfast_store::ReadError {
    fn is_away(&self) -> bool {
        self.category() == Category::Busy
    }
}

impl StoreError for holdfast_store::CommitError {
    fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }
}

impl StoreError for holdfast_store::OpenError {
    fn is_away(&self) -> bool {
        false
    }
}

impl From<KeeperError> for ExchangeError {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Unreachable
            | KeeperError::TimedOut
            | KeeperError::GuardAway { .. }
            | KeeperError::LedgerRefused { .. } => Self::KeeperAway,
            KeeperError::OverBudget { window, limit, .. } => Self::OverBudget { window, limit },
            KeeperError::Suspended { .. } => Self::Suspended,
            KeeperError::NotSignedIn => Self::NotSignedIn,
            KeeperError::Throttled { wait_seconds } => Self::Throttled { wait_seconds },
            KeeperError::NotPermitted { reason } => Self::NotPermitted { reason },
            KeeperError::OwnCase { .. } => Self::NotPermitted { reason: "own-case" },
            KeeperError::Taken => Self::Setting("the sign-in name or the certificate is taken"),
            KeeperError::Malformed { what } => Self::Setting(what),
            KeeperError::UnknownPatient
            | KeeperError::ForgottenPatient
            | KeeperError::UnknownOrganization
            | KeeperError::UnknownPrincipal
            | KeeperError::UnknownGrant => Self::NotFound,
            other => Self::Keeper(other),
        }
    }
}

impl From<SealError> for ExchangeError {
    fn from(error: SealError) -> Self {
        Self::Damaged(error)
    }
}
