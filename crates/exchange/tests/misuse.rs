//! Misuse is found, contained and measured: budgets, the watch, scope.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_exchange::{Ask, Event, ExchangeError, Filter, Handling, ScopeQuery};
use holdfast_sample::Options;
use holdfast_testkit::TestExchange;

fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
    query.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

async fn community(patients: u32) -> TestExchange {
    let kit = TestExchange::start().await;
    kit.send_stream(&Options { patients, seed: 3, ..Options::default() }).await;
    kit
}

/// Ids of the patients of the caller's organization, without opening any.
async fn patient_ids(kit: &TestExchange, ask: &Ask, count: usize) -> Vec<String> {
    let home = ask.caller.organization();
    let query = pairs(&[("_count", &count.to_string())]);
    let page = kit.exchange().search(ask, home, "Patient", &query, Handling::Strict).await.unwrap();
    page.matches.into_iter().map(|patient| patient.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p09_scope_is_exactly_what_was_served() {
    let kit = community(14).await;
    kit.exchange().look().await.unwrap();
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    // What left, by the client's own count: patient → (type, id).
    let mut served: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for id in patient_ids(&kit, &doctor, 6).await {
        served.entry(id.clone()).or_default().insert(("Patient".into(), id));
    }
    let seen: Vec<String> = served.keys().cloned().collect();
    for (number, id) in seen.iter().enumerate() {
        let types = ["Encounter", "Observation", "Condition", "Immunization", "DiagnosticReport"];
        for resource_type in &types[..=number % types.len()] {
            let query = pairs(&[("patient", id), ("_count", "3")]);
            let page = kit
                .exchange()
                .search(&doctor, &home, resource_type, &query, Handling::Strict)
                .await
                .unwrap();
            let touched = served.entry(id.clone()).or_default();
            touched.extend(page.matches.into_iter().map(|m| (m.resource_type, m.id)));
        }
    }
    let refused = kit.exchange().read(&doctor, &home, "Patient", "nobody", None).await;
    assert!(refused.is_err());

    let office = Ask::new(kit.sign_in("security-officer").await);
    let query = ScopeQuery { principal: Some(doctor.caller.id().clone()), ..ScopeQuery::default() };
    let scope = kit.exchange().scope(&office, &query).await.unwrap();
    let filter = Filter { kinds: vec!["access".into()], ..query.filter() };
    let mut logical = BTreeMap::new();
    for placed in kit.exchange().ledger_entries(&office, &filter).await.unwrap() {
        let Event::Access { patient, touches, .. } = placed.entry.event else { continue };
        for touch in touches.into_iter().filter(|touch| touch.resource_type == "Patient") {
            logical.insert(patient, touch.id);
        }
    }
    let mut by_scope = BTreeMap::new();
    for row in &scope.rows {
        assert!(row.released.contains_all(row.returned));
        assert!(row.residence.is_some(), "the state of residence is told by the ledger alone");
        by_scope.insert(logical[&row.patient].clone(), row.resources.clone());
    }
    let mut by_client = BTreeMap::new();
    for (patient, touched) in served {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (resource_type, _) in touched {
            *counts.entry(resource_type).or_default() += 1;
        }
        by_client.insert(patient, counts);
    }
    assert_eq!(by_scope, by_client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p08_chart_after_chart_without_a_relationship_suspends_within_one_look() {
    let mut kit = community(40).await;
    kit.exchange().look().await.unwrap();
    // New at the hospital, and on nobody's care team.
    let administrator = Ask::new(kit.sign_in("administrator").await);
    let community = holdfast_sample::community();
    let colleague = community.clinicians_of(holdfast_sample::HOSPITAL).next().unwrap();
    let newcomer = holdfast_sample::Member {
        login: holdfast_testkit::id("dr.new.here"),
        npi: None,
        ..colleague.clone()
    };
    kit.enroll(&administrator, &newcomer).await;
    let doctor = Ask::new(kit.sign_in("dr.new.here").await);
    let mut reached = 0;
    let mut stopped = None;
    for letter in 'a'..='z' {
        let query = pairs(&[("family", &letter.to_string()), ("_count", "3")]);
        let home = doctor.caller.organization();
        match kit.exchange().search(&doctor, home, "Patient", &query, Handling::Strict).await {
            Ok(page) => reached += page.matches.len(),
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
        kit.exchange().look().await.unwrap();
    }
    let stopped = stopped.expect("somebody stopped it");
    assert!(
        matches!(stopped, ExchangeError::Suspended | ExchangeError::OverBudget { .. }),
        "{stopped}"
    );
    assert!(reached <= 24, "{reached} patients were reached");
    let office = Ask::new(kit.sign_in("security-officer").await);
    kit.exchange().look().await.unwrap();
    let incidents = kit.exchange().incidents(&office).await.unwrap();
    let incident = incidents.iter().find(|i| i.principal == *doctor.caller.id()).unwrap();
    assert!(!incident.findings.is_empty());
    assert!(
        kit.exchange()
            .account_views(&office)
            .iter()
            .any(|account| { account.id == *doctor.caller.id() && account.suspended.is_some() })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p08_a_honey_patient_gives_the_reader_away() {
    let kit = community(6).await;
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    let honey = patient_ids(&kit, &doctor, 1).await.remove(0);
    let office = Ask::new(kit.sign_in("security-officer").await);
    kit.exchange().look().await.unwrap();
    kit.exchange().mark_honey(&office, &home, &honey).await.unwrap();
    kit.clock.advance_ms(120_000);
    kit.exchange().read(&doctor, &home, "Patient", &honey, None).await.unwrap();
    kit.exchange().look().await.unwrap();
    let after = kit.exchange().read(&doctor, &home, "Patient", &honey, None).await.err().unwrap();
    assert!(matches!(after, ExchangeError::Suspended), "{after}");
    let findings = kit.exchange().findings(&office).await.unwrap();
    assert!(findings.iter().any(|finding| finding.detector == "honey-patient"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p08_a_lifted_suspension_lets_the_person_work_again() {
    let kit = community(3).await;
    let office = Ask::new(kit.sign_in("security-officer").await);
    let doctor = kit.sign_in("clinician").await;
    kit.exchange().contain(&office, doctor.id(), "drill").await.unwrap();
    let ask = Ask::new(doctor);
    let home = ask.caller.organization().clone();
    let search = || kit.exchange().search(&ask, &home, "Patient", &[], Handling::Strict);
    assert!(matches!(search().await.err().unwrap(), ExchangeError::Suspended));
    kit.exchange().lift(&office, ask.caller.id(), "drill is over").await.unwrap();
    let again = Ask::new(kit.sign_in(ask.caller.id().as_str()).await);
    let page = kit.exchange().search(&again, &home, "Patient", &[], Handling::Strict).await;
    assert!(page.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p10_notices_are_drafted_from_the_scope_for_whom_it_names() {
    let kit = community(10).await;
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    let ids = patient_ids(&kit, &doctor, 5).await;
    let security = Ask::new(kit.sign_in("security-officer").await);
    kit.exchange().look().await.unwrap();
    kit.exchange().mark_honey(&security, &home, &ids[0]).await.unwrap();
    kit.clock.advance_ms(120_000);
    kit.exchange().read(&doctor, &home, "Patient", &ids[0], None).await.unwrap();
    kit.exchange().look().await.unwrap();
    let incident = kit.exchange().incidents(&security).await.unwrap()[0].id;
    let officer = Ask::new(kit.sign_in("privacy-officer").await);
    let letterhead = kit.exchange().letterhead();
    let files = kit.exchange().draft_notices(&officer, incident, &letterhead).await.unwrap();
    let letters = files.iter().filter(|file| file.path.starts_with("letters/")).count();
    assert_eq!(letters, ids.len());
    assert!(files.iter().any(|file| file.path == format!("clients/{home}/persons.csv")));
    assert!(files.iter().any(|file| file.path == "deadlines.txt"));
    let refused = kit.exchange().draft_notices(&security, incident, &letterhead).await;
    assert!(matches!(refused, Err(ExchangeError::NotPermitted { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p05_breaking_the_glass_opens_the_record_and_tells_the_privacy_office() {
    let kit = community(8).await;
    let doctor = kit.sign_in("clinician").await;
    let elsewhere = holdfast_testkit::organization("st-brendan-hospital");
    assert_ne!(*doctor.organization(), elsewhere);
    // Somebody of the hospital whom the doctor's organization does not know.
    let nurse = Ask::new(kit.sign_in("security-officer").await);
    let registration = b"MSH|^~\\&|A|STBRENDAN|C|D|20260101||ADT^A04^ADT_A01|E1|P|2.5.1\r\
        PID|1||E1^^^EMERGENCY^MR||Unknown^Tourist||19550505|M\r";
    let admitted =
        kit.send("hl7v2@st-brendan-hospital", holdfast_exchange::Format::Hl7v2, registration).await;
    let patient = &admitted.written.iter().find(|w| w.resource_type == "Patient").unwrap().id;
    let plain = Ask::new(doctor.clone());
    let refused = kit.exchange().read(&plain, &elsewhere, "Patient", patient, None).await;
    assert!(matches!(refused, Err(ExchangeError::NotFound)));
    let emergency = Ask { emergency: Some("unconscious in our waiting room".into()), ..plain };
    let opened =
        kit.exchange().read(&emergency, &elsewhere, "Patient", patient, None).await.unwrap();
    assert_eq!(opened.resource["id"], patient.as_str());
    let filter = Filter { kinds: vec!["alert".into()], ..Filter::default() };
    let alerts = kit.exchange().ledger_entries(&nurse, &filter).await.unwrap();
    assert!(alerts.iter().any(|placed| {
        matches!(&placed.entry.event, Event::Alert { detector, .. } if detector == "break-glass")
    }));
    let officer = Ask::new(kit.sign_in("privacy-officer").await);
    let own = officer.caller.organization() == emergency.caller.organization();
    let kept = kit.exchange().emergencies(&officer).await.unwrap();
    assert_eq!(kept.iter().any(|item| item.reason.contains("waiting room")), own);
    assert!(kit.exchange().emergencies(&nurse).await.is_err(), "a reason may speak of the patient");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_a_client_s_officer_asks_about_the_own_records_only() {
    let kit = community(4).await;
    let officer = Ask::new(kit.sign_in("privacy-officer").await);
    let own = officer.caller.organization().clone();
    let runs_it = Ask::new(kit.sign_in("security-officer").await);
    assert_ne!(own, *runs_it.caller.organization());
    let everything = ScopeQuery::default();
    let seen = kit.exchange().scope(&officer, &everything).await.unwrap();
    let all = kit.exchange().scope(&runs_it, &everything).await.unwrap();
    assert!(seen.rows.iter().all(|row| row.organization == own));
    assert!(all.rows.iter().any(|row| row.organization != own), "there was more to see");
    let other = Some(runs_it.caller.organization().clone());
    let asked = ScopeQuery { organization: other, ..ScopeQuery::default() };
    let refused = kit.exchange().scope(&officer, &asked).await;
    assert!(matches!(refused, Err(ExchangeError::NotPermitted { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_a_client_s_officer_contains_and_marks_at_home_only() {
    let kit = community(4).await;
    let officer = Ask::new(kit.sign_in("privacy-officer").await);
    let own = officer.caller.organization().clone();
    let runs_it = Ask::new(kit.sign_in("security-officer").await);
    let stranger = runs_it.caller.id().clone();
    let other = runs_it.caller.organization().clone();
    let refused = |done: Result<(), ExchangeError>| {
        assert!(matches!(done, Err(ExchangeError::NotPermitted { .. })), "{done:?}");
    };
    refused(kit.exchange().contain(&officer, &stranger, "drill").await);
    refused(kit.exchange().lift(&officer, &stranger, "drill").await);
    refused(kit.exchange().mark_honey(&officer, &other, "nobody").await);
    // Whoever runs the exchange reaches everybody; the client sees its own incidents.
    let doctor = kit.sign_in("clinician").await;
    kit.exchange().look().await.unwrap();
    let elsewhere = doctor.organization() != &own;
    let honey = patient_ids(&kit, &Ask::new(doctor.clone()), 1).await.remove(0);
    kit.exchange().mark_honey(&runs_it, doctor.organization(), &honey).await.unwrap();
    kit.clock.advance_ms(120_000);
    let asked = Ask::new(doctor.clone());
    let _ = kit.exchange().read(&asked, doctor.organization(), "Patient", &honey, None).await;
    kit.exchange().look().await.unwrap();
    let runs_it = Ask::new(kit.sign_in("security-officer").await);
    let officer = Ask::new(kit.sign_in("privacy-officer").await);
    let all = kit.exchange().incidents(&runs_it).await.unwrap();
    let seen = kit.exchange().incidents(&officer).await.unwrap();
    assert!(!all.is_empty());
    assert_eq!(seen.is_empty(), elsewhere);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p03_a_look_up_that_only_counts_is_an_entry_too() {
    let kit = community(6).await;
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    let query = pairs(&[("_summary", "count")]);
    let page = kit.exchange().search(&doctor, &home, "Patient", &query, Handling::Strict).await;
    let page = page.unwrap();
    assert!(page.matches.is_empty() && page.total > 0);
    let office = Ask::new(kit.sign_in("security-officer").await);
    let filter = Filter {
        principal: Some(doctor.caller.id().clone()),
        kinds: vec!["access".into()],
        ..Filter::default()
    };
    assert_eq!(kit.exchange().ledger_entries(&office, &filter).await.unwrap().len(), 1);
}
