//! Reading one resource (FHIR R4 http.html#read, #vread).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use holdfast_exchange::{Ask, Disclosed, Handling};
use holdfast_fhir::search::parse_query;

use super::negotiate::{Wishes, not_modified};
use super::{answer, binary, id_named, type_named};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// `GET [type]/[id]`.
pub(super) async fn read(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id)): Path<(String, String, String)>,
    wishes: Result<Wishes, Failure>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    answer_version(&state, &ask, [&organization, &resource_type, &id], None, wishes, &headers).await
}

/// `GET [type]/[id]/_history/[version]`.
pub(super) async fn vread(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id, version)): Path<(String, String, String, String)>,
    wishes: Result<Wishes, Failure>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let version = version.parse().map_err(|_| Failure::not_found())?;
    let place = [&*organization, &*resource_type, &*id];
    answer_version(&state, &ask, place, Some(version), wishes, &headers).await
}

async fn answer_version(
    state: &AppState,
    ask: &Ask,
    place: [&str; 3],
    version: Option<u64>,
    wishes: Result<Wishes, Failure>,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    // What is no format of FHIR's may be that of a Binary's content.
    let wishes = match wishes {
        Err(refused) if place[1] != "Binary" => return Err(refused),
        wishes => wishes,
    };
    let disclosed = fetch(state, ask, place, version).await?;
    let of_version = answer::version_headers(disclosed.version, disclosed.last_updated);
    if not_modified(headers, disclosed.version, disclosed.last_updated) {
        return Ok((StatusCode::NOT_MODIFIED, of_version).into_response());
    }
    if let Some(content) = binary::raw(&disclosed.resource, headers, of_version.clone()) {
        return Ok(content);
    }
    let wishes = wishes?;
    let resource = shaped(disclosed, &wishes.pairs)?;
    Ok(answer::resource(StatusCode::OK, of_version, &resource, &wishes))
}

/// Reads a version, the current one when none is named.
pub(super) async fn fetch(
    state: &AppState,
    ask: &Ask,
    [organization, resource_type, id]: [&str; 3],
    version: Option<u64>,
) -> Result<Disclosed, Failure> {
    let organization = organization_named(organization)?;
    let resource_type = type_named(resource_type)?;
    let id = id_named(id)?;
    Ok(state.exchange.read(ask, &organization, resource_type, id, version).await?)
}

/// The parts that `_summary` and `_elements` ask for; other parameters say nothing
/// to a read.
fn shaped(disclosed: Disclosed, pairs: &[(String, String)]) -> Result<serde_json::Value, Failure> {
    let shape: Vec<_> = pairs
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "_summary" | "_elements"))
        .cloned()
        .collect();
    let query = parse_query(&disclosed.resource_type, &shape, Handling::Strict);
    Ok(query.map_err(Failure::invalid)?.present(disclosed.resource))
}
