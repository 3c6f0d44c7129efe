//! Documents in a transaction and what tells of them (IHE MHD, ITI-65): a Binary
//! names no patient, and a submission set need not. A document lies in the record of
//! the DocumentReference that points to it, a List in that of its first item: content
//! that lay with nobody would be sealed under no patient's key.

use std::collections::HashMap;

use serde_json::{Value, json};

/// For each entry that goes with another one, by place, the place of that one.
/// Entries are given by full URL and resource.
pub(super) fn companions(entries: &[(&str, &Value)]) -> HashMap<usize, usize> {
    let places: HashMap<&str, usize> =
        entries.iter().enumerate().map(|(place, (url, _))| (*url, place)).collect();
    let kind = |place: usize| entries[place].1["resourceType"].as_str().unwrap_or_default();
    let mut found = HashMap::new();
    for (place, (_, resource)) in entries.iter().enumerate() {
        let items = |name: &str| resource[name].as_array().into_iter().flatten();
        match kind(place) {
            "DocumentReference" => {
                let urls = items("content").filter_map(|item| item["attachment"]["url"].as_str());
                for document in urls.filter_map(|url| places.get(url)) {
                    if matches!(kind(*document), "Binary" | "Bundle") {
                        found.insert(*document, place);
                    }
                }
            }
            "List" => {
                let listed = items("entry").filter_map(|item| item["item"]["reference"].as_str());
                let mut listed = listed.filter_map(|url| places.get(url));
                if let Some(item) = listed.find(|item| kind(**item) == "DocumentReference") {
                    found.insert(place, *item);
                }
            }
            _ => {}
        }
    }
    found
}

/// Labels a document restricted, as what points to it is: whoever may not know of a
/// document may not read it either.
pub(super) fn restrict(document: &mut Value) {
    let label = json!({
        "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R",
    });
    match document["meta"]["security"].as_array_mut() {
        Some(labels) => labels.push(label),
        None => document["meta"]["security"] = json!([label]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_goes_with_what_points_to_it() {
        let list = json!({ "resourceType": "List",
            "entry": [{ "item": { "reference": "urn:uuid:4" } }, { "item": { "reference": "urn:uuid:2" } }] });
        let reference = json!({ "resourceType": "DocumentReference",
            "content": [{ "attachment": { "url": "urn:uuid:3" } }, { "attachment": { "url": "urn:uuid:5" } }] });
        let binary = json!({ "resourceType": "Binary" });
        let patient = json!({ "resourceType": "Patient" });
        let entries = [
            ("urn:uuid:1", &list),
            ("urn:uuid:2", &reference),
            ("urn:uuid:3", &binary),
            ("urn:uuid:5", &patient),
        ];
        assert_eq!(companions(&entries), HashMap::from([(0, 1), (2, 1)]));
    }
}
