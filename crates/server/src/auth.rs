//! Signing in and out.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use holdfast_base::Sensitive;
use serde::Deserialize;
use serde_json::json;

use crate::body::JsonBody;
use crate::caller::{Asking, RequestContext, ShownToken};
use crate::error::Failure;
use crate::state::AppState;

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/auth/token", post(token)).route("/auth/sign-out", post(sign_out))
}

/// What a person signs in with.
#[derive(Deserialize)]
struct SignIn {
    user: String,
    password: String,
    code: String,
}

/// `POST /auth/token`: password and code for a bearer token.
async fn token(
    State(state): State<AppState>,
    context: RequestContext,
    JsonBody(given): JsonBody<SignIn>,
) -> Result<impl IntoResponse, Failure> {
    let password = Sensitive::new(given.password);
    let address = context.peer.address_text();
    let signed_in =
        state.exchange.sign_in(&given.user, &password, &given.code, Some(&address)).await?;
    let expires_in_s = signed_in.expires.millis_since(state.clock.now()) / 1000;
    let caller = context.ask(signed_in.caller).caller;
    let body = json!({
        "access_token": signed_in.token.expose(),
        "token_type": "Bearer",
        "expires_in": expires_in_s,
        "expires_at": signed_in.expires,
        "user": caller.id(),
        "name": caller.display_name(),
        "organization": caller.organization(),
        "role": caller.role().as_str(),
    });
    // RFC 6749 section 5.1 wants both.
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(body)))
}

/// `POST /auth/sign-out`: ends the session of the token that is shown.
async fn sign_out(
    State(state): State<AppState>,
    _: Asking,
    token: ShownToken,
) -> Result<StatusCode, Failure> {
    state.exchange.sign_out(token.0.expose()).await?;
    Ok(StatusCode::NO_CONTENT)
}
