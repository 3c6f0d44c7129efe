//! A search, understood: conditions over index entries, order, page size and
//! shape of the answer.

use std::collections::BTreeSet;

use holdfast_base::Timestamp;

use super::document::DocumentTest;
use super::entry::IndexEntry;
use super::include::Include;
use super::link::Link;
use super::measure::Measure;
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

/// `_contained` and `_containedType` (search.html#contained).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Contained {
    /// Resources of their own only.
    #[default]
    False,
    /// Contained resources only; whether the container is returned.
    True {
        /// `_containedType=container`, the default.
        container: bool,
    },
    /// Both; what is contained is returned as its container or itself.
    Both {
        /// `_containedType=container`, the default.
        container: bool,
    },
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
    pub(super) includes: Vec<Include>,
    pub(super) contained: Contained,
    pub(super) explains: bool,
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
    /// One of these, whatever their parameters.
    Either(Vec<Condition>),
    /// All of these.
    Both(Vec<Condition>),
    Not(Box<Condition>),
    /// What other resources say, which whoever has them has to look up first.
    Link(Link),
    /// What only the resource itself says.
    Document(DocumentTest),
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
    /// One of many ids.
    IdIn(BTreeSet<String>),
    Token {
        system: WantedSystem,
        code: Option<String>,
    },
    /// One of many codes: system and code in lower case.
    TokenIn(BTreeSet<(String, String)>),
    TokenText(String),
    /// The beginning of a code, in lower case, or of its text, normalised.
    CodeText {
        code: String,
        text: String,
    },
    StartsWith(String),
    Exact(String),
    Contains(String),
    /// The whole text, without regard to case and accents.
    Folded(String),
    EndsWith(String),
    Date(Prefix, Span),
    Number(Prefix, Measure),
    Quantity {
        prefix: Prefix,
        number: Measure,
        system: Option<String>,
        code: Option<String>,
    },
    Reference {
        target: Option<u16>,
        id: String,
        base: Option<String>,
        text: String,
    },
    /// One of many resources of this server: type and id.
    ReferenceIn(BTreeSet<(u16, String)>),
    ReferenceUrl(String),
    /// A canonical of this URL whose version is this one or below it.
    CanonicalBelow {
        url: String,
        version: String,
    },
    ReferenceIdentifier {
        system: WantedSystem,
        value: Option<String>,
    },
    Uri(String),
    /// This URI, or one that it is the beginning of, by segments of its path.
    UriBelow(String),
    /// This URI, or one that is the beginning of it.
    UriAbove(String),
}

impl Query {
    pub(super) fn of(resource_type: &'static str) -> Self {
        Self {
            resource_type,
            conditions: Vec::new(),
            sort: Vec::new(),
            count: None,
            total: None,
            summary: Summary::False,
            elements: Vec::new(),
            includes: Vec::new(),
            contained: Contained::False,
            explains: false,
            used: Vec::new(),
            issues: Vec::new(),
        }
    }

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

    /// `_contained` and `_containedType`.
    pub fn contained(&self) -> Contained {
        self.contained
    }

    /// Whether the plan is asked for instead of an answer (`_explain`, ours).
    pub fn explains(&self) -> bool {
        self.explains
    }

    /// `_include` and `_revinclude`, in their order.
    pub fn includes(&self) -> &[Include] {
        &self.includes
    }

    /// Whether only the total is wanted.
    pub fn is_count_only(&self) -> bool {
        self.summary == Summary::Count || self.count == Some(0)
    }

    /// Whether an order is asked for.
    pub fn is_sorted(&self) -> bool {
        !self.sort.is_empty()
    }

    /// The parameters that make the order, those that count most first.
    pub fn sorted_by(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.sort.iter().map(|key| key.param)
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
        self.required().find_map(|condition| {
            let Test::Any(wanted) = &condition.test else { return None };
            let [single] = wanted.as_slice() else { return None };
            let is_about = || matches!(condition.param, "patient" | "subject" | "beneficiary");
            match single {
                Wanted::Id(id) if self.resource_type == "Patient" => Some(id.as_str()),
                Wanted::IdIn(ids) if self.resource_type == "Patient" && ids.len() == 1 => {
                    ids.first().map(String::as_str)
                }
                Wanted::Reference { target, id, base: None, .. } => {
                    let names_patient = *target == patient && is_about();
                    let only_patient = target.is_none() && condition.param == "patient";
                    (names_patient || only_patient).then_some(id.as_str())
                }
                Wanted::ReferenceIn(set) if set.len() == 1 && is_about() => {
                    let (target, id) = set.first()?;
                    (Some(*target) == patient).then_some(id.as_str())
                }
                _ => None,
            }
        })
    }

    /// The conditions that every match meets, those within others included.
    pub(super) fn required(&self) -> impl Iterator<Item = &Condition> {
        fn flat(condition: &Condition) -> Vec<&Condition> {
            match &condition.test {
                Test::Both(all) => all.iter().flat_map(flat).collect(),
                _ => vec![condition],
            }
        }
        self.conditions.iter().flat_map(flat)
    }

    /// The ids that `_id` allows; `None` when the search does not name any.
    pub fn ids(&self) -> Option<Vec<&str>> {
        let mut allowed: Option<BTreeSet<&str>> = None;
        for condition in self.required().filter(|condition| condition.param == "_id") {
            let Test::Any(wanted) = &condition.test else { continue };
            let ids = wanted.iter().flat_map(|wanted| match wanted {
                Wanted::Id(id) => vec![id.as_str()],
                Wanted::IdIn(ids) => ids.iter().map(String::as_str).collect(),
                _ => Vec::new(),
            });
            let ids: BTreeSet<&str> = ids.collect();
            allowed = Some(match allowed {
                Some(before) => before.intersection(&ids).copied().collect(),
                None => ids,
            });
        }
        allowed.map(|ids| ids.into_iter().collect())
    }

    /// Whether nothing at all can meet the conditions: something was looked up and is
    /// not there.
    pub fn is_impossible(&self) -> bool {
        self.required().any(|condition| match &condition.test {
            Test::Any(wanted) => wanted.iter().all(|wanted| match wanted {
                Wanted::IdIn(ids) => ids.is_empty(),
                Wanted::ReferenceIn(set) => set.is_empty(),
                Wanted::TokenIn(set) => set.is_empty(),
                _ => false,
            }),
            _ => false,
        })
    }

    /// Whether some condition can only be answered by the resource itself.
    pub fn needs_document(&self) -> bool {
        fn needs(condition: &Condition) -> bool {
            match &condition.test {
                Test::Document(_) => true,
                Test::Either(some) | Test::Both(some) => some.iter().any(needs),
                Test::Not(inner) => needs(inner),
                _ => false,
            }
        }
        self.conditions.iter().any(needs)
    }

    /// The names of the parameters that narrow the search.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        self.conditions.iter().map(|condition| condition.param)
    }
}
