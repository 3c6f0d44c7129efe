//! `value` of an observation, and its reference ranges.

use serde_json::{Value, json};

use super::Conversion;
use super::xml::{Lookup, Node};
use crate::fhir_type::decimal;
use crate::json::{Object, Put, some};

impl<'d> Conversion<'d> {
    /// Puts `value[x]` or `dataAbsentReason`.
    pub(super) fn put_value(&mut self, node: Node<'d>, object: &mut Object) {
        let mut values = node.all("value");
        let Some(value) = values.next() else { return };
        if values.next().is_some() {
            self.warn(node, "values after the first are kept in the original only");
        }
        match self.value_of(value) {
            Some((name, found)) => object.put(name, found),
            None => {
                match value.null_flavor().and_then(|flavor| self.reader.absent_reason(flavor)) {
                    Some(reason) => object.put("dataAbsentReason", reason),
                    None => {
                        if value.null_flavor().is_none() {
                            self.warn(
                                value,
                                "a value that cannot be read is kept in the original only",
                            );
                        }
                    }
                }
            }
        }
    }

    fn value_of(&self, value: Node<'d>) -> Option<(&'static str, Value)> {
        let reader = &self.reader;
        let text = || {
            let own = reader.narrative.text(value);
            let original = || reader.narrative.text(value.child("originalText")?);
            own.or_else(original)
        };
        let string = |text: String| ("valueString", json!(text));
        let guess = match () {
            () if value.attr("unit").is_some() => "PQ",
            () if value.attr("code").is_some() => "CD",
            () if value.child("low").or_else(|| value.child("high")).is_some() => "IVL_PQ",
            () if value.attr("value").is_some() => "PQ",
            () => "ST",
        };
        match value.type_name().unwrap_or(guess) {
            "PQ" | "REAL" | "MO" => {
                let found = reader.quantity(value).map(|found| ("valueQuantity", found));
                let translated = || {
                    let quantity = reader.quantity(value.child("translation")?)?;
                    Some(("valueQuantity", quantity))
                };
                // "<5" and the like.
                let said = || {
                    let number = value.attr("value")?;
                    let unit = value.attr("unit").unwrap_or_default();
                    Some(string(format!("{number} {unit}").trim().to_owned()))
                };
                found.or_else(translated).or_else(said).or_else(|| text().map(string))
            }
            "INT" => {
                let number = value.attr("value")?;
                match number.parse::<i32>() {
                    Ok(number) => Some(("valueInteger", json!(number))),
                    Err(_) => Some(match decimal(number) {
                        Some(number) => ("valueQuantity", json!({"value": number})),
                        None => string(number.to_owned()),
                    }),
                }
            }
            "IVL_PQ" | "IVL_REAL" | "IVL_INT" => self.interval_value(value),
            "RTO" | "RTO_PQ_PQ" => {
                let part = |name: &str| value.child(name).and_then(|it| reader.quantity(it));
                let (numerator, denominator) = (part("numerator")?, part("denominator")?);
                let ratio = json!({"numerator": numerator, "denominator": denominator});
                Some(("valueRatio", ratio))
            }
            "BL" => match value.attr("value")? {
                "true" | "1" => Some(("valueBoolean", json!(true))),
                "false" | "0" => Some(("valueBoolean", json!(false))),
                _ => None,
            },
            "TS" => reader.date_time(value).map(|at| ("valueDateTime", at)),
            "IVL_TS" => {
                let interval = reader.interval(value);
                if interval.is_point {
                    return interval.start().map(|at| ("valueDateTime", at));
                }
                reader.period(&interval).map(|period| ("valuePeriod", period))
            }
            "CD" | "CE" | "CV" | "CO" | "CS" => {
                let found = reader.concept(value).map(|found| ("valueCodeableConcept", found));
                found.or_else(|| text().map(string))
            }
            // R4's Observation holds no attachment: base64 stays in the original.
            "ED" if value.attr("representation") == Some("B64") => None,
            _ => {
                let own = text().or_else(|| value.attr("value").map(str::to_owned));
                own.or_else(|| value.attr("displayName").map(str::to_owned)).map(string)
            }
        }
    }

    /// IVL_PQ: a range, or a quantity with a comparator when one end is open.
    fn interval_value(&self, value: Node<'d>) -> Option<(&'static str, Value)> {
        let end = |name: &str| {
            let node = value.child(name)?;
            let is_open = node.attr("inclusive") == Some("false");
            Some((self.reader.quantity(node)?, is_open))
        };
        let compared = |(mut quantity, is_open): (Value, bool), open: &str, closed: &str| {
            let comparator = if is_open { open } else { closed };
            quantity.as_object_mut()?.insert("comparator".to_owned(), json!(comparator));
            Some(("valueQuantity", quantity))
        };
        match (end("low"), end("high")) {
            (Some((low, _)), Some((high, _))) => {
                Some(("valueRange", json!({"low": low, "high": high})))
            }
            (Some(low), None) => compared(low, ">", ">="),
            (None, Some(high)) => compared(high, "<", "<="),
            (None, None) => {
                let center = value.child("center").and_then(|it| self.reader.quantity(it));
                let own = center.or_else(|| self.reader.quantity(value));
                own.map(|quantity| ("valueQuantity", quantity))
            }
        }
    }

    /// Reference ranges that are the normal ones.
    pub(super) fn put_ranges(&self, node: Node<'d>, object: &mut Object) {
        for range in node.all("referenceRange").filter_map(|it| it.child("observationRange")) {
            let kind = range.child("interpretationCode").and_then(|code| code.attr("code"));
            if kind.is_some_and(|kind| kind != "N") {
                continue;
            }
            let mut found = Object::new();
            let mut said = range.child("text").and_then(|text| self.reader.narrative.text(text));
            if let Some(value) = range.child("value") {
                for name in ["low", "high"] {
                    let end = value.child(name).and_then(|end| self.reader.quantity(end));
                    found.put(name, end);
                }
                if matches!(value.type_name(), Some("ST" | "ED")) {
                    said = self.reader.narrative.text(value).or(said);
                }
            }
            found.put_text("text", said);
            object.push("referenceRange", some(found));
        }
    }
}
