//! Histories of a resource, of a type and of everything (FHIR R4 http.html#history).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_exchange::{Ask, History, READ_ONLY_TYPES, Version};
use holdfast_fhir::bundle::{EntryResponse, HistoryEntry, history};
use serde_json::Value;

use super::negotiate::Wishes;
use super::{answer, id_named, type_named};
use crate::body::render_pairs;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// The parameter that opens a further page.
const PAGE: &str = "_page";

/// `GET [base]/_history`.
pub(super) async fn of_system(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, (None, None), &wishes).await
}

/// `GET [type]/_history`.
pub(super) async fn of_type(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, (Some(&resource_type), None), &wishes).await
}

/// `GET [type]/[id]/_history`.
pub(super) async fn of_instance(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id)): Path<(String, String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    respond(&state, &ask, &organization, (Some(&resource_type), Some(&id)), &wishes).await
}

async fn respond(
    state: &AppState,
    ask: &Ask,
    organization: &str,
    of: (Option<&str>, Option<&str>),
    wishes: &Wishes,
) -> Result<Response, Failure> {
    let found = find(state, ask, organization, of, &wishes.pairs).await?;
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &found, wishes))
}

/// Reads a history and makes the Bundle.
pub(super) async fn find(
    state: &AppState,
    ask: &Ask,
    organization: &str,
    (resource_type, id): (Option<&str>, Option<&str>),
    pairs: &[(String, String)],
) -> Result<Value, Failure> {
    let organization = organization_named(organization)?;
    let resource_type = resource_type.map(type_named).transpose()?;
    if resource_type.is_some_and(|kind| READ_ONLY_TYPES.contains(&kind)) {
        let text = "what is a view of the ledger has no history: the ledger never changes";
        return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text));
    }
    let id = id.map(id_named).transpose()?;
    let found = state.exchange.history(ask, &organization, (resource_type, id), pairs).await?;
    let base = state.fhir_base(&organization);
    let mut url = base.clone();
    for part in [resource_type, id].into_iter().flatten() {
        url = format!("{url}/{part}");
    }
    Ok(render(&base, &format!("{url}/_history"), pairs, found))
}

fn render(base: &str, url: &str, pairs: &[(String, String)], found: History) -> Value {
    let with = |query: &str| match query {
        "" => url.to_owned(),
        query => format!("{url}?{query}"),
    };
    let here = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let here = with(&render_pairs(here));
    let next = found.next.as_deref().map(|token| with(&render_pairs([(PAGE, token)])));
    let entries = found.versions.into_iter().map(|version| entry(base, version)).collect();
    history(&here, Some(found.total as u64), entries, next.as_deref())
}

/// One version: what would bring it about, and what was answered.
fn entry(base: &str, version: Version) -> HistoryEntry {
    let Version { resource_type, id, version, last_updated, resource, creates } = version;
    let place = format!("{resource_type}/{id}");
    let (method, status) = match (&resource, creates) {
        (None, _) => ("DELETE", "204 No Content"),
        (Some(_), true) => ("PUT", "201 Created"),
        (Some(_), false) => ("PUT", "200 OK"),
    };
    HistoryEntry {
        full_url: format!("{base}/{place}"),
        request: (method, place),
        response: EntryResponse {
            status: status.to_owned(),
            etag: Some(answer::etag(version)),
            last_modified: Some(last_updated.to_string()),
            ..EntryResponse::default()
        },
        resource,
    }
}
