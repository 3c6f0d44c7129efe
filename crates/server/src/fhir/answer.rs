//! Answers of the FHIR API: bodies, and the headers that go with a version.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_base::Timestamp;
use holdfast_fhir::xml::to_xml;
use serde_json::Value;

use super::negotiate::{Format, Layout, Wishes};

/// Marks an answer that is laid out as its request asks.
#[derive(Clone, Copy)]
pub(super) struct LaidOut;

/// A resource as a body.
pub(crate) fn written(resource: &Value, layout: Layout) -> Response {
    let bytes = match (layout.format, layout.pretty) {
        (Format::Json, false) => serde_json::to_vec(resource).unwrap_or_default(),
        (Format::Json, true) => serde_json::to_vec_pretty(resource).unwrap_or_default(),
        (Format::Xml, pretty) => to_xml(resource, pretty).into_bytes(),
    };
    let media_type = HeaderValue::from_static(layout.format.media_type());
    ([(header::CONTENT_TYPE, media_type)], bytes).into_response()
}

/// A resource with a status and headers.
pub(super) fn resource(
    status: StatusCode,
    headers: HeaderMap,
    resource: &Value,
    wishes: &Wishes,
) -> Response {
    let mut response = written(resource, wishes.layout);
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response.extensions_mut().insert(LaidOut);
    response
}

/// `ETag` and `Last-Modified` of a version (http.html#versioning).
pub(super) fn version_headers(version: u64, last_updated: Timestamp) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let texts = [(header::ETAG, etag(version)), (header::LAST_MODIFIED, http_date(last_updated))];
    for (name, text) in texts {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    headers
}

/// The entity tag of a version: `W/"3"`.
pub(super) fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// An instant as HTTP writes it (RFC 9110 section 5.6.7); seconds are as fine as it
/// gets.
pub(super) fn http_date(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_a_weak_tag_and_a_date_of_http() {
        let headers = version_headers(3, Timestamp::from_millis(1_432_598_400_007));
        assert_eq!(headers[header::ETAG], "W/\"3\"");
        assert_eq!(headers[header::LAST_MODIFIED], "Tue, 26 May 2015 00:00:00 GMT");
    }
}
