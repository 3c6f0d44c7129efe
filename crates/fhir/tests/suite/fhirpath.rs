//! The published FHIRPath test suite for R4 (HL7/FHIRPath, `tests-fhir-r4.xml`).
//!
//! What is expected to fail stands with its reason in `fhirpath-exceptions.txt`.
//! Run by the tests of `holdfast-fhir` and by `cargo xtask corpora`.

use std::collections::HashMap;
use std::path::Path;

use holdfast_base::Timestamp;
use holdfast_fhir::fhirpath::{Environment, Expression, Item, Number};
use holdfast_fhir::{Limits, xml};
use roxmltree::{Document, Node};
use serde_json::Value;

const EXCEPTIONS: &str = include_str!("fhirpath-exceptions.txt");

/// What became of the cases.
#[derive(Debug, Default)]
pub struct Report {
    /// As the suite wants it.
    pub passed: usize,
    /// Not so, and listed: name and reason.
    pub listed: Vec<(&'static str, &'static str)>,
    /// Not so and not listed, or listed and passing.
    pub wrong: Vec<String>,
}

fn exceptions() -> HashMap<&'static str, &'static str> {
    EXCEPTIONS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect()
}

fn inputs(folder: &Path) -> HashMap<String, Value> {
    let mut inputs = HashMap::new();
    for entry in std::fs::read_dir(folder.join("input")).expect("inputs").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("an input");
        let name = entry.file_name().to_string_lossy().into_owned();
        let value = if name.ends_with(".json") {
            serde_json::from_str(&text).expect("JSON")
        } else {
            xml::from_xml(text.as_bytes(), Limits::default()).expect("XML")
        };
        inputs.insert(name, value);
    }
    inputs
}

fn shown(item: &Item<'_>) -> String {
    match item.system() {
        Item::Text(text) => text.into_owned(),
        Item::Temporal(at) => match at.kind() {
            holdfast_fhir::fhirpath::TemporalKind::Time => format!("@T{at}"),
            _ => format!("@{at}"),
        },
        Item::Boolean(value) => value.to_string(),
        Item::Integer(value) => value.to_string(),
        Item::Decimal(value) => value.to_string(),
        Item::Quantity(quantity) => quantity.to_string(),
        other => other.to_value().to_string(),
    }
}

/// `-0.0` is written for zero in places.
fn plain(text: &str) -> String {
    Number::parse(text).map_or_else(|| text.to_owned(), |number| number.to_string())
}

fn is_of(item: &Item<'_>, expected: &str) -> bool {
    let (_, name) = item.type_of();
    name == expected || name.to_lowercase() == expected.to_lowercase()
        // A primitive of the document stands for the System type, too.
        || item.system().type_of().1.to_lowercase() == expected.to_lowercase()
}

/// Why a case fails, if it does.
fn failure(test: Node<'_, '_>, inputs: &HashMap<String, Value>) -> Option<String> {
    let child = |name: &str| test.children().find(|child| child.has_tag_name(name));
    let expression = child("expression").expect("an expression");
    let invalid = expression.attribute("invalid");
    let none = serde_json::json!({"resourceType": "Basic"});
    let input = test.attribute("inputfile").map_or(&none, |name| &inputs[name]);
    let env = Environment {
        now: Some(Timestamp::from_millis(1_764_000_000_000)),
        is_strict: test.attribute("mode") == Some("strict") || invalid == Some("semantic"),
        ..Environment::default()
    };
    let compiled = match Expression::compile(expression.text().unwrap_or_default()) {
        Ok(compiled) => compiled,
        Err(_) if invalid.is_some() => return None,
        Err(error) => return Some(error.to_string()),
    };
    let found = match compiled.evaluate_with(input, None, &env) {
        Ok(found) => found,
        Err(_) if invalid.is_some() => return None,
        Err(error) => return Some(error.to_string()),
    };
    if invalid.is_some() {
        return Some("is evaluated and should not be".into());
    }
    let mut shown: Vec<String> = found.iter().map(shown).collect();
    let outputs: Vec<Node<'_, '_>> =
        test.children().filter(|child| child.has_tag_name("output")).collect();
    let mut expected: Vec<String> =
        outputs.iter().map(|output| plain(output.text().unwrap_or_default())).collect();
    if test.attribute("predicate") == Some("true") {
        shown = vec![(!found.is_empty()).to_string()];
    } else if let Some((item, output)) = found
        .iter()
        .zip(&outputs)
        .find(|(item, output)| output.attribute("type").is_some_and(|kind| !is_of(item, kind)))
    {
        return Some(format!("{:?} is not {:?}", item.type_of(), output.attribute("type")));
    }
    if test.attribute("ordered") == Some("false") {
        shown.sort();
        expected.sort();
    }
    (shown != expected).then(|| format!("{shown:?} instead of {expected:?}"))
}

/// Runs the suite, whose inputs are in `folder`.
pub fn run(suite: &Document<'_>, folder: &Path) -> Report {
    let (inputs, exceptions) = (inputs(folder), exceptions());
    let mut report = Report::default();
    for test in suite.descendants().filter(|node| node.has_tag_name("test")) {
        let name = test.attribute("name").unwrap_or_default();
        match (failure(test, &inputs), exceptions.get_key_value(name)) {
            (None, None) => report.passed += 1,
            (Some(_), Some((name, why))) => report.listed.push((name, why)),
            (None, Some(_)) => report.wrong.push(format!("{name} passes and is listed")),
            (Some(why), None) => report.wrong.push(format!("{name}: {why}")),
        }
    }
    report
}
