//! A search, understood: conditions over index entries, order, page size and
//! shape of the answer.

use holdfast_base::Timestamp;

use super::decimal::Decimal;
use super::entry::IndexEntry;
use super::span::Span;
use crate::outcome::Issue;

/// What to do with parameters that are not known or not supported
/// (`Prefer: handling=…`, search.html#errors).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handling {
    /// Refuse the search.
    Strict,
    /// Leave them out and say so in [`Query::issues`]. Modifiers that are not
    /// supported and malformed values refuse the search all the same.
    Lenient,
}

/// `_summary` (search.html#summary).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Summary {
    /// Whole resources.
    #[default]
    False,
    /// The elements that the definitions mark as summary.
    True,
    /// Narrative, id, meta and mandatory elements.
    Text,
    /// Everything but the narrative.
    Data,
    /// Only the total.
    Count,
}

/// `_total` (search.html#total).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// Not wanted.
    None,
    /// An estimate will do.
    Estimate,
    /// The exact number.
    Accurate,
}

/// One candidate: what the store knows of a resource without opening it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Logical id.
    pub id: &'a str,
    /// `meta.lastUpdated`.
    pub last_updated: Timestamp,
    /// Its index entries.
    pub entries: &'a [IndexEntry],
}

/// A search over one resource type; made by [`parse_query`](super::parse_query).
#[derive(Clone)]
pub struct Query {
    pub(super) resource_type: &'static str,
    pub(super) conditions: Vec<Condition>,
    pub(super) sort: Vec<SortKey>,
    pub(super) count: Option<u32>,
    pub(super) total: Option<Total>,
    pub(super) summary: Summary,
    pub(super) elements: Vec<String>,
    pub(super) used: Vec<(String, String)>,
    pub(super) issues: Vec<Issue>,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.conditions.iter().map(|condition| condition.param).collect();
        write!(f, "Query({} by {names:?})", self.resource_type)
    }
}

#[derive(Clone, Copy)]
pub(super) struct SortKey {
    pub param: &'static str,
    pub descending: bool,
}

#[derive(Clone)]
pub(super) struct Condition {
    pub param: &'static str,
    pub test: Test,
}

#[derive(Clone)]
pub(super) enum Test {
    Missing(bool),
    Any(Vec<Wanted>),
    NotAny(Vec<Wanted>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    Sa,
    Eb,
    Ap,
}

#[derive(Clone, PartialEq)]
pub(super) enum WantedSystem {
    Any,
    Absent,
    Is(String),
}

#[derive(Clone)]
pub(super) enum Wanted {
    Id(String),
    Token { system: WantedSystem, code: Option<String> },
    TokenText(String),
    StartsWith(String),
    Exact(String),
    Contains(String),
    Date(Prefix, Span),
    Number(Prefix, Decimal),
    Quantity { prefix: Prefix, number: Decimal, system: Option<String>, code: Option<String> },
    Reference { target: Option<u16>, id: String, base: Option<String>, text: String },
    ReferenceUrl(String),
    ReferenceIdentifier { system: WantedSystem, value: Option<String> },
    Uri(String),
}

impl Query {
    /// The resource type that is searched.
    pub fn resource_type(&self) -> &'static str {
        self.resource_type
    }

    /// `_count`: how many matches a page should hold at most, if said. Zero asks
    /// for the total only.
    pub fn count(&self) -> Option<u32> {
        self.count
    }

    /// `_total`, if said.
    pub fn total(&self) -> Option<Total> {
        self.total
    }

    /// `_summary`.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Whether only the total is wanted.
    pub fn is_count_only(&self) -> bool {
        self.summary == Summary::Count || self.count == Some(0)
    }

    /// Whether an order is asked for.
    pub fn is_sorted(&self) -> bool {
        !self.sort.is_empty()
    }

    /// The parameters that the search really uses, for the `self` link.
    pub fn used(&self) -> &[(String, String)] {
        &self.used
    }

    /// What was left out under [`Handling::Lenient`], as warnings.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// The one Patient that every match must belong to, by id: from `patient=`,
    /// from `subject=Patient/…`, or for Patient itself from `_id=`. `None` when the
    /// search does not narrow to one.
    pub fn patient(&self) -> Option<&str> {
        let patient = crate::type_code("Patient");
        self.conditions.iter().find_map(|condition| {
            let Test::Any(wanted) = &condition.test else { return None };
            let [single] = wanted.as_slice() else { return None };
            match single {
                Wanted::Id(id) if self.resource_type == "Patient" => Some(id.as_str()),
                Wanted::Reference { target, id, base: None, .. } => {
                    let names_patient = *target == patient
                        && matches!(condition.param, "patient" | "subject" | "beneficiary");
                    let only_patient = target.is_none() && condition.param == "patient";
                    (names_patient || only_patient).then_some(id.as_str())
                }
                _ => None,
            }
        })
    }

    /// The ids that `_id` allows; `None` when the search does not name any.
    pub fn ids(&self) -> Option<Vec<&str>> {
        self.conditions.iter().find_map(|condition| match &condition.test {
            Test::Any(wanted) if condition.param == "_id" => Some(
                wanted
                    .iter()
                    .filter_map(|wanted| match wanted {
                        Wanted::Id(id) => Some(id.as_str()),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => None,
        })
    }

    /// The names of the parameters that narrow the search.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.conditions.iter().map(|condition| condition.param)
    }
}
