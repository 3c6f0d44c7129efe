//! What goes along with the matches: `_include` and `_revinclude`
//! (FHIR R4 search.html#include).
//!
//! Each included resource is opened as if it were read: its record's permit, key
//! release and access entry. What the caller may not see is not included, and nothing
//! says that it is there.

use std::collections::{BTreeSet, VecDeque};

use holdfast_base::PatientId;
use holdfast_fhir::search::Include;
use holdfast_fhir::{Issue, Severity};

use super::Disclosed;
use super::open::OpenRow;
use super::own::is_directory_type;
use super::searching::{Searching, coded};
use crate::ExchangeError;

/// Resources that are included on one page: what a client can want beside a page, and
/// what one answer can hold.
const INCLUDED_MAX: usize = 1_000;

type Seen = BTreeSet<(&'static str, String)>;

impl Searching<'_> {
    /// What the includes lead to from `matches`, once each and no match again; with what
    /// has to be said about it.
    pub async fn included(
        &mut self,
        matches: &[OpenRow],
        includes: &[Include],
    ) -> Result<(Vec<Disclosed>, Vec<Issue>), ExchangeError> {
        let (mut included, mut issues) = (Vec::new(), Vec::new());
        if includes.is_empty() {
            return Ok((included, issues));
        }
        let name = |row: &OpenRow| Some((coded(&row.resource_type)?.1, row.id.clone()));
        let mut seen: Seen = matches.iter().filter_map(name).collect();
        let mut sources: VecDeque<(OpenRow, bool)> =
            matches.iter().map(|row| (row.clone(), true)).collect();
        while let Some((source, is_match)) = sources.pop_front() {
            for include in includes.iter().filter(|include| is_match || include.iterates) {
                let found = if include.is_reverse {
                    self.referring_to(&source, include, &seen).await?
                } else {
                    self.referred_to(&source, include, &seen).await?
                };
                for row in found {
                    if included.len() >= INCLUDED_MAX {
                        let text = format!(
                            "only the first {INCLUDED_MAX} included resources are here: ask for \
                             fewer matches by `_count`"
                        );
                        let issue = Issue::error("too-costly", "_include", text);
                        issues.push(issue.with_severity(Severity::Warning));
                        return Ok((included, issues));
                    }
                    if name(&row).is_some_and(|name| seen.insert(name)) {
                        included.push(self.show(&row).await?);
                        sources.push_back((row, false));
                    }
                }
            }
        }
        Ok((included, issues))
    }

    async fn referred_to(
        &mut self,
        source: &OpenRow,
        include: &Include,
        seen: &Seen,
    ) -> Result<Vec<OpenRow>, ExchangeError> {
        let targets = include.targets(&source.resource_type, &source.entries);
        let mut found = Vec::new();
        for (kind, id) in targets {
            if !seen.contains(&(kind, id.to_owned())) {
                found.extend(self.row_of(kind, id, source.row.key.patient).await?);
            }
        }
        Ok(found)
    }

    /// What refers to `target` in the record that it lies in. What is about no patient
    /// is referred to from every record: only what is about no patient either is looked
    /// at.
    async fn referring_to(
        &mut self,
        target: &OpenRow,
        include: &Include,
        seen: &Seen,
    ) -> Result<Vec<OpenRow>, ExchangeError> {
        let patient = target.row.key.patient;
        // What is about no patient and refers to somebody's resource is in no record.
        let own = include.source.is_some_and(is_directory_type) && patient != PatientId::NONE;
        let rows = self.rows(if own { PatientId::NONE } else { patient }).await?;
        let to = (target.resource_type.as_str(), target.id.as_str());
        let refers = |row: &&OpenRow| {
            include.refers(&row.resource_type, &row.entries, to)
                && coded(&row.resource_type)
                    .is_some_and(|(_, kind)| !seen.contains(&(kind, row.id.clone())))
        };
        Ok(rows.rows.iter().filter(refers).cloned().collect())
    }
}

/// Includes that would have to look into every patient's record.
pub(super) fn unanswered(query: &holdfast_fhir::search::Query) -> Vec<Issue> {
    let directory = is_directory_type(query.resource_type());
    let beyond = |include: &&Include| {
        let of_patients = include.source.is_some_and(|kind| !is_directory_type(kind));
        directory && include.is_reverse && !include.iterates && of_patients
    };
    let issue = |_: &Include| {
        let text = "what patients' records refer to a directory's resource by is not included: \
                    search for it, as in Encounter?practitioner=";
        Issue::error("not-supported", "_revinclude", text)
    };
    query.includes().iter().filter(beyond).map(issue).collect()
}
