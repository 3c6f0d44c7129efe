//! HL7 v2 times (DTM, TS, DT, TM) to FHIR dates and times.

use jiff::civil::{Date, Time};
use jiff::tz::{Offset, TimeZone};

/// A point in time, as exact as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moment {
    /// `2015`, `2015-05`, `2015-05-26`.
    pub date: String,
    /// `12:30:00.125-04:00`, when a time of day was sent.
    time: Option<String>,
}

impl Moment {
    /// FHIR `dateTime`.
    pub fn date_time(&self) -> String {
        match &self.time {
            Some(time) => format!("{}T{time}", self.date),
            None => self.date.clone(),
        }
    }

    /// FHIR `instant`: only when a time of day was sent.
    pub fn instant(&self) -> Option<String> {
        self.time.as_ref().map(|_| self.date_time())
    }
}

/// Which offset a time has that was sent without one.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    header: Option<Offset>,
    zone: TimeZone,
}

/// Whether `posix` is a time zone in POSIX form, such as `EST5EDT,M3.2.0,M11.1.0`.
pub fn is_time_zone(posix: &str) -> bool {
    TimeZone::posix(posix).is_ok()
}

impl Zone {
    /// The zone of a message: the offset of MSH-7 if there is one (HL7 v2.8.2
    /// section 2.A.22), the sender's configured zone otherwise; UTC if that
    /// cannot be read.
    pub fn new(posix: &str, message_time: Option<&str>) -> Self {
        let header = message_time.and_then(|text| split_offset(text.trim()).1);
        Self { header, zone: TimeZone::posix(posix).unwrap_or(TimeZone::UTC) }
    }

    fn offset_at(&self, date: Date, time: Time) -> Option<Offset> {
        if self.header.is_some() {
            return self.header;
        }
        let at = self.zone.to_timestamp(date.to_datetime(time)).ok()?;
        Some(self.zone.to_offset(at))
    }

    /// Reads `YYYY[MM[DD[HH[MM[SS[.S…]]]]]][+/-ZZZZ]`, and ISO 8601 where
    /// senders write that. What follows the last readable part is left out.
    pub fn read(&self, text: &str) -> Option<Moment> {
        let compact = compact(text.trim());
        let (digits, offset) = split_offset(&compact);
        let number = |from: usize, to: usize| digits.get(from..to)?.parse::<i16>().ok();
        let year = number(0, 4).filter(|year| (1800..=2200).contains(year))?;
        let part = |from: usize, low: i16, high: i16| {
            let number = number(from, from + 2).filter(|number| (low..=high).contains(number))?;
            i8::try_from(number).ok()
        };
        let Some(month) = part(4, 1, 12) else {
            return Some(Moment { date: format!("{year:04}"), time: None });
        };
        let Some(date) = part(6, 1, 31).and_then(|day| Date::new(year, month, day).ok()) else {
            return Some(Moment { date: format!("{year:04}-{month:02}"), time: None });
        };
        let time = part(8, 0, 23).and_then(|hour| {
            let minute = part(10, 0, 59).unwrap_or(0);
            let second = part(12, 0, 59).unwrap_or(0);
            let offset =
                offset.or(self.offset_at(date, Time::new(hour, minute, second, 0).ok()?))?;
            let fraction = fraction(digits);
            Some(format!("{hour:02}:{minute:02}:{second:02}{fraction}{}", written(offset)))
        });
        Some(Moment { date: date.to_string(), time })
    }
}

/// FHIR `time` of an HL7 TM: `HH[MM[SS[.S…]]]`.
pub(crate) fn read_time(text: &str) -> Option<String> {
    let (digits, _) = split_offset(text.trim());
    let part = |from: usize, high: u8| {
        digits.get(from..from + 2)?.parse::<u8>().ok().filter(|number| *number <= high)
    };
    let hour = part(0, 23)?;
    let (minute, second) = (part(2, 59).unwrap_or(0), part(4, 59).unwrap_or(0));
    Some(format!("{hour:02}:{minute:02}:{second:02}"))
}

/// `2015-05-26T12:30:00` as `20150526123000`; anything else as it is.
fn compact(text: &str) -> String {
    let bytes = text.as_bytes();
    if bytes.get(4) != Some(&b'-') || !bytes.iter().take(4).all(u8::is_ascii_digit) {
        return text.to_owned();
    }
    let (date, time) = text.split_at_checked(10).unwrap_or((text, ""));
    let date: String = date.chars().filter(|c| *c != '-').collect();
    let time = time.trim_start_matches(['T', 't', ' ']).replace(':', "");
    format!("{date}{}", time.replace(['Z', 'z'], "+0000"))
}

/// The digits before an offset, and the offset.
fn split_offset(text: &str) -> (&str, Option<Offset>) {
    let Some(place) = text.rfind(['+', '-']).filter(|place| *place >= 4) else {
        return (text, None);
    };
    let (digits, zone) = text.split_at(place);
    let number = |from: usize| zone.get(from..from + 2)?.parse::<i32>().ok();
    let Some(hours) = number(1).filter(|hours| *hours <= 14) else { return (digits, None) };
    let minutes = number(3).filter(|minutes| *minutes < 60).unwrap_or(0);
    let seconds = hours * 3600 + minutes * 60;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    (digits, Offset::from_seconds(sign * seconds).ok())
}

fn fraction(digits: &str) -> String {
    match digits.split_once('.') {
        Some((before, after)) if before.len() == 14 => {
            let after: String = after.chars().take_while(char::is_ascii_digit).take(9).collect();
            if after.is_empty() { String::new() } else { format!(".{after}") }
        }
        _ => String::new(),
    }
}

fn written(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let zone = Zone::new("EST5EDT,M3.2.0,M11.1.0", None);
        let read = zone.read(text).map(|moment| moment.date_time()).unwrap_or_default();
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn times_keep_their_exactness_and_get_an_offset() {
        check("2015", "2015");
        check("201505", "2015-05");
        check("20150526", "2015-05-26");
        check("2015052607", "2015-05-26T07:00:00-04:00");
        check("201501260730", "2015-01-26T07:30:00-05:00");
        check("20150526073015.125", "2015-05-26T07:30:15.125-04:00");
        check("20150526073015-0700", "2015-05-26T07:30:15-07:00");
        check("20150526073015.5+0530", "2015-05-26T07:30:15.5+05:30");
        check("2015-05-26T07:30:15Z", "2015-05-26T07:30:15+00:00");
        check("2015-05-26", "2015-05-26");
    }

    #[test]
    fn what_is_no_time_gives_none_or_less() {
        for text in ["", "yesterday", "0000", "99999999", "é015"] {
            check(text, "");
        }
        check("20151326", "2015");
        check("20150231", "2015-02");
        check("201505269999", "2015-05-26");
    }

    #[test]
    fn the_offset_of_the_header_is_the_default() {
        let zone = Zone::new("UTC0", Some("20150526-0600"));
        let moment = zone.read("201505261200").expect("a time");
        assert_eq!(moment.instant().as_deref(), Some("2015-05-26T12:00:00-06:00"));
        assert_eq!(read_time("0730").as_deref(), Some("07:30:00"));
        assert_eq!(read_time("2530"), None);
    }
}
