//! What the tests of this crate share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use holdfast_base::{
    ClassSet, LedgerIndex, ManualClock, OrganizationId, PatientId, Purpose, Timestamp,
};

use crate::medium::{Disk, Medium};
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

    fn block_nonce(place: IndexPlace) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&place.file[..8]);
        nonce[8..].copy_from_slice(&place.block.to_be_bytes());
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

    fn seal_index(&self, place: IndexPlace, block: &[u8]) -> Vec<u8> {
        let mut sealed = block.to_vec();
        let (aad, nonce) = (Aad::from(place.to_bytes()), Self::block_nonce(place));
        self.0.seal_in_place_append_tag(nonce, aad, &mut sealed).expect("seals");
        sealed
    }

    fn open_index(&self, place: IndexPlace, sealed: &[u8]) -> Result<Vec<u8>, BodyUnreadable> {
        let mut block = sealed.to_vec();
        let (aad, nonce) = (Aad::from(place.to_bytes()), Self::block_nonce(place));
        let opened = self.0.open_in_place(nonce, aad, &mut block);
        opened.map(|block| block.to_vec()).map_err(|_| BodyUnreadable)
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
    Ledger::open_on(dir, ORIGIN, keys(), clock(), unsynced(), Default::default())
}

/// A disk that syncs nothing: for tests that lose no power, which are much quicker.
pub(crate) fn unsynced() -> Arc<dyn Medium> {
    Ruled::new(|disk: &Disk, op: &Op| match op {
        Op::Sync(_) | Op::SyncFolder(_) | Op::SyncEverything(_) => Ok(()),
        op => op.apply(disk),
    })
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

/// One thing that was asked of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Write(PathBuf, u64, Vec<u8>),
    Cut(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveFolder(PathBuf),
    CreateFolder(PathBuf),
    SyncFolder(PathBuf),
    SyncEverything(PathBuf),
}

impl Op {
    pub(crate) fn apply(&self, disk: &Disk) -> io::Result<()> {
        match self {
            Self::Write(path, offset, bytes) => disk.write(path, *offset, bytes),
            Self::Cut(path, length) => disk.cut(path, *length),
            Self::Sync(path) => disk.sync(path),
            Self::Rename(from, to) => disk.rename(from, to),
            Self::Remove(path) => disk.remove(path),
            Self::RemoveFolder(path) => disk.remove_folder(path),
            Self::CreateFolder(path) => disk.create_folder(path),
            Self::SyncFolder(path) => disk.sync_folder(path),
            // Of the whole machine otherwise, with everybody's files.
            Self::SyncEverything(_) => Ok(()),
        }
    }
}

/// A disk that asks `rule` about everything first.
pub(crate) struct Ruled<F> {
    disk: Disk,
    rule: F,
}

impl<F: Fn(&Disk, &Op) -> io::Result<()> + Send + Sync> Ruled<F> {
    pub(crate) fn new(rule: F) -> Arc<Self> {
        Arc::new(Self { disk: Disk::default(), rule })
    }

    fn ask(&self, op: Op) -> io::Result<()> {
        (self.rule)(&self.disk, &op)
    }
}

impl<F: Fn(&Disk, &Op) -> io::Result<()> + Send + Sync> Medium for Ruled<F> {
    fn write(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.ask(Op::Write(path.to_owned(), offset, bytes.to_vec()))
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        self.ask(Op::Cut(path.to_owned(), length))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::Sync(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::Remove(path.to_owned()))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::RemoveFolder(path.to_owned()))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::CreateFolder(path.to_owned()))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.ask(Op::SyncFolder(path.to_owned()))
    }

    fn sync_everything(&self, dir: &Path) -> io::Result<()> {
        self.ask(Op::SyncEverything(dir.to_owned()))
    }
}
