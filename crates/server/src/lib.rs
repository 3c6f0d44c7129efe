//! The doors: FHIR API, intake, MLLP, sign-in, operator API and console.
//!
//! Invariants:
//! - a door reaches a record through the exchange and through nothing else: this
//!   crate has no edge to store, keeper, ledger or intake;
//! - every handler that reaches the exchange takes an authenticated caller;
//!   the routes that need none are listed in the README and tested;
//! - an error is mapped to an answer in one file, and tells nothing of a record or
//!   of our insides;
//! - no query, body, name or number of a record is logged.
#![forbid(unsafe_code)]

mod ack;
mod admission;
mod auth;
mod body;
mod caller;
mod console;
mod error;
mod fhir;
mod gzip;
mod http;
mod intake;
mod ledger;
mod mllp;
mod ops;
mod router;
mod serve;
mod state;
mod tls;

pub use caller::Peer;
pub use router::router;
pub use serve::{Bound, Doors, ServeError, base_url, serve};
pub use state::AppState;
pub use tls::{CertificateIssuer, IssuedCertificate, ServerIdentity, fingerprint};
