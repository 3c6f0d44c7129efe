//! The doors: FHIR API, MLLP, sign-in, operator API and console.
#![forbid(unsafe_code)]

mod caller;
mod console;
mod error;
mod fhir;
mod state;

pub use caller::Peer;
pub use state::AppState;
