//! Who may open what: actor, purpose, relationship, consent and place in; a
//! [`Permit`] or a [`Refusal`] with its reason out.
//!
//! The rules are one table ([`rules`]) that reads top to bottom; [`decide`]
//! does nothing but look a question up in it. What no rule names is refused.
//!
//! Invariants:
//! - only this crate can make a [`Permit`] or a [`Grant`]: their fields are
//!   private and they cannot be deserialised;
//! - a permit names at least one element class, never one that was not asked
//!   for, and is bound to a principal, a keeping organization and an act;
//! - at most one rule answers a question, so the reason is never ambiguous;
//! - no I/O, no clock, no state.
#![forbid(unsafe_code)]

mod decide;
mod permit;
mod question;
mod refusal;
mod role;
pub mod rules;
mod task;

pub use decide::{Decision, decide};
pub use permit::Permit;
pub use question::{Act, Consent, Module, Question, Relationship};
pub use refusal::Refusal;
pub use role::{Principal, Role};
pub use task::{Grant, Task, decide_task};
