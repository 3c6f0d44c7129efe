//! Patches of a resource: JSON Patch (RFC 6902) and FHIRPath Patch (FHIR R4
//! fhirpatch.html). Pure: a resource and a patch in, another resource out.
//!
//! Invariants: all of a patch or nothing; no error holds a value; work and growth are
//! bounded.

mod json;
mod path;
mod place;

use holdfast_base::Category;

pub use json::json_patch;
pub use path::fhirpath_patch;

/// Operations of one patch.
const OPERATIONS_MAX: usize = 10_000;

/// A patch that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} {text}")]
pub struct PatchError {
    /// The place in the patch: `[2].path`, `Parameters.parameter[0]`.
    pub place: String,
    /// What is wrong with it.
    pub text: &'static str,
}

impl PatchError {
    fn new(place: impl Into<String>, text: &'static str) -> Self {
        Self { place: place.into(), text }
    }

    /// The fault category.
    pub fn category(&self) -> Category {
        Category::Incorrect
    }
}
