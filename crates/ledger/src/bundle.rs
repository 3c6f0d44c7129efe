//! Evidence bundles: some entries, opened, with everything that is needed to
//! check offline that they are in the log. The format stands in the crate's
//! README; [`crate::verify`] reads it.

use std::io::{self, Write};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_base::LedgerIndex;
use serde::{Deserialize, Serialize};

use crate::error::ExportError;
use crate::layout::{TileAddress, TileKind};
use crate::leaf::{SALT_BYTES, commitment, leaf_data};
use crate::note::{CheckpointSigner, Note, NoteError, VerifierKey};
use crate::proof::{consistency, inclusion, is_included};
use crate::published::PublishedTiles;
use crate::tree::{Hash, leaf_hash};
use crate::verify::Policy;
use crate::{Action, Checkpoint, Entry, Event, Filter, Ledger};

/// First line of a bundle, and of its manifest.
pub(crate) const TITLE: &str = "holdfast evidence bundle v2";
/// The same of bundles whose index is a list of words and not of sentences.
pub(crate) const TITLE_V1: &str = "holdfast evidence bundle v1";
/// What index lines begin with.
pub(crate) const INDEX_MARK: &str = "# ";
/// What the lines above the index begin with.
pub(crate) const PREAMBLE_MARK: &str = "## ";
/// How many they are.
pub(crate) const PREAMBLE_LINES: usize = 8;

/// What an export is to hold besides its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportOptions {
    /// Sizes of the ledger that its verifiers saw before: the bundle proves that it
    /// continues each.
    pub seen: Vec<u64>,
    /// Whether to prove against the checkpoint that witnesses cosigned last, when
    /// there is one. Later entries are left out then.
    pub witnessed: bool,
    /// The policy to enclose, as TOML: who the witnesses are. The log's name and keys
    /// are put in by the ledger itself.
    pub policy: Option<String>,
}

/// One line of a bundle after title and index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Part {
    /// The checkpoint that everything is proven against.
    Checkpoint { note: String },
    /// What the exporter says is to be trusted; a verifier goes by its own.
    Policy { toml: String },
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
        let [TITLE | TITLE_V1, name, size, ranges, digest] = lines[..] else {
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

/// The lines above the index: what this is, for somebody who has never seen one.
pub(crate) fn preamble(origin: &str, size: u64, count: usize) -> [String; PREAMBLE_LINES] {
    [
        format!("This file is evidence from the audit ledger \"{origin}\".").as_str(),
        format!("It holds {count} of the {size} entries that its signed checkpoint counts.")
            .as_str(),
        "Each line that begins with one # says in words what one entry says.",
        "The JSON lines below prove it: salt and entry hash to a leaf of a tree, the proof",
        "leads from the leaf to the root, and the root is signed in the checkpoint.",
        "To check it without trusting whoever gave it to you, get the ledger's policy from",
        "somebody you trust and run: holdfast ledger verify FILE --policy POLICY",
        "The format is described in docs/evidence-bundle.md of Holdfast.",
    ]
    .map(|line| format!("{PREAMBLE_MARK}{line}"))
}

/// The line of the index of version 2: a sentence.
pub(crate) fn sentence(index: LedgerIndex, entry: &Entry) -> String {
    format!("{INDEX_MARK}{}", in_words(index, entry))
}

/// What an entry says, as a sentence for people.
pub fn in_words(index: LedgerIndex, entry: &Entry) -> String {
    let actor = &entry.actor;
    let mut line = format!("Entry {index}, {}: {}", entry.at, actor.principal);
    if let Some(organization) = &actor.organization {
        line.push_str(&format!(" of {organization}"));
    }
    if let Some(address) = &actor.address {
        line.push_str(&format!(", at {},", printable(address)));
    }
    line.push(' ');
    line.push_str(&phrase(&entry.event));
    if let Some((organization, patient)) = entry.event.patient() {
        line.push_str(&format!("; patient {patient} of {organization}"));
    }
    line.push('.');
    line
}

/// What happened, as the middle of a sentence that begins with who did it.
fn phrase(event: &Event) -> String {
    let words = match event {
        Event::LedgerOpened { .. } => "began the ledger",
        Event::KeyRelease { .. } => "was given keys to a patient's record",
        Event::ServiceKeyRelease { .. } => "was given keys of the service, which open no record",
        Event::Access { action, touches, .. } => {
            let did = match action {
                Action::Read => "read",
                Action::Search => "found by a search",
                Action::Write => "wrote",
                Action::Delete => "deleted",
                Action::Deliver => "passed on",
                Action::Notify => "opened for a notice",
            };
            return format!("{did} {} resource(s) of a patient's record", touches.len());
        }
        Event::Refusal { .. } => "was refused",
        Event::Session { .. } => "signed in or out",
        Event::Intake { .. } => "sent a message that was kept",
        Event::StoreCommit { .. } => "noted the state of the store",
        Event::PatientProfile { .. } => "placed a patient's record",
        Event::Delivery { .. } => "sent news of a patient to another organization",
        Event::AccountChange { .. } => "changed an account",
        Event::BudgetChange { .. } => "changed a budget of patients",
        Event::Alert { .. } => "set off an alert",
        Event::Containment { .. } => "suspended somebody or lifted a suspension",
        Event::IncidentStep { .. } => "took a step in an incident",
        Event::ReleaseUnused { .. } => "gave keys to a patient's record back unused",
        Event::LedgerRead { .. } => "looked at entries of the ledger",
        Event::BulkJob { what, step, patients_count, resources_count, .. } => {
            return format!(
                "took a step of a bulk {what}, {step}: {patients_count} patient(s), \
                 {resources_count} resource(s)"
            );
        }
        Event::SubscriptionChange { .. } => "changed a subscription, or where one may be sent to",
        Event::SettingChange { setting, change, .. } => {
            return format!("changed the setting {setting}: {change}");
        }
        Event::Forgotten { .. } => "destroyed the key of a patient's record",
        #[allow(unreachable_patterns)] // Kinds that have no words of their own.
        other => return format!("recorded {}", other.kind()),
    };
    words.to_owned()
}

/// Addresses come from outside: what could break a line stays out.
fn printable(address: &str) -> String {
    address.chars().filter(|c| c.is_ascii_graphic()).take(64).collect()
}

/// The line of the index of version 1 for an entry.
pub(crate) fn index_line(index: LedgerIndex, entry: &Entry) -> String {
    let actor = &entry.actor;
    let mut line =
        format!("{INDEX_MARK}{index} {} {} {}", entry.at, actor.principal, entry.event.kind());
    if let Some(organization) = &actor.organization {
        line.push_str(&format!(" for {organization}"));
    }
    if let Some(address) = &actor.address {
        line.push_str(&format!(" from {}", printable(address)));
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
        let options = ExportOptions { seen: seen.to_vec(), ..ExportOptions::default() };
        self.export_bundle_with(filter, &options, out)
    }

    /// Like [`export_bundle`](Self::export_bundle), as `options` say.
    ///
    /// # Errors
    /// [`ExportError`]; what was written until then is no bundle.
    pub fn export_bundle_with(
        &self,
        filter: &Filter,
        options: &ExportOptions,
        out: &mut dyn Write,
    ) -> Result<u64, ExportError> {
        let published = self.publish_checkpoint()?;
        let witnessed = options.witnessed.then(|| self.witnessed()).flatten();
        let checkpoint = witnessed.unwrap_or_else(|| published.clone());
        let size = checkpoint.size();
        if let Some(size) = options.seen.iter().copied().find(|old| *old > size) {
            return Err(ExportError::NoSuchSize { size, len: checkpoint.size() });
        }
        let policy = self.policy_of(options)?;
        let mut out = Hashing { out, context: Context::new(&SHA256) };
        out.line(TITLE)?;
        let (indexes, lines) = self.index(filter, &checkpoint)?;
        for line in preamble(self.origin(), size, indexes.len()).iter().chain(&lines) {
            out.line(line)?;
        }
        drop(lines);
        out.part(&Part::Checkpoint { note: checkpoint.note().to_owned() })?;
        out.part(&Part::Policy { toml: policy.to_toml() })?;
        let mut tiles = PublishedTiles::new(self.dir(), published.size());
        for from in &options.seen {
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

    /// The policy that a bundle encloses.
    fn policy_of(&self, options: &ExportOptions) -> Result<Policy, ExportError> {
        let own = Policy::new(self.origin(), self.signer().verifier().clone());
        let own = match self.signer().second_verifier() {
            Some(second) => own.with_log_key(second.clone()),
            None => own,
        };
        let Some(text) = &options.policy else { return Ok(own) };
        let given = Policy::parse(text).map_err(|_| ExportError::Policy)?;
        let Policy { witnesses, witnesses_required, .. } = given;
        Ok(Policy { witnesses, witnesses_required, ..own })
    }

    /// The entries that fit, below the checkpoint's size, with their sentences.
    fn index(
        &self,
        filter: &Filter,
        checkpoint: &Checkpoint,
    ) -> Result<(Vec<u64>, Vec<String>), ExportError> {
        let (mut indexes, mut lines): (Vec<u64>, Vec<String>) = Default::default();
        loop {
            let after = indexes.last().map(|last| LedgerIndex(*last));
            let page = self.query(filter, after, 256)?;
            let whole = page.len() == 256;
            for placed in page {
                if placed.index.0 >= checkpoint.size() {
                    return Ok((indexes, lines));
                }
                lines.push(sentence(placed.index, &placed.entry));
                indexes.push(placed.index.0);
            }
            if !whole {
                return Ok((indexes, lines));
            }
        }
    }

    fn entry_part(
        &self,
        index: u64,
        checkpoint: &Checkpoint,
        tiles: &mut PublishedTiles,
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
