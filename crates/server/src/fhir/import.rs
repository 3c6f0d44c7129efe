//! `$import`: NDJSON is sent to us, file by file or in one body. Nothing is fetched: a
//! server that follows URLs is a way into other networks.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Json, Router};
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::json;

use super::bulk::{accepted, numbered, require_async};
use super::negotiate::require_json;
use crate::body::{Payload, media_type};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// Longest name of a file.
const NAME_BYTES_MAX: usize = 120;
/// The name of a file that is the body of the kick-off.
const ONLY: &str = "import.ndjson";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/fhir/{organization}/$import", post(import))
        .route("/fhir/{organization}/$bulk-input/{job}/{name}", put(input))
        .route("/fhir/{organization}/$bulk-start/{job}", post(start))
}

/// Whether a body is NDJSON, by what its sender says.
fn is_ndjson(headers: &HeaderMap) -> bool {
    let known = ["application/fhir+ndjson", "application/ndjson", "application/x-ndjson"];
    media_type(headers).is_some_and(|name| known.contains(&name.as_str()))
}

/// `POST $import`: with NDJSON, an import that is started at once; with Parameters or
/// nothing, one that waits for its files.
async fn import(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    require_async(&headers)?;
    let base = state.fhir_base(&organization);
    let request = format!("{base}/$import");
    if is_ndjson(&headers) {
        let job = state.exchange.make_import(&ask, &organization, &request).await?;
        state.exchange.add_import_file(&ask, &organization, job.id, ONLY, &bytes).await?;
        state.exchange.start_import(&ask, &organization, job.id).await?;
        return Ok(accepted(&state, &organization, job.id));
    }
    if !bytes.trim_ascii().is_empty() {
        require_json(&headers)?;
        check_parameters(&bytes)?;
    }
    let job = state.exchange.make_import(&ask, &organization, &request).await?;
    let mut response = accepted(&state, &organization, job.id);
    let told = Json(json!({
        "put": format!("{base}/$bulk-input/{}/{{name}}.ndjson", job.id),
        "start": format!("{base}/$bulk-start/{}", job.id),
    }));
    let (parts, body) = told.into_response().into_parts();
    response.headers_mut().extend(parts.headers);
    *response.body_mut() = body;
    Ok(response)
}

/// What Parameters may say: the format. Everything that we would have to fetch is refused.
fn check_parameters(bytes: &[u8]) -> Result<(), Failure> {
    let resource =
        parse_resource(bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    let mut problems = Vec::new();
    if resource["resourceType"] != "Parameters" {
        problems.push(Issue::error("invalid", "resourceType", "has to be Parameters or NDJSON"));
    }
    for (place, parameter) in resource["parameter"].as_array().into_iter().flatten().enumerate() {
        let at = format!("Parameters.parameter[{place}]");
        match parameter["name"].as_str() {
            Some("inputFormat") => {
                let code = parameter["valueCode"].as_str().or(parameter["valueString"].as_str());
                if !matches!(code, Some("application/fhir+ndjson" | "ndjson")) {
                    let text = "only application/fhir+ndjson is taken";
                    problems.push(Issue::error("not-supported", at, text));
                }
            }
            Some("input") => {
                let text =
                    "files are not fetched from elsewhere: PUT them to the URL in the answer";
                problems.push(Issue::error("not-supported", at, text));
            }
            _ => problems.push(Issue::error("not-supported", at, "is no parameter of an import")),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::invalid(problems)) }
}

/// `PUT $bulk-input/{job}/{name}`: one file. The same name again replaces it.
async fn input(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, job, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<StatusCode, Failure> {
    let organization = organization_named(&organization)?;
    if !is_ndjson(&headers) {
        let text = "send the file as application/fhir+ndjson";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let text = "a file's name has up to 120 letters, digits, dots, hyphens, underscores";
        return Err(Failure::incorrect(text));
    }
    let job = numbered(&job)?;
    state.exchange.add_import_file(&ask, &organization, job, &name, &bytes).await?;
    Ok(StatusCode::CREATED)
}

/// `POST $bulk-start/{job}`: all files are there.
async fn start(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, job)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let job = state.exchange.start_import(&ask, &organization, numbered(&job)?).await?;
    Ok(accepted(&state, &organization, job.id))
}
