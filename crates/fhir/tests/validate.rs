//! Each kind of mistake is found, at its place, and nothing of the record is quoted.

use holdfast_fhir::validate;
use serde_json::{Value, json};

/// The places and codes of the errors of `resource`.
fn found(resource: &Value) -> Vec<(String, &'static str)> {
    let issues = validate(resource);
    for issue in &issues {
        assert!(!issue.to_string().contains("secret"), "{issue}");
    }
    issues
        .into_iter()
        .filter(|issue| issue.is_error())
        .map(|issue| (issue.expression, issue.code))
        .collect()
}

fn check(resource: Value, expected: &[(&str, &str)]) {
    let found = found(&resource);
    let found: Vec<(&str, &str)> =
        found.iter().map(|(place, code)| (place.as_str(), *code)).collect();
    assert_eq!(found, expected, "{resource}");
}

#[test]
fn structure_is_checked() {
    check(json!({"resourceType": "Patient", "nmae": "secret"}), &[("Patient", "structure")]);
    check(
        json!({"resourceType": "Patient", "secret name of a person": 1}),
        &[("Patient", "structure")],
    );
    check(
        json!({"resourceType": "Patient", "name": {"family": "secret"}}),
        &[("Patient.name", "structure")],
    );
    check(
        json!({"resourceType": "Patient", "gender": ["male"]}),
        &[("Patient.gender", "structure")],
    );
    check(json!({"resourceType": "Patient", "name": [{}]}), &[("Patient.name[0]", "structure")]);
    check(json!({"resourceType": "Patient", "name": []}), &[("Patient.name", "structure")]);
    check(
        json!({"resourceType": "Patient", "name": ["secret"]}),
        &[("Patient.name[0]", "structure")],
    );
    check(json!({"resourceType": "Nothing"}), &[("Resource", "structure")]);
    check(json!(7), &[("Resource", "structure")]);
}

#[test]
fn every_problem_is_told_at_once() {
    check(
        json!({"resourceType": "Observation", "status": "secret", "valueString": "x", "valueBoolean": true,
            "component": [{"valueQuantity": {"value": "5"}}]}),
        &[
            ("Observation.status", "code-invalid"),
            ("Observation.value.ofType(boolean)", "structure"),
            ("Observation.component[0].value.ofType(Quantity).value", "value"),
            ("Observation.component[0].code", "required"),
            ("Observation.code", "required"),
        ],
    );
}

#[test]
fn values_and_bindings_are_checked() {
    check(
        json!({"resourceType": "Patient", "birthDate": "3/2/1950"}),
        &[("Patient.birthDate", "value")],
    );
    check(json!({"resourceType": "Patient", "gender": "F"}), &[("Patient.gender", "code-invalid")]);
    check(
        json!({"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": "http://secret", "code": "active"}]}}),
        &[("AllergyIntolerance.clinicalStatus", "code-invalid")],
    );
    check(
        json!({"resourceType": "Patient", "text": {"status": "generated", "div": "<div><script>secret</script></div>"}}),
        &[("Patient.text.div", "invariant")],
    );
}

#[test]
fn references_and_contained_resources_are_checked() {
    let observation = |subject: &str| {
        json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"},
            "contained": [{"resourceType": "Patient", "id": "in"}], "subject": {"reference": subject},
            "focus": [{"reference": "#in"}]})
    };
    for good in ["#in", "Patient/1", "urn:uuid:1", "https://x.example/fhir/Group/1"] {
        check(observation(good), &[]);
    }
    check(observation("#out"), &[("Observation.subject", "invariant")]);
    check(observation("Practitioner/1"), &[("Observation.subject", "structure")]);
    check(
        json!({"resourceType": "Patient", "contained": [{"resourceType": "Patient", "contained": [], "gender": "x"}]}),
        &[
            ("Patient.contained[0]", "structure"),
            ("Patient.contained[0].contained", "structure"),
            ("Patient.contained[0].gender", "code-invalid"),
            ("Patient.contained[0]", "invariant"),
        ],
    );
}

#[test]
fn primitives_may_have_extensions_and_nothing_else() {
    let absent = json!({"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]});
    check(json!({"resourceType": "Observation", "_status": absent, "code": {"text": "x"}}), &[]);
    check(
        json!({"resourceType": "Patient", "name": [{"given": [null, "A"], "_given": [absent, null]}]}),
        &[],
    );
    check(
        json!({"resourceType": "Patient", "name": [{"given": [null, "A"]}]}),
        &[("Patient.name[0].given[0]", "value")],
    );
    check(json!({"resourceType": "Patient", "_name": [absent]}), &[("Patient", "structure")]);
    check(
        json!({"resourceType": "Patient", "_gender": {"value": "secret"}}),
        &[("Patient.gender", "structure")],
    );
    check(
        json!({"resourceType": "Patient", "extension": [{"url": "u"}]}),
        &[("Patient.extension[0]", "invariant")],
    );
}

#[test]
fn shared_definitions_are_followed_down() {
    let questionnaire = json!({"resourceType": "Questionnaire", "status": "active", "item": [
        {"linkId": "1", "type": "group", "item": [{"type": "string"}]}]});
    check(questionnaire, &[("Questionnaire.item[0].item[0].linkId", "required")]);
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "gender": "x"}}]});
    check(bundle, &[("Bundle.entry[0].resource.gender", "code-invalid")]);
}

#[test]
fn the_list_of_problems_is_bounded() {
    let names: Vec<Value> = (0..5000).map(|_| json!(1)).collect();
    assert_eq!(validate(&json!({"resourceType": "Patient", "name": names})).len(), 201);
}

#[test]
fn bundles_keep_to_their_rules() {
    let patient = |id: &str| json!({"resourceType": "Patient", "id": id});
    let bundle = |kind: &str, entry: Value| json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
    let named = |url: &str| json!({"fullUrl": url, "resource": patient("1")});
    for good in ["https://x.example/Patient/1", "urn:uuid:0d2c6e3c-43a4-4f8f-8d2b-2f5d5c0f5b11"] {
        check(bundle("collection", named(good)), &[]);
    }
    for bad in ["Patient/1", "https://x.example/Patient/2", "https://x.example/Group/1"] {
        check(bundle("collection", named(bad)), &[("Bundle.entry[0].fullUrl", "value")]);
    }
    let anonymous = json!({"resource": {"resourceType": "Patient"}, "search": {"mode": "match"}});
    check(bundle("searchset", anonymous), &[("Bundle.entry[0].resource", "required")]);
    check(
        json!({"resourceType": "Bundle", "type": "searchset", "link": [
            {"relation": "next", "url": "http://a"}, {"relation": "next", "url": "http://b"}]}),
        &[("Bundle.link[1]", "structure")],
    );
}

#[test]
fn ids_sizes_and_conditions_are_checked() {
    check(
        json!({"resourceType": "Patient", "name": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}),
        &[("Patient.name[1]", "invariant")],
    );
    check(
        json!({"resourceType": "Patient", "_language": {"id": "a"}}),
        &[("Patient.language", "structure")],
    );
    let photo = |size: u32| json!({"resourceType": "Patient", "photo": [{"contentType": "text/plain", "data": "c2VjcmV0", "size": size}]});
    check(photo(6), &[]);
    check(photo(7), &[("Patient.photo[0]", "structure")]);
    check(
        json!({"resourceType": "Questionnaire", "status": "active", "item": [{"linkId": "1", "type": "group",
            "enableWhen": [{"question": "2", "operator": "exists", "answerBoolean": true}],
            "item": [{"linkId": "2", "type": "string"}]}]}),
        &[("Questionnaire.item[0]", "business-rule")],
    );
}
