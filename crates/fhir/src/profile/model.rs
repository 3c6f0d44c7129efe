//! A compiled profile: what it says beyond the base type, as a tree of rules.
//! What it does not say is left to the base definitions, which are checked
//! separately.

use serde_json::Value;

use crate::invariant::Invariant;

/// A StructureDefinition that constrains a type, with everything that the
/// profiles it derives from say.
#[derive(Debug)]
pub struct Profile {
    /// Canonical URL.
    pub url: String,
    /// Business version; empty when it has none.
    pub version: String,
    /// Name for machines.
    pub name: String,
    /// The type that it constrains.
    pub type_name: String,
    /// The profiles that it derives from, nearest first.
    pub bases: Vec<String>,
    pub(crate) contexts: Vec<Context>,
    pub(crate) root: Rule,
    /// What of it could not be understood; it is not checked.
    pub notes: Vec<String>,
}

/// Where an extension may be used.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub kind: String,
    pub expression: String,
}

/// What a profile says of one element, or of one slice of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    /// Last step of the path, without `[x]`.
    pub name: String,
    /// Name of the slice; empty for the element itself.
    pub slice: String,
    pub min: Option<u32>,
    /// `Some(None)` is unbounded.
    pub max: Option<Option<u32>>,
    /// Empty: as the base says.
    pub types: Vec<TypeRule>,
    pub fixed: Option<Value>,
    pub pattern: Option<Value>,
    pub min_value: Option<Value>,
    pub max_value: Option<Value>,
    pub length_max: Option<u64>,
    /// Whether a primitive has to have a value; an extension is not enough.
    pub must_have_value: bool,
    /// Extensions one of which has to stand where a primitive has no value.
    pub value_alternatives: Vec<String>,
    pub binding: Option<Binding>,
    /// Value sets that are required besides (additional bindings of R5).
    pub more_bindings: Vec<Binding>,
    pub invariants: Vec<Invariant>,
    pub slicing: Option<Slicing>,
    pub children: Vec<Rule>,
    pub slices: Vec<Rule>,
}

impl Rule {
    pub fn child(&self, name: &str) -> Option<&Rule> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The child or, made now, a new one.
    pub fn child_mut(&mut self, name: &str) -> &mut Rule {
        let place = self.children.iter().position(|child| child.name == name);
        let place = place.unwrap_or_else(|| {
            self.children.push(Rule { name: name.to_owned(), ..Rule::default() });
            self.children.len() - 1
        });
        &mut self.children[place]
    }

    /// The slice or, made now, a new one. `a/b` is the slice `b` of the slice `a`.
    pub fn slice_mut(&mut self, slice: &str) -> &mut Rule {
        if let Some((outer, _)) = slice.rsplit_once('/')
            && self.slices.iter().any(|known| known.slice == outer)
        {
            let outer = self.slices.iter_mut().find(|known| known.slice == outer);
            if let Some(outer) = outer {
                return outer.own_slice(slice);
            }
            unreachable!("it was there just now")
        }
        self.own_slice(slice)
    }

    fn own_slice(&mut self, slice: &str) -> &mut Rule {
        let place = self.slices.iter().position(|known| known.slice == slice);
        let place = place.unwrap_or_else(|| {
            let name = self.name.clone();
            self.slices.push(Rule { name, slice: slice.to_owned(), ..Rule::default() });
            self.slices.len() - 1
        });
        &mut self.slices[place]
    }
}

/// A type that an element may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TypeRule {
    pub code: String,
    /// Profiles one of which it has to meet.
    pub profiles: Vec<String>,
    /// Profiles of what it refers to.
    pub targets: Vec<String>,
    /// `contained`, `referenced`, `bundled`.
    pub aggregation: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub strength: Strength,
    pub value_set: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    Required,
    Extensible,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slicing {
    pub discriminators: Vec<Discriminator>,
    pub is_closed: bool,
    pub is_open_at_end: bool,
    pub is_ordered: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discriminator {
    pub kind: DiscriminatorKind,
    pub path: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiscriminatorKind {
    Value,
    Exists,
    Type,
    Profile,
}

/// A step of the path of a discriminator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Child(String),
    Extension(String),
    Resolve,
    OfType(String),
}
