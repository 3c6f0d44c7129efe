//! Functions over numbers (N1, section 5.7). Those that are exact stay exact;
//! logarithms, roots and broken powers are computed in binary and rounded to 15
//! places.

use super::EvaluateError;
use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Function};
use super::item::Item;
use super::number::{Number, Rounding};

impl<'a> Evaluator<'a, '_> {
    pub(super) fn maths(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Function::*;
        let operation = function.name();
        let wrong = || EvaluateError::WrongType { operation };
        let number_of = |item: &Item<'a>| match item.system() {
            Item::Integer(value) => Ok(Number::from(value)),
            Item::Decimal(number) => Ok(number),
            _ => Err(wrong()),
        };
        let Some(item) = self.single(input, operation)?.map(Item::system) else { return Ok(()) };
        let whole = |number: Number, rounding: Rounding| {
            number.to_scale(0, rounding).and_then(Number::to_integer).map(Item::Integer)
        };
        let argument = match arguments.first() {
            None => None,
            Some(argument) => {
                let found = self.collect(argument, scope)?;
                match self.single(&found, operation)? {
                    None => return Ok(()),
                    Some(item) => Some(number_of(item)?),
                }
            }
        };
        if let (Abs, Item::Quantity(quantity)) = (function, &item) {
            let mut quantity = quantity.clone();
            quantity.value = quantity.value.absolute();
            out.push(Item::Quantity(quantity));
            return Ok(());
        }
        let number = number_of(&item)?;
        let is_integer = matches!(item, Item::Integer(_));
        let value = number.to_f64();
        let found = match function {
            Abs if is_integer => number.absolute().to_integer().map(Item::Integer),
            Abs => Some(Item::Decimal(number.absolute())),
            Ceiling => whole(number, Rounding::Ceiling),
            Floor => whole(number, Rounding::Floor),
            Truncate => whole(number, Rounding::Truncate),
            Round => {
                let places = argument.map_or(Some(0), Number::to_integer);
                let places =
                    places.and_then(|places| u32::try_from(places).ok()).ok_or_else(wrong)?;
                let places = places.min(number.scale());
                number.to_scale(places, Rounding::Nearest).map(Item::Decimal)
            }
            Exp => Number::of_f64(value.exp()).map(Item::Decimal),
            Ln => Some(value)
                .filter(|value| *value > 0.0)
                .and_then(|v| Number::of_f64(v.ln()))
                .map(Item::Decimal),
            Log => {
                let base = argument.ok_or_else(wrong)?.to_f64();
                let fits = value > 0.0 && base > 0.0 && (base - 1.0).abs() > f64::EPSILON;
                let found = if (base - 2.0).abs() < f64::EPSILON {
                    value.log2()
                } else if (base - 10.0).abs() < f64::EPSILON {
                    value.log10()
                } else {
                    value.ln() / base.ln()
                };
                Some(found).filter(|_| fits).and_then(Number::of_f64).map(Item::Decimal)
            }
            Sqrt => Some(value)
                .filter(|value| *value >= 0.0)
                .and_then(|v| Number::of_f64(v.sqrt()))
                .map(Item::Decimal),
            _ => {
                let exponent = argument.ok_or_else(wrong)?;
                let exact = exponent.to_integer().and_then(|exponent| power(number, exponent));
                let found = match exact {
                    Some(exact) => Some(exact),
                    None => Number::of_f64(value.powf(exponent.to_f64())),
                };
                match found
                    .and_then(Number::to_integer)
                    .filter(|_| is_integer && exponent.scale() == 0)
                {
                    Some(integer) => Some(Item::Integer(integer)),
                    None => found.map(Item::Decimal),
                }
            }
        };
        out.extend(found);
        Ok(())
    }
}

/// A whole, not negative power; `None` when it cannot be held.
fn power(base: Number, exponent: i64) -> Option<Number> {
    /// Any base but 0 and 1 overflows before.
    const EXPONENT_MAX: i64 = 200;
    if !(0..=EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    (0..exponent).try_fold(Number::from(1), |product, _| product.times(base))
}
