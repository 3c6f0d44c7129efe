//! Exact decimals: search compares by implicit precision, which binary
//! fractions would blur.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// `digits × 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    digits: i64,
    exponent: i8,
}

impl Decimal {
    /// Reads a JSON number; `None` when it is none or exceeds 17 digits or the
    /// exponents ±60.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let bare = whole.strip_prefix('-').unwrap_or(whole);
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if bare.is_empty() || !plain(bare) || !plain(fraction) || mantissa.ends_with('.') {
            return None;
        }
        let all = format!("{bare}{fraction}");
        let significant = all.trim_start_matches('0');
        if significant.len() > 17 {
            return None;
        }
        let digits: i64 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        let exponent =
            i8::try_from(exponent).ok().filter(|exponent| (-60..=60).contains(exponent))?;
        Some(Self { digits: if whole.starts_with('-') { -digits } else { digits }, exponent })
    }

    /// Digits and exponent.
    pub(crate) fn parts(self) -> (i128, i32) {
        (i128::from(self.digits), i32::from(self.exponent))
    }

    /// `digits × 10^exponent`, rounded to 17 digits; `None` beyond the exponents ±60.
    pub(crate) fn rounded(mut digits: i128, mut exponent: i32) -> Option<Self> {
        while digits.unsigned_abs() >= 100_000_000_000_000_000 {
            let half = if digits % 10 >= 5 { 1 } else { -i128::from(digits % 10 <= -5) };
            digits = digits / 10 + half;
            exponent += 1;
        }
        let exponent =
            i8::try_from(exponent).ok().filter(|exponent| (-60..=60).contains(exponent))?;
        Some(Self { digits: i64::try_from(digits).ok()?, exponent })
    }

    /// The bounds of what rounds to this number at its written precision
    /// (`100` is 99.5 to 100.5; search.html#number).
    pub fn implicit_range(self) -> (Self, Self) {
        let exponent = self.exponent - 1;
        let tenfold = self.digits.saturating_mul(10);
        let bound = |half: i64| Self { digits: tenfold.saturating_add(half), exponent };
        (bound(-5), bound(5))
    }

    /// The bounds ten percent around this number (search.html#prefix, `ap`).
    pub fn approximate_range(self) -> (Self, Self) {
        let exponent = self.exponent - 1;
        let tenth = self.digits.saturating_abs();
        let tenfold = self.digits.saturating_mul(10);
        let bound = |by: i64| Self { digits: tenfold.saturating_add(by), exponent };
        (bound(-tenth), bound(tenth))
    }

    /// Length of [`ordered_bytes`](Self::ordered_bytes).
    pub(crate) const ORDERED_BYTES: usize = 11;

    /// Bytes whose order is the order of the numbers; equal numbers have equal ones.
    pub(crate) fn ordered_bytes(self) -> [u8; Self::ORDERED_BYTES] {
        /// Digits of the largest mantissa.
        const DIGITS: u32 = 19;
        let mut bytes = [0; Self::ORDERED_BYTES];
        bytes[0] = 1;
        let magnitude = self.digits.unsigned_abs();
        if magnitude == 0 {
            return bytes;
        }
        let length = magnitude.ilog10() + 1;
        let scale = i32::from(self.exponent) + length as i32;
        // 19 digits are less than 2^64: what has fewer is moved to the left.
        let mantissa = magnitude * 10_u64.pow(DIGITS - length);
        bytes[1..3].copy_from_slice(&((scale + 0x4000) as u16).to_be_bytes());
        bytes[3..].copy_from_slice(&mantissa.to_be_bytes());
        bytes[0] = 2;
        if self.digits < 0 {
            bytes[0] = 0;
            bytes[1..].iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes
    }

    /// `self × factor + offset`, if it can be held exactly.
    pub fn scaled(self, factor: Self, offset: Self) -> Option<Self> {
        let product = i128::from(self.digits) * i128::from(factor.digits);
        let exponent = i32::from(self.exponent) + i32::from(factor.exponent);
        let low = exponent.min(i32::from(offset.exponent));
        let lift = |digits: i128, from: i32| {
            10_i128.checked_pow(u32::try_from(from - low).ok()?)?.checked_mul(digits)
        };
        let sum = lift(product, exponent)?
            .checked_add(lift(i128::from(offset.digits), i32::from(offset.exponent))?)?;
        Some(Self { digits: i64::try_from(sum).ok()?, exponent: i8::try_from(low).ok()? })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = self.digits.signum().cmp(&other.digits.signum());
        if by_sign != Ordering::Equal || self.digits == 0 {
            return by_sign;
        }
        let low = self.exponent.min(other.exponent);
        let lift = |number: &Self| {
            let places = u32::from(number.exponent.abs_diff(low));
            10_i128.checked_pow(places)?.checked_mul(i128::from(number.digits))
        };
        match (lift(self), lift(other)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // Only the number that had to grow can overflow: it is the larger in magnitude.
            (None, _) if self.digits > 0 => Ordering::Greater,
            (None, _) => Ordering::Less,
            (_, None) if other.digits > 0 => Ordering::Less,
            (_, None) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).expect(text)
    }

    #[test]
    fn order_is_that_of_the_numbers() {
        let sorted = [
            "-1e60",
            "-2.5",
            "-2.49",
            "0",
            "1e-60",
            "0.1",
            "1",
            "1.5",
            "15e1",
            "99999999999999999",
            "1e60",
        ];
        for pair in sorted.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{pair:?}");
        }
        assert_eq!(decimal("5.40").cmp(&decimal("5.4")), Ordering::Equal);
        assert_eq!(decimal("1e2").cmp(&decimal("100")), Ordering::Equal);
    }

    #[test]
    fn implicit_precision_is_half_a_unit_of_the_last_digit() {
        for (text, low, high) in [
            ("100", "99.5", "100.5"),
            ("100.00", "99.995", "100.005"),
            ("-5.4", "-5.45", "-5.35"),
            ("1e2", "50", "150"),
        ] {
            let (from, to) = decimal(text).implicit_range();
            assert!(from.cmp(&decimal(low)).is_eq() && to.cmp(&decimal(high)).is_eq(), "{text}");
        }
        let (from, to) = decimal("-20").approximate_range();
        assert!(from.cmp(&decimal("-22")).is_eq() && to.cmp(&decimal("-18")).is_eq());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", "-", ".5", "5.", "1e", "1e999", "0x1", "+1", "1 ", "NaN", "123456789012345678"]
        {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }
}
