//! PID, PD1 and MRG: who the message is about.

use serde_json::{Value, json};

use super::Conversion;
use super::datatypes::social_security_number;
use crate::converted::{Issue, PatientEvent, Refusal};
pub(super) use crate::fhir_type::key_of;
use crate::fhir_type::{OMB_RACES, is_cdc_code};
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put, coding, extension, resource, some};
use crate::vocabulary::mapped;

const CORE: &str = "http://hl7.org/fhir/StructureDefinition/";
const US_CORE: &str = "http://hl7.org/fhir/us/core/StructureDefinition/";

impl Conversion<'_> {
    /// Reads the patient; everything else refers to it.
    pub(super) fn patient(&mut self) -> Result<(), Refusal> {
        let message = self.message;
        let pid = message
            .segment("PID")
            .ok_or(Refusal::Missing { what: "patient segment", place: "PID".to_owned() })?;
        let mut patient = resource("Patient");
        self.identifiers(&pid, &mut patient);
        let first = patient
            .get("identifier")
            .and_then(|identifiers| identifiers.get(0))
            .ok_or(Refusal::Missing { what: "patient identifier", place: "PID-3".to_owned() })?;
        self.patient_key = key_of(first);
        self.one_patient_only()?;
        self.names(&pid, &mut patient);
        self.contacts(&pid, &mut patient);
        self.demographics(&pid, &mut patient);
        self.extensions(&pid, &mut patient);
        if let Some(pd1) = message.segment("PD1") {
            self.primary_care(&pd1, &mut patient);
        }
        self.converted.patient = some(patient);
        self.patient_event();
        Ok(())
    }

    fn identifiers(&mut self, pid: &Segment<'_>, patient: &mut Object) {
        // PID-3 first: its first identifier is the record's name.
        for number in [3, 2, 4] {
            for part in pid.field(number).repetitions() {
                if number != 3 && part.components_count() == 1 && repeats(patient, &part) {
                    continue;
                }
                match self.reader.identifier(part) {
                    found @ Some(_) => patient.push("identifier", found),
                    None if part.at(1).is_some() => {
                        let text = "an identifier that is a filler was left out";
                        self.issue(Issue::warning(Self::place(pid, number), text));
                    }
                    None => {}
                }
            }
        }
        if let Some(text) = pid.first(19).at(1) {
            match social_security_number(&text) {
                Some(found) => {
                    let known = patient.get("identifier").and_then(Value::as_array);
                    let same = |one: &Value| one.get("system") == found.get("system");
                    if !known.is_some_and(|known| known.iter().any(same)) {
                        patient.push("identifier", Some(found));
                    }
                }
                None => self.issue(Issue::warning(
                    Self::place(pid, 19),
                    "no social security number, or a filler; left out",
                )),
            }
        }
        let licence = pid.first(20);
        if let Some(number) = licence.at(1) {
            let state = licence.at(2).unwrap_or_default();
            let system = mapped("driver-licence", &state).map(|found| found.code.to_owned());
            let system = system.unwrap_or_else(|| self.reader.settings.system_of("driver-licence"));
            patient.push(
                "identifier",
                json!({
                    "type": super::datatypes::identifier_type("DL"),
                    "system": system,
                    "value": number,
                }),
            );
        }
    }

    /// PID segments after the first must be the same patient's.
    fn one_patient_only(&mut self) -> Result<(), Refusal> {
        let mut others = Vec::new();
        for pid in self.message.segments_named("PID").skip(1) {
            let mut other = Object::new();
            self.identifiers(&pid, &mut other);
            let keys: Vec<String> = listed(&other, "identifier").map(key_of).collect();
            if !keys.contains(&self.patient_key) && !others.contains(&keys) {
                others.push(keys);
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        Err(Refusal::SeveralPatients { count: others.len() + 1 })
    }

    fn names(&mut self, pid: &Segment<'_>, patient: &mut Object) {
        for part in pid.field(5).repetitions() {
            patient.push("name", self.reader.human_name(part));
            if let Some(nickname) = part.at(15) {
                patient.push("name", json!({"use": "nickname", "given": [nickname]}));
            }
        }
        if patient.get("name").is_none() {
            self.issue(Issue::warning(Self::place(pid, 5), "the patient has no name"));
        }
        for part in pid.field(9).repetitions() {
            patient.push("name", self.reader.human_name(part));
        }
    }

    fn contacts(&mut self, pid: &Segment<'_>, patient: &mut Object) {
        for (number, point_use) in [(13, Some("home")), (14, Some("work")), (40, None)] {
            for part in pid.field(number).repetitions() {
                patient.push("telecom", self.reader.contact_point(part, point_use));
            }
        }
        for part in pid.field(11).repetitions() {
            patient.push("address", self.reader.address(part));
        }
        // PID-12 counts only where the one address names no county of its own.
        if let Some(county) = pid.first(12).at(1) {
            let addresses = patient.get_mut("address").and_then(Value::as_array_mut);
            if let Some([Value::Object(address)]) = addresses.map(Vec::as_mut_slice)
                && !address.contains_key("district")
            {
                address.put("district", json!(county));
            }
        }
    }

    fn demographics(&mut self, pid: &Segment<'_>, patient: &mut Object) {
        if let Some(sex) = pid.first(8).at(1) {
            match mapped("sex", &sex) {
                Some(found) => patient.put("gender", json!(found.code)),
                None => {
                    patient.put("gender", json!("unknown"));
                    self.issue(Issue::warning(
                        Self::place(pid, 8),
                        "administrative sex is not known",
                    ));
                }
            }
        }
        match self.reader.moment(pid.first(7)) {
            Some(born) => {
                patient.put("birthDate", json!(born.date));
                if let Some(at) = born.instant() {
                    let url = format!("{CORE}patient-birthTime");
                    let time = extension(&url, "valueDateTime", json!(at));
                    patient.put("_birthDate", json!({"extension": [time]}));
                }
            }
            None if !pid.first(7).is_empty() => {
                self.issue(Issue::warning(Self::place(pid, 7), "birth date cannot be read"));
            }
            None => {}
        }
        let dead = pid.first(30).at(1).map(|text| text.to_ascii_uppercase());
        match (self.reader.date_time(pid.first(29)), dead.as_deref()) {
            (Some(at), _) => patient.put("deceasedDateTime", at),
            (None, Some("Y")) => patient.put("deceasedBoolean", json!(true)),
            (None, Some("N")) => patient.put("deceasedBoolean", json!(false)),
            _ => {}
        }
        patient.put(
            "maritalStatus",
            self.reader.table_concept(pid.first(16), "marital-status", "0002"),
        );
        let order = pid.first(25).at(1).and_then(|text| text.parse::<u8>().ok());
        match (order, pid.first(24).at(1).as_deref()) {
            (Some(order), _) if order > 0 => patient.put("multipleBirthInteger", json!(order)),
            (_, Some("Y")) => patient.put("multipleBirthBoolean", json!(true)),
            (_, Some("N")) => patient.put("multipleBirthBoolean", json!(false)),
            _ => {}
        }
        if let Some(language) = self.language(pid.first(15)) {
            patient.push("communication", json!({"language": language}));
        }
    }

    pub(super) fn language(&self, part: Part<'_>) -> Option<Value> {
        let code = part.at(1).or_else(|| part.at(2))?;
        let found = mapped("language", &code)
            .or_else(|| part.at(2).and_then(|text| mapped("language", &text)));
        match found {
            Some(found) => Some(json!({
                "coding": [coding(found.system, found.code, found.display)],
                "text": part.at(2).unwrap_or(code),
            })),
            None => self.reader.concept(part),
        }
    }

    fn extensions(&mut self, pid: &Segment<'_>, patient: &mut Object) {
        if let Some(race) = self.race(pid, 10, "race") {
            patient.push("extension", race);
        }
        if let Some(ethnicity) = self.race(pid, 22, "ethnicity") {
            patient.push("extension", ethnicity);
        }
        let maiden = self.reader.human_name(pid.first(6)).and_then(|name| {
            let given = name.get("given").and_then(|given| given.get(0)).and_then(Value::as_str);
            let family = name.get("family").and_then(Value::as_str);
            let text = [family, given].into_iter().flatten().collect::<Vec<_>>().join(", ");
            (!text.is_empty()).then_some(text)
        });
        if let Some(maiden) = maiden {
            let url = format!("{CORE}patient-mothersMaidenName");
            patient.push("extension", extension(&url, "valueString", json!(maiden)));
        }
        if let Some(place) = pid.first(23).value() {
            let url = format!("{CORE}patient-birthPlace");
            patient.push("extension", extension(&url, "valueAddress", json!({"text": place})));
        }
        if let Some(religion) = self.reader.table_concept(pid.first(17), "religion", "0006") {
            let url = format!("{CORE}patient-religion");
            patient.push("extension", extension(&url, "valueCodeableConcept", religion));
        }
        for part in pid.field(26).repetitions() {
            if let Some(country) = self.reader.concept(part) {
                let code = extension("code", "valueCodeableConcept", country);
                let url = format!("{CORE}patient-citizenship");
                patient.push("extension", json!({"url": url, "extension": [code]}));
            }
        }
    }

    /// us-core-race and us-core-ethnicity of all repetitions of a field.
    fn race(&mut self, pid: &Segment<'_>, field: usize, map: &str) -> Option<Value> {
        let mut parts = Vec::new();
        let mut texts = Vec::new();
        for part in pid.field(field).repetitions() {
            let sent = [part.at(1), part.at(4)].into_iter().flatten();
            let found = sent.clone().find_map(|code| mapped(map, &code));
            let cdc = || part.at(1).filter(|code| is_cdc_code(code));
            let text = part.at(2).or_else(|| part.at(9)).or_else(|| {
                found.map(|found| found.display.to_owned()).filter(|text| !text.is_empty())
            });
            let (value, omb) = match (found, cdc()) {
                (Some(found), _) => (
                    coding(found.system, found.code, found.display),
                    map == "ethnicity" || OMB_RACES.contains(&found.code),
                ),
                (None, Some(code)) => {
                    let display = text.clone().unwrap_or_default();
                    (coding("urn:oid:2.16.840.1.113883.6.238", &code, &display), false)
                }
                (None, None) => {
                    texts.extend(text.or_else(|| part.at(1)));
                    continue;
                }
            };
            let name = if omb { "ombCategory" } else { "detailed" };
            // One ethnicity at most: the extension allows no second category.
            let taken = parts.iter().any(|part: &Value| part.get("url") == Some(&json!(name)));
            if !(map == "ethnicity" && omb && taken) {
                parts.push(extension(name, "valueCoding", value));
            }
            texts.extend(text.or_else(|| part.at(1)));
        }
        texts.dedup();
        if parts.is_empty() && texts.is_empty() {
            return None;
        }
        parts.push(extension("text", "valueString", json!(texts.join(", "))));
        Some(json!({"url": format!("{US_CORE}us-core-{map}"), "extension": parts}))
    }

    fn primary_care(&mut self, pd1: &Segment<'_>, patient: &mut Object) {
        for part in pd1.field(3).repetitions() {
            patient.push("generalPractitioner", self.reader.organization(part));
        }
        for reference in self.practitioners(pd1.field(4), true) {
            patient.push("generalPractitioner", reference);
        }
    }

    fn patient_event(&mut self) {
        let message = self.message;
        if self.event.merges_patients() {
            let mut retired = Object::new();
            for mrg in message.segments_named("MRG") {
                for number in [1, 4] {
                    for part in mrg.field(number).repetitions() {
                        retired.push("identifier", self.reader.identifier(part));
                    }
                }
            }
            let key = self.patient_key.clone();
            let retired: Vec<Value> = listed(&retired, "identifier")
                .filter(|identifier| key_of(identifier) != key)
                .cloned()
                .collect();
            if retired.is_empty() {
                self.issue(Issue::error("MRG-1", "the message merges and names nothing to merge"));
                self.converted.event = PatientEvent::Update;
            } else {
                self.converted.event = PatientEvent::Merge { retired };
            }
        } else if self.event.is_adt() {
            self.converted.event = PatientEvent::Update;
            if self.event.merges_below_patient() {
                let text = "merges and moves of accounts and visits are not carried out";
                self.issue(Issue::warning("MRG", text));
            }
        }
    }
}

fn listed<'o>(object: &'o Object, name: &str) -> impl Iterator<Item = &'o Value> + use<'o> {
    object.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Whether a bare number says again what an identifier of PID-3 said.
fn repeats(patient: &Object, part: &Part<'_>) -> bool {
    let value = part.at(1);
    listed(patient, "identifier")
        .any(|known| known.get("value").and_then(Value::as_str) == value.as_deref())
}
