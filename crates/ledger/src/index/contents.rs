//! What a segment says, in memory: as it grows, as it is read whole to be merged,
//! as it is about to be written.

use std::collections::HashMap;

use holdfast_base::{ClassSet, PatientId};

use super::{Dimension, Facts, IndexFault, NONE, ProfileFact, Row, TouchFact, action_code};
use crate::bodies::SEGMENT_ENTRIES;
use crate::leaf::leaf_data;
use crate::tree::{Hash, TILE_WIDTH, fold, hash_parts, leaf_hash};
use crate::{Entry, Event};

/// Keys of one dimension, numbered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) keys: Vec<Box<[u8]>>,
    ordinals: HashMap<Box<[u8]>, u32>,
}

impl Names {
    pub(crate) fn ordinal(&mut self, key: &[u8]) -> u32 {
        if let Some(ordinal) = self.ordinals.get(key) {
            return *ordinal;
        }
        let ordinal = self.keys.len() as u32;
        self.keys.push(key.into());
        self.ordinals.insert(key.into(), ordinal);
        ordinal
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        self.ordinals.get(key).copied()
    }
}

/// The facts of consecutive entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    pub(crate) first: u64,
    pub(crate) rows: Vec<Row>,
    /// Ordinals of principal, session and address of each row.
    pub(crate) actors: Vec<[u32; 3]>,
    pub(crate) names: [Names; 8],
    pub(crate) touches: Vec<TouchFact>,
    /// The latest of each patient record.
    pub(crate) profiles: HashMap<(PatientId, u32), ProfileFact>,
    /// Roots over each full tile of leaves.
    pub(crate) subtrees: Vec<Hash>,
    /// Body segments that end among these entries, with their lengths.
    pub(crate) bodies: Vec<(u64, u64)>,
    /// Where the record after the last one would begin in the last one's segment.
    pub(crate) end: u64,
    pub(crate) span: Option<(i64, i64)>,
}

impl Contents {
    pub(crate) fn starting_at(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    fn name(&mut self, dimension: Dimension, key: &[u8]) -> u32 {
        self.names[dimension as usize].ordinal(key)
    }

    fn spans(&mut self, from: i64, to: i64) {
        let (first, last) = self.span.unwrap_or((from, to));
        self.span = Some((first.min(from), last.max(to)));
    }

    /// Adds the next entry, whose record stands at `offset` and ends at `end`.
    pub(crate) fn push(&mut self, entry: &Entry, offset: u64, end: u64) {
        let index = self.first + self.rows.len() as u64;
        let at = entry.at.millis();
        self.spans(at, at);
        let actor = &entry.actor;
        let principal = self.name(Dimension::Principal, actor.principal.as_str().as_bytes());
        let session = actor.session.map(|session| *session.as_bytes());
        let session = session.map_or(NONE, |key| self.name(Dimension::Session, &key));
        let address = actor.address.as_ref();
        let address = address.map_or(NONE, |key| self.name(Dimension::Address, key.as_bytes()));
        self.actors.push([principal, session, address]);
        let kind = self.name(Dimension::Kind, entry.event.kind().as_bytes()) as u16;
        let (mut organization, mut patient) = (NONE, NONE);
        if let Some((keeper, whose)) = entry.event.patient() {
            organization = self.name(Dimension::Organization, keeper.as_str().as_bytes());
            patient = self.name(Dimension::Patient, whose.as_bytes());
        }
        let mut classes = ClassSet::EMPTY;
        let first_touch = self.touches.len() as u32;
        match &entry.event {
            Event::KeyRelease { classes: released, .. } => classes = *released,
            Event::Access { touches, .. } => {
                for touch in touches {
                    classes = classes.union(touch.classes);
                    let kind = self.name(Dimension::ResourceType, touch.resource_type.as_bytes());
                    let (resource_type, id) = (kind, id_hash(&touch.id));
                    let classes = touch.classes.bits();
                    self.touches.push(TouchFact { resource_type, id, classes });
                }
            }
            Event::PatientProfile { patient: whose, person, residence, .. } => {
                let residence = residence.as_ref();
                let residence =
                    residence.map_or(NONE, |key| self.name(Dimension::Residence, key.as_bytes()));
                let person = *person.as_bytes();
                let profile = ProfileFact { patient: *whose, organization, residence, person };
                self.profiles.insert((*whose, organization), profile);
            }
            _ => {}
        }
        self.rows.push(Row {
            at,
            offset,
            kind,
            action: action_code(entry),
            classes,
            organization,
            patient,
            touches: first_touch,
            touches_count: (self.touches.len() as u32 - first_touch) as u16,
        });
        if (index + 1).is_multiple_of(SEGMENT_ENTRIES) {
            self.bodies.push((index / SEGMENT_ENTRIES, end));
        }
        self.end = end;
    }

    /// Adds the facts of the entries that follow.
    pub(crate) fn absorb(&mut self, next: &Contents) {
        let numbers: Vec<Vec<u32>> = Dimension::ALL
            .iter()
            .map(|dimension| {
                let keys = next.names[*dimension as usize].keys.iter();
                keys.map(|key| self.name(*dimension, key)).collect()
            })
            .collect();
        let number = |dimension: Dimension, old: u32| {
            numbers[dimension as usize].get(old as usize).copied().unwrap_or(NONE)
        };
        let touches = self.touches.len() as u32;
        self.rows.extend(next.rows.iter().map(|row| Row {
            kind: number(Dimension::Kind, row.kind.into()) as u16,
            organization: number(Dimension::Organization, row.organization),
            patient: number(Dimension::Patient, row.patient),
            touches: touches + row.touches,
            ..*row
        }));
        self.actors.extend(next.actors.iter().map(|[principal, session, address]| {
            [
                number(Dimension::Principal, *principal),
                number(Dimension::Session, *session),
                number(Dimension::Address, *address),
            ]
        }));
        self.touches.extend(next.touches.iter().map(|touch| TouchFact {
            resource_type: number(Dimension::ResourceType, touch.resource_type),
            ..*touch
        }));
        for profile in next.profiles.values() {
            let organization = number(Dimension::Organization, profile.organization);
            let residence = number(Dimension::Residence, profile.residence);
            let profile = ProfileFact { organization, residence, ..*profile };
            self.profiles.insert((profile.patient, organization), profile);
        }
        self.subtrees.extend(&next.subtrees);
        self.bodies.extend(&next.bodies);
        self.end = next.end;
        if let Some((from, to)) = next.span {
            self.spans(from, to);
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    fn ordinal(&self, place: usize, dimension: Dimension) -> u32 {
        match dimension {
            Dimension::Principal => self.actors[place][0],
            Dimension::Session => self.actors[place][1],
            Dimension::Address => self.actors[place][2],
            Dimension::Organization => self.rows[place].organization,
            Dimension::Patient => self.rows[place].patient,
            Dimension::Kind => self.rows[place].kind.into(),
            Dimension::ResourceType | Dimension::Residence => NONE,
        }
    }

    /// The ordinal of every row, in order.
    pub(crate) fn column(&self, dimension: Dimension) -> impl Iterator<Item = u32> + '_ {
        (0..self.rows.len()).map(move |place| self.ordinal(place, dimension))
    }
}

/// The first 8 bytes of SHA-256 over a logical id.
pub(crate) fn id_hash(id: &str) -> u64 {
    let hash = hash_parts(&[id.as_bytes()]);
    hash[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Facts for Contents {
    fn first(&self) -> u64 {
        self.first
    }

    fn count(&self) -> u32 {
        self.rows.len() as u32
    }

    fn span(&self) -> (i64, i64) {
        self.span.unwrap_or((i64::MAX, i64::MIN))
    }

    fn find(&self, dimension: Dimension, key: &[u8]) -> Result<Option<u32>, IndexFault> {
        Ok(self.names[dimension as usize].find(key))
    }

    fn key(&self, dimension: Dimension, ordinal: u32) -> Result<Vec<u8>, IndexFault> {
        let key = self.names[dimension as usize].keys.get(ordinal as usize);
        key.map(|key| key.to_vec()).ok_or(IndexFault::Damaged(self.first))
    }

    fn postings(&self, dimension: Dimension, ordinal: u32) -> Result<Vec<u32>, IndexFault> {
        let places = self.column(dimension).zip(0..);
        Ok(places.filter(|(other, _)| *other == ordinal).map(|(_, place)| place).collect())
    }

    fn rows(
        &self,
        only: Option<&[u32]>,
        from: u32,
        visit: &mut dyn FnMut(u32, &Row) -> bool,
    ) -> Result<(), IndexFault> {
        match only {
            Some(only) => {
                only.iter().all(|place| visit(*place, &self.rows[*place as usize]));
            }
            None => {
                let rest = self.rows.get(from as usize..).unwrap_or_default();
                rest.iter().zip(from..).all(|(row, place)| visit(place, row));
            }
        }
        Ok(())
    }

    fn touches(&self, row: &Row, visit: &mut dyn FnMut(TouchFact)) -> Result<(), IndexFault> {
        let from = row.touches as usize;
        let touches = self.touches.get(from..from + usize::from(row.touches_count));
        touches.unwrap_or_default().iter().for_each(|touch| visit(*touch));
        Ok(())
    }

    fn profiles_count(&self) -> u32 {
        self.profiles.len() as u32
    }

    fn profiles(&self, from: u32, to: u32) -> Result<Vec<ProfileFact>, IndexFault> {
        let mut all: Vec<ProfileFact> = self.profiles.values().copied().collect();
        all.sort_unstable_by_key(|profile| (profile.patient, profile.organization));
        Ok(all.get(from as usize..to as usize).unwrap_or_default().to_vec())
    }
}

/// Facts that are not on disk yet, with the commitments of their leaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) contents: Contents,
    pub(crate) commitments: Vec<Hash>,
}

impl Draft {
    pub(crate) fn starting_at(first: u64) -> Self {
        Self { contents: Contents::starting_at(first), commitments: Vec::new() }
    }

    /// Adds the next entry.
    pub(crate) fn push(&mut self, entry: &Entry, offset: u64, end: u64, commitment: Hash) {
        self.contents.push(entry, offset, end);
        self.commitments.push(commitment);
        if self.commitments.len().is_multiple_of(TILE_WIDTH) {
            let tile = &self.commitments[self.commitments.len() - TILE_WIDTH..];
            self.contents.subtrees.push(tile_root(tile));
        }
    }
}

/// The root over the leaves of a full tile, by their commitments.
pub(crate) fn tile_root(commitments: &[Hash]) -> Hash {
    let leaves: Vec<Hash> =
        commitments.iter().map(|commitment| leaf_hash(&leaf_data(commitment))).collect();
    fold(&leaves)
}
