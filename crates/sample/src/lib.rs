//! A believable, fictitious community and its message stream, from a seed.
//!
//! Invariants: pure (no I/O, no clock, no randomness but the seed); the same
//! [`Options`] give the same bytes on every machine; no value can belong to a
//! real person (telephone numbers are 555 numbers, social security numbers
//! stand in a range that is never issued, provider numbers start with a digit
//! that has not been used, object identifiers stand under the example arc).
#![forbid(unsafe_code)]

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;

mod bundle;
mod ccda;
mod charts;
pub mod check;
mod clinical;
mod community;
mod dice;
mod facts;
mod fault;
mod hl7;
mod labs;
mod life;
mod messages;
mod person;
mod pools;
mod registration;
mod report;
mod stream;

pub use charts::charts;
pub use community::{
    CEDAR, Channel, Community, EMPLOYER, HOSPITAL, Interface, Kind, LABORATORY, LAKESIDE, Member,
    NEUROLOGY, Organization, StaffRole, TRANSCRIPTION, community,
};
pub use facts::{Fact, FactKind};
pub use registration::Variation;
pub use stream::{Item, Options, Stream, TruthRow, files, generate, stream};
