//! What was stored while keys of resources still told their type is read, searched
//! and updated like anything else.
#![allow(clippy::unwrap_used)]

use holdfast_base::{ClassSet, CommitNumber, ElementClass, PatientId, Purpose, RequestId};
use holdfast_exchange::{Ask, Format, Handling, Outcome, StoreLocation};
use holdfast_fhir::search;
use holdfast_keeper::{KeeperClient, Proof, ReleaseRequest, SealContext};
use holdfast_sample::Options;
use holdfast_store::{ResourceKey, RowWrite, SealedVersion, Store, Table, Transaction};
use holdfast_testkit::TestExchange;
use serde_json::json;

/// A search row as it was sealed then.
#[derive(serde::Serialize)]
struct FormerRow {
    id: String,
    entries: Vec<u8>,
}

const ID: &str = "stored-before";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p15_resources_whose_keys_tell_their_type_stay_readable_and_can_be_updated() {
    let mut kit = TestExchange::start().await;
    let item = holdfast_sample::generate(&Options { patients: 12, seed: 7, ..Options::default() })
        .find(|item| item.kind.starts_with("ADT") && item.organization == "lakeside-family")
        .unwrap();
    let sent = kit.send(item.interface.as_str(), Format::Hl7v2, &item.bytes).await;
    let patient = sent.written.iter().find(|w| w.resource_type == "Patient").unwrap().id.clone();
    let home = kit.system(item.interface.as_str()).await.organization().clone();
    kit.close();

    // An older exchange writes an observation.
    let keeper = KeeperClient::new(kit.dir().join("run/keeper.sock"));
    let service = keeper.service_keys("test").await.unwrap();
    let tokens = &service.organizations[&home].token;
    let store =
        Store::open_at(&StoreLocation::parse("", &kit.dir().join("store")).unwrap()).unwrap();
    let located = tokens.token("resource-id", format!("Patient/{patient}").as_bytes());
    let rows: Vec<_> =
        store.snapshot().scan_rows(Table::Locate, b"r").map(Result::unwrap).collect();
    let (place, owner) = rows.iter().find(|(key, _)| key.ends_with(&located)).unwrap();
    let owner = PatientId::from_bytes(owner.as_slice().try_into().unwrap());
    let ordinal = u32::from_be_bytes(place[1..5].try_into().unwrap());
    let released = keeper
        .release(&ReleaseRequest {
            proof: Proof::front(),
            request: RequestId::random(),
            organization: home.clone(),
            patients: vec![owner],
            classes: ClassSet::ALL,
            purpose: Purpose::Operations,
            reason: "test".into(),
            create_missing: false,
        })
        .await
        .unwrap();
    let reference = format!("Observation/{ID}");
    let id_token = tokens.token("id", reference.as_bytes());
    let body = json!({
        "resourceType": "Observation",
        "id": ID,
        "meta": { "versionId": "1" },
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "718-7" }] },
        "subject": { "reference": format!("Patient/{patient}") },
    });
    let class = ElementClass::Clinical;
    let key = released[0].class(class).unwrap();
    let sealed = |id: &str, part, plain: &[u8]| {
        let context = SealContext {
            organization: &home,
            patient: owner,
            resource_type: "Observation",
            id,
            version: 1,
            class,
            part,
        };
        key.seal(&context, plain)
    };
    let row = FormerRow { id: ID.into(), entries: search::encode(&search::index(&body)) };
    let row = postcard::to_stdvec(&row).unwrap();
    let token = data_encoding::HEXLOWER.encode(&id_token);
    let plain = zstd::bulk::compress(body.to_string().as_bytes(), 3).unwrap();
    let version = SealedVersion {
        version: 1,
        deleted: false,
        last_updated: holdfast_base::Timestamp::from_millis(0),
        parts: vec![(class, sealed(ID, "body", &plain))],
        index: [&[class as u8][..], &sealed(&token, "index", &row)].concat(),
        id_sealed: Vec::new(),
    };
    let type_code = holdfast_fhir::type_code("Observation").unwrap();
    let resource = ResourceKey { organization: ordinal, patient: owner, type_code, id_token };
    let mut locate = place[..5].to_vec();
    locate.extend_from_slice(&tokens.token("resource-id", reference.as_bytes()));
    let value = Some(owner.as_bytes().to_vec());
    store
        .commit(Transaction {
            puts: vec![(resource, version)],
            rows: vec![RowWrite { table: Table::Locate, key: locate, value }],
            ..Transaction::default()
        })
        .unwrap();
    let commit = store.snapshot().commit();
    drop(store);
    kit.reopen().await;

    let ask = Ask::new(kit.sign_in("laboratory-staff").await);
    let ask = if ask.caller.organization() == &home {
        ask
    } else {
        Ask::new(kit.sign_in("clinician").await)
    };
    assert_eq!(ask.caller.organization(), &home);
    let exchange = kit.exchange();
    let read = exchange.read(&ask, &home, "Observation", ID, None).await.unwrap();
    assert_eq!(read.resource["code"]["coding"][0]["code"], "718-7");
    let pairs = [("patient".to_owned(), patient.clone()), ("code".to_owned(), "718-7".to_owned())];
    let found =
        exchange.search(&ask, &home, "Observation", &pairs, Handling::Strict).await.unwrap();
    assert_eq!((found.total, found.matches[0].id.as_str()), (1, ID));

    // It is updated where it lies.
    let mut newer = body.clone();
    newer["status"] = "amended".into();
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [
        { "resource": newer, "request": { "method": "PUT", "url": reference } },
    ]});
    let text = bundle.to_string();
    let updated = kit.send(item.interface.as_str(), Format::Fhir, text.as_bytes()).await;
    assert_eq!(updated.outcome, Outcome::Accepted, "{:?}", updated.issues);
    assert_eq!((updated.written[0].version, updated.written[0].created), (2, false));
    let read = kit.exchange().read(&ask, &home, "Observation", ID, None).await.unwrap();
    assert_eq!((read.resource["status"].as_str(), read.version), (Some("amended"), 2));
    kit.close();
    let store =
        Store::open_at(&StoreLocation::parse("", &kit.dir().join("store")).unwrap()).unwrap();
    let history = store.snapshot().history(&resource).unwrap();
    assert_eq!(history.len(), 2);
    assert!(history.iter().any(|stored| stored.commit > CommitNumber(commit.0)));
}
