//! What the server can do (FHIR R4 http.html#capabilities).

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use holdfast_fhir::{Instance, Issue, capability_statement, openapi};

use super::negotiate::Wishes;
use super::offered::OFFERED;
use super::{answer, type_named};
use crate::body::parse_pairs;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// How callers show who they are.
const SECURITY: &str = "People sign in at /auth/token and send the token as `Authorization: \
                        Bearer`; systems show a client certificate.";

/// `GET metadata`: open to everybody, and the same for every name that an
/// organization could have, so that it does not tell which ones there are. Who works
/// there is told the organization's own profiles, too.
///
/// The statement is whole in every mode but `terminology` (http.html#capabilities).
pub(super) async fn metadata(
    State(state): State<AppState>,
    asking: Option<Asking>,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let base = state.fhir_base(&organization);
    let mode = wishes.pairs.iter().find(|(name, _)| name == "mode").map(|(_, mode)| mode.as_str());
    match mode {
        None | Some("full" | "normative") => {}
        Some("terminology") => {
            return Err(Failure::unsupported("TerminologyCapabilities are not offered"));
        }
        Some(_) => {
            let text = "has to be full, normative or terminology";
            return Err(Failure::invalid(vec![Issue::error("value", "mode", text)]));
        }
    }
    let works_there = asking.is_some_and(|Asking(ask)| *ask.caller.organization() == organization);
    let profiles = state.exchange.profiles(works_there.then_some(&organization));
    let statement = capability_statement(&OFFERED, &instance(&state, &base, &profiles));
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &statement, &wishes))
}

/// `GET openapi.json`: the same for generators of clients. `resource=Patient,Observation`
/// leaves the other types out.
pub(super) async fn openapi_document(
    State(state): State<AppState>,
    Path(organization): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let base = state.fhir_base(&organization_named(&organization)?);
    let pairs = parse_pairs(query.unwrap_or_default().as_bytes())?;
    let named = pairs.iter().filter(|(name, _)| name == "resource");
    let only: Vec<&str> = named.flat_map(|(_, names)| names.split(',')).collect();
    for name in &only {
        type_named(name)?;
    }
    Ok(Json(openapi(&OFFERED, &instance(&state, &base, &[]), &only)).into_response())
}

fn instance<'a>(state: &AppState, base: &'a str, profiles: &'a [(String, String)]) -> Instance<'a> {
    Instance {
        base,
        version: env!("CARGO_PKG_VERSION"),
        date: state.started,
        profiles,
        parameters: &[],
        security: &["Certificates"],
        security_text: SECURITY,
    }
}
