//! Transactions and batches (FHIR R4 http.html#transaction).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_base::OrganizationId;
use holdfast_exchange::{Admission, Ask, Handling, Outcome, Written};
use holdfast_fhir::bundle::{EntryResponse, batch_response, transaction_response};
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::Value;

use super::negotiate::{Returning, Wishes, require_json};
use super::write::{Write, refused, representation, status_of, told, version_url, written_of};
use super::{answer, history, read, search, writable_type_named};
use crate::admission::issues;
use crate::body::{Payload, parse_pairs};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// Entries of one bundle: it is held in memory as a whole, and the client waits.
const ENTRIES_MAX: usize = 10_000;

/// `POST /`.
pub(super) async fn submit(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    require_json(&headers)?;
    let bundle =
        parse_resource(&bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    let base = state.fhir_base(&organization);
    let door = Door { state: &state, ask: &ask, organization, base, wishes: &wishes };
    let answer = match (bundle["resourceType"].as_str(), bundle["type"].as_str()) {
        (Some("Bundle"), Some("transaction")) => {
            let asked = requests(&bundle)?;
            let admission = state.exchange.interact(&ask, &door.organization, &bytes).await?;
            door.transaction(&asked, &admission).await?
        }
        (Some("Bundle"), Some("batch")) => {
            let asked = requests(&bundle)?;
            let mut responses = Vec::new();
            for request in &asked {
                responses.push(door.entry(request).await);
            }
            batch_response(responses)
        }
        _ => {
            let text = "has to be a Bundle of type transaction or batch";
            return Err(Failure::invalid(vec![Issue::error("invalid", "Bundle.type", text)]));
        }
    };
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &answer, &wishes))
}

/// What one entry asks for.
struct Request<'a> {
    place: usize,
    method: &'a str,
    url: &'a str,
    request: &'a Value,
    resource: &'a Value,
}

fn requests(bundle: &Value) -> Result<Vec<Request<'_>>, Failure> {
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.len() > ENTRIES_MAX {
        let text = format!("at most {ENTRIES_MAX} entries");
        let failure = Failure::invalid(vec![Issue::error("too-long", "Bundle.entry", text)]);
        return Err(failure.with_status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let mut asked = Vec::new();
    let mut problems = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let request = &entry["request"];
        match (request["method"].as_str(), request["url"].as_str()) {
            (Some(method), Some(url)) => {
                asked.push(Request { place, method, url, request, resource: &entry["resource"] });
            }
            _ => {
                let at = format!("Bundle.entry[{place}].request");
                problems.push(Issue::error("required", at, "needs a method and a URL"));
            }
        }
    }
    if problems.is_empty() { Ok(asked) } else { Err(Failure::invalid(problems)) }
}

/// Whom a bundle is from, and how it is to be answered.
struct Door<'a> {
    state: &'a AppState,
    ask: &'a Ask,
    organization: OrganizationId,
    base: String,
    wishes: &'a Wishes,
}

impl Door<'_> {
    /// The answer to a transaction, in the order of its entries. What it reads, it reads
    /// after everything was written (http.html#trules).
    async fn transaction(
        &self,
        asked: &[Request<'_>],
        admission: &Admission,
    ) -> Result<Value, Failure> {
        if let Outcome::Refused(reason) = &admission.outcome {
            return Err(refused(reason, admission));
        }
        let queued = admission.outcome == Outcome::Queued;
        let written: std::collections::HashMap<usize, &Written> =
            admission.written.iter().map(|written| (written.entry, written)).collect();
        let mut responses = Vec::with_capacity(asked.len());
        for request in asked {
            let reads = matches!(request.method, "GET" | "HEAD");
            responses.push(match written.get(&request.place) {
                Some(written) => self.response_of(written, admission).await,
                None if queued => {
                    EntryResponse { status: line(StatusCode::ACCEPTED), ..EntryResponse::default() }
                }
                None if reads => self.entry(request).await,
                None => EntryResponse {
                    status: line(StatusCode::OK),
                    issues: issues(admission),
                    ..EntryResponse::default()
                },
            });
        }
        Ok(transaction_response(responses))
    }

    /// Carries out one entry of a batch; what fails, fails alone.
    async fn entry(&self, request: &Request<'_>) -> EntryResponse {
        let answered = match request.method {
            "GET" => self.get(request).await,
            "HEAD" => {
                self.get(request).await.map(|answer| EntryResponse { resource: None, ..answer })
            }
            "POST" | "PUT" | "PATCH" | "DELETE" => self.write(request).await,
            _ => Err(Failure::unsupported("a batch may GET, HEAD, POST, PUT, PATCH and DELETE")),
        };
        answered.unwrap_or_else(|failure| {
            if let Some(cause) = &failure.cause {
                tracing::error!(request = %self.ask.request, cause = &**cause, "a batch entry failed by our fault");
            }
            let own = Issue::error(failure.code, "", failure.message.clone());
            let issues = if failure.issues.is_empty() { vec![own] } else { failure.issues };
            EntryResponse { status: line(failure.status), issues, ..EntryResponse::default() }
        })
    }

    async fn write(&self, request: &Request<'_>) -> Result<EntryResponse, Failure> {
        let path = request.url.split('?').next().unwrap_or_default().trim_start_matches('/');
        let (resource_type, rest) = path.split_once('/').unwrap_or((path, ""));
        writable_type_named(resource_type)?;
        if rest.starts_with(['_', '$']) {
            return Err(Failure::unsupported("a batch has no searches by POST, and no operations"));
        }
        let write = Write {
            organization: self.organization.clone(),
            request: request.request.clone(),
            resource: request.resource.clone(),
        };
        let admission = write.admit(self.state, self.ask).await?;
        Ok(match written_of(&admission)? {
            Some(written) => self.response_of(written, &admission).await,
            None => {
                EntryResponse { status: line(StatusCode::ACCEPTED), ..EntryResponse::default() }
            }
        })
    }

    /// `Type/id`, `Type/id/_history/version`, `Type?…` or a history.
    async fn get(&self, request: &Request<'_>) -> Result<EntryResponse, Failure> {
        let url = request.url.strip_prefix(self.base.as_str()).unwrap_or(request.url);
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let pairs = || parse_pairs(query.as_bytes());
        let of_many = match parts.as_slice() {
            ["_history"] => Some((None, None)),
            [kind, "_history"] => Some((Some(*kind), None)),
            [kind, id, "_history"] => Some((Some(*kind), Some(*id))),
            _ => None,
        };
        let found = match (of_many, parts.as_slice()) {
            (Some(of), _) => {
                let organization = self.organization.as_str();
                Some(history::find(self.state, self.ask, organization, of, &pairs()?).await?)
            }
            (None, [kind]) => {
                let (state, ask) = (self.state, self.ask);
                let strict = Handling::Strict;
                Some(search::find(state, ask, &self.organization, kind, &pairs()?, strict).await?)
            }
            _ => None,
        };
        if found.is_some() {
            let status = line(StatusCode::OK);
            return Ok(EntryResponse { status, resource: found, ..EntryResponse::default() });
        }
        let (id, version) = match parts.as_slice() {
            [_, id] => (*id, None),
            [_, id, "_history", version] => {
                (*id, Some(version.parse().map_err(|_| Failure::not_found())?))
            }
            _ => return Err(Failure::not_found()),
        };
        let kind = parts.first().copied().unwrap_or_default();
        let place = [self.organization.as_str(), kind, id];
        let read = read::fetch(self.state, self.ask, place, version).await?;
        let (etag, last_modified) = (answer::etag(read.version), read.last_updated.to_string());
        let known = request.request["ifNoneMatch"].as_str().is_some_and(|tag| tag.trim() == etag);
        let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
        Ok(EntryResponse {
            status: line(status),
            etag: Some(etag),
            last_modified: Some(last_modified),
            resource: (!known).then_some(read.resource),
            ..EntryResponse::default()
        })
    }

    async fn response_of(&self, written: &Written, admission: &Admission) -> EntryResponse {
        let mut response = response_of(written);
        match self.wishes.returning {
            Returning::Minimal => {}
            Returning::OperationOutcome => response.issues = told(admission),
            Returning::Representation if written.deleted => {}
            Returning::Representation => {
                let (state, ask) = (self.state, self.ask);
                response.resource = representation(state, ask, &self.organization, written).await;
            }
        }
        response
    }
}

fn response_of(written: &Written) -> EntryResponse {
    let there = written.version > 0;
    EntryResponse {
        status: line(status_of(written)),
        location: (!written.deleted).then(|| version_url(written)),
        etag: there.then(|| answer::etag(written.version)),
        last_modified: there.then(|| written.last_updated.to_string()),
        ..EntryResponse::default()
    }
}

/// `201 Created`.
fn line(status: StatusCode) -> String {
    status.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::tests::admission;

    #[test]
    fn what_was_written_is_answered_with_its_version() {
        let mut written = admission(Outcome::Accepted).written.remove(0);
        let response = response_of(&written);
        assert_eq!(response.status, "200 OK");
        assert_eq!(response.location.as_deref(), Some("Observation/abc/_history/2"));
        assert_eq!(response.etag.as_deref(), Some("W/\"2\""));
        assert_eq!(response.last_modified.as_deref(), Some("1970-01-01T00:00:00.000Z"));
        (written.deleted, written.version) = (true, 0);
        let response = response_of(&written);
        assert_eq!((&*response.status, response.etag), ("204 No Content", None));
    }

    #[test]
    fn a_bundle_of_too_many_entries_is_refused_at_once() {
        let entry = json!({ "request": { "method": "GET", "url": "Patient/1" } });
        let bundle = json!({ "type": "batch", "entry": vec![entry; ENTRIES_MAX + 1] });
        let failure = requests(&bundle).err().expect("refused");
        assert_eq!(failure.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[test]
    fn an_entry_without_request_is_named() {
        let bundle = json!({ "type": "batch", "entry": [{}, { "request": { "method": "GET" } }] });
        let failure = requests(&bundle).err().expect("refused");
        assert_eq!(failure.issues.len(), 2);
    }
}
