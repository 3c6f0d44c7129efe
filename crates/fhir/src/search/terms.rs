//! What a search asks of terminologies: the members of value sets, and what stands
//! above and below a code (search.html#token). Whoever has loaded code systems
//! answers; without them, the value sets that R4 binds its own codes to are known.

use crate::definitions;

/// A system and a code of it.
pub type SystemCode = (String, String);

/// Answers questions about terminologies.
pub trait Terms: Send + Sync {
    /// The codes of a value set, by its canonical URL (with or without a version).
    /// `None` when the set is not known or cannot be listed.
    fn members(&self, value_set: &str) -> Option<Vec<SystemCode>>;

    /// A code and everything that it subsumes; `None` when the system is not known.
    fn below(&self, system: &str, code: &str) -> Option<Vec<SystemCode>>;

    /// A code and everything that subsumes it; `None` when the system is not known.
    fn above(&self, system: &str, code: &str) -> Option<Vec<SystemCode>>;
}

/// The value sets of the R4 definitions' required bindings, and no code systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishedTerms;

impl Terms for PublishedTerms {
    fn members(&self, value_set: &str) -> Option<Vec<SystemCode>> {
        let url = value_set.split('|').next().unwrap_or_default();
        let set = definitions().value_set(url)?;
        let pairs = set.systems.iter().flat_map(|(system, codes)| {
            codes.iter().map(move |code| ((*system).to_owned(), (*code).to_owned()))
        });
        Some(pairs.collect())
    }

    fn below(&self, _: &str, _: &str) -> Option<Vec<SystemCode>> {
        None
    }

    fn above(&self, _: &str, _: &str) -> Option<Vec<SystemCode>> {
        None
    }
}
