//! Bulk Data (FHIR Bulk Data Access IG 2.0.0): `$export` of system, Patient and Group, its
//! status, its files.
//!
//! A file is streamed chunk by chunk as it is opened; the token that fetches it is that
//! of who asked for the export (`requiresAccessToken`).

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use holdfast_base::{OrganizationId, RequestId};
use holdfast_exchange::{
    Ask, BulkFile, BulkFileKind, BulkJob, BulkKind, BulkLevel, BulkState, ExchangeError, Handling,
    NO_BULK_GRANT,
};
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::{Value, json};

use super::id_named;
use super::negotiate::{Wishes, require_json};
use crate::body::Payload;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// Seconds after which asking again is worth it: a step of a job takes about as long.
const RETRY_S: u64 = 2;
/// The same while a job waits for somebody.
const RETRY_WAITING_S: u64 = 60;
/// The media type of the files.
const NDJSON: &str = "application/fhir+ndjson";
/// Opened chunks that wait for a slow reader.
const CHUNKS_AHEAD: usize = 2;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/fhir/{organization}/$export", get(system).post(system))
        .route("/fhir/{organization}/Patient/$export", get(patients).post(patients))
        .route("/fhir/{organization}/Group/{id}/$export", get(group).post(group))
        .merge(super::import::routes())
        .route("/fhir/{organization}/$bulk-status/{job}", get(status).delete(end))
        .route("/fhir/{organization}/$bulk-file/{job}/{file}", get(file))
}

/// A kick-off, whatever its level.
pub(super) struct KickOff {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    wishes: Wishes,
    bytes: Bytes,
}

impl axum::extract::FromRequest<AppState> for KickOff {
    type Rejection = Failure;

    async fn from_request(
        request: axum::extract::Request,
        state: &AppState,
    ) -> Result<Self, Failure> {
        use axum::extract::FromRequestParts as _;
        let (mut parts, body) = request.into_parts();
        let wishes = Wishes::from_request_parts(&mut parts, state).await?;
        let (method, uri, headers) =
            (parts.method.clone(), parts.uri.clone(), parts.headers.clone());
        let request = axum::extract::Request::from_parts(parts, body);
        let Payload(bytes) = Payload::from_request(request, state).await?;
        Ok(Self { method, uri, headers, wishes, bytes })
    }
}

async fn system(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    kick_off: KickOff,
) -> Result<Response, Failure> {
    start(&state, &ask, &organization, BulkLevel::System, &kick_off).await
}

async fn patients(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    kick_off: KickOff,
) -> Result<Response, Failure> {
    start(&state, &ask, &organization, BulkLevel::Patient, &kick_off).await
}

async fn group(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
    kick_off: KickOff,
) -> Result<Response, Failure> {
    let level = BulkLevel::Group(id_named(&id)?.to_owned());
    start(&state, &ask, &organization, level, &kick_off).await
}

async fn start(
    state: &AppState,
    ask: &Ask,
    organization: &str,
    level: BulkLevel,
    kick_off: &KickOff,
) -> Result<Response, Failure> {
    let organization = organization_named(organization)?;
    require_async(&kick_off.headers)?;
    let mut pairs = kick_off.wishes.pairs.clone();
    if kick_off.method == Method::POST && !kick_off.bytes.trim_ascii().is_empty() {
        require_json(&kick_off.headers)?;
        pairs.extend(parameters(&kick_off.bytes)?);
    } else if pairs.iter().any(|(name, _)| name == "patient") {
        let text = "is for kick-offs by POST";
        return Err(Failure::invalid(vec![Issue::error("not-supported", "patient", text)]));
    }
    let handling = lenient_only_when_asked(&kick_off.headers);
    let path = kick_off.uri.path_and_query().map_or("", |path| path.as_str());
    let request = format!("{}{path}", state.base_url);
    let job = state
        .exchange
        .start_export(ask, &organization, level, &pairs, handling, &request)
        .await
        .map_err(|error| say_what_to_do(error, ask))?;
    Ok(accepted(state, &organization, job.id))
}

/// 202 with the URL to poll.
pub(super) fn accepted(
    state: &AppState,
    organization: &OrganizationId,
    job: RequestId,
) -> Response {
    let location = format!("{}/$bulk-status/{job}", state.fhir_base(organization));
    let mut response = StatusCode::ACCEPTED.into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    response
}

/// `Prefer: handling=` without what else `Wishes` makes of it.
fn lenient_only_when_asked(headers: &HeaderMap) -> Handling {
    match prefers(headers, "handling=lenient") {
        true => Handling::Lenient,
        false => Handling::Strict,
    }
}

fn prefers(headers: &HeaderMap, wanted: &str) -> bool {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let mut wishes = lines.flat_map(|line| line.split([',', ';'])).map(str::trim);
    wishes.any(|wish| wish.eq_ignore_ascii_case(wanted))
}

pub(super) fn require_async(headers: &HeaderMap) -> Result<(), Failure> {
    if prefers(headers, "respond-async") {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::BAD_REQUEST,
        "not-supported",
        "this takes its time: send Prefer: respond-async and poll the Content-Location of the answer",
    ))
}

/// What stands between a caller and bulk work is two people; says which command.
fn say_what_to_do(error: ExchangeError, ask: &Ask) -> Failure {
    let no_grant =
        matches!(&error, ExchangeError::NotPermitted { reason } if *reason == NO_BULK_GRANT);
    let failure = Failure::from(error);
    if !no_grant {
        return failure;
    }
    let (organization, principal) = (ask.caller.organization(), ask.caller.id());
    Failure {
        message: format!(
            "a bulk export needs a bulk grant by two people: an officer or administrator proposes it \
             (holdfast grant propose --organization {organization} --principal {principal} --patients N \
             --reason TEXT), another one approves it (holdfast grant approve NUMBER); then ask again"
        ),
        ..failure
    }
}

/// The parameters of a Parameters resource as pairs.
fn parameters(bytes: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let resource =
        parse_resource(bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    if resource["resourceType"] != "Parameters" {
        let issue = Issue::error("invalid", "resourceType", "has to be Parameters");
        return Err(Failure::invalid(vec![issue]));
    }
    let mut pairs = Vec::new();
    for (place, parameter) in resource["parameter"].as_array().into_iter().flatten().enumerate() {
        let value = parameter.as_object().and_then(|fields| {
            let (_, value) = fields.iter().find(|(name, _)| name.starts_with("value"))?;
            match value {
                Value::String(text) => Some(text.clone()),
                Value::Object(reference) => Some(reference.get("reference")?.as_str()?.to_owned()),
                Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                _ => None,
            }
        });
        match (parameter["name"].as_str(), value) {
            (Some(name), Some(value)) => pairs.push((name.to_owned(), value)),
            _ => {
                let place = format!("Parameters.parameter[{place}]");
                let issue = Issue::error("value", place, "needs a name and a value");
                return Err(Failure::invalid(vec![issue]));
            }
        }
    }
    Ok(pairs)
}

/// `GET $bulk-status/{job}`: 202 with progress, 200 with the manifest, or why not.
async fn status(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, job)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let job = state.exchange.bulk_job(&ask, &organization, numbered(&job)?)?;
    match &job.state {
        BulkState::Finished => Ok(finished(&state, &job)),
        BulkState::Failed(why) => {
            Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "exception", why.clone()))
        }
        _ => Ok(working(&job)),
    }
}

fn working(job: &BulkJob) -> Response {
    let counted = match job.kind {
        BulkKind::Export => format!("{} of {} patients", job.patients_done, job.patients_total),
        BulkKind::Import => format!("{} lines", job.resources_done),
    };
    let (progress, retry_s) = match &job.state {
        BulkState::Waiting(what) => (format!("{counted}; waits {what}"), RETRY_WAITING_S),
        BulkState::Uploading => ("waits for its files".to_owned(), RETRY_WAITING_S),
        _ => (counted, RETRY_S),
    };
    let mut response = StatusCode::ACCEPTED.into_response();
    let headers = response.headers_mut();
    if let Ok(progress) = HeaderValue::from_str(&progress) {
        headers.insert("x-progress", progress);
    }
    headers.insert(header::RETRY_AFTER, retry_s.into());
    response
}

/// The manifest (Bulk Data Access IG 2.0.0, "Response - Complete Status").
fn finished(state: &AppState, job: &BulkJob) -> Response {
    let base = state.fhir_base(&job.organization);
    let of = |kind: BulkFileKind| -> Vec<Value> {
        let files = job.files.iter().filter(|file| file.kind == kind);
        files.map(|file| listed(&base, job, file)).collect()
    };
    // Of an import: what was written, which has no file.
    let written = || {
        let counts = job.written.iter().map(|(t, count)| json!({ "type": t, "count": count }));
        counts.collect::<Vec<_>>()
    };
    let output = match job.kind {
        BulkKind::Export => of(BulkFileKind::Output),
        BulkKind::Import => written(),
    };
    let manifest = json!({
        "transactionTime": job.transaction_time,
        "request": job.request,
        "requiresAccessToken": true,
        "output": output,
        "deleted": of(BulkFileKind::Deleted),
        "error": of(BulkFileKind::Error),
        "link": [],
    });
    let mut response = Json(manifest).into_response();
    if let Ok(expires) = HeaderValue::from_str(&super::answer::http_date(job.expires)) {
        response.headers_mut().insert(header::EXPIRES, expires);
    }
    response
}

fn listed(base: &str, job: &BulkJob, file: &BulkFile) -> Value {
    let resource_type = match file.kind {
        BulkFileKind::Error => "OperationOutcome",
        _ => &file.resource_type,
    };
    let url = format!("{base}/$bulk-file/{}/{}", job.id, file.number);
    json!({ "type": resource_type, "url": url, "count": file.count })
}

/// `DELETE $bulk-status/{job}`: the job and its files are no more.
async fn end(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, job)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let organization = organization_named(&organization)?;
    state.exchange.delete_bulk_job(&ask, &organization, numbered(&job)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `GET $bulk-file/{job}/{file}`.
async fn file(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, job, file)): Path<(String, String, String)>,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let number: u32 = file.parse().map_err(|_| Failure::not_found())?;
    let mut chunks = state.exchange.bulk_file(&ask, &organization, numbered(&job)?, number).await?;
    // What is damaged at its beginning is said so; later on the stream breaks off.
    let first = chunks.next().transpose()?;
    let (sender, receiver) =
        tokio::sync::mpsc::channel::<Result<Bytes, ExchangeError>>(CHUNKS_AHEAD);
    // Opening blocks; it ends when the reader is gone.
    tokio::task::spawn_blocking(move || {
        for chunk in first.map(Ok).into_iter().chain(chunks) {
            if sender.blocking_send(chunk.map(Bytes::from)).is_err() {
                return;
            }
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    });
    let media_type = [(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON))];
    Ok((media_type, Body::from_stream(stream)).into_response())
}

pub(super) fn numbered(job: &str) -> Result<RequestId, Failure> {
    job.parse().map_err(|_| Failure::not_found())
}
