//! XML → JSON tree.

use roxmltree::{Document, Node as Tag, ParsingOptions};
use serde_json::{Map, Number, Value};

use super::{FHIR, Within, XHTML, bounds, xhtml};
use crate::definitions;
use crate::outcome::{Issue, Severity};
use crate::parse::Limits;
use crate::schema::{NodeId, Property};

/// Attributes that say where a schema is; they are no content.
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Elements, attributes' owners and texts of a document, which bounds the memory
/// of its tree: four times what the largest bundles in use have.
const NODES_MAX: u32 = 2_000_000;
/// More problems than anybody reads.
const ISSUES_MAX: usize = 100;

/// Reads one resource: well-formed XML in UTF-8, in FHIR's namespace, of elements
/// that the definitions know, within `limits`. Values of a wrong form stay texts;
/// [`validate`](crate::validate) tells of them.
///
/// # Errors
/// Every problem, with its FHIRPath, or one of severity fatal with line and column
/// when it is no XML; none quotes the document.
pub fn from_xml(bytes: &[u8], limits: Limits) -> Result<Value, Vec<Issue>> {
    let text = text_of(bytes, limits).map_err(|issue| vec![issue])?;
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let at = error.pos();
        let what = match error {
            roxmltree::Error::NodesLimitReached => "too many elements",
            _ => "not well-formed XML",
        };
        vec![fatal("structure", format!("{what}, line {} column {}", at.row, at.col))]
    })?;
    let mut reader = Reader { source: text, issues: Vec::new(), depth_max: limits.depth_max };
    let root = document.root_element();
    let resource = reader.resource(root, "", 0);
    match resource {
        Some(resource) if reader.issues.is_empty() => Ok(resource),
        _ => Err(reader.issues),
    }
}

fn fatal(code: &'static str, text: impl Into<String>) -> Issue {
    Issue::error(code, "", text).with_severity(Severity::Fatal)
}

/// The characters of a document whose bounds are kept.
fn text_of(bytes: &[u8], limits: Limits) -> Result<&str, Issue> {
    if bytes.len() > limits.bytes_max {
        let text = format!("the document is larger than {} bytes", limits.bytes_max);
        return Err(fatal("too-long", text));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        fatal("structure", format!("not UTF-8 (xml.html#xml), byte {}", error.valid_up_to()))
    })?;
    let declaration = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>"));
    let encoding = declaration.and_then(|(declared, _)| declared.split_once("encoding"));
    if let Some((_, encoding)) = encoding {
        let name = encoding.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let is =
            |known: &str| name.get(..known.len()).is_some_and(|n| n.eq_ignore_ascii_case(known));
        if !is("utf-8") && !is("utf8") && !is("us-ascii") {
            return Err(fatal("structure", "the document has to be in UTF-8 (xml.html#xml)"));
        }
    }
    bounds::check(text).map_err(|what| fatal("structure", what))?;
    Ok(text)
}

struct Reader<'s> {
    source: &'s str,
    issues: Vec<Issue>,
    depth_max: usize,
}

/// What was read of one property so far.
struct Gathered {
    property: &'static Property,
    is_list: bool,
    values: Vec<Value>,
    siblings: Vec<Value>,
}

impl Reader<'_> {
    fn fail(&mut self, code: &'static str, path: &str, text: impl Into<String>) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue::error(code, path, text));
        }
    }

    /// The resource that `tag` is; places start with `path`, at the top with its type.
    fn resource(&mut self, tag: Tag<'_, '_>, path: &str, depth: usize) -> Option<Value> {
        let name = tag.tag_name().name();
        let namespace = tag.tag_name().namespace();
        let schema = definitions().schema();
        let node = schema.root(name).filter(|_| definitions().is_resource_type(name));
        let Some(node) = node else {
            self.fail("structure", path, "the element names no FHIR R4 resource");
            return None;
        };
        let path = if path.is_empty() { name } else { path };
        if namespace != Some(FHIR) {
            self.fail("structure", path, format!("has to be in the namespace {FHIR}"));
            return None;
        }
        let mut object = Map::new();
        object.insert("resourceType".to_owned(), Value::String(name.to_owned()));
        self.object(tag, node, Within::Resource, path, depth, &mut object);
        Some(Value::Object(object))
    }

    /// The attributes and children of a resource, datatype or backbone element.
    fn object(
        &mut self,
        tag: Tag<'_, '_>,
        node: NodeId,
        within: Within,
        path: &str,
        depth: usize,
        object: &mut Map<String, Value>,
    ) {
        if depth >= self.depth_max {
            return self.fail("structure", path, "nested too deeply");
        }
        for attribute in tag.attributes().filter(|attribute| attribute.namespace() != Some(XSI)) {
            if attribute.namespace().is_none() && within.is_attribute(attribute.name()) {
                let value = Value::String(attribute.value().to_owned());
                object.insert(attribute.name().to_owned(), value);
            } else {
                let text = format!("unknown attribute `{}`", shown(attribute.name()));
                self.fail("structure", path, text);
            }
        }
        let node = definitions().schema().node(node);
        let mut gathered: Vec<Gathered> = Vec::new();
        for child in tag.children() {
            if child.is_text() && !child.text().unwrap_or_default().trim().is_empty() {
                self.fail("structure", path, "text between elements is not allowed");
            }
            if !child.is_element() {
                continue;
            }
            let name = child.tag_name().name();
            let known = node.property(name).filter(|_| !within.is_attribute(name));
            let Some(property) = known else {
                self.fail("structure", path, format!("unknown element `{}`", shown(name)));
                continue;
            };
            let element = &node.elements[property.element];
            let is_list = element.is_list();
            let place = match gathered.iter().rposition(|g| std::ptr::eq(g.property, property)) {
                Some(place) => place,
                None => {
                    let (values, siblings) = (Vec::new(), Vec::new());
                    gathered.push(Gathered { property, is_list, values, siblings });
                    gathered.len() - 1
                }
            };
            let count = gathered[place].values.len();
            let mut at = match element.is_choice() {
                true => format!("{path}.{}.ofType({})", element.name(), property.type_code),
                false => format!("{path}.{name}"),
            };
            if is_list {
                at.push_str(&format!("[{count}]"));
            } else if count > 0 {
                self.fail("structure", &at, "may be given once only");
                continue;
            }
            let (value, sibling) = self.value(child, property, &at, depth + 1);
            gathered[place].values.push(value);
            gathered[place].siblings.push(sibling);
        }
        for Gathered { property, is_list, values, siblings } in gathered {
            for (name, mut items) in [(&property.json, values), (&property.sibling, siblings)] {
                if items.iter().all(Value::is_null) {
                    continue;
                }
                let value = if is_list { Some(Value::Array(items)) } else { items.pop() };
                object.insert(name.clone(), value.unwrap_or_default());
            }
        }
    }

    /// An element's value, and what JSON puts beside the value of a primitive.
    fn value(
        &mut self,
        tag: Tag<'_, '_>,
        property: &'static Property,
        path: &str,
        depth: usize,
    ) -> (Value, Value) {
        let kind = property.type_code;
        let namespace = if kind == "xhtml" { XHTML } else { FHIR };
        if tag.tag_name().namespace() != Some(namespace) {
            self.fail("structure", path, format!("has to be in the namespace {namespace}"));
            return (Value::Null, Value::Null);
        }
        if kind == "xhtml" {
            return (Value::String(xhtml::text_of(tag, self.source)), Value::Null);
        }
        if kind == "Resource" {
            let mut inner = tag.children().filter(Tag::is_element);
            let (first, second) = (inner.next(), inner.next());
            let resource = match (first, second) {
                (Some(resource), None) => self.resource(resource, path, depth + 1),
                _ => {
                    self.fail("structure", path, "has to hold one resource");
                    None
                }
            };
            return (resource.unwrap_or_default(), Value::Null);
        }
        match property.node {
            Some(node) => {
                let mut object = Map::new();
                self.object(tag, node, Within::of_type(kind), path, depth, &mut object);
                (Value::Object(object), Value::Null)
            }
            None => self.primitive(tag, kind, path, depth),
        }
    }

    fn primitive(
        &mut self,
        tag: Tag<'_, '_>,
        kind: &str,
        path: &str,
        depth: usize,
    ) -> (Value, Value) {
        let (mut value, mut beside) = (Value::Null, Map::new());
        for attribute in tag.attributes().filter(|attribute| attribute.namespace() != Some(XSI)) {
            match (attribute.namespace(), attribute.name()) {
                (None, "value") => value = primitive_value(kind, attribute.value()),
                (None, "id") => {
                    beside.insert("id".to_owned(), Value::String(attribute.value().to_owned()));
                }
                (_, other) => {
                    let text = format!("unknown attribute `{}`", shown(other));
                    self.fail("structure", path, text);
                }
            }
        }
        let mut extensions = Vec::new();
        for child in tag.children() {
            if child.is_text() && !child.text().unwrap_or_default().trim().is_empty() {
                self.fail("structure", path, "the value has to be an attribute, not a text");
            }
            if !child.is_element() {
                continue;
            }
            let name = child.tag_name();
            let node = definitions().schema().root("Extension");
            match node.filter(|_| name.name() == "extension" && name.namespace() == Some(FHIR)) {
                Some(node) => {
                    let at = format!("{path}.extension[{}]", extensions.len());
                    let mut object = Map::new();
                    self.object(child, node, Within::Extension, &at, depth + 1, &mut object);
                    extensions.push(Value::Object(object));
                }
                None => {
                    let text = format!("unknown element `{}`", shown(name.name()));
                    self.fail("structure", path, text);
                }
            }
        }
        if !extensions.is_empty() {
            beside.insert("extension".to_owned(), Value::Array(extensions));
        }
        if value.is_null() && beside.is_empty() {
            self.fail("structure", path, "an empty element is not allowed (ele-1)");
        }
        (value, if beside.is_empty() { Value::Null } else { Value::Object(beside) })
    }
}

/// A value as JSON writes its type; what does not look like it stays a text.
fn primitive_value(kind: &str, text: &str) -> Value {
    let written = match kind {
        "boolean" => {
            return match text {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                other => Value::String(other.to_owned()),
            };
        }
        "integer" | "unsignedInt" | "positiveInt" => text.strip_prefix('+').unwrap_or(text),
        "decimal" => text,
        _ => return Value::String(text.to_owned()),
    };
    match written.parse::<Number>() {
        // White space is taken by the parser, and is none of a number's.
        Ok(number) if !written.contains(char::is_whitespace) => Value::Number(number),
        _ => Value::String(text.to_owned()),
    }
}

/// A name as it may stand in an issue: only if it looks like one.
fn shown(name: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.len() <= 40 && name.chars().all(plain) { name } else { "?" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::xml::to_xml;

    fn read(text: &str) -> Result<Value, Vec<Issue>> {
        from_xml(text.as_bytes(), Limits::default())
    }

    fn patient(inner: &str) -> String {
        format!("<Patient xmlns=\"http://hl7.org/fhir\">{inner}</Patient>")
    }

    #[test]
    fn a_patient_is_read_as_its_json() {
        let text = patient(
            "<!-- a remark --><id value='1'/><active value='true'/>\
             <name id='n'><given value='A&#10;B'/><given><extension url='urn:x'>\
             <valueDecimal value='1.50'/></extension></given></name>\
             <multipleBirthInteger value='+2'/><birthDate id='b' value='2000'/>",
        );
        let expected = json!({
            "resourceType": "Patient", "id": "1", "active": true,
            "name": [{
                "id": "n", "given": ["A\nB", null],
                "_given": [null, { "extension": [{ "url": "urn:x", "valueDecimal": 1.5 }] }],
            }],
            "multipleBirthInteger": 2, "birthDate": "2000", "_birthDate": { "id": "b" },
        });
        let read = read(&text).expect("is read");
        let digits = &read["name"][0]["_given"][1]["extension"][0]["valueDecimal"];
        assert_eq!(digits.to_string(), "1.50");
        assert_eq!(read.to_string(), expected.to_string().replace("1.5}", "1.50}"));
    }

    #[test]
    fn resources_within_resources_are_read() {
        let text = "<Bundle xmlns='http://hl7.org/fhir'><type value='collection'/><entry><resource>\
            <Patient xmlns='http://hl7.org/fhir'><contained><Organization><id value='o'/></Organization>\
            </contained><contained><Device/></contained></Patient></resource></entry></Bundle>";
        let read = read(text).expect("is read");
        let inner = &read["entry"][0]["resource"];
        assert_eq!(inner["contained"][0], json!({ "resourceType": "Organization", "id": "o" }));
        assert_eq!(inner["contained"][1], json!({ "resourceType": "Device" }));
        assert_eq!(self::read(&to_xml(&read, true)).expect("is read"), read);
    }

    #[test]
    fn a_narrative_is_kept_with_the_namespace_it_leans_on() {
        let plain = "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &amp; b</p></div>";
        let text = patient(&format!("<text><status value='empty'/>{plain}</text>"));
        assert_eq!(read(&text).expect("is read")["text"]["div"], plain);
        let prefixed = "<Patient xmlns='http://hl7.org/fhir' xmlns:h='http://www.w3.org/1999/xhtml'>\
            <text><status value='empty'/><h:div><h:p>a &amp; b</h:p></h:div></text></Patient>";
        assert_eq!(read(prefixed).expect("is read")["text"]["div"], plain);
    }

    #[test]
    fn every_problem_is_told_by_place_and_never_by_content() {
        let text = patient(
            "<active value='true'/><active value='false'/><name><secret-name/><given/>secret</name>\
             <birthDate>secret</birthDate><link colour='secret'/><gender xmlns='urn:x' value='a'/>\
             <contained/><deceasedBoolean valeu='secret'/>",
        );
        let issues = read(&text).expect_err("is refused");
        let told: Vec<_> = issues.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "Patient.active: may be given once only",
                "Patient.name[0]: unknown element `?`",
                "Patient.name[0].given[0]: an empty element is not allowed (ele-1)",
                "Patient.name[0]: text between elements is not allowed",
                "Patient.birthDate: the value has to be an attribute, not a text",
                "Patient.birthDate: an empty element is not allowed (ele-1)",
                "Patient.link[0]: unknown attribute `colour`",
                "Patient.gender: has to be in the namespace http://hl7.org/fhir",
                "Patient.contained[0]: has to hold one resource",
                "Patient.deceased.ofType(boolean): unknown attribute `valeu`",
                "Patient.deceased.ofType(boolean): an empty element is not allowed (ele-1)",
            ]
        );
    }

    #[test]
    fn what_is_no_resource_is_refused() {
        for (text, said) in [
            ("", "not well-formed XML, line 1"),
            ("<Patient", "not well-formed XML"),
            ("<Patient/>", "Patient: has to be in the namespace"),
            ("<Human xmlns='http://hl7.org/fhir'/>", "names no FHIR R4 resource"),
            ("<HumanName xmlns='http://hl7.org/fhir'/>", "names no FHIR R4 resource"),
            ("<!DOCTYPE a><Patient xmlns='http://hl7.org/fhir'/>", "document type definition"),
            ("<?xml version='1.0' encoding='UTF-16'?><a/>", "has to be in UTF-8"),
            ("<Patient xmlns='http://hl7.org/fhir'>&secret;</Patient>", "not well-formed"),
        ] {
            let issues = read(text).expect_err(text);
            let told = issues[0].to_string();
            assert!(told.contains(said) && !told.contains("secret"), "{told}");
        }
        let issues = from_xml(b"<a>\xff</a>", Limits::default()).expect_err("no text");
        assert_eq!(issues[0].diagnostics, "not UTF-8 (xml.html#xml), byte 3");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let open = "<extension url='urn:x'>".repeat(depth);
            patient(&format!("{open}{}", "</extension>".repeat(depth)))
        };
        assert!(read(&nested(60)).is_ok());
        let told = read(&nested(70)).expect_err("too deep");
        assert_eq!(told[0].diagnostics, "nested too deeply");
        assert!(read(&nested(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[<>/a-z \"'=:&;#!\\[\\]-]{0,200}") {
            let _ = read(&text);
            let _ = read(&patient(&text));
        }
    }
}
