//! Intake over HTTPS and the operator API.

use axum::http::{Method, Request, StatusCode};
use holdfast_server::Peer;
use holdfast_testkit::ADDRESS;
use serde_json::json;

use crate::Doors;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_messages_in_one_body_are_several_admissions() {
    let doors = Doors::open().await;
    let options = holdfast_sample::Options { patients: 12, seed: 7, ..Default::default() };
    let items: Vec<_> = holdfast_sample::generate(&options)
        .filter(|item| item.interface.as_str() == "hl7v2@lakeside-family")
        .take(2)
        .collect();
    let mut body = Vec::new();
    items.iter().for_each(|item| body.extend_from_slice(&item.bytes));
    body.extend_from_slice(b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|X1|P|2.5.1\rPV1|1|I\r");
    // The sample community's first interface of its first organization.
    let place = holdfast_sample::community()
        .organizations
        .iter()
        .position(|organization| organization.id.as_str() == "lakeside-family")
        .unwrap();
    let mut certificate = [place as u8; 32];
    certificate[0] = 0;
    let request = || {
        Request::builder()
            .method("POST")
            .uri("/intake/lakeside-family")
            .header("content-type", "application/hl7-v2")
            .extension(Peer::new(ADDRESS.parse().unwrap(), Some(certificate)))
    };
    let answer = doors.send(request(), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
    let admissions = answer.json()["admissions"].clone();
    let outcomes: Vec<_> =
        admissions.as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["accepted", "accepted", "refused"]);
    assert!(admissions[2]["reason"].is_string());
    assert!(admissions[0]["written"][0]["id"].is_string());
    let again = doors.send(request(), &body).await.json();
    assert_eq!(again["admissions"][0]["outcome"], "duplicate");

    let elsewhere = request().uri("/intake/no-such-place");
    assert_eq!(doors.send(elsewhere, &body).await.status, StatusCode::FORBIDDEN);
    let stranger = request().extension(Peer::new(ADDRESS.parse().unwrap(), Some([9; 32])));
    assert_eq!(doors.send(stranger, &body).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_office_asks_for_scopes_and_nobody_else_does() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, ask) = doors.clinician().await;
    assert_eq!(
        doors.get(&token, &format!("{base}/Patient/{patient}")).await.status,
        StatusCode::OK
    );
    let url = format!("/ops/scope?principal={}", ask.caller.id());
    assert_eq!(doors.get(&token, &url).await.status, StatusCode::FORBIDDEN);

    let (office, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let scope = doors.get(&office, &url).await.json();
    assert_eq!(scope["totals"]["patients"], 1);
    let by_token = doors.get(&office, &format!("/ops/scope?token={token}")).await.json();
    assert_eq!(by_token["rows"], scope["rows"]);
    let csv = doors.get(&office, &format!("{url}&format=csv")).await;
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(String::from_utf8(csv.body).unwrap().trim_end().lines().count(), 2);
    assert_eq!(doors.get(&office, "/ops/scope").await.status, StatusCode::BAD_REQUEST);
    let entries = doors.get(&office, &url.replace("scope", "ledger/entries")).await.json();
    assert!(entries["total"].as_u64().unwrap() >= 2);
    let state = doors.get(&token, "/ops/ledger/state").await.json();
    assert!(state["checkpoint"].as_str().unwrap().contains("holdfast/ledger"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p08_whoever_is_suspended_by_hand_is_out_at_once_and_back_when_it_is_lifted() {
    let doors = Doors::open().await;
    let (token, _, ask) = doors.clinician().await;
    let (office, _) = doors.kit.sign_in_for_token("security-officer").await;
    let url = |act: &str| format!("/ops/principals/{}/{act}", ask.caller.id());
    let no_reason = doors.ask(&office, Method::POST, &url("suspend"), &[], Some(&json!({}))).await;
    assert_eq!(no_reason.status, StatusCode::BAD_REQUEST);
    let reason = json!({ "reason": "drill" });
    let own = doors.ask(&token, Method::POST, &url("suspend"), &[], Some(&reason)).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN);
    let done = doors.ask(&office, Method::POST, &url("suspend"), &[], Some(&reason)).await;
    assert_eq!(done.status, StatusCode::OK);
    assert!(!doors.get(&token, "/ops/status").await.status.is_success());
    let lifted = doors.ask(&office, Method::POST, &url("lift"), &[], Some(&reason)).await;
    assert_eq!(lifted.status, StatusCode::OK);
    let (token, ..) = doors.clinician().await;
    let status = doors.get(&token, "/ops/status").await.json();
    assert_eq!(status["caller"]["user"], json!(ask.caller.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_long_is_refused_before_it_is_read_and_only_to_callers() {
    let doors = Doors::open().await;
    let (token, ..) = doors.clinician().await;
    let request = || {
        let length = (33 * 1024 * 1024).to_string();
        Request::builder()
            .method("POST")
            .uri("/intake/lakeside-family")
            .header("content-length", length)
    };
    assert_eq!(doors.send(request(), b"MSH|").await.status, StatusCode::UNAUTHORIZED);
    let known = request().header("authorization", format!("Bearer {token}"));
    assert_eq!(doors.send(known, b"MSH|").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let image = Request::builder()
        .method("POST")
        .uri("/intake/lakeside-family")
        .header("content-type", "image/png")
        .header("authorization", format!("Bearer {token}"));
    assert_eq!(doors.send(image, b"x").await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_a_bulk_grant_goes_through_two_people_over_the_operator_api() {
    let doors = Doors::open().await;
    let (security, _) = doors.kit.sign_in_for_token("security-officer").await;
    let (privacy, officer) = doors.kit.sign_in_for_token("privacy-officer").await;
    let (clinician, ..) = doors.clinician().await;
    let proposal = json!({
        "organization": officer.organization(),
        "principal": officer.id(),
        "patients": 500,
        "reason": "first load",
    });
    let propose = |token: String, body: serde_json::Value| {
        let doors = &doors;
        async move { doors.post(&token, "/ops/grants", &body).await }
    };
    let refused = propose(clinician.clone(), proposal.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let proposed = propose(security.clone(), proposal.clone()).await;
    assert_eq!(proposed.status, StatusCode::OK);
    let grant = proposed.json()["grant"].as_str().unwrap().to_owned();
    let approve = format!("/ops/grants/{grant}/approve");
    for own in [&security, &privacy, &clinician] {
        // Who proposed it, who is to use it, who has no business with it.
        let refused = doors.post(own, &approve, &json!({})).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    assert_eq!(doors.post(&administrator, &approve, &json!({})).await.status, StatusCode::OK);
    let listed = doors.get(&privacy, "/ops/grants").await.json();
    assert_eq!(listed["grants"][0]["grant"], grant.as_str());
    assert!(listed["grants"][0]["approved_by"].is_string());
    let revoke = format!("/ops/grants/{grant}/revoke");
    let revoked = doors.post(&privacy, &revoke, &json!({ "reason": "done" })).await;
    assert_eq!(revoked.status, StatusCode::OK);
    assert_eq!(doors.get(&privacy, "/ops/grants").await.json()["grants"], json!([]));

    let budget = json!({"per_minute": 1, "per_hour": 1, "per_day": 1, "reason": "drill"});
    let url = format!("/ops/organizations/{}/budget", officer.organization());
    assert_eq!(doors.post(&privacy, &url, &budget).await.status, StatusCode::FORBIDDEN);
    assert_eq!(doors.post(&security, &url, &budget).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p13_the_status_tells_those_who_run_the_exchange_when_keys_are_due() {
    let mut doors = Doors::open().await;
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    let (clinician, ..) = doors.clinician().await;
    let keys = doors.get(&administrator, "/ops/status").await.json()["keys"].clone();
    assert_eq!(keys["overdue"], json!([]));
    assert!(keys["next"]["key"].is_string() && keys["next"]["due"].is_string(), "{keys}");
    assert_eq!(keys["recovery_kit"], false);
    assert!(doors.get(&clinician, "/ops/status").await.json()["keys"].is_null());
    // Two years later; sessions are over by then.
    doors.kit.clock.advance_ms(2 * 366 * 24 * 3_600_000);
    let (administrator, _) = doors.kit.sign_in_for_token("administrator").await;
    let keys = doors.get(&administrator, "/ops/status").await.json()["keys"].clone();
    let overdue = keys["overdue"].as_array().unwrap();
    assert!(overdue.iter().any(|name| name == "system"), "{keys}");
    doors.kit.stop_keeper().await;
    let away = doors.get(&administrator, "/ops/status").await;
    assert_eq!((away.status, away.json()["keys"].is_null()), (StatusCode::OK, true));
}
