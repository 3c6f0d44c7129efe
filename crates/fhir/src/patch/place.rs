//! Places in a resource: where a node stands, what the definitions say of it, and how
//! to change it with whatever belongs to it (`_name` beside a primitive, empty parents).

use serde_json::{Map, Value};

use crate::definitions;
use crate::fhirpath::Node;
use crate::schema;

/// One step from a value to a value within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the resource to a value.
pub(super) type Path = Vec<Step>;

/// Where `node`, which was found in `resource`, stands there. A primitive that has
/// only extensions stands where its value would.
pub(super) fn path_of(resource: &Value, node: &Node<'_>) -> Option<Path> {
    let mut path = Path::new();
    if walk(resource, node.value, &mut path) {
        return Some(path);
    }
    let mut path = Path::new();
    if !walk(resource, node.sibling?, &mut path) {
        return None;
    }
    for step in path.iter_mut().rev() {
        if let Step::Key(name) = step {
            *name = name.strip_prefix('_')?.to_owned();
            break;
        }
    }
    Some(path)
}

fn walk(value: &Value, wanted: &Value, path: &mut Path) -> bool {
    if std::ptr::eq(value, wanted) {
        return true;
    }
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            path.push(Step::Key(name.clone()));
            let found = walk(value, wanted, path);
            if !found {
                path.pop();
            }
            found
        }),
        Value::Array(items) => items.iter().enumerate().any(|(index, value)| {
            path.push(Step::Index(index));
            let found = walk(value, wanted, path);
            if !found {
                path.pop();
            }
            found
        }),
        _ => false,
    }
}

pub(super) fn get<'a>(resource: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(resource, |value, step| match step {
        Step::Key(name) => value.get(name),
        Step::Index(index) => value.get(index),
    })
}

pub(super) fn get_mut<'a>(resource: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(resource, |value, step| match step {
        Step::Key(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}

/// What can stand inside the value at `path`.
pub(super) fn schema_at(resource: &Value, path: &[Step]) -> Option<&'static schema::Node> {
    let root = |value: &Value| {
        let name = value.get("resourceType")?.as_str()?;
        let schema = definitions().schema();
        schema.root(name).map(|id| schema.node(id))
    };
    let mut node = root(resource)?;
    for (place, step) in path.iter().enumerate() {
        let Step::Key(name) = step else { continue };
        let property = node.property(name)?;
        node = match property.node {
            Some(id) => definitions().schema().node(id),
            None => {
                let within = match path.get(place + 1) {
                    Some(Step::Index(_)) => place + 2,
                    _ => place + 1,
                };
                root(get(resource, path.get(..within)?)?)?
            }
        };
    }
    Some(node)
}

/// A property and whether it is a list.
pub(super) struct Named {
    pub json: String,
    pub is_list: bool,
    pub is_choice: bool,
    pub node: Option<&'static schema::Node>,
}

/// The property of the element `name` that takes a value of `type_name` (the end of
/// `valueQuantity`); any of them when no type is given.
pub(super) fn named(
    node: &'static schema::Node,
    name: &str,
    type_name: Option<&str>,
) -> Option<Named> {
    let by_type = node.named(name).find(|property| {
        type_name.is_some_and(|wanted| property.type_code.eq_ignore_ascii_case(wanted))
    });
    let of_json = || node.property(name);
    let only = || {
        let mut all = node.named(name);
        let first = all.next();
        first.filter(|_| all.next().is_none())
    };
    let property = by_type.or_else(of_json).or_else(only)?;
    let element = node.elements.get(property.element)?;
    Some(Named {
        json: property.json.clone(),
        is_list: element.is_list(),
        is_choice: element.is_choice(),
        node: property.node.map(|id| definitions().schema().node(id)),
    })
}

/// A value with the `id` and `extension` that stand beside it.
pub(super) struct Content {
    pub value: Option<Value>,
    pub sibling: Option<Value>,
}

/// The list of `_name` beside a list, as long as that needs to be; none stays none
/// unless there is something to put.
fn put_beside(
    fields: &mut Map<String, Value>,
    name: &str,
    sibling: Option<Value>,
    length: usize,
    change: impl FnOnce(&mut Vec<Value>, Value),
) {
    let beside = format!("_{name}");
    if sibling.is_none() && !fields.contains_key(&beside) {
        return;
    }
    let list = fields.entry(beside.clone()).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(list) = list else { return };
    list.resize(length, Value::Null);
    change(list, sibling.unwrap_or(Value::Null));
    if list.iter().all(Value::is_null) {
        fields.shift_remove(&beside);
    }
}

/// Puts `content` into the list `name` at `index`.
pub(super) fn insert(
    fields: &mut Map<String, Value>,
    name: &str,
    index: usize,
    content: Content,
) -> bool {
    let list = fields.entry(name.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(list) = list else { return false };
    let length = list.len();
    if index > length {
        return false;
    }
    list.insert(index, content.value.unwrap_or(Value::Null));
    put_beside(fields, name, content.sibling, length, |beside, sibling| {
        beside.insert(index, sibling);
    });
    true
}

/// Takes what stands at `name`, or in the list there at `index`.
pub(super) fn take(
    fields: &mut Map<String, Value>,
    name: &str,
    index: Option<usize>,
) -> Option<Content> {
    let beside = format!("_{name}");
    let Some(index) = index else {
        let value = fields.shift_remove(name);
        let sibling = fields.shift_remove(&beside);
        return (value.is_some() || sibling.is_some()).then_some(Content { value, sibling });
    };
    let value = match fields.get_mut(name) {
        Some(Value::Array(list)) if index < list.len() => Some(list.remove(index)),
        _ => return None,
    };
    if matches!(fields.get(name), Some(Value::Array(list)) if list.is_empty()) {
        fields.shift_remove(name);
    }
    let mut sibling = None;
    if let Some(Value::Array(list)) = fields.get_mut(&beside)
        && index < list.len()
    {
        sibling = Some(list.remove(index)).filter(|value| !value.is_null());
        if list.iter().all(Value::is_null) {
            fields.shift_remove(&beside);
        }
    }
    Some(Content { value, sibling })
}

/// Takes away what has become empty on the way to `path`: FHIR has no empty elements.
pub(super) fn prune(resource: &mut Value, path: &[Step]) {
    for length in (1..=path.len()).rev() {
        let Some((last, parent)) = path.get(..length).and_then(<[Step]>::split_last) else {
            return;
        };
        let empty = match get(resource, path.get(..length).unwrap_or_default()) {
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            _ => false,
        };
        if empty {
            match (get_mut(resource, parent), last) {
                (Some(Value::Object(fields)), Step::Key(name)) => drop(fields.shift_remove(name)),
                (Some(Value::Array(items)), Step::Index(index)) => drop(items.remove(*index)),
                _ => {}
            }
        }
    }
}
