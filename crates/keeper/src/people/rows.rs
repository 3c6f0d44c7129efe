//! Principals and sessions on disk: sealed rows beside the key table.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `principals` | principal | [`PrincipalRow`] as JSON, sealed |
//! | `sessions` | session (16 bytes) | [`SessionRow`] as JSON, sealed |

use std::collections::HashMap;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use holdfast_base::{OrganizationId, PrincipalId, SessionId, Timestamp};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{NewPrincipal, SessionFacts, password};
use crate::keyring::Keys;
use crate::primitive::place;
use crate::table::TableError;

/// How a principal shows who it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Password and code.
    Person { password_hash: String, totp_secret: String },
    /// SHA-256 of a client certificate. Its TLS ends in the front process, which
    /// vouches for it.
    System { certificate: [u8; 32] },
}

/// A principal as it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrincipalRow {
    pub layout: u8,
    pub id: PrincipalId,
    pub organization: OrganizationId,
    pub role: String,
    pub kind: Kind,
    pub created: Timestamp,
    pub closed: bool,
}

/// Role of whoever makes the others.
pub(crate) const ADMINISTRATOR: &str = "administrator";
/// The layout that is written; another one is damage.
const LAYOUT: u8 = 1;

impl PrincipalRow {
    pub fn new(new: &NewPrincipal, kind: Kind, created: Timestamp) -> Self {
        Self {
            layout: LAYOUT,
            id: new.id.clone(),
            organization: new.organization.clone(),
            role: new.role.clone(),
            kind,
            created,
            closed: false,
        }
    }

    /// Whether `password` is the person's. Slow on purpose.
    pub fn password_fits(&self, shown: &str) -> bool {
        match &self.kind {
            Kind::Person { password_hash, .. } => password::fits(shown, password_hash),
            Kind::System { .. } => false,
        }
    }

    pub fn totp_secret(&self) -> &str {
        match &self.kind {
            Kind::Person { totp_secret, .. } => totp_secret,
            Kind::System { .. } => "",
        }
    }
}

impl Kind {
    /// The secrets of an older exchange, when they are whole.
    pub fn imported(imported: &super::ImportedPrincipal) -> Option<Self> {
        match (&imported.principal.certificate, &imported.password_hash, &imported.totp_secret) {
            (Some(certificate), None, None) => Some(Self::System { certificate: *certificate }),
            (None, Some(hash), Some(totp)) if password::is_hash(hash) => {
                Some(Self::Person { password_hash: hash.clone(), totp_secret: totp.clone() })
            }
            _ => None,
        }
    }
}

/// How a session came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SessionKind {
    /// By password and the code of this time step.
    Person { step: i64 },
    /// The front process vouched for a system.
    Vouched,
}

/// A session as it is kept: ended ones, too, until they would have ended anyhow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub layout: u8,
    pub id: SessionId,
    pub digest: [u8; 32],
    pub principal: PrincipalId,
    pub organization: OrganizationId,
    pub role: String,
    pub address: Option<String>,
    pub opened: Timestamp,
    pub expires: Timestamp,
    pub kind: SessionKind,
    pub ended: bool,
}

impl SessionRow {
    pub const LAYOUT: u8 = LAYOUT;

    pub fn facts(&self) -> SessionFacts {
        SessionFacts {
            session: self.id,
            principal: self.principal.clone(),
            organization: self.organization.clone(),
            role: self.role.clone(),
            address: self.address.clone(),
            expires: self.expires,
        }
    }
}

/// A row to be written.
pub(crate) enum Row {
    Principal(Box<PrincipalRow>),
    Session(Box<SessionRow>),
    DropSession(SessionId),
}

/// The rows, and every principal in memory.
pub(crate) struct People {
    database: Database,
    principals: Keyspace,
    sessions: Keyspace,
    seal: Keys,
    known: RwLock<HashMap<PrincipalId, Arc<PrincipalRow>>>,
}

impl People {
    /// Opens the rows. `is_told` says whether the ledger knows that a principal was
    /// made: one that it does not know was never given its secrets, and is left out.
    pub fn open(
        database: &Database,
        seal: Keys,
        is_told: impl Fn(&PrincipalId) -> bool,
    ) -> Result<Self, TableError> {
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (principals, sessions) = (keyspace("principals")?, keyspace("sessions")?);
        let people = Self {
            database: database.clone(),
            principals,
            sessions,
            seal,
            known: RwLock::default(),
        };
        let mut known = HashMap::new();
        for row in people.principals.iter() {
            let (key, sealed) = row.into_inner()?;
            let row: PrincipalRow = people.unseal("principal", &key, &sealed)?;
            let fits = row.layout == LAYOUT && row.id.as_str().as_bytes() == &key[..];
            if !fits {
                return Err(TableError::Damaged { row: "principal" });
            }
            if is_told(&row.id) {
                known.insert(row.id.clone(), Arc::new(row));
            }
        }
        *people.known.write() = known;
        Ok(people)
    }

    /// Every session that is kept.
    pub fn sessions(&self) -> Result<Vec<SessionRow>, TableError> {
        let mut rows = Vec::new();
        for row in self.sessions.iter() {
            let (key, sealed) = row.into_inner()?;
            let row: SessionRow = self.unseal("session", &key, &sealed)?;
            if row.layout != LAYOUT || row.id.as_bytes() != &key[..] {
                return Err(TableError::Damaged { row: "session" });
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Writes `rows` as one batch. Durable on return. Principals are known to
    /// others only after [`learn`](Self::learn).
    pub fn write(&self, rows: &[&Row]) -> Result<(), TableError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for row in rows {
            match row {
                Row::Principal(row) => {
                    let key = row.id.as_str().as_bytes();
                    batch.insert(&self.principals, key, self.sealed("principal", key, row)?);
                }
                Row::Session(row) => {
                    let key = row.id.as_bytes();
                    let sealed = self.sealed("session", key, row)?;
                    batch.insert(&self.sessions, key.as_slice(), sealed);
                }
                Row::DropSession(id) => batch.remove(&self.sessions, id.as_bytes().as_slice()),
            }
        }
        Ok(batch.commit()?)
    }

    /// Takes a principal whose row and entry are durable.
    pub fn learn(&self, row: PrincipalRow) {
        self.known.write().insert(row.id.clone(), Arc::new(row));
    }

    /// A principal, closed or not.
    pub fn get(&self, id: &PrincipalId) -> Option<Arc<PrincipalRow>> {
        self.known.read().get(id).cloned()
    }

    /// A principal that is not closed.
    pub fn open_one(&self, id: &PrincipalId) -> Option<Arc<PrincipalRow>> {
        self.get(id).filter(|row| !row.closed)
    }

    /// The system that has a certificate.
    pub fn of_certificate(&self, sha256: &[u8; 32]) -> Option<Arc<PrincipalRow>> {
        let known = self.known.read();
        let has = |row: &&Arc<PrincipalRow>| {
            !row.closed && row.kind == Kind::System { certificate: *sha256 }
        };
        known.values().find(has).cloned()
    }

    /// Whether nobody was ever made.
    pub fn is_empty(&self) -> bool {
        self.known.read().is_empty()
    }

    pub fn has_administrator(&self) -> bool {
        self.any_administrator(|_| true)
    }

    /// Whether there is an administrator besides `principal`.
    pub fn has_other_administrator(&self, principal: &PrincipalId) -> bool {
        self.any_administrator(|row| row.id != *principal)
    }

    /// Whether `organization` runs the exchange: where its administrators are.
    pub fn runs_exchange(&self, organization: &OrganizationId) -> bool {
        self.any_administrator(|row| row.organization == *organization)
    }

    fn any_administrator(&self, fits: impl Fn(&PrincipalRow) -> bool) -> bool {
        let known = self.known.read();
        known.values().any(|row| !row.closed && row.role == ADMINISTRATOR && fits(row))
    }

    fn sealed(&self, what: &str, key: &[u8], row: &impl Serialize) -> Result<Vec<u8>, TableError> {
        let plain = serde_json::to_vec(row).map(Zeroizing::new);
        let plain = plain.map_err(|_| TableError::Damaged { row: "people" })?;
        Ok(self.seal.seal(&row_place(what, key), &plain))
    }

    fn unseal<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<T, TableError> {
        let damaged = || TableError::Damaged { row: what };
        let plain = self.seal.open(&row_place(what, key), sealed).map(Zeroizing::new);
        serde_json::from_slice(&plain.map_err(|_| damaged())?).map_err(|_| damaged())
    }
}

fn row_place(what: &str, key: &[u8]) -> Vec<u8> {
    place("holdfast/v1/people", &[what.as_bytes(), key])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::Secret;

    fn person(name: &str) -> PrincipalRow {
        let new = NewPrincipal {
            id: PrincipalId::new(name).expect("a valid name"),
            organization: OrganizationId::new("lakeside").expect("a valid name"),
            role: "administrator".to_owned(),
            certificate: None,
        };
        let kind = Kind::Person { password_hash: "x".to_owned(), totp_secret: "y".to_owned() };
        PrincipalRow::new(&new, kind, Timestamp::from_millis(0))
    }

    #[test]
    fn rows_survive_and_do_not_open_in_another_place() {
        let folder = tempfile::tempdir().expect("temp dir");
        let database = Database::builder(folder.path()).open().expect("opens");
        let secret = Secret::random();
        let key = || Keys::first(secret.clone());
        let people = People::open(&database, key(), |_| true).expect("opens");
        let row = Row::Principal(Box::new(person("dr.okafor")));
        people.write(&[&row]).expect("writes");
        assert!(people.is_empty(), "not known before its entry is durable");
        let people = People::open(&database, key(), |_| true).expect("opens");
        assert!(people.has_administrator());
        let untold = People::open(&database, key(), |_| false).expect("opens");
        assert!(untold.is_empty(), "the ledger does not know it");
        let sealed = people.principals.get("dr.okafor").expect("reads").expect("is there");
        people.principals.insert("dr.other", sealed).expect("writes");
        let moved = People::open(&database, key(), |_| true);
        assert!(matches!(moved, Err(TableError::Damaged { row: "principal" })));
    }
}
