//! P2: stealing the data folder, or a backup of it, is useless.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use common::bucket::Bucket;
use common::{Demo, SEED, copy, holdfast_with, text, told};
use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
use holdfast::client::Client;
use holdfast::wiring::SystemClock;
use holdfast_sample::{Fact, Options};
use holdfast_testkit_postgres::Postgres;

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

/// How many results of a kind all patients of the hospital have: a question that only
/// the index over all patients answers.
fn results_count(demo: &Demo, dir: &Path) -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let people = demo.people();
        let asks = people.with_role("laboratory-staff").unwrap();
        let client = Client::of_folder(dir, &demo.config()).unwrap();
        let client = client.sign_in_as(asks, &SystemClock).await.unwrap();
        let path = format!("/fhir/{}/Observation?status=final&_summary=count", asks.organization);
        for _ in 0..150 {
            let answer = client.get(&path).await.unwrap();
            // Until the index is complete.
            if answer.status != 503 {
                let found = answer.accepted().unwrap().json().unwrap();
                return found["total"].as_u64().unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        panic!("the index over all patients does not become complete");
    })
}

/// P14, P15 on the way: a backup into a bucket by the command line, restored into a
/// database, answers as before.
#[test]
fn p02_p14_nothing_in_a_stolen_database_or_bucket_is_readable_and_they_are_whole() {
    let Some(server) = Postgres::start() else { return };
    let options = Options { patients: PATIENTS, seed: SEED, ..Options::default() };
    let search = Search::of(&holdfast_sample::stream(&options).facts);
    let demo = Demo::make(PATIENTS);
    let bucket = Bucket::start();
    let serving = demo.serve_with(&bucket.environment());
    let before = results_count(&demo, &demo.dir);
    assert!(before > 5, "{before}");
    let to = "s3://bucket/copies/holdfast";
    let administrator = demo.people().with_role("administrator").unwrap().user.clone();
    let made = demo.run(&["backup", "--user", &administrator, "--to", to]);
    assert!(made.status.success(), "{}", told(&made));
    assert!(text(&made).contains("backup 1 in s3://bucket"), "{}", text(&made));
    assert!(serving.stop());

    let url = server.create_database();
    let home = demo.outside("restored");
    let key = demo.dir.join("keeper").join("root.key");
    let restore = [
        ["restore", "--from", to].as_slice(),
        &["--to", home.to_str().unwrap(), "--root-key", key.to_str().unwrap(), "--store"],
    ]
    .concat();
    let mut environment = bucket.environment();
    environment.push(("HOLDFAST_PASSPHRASE_FILE", demo.passphrase.to_str().unwrap()));
    let wrong = [&restore[..], &["postgres://a:s3cret@db.example/x"]].concat();
    let wrong = holdfast_with(&wrong, &environment);
    assert!(told(&wrong).contains("verify-full"), "{}", told(&wrong));
    assert!(!home.join("keeper").exists(), "nothing is made");
    let restored = holdfast_with(&[&restore[..], &[url.as_str()]].concat(), &environment);
    assert!(restored.status.success(), "{}{}", text(&restored), told(&restored));
    assert!(
        text(&restored).contains("equal to what the ledger acknowledged"),
        "{}",
        text(&restored)
    );
    assert!(text(&restored).contains("restored into the database"), "{}", text(&restored));
    std::fs::copy(demo.dir.join("holdfast.toml"), home.join("holdfast.toml")).unwrap();
    let serving = demo.try_serve_with(&home, &[("HOLDFAST_STORE", &url)]).unwrap();
    assert_eq!(results_count(&demo, &home), before, "the index over all patients came back");
    assert!(serving.stop());

    let rows = server.sql(url.rsplit('/').next().unwrap(), "SELECT count(*) FROM holdfast.index");
    assert!(rows.trim().parse::<u64>().unwrap() > 100, "{rows}");
    // Everything is in its files, and its log of changes.
    server.sql("postgres", "CHECKPOINT");
    let (bytes_count, found, guilty) = search.folder(&server.data_dir());
    println!("a database: {bytes_count} bytes searched for {} spellings", search.spellings_count);
    assert!(bytes_count > 10_000_000, "{bytes_count} bytes: nothing was searched");
    assert_eq!(found, 0, "the database holds readable values in {guilty:?}");
    let objects = bucket.objects.lock().unwrap();
    let bytes: usize = objects.values().map(Vec::len).sum();
    assert!(bytes > 300_000, "{bytes} bytes: nothing was searched");
    for (name, object) in objects.iter() {
        assert_eq!(search.count(object) + search.count(name.as_bytes()), 0, "{name}");
    }
}
