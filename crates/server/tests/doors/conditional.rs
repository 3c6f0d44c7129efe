//! Conditional interactions (FHIR R4 http.html#ccreate, #cond-update, #cdelete,
//! #concurrency).

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::history::{observation, put};
use crate::{Answer, Doors};

fn numbered(patient: &str, number: &str) -> Value {
    let mut resource = observation(patient, 1);
    resource["identifier"] = json!([{ "system": "urn:test", "value": number }]);
    resource
}

async fn total(doors: &Doors, token: &str, url: &str) -> Value {
    doors.get(token, url).await.json()["total"].clone()
}

async fn create_if_none(
    doors: &Doors,
    token: &str,
    base: &str,
    resource: &Value,
    criteria: &str,
) -> Answer {
    let url = format!("{base}/{}", resource["resourceType"].as_str().unwrap());
    doors.ask(token, Method::POST, &url, &[("if-none-exist", criteria)], Some(resource)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_conditional_creates_make_one_resource() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    // Over all patients by the index, within a record, of nobody, and a Patient.
    let of_the_office =
        json!({ "resourceType": "ValueSet", "status": "active", "url": "http://x.example/vs" });
    let newcomer = json!({
        "resourceType": "Patient", "name": [{ "family": "Racer" }],
        "identifier": [{ "system": "urn:test", "value": "R1" }],
    });
    let cases = [
        (numbered(&patient, "1"), "identifier=urn:test|1".to_owned()),
        (numbered(&patient, "2"), format!("patient={patient}&identifier=urn:test%7C2")),
        (of_the_office, "url=http://x.example/vs".to_owned()),
        (newcomer, "identifier=urn:test|R1".to_owned()),
    ];
    for (resource, criteria) in cases {
        let racing = (0..6).map(|_| create_if_none(&doors, &token, &base, &resource, &criteria));
        let answers = join_all(racing).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 201], "{criteria}");
        let mut places: Vec<_> = answers.iter().map(|answer| answer.header("location")).collect();
        places.dedup();
        assert_eq!(places.len(), 1, "{criteria}");
        let kind = resource["resourceType"].as_str().unwrap();
        let escaped = criteria.replace('|', "%7C");
        assert_eq!(total(&doors, &token, &format!("{base}/{kind}?{escaped}")).await, 1);
    }
}

/// Polls all together.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.map(Box::pin).map(Some).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (place, slot) in waiting.iter_mut().enumerate() {
            if let Some(future) = slot
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                done[place] = Some(output);
                *slot = None;
            }
        }
        match waiting.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().map(Option::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn criteria_that_fit_none_one_or_several_do_what_the_specification_says() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let by = |number: &str| format!("{base}/Observation?identifier=urn:test%7C{number}");
    let ask = async |method: Method, url: String, body: Option<Value>| {
        doors.ask(&token, method, &url, &[], body.as_ref()).await
    };
    // #cond-update: none creates, one updates, an id that differs is an error.
    let created = ask(Method::PUT, by("1"), Some(numbered(&patient, "1"))).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&created.body));
    let mut changed = numbered(&patient, "1");
    changed["valueQuantity"]["value"] = json!(7);
    let updated = ask(Method::PUT, by("1"), Some(changed.clone())).await;
    assert_eq!((updated.status, updated.header("etag")), (StatusCode::OK, "W/\"2\""));
    changed["id"] = json!("another");
    let refused = ask(Method::PUT, by("1"), Some(changed)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let mut named = numbered(&patient, "2");
    named["id"] = json!("mine");
    let as_named = ask(Method::PUT, by("2"), Some(named)).await;
    assert!(as_named.header("location").ends_with("/Observation/mine/_history/1"));
    // An id that is taken by something that does not fit: 409.
    let mut taken = numbered(&patient, "3");
    taken["id"] = json!("mine");
    assert_eq!(ask(Method::PUT, by("3"), Some(taken)).await.status, StatusCode::CONFLICT);

    // Several: 412 for each of them, and nothing is changed.
    let all = format!("{base}/Observation?patient={patient}&code=2345-7");
    assert_eq!(total(&doors, &token, &all).await, 2);
    let several =
        create_if_none(&doors, &token, &base, &numbered(&patient, "9"), "code=2345-7").await;
    assert_eq!(several.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(several.json()["issue"][0]["code"], "multiple-matches");
    assert_eq!(
        ask(Method::DELETE, all.clone(), None).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    let put = ask(Method::PUT, all.clone(), Some(numbered(&patient, "9"))).await;
    assert_eq!(put.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(total(&doors, &token, &all).await, 2);

    // #cdelete of one, then of none.
    for _ in 0..2 {
        assert_eq!(ask(Method::DELETE, by("1"), None).await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(total(&doors, &token, &all).await, 1);

    // What is no criteria is refused, and nothing is taken for everything.
    for url in ["", "?", "?_format=json"] {
        let refused = ask(Method::DELETE, format!("{base}/Observation{url}"), None).await;
        assert_eq!(refused.status, StatusCode::PRECONDITION_FAILED, "{url}");
    }
    for url in ["?colour=blue", "?_count=1", "?code=1&_sort=date"] {
        let refused = ask(Method::DELETE, format!("{base}/Observation{url}"), None).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_asked_for_before_something_is_changed() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let mut resource = observation(&patient, 1);
    resource["id"] = json!("o1");
    put(&doors, &token, &base, &resource).await;
    let url = format!("{base}/Observation/o1");
    let ask = async |method: Method, headers: &[(&str, &str)], body: Option<&Value>| {
        doors.ask(&token, method, &url, headers, body).await.status.as_u16()
    };
    // #concurrency: If-Match of another version is 412; http.html#versioning.
    assert_eq!(ask(Method::DELETE, &[("if-match", "W/\"2\"")], None).await, 412);
    assert_eq!(ask(Method::PUT, &[("if-none-match", "*")], Some(&resource)).await, 412);
    assert_eq!(ask(Method::PUT, &[("if-match", "3")], Some(&resource)).await, 400);
    assert_eq!(ask(Method::GET, &[("if-none-match", "W/\"1\"")], None).await, 304);
    let read = doors.get(&token, &url).await;
    let date = read.header("last-modified").to_owned();
    assert_eq!(ask(Method::GET, &[("if-modified-since", &date)], None).await, 304);
    let before = [("if-modified-since", "Mon, 05 Jan 2015 00:00:00 GMT")];
    assert_eq!(ask(Method::GET, &before, None).await, 200);
    assert_eq!(ask(Method::DELETE, &[("if-match", "W/\"1\"")], None).await, 204);
    // Nothing is there: a version that must be is not, and none that must not be is.
    assert_eq!(ask(Method::PUT, &[("if-match", "W/\"1\"")], Some(&resource)).await, 412);
    assert_eq!(ask(Method::PUT, &[("if-none-match", "*")], Some(&resource)).await, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_criteria_find_nothing_of_another_organization() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let own = numbered(&patient, "1");
    create_if_none(&doors, &token, &base, &own, "identifier=urn:test|1").await;
    let (lab, caller) = doors.kit.sign_in_for_token("laboratory-staff").await;
    let lab_base = format!("/fhir/{}", caller.organization());
    let theirs = json!({
        "resourceType": "Patient", "identifier": [{ "system": "urn:test", "value": "L1" }],
        "name": [{ "family": "Elsewhere" }],
    });
    let created = create_if_none(&doors, &lab, &lab_base, &theirs, "identifier=urn:test|L1").await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&created.body));
    let id = created.header("location").split('/').rev().nth(2).unwrap().to_owned();
    let same_number = numbered(&id, "1");
    let made = create_if_none(&doors, &lab, &lab_base, &same_number, "identifier=urn:test|1").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&made.body));
    let across = create_if_none(&doors, &lab, &base, &own, "identifier=urn:test|1").await;
    assert_eq!(across.status, StatusCode::FORBIDDEN);
}
