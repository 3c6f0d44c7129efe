//! Inbox and reviews.

use axum::extract::State;
use axum::response::Html;

use super::guard::page;
use super::page;
use super::viewer::{named, viewer};
use crate::caller::Asking;
use crate::error::Failure;
use crate::state::AppState;

/// `GET /inbox`.
pub(super) async fn inbox(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Html<String>, Failure> {
    let items = state.exchange.inbox(&ask)?;
    Ok(page(page::inbox(&viewer(&state, &ask), &items, &named(&state))))
}

/// `GET /reviews`.
pub(super) async fn reviews(
    State(state): State<AppState>,
    Asking(ask): Asking,
) -> Result<Html<String>, Failure> {
    let items = state.exchange.reviews(&ask)?;
    Ok(page(page::reviews(&viewer(&state, &ask), &items, &named(&state))))
}
