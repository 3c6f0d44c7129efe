//! Bulk exports and imports, for those who run and watch the exchange.

use axum::Json;
use axum::extract::{Path, State};
use holdfast_base::RequestId;
use holdfast_exchange::BulkJob;
use serde_json::{Value, json};

use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// `GET /ops/bulk`: newest first.
pub(super) async fn list(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Json<Value>, Failure> {
    let jobs = state.exchange.bulk_jobs(&ask).await?;
    Ok(Json(json!({ "jobs": jobs.iter().map(view).collect::<Vec<_>>() })))
}

fn view(job: &BulkJob) -> Value {
    json!({
        "job": job.id,
        "kind": job.kind.as_str(),
        "state": job.state.as_str(),
        "reason": job.state.reason(),
        "organization": job.organization,
        "principal": job.owner,
        "request": job.request,
        "asked": job.transaction_time,
        "expires": job.expires,
        "patients": job.patients_total,
        "patients_done": job.patients_done,
        "resources": job.resources_done,
        "refused": job.refused,
        "files": job.files.len(),
        "bytes": job.files.iter().map(|file| file.bytes).sum::<u64>(),
    })
}

/// `POST /ops/bulk/{job}/cancel`.
pub(super) async fn cancel(
    State(state): State<AppState>,
    Asking(ask): Asking,
    Path(job): Path<String>,
) -> Result<Json<Value>, Failure> {
    let job: RequestId = job.parse().map_err(|_| Failure::not_found())?;
    state.exchange.cancel_bulk_job(&ask, job).await?;
    Ok(Json(json!({ "job": job, "cancelled": true })))
}
