//! Profiles of a few elements each: what every kind of rule and of slice lets through.
#![allow(clippy::unwrap_used)]

use holdfast_fhir::profile::{Registry, Strictness, check_profiles};
use serde_json::{Value, json};

fn profile(kind: &str, url: &str, elements: Value) -> Value {
    json!({"resourceType": "StructureDefinition", "url": url, "name": "P", "type": kind,
        "kind": "resource", "derivation": "constraint",
        "baseDefinition": format!("http://hl7.org/fhir/StructureDefinition/{kind}"),
        "differential": {"element": elements}})
}

/// The places of the errors of `resource` by the profile of these elements.
fn errors(elements: Value, resource: &Value) -> Vec<String> {
    let mut registry = Registry::default();
    let kind = resource["resourceType"].as_str().unwrap();
    assert!(registry.add(profile(kind, "http://p", elements)));
    let compiled = registry.profile("http://p").unwrap();
    assert_eq!(compiled.notes, Vec::<String>::new());
    let report = check_profiles(resource, &registry, &[compiled], Strictness::Usual);
    for issue in &report.issues {
        assert!(!issue.to_string().contains("secret"), "{issue}");
    }
    report
        .issues
        .into_iter()
        .filter(|issue| issue.is_error())
        .map(|issue| issue.expression)
        .collect()
}

fn observation(more: Value) -> Value {
    let mut resource =
        json!({"resourceType": "Observation", "status": "final", "code": {"text": "secret"}});
    resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    resource
}

#[test]
fn cardinalities_fixed_values_patterns_and_bindings_are_checked() {
    let elements = json!([
        {"path": "Observation.subject", "min": 1},
        {"path": "Observation.note", "max": "0"},
        {"path": "Observation.status", "fixedCode": "final"},
        {"path": "Observation.code", "patternCodeableConcept": {"coding": [{"code": "a"}]}},
        {"path": "Observation.valueQuantity.unit", "min": 1, "maxLength": 2},
        {"path": "Observation.category.coding.code", "binding": {"strength": "required",
            "valueSet": "http://hl7.org/fhir/ValueSet/administrative-gender"}},
    ]);
    let good = observation(
        json!({"code": {"coding": [{"code": "b"}, {"code": "a"}]}, "subject": {"reference": "Patient/1"},
        "valueQuantity": {"unit": "g"}, "category": [{"coding": [{"code": "male"}]}]}),
    );
    assert_eq!(errors(elements.clone(), &good), Vec::<String>::new());
    let bad = observation(
        json!({"status": "amended", "note": [{"text": "secret"}], "valueQuantity": {"unit": "secret"},
        "category": [{"coding": [{"code": "secret"}]}]}),
    );
    assert_eq!(
        errors(elements, &bad),
        [
            "Observation.subject",
            "Observation.note",
            "Observation.status",
            "Observation.code",
            "Observation.value.ofType(Quantity).unit",
            "Observation.category[0].coding[0].code",
        ]
    );
}

/// Slices of `Observation.component` by a discriminator, one needed, the others allowed.
fn sliced(kind: &str, path: &str, rules: &str, slice: Value) -> Value {
    let mut elements = vec![
        json!({"path": "Observation.component", "slicing": {"rules": rules,
            "discriminator": [{"type": kind, "path": path}]}}),
        json!({"path": "Observation.component", "sliceName": "one", "min": 1, "max": "1"}),
    ];
    elements.extend(slice.as_array().unwrap().iter().cloned());
    Value::Array(elements)
}

#[test]
fn slices_are_told_by_value_pattern_existence_and_type() {
    let by_value = sliced(
        "value",
        "code.coding.code",
        "closed",
        json!([
        {"path": "Observation.component.code.coding.code", "fixedCode": "a"},
        {"path": "Observation.component.value[x]", "min": 1}]),
    );
    let by_pattern = sliced(
        "pattern",
        "code",
        "closed",
        json!([
        {"path": "Observation.component.code", "patternCodeableConcept": {"coding": [{"code": "a"}]}},
        {"path": "Observation.component.value[x]", "min": 1}]),
    );
    let with = |code: &str| json!({"code": {"coding": [{"system": "s", "code": code}]}, "valueString": "secret"});
    for elements in [by_value, by_pattern] {
        let check = |components: Value| {
            errors(elements.clone(), &observation(json!({"component": components})))
        };
        assert_eq!(check(json!([with("a")])), Vec::<String>::new());
        assert_eq!(check(json!([with("a"), with("b")])), ["Observation.component[1]"]);
        assert_eq!(check(json!([with("a"), with("a")])), ["Observation.component"]);
        assert_eq!(check(json!([])), ["Observation.component"]);
        assert_eq!(
            check(json!([{"code": {"coding": [{"system": "s", "code": "a"}]}}])),
            ["Observation.component[0].value"]
        );
    }
    let by_existence = sliced(
        "exists",
        "value",
        "open",
        json!([
        {"path": "Observation.component.value[x]", "min": 1}]),
    );
    let check = |component: Value| {
        errors(by_existence.clone(), &observation(json!({"component": [component]})))
    };
    assert_eq!(check(with("z")), Vec::<String>::new());
    assert_eq!(check(json!({"code": {"text": "secret"}})), ["Observation.component"]);
    let by_type = sliced(
        "type",
        "value",
        "open",
        json!([
        {"path": "Observation.component.value[x]", "type": [{"code": "Quantity"}]}]),
    );
    let check =
        |component: Value| errors(by_type.clone(), &observation(json!({"component": [component]})));
    assert_eq!(check(json!({"code": {}, "valueQuantity": {"value": 1}})), Vec::<String>::new());
    assert_eq!(check(with("z")), ["Observation.component"]);
}

#[test]
fn slices_by_profile_look_at_what_is_contained() {
    let mut registry = Registry::default();
    registry.add(profile("Patient", "http://named", json!([{"path": "Patient.name", "min": 1}])));
    registry.add(profile(
        "Observation",
        "http://p",
        json!([
            {"path": "Observation.focus", "slicing": {"rules": "open",
                "discriminator": [{"type": "profile", "path": "resolve()"}]}},
            {"path": "Observation.focus", "sliceName": "named", "min": 1,
                "type": [{"code": "Reference", "targetProfile": ["http://named"]}]},
        ]),
    ));
    let check = |patient: Value| {
        let resource = observation(json!({"contained": [patient], "focus": [{"reference": "#p"}]}));
        let profile = registry.profile("http://p").unwrap();
        check_profiles(&resource, &registry, &[profile], Strictness::Usual).issues.len()
    };
    assert_eq!(
        check(json!({"resourceType": "Patient", "id": "p", "name": [{"text": "secret"}]})),
        0
    );
    assert_eq!(check(json!({"resourceType": "Patient", "id": "p"})), 1);
    assert_eq!(
        check(json!({"resourceType": "Group", "id": "p", "type": "person", "actual": true})),
        1
    );
}

#[test]
fn a_derived_profile_adds_to_what_its_base_says() {
    let mut registry = Registry::default();
    registry.add(profile("Patient", "http://base", json!([
        {"path": "Patient.identifier", "slicing": {"rules": "open", "discriminator": [{"type": "value", "path": "system"}]}},
        {"path": "Patient.identifier", "sliceName": "ssn"},
        {"path": "Patient.identifier.system", "fixedUri": "http://ssn"}])));
    let mut derived = profile(
        "Patient",
        "http://derived",
        json!([
        {"id": "Patient.identifier:ssn", "path": "Patient.identifier", "sliceName": "ssn", "min": 1},
        {"id": "Patient.name", "path": "Patient.name", "constraint": [
            {"key": "n-1", "severity": "error", "human": "h", "expression": "family.exists()"},
            {"key": "n-2", "severity": "warning", "human": "h", "expression": "given.exists()"}]}]),
    );
    derived["baseDefinition"] = json!("http://base");
    registry.add(derived);
    let check = |resource: Value| {
        let report = check_profiles(&resource, &registry, &[], Strictness::Usual);
        assert_eq!(report.unknown, ["http://nobody.example/p"]);
        report
            .issues
            .iter()
            .map(|issue| (issue.is_error(), issue.expression.clone()))
            .collect::<Vec<_>>()
    };
    let patient = |system: &str, name: Value| {
        json!({"resourceType": "Patient", "identifier": [{"system": system}], "name": [name],
            "meta": {"profile": ["http://derived|7", "http://nobody.example/p"]}})
    };
    assert_eq!(check(patient("http://ssn", json!({"family": "secret", "given": ["x"]}))), []);
    assert_eq!(
        check(patient("http://mrn", json!({"text": "secret"}))),
        [
            (true, "Patient.identifier".to_owned()),
            (true, "Patient.name[0]".to_owned()),
            (false, "Patient.name[0]".to_owned()),
        ]
    );
}

#[test]
fn extensions_are_checked_by_their_own_definitions_and_contexts() {
    let check = |resource: Value| {
        let report = check_profiles(&resource, Registry::core(), &[], Strictness::Usual);
        report.issues.into_iter().map(|issue| issue.expression).collect::<Vec<_>>()
    };
    let birth_place = |value: Value| {
        let mut extension =
            json!({"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"});
        extension.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        json!([extension])
    };
    let good = birth_place(json!({"valueAddress": {"city": "secret"}}));
    assert_eq!(check(json!({"resourceType": "Patient", "extension": good})), Vec::<String>::new());
    assert_eq!(
        check(
            json!({"resourceType": "Patient", "extension": birth_place(json!({"valueString": "secret"}))})
        ),
        ["Patient.extension[0].value.ofType(string)"]
    );
    assert_eq!(
        check(json!({"resourceType": "Organization", "extension": good})),
        ["Organization.extension[0]"]
    );
    let own = json!([{"url": "http://nobody.example/x", "valueString": "secret"}]);
    assert_eq!(check(json!({"resourceType": "Patient", "extension": own})), Vec::<String>::new());
}

#[test]
fn circles_of_profiles_and_references_end() {
    let mut registry = Registry::default();
    registry.add(profile("Patient", "http://circle", json!([
        {"path": "Patient.link.other", "type": [{"code": "Reference", "targetProfile": ["http://circle"]}]}])));
    let entry = |id: &str, other: &str| {
        json!({"fullUrl": format!("urn:uuid:{id}"), "resource": {"resourceType": "Patient", "meta": {"profile": ["http://circle"]},
            "link": [{"type": "seealso", "other": {"reference": format!("urn:uuid:{other}")}}]}})
    };
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [entry("a", "b"), entry("b", "a")]});
    assert!(check_profiles(&bundle, &registry, &[], Strictness::Usual).issues.is_empty());
    let mut itself = profile("Patient", "http://self", json!([]));
    itself["baseDefinition"] = json!("http://self");
    registry.add(itself);
    assert!(registry.profile("http://self").is_some());
}
