//! Bundles that a server answers with (FHIR R4 bundle.html, http.html).

use serde_json::{Value, json};

use crate::outcome::{Issue, operation_outcome};

/// One match of a search, or what goes along with it.
#[derive(Debug, Clone)]
pub struct SearchEntry {
    /// Absolute URL of the resource.
    pub full_url: String,
    /// The resource as it is shown.
    pub resource: Value,
    /// Whether it goes along with a match instead of being one (`_include`).
    pub is_included: bool,
}

/// A page of a search.
///
/// `self_link` says what was searched, `total` how many match in all (left out
/// when `None`), `next` where the following page is; `issues` (what a lenient
/// search left out) go along as an entry of mode `outcome`.
pub fn searchset(
    self_link: &str,
    total: Option<u64>,
    entries: Vec<SearchEntry>,
    next: Option<&str>,
    issues: &[Issue],
) -> Value {
    let mut links = vec![json!({ "relation": "self", "url": self_link })];
    links.extend(next.map(|url| json!({ "relation": "next", "url": url })));
    let mut list: Vec<Value> = entries
        .into_iter()
        .map(|entry| {
            json!({
                "fullUrl": entry.full_url,
                "resource": entry.resource,
                "search": { "mode": if entry.is_included { "include" } else { "match" } },
            })
        })
        .collect();
    if !issues.is_empty() {
        list.push(
            json!({ "resource": operation_outcome(issues), "search": { "mode": "outcome" } }),
        );
    }
    bundle("searchset", total, links, list)
}

/// One version in a history, newest first.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// Absolute URL of the resource, without the version.
    pub full_url: String,
    /// Method and URL of what made the version: `PUT Patient/1`.
    pub request: (&'static str, String),
    /// HTTP status of it, `ETag`, time.
    pub response: EntryResponse,
    /// The version; `None` for a deletion.
    pub resource: Option<Value>,
}

/// A page of a history.
pub fn history(
    self_link: &str,
    total: Option<u64>,
    entries: Vec<HistoryEntry>,
    next: Option<&str>,
) -> Value {
    let mut links = vec![json!({ "relation": "self", "url": self_link })];
    links.extend(next.map(|url| json!({ "relation": "next", "url": url })));
    let list = entries
        .into_iter()
        .map(|entry| {
            let (method, url) = entry.request;
            let mut shown = json!({ "fullUrl": entry.full_url });
            if let Some(resource) = entry.resource {
                shown["resource"] = resource;
            }
            shown["request"] = json!({ "method": method, "url": url });
            shown["response"] = entry.response.response();
            shown
        })
        .collect();
    bundle("history", total, links, list)
}

/// What became of one entry of a transaction or batch.
#[derive(Debug, Clone, Default)]
pub struct EntryResponse {
    /// HTTP status: `201 Created`.
    pub status: String,
    /// URL of the version that was made.
    pub location: Option<String>,
    /// `W/"3"`.
    pub etag: Option<String>,
    /// When it was changed, RFC 3339.
    pub last_modified: Option<String>,
    /// The answer's body: a resource that was read or searched.
    pub resource: Option<Value>,
    /// What went wrong, or is worth knowing.
    pub issues: Vec<Issue>,
}

impl EntryResponse {
    fn response(&self) -> Value {
        let mut response = json!({ "status": self.status });
        let fields = [
            ("location", &self.location),
            ("etag", &self.etag),
            ("lastModified", &self.last_modified),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                response[name] = json!(value);
            }
        }
        if !self.issues.is_empty() {
            response["outcome"] = operation_outcome(&self.issues);
        }
        response
    }

    fn into_entry(mut self) -> Value {
        let resource = self.resource.take();
        let mut entry = json!({});
        if let Some(resource) = resource {
            entry["resource"] = resource;
        }
        entry["response"] = self.response();
        entry
    }
}

/// The answer to a transaction, entries in the order of the request.
pub fn transaction_response(entries: Vec<EntryResponse>) -> Value {
    let list = entries.into_iter().map(EntryResponse::into_entry).collect();
    bundle("transaction-response", None, Vec::new(), list)
}

/// The answer to a batch, entries in the order of the request.
pub fn batch_response(entries: Vec<EntryResponse>) -> Value {
    let list = entries.into_iter().map(EntryResponse::into_entry).collect();
    bundle("batch-response", None, Vec::new(), list)
}

/// Empty lists are left out: JSON of FHIR has none.
fn bundle(kind: &str, total: Option<u64>, links: Vec<Value>, entries: Vec<Value>) -> Value {
    let mut bundle = json!({ "resourceType": "Bundle", "type": kind });
    if let Some(total) = total {
        bundle["total"] = json!(total);
    }
    if !links.is_empty() {
        bundle["link"] = Value::Array(links);
    }
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_valid_bundles() {
        let entry = SearchEntry {
            full_url: "https://x.example/fhir/Patient/1".to_owned(),
            resource: json!({ "resourceType": "Patient", "id": "1" }),
            is_included: false,
        };
        let left_out = Issue::error("not-supported", "x", "search parameter `x`");
        let version = HistoryEntry {
            full_url: entry.full_url.clone(),
            request: ("DELETE", "Patient/1".to_owned()),
            response: EntryResponse {
                status: "204 No Content".to_owned(),
                ..EntryResponse::default()
            },
            resource: None,
        };
        let created = EntryResponse {
            status: "201 Created".to_owned(),
            location: Some("Patient/1/_history/1".to_owned()),
            etag: Some("W/\"1\"".to_owned()),
            last_modified: Some("2015-05-26T00:00:00Z".to_owned()),
            ..EntryResponse::default()
        };
        for bundle in [
            searchset(
                "https://x.example/fhir/Patient",
                Some(1),
                vec![entry],
                Some("https://x.example/2"),
                &[left_out],
            ),
            searchset("https://x.example/fhir/Patient", Some(0), Vec::new(), None, &[]),
            history("https://x.example/fhir/Patient/1/_history", Some(1), vec![version], None),
            transaction_response(vec![created]),
            batch_response(Vec::new()),
        ] {
            assert_eq!(crate::validate(&bundle), [], "{bundle}");
        }
    }
}
