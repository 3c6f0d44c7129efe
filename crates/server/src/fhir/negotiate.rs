//! What a client wishes of an answer: format, layout, strictness, how much of what
//! was written (FHIR R4 http.html#mime-type, #ops; RFC 7240).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use holdfast_base::Timestamp;
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

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// FHIR R4 json.html. What nobody chooses otherwise.
    #[default]
    Json,
    /// FHIR R4 xml.html.
    Xml,
}

impl Format {
    /// The media type of what we send (http.html#mime-type).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/fhir+json; charset=utf-8",
            Self::Xml => "application/fhir+xml; charset=utf-8",
        }
    }

    /// The format that goes by `name` in `_format`, `Accept` and `Content-Type`. A plus
    /// sign that was not escaped in a query has become a space.
    fn named(name: &str) -> Option<Self> {
        match name {
            "json"
            | "application/json"
            | "application/fhir+json"
            | "application/fhir json"
            | "application/json+fhir"
            | "text/json" => Some(Self::Json),
            "xml"
            | "application/xml"
            | "application/fhir+xml"
            | "application/fhir xml"
            | "application/xml+fhir"
            | "text/xml" => Some(Self::Xml),
            _ => None,
        }
    }
}

/// How an answer is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    /// JSON or XML.
    pub format: Format,
    /// Indented: `_pretty=true`, or a browser asks.
    pub pretty: bool,
}

impl Layout {
    /// What `headers` and `pairs` ask for; `None` when it is nothing that we speak.
    pub fn asked(headers: &HeaderMap, pairs: &[(String, String)]) -> Option<Self> {
        let value = |name: &str| pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        // `_format` goes over the header (http.html#mime-type).
        let chosen = match value("_format") {
            Some(format) => of_name(format)?,
            None => accepted(headers)?,
        };
        let pretty = match value("_pretty") {
            Some(wish) => wish == "true",
            None => chosen.pretty,
        };
        Some(Self { pretty, ..chosen })
    }
}

/// The wishes of a request.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    /// JSON or XML, indented or not.
    pub layout: Layout,
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
        let layout = Layout::asked(headers, &pairs).ok_or_else(|| {
            let text = "JSON and XML of FHIR R4 are spoken here: accept application/fhir+json or \
                        application/fhir+xml";
            Failure::new(StatusCode::NOT_ACCEPTABLE, "not-supported", text)
        })?;
        let (handling, returning) = preferences(headers);
        Ok(Self { layout, handling, returning, pairs })
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

/// Whether the parameters of a media type name a version other than R4, the only one
/// that is spoken (http.html#version-parameter).
fn is_other_version<'a>(mut parameters: impl Iterator<Item = &'a str>) -> bool {
    parameters.any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let r4 = matches!(value.trim().trim_matches('"'), "4.0" | "4.0.1");
        name.trim().eq_ignore_ascii_case("fhirversion") && !r4
    })
}

/// The layout that a name stands for: browsers ask for HTML and get indented JSON.
fn of_name(name: &str) -> Option<Layout> {
    let mut parts = name.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    if is_other_version(parts) {
        return None;
    }
    match essence.as_str() {
        "html" | "text/html" => Some(Layout { pretty: true, ..Layout::default() }),
        known => Format::named(known).map(|format| Layout { format, pretty: false }),
    }
}

/// What `Accept` likes best of what we speak (RFC 9110 section 12.5.1): the highest
/// weight, then what stands first.
fn accepted(headers: &HeaderMap) -> Option<Layout> {
    let lines: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    let ranges: Vec<_> = lines
        .iter()
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
        .enumerate()
        .filter_map(|(place, range)| {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            if is_other_version(parts.clone()) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.trim().parse::<f32>().ok());
            Some((essence, weight.unwrap_or(1.0), place))
        })
        .collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Some(Layout::default());
    }
    // The range that fits a name most closely gives its weight.
    let weight = |fits: fn(&str) -> bool, wide: &str| {
        let named = ranges.iter().find(|(essence, ..)| fits(essence));
        let wide = || ranges.iter().find(|(essence, ..)| essence == wide);
        let any = || ranges.iter().find(|(essence, ..)| essence == "*/*");
        named.or_else(wide).or_else(any).filter(|(_, weight, _)| *weight > 0.0)
    };
    let json = weight(|name| Format::named(name) == Some(Format::Json), "application/*");
    let xml = weight(|name| Format::named(name) == Some(Format::Xml), "application/*");
    let html = weight(|name| matches!(name, "text/html" | "application/xhtml+xml"), "text/*");
    let choices = [
        (json, Layout::default()),
        (xml, Layout { format: Format::Xml, pretty: false }),
        (html, Layout { pretty: true, ..Layout::default() }),
    ];
    let mut best: Option<(f32, usize, Layout)> = None;
    for (range, layout) in choices {
        let Some((_, weight, place)) = range else { continue };
        if best.is_none_or(|(most, first, _)| (*weight, first) > (most, *place)) {
            best = Some((*weight, *place, layout));
        }
    }
    best.map(|(_, _, layout)| layout)
}

/// The format that a body is said to be in; `None` when it is none of ours.
pub(crate) fn format_of_body(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = value.split(';').map(str::trim);
    let format = Format::named(&parts.next()?.to_ascii_lowercase())?;
    let other_characters = parts.clone().any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        name.trim().eq_ignore_ascii_case("charset")
            && !matches!(value.as_str(), "utf-8" | "utf8" | "us-ascii")
    });
    (!other_characters && !is_other_version(parts)).then_some(format)
}

/// Refuses a body that its sender does not call a document of FHIR R4, in JSON or XML:
/// [`Payload`](crate::body::Payload) makes JSON of XML.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    match format_of_body(headers) {
        Some(_) => Ok(()),
        None => {
            let text = "send the body as application/fhir+json or application/fhir+xml, \
                        FHIR R4, in UTF-8";
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

/// Whether `If-None-Match: *` asks that there be nothing yet, where one writes.
pub(super) fn if_none_match_any(headers: &HeaderMap) -> Result<bool, Failure> {
    match headers.get(header::IF_NONE_MATCH).map(|value| value.as_bytes().trim_ascii()) {
        None => Ok(false),
        Some(b"*") => Ok(true),
        Some(_) => Err(Failure::incorrect("If-None-Match has to be * where one writes")),
    }
}

/// Whether `Accept` asks for content of this type by its own name, and not for FHIR
/// (binary.html#rest).
pub(super) fn accepts_binary_of(headers: &HeaderMap, content_type: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_lowercase();
    let own = essence(content_type);
    let family = own.split('/').next().unwrap_or_default();
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut ranges = lines.flat_map(|line| line.split(',')).map(essence);
    ranges.any(|range| !range.contains("fhir") && (range == own || range == format!("{family}/*")))
}

/// Whether the client has what was last changed at `last_updated`: `If-None-Match`
/// counts, and without it `If-Modified-Since` (RFC 9110 section 13.2.2).
pub(super) fn not_modified(headers: &HeaderMap, version: u64, last_updated: Timestamp) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        return has_already(headers, version);
    }
    let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    let since = since.and_then(|text| parser.parse_timestamp(text).ok());
    since.is_some_and(|since| last_updated.millis().div_euclid(1_000) <= since.as_second())
}

/// Whether `If-None-Match` names `version`: the client has it already.
fn has_already(headers: &HeaderMap, version: u64) -> bool {
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

    const JSON: Layout = Layout { format: Format::Json, pretty: false };
    const XML: Layout = Layout { format: Format::Xml, pretty: false };
    const PAGE: Layout = Layout { format: Format::Json, pretty: true };

    #[test]
    fn what_is_liked_best_is_sent() {
        let check = |accept: &str, expected| {
            assert_eq!(accepted(&headers(&[("accept", accept)])), expected, "{accept}");
        };
        assert_eq!(accepted(&HeaderMap::new()), Some(JSON));
        check("", Some(JSON));
        check("*/*", Some(JSON));
        check("application/*", Some(JSON));
        check("application/fhir+json", Some(JSON));
        check("application/fhir+xml", Some(XML));
        check("Application/XML; charset=utf-8", Some(XML));
        check("application/xml+fhir", Some(XML));
        check("application/fhir+xml, application/fhir+json", Some(XML));
        check("application/fhir+json, application/fhir+xml", Some(JSON));
        check("application/fhir+json;q=0.5, application/fhir+xml;q=0.9", Some(XML));
        check("application/fhir+xml;q=0.5, */*;q=0.1", Some(XML));
        check("application/json;q=0, */*", Some(XML));
        check("application/fhir+json; fhirVersion=4.0", Some(JSON));
        check("application/fhir+xml; fhirVersion=\"4.0.1\"", Some(XML));
        check("application/fhir+json; fhirVersion=5.0", None);
        check("application/fhir+json; fhirVersion=5.0, application/fhir+xml", Some(XML));
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some(PAGE));
        check("text/html", Some(PAGE));
        check("application/json;q=0", None);
        check("application/pdf", None);
        check("text/turtle", None);
        check("nonsense", None);
    }

    #[test]
    fn format_goes_over_the_header() {
        let check = |value: &str, expected| {
            let pairs = [("_format".to_owned(), value.to_owned())];
            let other = headers(&[("accept", "application/pdf")]);
            assert_eq!(Layout::asked(&other, &pairs), expected, "{value}");
        };
        for json in ["json", "application/json", "application/fhir+json", "application/fhir json"] {
            check(json, Some(JSON));
        }
        for xml in ["xml", "text/xml", "application/xml", "application/fhir+xml"] {
            check(xml, Some(XML));
        }
        check("html", Some(PAGE));
        check("ttl", None);
        check("", None);
        let pairs = vec![("_format".to_owned(), "ttl".to_owned())];
        let refused = Wishes::of(&HeaderMap::new(), pairs).expect_err("refused");
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE);
    }

    #[test]
    fn pretty_is_what_is_said_and_otherwise_for_browsers() {
        let pairs = |value: &str| [("_pretty".to_owned(), value.to_owned())];
        let page = headers(&[("accept", "text/html")]);
        assert_eq!(Layout::asked(&page, &pairs("false")), Some(JSON));
        assert_eq!(Layout::asked(&HeaderMap::new(), &pairs("true")), Some(PAGE));
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
    fn a_body_must_be_called_what_it_is() {
        let check = |called: &str, expected| {
            let headers = headers(&[("content-type", called)]);
            assert_eq!(format_of_body(&headers), expected, "{called}");
            assert_eq!(require_json(&headers).is_ok(), expected.is_some());
        };
        check("application/fhir+json; charset=utf-8", Some(Format::Json));
        check("application/fhir+json; charset=\"UTF-8\"; fhirVersion=4.0", Some(Format::Json));
        check("text/xml", Some(Format::Xml));
        check("application/fhir+xml; charset=iso-8859-1", None);
        check("application/fhir+json; fhirVersion=3.0", None);
        check("application/x-www-form-urlencoded", None);
        let failure = require_json(&HeaderMap::new()).expect_err("refused");
        assert_eq!(failure.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[test]
    fn what_was_not_changed_since_is_not_sent_again() {
        let at = Timestamp::from_millis(1_432_598_400_700);
        let check = |lines: &[(&'static str, &str)], expected| {
            assert_eq!(not_modified(&headers(lines), 3, at), expected, "{lines:?}");
        };
        check(&[], false);
        check(&[("if-modified-since", "Tue, 26 May 2015 00:00:00 GMT")], true);
        check(&[("if-modified-since", "Mon, 25 May 2015 23:59:59 GMT")], false);
        check(&[("if-modified-since", "yesterday")], false);
        let both =
            |tag| [("if-none-match", tag), ("if-modified-since", "Tue, 26 May 2015 00:00:00 GMT")];
        check(&both("W/\"2\""), false);
        check(&both("W/\"3\""), true);
    }

    #[test]
    fn content_is_asked_for_by_its_own_type() {
        let check = |accept: &str, expected| {
            let headers = headers(&[("accept", accept)]);
            assert_eq!(accepts_binary_of(&headers, "image/png"), expected, "{accept}");
        };
        check("image/png", true);
        check("image/*, text/html", true);
        check("application/fhir+json", false);
        check("*/*", false);
        assert!(!accepts_binary_of(&HeaderMap::new(), "image/png"));
        let fhir = headers(&[("accept", "application/fhir+json")]);
        assert!(!accepts_binary_of(&fhir, "application/fhir+json"));
        assert!(if_none_match_any(&headers(&[("if-none-match", "*")])).is_ok_and(|any| any));
        assert!(if_none_match_any(&headers(&[("if-none-match", "W/\"1\"")])).is_err());
    }
}
