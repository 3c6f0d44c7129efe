//! What the tests of this crate share.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use holdfast_base::{
    ClassSet, LedgerIndex, ManualClock, OrganizationId, PatientId, Purpose, Timestamp,
};

use crate::*;

pub(crate) const ORIGIN: &str = "ledger.example.org/test";
pub(crate) const SEED: [u8; 32] = [42; 32];

/// AES-256-GCM with the index as nonce and associated data: enough for tests.
pub(crate) struct TestSealer(LessSafeKey);

impl TestSealer {
    fn nonce(index: LedgerIndex) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&index.0.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl BodySealer for TestSealer {
    fn seal(&self, index: LedgerIndex, body: &[u8]) -> Vec<u8> {
        let mut sealed = body.to_vec();
        let aad = Aad::from(index.0.to_be_bytes());
        self.0.seal_in_place_append_tag(Self::nonce(index), aad, &mut sealed).expect("seals");
        sealed
    }

    fn open(&self, index: LedgerIndex, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        let mut body = sealed.to_vec();
        let aad = Aad::from(index.0.to_be_bytes());
        let opened = self.0.open_in_place(Self::nonce(index), aad, &mut body);
        opened.map(|body| body.to_vec()).map_err(|_| BodyUnreadable)
    }
}

pub(crate) fn keys() -> LedgerKeys {
    let key = UnboundKey::new(&AES_256_GCM, &[1; 32]).expect("a key");
    let signer = CheckpointSigner::from_seed(ORIGIN, &SEED).expect("a name");
    LedgerKeys { sealer: Box::new(TestSealer(LessSafeKey::new(key))), signer }
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_432_598_400_000)))
}

pub(crate) fn open(dir: &Path) -> Result<Ledger, OpenError> {
    Ledger::open(dir, ORIGIN, keys(), clock())
}

/// The n-th patient.
pub(crate) fn patient(n: u64) -> PatientId {
    PatientId::from_bytes((u128::from(n) + 1).to_be_bytes())
}

/// A key release of one of seven principals for one of eleven patients.
pub(crate) fn release(n: u64) -> Entry {
    Entry {
        at: Timestamp::from_millis(1_432_598_400_000 + n as i64 * 1000),
        actor: Actor {
            principal: format!("dr.{}@lakeside", n % 7).parse().expect("a principal"),
            session: None,
            organization: None,
            address: Some(format!("192.0.2.{}", n % 5)),
        },
        request: None,
        event: Event::KeyRelease {
            organization: OrganizationId::new("lakeside").expect("an organization"),
            patient: patient(n % 11),
            classes: ClassSet::ALL,
            purpose: Purpose::Treatment,
            reason: "own-organization".to_owned(),
        },
    }
}

pub(crate) fn releases(range: std::ops::Range<u64>) -> Vec<Entry> {
    range.map(release).collect()
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes the folder");
    for item in std::fs::read_dir(from).expect("lists") {
        let item = item.expect("lists");
        let target = to.join(item.file_name());
        if item.file_type().expect("has a type").is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).expect("copies");
        }
    }
}
