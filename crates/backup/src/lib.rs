//! Backups of a running exchange, and the way back from them. See the README for
//! invariants and layout.
#![forbid(unsafe_code)]

mod error;
mod manifest;
mod restore;
mod source;
mod target;
mod write;

pub use error::BackupError;
pub use manifest::{Manifest, Part, Run};
pub use restore::{Missing, Moment, Plan};
pub use source::{Source, Verified, wrapped_key};
pub use target::Target;
pub use write::{Report, back_up};
