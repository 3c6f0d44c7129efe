//! What the server can do (FHIR R4 http.html#capabilities).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_fhir::{Instance, capability_statement};

use super::answer;
use super::negotiate::Wishes;
use super::offered::OFFERED;
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
        &OFFERED,
        &Instance {
            base: &state.fhir_base(&organization),
            version: env!("CARGO_PKG_VERSION"),
            date: state.started,
            profiles: &[],
            parameters: &[],
            security: &["Certificates"],
            security_text: "People sign in at /auth/token and send the token as `Authorization: \
                            Bearer`; systems show a client certificate.",
        },
    );
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &statement, &wishes))
}
