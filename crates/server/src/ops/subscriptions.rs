//! Subscriptions, for those who run and watch the exchange: what is sent where, what
//! could not be delivered, and which hosts may be sent to.

use axum::Json;
use axum::extract::{Path, State};
use holdfast_exchange::SubscriptionView;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// `GET /ops/subscriptions`.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let all = state.exchange.all_subscriptions(&ask).await?;
    Ok(Json(json!({ "subscriptions": all.iter().map(view).collect::<Vec<_>>() })))
}

fn view(subscription: &SubscriptionView) -> Value {
    json!({
        "subscription": subscription.id,
        "organization": subscription.organization,
        "principal": subscription.owner,
        "status": subscription.status.as_str(),
        "error": subscription.error,
        "topic": subscription.topic,
        "endpoint": subscription.endpoint,
        "events": subscription.events,
        "delivered": subscription.delivered,
        "waiting": subscription.events - subscription.delivered.min(subscription.events),
        "tries": subscription.tries,
        "next_try": subscription.next_try,
    })
}

/// `POST /ops/subscriptions/{organization}/{id}/replay`.
pub(super) async fn replay(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let organization = organization_named(&organization)?;
    let done = state.exchange.replay_subscription(&ask, &organization, &id, true).await?;
    Ok(Json(view(&done)))
}

/// `POST /ops/subscriptions/{organization}/{id}/off`.
pub(super) async fn off(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path((organization, id)): Path<(String, String)>,
) -> Result<Json<Value>, Failure> {
    let organization = organization_named(&organization)?;
    let done = state.exchange.replay_subscription(&ask, &organization, &id, false).await?;
    Ok(Json(view(&done)))
}

/// `GET /ops/organizations/{organization}/notify-hosts`.
pub(super) async fn hosts(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
) -> Result<Json<Value>, Failure> {
    let organization = organization_named(&organization)?;
    let hosts = state.exchange.notify_hosts(&ask, &organization).await?;
    Ok(Json(json!({ "hosts": hosts })))
}

/// A host that is allowed, or not any more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    host: String,
    allowed: bool,
}

/// `POST /ops/organizations/{organization}/notify-hosts`.
pub(super) async fn allow(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    JsonBody(given): JsonBody<Host>,
) -> Result<Json<Value>, Failure> {
    let organization = organization_named(&organization)?;
    let hosts =
        state.exchange.allow_notify_host(&ask, &organization, &given.host, given.allowed).await?;
    Ok(Json(json!({ "hosts": hosts })))
}
