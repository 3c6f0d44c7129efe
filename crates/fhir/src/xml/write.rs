//! JSON tree → XML.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{FHIR, Within, xhtml};
use crate::definitions;
use crate::schema::{NodeId, Property};

/// The XML document of a resource, on one line or indented.
///
/// What the definitions do not know is written after what they know, as elements of
/// its name, so that nothing is lost; such a document is no valid FHIR, as its JSON
/// was none.
pub fn to_xml(resource: &Value, pretty: bool) -> String {
    let mut writer = Writer { out: String::new(), pretty, depth: 0 };
    writer.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    writer.resource(resource, true);
    writer.out
}

struct Writer {
    out: String,
    pretty: bool,
    depth: usize,
}

/// A field of an object, with the property beside it that holds `id` and `extension`.
struct Field<'a> {
    name: &'a str,
    property: Option<&'static Property>,
    value: Option<&'a Value>,
    sibling: Option<&'a Value>,
}

impl Writer {
    fn resource(&mut self, resource: &Value, is_root: bool) {
        let name = resource["resourceType"].as_str().unwrap_or_default();
        let (name, node) = match definitions().schema().root(name) {
            Some(node) => (name, Some(node)),
            None => (name_or(name, "Resource"), None),
        };
        let Some(fields) = resource.as_object() else { return };
        self.start(name);
        if is_root {
            let _ = write!(self.out, " xmlns=\"{FHIR}\"");
        }
        self.content(name, fields, node, Within::Resource);
    }

    /// The attributes of an open tag, its children, and its end.
    fn content(
        &mut self,
        name: &str,
        fields: &Map<String, Value>,
        node: Option<NodeId>,
        within: Within,
    ) {
        for attribute_name in ["id", "url"].into_iter().filter(|name| within.is_attribute(name)) {
            if let Some(value) = fields.get(attribute_name).and_then(Value::as_str) {
                self.attribute(attribute_name, value);
            }
        }
        let children = fields_of(fields, node, within);
        if children.is_empty() {
            self.out.push_str("/>");
            return;
        }
        self.out.push('>');
        self.depth += 1;
        for child in &children {
            self.field(child);
        }
        self.depth -= 1;
        self.end(name);
    }

    fn field(&mut self, field: &Field<'_>) {
        let name = name_or(field.name, "element");
        let Some(property) = field.property else {
            for value in field.value.into_iter().flat_map(items) {
                self.unknown(name, value);
            }
            return;
        };
        if property.type_code == "Resource" {
            for value in field.value.into_iter().flat_map(items) {
                self.start(name);
                self.out.push('>');
                self.depth += 1;
                self.resource(value, false);
                self.depth -= 1;
                self.end(name);
            }
        } else if let Some(node) = property.node {
            for value in field.value.into_iter().flat_map(items) {
                match value {
                    Value::Object(fields) => {
                        self.start(name);
                        self.content(name, fields, Some(node), Within::of_type(property.type_code));
                    }
                    other => self.unknown(name, other),
                }
            }
        } else if property.type_code == "xhtml" {
            if let Some(text) = field.value.and_then(Value::as_str) {
                self.line();
                self.out.push_str(&xhtml::element_of(text));
            }
        } else {
            let values = field.value.map(items).unwrap_or_default();
            let siblings = field.sibling.map(items).unwrap_or_default();
            for place in 0..values.len().max(siblings.len()) {
                self.primitive(name, values.get(place), siblings.get(place));
            }
        }
    }

    fn primitive(&mut self, name: &str, value: Option<&Value>, sibling: Option<&Value>) {
        let text = match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Bool(truth)) => Some(truth.to_string()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(other) => return self.unknown(name, other),
        };
        let beside = sibling.and_then(Value::as_object);
        if text.is_none() && beside.is_none() {
            return;
        }
        self.start(name);
        if let Some(id) = beside.and_then(|beside| beside.get("id")).and_then(Value::as_str) {
            self.attribute("id", id);
        }
        if let Some(text) = text {
            self.attribute("value", &text);
        }
        let extensions = beside.and_then(|beside| beside.get("extension"));
        let node = definitions().schema().root("Extension");
        let extensions = extensions.map(items).unwrap_or_default();
        if extensions.is_empty() {
            self.out.push_str("/>");
            return;
        }
        self.out.push('>');
        self.depth += 1;
        for fields in extensions.iter().filter_map(Value::as_object) {
            self.start("extension");
            self.content("extension", fields, node, Within::Extension);
        }
        self.depth -= 1;
        self.end(name);
    }

    /// What the definitions do not know, by its form alone.
    fn unknown(&mut self, name: &str, value: &Value) {
        match value {
            Value::Object(fields) if fields.contains_key("resourceType") => {
                self.start(name);
                self.out.push('>');
                self.depth += 1;
                self.resource(value, false);
                self.depth -= 1;
                self.end(name);
            }
            Value::Object(fields) => {
                self.start(name);
                self.content(name, fields, None, Within::Extension);
            }
            Value::Array(items) => items.iter().for_each(|item| self.unknown(name, item)),
            scalar => self.primitive(name, Some(scalar), None),
        }
    }

    fn line(&mut self) {
        if self.pretty {
            self.out.push('\n');
            for _ in 0..self.depth {
                self.out.push_str("  ");
            }
        }
    }

    fn start(&mut self, name: &str) {
        self.line();
        self.out.push('<');
        self.out.push_str(name);
    }

    fn end(&mut self, name: &str) {
        self.line();
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        attribute(value, &mut self.out);
        self.out.push('"');
    }
}

/// The fields that are elements, in the order of the definition.
fn fields_of<'a>(
    fields: &'a Map<String, Value>,
    node: Option<NodeId>,
    within: Within,
) -> Vec<Field<'a>> {
    let node = node.map(|node| definitions().schema().node(node));
    let mut found: Vec<(usize, Field<'a>)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        if within.is_attribute(name) || (within == Within::Resource && name == "resourceType") {
            continue;
        }
        let bare = name.strip_prefix('_').filter(|bare| {
            let primitive = |property: &Property| property.node.is_none();
            node.and_then(|node| node.property(bare)).is_some_and(primitive)
        });
        let property = node.and_then(|node| node.property(bare.unwrap_or(name)));
        let order = property.map_or(usize::MAX, |property| property.element);
        let field = match (bare, property) {
            (Some(bare), _) if fields.contains_key(bare) => continue,
            (Some(bare), property) => {
                Field { name: bare, property, value: None, sibling: Some(value) }
            }
            (None, Some(property)) => Field {
                name,
                property: Some(property),
                value: Some(value),
                sibling: fields.get(&property.sibling),
            },
            (None, None) => Field { name, property: None, value: Some(value), sibling: None },
        };
        found.push((order, field));
    }
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, field)| field).collect()
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}

/// `name`, if it can be an element's.
fn name_or<'a>(name: &'a str, otherwise: &'a str) -> &'a str {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(plain) { name } else { otherwise }
}

/// A text as the value of an attribute in double quotes. White space other than
/// blanks is written as references, or a parser would make blanks of it.
pub(super) fn attribute(text: &str, out: &mut String) {
    escape(text, true, out);
}

/// A text between tags.
pub(super) fn character_data(text: &str, out: &mut String) {
    escape(text, false, out);
}

fn escape(text: &str, is_attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if is_attribute => out.push_str("&quot;"),
            '\n' if is_attribute => out.push_str("&#10;"),
            '\t' if is_attribute => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\n' | '\t' => out.push(c),
            // No XML document can hold these (XML 1.0 section 2.2).
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_come_in_the_order_of_the_definition() {
        let patient = json!({
            "resourceType": "Patient", "birthDate": "2000-01-01", "active": true,
            "name": [{ "given": ["A", null], "_given": [null, { "id": "g" }], "id": "n" }],
            "id": "1",
            "extension": [{ "valueString": "a \"b\" <c>\n", "url": "urn:x" }],
        });
        assert_eq!(
            to_xml(&patient, false),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <Patient xmlns=\"http://hl7.org/fhir\"><id value=\"1\"/>\
             <extension url=\"urn:x\"><valueString value=\"a &quot;b&quot; &lt;c&gt;&#10;\"/></extension>\
             <active value=\"true\"/>\
             <name id=\"n\"><given value=\"A\"/><given id=\"g\"/></name>\
             <birthDate value=\"2000-01-01\"/></Patient>"
        );
    }

    #[test]
    fn pretty_is_indented_and_the_narrative_is_not_touched() {
        let patient = json!({
            "resourceType": "Patient",
            "text": { "status": "empty", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a</p></div>" },
        });
        let xml = to_xml(&patient, true);
        let lines: Vec<&str> = xml.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "<Patient xmlns=\"http://hl7.org/fhir\">",
                "  <text>",
                "    <status value=\"empty\"/>",
                "    <div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a</p></div>",
                "  </text>",
                "</Patient>",
            ]
        );
    }

    #[test]
    fn what_is_not_known_is_written_all_the_same() {
        let odd = json!({ "resourceType": "Patient", "colour": [{ "a b": 1.25 }, "red"] });
        let xml = to_xml(&odd, false);
        assert!(xml.contains("<colour><element value=\"1.25\"/></colour><colour value=\"red\"/>"));
        for odd in [json!(1), json!({}), json!({ "resourceType": "<" }), json!([])] {
            assert!(to_xml(&odd, true).starts_with("<?xml"));
        }
    }
}
