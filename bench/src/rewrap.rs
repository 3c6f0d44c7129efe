//! `rewrap`: wrapping everybody's keys again, beside the engine writing the rows.

use std::path::Path;

use fjall::config::CompressionPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use holdfast_base::fill_random;
use holdfast_keeper::RewrapRig;

use crate::Failure;
use crate::figure::{Figure, Target};
use crate::rig::{self, Options};

/// Patients of the organization whose wrapping key is rotated.
const PATIENTS: usize = 100_000;
/// The same in a quick run.
const PATIENTS_QUICK: usize = 5_000;
/// Rows of a batch, as the keeper writes them.
const BATCH: usize = 512;
/// A patient's row with one key: format, count, generation, time, wrapping generation,
/// and the sealed key.
const ROW_BYTES: usize = 1 + 1 + 4 + 8 + 4 + 73;

/// Measures.
pub fn figures(options: &Options) -> Result<Vec<Figure>, Failure> {
    let folder = rig::folder()?;
    let patients_count = if options.quick { PATIENTS_QUICK } else { PATIENTS };
    let keys = RewrapRig::make(&folder.path().join("keys"), patients_count)?;
    let raw = Raw::fill(&folder.path().join("raw"), patients_count)?;
    let (mut measured, mut baseline) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds() {
        rig::rest();
        let started = rig::now();
        let count = keys.rotate()?;
        let own = count as f64 / started.elapsed().as_secs_f64();
        rig::rest();
        let started = rig::now();
        raw.write_over()?;
        let other = patients_count as f64 / started.elapsed().as_secs_f64();
        if round > 0 {
            measured.push(own);
            baseline.push(other);
        }
    }
    let name = "patients' keys wrapped again, durable in parts of 512; baseline the engine \
                writing such rows";
    let target = Target::None;
    Ok(vec![Figure { name: name.into(), unit: "/s", measured, baseline, target }])
}

/// The engine alone with rows as large as the keeper's.
struct Raw {
    database: Database,
    rows: Keyspace,
    keys: Vec<[u8; 20]>,
}

impl Raw {
    fn fill(dir: &Path, rows_count: usize) -> Result<Self, Failure> {
        let database =
            Database::builder(dir).journal_compression(fjall::CompressionType::None).open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .data_block_compression_policy(CompressionPolicy::disabled())
        };
        let rows = database.keyspace("rows", options)?;
        let key = || {
            let mut key = [0; 20];
            fill_random(&mut key);
            key
        };
        let mut keys: Vec<[u8; 20]> = std::iter::repeat_with(key).take(rows_count).collect();
        keys.sort_unstable();
        let raw = Self { database, rows, keys };
        raw.write_over()?;
        Ok(raw)
    }

    fn write_over(&self) -> Result<(), Failure> {
        let mut value = [0; ROW_BYTES];
        for some in self.keys.chunks(BATCH) {
            let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
            for key in some {
                fill_random(&mut value);
                batch.insert(&self.rows, key.as_slice(), value.as_slice());
            }
            batch.commit()?;
        }
        Ok(())
    }
}
