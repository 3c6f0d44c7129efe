//! Profiles: compiled from StructureDefinitions, and documents checked against them.
//!
//! A profile is compiled from its differential over the profile that it derives from
//! (`compile`), to a tree of rules that says only what it adds to R4 (`model`).
//! [`crate::validate`] checks R4 itself. FHIR R4 profiling.html.

mod answers;
mod asked;
mod bundled;
mod check;
mod compare;
mod compile;
mod extensions;
mod model;
mod package;
mod registry;
mod slices;
mod terms;
mod walk;

use std::sync::Arc;

use serde_json::Value;

use crate::outcome::Issue;
use check::Check;
pub use model::Profile;
pub use package::{Package, PackageError};
pub use registry::Registry;
pub use terms::{Lookup, Membership, Terms};
pub(crate) use walk::Place;

/// How much is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// What senders in practice send is accepted: unknown extensions are.
    #[default]
    Usual,
    /// As the reference validator has it unless told otherwise: an extension whose
    /// definition is not at hand is an error, and so is a profile of a type.
    Reference,
}

/// What is wrong with a document by the profiles.
#[derive(Debug, Default)]
pub struct ProfileReport {
    /// Problems, each with its place.
    pub issues: Vec<Issue>,
    /// Canonical URLs of profiles that the document claims and nobody loaded.
    pub unknown: Vec<String>,
}

/// Checks `resource` against the profiles of `registry` that it, and each resource in
/// it, claims in `meta.profile`, and against `profiles`; extensions against their
/// definitions.
pub fn check_profiles(
    resource: &Value,
    registry: &Registry,
    profiles: &[Arc<Profile>],
    strictness: Strictness,
) -> ProfileReport {
    let mut report = ProfileReport::default();
    let name = resource["resourceType"].as_str().unwrap_or_default();
    let Some(place) = Place::resource(resource, name.to_owned()) else { return report };
    let mut check = Check::new(registry, resource, strictness);
    for profile in profiles {
        check.profile(&place, profile);
    }
    claimed(&place, &mut check, &mut report.unknown, 0);
    report.issues = check.issues;
    report
}

/// Resources within resources: a Bundle in a Bundle with contained ones.
const NESTED_MAX: usize = 8;

fn claimed<'a>(place: &Place<'a>, check: &mut Check<'a>, unknown: &mut Vec<String>, depth: usize) {
    let is_inner = depth > 0;
    if is_inner {
        check.resources.push((place.value, place.path.clone()));
    }
    for url in place.value["meta"]["profile"].as_array().into_iter().flatten() {
        let Some(url) = url.as_str() else { continue };
        match check.registry.profile(url) {
            Some(profile) => check.profile(place, &profile),
            None if compile::is_base_type(url) => {}
            None if unknown.iter().any(|known| known == url) => {}
            None => unknown.push(url.to_owned()),
        }
    }
    check.extensions(place);
    if place.type_code == "QuestionnaireResponse" {
        check.answers(place);
    }
    if depth < NESTED_MAX {
        resources_in(place, &mut |inner| claimed(&inner, check, unknown, depth + 1));
    }
    if is_inner {
        check.resources.pop();
    }
}

/// The resources directly in a resource: contained, entries, parameters.
fn resources_in<'a>(place: &Place<'a>, found: &mut dyn FnMut(Place<'a>)) {
    for child in place.all_children() {
        if child.is_resource() {
            found(child);
        } else if matches!(place.type_code, "Bundle" | "Parameters" | "BackboneElement") {
            resources_in(&child, found);
        }
    }
}
