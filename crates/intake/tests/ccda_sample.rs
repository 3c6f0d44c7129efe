//! The documents of our sample community convert completely.
#![allow(clippy::unwrap_used)]

use holdfast_base::OrganizationId;
use holdfast_fhir::Severity;
use holdfast_intake::{Settings, convert_ccda, convert_hl7v2, hl7v2};
use holdfast_sample::{Channel, Options, stream};

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn every_entry_of_every_sample_document_becomes_a_resource() {
    let options = Options { patients: 60, ..Options::default() };
    let mut documents = 0;
    for item in stream(&options).items {
        if item.channel != Channel::Ccda {
            continue;
        }
        documents += 1;
        let settings = Settings::new(OrganizationId::new(item.organization).unwrap());
        let converted = convert_ccda(&item.bytes, &settings).unwrap();
        let text = String::from_utf8(item.bytes.clone()).unwrap();
        let of = |kind: &str| {
            converted.resources.iter().filter(|added| added.resource_type() == kind).count()
        };
        assert_eq!(of("DocumentReference"), 1);
        assert_eq!(of("Encounter"), 1);
        assert_eq!(of("AllergyIntolerance"), count(&text, "20.22.4.7\""));
        assert_eq!(of("MedicationRequest"), count(&text, "20.22.4.16\""));
        assert_eq!(of("Condition"), count(&text, "20.22.4.4\""));
        assert_eq!(of("DiagnosticReport"), count(&text, "20.22.4.1\""));
        // Two pressures are one observation, and the panel is one.
        let measured = count(&text, "20.22.4.2\"") + count(&text, "20.22.4.27\"");
        assert_eq!(of("Observation"), measured);
        assert!(of("Practitioner") >= 1);
        let patient = converted.patient.as_ref().unwrap();
        for member in ["identifier", "name", "birthDate", "gender", "address", "telecom"] {
            assert!(patient.get(member).is_some(), "{member}");
        }
        for issue in &converted.issues {
            assert_eq!(issue.text, "a section of text alone is kept in the original");
        }
        for resource in converted.resources.iter().map(|added| &added.resource).chain([patient]) {
            let problems = holdfast_fhir::validate(resource);
            let bad = |severity| matches!(severity, Severity::Fatal | Severity::Error);
            assert!(!problems.iter().any(|problem| bad(problem.severity)), "{problems:?}");
        }
    }
    assert!(documents > 0);
}

/// A person's record number and the clinicians have one name each, whatever
/// channel they come through.
#[test]
fn documents_and_messages_of_one_sender_name_people_alike() {
    let options = Options { patients: 60, ..Options::default() };
    let mut documents = std::collections::BTreeSet::new();
    let mut messages = std::collections::BTreeSet::new();
    for item in stream(&options).items {
        let settings = Settings::new(OrganizationId::new(item.organization).unwrap());
        let (converted, names) = match item.channel {
            Channel::Ccda => (convert_ccda(&item.bytes, &settings).unwrap(), &mut documents),
            Channel::Hl7v2 => {
                let message = hl7v2::parse(&item.bytes).unwrap();
                (convert_hl7v2(&message, &settings).unwrap(), &mut messages)
            }
            Channel::Fhir => continue,
        };
        let identifier = &converted.patient.as_ref().unwrap()["identifier"][0];
        names.insert((
            item.person,
            identifier["system"].to_string(),
            identifier["value"].to_string(),
        ));
    }
    let known = documents.iter().filter(|name| messages.contains(*name)).count();
    println!("{known} of {} record numbers occur in messages too", documents.len());
    assert!(known * 2 > documents.len(), "{:?}", documents.iter().next());
}
