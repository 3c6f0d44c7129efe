//! What conversion takes and gives: the types that every format shares.
//!
//! References between the resources of one [`Converted`] are full URLs of that
//! conversion; the patient's is always [`PATIENT_URL`].

use std::collections::BTreeMap;

use holdfast_base::{Category, OrganizationId};
use serde_json::Value;

/// The full URL by which converted resources refer to their patient, whatever
/// the format was. A FHIR bundle's own references to its patient are rewritten.
pub const PATIENT_URL: &str = "urn:holdfast:patient";

/// How one organization's payloads are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The organization that sent the payload; stands in the identifier systems
    /// of authorities that [`authorities`](Self::authorities) does not name.
    pub organization: OrganizationId,
    /// Assigning authority (HD namespace, e.g. `MRN` or `LAKESIDE`, or its
    /// universal id) to identifier system URI. Upper-case letters and lower-case
    /// letters are the same.
    pub authorities: BTreeMap<String, String>,
    /// The assigning authority of identifiers that name none.
    pub default_authority: Option<String>,
    /// POSIX time zone (`EST5EDT,M3.2.0,M11.1.0`) of times that carry no offset
    /// and whose message header has none either. FHIR wants an offset wherever
    /// there is a time of day.
    pub time_zone: String,
}

impl Settings {
    /// Settings of an organization that told nothing about itself: no mapped
    /// authority, times in UTC.
    pub fn new(organization: OrganizationId) -> Self {
        Self {
            organization,
            authorities: BTreeMap::new(),
            default_authority: None,
            time_zone: "UTC0".to_owned(),
        }
    }

    /// The identifier system of an assigning authority of this organization:
    /// the mapped one, or `urn:holdfast:<organization>:<authority>`.
    pub fn system_of(&self, authority: &str) -> String {
        let known = self.authorities.iter().find(|(name, _)| name.eq_ignore_ascii_case(authority));
        match known {
            Some((_, system)) => system.clone(),
            None => format!("urn:holdfast:{}:{}", self.organization, urn_part(authority)),
        }
    }
}

/// `text` as part of a URN: lower case, other characters than letters, digits,
/// `.`, `_` and `-` percent-encoded (RFC 8141 section 2).
fn urn_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.trim().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => part.push(char::from(byte)),
            b'A'..=b'Z' => part.push(char::from(byte.to_ascii_lowercase())),
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    if part.is_empty() { "unnamed".to_owned() } else { part }
}

/// The outcome of converting one payload. Holds PHI: no `Serialize`, and
/// `Debug` prints counts only.
#[derive(Clone, Default)]
pub struct Converted {
    /// The Patient the payload is about, without `id`; identifiers have system,
    /// value and, where known, assigner. `None` when the payload has no patient.
    pub patient: Option<Value>,
    /// The Patient's place among the entries of a FHIR bundle, from 0.
    pub patient_entry: Option<usize>,
    /// Everything else, in the order of the payload.
    pub resources: Vec<ConvertedResource>,
    /// What the payload says about the patient record as a whole.
    pub event: PatientEvent,
    /// Whom to tell what, when the payload is an occasion to tell somebody.
    pub notice: Option<Notice>,
    /// Documents that replace, amend or cancel earlier ones.
    pub document_changes: Vec<DocumentChange>,
    /// What was not understood, corrected or left out; never silent.
    pub issues: Vec<Issue>,
    /// The sender's own number of the payload: MSH-10, ClinicalDocument.id or
    /// Bundle.identifier.
    pub control_id: Option<String>,
    /// Who says that it sent the payload.
    pub sender: Sender,
    /// What the payload was, and how its parts belong together.
    pub kind: PayloadKind,
}

impl std::fmt::Debug for Converted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converted")
            .field("kind", &self.kind)
            .field("has_patient", &self.patient.is_some())
            .field("resources_count", &self.resources.len())
            .field("issues_count", &self.issues.len())
            .finish_non_exhaustive()
    }
}

/// One converted resource. Holds PHI: `Debug` prints the type only.
#[derive(Clone)]
pub struct ConvertedResource {
    /// How other resources of this conversion refer to it: `urn:holdfast:<n>`,
    /// or the bundle entry's fullUrl.
    pub full_url: String,
    /// What names the same thing in every message of this sender, with the
    /// resource type in front (`Observation|…`). The exchange makes the id from
    /// it by HMAC, so a resend updates instead of adding. `None`: nothing stable
    /// is known, and a resend is told apart only by the whole payload.
    pub natural_key: Option<String>,
    /// How the sender asked to have it stored (FHIR bundles only).
    pub request: Option<BundleRequest>,
    /// Place among the entries of a FHIR bundle, from 0; otherwise its place
    /// among the converted resources.
    pub entry: usize,
    /// The resource. `Value::Null` for a bundle entry that has none (DELETE, GET).
    pub resource: Value,
}

impl std::fmt::Debug for ConvertedResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConvertedResource").field(&self.resource_type()).finish()
    }
}

impl ConvertedResource {
    /// The `resourceType`, or nothing for an entry without a resource.
    pub fn resource_type(&self) -> &str {
        self.resource.get("resourceType").and_then(Value::as_str).unwrap_or_default()
    }
}

/// `Bundle.entry.request` (FHIR R4 bundle.html#transaction).
#[derive(Clone, PartialEq, Eq)]
pub struct BundleRequest {
    /// `POST`, `PUT`, `DELETE`, `GET`, `HEAD` or `PATCH`.
    pub method: String,
    /// Relative URL: `Observation`, `Patient/1`, `Patient?identifier=…`. May
    /// hold PHI.
    pub url: String,
    /// `ifNoneExist`: the search that must find nothing.
    pub if_none_exist: Option<String>,
    /// `ifMatch`: the version that must be the current one.
    pub if_match: Option<String>,
    /// `ifNoneMatch`: `*`, when there must be nothing yet.
    pub if_none_match: Option<String>,
}

impl std::fmt::Debug for BundleRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BundleRequest").field(&self.method).finish()
    }
}

/// What a payload was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PayloadKind {
    /// One HL7 v2 message.
    #[default]
    Hl7v2,
    /// One C-CDA document.
    Ccda,
    /// One FHIR resource.
    Resource,
    /// A FHIR transaction: all or nothing.
    Transaction,
    /// A FHIR batch: each entry on its own.
    Batch,
    /// A FHIR collection, searchset, history or message: resources to keep.
    Collection,
    /// A FHIR document.
    Document,
}

/// What a payload says about the patient record as a whole.
#[derive(Clone, Default, PartialEq)]
pub enum PatientEvent {
    /// Nothing: the Patient identifies whom the rest is about.
    #[default]
    None,
    /// The Patient's demographics are to be taken over.
    Update,
    /// The records under the `retired` identifiers (FHIR `Identifier`, with
    /// system and value) are the same person as the Patient and merge into it.
    /// ADT A18, A34, A40 with MRG.
    Merge {
        /// Identifiers of the records that end.
        retired: Vec<Value>,
    },
}

impl std::fmt::Debug for PatientEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Update => f.write_str("Update"),
            Self::Merge { retired } => write!(f, "Merge({} retired)", retired.len()),
        }
    }
}

/// An occasion to tell somebody (42 CFR 482.24(d) for the encounter ones).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub kind: NoticeKind,
    /// Identifiers (`system|value`) of the ordering, attending, referring and
    /// primary-care providers that the payload names; NPI where it has one.
    pub recipients_hint: Vec<String>,
}

/// The kinds of [`Notice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Admitted (A01, also A06 and a visit that starts).
    Admission,
    /// Discharged (A03).
    Discharge,
    /// Moved (A02).
    Transfer,
    /// Registered: outpatient or emergency (A04).
    Registration,
    /// A result came in or was corrected.
    Result,
    /// A dictated report or document came in.
    Report,
}

impl NoticeKind {
    /// `admission`, `discharge`, `transfer`, `registration`, `result`, `report`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Discharge => "discharge",
            Self::Transfer => "transfer",
            Self::Registration => "registration",
            Self::Result => "result",
            Self::Report => "report",
        }
    }
}

/// What a document does to an earlier one.
#[derive(Clone, PartialEq, Eq)]
pub struct DocumentChange {
    /// Natural key of the converted document.
    pub document: String,
    /// Natural key of the document it concerns; the same as `document` where a
    /// document changes itself (edit, status change, cancellation).
    pub concerns: String,
    /// What happens to the earlier document.
    pub kind: DocumentChangeKind,
}

impl std::fmt::Debug for DocumentChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DocumentChange").field(&self.kind).finish()
    }
}

/// The kinds of [`DocumentChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentChangeKind {
    /// The earlier document is superseded (MDM T09, T10; relatedDocument RPLC).
    Replaces,
    /// The document adds to the earlier one (MDM T05, T06; APND).
    Appends,
    /// Its status changes, its content stays as it was (MDM T03).
    Status,
    /// Its content is edited in place (MDM T07, T08).
    Edits,
    /// It was never to be: entered in error (MDM T11).
    Cancels,
}

/// Something that was not understood, corrected or left out. Holds no value
/// of the payload: it may be logged and acknowledged to the sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// `PID-5.1`, `OBX[3]-5`, an XPath, or a FHIRPath.
    pub place: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in words that hold no value of the payload.
    pub text: String,
    /// Code of FHIR's value set issue-type, where a closer one than `processing` is known.
    pub code: &'static str,
}

impl Issue {
    /// Something was lost or doubtful.
    pub fn warning(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self::of(Severity::Warning, place.into(), text.into())
    }

    /// Nothing was lost, but somebody may want to know.
    pub fn information(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self::of(Severity::Information, place.into(), text.into())
    }

    /// A part could not be used at all.
    pub fn error(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self::of(Severity::Error, place.into(), text.into())
    }

    fn of(severity: Severity, place: String, text: String) -> Self {
        Self { place, severity, text, code: "processing" }
    }

    /// The same issue with a closer code.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }
}

/// How bad an [`Issue`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing was lost.
    Information,
    /// Something was corrected or left out.
    Warning,
    /// A part could not be used.
    Error,
}

/// Who says that it sent a payload; not proof of anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sender {
    /// MSH-3, or the authoring device.
    pub application: Option<String>,
    /// MSH-4, or the custodian.
    pub facility: Option<String>,
}

/// Why a payload is not converted at all. Holds no value of the payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The payload is no well-formed message, document or resource.
    #[error("{what} is malformed at {place}")]
    Malformed {
        /// `HL7 v2 message`, `C-CDA document`, `FHIR bundle`.
        what: &'static str,
        /// Where: a segment and field, line and column, or a path.
        place: String,
    },
    /// A part without which nothing can be stored is not there.
    #[error("required {what} is missing at {place}")]
    Missing {
        /// What is missing: `patient identifier`, `patient segment`.
        what: &'static str,
        /// Where it should be.
        place: String,
    },
    /// Well-formed, and something that Holdfast does not convert.
    #[error("{what} is not supported")]
    Unsupported {
        /// `query messages`, `character set`, `Bundle of type subscription`.
        what: &'static str,
    },
    /// The payload is about several patients where one is wanted.
    #[error("the payload is about several patients ({count})")]
    SeveralPatients {
        /// How many.
        count: usize,
    },
    /// A bound was exceeded.
    #[error("{what} exceeds the bound of {bound}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
}

impl Refusal {
    /// Whose fault it is: always the sender's, or something we do not do.
    pub fn category(&self) -> Category {
        match self {
            Self::Unsupported { .. } => Category::Unsupported,
            _ => Category::Incorrect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_one_system_whatever_its_case() {
        let mut settings = Settings::new(OrganizationId::new("lakeside").expect("a valid name"));
        assert_eq!(settings.system_of("Main MRN"), "urn:holdfast:lakeside:main%20mrn");
        settings.authorities.insert("MAIN mrn".into(), "urn:oid:1.2.3".into());
        assert_eq!(settings.system_of("Main MRN"), "urn:oid:1.2.3");
    }

    #[test]
    fn debug_of_a_conversion_prints_no_content() {
        let mut converted = Converted {
            patient: Some(serde_json::json!({"name": [{"family": "Okafor"}]})),
            ..Converted::default()
        };
        converted.event = PatientEvent::Merge { retired: vec![serde_json::json!({"value": "77"})] };
        let text = format!("{converted:?} {:?}", converted.event);
        assert!(!text.contains("Okafor") && !text.contains("77"), "{text}");
    }
}
