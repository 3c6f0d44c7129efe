//! Whole records as FHIR R4 transaction bundles, one person a file: what a system that
//! changes over sends of each patient. About 250 resources each, of ten years.
//!
//! Every entry is created by its identifier, so that sending a file again changes
//! nothing, and the practice and its clinicians are the same in all files.

use jiff::ToSpan as _;
use jiff::civil::{Date, DateTime};
use serde_json::{Value, json};

use crate::bundle::{instant, loinc, quantity, uuid};
use crate::clinical::{Condition, VACCINES};
use crate::dice::Dice;
use crate::labs::{Measured, Panel};
use crate::person::{Person, persons};
use crate::stream::{Options, moment};

/// Years that a record goes back.
const YEARS: i64 = 10;
/// Clinicians of the practice.
const CLINICIANS: [(&str, &str, &str); 4] = [
    ("Amara", "Okafor", "9000000101"),
    ("Piotr", "Zielinski", "9000000102"),
    ("Mei", "Tanaka", "9000000103"),
    ("Lucia", "Ferreira", "9000000104"),
];
const TERMINOLOGY: &str = "http://terminology.hl7.org/CodeSystem";
const SNOMED: &str = "http://snomed.info/sct";
/// Procedures: SNOMED CT.
const PROCEDURES: [(&str, &str); 5] = [
    ("430193006", "Medication reconciliation"),
    ("710824005", "Assessment of health and social care needs"),
    ("171207006", "Depression screening"),
    ("73761001", "Colonoscopy"),
    ("268425006", "Pelvic examination"),
];

/// File names and transaction bundles of `options.patients` persons. The same options
/// give the same bytes.
pub fn charts(options: &Options) -> impl Iterator<Item = (String, Vec<u8>)> {
    let (seed, start) = (options.seed, options.start);
    persons(options.patients, seed, start).into_iter().map(move |person| {
        let bundle = Chart::of(&person, seed, start);
        (format!("patient-{:06}.json", person.number), format!("{bundle}\n").into_bytes())
    })
}

struct Chart<'a> {
    person: &'a Person,
    dice: Dice,
    patient: String,
    practice: String,
    clinicians: Vec<String>,
    entries: Vec<Value>,
    /// Numbers the resources of each kind.
    counter: u32,
}

impl<'a> Chart<'a> {
    fn of(person: &'a Person, seed: u64, start: Date) -> Value {
        let mut dice = Dice::new(seed, 0x5000_0000 + u64::from(person.number));
        let (patient, practice) = (uuid(&mut dice), uuid(&mut dice));
        let (clinicians, entries) = (Vec::new(), Vec::new());
        let mut chart = Chart { person, dice, patient, practice, clinicians, entries, counter: 0 };
        chart.practice();
        chart.patient();
        let first = start.saturating_sub(YEARS.years());
        let days = start.since(first).map_or(3_650, |span| i64::from(span.get_days()));
        let days = days.max(YEARS * 365);
        for condition in &person.conditions {
            let at = moment(first, chart.dice.between(0, days - 1), 600);
            chart.condition(condition, at);
        }
        let visits = chart.dice.between(13, 18);
        for visit in 0..visits {
            let day = visit * days / visits + chart.dice.between(0, 30);
            let minute = chart.dice.between(8 * 60, 17 * 60);
            chart.visit(moment(first, day.min(days - 1), minute), visit);
        }
        chart.plan(first);
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": chart.entries })
    }

    /// Adds an entry that is created unless its identifier is known.
    fn put(&mut self, full_url: String, system: &str, value: &str, mut resource: Value) -> String {
        let system = format!("https://charts.example.org/{system}");
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_owned();
        // A CarePlan and the like have lists; all kinds in a chart do.
        resource["identifier"] = json!([{ "system": system, "value": value }]);
        self.entries.push(json!({
            "fullUrl": full_url,
            "resource": resource,
            "request": {
                "method": "POST", "url": kind, "ifNoneExist": format!("identifier={system}|{value}"),
            },
        }));
        full_url
    }

    /// Adds a resource of this person's own.
    fn add(&mut self, resource: Value) -> String {
        self.counter += 1;
        let kind = resource["resourceType"].as_str().unwrap_or_default().to_lowercase();
        let value = format!("{:06}-{}", self.person.number, self.counter);
        let url = uuid(&mut self.dice);
        self.put(url, &kind, &value, resource)
    }

    fn subject(&self) -> Value {
        json!({ "reference": self.patient })
    }

    fn clinician(&mut self) -> Value {
        let place = self.dice.below(self.clinicians.len());
        let (given, family, _) = CLINICIANS[place];
        json!({ "reference": self.clinicians[place], "display": format!("Dr. {given} {family}") })
    }

    fn practice(&mut self) {
        let organization = json!({
            "resourceType": "Organization", "active": true, "name": "Charts Family Practice",
            "telecom": [{ "system": "phone", "value": "219-555-0142" }],
        });
        let url = self.practice.clone();
        self.put(url, "organization", "1", organization);
        for _ in 0..2 {
            let place = (self.person.number as usize + self.clinicians.len()) % CLINICIANS.len();
            let (given, family, number) = CLINICIANS[place];
            let practitioner = json!({
                "resourceType": "Practitioner", "active": true,
                "name": [{ "family": family, "given": [given], "prefix": ["Dr."] }],
            });
            let url = uuid(&mut self.dice);
            let url = self.put(url, "practitioner", number, practitioner);
            self.clinicians.push(url);
        }
    }

    fn patient(&mut self) {
        let person = self.person;
        let home = &person.home;
        let mut telecom = vec![json!({ "system": "phone", "value": person.phone, "use": "home" })];
        telecom.extend(person.email.as_ref().map(|at| json!({ "system": "email", "value": at })));
        let mut given = vec![person.given];
        given.extend(Some(person.middle).filter(|middle| !middle.is_empty()));
        let patient = json!({
            "resourceType": "Patient", "active": true,
            "name": [{ "use": "official", "family": person.family, "given": given }],
            "telecom": telecom,
            "gender": person.sex.word(),
            "birthDate": person.birth.to_string(),
            "address": [{
                "use": "home", "line": [home.line(false)], "city": home.city,
                "state": home.state, "postalCode": home.zip, "country": "US",
            }],
            "managingOrganization": { "reference": self.practice },
        });
        let (url, number) = (self.patient.clone(), format!("{:06}", person.number));
        self.put(url, "patient", &number, patient);
    }

    fn visit(&mut self, at: DateTime, number: i64) {
        let clinician = self.clinician();
        let end = at.saturating_add(jiff::SignedDuration::from_mins(30));
        let encounter = self.add(json!({
            "resourceType": "Encounter", "status": "finished",
            "class": { "system": format!("{TERMINOLOGY}/v3-ActCode"), "code": "AMB" },
            "type": [{ "coding": [{ "system": SNOMED, "code": "185349003", "display": "Encounter for check up" }] }],
            "subject": self.subject(),
            "participant": [{ "individual": clinician }],
            "period": { "start": instant(at), "end": instant(end) },
            "serviceProvider": { "reference": self.practice },
        }));
        self.vitals(at, &encounter);
        let panels: &[Panel] = match number % 3 {
            0 => &[Panel::Comprehensive, Panel::Lipid],
            1 => &[Panel::HemoglobinA1c],
            _ => &[],
        };
        for panel in panels {
            self.panel(*panel, at, &encounter);
        }
        if number % 2 == 0 {
            self.document(at, &encounter);
            let (code, display) = *self.dice.pick(&PROCEDURES);
            self.add(json!({
                "resourceType": "Procedure", "status": "completed",
                "code": { "coding": [{ "system": SNOMED, "code": code, "display": display }], "text": display },
                "subject": self.subject(), "encounter": { "reference": encounter },
                "performedPeriod": { "start": instant(at), "end": instant(end) },
            }));
        }
        self.medicines(at, &encounter);
        let vaccine = self.dice.pick(VACCINES);
        self.add(json!({
            "resourceType": "Immunization", "status": "completed",
            "vaccineCode": { "coding": [{ "system": "http://hl7.org/fhir/sid/cvx", "code": vaccine.cvx, "display": vaccine.name }] },
            "patient": self.subject(), "encounter": { "reference": encounter },
            "occurrenceDateTime": instant(at), "primarySource": true,
        }));
    }

    fn observation(
        &mut self,
        category: &str,
        at: DateTime,
        encounter: &str,
        rest: Value,
    ) -> String {
        let mut resource = json!({
            "resourceType": "Observation", "status": "final",
            "category": [{ "coding": [{ "system": format!("{TERMINOLOGY}/observation-category"), "code": category }] }],
            "subject": self.subject(), "encounter": { "reference": encounter },
            "effectiveDateTime": instant(at), "issued": instant(at),
        });
        if let (Some(into), Value::Object(rest)) = (resource.as_object_mut(), rest) {
            into.extend(rest);
        }
        self.add(resource)
    }

    fn vitals(&mut self, at: DateTime, encounter: &str) {
        let (systolic, diastolic) = (self.dice.bell(124.0, 14.0), self.dice.bell(78.0, 9.0));
        let part = |code: &str, display: &str, value: f64| json!({ "code": loinc(code, display), "valueQuantity": quantity(value, "mm[Hg]", "mmHg") });
        let pressure = json!({
            "code": loinc("85354-9", "Blood pressure panel with all children optional"),
            "component": [
                part("8480-6", "Systolic blood pressure", systolic),
                part("8462-4", "Diastolic blood pressure", diastolic),
            ],
        });
        self.observation("vital-signs", at, encounter, pressure);
        let (height, weight) = (self.person.height_cm, self.person.weight_kg);
        let index = weight / (height / 100.0).powi(2);
        let signs = [
            ("8867-4", "Heart rate", self.dice.bell(74.0, 10.0), "/min"),
            ("9279-1", "Respiratory rate", self.dice.bell(15.0, 2.0), "/min"),
            ("8310-5", "Body temperature", self.dice.bell(36.8, 0.4), "Cel"),
            ("29463-7", "Body weight", self.dice.bell(weight, 3.0), "kg"),
            ("8302-2", "Body height", height, "cm"),
            ("39156-5", "Body mass index (BMI) [Ratio]", index, "kg/m2"),
        ];
        for (code, display, value, unit) in signs {
            let rest = json!({
                "code": loinc(code, display), "valueQuantity": quantity(value, unit, unit),
            });
            self.observation("vital-signs", at, encounter, rest);
        }
    }

    fn panel(&mut self, panel: Panel, at: DateTime, encounter: &str) {
        let age = self.person.age_on(at.date());
        let measured = panel.measure(self.person, age.max(0), &mut self.dice);
        let results: Vec<Value> = measured
            .iter()
            .map(|row| json!({ "reference": self.result(row, at, encounter) }))
            .collect();
        let [code, display, ..] = panel.code();
        self.add(json!({
            "resourceType": "DiagnosticReport", "status": "final",
            "category": [{ "coding": [{ "system": format!("{TERMINOLOGY}/v2-0074"), "code": "LAB" }] }],
            "code": loinc(code, display),
            "subject": self.subject(), "encounter": { "reference": encounter },
            "effectiveDateTime": instant(at), "issued": instant(at),
            "performer": [{ "reference": self.practice }],
            "result": results,
        }));
    }

    fn result(&mut self, row: &Measured, at: DateTime, encounter: &str) -> String {
        let analyte = row.analyte;
        let number = row.text().parse::<f64>().unwrap_or_default();
        let value = json!({
            "value": number, "unit": analyte.unit,
            "system": "http://unitsofmeasure.org", "code": analyte.unit,
        });
        let flag = row.flag();
        let rest = json!({
            "code": loinc(analyte.loinc, analyte.name),
            "valueQuantity": value,
            "interpretation": [{ "coding": [{ "system": format!("{TERMINOLOGY}/v3-ObservationInterpretation"), "code": flag }] }],
            "referenceRange": [{ "text": row.range() }],
        });
        let rest = match row.range().is_empty() {
            true => json!({ "code": rest["code"], "valueQuantity": rest["valueQuantity"] }),
            false => rest,
        };
        self.observation("laboratory", at, encounter, rest)
    }

    fn document(&mut self, at: DateTime, encounter: &str) {
        let author = self.clinician();
        self.add(json!({
            "resourceType": "DocumentReference", "status": "current",
            "type": loinc("34117-2", "History and physical note"),
            "category": [{ "coding": [{ "system": "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category", "code": "clinical-note" }] }],
            "subject": self.subject(), "date": instant(at), "author": [author],
            // "Seen for a check-up. No complaint." in base64.
            "content": [{ "attachment": {
                "contentType": "text/plain; charset=utf-8",
                "data": "U2VlbiBmb3IgYSBjaGVjay11cC4gTm8gY29tcGxhaW50Lg==",
            }}],
            "context": { "encounter": [{ "reference": encounter }] },
        }));
    }

    fn condition(&mut self, condition: &Condition, at: DateTime) {
        self.add(json!({
            "resourceType": "Condition",
            "clinicalStatus": { "coding": [{ "system": format!("{TERMINOLOGY}/condition-clinical"), "code": "active" }] },
            "verificationStatus": { "coding": [{ "system": format!("{TERMINOLOGY}/condition-ver-status"), "code": "confirmed" }] },
            "category": [{ "coding": [{ "system": format!("{TERMINOLOGY}/condition-category"), "code": "problem-list-item" }] }],
            "code": {
                "coding": [
                    { "system": SNOMED, "code": condition.snomed, "display": condition.name },
                    { "system": "http://hl7.org/fhir/sid/icd-10-cm", "code": condition.icd10, "display": condition.icd10_text },
                ],
                "text": condition.name,
            },
            "subject": self.subject(), "onsetDateTime": instant(at),
            "recordedDate": at.date().to_string(),
        }));
    }

    fn medicines(&mut self, at: DateTime, encounter: &str) {
        let medicines: Vec<_> =
            self.person.conditions.iter().filter_map(|condition| condition.medicine).collect();
        for medicine in medicines {
            let requester = self.clinician();
            self.add(json!({
                "resourceType": "MedicationRequest", "status": "completed", "intent": "order",
                "medicationCodeableConcept": { "coding": [{ "system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": medicine.rxnorm, "display": medicine.name }] },
                "subject": self.subject(), "encounter": { "reference": encounter },
                "authoredOn": instant(at), "requester": requester,
                "dosageInstruction": [{ "text": medicine.dose }],
            }));
        }
    }

    fn plan(&mut self, first: Date) {
        let start = json!({ "start": first.to_string() });
        let member = self.clinician();
        let team = self.add(json!({
            "resourceType": "CareTeam", "status": "active", "subject": self.subject(),
            "period": start,
            "participant": [{
                "role": [{ "coding": [{ "system": SNOMED, "code": "446050000", "display": "Primary care physician" }] }],
                "member": member,
            }],
        }));
        self.add(json!({
            "resourceType": "CarePlan", "status": "active", "intent": "order",
            "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Yearly check-up</div>" },
            "category": [{ "coding": [{ "system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "code": "assess-plan" }] }],
            "subject": self.subject(), "period": start,
            "careTeam": [{ "reference": team }],
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_some_hundreds_of_resources_that_lean_on_each_other() {
        let options = Options { patients: 12, seed: 3, ..Options::default() };
        let files: Vec<_> = charts(&options).collect();
        assert_eq!(files.len(), 12);
        assert_eq!(files, charts(&options).collect::<Vec<_>>(), "the same from the same seed");
        let mut total = 0;
        for (name, bytes) in &files {
            let bundle: Value = serde_json::from_slice(bytes).expect("is JSON");
            let entries = bundle["entry"].as_array().expect("entries");
            total += entries.len();
            let urls: Vec<_> = entries.iter().map(|entry| &entry["fullUrl"]).collect();
            for entry in entries.iter().filter(|entry| entry["resource"]["encounter"].is_object()) {
                assert!(urls.contains(&&entry["resource"]["encounter"]["reference"]), "{name}");
            }
        }
        assert!((150..400).contains(&(total / files.len())), "{}", total / files.len());
    }
}
