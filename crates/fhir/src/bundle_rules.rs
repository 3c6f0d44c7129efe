//! What a Bundle has to keep to beyond its structure and invariants (FHIR R4
//! bundle.html#bundle-unique, #references, #searchset, document.html).

use std::collections::HashMap;

use serde_json::Value;

use crate::outcome::Issue;
use crate::reference::{parse_reference, references};

/// Relations that a bundle can have one link of (bundle.html#paging).
const SINGLE_LINKS: [&str; 6] = ["self", "first", "last", "next", "previous", "prev"];

/// The problems of `bundle`, whose place is `path`.
pub(crate) fn check(bundle: &Value, path: &str) -> Vec<Issue> {
    let mut issues = Vec::new();
    let kind = bundle["type"].as_str().unwrap_or_default();
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen = [false; SINGLE_LINKS.len()];
    for (number, link) in bundle["link"].as_array().into_iter().flatten().enumerate() {
        let relation = link["relation"].as_str().unwrap_or_default();
        if let Some(at) = SINGLE_LINKS.iter().position(|known| *known == relation)
            && std::mem::replace(&mut seen[at], true)
        {
            let at = format!("{path}.link[{number}]");
            issues.push(Issue::error("structure", at, "there may be one link of this relation"));
        }
    }
    for (number, entry) in entries.iter().enumerate() {
        let at = format!("{path}.entry[{number}]");
        full_url(entry, kind, &at, &mut issues);
        if kind == "searchset" && entry["resource"].is_object() {
            let resource = &entry["resource"];
            let is_outcome = entry["search"]["mode"] == "outcome";
            if is_outcome && resource["resourceType"] != "OperationOutcome" {
                let at = format!("{at}.resource");
                issues.push(Issue::error("structure", at, "an outcome is an OperationOutcome"));
            } else if !is_outcome && !resource["id"].is_string() {
                let at = format!("{at}.resource");
                issues.push(Issue::error("required", at, "what a search finds has an id"));
            }
        }
    }
    if kind == "document" {
        document(entries, path, &mut issues);
    }
    issues
}

/// A full URL is absolute and agrees with the type and id of the resource.
fn full_url(entry: &Value, kind: &str, at: &str, issues: &mut Vec<Issue>) {
    let Some(url) = entry["fullUrl"].as_str() else { return };
    let mut fail = |text| issues.push(Issue::error("value", format!("{at}.fullUrl"), text));
    if !url.contains(':') {
        return fail("a full URL is absolute");
    }
    let resource = &entry["resource"];
    if !url.starts_with("http") || !resource.is_object() {
        return;
    }
    let Some(named) = parse_reference(url) else { return };
    let is_type = resource["resourceType"] == *named.resource_type;
    // What is to be stored may still be without an id.
    let is_id = match resource["id"].as_str() {
        Some(id) => id == named.id,
        None => matches!(kind, "transaction" | "batch"),
    };
    if !is_type || !is_id {
        fail("the full URL names another type or id than the resource has");
    }
}

/// What the composition of a document refers to and the document has, it has once and
/// under the URL that the reference means.
fn document(entries: &[Value], path: &str, issues: &mut Vec<Issue>) {
    let Some(first) = entries.first() else { return };
    let composition = &first["resource"];
    let mut by_url: HashMap<&str, Vec<&Value>> = HashMap::new();
    for entry in entries {
        by_url.entry(entry["fullUrl"].as_str().unwrap_or_default()).or_default().push(entry);
    }
    let base = first["fullUrl"].as_str().and_then(parse_reference).map(|named| named.base);
    for reference in references(composition) {
        let (bare, version) = match reference.rsplit_once("/_history/") {
            Some((bare, version)) => (bare, Some(version)),
            None => (reference, None),
        };
        let absolute = match base {
            Some(base) if !bare.contains(':') => format!("{base}{bare}"),
            _ => bare.to_owned(),
        };
        let at = format!("{path}.entry[0].resource");
        let mut fail = |text| issues.push(Issue::error("not-found", at.clone(), text));
        let found = by_url.get(absolute.as_str()).map(Vec::as_slice).unwrap_or_default();
        let is_version = |entry: &&&Value| {
            version.is_none_or(|version| entry["resource"]["meta"]["versionId"] == *version)
        };
        match found.iter().filter(is_version).count() {
            0 if !found.is_empty() => {
                fail("a reference of the composition names a version that the document has not")
            }
            0 => {
                let named = parse_reference(bare).filter(|named| named.base.is_empty());
                let is_there = named.is_some_and(|named| {
                    entries.iter().any(|entry| {
                        entry["resource"]["resourceType"] == *named.resource_type
                            && entry["resource"]["id"] == *named.id
                    })
                });
                if is_there {
                    fail("a reference of the composition means another URL than the resource has");
                }
            }
            1 => {}
            _ => fail("a reference of the composition means several resources"),
        }
    }
}
