//! Every message of the public corpora (`<workspace>/../shared/corpora`) goes
//! through: split, parsed, rendered, acknowledged, converted. None may panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{check, corpora, files, keys, settings};
use holdfast_base::Timestamp;
use holdfast_intake::hl7v2::{self, AckCode};
use holdfast_intake::{Refusal, convert_hl7v2, mllp};

/// The messages of a file, taken out of MLLP frames where it has them.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    if bytes.contains(&0x0B) {
        let mut decoder = mllp::Decoder::default();
        decoder.feed(bytes);
        payloads.extend(std::iter::from_fn(|| decoder.next()).filter_map(Result::ok));
        payloads.extend(decoder.next_without_return());
    } else {
        payloads.push(bytes.to_vec());
    }
    let split = |payload: &Vec<u8>| -> Vec<Vec<u8>> {
        hl7v2::split(payload).iter().map(|part| part.to_vec()).collect()
    };
    payloads.iter().flat_map(split).collect()
}

#[test]
fn every_file_is_read_and_converted_or_refused_for_a_reason() {
    let Some(folder) = corpora("hl7v2") else { return };
    let mut outcomes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut invalid = Vec::new();
    for path in &files(&folder, &["hl7", "txt", "bin"]) {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let set = name.split('/').next().unwrap().to_owned();
        let bytes = std::fs::read(path).unwrap();
        let mut count = |what: &str| {
            *outcomes.entry(set.clone()).or_default().entry(what.to_owned()).or_default() += 1;
        };
        for bytes in messages(&bytes) {
            let ack = hl7v2::acknowledge(&bytes, AckCode::AA, &[], "1", Timestamp::MIN);
            let message = match hl7v2::parse(&bytes) {
                Ok(message) => message,
                Err(error) => {
                    count(&format!("unreadable: {error}"));
                    continue;
                }
            };
            let back = hl7v2::parse(&ack).unwrap();
            assert_eq!(back.header(5).raw(), message.header(3).raw(), "{name}");
            match convert_hl7v2(&message, &settings()) {
                Ok(converted) => {
                    check(&converted, &name, &mut invalid);
                    let again = convert_hl7v2(&message, &settings()).unwrap();
                    assert_eq!(keys(&converted), keys(&again), "{name}");
                    count("converted");
                }
                Err(Refusal::Missing { what, .. }) => count(&format!("no {what}")),
                Err(refusal) => count(&refusal.to_string()),
            }
        }
    }
    println!("{outcomes:#?}");
    assert!(
        invalid.is_empty(),
        "{} are not valid R4: {:#?}",
        invalid.len(),
        &invalid[..invalid.len().min(40)]
    );
    // One message a mapping rule, most without any patient identifier.
    outcomes.remove("reportstream-mapping");
    let total: usize = outcomes.values().flat_map(BTreeMap::values).sum();
    let converted: usize = outcomes.values().filter_map(|set| set.get("converted")).sum();
    assert!(total > 300 && converted * 100 / total >= 90, "{converted} of {total}");
}
