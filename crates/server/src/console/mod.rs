//! The console: pages for clinicians, staff and the privacy office.
//!
//! Invariants: a handler extracts, calls the exchange, renders; what a page shows
//! is decided in [`view`], how it looks in [`page`]. No script. No PHI in a URL of
//! ours: look-ups travel in the body of a form, and the ids in links are random.
//! Whatever changes something is a POST that a page of ours has sent ([`guard`]).

mod accounts;
mod charts;
mod guard;
mod messages;
mod office;
mod page;
mod session;
mod view;
mod viewer;
mod worklists;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::{get, post};

use crate::state::AppState;

/// The console's pages.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(session::home))
        .route("/sign-in", get(session::show).post(session::sign_in))
        .route("/sign-out", post(session::sign_out))
        .route("/patients", get(charts::ask).post(charts::look_up))
        .route("/patients/{organization}/{id}", get(charts::open).post(charts::open_in_emergency))
        .route("/inbox", get(worklists::inbox))
        .route("/reviews", get(worklists::reviews))
        .route("/office", get(office::desk))
        .route("/office/contain", post(office::contain))
        .route("/office/lift", post(office::lift))
        .route("/office/incidents/{number}", get(office::incident))
        .route("/office/incidents/{number}/freeze", post(office::freeze))
        .route("/office/who", get(office::who_looked))
        .route("/accounts", get(accounts::list).post(accounts::add))
        .route("/accounts/reset", post(accounts::reset))
        .route("/accounts/close", post(accounts::close))
        .route("/accounts/organizations", post(accounts::add_organization))
        .route("/messages", get(messages::list))
        .route("/messages/replay", post(messages::replay_all))
        .route("/messages/{number}/replay", post(messages::replay))
        .route("/messages/{number}/show", post(messages::show))
        .layer(from_fn(guard::own_pages_only))
        .layer(from_fn(guard::as_page))
        .layer(from_fn(guard::headed))
        .route(&page::style_path(), get(style))
}

/// The style sheet. Its path names its content, so it never changes.
async fn style() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    (headers, page::STYLE)
}
