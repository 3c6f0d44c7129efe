//! Answers that are chosen from one record: `Observation/$lastn`
//! (FHIR R4 observation-operation-lastn.html), `DocumentReference/$docref` (US Core),
//! `Composition/[id]/$document` (FHIR R4 composition-operation-document.html).

use holdfast_exchange::Disclosed;
use holdfast_fhir::Issue;
use holdfast_fhir::operations::{Arguments, Declared, Kind};
use serde_json::{Value, json};

use super::everything::entry;
use super::{Call, Level, Operation};
use crate::body::render_pairs;
use crate::error::Failure;

/// `Observation/$lastn`.
pub(super) const LASTN: Operation = Operation {
    name: "lastn",
    levels: &[Level::Type],
    types: &["Observation"],
    affects_state: false,
    parameters: &[
        Declared::new("max", Kind::Count),
        Declared::new("patient", Kind::Text),
        Declared::new("subject", Kind::Text),
        Declared::new("category", Kind::Token).repeats(),
        Declared::new("code", Kind::Token).repeats(),
    ],
    alone: None,
};

/// `DocumentReference/$docref`.
pub(super) const DOCREF: Operation = Operation {
    name: "docref",
    levels: &[Level::Type],
    types: &["DocumentReference"],
    affects_state: false,
    parameters: &[
        Declared::new("patient", Kind::Text).required(),
        Declared::new("start", Kind::Time),
        Declared::new("end", Kind::Time),
        Declared::new("type", Kind::Token),
        Declared::new("on-demand", Kind::Boolean),
        Declared::new("profile", Kind::Text).repeats(),
    ],
    alone: None,
};

/// `Composition/[id]/$document`.
pub(super) const DOCUMENT: Operation = Operation {
    name: "document",
    levels: &[Level::Instance],
    types: &["Composition"],
    affects_state: false,
    parameters: &[Declared::new("persist", Kind::Boolean)],
    alone: None,
};

/// What was given of `names`, as search parameters.
fn pairs_of(arguments: &Arguments, names: &[&'static str]) -> Vec<(String, String)> {
    let of = |name: &'static str| {
        arguments.texts(name).into_iter().map(move |text| (name.to_owned(), text.to_owned()))
    };
    names.iter().flat_map(|name| of(name)).collect()
}

fn searchset(call: &Call<'_>, used: &[(String, String)], found: Vec<Disclosed>) -> Value {
    let base = call.base();
    let query = render_pairs(used.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let url = format!("{base}/{}/${}?{query}", call.resource_type, call.name);
    let mut bundle = json!({
        "resourceType": "Bundle", "type": "searchset", "total": found.len(),
        "link": [{ "relation": "self", "url": url }],
    });
    if !found.is_empty() {
        bundle["entry"] = found.into_iter().map(|one| entry(&base, one, "match")).collect();
    }
    bundle
}

pub(super) async fn lastn(call: &Call<'_>) -> Result<Value, Failure> {
    let arguments = &call.arguments;
    let mut issues = Vec::new();
    if !arguments.has("patient") && !arguments.has("subject") {
        issues.push(Issue::error("required", "patient", "patient or subject is needed"));
    }
    if !arguments.has("code") && !arguments.has("category") {
        issues.push(Issue::error("required", "category", "category or code is needed"));
    }
    let max = arguments.count("max").unwrap_or(1);
    if max == 0 {
        issues.push(Issue::error("value", "max", "has to be at least 1"));
    }
    if !issues.is_empty() {
        return Err(Failure::invalid(issues));
    }
    let mut pairs = pairs_of(arguments, &["patient", "subject"]);
    // Values of one parameter are alternatives here (operations.html: repeated
    // parameters are a list), unlike those of a search.
    for name in ["category", "code"] {
        let any = arguments.texts(name).join(",");
        if !any.is_empty() {
            pairs.push((name.to_owned(), any));
        }
    }
    let found =
        call.state.exchange.last_observations(call.ask, call.organization, &pairs, max).await?;
    pairs.push(("max".to_owned(), max.to_string()));
    Ok(searchset(call, &pairs, found))
}

pub(super) async fn docref(call: &Call<'_>) -> Result<Value, Failure> {
    let arguments = &call.arguments;
    let used = pairs_of(arguments, &["patient", "start", "end", "type", "profile"]);
    let mut pairs = pairs_of(arguments, &["patient", "type"]);
    let profiles = arguments.texts("profile").join(",");
    if !profiles.is_empty() {
        pairs.push(("_profile".to_owned(), profiles));
    }
    let span = (arguments.text("start"), arguments.text("end"));
    let exchange = &call.state.exchange;
    let mut found = exchange.documents_about(call.ask, call.organization, &pairs, span).await?;
    if arguments.boolean("on-demand") == Some(true) {
        // Every document here was written once and stays: none is made on demand.
        found.clear();
    }
    Ok(searchset(call, &used, found))
}

pub(super) async fn document(call: &Call<'_>) -> Result<Value, Failure> {
    if call.arguments.boolean("persist") == Some(true) {
        let text = "documents are made when they are asked for and not kept; store the Bundle";
        return Err(Failure::invalid(vec![Issue::error("not-supported", "persist", text)])
            .with_status(axum::http::StatusCode::NOT_IMPLEMENTED));
    }
    let gathered = call
        .state
        .exchange
        .gather(call.ask, call.organization, call.resource_type, call.id)
        .await?;
    let base = call.base();
    let version = gathered.root.version;
    let resources = std::iter::once(gathered.root).chain(gathered.parts);
    let entries: Vec<Value> = resources
        .map(|one| {
            json!({
                "fullUrl": format!("{base}/{}/{}", one.resource_type, one.id),
                "resource": one.resource,
            })
        })
        .collect();
    Ok(json!({
        "resourceType": "Bundle",
        // A document is that of one version of its Composition (documents.html).
        "identifier": {
            "system": "urn:ietf:rfc:3986",
            "value": format!("{base}/Composition/{}/_history/{version}", call.id),
        },
        "type": "document",
        "timestamp": call.state.clock.now().to_string(),
        "entry": entries,
    }))
}
