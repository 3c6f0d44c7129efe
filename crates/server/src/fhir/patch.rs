//! Bodies of PATCH, as a transaction carries them (FHIR R4 http.html#patch).

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::{Value, json};

use super::negotiate::require_json;
use crate::body::media_type;
use crate::error::Failure;

/// The media type of a JSON Patch (RFC 6902).
const JSON_PATCH: &str = "application/json-patch+json";

/// A JSON Patch as a Binary, a FHIRPath Patch as the Parameters that it is.
pub(super) fn carried(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Failure> {
    if media_type(headers).as_deref() == Some(JSON_PATCH) {
        return Ok(json!({
            "resourceType": "Binary",
            "contentType": JSON_PATCH,
            "data": STANDARD.encode(bytes),
        }));
    }
    require_json(headers).map_err(|_| {
        let text = "send a patch as application/json-patch+json, or as Parameters in \
                    application/fhir+json";
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text)
    })?;
    let resource =
        parse_resource(bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    if resource["resourceType"] != "Parameters" {
        let text = "has to be Parameters: a FHIRPath Patch";
        return Err(Failure::invalid(vec![Issue::error("invalid", "resourceType", text)]));
    }
    Ok(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_told_by_its_media_type() {
        let carried = |media_type: &'static str, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", media_type.parse().expect("a header"));
            carried(&headers, body.as_bytes()).map_err(|failure| failure.status.as_u16())
        };
        assert_eq!(carried(JSON_PATCH, "[]").expect("taken")["data"], "W10=");
        let parameters = r#"{"resourceType":"Parameters"}"#;
        assert!(carried("application/fhir+json", parameters).is_ok());
        assert_eq!(carried("application/fhir+json", r#"{"resourceType":"List"}"#), Err(400));
        assert_eq!(carried("application/merge-patch+json", "{}"), Err(415));
    }
}
