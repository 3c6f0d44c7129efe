//! Copies: sealed records out of a running ledger, and a folder made of them.
//! Opening the copied folder proves it against the signed checkpoint.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Ledger;
use crate::bodies::{MAGIC, Record, SEGMENT_ENTRIES, scan_segment, segment_path};
use crate::layout::{BODIES, CHECKPOINT};

/// Why a scan ended before the end of its segment.
enum Stop {
    Enough,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Ledger {
    /// Durable records from index `from` on, sealed as they are: about `bytes_max`
    /// of them, and the index after the last. Within one segment.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn copy_records(&self, from: u64, bytes_max: usize) -> io::Result<(Vec<u8>, u64)> {
        let len = self.len();
        let (mut bytes, mut next) = (Vec::new(), from);
        if from >= len {
            return Ok((bytes, next));
        }
        let scanned = scan_segment(self.dir(), from / SEGMENT_ENTRIES, |_, record: Record| {
            if record.index >= len || bytes.len() >= bytes_max {
                return Err(Stop::Enough);
            }
            if record.index >= from {
                record.write_to(&mut bytes);
                next = record.index + 1;
            }
            // What lies behind the durable end may be half written.
            if next >= len { Err(Stop::Enough) } else { Ok(()) }
        });
        match scanned {
            Ok(_) if next == from => Err(io::Error::from(io::ErrorKind::InvalidData)),
            Ok(_) | Err(Stop::Enough) => Ok((bytes, next)),
            Err(Stop::Io(error)) => Err(error),
        }
    }
}

/// A ledger's folder that is being made of copied records.
#[derive(Debug)]
pub struct LedgerCopy {
    dir: PathBuf,
    next: u64,
    segment: Option<File>,
}

impl LedgerCopy {
    /// Begins in the new folder `dir`.
    ///
    /// # Errors
    /// When it exists or cannot be made.
    pub fn begin(dir: &Path) -> io::Result<Self> {
        fs::create_dir(dir)?;
        fs::create_dir(dir.join(BODIES))?;
        Ok(Self { dir: dir.to_owned(), next: 0, segment: None })
    }

    /// The index that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes records as [`Ledger::copy_records`] gave them.
    ///
    /// # Errors
    /// `InvalidData` when they are no whole records or not the next ones.
    pub fn take(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let record = Record::read_from(&mut records)?
                .filter(|record| record.index == self.next)
                .ok_or(io::ErrorKind::InvalidData)?;
            let mut bytes = Vec::new();
            if record.index % SEGMENT_ENTRIES == 0 {
                self.sync()?;
                let path = self.dir.join(segment_path(record.index / SEGMENT_ENTRIES));
                self.segment = Some(OpenOptions::new().write(true).create_new(true).open(path)?);
                bytes.extend_from_slice(MAGIC);
                bytes.extend_from_slice(&record.index.to_be_bytes());
            }
            record.write_to(&mut bytes);
            self.segment.as_mut().ok_or(io::ErrorKind::InvalidData)?.write_all(&bytes)?;
            self.next += 1;
        }
        Ok(())
    }

    /// Puts the signed checkpoint beside them. Durable on return.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self, checkpoint: &str) -> io::Result<()> {
        self.sync()?;
        let mut file = File::create(self.dir.join(CHECKPOINT))?;
        file.write_all(checkpoint.as_bytes())?;
        file.sync_all()?;
        File::open(self.dir.join(BODIES))?.sync_all()?;
        File::open(&self.dir)?.sync_all()
    }

    fn sync(&mut self) -> io::Result<()> {
        self.segment.take().map_or(Ok(()), |file| file.sync_all())
    }
}
