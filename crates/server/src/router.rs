//! All routes, and what every request goes through.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use holdfast_exchange::ExchangeError;

use crate::caller::{Peer, RequestContext};
use crate::error::{Failure, as_json};
use crate::state::AppState;
use crate::{auth, console, fhir, intake, ledger, ops};

/// Every door that speaks HTTP. Each request needs a [`Peer`] in its extensions.
pub fn router(state: AppState) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .merge(auth::routes())
        .merge(intake::routes())
        .merge(ops::routes())
        .merge(ledger::routes())
        .merge(fhir::routes())
        .merge(console::routes())
        .fallback(no_such_page)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(as_json))
        .layer(from_fn_with_state(state.clone(), frame))
        .with_state(state)
}

/// Whether the doors are open. Says nothing else, so it needs no sign-in.
async fn healthz() -> &'static str {
    "ok"
}

async fn no_such_page() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this URL")
}

/// Answer to a method that a URL does not have.
pub(crate) async fn no_such_method() -> Failure {
    Failure::method_not_allowed()
}

/// Gives the request its number and the answer its headers, and writes the one log
/// line. The query is never logged: it may name a patient.
async fn frame(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let began = state.clock.now();
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        return Failure::from(ExchangeError::Internal("a request without peer")).into_response();
    };
    let context = RequestContext::new(peer);
    request.extensions_mut().insert(context.clone());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str).to_owned();

    let mut response = next.run(request).await;
    let status = response.status();
    let number = context.request.to_string();
    let principal = context.principal().map_or("-", |principal| principal.as_str());
    let took_ms = state.clock.now().millis_since(began);
    if let Some(cause) = response.extensions().get::<Failure>().and_then(|f| f.cause.as_deref()) {
        tracing::error!(request = %number, route, cause, "a request failed by our fault");
    }
    tracing::info!(
        %method, route, status = status.as_u16(), ms = took_ms, request = %number, principal, "request"
    );
    dress(&mut response, &number);
    response
}

/// Headers of every answer. What a door has set itself stays.
fn dress(response: &mut Response, request: &str) {
    let headers = response.headers_mut();
    if let Ok(number) = HeaderValue::from_str(request) {
        headers.insert("x-request-id", number);
    }
    let defaults = [
        // A record must not outlive the session in some cache.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_number_and_is_kept_by_no_cache() {
        let mut response = "x".into_response();
        dress(&mut response, "00ff");
        assert_eq!(response.headers()["x-request-id"], "00ff");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn what_a_door_says_itself_stays() {
        let mut response = ([(header::CACHE_CONTROL, "max-age=60")], "css").into_response();
        dress(&mut response, "00ff");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "max-age=60");
    }
}
