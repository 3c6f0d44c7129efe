//! Reading a target: its identity, its manifests, its objects; proving them.

use data_encoding::{BASE64, HEXLOWER};
use holdfast_keeper::{KeyRows, SealError, SystemKey};
use holdfast_store::Proof;
use serde::{Deserialize, Serialize};

use crate::{BackupError, Manifest, Part, Target};

pub(crate) const IDENTITY: &str = "holdfast-backup";
const PROOF: &[u8] = b"holdfast backup key";

/// The readable object.
#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    store: String,
    /// Says whose key seals the rest.
    key: String,
    /// Rows of the key table that the root key makes the backup key of: keys and
    /// values, themselves wrapped.
    wrapped: Vec<(String, String)>,
}

impl Identity {
    fn parse(bytes: &[u8]) -> Result<Self, BackupError> {
        let what = "it has another form".to_owned();
        let damaged = |_| BackupError::Damaged { object: IDENTITY.to_owned(), what };
        let identity: Self = serde_json::from_slice(bytes).map_err(damaged)?;
        match identity.format {
            1 => Ok(identity),
            found => Err(BackupError::Format { found }),
        }
    }
}

/// The rows that the backup key of `target` is made of.
///
/// # Errors
/// [`BackupError::Empty`] when there is no backup.
pub async fn wrapped_key(target: &Target) -> Result<KeyRows, BackupError> {
    let empty = || BackupError::Empty { target: target.to_string() };
    let identity = Identity::parse(&target.get(IDENTITY).await?.ok_or_else(empty)?)?;
    let bytes = |text: &str| {
        let what = "a key row is damaged".to_owned();
        let damaged = |_| BackupError::Damaged { object: IDENTITY.to_owned(), what };
        BASE64.decode(text.as_bytes()).map_err(damaged)
    };
    let rows = identity.wrapped.iter();
    rows.map(|(key, value)| Ok(("named".to_owned(), bytes(key)?, bytes(value)?))).collect()
}

/// A target that was opened with its key.
pub struct Source {
    pub(crate) target: Target,
    pub(crate) key: SystemKey,
    pub(crate) store: [u8; 16],
}

/// What was read and proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Backups.
    pub backups_count: u64,
    /// Objects.
    pub objects_count: u64,
    /// Commits of the newest backup, linked from the first to the last.
    pub commits_count: u64,
    /// Those whose content was hashed again.
    pub hashed_count: u64,
    /// Entries of the ledger.
    pub entries_count: u64,
}

pub(crate) fn place(store: &[u8; 16], object: &str) -> String {
    format!("backup/{}/{object}", HEXLOWER.encode(store))
}

pub(crate) fn manifest_object(number: u64) -> String {
    format!("manifests/{number:010}")
}

impl Source {
    /// Opens the target.
    ///
    /// # Errors
    /// [`BackupError::Empty`] when there is no backup, [`BackupError::OtherKeeper`]
    /// when `key` is not the one that sealed it.
    pub async fn open(target: Target, key: SystemKey) -> Result<Self, BackupError> {
        let empty = || BackupError::Empty { target: target.to_string() };
        let bytes = target.get(IDENTITY).await?.ok_or_else(empty)?;
        let damaged = |what: &str| BackupError::Damaged {
            object: IDENTITY.to_owned(),
            what: what.to_owned(),
        };
        let identity = Identity::parse(&bytes)?;
        let store = HEXLOWER.decode(identity.store.as_bytes()).ok();
        let store = store.and_then(|id| <[u8; 16]>::try_from(id).ok());
        let store = store.ok_or_else(|| damaged("it names no store"))?;
        let sealed = BASE64.decode(identity.key.as_bytes()).map_err(|_| damaged("no key"))?;
        match key.open(&place(&store, IDENTITY), &sealed) {
            Ok(text) if text == PROOF => Ok(Self { target, key, store }),
            _ => Err(BackupError::OtherKeeper),
        }
    }

    /// Opens the target for writing backups of `store`; makes it one if it is
    /// empty.
    pub(crate) async fn begin(
        target: Target,
        key: SystemKey,
        wrapped: &KeyRows,
        store: [u8; 16],
    ) -> Result<Self, BackupError> {
        match Self::open(target.clone(), key.clone()).await {
            Ok(source) if source.store == store => {
                // The root key or the key under it may have been rotated since.
                if wrapped_key(&target).await? != *wrapped {
                    source.identify(wrapped).await?;
                }
                Ok(source)
            }
            Ok(_) => Err(BackupError::OtherStore { target: target.to_string() }),
            Err(BackupError::Empty { .. }) => {
                if !target.list("").await?.is_empty() {
                    let what = "it holds other files; give backups a place of their own";
                    let (target, what) = (target.to_string(), what.to_owned());
                    return Err(BackupError::Target { target, what });
                }
                let source = Self { target, key, store };
                source.identify(wrapped).await?;
                Ok(source)
            }
            Err(error) => Err(error),
        }
    }

    /// Says whose backups these are.
    async fn identify(&self, wrapped: &KeyRows) -> Result<(), BackupError> {
        let sealed = self.key.seal(&place(&self.store, IDENTITY), PROOF);
        let rows = wrapped.iter();
        let identity = Identity {
            format: 1,
            store: HEXLOWER.encode(&self.store),
            key: BASE64.encode(&sealed),
            wrapped: rows.map(|(_, k, v)| (BASE64.encode(k), BASE64.encode(v))).collect(),
        };
        let bytes = serde_json::to_vec(&identity)
            .map_err(|_| BackupError::Internal("the identity has no form"))?;
        self.target.put(IDENTITY, bytes).await
    }

    pub(crate) async fn write(&self, object: &str, plain: &[u8]) -> Result<u64, BackupError> {
        let sealed = self.key.seal(&place(&self.store, object), plain);
        let bytes = sealed.len() as u64;
        self.target.put(object, sealed).await?;
        Ok(bytes)
    }

    pub(crate) async fn read(&self, object: &str) -> Result<Vec<u8>, BackupError> {
        let missing = || BackupError::Missing { object: object.to_owned() };
        let sealed = self.target.get(object).await?.ok_or_else(missing)?;
        self.key.open(&place(&self.store, object), &sealed).map_err(|error| {
            let what = match error {
                SealError::UnknownFormat { .. } => "it has an unknown format",
                _ => "its seal does not open",
            };
            BackupError::Damaged { object: object.to_owned(), what: what.to_owned() }
        })
    }

    pub(crate) async fn part(&self, part: &Part) -> Result<Vec<u8>, BackupError> {
        self.read(&part.object).await
    }

    /// Numbers of the backups, oldest first.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn numbers(&self) -> Result<Vec<u64>, BackupError> {
        let names = self.target.list("manifests").await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// One backup.
    ///
    /// # Errors
    /// [`BackupError`] that names what is missing or damaged.
    pub async fn manifest(&self, number: u64) -> Result<Manifest, BackupError> {
        let object = manifest_object(number);
        let bytes = self.read(&object).await?;
        serde_json::from_slice(&bytes)
            .map_err(|_| BackupError::Damaged { object, what: "it has another form".to_owned() })
    }

    /// Reads every object of every backup and proves it.
    ///
    /// # Errors
    /// [`BackupError`] that names the first object that is missing or damaged.
    pub async fn verify(&self) -> Result<Verified, BackupError> {
        let mut verified = Verified::default();
        let mut seen = std::collections::HashSet::new();
        for number in self.numbers().await? {
            let manifest = self.manifest(number).await?;
            verified.backups_count += 1;
            verified.objects_count += 1;
            let (mut proof, mut hashed) = (Proof::new(&self.store), 0);
            for part in &manifest.commits {
                // Commits are proven from the first one on, in every backup.
                let bytes = self.part(part).await?;
                let proven = proof.take(&bytes).map_err(|error| BackupError::Damaged {
                    object: part.object.clone(),
                    what: error.to_string(),
                })?;
                hashed += proven.hashed_count;
                verified.objects_count += u64::from(seen.insert(part.object.clone()));
            }
            let (commit, chain) = proof.last_commit();
            let told = manifest.runs.last().map(|run| (run.to, run.chain.clone()));
            if told != Some((commit.0, HEXLOWER.encode(&chain))) {
                let what = "its segments end elsewhere than it says".to_owned();
                return Err(BackupError::Damaged { object: manifest_object(number), what });
            }
            for part in manifest.keys.iter().chain(&manifest.ledger) {
                if seen.insert(part.object.clone()) {
                    self.part(part).await?;
                    verified.objects_count += 1;
                }
            }
            (verified.commits_count, verified.hashed_count) = (commit.0, hashed);
            verified.entries_count = manifest.ledger_len();
        }
        match verified.backups_count {
            0 => Err(BackupError::Empty { target: self.target.to_string() }),
            _ => Ok(verified),
        }
    }
}
