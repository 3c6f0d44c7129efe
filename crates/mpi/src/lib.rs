//! Master patient index: which records stand for the same person.
//!
//! Matching works over [`Features`]: keyed tokens and bucketed similarities of
//! a patient's demographics, so a matcher opens nobody's record. A pair of
//! features is compared field by field; each field's level has a weight in bits
//! (Fellegi and Sunter 1969), learned by EM; the sum decides, and every decision
//! explains itself as the list of its weights.
//!
//! Invariants:
//! - no readable value is kept in features, keys, decisions or errors;
//! - surname, home, phone and area are *one* comparison: a household is evidence
//!   for the household once, not four times;
//! - a false merge is worse than a missed one: who differs in given name, birth
//!   date or generation is never linked without a person's review
//!   ([`compare`] says which guard held);
//! - pure: no I/O, no clock, no randomness; the same input, the same answer.
#![forbid(unsafe_code)]

mod blocking;
mod compare;
mod extract;
mod features;
mod fields;
mod index;
mod names;
mod normalise;
mod train;
mod weights;

pub use blocking::blocking_keys;
pub use compare::{Band, Decision, compare};
pub use extract::features;
pub use features::{Address, BirthDate, Features, Identifier, Name, Ssn, Token, Tokens};
pub use fields::{FIELDS, Field, Pattern, pattern};
pub use index::{Index, PatientRef, Placement, place};
pub use train::{TrainingReport, train};
pub use weights::{FieldWeights, LevelWeight, Weights, WeightsError};

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
