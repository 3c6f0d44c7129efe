//! What a client wishes of an answer: format, layout, strictness, how much of what
//! was written (FHIR R4 http.html#mime-type, #ops; RFC 7240).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use holdfast_exchange::Handling;

use crate::body::parse_pairs;
use crate::error::Failure;
use crate::state::AppState;

/// What to send back of what was written (`Prefer: return=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Returning {
    /// Headers only. The default: nothing is opened that nobody asked for.
    #[default]
    Minimal,
    /// The resource as it is stored now.
    Representation,
    /// An OperationOutcome.
    OperationOutcome,
}

/// The wishes of a request.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    /// `_pretty=true`.
    pub pretty: bool,
    /// What to do with search parameters that are not known.
    pub handling: Handling,
    /// How much of what was written.
    pub returning: Returning,
    /// Every parameter of the query, in order.
    pub pairs: Vec<(String, String)>,
}

impl FromRequestParts<AppState> for Wishes {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Failure> {
        let pairs = parse_pairs(parts.uri.query().unwrap_or_default().as_bytes())?;
        Self::of(&parts.headers, pairs)
    }
}

impl Wishes {
    /// The wishes in `headers` and `pairs`.
    ///
    /// # Errors
    /// 406 when nothing but what we do not speak is acceptable.
    pub fn of(headers: &HeaderMap, pairs: Vec<(String, String)>) -> Result<Self, Failure> {
        let value = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        // `_format` goes over the header (http.html#mime-type).
        let acceptable = match value("_format") {
            Some(format) => is_json(format),
            None => accepts_json(headers),
        };
        if !acceptable {
            let text = "only JSON is spoken here: accept application/fhir+json";
            return Err(Failure::new(StatusCode::NOT_ACCEPTABLE, "not-supported", text));
        }
        let pretty = value("_pretty") == Some("true");
        let (handling, returning) = preferences(headers);
        Ok(Self { pretty, handling, returning, pairs })
    }
}

/// The `Prefer` headers. The first of two that clash counts (RFC 7240 section 2);
/// what is not known is passed over, as the RFC says.
fn preferences(headers: &HeaderMap) -> (Handling, Returning) {
    let (mut handling, mut returning) = (None, None);
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    for preference in lines.flat_map(|line| line.split([',', ';'])) {
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"')) {
            ("handling", "lenient") => handling = handling.or(Some(Handling::Lenient)),
            ("handling", "strict") => handling = handling.or(Some(Handling::Strict)),
            ("return", "minimal") => returning = returning.or(Some(Returning::Minimal)),
            ("return", "representation") => {
                returning = returning.or(Some(Returning::Representation));
            }
            ("return", "OperationOutcome") => {
                returning = returning.or(Some(Returning::OperationOutcome));
            }
            _ => {}
        }
    }
    (handling.unwrap_or(Handling::Strict), returning.unwrap_or_default())
}

/// Whether JSON is among what `Accept` allows (RFC 9110 section 12.5.1).
fn accepts_json(headers: &HeaderMap) -> bool {
    let lines: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut ranges = lines.iter().flat_map(|line| line.split(',')).map(str::trim).peekable();
    if ranges.by_ref().all(str::is_empty) {
        return true;
    }
    lines.iter().flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let mut refused = false;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => refused |= value.trim().parse::<f32>().is_ok_and(|q| q <= 0.0),
                // R4 is the only version that is spoken.
                "fhirversion" => {
                    refused |= !matches!(value.trim().trim_matches('"'), "4.0" | "4.0.1")
                }
                _ => {}
            }
        }
        !refused && (matches!(essence, "*/*" | "application/*") || is_json(essence))
    })
}

/// The names that JSON goes by in `_format`, `Accept` and `Content-Type`. A plus
/// sign that was not escaped in a query has become a space.
fn is_json(name: &str) -> bool {
    let essence = name.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(
        essence.as_str(),
        "json"
            | "application/json"
            | "application/fhir+json"
            | "application/fhir json"
            | "text/json"
    )
}

/// Refuses a body that its sender does not call JSON.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    match crate::body::media_type(headers) {
        Some(name) if is_json(&name) => Ok(()),
        _ => {
            let text = "send the body as application/fhir+json";
            Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported", text))
        }
    }
}

/// The version in `If-Match: W/"3"` (http.html#concurrency); `None` without the
/// header.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let version = value.to_str().ok().and_then(parse_etag);
    let unreadable = || Failure::incorrect("If-Match has to be the ETag of one version: W/\"3\"");
    version.map(Some).ok_or_else(unreadable)
}

/// Whether `If-None-Match` names `version`: the client has it already.
pub(super) fn has_already(headers: &HeaderMap, version: u64) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|tag| parse_etag(tag) == Some(version))
}

/// The version of an entity tag, weak or not.
fn parse_etag(text: &str) -> Option<u64> {
    let tag = text.trim();
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let version = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let digits = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    if digits { version.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn json_is_sent_to_whoever_accepts_it_and_nothing_else_is() {
        let check = |accept: &str, expected| {
            assert_eq!(accepts_json(&headers(&[("accept", accept)])), expected, "{accept}");
        };
        assert!(accepts_json(&HeaderMap::new()));
        check("", true);
        check("*/*", true);
        check("application/fhir+json", true);
        check("application/fhir+json; fhirVersion=4.0", true);
        check("application/fhir+json; fhirVersion=5.0", false);
        check("text/html,application/xhtml+xml,*/*;q=0.8", true);
        check("application/json;q=0", false);
        check("application/fhir+xml", false);
        check("text/html", false);
    }

    #[test]
    fn format_goes_over_the_header() {
        let pair = |value: &str| vec![("_format".to_owned(), value.to_owned())];
        let xml = headers(&[("accept", "application/fhir+xml")]);
        assert!(Wishes::of(&xml, pair("json")).is_ok());
        assert!(Wishes::of(&xml, pair("application/fhir json")).is_ok());
        let refused = Wishes::of(&HeaderMap::new(), pair("xml")).expect_err("refused");
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    }

    #[test]
    fn preferences_are_read_wherever_they_stand() {
        let check = |lines: &[(&'static str, &str)], handling, returning| {
            assert_eq!(preferences(&headers(lines)), (handling, returning), "{lines:?}");
        };
        check(&[], Handling::Strict, Returning::Minimal);
        check(&[("prefer", "handling=lenient")], Handling::Lenient, Returning::Minimal);
        check(
            &[("prefer", "return=representation, handling=lenient")],
            Handling::Lenient,
            Returning::Representation,
        );
        check(
            &[("prefer", "Return=\"OperationOutcome\"; foo"), ("prefer", "return=minimal")],
            Handling::Strict,
            Returning::OperationOutcome,
        );
        check(
            &[("prefer", "respond-async, return=everything")],
            Handling::Strict,
            Returning::Minimal,
        );
    }

    #[test]
    fn entity_tags_are_versions() {
        for (text, expected) in [
            ("W/\"3\"", Some(3)),
            ("\"12\"", Some(12)),
            (" W/\"1\" ", Some(1)),
            ("3", None),
            ("W/\"\"", None),
            ("W/\"+3\"", None),
            ("*", None),
            ("W/\"99999999999999999999999\"", None),
        ] {
            assert_eq!(parse_etag(text), expected, "{text}");
        }
        assert_eq!(if_match(&headers(&[("if-match", "W/\"4\"")])).ok(), Some(Some(4)));
        assert_eq!(if_match(&HeaderMap::new()).ok(), Some(None));
        assert!(if_match(&headers(&[("if-match", "*")])).is_err());
        assert!(has_already(&headers(&[("if-none-match", "W/\"1\", W/\"2\"")]), 2));
        assert!(!has_already(&headers(&[("if-none-match", "W/\"1\"")]), 2));
    }

    #[test]
    fn a_body_must_be_called_json() {
        assert!(
            require_json(&headers(&[("content-type", "application/fhir+json; charset=utf-8")]))
                .is_ok()
        );
        for refused in [&[][..], &[("content-type", "application/fhir+xml")]] {
            let failure = require_json(&headers(refused)).expect_err("refused");
            assert_eq!(failure.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
    }
}
