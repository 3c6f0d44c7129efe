//! Every C-CDA document of the public corpora (`<workspace>/../shared/corpora`)
//! goes through: converted to valid R4, or refused for a reason. None may panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{check, corpora, files, keys, settings};
use holdfast_intake::{Format, convert_ccda, detect};

#[test]
fn every_document_is_converted_to_valid_resources_or_refused_for_a_reason() {
    let Some(folder) = corpora("ccda") else { return };
    let mut outcomes: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    let mut issues: BTreeMap<String, usize> = BTreeMap::new();
    let mut invalid = Vec::new();
    let mut fragments = 0;
    for path in &files(&folder, &["xml"]) {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let set = name.split('/').next().unwrap().to_owned();
        let bytes = std::fs::read(path).unwrap();
        let outcome = convert_ccda(&bytes, &settings());
        if detect(&bytes) != Some(Format::Ccda) {
            // Sections and entries without a document around them.
            assert!(outcome.is_err(), "{name}");
            fragments += 1;
            continue;
        }
        let what = match &outcome {
            Ok(converted) => {
                check(converted, &name, &mut invalid);
                let again = convert_ccda(&bytes, &settings()).unwrap();
                assert_eq!(keys(converted), keys(&again), "{name}");
                for added in &converted.resources {
                    *types.entry(added.resource_type().to_owned()).or_default() += 1;
                }
                for issue in &converted.issues {
                    let text = issue.text.split('(').next().unwrap().to_owned();
                    *issues.entry(text).or_default() += 1;
                }
                "converted".to_owned()
            }
            Err(refusal) => format!("{refusal} [{name}]"),
        };
        *outcomes.entry(set).or_default().entry(what).or_default() += 1;
    }
    println!("{outcomes:#?}\n{types:#?}\n{issues:#?}\n{fragments} fragments skipped");
    assert!(
        invalid.is_empty(),
        "{} are not valid R4: {:#?}",
        invalid.len(),
        &invalid[..invalid.len().min(60)]
    );
    for (set, least) in [("vendors", 53), ("onc", 18), ("synthea", 3), ("microsoft", 14)] {
        let of_set = &outcomes[set];
        // What is refused names no patient; nothing in these sets is malformed.
        let reasons = of_set.keys().filter(|what| *what != "converted");
        let mut others = reasons.filter(|what| !what.starts_with("required patient identifier"));
        assert_eq!(others.next(), None, "{set}");
        assert!(of_set["converted"] >= least, "{set}: {of_set:#?}");
    }
}
