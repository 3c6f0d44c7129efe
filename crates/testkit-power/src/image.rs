//! What is left of a folder after a power loss.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::Dice;
use crate::disk::{Change, File};
use crate::pages::Pages;

/// Smallest piece that a disk writes whole.
const SECTOR: u64 = 512;

/// Which names are there that were not synced with their folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// None: all that POSIX promises.
    Synced,
    /// Those of files that were synced themselves, and all that came before them: what
    /// file systems with a journal keep at least.
    WithFiles,
    /// So many more.
    Some,
    /// All.
    All,
}

/// Which bytes are there that were not synced with their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// None.
    Synced,
    /// Of each file the first so many writes, the last of them torn at a sector.
    Torn,
    /// Any sectors of any write; the file is as long as at any moment.
    Sectors,
    /// Any pages; each file is as long as it was, with zeros for what did not come.
    ZeroedPages,
    /// All.
    All,
}

/// What a power loss takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Of names.
    pub names: Names,
    /// Of bytes.
    pub data: Data,
}

impl Loss {
    /// Every way.
    pub fn all() -> Vec<Self> {
        let data = [Data::Synced, Data::Torn, Data::Sectors, Data::ZeroedPages, Data::All];
        let names = [Names::Synced, Names::WithFiles, Names::Some, Names::All];
        names.into_iter().flat_map(|names| data.map(|data| Self { names, data })).collect()
    }
}

/// Files and folders, to be put somewhere.
#[derive(Debug, Default)]
pub struct Image {
    pub(crate) folders: Vec<(PathBuf, u32)>,
    pub(crate) files: Vec<(PathBuf, u32, Pages)>,
}

impl Image {
    /// Takes what lies below `part` from another image.
    #[must_use]
    pub fn with_part_of(mut self, other: Self, part: &str) -> Self {
        self.folders.retain(|(path, _)| !path.starts_with(part));
        self.files.retain(|(path, ..)| !path.starts_with(part));
        self.folders.extend(other.folders.into_iter().filter(|(path, _)| path.starts_with(part)));
        self.files.extend(other.files.into_iter().filter(|(path, ..)| path.starts_with(part)));
        self
    }

    /// Whether there is a file or folder at `path`.
    pub fn has(&self, path: &Path) -> bool {
        self.files.iter().any(|(found, ..)| found == path)
            || self.folders.iter().any(|(found, _)| found == path)
    }

    /// Whether a folder of this name, wherever it lies, has a file with bytes.
    pub fn has_files_in(&self, name: &str) -> bool {
        self.files.iter().any(|(path, _, pages)| {
            let folder = path.parent().and_then(Path::file_name);
            folder.is_some_and(|folder| folder == name) && pages.length() > 0
        })
    }

    /// Makes `dir` and puts everything into it.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, dir: &Path) {
        for (path, mode) in &self.folders {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(*mode).create(dir.join(path)).expect("a folder");
        }
        for (path, mode, pages) in &self.files {
            let file = std::fs::File::create(dir.join(path)).expect("a file");
            file.set_len(pages.length()).expect("a length");
            for (at, bytes) in pages.written() {
                file.write_all_at(bytes, at).expect("bytes");
            }
            file.set_permissions(std::fs::Permissions::from_mode(*mode)).expect("a mode");
        }
    }
}

/// What is left of a file.
pub(crate) fn contents(file: &File, data: Data, dice: &mut Dice) -> Pages {
    let cuts = file.pending.iter().any(|change| matches!(change, Change::Length(_)));
    match data {
        Data::Synced => file.synced.clone(),
        Data::All => beginning(file, file.pending.len(), None),
        // What was cut off and written again has no single history a sector.
        Data::Torn => torn(file, dice),
        Data::Sectors | Data::ZeroedPages if cuts => torn(file, dice),
        Data::Sectors => chosen(file, SECTOR, false, dice),
        Data::ZeroedPages => chosen(file, crate::pages::PAGE, true, dice),
    }
}

/// The first `count` changes, and of the one after them so many bytes.
fn beginning(file: &File, count: usize, torn: Option<u64>) -> Pages {
    let mut pages = file.synced.clone();
    for change in &file.pending[..count] {
        change.apply(&mut pages);
    }
    if let (Some(Change::Write { at, bytes }), Some(torn)) = (file.pending.get(count), torn) {
        pages.write(*at, &bytes[..(torn as usize).min(bytes.len())]);
    }
    pages
}

fn torn(file: &File, dice: &mut Dice) -> Pages {
    let count = dice.below(file.pending.len() + 1);
    let Some(Change::Write { at, bytes }) = file.pending.get(count) else {
        return beginning(file, count, None);
    };
    // Up to the end of a sector.
    let sectors_count = (at + bytes.len() as u64) / SECTOR - at / SECTOR;
    let sectors = dice.below(sectors_count as usize + 1) as u64;
    let end = (at / SECTOR + sectors) * SECTOR;
    beginning(file, count, Some(end.saturating_sub(*at)))
}

/// Of every piece of `unit` bytes one of its versions, whichever.
fn chosen(file: &File, unit: u64, keeps_length: bool, dice: &mut Dice) -> Pages {
    let mut lengths = vec![file.synced.length()];
    // Which writes concern a piece.
    let mut pieces: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (number, change) in file.pending.iter().enumerate() {
        if let Change::Write { at, bytes } = change {
            let end = at + bytes.len() as u64;
            lengths.push(end.max(lengths[lengths.len() - 1]));
            for piece in at / unit..end.div_ceil(unit) {
                pieces.entry(piece).or_default().push(number);
            }
        }
    }
    let mut pages = file.synced.clone();
    for (piece, writes) in pieces {
        let kept = dice.below(writes.len() + 1);
        for number in &writes[..kept] {
            let Change::Write { at, bytes } = &file.pending[*number] else { continue };
            let (from, to) = (piece * unit, (piece + 1) * unit);
            let (begin, end) = (from.max(*at), to.min(at + bytes.len() as u64));
            pages.write(begin, &bytes[(begin - at) as usize..(end - at) as usize]);
        }
    }
    let length = if keeps_length { file.length } else { lengths[dice.below(lengths.len())] };
    pages.set_length(length);
    pages
}
