//! The ledger, for those who check it.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::question::Question;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Entries of one answer when `limit` does not say.
const ENTRIES_DEFAULT: usize = 1_000;
/// Most entries of one answer; more is what evidence bundles are for.
const ENTRIES_MAX: usize = 10_000;

/// `GET /ops/ledger/state`: size, root, checkpoint and the key that verifies it.
pub(super) async fn state(
    State(state): State<AppState>,
    _: Asking,
) -> Result<Json<Value>, Failure> {
    let ledger = state.exchange.ledger_state().await?;
    Ok(Json(json!({
        "size": ledger.size,
        "root": ledger.root,
        "checkpoint": ledger.checkpoint,
        "verifier_key": ledger.verifier_key,
    })))
}

/// `GET /ops/ledger/entries?…`: the latest that fit, in their order, and how many
/// fit in all.
pub(super) async fn entries(
    State(state): State<AppState>,
    Asking(ask): Asking,
    question: Question,
) -> Result<Json<Value>, Failure> {
    let limit = question.limit.unwrap_or(ENTRIES_DEFAULT).min(ENTRIES_MAX);
    let entries = state.exchange.ledger_entries(&ask, &question.filter()).await?;
    let total = entries.len();
    let latest = entries.get(total.saturating_sub(limit)..).unwrap_or_default();
    Ok(Json(json!({ "total": total, "entries": latest })))
}

/// `GET /ops/ledger/bundle?…&seen=`: an evidence bundle that verifies offline, also
/// for those who saw the ledger at the sizes `seen`.
pub(super) async fn bundle(
    State(state): State<AppState>,
    Asking(ask): Asking,
    question: Question,
) -> Result<impl IntoResponse, Failure> {
    let seen = question.seen.clone();
    let bundle = state.exchange.evidence(&ask, &question.filter(), &seen).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"evidence.bundle\""),
    ];
    Ok((headers, bundle))
}
