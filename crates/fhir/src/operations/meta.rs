//! Tags, security labels and profiles (FHIR R4 resource-operation-meta-add.html,
//! resource-operation-meta-delete.html).

use serde_json::{Map, Value, json};

use crate::outcome::Issue;

/// The lists of Meta that the operations work on.
const LISTS: [&str; 3] = ["profile", "security", "tag"];

/// The `meta` of `resource` with what `given` names added to it or taken out of it.
/// The rest of it stays: nobody sets version, time or source.
///
/// # Errors
/// An element of `given` that is none of the three lists.
pub fn changed_meta(resource: &Value, given: &Value, add: bool) -> Result<Value, Vec<Issue>> {
    let known = |name: &&String| !LISTS.contains(&name.as_str());
    let fields = given.as_object();
    if fields.is_none_or(|fields| fields.keys().any(|name| known(&name))) {
        let text = "holds profile, security and tag, and nothing else";
        return Err(vec![Issue::error("invalid", "meta", text)]);
    }
    let mut meta = resource["meta"].as_object().cloned().unwrap_or_default();
    for name in LISTS {
        let mut items = meta.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        for item in given[name].as_array().into_iter().flatten() {
            let is_there = items.iter().position(|known| is_same(known, item));
            match (is_there, add) {
                (None, true) => items.push(item.clone()),
                (Some(place), false) => drop(items.remove(place)),
                _ => {}
            }
        }
        if items.is_empty() {
            meta.shift_remove(name);
        } else {
            meta.insert(name.into(), Value::Array(items));
        }
    }
    Ok(Value::Object(meta))
}

/// Codings are the same by system and code (resource.html#Meta), profiles by URL.
fn is_same(a: &Value, b: &Value) -> bool {
    if a.is_object() { a["system"] == b["system"] && a["code"] == b["code"] } else { a == b }
}

/// The Parameters that `$meta` answers with.
pub fn meta_answer(meta: &Value) -> Value {
    let empty = Value::Object(Map::new());
    let meta = if meta.is_object() { meta } else { &empty };
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "return", "valueMeta": meta }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_added_once_and_taken_out_by_system_and_code() {
        let resource =
            json!({ "meta": { "versionId": "3", "tag": [{ "system": "s", "code": "a" }] } });
        let given = json!({ "tag": [{ "system": "s", "code": "a", "display": "A" }, { "code": "b" }],
            "profile": ["http://p.example"] });
        let added = changed_meta(&resource, &given, true).expect("fine");
        let expected = json!({ "versionId": "3", "tag": [{ "system": "s", "code": "a" }, { "code": "b" }],
            "profile": ["http://p.example"] });
        assert_eq!(added, expected);
        let back = changed_meta(&json!({ "meta": added }), &given, false).expect("fine");
        assert_eq!(back, json!({ "versionId": "3" }));
        assert!(changed_meta(&resource, &json!({ "versionId": "9" }), true).is_err());
        assert!(changed_meta(&resource, &json!("tag"), true).is_err());
    }
}
