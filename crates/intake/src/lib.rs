//! HL7 v2, C-CDA and FHIR bytes to FHIR R4 resources and issues.
//!
//! Invariants: no I/O, no clock, no key, no patient matching. Reading never
//! panics and never gives up on a message because one field is odd: what could
//! not be used is an [`Issue`]. Nothing here prints a value of a payload.
#![forbid(unsafe_code)]

mod converted;
pub mod hl7v2;
pub mod mllp;

pub use converted::{
    BundleRequest, Converted, ConvertedResource, DocumentChange, DocumentChangeKind, Issue, Notice,
    NoticeKind, PATIENT_URL, PatientEvent, PayloadKind, Refusal, Sender, Settings, Severity,
};
