//! What a verifier trusts: public keys, and what it saw before.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::note::{Checkpoint, Note, NoteError, VerifierKey};
use crate::tree::Hash;

/// What a verifier trusts. Text form is TOML; see the crate's README.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Name of the log.
    pub origin: String,
    /// The log's public key (Ed25519).
    pub key: VerifierKey,
    /// Further keys that the log must have signed with: a second algorithm, or the
    /// keys before and after a change.
    pub log_keys: Vec<LogKey>,
    /// Witnesses that may cosign. Keys of one name are one witness, which counts
    /// when all of them have signed.
    pub witnesses: Vec<Witness>,
    /// How many of them must have cosigned the checkpoint of a folder or bundle.
    pub witnesses_required: usize,
    /// The last state that this verifier saw: the log must still begin with it.
    pub seen: Option<Seen>,
}

/// A further key of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// The key.
    pub key: VerifierKey,
    /// The smallest size whose checkpoints it must have signed.
    pub from_size: u64,
    /// The largest one; `None` is no bound.
    pub to_size: Option<u64>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// One of its keys.
    pub key: VerifierKey,
    /// Where it is asked for its cosignature; verifiers do not need it.
    pub url: Option<String>,
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
    /// A key is of a type that cannot do what it is there for.
    #[error("a key in `{field}` is of the wrong type for it")]
    KeyType {
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
    #[serde(default, skip_serializing_if = "is_zero")]
    witnesses_required: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    witnesses: Vec<WitnessText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_keys: Vec<LogKeyText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<SeenText>,
}

/// A witness is its key, or a table with its key and where it is.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WitnessText {
    Key(String),
    Table(WitnessTable),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WitnessTable {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogKeyText {
    key: String,
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    from_size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_size: Option<u64>,
}

fn is_none_at_all(size: &u64) -> bool {
    *size == 0
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
        let (log_keys, witnesses) = (Vec::new(), Vec::new());
        Self { origin, key, log_keys, witnesses, witnesses_required: 0, seen: None }
    }

    /// The same policy, which asks for the log's signature with `key` too.
    #[must_use]
    pub fn with_log_key(mut self, key: VerifierKey) -> Self {
        self.log_keys.push(LogKey { key, from_size: 0, to_size: None });
        self
    }

    /// How many different witnesses there are.
    pub fn witnesses_count(&self) -> usize {
        self.witness_names().len()
    }

    fn witness_names(&self) -> BTreeSet<&str> {
        self.witnesses.iter().map(|witness| witness.key.name()).collect()
    }

    /// Reads a checkpoint and checks log and signatures, witnesses aside. Gives the
    /// number of witnesses that have cosigned it too.
    ///
    /// # Errors
    /// [`NoteError`]: what is wrong with it. A wrong signature of a known key is an
    /// error; a missing one of a witness is not.
    pub fn read_checkpoint(&self, note: &str) -> Result<(Checkpoint, usize), NoteError> {
        let checkpoint = Checkpoint::parse(note, &self.origin, &self.key)?;
        let parsed = Note::parse(note)?;
        let size = checkpoint.size();
        let due = |key: &&LogKey| key.from_size <= size && key.to_size.is_none_or(|to| size <= to);
        for log_key in self.log_keys.iter().filter(due) {
            log_key.key.check(&parsed)?;
        }
        let mut missing = BTreeSet::new();
        for witness in &self.witnesses {
            match witness.key.check(&parsed) {
                Ok(()) => {}
                Err(NoteError::NotSigned) => drop(missing.insert(witness.key.name())),
                Err(error) => return Err(error),
            }
        }
        Ok((checkpoint, self.witnesses_count() - missing.len()))
    }

    /// The same policy, remembering `checkpoint` as the last state seen.
    #[must_use]
    pub fn having_seen(self, checkpoint: &Checkpoint) -> Self {
        let seen = Seen { size: checkpoint.size(), root: checkpoint.root() };
        Self { seen: Some(seen), ..self }
    }

    /// Of the signature lines that a witness answered, those that are of witnesses of
    /// this policy and fit `note`.
    ///
    /// # Errors
    /// [`NoteError`] when note or lines have another form.
    pub fn accepted_lines(&self, note: &str, lines: &str) -> Result<String, NoteError> {
        let mut accepted = String::new();
        let text = Note::parse(note)?.text;
        for line in lines.lines() {
            let alone = Note::parse(&format!("{text}\n{line}\n"))?;
            if self.witnesses.iter().any(|witness| witness.key.check(&alone) == Ok(())) {
                accepted.push_str(line);
                accepted.push('\n');
            }
        }
        Ok(accepted)
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
        let mut witnesses = Vec::new();
        for witness in &read.witnesses {
            let (text, url) = match witness {
                WitnessText::Key(text) => (text, None),
                WitnessText::Table(table) => (&table.key, table.url.clone()),
            };
            let key = key(text, "witnesses")?;
            if !key.is_cosigner() {
                return Err(PolicyError::KeyType { field: "witnesses" });
            }
            witnesses.push(Witness { key, url });
        }
        let mut log_keys = Vec::new();
        for LogKeyText { key: text, from_size, to_size } in &read.log_keys {
            let key = key(text, "log_keys")?;
            log_keys.push(LogKey { key, from_size: *from_size, to_size: *to_size });
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
        if !log_key.is_plain() {
            return Err(PolicyError::KeyType { field: "key" });
        }
        let (origin, witnesses_required) = (read.origin, read.witnesses_required);
        let policy = Self { origin, key: log_key, log_keys, witnesses, witnesses_required, seen };
        let (required, there) = (witnesses_required, policy.witnesses_count());
        if required > there {
            return Err(PolicyError::Witnesses { required, there });
        }
        Ok(policy)
    }

    /// The TOML form.
    pub fn to_toml(&self) -> String {
        let text = PolicyText {
            origin: self.origin.clone(),
            key: self.key.to_string(),
            witnesses_required: self.witnesses_required,
            witnesses: self.witnesses.iter().map(witness_text).collect(),
            log_keys: self.log_keys.iter().map(log_key_text).collect(),
            seen: self
                .seen
                .map(|seen| SeenText { size: seen.size, root: BASE64.encode(seen.root) }),
        };
        // Strings, numbers and one table after them always have a TOML form.
        toml::to_string(&text).unwrap_or_default()
    }
}

fn witness_text(witness: &Witness) -> WitnessText {
    WitnessText::Table(WitnessTable { key: witness.key.to_string(), url: witness.url.clone() })
}

fn log_key_text(key: &LogKey) -> LogKeyText {
    let LogKey { key, from_size, to_size } = key;
    LogKeyText { key: key.to_string(), from_size: *from_size, to_size: *to_size }
}
