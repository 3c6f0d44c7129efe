//! Fixed values, patterns and orders (FHIR R4 elementdefinition.html).

use std::cmp::Ordering;

use serde_json::Value;

use crate::search::Span;
use crate::ucum::Unit;

/// Whether a value is exactly the fixed one: property order aside, all that is there.
pub(crate) fn is_equal(fixed: &Value, value: &Value) -> bool {
    match (fixed, value) {
        (Value::Object(a), Value::Object(b)) => {
            let same = |(name, value): (&String, &Value)| {
                name == "id" || b.get(name).is_some_and(|other| is_equal(value, other))
            };
            let count = |map: &serde_json::Map<String, Value>| {
                map.keys().filter(|name| *name != "id").count()
            };
            count(a) == count(b) && a.iter().all(same)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Number(a), Value::Number(b)) => a == b || number(a) == number(b),
        _ => fixed == value,
    }
}

/// Whether a value has everything that the pattern has.
pub(crate) fn matches(pattern: &Value, value: &Value) -> bool {
    match (pattern, value) {
        (Value::Object(wanted), Value::Object(given)) => wanted
            .iter()
            .all(|(name, wanted)| given.get(name).is_some_and(|given| matches(wanted, given))),
        (Value::Array(wanted), Value::Array(given)) => {
            wanted.iter().all(|wanted| given.iter().any(|given| matches(wanted, given)))
        }
        _ => is_equal(pattern, value),
    }
}

fn number(number: &serde_json::Number) -> Option<f64> {
    number.to_string().parse().ok()
}

/// How two values of an ordered type compare; `None` when they do not.
pub(crate) fn order(value: &Value, limit: &Value) -> Option<Ordering> {
    match (value, limit) {
        (Value::Number(a), Value::Number(b)) => number(a)?.partial_cmp(&number(b)?),
        (Value::String(a), Value::String(b)) => {
            let (a, b) = (Span::parse(a)?, Span::parse(b)?);
            match () {
                () if a.to < b.from => Some(Ordering::Less),
                () if a.from > b.to => Some(Ordering::Greater),
                () if a.from == b.from && a.to == b.to => Some(Ordering::Equal),
                () => None,
            }
        }
        (Value::Object(_), Value::Object(_)) => quantities(value, limit),
        _ => None,
    }
}

fn quantities(value: &Value, limit: &Value) -> Option<Ordering> {
    let same = value["code"] == limit["code"] && value["system"] == limit["system"];
    if same || limit["code"].is_null() {
        return order(&value["value"], &limit["value"]);
    }
    if value["system"] != "http://unitsofmeasure.org" || limit["system"] != value["system"] {
        return None;
    }
    let unit = |of: &Value| Unit::parse(of["code"].as_str()?);
    let (own, other) = (decimal(&value["value"])?, decimal(&limit["value"])?);
    Unit::compare((own.0, own.1, &unit(value)?), (other.0, other.1, &unit(limit)?))
}

/// Digits and power of ten of a number as it is written.
fn decimal(value: &Value) -> Option<(i128, i32)> {
    let text = value.as_number()?.to_string();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}").parse().ok()?;
    let places = i32::try_from(part.len()).ok()?;
    Some((digits, exponent.parse::<i32>().ok()?.checked_sub(places)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patterns_ask_for_what_they_have_and_fixed_values_for_all() {
        let pattern = json!({"coding": [{"code": "a"}]});
        let more = json!({"coding": [{"code": "b"}, {"system": "s", "code": "a"}], "text": "t"});
        assert!(matches(&pattern, &more) && !matches(&more, &pattern));
        assert!(!is_equal(&pattern, &more));
        let identified = json!({"coding": [{"code": "a"}], "id": "x"});
        assert!(is_equal(&pattern, &identified));
    }

    #[test]
    fn quantities_compare_across_units() {
        let of = |value: f64, code: &str| json!({"value": value, "system": "http://unitsofmeasure.org", "code": code});
        assert_eq!(order(&of(500.0, "g"), &of(1.0, "kg")), Some(Ordering::Less));
        assert_eq!(order(&of(-1.5, "g"), &of(0.0, "kg")), Some(Ordering::Less));
        assert_eq!(order(&of(5.0, "m"), &of(1.0, "kg")), None);
        assert_eq!(order(&json!("2023"), &json!("2022-06")), Some(Ordering::Greater));
        assert_eq!(order(&json!("2022"), &json!("2022-06")), None);
    }
}
