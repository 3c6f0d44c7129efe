//! The tables of `fhir-defs` that say what a document must keep to beyond its
//! structure: invariants, profiles and extensions of the core package, and the
//! code systems and value sets that its bindings name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::fhir_defs::{items, last_segment, text};

/// What only people read, or what other tables say already.
const LEFT_OUT: &[&str] = &[
    "alias",
    "base",
    "code",
    "comment",
    "condition",
    "definition",
    "example",
    "isModifier",
    "isModifierReason",
    "isSummary",
    "label",
    "mapping",
    "meaningWhenMissing",
    "mustSupport",
    "orderMeaning",
    "requirements",
    "short",
];

/// `invariants.tsv`: path of the element that introduces it (`Timing.repeat`), key,
/// `e`rror or `w`arning, expression, what it means.
pub fn invariants<'a>(structures: impl Iterator<Item = &'a Value>) -> String {
    let structures: BTreeMap<&str, &Value> =
        structures.map(|structure| (text(structure, "type"), structure)).collect();
    let of_root = |name: &str| -> BTreeSet<&str> {
        let root = structures.get(name).and_then(|it| items(&it["snapshot"], "element").next());
        root.into_iter().flat_map(keys).collect()
    };
    let mut table = String::new();
    for (name, structure) in &structures {
        let base = of_root(last_segment(text(structure, "baseDefinition")));
        for element in items(&structure["snapshot"], "element") {
            let path = text(element, "path");
            // Those of its types are told with the types.
            let mut told: BTreeSet<&str> =
                if path == *name { base.clone() } else { of_root("Element") };
            if path != *name {
                let types = items(element, "type").flat_map(|entry| of_root(text(entry, "code")));
                told.extend(types);
                told.extend(of_root("Extension").iter().filter(|_| path.ends_with("xtension")));
            }
            for rule in
                items(element, "constraint").filter(|rule| !told.contains(text(rule, "key")))
            {
                if text(rule, "expression").is_empty() {
                    continue;
                }
                let fields = [
                    path,
                    text(rule, "key"),
                    if text(rule, "severity") == "error" { "e" } else { "w" },
                    text(rule, "expression"),
                    text(rule, "human"),
                ];
                let line = fields.map(|field| field.replace(['\r', '\n', '\t'], " "));
                table += &(line.join("\t") + "\n");
            }
        }
    }
    table
}

fn keys(element: &Value) -> impl Iterator<Item = &str> {
    items(element, "constraint").map(|rule| text(rule, "key"))
}

/// `profiles.jsonl`: the differentials of the core package's profiles and extensions,
/// one StructureDefinition a line.
pub fn profiles<'a>(structures: impl Iterator<Item = &'a Value>) -> String {
    let mut table = String::new();
    for structure in structures.filter(|it| text(it, "derivation") == "constraint") {
        let mut slim = Map::new();
        slim.insert("resourceType".into(), json!("StructureDefinition"));
        for name in [
            "url",
            "version",
            "name",
            "kind",
            "abstract",
            "context",
            "contextInvariant",
            "type",
            "baseDefinition",
            "derivation",
        ] {
            if !structure[name].is_null() {
                slim.insert(name.into(), structure[name].clone());
            }
        }
        let elements: Vec<Value> =
            items(&structure["differential"], "element").map(slim_element).collect();
        slim.insert("differential".into(), json!({ "element": elements }));
        table += &(Value::Object(slim).to_string() + "\n");
    }
    table
}

fn slim_element(element: &Value) -> Value {
    let mut slim = element.clone();
    let Some(fields) = slim.as_object_mut() else { return slim };
    fields.retain(|name, _| !LEFT_OUT.contains(&name.as_str()));
    let rules = fields.get_mut("constraint").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        rule.retain(|name, _| matches!(name.as_str(), "key" | "severity" | "human" | "expression"));
    }
    if let Some(binding) = fields.get_mut("binding").and_then(Value::as_object_mut) {
        binding.retain(|name, _| matches!(name.as_str(), "strength" | "valueSet"));
    }
    slim
}

/// `terms.tsv`: `C` url, then a code a line, as many spaces before it as it has
/// ancestors; `V` url, rules of the value set in JSON.
pub fn terms(
    code_systems: &BTreeMap<String, Value>,
    value_sets: &BTreeMap<String, Value>,
) -> String {
    let mut table = String::new();
    for (url, system) in code_systems {
        let known =
            items(system, "concept").next().is_some() && text(system, "content") == "complete";
        if known {
            table += &format!("C\t{url}\n");
            codes(system, 0, &mut table);
        }
    }
    for (url, set) in value_sets {
        let mut rules = Map::new();
        for name in ["include", "exclude"] {
            let parts: Vec<Value> = items(&set["compose"], name).map(part).collect();
            if !parts.is_empty() {
                rules.insert(name.into(), parts.into());
            }
        }
        if !rules.is_empty() {
            table += &format!("V\t{url}\t{}\n", Value::Object(rules));
        }
    }
    table
}

fn codes(concept: &Value, depth: usize, table: &mut String) {
    for inner in items(concept, "concept") {
        *table += &format!("{}{}\n", " ".repeat(depth), text(inner, "code"));
        codes(inner, depth + 1, table);
    }
}

fn part(part: &Value) -> Value {
    let mut slim = Map::new();
    for name in ["system", "valueSet", "filter"] {
        if !part[name].is_null() {
            slim.insert(name.into(), part[name].clone());
        }
    }
    let codes: Vec<Value> =
        items(part, "concept").map(|concept| json!({"code": concept["code"]})).collect();
    if !codes.is_empty() {
        slim.insert("concept".into(), codes.into());
    }
    Value::Object(slim)
}
