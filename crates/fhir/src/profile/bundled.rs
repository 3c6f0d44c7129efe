//! References within a Bundle (FHIR R4 bundle.html#references).

use serde_json::Value;

use crate::reference::parse_reference;

/// The place of the entry that `reference` names, as it stands in one of the
/// resources `around` it: by its full URL, or relative to the full URL of where it stands.
pub(crate) fn find<'a>(
    bundle: &Value,
    around: impl Iterator<Item = &'a Value>,
    reference: &str,
) -> Option<usize> {
    let entries = bundle["entry"].as_array()?;
    let bare = reference.split("/_history/").next().unwrap_or(reference);
    let full_url = |entry: &Value| entry["fullUrl"].as_str().map(str::to_owned);
    let by_url = |url: &str| entries.iter().position(|entry| entry["fullUrl"] == *url);
    if let Some(at) = by_url(bare) {
        return Some(at);
    }
    let literal = parse_reference(bare)?;
    let own: Vec<&Value> = around.collect();
    let holder = entries
        .iter()
        .find(|entry| own.iter().any(|resource| std::ptr::eq(*resource, &entry["resource"])));
    let base = holder.and_then(full_url).filter(|url| url.starts_with("http")).and_then(|url| {
        let mut parts = url.rsplitn(3, '/');
        parts.nth(2).map(str::to_owned)
    });
    if !bare.contains(':') {
        if let Some(at) = base.and_then(|base| by_url(&format!("{base}/{bare}"))) {
            return Some(at);
        }
        // Entries without a full URL of a server are known by type and id.
        return entries.iter().position(|entry| {
            let resource = &entry["resource"];
            let is_named = entry["fullUrl"].as_str().is_none_or(|url| url.starts_with("http"));
            is_named
                && resource["resourceType"] == *literal.resource_type
                && resource["id"] == *literal.id
        });
    }
    None
}
