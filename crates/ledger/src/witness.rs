//! A witness (C2SP `tlog-witness`, `add-checkpoint`): remembers the last checkpoint
//! of each log, cosigns only what continues it, and so makes a fork or a rollback
//! known to everybody who asks for cosignatures.
//!
//! Invariants: what was seen is on disk, synced, before it is cosigned; check and
//! update are one step; a state that cannot be read is never taken for none. There
//! is no clock and no network here.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use data_encoding::HEXLOWER;
use holdfast_base::{Category, fill_random};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::medium::{Disk, write_whole};
use crate::note::{Cosigner, Note, NoteError, VerifierKey};
use crate::proof::is_consistent;
use crate::tree::{Hash, hash_parts};
use crate::verify::Policy;

/// A submission that is longer than this is not read.
pub const SUBMISSION_BYTES_MAX: usize = 256 << 10;
/// Most hashes of a consistency proof.
const PROOF_LINES_MAX: usize = 63;
/// Conflicting checkpoints that are kept as evidence; more prove nothing more.
const CONFLICTS_MAX: usize = 100;

const SETTINGS: &str = "witness.toml";
const KEY: &str = "witness.key";
const LOCK: &str = "lock";
const SEEN: &str = "seen";
const CONFLICTS: &str = "conflicts";

/// Why a witness's folder cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// There is a witness in the folder already.
    #[error("{} holds a witness already", .0.display())]
    There(PathBuf),
    /// The folder holds no witness.
    #[error("{} holds no witness; `holdfast witness init` makes one", .0.display())]
    NotThere(PathBuf),
    /// Another process works in the folder.
    #[error("the witness is running already")]
    Running,
    /// The name cannot stand in a note.
    #[error("the name cannot stand in a note: no spaces, no plus, at most 255 bytes")]
    Name,
    /// A file has another form than it must have.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The disk refused.
    #[error("the witness's folder cannot be read or written")]
    Io(#[from] io::Error),
}

impl WitnessError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::There(_) | Self::Name => Category::Incorrect,
            Self::NotThere(_) => Category::NotFound,
            Self::Running => Category::Busy,
            Self::Damaged { .. } | Self::Io(_) => Category::Fault,
        }
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum NotCosigned {
    /// The submission has another form than `tlog-witness` says.
    #[error("not a submission: {0}")]
    Malformed(&'static str),
    /// The witness does not know the log.
    #[error("this log is not known here")]
    UnknownLog,
    /// No key of the log has signed it.
    #[error("not signed by a key of the log that is known here")]
    NotSigned,
    /// The submission starts from another size than was cosigned last.
    #[error("the last checkpoint that was cosigned has size {size}")]
    Stale {
        /// The size that was cosigned last.
        size: u64,
    },
    /// Another root was cosigned for this very size: the log has forked.
    #[error("another root of size {size} was cosigned")]
    Forked {
        /// The size.
        size: u64,
    },
    /// The proof does not show that the log continues what was cosigned.
    #[error("the consistency proof does not verify")]
    Inconsistent,
    /// What was seen cannot be made durable, so nothing is cosigned.
    #[error("the witness cannot write its state")]
    Io(#[from] io::Error),
}

impl NotCosigned {
    /// The HTTP status that `tlog-witness` gives it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::UnknownLog => 404,
            Self::NotSigned => 403,
            Self::Stale { .. } | Self::Forked { .. } => 409,
            Self::Inconsistent => 422,
            Self::Io(_) => 500,
        }
    }

    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::Malformed(_) | Self::Inconsistent => Category::Incorrect,
            Self::UnknownLog => Category::NotFound,
            Self::NotSigned => Category::Forbidden,
            Self::Stale { .. } | Self::Forked { .. } => Category::Conflict,
            Self::Io(_) => Category::Fault,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logs: Vec<LogSettings>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSettings {
    origin: String,
    keys: Vec<String>,
}

/// A log that the witness knows.
struct Log {
    keys: Vec<VerifierKey>,
    /// Size and root that were cosigned last.
    seen: Option<(u64, Hash)>,
}

/// A witness at work in its folder.
pub struct Witness {
    dir: PathBuf,
    cosigners: Vec<Cosigner>,
    logs: Mutex<HashMap<String, Log>>,
    _lock: File,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Witness({})", self.dir.display())
    }
}

/// Makes a witness in `dir` for the logs of `policies`, with new keys.
///
/// # Errors
/// [`WitnessError::There`] when there is one.
pub fn init(dir: &Path, name: &str, policies: &[Policy]) -> Result<(), WitnessError> {
    if dir.join(KEY).exists() || dir.join(SETTINGS).exists() {
        return Err(WitnessError::There(dir.to_owned()));
    }
    let mut seeds = [[0; 32]; 2];
    seeds.iter_mut().for_each(|seed| fill_random(seed));
    cosigners(name, &seeds).map_err(|_| WitnessError::Name)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut settings = Settings { name: name.to_owned(), logs: Vec::new() };
    for policy in policies {
        let keys = std::iter::once(&policy.key).chain(policy.log_keys.iter().map(|log| &log.key));
        let keys = keys.map(ToString::to_string).collect();
        settings.logs.push(LogSettings { origin: policy.origin.clone(), keys });
    }
    let text = toml::to_string(&settings).map_err(|_| WitnessError::Name)?;
    write_whole(&Disk::default(), dir, SETTINGS, text.as_bytes())?;
    let [ed25519, ml_dsa] = seeds.map(|seed| HEXLOWER.encode(&seed));
    let text = format!("ed25519 {ed25519}\nml-dsa-44 {ml_dsa}\n");
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(KEY))?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(())
}

fn cosigners(name: &str, seeds: &[[u8; 32]; 2]) -> Result<Vec<Cosigner>, NoteError> {
    Ok(vec![Cosigner::ed25519(name, &seeds[0])?, Cosigner::ml_dsa_44(name, &seeds[1])?])
}

impl Witness {
    /// Opens the witness in `dir`.
    ///
    /// # Errors
    /// [`WitnessError`]; a state that cannot be read is an error, never an empty one.
    pub fn open(dir: &Path) -> Result<Self, WitnessError> {
        if !dir.join(SETTINGS).exists() {
            return Err(WitnessError::NotThere(dir.to_owned()));
        }
        let lock = File::create(dir.join(LOCK))?;
        lock.try_lock().map_err(|_| WitnessError::Running)?;
        let path = dir.join(SETTINGS);
        let damaged = |path: &Path, what: &str| {
            let (path, what) = (path.to_owned(), what.to_owned());
            WitnessError::Damaged { path, what }
        };
        let settings: Settings = toml::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| damaged(&path, error.message()))?;
        let mut logs = HashMap::new();
        for log in settings.logs {
            let keys = log.keys.iter().map(|key| VerifierKey::parse(key));
            let keys: Result<Vec<_>, _> = keys.collect();
            let keys = keys.map_err(|_| damaged(&path, "a key of a log is no verifier key"))?;
            let state = dir.join(state_path(&log.origin));
            let seen = match fs::read_to_string(&state) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error.into()),
                Ok(note) => {
                    let read = read_signed(&note, &log.origin, &keys);
                    let read = read.map_err(|_| damaged(&state, "not a checkpoint of its log"))?;
                    Some(read)
                }
            };
            logs.insert(log.origin, Log { keys, seen });
        }
        let cosigners = read_keys(dir, &settings.name)?;
        Ok(Self { dir: dir.to_owned(), cosigners, logs: Mutex::new(logs), _lock: lock })
    }

    /// The witness's public keys: what policies list.
    pub fn keys(&self) -> Vec<&VerifierKey> {
        self.cosigners.iter().map(Cosigner::verifier).collect()
    }

    /// What policies list to trust this witness, asked at `url`.
    pub fn policy_lines(&self, url: &str) -> String {
        let lines =
            |key: &VerifierKey| format!("[[witnesses]]\nkey = \"{key}\"\nurl = \"{url}\"\n");
        self.keys().into_iter().map(lines).collect()
    }

    /// The logs that it knows, with the size that it cosigned last.
    pub fn logs(&self) -> Vec<(String, Option<u64>)> {
        let logs = self.logs.lock();
        let mut logs: Vec<_> =
            logs.iter().map(|(origin, log)| (origin.clone(), log.seen.map(|s| s.0))).collect();
        logs.sort();
        logs
    }

    /// Answers the body of an `add-checkpoint` request with the cosignature lines,
    /// as of `time` (seconds since 1970). What was seen is durable by then.
    ///
    /// # Errors
    /// [`NotCosigned`], with the status that the protocol gives it.
    pub fn add_checkpoint(&self, body: &[u8], time: u64) -> Result<String, NotCosigned> {
        let submission = Submission::parse(body)?;
        let note = Note::parse(&submission.note).map_err(|_| malformed("the checkpoint"))?;
        let (origin, size, root) = note.state().map_err(|_| malformed("the checkpoint"))?;
        let mut logs = self.logs.lock();
        let log = logs.get_mut(origin).ok_or(NotCosigned::UnknownLog)?;
        signed_by_one(&note, &log.keys).map_err(|_| NotCosigned::NotSigned)?;
        if submission.old > size {
            return Err(malformed("the old size is larger than the checkpoint's"));
        }
        let (seen, seen_root) = log.seen.unwrap_or_default();
        if submission.old != seen {
            return Err(NotCosigned::Stale { size: seen });
        }
        if log.seen.is_some() && size == seen && root != seen_root {
            self.keep_conflict(&submission.note)?;
            return Err(NotCosigned::Forked { size });
        }
        if !is_consistent(seen, &seen_root, size, &root, &submission.proof) {
            self.keep_conflict(&submission.note)?;
            return Err(NotCosigned::Inconsistent);
        }
        let lines: Result<String, _> =
            self.cosigners.iter().map(|cosigner| cosigner.line(&note, time)).collect();
        let lines = lines.map_err(|_| malformed("the checkpoint"))?;
        write_whole(&Disk::default(), &self.dir, &state_path(origin), submission.note.as_bytes())?;
        log.seen = Some((size, root));
        Ok(lines)
    }

    /// Keeps a signed checkpoint that contradicts what was cosigned: it proves what
    /// the log did.
    fn keep_conflict(&self, note: &str) -> io::Result<()> {
        let folder = self.dir.join(CONFLICTS);
        let name = HEXLOWER.encode(&hash_parts(&[note.as_bytes()])[..16]);
        let kept = fs::read_dir(&folder).map_or(0, |files| files.count());
        if kept >= CONFLICTS_MAX || folder.join(&name).exists() {
            return Ok(());
        }
        write_whole(&Disk::default(), &self.dir, &format!("{CONFLICTS}/{name}"), note.as_bytes())
    }
}

fn malformed(what: &'static str) -> NotCosigned {
    NotCosigned::Malformed(what)
}

/// One file a log, by a hash of its name: names may hold slashes.
fn state_path(origin: &str) -> String {
    format!("{SEEN}/{}", HEXLOWER.encode(&hash_parts(&[origin.as_bytes()])[..16]))
}

fn read_keys(dir: &Path, name: &str) -> Result<Vec<Cosigner>, WitnessError> {
    let path = dir.join(KEY);
    let text = fs::read_to_string(&path)?;
    let mut seeds = [[0; 32]; 2];
    for (line, (label, seed)) in text.lines().zip(["ed25519 ", "ml-dsa-44 "].iter().zip(&mut seeds))
    {
        let hex = line.strip_prefix(label).and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
        if let Some(bytes) = hex.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            *seed = bytes;
        }
    }
    if seeds.contains(&[0; 32]) {
        return Err(WitnessError::Damaged { path, what: "a key is missing".to_owned() });
    }
    cosigners(name, &seeds).map_err(|_| WitnessError::Name)
}

/// Checks that a key of the log signed, and that no known key's signature is wrong.
fn signed_by_one(note: &Note, keys: &[VerifierKey]) -> Result<(), NoteError> {
    let mut signed = Err(NoteError::NotSigned);
    for key in keys {
        match key.check(note) {
            Ok(()) => signed = Ok(()),
            Err(NoteError::NotSigned) => {}
            Err(error) => return Err(error),
        }
    }
    signed
}

fn read_signed(note: &str, origin: &str, keys: &[VerifierKey]) -> Result<(u64, Hash), NoteError> {
    let note = Note::parse(note)?;
    let (named, size, root) = note.state()?;
    if named != origin {
        return Err(NoteError::OtherOrigin);
    }
    signed_by_one(&note, keys).map(|()| (size, root))
}

/// The body of an `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Submission {
    old: u64,
    proof: Vec<Hash>,
    note: String,
}

impl Submission {
    fn parse(body: &[u8]) -> Result<Self, NotCosigned> {
        if body.len() > SUBMISSION_BYTES_MAX {
            return Err(malformed("too long"));
        }
        let text = std::str::from_utf8(body).map_err(|_| malformed("not UTF-8"))?;
        let (head, note) = text.split_once("\n\n").ok_or(malformed("no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(|old| old.parse::<u64>().ok().filter(|n| n.to_string() == old));
        let old = old.ok_or(malformed("the old size"))?;
        let hash = |line: &str| BASE64.decode(line).ok()?.try_into().ok();
        let proof = lines.map(hash).collect::<Option<Vec<Hash>>>();
        let proof = proof.filter(|proof| proof.len() <= PROOF_LINES_MAX);
        let proof = proof.ok_or(malformed("the consistency proof"))?;
        Ok(Self { old, proof, note: note.to_owned() })
    }
}

/// The body of an `add-checkpoint` request: `proof` shows, in standard base64, that
/// `note` continues the log as it was at size `old`.
pub fn submission(old: u64, proof: &[String], note: &str) -> String {
    let lines: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
    format!("old {old}\n{lines}\n{note}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::testing::{ORIGIN, SEED, open, releases};
    use crate::{Checkpoint, CheckpointSigner, Ledger};

    fn signer() -> CheckpointSigner {
        CheckpointSigner::from_seed(ORIGIN, &SEED).unwrap()
    }

    fn policy() -> Policy {
        Policy::new(ORIGIN, signer().verifier().clone())
    }

    /// A witness of the test log, and a ledger with `count` entries.
    fn both(count: u64) -> (TempDir, Witness, TempDir, Ledger) {
        let (folder, ledger_folder) = (tempdir().unwrap(), tempdir().unwrap());
        init(folder.path(), "witness.example/w1", &[policy()]).unwrap();
        let witness = Witness::open(folder.path()).unwrap();
        let ledger = open(ledger_folder.path()).unwrap();
        ledger.append(&releases(0..count - 1)).unwrap();
        (folder, witness, ledger_folder, ledger)
    }

    /// What `ledger` sends now to a witness that saw it at size `old`.
    fn next(ledger: &Ledger, old: u64) -> String {
        let note = ledger.publish_checkpoint().unwrap();
        let proof = ledger.prove_consistency(old, None).unwrap();
        submission(old, &proof.proof, note.note())
    }

    fn status(witness: &Witness, body: &str) -> u16 {
        witness.add_checkpoint(body.as_bytes(), 7).map_or_else(|no| no.status(), |_| 200)
    }

    #[test]
    fn p07_a_checkpoint_that_continues_the_last_one_is_cosigned_by_both_keys() {
        let (_folder, witness, _dir, ledger) = both(300);
        let first = witness.add_checkpoint(next(&ledger, 0).as_bytes(), 7).unwrap();
        assert_eq!(first.lines().count(), 2);
        ledger.append(&releases(0..77)).unwrap();
        let lines = witness.add_checkpoint(next(&ledger, 300).as_bytes(), 8).unwrap();
        let cosigned = ledger.publish_checkpoint().unwrap().with_lines(&lines).unwrap();
        let mut policy = policy();
        let witness_of =
            |key: &&VerifierKey| crate::verify::Witness { key: (*key).clone(), url: None };
        policy.witnesses = witness.keys().iter().map(witness_of).collect();
        policy.witnesses_required = 1;
        assert_eq!(policy.read_checkpoint(cosigned.note()).unwrap().1, 1);
        assert_eq!(witness.logs(), [(ORIGIN.to_owned(), Some(377))]);
    }

    #[test]
    fn each_refusal_has_the_status_of_the_protocol() {
        let (_folder, witness, _dir, ledger) = both(20);
        let good = next(&ledger, 0);
        for bad in ["", "old 1", "old 01\n\nx\n1\n", "old 0\nzz\n\nx", "new 0\n\nx\n"] {
            assert_eq!(status(&witness, bad), 400, "{bad:?}");
        }
        let many = submission(0, &vec![BASE64.encode([0; 32]); 64], "x\n");
        assert_eq!(status(&witness, &many), 400);
        assert_eq!(status(&witness, &good.replace(ORIGIN, "other.example/log")), 404);
        let stranger = CheckpointSigner::from_seed(ORIGIN, &[1; 32]).unwrap();
        let forged = Checkpoint::sign(&stranger, 20, [1; 32]);
        assert_eq!(status(&witness, &submission(0, &[], forged.note())), 403);
        assert_eq!(status(&witness, &good.replacen("old 0", "old 21", 1)), 400);
        assert_eq!(status(&witness, &good), 200);
        let stale = witness.add_checkpoint(good.as_bytes(), 7).unwrap_err();
        assert!(matches!(stale, NotCosigned::Stale { size: 20 }));
        assert_eq!(stale.status(), 409);
        // The same again, from the right size, is cosigned anew.
        assert_eq!(status(&witness, &next(&ledger, 20)), 200);
    }

    #[test]
    fn p07_forks_and_rollbacks_are_refused_and_kept_as_evidence() {
        let (folder, witness, _dir, ledger) = both(100);
        assert_eq!(status(&witness, &next(&ledger, 0)), 200);
        // Another tree of the same size, signed by the log itself.
        let fork = Checkpoint::sign(&signer(), 100, [9; 32]);
        assert_eq!(status(&witness, &submission(100, &[], fork.note())), 409);
        // A longer tree that does not begin with what was seen.
        let (_f, _w, _d, other) = both(150);
        assert_eq!(status(&witness, &next(&other, 100)), 422);
        // A shorter one.
        let back = Checkpoint::sign(&signer(), 60, [9; 32]);
        assert_eq!(status(&witness, &submission(60, &[], back.note())), 409);
        assert_eq!(status(&witness, &submission(100, &[], back.note())), 400);
        assert_eq!(fs::read_dir(folder.path().join(CONFLICTS)).unwrap().count(), 2);
        assert_eq!(witness.logs(), [(ORIGIN.to_owned(), Some(100))]);
    }

    #[test]
    fn what_was_seen_outlives_the_process_and_damage_is_no_fresh_start() {
        let (folder, witness, _dir, ledger) = both(50);
        assert_eq!(status(&witness, &next(&ledger, 0)), 200);
        assert!(matches!(Witness::open(folder.path()), Err(WitnessError::Running)));
        let keys: Vec<String> = witness.keys().iter().map(ToString::to_string).collect();
        drop(witness);
        let witness = Witness::open(folder.path()).unwrap();
        assert_eq!(keys, witness.keys().iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(status(&witness, &next(&ledger, 0)), 409);
        drop(witness);
        fs::write(folder.path().join(state_path(ORIGIN)), "").unwrap();
        assert!(matches!(Witness::open(folder.path()), Err(WitnessError::Damaged { .. })));
        assert!(matches!(init(folder.path(), "x", &[]), Err(WitnessError::There(_))));
    }

    #[test]
    fn a_checkpoint_that_cannot_be_remembered_is_not_cosigned() {
        let (folder, witness, _dir, ledger) = both(50);
        // A file where the folder of states should be.
        fs::write(folder.path().join(SEEN), "").unwrap();
        assert_eq!(status(&witness, &next(&ledger, 0)), 500);
        assert_eq!(witness.logs(), [(ORIGIN.to_owned(), None)]);
    }
}
