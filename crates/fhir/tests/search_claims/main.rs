//! What FHIR R4 search.html says, claim by claim, and the same against an evaluator
//! that knows nothing of the index. Each claim holds for a look at index entries and,
//! where ranges can answer it, for ranges over postings.
#![allow(clippy::unwrap_used)]

mod naive;

use holdfast_base::Timestamp;
use holdfast_fhir::search::{Handling, PostingRange, Query, Row, index, parse_query, postings};
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(kind: &str, text: &str) -> Query {
    let pairs: Vec<(String, String)> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    parse_query(kind, &pairs, Handling::Strict).expect(text)
}

fn in_range(posting: &[u8], range: &PostingRange) -> bool {
    posting >= range.from.as_slice()
        && posting < range.to.as_slice()
        && range.checks.iter().all(|check| {
            let at = usize::from(check.at);
            posting.get(at..at + check.from.len()).is_some_and(|bytes| {
                bytes >= check.from.as_slice()
                    && check.to.as_ref().is_none_or(|to| bytes < to.as_slice())
            })
        })
}

/// Whether the resource matches, by entries, by the resource and, where there are
/// ranges, by those.
fn matches(resource: &Value, text: &str) -> bool {
    let kind = resource["resourceType"].as_str().unwrap();
    let id = resource["id"].as_str().unwrap_or("1");
    let at = Timestamp::from_millis(1_432_598_400_000); // 2015-05-26T00:00:00Z
    let (entries, query) = (index(resource), parse(kind, text));
    let row = Row { id, last_updated: at, entries: &entries };
    let found = query.matches_document(&row, resource);
    if !query.needs_document() {
        assert_eq!(query.matches(id, at, &entries), found, "{text}");
    }
    if let Ok(conditions) = query.population() {
        let postings = postings(kind, id, at, &entries);
        let all = conditions.iter().all(|condition| {
            let meets = |posting: &Vec<u8>| condition.ranges.iter().any(|r| in_range(posting, r));
            postings.iter().any(meets) != condition.excludes
        });
        assert_eq!(all, found, "by postings: {text}");
    }
    found
}

fn check(resource: &Value, cases: &[(&str, bool)]) {
    for (text, expected) in cases {
        assert_eq!(matches(resource, text), *expected, "{text}");
    }
}

/// search.html#combining: a repeated parameter is `and`, a comma is `or`.
#[test]
fn repeats_are_and_commas_are_or() {
    let patient = json!({"resourceType": "Patient", "name": [{"given": ["Ada", "Grace"]}], "gender": "female"});
    check(
        &patient,
        &[
            ("given=ada&given=grace", true),
            ("given=ada&given=john", false),
            ("given=john,grace", true),
            ("given=john,paul", false),
            ("given=john,grace&gender=male,female", true),
        ],
    );
}

/// search.html#escaping: `\,` `\$` `\|` `\\` stand for themselves.
#[test]
fn escaped_separators_are_letters() {
    let named = |name: &str| json!({"resourceType": "Organization", "name": name});
    for (name, value) in [("a,b", "a\\,b"), ("a$b", "a\\$b"), ("a|b", "a\\|b"), ("a\\b", "a\\\\b")]
    {
        assert!(matches(&named(name), &format!("name:exact={value}")), "{value}");
        assert!(!matches(&named("a"), &format!("name:exact={value}")), "{value}");
    }
    let odd = json!({"resourceType": "Observation", "code": {"coding": [{"system": "urn:s", "code": "x|y"}]},
        "valueString": "q$r"});
    check(&odd, &[("code=urn:s|x\\|y", true), ("code-value-string=urn:s|x\\|y$q\\$r", true)]);
}

/// search.html#modifiers, `:missing`: on every kind of parameter.
#[test]
fn missing_asks_whether_there_is_a_value() {
    let some = json!({"resourceType": "Observation", "code": {"text": "only words"}, "effectiveDateTime": "2015"});
    check(
        &some,
        &[
            ("date:missing=false", true),
            ("date:missing=true", false),
            ("subject:missing=true", true),
            ("value-quantity:missing=true", true),
            ("value-string:missing=false", false),
        ],
    );
}

/// search.html#modifiers on tokens: `:not`, `:text`, `:in`, `:not-in`, `:of-type`, `:code-text`.
#[test]
fn tokens_have_their_modifiers() {
    let patient = json!({"resourceType": "Patient", "gender": "other",
        "identifier": [{"type": {"coding": [{"system": "urn:t", "code": "MR"}], "text": "Chart number"},
            "system": "urn:m", "value": "77"}],
        "maritalStatus": {"coding": [{"system": "urn:ms", "code": "M", "display": "Married"}]}});
    let genders = "http://hl7.org/fhir/ValueSet/administrative-gender";
    check(
        &patient,
        &[
            ("gender:not=male", true),
            ("gender:not=other", false),
            ("identifier:text=chart", true),
            ("identifier:text=number", false),
            (&format!("gender:in={genders}"), true),
            (&format!("gender:not-in={genders}"), false),
            ("identifier:of-type=urn:t|MR|77", true),
            ("identifier:of-type=urn:t|SS|77", false),
            ("identifier:of-type=urn:t|MR|78", false),
            ("identifier:code-text=7", true),
            ("identifier:code-text=chart", true),
        ],
    );
    let female = json!({"resourceType": "Patient"});
    check(&female, &[("gender:not=male", true), (&format!("gender:in={genders}"), false)]);
    let pairs = [("gender:in".to_owned(), "http://nowhere/vs".to_owned())];
    assert!(parse_query("Patient", &pairs, Handling::Lenient).is_err(), "a set that is not known");
}

/// search.html#token, `:below` and `:above` over a code system, and a value set that is
/// made of a whole system.
#[test]
fn codes_have_those_above_and_below_them() {
    let system = "http://terminology.hl7.org/CodeSystem/condition-clinical";
    let relapsed = json!({"resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": system, "code": "relapse"}]}});
    check(
        &relapsed,
        &[
            (&format!("clinical-status:below={system}|active"), true),
            (&format!("clinical-status:below={system}|relapse"), true),
            (&format!("clinical-status:below={system}|inactive"), false),
            (&format!("clinical-status:above={system}|relapse"), true),
            (&format!("clinical-status:above={system}|active"), false),
            ("clinical-status:in=http://hl7.org/fhir/ValueSet/condition-clinical", true),
            ("clinical-status:not-in=http://hl7.org/fhir/ValueSet/condition-clinical|4.0.1", false),
        ],
    );
}

/// search.html#reference: ids, types, URLs, `:[type]`, `:identifier`, `:text`, canonicals.
#[test]
fn references_have_their_forms() {
    let seen = json!({"resourceType": "Observation",
        "subject": {"reference": "Patient/p", "display": "Ada Lovelace"},
        "performer": [{"identifier": {"system": "urn:npi", "value": "1"}}]});
    check(
        &seen,
        &[
            ("subject=p", true),
            ("subject=Patient/p", true),
            ("subject:Patient=p", true),
            ("subject:Group=p", false),
            ("subject=Group/p", false),
            ("performer:identifier=urn:npi|1", true),
            ("subject:text=ada", true),
            ("subject:text=lovelace", false),
        ],
    );
    let answers =
        json!({"resourceType": "QuestionnaireResponse", "questionnaire": "http://q/x|2.1.0"});
    check(
        &answers,
        &[
            ("questionnaire=http://q/x|2.1.0", true),
            ("questionnaire=http://q/x", true),
            ("questionnaire=http://q/x|2.1", false),
            ("questionnaire:below=http://q/x|2.1", true),
            ("questionnaire:below=http://q/x|2", true),
            ("questionnaire:below=http://q/x|2.10", false),
        ],
    );
}

/// search.html#uri: exact, `:below`, `:above`; a URN has no segments.
#[test]
fn uris_are_compared_by_segments() {
    let set = json!({"resourceType": "ValueSet", "url": "http://acme.org/fhir/ValueSet/123"});
    check(
        &set,
        &[
            ("url=http://acme.org/fhir/ValueSet/123", true),
            ("url=http://acme.org/fhir", false),
            ("url:below=http://acme.org/fhir", true),
            ("url:below=http://acme.org/fhir/", true),
            ("url:below=http://acme.org/fhi", false),
            ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", true),
            ("url:above=http://acme.org/fhir/ValueSet/1234", false),
        ],
    );
    let urn = json!({"resourceType": "ValueSet", "url": "urn:oid:1.2"});
    check(&urn, &[("url:below=urn:oid:1", false), ("url:below=urn:oid:1.2", true)]);
}

/// search.html#quantity: units are canonicalised, "so that 5.4 g is 5400 mg".
#[test]
fn quantities_match_across_units_that_measure_the_same() {
    let measured = |value: &str, unit: &str, system: &str| {
        let number: Value = serde_json::from_str(value).unwrap();
        json!({"resourceType": "Observation", "valueQuantity": {"value": number, "code": unit, "system": system}})
    };
    let ucum = "http://unitsofmeasure.org";
    let of = |prefix: &str, unit: &str| format!("value-quantity={prefix}|{ucum}|{unit}");
    check(
        &measured("5400", "mg", ucum),
        &[
            (&of("5.4", "g"), true),
            (&of("5400", "mg"), true),
            (&of("0.0054", "kg"), true),
            (&of("5.5", "g"), false),
            (&of("gt5.3", "g"), true),
            (&of("lt5.4", "g"), false),
            (&of("ap5.8", "g"), true),
            (&of("5400", "mL"), false),
            ("value-quantity=5.4||g", false),
        ],
    );
    check(
        &measured("98.6", "[degF]", ucum),
        &[(&of("37.0", "Cel"), true), (&of("gt37.1", "Cel"), false)],
    );
    check(&measured("5400", "mg", "urn:other"), &[(&of("5.4", "g"), false)]);
}

/// search.html#combining, composite: one component has both, or none has.
#[test]
fn a_composite_is_met_within_one_component() {
    let component = |code: &str, value: u32| json!({"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": {"value": value, "code": "mm[Hg]"}});
    let pressure = json!({"resourceType": "Observation", "code": {"coding": [{"code": "85354-9"}]},
        "component": [component("8480-6", 120), component("8462-4", 80)]});
    check(
        &pressure,
        &[
            ("component-code-value-quantity=8480-6$120", true),
            ("component-code-value-quantity=8480-6$80", false),
            ("component-code-value-quantity=http://loinc.org|8462-4$lt90", true),
            ("combo-code-value-quantity=8462-4$80", true),
            ("code-value-quantity=85354-9$120", false),
            ("component-code-value-quantity=8480-6$1,8462-4$80", true),
        ],
    );
    let replacing = json!({"resourceType": "DocumentReference", "relatesTo": [
        {"code": "replaces", "target": {"reference": "DocumentReference/a"}},
        {"code": "appends", "target": {"reference": "DocumentReference/b"}}]});
    check(
        &replacing,
        &[
            ("relationship=replaces$DocumentReference/a", true),
            ("relationship=replaces$DocumentReference/b", false),
        ],
    );
}

/// search_filter.html: operators, logic from left to right, parentheses.
#[test]
fn filters_are_sentences() {
    let patient = json!({"resourceType": "Patient", "birthDate": "1950-02-03", "gender": "female",
        "name": [{"family": "Chalmers", "given": ["Peter"]}]});
    for (text, expected) in [
        ("family eq \"chalmers\"", true),
        ("family eq chalm", false),
        ("family sw chalm", true),
        ("family co ALM", true),
        ("family ew mers", true),
        ("family ne chalmers", false),
        ("birthdate ge 1950 and gender eq female", true),
        ("birthdate lt 1950 or gender eq female", true),
        ("gender eq male or gender eq female and birthdate lt 1940", false),
        ("gender eq female or (gender eq male and birthdate lt 1940)", true),
        ("not (gender eq male)", true),
        ("telecom pr false", true),
        ("given pr true", true),
        ("birthdate po 1950", true),
        ("gender in http://hl7.org/fhir/ValueSet/administrative-gender", true),
    ] {
        let query =
            parse_query("Patient", &[("_filter".to_owned(), text.to_owned())], Handling::Strict);
        let entries = index(&patient);
        let found = query.expect(text).matches("1", Timestamp::from_millis(0), &entries);
        assert_eq!(found, expected, "{text}");
    }
    for wrong in [
        "",
        "family",
        "family eq",
        "family xx a",
        "(family eq a",
        "family eq a b",
        "name[use eq x].given eq a",
        "birthdate co 1950",
    ] {
        let query =
            parse_query("Patient", &[("_filter".to_owned(), wrong.to_owned())], Handling::Lenient);
        assert!(query.is_err(), "{wrong}");
    }
}

const PREFIXES: [&str; 10] = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"];
const DATES: [&str; 9] = [
    "2014",
    "2015",
    "2015-02",
    "2015-03",
    "2015-02-27",
    "2015-02-28",
    "2015-03-01",
    "2015-02-28T10:00:00Z",
    "2015-02-28T10:00:01Z",
];
const NUMBERS: [&str; 11] =
    ["0", "0.5", "0.50", "5", "5.0", "5.4", "5.44", "5400", "-1", "95", "100"];

fn one(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(str::to_owned)
}

/// `name=value` with values that often meet what is generated.
fn parameter(kind: &'static str) -> BoxedStrategy<(String, String)> {
    let tokens: &[&str] = &["a", "B", "u1|a", "u2|a", "u1|", "|a", "u1|b", "a,B", "u2|a,b"];
    let fixed = |name: &'static str, values: &'static [&'static str]| {
        one(values).prop_map(move |value| (name.to_owned(), value)).boxed()
    };
    let missing = |name: &'static str| {
        one(&["true", "false"]).prop_map(move |value| (format!("{name}:missing"), value)).boxed()
    };
    let prefixed =
        |name: &'static str, values: &'static [&'static str], tail: &'static [&'static str]| {
            (one(&PREFIXES), one(values), one(tail))
                .prop_map(move |(prefix, value, tail)| {
                    (name.to_owned(), format!("{prefix}{value}{tail}"))
                })
                .boxed()
        };
    let tokens: &'static [&'static str] = Box::leak(tokens.to_vec().into_boxed_slice());
    let units: &'static [&'static str] =
        &["", "|http://unitsofmeasure.org|g", "|http://unitsofmeasure.org|mg", "||mg", "|urn:x|g"];
    let choices = match kind {
        "Observation" => vec![
            fixed("code", tokens),
            fixed("code:not", tokens),
            missing("code"),
            prefixed("date", &DATES, &[""]),
            missing("date"),
            prefixed("value-quantity", &NUMBERS, units),
            fixed("subject", &["p", "Patient/p", "Group/p", "q", "p,q"]),
        ],
        "Patient" => vec![
            fixed("identifier", tokens),
            fixed("identifier:not", tokens),
            fixed("gender", &["male", "FEMALE", "http://hl7.org/fhir/administrative-gender|male"]),
            prefixed("birthdate", &["1950", "1950-02", "1950-02-03", "1951-01"], &[""]),
            fixed("family", &["mü", "MULL", "muller", "Müller", "øst", "x", "mu,x"]),
            fixed("family:exact", &["Müller", "muller", "MÜLLER"]),
            fixed("family:contains", &["LL", "er", "ü", "z"]),
            missing("family"),
        ],
        "RiskAssessment" => vec![prefixed("probability", &NUMBERS, &[""])],
        _ => vec![
            fixed("url", &["http://a/b", "http://a"]),
            fixed("url:below", &["http://a", "http://a/b", "http://a/b/c", "http://a/"]),
            fixed("url:above", &["http://a/b/c", "http://a", "http://ab"]),
        ],
    };
    prop::strategy::Union::new(choices).boxed()
}

fn resource(kind: &'static str) -> BoxedStrategy<Value> {
    let coded = (prop::option::of(one(&["u1", "u2"])), one(&["a", "A", "b"]));
    let number = |text: &String| serde_json::from_str::<Value>(text).unwrap();
    let codes = prop::collection::vec(coded, 0..3);
    match kind {
        "Observation" => {
            let quantity = (
                one(&NUMBERS),
                prop::option::of(one(&["<", "<=", ">", ">="])),
                one(&["g", "mg", "L"]),
                prop::option::of(one(&["http://unitsofmeasure.org", "urn:x"])),
            );
            let when =
                prop::option::of((one(&["at", "from", "to", "both"]), one(&DATES), one(&DATES)));
            let subject = prop::option::of(one(&["Patient/p", "Group/p", "Patient/q"]));
            (codes, prop::option::of(quantity), when, subject)
                .prop_map(move |(codes, quantity, when, subject)| {
                    let mut made = json!({"resourceType": "Observation", "id": "o"});
                    let coding: Vec<Value> = codes
                        .iter()
                        .map(|(system, code)| match system {
                            Some(system) => json!({"system": system, "code": code}),
                            None => json!({"code": code}),
                        })
                        .collect();
                    if !coding.is_empty() {
                        made["code"] = json!({"coding": coding});
                    }
                    if let Some((value, comparator, unit, system)) = quantity {
                        let mut quantity =
                            json!({"value": number(&value), "unit": unit, "code": unit});
                        comparator.into_iter().for_each(|c| quantity["comparator"] = json!(c));
                        system.into_iter().for_each(|s| quantity["system"] = json!(s));
                        made["valueQuantity"] = quantity;
                    }
                    match when {
                        Some((form, a, _)) if form == "at" => made["effectiveDateTime"] = json!(a),
                        Some((form, a, _)) if form == "from" => {
                            made["effectivePeriod"] = json!({"start": a})
                        }
                        Some((form, a, _)) if form == "to" => {
                            made["effectivePeriod"] = json!({"end": a})
                        }
                        Some((_, a, b)) => {
                            made["effectivePeriod"] =
                                json!({"start": a.clone().min(b.clone()), "end": a.max(b)})
                        }
                        None => {}
                    }
                    subject.into_iter().for_each(|s| made["subject"] = json!({"reference": s}));
                    made
                })
                .boxed()
        }
        "Patient" => (
            codes,
            prop::option::of(one(&["male", "female"])),
            prop::option::of(one(&["1950", "1950-02", "1950-02-03", "1951-01-31"])),
            prop::collection::vec(one(&["Müller", "MULLER", "Østergård", "x"]), 0..3),
        )
            .prop_map(|(codes, gender, birth, families)| {
                let mut made = json!({"resourceType": "Patient", "id": "p"});
                let identifiers: Vec<Value> = codes
                    .iter()
                    .map(|(system, value)| match system {
                        Some(system) => json!({"system": system, "value": value}),
                        None => json!({"value": value}),
                    })
                    .collect();
                if !identifiers.is_empty() {
                    made["identifier"] = json!(identifiers);
                }
                gender.into_iter().for_each(|g| made["gender"] = json!(g));
                birth.into_iter().for_each(|b| made["birthDate"] = json!(b));
                if !families.is_empty() {
                    let names: Vec<Value> = families.iter().map(|f| json!({"family": f})).collect();
                    made["name"] = json!(names);
                }
                made
            })
            .boxed(),
        "RiskAssessment" => prop::collection::vec(one(&NUMBERS), 0..3)
            .prop_map(move |numbers| {
                let predictions: Vec<Value> =
                    numbers.iter().map(|n| json!({"probabilityDecimal": number(n)})).collect();
                json!({"resourceType": "RiskAssessment", "id": "r", "prediction": predictions})
            })
            .boxed(),
        _ => prop::option::of(one(&["http://a", "http://a/b", "http://a/b/c", "http://ab"]))
            .prop_map(|url| {
                let mut made = json!({"resourceType": "ValueSet", "id": "v"});
                url.into_iter().for_each(|url| made["url"] = json!(url));
                made
            })
            .boxed(),
    }
}

fn asked() -> impl Strategy<Value = (Value, Vec<(String, String)>)> {
    let of =
        |kind: &'static str| (resource(kind), prop::collection::vec(parameter(kind), 1..4)).boxed();
    prop::strategy::Union::new(["Observation", "Patient", "RiskAssessment", "ValueSet"].map(of))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The index answers what the definitions say of the resource itself.
    #[test]
    fn the_index_agrees_with_a_look_at_the_resource((resource, parameters) in asked()) {
        let text: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = parameters.iter().all(|(name, value)| naive::meets(&resource, name, value));
        prop_assert_eq!(matches(&resource, &text.join("&")), expected, "{:?} {}", text, resource);
    }

    /// Whatever is written after `_filter`, `_has`, a chain or an include: an answer.
    #[test]
    fn no_link_or_filter_panics(text in "[a-zA-Z_:.()\" $|,<>=0-9-]{0,40}") {
        for name in ["_filter", "_include", "_list", "near", "_content", "component-code-value-quantity", "identifier:of-type"] {
            for kind in ["Patient", "Observation", "Location"] {
                let _ = parse_query(kind, &[(name.to_owned(), text.clone())], Handling::Strict);
            }
        }
        for name in [format!("_has:{text}"), format!("subject.{text}"), format!("subject:{text}.name"), text] {
            let _ = parse_query("Observation", &[(name, "1".to_owned())], Handling::Strict);
        }
    }
}
