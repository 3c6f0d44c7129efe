//! What protects the root: the seam where a passphrase, a PKCS#11 token, or the
//! key service of a cloud fits.

use argon2::{Algorithm, Argon2, Params, Version};
use holdfast_base::fill_random;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{from_hex, to_hex};
use crate::primitive::Secret;

const SALT_BYTES: usize = 16;

/// RFC 9106 §4, second recommended option: 64 MiB, three passes, four lanes.
#[cfg(not(test))]
const COST: Cost = Cost { memory_kib: 65_536, passes: 3, lanes: 4 };
/// The unit tests open hundreds of files.
#[cfg(test)]
const COST: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
/// What a file may ask for: a damaged or planted file must not stop the machine.
const COST_MAX: Cost = Cost { memory_kib: 4 * 1_048_576, passes: 64, lanes: 64 };

/// Why what protects the root did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The passphrase or PIN is wrong.
    #[error("the passphrase or PIN is wrong")]
    WrongSecret,
    /// The token, or the key in it, is not there (any more).
    #[error("{what}")]
    Away {
        /// What is missing, and where it was looked for.
        what: String,
    },
    /// The wrapped root was changed, or belongs to another key.
    #[error("the wrapped root key is damaged")]
    Damaged,
}

/// Protects the root key: 32 bytes that every other key hangs below.
///
/// A key service of a cloud implements the four methods with its calls to encrypt
/// and decrypt under a key that never leaves it (`place` as encryption context),
/// its key's name, and a cheap call that needs the key. It holds at most two roots
/// and is asked at start, at rotations, and for its presence every few seconds.
pub trait RootGuard: Send + Sync {
    /// Wraps a root, bound to `place`.
    ///
    /// # Errors
    /// [`GuardError::Away`].
    fn wrap(&self, place: &[u8], root: &[u8; 32]) -> Result<Vec<u8>, GuardError>;

    /// Unwraps what [`wrap`](Self::wrap) made for the same `place`.
    ///
    /// # Errors
    /// [`GuardError`].
    fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, GuardError>;

    /// Where the root's protection is, for people.
    fn whereabouts(&self) -> String;

    /// Proves that the protection is still there, by using it.
    ///
    /// # Errors
    /// [`GuardError::Away`]: no key may be released until it is back.
    fn prove_presence(&self) -> Result<(), GuardError>;
}

/// What the file says about what protects the root. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum GuardText {
    /// A key that Argon2id makes of a passphrase.
    Passphrase { kdf: String, cost: Cost, salt: String },
    /// An AES-256 key in a PKCS#11 token.
    #[serde(rename = "pkcs11")]
    Token(super::token::TokenText),
}

impl GuardText {
    /// A passphrase with a new salt.
    pub fn passphrase() -> Self {
        let mut salt = [0; SALT_BYTES];
        fill_random(&mut salt);
        Self::Passphrase { kdf: "argon2id".to_owned(), cost: COST, salt: to_hex(&salt) }
    }

    /// The guard that `secret` (passphrase or PIN) opens.
    pub fn open(&self, secret: &[u8]) -> Result<Box<dyn RootGuard>, GuardError> {
        match self {
            Self::Passphrase { kdf, cost, salt } => {
                let bounded = cost.memory_kib <= COST_MAX.memory_kib
                    && cost.passes <= COST_MAX.passes
                    && cost.lanes <= COST_MAX.lanes;
                let salt = from_hex(salt).filter(|_| bounded && kdf == "argon2id");
                let key = salt.and_then(|salt| stretch(secret, &salt, *cost));
                Ok(Box::new(Passphrase(key.ok_or(GuardError::Damaged)?)))
            }
            Self::Token(token) => Ok(Box::new(token.open(secret)?)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

fn stretch(passphrase: &[u8], salt: &[u8], cost: Cost) -> Option<Secret> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *key)
        .ok()?;
    Secret::from_slice(&*key)
}

/// A key file sealed by passphrase. The stretched key stays in memory, so that a
/// new root can be sealed without asking for the passphrase again.
struct Passphrase(Secret);

impl RootGuard for Passphrase {
    fn wrap(&self, place: &[u8], root: &[u8; 32]) -> Result<Vec<u8>, GuardError> {
        Ok(self.0.seal(place, root))
    }

    fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, GuardError> {
        // The file's checksum has told damage before: what is left is the secret.
        self.0.open(place, wrapped).map(Zeroizing::new).map_err(|_| GuardError::WrongSecret)
    }

    fn whereabouts(&self) -> String {
        "key file root.key, sealed by passphrase".to_owned()
    }

    fn prove_presence(&self) -> Result<(), GuardError> {
        Ok(())
    }
}
