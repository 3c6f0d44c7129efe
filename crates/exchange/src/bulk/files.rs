//! The files of bulk jobs: chunks of NDJSON, each compressed, padded and sealed with
//! the system key before it reaches the disk. A chunk opens in its place only: job,
//! file and number are bound to it.
//!
//! Layout of a file: for each chunk its length `u32`, big endian, then the sealed bytes.
//! Names of folders and files are random numbers and counts; no type, no patient.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use holdfast_base::RequestId;
use holdfast_keeper::SystemKey;
use serde::{Deserialize, Serialize};

use crate::{ExchangeError, sizes};

/// NDJSON of one chunk before it is sealed: what a reader holds in memory at a time.
pub(super) const CHUNK_BYTES: usize = 512 * 1024;
/// Largest chunk that is read: one resource may be longer than [`CHUNK_BYTES`].
const CHUNK_BYTES_MAX: u32 = 160 * 1024 * 1024;
/// NDJSON is text that repeats itself: the quickest level halves it many times over.
const ZSTD_LEVEL: i32 = 1;

/// What the job's row knows of a file; what lies behind its end on disk does not count.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Extent {
    /// Chunks that count.
    pub chunks: u32,
    /// Bytes on disk that count.
    pub bytes: u64,
    /// Bytes of NDJSON in them.
    pub plain_bytes: u64,
}

/// The folder of all bulk jobs.
pub(super) struct Spool {
    dir: PathBuf,
}

impl Spool {
    /// The spool in `dir`, which need not exist.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn folder(&self, job: RequestId) -> PathBuf {
        self.dir.join(job.to_string())
    }

    fn path(&self, job: RequestId, file: u32) -> PathBuf {
        self.folder(job).join(format!("{file}.sealed"))
    }

    /// Makes the folder of a job.
    pub fn make(&self, job: RequestId) -> Result<(), ExchangeError> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(self.folder(job)).map_err(failed)?;
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    /// Removes everything of a job; nothing when there is nothing.
    pub fn remove(&self, job: RequestId) -> Result<(), ExchangeError> {
        match std::fs::remove_dir_all(self.folder(job)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Removes one file; nothing when it is not there.
    pub fn remove_file(&self, job: RequestId, file: u32) -> Result<(), ExchangeError> {
        match std::fs::remove_file(self.path(job, file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The jobs that have a folder.
    pub fn jobs(&self) -> Vec<RequestId> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter_map(|name| name.parse().ok()).collect()
    }

    /// Appends `plain` as one chunk behind `extent`, which then counts it. Written,
    /// not yet durable: [`sync`](Self::sync) before the row is.
    pub fn append(
        &self,
        key: &SystemKey,
        (job, file): (RequestId, u32),
        extent: &mut Extent,
        plain: &[u8],
    ) -> Result<(), ExchangeError> {
        let packed = zstd::bulk::compress(plain, ZSTD_LEVEL).map_err(failed)?;
        let sealed = key.seal(&context(job, file, extent.chunks), &sizes::pad_compressed(packed));
        let length = u32::try_from(sealed.len())
            .map_err(|_| ExchangeError::Internal("a chunk is too long"))?;
        let mut out = self.open_for_writing(job, file)?;
        // What was written and never counted is written over.
        out.set_len(extent.bytes).map_err(failed)?;
        out.seek(SeekFrom::Start(extent.bytes)).map_err(failed)?;
        out.write_all(&length.to_be_bytes()).map_err(failed)?;
        out.write_all(&sealed).map_err(failed)?;
        extent.chunks += 1;
        extent.bytes += 4 + u64::from(length);
        extent.plain_bytes += plain.len() as u64;
        Ok(())
    }

    /// Makes a file durable.
    pub fn sync(&self, job: RequestId, file: u32) -> Result<(), ExchangeError> {
        self.open_for_writing(job, file)?.sync_data().map_err(failed)?;
        File::open(self.folder(job)).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    fn open_for_writing(&self, job: RequestId, file: u32) -> Result<File, ExchangeError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(self.path(job, file)).map_err(failed)
    }

    /// Reads the chunks of a file, one after the other.
    pub fn read(
        &self,
        key: &SystemKey,
        (job, file): (RequestId, u32),
        extent: &Extent,
    ) -> Result<Chunks, ExchangeError> {
        let path = self.path(job, file);
        let source = match extent.chunks {
            0 => None,
            _ => Some(File::open(&path).map_err(failed)?),
        };
        Ok(Chunks { source, key: key.clone(), job, file, next: 0, count: extent.chunks })
    }
}

/// The opened chunks of a file.
pub(super) struct Chunks {
    source: Option<File>,
    key: SystemKey,
    job: RequestId,
    file: u32,
    next: u32,
    count: u32,
}

impl Chunks {
    /// The chunk with a number, without opening those before it.
    pub fn skip_to(mut self, chunk: u32) -> Result<Vec<u8>, ExchangeError> {
        let damaged = || ExchangeError::Damaged(holdfast_keeper::SealError::NotAuthentic);
        let source = self.source.as_mut().ok_or_else(damaged)?;
        for _ in 0..chunk {
            let mut length = [0; 4];
            source.read_exact(&mut length).map_err(failed)?;
            let length = i64::from(u32::from_be_bytes(length));
            source.seek(SeekFrom::Current(length)).map_err(failed)?;
        }
        self.next = chunk;
        self.read_next()
    }

    fn read_next(&mut self) -> Result<Vec<u8>, ExchangeError> {
        let damaged = || ExchangeError::Damaged(holdfast_keeper::SealError::NotAuthentic);
        let source = self.source.as_mut().ok_or_else(damaged)?;
        let mut length = [0; 4];
        source.read_exact(&mut length).map_err(failed)?;
        let length = u32::from_be_bytes(length);
        if length > CHUNK_BYTES_MAX {
            return Err(damaged());
        }
        let mut sealed = vec![0; length as usize];
        source.read_exact(&mut sealed).map_err(failed)?;
        let packed = self.key.open(&context(self.job, self.file, self.next), &sealed)?;
        let room = zstd::bulk::Decompressor::upper_bound(&packed).ok_or_else(damaged)?;
        let plain = zstd::bulk::decompress(&packed, room.min(CHUNK_BYTES_MAX as usize));
        self.next += 1;
        plain.map_err(|_| damaged())
    }
}

impl Iterator for Chunks {
    type Item = Result<Vec<u8>, ExchangeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let read = self.read_next();
        if read.is_err() {
            self.next = self.count;
        }
        Some(read)
    }
}

/// Binds a chunk to its place.
fn context(job: RequestId, file: u32, chunk: u32) -> String {
    format!("bulk/{job}/{file}/{chunk}")
}

fn failed(error: std::io::Error) -> ExchangeError {
    ExchangeError::Store(Box::new(error))
}
