//! FHIR elements as text for people.

use serde_json::Value;

/// The string element `name`; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default().trim()
}

/// The elements of the list `name`.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[name].as_array().into_iter().flatten()
}

/// A CodeableConcept: its text, else the first display, else the first code.
pub(crate) fn concept(value: &Value) -> String {
    let own = text(value, "text");
    if !own.is_empty() {
        return own.to_owned();
    }
    let of = |name: &'static str| list(value, "coding").map(move |coding| text(coding, name));
    of("display").chain(of("code")).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

/// The first of several CodeableConcepts that says something.
pub(crate) fn first_concept(value: &Value, name: &str) -> String {
    list(value, name).map(concept).find(|text| !text.is_empty()).unwrap_or_default()
}

/// Codes of one CodeableConcept.
pub(crate) fn codes(value: &Value) -> impl Iterator<Item = &str> {
    list(value, "coding").map(|coding| text(coding, "code")).filter(|code| !code.is_empty())
}

/// Whether one of the CodeableConcepts `name` has `code`.
pub(crate) fn has_code(value: &Value, name: &str, code: &str) -> bool {
    list(value, name).any(|concept| codes(concept).any(|own| own == code))
}

/// What tells concepts apart: the first coding with system and code, or the text.
pub(crate) fn concept_key(value: &Value) -> String {
    let coded = list(value, "coding").find(|coding| !text(coding, "code").is_empty());
    match coded {
        Some(coding) => format!("{}|{}", text(coding, "system"), text(coding, "code")),
        None => concept(value).to_lowercase(),
    }
}

/// A code of ours or HL7's as words: `entered-in-error` is "Entered in error".
pub(crate) fn words(code: &str) -> String {
    let spaced = code.replace('-', " ");
    let mut chars = spaced.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A number exactly as it was sent.
pub(crate) fn number(value: &Value) -> Option<String> {
    value.as_number().map(ToString::to_string)
}

/// Value and unit of a Quantity.
pub(crate) fn quantity(value: &Value) -> Option<(String, String)> {
    let amount = number(&value["value"])?;
    let unit = [text(value, "unit"), text(value, "code")].into_iter().find(|unit| !unit.is_empty());
    Some((format!("{}{amount}", text(value, "comparator")), unit.unwrap_or_default().to_owned()))
}

/// A Quantity on one line; `%` stands close.
pub(crate) fn quantity_line(value: &Value) -> String {
    quantity(value).map_or_else(String::new, |(amount, unit)| joined_unit(&amount, &unit))
}

/// Number and unit.
pub(crate) fn joined_unit(amount: &str, unit: &str) -> String {
    match unit {
        "" => amount.to_owned(),
        "%" => format!("{amount}%"),
        _ => format!("{amount} {unit}"),
    }
}

/// Who a Reference names: its display.
pub(crate) fn named(reference: &Value) -> &str {
    text(reference, "display")
}

/// The parts that say something, with `between`.
pub(crate) fn joined(parts: impl IntoIterator<Item = String>, between: &str) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.trim().is_empty()).collect();
    parts.join(between)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_concept_prefers_what_a_person_wrote() {
        let coded =
            json!({"coding": [{"system": "s", "code": "1"}, {"code": "2", "display": "Two"}]});
        assert_eq!(concept(&coded), "Two");
        assert_eq!(concept(&json!({"text": "Mine", "coding": [{"display": "Theirs"}]})), "Mine");
        assert_eq!(concept(&json!({"coding": [{"code": "8480-6"}]})), "8480-6");
        assert_eq!((concept(&json!(null)), concept_key(&coded)), (String::new(), "s|1".to_owned()));
    }

    #[test]
    fn numbers_stay_as_they_were_sent() {
        let sent: Value = serde_json::from_str(r#"{"value": 7.10, "unit": "%"}"#).expect("is JSON");
        assert_eq!(quantity_line(&sent), "7.10%");
        let below = json!({"value": 5, "comparator": "<", "code": "ng/mL"});
        assert_eq!(quantity_line(&below), "<5 ng/mL");
    }

    #[test]
    fn codes_become_words() {
        assert_eq!(words("entered-in-error"), "Entered in error");
        assert_eq!(words(""), "");
    }
}
