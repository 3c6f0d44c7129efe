//! Operations of value sets and concept maps: `$expand`, `$validate-code`,
//! `$translate` (FHIR R4 valueset-operations.html, conceptmap-operations.html).

use holdfast_base::RequestId;
use holdfast_fhir::operations::{Declared, Kind};
use holdfast_fhir::terminology::{Member, Wanted, bare};
use serde_json::{Value, json};

use super::super::{Call, Level, Operation};
use super::at_hand::{AtHand, stored, subject};
use super::codes::{judged, verdict};
use super::{asked, parameters, problem, unknown};
use crate::error::Failure;

/// Codes on a page of an expansion when `count` does not say.
const PAGE_MAX: usize = 5_000;

/// `ValueSet/$expand`.
pub(in super::super) const EXPAND: Operation = Operation {
    name: "expand",
    levels: &[Level::Type, Level::Instance],
    types: &["ValueSet"],
    affects_state: false,
    parameters: &[
        Declared::new("url", Kind::Text),
        Declared::new("valueSet", Kind::Resource),
        Declared::new("filter", Kind::Text),
        Declared::new("offset", Kind::Count),
        Declared::new("count", Kind::Count),
        Declared::new("activeOnly", Kind::Boolean),
        Declared::new("includeDesignations", Kind::Boolean),
    ],
    alone: Some("valueSet"),
};

/// `ValueSet/$validate-code`.
pub(in super::super) const VALIDATE_MEMBER: Operation = Operation {
    name: "validate-code",
    levels: &[Level::Type, Level::Instance],
    types: &["ValueSet"],
    affects_state: false,
    parameters: &[
        Declared::new("url", Kind::Text),
        Declared::new("valueSet", Kind::Resource),
        Declared::new("code", Kind::Text),
        Declared::new("system", Kind::Text),
        Declared::new("display", Kind::Text),
        Declared::new("coding", Kind::Complex),
        Declared::new("codeableConcept", Kind::Complex),
        Declared::new("abstract", Kind::Boolean),
    ],
    alone: None,
};

/// `ConceptMap/$translate`.
pub(in super::super) const TRANSLATE: Operation = Operation {
    name: "translate",
    levels: &[Level::Type, Level::Instance],
    types: &["ConceptMap"],
    affects_state: false,
    parameters: &[
        Declared::new("url", Kind::Text),
        Declared::new("conceptMap", Kind::Resource),
        Declared::new("code", Kind::Text),
        Declared::new("system", Kind::Text),
        Declared::new("coding", Kind::Complex),
        Declared::new("codeableConcept", Kind::Complex),
        Declared::new("source", Kind::Text),
        Declared::new("target", Kind::Text),
        Declared::new("targetsystem", Kind::Text),
        Declared::new("reverse", Kind::Boolean),
    ],
    alone: None,
};

pub(in super::super) async fn expand(call: &Call<'_>) -> Result<Value, Failure> {
    let (set, at_hand) = subject(call, "valueSet", "ValueSet").await?;
    let arguments = &call.arguments;
    let mut members = at_hand.with(|terms| terms.expand(&set)).map_err(|issue| {
        // valueset-operation-expand.html: an expansion that is too large is not made.
        Failure::invalid(vec![issue]).with_status(axum::http::StatusCode::UNPROCESSABLE_ENTITY)
    })?;
    if arguments.boolean("activeOnly") == Some(true) {
        members.retain(|member| !member.is_inactive);
    }
    if let Some(filter) = arguments.text("filter") {
        let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
        members.retain(|member| has_words(member, &words));
    }
    let (offset, count) = (arguments.count("offset").unwrap_or(0), arguments.count("count"));
    let total = members.len();
    let shown = members.into_iter().skip(offset).take(count.unwrap_or(PAGE_MAX).min(PAGE_MAX));
    let with_designations = arguments.boolean("includeDesignations") == Some(true);
    let contains: Vec<Value> = shown.map(|member| contained(member, with_designations)).collect();
    let mut used = Vec::new();
    used.extend(arguments.text("filter").map(|f| json!({ "name": "filter", "valueString": f })));
    for name in ["offset", "count"] {
        let told = arguments.count(name);
        used.extend(told.map(|count| json!({ "name": name, "valueInteger": count })));
    }
    for name in ["activeOnly", "includeDesignations"] {
        let told = arguments.boolean(name);
        used.extend(told.map(|told| json!({ "name": name, "valueBoolean": told })));
    }
    let mut answer = json!({ "resourceType": "ValueSet" });
    for name in ["url", "version", "name", "title"] {
        if !set[name].is_null() {
            answer[name] = set[name].clone();
        }
    }
    answer["status"] =
        if set["status"].is_null() { json!("active") } else { set["status"].clone() };
    let mut expansion = json!({
        "identifier": format!("urn:holdfast:expansion:{}", RequestId::random()),
        "timestamp": call.state.clock.now().to_string(),
        "total": total,
        "offset": offset,
    });
    for (name, list) in [("parameter", used), ("contains", contains)] {
        if !list.is_empty() {
            expansion[name] = Value::Array(list);
        }
    }
    answer["expansion"] = expansion;
    Ok(answer)
}

/// Whether every word begins one of the words of the display or the code.
fn has_words(member: &Member, words: &[String]) -> bool {
    let text = format!("{} {}", member.display.as_deref().unwrap_or_default(), member.code);
    let text = text.to_lowercase();
    let own: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).collect();
    words.iter().all(|word| own.iter().any(|own| own.starts_with(word.as_str())))
}

fn contained(member: Member, with_designations: bool) -> Value {
    let mut told = json!({});
    if !member.system.is_empty() {
        told["system"] = json!(member.system);
    }
    if member.is_abstract {
        told["abstract"] = json!(true);
    }
    if member.is_inactive {
        told["inactive"] = json!(true);
    }
    told["code"] = json!(member.code);
    if let Some(display) = member.display {
        told["display"] = json!(display);
    }
    if with_designations && !member.designations.is_empty() {
        told["designation"] = Value::Array(member.designations);
    }
    told
}

pub(in super::super) async fn validate_member(call: &Call<'_>) -> Result<Value, Failure> {
    let (set, at_hand) = subject(call, "valueSet", "ValueSet").await?;
    let all = asked(call)?;
    at_hand.with(|terms| {
        let mut is_told = true;
        for one in &all {
            match terms.contains_in(&set, one.system.as_deref(), &one.code) {
                Some(true) => {
                    let system = one.system.as_deref().and_then(|url| terms.system(url));
                    let concept = system.and_then(|system| system.concept(&one.code));
                    let refused = call.arguments.boolean("abstract") == Some(false)
                        && concept.is_some_and(|concept| concept.is_abstract());
                    if refused {
                        return Ok(verdict(false, Some("the code only groups others"), None));
                    }
                    return Ok(judged(one, concept.and_then(|c| c.display.as_deref())));
                }
                Some(false) => {}
                None => is_told = false,
            }
        }
        if is_told {
            return Ok(verdict(false, Some("the value set has no such code"), None));
        }
        let text = "what the value set is made of is not all at hand";
        Err(unknown("url", text))
    })
}

pub(in super::super) async fn translate(call: &Call<'_>) -> Result<Value, Failure> {
    let all = asked(call)?;
    let text = |name| call.arguments.text(name);
    let brought: Vec<Value> = if !call.id.is_empty() {
        let exchange = &call.state.exchange;
        let read = exchange.read(call.ask, call.organization, "ConceptMap", call.id, None);
        vec![read.await?.resource]
    } else if let Some(map) = call.arguments.json("conceptMap") {
        if map["resourceType"] != "ConceptMap" {
            return Err(problem("invalid", "conceptMap", "has to be a ConceptMap"));
        }
        vec![map.clone()]
    } else if let Some(url) = text("url") {
        stored(call, "ConceptMap", &[("url", bare(url))]).await?
    } else if text("source").is_some() || text("target").is_some() || text("targetsystem").is_some()
    {
        // Whatever map the organization has for these.
        stored(call, "ConceptMap", &[("_count", "1000")]).await?
    } else {
        let text = "url, conceptMap, an id, or source, target or targetsystem is needed";
        return Err(problem("required", "url", text));
    };
    if brought.is_empty() {
        return Err(unknown("url", "no such concept map is at hand"));
    }
    let at_hand = AtHand::load(call, brought, Vec::new()).await?;
    let wanted = Wanted {
        codings: all.iter().map(|one| (one.system.as_deref(), one.code.as_str())).collect(),
        source: text("source"),
        target: text("target"),
        target_system: text("targetsystem"),
        reverse: call.arguments.boolean("reverse").unwrap_or(false),
    };
    let found: Vec<_> = at_hand
        .maps()
        .iter()
        .flat_map(|map| holdfast_fhir::terminology::translate(map, &wanted))
        .collect();
    let result = found.iter().any(|one| one.is_match());
    let mut list = vec![json!({ "name": "result", "valueBoolean": result })];
    if !result {
        let text = "the map has no translation of this code";
        list.push(json!({ "name": "message", "valueString": text }));
    }
    for one in found {
        let mut parts = vec![json!({ "name": "equivalence", "valueCode": one.equivalence })];
        parts.extend(one.concept.map(|c| json!({ "name": "concept", "valueCoding": c })));
        parts.extend(one.source.map(|url| json!({ "name": "source", "valueUri": url })));
        list.push(json!({ "name": "match", "part": parts }));
    }
    Ok(parameters(list))
}
