//! What invariants ask of the definitions at hand: `memberOf()`, `conformsTo()`.

use std::cell::Cell;

use serde_json::Value;

use super::check::Check;
use super::registry::Registry;
use super::terms::Membership;
use super::{Place, Strictness};
use crate::fhirpath::{Hooks, Item, Node};

thread_local! {
    /// `conformsTo()` within `conformsTo()`: a profile may ask for itself.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

const DEPTH_MAX: usize = 4;

/// Answers from a registry.
pub(crate) struct Asked<'a> {
    pub registry: &'a Registry,
    pub root: &'a Value,
}

impl Hooks for Asked<'_> {
    fn member_of(&self, coded: &Item<'_>, value_set: &str) -> Option<bool> {
        let membership = match coded {
            Item::Node(node) => {
                let check = Check::new(self.registry, self.root, Strictness::Usual);
                check.membership(value_set, &Place::of_node(node)).0
            }
            Item::Text(code) => {
                self.registry.with_terms(|terms| terms.member(value_set, None, code))
            }
            _ => return None,
        };
        match membership {
            Membership::In => Some(true),
            Membership::Out => Some(false),
            Membership::Unknown => None,
        }
    }

    fn conforms_to(&self, node: &Node<'_>, profile: &str) -> Option<bool> {
        let known = self.registry.profile(profile);
        let Some(known) = known else {
            let name = profile.strip_prefix("http://hl7.org/fhir/StructureDefinition/")?;
            crate::definitions().type_definition(name)?;
            return Some(crate::definitions().is_a(node.type_code, name));
        };
        let depth = DEPTH.get();
        if depth >= DEPTH_MAX {
            return None;
        }
        DEPTH.set(depth + 1);
        let mut check = Check::new(self.registry, node.value, Strictness::Usual);
        let conforms = check.conforms(&Place::of_node(node), &known);
        DEPTH.set(depth);
        Some(conforms)
    }
}
