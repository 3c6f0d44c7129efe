//! Search over index entries (FHIR R4 search.html).
//!
//! [`index`] turns a resource into entries, once, when it is written;
//! [`parse_query`] turns parameters into a [`Query`], which then looks at
//! entries only: no resource is opened to answer whether it matches.
//!
//! Three kinds of conditions need more than the entries of one resource. What
//! other resources say (chains, `_has`, `_list`) stands as [`Link`]s in a query, for
//! whoever keeps the resources to follow. What only the resource itself says
//! (`_text`, `_content`, `:of-type`, combinations within a component, `near`) is
//! answered by [`Query::matches_document`]. Value sets and hierarchies of codes are
//! asked from [`Terms`].
//!
//! Not supported, and always said so: `_query`, phonetic parameters, `:above` and
//! `:below` along hierarchies of resources.

mod composite;
mod decimal;
mod document;
mod entry;
mod filter;
mod include;
mod index;
mod link;
mod lookup;
mod matching;
mod measure;
mod narrowing;
mod normal;
mod parse;
mod postings;
mod present;
mod query;
mod span;
mod terms;
mod value;

pub use decimal::Decimal;
pub use entry::{DecodeError, IndexEntry, IndexValue, decode, encode};
pub use include::Include;
pub use index::index;
pub use link::Link;
pub use lookup::lookup_labels;
pub use normal::normalise;
pub(crate) use parse::is_searchable;
pub use parse::{SearchContext, parse_query, parse_query_in};
pub use postings::{PopulationCondition, PostingCheck, PostingRange, postings};
pub use query::{Contained, Handling, Query, Row, Summary, Total};
pub use span::Span;
pub(crate) use span::{Precision, parse_time};
pub use terms::{PublishedTerms, SystemCode, Terms};
