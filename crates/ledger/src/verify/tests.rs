//! Tampering with a ledger's folder and with a bundle: each way is found, and the
//! place is named.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use super::*;
use crate::bodies::{Record, scan_segment, segment_path};
use crate::layout::{BODIES, TILES, files_below};
use crate::ledger::{GrowingTree, publish};
use crate::testing::*;
use crate::{Filter, VerifierKey};

fn policy() -> Policy {
    Policy::new(ORIGIN, keys().signer.verifier().clone())
}

/// A ledger of 600 entries, checkpoints published at 1, 300, 540 and 600; the one
/// at 300 given back.
fn ledger() -> (TempDir, Checkpoint) {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..299)).unwrap();
    let seen = ledger.publish_checkpoint().unwrap();
    ledger.append(&releases(299..539)).unwrap();
    ledger.publish_checkpoint().unwrap();
    for n in 539..599 {
        ledger.append(&[release(n)]).unwrap();
    }
    ledger.publish_checkpoint().unwrap();
    (dir, seen)
}

fn violations(path: &Path, policy: &Policy) -> Vec<Violation> {
    verify_path(path, policy).expect_err("tampering is found")
}

/// Some violation is of this file and entry.
fn names(found: &[Violation], file: &str, index: Option<u64>) -> bool {
    found.iter().any(|v| v.file == file && (index.is_none() || v.index.map(|i| i.0) == index))
}

fn flip(path: &Path, place: usize) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut bytes = whole.clone();
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
    whole
}

#[test]
fn a_whole_ledger_verifies_with_and_without_its_bodies() {
    let (dir, seen) = ledger();
    let report = verify_path(dir.path(), &policy().having_seen(&seen)).unwrap();
    assert_eq!((report.subject, report.size), (Subject::FolderWithBodies, 600));
    assert!(report.compared_with_seen);
    fs::remove_dir_all(dir.path().join(BODIES)).unwrap();
    let report = verify_path(dir.path(), &policy()).unwrap();
    assert_eq!((report.subject, report.entries_count), (Subject::PublicFolder, 600));
}

#[test]
fn a_ledger_at_work_with_entries_beyond_the_checkpoint_verifies() {
    let (dir, _) = ledger();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..50)).unwrap();
    assert_eq!(verify_path(dir.path(), &policy()).unwrap().size, 600);
}

#[test]
fn flip_in_any_file_of_the_folder_is_found_and_the_file_named() {
    let (dir, _) = ledger();
    let mut files = files_below(dir.path(), TILES).unwrap();
    files.extend(files_below(dir.path(), BODIES).unwrap());
    files.push(CHECKPOINT.to_owned());
    let kinds = ["tile/entries/001", "tile/entries/002.p/88", "tile/0/000", "tile/1/000.p/2"];
    assert!(kinds.iter().all(|kind| files.iter().any(|file| file == kind)), "{files:?}");
    for file in files {
        let path = dir.path().join(&file);
        let length = fs::metadata(&path).unwrap().len() as usize;
        for place in (0..8).chain((0..7).map(|n| n * length / 7)).chain([length - 1]) {
            if place >= length {
                continue;
            }
            let whole = flip(&path, place);
            let found = violations(dir.path(), &policy());
            assert!(names(&found, &file, None), "{file} byte {place}: {found:?}");
            assert_eq!(found.len(), 1, "{file} byte {place}: {found:?}");
            fs::write(&path, whole).unwrap();
        }
    }
    assert!(verify_path(dir.path(), &policy()).is_ok());
}

#[test]
fn flip_in_an_entry_names_the_entry() {
    let (dir, _) = ledger();
    flip(&dir.path().join("tile/entries/001"), 35 * 17 + 9);
    let found = violations(dir.path(), &policy());
    assert_eq!(found[0].what, Tampering::EntryChanged);
    assert!(names(&found, "tile/entries/001", Some(256 + 17)), "{found:?}");
}

/// What the leaves of a ledger commit to, and its records.
fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    scan_segment(dir, 0, |_, record| {
        records.push(record);
        Ok::<(), std::io::Error>(())
    })
    .unwrap();
    records
}

/// Writes every tile anew for these leaves, as somebody would who has the disk and
/// not the key. The checkpoint stays.
fn forge_tiles(dir: &Path, leaves: &[Hash]) {
    let note = fs::read_to_string(dir.join(CHECKPOINT)).unwrap();
    let checkpoint = Checkpoint::parse(&note, ORIGIN, &policy().key).unwrap();
    fs::remove_dir_all(dir.join(TILES)).unwrap();
    let mut tree = GrowingTree::default();
    leaves.iter().for_each(|leaf| tree.push(leaf));
    publish(&crate::medium::Disk::default(), dir, &tree.to_write(), &checkpoint).unwrap();
}

fn forge(change: impl FnOnce(&mut Vec<Hash>)) -> TempDir {
    let (dir, _) = ledger();
    let mut leaves: Vec<Hash> = records(dir.path()).iter().map(|r| r.commitment).collect();
    change(&mut leaves);
    forge_tiles(dir.path(), &leaves);
    dir
}

#[test]
fn forging_nothing_verifies() {
    assert!(verify_path(forge(|_| {}).path(), &policy()).is_ok());
}

#[test]
fn drop_of_an_entry_with_all_tiles_rewritten_is_found_and_the_entry_named() {
    let dir = forge(|leaves| {
        leaves.remove(400);
    });
    let found = violations(dir.path(), &policy());
    assert!(names(&found, "checkpoint", None), "{found:?}");
    assert!(names(&found, "bodies/000000", Some(400)), "{found:?}");
    assert!(!names(&found, "bodies/000000", Some(399)), "{found:?}");
}

#[test]
fn drop_of_an_entry_in_the_tiles_alone_is_found_and_the_entry_named() {
    let (dir, _) = ledger();
    let path = dir.path().join("tile/entries/000");
    let mut tile = fs::read(&path).unwrap();
    tile.drain(35 * 7..35 * 8);
    fs::write(&path, &tile).unwrap();
    assert!(names(&violations(dir.path(), &policy()), "tile/entries/000", None));
    fs::remove_file(&path).unwrap();
    let found = violations(dir.path(), &policy());
    assert!(found.iter().any(|v| v.what == Tampering::Missing), "{found:?}");
    assert!(names(&found, "tile/entries/000", Some(0)), "{found:?}");
}

#[test]
fn swap_of_two_entries_is_found_and_both_named() {
    let dir = forge(|leaves| leaves.swap(20, 590));
    let found = violations(dir.path(), &policy());
    assert!(found.iter().any(|v| v.what == Tampering::RootDiffers));
    assert!(names(&found, "bodies/000000", Some(20)), "{found:?}");
    assert!(names(&found, "bodies/000000", Some(590)), "{found:?}");

    let (dir, _) = ledger();
    let path = dir.path().join("tile/entries/000");
    let mut tile = fs::read(&path).unwrap();
    let (left, right) = tile.split_at_mut(35 * 30);
    left[35 * 5..35 * 6].swap_with_slice(&mut right[..35]);
    fs::write(&path, &tile).unwrap();
    let found = violations(dir.path(), &policy());
    assert!(names(&found, "tile/entries/000", Some(5)), "{found:?}");
    assert!(names(&found, "tile/entries/000", Some(30)), "{found:?}");
}

#[test]
fn an_added_entry_is_found() {
    let dir = forge(|leaves| leaves.insert(100, [5; 32]));
    assert!(names(&violations(dir.path(), &policy()), "bodies/000000", Some(100)));
}

fn write_bodies(dir: &Path, records: &[Record]) {
    let path = dir.join(segment_path(0));
    let mut bytes = fs::read(&path).unwrap()[..24].to_vec();
    records.iter().for_each(|record| record.write_to(&mut bytes));
    fs::write(path, bytes).unwrap();
}

#[test]
fn swapped_dropped_and_truncated_bodies_are_found_without_a_key() {
    let (dir, _) = ledger();
    let whole = records(dir.path());
    let check = |records: &[Record], index: u64| {
        write_bodies(dir.path(), records);
        let found = violations(dir.path(), &policy());
        assert!(names(&found, "bodies/000000", Some(index)), "{found:?}");
    };
    let mut swapped = whole.clone();
    swapped.swap(50, 51);
    check(&swapped, 50);
    // As somebody would who also writes index and check anew.
    swapped[50].index = 50;
    swapped[51].index = 51;
    check(&swapped, 51);
    let mut dropped = whole.clone();
    dropped.remove(333);
    check(&dropped, 333);
    write_bodies(dir.path(), &whole[..598]);
    let found = violations(dir.path(), &policy());
    assert_eq!(found[0].what, Tampering::BodiesTruncated { found: 598, due: 600 });
    write_bodies(dir.path(), &whole);
    assert!(verify_path(dir.path(), &policy()).is_ok());
}

#[test]
fn a_body_under_another_entrys_commitment_is_found_when_the_keeper_opens() {
    let (dir, _) = ledger();
    let mut records = records(dir.path());
    records[50].sealed = records[51].sealed.clone();
    write_bodies(dir.path(), &records);
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(
        refused,
        crate::OpenError::Damaged {
            index: Some(LedgerIndex(50)),
            damage: crate::Damage::Sealed,
            ..
        }
    ));
}

#[test]
fn truncation_with_an_older_checkpoint_is_found_by_the_tiles_that_stay() {
    let (dir, seen) = ledger();
    let records = records(dir.path());
    write_bodies(dir.path(), &records[..300]);
    fs::write(dir.path().join(CHECKPOINT), seen.note()).unwrap();
    let found = violations(dir.path(), &policy());
    let rolled_back = |v: &Violation| matches!(v.what, Tampering::RolledBack { found: 300, .. });
    assert!(found.iter().any(rolled_back), "{found:?}");
    assert!(names(&found, "tile/entries/002.p/88", Some(300)), "{found:?}");
    assert!(matches!(open(dir.path()), Err(crate::OpenError::Lost { known: 600, found: 300 })));
}

#[test]
fn roll_back_of_everything_is_found_by_who_saw_a_later_checkpoint() {
    let dir = tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..299)).unwrap();
    ledger.publish_checkpoint().unwrap();
    let old = tempdir().unwrap();
    copy(dir.path(), old.path());
    ledger.append(&releases(299..400)).unwrap();
    let seen = ledger.publish_checkpoint().unwrap();
    assert!(verify_path(old.path(), &policy()).is_ok());
    let found = violations(old.path(), &policy().having_seen(&seen));
    let due = Tampering::RolledBack { found: 300, known: 401 };
    assert_eq!((found.len(), &found[0].what, found[0].index), (1, &due, Some(LedgerIndex(300))));
}

#[test]
fn fork_is_found_by_who_saw_the_other_branch() {
    let (left, seen) = ledger();
    let (right, other) = ledger(); // Other salts: another log under the same key.
    assert_ne!(seen.root(), other.root());
    assert!(verify_path(left.path(), &policy().having_seen(&seen)).is_ok());
    let found = violations(right.path(), &policy().having_seen(&seen));
    assert_eq!(found[0].what, Tampering::Forked { size: 300 });
}

#[test]
fn a_checkpoint_of_another_key_origin_or_missing_is_found() {
    let (dir, _) = ledger();
    let signer = crate::CheckpointSigner::from_seed(ORIGIN, &[9; 32]).unwrap();
    let other = Policy::new(ORIGIN, signer.verifier().clone());
    assert_eq!(violations(dir.path(), &other)[0].what, Tampering::Note(NoteError::NotSigned));
    let other = Policy { origin: "elsewhere".into(), ..policy() };
    assert_eq!(violations(dir.path(), &other)[0].what, Tampering::Note(NoteError::OtherOrigin));
    fs::remove_file(dir.path().join(CHECKPOINT)).unwrap();
    assert!(names(&violations(dir.path(), &policy()), CHECKPOINT, None));
}

#[test]
fn strange_files_among_tiles_and_bodies_are_found() {
    for strange in ["tile/0/zzz", "tile/9/x001/000", "bodies/12"] {
        let (dir, _) = ledger();
        let path = dir.path().join(strange);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"x").unwrap();
        assert!(names(&violations(dir.path(), &policy()), strange, None), "{strange}");
    }
}

#[test]
fn witnesses_are_counted_and_required() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let (dir, _) = ledger();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
    let public = pair.public_key().as_ref();
    let id = &crate::tree::hash_parts(&[b"witness.example\n", &[4], public])[..4];
    let hex = data_encoding::HEXLOWER.encode(id);
    let key = STANDARD.encode([&[4], public].concat());
    let witness = VerifierKey::parse(&format!("witness.example+{hex}+{key}")).unwrap();
    let witness = Witness { key: witness, url: None };
    let strict = Policy { witnesses: vec![witness], witnesses_required: 1, ..policy() };
    let found = violations(dir.path(), &strict);
    assert_eq!(found[0].what, Tampering::Witnesses { found: 0, required: 1 });

    let path = dir.path().join(CHECKPOINT);
    let note = fs::read_to_string(&path).unwrap();
    let text = crate::note::Note::parse(&note).unwrap().text;
    // A cosignature as a witness makes it.
    let signature = pair.sign(format!("cosignature/v1\ntime 1432598400\n{text}").as_bytes());
    let line = [id, &1_432_598_400_u64.to_be_bytes(), signature.as_ref()].concat();
    fs::write(&path, format!("{note}— witness.example {}\n", STANDARD.encode(&line))).unwrap();
    assert_eq!(verify_path(dir.path(), &strict).unwrap().witnesses_count, 1);
    let note = fs::read_to_string(&path).unwrap();
    fs::write(&path, note.replace("AAAABV", "AAAABW")).unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), note);
    assert!(verify_path(dir.path(), &strict).is_err());
}

// Bundles.

/// A bundle of one principal's entries, with a proof from size 300.
fn bundle() -> (TempDir, PathBuf, Checkpoint) {
    let (dir, seen) = ledger();
    let ledger = open(dir.path()).unwrap();
    let path = dir.path().join("evidence.txt");
    let principal = Some("dr.3@lakeside".parse().unwrap());
    let filter = Filter { principal, ..Filter::default() };
    let mut out = Vec::new();
    let count = ledger.export_bundle_since(&filter, &[300], &mut out).unwrap();
    assert_eq!(count, 86);
    fs::write(&path, out).unwrap();
    (dir, path, seen)
}

/// Writes the bundle with its lines changed and gives what is found.
fn tampered(change: impl FnOnce(&mut Vec<String>)) -> Vec<Violation> {
    let (_dir, path, seen) = bundle();
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.concat()).unwrap();
    violations(&path, &policy().having_seen(&seen))
}

/// The line of the n-th sentence, from 0: after title and preamble.
fn index_line(n: usize) -> usize {
    1 + 8 + n
}

/// The line of the n-th entry in the bundle, from 0: after 86 sentences, checkpoint,
/// policy and consistency proof.
fn entry_line(n: usize) -> usize {
    index_line(86) + 3 + n
}

#[test]
fn a_whole_bundle_verifies_also_against_what_was_seen() {
    let (_dir, path, seen) = bundle();
    let report = verify_path(&path, &policy().having_seen(&seen)).unwrap();
    assert_eq!((report.subject, report.size, report.entries_count), (Subject::Bundle, 600, 86));
    assert!(verify_path(&path, &policy()).is_ok());
}

#[test]
fn an_empty_bundle_and_one_of_everything_verify() {
    let (dir, _) = ledger();
    let ledger = open(dir.path()).unwrap();
    let path = dir.path().join("evidence.txt");
    let nobody = Filter { kinds: vec!["forgotten".into()], ..Filter::default() };
    for (filter, count) in [(nobody, 0), (Filter::default(), 600)] {
        let mut out = Vec::new();
        assert_eq!(ledger.export_bundle(&filter, &mut out).unwrap(), count);
        fs::write(&path, out).unwrap();
        assert_eq!(verify_path(&path, &policy()).unwrap().entries_count, count);
    }
}

#[test]
fn flip_of_any_byte_of_a_bundle_is_found_and_the_line_named() {
    let (_dir, path, seen) = bundle();
    let policy = policy().having_seen(&seen);
    let length = fs::metadata(&path).unwrap().len() as usize;
    for place in (0..60).chain((60..length).step_by(487)).chain((length - 300..length).step_by(2)) {
        let whole = flip(&path, place);
        let line = 1 + whole[..place].iter().filter(|byte| **byte == b'\n').count();
        let found = violations(&path, &policy);
        assert!(found.iter().any(|v| v.line == Some(line)), "byte {place}, line {line}: {found:?}");
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn drop_from_a_bundle_is_found_and_the_entry_named() {
    let found = tampered(|lines| drop(lines.remove(entry_line(4))));
    assert!(found.iter().any(|v| v.index == Some(LedgerIndex(32)) && v.what == Tampering::Dropped));
    let found = tampered(|lines| {
        lines.remove(entry_line(4)); // And from the readable index.
        lines.remove(index_line(4));
    });
    assert!(found.iter().any(|v| v.index == Some(LedgerIndex(32)) && v.what == Tampering::Dropped));
}

#[test]
fn swap_in_a_bundle_is_found_and_the_line_named() {
    let found = tampered(|lines| lines.swap(entry_line(4), entry_line(9)));
    assert!(
        found.iter().any(|v| v.what == Tampering::OutOfOrder && v.line == Some(entry_line(5) + 1))
    );
    let found = tampered(|lines| lines.swap(index_line(2), index_line(3)));
    assert!(
        found.iter().any(|v| v.what == Tampering::OutOfOrder && v.line == Some(13)),
        "{found:?}"
    );
    // The contents of two entries change places under their numbers.
    let found = tampered(|lines| {
        let number = |line: &str| {
            line.split("\"index\":").nth(1).unwrap().split(',').next().unwrap().to_owned()
        };
        let (a, b) = (lines[entry_line(4)].clone(), lines[entry_line(9)].clone());
        let (n, m) = (format!("\"index\":{},", number(&a)), format!("\"index\":{},", number(&b)));
        lines[entry_line(4)] = b.replace(&m, &n);
        lines[entry_line(9)] = a.replace(&n, &m);
    });
    let not_in_tree: Vec<_> = found.iter().filter(|v| v.what == Tampering::NotInTree).collect();
    assert_eq!(not_in_tree.len(), 2, "{found:?}");
    assert_eq!(not_in_tree[0].index, Some(LedgerIndex(32)));
}

#[test]
fn truncation_of_a_bundle_is_found_at_any_line() {
    for keep in [1, 5, 9, 50, 95, 96, 97, 98, 120, entry_line(86)] {
        let found = tampered(|lines| lines.truncate(keep));
        let at_end = |v: &Violation| v.what == Tampering::BundleTruncated && v.line == Some(keep);
        assert!(found.iter().any(at_end), "{keep}: {found:?}");
    }
    let found = tampered(Vec::clear);
    assert!(found.iter().any(|v| v.what == Tampering::BundleTruncated));
}

#[test]
fn an_entry_of_another_bundle_of_the_same_log_is_found_as_added() {
    let (dir, path, _) = bundle();
    let ledger = open(dir.path()).unwrap();
    let mut other = Vec::new();
    ledger.export_bundle(&Filter::default(), &mut other).unwrap();
    let other = String::from_utf8(other).unwrap();
    let extra = other.split_inclusive('\n').find(|line| line.contains("\"entry\",\"index\":598,"));
    let mut text = fs::read_to_string(&path).unwrap();
    let manifest = text.rfind("{\"part\":\"manifest\"").unwrap();
    text.insert_str(manifest, extra.unwrap());
    fs::write(&path, text).unwrap();
    let found = violations(&path, &policy());
    assert!(found.iter().any(|v| v.what == Tampering::Added && v.index == Some(LedgerIndex(598))));
}

#[test]
fn an_enclosed_policy_of_another_log_or_key_is_found() {
    let found = tampered(|lines| {
        let line = &mut lines[index_line(86) + 1];
        assert!(line.contains("\"part\":\"policy\""), "{line}");
        *line = line.replace("origin = \\\"l", "origin = \\\"m");
    });
    assert!(found.iter().any(|v| v.what == Tampering::PolicyDiffers), "{found:?}");
    let found =
        tampered(|lines| lines[index_line(3)] = lines[index_line(3)].replace("keys", "kegs"));
    assert!(found.iter().any(|v| v.what == Tampering::IndexDiffers && v.line == Some(13)));
    let found = tampered(|lines| lines[2] = lines[2].replace("86", "87"));
    assert!(found.iter().any(|v| v.what == Tampering::PreambleDiffers && v.line == Some(3)));
}

#[test]
fn a_bundle_of_a_rolled_back_or_forked_log_is_found_by_who_saw_more() {
    let (dir, path, seen) = bundle();
    let ledger = open(dir.path()).unwrap();
    ledger.append(&releases(0..9)).unwrap();
    let later = ledger.publish_checkpoint().unwrap();
    let found = violations(&path, &policy().having_seen(&later));
    assert_eq!(found[0].what, Tampering::RolledBack { found: 600, known: 609 });
    let (_dir, forked, other) = bundle();
    assert!(verify_path(&forked, &policy().having_seen(&other)).is_ok());
    let found = violations(&forked, &policy().having_seen(&seen));
    assert_eq!(found[0].what, Tampering::Forked { size: 300 });
    let in_between = Policy { seen: Some(Seen { size: 301, root: seen.root() }), ..policy() };
    let found = violations(&path, &in_between);
    assert_eq!(found[0].what, Tampering::NoConsistencyProof { size: 301 });
}

#[test]
fn no_part_of_a_public_folder_or_a_record_header_tells_an_entry() {
    let (dir, _) = ledger();
    for file in files_below(dir.path(), ".").unwrap() {
        let bytes = fs::read(dir.path().join(&file)).unwrap();
        for secret in ["dr.3@lakeside", "key-release", "192.0.2.1", "lakeside"] {
            let there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!there, "{secret} in {file}");
        }
    }
}

#[test]
fn a_policy_reads_back_and_wrong_ones_are_refused() {
    let (_dir, seen) = ledger();
    let cosigner = crate::Cosigner::ed25519("w.example", &[3; 32]).unwrap();
    let key = cosigner.verifier().clone();
    let whole = Policy {
        witnesses: vec![Witness { key, url: Some("http://w.example".to_owned()) }],
        witnesses_required: 1,
        log_keys: vec![LogKey { key: policy().key, from_size: 5, to_size: Some(9) }],
        ..policy().having_seen(&seen)
    };
    assert_eq!(Policy::parse(&whole.to_toml()), Ok(whole.clone()));
    assert_eq!(Policy::parse(&policy().to_toml()), Ok(policy()));
    let text = whole.to_toml();
    let wrong = |from: &str, to: &str| Policy::parse(&text.replace(from, to)).unwrap_err();
    assert!(matches!(wrong("origin", "orogin"), PolicyError::Form(_)));
    assert!(matches!(wrong("\nkey = \"l", "\nkey = \"x"), PolicyError::Key { .. }));
    assert!(matches!(wrong("required = 1", "required = 2"), PolicyError::Witnesses { .. }));
    assert!(matches!(wrong("root = \"", "root = \"AA"), PolicyError::Root));
}

#[test]
fn the_policy_in_the_readme_is_one() {
    let readme = include_str!("../../README.md");
    let text = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let policy = Policy::parse(text).unwrap();
    assert_eq!((policy.witnesses.len(), policy.witnesses_required), (1, 1));
    assert_eq!(policy.seen.unwrap().size, 20_852_163);
}
