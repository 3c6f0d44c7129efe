//! Binary: raw bytes in and out (FHIR R4 http.html#binary, binary.html#rest).

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::negotiate::{accepts_binary_of, require_json};
use crate::body::media_type;
use crate::error::Failure;

/// Whose a raw body is: a reference.
const SECURITY_CONTEXT: HeaderName = HeaderName::from_static("x-security-context");

/// A raw body as a Binary; `None` when it is a resource in a format of FHIR's.
pub(super) fn carried(headers: &HeaderMap, bytes: &[u8]) -> Result<Option<Value>, Failure> {
    let Some(content_type) = media_type(headers) else {
        let text = "say what the body is by Content-Type";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
    };
    // JSON that is no Binary resource is content like any other.
    let fhir = content_type.contains("fhir")
        || (require_json(headers).is_ok() && is_binary_resource(bytes));
    if fhir {
        return Ok(None);
    }
    let mut binary = json!({ "resourceType": "Binary", "contentType": content_type });
    if let Some(context) = headers.get(SECURITY_CONTEXT) {
        let text = context.to_str();
        let unreadable = |_| Failure::incorrect("X-Security-Context has to be a reference");
        binary["securityContext"] = json!({ "reference": text.map_err(unreadable)? });
    }
    if !bytes.is_empty() {
        binary["data"] = json!(STANDARD.encode(bytes));
    }
    Ok(Some(binary))
}

fn is_binary_resource(bytes: &[u8]) -> bool {
    let value: Result<Value, _> = serde_json::from_slice(bytes);
    value.is_ok_and(|value| value["resourceType"] == "Binary")
}

/// The content of `binary` as it is, when the client accepts that rather than FHIR.
pub(super) fn raw(binary: &Value, request: &HeaderMap, headers: HeaderMap) -> Option<Response> {
    let content_type = binary["contentType"].as_str()?;
    if binary["resourceType"] != "Binary" || !accepts_binary_of(request, content_type) {
        return None;
    }
    let bytes = STANDARD.decode(binary["data"].as_str().unwrap_or_default()).ok()?;
    let mut response = (StatusCode::OK, headers, bytes).into_response();
    let told = response.headers_mut();
    told.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).ok()?);
    // What somebody stored is not run by a browser as if it were ours.
    told.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    told.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    told.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if let Some(context) = binary["securityContext"]["reference"].as_str()
        && let Ok(value) = HeaderValue::from_str(context)
    {
        told.insert(SECURITY_CONTEXT, value);
    }
    Some(response)
}
