//! The files beside the engine: `lock`, `format` and `watermark`.
//!
//! The watermark is the newest commit that somebody was told about, written
//! after the engine's fsync and before the answer. It is not synced by itself:
//! after a power loss it may be older than the truth, never newer. So an engine
//! that stands before it has lost acknowledged commits.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_base::{CommitNumber, disk};

use crate::chain::{Digest, Position};
use crate::codec::{In, Out};
use crate::error::OpenError;

/// The schema that this build reads and writes.
pub const SCHEMA: u32 = 2;

const SLOT_BYTES: usize = 48;
/// How often a lock that somebody holds is tried: who was killed just now, or is
/// starting a process of its own, holds it a moment longer.
const LOCK_TRIES: usize = 20;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// One slot a sector: a torn write spoils at most the slot that is written.
const SLOT_STRIDE: u64 = 512;

/// Where the keyspaces of a folder's store lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// In the folder.
    Embedded,
    /// In a PostgreSQL; the folder holds lock, format and watermark.
    Postgres,
    /// Elsewhere: the store was moved away and this is what it left.
    Moved,
}

impl EngineKind {
    const ALL: [Self; 3] = [Self::Embedded, Self::Postgres, Self::Moved];

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "fjall-3",
            Self::Postgres => "postgresql-1",
            Self::Moved => "moved",
        }
    }

    fn elsewhere(self) -> &'static str {
        match self {
            Self::Embedded => "the store lies in this folder, not in a database",
            Self::Postgres => "the store lies in a database, not in this folder",
            Self::Moved => "the store was moved elsewhere",
        }
    }
}

/// A store's folder, locked until it is dropped.
pub(crate) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be and locks it.
    pub(crate) fn lock(dir: &Path) -> Result<Self, OpenError> {
        disk::make_folder(dir).map_err(io(dir))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io(&path))?;
        for left in (0..LOCK_TRIES).rev() {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { dir: dir.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) if left > 0 => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
            }
        }
        Err(OpenError::InUse { dir: dir.to_owned() })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// The folder itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the engine lives.
    pub(crate) fn engine(&self) -> PathBuf {
        self.dir.join("engine")
    }

    /// The store's identifier and schema, this one or an older; `None` when the
    /// folder is not a store yet. A folder that belongs to another engine is refused.
    pub(crate) fn read_format(
        &self,
        wanted: EngineKind,
    ) -> Result<Option<([u8; 16], u32)>, OpenError> {
        let path = self.dir.join("format");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        let unreadable =
            || OpenError::Damaged { place: "format".to_owned(), what: "the file has another form" };
        let mut lines = text.lines();
        let name = lines.next();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let schema = field("schema").and_then(|number| number.parse().ok());
        let engine = field("engine");
        let id = field("store").and_then(|id| u128::from_str_radix(id, 16).ok());
        match (name, schema, engine, id) {
            (Some("holdfast-store"), Some(found), ..) if !(1..=SCHEMA).contains(&found) => {
                Err(OpenError::Schema { dir: self.dir.clone(), found, known: SCHEMA })
            }
            (Some("holdfast-store"), Some(schema), Some(engine), Some(id)) => {
                match EngineKind::ALL.into_iter().find(|kind| kind.name() == engine) {
                    Some(found) if found == wanted => Ok(Some((id.to_be_bytes(), schema))),
                    Some(found) => {
                        Err(OpenError::Elsewhere { dir: self.dir.clone(), what: found.elsewhere() })
                    }
                    None => Err(unreadable()),
                }
            }
            _ => Err(unreadable()),
        }
    }

    /// Makes the folder a store: durable on return.
    pub(crate) fn write_format(
        &self,
        engine: EngineKind,
        store_id: &[u8; 16],
    ) -> Result<(), OpenError> {
        self.write_schema(engine, store_id, SCHEMA)
    }

    /// Says which schema the store has: durable on return.
    pub(crate) fn write_schema(
        &self,
        engine: EngineKind,
        store_id: &[u8; 16],
        schema: u32,
    ) -> Result<(), OpenError> {
        let (id, engine) = (u128::from_be_bytes(*store_id), engine.name());
        let text = format!("holdfast-store\nschema {schema}\nengine {engine}\nstore {id:032x}\n");
        let (draft, path) = (self.dir.join("format.draft"), self.dir.join("format"));
        let write = || {
            // The embedded engine does not sync the names of all folders that it makes;
            // before there is a format, nothing was acknowledged.
            if self.engine().is_dir() {
                disk::sync_folders(&self.engine())?;
            }
            let mut file = File::create(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(io(&path))
    }

    /// Where the watermark lies.
    pub(crate) fn watermark(&self) -> PathBuf {
        self.dir.join("watermark")
    }

    /// Makes the watermark at `position`: durable on return.
    pub(crate) fn create_watermark(&self, position: &Position) -> Result<(), OpenError> {
        let path = self.watermark();
        let write = || {
            let mut file = File::create(&path)?;
            file.set_len(2 * SLOT_STRIDE)?;
            file.write_all(&slot(position))?;
            file.sync_all()
        };
        write().map_err(io(&path))
    }

    /// Opens the watermark and says where it stands.
    pub(crate) fn open_watermark(&self) -> Result<(Watermark, CommitNumber, [u8; 32]), OpenError> {
        let path = self.watermark();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(io(&path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io(&path))?;
        let read = |place: usize| {
            let start = place * SLOT_STRIDE as usize;
            read_slot(bytes.get(start..start + SLOT_BYTES)?).map(|found| (found, place))
        };
        let newest = [read(0), read(1)].into_iter().flatten().max_by_key(|((t, _), _)| *t);
        let ((commit, chain), place) = newest.ok_or(OpenError::Damaged {
            place: "watermark".to_owned(),
            what: "neither slot has a valid checksum",
        })?;
        Ok((Watermark { file, other: 1 - place as u64 }, commit, chain))
    }
}

/// The newest acknowledged commit, in two slots that are written in turn.
pub(crate) struct Watermark {
    file: File,
    /// The slot that is written next.
    other: u64,
}

impl Watermark {
    /// Moves on to `position`.
    pub(crate) fn advance(&mut self, position: &Position) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.other * SLOT_STRIDE))?;
        self.file.write_all(&slot(position))?;
        self.other = 1 - self.other;
        Ok(())
    }

    /// Durable on return.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

fn slot(position: &Position) -> Vec<u8> {
    let fields = Out::with_capacity(SLOT_BYTES).u64(position.commit.0).raw(&position.chain).done();
    let check = check_of(&fields);
    Out::default().raw(&fields).raw(&check).done()
}

fn read_slot(bytes: &[u8]) -> Option<(CommitNumber, [u8; 32])> {
    let (fields, check) = bytes.split_at_checked(SLOT_BYTES - 8)?;
    (check == check_of(fields)).then_some(())?;
    let mut fields = In::new(fields);
    Some((CommitNumber(fields.u64()?), fields.array()?))
}

fn check_of(fields: &[u8]) -> [u8; 8] {
    let mut digest = Digest::new("holdfast/store/watermark/v1");
    digest.raw(fields);
    let hash = digest.done();
    std::array::from_fn(|place| hash[place])
}

pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path: path.clone(), source }
}
