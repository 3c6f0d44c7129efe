//! What every room of Holdfast shares: identifiers, time, sensitive values,
//! element classes, purposes of use and the one vocabulary of faults.
//!
//! Invariants: no I/O (randomness from the operating system and [`disk`] excepted), no
//! clock (time is an argument; [`Clock`] is implemented in the wiring), and no
//! type here prints a value that could identify a person unless its name says
//! so.
#![forbid(unsafe_code)]

mod class;
pub mod disk;
mod fault;
mod id;
mod purpose;
mod sensitive;
mod time;

pub use class::{ClassSet, ElementClass};
pub use fault::Category;
pub use id::{
    CommitNumber, IncidentId, InvalidId, LedgerIndex, MessageId, OrganizationId, PatientId,
    PersonId, PrincipalId, RequestId, SessionId,
};
pub use purpose::Purpose;
pub use sensitive::{LogSafe, Sensitive};
pub use time::{Clock, InvalidTime, ManualClock, Timestamp};

/// Fills `buffer` from the operating system's random source.
///
/// # Panics
/// When the operating system cannot give randomness: nothing that Holdfast does
/// is safe without it, so there is no answer to give.
pub fn fill_random(buffer: &mut [u8]) {
    getrandom::fill(buffer).expect("the operating system gives random bytes");
}
