//! From the ledger to the letter: whom somebody touched ([`scope`]), which law
//! wants whom told by when ([`duties`]), and the drafts ([`draft`]): packages
//! for each client, print-ready letters for individuals, deadlines.
//!
//! Invariants:
//! - Pure: bytes and values in, bytes and values out. No file, no network, no
//!   clock; the date on a letter is an argument.
//! - A scope follows from ledger entries alone, and names persons only by
//!   random identifiers.
//! - Only what a person's own classes say is listed in that person's letter.
//! - What the law data is not certain of shows as needing counsel's review.
//! - Nothing here sends anything or claims that it was sent: all output is draft.
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as holdfast_respond;

#[cfg(test)]
#[allow(dead_code, reason = "shared with the specimens and other tests")]
#[path = "../examples/specimens/community.rs"]
mod community;

mod calendar;
mod csv_out;
mod document;
mod draft;
mod duties;
mod incident;
mod law;
mod organization;
mod pdf;
mod render;
mod scope;

pub use calendar::{DayUnit, add_days, after_year_end, day_of};
pub use draft::{DraftError, OutputFile, draft};
pub use duties::{Duty, duties, duties_for};
pub use incident::{FrozenScope, Incident, IncidentFinding, Status};
pub use law::{Certainty, InvalidLaw, Law, NEEDS_REVIEW, Who};
pub use organization::{
    Addressee, AffectedPerson, Contact, Letterhead, License, Monitoring, Organization,
};
pub use pdf::PdfError;
pub use scope::{Count, RESIDENCE_UNKNOWN, Scope, ScopeQuery, ScopeRow, Totals, scope, scope_of};
