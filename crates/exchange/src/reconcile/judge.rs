//! Releases and details held against each other. Pure: entries in, gaps out.

use std::collections::HashMap;

use holdfast_base::{ClassSet, LedgerIndex, OrganizationId, PatientId, PrincipalId, Timestamp};
use holdfast_ledger::{Action, Entry, Event, Placed};

use super::{FoundGap, Gap};
use crate::keyring::KEY_LIFE_MS;

/// How far the clocks of the server and its keeper may be apart, and how long a request
/// may take after its key was found.
pub(super) const SLACK_MS: i64 = 60_000;
/// How far from an entry what belongs to it can be.
pub(super) const REACH_MS: i64 = KEY_LIFE_MS + SLACK_MS;
/// Who releases keys for the exchange itself: catching up, building an index.
const FRONT: &str = "system:exchange";
/// The reason of releases that put a record into the population index. Their use is not
/// an access: what is sealed then, the front process cannot open.
const INDEXING: &str = "population-index";

/// One side of a comparison.
#[derive(Clone, Copy)]
struct Side<'a> {
    at: Timestamp,
    principal: &'a PrincipalId,
    classes: ClassSet,
}

type Record<'a> = (&'a OrganizationId, PatientId);

/// The entries around those that are judged.
#[derive(Default)]
pub(super) struct Around<'a> {
    releases: HashMap<Record<'a>, Vec<Side<'a>>>,
    /// Whatever says what keys were used for, or that they were not.
    details: HashMap<Record<'a>, Vec<Side<'a>>>,
    /// When the server started.
    starts: Vec<Timestamp>,
}

/// Whether the entry tells what keys were used for.
pub(super) fn is_detail(event: &Event) -> bool {
    matches!(
        event,
        Event::Access { .. } | Event::Intake { patient: Some(_), .. } | Event::ReleaseUnused { .. }
    )
}

impl<'a> Around<'a> {
    pub fn of(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut around = Self::default();
        for entry in entries {
            let side = |classes| Side { at: entry.at, principal: &entry.actor.principal, classes };
            match &entry.event {
                Event::KeyRelease { organization, patient, classes, .. } => {
                    let of_record = around.releases.entry((organization, *patient)).or_default();
                    of_record.push(side(*classes));
                }
                Event::ServiceKeyRelease { reason, .. } if reason == "start" => {
                    around.starts.push(entry.at);
                }
                event if is_detail(event) => {
                    let Some(record) = event.patient() else { continue };
                    around.details.entry(record).or_default().push(side(ClassSet::EMPTY));
                }
                _ => {}
            }
        }
        around
    }

    /// What does not agree about one entry.
    pub fn judge(&self, placed: &Placed) -> Option<FoundGap> {
        let entry = &placed.entry;
        let gap = match &entry.event {
            Event::KeyRelease { organization, patient, reason, .. } => {
                self.release(entry, (organization, *patient), reason)?
            }
            Event::Access { organization, patient, action, touches, .. } => {
                let opened = touches.iter().fold(ClassSet::EMPTY, |all, t| all.union(t.classes));
                let needs_keys = *action != Action::Deliver && !opened.is_empty();
                if !needs_keys || self.covers(entry, (organization, *patient), opened) {
                    return None;
                }
                Gap::AccessWithoutRelease
            }
            _ => return None,
        };
        Some(FoundGap::at_entry(gap, placed.index, &entry.actor.principal))
    }

    fn release(&self, entry: &Entry, record: Record<'_>, reason: &str) -> Option<Gap> {
        let principal = &entry.actor.principal;
        let by_front = principal.as_str() == FRONT;
        if record.1 == PatientId::NONE || (by_front && reason == INDEXING) {
            return None;
        }
        let follows = |detail: &Side<'_>| {
            let after_ms = detail.at.millis_since(entry.at);
            let same = by_front || detail.principal == principal;
            same && (-SLACK_MS..=REACH_MS).contains(&after_ms)
        };
        if self.details.get(&record).is_some_and(|details| details.iter().any(follows)) {
            return None;
        }
        let ended = self.starts.iter().any(|start| {
            let after_ms = start.millis_since(entry.at);
            (0..=REACH_MS).contains(&after_ms)
        });
        Some(if ended { Gap::ReleaseInterrupted } else { Gap::ReleaseWithoutDetail })
    }

    /// Whether keys for all of `opened` had been released before `entry`.
    fn covers(&self, entry: &Entry, record: Record<'_>, opened: ClassSet) -> bool {
        let precedes = |release: &&Side<'_>| {
            let before_ms = entry.at.millis_since(release.at);
            let by_front = release.principal.as_str() == FRONT;
            let same = by_front || *release.principal == entry.actor.principal;
            same && (-SLACK_MS..=REACH_MS).contains(&before_ms)
        };
        let releases = self.releases.get(&record).into_iter().flatten().filter(precedes);
        let released = releases.fold(ClassSet::EMPTY, |all, r| all.union(r.classes));
        released.contains_all(opened)
    }
}

/// A span of instants, both ends included.
pub(super) type Span = (Timestamp, Timestamp);

/// The spans in which whatever belongs to entries at these instants lies: few, however
/// far apart the instants are.
pub(super) fn spans(mut instants: Vec<Timestamp>) -> Vec<Span> {
    instants.sort_unstable();
    let mut spans: Vec<Span> = Vec::new();
    for at in instants {
        let (from, to) = (at.plus_millis(-REACH_MS), at.plus_millis(REACH_MS));
        match spans.last_mut() {
            Some(last) if from <= last.1 => last.1 = to,
            _ => spans.push((from, to)),
        }
    }
    spans
}

/// The place of an entry, for messages.
pub(super) fn place(entry: Option<LedgerIndex>) -> String {
    entry.map(|entry| format!("entry {entry}")).unwrap_or_default()
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
