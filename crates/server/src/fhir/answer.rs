//! Answers of the FHIR API.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// The media type of what we send (FHIR R4 http.html#mime-type).
pub(crate) const MEDIA_TYPE: &str = "application/fhir+json; charset=utf-8";

/// A resource as a body, on one line or indented.
pub(crate) fn body(resource: &Value, pretty: bool) -> Response {
    let bytes = if pretty { serde_json::to_vec_pretty(resource) } else { serde_json::to_vec(resource) };
    let media_type = HeaderValue::from_static(MEDIA_TYPE);
    ([(header::CONTENT_TYPE, media_type)], bytes.unwrap_or_default()).into_response()
}
