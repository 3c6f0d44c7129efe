//! Accounts: each is one person or one system (P6). What is shown of them is kept
//! here; their secrets, and which role counts, are the keeper's.

use holdfast_base::{OrganizationId, PatientId, PrincipalId, Sensitive, Timestamp};
use holdfast_keeper::{ImportedPrincipal, KeeperError, NewPrincipal, Secrets};
use holdfast_policy::{Principal, Role, Task};
use holdfast_store::Transaction;
use serde::{Deserialize, Serialize};

use crate::caller::Shown;
use crate::state::Exchange;
use crate::system::Kind;
use crate::{Ask, Caller, ExchangeError};

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
    /// Whether it was closed for good.
    pub closed: bool,
    /// National Provider Identifier.
    pub npi: Option<String>,
    /// SHA-256 fingerprint of a system's client certificate.
    pub certificate: Option<[u8; 32]>,
    /// When it was made.
    pub created: Timestamp,
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
    /// Of accounts that an older exchange made; the keeper takes them over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp_secret: Option<String>,
    pub certificate: Option<[u8; 32]>,
    pub created: Timestamp,
    pub suspended: Option<String>,
    /// Closed for good.
    #[serde(default)]
    pub closed: bool,
    /// Whether the keeper knows it. A row that says no was written before the keeper was
    /// asked, so that one that was interrupted can be gone on with; it counts as nobody.
    #[serde(default = "enrolled")]
    pub enrolled: bool,
}

fn enrolled() -> bool {
    true
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

    /// Whether making `other` is making this one.
    fn is_same(&self, other: &Self) -> bool {
        !self.enrolled && self.organization == other.organization && self.role == other.role
    }

    fn view(&self) -> AccountView {
        AccountView {
            id: self.id.clone(),
            display_name: self.display_name.clone(),
            organization: self.organization.clone(),
            role: self.role,
            suspended: self.suspended.clone(),
            closed: self.closed,
            npi: self.npi.clone(),
            certificate: self.certificate,
            created: self.created,
        }
    }

    /// As the keeper takes it over.
    fn imported(&self) -> ImportedPrincipal {
        let role = self.role.as_str().to_owned();
        ImportedPrincipal {
            principal: NewPrincipal {
                id: self.id.clone(),
                organization: self.organization.clone(),
                role,
                certificate: self.certificate,
            },
            password_hash: self.password_hash.clone(),
            totp_secret: self.totp_secret.clone(),
        }
    }
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
        if (new.role == Role::System) != new.certificate.is_some() {
            return Err(ExchangeError::Setting(
                "systems, and only systems, sign in by certificate",
            ));
        }
        let principal = NewPrincipal {
            id: new.id.clone(),
            organization: new.organization.clone(),
            role: new.role.as_str().to_owned(),
            certificate: new.certificate,
        };
        if self.account(&new.id).is_some() {
            return Err(KeeperError::Taken.into());
        }
        let proof = self.proof_of(&ask.caller).await?;
        let begun: Option<Account> = self.load_system(Kind::Account, new.id.as_str())?;
        let account = Account {
            id: new.id,
            display_name: new.display_name,
            organization: new.organization,
            role: new.role,
            npi: new.npi,
            patient: new.patient,
            password_hash: None,
            totp_secret: None,
            certificate: new.certificate,
            created: self.now(),
            suspended: None,
            closed: false,
            enrolled: false,
        };
        self.save_system(Kind::Account, account.id.as_str(), &account).await?;
        let secrets = match self.keeper().enrol(&proof, &principal).await {
            // It was made, and what came after was interrupted: nobody has its secrets.
            Err(KeeperError::Taken) if begun.is_some_and(|begun| begun.is_same(&account)) => {
                self.keeper().reset_secrets(&proof, &account.id, account.certificate).await?
            }
            Err(error) => {
                let row = self.no_system_row(Kind::Account, account.id.as_str());
                self.commit(Transaction { rows: vec![row], ..Transaction::default() }).await?;
                return Err(error.into());
            }
            Ok(secrets) => secrets,
        };
        self.enrolled(account, secrets).await
    }

    /// Keeps an account whose secrets the keeper has just made; gives those out.
    async fn enrolled(
        &self,
        account: Account,
        secrets: Secrets,
    ) -> Result<Enrollment, ExchangeError> {
        let account = Account { enrolled: true, ..account };
        self.save_system(Kind::Account, account.id.as_str(), &account).await?;
        self.replace_account(account.clone());
        Ok(Enrollment {
            id: account.id,
            password: secrets.password,
            totp_secret: secrets.totp_secret,
        })
    }

    /// Gives an administrator new secrets, by the passphrase or PIN that opens the root:
    /// for an exchange whose administrators have all lost theirs, or whose setting up was
    /// interrupted.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] for a wrong passphrase and for whoever is no
    /// administrator, [`ExchangeError::NotFound`].
    pub async fn recover_administrator(
        &self,
        secret: &[u8],
        principal: &PrincipalId,
    ) -> Result<Enrollment, ExchangeError> {
        let account: Option<Account> = self.load_system(Kind::Account, principal.as_str())?;
        let account = account.ok_or(ExchangeError::NotFound)?;
        let secrets = match self.keeper().recover_administrator(secret, principal).await {
            Err(KeeperError::WrongPassphrase) => {
                return Err(ExchangeError::NotPermitted { reason: "wrong-passphrase" });
            }
            secrets => secrets?,
        };
        self.end_sessions(principal);
        self.enrolled(account, secrets).await
    }

    /// Gives a person new secrets, shown once, or a system another certificate. Sessions
    /// end.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator,
    /// [`ExchangeError::NotFound`].
    pub async fn reset_secrets(
        &self,
        ask: &Ask,
        principal: &PrincipalId,
        certificate: Option<[u8; 32]>,
    ) -> Result<Enrollment, ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        let account = self.account(principal).ok_or(ExchangeError::NotFound)?;
        if (account.role == Role::System) != certificate.is_some() {
            return Err(ExchangeError::Setting(
                "systems, and only systems, sign in by certificate",
            ));
        }
        let proof = self.proof_of(&ask.caller).await?;
        let secrets = self.keeper().reset_secrets(&proof, principal, certificate).await?;
        self.end_sessions(principal);
        self.enrolled(Account { certificate, ..account }, secrets).await
    }

    /// Closes an account for good. Sessions end; the name is never given again.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] unless the caller is an administrator,
    /// [`ExchangeError::NotFound`].
    pub async fn close_account(
        &self,
        ask: &Ask,
        principal: &PrincipalId,
    ) -> Result<(), ExchangeError> {
        self.require_task(ask, Task::Accounts).await?;
        let mut account = self.account(principal).ok_or(ExchangeError::NotFound)?;
        let proof = self.proof_of(&ask.caller).await?;
        self.keeper().close_principal(&proof, principal).await?;
        self.end_sessions(principal);
        account.certificate = None;
        account.closed = true;
        self.save_system(Kind::Account, principal.as_str(), &account).await?;
        self.replace_account(account);
        Ok(())
    }

    fn end_sessions(&self, principal: &PrincipalId) {
        for session in self.sessions().revoke(principal) {
            self.keyring().drop_session(session, self.now());
        }
    }

    /// Hands the secrets that an older exchange kept itself to the keeper, once, and
    /// keeps them no longer.
    pub(crate) async fn move_secrets(&self) -> Result<(), ExchangeError> {
        let accounts: Vec<Account> = self.accounts().collect();
        if accounts.iter().all(|account| account.password_hash.is_none()) {
            return Ok(());
        }
        match self.keeper().import(accounts.iter().map(Account::imported).collect()).await {
            // They were handed over already; a crash came before they were deleted here.
            Ok(()) | Err(KeeperError::NotPermitted { reason: "not-empty" }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut rows = Vec::new();
        for account in accounts {
            let account = Account { password_hash: None, totp_secret: None, ..account };
            rows.push(self.system_row(Kind::Account, account.id.as_str(), &account)?);
            self.replace_account(account);
        }
        self.commit(Transaction { rows, ..Transaction::default() }).await?;
        tracing::warn!("the secrets of all accounts were handed to the keeper");
        Ok(())
    }

    /// The accounts of the caller's organization, by name; to the office of those who
    /// run the exchange, of all.
    pub fn account_views(&self, ask: &Ask) -> Vec<AccountView> {
        let office = matches!(
            ask.caller.role(),
            Role::Administrator | Role::SecurityOfficer | Role::PrivacyOfficer
        );
        let everything = office && self.within_reach(ask, None).is_ok_and(|own| own.is_none());
        let staff = !matches!(ask.caller.role(), Role::Patient | Role::System);
        let mut views: Vec<_> = self
            .accounts()
            .filter(|a| everything || (staff && a.organization == *ask.caller.organization()))
            .map(|account| account.view())
            .collect();
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// A caller that sets a new exchange up: it may make the organization that runs the
    /// exchange and its first administrator. The keeper hears it until there is one.
    ///
    /// # Errors
    /// [`ExchangeError::NotPermitted`] once an administrator exists.
    pub fn set_up(&self, operator: PrincipalId) -> Result<Caller, ExchangeError> {
        let administers = |a: Account| a.role == Role::Administrator && !a.closed;
        if self.accounts().any(administers) {
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
            shown: Shown::SetUp,
        })
    }
}
