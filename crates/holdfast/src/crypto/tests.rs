use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn inventory() -> Inventory {
    Inventory::parse(POLICY, LOCK).expect("a policy")
}

fn is_one_of(value: &Value, allowed: &[&str]) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    assert!(allowed.contains(&text), "{text} is none of {allowed:?}");
}

/// The rules of the CycloneDX 1.6 schema for what we write: required fields,
/// enumerations, unique references, references that lead somewhere.
fn check(bom: &Value) {
    assert_eq!(bom["bomFormat"], "CycloneDX");
    assert_eq!(bom["specVersion"], "1.6");
    assert!(bom["version"].as_u64().is_some_and(|version| version >= 1));
    let components = bom["components"].as_array().expect("components");
    let mut references = BTreeSet::from(["holdfast".to_owned()]);
    for component in components {
        is_one_of(&component["type"], &["library", "cryptographic-asset"]);
        assert!(component["name"].as_str().is_some_and(|name| !name.is_empty()));
        let reference = component["bom-ref"].as_str().expect("a reference").to_owned();
        assert!(references.insert(reference.clone()), "{reference} twice");
        if component["type"] == "library" {
            continue;
        }
        let crypto = &component["cryptoProperties"];
        is_one_of(&crypto["assetType"], &["algorithm", "related-crypto-material"]);
        if crypto["assetType"] == "algorithm" {
            let properties = &crypto["algorithmProperties"];
            is_one_of(
                &properties["primitive"],
                &[
                    "drbg",
                    "mac",
                    "block-cipher",
                    "stream-cipher",
                    "signature",
                    "hash",
                    "pke",
                    "xof",
                    "kdf",
                    "key-agree",
                    "kem",
                    "ae",
                    "combiner",
                    "other",
                    "unknown",
                ],
            );
            is_one_of(
                &properties["executionEnvironment"],
                &["software-plain-ram", "software-encrypted-ram", "software-tee", "hardware"],
            );
            if let Some(mode) = properties.get("mode") {
                is_one_of(mode, &["cbc", "ecb", "ccm", "gcm", "cfb", "ofb", "ctr"]);
            }
            for function in properties["cryptoFunctions"].as_array().expect("functions") {
                is_one_of(
                    function,
                    &[
                        "generate",
                        "keygen",
                        "encrypt",
                        "decrypt",
                        "digest",
                        "tag",
                        "keyderive",
                        "sign",
                        "verify",
                        "encapsulate",
                        "decapsulate",
                        "other",
                        "unknown",
                    ],
                );
            }
            assert!(properties["nistQuantumSecurityLevel"].as_u64().is_some_and(|l| l <= 6));
        } else {
            let properties = &crypto["relatedCryptoMaterialProperties"];
            is_one_of(&properties["type"], &["secret-key", "private-key", "public-key"]);
            is_one_of(&properties["state"], &["active", "deactivated"]);
            assert!(properties["size"].as_u64().is_some());
        }
    }
    for dependency in bom["dependencies"].as_array().expect("dependencies") {
        let on = dependency["dependsOn"].as_array().expect("references");
        for reference in std::iter::once(&dependency["ref"]).chain(on) {
            let reference = reference.as_str().expect("a reference");
            assert!(references.contains(reference), "{reference} leads nowhere");
        }
    }
}

#[test]
fn p13_the_bill_of_materials_keeps_the_rules_of_cyclonedx_1_6() {
    let key = KeyMaterial {
        id: "system/2".into(),
        active: true,
        created: Some("2026-01-01T00:00:00.000Z".into()),
        secured_by: "wrapped under the root key".into(),
    };
    let former = KeyMaterial { id: "system/1".into(), active: false, created: None, ..key.clone() };
    check(&inventory().to_cbom("0.1.0", &[]));
    let bom = inventory().to_cbom("0.1.0", &[key, former]);
    check(&bom);
    let text = bom.to_string();
    for name in ["XAES-256-GCM", "Argon2id", "Ed25519", "aws-lc-rs", "system/2"] {
        assert!(text.contains(name), "{name} is missing");
    }
}

#[test]
fn a_policy_that_names_an_unknown_library_is_told() {
    let policy = POLICY.replace("library = \"argon2\"", "library = \"argon9\"");
    let told = Inventory::parse(&policy, LOCK).expect_err("unknown");
    assert!(told.contains("argon9"), "{told}");
}
