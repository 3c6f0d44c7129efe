//! What an imprecise value can mean at least and at most, and how precise it is
//! (FHIRPath, `lowBoundary` and its siblings).

use super::EvaluateError;
use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Function};
use super::item::Item;
use super::number::{Number, Rounding};
use super::quantity::Quantity;
use super::temporal::TemporalKind;

/// Places after the point when none are asked for, and the most.
const PLACES: i64 = 8;
const PLACES_MAX: i64 = 31;

impl<'a> Evaluator<'a, '_> {
    pub(super) fn boundary(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        let operation = function.name();
        let wrong = || EvaluateError::WrongType { operation };
        let Some(item) = self.single(input, operation)?.map(Item::system) else { return Ok(()) };
        match function {
            Function::Comparable => {
                let argument = match arguments.first() {
                    Some(argument) => self.collect(argument, scope)?,
                    None => Vec::new(),
                };
                let Some(other) = self.single(&argument, operation)?.map(Item::system) else {
                    return Ok(());
                };
                match (item, other) {
                    (Item::Quantity(left), Item::Quantity(right)) => {
                        out.push(Item::Boolean(left.is_comparable(&right)));
                    }
                    _ => return Err(wrong()),
                }
            }
            Function::Precision => out.push(Item::Integer(match item {
                Item::Integer(_) => 0,
                Item::Decimal(number) => i64::from(number.scale()),
                Item::Quantity(quantity) => i64::from(quantity.value.scale()),
                Item::Temporal(at) => at.precision_digits(),
                _ => return Err(wrong()),
            })),
            _ => {
                let is_high = function == Function::HighBoundary;
                let digits = match arguments.first() {
                    None => None,
                    Some(_) => match self.integer_of(arguments, 0, scope)? {
                        None => return Ok(()),
                        digits => digits,
                    },
                };
                let number = |value: Number| of_number(value, digits.unwrap_or(PLACES), is_high);
                out.extend(match item {
                    Item::Integer(value) => number(Number::from(value)).map(Item::Decimal),
                    Item::Decimal(value) => number(value).map(Item::Decimal),
                    Item::Quantity(quantity) => number(quantity.value).map(|value| {
                        Item::Quantity(Box::new(Quantity { value, unit: quantity.unit }))
                    }),
                    Item::Temporal(at) => {
                        let most = match at.kind() {
                            TemporalKind::Date => 8,
                            TemporalKind::DateTime => 17,
                            TemporalKind::Time => 9,
                        };
                        at.boundary(digits.unwrap_or(most), is_high).map(Item::Temporal)
                    }
                    _ => return Err(wrong()),
                });
            }
        }
        Ok(())
    }
}

/// Half a unit of the last place below or above, to so many places outwards. What
/// vanishes at those places is zero, as the published test suite has it.
fn of_number(value: Number, places: i64, is_high: bool) -> Option<Number> {
    let places = u32::try_from(places).ok().filter(|places| i64::from(*places) <= PLACES_MAX)?;
    let (rounding, half) = if is_high { (Rounding::Ceiling, 5) } else { (Rounding::Floor, -5) };
    let is_gone = value.to_scale(places, Rounding::Truncate)?.is_zero() && value.scale() > places;
    let is_outwards = value.parts().0 > 0 && is_high || value.parts().0 < 0 && !is_high;
    if is_gone && is_outwards {
        return Some(Number::new(0, places));
    }
    value.plus(Number::new(half, value.scale() + 1))?.to_scale(places, rounding)
}
