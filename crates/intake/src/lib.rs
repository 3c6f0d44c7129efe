#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod ccda;
mod converted;
mod detect;
mod fhir_bundle;
mod fhir_type;
pub mod hl7v2;
mod json;
pub mod mllp;
pub mod pan;
mod time;
mod v2;
mod vocabulary;

pub use ccda::convert_ccda;
pub use converted::{
    BundleRequest, Converted, ConvertedResource, DocumentChange, DocumentChangeKind, Issue, Notice,
    NoticeKind, PATIENT_URL, PatientEvent, PayloadKind, Refusal, Sender, Settings, Severity,
};
pub use detect::{Format, detect};
pub use fhir_bundle::convert_fhir;
pub use time::is_time_zone;
pub use v2::convert_hl7v2;

/// A natural key: resource type and parts, parted by `|`; the same parts always
/// give the same key, different parts never do.
fn natural_key(resource_type: &str, parts: &[&str]) -> String {
    let mut key = resource_type.to_owned();
    for part in parts {
        key.push('|');
        key.push_str(&part.trim().replace('\\', "\\\\").replace('|', "\\|"));
    }
    key
}
