//! C-CDA documents to FHIR R4 resources, after HL7's C-CDA-on-FHIR guide.
//!
//! The original goes along whole as a DocumentReference, so nothing is lost;
//! what its entries say becomes resources of their own. Entries are told by
//! their templates, and by the section where a template is missing. Invariants:
//! the same document gives the same natural keys; entries that are not converted
//! are an issue; references point to [`PATIENT_URL`], to a resource of the same
//! conversion, or are logical ones.

mod allergy;
mod datatypes;
mod document;
mod encounter;
mod immunization;
mod medication;
mod narrative;
mod observation;
mod patient;
mod people;
mod problem;
mod procedure;
mod section;
mod value;
mod xml;

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::{Value, json};

use self::datatypes::Reader;
use self::narrative::Narrative;
use self::xml::{Lookup, Node, place};
use crate::converted::{
    Converted, ConvertedResource, Issue, PATIENT_URL, PatientEvent, PayloadKind, Refusal, Settings,
};
use crate::fhir_type::key_of;
use crate::json::{Object, Put};
use crate::natural_key;
use crate::time::Zone;

/// Resources that one document may become; the largest of the corpora gives
/// some hundreds.
const RESOURCES_COUNT_MAX: usize = 20_000;

/// Issues that are told of one document; more help nobody.
const ISSUES_COUNT_MAX: usize = 500;

/// SNOMED CT for any drug, any procedure, any problem.
const ANYTHING: [&str; 5] = ["410942007", "71388002", "55607006", "64572001", "404684003"];

/// Converts one C-CDA document: the patient, what the entries of its sections
/// say, and a DocumentReference that holds the original.
///
/// # Errors
/// [`Refusal`] when the bytes are no well-formed CDA document, exceed a bound,
/// name no patient with an identifier, or name several patients.
pub fn convert_ccda(bytes: &[u8], settings: &Settings) -> Result<Converted, Refusal> {
    let (text, remark) = xml::decode(bytes)?;
    let tree = xml::parse(&text)?;
    let root = tree.root_element();
    if root.tag_name().name() != "ClinicalDocument" {
        return Err(Refusal::Unsupported { what: "XML other than a ClinicalDocument" });
    }
    let at = root.child("effectiveTime").and_then(|time| time.attr("value"));
    let mut conversion = Conversion {
        root,
        reader: Reader {
            settings,
            zone: Zone::new(&settings.time_zone, at),
            narrative: Narrative::of(root),
            reversed_count: Cell::new(0),
        },
        converted: Converted {
            kind: PayloadKind::Ccda,
            event: PatientEvent::Update,
            ..Converted::default()
        },
        keys: HashMap::new(),
        people: HashMap::new(),
        statements: HashMap::new(),
        patient_key: String::new(),
        document_key: String::new(),
        label: None,
        encounter: None,
        recipients: Vec::new(),
    };
    if let Some(remark) = remark {
        conversion.issue(Issue::warning("/ClinicalDocument", remark));
    }
    conversion.header()?;
    conversion.document(bytes);
    conversion.sections()?;
    conversion.remark_on_reading();
    Ok(conversion.converted)
}

/// A conversion under way.
struct Conversion<'d> {
    root: Node<'d>,
    reader: Reader<'d>,
    converted: Converted,
    /// Natural keys that were given, and how often.
    keys: HashMap<String, usize>,
    /// Practitioners by identifier: their references.
    people: HashMap<String, Value>,
    /// Converted statements by type and identifier: the places of their
    /// resources.
    statements: HashMap<(&'static str, String), usize>,
    /// `system|value` of the patient's first identifier.
    patient_key: String,
    /// `system|value` of the document.
    document_key: String,
    /// Confidentiality of what is being read, when it is more than normal.
    label: Option<Label>,
    /// Reference to the encounter that the document is about.
    encounter: Option<Value>,
    /// Identifiers of the people whom a notice may concern.
    recipients: Vec<String>,
}

/// HL7's confidentiality codes that ask for sealing apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Restricted,
    VeryRestricted,
}

impl Label {
    fn of(code: &str) -> Option<Self> {
        match code {
            "R" => Some(Self::Restricted),
            "V" => Some(Self::VeryRestricted),
            _ => None,
        }
    }

    fn coding(self) -> Value {
        let (code, display) = match self {
            Self::Restricted => ("R", "restricted"),
            Self::VeryRestricted => ("V", "very restricted"),
        };
        crate::json::coding(
            "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
            code,
            display,
        )
    }
}

impl<'d> Conversion<'d> {
    fn issue(&mut self, issue: Issue) {
        let issues = &mut self.converted.issues;
        if issues.len() < ISSUES_COUNT_MAX {
            if !issues.contains(&issue) {
                issues.push(issue);
            }
        } else if issues.len() == ISSUES_COUNT_MAX {
            issues.push(Issue::warning("/ClinicalDocument", "more issues than are told"));
        }
    }

    /// Something of an element was lost or is doubtful.
    fn warn(&mut self, node: Node<'d>, text: impl Into<String>) {
        // Finding the place takes time; not for issues that are not told.
        if self.converted.issues.len() <= ISSUES_COUNT_MAX {
            self.issue(Issue::warning(place(node), text));
        }
    }

    fn inform(&mut self, node: Node<'d>, text: impl Into<String>) {
        if self.converted.issues.len() <= ISSUES_COUNT_MAX {
            self.issue(Issue::information(place(node), text));
        }
    }

    /// The subject: always the patient.
    fn subject() -> Value {
        json!({"reference": PATIENT_URL})
    }

    /// The number of resources is bounded before anything big is built.
    fn check_bound(&self) -> Result<(), Refusal> {
        if self.converted.resources.len() >= RESOURCES_COUNT_MAX {
            let what = "number of resources";
            return Err(Refusal::TooLarge { what, bound: RESOURCES_COUNT_MAX });
        }
        Ok(())
    }

    /// Adds a resource and gives its full URL. A key that occurs again in the
    /// same document gets the number of its occurrence.
    fn add(&mut self, mut resource: Object, key: String) -> String {
        if let Some(label) = self.label
            && !resource.contains_key("meta")
            && resource.get("resourceType") != Some(&json!("Practitioner"))
        {
            // After the type, where readers expect it.
            let rest = std::mem::take(&mut resource);
            for (name, value) in rest {
                let is_type = name == "resourceType";
                resource.insert(name, value);
                if is_type {
                    resource.put("meta", json!({"security": [label.coding()]}));
                }
            }
        }
        let count = self.keys.entry(key.clone()).or_insert(0);
        *count += 1;
        let key = if *count == 1 { key } else { format!("{key}|#{count}") };
        let entry = self.converted.resources.len();
        let full_url = format!("urn:holdfast:{}", entry + 1);
        self.converted.resources.push(ConvertedResource {
            full_url: full_url.clone(),
            natural_key: Some(key),
            request: None,
            entry,
            resource: Value::Object(resource),
        });
        full_url
    }

    /// Adds what a statement became. Its key is its identifier (`also`: what
    /// tells apart statements that share one), or what it says (`content`)
    /// within this document. A statement that the document repeats, word for
    /// word, is one resource.
    fn add_statement(
        &mut self,
        kind: &'static str,
        resource: Object,
        also: &str,
        content: &[&str],
    ) -> String {
        let identifiers = resource.get("identifier").and_then(Value::as_array);
        let first = identifiers.and_then(|identifiers| identifiers.first()).map(key_of);
        let patient = self.patient_key.clone();
        let Some(first) = first else {
            let document = self.document_key.clone();
            let mut parts = vec![patient.as_str(), "in", document.as_str()];
            parts.extend_from_slice(content);
            return self.add(resource, natural_key(kind, &parts));
        };
        let known = self.statements.get(&(kind, format!("{first}|{also}"))).copied();
        if let Some(known) = known.and_then(|place| self.converted.resources.get(place))
            && known.resource.get("meta").is_some() == self.label.is_some()
            && known.resource.as_object().is_some_and(|known| says_the_same(known, &resource))
        {
            return known.full_url.clone();
        }
        let mut parts = vec![patient.as_str(), first.as_str()];
        if !also.is_empty() {
            parts.push(also);
        }
        // Senders number different things alike: then what it says counts too.
        if known.is_some() {
            parts.extend_from_slice(content);
        }
        let key = natural_key(kind, &parts);
        let place = self.converted.resources.len();
        let url = self.add(resource, key);
        self.statements.entry((kind, format!("{first}|{also}"))).or_insert(place);
        url
    }

    /// The place of what a statement became that others refer to by identifier.
    fn place_of(&self, kind: &'static str, node: Node<'d>) -> Option<usize> {
        let mut identifiers = self.reader.identifiers(node).into_iter();
        identifiers.find_map(|identifier| {
            self.statements.get(&(kind, format!("{}|", key_of(&identifier)))).copied()
        })
    }

    /// The URL of what a statement became that others refer to by identifier.
    fn statement(&self, kind: &'static str, node: Node<'d>) -> Option<String> {
        let place = self.place_of(kind, node)?;
        Some(self.converted.resources.get(place)?.full_url.clone())
    }

    /// What is negated altogether ("no medications") is no fact about a thing:
    /// a resource of it would read as its opposite.
    fn is_nothing(&mut self, node: Node<'d>, code: &Value) -> bool {
        let codings = code.get("coding").and_then(Value::as_array).into_iter().flatten();
        let mut codes = codings.filter_map(|coding| coding.get("code")?.as_str());
        let is_specific = codes.any(|code| !ANYTHING.contains(&code));
        let is_nothing = node.is_negated() && !is_specific;
        if is_nothing {
            self.inform(node, "that there is none of these is kept in the original only");
        }
        is_nothing
    }

    fn remark_on_reading(&mut self) {
        if self.reader.reversed_count.get() > 0 {
            let text = "a period that ends before it begins lost its end";
            self.issue(Issue::warning("/ClinicalDocument", text));
        }
        if self.reader.narrative.is_exhausted() {
            let text = "entries refer to more text than is looked up";
            self.issue(Issue::warning("/ClinicalDocument", text));
        }
    }
}

/// Whether two resources say the same, their labels aside.
fn says_the_same(one: &Object, other: &Object) -> bool {
    let rest = |object: &Object| {
        let mut object = object.clone();
        object.shift_remove("meta");
        object
    };
    rest(one) == rest(other)
}

/// Code or text of a concept, for natural keys.
fn concept_key(concept: Option<&Value>) -> String {
    let first = concept.and_then(|concept| concept.get("coding")).and_then(|list| list.get(0));
    let text = |value: Option<&Value>, name: &str| {
        value
            .and_then(|value| value.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match first {
        Some(coding) => format!("{}^{}", text(Some(coding), "code"), text(Some(coding), "system")),
        None => text(concept, "text").to_lowercase(),
    }
}

/// The time that a resource says of itself, for natural keys.
fn time_key(resource: &Object, names: &[&str]) -> String {
    let value = names.iter().find_map(|name| resource.get(*name));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => {
            let end = |name: &str| other.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{}/{}", end("start"), end("end"))
        }
        None => String::new(),
    }
}
