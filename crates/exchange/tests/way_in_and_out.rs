//! The way in and the way out, over a real keeper, store and ledger.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use holdfast_exchange::{Ask, Filter, Format, Handling, Outcome};
use holdfast_sample::Options;
use holdfast_testkit::{TestExchange, organization};

fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
    query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn few() -> Options {
    Options { patients: 12, seed: 7, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_stream_becomes_records_that_can_be_read() {
    let kit = TestExchange::start().await;
    let sent = kit.send_stream(&few()).await;
    let mut refused = Vec::new();
    for (item, admission) in &sent {
        if admission.outcome != Outcome::Accepted {
            refused.push((item.kind, admission.outcome.clone(), admission.issues.clone()));
        }
    }
    assert!(refused.is_empty(), "{} of {}: {:?}", refused.len(), sent.len(), refused.first());

    let doctor = kit.sign_in("clinician").await;
    let home = doctor.organization().clone();
    let ask = Ask::new(doctor);
    let page = kit
        .exchange()
        .search(&ask, &home, "Patient", &pairs(&[("_count", "5")]), Handling::Strict)
        .await
        .unwrap();
    assert!(page.total > 0);
    let patient = page.matches.first().unwrap();
    let chart = kit.exchange().chart(&ask, &home, &patient.id).await.unwrap();
    assert!(!chart.own.resources.is_empty());
    let again = kit.exchange().read(&ask, &home, "Patient", &patient.id, None).await.unwrap();
    assert_eq!(again.resource["id"], patient.id.as_str());
    let by_patient = pairs(&[("patient", &patient.id)]);
    let encounters = kit
        .exchange()
        .search(&ask, &home, "Encounter", &by_patient, Handling::Strict)
        .await
        .unwrap();
    assert_eq!(encounters.total, chart.own.counts().get("Encounter").copied().unwrap_or(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_the_same_message_twice_changes_nothing() {
    let kit = TestExchange::start().await;
    let item = holdfast_sample::generate(&few())
        .find(|item| item.kind.starts_with("ADT") && item.organization == "lakeside-family")
        .unwrap();
    let first = kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    assert_eq!(first.outcome, Outcome::Accepted, "{:?}", first.issues);
    let counts = kit.exchange().counts().unwrap();
    let second = kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    assert_eq!(second.outcome, Outcome::Duplicate);
    assert_eq!(second.message, first.message);
    assert_eq!(kit.exchange().counts().unwrap(), counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_a_broken_message_is_kept_and_refused_with_its_place() {
    let kit = TestExchange::start().await;
    let broken = b"MSH|^~\\&|A|B|C|D|20260101||ADT^A01|X1|P|2.5.1\rPV1|1|I\r";
    let admission = kit.send("hl7v2@lakeside-family", Format::Hl7v2, broken).await;
    assert!(matches!(admission.outcome, Outcome::Refused(_)), "{:?}", admission.outcome);
    assert!(
        admission.issues.iter().any(|issue| issue.place.starts_with("PID")),
        "{:?}",
        admission.issues
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_every_read_is_in_the_ledger_before_it_is_an_answer() {
    let kit = TestExchange::start().await;
    kit.send_stream(&Options { patients: 3, ..few() }).await;
    let doctor = kit.sign_in("clinician").await;
    let home = doctor.organization().clone();
    let ask = Ask::new(doctor);
    let page = kit
        .exchange()
        .search(&ask, &home, "Patient", &pairs(&[("_count", "3")]), Handling::Strict)
        .await
        .unwrap();
    let office = Ask::new(kit.sign_in("security-officer").await);
    let filter = Filter { principal: Some(ask.caller.id().clone()), ..Filter::default() };
    let entries = kit.exchange().ledger_entries(&office, &filter).await.unwrap();
    let kinds = |kind: &str| entries.iter().filter(|p| p.entry.event.kind() == kind).count();
    assert_eq!(kinds("key-release"), page.matches.len());
    assert_eq!(kinds("access"), page.matches.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_intake_goes_on_while_the_keeper_is_away_and_catches_up() {
    let mut kit = TestExchange::start().await;
    let items: Vec<_> = holdfast_sample::generate(&few())
        .filter(|item| item.interface.as_str() == "hl7v2@lakeside-family")
        .take(6)
        .collect();
    let doctor = Ask::new(kit.sign_in("clinician").await);
    kit.stop_keeper().await;
    for item in &items {
        let admission = kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
        assert_eq!(admission.outcome, Outcome::Queued);
    }
    let home = doctor.caller.organization().clone();
    let read =
        kit.exchange().search(&doctor, &home, "Patient", &pairs(&[]), Handling::Strict).await;
    assert!(read.is_ok_and(|page| page.matches.is_empty()), "nothing was applied yet");
    assert_eq!(kit.exchange().counts().unwrap().pending, items.len());
    kit.start_keeper().await;
    assert_eq!(kit.exchange().catch_up().await.unwrap(), items.len());
    let counts = kit.exchange().counts().unwrap();
    assert_eq!(counts.pending, 0);
    assert!(counts.patients > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_another_organization_s_record_answers_like_one_that_is_not_there() {
    let kit = TestExchange::start().await;
    kit.send_stream(&few()).await;
    let lab_chief = kit.sign_in("laboratory-staff").await;
    let ask = Ask::new(lab_chief);
    let practice = organization("lakeside-family");
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let page = kit
        .exchange()
        .search(&doctor, doctor.caller.organization(), "Patient", &pairs(&[]), Handling::Strict)
        .await
        .unwrap();
    let there = &page.matches.first().unwrap().id;
    let seen = kit.exchange().read(&ask, &practice, "Patient", there, None).await.err().unwrap();
    let nowhere =
        kit.exchange().read(&ask, &practice, "Patient", "nobody", None).await.err().unwrap();
    assert_eq!(seen.to_string(), nowhere.to_string());
    let stranger = organization("no-such-place");
    let unknown = kit.exchange().read(&ask, &stranger, "Patient", there, None).await.err().unwrap();
    assert_eq!(seen.to_string(), unknown.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_the_exchange_is_opened_again() {
    let mut kit = TestExchange::start().await;
    kit.send_stream(&Options { patients: 4, ..few() }).await;
    let before = kit.exchange().counts().unwrap();
    kit.reopen().await;
    assert_eq!(kit.exchange().counts().unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_what_was_refused_is_applied_when_it_is_sent_again_and_fits() {
    let kit = TestExchange::start().await;
    let result = br#"{"resourceType":"Bundle","type":"transaction","entry":[{
        "fullUrl":"urn:uuid:0f6c1d0e-9d3c-4f5e-8a46-000000000001",
        "request":{"method":"POST","url":"Observation"},
        "resource":{"resourceType":"Observation","status":"final",
            "code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},
            "subject":{"reference":"Patient/late-comer"}}}]}"#;
    let sender = "fhir@cedar-hollow-family";
    let early = kit.send(sender, Format::Fhir, result).await;
    assert!(matches!(early.outcome, Outcome::Refused(_)), "{:?}", early.outcome);
    let patient = br#"{"resourceType":"Bundle","type":"transaction","entry":[{
        "fullUrl":"urn:uuid:0f6c1d0e-9d3c-4f5e-8a46-000000000002",
        "request":{"method":"PUT","url":"Patient/late-comer"},
        "resource":{"resourceType":"Patient","id":"late-comer","name":[{"family":"Latecomer"}]}}]}"#;
    let known = kit.send(sender, Format::Fhir, patient).await;
    assert_eq!(known.outcome, Outcome::Accepted, "{:?}", known.issues);
    assert_eq!(known.written[0].id, "late-comer", "PUT says which id");
    let again = kit.send(sender, Format::Fhir, result).await;
    assert_eq!(again.outcome, Outcome::Accepted, "{:?}", again.issues);
    assert_ne!(again.message, early.message, "both are kept");
    assert_eq!(kit.exchange().counts().unwrap().pending, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_a_person_who_sends_beyond_the_budget_is_refused_once_and_nothing_is_lost() {
    let kit = TestExchange::start().await;
    let nurse = Ask::new(kit.sign_in("clinician").await);
    let home = nurse.caller.organization().clone();
    let mut refused = 0;
    for number in 0..24 {
        let message = format!(
            "MSH|^~\\&|A|B|C|D|20260101||ADT^A04^ADT_A01|B{number}|P|2.5.1\r\
             PID|1||B{number}^^^BULK^MR||Bulk{number}^Beryl||19{:02}0303|F\r",
            20 + number
        );
        let admitted =
            kit.exchange().admit(&nurse, &home, Format::Hl7v2, message.as_bytes()).await.unwrap();
        if matches!(admitted.outcome, Outcome::Refused(_)) {
            refused += 1;
        }
    }
    assert!(refused > 0, "twenty patients a minute are a clinician's budget");
    assert_eq!(kit.exchange().counts().unwrap().pending, 0, "none is tried again by itself");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_what_names_no_patient_never_lies_where_everybody_may_read() {
    let kit = TestExchange::start().await;
    let homeless = br#"{"resourceType":"Observation","status":"final",
        "code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]}}"#;
    let admitted = kit.send("fhir@cedar-hollow-family", Format::Fhir, homeless).await;
    assert!(matches!(admitted.outcome, Outcome::Refused(_)), "{:?}", admitted.outcome);
    let place = br#"{"resourceType":"Location","name":"Room 4"}"#;
    let directory = kit.send("fhir@cedar-hollow-family", Format::Fhir, place).await;
    assert_eq!(directory.outcome, Outcome::Accepted, "{:?}", directory.issues);
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    for resource_type in ["Observation", "Device", "Binary"] {
        let found =
            kit.exchange().search(&doctor, &home, resource_type, &[], Handling::Strict).await;
        // Searches over everybody answer what lies in patients' compartments.
        let shown = found.map(|page| page.total.max(page.matches.len()));
        assert!(!matches!(shown, Ok(1..)), "{resource_type} without a patient: {shown:?}");
    }
}

/// What was opened is kept with the keys for a while; it must not be older than what
/// was written and acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p01_a_search_shows_what_was_acknowledged_before_it_while_others_write() {
    let kit = Arc::new(TestExchange::start().await);
    let reader = Ask::new(kit.sign_in("laboratory-staff").await);
    let home = reader.caller.organization().clone();
    let sender = format!("hl7v2@{home}");
    let put = |kind: &str, id: String, rest: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{
            "request":{{"method":"PUT","url":"{kind}/{id}"}},
            "resource":{{"resourceType":"{kind}","id":"{id}",{rest}}}}}]}}"#
        )
    };
    let patient = put("Patient", "busy".into(), r#""name":[{"family":"Busy"}]"#);
    kit.send(&sender, Format::Fhir, patient.as_bytes()).await;
    let acknowledged = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let writing = tokio::spawn({
        let (kit, acknowledged) = (Arc::clone(&kit), Arc::clone(&acknowledged));
        async move {
            for number in 0..25 {
                let weight = format!(
                    r#""status":"final","subject":{{"reference":"Patient/busy"}},
                    "code":{{"text":"weight"}},"valueInteger":{number}"#
                );
                let message = put("Observation", format!("w{number}"), &weight);
                let sent = kit.send(&sender, Format::Fhir, message.as_bytes()).await;
                assert_eq!(sent.outcome, Outcome::Accepted, "{:?}", sent.issues);
                acknowledged.store(number + 1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    });
    let pairs = [("patient".to_owned(), "busy".to_owned())];
    let (mut shown, mut repeated) = (0, 0);
    while shown < 25 {
        let before = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
        let page = kit.exchange().search(&reader, &home, "Observation", &pairs, Handling::Strict);
        let total = page.await.unwrap().total;
        assert!(total >= before && total >= shown, "{total} after {before} and {shown}");
        repeated += usize::from(total == shown);
        shown = total;
    }
    writing.await.unwrap();
    assert!(repeated > 0, "what was opened before was never asked for again");
}
