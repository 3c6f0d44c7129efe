//! Operations (FHIR R4 operations.html): one table says what there is, one handler
//! reads the call, and one file a group answers it.
//!
//! Invariant: an operation that changes something is heard by POST only
//! (operations.html#executing), and every parameter is declared or refused by name.

mod chosen;
mod everything;
mod graphql;
mod message;
mod meta;
mod patient_match;
mod pix;
mod terminology;
mod validate;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::{any, get};
use holdfast_base::OrganizationId;
use holdfast_exchange::Ask;
use holdfast_fhir::operations::{Arguments, Declared};
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::{Value, json};

use super::negotiate::{Wishes, require_json};
use super::{answer, id_named, type_named};
use crate::body::Payload;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// What an operation is called on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// `[base]/$name`
    System,
    /// `[base]/[type]/$name`
    Type,
    /// `[base]/[type]/[id]/$name`
    Instance,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its name, without the dollar sign.
    pub name: &'static str,
    /// What it is called on.
    pub levels: &'static [Level],
    /// Resource types; empty is every type.
    pub types: &'static [&'static str],
    /// Whether it changes something: then it is not for GET.
    pub affects_state: bool,
    /// What it takes.
    pub parameters: &'static [Declared],
    /// The parameter that may be the whole body of a POST.
    pub alone: Option<&'static str>,
}

/// Every operation that is answered here.
pub(crate) const OPERATIONS: &[Operation] = &[
    everything::PATIENT,
    everything::ENCOUNTER,
    meta::META,
    meta::META_ADD,
    meta::META_DELETE,
    meta::DIFF,
    meta::DIFF_NAMED,
    chosen::LASTN,
    chosen::DOCREF,
    chosen::DOCUMENT,
    patient_match::MATCH,
    pix::PIX,
    message::PROCESS_MESSAGE,
    message::CONVERT,
    terminology::LOOKUP,
    terminology::VALIDATE_CODE,
    terminology::SUBSUMES,
    terminology::EXPAND,
    terminology::VALIDATE_MEMBER,
    terminology::TRANSLATE,
    validate::VALIDATE,
];

/// One call, understood.
struct Call<'a> {
    state: &'a AppState,
    ask: &'a Ask,
    organization: &'a OrganizationId,
    /// Name of the operation.
    name: &'static str,
    /// Empty at system level.
    resource_type: &'a str,
    /// Empty above instance level.
    id: &'a str,
    arguments: Arguments,
}

impl Call<'_> {
    fn base(&self) -> String {
        self.state.fhir_base(self.organization)
    }
}

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/fhir/{organization}/$versions", get(message::versions).post(message::versions))
        .route("/fhir/{organization}/$graphql", any(graphql::on_system))
        .route("/fhir/{organization}/{type}/{id}/$graphql", any(graphql::on_instance))
        .route("/fhir/{organization}/${operation}", any(on_system))
        .route("/fhir/{organization}/{type}/${operation}", any(on_type))
        .route("/fhir/{organization}/{type}/{id}/${operation}", any(on_instance))
}

async fn on_system(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, name)): Path<(String, String)>,
    wishes: Wishes,
    method: Method,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Failure> {
    let place = Place { organization: &organization, resource_type: "", id: "", name: &name };
    respond(&state, &ask, place, &wishes, &method, &headers, &body).await
}

async fn on_type(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, name)): Path<(String, String, String)>,
    wishes: Wishes,
    method: Method,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Failure> {
    let resource_type = type_named(&resource_type)?;
    let place = Place { organization: &organization, resource_type, id: "", name: &name };
    respond(&state, &ask, place, &wishes, &method, &headers, &body).await
}

async fn on_instance(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id, name)): Path<(String, String, String, String)>,
    wishes: Wishes,
    method: Method,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Failure> {
    let (resource_type, id) = (type_named(&resource_type)?, id_named(&id)?);
    let place = Place { organization: &organization, resource_type, id, name: &name };
    respond(&state, &ask, place, &wishes, &method, &headers, &body).await
}

/// Where an operation is called.
#[derive(Clone, Copy)]
struct Place<'a> {
    organization: &'a str,
    resource_type: &'a str,
    id: &'a str,
    name: &'a str,
}

impl Place<'_> {
    fn level(self) -> Level {
        match (self.resource_type, self.id) {
            ("", _) => Level::System,
            (_, "") => Level::Type,
            _ => Level::Instance,
        }
    }

    fn operation(self) -> Result<&'static Operation, Failure> {
        let fits = |operation: &&Operation| {
            operation.name == self.name
                && operation.levels.contains(&self.level())
                && (operation.types.is_empty() || operation.types.contains(&self.resource_type))
        };
        let unknown = || Failure::unsupported("no such operation here; /metadata lists what is");
        OPERATIONS.iter().find(fits).ok_or_else(unknown)
    }
}

async fn respond(
    state: &AppState,
    ask: &Ask,
    place: Place<'_>,
    wishes: &Wishes,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Failure> {
    let organization = organization_named(place.organization)?;
    let operation = place.operation()?;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if (reads && operation.affects_state) || !(reads || method == Method::POST) {
        return Err(Failure::method_not_allowed());
    }
    let body = if reads { None } else { parameters_of(operation, headers, body)? };
    let arguments = Arguments::read(operation.parameters, &wishes.pairs, body.as_ref())
        .map_err(Failure::invalid)?;
    let Place { resource_type, id, .. } = place;
    let organization = &organization;
    let name = operation.name;
    let call = Call { state, ask, organization, name, resource_type, id, arguments };
    let resource = answer_to(&call).await?;
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &resource, wishes))
}

/// The Parameters of a POST; an operation that takes one resource may be sent that
/// alone (operations.html#request).
fn parameters_of(
    operation: &Operation,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Value>, Failure> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    require_json(headers)?;
    let sent =
        parse_resource(body, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    match (sent["resourceType"].as_str(), operation.alone) {
        (Some("Parameters"), _) => Ok(Some(sent)),
        (Some(_), Some(name)) => Ok(Some(json!({
            "resourceType": "Parameters", "parameter": [{ "name": name, "resource": sent }],
        }))),
        _ => {
            let issue = Issue::error("structure", "resourceType", "has to be Parameters");
            Err(Failure::invalid(vec![issue]))
        }
    }
}

async fn answer_to(call: &Call<'_>) -> Result<Value, Failure> {
    match call.name {
        "everything" => everything::answer(call).await,
        "meta" => meta::meta(call).await,
        "meta-add" => meta::change(call, true).await,
        "meta-delete" => meta::change(call, false).await,
        "diff" => meta::difference(call).await,
        "lastn" => chosen::lastn(call).await,
        "docref" => chosen::docref(call).await,
        "document" => chosen::document(call).await,
        "match" => patient_match::answer(call).await,
        "ihe-pix" => pix::answer(call).await,
        "process-message" => message::process(call).await,
        "convert" => message::convert(call),
        "lookup" => terminology::lookup(call).await,
        "validate-code" if call.resource_type == "CodeSystem" => {
            terminology::validate_code(call).await
        }
        "validate-code" => terminology::validate_member(call).await,
        "subsumes" => terminology::subsumes(call).await,
        "expand" => terminology::expand(call).await,
        "translate" => terminology::translate(call).await,
        "validate" => validate::answer(call).await,
        _ => Err(Failure::unsupported("no such operation here; /metadata lists what is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_by_name_level_and_type() {
        let status = |resource_type, id, name| {
            let place = Place { organization: "o", resource_type, id, name };
            place.operation().map(|operation| operation.name).map_err(|f| f.status)
        };
        assert_eq!(status("Patient", "1", "everything"), Ok("everything"));
        assert_eq!(status("Observation", "1", "everything"), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(status("", "", "everything"), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(status("Patient", "1", "nothing"), Err(StatusCode::NOT_IMPLEMENTED));
    }

    #[test]
    fn each_operation_stands_in_the_table_once() {
        let mut seen = std::collections::BTreeSet::new();
        for operation in OPERATIONS {
            for level in operation.levels {
                let types = if operation.types.is_empty() { &["*"][..] } else { operation.types };
                for kind in types {
                    let entry = (operation.name, format!("{level:?}"), *kind);
                    assert!(seen.insert(entry), "{} {level:?} {kind}", operation.name);
                }
            }
        }
    }
}
