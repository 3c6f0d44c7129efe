//! Releases, access details and the store tell the same; what is cut out of one of them
//! is an alert with its place.
#![allow(clippy::unwrap_used)]

use holdfast_base::{
    ClassSet, CommitNumber, ElementClass, LedgerIndex, MessageId, PatientId, Purpose, RequestId,
    Timestamp,
};
use holdfast_exchange::{
    Ask, Entry, Event, Filter, Format, Gap, Handling, ReconcileState, StoreLocation,
};
use holdfast_keeper::{KeeperClient, Proof, ReleaseRequest};
use holdfast_ledger::{Action, Actor, Touch};
use holdfast_sample::Options;
use holdfast_store::{ResourceKey, SealedVersion, Store, Transaction};
use holdfast_testkit::{TestExchange, organization};

/// A community with some messages, one of them read and searched by somebody.
async fn community() -> TestExchange {
    let kit = TestExchange::start().await;
    kit.exchange().reconcile_new().await.unwrap();
    let options = Options { patients: 8, seed: 3, ..Options::default() };
    let items = holdfast_sample::generate(&options)
        .filter(|item| item.interface.as_str() == "hl7v2@lakeside-family")
        .take(14);
    for item in items {
        kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    }
    kit
}

/// Somebody's work: a look-up, reads, a search that finds nothing.
async fn work(kit: &TestExchange) {
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    let pairs = vec![("_count".to_owned(), "3".to_owned())];
    let exchange = kit.exchange();
    let page = exchange.search(&doctor, &home, "Patient", &pairs, Handling::Strict).await.unwrap();
    for patient in &page.matches {
        exchange.read(&doctor, &home, "Patient", &patient.id, None).await.unwrap();
        let of = vec![("patient".to_owned(), patient.id.clone())];
        exchange.search(&doctor, &home, "Coverage", &of, Handling::Strict).await.unwrap();
    }
    assert!(!page.matches.is_empty());
}

/// Lets everything have its time, and judges it.
async fn settled(kit: &TestExchange) -> ReconcileState {
    for _ in 0..2 {
        kit.clock.advance_ms(10 * 60_000);
        while kit.exchange().reconcile_new().await.unwrap() {}
    }
    let office = Ask::new(kit.sign_in("security-officer").await);
    kit.exchange().reconciliation(&office).await.unwrap()
}

fn keeper(kit: &TestExchange) -> KeeperClient {
    KeeperClient::new(kit.dir().join("run").join("keeper.sock"))
}

/// Summaries of the alerts, and the entries of some kind.
async fn told(kit: &TestExchange) -> Vec<String> {
    let filter = Filter { kinds: vec!["alert".into()], ..Filter::default() };
    let entries = keeper(kit).query(&filter, None, 1_000).await.unwrap();
    let summaries = entries.into_iter().filter_map(|placed| match placed.entry.event {
        Event::Alert { detector, summary, severity, .. } if detector == "reconciliation" => {
            Some(format!("{severity}: {summary}"))
        }
        _ => None,
    });
    summaries.collect()
}

/// Some record of Lakeside that was released, and who did it.
async fn some_record(kit: &TestExchange) -> PatientId {
    let filter = Filter { kinds: vec!["access".into()], ..Filter::default() };
    let entries = keeper(kit).query(&filter, None, 1_000).await.unwrap();
    let mut patients = entries.iter().filter_map(|placed| placed.entry.event.patient());
    patients.find(|(_, patient)| *patient != PatientId::NONE).unwrap().1
}

fn entry_of(kit: &TestExchange, event: Event) -> Entry {
    use holdfast_base::Clock as _;
    let actor = Actor {
        principal: "dr.nobody".parse().unwrap(),
        session: None,
        organization: Some(organization("lakeside-family")),
        address: None,
    };
    Entry { at: kit.clock.now(), actor, request: None, event }
}

fn access(patient: PatientId, version: u64, classes: ClassSet) -> Event {
    let touch = Touch { resource_type: "Observation".into(), id: "none".into(), version, classes };
    Event::Access {
        organization: organization("lakeside-family"),
        patient,
        action: Action::Read,
        purpose: Purpose::Treatment,
        relationship: "none".into(),
        touches: vec![touch],
    }
}

async fn append(kit: &TestExchange, event: Event) -> LedgerIndex {
    let at = keeper(kit).append(vec![entry_of(kit, event)]).await.unwrap();
    LedgerIndex(at.start)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_releases_details_and_store_agree_after_a_day_s_work_and_nothing_is_judged_twice() {
    let mut kit = community().await;
    work(&kit).await;
    // Keys that are given and not used are told of, and are no gap: to put matches in
    // order, all of them are named, and one is shown.
    let doctor = Ask::new(kit.sign_in("clinician").await);
    let home = doctor.caller.organization().clone();
    let one = [("_sort", "date"), ("_count", "1")];
    let one: Vec<_> = one.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let search = kit.exchange().search(&doctor, &home, "Encounter", &one, Handling::Strict);
    assert!(search.await.unwrap().total > 1);
    let state = settled(&kit).await;
    assert_eq!(state.found.gaps, [], "{:?}", told(&kit).await);
    let filter = Filter { kinds: vec!["release-unused".into()], ..Filter::default() };
    let unused = keeper(&kit).query(&filter, None, 1_000).await.unwrap();
    assert!(
        !unused.is_empty() && unused.iter().all(|p| p.entry.actor.principal == *doctor.caller.id())
    );
    assert!(state.found.releases_count >= 4 && state.found.accesses_count >= 10, "{state:?}");
    assert!(state.found.commits_count >= 5 && state.commits_done > 0, "{state:?}");
    let again = settled(&kit).await;
    assert_eq!(again.found.accesses_count, state.found.accesses_count, "nothing is judged twice");

    // The position is there after a restart, and what came meanwhile is judged from it.
    kit.reopen().await;
    work(&kit).await;
    let later = settled(&kit).await;
    assert!(later.entries_done > again.entries_done);
    assert!(later.found.accesses_count < state.found.accesses_count, "only what is new: {later:?}");
    assert!(later.found.accesses_count > 0);
    assert_eq!(later.found.gaps, []);
    // And on demand, from the beginning.
    let office = Ask::new(kit.sign_in("security-officer").await);
    let whole = kit.exchange().reconcile(&office, None, None).await.unwrap();
    assert_eq!(whole.gaps, []);
    assert_eq!(whole.accesses_count, state.found.accesses_count + later.found.accesses_count);
    assert_eq!(told(&kit).await, Vec::<String>::new());
    let none = Some(Timestamp::from_millis(0));
    let before = kit.exchange().reconcile(&office, None, none).await.unwrap();
    assert_eq!((before.accesses_count, before.commits_count), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_a_release_whose_detail_was_cut_out_is_an_alert_with_its_entry_and_an_incident() {
    let kit = community().await;
    let (patient, keeper) = (some_record(&kit).await, keeper(&kit));
    let request = ReleaseRequest {
        proof: Proof::front(),
        request: RequestId::random(),
        organization: organization("lakeside-family"),
        patients: vec![patient],
        classes: ClassSet::ALL,
        purpose: Purpose::Treatment,
        reason: "curiosity".into(),
        create_missing: false,
    };
    // Whatever the messages' own details say was some time ago.
    kit.clock.advance_ms(10 * 60_000);
    keeper.release(&request).await.unwrap();
    let filter = Filter { kinds: vec!["key-release".into()], ..Filter::default() };
    let released = keeper.query(&filter, None, 1_000).await.unwrap().pop().unwrap();

    kit.exchange().reconcile_new().await.unwrap();
    assert_eq!(told(&kit).await, Vec::<String>::new(), "its detail may still come");
    let state = settled(&kit).await;
    let gap = &state.found.gaps[0];
    assert_eq!((state.found.gaps_count, gap.gap), (1, Gap::ReleaseWithoutDetail));
    assert_eq!((gap.entry, gap.principal.as_str()), (Some(released.index), "system:exchange"));
    let text =
        format!("critical: entry {}: keys were released and nothing says what for", released.index);
    assert_eq!(told(&kit).await, [text], "told once");

    kit.exchange().look().await.unwrap();
    let officer = Ask::new(kit.sign_in("security-officer").await);
    let incidents = kit.exchange().incidents(&officer).await.unwrap();
    let found = |i: &holdfast_exchange::Incident| {
        i.principal.as_str() == "system:exchange"
            && i.findings.iter().any(|finding| finding.detector == "reconciliation")
    };
    assert!(incidents.iter().any(found), "{incidents:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_details_whose_release_version_or_commit_is_not_there_are_alerts_with_their_place() {
    let kit = community().await;
    let patient = some_record(&kit).await;
    kit.clock.advance_ms(10 * 60_000);
    let identity = ClassSet::of(ElementClass::Identity);
    // A release cut out: the access stands alone. A read cut out: the store has no such
    // version to be read.
    let alone = append(&kit, access(patient, 1, identity)).await;
    let unread = append(&kit, access(patient, 1, ClassSet::EMPTY)).await;
    let intake = Event::Intake {
        organization: organization("lakeside-family"),
        message: MessageId(1),
        format: "hl7v2".into(),
        outcome: "accepted".into(),
        patient: None,
        commit: Some(CommitNumber(1)),
    };
    let elsewhere = append(&kit, intake).await;
    let chain = "00".repeat(32);
    let commit = Event::StoreCommit { commit: CommitNumber(2), chain };
    let forked = append(&kit, commit).await;

    let state = settled(&kit).await;
    let gaps: Vec<_> =
        state.found.gaps.iter().map(|gap| (gap.gap, gap.entry, gap.commit)).collect();
    assert_eq!(
        gaps,
        [
            (Gap::AccessWithoutRelease, Some(alone), None),
            (Gap::VersionMissing, Some(alone), None),
            (Gap::VersionMissing, Some(unread), None),
            (Gap::EntryWithoutCommit, Some(elsewhere), Some(CommitNumber(1))),
            (Gap::ChainDiffers, Some(forked), Some(CommitNumber(2))),
        ]
    );
    let told = told(&kit).await;
    assert_eq!(told.len(), 5);
    assert!(told[3].ends_with(&format!(
        "entry {elsewhere}, commit 1: an entry tells of a write that the store does not have"
    )));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_a_write_that_no_entry_tells_of_is_an_alert_with_its_commit() {
    let mut kit = community().await;
    assert_eq!(settled(&kit).await.found.gaps, []);
    let patient = some_record(&kit).await;
    kit.close();
    let location = StoreLocation::parse("", &kit.dir().join("store")).unwrap();
    let commit = {
        let store = Store::open_at(&location).unwrap();
        let key = ResourceKey { organization: 1, patient, type_code: 1, id_token: [7; 16] };
        let version = SealedVersion {
            version: 1,
            deleted: false,
            last_updated: Timestamp::from_millis(0),
            parts: vec![(ElementClass::Clinical, vec![1; 64])],
            index: Vec::new(),
            id_sealed: Vec::new(),
        };
        let puts = vec![(key, version)];
        store.commit(Transaction { puts, ..Transaction::default() }).unwrap().commit
    };
    kit.reopen().await;
    let state = settled(&kit).await;
    let gaps: Vec<_> =
        state.found.gaps.iter().map(|gap| (gap.gap, gap.entry, gap.commit)).collect();
    assert_eq!(gaps, [(Gap::CommitWithoutEntry, None, Some(commit))]);
    let text =
        format!("critical: commit {}: the store has a write that no entry tells of", commit.0);
    assert_eq!(told(&kit).await, [text]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p04_nothing_is_judged_while_entries_are_owed_and_what_comes_late_agrees() {
    let mut kit = community().await;
    let before = settled(&kit).await;
    // The keys of the first messages are at hand when the keeper goes away: what is
    // committed then owes its entries.
    let options = Options { patients: 8, seed: 4, ..Options::default() };
    let items: Vec<_> = holdfast_sample::generate(&options)
        .filter(|item| item.interface.as_str() == "hl7v2@lakeside-family")
        .take(6)
        .collect();
    for item in &items {
        kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    }
    kit.stop_keeper().await;
    for item in &items {
        let text = String::from_utf8_lossy(&item.bytes).replace("|P|2.", "|T|2.");
        kit.send(item.interface.as_str(), Format::Hl7v2, text.as_bytes()).await;
    }
    kit.clock.advance_ms(3_600_000);
    assert!(!kit.exchange().reconcile_new().await.unwrap_or(false), "the keeper is away");
    kit.start_keeper().await;
    let office = Ask::new(kit.sign_in("security-officer").await);
    assert!(!kit.exchange().reconcile_new().await.unwrap());
    let waiting = kit.exchange().reconciliation(&office).await.unwrap();
    assert_eq!(waiting.entries_done, before.entries_done, "entries are owed: nothing is judged");

    // Opening settles what is owed.
    kit.reopen().await;
    kit.exchange().catch_up().await.unwrap();
    let state = settled(&kit).await;
    assert_eq!(state.found.gaps, []);
    assert!(state.entries_done > before.entries_done);
    assert_eq!(told(&kit).await, Vec::<String>::new());
}
