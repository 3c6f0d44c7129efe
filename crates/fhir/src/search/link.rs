//! Conditions on other resources: chains, `_has`, `_list` (search.html#chaining,
//! #has, #list). Nothing is looked up here: whoever keeps the resources asks for the
//! links of a query, answers the searches within them, and puts what was found in
//! their place.

use std::collections::BTreeSet;

use super::query::{Condition, Query, Test, Wanted};
use crate::definitions;
use crate::type_code::type_code;

/// How deep links may stand in links.
pub(super) const DEPTH_MAX: usize = 8;
/// Types that a chain without a type may lead to.
pub(super) const TYPES_MAX: usize = 12;

/// A condition on other resources.
#[derive(Debug, Clone)]
pub enum Link {
    /// The reference leads to a match of one of these searches, one for each type.
    Chain(Vec<Query>),
    /// A match of the search refers to the resource by this parameter.
    Has {
        /// Reference parameter of the other resource.
        parameter: &'static str,
        /// What the other resource has to be.
        query: Box<Query>,
    },
    /// The resource is an entry of the List with this id.
    List(String),
}

impl Query {
    /// The links that are not followed yet, each with the parameter that it stands
    /// for, in a fixed order.
    pub fn links(&self) -> Vec<(&'static str, &Link)> {
        fn collect<'a>(condition: &'a Condition, found: &mut Vec<(&'static str, &'a Link)>) {
            match &condition.test {
                Test::Link(link) => found.push((condition.param, link)),
                Test::Either(some) | Test::Both(some) => {
                    some.iter().for_each(|inner| collect(inner, found));
                }
                Test::Not(inner) => collect(inner, found),
                _ => {}
            }
        }
        let mut found = Vec::new();
        self.conditions.iter().for_each(|condition| collect(condition, &mut found));
        found
    }

    /// Puts what was found in the place of the link that stands `place`th among
    /// [`links`](Self::links): for a chain the resources that it may lead to, for
    /// the others the resources that the search may return.
    pub fn follow(&mut self, place: usize, found: BTreeSet<(&'static str, String)>) {
        let own = self.resource_type;
        let mut left = place;
        let mut found = Some(found);
        for condition in &mut self.conditions {
            replace(condition, &mut left, &mut found, own);
        }
    }

    /// Limits the search to these ids.
    pub fn limit_to(&mut self, ids: BTreeSet<String>) {
        let test = Test::Any(vec![Wanted::IdIn(ids)]);
        self.conditions.push(Condition { param: "_id", test });
    }

    /// Limits the search to what has a value of this parameter.
    pub fn require(&mut self, parameter: &'static str) {
        self.conditions.push(Condition { param: parameter, test: Test::Missing(false) });
    }

    /// Limits the search to the compartment of a resource; false when no resource of
    /// the type is in one (compartmentdefinition.html). What the definition leaves out
    /// is in a Patient's by its `patient` parameter.
    pub fn limit_to_compartment(&mut self, compartment: &str, id: &str) -> bool {
        let Some(target) = type_code(compartment) else { return false };
        let refers = |name: &&'static str| {
            let parameter = definitions().search_parameter(self.resource_type, name)?;
            let set = [(target, id.to_owned())].into();
            Some(Condition {
                param: parameter.name,
                test: Test::Any(vec![Wanted::ReferenceIn(set)]),
            })
        };
        let names = crate::compartment::parameters(compartment, self.resource_type);
        let mut ways: Vec<Condition> = names.iter().filter_map(refers).collect();
        if self.resource_type == compartment {
            let test = Test::Any(vec![Wanted::Id(id.to_owned())]);
            ways.push(Condition { param: "_id", test });
        }
        match ways.len() {
            0 => return false,
            1 => self.conditions.append(&mut ways),
            _ => {
                let param = "_compartment";
                self.conditions.push(Condition { param, test: Test::Either(ways) });
            }
        }
        true
    }

    /// Whether any link leads to another: for bounds and plans.
    pub fn is_linked(&self) -> bool {
        !self.links().is_empty()
    }
}

fn replace(
    condition: &mut Condition,
    left: &mut usize,
    found: &mut Option<BTreeSet<(&'static str, String)>>,
    own: &'static str,
) {
    match &mut condition.test {
        Test::Link(link) => {
            if *left > 0 {
                *left -= 1;
                return;
            }
            let Some(found) = found.take() else { return };
            let is_chain = matches!(link, Link::Chain(_));
            if is_chain {
                let coded = found.into_iter();
                let coded = coded.filter_map(|(kind, id)| Some((type_code(kind)?, id)));
                condition.test = Test::Any(vec![Wanted::ReferenceIn(coded.collect())]);
            } else {
                let ids = found.into_iter().filter(|(kind, _)| *kind == own).map(|(_, id)| id);
                condition.param = "_id";
                condition.test = Test::Any(vec![Wanted::IdIn(ids.collect())]);
            }
        }
        Test::Either(some) | Test::Both(some) => {
            for inner in some {
                replace(inner, left, found, own);
            }
        }
        Test::Not(inner) => replace(inner, left, found, own),
        _ => {}
    }
}
