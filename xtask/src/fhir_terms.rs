//! `terminology.jsonl`: the code systems and value sets of the core package with what
//! the terminology operations tell of them, one a line; definitions, dates and the
//! narrative are left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Properties of concepts that the operations look at.
const PROPERTIES: [&str; 5] = ["deprecated", "inactive", "notSelectable", "status", "subsumedBy"];

/// The table.
pub fn library(
    code_systems: &BTreeMap<String, Value>,
    value_sets: &BTreeMap<String, Value>,
) -> String {
    let mut table = String::new();
    for resource in code_systems.values().chain(value_sets.values()) {
        let mut slim = keep(resource, &["resourceType", "url", "version", "name", "content"]);
        if resource["caseSensitive"] == true {
            slim.insert("caseSensitive".into(), true.into());
        }
        let concepts = concepts(&resource["concept"]);
        if !concepts.is_empty() && resource["content"] == "complete" {
            slim.insert("concept".into(), concepts.into());
        }
        let mut compose = Map::new();
        for name in ["include", "exclude"] {
            let parts = resource["compose"][name].as_array().into_iter().flatten();
            let parts: Vec<Value> = parts.map(part).collect();
            if !parts.is_empty() {
                compose.insert(name.into(), parts.into());
            }
        }
        if !compose.is_empty() {
            slim.insert("compose".into(), compose.into());
        }
        if slim.contains_key("concept") || slim.contains_key("compose") {
            table += &(Value::Object(slim).to_string() + "\n");
        }
    }
    table
}

fn keep(value: &Value, names: &[&str]) -> Map<String, Value> {
    let known = names.iter().filter(|name| !value[**name].is_null());
    known.map(|name| ((*name).to_owned(), value[*name].clone())).collect()
}

fn concepts(list: &Value) -> Vec<Value> {
    let slim = |concept: &Value| {
        let mut slim = keep(concept, &["code", "display"]);
        let properties = concept["property"].as_array().into_iter().flatten();
        let known = |property: &&Value| {
            property["code"].as_str().is_some_and(|code| PROPERTIES.contains(&code))
        };
        let properties: Vec<Value> = properties.filter(known).cloned().collect();
        if !properties.is_empty() {
            slim.insert("property".into(), properties.into());
        }
        let inner = concepts(&concept["concept"]);
        if !inner.is_empty() {
            slim.insert("concept".into(), inner.into());
        }
        Value::Object(slim)
    };
    list.as_array().into_iter().flatten().map(slim).collect()
}

fn part(part: &Value) -> Value {
    let mut slim = keep(part, &["system", "version", "valueSet", "filter"]);
    let listed = part["concept"].as_array().into_iter().flatten();
    let listed: Vec<Value> =
        listed.map(|concept| Value::Object(keep(concept, &["code", "display"]))).collect();
    if !listed.is_empty() {
        slim.insert("concept".into(), listed.into());
    }
    Value::Object(slim)
}
