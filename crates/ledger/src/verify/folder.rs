//! Verifies the folder of a ledger: entries tiles → leaf hashes → hash tiles →
//! root → checkpoint; then the sealed bodies, as far as that goes without a key.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{Policy, Report, Subject, Tampering, Violation, Violations, check_checkpoint};
use crate::bodies::{SEGMENT_ENTRIES, Tail, list_segments, scan_segment, segment_path};
use crate::layout::{BODIES, CHECKPOINT, TILES, TileAddress, TileKind, files_below};
use crate::leaf::{LEAF_BYTES, leaf_data};
use crate::medium::UNFINISHED;
use crate::note::Checkpoint;
use crate::tree::{Frontier, Hash, TILE_WIDTH, leaf_hash};

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
        leaves: Vec::new(),
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
    /// Entries of which the two tell different things, with what the hashes tell.
    differing: Vec<(u64, Hash)>,
    /// The leaf hashes that bodies are held against.
    leaves: Vec<Hash>,
    /// Tiles of a tree that is larger than the signed one.
    beyond: Vec<TileAddress>,
    /// Older partial tiles that say something else than a wider one: the file, the
    /// wider file, the entry.
    narrower: Vec<(String, String, u64)>,
}

impl FolderCheck<'_> {
    /// Reads entries tiles and hash tiles of level 0 side by side.
    fn leaves(&mut self) {
        let seen = self.policy.seen.map(|seen| seen.size);
        for tile in 0..self.size.div_ceil(TILE_WIDTH as u64) {
            let entries = self.read_tile(TileKind::Entries, tile);
            let hashes = self.read_tile(TileKind::Hashes(0), tile);
            let width = (self.size - tile * TILE_WIDTH as u64).min(TILE_WIDTH as u64);
            for place in 0..width {
                let index = tile * TILE_WIDTH as u64 + place;
                let data = unit(entries.as_deref(), place, 2 + LEAF_BYTES);
                let by_hash = unit(hashes.as_deref(), place, 32);
                let by_hash = by_hash.and_then(|hash| Hash::try_from(hash).ok());
                let by_entry = data.and_then(|data| match data {
                    [0, length, data @ ..] if usize::from(*length) == LEAF_BYTES => {
                        Some(leaf_hash(data))
                    }
                    _ => None,
                });
                if data.is_some() && by_entry.is_none() {
                    self.add_tile(TileKind::Entries, index, Tampering::Malformed);
                }
                if let (Some(by_entry), Some(by_hash)) = (by_entry, by_hash)
                    && by_entry != by_hash
                {
                    self.differing.push((index, by_hash));
                }
                let leaf = by_entry.or(by_hash).unwrap_or_default();
                self.leaves.push(leaf);
                self.entries.push(leaf, seen);
                self.hashes.push(by_hash.or(by_entry).unwrap_or_default(), seen);
            }
        }
    }

    /// Adds a violation of the tile of `kind` that holds leaf `index`.
    fn add_tile(&mut self, kind: TileKind, index: u64, what: Tampering) {
        let tile = TileAddress::in_tree(kind, index / TILE_WIDTH as u64, self.size);
        let path = tile.map(|tile| tile.path()).unwrap_or_default();
        self.found.add(&path, Some(index), what);
    }

    /// Reads the tile `index` of `kind`, and holds narrower partial tiles of it
    /// against it. `None` when there is none, or it is too short.
    fn read_tile(&mut self, kind: TileKind, index: u64) -> Option<Vec<u8>> {
        let due = TileAddress::in_tree(kind, index, self.size)?;
        let unit = kind.hash_bytes();
        let mut whole: Option<(String, Vec<u8>)> = None;
        for tile in self.files.remove(&(kind, index)).unwrap_or_default() {
            let path = tile.path();
            let width = tile.width.min(due.width);
            if tile.width > due.width {
                self.beyond.push(tile);
            }
            let bytes = match fs::read(self.dir.join(&path)) {
                Ok(bytes) if bytes.len() == usize::from(tile.width) * unit => bytes,
                Ok(_) => {
                    self.found.add(&path, Some(first_entry(&tile)), Tampering::Malformed);
                    continue;
                }
                Err(error) => {
                    self.found.add(&path, Some(first_entry(&tile)), unreadable(&error));
                    continue;
                }
            };
            let bytes = &bytes[..usize::from(width) * unit];
            match &whole {
                None if width == due.width => whole = Some((path, bytes.to_vec())),
                None => {}
                Some((wider, whole)) => {
                    let pairs = whole.chunks(unit).zip(bytes.chunks(unit));
                    if let Some(place) = pairs.into_iter().position(|(a, b)| a != b) {
                        self.narrower.push((path, wider.clone(), entry_of(&tile, place)));
                    }
                }
            }
        }
        if whole.is_none() {
            self.found.add(&due.path(), Some(first_entry(&due)), Tampering::Missing);
        }
        whole.map(|(_, bytes)| bytes)
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
        for (index, by_hash) in std::mem::take(&mut self.differing) {
            if what == Tampering::EntryChanged {
                self.leaves[index as usize] = by_hash;
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
        for segment in 0..segments.last().map_or(0, |last| last + 1) {
            let path = segment_path(segment);
            let first = segment * SEGMENT_ENTRIES;
            let scanned = scan_segment(self.dir, segment, |_, record| {
                let leaf = self.leaves.get(record.index as usize);
                if leaf.is_some_and(|leaf| *leaf != leaf_hash(&leaf_data(&record.commitment))) {
                    self.found.add(&path, Some(record.index), Tampering::BodyOfAnother);
                }
                Ok::<(), io::Error>(())
            });
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
