//! Reading what a ledger has published: files by their path, hashes by their place,
//! and proofs made from them. Needs the folder's public part and no key.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::ExportError;
use crate::layout::{CHECKPOINT, TileAddress, TileKind, WITNESSED};
use crate::medium::write_whole;
use crate::note::Note;
use crate::proof::{HashSource, consistency, inclusion, root_of, tile_of};
use crate::tree::Hash;
use crate::{AppendError, Checkpoint, Ledger, NoteError};

/// Tiles that a reader keeps at hand.
const TILES_MAX: usize = 64;
/// Most cosignature lines of one checkpoint, and their bytes.
const LINES_BYTES_MAX: usize = 64 << 10;

/// The published tiles of a tree of `size`. Proofs of smaller trees are made from
/// them too: a hash of a whole subtree never changes.
pub(crate) struct PublishedTiles {
    dir: PathBuf,
    size: u64,
    kept: HashMap<TileAddress, Vec<u8>>,
}

impl PublishedTiles {
    pub(crate) fn new(dir: &Path, size: u64) -> Self {
        Self { dir: dir.to_owned(), size, kept: HashMap::new() }
    }
}

impl HashSource for PublishedTiles {
    type Error = ExportError;

    fn hashes(&mut self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, ExportError> {
        let (index, place) = tile_of(first);
        let tile = TileAddress::in_tree(TileKind::Hashes(level), index, self.size);
        let tile = tile.ok_or(AppendError::Stopped)?;
        if !self.kept.contains_key(&tile) {
            if self.kept.len() >= TILES_MAX {
                self.kept.clear();
            }
            self.kept.insert(tile, read_tile(&self.dir, &tile)?);
        }
        let bytes = self.kept.get(&tile).and_then(|b| b.get(place * 32..(place + count) * 32));
        let bytes = bytes.ok_or_else(|| ExportError::Damaged { file: tile.path() })?;
        let hash = |chunk: &[u8]| <Hash>::try_from(chunk).unwrap_or_default();
        Ok(bytes.chunks_exact(32).map(hash).collect())
    }
}

/// The bytes of a tile. A partial tile may have become full, and gone, since.
fn read_tile(dir: &Path, tile: &TileAddress) -> io::Result<Vec<u8>> {
    match fs::read(dir.join(tile.path())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !tile.is_full() => {
            let full = TileAddress { width: 256, ..*tile };
            let mut bytes = fs::read(dir.join(full.path()))?;
            bytes.truncate(usize::from(tile.width) * tile.kind.hash_bytes());
            Ok(bytes)
        }
        bytes => bytes,
    }
}

/// A public file of a ledger's folder by its path: `checkpoint`,
/// `checkpoint.witnessed` or a tile. `None` when there is none, or the path is no
/// such file's.
///
/// # Errors
/// When the disk fails.
pub fn read_public(dir: &Path, path: &str) -> io::Result<Option<Vec<u8>>> {
    let read = match TileAddress::parse(path) {
        Some(tile) => read_tile(dir, &tile),
        None if path == CHECKPOINT || path == WITNESSED => fs::read(dir.join(path)),
        None => return Ok(None),
    };
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A Merkle proof of RFC 6962, as it travels: hashes in standard base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Size of the tree that it leads to.
    pub size: u64,
    /// Root of that tree.
    pub root: String,
    /// The hashes, in the order of RFC 6962.
    pub proof: Vec<String>,
    /// For an inclusion proof: the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// For an inclusion proof: the hash of the entry's leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_hash: Option<String>,
    /// For a consistency proof: the size of the earlier tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_size: Option<u64>,
    /// For a consistency proof: the root of the earlier tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_root: Option<String>,
    /// The newest checkpoint, when it is of this size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

impl Ledger {
    /// Proves that entry `index` is in the tree of `size`; without a size, in that of
    /// a checkpoint which is published now.
    ///
    /// # Errors
    /// [`ExportError::NoSuchSize`] when there is no such tree or entry.
    pub fn prove_inclusion(&self, index: u64, size: Option<u64>) -> Result<Proof, ExportError> {
        let (published, size) = self.published_for(size)?;
        if index >= size {
            return Err(ExportError::NoSuchSize { size: index.saturating_add(1), len: size });
        }
        let mut tiles = PublishedTiles::new(self.dir(), published.size());
        let proof = inclusion(&mut tiles, index, size)?;
        let leaf = tiles.hashes(0, index, 1)?;
        Ok(Proof {
            index: Some(index),
            leaf_hash: leaf.first().map(|hash| BASE64.encode(hash)),
            ..self.proof(&mut tiles, &published, size, &proof)?
        })
    }

    /// Proves that the tree of `size` begins with the tree of `from`; without a size,
    /// that of a checkpoint which is published now.
    ///
    /// # Errors
    /// [`ExportError::NoSuchSize`] when there is no such tree.
    pub fn prove_consistency(&self, from: u64, size: Option<u64>) -> Result<Proof, ExportError> {
        let (published, size) = self.published_for(size)?;
        if from > size {
            return Err(ExportError::NoSuchSize { size: from, len: size });
        }
        let mut tiles = PublishedTiles::new(self.dir(), published.size());
        let proof = consistency(&mut tiles, from, size)?;
        let from_root = root_of(&mut tiles, from)?;
        Ok(Proof {
            from_size: Some(from),
            from_root: Some(BASE64.encode(from_root)),
            ..self.proof(&mut tiles, &published, size, &proof)?
        })
    }

    fn published_for(&self, size: Option<u64>) -> Result<(Checkpoint, u64), ExportError> {
        let published = self.publish_checkpoint()?;
        let len = published.size();
        match size {
            Some(size) if size > len => Err(ExportError::NoSuchSize { size, len }),
            size => Ok((published, size.unwrap_or(len))),
        }
    }

    fn proof(
        &self,
        tiles: &mut PublishedTiles,
        published: &Checkpoint,
        size: u64,
        proof: &[Hash],
    ) -> Result<Proof, ExportError> {
        Ok(Proof {
            size,
            root: BASE64.encode(root_of(tiles, size)?),
            proof: proof.iter().map(|hash| BASE64.encode(hash)).collect(),
            index: None,
            leaf_hash: None,
            from_size: None,
            from_root: None,
            checkpoint: (published.size() == size).then(|| published.note().to_owned()),
        })
    }

    /// A public file by its path; see [`read_public`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn public_file(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        read_public(self.dir(), path)
    }

    /// Publishes `note`, a checkpoint of this log that others have cosigned, as
    /// `checkpoint.witnessed`. Whose lines they are is for verifiers to judge: they
    /// go by their own policy.
    ///
    /// # Errors
    /// [`CosignError`]; what was published before stays.
    pub fn publish_witnessed(&self, note: &str) -> Result<Checkpoint, CosignError> {
        if note.len() > LINES_BYTES_MAX {
            return Err(CosignError::TooLong);
        }
        let signer = self.signer();
        let checkpoint =
            Checkpoint::parse(note, self.origin(), signer.verifier()).map_err(CosignError::Note)?;
        let known = self.witnessed().map_or(0, |known| known.size());
        if checkpoint.size() < known {
            return Err(CosignError::Older { size: checkpoint.size(), known });
        }
        write_whole(self.medium(), self.dir(), WITNESSED, note.as_bytes())?;
        Ok(checkpoint)
    }

    /// The newest checkpoint that others have cosigned.
    pub fn witnessed(&self) -> Option<Checkpoint> {
        let note = fs::read_to_string(self.dir().join(WITNESSED)).ok()?;
        Checkpoint::parse(&note, self.origin(), self.signer().verifier()).ok()
    }
}

/// Why a cosigned checkpoint was not published.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// It is no checkpoint of this log.
    #[error("not a checkpoint of this log: {0}")]
    Note(NoteError),
    /// It is longer than any checkpoint with sensible cosignatures.
    #[error("longer than a cosigned checkpoint may be")]
    TooLong,
    /// A newer one is published.
    #[error("a cosigned checkpoint of {known} entries is published, this one has {size}")]
    Older {
        /// Its size.
        size: u64,
        /// That of the newer one.
        known: u64,
    },
    /// The disk refused.
    #[error("the cosigned checkpoint cannot be written")]
    Io(#[from] io::Error),
}

impl CosignError {
    /// Whose fault it is.
    pub fn category(&self) -> holdfast_base::Category {
        match self {
            Self::Note(_) | Self::TooLong => holdfast_base::Category::Incorrect,
            Self::Older { .. } => holdfast_base::Category::Conflict,
            Self::Io(_) => holdfast_base::Category::Fault,
        }
    }
}

/// The size and root that a note states, unverified; for who asks a witness.
///
/// # Errors
/// [`NoteError`] when it is no checkpoint.
pub fn stated(note: &str) -> Result<(u64, Hash), NoteError> {
    Note::parse(note)?.state().map(|(_, size, root)| (size, root))
}
