//! `opens`: opens of a warm patient's resource beside the bare sum of their parts.

use aws_lc_rs::aead;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use holdfast_base::{ElementClass, PatientId, fill_random};
use holdfast_keeper::{PatientKeys, SealContext};
use holdfast_store::{ResourceKey, SealedVersion, Snapshot, Store, Transaction};

use crate::Failure;
use crate::document::{Document, Packer, TYPE, TYPE_CODE, Unpacker};
use crate::figure::{Figure, Target};
use crate::rig::{self, Keeper, Options};

/// Resources of the patient.
const RESOURCES: usize = 2_000;

/// A resource and where it lies.
pub struct Placed {
    /// Where.
    pub key: ResourceKey,
    /// Logical id.
    pub id: String,
}

/// Measures.
pub fn figures(options: &Options) -> Result<Vec<Figure>, Failure> {
    let folder = rig::folder()?;
    let keeper = Keeper::start(folder.path())?;
    let store = Store::open(&folder.path().join("store"))?;
    let keys = keeper.release(&[PatientId::random()])?.remove(0);
    let documents: Vec<Document> = (0..RESOURCES).map(|_| Document::random()).collect();
    let placed = fill(&keeper, &store, &keys, &documents)?;
    let bare = Bare::fill(&folder.path().join("raw"), &documents)?;
    let (mut measured, mut baseline) = (Vec::new(), Vec::new());
    let mut unpacker = Unpacker::new()?;
    for round in 0..=options.rounds() {
        let own = rate(options, RESOURCES, |place| {
            open(&store.snapshot(), &placed[place], &keys, &mut unpacker)
        })?;
        let other = rate(options, RESOURCES, |place| bare.open(place, &mut unpacker))?;
        if round > 0 {
            measured.push(own);
            baseline.push(other);
        }
    }
    let name = "opens of a warm patient's resource, in process".to_owned();
    let target = Target::Ratio(0.7);
    Ok(vec![Figure { name, unit: "/s", measured, baseline, target }])
}

/// Times a second that `open` can be done, one place after the other.
fn rate(
    options: &Options,
    places: usize,
    mut open: impl FnMut(usize) -> Result<usize, Failure>,
) -> Result<f64, Failure> {
    let (started, during) = (rig::now(), options.round() / 2);
    let (mut count, mut bytes) = (0_usize, 0_usize);
    // A stride that meets every place, in no order that a cache could guess.
    while count % 64 != 0 || started.elapsed() < during {
        bytes += open((count * 769) % places)?;
        count += 1;
    }
    assert!(bytes > count, "bodies were opened");
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// Writes `documents` as the patient's.
pub fn fill(
    keeper: &Keeper,
    store: &Store,
    keys: &PatientKeys,
    documents: &[Document],
) -> Result<Vec<Placed>, Failure> {
    let mut packer = Packer::new()?;
    let class = ElementClass::Clinical;
    let mut placed = Vec::with_capacity(documents.len());
    for some in documents.chunks(100) {
        let mut puts = Vec::with_capacity(some.len());
        for document in some {
            let id_token = keeper.organization.token.token("id", document.reference().as_bytes());
            let key = ResourceKey {
                organization: 1,
                patient: keys.patient,
                type_code: TYPE_CODE,
                id_token,
            };
            let seal = |part, plain: &[u8]| {
                Ok::<_, Failure>(keys.class(class)?.seal(&place(keys, &document.id, part), plain))
            };
            let body = seal("body", &packer.pack(&document.body)?)?;
            let sealed = SealedVersion {
                version: 1,
                deleted: false,
                last_updated: holdfast_base::Timestamp::from_millis(1),
                parts: vec![(class, body)],
                index: seal("index", &document.index)?,
                id_sealed: Vec::new(),
            };
            puts.push((key, sealed));
            placed.push(Placed { key, id: document.id.clone() });
        }
        store.commit(Transaction { puts, ..Transaction::default() })?;
    }
    Ok(placed)
}

fn place<'a>(keys: &'a PatientKeys, id: &'a str, part: &'a str) -> SealContext<'a> {
    SealContext {
        organization: &keys.organization,
        patient: keys.patient,
        resource_type: TYPE,
        id,
        version: 1,
        class: ElementClass::Clinical,
        part,
    }
}

/// Opens one resource: the store, the seal, the decompression.
pub fn open(
    snapshot: &Snapshot,
    placed: &Placed,
    keys: &PatientKeys,
    unpacker: &mut Unpacker,
) -> Result<usize, Failure> {
    let stored = snapshot.current(&placed.key)?.ok_or("a resource is missing")?;
    let mut bytes = 0;
    for (class, sealed) in &stored.sealed.parts {
        let packed = keys.class(*class)?.open(&place(keys, &placed.id, "body"), sealed)?;
        bytes += unpacker.unpack(&packed)?.len();
    }
    Ok(bytes)
}

/// The same bytes in the engine alone, under AES-256-GCM with one key.
struct Bare {
    database: Database,
    bodies: Keyspace,
    keys: Vec<Vec<u8>>,
    key: aead::LessSafeKey,
}

impl Bare {
    fn fill(dir: &std::path::Path, documents: &[Document]) -> Result<Self, Failure> {
        let database = Database::builder(dir).cache_size(64 << 20).open()?;
        let bodies = database.keyspace("bodies", KeyspaceCreateOptions::default)?;
        let mut secret = [0; 32];
        fill_random(&mut secret);
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &secret).map_err(|_| "no key")?;
        let key = aead::LessSafeKey::new(key);
        let mut packer = Packer::new()?;
        let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
        let mut keys = Vec::new();
        for document in documents {
            let mut nonce = [0; 12];
            fill_random(&mut nonce);
            let mut body = packer.pack(&document.body)?;
            let sealed = aead::Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(sealed, aead::Aad::empty(), &mut body)
                .map_err(|_| "not sealed")?;
            // As long as the store's keys.
            let name = [document.id.as_bytes(), &[0; 14][..]].concat();
            batch.insert(&bodies, name.as_slice(), [&nonce[..], &body].concat());
            keys.push(name);
        }
        batch.commit()?;
        Ok(Self { database, bodies, keys, key })
    }

    fn open(&self, place: usize, unpacker: &mut Unpacker) -> Result<usize, Failure> {
        let snapshot = self.database.snapshot();
        let value = snapshot.get(&self.bodies, &self.keys[place])?.ok_or("a body is missing")?;
        let (nonce, body) = value.split_first_chunk::<12>().ok_or("too short")?;
        let nonce = aead::Nonce::assume_unique_for_key(*nonce);
        let mut body = body.to_vec();
        let packed = self
            .key
            .open_in_place(nonce, aead::Aad::empty(), &mut body)
            .map_err(|_| "not authentic")?;
        Ok(unpacker.unpack(packed)?.len())
    }
}
