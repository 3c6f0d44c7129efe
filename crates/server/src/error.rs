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

/// More problems than anybody reads, and than validation tells of one resource: a bundle
/// may have some in each of its entries.
const ISSUES_MAX: usize = 256;

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
        let own = Issue::error(self.code, "", self.message.clone());
        let mut told: Vec<Issue> = self.issues.iter().take(ISSUES_MAX).cloned().collect();
        match self.issues.len() {
            0 => told.push(own),
            count if count > ISSUES_MAX => {
                let text = format!("and {} more problems", count - ISSUES_MAX);
                told.push(Issue::error("too-costly", "", text));
            }
            _ => {}
        }
        let mut outcome = operation_outcome(&told);
        outcome["id"] = json!(request.to_string());
        outcome
    }

    /// The JSON of this failure.
    pub fn json(&self, request: RequestId) -> Value {
        let mut body = json!({ "error": self.message, "code": self.code, "request": request });
        if !self.issues.is_empty() {
            let issue = |i: &Issue| json!({ "place": i.expression, "text": i.diagnostics });
            body["issues"] = self.issues.iter().take(ISSUES_MAX).map(issue).collect();
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
        let general = Self::new(status_of(category), issue_code_of(category), error.to_string());
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
            ExchangeError::KeeperAway
            | ExchangeError::StoreAway
            | ExchangeError::IndexUnfinished => {
                Self { retry_after_s: Some(KEEPER_RETRY_S), ..general }
            }
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

/// Layer: failures become OperationOutcomes, and answers what is asked for.
pub(crate) async fn as_outcome(context: RequestContext, request: Request, next: Next) -> Response {
    crate::fhir::speak::speak(context, request, next).await
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
    if response.extensions().get::<Rendered>().is_some() {
        return response;
    }
    let told = response.extensions().get::<Failure>().cloned();
    let Some(failure) = told.or_else(|| refused_by_framework(&response)) else { return response };
    let (mut parts, _) = response.into_parts();
    let (given, body) = rendered(&failure).into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(given.headers);
    parts.extensions.insert(Rendered);
    Response::from_parts(parts, body)
}

/// What the framework refuses by itself, a path that is no UTF-8 for one, has a
/// plain text of its own; it gets ours.
fn refused_by_framework(response: &Response) -> Option<Failure> {
    let plain = match response.headers().get(header::CONTENT_TYPE) {
        Some(media_type) => media_type.as_bytes().starts_with(b"text/plain"),
        None => true,
    };
    let status = response.status();
    let refused = (status.is_client_error() || status.is_server_error()) && plain;
    refused.then(|| Failure::new(status, "invalid", "the request cannot be read"))
}

/// Marks a failure that has its body.
#[derive(Clone, Copy)]
struct Rendered;

#[cfg(test)]
mod tests {
    use holdfast_base::OrganizationId;

    use super::*;

    const CATEGORIES: [Category; 7] = [
        Category::Incorrect,
        Category::Forbidden,
        Category::NotFound,
        Category::Conflict,
        Category::Busy,
        Category::Unsupported,
        Category::Fault,
    ];

    #[test]
    fn every_category_has_a_status_of_its_own() {
        let statuses = CATEGORIES.map(|category| status_of(category).as_u16());
        assert_eq!(statuses, [400, 403, 404, 409, 503, 501, 500]);
        let mut codes = CATEGORIES.map(issue_code_of).to_vec();
        codes.dedup();
        assert_eq!(codes.len(), CATEGORIES.len());
    }

    #[test]
    fn errors_that_deserve_it_have_a_closer_status() {
        let check = |error: ExchangeError, status, code, retry_after_s| {
            let failure = Failure::from(error);
            assert_eq!((failure.status.as_u16(), failure.code), (status, code));
            assert_eq!(failure.retry_after_s, retry_after_s);
        };
        check(ExchangeError::NotSignedIn, 401, "login", None);
        check(ExchangeError::Suspended, 403, "forbidden", None);
        check(ExchangeError::NotPermitted { reason: "x" }, 403, "forbidden", None);
        check(ExchangeError::Throttled { wait_seconds: 7 }, 429, "throttled", Some(7));
        check(ExchangeError::OverBudget { window: "minute", limit: 1 }, 429, "throttled", Some(60));
        check(
            ExchangeError::OverBudget { window: "hour", limit: 1 },
            429,
            "throttled",
            Some(3_600),
        );
        check(
            ExchangeError::OverBudget { window: "day", limit: 1 },
            429,
            "throttled",
            Some(86_400),
        );
        check(ExchangeError::KeeperAway, 503, "transient", Some(KEEPER_RETRY_S));
        check(ExchangeError::StoreAway, 503, "transient", Some(KEEPER_RETRY_S));
        check(ExchangeError::NotFound, 404, "not-found", None);
        check(ExchangeError::Gone, 410, "deleted", None);
        check(ExchangeError::Conflict, 409, "conflict", None);
        check(ExchangeError::Setting("x"), 400, "invalid", None);
        let issue = Issue::error("value", "birthdate", "a date is needed");
        check(ExchangeError::Invalid(vec![issue]), 400, "value", None);
        check(ExchangeError::Internal("x"), 500, "exception", None);
    }

    #[test]
    fn p11_an_unknown_organization_is_answered_like_an_unknown_resource() {
        let organization = OrganizationId::new("nowhere").expect("a name");
        let request = RequestId::random();
        let unknown = Failure::from(ExchangeError::NoOrganization(organization)).outcome(request);
        assert_eq!(unknown, Failure::not_found().outcome(request));
    }

    #[test]
    fn what_stands_behind_a_fault_is_in_the_log_and_not_in_the_answer() {
        let failure = Failure::from(ExchangeError::Internal("a detail of ours"));
        let request = RequestId::random();
        for body in [failure.outcome(request), failure.json(request)] {
            assert!(!body.to_string().contains("detail"), "{body}");
            assert!(body.to_string().contains(&request.to_string()));
        }
        assert!(failure.cause.is_some_and(|cause| cause.contains("a detail of ours")));
    }

    #[test]
    fn an_outcome_is_valid_fhir() {
        let issues = vec![Issue::error("value", "birthdate", "a date is needed")];
        for failure in [Failure::not_found(), Failure::invalid(issues), Failure::unsupported("no")]
        {
            assert_eq!(holdfast_fhir::validate(&failure.outcome(RequestId::random())), []);
        }
    }

    #[test]
    fn a_failure_is_rendered_once_and_keeps_its_headers() {
        let failure = Failure::from(ExchangeError::Throttled { wait_seconds: 9 });
        let response = render(failure.into_response(), |_| Json(json!({"a": 1})).into_response());
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "9");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let again = render(response, |_| unreachable!("it has its body"));
        assert_eq!(again.headers()[header::CONTENT_TYPE], "application/json");
    }

    #[test]
    fn only_errors_without_a_form_of_their_own_are_given_ours() {
        let form = |_: &Failure| Json(json!({})).into_response();
        let refused = render((StatusCode::BAD_REQUEST, "Invalid URL: …").into_response(), form);
        assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/json");
        let page = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        let page = render((StatusCode::NOT_FOUND, page, "<p>").into_response(), form);
        assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let fine = render("ok".into_response(), form);
        assert_eq!(fine.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    #[test]
    fn whoever_is_not_signed_in_is_told_how() {
        let response = Failure::from(ExchangeError::NotSignedIn).into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"holdfast\"");
    }
}
