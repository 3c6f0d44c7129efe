//! Dates as spans of time: `2015-05` is the whole month (search.html#date).

use jiff::civil::{Date, DateTime, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const MINUTE_MS: i64 = 60_000;

/// A span of time, both ends included: milliseconds since 1970-01-01T00:00:00Z.
/// Open ends are `i64::MIN` and `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first millisecond.
    pub from: i64,
    /// The last millisecond.
    pub to: i64,
}

/// How much of a date is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precision {
    Year,
    Month,
    Day,
    Minute,
    Second,
    Fraction,
}

/// A date or date and time as it was written.
pub(crate) struct Written {
    pub span: Span,
    pub precision: Precision,
    pub has_offset: bool,
}

impl Span {
    /// Reads a FHIR `date`, `dateTime` or `instant`; also what a search may
    /// give (minutes without seconds, no offset: then UTC is meant).
    pub fn parse(text: &str) -> Option<Self> {
        parse_time(text).map(|written| written.span)
    }

    /// The span of a FHIR Period; without an end it is open.
    pub fn of_period(period: &Value) -> Option<Self> {
        let end = |name: &str| period[name].as_str().map(Self::parse);
        let (start, end) = (end("start"), end("end"));
        if start.is_none() && end.is_none() {
            return None;
        }
        let from = start.map_or(Some(i64::MIN), |span| span.map(|span| span.from))?;
        let to = end.map_or(Some(i64::MAX), |span| span.map(|span| span.to))?;
        Some(Self { from, to })
    }

    /// The outer limits of a FHIR Timing; its schedule is not looked at.
    pub fn of_timing(timing: &Value) -> Option<Self> {
        let events = timing["event"].as_array().into_iter().flatten();
        let events = events.filter_map(Value::as_str).filter_map(Self::parse);
        events
            .chain(Self::of_period(&timing["repeat"]["boundsPeriod"]))
            .reduce(|a, b| Self { from: a.from.min(b.from), to: a.to.max(b.to) })
    }

    /// Whether all of `other` lies within.
    pub fn contains(self, other: Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    /// Whether the two have an instant in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

fn digits(text: &str, from: usize, to: usize) -> Option<i32> {
    let part = text.get(from..to)?;
    if part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse().ok() } else { None }
}

fn millis(at: DateTime) -> Option<i64> {
    let at = jiff::tz::Offset::UTC.to_timestamp(at).ok()?;
    Some(at.as_millisecond())
}

/// Reads `YYYY[-MM[-DD[Thh:mm[:ss[.f…]][Z|±hh:mm]]]]`.
pub(crate) fn parse_time(text: &str) -> Option<Written> {
    if !text.is_ascii() {
        return None;
    }
    let year = i16::try_from(digits(text, 0, 4)?).ok().filter(|year| *year > 0)?;
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let part = |from: usize| -> Option<i8> {
        if text.as_bytes().get(from - 1) != Some(&b'-') {
            return None;
        }
        i8::try_from(digits(date, from, from + 2)?).ok()
    };
    let day_start =
        |month, day| millis(Date::new(year, month, day).ok()?.to_datetime(Time::midnight()));
    if time.is_none() {
        let (from, next, precision) = match date.len() {
            4 => {
                let from = day_start(1, 1)?;
                let days = if Date::new(year, 2, 29).is_ok() { 366 } else { 365 };
                (from, from + days * 24 * 60 * MINUTE_MS, Precision::Year)
            }
            7 => {
                let first = Date::new(year, part(5)?, 1).ok()?;
                let from = millis(first.to_datetime(Time::midnight()))?;
                let days = i64::from(first.days_in_month());
                (from, from + days * 24 * 60 * MINUTE_MS, Precision::Month)
            }
            10 => {
                let from = day_start(part(5)?, part(8)?)?;
                (from, from + 24 * 60 * MINUTE_MS, Precision::Day)
            }
            _ => return None,
        };
        return Some(Written { span: Span { from, to: next - 1 }, precision, has_offset: false });
    }
    if date.len() != 10 {
        return None;
    }
    let midnight = day_start(part(5)?, part(8)?)?;
    let time = time?;
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let (offset_minutes, has_offset) = offset(zone)?;
    let (hour, minute) = (digits(clock, 0, 2)?, digits(clock, 3, 5)?);
    if hour > 23 || minute > 59 || clock.get(2..3) != Some(":") {
        return None;
    }
    let (mut from, mut width, mut precision) =
        (midnight + i64::from(hour * 60 + minute) * MINUTE_MS, MINUTE_MS, Precision::Minute);
    if clock.len() > 5 {
        let second = digits(clock, 6, 8).filter(|second| *second <= 60)?;
        if clock.get(5..6) != Some(":") {
            return None;
        }
        // A leap second counts as the one before: no calendar here knows them.
        from += i64::from(second.min(59)) * 1000;
        (width, precision) = (1000, Precision::Second);
        if clock.len() > 8 {
            let fraction = clock.get(8..)?.strip_prefix('.')?;
            if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let padded = format!("{fraction:0<3}");
            from += i64::from(digits(&padded, 0, 3)?);
            width = 10_i64.pow(3 - fraction.len().min(3) as u32);
            precision = Precision::Fraction;
        }
    }
    from -= offset_minutes * MINUTE_MS;
    Some(Written { span: Span { from, to: from + width - 1 }, precision, has_offset })
}

/// Minutes east of UTC, and whether the text names an offset at all.
fn offset(zone: &str) -> Option<(i64, bool)> {
    match zone {
        "" => Some((0, false)),
        "Z" => Some((0, true)),
        _ => {
            let (hours, minutes) = (digits(zone, 1, 3)?, digits(zone, 4, 6)?);
            let fits = zone.len() == 6 && &zone[3..4] == ":" && hours <= 14 && minutes <= 59;
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            fits.then_some((sign * i64::from(hours * 60 + minutes), true))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_date_is_the_span_of_its_precision() {
        let day = 86_400_000;
        for (text, from, width) in [
            ("1970", 0, 365 * day),
            ("1972", 2 * 365 * day, 366 * day),
            ("1970-02", 31 * day, 28 * day),
            ("1970-01-02", day, day),
            ("1970-01-01T01:00Z", 3_600_000, 60_000),
            ("1970-01-01T01:00:00+01:00", 0, 1000),
            ("1969-12-31T19:00:00.5-05:00", 500, 100),
            ("1970-01-01T00:00:00.1234567Z", 123, 1),
        ] {
            assert_eq!(Span::parse(text), Some(Span { from, to: from + width - 1 }), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "15",
            "2015-13",
            "2015-02-30",
            "2015-1-1",
            "2015-01-01T",
            "2015-01-01T25:00Z",
            "2015-01-01T10",
            "2015-01-01T10:00:00.Z",
            "2015-01-01T10:00:00+1:00",
            "2015/01/01",
            "0000",
            "2015-01-01 10:00",
            "2015T10:00",
            "２０１５",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_period_without_an_end_is_open() {
        let span = Span::of_period(&json!({"start": "1970"})).expect("a span");
        assert_eq!((span.from, span.to), (0, i64::MAX));
        assert_eq!(Span::of_period(&json!({})), None);
        assert_eq!(Span::of_period(&json!({"start": "x"})), None);
    }
}
