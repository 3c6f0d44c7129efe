//! JSON Patch (RFC 6902) with JSON Pointers (RFC 6901).

use serde_json::Value;

use super::{OPERATIONS_MAX, PatchError};
use crate::search::Decimal;

/// Steps of one pointer: deeper than any resource may be.
const POINTER_STEPS_MAX: usize = 200;
/// Values that one patch may copy: a copy of a copy grows without end.
const COPIED_MAX: usize = 1_000_000;

/// What became of one operation.
type Outcome<T> = Result<T, (&'static str, &'static str)>;

/// Applies `patch` to `document`. Operations apply in order, each to what the one
/// before it left; what is not there is not made.
///
/// # Errors
/// [`PatchError`] names the operation that is none, or that does not apply.
pub fn json_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Some(operations) = patch.as_array() else {
        return Err(PatchError::new("", "a JSON Patch is a list of operations"));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(PatchError::new("", "a patch has at most 10,000 operations"));
    }
    let mut patched = document.clone();
    let mut copied = 0;
    for (number, operation) in operations.iter().enumerate() {
        apply(&mut patched, operation, &mut copied)
            .map_err(|(part, text)| PatchError::new(format!("[{number}]{part}"), text))?;
    }
    Ok(patched)
}

fn apply(document: &mut Value, operation: &Value, copied: &mut usize) -> Outcome<()> {
    let text = |name: &str| operation[name].as_str();
    let pointer = |part, name: &str| match text(name) {
        Some(text) => parse_pointer(text).map_err(|problem| (part, problem)),
        None => Err((part, "has to be a JSON Pointer")),
    };
    let value = || operation.get("value").ok_or((".value", "is needed"));
    let path = pointer(".path", "path")?;
    match text("op") {
        Some("add") => add(document, &path, value()?.clone()),
        Some("remove") => remove(document, &path).map(drop),
        Some("replace") => {
            let value = value()?.clone();
            *find_mut(document, &path).ok_or((".path", "leads nowhere"))? = value;
            Ok(())
        }
        Some("move") => {
            let from = pointer(".from", "from")?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err((".path", "lies within what is to be moved"));
            }
            let moved = remove(document, &from).map_err(|(_, text)| (".from", text))?;
            add(document, &path, moved)
        }
        Some("copy") => {
            let from = pointer(".from", "from")?;
            let found = find(document, &from).ok_or((".from", "leads nowhere"))?;
            *copied += size(found);
            if *copied > COPIED_MAX {
                return Err((".from", "copies too much"));
            }
            let found = found.clone();
            add(document, &path, found)
        }
        Some("test") => {
            let found = find(document, &path).ok_or((".path", "leads nowhere"))?;
            if is_equal(found, value()?) { Ok(()) } else { Err((".value", "is not what is there")) }
        }
        _ => Err((".op", "has to be add, remove, replace, move, copy or test")),
    }
}

fn parse_pointer(text: &str) -> Result<Vec<String>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text.strip_prefix('/').ok_or("has to be empty or begin with /")?;
    let steps: Vec<&str> = rest.split('/').collect();
    if steps.len() > POINTER_STEPS_MAX {
        return Err("is too deep");
    }
    steps.into_iter().map(unescape).collect()
}

/// `~1` is `/`, `~0` is `~`, and nothing else begins with `~`.
fn unescape(step: &str) -> Result<String, &'static str> {
    let mut parts = step.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.as_bytes().first() {
            Some(b'0') => plain.push('~'),
            Some(b'1') => plain.push('/'),
            _ => return Err("has a ~ that is neither ~0 nor ~1"),
        }
        plain.push_str(&part[1..]);
    }
    Ok(plain)
}

/// An index as RFC 6901 has it: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let plain = step.bytes().all(|byte| byte.is_ascii_digit());
    let leading = step.len() > 1 && step.starts_with('0');
    if plain && !leading { step.parse().ok() } else { None }
}

fn find<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(index(step)?),
        _ => None,
    })
}

fn find_mut<'a>(document: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, step| match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(items) => items.get_mut(index(step)?),
        _ => None,
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Outcome<()> {
    let Some((last, parent)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find_mut(document, parent) {
        Some(Value::Object(fields)) => {
            fields.insert(last.clone(), value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            let place = if last == "-" { Some(items.len()) } else { index(last) };
            match place.filter(|place| *place <= items.len()) {
                Some(place) => {
                    items.insert(place, value);
                    Ok(())
                }
                None => Err((".path", "is no place in the list")),
            }
        }
        _ => Err((".path", "leads nowhere")),
    }
}

fn remove(document: &mut Value, path: &[String]) -> Outcome<Value> {
    let nowhere = (".path", "leads nowhere");
    let (last, parent) = path.split_last().ok_or((".path", "is the whole document"))?;
    match find_mut(document, parent) {
        Some(Value::Object(fields)) => fields.shift_remove(last).ok_or(nowhere),
        Some(Value::Array(items)) => {
            let place = index(last).filter(|place| *place < items.len()).ok_or(nowhere)?;
            Ok(items.remove(place))
        }
        _ => Err(nowhere),
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(size).sum(),
        Value::Array(items) => items.iter().map(size).sum::<usize>(),
        _ => 0,
    }
}

/// Equality of RFC 6902 section 4.6: members in any order, numbers by their value.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| b.get(name).is_some_and(|b| is_equal(value, b)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.to_string(), b.to_string());
            let exact = |text: &str| Decimal::parse(text);
            a == b || exact(&a).zip(exact(&b)).is_some_and(|(a, b)| a.cmp(&b).is_eq())
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_in_order_and_all_or_none() {
        let document = json!({ "a": [1, 2], "b": { "c~d": "x", "e/f": 1.0 } });
        let patch = json!([
            { "op": "test", "path": "/b/c~0d", "value": "x" },
            { "op": "test", "path": "/b/e~1f", "value": 1 },
            { "op": "add", "path": "/a/-", "value": 3 },
            { "op": "move", "from": "/a/0", "path": "/a/2" },
            { "op": "copy", "from": "/a", "path": "/b/a" },
            { "op": "remove", "path": "/a" },
            { "op": "replace", "path": "/b/c~0d", "value": null },
        ]);
        let expected = json!({ "b": { "c~d": null, "e/f": 1.0, "a": [2, 3, 1] } });
        assert_eq!(json_patch(&document, &patch), Ok(expected));
        let whole = json!([{ "op": "replace", "path": "", "value": 7 }]);
        assert_eq!(json_patch(&document, &whole), Ok(json!(7)));
    }

    #[test]
    fn what_does_not_apply_is_named_with_its_place_and_without_a_value() {
        let document = json!({ "a": [1], "b": { "c": {} } });
        let check = |operation: Value, place: &str| {
            let patch = json!([{ "op": "test", "path": "/a/0", "value": 1 }, operation]);
            let error = json_patch(&document, &patch).expect_err("refused");
            assert_eq!(error.place, format!("[1]{place}"), "{operation}");
        };
        check(json!({ "op": "add", "path": "/a/2", "value": 1 }), ".path");
        check(json!({ "op": "add", "path": "/x/y", "value": 1 }), ".path");
        check(json!({ "op": "add", "path": "/a/01", "value": 1 }), ".path");
        check(json!({ "op": "add", "path": "/b" }), ".value");
        check(json!({ "op": "remove", "path": "/a/-" }), ".path");
        check(json!({ "op": "remove", "path": "" }), ".path");
        check(json!({ "op": "replace", "path": "/x", "value": 1 }), ".path");
        check(json!({ "op": "move", "from": "/b", "path": "/b/c" }), ".path");
        check(json!({ "op": "copy", "from": "/x", "path": "/y" }), ".from");
        check(json!({ "op": "test", "path": "/a", "value": [2] }), ".value");
        check(json!({ "op": "add", "path": "a", "value": 1 }), ".path");
        check(json!({ "op": "add", "path": "/a~2", "value": 1 }), ".path");
        check(json!({ "op": "spam", "path": "/a" }), ".op");
        check(json!({ "path": "/a" }), ".op");
        check(json!(7), ".path");
        assert!(json_patch(&document, &json!({})).is_err());
    }

    #[test]
    fn copies_of_copies_come_to_an_end() {
        let doubling = json!({ "op": "copy", "from": "", "path": "/x" });
        let wide = json!({ "op": "copy", "from": "/a", "path": "/b/-" });
        let many = vec![wide; 9_000];
        let document = json!({ "a": vec![0; 200], "b": [] });
        assert!(json_patch(&document, &Value::Array(many)).is_err());
        let deep = vec![doubling; 30];
        assert!(json_patch(&json!({ "a": { "b": [1, 2, 3] } }), &Value::Array(deep)).is_ok());
    }
}
