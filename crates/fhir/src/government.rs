//! Government identifiers: taken out of a Patient before it is sealed, so that
//! they come back only to a permit that names them.

use serde_json::{Map, Value, json};

const SSN_SYSTEMS: [&str; 2] = ["http://hl7.org/fhir/sid/us-ssn", "urn:oid:2.16.840.1.113883.4.1"];
/// Codes of HL7 v2 table 0203: social security, driver's licence, passport,
/// tax, state and other national identifiers.
const GOVERNMENT_TYPES: [&str; 10] =
    ["SS", "SB", "DL", "PPN", "TAX", "NI", "NIIP", "PN", "CZ", "VS"];
/// OID arcs of US driver's licences (2.16.840.1.113883.4.3.x) and passports (…4.330.x).
const GOVERNMENT_ARCS: [&str; 2] =
    ["urn:oid:2.16.840.1.113883.4.3.", "urn:oid:2.16.840.1.113883.4.330"];

fn type_codes(identifier: &Value) -> impl Iterator<Item = &str> {
    let codings = identifier["type"]["coding"].as_array().into_iter().flatten();
    codings.filter_map(|coding| coding["code"].as_str())
}

fn is_ssn(identifier: &Value) -> bool {
    identifier["system"].as_str().is_some_and(|system| SSN_SYSTEMS.contains(&system))
        || type_codes(identifier).any(|code| matches!(code, "SS" | "SB"))
        || (type_codes(identifier).next().is_none()
            && identifier["value"].as_str().is_some_and(looks_like_ssn))
}

/// `ddd-dd-dddd`: of an identifier without a type, nothing else has this form.
fn looks_like_ssn(value: &str) -> bool {
    value.len() == 11
        && value.bytes().enumerate().all(|(place, byte)| match place {
            3 | 6 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// Whether an Identifier is a social security number, a licence, a passport or
/// another number that a government gave.
pub fn is_government_id(identifier: &Value) -> bool {
    let by_system = identifier["system"].as_str().is_some_and(|system| {
        GOVERNMENT_ARCS.iter().any(|arc| system.starts_with(arc))
            || system == "http://hl7.org/fhir/sid/us-passport"
            || system.starts_with("http://hl7.org/fhir/sid/passport-")
    });
    is_ssn(identifier)
        || by_system
        || type_codes(identifier).any(|code| GOVERNMENT_TYPES.contains(&code))
}

fn mask(value: &str, keep_last_four: bool) -> String {
    let digits: Vec<char> = value.chars().filter(char::is_ascii_digit).collect();
    match digits.get(digits.len().saturating_sub(4)..) {
        Some(last) if keep_last_four && digits.len() >= 9 => {
            format!("***-**-{}", last.iter().collect::<String>())
        }
        _ => "***".to_owned(),
    }
}

/// Masks the government identifiers of `patient` in place (of a social security
/// number the last four digits stay) and gives the originals as a part of their
/// own; `None` when there are none. [`join_government_ids`] is the inverse.
pub fn split_government_ids(patient: &mut Value) -> Option<Value> {
    let mut originals = Map::new();
    let identifiers =
        patient.get_mut("identifier").and_then(Value::as_array_mut).into_iter().flatten();
    for (place, identifier) in identifiers.enumerate() {
        if !is_government_id(identifier) {
            continue;
        }
        let keep_last_four = is_ssn(identifier);
        let mut kept = Map::new();
        if let Some(value) = identifier["value"].as_str() {
            let masked = mask(value, keep_last_four);
            kept.insert("value".to_owned(), identifier["value"].take());
            identifier["value"] = json!(masked);
        }
        // Everything else that could carry the number: extensions and a primitive's own.
        for name in ["extension", "_value", "id"] {
            if let Some(original) =
                identifier.as_object_mut().and_then(|fields| fields.shift_remove(name))
            {
                kept.insert(name.to_owned(), original);
            }
        }
        if !kept.is_empty() {
            originals.insert(place.to_string(), Value::Object(kept));
        }
    }
    (!originals.is_empty()).then_some(Value::Object(originals))
}

/// Gives identifiers of `patient` that came back masked, as somebody without sight of
/// them sends them, the originals of `before`.
pub fn unmask_government_ids(patient: &mut Value, before: &Value) {
    let known = before["identifier"].as_array().map(Vec::as_slice).unwrap_or_default();
    let identifiers =
        patient.get_mut("identifier").and_then(Value::as_array_mut).into_iter().flatten();
    for identifier in identifiers.filter(|identifier| is_government_id(identifier)) {
        let masked = identifier["value"].as_str().filter(|value| value.starts_with("***"));
        let original = known.iter().find(|known| {
            let told = known["value"].as_str().map(|value| mask(value, is_ssn(known)));
            known["system"] == identifier["system"] && told.as_deref() == masked
        });
        if let (Some(_), Some(original)) = (masked, original) {
            *identifier = original.clone();
        }
    }
}

/// Puts the originals that [`split_government_ids`] took out back in place.
pub fn join_government_ids(patient: &mut Value, part: &Value) {
    let Some(identifiers) = patient.get_mut("identifier").and_then(Value::as_array_mut) else {
        return;
    };
    for (place, kept) in part.as_object().into_iter().flatten() {
        let identifier = place.parse().ok().and_then(|place: usize| identifiers.get_mut(place));
        let Some(Value::Object(identifier)) = identifier else { continue };
        for (name, original) in kept.as_object().into_iter().flatten() {
            identifier.insert(name.clone(), original.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_masked_is_what_it_was() {
        let ssn =
            |value: &str| json!({ "system": "http://hl7.org/fhir/sid/us-ssn", "value": value });
        let before = json!({ "identifier": [ssn("123-45-6789")] });
        let after = |value: &str| {
            let mut patient = json!({ "identifier": [ssn(value)] });
            unmask_government_ids(&mut patient, &before);
            patient["identifier"][0]["value"].clone()
        };
        assert_eq!(after("***-**-6789"), "123-45-6789");
        assert_eq!(after("***-**-0000"), "***-**-0000");
        assert_eq!(after("987-65-4321"), "987-65-4321");
    }

    fn patient() -> Value {
        json!({"resourceType": "Patient", "identifier": [
            {"system": "urn:oid:1.2.3", "value": "MRN-1", "type": {"coding": [{"code": "MR"}]}},
            {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "987-65-4321"},
            {"type": {"coding": [{"code": "DL"}]}, "value": "D1234-5678", "extension": [{"url": "u", "valueString": "D1234"}]},
        ]})
    }

    #[test]
    fn split_leaves_nothing_but_the_last_four_of_an_ssn() {
        let mut masked = patient();
        split_government_ids(&mut masked).expect("has government ids");
        let text = masked.to_string();
        assert!(text.contains("***-**-4321") && text.contains("MRN-1"), "{text}");
        assert!(
            !text.contains("987") && !text.contains("65-") && !text.contains("D1234"),
            "{text}"
        );
    }

    #[test]
    fn join_undoes_split() {
        let mut changed = patient();
        let part = split_government_ids(&mut changed).expect("has government ids");
        join_government_ids(&mut changed, &part);
        assert_eq!(changed, patient());
    }

    #[test]
    fn an_ssn_is_known_by_its_form_when_nothing_names_it() {
        let mut plain = json!({"identifier": [{"value": "987-65-4321"}, {"value": "98765-4321"}]});
        assert!(split_government_ids(&mut plain).is_some());
        assert_eq!(plain["identifier"][0]["value"], "***-**-4321");
        assert_eq!(plain["identifier"][1]["value"], "98765-4321");
    }

    #[test]
    fn a_patient_without_government_ids_is_left_alone() {
        let mut plain = json!({"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2", "value": "7"}]});
        let before = plain.clone();
        assert_eq!(split_government_ids(&mut plain), None);
        assert_eq!(plain, before);
    }
}
