//! Patients written by hand.

use holdfast_mpi::{Features, features};
use serde_json::{Value, json};

use super::PlainTokens;

/// A patient as JSON, to be changed by the test.
pub fn patient(given: &[&str], family: &str, birth: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "name": [{ "family": family, "given": given }],
        "birthDate": birth,
        "gender": "female",
        "telecom": [{ "system": "phone", "value": "(260) 555-0134" }],
        "address": [{
            "line": ["12 North Oak Street"], "city": "Fort Wayne", "state": "IN",
            "postalCode": "46802-1234",
        }],
    })
}

pub fn with(mut patient: Value, key: &str, value: Value) -> Value {
    patient[key] = value;
    patient
}

pub fn ssn(number: &str) -> Value {
    json!([{ "system": "http://hl7.org/fhir/sid/us-ssn", "value": number }])
}

pub fn known(patient: &Value) -> Features {
    features(patient, &PlainTokens)
}
