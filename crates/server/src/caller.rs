//! Who asks, from where: the request's context and the extractors that make an
//! [`Ask`] of it.
//!
//! Invariant: a handler that reaches the exchange takes [`Asking`], which cannot be
//! had without authentication by the exchange.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use holdfast_base::{PrincipalId, Purpose, RequestId, Sensitive};
use holdfast_exchange::{Ask, Caller, Exchange, ExchangeError};
use tokio::sync::OnceCell;

use crate::error::Failure;
use crate::state::AppState;

/// The console's cookie. The prefix makes browsers insist on Secure, Path=/ and no
/// Domain (RFC 6265bis section 4.1.3.2).
pub(crate) const SESSION_COOKIE: &str = "__Host-holdfast";
/// Purpose of use, as an ActReason code.
const PURPOSE_HEADER: &str = "x-purpose";
/// Why a caller breaks the glass.
const EMERGENCY_HEADER: &str = "x-emergency-reason";
/// Longest reason of an emergency: a sentence or two.
pub(crate) const EMERGENCY_REASON_BYTES_MAX: usize = 300;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    certificate: Option<[u8; 32]>,
    /// Who the certificate stands for: asked once, so that a connection of a system
    /// is one session. Every act still asks whether it is suspended.
    system: Arc<OnceCell<Caller>>,
}

impl Peer {
    /// The peer at `address`, with the SHA-256 of its client certificate if it has
    /// shown one and TLS has verified it.
    pub fn new(address: IpAddr, certificate: Option<[u8; 32]>) -> Self {
        Self { address, certificate, system: Arc::default() }
    }

    /// Who the certificate of this connection stands for.
    ///
    /// # Errors
    /// [`ExchangeError::NotSignedIn`] without a certificate, or when no system has it.
    pub(crate) async fn system(&self, exchange: &Exchange) -> Result<Caller, ExchangeError> {
        let sha256 = self.certificate.as_ref().ok_or(ExchangeError::NotSignedIn)?;
        let address = self.address_text();
        let ask = || exchange.authenticate_system(sha256, Some(&address));
        self.system.get_or_try_init(ask).await.cloned()
    }

    /// The address as it stands in sessions and ledger entries: an IPv4 address
    /// that came mapped into IPv6 is the IPv4 address.
    pub(crate) fn address_text(&self) -> String {
        self.address.to_canonical().to_string()
    }
}

/// One request: its number, where it came from, and who it turned out to be.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// Given back as `X-Request-Id`; stands in ledger entries and logs.
    pub request: RequestId,
    /// Where it came from.
    pub peer: Peer,
    principal: Arc<OnceLock<PrincipalId>>,
}

impl RequestContext {
    /// The context of a new request of `peer`.
    pub fn new(peer: Peer) -> Self {
        Self { request: RequestId::random(), peer, principal: Arc::default() }
    }

    /// Who asks, once that is known; for the log.
    pub fn principal(&self) -> Option<&PrincipalId> {
        self.principal.get()
    }

    /// An ask of `caller` in this request.
    pub fn ask(&self, caller: Caller) -> Ask {
        let _ = self.principal.set(caller.id().clone());
        Ask { request: self.request, ..Ask::new(caller) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let missing = || Failure::from(ExchangeError::Internal("a request without context"));
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// An authenticated request.
pub(crate) struct Asking(pub Ask);

impl FromRequestParts<AppState> for Asking {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Failure> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        let credential = Credential::of(parts, &context.peer)?;
        let address = context.peer.address_text();
        let exchange = &state.exchange;
        let caller = match credential {
            Credential::Token(token) => {
                exchange.authenticate_token(token.expose(), Some(&address)).await?
            }
            Credential::Certificate => context.peer.system(exchange).await?,
        };
        let mut ask = context.ask(caller);
        if let Some(purpose) = purpose_of(&parts.headers)? {
            ask.purpose = purpose;
        }
        ask.emergency = emergency_of(&parts.headers)?;
        Ok(Self(ask))
    }
}

/// For pages that look different to who is signed in: nobody is `None`, a keeper
/// that does not answer is still a failure.
impl OptionalFromRequestParts<AppState> for Asking {
    type Rejection = Failure;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Option<Self>, Failure> {
        match <Self as FromRequestParts<AppState>>::from_request_parts(parts, state).await {
            Ok(asking) => Ok(Some(asking)),
            Err(failure) if failure.status.is_client_error() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// What a request shows of its sender.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A bearer token, from the header or the console's cookie.
    Token(Sensitive<String>),
    /// A client certificate, which TLS has verified.
    Certificate,
}

impl Credential {
    /// The strongest statement that the request makes: a bearer token names one
    /// session, the cookie too, a certificate comes with every request of the
    /// connection. A cookie alone changes something only from our own pages.
    pub fn of(parts: &Parts, peer: &Peer) -> Result<Self, Failure> {
        if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(bearer_token);
            let token = token.ok_or(ExchangeError::NotSignedIn)?;
            return Ok(Self::Token(token.to_owned().into()));
        }
        if let Some(token) = cookie(&parts.headers, SESSION_COOKIE) {
            let reads = matches!(parts.method, Method::GET | Method::HEAD);
            if !reads && !is_same_origin(&parts.headers) {
                return Err(ExchangeError::NotSignedIn.into());
            }
            return Ok(Self::Token(token.to_owned().into()));
        }
        peer.certificate.ok_or(ExchangeError::NotSignedIn)?;
        Ok(Self::Certificate)
    }
}

/// The session token that a request shows, valid or not; for signing out.
pub(crate) struct ShownToken(pub Sensitive<String>);

impl FromRequestParts<AppState> for ShownToken {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Failure> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        match Credential::of(parts, &context.peer)? {
            Credential::Token(token) => Ok(Self(token)),
            Credential::Certificate => Err(ExchangeError::NotSignedIn.into()),
        }
    }
}

/// `Bearer abc` (RFC 6750 section 2.1; the scheme in any case).
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The value of a cookie (RFC 6265 section 4.2).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(key, _)| key.trim() == name)?.1.trim();
    (!value.is_empty()).then_some(value)
}

/// Whether a browser says that the request comes from a page of ours
/// (`Sec-Fetch-Site`, or `Origin` where a browser has only that). Every browser
/// says one of the two with a form that is sent.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let origin = text("origin").and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == text("host")
}

/// What for, when the request says so.
fn purpose_of(headers: &HeaderMap) -> Result<Option<Purpose>, Failure> {
    let Some(value) = headers.get(PURPOSE_HEADER) else { return Ok(None) };
    let purpose = value.to_str().ok().and_then(|code| Purpose::from_code(code.trim()));
    let unknown = || Failure::incorrect("X-Purpose is no known ActReason code, such as TREAT");
    purpose.map(Some).ok_or_else(unknown)
}

/// Why the caller breaks the glass, when it does.
fn emergency_of(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(EMERGENCY_HEADER) else { return Ok(None) };
    let reason = value.to_str().map(str::trim).unwrap_or_default();
    if reason.is_empty() || reason.len() > EMERGENCY_REASON_BYTES_MAX {
        return Err(Failure::incorrect(format!(
            "X-Emergency-Reason has to be a reason of at most {EMERGENCY_REASON_BYTES_MAX} characters"
        )));
    }
    Ok(Some(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn peer(certificate: Option<[u8; 32]>) -> Peer {
        Peer::new(IpAddr::from([127, 0, 0, 1]), certificate)
    }

    fn token(text: &str) -> Option<Credential> {
        Some(Credential::Token(text.to_owned().into()))
    }

    #[test]
    fn the_strongest_statement_counts() {
        let check = |headers: &[(&str, &str)], certificate, expected: Option<Credential>| {
            let credential = Credential::of(&parts("GET", headers), &peer(certificate)).ok();
            assert_eq!(credential, expected, "{headers:?}");
        };
        let bearer = ("authorization", "Bearer abc");
        let cookie = ("cookie", "a=b; __Host-holdfast=def; c=d");
        check(&[], None, None);
        check(&[bearer], None, token("abc"));
        check(&[("authorization", "bearer  abc ")], None, token("abc"));
        check(&[bearer, cookie], Some([1; 32]), token("abc"));
        check(&[cookie], Some([1; 32]), token("def"));
        check(&[], Some([1; 32]), Some(Credential::Certificate));
    }

    #[test]
    fn a_header_that_is_no_bearer_token_is_not_made_good_by_anything_else() {
        for value in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            let headers = [("authorization", value), ("cookie", "__Host-holdfast=def")];
            let refused = Credential::of(&parts("GET", &headers), &peer(Some([1; 32])));
            assert!(refused.is_err(), "{value}");
        }
    }

    #[test]
    fn a_cookie_changes_something_only_from_our_own_pages() {
        let check = |method, headers: &[(&str, &str)], expected| {
            let cookie = [("cookie", "__Host-holdfast=def"), ("host", "hie.example:8443")];
            let credential =
                Credential::of(&parts(method, &[&cookie, headers].concat()), &peer(None));
            assert_eq!(credential.is_ok(), expected, "{method} {headers:?}");
        };
        check("GET", &[("sec-fetch-site", "cross-site")], true);
        check("POST", &[], false);
        check("POST", &[("sec-fetch-site", "cross-site")], false);
        check("POST", &[("sec-fetch-site", "same-site")], false);
        check("POST", &[("sec-fetch-site", "same-origin")], true);
        check("POST", &[("origin", "https://hie.example:8443")], true);
        check("POST", &[("origin", "https://evil.example")], false);
        check("POST", &[("origin", "null")], false);
        check("PUT", &[("sec-fetch-site", "none"), ("origin", "https://hie.example:8443")], false);
    }

    #[test]
    fn a_purpose_is_a_known_code_or_refused() {
        let purpose = |value| purpose_of(&parts("GET", &[("x-purpose", value)]).headers);
        assert_eq!(purpose("TREAT").ok(), Some(Some(Purpose::Treatment)));
        assert_eq!(purpose("ETREAT").ok(), Some(Some(Purpose::EmergencyTreatment)));
        assert!(purpose("curiosity").is_err());
        assert_eq!(purpose_of(&HeaderMap::new()).ok(), Some(None));
    }

    #[test]
    fn an_emergency_has_a_reason() {
        let emergency =
            |value: &str| emergency_of(&parts("GET", &[("x-emergency-reason", value)]).headers);
        assert_eq!(emergency(" unconscious ").ok(), Some(Some("unconscious".to_owned())));
        assert!(emergency(" ").is_err());
        assert!(emergency(&"x".repeat(EMERGENCY_REASON_BYTES_MAX + 1)).is_err());
        assert_eq!(emergency_of(&HeaderMap::new()).ok(), Some(None));
    }

    #[test]
    fn an_address_is_the_same_however_the_socket_writes_it() {
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().expect("an address");
        assert_eq!(Peer::new(mapped, None).address_text(), "10.1.2.3");
    }
}
