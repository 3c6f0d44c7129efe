//! References between resources (FHIR R4 references.html).

use serde_json::Value;

use crate::definitions;

/// The parts of a literal reference: `[base/]Type/id[/_history/version]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiteralReference<'a> {
    /// The base URL with its trailing slash; empty for a relative reference.
    pub base: &'a str,
    /// The resource type.
    pub resource_type: &'a str,
    /// The logical id.
    pub id: &'a str,
    /// The version, if one is named.
    pub version: Option<&'a str>,
}

/// Splits `reference`; `None` for URNs, fragments and URLs that name no resource.
pub fn parse_reference(reference: &str) -> Option<LiteralReference<'_>> {
    let (rest, version) = match reference.rsplit_once("/_history/") {
        Some((rest, version)) => (rest, Some(version)),
        None => (reference, None),
    };
    let (front, id) = rest.rsplit_once('/')?;
    let type_at = front.rfind('/').map_or(0, |slash| slash + 1);
    let (base, resource_type) = front.split_at(type_at);
    let known = definitions().is_resource_type(resource_type) && is_id(id);
    known.then_some(LiteralReference { base, resource_type, id, version })
}

/// The resource type that a literal reference names.
pub fn reference_type(reference: &str) -> Option<&str> {
    parse_reference(reference).map(|parts| parts.resource_type)
}

/// Whether `text` is a FHIR `id`: 1 to 64 letters, digits, `-` and `.`.
pub fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

/// Replaces each `reference` of a Reference in `resource` (contained resources
/// included) and each `url` that is a URN (of an attachment, say) by what `replace`
/// gives; `None` leaves it as it is. Links in narratives and canonical URLs stay.
pub fn rewrite_references(resource: &mut Value, replace: &dyn Fn(&str) -> Option<String>) {
    match resource {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(text)
                        if name == "reference" || (name == "url" && text.starts_with("urn:")) =>
                    {
                        if let Some(other) = replace(text) {
                            *text = other;
                        }
                    }
                    _ => rewrite_references(value, replace),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite_references(item, replace)),
        _ => {}
    }
}

/// The literal references of `resource`, in document order, fragments left out.
pub fn references(resource: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    collect(resource, &mut found);
    found
}

fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "reference" && !text.starts_with('#') => {
                        found.push(text);
                    }
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literal_references_split_into_their_parts() {
        let parts =
            |base, version| LiteralReference { base, resource_type: "Patient", id: "a.1", version };
        for (text, expected) in [
            ("Patient/a.1", Some(parts("", None))),
            ("Patient/a.1/_history/3", Some(parts("", Some("3")))),
            ("https://x.example/fhir/Patient/a.1", Some(parts("https://x.example/fhir/", None))),
            ("urn:uuid:2f", None),
            ("#p", None),
            ("Person of note/1", None),
            ("Patient/", None),
            ("Patient?identifier=1", None),
        ] {
            assert_eq!(parse_reference(text), expected, "{text}");
        }
    }

    #[test]
    fn every_reference_is_rewritten_and_nothing_else() {
        let mut resource = json!({"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"},
            "note": [{"text": "urn:uuid:1"}], "performer": [{"reference": "Practitioner/2"}]});
        rewrite_references(&mut resource, &|old| {
            (old == "urn:uuid:1").then(|| "Patient/9".to_owned())
        });
        assert_eq!(references(&resource), ["Patient/9", "Practitioner/2"]);
        assert_eq!(resource["note"][0]["text"], "urn:uuid:1");
    }
}
