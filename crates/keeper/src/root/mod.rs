//! The root key and its file. The root is 32 random bytes; everything else hangs
//! below it. The file holds it wrapped by what protects it ([`RootGuard`]): a
//! passphrase, or a key in a PKCS#11 token.
//!
//! `root.key` is JSON of about 600 bytes: format, guard, roots (one; two while a
//! rotation is under way), what the last recovery kit was, and a checksum, which
//! tells damage from a wrong passphrase. It is replaced whole: written beside,
//! synced, renamed.

mod guard;
mod kit;
mod passphrase;
#[cfg(test)]
pub(crate) mod tests;
mod token;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use holdfast_base::{Category, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keyring::FIRST;
use crate::primitive::{Secret, place};
use crate::steps::Steps;
use guard::Cost;
pub(crate) use guard::GuardText;
pub use guard::{GuardError, RootGuard};
pub use kit::{RecoverError, recover};
pub use passphrase::weakness;
pub(crate) use token::TokenText;

/// Name of the file in the keeper's folder.
pub(crate) const FILE_NAME: &str = "root.key";
const FORMAT_1: &str = "holdfast-root-key/1";
const FORMAT_2: &str = "holdfast-root-key/2";
/// The file has about 600 bytes.
const FILE_BYTES_MAX: u64 = 16_384;
/// Length of what tells one root from another.
pub(crate) const CHECK_BYTES: usize = 8;

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
    /// The passphrase can be guessed.
    #[error("{why}")]
    WeakPassphrase {
        /// What is weak about it, and what would be better.
        why: String,
    },
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
            Self::EmptyPassphrase | Self::WeakPassphrase { .. } => Category::Incorrect,
            Self::Io { .. } => Category::Fault,
        }
    }
}

/// Why the root key could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error("there is no root key")]
    Missing,
    #[error("cannot use the root key file")]
    Io(#[from] io::Error),
    #[error("the root key file is damaged")]
    Damaged,
    #[error("the root key file has the format {found:?}, which this version does not know")]
    Newer { found: String },
    #[error("the passphrase or PIN is wrong")]
    WrongSecret,
    #[error("{0}")]
    Away(String),
}

impl From<GuardError> for RootError {
    fn from(error: GuardError) -> Self {
        match error {
            GuardError::WrongSecret => Self::WrongSecret,
            GuardError::Away { what } => Self::Away(what),
            GuardError::Damaged => Self::Damaged,
        }
    }
}

/// One generation of the root.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub number: u32,
    pub secret: Secret,
}

impl Root {
    /// Tells this root from every other, and tells nothing about it.
    pub fn check(&self) -> [u8; CHECK_BYTES] {
        let derived = self.secret.derive("holdfast/v2/root/check");
        *derived.bytes().first_chunk().expect("32 bytes have a beginning")
    }
}

/// The roots in a file, oldest first: one, or two while a rotation is under way.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    list: Vec<Root>,
    layout_1: bool,
}

impl Roots {
    /// One root of this layout.
    pub fn one(number: u32, secret: Secret) -> Self {
        Self { list: vec![Root { number, secret }], layout_1: false }
    }

    pub fn newest(&self) -> &Root {
        self.list.last().expect("a root file has a root")
    }

    pub fn get(&self, number: u32) -> Option<&Secret> {
        self.list.iter().find(|root| root.number == number).map(|root| &root.secret)
    }

    /// Whether the file is of the version that derived keys from the root.
    pub fn is_of_layout_1(&self) -> bool {
        self.layout_1
    }
}

/// What is remembered about the last recovery kit. No secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KitNote {
    /// The generation of the root that it recovers.
    pub generation: u32,
    /// Shares that are needed.
    pub needed: u8,
    /// Shares that were made.
    pub shares: u8,
    /// When.
    pub created: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootText {
    format: String,
    guard: GuardText,
    roots: Vec<RootPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kit: Option<KitNote>,
    /// Tells damage from a wrong passphrase: SHA-256 over all of the above.
    checksum: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootPart {
    generation: u32,
    sealed: String,
}

impl RootText {
    fn computed_checksum(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&bare).unwrap_or_default();
        let bytes = place("holdfast/v2/root-file", &[&json]);
        to_hex(digest::digest(&digest::SHA256, &bytes).as_ref())
    }
}

/// The file as older versions wrote it.
#[derive(Deserialize)]
struct RootTextV1 {
    kdf: String,
    cost: Cost,
    salt: String,
    sealed: String,
    checksum: String,
}

impl RootTextV1 {
    fn computed_checksum(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let bytes = place(
            "holdfast/v1/root-file",
            &[
                FORMAT_1.as_bytes(),
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

fn root_place(number: u32) -> Vec<u8> {
    place("holdfast/v2/root", &[&number.to_be_bytes()])
}

/// The root as it is while a keeper runs: opened, with what protects it.
pub(crate) struct OpenRoot {
    dir: PathBuf,
    guard_text: GuardText,
    guard: Arc<dyn RootGuard>,
    roots: Roots,
    kit: Option<KitNote>,
    steps: Steps,
}

impl OpenRoot {
    /// Opens the root of the keeper's folder `dir` with a passphrase or PIN.
    pub fn open(dir: &Path, secret: &[u8], steps: Steps) -> Result<Self, RootError> {
        let text = read(&dir.join(FILE_NAME))?;
        #[derive(Deserialize)]
        struct Format {
            format: String,
        }
        let Format { format } = serde_json::from_slice(&text).map_err(|_| RootError::Damaged)?;
        let opened = match format.as_str() {
            FORMAT_1 => open_v1(&text, secret)?,
            FORMAT_2 => open_v2(&text, secret)?,
            _ => return Err(RootError::Newer { found: format }),
        };
        let (guard_text, guard, roots, kit) = opened;
        Ok(Self { dir: dir.to_path_buf(), guard_text, guard, roots, kit, steps })
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    pub fn guard(&self) -> Arc<dyn RootGuard> {
        Arc::clone(&self.guard)
    }

    pub fn kit(&self) -> Option<KitNote> {
        self.kit
    }

    /// Adds a new root to the file. Durable on return. The key table is to be
    /// wrapped under it, and then [`settle`](Self::settle) called; a crash between
    /// is made good by the next start.
    pub fn begin_rotation(&mut self) -> Result<&Roots, RootError> {
        let mut roots = self.roots.clone();
        let number = roots.newest().number + 1;
        roots.list.push(Root { number, secret: Secret::random() });
        self.save(&roots, &self.guard_text, &*self.guard, self.kit)?;
        self.roots = roots;
        Ok(&self.roots)
    }

    /// Leaves only the newest root in the file, in the format of this version.
    /// Call when the key table is wrapped under it. Durable on return.
    pub fn settle(&mut self) -> Result<(), RootError> {
        if self.roots.list.len() == 1 && !self.roots.layout_1 {
            return Ok(());
        }
        let newest = self.roots.newest().clone();
        let roots = Roots { list: vec![newest], layout_1: false };
        self.save(&roots, &self.guard_text, &*self.guard, self.kit)?;
        self.roots = roots;
        Ok(())
    }

    /// Puts the root under another guard, which `secret` opens. Durable on return.
    pub fn protect(&mut self, text: GuardText, secret: &[u8]) -> Result<(), RootError> {
        let guard: Arc<dyn RootGuard> = text.open(secret)?.into();
        self.save(&self.roots, &text, &*guard, self.kit)?;
        self.guard_text = text;
        self.guard = guard;
        Ok(())
    }

    /// Makes a recovery kit: texts of shares, of which `needed` recover the root.
    pub fn make_kit(
        &mut self,
        needed: u8,
        shares: u8,
        now: Timestamp,
    ) -> Result<Vec<kit::ShareText>, RootError> {
        let newest = self.roots.newest();
        let texts = kit::make(newest, needed, shares);
        let note = KitNote { generation: newest.number, needed, shares, created: now };
        self.save(&self.roots, &self.guard_text, &*self.guard, Some(note))?;
        self.kit = Some(note);
        Ok(texts)
    }

    fn save(
        &self,
        roots: &Roots,
        guard_text: &GuardText,
        guard: &dyn RootGuard,
        kit: Option<KitNote>,
    ) -> Result<(), RootError> {
        let text = encode(roots, guard_text, guard, kit)?;
        Ok(replace(&self.dir, &text, &self.steps)?)
    }
}

type Opened = (GuardText, Arc<dyn RootGuard>, Roots, Option<KitNote>);

fn open_v2(text: &[u8], secret: &[u8]) -> Result<Opened, RootError> {
    let file: RootText = serde_json::from_slice(text).map_err(|_| RootError::Damaged)?;
    if file.checksum != file.computed_checksum() || file.roots.is_empty() {
        return Err(RootError::Damaged);
    }
    let guard: Arc<dyn RootGuard> = file.guard.open(secret)?.into();
    let open = |part: &RootPart| {
        let sealed = from_hex(&part.sealed).ok_or(RootError::Damaged)?;
        let opened = guard.unwrap(&root_place(part.generation), &sealed)?;
        let secret = Secret::from_slice(&opened).ok_or(RootError::Damaged)?;
        Ok(Root { number: part.generation, secret })
    };
    let mut list = file.roots.iter().map(open).collect::<Result<Vec<_>, RootError>>()?;
    list.sort_by_key(|root| root.number);
    Ok((file.guard, guard, Roots { list, layout_1: false }, file.kit))
}

fn open_v1(text: &[u8], secret: &[u8]) -> Result<Opened, RootError> {
    let file: RootTextV1 = serde_json::from_slice(text).map_err(|_| RootError::Damaged)?;
    if file.checksum != file.computed_checksum() {
        return Err(RootError::Damaged);
    }
    let sealed = from_hex(&file.sealed).ok_or(RootError::Damaged)?;
    let text = GuardText::Passphrase { kdf: file.kdf, cost: file.cost, salt: file.salt };
    let guard: Arc<dyn RootGuard> = text.open(secret)?.into();
    let opened = guard.unwrap(&place("holdfast/v1/root", &[]), &sealed)?;
    let secret = Secret::from_slice(&opened).ok_or(RootError::Damaged)?;
    let roots = Roots { list: vec![Root { number: FIRST, secret }], layout_1: true };
    Ok((text, guard, roots, None))
}

fn encode(
    roots: &Roots,
    guard_text: &GuardText,
    guard: &dyn RootGuard,
    kit: Option<KitNote>,
) -> Result<Vec<u8>, RootError> {
    let part = |root: &Root| {
        let sealed = guard.wrap(&root_place(root.number), root.secret.bytes())?;
        Ok(RootPart { generation: root.number, sealed: to_hex(&sealed) })
    };
    let parts = roots.list.iter().map(part).collect::<Result<Vec<_>, GuardError>>()?;
    let mut file = RootText {
        format: FORMAT_2.to_owned(),
        guard: guard_text.clone(),
        roots: parts,
        kit,
        checksum: String::new(),
    };
    file.checksum = file.computed_checksum();
    let mut text = serde_json::to_vec_pretty(&file).map_err(io::Error::from)?;
    text.push(b'\n');
    Ok(text)
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
    if let Some(why) = weakness(passphrase) {
        return Err(InitError::WeakPassphrase { why });
    }
    let path = dir.join(FILE_NAME);
    let failed = |source| InitError::Io { path: path.clone(), source };
    private_dir(dir).map_err(|source| InitError::Io { path: dir.to_path_buf(), source })?;
    if path.exists() {
        return Err(InitError::AlreadyInitialised { path });
    }
    let roots = Roots::one(FIRST, Secret::random());
    write_root(dir, &roots, passphrase, false).map_err(|error| match error {
        RootError::Io(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            InitError::AlreadyInitialised { path: path.clone() }
        }
        RootError::Io(source) => failed(source),
        other => failed(io::Error::other(other.to_string())),
    })
}

/// Writes a file with `roots` under `passphrase`; over an existing one only when
/// asked to.
fn write_root(dir: &Path, roots: &Roots, passphrase: &[u8], over: bool) -> Result<(), RootError> {
    let guard_text = GuardText::passphrase();
    let guard = guard_text.open(passphrase)?;
    let text = encode(roots, &guard_text, &*guard, None)?;
    if over {
        return Ok(replace(dir, &text, &Steps::default())?);
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(FILE_NAME))?;
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(File::open(dir)?.sync_all()?)
}

/// Makes `dir` and what is missing above it; only the owner may enter.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    holdfast_base::disk::make_folder(dir)
}

/// Replaces the file by `text`: after a crash it is the old or the new one.
fn replace(dir: &Path, text: &[u8], steps: &Steps) -> io::Result<()> {
    let (path, beside) = (dir.join(FILE_NAME), dir.join("root.key.new"));
    steps.step()?;
    let mut file = OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    steps.step()?;
    // In two halves, so that stopping between them leaves a torn file.
    let (first, second) = text.split_at(text.len() / 2);
    file.write_all(first)?;
    steps.step()?;
    file.write_all(second)?;
    file.sync_all()?;
    steps.step()?;
    fs::rename(&beside, &path)?;
    steps.step()?;
    File::open(dir)?.sync_all()?;
    steps.step()
}

fn read(path: &Path) -> Result<Vec<u8>, RootError> {
    let size = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RootError::Missing,
        _ => RootError::Io(error),
    })?;
    if size.len() > FILE_BYTES_MAX {
        return Err(RootError::Damaged);
    }
    Ok(fs::read(path)?)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(pair).collect()
}
