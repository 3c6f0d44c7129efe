//! The Merkle log: entries, checkpoints, proofs and the offline verifier.
#![forbid(unsafe_code)]

mod entry;
mod filter;

pub use entry::{Action, Actor, Entry, Event, Touch};
pub use filter::{Filter, Placed};
