//! FHIR R4 transaction bundles: a visit as an app sends it. Every entry is a
//! conditional create by an identifier, so that sending a bundle again changes
//! nothing (FHIR R4 http.html#ccreate).

use jiff::civil::DateTime;
use serde_json::{Value, json};

use crate::clinical::Condition;
use crate::dice::Dice;
use crate::hl7::offset_hours;
use crate::messages::Visit;
use crate::registration::Registration;

/// What a visit found.
pub(crate) struct Findings {
    /// Systolic, diastolic (mm[Hg]) and pulse (/min).
    pub(crate) vitals: [i64; 3],
    /// Body temperature in degrees Celsius.
    pub(crate) temperature_cel: f64,
    /// What the clinician wrote about the visit.
    pub(crate) remark: String,
    pub(crate) conditions: Vec<&'static Condition>,
}

struct Bundle<'a> {
    registration: &'a Registration<'a>,
    visit: &'a Visit<'a>,
    patient: String,
    encounter: String,
    entries: Vec<Value>,
}

/// The bundle as JSON text.
pub(crate) fn transaction(
    registration: &Registration<'_>,
    visit: &Visit<'_>,
    findings: &Findings,
    control: &str,
    dice: &mut Dice,
) -> Vec<u8> {
    let (patient, encounter) = (uuid(dice), uuid(dice));
    let mut bundle = Bundle { registration, visit, patient, encounter, entries: Vec::new() };
    bundle.patient();
    bundle.encounter(&findings.remark);
    bundle.observations(findings, dice);
    for condition in &findings.conditions {
        bundle.condition(condition, dice);
    }
    let value = json!({
        "resourceType": "Bundle",
        "identifier": { "system": bundle.system("bundle"), "value": control },
        "type": "transaction",
        "timestamp": instant(visit.at),
        "entry": bundle.entries,
    });
    let mut text = format!("{value:#}");
    text.push('\n');
    text.into_bytes()
}

pub(crate) fn uuid(dice: &mut Dice) -> String {
    let mut digits = String::with_capacity(36);
    for place in 0..32 {
        if matches!(place, 8 | 12 | 16 | 20) {
            digits.push('-');
        }
        let nibble = match place {
            12 => 4,
            16 => 8 + dice.below(4),
            _ => dice.below(16),
        };
        digits.push(char::from_digit(nibble as u32, 16).unwrap_or('0'));
    }
    format!("urn:uuid:{digits}")
}

pub(crate) fn instant(at: DateTime) -> String {
    format!("{}-0{}:00", at.strftime("%Y-%m-%dT%H:%M:%S"), -offset_hours(at))
}

impl Bundle<'_> {
    fn system(&self, what: &str) -> String {
        format!("https://{}.example.org/{what}", self.registration.organization.slug)
    }

    fn add(&mut self, full_url: &str, resource: Value) {
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        let identifier = &resource["identifier"][0];
        let condition = format!(
            "identifier={}|{}",
            identifier["system"].as_str().unwrap_or_default(),
            identifier["value"].as_str().unwrap_or_default()
        );
        self.entries.push(json!({
            "fullUrl": full_url,
            "resource": resource,
            "request": { "method": "POST", "url": kind, "ifNoneExist": condition },
        }));
    }

    fn patient(&mut self) {
        let registration = self.registration;
        let (person, organization) = (registration.person, registration.organization);
        let mut identifiers = vec![json!({
            "use": "usual",
            "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR", "display": "Medical record number" }] },
            "system": organization.mrn_system(),
            "value": registration.mrn,
            "assigner": { "display": organization.name },
        })];
        if let Some(ssn) = &registration.ssn {
            identifiers.push(json!({
                "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "SS", "display": "Social Security number" }] },
                "system": "http://hl7.org/fhir/sid/us-ssn",
                "value": ssn,
            }));
        }
        let mut telecom =
            vec![json!({ "system": "phone", "value": registration.phone, "use": "home" })];
        if let Some(mobile) = &registration.mobile {
            telecom.push(json!({ "system": "phone", "value": mobile, "use": "mobile" }));
        }
        if let Some(email) = &registration.email {
            telecom.push(json!({ "system": "email", "value": email }));
        }
        let mut given = vec![registration.given.as_str()];
        given.extend(Some(registration.middle.as_str()).filter(|middle| !middle.is_empty()));
        let mut line = vec![registration.street.as_str()];
        line.extend(registration.address.unit.as_deref());
        let (code, text) = if person.hispanic {
            ("2135-2", "Hispanic or Latino")
        } else {
            ("2186-5", "Not Hispanic or Latino")
        };
        let omb = |url: &str, code: &str, text: &str| {
            json!({
                "url": format!("http://hl7.org/fhir/us/core/StructureDefinition/{url}"),
                "extension": [
                    { "url": "ombCategory", "valueCoding": { "system": "urn:oid:2.16.840.1.113883.6.238", "code": code, "display": text } },
                    { "url": "text", "valueString": text },
                ],
            })
        };
        let resource = json!({
            "resourceType": "Patient",
            "extension": [
                omb("us-core-race", person.race.0, person.race.1),
                omb("us-core-ethnicity", code, text),
            ],
            "identifier": identifiers,
            "active": true,
            "name": [{ "use": "official", "family": registration.family, "given": given }],
            "telecom": telecom,
            "gender": person.sex.word(),
            "birthDate": registration.birth.to_string(),
            "address": [{
                "use": "home",
                "line": line,
                "city": registration.city(),
                "state": registration.address.state,
                "postalCode": registration.address.zip,
                "country": "US",
            }],
        });
        let url = self.patient.clone();
        self.add(&url, resource);
    }

    fn encounter(&mut self, remark: &str) {
        let visit = self.visit;
        let end = visit.at.saturating_add(jiff::SignedDuration::from_mins(25));
        let resource = json!({
            "resourceType": "Encounter",
            "identifier": [{ "system": self.system("visit"), "value": visit.number }],
            "status": "finished",
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "ambulatory" },
            "type": [{ "coding": [{ "system": "http://snomed.info/sct", "code": "185349003", "display": "Encounter for check up" }] }],
            "subject": { "reference": self.patient },
            "participant": [{ "individual": self.clinician() }],
            "period": { "start": instant(visit.at), "end": instant(end) },
            "reasonCode": [{ "text": remark }],
            "serviceProvider": { "display": self.registration.organization.name },
        });
        let url = self.encounter.clone();
        self.add(&url, resource);
    }

    /// A logical reference to the clinician, by provider number.
    fn clinician(&self) -> Value {
        let member = self.visit.attending;
        json!({
            "type": "Practitioner",
            "identifier": { "system": "http://hl7.org/fhir/sid/us-npi", "value": member.npi },
            "display": member.display(),
        })
    }

    fn observations(&mut self, findings: &Findings, dice: &mut Dice) {
        let person = self.registration.person;
        let [systolic, diastolic, pulse] = findings.vitals.map(|value| value as f64);
        let part = |code: &str, display: &str, value: f64| json!({ "code": loinc(code, display), "valueQuantity": quantity(value, "mm[Hg]", "mmHg") });
        let pressure = json!({ "component": [
            part("8480-6", "Systolic blood pressure", systolic),
            part("8462-4", "Diastolic blood pressure", diastolic),
        ] });
        self.observation(
            "85354-9",
            "Blood pressure panel with all children optional",
            pressure,
            dice,
        );
        let height_m = person.height_cm / 100.0;
        let index = person.weight_kg / (height_m * height_m);
        for (code, display, value, unit, shown) in [
            ("8867-4", "Heart rate", pulse, "/min", "beats/minute"),
            ("8310-5", "Body temperature", findings.temperature_cel, "Cel", "C"),
            ("29463-7", "Body weight", person.weight_kg, "kg", "kg"),
            ("8302-2", "Body height", person.height_cm, "cm", "cm"),
            ("39156-5", "Body mass index (BMI) [Ratio]", index, "kg/m2", "kg/m2"),
        ] {
            let rest = json!({ "valueQuantity": quantity(value, unit, shown) });
            self.observation(code, display, rest, dice);
        }
    }

    fn observation(&mut self, code: &str, display: &str, rest: Value, dice: &mut Dice) {
        let mut resource = json!({
            "resourceType": "Observation",
            "identifier": [{ "system": self.system("observation"), "value": format!("{}-{code}", self.visit.number) }],
            "status": "final",
            "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs", "display": "Vital Signs" }] }],
            "code": loinc(code, display),
            "subject": { "reference": self.patient },
            "encounter": { "reference": self.encounter },
            "effectiveDateTime": instant(self.visit.at),
            "performer": [self.clinician()],
        });
        if let (Some(into), Value::Object(rest)) = (resource.as_object_mut(), rest) {
            into.extend(rest);
        }
        self.add(&uuid(dice), resource);
    }

    fn condition(&mut self, condition: &Condition, dice: &mut Dice) {
        let terminology = "http://terminology.hl7.org/CodeSystem";
        let resource = json!({
            "resourceType": "Condition",
            "identifier": [{ "system": self.system("problem"), "value": format!("{}-{}", self.registration.mrn, condition.icd10) }],
            "clinicalStatus": { "coding": [{ "system": format!("{terminology}/condition-clinical"), "code": "active" }] },
            "verificationStatus": { "coding": [{ "system": format!("{terminology}/condition-ver-status"), "code": "confirmed" }] },
            "category": [{ "coding": [{ "system": format!("{terminology}/condition-category"), "code": "problem-list-item", "display": "Problem List Item" }] }],
            "code": {
                "coding": [
                    { "system": "http://snomed.info/sct", "code": condition.snomed, "display": condition.name },
                    { "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": condition.icd10, "display": condition.icd10_text },
                ],
                "text": condition.name,
            },
            "subject": { "reference": self.patient },
            "recordedDate": self.visit.at.date().to_string(),
            "asserter": self.clinician(),
        });
        self.add(&uuid(dice), resource);
    }
}

pub(crate) fn loinc(code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": "http://loinc.org", "code": code, "display": display }], "text": display })
}

pub(crate) fn quantity(value: f64, code: &str, unit: &str) -> Value {
    let rounded = (value * 10.0).round() / 10.0;
    json!({ "value": rounded, "unit": unit, "system": "http://unitsofmeasure.org", "code": code })
}
