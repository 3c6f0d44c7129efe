//! Query parameters to a [`Query`] (FHIR R4 search.html). Every problem is
//! reported at once, by the name of its parameter, never by its value.

use super::filter;
use super::include::{Include, NoInclude};
use super::index::is_supported;
use super::link::{DEPTH_MAX, Link, TYPES_MAX};
use super::query::{Condition, Contained, Handling, Query, SortKey, Summary, Test, Total};
use super::terms::{PublishedTerms, Terms};
use super::value;
use crate::definitions;
use crate::definitions::{ParameterKind, SearchParameter};
use crate::outcome::{Issue, Severity};
use crate::reference::is_id;
use crate::type_code::{type_code, type_name};

/// Parameters in one search.
const PARAMETERS_MAX: usize = 100;
/// `_include` and `_revinclude` in one search.
const INCLUDES_MAX: usize = 50;
/// Parameters of the HTTP layer that say nothing about what to find.
const TRANSPORT: [&str; 2] = ["_format", "_pretty"];

/// What a search is understood by, besides its parameters.
#[derive(Clone, Copy)]
pub struct SearchContext<'a> {
    /// Answers about value sets and codes.
    pub terms: &'a dyn Terms,
    /// The server's own base URL with a slash at its end: references that begin with it
    /// are its own.
    pub base: Option<&'a str>,
}

impl Default for SearchContext<'_> {
    fn default() -> Self {
        Self { terms: &PublishedTerms, base: None }
    }
}

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
    parse_query_in(&SearchContext::default(), resource_type, pairs, handling)
}

/// As [`parse_query`], with terminologies and the server's own base URL.
///
/// # Errors
/// As [`parse_query`].
pub fn parse_query_in(
    context: &SearchContext<'_>,
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
    let mut query = Query::of(resource_type);
    let mut errors = Vec::new();
    for (name, value) in pairs {
        match query.add(context, name, value) {
            Ok(true) => query.used.push((name.clone(), value.clone())),
            Ok(false) => {}
            Err(Problem::Ignorable(issue)) if handling == Handling::Lenient => {
                query.issues.push(issue.with_severity(Severity::Warning));
            }
            Err(Problem::Ignorable(issue) | Problem::Fatal(issue)) => errors.push(issue),
        }
    }
    if let Err(Problem::Ignorable(issue) | Problem::Fatal(issue)) = query.add_contained(pairs) {
        errors.push(issue);
    }
    if query.includes.len() > INCLUDES_MAX {
        let text = format!("more than {INCLUDES_MAX} includes");
        errors.push(Issue::error("too-costly", "_include", text));
    }
    if errors.is_empty() { Ok(query) } else { Err(errors) }
}

#[derive(Debug)]
pub(super) enum Problem {
    /// May be left out when the caller is lenient.
    Ignorable(Issue),
    Fatal(Issue),
}

/// A parameter name as it may stand in an issue: only if it looks like one.
pub(super) fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) { name } else { "?" }
}

pub(super) fn unsupported(name: &str, what: &str) -> Issue {
    let shown = shown(name);
    Issue::error("not-supported", shown, format!("search parameter `{shown}`: {what}"))
}

pub(super) fn malformed(name: &str, what: &str) -> Problem {
    let shown = shown(name);
    Problem::Fatal(Issue::error("value", shown, format!("search parameter `{shown}`: {what}")))
}

/// The parameter of a type that is searched by, whatever kind it is.
pub(super) fn parameter_of(
    resource_type: &str,
    base: &str,
    name: &str,
) -> Result<&'static SearchParameter, Problem> {
    let Some(parameter) = definitions().search_parameter(resource_type, base) else {
        let what = format!("not known for {resource_type}");
        return Err(Problem::Ignorable(unsupported(name, &what)));
    };
    if is_searchable(parameter) {
        return Ok(parameter);
    }
    Err(Problem::Ignorable(unsupported(name, "not supported")))
}

/// Whether searches by this parameter are answered.
pub(crate) fn is_searchable(parameter: &SearchParameter) -> bool {
    let is_composite = parameter.kind == ParameterKind::Composite;
    is_supported(parameter)
        || parameter.name == "near"
        || (is_composite && super::composite::is_known(parameter.name))
}

impl Query {
    /// Takes one parameter; `Ok(false)` when it says nothing about the result.
    fn add(
        &mut self,
        context: &SearchContext<'_>,
        name: &str,
        value: &str,
    ) -> Result<bool, Problem> {
        let base = name.split([':', '.']).next().unwrap_or(name);
        if TRANSPORT.contains(&base) {
            return Ok(false);
        }
        if self.add_result_parameter(name, value)? {
            return Ok(true);
        }
        match base {
            "_contained" | "_containedType" => return Ok(true),
            "_type" => {
                let what = "only a search of several types takes it: GET [base]?_type=…";
                return Err(Problem::Ignorable(unsupported(name, what)));
            }
            "_query" => {
                let what = "no named query of this name is offered";
                return Err(Problem::Ignorable(unsupported(name, what)));
            }
            _ => {}
        }
        let condition = condition(context, self.resource_type, name, value, 0)?;
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
            "_explain" => {
                self.explains = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(malformed(name, "true or false is needed")),
                };
            }
            "_include" | "_include:iterate" | "_include:recurse" => {
                self.add_include(name, value, false)?;
            }
            "_revinclude" | "_revinclude:iterate" | "_revinclude:recurse" => {
                self.add_include(name, value, true)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn add_include(&mut self, name: &str, value: &str, is_reverse: bool) -> Result<(), Problem> {
        // `:recurse` was the modifier's name before R4.
        let include = Include::parse(value, is_reverse, name.contains(':'));
        let include = include.map_err(|why| match why {
            NoInclude::Form => {
                malformed(name, "the form is Type:parameter, Type:parameter:Type or *")
            }
            NoInclude::Type => malformed(name, "there is no such resource type"),
            NoInclude::Parameter => Problem::Ignorable(unsupported(
                name,
                "the type has no reference parameter of this name",
            )),
        })?;
        if !self.includes.contains(&include) {
            self.includes.push(include);
        }
        Ok(())
    }

    /// `_contained` and `_containedType`, which say something together only.
    fn add_contained(&mut self, pairs: &[(String, String)]) -> Result<(), Problem> {
        let said = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted);
        let container = match said("_containedType").map(|(_, value)| value.as_str()) {
            None | Some("container") => true,
            Some("contained") => false,
            Some(_) => return Err(malformed("_containedType", "container or contained is needed")),
        };
        self.contained = match said("_contained").map(|(_, value)| value.as_str()) {
            None | Some("false") => Contained::False,
            Some("true") => Contained::True { container },
            Some("both") => Contained::Both { container },
            Some(_) => return Err(malformed("_contained", "true, false or both is needed")),
        };
        Ok(())
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

/// What one parameter asks of a resource of `resource_type`; `depth` links lead here.
pub(super) fn condition(
    context: &SearchContext<'_>,
    resource_type: &'static str,
    name: &str,
    value: &str,
    depth: usize,
) -> Result<Condition, Problem> {
    if depth > DEPTH_MAX {
        let text = format!("more than {DEPTH_MAX} resources in one chain");
        return Err(Problem::Fatal(Issue::error("too-costly", shown(name), text)));
    }
    match name {
        "_text" => return value::words("_text", value),
        "_content" => return value::words("_content", value),
        "_filter" => return filter::condition(context, resource_type, value, depth),
        "_list" => return list(value),
        _ => {}
    }
    // What is wrong further on is wrong with the whole parameter.
    let whole = |problem| match problem {
        Problem::Ignorable(issue) => {
            Problem::Ignorable(Issue { expression: shown(name).into(), ..issue })
        }
        Problem::Fatal(issue) => Problem::Fatal(Issue { expression: shown(name).into(), ..issue }),
    };
    if let Some(rest) = name.strip_prefix("_has:") {
        return has(context, name, rest, value, depth).map_err(whole);
    }
    if let Some((head, rest)) = name.split_once('.') {
        return chain(context, resource_type, name, (head, rest), value, depth).map_err(whole);
    }
    let (base, modifier) = match name.split_once(':') {
        Some((base, modifier)) => (base, Some(modifier)),
        None => (name, None),
    };
    let parameter = parameter_of(resource_type, base, name)?;
    value::condition(context, resource_type, parameter, name, modifier, value)
}

/// `_list=id` (search.html#list).
fn list(value: &str) -> Result<Condition, Problem> {
    if value.starts_with('$') {
        let what = "lists that a server keeps by itself are not offered";
        return Err(Problem::Ignorable(unsupported("_list", what)));
    }
    let id = value.strip_prefix("List/").unwrap_or(value);
    if !is_id(id) {
        return Err(malformed("_list", "the id of a List is needed"));
    }
    Ok(Condition { param: "_list", test: Test::Link(Link::List(id.to_owned())) })
}

/// `_has:Type:parameter:rest` (search.html#has).
fn has(
    context: &SearchContext<'_>,
    name: &str,
    rest: &str,
    value: &str,
    depth: usize,
) -> Result<Condition, Problem> {
    let mut parts = rest.splitn(3, ':');
    let (Some(kind), Some(parameter), Some(rest)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed(name, "the form is _has:Type:reference-parameter:parameter"));
    };
    let kind = type_code(kind).and_then(type_name);
    let kind =
        kind.ok_or_else(|| Problem::Ignorable(unsupported(name, "no such resource type")))?;
    let parameter = parameter_of(kind, parameter, name)?;
    if parameter.kind != ParameterKind::Reference {
        return Err(malformed(name, "the second part has to be a reference parameter"));
    }
    let mut query = Query::of(kind);
    query.conditions.push(condition(context, kind, rest, value, depth + 1)?);
    let link = Link::Has { parameter: parameter.name, query: Box::new(query) };
    Ok(Condition { param: "_has", test: Test::Link(link) })
}

/// `parameter.rest` and `parameter:Type.rest` (search.html#chaining).
fn chain(
    context: &SearchContext<'_>,
    resource_type: &'static str,
    name: &str,
    (head, rest): (&str, &str),
    value: &str,
    depth: usize,
) -> Result<Condition, Problem> {
    let (base, kind) = match head.split_once(':') {
        Some((base, kind)) => (base, Some(kind)),
        None => (head, None),
    };
    let parameter = parameter_of(resource_type, base, name)?;
    if parameter.kind != ParameterKind::Reference {
        return Err(malformed(name, "only references can be chained"));
    }
    let conditions = chain_to(depth, parameter, name, kind, &mut |kind| {
        condition(context, kind, rest, value, depth + 1)
    })?;
    Ok(Condition { param: parameter.name, test: Test::Link(Link::Chain(conditions)) })
}

/// The searches that a chain leads to, one for each type that `of` can ask.
pub(super) fn chain_to(
    depth: usize,
    parameter: &SearchParameter,
    name: &str,
    kind: Option<&str>,
    of: &mut dyn FnMut(&'static str) -> Result<Condition, Problem>,
) -> Result<Vec<Query>, Problem> {
    let targets: Vec<&'static str> = match kind {
        Some(kind) => {
            let known = type_code(kind).and_then(type_name);
            let fits = known
                .filter(|kind| parameter.targets.is_empty() || parameter.targets.contains(kind));
            vec![fits.ok_or_else(|| malformed(name, "it refers to no resource of this type"))?]
        }
        None => parameter.targets.clone(),
    };
    if kind.is_none() && (targets.is_empty() || targets.len() > TYPES_MAX >> depth) {
        let what = "it may refer to many types: name one, as in `subject:Patient.name`";
        return Err(Problem::Fatal(unsupported(name, what)));
    }
    let mut queries = Vec::new();
    let mut first = None;
    for target in targets {
        match of(target) {
            Ok(condition) => {
                let mut query = Query::of(target);
                query.conditions.push(condition);
                queries.push(query);
            }
            Err(problem) => drop(first.get_or_insert(problem)),
        }
    }
    match first {
        Some(problem) if queries.is_empty() => Err(problem),
        _ => Ok(queries),
    }
}
