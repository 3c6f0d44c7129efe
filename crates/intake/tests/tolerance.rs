//! Whatever comes in: nothing panics, nothing is changed, nothing hangs.
#![allow(clippy::unwrap_used)]

use holdfast_base::{OrganizationId, Timestamp};
use holdfast_intake::hl7v2::{self, AckCode};
use holdfast_intake::{Settings, convert_fhir, convert_hl7v2, detect, pan};
use proptest::prelude::*;

fn settings() -> Settings {
    Settings::new(OrganizationId::new("any").unwrap())
}

fn through(bytes: &[u8]) {
    detect(bytes);
    pan::mask(bytes);
    let ack = hl7v2::acknowledge(bytes, AckCode::AE, &[], "1", Timestamp::MIN);
    assert!(hl7v2::parse(&ack).is_ok());
    for part in hl7v2::split(bytes) {
        if let Ok(message) = hl7v2::parse(&part) {
            let _ = convert_hl7v2(&message, &settings());
        }
    }
}

/// Segments of believable shape with hostile content.
fn segment() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "PID", "PD1", "MRG", "NK1", "PV1", "PV2", "ORC", "OBR", "OBX", "NTE", "SPM", "RXA", "RXR",
        "TXA", "AL1", "IAM", "DG1", "PRB", "PR1", "EVN", "ZZZ", "MSH", "text",
    ]);
    let piece = prop_oneof![
        Just("1".to_owned()),
        Just("NM".to_owned()),
        Just("ED".to_owned()),
        Just("SN".to_owned()),
        Just("20150526073015.5-0400".to_owned()),
        Just("x^y&z^^A&1.2.3&ISO^SS~p\\T\\q\\X41\\".to_owned()),
        Just("\"\"".to_owned()),
        "[A-Za-z0-9^~&\\\\ .<>=é-]{0,12}",
    ];
    (name, prop::collection::vec(piece, 0..30))
        .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")))
}

proptest! {
    #[test]
    fn no_bytes_make_anything_panic(bytes: Vec<u8>) {
        through(&bytes);
        let mut message = b"MSH|^~\\&|".to_vec();
        message.extend_from_slice(&bytes);
        through(&message);
    }

    #[test]
    fn no_message_makes_anything_panic(
        kind in prop::sample::select(vec!["ADT^A01", "ADT^A40", "ORU^R01", "MDM^T10", "VXU^V04", "ORM^O01", "PPR^PC1"]),
        segments in prop::collection::vec(segment(), 0..12),
    ) {
        let rest = segments.join("\r");
        let text = format!("MSH|^~\\&|a|b|c|d|20150526||{kind}|1|P|2.5\rPID|1||7^^^A^MR||D^J\r{rest}\r");
        through(text.as_bytes());
        let message = hl7v2::parse(text.as_bytes()).unwrap();
        if let Ok(converted) = convert_hl7v2(&message, &settings()) {
            let mut keys: Vec<_> = converted.resources.iter().filter_map(|one| one.natural_key.clone()).collect();
            let count = keys.len();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), count, "two resources have one natural key");
        }
    }

    #[test]
    fn rendering_gives_back_the_bytes_and_the_parts_make_the_whole(
        segments in prop::collection::vec(segment(), 0..8),
        end in prop::sample::select(vec!["\r", "\n", "\r\n", "\r\r\n"]),
    ) {
        let text = format!("MSH|^~\\&|a|b{end}{}{end}", segments.join(end));
        let message = hl7v2::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(message.render(), text.as_bytes());
        let mut seen = 0;
        for segment in message.segments() {
            // The segments, in order, are slices of the message.
            let raw = segment.raw();
            let place = text.as_bytes().get(seen..).unwrap().windows(raw.len()).position(|window| window == raw);
            seen += place.expect("in order") + raw.len();
            let first = if segment.name() == "MSH" { 2 } else { 1 };
            let mut whole = segment.name().as_bytes().to_vec();
            for number in first..first + segment.fields_count() {
                whole.push(b'|');
                let field = segment.field(number);
                let repetitions: Vec<&[u8]> = field.repetitions().map(|part| part.raw()).collect();
                if number == 2 && first == 2 {
                    whole.extend_from_slice(field.raw());
                } else {
                    whole.extend_from_slice(&repetitions.join(&b'~'));
                }
            }
            prop_assert_eq!(whole, raw);
        }
    }

    #[test]
    fn no_json_makes_the_bundle_reader_panic(text in "[{}\\[\\]\":,a-zA-Z0-9]{0,60}") {
        if let Ok(value) = serde_json::from_str(&text) {
            let _ = convert_fhir(&value);
        }
    }
}

#[test]
fn a_hostile_message_is_done_with_in_time() {
    let names = "N^n~".repeat(200_000);
    let results = "OBX|1|NM|^^||x~y||||||Q\r".repeat(40_000);
    let text = format!("MSH|^~\\&|a|b|c|d|||ORU^R01|1|P|2.5\rPID|1||7||{names}\rOBR|1\r{results}");
    let started = std::time::Instant::now();
    through(text.as_bytes());
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn charsets_are_those_that_msh_18_names() {
    let check = |charset: &str, bytes: &[u8], expected: &str| {
        let mut message =
            format!("MSH|^~\\&|a|b|c|d|||ADT^A08|1|P|2.5||||||{charset}\rPID|1||7||").into_bytes();
        message.extend_from_slice(bytes);
        let message = hl7v2::parse(&message).unwrap();
        let name = message.segment("PID").unwrap().field(5).value().unwrap();
        assert_eq!(name, expected, "{charset}");
    };
    check("8859/1", b"M\xFCller", "Müller");
    check("", b"M\xFCller", "Müller");
    check("", "Müller".as_bytes(), "Müller");
    check("UNICODE UTF-8", "Müller".as_bytes(), "Müller");
    check("8859/5", b"\xB8\xDB\xEC\xEF", "Илья");
    // In GB 18030 a delimiter may be the second byte of a character.
    check("GB 18030-2000", b"\x81\x5E\x81\x7C", "乛亅");
}
