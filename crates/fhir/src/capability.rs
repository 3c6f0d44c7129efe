//! The CapabilityStatement: made from what search really supports, so that it
//! cannot promise more.

use holdfast_base::Timestamp;
use serde_json::{Value, json};

use crate::definitions;
use crate::search::is_supported;

/// What a server adds to what this crate knows of itself.
#[derive(Debug, Clone)]
pub struct Capabilities<'a> {
    /// Version of the software.
    pub version: &'a str,
    /// Since when the statement holds: the build or start of the server.
    pub date: Timestamp,
    /// Codes of type-restful-interaction that every resource type has.
    pub interactions: &'a [&'a str],
    /// Codes of system-restful-interaction: `transaction`, `batch`.
    pub system_interactions: &'a [&'a str],
    /// OAuth authorize and token URLs, when SMART on FHIR is offered.
    pub oauth: Option<(&'a str, &'a str)>,
    /// Resource types that are served; empty means all.
    pub resource_types: &'a [&'a str],
    /// Resource types that can only be read and searched, and have one version.
    pub read_only_types: &'a [&'a str],
}

/// The statement of a server at `base`.
pub fn capability_statement(base: &str, server: &Capabilities<'_>) -> Value {
    let types = definitions().resource_types().iter();
    let served =
        |name: &&&str| server.resource_types.is_empty() || server.resource_types.contains(*name);
    let resources: Vec<Value> = types.filter(served).map(|name| resource(name, server)).collect();
    let mut rest = json!({ "mode": "server" });
    if let Some((authorize, token)) = server.oauth {
        rest["security"] = json!({
            "extension": [{
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [
                    { "url": "authorize", "valueUri": authorize },
                    { "url": "token", "valueUri": token },
                ],
            }],
            "service": [{ "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
            }] }],
        });
    }
    rest["resource"] = Value::Array(resources);
    if !server.system_interactions.is_empty() {
        rest["interaction"] = codes(server.system_interactions);
    }
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": server.date.to_string(),
        "kind": "instance",
        "software": { "name": "Holdfast", "version": server.version },
        "implementation": { "description": "Holdfast health information exchange", "url": base },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    })
}

fn codes(interactions: &[&str]) -> Value {
    interactions.iter().map(|code| json!({ "code": code })).collect()
}

fn resource(name: &str, server: &Capabilities<'_>) -> Value {
    let parameters: Vec<Value> = definitions()
        .search_parameters(name)
        .iter()
        .filter(|parameter| is_supported(parameter))
        .map(|parameter| {
            json!({
                "name": parameter.name,
                "definition": parameter.url(),
                "type": parameter.kind.as_str(),
            })
        })
        .collect();
    let mut resource = json!({
        "type": name,
        "profile": format!("http://hl7.org/fhir/StructureDefinition/{name}"),
    });
    let read_only = server.read_only_types.contains(&name);
    let reads = |code: &&&str| !read_only || matches!(**code, "read" | "search-type");
    let interactions: Vec<&str> = server.interactions.iter().filter(reads).copied().collect();
    if !interactions.is_empty() {
        resource["interaction"] = codes(&interactions);
    }
    resource["versioning"] = json!(if read_only { "no-version" } else { "versioned" });
    resource["searchParam"] = Value::Array(parameters);
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_is_valid_and_promises_what_queries_accept() {
        let server = Capabilities {
            version: "0.1.0",
            date: Timestamp::from_millis(0),
            interactions: &["read", "search-type", "create"],
            system_interactions: &["transaction"],
            oauth: Some(("https://x.example/authorize", "https://x.example/token")),
            resource_types: &[],
            read_only_types: &["AuditEvent"],
        };
        let statement = capability_statement("https://x.example/fhir", &server);
        assert_eq!(crate::validate(&statement), []);
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        assert_eq!(resources.len(), 146);
        let codes = |name: &str| {
            let resource = resources.iter().find(|resource| resource["type"] == name);
            resource.expect("is served")["interaction"].clone()
        };
        assert_eq!(codes("AuditEvent"), json!([{ "code": "read" }, { "code": "search-type" }]));
        assert_eq!(codes("Patient").as_array().map(Vec::len), Some(3));
        for resource in resources {
            let name = resource["type"].as_str().expect("type");
            for parameter in resource["searchParam"].as_array().expect("parameters") {
                let parameter = parameter["name"].as_str().expect("name");
                let pair = (format!("{parameter}:missing"), "true".to_owned());
                let pair =
                    if parameter == "_id" { ("_id".to_owned(), "1".to_owned()) } else { pair };
                let query =
                    crate::search::parse_query(name, &[pair], crate::search::Handling::Strict);
                assert!(query.is_ok(), "{name} {parameter}: {query:?}");
            }
        }
    }
}
