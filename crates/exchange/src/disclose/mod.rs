//! The way out: who are you → what for → permit → pinned snapshot → key release
//! (ledger durable) → open → redact to the permit → access detail in the ledger →
//! bytes.
//!
//! Invariants: no key without a permit; no bytes without the access entry that
//! names them, durable; what may not be seen and what is not there answer alike.

mod chart;
mod chosen;
mod cross_reference;
mod everything;
mod follow;
mod history;
mod include;
mod matches;
mod open;
mod own;
mod plan;
mod population;
mod read;
mod rows;
mod search;
mod searching;
mod ways;

pub use chart::{Chart, ChartRecord, Look};
pub use chosen::Gathered;
pub(crate) use cross_reference::domain_labels;
pub use cross_reference::{CrossReference, CrossReferenced};
pub use everything::{EVERYTHING_PAGE_MAX, Everything, EverythingAsked};
pub use history::{History, Version};
pub use matches::{MATCHES_MAX, MatchGrade, PatientMatch, PatientMatches};
pub(crate) use open::OpenRow;
pub(crate) use own::{compartment_of_nobody, is_about_no_patient, is_directory_type, nobodys};
pub use read::Disclosed;
pub(crate) use read::Opened;
pub(crate) use rows::OpenRows;
pub(crate) use search::{PAGE_DEFAULT, page_size};
pub use search::{Page, SearchScope};
