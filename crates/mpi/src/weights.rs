//! How much each level of each field says.

use holdfast_base::Category;
use serde::{Deserialize, Serialize};

use crate::fields::{FIELDS, Pattern};

/// The chances of one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelWeight {
    /// Name of the level, as in [`FIELDS`].
    pub level: String,
    /// Chance of the level among pairs of the same person (*m*), 0 to 1.
    pub same: f64,
    /// Chance of the level among pairs of different persons (*u*), 0 to 1.
    pub other: f64,
}

impl LevelWeight {
    /// The weight in bits: log2(m/u).
    pub fn bits(&self) -> f64 {
        (self.same / self.other).log2()
    }
}

/// The levels of one field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldWeights {
    /// Name of the field, as in [`FIELDS`].
    pub field: String,
    /// Its levels, in order.
    pub levels: Vec<LevelWeight>,
}

/// Everything that a decision goes by. The default set is trained without
/// labels; its origin stands in `data/weights.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Share of candidate pairs that are the same person, 0 to 1.
    pub prior: f64,
    /// From this probability a pair may be linked, if no guard holds.
    pub link_probability: f64,
    /// From this probability a person reviews the pair.
    pub review_probability: f64,
    /// The fields, in order.
    pub fields: Vec<FieldWeights>,
}

/// Why a text is no set of weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Not TOML, or not of this shape.
    #[error("the weights are not well-formed")]
    Malformed,
    /// Fields or levels are not those of this version.
    #[error("the weights are for other fields or levels: {field}")]
    OtherFields {
        /// The first field that does not fit.
        field: &'static str,
    },
    /// A chance is not between 0 and 1, or the bands are out of order.
    #[error("a chance of the weights is out of range")]
    OutOfRange,
}

impl WeightsError {
    /// Always the fault of who wrote them.
    pub fn category(&self) -> Category {
        Category::Incorrect
    }
}

impl Weights {
    /// Reads weights from TOML.
    ///
    /// # Errors
    /// [`WeightsError`] when the text is malformed, is for other fields or
    /// levels than [`FIELDS`], or has a chance out of range.
    pub fn from_toml(text: &str) -> Result<Self, WeightsError> {
        let weights: Self = toml::from_str(text).map_err(|_| WeightsError::Malformed)?;
        for (place, field) in FIELDS.iter().enumerate() {
            let fits = weights.fields.get(place).is_some_and(|known| {
                known.field == field.name
                    && known
                        .levels
                        .iter()
                        .map(|l| l.level.as_str())
                        .eq(field.levels.iter().copied())
            });
            if !fits || weights.fields.len() != FIELDS.len() {
                return Err(WeightsError::OtherFields { field: field.name });
            }
        }
        let is_chance = |chance: f64| chance > 0.0 && chance < 1.0;
        let levels = weights.fields.iter().flat_map(|field| &field.levels);
        let fits = levels.into_iter().all(|l| is_chance(l.same) && is_chance(l.other))
            && is_chance(weights.prior)
            && is_chance(weights.link_probability)
            && is_chance(weights.review_probability)
            && weights.review_probability <= weights.link_probability;
        if fits { Ok(weights) } else { Err(WeightsError::OutOfRange) }
    }

    /// The weight of `level` of the field at `place`, in bits.
    pub(crate) fn bits(&self, place: usize, level: u8) -> f64 {
        let field = self.fields.get(place);
        field.and_then(|f| f.levels.get(usize::from(level))).map_or(0.0, LevelWeight::bits)
    }

    /// The sum of the weights of `pattern`, in bits.
    pub fn score(&self, pattern: &Pattern) -> f64 {
        let levels = pattern.iter().enumerate();
        levels.filter_map(|(place, level)| Some(self.bits(place, (*level)?))).sum()
    }

    /// The probability that a candidate pair of this score is the same person.
    pub fn probability(&self, score: f64) -> f64 {
        let odds = (score + (self.prior / (1.0 - self.prior)).log2()).exp2();
        if odds.is_infinite() { 1.0 } else { odds / (1.0 + odds) }
    }
}

impl Default for Weights {
    /// The embedded set.
    fn default() -> Self {
        Self::from_toml(include_str!("../data/weights.toml"))
            .expect("the embedded weights are well-formed; a test reads them")
    }
}
