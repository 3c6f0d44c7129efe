//! The end of the bodies that is written to.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::bodies::{MAGIC, Record, SEGMENT_ENTRIES, segment_path};
use crate::layout::sync_folder;

/// Where bytes become durable. The one seam between the ledger and the disk, so
/// that tests can let a write or a sync fail at any point.
pub(crate) trait Medium: Send {
    /// Adds `bytes` at the end of `path`, which is `length` bytes long, and syncs.
    /// A `length` of 0 creates the file and makes its name durable too.
    fn append(&mut self, path: &Path, length: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts `path` to `length` bytes and syncs; 0 removes the file.
    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    open: Option<(PathBuf, File)>,
}

impl Disk {
    fn file(&mut self, path: &Path) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            let mut options = OpenOptions::new();
            let file = options.create(true).truncate(false).write(true).mode(0o600).open(path)?;
            self.open = Some((path.to_owned(), file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Medium for Disk {
    fn append(&mut self, path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(path)?;
        file.write_all_at(bytes, length)?;
        file.sync_data()?;
        match path.parent() {
            Some(folder) if length == 0 => sync_folder(folder),
            _ => Ok(()),
        }
    }

    fn cut(&mut self, path: &Path, length: u64) -> io::Result<()> {
        if length == 0 {
            self.open = None;
            fs::remove_file(path)?;
            return path.parent().map_or(Ok(()), sync_folder);
        }
        let file = self.file(path)?;
        file.set_len(length)?;
        file.sync_data()
    }
}

/// The writing end.
pub(crate) struct BodyWriter {
    dir: PathBuf,
    medium: Box<dyn Medium>,
    /// Length of the segment that the next record goes to; 0 when it has no file.
    length: u64,
}

impl BodyWriter {
    /// A writer that continues after a segment of `length` bytes.
    pub(crate) fn new(dir: &Path, medium: Box<dyn Medium>, length: u64) -> Self {
        Self { dir: dir.to_owned(), medium, length }
    }

    /// Cuts the torn end of `segment` off.
    pub(crate) fn cut(&mut self, segment: u64, length: u64) -> io::Result<()> {
        self.medium.cut(&self.dir.join(segment_path(segment)), length)
    }

    /// Makes `records`, which follow each other, durable; gives the offset of each.
    /// On an error the writer is as before if [`WriteFailed::undone`] says so, and
    /// unusable otherwise.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<Vec<u64>, WriteFailed> {
        let mut offsets = Vec::with_capacity(records.len());
        let mut touched: Vec<(PathBuf, u64)> = Vec::new();
        let mut rest = records;
        let before = self.length;
        while let Some(first) = rest.first() {
            let segment = first.index / SEGMENT_ENTRIES;
            let fits = ((segment + 1) * SEGMENT_ENTRIES - first.index) as usize;
            let (now, later) = rest.split_at(fits.min(rest.len()));
            let start = if first.index % SEGMENT_ENTRIES == 0 { 0 } else { self.length };
            let mut bytes = Vec::new();
            if start == 0 {
                bytes.extend_from_slice(MAGIC);
                bytes.extend_from_slice(&first.index.to_be_bytes());
            }
            for record in now {
                offsets.push(start + bytes.len() as u64);
                record.write_to(&mut bytes);
            }
            let path = self.dir.join(segment_path(segment));
            touched.push((path.clone(), start));
            if let Err(error) = self.medium.append(&path, start, &bytes) {
                let cut = |(path, length): &(PathBuf, u64)| self.medium.cut(path, *length);
                let undone = touched.iter().rev().map(cut).all(|cut| cut.is_ok());
                self.length = before;
                return Err(WriteFailed { kind: error.kind(), undone });
            }
            self.length = start + bytes.len() as u64;
            rest = later;
        }
        Ok(offsets)
    }
}

/// A group that did not become durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteFailed {
    pub(crate) kind: io::ErrorKind,
    /// Whether what had been written of it is off the disk again.
    pub(crate) undone: bool,
}
