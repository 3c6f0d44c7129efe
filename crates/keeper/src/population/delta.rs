//! Deltas: the postings that one transaction adds and removes, sealed by the
//! front process to the organization's public key.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use holdfast_base::{OrganizationId, PatientId};

use super::block::{number, put_number, take};
use super::{IndexError, IndexedResource, Needed, Record, row_place};
use crate::inbox::{InboxSealer, open_here};
use crate::keyring::Keys;

const LAYOUT: u8 = 1;
/// The smallest delta; larger ones are powers of two up to [`PART_BYTES_MAX`].
const DELTA_BYTES: usize = 4_096;
/// Bytes for each version that is shown: as many as what one is found by needs.
const SHOWN_BYTES: usize = 2_048;
/// Steps of the size of deltas that are larger still.
const LARGE_STEP_BYTES: usize = 1 << 17;

/// Deltas that are larger are several.
const PART_BYTES_MAX: usize = 1 << 20;

/// The postings of one version of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedResource {
    /// Which.
    pub resource: IndexedResource,
    /// What it is found by.
    pub postings: BTreeSet<Vec<u8>>,
}

/// What one transaction changes in the index of one organization.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    changes: Vec<(IndexedResource, bool, Vec<Vec<u8>>)>,
    as_of: Option<u64>,
    /// Versions that the transaction shows.
    shown: usize,
}

impl Delta {
    /// A delta whose changes count as those of an earlier commit: for building the
    /// index of what was there before it.
    pub fn as_of(commit: u64) -> Self {
        Self { as_of: Some(commit), ..Self::default() }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// One version takes the place of another; either may be missing.
    pub fn replace(&mut self, before: Option<PostedResource>, after: Option<PostedResource>) {
        let none = BTreeSet::new();
        let same = matches!((&before, &after), (Some(b), Some(a)) if b.resource == a.resource);
        let kept = |other: &Option<PostedResource>| match other {
            Some(other) if same => other.postings.clone(),
            _ => none.clone(),
        };
        for (version, other, adds) in
            [(&before, kept(&after), false), (&after, kept(&before), true)]
        {
            let Some(PostedResource { resource, postings }) = version else { continue };
            let changed: Vec<Vec<u8>> = postings.difference(&other).cloned().collect();
            if !changed.is_empty() {
                self.changes.push((*resource, adds, changed));
            }
        }
    }

    /// The same changes in deltas of about a megabyte at most, each padded as if of
    /// `shown` versions; one without changes when versions are shown and nothing
    /// changes.
    pub fn into_parts(self, shown: usize) -> Vec<Self> {
        let as_of = self.as_of;
        if self.changes.is_empty() && shown > 0 {
            return vec![Self { shown, ..self }];
        }
        let mut parts: Vec<(usize, Self)> = Vec::new();
        for change in self.changes {
            let bytes = 64 + change.2.iter().map(|posting| posting.len() + 3).sum::<usize>();
            match parts.last_mut() {
                Some((sum, part)) if *sum + bytes <= PART_BYTES_MAX => {
                    *sum += bytes;
                    part.changes.push(change);
                }
                _ => parts.push((bytes, Self { changes: vec![change], as_of, shown })),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut plain = vec![LAYOUT];
        put_number(&mut plain, self.as_of.map_or(0, |commit| commit + 1));
        put_number(&mut plain, self.changes.len() as u64);
        for (resource, adds, postings) in &self.changes {
            plain.extend_from_slice(resource.patient.as_bytes());
            plain.extend_from_slice(&resource.token);
            plain.extend_from_slice(&[resource.class, u8::from(*adds)]);
            put_number(&mut plain, postings.len() as u64);
            for posting in postings {
                put_number(&mut plain, posting.len() as u64);
                plain.extend_from_slice(posting);
            }
        }
        let bytes = plain.len().max(self.shown * SHOWN_BYTES).max(DELTA_BYTES);
        let padded = if bytes <= PART_BYTES_MAX {
            bytes.next_power_of_two()
        } else {
            bytes.next_multiple_of(LARGE_STEP_BYTES)
        };
        plain.resize(padded, 0);
        plain
    }
}

fn parse(plain: &[u8], commit: u64) -> Option<Vec<Record>> {
    let mut from = plain;
    (take(&mut from, 1)?[0] == LAYOUT).then_some(())?;
    let commit = number(&mut from)?.checked_sub(1).unwrap_or(commit);
    let mut records = Vec::new();
    for _ in 0..number(&mut from)? {
        let patient = PatientId::from_bytes(take(&mut from, 16)?.try_into().ok()?);
        let token = take(&mut from, 16)?.try_into().ok()?;
        let class = take(&mut from, 1)?[0];
        let adds = take(&mut from, 1)?[0] == 1;
        let resource = IndexedResource { patient, token, class };
        for _ in 0..number(&mut from)? {
            let length = usize::try_from(number(&mut from)?).ok()?;
            let key = take(&mut from, length)?.to_vec();
            records.push(Record { key, resource, commit: Reverse(commit), adds });
        }
    }
    records.sort_unstable();
    Some(records)
}

/// The public half of an organization's index key: adds to the index, and cannot
/// read it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeltaSealer {
    organization: OrganizationId,
    sealer: InboxSealer,
}

impl DeltaSealer {
    pub(crate) fn new(organization: OrganizationId, public: (u32, [u8; 32])) -> Self {
        let sealer = InboxSealer::new(organization.clone(), public);
        Self { organization, sealer }
    }

    /// Goes over to the key of `newer`, here and in every clone.
    pub fn take_over(&self, newer: &Self) {
        self.sealer.take_over(&newer.sealer);
    }

    /// Seals `delta`, which will have the random name `name`.
    ///
    /// # Panics
    /// As [`InboxSealer::seal`](crate::InboxSealer::seal).
    pub fn seal(&self, name: [u8; 16], delta: &Delta) -> Vec<u8> {
        let place = row_place(self.organization.as_str(), Needed::Delta(name));
        self.sealer.seal(&place, &delta.encode())
    }
}

/// Opens a sealed delta that `commit` wrote.
pub(super) fn open_delta(
    private: &Keys,
    organization: &OrganizationId,
    name: [u8; 16],
    commit: u64,
    sealed: &[u8],
) -> Result<Vec<Record>, IndexError> {
    let place = row_place(organization.as_str(), Needed::Delta(name));
    let plain = open_here(organization, private, &place, sealed)?;
    parse(&plain, commit).ok_or(IndexError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(token: u8, postings: &[&str]) -> PostedResource {
        PostedResource {
            resource: IndexedResource {
                patient: PatientId::from_bytes([1; 16]),
                token: [token; 16],
                class: 2,
            },
            postings: postings.iter().map(|posting| posting.as_bytes().to_vec()).collect(),
        }
    }

    #[test]
    fn a_delta_holds_what_changes_and_its_size_says_little() {
        let private = Keys::first(crate::primitive::Secret::random());
        let organization = OrganizationId::new("lakeside").expect("a valid name");
        let sealer =
            DeltaSealer::new(organization.clone(), (1, crate::inbox::public_key(private.newest())));
        let mut delta = Delta::default();
        delta.replace(None, Some(posted(1, &["a", "b"])));
        delta.replace(Some(posted(2, &["a", "b"])), Some(posted(2, &["b", "c"])));
        let sealed = sealer.seal([9; 16], &delta);
        let records = open_delta(&private, &organization, [9; 16], 70, &sealed).expect("opens");
        let told: Vec<_> = records
            .iter()
            .map(|r| (r.key[0] as char, r.resource.token[0], r.adds, r.commit.0))
            .collect();
        assert_eq!(
            told,
            [('a', 1, true, 70), ('a', 2, false, 70), ('b', 1, true, 70), ('c', 2, true, 70)]
        );
        assert!(open_delta(&private, &organization, [8; 16], 70, &sealed).is_err());

        let mut more = Delta::as_of(5);
        more.replace(None, Some(posted(1, &["a much longer posting than those"; 1])));
        let sealed_more = sealer.seal([9; 16], &more);
        assert_eq!(sealed.len(), sealed_more.len());
        let records = open_delta(&private, &organization, [9; 16], 70, &sealed_more);
        assert_eq!(records.expect("opens")[0].commit.0, 5);
    }
}
