//! How the exchange is, and who asks.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// `GET /ops/status`.
pub(super) async fn status(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let counts = state.exchange.counts()?;
    let caller = &ask.caller;
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "base_url": &*state.base_url,
        "started": state.started,
        "now": state.clock.now(),
        "caller": {
            "user": caller.id(),
            "name": caller.display_name(),
            "organization": caller.organization(),
            "role": caller.role().as_str(),
        },
        "counts": {
            "patients": counts.patients,
            "persons": counts.persons,
            "reviews": counts.reviews,
            "pending": counts.pending,
        },
    })))
}
