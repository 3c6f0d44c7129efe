//! What a reader needs in memory: where each entry lies, when it happened, and
//! posting lists of what entries are asked for by. Built from the entries at
//! open and added to as entries become durable.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::hash::Hash;

use holdfast_base::{PatientId, PrincipalId, SessionId, Timestamp};

use crate::{Entry, Filter};

/// The largest number of entries: posting lists hold 32-bit indexes.
pub(crate) const ENTRIES_MAX: u64 = u32::MAX as u64;

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    at: Timestamp,
}

/// Postings and places of the durable entries.
#[derive(Debug, Default)]
pub(crate) struct View {
    places: Vec<Place>,
    principals: HashMap<PrincipalId, Vec<u32>>,
    sessions: HashMap<SessionId, Vec<u32>>,
    patients: HashMap<PatientId, Vec<u32>>,
    addresses: HashMap<String, Vec<u32>>,
    kinds: HashMap<&'static str, Vec<u32>>,
}

impl View {
    pub(crate) fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// Offset of the entry's record in its segment.
    pub(crate) fn offset(&self, index: u64) -> Option<u64> {
        self.places.get(usize::try_from(index).ok()?).map(|place| place.offset)
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: &Entry, offset: u64) {
        let index = self.places.len() as u32;
        self.places.push(Place { offset, at: entry.at });
        let actor = &entry.actor;
        match self.principals.get_mut(&actor.principal) {
            Some(list) => list.push(index),
            None => drop(self.principals.insert(actor.principal.clone(), vec![index])),
        }
        if let Some(session) = actor.session {
            self.sessions.entry(session).or_default().push(index);
        }
        if let Some(address) = &actor.address {
            match self.addresses.get_mut(address) {
                Some(list) => list.push(index),
                None => drop(self.addresses.insert(address.clone(), vec![index])),
            }
        }
        if let Some((_, patient)) = entry.event.patient() {
            self.patients.entry(patient).or_default().push(index);
        }
        self.kinds.entry(entry.event.kind()).or_default().push(index);
    }

    /// Up to `limit` indexes from `from` on, ascending, that may match `filter`
    /// (every one that does match is among them), and the index to go on from.
    /// The second part is `None` when there is nothing further.
    pub(crate) fn candidates(
        &self,
        filter: &Filter,
        from: u64,
        limit: usize,
    ) -> (Vec<u64>, Option<u64>) {
        let lists = self.lists(filter);
        let in_time = |index: u64| {
            let at = self.places[index as usize].at;
            filter.from.is_none_or(|from| at >= from) && filter.to.is_none_or(|to| at < to)
        };
        let mut found = Vec::new();
        let mut take = |index: u64| {
            if in_time(index) && lists.iter().all(|list| list.contains(index as u32)) {
                found.push(index);
            }
            found.len() < limit
        };
        let next = match lists.iter().min_by_key(|list| list.len()) {
            Some(shortest) => shortest.from(from).find(|index| !take(*index)),
            None => (from..self.len()).find(|index| !take(*index)),
        };
        (found, next.map(|last| last + 1))
    }

    fn lists(&self, filter: &Filter) -> Vec<Postings<'_>> {
        let mut lists = Vec::new();
        if let Some(principal) = &filter.principal {
            lists.push(Postings::of(&self.principals, [principal]));
        }
        if let Some(session) = &filter.session {
            lists.push(Postings::of(&self.sessions, [session]));
        }
        if let Some(address) = &filter.address {
            lists.push(Postings::of(&self.addresses, [address]));
        }
        if !filter.patients.is_empty() {
            lists.push(Postings::of(&self.patients, &filter.patients));
        }
        if !filter.kinds.is_empty() {
            let wanted: BTreeSet<&str> = filter.kinds.iter().map(String::as_str).collect();
            let kinds = self.kinds.iter().filter(|(kind, _)| wanted.contains(*kind));
            lists.push(Postings(kinds.map(|(_, list)| list.as_slice()).collect()));
        }
        lists
    }
}

/// The union of some posting lists, each ascending, no index in two of them.
struct Postings<'a>(Vec<&'a [u32]>);

impl<'a> Postings<'a> {
    fn of<'k, K: Hash + Eq + 'k>(
        map: &'a HashMap<K, Vec<u32>>,
        keys: impl IntoIterator<Item = &'k K>,
    ) -> Self {
        Self(keys.into_iter().filter_map(|key| map.get(key)).map(Vec::as_slice).collect())
    }

    fn len(&self) -> usize {
        self.0.iter().map(|list| list.len()).sum()
    }

    fn contains(&self, index: u32) -> bool {
        self.0.iter().any(|list| list.binary_search(&index).is_ok())
    }

    /// The indexes from `from` on, ascending.
    fn from(&self, from: u64) -> Box<dyn Iterator<Item = u64> + 'a> {
        let start = |list: &[u32]| list.partition_point(|index| u64::from(*index) < from);
        let rests: Vec<&'a [u32]> = self.0.iter().map(|list| &list[start(list)..]).collect();
        if let [one] = rests[..] {
            return Box::new(one.iter().map(|index| u64::from(*index)));
        }
        let mut rests: Vec<_> = rests.into_iter().map(|rest| rest.iter().copied()).collect();
        let heads = rests.iter_mut().enumerate().filter_map(|(n, rest)| Some((rest.next()?, n)));
        let mut heads: BinaryHeap<Reverse<(u32, usize)>> = heads.map(Reverse).collect();
        Box::new(std::iter::from_fn(move || {
            let Reverse((index, n)) = heads.pop()?;
            heads.extend(rests[n].next().map(|next| Reverse((next, n))));
            Some(u64::from(index))
        }))
    }
}
