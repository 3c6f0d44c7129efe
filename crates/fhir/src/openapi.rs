//! The OpenAPI document of the API, from the same table as the CapabilityStatement.
//! Schemas are made of the definitions: what a document may hold, not every rule of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::capability::{Instance, Offered, Operation, supported_parameters};
use crate::definitions;
use crate::definitions::{Element, TypeKind};

/// Media types of documents that bodies and answers are written in.
const DOCUMENTS: [&str; 2] = ["application/fhir+json", "application/fhir+xml"];
/// Parameters of the result that every search takes (search.html#modifyingresults).
const RESULT_PARAMETERS: [(&str, &str); 5] = [
    ("_count", "Matches on a page"),
    ("_sort", "Parameters to sort by; - before one turns its order"),
    ("_summary", "true, text, data, count or false"),
    ("_elements", "Elements to show"),
    ("_total", "none, estimate or accurate"),
];

/// The OpenAPI 3.0 document of a server (<https://spec.openapis.org/oas/v3.0.3>), for the
/// types in `only`, or all when it is empty.
pub fn openapi(offered: &Offered, instance: &Instance<'_>, only: &[&str]) -> Value {
    let served = offered.type_names().filter(|name| only.is_empty() || only.contains(name));
    let names: Vec<&'static str> = served.collect();
    let mut paths = Map::new();
    system_paths(offered, &mut paths);
    for name in &names {
        type_paths(offered, name, &mut paths);
    }
    let mut schemas = Schemas::default();
    for name in names.iter().chain(&["OperationOutcome", "Bundle", "Parameters"]) {
        schemas.add(name);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Holdfast FHIR R4 API",
            "version": instance.version,
            "description": format!(
                "FHIR R4 (4.0.1), http.html. {} The CapabilityStatement is at /metadata.",
                instance.security_text
            ),
        },
        "servers": [{ "url": instance.base }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "problem": {
                "description": "What is wrong, issue by issue",
                "content": content("OperationOutcome"),
            }},
            "schemas": schemas.done,
        },
    })
}

fn system_paths(offered: &Offered, paths: &mut Map<String, Value>) {
    let has = |code: &str| offered.system_interactions.contains(&code);
    let mut root = Map::new();
    if has("transaction") || has("batch") {
        let mut call = call("submit", "Transaction or batch", &[], "Bundle");
        call["requestBody"] = body("Bundle");
        root.insert("post".into(), call);
    }
    if has("search-system") {
        let parameters: Vec<Value> = offered
            .system_parameters
            .iter()
            .chain(&["_type"])
            .map(|name| query(name, ""))
            .collect();
        root.insert("get".into(), call("searchSystem", "Search over types", &parameters, "Bundle"));
    }
    add(paths, "/", root);
    let metadata = call("metadata", "What the server can do", &[], "CapabilityStatement");
    let mut metadata = untyped(metadata);
    metadata["security"] = json!([]);
    add(paths, "/metadata", one("get", metadata));
    if has("history-system") {
        add(paths, "/_history", one("get", call("historySystem", "History", &history(), "Bundle")));
    }
    for operation in offered.operations.iter().filter(|operation| operation.system) {
        let path = format!("/${}", operation.name);
        add(paths, &path, calls(operation, "System", &[]));
    }
}

fn type_paths(offered: &Offered, name: &str, paths: &mut Map<String, Value>) {
    let has = |code: &str| offered.has(name, code);
    let writable = !offered.read_only_types.contains(&name);
    let mut parameters: Vec<Value> =
        supported_parameters(name).map(|p| query(p.name, p.kind.as_str())).collect();
    parameters.extend(RESULT_PARAMETERS.iter().map(|(name, text)| query(name, text)));

    let mut of_type = Map::new();
    if has("search-type") {
        let search = call(&format!("search{name}"), "Search", &parameters, "Bundle");
        of_type.insert("get".into(), search);
        let mut post = call(&format!("searchByPost{name}"), "Search by a form", &[], "Bundle");
        post["requestBody"] = json!({ "content": { "application/x-www-form-urlencoded": {
            "schema": { "type": "object", "additionalProperties": { "type": "string" } },
        }}});
        add(paths, &format!("/{name}/_search"), one("post", post));
    }
    if has("create") {
        let mut create = call(&format!("create{name}"), "Create", &[], name);
        create["requestBody"] = body(name);
        if offered.conditional_create {
            create["parameters"] = json!([header("If-None-Exist", "Criteria of a search")]);
        }
        of_type.insert("post".into(), create);
    }
    if writable && offered.conditional_update {
        let mut update =
            call(&format!("updateWhere{name}"), "Update what is found", &parameters, name);
        update["requestBody"] = body(name);
        of_type.insert("put".into(), update);
    }
    if writable && offered.conditional_delete != "not-supported" {
        let delete = call(&format!("deleteWhere{name}"), "Delete what is found", &parameters, name);
        of_type.insert("delete".into(), delete);
    }
    add(paths, &format!("/{name}"), of_type);
    if has("history-type") {
        let call = call(&format!("history{name}"), "History of the type", &history(), "Bundle");
        add(paths, &format!("/{name}/_history"), one("get", call));
    }
    instance_paths(offered, name, paths);
    for operation in offered.operations {
        if operation.types.has(name) {
            let path = format!("/{name}/${}", operation.name);
            add(paths, &path, calls(operation, name, &[]));
        }
        if operation.instances.has(name) {
            let path = format!("/{name}/{{id}}/${}", operation.name);
            add(paths, &path, calls(operation, &format!("One{name}"), &[id()]));
        }
    }
}

fn instance_paths(offered: &Offered, name: &str, paths: &mut Map<String, Value>) {
    let has = |code: &str| offered.has(name, code);
    let mut instance = Map::new();
    if has("read") {
        let parameters = [id(), header("If-None-Match", "ETag of what is at hand")];
        instance.insert("get".into(), call(&format!("read{name}"), "Read", &parameters, name));
    }
    if has("update") {
        let parameters = [id(), header("If-Match", "ETag of the version to replace")];
        let mut update = call(&format!("update{name}"), "Update", &parameters, name);
        update["requestBody"] = body(name);
        instance.insert("put".into(), update);
    }
    if has("patch") {
        let mut patch = call(&format!("patch{name}"), "Patch", &[id()], name);
        let formats = offered.patch_formats.iter().map(|format| {
            let schema = match *format {
                "application/json-patch+json" => {
                    json!({ "type": "array", "items": { "type": "object" } })
                }
                _ => json!({ "$ref": "#/components/schemas/Parameters" }),
            };
            ((*format).to_owned(), json!({ "schema": schema }))
        });
        patch["requestBody"] = json!({ "content": formats.collect::<Map<_, _>>() });
        instance.insert("patch".into(), patch);
    }
    if has("delete") {
        let delete = call(&format!("delete{name}"), "Delete", &[id()], name);
        instance.insert("delete".into(), delete);
    }
    add(paths, &format!("/{name}/{{id}}"), instance);
    if has("history-instance") {
        let parameters: Vec<Value> = [id()].into_iter().chain(history()).collect();
        let call = call(&format!("historyOne{name}"), "History of one", &parameters, "Bundle");
        add(paths, &format!("/{name}/{{id}}/_history"), one("get", call));
    }
    if has("vread") {
        let version = json!({
            "name": "vid", "in": "path", "required": true, "schema": { "type": "string" },
        });
        let call = call(&format!("vread{name}"), "Read a version", &[id(), version], name);
        add(paths, &format!("/{name}/{{id}}/_history/{{vid}}"), one("get", call));
    }
}

fn add(paths: &mut Map<String, Value>, path: &str, methods: Map<String, Value>) {
    if methods.is_empty() {
        return;
    }
    let item = paths.entry(path).or_insert_with(|| json!({}));
    if let Some(item) = item.as_object_mut() {
        item.extend(methods);
    }
}

fn one(method: &str, call: Value) -> Map<String, Value> {
    Map::from_iter([(method.to_owned(), call)])
}

/// An operation by POST, and by GET where that may call it.
fn calls(operation: &Operation, level: &str, parameters: &[Value]) -> Map<String, Value> {
    let name: String = operation.name.split('-').map(capitalised).collect();
    let mut post =
        untyped(call(&format!("post{name}{level}"), operation.name, parameters, "Bundle"));
    post["requestBody"] = body("Parameters");
    post["externalDocs"] = json!({ "url": operation.definition });
    let mut methods = one("post", post);
    if operation.by_get {
        let get = call(&format!("get{name}{level}"), operation.name, parameters, "Bundle");
        methods.insert("get".into(), untyped(get));
    }
    methods
}

/// The same call with an answer of any type.
fn untyped(mut call: Value) -> Value {
    let any = json!({ "schema": { "type": "object" } });
    call["responses"]["2XX"]["content"] =
        DOCUMENTS.iter().map(|name| ((*name).to_owned(), any.clone())).collect();
    call
}

fn call(id: &str, summary: &str, parameters: &[Value], answer: &str) -> Value {
    json!({
        "operationId": id,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "2XX": { "description": "Done", "content": content(answer) },
            "default": { "$ref": "#/components/responses/problem" },
        },
    })
}

fn content(schema: &str) -> Value {
    let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{schema}") } });
    DOCUMENTS.iter().map(|name| ((*name).to_owned(), schema.clone())).collect()
}

fn body(schema: &str) -> Value {
    json!({ "required": true, "content": content(schema) })
}

fn id() -> Value {
    let schema = json!({ "type": "string", "pattern": "^[A-Za-z0-9\\-.]{1,64}$" });
    json!({ "name": "id", "in": "path", "required": true, "schema": schema })
}

fn query(name: &str, text: &str) -> Value {
    json!({ "name": name, "in": "query", "description": text, "schema": { "type": "string" } })
}

fn header(name: &str, text: &str) -> Value {
    json!({ "name": name, "in": "header", "description": text, "schema": { "type": "string" } })
}

fn history() -> Vec<Value> {
    vec![query("_count", "Versions on a page"), query("_since", "Changed since")]
}

/// Schemas by name, with all that they lean on.
#[derive(Default)]
struct Schemas {
    done: Map<String, Value>,
    begun: BTreeSet<String>,
}

impl Schemas {
    /// The schema of a resource type or datatype.
    fn add(&mut self, name: &'static str) {
        let Some(kind) = definitions().type_definition(name) else { return };
        if kind.kind != TypeKind::Primitive {
            self.structure(name, "", kind.kind == TypeKind::Resource);
        }
    }

    /// The schema of what stands below `path` of a type.
    fn structure(&mut self, of: &'static str, path: &str, is_resource: bool) {
        let name = if path.is_empty() { of.to_owned() } else { format!("{of}.{path}") };
        if !self.begun.insert(name.clone()) {
            return;
        }
        let (mut properties, mut required) = (Map::new(), Vec::new());
        if is_resource && path.is_empty() {
            properties.insert("resourceType".into(), json!({ "type": "string", "enum": [of] }));
            required.push(json!("resourceType"));
        }
        let below = |element: &&Element| match element.path.strip_prefix(path) {
            Some(rest) if path.is_empty() => !rest.contains('.'),
            Some(rest) => rest.strip_prefix('.').is_some_and(|rest| !rest.contains('.')),
            None => false,
        };
        for element in definitions().elements(of).iter().filter(below) {
            for kind in &element.types {
                let own = matches!(kind.code, "BackboneElement" | "Element");
                let schema = if own {
                    self.structure(of, element.path, false);
                    reference(&format!("{of}.{}", element.path))
                } else {
                    self.value(kind.code)
                };
                let property = match element.is_choice() {
                    true => format!("{}{}", element.name(), capitalised(kind.code)),
                    false => element.name().to_owned(),
                };
                properties.insert(property, listed(element, schema));
            }
            if let Some((owner, shared)) = element.content_reference.split_once('.')
                && let Some(owner) = definitions().type_definition(owner)
            {
                self.structure(owner.name, shared, false);
                let schema = reference(&format!("{}.{shared}", owner.name));
                properties.insert(element.name().to_owned(), listed(element, schema));
            }
            if element.min > 0 && !element.is_choice() {
                required.push(json!(element.name()));
            }
        }
        let mut schema = json!({ "type": "object", "properties": properties });
        if !required.is_empty() {
            schema["required"] = Value::Array(required);
        }
        self.done.insert(name, schema);
    }

    fn value(&mut self, code: &'static str) -> Value {
        let Some(kind) = definitions().type_definition(code) else {
            return json!({ "type": "string" });
        };
        match kind.kind {
            TypeKind::Complex => {
                self.add(kind.name);
                reference(kind.name)
            }
            // Inlined: any resource.
            TypeKind::Resource => json!({
                "type": "object",
                "properties": { "resourceType": { "type": "string" } },
                "required": ["resourceType"],
            }),
            TypeKind::Primitive => primitive(code),
        }
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn listed(element: &Element, schema: Value) -> Value {
    if element.is_list() {
        json!({ "type": "array", "items": schema, "minItems": 1 })
    } else {
        schema
    }
}

fn primitive(code: &str) -> Value {
    match code {
        "boolean" => json!({ "type": "boolean" }),
        "decimal" => json!({ "type": "number" }),
        "integer" => json!({ "type": "integer", "format": "int32" }),
        "unsignedInt" => json!({ "type": "integer", "minimum": 0 }),
        "positiveInt" => json!({ "type": "integer", "minimum": 1 }),
        "date" => json!({ "type": "string", "pattern": "^\\d{4}(-\\d\\d(-\\d\\d)?)?$" }),
        "instant" => json!({ "type": "string", "format": "date-time" }),
        "base64Binary" => json!({ "type": "string", "format": "byte" }),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

fn capitalised(code: &str) -> String {
    let mut letters = code.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::tests::{OFFERED, instance};

    #[test]
    fn the_document_has_a_call_for_all_that_is_offered_and_no_loose_end() {
        let document = openapi(&OFFERED, &instance(), &[]);
        let paths = document["paths"].as_object().expect("paths");
        assert!(paths["/Patient"].get("get").is_some() && paths["/Patient"].get("post").is_some());
        assert!(paths["/Patient/{id}"].get("put").is_none(), "the table offers no update");
        assert!(paths["/AuditEvent"].get("post").is_none(), "read-only");
        assert!(paths.contains_key("/Patient/{id}/$everything"));
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let (mut ids, mut references) = (BTreeSet::new(), BTreeSet::new());
        collect(&document, &mut ids, &mut references);
        assert!(ids.len() > 400, "{}", ids.len());
        for name in references {
            assert!(schemas.contains_key(&name), "{name} is not described");
        }
    }

    /// Operation ids, each of which may stand once, and names of schemas.
    fn collect(value: &Value, ids: &mut BTreeSet<String>, references: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(id) = fields.get("operationId").and_then(Value::as_str) {
                    assert!(ids.insert(id.to_owned()), "{id} twice");
                }
                if let Some(text) = fields.get("$ref").and_then(Value::as_str) {
                    references
                        .extend(text.strip_prefix("#/components/schemas/").map(str::to_owned));
                }
                fields.values().for_each(|value| collect(value, ids, references));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, ids, references)),
            _ => {}
        }
    }

    #[test]
    fn some_types_can_be_asked_for() {
        let document = openapi(&OFFERED, &instance(), &["Patient"]);
        let paths = document["paths"].as_object().expect("paths");
        assert!(paths.contains_key("/Patient") && !paths.contains_key("/Device"));
        let contact = &document["components"]["schemas"]["Patient.contact"]["properties"];
        assert_eq!(contact["name"]["$ref"], "#/components/schemas/HumanName");
    }
}
