//! Authors, performers and other participants.

use serde_json::{Value, json};

use super::Conversion;
use super::xml::{Lookup, Node};
use crate::fhir_type::{NPI_SYSTEM, key_of, label};
use crate::json::{Object, Put, reference, resource, some};
use crate::natural_key;

/// Who takes part, as far as FHIR elements allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actors {
    /// Practitioners only.
    People,
    /// Practitioners and organizations.
    PeopleAndOrganizations,
    /// Practitioners, organizations and devices.
    All,
}

/// Suffixes that belong to the name and are no degree.
const NAME_SUFFIXES: [&str; 7] = ["JR", "SR", "I", "II", "III", "IV", "V"];

impl<'d> Conversion<'d> {
    /// The person of an assignedAuthor, assignedEntity, associatedEntity or
    /// intendedRecipient; otherwise its organization or device, if the element
    /// may hold one. `told`: a notice may concern the person.
    pub(super) fn actor(&mut self, role: Node<'d>, actors: Actors, told: bool) -> Option<Value> {
        let person =
            ["assignedPerson", "associatedPerson", "informationRecipient", "playingEntity"]
                .into_iter()
                .find_map(|name| role.child(name));
        let name = person.and_then(|person| person.child("name"));
        let name = name.and_then(|name| self.reader.human_name(name));
        let device = role.child("assignedAuthoringDevice");
        let identifiers = self.reader.identifiers(role);
        if identifiers.iter().any(|identifier| key_of(identifier) == self.patient_key) {
            return (actors == Actors::All).then(Self::subject);
        }
        if device.is_none()
            && let Some(found) = self.person(identifiers, name, told)
        {
            return Some(found);
        }
        if let Some(device) = device.filter(|_| actors == Actors::All) {
            let said = ["softwareName", "manufacturerModelName"].into_iter().find_map(|part| {
                device.child(part).and_then(|part| {
                    part.attr("displayName")
                        .map(str::to_owned)
                        .or_else(|| self.reader.narrative.plain(part))
                })
            });
            if let Some(said) = said {
                return Some(json!({"type": "Device", "display": said}));
            }
        }
        if actors == Actors::People {
            return None;
        }
        let organization = role
            .child("representedOrganization")
            .or_else(|| role.child("scopingOrganization"))
            .or_else(|| role.child("receivedOrganization"))?;
        self.reader.organization(organization)
    }

    /// Keyed as the people of HL7 v2 messages are: by NPI where there is one.
    fn person(
        &mut self,
        identifiers: Vec<Value>,
        name: Option<Value>,
        told: bool,
    ) -> Option<Value> {
        let shown = name.as_ref().and_then(Value::as_object).map(shown).unwrap_or_default();
        let is_npi = |identifier: &&Value| identifier.get("system") == Some(&json!(NPI_SYSTEM));
        let best = identifiers.iter().find(is_npi).or(identifiers.first()).cloned();
        let Some(best) = best else {
            return (!shown.is_empty()).then(|| json!({"type": "Practitioner", "display": shown}));
        };
        let key = key_of(&best);
        if told && !self.recipients.contains(&key) {
            self.recipients.push(key.clone());
        }
        if let Some(known) = self.people.get(&key) {
            return Some(known.clone());
        }
        // Somebody of whom only the number is known is no resource of its own:
        // it would take the name away from what is stored.
        let Some(name) = name else {
            let is_person = best.get("system") == Some(&json!(NPI_SYSTEM));
            return is_person.then(|| json!({"type": "Practitioner", "identifier": best}));
        };
        let text = |part: &str| best.get(part).and_then(Value::as_str).unwrap_or_default();
        let natural = natural_key("Practitioner", &[text("system"), text("value")]);
        let mut person = resource("Practitioner");
        for identifier in identifiers {
            person.push("identifier", identifier);
        }
        for degree in degrees(&name) {
            person.push("qualification", json!({"code": {"text": degree}}));
        }
        let mut name = name;
        if let Some(name) = name.as_object_mut() {
            // A clinician's name is the same whatever document it stands in.
            name.shift_remove("use");
        }
        person.push("name", name);
        let url = self.add(person, natural);
        let mut found = reference(&url);
        if let (Some(object), false) = (found.as_object_mut(), shown.is_empty()) {
            object.insert("display".to_owned(), json!(shown));
        }
        self.people.insert(key, found.clone());
        Some(found)
    }

    /// The authors of a statement, and of the acts around it up to its section.
    fn authors(statement: Node<'d>) -> Vec<Node<'d>> {
        let mut found: Vec<Node<'d>> = statement.all("author").collect();
        let mut at = statement.parent_element();
        while let Some(node) = at.filter(|node| node.tag_name().name() != "section") {
            if !found.is_empty() {
                break;
            }
            found.extend(node.all("author"));
            at = node.parent_element();
        }
        found
    }

    /// The latest author of a statement.
    pub(super) fn author(&mut self, statement: Node<'d>, actors: Actors) -> Option<Value> {
        let mut authors = Self::authors(statement);
        authors.sort_by_key(|author| author.child("time").and_then(|time| time.attr("value")));
        let role = authors.into_iter().rev().find_map(|author| author.child("assignedAuthor"))?;
        self.actor(role, actors, false)
    }

    /// When a statement was first written down.
    pub(super) fn recorded(&self, statement: Node<'d>) -> Option<Value> {
        let times = Self::authors(statement).into_iter().filter_map(|author| author.child("time"));
        let earliest = times
            .filter(|time| time.attr("value").is_some())
            .min_by_key(|time| time.attr("value"))?;
        self.reader.date_time(earliest)
    }

    /// The performers of a statement.
    pub(super) fn performers(&mut self, statement: Node<'d>, actors: Actors) -> Vec<Value> {
        let roles: Vec<Node<'d>> = statement
            .all("performer")
            .filter_map(|performer| performer.child("assignedEntity"))
            .collect();
        let mut found = Object::new();
        for role in roles {
            let actor = self.actor(role, actors, false);
            found.push("actor", actor);
        }
        match found.remove("actor") {
            Some(Value::Array(actors)) => actors,
            _ => Vec::new(),
        }
    }

    /// The place of a statement, as a Location to contain.
    pub(super) fn location(&self, role: Node<'d>, id: &str) -> Option<Value> {
        let entity = role.child("playingEntity").or_else(|| role.child("location"));
        let name = entity.and_then(|entity| entity.child("name"));
        let mut location = Object::new();
        location.put_text("name", name.and_then(|name| self.reader.narrative.plain(name)));
        location.push("type", self.reader.child_concept(role, "code"));
        for telecom in
            role.all("telecom").chain(entity.iter().flat_map(|entity| entity.all("telecom")))
        {
            location.push("telecom", self.reader.contact_point(telecom));
        }
        let address = role.child("addr").or_else(|| entity.and_then(|entity| entity.child("addr")));
        location.put("address", address.and_then(|address| self.reader.address(address)));
        if location.is_empty() {
            return None;
        }
        let mut whole = resource("Location");
        whole.put("id", json!(id));
        for identifier in self.reader.identifiers(role) {
            whole.push("identifier", identifier);
        }
        whole.extend(location);
        some(whole)
    }

    /// `Service Delivery Location` participants into `contained`, and the
    /// references to them.
    pub(super) fn contain_locations(&self, statement: Node<'d>, object: &mut Object) -> Vec<Value> {
        let places = statement
            .all("participant")
            .filter(|participant| participant.attr("typeCode") == Some("LOC"))
            .filter_map(|participant| participant.child("participantRole"));
        let mut found = Vec::new();
        for role in places {
            let id = format!("location-{}", found.len() + 1);
            if let Some(location) = self.location(role, &id) {
                object.push("contained", location);
                found.push(reference(&format!("#{id}")));
            }
        }
        found
    }
}

/// The name for people to read.
fn shown(name: &Object) -> String {
    match label(name) {
        text if text.is_empty() => {
            name.get("text").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        text => text,
    }
}

/// Suffixes of a name that are degrees.
fn degrees(name: &Value) -> Vec<String> {
    let suffixes = name.get("suffix").and_then(Value::as_array).into_iter().flatten();
    suffixes
        .filter_map(Value::as_str)
        .filter(|suffix| {
            let plain = suffix.trim_end_matches('.').to_ascii_uppercase();
            !NAME_SUFFIXES.contains(&plain.as_str())
        })
        .map(str::to_owned)
        .collect()
}
