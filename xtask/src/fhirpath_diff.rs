//! `fhirpath-diff [DIR]`: evaluates every R4 search parameter over the resources
//! of the corpora, here and with the npm package `fhirpath`, and compares.
//!
//! Needs node and npm, and the network for npm: the package goes into a temporary
//! folder. Not part of `test`. Differences that are explained stand in
//! `xtask/data/fhirpath-differences.txt`, by search parameter; others fail the verb.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_fhir::definitions;
use holdfast_fhir::fhirpath::{Expression, Item};
use serde_json::{Value, json};

use crate::Outcome;

/// The package and the version that the differences were explained for.
const PACKAGE: &str = "fhirpath@5.2.2";
const SCRIPT: &str = include_str!("../data/fhirpath-diff.cjs");
const EXPLAINED: &str = include_str!("../data/fhirpath-differences.txt");
/// Resources of one type that are compared: more of the same tell nothing.
const RESOURCES_MAX: usize = 300;

/// Runs the verb.
pub fn run(arguments: &[String]) -> Outcome {
    let folder = match arguments {
        [] => crate::tidy::workspace().join("../shared/corpora/fhir"),
        [folder] => PathBuf::from(folder),
        _ => return Err("fhirpath-diff takes one folder".into()),
    };
    if !folder.is_dir() {
        println!("fhirpath-diff skipped: there are no corpora at {}", folder.display());
        return Ok(());
    }
    let temporary = tempfile::tempdir()?;
    let cases = temporary.path().join("cases.ndjson");
    let (resources, evaluated) = write_cases(&folder, &cases)?;
    println!("{evaluated} evaluations over {resources} resources");
    install(temporary.path())?;
    std::fs::write(temporary.path().join("diff.cjs"), SCRIPT)?;
    let output = Command::new("node").arg("diff.cjs").current_dir(temporary.path()).output()?;
    if !output.status.success() {
        return Err(format!("node: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut differences: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in output.stdout.lines() {
        let difference: Value = serde_json::from_str(&line?)?;
        let id = difference["id"].as_str().unwrap_or_default().to_owned();
        differences.entry(id).or_default().push(difference);
    }
    let explained: BTreeMap<&str, &str> = EXPLAINED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .collect();
    let mut open = 0;
    for (id, found) in &differences {
        if let Some(reason) = explained.get(id.as_str()) {
            println!("{:>6} × {id}: {reason}", found.len());
        } else {
            open += 1;
            println!("{:>6} × {id} DIFFERS, for example {}", found.len(), found[0]);
        }
    }
    for id in explained.keys().filter(|id| !differences.contains_key(**id)) {
        println!("       {id} is explained and does not differ");
    }
    let count: usize = differences.values().map(Vec::len).sum();
    println!("{} of {evaluated} evaluations are equal", evaluated - count);
    if open > 0 { Err(format!("{open} search parameters differ").into()) } else { Ok(()) }
}

fn install(folder: &Path) -> Outcome {
    std::fs::write(folder.join("package.json"), "{\"private\": true}")?;
    let arguments = ["install", "--silent", "--no-audit", "--no-fund", PACKAGE];
    let status = Command::new("npm").args(arguments).current_dir(folder).status()?;
    if status.success() { Ok(()) } else { Err("npm did not install the package".into()) }
}

/// Writes a line for each resource, followed by a line for each of its parameters.
fn write_cases(folder: &Path, to: &Path) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(to)?);
    let mut compiled: BTreeMap<String, Vec<(&str, &str, Expression)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let (mut resources, mut evaluated) = (0, 0);
    for path in json_files(folder)? {
        let Ok(value) = serde_json::from_slice::<Value>(&std::fs::read(&path)?) else { continue };
        let entries = value["entry"].as_array().into_iter().flatten();
        let inner = entries.map(|entry| &entry["resource"]);
        for resource in std::iter::once(&value).chain(inner) {
            let Some(kind) = resource["resourceType"].as_str() else { continue };
            let count = counts.entry(kind.to_owned()).or_default();
            *count += 1;
            if *count > RESOURCES_MAX || !definitions().is_resource_type(kind) {
                continue;
            }
            let expressions = compiled.entry(kind.to_owned()).or_insert_with(|| compile(kind));
            let place = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
            writeln!(out, "{}", json!({"place": place, "resource": resource}))?;
            resources += 1;
            for (id, expression, compiled) in expressions.iter() {
                let ours: Vec<Value> =
                    compiled.evaluate(resource).iter().map(Item::to_value).collect();
                writeln!(out, "{}", json!({"id": id, "expression": expression, "ours": ours}))?;
                evaluated += 1;
            }
        }
    }
    out.flush()?;
    Ok((resources, evaluated))
}

fn compile(kind: &str) -> Vec<(&'static str, &'static str, Expression)> {
    definitions()
        .search_parameters(kind)
        .iter()
        .filter(|parameter| !parameter.expression.is_empty())
        .filter_map(|parameter| {
            let compiled = Expression::compile(parameter.expression).ok()?;
            Some((parameter.id, parameter.expression, compiled.specialised(kind)))
        })
        .collect()
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(json_files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
