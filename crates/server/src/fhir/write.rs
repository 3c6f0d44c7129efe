//! Creating and updating one resource (FHIR R4 http.html#create, #update).
//!
//! Each is admitted as a transaction of one entry, so that ids, `If-Match` and
//! `If-None-Exist` mean the same as in a transaction.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_base::{OrganizationId, RequestId};
use holdfast_exchange::{Admission, Ask, ExchangeError, Format, Outcome, Written};
use holdfast_fhir::{Issue, Limits, Severity, operation_outcome, parse_resource};
use serde_json::{Value, json};

use super::negotiate::{Returning, Wishes, if_match, require_json};
use super::{answer, id_named, writable_type_named};
use crate::admission::issues;
use crate::body::Payload;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// Search criteria of a conditional create.
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
/// System of the number that makes each write of the API a payload of its own.
const REQUEST_SYSTEM: &str = "urn:holdfast:request";

/// `POST [type]`.
pub(super) async fn create(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let mut resource = resource_of(&headers, &bytes, writable_type_named(&resource_type)?)?;
    // The server gives the id (http.html#create).
    resource.as_object_mut().map(|fields| fields.shift_remove("id"));
    let mut request = json!({ "method": "POST", "url": resource_type });
    if let Some(criteria) = headers.get(IF_NONE_EXIST) {
        let criteria = criteria.to_str().unwrap_or_default();
        require_own_identifier(criteria, &resource)?;
        request["ifNoneExist"] = json!(criteria);
    }
    let write = Write { organization, request, resource };
    let admission = write.admit(&state, &ask).await?;
    write.respond(&state, &ask, &wishes, &admission).await
}

/// `PUT [type]/[id]`.
pub(super) async fn update(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id)): Path<(String, String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let resource = resource_of(&headers, &bytes, writable_type_named(&resource_type)?)?;
    let id = id_named(&id)?;
    if resource["id"] != id {
        let issue =
            Issue::error("invalid", format!("{resource_type}.id"), "has to be the id in the URL");
        return Err(Failure::invalid(vec![issue]));
    }
    let mut request = json!({ "method": "PUT", "url": format!("{resource_type}/{id}") });
    if let Some(version) = if_match(&headers)? {
        request["ifMatch"] = json!(answer::etag(version));
    }
    let write = Write { organization, request, resource };
    let admission = write.admit(&state, &ask).await?;
    write.respond(&state, &ask, &wishes, &admission).await
}

/// The body as a resource of the type that the URL names.
fn resource_of(headers: &HeaderMap, bytes: &[u8], resource_type: &str) -> Result<Value, Failure> {
    require_json(headers)?;
    let resource =
        parse_resource(bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    if resource["resourceType"] != resource_type {
        let text = format!("has to be {resource_type}, as in the URL");
        return Err(Failure::invalid(vec![Issue::error("invalid", "resourceType", text)]));
    }
    Ok(resource)
}

/// What makes a resource the same as a stored one is its own identifier; other
/// criteria cannot be answered.
pub(super) fn require_own_identifier(criteria: &str, resource: &Value) -> Result<(), Failure> {
    let wanted = crate::body::parse_pairs(criteria.trim_start_matches('?').as_bytes())?;
    let first = match &resource["identifier"] {
        Value::Array(identifiers) => identifiers.first(),
        Value::Null => None,
        one => Some(one),
    };
    let own = first.and_then(|identifier| {
        let (system, value) = (identifier["system"].as_str()?, identifier["value"].as_str()?);
        Some(format!("{system}|{value}"))
    });
    match (wanted.as_slice(), own) {
        ([(name, value)], Some(own)) if name == "identifier" && *value == own => Ok(()),
        _ => Err(Failure::unsupported(
            "If-None-Exist is offered for identifier=system|value of the resource's first identifier",
        )),
    }
}

/// One resource on its way in.
pub(super) struct Write {
    /// For whom.
    pub organization: OrganizationId,
    /// `Bundle.entry.request`.
    pub request: Value,
    /// The resource.
    pub resource: Value,
}

impl Write {
    /// Admits it. The same content twice is two writes here, unlike in intake: a
    /// client that puts A, then B, then A again means it.
    pub async fn admit(&self, state: &AppState, ask: &Ask) -> Result<Admission, Failure> {
        let bundle = json!({
            "resourceType": "Bundle",
            "identifier": { "system": REQUEST_SYSTEM, "value": RequestId::random().to_string() },
            "type": "transaction",
            "entry": [{ "resource": self.resource, "request": self.request }],
        });
        let payload = serde_json::to_vec(&bundle).map_err(|_| {
            ExchangeError::Internal("a resource that was parsed does not serialise")
        })?;
        Ok(state.exchange.admit(ask, &self.organization, Format::Fhir, &payload).await?)
    }

    async fn respond(
        &self,
        state: &AppState,
        ask: &Ask,
        wishes: &Wishes,
        admission: &Admission,
    ) -> Result<Response, Failure> {
        let Some(written) = written_of(admission)? else {
            let text = "kept; it will be applied as soon as the keeper answers again";
            let told = Issue::error("informational", "", text).with_severity(Severity::Information);
            let outcome = operation_outcome(&[told]);
            return Ok(answer::resource(StatusCode::ACCEPTED, HeaderMap::new(), &outcome, wishes));
        };
        let status = status_of(written);
        let mut headers = answer::version_headers(written.version, written.last_updated);
        let location = format!("{}/{}", state.fhir_base(&self.organization), version_url(written));
        if let Ok(value) = HeaderValue::from_str(&location) {
            headers.insert(header::LOCATION, value);
        }
        match wishes.returning {
            Returning::Minimal => Ok((status, headers).into_response()),
            Returning::OperationOutcome => {
                let outcome = operation_outcome(&issues(admission));
                Ok(answer::resource(status, headers, &outcome, wishes))
            }
            Returning::Representation => {
                let (kind, id) = (&written.resource_type, &written.id);
                match state
                    .exchange
                    .read(ask, &self.organization, kind, id, Some(written.version))
                    .await
                {
                    Ok(stored) => Ok(answer::resource(status, headers, &stored.resource, wishes)),
                    // Whoever may write need not be one who may read: it is written all
                    // the same.
                    Err(_) => Ok((status, headers).into_response()),
                }
            }
        }
    }
}

/// What was written of a payload of one entry; `None` while it waits for the keeper.
///
/// # Errors
/// 422 when the payload was refused, 412 when it was for its `If-Match`.
pub(super) fn written_of(admission: &Admission) -> Result<Option<&Written>, Failure> {
    match &admission.outcome {
        Outcome::Queued => Ok(None),
        Outcome::Refused(reason) => Err(refused(reason, admission)),
        Outcome::Accepted | Outcome::Duplicate => {
            let written = admission.written.first();
            let nothing = ExchangeError::Internal("an accepted resource was not written");
            written.map(Some).ok_or_else(|| nothing.into())
        }
    }
}

/// A refusal of the content (http.html#update: 422; #concurrency: 412).
pub(super) fn refused(reason: &str, admission: &Admission) -> Failure {
    let status = if reason.contains("If-Match") {
        StatusCode::PRECONDITION_FAILED
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    let mut issues = issues(admission);
    if !issues.iter().any(Issue::is_error) {
        issues.push(Issue::error("processing", "", reason));
    }
    Failure::invalid(issues).with_status(status)
}

/// 201 for a first version, 200 for a further one or none.
pub(super) fn status_of(written: &Written) -> StatusCode {
    if written.created { StatusCode::CREATED } else { StatusCode::OK }
}

/// `Type/id/_history/version`.
pub(super) fn version_url(written: &Written) -> String {
    format!("{}/{}/_history/{}", written.resource_type, written.id, written.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tests::admission;

    #[test]
    fn outcomes_become_statuses() {
        let check = |outcome, expected: Result<bool, StatusCode>| {
            let admission = admission(outcome);
            let told =
                written_of(&admission).map(|written| written.is_some()).map_err(|f| f.status);
            assert_eq!(told, expected);
        };
        check(Outcome::Accepted, Ok(true));
        check(Outcome::Duplicate, Ok(true));
        check(Outcome::Queued, Ok(false));
        check(Outcome::Refused("bad".into()), Err(StatusCode::UNPROCESSABLE_ENTITY));
        check(
            Outcome::Refused("If-Match with another version is not supported".into()),
            Err(StatusCode::PRECONDITION_FAILED),
        );
    }

    #[test]
    fn a_first_version_was_created() {
        let mut written = admission(Outcome::Accepted).written.remove(0);
        assert_eq!(status_of(&written), StatusCode::OK);
        written.created = true;
        assert_eq!(status_of(&written), StatusCode::CREATED);
        assert_eq!(version_url(&written), "Observation/abc/_history/2");
    }

    #[test]
    fn a_conditional_create_asks_by_the_resources_own_identifier() {
        let resource = json!({ "identifier": [{ "system": "urn:s", "value": "1" }] });
        assert!(require_own_identifier("identifier=urn:s|1", &resource).is_ok());
        assert!(require_own_identifier("?identifier=urn%3As%7C1", &resource).is_ok());
        for other in ["identifier=urn:s|2", "code=1", "identifier=urn:s|1&code=2", ""] {
            let failure = require_own_identifier(other, &resource).expect_err("refused");
            assert_eq!(failure.status, StatusCode::NOT_IMPLEMENTED);
        }
        assert!(require_own_identifier("identifier=urn:s|1", &json!({})).is_err());
    }

    #[test]
    fn the_body_has_to_be_what_the_url_says() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        let patient = br#"{"resourceType":"Patient","id":"1"}"#;
        assert!(resource_of(&headers, patient, "Patient").is_ok());
        for (body, kind) in [(&patient[..], "Observation"), (b"{", "Patient"), (b"[]", "Patient")] {
            let failure = resource_of(&headers, body, kind).expect_err("refused");
            assert_eq!(failure.status, StatusCode::BAD_REQUEST);
            assert_eq!(failure.issues.len(), 1);
        }
    }
}
