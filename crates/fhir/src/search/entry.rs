//! What the index keeps of a resource, and its compact row.

use serde::{Deserialize, Serialize};

use super::decimal::Decimal;
use super::span::Span;
use crate::definitions;
use crate::type_code::{type_code, type_name};

/// One value under one search parameter.
#[derive(Clone, PartialEq)]
pub struct IndexEntry {
    /// Name of the parameter.
    pub param: &'static str,
    /// The value.
    pub value: IndexValue,
}

impl std::fmt::Debug for IndexEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IndexEntry({}, [phi])", self.param)
    }
}

/// A value in the form that its kind of search compares.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub enum IndexValue {
    /// A code, identifier, contact point or boolean; `code` in lower case.
    Token {
        /// Code system or identifier namespace.
        system: Option<String>,
        /// The code or value.
        code: String,
    },
    /// Human text beside a token, normalised; only `:text` looks at it.
    TokenText(String),
    /// A text.
    String {
        /// Normalised.
        folded: String,
        /// As written, when that differs.
        exact: Option<String>,
    },
    /// A date, date and time, or period.
    Date(Span),
    /// A number.
    Number(Decimal),
    /// A quantity, or a range of them.
    Quantity {
        /// The lowest value; `None` is unbounded.
        low: Option<Decimal>,
        /// The highest value; `None` is unbounded.
        high: Option<Decimal>,
        /// Whether the bounds themselves are excluded (`<` and `>` of a comparator).
        open: bool,
        /// System of the unit.
        system: Option<String>,
        /// Coded unit.
        code: Option<String>,
        /// Unit as people read it, when it differs from the code.
        unit: Option<String>,
    },
    /// A reference to a resource of a known type.
    Reference {
        /// [`type_code`] of the target.
        target: u16,
        /// Its id.
        id: String,
        /// Base URL, when the reference is absolute.
        base: Option<String>,
    },
    /// A reference by URN or by a URL that names no resource.
    ReferenceUrl(String),
    /// The identifier of a logical reference; only `:identifier` looks at it.
    ReferenceIdentifier {
        /// Namespace.
        system: Option<String>,
        /// Value in lower case.
        value: String,
    },
    /// A URI, as written.
    Uri(String),
}

impl IndexValue {
    /// A reference to `Type/id`; `None` when there is no such type.
    pub fn reference(resource_type: &str, id: &str) -> Option<Self> {
        let target = type_code(resource_type)?;
        Some(Self::Reference { target, id: id.to_owned(), base: None })
    }

    /// For a reference, the type of its target.
    pub fn reference_type(&self) -> Option<&'static str> {
        match self {
            Self::Reference { target, .. } => type_name(*target),
            _ => None,
        }
    }
}

impl std::fmt::Debug for IndexValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[phi]")
    }
}

/// A row that [`encode`] did not write, or a version that this build does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an index row of version {ROW_VERSION}")]
pub struct DecodeError;

impl DecodeError {
    /// The fault category.
    pub fn category(&self) -> holdfast_base::Category {
        holdfast_base::Category::Fault
    }
}

const ROW_VERSION: u8 = 1;

#[derive(Serialize)]
struct GroupOut<'a>(&'a str, Vec<&'a IndexValue>);

#[derive(Deserialize)]
struct GroupIn<'a>(&'a str, Vec<IndexValue>);

/// The entries as one compact row: version byte, then postcard of the values by
/// parameter. The order of the values of a parameter is kept.
pub fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    let mut groups: Vec<GroupOut<'_>> = Vec::new();
    for entry in entries {
        match groups.iter_mut().find(|group| group.0 == entry.param) {
            Some(group) => group.1.push(&entry.value),
            None => groups.push(GroupOut(entry.param, vec![&entry.value])),
        }
    }
    // Postcard fails only for types that cannot be written, which these are not.
    postcard::to_extend(&groups, vec![ROW_VERSION]).unwrap_or_default()
}

/// The entries of a row.
///
/// # Errors
/// [`DecodeError`] when the row is not one of ours.
pub fn decode(row: &[u8]) -> Result<Vec<IndexEntry>, DecodeError> {
    let body = row.strip_prefix(&[ROW_VERSION]).ok_or(DecodeError)?;
    let groups: Vec<GroupIn<'_>> = postcard::from_bytes(body).map_err(|_| DecodeError)?;
    let mut entries = Vec::new();
    for GroupIn(name, values) in groups {
        // A parameter that this build's definitions lack cannot be asked for.
        let Some(param) = definitions().parameter_name(name) else { continue };
        let entry = |value| IndexEntry { param, value };
        entries.extend(values.into_iter().map(entry));
    }
    Ok(entries)
}
