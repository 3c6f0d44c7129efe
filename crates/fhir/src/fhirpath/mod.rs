//! FHIRPath (N1, and what FHIR R4 adds), over JSON trees and the definitions.
//!
//! ```
//! # use holdfast_fhir::fhirpath::{Environment, Expression};
//! let patient = serde_json::json!({"resourceType": "Patient", "name": [{"given": ["Ada"]}]});
//! // Search: `as` filters, `resolve()` looks at the type that a reference names, nothing fails.
//! let path = Expression::compile("Patient.name.given").expect("compiles");
//! assert_eq!(path.evaluate(&patient).len(), 1);
//! // The language: an invariant on the resource, or on any `Node` within it.
//! let rule = Expression::compile("name.exists() and name.all(family.exists() or given.exists())");
//! let env = Environment::default();
//! assert_eq!(rule.expect("compiles").check(&patient, None, &env), Ok(Some(true)));
//! ```
//!
//! * [`Expression::compile`] once, keep it: patterns are compiled along.
//! * [`Expression::evaluate`] for search parameters.
//! * [`Expression::evaluate_with`] and [`Expression::check`] for everything else:
//!   `resource` is `%resource`, `focus` is what the expression starts from and
//!   `%context` (the resource itself when `None`), [`Environment`] has the rest.
//!
//! Nothing is fetched: `resolve()` finds contained resources, entries of the
//! bundle in `%rootResource`, what [`Hooks::resolve`] gives, and otherwise an item
//! of which only the type is known. Work, text and nesting are bounded.
//!
//! DEVIATION: `as` and `ofType` take primitives of just the named type, as the
//! published test suite has it; `slice` and `elementDefinition` are not there.

mod boundary;
mod collections;
mod convert;
mod evaluate;
mod expr;
mod functions;
mod item;
mod lex;
mod maths;
mod number;
mod operators;
mod parse;
mod quantity;
mod strings;
mod temporal;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use holdfast_base::{Category, Timestamp};
use serde_json::Value;

use evaluate::{Evaluator, Mode, Scope};
use expr::Expr;

pub use item::{Item, Node};
pub use number::Number;
pub use quantity::Quantity;
pub use temporal::{Temporal, TemporalKind};

/// Steps that one evaluation may take when the caller says nothing: far more than
/// any invariant over a resource needs, well under a second.
pub const STEPS_MAX: u64 = 2_000_000;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression(Expr);

/// A text that is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a FHIRPath expression, from byte {offset}: {expected} expected")]
pub struct CompileError {
    /// Where reading stopped.
    pub offset: usize,
    /// What could have stood there.
    pub expected: &'static str,
}

impl CompileError {
    /// The fault category.
    pub fn category(&self) -> Category {
        Category::Unsupported
    }
}

/// An expression that has no value for what it was given. Holds names of the
/// expression, never a value of the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum EvaluateError {
    #[error("{operation} needs one item and was given several")]
    ManyItems { operation: &'static str },
    #[error("{operation} was given a type that it does not take")]
    WrongType { operation: &'static str },
    #[error("{operation} was given a unit that it does not take")]
    WrongUnit { operation: &'static str },
    #[error("there is no type {name}")]
    UnknownType { name: String },
    #[error("there is no element {name} here")]
    UnknownElement { name: String },
    #[error("there is no variable %{name}")]
    UnknownVariable { name: String },
    #[error("{name} is nothing that {operation} knows")]
    UnknownName { operation: &'static str, name: String },
    #[error("the items have no defined order")]
    NoOrder,
    #[error("no clock was given")]
    NoClock,
    #[error("the pattern cannot be used")]
    Pattern,
    #[error("a modifier extension is not among those that are understood")]
    Modifier,
    #[error("the resource is of no known type")]
    NoResource,
    #[error("the expression takes too much work")]
    TooMuchWork,
}

impl EvaluateError {
    /// The fault category.
    pub fn category(&self) -> Category {
        match self {
            Self::TooMuchWork | Self::NoClock => Category::Unsupported,
            _ => Category::Incorrect,
        }
    }
}

/// What an expression may ask its caller.
pub trait Hooks {
    /// Whether `coded` (code, Coding, CodeableConcept, …) is in a value set; `None`
    /// when that is not known.
    fn member_of(&self, coded: &Item<'_>, value_set: &str) -> Option<bool> {
        let (_, _) = (coded, value_set);
        None
    }

    /// Whether a node conforms to a profile; `None` when the profile is not known.
    fn conforms_to(&self, node: &Node<'_>, profile: &str) -> Option<bool> {
        let (_, _) = (node, profile);
        None
    }

    /// Whether the first code subsumes the second; `None` when that is not known.
    fn subsumes(&self, general: &Item<'_>, special: &Item<'_>) -> Option<bool> {
        let (_, _) = (general, special);
        None
    }

    /// The resource that a reference points to.
    fn resolve(&self, reference: &str) -> Option<&Value> {
        let _ = reference;
        None
    }

    /// What `trace()` passes.
    fn trace(&self, name: &str, items: &[Item<'_>]) {
        let (_, _) = (name, items);
    }
}

/// What an expression is evaluated in.
#[derive(Clone)]
pub struct Environment<'a> {
    /// `now()` and `today()`, in UTC.
    pub now: Option<Timestamp>,
    /// `%rootResource`, when `%resource` is contained in another or in a bundle.
    pub root_resource: Option<&'a Value>,
    /// The caller's variables, by name without `%`; the last of a name counts.
    pub variables: Vec<(String, Vec<Item<'a>>)>,
    /// What the engine cannot know by itself.
    pub hooks: Option<&'a dyn Hooks>,
    /// Paths must name elements that the type has, types must be possible, and
    /// what has no order is not indexed.
    pub is_strict: bool,
    /// Steps that the evaluation may take.
    pub steps_max: u64,
}

impl Default for Environment<'_> {
    fn default() -> Self {
        Self {
            now: None,
            root_resource: None,
            variables: Vec::new(),
            hooks: None,
            is_strict: false,
            steps_max: STEPS_MAX,
        }
    }
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("is_strict", &self.is_strict).finish_non_exhaustive()
    }
}

impl Expression {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`CompileError`] when `text` is no expression, or beyond all bounds.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        parse::parse(text).map(Self)
    }

    /// This expression without the alternatives that can never apply to a
    /// resource of this type: `Patient.name | Person.name` for a Patient is
    /// `Patient.name`.
    #[must_use]
    pub fn specialised(self, resource_type: &str) -> Self {
        let applies = |expr: &Expr| {
            expr.root_type().is_none_or(|root| crate::definitions().is_a(resource_type, root))
        };
        Self(match self.0 {
            Expr::Union(parts) => {
                let mut parts: Vec<Expr> = parts.into_iter().filter(applies).collect();
                if parts.len() == 1 { parts.remove(0) } else { Expr::Union(parts) }
            }
            other => other,
        })
    }

    /// What the expression finds in `resource` by the rules of search, in document
    /// order; nothing when the resource's type is not known.
    pub fn evaluate<'a>(&'a self, resource: &'a Value) -> Vec<Item<'a>> {
        let Some(root) = Node::resource(resource) else { return Vec::new() };
        let env = Environment::default();
        let focus = [Item::Node(root)];
        self.run(resource, &focus, &env, Mode::Search).unwrap_or_default()
    }

    /// What the expression gives by the rules of the language.
    ///
    /// # Errors
    /// [`EvaluateError`] where the specification signals an error.
    pub fn evaluate_with<'a>(
        &'a self,
        resource: &'a Value,
        focus: Option<Item<'a>>,
        env: &Environment<'a>,
    ) -> Result<Vec<Item<'a>>, EvaluateError> {
        let root = || Node::resource(resource).map(Item::Node);
        let focus = focus.or_else(root).ok_or(EvaluateError::NoResource)?;
        self.run(resource, &[focus], env, Mode::Language)
    }

    /// Whether an invariant holds; `None` when it gives nothing.
    ///
    /// # Errors
    /// [`EvaluateError`] where the specification signals an error.
    pub fn check<'a>(
        &'a self,
        resource: &'a Value,
        focus: Option<Item<'a>>,
        env: &Environment<'a>,
    ) -> Result<Option<bool>, EvaluateError> {
        match self.evaluate_with(resource, focus, env)?.as_slice() {
            [] => Ok(None),
            [Item::Boolean(value)] => Ok(Some(*value)),
            [Item::Node(node)] if node.type_code == "boolean" => Ok(node.value.as_bool()),
            [_] => Ok(Some(true)),
            _ => Err(EvaluateError::ManyItems { operation: "condition" }),
        }
    }

    fn run<'a>(
        &'a self,
        resource: &'a Value,
        focus: &[Item<'a>],
        env: &Environment<'a>,
        mode: Mode,
    ) -> Result<Vec<Item<'a>>, EvaluateError> {
        let steps_left = Cell::new(env.steps_max);
        let evaluator = Evaluator { env, mode, resource, focus, steps_left };
        evaluator.collect(&self.0, Scope::of(focus))
    }
}
