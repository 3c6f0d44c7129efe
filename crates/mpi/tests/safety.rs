//! Who must never be merged, who should be linked, and what an index keeps.
mod support;

use holdfast_base::{PatientId, PersonId};
use holdfast_mpi::{
    Band, Decision, FIELDS, Index, PatientRef, Placement, Weights, WeightsError, blocking_keys,
    compare, place,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::person::{known, patient, ssn, with};

fn decide(a: &Value, b: &Value) -> Decision {
    compare(&known(a), &known(b), &Weights::default())
}

fn check(a: &Value, b: &Value, band: Band, why: &str) {
    let decision = decide(a, b);
    assert_eq!(
        decision.band, band,
        "{why}: {:.1} bits, {:?}",
        decision.score, decision.explanation
    );
    assert_eq!(decide(b, a), decision, "{why}: symmetric");
}

#[test]
fn twins_are_never_linked() {
    let ann =
        with(patient(&["Ann", "Marie"], "Okafor", "1990-04-02"), "identifier", ssn("900121111"));
    let others = [
        patient(&["Beth"], "Okafor", "1990-04-02"),
        patient(&["Beth", "Marie"], "Okafor", "1990-04-02"),
        with(patient(&["Beth"], "Okafor", "1990-04-02"), "identifier", ssn("900121112")),
        with(patient(&["Ann", "Rose"], "Okafor", "1990-04-02"), "identifier", ssn("900127777")),
    ];
    let (jayden, kayden) = (
        with(patient(&["Jayden"], "Okafor", "1990-04-02"), "identifier", ssn("900121111")),
        with(patient(&["Kayden"], "Okafor", "1990-04-02"), "identifier", ssn("900121112")),
    );
    check(&jayden, &kayden, Band::Review, "twins with consecutive numbers");
    let email = json!([{ "system": "email", "value": "grace.okafor@example.com" }]);
    let shared = |given| with(patient(&[given], "Okafor", "1990-04-02"), "telecom", email.clone());
    check(&shared("Jayden"), &shared("Kayden"), Band::Review, "twins with a parent's e-mail");
    for twin in &others {
        assert_ne!(decide(&ann, twin).band, Band::Link, "{:?}", decide(&ann, twin));
    }
    let alike = [
        (
            patient(&["Jayden"], "Okafor", "1990-04-02"),
            patient(&["Kayden"], "Okafor", "1990-04-02"),
        ),
        (patient(&["Maria"], "Lopez", "1990-04-02"), patient(&["Mariah"], "Lopez", "1990-04-02")),
    ];
    for (a, b) in &alike {
        check(a, b, Band::Review, "twins whose names look alike");
    }
}

#[test]
fn a_household_is_no_person() {
    let mother = patient(&["Grace"], "Okafor", "1960-01-20");
    let daughter = patient(&["Ann"], "Okafor", "1990-04-02");
    let husband = with(patient(&["Peter"], "Okafor", "1958-11-03"), "gender", json!("male"));
    check(&mother, &daughter, Band::None, "mother and daughter");
    check(&mother, &husband, Band::None, "a couple");
    let policy = json!([{
        "type": { "coding": [{ "code": "MB" }] }, "system": "urn:insurer", "value": "H-1",
    }]);
    let (a, b) = (with(mother, "identifier", policy.clone()), with(daughter, "identifier", policy));
    check(&a, &b, Band::None, "one insurance policy for both");
}

#[test]
fn father_and_son_of_one_name_are_not_linked() {
    let father = patient(&["John"], "Okafor", "1950-03-09");
    let son = patient(&["John"], "Okafor", "1981-07-22");
    assert_ne!(decide(&father, &son).band, Band::Link);
    let unknown_birth = with(father.clone(), "birthDate", Value::Null);
    assert_ne!(decide(&unknown_birth, &son).band, Band::Link, "the same name and home alone");
    let suffixed = |suffix| {
        let name = json!([{ "family": "Okafor", "given": ["John"], "suffix": [suffix] }]);
        with(father.clone(), "name", name)
    };
    assert_ne!(decide(&suffixed("Jr."), &suffixed("Sr")).band, Band::Link);
    assert_eq!(decide(&suffixed("Jr."), &suffixed("Junior")).band, Band::Link);
}

#[test]
fn two_strangers_with_a_common_name_and_birthday_are_not_linked() {
    let here = patient(&["John"], "Smith", "1970-05-05");
    let mut there = with(here.clone(), "telecom", json!([]));
    there["address"] = json!([{ "line": ["9 Elm"], "city": "Gary", "postalCode": "46401" }]);
    check(&here, &there, Band::Review, "elsewhere");
}

#[test]
fn variations_of_one_person_are_linked() {
    let base = with(
        patient(&["Elizabeth", "Jane"], "Okafor", "1972-03-11"),
        "identifier",
        ssn("900-12-3456"),
    );
    let name = |family: &str, given: &[&str]| json!([{ "family": family, "given": given }]);
    let mut moved = base.clone();
    moved["address"] = json!([{ "line": ["7 Elm Rd"], "city": "Gary", "postalCode": "46401" }]);
    moved["telecom"] = json!([{ "system": "phone", "value": "219-555-0177" }]);
    let masked = with(base.clone(), "identifier", ssn("***-**-3456"));
    for (why, variation) in [
        ("a nickname", with(base.clone(), "name", name("OKAFOR", &["Liz"]))),
        (
            "an accent and a middle initial",
            with(base.clone(), "name", name("Òkafor", &["Elizabeth", "J."])),
        ),
        ("a typing error", with(base.clone(), "name", name("Okafro", &["Elizabteh"]))),
        ("swapped names", with(base.clone(), "name", name("Elizabeth", &["Okafor"]))),
        ("a new family name", with(base.clone(), "name", name("Brandt", &["Elizabeth"]))),
        ("a double name", with(base.clone(), "name", name("Okafor-Brandt", &["Elizabeth"]))),
        ("a swapped date", with(base.clone(), "birthDate", json!("1972-11-03"))),
        ("a wrong digit in the date", with(base.clone(), "birthDate", json!("1972-03-14"))),
        ("a masked number", masked),
        ("no number", with(base.clone(), "identifier", json!([]))),
        ("a placeholder for a number", with(base.clone(), "identifier", ssn("999-99-9999"))),
        ("a wrong digit in the number", with(base.clone(), "identifier", ssn("900-12-3466"))),
        ("a move", moved),
        ("a name as text", with(base.clone(), "name", json!([{ "text": "Elizabeth J Okafor" }]))),
        ("no sex", with(base.clone(), "gender", json!("unknown"))),
    ] {
        check(&base, &variation, Band::Link, why);
    }
}

#[test]
fn a_newborn_without_a_name_waits_for_review() {
    let baby = patient(&["Baby Girl"], "Okafor", "2020-01-05");
    let named = patient(&["Ann"], "Okafor", "2020-01-05");
    assert!(known(&baby).given.is_empty());
    assert_ne!(decide(&baby, &named).band, Band::Link);
}

#[test]
fn the_explanation_adds_up_to_the_score() {
    let a = patient(&["Ann", "Marie"], "Okafor", "1990-04-02");
    let b = with(patient(&["Anna", "M"], "Okafor", "1990-02-04"), "identifier", ssn("900121111"));
    let decision = decide(&a, &b);
    let sum: f64 = decision.explanation.iter().map(|(_, _, bits)| bits).sum();
    assert!((sum - decision.score).abs() < 1e-9);
    assert_eq!(decision.explanation[0], ("given name", "nickname", decision.explanation[0].2));
}

fn organization_record(n: u8) -> PatientRef {
    let organization = format!("org-{n}").parse().expect("an organization id");
    PatientRef { organization, patient: PatientId::from_bytes([n; 16]) }
}

#[test]
fn arrivals_are_linked_reviewed_or_new() {
    let mut index = Index::new(Weights::default());
    let (ann, beth) = (PersonId::from_bytes([1; 16]), PersonId::from_bytes([2; 16]));
    let record = known(&patient(&["Ann"], "Okafor", "1990-04-02"));
    assert_eq!(place(&index, &record), Placement::New);
    index.add(organization_record(1), ann, record.clone());
    let Placement::Link { person, decision } = place(&index, &record) else { panic!("a link") };
    assert_eq!((person, decision.band), (ann, Band::Link));

    let twin = known(&patient(&["Beth"], "Okafor", "1990-04-02"));
    let Placement::Review { candidates } = place(&index, &twin) else { panic!("a review") };
    assert_eq!(candidates[0].0, ann);
    index.add(organization_record(2), beth, twin.clone());
    assert!(matches!(place(&index, &twin), Placement::Link { person, .. } if person == beth));

    // The same record for two persons: nobody can tell which.
    index.add(organization_record(3), beth, record.clone());
    let Placement::Review { candidates } = place(&index, &record) else { panic!("a review") };
    assert_eq!(candidates.len(), 2);
}

#[test]
fn a_link_never_chains_to_who_contradicts() {
    let mut index = Index::new(Weights::default());
    let person = PersonId::from_bytes([1; 16]);
    let number = |value| ssn(value);
    let father =
        with(patient(&["John"], "Okafor", "1950-03-09"), "identifier", number("900121111"));
    let blurred = with(father.clone(), "birthDate", Value::Null);
    let son = with(patient(&["John"], "Okafor", "1981-07-22"), "identifier", number("900121111"));
    index.add(organization_record(1), person, known(&blurred));
    assert!(
        matches!(place(&index, &known(&son)), Placement::Link { .. }),
        "a wrong number, unseen"
    );
    let mut other = with(father.clone(), "identifier", json!([]));
    other["birthDate"] = json!("1950-03-09");
    index.add(organization_record(2), person, known(&other));
    assert!(matches!(place(&index, &known(&son)), Placement::Review { .. }), "seen by the chain");
}

#[test]
fn an_index_forgets_what_is_removed_and_keeps_what_is_moved() {
    let mut index = Index::new(Weights::default());
    let (one, two) = (PersonId::from_bytes([1; 16]), PersonId::from_bytes([2; 16]));
    let record = known(&patient(&["Ann"], "Okafor", "1990-04-02"));
    let reference = organization_record(1);
    index.add(reference.clone(), one, record.clone());
    index.add(reference.clone(), one, record.clone());
    assert_eq!((index.len(), index.candidates(&record)), (1, vec![reference.clone()]));
    assert!(index.set_person(&reference, two));
    assert_eq!(index.person(&reference), Some(two));
    assert_eq!((index.records_of(&one).len(), index.records_of(&two).len()), (0, 1));
    let other = known(&patient(&["Zoe"], "Quill", "1933-09-30"));
    let moved = with(patient(&["Zoe"], "Quill", "1933-09-30"), "telecom", json!([]));
    let moved = known(&with(moved, "address", json!([])));
    assert!(index.update(&reference, moved));
    assert_eq!(index.candidates(&record), vec![]);
    assert_eq!(index.candidates(&other), vec![reference.clone()]);
    assert!(index.remove(&reference).is_some());
    assert!(index.is_empty() && index.candidates(&other).is_empty());
    assert!(!index.update(&reference, other.clone()) && !index.set_person(&reference, one));
    index.add(organization_record(2), one, other.clone());
    assert_eq!(index.candidates(&other), vec![organization_record(2)], "the place is used again");
}

#[test]
fn features_are_compact_and_hold_nothing_readable() {
    let mut record = with(
        patient(&["Wilhelmina", "Josephine"], "Vandersloot", "1957-08-23"),
        "identifier",
        ssn("900-12-3456"),
    );
    record["telecom"] = json!([
        { "system": "phone", "value": "(260) 555-0134" },
        { "system": "email", "value": "wilhelmina@example.com" },
    ]);
    let features = known(&record);
    let bytes = postcard::to_stdvec(&features).expect("encodes");
    assert!(bytes.len() < 700, "{} bytes", bytes.len());
    assert_eq!(postcard::from_bytes::<holdfast_mpi::Features>(&bytes).expect("decodes"), features);
    let text = format!("{features:?} {}", serde_json::to_string(&features).expect("encodes"));
    for value in
        ["ilhelmina", "andersloot", "1957", "123456", "example.com", "5550134", "Oak", "46802"]
    {
        assert!(!text.to_lowercase().contains(&value.to_lowercase()), "{value}");
        assert!(!bytes.windows(value.len()).any(|window| window == value.as_bytes()), "{value}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    assert_eq!(Weights::from_toml("prior ="), Err(WeightsError::Malformed));
    let mut weights = Weights::default();
    assert_eq!(weights.fields.len(), FIELDS.len());
    let text = |w: &Weights| toml::to_string(w).expect("encodes");
    assert_eq!(Weights::from_toml(&text(&weights)), Ok(weights.clone()));
    weights.prior = 1.0;
    assert_eq!(Weights::from_toml(&text(&weights)), Err(WeightsError::OutOfRange));
    weights.prior = 0.5;
    weights.fields[2].levels.pop();
    let field = "birth date";
    assert_eq!(Weights::from_toml(&text(&weights)), Err(WeightsError::OtherFields { field }));
}

/// Patients from few values, so that they meet often; sometimes with nonsense.
fn any_patient() -> impl Strategy<Value = Value> {
    let given =
        prop::sample::select(vec!["Ann", "Anna", "Beth", "Baby Boy", "A", "", "Okafor", "李"]);
    let family = prop::sample::select(vec!["Okafor", "Smith", "Okafor-Smith", "Ann", "Jr", ""]);
    let birth = prop::sample::select(vec![
        "1990-04-02",
        "1990-02-04",
        "1990",
        "1990-04",
        "1961-01-01",
        "31.12.1999",
        "",
        "1990-13-40",
    ]);
    let number = prop::sample::select(vec!["900121111", "900121112", "1111", "000000000", "", "x"]);
    let line =
        prop::sample::select(vec!["12 Oak St", "12 Oak Street Apt 4", "PO Box 7", "", "Oak"]);
    (given, family, birth, number, line, any::<String>()).prop_map(|(g, f, b, s, l, noise)| {
        let mut out = with(patient(&[g, &noise], f, b), "identifier", ssn(s));
        out["address"][0]["line"][0] = json!(l);
        out["telecom"][0]["value"] = json!(if noise.len() > 9 { noise } else { s.to_owned() });
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn match_is_symmetric_and_bounded(a in any_patient(), b in any_patient()) {
        let (a, b) = (known(&a), known(&b));
        let weights = Weights::default();
        let there = compare(&a, &b, &weights);
        prop_assert_eq!(&there, &compare(&b, &a, &weights));
        prop_assert!((0.0..=1.0).contains(&there.probability) && there.score.is_finite());
    }

    #[test]
    fn who_is_linked_shares_a_blocking_key(a in any_patient(), b in any_patient()) {
        let (a, b) = (known(&a), known(&b));
        if compare(&a, &b, &Weights::default()).band == Band::Link {
            let keys = blocking_keys(&b);
            prop_assert!(blocking_keys(&a).iter().any(|key| keys.contains(key)));
        }
    }

    #[test]
    fn different_given_names_are_never_linked_without_the_same_number(
        a in any_patient(), b in any_patient()
    ) {
        let decision = compare(&known(&a), &known(&b), &Weights::default());
        let has = |field, level| decision.explanation.iter().any(|(f, l, _)| (*f, *l) == (field, level));
        if decision.band == Band::Link && has("given name", "different") {
            prop_assert!(has("social security number", "same") && has("birth date", "same"));
        }
    }

    #[test]
    fn any_json_gives_features(text in any::<String>(), n in any::<i64>()) {
        for value in [
            json!(text), json!([n]), Value::Null, json!({ "name": text }),
            json!({ "name": [text], "identifier": [n], "telecom": {}, "address": [[]] }),
            json!({ "name": [{ "text": text }], "birthDate": text, "address": [{ "line": [text] }],
                    "identifier": [{ "system": text, "value": text, "type": text }],
                    "telecom": [{ "value": text }] }),
        ] {
            let features = known(&value);
            blocking_keys(&features);
        }
    }
}
