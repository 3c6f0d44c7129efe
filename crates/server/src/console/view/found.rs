//! Looking patients up: what was typed becomes search parameters, what was found
//! becomes rows.

use holdfast_exchange::Disclosed;
use holdfast_fhir::PatientView;

use super::moment::Moment;
use super::person::person_view;
use super::text::joined;

/// One patient of a look-up.
pub(crate) struct FoundRow {
    /// Logical id; random, so it may stand in a URL.
    pub id: String,
    /// Name.
    pub name: String,
    /// Birth date.
    pub born: String,
    /// Age and sex.
    pub about: String,
    /// Medical record numbers.
    pub numbers: String,
    /// City and state.
    pub place: String,
}

/// The row of a patient that was found.
pub(crate) fn found_row(patient: &Disclosed, today: &Moment) -> FoundRow {
    let person = person_view(patient, today);
    let view = PatientView::of(&patient.resource);
    let home = view.addresses.first();
    let place = home.map(|home| [home.city.expose().clone(), home.state.expose().clone()]);
    let numbers = person.identifiers.iter().filter(|(label, _)| label == "MRN");
    let condition = person.deceased.clone().unwrap_or(person.age.clone());
    FoundRow {
        id: patient.id.clone(),
        numbers: joined(numbers.map(|(_, number)| number.clone()), ", "),
        about: joined([condition, person.sex], ", "),
        place: joined(place.into_iter().flatten(), ", "),
        name: person.name,
        born: person.born,
    }
}

/// The search parameters of what was typed; none when nothing was. Each word of a
/// name has to be the beginning of some part of it.
pub(crate) fn look_up_pairs(name: &str, born: &str, number: &str) -> Vec<(String, String)> {
    let words = name.split([' ', ',', '\t']).filter(|word| !word.is_empty());
    let mut pairs: Vec<_> = words.map(|word| ("name".to_owned(), escaped(word))).collect();
    if let Some(born) = iso_date(born.trim()) {
        pairs.push(("birthdate".to_owned(), born));
    }
    if !number.trim().is_empty() {
        pairs.push(("identifier".to_owned(), escaped(number.trim())));
    }
    pairs
}

/// `03/09/1954` as `1954-03-09`; everything else as it is, for the search to judge.
fn iso_date(typed: &str) -> Option<String> {
    if typed.is_empty() {
        return None;
    }
    let mut parts = typed.split('/');
    Some(match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(month), Some(day), Some(year), None) => format!("{year}-{month:0>2}-{day:0>2}"),
        _ => typed.to_owned(),
    })
}

/// Escapes what separates values in a search (FHIR R4 search.html#escaping).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | '$' | ',' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(name: &str, born: &str, number: &str) -> String {
        let pairs = look_up_pairs(name, born, number);
        joined(pairs.into_iter().map(|(name, value)| format!("{name}={value}")), "&")
    }

    #[test]
    fn what_people_type_becomes_a_search() {
        assert_eq!(pairs("Okafor, Grace", "", ""), "name=Okafor&name=Grace");
        assert_eq!(pairs("", "3/9/1954", " A-77 "), "birthdate=1954-03-09&identifier=A-77");
        assert_eq!(pairs("", "1954-03-09", ""), "birthdate=1954-03-09");
        assert_eq!(pairs(" ", "", ""), "");
    }

    #[test]
    fn a_number_cannot_smuggle_in_further_values() {
        assert_eq!(pairs("", "", "urn:x|A,B$"), "identifier=urn:x\\|A\\,B\\$");
    }
}
