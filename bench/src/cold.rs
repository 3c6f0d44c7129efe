//! `cold`: opens that begin with a key release, beside what the disk syncs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_base::PatientId;
use holdfast_store::Store;
use tokio::task::JoinSet;

use crate::Failure;
use crate::document::{Document, Unpacker};
use crate::figure::{Figure, Target};
use crate::opens;
use crate::rig::{self, Keeper, Options};

/// Opens under way at once.
const AT_ONCE: usize = 64;
/// Patients with a record; each release counts as one of them.
const PATIENTS: usize = 4_000;
/// Releases that one fsync is expected to carry.
const SHARED_BY: f64 = 32.0;

/// Measures.
pub fn figures(options: &Options) -> Result<Vec<Figure>, Failure> {
    let folder = rig::folder()?;
    let keeper = Keeper::start(folder.path())?;
    let store = Arc::new(Store::open(&folder.path().join("store"))?);
    let patients: Vec<PatientId> = (0..PATIENTS).map(|_| PatientId::random()).collect();
    let mut placed = Vec::with_capacity(PATIENTS);
    for keys in keeper.release(&patients)? {
        placed.extend(opens::fill(&keeper, &store, &keys, &[Document::random()])?);
    }
    let placed = Arc::new(placed);
    let (mut measured, mut baseline) = (Vec::new(), Vec::new());
    for round in 0..=options.rounds() {
        let own = keeper.runtime.block_on(opens_a_second(&keeper, &store, &placed, options))?;
        let syncs = rig::syncs_a_second(folder.path(), options.round() / 2)?;
        if round > 0 {
            measured.push(own);
            baseline.push(syncs * SHARED_BY);
        }
    }
    let name =
        "cold opens (key release, durable entry), 64 at once; baseline fsyncs × 32".to_owned();
    let target = Target::Ratio(1.0);
    Ok(vec![Figure { name, unit: "/s", measured, baseline, target }])
}

async fn opens_a_second(
    keeper: &Keeper,
    store: &Arc<Store>,
    placed: &Arc<Vec<opens::Placed>>,
    options: &Options,
) -> Result<f64, Failure> {
    let started = rig::now();
    let until = started + options.round();
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, store) = (keeper.client.clone(), Arc::clone(store));
        let proof = keeper.proof.clone();
        let (placed, next) = (Arc::clone(placed), Arc::clone(&next));
        tasks.spawn(async move {
            let mut unpacker = Unpacker::new()?;
            let mut count = 0_u64;
            while rig::now() < until {
                let one = &placed[next.fetch_add(1, Ordering::Relaxed) % placed.len()];
                let request = rig::release_request(&proof, vec![one.key.patient]);
                let keys = client.release(&request).await?;
                opens::open(&store.snapshot(), one, &keys[0], &mut unpacker)?;
                count += 1;
            }
            Ok::<_, Failure>(count)
        });
    }
    let mut count = 0;
    while let Some(ended) = tasks.join_next().await {
        count += ended??;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}
