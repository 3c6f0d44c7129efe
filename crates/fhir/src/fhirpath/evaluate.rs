//! Expression tree and document to items. The schema goes along, so that a
//! choice is found by its base name and every item knows its type.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::Value;

use super::expr::{Expr, Function, TypeName, TypeTest};
use super::item::{Item, Node};
use super::quantity::Quantity;
use super::{Environment, EvaluateError};
use crate::definitions;

pub(super) type Items<'a> = Vec<Item<'a>>;
pub(super) type Outcome<T = ()> = Result<T, EvaluateError>;

/// The types of the namespace `System`.
const SYSTEM_TYPES: [&str; 9] =
    ["Boolean", "Integer", "Decimal", "String", "Date", "DateTime", "Time", "Quantity", "Any"];

/// How what is not quite right is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As every server does for search: `as` filters, nothing fails.
    Search,
    /// As the specification has it.
    Language,
}

/// What `$this`, `$index` and `$total` are.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a, 's> {
    pub this: &'s [Item<'a>],
    pub index: Option<usize>,
    pub total: Option<&'s [Item<'a>]>,
}

impl<'a, 's> Scope<'a, 's> {
    pub fn of(this: &'s [Item<'a>]) -> Self {
        Self { this, index: None, total: None }
    }

    pub fn item(self, item: &'s Item<'a>, index: usize) -> Self {
        Self { this: std::slice::from_ref(item), index: Some(index), total: self.total }
    }
}

/// One evaluation.
pub(super) struct Evaluator<'a, 'e> {
    pub env: &'e Environment<'a>,
    pub mode: Mode,
    /// The resource that the focus stands in.
    pub resource: &'a Value,
    pub focus: &'e [Item<'a>],
    pub steps_left: Cell<u64>,
}

impl<'a> Evaluator<'a, '_> {
    /// Takes so many steps of what is allowed.
    pub fn charge(&self, steps: usize) -> Outcome {
        let left = self.steps_left.get().checked_sub(steps as u64);
        self.steps_left.set(left.ok_or(EvaluateError::TooMuchWork)?);
        Ok(())
    }

    pub fn is_search(&self) -> bool {
        self.mode == Mode::Search
    }

    /// What `expr` gives.
    pub fn collect(&self, expr: &'a Expr, scope: Scope<'a, '_>) -> Outcome<Items<'a>> {
        let mut out = Vec::new();
        self.eval(expr, scope, &mut out)?;
        Ok(out)
    }

    /// Calls `work` with what `input` gives, or with `$this` where there is no input.
    pub fn with_input<T>(
        &self,
        input: Option<&'a Expr>,
        scope: Scope<'a, '_>,
        work: impl FnOnce(&[Item<'a>]) -> Outcome<T>,
    ) -> Outcome<T> {
        match input {
            None | Some(Expr::This) => work(scope.this),
            Some(Expr::Type(name)) if self.is_all(scope.this, name) => work(scope.this),
            Some(input) => work(&self.collect(input, scope)?),
        }
    }

    fn is_all(&self, items: &[Item<'a>], name: &str) -> bool {
        items.iter().all(|item| is_named(item, name))
    }

    /// Adds what `expr` gives to `out`.
    pub fn eval(&self, expr: &'a Expr, scope: Scope<'a, '_>, out: &mut Items<'a>) -> Outcome {
        self.charge(1)?;
        match expr {
            Expr::This => {
                self.charge(scope.this.len())?;
                out.extend_from_slice(scope.this);
            }
            Expr::Index => out.extend(scope.index.map(|index| Item::Integer(index as i64))),
            Expr::Total => out.extend_from_slice(scope.total.unwrap_or_default()),
            Expr::Empty => {}
            Expr::Boolean(value) => out.push(Item::Boolean(*value)),
            Expr::Integer(value) => out.push(Item::Integer(*value)),
            Expr::Decimal(value) => out.push(Item::Decimal(*value)),
            Expr::Text(text, _) => out.push(Item::Text(Cow::Borrowed(text))),
            Expr::Temporal(at) => out.push(Item::Temporal(*at)),
            Expr::Quantity(value, unit) => {
                let unit = Cow::Borrowed(unit.as_str());
                out.push(Item::Quantity(Box::new(Quantity { value: *value, unit })));
            }
            Expr::Variable(name) => self.variable(name, out)?,
            Expr::Type(name) => {
                let before = out.len();
                out.extend(scope.this.iter().filter(|item| is_named(item, name)).cloned());
                if self.env.is_strict && out.len() == before && !scope.this.is_empty() {
                    return Err(EvaluateError::UnknownElement { name: name.clone() });
                }
            }
            Expr::Path(base, names) => {
                return self.with_input(base.as_deref(), scope, |items| {
                    items.iter().try_for_each(|item| self.walk(item, names, out))
                });
            }
            Expr::At(base, place) => {
                self.refuse_unordered(base)?;
                let place = self.collect(place, scope)?;
                let Some(place) = self.integer(&place, "[]")? else { return Ok(()) };
                return self.with_input(Some(base), scope, |items| {
                    let found = usize::try_from(place).ok().and_then(|place| items.get(place));
                    out.extend(found.cloned());
                    Ok(())
                });
            }
            Expr::Call(input, function, arguments) => {
                if matches!(
                    function,
                    Function::Skip
                        | Function::Take
                        | Function::First
                        | Function::Last
                        | Function::Tail
                ) && let Some(input) = input
                {
                    self.refuse_unordered(input)?;
                }
                return self.with_input(input.as_deref(), scope, |items| {
                    self.charge(items.len())?;
                    self.call(*function, items, arguments, scope, out)
                });
            }
            Expr::Typed(input, test, name) => {
                return self.with_input(input.as_deref(), scope, |items| {
                    self.typed(items, *test, name, out)
                });
            }
            Expr::Negate(inner) => {
                let items = self.collect(inner, scope)?;
                out.extend(self.negate(&items)?);
            }
            Expr::Plus(inner) => {
                let items = self.collect(inner, scope)?;
                if let Some(item) = self.single(&items, "+")? {
                    self.need_number(&item.system(), "+")?;
                    out.push(item.clone());
                }
            }
            Expr::Binary(operator, left, right) => {
                self.binary(*operator, left, right, scope, out)?
            }
            Expr::Union(parts) if self.is_search() => {
                parts.iter().try_for_each(|part| self.eval(part, scope, out))?;
            }
            Expr::Union(parts) => {
                let mut items = Vec::new();
                parts.iter().try_for_each(|part| self.eval(part, scope, &mut items))?;
                self.distinct(items, out)?;
            }
        }
        Ok(())
    }

    fn refuse_unordered(&self, input: &Expr) -> Outcome {
        if self.env.is_strict && input.is_unordered() {
            Err(EvaluateError::NoOrder)
        } else {
            Ok(())
        }
    }

    /// Adds what stands at `names` below `item`.
    fn walk(&self, item: &Item<'a>, names: &[String], out: &mut Items<'a>) -> Outcome {
        let Some((name, rest)) = names.split_first() else {
            out.push(item.clone());
            return Ok(());
        };
        let node = match item {
            Item::Node(node) => node,
            Item::Type { namespace, name: own } => {
                let text = match name.as_str() {
                    "namespace" => namespace,
                    "name" => own,
                    _ => return self.no_element(name),
                };
                return self.walk(&Item::Text(Cow::Borrowed(text)), rest, out);
            }
            Item::Quantity(quantity) => {
                let part = match name.as_str() {
                    "value" => Item::Decimal(quantity.value),
                    "unit" | "code" => Item::Text(quantity.unit.clone()),
                    _ => return self.no_element(name),
                };
                return self.walk(&part, rest, out);
            }
            Item::Resolved(_) => return Ok(()),
            _ => return self.no_element(name),
        };
        let mut failure = Ok(());
        let mut count = 0;
        let is_known = node.each_child(name, &mut |child| {
            count += 1;
            if rest.is_empty() {
                out.push(Item::Node(child));
            } else if failure.is_ok() {
                failure = self.walk(&Item::Node(child), rest, out);
            }
        });
        self.charge(count)?;
        if is_known { failure } else { self.no_element(name) }
    }

    fn no_element(&self, name: &str) -> Outcome {
        if self.env.is_strict {
            return Err(EvaluateError::UnknownElement { name: name.to_owned() });
        }
        Ok(())
    }

    fn variable(&self, name: &str, out: &mut Items<'a>) -> Outcome {
        let own = self.env.variables.iter().rev().find(|(known, _)| known == name);
        let url = |base: &str, rest: &str| Item::Text(Cow::Owned(format!("{base}{rest}")));
        let root = || self.env.root_resource.unwrap_or(self.resource);
        match name {
            _ if own.is_some() => {
                out.extend(own.into_iter().flat_map(|(_, items)| items.iter().cloned()));
            }
            "resource" => out.extend(Node::resource(self.resource).map(Item::Node)),
            "rootResource" => out.extend(Node::resource(root()).map(Item::Node)),
            "context" => out.extend_from_slice(self.focus),
            "ucum" => out.push(Item::Text(Cow::Borrowed(crate::ucum::UCUM_SYSTEM))),
            "sct" => out.push(Item::Text(Cow::Borrowed("http://snomed.info/sct"))),
            "loinc" => out.push(Item::Text(Cow::Borrowed("http://loinc.org"))),
            _ => match (name.strip_prefix("vs-"), name.strip_prefix("ext-")) {
                (Some(rest), _) => out.push(url("http://hl7.org/fhir/ValueSet/", rest)),
                (_, Some(rest)) => out.push(url("http://hl7.org/fhir/StructureDefinition/", rest)),
                _ => return Err(EvaluateError::UnknownVariable { name: name.to_owned() }),
            },
        }
        Ok(())
    }

    /// `is`, `as` and `ofType`. Where the language is meant, `as` and `ofType`
    /// take a primitive of just that type, as the published test suite has it:
    /// a `code` is a `string`, but `ofType(string)` does not give it.
    fn typed(
        &self,
        items: &[Item<'a>],
        test: TypeTest,
        name: &TypeName,
        out: &mut Items<'a>,
    ) -> Outcome {
        let is_known = match name.system {
            Some(true) => SYSTEM_TYPES.contains(&name.name.as_str()),
            Some(false) => definitions().type_definition(&name.name).is_some(),
            None => {
                SYSTEM_TYPES.contains(&name.name.as_str())
                    || definitions().type_definition(&name.name).is_some()
            }
        };
        if !is_known && !self.is_search() {
            return Err(EvaluateError::UnknownType { name: name.name.clone() });
        }
        if test != TypeTest::OfType && items.len() > 1 && !self.is_search() {
            return Err(EvaluateError::ManyItems { operation: "is and as" });
        }
        if test == TypeTest::Is {
            out.extend(items.first().map(|item| Item::Boolean(self.is_a(item, name, false))));
            return Ok(());
        }
        let before = out.len();
        let is_exact = !self.is_search();
        out.extend(items.iter().filter(|item| self.is_a(item, name, is_exact)).cloned());
        let can_never_be = test == TypeTest::As && out.len() == before && !items.is_empty();
        if self.env.is_strict && can_never_be {
            return Err(EvaluateError::WrongType { operation: "as" });
        }
        Ok(())
    }

    fn is_a(&self, item: &Item<'a>, wanted: &TypeName, is_exact: bool) -> bool {
        let (namespace, name) = item.type_of();
        let wanted_name = wanted.name.as_str();
        if namespace == "System" {
            let is_search_name = self.is_search()
                && matches!((name, wanted_name), ("Boolean", "boolean") | ("String", "string"));
            return wanted.system != Some(false) && (name == wanted_name || is_search_name);
        }
        let is_primitive = matches!(item, Item::Node(node) if node.is_primitive());
        if wanted.system == Some(true) {
            false
        } else if is_exact && is_primitive {
            name == wanted_name
        } else {
            definitions().is_a(name, wanted_name)
        }
    }

    /// The only item, if there is one.
    pub fn single<'i>(
        &self,
        items: &'i [Item<'a>],
        operation: &'static str,
    ) -> Outcome<Option<&'i Item<'a>>> {
        match items {
            [] => Ok(None),
            [item] => Ok(Some(item)),
            [first, ..] if self.is_search() => Ok(Some(first)),
            _ => Err(EvaluateError::ManyItems { operation }),
        }
    }

    pub fn integer(&self, items: &[Item<'a>], operation: &'static str) -> Outcome<Option<i64>> {
        match self.single(items, operation)?.map(Item::system) {
            None => Ok(None),
            Some(Item::Integer(value)) => Ok(Some(value)),
            Some(Item::Decimal(number)) if number.to_integer().is_some() => Ok(number.to_integer()),
            Some(_) => Err(EvaluateError::WrongType { operation }),
        }
    }

    /// Singleton evaluation of collections (N1, section 4.5): one item that is
    /// no Boolean stands for true.
    pub fn truth(&self, items: &[Item<'a>]) -> Outcome<Option<bool>> {
        Ok(match items {
            [] => None,
            [Item::Boolean(value)] => Some(*value),
            [Item::Node(node)] if node.type_code == "boolean" => {
                Some(node.value.as_bool().unwrap_or(true))
            }
            [_] => Some(true),
            _ if self.is_search() => Some(true),
            _ => return Err(EvaluateError::ManyItems { operation: "condition" }),
        })
    }

    /// Whether `test` holds for an item.
    pub fn holds(&self, test: &'a Expr, scope: Scope<'a, '_>) -> Outcome<bool> {
        Ok(self.truth(&self.collect(test, scope)?)? == Some(true))
    }
}

fn is_named(item: &Item<'_>, name: &str) -> bool {
    let (namespace, own) = item.type_of();
    namespace == "FHIR" && (own == name || definitions().is_a(own, name))
}
