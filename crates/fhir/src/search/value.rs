//! The value of a parameter, with its modifier, to a condition (search.html#modifiers
//! and the sections on each type of parameter).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::composite;
use super::decimal::Decimal;
use super::document::{Circle, DocumentTest, ValueTest, phrases};
use super::entry::IndexValue;
use super::index::{fold_code, reference_value};
use super::measure::Measure;
use super::normal::normalise;
use super::parse::{Problem, SearchContext, malformed, shown, unsupported};
use super::query::{Condition, Prefix, Test, Wanted, WantedSystem};
use super::span::Span;
use super::terms::SystemCode;
use crate::definitions::{ParameterKind, SearchParameter};
use crate::fhirpath::Expression;
use crate::reference::is_id;
use crate::type_code::type_code;

/// Values in one `or` list; more asks for a different kind of query.
const ALTERNATIVES_MAX: usize = 500;
/// Codes that a value set may have to be searched by.
const MEMBERS_MAX: usize = 100_000;
/// How far `near` looks when it is not said.
const NEAR_KM: f64 = 50.0;

/// One parameter's condition. `resource_type` is that of the search.
pub(super) fn condition(
    context: &SearchContext<'_>,
    resource_type: &'static str,
    parameter: &'static SearchParameter,
    name: &str,
    modifier: Option<&str>,
    value: &str,
) -> Result<Condition, Problem> {
    let of = |test| Condition { param: parameter.name, test };
    if parameter.kind == ParameterKind::Composite {
        return composite::condition(context, resource_type, parameter, name, modifier, value);
    }
    if modifier == Some("missing") && parameter.kind != ParameterKind::Special {
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
    if parts.iter().any(|part| part.trim().is_empty()) {
        return Err(malformed(name, "a value is needed"));
    }
    if parameter.name == "near" && modifier.is_none() {
        let circles = parts.iter().map(|part| circle(name, part)).collect::<Result<_, _>>()?;
        return Ok(of(Test::Document(DocumentTest::Near(circles))));
    }
    if let Some(tests) = value_tests(parameter, name, modifier, &parts)? {
        let compiled = Expression::compile(parameter.expression);
        let expression = compiled.map_err(|_| unknown_modifier(name, modifier))?;
        let expression = Arc::new(expression.specialised(resource_type));
        return Ok(of(Test::Document(DocumentTest::Values { expression, any: tests })));
    }
    let mut wanted = Vec::new();
    for part in parts {
        wanted.push(parse_value(context, parameter, name, modifier, part)?);
    }
    let is_negated = matches!(modifier, Some("not" | "not-in"));
    Ok(of(if is_negated { Test::NotAny(wanted) } else { Test::Any(wanted) }))
}

/// Tests that only the resource itself can answer.
fn value_tests(
    parameter: &SearchParameter,
    name: &str,
    modifier: Option<&str>,
    parts: &[&str],
) -> Result<Option<Vec<ValueTest>>, Problem> {
    let test = |part: &&str| match (parameter.kind, modifier) {
        (ParameterKind::Token, Some("of-type")) => {
            let fields: Vec<String> = split(part, '|').into_iter().map(unescape).collect();
            match fields.as_slice() {
                [system, code, value] if fields.iter().all(|field| !field.is_empty()) => {
                    Ok(ValueTest::OfType {
                        system: system.clone(),
                        code: code.clone(),
                        value: value.clone(),
                    })
                }
                _ => Err(malformed(name, "the form is system|code|value, all three given")),
            }
        }
        _ => Ok(ValueTest::Display(normalise(&unescape(part)))),
    };
    match (parameter.kind, modifier) {
        (ParameterKind::Token, Some("of-type")) | (ParameterKind::Reference, Some("text")) => {
            parts.iter().map(test).collect::<Result<_, _>>().map(Some)
        }
        _ => Ok(None),
    }
}

/// A modifier changes what is asked: it can never be left out (search.html#modifiers).
fn unknown_modifier(name: &str, modifier: Option<&str>) -> Problem {
    let what = format!("modifier `:{}` is not supported", shown(modifier.unwrap_or_default()));
    Problem::Fatal(unsupported(name, &what))
}

/// One alternative.
pub(super) fn parse_value(
    context: &SearchContext<'_>,
    parameter: &SearchParameter,
    name: &str,
    modifier: Option<&str>,
    value: &str,
) -> Result<Wanted, Problem> {
    match (parameter.kind, modifier) {
        _ if parameter.name == "_id" => match modifier {
            None | Some("not") => Ok(Wanted::Id(unescape(value))),
            _ => Err(unknown_modifier(name, modifier)),
        },
        (ParameterKind::Token, None | Some("not")) => {
            let (system, code) = system_and_code(value);
            if code.is_none() && system == WantedSystem::Absent {
                return Err(malformed(name, "a code is needed"));
            }
            Ok(Wanted::Token { system, code })
        }
        (ParameterKind::Token, Some("text")) => Ok(Wanted::TokenText(normalise(&unescape(value)))),
        (ParameterKind::Token, Some("code-text")) => {
            let text = unescape(value);
            Ok(Wanted::CodeText { code: fold_code(&text), text: normalise(&text) })
        }
        (ParameterKind::Token, Some("in" | "not-in")) => {
            let members = context.terms.members(&unescape(value));
            let what = "the value set is not known here, or cannot be listed";
            codes(name, members, what)
        }
        (ParameterKind::Token, Some(way @ ("below" | "above"))) => {
            let (WantedSystem::Is(system), Some(_)) = system_and_code(value) else {
                return Err(malformed(name, "the form is system|code"));
            };
            // As it was written: the system decides about case.
            let code = split(value, '|').get(1).map(unescape).unwrap_or_default();
            let found = match way {
                "below" => context.terms.below(&system, &code),
                _ => context.terms.above(&system, &code),
            };
            codes(name, found, "no code system with this code is loaded")
        }
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
            Ok(Wanted::Number(prefix, Measure::of(number)))
        }
        (ParameterKind::Quantity, None) => quantity(name, value),
        (ParameterKind::Reference, Some("identifier")) => {
            let (system, value) = system_and_code(value);
            Ok(Wanted::ReferenceIdentifier { system, value })
        }
        (ParameterKind::Reference, Some("below")) => {
            let value = unescape(value);
            let Some((url, version)) = value.split_once('|') else {
                let what = "`:below` is answered for canonicals with a version: url|version";
                return Err(Problem::Fatal(unsupported(name, what)));
            };
            Ok(Wanted::CanonicalBelow { url: url.to_owned(), version: version.to_owned() })
        }
        (ParameterKind::Reference, Some(kind)) => match type_code(kind) {
            Some(_) => reference(context, name, Some(kind), &unescape(value)),
            None => Err(unknown_modifier(name, modifier)),
        },
        (ParameterKind::Reference, None) => reference(context, name, None, &unescape(value)),
        (ParameterKind::Uri, None) => Ok(Wanted::Uri(unescape(value))),
        (ParameterKind::Uri, Some("below")) => Ok(Wanted::UriBelow(unescape(value))),
        (ParameterKind::Uri, Some("above")) => Ok(Wanted::UriAbove(unescape(value))),
        _ => Err(unknown_modifier(name, modifier)),
    }
}

fn codes(name: &str, found: Option<Vec<SystemCode>>, what: &str) -> Result<Wanted, Problem> {
    let found = found.ok_or_else(|| Problem::Fatal(unsupported(name, what)))?;
    if found.len() > MEMBERS_MAX {
        return Err(malformed(name, "the value set has too many codes to search by"));
    }
    let folded = found.into_iter().map(|(system, code)| (system, fold_code(&code)));
    Ok(Wanted::TokenIn(folded.collect::<BTreeSet<_>>()))
}

fn circle(name: &str, value: &str) -> Result<Circle, Problem> {
    let parts: Vec<String> = split(value, '|').into_iter().map(unescape).collect();
    let number = |place: usize| parts.get(place)?.parse::<f64>().ok().filter(|n| n.is_finite());
    let form = || malformed(name, "the form is latitude|longitude|distance|unit");
    let (latitude, longitude) = (number(0).ok_or_else(form)?, number(1).ok_or_else(form)?);
    let distance = match parts.get(2).map(String::as_str) {
        None | Some("") => NEAR_KM,
        Some(_) => number(2).filter(|distance| *distance >= 0.0).ok_or_else(form)?,
    };
    let scale = match parts.get(3).map(String::as_str) {
        None | Some("" | "km") => 1.0,
        Some("m") => 0.001,
        Some("[mi_i]" | "[mi_us]" | "mi") => 1.609_344,
        Some(_) => return Err(malformed(name, "the unit is km, m or [mi_i]")),
    };
    if parts.len() > 4 || latitude.abs() > 90.0 || longitude.abs() > 180.0 {
        return Err(form());
    }
    Ok(Circle { latitude, longitude, radius_km: distance * scale })
}

fn reference(
    context: &SearchContext<'_>,
    name: &str,
    kind: Option<&str>,
    value: &str,
) -> Result<Wanted, Problem> {
    // A URL of this server names the same resource as the relative reference.
    let value = context.base.and_then(|base| value.strip_prefix(base)).unwrap_or(value);
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
    let number = Decimal::parse(rest).map(Measure::of);
    let number = number.ok_or_else(|| malformed(name, "a number is needed, then |system|code"))?;
    let part = |place: usize| parts.get(place).filter(|part| !part.is_empty()).cloned();
    match parts.len() {
        1 => Ok(Wanted::Quantity { prefix, number, system: None, code: None }),
        3 => Ok(Wanted::Quantity { prefix, number, system: part(1), code: part(2) }),
        _ => Err(malformed(name, "the form is number or number|system|code")),
    }
}

/// `_text` and `_content`.
pub(super) fn words(name: &'static str, value: &str) -> Result<Condition, Problem> {
    let any: Vec<Vec<String>> =
        split(value, ',').into_iter().map(|part| phrases(&unescape(part))).collect();
    if any.iter().any(Vec::is_empty) {
        return Err(malformed(name, "words are needed"));
    }
    let test = DocumentTest::Words { narrative_only: name == "_text", any };
    Ok(Condition { param: name, test: Test::Document(test) })
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

pub(super) fn prefix(value: &str) -> (Prefix, &str) {
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
pub(super) fn split(value: &str, separator: char) -> Vec<&str> {
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

pub(super) fn unescape(value: impl AsRef<str>) -> String {
    let (mut plain, mut letters) = (String::new(), value.as_ref().chars());
    while let Some(c) = letters.next() {
        match c {
            '\\' => plain.extend(letters.next()),
            _ => plain.push(c),
        }
    }
    plain
}
