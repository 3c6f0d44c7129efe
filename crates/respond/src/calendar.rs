//! Days as deadlines count them.

use holdfast_base::Timestamp;
use jiff::civil::{Date, Weekday};
use serde::{Deserialize, Serialize};

/// How a deadline counts its days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayUnit {
    /// Every day counts, and a deadline may fall on a weekend.
    Calendar,
    /// Saturdays and Sundays do not count. Holidays do: a state's own calendar
    /// is not known here, and counting them can only make a deadline early.
    Business,
}

/// The calendar day of `at` from which a deadline counts: the day it was in
/// Hawaii, the westernmost state (UTC-10). Nowhere in the fifty states was it
/// an earlier day, so a deadline may come out one day early and never late.
pub fn day_of(at: Timestamp) -> Date {
    const HAWAII_MS: i64 = -10 * 60 * 60 * 1000;
    at.plus_millis(HAWAII_MS).date()
}

/// The last day of a term of `days` that begins after `start`; `start` itself
/// is day 0.
pub fn add_days(start: Date, days: u16, unit: DayUnit) -> Date {
    match unit {
        DayUnit::Calendar => step(start, i32::from(days)),
        DayUnit::Business => {
            let mut day = start;
            let mut left = days;
            while left > 0 {
                let next = step(day, 1);
                if next == day {
                    break; // the end of the calendar
                }
                day = next;
                if !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) {
                    left -= 1;
                }
            }
            day
        }
    }
}

/// `days` after the last day of `start`'s calendar year. 45 CFR 164.408(c).
pub fn after_year_end(start: Date, days: u16) -> Date {
    add_days(start.last_of_year(), days, DayUnit::Calendar)
}

fn step(day: Date, days: i32) -> Date {
    day.saturating_add(jiff::Span::new().days(days))
}

/// `November 23, 2026`.
pub fn long(day: Date) -> String {
    day.strftime("%B %-d, %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn calendar_terms_count_every_day_after_the_start() {
        for (start, days, end) in [
            (date(2026, 5, 26), 60, date(2026, 7, 25)),
            (date(2026, 5, 26), 45, date(2026, 7, 10)),
            (date(2026, 5, 26), 30, date(2026, 6, 25)),
            (date(2026, 12, 20), 30, date(2027, 1, 19)),
            (date(2028, 2, 1), 30, date(2028, 3, 2)), // leap year
            (date(2027, 2, 1), 30, date(2027, 3, 3)),
            (date(2026, 5, 26), 0, date(2026, 5, 26)),
        ] {
            assert_eq!(add_days(start, days, DayUnit::Calendar), end, "{start} + {days}");
        }
    }

    #[test]
    fn business_terms_skip_weekends_and_no_holiday() {
        for (start, days, end) in [
            (date(2026, 5, 26), 15, date(2026, 6, 16)),  // Tuesday
            (date(2026, 5, 22), 1, date(2026, 5, 25)),   // Friday to Memorial Day
            (date(2026, 5, 23), 1, date(2026, 5, 25)),   // Saturday
            (date(2026, 5, 24), 5, date(2026, 5, 29)),   // Sunday
            (date(2026, 11, 23), 5, date(2026, 11, 30)), // over Thanksgiving
        ] {
            assert_eq!(add_days(start, days, DayUnit::Business), end, "{start} + {days}");
        }
    }

    #[test]
    fn the_small_breach_log_is_due_sixty_days_into_the_next_year() {
        assert_eq!(after_year_end(date(2026, 5, 26), 60), date(2027, 3, 1));
        assert_eq!(after_year_end(date(2027, 12, 31), 60), date(2028, 2, 29));
    }

    #[test]
    fn the_day_is_never_later_than_it_was_in_any_state() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        assert_eq!(day_of(at("2026-05-27T03:00:00Z")), date(2026, 5, 26)); // 11 pm in Indiana
        assert_eq!(day_of(at("2026-05-27T09:59:00Z")), date(2026, 5, 26)); // still the 26th in Hawaii
        assert_eq!(day_of(at("2026-05-27T10:00:00Z")), date(2026, 5, 27));
    }

    #[test]
    fn dates_are_written_as_letters_write_them() {
        assert_eq!(long(date(2026, 11, 3)), "November 3, 2026");
    }
}
