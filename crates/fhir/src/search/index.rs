//! Resource to index entries: each supported parameter's expression, and each
//! value in the form of search.html's table for its kind.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::decimal::Decimal;
use super::entry::{IndexEntry, IndexValue};
use super::normal::normalise;
use super::span::Span;
use crate::definitions;
use crate::definitions::{ParameterKind, SearchParameter};
use crate::fhirpath::{Expression, Item, Node};
use crate::reference::parse_reference;
use crate::type_code::type_code;

type Compiled = Vec<(&'static SearchParameter, Expression)>;

/// Whether searches by this parameter are answered. `_id` and `_lastUpdated`
/// are, from the row's own columns.
pub(crate) fn is_supported(parameter: &SearchParameter) -> bool {
    !parameter.expression.is_empty()
        && parameter.usage == "normal"
        && !matches!(parameter.kind, ParameterKind::Composite | ParameterKind::Special)
}

fn compiled(resource_type: &str) -> &'static Compiled {
    static TABLE: OnceLock<HashMap<&'static str, OnceLock<Compiled>>> = OnceLock::new();
    static NONE: Compiled = Vec::new();
    let table = TABLE.get_or_init(|| {
        definitions().resource_types().iter().map(|name| (*name, OnceLock::new())).collect()
    });
    let Some(slot) = table.get(resource_type) else { return &NONE };
    slot.get_or_init(|| {
        definitions()
            .search_parameters(resource_type)
            .iter()
            .filter(|parameter| is_supported(parameter))
            .filter(|parameter| !matches!(parameter.name, "_id" | "_lastUpdated"))
            .filter_map(|parameter| {
                let expression = Expression::compile(parameter.expression).ok()?;
                Some((parameter, expression.specialised(resource_type)))
            })
            .collect()
    })
}

/// The index entries of `resource`; none when its type is not known. Values
/// that are malformed are left out: validation is what reports them.
pub fn index(resource: &Value) -> Vec<IndexEntry> {
    let name = resource["resourceType"].as_str().unwrap_or_default();
    let mut entries: Vec<IndexEntry> = Vec::new();
    for (parameter, expression) in compiled(name) {
        let first = entries.len();
        let mut add = |value: IndexValue| {
            let entry = IndexEntry { param: parameter.name, value };
            if !entries[first..].contains(&entry) {
                entries.push(entry);
            }
        };
        for item in expression.evaluate(resource) {
            match item {
                Item::Node(node) => add_values(parameter.kind, &node, &mut add),
                Item::Boolean(value) => add(token(None, if value { "true" } else { "false" })),
                _ => {}
            }
        }
    }
    entries
}

fn add_values(kind: ParameterKind, node: &Node<'_>, add: &mut dyn FnMut(IndexValue)) {
    match kind {
        ParameterKind::Token => add_tokens(node, add),
        ParameterKind::String => add_strings(node, add),
        ParameterKind::Date => {
            let span = match node.type_code {
                "Period" => Span::of_period(node.value),
                "Timing" => Span::of_timing(node.value),
                _ => node.value.as_str().and_then(Span::parse),
            };
            span.into_iter().for_each(|span| add(IndexValue::Date(span)));
        }
        ParameterKind::Number => {
            decimal(node.value).into_iter().for_each(|number| add(IndexValue::Number(number)));
        }
        ParameterKind::Quantity => quantity(node).into_iter().for_each(add),
        ParameterKind::Reference => add_references(node, add),
        ParameterKind::Uri => {
            text(node.value).into_iter().for_each(|uri| add(IndexValue::Uri(uri.to_owned())));
        }
        ParameterKind::Composite | ParameterKind::Special => {}
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => Decimal::parse(&number.to_string()),
        _ => None,
    }
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[name].as_array().into_iter().flatten()
}

fn owned(value: &Value) -> Option<String> {
    text(value).map(str::to_owned)
}

pub(super) fn fold_code(code: &str) -> String {
    code.to_lowercase()
}

fn token(system: Option<&str>, code: &str) -> IndexValue {
    IndexValue::Token { system: system.map(str::to_owned), code: fold_code(code) }
}

fn add_tokens(node: &Node<'_>, add: &mut dyn FnMut(IndexValue)) {
    let value = node.value;
    let add_text = |words: &Value, add: &mut dyn FnMut(IndexValue)| {
        text(words).into_iter().for_each(|words| add(IndexValue::TokenText(normalise(words))));
    };
    let coding = |coding: &Value, add: &mut dyn FnMut(IndexValue)| {
        let (system, code) = (owned(&coding["system"]), text(&coding["code"]));
        if system.is_some() || code.is_some() {
            add(IndexValue::Token { system, code: fold_code(code.unwrap_or_default()) });
        }
    };
    match node.type_code {
        "CodeableConcept" => {
            for inner in items(value, "coding") {
                coding(inner, add);
                add_text(&inner["display"], add);
            }
            add_text(&value["text"], add);
        }
        "Coding" => {
            coding(value, add);
            add_text(&value["display"], add);
        }
        "Identifier" => {
            let (system, code) = (owned(&value["system"]), text(&value["value"]));
            if system.is_some() || code.is_some() {
                add(IndexValue::Token { system, code: fold_code(code.unwrap_or_default()) });
            }
            add_text(&value["type"]["text"], add);
        }
        "ContactPoint" => {
            text(&value["value"]).into_iter().for_each(|code| add(token(None, code)));
        }
        _ => match value {
            Value::Bool(flag) => add(token(None, if *flag { "true" } else { "false" })),
            Value::String(code) if !code.is_empty() => {
                let set = definitions().value_set(node.value_set);
                add(token(set.and_then(|set| set.system_of(code)), code));
            }
            Value::Number(number) => add(token(None, &number.to_string())),
            _ => {}
        },
    }
}

/// The parts of a HumanName and an Address that a string search looks at.
const NAME_PARTS: [&str; 5] = ["family", "given", "prefix", "suffix", "text"];
const ADDRESS_PARTS: [&str; 7] =
    ["line", "city", "district", "state", "country", "postalCode", "text"];

fn add_strings(node: &Node<'_>, add: &mut dyn FnMut(IndexValue)) {
    let mut push = |words: &Value| {
        if let Some(words) = text(words) {
            let folded = normalise(words);
            let exact = (folded != words).then(|| words.to_owned());
            add(IndexValue::String { folded, exact });
        }
    };
    let parts: &[&str] = match node.type_code {
        "HumanName" => &NAME_PARTS,
        "Address" => &ADDRESS_PARTS,
        _ => return push(node.value),
    };
    for part in parts {
        match &node.value[*part] {
            Value::Array(list) => list.iter().for_each(&mut push),
            single => push(single),
        }
    }
}

fn quantity(node: &Node<'_>) -> Option<IndexValue> {
    let value = node.value;
    let make = |low, high, open, unit: &Value| IndexValue::Quantity {
        low,
        high,
        open,
        system: owned(&unit["system"]),
        code: owned(&unit["code"]),
        unit: owned(&unit["unit"]).filter(|name| unit["code"] != **name),
    };
    match node.type_code {
        "Money" => Some(IndexValue::Quantity {
            low: Some(decimal(&value["value"])?),
            high: decimal(&value["value"]),
            open: false,
            system: Some("urn:iso:std:iso:4217".to_owned()),
            code: owned(&value["currency"]),
            unit: None,
        }),
        "Range" => {
            let (low, high) = (decimal(&value["low"]["value"]), decimal(&value["high"]["value"]));
            let unit = if low.is_some() { &value["low"] } else { &value["high"] };
            (low.is_some() || high.is_some()).then(|| make(low, high, false, unit))
        }
        "SampledData" => {
            let one = Decimal::parse("1")?;
            let factor = decimal(&value["factor"]).unwrap_or(one);
            let origin = decimal(&value["origin"]["value"])?;
            let words = value["data"].as_str()?.split_whitespace();
            let samples: Vec<Decimal> = words
                .filter_map(Decimal::parse)
                .filter_map(|sample| sample.scaled(factor, origin))
                .collect();
            let (low, high) = (samples.iter().min().copied()?, samples.iter().max().copied()?);
            Some(make(Some(low), Some(high), false, &value["origin"]))
        }
        _ => {
            let number = decimal(&value["value"])?;
            let (low, high, open) = match value["comparator"].as_str() {
                Some("<") => (None, Some(number), true),
                Some("<=") => (None, Some(number), false),
                Some(">") => (Some(number), None, true),
                Some(">=") => (Some(number), None, false),
                _ => (Some(number), Some(number), false),
            };
            Some(make(low, high, open, value))
        }
    }
}

/// The value of a literal reference; `None` for one that stays inside the resource.
pub(super) fn reference_value(reference: &str) -> Option<IndexValue> {
    if reference.is_empty() || reference.starts_with('#') {
        return None;
    }
    let Some(parts) = parse_reference(reference) else {
        return Some(IndexValue::ReferenceUrl(reference.to_owned()));
    };
    let base = (!parts.base.is_empty()).then(|| parts.base.to_owned());
    Some(IndexValue::Reference {
        target: type_code(parts.resource_type)?,
        id: parts.id.to_owned(),
        base,
    })
}

fn add_references(node: &Node<'_>, add: &mut dyn FnMut(IndexValue)) {
    let Some(target) = node.value.as_str() else {
        // A Bundle's composition and message are the resource itself, by its id.
        let own = |value: &Value| {
            IndexValue::reference(value["resourceType"].as_str()?, value["id"].as_str()?)
        };
        let literal = node.value["reference"].as_str().and_then(reference_value);
        literal.or_else(|| own(node.value)).into_iter().for_each(&mut *add);
        if let Some(value) = text(&node.value["identifier"]["value"]) {
            let system = owned(&node.value["identifier"]["system"]);
            add(IndexValue::ReferenceIdentifier { system, value: fold_code(value) });
        }
        return;
    };
    // A canonical: the URL is kept as it stands, version included.
    add(IndexValue::ReferenceUrl(target.to_owned()));
}
