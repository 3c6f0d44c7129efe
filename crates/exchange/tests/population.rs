//! Searches over all patients of an organization, through the exchange's door,
//! against a scan over every opened record.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use holdfast_exchange::{Ask, Event, ExchangeError, Filter, Format, Handling, Page};
use holdfast_fhir::search::{index, parse_query};
use holdfast_sample::Options;
use holdfast_testkit::{TestExchange, organization};
use serde_json::Value;

fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Sends the hospital's messages about its first `patients` persons, as many as
/// `items`.
async fn send(kit: &TestExchange, patients: u32, items: usize) {
    let options = Options { patients, seed: 11, ..Options::default() };
    let items = holdfast_sample::generate(&options)
        .filter(|item| item.interface.as_str() == "hl7v2@st-brendan-hospital")
        .take(items);
    for item in items {
        kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    }
}

/// Somebody of the hospital; the samples have fewer patients than a minute's budget.
async fn reader(kit: &TestExchange) -> Ask {
    Ask::new(kit.sign_in("laboratory-staff").await)
}

async fn search(kit: &TestExchange, ask: &Ask, kind: &str, query: &str) -> Page {
    let home = ask.caller.organization();
    let found = kit.exchange().search(ask, home, kind, &pairs(query), Handling::Strict).await;
    found.unwrap_or_else(|error| panic!("{kind}?{query}: {error:?}"))
}

/// Every resource of a type that a search within each record returns.
async fn scan(kit: &TestExchange, ask: &Ask, kind: &str) -> Vec<holdfast_exchange::Disclosed> {
    let mut all = Vec::new();
    for patient in search(kit, ask, "Patient", "_count=1000").await.matches {
        let query = format!("patient={}&_count=1000", patient.id);
        all.extend(search(kit, ask, kind, &query).await.matches);
    }
    all
}

fn ids(found: &[holdfast_exchange::Disclosed]) -> BTreeSet<String> {
    found.iter().map(|resource| resource.id.clone()).collect()
}

/// The first value at a place that is written like `code/coding/0/code`.
fn first(resources: &[holdfast_exchange::Disclosed], place: &str) -> String {
    let value = |resource: &Value| {
        resource.pointer(&format!("/{place}")).and_then(Value::as_str).map(str::to_owned)
    };
    resources.iter().find_map(|found| value(&found.resource)).expect(place)
}

async fn compare(kit: &TestExchange, ask: &Ask) -> usize {
    let mut compared = 0;
    for kind in ["Observation", "Condition", "Encounter"] {
        let all = scan(kit, ask, kind).await;
        if all.is_empty() {
            continue;
        }
        let mut queries = vec![
            "_lastUpdated=ge2000".to_owned(),
            "_lastUpdated=lt2000".to_owned(),
            format!("_id={}", all[0].id),
            format!("_id:not={}", all[0].id),
            format!("patient:missing=false&_id={},{}", all[0].id, all[all.len() - 1].id),
        ];
        if kind != "Encounter" {
            let code = first(&all, "code/coding/0/code");
            let system = first(&all, "code/coding/0/system");
            queries.extend([
                format!("code={code}"),
                format!("code={system}|{code}"),
                format!("code={system}|"),
                format!("code=|{code}"),
                format!("code:not={code}"),
                format!("code={code},nonsense&_lastUpdated=ge2001"),
                "code:missing=true".to_owned(),
            ]);
        }
        match kind {
            "Observation" => queries.extend([
                "date=ge2015".to_owned(),
                "date=lt2026-01-01".to_owned(),
                "value-quantity=gt100".to_owned(),
                "value-quantity=le100||mg/dL".to_owned(),
                "status=final&date=ge2010&value-quantity=ge5".to_owned(),
            ]),
            "Condition" => queries.push("onset-date=ge2010".to_owned()),
            _ => queries.push("class:missing=false".to_owned()),
        }
        for query in queries {
            let parsed = parse_query(kind, &pairs(&query), Handling::Strict).unwrap();
            let meets = |r: &&holdfast_exchange::Disclosed| {
                parsed.matches(&r.id, r.last_updated, &index(&r.resource))
            };
            let wanted: BTreeSet<String> = all.iter().filter(meets).map(|r| r.id.clone()).collect();
            let found = search(kit, ask, kind, &format!("{query}&_count=1000")).await;
            assert_eq!(ids(&found.matches), wanted, "{kind}?{query}");
            assert_eq!(found.total, wanted.len(), "{kind}?{query}");
            let counted = search(kit, ask, kind, &format!("{query}&_summary=count")).await;
            assert_eq!((counted.total, counted.matches.len()), (wanted.len(), 0));
            compared += wanted.len();
        }
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn population_searches_answer_what_a_scan_over_opened_records_does() {
    let mut kit = TestExchange::start().await;
    send(&kit, 30, 40).await;
    let ask = reader(&kit).await;
    let patients = search(&kit, &ask, "Patient", "_count=1000").await.total;
    eprintln!("{patients} patients of {}", ask.caller.organization());
    let fresh = compare(&kit, &ask).await;
    assert!(fresh > 100, "{fresh}");
    assert!(kit.exchange().tend_populations().await.unwrap() > 0);
    assert_eq!(compare(&kit, &ask).await, fresh, "folding changes no answer");
    send(&kit, 30, 60).await;
    let more = compare(&kit, &ask).await;
    assert!(more > fresh, "{more} after {fresh}");
    kit.exchange().tend_populations().await.unwrap();
    kit.reopen().await;
    let ask = reader(&kit).await;
    assert_eq!(compare(&kit, &ask).await, more, "nor does a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_population_search_stay_as_they_were_while_others_write_and_fold() {
    let kit = TestExchange::start().await;
    send(&kit, 30, 40).await;
    let ask = reader(&kit).await;
    let whole = search(&kit, &ask, "Observation", "_lastUpdated=ge2000&_count=1000").await;
    let mut page = search(&kit, &ask, "Observation", "_lastUpdated=ge2000&_count=7").await;
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        assert_eq!(page.total, whole.total);
        found.extend(page.matches);
        pages += 1;
        if pages == 2 {
            send(&kit, 30, 55).await;
        }
        if pages == 3 {
            kit.exchange().tend_populations().await.unwrap();
        }
        let Some(next) = page.next else { break };
        page = search(&kit, &ask, "Observation", &format!("_page={next}")).await;
    }
    assert!(pages > 4, "{pages} pages of {}", whole.total);
    let listed = |found: &[holdfast_exchange::Disclosed]| {
        found.iter().map(|r| (r.id.clone(), r.version)).collect::<Vec<_>>()
    };
    assert_eq!(listed(&found), listed(&whole.matches));
    let sorted = search(&kit, &ask, "Observation", "date=ge2000&_sort=-date&_count=20").await;
    let dates =
        sorted.matches.iter().map(|r| r.resource["effectiveDateTime"].as_str().unwrap_or(""));
    let dates: Vec<&str> = dates.filter_map(|date| date.get(..10)).collect();
    assert!(dates.len() > 5 && dates.is_sorted_by(|a, b| a >= b), "{dates:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_whoever_is_told_patients_is_charged_and_whoever_is_told_a_number_is_not() {
    let mut kit = TestExchange::start().await;
    send(&kit, 120, 150).await;
    let community = holdfast_sample::community();
    let member = community.staff.iter().find(|member| {
        member.organization.as_str() == "st-brendan-hospital" && member.role.as_str() == "clinician"
    });
    let administrator = Ask::new(kit.sign_in("administrator").await);
    kit.enroll(&administrator, member.unwrap()).await;
    // Who may be told twenty patients a minute.
    let ask = Ask::new(kit.sign_in(member.unwrap().login.as_str()).await);
    let home = ask.caller.organization().clone();
    let counted = search(&kit, &ask, "Observation", "status=final&_summary=count").await;
    assert!(counted.total > 20, "{}", counted.total);
    let everybody = pairs("status=final&_count=1000");
    let refused =
        kit.exchange().search(&ask, &home, "Observation", &everybody, Handling::Strict).await;
    assert!(matches!(refused, Err(ExchangeError::OverBudget { .. })), "over budget");
    let page = search(&kit, &ask, "Observation", "status=final&_count=5").await;
    assert_eq!((page.matches.len(), page.total), (5, counted.total));

    let officer = Ask::new(kit.sign_in("security-officer").await);
    let filter = Filter { kinds: vec!["population-query".into()], ..Filter::default() };
    let entries = kit.exchange().ledger_entries(&officer, &filter).await.unwrap();
    let told: Vec<_> = entries
        .iter()
        .filter_map(|placed| match &placed.entry.event {
            Event::PopulationQuery { resource_type, parameters, matches_count, named, .. } => {
                Some((resource_type.as_str(), parameters.clone(), *matches_count, named.len()))
            }
            _ => None,
        })
        .collect();
    let status = vec!["status".to_owned()];
    assert_eq!(told.len(), 2, "the refused one told nothing");
    assert_eq!(told[0], ("Observation", status.clone(), counted.total as u64, 0));
    assert_eq!((told[1].0, &told[1].1), ("Observation", &status));
    assert!((1..=5).contains(&told[1].3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p11_no_population_but_the_own_one_is_searched_and_roles_that_read_nothing_count_nothing() {
    let kit = TestExchange::start().await;
    send(&kit, 30, 5).await;
    let ask = Ask::new(kit.sign_in("clinician").await);
    let query = pairs("status=final&_summary=count");
    let other = organization("summit-neurology");
    assert_ne!(*ask.caller.organization(), other);
    let elsewhere =
        kit.exchange().search(&ask, &other, "Observation", &query, Handling::Strict).await;
    assert!(elsewhere.is_err());
    let nobody = Ask::new(kit.sign_in("security-officer").await);
    let home = nobody.caller.organization().clone();
    let refused =
        kit.exchange().search(&nobody, &home, "Observation", &query, Handling::Strict).await;
    assert!(matches!(refused, Err(ExchangeError::NotPermitted { .. })));
}
