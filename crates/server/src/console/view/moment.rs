//! Dates and times as FHIR writes them, of whatever precision
//! (FHIR R4 datatypes.html#dateTime).

use holdfast_base::Timestamp;
use serde_json::Value;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment: an instant to sort and draw by, and the day and minute as the sender
/// wrote them, in the sender's own time zone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    at: Timestamp,
    date: String,
    minute: String,
}

impl Moment {
    /// Reads a FHIR date, dateTime or instant.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, rest) = text.split_once('T').unwrap_or((text, ""));
        let mut parts = day.splitn(3, '-');
        let year = parts.next().filter(|year| year.len() == 4)?;
        let (month, day_of_month) = (parts.next(), parts.next());
        let from = |part: Option<&str>| part.unwrap_or("01").to_owned();
        let whole = format!("{year}-{}-{}T00:00:00Z", from(month), from(day_of_month));
        let at = text.parse().or_else(|_| whole.parse()).ok()?;
        let month = month.map(month_name);
        let date = match (month, day_of_month) {
            (Some(month), Some(day)) => {
                format!("{} {}, {year}", month?, day.trim_start_matches('0'))
            }
            (Some(month), None) => format!("{} {year}", month?),
            _ => year.to_owned(),
        };
        let minute = rest.get(..5).unwrap_or_default().to_owned();
        Some(Self { at, date, minute })
    }

    /// An instant of ours; shown in UTC.
    pub fn of(at: Timestamp) -> Self {
        let text = at.to_string();
        Self::parse(&text).unwrap_or(Self { at, date: text, minute: String::new() })
    }

    /// The instant; the beginning of the day, month or year when no more is known.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// `Mar 9, 2024`, or less when less is known.
    pub fn date(&self) -> &str {
        &self.date
    }

    /// `14:05`; empty when only a date is known.
    pub fn minute(&self) -> &str {
        &self.minute
    }

    /// Date and, when known, minute.
    pub fn full(&self) -> String {
        if self.minute.is_empty() {
            self.date.clone()
        } else {
            format!("{} {}", self.date, self.minute)
        }
    }
}

fn month_name(number: &str) -> Option<&'static str> {
    let number: usize = number.parse().ok()?;
    MONTHS.get(number.checked_sub(1)?).copied()
}

/// The first of the elements `names` that is a moment; of a Period its start.
pub(crate) fn moment_of(resource: &Value, names: &[&str]) -> Option<Moment> {
    names.iter().find_map(|name| {
        let element = &resource[*name];
        let text = element.as_str().or(element["start"].as_str()).or(element["end"].as_str());
        Moment::parse(text?)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_moment_shows_what_the_sender_wrote_and_no_more() {
        for (text, shown) in [
            ("2024-03-09T14:05:00-05:00", "Mar 9, 2024 14:05"),
            ("2024-03-09", "Mar 9, 2024"),
            ("2024-03", "Mar 2024"),
            ("2024", "2024"),
        ] {
            let moment = Moment::parse(text);
            assert_eq!(moment.map(|moment| moment.full()).as_deref(), Some(shown), "{text}");
        }
        for wrong in ["", "soon", "2024-13", "24-03-09", "2024-02-30"] {
            assert!(Moment::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn moments_of_different_zones_sort_by_the_instant() {
        let east = Moment::parse("2024-03-09T23:30:00-05:00").expect("a moment");
        let west = Moment::parse("2024-03-10T04:00:00Z").expect("a moment");
        assert!(west < east);
    }

    #[test]
    fn a_period_counts_by_its_start() {
        let visit = json!({"period": {"start": "2023-01-02", "end": "2023-01-05"}});
        let found = moment_of(&visit, &["date", "period"]);
        assert_eq!(found.as_ref().map(Moment::date), Some("Jan 2, 2023"));
    }
}
