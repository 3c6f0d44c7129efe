//! Exact decimals (FHIRPath `Decimal`): what does not fit 38 digits is not a
//! number here, and an operation that overflows has no result.

use std::cmp::Ordering;
use std::fmt;

/// Places after the point that are kept at most.
const SCALE_MAX: u32 = 37;
/// Places that a division gives when it does not end.
const QUOTIENT_SCALE: u32 = 16;

/// `digits / 10^scale`. Trailing zeros count as precision: `1.50` is not `1.5`
/// when it is shown, and equal to it when compared.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    digits: i128,
    scale: u32,
}

/// What happens to the places that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Floor,
    Ceiling,
    /// Half away from zero.
    Nearest,
    Truncate,
}

fn ten(power: u32) -> Option<i128> {
    10_i128.checked_pow(power)
}

impl Number {
    pub(super) fn new(digits: i128, scale: u32) -> Self {
        Self { digits, scale }
    }

    /// Reads a JSON number or a FHIRPath literal.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let bare = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if bare.is_empty() || !plain(bare) || !plain(fraction) || mantissa.ends_with('.') {
            return None;
        }
        let mut digits: i128 = 0;
        for byte in bare.bytes().chain(fraction.bytes()) {
            digits = digits.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        }
        let digits = if whole.starts_with('-') { -digits } else { digits };
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if scale < 0 {
            return Some(Self::new(digits.checked_mul(ten(scale.unsigned_abs())?)?, 0));
        }
        let number = Self::new(digits, scale.unsigned_abs());
        (number.scale <= SCALE_MAX).then_some(number)
    }

    /// Places after the point.
    pub fn scale(self) -> u32 {
        self.scale
    }

    /// The digits without the point, and the power of ten that they count.
    pub(super) fn parts(self) -> (i128, i32) {
        (self.digits, -(self.scale as i32))
    }

    pub(super) fn of_parts(digits: i128, exponent: i32) -> Option<Self> {
        let power = exponent.unsigned_abs();
        if exponent > 0 {
            return Some(Self::new(digits.checked_mul(ten(power)?)?, 0));
        }
        (power <= SCALE_MAX).then_some(Self::new(digits, power))
    }

    /// The whole number, if it is one that fits.
    pub(super) fn to_integer(self) -> Option<i64> {
        let whole = self.normal();
        if whole.scale == 0 { i64::try_from(whole.digits).ok() } else { None }
    }

    pub(super) fn is_zero(self) -> bool {
        self.digits == 0
    }

    pub(super) fn negated(self) -> Self {
        Self::new(self.digits.wrapping_neg(), self.scale)
    }

    pub(super) fn absolute(self) -> Self {
        Self::new(self.digits.wrapping_abs(), self.scale)
    }

    /// Without trailing zeros.
    pub(super) fn normal(self) -> Self {
        let mut number = self;
        while number.scale > 0 && number.digits % 10 == 0 {
            number = Self::new(number.digits / 10, number.scale - 1);
        }
        number
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let lift = |number: Self| number.digits.checked_mul(ten(scale - number.scale)?);
        Some((lift(self)?, lift(other)?, scale))
    }

    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self::new(left.checked_add(right)?, scale))
    }

    pub(super) fn times(self, other: Self) -> Option<Self> {
        let product = |left: Self, right: Self| {
            let scale = Some(left.scale + right.scale).filter(|scale| *scale <= SCALE_MAX)?;
            Some(Self::new(left.digits.checked_mul(right.digits)?, scale))
        };
        product(self, other).or_else(|| product(self.normal(), other.normal()))
    }

    /// Exact where the quotient ends within 16 places, otherwise rounded to them.
    pub(super) fn over(self, other: Self) -> Option<Self> {
        let (left, right) = (self.normal(), other.normal());
        if right.digits == 0 {
            return None;
        }
        (0..=QUOTIENT_SCALE).rev().find_map(|scale| {
            // One place more than is kept, for rounding.
            let lift = i64::from(scale) + 1 + i64::from(right.scale) - i64::from(left.scale);
            let (mut above, mut below) = (left.digits, right.digits);
            let power = ten(u32::try_from(lift.unsigned_abs()).ok()?)?;
            if lift >= 0 {
                above = above.checked_mul(power)?;
            } else {
                below = below.checked_mul(power)?;
            }
            let number = Self::new(above.checked_div(below)?, scale + 1);
            Some(number.to_scale(scale, Rounding::Nearest)?.normal())
        })
    }

    /// The whole part of the quotient.
    pub(super) fn whole_quotient(self, other: Self) -> Option<i64> {
        let (left, right, _) = self.aligned(other)?;
        i64::try_from(left.checked_div(right)?).ok()
    }

    pub(super) fn remainder(self, other: Self) -> Option<Self> {
        let (left, right, scale) = self.aligned(other)?;
        Some(Self::new(left.checked_rem(right)?, scale))
    }

    /// With so many places after the point.
    pub(super) fn to_scale(self, scale: u32, rounding: Rounding) -> Option<Self> {
        if scale >= self.scale {
            let digits = self.digits.checked_mul(ten(scale - self.scale)?)?;
            return Some(Self::new(digits, scale));
        }
        // What is too small for the power to be held vanishes.
        let power = ten(self.scale - scale).unwrap_or(i128::MAX);
        let (whole, rest) = (self.digits / power, self.digits % power);
        let step = match rounding {
            Rounding::Truncate => 0,
            Rounding::Floor => -i128::from(rest < 0),
            Rounding::Ceiling => i128::from(rest > 0),
            Rounding::Nearest if rest.unsigned_abs() >= power.unsigned_abs().div_ceil(2) => {
                rest.signum()
            }
            Rounding::Nearest => 0,
        };
        Some(Self::new(whole.checked_add(step)?, scale))
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn to_f64(self) -> f64 {
        self.digits as f64 / 10_f64.powi(self.scale as i32)
    }

    /// The nearest decimal; `None` for what is no number.
    pub(super) fn of_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        let text = format!("{value:.15}");
        let number = Self::parse(&text).or_else(|| Self::parse(&format!("{value:.0}")))?;
        Some(number.normal())
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::new(i128::from(value), 0)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.aligned(*other) {
            Some((left, right, _)) => left.cmp(&right),
            // One of them is too large to be lifted: they differ by far.
            None => self.to_f64().total_cmp(&other.to_f64()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.digits < 0 { "-" } else { "" };
        let digits = self.digits.unsigned_abs().to_string();
        let scale = self.scale as usize;
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect(text)
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(number("0.1").plus(number("0.2")), Some(number("0.3")));
        assert_eq!(number("1.2").times(number("1.8")), Some(number("2.16")));
        assert_eq!(number("4.0").over(number("2.0")), Some(number("2")));
        assert_eq!(
            number("1").over(number("3")).map(|n| n.to_string()).as_deref(),
            Some("0.3333333333333333")
        );
        assert_eq!(number("2.2").remainder(number("1.8")), Some(number("0.4")));
        assert_eq!(number("1").over(number("0")), None);
        assert_eq!(number("1e37").times(number("1e37")), None);
    }

    #[test]
    fn rounding_goes_the_way_that_is_asked() {
        for (text, rounding, expected) in [
            ("1.5", Rounding::Nearest, "2"),
            ("-1.5", Rounding::Nearest, "-2"),
            ("1.4999", Rounding::Nearest, "1"),
            ("-2.1", Rounding::Floor, "-3"),
            ("1.1", Rounding::Ceiling, "2"),
            ("-1.56", Rounding::Truncate, "-1"),
        ] {
            let rounded = number(text).to_scale(0, rounding).map(|number| number.to_string());
            assert_eq!(rounded.as_deref(), Some(expected), "{text}");
        }
        assert_eq!(number("1.50").to_string(), "1.50");
        assert_eq!(number("-0.05").to_string(), "-0.05");
        assert_eq!(number("1e3").to_string(), "1000");
    }
}
