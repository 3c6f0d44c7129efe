//! Searches as plain equality, for an index that holds keyed tokens only: a
//! resource has a set of labels, and a condition is met when one of its labels is
//! among them. The labels are readable; whoever keeps them makes tokens of them
//! first.

use std::collections::BTreeSet;

use holdfast_base::Timestamp;

use super::document::{DocumentTest, ValueTest};
use super::entry::{IndexEntry, IndexValue};
use super::index::fold_code;
use super::query::{Condition, Prefix, Query, Test, Wanted, WantedSystem};
use super::span::Span;
use crate::Issue;

/// Longest beginning of a text that can be looked up, in characters: what is
/// typed beyond it narrows nothing more in a real directory.
const PREFIX_CHARS_MAX: usize = 12;
const DAY_MS: i64 = 86_400_000;

/// The labels of a resource's index entries: tokens with and without their
/// system, every beginning of a text, dates by year, month and day. Other kinds of
/// values have none.
pub fn lookup_labels(entries: &[IndexEntry]) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for IndexEntry { param, value } in entries {
        match value {
            IndexValue::Token { system, code } => {
                let system = system.as_deref().unwrap_or_default();
                labels.insert(format!("{param}={code}"));
                labels.insert(format!("{param}={system}|{code}"));
            }
            IndexValue::String { folded, .. } => {
                let ends = folded.char_indices().map(|(at, c)| at + c.len_utf8());
                labels.extend(
                    ends.take(PREFIX_CHARS_MAX).map(|end| format!("{param}^{}", &folded[..end])),
                );
            }
            IndexValue::Date(span) => {
                labels.extend(date_labels(*span).into_iter().map(|date| format!("{param}@{date}")));
            }
            _ => {}
        }
    }
    labels
}

impl Query {
    /// For each condition the labels of which one must be there; `_id` aside, which
    /// [`ids`](Self::ids) tells.
    ///
    /// # Errors
    /// An issue `not-supported` for each parameter that equality cannot answer.
    pub fn lookup(&self) -> Result<Vec<Vec<String>>, Vec<Issue>> {
        let mut groups = Vec::new();
        let mut issues = Vec::new();
        for condition in self.conditions.iter().filter(|condition| condition.param != "_id") {
            match condition.groups() {
                Some(found) => groups.extend(found),
                None => issues.push(Issue::error(
                    "not-supported",
                    condition.param,
                    "cannot be used to look up patients in this form: tokens, the beginning of a \
                     text and dates without a prefix can",
                )),
            }
        }
        if issues.is_empty() { Ok(groups) } else { Err(issues) }
    }
}

impl Condition {
    /// Of each group one label has to be there.
    fn groups(&self) -> Option<Vec<Vec<String>>> {
        match &self.test {
            Test::Any(wanted) => {
                let labels: Option<Vec<String>> =
                    wanted.iter().map(|wanted| self.label(wanted)).collect();
                Some(vec![labels?])
            }
            // Whose value it is; whether the type is right is seen in the open.
            Test::Document(DocumentTest::Values { any, .. }) => {
                let label = |test: &ValueTest| match test {
                    ValueTest::OfType { value, .. } => {
                        Some(format!("{}={}", self.param, fold_code(value)))
                    }
                    ValueTest::Display(_) => None,
                };
                Some(vec![any.iter().map(label).collect::<Option<Vec<_>>>()?])
            }
            Test::Both(all) => {
                let groups: Option<Vec<_>> = all.iter().map(Self::groups).collect();
                Some(groups?.concat())
            }
            Test::Either(some) => {
                let mut either = Vec::new();
                for inner in some {
                    match inner.groups()?.as_mut_slice() {
                        [one] => either.append(one),
                        _ => return None,
                    }
                }
                Some(vec![either])
            }
            _ => None,
        }
    }

    fn label(&self, wanted: &Wanted) -> Option<String> {
        let param = self.param;
        match wanted {
            Wanted::Token { system, code: Some(code) } => Some(match system {
                WantedSystem::Any => format!("{param}={code}"),
                WantedSystem::Absent => format!("{param}=|{code}"),
                WantedSystem::Is(system) => format!("{param}={system}|{code}"),
            }),
            Wanted::StartsWith(text) => {
                let beginning: String = text.chars().take(PREFIX_CHARS_MAX).collect();
                (!beginning.is_empty()).then(|| format!("{param}^{beginning}"))
            }
            Wanted::Date(Prefix::Eq, span) => {
                date_labels(*span).pop().map(|date| format!("{param}@{date}"))
            }
            _ => None,
        }
    }
}

/// The year, month and day that all of `span` lies in; the most exact one last.
fn date_labels(span: Span) -> Vec<String> {
    let mut labels = Vec::new();
    let Some(length_ms) = span.to.checked_sub(span.from) else { return labels };
    let first = Timestamp::from_millis(span.from).date();
    let last = Timestamp::from_millis(span.to).date();
    if first.year() == last.year() {
        labels.push(format!("{:04}", first.year()));
        if first.month() == last.month() {
            labels.push(format!("{:04}-{:02}", first.year(), first.month()));
            if length_ms < DAY_MS {
                labels.push(format!("{:04}-{:02}-{:02}", first.year(), first.month(), first.day()));
            }
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Handling, index, parse_query};
    use super::*;

    /// Whether a look-up by `query` finds the sample patient.
    fn found(query: &[(&str, &str)]) -> Result<bool, usize> {
        let patient = json!({
            "resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1954-03-09",
            "name": [{"family": "Østergård-Quill", "given": ["Maren", "Ida"]}],
            "identifier": [{"system": "urn:oid:2.999.1", "value": "A-77"}],
            "telecom": [{"system": "phone", "value": "317-555-0142"}],
            "address": [{"city": "Fort Wayne", "state": "IN", "postalCode": "46802"}],
        });
        let labels = lookup_labels(&index(&patient));
        let pairs: Vec<_> = query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let query =
            parse_query("Patient", &pairs, Handling::Strict).map_err(|issues| issues.len())?;
        let groups = query.lookup().map_err(|issues| issues.len())?;
        Ok(groups.iter().all(|group| group.iter().any(|label| labels.contains(label))))
    }

    #[test]
    fn a_patient_is_found_by_what_people_type() {
        for query in [
            ("family", "ostergard"),
            ("given", "ida"),
            ("name", "MAREN"),
            ("birthdate", "1954-03-09"),
            ("birthdate", "1954-03"),
            ("birthdate", "1954"),
            ("gender", "female"),
            ("identifier", "A-77"),
            ("identifier", "urn:oid:2.999.1|A-77"),
            ("address-city", "fort"),
            ("family", "nobody,oster"),
        ] {
            assert_eq!(found(&[query]), Ok(true), "{query:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_found() {
        for query in [("family", "maren"), ("birthdate", "1954-04"), ("identifier", "urn:x|A-77")] {
            assert_eq!(found(&[query]), Ok(false), "{query:?}");
        }
        assert_eq!(found(&[("family", "oster"), ("gender", "male")]), Ok(false));
    }

    #[test]
    fn what_equality_cannot_answer_is_named() {
        assert_eq!(found(&[("birthdate", "ge1950"), ("family:contains", "gard")]), Err(2));
    }
}
