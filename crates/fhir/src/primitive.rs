//! Formats of the primitive datatypes (FHIR R4 datatypes.html#primitive).

use serde_json::Value;

use crate::reference::is_id;
use crate::search::{Precision, parse_time};

/// Longest string that FHIR allows, in bytes.
const STRING_MAX: usize = 1024 * 1024;

/// What a primitive of this type must look like, if `value` does not.
pub(crate) fn check(type_code: &str, value: &Value) -> Result<(), &'static str> {
    match type_code {
        "boolean" => when(value.is_boolean(), "true or false is needed"),
        "decimal" => when(value.is_number(), "a number is needed"),
        "integer" => integer(value, i64::from(i32::MIN), "a whole number of 32 bits is needed"),
        "unsignedInt" => integer(value, 0, "a whole number from 0 is needed"),
        "positiveInt" => integer(value, 1, "a whole number from 1 is needed"),
        _ => match value.as_str() {
            Some(text) => check_text(type_code, text),
            None => Err("a string is needed"),
        },
    }
}

fn when(fits: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if fits { Ok(()) } else { Err(otherwise) }
}

fn integer(value: &Value, least: i64, otherwise: &'static str) -> Result<(), &'static str> {
    let fits = |number: i64| (least..=i64::from(i32::MAX)).contains(&number);
    when(value.as_i64().is_some_and(fits), otherwise)
}

fn check_text(type_code: &str, text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("an empty string is not allowed");
    }
    match type_code {
        "code" => {
            let words = text.split(' ').all(|word| !word.is_empty());
            let plain = !text.contains(|c: char| c.is_whitespace() && c != ' ');
            when(words && plain, "a code without surplus white space is needed")
        }
        "id" => when(is_id(text), "1 to 64 letters, digits, - and . are needed"),
        "uri" | "url" | "canonical" => {
            when(!text.contains(char::is_whitespace), "a URI without white space is needed")
        }
        "oid" => when(is_oid(text), "urn:oid: and an object identifier are needed"),
        "uuid" => when(is_uuid(text), "urn:uuid: and a UUID are needed"),
        "date" => {
            let fits = parse_time(text).is_some_and(|at| at.precision <= Precision::Day);
            when(fits, "a date is needed")
        }
        "dateTime" => {
            let fits = parse_time(text).is_some_and(|at| {
                at.precision <= Precision::Day
                    || (at.precision >= Precision::Second && at.has_offset)
            });
            when(fits, "a date, or date and time with seconds and offset is needed")
        }
        "instant" => {
            let fits = parse_time(text)
                .is_some_and(|at| at.precision >= Precision::Second && at.has_offset);
            when(fits, "a date and time with seconds and offset is needed")
        }
        "time" => {
            let at = parse_time(&format!("2000-01-01T{text}"));
            let fits = at.is_some_and(|at| at.precision >= Precision::Second && !at.has_offset);
            when(fits, "hh:mm:ss is needed")
        }
        "base64Binary" => when(is_base64(text), "base64 is needed"),
        _ => when(text.len() <= STRING_MAX, "the text is longer than 1 MiB"),
    }
}

fn is_oid(text: &str) -> bool {
    let Some(arcs) = text.strip_prefix("urn:oid:") else { return false };
    let number = |arc: &str| {
        !arc.is_empty()
            && arc.bytes().all(|byte| byte.is_ascii_digit())
            && (arc == "0" || !arc.starts_with('0'))
    };
    arcs.starts_with(['0', '1', '2']) && arcs.contains('.') && arcs.split('.').all(number)
}

fn is_uuid(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("urn:uuid:") else { return false };
    let groups: Vec<&str> = uuid.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn is_base64(text: &str) -> bool {
    let (mut letters, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'=' => padding += 1,
            _ if padding > 0 => return false,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => letters += 1,
            _ => return false,
        }
    }
    padding <= 2 && (letters + padding).is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_are_those_of_the_specification() {
        for (kind, good, bad) in [
            ("boolean", json!(true), json!("true")),
            ("integer", json!(-5), json!(1.5)),
            ("positiveInt", json!(1), json!(0)),
            ("decimal", json!(1.50), json!("1.5")),
            ("code", json!("in progress"), json!(" final")),
            ("id", json!("a-1.B"), json!("a_1")),
            ("date", json!("2015-05"), json!("2015-05-01T10:00:00Z")),
            ("dateTime", json!("2015-05-01T10:00:00+02:00"), json!("2015-05-01T10:00:00")),
            ("instant", json!("2015-05-01T10:00:00.123Z"), json!("2015-05-01")),
            ("time", json!("10:00:00"), json!("10:00")),
            ("oid", json!("urn:oid:2.16.840"), json!("2.16.840")),
            ("uuid", json!("urn:uuid:c757873d-ec9a-4326-a141-556f43239520"), json!("urn:uuid:1")),
            ("base64Binary", json!("AAEC\nAw=="), json!("A")),
            ("uri", json!("urn:x:y"), json!("http://a b")),
            ("string", json!("x"), json!("")),
        ] {
            assert_eq!(check(kind, &good), Ok(()), "{kind}");
            assert!(check(kind, &bad).is_err(), "{kind}");
        }
    }
}
