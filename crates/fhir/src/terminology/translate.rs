//! Concept maps (FHIR R4 conceptmap.html, conceptmap-operation-translate.html).

use serde_json::{Value, json};

use super::bare;

/// What is to be translated.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// Codings: system, if told, and code.
    pub codings: Vec<(Option<&'a str>, &'a str)>,
    /// Only maps from this value set.
    pub source: Option<&'a str>,
    /// Only maps to this value set.
    pub target: Option<&'a str>,
    /// Only to codes of this system.
    pub target_system: Option<&'a str>,
    /// From target to source.
    pub reverse: bool,
}

/// One translation.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// Code of value set concept-map-equivalence.
    pub equivalence: String,
    /// The Coding; `None` when the map says that there is none.
    pub concept: Option<Value>,
    /// URL of the map.
    pub source: Option<String>,
}

impl Translation {
    /// Whether it says that the concept has a translation.
    pub fn is_match(&self) -> bool {
        self.concept.is_some() && !matches!(self.equivalence.as_str(), "unmatched" | "disjoint")
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn coding(system: &Value, code: &Value, display: &Value) -> Value {
    let mut coding = json!({});
    for (name, value) in [("system", system), ("code", code), ("display", display)] {
        if value.is_string() {
            coding[name] = value.clone();
        }
    }
    coding
}

/// What `map` says of the codings.
pub fn translate(map: &Value, wanted: &Wanted<'_>) -> Vec<Translation> {
    let (source, target) = match wanted.reverse {
        false => (wanted.source, wanted.target),
        true => (wanted.target, wanted.source),
    };
    let is_for = |asked: Option<&str>, name: &str| {
        let told = map[format!("{name}Canonical")].as_str().or(map[format!("{name}Uri")].as_str());
        asked.is_none_or(|asked| told.is_some_and(|told| bare(told) == bare(asked)))
    };
    if !is_for(source, "source") || !is_for(target, "target") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for group in list(map, "group") {
        let (from, to) = match wanted.reverse {
            false => (&group["source"], &group["target"]),
            true => (&group["target"], &group["source"]),
        };
        if wanted.target_system.is_some_and(|system| to.as_str() != Some(system)) {
            continue;
        }
        for (system, code) in &wanted.codings {
            if system.is_some_and(|system| from.as_str() != Some(bare(system))) {
                continue;
            }
            in_group(map, group, (to, code), wanted.reverse, &mut found);
        }
    }
    found
}

fn in_group(
    map: &Value,
    group: &Value,
    (to, code): (&Value, &str),
    reverse: bool,
    found: &mut Vec<Translation>,
) {
    let source = map["url"].as_str().map(str::to_owned);
    let told = |target: &Value| target["equivalence"].as_str().unwrap_or("equivalent").to_owned();
    let mut is_known = false;
    for element in list(group, "element") {
        for target in list(element, "target") {
            let (own, other) = if reverse { (target, element) } else { (element, target) };
            if own["code"] != *code {
                continue;
            }
            is_known = true;
            let equivalence = if reverse { turned(&told(target)) } else { told(target) };
            let concept =
                other["code"].is_string().then(|| coding(to, &other["code"], &other["display"]));
            found.push(Translation { equivalence, concept, source: source.clone() });
        }
        is_known |= !reverse && element["code"] == *code;
    }
    let unmapped = &group["unmapped"];
    if is_known || reverse || unmapped.is_null() {
        return;
    }
    // conceptmap-definitions.html#ConceptMap.group.unmapped
    let concept = match unmapped["mode"].as_str() {
        Some("provided") => coding(to, &json!(code), &Value::Null),
        Some("fixed") => coding(to, &unmapped["code"], &unmapped["display"]),
        _ => return,
    };
    let equivalence = if unmapped["mode"] == "provided" { "equal" } else { "inexact" };
    found.push(Translation { equivalence: equivalence.into(), concept: Some(concept), source });
}

/// The equivalence seen from the other side.
fn turned(equivalence: &str) -> String {
    let turned = match equivalence {
        "wider" => "narrower",
        "narrower" => "wider",
        "subsumes" => "specializes",
        "specializes" => "subsumes",
        other => other,
    };
    turned.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_followed_both_ways_and_say_what_they_do_not_know() {
        let map = json!({ "resourceType": "ConceptMap", "url": "http://m", "sourceUri": "http://vs",
            "group": [{ "source": "http://a", "target": "http://b",
                "element": [
                    { "code": "x", "target": [{ "code": "1", "display": "One", "equivalence": "wider" }] },
                    { "code": "y", "target": [{ "equivalence": "unmatched" }] }],
                "unmapped": { "mode": "fixed", "code": "0" } }] });
        let told = |system: Option<&'static str>, code: &'static str, reverse, source| {
            let wanted =
                Wanted { codings: vec![(system, code)], reverse, source, ..Wanted::default() };
            let found = translate(&map, &wanted);
            let line = |one: &Translation| {
                let code = one.concept.as_ref().and_then(|c| c["code"].as_str()).unwrap_or("-");
                format!("{} {code} {}", one.equivalence, one.is_match())
            };
            found.iter().map(line).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(told(Some("http://a"), "x", false, None), "wider 1 true");
        assert_eq!(told(None, "x", false, Some("http://vs|2")), "wider 1 true");
        assert_eq!(told(None, "x", false, Some("http://other")), "");
        assert_eq!(told(Some("http://a"), "y", false, None), "unmatched - false");
        assert_eq!(told(Some("http://a"), "z", false, None), "inexact 0 true");
        assert_eq!(told(Some("http://c"), "x", false, None), "");
        assert_eq!(told(Some("http://b"), "1", true, None), "narrower x true");
    }
}
