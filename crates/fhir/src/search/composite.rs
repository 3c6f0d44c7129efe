//! Composite parameters (search.html#combining): a combination of values is met by
//! one part of a resource, not by several between them.

use super::document::{DocumentTest, Part};
use super::parse::{Problem, SearchContext, malformed, unsupported};
use super::query::{Condition, Test};
use super::value::{self, split};
use crate::definitions;
use crate::definitions::SearchParameter;

/// What a composite parameter is made of.
struct Composite {
    /// Whether the resource itself is a part. It has each component once, so that
    /// both conditions together are the combination.
    whole: bool,
    part: Option<Part>,
    components: &'static [&'static str],
}

/// The composite parameters of R4; components are named as parameters of the part,
/// looked at as a resource.
fn composite(name: &str) -> Option<Composite> {
    let of = |whole, part, components| Some(Composite { whole, part, components });
    let element = |name| Some(Part::Element(name));
    let component = Some(Part::Component);
    match name {
        "code-value-concept" => of(true, None, &["code", "value-concept"]),
        "code-value-date" => of(true, None, &["code", "value-date"]),
        "code-value-quantity" => of(true, None, &["code", "value-quantity"]),
        "code-value-string" => of(true, None, &["code", "value-string"]),
        "component-code-value-concept" => of(false, component, &["code", "value-concept"]),
        "component-code-value-quantity" => of(false, component, &["code", "value-quantity"]),
        "combo-code-value-concept" => of(true, component, &["code", "value-concept"]),
        "combo-code-value-quantity" => of(true, component, &["code", "value-quantity"]),
        "context-type-quantity" => {
            of(false, element("useContext"), &["context-type", "context-quantity"])
        }
        "context-type-value" => of(false, element("useContext"), &["context-type", "context"]),
        "relationship" => of(false, element("relatesTo"), &["relation", "relatesto"]),
        "characteristic-value" => {
            of(false, element("characteristic"), &["characteristic", "value"])
        }
        "chromosome-variant-coordinate" => {
            of(false, element("variant"), &["chromosome", "variant-start", "variant-end"])
        }
        "referenceseqid-variant-coordinate" => {
            of(false, element("variant"), &["referenceseqid", "variant-start", "variant-end"])
        }
        "chromosome-window-coordinate" => {
            of(true, None, &["chromosome", "window-start", "window-end"])
        }
        "referenceseqid-window-coordinate" => {
            of(true, None, &["referenceseqid", "window-start", "window-end"])
        }
        _ => None,
    }
}

/// Whether a composite parameter is answered.
pub(super) fn is_known(name: &str) -> bool {
    composite(name).is_some()
}

pub(super) fn condition(
    context: &SearchContext<'_>,
    resource_type: &'static str,
    parameter: &'static SearchParameter,
    name: &str,
    modifier: Option<&str>,
    value: &str,
) -> Result<Condition, Problem> {
    let Some(composite) = composite(parameter.name) else {
        return Err(Problem::Ignorable(unsupported(name, "not supported")));
    };
    if modifier.is_some() {
        let what = "a composite parameter takes no modifier here";
        return Err(Problem::Fatal(unsupported(name, what)));
    }
    let mut any: Vec<Vec<Condition>> = Vec::new();
    for alternative in split(value, ',') {
        let parts = split(alternative, '$');
        if parts.len() != composite.components.len() {
            return Err(malformed(name, "a value for each component is needed, with $ between"));
        }
        let conditions = composite.components.iter().zip(parts).map(|(component, part)| {
            let parameter = definitions().search_parameter(resource_type, component);
            let parameter =
                parameter.ok_or_else(|| Problem::Ignorable(unsupported(name, "not supported")))?;
            if part.trim().is_empty() {
                return Err(malformed(name, "a value is needed"));
            }
            let wanted = value::parse_value(context, parameter, name, None, part)?;
            Ok(Condition { param: parameter.name, test: Test::Any(vec![wanted]) })
        });
        any.push(conditions.collect::<Result<_, _>>()?);
    }
    let both =
        |all: &Vec<Condition>| Condition { param: parameter.name, test: Test::Both(all.clone()) };
    let mut ways: Vec<Condition> =
        if composite.whole { any.iter().map(both).collect() } else { Vec::new() };
    if let Some(part) = composite.part {
        let test = Test::Document(DocumentTest::Parts { part, any });
        ways.push(Condition { param: parameter.name, test });
    }
    Ok(match ways.len() {
        1 => ways.remove(0),
        _ => Condition { param: parameter.name, test: Test::Either(ways) },
    })
}
