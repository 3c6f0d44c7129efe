//! Query parameters to a [`Query`] (FHIR R4 search.html). Every problem is
//! reported at once, by the name of its parameter, never by its value.

use super::decimal::Decimal;
use super::entry::IndexValue;
use super::index::{fold_code, is_supported, reference_value};
use super::normal::normalise;
use super::query::{
    Condition, Handling, Prefix, Query, SortKey, Summary, Test, Total, Wanted, WantedSystem,
};
use super::span::Span;
use crate::definitions;
use crate::definitions::{ParameterKind, SearchParameter};
use crate::outcome::{Issue, Severity};
use crate::reference::is_id;
use crate::type_code::type_code;

/// Values in one `or` list; more asks for a different kind of query.
const ALTERNATIVES_MAX: usize = 500;
/// Parameters in one search.
const PARAMETERS_MAX: usize = 100;
/// Result parameters of the specification that are known and not supported.
const UNSUPPORTED: [&str; 11] = [
    "_include",
    "_revinclude",
    "_has",
    "_list",
    "_query",
    "_filter",
    "_content",
    "_text",
    "_contained",
    "_containedType",
    "_type",
];
/// Parameters of the HTTP layer that say nothing about what to find.
const TRANSPORT: [&str; 2] = ["_format", "_pretty"];

/// Understands the search parameters `pairs` (names and values already
/// percent-decoded) for a search of `resource_type`.
///
/// # Errors
/// Every problem: an unknown resource type or parameter (`not-found` and
/// `not-supported`), what is not supported (`not-supported`), a malformed value
/// (`value`). Under [`Handling::Lenient`] unknown and unsupported parameters are
/// left out instead and reported by [`Query::issues`].
pub fn parse_query(
    resource_type: &str,
    pairs: &[(String, String)],
    handling: Handling,
) -> Result<Query, Vec<Issue>> {
    let known = definitions().resource_types().iter().find(|name| **name == resource_type);
    let Some(resource_type) = known else {
        return Err(vec![Issue::error("not-supported", "", "there is no such resource type")]);
    };
    if pairs.len() > PARAMETERS_MAX {
        let text = format!("more than {PARAMETERS_MAX} search parameters");
        return Err(vec![Issue::error("too-costly", "", text)]);
    }
    let mut query = Query {
        resource_type,
        conditions: Vec::new(),
        sort: Vec::new(),
        count: None,
        total: None,
        summary: Summary::False,
        elements: Vec::new(),
        used: Vec::new(),
        issues: Vec::new(),
    };
    let mut errors = Vec::new();
    for (name, value) in pairs {
        match query.add(name, value) {
            Ok(true) => query.used.push((name.clone(), value.clone())),
            Ok(false) => {}
            Err(Problem::Ignorable(issue)) if handling == Handling::Lenient => {
                query.issues.push(issue.with_severity(Severity::Warning));
            }
            Err(Problem::Ignorable(issue) | Problem::Fatal(issue)) => errors.push(issue),
        }
    }
    if errors.is_empty() { Ok(query) } else { Err(errors) }
}

enum Problem {
    /// May be left out when the caller is lenient.
    Ignorable(Issue),
    Fatal(Issue),
}

/// A parameter name as it may stand in an issue: only if it looks like one.
fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) { name } else { "?" }
}

fn unsupported(name: &str, what: &str) -> Issue {
    let shown = shown(name);
    Issue::error("not-supported", shown, format!("search parameter `{shown}`: {what}"))
}

fn malformed(name: &str, what: &str) -> Problem {
    let shown = shown(name);
    Problem::Fatal(Issue::error("value", shown, format!("search parameter `{shown}`: {what}")))
}

impl Query {
    /// Takes one parameter; `Ok(false)` when it says nothing about the result.
    fn add(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        let base = name.split([':', '.']).next().unwrap_or(name);
        if TRANSPORT.contains(&base) {
            return Ok(false);
        }
        if UNSUPPORTED.contains(&base) {
            return Err(Problem::Ignorable(unsupported(name, "not supported")));
        }
        if self.add_result_parameter(name, value)? {
            return Ok(true);
        }
        if name.contains('.') {
            return Err(Problem::Ignorable(unsupported(
                name,
                "chained parameters are not supported",
            )));
        }
        let (base, modifier) = match name.split_once(':') {
            Some((base, modifier)) => (base, Some(modifier)),
            None => (name, None),
        };
        let Some(parameter) = definitions().search_parameter(self.resource_type, base) else {
            let what = format!("not known for {}", self.resource_type);
            return Err(Problem::Ignorable(unsupported(name, &what)));
        };
        if !is_supported(parameter) {
            let what = match parameter.kind {
                ParameterKind::Composite => "composite parameters are not supported",
                _ => "not supported",
            };
            return Err(Problem::Ignorable(unsupported(name, what)));
        }
        let condition = condition(parameter, name, modifier, value)?;
        self.conditions.push(condition);
        Ok(true)
    }

    fn add_result_parameter(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        match name {
            "_count" => {
                let count =
                    value.parse().map_err(|_| malformed(name, "a whole number is needed"))?;
                self.count = Some(count);
            }
            "_sort" => self.sort = self.sort_keys(value)?,
            "_total" => {
                self.total = Some(match value {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" => Total::Accurate,
                    _ => return Err(malformed(name, "none, estimate or accurate is needed")),
                });
            }
            "_summary" => {
                self.summary = match value {
                    "false" => Summary::False,
                    "true" => Summary::True,
                    "text" => Summary::Text,
                    "data" => Summary::Data,
                    "count" => Summary::Count,
                    _ => return Err(malformed(name, "true, text, data, count or false is needed")),
                };
            }
            "_elements" => {
                let names = value.split(',').map(|name| name.trim().to_owned());
                self.elements = names.filter(|name| !name.is_empty()).collect();
                if self.elements.is_empty() {
                    return Err(malformed(name, "element names are needed"));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn sort_keys(&self, value: &str) -> Result<Vec<SortKey>, Problem> {
        let key = |part: &str| {
            let (descending, name) = match part.strip_prefix('-') {
                Some(name) => (true, name),
                None => (false, part),
            };
            let parameter = definitions().search_parameter(self.resource_type, name);
            match parameter.filter(|parameter| is_supported(parameter)) {
                Some(parameter) => Ok(SortKey { param: parameter.name, descending }),
                None => {
                    let what = format!("cannot sort by `{}`", shown(name));
                    Err(Problem::Ignorable(unsupported("_sort", &what)))
                }
            }
        };
        value.split(',').map(key).collect()
    }
}

fn condition(
    parameter: &'static SearchParameter,
    name: &str,
    modifier: Option<&str>,
    value: &str,
) -> Result<Condition, Problem> {
    let of = |test| Condition { param: parameter.name, test };
    if modifier == Some("missing") {
        return match value {
            "true" => Ok(of(Test::Missing(true))),
            "false" => Ok(of(Test::Missing(false))),
            _ => Err(malformed(name, "`:missing` needs true or false")),
        };
    }
    let parts = split(value, ',');
    if parts.len() > ALTERNATIVES_MAX {
        return Err(malformed(name, "too many alternatives"));
    }
    let mut wanted = Vec::new();
    for part in parts {
        if part.trim().is_empty() {
            return Err(malformed(name, "a value is needed"));
        }
        wanted.push(parse_value(parameter, name, modifier, part)?);
    }
    Ok(of(if modifier == Some("not") { Test::NotAny(wanted) } else { Test::Any(wanted) }))
}

fn parse_value(
    parameter: &SearchParameter,
    name: &str,
    modifier: Option<&str>,
    value: &str,
) -> Result<Wanted, Problem> {
    let refuse_modifier = || {
        // A modifier changes what is asked: it can never be left out (search.html#modifiers).
        let what = format!("modifier `:{}` is not supported", shown(modifier.unwrap_or_default()));
        Err(Problem::Fatal(unsupported(name, &what)))
    };
    match (parameter.kind, modifier) {
        _ if parameter.name == "_id" => match modifier {
            None | Some("not") => Ok(Wanted::Id(unescape(value))),
            _ => refuse_modifier(),
        },
        (ParameterKind::Token, None | Some("not")) => {
            let (system, code) = system_and_code(value);
            if code.is_none() && system == WantedSystem::Absent {
                return Err(malformed(name, "a code is needed"));
            }
            Ok(Wanted::Token { system, code })
        }
        (ParameterKind::Token, Some("text")) => Ok(Wanted::TokenText(normalise(&unescape(value)))),
        (ParameterKind::String, None) => Ok(Wanted::StartsWith(normalise(&unescape(value)))),
        (ParameterKind::String, Some("exact")) => Ok(Wanted::Exact(unescape(value))),
        (ParameterKind::String, Some("contains")) => {
            Ok(Wanted::Contains(normalise(&unescape(value))))
        }
        (ParameterKind::Date, None) => {
            let (prefix, rest) = prefix(value);
            // A `+` that was not percent-encoded arrives as a space.
            let span = Span::parse(&rest.replace(' ', "+"));
            let span =
                span.ok_or_else(|| malformed(name, "a date or a date and time is needed"))?;
            Ok(Wanted::Date(prefix, span))
        }
        (ParameterKind::Number, None) => {
            let (prefix, rest) = prefix(value);
            let number =
                Decimal::parse(rest).ok_or_else(|| malformed(name, "a number is needed"))?;
            Ok(Wanted::Number(prefix, number))
        }
        (ParameterKind::Quantity, None) => quantity(name, value),
        (ParameterKind::Reference, Some("identifier")) => {
            let (system, value) = system_and_code(value);
            Ok(Wanted::ReferenceIdentifier { system, value })
        }
        (ParameterKind::Reference, Some(kind)) => match type_code(kind) {
            Some(_) => reference(name, Some(kind), &unescape(value)),
            None => refuse_modifier(),
        },
        (ParameterKind::Reference, None) => reference(name, None, &unescape(value)),
        (ParameterKind::Uri, None) => Ok(Wanted::Uri(unescape(value))),
        _ => refuse_modifier(),
    }
}

fn reference(name: &str, kind: Option<&str>, value: &str) -> Result<Wanted, Problem> {
    let text = value.to_owned();
    if is_id(value) {
        let target = kind.and_then(type_code);
        return Ok(Wanted::Reference { target, id: text.clone(), base: None, text });
    }
    match reference_value(value) {
        Some(IndexValue::Reference { target, id, base }) => {
            if kind.is_some_and(|kind| type_code(kind) != Some(target)) {
                return Err(malformed(name, "the modifier and the value name different types"));
            }
            Ok(Wanted::Reference { target: Some(target), id, base, text })
        }
        Some(IndexValue::ReferenceUrl(url)) if url.contains(':') && kind.is_none() => {
            Ok(Wanted::ReferenceUrl(url))
        }
        _ => Err(malformed(name, "an id, Type/id or URL is needed")),
    }
}

fn quantity(name: &str, value: &str) -> Result<Wanted, Problem> {
    let parts: Vec<String> = split(value, '|').into_iter().map(unescape).collect();
    let (prefix, rest) = prefix(parts.first().map_or("", String::as_str));
    let number = Decimal::parse(rest);
    let number = number.ok_or_else(|| malformed(name, "a number is needed, then |system|code"))?;
    let part = |place: usize| parts.get(place).filter(|part| !part.is_empty()).cloned();
    match parts.len() {
        1 => Ok(Wanted::Quantity { prefix, number, system: None, code: None }),
        3 => Ok(Wanted::Quantity { prefix, number, system: part(1), code: part(2) }),
        _ => Err(malformed(name, "the form is number or number|system|code")),
    }
}

/// `code`, `system|code`, `|code` or `system|` (search.html#token).
fn system_and_code(value: &str) -> (WantedSystem, Option<String>) {
    let parts = split(value, '|');
    let [system, code] = parts.as_slice() else {
        return (WantedSystem::Any, Some(fold_code(&unescape(value))));
    };
    let system = match *system {
        "" => WantedSystem::Absent,
        system => WantedSystem::Is(unescape(system)),
    };
    (system, (!code.is_empty()).then(|| fold_code(&unescape(code))))
}

fn prefix(value: &str) -> (Prefix, &str) {
    let prefixes = [
        ("eq", Prefix::Eq),
        ("ne", Prefix::Ne),
        ("gt", Prefix::Gt),
        ("lt", Prefix::Lt),
        ("ge", Prefix::Ge),
        ("le", Prefix::Le),
        ("sa", Prefix::Sa),
        ("eb", Prefix::Eb),
        ("ap", Prefix::Ap),
    ];
    let found =
        prefixes.into_iter().find_map(|(code, prefix)| Some((prefix, value.strip_prefix(code)?)));
    found.unwrap_or((Prefix::Eq, value))
}

/// Splits at separators that no backslash escapes (search.html#escaping).
fn split(value: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in value.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            parts.push(&value[start..at]);
            start = at + c.len_utf8();
        }
    }
    parts.push(&value[start..]);
    parts
}

fn unescape(value: impl AsRef<str>) -> String {
    let (mut plain, mut letters) = (String::new(), value.as_ref().chars());
    while let Some(c) = letters.next() {
        match c {
            '\\' => plain.extend(letters.next()),
            _ => plain.push(c),
        }
    }
    plain
}
