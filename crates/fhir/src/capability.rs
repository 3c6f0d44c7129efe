//! The CapabilityStatement: made from what search really supports and from one table
//! of what a server offers, so that it cannot promise more.

use holdfast_base::Timestamp;
use serde_json::{Value, json};

use crate::definitions;
use crate::definitions::{ParameterKind, SearchParameter};
use crate::search::is_searchable;

/// Resource types for which something is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Types {
    /// For none.
    None,
    /// For every type that is served.
    All,
    /// For these.
    These(&'static [&'static str]),
}

impl Types {
    /// Whether `name` is one of them.
    pub fn has(self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::These(names) => names.contains(&name),
        }
    }
}

/// An operation (FHIR R4 operations.html).
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its code, without `$`.
    pub name: &'static str,
    /// Canonical URL of its OperationDefinition.
    pub definition: &'static str,
    /// Whether `[base]/$name` is offered.
    pub system: bool,
    /// Types whose `[type]/$name` is offered.
    pub types: Types,
    /// Types whose `[type]/[id]/$name` is offered.
    pub instances: Types,
    /// Whether GET calls it; POST always does.
    pub by_get: bool,
}

/// What a server offers: the table that routes, CapabilityStatement and OpenAPI
/// document go by.
#[derive(Debug, Clone, Copy)]
pub struct Offered {
    /// Codes of type-restful-interaction that every resource type has.
    pub interactions: &'static [&'static str],
    /// Codes of system-restful-interaction: `transaction`, `batch`.
    pub system_interactions: &'static [&'static str],
    /// Resource types that are served.
    pub types: Types,
    /// Resource types that can only be read and searched, and have one version.
    pub read_only_types: &'static [&'static str],
    /// Whether former versions can be read.
    pub read_history: bool,
    /// Whether an update may create.
    pub update_create: bool,
    /// `If-None-Exist`.
    pub conditional_create: bool,
    /// Code of conditional-read-status.
    pub conditional_read: &'static str,
    /// `PUT [type]?…`.
    pub conditional_update: bool,
    /// Code of conditional-delete-status.
    pub conditional_delete: &'static str,
    /// `_include` of every reference parameter.
    pub include: bool,
    /// `_revinclude` of every reference parameter.
    pub reverse_include: bool,
    /// Parameters of a search over all types, besides `_type`.
    pub system_parameters: &'static [&'static str],
    /// Compartments that can be searched.
    pub compartments: &'static [&'static str],
    /// Media types of documents.
    pub formats: &'static [&'static str],
    /// Media types of patches.
    pub patch_formats: &'static [&'static str],
    /// Operations.
    pub operations: &'static [Operation],
    /// Canonical URLs of CapabilityStatements whose demands are met.
    pub instantiates: &'static [&'static str],
    /// Canonical URLs of implementation guides that are followed.
    pub guides: &'static [&'static str],
}

impl Offered {
    /// The codes of the interactions with a type.
    pub fn interactions_of(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let read_only = self.read_only_types.contains(&name);
        let fits = move |code: &&str| !read_only || matches!(*code, "read" | "search-type");
        self.interactions.iter().copied().filter(fits)
    }

    /// Whether every type, or `name`, has the interaction `code`.
    pub fn has(&self, name: &str, code: &str) -> bool {
        self.types.has(name) && self.interactions_of(name).any(|known| known == code)
    }

    /// The names of the types that are served.
    pub fn type_names(&self) -> impl Iterator<Item = &'static str> {
        let types = self.types;
        definitions().resource_types().iter().copied().filter(move |name| types.has(name))
    }
}

/// One search parameter of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedParameter {
    /// Its name in a query.
    pub name: String,
    /// Canonical URL of its definition.
    pub definition: String,
    /// Code of search-param-type.
    pub kind: String,
}

/// What a statement says of one server and organization, besides the table.
#[derive(Debug, Clone)]
pub struct Instance<'a> {
    /// Base of the API.
    pub base: &'a str,
    /// Version of the software.
    pub version: &'a str,
    /// Since when the statement holds: the build or start of the server.
    pub date: Timestamp,
    /// Profiles that resources are checked against: type and canonical URL.
    pub profiles: &'a [(String, String)],
    /// Search parameters of the organization's own: type and parameter.
    pub parameters: &'a [(String, StatedParameter)],
    /// How callers show who they are: codes of restful-security-service.
    pub security: &'a [&'a str],
    /// The same for people.
    pub security_text: &'a str,
}

/// The statement of a server.
pub fn capability_statement(offered: &Offered, instance: &Instance<'_>) -> Value {
    let resources: Vec<Value> =
        offered.type_names().map(|name| resource(name, offered, instance)).collect();
    let mut rest = json!({ "mode": "server" });
    let services: Vec<Value> = instance
        .security
        .iter()
        .map(|code| {
            let system = "http://terminology.hl7.org/CodeSystem/restful-security-service";
            json!({ "coding": [{ "system": system, "code": code }] })
        })
        .collect();
    if !services.is_empty() {
        rest["security"] =
            json!({ "cors": false, "service": services, "description": instance.security_text });
    }
    rest["resource"] = Value::Array(resources);
    set(&mut rest, "interaction", codes(offered.system_interactions.iter().copied()));
    let system_parameters = offered
        .system_parameters
        .iter()
        .filter_map(|name| definitions().search_parameter("Patient", name).map(parameter_of));
    set(&mut rest, "searchParam", system_parameters.collect());
    let operations = offered.operations.iter().filter(|operation| operation.system);
    set(&mut rest, "operation", operations.map(operation_of).collect());
    let compartments = offered.compartments.iter().map(|url| json!(url));
    set(&mut rest, "compartment", compartments.collect());
    let mut statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instance.date.to_string(),
        "kind": "instance",
    });
    set(
        &mut statement,
        "instantiates",
        offered.instantiates.iter().map(|url| json!(url)).collect(),
    );
    statement["software"] = json!({ "name": "Holdfast", "version": instance.version });
    statement["implementation"] =
        json!({ "description": "Holdfast health information exchange", "url": instance.base });
    statement["fhirVersion"] = json!("4.0.1");
    statement["format"] = json!(offered.formats);
    set(
        &mut statement,
        "patchFormat",
        offered.patch_formats.iter().map(|code| json!(code)).collect(),
    );
    set(
        &mut statement,
        "implementationGuide",
        offered.guides.iter().map(|url| json!(url)).collect(),
    );
    statement["rest"] = json!([rest]);
    statement
}

/// Sets a list that is not empty: FHIR knows no empty ones.
fn set(object: &mut Value, name: &str, list: Vec<Value>) {
    if !list.is_empty() {
        object[name] = Value::Array(list);
    }
}

fn codes<'a>(interactions: impl Iterator<Item = &'a str>) -> Vec<Value> {
    interactions.map(|code| json!({ "code": code })).collect()
}

fn operation_of(operation: &Operation) -> Value {
    json!({ "name": operation.name, "definition": operation.definition })
}

fn parameter_of(parameter: &SearchParameter) -> Value {
    json!({
        "name": parameter.name,
        "definition": parameter.url(),
        "type": parameter.kind.as_str(),
    })
}

/// The search parameters of a type that queries accept.
pub fn supported_parameters(name: &str) -> impl Iterator<Item = &'static SearchParameter> {
    let known = definitions().search_parameters(name);
    known.iter().filter(|parameter| is_searchable(parameter))
}

/// The reference parameters of a type, as `_include` names them.
fn includes(name: &str) -> Vec<Value> {
    supported_parameters(name)
        .filter(|parameter| parameter.kind == ParameterKind::Reference)
        .map(|parameter| json!(format!("{name}:{}", parameter.name)))
        .collect()
}

/// The reference parameters of all types that may point to `name`.
fn reverse_includes(name: &str, offered: &Offered) -> Vec<Value> {
    let of_type = |source: &'static str| {
        supported_parameters(source)
            .filter(|parameter| {
                parameter.kind == ParameterKind::Reference
                    && (parameter.targets.is_empty() || parameter.targets.contains(&name))
            })
            .map(move |parameter| json!(format!("{source}:{}", parameter.name)))
    };
    offered.type_names().flat_map(of_type).collect()
}

fn resource(name: &str, offered: &Offered, instance: &Instance<'_>) -> Value {
    let read_only = offered.read_only_types.contains(&name);
    let mut resource = json!({
        "type": name,
        "profile": format!("http://hl7.org/fhir/StructureDefinition/{name}"),
    });
    let profiles = instance.profiles.iter().filter(|(of, _)| of == name);
    set(&mut resource, "supportedProfile", profiles.map(|(_, url)| json!(url)).collect());
    set(&mut resource, "interaction", codes(offered.interactions_of(name)));
    resource["versioning"] = json!(match read_only {
        true => "no-version",
        // `If-Match` may be given (http.html#concurrency).
        false => "versioned",
    });
    resource["readHistory"] = json!(offered.read_history && !read_only);
    if !read_only {
        resource["updateCreate"] = json!(offered.update_create);
        resource["conditionalCreate"] = json!(offered.conditional_create);
    }
    resource["conditionalRead"] = json!(offered.conditional_read);
    if !read_only {
        resource["conditionalUpdate"] = json!(offered.conditional_update);
        resource["conditionalDelete"] = json!(offered.conditional_delete);
    }
    if offered.include {
        set(&mut resource, "searchInclude", includes(name));
    }
    if offered.reverse_include {
        set(&mut resource, "searchRevInclude", reverse_includes(name, offered));
    }
    let own = instance.parameters.iter().filter(|(of, _)| of == name).map(|(_, parameter)| {
        json!({
            "name": parameter.name,
            "definition": parameter.definition,
            "type": parameter.kind,
        })
    });
    let parameters = supported_parameters(name).map(parameter_of).chain(own);
    set(&mut resource, "searchParam", parameters.collect());
    let operations = offered
        .operations
        .iter()
        .filter(|operation| operation.types.has(name) || operation.instances.has(name));
    set(&mut resource, "operation", operations.map(operation_of).collect());
    resource
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const OFFERED: Offered = Offered {
        interactions: &["read", "search-type", "create"],
        system_interactions: &["transaction"],
        types: Types::All,
        read_only_types: &["AuditEvent"],
        read_history: true,
        update_create: true,
        conditional_create: true,
        conditional_read: "full-support",
        conditional_update: false,
        conditional_delete: "not-supported",
        include: true,
        reverse_include: true,
        system_parameters: &["_id", "_lastUpdated"],
        compartments: &["http://hl7.org/fhir/CompartmentDefinition/patient"],
        formats: &["application/fhir+json"],
        patch_formats: &["application/json-patch+json"],
        operations: &[Operation {
            name: "everything",
            definition: "http://hl7.org/fhir/OperationDefinition/Patient-everything",
            system: false,
            types: Types::None,
            instances: Types::These(&["Patient"]),
            by_get: true,
        }],
        instantiates: &["http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"],
        guides: &["http://hl7.org/fhir/us/core/ImplementationGuide/hl7.fhir.us.core"],
    };

    pub(crate) fn instance() -> Instance<'static> {
        Instance {
            base: "https://x.example/fhir",
            version: "0.1.0",
            date: Timestamp::from_millis(0),
            profiles: &[],
            parameters: &[],
            security: &["Certificates"],
            security_text: "Sign in.",
        }
    }

    fn statement() -> Value {
        let profile = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient".to_owned();
        let own = StatedParameter {
            name: "x-shoe".into(),
            definition: "https://x.example/SearchParameter/shoe".into(),
            kind: "number".into(),
        };
        let instance = Instance {
            profiles: &[("Patient".to_owned(), profile)],
            parameters: &[("Patient".to_owned(), own)],
            ..instance()
        };
        capability_statement(&OFFERED, &instance)
    }

    #[test]
    fn the_statement_is_valid_and_promises_what_queries_accept() {
        let statement = statement();
        assert_eq!(crate::validate(&statement), []);
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        assert_eq!(resources.len(), 146);
        for resource in resources {
            let name = resource["type"].as_str().expect("type");
            for parameter in resource["searchParam"].as_array().expect("parameters") {
                let parameter = parameter["name"].as_str().expect("name");
                if parameter == "x-shoe" {
                    continue;
                }
                let pair = (format!("{parameter}:missing"), "true".to_owned());
                // Composite and special parameters take no modifier.
                let bare = match parameter {
                    "_id" => Some("1"),
                    "near" => Some("1|1"),
                    _ => None,
                };
                let pair = bare.map_or(pair, |value| (parameter.to_owned(), value.to_owned()));
                let is_composite = definitions()
                    .search_parameter(name, parameter)
                    .is_some_and(|known| known.kind == ParameterKind::Composite);
                if is_composite {
                    continue;
                }
                let query =
                    crate::search::parse_query(name, &[pair], crate::search::Handling::Strict);
                assert!(query.is_ok(), "{name} {parameter}: {query:?}");
            }
        }
    }

    #[test]
    fn what_is_read_only_promises_no_more_than_reading() {
        let statement = statement();
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        let named = |name: &str| resources.iter().find(|r| r["type"] == name).expect("is served");
        let audit = named("AuditEvent");
        assert_eq!(audit["interaction"], json!([{ "code": "read" }, { "code": "search-type" }]));
        assert!(audit.get("updateCreate").is_none());
        assert_eq!(named("Patient")["interaction"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn includes_name_references_and_operations_their_types() {
        let statement = statement();
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        let named = |name: &str| resources.iter().find(|r| r["type"] == name).expect("is served");
        let has =
            |list: &Value, text: &str| list.as_array().is_some_and(|l| l.contains(&json!(text)));
        assert!(has(&named("Observation")["searchInclude"], "Observation:subject"));
        assert!(!has(&named("Observation")["searchInclude"], "Observation:code"));
        assert!(has(&named("Patient")["searchRevInclude"], "Observation:subject"));
        assert!(!has(&named("Device")["searchRevInclude"], "AllergyIntolerance:patient"));
        assert_eq!(named("Patient")["operation"][0]["name"], "everything");
        assert!(named("Device").get("operation").is_none());
        assert!(statement["rest"][0].get("operation").is_none());
    }
}
