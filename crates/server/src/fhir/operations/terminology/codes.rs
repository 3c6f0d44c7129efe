//! Operations of code systems: `$lookup`, `$validate-code`, `$subsumes`
//! (FHIR R4 codesystem-operations.html).

use holdfast_fhir::operations::{Declared, Kind};
use holdfast_fhir::terminology::CodeSystem;
use serde_json::{Value, json};

use super::super::{Call, Level, Operation};
use super::at_hand::AtHand;
use super::{Asked, asked, parameters, problem, unknown};
use crate::error::Failure;

/// `CodeSystem/$lookup`.
pub(in super::super) const LOOKUP: Operation = Operation {
    name: "lookup",
    levels: &[Level::Type],
    types: &["CodeSystem"],
    affects_state: false,
    parameters: &[
        Declared::new("code", Kind::Text),
        Declared::new("system", Kind::Text),
        Declared::new("version", Kind::Text),
        Declared::new("coding", Kind::Complex),
        Declared::new("property", Kind::Text).repeats(),
    ],
    alone: None,
};

/// `CodeSystem/$validate-code`.
pub(in super::super) const VALIDATE_CODE: Operation = Operation {
    name: "validate-code",
    levels: &[Level::Type, Level::Instance],
    types: &["CodeSystem"],
    affects_state: false,
    parameters: &[
        Declared::new("url", Kind::Text),
        Declared::new("codeSystem", Kind::Resource),
        Declared::new("code", Kind::Text),
        Declared::new("version", Kind::Text),
        Declared::new("display", Kind::Text),
        Declared::new("coding", Kind::Complex),
        Declared::new("codeableConcept", Kind::Complex),
    ],
    alone: None,
};

/// `CodeSystem/$subsumes`.
pub(in super::super) const SUBSUMES: Operation = Operation {
    name: "subsumes",
    levels: &[Level::Type, Level::Instance],
    types: &["CodeSystem"],
    affects_state: false,
    parameters: &[
        Declared::new("codeA", Kind::Text),
        Declared::new("codeB", Kind::Text),
        Declared::new("system", Kind::Text),
        Declared::new("version", Kind::Text),
        Declared::new("codingA", Kind::Complex),
        Declared::new("codingB", Kind::Complex),
    ],
    alone: None,
};

/// The URL of the code system that a call is about, and what is at hand.
async fn about(call: &Call<'_>, told: Option<String>) -> Result<(String, AtHand), Failure> {
    let mut brought = Vec::new();
    if !call.id.is_empty() {
        let read =
            call.state.exchange.read(call.ask, call.organization, "CodeSystem", call.id, None);
        brought.push(read.await?.resource);
    }
    brought.extend(call.arguments.json("codeSystem").cloned());
    let url = brought.first().and_then(|system| system["url"].as_str()).map(str::to_owned);
    let url = url.or(told);
    let url = url.ok_or_else(|| problem("required", "system", "the code system is needed"))?;
    let at_hand = AtHand::load(call, brought, vec![("CodeSystem", url.clone())]).await?;
    Ok((url, at_hand))
}

/// Looks at the code system, when it is at hand in the version that was asked for.
fn in_system<T>(
    call: &Call<'_>,
    at_hand: &AtHand,
    url: &str,
    look: impl FnOnce(&CodeSystem) -> Result<T, Failure>,
) -> Result<T, Failure> {
    at_hand.with(|terms| {
        let system = terms.system(url);
        let system =
            system.ok_or_else(|| unknown("system", "no code system of this URL is at hand"))?;
        let version = call.arguments.text("version");
        if version.is_some() && version != system.version.as_deref() {
            return Err(unknown("version", "this version of the code system is not at hand"));
        }
        look(system)
    })
}

pub(in super::super) async fn lookup(call: &Call<'_>) -> Result<Value, Failure> {
    let Some(wanted) = asked(call)?.into_iter().next() else { return Err(Failure::not_found()) };
    let (url, at_hand) = about(call, wanted.system.clone()).await?;
    in_system(call, &at_hand, &url, |system| {
        let concept = system.concept(&wanted.code);
        let concept = concept.ok_or_else(|| unknown("code", "the code system has no such code"))?;
        let properties = call.arguments.texts("property");
        let is_wanted = |name: &str| properties.is_empty() || properties.contains(&name);
        // A name is owed (1..1), and not every code system has one.
        let name = if system.name.is_empty() { &system.url } else { &system.name };
        let mut list = vec![json!({ "name": "name", "valueString": name })];
        list.extend(system.version.iter().map(|v| json!({ "name": "version", "valueString": v })));
        let display = concept.display.as_deref().unwrap_or(&concept.code);
        list.push(json!({ "name": "display", "valueString": display }));
        for told in concept.designations.iter().filter(|_| is_wanted("designation")) {
            let parts =
                [("language", "valueCode"), ("use", "valueCoding"), ("value", "valueString")];
            let parts = parts.into_iter().filter(|(name, _)| !told[*name].is_null());
            let parts: Vec<Value> =
                parts.map(|(name, value)| json!({ "name": name, value: told[name] })).collect();
            list.push(json!({ "name": "designation", "part": parts }));
        }
        let mut add = |name: &str, kind: &str, value: Value| {
            if is_wanted(name) {
                list.push(json!({ "name": "property", "part": [
                    { "name": "code", "valueCode": name }, { "name": "value", kind: value },
                ]}));
            }
        };
        if let Some(definition) = &concept.definition {
            add("definition", "valueString", json!(definition));
        }
        add("inactive", "valueBoolean", json!(concept.is_inactive()));
        for parent in &concept.parents {
            add("parent", "valueCode", json!(system.concepts[*parent].code));
        }
        let place = system.place(&wanted.code).unwrap_or(usize::MAX);
        for child in system.children(place) {
            add("child", "valueCode", json!(child.code));
        }
        for told in &concept.properties {
            let Some(name) = told["code"].as_str() else { continue };
            let mut fields = told.as_object().into_iter().flatten();
            let value = fields.find(|(name, _)| name.starts_with("value"));
            // A parent that is told as a property stands among the parents already.
            if let Some((kind, value)) = value
                && !matches!(name, "inactive" | "parent" | "subsumedBy")
            {
                add(name, kind, value.clone());
            }
        }
        Ok(parameters(list))
    })
}

pub(in super::super) async fn validate_code(call: &Call<'_>) -> Result<Value, Failure> {
    let all = asked(call)?;
    let told = call.arguments.text("url").map(str::to_owned);
    let told = told.or_else(|| all.iter().find_map(|one| one.system.clone()));
    let (url, at_hand) = about(call, told).await?;
    in_system(call, &at_hand, &url, |system| {
        let of_system = |one: &&Asked| one.system.as_deref().is_none_or(|s| s == system.url);
        let known =
            all.iter().filter(of_system).find_map(|one| Some((one, system.concept(&one.code)?)));
        let Some((one, concept)) = known else {
            if !system.is_complete {
                return Err(unknown("code", "the code system is not at hand in full"));
            }
            return Ok(verdict(false, Some("the code system has no such code"), None));
        };
        Ok(judged(one, concept.display.as_deref()))
    })
}

/// A code that is there: the display that goes with it has to be its own.
pub(super) fn judged(one: &Asked, display: Option<&str>) -> Value {
    let same = |a: &str, b: &str| a.trim().to_lowercase() == b.trim().to_lowercase();
    match (one.display.as_deref(), display) {
        (Some(told), Some(own)) if !same(told, own) => {
            verdict(false, Some("the display is not the code's"), display)
        }
        _ => verdict(true, None, display),
    }
}

/// The answer of both validations.
pub(super) fn verdict(result: bool, message: Option<&str>, display: Option<&str>) -> Value {
    let mut list = vec![json!({ "name": "result", "valueBoolean": result })];
    list.extend(message.map(|text| json!({ "name": "message", "valueString": text })));
    list.extend(display.map(|text| json!({ "name": "display", "valueString": text })));
    parameters(list)
}

pub(in super::super) async fn subsumes(call: &Call<'_>) -> Result<Value, Failure> {
    let one = |code: &'static str, coding: &'static str| {
        let system = call.arguments.text("system").map(str::to_owned);
        let told = call.arguments.text(code).map(str::to_owned);
        let told = told.map(|code| Asked { system, code, display: None });
        let told = told.or_else(|| call.arguments.json(coding).and_then(Asked::of));
        told.ok_or_else(|| problem("required", code, "both codes are needed"))
    };
    let (a, b) = (one("codeA", "codingA")?, one("codeB", "codingB")?);
    if a.system != b.system {
        return Err(problem("invalid", "codingB", "both codes have to be of one code system"));
    }
    let (url, at_hand) = about(call, a.system.clone()).await?;
    in_system(call, &at_hand, &url, |system| {
        let place = |name: &str, one: &Asked| {
            let place = system.place(&one.code);
            place.ok_or_else(|| unknown(name, "the code system has no such code"))
        };
        let (a, b) = (place("codeA", &a)?, place("codeB", &b)?);
        let outcome = match (a == b, system.is_below(b, a), system.is_below(a, b)) {
            (true, ..) => "equivalent",
            (_, true, _) => "subsumes",
            (_, _, true) => "subsumed-by",
            _ => "not-subsumed",
        };
        Ok(parameters(vec![json!({ "name": "outcome", "valueCode": outcome })]))
    })
}
