//! XCN: people who treat, order, observe and sign.

use serde_json::{Value, json};

use super::Conversion;
use super::datatypes::NPI_SYSTEM;
use super::patient::key_of;
use crate::fhir_type::label;
use crate::hl7v2::Part;
use crate::json::{Object, Put, reference, resource};
use crate::natural_key;

impl Conversion<'_> {
    /// References to the people in a field. Repetitions with the same name are
    /// one person with several identifiers. People with an identifier become
    /// Practitioner resources, the others a name. `told`: a notice may concern
    /// them.
    pub(super) fn practitioners(&mut self, field: Part<'_>, told: bool) -> Vec<Value> {
        let mut people: Vec<(String, Object)> = Vec::new();
        for part in field.repetitions() {
            let identifier = self.reader.person_identifier(part);
            let name = self.reader.name_parts(part, 2);
            let label = label(&name);
            if identifier.is_none() && label.is_empty() {
                continue;
            }
            if let Some((_, known)) =
                people.iter_mut().find(|(known, _)| !label.is_empty() && *known == label)
            {
                known.push("identifier", identifier);
                continue;
            }
            let mut person = resource("Practitioner");
            person.push("identifier", identifier);
            person.push("name", crate::json::some(name));
            if let Some(degree) = part.at(7).filter(|_| !label.is_empty()) {
                // The name has it as a suffix already; a bare text is enough.
                person.push("qualification", json!({"code": {"text": degree}}));
            }
            people.push((label, person));
        }
        people.into_iter().filter_map(|(label, person)| self.person(&label, person, told)).collect()
    }

    /// The first person in a field.
    pub(super) fn practitioner(&mut self, field: Part<'_>, told: bool) -> Option<Value> {
        self.practitioners(field, told).into_iter().next()
    }

    /// NDL (OBR-32 and others): the name's subcomponents stand where an XCN has
    /// components: id, family, given, further, suffix, prefix.
    pub(super) fn named_person(&mut self, field: Part<'_>) -> Option<Value> {
        let person = field.repetitions().next()?.component(1);
        let sub = |number: usize| person.subcomponent(number).value();
        let names = [sub(6), sub(3), sub(4), sub(2), sub(5)];
        let label = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let value = sub(1);
        match (label.is_empty(), value) {
            (true, None) => None,
            (true, Some(value)) => Some(json!({"type": "Practitioner", "display": value})),
            (false, None) => Some(json!({"type": "Practitioner", "display": label})),
            (false, Some(value)) => {
                let [namespace, id, kind] = [sub(9), sub(10), sub(11)];
                let system =
                    self.reader.system(namespace.as_deref(), id.as_deref(), kind.as_deref());
                let identifier = json!({"system": system, "value": value});
                Some(json!({"type": "Practitioner", "identifier": identifier, "display": label}))
            }
        }
    }

    fn person(&mut self, label: &str, person: Object, told: bool) -> Option<Value> {
        let identifiers: Vec<Value> =
            person.get("identifier").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_npi = |identifier: &&Value| identifier.get("system") == Some(&json!(NPI_SYSTEM));
        let Some(best) = identifiers.iter().find(is_npi).or(identifiers.first()) else {
            return Some(json!({"type": "Practitioner", "display": label}));
        };
        let key = key_of(best);
        if told && !self.recipients.contains(&key) {
            self.recipients.push(key.clone());
        }
        if let Some(known) = self.people.get(&key) {
            return Some(known.clone());
        }
        let text = |name: &str| best.get(name).and_then(Value::as_str).unwrap_or_default();
        let key_parts = [text("system").to_owned(), text("value").to_owned()];
        let natural = natural_key("Practitioner", &[&key_parts[0], &key_parts[1]]);
        // Somebody of whom only the number is known is no resource of its own:
        // it would take the name away from what is stored.
        let found = if person.contains_key("name") {
            let url = self.add(person, Some(natural));
            let mut found = reference(&url);
            if let (Some(object), false) = (found.as_object_mut(), label.is_empty()) {
                object.insert("display".to_owned(), json!(label));
            }
            found
        } else {
            json!({"type": "Practitioner", "identifier": best})
        };
        self.people.insert(key, found.clone());
        Some(found)
    }
}
