//! Destroying a patient's key.

use axum::Json;
use axum::extract::State;
use holdfast_base::OrganizationId;
use holdfast_exchange::Forgetting;
use serde::Deserialize;
use serde_json::{Value, json};

use super::incidents::Reason;
use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Who is to be forgotten, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Forget {
    organization: OrganizationId,
    patient: String,
    reason: String,
    #[serde(default)]
    confirm: Option<String>,
}

/// `POST /ops/forget`: without `confirm`, gives the code to confirm with.
pub(super) async fn forget(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(asked): JsonBody<Forget>,
) -> Result<Json<Value>, Failure> {
    let reason = Reason { reason: asked.reason };
    let whom = (&asked.organization, asked.patient.as_str());
    let confirm = asked.confirm.as_deref();
    let done = state.exchange.forget_patient(&ask, whom, reason.checked()?, confirm).await?;
    Ok(Json(match done {
        Forgetting::Confirm { code } => json!({ "forgotten": false, "confirm": code }),
        Forgetting::Done => json!({ "forgotten": true }),
    }))
}
