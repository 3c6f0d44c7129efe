//! P2: stealing the data folder, or a backup of it, is useless.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use common::{Demo, SEED, copy};
use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
use holdfast_sample::{Fact, Options};

const PATIENTS: u32 = 25;
/// Shorter facts turn up in random bytes by chance.
const FACT_BYTES_MIN: usize = 6;

/// Every spelling under which a text could stand in a file.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let wide = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let mut all = vec![
        bytes.to_vec(),
        text.to_uppercase().into_bytes(),
        text.to_lowercase().into_bytes(),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
        HEXLOWER.encode(bytes).into_bytes(),
        HEXUPPER.encode(bytes).into_bytes(),
    ];
    // Base 64 of a text inside of something longer: what is the same at each of the
    // three places where it can begin.
    for shift in 0..3 {
        let padded = [&[0_u8; 2][..shift], bytes].concat();
        let encoded = BASE64_NOPAD.encode(&padded).into_bytes();
        let begin = [0, 2, 3][shift];
        let end = padded.len() / 3 * 4;
        if end > begin + 7 {
            all.push(encoded[begin..end].to_vec());
        }
    }
    all
}

struct Search {
    automaton: AhoCorasick,
    spellings_count: usize,
}

impl Search {
    fn of(facts: &[Fact]) -> Self {
        let texts: Vec<_> = facts.iter().filter(|f| f.text.len() >= FACT_BYTES_MIN).collect();
        let patterns: Vec<_> = texts.iter().flat_map(|fact| spellings(&fact.text)).collect();
        assert!(
            texts.len() > 500,
            "the stream has too few facts to prove anything: {}",
            texts.len()
        );
        Self { spellings_count: patterns.len(), automaton: AhoCorasick::new(patterns).unwrap() }
    }

    /// How often any fact stands in the bytes, or in what decompresses out of them.
    fn count(&self, bytes: &[u8]) -> usize {
        let mut found = self.automaton.find_iter(bytes).count();
        for at in 0..bytes.len().saturating_sub(4) {
            if bytes[at..].starts_with(&[0x28, 0xB5, 0x2F, 0xFD])
                && let Ok(decoder) = zstd::stream::read::Decoder::new(&bytes[at..])
            {
                // One frame: what follows it is not its business.
                let mut plain = Vec::new();
                let _ = std::io::Read::read_to_end(&mut decoder.single_frame(), &mut plain);
                found += self.automaton.find_iter(&plain).count();
            }
            if bytes[at..].starts_with(&[0x1F, 0x8B, 0x08]) {
                let mut plain = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(&bytes[at..]);
                let _ = std::io::Read::read_to_end(&mut decoder, &mut plain);
                found += self.automaton.find_iter(&plain).count();
            }
        }
        found
    }

    fn folder(&self, dir: &Path) -> (usize, usize, Vec<PathBuf>) {
        let (mut bytes_count, mut found, mut guilty) = (0, 0, Vec::new());
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                let below = self.folder(&entry.path());
                bytes_count += below.0;
                found += below.1;
                guilty.extend(below.2);
            } else if entry.file_type().unwrap().is_file() {
                let bytes = std::fs::read(entry.path()).unwrap();
                let here = self.count(&bytes) + self.count(entry.file_name().as_encoded_bytes());
                bytes_count += bytes.len();
                found += here;
                if here > 0 {
                    guilty.push(entry.path());
                }
            }
        }
        (bytes_count, found, guilty)
    }
}

#[test]
fn p02_nothing_in_a_stolen_folder_or_backup_is_readable() {
    let options = Options { patients: PATIENTS, seed: SEED, ..Options::default() };
    let stream = holdfast_sample::stream(&options);
    let search = Search::of(&stream.facts);

    // The search finds what it should: in what was sent, plainly and packed.
    let sent = &stream.items[0].bytes;
    assert!(search.count(sent) > 0, "a message has facts");
    let packed = zstd::stream::encode_all(&sent[..], 3).unwrap();
    let between = [&b"before"[..], &packed, b"and after"].concat();
    assert!(search.count(&between) > 0, "a compressed message has facts, wherever it stands");
    for spelling in spellings(&stream.facts.iter().find(|f| f.text.len() > 12).unwrap().text) {
        assert!(search.count(&[b"..", &spelling[..], b".."].concat()) > 0);
    }

    let demo = Demo::make(PATIENTS);
    let serving = demo.serve();
    // Stolen while it works.
    let hot = demo.outside("stolen-hot");
    copy(&demo.dir, &hot);
    assert!(serving.stop());
    // A backup of the store by its own means.
    let backup = demo.outside("backup");
    let store = holdfast_store::Store::open(&demo.dir.join("store")).unwrap();
    store.backup_to(&backup).unwrap();
    drop(store);

    for (what, dir) in [("the folder", &demo.dir), ("a hot copy", &hot), ("a backup", &backup)] {
        let (bytes_count, found, guilty) = search.folder(dir);
        println!("{what}: {bytes_count} bytes searched for {} spellings", search.spellings_count);
        assert!(bytes_count > 500_000, "{what} has {bytes_count} bytes: nothing was searched");
        assert_eq!(found, 0, "{what} holds readable values in {guilty:?}");
    }
}
