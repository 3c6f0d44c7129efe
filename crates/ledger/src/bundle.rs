//! Evidence bundles: some entries, opened, with everything that is needed to
//! check offline that they are in the log. The format stands in the crate's
//! README; [`crate::verify`] reads it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_base::LedgerIndex;
use serde::{Deserialize, Serialize};

use crate::error::{AppendError, ExportError};
use crate::layout::{TileAddress, TileKind};
use crate::leaf::{SALT_BYTES, commitment, leaf_data};
use crate::note::{CheckpointSigner, Note, NoteError, VerifierKey};
use crate::proof::{HashSource, consistency, inclusion, is_included, tile_of};
use crate::tree::{Hash, leaf_hash};
use crate::{Checkpoint, Entry, Filter, Ledger};

/// First line of a bundle, and of its manifest.
pub(crate) const TITLE: &str = "holdfast evidence bundle v1";
/// What index lines begin with.
pub(crate) const INDEX_MARK: &str = "# ";
/// Tiles that the exporter keeps at hand.
const TILES_MAX: usize = 64;

/// One line of a bundle after title and index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Part {
    /// The checkpoint that everything is proven against.
    Checkpoint { note: String },
    /// That the log of an earlier size is a prefix of this one.
    Consistency { from: u64, proof: Vec<String> },
    /// An entry.
    Entry { index: u64, salt: String, entry: String, proof: Vec<String> },
    /// What the bundle holds, signed.
    Manifest { note: String },
}

/// What the log's key says that a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Size of the checkpoint.
    pub(crate) size: u64,
    /// The entries, as ascending ranges `first-last`.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// SHA-256 over every byte of the bundle before the manifest's line.
    pub(crate) digest: Hash,
}

impl Manifest {
    fn sign(&self, signer: &CheckpointSigner) -> String {
        let range = |(first, last): &(u64, u64)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        let ranges: Vec<String> = self.ranges.iter().map(range).collect();
        let ranges = if ranges.is_empty() { "none".to_owned() } else { ranges.join(",") };
        let (origin, size) = (signer.verifier().name(), self.size);
        let digest = BASE64.encode(self.digest);
        signer.sign(&format!("{TITLE}\n{origin}\n{size}\n{ranges}\n{digest}\n"))
    }

    /// Reads a manifest and checks that `key` signed it for `origin`.
    pub(crate) fn parse(note: &str, origin: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let note = Note::parse(note)?;
        key.check(&note)?;
        let lines: Vec<&str> = note.text.lines().collect();
        let [TITLE, name, size, ranges, digest] = lines[..] else {
            return Err(NoteError::NotANote);
        };
        if name != origin {
            return Err(NoteError::OtherOrigin);
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| NoteError::NotANote);
        let range = |text: &str| match text.split_once('-') {
            Some((first, last)) => Ok((number(first)?, number(last)?)),
            None => number(text).map(|one| (one, one)),
        };
        let ranges = match ranges {
            "none" => Vec::new(),
            ranges => ranges.split(',').map(range).collect::<Result<_, _>>()?,
        };
        let digest = BASE64.decode(digest).map_err(|_| NoteError::NotANote)?;
        let digest = digest.try_into().map_err(|_| NoteError::NotANote)?;
        Ok(Self { size: number(size)?, ranges, digest })
    }

    /// Whether entry `index` is in the bundle.
    pub(crate) fn holds(&self, index: u64) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&index))
    }
}

/// The line of the readable index for an entry.
pub(crate) fn index_line(index: LedgerIndex, entry: &Entry) -> String {
    let actor = &entry.actor;
    let mut line =
        format!("{INDEX_MARK}{index} {} {} {}", entry.at, actor.principal, entry.event.kind());
    if let Some(organization) = &actor.organization {
        line.push_str(&format!(" for {organization}"));
    }
    if let Some(address) = &actor.address {
        // Addresses come from outside: what could break the line stays out.
        let plain: String = address.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        line.push_str(&format!(" from {plain}"));
    }
    if let Some((organization, patient)) = entry.event.patient() {
        line.push_str(&format!(" about {organization}/{patient}"));
    }
    line
}

/// Counts and hashes what goes through.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    context: Context,
}

impl Hashing<'_> {
    fn line(&mut self, line: &str) -> io::Result<()> {
        self.context.update(line.as_bytes());
        self.context.update(b"\n");
        writeln!(self.out, "{line}")
    }

    fn part(&mut self, part: &Part) -> io::Result<()> {
        self.line(&serde_json::to_string(part)?)
    }
}

impl Ledger {
    /// Writes the entries that match `filter` as an evidence bundle and returns
    /// how many they are. Publishes a checkpoint first.
    ///
    /// # Errors
    /// [`ExportError`]; what was written until then is no bundle.
    pub fn export_bundle(&self, filter: &Filter, out: &mut dyn Write) -> Result<u64, ExportError> {
        self.export_bundle_since(filter, &[], out)
    }

    /// Like [`export_bundle`](Self::export_bundle), with proofs that the log as it
    /// was at each of the sizes `seen` is a prefix of the log as it is: for a
    /// verifier whose policy names a checkpoint that it saw.
    ///
    /// # Errors
    /// [`ExportError`]; what was written until then is no bundle.
    pub fn export_bundle_since(
        &self,
        filter: &Filter,
        seen: &[u64],
        out: &mut dyn Write,
    ) -> Result<u64, ExportError> {
        let checkpoint = self.publish_checkpoint()?;
        let size = checkpoint.size();
        if let Some(size) = seen.iter().copied().find(|old| *old > size) {
            return Err(ExportError::NoSuchSize { size, len: checkpoint.size() });
        }
        let mut out = Hashing { out, context: Context::new(&SHA256) };
        out.line(TITLE)?;
        let indexes = self.write_index(filter, &checkpoint, &mut out)?;
        out.part(&Part::Checkpoint { note: checkpoint.note().to_owned() })?;
        let mut tiles = Tiles { ledger: self, size, kept: HashMap::new() };
        for from in seen {
            let proof = encode(&consistency(&mut tiles, *from, size)?);
            out.part(&Part::Consistency { from: *from, proof })?;
        }
        for index in &indexes {
            out.part(&self.entry_part(*index, &checkpoint, &mut tiles)?)?;
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(out.context.clone().finish().as_ref());
        let manifest = Manifest { size, ranges: ranges_of(&indexes), digest };
        out.part(&Part::Manifest { note: manifest.sign(&self.signer()) })?;
        out.out.flush()?;
        Ok(indexes.len() as u64)
    }

    /// Writes the readable index; gives the indexes of the entries in it.
    fn write_index(
        &self,
        filter: &Filter,
        checkpoint: &Checkpoint,
        out: &mut Hashing<'_>,
    ) -> Result<Vec<u64>, ExportError> {
        let mut indexes: Vec<u64> = Vec::new();
        loop {
            let after = indexes.last().map(|last| LedgerIndex(*last));
            let page = self.query(filter, after, 256)?;
            let whole = page.len() == 256;
            for placed in page {
                if placed.index.0 >= checkpoint.size() {
                    return Ok(indexes);
                }
                out.line(&index_line(placed.index, &placed.entry))?;
                indexes.push(placed.index.0);
            }
            if !whole {
                return Ok(indexes);
            }
        }
    }

    fn entry_part(
        &self,
        index: u64,
        checkpoint: &Checkpoint,
        tiles: &mut Tiles<'_>,
    ) -> Result<Part, ExportError> {
        let salted = self.salted(LedgerIndex(index))?;
        let proof = inclusion(tiles, index, checkpoint.size())?;
        let leaf = leaf_hash(&leaf_data(&commitment(&salted)));
        if !is_included(leaf, index, checkpoint.size(), &proof, &checkpoint.root()) {
            let tile = TileAddress::in_tree(TileKind::Hashes(0), index / 256, checkpoint.size());
            let file = tile.map(|tile| tile.path()).unwrap_or_default();
            return Err(ExportError::Damaged { file });
        }
        let (salt, entry) = salted.split_at(SALT_BYTES);
        let entry = String::from_utf8_lossy(entry).into_owned();
        Ok(Part::Entry { index, salt: BASE64.encode(salt), entry, proof: encode(&proof) })
    }
}

fn encode(proof: &[Hash]) -> Vec<String> {
    proof.iter().map(|hash| BASE64.encode(hash)).collect()
}

fn ranges_of(indexes: &[u64]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    ranges
}

/// The published tiles of a tree of `size`.
struct Tiles<'a> {
    ledger: &'a Ledger,
    size: u64,
    kept: HashMap<TileAddress, Vec<u8>>,
}

impl HashSource for Tiles<'_> {
    type Error = ExportError;

    fn hashes(&mut self, level: u8, first: u64, count: usize) -> Result<Vec<Hash>, ExportError> {
        let (index, place) = tile_of(first);
        let tile = TileAddress::in_tree(TileKind::Hashes(level), index, self.size);
        let tile = tile.ok_or(AppendError::Stopped)?;
        if !self.kept.contains_key(&tile) {
            if self.kept.len() >= TILES_MAX {
                self.kept.clear();
            }
            self.kept.insert(tile, read_tile(self.ledger, &tile)?);
        }
        let bytes = self.kept.get(&tile).and_then(|b| b.get(place * 32..(place + count) * 32));
        let bytes = bytes.ok_or_else(|| ExportError::Damaged { file: tile.path() })?;
        let hash = |chunk: &[u8]| <Hash>::try_from(chunk).unwrap_or_default();
        Ok(bytes.chunks_exact(32).map(hash).collect())
    }
}

/// The bytes of a tile. A partial tile may have become full, and gone, since.
fn read_tile(ledger: &Ledger, tile: &TileAddress) -> io::Result<Vec<u8>> {
    match fs::read(ledger.dir().join(tile.path())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !tile.is_full() => {
            fs::read(ledger.dir().join(TileAddress { width: 256, ..*tile }.path()))
        }
        bytes => bytes,
    }
}
