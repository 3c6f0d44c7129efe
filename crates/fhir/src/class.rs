//! Which element class a resource is sealed under.

use holdfast_base::ElementClass;
use serde_json::Value;

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
const ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// Confidentiality codes above normal: restricted, very restricted.
const RESTRICTED_LEVELS: [&str; 2] = ["R", "V"];

/// ActCode sensitivity labels (ActInformationSensitivityPolicy) of what the law
/// or custom protects more than the rest of a record: substance use (42 CFR
/// Part 2), mental health, psychotherapy notes, HIV, sexual and reproductive
/// health, violence, genetic disease, sickle cell, sexuality.
const SENSITIVE: [&str; 20] = [
    "42CFRPart2",
    "ETH",
    "ETHUD",
    "ALC",
    "SUD",
    "OPIOIDUD",
    "PSY",
    "PSYTHPN",
    "BH",
    "MH",
    "HIV",
    "STD",
    "SDV",
    "SEX",
    "SEXD",
    "REPRO",
    "PREGNANT",
    "GDIS",
    "SCA",
    "IDS",
];

/// The class that `resource` belongs to: by its security labels first, then by
/// its type. Contained resources count: a label inside restricts the whole.
pub fn class_of(resource: &Value) -> ElementClass {
    if is_restricted(resource) {
        return ElementClass::Restricted;
    }
    match resource["resourceType"].as_str().unwrap_or_default() {
        "Patient" | "RelatedPerson" | "Person" => ElementClass::Identity,
        "DocumentReference" | "DocumentManifest" | "Binary" | "Composition" | "Media" => {
            ElementClass::Document
        }
        "DiagnosticReport" if !resource["presentedForm"].is_null() => ElementClass::Document,
        "Bundle" if resource["type"] == "document" => ElementClass::Document,
        _ => ElementClass::Clinical,
    }
}

fn is_restricted(resource: &Value) -> bool {
    let labels = |value: &Value| {
        value.as_array().into_iter().flatten().any(|label| {
            let code = label["code"].as_str().unwrap_or_default();
            match label["system"].as_str().unwrap_or_default() {
                CONFIDENTIALITY => RESTRICTED_LEVELS.contains(&code),
                ACT_CODE => SENSITIVE.contains(&code),
                _ => false,
            }
        })
    };
    let inner = || resource["contained"].as_array().into_iter().flatten();
    let concepts = || resource["securityLabel"].as_array().into_iter().flatten();
    labels(&resource["meta"]["security"])
        || concepts().any(|concept| labels(&concept["coding"]))
        || (resource["resourceType"] == "Composition"
            && resource["confidentiality"]
                .as_str()
                .is_some_and(|level| RESTRICTED_LEVELS.contains(&level)))
        || inner().any(is_restricted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_win_over_types() {
        let label = |system: &str, code: &str| {
            class_of(&json!({"resourceType": "Observation",
                "meta": {"security": [{"system": system, "code": code}]}}))
        };
        assert_eq!(label(CONFIDENTIALITY, "R"), ElementClass::Restricted);
        assert_eq!(label(CONFIDENTIALITY, "N"), ElementClass::Clinical);
        assert_eq!(label(ACT_CODE, "HIV"), ElementClass::Restricted);
        assert_eq!(label("http://example.org", "R"), ElementClass::Clinical);
    }

    #[test]
    fn types_have_their_class() {
        for (resource, class) in [
            (json!({"resourceType": "Patient"}), ElementClass::Identity),
            (json!({"resourceType": "Condition"}), ElementClass::Clinical),
            (json!({"resourceType": "DiagnosticReport"}), ElementClass::Clinical),
            (
                json!({"resourceType": "DiagnosticReport", "presentedForm": [{}]}),
                ElementClass::Document,
            ),
            (json!({"resourceType": "DocumentReference"}), ElementClass::Document),
        ] {
            assert_eq!(class_of(&resource), class);
        }
    }
}
