//! What C-CDA documents become: HL7's own pairs, our sample documents, and the
//! rules that the guide leaves to us.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::OrganizationId;
use holdfast_fhir::Severity;
use holdfast_intake::{
    Converted, DocumentChangeKind, PATIENT_URL, PayloadKind, Refusal, Settings, convert_ccda,
};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new(OrganizationId::new("lakeside").unwrap())
}

/// A section of a whole document: LOINC code and entries.
fn document(sections: &[(&str, &str)]) -> String {
    document_of("<id root=\"1.2.3\" extension=\"77\"/>", sections)
}

fn document_of(patient: &str, sections: &[(&str, &str)]) -> String {
    let sections: String = sections
        .iter()
        .map(|(code, entries)| {
            format!(
                "<component><section><code code=\"{code}\" codeSystem=\"2.16.840.1.113883.6.1\"/>\
                 {entries}</section></component>"
            )
        })
        .collect();
    format!(
        "<ClinicalDocument xmlns=\"urn:hl7-org:v3\" xmlns:sdtc=\"urn:hl7-org:sdtc\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <id root=\"1.2.9\" extension=\"D1\"/>\
         <code code=\"34133-9\" codeSystem=\"2.16.840.1.113883.6.1\"/>\
         <effectiveTime value=\"20260102030405-0500\"/>\
         <confidentialityCode code=\"N\" codeSystem=\"2.16.840.1.113883.5.25\"/>\
         <recordTarget><patientRole>{patient}<patient><name><given>Jo</given>\
         <family>Roe</family></name></patient></patientRole></recordTarget>\
         <component><structuredBody>{sections}</structuredBody></component></ClinicalDocument>"
    )
}

fn convert(document: &str) -> Converted {
    let converted = convert_ccda(document.as_bytes(), &settings()).unwrap();
    let resources = converted.resources.iter().map(|added| &added.resource);
    for resource in resources.chain(converted.patient.as_ref()) {
        let problems: Vec<_> = holdfast_fhir::validate(resource)
            .into_iter()
            .filter(|issue| matches!(issue.severity, Severity::Fatal | Severity::Error))
            .map(|issue| format!("{}: {}", issue.expression, issue.diagnostics))
            .collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", resource["resourceType"]);
    }
    converted
}

fn of_type<'c>(converted: &'c Converted, kind: &str) -> Vec<&'c Value> {
    let of_kind = converted.resources.iter().filter(|added| added.resource_type() == kind);
    of_kind.map(|added| &added.resource).collect()
}

/// The one resource of a type that one entry in a section becomes.
fn only(kind: &str, section: &str, entry: &str) -> Value {
    let whole = entry.find("<entry>").or_else(|| entry.find("<entry "));
    let entry = match whole {
        Some(start) => entry[start..].to_owned(),
        None => format!("<entry>{entry}</entry>"),
    };
    let converted = convert(&document(&[(section, &entry)]));
    let found = of_type(&converted, kind);
    assert_eq!(found.len(), 1, "{kind}: {:#?}", converted.issues);
    found[0].clone()
}

fn pairs() -> Option<PathBuf> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/ccda/hl7-ccda-on-fhir");
    if !path.is_dir() {
        println!("skipped: no corpora beside the workspace");
        return None;
    }
    Some(path)
}

/// `system|code` of every coding, sorted.
fn codes(concept: &Value) -> Vec<String> {
    let codings = concept["coding"].as_array().cloned().unwrap_or_default();
    let text = |coding: &Value, name: &str| coding[name].as_str().unwrap_or_default().to_owned();
    let mut codes: Vec<String> = codings
        .iter()
        .map(|coding| format!("{}|{}", text(coding, "system"), text(coding, "code")))
        .collect();
    codes.sort();
    codes
}

#[test]
fn hl7s_own_pairs_agree_in_codes_statuses_and_dates() {
    let Some(folder) = pairs() else { return };
    for (name, kind, section, facts) in [
        (
            "CF-allergy",
            "AllergyIntolerance",
            "48765-2",
            &["identifier", "clinicalStatus", "category", "onsetDateTime"][..],
        ),
        (
            "CF-immunization",
            "Immunization",
            "11369-6",
            &["identifier", "status", "occurrenceDateTime", "lotNumber", "_primarySource"],
        ),
        ("CF-medication", "MedicationRequest", "10160-0", &["identifier", "status", "intent"]),
        ("CF-problem", "Condition", "11450-4", &["identifier", "onsetDateTime"]),
        ("CF-procedure", "Procedure", "47519-4", &["identifier", "status", "performedDateTime"]),
    ] {
        let entry = std::fs::read_to_string(folder.join(format!("{name}.xml"))).unwrap();
        let expected = std::fs::read(folder.join(format!("{name}.expected.json"))).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        let found = only(kind, section, &entry);
        for fact in facts {
            let plain = |value: &Value| match codes(value) {
                codes if codes.is_empty() => value.clone(),
                codes => json!(codes),
            };
            assert_eq!(plain(&found[*fact]), plain(&expected[*fact]), "{name}: {fact}");
        }
    }
}

#[test]
fn hl7s_patient_agrees_in_who_it_is() {
    let Some(folder) = pairs() else { return };
    let role = std::fs::read_to_string(folder.join("CF-patient.xml")).unwrap();
    let start = role.find("<recordTarget").unwrap();
    let plain = document(&[]);
    let (before, rest) = plain.split_once("<recordTarget>").unwrap();
    let after = rest.split_once("</recordTarget>").unwrap().1;
    let converted = convert(&format!("{before}{}{after}", &role[start..]));
    let expected = std::fs::read(folder.join("CF-patient.expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let found = converted.patient.unwrap();
    for fact in ["identifier", "name", "gender", "birthDate", "address", "telecom"] {
        assert_eq!(found[fact], expected[fact], "{fact}");
    }
    let language = |patient: &Value| codes(&patient["communication"][0]["language"]);
    assert_eq!(language(&found), language(&expected));
    let extension = |patient: &Value, name: &str| {
        let all = patient["extension"].as_array().unwrap();
        let of_name = |it: &&Value| it["url"].as_str().unwrap().ends_with(name);
        all.iter().find(of_name).unwrap()["extension"].clone()
    };
    for name in ["us-core-race", "us-core-ethnicity"] {
        assert_eq!(extension(&found, name), extension(&expected, name), "{name}");
    }
}

#[test]
fn the_original_goes_along_byte_by_byte() {
    let original = document(&[]);
    let converted = convert(&original);
    assert_eq!(converted.kind, PayloadKind::Ccda);
    assert_eq!(converted.control_id.as_deref(), Some("1.2.9^D1"));
    let documents = of_type(&converted, "DocumentReference");
    let data = documents[0]["content"][0]["attachment"]["data"].as_str().unwrap();
    assert_eq!(STANDARD.decode(data).unwrap(), original.as_bytes());
    assert_eq!(documents[0]["date"], "2026-01-02T03:04:05-05:00");
    assert_eq!(documents[0]["subject"]["reference"], PATIENT_URL);
    let key = converted.resources[0].natural_key.as_deref();
    assert_eq!(key, Some("DocumentReference|urn:oid:1.2.9\\|D1"));
}

#[test]
fn a_document_says_what_it_replaces() {
    let link = "<relatedDocument typeCode=\"RPLC\"><parentDocument><id root=\"1.2.9\" \
                extension=\"D0\"/></parentDocument></relatedDocument><recordTarget>";
    let converted = convert(&document(&[]).replacen("<recordTarget>", link, 1));
    let change = &converted.document_changes[0];
    assert_eq!(change.kind, DocumentChangeKind::Replaces);
    assert_eq!(change.concerns, "DocumentReference|urn:oid:1.2.9\\|D0");
    assert_eq!(of_type(&converted, "DocumentReference")[0]["relatesTo"][0]["code"], "replaces");
}

const ALLERGY: &str = "<act classCode=\"ACT\" moodCode=\"EVN\">\
    <templateId root=\"2.16.840.1.113883.10.20.22.4.30\"/><statusCode code=\"active\"/>\
    <entryRelationship typeCode=\"SUBJ\"><observation classCode=\"OBS\" moodCode=\"EVN\" \
    negationInd=\"NEG\"><templateId root=\"2.16.840.1.113883.10.20.22.4.7\"/>\
    <id root=\"1.2.4\" extension=\"A1\"/><value xsi:type=\"CD\" code=\"416098002\" \
    codeSystem=\"2.16.840.1.113883.6.96\"/><participant typeCode=\"CSM\"><participantRole>\
    <playingEntity>SUBSTANCE</playingEntity></participantRole></participant></observation>\
    </entryRelationship></act>";

#[test]
fn no_known_allergies_are_said_and_denied_ones_refuted() {
    let none = ALLERGY.replace("NEG", "true").replace("SUBSTANCE", "<code nullFlavor=\"NA\"/>");
    let found = only("AllergyIntolerance", "48765-2", &none);
    assert_eq!(codes(&found["code"]), ["http://snomed.info/sct|409137002"]);
    assert_eq!(found["clinicalStatus"]["coding"][0]["code"], "active");
    assert!(found.get("verificationStatus").is_none());
    let penicillin = "<code code=\"7980\" codeSystem=\"2.16.840.1.113883.6.88\"/>";
    let denied = ALLERGY.replace("NEG", "true").replace("SUBSTANCE", penicillin);
    let found = only("AllergyIntolerance", "48765-2", &denied);
    assert_eq!(found["verificationStatus"]["coding"][0]["code"], "refuted");
    let allergic = ALLERGY.replace("NEG", "false").replace("SUBSTANCE", penicillin);
    let found = only("AllergyIntolerance", "48765-2", &allergic);
    assert!(found.get("verificationStatus").is_none());
    assert_eq!(found["category"], json!(["medication"]));
}

#[test]
fn a_refused_vaccination_is_not_done() {
    let refused = "<substanceAdministration classCode=\"SBADM\" moodCode=\"EVN\" \
        negationInd=\"true\"><templateId root=\"2.16.840.1.113883.10.20.22.4.52\"/>\
        <statusCode code=\"completed\"/><effectiveTime value=\"20250301\"/><consumable>\
        <manufacturedProduct><manufacturedMaterial><code code=\"88\" \
        codeSystem=\"2.16.840.1.113883.12.292\"/></manufacturedMaterial></manufacturedProduct>\
        </consumable><entryRelationship typeCode=\"RSON\"><observation classCode=\"OBS\" \
        moodCode=\"EVN\"><templateId root=\"2.16.840.1.113883.10.20.22.4.53\"/><code \
        code=\"PATOBJ\" codeSystem=\"2.16.840.1.113883.5.8\"/></observation>\
        </entryRelationship></substanceAdministration>";
    let found = only("Immunization", "11369-6", refused);
    assert_eq!(found["status"], "not-done");
    assert_eq!(found["statusReason"]["coding"][0]["code"], "PATOBJ");
    assert_eq!(codes(&found["vaccineCode"]), ["http://hl7.org/fhir/sid/cvx|88"]);
}

#[test]
fn that_there_are_no_medications_is_no_order_against_them() {
    let none = "<entry><substanceAdministration classCode=\"SBADM\" moodCode=\"EVN\" \
        negationInd=\"true\"><templateId root=\"2.16.840.1.113883.10.20.22.4.16\"/><text>No \
        medications</text><statusCode code=\"active\"/><consumable><manufacturedProduct>\
        <manufacturedMaterial><code code=\"410942007\" codeSystem=\"2.16.840.1.113883.6.96\"/>\
        </manufacturedMaterial></manufacturedProduct></consumable></substanceAdministration>\
        </entry>";
    let converted = convert(&document(&[("10160-0", none)]));
    assert!(of_type(&converted, "MedicationRequest").is_empty());
    assert_eq!(converted.issues.len(), 1, "{:#?}", converted.issues);
}

fn problem(rest: &str) -> String {
    format!(
        "<act classCode=\"ACT\" moodCode=\"EVN\"><templateId \
         root=\"2.16.840.1.113883.10.20.22.4.3\"/><statusCode code=\"active\"/>\
         <entryRelationship typeCode=\"SUBJ\"><observation classCode=\"OBS\" moodCode=\"EVN\">\
         <templateId root=\"2.16.840.1.113883.10.20.22.4.4\"/>{rest}</observation>\
         </entryRelationship></act>"
    )
}

const PNEUMONIA: &str = "<value xsi:type=\"CD\" code=\"233604007\" \
    codeSystem=\"2.16.840.1.113883.6.96\" displayName=\"Pneumonia\"/>";

#[test]
fn what_has_ended_is_not_active_even_if_the_day_is_unknown() {
    let low = "<effectiveTime><low value=\"20250301\"/>HIGH</effectiveTime>";
    let with = |high: &str| {
        let entry = problem(&format!("{}{PNEUMONIA}", low.replace("HIGH", high)));
        only("Condition", "11450-4", &entry)
    };
    let status = |found: &Value| found["clinicalStatus"]["coding"][0]["code"].clone();
    let open = with("");
    assert_eq!((status(&open), &open["onsetDateTime"]), (json!("active"), &json!("2025-03-01")));
    let ended = with("<high value=\"20250401\"/>");
    assert_eq!(status(&ended), "inactive");
    assert_eq!(ended["abatementDateTime"], "2025-04-01");
    let unknown = with("<high nullFlavor=\"UNK\"/>");
    assert_eq!(status(&unknown), "inactive");
    assert!(unknown["_abatementDateTime"]["extension"].is_array());
}

#[test]
fn texts_of_the_narrative_are_looked_up() {
    let value = "<value xsi:type=\"CD\" nullFlavor=\"OTH\"><originalText><reference \
                 value=\"#p1\"/></originalText></value>";
    let text = "<text><table><tbody><tr><td ID=\"p1\">Sore\n  <content>throat</content></td>\
                </tr></tbody></table></text>";
    let entry = format!("{text}<entry>{}</entry>", problem(value));
    let converted = convert(&document(&[("11450-4", &entry)]));
    assert_eq!(of_type(&converted, "Condition")[0]["code"], json!({"text": "Sore throat"}));
}

fn medication(times: &str) -> Value {
    let entry = format!(
        "<substanceAdministration classCode=\"SBADM\" moodCode=\"EVN\"><templateId \
         root=\"2.16.840.1.113883.10.20.22.4.16\"/><statusCode code=\"active\"/>{times}\
         <doseQuantity value=\"2\" unit=\"mg\"/><consumable><manufacturedProduct>\
         <manufacturedMaterial><code code=\"197361\" codeSystem=\"2.16.840.1.113883.6.88\"/>\
         </manufacturedMaterial></manufacturedProduct></consumable></substanceAdministration>"
    );
    only("MedicationRequest", "10160-0", &entry)["dosageInstruction"][0].clone()
}

#[test]
fn medication_times_become_bounds_frequencies_and_events() {
    let found = medication(
        "<effectiveTime xsi:type=\"IVL_TS\"><low value=\"20250301\"/></effectiveTime>\
         <effectiveTime xsi:type=\"PIVL_TS\" institutionSpecified=\"true\" operator=\"A\">\
         <period value=\"8\" unit=\"h\"/></effectiveTime>",
    );
    let repeat = &found["timing"]["repeat"];
    assert_eq!(repeat["boundsPeriod"], json!({"start": "2025-03-01"}));
    assert_eq!((&repeat["frequency"], &repeat["periodUnit"]), (&json!(3), &json!("d")));
    let found = medication(
        "<effectiveTime xsi:type=\"PIVL_TS\" operator=\"A\"><period><low value=\"4\" \
         unit=\"h\"/><high value=\"6\" unit=\"h\"/></period></effectiveTime>",
    );
    let repeat = &found["timing"]["repeat"];
    assert_eq!((&repeat["period"], &repeat["periodMax"]), (&json!(4), &json!(6)));
    let found = medication(
        "<effectiveTime xsi:type=\"EIVL_TS\" operator=\"A\"><event code=\"ACM\"/><offset>\
         <low value=\"1\" unit=\"h\"/></offset></effectiveTime>",
    );
    let repeat = &found["timing"]["repeat"];
    assert_eq!((&repeat["when"], &repeat["offset"]), (&json!(["ACM"]), &json!(60)));
    let found = medication("<effectiveTime value=\"20250301\"/>");
    assert_eq!(found["timing"]["event"], json!(["2025-03-01"]));
    assert_eq!(found["doseAndRate"][0]["doseQuantity"]["code"], "mg");
}

fn vital(code: &str, value: &str) -> String {
    format!(
        "<component><observation classCode=\"OBS\" moodCode=\"EVN\"><templateId \
         root=\"2.16.840.1.113883.10.20.22.4.27\"/><id root=\"1.2.5\" extension=\"V\"/><code \
         code=\"{code}\" codeSystem=\"2.16.840.1.113883.6.1\"/><statusCode code=\"completed\"/>\
         <effectiveTime value=\"20260101\"/><value xsi:type=\"PQ\" {value}/></observation>\
         </component>"
    )
}

fn vitals(parts: &str) -> String {
    format!(
        "<entry><organizer classCode=\"CLUSTER\" moodCode=\"EVN\"><templateId \
         root=\"2.16.840.1.113883.10.20.22.4.26\"/><id root=\"1.2.5\" extension=\"V\"/>\
         <statusCode code=\"completed\"/><effectiveTime value=\"20260101\"/>{parts}\
         </organizer></entry>"
    )
}

#[test]
fn pressures_are_one_observation_and_one_number_for_all_keeps_them_apart() {
    let pressures = vital("8480-6", "value=\"132\" unit=\"mm[Hg]\"")
        + &vital("8462-4", "value=\"86\" unit=\"mm[Hg]\"");
    let parts = pressures + &vital("8867-4", "value=\"72\" unit=\"/min\"");
    let converted = convert(&document(&[("8716-3", &vitals(&parts))]));
    let found = of_type(&converted, "Observation");
    let code = |it: &Value| it["code"]["coding"][0]["code"].as_str().unwrap().to_owned();
    let names: Vec<String> = found.iter().map(|it| code(it)).collect();
    assert_eq!(names, ["85354-9", "8867-4", "85353-1"]);
    assert_eq!(found[0]["component"][1]["valueQuantity"]["value"], 86);
    assert_eq!(found[2]["hasMember"].as_array().unwrap().len(), 2);
    // Other content first: the keys stay with the things.
    let keys = |converted: &Converted| {
        let mut keys: Vec<_> =
            converted.resources.iter().filter_map(|it| it.natural_key.clone()).collect();
        keys.sort();
        keys
    };
    let turned = vital("8867-4", "value=\"72\" unit=\"/min\"")
        + &vital("8462-4", "value=\"86\" unit=\"mm[Hg]\"")
        + &vital("8480-6", "value=\"132\" unit=\"mm[Hg]\"");
    let turned = convert(&document(&[("8716-3", &vitals(&turned))]));
    assert_eq!(keys(&converted), keys(&turned));
}

#[test]
fn values_keep_their_kind() {
    let with = |value: &str| {
        let entry = format!(
            "<observation classCode=\"OBS\" moodCode=\"EVN\"><templateId \
             root=\"2.16.840.1.113883.10.20.22.4.2\"/><code code=\"1-8\" \
             codeSystem=\"2.16.840.1.113883.6.1\"/><statusCode code=\"completed\"/>{value}\
             </observation>"
        );
        only("Observation", "30954-2", &entry)
    };
    let found = with(
        "<value xsi:type=\"IVL_PQ\"><high value=\"5\" unit=\"mg/dL\" \
                      inclusive=\"false\"/></value>",
    );
    assert_eq!(found["valueQuantity"]["comparator"], "<");
    let found = with("<value xsi:type=\"PQ\" value=\"&lt;5\" unit=\"mg/dL\"/>");
    assert_eq!(found["valueString"], "<5 mg/dL");
    let found = with("<value xsi:type=\"PQ\" nullFlavor=\"ASKU\"/>");
    assert_eq!(found["dataAbsentReason"]["coding"][0]["code"], "asked-unknown");
    assert_eq!(with("<value xsi:type=\"INT\" value=\"7\"/>")["valueInteger"], 7);
    assert_eq!(with("<value xsi:type=\"ST\">clear</value>")["valueString"], "clear");
    assert_eq!(
        with("<value value=\"1.50\" unit=\"g\"/>")["valueQuantity"]["value"].to_string(),
        "1.50"
    );
}

#[test]
fn restricted_sections_and_entries_are_labelled_and_others_not() {
    let secret = problem(PNEUMONIA);
    let section = format!(
        "<confidentialityCode code=\"R\" codeSystem=\"2.16.840.1.113883.5.25\"/>\
         <entry>{secret}</entry>"
    );
    let converted = convert(&document(&[("11450-4", &section)]));
    let found = of_type(&converted, "Condition");
    assert_eq!(found[0]["meta"]["security"][0]["code"], "R");
    // The original holds the restricted section too.
    let original = of_type(&converted, "DocumentReference")[0];
    assert_eq!(original["meta"]["security"][0]["code"], "R");
    let open =
        convert(&document(&[("11450-4", &format!("<entry>{}</entry>", problem(PNEUMONIA)))]));
    assert!(open.resources.iter().all(|added| added.resource.get("meta").is_none()));
    let annotation = "<entryRelationship typeCode=\"SUBJ\"><observation><code \
        code=\"SECCLASSOBS\"/><value xsi:type=\"CE\" code=\"V\"/></observation>\
        </entryRelationship>";
    let entry = problem(&format!("{PNEUMONIA}{annotation}"));
    assert_eq!(only("Condition", "11450-4", &entry)["meta"]["security"][0]["code"], "V");
}

#[test]
fn the_header_and_the_section_tell_of_one_visit() {
    let body = document(&[(
        "46240-8",
        "<entry><encounter classCode=\"ENC\" moodCode=\"EVN\"><id root=\"1.2.6\" \
         extension=\"E\"/><code code=\"99213\" codeSystem=\"2.16.840.1.113883.6.12\"/>\
         <effectiveTime value=\"20260101\"/></encounter></entry>",
    )]);
    let header = "<componentOf><encompassingEncounter><id root=\"1.2.6\" extension=\"E\"/>\
        <effectiveTime><low value=\"20260101\"/></effectiveTime></encompassingEncounter>\
        </componentOf><component><structuredBody>";
    let converted = convert(&body.replacen("<component><structuredBody>", header, 1));
    let found = of_type(&converted, "Encounter");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["class"]["code"], "AMB");
    assert_eq!(found[0]["type"][0]["coding"][0]["code"], "99213");
}

#[test]
fn documents_of_nobody_or_of_several_are_refused() {
    let refusal = |text: &str| convert_ccda(text.as_bytes(), &settings()).unwrap_err();
    assert!(matches!(refusal("<html/>"), Refusal::Unsupported { .. }));
    assert!(matches!(refusal("<ClinicalDocument"), Refusal::Malformed { .. }));
    assert!(matches!(refusal(""), Refusal::Malformed { .. }));
    for nobody in ["", "<id nullFlavor=\"UNK\"/>", "<id root=\"2.16.840.1.113883.4.1\"/>"] {
        let refused = refusal(&document_of(nobody, &[]));
        assert!(matches!(refused, Refusal::Missing { what: "patient identifier", .. }));
    }
    let other = "</recordTarget><recordTarget><patientRole><id root=\"1.2.3\" extension=\"78\"/>\
                 </patientRole></recordTarget>";
    let several = document(&[]).replacen("</recordTarget>", other, 1);
    assert_eq!(refusal(&several), Refusal::SeveralPatients { count: 2 });
}
