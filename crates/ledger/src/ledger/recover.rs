//! Opening: take the index for the bodies that it covers, read every other record,
//! build the tree, and hold the result against tiles and checkpoint. Nothing but
//! the index is written before everything fits.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use holdfast_base::{Clock, LedgerIndex, PrincipalId};
use parking_lot::{Condvar, Mutex, RwLock};

use super::indexing::{Leaves, Workshop};
use super::tiles::GrowingTree;
use super::view::{Piece, Shape, View};
use super::writer::BodyWriter;
use super::{Ledger, LedgerKeys, Queue, Writer, open_record};
use crate::bodies::{SEGMENT_ENTRIES, Start, Tail, list_segments, scan_from, segment_path};
use crate::error::{Damage, OpenError};
use crate::index::{self, Segment};
use crate::layout::{BODIES, CHECKPOINT, INDEX, LOCK, TILES, TileAddress, files_below};
use crate::leaf::SALT_BYTES;
use crate::medium::{Medium, UNFINISHED, write_all_whole};
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
    medium: Arc<dyn Medium>,
    shape: Shape,
) -> Result<Ledger, OpenError> {
    if keys.signer.verifier().name() != origin {
        return Err(OpenError::WrongOrigin);
    }
    fs::create_dir_all(dir)?;
    if let Some(parent) = dir.parent().filter(|parent| parent.is_dir()) {
        medium.sync_folder(parent)?;
    }
    for folder in [BODIES, INDEX] {
        medium.create_folder(&dir.join(folder))?;
    }
    medium.sync_folder(dir)?;
    let lock = lock(dir)?;
    let checkpoint = read_checkpoint(dir, origin, &keys)?;
    let cache = Arc::default();
    let (sealer, signed) = (&*keys.sealer, checkpoint.as_ref());
    let workshop = Workshop { dir, medium: &*medium, sealer, cache: &cache };
    let known = Known::list(dir, signed.map_or(0, Checkpoint::size))?;
    // With the index, bodies that it covers are not read. Whatever is wrong then is
    // looked for again without it, so that it is named by its place.
    let read = match Reading::new(workshop, signed, shape, known).everything() {
        Err(_) if index::list(dir)? != Default::default() => {
            Reading::new(workshop, signed, shape, Known::default()).everything()?
        }
        read => read?,
    };
    let Found { end, view, tree, missing } = read;

    let kept: Vec<(u64, u64)> = view.read().pieces.iter().filter_map(Piece::on_disk).collect();
    index::remove_others(dir, &kept);
    let mut bodies = BodyWriter::new(dir, Arc::clone(&medium), end.length);
    if let Some((segment, length)) = end.cut {
        bodies.cut(segment, length)?;
    }
    let files: Vec<_> = missing.iter().map(|(tile, bytes)| (tile.path(), &bytes[..])).collect();
    write_all_whole(&*medium, dir, &files)?;
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
        view,
        medium,
        cache,
        leaves: Leaves::default(),
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

/// Between two tries for the lock.
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

fn lock(dir: &Path) -> Result<File, OpenError> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    // A keeper whose server was killed just now ends within a moment.
    for _ in 0..60 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(OpenError::AlreadyOpen)
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

/// The index segments that may stand for bodies: by their first entry, the counts
/// that there are, largest first.
#[derive(Default)]
struct Known(BTreeMap<u64, Vec<u64>>);

impl Known {
    fn list(dir: &Path, signed: u64) -> io::Result<Self> {
        let mut known = BTreeMap::<u64, Vec<u64>>::new();
        for (first, count) in index::list(dir)?.0 {
            let whole_tiles = (first | count).is_multiple_of(TILE_WIDTH as u64) && count > 0;
            if whole_tiles && first.checked_add(count).is_some_and(|last| last <= signed) {
                known.entry(first).or_default().push(count);
            }
        }
        known.values_mut().for_each(|counts| counts.sort_unstable_by(|a, b| b.cmp(a)));
        Ok(Self(known))
    }

    /// The first entry of the next segment after `index`.
    fn next_after(&self, index: u64) -> u64 {
        self.0.range(index + 1..).next().map_or(u64::MAX, |(first, _)| *first)
    }
}

/// Everything that was found.
struct Found {
    end: End,
    view: RwLock<View>,
    tree: GrowingTree,
    /// Full tiles that are not on disk.
    missing: Vec<(TileAddress, Vec<u8>)>,
}

/// What was read so far.
struct Reading<'a> {
    workshop: Workshop<'a>,
    checkpoint: Option<&'a Checkpoint>,
    shape: Shape,
    known: Known,
    view: RwLock<View>,
    tree: GrowingTree,
    missing: Vec<(TileAddress, Vec<u8>)>,
}

impl<'a> Reading<'a> {
    fn new(
        workshop: Workshop<'a>,
        checkpoint: Option<&'a Checkpoint>,
        shape: Shape,
        known: Known,
    ) -> Self {
        let (view, tree) = (RwLock::new(View::new(shape)), GrowingTree::default());
        Self { workshop, checkpoint, shape, known, view, tree, missing: Vec::new() }
    }

    fn everything(mut self) -> Result<Found, OpenError> {
        let end = self.segments()?;
        self.check_size()?;
        self.check_tiles()?;
        Ok(Found { end, view: self.view, tree: self.tree, missing: self.missing })
    }

    fn signed(&self) -> u64 {
        self.checkpoint.map_or(0, Checkpoint::size)
    }

    fn segments(&mut self) -> Result<End, OpenError> {
        let dir = self.workshop.dir;
        let (segments, others) = list_segments(dir)?;
        if let Some(file) = others.into_iter().next() {
            return Err(OpenError::Damaged { file, index: None, damage: Damage::Place });
        }
        if let Some((_, segment)) = (0..).zip(&segments).find(|(place, segment)| place != *segment)
        {
            let (file, index) = (segment_path(*segment), Some(LedgerIndex(self.tree.size())));
            return Err(OpenError::Damaged { file, index, damage: Damage::Place });
        }
        let mut end = End::default();
        let mut offset = 0;
        loop {
            let next = self.tree.size();
            if let Some(segment) = self.known_at(next) {
                offset = segment.directory.end;
                self.adopt(segment)?;
                if self.tree.size().is_multiple_of(SEGMENT_ENTRIES) {
                    offset = 0;
                }
                end.length = offset;
                continue;
            }
            let number = next / SEGMENT_ENTRIES;
            if number >= segments.len() as u64 {
                return Ok(end);
            }
            let damaged = |index: u64, damage| OpenError::Damaged {
                file: segment_path(number),
                index: Some(LedgerIndex(index)),
                damage,
            };
            let (start, until) = (Start { index: next, offset }, self.known.next_after(next));
            let scanned = scan_from(dir, number, start, until, |offset, record| {
                let salted = open_record(self.workshop.sealer, &record)
                    .map_err(|damage| damaged(record.index, damage))?;
                let entry: Entry = serde_json::from_slice(&salted[SALT_BYTES..])
                    .map_err(|_| damaged(record.index, Damage::Form))?;
                let end = offset + record.bytes();
                self.view.write().push(&entry, offset, end, record.commitment);
                self.tree.push(&record.commitment);
                self.check_full_tiles()?;
                self.check_root()?;
                if self.tree.size().is_multiple_of(self.shape.entries) {
                    // Memory does not grow with what is read.
                    self.workshop.grow(&self.view, self.signed());
                }
                Ok::<(), OpenError>(())
            })?;
            let whole = scanned.records == SEGMENT_ENTRIES && scanned.tail == Tail::Clean;
            if !whole && self.tree.size() == until {
                self.view.write().close();
                offset = scanned.bytes;
                continue;
            }
            let torn_end = number + 1 == segments.len() as u64 && scanned.tail != Tail::Damaged;
            let below = scanned.tail == Tail::Torn && self.tree.size() < self.signed();
            if !whole && (!torn_end || below) {
                return Err(damaged(self.tree.size(), Damage::Check));
            }
            end.length = if scanned.records == SEGMENT_ENTRIES { 0 } else { scanned.bytes };
            end.cut = (scanned.tail == Tail::Torn).then_some((number, scanned.bytes));
            if !whole {
                return Ok(end);
            }
            if self.tree.size() == until {
                self.view.write().close();
            }
            offset = 0;
        }
    }

    /// The largest index segment that begins with entry `first` and opens.
    fn known_at(&self, first: u64) -> Option<Segment> {
        let Workshop { dir, sealer, cache, .. } = self.workshop;
        let counts = self.known.0.get(&first)?;
        counts.iter().find_map(|count| Segment::open(dir, first, *count, sealer, cache).ok())
    }

    /// Takes an index segment for the bodies that it covers, which must be there in
    /// their length.
    fn adopt(&mut self, segment: Segment) -> Result<(), OpenError> {
        for (number, length) in &segment.directory.bodies {
            let file = segment_path(*number);
            if fs::metadata(self.workshop.dir.join(&file))?.len() != *length {
                return Err(OpenError::Damaged { file, index: None, damage: Damage::Length });
            }
        }
        for root in &segment.directory.subtrees {
            self.tree.push_subtree(*root);
        }
        self.view.write().adopt(segment);
        self.check_full_tiles()?;
        self.check_root()
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
            match fs::read(self.workshop.dir.join(tile.path())) {
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
        let (mut known, mut full) = (0, 0);
        for file in files_below(self.workshop.dir, TILES)? {
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
                full += u64::from(tile.kind.level() == 0);
                continue;
            }
            let whole = match unfinished.iter().find(|(other, _)| *other == due) {
                Some((_, bytes)) => bytes.clone(),
                None => self.full_tile(&due)?,
            };
            let width = usize::from(tile.width) * tile.kind.hash_bytes();
            if whole.get(..width) != Some(&fs::read(self.workshop.dir.join(&file))?[..]) {
                return Err(damaged_tile(file, Damage::Tile));
            }
        }
        let regained = self.missing.iter().filter(|(tile, _)| tile.kind.level() == 0).count();
        if full + (regained as u64) < 2 * (found / TILE_WIDTH as u64) {
            // Which, only reading the bodies can tell.
            return Err(damaged_tile(TILES.to_owned(), Damage::Place));
        }
        if known > found { Err(OpenError::Lost { known, found }) } else { Ok(()) }
    }

    fn full_tile(&self, tile: &TileAddress) -> io::Result<Vec<u8>> {
        match self.missing.iter().find(|(other, _)| other == tile) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => fs::read(self.workshop.dir.join(tile.path())),
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
