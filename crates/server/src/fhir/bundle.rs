//! Transactions and batches (FHIR R4 http.html#transaction).

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use holdfast_base::OrganizationId;
use holdfast_exchange::{Admission, Ask, Format, Handling, Outcome, Written};
use holdfast_fhir::bundle::{EntryResponse, batch_response, transaction_response};
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::Value;

use super::negotiate::{Wishes, require_json};
use super::write::{Write, refused, require_own_identifier, status_of, version_url, written_of};
use super::{answer, read, search, writable_type_named};
use crate::admission::issues;
use crate::body::{Payload, parse_pairs};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// Entries of one batch: each is a transaction of its own, and the client waits.
const BATCH_ENTRIES_MAX: usize = 1_000;

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
    let answer = match (bundle["resourceType"].as_str(), bundle["type"].as_str()) {
        (Some("Bundle"), Some("transaction")) => {
            let asked = requests(&bundle)?;
            only_writes(&asked)?;
            let admission = state.exchange.admit(&ask, &organization, Format::Fhir, &bytes).await?;
            transaction(&asked, &admission)?
        }
        (Some("Bundle"), Some("batch")) => {
            let asked = requests(&bundle)?;
            let mut responses = Vec::new();
            for request in &asked {
                responses.push(entry(&state, &ask, &organization, request).await);
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
    if entries.len() > BATCH_ENTRIES_MAX && bundle["type"] == "batch" {
        let text = format!("at most {BATCH_ENTRIES_MAX} entries");
        return Err(Failure::invalid(vec![Issue::error("too-costly", "Bundle.entry", text)]));
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

/// A transaction writes; whatever else is in it is refused before anything is done.
fn only_writes(asked: &[Request<'_>]) -> Result<(), Failure> {
    let problems: Vec<_> = asked
        .iter()
        .filter_map(|request| {
            let problem = match (request.method, request.url.contains('?')) {
                ("POST", _) | ("PUT", false) => return None,
                ("PUT", true) => "conditional updates are not offered",
                _ => "only POST and PUT are offered in a transaction",
            };
            let at = format!("Bundle.entry[{}].request", request.place);
            Some(Issue::error("not-supported", at, problem))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(problems).with_status(StatusCode::NOT_IMPLEMENTED))
}

/// The answer to a transaction, in the order of its entries.
fn transaction(asked: &[Request<'_>], admission: &Admission) -> Result<Value, Failure> {
    if let Outcome::Refused(reason) = &admission.outcome {
        return Err(refused(reason, admission));
    }
    let queued = admission.outcome == Outcome::Queued;
    let responses = asked.iter().map(|request| {
        let mut written = admission.written.iter().filter(|written| written.entry == request.place);
        match written.next() {
            Some(written) => response_of(written),
            None if queued => {
                EntryResponse { status: line(StatusCode::ACCEPTED), ..EntryResponse::default() }
            }
            None => EntryResponse {
                status: line(StatusCode::OK),
                issues: issues(admission),
                ..EntryResponse::default()
            },
        }
    });
    Ok(transaction_response(responses.collect()))
}

/// Carries out one entry of a batch; what fails, fails alone.
async fn entry(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    request: &Request<'_>,
) -> EntryResponse {
    let answered = match request.method {
        "GET" => get(state, ask, organization, request.url).await,
        "POST" | "PUT" if !request.url.contains('?') => {
            put(state, ask, organization, request).await
        }
        _ => Err(Failure::unsupported(
            "a batch may GET, POST and PUT, without conditions in the URL",
        )),
    };
    answered.unwrap_or_else(|failure| {
        if let Some(cause) = &failure.cause {
            tracing::error!(request = %ask.request, cause = &**cause, "a batch entry failed by our fault");
        }
        let own = Issue::error(failure.code, "", failure.message.clone());
        let issues = if failure.issues.is_empty() { vec![own] } else { failure.issues };
        EntryResponse { status: line(failure.status), issues, ..EntryResponse::default() }
    })
}

async fn put(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    request: &Request<'_>,
) -> Result<EntryResponse, Failure> {
    let resource_type = request.url.split('/').next().unwrap_or_default();
    let resource_type = writable_type_named(resource_type)?;
    if request.resource["resourceType"] != resource_type {
        return Err(Failure::incorrect("the resource is of another type than its URL"));
    }
    if let Some(criteria) = request.request["ifNoneExist"].as_str() {
        require_own_identifier(criteria, request.resource)?;
    }
    let write = Write {
        organization: organization.clone(),
        request: request.request.clone(),
        resource: request.resource.clone(),
    };
    let admission = write.admit(state, ask).await?;
    Ok(match written_of(&admission)? {
        Some(written) => response_of(written),
        None => EntryResponse { status: line(StatusCode::ACCEPTED), ..EntryResponse::default() },
    })
}

/// `Type/id`, `Type/id/_history/version` or `Type?…`.
async fn get(
    state: &AppState,
    ask: &Ask,
    organization: &OrganizationId,
    url: &str,
) -> Result<EntryResponse, Failure> {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (id, version) = match parts.as_slice() {
        [resource_type] => {
            let pairs = parse_pairs(query.as_bytes())?;
            let found =
                search::find(state, ask, organization, resource_type, &pairs, Handling::Strict)
                    .await?;
            let status = line(StatusCode::OK);
            return Ok(EntryResponse { status, resource: Some(found), ..EntryResponse::default() });
        }
        [_, id] => (*id, None),
        [_, id, "_history", version] => {
            (*id, Some(version.parse().map_err(|_| Failure::not_found())?))
        }
        _ => return Err(Failure::not_found()),
    };
    let place = [organization.as_str(), parts.first().copied().unwrap_or_default(), id];
    let read = read::fetch(state, ask, place, version).await?;
    Ok(EntryResponse {
        status: line(StatusCode::OK),
        etag: Some(answer::etag(read.version)),
        last_modified: Some(read.last_updated.to_string()),
        resource: Some(read.resource),
        ..EntryResponse::default()
    })
}

fn response_of(written: &Written) -> EntryResponse {
    EntryResponse {
        status: line(status_of(written)),
        location: Some(version_url(written)),
        etag: Some(answer::etag(written.version)),
        last_modified: Some(written.last_updated.to_string()),
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

    fn transaction_of(requests: &[(&str, &str)]) -> Value {
        let entries: Vec<_> = requests
            .iter()
            .map(|(method, url)| json!({ "request": { "method": method, "url": url } }))
            .collect();
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
    }

    #[test]
    fn each_entry_is_answered_in_its_place() {
        let bundle = transaction_of(&[("POST", "Observation"), ("PUT", "Patient/1")]);
        let asked = requests(&bundle).expect("readable");
        let answer = transaction(&asked, &admission(Outcome::Accepted)).expect("accepted");
        assert_eq!(answer["type"], "transaction-response");
        assert_eq!(
            answer["entry"][0]["response"],
            json!({
                "status": "200 OK", "location": "Observation/abc/_history/2", "etag": "W/\"2\"",
                "lastModified": "1970-01-01T00:00:00.000Z",
            })
        );
        assert_eq!(answer["entry"][1]["response"]["status"], "200 OK");
    }

    #[test]
    fn what_waits_for_the_keeper_is_accepted_and_what_is_refused_fails_as_a_whole() {
        let bundle = transaction_of(&[("POST", "Observation")]);
        let asked = requests(&bundle).expect("readable");
        let mut waiting = admission(Outcome::Queued);
        waiting.written.clear();
        let answer = transaction(&asked, &waiting).expect("kept");
        assert_eq!(answer["entry"][0]["response"]["status"], "202 Accepted");
        let failure =
            transaction(&asked, &admission(Outcome::Refused("bad".into()))).expect_err("refused");
        assert_eq!(failure.status, StatusCode::UNPROCESSABLE_ENTITY);
    }

    #[test]
    fn what_a_transaction_cannot_do_is_refused_with_its_place() {
        let bundle = transaction_of(&[
            ("POST", "Observation"),
            ("DELETE", "Observation/1"),
            ("PUT", "Patient?identifier=1"),
        ]);
        let failure = only_writes(&requests(&bundle).expect("readable")).expect_err("refused");
        assert_eq!(failure.status, StatusCode::NOT_IMPLEMENTED);
        let places: Vec<_> = failure.issues.iter().map(|issue| issue.expression.as_str()).collect();
        assert_eq!(places, ["Bundle.entry[1].request", "Bundle.entry[2].request"]);
    }

    #[test]
    fn an_entry_without_request_is_named() {
        let bundle = json!({ "type": "batch", "entry": [{}, { "request": { "method": "GET" } }] });
        let failure = requests(&bundle).err().expect("refused");
        assert_eq!(failure.issues.len(), 2);
    }
}
