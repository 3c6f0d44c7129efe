//! A light typed view of a Patient, for those that reason about persons.

use holdfast_base::Sensitive;
use jiff::civil::Date;
use serde_json::Value;

/// What identifies a patient, each part marked as sensitive. Borrows nothing.
#[derive(Debug, Clone, Default)]
pub struct PatientView {
    /// Current names, the official or usual one first.
    pub names: Vec<Name>,
    /// Former names: maiden and old ones.
    pub former_names: Vec<Name>,
    /// Birth date, when all of it is known.
    pub birth_date: Sensitive<Option<Date>>,
    /// `male`, `female`, `other` or `unknown`.
    pub gender: Sensitive<Option<String>>,
    /// Addresses, the current home address first, old ones last.
    pub addresses: Vec<PostalAddress>,
    /// Phone numbers, e-mail addresses and the like that are not old.
    pub telecoms: Vec<Telecom>,
    /// Identifiers; government ones as far as they are in the document.
    pub identifiers: Vec<PatientIdentifier>,
    /// Whether the patient is known to have died.
    pub is_deceased: bool,
}

/// One name.
#[derive(Debug, Clone, Default)]
pub struct Name {
    /// Family name.
    pub family: Sensitive<String>,
    /// Given names, the first one first.
    pub given: Vec<Sensitive<String>>,
    /// The whole name as people write it, prefixes and suffixes included.
    pub full: Sensitive<String>,
}

/// One postal address.
#[derive(Debug, Clone, Default)]
pub struct PostalAddress {
    /// Street lines.
    pub lines: Vec<Sensitive<String>>,
    /// City.
    pub city: Sensitive<String>,
    /// State as the address gives it.
    pub state: Sensitive<String>,
    /// Postal code.
    pub postal_code: Sensitive<String>,
    /// Country as the address gives it; often empty within the US.
    pub country: Sensitive<String>,
    /// Code of address-use; empty when not said.
    pub usage: String,
}

/// One way to reach the patient.
#[derive(Debug, Clone, Default)]
pub struct Telecom {
    /// `phone`, `email`, …; empty when not said.
    pub system: String,
    /// `home`, `work`, `mobile`, …; empty when not said.
    pub usage: String,
    /// Number or address.
    pub value: Sensitive<String>,
}

/// One identifier.
#[derive(Debug, Clone, Default)]
pub struct PatientIdentifier {
    /// Namespace; empty when not said.
    pub system: String,
    /// First type code, such as `MR`; empty when not said.
    pub type_code: String,
    /// The identifier.
    pub value: Sensitive<String>,
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().trim().to_owned()
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[name].as_array().into_iter().flatten()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    list(value, name).filter_map(Value::as_str).map(|text| text.trim().to_owned()).collect()
}

fn sensitive(texts: Vec<String>) -> Vec<Sensitive<String>> {
    texts.into_iter().map(Sensitive::new).collect()
}

fn is_former(value: &Value) -> bool {
    matches!(value["use"].as_str(), Some("old" | "maiden")) || !value["period"]["end"].is_null()
}

fn rank(value: &Value, order: &[&str]) -> usize {
    let usage = value["use"].as_str().unwrap_or_default();
    order.iter().position(|known| *known == usage).unwrap_or(order.len())
}

impl PatientView {
    /// The view of `patient`; what is missing or malformed is left empty.
    pub fn of(patient: &Value) -> Self {
        let mut names: Vec<&Value> = list(patient, "name").collect();
        names.sort_by_key(|name| rank(name, &["official", "usual", ""]));
        let mut addresses: Vec<&Value> = list(patient, "address").collect();
        addresses.sort_by_key(|address| {
            (is_former(address), rank(address, &["home", "", "work", "temp", "billing", "old"]))
        });
        let deceased = &patient["deceasedBoolean"];
        Self {
            names: names
                .iter()
                .filter(|name| !is_former(name))
                .map(|name| Name::of(name))
                .collect(),
            former_names: names
                .iter()
                .filter(|name| is_former(name))
                .map(|name| Name::of(name))
                .collect(),
            birth_date: Sensitive::new(
                patient["birthDate"].as_str().and_then(|date| date.parse().ok()),
            ),
            gender: Sensitive::new(patient["gender"].as_str().map(str::to_owned)),
            addresses: addresses.into_iter().map(PostalAddress::of).collect(),
            telecoms: list(patient, "telecom")
                .filter(|telecom| !is_former(telecom))
                .map(Telecom::of)
                .collect(),
            identifiers: list(patient, "identifier").map(PatientIdentifier::of).collect(),
            is_deceased: deceased.as_bool().unwrap_or(!patient["deceasedDateTime"].is_null()),
        }
    }

    /// The name to call the patient by: the first current one, else a former one.
    pub fn name(&self) -> Option<&Name> {
        self.names.first().or(self.former_names.first())
    }
}

impl Name {
    fn of(name: &Value) -> Self {
        let (family, given) = (text(name, "family"), texts(name, "given"));
        let mut full = text(name, "text");
        if full.is_empty() {
            let parts =
                [texts(name, "prefix"), given.clone(), vec![family.clone()], texts(name, "suffix")];
            let parts: Vec<String> =
                parts.concat().into_iter().filter(|part| !part.is_empty()).collect();
            full = parts.join(" ");
        }
        Self { family: family.into(), given: sensitive(given), full: full.into() }
    }
}

impl PostalAddress {
    fn of(address: &Value) -> Self {
        Self {
            lines: sensitive(texts(address, "line")),
            city: text(address, "city").into(),
            state: text(address, "state").into(),
            postal_code: text(address, "postalCode").into(),
            country: text(address, "country").into(),
            usage: text(address, "use"),
        }
    }
}

impl Telecom {
    fn of(telecom: &Value) -> Self {
        Self {
            system: text(telecom, "system"),
            usage: text(telecom, "use"),
            value: text(telecom, "value").into(),
        }
    }
}

impl PatientIdentifier {
    fn of(identifier: &Value) -> Self {
        let mut codes = list(&identifier["type"], "coding").map(|coding| text(coding, "code"));
        Self {
            system: text(identifier, "system"),
            type_code: codes.next().unwrap_or_default(),
            value: text(identifier, "value").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_view_prefers_what_is_current_and_prints_nothing() {
        let view = PatientView::of(&json!({
            "resourceType": "Patient", "birthDate": "1950-02-03", "gender": "female",
            "name": [
                {"use": "maiden", "family": "Lindqvist"},
                {"use": "usual", "family": "Okafor", "given": ["Grace", "Ada"], "suffix": ["Jr"]},
            ],
            "address": [{"use": "old", "city": "Gary"}, {"use": "home", "city": "Fort Wayne"}],
            "telecom": [{"system": "phone", "value": "555-0100"}, {"use": "old", "value": "555-0101"}],
        }));
        assert_eq!(
            view.name().map(|name| name.full.expose().as_str()),
            Some("Grace Ada Okafor Jr")
        );
        assert_eq!(view.former_names.len(), 1);
        assert_eq!(view.addresses[0].city.expose(), "Fort Wayne");
        assert_eq!(
            (view.telecoms.len(), view.birth_date.expose().map(|date| date.year())),
            (1, Some(1950))
        );
        let printed = format!("{view:?}");
        assert!(
            !printed.contains("Okafor") && !printed.contains("1950") && !printed.contains("555")
        );
    }
}
