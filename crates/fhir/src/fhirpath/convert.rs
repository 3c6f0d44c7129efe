//! Conversions (N1, section 5.5): `toX` gives nothing for what cannot be
//! converted, `convertsToX` says whether it can.

use std::borrow::Cow;

use super::evaluate::{Evaluator, Items, Outcome, Scope};
use super::expr::{Expr, Function};
use super::item::Item;
use super::number::Number;
use super::quantity::{Quantity, calendar_unit};
use super::temporal::{Temporal, TemporalKind};

impl<'a> Evaluator<'a, '_> {
    pub(super) fn convert(
        &self,
        function: Function,
        input: &[Item<'a>],
        arguments: &'a [Expr],
        scope: Scope<'a, '_>,
        out: &mut Items<'a>,
    ) -> Outcome {
        use Function::*;
        let Some(item) = self.single(input, function.name())? else { return Ok(()) };
        let unit = self.text_of(arguments, 0, scope)?;
        let value = item.system();
        let found = match function {
            ToBoolean | ConvertsToBoolean => to_boolean(&value),
            ToInteger | ConvertsToInteger => to_integer(&value),
            ToDecimal | ConvertsToDecimal => to_decimal(&value),
            ToText | ConvertsToText => to_text(item, &value),
            ToDate | ConvertsToDate => to_temporal(&value, TemporalKind::Date),
            ToDateTime | ConvertsToDateTime => to_temporal(&value, TemporalKind::DateTime),
            ToTime | ConvertsToTime => to_temporal(&value, TemporalKind::Time),
            _ => to_quantity(&value, unit),
        };
        let is_question = matches!(
            function,
            ConvertsToBoolean
                | ConvertsToInteger
                | ConvertsToDecimal
                | ConvertsToText
                | ConvertsToDate
                | ConvertsToDateTime
                | ConvertsToTime
                | ConvertsToQuantity
        );
        if is_question {
            out.push(Item::Boolean(found.is_some()));
        } else {
            out.extend(found);
        }
        Ok(())
    }
}

fn to_boolean<'a>(value: &Item<'a>) -> Option<Item<'a>> {
    let found = match value {
        Item::Boolean(value) => *value,
        Item::Integer(1) => true,
        Item::Integer(0) => false,
        Item::Decimal(number) if *number == Number::from(1) => true,
        Item::Decimal(number) if number.is_zero() => false,
        Item::Text(text) => match text.to_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => true,
            "false" | "f" | "no" | "n" | "0" | "0.0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Item::Boolean(found))
}

/// A whole number of 32 bits.
fn to_integer<'a>(value: &Item<'a>) -> Option<Item<'a>> {
    let number = match value {
        Item::Boolean(value) => i64::from(*value),
        Item::Integer(value) => *value,
        Item::Text(text) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            text.parse().ok()?
        }
        _ => return None,
    };
    i32::try_from(number).ok().map(|_| Item::Integer(number))
}

fn to_decimal<'a>(value: &Item<'a>) -> Option<Item<'a>> {
    Some(Item::Decimal(match value {
        Item::Boolean(value) => Number::from(i64::from(*value)),
        Item::Integer(value) => Number::from(*value),
        Item::Decimal(number) => *number,
        Item::Text(text) if !text.contains(['e', 'E']) => Number::parse(text)?,
        _ => return None,
    }))
}

fn to_text<'a>(item: &Item<'a>, value: &Item<'a>) -> Option<Item<'a>> {
    if let Some(text) = item.text() {
        return Some(Item::Text(text));
    }
    // What is in the document is given as it is written.
    if let Item::Node(node) = item
        && node.is_primitive()
    {
        return match node.value {
            serde_json::Value::String(text) => Some(Item::Text(Cow::Borrowed(text))),
            serde_json::Value::Null => None,
            other => Some(Item::Text(Cow::Owned(other.to_string()))),
        };
    }
    let text = match value {
        Item::Boolean(value) => value.to_string(),
        Item::Integer(value) => value.to_string(),
        Item::Decimal(number) => number.to_string(),
        Item::Temporal(at) => at.to_string(),
        Item::Quantity(quantity) => quantity.to_string(),
        _ => return None,
    };
    Some(Item::Text(Cow::Owned(text)))
}

fn to_temporal<'a>(value: &Item<'a>, kind: TemporalKind) -> Option<Item<'a>> {
    match value {
        Item::Temporal(at) => at.to_kind(kind),
        Item::Text(text) => match Temporal::parse(kind, text) {
            None if kind == TemporalKind::Date => {
                Temporal::parse(TemporalKind::DateTime, text).and_then(|at| at.to_kind(kind))
            }
            found => found,
        },
        _ => None,
    }
    .map(Item::Temporal)
}

fn to_quantity<'a>(value: &Item<'a>, wanted: Option<Cow<'a, str>>) -> Option<Item<'a>> {
    let quantity = match value {
        Item::Boolean(value) => Quantity::pure(Number::from(i64::from(*value))),
        Item::Integer(value) => Quantity::pure(Number::from(*value)),
        Item::Decimal(number) => Quantity::pure(*number),
        Item::Quantity(quantity) => (**quantity).clone(),
        Item::Text(text) => read_quantity(text)?,
        _ => return None,
    };
    let quantity = match wanted {
        Some(unit) if unit != quantity.unit => {
            let code = calendar_unit(&unit).unwrap_or(&unit);
            Quantity { value: quantity.converted(code)?, unit }
        }
        _ => quantity,
    };
    Some(Item::Quantity(Box::new(quantity)))
}

/// `4 days`, `10 'mg'`, `1.5`.
fn read_quantity<'a>(text: &str) -> Option<Quantity<'a>> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let value = Number::parse(number)?;
    let unit = rest.trim_start();
    if unit.is_empty() {
        return rest.is_empty().then(|| Quantity::pure(value));
    }
    let unit = match unit.strip_prefix('\'') {
        Some(quoted) => {
            quoted.strip_suffix('\'').filter(|unit| !unit.is_empty() && !unit.contains('\''))?
        }
        None => calendar_unit(unit).map(|_| unit)?,
    };
    Some(Quantity { value, unit: Cow::Owned(unit.to_owned()) })
}
