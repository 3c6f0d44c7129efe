//! The ledger as FHIR AuditEvents, through the FHIR API.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Doors;

const BASE: &str = "/fhir/lakeside-family/AuditEvent";

fn entries(bundle: &Value) -> Vec<Value> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.into_iter().map(|entry| entry["resource"].clone()).collect()
}

/// The events that a search finds, all of one page.
async fn found(doors: &Doors, token: &str, query: &str) -> Vec<Value> {
    let answer = doors.get(token, &format!("{BASE}?_count=1000&{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", String::from_utf8_lossy(&answer.body));
    let bundle = answer.json();
    assert_eq!(holdfast_fhir::validate(&bundle), [], "{query}");
    let events = entries(&bundle);
    assert_eq!(bundle["total"], events.len(), "{query}");
    events
}

fn ids(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_the_privacy_office_reads_who_read_what_as_audit_events_and_that_is_an_entry() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, ask) = doors.clinician().await;
    let read = doors.get(&token, &format!("{base}/Patient/{patient}")).await;
    assert_eq!(read.status, StatusCode::OK);
    let search = doors.get(&token, &format!("{base}/Encounter?patient={patient}")).await;
    assert_eq!(search.status, StatusCode::OK);
    let (office, officer) = doors.kit.sign_in_for_token("privacy-officer").await;
    let doctor = ask.caller.id().as_str();

    // By patient: the intake that wrote, the read, the search; newest first.
    let about = found(&doors, &office, &format!("patient={patient}")).await;
    let numbers = ids(&about);
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {numbers:?}");
    let of = |code: &str| about.iter().filter(|e| e["subtype"][0]["code"] == code).count();
    assert_eq!((of("read"), of("search-type"), of("create")), (1, 1, 1), "{about:#?}");
    let shown = about.iter().find(|e| e["subtype"][0]["code"] == "read").unwrap();
    let profile = shown["meta"]["profile"][0].as_str().unwrap();
    assert!(profile.ends_with("IHE.BasicAudit.PatientRead"), "{profile}");
    assert_eq!(holdfast_fhir::validate(shown), []);

    // By agent, date, type, subtype, action, entity, outcome, and several at once.
    let id = shown["id"].as_str().unwrap();
    let (year, next) = ("2026", "2027");
    for query in [
        format!("altid={doctor}&subtype=read"),
        format!("agent:identifier=urn:holdfast:principal|{doctor}&action=R"),
        format!("agent-name={doctor}&subtype=http://hl7.org/fhir/restful-interaction|read"),
        format!("patient={patient}&type=rest&action=R&date=ge{year}&date=lt{next}"),
        format!("entity=Patient/{patient}&type=rest&action=R"),
        format!("patient={patient}&subtype=read&outcome=0&_sort=date"),
        format!("_id={id}"),
    ] {
        let one = found(&doors, &office, &query).await;
        assert_eq!(
            one.iter().map(|e| e["id"].as_str().unwrap()).collect::<Vec<_>>(),
            [id],
            "{query}"
        );
    }
    for query in [
        format!("patient={patient}&date=lt{year}"),
        format!("patient={patient}&date=ge{next}"),
        "patient=nobody".to_owned(),
        "entity=Observation/nothing".to_owned(),
        "type=110100".to_owned(),
        "altid=dr.nobody".to_owned(),
        format!("altid={doctor}&action=C"),
    ] {
        assert_eq!(found(&doors, &office, &query).await, Vec::<Value>::new(), "{query}");
    }
    let signed_in = found(&doors, &office, &format!("type=110114&altid={doctor}")).await;
    assert_eq!(signed_in.len(), 1, "the doctor's session: {signed_in:#?}");

    // By id; and each look is an entry, which is an audit event itself.
    let one = doors.get(&office, &format!("{BASE}/{id}")).await;
    assert_eq!((one.status, &one.json()), (StatusCode::OK, shown));
    let looks = found(&doors, &office, "type=110101").await;
    let own = |event: &&Value| {
        let mut agents = event["agent"].as_array().unwrap().iter();
        agents.any(|agent| agent["altId"] == officer.id().as_str())
    };
    assert_eq!(looks.iter().filter(own).count(), 17, "every search above, and the read");
    let about_patient = found(&doors, &office, &format!("type=110101&patient={patient}")).await;
    assert!(!about_patient.is_empty() && about_patient.len() < looks.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_audit_events_do_not_shift_while_the_ledger_grows() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    for _ in 0..5 {
        doors.get(&token, &format!("{base}/Patient/{patient}")).await;
    }
    let (office, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let whole = ids(&found(&doors, &office, "type=rest").await);
    let (mut url, mut paged) = (format!("{BASE}?type=rest&_count=2"), Vec::new());
    loop {
        let bundle = doors.get(&office, &url).await.json();
        assert_eq!(bundle["total"], whole.len());
        paged.extend(ids(&entries(&bundle)));
        doors.get(&token, &format!("{base}/Patient/{patient}")).await;
        let links = bundle["link"].as_array().unwrap();
        let next = links.iter().find(|link| link["relation"] == "next");
        let Some(next) = next else { break };
        next["url"]
            .as_str()
            .unwrap()
            .strip_prefix("https://hie.example")
            .unwrap()
            .clone_into(&mut url);
    }
    assert_eq!(paged, whole);
    let counted = doors.get(&office, &format!("{BASE}?type=rest&_summary=count")).await.json();
    assert!(counted["total"].as_u64().unwrap() > whole.len() as u64, "the ledger grew");
    assert_eq!(entries(&counted), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_audit_events_are_for_the_office_within_its_reach() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, _, _) = doors.clinician().await;
    assert_eq!(doors.get(&token, BASE).await.status, StatusCode::FORBIDDEN);
    assert_eq!(doors.get(&token, &format!("{BASE}/3")).await.status, StatusCode::FORBIDDEN);
    let (clerk, _) = doors.kit.sign_in_for_token("administrator").await;
    assert_eq!(doors.get(&clerk, BASE).await.status, StatusCode::FORBIDDEN);

    // A client's office: its own records. Elsewhere is answered like nowhere.
    let (office, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let own = found(&doors, &office, "").await;
    assert!(own.iter().all(|event| event["source"]["site"] == "lakeside-family"));
    let elsewhere = doors.get(&office, "/fhir/st-brendan-hospital/AuditEvent").await;
    let nowhere = doors.get(&office, "/fhir/no-such-place/AuditEvent").await;
    assert_eq!((elsewhere.status, nowhere.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert_eq!(elsewhere.json()["issue"], nowhere.json()["issue"]);
    // An entry that is not about its records, by id.
    let (runs_it, _) = doors.kit.sign_in_for_token("security-officer").await;
    let theirs = doors.get(&runs_it, "/fhir/st-brendan-hospital/AuditEvent").await;
    assert_eq!(theirs.status, StatusCode::OK);
    for id in ids(&entries(&theirs.json())) {
        let hidden = doors.get(&office, &format!("{BASE}/{id}")).await;
        assert_eq!(hidden.status, StatusCode::NOT_FOUND, "{id}");
    }
    for no_id in ["0", "99999999", "007", "x", "3/_history/2"] {
        let missing = doors.get(&office, &format!("{BASE}/{no_id}")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{no_id}");
    }
    // The office of the whole exchange sees them, too.
    let seen = doors.get(&runs_it, &format!("{BASE}?patient={patient}")).await;
    assert!(!entries(&seen.json()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_the_office_of_the_whole_exchange_asks_whether_ledger_and_store_agree() {
    let doors = Doors::open().await;
    let exchange = doors.kit.exchange();
    exchange.reconcile_new().await.unwrap();
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    doors.get(&token, &format!("{base}/Patient/{patient}")).await;
    let (office, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let (state, now) = ("/ops/ledger/reconciliation", "/ops/ledger/reconcile");
    for other in [&token, &office] {
        assert_eq!(doors.get(other, state).await.status, StatusCode::FORBIDDEN);
        assert_eq!(doors.post(other, now, &json!({})).await.status, StatusCode::FORBIDDEN);
    }
    let (runs_it, _) = doors.kit.sign_in_for_token("security-officer").await;
    let young = doors.post(&runs_it, now, &json!({})).await.json();
    assert_eq!(young["accesses_count"], 0, "too young to be judged: {young}");
    doors.kit.clock.advance_ms(10 * 60_000);
    exchange.reconcile_new().await.unwrap();
    let (runs_it, _) = doors.kit.sign_in_for_token("security-officer").await;
    let found = doors.post(&runs_it, now, &json!({})).await.json();
    assert_eq!((&found["gaps_count"], &found["gaps"]), (&json!(0), &json!([])), "{found}");
    assert!(found["accesses_count"].as_u64().unwrap() >= 2, "{found}");
    let job = doors.get(&runs_it, state).await.json();
    assert!(job["entries_done"].as_u64().unwrap() > 0 && job["looked_at"].is_string(), "{job}");
    let empty = doors.post(&runs_it, &format!("{now}?to=2020-01-01T00:00:00Z"), &json!({})).await;
    assert_eq!(empty.json()["accesses_count"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_an_audit_event() {
    let doors = Doors::open().await;
    let patient = doors.with_a_patient().await;
    let (token, base, _) = doors.clinician().await;
    let (office, _) = doors.kit.sign_in_for_token("privacy-officer").await;
    let mut event = found(&doors, &office, &format!("patient={patient}")).await.remove(0);
    let put = doors.ask(&token, Method::PUT, &format!("{BASE}/x1"), &[], Some(&event)).await;
    assert_eq!(put.status, StatusCode::METHOD_NOT_ALLOWED);
    let posted = doors.ask(&token, Method::POST, BASE, &[], Some(&event)).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.json()["resourceType"], "OperationOutcome");
    // Within a transaction, too: nothing of it is applied.
    event["id"] = json!("x1");
    let transaction = json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [{ "resource": event, "request": { "method": "POST", "url": "AuditEvent" } }],
    });
    let refused = doors.ask(&token, Method::POST, &base, &[], Some(&transaction)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{:?}", refused.json());

    let statement = doors.get(&token, &format!("{base}/metadata")).await.json();
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let served = resources.iter().find(|resource| resource["type"] == "AuditEvent").unwrap();
    assert_eq!(served["interaction"], json!([{ "code": "read" }, { "code": "search-type" }]));
    let parameters = served["searchParam"].as_array().unwrap();
    for name in ["patient", "date", "agent", "altid", "entity", "type", "subtype", "action"] {
        assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{name}");
    }
}
