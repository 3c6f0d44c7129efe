//! Searching through the door: what FHIR R4 search.html promises across resources,
//! on results and between organizations.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Doors;

/// The doors with a small practice behind them, and a clinician's token.
pub(crate) struct Practice {
    pub doors: Doors,
    pub token: String,
    pub base: String,
}

fn reference(to: &str) -> Value {
    json!({ "reference": to })
}

fn concept(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code }] })
}

fn laboratory(id: &str, patient: &str, value: &str, unit: &str, date: &str) -> Value {
    let number: Value = serde_json::from_str(value).unwrap();
    json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "category": [concept("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory")],
        "code": concept("http://loinc.org", "2345-7"),
        "subject": reference(&format!("Patient/{patient}")),
        "effectiveDateTime": date,
        "performer": [reference("Practitioner/doc-1")],
        "valueQuantity": { "value": number, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit },
    })
}

fn patient(id: &str, family: &str, birth_date: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "gender": "female", "birthDate": birth_date,
        "identifier": [{ "system": "urn:oid:2.999.7", "value": format!("MRN-{id}"),
            "type": concept("http://terminology.hl7.org/CodeSystem/v2-0203", "MR") }],
        "name": [{ "family": family, "given": ["Grace"] }],
        "generalPractitioner": [reference("Practitioner/doc-1")],
    })
}

fn encounter(id: &str, patient: &str, practitioner: &str) -> Value {
    json!({
        "resourceType": "Encounter", "id": id, "status": "finished",
        "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
        "subject": reference(&format!("Patient/{patient}")),
        "participant": [{ "individual": reference(practitioner) }],
        "location": [{ "location": reference("Location/loc-1") }],
        "period": { "start": "2015-05-01T10:00:00Z", "end": "2015-05-01T11:00:00Z" },
    })
}

/// Everything about nobody, then two patients' records.
fn resources() -> Vec<Value> {
    let measured = |code: &str, value: u32| {
        json!({ "code": concept("http://loinc.org", code), "valueQuantity": {
            "value": value, "unit": "mm[Hg]", "system": "http://unitsofmeasure.org", "code": "mm[Hg]" } })
    };
    let pressure = json!({
        "resourceType": "Observation", "id": "bp-1", "status": "final",
        "category": [concept("http://terminology.hl7.org/CodeSystem/observation-category", "vital-signs")],
        "code": concept("http://loinc.org", "85354-9"), "subject": reference("Patient/pat-a"),
        "effectiveDateTime": "2015-05-01T10:05:00Z", "encounter": reference("Encounter/enc-a"),
        "component": [measured("8480-6", 120), measured("8462-4", 80)],
    });
    let mut glucose = laboratory("lab-1", "pat-a", "97", "mg/dL", "2015-05-01");
    glucose["encounter"] = reference("Encounter/enc-a");
    vec![
        json!({ "resourceType": "Practitioner", "id": "doc-1",
            "identifier": [{ "system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893" }],
            "name": [{ "family": "Quimby", "given": ["Ines"] }] }),
        json!({ "resourceType": "Practitioner", "id": "doc-2", "name": [{ "family": "Ferreira" }] }),
        json!({ "resourceType": "Organization", "id": "org-1", "active": true, "name": "Lakeside Family",
            "address": [{ "city": "Fort Wayne", "state": "IN" }] }),
        json!({ "resourceType": "Location", "id": "loc-1", "name": "Room 1",
            "address": { "city": "Fort Wayne" }, "position": { "latitude": 41.08, "longitude": -85.14 },
            "managingOrganization": reference("Organization/org-1") }),
        json!({ "resourceType": "PractitionerRole", "id": "role-1", "active": true,
            "practitioner": reference("Practitioner/doc-1"), "organization": reference("Organization/org-1"),
            "specialty": [concept("http://nucc.org/provider-taxonomy", "207Q00000X")] }),
        json!({ "resourceType": "Medication", "id": "med-1",
            "code": concept("http://www.nlm.nih.gov/research/umls/rxnorm", "860975") }),
        patient("pat-a", "Chalmers", "1950-02-03"),
        patient("pat-b", "Bramwell", "1961-07-08"),
        encounter("enc-a", "pat-a", "Practitioner/doc-1"),
        encounter("enc-b", "pat-b", "Practitioner/doc-2"),
        glucose,
        laboratory("lab-2", "pat-a", "1.1", "g/L", "2016-01-15"),
        laboratory("lab-3", "pat-b", "140", "mg/dL", "2015-06-01"),
        pressure,
        json!({ "resourceType": "Condition", "id": "con-a", "subject": reference("Patient/pat-a"),
            "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
            "category": [concept("http://terminology.hl7.org/CodeSystem/condition-category", "problem-list-item")],
            "code": { "text": "Acute bronchitis" },
            "text": { "status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">Acute bronchitis with cough</div>" } }),
        json!({ "resourceType": "DiagnosticReport", "id": "rep-a", "status": "final",
            "category": [concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB")],
            "code": concept("http://loinc.org", "24323-8"), "subject": reference("Patient/pat-a"),
            "effectiveDateTime": "2015-05-01", "result": [reference("Observation/lab-1")] }),
        json!({ "resourceType": "MedicationRequest", "id": "mrx-a", "status": "active", "intent": "order",
            "medicationReference": reference("Medication/med-1"), "subject": reference("Patient/pat-a"),
            "requester": reference("Practitioner/doc-1"), "authoredOn": "2015-05-01" }),
        json!({ "resourceType": "Provenance", "id": "pro-a", "recorded": "2015-05-01T12:00:00Z",
            "target": [reference("Observation/lab-1"), reference("Patient/pat-a")],
            "agent": [{ "who": reference("Practitioner/doc-1") }] }),
        json!({ "resourceType": "List", "id": "list-a", "status": "current", "mode": "working",
            "subject": reference("Patient/pat-a"),
            "entry": [{ "item": reference("Observation/lab-1") }, { "item": reference("Observation/bp-1") }] }),
    ]
}

impl Practice {
    pub async fn open() -> Self {
        let doors = Doors::open().await;
        let (token, base, _) = doors.clinician().await;
        let practice = Self { doors, token, base };
        for resource in resources() {
            practice.put(&resource).await;
        }
        practice
    }

    pub async fn put(&self, resource: &Value) {
        let (kind, id) =
            (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let url = format!("{}/{kind}/{id}", self.base);
        let put = self.doors.ask(&self.token, Method::PUT, &url, &[], Some(resource)).await;
        assert!(put.status.is_success(), "{kind}: {}", String::from_utf8_lossy(&put.body));
    }

    pub async fn answer(&self, query: &str) -> (StatusCode, Value) {
        let answer = self.doors.get(&self.token, &format!("{}{query}", self.base)).await;
        (answer.status, answer.json())
    }

    pub async fn bundle(&self, query: &str) -> Value {
        let (status, bundle) = self.answer(query).await;
        assert_eq!(status, StatusCode::OK, "{query}: {bundle}");
        bundle
    }

    /// Ids of the matches, and of what goes along, each in alphabetical order.
    pub async fn found(&self, query: &str) -> (String, String) {
        let bundle = self.bundle(query).await;
        let of = |mode: &str| {
            let mut ids = ids(&bundle, mode);
            ids.sort();
            ids.join(" ")
        };
        (of("match"), of("include"))
    }

    pub async fn check(&self, query: &str, matches: &str) {
        let (found, included) = self.found(query).await;
        assert_eq!((found.as_str(), included.as_str()), (matches, ""), "{query}");
    }

    pub async fn check_included(&self, query: &str, matches: &str, included: &str) {
        let found = self.found(query).await;
        assert_eq!((found.0.as_str(), found.1.as_str()), (matches, included), "{query}");
    }

    /// The code of the one issue that a search is refused with.
    pub async fn refused(&self, query: &str) -> String {
        let (status, outcome) = self.answer(query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {outcome}");
        outcome["issue"][0]["code"].as_str().unwrap().to_owned()
    }
}

/// Ids of the entries of a mode, in order.
pub(crate) fn ids(bundle: &Value, mode: &str) -> Vec<String> {
    let entries = bundle["entry"].as_array().into_iter().flatten();
    let of_mode = entries.filter(|entry| entry["search"]["mode"] == mode);
    of_mode.map(|entry| entry["resource"]["id"].as_str().unwrap_or("?").to_owned()).collect()
}

/// search.html#include, #chaining, #has, #list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_reach_across_resources() {
    let p = Practice::open().await;
    // #include: within the record, from the directory, backwards, again, everything.
    let of_a = "/Encounter?patient=pat-a&_include=Encounter:practitioner";
    p.check_included(of_a, "enc-a", "doc-1").await;
    let (all, practitioner) = ("/Encounter?patient=pat-a&_include=*", "doc-1 loc-1 pat-a");
    p.check_included(all, "enc-a", practitioner).await;
    p.check_included("/Encounter?patient=pat-a&_include=Encounter:*:Location", "enc-a", "loc-1")
        .await;
    let again = "/Encounter?patient=pat-a&_include=Encounter:location&_include:iterate=Location:organization";
    p.check_included(again, "enc-a", "loc-1 org-1").await;
    let once =
        "/Encounter?patient=pat-a&_include=Encounter:location&_include=Location:organization";
    p.check_included(once, "enc-a", "loc-1").await;
    let back = "/Observation?patient=pat-a&code=2345-7&_revinclude=Provenance:target";
    p.check_included(back, "lab-1 lab-2", "pro-a").await;
    let both =
        "/Observation?_id=lab-1&_revinclude=DiagnosticReport:result&_include=Observation:encounter";
    p.check_included(both, "lab-1", "enc-a rep-a").await;
    let medication =
        "/MedicationRequest?patient=pat-a&intent=order&_include=MedicationRequest:medication";
    p.check_included(medication, "mrx-a", "med-1").await;
    let of_patients =
        "/Patient?family=chalmers&_revinclude=Condition:patient&_revinclude=Encounter:patient";
    p.check_included(of_patients, "pat-a", "con-a enc-a").await;
    let many =
        "/Encounter?status=finished&_include=Encounter:patient&_include=Encounter:practitioner";
    p.check_included(many, "enc-a enc-b", "doc-1 doc-2 pat-a pat-b").await;
    p.check_included(
        "/Practitioner?name=quimby&_revinclude=PractitionerRole:practitioner",
        "doc-1",
        "role-1",
    )
    .await;
    // What is included is no match: not in the total, not in _count, not twice.
    let page = p
        .bundle("/Observation?patient=pat-a&_count=2&_sort=date&_include=Observation:subject")
        .await;
    assert_eq!(page["total"], 3, "{page}");
    assert_eq!((ids(&page, "match").len(), ids(&page, "include")), (2, vec!["pat-a".to_owned()]));
    let own = p.bundle("/Patient?_id=pat-a&_revinclude=*").await;
    assert!(!ids(&own, "include").contains(&"pat-a".to_owned()));
    assert!(ids(&own, "include").len() >= 8, "{own}");
    assert_eq!(
        p.refused("/Practitioner?name=quimby&_revinclude=Encounter:practitioner").await,
        "not-supported"
    );

    // #chaining: over the directory, by patient, within a record, several steps.
    p.check("/Encounter?patient=pat-a&practitioner.name=quimby", "enc-a").await;
    p.check("/Encounter?patient=pat-a&practitioner.name=ferreira", "").await;
    p.check("/Encounter?practitioner.name=ferreira", "enc-b").await;
    p.check("/PractitionerRole?practitioner.name=quim", "role-1").await;
    p.check(
        "/PractitionerRole?practitioner.identifier=1234567893&organization.name=lakeside",
        "role-1",
    )
    .await;
    p.check("/Observation?patient.identifier=urn:oid:2.999.7|MRN-pat-b", "lab-3").await;
    p.check("/Observation?subject:Patient.family=chalmers&code=2345-7", "lab-1 lab-2").await;
    p.check("/Observation?subject:Patient.given=grace&code=2345-7", "lab-1 lab-2 lab-3").await;
    p.check("/Observation?patient.family=nobody", "").await;
    p.check("/DiagnosticReport?patient=pat-a&result.code=2345-7", "rep-a").await;
    p.check("/DiagnosticReport?result.encounter.practitioner.name=quimby", "rep-a").await;
    p.check("/DiagnosticReport?result.encounter.practitioner.name=ferreira", "").await;
    p.check("/Observation?patient=pat-a&encounter.location.name=room", "bp-1 lab-1").await;
    p.check("/Patient?general-practitioner.name=quimby", "pat-a pat-b").await;

    // #has: who has what, nested, with more conditions.
    p.check("/Patient?_has:Observation:patient:code=85354-9", "pat-a").await;
    p.check("/Patient?_has:Observation:patient:code=2345-7", "pat-a pat-b").await;
    p.check("/Patient?_has:Observation:patient:code=2345-7&family=bram", "pat-b").await;
    p.check("/Patient?_has:Encounter:patient:practitioner.name=ferreira", "pat-b").await;
    p.check("/Practitioner?_has:PractitionerRole:practitioner:specialty=207Q00000X", "doc-1").await;
    p.check("/Practitioner?_has:Encounter:practitioner:status=finished", "doc-1 doc-2").await;
    p.check("/Observation?patient=pat-a&_has:DiagnosticReport:result:code=24323-8", "lab-1").await;
    p.check("/Observation?_has:Provenance:target:agent=Practitioner/doc-1", "lab-1").await;
    p.check("/Patient?_has:Observation:patient:_has:DiagnosticReport:result:code=24323-8", "pat-a")
        .await;
    // #list.
    p.check("/Observation?_list=list-a", "bp-1 lab-1").await;
    p.check("/Observation?patient=pat-a&code=2345-7&_list=list-a", "lab-1").await;
    p.check("/Observation?_list=no-such-list", "").await;
    assert_eq!(p.refused("/Observation?_list=$current-problems").await, "not-supported");
}
