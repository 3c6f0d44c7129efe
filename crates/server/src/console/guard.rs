//! What every page of the console goes through: forms come from our own pages,
//! failures become a page that says what to do, and browsers are told what a page
//! may do.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use holdfast_exchange::ExchangeError;
use maud::Markup;

use super::page;
use crate::caller::{RequestContext, is_same_origin};
use crate::error::{Failure, render};

/// What a page may do: show itself with our style sheet, and send forms to us.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A page as an answer.
pub(super) fn page(markup: Markup) -> Html<String> {
    Html(markup.into_string())
}

/// Layer: a form counts only when a page of ours has sent it. The cookie is
/// `SameSite=Strict`; this also holds for a sign-in, which has no cookie yet.
pub(super) async fn own_pages_only(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_same_origin(request.headers()) {
        return next.run(request).await;
    }
    let text = "the form was not sent by a page of this console";
    Failure::new(StatusCode::FORBIDDEN, "foreign-form", text).into_response()
}

/// Layer: whoever is not signed in is asked to; any other failure is a page of one
/// sentence.
pub(super) async fn as_page(context: RequestContext, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && response.extensions().get::<Failure>().is_some()
    {
        return Redirect::to("/sign-in").into_response();
    }
    let number = context.request.to_string();
    let shown = |failure: &Failure| {
        let (title, sentence) = advice(failure);
        page(page::message(None, title, &sentence, &number)).into_response()
    };
    if response.extensions().get::<Failure>().is_some() {
        return render(response, shown);
    }
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("text/html")));
    if response.status().is_client_error() && !is_page {
        // A form, path or query that an extractor could not read.
        let failure = Failure::incorrect("something is missing or has a wrong form");
        return render(failure.with_status(response.status()).into_response(), shown);
    }
    response
}

/// Layer: the headers of a page.
pub(super) async fn headed(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A title, and one sentence that says what to do.
fn advice(failure: &Failure) -> (&'static str, String) {
    if failure.code == "foreign-form" {
        let text = "This form was sent from outside of the console; open the console itself and fill it in there.";
        return ("Not from here", text.to_owned());
    }
    if failure.message == ExchangeError::Suspended.to_string() {
        let text = "Nothing opens for it until the suspension is lifted; call your privacy office.";
        return ("This account is suspended", text.to_owned());
    }
    let (title, text) = match failure.status {
        StatusCode::FORBIDDEN => (
            "Not for this account",
            "Your role does not include this; ask your privacy office if your work needs it.",
        ),
        StatusCode::NOT_FOUND => (
            "Nothing here that you may see",
            "Check where you came from, or look the patient up by name, birth date or record number.",
        ),
        StatusCode::GONE => {
            ("It was deleted", "Look the patient up again, or ask the organization that kept it.")
        }
        StatusCode::CONFLICT => {
            ("Somebody was faster", "Go back, load the page again and repeat what you did.")
        }
        StatusCode::SERVICE_UNAVAILABLE => (
            "No record can be opened right now",
            "Wait a minute and try again; if it stays so, call the operator. Nothing is lost.",
        ),
        StatusCode::TOO_MANY_REQUESTS => {
            let message = sentence(&failure.message);
            let text = format!("{message} If your work needs more, call your privacy office.");
            return ("That is more than your budget allows", text);
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            let message = sentence(&failure.message);
            return ("That could not be read", format!("{message} Go back and correct it."));
        }
        _ => (
            "Something is wrong on our side",
            "Try once more; if it happens again, tell the operator the request number below.",
        ),
    };
    (title, text.to_owned())
}

/// One of our messages as a sentence.
pub(super) fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let begun: String =
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect());
    if begun.ends_with('.') { begun } else { format!("{begun}.") }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn status(method: &str, headers: &[(&str, &str)]) -> StatusCode {
        let routes = Router::new()
            .route("/", get(async || "page").post(async || "done"))
            .layer(axum::middleware::from_fn(own_pages_only));
        let mut request = Request::builder().method(method).uri("/").header("host", "hie.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        routes.oneshot(request).await.expect("an answer").status()
    }

    #[tokio::test]
    async fn a_form_counts_only_from_our_own_pages() {
        assert_eq!(status("GET", &[("sec-fetch-site", "cross-site")]).await, StatusCode::OK);
        assert_eq!(status("POST", &[("sec-fetch-site", "same-origin")]).await, StatusCode::OK);
        assert_eq!(status("POST", &[("origin", "https://hie.example")]).await, StatusCode::OK);
        for foreign in [
            [("sec-fetch-site", "cross-site")].as_slice(),
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[],
        ] {
            assert_eq!(status("POST", foreign).await, StatusCode::FORBIDDEN, "{foreign:?}");
        }
    }

    #[test]
    fn a_suspended_account_is_not_told_that_its_role_is_wrong() {
        let (title, text) = advice(&ExchangeError::Suspended.into());
        assert!(title.contains("suspended") && !text.contains("role"));
    }

    #[test]
    fn every_failure_says_what_to_do_and_ends_as_a_sentence() {
        for error in [
            ExchangeError::NotFound,
            ExchangeError::Gone,
            ExchangeError::Conflict,
            ExchangeError::KeeperAway,
            ExchangeError::Suspended,
            ExchangeError::NotPermitted { reason: "task-not-for-role" },
            ExchangeError::OverBudget { window: "hour", limit: 120 },
            ExchangeError::Setting("the date is wrong"),
            ExchangeError::Internal("a secret of ours"),
        ] {
            let (title, text) = advice(&error.into());
            assert!(!title.is_empty() && text.ends_with('.'), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
