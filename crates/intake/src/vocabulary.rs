//! Code tables, read once from the data files beside the crate.
//!
//! `guide.tsv` holds HL7's v2-to-FHIR concept maps, `own.tsv` what they leave
//! open; a row of ours wins, and one without a FHIR code takes the guide's away.
//! `ccda.tsv` holds HL7's C-CDA-on-FHIR maps and our own rows after them.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a v2 code maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// The FHIR code.
    pub code: &'static str,
    /// What people read; may be empty.
    pub display: &'static str,
    /// The code system; may be empty where the element is a `code`.
    pub system: &'static str,
}

type Table = HashMap<(&'static str, &'static str), Mapped>;

const FILES: [&str; 3] = [
    include_str!("../data/guide.tsv"),
    include_str!("../data/own.tsv"),
    include_str!("../data/ccda.tsv"),
];

static MAPS: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::new();
    for file in FILES {
        for row in rows(file) {
            let mut cells = row.split('\t');
            let mut cell = || cells.next().unwrap_or_default();
            let (map, v2, code, display, system) = (cell(), cell(), cell(), cell(), cell());
            if code.is_empty() {
                table.remove(&(map, v2));
            } else {
                table.insert((map, v2), Mapped { code, display, system });
            }
        }
    }
    table
});

static CODE_SYSTEMS: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| pairs(include_str!("../data/code-systems.tsv")));

static UNITS: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| pairs(include_str!("../data/units.tsv")));

fn rows(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn pairs(file: &'static str) -> HashMap<&'static str, &'static str> {
    rows(file).filter_map(|row| row.split_once('\t')).collect()
}

/// What `code` stands for in the concept map `map`; codes are also tried in
/// upper case.
pub(crate) fn mapped(map: &str, code: &str) -> Option<Mapped> {
    let code = code.trim();
    let find = |code: &str| MAPS.get(&(map, code)).copied();
    find(code).or_else(|| find(&code.to_ascii_uppercase()))
}

/// The FHIR system of a coding system's v2 name; `None` when unknown or local.
/// `HL70001` and `HL7nnnn` are HL7's own tables.
pub(crate) fn code_system(name: &str) -> Option<String> {
    let name = name.trim().to_ascii_uppercase();
    if let Some(system) = CODE_SYSTEMS.get(name.as_str()) {
        return Some((*system).to_owned());
    }
    let table = name.strip_prefix("HL7").filter(|table| table.len() == 4)?;
    let digits = table.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| match table {
        // Race and ethnicity are CDC codes also where the HL7 table is named.
        "0005" | "0189" => "urn:oid:2.16.840.1.113883.6.238".to_owned(),
        _ => format!("http://terminology.hl7.org/CodeSystem/v2-{table}"),
    })
}

/// The UCUM code of a unit as senders write it.
pub(crate) fn ucum(unit: &str) -> Option<&'static str> {
    UNITS.get(unit.trim()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_ours_win_over_the_guides() {
        assert_eq!(mapped("encounter-status-by-event", "A04"), None);
        let status = mapped("encounter-status-by-event", "A03").expect("mapped");
        assert_eq!(status.code, "finished");
        assert_eq!(mapped("sex", "f").expect("mapped").code, "female");
    }

    #[test]
    fn every_row_has_a_map_and_a_code() {
        for file in FILES {
            for row in rows(file) {
                assert_eq!(row.split('\t').count(), 5, "{row}");
            }
        }
        assert!(UNITS.len() > 100 && CODE_SYSTEMS.len() > 30);
    }

    #[test]
    fn hl7_tables_have_systems_without_a_row_each() {
        assert_eq!(
            code_system("HL70064").as_deref(),
            Some("http://terminology.hl7.org/CodeSystem/v2-0064")
        );
        assert_eq!(code_system("ln").as_deref(), Some("http://loinc.org"));
        assert_eq!(code_system("99LAB"), None);
    }
}
