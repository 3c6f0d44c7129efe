//! Detectors: ledger entries in, findings out.
//!
//! Budgets stop volume; the watch sees the rest: keys asked for beyond a
//! budget, charts opened without a documented relationship, honey patients,
//! bursts of refusals. It reads the ledger and nothing else, so whatever it
//! says can be shown again from the ledger.
//!
//! Invariants:
//! - time is what the entries say; there is no clock here;
//! - one finding for a principal and detector within
//!   [`Settings::finding_window_ms`]; it grows and is handed out again only when
//!   a patient is added or it becomes graver;
//! - what the watch says is written to the ledger and comes back to it: that
//!   never makes a new finding;
//! - no value of a record reaches a finding: entries hold none.
#![forbid(unsafe_code)]

mod detectors;
mod finding;
mod recent;
mod settings;
mod watch;

pub use finding::{
    Finding, HONEY_PATIENT, KEEPER_BUDGET, NO_RELATIONSHIP, PROBING, RECONCILIATION, Response,
    Severity,
};
pub use settings::{Settings, UnrelatedLimit};
pub use watch::Watch;
