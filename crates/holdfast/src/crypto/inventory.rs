//! The inventory of cryptography as a value: from the policy file and the lock
//! file to a table, a page, and a CycloneDX bill of materials. Pure: what a chore
//! and the command share.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One algorithm that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Algorithm {
    /// What it is called.
    pub name: String,
    /// CycloneDX primitive.
    pub primitive: String,
    /// CycloneDX mode, where it has one.
    pub mode: Option<String>,
    /// Length of the key; 0 when it has none.
    pub key_bits: u64,
    /// CycloneDX functions.
    pub functions: Vec<String>,
    /// The package that implements it.
    pub library: String,
    /// Version of the package in the lock file.
    pub version: String,
    /// Where it is specified.
    pub standard: String,
    /// What it is for.
    pub purpose: String,
    /// Classical security in bits; 0 when that has no meaning.
    pub classical_bits: u64,
    /// NIST post-quantum category; 0 for none.
    pub quantum_level: u64,
    /// Names in source code.
    pub identifiers: Vec<String>,
}

/// What the policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Algorithms, in the order of the file.
    pub algorithms: Vec<Algorithm>,
    /// Packages and why they may be there.
    pub packages: BTreeMap<String, String>,
}

/// A key that exists, for the bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    /// `system/1`.
    pub id: String,
    /// Whether it still seals.
    pub active: bool,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
    /// What wraps it.
    pub secured_by: String,
}

impl Inventory {
    /// Reads the policy, with versions from the lock file.
    ///
    /// # Errors
    /// What is wrong with the policy.
    pub fn parse(policy: &str, lock: &str) -> Result<Self, String> {
        let policy: toml::Table = policy
            .parse()
            .map_err(|error: toml::de::Error| format!("crypto-policy.toml: {}", error.message()))?;
        let versions = versions(lock)?;
        let mut algorithms = Vec::new();
        for one in policy.get("algorithm").and_then(toml::Value::as_array).into_iter().flatten() {
            let text = |key: &str| {
                let value = one.get(key).and_then(toml::Value::as_str).map(str::to_owned);
                value.ok_or_else(|| format!("crypto-policy.toml: an algorithm lacks `{key}`"))
            };
            let number = |key: &str| {
                let value = one.get(key).and_then(toml::Value::as_integer);
                value
                    .and_then(|number| u64::try_from(number).ok())
                    .ok_or_else(|| format!("crypto-policy.toml: an algorithm lacks `{key}`"))
            };
            let list = |key: &str| -> Vec<String> {
                let values = one.get(key).and_then(toml::Value::as_array).into_iter().flatten();
                values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
            };
            let library = text("library")?;
            let version = versions.get(&library).cloned();
            let missing = || format!("crypto-policy.toml: {library} is not in Cargo.lock");
            algorithms.push(Algorithm {
                name: text("name")?,
                primitive: text("primitive")?,
                mode: text("mode").ok(),
                key_bits: number("key_bits")?,
                functions: list("functions"),
                version: version.ok_or_else(missing)?,
                library,
                standard: text("standard")?,
                purpose: text("purpose")?,
                classical_bits: number("classical_bits")?,
                quantum_level: number("quantum_level")?,
                identifiers: list("identifiers"),
            });
        }
        let packages = policy.get("packages").and_then(toml::Value::as_table);
        let packages = packages
            .into_iter()
            .flatten()
            .filter_map(|(name, why)| why.as_str().map(|why| (name.clone(), why.to_owned())));
        Ok(Self { algorithms, packages: packages.collect() })
    }

    /// The bill of materials: CycloneDX 1.6 with cryptographic assets.
    pub fn to_cbom(&self, version: &str, keys: &[KeyMaterial]) -> Value {
        let mut components = Vec::new();
        let mut depends = BTreeMap::<String, Vec<String>>::new();
        let libraries: BTreeMap<&str, &str> = self
            .algorithms
            .iter()
            .map(|one| (one.library.as_str(), one.version.as_str()))
            .collect();
        for (name, version) in &libraries {
            components.push(json!({
                "type": "library",
                "bom-ref": library_ref(name),
                "name": name,
                "version": version,
                "purl": format!("pkg:cargo/{name}@{version}"),
            }));
        }
        for one in &self.algorithms {
            let mut properties = json!({
                "primitive": one.primitive,
                "executionEnvironment":
                    if one.library == "cryptoki" { "hardware" } else { "software-plain-ram" },
                "cryptoFunctions": one.functions,
                "nistQuantumSecurityLevel": one.quantum_level,
            });
            if one.key_bits > 0 {
                properties["parameterSetIdentifier"] = json!(one.key_bits.to_string());
            }
            if let Some(mode) = &one.mode {
                properties["mode"] = json!(mode);
            }
            if one.classical_bits > 0 {
                properties["classicalSecurityLevel"] = json!(one.classical_bits);
            }
            components.push(json!({
                "type": "cryptographic-asset",
                "bom-ref": algorithm_ref(&one.name),
                "name": one.name,
                "description": format!("{} ({})", one.purpose, one.standard),
                "cryptoProperties": {
                    "assetType": "algorithm",
                    "algorithmProperties": properties,
                },
            }));
            depends.entry("holdfast".into()).or_default().push(algorithm_ref(&one.name));
            depends.entry(algorithm_ref(&one.name)).or_default().push(library_ref(&one.library));
        }
        let sealing = self.algorithms.first().map(|one| algorithm_ref(&one.name));
        for key in keys {
            let mut properties = json!({
                "type": "secret-key",
                "id": key.id,
                "state": if key.active { "active" } else { "deactivated" },
                "size": 256,
                "securedBy": { "mechanism": key.secured_by, "algorithmRef": sealing },
            });
            if let Some(created) = &key.created {
                properties["creationDate"] = json!(created);
            }
            let reference = format!("key/{}", key.id);
            components.push(json!({
                "type": "cryptographic-asset",
                "bom-ref": reference,
                "name": key.id,
                "cryptoProperties": {
                    "assetType": "related-crypto-material",
                    "relatedCryptoMaterialProperties": properties,
                },
            }));
            depends.entry("holdfast".into()).or_default().push(reference);
        }
        let dependencies: Vec<Value> =
            depends.into_iter().map(|(of, on)| json!({ "ref": of, "dependsOn": on })).collect();
        json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "bom-ref": "holdfast",
                    "name": "holdfast",
                    "version": version,
                },
            },
            "components": components,
            "dependencies": dependencies,
        })
    }
}

fn library_ref(name: &str) -> String {
    format!("library/{name}")
}

fn algorithm_ref(name: &str) -> String {
    let plain = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("algorithm/{plain}")
}

/// Versions of packages in a lock file.
fn versions(lock: &str) -> Result<BTreeMap<String, String>, String> {
    let lock: toml::Table = lock
        .parse()
        .map_err(|error: toml::de::Error| format!("Cargo.lock: {}", error.message()))?;
    let packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let text = |package: &toml::Value, key: &str| {
        package.get(key).and_then(toml::Value::as_str).map(str::to_owned)
    };
    Ok(packages.filter_map(|one| Some((text(one, "name")?, text(one, "version")?))).collect())
}
