//! The root key and its file: 32 random bytes, sealed under a key that Argon2id
//! (RFC 9106) makes of a passphrase. Everything else hangs below it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::digest;
use holdfast_base::{Category, fill_random};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::primitive::{Secret, place};

/// Name of the file in the keeper's folder.
const FILE_NAME: &str = "root.key";
const FORMAT: &str = "holdfast-root-key/1";
const SALT_BYTES: usize = 16;

/// RFC 9106 §4, second recommended option: 64 MiB, three passes, four lanes.
const COST: Cost = Cost { memory_kib: 65_536, passes: 3, lanes: 4 };
/// What a file may ask for: a damaged or planted file must not stop the machine.
const COST_MAX: Cost = Cost { memory_kib: 4 * 1_048_576, passes: 64, lanes: 64 };
/// The file has about 400 bytes.
const FILE_BYTES_MAX: u64 = 4_096;

/// Why a keeper could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a root key already; a second one would make the first one's
    /// records unreadable.
    #[error("{} exists already", path.display())]
    AlreadyInitialised {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is empty.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// The folder or the file could not be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// Folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl InitError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::AlreadyInitialised { .. } => Category::Conflict,
            Self::EmptyPassphrase => Category::Incorrect,
            Self::Io { .. } => Category::Fault,
        }
    }
}

/// Why the root key could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error("there is no root key")]
    Missing,
    #[error("cannot read the root key file")]
    Io(#[source] io::Error),
    #[error("the root key file is damaged")]
    Damaged,
    #[error("the passphrase is wrong")]
    WrongPassphrase,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Serialize, Deserialize)]
struct RootFile {
    format: String,
    kdf: String,
    cost: Cost,
    salt: String,
    sealed: String,
    /// Tells damage from a wrong passphrase: SHA-256 over all of the above.
    checksum: String,
}

impl RootFile {
    fn computed_checksum(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let bytes = place(
            "holdfast/v1/root-file",
            &[
                self.format.as_bytes(),
                self.kdf.as_bytes(),
                &memory_kib.to_be_bytes(),
                &passes.to_be_bytes(),
                &lanes.to_be_bytes(),
                self.salt.as_bytes(),
                self.sealed.as_bytes(),
            ],
        );
        to_hex(digest::digest(&digest::SHA256, &bytes).as_ref())
    }
}

/// Makes the keeper's folder `dir` with a new root key, sealed under
/// `passphrase`. Durable on return.
///
/// # Errors
/// [`InitError`]; an existing root key is never touched.
pub fn initialise(dir: &Path, passphrase: &[u8]) -> Result<(), InitError> {
    if passphrase.is_empty() {
        return Err(InitError::EmptyPassphrase);
    }
    let path = dir.join(FILE_NAME);
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| InitError::Io { path, source }
    };
    private_dir(dir).map_err(failed(dir))?;
    if path.exists() {
        return Err(InitError::AlreadyInitialised { path });
    }
    let mut salt = [0; SALT_BYTES];
    fill_random(&mut salt);
    let key = stretch(passphrase, &salt, COST).ok_or_else(|| InitError::Io {
        path: path.clone(),
        source: io::Error::from(io::ErrorKind::OutOfMemory),
    })?;
    let sealed = key.seal(&place("holdfast/v1/root", &[]), Secret::random().bytes());
    let mut file = RootFile {
        format: FORMAT.to_owned(),
        kdf: "argon2id".to_owned(),
        cost: COST,
        salt: to_hex(&salt),
        sealed: to_hex(&sealed),
        checksum: String::new(),
    };
    file.checksum = file.computed_checksum();
    let mut text = serde_json::to_vec_pretty(&file)
        .map_err(|error| InitError::Io { path: path.clone(), source: error.into() })?;
    text.push(b'\n');
    write_new(&path, &text).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => InitError::AlreadyInitialised { path: path.clone() },
        _ => InitError::Io { path: path.clone(), source },
    })?;
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(failed(dir))
}

/// Makes `dir` and what is missing above it; only the owner may enter.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens the root key of the keeper's folder `dir`.
pub(crate) fn unseal(dir: &Path, passphrase: &[u8]) -> Result<Secret, RootError> {
    let path = dir.join(FILE_NAME);
    let size = fs::metadata(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RootError::Missing,
        _ => RootError::Io(error),
    })?;
    if size.len() > FILE_BYTES_MAX {
        return Err(RootError::Damaged);
    }
    let text = fs::read(&path).map_err(RootError::Io)?;
    let file: RootFile = serde_json::from_slice(&text).map_err(|_| RootError::Damaged)?;
    let cost = file.cost;
    let bounded = cost.memory_kib <= COST_MAX.memory_kib
        && cost.passes <= COST_MAX.passes
        && cost.lanes <= COST_MAX.lanes;
    if file.checksum != file.computed_checksum() || file.format != FORMAT || !bounded {
        return Err(RootError::Damaged);
    }
    let salt = from_hex(&file.salt).ok_or(RootError::Damaged)?;
    let sealed = from_hex(&file.sealed).ok_or(RootError::Damaged)?;
    let key = stretch(passphrase, &salt, cost).ok_or(RootError::Damaged)?;
    let opened = key
        .open(&place("holdfast/v1/root", &[]), &sealed)
        .map(Zeroizing::new)
        .map_err(|_| RootError::WrongPassphrase)?;
    Secret::from_slice(&opened).ok_or(RootError::Damaged)
}

fn stretch(passphrase: &[u8], salt: &[u8], cost: Cost) -> Option<Secret> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *key)
        .ok()?;
    Secret::from_slice(&*key)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_passphrase_opens_the_root_key_and_another_does_not() {
        let folder = tempfile::tempdir().expect("temp dir");
        let dir = folder.path().join("keeper");
        initialise(&dir, b"a long passphrase").expect("initialises");
        let first = unseal(&dir, b"a long passphrase").expect("opens");
        let again = unseal(&dir, b"a long passphrase").expect("opens");
        assert_eq!(first.bytes(), again.bytes());
        let wrong = unseal(&dir, b"another passphrase").expect_err("refused");
        assert!(matches!(wrong, RootError::WrongPassphrase));
        let mode = fs::metadata(dir.join(FILE_NAME)).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = fs::metadata(&dir).expect("exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_second_initialisation_leaves_the_first_key() {
        let folder = tempfile::tempdir().expect("temp dir");
        initialise(folder.path(), b"one").expect("initialises");
        let before = unseal(folder.path(), b"one").expect("opens");
        let again = initialise(folder.path(), b"two").expect_err("refused");
        assert!(matches!(again, InitError::AlreadyInitialised { .. }));
        assert_eq!(unseal(folder.path(), b"one").expect("opens").bytes(), before.bytes());
    }

    #[test]
    fn damage_is_told_from_a_wrong_passphrase() {
        let folder = tempfile::tempdir().expect("temp dir");
        assert!(matches!(unseal(folder.path(), b"x"), Err(RootError::Missing)));
        initialise(folder.path(), b"x").expect("initialises");
        let path = folder.path().join(FILE_NAME);
        let text = fs::read_to_string(&path).expect("reads");
        let salt_at = text.find("salt").expect("has a salt") + 8;
        let digit = if text.as_bytes()[salt_at] == b'0' { "1" } else { "0" };
        let mut changed = text.clone();
        changed.replace_range(salt_at..=salt_at, digit);
        for damaged in [&changed, &text[..text.len() / 2], ""] {
            fs::write(&path, damaged).expect("writes");
            assert!(matches!(unseal(folder.path(), b"x"), Err(RootError::Damaged)));
        }
    }

    #[test]
    fn an_empty_passphrase_is_refused() {
        let folder = tempfile::tempdir().expect("temp dir");
        assert!(matches!(initialise(folder.path(), b""), Err(InitError::EmptyPassphrase)));
    }
}
