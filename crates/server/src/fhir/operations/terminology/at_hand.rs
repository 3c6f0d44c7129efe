//! The resources that one call looks at: those that it brings, those of the core
//! package, and the organization's own, read by the one path as far as the caller may.

use std::collections::BTreeSet;

use holdfast_exchange::{ExchangeError, Handling};
use holdfast_fhir::terminology::{Library, Terminology, bare, core};
use serde_json::Value;

use super::super::Call;
use super::{problem, unknown};
use crate::error::Failure;

/// Resources of the organization that one call reads.
const LOADED_MAX: usize = 64;

/// The resources at hand.
pub(super) struct AtHand {
    own: Library,
}

impl AtHand {
    /// Everything together; what was brought or stored goes over the core package.
    pub fn with<T>(&self, look: impl FnOnce(Terminology<'_>) -> T) -> T {
        look(Terminology(&[&self.own, core()]))
    }

    /// The maps at hand.
    pub fn maps(&self) -> &[Value] {
        self.own.maps()
    }

    /// Reads `resources` and, as far as the organization has it, what they name.
    pub async fn load(
        call: &Call<'_>,
        resources: Vec<Value>,
        urls: Vec<(&'static str, String)>,
    ) -> Result<Self, Failure> {
        let mut own = Library::default();
        let mut waiting = urls;
        let mut asked = BTreeSet::new();
        for resource in &resources {
            waiting.extend(named_by(resource));
            own.add(resource);
        }
        while let Some((kind, url)) = waiting.pop() {
            let url = bare(&url).to_owned();
            let is_known = match kind {
                "ValueSet" => own.value_set(&url).or(core().value_set(&url)).is_some(),
                "CodeSystem" => own.system(&url).or(core().system(&url)).is_some(),
                _ => false,
            };
            if is_known || asked.len() == LOADED_MAX || !asked.insert((kind, url.clone())) {
                continue;
            }
            for resource in stored(call, kind, &[("url", &url)]).await? {
                waiting.extend(named_by(&resource));
                own.add(&resource);
            }
        }
        Ok(Self { own })
    }
}

/// What the organization has stored that the caller may read; a search that it may not
/// make finds nothing.
pub(super) async fn stored(
    call: &Call<'_>,
    kind: &str,
    pairs: &[(&str, &str)],
) -> Result<Vec<Value>, Failure> {
    let pairs: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let found =
        call.state.exchange.search(call.ask, call.organization, kind, &pairs, Handling::Strict);
    match found.await {
        Ok(page) => Ok(page.matches.into_iter().map(|found| found.resource).collect()),
        Err(
            ExchangeError::NotFound
            | ExchangeError::Invalid(_)
            | ExchangeError::NotPermitted { .. }
            | ExchangeError::IndexUnfinished,
        ) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The code systems and value sets that a value set is made of.
fn named_by(resource: &Value) -> Vec<(&'static str, String)> {
    let mut named = Vec::new();
    for list in ["include", "exclude"] {
        for part in resource["compose"][list].as_array().into_iter().flatten() {
            named.extend(part["system"].as_str().map(|url| ("CodeSystem", url.to_owned())));
            let sets = part["valueSet"].as_array().into_iter().flatten();
            named.extend(sets.filter_map(Value::as_str).map(|url| ("ValueSet", url.to_owned())));
        }
    }
    named
}

/// The resource that a call is about: by its id in the URL, brought along as parameter
/// `inline`, or by its canonical `url`.
pub(super) async fn subject(
    call: &Call<'_>,
    inline: &'static str,
    kind: &'static str,
) -> Result<(Value, AtHand), Failure> {
    if !call.id.is_empty() {
        let read = call.state.exchange.read(call.ask, call.organization, kind, call.id, None);
        let resource = read.await?.resource;
        let at_hand = AtHand::load(call, vec![resource.clone()], Vec::new()).await?;
        return Ok((resource, at_hand));
    }
    if let Some(resource) = call.arguments.json(inline) {
        if resource["resourceType"] != kind {
            return Err(problem("invalid", inline, format!("has to be a {kind}")));
        }
        let at_hand = AtHand::load(call, vec![resource.clone()], Vec::new()).await?;
        return Ok((resource.clone(), at_hand));
    }
    let Some(url) = call.arguments.text("url") else {
        return Err(problem("required", "url", format!("url, {inline} or an id is needed")));
    };
    let at_hand = AtHand::load(call, Vec::new(), vec![(kind, url.to_owned())]).await?;
    let found = match kind {
        "ValueSet" => at_hand.with(|terms| terms.value_set(url).cloned()),
        _ => None,
    };
    let found = found.ok_or_else(|| unknown("url", format!("no {kind} of this URL is at hand")))?;
    // A core value set names others of the core package, which are all there.
    Ok((found, at_hand))
}
