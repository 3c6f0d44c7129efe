//! FHIRPath Patch (FHIR R4 fhirpatch.html): operations in Parameters, each at a place
//! that a FHIRPath expression finds.

use serde_json::{Map, Value};

use super::place::{
    Content, Path, Step, get, get_mut, insert, named, path_of, prune, schema_at, take,
};
use super::{OPERATIONS_MAX, PatchError};
use crate::fhirpath::{Environment, Expression, Item};
use crate::schema;

/// Nested parts of one value.
const PARTS_DEPTH_MAX: usize = 32;
/// Operations of one patch: each looks through the whole resource.
const PATHS_MAX: usize = OPERATIONS_MAX / 10;

/// What became of one operation.
type Outcome<T> = Result<T, &'static str>;

/// Applies the operations of `patch`, a Parameters resource, to `resource` in order.
///
/// # Errors
/// [`PatchError`] names the operation that is none, or that does not apply.
pub fn fhirpath_patch(resource: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = patch["parameter"].as_array().map(Vec::as_slice).unwrap_or_default();
    if operations.len() > PATHS_MAX {
        let text = "a FHIRPath Patch has at most 1,000 operations";
        return Err(PatchError::new("Parameters.parameter", text));
    }
    let mut patched = resource.clone();
    for (number, operation) in operations.iter().enumerate() {
        apply(&mut patched, operation)
            .map_err(|text| PatchError::new(format!("Parameters.parameter[{number}]"), text))?;
    }
    Ok(patched)
}

/// A part of an operation by its name.
fn part<'a>(operation: &'a Value, name: &str) -> Option<&'a Value> {
    operation["part"].as_array()?.iter().find(|part| part["name"] == name)
}

fn text<'a>(operation: &'a Value, name: &str) -> Option<&'a str> {
    let part = part(operation, name)?;
    ["valueString", "valueCode"].iter().find_map(|kind| part[*kind].as_str())
}

fn number(operation: &Value, name: &str) -> Option<usize> {
    part(operation, name)?["valueInteger"].as_u64().and_then(|number| number.try_into().ok())
}

fn apply(resource: &mut Value, operation: &Value) -> Outcome<()> {
    if operation["name"] != "operation" {
        return Err("has to be called operation");
    }
    let path = text(operation, "path").ok_or("needs a path")?;
    let index = |name| number(operation, name).ok_or("needs the places in the list as integers");
    match text(operation, "type") {
        Some("add") => add(resource, path, operation),
        Some("insert") => {
            let (list, length) = list_at(resource, path)?;
            let index = number(operation, "index").ok_or("needs an index")?;
            let value = value_for(resource, &list, operation)?;
            let (fields, name) = fields_of(resource, &list)?;
            let put = index <= length && insert(fields, &name, index, value);
            if put { Ok(()) } else { Err("has an index beyond the end of the list") }
        }
        Some("delete") => match places(resource, path)?.as_slice() {
            [] => Ok(()),
            [one] => {
                let place = one.clone();
                remove(resource, &place)?;
                prune(resource, parent_of(&place));
                Ok(())
            }
            _ => Err("has a path to several elements"),
        },
        Some("replace") => match places(resource, path)?.as_slice() {
            [] => Err("has a path to nothing"),
            [one] => {
                let place = one.clone();
                replace(resource, &place, operation)
            }
            _ => Err("has a path to several elements"),
        },
        Some("move") => {
            let (list, length) = list_at(resource, path)?;
            let (from, to) = (index("source")?, index("destination")?);
            if from >= length || to >= length {
                return Err("moves beyond the end of the list");
            }
            let (fields, name) = fields_of(resource, &list)?;
            let moved = take(fields, &name, Some(from)).ok_or("has a path to nothing")?;
            // A list of one is gone by now, and is made anew.
            let put = insert(fields, &name, to, moved);
            if put { Ok(()) } else { Err("moves beyond the end of the list") }
        }
        _ => Err("has to be of type add, insert, delete, replace or move"),
    }
}

/// The places that `path` finds.
fn places(resource: &Value, path: &str) -> Outcome<Vec<Path>> {
    let expression = Expression::compile(path).map_err(|_| "has a path that is no FHIRPath")?;
    let environment = Environment::default();
    let found = expression
        .evaluate_with(resource, None, &environment)
        .map_err(|_| "has a path that cannot be evaluated")?;
    found
        .iter()
        .map(|item| match item {
            Item::Node(node) => path_of(resource, node).ok_or("has a path to no element of it"),
            _ => Err("has a path to a value that is no element"),
        })
        .collect()
}

/// The list that `path` finds all items of, with its length. One that is not there yet
/// is found by its parent.
fn list_at(resource: &Value, path: &str) -> Outcome<(Path, usize)> {
    let found = places(resource, path)?;
    let Some(first) = found.first() else {
        let (parent, name) = path.rsplit_once('.').ok_or("has a path to nothing")?;
        let parents = places(resource, parent)?;
        let [parent] = parents.as_slice() else { return Err("has a path to nothing") };
        let property = schema_at(resource, parent)
            .and_then(|node| named(node, name, None))
            .filter(|property| property.is_list)
            .ok_or("has a path to no list")?;
        let list = [parent.clone(), vec![Step::Key(property.json)]].concat();
        return Ok((list, 0));
    };
    let Some((Step::Index(_), list)) = first.split_last() else {
        return Err("has a path to no list");
    };
    let together = found
        .iter()
        .all(|place| matches!(place.split_last(), Some((Step::Index(_), other)) if other == list));
    let length = get(resource, list).and_then(Value::as_array).map_or(0, Vec::len);
    if together && found.len() == length {
        Ok((list.to_vec(), length))
    } else {
        Err("has a path to a part of a list")
    }
}

fn parent_of(place: &[Step]) -> &[Step] {
    let keyed = match place.split_last() {
        Some((Step::Index(_), list)) => list,
        _ => place,
    };
    keyed.split_last().map_or(&[], |(_, parent)| parent)
}

/// The object that a place is a property of, and its name there.
fn fields_of<'a>(
    resource: &'a mut Value,
    place: &[Step],
) -> Outcome<(&'a mut Map<String, Value>, String)> {
    let Some((Step::Key(name), parent)) = place.split_last() else {
        return Err("has a path to no property");
    };
    match get_mut(resource, parent) {
        Some(Value::Object(fields)) => Ok((fields, name.clone())),
        _ => Err("has a path to no property"),
    }
}

fn remove(resource: &mut Value, place: &[Step]) -> Outcome<Content> {
    let (index, keyed) = match place.split_last() {
        Some((Step::Index(index), list)) => (Some(*index), list),
        Some(_) => (None, place),
        None => return Err("has a path to the whole resource"),
    };
    let (fields, name) = fields_of(resource, keyed)?;
    take(fields, &name, index).ok_or("has a path to nothing")
}

fn add(resource: &mut Value, path: &str, operation: &Value) -> Outcome<()> {
    let found = places(resource, path)?;
    let [place] = found.as_slice() else {
        return Err(if found.is_empty() {
            "has a path to nothing"
        } else {
            "has a path to several elements"
        });
    };
    let name = text(operation, "name").ok_or("needs a name")?;
    let node = schema_at(resource, place).ok_or("has a path to what has no elements")?;
    let value = part(operation, "value").ok_or("needs a value")?;
    let property =
        named(node, name, value_type(value)).ok_or("has a name that the element does not have")?;
    let content = content(value, property.node, 0)?;
    let Some(Value::Object(fields)) = get_mut(resource, place) else {
        return Err("has a path to what has no elements");
    };
    if property.is_list {
        let length = fields.get(&property.json).and_then(Value::as_array).map_or(0, Vec::len);
        insert(fields, &property.json, length, content);
        return Ok(());
    }
    let others: Vec<&String> = match property.is_choice {
        true => node.named(name).map(|other| &other.json).collect(),
        false => vec![&property.json],
    };
    if others.iter().any(|other| fields.contains_key(*other)) {
        return Err("adds what is there already");
    }
    put(fields, &property.json, content);
    Ok(())
}

fn put(fields: &mut Map<String, Value>, name: &str, content: Content) {
    let beside = format!("_{name}");
    match content.value {
        Some(value) => drop(fields.insert(name.to_owned(), value)),
        None => drop(fields.shift_remove(name)),
    }
    match content.sibling {
        Some(sibling) => drop(fields.insert(beside, sibling)),
        None => drop(fields.shift_remove(&beside)),
    }
}

fn replace(resource: &mut Value, place: &[Step], operation: &Value) -> Outcome<()> {
    let (index, keyed) = match place.split_last() {
        Some((Step::Index(index), list)) => (Some(*index), list),
        Some(_) => (None, place),
        None => return Err("has a path to the whole resource"),
    };
    let value = part(operation, "value").ok_or("needs a value")?;
    let parent = schema_at(resource, parent_of(place));
    let Some(Step::Key(json)) = keyed.last() else { return Err("has a path to no property") };
    let parent = parent.ok_or("has a path to what is not defined")?;
    let known = parent.property(json).ok_or("has a path to what is not defined")?;
    let element = parent.elements.get(known.element).ok_or("has a path to what is not defined")?;
    let property = named(parent, element.name(), value_type(value))
        .ok_or("has a value of a type that the element does not take")?;
    let content = content(value, property.node, 0)?;
    let (fields, name) = fields_of(resource, keyed)?;
    if let Some(index) = index {
        take(fields, &name, Some(index));
        insert(fields, &name, index, content);
        return Ok(());
    }
    if property.json != name {
        take(fields, &name, None);
    }
    put(fields, &property.json, content);
    Ok(())
}

/// The value of an insertion into `list`.
fn value_for(resource: &Value, list: &[Step], operation: &Value) -> Outcome<Content> {
    let value = part(operation, "value").ok_or("needs a value")?;
    let node = schema_at(resource, parent_of(list));
    let Some(Step::Key(json)) = list.last() else { return Err("has a path to no list") };
    let property = node.and_then(|node| named(node, json, None)).ok_or("has a path to no list")?;
    content(value, property.node, 0)
}

/// `Quantity` of `valueQuantity`.
fn value_type(value: &Value) -> Option<&str> {
    let fields = value.as_object()?;
    fields.keys().find_map(|name| name.trim_start_matches('_').strip_prefix("value"))
}

/// The value of a part: `value[x]`, or parts that make an element without a type of
/// its own.
fn content(value: &Value, node: Option<&'static schema::Node>, depth: usize) -> Outcome<Content> {
    let fields = value.as_object().ok_or("has a value that is none")?;
    let plain = fields.iter().find(|(name, _)| name.starts_with("value"));
    let beside = fields.iter().find(|(name, _)| name.starts_with("_value"));
    if plain.is_some() || beside.is_some() {
        return Ok(Content {
            value: plain.map(|(_, value)| value.clone()),
            sibling: beside.map(|(_, value)| value.clone()),
        });
    }
    let parts = value["part"].as_array().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or("has a value that is none")?;
    let node = node.ok_or("has parts for what has no elements")?;
    if depth >= PARTS_DEPTH_MAX {
        return Err("has a value of too many levels");
    }
    let mut made = Map::new();
    for part in parts {
        let name = part["name"].as_str().ok_or("has a part without a name")?;
        let property = named(node, name, value_type(part))
            .ok_or("has a part that the element does not have")?;
        let inner = content(part, property.node, depth + 1)?;
        if property.is_list {
            let length = made.get(&property.json).and_then(Value::as_array).map_or(0, Vec::len);
            insert(&mut made, &property.json, length, inner);
        } else {
            put(&mut made, &property.json, inner);
        }
    }
    Ok(Content { value: Some(Value::Object(made)), sibling: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operation(kind: &str, path: &str, more: &[Value]) -> Value {
        let mut parts = vec![
            json!({ "name": "type", "valueCode": kind }),
            json!({ "name": "path", "valueString": path }),
        ];
        parts.extend_from_slice(more);
        json!({ "name": "operation", "part": parts })
    }

    fn patch(resource: &Value, operations: &[Value]) -> Result<Value, PatchError> {
        let patch = json!({ "resourceType": "Parameters", "parameter": operations });
        fhirpath_patch(resource, &patch)
    }

    #[test]
    fn what_stands_beside_a_primitive_goes_with_it() {
        let resource = json!({
            "resourceType": "Patient",
            "name": [{ "given": ["A", "B"], "_given": [null, { "id": "x" }] }],
        });
        let moved = operation(
            "move",
            "Patient.name[0].given",
            &[
                json!({ "name": "source", "valueInteger": 1 }),
                json!({ "name": "destination", "valueInteger": 0 }),
            ],
        );
        let expected = json!({ "given": ["B", "A"], "_given": [{ "id": "x" }, null] });
        assert_eq!(patch(&resource, &[moved]).expect("moves")["name"][0], expected);
        let gone = operation("delete", "Patient.name[0].given[1]", &[]);
        let done = patch(&resource, &[gone]).expect("deletes");
        assert_eq!(done["name"][0], json!({ "given": ["A"] }));
        let value = json!({ "name": "value", "valueString": "C" });
        let replaced = operation("replace", "Patient.name[0].given[1]", &[value]);
        let done = patch(&resource, &[replaced]).expect("replaces");
        assert_eq!(done["name"][0], json!({ "given": ["A", "C"] }));
    }

    #[test]
    fn a_choice_takes_the_name_of_its_type() {
        let resource = json!({ "resourceType": "Patient", "deceasedBoolean": true });
        let value = json!({ "name": "value", "valueDateTime": "2020-01-01" });
        let replaced = operation("replace", "Patient.deceased", std::slice::from_ref(&value));
        let expected = json!({ "resourceType": "Patient", "deceasedDateTime": "2020-01-01" });
        assert_eq!(patch(&resource, &[replaced]), Ok(expected));
        let named = json!({ "name": "name", "valueString": "deceased" });
        let added = operation("add", "Patient", &[named, value]);
        let text = patch(&resource, &[added]).expect_err("refused").text;
        assert_eq!(text, "adds what is there already");
    }

    #[test]
    fn what_does_not_apply_is_named_with_its_place() {
        let resource =
            json!({ "resourceType": "Patient", "name": [{ "text": "a" }, { "text": "b" }] });
        let value = json!({ "name": "value", "valueString": "C" });
        for (operation, text) in [
            (
                operation("replace", "Patient.name", std::slice::from_ref(&value)),
                "has a path to several elements",
            ),
            (
                operation("replace", "Patient.gender", std::slice::from_ref(&value)),
                "has a path to nothing",
            ),
            (
                operation("replace", "Patient.name[0].text.length()", std::slice::from_ref(&value)),
                "has a path to a value that is no element",
            ),
            (operation("add", "Patient", std::slice::from_ref(&value)), "needs a name"),
            (
                operation(
                    "insert",
                    "Patient.name",
                    &[json!({ "name": "index", "valueInteger": 3 }), value.clone()],
                ),
                "has an index beyond the end of the list",
            ),
            (operation("delete", "Patient.name.where(", &[]), "has a path that is no FHIRPath"),
            (
                operation("spam", "Patient", &[]),
                "has to be of type add, insert, delete, replace or move",
            ),
            (json!({ "name": "other" }), "has to be called operation"),
        ] {
            let error = patch(&resource, std::slice::from_ref(&operation)).expect_err("refused");
            assert_eq!((&*error.place, error.text), ("Parameters.parameter[0]", text));
        }
        let nothing = operation("delete", "Patient.gender", &[]);
        assert_eq!(patch(&resource, &[nothing]), Ok(resource));
    }
}
