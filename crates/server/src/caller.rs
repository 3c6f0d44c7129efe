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
use holdfast_exchange::{Ask, Caller, ExchangeError};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Network address.
    pub address: IpAddr,
    /// SHA-256 of the client certificate, which TLS has verified.
    pub certificate: Option<[u8; 32]>,
}

impl Peer {
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
            Credential::Certificate(sha256) => {
                exchange.authenticate_system(&sha256, Some(&address)).await?
            }
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
    /// A verified client certificate.
    Certificate([u8; 32]),
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
        let certificate = peer.certificate.ok_or(ExchangeError::NotSignedIn)?;
        Ok(Self::Certificate(certificate))
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
            Credential::Certificate(_) => Err(ExchangeError::NotSignedIn.into()),
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
