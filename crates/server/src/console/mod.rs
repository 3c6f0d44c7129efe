//! The console.

use axum::Router;

use crate::state::AppState;

/// The console's pages.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
}
