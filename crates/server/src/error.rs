//! From errors to answers, once. A handler fails with a [`Failure`]; each door
//! renders it in its own form by a layer: [`as_outcome`] for FHIR, [`as_json`]
//! for everything that has none of its own. The console has a page.
//!
//! Invariant: an answer never holds more of an error than a sentence of ours; what
//! stands behind a fault is logged, under the request id that the answer gives.

use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use holdfast_base::{Category, RequestId};
use holdfast_exchange::ExchangeError;
use holdfast_fhir::{Issue, operation_outcome};
use serde_json::{Value, json};

use crate::caller::RequestContext;

/// Seconds after which a keeper that was away is worth another try.
const KEEPER_RETRY_S: u64 = 5;

/// What a request failed with, ready to be rendered. As a response it is empty and
/// carries itself as an extension, for the door's layer to render.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// HTTP status.
    pub status: StatusCode,
    /// Code of the FHIR value set issue-type.
    pub code: &'static str,
    /// One sentence for people that says what to do.
    pub message: String,
    /// The places, when there are several or one is known.
    pub issues: Vec<Issue>,
    /// `Retry-After`.
    pub retry_after_s: Option<u64>,
    /// What stands behind a fault; for the log only.
    pub cause: Option<Arc<str>>,
}

impl Failure {
    /// A failure of our own wording.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status, code, message, issues: Vec::new(), retry_after_s: None, cause: None }
    }

    /// The request is wrong.
    pub fn incorrect(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// The request is wrong at these places.
    pub fn invalid(issues: Vec<Issue>) -> Self {
        let message = match issues.as_slice() {
            [only] => only.to_string(),
            _ => format!("the request has {} problems", issues.len()),
        };
        let code = issues.first().map_or("invalid", |issue| issue.code);
        Self { issues, ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// Not there, or not for this caller: always the same words.
    pub fn not_found() -> Self {
        Self::from(ExchangeError::NotFound)
    }

    /// Well-formed, and something that Holdfast does not do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not-supported", message)
    }

    /// The method does not exist for this URL.
    pub fn method_not_allowed() -> Self {
        let text = "this URL does not take that method; see the metadata or the documentation";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
    }

    /// The same failure with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The OperationOutcome of this failure; its id is the request's.
    pub fn outcome(&self, request: RequestId) -> Value {
        let mut outcome = if self.issues.is_empty() {
            operation_outcome(&[Issue::error(self.code, "", self.message.clone())])
        } else {
            operation_outcome(&self.issues)
        };
        outcome["id"] = json!(request.to_string());
        outcome
    }

    /// The JSON of this failure.
    pub fn json(&self, request: RequestId) -> Value {
        let mut body = json!({ "error": self.message, "code": self.code, "request": request });
        if !self.issues.is_empty() {
            let issue = |i: &Issue| json!({ "place": i.expression, "text": i.diagnostics });
            body["issues"] = self.issues.iter().map(issue).collect();
        }
        body
    }
}

/// The HTTP status of a category; the few errors that deserve a closer one have it
/// in [`From<ExchangeError>`].
pub(crate) fn status_of(category: Category) -> StatusCode {
    match category {
        Category::Incorrect => StatusCode::BAD_REQUEST,
        Category::Forbidden => StatusCode::FORBIDDEN,
        Category::NotFound => StatusCode::NOT_FOUND,
        Category::Conflict => StatusCode::CONFLICT,
        Category::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Category::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Category::Fault => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The issue-type of a category.
pub(crate) fn issue_code_of(category: Category) -> &'static str {
    match category {
        Category::Incorrect => "invalid",
        Category::Forbidden => "forbidden",
        Category::NotFound => "not-found",
        Category::Conflict => "conflict",
        Category::Busy => "transient",
        Category::Unsupported => "not-supported",
        Category::Fault => "exception",
    }
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        let category = error.category();
        let general =
            Self::new(status_of(category), issue_code_of(category), error.to_string());
        match error {
            ExchangeError::NotSignedIn => {
                Self { status: StatusCode::UNAUTHORIZED, code: "login", ..general }
            }
            ExchangeError::Throttled { wait_seconds } => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: "throttled",
                retry_after_s: Some(wait_seconds),
                ..general
            },
            ExchangeError::OverBudget { window, .. } => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: "throttled",
                retry_after_s: Some(window_s(window)),
                ..general
            },
            ExchangeError::KeeperAway => Self { retry_after_s: Some(KEEPER_RETRY_S), ..general },
            ExchangeError::Gone => Self { status: StatusCode::GONE, code: "deleted", ..general },
            // Whether an organization is on the exchange is nobody's business.
            ExchangeError::NoOrganization(_) => {
                Self { message: ExchangeError::NotFound.to_string(), ..general }
            }
            ExchangeError::Invalid(issues) => Self::invalid(issues),
            error if category == Category::Fault => Self {
                message: "something is wrong on our side; tell the operator the request id".into(),
                cause: Some(chain(&error).into()),
                ..general
            },
            _ => general,
        }
    }
}

/// A budget's window in seconds.
fn window_s(window: &str) -> u64 {
    match window {
        "minute" => 60,
        "hour" => 3_600,
        _ => 86_400,
    }
}

/// An error with everything behind it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"holdfast\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Layer: failures become OperationOutcomes.
pub(crate) async fn as_outcome(context: RequestContext, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    render(response, |failure| {
        crate::fhir::answer::body(&failure.outcome(context.request), false).into_response()
    })
}

/// Layer: failures become JSON.
pub(crate) async fn as_json(context: RequestContext, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    render(response, |failure| Json(failure.json(context.request)).into_response())
}

/// Gives a response that is a failure the body of `rendered`, keeping status and
/// headers; any other response is passed on. A failure stays in the extensions for
/// the log, marked as rendered by its body.
pub(crate) fn render(response: Response, rendered: impl FnOnce(&Failure) -> Response) -> Response {
    let Some(failure) = response.extensions().get::<Failure>().cloned() else { return response };
    if response.extensions().get::<Rendered>().is_some() {
        return response;
    }
    let (mut parts, _) = response.into_parts();
    let (given, body) = rendered(&failure).into_parts();
    parts.headers.extend(given.headers);
    parts.extensions.insert(Rendered);
    Response::from_parts(parts, body)
}

/// Marks a failure that has its body.
#[derive(Clone, Copy)]
struct Rendered;
