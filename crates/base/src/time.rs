//! Instants. Time is an argument everywhere; only the wiring owns a clock.

use serde::{Deserialize, Serialize};

/// An instant: milliseconds since 1970-01-01T00:00:00Z. Text form is RFC 3339
/// in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date and time with offset")]
pub struct InvalidTime;

impl Timestamp {
    /// The earliest instant that can be named: the beginning of the year 1.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000);
    /// Later than any instant that can occur.
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000);

    /// From milliseconds since the epoch, clamped to the years 1 to 9999.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This instant and `millis` more (or less, if negative).
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this instant; negative if it is later.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The calendar date in UTC.
    pub fn date(self) -> jiff::civil::Date {
        self.civil().date()
    }

    fn civil(self) -> jiff::civil::DateTime {
        let at = jiff::Timestamp::from_millisecond(self.0);
        jiff::tz::Offset::UTC.to_datetime(at.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}Z", self.civil().strftime("%Y-%m-%dT%H:%M:%S%.3f"))
    }
}

impl std::str::FromStr for Timestamp {
    type Err = InvalidTime;
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let at: jiff::Timestamp = text.parse().map_err(|_| InvalidTime)?;
        Ok(Self::from_millis(at.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self::from_millis(i64::deserialize(deserializer)?))
        }
    }
}

/// Tells the time. Implemented over the system clock in the wiring only, and by
/// [`ManualClock`] in tests and drills.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(at.millis().into())
    }

    /// Moves the clock by `millis`.
    pub fn advance_ms(&self, millis: i64) {
        self.0.fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_rfc_3339_with_milliseconds() {
        let at = Timestamp::from_millis(1_432_598_400_007);
        assert_eq!(at.to_string(), "2015-05-26T00:00:00.007Z");
        assert_eq!("2015-05-25T20:00:00.007-04:00".parse(), Ok(at));
        let born = Timestamp::from_millis(-1);
        assert_eq!(born.to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!("yesterday".parse::<Timestamp>(), Err(InvalidTime));
    }
}
