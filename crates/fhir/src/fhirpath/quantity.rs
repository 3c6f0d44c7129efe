//! Quantities: a number and a unit, either of UCUM or of the calendar.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use super::number::{Number, Rounding};
use super::temporal::{Temporal, TemporalKind};
use crate::ucum::Unit;

/// The calendar units with their plurals, and the UCUM unit of the same length.
const CALENDAR: [(&str, &str, &str); 8] = [
    ("year", "years", "a"),
    ("month", "months", "mo"),
    ("week", "weeks", "wk"),
    ("day", "days", "d"),
    ("hour", "hours", "h"),
    ("minute", "minutes", "min"),
    ("second", "seconds", "s"),
    ("millisecond", "milliseconds", "ms"),
];

/// The UCUM unit of a calendar word.
pub(super) fn calendar_unit(word: &str) -> Option<&'static str> {
    CALENDAR.iter().find(|(one, many, _)| word == *one || word == *many).map(|row| row.2)
}

/// A number with a unit.
#[derive(Debug, Clone)]
pub struct Quantity<'a> {
    /// How much.
    pub value: Number,
    /// A UCUM code or a word of the calendar (`days`).
    pub unit: Cow<'a, str>,
}

impl<'a> Quantity<'a> {
    pub(super) fn pure(value: Number) -> Self {
        Self { value, unit: Cow::Borrowed("1") }
    }

    /// The UCUM code, and whether the unit is a word for a length that UCUM
    /// defines otherwise (years and months).
    fn code(&self) -> (&str, bool) {
        match calendar_unit(&self.unit) {
            Some(code) => (code, matches!(code, "a" | "mo")),
            None => (&self.unit, false),
        }
    }

    /// Order; `None` when the units have nothing in common. `is_loose` takes a
    /// calendar year for 365.25 days.
    pub(super) fn compare(&self, other: &Self, is_loose: bool) -> Option<Ordering> {
        let ((left, left_calendar), (right, right_calendar)) = (self.code(), other.code());
        if left == right && (is_loose || left_calendar == right_calendar) {
            return Some(self.value.cmp(&other.value));
        }
        // A calendar year is twelve months and no number of days.
        if left_calendar != right_calendar && !is_loose {
            return None;
        }
        let (left, right) = (Unit::parse(left)?, Unit::parse(right)?);
        let (digits, exponent) = self.value.parts();
        let (other_digits, other_exponent) = other.value.parts();
        Unit::compare((digits, exponent, &left), (other_digits, other_exponent, &right))
    }

    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        self.unit == other.unit
            || Unit::parse(self.code().0)
                .zip(Unit::parse(other.code().0))
                .is_some_and(|(left, right)| left.is_comparable(&right))
    }

    /// Equal at the precision of the coarser of the two.
    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        let round = |value: Number, scale| value.to_scale(scale, Rounding::Nearest);
        let equal = |left: Number, right: Number| {
            let scale = left.scale().min(right.scale());
            round(left, scale).is_some() && round(left, scale) == round(right, scale)
        };
        if self.code().0 == other.code().0 {
            return equal(self.value, other.value);
        }
        // In the coarser unit, where the number is the smaller one.
        let (Some(here), Some(there)) =
            (other.converted(self.code().0), self.converted(other.code().0))
        else {
            return false;
        };
        if here.absolute() <= other.value.absolute() {
            equal(self.value, here)
        } else {
            equal(there, other.value)
        }
    }

    /// The number in another unit.
    pub(super) fn converted(&self, unit: &str) -> Option<Number> {
        let (from, to) = (Unit::parse(self.code().0)?, Unit::parse(unit)?);
        if !from.is_comparable(&to) {
            return None;
        }
        let (digits, exponent) = self.value.parts();
        let (base, base_exponent) = from.to_base(digits, exponent)?;
        // 1 of the target in base units divides; temperatures are not divided.
        let (one, one_exponent) = to.to_base(1, 0)?;
        if to.to_base(0, 0)?.0 != 0 || from.to_base(0, 0)?.0 != 0 {
            return (from == to).then_some(self.value);
        }
        Number::of_parts(base, base_exponent)?.over(Number::of_parts(one, one_exponent)?)
    }

    pub(super) fn plus(&self, other: &Self) -> Option<Self> {
        if self.code() == other.code() {
            return Some(Self { value: self.value.plus(other.value)?, unit: self.unit.clone() });
        }
        // The sum has the finer unit.
        let here = other.converted(self.code().0)?;
        let there = self.converted(other.code().0)?;
        if there.absolute() >= self.value.absolute() {
            Some(Self { value: there.plus(other.value)?, unit: other.unit.clone() })
        } else {
            Some(Self { value: here.plus(self.value)?, unit: self.unit.clone() })
        }
    }

    /// Product (or quotient): of a pure number in the other's unit, otherwise in base units.
    pub(super) fn times(&self, other: &Self, is_quotient: bool) -> Option<Self> {
        let combined = |left: Number, right: Number| {
            if is_quotient { left.over(right) } else { left.times(right) }
        };
        if other.unit == "1" {
            return Some(Self {
                value: combined(self.value, other.value)?,
                unit: self.unit.clone(),
            });
        }
        if self.unit == "1" && !is_quotient {
            return Some(Self {
                value: combined(self.value, other.value)?,
                unit: other.unit.clone(),
            });
        }
        let (left, right) = (Unit::parse(self.code().0)?, Unit::parse(other.code().0)?);
        let base = |quantity: &Self, unit: &Unit| {
            let (digits, exponent) = quantity.value.parts();
            let (digits, exponent) = unit.to_base(digits, exponent)?;
            Number::of_parts(digits, exponent)
        };
        let unit = left.times(&right.power(if is_quotient { -1 } else { 1 })?)?;
        let value = combined(base(self, &left)?, base(other, &right)?)?;
        Some(Self { value, unit: Cow::Owned(unit.base_code()) })
    }

    /// Adds this to a date or time: calendar units, and those of UCUM that are
    /// exactly as long. `None` for other units and beyond the calendar.
    pub(super) fn added_to(&self, at: Temporal) -> Option<Temporal> {
        let (code, is_calendar) = self.code();
        let whole = || self.value.to_scale(0, Rounding::Truncate)?.to_integer();
        let is_time = at.kind() == TemporalKind::Time;
        if is_calendar {
            let months = if code == "a" { whole()?.checked_mul(12)? } else { whole()? };
            return if is_time { None } else { at.plus_months(months) };
        }
        let length: i128 = match code {
            "wk" => 7 * 86_400_000,
            "d" => 86_400_000,
            "h" => 3_600_000,
            "min" => 60_000,
            "s" | "ms" => {
                let scale = if code == "s" { 9 } else { 6 };
                let (digits, _) = self.value.to_scale(scale, Rounding::Truncate)?.parts();
                return at.plus_nanos(digits);
            }
            _ => return None,
        };
        if is_time && matches!(code, "wk" | "d") {
            return None;
        }
        at.plus_nanos(i128::from(whole()?).checked_mul(length)?.checked_mul(1_000_000)?)
    }
}

impl fmt::Display for Quantity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match calendar_unit(&self.unit) {
            Some(_) => write!(f, "{} {}", self.value, self.unit),
            None => write!(f, "{} '{}'", self.value, self.unit),
        }
    }
}
