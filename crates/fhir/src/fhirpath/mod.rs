//! The part of FHIRPath (N1) that the R4 search parameters use: paths over
//! choice elements, `where resolve as extension exists ofType hasExtension`,
//! `| is as and or = !=`, an indexer, literals.
//!
//! DEVIATION: `as` filters instead of demanding a single item, as every server
//! does for search (the official expressions rely on it); `resolve()` looks at
//! the type that a reference names, and into contained resources: nothing is
//! fetched.

mod evaluate;
mod parse;

pub use evaluate::{Item, Node};

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression(pub(crate) Expr);

/// A text that is no expression of the supported part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a supported FHIRPath expression, from byte {offset}: {expected} expected")]
pub struct CompileError {
    /// Where reading stopped.
    pub offset: usize,
    /// What could have stood there.
    pub expected: &'static str,
}

impl CompileError {
    /// The fault category.
    pub fn category(&self) -> holdfast_base::Category {
        holdfast_base::Category::Unsupported
    }
}

/// The expression tree. Children are evaluated against the same input.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// The input itself (`$this`).
    This,
    /// The input, if it is of this type: `Patient` in `Patient.name`.
    Type(String),
    Text(String),
    Boolean(bool),
    Child(Box<Expr>, String),
    Index(Box<Expr>, usize),
    Where(Box<Expr>, Box<Expr>),
    Exists(Box<Expr>),
    Resolve(Box<Expr>),
    Extension(Box<Expr>, String),
    HasExtension(Box<Expr>, String),
    As(Box<Expr>, String),
    Is(Box<Expr>, String),
    Equal(Box<Expr>, Box<Expr>),
    NotEqual(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Union(Vec<Expr>),
}

impl Expression {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`CompileError`] when `text` uses what is not supported.
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
            Expr::Union(parts) => Expr::Union(parts.into_iter().filter(applies).collect()),
            other => other,
        })
    }
}

impl Expr {
    fn root_type(&self) -> Option<&str> {
        match self {
            Self::Type(name) => Some(name),
            Self::Child(inner, _)
            | Self::Index(inner, _)
            | Self::Where(inner, _)
            | Self::Exists(inner)
            | Self::Resolve(inner)
            | Self::Extension(inner, _)
            | Self::As(inner, _) => inner.root_type(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_expression_of_the_definitions_compiles() {
        let (mut compiled, mut distinct) = (0, std::collections::HashSet::new());
        for (id, expression) in crate::definitions().search_expressions() {
            let result = Expression::compile(expression);
            assert!(result.is_ok(), "{id}: {expression}: {result:?}");
            compiled += 1;
            distinct.insert(expression);
        }
        assert_eq!((compiled, distinct.len()), (1384, 1353));
    }

    fn check(expression: &str, resource: Value, expected: &[Value]) {
        let compiled = Expression::compile(expression).expect("compiles");
        let found: Vec<Value> = compiled.evaluate(&resource).iter().map(Item::to_value).collect();
        assert_eq!(found, expected, "{expression}");
    }

    #[test]
    fn choices_are_found_by_their_base_name() {
        let seen = json!({"resourceType": "Observation", "valueQuantity": {"value": 5}, "effectiveDateTime": "2015"});
        check("Observation.value", seen.clone(), &[json!({"value": 5})]);
        check(
            "(Observation.value as Quantity) | (Observation.value as SampledData)",
            seen.clone(),
            &[json!({"value": 5})],
        );
        check("(Observation.value as CodeableConcept)", seen.clone(), &[]);
        check("Observation.effective", seen.clone(), &[json!("2015")]);
        check("Patient.name", seen, &[]);
    }

    #[test]
    fn resolve_looks_at_the_type_of_a_reference() {
        let of = |reference: &str| {
            json!({"resourceType": "Observation", "subject": {"reference": reference},
                "contained": [{"resourceType": "Patient", "id": "p"}]})
        };
        let expression = "Observation.subject.where(resolve() is Patient)";
        for (reference, hits) in [
            ("Patient/1", 1),
            ("https://x.example/fhir/Patient/1/_history/2", 1),
            ("#p", 1),
            ("Group/1", 0),
            ("urn:uuid:7", 0),
        ] {
            let compiled = Expression::compile(expression).expect("compiles");
            assert_eq!(compiled.evaluate(&of(reference)).len(), hits, "{reference}");
        }
    }

    #[test]
    fn filters_extensions_and_logic_work() {
        let patient = json!({"resourceType": "Patient", "deceasedDateTime": "2015",
            "telecom": [{"system": "email", "value": "a@example.com"}, {"system": "phone"}],
            "extension": [{"url": "http://e/x", "valueString": "v"}]});
        check(
            "Patient.telecom.where(system='email').value",
            patient.clone(),
            &[json!("a@example.com")],
        );
        check(
            "Patient.deceased.exists() and Patient.deceased != false",
            patient.clone(),
            &[json!(true)],
        );
        check("Patient.extension('http://e/x').value", patient.clone(), &[json!("v")]);
        check("Patient.telecom[1].system", patient.clone(), &[json!("phone")]);
        check("Patient.telecom.where(hasExtension('http://e/x'))", patient, &[]);
        check(
            "Patient.deceased.exists() and Patient.deceased != false",
            json!({"resourceType": "Patient"}),
            &[json!(false)],
        );
    }
}
