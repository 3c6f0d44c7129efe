//! gzip (RFC 1952) of answers and of bodies that come in, within bounds.
//!
//! What a browser asks for with its cookie is not compressed: there a page could mix
//! what its author chose with what the author may not see, and lengths would tell
//! (BREACH). An answer to a bearer token or a certificate holds what its receiver asked
//! for and may see.

use std::io::{Read, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hyper::body::Frame;

use crate::error::Failure;

/// Answers below this fit a packet or two; compressing them saves nothing.
const COMPRESSED_BYTES_MIN: u64 = 1_024;
/// What is compressed in one go; other requests wait for no more than this.
const PIECE_BYTES: usize = 64 * 1024;
/// Content that shrinks.
const MEDIA_TYPES: [&str; 5] = [
    "application/fhir+json",
    "application/fhir+xml",
    "application/fhir+ndjson",
    "application/ndjson",
    "application/json",
];

/// Whether a request wants its answer compressed (RFC 9110 section 12.5.3).
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::COOKIE) {
        return false;
    }
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut wildcard = false;
    for coding in lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| {
            let weight = part.strip_prefix("q=").map(|weight| weight.trim().parse::<f32>());
            weight.is_some_and(|weight| weight.is_ok_and(|weight| weight <= 0.0))
        });
        match name.as_str() {
            "gzip" | "x-gzip" => return !refused,
            "*" => wildcard = !refused,
            _ => {}
        }
    }
    wildcard
}

/// The answer, compressed while it is sent if it is worth it.
pub(crate) fn compressed(response: Response) -> Response {
    let headers = response.headers();
    let shrinks = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let shrinks = shrinks.is_some_and(|media_type| {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        MEDIA_TYPES.contains(&essence)
    });
    let long = response.body().size_hint().upper().is_none_or(|most| most >= COMPRESSED_BYTES_MIN);
    if !shrinks || !long || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, inner) = response.into_parts();
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let body = Gzipped { inner, encoder: Some(encoder), pending: Bytes::new() };
    Response::from_parts(parts, Body::new(body))
}

/// A body that is compressed piece by piece.
struct Gzipped {
    inner: Body,
    /// `None` once the end was written.
    encoder: Option<GzEncoder<Vec<u8>>>,
    pending: Bytes,
}

impl HttpBody for Gzipped {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            let this = &mut *self;
            let Some(encoder) = &mut this.encoder else { return Poll::Ready(None) };
            if !this.pending.is_empty() {
                let piece = this.pending.split_to(this.pending.len().min(PIECE_BYTES));
                if let Err(error) = encoder.write_all(&piece) {
                    return Poll::Ready(Some(Err(axum::Error::new(error))));
                }
                let done = std::mem::take(encoder.get_mut());
                if !done.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(done.into()))));
                }
                continue;
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.pending = data;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    let finished = this.encoder.take().map(GzEncoder::finish);
                    return Poll::Ready(finished.map(|finished| {
                        finished.map(|rest| Frame::data(rest.into())).map_err(axum::Error::new)
                    }));
                }
            }
        }
    }
}

/// What a body is encoded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
}

impl Encoding {
    /// The `Content-Encoding` of a request.
    ///
    /// # Errors
    /// 415 for any that we do not read (RFC 9110 section 15.5.16).
    pub fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let value = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        match value.map(<[u8]>::to_ascii_lowercase).as_deref() {
            None | Some(b"" | b"identity") => Ok(Self::Identity),
            Some(b"gzip" | b"x-gzip") => Ok(Self::Gzip),
            Some(_) => {
                let text = "send the body as it is or with Content-Encoding: gzip";
                Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text))
            }
        }
    }
}

/// What `bytes` hold; no more than `bytes_max` are ever unpacked.
///
/// # Errors
/// 413 when it would be more, 400 when they are no gzip.
pub(crate) fn inflated(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut plain = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(bytes).take(bound).read_to_end(&mut plain);
    if plain.len() > bytes_max {
        return Err(crate::body::too_long(bytes_max));
    }
    read.map(|_| plain).map_err(|_| Failure::incorrect("the body is not the gzip that it says"))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        pairs.collect()
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).expect("in memory");
        encoder.finish().expect("in memory")
    }

    #[test]
    fn whoever_takes_it_and_shows_no_cookie_gets_gzip() {
        let check = |value: &str, expected| {
            assert_eq!(is_accepted(&headers(&[("accept-encoding", value)])), expected, "{value}");
        };
        check("gzip", true);
        check("deflate, gzip;q=0.5, br", true);
        check("GZIP", true);
        check("*", true);
        check("gzip;q=0, *", false);
        check("gzip; q=0.0", false);
        check("br, identity", false);
        assert!(!is_accepted(&HeaderMap::new()));
        assert!(!is_accepted(&headers(&[("accept-encoding", "gzip"), ("cookie", "a=b")])));
    }

    #[tokio::test]
    async fn a_long_answer_is_compressed_and_a_short_one_or_a_picture_is_not() {
        let json = [(header::CONTENT_TYPE, "application/fhir+json; charset=utf-8")];
        let long: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let response = compressed((json.clone(), long.clone()).into_response());
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        let sent = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("whole");
        assert!(sent.len() < long.len() / 2);
        assert_eq!(inflated(&sent, long.len()).expect("gzip"), long);

        let short = compressed((json, "{}").into_response());
        assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
        let picture = [(header::CONTENT_TYPE, "image/png")];
        let picture = compressed((picture, long).into_response());
        assert!(!picture.headers().contains_key(header::CONTENT_ENCODING));
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = packed(&vec![0; 10_000_000]);
        assert!(bomb.len() < 100_000);
        let refused = inflated(&bomb, 1_000).expect_err("too long");
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(inflated(&packed(b"abc"), 3).ok().as_deref(), Some(&b"abc"[..]));
        assert!(inflated(&packed(b"abc"), 2).is_err());
        for broken in [&b"abc"[..], b"", &packed(b"abc")[..15]] {
            let refused = inflated(broken, 10).expect_err("no gzip");
            assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn other_encodings_are_refused() {
        let check = |value: &str, expected| {
            let found = Encoding::of(&headers(&[("content-encoding", value)]));
            assert_eq!(found.map_err(|failure| failure.status), expected, "{value}");
        };
        check("gzip", Ok(Encoding::Gzip));
        check("Identity", Ok(Encoding::Identity));
        check("br", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        check("gzip, gzip", Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(Encoding::of(&HeaderMap::new()).ok(), Some(Encoding::Identity));
    }
}
