//! A scope as CSV, JSON and a table for people. None of them holds PHI.

use std::fmt::Write as _;

use crate::{
    csv_out::Table,
    scope::{RESIDENCE_UNKNOWN, Scope, ScopeRow},
};

const HEAD: [&str; 13] = [
    "organization",
    "patient",
    "person",
    "residence",
    "released",
    "returned",
    "resources",
    "written",
    "deliveries",
    "first",
    "last",
    "entries",
    "ledger-indexes",
];

impl Scope {
    /// One line a patient record, RFC 4180, with a head.
    pub fn to_csv(&self) -> String {
        let mut table = Table::new(&HEAD);
        for row in &self.rows {
            table.row(&cells(row));
        }
        table.finish()
    }

    /// The scope as one JSON object, as serde renders it, indented.
    pub fn to_json(&self) -> String {
        // Maps with string-like keys and plain structs: serialising cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_else(|_| String::from("{}"))
    }

    /// Totals, then one line a patient record, aligned for a terminal.
    pub fn to_table(&self) -> String {
        let totals = &self.totals;
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} persons, {} patient records, {} organizations, {} ledger entries",
            totals.persons,
            totals.patients,
            totals.organizations.len(),
            totals.entries
        );
        if self.rows.is_empty() {
            return out;
        }
        out.push('\n');
        let counts = |name: &str, count: &crate::Count| {
            vec![name.to_owned(), count.persons.to_string(), count.patients.to_string()]
        };
        let mut by_state = vec![head(&["RESIDENCE", "PERSONS", "RECORDS"])];
        by_state.extend(totals.states.iter().map(|(state, n)| counts(state, n)));
        align(&mut out, &by_state);
        out.push('\n');
        let mut by_organization = vec![head(&["ORGANIZATION", "PERSONS", "RECORDS"])];
        by_organization.extend(totals.organizations.iter().map(|(o, n)| counts(o.as_str(), n)));
        align(&mut out, &by_organization);
        out.push('\n');
        let mut rows = vec![head(&[
            "ORGANIZATION",
            "PATIENT",
            "PERSON",
            "LIVES IN",
            "RELEASED",
            "RETURNED",
            "RESOURCES",
            "FIRST",
            "LAST",
        ])];
        rows.extend(self.rows.iter().map(|row| {
            let cells = cells(row);
            [0, 1, 2, 3, 4, 5, 6, 9, 10].map(|column| cells[column].clone()).to_vec()
        }));
        align(&mut out, &rows);
        out
    }
}

fn head(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn cells(row: &ScopeRow) -> [String; 13] {
    let resources: Vec<String> =
        row.resources.iter().map(|(kind, count)| format!("{kind}:{count}")).collect();
    let indexes: Vec<String> = row.entries.iter().map(ToString::to_string).collect();
    [
        row.organization.to_string(),
        row.patient.to_string(),
        row.person.map_or_else(|| "not linked".to_owned(), |person| person.to_string()),
        row.residence.clone().unwrap_or_else(|| RESIDENCE_UNKNOWN.to_owned()),
        row.released.to_string(),
        row.returned.to_string(),
        resources.join(" "),
        row.written.to_string(),
        row.deliveries.to_string(),
        row.first.to_string(),
        row.last.to_string(),
        row.entries.len().to_string(),
        indexes.join(" "),
    ]
}

/// Columns as wide as their widest cell, two spaces apart.
pub(crate) fn align(out: &mut String, rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}
