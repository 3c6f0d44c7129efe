//! Who must be told, by when, and by which rule.
//!
//! Counts are persons whose *released* classes fulfil the rule's trigger: the
//! upper bound, so that no duty is missed because a detail is uncertain.

use std::collections::BTreeMap;

use holdfast_base::{ElementClass, OrganizationId, Timestamp};
use jiff::civil::Date;
use serde::Serialize;

use crate::{
    calendar::{add_days, after_year_end, day_of},
    law::{Certainty, Counts, From, Jurisdiction, Law, NEEDS_REVIEW, Rule, Who},
    organization::{License, Organization},
    scope::{Scope, ScopeRow, count},
};

/// One duty to tell somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duty {
    /// `US-HIPAA`, `CA-CDPH` or a state's USPS code.
    pub jurisdiction: String,
    /// Whose records: each organization has duties of its own.
    pub organization: OrganizationId,
    /// Who has to be told.
    pub who: Who,
    /// By name.
    pub recipient: String,
    /// The last day, where the rule has a number; `None` means without
    /// unreasonable delay. Serialised as `2026-07-25`.
    #[serde(serialize_with = "day")]
    pub due: Option<Date>,
    /// Citation.
    pub why: String,
    /// Persons who count for the rule.
    pub count: u64,
    /// How certain the deadline is.
    pub certainty: Certainty,
    /// What to know about it, open points included.
    pub note: String,
    /// Points that counsel has to close; empty when none.
    pub review: Vec<String>,
}

fn day<S: serde::Serializer>(due: &Option<Date>, serializer: S) -> Result<S::Ok, S::Error> {
    due.map(|due| due.to_string()).serialize(serializer)
}

impl Duty {
    /// Whether counsel has to confirm something before this is acted on.
    pub fn needs_review(&self) -> bool {
        self.certainty.needs_review() || !self.review.is_empty()
    }

    /// `DRAFT`, or `DRAFT - counsel's review needed`. A duty is never shown as
    /// fulfilled here: drafting sends nothing.
    pub fn state(&self) -> &'static str {
        if self.needs_review() { "DRAFT - counsel's review needed" } else { "DRAFT" }
    }

    /// The last day as text.
    pub fn due_text(&self) -> String {
        self.due.map_or_else(|| "without unreasonable delay".to_owned(), |due| due.to_string())
    }
}

/// The duties that follow from `scope`, when nothing is known of the
/// organizations: [`duties_for`] without them.
pub fn duties(scope: &Scope, discovered: Timestamp, law: &Law) -> Vec<Duty> {
    duties_for(scope, discovered, law, &[])
}

/// The duties that follow from `scope`, in order of last day (those without a
/// number first: they are due now), then jurisdiction and organization.
///
/// A licensee's duty (California Health & Safety Code 1280.15) arises for
/// organizations that hold the license. For an organization that is not among
/// `organizations` it is shown, with a note, if it has patients in California.
pub fn duties_for(
    scope: &Scope,
    discovered: Timestamp,
    law: &Law,
    organizations: &[Organization],
) -> Vec<Duty> {
    let discovered = day_of(discovered);
    let mut duties = Vec::new();
    let mut by_organization: BTreeMap<&OrganizationId, Vec<&ScopeRow>> = BTreeMap::new();
    for row in &scope.rows {
        by_organization.entry(&row.organization).or_default().push(row);
    }
    for (id, rows) in by_organization {
        let known = organizations.iter().find(|organization| organization.id == *id);
        let mut place = Place { law, discovered, organization: id, duties: &mut duties };
        if let Some(federal) = law.jurisdiction("US-HIPAA") {
            place.federal(federal, &rows);
        }
        place.facility(known, &rows);
        for (state, residents) in by_state(&rows) {
            match law.jurisdiction(state) {
                Some(jurisdiction) => place.apply(jurisdiction, &residents, &[]),
                None => place.unknown_state(state, &residents),
            }
        }
    }
    duties.sort_by(|a, b| {
        (a.due, &a.jurisdiction, &a.organization, a.who).cmp(&(
            b.due,
            &b.jurisdiction,
            &b.organization,
            b.who,
        ))
    });
    duties
}

fn by_state<'a>(rows: &[&'a ScopeRow]) -> BTreeMap<&'a str, Vec<&'a ScopeRow>> {
    let mut states: BTreeMap<&str, Vec<&ScopeRow>> = BTreeMap::new();
    for row in rows {
        if let Some(state) = row.residence.as_deref() {
            states.entry(state).or_default().push(row);
        } else {
            states.entry(crate::RESIDENCE_UNKNOWN).or_default().push(row);
        }
    }
    states
}

fn triggers(counts: Counts, row: &ScopeRow) -> bool {
    let has = |class| row.released.contains(class);
    let government_id = has(ElementClass::GovernmentId);
    let medical =
        has(ElementClass::Clinical) || has(ElementClass::Document) || has(ElementClass::Restricted);
    match counts {
        Counts::All => true,
        Counts::GovernmentId => government_id,
        Counts::GovernmentIdOrMedical => government_id || medical,
    }
}

/// Where duties are being worked out.
struct Place<'a> {
    law: &'a Law,
    discovered: Date,
    organization: &'a OrganizationId,
    duties: &'a mut Vec<Duty>,
}

impl Place<'_> {
    fn federal(&mut self, federal: &Jurisdiction, rows: &[&ScopeRow]) {
        for rule in &federal.rule {
            if rule.per_state {
                for (state, residents) in by_state(rows) {
                    if state != crate::RESIDENCE_UNKNOWN {
                        self.rule(federal, rule, &residents, &[], Some(state));
                    }
                }
            } else {
                self.rule(federal, rule, rows, &[], None);
            }
        }
    }

    /// California's facility statute: by license, not by residence.
    fn facility(&mut self, known: Option<&Organization>, rows: &[&ScopeRow]) {
        let Some(statute) = self.law.jurisdiction("CA-CDPH") else { return };
        let (applies, open): (bool, &[&str]) = match known {
            Some(organization) => {
                (organization.licenses.contains(&License::CaliforniaHealthFacility), &[])
            }
            None => (
                rows.iter().any(|row| row.residence.as_deref() == Some("CA")),
                &["whether this organization is a licensed facility is not recorded"],
            ),
        };
        if applies {
            self.apply(statute, rows, open);
        }
    }

    fn apply(&mut self, jurisdiction: &Jurisdiction, rows: &[&ScopeRow], open: &[&str]) {
        for rule in &jurisdiction.rule {
            self.rule(jurisdiction, rule, rows, open, None);
        }
    }

    fn rule(
        &mut self,
        jurisdiction: &Jurisdiction,
        rule: &Rule,
        rows: &[&ScopeRow],
        open: &[&str],
        state: Option<&str>,
    ) {
        let count = count(rows.iter().copied().filter(|row| triggers(rule.counts, row))).persons;
        if count < rule.at_least || rule.fewer_than.is_some_and(|limit| count >= limit) {
            return;
        }
        let mut review: Vec<String> = jurisdiction
            .open
            .iter()
            .chain(&rule.open)
            .filter(|point| point.certainty.needs_review())
            .map(|point| point.text.clone())
            .chain(open.iter().map(|text| (*text).to_owned()))
            .collect();
        let due = match rule.since() {
            Some(since) if self.discovered < since => {
                review.push(format!(
                    "discovered before {since}, under an earlier text; its number of days is not recorded"
                ));
                None
            }
            _ => self.due(jurisdiction, rule),
        };
        self.duties.push(Duty {
            jurisdiction: jurisdiction.code.clone(),
            organization: self.organization.clone(),
            who: rule.who,
            recipient: match state {
                Some(state) => format!("{} ({state})", rule.recipient),
                None => rule.recipient.clone(),
            },
            due,
            why: rule.citation.clone(),
            count,
            certainty: rule.certainty,
            note: note(&rule.note, rule.certainty, &review),
            review,
        });
    }

    fn due(&self, jurisdiction: &Jurisdiction, rule: &Rule) -> Option<Date> {
        let days = rule.days?;
        match rule.from {
            From::Discovery => Some(add_days(self.discovered, days, rule.unit)),
            From::YearEnd => Some(after_year_end(self.discovered, days)),
            From::IndividualNotice => {
                let told = jurisdiction
                    .rule
                    .iter()
                    .find(|other| other.who == Who::Individual && other.from == From::Discovery)?;
                let last = add_days(self.discovered, told.days?, told.unit);
                Some(add_days(last, days, rule.unit))
            }
            From::None => None,
        }
    }

    /// A state whose law is not in the data: said, not passed over.
    fn unknown_state(&mut self, state: &str, rows: &[&ScopeRow]) {
        let unknown = state == crate::RESIDENCE_UNKNOWN;
        let open = if unknown {
            "the state of residence is not recorded, so the state law that applies is not known"
        } else {
            "the law of this place is not in the data; deadlines, authorities and contents have to be looked up"
        };
        let review = vec![open.to_owned()];
        self.duties.push(Duty {
            jurisdiction: state.to_owned(),
            organization: self.organization.clone(),
            who: Who::Regulator,
            recipient: "authorities and residents under the law of the place of residence"
                .to_owned(),
            due: None,
            why: "law of the place of residence".to_owned(),
            count: count(rows.iter().copied()).persons,
            certainty: Certainty::D,
            note: note("", Certainty::D, &review),
            review,
        });
    }
}

fn note(text: &str, certainty: Certainty, review: &[String]) -> String {
    let mut parts = Vec::new();
    if !text.is_empty() {
        parts.push(text.to_owned());
    }
    if certainty.needs_review() && review.is_empty() {
        parts.push(format!("The deadline {NEEDS_REVIEW}."));
    }
    for point in review {
        parts.push(format!("{NEEDS_REVIEW}: {point}."));
    }
    let mut joined = parts.join(" ");
    if joined.starts_with(NEEDS_REVIEW) {
        joined.replace_range(..1, "N");
    }
    joined
}
