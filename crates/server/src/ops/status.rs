//! How the exchange is, and who asks.

use axum::Json;
use axum::extract::State;
use holdfast_exchange::ExchangeError;
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
    // How the exchange is can be asked while the keeper is away, too.
    let keys = match state.exchange.keys_due(&ask).await {
        Err(ExchangeError::KeeperAway) => None,
        keys => keys?,
    };
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
        "keys": keys.map(|keys| json!({
            "overdue": keys.overdue,
            "next": keys.next.map(|(key, due)| json!({ "key": key, "due": due })),
            "recovery_kit": keys.has_kit,
        })),
    })))
}
