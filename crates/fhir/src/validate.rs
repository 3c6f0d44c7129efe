//! Structural validation against the R4 definitions: every problem at once, each
//! with its FHIRPath, none with a value from the record.
//!
//! Checked: unknown elements, cardinality, lists and single values, choice
//! types, primitive formats, required bindings whose value set can be listed,
//! types of literal references, contained resources and `#` references, narrative
//! content, extensions (ext-1), periods (per-1), empty elements (ele-1).
//! Not checked: profiles, extensible bindings, slices, other invariants.

use serde_json::{Map, Value};

use crate::definitions;
use crate::definitions::{Element, ElementType};
use crate::outcome::{Issue, Severity};
use crate::reference::reference_type;
use crate::schema::{NodeId, Property};
use crate::search::Span;
use crate::{narrative, primitive};

/// More problems than anybody reads; the rest is cut off with a note.
const ISSUES_MAX: usize = 200;

/// The problems of `resource`: errors, and warnings that need not stop anybody
/// ([`Issue::is_error`]). Empty when it is valid as far as is checked.
pub fn validate(resource: &Value) -> Vec<Issue> {
    let mut check = Check { issues: Vec::new(), contained: Vec::new() };
    let name = resource["resourceType"].as_str().unwrap_or_default();
    let known = definitions().is_resource_type(name);
    check.resource(resource, if known { name } else { "Resource" }, Place::Top);
    check.issues.truncate(ISSUES_MAX + 1);
    if let Some(last) = check.issues.get_mut(ISSUES_MAX) {
        *last = Issue::error("structure", "", format!("more than {ISSUES_MAX} problems"));
    }
    check.issues
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Top,
    Contained,
    Entry,
}

struct Check {
    issues: Vec<Issue>,
    /// Ids of the contained resources of the resource at hand.
    contained: Vec<String>,
}

impl Check {
    fn fail(&mut self, code: &'static str, path: &str, text: impl Into<String>) {
        self.add(Issue::error(code, path, text));
    }

    fn add(&mut self, issue: Issue) {
        if self.issues.len() <= ISSUES_MAX {
            self.issues.push(issue);
        }
    }

    fn resource(&mut self, resource: &Value, path: &str, place: Place) {
        let Some(fields) = resource.as_object() else {
            return self.fail("structure", path, "a resource is needed");
        };
        let Some(name) = fields.get("resourceType").and_then(Value::as_str) else {
            return self.fail("structure", path, "resourceType is missing");
        };
        let root = definitions().schema().root(name);
        let Some(root) = root.filter(|_| definitions().is_resource_type(name)) else {
            return self.fail("structure", path, "resourceType names no FHIR R4 resource");
        };
        let outer = std::mem::take(&mut self.contained);
        if place == Place::Contained {
            if fields.contains_key("contained") {
                self.fail("structure", path, "a contained resource cannot contain others (dom-2)");
            }
            // References inside look into the container.
            self.contained.clone_from(&outer);
        } else {
            let inner = fields.get("contained").and_then(Value::as_array).into_iter().flatten();
            self.contained =
                inner.filter_map(|inner| inner["id"].as_str()).map(str::to_owned).collect();
        }
        self.object(fields, root, path, true);
        self.contained = outer;
    }

    /// The fields of a resource, datatype or backbone element.
    fn object(&mut self, fields: &Map<String, Value>, node: NodeId, path: &str, is_resource: bool) {
        let node = definitions().schema().node(node);
        let mut seen = vec![0_usize; node.elements.len()];
        let mut variants: Vec<Option<&str>> = vec![None; node.elements.len()];
        for (name, value) in fields {
            if is_resource && name == "resourceType" {
                continue;
            }
            let bare = name.strip_prefix('_').unwrap_or(name);
            let property = node.property(bare);
            let is_sibling = bare != name;
            let primitive = property.is_some_and(is_primitive);
            let Some(property) = property.filter(|_| primitive || !is_sibling) else {
                let shown = shown(name);
                self.fail("structure", path, format!("unknown element `{shown}`"));
                continue;
            };
            let element = &node.elements[property.element];
            let at = property_path(path, element, property);
            if let Some(other) = variants[property.element].replace(&property.json)
                && other != property.json
            {
                self.fail("structure", &at, "only one type of a choice may be given");
            }
            if is_sibling {
                self.siblings(value, fields.get(bare), element, &at);
                if fields.get(bare).is_none() {
                    seen[property.element] += count(value);
                }
            } else {
                seen[property.element] += count(value);
                self.values(value, fields.get(&property.sibling), element, property, &at);
            }
        }
        for (element, count) in node.elements.iter().zip(seen) {
            if count < element.min as usize {
                let at = format!("{path}.{}", element.name());
                let issue =
                    Issue::error("required", at, format!("at least {} needed", element.min));
                // Senders strip narratives to save space, HL7's own examples too;
                // nothing clinical hangs on the empty shell that stays.
                let is_stripped = element.path == "div" && fields.contains_key("status");
                self.add(if is_stripped { issue.with_severity(Severity::Warning) } else { issue });
            }
            if element.max.is_some_and(|max| count > max as usize && element.is_list()) {
                self.fail("structure", &format!("{path}.{}", element.name()), "too many");
            }
        }
        if fields.is_empty() {
            self.fail("structure", path, "an empty element is not allowed (ele-1)");
        }
    }

    /// The value of a property: one, or a list of them.
    fn values(
        &mut self,
        value: &Value,
        siblings: Option<&Value>,
        element: &Element,
        property: &Property,
        path: &str,
    ) {
        match value {
            Value::Array(items) if element.is_list() => {
                if items.is_empty() {
                    self.fail("structure", path, "an empty list is not allowed");
                }
                for (place, item) in items.iter().enumerate() {
                    let beside = siblings.and_then(|siblings| siblings.get(place));
                    if item.is_null()
                        && is_primitive(property)
                        && beside.is_some_and(Value::is_object)
                    {
                        continue;
                    }
                    self.value(item, element, property, &format!("{path}[{place}]"));
                }
            }
            Value::Array(_) => self.fail("structure", path, "a single value is needed, not a list"),
            _ if element.is_list() => self.fail("structure", path, "a list is needed"),
            _ => self.value(value, element, property, path),
        }
    }

    fn value(&mut self, value: &Value, element: &Element, property: &Property, path: &str) {
        let kind = property.type_code;
        if kind == "Resource" {
            let is_contained = element.path == "contained";
            return self.resource(
                value,
                path,
                if is_contained { Place::Contained } else { Place::Entry },
            );
        }
        let Some(node) = property.node else {
            if let Err(text) = primitive::check(kind, value) {
                self.fail("value", path, format!("{kind}: {text}"));
            } else if kind == "xhtml" {
                if let Err(text) = narrative::check(value.as_str().unwrap_or_default()) {
                    self.fail("invariant", path, text);
                }
            } else {
                self.code(value, element, path);
            }
            return;
        };
        let Some(fields) = value.as_object() else {
            return self.fail("structure", path, format!("{kind}: an object is needed"));
        };
        self.object(fields, node, path, false);
        match kind {
            "CodeableConcept" => self.concept(value, element, path),
            "Reference" => self.reference(value, &element.types[property.type_place], path),
            "Extension" => self.extension(fields, path),
            "Period" => self.period(value, path),
            _ => {}
        }
    }

    /// `id` and `extension` of a primitive.
    fn siblings(
        &mut self,
        siblings: &Value,
        values: Option<&Value>,
        element: &Element,
        path: &str,
    ) {
        let Some(node) = definitions().schema().root("Element") else { return };
        match siblings {
            Value::Array(items) if element.is_list() => {
                let matching = values.is_none_or(|values| {
                    values.as_array().is_some_and(|values| values.len() == items.len())
                });
                if !matching {
                    self.fail("structure", path, "the list and its `_` list differ in length");
                }
                for (place, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    match item.as_object() {
                        Some(fields) => {
                            self.object(fields, node, &format!("{path}[{place}]"), false)
                        }
                        None => self.fail("structure", path, "an object or null is needed"),
                    }
                }
            }
            Value::Object(fields) if !element.is_list() => self.object(fields, node, path, false),
            _ => self.fail("structure", path, "the `_` property has the wrong form"),
        }
    }

    fn code(&mut self, value: &Value, element: &Element, path: &str) {
        let set = definitions().value_set(element.value_set);
        if let (Some(set), Some(code)) = (set, value.as_str())
            && !set.has_code(code)
        {
            let text = format!("the code is not in the required value set {}", element.value_set);
            self.fail("code-invalid", path, text);
        }
    }

    fn concept(&mut self, value: &Value, element: &Element, path: &str) {
        let Some(set) = definitions().value_set(element.value_set) else { return };
        let mut codings = value["coding"].as_array().into_iter().flatten().peekable();
        let given = codings.peek().is_some();
        let meets = codings.any(|coding| {
            let part = |name: &str| coding[name].as_str().unwrap_or_default();
            set.has(part("system"), part("code"))
        });
        if given && !meets {
            let text = format!("no coding is in the required value set {}", element.value_set);
            self.fail("code-invalid", path, text);
        }
    }

    fn reference(&mut self, value: &Value, kind: &ElementType, path: &str) {
        let Some(reference) = value["reference"].as_str() else { return };
        if let Some(id) = reference.strip_prefix('#') {
            if !id.is_empty() && !self.contained.iter().any(|known| known == id) {
                self.fail("invariant", path, "no contained resource has this id (ref-1)");
            }
            return;
        }
        let anything = kind.targets.is_empty() || kind.targets.contains(&"Resource");
        if let Some(target) = reference_type(reference)
            && !anything
            && !kind.targets.contains(&target)
        {
            self.fail("structure", path, format!("may not refer to a {target}"));
        }
    }

    fn extension(&mut self, fields: &Map<String, Value>, path: &str) {
        let has_value = fields.keys().any(|name| name.trim_start_matches('_').starts_with("value"));
        if has_value == fields.contains_key("extension") {
            self.fail("invariant", path, "either a value or extensions, not both (ext-1)");
        }
    }

    fn period(&mut self, value: &Value, path: &str) {
        let end = |name: &str| value[name].as_str().and_then(Span::parse);
        if let (Some(start), Some(end)) = (end("start"), end("end"))
            && start.from > end.to
        {
            self.fail("invariant", path, "the end lies before the start (per-1)");
        }
    }
}

fn is_primitive(property: &Property) -> bool {
    property.node.is_none() && property.type_code != "Resource"
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        _ => 1,
    }
}

/// An element name as it may stand in an issue: only if it looks like one.
fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.len() <= 40 && name.chars().all(plain) { name } else { "?" }
}

/// FHIRPath of a property: a choice is named with its type, `value.ofType(Quantity)`.
fn property_path(path: &str, element: &Element, property: &Property) -> String {
    let name = element.name();
    if element.is_choice() {
        format!("{path}.{name}.ofType({})", property.type_code)
    } else {
        format!("{path}.{name}")
    }
}
