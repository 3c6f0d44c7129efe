//! Conditions that index entries cannot answer, and the resource itself can: its
//! words, combinations within one part of it, types of identifiers, distances.

use std::sync::Arc;

use holdfast_base::Timestamp;
use serde_json::{Map, Value};

use super::index::index;
use super::normal::normalise;
use super::query::{Condition, Row};
use crate::fhirpath::{Expression, Item};

/// A test on a resource.
#[derive(Clone)]
pub(super) enum DocumentTest {
    /// `_text` and `_content`: one of these lists of phrases is there in full.
    Words { narrative_only: bool, any: Vec<Vec<String>> },
    /// A composite parameter: one part meets all conditions of one of these lists.
    Parts { part: Part, any: Vec<Vec<Condition>> },
    /// One of the parameter's values passes one of these tests.
    Values { expression: Arc<Expression>, any: Vec<ValueTest> },
    /// `near` of Location.
    Near(Vec<Circle>),
}

/// A test on one value in a resource.
#[derive(Clone)]
pub(super) enum ValueTest {
    /// An Identifier whose type has this coding, with this value (`:of-type`).
    OfType { system: String, code: String, value: String },
    /// A Reference whose display begins so, normalised (`:text`).
    Display(String),
}

/// What a composite parameter combines within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A component of an Observation, looked at as an Observation.
    Component,
    /// An element of a list, in a resource that has no other in that list.
    Element(&'static str),
}

/// A place and how far around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circle {
    pub latitude: f64,
    pub longitude: f64,
    pub radius_km: f64,
}

impl DocumentTest {
    pub fn is_met_by(&self, resource: &Value) -> bool {
        match self {
            Self::Words { narrative_only, any } => {
                let text = words_of(resource, *narrative_only);
                any.iter().any(|all| all.iter().all(|phrase| has_phrase(&text, phrase)))
            }
            Self::Parts { part, any } => part.of(resource).iter().any(|alone| {
                let entries = index(alone);
                let row = Row { id: "", last_updated: Timestamp::MIN, entries: &entries };
                let holds = |condition: &Condition| condition.holds(&row, Some(alone));
                any.iter().any(|all| all.iter().all(|condition| holds(condition) == Some(true)))
            }),
            Self::Values { expression, any } => expression.evaluate(resource).iter().any(|item| {
                let Item::Node(node) = item else { return false };
                any.iter().any(|test| test.is_met_by(node.value))
            }),
            Self::Near(any) => {
                let position = &resource["position"];
                let degrees = |name: &str| position[name].to_string().parse::<f64>().ok();
                match (degrees("latitude"), degrees("longitude")) {
                    (Some(latitude), Some(longitude)) => any
                        .iter()
                        .any(|circle| circle.distance_km(latitude, longitude) <= circle.radius_km),
                    _ => false,
                }
            }
        }
    }
}

impl ValueTest {
    fn is_met_by(&self, value: &Value) -> bool {
        match self {
            Self::OfType { system, code, value: wanted } => {
                let mut codings = value["type"]["coding"].as_array().into_iter().flatten();
                let typed = codings.any(|c| c["system"] == **system && c["code"] == **code);
                let same = |found: &str| found.eq_ignore_ascii_case(wanted);
                typed && value["value"].as_str().is_some_and(same)
            }
            Self::Display(text) => {
                let display = value["display"].as_str().map(normalise);
                display.is_some_and(|display| display.starts_with(text.as_str()))
            }
        }
    }
}

impl Part {
    /// The resource once for each part, with that part alone.
    fn of(self, resource: &Value) -> Vec<Value> {
        let list = match self {
            Self::Component => "component",
            Self::Element(name) => name,
        };
        let parts = resource[list].as_array().into_iter().flatten();
        let alone = |part: &Value| {
            let mut fields = Map::new();
            fields.insert("resourceType".into(), resource["resourceType"].clone());
            match (self, part) {
                (Self::Component, Value::Object(own)) => {
                    let shared = own.iter().filter(|(name, _)| {
                        name.as_str() == "code" || name.trim_start_matches('_').starts_with("value")
                    });
                    fields.extend(shared.map(|(name, value)| (name.clone(), value.clone())));
                }
                _ => {
                    // What the other components of a sequence's parameters look at.
                    if let Some(shared) = resource.get("referenceSeq") {
                        fields.insert("referenceSeq".into(), shared.clone());
                    }
                    fields.insert(list.into(), Value::Array(vec![part.clone()]));
                }
            }
            Value::Object(fields)
        };
        parts.map(alone).collect()
    }
}

impl Circle {
    /// Along the surface, by the haversine formula.
    fn distance_km(&self, latitude: f64, longitude: f64) -> f64 {
        const EARTH_KM: f64 = 6371.0;
        let (from, to) = (self.latitude.to_radians(), latitude.to_radians());
        let half = |a: f64, b: f64| ((b - a) / 2.0).sin().powi(2);
        let around = half(self.longitude.to_radians(), longitude.to_radians());
        let chord = half(from, to) + from.cos() * to.cos() * around;
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    }
}

/// The words that a search asks for: what stands in quotes together, everything
/// else word by word; normalised.
pub(super) fn phrases(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (place, part) in text.split('"').enumerate() {
        if place % 2 == 1 {
            found.push(plain(part));
        } else {
            found.extend(part.split_whitespace().map(plain));
        }
    }
    found.retain(|phrase| !phrase.is_empty());
    found
}

/// Normalised, with single blanks in place of everything that is no letter or digit.
fn plain(text: &str) -> String {
    let folded = normalise(text);
    let words: Vec<&str> =
        folded.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// Whether `text` (blanks around it) has the phrase, its last word possibly longer.
fn has_phrase(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| text[..at].ends_with(' '))
}

/// The words of a resource: of its narrative, or of it and of every text in it.
fn words_of(resource: &Value, narrative_only: bool) -> String {
    let mut text = String::from(" ");
    let div = resource["text"]["div"].as_str().map(without_tags).unwrap_or_default();
    text.push_str(&plain(&div));
    text.push(' ');
    if !narrative_only {
        collect(resource, &mut text);
    }
    text
}

fn collect(value: &Value, text: &mut String) {
    match value {
        Value::String(words) => {
            text.push_str(&plain(words));
            text.push(' ');
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, text)),
        Value::Object(fields) => {
            let told = fields.iter().filter(|(name, _)| *name != "div" && *name != "data");
            told.for_each(|(_, field)| collect(field, text));
        }
        _ => {}
    }
}

/// The text of XHTML.
fn without_tags(xhtml: &str) -> String {
    let mut text = String::with_capacity(xhtml.len());
    let mut rest = xhtml;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        text.push(' ');
        rest = rest[at..].find('>').map_or("", |end| &rest[at + end + 1..]);
    }
    text.push_str(rest);
    for (entity, letter) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")] {
        text = text.replace(entity, letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_found_in_the_narrative_and_in_every_text() {
        let resource = json!({"resourceType": "Condition",
            "text": {"div": "<div>Acute <b>bronchitis</b> &amp; cough</div>"},
            "code": {"text": "Bronchitis, acute"}, "note": [{"text": "Smoker since 1990"}]});
        let check = |words: &str, narrative_only, expected| {
            let any = vec![phrases(words)];
            let test = DocumentTest::Words { narrative_only, any };
            assert_eq!(test.is_met_by(&resource), expected, "{words}");
        };
        check("bronchitis acute", true, true);
        check("\"acute bronchitis\"", true, true);
        check("\"bronchitis acute\"", true, false);
        check("\"bronchitis acute\"", false, true);
        check("bronch", true, true);
        check("onchitis", true, false);
        check("smoker", true, false);
        check("SMOKER 1990", false, true);
    }

    #[test]
    fn a_distance_is_along_the_surface() {
        let berlin = Circle { latitude: 52.52, longitude: 13.405, radius_km: 0.0 };
        let paris = berlin.distance_km(48.8566, 2.3522);
        assert!((paris - 878.0).abs() < 2.0, "{paris}");
    }
}
