//! The end of the bodies that is written to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bodies::{MAGIC, Record, SEGMENT_ENTRIES, segment_path};
use crate::medium::Medium;

/// The writing end.
pub(crate) struct BodyWriter {
    dir: PathBuf,
    medium: Arc<dyn Medium>,
    /// Length of the segment that the next record goes to; 0 when it has no file.
    length: u64,
}

impl BodyWriter {
    /// A writer that continues after a segment of `length` bytes.
    pub(crate) fn new(dir: &Path, medium: Arc<dyn Medium>, length: u64) -> Self {
        Self { dir: dir.to_owned(), medium, length }
    }

    /// Cuts the torn end of `segment` off.
    pub(crate) fn cut(&mut self, segment: u64, length: u64) -> io::Result<()> {
        self.shorten(&self.dir.join(segment_path(segment)), length)
    }

    /// Cuts a segment; one of which nothing is left goes away.
    fn shorten(&self, path: &Path, length: u64) -> io::Result<()> {
        if length > 0 {
            self.medium.cut(path, length)?;
            return self.medium.sync(path);
        }
        self.medium.remove(path)?;
        path.parent().map_or(Ok(()), |folder| self.medium.sync_folder(folder))
    }

    /// Adds `bytes` at the end of `path`, which is `length` bytes long, durably. A
    /// `length` of 0 makes the file and its name.
    fn add(&self, path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
        self.medium.write(path, length, bytes)?;
        self.medium.sync(path)?;
        match path.parent() {
            Some(folder) if length == 0 => self.medium.sync_folder(folder),
            _ => Ok(()),
        }
    }

    /// Makes `records`, which follow each other, durable; gives where each begins and ends.
    /// On an error the writer is as before if [`WriteFailed::undone`] says so, and
    /// unusable otherwise.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<Vec<(u64, u64)>, WriteFailed> {
        let mut places = Vec::with_capacity(records.len());
        let mut touched: Vec<(PathBuf, u64)> = Vec::new();
        let mut rest = records;
        let before = self.length;
        while let Some(first) = rest.first() {
            let segment = first.index / SEGMENT_ENTRIES;
            let fits = ((segment + 1) * SEGMENT_ENTRIES - first.index) as usize;
            let (now, later) = rest.split_at(fits.min(rest.len()));
            let start = if first.index % SEGMENT_ENTRIES == 0 { 0 } else { self.length };
            let length: u64 = now.iter().map(Record::bytes).sum();
            let mut bytes = Vec::with_capacity(length as usize + 64);
            if start == 0 {
                bytes.extend_from_slice(MAGIC);
                bytes.extend_from_slice(&first.index.to_be_bytes());
            }
            for record in now {
                let from = start + bytes.len() as u64;
                record.write_to(&mut bytes);
                places.push((from, start + bytes.len() as u64));
            }
            let path = self.dir.join(segment_path(segment));
            touched.push((path.clone(), start));
            if let Err(error) = self.add(&path, start, &bytes) {
                let cut = |(path, length): &(PathBuf, u64)| self.shorten(path, *length);
                let undone = touched.iter().rev().map(cut).all(|cut| cut.is_ok());
                self.length = before;
                return Err(WriteFailed { kind: error.kind(), undone });
            }
            self.length = start + bytes.len() as u64;
            rest = later;
        }
        Ok(places)
    }
}

/// A group that did not become durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteFailed {
    pub(crate) kind: io::ErrorKind,
    /// Whether what had been written of it is off the disk again.
    pub(crate) undone: bool,
}
