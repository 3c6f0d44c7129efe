//! Versions that were read or will be read again: the newest ones of some
//! resources, sealed as they are, so that a record that is being worked with
//! costs no search in the engine.
//!
//! Invariant: what is held for a resource is its newest version. The writer lets
//! go of what a batch writes before it publishes the batch, and what was read
//! from a state before the last such batch is not taken any more; so a snapshot
//! at *t* may use what it finds here when that is not younger than *t*.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use holdfast_base::CommitNumber;
use parking_lot::Mutex;

use crate::engine::{Space, Write};
use crate::layout::{RESOURCE_BYTES, ResourceBytes};
use crate::model::Stored;

/// Locks that readers share.
const SHARDS: usize = 16;
/// Sealed bytes over all shards; some tens of records of ordinary size.
const BYTES_MAX: usize = 32 << 20;
/// What is larger is read rarely and would drive out much.
const ONE_BYTES_MAX: usize = 64 << 10;
/// What a resource costs beside its sealed bytes.
const OVERHEAD_BYTES: usize = 256;

/// The cache.
pub(crate) struct Recent([Mutex<Shard>; SHARDS]);

#[derive(Default)]
struct Shard {
    held: HashMap<ResourceBytes, Arc<Stored>>,
    /// In the order of their coming; may name what has gone since.
    order: VecDeque<ResourceBytes>,
    bytes: usize,
    /// The newest batch that wrote a resource of this shard.
    written: CommitNumber,
}

impl Recent {
    /// An empty one for a store whose newest commit is `written`: what is read from
    /// an older state is not taken, because nobody knows what came after it.
    pub(crate) fn new(written: CommitNumber) -> Self {
        Self(std::array::from_fn(|_| Mutex::new(Shard { written, ..Shard::default() })))
    }

    fn shard(&self, resource: &ResourceBytes) -> &Mutex<Shard> {
        // The end is a keyed token: as good as a hash.
        &self.0[usize::from(resource[RESOURCE_BYTES - 1]) % SHARDS]
    }

    /// The version that is current at `at`, when it is held.
    pub(crate) fn get(&self, resource: &ResourceBytes, at: CommitNumber) -> Option<Arc<Stored>> {
        let shard = self.shard(resource).lock();
        shard.held.get(resource).filter(|stored| stored.commit <= at).cloned()
    }

    /// Holds a version that is current at `at`, unless the resource may have been
    /// written since.
    pub(crate) fn put(&self, resource: ResourceBytes, stored: Arc<Stored>, at: CommitNumber) {
        let bytes = size(&stored);
        let mut shard = self.shard(&resource).lock();
        if shard.written > at || bytes > ONE_BYTES_MAX || shard.held.contains_key(&resource) {
            return;
        }
        shard.bytes += bytes;
        shard.held.insert(resource, stored);
        shard.order.push_back(resource);
        while shard.bytes > BYTES_MAX / SHARDS
            || shard.order.len() > BYTES_MAX / SHARDS / OVERHEAD_BYTES
        {
            let Some(oldest) = shard.order.pop_front() else { break };
            shard.let_go(&oldest);
        }
    }

    /// Lets go of what `writes`, a batch up to commit `position`, wrote. To be
    /// called before the batch shows.
    pub(crate) fn forget(&self, writes: &[Write], position: CommitNumber) {
        let written = writes.iter().filter(|write| write.space == Space::Index);
        for resource in written.filter_map(|write| write.key.first_chunk::<RESOURCE_BYTES>()) {
            let mut shard = self.shard(resource).lock();
            shard.written = position;
            shard.let_go(resource);
        }
    }
}

impl Shard {
    fn let_go(&mut self, resource: &ResourceBytes) {
        if let Some(gone) = self.held.remove(resource) {
            self.bytes -= size(&gone);
        }
    }
}

fn size(stored: &Stored) -> usize {
    let parts: usize = stored.sealed.parts.iter().map(|(_, part)| part.len()).sum();
    OVERHEAD_BYTES + parts + stored.sealed.index.len() + stored.sealed.id_sealed.len()
}

#[cfg(test)]
mod tests {
    use holdfast_base::{ElementClass, PatientId, Timestamp};

    use super::*;
    use crate::layout::{resource_bytes, version_key};
    use crate::model::{ResourceKey, SealedVersion};

    fn key(token: u8) -> ResourceKey {
        let patient = PatientId::from_bytes([2; 16]);
        ResourceKey { organization: 1, patient, type_code: 3, id_token: [token; 16] }
    }

    fn stored(token: u8, commit: u64, body_bytes: usize) -> Arc<Stored> {
        let sealed = SealedVersion {
            version: commit,
            deleted: false,
            last_updated: Timestamp::from_millis(1),
            parts: vec![(ElementClass::Clinical, vec![7; body_bytes])],
            index: vec![],
            id_sealed: vec![],
        };
        Arc::new(Stored { key: key(token), commit: CommitNumber(commit), sealed })
    }

    fn batch(token: u8, commit: u64) -> [Write; 1] {
        let key = version_key(&resource_bytes(&key(token)), CommitNumber(commit));
        [Write { space: Space::Index, key, value: None }]
    }

    #[test]
    fn what_was_current_before_the_store_was_opened_is_not_taken_for_the_newest() {
        let (recent, resource) = (Recent::new(CommitNumber(9)), resource_bytes(&key(1)));
        recent.put(resource, stored(1, 5, 10), CommitNumber(8));
        assert!(recent.get(&resource, CommitNumber(9)).is_none());
        recent.put(resource, stored(1, 7, 10), CommitNumber(9));
        assert!(recent.get(&resource, CommitNumber(9)).is_some());
    }

    #[test]
    fn an_older_snapshot_does_not_see_a_younger_version() {
        let (recent, resource) = (Recent::new(CommitNumber(0)), resource_bytes(&key(1)));
        recent.put(resource, stored(1, 5, 10), CommitNumber(6));
        assert!(recent.get(&resource, CommitNumber(4)).is_none());
        assert!(recent.get(&resource, CommitNumber(5)).is_some());
    }

    #[test]
    fn what_was_read_before_a_batch_is_not_taken_after_it() {
        let (recent, resource) = (Recent::new(CommitNumber(0)), resource_bytes(&key(1)));
        recent.put(resource, stored(1, 5, 10), CommitNumber(6));
        recent.forget(&batch(1, 7), CommitNumber(7));
        assert!(recent.get(&resource, CommitNumber(9)).is_none());
        // A reader that began before the batch brings what it has read only now.
        recent.put(resource, stored(1, 5, 10), CommitNumber(6));
        assert!(recent.get(&resource, CommitNumber(9)).is_none());
        recent.put(resource, stored(1, 7, 10), CommitNumber(7));
        assert_eq!(recent.get(&resource, CommitNumber(9)).map(|s| s.commit), Some(CommitNumber(7)));
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let recent = Recent::new(CommitNumber(0));
        for number in 0..4_000_u32 {
            let mut resource = resource_bytes(&key(0));
            resource[22..26].copy_from_slice(&number.to_be_bytes());
            recent.put(resource, stored(0, 1, 1_000 + number as usize % 9), CommitNumber(1));
        }
        let shard = recent.0[0].lock();
        assert!(shard.bytes <= BYTES_MAX / SHARDS && shard.held.len() > 1_000);
        assert_eq!(shard.bytes, shard.held.values().map(|stored| size(stored)).sum::<usize>());
        drop(shard);
        recent.put(resource_bytes(&key(1)), stored(1, 1, ONE_BYTES_MAX), CommitNumber(1));
        assert!(recent.get(&resource_bytes(&key(1)), CommitNumber(1)).is_none(), "too large");
    }
}
