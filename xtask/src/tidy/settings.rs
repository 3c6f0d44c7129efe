//! Every environment variable of ours stands in the tables of `config.rs`, with
//! what it does.

use std::collections::BTreeSet;

use super::Complaints;
use super::source::Source;

/// Where the tables are.
const CONFIG: &str = "crates/holdfast/src/config.rs";
/// How our variables begin. Put together, so that this file names none.
const PREFIX: &str = concat!("HOLD", "FAST_");

/// Every variable that is named somewhere and not in the tables, and every row of
/// the tables that does not say what it means.
pub fn check(sources: &[Source]) -> Complaints {
    let mut complaints = Vec::new();
    let config = sources.iter().find(|source| source.path == CONFIG);
    let rows = config.map(rows).unwrap_or_default();
    for row in &rows {
        if row.meaning.trim().is_empty() {
            complaints.push(format!("{CONFIG}: {} does not say what it does", row.variable));
        }
    }
    let known: BTreeSet<&str> = rows.iter().map(|row| row.variable.as_str()).collect();
    if known.len() < rows.len() {
        complaints.push(format!("{CONFIG}: one variable stands in the tables twice"));
    }
    let mut told = BTreeSet::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("xtask/")) {
        for (at, variable) in variables(&source.text) {
            if !known.contains(variable) && told.insert(variable) {
                let line = source.line_of(at);
                complaints.push(format!(
                    "{}:{line}: {variable} stands in no table of {CONFIG}, \
                     so `holdfast config` does not know it",
                    source.path
                ));
            }
        }
    }
    complaints
}

/// A row of one of the tables.
struct Row {
    variable: String,
    meaning: String,
}

/// The rows of `SETTINGS` (`variable: "…"` then `meaning: "…"`) and of
/// `OTHER_VARIABLES` (`("…", "…")`).
fn rows(config: &Source) -> Vec<Row> {
    let mut rows = Vec::new();
    let strings: Vec<(&str, &str)> = config
        .strings
        .iter()
        .map(|at| {
            let before = config.text[..at.start - 1].trim_end();
            (before, &config.text[at.clone()])
        })
        .collect();
    let settings = table(config, "SETTINGS");
    let others = table(config, "OTHER_VARIABLES");
    let mut open: Option<String> = None;
    for (before, value) in strings {
        let within = |range: &Option<std::ops::Range<usize>>| {
            range.as_ref().is_some_and(|range| range.contains(&before.len()))
        };
        if within(&settings) {
            if before.ends_with("variable:") {
                open = Some(value.to_owned());
            } else if before.ends_with("meaning:")
                && let Some(variable) = open.take()
            {
                rows.push(Row { variable, meaning: value.to_owned() });
            }
        } else if within(&others) {
            match open.take() {
                None => open = Some(value.to_owned()),
                Some(variable) => rows.push(Row { variable, meaning: value.to_owned() }),
            }
        }
    }
    rows
}

/// Where the constant `name` has its value.
fn table(config: &Source, name: &str) -> Option<std::ops::Range<usize>> {
    let start = config.code.find(&format!("const {name}:"))?;
    let end = config.code[start..].find("];")? + start;
    Some(start..end)
}

/// Every variable of ours that a text names, with its place.
fn variables(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices(PREFIX).filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let variable = rest[..end.unwrap_or(rest.len())].trim_end_matches('_');
        (variable.len() > PREFIX.len()).then_some((at, variable))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = r#"
        pub const SETTINGS: &[Setting] = &[
            Setting { key: "a.b", variable: "HF_B", default: "", meaning: "What \"b\" does." },
        ];
        pub const OTHER_VARIABLES: &[(&str, &str)] = &[("HF_C", "What c does.")];
        const X: &str = "not a row";
    "#;

    fn told(tables: &str, code: &str) -> Complaints {
        let ours = |text: &str| text.replace("HF_", PREFIX);
        check(&[Source::new(CONFIG, ours(tables)), Source::new("crates/x/src/a.rs", ours(code))])
    }

    #[test]
    fn a_variable_that_stands_in_a_table_is_known() {
        assert_eq!(told(TABLES, "var(\"HF_B\"); var(\"HF_C\")"), Vec::<String>::new());
    }

    #[test]
    fn a_variable_that_stands_in_no_table_is_named_with_its_place() {
        let complaints = told(TABLES, "\nvar(\"HF_D\")");
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("crates/x/src/a.rs:2:"), "{complaints:?}");
    }

    #[test]
    fn a_row_without_a_meaning_is_found() {
        let empty = TABLES.replace("What c does.", " ");
        assert_eq!(told(&empty, "").len(), 1);
        let empty = TABLES.replace(r#"What \"b\" does."#, "");
        assert_eq!(told(&empty, "").len(), 1);
    }
}
