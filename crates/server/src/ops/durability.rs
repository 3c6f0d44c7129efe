//! Backups, and whether the store is whole.

use axum::Json;
use axum::extract::State;
use holdfast_exchange::BackupReport;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::JsonBody;
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// Where to.
#[derive(Deserialize)]
pub(super) struct To {
    to: String,
}

fn shown(report: &BackupReport) -> Value {
    json!({
        "number": report.number,
        "commit": report.commit.0,
        "commits": report.commits_count,
        "exact": report.exact,
        "entries": report.entries_count,
        "objects": report.objects_count,
        "bytes": report.bytes,
    })
}

/// `POST /ops/backup`: makes a backup; answers when it is durable. Goes on when the
/// client leaves.
pub(super) async fn backup(
    State(state): State<AppState>,
    Asking(ask): Asking,
    JsonBody(To { to }): JsonBody<To>,
) -> Result<Json<Value>, Failure> {
    let exchange = std::sync::Arc::clone(&state.exchange);
    let made = tokio::spawn(async move { exchange.back_up(&ask, &to).await }).await;
    let ended = |_| Failure::from(holdfast_exchange::ExchangeError::Internal("a backup ended"));
    let report = made.map_err(ended)??;
    Ok(Json(shown(&report)))
}

/// `GET /ops/durability`.
pub(super) async fn durability(State(state): State<AppState>, Asking(_): Asking) -> Json<Value> {
    let (last, check) = state.exchange.durability();
    let last = last.map(|(at, report)| json!({ "at": at, "backup": shown(&report) }));
    Json(json!({
        "backup": last,
        "check": {
            "whole_at": check.whole_at,
            "commits_done": check.commits_done,
            "damage": check.damage,
        },
    }))
}
