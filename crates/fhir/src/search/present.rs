//! `_summary` and `_elements`: the parts of a resource that were asked for.

use serde_json::{Map, Value, json};

use super::query::{Query, Summary};
use crate::definitions;

const OBSERVATION_VALUE: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

impl Query {
    /// `resource` with what `_summary` and `_elements` ask for and the tag
    /// SUBSETTED; the same when they ask for all of it.
    pub fn present(&self, resource: Value) -> Value {
        let whole = matches!(self.summary, Summary::False | Summary::Count);
        let Value::Object(fields) = resource else { return resource };
        if whole && self.elements.is_empty() {
            return Value::Object(fields);
        }
        let name = fields.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        let elements = definitions().elements(name);
        let keeps = |property: &str| {
            let bare = property.strip_prefix('_').unwrap_or(property);
            if matches!(bare, "resourceType" | "id" | "meta") {
                return true;
            }
            let element = elements.iter().find(|element| {
                let name = element.name();
                !element.path.contains('.')
                    && (bare == name || (element.is_choice() && bare.starts_with(name)))
            });
            let Some(element) = element else { return false };
            // Mandatory and modifier elements go with any choice of elements
            // (search.html#elements).
            let needed = element.min > 0 || element.is_modifier;
            if !self.elements.is_empty() {
                return needed || self.elements.iter().any(|wanted| wanted == element.name());
            }
            match self.summary {
                Summary::True => element.is_summary,
                Summary::Text => bare == "text" || element.min > 0,
                Summary::Data => bare != "text",
                Summary::False | Summary::Count => true,
            }
        };
        let kept: Map<String, Value> =
            fields.into_iter().filter(|(property, _)| keeps(property)).collect();
        let mut kept = Value::Object(kept);
        if !kept["meta"].is_object() {
            kept["meta"] = json!({});
        }
        let tag = json!({ "system": OBSERVATION_VALUE, "code": "SUBSETTED" });
        match kept["meta"]["tag"].as_array_mut() {
            Some(tags) => tags.push(tag),
            None => kept["meta"]["tag"] = json!([tag]),
        }
        kept
    }
}
