//! What the server can do (FHIR R4 http.html#capabilities).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_exchange::READ_ONLY_TYPES;
use holdfast_fhir::{Capabilities, capability_statement};

use super::answer;
use super::negotiate::Wishes;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// `GET metadata`: open to everybody, and the same for every name that an
/// organization could have, so that it does not tell which ones there are.
pub(super) async fn metadata(
    State(state): State<AppState>,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let statement = capability_statement(
        &state.fhir_base(&organization),
        &Capabilities {
            version: env!("CARGO_PKG_VERSION"),
            date: state.started,
            interactions: &["read", "vread", "search-type", "create", "update"],
            system_interactions: &["transaction", "batch"],
            oauth: None,
            resource_types: &[],
            read_only_types: READ_ONLY_TYPES,
        },
    );
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &statement, &wishes))
}
