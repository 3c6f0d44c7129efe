//! OBX-5 by OBX-2, OBX-6 and OBX-7.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::datatypes::{Reader, decimal};
use crate::hl7v2::{Part, Segment};
use crate::json::{Object, Put};
use crate::time::read_time;
use crate::vocabulary::mapped;

/// Puts the value of an observation that is told in `lines` (one but for text).
/// Several values of a coded or numeric field become components with the same
/// code: FHIR has one value, and none beside components of its own code (obs-7).
///
/// # Errors
/// A text for people when the value is kept as text only.
pub(super) fn put_value(
    reader: &Reader<'_>,
    observation: &mut Object,
    lines: &[Segment<'_>],
    kind: &str,
    code: &Value,
) -> Result<(), &'static str> {
    let Some(obx) = lines.first() else { return Ok(()) };
    if matches!(kind, "" | "ST" | "TX" | "FT" | "VR") {
        let text = lines.iter().map(text_of).collect::<Vec<_>>().join("\n");
        if !text.trim().is_empty() {
            observation.put("valueString", json!(text.trim_end()));
        }
        return if kind.is_empty() && observation.contains_key("valueString") {
            Err("the value has no type; kept as text")
        } else {
            Ok(())
        };
    }
    let mut remark = Ok(());
    let values: Vec<_> = obx.field(5).repetitions().filter(|part| !part.is_empty()).collect();
    let is_single = values.len() == 1;
    for part in values {
        let (name, value) = match typed(reader, part, kind, obx.first(6)) {
            Some(found) => found,
            None => {
                remark = Err("the value is not of the type it says; kept as text");
                ("valueString", json!(plain(part)))
            }
        };
        if is_single {
            observation.put(name, value);
        } else {
            observation.push("component", json!({"code": code, name: value}));
        }
    }
    remark
}

/// All repetitions of a text field: each is a line.
fn text_of(obx: &Segment<'_>) -> String {
    let lines = obx.field(5).repetitions().map(|part| part.text().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A part as people would read it: components parted by spaces.
fn plain(part: Part<'_>) -> String {
    let count = part.components_count();
    let texts = (1..=count).filter_map(|number| part.component(number).value());
    texts.collect::<Vec<_>>().join(" ")
}

/// `value[x]` of one value of the type `kind`.
fn typed(
    reader: &Reader<'_>,
    part: Part<'_>,
    kind: &str,
    unit: Part<'_>,
) -> Option<(&'static str, Value)> {
    match kind {
        "NM" => Some(("valueQuantity", number(reader, &part.at(1)?, unit)?)),
        "SN" => structured(reader, part, unit),
        "CWE" | "CE" | "CNE" | "CF" | "IS" | "ID" => {
            Some(("valueCodeableConcept", reader.concept(part)?))
        }
        "DT" | "TS" | "DTM" => Some(("valueDateTime", reader.date_time(part)?)),
        "TM" => Some(("valueTime", json!(read_time(&part.at(1)?)?))),
        "DR" => {
            let at = |number: usize| {
                let text = part.component(number).subcomponent(1).value()?;
                reader.zone.read(&text).map(|moment| json!(moment.date_time()))
            };
            Some(("valuePeriod", reader.period_of(at(1), at(2))?))
        }
        "NR" => {
            let mut range = Object::new();
            for (number, name) in [(1, "low"), (2, "high")] {
                let value = part.at(number).and_then(|text| decimal(&text));
                range.put(name, value.map(|value| reader.quantity(value, unit)));
            }
            (!range.is_empty()).then_some(("valueRange", Value::Object(range)))
        }
        "CQ" => {
            let value = decimal(&part.at(1)?)?;
            let own = part.component(2);
            let unit = if own.is_empty() { unit } else { own };
            Some(("valueQuantity", reader.quantity(value, unit)))
        }
        // Identifiers, people, addresses: no value[x] fits; their text does.
        _ => {
            let text = plain(part);
            (!text.is_empty()).then_some(("valueString", Value::String(text)))
        }
    }
}

/// NM, and `<5` in an NM, which senders do write.
fn number(reader: &Reader<'_>, text: &str, unit: Part<'_>) -> Option<Value> {
    let (comparator, text) = comparator(text.trim());
    let mut quantity = Object::new();
    quantity.put("value", decimal(text)?);
    quantity.put("comparator", comparator.map(|comparator| json!(comparator)));
    reader.put_unit(&mut quantity, unit);
    Some(Value::Object(quantity))
}

fn comparator(text: &str) -> (Option<&'static str>, &str) {
    for (written, code) in [("<=", "<="), (">=", ">="), ("<", "<"), (">", ">")] {
        if let Some(rest) = text.strip_prefix(written) {
            return (Some(code), rest.trim());
        }
    }
    (None, text)
}

/// SN: comparator, number, separator, number.
fn structured(
    reader: &Reader<'_>,
    part: Part<'_>,
    unit: Part<'_>,
) -> Option<(&'static str, Value)> {
    let sign = part.at(1).unwrap_or_default();
    let first = part.at(2).and_then(|text| decimal(&text));
    let second = part.at(4).and_then(|text| decimal(&text));
    let separator = part.at(3).unwrap_or_default();
    let quantity = |value: Value, sign: &str| {
        let (code, rest) = comparator(sign);
        // `=` says nothing; any other sign has no FHIR comparator.
        if !rest.is_empty() && rest != "=" {
            return None;
        }
        let mut quantity = Object::new();
        quantity.put("value", value);
        quantity.put("comparator", code.map(|code| json!(code)));
        reader.put_unit(&mut quantity, unit);
        Some(Value::Object(quantity))
    };
    let as_text = || {
        let text = plain(part);
        (!text.is_empty()).then_some(("valueString", Value::String(text)))
    };
    match (first, separator.as_str(), second) {
        (Some(value), "", None) => {
            quantity(value, &sign).map(|value| ("valueQuantity", value)).or_else(as_text)
        }
        (Some(low), "-", Some(high)) if sign.is_empty() || sign == "=" => {
            let range = json!({"low": quantity(low, "")?, "high": quantity(high, "")?});
            Some(("valueRange", range))
        }
        (Some(numerator), ":" | "/", Some(denominator)) => {
            let (code, rest) = comparator(&sign);
            if !rest.is_empty() && rest != "=" {
                return as_text();
            }
            let mut above = Object::new();
            above.put("value", numerator);
            above.put("comparator", code.map(|code| json!(code)));
            Some(("valueRatio", json!({"numerator": above, "denominator": {"value": denominator}})))
        }
        (Some(value), "+", None) => quantity(value, ">=").map(|value| ("valueQuantity", value)),
        _ => as_text(),
    }
}

/// OBX-7: the text as sent, and its ends where they are numbers.
pub(super) fn reference_range(reader: &Reader<'_>, text: &str, unit: Part<'_>) -> Value {
    let mut range = Object::new();
    let bound = |text: &str| decimal(text).map(|value| reader.quantity(value, unit));
    let (sign, rest) = comparator(text.trim());
    match sign {
        Some("<" | "<=") => range.put("high", bound(rest)),
        Some(_) => range.put("low", bound(rest)),
        None => {
            // The hyphen between the numbers, not a sign before the first.
            let hyphen = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '-' | '\u{2013}'));
            let parts = rest.split_once(" to ").or_else(|| {
                let (place, c) = hyphen?;
                Some((rest.get(..place)?, rest.get(place + c.len_utf8()..)?))
            });
            if let Some((low, high)) = parts {
                let high = high.split_whitespace().next().unwrap_or_default();
                if let (Some(low), Some(high)) = (bound(low), bound(high)) {
                    range.put("low", low);
                    range.put("high", high);
                }
            }
        }
    }
    range.put("text", json!(text));
    Value::Object(range)
}

/// ED (source, type, subtype, encoding, data) or RP (pointer, application, type,
/// subtype) to Attachment; `None` when the data cannot be decoded.
pub(super) fn attachment(part: &Part<'_>, kind: &str, title: Option<String>) -> Option<Value> {
    let mut file = Object::new();
    let is_pointer = kind.eq_ignore_ascii_case("RP");
    let [main, sub] = if is_pointer { [3, 4] } else { [2, 3] }.map(|number| part.at(number));
    file.put("contentType", json!(media_type(main.as_deref(), sub.as_deref())));
    if is_pointer {
        file.put("url", json!(part.at(1)?.replace(char::is_whitespace, "%20")));
    } else {
        let encoding = part.at(4).unwrap_or_default().to_ascii_lowercase();
        let data = part.from_component(5);
        let bytes = match encoding.as_str() {
            "base64" => decode_base64(data.text().as_ref())?,
            "hex" => decode_hex(data.text().as_ref())?,
            _ => data.text().into_owned().into_bytes(),
        };
        if bytes.is_empty() {
            return None;
        }
        file.put("data", json!(STANDARD.encode(bytes)));
    }
    file.put_text("title", title);
    Some(Value::Object(file))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let unpadded = compact.trim_end_matches('=');
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    engine.decode(unpadded).ok()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(pair).collect()
}

/// ED-2 and ED-3 (HL7 tables 0834 and 0291) to a MIME type.
fn media_type(main: Option<&str>, sub: Option<&str>) -> String {
    let known = [sub, main].into_iter().flatten().find_map(|text| mapped("media-type", text));
    if let Some(found) = known {
        return found.code.to_owned();
    }
    if let Some(whole) = [main, sub].into_iter().flatten().find(|text| is_media_type(text)) {
        return whole.to_ascii_lowercase();
    }
    match main.map(str::to_ascii_lowercase).as_deref() {
        Some("text" | "tx" | "ft") => "text/plain".to_owned(),
        _ => "application/octet-stream".to_owned(),
    }
}

fn is_media_type(text: &str) -> bool {
    text.split_once('/').is_some_and(|(main, sub)| {
        let token = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-_".contains(&byte))
        };
        token(main) && token(sub)
    })
}
