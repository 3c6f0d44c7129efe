//! Drafts: packages for clients, letters for individuals, deadlines, an index.
//! Nothing is sent, and no text claims that it was.

mod letter;
mod lists;
mod notice;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use holdfast_base::{Category, OrganizationId, PatientId};

use crate::{
    duties::{Duty, duties_for},
    incident::Incident,
    law::Law,
    organization::{AffectedPerson, Letterhead, Organization},
    pdf::{Fonts, PdfError, render},
    scope::{Scope, ScopeRow},
};

/// One file of a draft. Holds PHI where the path begins with `clients/` or
/// `letters/`.
#[derive(Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Relative path, `/` between parts; only ASCII letters, digits, `-`, `.`.
    pub path: String,
    /// Content.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for OutputFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OutputFile({}, {} bytes)", self.path, self.bytes.len())
    }
}

/// Why nothing was drafted. A draft is whole or there is none.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A person was given whom the scope does not name: a letter to somebody
    /// who is not concerned would itself disclose.
    #[error("patient {patient} of {organization} is not in the incident's scope")]
    NotInScope {
        /// The organization that was given.
        organization: OrganizationId,
        /// The patient that was given.
        patient: PatientId,
    },
    /// A person was given with classes that were not released.
    #[error("patient {patient} of {organization} has element classes that the scope does not have")]
    ClassesBeyondScope {
        /// The organization that was given.
        organization: OrganizationId,
        /// The patient that was given.
        patient: PatientId,
    },
    /// The same patient record was given twice.
    #[error("patient {patient} of {organization} is given twice")]
    GivenTwice {
        /// The organization that was given.
        organization: OrganizationId,
        /// The patient that was given.
        patient: PatientId,
    },
    /// The scope names an organization of which nothing was given.
    #[error("nothing is known of organization {0}, in whose name letters would go")]
    UnknownOrganization(OrganizationId),
    /// A PDF could not be made.
    #[error(transparent)]
    Pdf(#[from] PdfError),
}

impl DraftError {
    /// Whose fault it is.
    pub fn category(&self) -> Category {
        match self {
            Self::NotInScope { .. }
            | Self::ClassesBeyondScope { .. }
            | Self::GivenTwice { .. }
            | Self::UnknownOrganization(_) => Category::Incorrect,
            Self::Pdf(_) => Category::Fault,
        }
    }
}

/// A patient record of the scope, with the person if one was given.
pub(crate) struct Case<'a> {
    pub(crate) row: &'a ScopeRow,
    pub(crate) person: Option<&'a AffectedPerson>,
    /// Path of the letter, if one can be written.
    pub(crate) letter: Option<String>,
}

/// What every file of a draft is made from.
pub(crate) struct Matter<'a> {
    pub(crate) incident: &'a Incident,
    pub(crate) scope: &'a Scope,
    pub(crate) letterhead: &'a Letterhead,
    pub(crate) law: &'a Law,
    pub(crate) duties: Vec<Duty>,
    /// By organization, in order.
    pub(crate) clients: BTreeMap<&'a OrganizationId, Client<'a>>,
}

/// One covered entity and its cases.
pub(crate) struct Client<'a> {
    pub(crate) organization: &'a Organization,
    pub(crate) cases: Vec<Case<'a>>,
}

/// Drafts everything that the incident's duties ask for.
///
/// - `clients/<organization>/persons.csv` and `notice.pdf`: what the exchange
///   owes the covered entity, 45 CFR 164.410;
/// - `letters/<state>/<n>.pdf`: one letter a patient record, US Letter, made for
///   a number 10 window envelope;
/// - `deadlines.csv`, `deadlines.txt`: every duty with its last day;
/// - `index.txt`: what is here, what is missing, what counsel has to settle.
///
/// # Errors
/// [`DraftError`] when persons, organizations and scope do not fit together, or
/// when a PDF cannot be made.
pub fn draft(
    incident: &Incident,
    scope: &Scope,
    persons: &[AffectedPerson],
    organizations: &[Organization],
    letterhead: &Letterhead,
) -> Result<Vec<OutputFile>, DraftError> {
    let law = Law::built_in();
    let matter = Matter {
        incident,
        scope,
        letterhead,
        law,
        duties: duties_for(scope, incident.discovered, law, organizations),
        clients: assemble(scope, persons, organizations)?,
    };
    let fonts = Fonts::load()?;
    let date = letterhead.date.date();
    let mut files = Vec::new();
    for (id, client) in &matter.clients {
        files.push(OutputFile {
            path: format!("clients/{id}/persons.csv"),
            bytes: lists::persons_csv(client).into_bytes(),
        });
        let notice = notice::compose(&matter, id, client);
        files.push(OutputFile {
            path: format!("clients/{id}/notice.pdf"),
            bytes: render(&fonts, &notice, date)?,
        });
        for case in &client.cases {
            if let (Some(person), Some(path)) = (case.person, &case.letter) {
                let letter = letter::compose(&matter, client.organization, case.row, person);
                let bytes = render(&fonts, &letter, date)?;
                files.push(OutputFile { path: path.clone(), bytes });
            }
        }
    }
    let mut text = |path: &str, text: String| {
        files.push(OutputFile { path: path.to_owned(), bytes: text.into_bytes() });
    };
    text("deadlines.csv", lists::deadlines_csv(&matter));
    text("deadlines.txt", lists::deadlines_text(&matter));
    text("index.txt", lists::index_text(&matter, &fonts));
    Ok(files)
}

fn assemble<'a>(
    scope: &'a Scope,
    persons: &'a [AffectedPerson],
    organizations: &'a [Organization],
) -> Result<BTreeMap<&'a OrganizationId, Client<'a>>, DraftError> {
    let mut given: BTreeMap<(&OrganizationId, PatientId), &AffectedPerson> = BTreeMap::new();
    for person in persons {
        if given.insert((&person.organization, person.patient), person).is_some() {
            let organization = person.organization.clone();
            return Err(DraftError::GivenTwice { organization, patient: person.patient });
        }
    }
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut clients: BTreeMap<&OrganizationId, Client<'_>> = BTreeMap::new();
    for row in &scope.rows {
        let person = given.remove(&(&row.organization, row.patient));
        if person.is_some_and(|person| !row.released.contains_all(person.classes)) {
            let organization = row.organization.clone();
            return Err(DraftError::ClassesBeyondScope { organization, patient: row.patient });
        }
        let letter = person.filter(|person| person.can_be_mailed()).map(|person| {
            let folder = folder(person.state.as_deref().unwrap_or_default());
            let number = numbers.entry(folder.clone()).or_default();
            *number += 1;
            format!("letters/{folder}/{number:05}.pdf")
        });
        if !clients.contains_key(&row.organization) {
            let organization = organizations
                .iter()
                .find(|organization| organization.id == row.organization)
                .ok_or_else(|| DraftError::UnknownOrganization(row.organization.clone()))?;
            clients.insert(&row.organization, Client { organization, cases: Vec::new() });
        }
        if let Some(client) = clients.get_mut(&row.organization) {
            client.cases.push(Case { row, person, letter });
        }
    }
    match given.into_keys().next() {
        Some((organization, patient)) => {
            Err(DraftError::NotInScope { organization: organization.clone(), patient })
        }
        None => Ok(clients),
    }
}

/// The state as a folder name; whatever could leave the folder is dropped.
fn folder(state: &str) -> String {
    let safe: String = state.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    if safe.is_empty() { "OTHER".to_owned() } else { safe.to_ascii_uppercase() }
}

/// `1 entry`, `1,234 entries`.
fn plural(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{} {stem}ies", thousands(count)),
        (_, None) => format!("{} {noun}s", thousands(count)),
    }
}

/// `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
