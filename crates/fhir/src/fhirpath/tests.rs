use serde_json::{Value, json};

use super::*;

#[test]
fn every_expression_of_the_definitions_compiles() {
    let (mut compiled, mut distinct) = (0, std::collections::HashSet::new());
    for (id, expression) in crate::definitions().search_expressions() {
        let result = Expression::compile(expression);
        assert!(result.is_ok(), "{id}: {expression}: {result:?}");
        compiled += 1;
        distinct.insert(expression);
    }
    assert_eq!((compiled, distinct.len()), (1384, 1353));
}

fn check(expression: &str, resource: Value, expected: &[Value]) {
    let compiled = Expression::compile(expression).expect("compiles");
    let found: Vec<Value> = compiled.evaluate(&resource).iter().map(Item::to_value).collect();
    assert_eq!(found, expected, "{expression}");
}

#[test]
fn choices_are_found_by_their_base_name() {
    let seen = json!({"resourceType": "Observation", "valueQuantity": {"value": 5}, "effectiveDateTime": "2015"});
    check("Observation.value", seen.clone(), &[json!({"value": 5})]);
    check(
        "(Observation.value as Quantity) | (Observation.value as SampledData)",
        seen.clone(),
        &[json!({"value": 5})],
    );
    check("(Observation.value as CodeableConcept)", seen.clone(), &[]);
    check("Observation.effective", seen.clone(), &[json!("2015")]);
    check("Patient.name", seen, &[]);
}

#[test]
fn resolve_looks_at_the_type_of_a_reference() {
    let of = |reference: &str| {
        json!({"resourceType": "Observation", "subject": {"reference": reference},
            "contained": [{"resourceType": "Patient", "id": "p"}]})
    };
    let expression = "Observation.subject.where(resolve() is Patient)";
    for (reference, hits) in [
        ("Patient/1", 1),
        ("https://x.example/fhir/Patient/1/_history/2", 1),
        ("#p", 1),
        ("Group/1", 0),
        ("urn:uuid:7", 0),
    ] {
        let compiled = Expression::compile(expression).expect("compiles");
        assert_eq!(compiled.evaluate(&of(reference)).len(), hits, "{reference}");
    }
}

#[test]
fn filters_extensions_and_logic_work() {
    let patient = json!({"resourceType": "Patient", "deceasedDateTime": "2015",
        "telecom": [{"system": "email", "value": "a@example.com"}, {"system": "phone"}],
        "extension": [{"url": "http://e/x", "valueString": "v"}]});
    check(
        "Patient.telecom.where(system='email').value",
        patient.clone(),
        &[json!("a@example.com")],
    );
    check(
        "Patient.deceased.exists() and Patient.deceased != false",
        patient.clone(),
        &[json!(true)],
    );
    check("Patient.extension('http://e/x').value", patient.clone(), &[json!("v")]);
    check("Patient.telecom[1].system", patient.clone(), &[json!("phone")]);
    check("Patient.telecom.where(hasExtension('http://e/x'))", patient, &[]);
    check(
        "Patient.deceased.exists() and Patient.deceased != false",
        json!({"resourceType": "Patient"}),
        &[json!(false)],
    );
}

fn language(expression: &str, resource: &Value) -> Result<Vec<Value>, EvaluateError> {
    let compiled = Expression::compile(expression).expect(expression);
    let env = Environment { now: Some(Timestamp::from_millis(0)), ..Environment::default() };
    let found = compiled.evaluate_with(resource, None, &env)?;
    Ok(found.iter().map(Item::to_value).collect())
}

#[test]
fn extensions_of_primitives_are_children() {
    let patient = json!({"resourceType": "Patient", "birthDate": "1974-12-25",
        "_birthDate": {"id": "b", "extension": [{"url": "http://e/t", "valueString": "v"}]},
        "name": [{"given": [null, "Jo"], "_given": [{"extension": [{"url": "http://e/g", "valueCode": "c"}]}, null]}]});
    for (expression, expected) in [
        ("birthDate.extension('http://e/t').value", vec![json!("v")]),
        ("birthDate.id", vec![json!("b")]),
        ("name.given.extension.value", vec![json!("c")]),
        ("name.given.count()", vec![json!(2)]),
        ("name.given.where(hasValue())", vec![json!("Jo")]),
        ("descendants().ofType(Extension).count()", vec![json!(2)]),
    ] {
        assert_eq!(language(expression, &patient), Ok(expected), "{expression}");
    }
}

#[test]
fn an_invariant_starts_from_the_element_that_it_is_on() {
    let bundle = json!({"resourceType": "Bundle", "entry": [
        {"fullUrl": "http://x.example/Patient/1", "resource": {"resourceType": "Patient", "id": "1"}},
        {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Observation",
            "subject": {"reference": "Patient/1"}, "component": [{"valueString": "v"}]}}]});
    let observation = &bundle["entry"][1]["resource"];
    let env = Environment { root_resource: Some(&bundle), ..Environment::default() };
    let node = Node::resource(observation).expect("a resource");
    let component = node.children("component").remove(0);
    let check = |rule: &str, focus: Node<'_>| {
        let compiled = Expression::compile(rule).expect(rule);
        compiled.check(observation, Some(Item::Node(focus)), &env)
    };
    assert_eq!(check("value.exists() and %resource.subject.exists()", component), Ok(Some(true)));
    assert_eq!(
        check("%rootResource.entry.count() = 2 and %context.value = 'v'", component),
        Ok(Some(true))
    );
    assert_eq!(check("subject.resolve().id = '1'", node), Ok(Some(true)));
    assert_eq!(check("hasMember", node), Ok(None));
}

#[test]
fn an_error_names_what_is_wrong_and_no_value() {
    let patient =
        json!({"resourceType": "Patient", "name": [{"family": "Secret"}, {"family": "Two"}]});
    for (expression, error) in [
        ("name.family.single()", EvaluateError::ManyItems { operation: "single" }),
        ("name.first().family > 1", EvaluateError::WrongType { operation: "comparison" }),
        ("%unknown", EvaluateError::UnknownVariable { name: "unknown".into() }),
        ("name.ofType(Nothing)", EvaluateError::UnknownType { name: "Nothing".into() }),
        ("'a'.matches('(' & '')", EvaluateError::Pattern),
    ] {
        assert_eq!(language(expression, &patient), Err(error), "{expression}");
    }
    let env = Environment { is_strict: true, ..Environment::default() };
    let path = Expression::compile("name.given1").expect("compiles");
    assert!(path.evaluate_with(&patient, None, &env).is_err());
}

#[test]
fn work_is_bounded() {
    let patient = json!({"resourceType": "Patient", "name": vec![json!({"family": "x"}); 300]});
    for expression in [
        "name.select(%resource.name.select(%resource.name.select(%resource.name)))",
        "(1).repeatAll($this + 1)",
        "name.aggregate($total & $total & 'aaaaaaaaaa', 'aaaa')",
        "'aaaaaaaaaaaaaaaa'.replace('', 'aaaaaaaaaaaaaaaaaaaa').replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')",
        "name.repeat($this.family & 'x' & %resource.name.family.first().replace('', 'xxxxxxxxxxxx'))",
    ] {
        let found = language(expression, &patient);
        assert!(
            found == Err(EvaluateError::TooMuchWork) || found.is_ok(),
            "{expression}: {found:?}"
        );
    }
    assert_eq!(language("(1).repeatAll($this + 1)", &patient), Err(EvaluateError::TooMuchWork));
}
