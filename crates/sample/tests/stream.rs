//! Claims about whole streams, checked on what a receiver sees.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_sample::check::{loinc_is_valid, npi_is_valid};
use holdfast_sample::{
    Channel, FactKind, Item, Options, Stream, TRANSCRIPTION, Variation, community, files, stream,
};

fn sample() -> &'static Stream {
    static STREAM: std::sync::LazyLock<Stream> =
        std::sync::LazyLock::new(|| stream(&Options::default()));
    &STREAM
}

fn text(item: &Item) -> &str {
    std::str::from_utf8(&item.bytes).unwrap()
}

/// Fields of a segment by their HL7 number.
struct Segment<'a>(Vec<&'a str>);

impl<'a> Segment<'a> {
    fn name(&self) -> &'a str {
        self.0[0]
    }

    fn field(&self, number: usize) -> &'a str {
        let place = if self.name() == "MSH" { number - 1 } else { number };
        self.0.get(place).copied().unwrap_or_default()
    }

    fn component(&self, number: usize, component: usize) -> &'a str {
        self.field(number).split('^').nth(component - 1).unwrap_or_default()
    }
}

fn segments(item: &Item) -> Vec<Segment<'_>> {
    text(item).split_terminator('\r').map(|line| Segment(line.split('|').collect())).collect()
}

fn v2() -> impl Iterator<Item = (&'static Item, Vec<Segment<'static>>)> {
    sample()
        .items
        .iter()
        .filter(|item| item.channel == Channel::Hl7v2)
        .map(|item| (item, segments(item)))
}

fn is_stamp(value: &str) -> bool {
    value.len() == 19
        && value
            .bytes()
            .enumerate()
            .all(|(n, b)| if n == 14 { b == b'-' } else { b.is_ascii_digit() })
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let options = Options { patients: 25, ..Options::default() };
    assert_eq!(files(&options), files(&options));
    assert_ne!(files(&options), files(&Options { seed: 2, ..options }));
}

#[test]
fn a_smaller_community_is_the_beginning_of_a_larger_one() {
    let small = stream(&Options { patients: 20, ..Options::default() });
    let large = stream(&Options { patients: 40, ..Options::default() });
    let of = |stream: &Stream, person: u32| -> Vec<Vec<u8>> {
        stream.items.iter().filter(|i| i.person == person).map(|i| i.bytes.clone()).collect()
    };
    assert!((1..=20).all(|person| of(&small, person) == of(&large, person)));
}

#[test]
fn three_hundred_patients_give_about_three_thousand_messages_of_every_kind() {
    let stream = sample();
    let mut kinds = BTreeMap::<_, usize>::new();
    for item in &stream.items {
        *kinds.entry(item.kind).or_default() += 1;
    }
    println!("{} messages: {kinds:?}", stream.items.len());
    assert!((2_600..=3_600).contains(&stream.items.len()), "{}", stream.items.len());
    for kind in [
        "ADT^A01", "ADT^A03", "ADT^A04", "ADT^A08", "ADT^A40", "ORU^R01", "MDM^T02", "VXU^V04",
        "CCD", "Bundle",
    ] {
        assert!(kinds.get(kind).is_some_and(|&count| count >= 10), "{kind}: {kinds:?}");
    }
}

#[test]
fn messages_come_in_sending_order_through_an_interface_of_their_organization() {
    let community = community();
    assert!(sample().items.is_sorted_by_key(|item| item.at));
    let mut names = BTreeSet::new();
    for item in &sample().items {
        let organization = community.organization(item.organization).unwrap();
        let interface = organization.interface(item.channel).unwrap();
        assert_eq!(interface.principal, item.interface);
        assert!(names.insert(&item.file_name));
    }
}

#[test]
fn every_header_is_complete_and_every_control_id_unique() {
    let community = community();
    let mut controls = BTreeSet::new();
    for (item, segments) in v2() {
        let msh = &segments[0];
        assert_eq!((msh.name(), msh.field(2)), ("MSH", "^~\\&"));
        let organization = community.organization(item.organization).unwrap();
        assert_eq!(msh.component(4, 1), organization.facility);
        assert!(is_stamp(msh.field(7)));
        assert!(msh.field(9).starts_with(item.kind));
        let structure = match item.kind {
            "ADT^A01" | "ADT^A04" | "ADT^A08" => "ADT_A01",
            "ADT^A03" => "ADT_A03",
            "ADT^A40" => "ADT_A39",
            "ORU^R01" => "ORU_R01",
            "MDM^T02" => "MDM_T02",
            _ => "VXU_V04",
        };
        assert_eq!(msh.component(9, 3), structure);
        assert_eq!((msh.field(11), msh.field(12)), ("P", "2.5.1"));
        let control = msh.field(10);
        assert!(!control.is_empty() && control.len() <= 20 && controls.insert(control));
        assert!(item.bytes.ends_with(b"\r") && !item.bytes.contains(&b'\n'));
    }
}

#[test]
fn every_message_has_the_segments_of_its_structure_in_order() {
    for (item, segments) in v2() {
        let names: Vec<_> = segments.iter().map(Segment::name).collect();
        let order: &[&str] = match item.kind {
            "ADT^A40" => &["MSH", "EVN", "PID", "MRG"],
            "ORU^R01" => &["MSH", "PID", "PV1", "ORC", "OBR", "NTE", "OBX", "SPM"],
            "MDM^T02" => &["MSH", "EVN", "PID", "PV1", "TXA", "OBX"],
            "VXU^V04" => &["MSH", "PID", "ORC", "RXA", "RXR"],
            _ => &["MSH", "EVN", "PID", "PD1", "NK1", "PV1", "PV2", "AL1", "DG1"],
        };
        let optional = ["PV1", "PV2", "PD1", "NK1", "AL1", "DG1", "NTE"];
        for name in order.iter().filter(|name| !optional.contains(name)) {
            assert!(names.contains(name), "{} lacks {name}", item.kind);
        }
        if item.kind != "VXU^V04" {
            let places = names.iter().map(|name| order.iter().position(|o| o == name).unwrap());
            assert!(places.is_sorted(), "{}: {names:?}", item.kind);
        }
    }
}

#[test]
fn every_patient_segment_names_one_record_of_the_truth_table() {
    let stream = sample();
    let truth: BTreeMap<_, _> = stream
        .truth
        .iter()
        .map(|row| ((row.organization, row.record_number.as_str()), row.person))
        .collect();
    assert_eq!(truth.len(), stream.truth.len(), "record numbers are unique");
    let community = community();
    for (item, segments) in v2() {
        let pid = segments.iter().find(|segment| segment.name() == "PID").unwrap();
        let organization = community.organization(item.organization).unwrap();
        let mut repetitions = pid.field(3).split('~').map(|cx| cx.split('^').collect::<Vec<_>>());
        let record = repetitions.next().unwrap();
        assert_eq!(record[3], format!("{}&{}&ISO", organization.facility, organization.oid));
        assert_eq!(record[4], "MR");
        assert_eq!(truth.get(&(item.organization, record[0])), Some(&item.person));
        if let Some(ssn) = repetitions.next() {
            assert_eq!((ssn[4], ssn[0].len()), ("SS", 11));
        }
        assert!(!pid.component(5, 1).is_empty() && !pid.component(5, 2).is_empty());
        assert!(pid.field(7).len() == 8 && pid.field(7).parse::<u32>().is_ok());
        assert!(["F", "M"].contains(&pid.field(8)));
        assert_eq!(pid.component(10, 3), "CDCREC");
        assert_eq!(pid.component(11, 4).len(), 2);
        assert_eq!(pid.component(11, 5).len(), 5);
        assert!(pid.field(13).contains("555"));
        assert_eq!(pid.component(22, 3), "CDCREC");
        assert!(pid.field(19).is_empty() || pid.field(19).starts_with('9'));
    }
}

#[test]
fn visits_orders_results_documents_and_vaccines_stand_in_their_fields() {
    for (_, segments) in v2() {
        for segment in &segments {
            let npi = |field: usize| npi_is_valid(segment.component(field, 1));
            match segment.name() {
                "PV1" => {
                    assert!(["O", "I", "E"].contains(&segment.field(2)));
                    assert!(npi(7) && segment.field(3).contains('^'));
                    assert!(segment.field(19).ends_with("^VN") && is_stamp(segment.field(44)));
                }
                "OBR" => {
                    assert!(!segment.field(2).is_empty() && !segment.field(3).is_empty());
                    assert!(loinc_is_valid(segment.component(4, 1)) && npi(16));
                    assert!(is_stamp(segment.field(7)) && is_stamp(segment.field(22)));
                    assert!(segment.field(7) < segment.field(22) && segment.field(25) == "F");
                }
                "OBX" => {
                    assert!(loinc_is_valid(segment.component(3, 1)), "{}", segment.field(3));
                    assert_eq!((segment.component(3, 3), segment.field(11)), ("LN", "F"));
                    assert!(is_stamp(segment.field(14)));
                    if segment.field(2) == "NM" {
                        assert!(segment.field(5).parse::<f64>().is_ok());
                        assert_eq!(segment.component(6, 3), "UCUM");
                        assert_eq!(segment.field(7).is_empty(), segment.field(8).is_empty());
                    } else {
                        assert_eq!(segment.field(2), "FT");
                    }
                }
                "TXA" => {
                    assert!(npi(5) && npi(9) && is_stamp(segment.field(4)));
                    assert!(!segment.component(12, 1).is_empty());
                    assert!(["AU", "DO"].contains(&segment.field(17)));
                }
                "RXA" => assert_eq!(segment.component(5, 3), "CVX"),
                "RXR" => assert_eq!(segment.component(1, 3), "NCIT"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_discharge_has_its_time_and_comes_after_the_admission() {
    for (_, segments) in v2().filter(|(item, _)| item.kind == "ADT^A03") {
        let visit = segments.iter().find(|segment| segment.name() == "PV1").unwrap();
        assert!(is_stamp(visit.field(45)) && visit.field(44) < visit.field(45));
    }
}

#[test]
fn a_merge_retires_a_record_that_was_registered_before() {
    let mut seen = BTreeSet::new();
    for (item, segments) in v2() {
        let number = |name: &str, field: usize| {
            let segment = segments.iter().find(|segment| segment.name() == name).unwrap();
            (item.organization, segment.component(field, 1))
        };
        if item.kind == "ADT^A40" {
            assert!(seen.contains(&number("MRG", 1)) && seen.contains(&number("PID", 3)));
            assert_ne!(number("MRG", 1), number("PID", 3));
        }
        seen.insert(number("PID", 3));
    }
}

#[test]
fn persons_are_known_to_one_to_four_organizations_with_variation() {
    let mut known = BTreeMap::<u32, BTreeSet<_>>::new();
    let mut varied = BTreeMap::<Variation, usize>::new();
    for row in &sample().truth {
        known.entry(row.person).or_default().insert(row.organization);
        row.variations.iter().for_each(|&variation| *varied.entry(variation).or_default() += 1);
    }
    assert_eq!(known.len(), 300);
    assert!(known.values().all(|organizations| (1..=4).contains(&organizations.len())));
    let several = known.values().filter(|organizations| organizations.len() > 1).count();
    assert!(several > 200, "{several} of 300 at several organizations");
    let registrations = sample().truth.len() as f64;
    println!("{registrations} registrations, {varied:?}");
    let rate = |variation| *varied.get(&variation).unwrap_or(&0) as f64 / registrations;
    for (variation, low, high) in [
        (Variation::Nickname, 0.06, 0.18),
        (Variation::FormerAddress, 0.04, 0.18),
        (Variation::SsnMissing, 0.35, 0.65),
        (Variation::MiddleMissing, 0.25, 0.45),
        (Variation::FamilyTypo, 0.01, 0.07),
        (Variation::BirthSwapped, 0.002, 0.04),
        (Variation::MaidenName, 0.002, 0.06),
    ] {
        assert!((low..=high).contains(&rate(variation)), "{variation:?} {}", rate(variation));
    }
}

#[test]
fn residents_live_mostly_in_indiana_and_some_in_california_and_massachusetts() {
    let mut states = BTreeMap::<&str, BTreeSet<u32>>::new();
    for (item, segments) in v2() {
        let pid = segments.iter().find(|segment| segment.name() == "PID").unwrap();
        states.entry(pid.component(11, 4)).or_default().insert(item.person);
    }
    let count = |state: &str| states.get(state).map_or(0, BTreeSet::len);
    assert!(count("IN") > 180 && count("CA") >= 8 && count("MA") >= 8, "{states:?}");
}

#[test]
fn bundles_refer_only_to_themselves_and_can_be_sent_again() {
    for item in sample().items.iter().filter(|item| item.kind == "Bundle") {
        let bundle: serde_json::Value = serde_json::from_slice(&item.bytes).unwrap();
        assert_eq!(bundle["type"], "transaction");
        let entries = bundle["entry"].as_array().unwrap();
        let urls: BTreeSet<_> = entries.iter().map(|e| e["fullUrl"].as_str().unwrap()).collect();
        assert_eq!(urls.len(), entries.len());
        let mut conditions = BTreeSet::new();
        for entry in entries {
            let condition = entry["request"]["ifNoneExist"].as_str().unwrap();
            assert!(condition.starts_with("identifier=") && condition.contains('|'));
            let kind = entry["resource"]["resourceType"].as_str().unwrap();
            assert_eq!(entry["request"]["url"], kind);
            assert!(conditions.insert((kind, condition)));
            for field in ["subject", "encounter"] {
                if let Some(reference) = entry["resource"][field]["reference"].as_str() {
                    assert!(urls.contains(reference));
                }
            }
        }
    }
}

#[test]
fn facts_stand_in_the_messages_and_tell_nothing_of_the_community() {
    let stream = stream(&Options { patients: 12, ..Options::default() });
    let mut all = String::new();
    for item in &stream.items {
        all.push_str(&text(item).replace("\\T\\", "&"));
    }
    let mut kinds = BTreeMap::<FactKind, (usize, usize)>::new();
    for fact in &stream.facts {
        assert!(fact.text.len() >= 5);
        let count = kinds.entry(fact.kind).or_default();
        count.0 += 1;
        count.1 += usize::from(all.contains(&fact.text));
    }
    println!("{kinds:?}");
    assert_eq!(kinds.len(), 9);
    for kind in
        [FactKind::Email, FactKind::RecordNumber, FactKind::Address, FactKind::ReportSentence]
    {
        let (made, found) = kinds[&kind];
        assert!(found * 100 >= made * 90, "{kind:?}: {found} of {made} in the messages");
    }
    // A search for a patient must not find a member of staff or an organization.
    let community = community();
    let mut words = String::new();
    for member in &community.staff {
        words += &format!("{} {} {}\n", member.login, member.given, member.family);
    }
    for organization in &community.organizations {
        words += &format!("{organization:?}\n");
    }
    for fact in sample().facts.iter().filter(|fact| fact.kind == FactKind::Name) {
        assert!(!words.contains(&fact.text), "{} is also a word of the community", fact.text);
    }
}

#[test]
fn reports_are_varied() {
    let mut sentences = BTreeSet::new();
    let mut count = 0;
    for (item, segments) in v2().filter(|(item, _)| item.kind == "MDM^T02") {
        assert_eq!(item.organization, TRANSCRIPTION);
        let words: usize = segments
            .iter()
            .filter(|s| s.name() == "OBX")
            .map(|s| s.field(5).split(' ').count())
            .sum();
        assert!(words > 40, "{words} words");
        sentences.insert(text(item).split("OBX|2|").nth(1).unwrap().to_owned());
        count += 1;
    }
    assert!(count > 60 && sentences.len() == count, "{} of {count}", sentences.len());
}

#[test]
fn a_clean_stream_has_no_fault_and_a_faulty_one_says_what_was_damaged() {
    assert!(sample().items.iter().all(|item| item.fault.is_none()));
    let options = Options { patients: 60, faults_per_mille: 50, ..Options::default() };
    let damaged = stream(&options);
    let clean = stream(&Options { faults_per_mille: 0, ..options });
    let mut count = 0;
    for (bad, good) in damaged.items.iter().zip(&clean.items) {
        assert_eq!(bad.fault.is_some(), bad.bytes != good.bytes);
        count += usize::from(bad.fault.is_some());
    }
    assert!(count > 10, "{count}");
}

#[test]
fn files_carry_the_truth() {
    let files = files(&Options { patients: 10, ..Options::default() });
    let truth = files.iter().find(|(path, _)| path == "truth.csv").unwrap();
    assert!(truth.1.starts_with(b"person,organization,record_number"));
    assert!(files.iter().all(|(path, _)| !path.starts_with('/') && !path.contains("..")));
}
