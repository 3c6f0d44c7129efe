//! Bodies and query strings, read within bounds.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde::de::DeserializeOwned;

use crate::error::Failure;
use crate::state::AppState;

/// Longest payload: what intake takes as one message, and FHIR as one document.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest JSON body or form of ours: a letterhead, a search form.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for a body: 32 MB at 2 Mbit/s, and nobody holds a connection longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(130);
/// What stays as it is in a query's names and values (RFC 3986, unreserved).
const QUERY_ESCAPES: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A payload of any format. Taken last: whoever sends it is known by then.
pub(crate) struct Payload(pub Bytes);

impl FromRequest<AppState> for Payload {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, Failure> {
        read(request, PAYLOAD_BYTES_MAX).await.map(Self)
    }
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

async fn read(request: Request, bytes_max: usize) -> Result<Bytes, Failure> {
    let too_long = || {
        let text = format!("the body is longer than {bytes_max} bytes");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-long", text)
    };
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(too_long());
    }
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(request.into_body(), bytes_max))
        .await
    {
        Ok(Ok(bytes)) => Ok(bytes),
        // A body without a declared length can only fail by its length or by a
        // connection that ends, and then nobody reads this.
        Ok(Err(_)) if declared.is_none() => Err(too_long()),
        Ok(Err(_)) => Err(Failure::incorrect("the body ended early")),
        Err(_) => {
            let text = "the body took too long to arrive";
            Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "timeout", text))
        }
    }
}

/// The media type of `Content-Type`, lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

/// The pairs of a query string or form (WHATWG URL, urlencoded parsing), but bytes
/// that are no UTF-8 are refused instead of replaced.
pub(crate) fn parse_pairs(text: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let decode = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let decoded = percent_decode(&spaced).decode_utf8();
        decoded
            .map(|text| text.into_owned())
            .map_err(|_| Failure::incorrect("the query is not UTF-8"))
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
        let failure = parse_pairs(b"name=%FF").expect_err("refused");
        assert_eq!(failure.status, StatusCode::BAD_REQUEST);
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
