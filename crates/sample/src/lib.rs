//! A believable, fictitious community and its message stream, from a seed.
//!
//! Invariants: pure (no I/O, no clock, no randomness but the seed); the same
//! [`Options`] give the same bytes on every machine; no value can belong to a
//! real person (telephone numbers are 555 numbers, social security numbers
//! stand in a range that is never issued, addresses are made up).
#![forbid(unsafe_code)]

pub mod check;
mod community;

pub use community::{
    CEDAR, Channel, Community, EMPLOYER, HOSPITAL, Interface, Kind, LABORATORY, LAKESIDE, Member,
    NEUROLOGY, Organization, StaffRole, TRANSCRIPTION, community,
};
