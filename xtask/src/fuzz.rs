//! `cargo xtask fuzz`: throws mutated documents, searches and expressions at the parsers,
//! in this process, on the stable toolchain.
//!
//! What an input makes a parser say (its issues, with digits left out) stands for the
//! way it took through it: an input that is answered as none before is kept, and mutated
//! further. A panic, an answer that takes longer than [`SLOW`], and a document that does
//! not come back from the other format are findings; their inputs are written to
//! `target/fuzz`.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_fhir::fhirpath::{Environment, Expression};
use holdfast_fhir::search::{Handling, index, parse_query};
use holdfast_fhir::xml::{from_xml, to_xml};
use holdfast_fhir::{Issue, Limits, definitions, parse_resource, validate};

use crate::Outcome;

/// Longer than any input of [`INPUT_BYTES_MAX`] may take, also in a debug build.
const SLOW: Duration = Duration::from_secs(5);
/// Longest input that is tried.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Inputs that are kept for further mutation.
const KEPT_MAX: usize = 20_000;
/// Seeds from the corpora for each target.
const SEEDS_MAX: usize = 300;

/// What a parser said of an input: what stands for its way, or why it is a finding.
type Told = Result<String, String>;

struct Target {
    name: &'static str,
    run: fn(&[u8]) -> Told,
    seeds: fn(&Path) -> Vec<Vec<u8>>,
    /// Pieces that its grammar knows.
    words: &'static [&'static str],
}

const TARGETS: [Target; 4] = [
    Target {
        name: "json",
        run: json,
        seeds: |corpora| files(&corpora.join("fhir/us-core-examples"), "json"),
        words: &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "null",
            "true",
            "1e400",
            "-0.0",
            "\"\\ud800\"",
            "\"id\":",
            "\"_value\":",
            "\"extension\":[",
            "\"resourceType\":\"Bundle\"",
            "\"contained\":[",
            "\"valueQuantity\":",
            "\u{feff}",
            "\0",
            "99999999999999999999",
        ],
    },
    Target {
        name: "xml",
        run: xml,
        seeds: |corpora| {
            let json = files(&corpora.join("fhir/us-core-examples"), "json");
            let read = |bytes: &Vec<u8>| parse_resource(bytes, Limits::default()).ok();
            let mut seeds = files(&corpora.join("fhir/validator-r4"), "xml");
            seeds.extend(json.iter().filter_map(read).map(|r| to_xml(&r, false).into_bytes()));
            seeds
        },
        words: &[
            "<",
            ">",
            "/>",
            "</",
            "&amp;",
            "&#x0;",
            "&#10;",
            "&",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<!DOCTYPE a>",
            "<?x ?>",
            "xmlns=\"http://hl7.org/fhir\"",
            "xmlns:h='http://www.w3.org/1999/xhtml'",
            "<h:div>",
            "<div>",
            " value=\"",
            " id='",
            " url=\"",
            "<extension url=\"a\">",
            "<contained>",
        ],
    },
    Target {
        name: "search",
        run: search,
        seeds: |_| {
            let of_type = |name: &&'static str| {
                let parameters = definitions().search_parameters(name).iter();
                let name = *name;
                parameters
                    .map(move |p| format!("{name}?{}=ge2020-01-01|a,b$c", p.name).into_bytes())
            };
            let names = ["Patient", "Observation", "Encounter", "Location"];
            let given = [
                "Patient?_has:Observation:patient:code=1234-5&_sort=-birthdate&_count=10",
                "Observation?subject:Patient.name:exact=a\\,b&value-quantity=5.40e-3|http://x|mg",
                "Observation?_filter=code eq http://loinc.org|1234-5 and not (date gt 2020)",
                "Encounter?_include:iterate=Encounter:subject&_revinclude=*&_summary=true",
                "Observation?code-value-quantity=a|b$gt5&date=sa2020-02-30T25:61:61Z",
            ];
            let given = given.iter().map(|text| text.as_bytes().to_vec());
            names.iter().flat_map(of_type).chain(given).collect()
        },
        words: &[
            "&",
            "=",
            "|",
            ",",
            "$",
            "\\",
            ":",
            ".",
            "_has:",
            "_include=",
            "_filter=",
            ":missing=",
            ":not=",
            ":in=",
            ":of-type=",
            "_sort=-",
            "_count=",
            "ge",
            "ap",
            "1e400",
            "-",
            "9999999999",
            "2020-02-29T23:59:60Z",
            " and ",
            " or ",
            "not (",
            ")",
            "\u{0}",
            "é",
        ],
    },
    Target {
        name: "fhirpath",
        run: fhirpath,
        seeds: |_| {
            let own = definitions().search_expressions().map(|(_, text)| text.as_bytes().to_vec());
            let given = [
                "Patient.name.where(use = 'official').given.first() | 'a' & 1.5",
                "iif(1 > 2, @2020-01-01T10:00, 5 'mg').toString().replaceMatches('a+', 'b')",
                "repeat(children()).aggregate($this + $total, 0)",
                "name.select(given.join(' ')).matches('^[A-Z]+$') implies true",
            ];
            own.chain(given.iter().map(|text| text.as_bytes().to_vec())).collect()
        },
        words: &[
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ".",
            "|",
            "'",
            "`",
            "$this",
            "$total",
            "%resource",
            "@2020",
            "repeat(",
            "children()",
            "descendants()",
            "where(",
            "select(",
            "all(",
            "iif(",
            "aggregate(",
            "matches('",
            "replaceMatches('",
            "power(",
            "exp()",
            " and ",
            " is ",
            " as ",
            " div ",
            " mod ",
            "9223372036854775807",
            "1e400",
            "-",
            "//",
            "/*",
        ],
    },
];

/// Runs `--seconds N` (60) for each target, or the one that `--only` names.
pub fn run(arguments: &[String]) -> Outcome {
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1))
    };
    let seconds: u64 = value("--seconds").map_or(Ok(60), |text| text.parse())?;
    let seed: u64 = value("--seed").map_or(Ok(1), |text| text.parse())?;
    let corpora = PathBuf::from(value("--corpora").map_or("../shared/corpora", String::as_str));
    let mut findings = 0;
    for target in &TARGETS {
        if value("--only").is_none_or(|only| only == target.name) {
            findings += fuzz(target, &corpora, Duration::from_secs(seconds), seed)?;
        }
    }
    match findings {
        0 => Ok(()),
        count => Err(format!("fuzz: {count} findings in target/fuzz").into()),
    }
}

fn fuzz(
    target: &Target,
    corpora: &Path,
    time: Duration,
    seed: u64,
) -> Result<usize, Box<dyn std::error::Error>> {
    let mut kept = (target.seeds)(corpora);
    kept.retain(|seed| seed.len() <= INPUT_BYTES_MAX);
    if kept.is_empty() {
        kept.push(b"{}".to_vec());
    }
    let mut choices = Choices(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut ways, mut findings) = (BTreeSet::new(), BTreeSet::new());
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let began = Instant::now();
    let (mut tries, mut slowest) = (0_u64, Duration::ZERO);
    let seeds = kept.len();
    while began.elapsed() < time {
        let input = match kept.get(tries as usize) {
            Some(seed) if (tries as usize) < seeds => seed.clone(),
            _ => mutated(&kept, target.words, &mut choices),
        };
        tries += 1;
        let at = Instant::now();
        let told = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let took = at.elapsed();
        slowest = slowest.max(took);
        let problem = match told {
            Ok(Ok(way)) if took < SLOW => {
                if ways.insert(hash(&way)) && kept.len() < KEPT_MAX {
                    kept.push(input);
                }
                continue;
            }
            Ok(Ok(_)) => format!("took {} s", took.as_secs()),
            Ok(Err(problem)) => problem,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                format!("panicked: {}", text.unwrap_or_default())
            }
        };
        if findings.insert(shape(&problem)) {
            let folder = Path::new("target/fuzz");
            std::fs::create_dir_all(folder)?;
            let file = folder.join(format!("{}-{:016x}", target.name, hash(&input)));
            std::fs::write(&file, &input)?;
            println!("fuzz {}: {problem}: {}", target.name, file.display());
        }
    }
    std::panic::set_hook(quiet);
    println!(
        "fuzz {}: {tries} inputs, {} ways, slowest {} ms, {} findings",
        target.name,
        ways.len(),
        slowest.as_millis(),
        findings.len()
    );
    Ok(findings.len())
}

fn json(input: &[u8]) -> Told {
    let resource = match parse_resource(input, Limits::default()) {
        Ok(resource) => resource,
        Err(issue) => return Ok(shape(&issue.diagnostics)),
    };
    let issues = validate(&resource);
    let entries = index(&resource).len();
    let xml = to_xml(&resource, false);
    if issues.iter().all(|issue| !issue.is_error()) {
        match from_xml(xml.as_bytes(), Limits::default()) {
            Ok(_) => {}
            Err(issues) if issues.iter().any(|i| i.diagnostics.contains("deep")) => {}
            Err(issues) => return Err(format!("a valid document is no XML: {}", issues[0])),
        }
    }
    Ok(format!("{entries} {}", ways_of(&issues)))
}

fn xml(input: &[u8]) -> Told {
    let resource = match from_xml(input, Limits::default()) {
        Ok(resource) => resource,
        Err(issues) => return Ok(ways_of(&issues)),
    };
    let written = to_xml(&resource, true);
    match from_xml(written.as_bytes(), Limits::default()) {
        Ok(back) if back == resource => Ok(ways_of(&validate(&resource))),
        Ok(_) => Err("a document came back different".to_owned()),
        Err(issues) => Err(format!("what was written cannot be read: {}", issues[0])),
    }
}

fn search(input: &[u8]) -> Told {
    let text = String::from_utf8_lossy(input);
    let (name, query) = text.split_once('?').unwrap_or(("Patient", &text));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    };
    let pairs: Vec<_> = query.split('&').map(pair).collect();
    let lenient = parse_query(name, &pairs, Handling::Lenient).is_ok();
    Ok(match parse_query(name, &pairs, Handling::Strict) {
        Ok(_) => format!("{name} {}", shape(query)),
        Err(issues) => format!("{lenient} {}", ways_of(&issues)),
    })
}

fn fhirpath(input: &[u8]) -> Told {
    let text = String::from_utf8_lossy(input);
    let expression = match Expression::compile(&text) {
        Ok(expression) => expression,
        Err(error) => return Ok(shape(&error.to_string())),
    };
    let resource = serde_json::json!({
        "resourceType": "Patient", "id": "1", "active": true, "birthDate": "2000-01-01",
        "name": [{ "use": "official", "family": "A", "given": ["B", "C"] }, { "given": ["D"] }],
        "contact": [{ "name": { "family": "E" } }], "multipleBirthInteger": 2,
        "extension": [{ "url": "urn:x", "valueQuantity": { "value": 1.50, "code": "mg" } }],
    });
    let found = expression.evaluate(&resource).len();
    let told = expression.evaluate_with(&resource, None, &Environment::default());
    Ok(match told {
        Ok(items) => format!("{found} {} {}", items.len(), shape(&text)),
        Err(error) => shape(&error.to_string()),
    })
}

fn ways_of(issues: &[Issue]) -> String {
    let told: BTreeSet<String> =
        issues.iter().map(|i| format!("{} {}", i.code, shape(&i.diagnostics))).collect();
    told.into_iter().collect::<Vec<_>>().join(";")
}

/// A text without what differs from place to place: digits, and repeated letters' number.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '9' } else { c };
        if !shape.ends_with(c) {
            shape.push(c);
        }
    }
    shape.chars().take(200).collect()
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Choices from a seed (xorshift64).
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// One of the kept inputs, changed in a few places.
fn mutated(kept: &[Vec<u8>], words: &[&str], choices: &mut Choices) -> Vec<u8> {
    // Those that were kept last are the ones that led on.
    let recent = kept.len().min(200);
    let place = match choices.below(2) {
        0 => kept.len() - 1 - choices.below(recent),
        _ => choices.below(kept.len()),
    };
    let mut input = kept[place].clone();
    for _ in 0..=choices.below(4) {
        let at = choices.below(input.len() + 1);
        let end = (at + 1 + choices.below(24)).min(input.len());
        match choices.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 if at < input.len() => input[at] ^= 1 << choices.below(8),
            3 => {
                let again = input[at..end].to_vec();
                let times = if choices.below(20) == 0 { 500 } else { 1 };
                let again = again.repeat(times);
                input.splice(at..at, again);
            }
            4 => {
                let other = &kept[choices.below(kept.len())];
                let from = choices.below(other.len() + 1);
                let to = (from + 1 + choices.below(200)).min(other.len());
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let word = words[choices.below(words.len())].bytes();
                let replace = if choices.below(2) == 0 { at..end } else { at..at };
                input.splice(replace, word);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// The files below `folder` that end in `extension`; none when it is not at hand.
fn files(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|of| of == extension))
        .collect();
    paths.sort();
    paths.iter().take(SEEDS_MAX).filter_map(|path| std::fs::read(path).ok()).collect()
}
