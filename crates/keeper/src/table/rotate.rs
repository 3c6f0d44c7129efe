//! Changes of keys in the table: new generations, wrapping again, and what there is.

use std::ops::Bound;
use std::sync::atomic::Ordering;

use holdfast_base::{OrganizationId, PatientId, Timestamp};
use serde::{Deserialize, Serialize};

use super::named::{self, Generation};
use super::{KeyTable, TableError, patient, patient_row, upgrade};
use crate::keyring::FIRST;
use crate::primitive::Secret;
use crate::root::Roots;

/// One generation of a named key, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// Name: `root`, `system`, `organization/lakeside/wrap`.
    pub name: String,
    /// Number of the generation, from 1.
    pub generation: u32,
    /// Whether it is the one that seals.
    pub newest: bool,
    /// When it was made; nothing when that was not noted yet.
    pub created: Option<Timestamp>,
}

/// How far one step of wrapping again came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewrapped {
    /// Rows that were wrapped again.
    pub rewrapped_count: u64,
    /// Where the next step begins; nothing when this was the last one.
    pub next: Option<PatientId>,
}

impl KeyTable {
    /// Gives the named key `name` a new generation. Durable on return.
    pub fn rotate(&self, name: &str, now: Timestamp) -> Result<u32, TableError> {
        let mut held = self.held.write();
        let (root, root_secret) = held.root.clone();
        let no_such = || TableError::NoSuchKey { name: name.to_owned() };
        let line = held.named.get_mut(name).ok_or_else(no_such)?;
        let number = line.last().map_or(FIRST, |one| one.number + 1);
        let one = Generation { number, created: now.millis(), secret: Secret::random(), root };
        let (key, value) = named::row(name, &one, &root_secret);
        let mut batch = self.batch();
        batch.insert(&self.spaces.named, key, value);
        self.commit(batch)?;
        line.push(one);
        held.refresh();
        Ok(number)
    }

    /// Destroys every generation of `name` but the newest. Durable on return; gives
    /// how many there were. Who calls knows that nothing needs them.
    pub fn retire(&self, name: &str) -> Result<usize, TableError> {
        let mut held = self.held.write();
        let no_such = || TableError::NoSuchKey { name: name.to_owned() };
        let line = held.named.get_mut(name).ok_or_else(no_such)?;
        let older = line.len().saturating_sub(1);
        if older == 0 {
            return Ok(0);
        }
        let mut batch = self.batch();
        for one in &line[..older] {
            batch.remove(&self.spaces.named, named::row_key(name, one.number));
        }
        self.commit(batch)?;
        line.drain(..older);
        held.refresh();
        Ok(older)
    }

    /// Wraps every named key under the newest of `roots`: one write.
    pub fn rewrap_named(&self, roots: &Roots, now: Timestamp) -> Result<usize, TableError> {
        let mut held = self.held.write();
        let root = roots.newest();
        let mut named = held.named.clone();
        let mut batch = self.batch();
        let mut count = 0;
        for (name, line) in &mut named {
            for one in line {
                one.root = root.number;
                let (key, value) = named::row(name, one, &root.secret);
                batch.insert(&self.spaces.named, key, value);
                count += 1;
            }
        }
        batch.insert(&self.spaces.meta, "root", upgrade::root_row(roots, now.millis()));
        self.commit(batch)?;
        held.named = named;
        held.root = (root.number, root.secret.clone());
        held.root_created = now.millis();
        Ok(count)
    }

    /// After a crash between a new root and wrapping under it.
    pub(super) fn finish_rewrapping_named(&self, now: Timestamp) -> Result<(), TableError> {
        let (root, behind) = {
            let held = self.held.read();
            let all = held.named.values().flatten();
            (held.root.clone(), all.clone().any(|one| one.root != held.root.0))
        };
        if behind {
            self.rewrap_named(&Roots::one(root.0, root.1), now)?;
        }
        Ok(())
    }

    /// Gives `patient` a new generation; nothing when there is no key. Durable on
    /// return.
    pub fn rotate_patient(
        &self,
        id: &OrganizationId,
        patient: PatientId,
        now: Timestamp,
    ) -> Result<Option<u32>, TableError> {
        let row = patient_row(id, patient);
        let Some(organization) = self.organization(id) else { return Ok(None) };
        let Some(value) = self.spaces.patients.get(&row)? else { return Ok(None) };
        if patient::is_forgotten(&value) {
            return Ok(None);
        }
        let mut parts = patient::parse(&value)?;
        if parts.len() >= patient::GENERATIONS_MAX {
            return Err(TableError::TooManyGenerations { count: parts.len() });
        }
        let number = parts.iter().map(|part| part.number).max().unwrap_or(0) + 1;
        let (at, secret) = ((number, now.millis()), Secret::random());
        parts.push(patient::Wrapped::new(id, patient, at, &organization.wrap, &secret));
        let mut batch = self.batch();
        batch.insert(&self.spaces.patients, row.as_slice(), patient::encode(&parts));
        self.commit(batch)?;
        self.cache.lock().remove(&row);
        self.forgets.fetch_add(1, Ordering::SeqCst);
        Ok(Some(number))
    }

    /// Organizations some of whose patients may still be wrapped under an older key.
    pub fn organizations_to_rewrap(&self) -> Vec<OrganizationId> {
        let held = self.held.read();
        let behind = held.named.iter().filter(|(_, line)| line.len() > 1);
        let ids = behind.filter_map(|(name, _)| named::organization_of(name));
        ids.filter(|(_, part)| *part == "wrap").map(|(id, _)| id).collect()
    }

    /// Wraps up to `limit` of the patients of `id`, from `from` on, under the newest
    /// wrapping key: one write. Safe to repeat.
    pub fn rewrap_patients(
        &self,
        id: &OrganizationId,
        from: PatientId,
        limit: usize,
    ) -> Result<Rewrapped, TableError> {
        let nothing = Rewrapped { rewrapped_count: 0, next: None };
        let Some(organization) = self.organization(id) else { return Ok(nothing) };
        let (start, mut end) = (patient_row(id, from), patient_row(id, PatientId::NONE));
        end.truncate(id.as_str().len());
        end.push(1);
        let rows = self
            .spaces
            .patients
            .range::<Vec<u8>, _>((Bound::Included(start), Bound::Excluded(end)));
        let (mut batch, mut rewrapped_count, mut next) = (self.batch(), 0, None);
        for (seen, row) in rows.enumerate() {
            let (key, value) = row.into_inner()?;
            let damaged = TableError::Damaged { row: "patient" };
            let patient = key.last_chunk::<16>().copied().ok_or(damaged)?;
            let patient = PatientId::from_bytes(patient);
            if seen == limit {
                next = Some(patient);
                break;
            }
            if patient::is_forgotten(&value) {
                continue;
            }
            if let Some(again) = patient::rewrapped(&value, id, patient, &organization.wrap)? {
                batch.insert(&self.spaces.patients, key, again);
                rewrapped_count += 1;
            }
        }
        if rewrapped_count > 0 {
            self.commit(batch)?;
        }
        Ok(Rewrapped { rewrapped_count, next })
    }

    /// Every generation of the root and of every named key.
    pub fn lines(&self) -> Vec<KeyLine> {
        let held = self.held.read();
        let known = |millis: i64| (millis != 0).then(|| Timestamp::from_millis(millis));
        let root = KeyLine {
            name: "root".to_owned(),
            generation: held.root.0,
            newest: true,
            created: known(held.root_created),
        };
        let named = held.named.iter().flat_map(|(name, line)| {
            let newest = line.last().map(|one| one.number);
            line.iter().map(move |one| KeyLine {
                name: name.clone(),
                generation: one.number,
                newest: Some(one.number) == newest,
                created: known(one.created),
            })
        });
        std::iter::once(root).chain(named).collect()
    }
}
