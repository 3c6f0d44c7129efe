//! The last batch of the embedded engine's journal, torn by a power loss.
//!
//! The engine drops a last batch that lacks its end, and refuses to open over one that
//! has its end and not its middle: a disk may write the sectors of what was not synced
//! yet in any order. Nobody was told of such a batch, because it was not synced. It is
//! set aside here, never thrown away; whether something acknowledged went with it, the
//! store asks its watermark, its chain and the ledger, as after every opening.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use holdfast_base::disk;

/// The end of every batch.
const TRAILER: &[u8] = b"FJL\x03";
/// The first byte of every batch.
const START: u8 = 1;

/// The last batch of a journal, set aside.
pub(crate) struct Torn {
    journal: PathBuf,
    at: u64,
    /// Where its bytes are kept.
    pub(crate) kept: PathBuf,
}

/// Cuts the last batch off the newest journal in `dir` and keeps it beside `dir`.
/// `None` when there is no batch.
pub(crate) fn set_aside(dir: &Path) -> io::Result<Option<Torn>> {
    let Some((number, journal)) = newest(dir)? else { return Ok(None) };
    let bytes = std::fs::read(&journal)?;
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let begins = |at: &usize| bytes[*at] == START && (*at == 0 || bytes[..*at].ends_with(TRAILER));
    let Some(at) = (0..used).rev().find(begins) else { return Ok(None) };
    let kept = dir.with_file_name(format!("torn-{number}-{at}"));
    disk::write_file(&kept, &bytes[at..used], true)?;
    let file = OpenOptions::new().write(true).open(&journal)?;
    file.set_len(at as u64)?;
    file.sync_all()?;
    Ok(Some(Torn { journal, at: at as u64, kept }))
}

impl Torn {
    /// Puts the batch back where it was: it was not what kept the engine from opening.
    pub(crate) fn put_back(self) -> io::Result<()> {
        let bytes = std::fs::read(&self.kept)?;
        let file = OpenOptions::new().write(true).open(&self.journal)?;
        file.write_all_at(&bytes, self.at)?;
        file.sync_all()?;
        std::fs::remove_file(&self.kept)
    }
}

fn newest(dir: &Path) -> io::Result<Option<(u64, PathBuf)>> {
    let mut newest = None;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|end| end == "jnl");
        let number = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| is_journal) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest)
}
