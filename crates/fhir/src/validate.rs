//! Structural validation against the R4 definitions: every problem at once, each
//! with its FHIRPath, none with a value from the record.
//!
//! Checked: unknown elements, cardinality, lists and single values, choice
//! types, primitive formats, required bindings whose value set can be listed,
//! types of literal references, contained resources and `#` references, narrative
//! content, empty elements, ids, the invariants of R4 (`invariant`), rules of
//! bundles (`bundle_rules`). Profiles are in `profile`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::bundle_rules;
use crate::definitions;
use crate::definitions::{Element, ElementType};
use crate::fhirpath::Node;
use crate::invariant::{Invariant, Invariants};
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
    let mut check = Check {
        issues: Vec::new(),
        ids: HashSet::new(),
        contained: Vec::new(),
        root: resource,
        resource,
    };
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

struct Check<'a> {
    issues: Vec<Issue>,
    /// Ids of the elements of the resource at hand, which are unique within it.
    ids: HashSet<&'a str>,
    /// Ids of the contained resources of the resource at hand.
    contained: Vec<String>,
    /// The whole document, and the resource at hand.
    root: &'a Value,
    resource: &'a Value,
}

impl<'a> Check<'a> {
    fn fail(&mut self, code: &'static str, path: &str, text: impl Into<String>) {
        self.add(Issue::error(code, path, text));
    }

    fn add(&mut self, issue: Issue) {
        if self.issues.len() <= ISSUES_MAX {
            self.issues.push(issue);
        }
    }

    fn resource(&mut self, resource: &'a Value, path: &str, place: Place) {
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
        let outer_ids = std::mem::take(&mut self.ids);
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
        let outer_resource = std::mem::replace(&mut self.resource, resource);
        self.object(fields, root, path, true);
        self.rules(Invariants::of_base().of_node(root), Node::resource(resource), path);
        self.resource = outer_resource;
        if name == "Bundle" {
            bundle_rules::check(resource, path).into_iter().for_each(|issue| self.add(issue));
        }
        if name == "Questionnaire" {
            self.conditions(resource, path);
        }
        if place != Place::Contained {
            self.unused(resource, path);
        }
        self.contained = outer;
        self.ids = outer_ids;
    }

    /// The invariants of R4 for one place.
    fn rules(&mut self, rules: &[&'static Invariant], node: Option<Node<'a>>, path: &str) {
        let Some(node) = node else { return };
        for rule in rules {
            if rule.holds(node, self.resource, self.root, None) == Some(false) {
                let text = format!("{} ({})", rule.human, rule.key);
                let issue = Issue::error("invariant", path, text);
                self.add(if rule.is_error {
                    issue
                } else {
                    issue.with_severity(Severity::Warning)
                });
            }
        }
    }

    /// A question is enabled by answers to others, not by those within it.
    fn conditions(&mut self, holder: &Value, path: &str) {
        for (place, item) in holder["item"].as_array().into_iter().flatten().enumerate() {
            let at = format!("{path}.item[{place}]");
            let conditions = item["enableWhen"].as_array().into_iter().flatten();
            if conditions.clone().any(|condition| has_item(item, &condition["question"])) {
                self.fail("business-rule", &at, "enabled by an answer to a question within it");
            }
            self.conditions(item, &at);
        }
    }

    /// Contained resources have to be referred to, or to refer to what contains them (dom-3).
    fn unused(&mut self, resource: &Value, path: &str) {
        let Some(contained) = resource["contained"].as_array() else { return };
        let mut named = HashSet::new();
        fragments(resource, &mut named);
        for (place, inner) in contained.iter().enumerate() {
            let id = inner["id"].as_str().unwrap_or_default();
            let mut upwards = HashSet::new();
            fragments(inner, &mut upwards);
            if !named.contains(id) && !upwards.contains("") {
                let at = format!("{path}.contained[{place}]");
                self.fail("invariant", &at, "nothing refers to this contained resource (dom-3)");
            }
        }
    }

    /// The fields of a resource, datatype or backbone element.
    fn object(
        &mut self,
        fields: &'a Map<String, Value>,
        node: NodeId,
        path: &str,
        is_resource: bool,
    ) {
        let node = definitions().schema().node(node);
        let mut seen = vec![0_usize; node.elements.len()];
        if !is_resource
            && let Some(id) = fields.get("id").and_then(Value::as_str)
            && !self.ids.insert(id)
        {
            self.fail("invariant", path, "another element of the resource has the same id");
        }
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
        if !is_resource && fields.keys().all(|name| name == "id") {
            self.fail("structure", path, "an empty element is not allowed (ele-1)");
        }
    }

    /// The value of a property: one, or a list of them.
    fn values(
        &mut self,
        value: &'a Value,
        siblings: Option<&'a Value>,
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

    fn value(&mut self, value: &'a Value, element: &Element, property: &Property, path: &str) {
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
        let own = Node::at(value, None, kind, element.value_set, Some(node));
        self.rules(Invariants::of_base().of_node(node), Some(own), path);
        self.rules(Invariants::of_base().of_element(element), Some(own), path);
        match kind {
            "CodeableConcept" => self.concept(value, element, path),
            "Reference" => self.reference(value, &element.types[property.type_place], path),
            "Extension" => self.extension(fields, path),
            "Period" => self.period(value, path),
            "Attachment" => self.attachment(value, path),
            _ => {}
        }
    }

    /// `id` and `extension` of a primitive.
    fn siblings(
        &mut self,
        siblings: &'a Value,
        values: Option<&'a Value>,
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

    /// The stated size is that of the data.
    fn attachment(&mut self, value: &Value, path: &str) {
        let (Some(data), Some(size)) = (value["data"].as_str(), value["size"].as_u64()) else {
            return;
        };
        let signs = data.bytes().filter(|byte| !byte.is_ascii_whitespace());
        let (letters, padding) =
            signs.fold((0_u64, 0_u64), |(letters, padding), byte| match byte {
                b'=' => (letters, padding + 1),
                _ => (letters + 1, padding),
            });
        if (letters + padding) / 4 * 3 != size + padding {
            self.fail("structure", path, "the stated size is not that of the data");
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

/// What references, canonicals and URLs name within the resource, without the `#`.
fn fragments<'v>(value: &'v Value, found: &mut HashSet<&'v str>) {
    match value {
        Value::String(text) if text.starts_with("<div") => {
            // Links and images of a narrative.
            for quote in ['"', '\''] {
                let start = format!("{quote}#");
                let links = text.split(&start).skip(1);
                found.extend(links.filter_map(|rest| rest.split(quote).next()));
            }
        }
        Value::String(text) => found.extend(text.strip_prefix('#')),
        Value::Array(items) => items.iter().for_each(|item| fragments(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| fragments(value, found)),
        _ => {}
    }
}

/// Whether an item has one with this link id within it.
fn has_item(item: &Value, link: &Value) -> bool {
    let inner = item["item"].as_array().into_iter().flatten();
    link.is_string()
        && inner.into_iter().any(|inner| inner["linkId"] == *link || has_item(inner, link))
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
