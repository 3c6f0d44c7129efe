//! Everything in a stream that would give a person away: what a search of stolen
//! files must not find.

use std::collections::BTreeSet;

use crate::hl7::day;
use crate::registration::Registration;
use crate::report::Report;

/// What kind of value a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
    /// A name as written: family name, given name of five letters or more, or
    /// both together.
    Name,
    /// A social security number, with and without hyphens.
    Ssn,
    /// A birth date, as `YYYY-MM-DD` and `YYYYMMDD`.
    BirthDate,
    /// A street line.
    Address,
    /// A telephone number in the forms that messages use.
    Phone,
    /// An e-mail address.
    Email,
    /// A record number.
    RecordNumber,
    /// A laboratory's remark about a result.
    ResultText,
    /// A sentence of a dictated report.
    ReportSentence,
}

impl FactKind {
    /// Name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Ssn => "ssn",
            Self::BirthDate => "birth-date",
            Self::Address => "address",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::RecordNumber => "record-number",
            Self::ResultText => "result-text",
            Self::ReportSentence => "report-sentence",
        }
    }
}

/// A value that stands in some message of the stream, in one of the forms in which
/// it could be written there or after conversion. At least five bytes long,
/// so that finding it by chance is unlikely.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fact {
    /// What it is.
    pub kind: FactKind,
    /// The text, before escapes.
    pub text: String,
}

/// Gathers facts, each once.
#[derive(Default)]
pub(crate) struct Facts(BTreeSet<Fact>);

impl Facts {
    pub(crate) fn add(&mut self, kind: FactKind, text: impl Into<String>) {
        let text = text.into();
        if text.len() >= 5 {
            self.0.insert(Fact { kind, text });
        }
    }

    /// Everything that the registration says about who and where the person is.
    pub(crate) fn registration(&mut self, registration: &Registration<'_>) {
        for name in [&registration.family, &registration.given] {
            self.add(FactKind::Name, name);
        }
        self.add(FactKind::Name, registration.full_name());
        self.add(FactKind::Name, format!("{}^{}", registration.family, registration.given));
        if let Some(ssn) = &registration.ssn {
            self.add(FactKind::Ssn, ssn);
            self.add(FactKind::Ssn, ssn.replace('-', ""));
        }
        self.add(FactKind::BirthDate, registration.birth.to_string());
        self.add(FactKind::BirthDate, day(registration.birth));
        self.add(FactKind::Address, &registration.street);
        for phone in std::iter::once(&registration.phone).chain(&registration.mobile) {
            self.add(FactKind::Phone, phone);
            self.add(FactKind::Phone, phone.replace('-', ""));
            if let Some((area, local)) = phone.split_once('-') {
                self.add(FactKind::Phone, format!("({area}){local}"));
            }
        }
        if let Some(email) = &registration.email {
            self.add(FactKind::Email, email);
        }
        self.add(FactKind::RecordNumber, &registration.mrn);
    }

    /// The sentences of those sections whose heading is `sent`.
    pub(crate) fn report(&mut self, report: &Report, sent: fn(&str) -> bool) {
        let sections = report.sections.iter().filter(|section| sent(section.heading));
        for sentence in sections.flat_map(|section| &section.sentences) {
            self.add(FactKind::ReportSentence, sentence);
        }
    }

    pub(crate) fn into_sorted(self) -> Vec<Fact> {
        self.0.into_iter().collect()
    }
}
