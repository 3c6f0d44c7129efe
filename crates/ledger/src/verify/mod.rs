//! The offline verifier. It trusts the public keys of its [`Policy`] and nothing
//! on the server: every hash is computed anew from the entries up. It uses no
//! secret key and none of the code that writes a ledger, only the formats (paths,
//! notes, leaves, records) and the tree.
//!
//! The formats stand in the crate's README, so that others can write their own.

mod bundle;
mod folder;
mod policy;
#[cfg(test)]
mod tests;
mod witnessed;

use std::fmt;
use std::fs;
use std::path::Path;

use holdfast_base::LedgerIndex;

use crate::layout::CHECKPOINT;
use crate::note::{Checkpoint, NoteError};
use crate::tree::Hash;

pub use policy::{LogKey, Policy, PolicyError, Seen, Witness};

/// No more violations than this are listed: the first ones say where to look.
const VIOLATIONS_MAX: usize = 200;
/// How often a folder is looked at again that is being written to.
const ROUNDS_MAX: usize = 5;

/// What was verified, and found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Folder or bundle.
    pub subject: Subject,
    /// Name of the log.
    pub origin: String,
    /// Number of entries that the checkpoint signs.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// Entries that were verified: in a folder all, in a bundle those in it.
    pub entries_count: u64,
    /// Witnesses that cosigned, of those in the policy.
    pub witnesses_count: usize,
    /// Number of entries that they cosigned: in a folder it may be less than all.
    pub witnessed_size: u64,
    /// Whether the log was compared with a state seen before.
    pub compared_with_seen: bool,
}

/// What kind of thing was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The public part of a ledger's folder.
    PublicFolder,
    /// A ledger's folder with its sealed bodies.
    FolderWithBodies,
    /// An evidence bundle.
    Bundle,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::PublicFolder => "ledger (no bodies here)",
            Subject::FolderWithBodies => "ledger with sealed bodies",
            Subject::Bundle => "evidence bundle",
        };
        let root = data_encoding::BASE64.encode(&self.root);
        write!(
            f,
            "whole: {subject} of {}, {} entries verified; ",
            self.origin, self.entries_count
        )?;
        write!(f, "signed size {}, root {root}", self.size)?;
        if self.witnesses_count > 0 {
            write!(f, ", {} witnesses", self.witnesses_count)?;
            let later = self.size.saturating_sub(self.witnessed_size);
            if later > 0 {
                write!(
                    f,
                    " of the first {}; the last {later} by the log alone",
                    self.witnessed_size
                )?;
            }
        }
        if !self.compared_with_seen {
            write!(f, "; not compared with a checkpoint seen before")?;
        }
        Ok(())
    }
}

/// Something that is not as it must be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The file, relative to the folder; the file's name for a bundle.
    pub file: String,
    /// The line, from 1, in a bundle.
    pub line: Option<usize>,
    /// The first entry concerned, where one can be named.
    pub index: Option<LedgerIndex>,
    /// What is wrong.
    pub what: Tampering,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(index) = self.index {
            write!(f, ", entry {index}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tampering {
    /// It cannot be read.
    #[error("cannot be read ({0})")]
    Unreadable(std::io::ErrorKind),
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is there, and does not belong there.
    #[error("does not belong there")]
    Unexpected,
    /// It does not have the form that it must have.
    #[error("does not have the right form")]
    Malformed,
    /// The note is not a right one of this log and key.
    #[error("{0}")]
    Note(NoteError),
    /// Fewer witnesses than the policy requires cosigned.
    #[error("{found} of {required} witnesses cosigned")]
    Witnesses {
        /// How many did.
        found: usize,
        /// How many must.
        required: usize,
    },
    /// The leaf is not the one that the hash tiles have, and they fit the signed root.
    #[error("the entry was changed: its leaf is not the one that was signed")]
    EntryChanged,
    /// The hash is not that of what it covers.
    #[error("the hash was changed: it does not follow from the entries")]
    HashChanged,
    /// The entries do not have the signed root.
    #[error("the entries do not have the signed root: changed, reordered, added or dropped")]
    RootDiffers,
    /// The log is shorter than it was.
    #[error("rolled back: {found} entries are signed, {known} were known")]
    RolledBack {
        /// Entries that are signed, or there.
        found: u64,
        /// Entries that there have been.
        known: u64,
    },
    /// The log is another than the one that was seen.
    #[error("forked: the first {size} entries are not those that were seen")]
    Forked {
        /// The size that was seen.
        size: u64,
    },
    /// The bundle does not prove that it continues the log that was seen.
    #[error("no proof that the log continues the one seen at size {size}")]
    NoConsistencyProof {
        /// The size that was seen.
        size: u64,
    },
    /// A sealed body's record does not fit its own hash.
    #[error("the sealed body was changed: its record does not fit its check")]
    BodyChanged,
    /// A sealed body's record is of another entry.
    #[error("the sealed body belongs to another entry")]
    BodyOfAnother,
    /// Bodies end before the entries do.
    #[error("truncated: bodies of {found} of {due} entries are there")]
    BodiesTruncated {
        /// Bodies there are.
        found: u64,
        /// Bodies there must be.
        due: u64,
    },
    /// Salt and entry are not those that the tree commits to.
    #[error("entry, salt or proof was changed: it is not in the signed tree")]
    NotInTree,
    /// It stands at another place than its order gives.
    #[error("is out of order or there twice")]
    OutOfOrder,
    /// A line of the readable index is not what the entry says.
    #[error("the readable index says something else than the entry")]
    IndexDiffers,
    /// The lines above the index are not those that belong to this bundle.
    #[error("the lines above the index are not those that belong there")]
    PreambleDiffers,
    /// The enclosed policy is of another log or key, or none.
    #[error("the enclosed policy is none, or of another log or key than yours")]
    PolicyDiffers,
    /// The manifest names an entry that is not there.
    #[error("dropped: the manifest names it, and it is not there")]
    Dropped,
    /// An entry that the manifest does not name.
    #[error("added: the manifest does not name it")]
    Added,
    /// The bundle has no manifest at its end.
    #[error("truncated: the manifest is not at the end")]
    BundleTruncated,
    /// Something before the manifest is not as it was signed.
    #[error("the bytes before the manifest are not those that were signed")]
    DigestDiffers,
}

/// Violations as they are found, up to a bound.
#[derive(Default)]
struct Violations(Vec<Violation>);

impl Violations {
    fn add(&mut self, file: &str, index: Option<u64>, what: Tampering) {
        self.add_at(file, None, index, what);
    }

    fn add_at(&mut self, file: &str, line: Option<usize>, index: Option<u64>, what: Tampering) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(Violation {
                file: file.to_owned(),
                line,
                index: index.map(LedgerIndex),
                what,
            });
        }
    }
}

/// Verifies what lies at `path`: the folder of a ledger (or of its public part:
/// `checkpoint` and `tile`), or the file of an evidence bundle.
///
/// # Errors
/// Every violation that was found, up to 200 of them, with its place.
pub fn verify_path(path: &Path, policy: &Policy) -> Result<Report, Vec<Violation>> {
    if !path.is_dir() {
        return bundle::check(path, policy);
    }
    // A folder that is being written to: again, as long as the checkpoint moves.
    let mut round = 1;
    loop {
        let before = fs::read(path.join(CHECKPOINT)).ok();
        let outcome = witnessed::check(path, policy);
        let moved = before != fs::read(path.join(CHECKPOINT)).ok();
        if outcome.is_ok() || !moved || round == ROUNDS_MAX {
            return outcome;
        }
        round += 1;
    }
}

/// Reads a checkpoint and checks log, signatures and witnesses. Gives the number of
/// witnesses too.
fn check_checkpoint(note: &str, policy: &Policy) -> Result<(Checkpoint, usize), Tampering> {
    let (checkpoint, found) = policy.read_checkpoint(note).map_err(Tampering::Note)?;
    let required = policy.witnesses_required;
    if found < required {
        return Err(Tampering::Witnesses { found, required });
    }
    Ok((checkpoint, found))
}
