//! The public part of the ledger, for everybody's monitor: the files of C2SP
//! `tlog-tiles` under `/ledger`, without sign-in. Leaves are salted commitments: they
//! say how many entries there are, and nothing of any.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::routing::get;
use tokio::sync::Semaphore;

use crate::error::Failure;
use crate::state::AppState;

/// Reads at once, of everybody together: strangers must not crowd the keeper.
static READS: Semaphore = Semaphore::const_new(8);

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/ledger/checkpoint", get(checkpoint))
        .route("/ledger/checkpoint.witnessed", get(witnessed))
        .route("/ledger/tile/{*rest}", get(tile))
}

type Answer = ([(HeaderName, HeaderValue); 2], Vec<u8>);

/// `GET /ledger/checkpoint`: the newest, signed by the log.
async fn checkpoint(State(state): State<AppState>) -> Result<Answer, Failure> {
    file(&state, "checkpoint").await
}

/// `GET /ledger/checkpoint.witnessed`: the newest that witnesses have cosigned.
async fn witnessed(State(state): State<AppState>) -> Result<Answer, Failure> {
    file(&state, "checkpoint.witnessed").await
}

/// `GET /ledger/tile/{level or entries}/{number}[.p/{width}]`.
async fn tile(State(state): State<AppState>, Path(rest): Path<String>) -> Result<Answer, Failure> {
    file(&state, &format!("tile/{rest}")).await
}

async fn file(state: &AppState, path: &str) -> Result<Answer, Failure> {
    let busy = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "throttled", "try again later");
    let _turn = READS.acquire().await.map_err(busy)?;
    let bytes = state.exchange.ledger_file(path).await?;
    // A tile never changes; a checkpoint always does.
    let (content_type, cache) = match path.starts_with("tile/") {
        true => ("application/octet-stream", "public, max-age=604800, immutable"),
        false => ("text/plain; charset=utf-8", "no-store"),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    Ok((headers, bytes))
}
