//! Verifies the folder of a ledger: entries tiles → leaf hashes → hash tiles →
//! root → checkpoint; then the sealed bodies, as far as that goes without a key. On
//! all cores, and in memory that does not grow with the entries.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{
    Policy, Report, Subject, Tampering, VIOLATIONS_MAX, Violation, Violations, check_checkpoint,
};
use crate::bodies::{SEGMENT_ENTRIES, Scanned, Tail, list_segments, scan_segment, segment_path};
use crate::layout::{BODIES, CHECKPOINT, TILES, TileAddress, TileKind, files_below};
use crate::leaf::{LEAF_BYTES, leaf_data};
use crate::medium::UNFINISHED;
use crate::note::Checkpoint;
use crate::tree::{Frontier, Hash, TILE_WIDTH, fold, leaf_hash};

/// Tiles that are read at once: some megabytes.
const TILES_AT_ONCE: usize = 512;
/// Body segments that are read at once.
const SEGMENTS_AT_ONCE: usize = 32;

pub(super) fn check(dir: &Path, policy: &Policy) -> Result<Report, Vec<Violation>> {
    let mut found = Violations::default();
    let signed = read_checkpoint(dir, policy, &mut found);
    let files = list_tiles(dir, &mut found);
    // Without a checkpoint there is no size: take what is there, to say more.
    let size = signed.as_ref().map_or_else(|| size_of(&files), |(signed, _)| signed.size());
    let mut check = FolderCheck {
        dir,
        policy,
        size,
        files,
        found,
        entries: Side::default(),
        hashes: Side::default(),
        differing: Vec::new(),
        hashes_right: false,
        last: BTreeMap::new(),
        beyond: Vec::new(),
        narrower: Vec::new(),
    };
    check.leaves();
    check.upper_tiles(signed.as_ref().map(|(signed, _)| signed));
    let bodies = check.bodies();
    check.what_is_left(bodies);
    let violations = check.found.0;
    match signed {
        Some((signed, witnesses_count)) if violations.is_empty() => Ok(Report {
            subject: match bodies {
                None => Subject::PublicFolder,
                Some(_) => Subject::FolderWithBodies,
            },
            origin: policy.origin.clone(),
            size,
            root: signed.root(),
            entries_count: size,
            witnesses_count,
            witnessed_size: size,
            compared_with_seen: policy.seen.is_some(),
        }),
        _ => Err(violations),
    }
}

fn read_checkpoint(
    dir: &Path,
    policy: &Policy,
    found: &mut Violations,
) -> Option<(Checkpoint, usize)> {
    let outcome = match fs::read(dir.join(CHECKPOINT)) {
        Err(error) => Err(unreadable(&error)),
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(note) => check_checkpoint(&note, policy),
            Err(_) => Err(Tampering::Malformed),
        },
    };
    outcome.map_err(|what| found.add(CHECKPOINT, None, what)).ok()
}

fn unreadable(error: &io::Error) -> Tampering {
    match error.kind() {
        io::ErrorKind::NotFound => Tampering::Missing,
        kind => Tampering::Unreadable(kind),
    }
}

/// Tile files by what they hold, each list widest first.
type Files = BTreeMap<(TileKind, u64), Vec<TileAddress>>;

fn list_tiles(dir: &Path, found: &mut Violations) -> Files {
    let mut files = Files::new();
    let listing = files_below(dir, TILES).unwrap_or_else(|error| {
        found.add(TILES, None, unreadable(&error));
        Vec::new()
    });
    for file in listing.iter().filter(|file| !file.ends_with(UNFINISHED)) {
        match TileAddress::parse(file) {
            Some(tile) => files.entry((tile.kind, tile.index)).or_default().push(tile),
            None => found.add(file, None, Tampering::Unexpected),
        }
    }
    for tiles in files.values_mut() {
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile.width));
    }
    files
}

fn size_of(files: &Files) -> u64 {
    let last = files.iter().rev().find(|((kind, _), _)| *kind == TileKind::Entries);
    last.map_or(0, |((_, index), tiles)| {
        index * TILE_WIDTH as u64 + tiles.first().map_or(0, |tile| tile.width.into())
    })
}

/// A tree as one kind of tile tells it.
#[derive(Default)]
struct Side {
    frontier: Frontier,
    /// Finished tiles above level 0.
    upper: BTreeMap<(u8, u64), Vec<u8>>,
    root_at_seen: Option<Hash>,
}

impl Side {
    fn push(&mut self, leaf: Hash, seen: Option<u64>) {
        let upper = &mut self.upper;
        self.frontier.push(leaf, |level, index, hashes| {
            if level > 0 {
                upper.insert((level, index), hashes.concat());
            }
        });
        self.note_seen(seen);
    }

    /// Adds a full tile of leaves by its root.
    fn push_subtree(&mut self, root: Hash, seen: Option<u64>) {
        let upper = &mut self.upper;
        self.frontier.push_subtree(root, |level, index, hashes| {
            if level > 0 {
                upper.insert((level, index), hashes.concat());
            }
        });
        self.note_seen(seen);
    }

    fn note_seen(&mut self, seen: Option<u64>) {
        if seen == Some(self.frontier.size()) {
            self.root_at_seen = Some(self.frontier.root());
        }
    }
}

struct FolderCheck<'a> {
    dir: &'a Path,
    policy: &'a Policy,
    size: u64,
    /// Tile files that nobody has asked for yet.
    files: Files,
    found: Violations,
    /// The tree by the entries tiles (where one is bad, by its hashes).
    entries: Side,
    /// The tree by the hash tiles of level 0 (where one is bad, by its entries).
    hashes: Side,
    /// The first entries of which the two tell different things.
    differing: Vec<u64>,
    /// Whether the checkpoint signs the hashes and not the entries.
    hashes_right: bool,
    /// The files that were taken for tiles that are not full.
    last: BTreeMap<(TileKind, u64), String>,
    /// Tiles of a tree that is larger than the signed one.
    beyond: Vec<TileAddress>,
    /// Older partial tiles that say something else than a wider one: the file, the
    /// wider file, the entry.
    narrower: Vec<(String, String, u64)>,
}

impl FolderCheck<'_> {
    /// Reads entries tiles and hash tiles of level 0 side by side, some at a time on
    /// all cores.
    fn leaves(&mut self) {
        let tiles = self.size.div_ceil(TILE_WIDTH as u64);
        let (dir, size) = (self.dir, self.size);
        for first in (0..tiles).step_by(TILES_AT_ONCE) {
            let wave: Vec<_> = (first..tiles.min(first + TILES_AT_ONCE as u64))
                .map(|tile| {
                    let mut files = |kind| self.files.remove(&(kind, tile)).unwrap_or_default();
                    (tile, files(TileKind::Entries), files(TileKind::Hashes(0)))
                })
                .collect();
            let read = on_all_cores(&wave, |(tile, entries, hashes)| {
                let entries = Tile::read(dir, size, TileKind::Entries, *tile, entries);
                let hashes = Tile::read(dir, size, TileKind::Hashes(0), *tile, hashes);
                let width = (size - tile * TILE_WIDTH as u64).min(TILE_WIDTH as u64);
                let leaves = leaves_of(&entries, &hashes, width);
                (*tile, entries, hashes, leaves)
            });
            for (tile, entries, hashes, leaves) in read {
                self.note(TileKind::Entries, tile, entries);
                self.note(TileKind::Hashes(0), tile, hashes);
                self.push_tile(tile, leaves);
            }
        }
    }

    /// Adds a tile to both trees.
    fn push_tile(&mut self, tile: u64, leaves: Leaves) {
        let seen = self.policy.seen.map(|seen| seen.size);
        let first = tile * TILE_WIDTH as u64;
        let end = first + TILE_WIDTH as u64;
        let each = match leaves {
            Leaves::Agreeing(root, _) if seen.is_none_or(|seen| seen <= first || seen >= end) => {
                self.entries.push_subtree(root, seen);
                self.hashes.push_subtree(root, seen);
                return;
            }
            Leaves::Agreeing(_, leaves) => {
                leaves.into_iter().map(|leaf| (Some(leaf), Some(leaf), true)).collect()
            }
            Leaves::Each(each) => each,
        };
        for ((by_entry, by_hash, formed), index) in each.into_iter().zip(first..) {
            if !formed {
                self.add_tile(TileKind::Entries, index, Tampering::Malformed);
            }
            let differ = by_entry.is_some() && by_hash.is_some() && by_entry != by_hash;
            if differ && self.differing.len() < VIOLATIONS_MAX {
                self.differing.push(index);
            }
            self.entries.push(by_entry.or(by_hash).unwrap_or_default(), seen);
            self.hashes.push(by_hash.or(by_entry).unwrap_or_default(), seen);
        }
    }

    /// Takes over what was noticed about a tile while it was read; gives its bytes.
    fn note(&mut self, kind: TileKind, index: u64, tile: Tile) -> Option<Vec<u8>> {
        for (file, entry, what) in tile.violations {
            self.found.add(&file, entry, what);
        }
        self.beyond.extend(tile.beyond);
        self.narrower.extend(tile.narrower);
        let (path, bytes) = tile.whole?;
        if bytes.len() < TILE_WIDTH * kind.hash_bytes() {
            self.last.insert((kind, index), path);
        }
        Some(bytes)
    }

    /// Adds a violation of the tile of `kind` that holds leaf `index`.
    fn add_tile(&mut self, kind: TileKind, index: u64, what: Tampering) {
        let tile = TileAddress::in_tree(kind, index / TILE_WIDTH as u64, self.size);
        let path = tile.map(|tile| tile.path()).unwrap_or_default();
        self.found.add(&path, Some(index), what);
    }

    /// Reads the tile `index` of `kind`; `None` when there is none, or it is too short.
    fn read_tile(&mut self, kind: TileKind, index: u64) -> Option<Vec<u8>> {
        let files = self.files.remove(&(kind, index)).unwrap_or_default();
        let tile = Tile::read(self.dir, self.size, kind, index, &files);
        self.note(kind, index, tile)
    }

    /// Decides which of entries and hashes the checkpoint signs; then holds the
    /// upper hash tiles against it.
    fn upper_tiles(&mut self, signed: Option<&Checkpoint>) {
        let root = |side: &Side| side.frontier.root();
        let entries_fit = signed.is_some_and(|signed| signed.root() == root(&self.entries));
        let hashes_fit = signed.is_some_and(|signed| signed.root() == root(&self.hashes));
        let what = match (entries_fit, hashes_fit) {
            (false, true) => Tampering::EntryChanged,
            _ => Tampering::HashChanged,
        };
        self.hashes_right = what == Tampering::EntryChanged;
        for index in std::mem::take(&mut self.differing) {
            if self.hashes_right {
                self.add_tile(TileKind::Entries, index, what.clone());
            } else {
                self.add_tile(TileKind::Hashes(0), index, what.clone());
            }
        }
        if signed.is_some() && !entries_fit && !hashes_fit {
            self.found.add(CHECKPOINT, None, Tampering::RootDiffers);
        }
        let side = std::mem::take(if hashes_fit { &mut self.hashes } else { &mut self.entries });
        self.compare_with_seen(&side);
        let mut due = side.upper;
        for (level, hashes) in side.frontier.unfinished().iter().enumerate().skip(1) {
            if !hashes.is_empty() {
                due.insert((level as u8, self.size >> (8 * (level + 1))), hashes.concat());
            }
        }
        for ((level, index), due) in due {
            let Some(there) = self.read_tile(TileKind::Hashes(level), index) else { continue };
            let pairs = due.chunks(32).zip(there.chunks(32));
            if let Some(place) = pairs.into_iter().position(|(a, b)| a != b) {
                let tile = TileAddress::in_tree(TileKind::Hashes(level), index, self.size);
                if let Some(tile) = tile {
                    let index = entry_of(&tile, place);
                    self.found.add(&tile.path(), Some(index), Tampering::HashChanged);
                }
            }
        }
    }

    fn compare_with_seen(&mut self, side: &Side) {
        let Some(seen) = self.policy.seen else { return };
        if self.size < seen.size {
            let what = Tampering::RolledBack { found: self.size, known: seen.size };
            self.found.add(CHECKPOINT, Some(self.size), what);
        } else if seen.size > 0 && side.root_at_seen != Some(seen.root) {
            self.found.add(CHECKPOINT, None, Tampering::Forked { size: seen.size });
        }
    }

    /// Checks the sealed bodies, when they are here. Gives how many there are.
    fn bodies(&mut self) -> Option<u64> {
        if !self.dir.join(BODIES).is_dir() {
            return None;
        }
        let (segments, others) = match list_segments(self.dir) {
            Ok(listing) => listing,
            Err(error) => {
                self.found.add(BODIES, None, unreadable(&error));
                return Some(0);
            }
        };
        for file in others {
            self.found.add(&file, None, Tampering::Unexpected);
        }
        let (mut whole_until, mut damaged) = (0, false);
        let all: Vec<u64> = (0..segments.last().map_or(0, |last| last + 1)).collect();
        let checked = all.chunks(SEGMENTS_AT_ONCE).flat_map(|wave| {
            let scanned = on_all_cores(wave, |segment| self.scan(*segment));
            wave.iter().copied().zip(scanned).collect::<Vec<_>>()
        });
        let checked: Vec<_> = checked.collect();
        for (segment, (scanned, of_another)) in checked {
            let path = segment_path(segment);
            let first = segment * SEGMENT_ENTRIES;
            for index in of_another {
                self.found.add(&path, Some(index), Tampering::BodyOfAnother);
            }
            let scanned = match scanned {
                Ok(scanned) => scanned,
                Err(error) => {
                    self.found.add(&path, Some(first), unreadable(&error));
                    continue;
                }
            };
            whole_until = first + scanned.records;
            let last = segments.last() == Some(&segment);
            // An end that is torn beyond what is signed is a crash, not a loss.
            let torn = last && scanned.tail == Tail::Torn && whole_until >= self.size;
            damaged = scanned.tail != Tail::Clean && !torn;
            if damaged {
                self.found.add(&path, Some(whole_until), Tampering::BodyChanged);
            } else if !last && scanned.records < SEGMENT_ENTRIES {
                self.found.add(&path, Some(whole_until), Tampering::Missing);
            }
        }
        if whole_until < self.size && !damaged {
            let what = Tampering::BodiesTruncated { found: whole_until, due: self.size };
            self.found.add(BODIES, Some(whole_until), what);
        }
        Some(whole_until)
    }

    /// Scans a body segment: what was found, and records that are not of their leaf.
    fn scan(&self, segment: u64) -> (io::Result<Scanned>, Vec<u64>) {
        let mut of_another = Vec::new();
        let (mut held, mut entries, mut hashes) = (u64::MAX, None, None);
        let scanned = scan_segment(self.dir, segment, |_, record| {
            if record.index < self.size {
                let (tile, place) =
                    (record.index / TILE_WIDTH as u64, record.index % TILE_WIDTH as u64);
                if held != tile {
                    held = tile;
                    entries = self.read_again(TileKind::Entries, tile);
                    hashes = self.read_again(TileKind::Hashes(0), tile);
                }
                let data = leaf_data(&record.commitment);
                let by_entry = unit(entries.as_deref(), place, 2 + LEAF_BYTES);
                let by_entry = by_entry.filter(|leaf| leaf[..2] == [0, LEAF_BYTES as u8]);
                let by_hash = unit(hashes.as_deref(), place, 32);
                let right = match (by_entry, by_hash) {
                    (Some(leaf), None) => leaf[2..] == data,
                    (Some(leaf), Some(_)) if !self.hashes_right => leaf[2..] == data,
                    (_, Some(hash)) => *hash == leaf_hash(&data),
                    (None, None) => false,
                };
                if !right && of_another.len() < VIOLATIONS_MAX {
                    of_another.push(record.index);
                }
            }
            Ok::<(), io::Error>(())
        });
        (scanned, of_another)
    }

    /// The bytes of a tile of level 0 that was read before.
    fn read_again(&self, kind: TileKind, index: u64) -> Option<Vec<u8>> {
        let full = TileAddress { kind, index, width: TILE_WIDTH as u16 };
        let path = self.last.get(&(kind, index)).cloned().unwrap_or_else(|| full.path());
        fs::read(self.dir.join(path)).ok()
    }

    /// Older partial tiles; and tiles beyond the signed size: of a ledger at work, when the bodies reach as
    /// far; otherwise entries were taken away.
    fn what_is_left(&mut self, bodies: Option<u64>) {
        for (file, wider, index) in std::mem::take(&mut self.narrower) {
            // Where the wider one was found changed, the narrower one is right.
            let wrong = |v: &Violation| v.file == wider && v.index.map(|i| i.0) == Some(index);
            if !self.found.0.iter().any(wrong) {
                self.found.add(&file, Some(index), Tampering::HashChanged);
            }
        }
        let left = std::mem::take(&mut self.files).into_values().flatten();
        for tile in left.chain(std::mem::take(&mut self.beyond)) {
            let known = entry_of(&tile, usize::from(tile.width));
            if bodies.is_none_or(|bodies| bodies < known) {
                let what = Tampering::RolledBack { found: self.size, known };
                self.found.add(&tile.path(), Some(self.size), what);
            }
        }
    }
}

/// A tile as it was read, with what was noticed.
#[derive(Default)]
struct Tile {
    /// The file that holds it whole, and its bytes.
    whole: Option<(String, Vec<u8>)>,
    violations: Vec<(String, Option<u64>, Tampering)>,
    beyond: Vec<TileAddress>,
    narrower: Vec<(String, String, u64)>,
}

impl Tile {
    /// Reads the tile `index` of `kind`, and holds narrower partial tiles of it
    /// against it. Nothing whole when there is none, or it is too short.
    fn read(dir: &Path, size: u64, kind: TileKind, index: u64, files: &[TileAddress]) -> Self {
        let mut read = Self::default();
        let Some(due) = TileAddress::in_tree(kind, index, size) else { return read };
        let unit = kind.hash_bytes();
        for tile in files {
            let path = tile.path();
            let width = tile.width.min(due.width);
            if tile.width > due.width {
                read.beyond.push(*tile);
            }
            let mut bytes = match fs::read(dir.join(&path)) {
                Ok(bytes) if bytes.len() == usize::from(tile.width) * unit => bytes,
                Ok(_) => {
                    let what = Tampering::Malformed;
                    read.violations.push((path, Some(first_entry(tile)), what));
                    continue;
                }
                Err(error) => {
                    let what = unreadable(&error);
                    read.violations.push((path, Some(first_entry(tile)), what));
                    continue;
                }
            };
            bytes.truncate(usize::from(width) * unit);
            match &read.whole {
                None if width == due.width => read.whole = Some((path, bytes)),
                None => {}
                Some((wider, whole)) => {
                    let pairs = whole.chunks(unit).zip(bytes.chunks(unit));
                    if let Some(place) = pairs.into_iter().position(|(a, b)| a != b) {
                        read.narrower.push((path, wider.clone(), entry_of(tile, place)));
                    }
                }
            }
        }
        if read.whole.is_none() {
            read.violations.push((due.path(), Some(first_entry(&due)), Tampering::Missing));
        }
        read
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.whole.as_ref().map(|(_, bytes)| &bytes[..])
    }
}

/// The leaves of a tile as entries and hashes tell them.
enum Leaves {
    /// They agree on a full tile: the root over it, and its leaves.
    Agreeing(Hash, Vec<Hash>),
    /// Of each: the leaf by its entry, the leaf by its hash, whether the entry has
    /// its form.
    Each(Vec<(Option<Hash>, Option<Hash>, bool)>),
}

fn leaves_of(entries: &Tile, hashes: &Tile, width: u64) -> Leaves {
    let each: Vec<_> = (0..width)
        .map(|place| {
            let data = unit(entries.bytes(), place, 2 + LEAF_BYTES);
            let by_hash = unit(hashes.bytes(), place, 32);
            let by_hash = by_hash.and_then(|hash| Hash::try_from(hash).ok());
            let by_entry = data.and_then(|data| match data {
                [0, length, data @ ..] if usize::from(*length) == LEAF_BYTES => {
                    Some(leaf_hash(data))
                }
                _ => None,
            });
            (by_entry, by_hash, data.is_none() || by_entry.is_some())
        })
        .collect();
    let agree = |(by_entry, by_hash, _): &(Option<Hash>, Option<Hash>, bool)| {
        by_entry.filter(|_| by_entry == by_hash)
    };
    match each.iter().map(agree).collect::<Option<Vec<Hash>>>() {
        Some(leaves) if leaves.len() == TILE_WIDTH => Leaves::Agreeing(fold(&leaves), leaves),
        _ => Leaves::Each(each),
    }
}

/// Does `work` for each of `items` on all cores; gives the outcomes in order.
fn on_all_cores<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<T>>()))
            .collect();
        let joined = parts.into_iter().map(|part| part.join());
        // A thread that panicked is a fault of ours: let it be seen.
        joined.flat_map(|part| part.unwrap_or_else(|why| std::panic::resume_unwind(why))).collect()
    })
}

fn unit(tile: Option<&[u8]>, place: u64, bytes: usize) -> Option<&[u8]> {
    let start = place as usize * bytes;
    tile?.get(start..start + bytes)
}

/// The first entry that hash `place` of `tile` covers.
fn entry_of(tile: &TileAddress, place: usize) -> u64 {
    let hash = tile.index.saturating_mul(TILE_WIDTH as u64).saturating_add(place as u64);
    hash.saturating_mul(256_u64.saturating_pow(u32::from(tile.kind.level())))
}

fn first_entry(tile: &TileAddress) -> u64 {
    entry_of(tile, 0)
}
