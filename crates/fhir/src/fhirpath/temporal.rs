//! Dates and times with partial precision (FHIRPath `Date`, `DateTime`, `Time`).
//!
//! Two of them are compared as spans: what their precision leaves open stays
//! open, and so does the offset of one that names none beside one that does.

use std::cmp::Ordering;
use std::fmt;

use holdfast_base::Timestamp;

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;

/// Which of the three it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TemporalKind {
    Date,
    DateTime,
    Time,
}

/// The last part that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
}

/// A date, a date and time, or a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    kind: TemporalKind,
    precision: Part,
    year: i32,
    month: u8,
    day: u8,
    /// Of the day; less than a day.
    nanos: i64,
    fraction_digits: u8,
    offset_minutes: Option<i16>,
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i32, month: u8, day: u8) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i32, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    ((year + era * 400 + i64::from(month <= 2)) as i32, month as u8, day as u8)
}

fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn number(text: &str, length: usize, least: i64, most: i64) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(length)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().ok()?;
    (least..=most).contains(&value).then_some((value, rest))
}

impl Temporal {
    /// Reads `2015-02`, `2015-02-04T14:34:28+10:00` or `14:34`, as `kind` says.
    pub fn parse(kind: TemporalKind, text: &str) -> Option<Self> {
        let mut found = Self {
            kind,
            precision: Part::Hour,
            year: 1970,
            month: 1,
            day: 1,
            nanos: 0,
            fraction_digits: 0,
            offset_minutes: None,
        };
        if kind == TemporalKind::Time {
            return found.read_clock(text)?.is_empty().then_some(found);
        }
        let (date, clock) = match text.split_once('T') {
            Some((date, clock)) if kind == TemporalKind::DateTime => (date, clock),
            Some(_) => return None,
            None => (text, ""),
        };
        let (year, rest) = number(date, 4, 1, 9999)?;
        found.year = year as i32;
        found.precision = Part::Year;
        if let Some(rest) = rest.strip_prefix('-') {
            let (month, rest) = number(rest, 2, 1, 12)?;
            found.month = month as u8;
            found.precision = Part::Month;
            if let Some(rest) = rest.strip_prefix('-') {
                let (day, rest) =
                    number(rest, 2, 1, i64::from(days_in_month(found.year, found.month)))?;
                found.day = day as u8;
                found.precision = Part::Day;
                if !rest.is_empty() {
                    return None;
                }
            } else if !rest.is_empty() {
                return None;
            }
        } else if !rest.is_empty() {
            return None;
        }
        if clock.is_empty() {
            return Some(found);
        }
        if found.precision != Part::Day {
            return None;
        }
        let zone = found.read_clock(clock)?;
        found.offset_minutes = match zone {
            "" => None,
            "Z" => Some(0),
            zone => {
                let sign = if zone.starts_with('-') { -1 } else { 1 };
                let (hours, rest) = number(zone.strip_prefix(['+', '-'])?, 2, 0, 14)?;
                let (minutes, rest) = number(rest.strip_prefix(':')?, 2, 0, 59)?;
                if !rest.is_empty() {
                    return None;
                }
                Some(sign * (hours * 60 + minutes) as i16)
            }
        };
        Some(found)
    }

    /// Reads `hh[:mm[:ss[.f…]]]` and gives back what follows.
    fn read_clock<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        let (hour, mut rest) = number(text, 2, 0, 23)?;
        self.nanos = hour * HOUR as i64;
        self.precision = Part::Hour;
        if let Some(after) = rest.strip_prefix(':') {
            let (minute, after) = number(after, 2, 0, 59)?;
            self.nanos += minute * MINUTE as i64;
            (self.precision, rest) = (Part::Minute, after);
            if let Some(after) = rest.strip_prefix(':') {
                // A leap second counts as the one before.
                let (second, after) = number(after, 2, 0, 60)?;
                self.nanos += second.min(59) * SECOND as i64;
                (self.precision, rest) = (Part::Second, after);
                if let Some(after) = rest.strip_prefix('.') {
                    let length = after.bytes().take_while(u8::is_ascii_digit).count();
                    let (fraction, after) = after.split_at(length);
                    let kept = &fraction[..length.min(9)];
                    self.nanos += format!("{kept:0<9}").parse::<i64>().ok()?;
                    self.fraction_digits = kept.len() as u8;
                    (self.precision, rest) = (Part::Fraction, after);
                    if length == 0 {
                        return None;
                    }
                }
            }
        }
        Some(rest)
    }

    /// The instant, in UTC.
    pub(super) fn of_instant(at: Timestamp, kind: TemporalKind) -> Self {
        let millis = at.millis();
        let (year, month, day) = civil_from_days(millis.div_euclid(86_400_000));
        let is_date = kind == TemporalKind::Date;
        Self {
            kind,
            precision: if is_date { Part::Day } else { Part::Fraction },
            year,
            month,
            day,
            nanos: if is_date { 0 } else { millis.rem_euclid(86_400_000) * 1_000_000 },
            fraction_digits: 3,
            offset_minutes: (kind == TemporalKind::DateTime).then_some(0),
        }
    }

    /// Which of the three it is.
    pub fn kind(&self) -> TemporalKind {
        self.kind
    }

    /// As the other kind; `None` between a time and a date.
    pub(super) fn to_kind(self, kind: TemporalKind) -> Option<Self> {
        match (self.kind, kind) {
            (from, to) if from == to => Some(self),
            (TemporalKind::Date, TemporalKind::DateTime) => Some(Self { kind, ..self }),
            (TemporalKind::DateTime, TemporalKind::Date) => Some(Self {
                kind,
                precision: self.precision.min(Part::Day),
                nanos: 0,
                offset_minutes: None,
                ..self
            }),
            _ => None,
        }
    }

    fn local(&self) -> i128 {
        i128::from(days_from_civil(self.year, self.month, self.day)) * DAY + i128::from(self.nanos)
    }

    /// The first and the last nanosecond that it can mean, on its own clock.
    fn span(&self) -> (i128, i128) {
        let from = self.local();
        let days = |days: i64| i128::from(days) * DAY;
        let width = match self.precision {
            Part::Year => days(365 + i64::from(days_in_month(self.year, 2) == 29)),
            Part::Month => days(i64::from(days_in_month(self.year, self.month))),
            Part::Day => DAY,
            Part::Hour => HOUR,
            Part::Minute => MINUTE,
            Part::Second | Part::Fraction => 1,
        };
        (from, from + width - 1)
    }

    /// Order; `None` where precision or a missing offset leaves it open.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        let is_zoned = self.offset_minutes.is_some() || other.offset_minutes.is_some();
        let moved = |at: &Self| {
            let (from, to) = at.span();
            match at.offset_minutes {
                Some(minutes) => {
                    let by = i128::from(minutes) * MINUTE;
                    (from - by, to - by)
                }
                // Somewhere between the easternmost and the westernmost offset.
                None if is_zoned => (from - 14 * HOUR, to + 12 * HOUR),
                None => (from, to),
            }
        };
        let ((from, to), (other_from, other_to)) = (moved(self), moved(other));
        let same_precision = self.precision.min(Part::Second) == other.precision.min(Part::Second)
            && self.offset_minutes.is_some() == other.offset_minutes.is_some();
        if same_precision && (from, to) == (other_from, other_to) {
            Some(Ordering::Equal)
        } else if to < other_from {
            Some(Ordering::Less)
        } else if other_to < from {
            Some(Ordering::Greater)
        } else {
            None
        }
    }

    /// This and so many calendar months; a day that the month lacks is its last.
    pub(super) fn plus_months(self, months: i64) -> Option<Self> {
        let months = if self.precision == Part::Year { months / 12 * 12 } else { months };
        let total = (i64::from(self.year) * 12 + i64::from(self.month) - 1).checked_add(months)?;
        let year =
            i32::try_from(total.div_euclid(12)).ok().filter(|year| (1..=9999).contains(year))?;
        let month = total.rem_euclid(12) as u8 + 1;
        Some(Self { year, month, day: self.day.min(days_in_month(year, month)), ..self })
    }

    /// This and so many nanoseconds; what is finer than the precision goes.
    pub(super) fn plus_nanos(self, nanos: i128) -> Option<Self> {
        if self.kind == TemporalKind::Time {
            let nanos = (i128::from(self.nanos) + nanos % DAY).rem_euclid(DAY);
            return Some(Self { nanos: i64::try_from(nanos).ok()?, ..self }.with_fraction());
        }
        let whole = |unit: i128| nanos / unit * unit;
        let nanos = match self.precision {
            Part::Year => {
                return self.plus_months(i64::try_from(nanos / DAY / 365).ok()?.checked_mul(12)?);
            }
            Part::Month => return self.plus_months(i64::try_from(nanos / DAY / 30).ok()?),
            Part::Day => whole(DAY),
            Part::Hour => whole(HOUR),
            Part::Minute => whole(MINUTE),
            Part::Second | Part::Fraction => nanos,
        };
        let sum = self.local().checked_add(nanos)?;
        let (year, month, day) = civil_from_days(
            i64::try_from(sum.div_euclid(DAY)).ok().filter(|days| days.abs() < 4_000_000)?,
        );
        let nanos = i64::try_from(sum.rem_euclid(DAY)).ok()?;
        let found = Self { year, month, day, nanos, ..self }.with_fraction();
        (1..=9999).contains(&year).then_some(found)
    }

    fn with_fraction(self) -> Self {
        if self.precision >= Part::Second
            && self.fraction_digits == 0
            && self.nanos % SECOND as i64 != 0
        {
            return Self { precision: Part::Fraction, fraction_digits: 3, ..self };
        }
        self
    }

    /// Digits of the precision: 4 for a year, 17 for milliseconds of a day.
    pub(super) fn precision_digits(&self) -> i64 {
        let digits = match self.precision {
            Part::Year => 4,
            Part::Month => 6,
            Part::Day => 8,
            Part::Hour => 10,
            Part::Minute => 12,
            Part::Second => 14,
            Part::Fraction => 17,
        };
        if self.kind == TemporalKind::Time { digits - 8 } else { digits }
    }

    /// The first or the last value of that many digits which this can mean.
    pub(super) fn boundary(self, digits: i64, is_high: bool) -> Option<Self> {
        let lift = if self.kind == TemporalKind::Time { 8 } else { 0 };
        let precision = match digits + lift {
            4 => Part::Year,
            6 => Part::Month,
            8 => Part::Day,
            10 => Part::Hour,
            12 => Part::Minute,
            14 => Part::Second,
            17 => Part::Fraction,
            _ => return None,
        };
        let fits = match self.kind {
            TemporalKind::Date => precision <= Part::Day,
            TemporalKind::Time => precision >= Part::Hour,
            TemporalKind::DateTime => true,
        };
        if !fits {
            return None;
        }
        let mut found = Self { precision, fraction_digits: 3, ..self };
        if is_high {
            if self.precision < Part::Month {
                found.month = 12;
            }
            if self.precision < Part::Day {
                found.day = days_in_month(found.year, found.month);
            }
            let finer = match self.precision {
                Part::Year | Part::Month | Part::Day => DAY,
                Part::Hour => HOUR,
                Part::Minute => MINUTE,
                Part::Second => SECOND,
                Part::Fraction => 1,
            };
            found.nanos += (finer - 1) as i64;
        }
        if precision < Part::Hour {
            found.offset_minutes = None;
        } else if self.kind == TemporalKind::DateTime && found.offset_minutes.is_none() {
            found.offset_minutes = Some(if is_high { -12 * 60 } else { 14 * 60 });
        }
        Some(found)
    }
}

impl fmt::Display for Temporal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.nanos);
        if self.kind != TemporalKind::Time {
            write!(f, "{:04}", self.year)?;
            if self.precision >= Part::Month {
                write!(f, "-{:02}", self.month)?;
            }
            if self.precision >= Part::Day {
                write!(f, "-{:02}", self.day)?;
            }
            if self.precision < Part::Hour {
                return Ok(());
            }
            f.write_str("T")?;
        }
        write!(f, "{:02}", nanos / HOUR)?;
        if self.precision >= Part::Minute {
            write!(f, ":{:02}", nanos / MINUTE % 60)?;
        }
        if self.precision >= Part::Second {
            write!(f, ":{:02}", nanos / SECOND % 60)?;
        }
        if self.precision >= Part::Fraction {
            let digits = format!("{:09}", nanos % SECOND);
            write!(f, ".{}", &digits[..usize::from(self.fraction_digits.clamp(1, 9))])?;
        }
        match self.offset_minutes {
            None => Ok(()),
            Some(0) => f.write_str("Z"),
            Some(minutes) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.unsigned_abs();
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Temporal {
        match text.strip_prefix('T') {
            Some(time) => Temporal::parse(TemporalKind::Time, time),
            None => Temporal::parse(TemporalKind::DateTime, text),
        }
        .expect(text)
    }

    #[test]
    fn what_precision_or_offset_leave_open_stays_open() {
        for (left, right, order) in [
            ("2012-04", "2012-05-01", Some(Ordering::Less)),
            ("2012-04", "2012-04-15", None),
            ("2012", "2012", Some(Ordering::Equal)),
            ("2012-04-15T15:30:31", "2012-04-15T15:30:31.0", Some(Ordering::Equal)),
            ("2012-04-15T15:00:00+02:00", "2012-04-15T16:00:00+03:00", Some(Ordering::Equal)),
            ("2012-04-15T15:00:00Z", "2012-04-15T10:00:00", None),
            ("2012-04-15T15:00:00Z", "2012-04-10T10:00:00", Some(Ordering::Greater)),
            ("T10:30", "T10:30:00", None),
        ] {
            assert_eq!(at(left).compare(&at(right)), order, "{left} {right}");
        }
    }

    #[test]
    fn days_and_dates_are_each_others_inverse() {
        for days in (-700_000..2_900_000).step_by(97) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(
            at("2015-01-31").plus_months(1).map(|at| at.to_string()).as_deref(),
            Some("2015-02-28")
        );
        assert_eq!(
            at("T23:30:00").plus_nanos(HOUR).map(|at| at.to_string()).as_deref(),
            Some("00:30:00")
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "2015-13",
            "2015-02-30",
            "15",
            "2015-1",
            "2015T10:00",
            "2015-01-01T25:00",
            "2015-01-01T10:00:00.Z",
            "２０１５",
        ] {
            assert_eq!(Temporal::parse(TemporalKind::DateTime, text), None, "{text}");
        }
    }
}
