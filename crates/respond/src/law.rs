//! Breach notification law as data: `data/law.toml`, with how certain each fact
//! is. Not legal advice; what is uncertain says so wherever it shows.

use std::sync::LazyLock;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::calendar::DayUnit;

/// The words that stand wherever a fact is not certain enough to act on.
pub const NEEDS_REVIEW: &str = "needs counsel's review";

/// How well a fact is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Certainty {
    /// The text of the statute or regulation was read.
    A,
    /// A regulator's page, a law firm's chart or two secondary sources agree.
    B,
    /// One secondary source.
    C,
    /// Recalled or assumed.
    D,
    /// Sources conflict.
    X,
}

impl Certainty {
    /// Whether counsel has to confirm the fact before anything is sent.
    pub fn needs_review(self) -> bool {
        self >= Self::C
    }

    /// The letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::X => "X",
        }
    }
}

/// Who has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The covered entity whose records they are.
    Client,
    /// The persons concerned.
    Individual,
    /// A federal or state authority.
    Regulator,
    /// Press and broadcasting of a state.
    Media,
    /// The credit bureaus.
    ConsumerReportingAgencies,
}

impl Who {
    /// The name in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Individual => "individual",
            Self::Regulator => "regulator",
            Self::Media => "media",
            Self::ConsumerReportingAgencies => "consumer-reporting-agencies",
        }
    }
}

/// What a term counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    Discovery,
    IndividualNotice,
    YearEnd,
    None,
}

/// Whom a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Counts {
    All,
    GovernmentId,
    GovernmentIdOrMedical,
}

/// A question that only counsel can close.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenPoint {
    pub(crate) certainty: Certainty,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) who: Who,
    pub(crate) recipient: String,
    pub(crate) from: From,
    pub(crate) days: Option<u16>,
    #[serde(default = "calendar")]
    pub(crate) unit: DayUnit,
    pub(crate) counts: Counts,
    pub(crate) at_least: u64,
    pub(crate) fewer_than: Option<u64>,
    #[serde(default)]
    pub(crate) per_state: bool,
    since: Option<String>,
    pub(crate) citation: String,
    pub(crate) certainty: Certainty,
    #[serde(default)]
    pub(crate) note: String,
    #[serde(default)]
    pub(crate) open: Vec<OpenPoint>,
}

impl Rule {
    /// The first day of discovery to which this text applies.
    pub(crate) fn since(&self) -> Option<Date> {
        self.since.as_deref().and_then(|day| day.parse().ok())
    }
}

fn calendar() -> DayUnit {
    DayUnit::Calendar
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jurisdiction {
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) statute: String,
    #[serde(default)]
    pub(crate) open: Vec<OpenPoint>,
    pub(crate) rule: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MonitoringRule {
    pub(crate) state: String,
    pub(crate) months: u16,
    pub(crate) citation: String,
    pub(crate) certainty: Certainty,
}

/// Somebody whom a letter names for further help.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Office {
    #[serde(default)]
    pub(crate) state: String,
    pub(crate) name: String,
    pub(crate) lines: Vec<String>,
    pub(crate) certainty: Certainty,
}

/// The facts that duties and letters are made from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Law {
    pub(crate) jurisdiction: Vec<Jurisdiction>,
    pub(crate) monitoring: Vec<MonitoringRule>,
    pub(crate) bureau: Vec<Office>,
    pub(crate) agency: Vec<Office>,
}

/// A text that is no law file.
#[derive(Debug, thiserror::Error)]
#[error("not a law file: {0}")]
pub struct InvalidLaw(#[from] toml::de::Error);

impl InvalidLaw {
    /// Whose fault it is: that of who wrote the file.
    pub fn category(&self) -> holdfast_base::Category {
        holdfast_base::Category::Incorrect
    }
}

static BUILT_IN: LazyLock<Law> = LazyLock::new(|| {
    Law::parse(include_str!("../data/law.toml")).expect("a test reads the file that is compiled in")
});

impl Law {
    /// The facts that Holdfast comes with.
    pub fn built_in() -> &'static Law {
        &BUILT_IN
    }

    /// Reads a law file in the form of `data/law.toml`.
    ///
    /// # Errors
    /// [`InvalidLaw`] with the place, when the text is not in that form.
    pub fn parse(text: &str) -> Result<Law, InvalidLaw> {
        Ok(toml::from_str(text)?)
    }

    /// The jurisdiction with this code.
    pub(crate) fn jurisdiction(&self, code: &str) -> Option<&Jurisdiction> {
        self.jurisdiction.iter().find(|jurisdiction| jurisdiction.code == code)
    }

    /// What a resident of `state` must be offered when a government number is
    /// involved.
    pub(crate) fn monitoring(&self, state: &str) -> Option<&MonitoringRule> {
        self.monitoring.iter().find(|rule| rule.state == state)
    }

    /// Whom a resident of `state` can turn to.
    pub(crate) fn agency(&self, state: &str) -> Option<&Office> {
        self.agency.iter().find(|office| office.state == state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_law_is_whole() {
        let law = Law::built_in();
        for code in ["US-HIPAA", "IN", "CA", "CA-CDPH", "MA"] {
            let jurisdiction = law.jurisdiction(code).expect(code);
            assert!(!jurisdiction.rule.is_empty());
            for rule in &jurisdiction.rule {
                assert_eq!(rule.days.is_none(), rule.from == From::None, "{code}: {rule:?}");
                assert_eq!(rule.since().is_some(), rule.since.is_some(), "{code}: a day");
                assert!(!rule.citation.is_empty());
            }
        }
        assert_eq!(law.bureau.len(), 3);
        assert_eq!(law.monitoring("MA").map(|rule| rule.months), Some(18));
        assert!(law.monitoring("IN").is_none());
    }

    #[test]
    fn only_what_was_read_or_agreed_on_needs_no_review() {
        use Certainty::{A, B, C, D, X};
        assert!(!A.needs_review() && !B.needs_review());
        assert!(C.needs_review() && D.needs_review() && X.needs_review());
    }

    #[test]
    fn the_days_are_those_of_the_research_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/law/breach_law_us.csv");
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: {path} is not at hand");
            return;
        };
        let body: String =
            text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(body.as_bytes());
        let head = reader.headers().expect("a head").clone();
        let column = |name: &str| head.iter().position(|cell| cell == name).expect("a column");
        let mut seen = 0;
        for row in reader.records().map(|row| row.expect("a row")) {
            let Some(here) = Law::built_in().jurisdiction(&row[0]) else { continue };
            let days = row[column("individual_deadline_days")].parse::<u16>().ok();
            let certainty = &row[column("cert_individual")];
            let rule = here.rule.iter().find(|rule| rule.who == Who::Individual).expect("a rule");
            if here.code != "CA-CDPH" {
                // CDPH's 15 business days stand in the table's text only.
                assert_eq!(rule.days, days, "{}", here.code);
            }
            assert_eq!(rule.certainty.as_str(), certainty, "{}", here.code);
            seen += 1;
        }
        assert_eq!(seen, 5);
    }
}
