//! Whom a principal touched: computed from the ledger and from nothing else.
//!
//! Invariants: `released` ⊇ `returned` in every row; a row exists for each
//! patient record of which a key was released or data moved, and for no other;
//! the compartment of no patient ([`PatientId::NONE`]) is never counted; nothing
//! in a scope could identify a person to whoever lacks the index.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_base::{
    ClassSet, LedgerIndex, OrganizationId, PatientId, PersonId, PrincipalId, SessionId, Timestamp,
};
use holdfast_ledger::{Action, Event, Filter, Placed, TouchedRecord, told_by_name};
use serde::{Deserialize, Serialize};

/// Name of the residence of those whose state is not known.
pub const RESIDENCE_UNKNOWN: &str = "unknown";

/// Whose acts, and when: the question that a scope answers. Every part that is
/// present must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeQuery {
    /// Acts of this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// Acts in this session (of this access token).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Acts from this network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Records that this organization keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationId>,
    /// Not before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl ScopeQuery {
    /// The entries that [`scope`] needs: key releases, accesses, deliveries, searches over
    /// many patients. Those are about no single record: an organization that the query
    /// names has to be looked for inside.
    pub fn filter(&self) -> Filter {
        Filter {
            principal: self.principal.clone(),
            session: self.session,
            address: self.address.clone(),
            organization: self.organization.clone(),
            from: self.from,
            to: self.to,
            kinds: ["key-release", "access", "delivery", "population-query"]
                .map(str::to_owned)
                .to_vec(),
            ..Filter::default()
        }
    }

    /// The profiles of the patients whom `entries` touch, whoever wrote them
    /// and whenever: the second argument of [`scope`]. `None` when nobody was
    /// touched (a filter without patients would ask for everybody).
    pub fn profiles_filter(entries: &[Placed]) -> Option<Filter> {
        let patients: std::collections::HashSet<PatientId> = entries
            .iter()
            .flat_map(|placed| touched(placed).into_iter().map(|(_, patient)| patient))
            .collect();
        (!patients.is_empty()).then(|| Filter {
            patients,
            kinds: vec!["patient-profile".to_owned()],
            ..Filter::default()
        })
    }
}

/// One patient record that was touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRow {
    /// The organization that keeps the record.
    pub organization: OrganizationId,
    /// The patient.
    pub patient: PatientId,
    /// The person whom the record was last linked to.
    pub person: Option<PersonId>,
    /// State (USPS code) or country of residence, as last recorded.
    pub residence: Option<String>,
    /// Classes whose keys left the keeper: what could have been seen.
    pub released: ClassSet,
    /// Classes of what was returned or sent: what the detail says was seen.
    pub returned: ClassSet,
    /// Distinct resources that were returned or sent, by type.
    pub resources: BTreeMap<String, u64>,
    /// Distinct resources that were written.
    pub written: u64,
    /// Results, reports and notices that went out.
    pub deliveries: u64,
    /// The first entry's time.
    pub first: Timestamp,
    /// The last entry's time.
    pub last: Timestamp,
    /// The entries behind this row, ascending.
    pub entries: Vec<LedgerIndex>,
}

/// Persons and patient records. A person with records at two organizations is
/// one person and two patients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Distinct persons; a record that is linked to nobody counts as a person.
    pub persons: u64,
    /// Distinct patient records.
    pub patients: u64,
}

/// What the rows add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Distinct persons; a record that is linked to nobody counts as a person.
    pub persons: u64,
    /// Distinct patient records: the number of rows.
    pub patients: u64,
    /// By keeping organization.
    pub organizations: BTreeMap<OrganizationId, Count>,
    /// By residence; [`RESIDENCE_UNKNOWN`] among them. A person whose records
    /// name two states counts in both, so the sum may exceed `persons`.
    pub states: BTreeMap<String, Count>,
    /// Ledger entries behind the scope.
    pub entries: u64,
}

/// Whom somebody touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// One row a patient record, in order of organization and patient.
    pub rows: Vec<ScopeRow>,
    /// What the rows add up to.
    pub totals: Totals,
}

impl Scope {
    /// What of it concerns the records that `organization` keeps.
    #[must_use]
    pub fn of_organization(&self, organization: &OrganizationId) -> Self {
        let own = self.rows.iter().filter(|row| row.organization == *organization);
        let rows: Vec<ScopeRow> = own.cloned().collect();
        let totals = Totals::of(&rows);
        Self { rows, totals }
    }
}

/// Computes a scope from `entries` (those of [`ScopeQuery::filter`]; others are
/// passed over) and the `profiles` of the patients that they touch.
///
/// A class that was returned counts as released even when its release lies
/// outside of the asked time, so `released` is always the upper bound.
pub fn scope(entries: &[Placed], profiles: &[Placed]) -> Scope {
    let mut records: BTreeMap<(OrganizationId, PatientId), Record> = BTreeMap::new();
    for placed in entries {
        if let Event::PopulationQuery { organization, resource_type, .. } = &placed.entry.event {
            for patient in touched(placed).into_iter().map(|(_, patient)| patient) {
                let record = records.entry((organization.clone(), patient)).or_default();
                record.observe(placed.index, placed.entry.at);
                record.released = record.released.union(told_by_name(resource_type));
            }
            continue;
        }
        let Some((organization, patient)) = touched(placed).pop() else { continue };
        let at = placed.entry.at;
        let record = records.entry((organization.clone(), patient)).or_default();
        record.observe(placed.index, at);
        match &placed.entry.event {
            Event::KeyRelease { classes, .. } => record.released = record.released.union(*classes),
            Event::Access { action, touches, .. } => {
                for touch in touches {
                    let key = (touch.resource_type.clone(), touch.id.clone());
                    match action {
                        Action::Write | Action::Delete => {
                            record.written.insert(key);
                        }
                        Action::Read | Action::Search | Action::Deliver | Action::Notify => {
                            record.returned = record.returned.union(touch.classes);
                            record.resources.insert(key);
                        }
                    }
                }
            }
            Event::Delivery { .. } => {
                record.deliveries.insert(placed.index);
            }
            _ => {}
        }
    }
    let profiles = latest_profiles(profiles);
    let rows: Vec<ScopeRow> = records
        .into_iter()
        .map(|((organization, patient), record)| {
            let profile = profiles.get(&(&organization, patient));
            let person = profile.map(|(person, _)| *person);
            let residence = profile.and_then(|(_, residence)| residence.map(str::to_owned));
            record.into_row(organization, patient, person, residence)
        })
        .collect();
    let totals = Totals::of(&rows);
    Scope { rows, totals }
}

/// The scope that the ledger's index gives: one row a touched record. The same as
/// [`scope`] of the entries that it was computed from, with their profiles.
pub fn scope_of(touched: Vec<TouchedRecord>) -> Scope {
    let rows = touched.into_iter().map(|record| ScopeRow {
        organization: record.organization,
        patient: record.patient,
        person: record.person,
        residence: record.residence,
        released: record.released.union(record.returned),
        returned: record.returned,
        resources: record.resources,
        written: record.written,
        deliveries: record.deliveries,
        first: record.first,
        last: record.last,
        entries: record.entries,
    });
    let rows: Vec<ScopeRow> = rows.collect();
    let totals = Totals::of(&rows);
    Scope { rows, totals }
}

/// The records that an entry of the scope's kinds is about: those that a search named,
/// or one.
fn touched(placed: &Placed) -> Vec<(&OrganizationId, PatientId)> {
    let mut records = match &placed.entry.event {
        Event::PopulationQuery { organization, named, .. } => {
            named.iter().map(|patient| (organization, *patient)).collect()
        }
        event @ (Event::KeyRelease { .. } | Event::Access { .. } | Event::Delivery { .. }) => {
            event.patient().into_iter().collect()
        }
        _ => Vec::new(),
    };
    records.retain(|(_, patient)| !patient.is_nobody());
    records
}

type Profiles<'a> = BTreeMap<(&'a OrganizationId, PatientId), (PersonId, Option<&'a str>)>;

/// The latest profile of each record; a later one without residence leaves the
/// residence unknown, as it says.
fn latest_profiles(profiles: &[Placed]) -> Profiles<'_> {
    let mut ordered: Vec<&Placed> = profiles.iter().collect();
    ordered.sort_by_key(|placed| placed.index);
    ordered
        .into_iter()
        .filter_map(|placed| match &placed.entry.event {
            Event::PatientProfile { organization, patient, person, residence } => {
                Some(((organization, *patient), (*person, residence.as_deref())))
            }
            _ => None,
        })
        .collect()
}

#[derive(Default)]
struct Record {
    released: ClassSet,
    returned: ClassSet,
    resources: BTreeSet<(String, String)>,
    written: BTreeSet<(String, String)>,
    deliveries: BTreeSet<LedgerIndex>,
    span: Option<(Timestamp, Timestamp)>,
    entries: BTreeSet<LedgerIndex>,
}

impl Record {
    fn observe(&mut self, index: LedgerIndex, at: Timestamp) {
        self.entries.insert(index);
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
    }

    fn into_row(
        self,
        organization: OrganizationId,
        patient: PatientId,
        person: Option<PersonId>,
        residence: Option<String>,
    ) -> ScopeRow {
        let mut resources = BTreeMap::new();
        for (resource_type, _) in self.resources {
            *resources.entry(resource_type).or_insert(0) += 1;
        }
        let (first, last) = self.span.unwrap_or_default();
        ScopeRow {
            organization,
            patient,
            person,
            residence,
            released: self.released.union(self.returned),
            returned: self.returned,
            resources,
            written: self.written.len() as u64,
            deliveries: self.deliveries.len() as u64,
            first,
            last,
            entries: self.entries.into_iter().collect(),
        }
    }
}

/// Who a row stands for when persons are counted.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
enum Who {
    Person(PersonId),
    Unlinked(OrganizationId, PatientId),
}

impl ScopeRow {
    fn who(&self) -> Who {
        match self.person {
            Some(person) => Who::Person(person),
            None => Who::Unlinked(self.organization.clone(), self.patient),
        }
    }
}

/// How many persons and patients stand behind `rows`.
pub(crate) fn count<'a>(rows: impl IntoIterator<Item = &'a ScopeRow>) -> Count {
    let mut persons = BTreeSet::new();
    let mut patients = 0;
    for row in rows {
        persons.insert(row.who());
        patients += 1;
    }
    Count { persons: persons.len() as u64, patients }
}

impl Totals {
    fn of(rows: &[ScopeRow]) -> Totals {
        let mut organizations: BTreeMap<_, Vec<&ScopeRow>> = BTreeMap::new();
        let mut states: BTreeMap<_, Vec<&ScopeRow>> = BTreeMap::new();
        for row in rows {
            organizations.entry(row.organization.clone()).or_default().push(row);
            let residence = row.residence.as_deref().unwrap_or(RESIDENCE_UNKNOWN);
            states.entry(residence.to_owned()).or_default().push(row);
        }
        let all = count(rows);
        Totals {
            persons: all.persons,
            patients: all.patients,
            organizations: organizations.into_iter().map(|(o, rows)| (o, count(rows))).collect(),
            states: states.into_iter().map(|(s, rows)| (s, count(rows))).collect(),
            entries: rows.iter().map(|row| row.entries.len() as u64).sum(),
        }
    }
}
