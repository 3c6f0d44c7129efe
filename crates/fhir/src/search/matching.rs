//! Whether a row meets a query, and in which order two rows stand.

use std::cmp::Ordering;

use holdfast_base::Timestamp;
use serde_json::Value;

use super::decimal::Decimal;
use super::entry::{IndexEntry, IndexValue};
use super::measure::{Measure, is_ucum};
use super::query::{Condition, Prefix, Query, Row, Test, Wanted, WantedSystem};
use super::span::Span;

impl Query {
    /// Whether a resource with this id, time of last change and index entries
    /// meets every condition, as far as these tell. What only the resource itself can
    /// answer ([`needs_document`](Self::needs_document)) counts as met, a link that was
    /// not followed as not.
    pub fn matches(&self, id: &str, last_updated: Timestamp, entries: &[IndexEntry]) -> bool {
        let row = Row { id, last_updated, entries };
        self.conditions.iter().all(|condition| condition.holds(&row, None) != Some(false))
    }

    /// Whether the resource meets every condition.
    pub fn matches_document(&self, row: &Row<'_>, resource: &Value) -> bool {
        self.conditions.iter().all(|condition| condition.holds(row, Some(resource)) == Some(true))
    }

    /// The order of two rows by `_sort`; rows without a value come last, equal
    /// rows are ordered by id, so that pages are stable.
    pub fn compare(&self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        for key in &self.sort {
            let order =
                match (best(a, key.param, key.descending), best(b, key.param, key.descending)) {
                    (Some(a), Some(b)) if key.descending => b.compare(&a),
                    (Some(a), Some(b)) => a.compare(&b),
                    (a, b) => b.is_some().cmp(&a.is_some()),
                };
            if order != Ordering::Equal {
                return order;
            }
        }
        a.id.cmp(b.id)
    }
}

enum Key<'a> {
    Text(&'a str),
    Instant(i64),
    Number(Decimal),
}

impl Key<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Instant(a), Self::Instant(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

/// The value that a row is sorted by: of several the smallest, descending the largest.
fn best<'a>(row: &Row<'a>, param: &str, descending: bool) -> Option<Key<'a>> {
    match param {
        "_id" => return Some(Key::Text(row.id)),
        "_lastUpdated" => return Some(Key::Instant(row.last_updated.millis())),
        _ => {}
    }
    let keys = row.entries.iter().filter(|entry| entry.param == param).filter_map(|entry| {
        Some(match &entry.value {
            IndexValue::Token { code, .. } => Key::Text(code),
            IndexValue::String { folded, .. } => Key::Text(folded),
            IndexValue::Date(span) => Key::Instant(if descending { span.to } else { span.from }),
            IndexValue::Number(number) => Key::Number(*number),
            IndexValue::Quantity { low, high, .. } => Key::Number((*low).or(*high)?),
            IndexValue::Reference { id, .. } => Key::Text(id),
            IndexValue::ReferenceUrl(url) | IndexValue::Uri(url) => Key::Text(url),
            IndexValue::TokenText(_) | IndexValue::ReferenceIdentifier { .. } => return None,
        })
    });
    if descending { keys.max_by(Key::compare) } else { keys.min_by(Key::compare) }
}

impl Condition {
    /// `None` when only the resource tells, and there is none.
    pub(super) fn holds(&self, row: &Row<'_>, resource: Option<&Value>) -> Option<bool> {
        let each = |some: &[Self], decides: bool| {
            let mut sure = true;
            for condition in some {
                match condition.holds(row, resource) {
                    Some(holds) if holds == decides => return Some(decides),
                    Some(_) => {}
                    None => sure = false,
                }
            }
            sure.then_some(!decides)
        };
        match &self.test {
            Test::Missing(missing) => Some(self.has_value(row) != *missing),
            Test::Any(wanted) => Some(self.meets_any(row, wanted)),
            Test::NotAny(wanted) => Some(!self.meets_any(row, wanted)),
            Test::Either(some) => each(some, true),
            Test::Both(all) => each(all, false),
            Test::Not(inner) => inner.holds(row, resource).map(|holds| !holds),
            Test::Link(_) => Some(false),
            Test::Document(test) => resource.map(|resource| test.is_met_by(resource)),
        }
    }

    fn has_value(&self, row: &Row<'_>) -> bool {
        matches!(self.param, "_id" | "_lastUpdated")
            || row.entries.iter().any(|entry| entry.param == self.param)
    }

    fn meets_any(&self, row: &Row<'_>, wanted: &[Wanted]) -> bool {
        match self.param {
            "_id" => wanted.iter().any(|wanted| match wanted {
                Wanted::Id(id) => id == row.id,
                Wanted::IdIn(ids) => ids.contains(row.id),
                _ => false,
            }),
            "_lastUpdated" => {
                let at = row.last_updated.millis();
                let found = IndexValue::Date(Span { from: at, to: at });
                wanted.iter().any(|wanted| wanted.is_met_by(&found))
            }
            _ => row
                .entries
                .iter()
                .filter(|entry| entry.param == self.param)
                .any(|entry| wanted.iter().any(|wanted| wanted.is_met_by(&entry.value))),
        }
    }
}

impl WantedSystem {
    fn is_met_by(&self, system: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => system.is_none(),
            Self::Is(wanted) => system == Some(wanted),
        }
    }
}

impl Wanted {
    fn is_met_by(&self, found: &IndexValue) -> bool {
        match (self, found) {
            (Self::Token { system, code }, IndexValue::Token { system: has, code: found }) => {
                system.is_met_by(has.as_deref()) && code.as_ref().is_none_or(|code| code == found)
            }
            (Self::TokenIn(set), IndexValue::Token { system: Some(system), code }) => {
                set.contains(&(system.clone(), code.clone()))
            }
            (Self::CodeText { code, .. }, IndexValue::Token { code: found, .. }) => {
                found.starts_with(code.as_str())
            }
            (Self::CodeText { text, .. }, IndexValue::TokenText(found)) => {
                found.starts_with(text.as_str())
            }
            (Self::TokenText(text), IndexValue::TokenText(found)) => {
                found.starts_with(text.as_str())
            }
            (Self::StartsWith(text), IndexValue::String { folded, .. }) => {
                folded.starts_with(text.as_str())
            }
            (Self::Contains(text), IndexValue::String { folded, .. }) => {
                folded.contains(text.as_str())
            }
            (Self::Folded(text), IndexValue::String { folded, .. }) => folded == text,
            (Self::EndsWith(text), IndexValue::String { folded, .. }) => {
                folded.ends_with(text.as_str())
            }
            (Self::Exact(text), IndexValue::String { folded, exact }) => {
                exact.as_ref().unwrap_or(folded) == text
            }
            (Self::Date(prefix, wanted), IndexValue::Date(found)) => {
                date_matches(*prefix, *wanted, *found)
            }
            (Self::Number(prefix, wanted), IndexValue::Number(found)) => {
                number_matches(*prefix, wanted, Some(*found), Some(*found), false)
            }
            (
                Self::Quantity { prefix, number, system, code },
                IndexValue::Quantity { low, high, open, system: has_system, code: has_code, unit },
            ) => {
                let system_fits = system.is_none() || system == has_system;
                // Without a system, the human unit will do too (search.html#quantity).
                let code_fits =
                    code.is_none() || code == has_code || (system.is_none() && code == unit);
                if system_fits && code_fits {
                    return number_matches(*prefix, number, *low, *high, *open);
                }
                // The same amount in another unit of UCUM is the same.
                let (Some(code), Some(has_code)) = (code, has_code) else { return false };
                if !is_ucum(system.as_deref()) || !is_ucum(has_system.as_deref()) {
                    return false;
                }
                let converted = number.converted(code, has_code);
                converted.is_some_and(|n| number_matches(*prefix, &n, *low, *high, *open))
            }
            (Self::ReferenceIn(set), IndexValue::Reference { target, id, base: None }) => {
                set.contains(&(*target, id.clone()))
            }
            (Self::CanonicalBelow { url, version }, IndexValue::ReferenceUrl(found)) => {
                let Some((has, at)) = found.split_once('|') else { return false };
                let rest = at.strip_prefix(version.as_str());
                has == url && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            (
                Self::Reference { target, id, base, .. },
                IndexValue::Reference { target: has, id: found, base: has_base },
            ) => target.is_none_or(|target| target == *has) && id == found && base == has_base,
            (
                Self::Reference { text: url, .. } | Self::ReferenceUrl(url),
                IndexValue::ReferenceUrl(found),
            ) => found == url || found.split_once('|').is_some_and(|(bare, _)| bare == url),
            (
                Self::ReferenceIdentifier { system, value },
                IndexValue::ReferenceIdentifier { system: has, value: found },
            ) => {
                system.is_met_by(has.as_deref())
                    && value.as_ref().is_none_or(|value| value == found)
            }
            (Self::Uri(uri), IndexValue::Uri(found)) => uri == found,
            (Self::UriBelow(uri), IndexValue::Uri(found)) => is_above(uri, found),
            (Self::UriAbove(uri), IndexValue::Uri(found)) => is_above(found, uri),
            _ => false,
        }
    }
}

/// Whether `upper` is `lower`, or its beginning up to the end of a segment
/// (search.html#uri). A URN has no segments, and is below itself only.
fn is_above(upper: &str, lower: &str) -> bool {
    if upper.starts_with("urn:") || lower.starts_with("urn:") {
        return upper == lower;
    }
    let upper = upper.trim_end_matches('/');
    let rest = lower.strip_prefix(upper);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The prefixes over spans of time (search.html#prefix). `ap` is an overlap:
/// there is no clock here to take ten percent of the distance to now.
fn date_matches(prefix: Prefix, wanted: Span, found: Span) -> bool {
    let above = found.to > wanted.to;
    let below = found.from < wanted.from;
    match prefix {
        Prefix::Eq => wanted.contains(found),
        Prefix::Ne => !wanted.contains(found),
        Prefix::Gt => above,
        Prefix::Lt => below,
        Prefix::Ge => above || wanted.contains(found),
        Prefix::Le => below || wanted.contains(found),
        Prefix::Sa => found.from > wanted.to,
        Prefix::Eb => found.to < wanted.from,
        Prefix::Ap => wanted.overlaps(found),
    }
}

/// The prefixes over numbers. `eq` and `ne` go by the implicit precision of what
/// was asked, `ap` by ten percent, the others by the exact number.
fn number_matches(
    prefix: Prefix,
    measure: &Measure,
    low: Option<Decimal>,
    high: Option<Decimal>,
    open: bool,
) -> bool {
    let wanted = measure.number;
    let equal = || {
        let (from, to) = measure.rounds;
        let starts = low.is_some_and(|low| low.cmp(&from).is_ge());
        let ends = high.is_some_and(|high| if open { high <= to } else { high < to });
        starts && ends
    };
    let above = high.is_none_or(|high| high > wanted);
    let below = low.is_none_or(|low| low < wanted);
    match prefix {
        Prefix::Eq => equal(),
        Prefix::Ne => !equal(),
        Prefix::Gt => above,
        Prefix::Lt => below,
        Prefix::Ge => above || high.is_some_and(|high| high.cmp(&wanted).is_eq() && !open),
        Prefix::Le => below || low.is_some_and(|low| low.cmp(&wanted).is_eq() && !open),
        Prefix::Sa => low.is_some_and(|low| low > wanted || (open && low.cmp(&wanted).is_eq())),
        Prefix::Eb => high.is_some_and(|high| high < wanted || (open && high.cmp(&wanted).is_eq())),
        Prefix::Ap => {
            let (from, to) = measure.around;
            high.is_none_or(|high| high >= from) && low.is_none_or(|low| low <= to)
        }
    }
}
