//! Search over index entries (FHIR R4 search.html).
//!
//! [`index`] turns a resource into entries, once, when it is written;
//! [`parse_query`] turns parameters into a [`Query`], which then looks at
//! entries only: no resource is opened to answer whether it matches.
//!
//! Not supported, and always said so: chaining, `_has`, `_include`,
//! `_revinclude`, `_filter`, `_query`, `_list`, `_content`, `_text`, the modifiers
//! `:in :not-in :below :above :of-type`, composite, special and phonetic
//! parameters.

mod decimal;
mod entry;
mod index;
mod lookup;
mod matching;
mod narrowing;
mod normal;
mod parse;
mod postings;
mod present;
mod query;
mod span;

pub use decimal::Decimal;
pub use entry::{DecodeError, IndexEntry, IndexValue, decode, encode};
pub use index::index;
pub(crate) use index::is_supported;
pub use lookup::lookup_labels;
pub use normal::normalise;
pub use parse::parse_query;
pub use postings::{PopulationCondition, PostingCheck, PostingRange, postings};
pub use query::{Handling, Query, Row, Summary, Total};
pub use span::Span;
pub(crate) use span::{Precision, parse_time};
