//! Accounts: each is one person or one system (P6). Names that several people
//! would share are refused; secrets are kept as Argon2id hashes and, for systems,
//! as the fingerprint of a certificate.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_base::{OrganizationId, PatientId, PrincipalId, Sensitive, Timestamp, fill_random};
use holdfast_ledger::Event;
use holdfast_policy::{Principal, Role, Task};
use serde::{Deserialize, Serialize};

use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, Caller, ExchangeError};

/// Names under which nobody in particular signs in. `tester` opened the breach
/// of 2015.
const SHARED_NAMES: [&str; 22] = [
    "admin",
    "administrator",
    "clinic",
    "default",
    "demo",
    "dev",
    "doctor",
    "frontdesk",
    "generic",
    "guest",
    "hospital",
    "info",
    "lab",
    "nurse",
    "office",
    "reception",
    "root",
    "shared",
    "test",
    "tester",
    "testing",
    "user",
];

/// What an account is made from.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Sign-in name: a person's own, `dr.okafor`, or a system's, `interface:lab`.
    pub id: PrincipalId,
    /// The person's or system's name on screens.
    pub display_name: String,
    /// The organization that it works for.
    pub organization: OrganizationId,
    /// Its role there.
    pub role: Role,
    /// National Provider Identifier, for clinicians: ties them to their patients.
    pub npi: Option<String>,
    /// SHA-256 fingerprint of the client certificate, for systems only.
    pub certificate: Option<[u8; 32]>,
    /// For patients: whose record it is.
    pub patient: Option<(OrganizationId, PatientId)>,
}

/// The secrets of a new account. Shown once, kept nowhere.
pub struct Enrollment {
    /// Sign-in name.
    pub id: PrincipalId,
    /// The password; empty for systems, which show a certificate.
    pub password: Sensitive<String>,
    /// TOTP secret (RFC 6238), base 32.
    pub totp_secret: Sensitive<String>,
}

/// What others may know of an account.
#[derive(Debug, Clone)]
pub struct AccountView {
    /// Sign-in name.
    pub id: PrincipalId,
    /// Name on screens.
    pub display_name: String,
    /// Organization.
    pub organization: OrganizationId,
    /// Role.
    pub role: Role,
    /// Whether it is suspended, and why.
    pub suspended: Option<String>,
}

/// An account as it is kept (sealed).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub id: PrincipalId,
    pub display_name: String,
    pub organization: OrganizationId,
    pub role: Role,
    pub npi: Option<String>,
    pub patient: Option<(OrganizationId, PatientId)>,
    pub password_hash: Option<String>,
    pub totp_secret: Option<String>,
    pub certificate: Option<[u8; 32]>,
    pub created: Timestamp,
    pub suspended: Option<String>,
}

impl Account {
    pub fn principal(&self) -> Principal {
        Principal {
            id: self.id.clone(),
            organization: self.organization.clone(),
            role: self.role,
            patient: self.patient.clone(),
        }
    }

    fn view(&self) -> AccountView {
        AccountView {
            id: self.id.clone(),
            display_name: self.display_name.clone(),
            organization: self.organization.clone(),
            role: self.role,
            suspended: self.suspended.clone(),
        }
    }

    /// Whether `password` is the account's. Slow on purpose.
    pub fn password_fits(&self, password: &str) -> bool {
        let hash = self.password_hash.as_deref().and_then(|text| PasswordHash::new(text).ok());
        hash.is_some_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

/// Argon2id, 19 MiB, 2 passes, 1 lane: the first choice of OWASP's password
/// storage sheet. Takes as long for an unknown name as for a known one.
fn hasher() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Spends the time that checking a password takes.
pub(crate) fn pretend_to_check(password: &str) {
    let _ = hasher().hash_password_with_salt(password.as_bytes(), b"nobody's salt 16");
}

/// A random password of about 100 bits, in groups that can be read aloud.
fn strong_password() -> String {
    let mut random = [0; 13];
    fill_random(&mut random);
    let letters = data_encoding::BASE32_NOPAD.encode(&random).to_lowercase();
    let groups: Vec<&str> = (0..20).step_by(5).map(|at| &letters[at..at + 5]).collect();
    groups.join("-")
}

fn totp_secret() -> String {
    let mut random = [0; 20];
    fill_random(&mut random);
    data_encoding::BASE32_NOPAD.encode(&random)
}

impl Exchange {
    /// Makes an account and gives its secrets out, once.
    ///
    /// # Errors
    /// [`ExchangeError::Setting`] for a name that several people would share, a
    /// name that is taken, or a system without a certificate;
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator.
    pub async fn create_account(
        &self,
        ask: &Ask,
        new: NewAccount,
    ) -> Result<Enrollment, ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        self.organization(&new.organization)?;
        if is_shared_name(new.id.as_str()) {
            return Err(ExchangeError::Setting(
                "an account belongs to one person or one system: this name is one that many share",
            ));
        }
        if (new.role == Role::System) != new.certificate.is_some() {
            return Err(ExchangeError::Setting(
                "systems, and only systems, sign in by certificate",
            ));
        }
        let is_system = new.role == Role::System;
        let (password, secret) =
            if is_system { Default::default() } else { (strong_password(), totp_secret()) };
        let password_hash = if is_system { None } else { Some(hash_off_thread(&password).await?) };
        let account = Account {
            id: new.id.clone(),
            display_name: new.display_name,
            organization: new.organization,
            role: new.role,
            npi: new.npi,
            patient: new.patient,
            password_hash,
            totp_secret: (!is_system).then(|| secret.clone()),
            certificate: new.certificate,
            created: self.now(),
            suspended: None,
        };
        if !self.insert_account(account.clone()) {
            return Err(ExchangeError::Setting("the sign-in name is taken"));
        }
        self.save_system(Kind::Account, account.id.as_str(), &account).await?;
        let event = Event::AccountChange {
            account: account.id.clone(),
            change: "created".into(),
            role: account.role.as_str().into(),
        };
        self.keeper().append(vec![ask.entry(self.now(), event)]).await?;
        Ok(Enrollment { id: account.id, password: password.into(), totp_secret: secret.into() })
    }

    /// The accounts of an organization, or of all, by name.
    pub fn account_views(&self, ask: &Ask) -> Vec<AccountView> {
        let everything = matches!(
            ask.caller.role(),
            Role::Administrator | Role::SecurityOfficer | Role::PrivacyOfficer
        );
        let staff = !matches!(ask.caller.role(), Role::Patient | Role::System);
        let mut views: Vec<_> = self
            .accounts()
            .filter(|a| everything || (staff && a.organization == *ask.caller.organization()))
            .map(|account| account.view())
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// A caller that sets a new exchange up. It exists as long as there is no
    /// administrator's account; nobody can come by it afterwards.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] once an administrator exists.
    pub fn set_up(&self, operator: PrincipalId) -> Result<Caller, ExchangeError> {
        if self.accounts().any(|account| account.role == Role::Administrator) {
            return Err(ExchangeError::NotPermitted { reason: "already-set-up" });
        }
        let organization = OrganizationId::new("exchange")
            .map_err(|_| ExchangeError::Internal("the exchange has a valid name"))?;
        Ok(Caller {
            principal: Principal {
                id: operator,
                organization,
                role: Role::Administrator,
                patient: None,
            },
            display_name: "Set-up".into(),
            npi: None,
            session: holdfast_base::SessionId::random(),
            address: None,
        })
    }
}

async fn hash_off_thread(password: &str) -> Result<String, ExchangeError> {
    let password = password.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut salt = [0; 16];
        fill_random(&mut salt);
        hasher().hash_password_with_salt(password.as_bytes(), &salt).map(|hash| hash.to_string())
    })
    .await
    .ok()
    .and_then(Result::ok)
    .ok_or(ExchangeError::Internal("the password could not be hashed"))
}

/// Whether the name, digits and the part after `@` aside, is one of those that
/// are handed around.
fn is_shared_name(id: &str) -> bool {
    let name = id.split('@').next().unwrap_or(id);
    let letters: String = name.chars().filter(|c| c.is_ascii_lowercase()).collect();
    SHARED_NAMES.contains(&letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p06_names_that_many_share_are_refused() {
        for shared in ["tester", "test1", "admin", "front-desk@lakeside", "user_2", "guest"] {
            assert!(is_shared_name(shared), "{shared}");
        }
        for own in ["dr.amara.okafor", "interface:lab", "testa.rossa", "nurse.joy"] {
            assert!(!is_shared_name(own), "{own}");
        }
    }

    #[test]
    fn passwords_are_long_and_never_alike() {
        let (a, b) = (strong_password(), strong_password());
        assert_ne!(a, b);
        assert_eq!(a.len(), 23);
    }
}
