//! Bulk grants by two people, and budgets.

use axum::Json;
use axum::extract::{Path, State};
use holdfast_base::{OrganizationId, PrincipalId, RequestId};
use holdfast_exchange::{Budget, BudgetOwner, BulkGrant, GrantProposal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::incidents::{Reason, principal_named};
use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Milliseconds of an hour.
const HOUR_MS: i64 = 3_600_000;
/// How long a grant lives when nobody says.
const HOURS_DEFAULT: u32 = 8;

/// `GET /ops/grants`: those that wait or live.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let grants = state.exchange.grants(&ask).await?;
    Ok(Json(json!({ "grants": grants.iter().map(view).collect::<Vec<_>>() })))
}

fn view(grant: &BulkGrant) -> Value {
    json!({
        "grant": grant.id,
        "organization": grant.organization,
        "principal": grant.account,
        "patients": grant.patients_max,
        "opened": grant.patients_count,
        "until": grant.until,
        "reason": grant.reason,
        "proposed_by": grant.proposed_by,
        "approved_by": grant.approved_by,
    })
}

/// A grant that is proposed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proposal {
    organization: OrganizationId,
    principal: PrincipalId,
    patients: u32,
    hours: Option<u32>,
    reason: String,
}

/// `POST /ops/grants`.
pub(super) async fn propose(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(given): JsonBody<Proposal>,
) -> Result<Json<Value>, Failure> {
    let life_ms = i64::from(given.hours.unwrap_or(HOURS_DEFAULT)) * HOUR_MS;
    let reason = Reason::new(given.reason);
    let proposal = GrantProposal {
        organization: given.organization,
        account: given.principal,
        patients_max: given.patients,
        until: state.clock.now().plus_millis(life_ms),
        reason: reason.checked()?.to_owned(),
    };
    let grant = state.exchange.propose_grant(&ask, proposal).await?;
    Ok(Json(json!({ "grant": grant })))
}

/// `POST /ops/grants/{grant}/approve`.
pub(super) async fn approve(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(grant): Path<String>,
) -> Result<Json<Value>, Failure> {
    let grant = numbered(&grant)?;
    state.exchange.approve_grant(&ask, grant).await?;
    Ok(Json(json!({ "grant": grant, "approved": true })))
}

/// `POST /ops/grants/{grant}/revoke`.
pub(super) async fn revoke(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(grant): Path<String>,
    JsonBody(reason): JsonBody<Reason>,
) -> Result<Json<Value>, Failure> {
    let grant = numbered(&grant)?;
    state.exchange.revoke_grant(&ask, grant, reason.checked()?).await?;
    Ok(Json(json!({ "grant": grant, "revoked": true })))
}

fn numbered(text: &str) -> Result<RequestId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

/// Distinct patients, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBudget {
    per_minute: u32,
    per_hour: u32,
    per_day: u32,
    reason: String,
}

impl NewBudget {
    fn split(self) -> (Budget, Reason) {
        (Budget::new(self.per_minute, self.per_hour, self.per_day), Reason::new(self.reason))
    }
}

/// `POST /ops/principals/{principal}/budget`.
pub(super) async fn principal_budget(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
    JsonBody(given): JsonBody<NewBudget>,
) -> Result<Json<Value>, Failure> {
    let whose = BudgetOwner::Principal(principal_named(&principal)?);
    let (budget, reason) = given.split();
    state.exchange.set_budget(&ask, &whose, budget, reason.checked()?).await?;
    Ok(Json(json!({ "principal": principal, "budget": budget })))
}

/// `POST /ops/organizations/{organization}/budget`.
pub(super) async fn organization_budget(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(organization): Path<String>,
    JsonBody(given): JsonBody<NewBudget>,
) -> Result<Json<Value>, Failure> {
    let id = OrganizationId::new(&organization).map_err(|_| Failure::not_found())?;
    let (budget, reason) = given.split();
    state
        .exchange
        .set_budget(&ask, &BudgetOwner::Organization(id), budget, reason.checked()?)
        .await?;
    Ok(Json(json!({ "organization": organization, "budget": budget })))
}
