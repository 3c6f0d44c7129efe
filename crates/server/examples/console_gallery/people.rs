//! The chart of a woman who does not exist, from three organizations.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::{ClassSet, ElementClass, OrganizationId, Timestamp};
use holdfast_exchange::{Chart, ChartRecord, Disclosed, Relationship};
use serde_json::{Value, json};

use crate::Outcome;

/// Her chart.
pub fn chart() -> Outcome<Chart> {
    let lakeside = record(
        "lakeside-family",
        "Lakeside Family Practice",
        "LF-104482",
        "Maren Ida",
        lakeside(),
    )?;
    let mercy = record("mercy-general", "Mercy General Hospital", "00731926", "Maren", mercy())?;
    let laboratory =
        record("tri-county-lab", "Tri-County Laboratory", "T-88213", "Maren Ida", laboratory())?;
    Ok(Chart {
        own: lakeside,
        linked: vec![mercy, laboratory],
        withheld: 2,
        relationship: Relationship::CareTeam,
    })
}

fn record(
    id: &str,
    name: &str,
    mrn: &str,
    given: &str,
    resources: Vec<Value>,
) -> Outcome<ChartRecord> {
    let patient = json!({
        "resourceType": "Patient", "birthDate": "1954-03-09", "gender": "female",
        "name": [{"use": "official", "family": "Lindqvist-Osei", "given": [given]}, {"use": "maiden", "family": "Lindqvist", "given": [given]}],
        "identifier": [
            {"type": {"coding": [{"code": "MR"}]}, "value": mrn},
            {"system": "http://hl7.org/fhir/sid/us-ssn", "type": {"coding": [{"code": "SS"}]}, "value": "***-**-4321"},
            {"type": {"coding": [{"code": "DL"}]}, "value": "***"},
        ],
        "telecom": [{"system": "phone", "use": "mobile", "value": "317-555-0142"}, {"system": "email", "value": "maren@example.org"}],
        "address": [{"use": "home", "line": ["1182 Wabash Terrace", "Apt 3"], "city": "Fort Wayne", "state": "IN", "postalCode": "46802"}],
        "generalPractitioner": [{"display": "Dr. Amara Okafor"}],
    });
    let mut classes = ClassSet::ALL.without(ElementClass::GovernmentId);
    if id != "lakeside-family" {
        classes = classes.without(ElementClass::Restricted);
    }
    let all = resources.into_iter().enumerate();
    Ok(ChartRecord {
        organization: OrganizationId::new(id)?,
        organization_name: name.into(),
        patient: disclosed("5c21", patient),
        resources: all
            .map(|(place, resource)| disclosed(&id_of(&resource, place), resource))
            .collect(),
        classes,
    })
}

fn id_of(resource: &Value, place: usize) -> String {
    resource["id"].as_str().map_or_else(|| format!("r{place}"), str::to_owned)
}

fn disclosed(id: &str, resource: Value) -> Disclosed {
    Disclosed {
        resource_type: resource["resourceType"].as_str().unwrap_or_default().into(),
        resource,
        id: id.into(),
        version: 1,
        last_updated: Timestamp::from_millis(0),
        classes: ClassSet::ALL,
    }
}

fn condition(name: &str, code: &str, status: &str, onset: &str) -> Value {
    json!({"resourceType": "Condition", "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}], "text": name},
        "clinicalStatus": {"coding": [{"code": status}]}, "onsetDateTime": onset})
}

fn allergy(name: &str, seen: &str, severity: &str, criticality: &str) -> Value {
    json!({"resourceType": "AllergyIntolerance", "code": {"text": name}, "criticality": criticality,
        "clinicalStatus": {"coding": [{"code": "active"}]}, "onsetDateTime": "1987",
        "reaction": [{"manifestation": [{"text": seen}], "severity": severity}]})
}

fn drug(name: &str, directions: &str, status: &str, since: &str) -> Value {
    json!({"resourceType": "MedicationRequest", "status": status, "authoredOn": since,
        "medicationCodeableConcept": {"text": name}, "requester": {"display": "Dr. Amara Okafor"},
        "dosageInstruction": [{"text": directions}]})
}

fn shot(name: &str, code: &str, day: &str, lot: &str) -> Value {
    json!({"resourceType": "Immunization", "status": "completed", "occurrenceDateTime": day, "lotNumber": lot,
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": code}], "text": name},
        "site": {"text": "Left deltoid"}})
}

fn visit(kind: &str, what: &str, reason: &str, who: &str, from: &str, to: &str) -> Value {
    json!({"resourceType": "Encounter", "status": "finished", "class": {"display": kind}, "type": [{"text": what}],
        "reasonCode": [{"text": reason}], "participant": [{"individual": {"display": who}}], "period": {"start": from, "end": to}})
}

/// Name, LOINC code, unit, range, and the values by date with their flag.
type Test = (
    &'static str,
    &'static str,
    &'static str,
    Option<(f64, f64)>,
    &'static [(&'static str, f64, &'static str)],
);

fn results(panel: &str, category: &str, tests: &[Test]) -> Vec<Value> {
    let mut all = Vec::new();
    let mut members = Vec::new();
    for (name, code, unit, range, values) in tests {
        for (place, (at, value, flag)) in values.iter().enumerate() {
            let id = format!("{code}-{place}");
            members.push(json!({"reference": format!("Observation/{id}")}));
            let mut one = json!({"resourceType": "Observation", "id": id, "status": "final",
                "category": [{"coding": [{"code": category}]}], "effectiveDateTime": at,
                "code": {"coding": [{"system": "http://loinc.org", "code": code}], "text": name},
                "valueQuantity": {"value": value, "unit": unit}});
            if let Some((low, high)) = range {
                one["referenceRange"] = json!([{"low": {"value": low}, "high": {"value": high}}]);
            }
            if !flag.is_empty() {
                one["interpretation"] = json!([{"coding": [{"code": flag}]}]);
            }
            all.push(one);
        }
    }
    all.push(
        json!({"resourceType": "DiagnosticReport", "code": {"text": panel}, "result": members}),
    );
    all
}

fn pressure(at: &str, systolic: u32, diastolic: u32) -> Value {
    let part = |value: u32| json!({"valueQuantity": {"value": value, "unit": "mmHg"}});
    json!({"resourceType": "Observation", "status": "final", "effectiveDateTime": at,
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}], "text": "Blood pressure"},
        "component": [part(systolic), part(diastolic)]})
}

fn lakeside() -> Vec<Value> {
    let mut all = vec![
        condition("Type 2 diabetes mellitus", "44054006", "active", "2014-06-11"),
        condition("Essential hypertension", "59621000", "active", "2009-02-20"),
        condition("Migraine with aura", "4473006", "active", "1991"),
        condition("Community-acquired pneumonia", "385093006", "resolved", "2022-11-03"),
        allergy("Penicillin", "Anaphylaxis", "severe", "high"),
        allergy("Codeine", "Nausea", "mild", "low"),
        drug(
            "Metformin 1,000 mg tablet",
            "1 tablet by mouth twice a day with meals",
            "active",
            "2019-04-02",
        ),
        drug("Lisinopril 20 mg tablet", "1 tablet by mouth every morning", "active", "2021-08-15"),
        drug(
            "Amoxicillin 500 mg capsule",
            "1 capsule three times a day for 7 days",
            "stopped",
            "2018-01-09",
        ),
        shot("Influenza, high-dose, quadrivalent", "197", "2025-10-04", "U7731AA"),
        shot("Tdap", "115", "2019-05-22", "AC52B041"),
        visit(
            "ambulatory",
            "Follow-up",
            "Diabetes and blood pressure",
            "Dr. Amara Okafor",
            "2026-02-24T09:30:00-05:00",
            "2026-02-24T09:55:00-05:00",
        ),
        visit(
            "ambulatory",
            "Annual wellness visit",
            "Yearly check",
            "Dr. Amara Okafor",
            "2025-10-04T10:00:00-04:00",
            "2025-10-04T10:40:00-04:00",
        ),
        pressure("2026-02-24T09:32:00-05:00", 138, 84),
        pressure("2025-10-04T10:05:00-04:00", 142, 88),
        pressure("2025-05-12T08:45:00-04:00", 146, 86),
        pressure("2024-11-02T11:15:00-04:00", 151, 92),
        json!({"resourceType": "ServiceRequest", "status": "active"}),
        json!({"resourceType": "Observation", "status": "entered-in-error"}),
    ];
    all.extend(results(
        "Vital signs",
        "vital-signs",
        &[
            (
                "Heart rate",
                "8867-4",
                "/min",
                None,
                &[("2026-02-24", 72.0, ""), ("2025-10-04", 76.0, ""), ("2025-05-12", 70.0, "")],
            ),
            (
                "Body weight",
                "29463-7",
                "kg",
                None,
                &[
                    ("2026-02-24", 81.2, ""),
                    ("2025-10-04", 82.6, ""),
                    ("2025-05-12", 84.1, ""),
                    ("2024-11-02", 84.9, ""),
                ],
            ),
        ],
    ));
    all
}

fn laboratory() -> Vec<Value> {
    let mut all = results(
        "Diabetes monitoring",
        "laboratory",
        &[
            (
                "Hemoglobin A1c",
                "4548-4",
                "%",
                Some((4.0, 5.6)),
                &[
                    ("2026-02-24", 6.8, "H"),
                    ("2025-10-04", 7.1, "H"),
                    ("2025-05-12", 7.6, "H"),
                    ("2024-11-02", 8.2, "H"),
                    ("2024-04-19", 8.0, "H"),
                ],
            ),
            (
                "Glucose, fasting",
                "1558-6",
                "mg/dL",
                Some((70.0, 99.0)),
                &[
                    ("2026-02-24", 118.0, "H"),
                    ("2025-10-04", 126.0, "H"),
                    ("2025-05-12", 139.0, "H"),
                ],
            ),
            (
                "Albumin/creatinine, urine",
                "9318-7",
                "mg/g",
                Some((0.0, 30.0)),
                &[("2026-02-24", 21.0, ""), ("2025-05-12", 34.0, "H")],
            ),
        ],
    );
    all.extend(results(
        "Basic metabolic panel",
        "laboratory",
        &[
            (
                "Sodium",
                "2951-2",
                "mmol/L",
                Some((135.0, 145.0)),
                &[
                    ("2026-02-24", 139.0, "N"),
                    ("2025-10-04", 141.0, "N"),
                    ("2025-05-12", 140.0, "N"),
                ],
            ),
            (
                "Potassium",
                "2823-3",
                "mmol/L",
                Some((3.5, 5.1)),
                &[("2026-02-24", 6.3, "HH"), ("2025-10-04", 4.6, "N"), ("2025-05-12", 4.4, "N")],
            ),
            (
                "Creatinine",
                "2160-0",
                "mg/dL",
                Some((0.5, 1.1)),
                &[("2026-02-24", 0.94, "N"), ("2025-10-04", 0.91, "N"), ("2025-05-12", 0.88, "N")],
            ),
            (
                "Calcium",
                "17861-6",
                "mg/dL",
                Some((8.6, 10.3)),
                &[("2026-02-24", 8.2, "L"), ("2025-10-04", 9.1, "N")],
            ),
        ],
    ));
    all.push(json!({"resourceType": "Observation", "status": "final", "effectiveDateTime": "2025-10-05", "code": {"text": "Urine culture"},
        "category": [{"coding": [{"code": "laboratory"}]}], "valueString": "No growth after 48 hours of incubation at 35 °C.\nReviewed by the microbiologist on call."}));
    all
}

fn mercy() -> Vec<Value> {
    let text = "DISCHARGE SUMMARY\n\nHISTORY OF PRESENT ILLNESS: Mrs. Lindqvist-Osei is a 71-year-old woman who came to the emergency department with two days of fever, a productive cough and pleuritic pain on the right side. She had been well until a grandchild brought home a cold.\n\nHOSPITAL COURSE: She was treated with levofloxacin because of her penicillin allergy. Oxygen was weaned on the second day. Blood sugar ran high on the first night and came down with her usual metformin.\n\nLABORATORY DATA:\nWBC          14.2      9.8      7.1\nCRP           118       64       22\nCreatinine   1.05     0.97     0.93\n\nIMPRESSION AND PLAN:\n1. Right lower lobe pneumonia, improving. Five more days of levofloxacin.\n2. Type 2 diabetes. Continue metformin; see Dr. Okafor within two weeks.\n3. Repeat chest film in six weeks.";
    let early = "REASON FOR CONSULTATION: Headaches.\n\nThey are mostly left-sided, build over an hour, and bring photophobia and nausea.";
    let document = |title: &str, state: &str, at: &str, author: &str, text: &str| {
        json!({"resourceType": "DocumentReference", "status": "current", "docStatus": state, "date": at,
            "type": {"text": title}, "author": [{"display": author}], "authenticator": {"display": "Dr. Helene Marsh"},
            "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": STANDARD.encode(text)}}]})
    };
    vec![
        condition("Type 2 diabetes mellitus", "44054006", "active", "2014-07-02"),
        condition("Pneumonia of right lower lobe", "233604007", "active", "2026-02-28"),
        allergy("Penicillin", "Hives", "moderate", "high"),
        drug(
            "Levofloxacin 750 mg tablet",
            "1 tablet once a day for 5 days",
            "completed",
            "2026-03-03",
        ),
        shot("Influenza, high-dose, quadrivalent", "197", "2025-10-04", "U7731AA"),
        visit(
            "inpatient encounter",
            "Medicine",
            "Fever and cough",
            "Dr. Helene Marsh",
            "2026-02-28T22:10:00-05:00",
            "2026-03-03T14:00:00-05:00",
        ),
        document(
            "Discharge summary",
            "final",
            "2026-03-03T16:42:00-05:00",
            "Dr. Jonas Abara",
            text,
        ),
        document(
            "Neurology consultation",
            "preliminary",
            "2026-03-02T11:20:00-05:00",
            "Dr. Helene Marsh",
            early,
        ),
        json!({"resourceType": "DocumentReference", "status": "current", "docStatus": "final", "date": "2026-02-28",
            "type": {"text": "Chest radiograph"}, "author": [{"display": "Dr. Priya Raman"}],
            "content": [{"attachment": {"contentType": "application/pdf", "title": "Chest, two views", "data": STANDARD.encode([0; 40_000])}}]}),
        pressure("2026-03-03T07:00:00-05:00", 129, 78),
    ]
}
