//! The header: who the document is about, who sent it, and what it replaces.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Conversion;
use super::datatypes::SSN_OID;
use super::people::Actors;
use super::xml::{Lookup, Node};
use crate::converted::Refusal;
use crate::fhir_type::{OMB_RACES, SSN_SYSTEM, is_cdc_code, key_of};
use crate::json::{Object, Put, concept, extension, resource, some};
use crate::vocabulary::mapped;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const US_CORE: &str = "http://hl7.org/fhir/us/core/StructureDefinition/";
const LANGUAGES: &str = "urn:ietf:bcp:47";
/// The OMB ethnicity categories of us-core-ethnicity.
const OMB_ETHNICITIES: [&str; 2] = ["2135-2", "2186-5"];

impl<'d> Conversion<'d> {
    /// Reads the header; everything else refers to its patient.
    pub(super) fn header(&mut self) -> Result<(), Refusal> {
        let root = self.root;
        let id = root.child("id").map(|id| {
            let parts = [id.attr("root"), id.attr("extension")];
            parts.into_iter().flatten().collect::<Vec<_>>().join("^")
        });
        self.converted.control_id = id.filter(|id| !id.is_empty());
        let roles: Vec<Node<'d>> =
            root.all("recordTarget").filter_map(|target| target.child("patientRole")).collect();
        let place = "/ClinicalDocument/recordTarget/patientRole";
        let Some(role) = roles.first().copied() else {
            return Err(Refusal::Missing { what: "patient", place: place.to_owned() });
        };
        let identifiers = self.reader.identifiers(role);
        let Some(first) = identifiers.first() else {
            let place = format!("{place}/id");
            return Err(Refusal::Missing { what: "patient identifier", place });
        };
        self.patient_key = key_of(first);
        // Some documents name one patient twice.
        let known: HashSet<String> = identifiers.iter().map(key_of).collect();
        let is_another = |other: &&Node<'d>| {
            !self.reader.identifiers(**other).iter().any(|other| known.contains(&key_of(other)))
        };
        let others = roles.iter().skip(1).filter(is_another).count();
        if others > 0 {
            return Err(Refusal::SeveralPatients { count: others + 1 });
        }
        let is_misplaced = |id: &Node<'d>| {
            let system = self.reader.identifier(*id).and_then(|it| it.get("system").cloned());
            id.attr("root") == Some(SSN_OID) && system.is_some_and(|it| it != SSN_SYSTEM)
        };
        if role.all("id").any(|id| is_misplaced(&id)) {
            let text = "a record number stands under the root of social security numbers";
            self.warn(role, text);
        }
        self.sender();
        let patient = self.patient(role, identifiers);
        self.converted.patient = some(patient);
        Ok(())
    }

    fn sender(&mut self) {
        let root = self.root;
        let custodian = root.path(&[
            "custodian",
            "assignedCustodian",
            "representedCustodianOrganization",
            "name",
        ]);
        self.converted.sender.facility =
            custodian.and_then(|name| self.reader.narrative.plain(name));
        let mut devices = root
            .all("author")
            .filter_map(|author| author.path(&["assignedAuthor", "assignedAuthoringDevice"]));
        let software = devices.find_map(|device| device.child("softwareName"));
        self.converted.sender.application = software.and_then(|name| {
            let shown = name.attr("displayName").map(str::to_owned);
            shown.or_else(|| self.reader.narrative.plain(name))
        });
    }

    fn patient(&mut self, role: Node<'d>, identifiers: Vec<Value>) -> Object {
        let mut patient = resource("Patient");
        let person = role.child("patient");
        if let Some(person) = person {
            self.patient_extensions(person, &mut patient);
        }
        for identifier in identifiers {
            patient.push("identifier", identifier);
        }
        for name in person.iter().flat_map(|person| person.all("name")) {
            patient.push("name", self.reader.human_name(name));
        }
        if !patient.contains_key("name") {
            self.warn(role, "the patient has no name");
        }
        for telecom in role.all("telecom") {
            patient.push("telecom", self.reader.contact_point(telecom));
        }
        if let Some(person) = person {
            self.demographics(person, &mut patient);
        }
        for address in role.all("addr") {
            patient.push("address", self.reader.address(address));
        }
        if let Some(person) = person {
            patient.put("maritalStatus", self.reader.child_concept(person, "maritalStatusCode"));
            for guardian in person.all("guardian") {
                patient.push("contact", self.guardian(guardian));
            }
            for language in person.all("languageCommunication") {
                patient.push("communication", self.communication(language));
            }
        }
        self.primary_care(&mut patient);
        let keeper = role.child("providerOrganization");
        patient.put("managingOrganization", keeper.and_then(|it| self.reader.organization(it)));
        patient
    }

    fn demographics(&mut self, person: Node<'d>, patient: &mut Object) {
        if let Some(sex) = person.child("administrativeGenderCode") {
            let code = sex.attr("code").or(sex.null_flavor()).unwrap_or_default();
            let found = mapped("ccda-gender", code);
            patient.put("gender", json!(found.map_or("unknown", |found| found.code)));
            if found.is_none() {
                self.warn(sex, "administrative sex is not known");
            }
        }
        if let Some(born) = person.child("birthTime") {
            match self.reader.moment(born) {
                Some(at) => {
                    patient.put("birthDate", json!(at.date));
                    if let Some(time) = at.instant() {
                        let url = format!("{CORE}patient-birthTime");
                        let time = extension(&url, "valueDateTime", json!(time));
                        patient.put("_birthDate", json!({"extension": [time]}));
                    }
                }
                None if born.attr("value").is_some() => {
                    self.warn(born, "birth date cannot be read");
                }
                None => {}
            }
        }
        let died = person.extensions("deceasedTime").find_map(|at| self.reader.date_time(at));
        let dead = person.extensions("deceasedInd").find_map(|dead| dead.attr("value"));
        match (died, dead) {
            (Some(at), _) => patient.put("deceasedDateTime", at),
            (None, Some("true" | "1")) => patient.put("deceasedBoolean", json!(true)),
            (None, Some("false" | "0")) => patient.put("deceasedBoolean", json!(false)),
            _ => {}
        }
        let order = person.extensions("multipleBirthOrderNumber").find_map(|it| it.attr("value"));
        let order = order.and_then(|text| text.parse::<u8>().ok()).filter(|order| *order > 0);
        let multiple = person.extensions("multipleBirthInd").find_map(|it| it.attr("value"));
        match (order, multiple) {
            (Some(order), _) => patient.put("multipleBirthInteger", json!(order)),
            (None, Some("true")) => patient.put("multipleBirthBoolean", json!(true)),
            (None, Some("false")) => patient.put("multipleBirthBoolean", json!(false)),
            _ => {}
        }
    }

    fn patient_extensions(&self, person: Node<'d>, patient: &mut Object) {
        for (name, element, categories) in [
            ("race", "raceCode", OMB_RACES.as_slice()),
            ("ethnicity", "ethnicGroupCode", OMB_ETHNICITIES.as_slice()),
        ] {
            let codes: Vec<Node<'d>> =
                person.all(element).chain(person.extensions(element)).collect();
            patient.push("extension", self.race(&codes, name, categories));
        }
        if let Some(place) = person.path(&["birthplace", "place", "addr"]) {
            let url = format!("{CORE}patient-birthPlace");
            let address = self.reader.address(place);
            patient.push("extension", address.map(|it| extension(&url, "valueAddress", it)));
        }
        if let Some(religion) = self.reader.child_concept(person, "religiousAffiliationCode") {
            let url = format!("{CORE}patient-religion");
            patient.push("extension", extension(&url, "valueCodeableConcept", religion));
        }
    }

    /// us-core-race and us-core-ethnicity.
    fn race(&self, codes: &[Node<'d>], name: &str, categories: &[&str]) -> Option<Value> {
        let mut parts: Vec<Value> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for code in codes {
            let coded = std::iter::once(*code).chain(code.all("translation"));
            for node in coded {
                // The category UNK and ASKU of us-core-race are null flavours.
                let Some(found) = node.attr("code").filter(|code| is_cdc_code(code)) else {
                    continue;
                };
                let Some(coding) = self.reader.coding(node) else { continue };
                let is_category = categories.contains(&found);
                let part = if is_category { "ombCategory" } else { "detailed" };
                let part = extension(part, "valueCoding", coding);
                // One ethnicity at most: the extension allows no second category.
                let taken = is_category
                    && name == "ethnicity"
                    && parts.iter().any(|part| part.get("url") == Some(&json!("ombCategory")));
                if !taken && !parts.contains(&part) {
                    parts.push(part);
                }
            }
            let text = self.reader.concept(*code);
            let text = text.as_ref().and_then(|it| it.get("text")).and_then(Value::as_str);
            if let Some(text) = text.filter(|text| !texts.iter().any(|known| known == text)) {
                texts.push(text.to_owned());
            }
        }
        if parts.is_empty() && texts.is_empty() {
            return None;
        }
        if texts.is_empty() {
            let display = |part: &Value| {
                let coding = part.get("valueCoding")?;
                let said = coding.get("display").or_else(|| coding.get("code"))?;
                Some(said.as_str()?.to_owned())
            };
            texts.extend(parts.iter().filter_map(display));
        }
        parts.push(extension("text", "valueString", json!(texts.join(", "))));
        Some(json!({"url": format!("{US_CORE}us-core-{name}"), "extension": parts}))
    }

    fn communication(&self, node: Node<'d>) -> Option<Value> {
        let code = node.child("languageCode").and_then(|code| code.attr("code"))?;
        let mut communication = Object::new();
        if let Some(mode) = self.reader.child_concept(node, "modeCode") {
            let mut parts = vec![];
            let coding = |it: &Value| it.get("coding").and_then(|list| list.get(0)).cloned();
            if let Some(mode) = coding(&mode) {
                parts.push(extension("type", "valueCoding", mode));
            }
            let level = self.reader.child_concept(node, "proficiencyLevelCode");
            if let Some(level) = level.as_ref().and_then(coding) {
                parts.push(extension("level", "valueCoding", level));
            }
            if !parts.is_empty() {
                let url = format!("{CORE}patient-proficiency");
                communication.push("extension", json!({"url": url, "extension": parts}));
            }
        }
        let found = mapped("language", code);
        let language = match found {
            Some(found) => concept(found.system, found.code, found.display),
            None => concept(LANGUAGES, &crate::fhir_type::code_text(code), ""),
        };
        communication.put("language", language);
        let preferred = node.child("preferenceInd").and_then(|it| it.attr("value"));
        match preferred {
            Some("true" | "1") => communication.put("preferred", json!(true)),
            Some("false" | "0") => communication.put("preferred", json!(false)),
            _ => {}
        }
        some(communication)
    }

    fn guardian(&self, node: Node<'d>) -> Option<Value> {
        let mut contact = Object::new();
        let name = node.path(&["guardianPerson", "name"]);
        contact.put("name", name.and_then(|name| self.reader.human_name(name)));
        for telecom in node.all("telecom") {
            contact.push("telecom", self.reader.contact_point(telecom));
        }
        contact.put("address", node.child("addr").and_then(|it| self.reader.address(it)));
        let organization = node.child("guardianOrganization");
        contact.put("organization", organization.and_then(|it| self.reader.organization(it)));
        if contact.is_empty() {
            return None;
        }
        let guard = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
        contact.push("relationship", concept(guard, "GUARD", "guardian"));
        contact.push("relationship", self.reader.child_concept(node, "code"));
        some(contact)
    }

    /// The primary care providers among the performers of the service event.
    fn primary_care(&mut self, patient: &mut Object) {
        let performers: Vec<Node<'d>> = self
            .root
            .all("documentationOf")
            .filter_map(|it| it.child("serviceEvent"))
            .flat_map(|event| event.all("performer").collect::<Vec<_>>())
            .filter(|performer| {
                let function = performer.child("functionCode").and_then(|code| code.attr("code"));
                matches!(function, Some("PCP" | "PP"))
            })
            .collect();
        for role in performers.iter().filter_map(|performer| performer.child("assignedEntity")) {
            let actor = self.actor(role, Actors::PeopleAndOrganizations, true);
            patient.push("generalPractitioner", actor);
        }
    }
}
