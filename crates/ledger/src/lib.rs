//! The Merkle log: entries, checkpoints, proofs and the offline verifier.
//!
//! Invariants: an append is durable before it returns; nothing is ever changed
//! or removed; a leaf says nothing about its entry; tiles and checkpoint follow
//! from the entries and never lead them; opening refuses a ledger of which
//! anything acknowledged is missing or changed; [`verify`] uses no key but public
//! ones and nothing of the part that writes. There is no cipher here (the keeper
//! brings one) and no clock.
#![forbid(unsafe_code)]

mod bodies;
mod bundle;
mod entry;
mod error;
mod filter;
mod index;
mod kept;
mod layout;
mod leaf;
mod ledger;
mod medium;
mod note;
mod proof;
mod published;
#[cfg(test)]
mod testing;
mod tree;
pub mod verify;
pub mod witness;

pub use bundle::{ExportOptions, in_words};
pub use entry::{Action, Actor, Entry, Event, Touch, told_by_name};
pub use error::{AppendError, BodyUnreadable, Damage, ExportError, OpenError, ReadError};
pub use filter::{Filter, Placed};
pub use index::TouchedRecord;
pub use ledger::{BodySealer, ENTRY_BYTES_MAX, IndexPlace, Ledger, LedgerCopy, LedgerKeys};
pub use note::{Checkpoint, CheckpointSigner, Cosigner, NoteError, VerifierKey};
pub use published::{CosignError, Proof, read_public, stated};
pub use tree::Hash;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
