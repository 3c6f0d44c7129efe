//! Signing in and out.

use axum::Form;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use holdfast_base::Sensitive;
use holdfast_exchange::ExchangeError;
use serde::Deserialize;

use super::guard::page;
use super::page;
use super::viewer::{places, viewer};
use crate::caller::{Asking, RequestContext, SESSION_COOKIE, ShownToken};
use crate::error::Failure;
use crate::state::AppState;

/// What the sign-in form holds. Not printable: it has a password.
#[derive(Deserialize)]
pub(super) struct Given {
    user: String,
    password: String,
    code: String,
}

/// `GET /`: to the sign-in, or to where the role works.
pub(super) async fn home(State(state): State<AppState>, asking: Option<Asking>) -> Response {
    let Some(Asking(ask)) = asking else { return Redirect::to("/sign-in").into_response() };
    match places(ask.caller.role()).first() {
        Some(place) => Redirect::to(place.path()).into_response(),
        None => {
            let sentence = "Your role opens no part of the console; its work is done elsewhere.";
            let reader = viewer(&state, &ask);
            page(page::message(Some(&reader), "Nothing to do here", sentence, "")).into_response()
        }
    }
}

/// `GET /sign-in`.
pub(super) async fn show() -> impl IntoResponse {
    page(page::sign_in("", None))
}

/// `POST /sign-in`.
pub(super) async fn sign_in(
    State(state): State<AppState>,
    context: RequestContext,
    Form(given): Form<Given>,
) -> Result<Response, Failure> {
    let user = given.user.trim();
    let address = context.peer.address_text();
    let password = Sensitive::new(given.password);
    let code: String = given.code.chars().filter(char::is_ascii_digit).collect();
    match state.exchange.sign_in(user, &password, &code, Some(&address)).await {
        Ok(signed_in) => {
            let cookie = cookie(signed_in.token.expose(), "")?;
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
        }
        Err(error) => {
            let Some(problem) = problem(&error) else { return Err(error.into()) };
            let status = Failure::from(error).status;
            Ok((status, page(page::sign_in(user, Some(&problem)))).into_response())
        }
    }
}

/// Why a sign-in failed, when trying again can help.
fn problem(error: &ExchangeError) -> Option<String> {
    match error {
        ExchangeError::NotSignedIn => Some(
            "User name, password and code do not belong together. Try again, with a fresh code."
                .to_owned(),
        ),
        ExchangeError::Throttled { wait_seconds } => {
            Some(format!("Too many attempts failed. Wait {wait_seconds} seconds, then try again."))
        }
        ExchangeError::Suspended => {
            Some("This account is suspended. Ask your privacy office.".to_owned())
        }
        _ => None,
    }
}

/// `POST /sign-out`. Ends the session whether or not it was still alive.
pub(super) async fn sign_out(
    State(state): State<AppState>,
    shown: Result<ShownToken, Failure>,
) -> Result<Response, Failure> {
    if let Ok(ShownToken(token)) = shown {
        state.exchange.sign_out(token.expose()).await?;
    }
    let clear = HeaderName::from_static("clear-site-data");
    let headers = [
        (header::SET_COOKIE, cookie("", "; Max-Age=0")?),
        (clear, HeaderValue::from_static("\"cache\", \"storage\"")),
    ];
    Ok((headers, Redirect::to("/sign-in")).into_response())
}

/// The session's cookie; it ends with the browser's session at the latest.
fn cookie(token: &str, more: &str) -> Result<HeaderValue, Failure> {
    let text = format!("{SESSION_COOKIE}={token}; Path=/; Secure; HttpOnly; SameSite=Strict{more}");
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "exception", "a token is no header value")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_for_our_own_pages_over_tls_and_for_no_script() {
        let cookie = cookie("abc", "").expect("a cookie");
        let text = cookie.to_str().expect("is text");
        assert!(text.starts_with("__Host-holdfast=abc; Path=/; "), "{text}");
        for part in ["Secure", "HttpOnly", "SameSite=Strict"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("Domain") && cookie.is_sensitive());
    }

    #[test]
    fn a_wrong_name_and_a_wrong_password_read_alike() {
        let text = problem(&ExchangeError::NotSignedIn).expect("a problem");
        assert!(text.contains("do not belong together"));
        assert!(problem(&ExchangeError::KeeperAway).is_none(), "that is no fault of the user's");
    }
}
