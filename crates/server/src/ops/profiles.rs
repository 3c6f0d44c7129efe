//! Packages of profiles, and what organizations do about resources that do not meet them.

use axum::Json;
use axum::extract::{Path, State};
use holdfast_exchange::ProfilePolicy;
use holdfast_fhir::profile::Package;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{JsonBody, Payload};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::{AppState, organization_named};

/// A package: what validation uses of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    organization: Option<String>,
    resources: Vec<Value>,
}

/// `GET /ops/profiles`.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let packages = state.exchange.profile_packages(&ask).await?;
    Ok(Json(json!({ "packages": packages })))
}

/// `POST /ops/profiles`: adds a package, or replaces the one of the same name.
pub(super) async fn add(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Payload(body): Payload,
) -> Result<Json<Value>, Failure> {
    let sent: Sent = serde_json::from_slice(&body)
        .map_err(|_| Failure::incorrect("name, version, organization and resources are known"))?;
    let organization = sent.organization.as_deref().map(organization_named).transpose()?;
    let package = Package::of_resources(sent.name, sent.version, sent.resources)
        .map_err(|error| Failure::incorrect(error.to_string()))?;
    let view = state.exchange.add_profiles(&ask, organization.as_ref(), package).await?;
    Ok(Json(json!(view)))
}

/// Which package.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
    #[serde(default)]
    organization: Option<String>,
}

/// `POST /ops/profiles/remove`.
pub(super) async fn remove(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(named): JsonBody<Named>,
) -> Result<Json<Value>, Failure> {
    let organization = named.organization.as_deref().map(organization_named).transpose()?;
    state.exchange.remove_profiles(&ask, organization.as_ref(), &named.name).await?;
    Ok(Json(json!({ "removed": named.name })))
}

/// `POST /ops/organizations/{organization}/profiles`: the policy.
pub(super) async fn set_policy(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    JsonBody(policy): JsonBody<ProfilePolicy>,
) -> Result<Json<Value>, Failure> {
    let organization = organization_named(&organization)?;
    state.exchange.set_profile_policy(&ask, &organization, policy).await?;
    Ok(Json(json!({ "policy": state.exchange.profile_policy(&organization) })))
}
