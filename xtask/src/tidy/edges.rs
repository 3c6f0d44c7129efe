//! Who may lean on whom. A boundary that security relies on is a crate, and the
//! edges between crates are this table.

use std::collections::BTreeMap;

use super::{Complaints, File};

/// Crate, and the crates of ours that it may depend on.
const MAY_LEAN_ON: &[(&str, &[&str])] = &[
    ("holdfast-base", &[]),
    ("holdfast-fhir", &["holdfast-base"]),
    ("holdfast-intake", &["holdfast-base", "holdfast-fhir"]),
    ("holdfast-mpi", &["holdfast-base", "holdfast-fhir"]),
    ("holdfast-policy", &["holdfast-base", "holdfast-fhir"]),
    ("holdfast-ledger", &["holdfast-base"]),
    ("holdfast-keeper", &["holdfast-base", "holdfast-ledger"]),
    ("holdfast-store", &["holdfast-base"]),
    ("holdfast-backup", &["holdfast-base", "holdfast-ledger", "holdfast-keeper", "holdfast-store"]),
    ("holdfast-watch", &["holdfast-base", "holdfast-ledger"]),
    ("holdfast-respond", &["holdfast-base", "holdfast-ledger"]),
    (
        "holdfast-exchange",
        &[
            "holdfast-base",
            "holdfast-fhir",
            "holdfast-intake",
            "holdfast-mpi",
            "holdfast-policy",
            "holdfast-ledger",
            "holdfast-keeper",
            "holdfast-store",
            "holdfast-backup",
            "holdfast-watch",
            "holdfast-respond",
        ],
    ),
    ("holdfast-server", &["holdfast-base", "holdfast-fhir", "holdfast-exchange"]),
    ("holdfast-sample", &["holdfast-base"]),
    ("holdfast-testkit", ANYTHING),
    ("holdfast-testkit-postgres", &[]),
    ("holdfast-testkit-power", &[]),
    ("holdfast", ANYTHING),
    ("holdfast-bench", ANYTHING),
    ("holdfast-attack", ANYTHING),
    ("xtask", &["holdfast-base", "holdfast-fhir", "holdfast-intake"]),
];

/// The wiring puts everything together, and so do the tools of tests.
const ANYTHING: &[&str] = &["*"];

/// What the tests of every room may use besides. Nothing ships with the first.
const FOR_TESTS: &[&str] =
    &["holdfast-testkit", "holdfast-testkit-postgres", "holdfast-testkit-power", "holdfast-sample"];

/// What the rule protects, by who broke it.
fn why(from: &str) -> &'static str {
    match from {
        "holdfast-server" => "a door reaches records through the exchange and through nothing else",
        "holdfast-store" => "the store sees sealed bytes and tokens only: no key, no document",
        "holdfast-keeper" => "whatever stands beside the keys can leak them",
        "holdfast-base" | "holdfast-sample" => "everybody may use it, so it may use nobody",
        "holdfast-ledger" => "whoever verifies a ledger should need nothing else",
        _ => "a pure room leans on documents and identifiers, not on keys, stores or doors",
    }
}

/// What a manifest says about dependencies.
#[derive(Default)]
pub struct Manifest {
    /// Path of the manifest.
    pub path: String,
    /// The package's name.
    pub name: String,
    /// What it is built with.
    pub dependencies: Vec<String>,
    /// What its tests need besides.
    pub dev_dependencies: Vec<String>,
}

/// The manifests of the crates among `files`; the workspace's own is none.
pub fn manifests(files: &[File]) -> Vec<Manifest> {
    files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter_map(|file| manifest(&file.path, file.text.as_deref()?))
        .collect()
}

fn manifest(path: &str, text: &str) -> Option<Manifest> {
    let table: toml::Table = text.parse().ok()?;
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    let mut manifest = Manifest { path: path.to_owned(), name, ..Manifest::default() };
    collect(&table, &mut manifest);
    let targets = table.get("target").and_then(toml::Value::as_table);
    for target in targets.into_iter().flat_map(toml::Table::values) {
        if let Some(target) = target.as_table() {
            collect(target, &mut manifest);
        }
    }
    Some(manifest)
}

fn collect(table: &toml::Table, manifest: &mut Manifest) {
    let names = |key: &str| -> Vec<String> {
        let section = table.get(key).and_then(toml::Value::as_table);
        let entries = section.into_iter().flat_map(toml::Table::iter);
        entries
            .map(|(name, entry)| {
                let renamed = entry.get("package").and_then(toml::Value::as_str);
                renamed.unwrap_or(name).to_owned()
            })
            .collect()
    };
    manifest.dependencies.extend(names("dependencies"));
    manifest.dependencies.extend(names("build-dependencies"));
    manifest.dev_dependencies.extend(names("dev-dependencies"));
}

/// Every edge that the table does not allow. Tests of a door may not reach round
/// the exchange either.
pub fn check(manifests: &[Manifest]) -> Complaints {
    let table: BTreeMap<&str, &[&str]> = MAY_LEAN_ON.iter().copied().collect();
    let mut complaints = Vec::new();
    for manifest in manifests {
        let (path, name) = (&manifest.path, manifest.name.as_str());
        let Some(allowed) = table.get(name) else {
            complaints.push(format!(
                "{path}: {name} is no room of the house; give it a row in xtask/src/tidy/edges.rs"
            ));
            continue;
        };
        let may = |to: &str| *allowed == ANYTHING || allowed.contains(&to);
        let shipped = manifest.dependencies.iter().filter(|to| !may(to));
        let tested = manifest
            .dev_dependencies
            .iter()
            .filter(|to| !may(to) && !FOR_TESTS.contains(&to.as_str()));
        for to in shipped.chain(tested).filter(|to| to.starts_with("holdfast") || *to == "xtask") {
            complaints.push(format!("{path}: {name} may not lean on {to}: {}", why(name)));
        }
        let kits = manifest.dependencies.iter().filter(|to| to.starts_with("holdfast-testkit"));
        if !["holdfast-testkit", "holdfast-attack"].contains(&name) && kits.count() > 0 {
            complaints
                .push(format!("{path}: holdfast-testkit is for tests; nothing ships with it"));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, dependencies: &str) -> Complaints {
        let text = format!("[package]\nname = \"{name}\"\n{dependencies}");
        check(&manifests(&[File { path: "crates/x/Cargo.toml".into(), text: Some(text) }]))
    }

    #[test]
    fn a_door_may_not_lean_on_store_keeper_or_ledger() {
        for room in ["store", "keeper", "ledger", "intake", "respond", "watch", "policy", "mpi"] {
            let edge = format!("[dependencies]\nholdfast-{room}.workspace = true");
            let complaints = told("holdfast-server", &edge);
            assert_eq!(complaints.len(), 1, "{room}");
            assert!(complaints[0].contains(&format!("may not lean on holdfast-{room}")));
        }
        let fine = "[dependencies]\nholdfast-exchange.workspace = true\naxum = \"1\"";
        assert!(told("holdfast-server", fine).is_empty());
    }

    #[test]
    fn tests_renames_and_targets_do_not_open_a_way_round() {
        for edge in [
            "[dev-dependencies]\nholdfast-store.workspace = true",
            "[dependencies]\nsafe = { package = \"holdfast-store\", path = \"../store\" }",
            "[target.'cfg(unix)'.dependencies]\nholdfast-store.workspace = true",
            "[build-dependencies]\nholdfast-store.workspace = true",
        ] {
            assert_eq!(told("holdfast-server", edge).len(), 1, "{edge}");
        }
    }

    #[test]
    fn the_wiring_may_lean_on_anything_but_test_tools() {
        let store = "[dependencies]\nholdfast-store.workspace = true";
        assert!(told("holdfast", store).is_empty());
        assert_eq!(told("holdfast", "[dependencies]\nholdfast-testkit.workspace = true").len(), 1);
        let tests = "[dev-dependencies]\nholdfast-testkit.workspace = true";
        assert!(told("holdfast-store", tests).is_empty());
        let ships = "[dependencies]\nholdfast-sample.workspace = true";
        assert_eq!(told("holdfast-store", ships).len(), 1);
    }

    #[test]
    fn a_new_crate_needs_a_row() {
        assert_eq!(told("holdfast-billing", "").len(), 1);
    }
}
