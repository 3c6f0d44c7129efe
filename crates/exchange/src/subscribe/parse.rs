//! A Subscription resource as a client writes it: plain R4, or by the Subscriptions R5
//! Backport IG 1.1.0.

use holdfast_base::Timestamp;
use holdfast_fhir::Issue;
use holdfast_fhir::search::{Handling, parse_query};
use serde_json::Value;

use super::row::{About, Content, Filter, Hook};
use super::topics::{News, RESOURCE_CHANGE, TOPICS};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";
/// Longest endpoint; longer ones are mistakes.
const ENDPOINT_BYTES_MAX: usize = 2_000;
/// Further headers of a hook.
const HEADERS_MAX: usize = 10;
/// Shortest time between heartbeats, seconds.
const HEARTBEAT_S_MIN: u64 = 10;
/// Events of one notification, when nobody says, and at most.
const EVENTS_DEFAULT: u64 = 20;
const EVENTS_MAX: u64 = 200;

/// What a resource asks for.
pub(super) struct Asked {
    pub about: About,
    pub hook: Hook,
    pub content: Content,
    pub bare: bool,
    pub heartbeat_s: Option<u64>,
    pub events_max: u64,
    pub end: Option<Timestamp>,
    pub off: bool,
}

/// Reads a Subscription; every problem is named. `allowed` says which hosts may be
/// sent to.
pub(super) fn read(resource: &Value, allowed: &[String]) -> Result<Asked, Vec<Issue>> {
    let mut problems = holdfast_fhir::validate(resource);
    problems.retain(|issue| issue.severity <= holdfast_fhir::Severity::Error);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut wrong = |code, place: &str, text: &str| problems.push(Issue::error(code, place, text));
    let off = match resource["status"].as_str() {
        Some("off") => true,
        Some("requested" | "active") => false,
        _ => {
            wrong("business-rule", "Subscription.status", "has to be requested, or off");
            false
        }
    };
    let criteria = resource["criteria"].as_str().unwrap_or_default();
    let about = match about(criteria, &resource["_criteria"]) {
        Ok(about) => about,
        Err((place, text)) => {
            wrong("value", place, &text);
            About::Criteria((String::new(), Vec::new()))
        }
    };
    let channel = &resource["channel"];
    let hook = match channel["type"].as_str() {
        Some("rest-hook") => {
            let endpoint = channel["endpoint"].as_str().unwrap_or_default();
            if let Some(text) = endpoint_problem(endpoint, allowed) {
                wrong("business-rule", "Subscription.channel.endpoint", text);
            }
            let headers = channel["header"].as_array().into_iter().flatten();
            let headers: Vec<String> =
                headers.filter_map(Value::as_str).map(str::to_owned).collect();
            if headers.len() > HEADERS_MAX || !headers.iter().all(|header| is_header(header)) {
                let text = "are at most ten of the form Name: value, of the client's own";
                wrong("value", "Subscription.channel.header", text);
            }
            Hook { endpoint: endpoint.to_owned(), headers }
        }
        _ => {
            let text = "is rest-hook; who cannot be reached asks for $events";
            wrong("not-supported", "Subscription.channel.type", text);
            Hook::default()
        }
    };
    let payload = channel["payload"].as_str();
    if !matches!(payload, None | Some("application/fhir+json" | "application/json")) {
        wrong("not-supported", "Subscription.channel.payload", "is application/fhir+json");
    }
    let content = extension(&channel["_payload"], "backport-payload-content");
    let content = match content.and_then(|e| e["valueCode"].as_str()) {
        None | Some("id-only") => Content::IdOnly,
        Some("empty") => Content::Empty,
        Some("full-resource") => Content::FullResource,
        Some(_) => {
            let text = "is empty, id-only or full-resource";
            wrong("value", "Subscription.channel.payload", text);
            Content::IdOnly
        }
    };
    let number = |name: &str| {
        let found = extension(channel, name)?;
        found["valueUnsignedInt"].as_u64().or(found["valuePositiveInt"].as_u64())
    };
    let heartbeat_s = number("backport-heartbeat-period").map(|s| s.max(HEARTBEAT_S_MIN));
    let events_max = number("backport-max-count").unwrap_or(EVENTS_DEFAULT).clamp(1, EVENTS_MAX);
    let end = resource["end"].as_str().and_then(|end| end.parse().ok());
    let bare = payload.is_none() && matches!(about, About::Criteria(_));
    if problems.is_empty() {
        Ok(Asked { about, hook, content, bare, heartbeat_s, events_max, end, off })
    } else {
        Err(problems)
    }
}

/// What a subscription is about, or what is wrong with it and where.
fn about(criteria: &str, beside: &Value) -> Result<About, (&'static str, String)> {
    let place = "Subscription.criteria";
    if !criteria.contains(':') || criteria.contains('?') {
        return filter(criteria).map(About::Criteria).map_err(|text| (place, text));
    }
    let canonical = criteria.split('|').next().unwrap_or_default();
    if !TOPICS.contains(&canonical) {
        return Err((place, format!("is no topic; known are {}", TOPICS.join(", "))));
    }
    let place = "Subscription.criteria.extension";
    let extensions = beside["extension"].as_array().into_iter().flatten();
    let wanted = format!("{BACKPORT}backport-filter-criteria");
    let mut filters = Vec::new();
    for text in extensions.filter(|e| e["url"] == wanted).filter_map(|e| e["valueString"].as_str())
    {
        let filter = filter(text).map_err(|text| (place, text))?;
        let types = News::types_of(canonical);
        if !types.is_empty() && !types.contains(&filter.0.as_str()) {
            return Err((place, format!("the topic is about {} only", types.join(" and "))));
        }
        filters.push(filter);
    }
    if filters.is_empty() && canonical == RESOURCE_CHANGE {
        return Err((place, "this topic needs a filter: [type]?[search]".to_owned()));
    }
    Ok(About::Topic { canonical: canonical.to_owned(), filters })
}

/// `[type]?[search]`, with parameters that can be answered from what was written alone.
fn filter(text: &str) -> Result<Filter, String> {
    let (of, query) = text.split_once('?').unwrap_or((text, ""));
    if holdfast_fhir::type_code(of).is_none() {
        return Err("has to be [type]?[search], or the canonical URL of a topic".to_owned());
    }
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), percent_decoded(value)))
        .collect();
    let named = |name: &str| name.split([':', '.']).next().unwrap_or(name).to_owned();
    if let Some((name, _)) = pairs
        .iter()
        .find(|(name, _)| name.contains('.') || (name.starts_with('_') && named(name) != "_id"))
    {
        return Err(format!("{name} cannot be answered from what is written alone"));
    }
    match parse_query(of, &pairs, Handling::Strict) {
        Ok(_) => Ok((of.to_owned(), pairs)),
        Err(issues) => {
            let first = issues.first().map(ToString::to_string);
            Err(first.unwrap_or_else(|| "is no search".to_owned()))
        }
    }
}

fn percent_decoded(text: &str) -> String {
    crate::bulk::percent_decoded(text)
}

/// What keeps an endpoint from being sent to. Only hosts that the organization has
/// listed: the exchange stands in a network of its own.
pub(super) fn endpoint_problem(endpoint: &str, allowed: &[String]) -> Option<&'static str> {
    let Some(rest) = endpoint.strip_prefix("https://") else {
        return Some("has to be an https URL");
    };
    if endpoint.len() > ENDPOINT_BYTES_MAX
        || endpoint.bytes().any(|b| b.is_ascii_control() || b == b' ' || b == b'\\')
    {
        return Some("is no URL that can be sent to");
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if host.is_empty() || host.contains('@') {
        return Some("needs a host, and no user");
    }
    let host = host.strip_suffix(":443").unwrap_or(&host);
    if !allowed.iter().any(|known| known == host) {
        return Some(
            "its host is not on the list of your organization; an administrator adds it with \
             holdfast subscription allow",
        );
    }
    None
}

/// A header that a client may add: none that frames the message or that is ours.
fn is_header(line: &str) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    let name = name.trim().to_ascii_lowercase();
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let ours = ["host", "content-length", "content-type", "transfer-encoding", "connection", "te"];
    let plain = value.len() < 4_096 && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    token && plain && !ours.contains(&name.as_str()) && !name.starts_with("x-holdfast")
}

fn extension<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
    let wanted = format!("{BACKPORT}{name}");
    of["extension"].as_array()?.iter().find(|extension| extension["url"] == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_over_https_are_sent_to() {
        let allowed = ["hooks.example".to_owned(), "other.example:8443".to_owned()];
        let fine = |endpoint| endpoint_problem(endpoint, &allowed).is_none();
        assert!(fine("https://hooks.example/fhir?x=1") && fine("https://HOOKS.example:443"));
        assert!(fine("https://other.example:8443/a"));
        for endpoint in [
            "http://hooks.example/",
            "https://hooks.example:8443/",
            "https://hooks.example.evil.example/",
            "https://hooks.example@evil.example/",
            "https://evil.example/hooks.example",
            "https://evil.example\\hooks.example/",
            "https://127.0.0.1/",
            "https://",
            "",
        ] {
            assert!(!fine(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn headers_that_frame_the_message_are_not_the_clients() {
        assert!(is_header("Authorization: Bearer abc"));
        for line in ["Host: evil", "X-Holdfast-Signature: x", "no colon", "a b: c", "A: \u{7}"] {
            assert!(!is_header(line), "{line}");
        }
    }

    #[test]
    fn a_topic_takes_filters_of_its_own_types_only() {
        let beside = |filter: &str| {
            serde_json::json!({ "extension": [
                { "url": format!("{BACKPORT}backport-filter-criteria"), "valueString": filter },
            ]})
        };
        let topic = "urn:holdfast:topic:encounter-start";
        assert!(about(topic, &beside("Encounter?class=IMP")).is_ok());
        assert!(about(topic, &beside("Observation?code=1")).is_err());
        assert!(about(RESOURCE_CHANGE, &Value::Null).is_err());
        assert!(about("urn:other", &Value::Null).is_err());
        assert!(about("Observation?code=2345-7", &Value::Null).is_ok());
        assert!(about("Observation?_include=Observation:subject", &Value::Null).is_err());
    }
}
