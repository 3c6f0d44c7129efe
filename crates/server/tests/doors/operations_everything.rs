//! `$everything` (FHIR R4 patient-operation-everything.html,
//! encounter-operation-everything.html; operations.html).

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use holdfast_exchange::{Ask, Event, Filter};
use serde_json::{Value, json};

use crate::Doors;

/// The resources of a page, as `Type/id`, with their mode.
pub(crate) fn shown(bundle: &Value) -> Vec<(String, String)> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let named = |entry: &Value| {
        let resource = &entry["resource"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let name = format!("{}/{}", text(&resource["resourceType"]), text(&resource["id"]));
        assert!(text(&entry["fullUrl"]).ends_with(&name));
        (name, text(&entry["search"]["mode"]))
    };
    entries.iter().map(named).collect()
}

fn of_mode(bundle: &Value, mode: &str) -> BTreeSet<String> {
    shown(bundle).into_iter().filter(|(_, m)| m == mode).map(|(name, _)| name).collect()
}

fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array()?;
    let found = links.iter().find(|link| link["relation"] == relation)?;
    Some(found["url"].as_str()?.strip_prefix("https://hie.example")?.to_owned())
}

fn observation(patient: &str, encounter: Option<&str>, date: &str) -> Value {
    let mut observation = json!({
        "resourceType": "Observation", "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "2345-7" }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": date, "valueInteger": 5,
    });
    if let Some(encounter) = encounter {
        observation["encounter"] = json!({ "reference": encounter });
    }
    observation
}

pub(crate) async fn create(doors: &Doors, token: &str, base: &str, resource: &Value) -> String {
    let kind = resource["resourceType"].as_str().unwrap();
    let made = doors.ask(token, Method::POST, &format!("{base}/{kind}"), &[], Some(resource)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&made.body));
    let location = made.header("location").strip_suffix("/_history/1").unwrap();
    location.rsplit_once(&format!("{base}/")).unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_the_record_and_what_it_points_to_page_by_page_of_one_state() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut made = BTreeSet::new();
    for day in 1..=4 {
        let body = observation(&patient, None, &format!("2015-03-0{day}"));
        made.insert(create(&doors, &token, &base, &body).await);
    }
    let url = format!("{base}/Patient/{patient}/$everything");
    let answer = doors.get(&token, &url).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let all = answer.json();
    // What a sender left out of a record is a warning about the record, not about us.
    let issues = holdfast_fhir::validate(&all);
    assert!(!issues.iter().any(|issue| issue.is_error()), "{issues:?}");
    assert_eq!(shown(&all)[0].0, format!("Patient/{patient}"), "the patient comes first");
    let whole = of_mode(&all, "match");
    assert!(made.is_subset(&whole), "{whole:?}");
    assert!(whole.iter().any(|name| name.starts_with("Encounter/")), "{whole:?}");
    let included = of_mode(&all, "include");
    assert!(included.iter().any(|name| name.starts_with("Practitioner/")), "{included:?}");
    assert_eq!(all["total"], whole.len());
    assert_eq!((link(&all, "self"), link(&all, "next")), (Some(url.clone()), None));
    // POST with Parameters says the same as GET (operations.html#executing).
    let parameters = json!({ "resourceType": "Parameters", "parameter": [
        { "name": "_type", "valueString": "Observation,Patient" },
    ]});
    let some = doors.ask(&token, Method::POST, &url, &[], Some(&parameters)).await.json();
    let by_get = doors.get(&token, &format!("{url}?_type=Observation,Patient")).await.json();
    assert_eq!((shown(&some), some["total"].clone()), (shown(&by_get), json!(5)));

    // Pages add up to the state that the first one saw.
    let mut next = Some(format!("{url}?_count=2"));
    let mut paged = BTreeSet::new();
    let mut later = None;
    while let Some(here) = next {
        let page = doors.get(&token, &here).await.json();
        assert_eq!(page["total"], whole.len());
        let names = of_mode(&page, "match");
        assert!(names.len() <= 2);
        assert!(names.iter().all(|name| paged.insert(name.clone())), "shown twice: {names:?}");
        next = link(&page, "next");
        if later.is_none() {
            let body = observation(&patient, None, "2015-03-09");
            later = Some(create(&doors, &token, &base, &body).await);
        }
    }
    assert_eq!(paged, whole);
    assert!(of_mode(&doors.get(&token, &url).await.json(), "match").contains(&later.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_span_of_care_a_change_and_an_encounter_narrow_what_everything_is() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let visit = json!({
        "resourceType": "Encounter", "status": "finished",
        "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
        "subject": { "reference": format!("Patient/{patient}") },
        "period": { "start": "2015-03-01", "end": "2015-03-02" },
    });
    let visit = create(&doors, &token, &base, &visit).await;
    let during = observation(&patient, Some(&visit), "2015-03-01");
    let during = create(&doors, &token, &base, &during).await;
    doors.kit.clock.advance_ms(1_000);
    let since = holdfast_base::Clock::now(&*doors.kit.clock);
    doors.kit.clock.advance_ms(1_000);
    let after = create(&doors, &token, &base, &observation(&patient, None, "2016-01-01")).await;
    let url = format!("{base}/Patient/{patient}/$everything");
    let found = async |query: &str| {
        let answer = doors.get(&token, &format!("{url}?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        of_mode(&answer.json(), "match")
    };
    // start and end are dates of care.
    let in_2015 = found("start=2015-01-01&end=2015-12-31").await;
    assert!(in_2015.contains(&during) && in_2015.contains(&visit) && !in_2015.contains(&after));
    let later = found("start=2015-06-01").await;
    assert!(!later.contains(&during) && later.contains(&after), "{later:?}");
    // _since is a date of change.
    let changed = found(&format!("_since={since}")).await;
    assert!(changed.contains(&after) && !changed.contains(&during), "{changed:?}");

    let of_visit = doors.get(&token, &format!("{base}/{visit}/$everything")).await;
    assert_eq!(of_visit.status, StatusCode::OK);
    let of_visit = of_visit.json();
    assert_eq!(of_mode(&of_visit, "match"), BTreeSet::from([visit, during]));
    assert!(of_mode(&of_visit, "include").contains(&format!("Patient/{patient}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_everything_does_not_know_is_refused_by_name() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let check = async |path: String, status: u16, place: &str| {
        let answer = doors.get(&token, &format!("{base}/{path}")).await;
        let outcome = answer.json();
        assert_eq!(answer.status.as_u16(), status, "{path}: {outcome}");
        assert_eq!(outcome["resourceType"], "OperationOutcome");
        if !place.is_empty() {
            assert_eq!(outcome["issue"][0]["expression"][0], place, "{outcome}");
        }
    };
    let url = format!("Patient/{patient}/$everything");
    check(format!("{url}?colour=blue"), 400, "colour").await;
    check(format!("{url}?start=noon"), 400, "start").await;
    check(format!("{url}?_since=2015"), 400, "_since").await;
    check(format!("{url}?_type=Nothing"), 400, "_type").await;
    check(format!("{url}?_count=100000"), 400, "_count").await;
    check(format!("{url}?_page=abc"), 400, "_page").await;
    check("Patient/$everything".into(), 501, "").await;
    check("Observation/1/$everything".into(), 501, "").await;
    check("Patient/nobody/$everything".into(), 404, "").await;
    check("Encounter/nobody/$everything".into(), 404, "").await;
    // A page is of the record that it was given for.
    let first = doors.get(&token, &format!("{base}/{url}?_count=1")).await.json();
    let next = link(&first, "next").unwrap();
    let page = next.split_once('?').unwrap().1;
    check(format!("Encounter/1/$everything?{page}"), 400, "_page").await;
    let put = doors.ask(&token, Method::PUT, &format!("{base}/{url}"), &[], None).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_everything_of_another_organizations_patient_is_answered_like_nobody() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (clinician, base, _) = doors.clinician().await;
    let first = format!("{base}/Patient/{patient}/$everything?_count=1");
    let next = link(&doors.get(&clinician, &first).await.json(), "next").unwrap();
    let (lab, _) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let mut told = Vec::new();
    for url in [
        format!("/fhir/lakeside-family/Patient/{patient}/$everything"),
        "/fhir/lakeside-family/Patient/nobody/$everything".into(),
        "/fhir/nowhere/Patient/nobody/$everything".into(),
        next,
    ] {
        let answer = doors.get(&lab, &url).await;
        let mut outcome = answer.json();
        outcome["id"] = Value::Null;
        told.push((answer.status, outcome));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_everything_is_one_release_and_names_each_resource_in_the_ledger() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, ask) = doors.clinician().await;
    let all = doors.get(&token, &format!("{base}/Patient/{patient}/$everything")).await.json();
    let (_, officer) = doors.kit.sign_in_for_token("privacy-officer").await;
    let office = Ask::new(officer);
    let principal = ask.caller.id().clone();
    let filter = Filter { kinds: vec!["access".into(), "key-release".into()], ..Filter::default() };
    let entries = doors.kit.exchange().ledger_entries(&office, &filter).await.unwrap();
    let own: Vec<_> =
        entries.into_iter().filter(|placed| placed.entry.actor.principal == principal).collect();
    let touched: BTreeSet<String> = own
        .iter()
        .filter_map(|placed| match &placed.entry.event {
            Event::Access { touches, .. } => Some(touches),
            _ => None,
        })
        .flatten()
        .map(|touch| format!("{}/{}", touch.resource_type, touch.id))
        .collect();
    assert_eq!(touched, of_mode(&all, "match"));
    let releases = own.iter().filter(|placed| placed.entry.event.kind() == "key-release").count();
    // One for the patient, one for what belongs to nobody.
    assert!((1..=2).contains(&releases), "{releases} releases");
}
