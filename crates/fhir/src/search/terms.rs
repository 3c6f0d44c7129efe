//! What a search asks of terminologies: the members of value sets, and what stands
//! above and below a code (search.html#token). Whoever has loaded code systems
//! answers; without them, what the core package of R4 has is known.

use crate::definitions;
use crate::terminology::{CodeSystem, Terminology, bare, core};

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

/// The terminology of the core package of R4: its value sets and code systems, without
/// those of others (SNOMED CT, LOINC).
#[derive(Debug, Clone, Copy, Default)]
pub struct PublishedTerms;

impl PublishedTerms {
    /// Those codes of a system that `keeps` holds for, given their place and the code's.
    fn related(
        system: &str,
        code: &str,
        keeps: impl Fn(&CodeSystem, usize, usize) -> bool,
    ) -> Option<Vec<SystemCode>> {
        let known = core().system(bare(system))?;
        let at = known.place(code)?;
        let related = known.concepts.iter().enumerate();
        let related = related.filter(|(place, _)| keeps(known, *place, at));
        Some(related.map(|(_, concept)| (system.to_owned(), concept.code.clone())).collect())
    }
}

impl Terms for PublishedTerms {
    fn members(&self, value_set: &str) -> Option<Vec<SystemCode>> {
        let url = bare(value_set);
        if let Some(set) = core().value_set(url)
            && let Ok(members) = Terminology(&[core()]).expand(set)
        {
            return Some(members.into_iter().map(|m| (m.system, m.code)).collect());
        }
        let set = definitions().value_set(url)?;
        let pairs = set.systems.iter().flat_map(|(system, codes)| {
            codes.iter().map(move |code| ((*system).to_owned(), (*code).to_owned()))
        });
        Some(pairs.collect())
    }

    fn below(&self, system: &str, code: &str) -> Option<Vec<SystemCode>> {
        Self::related(system, code, |known, place, at| known.is_below(place, at))
    }

    fn above(&self, system: &str, code: &str) -> Option<Vec<SystemCode>> {
        Self::related(system, code, |known, place, at| known.is_below(at, place))
    }
}
