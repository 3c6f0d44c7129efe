//! HL7 v2 messages to FHIR R4 resources, after HL7's v2-to-FHIR guide.
//!
//! Where the guide leaves a code open or would change what a message means, our
//! rows in `data/own.tsv` say so. Invariants: no segment is dropped in silence;
//! the same message gives the same natural keys; every reference points to
//! [`PATIENT_URL`], to a resource of the same conversion, or is a logical one.

mod datatypes;
mod document;
mod event;
mod group;
mod immunization;
mod observation;
mod order;
mod patient;
mod practitioner;
mod problem;
mod related;
mod specimen;
mod value;
mod visit;

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::{Value, json};

use self::datatypes::Reader;
use self::event::Event;
use self::group::Groups;
use crate::converted::{
    Converted, ConvertedResource, Issue, PATIENT_URL, PayloadKind, Refusal, Sender, Settings,
};
use crate::hl7v2::{Message, Segment};
use crate::json::Object;
use crate::natural_key;
use crate::time::Zone;

/// Resources that one message may become. A 112 kB case report gives some
/// hundreds.
const RESOURCES_COUNT_MAX: usize = 20_000;

/// Issues that are told of one message; more help nobody.
const ISSUES_COUNT_MAX: usize = 500;

/// Segments that are read, or that say nothing that is to be kept.
const READ_SEGMENTS: [&str; 30] = [
    "MSH", "EVN", "PID", "PD1", "MRG", "NK1", "PV1", "PV2", "ORC", "OBR", "OBX", "NTE", "SPM",
    "RXA", "RXR", "TXA", "AL1", "IAM", "DG1", "PR1", "PRB", "FHS", "BHS", "BTS", "FTS", "SFT",
    "DSC", "UAC", "MSA", "ERR",
];

/// Converts one message.
///
/// # Errors
/// [`Refusal`] when the message has no patient with an identifier, is about
/// several patients, or is of a kind without a patient (acknowledgements,
/// queries, master files).
pub fn convert_hl7v2(message: &Message<'_>, settings: &Settings) -> Result<Converted, Refusal> {
    let event = Event::of(message)?;
    let message_time = message.header(7).component(1).value();
    let zone = Zone::new(&settings.time_zone, message_time.as_deref());
    let mut conversion = Conversion {
        message,
        reader: Reader { settings, zone, reversed_count: Cell::new(0) },
        event,
        converted: Converted {
            kind: PayloadKind::Hl7v2,
            control_id: message.control_id(),
            sender: Sender {
                application: message.sending_application(),
                facility: message.sending_facility(),
            },
            ..Converted::default()
        },
        keys: HashMap::new(),
        people: HashMap::new(),
        patient_key: String::new(),
        encounter: None,
        visit_key: None,
        recipients: Vec::new(),
    };
    conversion.remark_on_reading();
    conversion.patient()?;
    conversion.visit();
    let groups = Groups::of(message);
    conversion.related_persons();
    conversion.problems();
    conversion.documents(&groups);
    for order in &groups.orders {
        conversion.order(order)?;
    }
    conversion.loose_findings(&groups)?;
    conversion.notice();
    conversion.remark_on_segments(&groups);
    Ok(conversion.converted)
}

/// A conversion under way.
struct Conversion<'m> {
    message: &'m Message<'m>,
    reader: Reader<'m>,
    event: Event,
    converted: Converted,
    /// Natural keys that were given, and how often.
    keys: HashMap<String, usize>,
    /// Practitioners by identifier or name: their references.
    people: HashMap<String, Value>,
    /// `system|value` of the patient's first identifier.
    patient_key: String,
    /// Reference to the visit, from the other resources.
    encounter: Option<Value>,
    /// Number of the visit, for natural keys.
    visit_key: Option<String>,
    /// Identifiers of the providers whom a notice may concern.
    recipients: Vec<String>,
}

impl Conversion<'_> {
    fn issue(&mut self, issue: Issue) {
        let issues = &mut self.converted.issues;
        if issues.len() < ISSUES_COUNT_MAX {
            if !issues.contains(&issue) {
                issues.push(issue);
            }
        } else if issues.len() == ISSUES_COUNT_MAX {
            issues.push(Issue::warning("MSH", "more issues than are told"));
        }
    }

    /// `PID-5`, `OBX[3]-5`.
    fn place(segment: &Segment<'_>, field: usize) -> String {
        let sequence = segment.sequence();
        let name = segment.name();
        let number = if sequence > 1 { format!("[{sequence}]") } else { String::new() };
        if field == 0 { format!("{name}{number}") } else { format!("{name}{number}-{field}") }
    }

    /// Adds a resource and gives its full URL. A key that occurs again in the
    /// same message gets the number of its occurrence.
    fn add(&mut self, resource: Object, key: Option<String>) -> String {
        let key = key.map(|key| {
            let count = self.keys.entry(key.clone()).or_insert(0);
            *count += 1;
            if *count == 1 { key } else { format!("{key}|#{count}") }
        });
        let entry = self.converted.resources.len();
        let full_url = format!("urn:holdfast:{}", entry + 1);
        self.converted.resources.push(ConvertedResource {
            full_url: full_url.clone(),
            natural_key: key,
            request: None,
            entry,
            resource: Value::Object(resource),
        });
        full_url
    }

    /// The number of resources is bounded before anything big is built.
    fn check_bound(&self) -> Result<(), Refusal> {
        if self.converted.resources.len() >= RESOURCES_COUNT_MAX {
            return Err(Refusal::TooLarge {
                what: "number of resources",
                bound: RESOURCES_COUNT_MAX,
            });
        }
        Ok(())
    }

    /// A resource that was added, to complete it.
    fn added(&mut self, full_url: &str) -> Option<&mut Object> {
        let found = self.converted.resources.iter_mut().find(|added| added.full_url == full_url);
        found.and_then(|added| added.resource.as_object_mut())
    }

    /// A natural key of something of this patient.
    fn patient_bound_key(&self, resource_type: &str, parts: &[&str]) -> String {
        let mut all = vec![self.patient_key.as_str()];
        all.extend_from_slice(parts);
        natural_key(resource_type, &all)
    }

    /// The subject: always the patient.
    fn subject() -> Value {
        json!({"reference": PATIENT_URL})
    }

    fn remark_on_reading(&mut self) {
        if let Some(remark) = self.message.charset_remark() {
            self.issue(Issue::information("MSH-18", remark));
        }
        let continued: Vec<String> = self
            .message
            .segments()
            .filter(Segment::is_continued)
            .map(|segment| Self::place(&segment, 0))
            .collect();
        for place in continued {
            self.issue(Issue::information(
                place,
                "lines that are no segment were read as its text",
            ));
        }
    }

    /// Names what was kept only in the original.
    fn remark_on_segments(&mut self, groups: &Groups<'_>) {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for segment in self.message.segments() {
            let name = segment.name();
            if READ_SEGMENTS.contains(&name) {
                continue;
            }
            match counts.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name.to_owned(), 1)),
            }
        }
        for (name, count) in counts {
            let text = format!("segment is kept in the original and not converted ({count})");
            self.issue(Issue::information(name, text));
        }
        if self.reader.reversed_count.get() > 0 {
            let text = "a period that ends before it begins lost its end";
            self.issue(Issue::warning("MSH", text));
        }
        if !groups.notes.is_empty() {
            self.issue(Issue::information(
                "NTE",
                "notes that belong to no order or result are not converted",
            ));
        }
    }
}
