//! Broken glass, for review.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// `GET /ops/emergencies`: who opened a record by declaring an emergency, and why.
pub(super) async fn emergencies(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let items = state.exchange.emergencies(&ask).await?;
    let items = items.iter().map(|item| {
        json!({
            "at": item.at,
            "principal": item.principal,
            "from": item.from,
            "organization": item.organization,
            "patient": item.patient,
            "reason": item.reason,
        })
    });
    Ok(Json(json!({ "emergencies": items.collect::<Vec<_>>() })))
}
