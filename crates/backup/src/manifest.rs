//! What belongs to a backup.

use holdfast_base::Timestamp;
use serde::{Deserialize, Serialize};

/// One sealed object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the target.
    pub object: String,
    /// Length of the sealed bytes.
    pub bytes: u64,
    /// The last commit (or number of ledger entries) before it.
    #[serde(default)]
    pub after: u64,
    /// Its last commit (or the number of ledger entries up to its end).
    #[serde(default)]
    pub to: u64,
}

/// The commits that one backup added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The backup.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The last commit before it.
    pub after: u64,
    /// Its last commit.
    pub to: u64,
    /// Chain value after it, lower-case hex.
    pub chain: String,
    /// Whether every commit in it can be restored to, or only the last one.
    pub exact: bool,
}

/// One backup: everything that it takes to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// 1.
    pub format: u32,
    /// Counted from 1.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The store's identifier, hex.
    pub store: String,
    /// The runs from the first commit on; the last one is this backup's.
    pub runs: Vec<Run>,
    /// Segments from the first commit on.
    pub commits: Vec<Part>,
    /// The key table.
    pub keys: Vec<Part>,
    /// The ledger's records from the first on.
    pub ledger: Vec<Part>,
    /// Name of the log.
    pub origin: String,
    /// The ledger's signed checkpoint, of at most so many entries as are here.
    pub checkpoint: String,
}

impl Manifest {
    /// The commit that the backup ends at.
    pub fn commit(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.to)
    }

    /// Entries of the ledger in it.
    pub fn ledger_len(&self) -> u64 {
        self.ledger.last().map_or(0, |part| part.to)
    }

    /// Every object.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.commits.iter().chain(&self.keys).chain(&self.ledger)
    }
}
