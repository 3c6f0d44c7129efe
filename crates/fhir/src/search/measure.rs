//! A number that is asked for, with what it stands for by its written precision;
//! also in another unit (search.html#quantity, UCUM).

use super::decimal::Decimal;
use crate::ucum::{UCUM_SYSTEM, Unit};

/// Units of measure that clinical data is written in. A search over many patients
/// looks for a quantity in each of these that its own unit is comparable with.
const COMMON: &[&str] = &[
    "g",
    "kg",
    "mg",
    "ug",
    "ng",
    "pg",
    "[lb_av]",
    "[oz_av]",
    "m",
    "cm",
    "mm",
    "um",
    "km",
    "[in_i]",
    "[ft_i]",
    "L",
    "l",
    "dL",
    "dl",
    "mL",
    "ml",
    "uL",
    "ul",
    "fL",
    "fl",
    "cm3",
    "mm3",
    "s",
    "min",
    "h",
    "d",
    "wk",
    "mo",
    "a",
    "ms",
    "Cel",
    "[degF]",
    "K",
    "mol",
    "mmol",
    "umol",
    "nmol",
    "pmol",
    "g/L",
    "g/l",
    "g/dL",
    "g/dl",
    "mg/L",
    "mg/l",
    "mg/dL",
    "mg/dl",
    "mg/mL",
    "ug/L",
    "ug/dL",
    "ug/mL",
    "ng/L",
    "ng/dL",
    "ng/mL",
    "ng/ml",
    "pg/mL",
    "kg/L",
    "mol/L",
    "mmol/L",
    "mmol/l",
    "umol/L",
    "nmol/L",
    "pmol/L",
    "mmol/dL",
    "umol/dL",
    "/min",
    "{beats}/min",
    "{breaths}/min",
    "/s",
    "/h",
    "Hz",
    "10*3/uL",
    "10*6/uL",
    "10*9/L",
    "10*12/L",
    "/uL",
    "/mm3",
    "/L",
    "10*3/mm3",
    "10*3/mL",
    "%",
    "1",
    "10*-2",
    "mm[Hg]",
    "kPa",
    "Pa",
    "cm[H2O]",
    "bar",
    "kg/m2",
    "g/m2",
    "m2",
    "cm2",
    "mL/min",
    "L/min",
    "mL/h",
    "L/h",
    "mL/s",
    "mL/min/{1.73_m2}",
    "mg/g",
    "ug/mg",
    "ug/g",
    "g/g",
    "mg/mg",
    "mg/kg",
    "ug/kg",
    "g/kg",
    "mg/(24.h)",
    "mg/d",
    "g/d",
    "g/(24.h)",
    "kcal",
    "cal",
    "J",
    "kJ",
    "m/s",
    "cm/s",
    "km/h",
    "osm/kg",
    "mosm/kg",
    "osm/L",
    "mosm/L",
    "eq/L",
    "meq/L",
    "V",
    "mV",
    "W",
    "[IU]/L",
    "[IU]/mL",
    "m[IU]/L",
    "m[IU]/mL",
    "u[IU]/mL",
    "k[IU]/L",
    "U/L",
    "U/mL",
    "kat/L",
    "ukat/L",
];

/// A number with the bounds of what `eq` and `ap` take for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measure {
    pub number: Decimal,
    /// What rounds to it at its written precision (search.html#number).
    pub rounds: (Decimal, Decimal),
    /// Ten percent around it (search.html#prefix).
    pub around: (Decimal, Decimal),
}

impl Measure {
    pub fn of(number: Decimal) -> Self {
        Self { number, rounds: number.implicit_range(), around: number.approximate_range() }
    }

    /// The same in another UCUM unit; `None` when the two do not measure the same.
    pub fn converted(&self, from: &str, to: &str) -> Option<Self> {
        if from == to {
            return Some(*self);
        }
        let (from, to) = (Unit::parse(from)?, Unit::parse(to)?);
        if !from.is_comparable(&to) {
            return None;
        }
        let convert = |number: Decimal| {
            let (digits, exponent) = number.parts();
            let (digits, exponent) = from.convert(digits, exponent, &to)?;
            Decimal::rounded(digits, exponent)
        };
        let both = |(low, high): (Decimal, Decimal)| Some((convert(low)?, convert(high)?));
        Some(Self {
            number: convert(self.number)?,
            rounds: both(self.rounds)?,
            around: both(self.around)?,
        })
    }

    /// The same in each other common unit that measures the same.
    pub fn in_common_units(&self, code: &str) -> Vec<(&'static str, Self)> {
        let others = COMMON.iter().filter(|other| **other != code);
        others.filter_map(|other| Some((*other, self.converted(code, other)?))).collect()
    }
}

/// Whether a system is UCUM's.
pub(super) fn is_ucum(system: Option<&str>) -> bool {
    system == Some(UCUM_SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(text: &str) -> Measure {
        Measure::of(Decimal::parse(text).expect(text))
    }

    #[test]
    fn a_number_is_the_same_in_units_that_measure_the_same() {
        for (number, from, to, expected) in [
            ("5.4", "g", "mg", "5400"),
            ("120", "mg/dL", "g/L", "1.2"),
            ("1", "kg", "[lb_av]", "2.2046226218487758"),
            ("37", "Cel", "[degF]", "98.6"),
            ("4.5", "10*3/uL", "10*9/L", "4.5"),
        ] {
            let converted = measure(number).converted(from, to).expect(to).number;
            let wanted = Decimal::parse(expected).expect(expected);
            assert!(converted.cmp(&wanted).is_eq(), "{number} {from} in {to}: {converted:?}");
        }
        assert_eq!(measure("1").converted("g", "mL"), None);
        assert_eq!(measure("1").converted("mol", "g"), None);
        assert!(measure("1").in_common_units("mg/dL").len() > 10);
        let unknown: Vec<_> = COMMON.iter().filter(|code| Unit::parse(code).is_none()).collect();
        assert_eq!(unknown, [] as [&&str; 0]);
    }

    #[test]
    fn precision_goes_along() {
        let (low, high) = measure("5.4").converted("g", "mg").expect("mg").rounds;
        assert!(low.cmp(&Decimal::parse("5350").expect("a number")).is_eq());
        assert!(high.cmp(&Decimal::parse("5450").expect("a number")).is_eq());
    }
}
