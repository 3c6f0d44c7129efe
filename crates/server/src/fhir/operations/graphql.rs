//! `$graphql` for reads (FHIR R4 graphql.html): fields, aliases, fragments, variables,
//! `resource` of references, searches as `…List`, list navigation, `@skip`, `@include`,
//! `@first`.
//!
//! Every resource is read or searched by the exchange, so that each has its permit and
//! its entry. Invariant: depth, fields and resources of one call are bounded.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use graphql_parser::query::{
    Definition, Directive, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
    TypeCondition, Value as Input, parse_query,
};
use holdfast_base::OrganizationId;
use holdfast_exchange::{Ask, ExchangeError, Handling};
use holdfast_fhir::{Issue, definitions, parse_reference};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::body::{Payload, media_type, parse_pairs};
use crate::caller::Asking;
use crate::error::Failure;
use crate::fhir::{id_named, type_named};
use crate::state::{AppState, organization_named};

/// Longest query.
const QUERY_BYTES_MAX: usize = 32 * 1024;
/// Objects within objects.
const DEPTH_MAX: usize = 24;
/// Fields of one answer.
const FIELDS_MAX: usize = 100_000;
/// Reads and searches of one call: each is an entry in the ledger.
const OPENED_MAX: usize = 200;

type Set = SelectionSet<'static, String>;
type Asked = Field<'static, String>;

/// `[base]/$graphql`.
pub(super) async fn on_system(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    method: Method,
    headers: HeaderMap,
    uri: axum::http::Uri,
    Payload(body): Payload,
) -> Result<Response, Failure> {
    let call = read_call(&method, &headers, &uri, &body)?;
    respond(&state, &ask, &organization, None, call).await
}

/// `[base]/[type]/[id]/$graphql`.
pub(super) async fn on_instance(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, kind, id)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
    uri: axum::http::Uri,
    Payload(body): Payload,
) -> Result<Response, Failure> {
    let (kind, id) = (type_named(&kind)?, id_named(&id)?);
    let call = read_call(&method, &headers, &uri, &body)?;
    respond(&state, &ask, &organization, Some((kind, id)), call).await
}

fn wrong(place: &str, text: impl Into<String>) -> Failure {
    Failure::invalid(vec![Issue::error("invalid", place, text)])
}

/// Query, name of the operation, variables.
type Call = (String, Option<String>, Map<String, Value>);

fn read_call(
    method: &Method,
    headers: &HeaderMap,
    uri: &axum::http::Uri,
    body: &[u8],
) -> Result<Call, Failure> {
    let pairs = parse_pairs(uri.query().unwrap_or_default().as_bytes())?;
    let of = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let is_raw = media_type(headers).as_deref() == Some("application/graphql");
    let sent: Value = match *method {
        Method::POST if is_raw => json!({ "query": String::from_utf8_lossy(body) }),
        Method::POST => serde_json::from_slice(body)
            .map_err(|_| wrong("body", "has to be JSON with a query"))?,
        Method::GET => {
            let variables = of("variables").unwrap_or_else(|| "{}".into());
            let variables: Value = serde_json::from_str(&variables)
                .map_err(|_| wrong("variables", "has to be JSON"))?;
            json!({ "query": of("query"), "operationName": of("operationName"), "variables": variables })
        }
        _ => return Err(Failure::method_not_allowed()),
    };
    let query = sent["query"].as_str().ok_or_else(|| wrong("query", "is needed"))?.to_owned();
    if query.len() > QUERY_BYTES_MAX {
        return Err(wrong("query", format!("is longer than {QUERY_BYTES_MAX} bytes")));
    }
    let variables = sent["variables"].as_object().cloned().unwrap_or_default();
    Ok((query, sent["operationName"].as_str().map(str::to_owned), variables))
}

async fn respond(
    state: &AppState,
    ask: &Ask,
    organization: &str,
    root: Option<(&str, &str)>,
    (query, name, given): Call,
) -> Result<Response, Failure> {
    let organization = organization_named(organization)?;
    // What the parser says may quote the query: only that it failed is passed on.
    let document =
        parse_query::<String>(&query).map_err(|_| wrong("query", "is no GraphQL"))?.into_static();
    let (mut fragments, mut operations) = (HashMap::new(), Vec::new());
    for definition in document.definitions {
        match definition {
            Definition::Fragment(one) => drop(fragments.insert(one.name.clone(), one)),
            Definition::Operation(OperationDefinition::SelectionSet(set)) => {
                operations.push((None, Vec::new(), set));
            }
            Definition::Operation(OperationDefinition::Query(query)) => {
                operations.push((query.name, query.variable_definitions, query.selection_set));
            }
            Definition::Operation(_) => return Err(wrong("query", "only queries are offered")),
        }
    }
    let chosen = match &name {
        Some(_) => operations.into_iter().find(|(known, ..)| *known == name),
        None if operations.len() > 1 => None,
        None => operations.pop(),
    };
    let (_, declared, set) =
        chosen.ok_or_else(|| wrong("operationName", "has to name one operation"))?;
    let mut variables = Map::new();
    for one in declared {
        let value = given.get(&one.name).cloned();
        let value = value.or_else(|| one.default_value.as_ref().map(|v| plain(v, &Map::new())));
        variables.insert(one.name, value.unwrap_or_default());
    }
    let run = Run {
        state,
        ask,
        organization: &organization,
        fragments,
        variables,
        opened: AtomicUsize::new(0),
        fields: AtomicUsize::new(0),
        errors: Mutex::new(Vec::new()),
    };
    let mut data = Map::new();
    match root {
        None => run.system(&set, &mut data, 0).await?,
        Some((kind, id)) => {
            let resource = run.read(kind, id).await?;
            run.object(&resource, &resource, Kind::of(kind), &set, &mut data, 0).await?;
        }
    }
    let mut answer = json!({ "data": data });
    let errors = run.errors.into_inner();
    if !errors.is_empty() {
        answer["errors"] = Value::Array(errors);
    }
    Ok(Json(answer).into_response())
}

/// Where an object is described: a type, and a path below it.
#[derive(Clone, Copy)]
struct Kind<'a> {
    name: &'a str,
    path: &'a str,
}

impl<'a> Kind<'a> {
    fn of(name: &'a str) -> Self {
        Self { name, path: "" }
    }

    /// The element `field`, and whether it is a list; `None` when there is none.
    fn step(self, field: &str) -> Option<(Kind<'static>, bool)> {
        definitions().elements(self.name).iter().find_map(|element| {
            let rest = element.path.strip_prefix(self.path)?;
            let rest = if self.path.is_empty() { rest } else { rest.strip_prefix('.')? };
            if rest.contains('.') {
                return None;
            }
            let is_list = element.max != Some(1);
            if !rest.ends_with("[x]") && rest == field {
                if let Some((name, path)) = element.content_reference.split_once('.') {
                    return Some((Kind { name, path }, is_list));
                }
                let code = element.types.first().map_or("", |kind| kind.code);
                let inner = matches!(code, "BackboneElement" | "Element");
                let root = definitions().type_definition(self.name)?.name;
                let kind =
                    if inner { Kind { name: root, path: element.path } } else { Kind::of(code) };
                return Some((kind, is_list));
            }
            let suffix = field.strip_prefix(rest.strip_suffix("[x]")?)?;
            let fits = |code: &str| code.eq_ignore_ascii_case(suffix);
            let kind = element.types.iter().find(|kind| fits(kind.code))?;
            Some((Kind::of(kind.code), false))
        })
    }
}

struct Run<'a> {
    state: &'a AppState,
    ask: &'a Ask,
    organization: &'a OrganizationId,
    fragments: HashMap<String, FragmentDefinition<'static, String>>,
    variables: Map<String, Value>,
    opened: AtomicUsize,
    fields: AtomicUsize,
    errors: Mutex<Vec<Value>>,
}

/// An input value, with variables put in.
fn plain(input: &Input<'static, String>, variables: &Map<String, Value>) -> Value {
    match input {
        Input::Variable(name) => variables.get(name).cloned().unwrap_or_default(),
        Input::Int(number) => json!(number.as_i64()),
        Input::Float(number) => json!(number),
        Input::String(text) | Input::Enum(text) => json!(text),
        Input::Boolean(boolean) => json!(boolean),
        Input::Null => Value::Null,
        Input::List(list) => list.iter().map(|one| plain(one, variables)).collect(),
        Input::Object(fields) => {
            Value::Object(fields.iter().map(|(k, v)| (k.clone(), plain(v, variables))).collect())
        }
    }
}

/// A value as text in a search.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text_of).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

type Walk<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

impl Run<'_> {
    fn count(&self) -> Result<(), Failure> {
        if self.opened.fetch_add(1, Ordering::Relaxed) >= OPENED_MAX {
            let text = format!("asks for more than {OPENED_MAX} reads and searches");
            return Err(Failure::invalid(vec![Issue::error("too-costly", "query", text)]));
        }
        Ok(())
    }

    fn spend(&self, depth: usize) -> Result<(), Failure> {
        let fields = self.fields.fetch_add(1, Ordering::Relaxed);
        if depth > DEPTH_MAX || fields > FIELDS_MAX {
            let text = "is too deep or asks for too much";
            return Err(Failure::invalid(vec![Issue::error("too-costly", "query", text)]));
        }
        Ok(())
    }

    async fn read(&self, kind: &str, id: &str) -> Result<Value, Failure> {
        self.count()?;
        let read = self.state.exchange.read(self.ask, self.organization, kind, id, None);
        Ok(read.await?.resource)
    }

    fn wanted(&self, directives: &[Directive<'static, String>]) -> Result<bool, Failure> {
        for one in directives {
            let condition = one.arguments.iter().find(|(name, _)| name == "if");
            let condition = condition.map(|(_, value)| plain(value, &self.variables));
            match (one.name.as_str(), condition) {
                ("skip", Some(Value::Bool(true))) | ("include", Some(Value::Bool(false))) => {
                    return Ok(false);
                }
                ("skip" | "include", Some(Value::Bool(_))) | ("first", None) => {}
                _ => {
                    let text = "only @skip(if), @include(if) and @first are offered";
                    return Err(wrong("query", text));
                }
            }
        }
        Ok(true)
    }

    /// The fields of the whole base: `Patient(id: …)`, `PatientList(…)`.
    async fn system(
        &self,
        set: &Set,
        data: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Failure> {
        for selection in &set.items {
            let Selection::Field(field) = selection else {
                return Err(wrong("query", "fragments at the top are not offered"));
            };
            self.spend(depth)?;
            if !self.wanted(&field.directives)? {
                continue;
            }
            let key = field.alias.clone().unwrap_or_else(|| field.name.clone());
            let value = match field.name.strip_suffix("List") {
                Some(kind) => self.list_of(kind, field, None, depth).await?,
                None => self.one_of(field, depth).await?,
            };
            data.insert(key, value);
        }
        Ok(())
    }

    async fn one_of(&self, field: &Asked, depth: usize) -> Result<Value, Failure> {
        let kind = type_known(&field.name)?;
        let id = match field.arguments.as_slice() {
            [(name, value)] if name == "id" => plain(value, &self.variables),
            _ => return Err(wrong(&field.name, "takes an id and nothing else")),
        };
        let id =
            id.as_str().filter(|id| holdfast_fhir::is_id(id)).ok_or_else(Failure::not_found)?;
        let resource = self.read(kind, id).await?;
        let mut inner = Map::new();
        self.object(
            &resource,
            &resource,
            Kind::of(kind),
            &field.selection_set,
            &mut inner,
            depth + 1,
        )
        .await?;
        Ok(Value::Object(inner))
    }

    /// A search; names of parameters have `_` where they have `-` (graphql.html#searching).
    async fn list_of(
        &self,
        kind: &str,
        field: &Asked,
        of: Option<String>,
        depth: usize,
    ) -> Result<Value, Failure> {
        let kind = type_known(kind)?;
        let mut pairs = Vec::new();
        for (name, value) in &field.arguments {
            let value = text_of(&plain(value, &self.variables));
            match (name.as_str(), &of) {
                ("_reference", Some(of)) => pairs.push((value.replace('_', "-"), of.clone())),
                (name, _) if name.starts_with('_') => pairs.push((name.to_owned(), value)),
                (name, _) => pairs.push((name.replace('_', "-"), value)),
            }
        }
        self.count()?;
        let exchange = &self.state.exchange;
        let found =
            exchange.search(self.ask, self.organization, kind, &pairs, Handling::Strict).await?;
        let mut list = Vec::new();
        for one in found.matches {
            let mut inner = Map::new();
            let set = &field.selection_set;
            let resource = &one.resource;
            self.object(resource, resource, Kind::of(kind), set, &mut inner, depth + 1).await?;
            list.push(Value::Object(inner));
        }
        Ok(Value::Array(list))
    }

    /// The fields of one object of the resource `root`.
    fn object<'a>(
        &'a self,
        root: &'a Value,
        node: &'a Value,
        kind: Kind<'a>,
        set: &'a Set,
        data: &'a mut Map<String, Value>,
        depth: usize,
    ) -> Walk<'a> {
        Box::pin(async move {
            for selection in &set.items {
                self.spend(depth)?;
                let (condition, directives, inner) = match selection {
                    Selection::Field(field) => {
                        if self.wanted(&field.directives)? {
                            self.field(root, node, kind, field, data, depth).await?;
                        }
                        continue;
                    }
                    Selection::InlineFragment(one) => {
                        (one.type_condition.as_ref(), &one.directives, &one.selection_set)
                    }
                    Selection::FragmentSpread(spread) => {
                        let known = self.fragments.get(&spread.fragment_name);
                        let one =
                            known.ok_or_else(|| wrong("query", "names an unknown fragment"))?;
                        (Some(&one.type_condition), &spread.directives, &one.selection_set)
                    }
                };
                let fits = condition.is_none_or(|TypeCondition::On(name)| {
                    name == kind.name || matches!(name.as_str(), "Resource" | "Element")
                });
                if fits && self.wanted(directives)? {
                    self.object(root, node, kind, inner, data, depth + 1).await?;
                }
            }
            Ok(())
        })
    }

    async fn field(
        &self,
        root: &Value,
        node: &Value,
        kind: Kind<'_>,
        field: &Asked,
        data: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Failure> {
        let key = field.alias.clone().unwrap_or_else(|| field.name.clone());
        let is_resource = kind.path.is_empty() && definitions().is_resource_type(kind.name);
        match field.name.as_str() {
            "resourceType" | "__typename" if is_resource => {
                data.insert(key, json!(kind.name));
                return Ok(());
            }
            "resource" if kind.name == "Reference" => {
                return self.follow(root, node, field, key, data, depth).await;
            }
            name if is_resource && name.ends_with("List") => {
                let of = format!("{}/{}", kind.name, node["id"].as_str().unwrap_or_default());
                let is_reverse = field.arguments.iter().any(|(name, _)| name == "_reference");
                if !is_reverse {
                    return Err(wrong(name, "needs _reference here"));
                }
                let kind = name.trim_end_matches("List");
                let value = self.list_of(kind, field, Some(of), depth).await?;
                data.insert(key, value);
                return Ok(());
            }
            _ => {}
        }
        let step = kind.step(&field.name);
        let (inner, is_list) = step
            .ok_or_else(|| wrong(kind.name, format!("has no element `{}`", shown(&field.name))))?;
        let value = &node[&field.name];
        if value.is_null() {
            return Ok(());
        }
        let only_first = field.directives.iter().any(|one| one.name == "first");
        if !is_list {
            if !field.arguments.is_empty() {
                return Err(wrong(&field.name, "takes arguments only where it is a list"));
            }
            let value = self.value(root, value, inner, field, depth).await?;
            data.insert(key, value);
            return Ok(());
        }
        let mut list = Vec::new();
        for item in self.navigated(value, inner, field)? {
            list.push(self.value(root, item, inner, field, depth).await?);
        }
        let value = if only_first { list.into_iter().next() } else { Some(Value::Array(list)) };
        data.extend(value.map(|value| (key, value)));
        Ok(())
    }

    async fn value(
        &self,
        root: &Value,
        value: &Value,
        kind: Kind<'_>,
        field: &Asked,
        depth: usize,
    ) -> Result<Value, Failure> {
        let set = &field.selection_set;
        match (value.is_object(), set.items.is_empty()) {
            (false, true) => Ok(value.clone()),
            (true, false) => {
                let kind = match value["resourceType"].as_str() {
                    Some(name) => Kind::of(name),
                    None => kind,
                };
                let mut inner = Map::new();
                self.object(root, value, kind, set, &mut inner, depth + 1).await?;
                Ok(Value::Object(inner))
            }
            (true, true) => Err(wrong(&shown(&field.name), "say which of its fields")),
            (false, false) => Err(wrong(&shown(&field.name), "is a primitive: it has no fields")),
        }
    }

    /// Items of a list that the arguments leave (graphql.html#list).
    fn navigated<'v>(
        &self,
        value: &'v Value,
        kind: Kind<'_>,
        field: &Asked,
    ) -> Result<Vec<&'v Value>, Failure> {
        let mut items: Vec<&Value> = value.as_array().into_iter().flatten().collect();
        let (mut offset, mut count) = (0, usize::MAX);
        for (name, input) in &field.arguments {
            let told = plain(input, &self.variables);
            let number = || told.as_u64().and_then(|number| usize::try_from(number).ok());
            match name.as_str() {
                "_offset" => offset = number().ok_or_else(|| wrong("_offset", "is a count"))?,
                "_count" => count = number().ok_or_else(|| wrong("_count", "is a count"))?,
                name if kind.step(name).is_some() => items.retain(|item| item[name] == told),
                name => return Err(wrong(&shown(name), "is no argument of this list")),
            }
        }
        Ok(items.into_iter().skip(offset).take(count).collect())
    }

    /// The target of a reference: contained, or read like any resource.
    async fn follow(
        &self,
        root: &Value,
        node: &Value,
        field: &Asked,
        key: String,
        data: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), Failure> {
        let (mut optional, mut only) = (false, None);
        for (name, value) in &field.arguments {
            match (name.as_str(), plain(value, &self.variables)) {
                ("optional", Value::Bool(told)) => optional = told,
                ("type", Value::String(kind)) => only = Some(kind),
                (name, _) => return Err(wrong(&shown(name), "is no argument of `resource`")),
            }
        }
        let reference = node["reference"].as_str().unwrap_or_default();
        let target = if let Some(id) = reference.strip_prefix('#') {
            let contained = root["contained"].as_array().into_iter().flatten();
            contained.into_iter().find(|one| one["id"] == id).cloned()
        } else {
            let parts = parse_reference(reference).filter(|parts| parts.base.is_empty());
            let parts =
                parts.filter(|p| only.as_deref().is_none_or(|only| only == p.resource_type));
            match parts {
                None => None,
                Some(parts) => match self.read(parts.resource_type, parts.id).await {
                    Ok(resource) => Some(resource),
                    Err(failure)
                        if failure.status.is_client_error()
                            && failure.status != axum::http::StatusCode::TOO_MANY_REQUESTS
                            && failure.code != "too-costly" =>
                    {
                        None
                    }
                    Err(failure) => return Err(failure),
                },
            }
        };
        let is_other = only.is_some() && target.is_none();
        match target {
            Some(target) => {
                let kind = target["resourceType"].as_str().unwrap_or_default().to_owned();
                let mut inner = Map::new();
                let set = &field.selection_set;
                self.object(&target, &target, Kind::of(&kind), set, &mut inner, depth + 1).await?;
                data.insert(key, Value::Object(inner));
            }
            None if optional || is_other => {}
            None => {
                let message = ExchangeError::NotFound.to_string();
                self.errors.lock().push(json!({ "message": message, "path": [key] }));
                data.insert(key, Value::Null);
            }
        }
        Ok(())
    }
}

fn type_known(name: &str) -> Result<&str, Failure> {
    let known = definitions().is_resource_type(name);
    if known { Ok(name) } else { Err(wrong(&shown(name), "is no resource type")) }
}

/// A name of the query as it may stand in an answer.
fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}
