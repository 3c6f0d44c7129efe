//! Operations on one record: `$meta*`, `$diff`, `$lastn`, `$docref`, `$document`,
//! `$match`, `$process-message`, `$convert`, `$versions` (FHIR R4 operationslist.html).

use axum::http::{Method, StatusCode};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::Doors;
use crate::operations_everything::{create, shown};

fn observation(patient: &str, code: &str, date: &str) -> Value {
    json!({
        "resourceType": "Observation", "status": "final",
        "category": [{ "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory",
        }] }],
        "code": { "coding": [{ "system": "http://loinc.org", "code": code }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": date, "valueInteger": 5,
    })
}

fn names(bundle: &Value) -> Vec<String> {
    shown(bundle).into_iter().map(|(name, _)| name).collect()
}

async fn fine(
    doors: &Doors,
    token: &str,
    method: Method,
    url: &str,
    body: Option<&Value>,
) -> Value {
    let answer = doors.ask(token, method, url, &[], body).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, StatusCode::OK, "{url}: {text}");
    let resource = answer.json();
    assert_eq!(holdfast_fhir::validate(&resource), [], "{url}: {text}");
    resource
}

async fn refused(doors: &Doors, token: &str, url: &str, status: u16, place: &str) {
    let answer = doors.get(token, url).await;
    let outcome = answer.json();
    assert_eq!(answer.status.as_u16(), status, "{url}: {outcome}");
    let issues = outcome["issue"].as_array().unwrap();
    let named = |issue: &Value| issue["expression"][0] == place;
    assert!(place.is_empty() || issues.iter().any(named), "{url}: {outcome}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_read_added_and_taken_away_and_a_diff_tells_the_versions_apart() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let made = create(&doors, &token, &base, &observation(&patient, "2345-7", "2015-03-01")).await;
    let url = format!("{base}/{made}");
    let labels = json!({ "resourceType": "Parameters", "parameter": [{ "name": "meta", "valueMeta": {
        "tag": [{ "system": "urn:s", "code": "seen" }] } }] });
    let of = |parameters: &Value| parameters["parameter"][0]["valueMeta"].clone();
    // resource-operation-meta-add.html: not by GET, and adding twice is adding once.
    let by_get = doors.get(&token, &format!("{url}/$meta-add")).await;
    assert_eq!(by_get.status, StatusCode::METHOD_NOT_ALLOWED);
    for _ in 0..2 {
        let url = format!("{url}/$meta-add");
        let meta = of(&fine(&doors, &token, Method::POST, &url, Some(&labels)).await);
        assert_eq!((&meta["versionId"], &meta["tag"][0]["code"]), (&json!("2"), &json!("seen")));
    }
    let meta = of(&fine(&doors, &token, Method::GET, &format!("{url}/$meta"), None).await);
    assert_eq!(meta["tag"][0]["code"], "seen");
    assert_eq!(doors.get(&token, &url).await.json()["meta"], meta);

    let mut changed = doors.get(&token, &url).await.json();
    changed["valueInteger"] = json!(6);
    let put = doors.ask(&token, Method::PUT, &url, &[], Some(&changed)).await;
    assert_eq!(put.status, StatusCode::OK);
    let patch = fine(&doors, &token, Method::GET, &format!("{url}/$diff"), None).await;
    let parts = patch["parameter"][0]["part"].as_array().unwrap();
    assert_eq!(patch["parameter"].as_array().unwrap().len(), 1, "{patch}");
    assert_eq!(parts[1]["valueString"], "Observation.value");
    assert_eq!(parts[2]["valueInteger"], 6);
    let named = format!("{base}/$diff?from={made}/_history/1&to={made}/_history/2");
    let patch = fine(&doors, &token, Method::GET, &named, None).await;
    assert!(patch.to_string().contains("seen"), "{patch}");

    let taken =
        fine(&doors, &token, Method::POST, &format!("{url}/$meta-delete"), Some(&labels)).await;
    assert_eq!(of(&taken)["tag"], Value::Null);
    refused(&doors, &token, &format!("{url}/$diff?fromVersion=99"), 404, "").await;
    refused(&doors, &token, &format!("{base}/$diff?from=x&to={made}"), 400, "from").await;
    refused(&doors, &token, &format!("{base}/Observation/$meta"), 501, "").await;
    refused(&doors, &token, &format!("{base}/$meta"), 501, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lastn_is_the_last_of_each_code_and_those_as_late_as_the_last() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut made = Vec::new();
    for (code, date) in [
        ("2345-7", "2015-03-01"),
        ("2345-7", "2015-03-03"),
        ("2345-7", "2015-03-02"),
        ("718-7", "2014-01-01"),
        ("718-7", "2014-01-01"),
    ] {
        made.push(create(&doors, &token, &base, &observation(&patient, code, date)).await);
    }
    // Another code for the same thing joins the group (observation-operation-lastn.html).
    let mut both = observation(&patient, "2345-7", "2015-03-04");
    both["code"]["coding"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "system": "urn:local", "code": "GLU" }));
    made.push(create(&doors, &token, &base, &both).await);
    let url = format!("{base}/Observation/$lastn?patient=Patient/{patient}&category=laboratory");
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let pick = |places: &[usize]| sorted(places.iter().map(|at| made[*at].clone()).collect());
    let one = fine(&doors, &token, Method::GET, &url, None).await;
    assert_eq!(sorted(names(&one)), pick(&[5, 3, 4]));
    assert_eq!(one["total"], 3);
    let two = fine(&doors, &token, Method::GET, &format!("{url}&max=2"), None).await;
    assert_eq!(sorted(names(&two)), pick(&[5, 1, 3, 4]));
    let parameters = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "subject", "valueReference": { "reference": format!("Patient/{patient}") } },
        { "name": "code", "valueCoding": { "system": "http://loinc.org", "code": "2345-7" } },
        { "name": "max", "valuePositiveInt": 3 },
    ]});
    let post = format!("{base}/Observation/$lastn");
    let three = fine(&doors, &token, Method::POST, &post, Some(&parameters)).await;
    assert_eq!(names(&three), [&made[5], &made[1], &made[2]].map(String::clone));

    refused(
        &doors,
        &token,
        &format!("{base}/Observation/$lastn?category=laboratory"),
        400,
        "patient",
    )
    .await;
    refused(
        &doors,
        &token,
        &format!("{base}/Observation/$lastn?patient={patient}"),
        400,
        "category",
    )
    .await;
    refused(&doors, &token, &format!("{url}&max=0"), 400, "max").await;
    refused(&doors, &token, &format!("{url}&status=final"), 400, "status").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_are_found_by_their_span_of_care_and_composed_of_their_parts() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let reference = |day: &str, code: &str| {
        json!({
            "resourceType": "DocumentReference", "status": "current",
            "type": { "coding": [{ "system": "http://loinc.org", "code": code }] },
            "subject": { "reference": format!("Patient/{patient}") },
            "date": "2020-01-01T00:00:00Z",
            "context": { "period": { "start": day, "end": day } },
            "content": [{ "attachment": { "contentType": "text/plain", "data": "eA==" } }],
        })
    };
    let march = create(&doors, &token, &base, &reference("2015-03-01", "34133-9")).await;
    let april = create(&doors, &token, &base, &reference("2015-04-01", "11506-3")).await;
    let docref = async |query: &str| {
        let url = format!("{base}/DocumentReference/$docref?patient={patient}{query}");
        names(&fine(&doors, &token, Method::GET, &url, None).await)
    };
    assert_eq!(docref("&start=2015-03-01&end=2015-03-31").await, [march]);
    assert_eq!(docref("&end=2015-12-31").await.len(), 2);
    assert_eq!(docref("&type=http://loinc.org|11506-3&start=2015-01-01").await, [april]);
    assert_eq!(docref("").await.len(), 1, "without a span the latest one");
    assert_eq!(docref("&start=2015-01-01&on-demand=true").await.len(), 0);
    let without = format!("{base}/DocumentReference/$docref");
    refused(&doors, &token, &without, 400, "patient").await;

    let made = create(&doors, &token, &base, &observation(&patient, "2345-7", "2015-03-01")).await;
    let composition = json!({
        "resourceType": "Composition", "status": "final", "date": "2015-03-02", "title": "Note",
        "type": { "coding": [{ "system": "http://loinc.org", "code": "11506-3" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "author": [{ "reference": format!("Patient/{patient}") }],
        "section": [{ "title": "Results", "entry": [
            { "reference": made }, { "reference": "Observation/nobodys" },
        ] }],
    });
    let composition = create(&doors, &token, &base, &composition).await;
    let url = format!("{base}/{composition}/$document");
    let document = fine(&doors, &token, Method::GET, &url, None).await;
    assert_eq!(document["type"], "document");
    let parts: Vec<_> = document["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["fullUrl"].as_str().unwrap().to_owned())
        .collect();
    let full = |name: &str| format!("https://hie.example{base}/{name}");
    assert_eq!(parts[0], full(&composition), "the Composition comes first (documents.html)");
    assert!(parts.contains(&full(&made)) && parts.contains(&full(&format!("Patient/{patient}"))));
    refused(&doors, &token, &format!("{url}?persist=true"), 501, "persist").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_matched_with_score_and_grade_and_strangers_are_not() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let known = doors.get(&token, &format!("{base}/Patient/{patient}")).await.json();
    let mut asked = json!({ "resourceType": "Patient" });
    for name in ["name", "birthDate", "gender", "address", "telecom"] {
        asked[name] = known[name].clone();
    }
    asked.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let parameters = |certain: bool, patient: &Value| {
        json!({ "resourceType": "Parameters", "parameter": [
            { "name": "resource", "resource": patient },
            { "name": "onlyCertainMatches", "valueBoolean": certain },
            { "name": "count", "valueInteger": 3 },
        ]})
    };
    let url = format!("{base}/Patient/$match");
    let found = fine(&doors, &token, Method::POST, &url, Some(&parameters(true, &asked))).await;
    assert_eq!(names(&found), [format!("Patient/{patient}")]);
    let search = &found["entry"][0]["search"];
    assert_eq!(search["extension"][0]["valueCode"], "certain");
    assert!(search["score"].as_f64().is_some_and(|score| score > 0.9), "{search}");
    // The resource may be the whole body (IHE PDQm 2:3.119.4.1.2).
    let alone = fine(&doors, &token, Method::POST, &url, Some(&asked)).await;
    assert_eq!(names(&alone)[0], format!("Patient/{patient}"));
    let stranger = json!({ "resourceType": "Patient", "birthDate": "1901-02-03",
        "name": [{ "family": "Zzyzx", "given": ["Quentin"] }] });
    let nobody =
        fine(&doors, &token, Method::POST, &url, Some(&parameters(false, &stranger))).await;
    assert_eq!((nobody["total"].clone(), names(&nobody).len()), (json!(0), 0));
    let status = async |token: &str, url: &str, body: &Value| {
        doors.ask(token, Method::POST, url, &[], Some(body)).await.status
    };
    let nothing = json!({ "resourceType": "Patient", "active": true });
    assert_eq!(status(&token, &url, &nothing).await, StatusCode::BAD_REQUEST);
    let other = json!({ "resourceType": "Observation" });
    assert_eq!(status(&token, &url, &other).await, StatusCode::BAD_REQUEST);
    assert_eq!(doors.get(&token, &url).await.status, StatusCode::BAD_REQUEST);

    // P11: for whom the records are none of their business, nobody matches.
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let told = doors.ask(&lab, Method::POST, &url, &[], Some(&parameters(false, &asked))).await;
    let strangers =
        doors.ask(&lab, Method::POST, &url, &[], Some(&parameters(false, &stranger))).await;
    assert_eq!(told.status, strangers.status);
    assert_eq!(told.json()["total"], strangers.json()["total"]);
    assert!(names(&told.json()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_operations_answer_another_organization_like_a_record_that_is_not_there() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let made = create(&doors, &token, &base, &observation(&patient, "2345-7", "2015-03-01")).await;
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    for operation in [
        "Patient/{p}/$meta",
        "{o}/$meta",
        "{o}/$diff",
        "$diff?from={o}&to={o}",
        "Observation/$lastn?patient=Patient/{p}&category=laboratory",
        "DocumentReference/$docref?patient={p}",
        "Composition/{p}/$document",
    ] {
        let mut told = Vec::new();
        for (p, o) in [(patient.as_str(), made.as_str()), ("nobody", "Observation/none")] {
            let url = operation.replace("{p}", p).replace("{o}", o);
            let answer = doors.get(&lab, &format!("{base}/{url}")).await;
            let mut outcome = answer.json();
            outcome["id"] = Value::Null;
            told.push((answer.status, outcome));
        }
        assert_eq!(told[0], told[1], "{operation}");
        assert_eq!(told[0].0, StatusCode::NOT_FOUND, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_handed_to_intake_and_answered_with_a_message() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let url = format!("{base}/$process-message");
    let mut result = observation(&patient, "2345-7", "2015-03-01");
    result["id"] = json!("from-a-message");
    let message = json!({ "resourceType": "Bundle", "type": "message", "entry": [
        { "fullUrl": "urn:uuid:1", "resource": {
            "resourceType": "MessageHeader", "id": "m1", "eventUri": "urn:x:result",
            "source": { "endpoint": "https://lab.example" },
        } },
        { "fullUrl": "urn:uuid:2", "resource": result },
    ]});
    let answer = fine(&doors, &token, Method::POST, &url, Some(&message)).await;
    let header = &answer["entry"][0]["resource"];
    assert_eq!(
        (&answer["type"], &header["response"]["identifier"]),
        (&json!("message"), &json!("m1"))
    );
    assert_eq!(header["response"]["code"], "ok", "{answer}");
    let found = format!("{base}/Observation?patient={patient}&code=2345-7");
    assert_eq!(doors.get(&token, &found).await.json()["total"], 1, "{answer}");

    let options = holdfast_sample::Options { patients: 12, seed: 7, ..Default::default() };
    let item = holdfast_sample::generate(&options)
        .find(|item| item.interface.as_str() == "hl7v2@lakeside-family")
        .unwrap();
    let wrapped = |bytes: &[u8]| {
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        json!({ "resourceType": "Binary", "contentType": "x-application/hl7-v2+er7", "data": data })
    };
    let answer = fine(&doors, &token, Method::POST, &url, Some(&wrapped(&item.bytes))).await;
    assert_eq!(answer["entry"][0]["resource"]["response"]["code"], "ok", "{answer}");
    let answer = fine(&doors, &token, Method::POST, &url, Some(&wrapped(b"PID|nothing"))).await;
    assert_eq!(answer["entry"][0]["resource"]["response"]["code"], "fatal-error", "{answer}");

    let by_get = doors.get(&token, &url).await;
    assert_eq!(by_get.status, StatusCode::METHOD_NOT_ALLOWED);
    let wrong = doors
        .ask(&token, Method::POST, &url, &[], Some(&json!({ "resourceType": "Bundle" })))
        .await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_told_to_everybody_and_a_resource_comes_back_converted() {
    let doors = Doors::open().await;
    let (token, base, _) = doors.clinician().await;
    let open = axum::http::Request::builder().uri(format!("{base}/$versions"));
    let answer = doors.send(open, b"").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(holdfast_fhir::validate(&answer.json()), []);
    assert_eq!(answer.json()["parameter"][0]["valueCode"], "4.0");
    let patient = json!({ "resourceType": "Patient", "active": true });
    let url = format!("{base}/$convert");
    assert_eq!(fine(&doors, &token, Method::POST, &url, Some(&patient)).await, patient);
}
