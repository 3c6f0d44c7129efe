//! `$everything` on Patient and Encounter (FHIR R4
//! patient-operation-everything.html, encounter-operation-everything.html).

use holdfast_base::Timestamp;
use holdfast_exchange::{Disclosed, EVERYTHING_PAGE_MAX, EverythingAsked};
use holdfast_fhir::Issue;
use holdfast_fhir::operations::{Arguments, Declared, Kind};
use serde_json::{Value, json};

use super::{Call, Level, Operation};
use crate::body::render_pairs;
use crate::error::Failure;

const PAGE: &str = "_page";

/// `Patient/[id]/$everything`, and `Patient/$everything` for patients themselves.
pub(super) const PATIENT: Operation = Operation {
    name: "everything",
    levels: &[Level::Instance, Level::Type],
    types: &["Patient"],
    affects_state: false,
    parameters: &[
        Declared::new("start", Kind::Time),
        Declared::new("end", Kind::Time),
        Declared::new("_since", Kind::Time),
        Declared::new("_type", Kind::Text).repeats(),
        Declared::new("_count", Kind::Count),
        Declared::new(PAGE, Kind::Text),
    ],
    alone: None,
};

/// `Encounter/[id]/$everything`.
pub(super) const ENCOUNTER: Operation = Operation {
    name: "everything",
    levels: &[Level::Instance],
    types: &["Encounter"],
    affects_state: false,
    parameters: &[
        Declared::new("_since", Kind::Time),
        Declared::new("_type", Kind::Text).repeats(),
        Declared::new("_count", Kind::Count),
        Declared::new(PAGE, Kind::Text),
    ],
    alone: None,
};

pub(super) async fn answer(call: &Call<'_>) -> Result<Value, Failure> {
    let exchange = &call.state.exchange;
    let own;
    let id = if call.id.is_empty() {
        own = exchange.own_record(call.ask, call.organization).ok_or_else(|| {
            Failure::unsupported(
                "whole records of many patients are exported by $export; \
                 Patient/$everything answers a patient, with their own record",
            )
        })?;
        own.as_str()
    } else {
        call.id
    };
    let page = call.arguments.text(PAGE);
    let asked = asked(&call.arguments).map_err(Failure::invalid)?;
    let everything = exchange
        .everything(call.ask, call.organization, call.resource_type, id, asked, page)
        .await?;
    let base = call.base();
    let here = format!("{base}/{}/{id}/$everything", call.resource_type);
    let url =
        |query: String| if query.is_empty() { here.clone() } else { format!("{here}?{query}") };
    let used = used(&call.arguments);
    let mut links = vec![json!({
        "relation": "self",
        "url": url(render_pairs(used.iter().map(|(name, value)| (*name, value.as_str())))),
    })];
    if let Some(next) = &everything.next {
        links
            .push(json!({ "relation": "next", "url": url(render_pairs([(PAGE, next.as_str())])) }));
    }
    let matches = everything.matches.into_iter().map(|found| entry(&base, found, "match"));
    let included = everything.included.into_iter().map(|found| entry(&base, found, "include"));
    let entries: Vec<Value> = matches.chain(included).collect();
    let mut bundle = json!({
        "resourceType": "Bundle", "type": "searchset", "total": everything.total, "link": links,
    });
    if !entries.is_empty() {
        bundle["entry"] = Value::Array(entries);
    }
    Ok(bundle)
}

/// An entry of a searchset.
pub(super) fn entry(base: &str, found: Disclosed, mode: &str) -> Value {
    json!({
        "fullUrl": format!("{base}/{}/{}", found.resource_type, found.id),
        "resource": found.resource,
        "search": { "mode": mode },
    })
}

fn asked(arguments: &Arguments) -> Result<EverythingAsked, Vec<Issue>> {
    let listed = arguments.texts("_type");
    let types: Vec<String> =
        listed.iter().flat_map(|list| list.split(',')).map(|kind| kind.trim().to_owned()).collect();
    let mut issues = Vec::new();
    if types.iter().any(|kind| holdfast_fhir::type_code(kind).is_none()) {
        issues.push(Issue::error("value", "_type", "has to be resource types"));
    }
    let since: Option<Result<Timestamp, _>> = arguments.text("_since").map(str::parse);
    let since = since.and_then(|since| {
        since.map_err(|_| issues.push(Issue::error("value", "_since", "has to be an instant"))).ok()
    });
    if arguments.has(PAGE) && used(arguments).len() > 1 {
        let text = "a page is of the call that it was given for: no further parameters";
        issues.push(Issue::error("invalid", PAGE, text));
    }
    let count = arguments.count("_count");
    if count.is_some_and(|count| count > EVERYTHING_PAGE_MAX) {
        let text = format!("at most {EVERYTHING_PAGE_MAX} resources on a page");
        issues.push(Issue::error("too-costly", "_count", text));
    }
    let text = |name| arguments.text(name).map(str::to_owned);
    let (start, end) = (text("start"), text("end"));
    if issues.is_empty() {
        Ok(EverythingAsked { start, end, since, types, count })
    } else {
        Err(issues)
    }
}

/// The parameters of the call, for its self link.
fn used(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let mut used = Vec::new();
    for name in ["start", "end", "_since", "_type", PAGE] {
        used.extend(arguments.texts(name).into_iter().map(|text| (name, text.to_owned())));
    }
    used.extend(arguments.count("_count").map(|count| ("_count", count.to_string())));
    used
}
