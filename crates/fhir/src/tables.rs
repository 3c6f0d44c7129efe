//! Reads the tab-separated tables that `cargo xtask fhir-defs` writes; its file
//! says what the columns are.

use std::collections::HashMap;

use crate::definitions::{Element, ElementType, TypeDefinition, TypeKind, ValueSet};

/// One line of `search.tsv`.
#[derive(Debug)]
pub(crate) struct SearchRow {
    pub id: &'static str,
    pub name: &'static str,
    pub kind: &'static str,
    pub bases: Vec<&'static str>,
    pub targets: Vec<&'static str>,
    pub usage: &'static str,
    pub expression: &'static str,
}

fn columns<const N: usize>(line: &'static str) -> [&'static str; N] {
    let mut fields = line.split('\t');
    std::array::from_fn(|_| fields.next().unwrap_or_default())
}

fn list(text: &'static str, separator: char) -> Vec<&'static str> {
    text.split(separator).filter(|part| !part.is_empty()).collect()
}

pub(crate) fn search_rows(table: &'static str) -> Vec<SearchRow> {
    let row = |line| {
        let [id, name, kind, bases, targets, usage, expression] = columns(line);
        let (bases, targets) = (list(bases, ','), list(targets, ','));
        SearchRow { id, name, kind, bases, targets, usage, expression }
    };
    table.lines().map(row).collect()
}

pub(crate) fn types(table: &'static str) -> HashMap<&'static str, TypeDefinition> {
    let mut types: Vec<TypeDefinition> = Vec::new();
    for line in table.lines() {
        if let Some(head) = line.strip_prefix("T\t") {
            let [name, kind, base] = columns(head);
            let kind = match kind {
                "resource" => TypeKind::Resource,
                "primitive-type" => TypeKind::Primitive,
                _ => TypeKind::Complex,
            };
            types.push(TypeDefinition { name, kind, base, elements: Vec::new() });
        } else if let Some(current) = types.last_mut() {
            current.elements.push(element(line));
        }
    }
    types.into_iter().map(|kind| (kind.name, kind)).collect()
}

fn element(line: &'static str) -> Element {
    let [path, min, max, types, flags, value_set, content_reference] = columns(line);
    Element {
        path,
        min: min.parse().unwrap_or(0),
        max: max.parse().ok(),
        types: list(types, '|').into_iter().map(element_type).collect(),
        is_summary: flags.contains('s'),
        is_modifier: flags.contains('m'),
        value_set,
        content_reference,
    }
}

fn element_type(text: &'static str) -> ElementType {
    match text.split_once('(') {
        Some((code, targets)) => {
            ElementType { code, targets: list(targets.trim_end_matches(')'), ' ') }
        }
        None => ElementType { code: text, targets: Vec::new() },
    }
}

pub(crate) fn value_sets(table: &'static str) -> HashMap<&'static str, ValueSet> {
    let mut sets: Vec<(&'static str, ValueSet)> = Vec::new();
    for line in table.lines() {
        if let Some(url) = line.strip_prefix("V\t") {
            sets.push((url, ValueSet::default()));
        } else if let Some((_, set)) = sets.last_mut() {
            let mut fields = line.split('\t');
            set.systems.push((fields.next().unwrap_or_default(), fields.collect()));
        }
    }
    sets.into_iter().collect()
}

pub(crate) fn compartment(table: &'static str) -> HashMap<&'static str, Vec<&'static str>> {
    let row = |line| {
        let [name, parameters] = columns(line);
        (name, list(parameters, ','))
    };
    table.lines().map(row).collect()
}
