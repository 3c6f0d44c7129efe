//! What changed between two versions, as a FHIRPath Patch (FHIR R4 fhirpatch.html):
//! applied to the former version it gives the later one.
//!
//! Items of a list are compared from both ends; what lies between is changed item by
//! item, then added or deleted. Lists are not searched for items that moved.

use serde_json::{Map, Value, json};

use crate::definitions;
use crate::schema::{NodeId, Property};

/// Depth to which changes are told apart; below it the whole element is replaced.
const DEPTH_MAX: usize = 24;
/// Datatypes that a parameter can hold (datatypes.html#open) beside the primitives.
const OPEN_TYPES: [&str; 27] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "CodeableConcept",
    "Coding",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Distance",
    "Dosage",
    "Duration",
    "Expression",
    "HumanName",
    "Identifier",
    "Meta",
    "Money",
    "ParameterDefinition",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "RelatedArtifact",
    "SampledData",
];
/// The rest of them.
const MORE_OPEN_TYPES: [&str; 4] = ["Signature", "Timing", "TriggerDefinition", "UsageContext"];

/// The Parameters that turn `from` into `to`. What the server keeps in `meta`
/// (version, time, source) counts only with `with_meta`.
pub fn diff(from: &Value, to: &Value, with_meta: bool) -> Value {
    let mut made = Diff { operations: Vec::new() };
    let kind = to["resourceType"].as_str().unwrap_or_default();
    let trim = |resource: &Value| {
        let mut resource = resource.clone();
        if let (Some(fields), false) = (resource.as_object_mut(), with_meta) {
            let meta = fields.get_mut("meta").and_then(Value::as_object_mut);
            let is_empty = meta.is_some_and(|meta| {
                ["versionId", "lastUpdated", "source"]
                    .iter()
                    .for_each(|n| drop(meta.shift_remove(*n)));
                meta.is_empty()
            });
            if is_empty {
                fields.shift_remove("meta");
            }
        }
        resource
    };
    let (from, to) = (trim(from), trim(to));
    if let (Value::Object(from), Value::Object(to)) = (&from, &to) {
        made.object(kind, from, to, definitions().schema().root(kind), 0);
    }
    let mut parameters = json!({ "resourceType": "Parameters" });
    if !made.operations.is_empty() {
        parameters["parameter"] = Value::Array(made.operations);
    }
    parameters
}

struct Diff {
    operations: Vec<Value>,
}

/// One item: its value, and what stands beside a primitive.
#[derive(PartialEq, Clone, Copy)]
struct Item<'a> {
    value: &'a Value,
    beside: &'a Value,
}

fn items<'a>(fields: &'a Map<String, Value>, name: &str) -> (Vec<Item<'a>>, bool) {
    let (value, beside) = (&fields.get(name), &fields.get(&format!("_{name}")));
    let (value, beside) = (value.unwrap_or(&Value::Null), beside.unwrap_or(&Value::Null));
    let is_list = value.is_array() || beside.is_array();
    if !is_list {
        let nothing = value.is_null() && beside.is_null();
        return (if nothing { Vec::new() } else { vec![Item { value, beside }] }, false);
    }
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let item = |place: usize| Item {
        value: value.get(place).unwrap_or(&Value::Null),
        beside: beside.get(place).unwrap_or(&Value::Null),
    };
    ((0..count(value).max(count(beside))).map(item).collect(), true)
}

fn property(node: Option<NodeId>, name: &str) -> Option<&'static Property> {
    definitions().schema().node(node?).property(name)
}

/// The name in FHIRPath of a JSON property: `value` of `valueQuantity`.
fn path_name(node: Option<NodeId>, name: &str) -> &str {
    let Some((node, property)) = node.and_then(|node| Some((node, property(Some(node), name)?)))
    else {
        return name;
    };
    let element = &definitions().schema().node(node).elements[property.element];
    if element.is_choice() { element.name() } else { name }
}

impl Diff {
    fn object(
        &mut self,
        path: &str,
        from: &Map<String, Value>,
        to: &Map<String, Value>,
        node: Option<NodeId>,
        depth: usize,
    ) {
        let plain = |name: &String| name.strip_prefix('_').unwrap_or(name).to_owned();
        let mut names: Vec<String> = Vec::new();
        for name in from.keys().chain(to.keys()).map(plain) {
            if name != "resourceType" && !names.contains(&name) {
                names.push(name);
            }
        }
        // What goes, goes first: a choice may come back with another type.
        names.sort_by_key(|name| !items(to, name).0.is_empty());
        for name in &names {
            let ((before, was_list), (after, is_list)) = (items(from, name), items(to, name));
            if before == after {
                continue;
            }
            let place = format!("{path}.{}", path_name(node, name));
            let property = property(node, name);
            if was_list || is_list {
                self.list(path, &place, name, (&before, &after), (node, property), depth);
                continue;
            }
            match (before.first(), after.first()) {
                (Some(before), Some(after)) => {
                    self.change(&place, *before, *after, property, depth)
                }
                (Some(_), None) => {
                    self.push("delete", &[("path", json!({ "valueString": place }))])
                }
                (None, Some(after)) => self.add(path, path_name(node, name), *after, property),
                (None, None) => {}
            }
        }
    }

    fn list(
        &mut self,
        parent: &str,
        place: &str,
        name: &str,
        (before, after): (&[Item<'_>], &[Item<'_>]),
        (node, property): (Option<NodeId>, Option<&Property>),
        depth: usize,
    ) {
        let same =
            |a: &[Item<'_>], b: &[Item<'_>]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
        let front = same(before, after);
        let (rest_before, rest_after) = (&before[front..], &after[front..]);
        let back = rest_before
            .iter()
            .rev()
            .zip(rest_after.iter().rev())
            .take_while(|(a, b)| a == b)
            .count();
        let olds = &rest_before[..rest_before.len() - back];
        let news = &rest_after[..rest_after.len() - back];
        for (offset, (old, new)) in olds.iter().zip(news).enumerate() {
            self.change(&format!("{place}[{}]", front + offset), *old, *new, property, depth);
        }
        for offset in (news.len()..olds.len()).rev() {
            let path = format!("{place}[{}]", front + offset);
            self.push("delete", &[("path", json!({ "valueString": path }))]);
        }
        for (offset, new) in news.iter().enumerate().skip(olds.len()) {
            if back == 0 {
                self.add(parent, path_name(node, name), *new, property);
            } else {
                let value = value_part("value", *new, property);
                self.operations.push(operation(
                    "insert",
                    vec![
                        part("path", json!({ "valueString": place })),
                        value,
                        part("index", json!({ "valueInteger": front + offset })),
                    ],
                ));
            }
        }
    }

    fn change(
        &mut self,
        path: &str,
        before: Item<'_>,
        after: Item<'_>,
        property: Option<&Property>,
        depth: usize,
    ) {
        let is_narrative = property.is_some_and(|property| property.type_code == "Narrative");
        if let (Value::Object(from), Value::Object(to)) = (before.value, after.value)
            && depth < DEPTH_MAX
            && from.get("resourceType") == to.get("resourceType")
            && !is_narrative
        {
            let node = match to.get("resourceType").and_then(Value::as_str) {
                Some(kind) => definitions().schema().root(kind),
                None => property.and_then(|property| property.node),
            };
            return self.object(path, from, to, node, depth + 1);
        }
        let path = part("path", json!({ "valueString": path }));
        let value = value_part("value", after, property);
        self.operations.push(operation("replace", vec![path, value]));
    }

    fn add(&mut self, parent: &str, name: &str, item: Item<'_>, property: Option<&Property>) {
        let value = value_part("value", item, property);
        self.operations.push(operation(
            "add",
            vec![
                part("path", json!({ "valueString": parent })),
                part("name", json!({ "valueString": name })),
                value,
            ],
        ));
    }

    fn push(&mut self, kind: &str, parts: &[(&str, Value)]) {
        let parts = parts.iter().map(|(name, value)| part(name, value.clone())).collect();
        self.operations.push(operation(kind, parts));
    }
}

fn operation(kind: &str, mut parts: Vec<Value>) -> Value {
    parts.insert(0, part("type", json!({ "valueCode": kind })));
    json!({ "name": "operation", "part": parts })
}

fn part(name: &str, value: Value) -> Value {
    let mut part = Map::new();
    part.insert("name".into(), json!(name));
    if let Value::Object(fields) = value {
        part.extend(fields);
    }
    Value::Object(part)
}

/// A value as a part: a datatype as `value[x]`, a resource as itself, anything that
/// has no name of its own as parts, one an element (fhirpatch.html#concept).
fn value_part(name: &str, item: Item<'_>, property: Option<&Property>) -> Value {
    if item.value.get("resourceType").is_some() {
        return part(name, json!({ "resource": item.value }));
    }
    let type_code = property.map_or_else(|| guessed(item.value), |property| property.type_code);
    if let Value::Object(fields) = item.value
        && !OPEN_TYPES.contains(&type_code)
        && !MORE_OPEN_TYPES.contains(&type_code)
    {
        let node = property.and_then(|property| property.node);
        let mut parts = Vec::new();
        for name in fields.keys().filter(|name| !name.starts_with('_')) {
            let inner = self::property(node, name);
            let (items, _) = items(fields, name);
            parts.extend(
                items.into_iter().map(|item| value_part(path_name(node, name), item, inner)),
            );
        }
        return part(name, json!({ "part": parts }));
    }
    let type_code = match type_code {
        // There is no valueXhtml; System.String is what ids are made of.
        "xhtml" | "http://hl7.org/fhirpath/System.String" => "string",
        "SimpleQuantity" | "MoneyQuantity" => "Quantity",
        other => other,
    };
    let mut letters = type_code.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let suffix: String = first.into_iter().chain(letters).collect();
    let mut fields = Map::new();
    if !item.value.is_null() {
        fields.insert(format!("value{suffix}"), item.value.clone());
    }
    if !item.beside.is_null() {
        fields.insert(format!("_value{suffix}"), item.beside.clone());
    }
    part(name, Value::Object(fields))
}

/// The type of what no definition describes.
fn guessed(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "decimal",
        Value::Object(_) => "Element",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each operation as one line.
    fn told(from: Value, to: Value) -> Vec<String> {
        let patch = diff(&from, &to, false);
        assert_eq!(crate::validate(&patch), [], "{patch}");
        let empty = Vec::new();
        let operations = patch["parameter"].as_array().unwrap_or(&empty);
        let line = |operation: &Value| {
            let parts = operation["part"].as_array().expect("parts").iter();
            let said = parts.map(|part| {
                let fields = part.as_object().expect("a part");
                let (name, value) =
                    fields.iter().find(|(name, _)| *name != "name").expect("a value");
                match value.as_str() {
                    Some(text) => text.to_owned(),
                    None => format!("{name}={value}"),
                }
            });
            said.collect::<Vec<_>>().join(" ")
        };
        operations.iter().map(line).collect()
    }

    fn patient(fields: Value) -> Value {
        let mut patient = json!({ "resourceType": "Patient", "id": "1" });
        patient.as_object_mut().expect("one").extend(fields.as_object().expect("fields").clone());
        patient
    }

    fn check(from: Value, to: Value, expected: &[&str]) {
        assert_eq!(told(patient(from), patient(to)), expected);
    }

    #[test]
    fn a_change_is_told_at_its_own_place() {
        check(json!({}), json!({}), &[]);
        check(
            json!({ "meta": { "versionId": "1" }, "gender": "male" }),
            json!({ "meta": { "versionId": "2" }, "gender": "female" }),
            &["replace Patient.gender female"],
        );
        check(json!({ "active": true }), json!({}), &["delete Patient.active"]);
        check(
            json!({}),
            json!({ "birthDate": "2015-01-01" }),
            &["add Patient birthDate 2015-01-01"],
        );
        check(
            json!({ "deceasedBoolean": true }),
            json!({ "deceasedDateTime": "2015" }),
            &["delete Patient.deceased", "add Patient deceased 2015"],
        );
    }

    #[test]
    fn items_of_a_list_are_changed_inserted_and_deleted_in_their_order() {
        let names = |families: &[&str]| {
            let name = |family: &&str| json!({ "family": family });
            json!({ "name": families.iter().map(name).collect::<Vec<_>>() })
        };
        check(names(&["a", "b"]), names(&["a", "c"]), &["replace Patient.name[1].family c"]);
        check(
            names(&["a", "b", "c"]),
            names(&["a"]),
            &["delete Patient.name[2]", "delete Patient.name[1]"],
        );
        check(
            names(&["a", "c"]),
            names(&["a", "b", "c"]),
            &["insert Patient.name valueHumanName={\"family\":\"b\"} valueInteger=1"],
        );
        check(
            names(&["a"]),
            names(&["a", "b"]),
            &["add Patient name valueHumanName={\"family\":\"b\"}"],
        );
    }

    #[test]
    fn elements_without_a_datatype_are_parts() {
        check(
            json!({}),
            json!({ "contact": [{ "gender": "male", "name": { "family": "x" } }] }),
            &[
                "add Patient contact part=[{\"name\":\"gender\",\"valueCode\":\"male\"},{\"name\":\"name\",\"valueHumanName\":{\"family\":\"x\"}}]",
            ],
        );
    }
}
