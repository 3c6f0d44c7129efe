//! What the matcher knows of a patient: tokens only.

use serde::{Deserialize, Serialize};

/// A keyed token: equal values under equal labels have equal tokens, and
/// without the key nothing else can be told.
pub type Token = [u8; 8];

/// Makes keyed tokens. The exchange gives one that is an HMAC under the `mpi`
/// key; whoever has no key cannot make or reverse a token.
pub trait Tokens {
    /// The token of `value` under `label`.
    fn token(&self, label: &str, value: &str) -> Token;
}

/// A part of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// The normalised name.
    pub exact: Token,
    /// The names that it may be a nickname of, or the name itself; sorted.
    pub roots: Vec<Token>,
    /// How it sounds.
    pub sound: Token,
    /// Its first letter.
    pub initial: Token,
    /// Whether there is no more than the first letter.
    pub is_initial: bool,
    /// Whether many people share it.
    pub is_common: bool,
    /// Letter pairs, sorted; shortened tokens that serve similarity only.
    pub grams: Vec<u16>,
}

/// A birth date, in parts. Month and day are tokens under the same label, so
/// that a swap is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthDate {
    /// Year.
    pub year: Token,
    /// Month, if known.
    pub month: Option<Token>,
    /// Day of the month, if known.
    pub day: Option<Token>,
    /// Whether it is a first of January, which often stands for "not known".
    pub is_new_year: bool,
    /// The eight digits by place; shortened tokens. Empty for partial dates.
    pub digits: Vec<u16>,
}

/// A social security number, or what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ssn {
    /// The whole number, if known.
    pub full: Option<Token>,
    /// The last four digits.
    pub last_four: Token,
    /// The nine digits by place; shortened tokens. Empty unless all are known.
    pub digits: Vec<u16>,
}

/// A home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// House number (or the number of a post-office box).
    pub number: Option<Token>,
    /// Street, normalised.
    pub street: Option<Token>,
    /// Letter pairs of the street, sorted; shortened tokens.
    pub street_grams: Vec<u16>,
    /// Apartment or unit.
    pub unit: Option<Token>,
    /// City.
    pub city: Option<Token>,
    /// First five characters of the postal code.
    pub zip: Option<Token>,
    /// State.
    pub state: Option<Token>,
}

/// An identifier that somebody assigned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// System and value.
    pub value: Token,
    /// The system alone.
    pub system: Token,
}

/// Everything that the matcher knows of one record. No readable value; still
/// sealed at rest, because tokens of common values can be counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Features {
    /// First given names, of the present and former names.
    pub given: Vec<Name>,
    /// Second given names.
    pub middle: Vec<Name>,
    /// Family names: each whole and, when double-barrelled, in parts.
    pub family: Vec<Name>,
    /// Generation: junior, senior, the third.
    pub generation: Option<Token>,
    /// Birth date.
    pub birth: Option<BirthDate>,
    /// Administrative gender, when it is `male` or `female`.
    pub sex: Option<Token>,
    /// Social security number.
    pub ssn: Option<Ssn>,
    /// Telephone numbers.
    pub phones: Vec<Token>,
    /// E-mail addresses.
    pub emails: Vec<Token>,
    /// Homes, present and former.
    pub addresses: Vec<Address>,
    /// Other identifiers.
    pub identifiers: Vec<Identifier>,
}

/// The share of letter pairs that two sorted lists have in common (Dice), 0 to 1.
pub(crate) fn similarity(a: &[u16], b: &[u16]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut common) = (0, 0, 0_u32);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                i += 1;
                j += 1;
            }
        }
    }
    f64::from(2 * common) / (a.len() + b.len()) as f64
}
