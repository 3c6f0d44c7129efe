//! HL7 v2 messages in vertical-bar encoding (HL7 v2.8.2 chapter 2, sections 2.5
//! to 2.7): reading, splitting of batches, and acknowledgements.
//!
//! Invariants: reading never copies more than it must and never changes a byte
//! ([`Message::render`] gives back what was read); a stray escape, an unknown
//! segment or a text line between segments is not an error; only a message
//! without a usable header is.

mod ack;
mod charset;
mod escape;
mod message;
mod part;
mod split;

pub use ack::{AckCode, Problem, ProblemSeverity, acknowledge};
pub use charset::Charset;
pub(crate) use charset::without_utf16;
pub use message::{Delimiters, Message, ParseError, Segment, parse};
pub use part::Part;
pub use split::split;
