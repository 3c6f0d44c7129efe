//! Invariants (`ElementDefinition.constraint`): rules in FHIRPath that a document has
//! to keep to, those of R4 itself and those of profiles.
//!
//! Each is compiled once. Of an invariant that cannot be compiled or run nothing is
//! known: it is told by [`Invariant::unsupported`] and, for those of R4, listed in
//! `data/invariants-not-run.txt`, which a test keeps exact.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde_json::Value;

use crate::definitions::{self, Element, definitions};
use crate::fhirpath::{Environment, Expression, Hooks, Item, Node};
use crate::schema::NodeId;

/// Invariants that are checked by code of our own, because they are on every element or
/// every resource: the same rules, without FHIRPath.
const NATIVE: &[&str] = &["dom-2", "dom-3", "ele-1", "ext-1", "per-1", "ref-1", "txt-1", "txt-2"];
/// Good practice that the specification words as a warning; nobody acts on it.
const LEFT_OUT: &[&str] = &["dom-6"];

/// One rule.
#[derive(Debug, Clone)]
pub struct Invariant {
    /// Its key, such as `obs-6`.
    pub key: String,
    /// Whether who breaks it must be refused; otherwise a warning.
    pub is_error: bool,
    /// What it means.
    pub human: String,
    expression: Result<Expression, String>,
}

impl Invariant {
    /// Compiles one.
    pub(crate) fn new(key: &str, is_error: bool, expression: &str, human: &str) -> Self {
        Self {
            key: key.to_owned(),
            is_error,
            human: human.to_owned(),
            expression: Expression::compile(expression).map_err(|error| error.to_string()),
        }
    }

    /// Why it cannot be run, if it cannot.
    pub fn unsupported(&self) -> Option<&str> {
        self.expression.as_ref().err().map(String::as_str)
    }

    /// Whether `place` keeps to it; `None` when that cannot be told.
    pub(crate) fn holds<'a>(
        &self,
        node: Node<'a>,
        resource: &'a Value,
        root: &'a Value,
        hooks: Option<&dyn Hooks>,
    ) -> Option<bool> {
        let expression = self.expression.as_ref().ok()?;
        let env = Environment { root_resource: Some(root), hooks, ..Environment::default() };
        match expression.check(resource, Some(Item::Node(node)), &env) {
            // An invariant that gives nothing is not broken.
            Ok(holds) => Some(holds.unwrap_or(true)),
            Err(_) => None,
        }
    }

    /// Whether `key` with this expression is a rule of R4 itself, which is checked anyway.
    pub(crate) fn is_of_base(key: &str, expression: &str) -> bool {
        static KNOWN: OnceLock<HashSet<(&str, &str)>> = OnceLock::new();
        let known = KNOWN.get_or_init(|| rows().map(|row| (row.key, row.expression)).collect());
        known.contains(&(key, expression)) || key == "ele-1" || key == "ext-1"
    }
}

/// A line of `invariants.tsv`.
struct Row {
    path: &'static str,
    key: &'static str,
    is_error: bool,
    expression: &'static str,
    human: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    static TABLE: OnceLock<&str> = OnceLock::new();
    let table =
        TABLE.get_or_init(|| definitions::unpack(include_bytes!("../data/invariants.tsv.gz")));
    table.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (path, key, severity) = (next(), next(), next());
        Row { path, key, is_error: severity == "e", expression: next(), human: next() }
    })
}

/// The invariants of R4 that are run by FHIRPath, by where they hold.
pub(crate) struct Invariants {
    by_node: Vec<Vec<&'static Invariant>>,
    /// By the address of the element in the schema, which stays where it is.
    by_element: HashMap<usize, Vec<&'static Invariant>>,
}

impl Invariants {
    /// Those of R4, compiled at the first call.
    pub fn of_base() -> &'static Self {
        static BASE: OnceLock<Invariants> = OnceLock::new();
        BASE.get_or_init(Self::build)
    }

    fn build() -> Self {
        let mut by_path: HashMap<&'static str, Vec<&'static Invariant>> = HashMap::new();
        for row in rows() {
            if NATIVE.contains(&row.key) || LEFT_OUT.contains(&row.key) {
                continue;
            }
            let expression = match row.key {
                // Errata of the published expressions, as R5 has them: the element is a FHIR
                // boolean, no System.Boolean; two conditions are more than one.
                "que-7" => "operator = 'exists' implies (answer is boolean)",
                "que-12" => "enableWhen.count() > 1 implies enableBehavior.exists()",
                _ => row.expression,
            };
            let rule = Invariant::new(row.key, row.is_error, expression, row.human);
            by_path.entry(row.path).or_default().push(Box::leak(Box::new(rule)));
        }
        let (mut by_node, mut by_element) = (Vec::new(), HashMap::new());
        for node in definitions().schema().nodes() {
            let of = |path: &str| by_path.get(path).cloned().unwrap_or_default();
            let full = |path: &str| format!("{}.{path}", node.type_name);
            by_node.push(if node.path.is_empty() {
                lineage(node.type_name).into_iter().flat_map(of).collect()
            } else {
                of(&full(node.path))
            });
            for element in &node.elements {
                let is_backbone = element
                    .types
                    .iter()
                    .any(|kind| kind.code == "BackboneElement" || kind.code == "Element");
                let rules = of(&full(element.path));
                if !is_backbone && !rules.is_empty() {
                    by_element.insert(address(element), rules);
                }
            }
        }
        Self { by_node, by_element }
    }

    /// The rules of a type or backbone element.
    pub fn of_node(&self, node: NodeId) -> &[&'static Invariant] {
        self.by_node.get(node as usize).map_or(&[], Vec::as_slice)
    }

    /// The rules of an element of the schema, beyond those of its type.
    pub fn of_element(&self, element: &Element) -> &[&'static Invariant] {
        self.by_element.get(&address(element)).map_or(&[], Vec::as_slice)
    }

    /// The rules of R4 that cannot be run, as `key: why`, sorted.
    #[cfg(test)]
    pub fn not_run(&self) -> Vec<String> {
        let all = self.by_node.iter().flatten().chain(self.by_element.values().flatten());
        let line =
            |rule: &&'static Invariant| Some(format!("{}: {}", rule.key, rule.unsupported()?));
        let mut lines: Vec<String> = all.filter_map(line).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

fn address(element: &Element) -> usize {
    std::ptr::from_ref(element).addr()
}

/// A type and what it specialises.
fn lineage(name: &'static str) -> Vec<&'static str> {
    let mut names = vec![name];
    while let Some(kind) = names.last().and_then(|name| definitions().type_definition(name))
        && !kind.base.is_empty()
    {
        names.push(kind.base);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_invariants_that_cannot_be_run_are_those_that_are_listed() {
        let listed: Vec<String> =
            include_str!("../data/invariants-not-run.txt").lines().map(str::to_owned).collect();
        assert_eq!(Invariants::of_base().not_run(), listed);
    }

    #[test]
    fn every_invariant_of_r4_has_a_place() {
        let base = Invariants::of_base();
        let placed: HashSet<&str> = base
            .by_node
            .iter()
            .chain(base.by_element.values())
            .flatten()
            .map(|rule| rule.key.as_str())
            .collect();
        let missing: Vec<&str> = rows()
            .map(|row| row.key)
            .filter(|key| !placed.contains(key) && !NATIVE.contains(key) && !LEFT_OUT.contains(key))
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
        assert_eq!(rows().count(), 239);
    }
}
