//! Units of measure by UCUM (the case-sensitive codes): what two units have in
//! common, and exact conversion to base units.
//!
//! Table-driven (`table.txt`: code, whether prefixes apply, factor, unit). Units
//! are factors over the base units m, s, g, rad, K, C, cd. `Cel` and `[degF]` are
//! converted by their zero points where they stand alone.
//!
//! DEVIATION: mol is a base unit of its own (UCUM makes it a pure number), so
//! that an amount of substance never equals a count. Arbitrary units (`[iU]`)
//! are comparable with themselves only. Logarithmic units are not converted.

mod ratio;

use std::collections::HashMap;
use std::sync::OnceLock;

use ratio::Ratio;

/// The code system URI of UCUM.
pub const UCUM_SYSTEM: &str = "http://unitsofmeasure.org";

/// Longest code that is read, deepest nesting, largest exponent.
const CODE_BYTES_MAX: usize = 200;
const DEPTH_MAX: u32 = 16;
const EXPONENT_MAX: i32 = 30;

const TABLE: &str = include_str!("table.txt");
const BASE: [&str; 8] = ["m", "s", "g", "rad", "K", "C", "cd", "mol"];
const PREFIXES: [(&str, i32); 20] = [
    ("da", 1),
    ("Y", 24),
    ("Z", 21),
    ("E", 18),
    ("P", 15),
    ("T", 12),
    ("G", 9),
    ("M", 6),
    ("k", 3),
    ("h", 2),
    ("d", -1),
    ("c", -2),
    ("m", -3),
    ("u", -6),
    ("n", -9),
    ("p", -12),
    ("f", -15),
    ("a", -18),
    ("z", -21),
    ("y", -24),
];

/// A unit of measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Base units and their exponents, by name; none is zero.
    dimensions: Vec<(&'static str, i32)>,
    factor: Ratio,
    /// What is added after the factor, for temperatures.
    zero: Option<Ratio>,
}

struct Atom {
    unit: Unit,
    is_metric: bool,
}

impl Unit {
    fn one() -> Self {
        Self { dimensions: Vec::new(), factor: Ratio::ONE, zero: None }
    }

    fn base(name: &'static str) -> Self {
        Self { dimensions: vec![(name, 1)], factor: Ratio::ONE, zero: None }
    }

    /// Reads a UCUM code such as `mg/dL`, `10*3/uL` or `mm[Hg]`; `None` when it is
    /// none that the table knows.
    pub fn parse(code: &str) -> Option<Self> {
        static ATOMS: OnceLock<HashMap<&'static str, Atom>> = OnceLock::new();
        parse(ATOMS.get_or_init(atoms), code)
    }

    /// Whether values of the two can be compared.
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.dimensions == other.dimensions
    }

    /// The unit in base units, without a factor: `g.m-3` for `mg/dL`. Equal for
    /// comparable units and for no others.
    pub fn base_code(&self) -> String {
        if self.dimensions.is_empty() {
            return "1".to_owned();
        }
        let part = |(name, exponent): &(&str, i32)| match exponent {
            1 => (*name).to_owned(),
            exponent => format!("{name}{exponent}"),
        };
        self.dimensions.iter().map(part).collect::<Vec<_>>().join(".")
    }

    /// `digits × 10^exponent` of this unit in base units, as such a pair: exact,
    /// or rounded to 17 digits. `None` when it cannot be held.
    pub fn to_base(&self, digits: i128, exponent: i32) -> Option<(i128, i32)> {
        self.exact(digits, exponent)?.to_decimal()
    }

    /// `digits × 10^exponent` of this unit in another: exact, or rounded to 17 digits.
    /// `None` when the two are not comparable or it cannot be held.
    pub fn convert(&self, digits: i128, exponent: i32, to: &Self) -> Option<(i128, i32)> {
        if !self.is_comparable(to) {
            return None;
        }
        let mut value = self.exact(digits, exponent)?;
        if let Some(zero) = to.zero {
            value = value.plus(Ratio { numerator: -zero.numerator, ..zero })?;
        }
        value.times(to.factor.inverse()?)?.to_decimal()
    }

    /// Compares two values with their units; `None` when they are not comparable.
    pub fn compare(
        (left, left_exponent, left_unit): (i128, i32, &Self),
        (right, right_exponent, right_unit): (i128, i32, &Self),
    ) -> Option<std::cmp::Ordering> {
        if !left_unit.is_comparable(right_unit) {
            return None;
        }
        let left = left_unit.exact(left, left_exponent)?;
        let right = right_unit.exact(right, right_exponent)?;
        let difference = Ratio { numerator: -right.numerator, ..right }.plus(left)?;
        Some(difference.numerator.cmp(&0))
    }

    /// The product of two units; `None` for what has a zero point of its own.
    pub fn times(&self, other: &Self) -> Option<Self> {
        if self.zero.is_some() || other.zero.is_some() {
            return None;
        }
        let mut product = self.clone();
        product.factor = self.factor.times(other.factor)?;
        for (name, exponent) in &other.dimensions {
            match product.dimensions.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum = sum.checked_add(*exponent)?,
                None => product.dimensions.push((name, *exponent)),
            }
        }
        product.dimensions.retain(|(_, exponent)| *exponent != 0);
        product.dimensions.sort_unstable();
        Some(product)
    }

    /// The unit to a power.
    pub fn power(&self, exponent: i32) -> Option<Self> {
        if exponent == 1 {
            return Some(self.clone());
        }
        if self.zero.is_some() || exponent.abs() > EXPONENT_MAX {
            return None;
        }
        let raise = |(name, own): &(&'static str, i32)| Some((*name, own.checked_mul(exponent)?));
        let mut dimensions = self.dimensions.iter().map(raise).collect::<Option<Vec<_>>>()?;
        dimensions.retain(|(_, exponent)| *exponent != 0);
        Some(Self { dimensions, factor: self.factor.power(exponent)?, zero: None })
    }

    fn scaled(&self, factor: Ratio) -> Option<Self> {
        let zero = match self.zero {
            Some(_) if factor == Ratio::ONE => self.zero,
            Some(_) => return None,
            None => None,
        };
        Some(Self { factor: self.factor.times(factor)?, zero, ..self.clone() })
    }

    fn exact(&self, digits: i128, exponent: i32) -> Option<Ratio> {
        let value = Ratio::decimal(digits, exponent)?.times(self.factor)?;
        self.zero.map_or(Some(value), |zero| value.plus(zero))
    }
}

fn atoms() -> HashMap<&'static str, Atom> {
    let mut atoms = HashMap::new();
    for name in BASE {
        atoms.insert(name, Atom { unit: Unit::base(name), is_metric: true });
    }
    let kelvin = |factor: Option<Ratio>, zero: Option<Ratio>| Unit {
        factor: factor.unwrap_or(Ratio::ONE),
        zero,
        ..Unit::base("K")
    };
    let celsius = kelvin(None, Ratio::new(27315, 100));
    let fahrenheit = kelvin(Ratio::new(5, 9), Ratio::new(45967 * 5, 900));
    atoms.insert("Cel", Atom { unit: celsius, is_metric: false });
    atoms.insert("[degF]", Atom { unit: fahrenheit, is_metric: false });
    for line in TABLE.lines() {
        let mut columns = line.split('\t');
        let mut column = || columns.next().unwrap_or_default();
        let (code, kind, factor, unit) = (column(), column(), column(), column());
        let is_metric = matches!(kind, "m" | "M");
        let unit = if matches!(kind, "*" | "M") {
            Some(Unit::base(code))
        } else {
            let digits = factor.replace('.', "");
            let places = factor.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let ratio =
                digits.parse().ok().and_then(|digits| Ratio::decimal(digits, -(places as i32)));
            ratio.zip(parse(&atoms, unit)).and_then(|(ratio, unit)| unit.scaled(ratio))
        };
        if let Some(unit) = unit {
            atoms.insert(code, Atom { unit, is_metric });
        }
    }
    atoms
}

fn parse(atoms: &HashMap<&'static str, Atom>, code: &str) -> Option<Unit> {
    if code.is_empty() || code.len() > CODE_BYTES_MAX || !code.is_ascii() {
        return None;
    }
    let mut reader = Reader { atoms, rest: code, depth: 0 };
    let unit = reader.term()?;
    reader.rest.is_empty().then_some(unit)
}

struct Reader<'a> {
    atoms: &'a HashMap<&'static str, Atom>,
    rest: &'a str,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn take(&mut self, symbol: char) -> bool {
        let after = self.rest.strip_prefix(symbol);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Components joined by `.` and `/`, from the left.
    fn term(&mut self) -> Option<Unit> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let mut unit =
            if self.take('/') { self.component()?.power(-1)? } else { self.component()? };
        loop {
            if self.take('.') {
                unit = unit.times(&self.component()?)?;
            } else if self.take('/') {
                unit = unit.times(&self.component()?.power(-1)?)?;
            } else {
                self.depth -= 1;
                return Some(unit);
            }
        }
    }

    fn component(&mut self) -> Option<Unit> {
        if self.take('(') {
            let inner = self.term()?;
            return self.take(')').then_some(inner);
        }
        let word = self.word();
        let is_annotated = self.annotation()?;
        if word.is_empty() {
            return is_annotated.then(Unit::one);
        }
        if let Ok(number) = word.parse::<u32>() {
            return Unit::one().scaled(Ratio::new(i128::from(number), 1)?);
        }
        let digits = word.bytes().rev().take_while(u8::is_ascii_digit).count();
        let signed = usize::from(digits > 0 && word[..word.len() - digits].ends_with(['-', '+']));
        let (atom, exponent) = word.split_at(word.len() - digits - signed);
        let exponent = if digits == 0 { 1 } else { exponent.parse().ok()? };
        self.atom(atom)?.power(exponent)
    }

    /// Up to the next operator, parenthesis or annotation outside of brackets.
    fn word(&mut self) -> &'a str {
        let mut inside = false;
        let ends = |c: char| {
            inside = (inside || c == '[') && c != ']';
            !inside && matches!(c, '.' | '/' | '(' | ')' | '{' | '}')
        };
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// `{…}` says something about the unit and changes nothing.
    fn annotation(&mut self) -> Option<bool> {
        if !self.take('{') {
            return Some(false);
        }
        let (_, rest) = self.rest.split_once('}')?;
        self.rest = rest;
        Some(true)
    }

    fn atom(&self, name: &str) -> Option<Unit> {
        if let Some(atom) = self.atoms.get(name) {
            return Some(atom.unit.clone());
        }
        PREFIXES.iter().find_map(|(prefix, exponent)| {
            let atom = self.atoms.get(name.strip_prefix(prefix)?)?;
            atom.is_metric.then(|| atom.unit.scaled(Ratio::decimal(1, *exponent)?)).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn compare(left: (i128, i32, &str), right: (i128, i32, &str)) -> Option<Ordering> {
        let (a, b) = (Unit::parse(left.2).expect(left.2), Unit::parse(right.2).expect(right.2));
        Unit::compare((left.0, left.1, &a), (right.0, right.1, &b))
    }

    #[test]
    fn every_line_of_the_table_is_a_unit() {
        for line in TABLE.lines() {
            let code = line.split('\t').next().unwrap_or_default();
            assert!(Unit::parse(code).is_some(), "{code}");
        }
    }

    #[test]
    fn equal_amounts_are_equal_exactly() {
        for (left, right) in [
            ((4, 0, "g"), (4000, 0, "mg")),
            ((1, 0, "mg/dL"), (1, 0, "mg/dl")),
            ((1, 0, "mg/dL"), (1, -2, "g/L")),
            ((1, 0, "[lb_av]"), (45359237, -5, "g")),
            ((1, 0, "[in_i]"), (254, -2, "cm")),
            ((7, 0, "d"), (1, 0, "wk")),
            ((37, 0, "Cel"), (31015, -2, "K")),
            ((986, -1, "[degF]"), (37, 0, "Cel")),
            ((1, 0, "10*3/uL"), (1, 0, "10*9/L")),
            ((1, 0, "10^3/uL"), (1, 3, "/uL")),
            ((1, 0, "k[iU]/L"), (1, 0, "[IU]/mL")),
            ((1, 0, "U/L"), (1, 0, "umol/min/L")),
            ((1, 0, "mm[Hg]"), (133322, -3, "Pa")),
            ((1, 0, "mL/min/{1.73_m2}"), (1, 0, "mL/min")),
            ((1, 0, "kg/m2"), (1, 0, "kg.m-2")),
            ((1, 0, "J"), (1, 0, "kg.m2/s2")),
            ((1, 0, "%"), (1, -2, "{ratio}")),
        ] {
            assert_eq!(compare(left, right), Some(Ordering::Equal), "{left:?} {right:?}");
        }
        assert_eq!(compare((1, 0, "g"), (999, 0, "mg")), Some(Ordering::Greater));
    }

    #[test]
    fn what_measures_something_else_is_not_comparable() {
        for (left, right) in [("g", "m"), ("mol", "1"), ("[iU]", "U"), ("a", "kg"), ("[pH]", "1")] {
            assert_eq!(compare((1, 0, left), (1, 0, right)), None, "{left} {right}");
        }
        assert_eq!(Unit::parse("mg/dL").map(|unit| unit.base_code()), Some("g.m-3".to_owned()));
    }

    #[test]
    fn what_is_no_code_of_ucum_is_refused() {
        for code in ["", "lbs", "mg/", "(mg", "mg)", "kmin", "m2147483648", "g.{x", "mm Hg", "Cel2"]
        {
            assert_eq!(Unit::parse(code), None, "{code}");
        }
        assert_eq!(Unit::parse(&"(".repeat(199)), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z0-9./(){}\\[\\]*^'%A-Z+-]{0,40}", digits in any::<i64>(), exponent in -60..60_i32) {
            if let Some(unit) = Unit::parse(&text) {
                let _ = (unit.base_code(), unit.to_base(i128::from(digits), exponent));
                let _ = unit.times(&unit);
            }
        }
    }
}
