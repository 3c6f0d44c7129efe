//! Code systems, value sets and concept maps (FHIR R4 terminology-service.html), pure:
//! what is asked is answered from the resources that are at hand, the core package's
//! among them, and what nobody has at hand is said to be so, never guessed.

mod evaluate;
mod library;
mod translate;

pub use evaluate::{EXPANSION_MAX, Member};
pub use library::{CodeSystem, Concept, Library, core};
pub use translate::{Translation, Wanted, translate};

use serde_json::Value;

/// Several libraries seen as one: the first that has a resource tells.
#[derive(Debug, Clone, Copy)]
pub struct Terminology<'a>(pub &'a [&'a Library]);

/// A canonical URL without its version.
pub fn bare(url: &str) -> &str {
    url.split('|').next().unwrap_or(url)
}

impl<'a> Terminology<'a> {
    /// The code system of this URL.
    pub fn system(&self, url: &str) -> Option<&'a CodeSystem> {
        self.0.iter().find_map(|library| library.system(bare(url)))
    }

    /// The value set of this URL.
    pub fn value_set(&self, url: &str) -> Option<&'a Value> {
        self.0.iter().find_map(|library| library.value_set(bare(url)))
    }

    /// Whether a code is in the value set `url`, for `:in`, `:not-in` and `memberOf`;
    /// without a system, in whatever system. `None` when that cannot be told.
    pub fn contains(&self, url: &str, system: Option<&str>, code: &str) -> Option<bool> {
        self.contains_in(self.value_set(url)?, system, code)
    }

    /// Whether `ancestor` is `code` or above it, for `:below` and `:above`; `None` when
    /// the code system or one of the codes is not at hand.
    pub fn subsumes(&self, system: &str, ancestor: &str, code: &str) -> Option<bool> {
        let known = self.system(system)?;
        known.is_below(known.place(code)?, known.place(ancestor)?).into()
    }
}
