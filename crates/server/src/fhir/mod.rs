//! The FHIR R4 API of each organization, `/fhir/{organization}` (FHIR R4 http.html).
//!
//! Invariant: an organization that is not there and an id that is not there, or not
//! for the caller, are answered alike.

pub(crate) mod answer;
mod binary;
mod bulk;
mod bundle;
mod history;
mod import;
mod metadata;
pub(crate) mod negotiate;
mod offered;
pub(crate) mod operations;
mod patch;
mod read;
mod search;
pub(crate) mod speak;
mod subscriptions;
mod write;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{any, get, post};
use holdfast_exchange::READ_ONLY_TYPES;

use crate::caller::Asking;
use crate::error::{Failure, as_outcome};
use crate::router::no_such_method;
use crate::state::AppState;

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/fhir/{organization}", post(bundle::submit).get(search::of_types_by_get))
        .route("/fhir/{organization}/", post(bundle::submit).get(search::of_types_by_get))
        .route("/fhir/{organization}/metadata", get(metadata::metadata))
        .route("/fhir/{organization}/openapi.json", get(metadata::openapi_document))
        .route("/fhir/{organization}/_history", get(history::of_system))
        .route("/fhir/{organization}/_search", post(search::of_types_by_post))
        .merge(bulk::routes())
        .merge(subscriptions::routes())
        .route(
            "/fhir/{organization}/{type}",
            get(search::by_get)
                .post(write::create)
                .put(write::update_found)
                .patch(write::patch_found)
                .delete(write::delete_found),
        )
        .route("/fhir/{organization}/{type}/_search", post(search::by_post))
        .route("/fhir/{organization}/{type}/_history", get(history::of_type))
        .route(
            "/fhir/{organization}/{type}/{id}",
            get(read::read).put(write::update).patch(write::patch).delete(write::delete),
        )
        .route("/fhir/{organization}/{type}/{id}/_history", get(history::of_instance))
        .route("/fhir/{organization}/{type}/{id}/_history/{version}", get(read::vread))
        .route(
            "/fhir/{organization}/{type}/{id}/{*rest}",
            any(not_there).get(search::in_compartment_by_get).post(search::in_compartment_by_post),
        )
        .merge(operations::routes())
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(as_outcome))
}

/// URLs that FHIR does not know, and operations (`$everything`).
async fn not_there(_: Asking) -> Failure {
    Failure::not_found()
}

/// A resource type in a URL.
fn type_named(text: &str) -> Result<&str, Failure> {
    if text.starts_with('$') {
        return Err(Failure::unsupported("operations are not offered; /metadata lists what is"));
    }
    holdfast_fhir::type_code(text).map(|_| text).ok_or_else(Failure::not_found)
}

/// A resource type in a URL that is to be written to.
fn writable_type_named(text: &str) -> Result<&str, Failure> {
    let resource_type = type_named(text)?;
    if READ_ONLY_TYPES.contains(&resource_type) {
        let text = format!("{resource_type} is read-only here: it is a view of the ledger");
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text));
    }
    Ok(resource_type)
}

/// A logical id in a URL (FHIR R4 datatypes.html#id).
fn id_named(text: &str) -> Result<&str, Failure> {
    if text.starts_with('$') {
        return Err(Failure::unsupported("operations are not offered; /metadata lists what is"));
    }
    if holdfast_fhir::is_id(text) { Ok(text) } else { Err(Failure::not_found()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_not_offered_and_unknown_types_are_not_there() {
        assert_eq!(type_named("$convert").map_err(|f| f.status), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(id_named("$everything").map_err(|f| f.status), Err(StatusCode::NOT_IMPLEMENTED));
        assert_eq!(type_named("Pat").map_err(|f| f.status), Err(StatusCode::NOT_FOUND));
        assert_eq!(id_named("a b").map_err(|f| f.status), Err(StatusCode::NOT_FOUND));
        assert_eq!(type_named("Patient").map_err(|f| f.status), Ok("Patient"));
        assert_eq!(id_named("a-1.b").map_err(|f| f.status), Ok("a-1.b"));
        assert_eq!(writable_type_named("Patient").map_err(|f| f.status), Ok("Patient"));
        let read_only = writable_type_named("AuditEvent").map_err(|f| f.status);
        assert_eq!(read_only, Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
