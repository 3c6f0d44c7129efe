//! `ARCHITECTURE.md` names every crate, and justifies every package of others that
//! the default build is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::Complaints;
use super::edges::Manifest;

/// The crate that a user builds.
const DEFAULT: &str = "holdfast";
/// The heading over the table of packages.
const HEADING: &str = "## Dependencies";
/// A shorter justification is none.
const WORDS_MIN: usize = 3;

/// Every crate and package that the map does not name, and every row about a
/// package that is not used any more.
pub fn check(text: &str, manifests: &[Manifest]) -> Complaints {
    let mut complaints = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.name != "xtask") {
        if !text.contains(&format!("`{}`", manifest.name)) {
            complaints.push(format!("ARCHITECTURE.md does not name the crate `{}`", manifest.name));
        }
    }
    let rows = rows(text);
    let used = packages(manifests);
    for package in &used {
        match rows.get(package.as_str()) {
            None => complaints.push(format!(
                "ARCHITECTURE.md does not say under {HEADING:?} what `{package}` is for"
            )),
            Some(why) if why.split_whitespace().count() < WORDS_MIN => {
                complaints.push(format!("ARCHITECTURE.md: `{package}` has no justification"))
            }
            Some(_) => {}
        }
    }
    for row in rows.keys().filter(|row| !used.contains(**row)) {
        complaints.push(format!("ARCHITECTURE.md: `{row}` is in no default build any more"));
    }
    complaints
}

/// Packages of others on which the default build depends directly, through any of
/// our crates. Packages that only tests or chores use do not count.
fn packages(manifests: &[Manifest]) -> BTreeSet<String> {
    let of = |name: &str| manifests.iter().find(|manifest| manifest.name == name);
    let (mut seen, mut open) = (BTreeSet::new(), vec![DEFAULT.to_owned()]);
    let mut packages = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        for dependency in of(&name).into_iter().flat_map(|manifest| &manifest.dependencies) {
            if of(dependency).is_some() {
                open.push(dependency.clone());
            } else {
                packages.insert(dependency.clone());
            }
        }
    }
    packages
}

/// The rows of the table: package, and what its second column says.
fn rows(text: &str) -> BTreeMap<&str, &str> {
    let Some((_, section)) = text.split_once(HEADING) else { return BTreeMap::new() };
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, rest.split(" |").next().unwrap_or_default()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &[&str]) -> Manifest {
        Manifest {
            name: name.into(),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
            dev_dependencies: vec!["proptest".into()],
            ..Manifest::default()
        }
    }

    fn told(text: &str) -> Complaints {
        check(
            text,
            &[
                manifest("holdfast", &["holdfast-base", "clap"]),
                manifest("holdfast-base", &["jiff"]),
                manifest("xtask", &["toml"]),
            ],
        )
    }

    const WHOLE: &str = "`holdfast` and `holdfast-base`\n## Dependencies\n\n| package | for |\n\
        | --- | --- |\n| `clap` | parses the command line |\n| `jiff` | dates and calendars only |\n";

    #[test]
    fn a_whole_map_passes() {
        assert_eq!(told(WHOLE), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_or_left_over_is_named() {
        for (from, to, word) in [
            ("`holdfast-base`", "the base", "holdfast-base"),
            ("| `jiff` | dates and calendars only |\n", "", "jiff"),
            ("parses the command line", "parsing", "clap"),
            ("| `jiff`", "| `chrono` | dates and calendars |\n| `jiff`", "chrono"),
        ] {
            let complaints = told(&WHOLE.replace(from, to));
            assert_eq!(complaints.len(), 1, "{complaints:?}");
            assert!(complaints[0].contains(word), "{complaints:?}");
        }
    }
}
