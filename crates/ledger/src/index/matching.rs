//! Which entries of a segment match a filter, by the index alone.

use std::collections::HashSet;

use super::{Dimension, Facts, IndexFault, Row};
use crate::Filter;

/// Shows the entries from `from` on (counted from the first of `facts`) that
/// match `filter` to `visit`, ascending, until it answers false.
pub(crate) fn matching(
    facts: &dyn Facts,
    filter: &Filter,
    from: u32,
    visit: &mut dyn FnMut(u32, &Row) -> bool,
) -> Result<(), IndexFault> {
    let (earliest, latest) = facts.span();
    let too_early = filter.from.is_some_and(|from| latest < from.millis());
    let too_late = filter.to.is_some_and(|to| earliest >= to.millis());
    if too_early || too_late {
        return Ok(());
    }
    let mut lists: Vec<Vec<u32>> = Vec::new();
    let session = filter.session.map(|session| *session.as_bytes());
    let keys = [
        (Dimension::Principal, filter.principal.as_ref().map(|key| key.as_str().as_bytes())),
        (Dimension::Session, session.as_ref().map(|key| &key[..])),
        (Dimension::Address, filter.address.as_ref().map(|key| key.as_bytes())),
    ];
    for (dimension, key) in keys {
        let Some(key) = key else { continue };
        let Some(ordinal) = facts.find(dimension, key)? else { return Ok(()) };
        lists.push(facts.postings(dimension, ordinal)?);
    }
    if !filter.patients.is_empty() {
        let mut list = Vec::new();
        for patient in &filter.patients {
            if let Some(ordinal) = facts.find(Dimension::Patient, patient.as_bytes())? {
                list.extend(facts.postings(Dimension::Patient, ordinal)?);
            }
        }
        list.sort_unstable();
        lists.push(list);
    }
    let mut organization = None;
    if let Some(key) = &filter.organization {
        let found = facts.find(Dimension::Organization, key.as_str().as_bytes())?;
        let Some(ordinal) = found else { return Ok(()) };
        organization = Some(ordinal);
        if lists.is_empty() {
            lists.push(facts.postings(Dimension::Organization, ordinal)?);
        }
    }
    let mut kinds = HashSet::new();
    for kind in &filter.kinds {
        kinds.extend(facts.find(Dimension::Kind, kind.as_bytes())?);
    }
    if !filter.kinds.is_empty() {
        if kinds.is_empty() {
            return Ok(());
        }
        if lists.is_empty() {
            lists.extend(list_of_kinds(facts, &kinds)?);
        }
    }
    // 0 and 1 are most of all kinds' ordinals: a mask is quicker than a set.
    let mask = kinds.iter().filter(|kind| **kind < 64).fold(0_u64, |mask, kind| mask | 1 << kind);
    let of_kind = |kind: u16| match kind {
        _ if filter.kinds.is_empty() => true,
        0..64 => mask & 1 << kind != 0,
        _ => kinds.contains(&u32::from(kind)),
    };
    let mut fits = |place: u32, row: &Row| {
        let matches = organization.is_none_or(|ordinal| ordinal == row.organization)
            && of_kind(row.kind)
            && filter.from.is_none_or(|from| row.at >= from.millis())
            && filter.to.is_none_or(|to| row.at < to.millis());
        !matches || visit(place, row)
    };
    if lists.is_empty() {
        return facts.rows(None, from, &mut fits);
    }
    let mut places = intersection(lists);
    places.drain(..places.partition_point(|place| *place < from));
    facts.rows(Some(&places), from, &mut fits)
}

/// The entries of some kinds, when they are few enough that a list pays.
fn list_of_kinds(facts: &dyn Facts, kinds: &HashSet<u32>) -> Result<Option<Vec<u32>>, IndexFault> {
    let mut list = Vec::new();
    for kind in kinds {
        list.extend(facts.postings(Dimension::Kind, *kind)?);
        if list.len() > facts.count() as usize / 4 {
            return Ok(None);
        }
    }
    list.sort_unstable();
    Ok(Some(list))
}

/// What is in every list; each ascending.
fn intersection(mut lists: Vec<Vec<u32>>) -> Vec<u32> {
    lists.sort_by_key(|list| std::cmp::Reverse(list.len()));
    let mut common = lists.pop().unwrap_or_default();
    for list in lists.iter().rev() {
        let mut rest = list.as_slice();
        common.retain(|place| {
            rest = &rest[rest.partition_point(|other| other < place)..];
            rest.first() == Some(place)
        });
    }
    common
}
