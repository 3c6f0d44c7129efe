//! Raw payloads over HTTPS: HL7 v2, C-CDA, FHIR.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use holdfast_exchange::{Format, detect, split_payloads};
use serde_json::{Value, json};

use crate::admission::to_json;
use crate::body::{Payload, media_type};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/intake/{organization}", post(admit))
}

/// `POST /intake/{organization}`: admits each payload of the body. A refused
/// payload is kept and answered with 200; any other status means that something
/// was not kept, and that the whole body is to be sent again: what was kept already
/// is then a duplicate and changes nothing.
async fn admit(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Json<Value>, Failure> {
    let organization = organization_named(&organization)?;
    let format = format_of(media_type(&headers).as_deref(), &bytes)?;
    let mut admissions = Vec::new();
    for payload in split_payloads(format, &bytes) {
        let admission = state.exchange.admit(&ask, &organization, format, &payload).await?;
        admissions.push(to_json(&admission));
    }
    Ok(Json(json!({ "admissions": admissions })))
}

/// What a body is: as its sender says, or as it looks where the sender says nothing
/// of use.
fn format_of(media_type: Option<&str>, bytes: &[u8]) -> Result<Format, Failure> {
    let unknown = || {
        let text = "send application/hl7-v2, application/xml (C-CDA) or application/fhir+json";
        Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text)
    };
    if bytes.trim_ascii().is_empty() {
        return Err(Failure::incorrect("the body is empty"));
    }
    match media_type {
        Some("application/hl7-v2" | "application/hl7-v2+er7" | "x-application/hl7-v2+er7") => {
            Ok(Format::Hl7v2)
        }
        Some(
            "application/xml" | "text/xml" | "application/cda+xml" | "application/hl7-cda+xml",
        ) => Ok(Format::Ccda),
        Some("application/fhir+json" | "application/json") => Ok(Format::Fhir),
        None
        | Some("application/octet-stream" | "text/plain" | "application/x-www-form-urlencoded") => {
            detect(bytes).ok_or_else(unknown)
        }
        Some(_) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_says_what_it_is_and_its_looks_only_where_nobody_says() {
        let check = |media_type, bytes: &[u8], expected| {
            assert_eq!(format_of(media_type, bytes).ok(), expected, "{media_type:?}");
        };
        check(Some("application/hl7-v2"), b"anything", Some(Format::Hl7v2));
        check(Some("text/xml"), b"<x/>", Some(Format::Ccda));
        check(Some("application/json"), b"broken", Some(Format::Fhir));
        check(None, b"MSH|^~\\&|", Some(Format::Hl7v2));
        check(Some("text/plain"), b"{}", Some(Format::Fhir));
        // What `curl --data-binary` says when it is told nothing.
        check(Some("application/x-www-form-urlencoded"), b"MSH|^~\\&|", Some(Format::Hl7v2));
        check(None, b"GIF89a", None);
        check(Some("image/png"), b"MSH|^~\\&|", None);
        check(Some("application/hl7-v2"), b" \r\n", None);
    }
}
