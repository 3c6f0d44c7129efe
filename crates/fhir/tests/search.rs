//! Claims about search, each against the words of FHIR R4 search.html.

use holdfast_base::Timestamp;
use holdfast_fhir::search::{
    Handling, PostingCheck, PostingRange, Query, Row, index, parse_query, postings,
};
use serde_json::{Value, json};

fn query(kind: &str, text: &str) -> Query {
    let pairs: Vec<(String, String)> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    parse_query(kind, &pairs, Handling::Strict).expect(text)
}

fn matches(resource: &Value, text: &str) -> bool {
    let kind = resource["resourceType"].as_str().expect("a type");
    let id = resource["id"].as_str().unwrap_or("1");
    let at = Timestamp::from_millis(1_432_598_400_000); // 2015-05-26T00:00:00Z
    let entries = index(resource);
    let query = query(kind, text);
    let matches = query.matches(id, at, &entries);
    // Every claim here holds for ranges of postings just as well.
    if let Ok(conditions) = query.population() {
        let postings = postings(kind, id, at, &entries);
        assert!(postings.iter().any(|posting| in_range(posting, &query.everything())));
        let all = conditions.iter().all(|condition| {
            let meets = |posting| condition.ranges.iter().any(|range| in_range(posting, range));
            postings.iter().any(meets) != condition.excludes
        });
        assert_eq!(all, matches, "by postings: {text}");
    }
    matches
}

fn in_range(posting: &Vec<u8>, range: &PostingRange) -> bool {
    let passes = |check: &PostingCheck| {
        let at = usize::from(check.at);
        posting.get(at..at + check.from.len()).is_some_and(|bytes| {
            bytes >= check.from.as_slice() && check.to.as_ref().is_none_or(|to| bytes < to)
        })
    };
    *posting >= range.from && *posting < range.to && range.checks.iter().all(passes)
}

fn check(resource: &Value, cases: &[(&str, bool)]) {
    for (text, expected) in cases {
        assert_eq!(matches(resource, text), *expected, "{text}");
    }
}

fn patient() -> Value {
    json!({
        "resourceType": "Patient", "id": "p1", "active": true, "gender": "female", "birthDate": "1950-02-03",
        "identifier": [{"system": "urn:oid:1.2", "value": "MRN-7", "type": {"text": "Chart number"}}],
        "name": [{"family": "Müller-Lüdenscheidt", "given": ["Grace", "Ada"]}],
        "telecom": [{"system": "email", "value": "grace@example.com"}, {"system": "phone", "value": "555-0100"}],
        "address": [{"line": ["12 Oak St"], "city": "Fort Wayne", "state": "IN", "postalCode": "46802"}],
        "generalPractitioner": [{"reference": "Practitioner/d1"}],
        "meta": {"tag": [{"system": "urn:t", "code": "x"}], "profile": ["http://p/1"]},
    })
}

#[test]
fn strings_start_with_the_value_whatever_case_and_accents() {
    check(
        &patient(),
        &[
            ("family=muller", true),
            ("family=MÜLLER-L", true),
            ("family=ludenscheidt", false),
            ("family:contains=ludenscheidt", true),
            ("family:exact=Müller-Lüdenscheidt", true),
            ("family:exact=Muller-Ludenscheidt", false),
            ("name=ada", true),
            ("given=grace,john", true),
            ("given=john", false),
            ("given=grace&given=ada", true),
            ("given=grace&given=john", false),
            ("address=fort", true),
            ("address-city=fort%", false),
            ("address-state=in", true),
        ],
    );
}

#[test]
fn tokens_compare_system_and_code() {
    check(
        &patient(),
        &[
            ("identifier=MRN-7", true),
            ("identifier=mrn-7", true),
            ("identifier=urn:oid:1.2|MRN-7", true),
            ("identifier=urn:oid:9|MRN-7", false),
            ("identifier=|MRN-7", false),
            ("identifier=urn:oid:1.2|", true),
            ("identifier:text=chart", true),
            ("identifier:not=MRN-8", true),
            ("identifier:not=MRN-7,MRN-8", false),
            ("gender=female", true),
            ("gender=http://hl7.org/fhir/administrative-gender|female", true),
            ("gender:not=male", true),
            ("active=true", true),
            ("deceased=false", true),
            ("deceased=true", false),
            ("email=grace@example.com", true),
            ("phone=555-0100", true),
            ("phone=grace@example.com", false),
            ("telecom=555-0100", true),
            ("language:not=en", true),
            ("_tag=urn:t|x", true),
            ("_tag=urn:t|y", false),
        ],
    );
}

#[test]
fn dates_compare_as_spans() {
    check(
        &patient(),
        &[
            ("birthdate=1950-02-03", true),
            ("birthdate=1950-02", true),
            ("birthdate=1950", true),
            ("birthdate=1950-02-03T10:00Z", false),
            ("birthdate=ne1950", false),
            ("birthdate=gt1950", false),
            ("birthdate=ge1950", true),
            ("birthdate=lt1950-02-04", true),
            ("birthdate=sa1950-02-02", true),
            ("birthdate=eb1950-02-03", false),
            ("birthdate=ap1950-02-03", true),
            ("birthdate=ge1940&birthdate=lt1960", true),
            ("_lastUpdated=2015-05-26", true),
            ("_lastUpdated=gt2015-05-26T00:00:00Z", false),
            ("_lastUpdated=ge2015-05-26T00:00:00.000Z", true),
        ],
    );
    let open = json!({"resourceType": "Encounter", "status": "in-progress", "period": {"start": "2015-05-01T10:00:00Z"}});
    check(
        &open,
        &[
            ("date=gt2020", true),
            ("date=ge2015-05-01", true),
            ("date=lt2015-05-01", false),
            ("date=2015", false),
            ("date=sa2015-04", true),
            ("date=eb2030", false),
            ("date=ap2018", true),
        ],
    );
}

#[test]
fn quantities_and_numbers_go_by_implicit_precision() {
    let seen = json!({"resourceType": "Observation", "valueQuantity": {"value": 5.44, "unit": "mmol",
        "system": "http://unitsofmeasure.org", "code": "mmol/L"}});
    check(
        &seen,
        &[
            ("value-quantity=5.4", true),
            ("value-quantity=5.44", true),
            ("value-quantity=5.40", false),
            ("value-quantity=5.4|http://unitsofmeasure.org|mmol/L", true),
            ("value-quantity=5.4||mmol", true),
            ("value-quantity=5.4||mg", false),
            ("value-quantity=gt5.44", false),
            ("value-quantity=ge5.44", true),
            ("value-quantity=lt5.5", true),
            ("value-quantity=ap5.9", true),
            ("value-quantity=ap6.1", false),
            ("value-quantity=ne5.4", false),
            ("value-quantity=5e0", true),
        ],
    );
    let below =
        json!({"resourceType": "Observation", "valueQuantity": {"value": 5, "comparator": "<"}});
    check(
        &below,
        &[
            ("value-quantity=lt3", true),
            ("value-quantity=ge5", false),
            ("value-quantity=gt4", true),
            ("value-quantity=5", false),
        ],
    );
    let risk =
        json!({"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.10}]});
    check(
        &risk,
        &[
            ("probability=0.1", true),
            ("probability=0.14", false),
            ("probability=gt0.1", false),
            ("probability=le0.1", true),
        ],
    );
}

#[test]
fn references_match_by_id_type_and_identifier() {
    let seen = json!({"resourceType": "Observation", "subject": {"reference": "Patient/p1"},
        "performer": [{"identifier": {"system": "urn:npi", "value": "77"}}, {"reference": "https://other.example/fhir/Organization/o"}]});
    check(
        &seen,
        &[
            ("patient=p1", true),
            ("patient=Patient/p1", true),
            ("subject:Patient=p1", true),
            ("subject=Group/p1", false),
            ("subject=p2", false),
            ("subject:missing=false", true),
            ("encounter:missing=true", true),
            ("performer:identifier=urn:npi|77", true),
            ("performer:identifier=urn:npi|78", false),
            ("performer=https://other.example/fhir/Organization/o", true),
            ("performer=Organization/o", false),
        ],
    );
    let group = json!({"resourceType": "Observation", "subject": {"reference": "Group/g"}});
    check(&group, &[("patient=g", false), ("subject=g", true)]);
}

#[test]
fn escapes_keep_separators_in_values() {
    let named = json!({"resourceType": "Organization", "name": "Smith, Jones | Co"});
    check(
        &named,
        &[
            ("name=smith\\, jones \\| co", true),
            ("name=jones,smith", true),
            ("name=jones\\,smith", false),
        ],
    );
}

#[test]
fn what_is_unsupported_unknown_or_malformed_is_named() {
    for (kind, name, value, code) in [
        ("Patient", "frist-name", "x", "not-supported"),
        ("Observation", "code:in", "http://v", "not-supported"),
        ("Observation", "code:below", "urn:s|1", "not-supported"),
        ("Observation", "code:below", "1", "value"),
        ("Observation", "subject.colour", "x", "not-supported"),
        ("Observation", "code.name", "x", "value"),
        ("Provenance", "target.code", "x", "not-supported"),
        ("Observation", "subject:Practitioner.name", "x", "value"),
        ("Patient", "_has:Observation:code:code", "1", "value"),
        ("Patient", "_has:Observation:patient", "1", "value"),
        ("Patient", "_has:Pig:patient:code", "1", "not-supported"),
        ("Observation", "_include", "Observation:code", "not-supported"),
        ("Observation", "_include", "Observation", "value"),
        ("Observation", "_revinclude", "Pig:target", "value"),
        ("Observation", "_type", "Patient", "not-supported"),
        ("Observation", "_query", "latest", "not-supported"),
        ("Observation", "_list", "$current-problems", "not-supported"),
        ("Observation", "_contained", "maybe", "value"),
        ("Observation", "code-value-quantity", "1", "value"),
        ("Observation", "_filter", "code eq", "value"),
        ("Observation", "_filter", "(code eq 1", "value"),
        ("Observation", "_filter", "colour eq blue", "not-supported"),
        ("Location", "near", "north", "value"),
        ("Patient", "phonetic", "x", "not-supported"),
        ("Patient", "_sort", "nothing", "not-supported"),
        ("Patient", "birthdate", "tuesday", "value"),
        ("Patient", "birthdate", "", "value"),
        ("Patient", "active:missing", "maybe", "value"),
        ("Patient", "_count", "-1", "value"),
        ("Observation", "value-quantity", "5|mg", "value"),
        ("Observation", "patient", "a b", "value"),
    ] {
        let pair = [(name.to_owned(), value.to_owned())];
        let issues = parse_query(kind, &pair, Handling::Strict).expect_err(name);
        assert_eq!((issues.len(), issues[0].code), (1, code), "{name}");
        assert_eq!(issues[0].expression, name, "names its parameter");
        assert!(
            value.len() < 5 || !issues[0].diagnostics.contains(value) || name == "_sort",
            "{}",
            issues[0]
        );
    }
    assert!(parse_query("Pateint", &[], Handling::Strict).is_err());
}

#[test]
fn lenient_searches_leave_out_what_is_unknown_but_never_a_modifier() {
    let pairs =
        |name: &str| [(name.to_owned(), "x".to_owned()), ("gender".to_owned(), "male".to_owned())];
    let query = parse_query("Patient", &pairs("frist-name"), Handling::Lenient).expect("lenient");
    assert_eq!((query.issues().len(), query.used().len()), (1, 1));
    assert!(parse_query("Patient", &pairs("name:below"), Handling::Lenient).is_err());
}

#[test]
fn the_patient_of_a_search_is_known_only_when_there_is_one() {
    for (kind, text, expected) in [
        ("Observation", "patient=p1&code=1", Some("p1")),
        ("Observation", "subject=Patient/p1", Some("p1")),
        ("Observation", "subject:Patient=p1", Some("p1")),
        ("Observation", "subject=p1", None),
        ("Observation", "patient=p1,p2", None),
        ("Observation", "performer=Patient/p1", None),
        ("Observation", "patient=https://other.example/fhir/Patient/p1", None),
        ("Patient", "_id=p1", Some("p1")),
        ("Patient", "_id:not=p1", None),
        ("Patient", "name=x", None),
    ] {
        assert_eq!(query(kind, text).patient(), expected, "{text}");
    }
}

#[test]
fn sorting_is_total_and_puts_rows_without_a_value_last() {
    let dated =
        |date: &str| index(&json!({"resourceType": "Observation", "effectiveDateTime": date}));
    let (old, new, none) = (dated("2014"), dated("2015"), dated("never"));
    let rows = [("a", &none), ("b", &old), ("c", &new), ("d", &old)];
    let sorted = |text: &str| {
        let query = query("Observation", text);
        let mut rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(id, entries)| Row { id, last_updated: Timestamp::from_millis(0), entries })
            .collect();
        rows.sort_by(|a, b| query.compare(a, b));
        rows.iter().map(|row| row.id).collect::<String>()
    };
    assert_eq!(sorted("_sort=date"), "bdca");
    assert_eq!(sorted("_sort=-date"), "cbda");
    assert_eq!(sorted("_sort=-_id"), "dcba");
    assert_eq!(sorted("_count=5"), "abcd");
}

#[test]
fn summaries_and_elements_keep_what_must_stay() {
    let shown = |text: &str| {
        let observation = json!({"resourceType": "Observation", "id": "1", "status": "final", "text": {"status": "empty"},
            "code": {"text": "x"}, "valueString": "v", "note": [{"text": "n"}]});
        query("Observation", text).present(observation)
    };
    let keys = |value: Value| {
        value.as_object().expect("object").keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(shown("_elements=value")), "resourceType id status code valueString meta");
    assert_eq!(keys(shown("_summary=true")), "resourceType id status code valueString meta");
    assert_eq!(keys(shown("_summary=data")), "resourceType id status code valueString note meta");
    assert_eq!(keys(shown("_summary=text")), "resourceType id status text code meta");
    assert_eq!(shown("_elements=value")["meta"]["tag"][0]["code"], "SUBSETTED");
    assert_eq!(keys(shown("code=x")), "resourceType id status text code valueString note");
}

proptest::proptest! {
    #[test]
    fn no_query_panics(name in "[a-z_:.]{0,20}", value in "\\PC{0,30}") {
        for kind in ["Patient", "Observation"] {
            for name in [name.as_str(), "date", "birthdate", "value-quantity", "code", "subject", "_sort", "name"] {
                let _ = parse_query(kind, &[(name.to_owned(), value.clone())], Handling::Lenient);
            }
        }
    }
}

/// Numbers and times by every prefix: what ranges answer is what a look at the
/// values answers.
#[test]
fn ranges_of_postings_agree_for_every_prefix() {
    let quantity = |value: &str| -> Value { serde_json::from_str(value).expect("a number") };
    let numbers =
        ["-12.5", "-1", "0", "0.004", "9.95", "10", "10.04", "10.05", "1e3", "100", "101"];
    let times = ["2014", "2015-05", "2015-05-26", "2015-05-26T10:00:00Z", "2015-05-26T10:00:01.5Z"];
    let mut met = 0;
    for number in numbers {
        for comparator in [None, Some("<"), Some("<="), Some(">"), Some(">=")] {
            let spans = if number == "0" { &times[..] } else { &times[..1] };
            for time in spans {
                let mut value =
                    json!({"value": quantity(number), "unit": "mg", "code": "mg", "system": "u"});
                if let Some(comparator) = comparator {
                    value["comparator"] = comparator.into();
                }
                let observation = json!({"resourceType": "Observation", "id": "o", "valueQuantity": value,
                    "effectivePeriod": {"start": time}});
                for prefix in ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"] {
                    for wanted in ["-1", "0", "10", "10.0", "10.04", "100", "1e3"] {
                        met += u32::from(matches(
                            &observation,
                            &format!("value-quantity={prefix}{wanted}"),
                        ));
                        matches(&observation, &format!("value-quantity={prefix}{wanted}||mg"));
                        matches(&observation, &format!("value-quantity={prefix}{wanted}|u|g"));
                    }
                    if number == "0" {
                        for wanted in times {
                            met +=
                                u32::from(matches(&observation, &format!("date={prefix}{wanted}")));
                        }
                    }
                }
            }
        }
    }
    assert!(met > 300, "{met}");
}
