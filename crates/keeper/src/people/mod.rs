//! Who may ask the keeper: principals with their secrets, and the sessions that
//! prove who somebody is.
//!
//! Invariants:
//! - a secret is kept as an Argon2id hash, a TOTP secret or a fingerprint, in a
//!   row that is sealed and bound to its place; a session as SHA-256 of its token;
//! - a principal counts only when the ledger says that it was made;
//! - nothing here decides: the scribe does, and rows are durable before its entry.

mod names;
mod password;
mod rows;
pub(crate) mod throttle;
mod token;
pub mod totp;

pub(crate) use names::{is_reserved, is_shared};
pub(crate) use password::{hash, pretend_to_check, strong_password, totp_secret};
pub(crate) use rows::{ADMINISTRATOR, Kind, People, PrincipalRow, Row, SessionKind, SessionRow};
pub(crate) use throttle::Throttle;
pub use token::{Proof, SessionToken, Who};

use holdfast_base::{OrganizationId, PrincipalId, Sensitive, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a principal is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPrincipal {
    /// Sign-in name of a person, name of a system.
    pub id: PrincipalId,
    /// The organization that it works for.
    pub organization: OrganizationId,
    /// Its role there: budget and rules follow from it.
    pub role: String,
    /// For systems: SHA-256 of the client certificate. Nothing: a person.
    pub certificate: Option<[u8; 32]>,
}

/// The secrets of a person, made by the keeper. Shown once; systems have none.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// The password.
    pub password: Sensitive<String>,
    /// TOTP secret (RFC 6238), base 32.
    pub totp_secret: Sensitive<String>,
}

/// A principal as an older exchange kept it, with hashes and secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedPrincipal {
    /// Who.
    pub principal: NewPrincipal,
    /// Argon2id hash of a person's password, as PHC text.
    pub password_hash: Option<String>,
    /// A person's TOTP secret, base 32.
    pub totp_secret: Option<String>,
}

impl std::fmt::Debug for ImportedPrincipal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ImportedPrincipal({})", self.principal.id)
    }
}

/// What the keeper knows of a live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFacts {
    /// The session, as it stands in ledger entries.
    pub session: SessionId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// The organization that the principal works for.
    pub organization: OrganizationId,
    /// Its role there.
    pub role: String,
    /// The address that it was opened from.
    pub address: Option<String>,
    /// When it ends at the latest.
    pub expires: Timestamp,
}

/// A session that was just opened.
#[derive(Debug)]
pub struct OpenedSession {
    /// The secret that proves it: the bearer token.
    pub token: SessionToken,
    /// Whose it is.
    pub facts: SessionFacts,
}
