//! Which patient a resource belongs to (CompartmentDefinition/patient).

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

use crate::definitions;
use crate::fhirpath::{Expression, Item};
use crate::reference::{parse_reference, reference_type};

/// The parameters that say whom a resource is about come first.
const ABOUT: [&str; 3] = ["patient", "subject", "beneficiary"];

/// The Patients in whose compartment `resource` is, as the references stand in
/// it (`Patient/1`, or a URN that is not resolved yet); the one it is about
/// comes first. A Patient is in its own.
///
/// DEVIATION: types that the R4 definition leaves out (Device, Task, …) count
/// by their `patient` parameter, and a Binary by its `securityContext`:
/// otherwise what is about a patient would lie outside of every patient's key.
pub fn compartment_patient(resource: &Value) -> Vec<String> {
    let name = resource["resourceType"].as_str().unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    let mut add = |reference: &str| {
        let points_elsewhere = reference_type(reference).is_some_and(|kind| kind != "Patient");
        if !points_elsewhere && !reference.starts_with('#') {
            let literal = match parse_reference(reference) {
                Some(parts) => format!("{}Patient/{}", parts.base, parts.id),
                None => reference.to_owned(),
            };
            if !found.contains(&literal) {
                found.push(literal);
            }
        }
    };
    if name == "Patient"
        && let Some(id) = resource["id"].as_str()
    {
        add(&format!("Patient/{id}"));
    }
    if name == "Binary"
        && let Some(context) = resource["securityContext"]["reference"].as_str()
    {
        add(context);
    }
    for (about, expression) in expressions(name) {
        for item in expression.evaluate(resource) {
            let Item::Node(node) = item else { continue };
            let Some(reference) = node.value["reference"].as_str() else { continue };
            // A URN says nothing of its target's type: taken only where the
            // parameter is about whom the resource is for.
            if *about || reference_type(reference) == Some("Patient") {
                add(reference);
            }
        }
    }
    found
}

/// The search parameters by which resources of a type are in the compartment of a
/// resource of type `compartment`; none when there is no such compartment. As
/// [`compartment_patient`] has it, what the definition leaves out is in a Patient's
/// by its `patient` parameter.
pub(crate) fn parameters(compartment: &str, resource_type: &str) -> Vec<&'static str> {
    if compartment == "Patient" {
        let names = definitions().compartment_parameters(resource_type);
        let own = definitions().search_parameter(resource_type, "patient");
        return match names {
            [] => own.map(|parameter| parameter.name).into_iter().collect(),
            names => names.to_vec(),
        };
    }
    let Some(table) = others().get(compartment) else { return Vec::new() };
    table.get(resource_type).cloned().unwrap_or_default()
}

/// The types of which there may be resources in the compartment of a resource of type
/// `compartment`, its own type included.
pub fn compartment_types(compartment: &str) -> Vec<&'static str> {
    let known = compartment == "Patient" || others().contains_key(compartment);
    let types = definitions().resource_types().iter().copied();
    types
        .filter(|name| known && (*name == compartment || !parameters(compartment, name).is_empty()))
        .collect()
}

type Others = HashMap<&'static str, HashMap<&'static str, Vec<&'static str>>>;

/// The compartments that are not the Patient's.
fn others() -> &'static Others {
    static OTHERS: OnceLock<Others> = OnceLock::new();
    OTHERS.get_or_init(|| {
        let mut table = Others::new();
        for line in include_str!("../data/compartments.tsv").lines() {
            let mut columns = line.split('\t');
            let mut next = || columns.next().unwrap_or_default();
            let (compartment, name, names) = (next(), next(), next());
            let names = names.split(',').filter(|name| !name.is_empty()).collect();
            table.entry(compartment).or_default().insert(name, names);
        }
        table
    })
}

/// The compiled compartment parameters of a type, and whether each says whom
/// the resource is about.
fn expressions(resource_type: &str) -> &'static [(bool, Expression)] {
    type Table = HashMap<&'static str, Vec<(bool, Expression)>>;
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let compile = |name: &'static str| (name, compile_for(name));
        definitions().resource_types().iter().copied().map(compile).collect()
    });
    table.get(resource_type).map_or(&[], Vec::as_slice)
}

fn compile_for(resource_type: &'static str) -> Vec<(bool, Expression)> {
    let mut names = definitions().compartment_parameters(resource_type).to_vec();
    if names.is_empty() {
        names.push("patient");
    }
    names.sort_by_key(|name| ABOUT.iter().position(|about| about == name).unwrap_or(ABOUT.len()));
    let compile = |name: &str| {
        let parameter = definitions().search_parameter(resource_type, name)?;
        // `where(resolve() is Patient)` would drop URNs, whose type is unknown.
        let expression = parameter.expression.replace(".where(resolve() is Patient)", "");
        let compiled = Expression::compile(&expression).ok()?.specialised(resource_type);
        Some((ABOUT.contains(&name), compiled))
    };
    names.into_iter().filter_map(compile).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(resource: Value, expected: &[&str]) {
        assert_eq!(compartment_patient(&resource), expected, "{resource}");
    }

    #[test]
    fn the_patient_that_a_resource_is_about_comes_first() {
        check(json!({"resourceType": "Patient", "id": "p"}), &["Patient/p"]);
        check(
            json!({"resourceType": "Observation", "performer": [{"reference": "Patient/other"}],
                "subject": {"reference": "Patient/p/_history/2"}}),
            &["Patient/p", "Patient/other"],
        );
        check(
            json!({"resourceType": "Immunization", "patient": {"reference": "urn:uuid:1"}}),
            &["urn:uuid:1"],
        );
        check(
            json!({"resourceType": "Coverage", "beneficiary": {"reference": "Patient/p"}}),
            &["Patient/p"],
        );
        check(
            json!({"resourceType": "Provenance", "target": [{"reference": "Patient/p"}, {"reference": "Observation/o"}]}),
            &["Patient/p"],
        );
    }

    #[test]
    fn what_the_definition_leaves_out_still_finds_its_patient() {
        check(
            json!({"resourceType": "Device", "patient": {"reference": "Patient/p"}}),
            &["Patient/p"],
        );
        check(json!({"resourceType": "Task", "for": {"reference": "Patient/p"}}), &["Patient/p"]);
        check(
            json!({"resourceType": "Binary", "securityContext": {"reference": "Patient/p"}}),
            &["Patient/p"],
        );
    }

    #[test]
    fn what_is_about_nobody_is_in_no_compartment() {
        check(json!({"resourceType": "Organization", "id": "o"}), &[]);
        check(json!({"resourceType": "Observation", "subject": {"reference": "Group/g"}}), &[]);
        check(
            json!({"resourceType": "Observation", "performer": [{"reference": "urn:uuid:1"}]}),
            &[],
        );
    }
}
