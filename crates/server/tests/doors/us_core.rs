//! The searches that US Core 6.1.0 says a server SHALL support, profile by profile
//! (CapabilityStatement us-core-server), each by GET and by POST.

use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::search::{Practice, ids};

const TERMS: &str = "http://terminology.hl7.org/CodeSystem";

fn to(reference: &str) -> Value {
    json!({ "reference": reference })
}

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code }] })
}

/// What the practice of the other search tests does not have.
fn resources() -> Vec<Value> {
    let of = to("Patient/pat-a");
    vec![
        json!({ "resourceType": "AllergyIntolerance", "id": "alg", "patient": of,
            "clinicalStatus": concept(&format!("{TERMS}/allergyintolerance-clinical"), "active"),
            "code": concept("http://snomed.info/sct", "387207008") }),
        json!({ "resourceType": "CarePlan", "id": "plan", "status": "active", "intent": "plan", "subject": of,
            "category": [concept("http://hl7.org/fhir/us/core/CodeSystem/careplan-category", "assess-plan")] }),
        json!({ "resourceType": "CareTeam", "id": "team", "status": "active", "subject": of,
            "participant": [{ "member": to("Practitioner/doc-1") }] }),
        json!({ "resourceType": "Coverage", "id": "cov", "status": "active", "beneficiary": of,
            "payor": [to("Organization/org-1")] }),
        json!({ "resourceType": "Device", "id": "dev", "patient": of,
            "type": concept("http://snomed.info/sct", "468063009") }),
        json!({ "resourceType": "DocumentReference", "id": "doc", "status": "current", "subject": of,
            "type": concept("http://loinc.org", "34133-9"), "date": "2015-05-02T08:00:00Z",
            "category": [concept("http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category", "clinical-note")],
            "context": { "period": { "start": "2015-05-01", "end": "2015-05-02" } },
            "content": [{ "attachment": { "contentType": "text/plain", "data": "aGk=" } }] }),
        json!({ "resourceType": "Goal", "id": "goal", "lifecycleStatus": "active", "subject": of,
            "description": { "text": "walk" }, "target": [{ "dueDate": "2016-01-01" }] }),
        json!({ "resourceType": "Immunization", "id": "imm", "status": "completed", "patient": of,
            "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", "140"), "occurrenceDateTime": "2015-10-01" }),
        json!({ "resourceType": "MedicationDispense", "id": "dis", "status": "completed", "subject": of,
            "medicationReference": to("Medication/med-1") }),
        json!({ "resourceType": "Procedure", "id": "pro", "status": "completed", "subject": of,
            "code": concept("http://snomed.info/sct", "80146002"), "performedDateTime": "2015-03-04" }),
        json!({ "resourceType": "QuestionnaireResponse", "id": "qr", "status": "completed", "subject": of,
            "questionnaire": "http://hl7.org/fhir/us/core/Questionnaire/phq-9", "authored": "2015-05-01T09:00:00Z" }),
        json!({ "resourceType": "RelatedPerson", "id": "rel", "active": true, "patient": of,
            "name": [{ "family": "Chalmers" }] }),
        json!({ "resourceType": "ServiceRequest", "id": "srv", "status": "active", "intent": "order", "subject": of,
            "category": [concept("http://snomed.info/sct", "108252007")],
            "code": concept("http://loinc.org", "24323-8"), "authoredOn": "2015-04-30T09:00:00Z" }),
        json!({ "resourceType": "Specimen", "id": "spec", "subject": of,
            "type": concept("http://snomed.info/sct", "119297000") }),
    ]
}

/// Search, what it finds, and what goes along.
const SEARCHES: &[(&str, &str, &str)] = &[
    ("AllergyIntolerance?patient=pat-a", "alg", ""),
    ("AllergyIntolerance?patient=Patient/pat-a&clinical-status=active", "alg", ""),
    (
        "CarePlan?patient=pat-a&category=http://hl7.org/fhir/us/core/CodeSystem/careplan-category|assess-plan",
        "plan",
        "",
    ),
    ("CareTeam?patient=pat-a&status=active", "team", ""),
    (
        "CareTeam?patient=pat-a&status=active,proposed&_include=CareTeam:participant:Practitioner",
        "team",
        "doc-1",
    ),
    ("Condition?patient=pat-a", "con-a", ""),
    ("Condition?patient=pat-a&category=problem-list-item", "con-a", ""),
    ("Coverage?patient=pat-a", "cov", ""),
    ("Device?patient=pat-a", "dev", ""),
    ("DiagnosticReport?patient=pat-a", "rep-a", ""),
    (
        "DiagnosticReport?patient=pat-a&category=http://terminology.hl7.org/CodeSystem/v2-0074|LAB",
        "rep-a",
        "",
    ),
    ("DiagnosticReport?patient=pat-a&code=http://loinc.org|24323-8", "rep-a", ""),
    (
        "DiagnosticReport?patient=pat-a&code=http://loinc.org|24323-8,http://loinc.org|1-8",
        "rep-a",
        "",
    ),
    (
        "DiagnosticReport?patient=pat-a&category=LAB&date=ge2015-05-01&date=lt2015-06-01",
        "rep-a",
        "",
    ),
    ("DiagnosticReport?patient=pat-a&category=LAB&date=gt2015-05-01", "", ""),
    ("DocumentReference?_id=doc", "doc", ""),
    ("DocumentReference?patient=pat-a", "doc", ""),
    ("DocumentReference?patient=pat-a&category=clinical-note", "doc", ""),
    ("DocumentReference?patient=pat-a&category=clinical-note&date=ge2015-05-02", "doc", ""),
    ("DocumentReference?patient=pat-a&type=http://loinc.org|34133-9", "doc", ""),
    ("Encounter?_id=enc-a", "enc-a", ""),
    ("Encounter?patient=pat-a", "enc-a", ""),
    ("Encounter?patient=pat-a&date=ge2015-05-01&date=le2015-05-01", "enc-a", ""),
    ("Encounter?patient=pat-a&date=gt2015-05-02", "", ""),
    ("Goal?patient=pat-a", "goal", ""),
    ("Immunization?patient=pat-a", "imm", ""),
    ("Location?name=room", "loc-1", ""),
    ("Location?address=fort", "loc-1", ""),
    ("MedicationDispense?patient=pat-a", "dis", ""),
    ("MedicationRequest?patient=pat-a&intent=order", "mrx-a", ""),
    ("MedicationRequest?patient=pat-a&intent=order,plan&status=active", "mrx-a", ""),
    (
        "MedicationRequest?patient=pat-a&intent=order&_include=MedicationRequest:medication",
        "mrx-a",
        "med-1",
    ),
    ("Observation?patient=pat-a&category=laboratory", "lab-1 lab-2", ""),
    ("Observation?patient=pat-a&code=http://loinc.org|85354-9", "bp-1", ""),
    (
        "Observation?patient=pat-a&code=http://loinc.org|85354-9,http://loinc.org|2345-7",
        "bp-1 lab-1 lab-2",
        "",
    ),
    ("Observation?patient=pat-a&category=laboratory&date=gt2015-12-31", "lab-2", ""),
    (
        "Observation?patient=pat-a&category=laboratory&date=ge2015-05-01&date=lt2015-05-02",
        "lab-1",
        "",
    ),
    (
        "Observation?patient=pat-a&category=laboratory&_revinclude=Provenance:target",
        "lab-1 lab-2",
        "pro-a",
    ),
    ("Organization?name=lakeside", "org-1", ""),
    ("Organization?address=fort wayne", "org-1", ""),
    ("Patient?_id=pat-a", "pat-a", ""),
    ("Patient?identifier=urn:oid:2.999.7|MRN-pat-a", "pat-a", ""),
    ("Patient?name=chalmers", "pat-a", ""),
    ("Patient?birthdate=1950-02-03&name=grace", "pat-a", ""),
    ("Patient?gender=female&name=chalm", "pat-a", ""),
    ("Patient?_id=pat-a&_revinclude=Provenance:target", "pat-a", "pro-a"),
    ("Practitioner?name=quimby", "doc-1", ""),
    ("Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1234567893", "doc-1", ""),
    ("PractitionerRole?practitioner=doc-1", "role-1", ""),
    ("PractitionerRole?practitioner.name=quimby", "role-1", ""),
    (
        "PractitionerRole?specialty=http://nucc.org/provider-taxonomy|207Q00000X&_include=PractitionerRole:practitioner",
        "role-1",
        "doc-1",
    ),
    ("Procedure?patient=pat-a", "pro", ""),
    ("Procedure?patient=pat-a&date=2015-03", "pro", ""),
    ("QuestionnaireResponse?_id=qr", "qr", ""),
    ("QuestionnaireResponse?patient=pat-a", "qr", ""),
    ("RelatedPerson?_id=rel", "rel", ""),
    ("ServiceRequest?_id=srv", "srv", ""),
    ("ServiceRequest?patient=pat-a", "srv", ""),
    ("ServiceRequest?patient=pat-a&category=http://snomed.info/sct|108252007", "srv", ""),
    ("ServiceRequest?patient=pat-a&code=http://loinc.org|24323-8", "srv", ""),
    ("ServiceRequest?patient=pat-a&category=108252007&authored=ge2015-04-01", "srv", ""),
    ("Specimen?_id=spec", "spec", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_search_that_us_core_demands_is_answered_by_get_and_by_post() {
    let p = Practice::open().await;
    for resource in resources() {
        p.put(&resource).await;
    }
    for (search, matches, included) in SEARCHES {
        let query = format!("/{}", search.replace(' ', "%20"));
        p.check_included(&query, matches, included).await;
        let (kind, form) = search.split_once('?').unwrap();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{kind}/_search", p.base))
            .header("authorization", format!("Bearer {}", p.token))
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = p.doors.send(request, form.replace(' ', "+").as_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK, "POST {search}");
        let mut found = ids(&answer.json(), "match");
        found.sort();
        assert_eq!(found.join(" "), *matches, "POST {search}");
    }
}
