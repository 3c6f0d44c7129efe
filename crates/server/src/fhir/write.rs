//! Creating, updating, patching and deleting one resource, conditionally or by its id
//! (FHIR R4 http.html#create, #update, #patch, #delete, #cond-update).
//!
//! Each is carried out as a transaction of one entry, so that ids and conditions mean
//! the same as in a transaction.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use holdfast_base::OrganizationId;
use holdfast_exchange::{Admission, Ask, ExchangeError, Outcome, Written};
use holdfast_fhir::{Issue, Limits, Severity, operation_outcome, parse_resource};
use serde_json::{Value, json};

use super::negotiate::{Returning, Wishes, if_match, if_none_match_any, require_json};
use super::{answer, id_named, patch, writable_type_named};
use crate::admission::issues;
use crate::body::Payload;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// Search criteria of a conditional create.
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");

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
    let resource_type = writable_type_named(&resource_type)?;
    let mut resource = resource_of(&headers, &bytes, resource_type)?;
    // The server gives the id (http.html#create).
    resource.as_object_mut().map(|fields| fields.shift_remove("id"));
    let mut request = json!({ "method": "POST", "url": resource_type });
    if let Some(criteria) = headers.get(IF_NONE_EXIST) {
        let text = criteria.to_str();
        let unreadable = |_| Failure::incorrect("If-None-Exist has to be a query of ASCII text");
        request["ifNoneExist"] = json!(text.map_err(unreadable)?);
    }
    Write { organization, request, resource }.carry_out(&state, &ask, &wishes).await
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
    let request = request("PUT", format!("{resource_type}/{id}"), &headers)?;
    Write { organization, request, resource }.carry_out(&state, &ask, &wishes).await
}

/// `PUT [type]?criteria`.
pub(super) async fn update_found(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let resource = resource_of(&headers, &bytes, writable_type_named(&resource_type)?)?;
    let request = request("PUT", found_by(&resource_type, query.as_deref())?, &headers)?;
    Write { organization, request, resource }.carry_out(&state, &ask, &wishes).await
}

/// `DELETE [type]/[id]`.
pub(super) async fn delete(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id)): Path<(String, String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let url = format!("{}/{}", writable_type_named(&resource_type)?, id_named(&id)?);
    let request = request("DELETE", url, &headers)?;
    Write { organization, request, resource: Value::Null }.carry_out(&state, &ask, &wishes).await
}

/// `DELETE [type]?criteria`: of the one resource that fits.
pub(super) async fn delete_found(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    wishes: Wishes,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let url = found_by(writable_type_named(&resource_type)?, query.as_deref())?;
    let request = request("DELETE", url, &headers)?;
    Write { organization, request, resource: Value::Null }.carry_out(&state, &ask, &wishes).await
}

/// `PATCH [type]/[id]`.
pub(super) async fn patch(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type, id)): Path<(String, String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let url = format!("{}/{}", writable_type_named(&resource_type)?, id_named(&id)?);
    let resource = patch::carried(&headers, &bytes)?;
    let request = request("PATCH", url, &headers)?;
    Write { organization, request, resource }.carry_out(&state, &ask, &wishes).await
}

/// `PATCH [type]?criteria`.
pub(super) async fn patch_found(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, resource_type)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let url = found_by(writable_type_named(&resource_type)?, query.as_deref())?;
    let resource = patch::carried(&headers, &bytes)?;
    let request = request("PATCH", url, &headers)?;
    Write { organization, request, resource }.carry_out(&state, &ask, &wishes).await
}

/// `Type?criteria` without the parameters that say how to answer.
fn found_by(resource_type: &str, query: Option<&str>) -> Result<String, Failure> {
    let answers = |pair: &&str| pair.starts_with("_format=") || pair.starts_with("_pretty=");
    let criteria: Vec<&str> =
        query.unwrap_or_default().split('&').filter(|p| !p.is_empty() && !answers(p)).collect();
    if criteria.is_empty() {
        let text = "name a resource, by its id in the path or by search criteria in the query";
        return Err(Failure::new(StatusCode::PRECONDITION_FAILED, "required", text));
    }
    Ok(format!("{resource_type}?{}", criteria.join("&")))
}

/// `Bundle.entry.request` with the conditions of the headers.
fn request(method: &str, url: String, headers: &HeaderMap) -> Result<Value, Failure> {
    let mut request = json!({ "method": method, "url": url });
    if let Some(version) = if_match(headers)? {
        request["ifMatch"] = json!(answer::etag(version));
    }
    if if_none_match_any(headers)? {
        request["ifNoneMatch"] = json!("*");
    }
    Ok(request)
}

/// The body as a resource of the type that the URL names.
fn resource_of(headers: &HeaderMap, bytes: &[u8], resource_type: &str) -> Result<Value, Failure> {
    if resource_type == "Binary"
        && let Some(binary) = super::binary::carried(headers, bytes)?
    {
        return Ok(binary);
    }
    require_json(headers)?;
    let resource =
        parse_resource(bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    if resource["resourceType"] != resource_type {
        let text = format!("has to be {resource_type}, as in the URL");
        return Err(Failure::invalid(vec![Issue::error("invalid", "resourceType", text)]));
    }
    Ok(resource)
}

/// One interaction on its way in.
pub(super) struct Write {
    /// For whom.
    pub organization: OrganizationId,
    /// `Bundle.entry.request`.
    pub request: Value,
    /// The resource; null where there is none.
    pub resource: Value,
}

impl Write {
    /// Carries it out.
    pub async fn admit(&self, state: &AppState, ask: &Ask) -> Result<Admission, Failure> {
        let mut entry = json!({ "request": self.request });
        if !self.resource.is_null() {
            entry["resource"] = self.resource.clone();
        }
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
        let bundle = serde_json::to_vec(&bundle).map_err(|_| {
            ExchangeError::Internal("a resource that was parsed does not serialise")
        })?;
        Ok(state.exchange.interact(ask, &self.organization, &bundle).await?)
    }

    async fn carry_out(
        self,
        state: &AppState,
        ask: &Ask,
        wishes: &Wishes,
    ) -> Result<Response, Failure> {
        let admission = self.admit(state, ask).await?;
        let Some(written) = written_of(&admission)? else {
            let text = "kept; it will be applied as soon as the keeper answers again";
            let told = Issue::error("informational", "", text).with_severity(Severity::Information);
            let outcome = operation_outcome(&[told]);
            return Ok(answer::resource(StatusCode::ACCEPTED, HeaderMap::new(), &outcome, wishes));
        };
        let mut headers = match written.version {
            0 => HeaderMap::new(),
            version => answer::version_headers(version, written.last_updated),
        };
        if written.deleted {
            return Ok(match wishes.returning {
                Returning::OperationOutcome => {
                    let told = match written.changed {
                        true => "the resource was deleted",
                        false => "there was nothing to delete",
                    };
                    let told = Issue::error("informational", "", told);
                    let outcome = operation_outcome(&[told.with_severity(Severity::Information)]);
                    answer::resource(StatusCode::OK, headers, &outcome, wishes)
                }
                _ => (StatusCode::NO_CONTENT, headers).into_response(),
            });
        }
        let status = status_of(written);
        let location = format!("{}/{}", state.fhir_base(&self.organization), version_url(written));
        if let Ok(value) = HeaderValue::from_str(&location) {
            headers.insert(header::LOCATION, value);
        }
        match wishes.returning {
            Returning::Minimal => Ok((status, headers).into_response()),
            Returning::OperationOutcome => {
                let outcome = operation_outcome(&told(&admission));
                Ok(answer::resource(status, headers, &outcome, wishes))
            }
            Returning::Representation => {
                match representation(state, ask, &self.organization, written).await {
                    Some(stored) => Ok(answer::resource(status, headers, &stored, wishes)),
                    None => Ok((status, headers).into_response()),
                }
            }
        }
    }
}

/// What was written, as its writer may read it. Whoever may write need not be one who
/// may read: it is written all the same.
pub(super) async fn representation(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    written: &Written,
) -> Option<Value> {
    let (kind, id) = (&written.resource_type, &written.id);
    let version = Some(written.version);
    let read = state.exchange.read(ask, organization, kind, id, version).await;
    read.ok().map(|stored| stored.resource)
}

/// What an accepted interaction says in an OperationOutcome, which is never empty.
pub(super) fn told(admission: &Admission) -> Vec<Issue> {
    let issues = issues(admission);
    if !issues.is_empty() {
        return issues;
    }
    vec![Issue::error("informational", "", "done").with_severity(Severity::Information)]
}

/// What was written of a payload of one entry; `None` while it waits for the keeper.
///
/// # Errors
/// The refusal, with the status that its category has.
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

/// Status and issue type of a refusal's category (http.html#create, #update, #delete,
/// #concurrency, #trules).
fn status_and_code(category: Option<&str>) -> (StatusCode, &'static str) {
    match category {
        Some("request") => (StatusCode::BAD_REQUEST, "invalid"),
        Some("invalid") => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        Some("not-permitted" | "suspended") => (StatusCode::FORBIDDEN, "forbidden"),
        Some("not-found") => (StatusCode::NOT_FOUND, "not-found"),
        Some("read-only") => (StatusCode::METHOD_NOT_ALLOWED, "not-supported"),
        Some("conflict") => (StatusCode::CONFLICT, "conflict"),
        Some("deleted") => (StatusCode::GONE, "deleted"),
        Some("precondition") => (StatusCode::PRECONDITION_FAILED, "conflict"),
        Some("several-matches") => (StatusCode::PRECONDITION_FAILED, "multiple-matches"),
        Some("unmatched-reference") => (StatusCode::PRECONDITION_FAILED, "not-found"),
        Some("too-large") => (StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
        Some("over-budget") => (StatusCode::TOO_MANY_REQUESTS, "throttled"),
        Some("missing") => (StatusCode::UNPROCESSABLE_ENTITY, "required"),
        Some("moved") => (StatusCode::UNPROCESSABLE_ENTITY, "business-rule"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "processing"),
    }
}

/// A refusal of the content.
pub(super) fn refused(reason: &str, admission: &Admission) -> Failure {
    let (status, code) = status_and_code(admission.category);
    let mut issues = issues(admission);
    // A closer code than that of the whole refusal stays.
    for issue in issues.iter_mut().filter(|issue| issue.is_error() && issue.code == "processing") {
        issue.code = code;
    }
    if !issues.iter().any(Issue::is_error) {
        issues.push(Issue::error(code, "", reason));
    }
    Failure::invalid(issues).with_status(status)
}

/// 201 for a first version, 204 for a deletion, 200 for a further version or none.
pub(super) fn status_of(written: &Written) -> StatusCode {
    match (written.created, written.deleted) {
        (_, true) => StatusCode::NO_CONTENT,
        (true, false) => StatusCode::CREATED,
        (false, false) => StatusCode::OK,
    }
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
        let check = |outcome, category, expected: Result<bool, u16>| {
            let mut admission = admission(outcome);
            admission.category = category;
            let told = written_of(&admission).map(|written| written.is_some());
            assert_eq!(told.map_err(|f| f.status.as_u16()), expected, "{category:?}");
        };
        check(Outcome::Accepted, None, Ok(true));
        check(Outcome::Duplicate, None, Ok(true));
        check(Outcome::Queued, None, Ok(false));
        for (category, status) in [
            ("request", 400),
            ("invalid", 422),
            ("not-permitted", 403),
            ("not-found", 404),
            ("read-only", 405),
            ("conflict", 409),
            ("deleted", 410),
            ("precondition", 412),
            ("several-matches", 412),
            ("too-large", 413),
            ("malformed", 422),
            ("unknown-reference", 422),
            ("over-budget", 429),
        ] {
            check(Outcome::Refused("bad".into()), Some(category), Err(status));
        }
    }

    #[test]
    fn a_first_version_was_created_and_a_deletion_has_no_content() {
        let mut written = admission(Outcome::Accepted).written.remove(0);
        assert_eq!(status_of(&written), StatusCode::OK);
        assert_eq!(version_url(&written), "Observation/abc/_history/2");
        written.created = true;
        assert_eq!(status_of(&written), StatusCode::CREATED);
        (written.created, written.deleted) = (false, true);
        assert_eq!(status_of(&written), StatusCode::NO_CONTENT);
    }

    #[test]
    fn criteria_are_what_is_left_of_a_query() {
        let query = Some("identifier=a%7C1&_format=json&_pretty=true");
        assert_eq!(found_by("List", query).ok().as_deref(), Some("List?identifier=a%7C1"));
        for nothing in [None, Some(""), Some("_format=json")] {
            let failure = found_by("List", nothing).expect_err("refused");
            assert_eq!(failure.status, StatusCode::PRECONDITION_FAILED);
        }
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
