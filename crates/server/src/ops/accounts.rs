//! Who is on the exchange.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::caller::Asking;
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
        })
    });
    Json(json!({ "accounts": accounts.collect::<Vec<_>>() }))
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
