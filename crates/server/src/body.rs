//! Bodies and query strings, read within bounds.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use holdfast_exchange::ExchangeError;
use holdfast_fhir::Limits;
use holdfast_fhir::xml::from_xml;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::error::Failure;
use crate::fhir::negotiate::{Format, format_of_body};
use crate::fhir::speak::OfFhir;
use crate::gzip::{Encoding, inflated};
use crate::state::AppState;

/// Longest payload: what intake takes as one message, and FHIR as one document.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest JSON body or form of ours: a letterhead, a search form.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for a body: 32 MB at 2 Mbit/s, and nobody holds a connection longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(130);
/// Bodies up to this are unpacked and turned into JSON at once: a millisecond or so.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// What stays as it is in a query's names and values (RFC 3986, unreserved).
const QUERY_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A payload of any format. Taken last: whoever sends it is known by then. In the FHIR
/// API a document in XML is given as the JSON of the same content.
pub(crate) struct Payload(pub Bytes);

impl FromRequest<AppState> for Payload {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, Failure> {
        let is_xml = is_fhir_xml(&request);
        let bytes = read(request, PAYLOAD_BYTES_MAX).await?;
        if !is_xml {
            return Ok(Self(bytes));
        }
        let limits = Limits { bytes_max: PAYLOAD_BYTES_MAX, ..Limits::default() };
        let length = bytes.len();
        let read = worked_out(length, move || {
            let resource = from_xml(&bytes, limits).map_err(Failure::invalid)?;
            let json = serde_json::to_vec(&resource);
            json.map_err(|_| Failure::from(ExchangeError::Internal("a document that was read")))
        });
        read.await.map(|json| Self(json.into()))
    }
}

/// Whether the body is a document of the FHIR API in XML. What a Binary holds may be
/// any XML, unless it is called FHIR's (FHIR R4 binary.html#rest).
fn is_fhir_xml(request: &Request) -> bool {
    let of_fhir = request.extensions().get::<OfFhir>().is_some();
    let is_xml = format_of_body(request.headers()) == Some(Format::Xml);
    let may_be_other = request.uri().path().split('/').nth(3) == Some("Binary")
        && media_type(request.headers()).as_deref() != Some("application/fhir+xml");
    of_fhir && is_xml && !may_be_other
}

/// Does what takes time in proportion to `length` where no other request waits for it.
async fn worked_out<T: Send + 'static>(
    length: usize,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    if length < INLINE_BYTES_MAX {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Failure::from(ExchangeError::Internal("a body could not be read")))?
}

/// A JSON body of ours; an empty one reads as `{}`.
pub(crate) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, Failure> {
        if !matches!(media_type(request.headers()).as_deref(), None | Some("application/json")) {
            let text = "send the body as application/json";
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
        }
        let bytes = read(request, FORM_BYTES_MAX).await?;
        let bytes = if bytes.trim_ascii().is_empty() { &b"{}"[..] } else { &bytes[..] };
        // What serde says may quote a value: only the place is passed on.
        serde_json::from_slice(bytes).map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::incorrect(format!(
                "the body is not the JSON that is wanted here: line {line}, column {column}"
            ))
        })
    }
}

/// A form's fields, in order.
pub(crate) struct Form(pub Vec<(String, String)>);

impl FromRequest<AppState> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, Failure> {
        let wanted = "application/x-www-form-urlencoded";
        if !matches!(
            media_type(request.headers()).as_deref(),
            None | Some("application/x-www-form-urlencoded")
        ) {
            let text = format!("send the form as {wanted}");
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text));
        }
        let bytes = read(request, FORM_BYTES_MAX).await?;
        parse_pairs(&bytes).map(Self)
    }
}

/// The body with at most `bytes_max` bytes, unpacked.
async fn read(request: Request, bytes_max: usize) -> Result<Bytes, Failure> {
    let encoding = Encoding::of(request.headers())?;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(too_long(bytes_max));
    }
    let read = axum::body::to_bytes(request.into_body(), bytes_max);
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(bytes)) => bytes,
        // A body without a declared length can only fail by its length or by a
        // connection that ends, and then nobody reads this.
        Ok(Err(_)) if declared.is_none() => return Err(too_long(bytes_max)),
        Ok(Err(_)) => return Err(Failure::incorrect("the body ended early")),
        Err(_) => {
            let text = "the body took too long to arrive";
            return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", text));
        }
    };
    match encoding {
        Encoding::Identity => Ok(bytes),
        // What is packed may unpack to a thousand times as much.
        Encoding::Gzip => {
            let length = bytes.len().saturating_mul(16);
            worked_out(length, move || inflated(&bytes, bytes_max)).await.map(Bytes::from)
        }
    }
}

/// The failure of a body that is longer than it may be.
pub(crate) fn too_long(bytes_max: usize) -> Failure {
    let text = format!("the body is longer than {bytes_max} bytes");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", text)
}

/// The media type of `Content-Type`, lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

/// The pairs of a query string or form (WHATWG URL, urlencoded parsing), but bytes
/// that are no UTF-8, a percent sign that escapes nothing, and NUL are refused.
pub(crate) fn parse_pairs(text: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let decode = |part: &[u8]| {
        let escapes = part.split(|byte| *byte == b'%').skip(1);
        let is_escape = |rest: &[u8]| rest.len() > 1 && rest[..2].iter().all(u8::is_ascii_hexdigit);
        if !escapes.into_iter().all(is_escape) {
            return Err(Failure::incorrect("the query has a % that escapes nothing: write %25"));
        }
        let spaced: Vec<u8> = part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let decoded = percent_decode(&spaced).decode_utf8();
        let decoded = decoded.map_err(|_| Failure::incorrect("the query is not UTF-8"))?;
        if decoded.contains('\0') {
            return Err(Failure::incorrect("the query holds the character NUL"));
        }
        Ok(decoded.into_owned())
    };
    text.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let cut = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = match cut {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// `pairs` as a query string, without the question mark.
pub(crate) fn render_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let escape = |text: &'a str| utf8_percent_encode(text, QUERY_ESCAPES);
    let pairs =
        pairs.into_iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_survive_being_rendered_and_parsed() {
        let pairs = [("name", "O'Neil & Sons"), ("date", "ge2015-01-01T00:00:00+01:00"), ("ä", "")];
        let text = render_pairs(pairs);
        let parsed = parse_pairs(text.as_bytes()).expect("parses");
        let parsed: Vec<_> = parsed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(parsed, pairs);
    }

    #[test]
    fn plus_is_a_space_and_a_missing_equals_sign_an_empty_value() {
        let parsed = parse_pairs(b"a=b+c&&d&e=f=g%26").expect("parses");
        let expected = [("a", "b c"), ("d", ""), ("e", "f=g&")];
        assert_eq!(parsed, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for text in ["name=%FF", "name=%", "name=%4", "na%zzme=1", "name=%00"] {
            let failure = parse_pairs(text.as_bytes()).expect_err(text);
            assert_eq!(failure.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn a_media_type_is_told_without_its_parameters() {
        let mut headers = HeaderMap::new();
        assert_eq!(media_type(&headers), None);
        headers.insert(
            header::CONTENT_TYPE,
            "Application/FHIR+json; charset=utf-8".parse().expect("valid"),
        );
        assert_eq!(media_type(&headers).as_deref(), Some("application/fhir+json"));
    }
}
