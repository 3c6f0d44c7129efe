//! Verifies an evidence bundle: manifest, checkpoint, and for each entry salt →
//! commitment → leaf → inclusion proof → root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Policy, Report, Subject, Tampering, Violation, Violations, check_checkpoint};
use crate::Entry;
use crate::bundle::{
    INDEX_MARK, Manifest, PREAMBLE_LINES, PREAMBLE_MARK, Part, TITLE, TITLE_V1, index_line,
    preamble, sentence,
};
use crate::leaf::{SALT_BYTES, commitment, leaf_data};
use crate::note::Checkpoint;
use crate::proof::{is_consistent, is_included, may_be_consistent};
use crate::tree::{Hash, hash_parts, leaf_hash};

pub(super) fn check(path: &Path, policy: &Policy) -> Result<Report, Vec<Violation>> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut check = BundleCheck { name: &name, policy, found: Violations::default() };
    let report = match fs::read(path) {
        Err(error) => {
            check.add(None, None, Tampering::Unreadable(error.kind()));
            None
        }
        Ok(bytes) => check.bundle(&bytes),
    };
    match report {
        Some(report) if check.found.0.is_empty() => Ok(report),
        _ => Err(check.found.0),
    }
}

struct BundleCheck<'a> {
    name: &'a str,
    policy: &'a Policy,
    found: Violations,
}

/// A part with its line.
type Placed = (usize, Part);

/// An entry with its line.
type Lines = BTreeMap<u64, (usize, String)>;

impl BundleCheck<'_> {
    fn add(&mut self, line: Option<usize>, index: Option<u64>, what: Tampering) {
        self.found.add_at(self.name, line, index, what);
    }

    /// Gives a report if it comes to the end; it counts only if nothing was found.
    fn bundle(&mut self, bytes: &[u8]) -> Option<Report> {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let is_title =
            |title: &str| lines.first().is_some_and(|l| *l == format!("{title}\n").as_bytes());
        let in_words = !is_title(TITLE_V1);
        if in_words && !is_title(TITLE) {
            self.add(Some(1), None, Tampering::Malformed);
        }
        let count_of = |from: usize, mark: &str| {
            lines.iter().skip(from).take_while(|line| line.starts_with(mark.as_bytes())).count()
        };
        let head = 1 + if in_words { count_of(1, PREAMBLE_MARK) } else { 0 };
        let index_count = count_of(head, INDEX_MARK);
        let index_end = (head + index_count).min(lines.len());
        let index = self.index(&lines[head.min(index_end)..index_end], head, in_words);
        let mut parts = self.parts(&lines, head + index_count);

        let manifest = match parts.last() {
            Some((_, Part::Manifest { .. })) => parts.pop(),
            _ => None,
        };
        let Some((line, Part::Manifest { note })) = manifest else {
            self.add(Some(lines.len()), None, Tampering::BundleTruncated);
            return None;
        };
        let manifest = Manifest::parse(&note, &self.policy.origin, &self.policy.key)
            .map_err(|error| self.add(Some(line), None, Tampering::Note(error)))
            .ok();

        let mut parts = parts.into_iter();
        let Some((line, Part::Checkpoint { note })) = parts.next() else {
            self.add(Some(1 + index_end), None, Tampering::Missing);
            return None;
        };
        let (checkpoint, witnesses_count) = check_checkpoint(&note, self.policy)
            .map_err(|what| self.add(Some(line), None, what))
            .ok()?;

        let mut parts = parts.peekable();
        if let Some((line, Part::Policy { toml })) =
            parts.next_if(|(_, part)| in_words && matches!(part, Part::Policy { .. }))
        {
            self.enclosed_policy(line, &toml);
        }
        let (consistency, entries): (Vec<Placed>, Vec<Placed>) =
            parts.partition(|(_, part)| matches!(part, Part::Consistency { .. }));
        self.proofs(&checkpoint, &consistency);
        self.compare_with_seen(&checkpoint, line, &consistency);
        if in_words {
            let due = preamble(checkpoint.origin(), checkpoint.size(), entries.len());
            let due = due.iter().map(|line| format!("{line}\n"));
            let differs = due.zip(&lines[1..]).position(|(due, line)| due.as_bytes() != *line);
            let differs = differs.or((head != 1 + PREAMBLE_LINES).then_some(0));
            if let Some(place) = differs {
                self.add(Some(2 + place), None, Tampering::PreambleDiffers);
            }
        }
        let there = self.entries(&checkpoint, &index, entries, in_words);
        for (line_index, (line, _)) in &index {
            if !there.contains(line_index) {
                self.add(Some(*line), Some(*line_index), Tampering::Missing);
            }
        }
        self.compare_with_manifest(manifest?, &checkpoint, &there, bytes, &lines);
        Some(Report {
            subject: Subject::Bundle,
            origin: self.policy.origin.clone(),
            size: checkpoint.size(),
            root: checkpoint.root(),
            entries_count: there.len() as u64,
            witnesses_count,
            witnessed_size: checkpoint.size(),
            compared_with_seen: self.policy.seen.is_some(),
        })
    }

    /// The policy that the exporter enclosed: it must be of the log and key that the
    /// verifier trusts. Which witnesses count is the verifier's to say.
    fn enclosed_policy(&mut self, line: usize, toml: &str) {
        let fits = |enclosed: Policy| {
            enclosed.origin == self.policy.origin && enclosed.key == self.policy.key
        };
        if !Policy::parse(toml).is_ok_and(fits) {
            self.add(Some(line), None, Tampering::PolicyDiffers);
        }
    }

    /// The readable index by entry; `before` lines stand before it.
    fn index(&mut self, lines: &[&[u8]], before: usize, in_words: bool) -> Lines {
        let mark = if in_words { "# Entry " } else { INDEX_MARK };
        let end = if in_words { ',' } else { ' ' };
        let mut index = Lines::new();
        for (line, number) in lines.iter().zip(before + 1..) {
            let text = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
            let entry =
                text.and_then(|text| text.strip_prefix(mark)?.split(end).next()?.parse().ok());
            match (entry, text) {
                (Some(entry), Some(text)) if !text.contains(char::is_control) => {
                    if index.last_key_value().is_some_and(|(last, _)| *last >= entry) {
                        self.add(Some(number), Some(entry), Tampering::OutOfOrder);
                    }
                    index.insert(entry, (number, text.to_owned()));
                }
                _ => self.add(Some(number), None, Tampering::Malformed),
            }
        }
        index
    }

    /// The parts after the index. Each line must be exactly what its part is
    /// written as.
    fn parts(&mut self, lines: &[&[u8]], skip: usize) -> Vec<Placed> {
        let mut parts = Vec::new();
        for (line, number) in lines.iter().zip(1..).skip(skip) {
            let part = line.strip_suffix(b"\n").and_then(|line| {
                let part: Part = serde_json::from_slice(line).ok()?;
                (serde_json::to_vec(&part).ok()? == line).then_some(part)
            });
            match part {
                Some(part) => parts.push((number, part)),
                None => self.add(Some(number), None, Tampering::Malformed),
            }
        }
        parts
    }

    /// Checks what can be checked of consistency proofs without an old root.
    fn proofs(&mut self, checkpoint: &Checkpoint, proofs: &[Placed]) {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        for (line, part) in proofs {
            let Part::Consistency { from, proof } = part else { continue };
            if !decode(proof).is_some_and(|path| may_be_consistent(*from, size, &root, &path)) {
                self.add(Some(*line), None, Tampering::Malformed);
            }
        }
    }

    fn compare_with_seen(&mut self, checkpoint: &Checkpoint, line: usize, proofs: &[Placed]) {
        let Some(seen) = self.policy.seen else { return };
        let (size, root) = (checkpoint.size(), checkpoint.root());
        if size < seen.size {
            let what = Tampering::RolledBack { found: size, known: seen.size };
            return self.add(Some(line), Some(size), what);
        }
        let proof = proofs.iter().find_map(|(line, part)| match part {
            Part::Consistency { from, proof } if *from == seen.size => {
                Some((*line, decode(proof)?))
            }
            _ => None,
        });
        let proof = match proof {
            None if seen.size == 0 || seen.size == size => Some((line, Vec::new())),
            proof => proof,
        };
        match proof {
            None => self.add(Some(line), None, Tampering::NoConsistencyProof { size: seen.size }),
            Some((_, proof)) if is_consistent(seen.size, &seen.root, size, &root, &proof) => {}
            Some((line, _)) => self.add(Some(line), None, Tampering::Forked { size: seen.size }),
        }
    }

    /// Checks each entry; gives the indexes of those that are there.
    fn entries(
        &mut self,
        checkpoint: &Checkpoint,
        index: &Lines,
        entries: Vec<Placed>,
        in_words: bool,
    ) -> BTreeSet<u64> {
        let mut there = BTreeSet::new();
        for (line, part) in entries {
            let Part::Entry { index: number, salt, entry, proof } = part else {
                self.add(Some(line), None, Tampering::Unexpected);
                continue;
            };
            if there.last().is_some_and(|last| *last >= number) {
                self.add(Some(line), Some(number), Tampering::OutOfOrder);
            }
            there.insert(number);
            let included =
                BASE64.decode(salt).ok().zip(decode(&proof)).is_some_and(|(salt, path)| {
                    let salted = [&salt, entry.as_bytes()].concat();
                    let leaf = leaf_hash(&leaf_data(&commitment(&salted)));
                    let (size, root) = (checkpoint.size(), checkpoint.root());
                    salt.len() == SALT_BYTES && is_included(leaf, number, size, &path, &root)
                });
            if !included {
                self.add(Some(line), Some(number), Tampering::NotInTree);
                continue;
            }
            let Ok(entry) = serde_json::from_str::<Entry>(&entry) else {
                self.add(Some(line), Some(number), Tampering::Malformed);
                continue;
            };
            let write = if in_words { sentence } else { index_line };
            let due = write(holdfast_base::LedgerIndex(number), &entry);
            match index.get(&number) {
                Some((_, text)) if *text == due => {}
                Some((line, _)) => self.add(Some(*line), Some(number), Tampering::IndexDiffers),
                None => self.add(Some(line), Some(number), Tampering::IndexDiffers),
            }
        }
        there
    }

    fn compare_with_manifest(
        &mut self,
        manifest: Manifest,
        checkpoint: &Checkpoint,
        there: &BTreeSet<u64>,
        bytes: &[u8],
        lines: &[&[u8]],
    ) {
        let line = Some(lines.len());
        for index in there.iter().filter(|index| !manifest.holds(**index)) {
            self.add(line, Some(*index), Tampering::Added);
        }
        for (first, last) in &manifest.ranges {
            let dropped = (*first..=*last).filter(|index| !there.contains(index));
            for index in dropped.take(super::VIOLATIONS_MAX) {
                self.add(line, Some(index), Tampering::Dropped);
            }
        }
        let before = bytes.len() - lines.last().map_or(0, |line| line.len());
        if manifest.size != checkpoint.size() || hash_parts(&[&bytes[..before]]) != manifest.digest
        {
            self.add(line, None, Tampering::DigestDiffers);
        }
    }
}

fn decode(proof: &[String]) -> Option<Vec<Hash>> {
    proof.iter().map(|hash| BASE64.decode(hash).ok()?.try_into().ok()).collect()
}
