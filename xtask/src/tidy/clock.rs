//! Time is an argument. Only the wiring reads the time of day, so that every rule
//! about time can be tested with a clock that stands still.

use super::Complaints;
use super::source::Source;

/// The one file that may read the time of day.
const WIRING: &str = "crates/holdfast/src/wiring.rs";

/// What reads a clock.
const READERS: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "Utc::now",
    "Local::now",
    "OffsetDateTime::now_utc",
    "UNIX_EPOCH.elapsed",
];

/// A line, or the line above it, may say why it reads a clock although it is no
/// wiring: `// tidy: clock, <reason>`. Only stop watches have one.
const EXCUSE: &str = "// tidy: clock, ";
/// Shorter reasons are none.
const REASON_CHARS_MIN: usize = 12;

/// Every reading of a clock outside the wiring, tests and chores.
pub fn check(sources: &[Source]) -> Complaints {
    let mut complaints = Vec::new();
    for source in sources {
        if source.path == WIRING || source.is_test_file() || source.path.starts_with("xtask/") {
            continue;
        }
        let code = source.production_code();
        for (number, line) in (1..).zip(code.lines()) {
            let Some(reader) = READERS.iter().find(|reader| line.contains(**reader)) else {
                continue;
            };
            if excused(source, number) && *reader == "Instant::now" {
                continue;
            }
            complaints.push(format!(
                "{}:{number}: {reader} reads the time of day outside the wiring; \
                 take a Timestamp or a Clock (a stop watch says `{EXCUSE}why`)",
                source.path
            ));
        }
    }
    complaints
}

fn excused(source: &Source, number: usize) -> bool {
    [number, number - 1].into_iter().any(|number| {
        let reason = source.line(number).split_once(EXCUSE).map(|(_, reason)| reason.trim());
        reason.is_some_and(|reason| reason.len() >= REASON_CHARS_MIN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[Source::new(path, text)]).len()
    }

    const READS: &str = "fn f() { let t = std::time::SystemTime::now(); }";

    #[test]
    fn a_room_may_not_read_the_time_of_day() {
        assert_eq!(count("crates/store/src/queue.rs", READS), 1);
        assert_eq!(count("crates/store/src/queue.rs", "f(jiff::Timestamp::now())"), 1);
        assert_eq!(count("crates/store/src/queue.rs", "f(tokio::time::Instant::now())"), 1);
    }

    #[test]
    fn wiring_tests_and_comments_may() {
        assert_eq!(count(WIRING, READS), 0);
        assert_eq!(count("crates/store/tests/crash.rs", READS), 0);
        assert_eq!(
            count("crates/x/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {READS} }}")),
            0
        );
        assert_eq!(count("crates/x/src/a.rs", "// SystemTime::now\nf(\"SystemTime::now\")"), 0);
    }

    #[test]
    fn a_stop_watch_needs_a_reason_and_a_calendar_has_none() {
        let with = |reason: &str, reader: &str| {
            count("crates/x/src/a.rs", &format!("// tidy: clock, {reason}\nlet t = {reader}();"))
        };
        assert_eq!(with("how long one answer took", "Instant::now"), 0);
        assert_eq!(with("why not", "Instant::now"), 1);
        assert_eq!(with("how long one answer took", "SystemTime::now"), 1);
    }
}
