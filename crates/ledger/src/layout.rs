//! Where things lie in a ledger's folder: C2SP `tlog-tiles` paths for what is
//! public, and the sealed bodies beside them.

use std::fs;
use std::io;
use std::path::Path;

use crate::leaf::LEAF_BYTES;
use crate::tree::TILE_WIDTH;

/// The signed checkpoint, a C2SP signed note.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The newest checkpoint that witnesses have cosigned.
pub(crate) const WITNESSED: &str = "checkpoint.witnessed";
/// The folder of tiles.
pub(crate) const TILES: &str = "tile";
/// The folder of sealed bodies.
pub(crate) const BODIES: &str = "bodies";
/// The folder of the sealed query index.
pub(crate) const INDEX: &str = "index";
/// The file that one opener holds locked.
pub(crate) const LOCK: &str = "lock";

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TileKind {
    /// Leaf data: big-endian uint16 length-prefixed entries.
    Entries,
    /// Hashes of this tile level; level 0 are leaf hashes.
    Hashes(u8),
}

impl TileKind {
    /// The tile level; entries lie at that of their hashes.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Entries => 0,
            Self::Hashes(level) => level,
        }
    }

    /// Bytes for each leaf or hash in the tile.
    pub(crate) fn hash_bytes(self) -> usize {
        match self {
            Self::Entries => 2 + LEAF_BYTES,
            Self::Hashes(_) => 32,
        }
    }
}

/// The address of a tile: `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TileAddress {
    pub(crate) kind: TileKind,
    pub(crate) index: u64,
    /// 1 to 256; 256 is a full tile.
    pub(crate) width: u16,
}

impl TileAddress {
    /// The tile `index` of `kind` as a tree of `size` has it; `None` when such a
    /// tree has none.
    pub(crate) fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(8 * u32::from(kind.level())).unwrap_or(0);
        let width = hashes.checked_sub(index.checked_mul(TILE_WIDTH as u64)?)?;
        let width = width.min(TILE_WIDTH as u64) as u16;
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Whether the tile is full.
    pub(crate) fn is_full(&self) -> bool {
        usize::from(self.width) == TILE_WIDTH
    }

    /// The path below the ledger's folder.
    pub(crate) fn path(&self) -> String {
        let level = match self.kind {
            TileKind::Entries => "entries".to_owned(),
            TileKind::Hashes(level) => level.to_string(),
        };
        let mut number = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            number = format!("x{:03}/{number}", rest % 1000);
            rest /= 1000;
        }
        let partial = if self.is_full() { String::new() } else { format!(".p/{}", self.width) };
        format!("{TILES}/{level}/{number}{partial}")
    }

    /// The address with this [`path`](Self::path), if it is one.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.split('/').collect();
        if parts.len() < 3 || parts[0] != TILES {
            return None;
        }
        let kind = match parts[1] {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().ok()?),
        };
        let mut width = TILE_WIDTH as u16;
        if parts[parts.len() - 2].ends_with(".p") {
            width = parts.pop()?.parse().ok()?;
        }
        let mut index: u64 = 0;
        for part in &parts[2..] {
            let digits = part.trim_start_matches('x').trim_end_matches(".p");
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let address = Self { kind, index, width };
        ((1..=TILE_WIDTH as u16).contains(&width) && address.path() == path).then_some(address)
    }
}

/// Every file below `dir/sub`, as paths relative to `dir`, sorted. Empty when
/// there is no such folder.
pub(crate) fn files_below(dir: &Path, sub: &str) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![sub.to_owned()];
    while let Some(folder) = folders.pop() {
        let listing = match fs::read_dir(dir.join(&folder)) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for item in listing {
            let item = item?;
            let path = format!("{folder}/{}", item.file_name().to_string_lossy());
            if item.file_type()?.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: TileKind, index: u64, width: u16, path: &str) {
        let address = TileAddress { kind, index, width };
        assert_eq!(address.path(), path);
        assert_eq!(TileAddress::parse(path), Some(address));
    }

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        check(TileKind::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067");
        check(TileKind::Entries, 273, 112, "tile/entries/273.p/112");
        check(TileKind::Hashes(2), 0, 1, "tile/2/000.p/1");
    }

    #[test]
    fn a_tree_of_seventy_thousand_has_the_tiles_that_the_specification_counts() {
        let width = |kind, index| TileAddress::in_tree(kind, index, 70_000).map(|tile| tile.width);
        assert_eq!(width(TileKind::Hashes(0), 272), Some(256));
        assert_eq!(width(TileKind::Hashes(0), 273), Some(112));
        assert_eq!(width(TileKind::Hashes(0), 274), None);
        assert_eq!(width(TileKind::Hashes(1), 1), Some(17));
        assert_eq!(width(TileKind::Hashes(2), 0), Some(1));
        assert_eq!(width(TileKind::Hashes(3), 0), None);
    }

    #[test]
    fn what_is_no_tile_path_is_none() {
        for path in [
            "tile/0/1",
            "tile/0/0001",
            "tile/00/001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/07",
            "tile/x/001",
            "tile/0/001.new",
            "tile/0",
            "tile/0/001.p/257",
            "other/0/001",
        ] {
            assert_eq!(TileAddress::parse(path), None, "{path}");
        }
    }
}
