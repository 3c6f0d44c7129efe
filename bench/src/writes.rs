//! `store`: durable sealed transactions beside the engine alone.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fjall::config::CompressionPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use holdfast_base::{ClassSet, Clock, ElementClass, MessageId, PatientId, Purpose};
use holdfast_keeper::{PatientKeys, SealContext};
use holdfast_ledger::{Action, Actor, Entry, Event, Touch};
use holdfast_store::{
    Precondition, ResourceKey, RowWrite, SealedVersion, Store, Table, Transaction,
};

use crate::Failure;
use crate::document::{Document, Packer, TYPE, TYPE_CODE};
use crate::figure::{Figure, Target};
use crate::rig::{self, Keeper, Options, RunClock};

/// Who writes at once.
const CONNECTIONS: usize = 4;
/// Resources of a transaction.
const RESOURCES: usize = 100;
/// Documents that were made beforehand, per connection; each is written under new ids.
const PREPARED: usize = 2_000;

/// Measures.
pub fn figures(options: &Options) -> Result<Vec<Figure>, Failure> {
    let folder = rig::folder()?;
    let keeper = Keeper::start(folder.path())?;
    let store = Store::open(&folder.path().join("store"))?;
    let raw = Raw::open(&folder.path().join("raw"))?;
    let patients: Vec<PatientId> = (0..CONNECTIONS).map(|_| PatientId::random()).collect();
    let keys = keeper.release(&patients)?;
    let documents: Vec<Vec<Document>> =
        (0..CONNECTIONS).map(|_| (0..PREPARED).map(|_| Document::random()).collect()).collect();
    let sealed = Sealed { keeper: &keeper, store: &store, clock: RunClock::start() };
    let (mut measured, mut baseline) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds() {
        rig::rest();
        let own = at_once(options.round(), |place, until| {
            sealed.write(&documents[place], &keys[place], until)
        })?;
        rig::rest();
        let other = at_once(options.round(), |place, until| raw.write(&documents[place], until))?;
        // The first round warms up.
        if round > 0 {
            measured.push(own);
            baseline.push(other);
        }
    }
    let name = "durable sealed transactions of 100 resources, in the ledger, 4 connections";
    let target = Target::Ratio(0.6);
    Ok(vec![Figure { name: name.into(), unit: "tx/s", measured, baseline, target }])
}

/// Transactions a second of [`CONNECTIONS`] threads that write until the time is up.
fn at_once(
    during: Duration,
    write: impl Fn(usize, Instant) -> Result<u64, Failure> + Sync,
) -> Result<f64, Failure> {
    let started = rig::now();
    let until = started + during;
    let written = std::thread::scope(|scope| {
        let write = &write;
        let threads: Vec<_> =
            (0..CONNECTIONS).map(|place| scope.spawn(move || write(place, until))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread fell"));
        ended.map(|count| count?).sum::<Result<u64, Failure>>()
    })?;
    Ok(written as f64 / started.elapsed().as_secs_f64())
}

/// The product.
struct Sealed<'a> {
    keeper: &'a Keeper,
    store: &'a Store,
    clock: RunClock,
}

impl Sealed<'_> {
    fn write(
        &self,
        documents: &[Document],
        keys: &PatientKeys,
        until: Instant,
    ) -> Result<u64, Failure> {
        static MESSAGES: AtomicU64 = AtomicU64::new(1);
        let actor = rig::actor("interface:bench");
        let mut packer = Packer::new()?;
        let mut count = 0;
        for some in documents.chunks_exact(RESOURCES).cycle() {
            if rig::now() >= until {
                break;
            }
            let message = MessageId(MESSAGES.fetch_add(1, Ordering::Relaxed));
            let (transaction, entries) = self.draft(some, keys, &actor, message, &mut packer)?;
            let committed = self.store.commit(transaction)?;
            let mut entries = entries;
            let chain = format!("{:02x?}", &committed.chain[..]);
            entries
                .push(self.entry(&actor, Event::StoreCommit { commit: committed.commit, chain }));
            self.keeper.runtime.block_on(self.keeper.client.append(entries))?;
            count += 1;
        }
        Ok(count)
    }

    fn entry(&self, actor: &Actor, event: Event) -> Entry {
        Entry { at: self.clock.now(), actor: actor.clone(), request: None, event }
    }

    /// What the exchange writes for a message: versions with body and index,
    /// locate rows, the intent for the ledger and the token of the message.
    fn draft(
        &self,
        documents: &[Document],
        keys: &PatientKeys,
        actor: &Actor,
        message: MessageId,
        packer: &mut Packer,
    ) -> Result<(Transaction, Vec<Entry>), Failure> {
        let class = ElementClass::Clinical;
        let key_of = keys.class(class)?;
        let tokens = &self.keeper.organization.token;
        let at = self.clock.now();
        let mut transaction = Transaction::default();
        let mut touches = Vec::with_capacity(documents.len());
        for document in documents {
            let id = format!("{}-{}", &document.id[..20], message.0);
            let reference = format!("{TYPE}/{id}");
            let id_token = tokens.token("id", reference.as_bytes());
            let key = ResourceKey {
                organization: 1,
                patient: keys.patient,
                type_code: TYPE_CODE,
                id_token,
            };
            let token: String = id_token.iter().map(|byte| format!("{byte:02x}")).collect();
            let context = |id, part| SealContext {
                organization: &keys.organization,
                patient: keys.patient,
                resource_type: TYPE,
                id,
                version: 1,
                class,
                part,
            };
            let body = key_of.seal(&context(&id, "body"), &packer.pack(&document.body)?);
            let index = key_of.seal(&context(&token, "index"), &document.index);
            transaction.preconditions.push(Precondition::CurrentVersion { key, expected: None });
            transaction.puts.push((
                key,
                SealedVersion {
                    version: 1,
                    deleted: false,
                    last_updated: at,
                    parts: vec![(class, body)],
                    index,
                    id_sealed: Vec::new(),
                },
            ));
            let locate = tokens.token("resource", reference.as_bytes()).to_vec();
            transaction
                .preconditions
                .push(Precondition::RowAbsent { table: Table::Locate, key: locate.clone() });
            let value = Some(keys.patient.as_bytes().to_vec());
            transaction.rows.push(RowWrite { table: Table::Locate, key: locate, value });
            let classes = ClassSet::of(class);
            touches.push(Touch { resource_type: TYPE.into(), id, version: 1, classes });
        }
        let access = Event::Access {
            organization: keys.organization.clone(),
            patient: keys.patient,
            action: Action::Write,
            purpose: Purpose::Treatment,
            relationship: "intake".into(),
            touches,
        };
        let intake = Event::Intake {
            organization: keys.organization.clone(),
            message,
            format: "hl7v2".into(),
            outcome: "accepted".into(),
            patient: Some(keys.patient),
            commit: None,
        };
        let entries = vec![self.entry(actor, access), self.entry(actor, intake)];
        let key = message.0.to_be_bytes().to_vec();
        let intent = self.keeper.system.seal("outbox", &serde_json::to_vec(&entries)?);
        transaction.rows.push(RowWrite {
            table: Table::Outbox,
            key: key.clone(),
            value: Some(intent),
        });
        transaction.rows.push(RowWrite { table: Table::Dedupe, key, value: Some(vec![0; 8]) });
        Ok((transaction, entries))
    }
}

/// The engine alone, set up as the store sets it up.
struct Raw {
    database: Database,
    index: Keyspace,
    bodies: Keyspace,
    rows: Keyspace,
    next: AtomicU64,
}

impl Raw {
    fn open(dir: &Path) -> Result<Self, Failure> {
        let database = Database::builder(dir)
            .cache_size(64 << 20)
            .max_journaling_size(256 << 20)
            .journal_compression(fjall::CompressionType::None)
            .open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::disabled())
                .index_block_compression_policy(CompressionPolicy::disabled())
                .max_memtable_size(16 << 20)
        };
        let (index, bodies, rows) = (
            database.keyspace("index", options)?,
            database.keyspace("bodies", options)?,
            database.keyspace("rows", options)?,
        );
        Ok(Self { database, index, bodies, rows, next: AtomicU64::new(0) })
    }

    /// As many keys as the store writes: two a resource and its place, the commit,
    /// the intent and the message.
    fn write(&self, documents: &[Document], until: Instant) -> Result<u64, Failure> {
        let mut count = 0;
        for some in documents.chunks_exact(RESOURCES).cycle() {
            if rig::now() >= until {
                break;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
            for document in some {
                let mut key = document.id.as_bytes().to_vec();
                key.extend_from_slice(&number.to_be_bytes());
                batch.insert(&self.index, key.as_slice(), document.index.as_slice());
                batch.insert(&self.bodies, key.as_slice(), document.body.as_slice());
                batch.insert(&self.rows, &key[16..], [0; 16]);
            }
            for row in [0_u8, 1, 2] {
                let key = [&[row][..], &number.to_be_bytes()].concat();
                batch.insert(&self.rows, key, [0; 64]);
            }
            batch.commit()?;
            count += 1;
        }
        Ok(count)
    }
}
