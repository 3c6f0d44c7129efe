//! FHIRPath against the published suite for R4, and against whatever text and
//! document.

#[path = "suite/fhirpath.rs"]
mod suite;

use std::path::Path;

use holdfast_base::Timestamp;
use holdfast_fhir::fhirpath::{Environment, Expression};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn the_published_suite_passes_but_for_what_is_listed_with_its_reason() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/fhir/fhirpath-r4");
    if !folder.is_dir() {
        println!("skipped: no {}", folder.display());
        return;
    }
    let text = std::fs::read_to_string(folder.join("tests-fhir-r4.dev.xml")).expect("the suite");
    let report = suite::run(&roxmltree::Document::parse(&text).expect("XML"), &folder);
    let count = report.passed + report.listed.len() + report.wrong.len();
    println!("fhirpath-r4: {} of {count} passed", report.passed);
    assert!(report.wrong.is_empty(), "{}", report.wrong.join("\n"));
    assert!(report.passed * 100 >= count * 97, "less than 97 of a hundred pass");
}

/// Words of which expressions are put together.
const WORDS: &[&str] = &[
    "Patient",
    "name",
    "given",
    "birthDate",
    "extension",
    "value",
    "contact",
    "deceased",
    ".",
    ".",
    ".",
    "(",
    ")",
    "(",
    ")",
    "()",
    "[0]",
    "$this",
    "$index",
    "$total",
    "%resource",
    "%context",
    "%x",
    "'a'",
    "''",
    "'(a+)+$'",
    "1",
    "0",
    "2147483648",
    "9223372036854775807",
    "1.50",
    "-",
    "+",
    "*",
    "/",
    "div",
    "mod",
    "&",
    "=",
    "!=",
    "~",
    "!~",
    "<",
    ">=",
    "|",
    "and",
    "or",
    "xor",
    "implies",
    "in",
    "contains",
    "is",
    "as",
    "{}",
    "true",
    "@2015",
    "@2015-02-04T14:34:28Z",
    "@T23:59",
    "4 days",
    "10 'mg'",
    "1000000000 years",
    ",",
    "where(",
    "select(",
    "repeat(",
    "repeatAll(",
    "all(",
    "aggregate(",
    "iif(",
    "exists()",
    "count()",
    "first()",
    "children()",
    "descendants()",
    "toString()",
    "toInteger()",
    "toQuantity()",
    "toDateTime()",
    "lowBoundary()",
    "highBoundary(17)",
    "power(1000)",
    "substring(1)",
    "matches(",
    "replaceMatches(",
    "replace('', ",
    "join(',')",
    "split('')",
    "sort(",
    "round(30)",
    "resolve()",
    "ofType(",
    "distinct()",
    "combine(",
    "abs()",
    "exp()",
    "encode('hex')",
    "type()",
    "now()",
    "getValue()",
    "precision()",
    "//",
    "/*",
    "`a`",
    "\\",
];

fn documents() -> Vec<Value> {
    vec![
        json!({"resourceType": "Patient", "birthDate": "1974-12-25", "_birthDate": {"extension": [{"url": "u", "valueDateTime": "x"}]},
            "deceasedBoolean": "no", "name": [{"given": ["A", null], "_given": [null, {"id": "g"}], "period": {"start": "0000"}}, 7, null],
            "contact": {"name": [[]]}, "contained": [{"resourceType": "Nothing"}, {"id": 1}]}),
        json!({"resourceType": "Patient", "name": "x", "extension": [{"valueQuantity": {"value": 1e300, "unit": "[", "code": 7}},
            {"valueDecimal": 0.1}, {"valueQuantity": {"value": 12.50, "system": "http://unitsofmeasure.org", "code": "mg/dL"}}]}),
        json!({"resourceType": 1}),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn no_text_and_no_document_panics(words in prop::collection::vec(prop::sample::select(WORDS), 0..24), spaced in any::<bool>()) {
        let text = words.join(if spaced { " " } else { "" });
        let Ok(expression) = Expression::compile(&text) else { return Ok(()) };
        let env = Environment { now: Some(Timestamp::MAX), steps_max: 20_000, ..Environment::default() };
        for document in documents() {
            let _ = expression.evaluate_with(&document, None, &env);
            let _ = expression.evaluate(&document);
        }
    }

    #[test]
    fn no_characters_panic(text in "\\PC{0,60}") {
        let _ = Expression::compile(&text);
    }

    #[test]
    fn numbers_add_up_exactly(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_000_000_i64..1_000_000_000, places in 0_u32..6) {
        let show = |value: i64| format!("({}{}.{:06})", if value < 0 { "-" } else { "" }, value.abs() / 10_i64.pow(places), value.abs() % 10_i64.pow(places) * 10_i64.pow(6 - places));
        let none = json!({"resourceType": "Basic"});
        for (text, expected) in [
            (format!("{} + {} = {}", show(a), show(b), show(a + b)), true),
            (format!("{} - {} = {}", show(a), show(b), show(a - b)), true),
            (format!("{} < {}", show(a), show(b)), a < b),
        ] {
            let expression = Expression::compile(&text).expect("compiles");
            prop_assert_eq!(expression.check(&none, None, &Environment::default()), Ok(Some(expected)), "{}", text);
        }
    }
}

/// Prints what one evaluation of each search parameter of an Observation takes. Run
/// it optimised: `cargo test --release -p holdfast-fhir --test fhirpath -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures"]
fn figures_of_search_expressions_on_an_observation() {
    let observation = json!({"resourceType": "Observation", "id": "o1", "status": "final",
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "718-7", "display": "Hemoglobin"}]},
        "subject": {"reference": "Patient/p1"}, "encounter": {"reference": "Encounter/e1"},
        "effectiveDateTime": "2020-01-02T03:04:05Z", "issued": "2020-01-02T03:04:05.000Z",
        "performer": [{"reference": "Practitioner/x"}],
        "valueQuantity": {"value": 13.2, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"}});
    let mut all = 0.0;
    let parameters: Vec<_> = holdfast_fhir::definitions()
        .search_parameters("Observation")
        .iter()
        .filter(|parameter| !parameter.expression.is_empty())
        .collect();
    for parameter in &parameters {
        let compiled =
            Expression::compile(parameter.expression).expect("compiles").specialised("Observation");
        // The least of many rounds: others use the machine, too.
        const TIMES: u32 = 500;
        let mut nanos = f64::INFINITY;
        for _ in 0..60 {
            let started = std::time::Instant::now();
            for _ in 0..TIMES {
                std::hint::black_box(compiled.evaluate(std::hint::black_box(&observation)));
            }
            nanos = nanos.min(started.elapsed().as_nanos() as f64 / f64::from(TIMES));
        }
        all += nanos;
        println!("{nanos:>8.0} ns  {}", parameter.name);
    }
    println!("{:>8.0} ns  mean of {}", all / parameters.len() as f64, parameters.len());
}
