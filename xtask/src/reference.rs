//! The reference validator's verdicts (`fhir/validator-r4` of the corpora) against
//! ours: the same documents, profiles and supporting definitions, and whether both
//! find errors.
//!
//! Every difference is explained in `xtask/validator-differences.tsv` (name of the
//! verdict, tab, reason); one that is not listed is a failure, and so is a listed one
//! that is none any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use holdfast_fhir::profile::{Profile, Registry, Strictness, check_profiles};
use holdfast_fhir::{Issue, Limits, parse_resource, validate, xml};
use serde_json::Value;

/// Differences and why they are there.
const DIFFERENCES: &str = include_str!("../validator-differences.tsv");

/// One verdict of the reference and ours.
#[derive(Debug)]
pub struct Verdict {
    /// Name of the case, with `+profile` where a profile is named on the command line.
    pub name: String,
    /// Whether the reference finds errors.
    pub theirs: bool,
    /// Places of the errors that the reference finds.
    pub their_places: BTreeSet<String>,
    /// The errors that we find.
    pub ours: Vec<Issue>,
}

impl Verdict {
    /// Whether both find errors, or neither.
    pub fn agrees(&self) -> bool {
        self.theirs != self.ours.is_empty()
    }

    /// Whether some error is at the same place.
    pub fn shares_a_place(&self) -> bool {
        self.ours.iter().any(|issue| self.their_places.contains(&plain(&issue.expression)))
    }
}

/// What the run showed.
#[derive(Debug)]
pub struct Comparison {
    /// Every verdict.
    pub verdicts: Vec<Verdict>,
    /// What is wrong with the list of differences.
    pub failures: Vec<String>,
}

impl Comparison {
    /// How many agree.
    pub fn agreeing(&self) -> usize {
        self.verdicts.iter().filter(|verdict| verdict.agrees()).count()
    }
}

/// Compares all cases in `folder`.
///
/// # Errors
/// When the folder is not as its README says.
pub fn compare(folder: &Path) -> Result<Comparison, Box<dyn std::error::Error>> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let mut verdicts = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for case in items(&manifest["test-cases"]) {
        let count = seen.entry(text(case, "name").to_owned()).or_default();
        *count += 1;
        let name = match count {
            1 => text(case, "name").to_owned(),
            count => format!("{} ({count})", text(case, "name")),
        };
        verdicts.extend(verdict(folder, case, None, name.clone()));
        if case["profile"].is_object() {
            verdicts.extend(verdict(folder, case, Some(&case["profile"]), name + "+profile"));
        }
    }
    let mut failures = Vec::new();
    let known: BTreeMap<&str, &str> =
        DIFFERENCES.lines().filter_map(|line| line.split_once('\t')).collect();
    for verdict in &verdicts {
        match (verdict.agrees(), known.get(verdict.name.as_str())) {
            (true, Some(_)) => {
                failures.push(format!("{} agrees now; take it off the list", verdict.name))
            }
            (false, None) => {
                failures.push(format!("{} differs and is not explained", verdict.name))
            }
            _ => {}
        }
    }
    let names: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.name.as_str()).collect();
    failures.extend(
        known.keys().filter(|name| !names.contains(*name)).map(|name| format!("{name} is no case")),
    );
    Ok(Comparison { verdicts, failures })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn read(folder: &Path, name: &str) -> Result<Value, Vec<Issue>> {
    let bytes = std::fs::read(folder.join(name))
        .map_err(|_| vec![Issue::error("not-found", "", "no such file")])?;
    if name.ends_with(".xml") {
        return xml::from_xml(&bytes, Limits::default());
    }
    parse_resource(&bytes, Limits::default()).map_err(|issue| vec![issue])
}

/// One verdict; `None` when the corpora do not have the outcome.
fn verdict(folder: &Path, case: &Value, profile: Option<&Value>, name: String) -> Option<Verdict> {
    let outcome = folder.join("outcomes").join(text(profile.unwrap_or(case), "java"));
    let outcome: Value = serde_json::from_slice(&std::fs::read(outcome).ok()?).ok()?;
    let is_error = |issue: &&Value| matches!(text(issue, "severity"), "error" | "fatal");
    let theirs: Vec<&Value> = items(&outcome["issue"]).filter(is_error).collect();
    let place = |issue: &&Value| plain(issue["expression"][0].as_str().unwrap_or_default());
    Some(Verdict {
        name,
        theirs: !theirs.is_empty(),
        their_places: theirs.iter().map(place).collect(),
        ours: errors(folder, case, profile),
    })
}

/// The errors that we find.
fn errors(folder: &Path, case: &Value, profile: Option<&Value>) -> Vec<Issue> {
    let resource = match read(folder, text(case, "file")) {
        Ok(resource) => resource,
        Err(issues) => return issues,
    };
    let mut registry = Registry::default();
    let mut files: Vec<&str> = items(&case["supporting"]).filter_map(Value::as_str).collect();
    files.extend(items(&case["profiles"]).filter_map(Value::as_str));
    let mut profiles: Vec<Arc<Profile>> = Vec::new();
    let mut source = None;
    if let Some(profile) = profile {
        files.extend(items(&profile["supporting"]).filter_map(Value::as_str));
        source = profile["source"].as_str();
        files.extend(source);
    }
    let mut issues = Vec::new();
    let mut named = None;
    for file in files {
        match read(folder, file) {
            Ok(definition) => {
                if source == Some(file) {
                    named = definition["url"].as_str().map(str::to_owned);
                }
                registry.add(definition);
            }
            Err(problems) => issues.extend(problems.into_iter().map(|issue| Issue {
                diagnostics: format!("{file}: {}", issue.diagnostics),
                ..issue
            })),
        }
    }
    profiles.extend(named.and_then(|url| registry.profile(&url)));
    if source.is_some() && profiles.is_empty() {
        issues.push(Issue::error("not-found", "", "the profile cannot be compiled"));
    }
    issues.extend(validate(&resource));
    issues.extend(check_profiles(&resource, &registry, &profiles, Strictness::Reference).issues);
    issues.retain(Issue::is_error);
    issues
}

/// A place without the comments that the reference puts in it.
fn plain(place: &str) -> String {
    let mut plain = String::new();
    for (number, part) in place.split("/*").enumerate() {
        let rest =
            if number == 0 { part } else { part.split_once("*/").map_or("", |(_, rest)| rest) };
        plain += rest;
    }
    plain
}

/// Prints the comparison; what is wrong with it.
pub fn report(folder: &Path) -> Vec<String> {
    let comparison = match compare(folder) {
        Ok(comparison) => comparison,
        Err(error) => return vec![format!("validator-r4: {error}")],
    };
    let verdicts = &comparison.verdicts;
    let both: Vec<&Verdict> = verdicts.iter().filter(|it| it.agrees() && it.theirs).collect();
    let shared = both.iter().filter(|verdict| verdict.shares_a_place()).count();
    println!(
        "fhir/validator-r4: {} of {} verdicts agree with the reference; of {} with errors {shared} share a place",
        comparison.agreeing(),
        verdicts.len(),
        both.len()
    );
    comparison.failures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_and_we_differ_only_where_it_is_explained() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora/fhir/validator-r4");
        if !folder.is_dir() {
            println!("skipped: {} is not at hand", folder.display());
            return;
        }
        let comparison = compare(&folder).expect("reads");
        let (agreeing, all) = (comparison.agreeing(), comparison.verdicts.len());
        for verdict in comparison.verdicts.iter().filter(|verdict| !verdict.agrees()) {
            println!("{}: the reference finds errors: {}", verdict.name, verdict.theirs);
            verdict.ours.iter().take(4).for_each(|issue| println!("   we: {issue}"));
        }
        println!("{agreeing} of {all} agree");
        assert_eq!(comparison.failures, Vec::<String>::new());
        assert!(agreeing * 10 >= all * 9, "{agreeing} of {all}");
    }
}
