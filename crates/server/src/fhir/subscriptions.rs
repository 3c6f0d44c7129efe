//! Subscriptions: R4, and the R5 backport's `$status` and `$events`. They belong to the
//! system that makes them; nobody else of the organization sees them here.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use holdfast_exchange::{ExchangeError, SubscriptionView};
use holdfast_fhir::{Issue, Limits, parse_resource};
use serde_json::{Value, json};

use super::negotiate::{Wishes, if_match, require_json};
use super::{answer, id_named};
use crate::body::Payload;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// The header that shows a new subscription's secret, once.
const SECRET: &str = "x-holdfast-subscription-secret";

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/fhir/{organization}/Subscription", get(search).post(create))
        .route("/fhir/{organization}/Subscription/$status", get(statuses).post(statuses))
        .route("/fhir/{organization}/Subscription/{id}", get(read).put(update).delete(delete))
        .route("/fhir/{organization}/Subscription/{id}/$status", get(status).post(status))
        .route("/fhir/{organization}/Subscription/{id}/$events", get(events).post(events))
}

async fn create(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let mut resource = resource_of(&headers, &bytes)?;
    resource.as_object_mut().map(|fields| fields.shift_remove("id"));
    let (made, secret) = state.exchange.subscribe(&ask, &organization, None, resource).await?;
    Ok(written(&state, &made, StatusCode::CREATED, secret.as_deref(), &wishes))
}

async fn update(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
    wishes: Wishes,
    headers: HeaderMap,
    Payload(bytes): Payload,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let id = id_named(&id)?;
    let resource = resource_of(&headers, &bytes)?;
    if resource["id"] != id {
        let issue = Issue::error("invalid", "Subscription.id", "has to be the id in the URL");
        return Err(Failure::invalid(vec![issue]));
    }
    if let Some(version) = if_match(&headers)? {
        let now = state.exchange.subscription(&ask, &organization, id)?.version;
        if now != version {
            return Err(
                Failure::from(ExchangeError::Conflict).with_status(StatusCode::PRECONDITION_FAILED)
            );
        }
    }
    let (made, secret) = state.exchange.subscribe(&ask, &organization, Some(id), resource).await?;
    let status = if secret.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    Ok(written(&state, &made, status, secret.as_deref(), &wishes))
}

fn resource_of(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Failure> {
    require_json(headers)?;
    let resource =
        parse_resource(bytes, Limits::default()).map_err(|issue| Failure::invalid(vec![issue]))?;
    if resource["resourceType"] != "Subscription" {
        let issue = Issue::error("invalid", "resourceType", "has to be Subscription");
        return Err(Failure::invalid(vec![issue]));
    }
    Ok(resource)
}

fn written(
    state: &AppState,
    made: &SubscriptionView,
    status: StatusCode,
    secret: Option<&str>,
    wishes: &Wishes,
) -> Response {
    let mut headers = answer::version_headers(made.version, made.updated);
    let base = state.fhir_base(&made.organization);
    let location = format!("{base}/Subscription/{}/_history/{}", made.id, made.version);
    let shown = [(header::LOCATION.as_str(), Some(location.as_str())), (SECRET, secret)];
    for (name, value) in shown {
        if let (Ok(name), Some(Ok(value))) =
            (header::HeaderName::try_from(name), value.map(HeaderValue::from_str))
        {
            headers.insert(name, value);
        }
    }
    answer::resource(status, headers, &made.resource, wishes)
}

async fn read(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let found = state.exchange.subscription(&ask, &organization, id_named(&id)?)?;
    let headers = answer::version_headers(found.version, found.updated);
    Ok(answer::resource(StatusCode::OK, headers, &found.resource, &wishes))
}

async fn delete(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let organization = organization_named(&organization)?;
    state.exchange.unsubscribe(&ask, &organization, id_named(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET Subscription?_id=…&status=…&url=…`: the caller's own.
async fn search(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let mut found = state.exchange.subscriptions(&ask, &organization)?;
    for (name, value) in &wishes.pairs {
        let values: Vec<&str> = value.split(',').collect();
        match name.as_str() {
            "_id" => found.retain(|s| values.contains(&s.id.as_str())),
            "status" => found.retain(|s| values.contains(&s.status.as_str())),
            "url" => found.retain(|s| values.contains(&s.endpoint.as_str())),
            "_format" | "_pretty" => {}
            other => {
                let text = "known are _id, status, url";
                return Err(Failure::invalid(vec![Issue::error("not-supported", other, text)]));
            }
        }
    }
    let base = state.fhir_base(&organization);
    let resources = found.into_iter().map(|s| (s.id.clone(), "Subscription", s.resource));
    let query = crate::body::render_pairs(
        wishes.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let url = format!("{base}/Subscription?{query}");
    let bundle = searchset(&base, url.trim_end_matches('?'), resources.collect());
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &bundle, &wishes))
}

fn searchset(base: &str, url: &str, found: Vec<(String, &str, Value)>) -> Value {
    let entries: Vec<Value> = found
        .into_iter()
        .map(|(id, kind, resource)| {
            let full_url = format!("{base}/{kind}/{id}");
            json!({ "fullUrl": full_url, "resource": resource, "search": { "mode": "match" } })
        })
        .collect();
    let mut bundle = json!({
        "resourceType": "Bundle", "type": "searchset", "total": entries.len(),
        "link": [{ "relation": "self", "url": url }],
    });
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    bundle
}

/// `GET Subscription/[id]/$status`.
async fn status(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    statuses_of(&state, &ask, &organization, &[id_named(&id)?.to_owned()], &wishes)
}

/// `GET Subscription/$status?id=…`: of several, or of all.
async fn statuses(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let named = wishes.pairs.iter().filter(|(name, _)| name == "id");
    let mut ids: Vec<String> =
        named.flat_map(|(_, value)| value.split(',')).map(str::to_owned).collect();
    if ids.is_empty() {
        let own = state.exchange.subscriptions(&ask, &organization_named(&organization)?)?;
        ids = own.into_iter().map(|s| s.id).collect();
    }
    statuses_of(&state, &ask, &organization, &ids, &wishes)
}

fn statuses_of(
    state: &AppState,
    ask: &holdfast_exchange::Ask,
    organization: &str,
    ids: &[String],
    wishes: &Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(organization)?;
    let base = state.fhir_base(&organization);
    let mut found = Vec::new();
    for id in ids {
        let status = state.exchange.subscription_status(ask, &organization, id, &base)?;
        let name = status["id"].as_str().unwrap_or_default().to_owned();
        found.push((name, "Parameters", status));
    }
    let url = format!("{base}/Subscription/$status");
    let bundle = searchset(&base, &url, found);
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &bundle, wishes))
}

/// `GET Subscription/[id]/$events?eventsSinceNumber=…&eventsUntilNumber=…`.
async fn events(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
    wishes: Wishes,
) -> Result<Response, Failure> {
    let organization = organization_named(&organization)?;
    let (mut since, mut until) = (1, None);
    for (name, value) in &wishes.pairs {
        let number = || {
            let wrong = Issue::error("value", name.as_str(), "has to be a number");
            value.parse::<u64>().map_err(|_| Failure::invalid(vec![wrong]))
        };
        match name.as_str() {
            "eventsSinceNumber" => since = number()?,
            "eventsUntilNumber" => until = Some(number()?),
            // Ids are what is given, whatever is asked: resources are read where they lie.
            "content" | "_format" | "_pretty" => {}
            other => {
                let text = "known are eventsSinceNumber, eventsUntilNumber, content";
                return Err(Failure::invalid(vec![Issue::error("not-supported", other, text)]));
            }
        }
    }
    let base = state.fhir_base(&organization);
    let id = id_named(&id)?;
    let range = (since, until);
    let bundle = state.exchange.subscription_events(&ask, &organization, id, range, &base).await?;
    Ok(answer::resource(StatusCode::OK, HeaderMap::new(), &bundle, &wishes).into_response())
}
