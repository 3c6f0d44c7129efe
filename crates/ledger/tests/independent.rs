//! A verifier that shares no line with this crate, `tools/verify_bundle.py`, written
//! from the documents alone, says the same of whole and of changed evidence.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use holdfast_base::{
    ClassSet, LedgerIndex, ManualClock, OrganizationId, PatientId, Purpose, Timestamp,
};
use holdfast_ledger::verify::Policy;
use holdfast_ledger::witness::{Witness, init, submission};
use holdfast_ledger::{
    Action, Actor, BodySealer, BodyUnreadable, CheckpointSigner, Entry, Event, ExportOptions,
    Filter, IndexPlace, Ledger, LedgerKeys, Touch,
};

/// What is proven does not depend on how bodies are sealed.
struct Open;

impl BodySealer for Open {
    fn seal(&self, _: LedgerIndex, body: &[u8]) -> Vec<u8> {
        body.to_vec()
    }

    fn open(&self, _: LedgerIndex, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        Ok(sealed.to_vec())
    }

    fn seal_index(&self, _: IndexPlace, block: &[u8]) -> Vec<u8> {
        block.to_vec()
    }

    fn open_index(&self, _: IndexPlace, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        Ok(sealed.to_vec())
    }
}

const ORIGIN: &str = "ledger.example.org/test";

fn entry(n: u64) -> Entry {
    let organization = OrganizationId::new("lakeside").unwrap();
    let patient = PatientId::from_bytes(u128::from(n % 11 + 1).to_be_bytes());
    let (classes, purpose) = (ClassSet::ALL, Purpose::Treatment);
    let event = match n % 3 {
        0 => {
            let reason = "own-organization".to_owned();
            Event::KeyRelease { organization, patient, classes, purpose, reason }
        }
        1 => Event::Access {
            organization,
            patient,
            action: [Action::Read, Action::Search, Action::Write, Action::Deliver][n as usize % 4],
            purpose,
            relationship: "care-team".to_owned(),
            touches: vec![Touch {
                resource_type: "Condition".to_owned(),
                id: format!("c{n}"),
                version: 1,
                classes,
            }],
        },
        _ => Event::Session { change: "opened".to_owned() },
    };
    let actor = Actor {
        principal: format!("dr.{}@lakeside", n % 7).parse().unwrap(),
        session: None,
        organization: n.is_multiple_of(2).then(|| OrganizationId::new("lakeside").unwrap()),
        address: (!n.is_multiple_of(4)).then(|| format!("192.0.2.{} é", n % 5)),
    };
    let at = Timestamp::from_millis(1_432_598_400_000 + n as i64 * 1000);
    Entry { at, actor, request: None, event }
}

/// What the other verifier says: nothing where there is no Python, outside of CI.
fn python(arguments: &[&str]) -> Option<(bool, String)> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/verify_bundle.py");
    match Command::new("python3").arg(tool).args(arguments).output() {
        Ok(output) => {
            let told = [&output.stdout[..], &output.stderr[..]].concat();
            Some((output.status.success(), String::from_utf8_lossy(&told).into_owned()))
        }
        Err(_) => {
            assert!(std::env::var("CI").is_err(), "python3 is missing in CI");
            println!("skipped: python3 is missing");
            None
        }
    }
}

fn passes(arguments: &[&str]) {
    if let Some((passed, told)) = python(arguments) {
        assert!(passed, "{arguments:?}: {told}");
    }
}

fn fails(arguments: &[&str]) {
    if let Some((passed, told)) = python(arguments) {
        assert!(!passed && told.contains("VIOLATION"), "{told}");
    }
}

#[test]
fn p07_an_independent_verifier_agrees_about_bundles_proofs_folders_and_damage() {
    let dir = tempfile::tempdir().unwrap();
    let signer = CheckpointSigner::from_seed(ORIGIN, &[42; 32]).unwrap();
    let signer = signer.with_ml_dsa_44(&[43; 32]).unwrap();
    let policy = Policy::new(ORIGIN, signer.verifier().clone());
    let key = policy.key.to_string();
    let keys = LedgerKeys { sealer: Box::new(Open), signer };
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_432_598_400_000)));
    fs::create_dir(dir.path().join("ledger")).unwrap();
    let ledger = Ledger::open(&dir.path().join("ledger"), ORIGIN, keys, clock).unwrap();
    ledger.append(&(0..299).map(entry).collect::<Vec<_>>()).unwrap();
    let seen = ledger.publish_checkpoint().unwrap();
    ledger.append(&(299..360).map(entry).collect::<Vec<_>>()).unwrap();

    // A witness cosigns.
    init(&dir.path().join("witness"), "witness.example/w1", &[policy]).unwrap();
    let witness = Witness::open(&dir.path().join("witness")).unwrap();
    let note = ledger.publish_checkpoint().unwrap();
    let body = submission(0, &[], note.note());
    let lines = witness.add_checkpoint(body.as_bytes(), 1_432_598_400).unwrap();
    ledger.publish_witnessed(note.with_lines(&lines).unwrap().note()).unwrap();
    let cosigner = witness.keys()[0].to_string();

    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let options = ExportOptions { seen: vec![300], witnessed: true, policy: None };
    let mut bundle = Vec::new();
    let filter = Filter { principal: Some("dr.3@lakeside".parse().unwrap()), ..Filter::default() };
    ledger.export_bundle_with(&filter, &options, &mut bundle).unwrap();
    let path = at("evidence");
    fs::write(&path, &bundle).unwrap();
    let root = data_encoding::BASE64.encode(&seen.root());
    let checked = ["bundle", &path, "--key", &key, "--witness", &cosigner, "--required"];
    let whole = [&checked[..], &["1", "--seen", "300", &root]].concat();
    passes(&whole);
    fails(&[&checked[..], &["2"]].concat());
    let other = data_encoding::BASE64.encode(&[7; 32]);
    fails(&[&checked[..], &["1", "--seen", "300", &other]].concat());
    let text = String::from_utf8(bundle).unwrap();
    for (from, to) in [
        ("evidence from", "evidence for"),
        ("was given", "was sold"),
        ("\"salt\":\"", "\"salt\":\"A"),
        ("own-organization", "own-organisation"),
        ("\"proof\":[\"", "\"proof\":[\"AAAA"),
        ("\"part\":\"manifest\"", "\"part\":\"manifold\""),
        ("\\n361\\n", "\\n362\\n"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        fs::write(&path, changed).unwrap();
        fails(&whole);
    }

    let proof = at("proof");
    for (index, size) in [(0, None), (7, Some(8)), (255, Some(256)), (256, Some(257)), (300, None)]
    {
        let proven = ledger.prove_inclusion(index, size).unwrap();
        fs::write(&proof, serde_json::to_vec(&proven).unwrap()).unwrap();
        passes(&["proof", &proof]);
        let grown = ledger.prove_consistency(index, size).unwrap();
        fs::write(&proof, serde_json::to_vec(&grown).unwrap()).unwrap();
        passes(&["proof", &proof]);
    }
    let proven = ledger.prove_inclusion(5, None).unwrap();
    let wrong = holdfast_ledger::Proof { index: Some(6), ..proven };
    fs::write(&proof, serde_json::to_vec(&wrong).unwrap()).unwrap();
    fails(&["proof", &proof]);

    passes(&["folder", &at("ledger"), "--key", &key]);
    let tile = dir.path().join("ledger/tile/entries/000");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[50] ^= 1;
    fs::write(&tile, bytes).unwrap();
    fails(&["folder", &at("ledger"), "--key", &key]);
}
