//! Small JSON helpers: nothing empty is ever written, as FHIR forbids it.

use serde_json::{Map, Value, json};

/// A JSON object under construction.
pub(crate) type Object = Map<String, Value>;

/// A resource of this type.
pub(crate) fn resource(resource_type: &str) -> Object {
    let mut object = Object::new();
    object.insert("resourceType".to_owned(), json!(resource_type));
    object
}

/// Items of a list among which a repeated one is looked for. Real lists are
/// short; comparing every item of a hostile one would take for ever.
const COMPARED_COUNT_MAX: usize = 100;

/// Adds members and list items, leaving out what is empty.
pub(crate) trait Put {
    /// Sets `name`, unless the value is absent, an empty list or an empty object.
    fn put(&mut self, name: &str, value: impl Into<Option<Value>>);
    /// Appends to the list `name`, unless the value is absent, empty or there.
    fn push(&mut self, name: &str, value: impl Into<Option<Value>>);
    /// Sets `name` to a text.
    fn put_text(&mut self, name: &str, text: Option<String>);
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

impl Put for Object {
    fn put(&mut self, name: &str, value: impl Into<Option<Value>>) {
        if let Some(value) = value.into().filter(|value| !is_empty(value)) {
            self.insert(name.to_owned(), value);
        }
    }

    fn push(&mut self, name: &str, value: impl Into<Option<Value>>) {
        let Some(value) = value.into().filter(|value| !is_empty(value)) else { return };
        match self.get_mut(name) {
            Some(Value::Array(items)) => {
                if !items.iter().take(COMPARED_COUNT_MAX).any(|item| *item == value) {
                    items.push(value);
                }
            }
            _ => {
                self.insert(name.to_owned(), json!([value]));
            }
        }
    }

    fn put_text(&mut self, name: &str, text: Option<String>) {
        self.put(name, text.map(Value::String));
    }
}

/// The object, unless nothing was put into it.
pub(crate) fn some(object: Object) -> Option<Value> {
    (!object.is_empty()).then_some(Value::Object(object))
}

/// `{"coding": [{system, code, display}]}`.
pub(crate) fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [coding(system, code, display)]})
}

/// `{system, code, display}`, the empty ones left out.
pub(crate) fn coding(system: &str, code: &str, display: &str) -> Value {
    let mut coding = Object::new();
    for (name, text) in [("system", system), ("code", code), ("display", display)] {
        coding.put_text(name, Some(text.to_owned()));
    }
    Value::Object(coding)
}

/// `{"reference": url}`.
pub(crate) fn reference(url: &str) -> Value {
    json!({"reference": url})
}

/// An extension with one value; `name` is `valueString` and the like.
pub(crate) fn extension(url: &str, name: &str, value: Value) -> Value {
    json!({"url": url, name: value})
}
