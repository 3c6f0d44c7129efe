//! The matching sets in `../shared/corpora/mpi`, as Patient resources.
#![allow(dead_code)]

pub mod person;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use holdfast_mpi::{Features, Token, Tokens, blocking_keys, features};
use serde_json::{Value, json};

/// Tokens without a key: for tests only.
pub struct PlainTokens;

impl Tokens for PlainTokens {
    fn token(&self, label: &str, value: &str) -> Token {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in label.bytes().chain([0]).chain(value.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        (hash ^ (hash >> 33)).to_be_bytes()
    }
}

/// One row of a set, with the true cluster.
pub struct Row {
    pub features: Features,
    pub cluster: String,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora/mpi")
}

type Columns = HashMap<String, String>;

fn read(name: &str) -> Option<Vec<Columns>> {
    let mut reader = csv::Reader::from_path(folder().join(name)).ok()?;
    Some(reader.deserialize().map(|row| row.expect("a well-formed row")).collect())
}

/// The rows of a set with `patient` made from each; `None`, said aloud, when
/// the sets are not at hand.
fn rows(files: &[&str], patient: fn(&Columns) -> Value) -> Option<Vec<Row>> {
    let mut out = Vec::new();
    for file in files {
        let (rows, truth) = (read(&format!("{file}.csv")), read(&format!("{file}.truth.csv")));
        let (Some(rows), Some(truth)) = (rows, truth) else {
            println!("skipped: no {} in {}", file, folder().display());
            return None;
        };
        let clusters: HashMap<_, _> =
            truth.into_iter().map(|row| (row["rec_id"].clone(), row["cluster"].clone())).collect();
        out.extend(rows.iter().map(|row| Row {
            features: features(&patient(row), &PlainTokens),
            cluster: clusters[&row["rec_id"]].clone(),
        }));
    }
    Some(out)
}

fn identifier(system: &str, value: &str) -> Value {
    json!({ "system": system, "value": value })
}

fn dashed(date: &str) -> String {
    match date.len() {
        8 => format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]),
        _ => date.to_owned(),
    }
}

/// Leaves out what is blank.
fn full(values: Vec<Value>) -> Vec<Value> {
    let is_full = |value: &Value| value["value"].as_str().is_none_or(|text| !text.is_empty());
    values.into_iter().filter(is_full).collect()
}

pub fn us_dev() -> Option<Vec<Row>> {
    rows(&["us_dev"], |row| {
        let number_and_street = format!("{} {}", row["street_number"], row["street_name"]);
        let unit =
            if row["unit"].is_empty() { String::new() } else { format!("Apt {}", row["unit"]) };
        json!({
            "resourceType": "Patient",
            "name": [{ "family": row["last_name"], "given": [row["first_name"], row["middle_name"]] }],
            "birthDate": row["birth_date"],
            "gender": match row["sex"].as_str() { "F" => "female", "M" => "male", _ => "unknown" },
            "identifier": full(vec![identifier("http://hl7.org/fhir/sid/us-ssn", &row["ssn"])]),
            "telecom": full(vec![json!({ "system": "phone", "value": row["phone"] })]),
            "address": [{
                "line": [number_and_street, unit], "city": row["city"],
                "state": row["state"], "postalCode": row["zip"],
            }],
        })
    })
}

fn febrl(row: &Columns) -> Value {
    json!({
        "resourceType": "Patient",
        "name": [{ "family": row["surname"], "given": [row["given_name"]] }],
        "birthDate": dashed(&row["date_of_birth"]),
        "identifier": full(vec![identifier("urn:febrl:soc-sec-id", &row["soc_sec_id"])]),
        "address": [{
            "line": [format!("{} {}", row["street_number"], row["address_1"]), row["address_2"]],
            "city": row["suburb"], "state": row["state"], "postalCode": row["postcode"],
        }],
    })
}

pub fn febrl1() -> Option<Vec<Row>> {
    rows(&["febrl1"], febrl)
}

pub fn febrl4() -> Option<Vec<Row>> {
    rows(&["febrl4a", "febrl4b"], febrl)
}

pub fn fake_1000() -> Option<Vec<Row>> {
    rows(&["fake_1000"], |row| {
        json!({
            "resourceType": "Patient",
            "name": [{ "family": row["surname"], "given": [row["first_name"]] }],
            "birthDate": row["dob"],
            "telecom": full(vec![json!({ "system": "email", "value": row["email"] })]),
            "address": [{ "city": row["city"] }],
        })
    })
}

pub fn uganda(with_identifiers: bool) -> Option<Vec<Row>> {
    fn bare(row: &Columns) -> Value {
        json!({
            "resourceType": "Patient",
            "name": [{ "family": row["surname"], "given": [row["given_name"]] }],
            "birthDate": dashed(&row["date_of_birth"]),
            "gender": match row["sex"].as_str() { "f" => "female", "m" => "male", _ => "unknown" },
            "telecom": full(vec![json!({ "system": "phone", "value": row["phone_number"] })]),
        })
    }
    fn identified(row: &Columns) -> Value {
        let mut patient = bare(row);
        patient["identifier"] = full(vec![
            identifier("urn:uganda:nin", &row["uganda_nin"]),
            identifier("urn:uganda:art", &row["art_number"]),
        ])
        .into();
        patient
    }
    rows(&["opencr_uganda"], if with_identifiers { identified } else { bare })
}

/// Pairs of rows that share a blocking key, smaller number first.
pub fn candidate_pairs(rows: &[Row]) -> BTreeSet<(usize, usize)> {
    let mut buckets = HashMap::<Token, Vec<usize>>::new();
    for (place, row) in rows.iter().enumerate() {
        for key in blocking_keys(&row.features) {
            buckets.entry(key).or_default().push(place);
        }
    }
    let buckets = buckets.into_values().filter(|bucket| bucket.len() <= 400);
    buckets
        .flat_map(|b| {
            let pairs = |i: usize| b[i + 1..].iter().map(move |j| (i, *j)).collect::<Vec<_>>();
            (0..b.len()).flat_map(pairs).map(|(i, j)| (b[i], j)).collect::<Vec<_>>()
        })
        .collect()
}

/// How many pairs of rows are the same person.
pub fn true_pairs_count(rows: &[Row]) -> u64 {
    let mut sizes = HashMap::<&str, u64>::new();
    for row in rows {
        *sizes.entry(&row.cluster).or_default() += 1;
    }
    sizes.values().map(|size| size * (size - 1) / 2).sum()
}
