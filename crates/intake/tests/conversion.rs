//! What HL7 v2 messages become: one claim a test.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use holdfast_base::OrganizationId;
use holdfast_intake::hl7v2::parse;
use holdfast_intake::{
    Converted, DocumentChangeKind, NoticeKind, PATIENT_URL, PatientEvent, Refusal, Settings,
    convert_hl7v2,
};
use serde_json::{Value, json};

fn settings() -> Settings {
    let mut settings = Settings::new(OrganizationId::new("lakeside").unwrap());
    settings.authorities.insert("LAKESIDE".into(), "urn:oid:2.16.840.1.113883.3.77".into());
    settings.time_zone = "EST5EDT,M3.2.0,M11.1.0".into();
    settings
}

fn message(kind: &str, rest: &str) -> String {
    format!("MSH|^~\\&|EHR|LAKESIDE|HF|HF|20150526||{kind}|c1|P|2.5.1\r{rest}")
}

#[track_caller]
fn converted(kind: &str, rest: &str) -> Converted {
    let text = message(kind, rest);
    convert_hl7v2(&parse(text.as_bytes()).unwrap(), &settings()).unwrap()
}

fn all<'c>(converted: &'c Converted, resource_type: &str) -> Vec<&'c Value> {
    let of_type = converted.resources.iter().filter(|one| one.resource_type() == resource_type);
    of_type.map(|one| &one.resource).collect()
}

fn keys(converted: &Converted, resource_type: &str) -> Vec<String> {
    let of_type = converted.resources.iter().filter(|one| one.resource_type() == resource_type);
    of_type.filter_map(|one| one.natural_key.clone()).collect()
}

const PID: &str = "PID|1||77^^^LAKESIDE^MR~A9^^^OTHER^PI||Okafor^Mary^Ann^Jr^Dr^^L||19600102|F||2106-3^White^CDCREC~2028-9|1 Elm St^Apt 2^Gary^IN^46401^USA^H||^PRN^PH^^^219^5550101~^NET^Internet^m@example.com||ENG|M|||900-12-3456|D77^IN||2186-5\r";

#[test]
fn a_patient_has_identifiers_name_contacts_and_us_core_extensions() {
    let converted = converted("ADT^A08", PID);
    let patient = converted.patient.unwrap();
    let identifiers = patient["identifier"].as_array().unwrap();
    let pairs: Vec<(&str, &str)> = identifiers
        .iter()
        .map(|one| (one["system"].as_str().unwrap(), one["value"].as_str().unwrap()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("urn:oid:2.16.840.1.113883.3.77", "77"),
            ("urn:holdfast:lakeside:other", "A9"),
            ("http://hl7.org/fhir/sid/us-ssn", "900-12-3456"),
            ("urn:oid:2.16.840.1.113883.4.3.18", "D77"),
        ]
    );
    assert_eq!(identifiers[0]["assigner"]["display"], "LAKESIDE");
    assert_eq!(
        patient["name"],
        json!([{"family": "Okafor", "given": ["Mary", "Ann"], "prefix": ["Dr"], "suffix": ["Jr"], "use": "official"}])
    );
    assert_eq!(patient["birthDate"], "1960-01-02");
    assert_eq!(patient["gender"], "female");
    assert_eq!(
        patient["telecom"][0],
        json!({"system": "phone", "value": "219 5550101", "use": "home"})
    );
    assert_eq!(patient["telecom"][1]["system"], "email");
    assert_eq!(patient["address"][0]["line"], json!(["1 Elm St", "Apt 2"]));
    assert_eq!(patient["address"][0]["use"], "home");
    let race = &patient["extension"][0];
    assert_eq!(race["url"], "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race");
    assert_eq!(race["extension"][1]["valueCoding"]["code"], "2028-9");
    assert_eq!(converted.event, PatientEvent::Update);
}

#[test]
fn filler_social_security_numbers_are_left_out_and_told() {
    let pid = "PID|1||77^^^LAKESIDE^MR||A^B||||||||||||||999-99-9999\r";
    let converted = converted("ADT^A08", pid);
    assert_eq!(converted.patient.unwrap()["identifier"].as_array().unwrap().len(), 1);
    assert!(converted.issues.iter().any(|issue| issue.place == "PID-19"));
}

#[test]
fn a_visit_has_the_status_that_the_event_says() {
    for (trigger, class, discharged, expected) in [
        ("A01", "I", "", "in-progress"),
        ("A03", "I", "20150528", "finished"),
        ("A03", "I", "", "finished"),
        ("A04", "O", "", "in-progress"),
        ("A05", "P", "", "planned"),
        ("A08", "I", "", "in-progress"),
        ("A08", "I", "20150528", "finished"),
        ("A11", "I", "", "cancelled"),
        ("A13", "I", "20150528", "in-progress"),
    ] {
        let npi = "1234567893^Abel^Ann^^^^MD^^NPI^L^^^NPI";
        let empty = "|".repeat(12);
        let pv1 = format!(
            "{PID}PV1|1|{class}|W1^R2^B3||||{npi}{empty}V77^^^LAKESIDE^VN{}201505260730|{discharged}\r",
            "|".repeat(25)
        );
        // PV1-7 is the attender, PV1-19 the number, PV1-44 and 45 the times.
        let converted = converted(&format!("ADT^{trigger}"), &pv1);
        let visit = all(&converted, "Encounter")[0];
        assert_eq!(visit["status"], expected, "{trigger} {class} {discharged}");
        assert_eq!(visit["subject"]["reference"], PATIENT_URL);
        assert_eq!(visit["identifier"][0]["value"], "V77");
        assert_eq!(visit["period"]["start"], "2015-05-26T07:30:00-04:00");
        assert_eq!(
            keys(&converted, "Encounter"),
            ["Encounter|urn:oid:2.16.840.1.113883.3.77\\|77|urn:oid:2.16.840.1.113883.3.77\\|V77"]
        );
        assert_eq!(
            keys(&converted, "Practitioner"),
            ["Practitioner|http://hl7.org/fhir/sid/us-npi|1234567893"]
        );
    }
}

#[test]
fn an_admission_is_an_occasion_to_tell_the_providers() {
    let pv1 = format!("{PID}PV1|1|E|||||1234567893^Abel^Ann^^^^^^NPI^L^^^NPI||||||||||||V1\r");
    let notice = converted("ADT^A04", &pv1).notice.unwrap();
    assert_eq!(notice.kind, NoticeKind::Registration);
    assert_eq!(notice.recipients_hint, ["http://hl7.org/fhir/sid/us-npi|1234567893"]);
    assert!(converted("ADT^A08", &pv1).notice.is_none());
}

const CBC: &str = "ORC|RE|P1^EHR|F1^LAB\rOBR|1|P1^EHR|F1^LAB|58410-2^CBC^LN|||201505260700|||||||||1234567893^Abel^Ann^^^^^^NPI^L^^^NPI||||||201505260900||HM|F\r\
OBX|1|NM|718-7^Hemoglobin^LN||10.50|g/dL^g/dL^UCUM|12.0-16.0|L|||F\r\
NTE|1||Checked twice\r\
OBX|2|NM|6690-2^WBC^LN||<0.5|10^3/uL|4.5 to 11.0|LL|||C\r\
OBX|3|SN|777-3^Platelets^LN||>^1000|K/uL|||||P\r\
OBX|4|CWE|664-3^Gram^LN||260385009^Negative^SCT~X^Other^L||||||F\r\
OBX|5|TX|REP^Comment^L||First & last\rOBX|6|TX|REP^Comment^L||line \\T\\ end\r\
OBX|7|NM|2160-0^Creatinine^LN||not done||||||X\r\
SPM|1|S1&EHR^S9&LAB||BLD^Blood^HL70487|||||||||||||201505260655\r";

#[test]
fn a_panel_becomes_a_report_with_results() {
    let converted = converted("ORU^R01", &format!("{PID}{CBC}"));
    let results = all(&converted, "Observation");
    assert_eq!(results.len(), 6);
    let hemoglobin = results[0];
    assert_eq!(
        hemoglobin["valueQuantity"].to_string(),
        r#"{"value":10.50,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}"#
    );
    assert_eq!(hemoglobin["status"], "final");
    assert_eq!(hemoglobin["code"]["coding"][0]["system"], "http://loinc.org");
    assert_eq!(hemoglobin["category"][0]["coding"][0]["code"], "laboratory");
    assert_eq!(hemoglobin["interpretation"][0]["coding"][0]["code"], "L");
    assert_eq!(hemoglobin["referenceRange"][0]["low"]["value"].to_string(), "12.0");
    assert_eq!(hemoglobin["referenceRange"][0]["text"], "12.0-16.0");
    assert_eq!(hemoglobin["note"][0]["text"], "Checked twice");
    assert_eq!(hemoglobin["effectiveDateTime"], "2015-05-26T07:00:00-04:00");
    assert_eq!(results[1]["status"], "corrected");
    assert_eq!(results[1]["valueQuantity"]["comparator"], "<");
    assert_eq!(results[1]["valueQuantity"]["code"], "10*3/uL");
    assert_eq!(results[1]["referenceRange"][0]["high"]["value"].to_string(), "11.0");
    assert_eq!(results[2]["status"], "preliminary");
    assert_eq!(results[2]["valueQuantity"]["comparator"], ">");
    // Several values are components, and none stands beside them (obs-7).
    let parts = &results[3]["component"];
    assert_eq!(parts[0]["valueCodeableConcept"]["coding"][0]["system"], "http://snomed.info/sct");
    assert_eq!(parts[1]["valueCodeableConcept"]["text"], "Other");
    assert!(results[3]["valueCodeableConcept"].is_null());
    assert_eq!(results[4]["valueString"], "First & last\nline & end");
    assert_eq!(results[5]["status"], "cancelled");
    assert_eq!(results[5]["valueString"], "not done");

    let report = all(&converted, "DiagnosticReport")[0];
    assert_eq!(report["status"], "corrected");
    assert_eq!(report["result"].as_array().unwrap().len(), 6);
    assert_eq!(report["issued"], "2015-05-26T09:00:00-04:00");
    let specimen = all(&converted, "Specimen")[0];
    assert_eq!(specimen["identifier"][1]["value"], "S9");
    assert_eq!(report["specimen"][0]["reference"], hemoglobin["specimen"]["reference"]);
    assert_eq!(all(&converted, "ServiceRequest")[0]["status"], "completed");
    assert_eq!(converted.notice.unwrap().kind, NoticeKind::Result);
    assert_eq!(converted.event, PatientEvent::None);
}

#[test]
fn a_correction_has_the_keys_of_what_it_corrects() {
    let first = converted("ORU^R01", &format!("{PID}{CBC}"));
    let corrected = CBC.replace("10.50", "11.9").replace("|||F", "|||C").replace("HM|F", "HM|C");
    let second = converted("ORU^R01", &format!("{PID}{corrected}"));
    for resource_type in ["Observation", "DiagnosticReport", "Specimen", "ServiceRequest"] {
        assert_eq!(keys(&first, resource_type), keys(&second, resource_type));
    }
    assert_eq!(all(&second, "Observation")[0]["status"], "corrected");
}

#[test]
fn numbers_without_an_authority_are_the_senders_own() {
    let order = "OBR|1||77|1^X^L|||20150526||||||||||||||||||F\r";
    let of = |application: &str| {
        let text = message("ORU^R01", &format!("{PID}{order}")).replace("|EHR|", application);
        convert_hl7v2(&parse(text.as_bytes()).unwrap(), &settings()).unwrap()
    };
    assert_eq!(keys(&of("|LAB|"), "DiagnosticReport"), keys(&of("|LAB|"), "DiagnosticReport"));
    assert_ne!(keys(&of("|LAB|"), "DiagnosticReport"), keys(&of("|RIS|"), "DiagnosticReport"));
}

#[test]
fn a_result_refers_to_the_visit_and_does_not_reopen_it() {
    let text = format!("{PID}PV1|1|I|||||||||||||||||V77^^^LAKESIDE\r{CBC}");
    let converted = converted("ORU^R01", &text);
    assert!(all(&converted, "Encounter").is_empty());
    let visit = &all(&converted, "Observation")[0]["encounter"];
    assert_eq!(visit["identifier"]["value"], "V77");
}

#[test]
fn a_pdf_among_results_is_a_form_of_the_report() {
    let text = format!(
        "{PID}OBR|1||F9^LAB|1^X^L|||20150526||||||||||||||||||F\rOBX|1|ED|PDF^Report^L||^application^pdf^Base64^JVBERi0=||||||F\r"
    );
    let converted = converted("ORU^R01", &text);
    let file = &all(&converted, "DiagnosticReport")[0]["presentedForm"][0];
    assert_eq!(file["contentType"], "application/pdf");
    assert_eq!(file["data"], "JVBERi0=");
    assert!(all(&converted, "Observation").is_empty());
}

#[test]
fn a_text_attachment_keeps_delimiters_that_were_not_escaped() {
    let text = format!("{PID}OBR|1||F9^LAB\rOBX|1|ED|T^Note^L||^TEXT^plain^A^5 ^ 6 & 7||||||F\r");
    let file =
        &all(&converted("ORU^R01", &text), "DiagnosticReport")[0]["presentedForm"][0].clone();
    let data = base64::engine::general_purpose::STANDARD.decode(file["data"].as_str().unwrap());
    assert_eq!(data.unwrap(), b"5 ^ 6 & 7");
    assert_eq!(file["contentType"], "text/plain");
}

fn document(trigger: &str, state: &str, parent: &str) -> Converted {
    let obx =
        "OBX|1|TX|11488-4^Consult^LN||HISTORY: well.\rOBX|2|TX|11488-4^Consult^LN||PLAN: none.\r";
    let txa = format!(
        "TXA|1|CN^Consultation|TX|20150526||201505260800||201505260900|1234567893^Abel^Ann^^^^^^NPI^L^^^NPI|||D2^TR|{parent}||||{state}||AV\r"
    );
    converted(&format!("MDM^{trigger}"), &format!("{PID}{txa}{obx}"))
}

#[test]
fn a_dictated_report_is_a_document_with_its_text() {
    let converted = document("T02", "AU", "");
    let document = all(&converted, "DocumentReference")[0];
    assert_eq!(document["status"], "current");
    assert_eq!(document["docStatus"], "final");
    assert_eq!(document["masterIdentifier"]["value"], "D2");
    let data = document["content"][0]["attachment"]["data"].as_str().unwrap();
    let text = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    assert_eq!(text, b"HISTORY: well.\nPLAN: none.");
    assert_eq!(converted.notice.unwrap().kind, NoticeKind::Report);
}

#[test]
fn documents_replace_amend_and_cancel_one_another() {
    let first = keys(&document("T02", "AU", ""), "DocumentReference");
    let replacement = document("T10", "AU", "D1^TR");
    let change = &replacement.document_changes[0];
    assert_eq!(change.kind, DocumentChangeKind::Replaces);
    assert_eq!(change.document, first[0]);
    assert_eq!(change.concerns, "DocumentReference|urn:holdfast:lakeside:tr\\|D1");
    let relation = &all(&replacement, "DocumentReference")[0]["relatesTo"][0];
    assert_eq!(relation["code"], "replaces");
    assert_eq!(relation["target"]["identifier"]["value"], "D1");

    assert_eq!(
        document("T06", "DO", "D1^TR").document_changes[0].kind,
        DocumentChangeKind::Appends
    );
    let cancelled = document("T11", "AU", "");
    assert_eq!(all(&cancelled, "DocumentReference")[0]["status"], "entered-in-error");
    assert_eq!(cancelled.document_changes[0].kind, DocumentChangeKind::Cancels);
}

#[test]
fn a_vaccination_has_vaccine_lot_route_site_and_source() {
    let text = format!(
        "{PID}ORC|RE||V7^IIS|||||||||1234567893^Abel^Ann^^^^^^NPI^L^^^NPI\r\
         RXA|0|1|20150526||08^Hep B^CVX|0.5|mL^mL^UCUM||00^New^NIP001||^^^CLINIC||||L77|20170101|MSD^Merck^MVX|||CP|A\r\
         RXR|IM^Intramuscular^HL70162|LD^Left Deltoid^HL70163\r\
         OBX|1|CE|64994-7^Eligibility^LN|1|V02^Medicaid^HL70064||||||F\r\
         OBX|2|NM|30973-2^Dose^LN|2|2||||||F\r"
    );
    let converted = converted("VXU^V04", &text);
    let shot = all(&converted, "Immunization")[0];
    assert_eq!(shot["status"], "completed");
    assert_eq!(shot["vaccineCode"]["coding"][0]["system"], "http://hl7.org/fhir/sid/cvx");
    assert_eq!(shot["lotNumber"], "L77");
    assert_eq!(shot["primarySource"], true);
    assert_eq!(shot["doseQuantity"]["code"], "mL");
    assert_eq!(shot["manufacturer"]["identifier"]["value"], "MSD");
    assert_eq!(shot["protocolApplied"][0]["doseNumberPositiveInt"], 2);
    assert!(all(&converted, "Observation").is_empty());
    let refused = text.replace("|CP|A", "|RE|A");
    assert_eq!(all(&super_converted(&refused), "Immunization")[0]["status"], "not-done");
    let deleted = text.replace("|CP|A", "|CP|D");
    assert_eq!(all(&super_converted(&deleted), "Immunization")[0]["status"], "entered-in-error");
}

fn super_converted(text: &str) -> Converted {
    converted("VXU^V04", text)
}

#[test]
fn allergies_diagnoses_and_kin_belong_to_the_patient() {
    let text = format!(
        "{PID}NK1|1|Okafor^John|SPO^Spouse^HL70063||^PRN^PH^^^219^5550102\r\
         PV1|1|I|||||||||||||||||V77\r\
         AL1|1|DA|70618^Penicillin^RXNORM|SV|Hives\r\
         DG1|1||E11.9^Type 2 diabetes^I10C|||A\r"
    );
    let converted = converted("ADT^A01", &text);
    let allergy = all(&converted, "AllergyIntolerance")[0];
    assert_eq!(allergy["criticality"], "high");
    assert_eq!(allergy["category"], json!(["medication"]));
    assert_eq!(allergy["reaction"][0]["severity"], "severe");
    let condition = all(&converted, "Condition")[0];
    assert_eq!(condition["code"]["coding"][0]["system"], "http://hl7.org/fhir/sid/icd-10-cm");
    assert_eq!(condition["verificationStatus"]["coding"][0]["code"], "provisional");
    let visit = all(&converted, "Encounter")[0];
    assert_eq!(visit["diagnosis"][0]["use"]["coding"][0]["code"], "AD");
    let kin = all(&converted, "RelatedPerson")[0];
    assert_eq!(kin["relationship"][0]["coding"][0]["code"], "SPS");
    assert_eq!(kin["patient"]["reference"], PATIENT_URL);
}

#[test]
fn a_merge_names_the_records_that_end() {
    let text = format!("{PID}MRG|78^^^LAKESIDE^MR~77^^^LAKESIDE^MR\r");
    match converted("ADT^A40", &text).event {
        PatientEvent::Merge { retired } => {
            assert_eq!(retired.len(), 1);
            assert_eq!(retired[0]["system"], "urn:oid:2.16.840.1.113883.3.77");
            assert_eq!(retired[0]["value"], "78");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_filed_is_refused_with_the_place() {
    let check = |kind: &str, rest: &str, expected: &str| {
        let text = message(kind, rest);
        let refusal = convert_hl7v2(&parse(text.as_bytes()).unwrap(), &settings()).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    };
    check("ORU^R01", "OBX|1\r", "required patient segment is missing at PID");
    check("ADT^A01", "PID|1||||Doe^Jo\r", "required patient identifier is missing at PID-3");
    check("", PID, "required message type is missing at MSH-9");
    check("ACK", "", "an acknowledgement or answer as a message is not supported");
    let two = format!("{PID}PID|2||99^^^LAKESIDE^MR\r");
    check("ADT^A17", &two, "the payload is about several patients (2)");
    assert_eq!(
        Refusal::SeveralPatients { count: 2 }.category(),
        holdfast_base::Category::Incorrect
    );
}

#[test]
fn no_segment_disappears_in_silence() {
    let text = format!("{PID}ZAP|1|x\rZAP|2|y\rIN1|1\r");
    let converted = converted("ADT^A08", &text);
    let issues: Vec<String> =
        converted.issues.iter().map(|issue| format!("{}: {}", issue.place, issue.text)).collect();
    assert!(
        issues.contains(&"ZAP: segment is kept in the original and not converted (2)".to_owned())
    );
    assert!(
        issues.contains(&"IN1: segment is kept in the original and not converted (1)".to_owned())
    );
}

#[test]
fn issues_and_refusals_hold_no_value_of_the_message() {
    let text = format!(
        "{PID}PV1|1|Q|||||||||||||||||V77\rOBX|1|NM|8867-4^HR^LN||seventy||||||Q\rZZZ|secret\r"
    );
    let converted = converted("ADT^A08", &text);
    let told = format!("{:?} {converted:?}", converted.issues);
    for value in ["Okafor", "900-12", "seventy", "V77", "secret", "Elm"] {
        assert!(!told.contains(value), "{value} in {told}");
    }
}
