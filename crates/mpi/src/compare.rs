//! Deciding about a pair, and saying why.

use serde::Serialize;

use crate::features::Features;
use crate::fields::{
    BIRTH, EMAIL, FIELDS, GIVEN, HOUSEHOLD, IDENTIFIER, MIDDLE, Pattern, SEX, SSN, pattern,
};
use crate::weights::Weights;

/// What is to be done with a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// Different persons, or not enough is known.
    None,
    /// A person should look.
    Review,
    /// The same person.
    Link,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// Sum of the weights, in bits (log2 of the likelihood ratio).
    pub score: f64,
    /// Probability that both are the same person, 0 to 1.
    pub probability: f64,
    /// What is to be done.
    pub band: Band,
    /// Field, level and weight in bits of everything that is known on both
    /// sides, in the order of [`FIELDS`]; then, with weight 0, the guards that
    /// kept a link from being made, as field `guard`.
    pub explanation: Vec<(&'static str, &'static str, f64)>,
}

impl Decision {
    /// Whether the records contradict each other: they may not come to stand
    /// for one person through a third record either.
    pub fn is_contradiction(&self) -> bool {
        self.explanation.iter().any(|(field, guard, _)| {
            *field == GUARD && CONTRADICTIONS.iter().any(|(name, _)| name == guard)
        })
    }
}

/// The field of guards in an explanation.
const GUARD: &str = "guard";

type Guard = (&'static str, fn(&Pattern, &Features, &Features) -> bool);

fn is(pattern: &Pattern, field: usize, levels: &[u8]) -> bool {
    pattern[field].is_some_and(|level| levels.contains(&level))
}

/// Given name the same, of a nickname's root, or swapped with the family name.
fn is_given_same(pattern: &Pattern) -> bool {
    is(pattern, GIVEN, &[0, 1, 2, 6])
}

/// Birth date the same but for a slip.
fn is_birth_same(pattern: &Pattern) -> bool {
    is(pattern, BIRTH, &[0, 1, 2])
}

/// Something that belongs to one person alone agrees. A number that is one
/// digit off does not: twins are often given consecutive ones.
fn is_identified(pattern: &Pattern) -> bool {
    is(pattern, SSN, &[0]) || is(pattern, IDENTIFIER, &[0])
}

/// The last four digits agree, and enough else that it is no coincidence.
fn is_last_four_same(pattern: &Pattern) -> bool {
    is(pattern, SSN, &[2]) && (is_birth_same(pattern) || is_given_same(pattern))
}

/// What sets two persons apart whatever else agrees: the members of a
/// household, twins, father and son.
const CONTRADICTIONS: &[Guard] = &[
    // A changed name, or a nickname that nobody listed, of one who is otherwise certain.
    ("given names differ", |p, _, _| {
        let certain = is(p, SSN, &[0]) && is(p, BIRTH, &[0]) && !is(p, SEX, &[1]);
        is(p, GIVEN, &[7]) && !certain
    }),
    ("birth dates differ", |p, _, _| is(p, BIRTH, &[5]) && !is_identified(p)),
    ("generations differ", |_, a, b| {
        a.generation.is_some() && a.generation != b.generation && b.generation.is_some()
    }),
    ("social security numbers differ", |p, _, _| {
        let all_else = is_given_same(p) && is(p, BIRTH, &[0]) && !is(p, MIDDLE, &[2]);
        is(p, SSN, &[3]) && !is(p, IDENTIFIER, &[0]) && !all_else
    }),
];

/// What is not enough for a link without a person's review.
const DOUBTS: &[Guard] = &[
    ("nothing that is theirs alone agrees", |p, _, _| {
        !is_birth_same(p) && !is_identified(p) && !is_last_four_same(p) && !is(p, EMAIL, &[0])
    }),
    ("given name unknown", |p, _, _| p[GIVEN].is_none() && !(is_identified(p) && is_birth_same(p))),
    // Twins are often given names that look alike, and share a parent's e-mail.
    ("given names are only similar", |p, _, _| {
        let theirs = is_identified(p) || is_last_four_same(p) || is(p, MIDDLE, &[0, 1]);
        is(p, GIVEN, &[3, 4, 5]) && !theirs
    }),
    // In a million people, dozens have such a name and two of them a birthday.
    ("common names and a birth date alone", |p, _, _| {
        let theirs = is_identified(p) || is_last_four_same(p) || is(p, EMAIL, &[0]);
        let more = theirs || is(p, MIDDLE, &[0, 1]);
        is(p, GIVEN, &[1, 2]) && is(p, HOUSEHOLD, &[6, 7]) && !more
    }),
    ("sexes differ and given names are not the same", |p, _, _| {
        is(p, SEX, &[1]) && !is(p, GIVEN, &[0, 1, 6])
    }),
    ("family names differ and nothing else is theirs alone", |p, _, _| {
        is(p, HOUSEHOLD, &[13, 14, 15]) && !is_identified(p)
    }),
];

/// Compares two records. Symmetric.
pub fn compare(a: &Features, b: &Features, weights: &Weights) -> Decision {
    let pattern = pattern(a, b);
    let score = weights.score(&pattern);
    let probability = weights.probability(score);
    let mut explanation: Vec<_> = pattern
        .iter()
        .zip(&FIELDS)
        .enumerate()
        .filter_map(|(place, (level, field))| {
            let level = (*level)?;
            let name = field.levels.get(usize::from(level))?;
            Some((field.name, *name, weights.bits(place, level)))
        })
        .collect();
    let guards = CONTRADICTIONS.iter().chain(DOUBTS);
    let held: Vec<_> = guards
        .filter(|(_, holds)| holds(&pattern, a, b))
        .map(|(name, _)| (GUARD, *name, 0.0))
        .collect();
    let band = match () {
        () if probability < weights.review_probability => Band::None,
        () if probability < weights.link_probability || !held.is_empty() => Band::Review,
        () => Band::Link,
    };
    explanation.extend(held);
    Decision { score, probability, band, explanation }
}
