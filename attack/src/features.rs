//! What the bytes show without a key, row by row and patient by patient: sizes,
//! counts, neighbourhoods, order, and byte strings that repeat.
//!
//! The layouts are public (`docs/storage.md`); so the thief knows which bytes are
//! what, and takes everything that is not sealed.

use std::collections::{BTreeMap, HashMap};

use crate::stolen::{LedgerRecord, Stolen, number};

/// Width of a byte string that may be a token.
const TOKEN_BYTES: usize = 8;
/// Bytes of a row in which tokens are looked for, and how far apart they may begin.
const TOKEN_PLACES: usize = 48;
const TOKEN_STEP: usize = 2;
/// Generic tables, by the first byte of the key.
const LOCATE: u8 = 2;
const DIRECTORY: u8 = 3;
const POPULATION: u8 = 7;

/// Something to be guessed about: a resource or a patient.
#[derive(Debug, Clone)]
pub struct Item {
    /// Id tokens of its rows: one of a resource, all of a patient.
    pub tokens: Vec<[u8; 16]>,
    /// Place of the patient in the store.
    pub patient: usize,
    /// What its bytes show, in the order of the names.
    pub features: Vec<f32>,
    /// Byte strings at fixed places, any of which may be a token.
    pub strings: Vec<u64>,
}

/// Names of a resource's features.
pub const RESOURCE_FEATURES: &[&str] = &[
    "resource type in the key",
    "length of the search row",
    "length of the body",
    "parts of the body",
    "length of the first part",
    "class label",
    "version",
    "versions written together",
    "place among them",
    "of the same type together",
    "types written together",
    "rows written together",
    "length of the index delta",
    "length of the payload",
    "length of the outcome",
    "length of the intent's entries",
    "ledger entries of the commit",
    "length of the ledger entries",
    "longest ledger entry",
    "resources of the patient",
    "of the same type of the patient",
    "commits of the patient",
    "commits of the patient before",
    "length of the directory row",
    "kind of payload",
    "rank of the body among those written together",
];

/// Names of a patient's features.
pub const PATIENT_FEATURES: &[&str] = &[
    "resources",
    "commits",
    "commonest type",
    "second type",
    "third type",
    "types",
    "most written together",
    "fewest written together",
    "written together first",
    "length of all bodies",
    "length of all search rows",
    "longest body",
    "longest search row",
    "longest body of the first commit",
    "bodies of two parts",
    "versions",
    "length of the directory row",
    "length of all payloads",
    "longest payload",
    "shortest payload",
    "length of all index deltas",
    "longest index delta",
    "length of the ledger entries",
    "longest ledger entries",
    "ledger entries of the first commit",
    "identifiers located",
    "commits of a single version",
    "commits of two or three versions",
    "commits of four to seven versions",
    "commits of eight to fifteen versions",
    "commits of more versions",
];

/// One version, as its rows show it.
struct Version {
    patient: [u8; 16],
    kind: u16,
    token: [u8; 16],
    commit: u64,
    version: u64,
    index_bytes: usize,
    label: u8,
    body_bytes: usize,
    parts: usize,
    first_part_bytes: usize,
    strings: Vec<u64>,
}

/// One commit, as its rows show it.
#[derive(Default, Clone)]
struct Commit {
    /// Type and id token of what was put, in the order of the row.
    puts: Vec<(u16, [u8; 16])>,
    rows: usize,
    identifiers: usize,
    finished: u64,
    delta_bytes: usize,
    payload_bytes: usize,
    outcome_bytes: usize,
    intent_bytes: usize,
    format: u8,
    ledger: Vec<usize>,
}

/// What lies in a store, ready to be guessed about.
pub struct Seen {
    /// Every resource, by its newest version.
    pub resources: Vec<Item>,
    /// Every patient.
    pub patients: Vec<Item>,
    /// Whether the ledger's records could be told apart by commit.
    pub ledger_aligned: bool,
}

/// Looks at everything.
pub fn look(stolen: &Stolen) -> Seen {
    let versions = versions(stolen);
    let (commits, ledger_aligned) = commits(stolen);
    let mut directory: HashMap<&[u8], usize> = HashMap::new();
    let mut patient_strings: HashMap<&[u8], Vec<u64>> = HashMap::new();
    for row in stolen.of("rows").iter().filter(|row| row.key.first() == Some(&DIRECTORY)) {
        if let Some(patient) = row.key.get(5..21) {
            directory.insert(patient, row.value.len());
            patient_strings.insert(patient, strings(row.value.get(8..).unwrap_or_default()));
        }
    }
    let mut by_patient: BTreeMap<[u8; 16], Vec<&Version>> = BTreeMap::new();
    for version in versions.iter().filter(|version| version.patient != [0; 16]) {
        by_patient.entry(version.patient).or_default().push(version);
    }
    let mut seen = Seen { resources: Vec::new(), patients: Vec::new(), ledger_aligned };
    for (place, (patient, own)) in by_patient.iter().enumerate() {
        let record = Record::of(own, &commits, directory.get(&patient[..]).copied().unwrap_or(0));
        let mut tokens: Vec<[u8; 16]> = own.iter().map(|version| version.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let strings = patient_strings.get(&patient[..]).cloned();
        seen.patients.push(Item {
            tokens,
            patient: place,
            features: record.features(),
            strings: strings.unwrap_or_else(strings_of_nothing),
        });
        let mut newest: BTreeMap<[u8; 16], &Version> = BTreeMap::new();
        for version in own {
            let there = newest.entry(version.token).or_insert(version);
            if there.commit < version.commit {
                *there = version;
            }
        }
        for version in newest.into_values() {
            seen.resources.push(Item {
                tokens: vec![version.token],
                patient: place,
                features: record.features_of(version),
                strings: version.strings.clone(),
            });
        }
    }
    seen
}

fn versions(stolen: &Stolen) -> Vec<Version> {
    let mut bodies: HashMap<&[u8], &[u8]> = HashMap::new();
    for row in stolen.of("bodies") {
        bodies.insert(&row.key, &row.value);
    }
    let mut versions = Vec::new();
    for row in stolen.of("index") {
        let (Some(patient), Some(token)) = (array(&row.key, 4), array(&row.key, 22)) else {
            continue;
        };
        let value = &row.value;
        // Layout, version, deleted, last updated; then two byte strings.
        let id_bytes = value.get(18..22).map_or(0, number) as usize;
        let index = value.get(26 + id_bytes..).unwrap_or_default();
        let body = bodies.get(row.key.as_slice()).copied().unwrap_or_default();
        versions.push(Version {
            patient,
            kind: number(&row.key[20..22]) as u16,
            token,
            commit: !number(row.key.get(38..46).unwrap_or_default()),
            version: value.get(1..9).map_or(0, number),
            index_bytes: index.len(),
            label: index.first().copied().unwrap_or(0),
            body_bytes: body.len(),
            parts: body.get(9).map_or(0, |parts| usize::from(*parts)),
            first_part_bytes: body.get(11..15).map_or(0, number) as usize,
            strings: strings(index),
        });
    }
    versions
}

fn commits(stolen: &Stolen) -> (HashMap<u64, Commit>, bool) {
    let mut commits: HashMap<u64, Commit> = HashMap::new();
    let mut commit_of_message: HashMap<u64, u64> = HashMap::new();
    for row in stolen.of("commits").iter().filter(|row| row.key.len() == 8) {
        let t = number(&row.key);
        let mut commit = Commit::default();
        let value = &row.value;
        commit.finished = value.get(73..81).map_or(0, number);
        let puts = value.get(81..85).map_or(0, number) as usize;
        commit.rows = value.get(85..89).map_or(0, number) as usize;
        for put in value.get(89..).unwrap_or_default().chunks_exact(38).take(puts) {
            commit.puts.push((number(&put[20..22]) as u16, array(put, 22).unwrap_or_default()));
        }
        if commit.finished > 0 {
            commit_of_message.insert(commit.finished, t);
        }
        commits.insert(t, commit);
    }
    for row in stolen.of("rows") {
        let written = row.value.get(..8).map_or(0, number);
        let Some(commit) = commits.get_mut(&written) else { continue };
        match (row.key.first(), row.key.get(1), row.key.get(5)) {
            (Some(&POPULATION), _, Some(b'd')) => commit.delta_bytes += row.value.len(),
            (Some(&LOCATE), Some(b'i'), _) => commit.identifiers += 1,
            (Some(5), _, _) => commit.intent_bytes += row.value.len(),
            _ => {}
        }
    }
    for row in stolen.of("inbox") {
        let t = commit_of_message.get(&number(&row.key));
        let Some(commit) = t.and_then(|t| commits.get_mut(t)) else { continue };
        commit.format = row.value.get(21).copied().unwrap_or(0);
        let meta_bytes = row.value.get(31..35).map_or(0, number) as usize;
        commit.outcome_bytes = row.value.len().saturating_sub(39 + meta_bytes);
    }
    for row in stolen.of("payloads") {
        let t = commit_of_message.get(&number(&row.key));
        if let Some(commit) = t.and_then(|t| commits.get_mut(t)) {
            commit.payload_bytes = row.value.len();
        }
    }
    let aligned = align(&stolen.ledger, &mut commits);
    (commits, aligned)
}

/// Gives each commit that finished a message the ledger's records of it: those of
/// three and more that were written at once, in order. Only when there are enough.
fn align(ledger: &[LedgerRecord], commits: &mut HashMap<u64, Commit>) -> bool {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for record in ledger {
        groups.entry(record.group).or_default().push(record.bytes);
    }
    let groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() >= 3).collect();
    let mut finishing: Vec<u64> = commits
        .iter()
        .filter(|(_, c)| c.finished > 0 && !c.puts.is_empty())
        .map(|(t, _)| *t)
        .collect();
    finishing.sort_unstable();
    // What there is more comes from setting up.
    let Some(more) = groups.len().checked_sub(finishing.len()) else { return false };
    if finishing.is_empty() {
        return false;
    }
    let groups = groups.into_iter().skip(more);
    for (t, group) in finishing.into_iter().zip(groups) {
        if let Some(commit) = commits.get_mut(&t) {
            commit.ledger = group;
        }
    }
    true
}

/// One patient's rows, and the commits that wrote them.
struct Record<'a> {
    versions: &'a [&'a Version],
    /// In order of commit.
    commits: Vec<(u64, &'a Commit)>,
    kinds: BTreeMap<u16, usize>,
    directory_bytes: usize,
}

impl<'a> Record<'a> {
    fn of(
        versions: &'a [&'a Version],
        commits: &'a HashMap<u64, Commit>,
        directory_bytes: usize,
    ) -> Self {
        let mut written: Vec<u64> = versions.iter().map(|version| version.commit).collect();
        written.sort_unstable();
        written.dedup();
        let mut kinds = BTreeMap::new();
        for version in versions {
            *kinds.entry(version.kind).or_insert(0) += 1;
        }
        let commits = written.into_iter().filter_map(|t| Some((t, commits.get(&t)?))).collect();
        Self { versions, commits, kinds, directory_bytes }
    }

    fn features(&self) -> Vec<f32> {
        let own = self.versions;
        let commits = || self.commits.iter().map(|(_, commit)| *commit);
        let most = |of: fn(&Commit) -> usize| commits().map(of).max().unwrap_or(0);
        let least = |of: fn(&Commit) -> usize| commits().map(of).min().unwrap_or(0);
        let all = |of: fn(&Commit) -> usize| commits().map(of).sum::<usize>();
        let first = self.commits.first();
        let of_first = |of: fn(&Commit) -> usize| first.map_or(0, |(_, commit)| of(commit));
        let puts = |commit: &Commit| commit.puts.len();
        let told = |commit: &Commit| commit.ledger.iter().sum();
        let mut kinds: Vec<usize> = self.kinds.values().copied().collect();
        kinds.sort_unstable_by(|a, b| b.cmp(a));
        kinds.resize(3.max(kinds.len()), 0);
        let between = |from: usize, to: usize| {
            commits().filter(|commit| (from..to).contains(&commit.puts.len())).count()
        };
        let first_body = own.iter().filter(|v| first.is_some_and(|(t, _)| *t == v.commit));
        let features = [
            own.len(),
            self.commits.len(),
            kinds[0],
            kinds[1],
            kinds[2],
            self.kinds.len(),
            most(puts),
            least(puts),
            of_first(puts),
            own.iter().map(|v| v.body_bytes).sum(),
            own.iter().map(|v| v.index_bytes).sum(),
            own.iter().map(|v| v.body_bytes).max().unwrap_or(0),
            own.iter().map(|v| v.index_bytes).max().unwrap_or(0),
            first_body.map(|v| v.body_bytes).max().unwrap_or(0),
            own.iter().filter(|v| v.parts > 1).count(),
            own.iter().map(|v| v.version as usize).sum(),
            self.directory_bytes,
            all(|c| c.payload_bytes),
            most(|c| c.payload_bytes),
            least(|c| c.payload_bytes),
            all(|c| c.delta_bytes),
            most(|c| c.delta_bytes),
            all(told),
            most(told),
            of_first(|c| c.ledger.len()),
            all(|c| c.identifiers),
            between(1, 2),
            between(2, 4),
            between(4, 8),
            between(8, 16),
            between(16, usize::MAX),
        ];
        features.into_iter().map(|feature| feature as f32).collect()
    }

    fn features_of(&self, version: &Version) -> Vec<f32> {
        let nothing = Commit::default();
        let commit = self.commits.iter().find(|(t, _)| *t == version.commit);
        let commit = commit.map_or(&nothing, |(_, commit)| *commit);
        let place = commit.puts.iter().position(|(_, token)| *token == version.token);
        let mut kinds: Vec<u16> = commit.puts.iter().map(|(kind, _)| *kind).collect();
        let alike = kinds.iter().filter(|kind| **kind == version.kind).count();
        kinds.sort_unstable();
        kinds.dedup();
        let together = self.versions.iter().filter(|other| other.commit == version.commit);
        let shorter = together.filter(|other| other.body_bytes < version.body_bytes).count();
        let features = [
            usize::from(version.kind),
            version.index_bytes,
            version.body_bytes,
            version.parts,
            version.first_part_bytes,
            usize::from(version.label),
            version.version as usize,
            commit.puts.len(),
            place.map_or(0, |place| place + 1),
            alike,
            kinds.len(),
            commit.rows,
            commit.delta_bytes,
            commit.payload_bytes,
            commit.outcome_bytes,
            commit.intent_bytes,
            commit.ledger.len(),
            commit.ledger.iter().sum(),
            commit.ledger.iter().copied().max().unwrap_or(0),
            self.versions.len(),
            self.kinds.get(&version.kind).copied().unwrap_or(0),
            self.commits.len(),
            self.commits.iter().filter(|(t, _)| *t < version.commit).count(),
            self.directory_bytes,
            usize::from(commit.format),
            shorter,
        ];
        features.into_iter().map(|feature| feature as f32).collect()
    }
}

/// The byte strings at fixed places that may be tokens.
fn strings(bytes: &[u8]) -> Vec<u64> {
    let at = |place: usize| bytes.get(place..place + TOKEN_BYTES).map_or(0, number);
    (0..TOKEN_PLACES).step_by(TOKEN_STEP).map(at).collect()
}

fn strings_of_nothing() -> Vec<u64> {
    strings(&[])
}

fn array(bytes: &[u8], from: usize) -> Option<[u8; 16]> {
    bytes.get(from..from + 16)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stolen::Row;

    #[test]
    fn every_feature_has_a_name_and_the_documented_layout_is_what_is_read() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex");
        // The worked example of docs/storage.md.
        let key = "0000000311111111111111111111111111111111000caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaafffffffffffffed3";
        let mut stolen = Stolen::default();
        let index = "01000000000000000200 0000014d8d84cc07 00000001f0 00000002e0e1";
        let body = "01000000000000000202 0000000003c0c1c2 0100000001d0";
        let row = |value: &str| Row { key: hex(key), value: hex(&value.replace(' ', "")) };
        stolen.rows.insert("index", vec![row(index)]);
        stolen.rows.insert("bodies", vec![row(body)]);
        let seen = look(&stolen);
        let item = &seen.resources[0];
        let told = |name: &str| {
            item.features[RESOURCE_FEATURES.iter().position(|n| *n == name).expect("a feature")]
        };
        assert_eq!(item.features.len(), RESOURCE_FEATURES.len());
        assert_eq!(seen.patients[0].features.len(), PATIENT_FEATURES.len());
        assert_eq!(item.tokens, [[0xaa; 16]]);
        assert_eq!(told("resource type in the key"), 12.0);
        assert_eq!(told("length of the search row"), 2.0);
        assert_eq!(told("class label"), 224.0);
        assert_eq!(told("parts of the body"), 2.0);
        assert_eq!(told("length of the first part"), 3.0);
        assert_eq!(told("version"), 2.0);
    }
}
