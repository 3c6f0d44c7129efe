//! Makes the dictionaries in `data/` anew, from resources of the sample community as
//! they are stored: `cargo run -p holdfast-exchange --example dictionaries`. Needs the
//! `zstd` command. A new dictionary is another number: rows that are stored name
//! theirs.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use holdfast_base::{OrganizationId, RequestId};
use holdfast_fhir::{Limits, parse_resource, search};
use holdfast_intake::{PATIENT_URL, Settings, convert_ccda, convert_fhir, convert_hl7v2, hl7v2};
use holdfast_sample::Options;
use serde_json::{Map, Value, json};

/// Bytes of a dictionary: doubling it makes bodies an eighth smaller.
const DICTIONARY_BYTES: usize = 32_768;

fn main() {
    let place = tempfile::tempdir().unwrap();
    let names = ["body", "row"];
    for name in names {
        std::fs::create_dir(place.path().join(name)).unwrap();
    }
    let options = Options { patients: 60, seed: 7, ..Options::default() };
    let mut count = 0;
    for item in holdfast_sample::generate(&options) {
        for resource in resources(&item.bytes) {
            count += 1;
            let body = serde_json::to_vec(&resource).unwrap();
            std::fs::write(place.path().join("body").join(count.to_string()), body).unwrap();
            let entries = search::encode(&search::index(&resource));
            let row = (resource["resourceType"].as_str(), resource["id"].as_str(), entries);
            let row = postcard::to_stdvec(&(row.0.unwrap(), row.1.unwrap(), row.2)).unwrap();
            std::fs::write(place.path().join("row").join(count.to_string()), row).unwrap();
        }
    }
    println!("{count} resources");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for (number, name) in (1..).zip(names) {
        let made = Command::new("zstd")
            .args(["--train", "-r", "-q", "-T1"])
            .arg(place.path().join(name))
            .arg(format!("--maxdict={DICTIONARY_BYTES}"))
            .arg(format!("--dictID={number}"))
            .arg("-o")
            .arg(data.join(format!("{name}-{number}.zdict")))
            .status();
        assert!(made.expect("zstd is installed").success(), "{name}");
    }
}

/// What a message becomes.
fn resources(bytes: &[u8]) -> Vec<Value> {
    let settings = Settings::new(OrganizationId::new("lakeside-family").unwrap());
    let converted = match bytes.first() {
        Some(b'{') => convert_fhir(&parse_resource(bytes, Limits::default()).unwrap()),
        Some(b'<') => convert_ccda(bytes, &settings),
        _ => hl7v2::parse(bytes).ok().map_or_else(
            || convert_fhir(&Value::Null),
            |message| convert_hl7v2(&message, &settings),
        ),
    };
    let Ok(converted) = converted else { return Vec::new() };
    let patient = RequestId::random().to_string();
    let others = converted.resources.into_iter().map(|source| source.resource);
    let stored = converted.patient.into_iter().chain(others).filter_map(|mut resource| {
        holdfast_fhir::rewrite_references(&mut resource, &|url| {
            let random = RequestId::random();
            let kind = if url == PATIENT_URL { "Patient" } else { "Encounter" };
            let id = if url == PATIENT_URL { patient.clone() } else { random.to_string() };
            Some(format!("{kind}/{id}"))
        });
        let kind = resource["resourceType"].as_str()?.to_owned();
        let id = match kind.as_str() {
            "Patient" => patient.clone(),
            _ => RequestId::random().to_string(),
        };
        let mut fields = Map::new();
        fields.insert("resourceType".into(), kind.into());
        fields.insert("id".into(), id.into());
        let source = "urn:holdfast:message:1204";
        let changed = "2026-11-24T01:02:03.456Z";
        let meta = json!({ "versionId": "1", "lastUpdated": changed, "source": source });
        fields.insert("meta".into(), meta);
        let rest = resource.as_object()?.iter();
        let rest = rest.filter(|(name, _)| !["resourceType", "id", "meta"].contains(&&***name));
        fields.extend(rest.map(|(name, value)| (name.clone(), value.clone())));
        Some(Value::Object(fields))
    });
    stored.collect()
}
