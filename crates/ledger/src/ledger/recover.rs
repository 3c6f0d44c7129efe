//! Opening: read every record, rebuild tree and postings, and hold the result
//! against tiles and checkpoint. Nothing is written before everything fits.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use holdfast_base::{Clock, LedgerIndex, PrincipalId};
use parking_lot::{Condvar, Mutex, RwLock};

use super::tiles::GrowingTree;
use super::view::View;
use super::writer::{BodyWriter, Medium};
use super::{Ledger, LedgerKeys, Queue, Writer, open_record};
use crate::bodies::{SEGMENT_ENTRIES, Tail, list_segments, scan_segment, segment_path};
use crate::error::{Damage, OpenError};
use crate::layout::{
    BODIES, CHECKPOINT, LOCK, TILES, TileAddress, UNFINISHED, files_below, sync_folder, write_whole,
};
use crate::leaf::SALT_BYTES;
use crate::note::{Checkpoint, NoteError};
use crate::tree::TILE_WIDTH;
use crate::{Actor, Entry, Event};

/// Who writes the first entry.
const KEEPER: &str = "keeper";

pub(super) fn open(
    dir: &Path,
    origin: &str,
    keys: LedgerKeys,
    clock: Arc<dyn Clock>,
    medium: Box<dyn Medium>,
) -> Result<Ledger, OpenError> {
    if keys.signer.verifier().name() != origin {
        return Err(OpenError::WrongOrigin);
    }
    fs::create_dir_all(dir.join(BODIES))?;
    sync_folder(dir)?;
    let lock = lock(dir)?;
    let checkpoint = read_checkpoint(dir, origin, &keys)?;
    let mut read = Reading::new(dir, &keys, checkpoint.as_ref());
    let torn = read.segments()?;
    read.check_size()?;
    read.check_tiles()?;
    let Reading { view, tree, missing, .. } = read;

    let mut bodies = BodyWriter::new(dir, medium, torn.length);
    if let Some((segment, length)) = torn.cut {
        bodies.cut(segment, length)?;
    }
    for (tile, bytes) in missing {
        write_whole(dir, &tile.path(), &bytes)?;
    }
    let size = tree.size();
    let writer = Writer { bodies, tree, stopped: false };
    let ledger = Ledger {
        dir: dir.to_owned(),
        origin: origin.to_owned(),
        sealer: keys.sealer,
        signer: RwLock::new(Arc::new(keys.signer)),
        clock,
        queue: Mutex::new(Queue::default()),
        answered: Condvar::new(),
        writer: Mutex::new(writer),
        view: RwLock::new(view),
        published: Mutex::new(None),
        _lock: lock,
    };
    if size == 0 {
        ledger.append(&[first_entry(&ledger, origin)?])?;
    }
    // Also when nothing was added: partial tiles that are missing come back.
    ledger.publish_checkpoint()?;
    Ok(ledger)
}

fn first_entry(ledger: &Ledger, origin: &str) -> Result<Entry, OpenError> {
    let principal = PrincipalId::new(KEEPER).map_err(|_| OpenError::WrongOrigin)?;
    Ok(Entry {
        at: ledger.clock().now(),
        actor: Actor { principal, session: None, organization: None, address: None },
        request: None,
        event: Event::LedgerOpened { origin: origin.to_owned() },
    })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::AlreadyOpen),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn read_checkpoint(
    dir: &Path,
    origin: &str,
    keys: &LedgerKeys,
) -> Result<Option<Checkpoint>, OpenError> {
    let bytes = match fs::read(dir.join(CHECKPOINT)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let note = String::from_utf8_lossy(&bytes);
    // By the newest key, or by one before it when a crash came while keys changed.
    let mut read = Err(NoteError::NotSigned);
    for key in keys.signer.verifiers() {
        read = Checkpoint::parse(&note, origin, key);
        if read != Err(NoteError::NotSigned) {
            break;
        }
    }
    read.map(Some).map_err(OpenError::Checkpoint)
}

/// The end of the bodies.
#[derive(Default)]
struct End {
    /// Length of the last segment's whole records.
    length: u64,
    /// The segment to cut, and to what.
    cut: Option<(u64, u64)>,
}

/// What was read so far.
struct Reading<'a> {
    dir: &'a Path,
    keys: &'a LedgerKeys,
    checkpoint: Option<&'a Checkpoint>,
    view: View,
    tree: GrowingTree,
    /// Full tiles that are not on disk.
    missing: Vec<(TileAddress, Vec<u8>)>,
}

impl<'a> Reading<'a> {
    fn new(dir: &'a Path, keys: &'a LedgerKeys, checkpoint: Option<&'a Checkpoint>) -> Self {
        let (view, tree) = (View::default(), GrowingTree::default());
        Self { dir, keys, checkpoint, view, tree, missing: Vec::new() }
    }

    fn segments(&mut self) -> Result<End, OpenError> {
        let (segments, others) = list_segments(self.dir)?;
        if let Some(file) = others.into_iter().next() {
            return Err(OpenError::Damaged { file, index: None, damage: Damage::Place });
        }
        let mut end = End::default();
        for (place, segment) in segments.iter().enumerate() {
            let last = place + 1 == segments.len();
            let damaged = |index: u64, damage| OpenError::Damaged {
                file: segment_path(*segment),
                index: Some(LedgerIndex(index)),
                damage,
            };
            if *segment != place as u64 {
                return Err(damaged(self.tree.size(), Damage::Place));
            }
            let scanned = scan_segment(self.dir, *segment, |offset, record| {
                let salted = open_record(&*self.keys.sealer, &record)
                    .map_err(|damage| damaged(record.index, damage))?;
                let entry: Entry = serde_json::from_slice(&salted[SALT_BYTES..])
                    .map_err(|_| damaged(record.index, Damage::Form))?;
                self.view.push(&entry, offset);
                self.tree.push(&record.commitment);
                self.check_full_tiles()?;
                self.check_root()
            })?;
            let whole = scanned.records == SEGMENT_ENTRIES && scanned.tail == Tail::Clean;
            let torn_end = last && scanned.tail != Tail::Damaged;
            let signed = self.checkpoint.map_or(0, Checkpoint::size);
            if !whole && (!torn_end || (scanned.tail == Tail::Torn && self.tree.size() < signed)) {
                return Err(damaged(self.tree.size(), Damage::Check));
            }
            end.length = if scanned.records == SEGMENT_ENTRIES { 0 } else { scanned.bytes };
            end.cut = (scanned.tail == Tail::Torn).then_some((*segment, scanned.bytes));
        }
        Ok(end)
    }

    /// At the signed size the tree must have the signed root.
    fn check_root(&self) -> Result<(), OpenError> {
        let fits = |signed: &Checkpoint| {
            signed.size() != self.tree.size() || signed.root() == self.tree.root()
        };
        let size = self.tree.size();
        if self.checkpoint.is_none_or(fits) { Ok(()) } else { Err(OpenError::Forked { size }) }
    }

    /// No fewer entries than were signed; and a checkpoint, when more than the
    /// first entry is there (the first is published before anybody can append).
    fn check_size(&self) -> Result<(), OpenError> {
        let found = self.tree.size();
        match self.checkpoint {
            None if found > 1 => Err(OpenError::CheckpointMissing { found }),
            Some(signed) if signed.size() > found => {
                Err(OpenError::Lost { known: signed.size(), found })
            }
            _ => Ok(()),
        }
    }

    /// Holds tiles that the last entry completed against what is on disk.
    fn check_full_tiles(&mut self) -> Result<(), OpenError> {
        for (tile, due) in self.tree.take_finished() {
            match fs::read(self.dir.join(tile.path())) {
                Ok(bytes) if bytes == due => {}
                Ok(_) => return Err(damaged_tile(tile.path(), Damage::Tile)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.missing.push((tile, due));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Every other tile on disk is one that follows from the entries, too. A tile
    /// of a larger tree proves a loss: tiles are written for durable entries only.
    fn check_tiles(&self) -> Result<(), OpenError> {
        let found = self.tree.size();
        let unfinished = self.tree.unfinished();
        let mut known = 0;
        for file in files_below(self.dir, TILES)? {
            if file.ends_with(UNFINISHED) {
                continue;
            }
            let tile = TileAddress::parse(&file);
            let tile = tile.ok_or_else(|| damaged_tile(file.clone(), Damage::Place))?;
            let due = TileAddress::in_tree(tile.kind, tile.index, found);
            let Some(due) = due.filter(|due| due.width >= tile.width) else {
                known = known.max(size_known_by(&tile));
                continue;
            };
            if tile.is_full() {
                continue;
            }
            let whole = match unfinished.iter().find(|(other, _)| *other == due) {
                Some((_, bytes)) => bytes.clone(),
                None => self.full_tile(&due)?,
            };
            let width = usize::from(tile.width) * tile.kind.hash_bytes();
            if whole.get(..width) != Some(&fs::read(self.dir.join(&file))?[..]) {
                return Err(damaged_tile(file, Damage::Tile));
            }
        }
        if known > found { Err(OpenError::Lost { known, found }) } else { Ok(()) }
    }

    fn full_tile(&self, tile: &TileAddress) -> io::Result<Vec<u8>> {
        match self.missing.iter().find(|(other, _)| other == tile) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => fs::read(self.dir.join(tile.path())),
        }
    }
}

fn damaged_tile(file: String, damage: Damage) -> OpenError {
    OpenError::Damaged { file, index: None, damage }
}

/// How many entries a tree that has `tile` has at least.
fn size_known_by(tile: &TileAddress) -> u64 {
    let hashes = (tile.index.saturating_mul(TILE_WIDTH as u64)).saturating_add(tile.width.into());
    hashes.saturating_mul(256_u64.saturating_pow(u32::from(tile.kind.level())))
}
