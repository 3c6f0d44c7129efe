//! `_explain` (ours): how a search would be answered, in sentences. Made from the
//! search alone: nothing is opened, looked up or counted.

use holdfast_fhir::search::{Contained, Include, Link, Query};

use super::own::is_directory_type;
use super::search::SearchScope;

/// The steps, in their order.
pub(super) fn plan(queries: &[Query], scope: &SearchScope) -> Vec<String> {
    let mut steps = Vec::new();
    let within = scope.compartment.as_ref().map(|(kind, _)| kind.as_str());
    for query in queries {
        search(query, within, 0, &mut steps);
    }
    let Some(first) = queries.first() else { return steps };
    for include in first.includes() {
        steps.push(goes_along(include));
    }
    if first.is_count_only() {
        steps.push("Nothing is returned but the number of matches.".to_owned());
    } else {
        steps.push("The page's resources are opened, each by its record's permit; who was opened is in the ledger before the answer leaves.".to_owned());
    }
    steps
}

fn search(query: &Query, within: Option<&str>, depth: usize, steps: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let kind = query.resource_type();
    let narrowed = within.is_some() || query.patient().is_some();
    for (parameter, link) in query.links() {
        match link {
            Link::Chain(inner) => {
                let types: Vec<&str> = inner.iter().map(Query::resource_type).collect();
                let types = types.join(", ");
                steps.push(format!("{indent}`{parameter}` leads to {types}: answered first."));
                let of = narrowed.then_some("Patient").filter(|_| !is_directory_type(kind));
                inner.iter().for_each(|query| search(query, of, depth + 1, steps));
            }
            Link::Has { parameter, query } => {
                let other = query.resource_type();
                steps.push(format!(
                    "{indent}{other} that refer to {kind} by `{parameter}`: answered first."
                ));
                let of = narrowed.then_some("Patient").filter(|_| !is_directory_type(kind));
                search(query, of, depth + 1, steps);
            }
            Link::List(_) => {
                steps.push(format!("{indent}The List is read; its entries limit the search."))
            }
        }
    }
    let parameters: Vec<&str> = query.parameters().collect();
    let by = match parameters.as_slice() {
        [] => String::new(),
        names => format!(" by {}", names.join(", ")),
    };
    let way = if is_directory_type(kind) {
        format!(
            "{kind}{by}: the rows of the organization's own {kind} are opened and compared; no patient is concerned."
        )
    } else if let Some(compartment) = within {
        format!(
            "{kind}{by}: within the record of the {compartment} in the URL or chain; its rows are opened and compared."
        )
    } else if query.patient().is_some() && kind != "Patient" {
        format!(
            "{kind}{by}: within one patient's record; its rows of this type are opened and compared."
        )
    } else if kind == "Patient" && (query.is_linked() || query.lookup().is_ok()) {
        format!(
            "{kind}{by}: looked up by the directory's tokens; only patients who are returned are opened, and each counts in your budget."
        )
    } else if query.ids().is_some() {
        format!(
            "{kind}{by}: the ids lead to the records that they lie in, otherwise over all patients."
        )
    } else {
        let sorted = if query.is_sorted() {
            " `_sort` names every match, so that all of their patients count in your budget."
        } else {
            ""
        };
        format!(
            "{kind}{by}: over all patients of the organization by the keeper's index; patients who are named count in your budget.{sorted}"
        )
    };
    steps.push(format!("{indent}{way}"));
    if query.needs_document() {
        steps.push(format!("{indent}Candidates are opened, because only the resources themselves can answer a part of it."));
    }
    if query.contained() != Contained::False {
        steps.push(format!("{indent}Every resource of the record is opened for what it contains."));
    }
}

fn goes_along(include: &Include) -> String {
    let source = include.source.unwrap_or("any type");
    let parameter = include.parameter.unwrap_or("any reference");
    let again = if include.iterates { ", again from what was included" } else { "" };
    if include.is_reverse {
        format!(
            "Along with each match: {source} that refer to it by {parameter}{again}, from the same record."
        )
    } else {
        format!(
            "Along with each match: what {source} refers to by {parameter}{again}, where you may see it."
        )
    }
}
