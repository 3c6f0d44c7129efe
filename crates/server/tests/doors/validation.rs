//! `$validate`, packages of profiles and what organizations do about them.

use std::path::Path;

use axum::http::{Method, StatusCode};
use holdfast_exchange::{Ask, Event, Filter};
use serde_json::{Value, json};

use crate::Doors;

/// Where the clinician works.
const HERE: &str = "lakeside-family";

/// A profile that asks every Observation for a method.
fn package(name: &str) -> Value {
    json!({ "name": name, "version": "1.0.0", "resources": [{
        "resourceType": "StructureDefinition", "url": "http://guide.example/with-method",
        "name": "WithMethod", "type": "Observation", "kind": "resource", "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Observation",
        "differential": { "element": [{ "path": "Observation.method", "min": 1 }] },
    }] })
}

fn observation(patient: &str, more: Value) -> Value {
    let mut resource = json!({
        "resourceType": "Observation", "status": "final", "code": { "text": "secret" },
        "meta": { "profile": ["http://guide.example/with-method"] },
        "subject": { "reference": format!("Patient/{patient}") },
    });
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    resource
}

/// The errors of `$validate`, which is answered with 200 whatever it finds.
async fn errors(doors: &Doors, token: &str, url: &str, body: &Value) -> Vec<String> {
    let answer = doors.ask(token, Method::POST, url, &[], Some(body)).await;
    let outcome = answer.json();
    assert_eq!(answer.status, StatusCode::OK, "{url}: {outcome}");
    assert_eq!(holdfast_fhir::validate(&outcome), [], "{outcome}");
    assert!(!outcome.to_string().contains("secret"), "{outcome}");
    let issues = outcome["issue"].as_array().unwrap().iter();
    let errors = issues.filter(|issue| issue["severity"] == "error");
    errors.map(|issue| issue["expression"][0].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_tells_every_problem_and_stores_nothing() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let url = format!("{base}/Observation/$validate");
    let good = observation(&patient, json!({}));
    assert_eq!(errors(&doors, &token, &url, &good).await, Vec::<String>::new());
    let bad = observation(
        &patient,
        json!({"status": "secret", "valueInteger": 1, "dataAbsentReason": {"text": "secret"}}),
    );
    let expected = ["Observation.status", "Observation"];
    assert_eq!(errors(&doors, &token, &url, &bad).await, expected);
    let wrapped = |parts: Value| json!({"resourceType": "Parameters", "parameter": parts});
    let body = wrapped(
        json!([{"name": "resource", "resource": bad}, {"name": "mode", "valueCode": "create"}]),
    );
    assert_eq!(errors(&doors, &token, &url, &body).await, expected);
    // By a profile of the core package, named in the call.
    let vital = "http://hl7.org/fhir/StructureDefinition/vitalsigns";
    let body = wrapped(
        json!([{"name": "resource", "resource": good}, {"name": "profile", "valueUri": vital}]),
    );
    let found = errors(&doors, &token, &url, &body).await;
    assert!(found.contains(&"Observation.category".to_owned()), "{found:?}");
    // Another type than the one in the URL, and an update without an id.
    let other = json!({"resourceType": "Patient"});
    assert_eq!(errors(&doors, &token, &url, &other).await, [""]);
    let body = wrapped(
        json!([{"name": "resource", "resource": good}, {"name": "mode", "valueCode": "update"}]),
    );
    assert_eq!(errors(&doors, &token, &url, &body).await, ["Observation.id"]);
    // A stored one, and whether it may be deleted.
    let stored = format!("{base}/Patient/{patient}/$validate");
    assert_eq!(doors.get(&token, &stored).await.status, StatusCode::OK);
    let body = wrapped(json!([{"name": "mode", "valueCode": "delete"}]));
    assert_eq!(errors(&doors, &token, &stored, &body).await, Vec::<String>::new());
    // Nothing was stored.
    let search = doors.get(&token, &format!("{base}/Observation?patient={patient}")).await;
    assert_eq!(search.json()["total"], 0);
    for (body, status) in [
        (wrapped(json!([{"name": "mode", "valueCode": "guess"}])), StatusCode::BAD_REQUEST),
        (wrapped(json!([{"name": "colour", "valueCode": "red"}])), StatusCode::BAD_REQUEST),
        (
            wrapped(
                json!([{"name": "resource", "resource": good}, {"name": "profile", "valueUri": "http://nobody.example/p"}]),
            ),
            StatusCode::BAD_REQUEST,
        ),
    ] {
        assert_eq!(
            doors.ask(&token, Method::POST, &url, &[], Some(&body)).await.status,
            status,
            "{body}"
        );
    }
    assert_eq!(
        doors.get(&token, &format!("{base}/Patient/nobody/$validate")).await.status,
        StatusCode::NOT_FOUND
    );
    let elsewhere = doors
        .ask(
            &token,
            Method::POST,
            "/fhir/st-brendan-hospital/Observation/$validate",
            &[],
            Some(&good),
        )
        .await;
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_rejects_warns_of_or_labels_what_does_not_meet_its_profiles() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let organization = HERE;
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    // Who does not administer may not.
    assert_eq!(
        doors.post(&token, "/ops/profiles", &package("g")).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(doors.get(&token, "/ops/profiles").await.status, StatusCode::FORBIDDEN);
    let added = doors.post(&administrator, "/ops/profiles", &package("guide.example")).await;
    assert_eq!(added.status, StatusCode::OK, "{}", String::from_utf8_lossy(&added.body));
    assert_eq!(added.json()["profiles_count"], 1);
    let named = doors.kit.exchange().profiles(Some(&organization.parse().unwrap()));
    assert_eq!(named, [("Observation".to_owned(), "http://guide.example/with-method".to_owned())]);
    let stated = doors.get(&token, &format!("{base}/metadata")).await.json();
    let observation_stated = stated["rest"][0]["resource"].as_array().unwrap();
    let observation_stated = observation_stated.iter().find(|of| of["type"] == "Observation");
    let supported = &observation_stated.unwrap()["supportedProfile"];
    assert_eq!(*supported, json!(["http://guide.example/with-method"]));

    let url = format!("{base}/Observation");
    let policy = format!("/ops/organizations/{organization}/profiles");
    let post = async |more: Value| {
        let wishes = [("prefer", "return=OperationOutcome")];
        doors.ask(&token, Method::POST, &url, &wishes, Some(&observation(&patient, more))).await
    };
    // Warned of unless said otherwise.
    let warned = post(json!({})).await;
    assert_eq!(warned.status, StatusCode::CREATED);
    let issue = &warned.json()["issue"][0];
    assert_eq!(
        (&issue["severity"], &issue["expression"][0]),
        (&json!("warning"), &json!("Observation.method"))
    );
    // Refused, with every problem.
    assert_eq!(
        doors.post(&administrator, &policy, &json!({"on_problem": "reject"})).await.status,
        StatusCode::OK
    );
    let refused = post(json!({"note": [{"text": "reject"}]})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.json()["issue"][0]["expression"][0], "Observation.method");
    let met = post(json!({"method": {"text": "secret"}})).await;
    assert_eq!(met.status, StatusCode::CREATED);
    // Labelled; also what claims nothing, where the organization always asks.
    let always = json!({"on_problem": "tag", "always": ["http://guide.example/with-method"]});
    assert_eq!(doors.post(&administrator, &policy, &always).await.status, StatusCode::OK);
    let tagged = post(
        json!({"meta": {"profile": ["http://nobody.example/none"]}, "note": [{"text": "tag"}]}),
    )
    .await;
    assert_eq!(tagged.status, StatusCode::CREATED);
    let place = tagged.header("location").to_owned();
    let place = place
        .trim_start_matches("https://hie.example")
        .split("/_history")
        .next()
        .unwrap()
        .to_owned();
    let read = doors.get(&token, &place).await.json();
    let labels = json!([{"system": "urn:holdfast:validation", "code": "profile-problems"}]);
    assert!(read["meta"]["tag"].as_array().unwrap().contains(&labels[0]), "{read}");
    let unknown = json!({"on_problem": "warn", "always": ["http://nobody.example/p"]});
    assert_eq!(doors.post(&administrator, &policy, &unknown).await.status, StatusCode::BAD_REQUEST);

    // Each change stands in the ledger.
    let ask = Ask::new(doors.kit.sign_in("security-officer").await);
    let entries = doors.kit.exchange().ledger_entries(&ask, &Filter::default()).await.unwrap();
    let changes = entries.into_iter().filter_map(|placed| match placed.entry.event {
        Event::SettingChange { change, .. } => Some(change),
        _ => None,
    });
    assert_eq!(
        changes.collect::<Vec<_>>(),
        [
            "added guide.example 1.0.0",
            "policy reject, 0 profile(s) always",
            "policy tag, 1 profile(s) always"
        ]
    );
    // Removed: nothing is asked any more but what R4 says.
    let gone =
        doors.post(&administrator, "/ops/profiles/remove", &json!({"name": "guide.example"})).await;
    assert_eq!(gone.status, StatusCode::OK);
    let again =
        doors.post(&administrator, "/ops/profiles/remove", &json!({"name": "guide.example"})).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    assert_eq!(doors.get(&administrator, "/ops/profiles").await.json()["packages"], json!([]));
    assert_eq!(
        errors(&doors, &token, &format!("{url}/$validate"), &observation(&patient, json!({})))
            .await,
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_profiles_of_one_organization_are_not_for_others() {
    let doors = Doors::open().await;
    let organization = HERE;
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    let mut own = package("own.example");
    own["organization"] = json!("st-brendan-hospital");
    assert_eq!(doors.post(&administrator, "/ops/profiles", &own).await.status, StatusCode::OK);
    let of = |organization: &str| {
        doors.kit.exchange().profiles(Some(&organization.parse().unwrap())).len()
    };
    assert_eq!((of(organization), of("st-brendan-hospital")), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn us_core_is_loaded_and_survives_a_restart() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/definitions/us-core-6.1.0");
    if !folder.is_dir() {
        println!("skipped: {} is not at hand", folder.display());
        return;
    }
    let read = |entry: std::io::Result<std::fs::DirEntry>| -> Value {
        serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap()
    };
    let resources: Vec<Value> = std::fs::read_dir(&folder).unwrap().map(read).collect();
    let doors = Doors::open().await;
    let organization = HERE;
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    let body = json!({"name": "hl7.fhir.us.core", "version": "6.1.0", "resources": resources});
    let added = doors.post(&administrator, "/ops/profiles", &body).await;
    assert_eq!(added.status, StatusCode::OK, "{}", String::from_utf8_lossy(&added.body));
    assert_eq!(added.json()["profiles_count"], 59);
    let before = doors.kit.exchange().profiles(Some(&organization.parse().unwrap()));
    assert!(before.len() > 40, "{before:?}");
    let Doors { mut kit, router } = doors;
    drop(router);
    kit.reopen().await;
    let doors = Doors::over(kit);
    assert_eq!(doors.kit.exchange().profiles(Some(&organization.parse().unwrap())), before);
}
