//! The parties of a notice: the covered entity, the exchange, the person.

use holdfast_base::{ClassSet, OrganizationId, PatientId, PersonId, Sensitive, Timestamp};
use serde::{Deserialize, Serialize};

/// A license that brings duties of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum License {
    /// A clinic, health facility, home health agency or hospice licensed in
    /// California. Cal. Health & Safety Code 1280.15.
    CaliforniaHealthFacility,
}

/// How somebody can be reached. 45 CFR 164.404(c)(1)(E) wants a toll-free
/// number, an e-mail address, a web site or a postal address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Telephone, toll-free for letters to individuals.
    #[serde(default)]
    pub telephone: Option<String>,
    /// When it is answered: `Monday to Friday, 8 a.m. to 6 p.m. Eastern time`.
    #[serde(default)]
    pub hours: Option<String>,
    /// E-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// Web site.
    #[serde(default)]
    pub web: Option<String>,
}

/// An organization on the exchange: the covered entity in whose name letters go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// Its name on the exchange.
    pub id: OrganizationId,
    /// Its name for people.
    pub name: String,
    /// Postal address, one line an element, the last with city, state and ZIP.
    pub address: Vec<String>,
    /// How its patients reach it.
    #[serde(default)]
    pub contact: Contact,
    /// The corporation that it belongs to. M.G.L. c. 93H s. 3(b) wants it named.
    #[serde(default)]
    pub parent: Option<String>,
    /// Who signs, with the title: `Dana Whitfield, Privacy Officer`.
    #[serde(default)]
    pub signatory: Option<String>,
    /// Licenses that bring duties of their own.
    #[serde(default)]
    pub licenses: Vec<License>,
}

/// Who provides credit monitoring where a state wants it offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitoring {
    /// Company or service.
    pub provider: String,
    /// Where one enrols.
    pub web: String,
    /// By telephone.
    pub telephone: String,
    /// Last day to enrol, as it shall be printed.
    pub enroll_by: String,
}

/// What all letters of one incident share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letterhead {
    /// The exchange's name: who sends on behalf of the organization.
    pub exchange: String,
    /// The exchange's postal address, one line an element.
    pub exchange_address: Vec<String>,
    /// Who answers questions about the incident.
    pub contact: Contact,
    /// Who signs for the exchange.
    pub signatory: Option<String>,
    /// The date on the letters.
    pub date: Timestamp,
    /// Credit monitoring; without one, letters that must offer it have a blank
    /// to fill in, and the index says so.
    pub monitoring: Option<Monitoring>,
    /// One or two sentences on what happened, if the incident's own account is
    /// not enough. Never printed in Massachusetts letters.
    pub what_happened: Option<String>,
    /// Whether a law enforcement agency asked for delay: California wants it said.
    pub delayed_by_law_enforcement: bool,
}

/// To whom the letter about a patient is addressed. 45 CFR 164.404(d)(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressee {
    /// The patient.
    #[default]
    Patient,
    /// The parent or guardian of a minor.
    ParentOrGuardian,
    /// The next of kin or personal representative of somebody who died.
    NextOfKin,
}

/// One patient record of one organization, with what a letter needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedPerson {
    /// Who keeps the record.
    pub organization: OrganizationId,
    /// The patient.
    pub patient: PatientId,
    /// The person of the index.
    pub person: Option<PersonId>,
    /// Name as it stands on an envelope.
    pub name: Sensitive<String>,
    /// Street lines, without city, state and ZIP.
    pub address: Sensitive<Vec<String>>,
    /// City.
    pub city: Sensitive<String>,
    /// State (USPS code) or country: it decides which law's letter is written.
    pub state: Option<String>,
    /// ZIP code.
    pub zip: Sensitive<String>,
    /// To whom the letter goes.
    pub addressee: Addressee,
    /// The classes of this person's own record that were involved: those of
    /// the scope row's `released`.
    pub classes: ClassSet,
}

impl AffectedPerson {
    /// Whether a letter can reach the person; otherwise substitute notice is
    /// owed. 45 CFR 164.404(d)(2).
    pub fn can_be_mailed(&self) -> bool {
        let filled = |text: &str| !text.trim().is_empty();
        filled(self.name.expose())
            && self.address.expose().iter().any(|line| filled(line))
            && filled(self.city.expose())
            && self.state.as_deref().is_some_and(filled)
            && filled(self.zip.expose())
    }
}
