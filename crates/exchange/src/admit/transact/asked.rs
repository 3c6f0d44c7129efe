//! What the entries of a transaction ask for, read from their requests.

use holdfast_fhir::{is_id, type_code};
use holdfast_intake::{Converted, ConvertedResource};
use percent_encoding::percent_decode_str;

use super::refuse;
use crate::ExchangeError;
use crate::audit::READ_ONLY_TYPES;

/// What is to be done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Create,
    Update,
    Patch,
    Delete,
}

/// Criteria of a search, decoded.
pub(super) type Criteria = Vec<(String, String)>;

/// One entry that writes.
pub(super) struct Asked<'a> {
    pub source: &'a ConvertedResource,
    pub entry: usize,
    pub method: Method,
    pub kind: &'a str,
    pub id: Option<&'a str>,
    /// Of a conditional interaction, those of `ifNoneExist` among them.
    pub criteria: Option<Criteria>,
    /// The version that has to be the current one.
    pub if_match: Option<u64>,
    /// Whether there must be nothing yet (`If-None-Match: *`).
    pub if_none: bool,
}

/// Reads what every entry asks for. Those that read are left out: they are answered
/// after the writes.
pub(super) fn read_all(converted: &Converted) -> Result<Vec<Asked<'_>>, ExchangeError> {
    let mut asked = Vec::new();
    for source in &converted.resources {
        asked.extend(read(source)?);
    }
    Ok(asked)
}

fn read(source: &ConvertedResource) -> Result<Option<Asked<'_>>, ExchangeError> {
    let entry = source.entry;
    let invalid = |part: &str, text| refuse("request", entry, part, text);
    let Some(request) = &source.request else {
        return Err(invalid(".request", "needs a method and a URL"));
    };
    let method = match request.method.as_str() {
        "GET" | "HEAD" => return Ok(None),
        "POST" => Method::Create,
        "PUT" => Method::Update,
        "PATCH" => Method::Patch,
        _ => Method::Delete,
    };
    let (path, query) = match request.url.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.url.as_str(), None),
    };
    let mut parts = path.trim_start_matches('/').split('/');
    let kind = parts.next().unwrap_or_default();
    let id = parts.next().filter(|id| !id.is_empty());
    if type_code(kind).is_none() || parts.next().is_some() {
        return Err(invalid(".request.url", "has to be Type, Type/id or Type?criteria"));
    }
    if READ_ONLY_TYPES.contains(&kind) {
        return Err(refuse("read-only", entry, ".request.url", "names a type that is read-only"));
    }
    if kind == "Subscription" {
        let text = "names a Subscription, which has requests of its own";
        return Err(refuse("read-only", entry, ".request.url", text));
    }
    if id.is_some_and(|id| !is_id(id)) {
        return Err(invalid(".request.url", "has an id of other characters than A-Z a-z 0-9 - ."));
    }
    let criteria = match (method, query, request.if_none_exist.as_deref()) {
        (Method::Create, None, Some(criteria)) => Some((criteria, ".request.ifNoneExist")),
        (Method::Create, Some(_), _) => {
            return Err(invalid(".request.url", "may have no criteria: use ifNoneExist"));
        }
        (_, Some(query), _) if id.is_none() => Some((query, ".request.url")),
        (_, Some(_), _) => return Err(invalid(".request.url", "has an id and criteria")),
        _ => None,
    };
    let criteria = criteria.map(|(text, part)| {
        decode(text.trim_start_matches('?')).ok_or_else(|| invalid(part, "is not UTF-8"))
    });
    let criteria = criteria.transpose()?;
    match (method, id, &criteria) {
        (Method::Create, Some(_), _) => {
            return Err(invalid(".request.url", "has an id: the server gives one; use PUT"));
        }
        (Method::Update | Method::Patch | Method::Delete, None, None) => {
            return Err(invalid(".request.url", "needs an id or criteria"));
        }
        _ => {}
    }
    let if_match = match request.if_match.as_deref() {
        None => None,
        Some(tag) => {
            let unreadable = || invalid(".request.ifMatch", "has to be the ETag of a version");
            Some(version_of(tag).ok_or_else(unreadable)?)
        }
    };
    let if_none = match request.if_none_match.as_deref().map(str::trim) {
        None => false,
        Some("*") => true,
        Some(_) => return Err(invalid(".request.ifNoneMatch", "has to be * where one writes")),
    };
    let resource_type = source.resource_type();
    match method {
        Method::Create | Method::Update if resource_type != kind => {
            return Err(invalid(".resource.resourceType", "has to be the type in the URL"));
        }
        Method::Update if id.is_some() && source.resource["id"].as_str() != id => {
            return Err(invalid(".resource.id", "has to be the id in the URL"));
        }
        Method::Patch if !matches!(resource_type, "Binary" | "Parameters") => {
            let text = "has to be a JSON Patch in a Binary, or a FHIRPath Patch in Parameters";
            return Err(invalid(".resource", text));
        }
        _ => {}
    }
    Ok(Some(Asked { source, entry, method, kind, id, criteria, if_match, if_none }))
}

/// The version in `W/"3"`, `"3"` or `3`.
fn version_of(tag: &str) -> Option<u64> {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    if tag.bytes().all(|byte| byte.is_ascii_digit()) { tag.parse().ok() } else { None }
}

/// The pairs of a query string.
pub(super) fn decode(query: &str) -> Option<Criteria> {
    let text = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((text(name)?, text(value)?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use holdfast_intake::BundleRequest;
    use serde_json::{Value, json};

    use super::*;

    fn source(method: &str, url: &str, resource: Value) -> ConvertedResource {
        let request = BundleRequest {
            method: method.into(),
            url: url.into(),
            if_none_exist: None,
            if_match: None,
            if_none_match: None,
        };
        let (full_url, natural_key) = (String::new(), None);
        ConvertedResource { full_url, natural_key, request: Some(request), entry: 3, resource }
    }

    #[test]
    fn a_request_that_says_nothing_sensible_is_refused_with_its_place() {
        let list = || json!({ "resourceType": "List" });
        for (method, url, resource, place) in [
            ("POST", "List/1", list(), ".request.url"),
            ("POST", "List?code=1", list(), ".request.url"),
            ("PUT", "List", list(), ".request.url"),
            ("PUT", "List/1", list(), ".resource.id"),
            ("PUT", "Group/1", list(), ".resource.resourceType"),
            ("PUT", "Nothing/1", list(), ".request.url"),
            ("PUT", "AuditEvent/1", json!({ "resourceType": "AuditEvent" }), ".request.url"),
            ("DELETE", "List/a_b", Value::Null, ".request.url"),
            ("DELETE", "List", Value::Null, ".request.url"),
            ("PATCH", "List/1", list(), ".resource"),
        ] {
            match read(&source(method, url, resource)).map(drop) {
                Err(ExchangeError::EntryRefused { place: told, .. }) => {
                    assert_eq!(told, format!("Bundle.entry[3]{place}"), "{method} {url}");
                }
                other => panic!("{method} {url}: {other:?}"),
            }
        }
    }

    #[test]
    fn criteria_are_decoded_and_reads_are_left_out() {
        let of = source("DELETE", "Patient?identifier=urn:x%7C1&name=a+b", Value::Null);
        let asked = read(&of).ok().flatten().expect("it writes");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = vec![pair("identifier", "urn:x|1"), pair("name", "a b")];
        assert_eq!(asked.criteria, Some(expected));
        assert!(matches!(read(&source("GET", "Patient/1", Value::Null)), Ok(None)));
    }

    #[test]
    fn versions_are_read_from_tags() {
        for (tag, version) in
            [("W/\"3\"", Some(3)), ("\"4\"", Some(4)), ("5", Some(5)), ("W/\"x\"", None)]
        {
            assert_eq!(version_of(tag), version, "{tag}");
        }
    }
}
