//! Asking a keeper about its keys, and changing them. Each change carries the
//! passphrase or PIN that opens the root: the socket alone is not enough.

use std::path::Path;
use std::time::Duration;

use holdfast_base::{OrganizationId, PatientId};
use zeroize::Zeroizing;

use crate::client::KeeperClient;
use crate::error::KeeperError;
use crate::process::rotation::{Change, KeysAnswer, KeysRequest, KeysStatus, SecretBytes};

/// Changes stretch passphrases and wait for tokens.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A key that can be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotatedKey {
    /// The root: a new one wraps every named key again.
    Root,
    /// A named key: `system`, `mpi-seal`, `ledger-signer`, `ledger-bodies`, `marks`,
    /// `organization/NAME/wrap`, `organization/NAME/inbox`.
    Named(String),
    /// A patient's key.
    Patient(OrganizationId, PatientId),
}

/// What the root is to be protected by.
#[derive(Debug)]
pub enum NewGuard<'a> {
    /// A key file sealed by this passphrase.
    Passphrase(&'a [u8]),
    /// A new key in a PKCS#11 token.
    Token {
        /// The token's library.
        module: &'a Path,
        /// The token's label.
        token: &'a str,
        /// Its user's PIN.
        pin: &'a [u8],
    },
}

impl KeeperClient {
    /// What keys there are, how old, and what protects them.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn keys_status(&self) -> Result<KeysStatus, KeeperError> {
        match self.keys(KeysRequest::Status, TIMEOUT).await? {
            KeysAnswer::Status(status) => Ok(status),
            _ => Err(KeeperError::Protocol { what: "an unexpected answer" }),
        }
    }

    /// Gives a key a new generation; gives its number. In the ledger. Patients of an
    /// organization whose wrapping key was rotated are wrapped again in the
    /// background: see [`KeysStatus::rewrapping`].
    ///
    /// # Errors
    /// [`KeeperError::WrongPassphrase`], [`KeeperError::KeyChange`] for keys that are
    /// not rotated.
    pub async fn rotate_key(
        &self,
        secret: &[u8],
        key: RotatedKey,
        reason: &str,
    ) -> Result<u32, KeeperError> {
        let change = match key {
            RotatedKey::Root => Change::RotateRoot,
            RotatedKey::Named(name) => Change::RotateNamed { name },
            RotatedKey::Patient(organization, patient) => {
                Change::RotatePatient { organization, patient }
            }
        };
        self.change_keys(secret, change, reason).await
    }

    /// Ends the time in which the former key of the ledger's signer signs, too. In the
    /// ledger.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn retire_signer(&self, secret: &[u8], reason: &str) -> Result<u32, KeeperError> {
        self.change_keys(secret, Change::RetireSigner, reason).await
    }

    /// Puts the root under another guard: a new passphrase, or a token. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError`]; the guard before it then still opens the root.
    pub async fn change_guard(
        &self,
        secret: &[u8],
        guard: NewGuard<'_>,
        reason: &str,
    ) -> Result<(), KeeperError> {
        let change = match guard {
            NewGuard::Passphrase(passphrase) => {
                Change::ToPassphrase { passphrase: SecretBytes::of(passphrase) }
            }
            NewGuard::Token { module, token, pin } => Change::ToToken {
                module: module.to_string_lossy().into_owned(),
                token: token.to_owned(),
                pin: SecretBytes::of(pin),
            },
        };
        self.change_keys(secret, change, reason).await.map(drop)
    }

    /// Makes a recovery kit: texts of `shares` shares, any `needed` of which recover
    /// the root. In the ledger.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn escrow(
        &self,
        secret: &[u8],
        (needed, shares): (u8, u8),
        reason: &str,
    ) -> Result<Vec<Zeroizing<String>>, KeeperError> {
        let change = Change::Escrow { needed, shares };
        match self.keys(order(secret, change, reason), TIMEOUT).await? {
            KeysAnswer::Shares(shares) => {
                let text = |share: &SecretBytes| {
                    Zeroizing::new(String::from_utf8_lossy(share.bytes()).into_owned())
                };
                Ok(shares.iter().map(text).collect())
            }
            _ => Err(KeeperError::Protocol { what: "an unexpected answer" }),
        }
    }

    /// Notes in the ledger that the root was recovered from a kit.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub async fn note_recovery(&self, secret: &[u8], reason: &str) -> Result<(), KeeperError> {
        self.change_keys(secret, Change::NoteRecovery, reason).await.map(drop)
    }

    async fn change_keys(
        &self,
        secret: &[u8],
        change: Change,
        reason: &str,
    ) -> Result<u32, KeeperError> {
        match self.keys(order(secret, change, reason), TIMEOUT).await? {
            KeysAnswer::Changed { generation } => Ok(generation),
            _ => Err(KeeperError::Protocol { what: "an unexpected answer" }),
        }
    }
}

fn order(secret: &[u8], change: Change, reason: &str) -> KeysRequest {
    KeysRequest::Change { secret: SecretBytes::of(secret), change, reason: reason.to_owned() }
}
