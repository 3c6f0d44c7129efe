//! Rules of FHIR data types that every format shares.

use serde_json::{Value, json};

use crate::json::{Object, Put, coding};
use crate::vocabulary::mapped;

pub(crate) const SSN_SYSTEM: &str = "http://hl7.org/fhir/sid/us-ssn";
pub(crate) const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";
const IDENTIFIER_TYPES: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
pub(crate) const UCUM_SYSTEM: &str = "http://unitsofmeasure.org";

/// A code as FHIR allows it: no white space around, single spaces within.
pub(crate) fn code_text(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A FHIR decimal, exactly as it was sent where JSON can say it.
pub(crate) fn decimal(text: &str) -> Option<Value> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, rest) = text.split_once('.').map_or((text, None), |(a, b)| (a, Some(b)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = rest.unwrap_or_default();
    let long = whole.len() + fraction.len() > 40;
    if long || !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let sign = if negative { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    serde_json::from_str(&format!("{sign}{whole}{point}{fraction}")).ok()
}

/// Unit and UCUM code of a quantity.
pub(crate) fn put_ucum(quantity: &mut Object, display: &str, code: &str) {
    quantity.put("unit", json!(display));
    // FHIR `code` holds no spaces at its ends; a unit with any is not UCUM.
    if !code.contains(char::is_whitespace) {
        quantity.put("system", json!(UCUM_SYSTEM));
        quantity.put("code", json!(code));
    }
}

/// Whether the FHIR dateTime `end` is surely before `start`: as instants where
/// both have a time, as far as both are exact otherwise.
pub(crate) fn is_before(end: &str, start: &str) -> bool {
    let instant = |text: &str| text.parse::<jiff::Timestamp>().ok();
    if let (Some(end), Some(start)) = (instant(end), instant(start)) {
        return end < start;
    }
    let date = |text: &str| text.split('T').next().unwrap_or_default().to_owned();
    let (end, start) = (date(end), date(start));
    let exact = end.len().min(start.len());
    end.get(..exact) < start.get(..exact)
}

/// `Identifier.type` of an HL7 table 0203 code; others are text.
pub(crate) fn identifier_type(code: &str) -> Value {
    match mapped("identifier-type", code) {
        Some(found) => json!({"coding": [coding(found.system, found.code, found.display)]}),
        None if matches!(code, "PLAC" | "FILL") => {
            json!({"coding": [coding(IDENTIFIER_TYPES, code, "")]})
        }
        None => json!({"text": code}),
    }
}

/// A social security number as `AAA-GG-SSSS`. Fillers (all digits alike, wrong
/// length) are nobody's number and would link strangers.
pub(crate) fn social_security_number(text: &str) -> Option<Value> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let filler = digits.bytes().all(|digit| digits.bytes().next() == Some(digit))
        || matches!(digits.as_str(), "123456789" | "987654321");
    if digits.len() != 9 || filler {
        return None;
    }
    let parts = [digits.get(..3)?, digits.get(3..5)?, digits.get(5..)?];
    Some(json!({
        "type": identifier_type("SS"),
        "system": SSN_SYSTEM,
        "value": parts.join("-"),
    }))
}

/// `system|value` of an identifier.
pub(crate) fn key_of(identifier: &Value) -> String {
    let text = |name: &str| identifier.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{}|{}", text("system"), text("value"))
}

/// A CDC race or ethnicity code: digits, hyphen, check digit.
pub(crate) fn is_cdc_code(code: &str) -> bool {
    code.split_once('-').is_some_and(|(number, check)| {
        number.len() == 4
            && check.len() == 1
            && number.bytes().chain(check.bytes()).all(|byte| byte.is_ascii_digit())
    })
}

/// The OMB race categories of us-core-race; other CDC codes are `detailed`.
pub(crate) const OMB_RACES: [&str; 7] =
    ["1002-5", "2028-9", "2054-5", "2076-8", "2106-3", "UNK", "ASKU"];

/// Prefix, given names, family name, suffix.
pub(crate) fn label(name: &Object) -> String {
    let list = |member: &str| {
        let items = name.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let family = name.get("family").and_then(Value::as_str).map(str::to_owned);
    let mut parts = list("prefix");
    parts.extend(list("given"));
    parts.extend(family);
    parts.extend(list("suffix"));
    parts.join(" ")
}
