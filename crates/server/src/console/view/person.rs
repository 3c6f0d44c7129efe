//! Who the patient is: the head of a chart.

use holdfast_exchange::Disclosed;
use holdfast_fhir::{PatientView, is_government_id};
use serde_json::Value;

use super::moment::{Moment, moment_of};
use super::text::{concept, joined, list, named, text, words};

/// The head of a chart.
pub(crate) struct PersonView {
    /// Name as people write it.
    pub name: String,
    /// Former names.
    pub former: Vec<String>,
    /// `Mar 9, 1954`.
    pub born: String,
    /// `70 years`; empty when unknown or deceased.
    pub age: String,
    /// `Female`; empty when not said.
    pub sex: String,
    /// `Deceased`, with the day when it is known.
    pub deceased: Option<String>,
    /// Label and value; government numbers masked.
    pub identifiers: Vec<(String, String)>,
    /// Address, telephone, e-mail: one line each.
    pub contact: Vec<String>,
    /// General practitioners, by name.
    pub practitioners: Vec<String>,
}

/// The head of the chart of `patient`, on the day of `today`.
pub(crate) fn person_view(patient: &Disclosed, today: &Moment) -> PersonView {
    let resource = &patient.resource;
    let view = PatientView::of(resource);
    let name = view.name().map_or("", |name| name.full.expose()).to_owned();
    let born = moment_of(resource, &["birthDate"]);
    let deceased = view.is_deceased.then(|| match moment_of(resource, &["deceasedDateTime"]) {
        Some(day) => format!("Deceased {}", day.date()),
        None => "Deceased".to_owned(),
    });
    let age = view.birth_date.expose().filter(|_| deceased.is_none()).map(|born| {
        let today = today.at().date();
        let months = (i32::from(today.year()) - i32::from(born.year())) * 12
            + i32::from(today.month())
            - i32::from(born.month())
            - i32::from(today.day() < born.day());
        age_text(months)
    });
    PersonView {
        name: if name.is_empty() { "Name not recorded".to_owned() } else { name },
        former: view.former_names.iter().map(|name| name.full.expose().clone()).collect(),
        born: born.map_or_else(|| "not recorded".to_owned(), |born| born.date().to_owned()),
        age: age.unwrap_or_default(),
        sex: view.gender.expose().as_deref().map(words).unwrap_or_default(),
        deceased,
        identifiers: list(resource, "identifier").filter_map(identifier).collect(),
        contact: contact(&view),
        practitioners: list(resource, "generalPractitioner")
            .map(|gp| named(gp).to_owned())
            .filter(|gp| !gp.is_empty())
            .collect(),
    }
}

/// Months below two years, years from then on.
fn age_text(months: i32) -> String {
    match months {
        ..0 => String::new(),
        1 => "1 month".to_owned(),
        0..24 => format!("{months} months"),
        _ => format!("{} years", months / 12),
    }
}

/// Label and value of an identifier. Of a number that a government gave, no page
/// of ours shows more than the last four digits, whatever the permit opened.
fn identifier(identifier: &Value) -> Option<(String, String)> {
    let value = text(identifier, "value");
    if value.is_empty() {
        return None;
    }
    let kind = &identifier["type"];
    let code = list(kind, "coding").map(|coding| text(coding, "code")).next().unwrap_or_default();
    if is_government_id(identifier) {
        let digits: Vec<char> = value.chars().filter(char::is_ascii_digit).collect();
        let is_ssn = matches!(code, "SS" | "SB") || text(identifier, "system").ends_with("us-ssn");
        let label = if is_ssn { "SSN".to_owned() } else { label_of(code, kind) };
        return match digits.get(digits.len().saturating_sub(4)..) {
            Some(last) if is_ssn && last.len() == 4 => {
                Some((label, format!("•••-••-{}", last.iter().collect::<String>())))
            }
            _ => Some((label, "on file".to_owned())),
        };
    }
    Some((label_of(code, kind), value.to_owned()))
}

fn label_of(code: &str, kind: &Value) -> String {
    match code {
        "MR" | "PI" => "MRN".to_owned(),
        "PT" => "Patient no.".to_owned(),
        "AN" => "Account".to_owned(),
        "MB" | "MC" | "MA" => "Member no.".to_owned(),
        "DL" => "Driver's license".to_owned(),
        "PPN" => "Passport".to_owned(),
        "EI" => "Employee no.".to_owned(),
        _ => Some(concept(kind)).filter(|text| !text.is_empty()).unwrap_or("Number".to_owned()),
    }
}

fn contact(view: &PatientView) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(home) = view.addresses.first() {
        let street = home.lines.iter().map(|line| line.expose().clone());
        let place = joined([home.state.expose().clone(), home.postal_code.expose().clone()], " ");
        let place = joined([home.city.expose().clone(), place], ", ");
        lines.push(joined(street.chain([place]), ", "));
    }
    for telecom in &view.telecoms {
        let usage = if telecom.usage.is_empty() { &telecom.system } else { &telecom.usage };
        let usage = if usage.is_empty() { String::new() } else { format!(" ({usage})") };
        lines.push(format!("{}{usage}", telecom.value.expose()));
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use holdfast_base::{ClassSet, Timestamp};
    use serde_json::json;

    use super::*;

    fn shown(resource: Value) -> PersonView {
        let patient = Disclosed {
            resource,
            resource_type: "Patient".into(),
            id: "p".into(),
            version: 1,
            last_updated: Timestamp::from_millis(0),
            classes: ClassSet::ALL,
        };
        person_view(&patient, &Moment::parse("2026-03-08").expect("a day"))
    }

    #[test]
    fn the_head_names_age_and_sex() {
        let view = shown(json!({"name": [{"family": "Okafor", "given": ["Grace"]}],
            "birthDate": "1954-03-09", "gender": "female"}));
        assert_eq!((view.name.as_str(), view.age.as_str()), ("Grace Okafor", "71 years"));
        assert_eq!((view.born.as_str(), view.sex.as_str()), ("Mar 9, 1954", "Female"));
    }

    #[test]
    fn an_infant_is_counted_in_months_and_the_dead_not_at_all() {
        assert_eq!(shown(json!({"birthDate": "2025-01-10"})).age, "13 months");
        assert_eq!(shown(json!({"birthDate": "2026-02-01"})).age, "1 month");
        let gone = shown(json!({"birthDate": "1930-01-10", "deceasedDateTime": "2024-06-02"}));
        assert_eq!(
            (gone.age.as_str(), gone.deceased.as_deref()),
            ("", Some("Deceased Jun 2, 2024"))
        );
    }

    #[test]
    fn an_ssn_is_masked_even_when_the_permit_opened_it() {
        let system = "http://hl7.org/fhir/sid/us-ssn";
        for sent in ["900-65-4321", "900654321", "***-**-4321"] {
            let view = shown(json!({"identifier": [{"system": system, "value": sent}]}));
            assert_eq!(view.identifiers, [("SSN".to_owned(), "•••-••-4321".to_owned())]);
        }
        let license = json!({"type": {"coding": [{"code": "DL"}]}, "value": "D123-4567"});
        let view = shown(json!({"identifier": [license]}));
        assert_eq!(view.identifiers, [("Driver's license".to_owned(), "on file".to_owned())]);
    }
}
