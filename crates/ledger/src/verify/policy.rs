//! What a verifier trusts: public keys, and what it saw before.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::note::{Checkpoint, VerifierKey};
use crate::tree::Hash;

/// What a verifier trusts. Text form is TOML; see the crate's README.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Name of the log.
    pub origin: String,
    /// The log's public key.
    pub key: VerifierKey,
    /// Keys of witnesses that may cosign.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned the checkpoint of a folder or bundle.
    pub witnesses_required: usize,
    /// The last state that this verifier saw: the log must still begin with it.
    pub seen: Option<Seen>,
}

/// A state of the log that somebody saw and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Number of entries.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML of this form; the text says where and why.
    #[error("not a policy: {0}")]
    Form(String),
    /// A key is not a vkey.
    #[error("`{field}` is not a verifier key (name+hash+base64)")]
    Key {
        /// Which field.
        field: &'static str,
    },
    /// `seen.root` is not 32 bytes in base64.
    #[error("`seen.root` is not the base64 of 32 bytes")]
    Root,
    /// More witnesses are required than there are.
    #[error("`witnesses_required` is {required}, and there are {there}")]
    Witnesses {
        /// What is required.
        required: usize,
        /// What there is.
        there: usize,
    },
}

impl PolicyError {
    /// Whose fault it is: always that of who wrote the policy.
    pub fn category(&self) -> holdfast_base::Category {
        holdfast_base::Category::Incorrect
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyText {
    origin: String,
    key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    witnesses: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    witnesses_required: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<SeenText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenText {
    size: u64,
    root: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Policy {
    /// A policy that trusts the log `origin` with its key, and nobody else.
    pub fn new(origin: &str, key: VerifierKey) -> Self {
        let origin = origin.to_owned();
        Self { origin, key, witnesses: Vec::new(), witnesses_required: 0, seen: None }
    }

    /// The same policy, remembering `checkpoint` as the last state seen.
    #[must_use]
    pub fn having_seen(self, checkpoint: &Checkpoint) -> Self {
        let seen = Seen { size: checkpoint.size(), root: checkpoint.root() };
        Self { seen: Some(seen), ..self }
    }

    /// Reads the TOML form.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let read: PolicyText =
            toml::from_str(text).map_err(|error| PolicyError::Form(error.to_string()))?;
        let key =
            |text: &String, field| VerifierKey::parse(text).map_err(|_| PolicyError::Key { field });
        let witnesses: Vec<VerifierKey> =
            read.witnesses.iter().map(|text| key(text, "witnesses")).collect::<Result<_, _>>()?;
        let (required, there) = (read.witnesses_required, witnesses.len());
        if required > there {
            return Err(PolicyError::Witnesses { required, there });
        }
        let seen = match read.seen {
            None => None,
            Some(seen) => {
                let root = BASE64.decode(seen.root).map_err(|_| PolicyError::Root)?;
                let root = root.try_into().map_err(|_| PolicyError::Root)?;
                Some(Seen { size: seen.size, root })
            }
        };
        let log_key = key(&read.key, "key")?;
        let origin = read.origin;
        Ok(Self { origin, key: log_key, witnesses, witnesses_required: required, seen })
    }

    /// The TOML form.
    pub fn to_toml(&self) -> String {
        let text = PolicyText {
            origin: self.origin.clone(),
            key: self.key.to_string(),
            witnesses: self.witnesses.iter().map(ToString::to_string).collect(),
            witnesses_required: self.witnesses_required,
            seen: self
                .seen
                .map(|seen| SeenText { size: seen.size, root: BASE64.encode(seen.root) }),
        };
        // Strings, numbers and one table after them always have a TOML form.
        toml::to_string(&text).unwrap_or_default()
    }
}
