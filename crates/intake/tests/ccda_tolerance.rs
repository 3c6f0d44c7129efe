//! No bytes make the C-CDA conversion panic or take for ever.
#![allow(clippy::unwrap_used)]

use holdfast_base::OrganizationId;
use holdfast_intake::{Refusal, Settings, convert_ccda};
use holdfast_sample::{Channel, Options, stream};
use proptest::prelude::*;

fn settings() -> Settings {
    Settings::new(OrganizationId::new("lakeside").unwrap())
}

fn sample() -> Vec<u8> {
    let options = Options { patients: 60, ..Options::default() };
    let items = stream(&options).items.into_iter();
    items
        .filter(|item| item.channel == Channel::Ccda)
        .max_by_key(|item| item.bytes.len())
        .unwrap()
        .bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(convert_ccda(&bytes, &settings()).is_err());
    }

    /// Attribute values are where the reading happens: numbers, dates, codes.
    #[test]
    fn documents_with_other_values_are_answered(
        values in prop::collection::vec(("[ -~é]{0,12}", 0_usize..2000), 1..40),
    ) {
        static SAMPLE: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| String::from_utf8(sample()).unwrap());
        let mut parts: Vec<String> = SAMPLE.split('"').map(str::to_owned).collect();
        for (value, place) in values {
            // Odd parts are what stands between quotes; the namespaces stay.
            let place = (((place * 2 + 9) % parts.len()) | 1).min(parts.len() - 2);
            parts[place] = value.replace(['"', '<', '&'], "");
        }
        let text = parts.join("\"");
        if let Ok(converted) = convert_ccda(text.as_bytes(), &settings()) {
            for added in &converted.resources {
                let problems = holdfast_fhir::validate(&added.resource);
                let kind = added.resource_type();
                prop_assert!(!problems.iter().any(|it| it.is_error()), "{kind}: {problems:?}");
            }
        }
    }

    #[test]
    fn damaged_documents_are_answered(
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        static SAMPLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(sample);
        let mut bytes = SAMPLE.clone();
        for (place, byte) in damages {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let _ = convert_ccda(&bytes, &settings());
    }
}

#[test]
fn a_document_that_refers_to_one_big_text_all_over_stays_bounded() {
    let text = format!("<text><content ID=\"t\">{}</content></text>", "word ".repeat(200_000));
    let entry = "<entry><observation classCode=\"OBS\" moodCode=\"EVN\"><code code=\"1-8\" \
                 codeSystem=\"2.16.840.1.113883.6.1\"><originalText><reference value=\"#t\"/>\
                 </originalText></code></observation></entry>";
    let document = format!(
        "<ClinicalDocument><recordTarget><patientRole><id root=\"1.2.3\" extension=\"1\"/>\
         </patientRole></recordTarget><component><structuredBody><component><section><code \
         code=\"30954-2\"/>{text}{}</section></component></structuredBody></component>\
         </ClinicalDocument>",
        entry.repeat(10_000)
    );
    let converted = convert_ccda(document.as_bytes(), &settings()).unwrap();
    assert_eq!(converted.resources.len(), 10_001);
    assert!(converted.issues.iter().any(|issue| issue.text.contains("more text")));
    let many = document.replace(entry, &entry.repeat(3));
    assert!(matches!(convert_ccda(many.as_bytes(), &settings()), Err(Refusal::TooLarge { .. })));
}
