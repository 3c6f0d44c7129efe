//! Operators: equality, order, arithmetic and logic (N1, section 6).

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::EvaluateError;
use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Operator};
use super::item::Item;
use super::number::{Number, Rounding};
use super::quantity::Quantity;
use super::temporal::TemporalKind;

/// Longest text that an operation gives, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

fn number(item: &Item<'_>) -> Option<Number> {
    match item {
        Item::Integer(value) => Some(Number::from(*value)),
        Item::Decimal(number) => Some(*number),
        _ => None,
    }
}

fn quantity<'a>(item: &Item<'a>) -> Option<Quantity<'a>> {
    match item {
        Item::Quantity(quantity) => Some((**quantity).clone()),
        other => number(other).map(Quantity::pure),
    }
}

/// Equality; `None` where it is open.
pub(super) fn equal(left: &Item<'_>, right: &Item<'_>) -> Option<bool> {
    let (left, right) = (left.system(), right.system());
    match (&left, &right) {
        (Item::Boolean(a), Item::Boolean(b)) => Some(a == b),
        (Item::Integer(a), Item::Integer(b)) => Some(a == b),
        (Item::Text(a), Item::Text(b)) => Some(a == b),
        (Item::Temporal(a), Item::Temporal(b)) => {
            if (a.kind() == TemporalKind::Time) != (b.kind() == TemporalKind::Time) {
                return Some(false);
            }
            a.compare(b).map(Ordering::is_eq)
        }
        (Item::Node(a), Item::Node(b)) => {
            Some(a.value == b.value && (a.sibling == b.sibling || !a.value.is_null()))
        }
        (Item::Type { namespace: a, name: b }, Item::Type { namespace: c, name: d }) => {
            Some(a == c && b == d)
        }
        (Item::Quantity(_), _) | (_, Item::Quantity(_)) => {
            match (quantity(&left), quantity(&right)) {
                (Some(a), Some(b)) => a.compare(&b, false).map(Ordering::is_eq),
                _ => Some(false),
            }
        }
        _ => match (number(&left), number(&right)) {
            (Some(a), Some(b)) => Some(a == b),
            _ => Some(false),
        },
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn equivalent(left: &Item<'_>, right: &Item<'_>) -> bool {
    let (left, right) = (left.system(), right.system());
    match (&left, &right) {
        (Item::Text(a), Item::Text(b)) => a == b || words(a) == words(b),
        (Item::Quantity(_), _) | (_, Item::Quantity(_)) => {
            match (quantity(&left), quantity(&right)) {
                (Some(a), Some(b)) => a.is_equivalent(&b),
                _ => false,
            }
        }
        (Item::Node(a), Item::Node(b)) => equivalent_values(a.value, b.value),
        _ => match (number(&left), number(&right)) {
            (Some(a), Some(b)) => {
                let scale = a.scale().min(b.scale());
                let round = |number: Number| number.to_scale(scale, Rounding::Nearest);
                round(a) == round(b)
            }
            _ => equal(&left, &right) == Some(true),
        },
    }
}

/// Equivalence of complex values: the order of lists does not count.
fn equivalent_values(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::String(a), Value::String(b)) => a == b || words(a) == words(b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len()
                && a.iter().all(|item| b.iter().any(|other| equivalent_values(item, other)))
                && b.iter().all(|item| a.iter().any(|other| equivalent_values(item, other)))
        }
        (Value::Object(a), Value::Object(b)) => {
            let keys = |object: &serde_json::Map<String, Value>| {
                object.keys().filter(|key| *key != "id").count()
            };
            keys(a) == keys(b)
                && a.iter().filter(|(key, _)| *key != "id").all(|(key, value)| {
                    b.get(key).is_some_and(|other| equivalent_values(value, other))
                })
        }
        _ => left == right,
    }
}

/// Order of two items; `None` where it is open.
pub(super) fn order(
    left: &Item<'_>,
    right: &Item<'_>,
    operation: &'static str,
) -> Outcome<Option<Ordering>> {
    let (left, right) = (left.system(), right.system());
    Ok(match (&left, &right) {
        (Item::Text(a), Item::Text(b)) => Some(a.cmp(b)),
        (Item::Temporal(a), Item::Temporal(b))
            if (a.kind() == TemporalKind::Time) == (b.kind() == TemporalKind::Time) =>
        {
            a.compare(b)
        }
        (Item::Quantity(_), _) | (_, Item::Quantity(_)) => {
            match (quantity(&left), quantity(&right)) {
                (Some(a), Some(b)) => a.compare(&b, false),
                _ => return Err(EvaluateError::WrongType { operation }),
            }
        }
        _ => match (number(&left), number(&right)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => return Err(EvaluateError::WrongType { operation }),
        },
    })
}

impl<'a> Evaluator<'a, '_> {
    pub fn need_number(&self, item: &Item<'a>, operation: &'static str) -> Outcome {
        match item {
            Item::Integer(_) | Item::Decimal(_) | Item::Quantity(_) => Ok(()),
            _ => Err(EvaluateError::WrongType { operation }),
        }
    }

    pub fn negate(&self, items: &[Item<'a>]) -> Outcome<Option<Item<'a>>> {
        Ok(match self.single(items, "-")?.map(Item::system) {
            None => None,
            Some(Item::Integer(value)) => value.checked_neg().map(Item::Integer),
            Some(Item::Decimal(value)) => Some(Item::Decimal(value.negated())),
            Some(Item::Quantity(mut quantity)) => {
                quantity.value = quantity.value.negated();
                Some(Item::Quantity(quantity))
            }
            Some(_) => return Err(EvaluateError::WrongType { operation: "-" }),
        })
    }

    /// Equality of collections, in their order.
    pub fn equal_all(&self, left: &[Item<'a>], right: &[Item<'a>]) -> Outcome<Option<bool>> {
        if left.is_empty() || right.is_empty() {
            return Ok(None);
        }
        if left.len() != right.len() {
            return Ok(Some(false));
        }
        self.charge(left.len())?;
        let mut all = Some(true);
        for (a, b) in left.iter().zip(right) {
            match equal(a, b) {
                Some(false) => return Ok(Some(false)),
                Some(true) => {}
                None => all = None,
            }
        }
        Ok(all)
    }

    fn equivalent_all(&self, left: &[Item<'a>], right: &[Item<'a>]) -> Outcome<bool> {
        if left.len() != right.len() {
            return Ok(false);
        }
        self.charge(left.len().saturating_mul(right.len()))?;
        let mut open: Vec<&Item<'a>> = right.iter().collect();
        for item in left {
            match open.iter().position(|other| equivalent(item, other)) {
                Some(place) => drop(open.swap_remove(place)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// A binary operator.
    pub fn binary(
        &self,
        operator: Operator,
        left: &'a Expr,
        right: &'a Expr,
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Operator::*;
        let before = self.collect(left, scope)?;
        if matches!(operator, And | Or | Xor | Implies) {
            let before = self.truth(&before)?;
            let decided = match (operator, before) {
                (And, Some(false)) => Some(false),
                (Or, Some(true)) | (Implies, Some(false)) => Some(true),
                _ => None,
            };
            if let Some(decided) = decided {
                out.push(Item::Boolean(decided));
                return Ok(());
            }
            let after = self.truth(&self.collect(right, scope)?)?;
            out.extend(logic(operator, before, after).map(Item::Boolean));
            return Ok(());
        }
        let after = self.collect(right, scope)?;
        match operator {
            Equal => out.extend(self.equal_all(&before, &after)?.map(Item::Boolean)),
            NotEqual => {
                out.extend(self.equal_all(&before, &after)?.map(|equal| Item::Boolean(!equal)));
            }
            Equivalent => out.push(Item::Boolean(self.equivalent_all(&before, &after)?)),
            NotEquivalent => out.push(Item::Boolean(!self.equivalent_all(&before, &after)?)),
            In => {
                if let Some(item) = self.single(&before, "in")? {
                    out.push(Item::Boolean(self.is_in(item, &after)?));
                }
            }
            Contains => {
                if let Some(item) = self.single(&after, "contains")? {
                    out.push(Item::Boolean(self.is_in(item, &before)?));
                }
            }
            Less | LessOrEqual | Greater | GreaterOrEqual => {
                let operation = "comparison";
                let pair = (self.single(&before, operation)?, self.single(&after, operation)?);
                let (Some(a), Some(b)) = pair else { return Ok(()) };
                out.extend(order(a, b, operation)?.map(|order| {
                    Item::Boolean(match operator {
                        Less => order.is_lt(),
                        LessOrEqual => order.is_le(),
                        Greater => order.is_gt(),
                        _ => order.is_ge(),
                    })
                }));
            }
            Concatenate => {
                let text = |items: &[Item<'a>]| -> Outcome<Cow<'a, str>> {
                    match self.single(items, "&")? {
                        None => Ok(Cow::Borrowed("")),
                        Some(item) => {
                            item.text().ok_or(EvaluateError::WrongType { operation: "&" })
                        }
                    }
                };
                self.push_text(text(&before)?.into_owned() + &text(&after)?, out)?;
            }
            _ => {
                let operation = "arithmetic";
                let pair = (self.single(&before, operation)?, self.single(&after, operation)?);
                let (Some(a), Some(b)) = pair else { return Ok(()) };
                match (operator, a.system(), b.system()) {
                    (Add, Item::Text(a), Item::Text(b)) => {
                        self.push_text(a.into_owned() + &b, out)?
                    }
                    (_, a, b) => out.extend(arithmetic(operator, &a, &b)?),
                }
            }
        }
        Ok(())
    }

    pub fn push_text(&self, text: String, out: &mut Items<'a>) -> Outcome {
        if text.len() > TEXT_BYTES_MAX {
            return Err(EvaluateError::TooMuchWork);
        }
        self.charge(text.len() / 64)?;
        out.push(Item::Text(Cow::Owned(text)));
        Ok(())
    }

    pub fn is_in(&self, item: &Item<'a>, items: &[Item<'a>]) -> Outcome<bool> {
        self.charge(items.len())?;
        Ok(items.iter().any(|other| equal(item, other) == Some(true)))
    }
}

fn logic(operator: Operator, before: Option<bool>, after: Option<bool>) -> Option<bool> {
    match operator {
        Operator::And => match (before, after) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        Operator::Or => match (before, after) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Operator::Xor => before.zip(after).map(|(a, b)| a != b),
        _ => match (before, after) {
            (Some(false), _) | (_, Some(true)) => Some(true),
            (Some(true), after) => after,
            _ => None,
        },
    }
}

/// `+ - * / div mod`; nothing where the result cannot be held.
fn arithmetic<'a>(
    operator: Operator,
    left: &Item<'a>,
    right: &Item<'a>,
) -> Outcome<Option<Item<'a>>> {
    use Operator::*;
    let operation = "arithmetic";
    let wrong = || EvaluateError::WrongType { operation };
    if let (Item::Temporal(at), Item::Quantity(span)) = (left, right) {
        let mut span = (**span).clone();
        match operator {
            Add => {}
            Subtract => span.value = span.value.negated(),
            _ => return Err(wrong()),
        }
        if span.added_to(*at).is_none() && !is_length(&span) {
            return Err(EvaluateError::WrongUnit { operation });
        }
        return Ok(span.added_to(*at).map(Item::Temporal));
    }
    if let (Item::Integer(a), Item::Integer(b)) = (left, right) {
        let whole = match operator {
            Add => a.checked_add(*b),
            Subtract => a.checked_sub(*b),
            Multiply => a.checked_mul(*b),
            Div => a.checked_div(*b),
            Mod => a.checked_rem(*b),
            _ => return Ok(Number::from(*a).over(Number::from(*b)).map(Item::Decimal)),
        };
        return Ok(whole.map(Item::Integer));
    }
    if let (Some(a), Some(b)) = (number(left), number(right)) {
        return Ok(match operator {
            Add => a.plus(b).map(Item::Decimal),
            Subtract => a.plus(b.negated()).map(Item::Decimal),
            Multiply => a.times(b).map(Item::Decimal),
            Divide => a.over(b).map(Item::Decimal),
            Div => a.whole_quotient(b).map(Item::Integer),
            _ => a.remainder(b).map(Item::Decimal),
        });
    }
    let (Some(a), Some(b)) = (quantity(left), quantity(right)) else { return Err(wrong()) };
    let result = match operator {
        Add => a.plus(&b),
        Subtract => a.plus(&Quantity { value: b.value.negated(), unit: b.unit }),
        Multiply => a.times(&b, false),
        Divide => a.times(&b, true),
        _ => return Err(wrong()),
    };
    Ok(result.map(|quantity| Item::Quantity(Box::new(quantity))))
}

/// Whether a quantity can be added to dates at all.
fn is_length(span: &Quantity<'_>) -> bool {
    super::quantity::calendar_unit(&span.unit).is_some()
        || matches!(&*span.unit, "wk" | "d" | "h" | "min" | "s" | "ms")
}
