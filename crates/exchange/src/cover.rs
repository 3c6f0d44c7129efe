//! What stands between the shape of a record and who copies the disk: keys that do
//! not tell types, and stand-ins among what is written together, so that a commit
//! shows one of few numbers of versions.

use std::borrow::Cow;

use holdfast_base::{ElementClass, PatientId, Timestamp, fill_random};
use holdfast_keeper::{PatientKeys, SealContext};
use holdfast_store::{ResourceKey, RowWrite, SealedVersion, Table};

use crate::people::Organization;
use crate::sizes::{self, Labels};
use crate::state::Exchange;
use crate::{ExchangeError, admit};

/// Stands in keys of patients' resources in place of the type.
pub(crate) const UNTOLD_TYPE: u16 = 0;
/// The smallest number of versions that a commit shows of a patient.
const TOGETHER_MIN: usize = 8;
/// Up to here the numbers are powers of two; larger ones are eight to each doubling.
const TOGETHER_POWERS_MAX: usize = 64;
/// Search rows and bodies of stand-ins are not longer: documents stand out anyway,
/// and a commit has an end.
const LIKE_BYTES_MAX: usize = 8_192;
/// What recognises a stand-in, and is not guessed.
const MARK_BYTES: usize = 8;

/// How many versions are shown where there are `count`.
pub(crate) fn shown(count: usize) -> usize {
    if count <= TOGETHER_POWERS_MAX {
        return count.max(TOGETHER_MIN).next_power_of_two();
    }
    count.next_multiple_of(1 << (count.ilog2() - 3))
}

/// What a sealed part of this resource is bound to in place of its type: the type
/// itself where the key tells it, else the token of type and id.
pub(crate) fn bound_type(key: &ResourceKey) -> Result<Cow<'static, str>, ExchangeError> {
    if key.type_code == UNTOLD_TYPE {
        return Ok(data_encoding::HEXLOWER.encode(&key.id_token).into());
    }
    let name = holdfast_fhir::type_name(key.type_code);
    name.map(Cow::Borrowed).ok_or(ExchangeError::Internal("a stored type is unknown"))
}

/// A token that only the organization's key recognises as a stand-in's.
fn stand_in_token(organization: &Organization, patient: PatientId, name: [u8; 8]) -> [u8; 16] {
    let named = [patient.as_bytes(), &name[..]].concat();
    let mark = organization.keys.token.token("stand-in", &named);
    let mut token = [0; 16];
    token[..8].copy_from_slice(&name);
    token[8..].copy_from_slice(&mark[..MARK_BYTES]);
    token
}

/// Whether what has this key is a stand-in.
pub(crate) fn is_stand_in(organization: &Organization, key: &ResourceKey) -> bool {
    let mut name = [0; 8];
    name.copy_from_slice(&key.id_token[..8]);
    key.type_code == UNTOLD_TYPE && stand_in_token(organization, key.patient, name) == key.id_token
}

impl Exchange {
    /// Where a resource lies: where its key tells no type, unless it was stored
    /// before that was so. What is about no patient is kept by type.
    pub(crate) fn placed(&self, told: ResourceKey) -> Result<ResourceKey, ExchangeError> {
        if told.patient == PatientId::NONE {
            return Ok(told);
        }
        let untold = ResourceKey { type_code: UNTOLD_TYPE, ..told };
        let snapshot = self.store().snapshot();
        let there = |key| snapshot.current_index(key).map_err(ExchangeError::store);
        let former = there(&untold)?.is_none() && there(&told)?.is_some();
        Ok(if former { told } else { untold })
    }
}

/// Adds stand-ins to what is put for one patient, and orders all of it by tokens,
/// which say nothing.
pub(crate) fn cover(
    organization: &Organization,
    keys: &PatientKeys,
    now: Timestamp,
    draft: &mut admit::Draft,
) -> Result<(), ExchangeError> {
    let patient = keys.patient;
    let own = |key: &ResourceKey| key.patient == patient && key.type_code == UNTOLD_TYPE;
    // Search row and first part of each: a stand-in is as long as one of them.
    let sizes: Vec<(usize, usize)> = draft
        .puts
        .iter()
        .filter(|(key, _)| own(key))
        .map(|(_, sealed)| {
            let part_bytes = sealed.parts.first().map_or(0, |(_, part)| part.len());
            (sealed.index.len().min(LIKE_BYTES_MAX), part_bytes.min(LIKE_BYTES_MAX))
        })
        .collect();
    if sizes.is_empty() || patient == PatientId::NONE {
        return Ok(());
    }
    let class = ElementClass::Clinical;
    for _ in sizes.len()..shown(sizes.len()) {
        let (mut name, mut chance) = ([0; 8], [0; 4]);
        fill_random(&mut name);
        fill_random(&mut chance);
        let key = ResourceKey {
            organization: organization.ordinal,
            patient,
            type_code: UNTOLD_TYPE,
            id_token: stand_in_token(organization, patient, name),
        };
        let like = u32::from_be_bytes(chance) as usize % sizes.len();
        let (index_bytes, part_bytes) = sizes[like];
        let label = Labels::of(organization, &key, 1).label(class);
        let sealed = |bytes: usize, part| -> Result<Vec<u8>, ExchangeError> {
            let resource_type = bound_type(&key)?;
            let context = SealContext {
                organization: organization.id(),
                patient,
                resource_type: &resource_type,
                id: &resource_type,
                version: 1,
                class,
                part,
            };
            let key = keys.class(class)?;
            let around = key.seal(&context, &[]).len();
            Ok(key.seal(&context, &vec![0; bytes.saturating_sub(around)]))
        };
        let index =
            [&[sizes::masked(label)][..], &sealed(index_bytes - 1, "stand-in-index")?].concat();
        let parts = vec![(label, sealed(part_bytes, "stand-in-body")?)];
        draft.puts.push((
            key,
            SealedVersion {
                version: 1,
                deleted: false,
                last_updated: now,
                parts,
                index,
                id_sealed: Vec::new(),
            },
        ));
        let mut token = [0; 16];
        fill_random(&mut token);
        draft.rows.push(RowWrite {
            table: Table::Locate,
            key: admit::stand_in_locate(organization, &token),
            value: Some(patient.as_bytes().to_vec()),
        });
    }
    draft.puts.sort_by_key(|(key, _)| key.id_token);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p02_a_commit_shows_one_of_few_numbers_of_versions() {
        let few: std::collections::BTreeSet<usize> = (1..=64).map(shown).collect();
        assert_eq!(few.into_iter().collect::<Vec<_>>(), [8, 16, 32, 64]);
        for count in 65..20_000 {
            assert!(shown(count) >= count && shown(count) * 8 <= count * 9 + 8, "{count}");
        }
    }
}
