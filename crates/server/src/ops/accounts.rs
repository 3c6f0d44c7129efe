//! Who is on the exchange.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::incidents::principal_named;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// `GET /ops/accounts`.
pub(super) async fn accounts(State(state): State<AppState>, Asking(ask): Asking) -> Json<Value> {
    let accounts = state.exchange.account_views(&ask);
    let accounts = accounts.iter().map(|account| {
        json!({
            "user": account.id,
            "name": account.display_name,
            "organization": account.organization,
            "role": account.role.as_str(),
            "suspended": account.suspended,
            "closed": account.closed,
        })
    });
    Json(json!({ "accounts": accounts.collect::<Vec<_>>() }))
}

/// `POST /ops/accounts/{principal}/reset`: new secrets of a person, shown once.
pub(super) async fn reset(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
) -> Result<Json<Value>, Failure> {
    let principal = principal_named(&principal)?;
    let enrolled = state.exchange.reset_secrets(&ask, &principal, None).await?;
    Ok(Json(json!({
        "user": enrolled.id,
        "password": enrolled.password.expose(),
        "totp_secret": enrolled.totp_secret.expose(),
    })))
}

/// `POST /ops/accounts/{principal}/close`.
pub(super) async fn close(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(principal): Path<String>,
) -> Result<Json<Value>, Failure> {
    let principal = principal_named(&principal)?;
    state.exchange.close_account(&ask, &principal).await?;
    Ok(Json(json!({ "user": principal, "closed": true })))
}

/// `GET /ops/organizations`.
pub(super) async fn organizations(State(state): State<AppState>, _: Asking) -> Json<Value> {
    let organizations = state.exchange.organization_views();
    let organizations = organizations.iter().map(|organization| {
        json!({
            "id": organization.id,
            "name": organization.name,
            "module": organization.module,
            "place": organization.place,
            "fhir_base": state.fhir_base(&organization.id),
        })
    });
    Json(json!({ "organizations": organizations.collect::<Vec<_>>() }))
}
