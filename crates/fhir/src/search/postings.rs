//! Searches over many patients' resources as ranges of bytes: a resource has a
//! set of postings, a condition is a union of ranges over them. Whoever keeps the
//! postings compares bytes and needs to know nothing of FHIR.
//!
//! A posting is: resource type (2 bytes), name of the parameter, `0x00`, kind of
//! value (1 byte), value. Values are written so that byte order is their order:
//! texts end with `0x00`, instants and numbers have a fixed width. Spans of time
//! and quantities have two postings, one in the order of each end. Every resource
//! also has the posting of its type alone, which conditions that exclude need.
//!
//! Invariant: a resource meets a [`Query`] exactly if its postings meet every one
//! of the query's [`conditions`](Query::population).

use std::collections::BTreeSet;

use holdfast_base::Timestamp;

use super::decimal::Decimal;
use super::entry::{IndexEntry, IndexValue};
use super::measure::{Measure, is_ucum};
use super::query::{Condition, Prefix, Query, Test, Wanted, WantedSystem};
use super::span::Span;
use crate::Issue;
use crate::type_code::type_code;

/// Bytes of a text that a posting holds; what is longer is cut and marked, and
/// cannot be asked for in full.
const TEXT_BYTES_MAX: usize = 200;
/// Codes, ids or references in one condition: what the keeper hears in one question.
const CODES_MAX: usize = 2_000;
/// Clauses that alternatives of several conditions may become.
const CLAUSES_MAX: usize = 64;
/// Stands after a text that was cut.
const CUT: u8 = 1;

/// One condition over postings.
#[derive(Clone, PartialEq, Eq)]
pub struct PopulationCondition {
    /// Whether what has a posting in one of the ranges is left out, instead of
    /// being what is looked for.
    pub excludes: bool,
    /// A resource meets the condition with one posting in one of these.
    pub ranges: Vec<PostingRange>,
}

/// Postings from `from` up to but without `to` that pass all checks.
#[derive(Clone, PartialEq, Eq)]
pub struct PostingRange {
    /// The first posting.
    pub from: Vec<u8>,
    /// The first posting after the last.
    pub to: Vec<u8>,
    /// What must hold of bytes further on.
    pub checks: Vec<PostingCheck>,
}

/// The bytes of a posting at `at`, as many as `from` has, are `from` or more and,
/// if there is a `to`, less than it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostingCheck {
    /// Where they begin.
    pub at: u16,
    /// The least that they may be.
    pub from: Vec<u8>,
    /// What they must stay below.
    pub to: Option<Vec<u8>>,
}

impl std::fmt::Debug for PopulationCondition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PopulationCondition({} ranges)", self.ranges.len())
    }
}

/// The postings of one resource.
pub fn postings(
    resource_type: &str,
    id: &str,
    last_updated: Timestamp,
    entries: &[IndexEntry],
) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let Some(code) = type_code(resource_type) else { return found };
    let at = last_updated.millis();
    let mut add = |param: &str, value: Vec<u8>| {
        found.insert([place(code, param), value].concat());
    };
    add("", Vec::new());
    add("_id", tagged(b'k', |out| put_text(out, id)));
    let changed = IndexValue::Date(Span { from: at, to: at });
    each_value(&changed, &mut |value| add("_lastUpdated", value));
    for IndexEntry { param, value } in entries {
        each_value(value, &mut |value| add(param, value));
    }
    found
}

fn place(code: u16, param: &str) -> Vec<u8> {
    let mut place = code.to_be_bytes().to_vec();
    place.extend_from_slice(param.as_bytes());
    place.push(0);
    place
}

fn tagged(kind: u8, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut value = vec![kind];
    write(&mut value);
    value
}

/// A text with its end. A NUL in it, which FHIR does not allow, becomes a blank.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let cut = text.len() > TEXT_BYTES_MAX;
    let bytes = &text.as_bytes()[..text.len().min(TEXT_BYTES_MAX)];
    out.extend(bytes.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }));
    out.extend_from_slice(if cut { &[CUT, 0] } else { &[0] });
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => {
            out.push(1);
            put_text(out, text);
        }
        None => out.push(0),
    }
}

fn instant(millis: i64) -> [u8; 8] {
    (millis.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// An end of a quantity: byte order is numeric order, a missing end lies beyond
/// every number on its side.
fn end(number: Option<Decimal>, is_low: bool) -> Vec<u8> {
    match number {
        Some(number) => [&[1][..], &number.ordered_bytes()].concat(),
        None => {
            let mut beyond = vec![if is_low { 0 } else { 2 }];
            beyond.resize(1 + Decimal::ORDERED_BYTES, 0);
            beyond
        }
    }
}

const END_BYTES: usize = 1 + Decimal::ORDERED_BYTES;
const WORD_BYTES: usize = 8;

/// A word of fixed width for a unit or system; zero for none. FNV-1a: who meets a
/// query by an accident of two words is found out when the row is opened.
fn word(text: Option<&str>) -> [u8; WORD_BYTES] {
    let Some(text) = text else { return [0; WORD_BYTES] };
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1).to_be_bytes()
}

fn each_value(value: &IndexValue, add: &mut dyn FnMut(Vec<u8>)) {
    match value {
        IndexValue::Token { system, code } => add_pair(b'c', system.as_deref(), code, add),
        IndexValue::TokenText(text) => add(tagged(b'w', |out| put_text(out, text))),
        IndexValue::String { folded, exact } => {
            add(tagged(b'f', |out| put_text(out, folded)));
            add(tagged(b'x', |out| put_text(out, exact.as_ref().unwrap_or(folded))));
        }
        IndexValue::Date(span) => {
            let (from, to) = (instant(span.from), instant(span.to));
            add([b"d", &from[..], &to].concat());
            add([b"e", &to[..], &from].concat());
        }
        IndexValue::Number(number) => add_ends(Some(*number), Some(*number), false, &[], add),
        IndexValue::Quantity { low, high, open, system, code, unit } => {
            let tail = [word(system.as_deref()), word(code.as_deref()), word(unit.as_deref())];
            add_ends(*low, *high, *open, &tail.concat(), add);
        }
        IndexValue::Reference { target, id, base } => add(tagged(b'r', |out| {
            put_text(out, id);
            put_optional(out, base.as_deref());
            out.extend_from_slice(&target.to_be_bytes());
        })),
        IndexValue::ReferenceUrl(url) => {
            add(tagged(b'v', |out| put_text(out, url)));
            if let Some((bare, _)) = url.split_once('|') {
                add(tagged(b'v', |out| put_text(out, bare)));
            }
        }
        IndexValue::ReferenceIdentifier { system, value } => {
            add_pair(b'i', system.as_deref(), value, add);
        }
        IndexValue::Uri(uri) => add(tagged(b'u', |out| put_text(out, uri))),
    }
}

/// Code then system, and, one kind further (`d` would be a date: upper case),
/// system then code.
fn add_pair(kind: u8, system: Option<&str>, code: &str, add: &mut dyn FnMut(Vec<u8>)) {
    add(tagged(kind, |out| {
        put_text(out, code);
        put_optional(out, system);
    }));
    if let Some(system) = system {
        add(tagged(kind.to_ascii_uppercase(), |out| {
            put_text(out, system);
            put_text(out, code);
        }));
    }
}

fn add_ends(
    low: Option<Decimal>,
    high: Option<Decimal>,
    open: bool,
    tail: &[u8],
    add: &mut dyn FnMut(Vec<u8>),
) {
    let (low, high, open) = (end(low, true), end(high, false), [u8::from(open)]);
    add([b"l", &low[..], &high, &open, tail].concat());
    add([b"m", &high[..], &low, &open, tail].concat());
}

impl Query {
    /// The conditions as ranges of postings. No condition means every resource of
    /// the type.
    ///
    /// # Errors
    /// An issue `not-supported` for each parameter that ranges cannot answer.
    pub fn population(&self) -> Result<Vec<PopulationCondition>, Vec<Issue>> {
        let code = type_code(self.resource_type).unwrap_or_default();
        let mut conditions = Vec::new();
        let mut issues = Vec::new();
        for condition in &self.conditions {
            match condition.clauses(code) {
                Some(clauses) => conditions.extend(
                    clauses
                        .into_iter()
                        .map(|(excludes, ranges)| PopulationCondition { excludes, ranges }),
                ),
                None => issues.push(condition.unanswered()),
            }
        }
        if issues.is_empty() { Ok(conditions) } else { Err(issues) }
    }

    /// The range of every resource of the type.
    pub fn everything(&self) -> PostingRange {
        prefix(place(type_code(self.resource_type).unwrap_or_default(), ""))
    }
}

/// What a resource has to have a posting of, or may not have one of.
type Clause = (bool, Vec<PostingRange>);

impl Condition {
    /// Clauses that are all met exactly if the condition is.
    fn clauses(&self, code: u16) -> Option<Vec<Clause>> {
        let place = place(code, self.param);
        let of = |wanted: &[Wanted]| -> Option<Vec<PostingRange>> {
            let mut ranges = Vec::new();
            for wanted in wanted {
                ranges.extend(wanted.ranges(&place)?);
            }
            Some(ranges)
        };
        Some(match &self.test {
            Test::Missing(missing) => vec![(*missing, vec![prefix(place)])],
            Test::Any(wanted) => vec![(false, of(wanted)?)],
            Test::NotAny(wanted) => vec![(true, of(wanted)?)],
            Test::Both(all) => {
                let clauses: Option<Vec<_>> = all.iter().map(|inner| inner.clauses(code)).collect();
                clauses?.concat()
            }
            // One of several conjunctions is every disjunction with a part of each.
            Test::Either(some) => {
                let mut either: Vec<Vec<PostingRange>> = vec![Vec::new()];
                for inner in some {
                    let clauses = inner.clauses(code)?;
                    if clauses.iter().any(|(excludes, _)| *excludes)
                        || either.len() * clauses.len() > CLAUSES_MAX
                    {
                        return None;
                    }
                    let with = |before: &Vec<PostingRange>| {
                        let joined =
                            clauses.iter().map(|(_, ranges)| [&before[..], ranges].concat());
                        joined.collect::<Vec<_>>()
                    };
                    either = either.iter().flat_map(with).collect();
                }
                either.into_iter().map(|ranges| (false, ranges)).collect()
            }
            Test::Not(inner) => match inner.clauses(code)?.as_mut_slice() {
                [(excludes, ranges)] => vec![(!*excludes, std::mem::take(ranges))],
                _ => return None,
            },
            Test::Link(_) | Test::Document(_) => return None,
        })
    }

    /// Why ranges cannot answer it.
    fn unanswered(&self) -> Issue {
        let why = match &self.test {
            Test::Document(_) => {
                "only the resources themselves can answer this: it is offered within one \
                 patient's record (add `patient=`) and for what is about no patient"
            }
            Test::Either(_) | Test::Both(_) | Test::Not(_) => {
                "over many patients alternatives must not leave anything out, what is left out \
                 must be one condition, and there must not be too many of them"
            }
            _ => {
                "over many patients neither `:contains` nor texts of more than 200 bytes are \
                 supported, nor value sets of more than 2,000 codes"
            }
        };
        Issue::error("not-supported", self.param, why)
    }
}

/// Every posting that begins with `start`, which has a byte that is not `0xff`.
fn prefix(start: Vec<u8>) -> PostingRange {
    let to = after(&start).unwrap_or_default();
    PostingRange { from: start, to, checks: Vec::new() }
}

/// The first bytes after all that begin with `start`.
fn after(start: &[u8]) -> Option<Vec<u8>> {
    let keep = start.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = start[..=keep].to_vec();
    next[keep] += 1;
    Some(next)
}

/// Ranges over one kind of fixed-width values.
struct Ends<'a> {
    place: &'a [u8],
    width: usize,
}

impl Ends<'_> {
    /// First end from `from` (or the first) up to but without `to` (or the last).
    fn range(&self, kind: u8, from: Option<&[u8]>, to: Option<Vec<u8>>) -> PostingRange {
        let start = [self.place, &[kind]].concat();
        let from = from.map_or_else(|| start.clone(), |from| [&start[..], from].concat());
        let to = match to {
            Some(to) => [&start[..], &to].concat(),
            None => after(&start).unwrap_or_default(),
        };
        PostingRange { from, to, checks: Vec::new() }
    }

    fn first_at(&self) -> usize {
        self.place.len() + 1
    }

    /// With the second end from `from` up to but without `to`.
    fn second(&self, mut range: PostingRange, from: Vec<u8>, to: Option<Vec<u8>>) -> PostingRange {
        let at = (self.first_at() + self.width) as u16;
        range.checks.push(PostingCheck { at, from, to });
        range
    }

    /// With exactly `bytes` at `offset` after both ends.
    fn tail(&self, mut range: PostingRange, offset: usize, bytes: &[u8]) -> PostingRange {
        let at = (self.first_at() + 2 * self.width + offset) as u16;
        range.checks.push(PostingCheck { at, from: bytes.to_vec(), to: after(bytes) });
        range
    }
}

impl Wanted {
    fn ranges(&self, place: &[u8]) -> Option<Vec<PostingRange>> {
        let begins = |kind: u8, write: &dyn Fn(&mut Vec<u8>)| {
            vec![prefix([place, &tagged(kind, |out| write(out))].concat())]
        };
        let fits = |text: &str| (text.len() <= TEXT_BYTES_MAX).then_some(());
        let beginning = |kind: u8, text: &str| {
            fits(text)?;
            let plain = text.bytes().map(|byte| if byte == 0 { b' ' } else { byte });
            Some(begins(kind, &|out| out.extend(plain.clone())))
        };
        Some(match self {
            Self::Id(id) => {
                fits(id)?;
                begins(b'k', &|out| put_text(out, id))
            }
            Self::IdIn(ids) => {
                let ids = ids.iter().take(CODES_MAX + 1);
                let ranges: Vec<_> =
                    ids.flat_map(|id| begins(b'k', &|out| put_text(out, id))).collect();
                (ranges.len() <= CODES_MAX).then_some(ranges)?
            }
            Self::Token { system, code } => pair(b'c', system, code.as_deref(), place)?,
            Self::TokenIn(set) => {
                if set.len() > CODES_MAX {
                    return None;
                }
                let mut ranges = Vec::new();
                for (system, code) in set {
                    let system = WantedSystem::Is(system.clone());
                    ranges.extend(pair(b'c', &system, Some(code), place)?);
                }
                ranges
            }
            Self::TokenText(text) => beginning(b'w', text)?,
            Self::CodeText { code, text } => {
                [beginning(b'c', code)?, beginning(b'w', text)?].concat()
            }
            Self::StartsWith(text) => beginning(b'f', text)?,
            Self::Exact(text) => {
                fits(text)?;
                begins(b'x', &|out| put_text(out, text))
            }
            Self::Folded(text) => {
                fits(text)?;
                begins(b'f', &|out| put_text(out, text))
            }
            Self::Contains(_) | Self::EndsWith(_) => return None,
            Self::Date(prefix, span) => date_ranges(place, *prefix, *span),
            Self::Number(prefix, number) => number_ranges(place, *prefix, number),
            Self::Quantity { prefix, number, system, code } => {
                let quantity = |number: &Measure, code: Option<&str>| {
                    quantity_ranges(place, *prefix, number, system.as_deref(), code)
                };
                let mut ranges = quantity(number, code.as_deref());
                if let Some(code) = code.as_deref().filter(|_| is_ucum(system.as_deref())) {
                    for (other, converted) in number.in_common_units(code) {
                        ranges.extend(quantity(&converted, Some(other)));
                    }
                }
                ranges
            }
            Self::ReferenceIn(set) => {
                let set = set.iter().take(CODES_MAX + 1);
                let range = |(target, id): &(u16, String)| {
                    begins(b'r', &|out| {
                        put_text(out, id);
                        put_optional(out, None);
                        out.extend(target.to_be_bytes());
                    })
                };
                let ranges: Vec<_> = set.flat_map(range).collect();
                (ranges.len() <= CODES_MAX).then_some(ranges)?
            }
            Self::CanonicalBelow { url, version } => {
                let text = format!("{url}|{version}");
                fits(&text)?;
                let deeper = format!("{text}.");
                let mut ranges = begins(b'v', &|out| put_text(out, &text));
                ranges.extend(begins(b'v', &|out| out.extend_from_slice(deeper.as_bytes())));
                ranges
            }
            Self::Reference { target, id, base, text } => {
                fits(id)?;
                fits(text)?;
                let mut ranges = begins(b'r', &|out| {
                    put_text(out, id);
                    put_optional(out, base.as_deref());
                    out.extend(target.iter().flat_map(|target| target.to_be_bytes()));
                });
                ranges.extend(begins(b'v', &|out| put_text(out, text)));
                ranges
            }
            Self::ReferenceUrl(url) => {
                fits(url)?;
                begins(b'v', &|out| put_text(out, url))
            }
            Self::ReferenceIdentifier { system, value } => {
                pair(b'i', system, value.as_deref(), place)?
            }
            Self::Uri(uri) => {
                fits(uri)?;
                begins(b'u', &|out| put_text(out, uri))
            }
            Self::UriBelow(uri) => {
                let bare = if uri.starts_with("urn:") { uri } else { uri.trim_end_matches('/') };
                fits(bare)?;
                let mut ranges = begins(b'u', &|out| put_text(out, bare));
                if !uri.starts_with("urn:") {
                    let deeper = format!("{bare}/");
                    ranges.extend(begins(b'u', &|out| out.extend_from_slice(deeper.as_bytes())));
                }
                ranges
            }
            Self::UriAbove(uri) => {
                fits(uri)?;
                let mut ranges = begins(b'u', &|out| put_text(out, uri));
                let ends = uri.match_indices('/').filter(|_| !uri.starts_with("urn:"));
                for (at, _) in ends {
                    ranges.extend(begins(b'u', &|out| put_text(out, &uri[..at])));
                    ranges.extend(begins(b'u', &|out| put_text(out, &uri[..=at])));
                }
                ranges
            }
        })
    }
}

/// Quantities by number, system and unit.
fn quantity_ranges(
    place: &[u8],
    prefix: Prefix,
    number: &Measure,
    system: Option<&str>,
    code: Option<&str>,
) -> Vec<PostingRange> {
    let ends = Ends { place, width: END_BYTES };
    let mut ranges = number_ranges(place, prefix, number);
    if let Some(system) = system {
        let has = word(Some(system));
        ranges = ranges.into_iter().map(|range| ends.tail(range, 1, &has)).collect();
    }
    if let Some(code) = code {
        let has = word(Some(code));
        let with = |offset: usize| {
            let ranges = ranges.iter().cloned();
            ranges.map(move |range| ends_tail(place, range, offset, &has))
        };
        let by_code = with(1 + WORD_BYTES);
        // Without a system, the human unit will do too.
        ranges = match system {
            Some(_) => by_code.collect(),
            None => by_code.chain(with(1 + 2 * WORD_BYTES)).collect(),
        };
    }
    ranges
}

fn ends_tail(place: &[u8], range: PostingRange, offset: usize, bytes: &[u8]) -> PostingRange {
    Ends { place, width: END_BYTES }.tail(range, offset, bytes)
}

fn pair(
    kind: u8,
    system: &WantedSystem,
    code: Option<&str>,
    place: &[u8],
) -> Option<Vec<PostingRange>> {
    if code.is_some_and(|code| code.len() > TEXT_BYTES_MAX) {
        return None;
    }
    let mut start = place.to_vec();
    match (system, code) {
        (WantedSystem::Is(system), _) if system.len() > TEXT_BYTES_MAX => return None,
        (WantedSystem::Is(system), None) => {
            start.push(kind.to_ascii_uppercase());
            put_text(&mut start, system);
        }
        (WantedSystem::Is(system), Some(code)) => {
            start.push(kind);
            put_text(&mut start, code);
            put_optional(&mut start, Some(system));
        }
        (WantedSystem::Absent, Some(code)) => {
            start.push(kind);
            put_text(&mut start, code);
            put_optional(&mut start, None);
        }
        (WantedSystem::Any, Some(code)) => {
            start.push(kind);
            put_text(&mut start, code);
        }
        (WantedSystem::Absent, None) => {
            // Any code without a system: over all codes, by what stands last.
            return None;
        }
        (WantedSystem::Any, None) => start.push(kind),
    }
    Some(vec![prefix(start)])
}

/// search.html#prefix over spans of time, as `date_matches` has it.
fn date_ranges(place: &[u8], prefix: Prefix, wanted: Span) -> Vec<PostingRange> {
    let ends = Ends { place, width: 8 };
    let (from, to) = (instant(wanted.from), instant(wanted.to));
    let (after_from, after_to) = (|| Some(from.to_vec()), || next(&to));
    let within = || {
        let starts = ends.range(b'd', Some(&from), next(&to));
        ends.second(starts, vec![0; 8], next(&to))
    };
    let above = || match after_to() {
        Some(beyond) => vec![ends.range(b'e', Some(&beyond), None)],
        None => Vec::new(),
    };
    let below = || ends.range(b'd', None, after_from());
    match prefix {
        Prefix::Eq => vec![within()],
        Prefix::Ne => [above(), vec![below()]].concat(),
        Prefix::Gt => above(),
        Prefix::Lt => vec![below()],
        Prefix::Ge => [above(), vec![within()]].concat(),
        Prefix::Le => vec![below(), within()],
        Prefix::Sa => match after_to() {
            Some(beyond) => vec![ends.range(b'd', Some(&beyond), None)],
            None => Vec::new(),
        },
        Prefix::Eb => vec![ends.range(b'e', None, Some(from.to_vec()))],
        Prefix::Ap => {
            vec![ends.second(ends.range(b'd', None, next(&to)), from.to_vec(), None)]
        }
    }
}

/// The next value of the same width; none after the last.
fn next(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut next = bytes.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, over) = byte.overflowing_add(1);
        *byte = sum;
        if !over {
            return Some(next);
        }
    }
    None
}

/// search.html#prefix over numbers, as `number_matches` has it.
fn number_ranges(place: &[u8], prefix: Prefix, measure: &Measure) -> Vec<PostingRange> {
    let wanted = measure.number;
    let ends = Ends { place, width: END_BYTES };
    let at = end(Some(wanted), true);
    let beyond = next(&at);
    let bound = |number: Decimal| end(Some(number), true);
    let low = |from: Option<&[u8]>, to| ends.range(b'l', from, to);
    let high = |from: Option<&[u8]>, to| ends.range(b'm', from, to);
    let exactly = |range: PostingRange, open: u8| ends.tail(range, 0, &[open]);
    let above = || high(beyond.as_deref(), None);
    let below = || low(None, Some(at.clone()));
    match prefix {
        Prefix::Eq => {
            let (from, to) = measure.rounds;
            let starts = low(Some(&bound(from)), Some(bound(to)));
            vec![ends.second(starts, end(None, true), Some(bound(to)))]
        }
        Prefix::Ne => {
            let (from, to) = measure.rounds;
            vec![low(None, Some(bound(from))), high(Some(&bound(to)), None)]
        }
        Prefix::Gt => vec![above()],
        Prefix::Lt => vec![below()],
        Prefix::Ge => vec![above(), exactly(high(Some(&at), beyond.clone()), 0)],
        Prefix::Le => vec![below(), exactly(low(Some(&at), beyond.clone()), 0)],
        Prefix::Sa => {
            vec![low(beyond.as_deref(), None), exactly(low(Some(&at), beyond.clone()), 1)]
        }
        Prefix::Eb => {
            // A missing upper end is above everything, so it never is in here.
            vec![high(None, Some(at.clone())), exactly(high(Some(&at), beyond.clone()), 1)]
        }
        Prefix::Ap => {
            let (from, to) = measure.around;
            let ends_late = high(Some(&bound(from)), None);
            vec![ends.second(ends_late, end(None, true), next(&bound(to)))]
        }
    }
}
