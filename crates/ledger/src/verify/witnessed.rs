//! A folder and its witnesses. The newest checkpoint is a second old and witnesses
//! are asked every few; so what they cosigned is a checkpoint of its own, in the
//! file `checkpoint.witnessed`, which must be the beginning of what the log signed.

use std::fs;
use std::path::Path;

use super::{Policy, Report, Tampering, Violation, Violations, check_checkpoint, folder};
use crate::layout::{CHECKPOINT, WITNESSED};
use crate::proof::root_of;
use crate::published::PublishedTiles;

/// Verifies the folder, then what witnesses say of it.
pub(super) fn check(dir: &Path, policy: &Policy) -> Result<Report, Vec<Violation>> {
    let alone = Policy { witnesses_required: 0, ..policy.clone() };
    let report = folder::check(dir, &alone)?;
    if policy.witnesses.is_empty() || report.witnesses_count == policy.witnesses_count() {
        return Ok(report);
    }
    let enough = report.witnesses_count >= policy.witnesses_required;
    let mut found = Violations::default();
    let outcome = match fs::read_to_string(dir.join(WITNESSED)) {
        Ok(note) => fits(dir, &note, policy, &report),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (found, required) = (report.witnesses_count, policy.witnesses_required);
            Err((CHECKPOINT, Tampering::Witnesses { found, required }))
        }
        Err(error) => Err((WITNESSED, Tampering::Unreadable(error.kind()))),
    };
    match outcome {
        Ok((size, count)) => Ok(Report { witnesses_count: count, witnessed_size: size, ..report }),
        Err((_, Tampering::Witnesses { .. })) if enough => Ok(report),
        Err((file, what)) => {
            found.add(file, None, what);
            Err(found.0)
        }
    }
}

/// Size and number of witnesses of a cosigned checkpoint that fits the tree, whose
/// tiles have been checked.
fn fits(
    dir: &Path,
    note: &str,
    policy: &Policy,
    report: &Report,
) -> Result<(u64, usize), (&'static str, Tampering)> {
    let wrong = |what| (WITNESSED, what);
    let (witnessed, count) = check_checkpoint(note, policy).map_err(wrong)?;
    let size = witnessed.size();
    if size > report.size {
        return Err(wrong(Tampering::RolledBack { found: report.size, known: size }));
    }
    let mut tiles = PublishedTiles::new(dir, report.size);
    match root_of(&mut tiles, size) {
        Ok(root) if root == witnessed.root() => Ok((size, count)),
        _ => Err(wrong(Tampering::Forked { size })),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::note::{Cosigner, Note};
    use crate::testing::{ORIGIN, keys, open, releases};
    use crate::verify::{Witness, verify_path};
    use crate::{Checkpoint, Filter};

    fn cosigner() -> Cosigner {
        Cosigner::ml_dsa_44("witness.example/w1", &[3; 32]).unwrap()
    }

    fn policy(required: usize) -> Policy {
        let witness = Witness { key: cosigner().verifier().clone(), url: None };
        let witnesses = vec![witness];
        let policy = Policy::new(ORIGIN, keys().signer.verifier().clone());
        Policy { witnesses, witnesses_required: required, ..policy }
    }

    fn cosigned(checkpoint: &Checkpoint) -> Checkpoint {
        let line = cosigner().line(&Note::parse(checkpoint.note()).unwrap(), 9).unwrap();
        checkpoint.with_lines(&line).unwrap()
    }

    /// A ledger of 400 entries, whose first 270 are witnessed.
    fn ledger() -> (TempDir, crate::Ledger) {
        let dir = tempdir().unwrap();
        let ledger = open(dir.path()).unwrap();
        ledger.append(&releases(0..269)).unwrap();
        let first = ledger.publish_checkpoint().unwrap();
        ledger.append(&releases(269..399)).unwrap();
        ledger.publish_checkpoint().unwrap();
        ledger.publish_witnessed(cosigned(&first).note()).unwrap();
        (dir, ledger)
    }

    #[test]
    fn p07_a_folder_needs_its_quorum_and_says_how_far_it_goes() {
        let (dir, ledger) = ledger();
        let report = verify_path(dir.path(), &policy(1)).unwrap();
        assert_eq!((report.size, report.witnessed_size, report.witnesses_count), (400, 270, 1));
        assert!(report.to_string().contains("the last 130 by the log alone"), "{report}");
        let older = Checkpoint::sign(&keys().signer, 100, [0; 32]);
        assert!(ledger.publish_witnessed(cosigned(&older).note()).is_err());
        fs::remove_file(dir.path().join(WITNESSED)).unwrap();
        let found = verify_path(dir.path(), &policy(1)).unwrap_err();
        assert_eq!(found[0].what, Tampering::Witnesses { found: 0, required: 1 });
        assert!(verify_path(dir.path(), &policy(0)).is_ok());
    }

    #[test]
    fn p07_a_folder_that_is_not_what_was_witnessed_is_a_fork_or_a_rollback() {
        let (dir, ledger) = ledger();
        let check = |size, root, what| {
            let other = cosigned(&Checkpoint::sign(&keys().signer, size, root));
            fs::write(dir.path().join(WITNESSED), other.note()).unwrap();
            let found = verify_path(dir.path(), &policy(1)).unwrap_err();
            assert_eq!((found[0].file.as_str(), &found[0].what), (WITNESSED, &what));
        };
        check(270, [1; 32], Tampering::Forked { size: 270 });
        check(500, [1; 32], Tampering::RolledBack { found: 400, known: 500 });
        assert!(ledger.publish_witnessed("no note").is_err());
    }

    #[test]
    fn a_bundle_on_a_witnessed_checkpoint_needs_its_quorum() {
        let (dir, ledger) = ledger();
        let export = |witnessed| {
            let options = crate::ExportOptions {
                witnessed,
                policy: Some(policy(1).to_toml()),
                ..Default::default()
            };
            let path = dir.path().join("evidence");
            let mut out = Vec::new();
            let count = ledger.export_bundle_with(&Filter::default(), &options, &mut out).unwrap();
            fs::write(&path, out).unwrap();
            (count, path)
        };
        let (count, path) = export(true);
        assert_eq!(count, 270);
        assert_eq!(verify_path(&path, &policy(1)).unwrap().witnesses_count, 1);
        assert!(fs::read_to_string(&path).unwrap().contains("witness.example/w1+"));
        let (count, path) = export(false);
        assert_eq!(count, 400);
        let found = verify_path(&path, &policy(1)).unwrap_err();
        assert_eq!(found[0].what, Tampering::Witnesses { found: 0, required: 1 });
        assert!(verify_path(&path, &policy(0)).is_ok());
    }

    #[test]
    fn proofs_of_any_size_verify_against_the_tree_of_that_size() {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD as BASE64;
        let (_dir, ledger) = ledger();
        let hash = |text: &str| <[u8; 32]>::try_from(BASE64.decode(text).unwrap()).unwrap();
        for (index, size) in [(0, 1), (0, 400), (255, 256), (256, 257), (269, 270), (300, 399)] {
            let proof = ledger.prove_inclusion(index, Some(size)).unwrap();
            let path: Vec<_> = proof.proof.iter().map(|text| hash(text)).collect();
            let leaf = hash(proof.leaf_hash.as_deref().unwrap());
            let root = hash(&proof.root);
            assert!(crate::proof::is_included(leaf, index, size, &path, &root), "{index} {size}");
            let proof = ledger.prove_consistency(index, Some(size)).unwrap();
            let path: Vec<_> = proof.proof.iter().map(|text| hash(text)).collect();
            let from = hash(proof.from_root.as_deref().unwrap());
            assert!(crate::proof::is_consistent(index, &from, size, &root, &path));
        }
        assert!(ledger.prove_inclusion(400, None).is_err());
        assert!(ledger.prove_inclusion(3, Some(3)).is_err());
        assert!(ledger.prove_consistency(3, Some(401)).is_err());
    }
}
