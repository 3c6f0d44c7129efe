//! Bytes to a resource, strictly and within bounds.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::definitions;
use crate::outcome::{Issue, Severity};

/// Bounds of what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the document in bytes.
    pub bytes_max: usize,
    /// Nesting of objects and arrays.
    pub depth_max: usize,
}

impl Default for Limits {
    /// 32 MiB, which holds the largest bundles in use; 64 levels, twice what any
    /// published example needs.
    fn default() -> Self {
        Self { bytes_max: 32 * 1024 * 1024, depth_max: 64 }
    }
}

/// Reads one resource: UTF-8 JSON (a byte-order mark is skipped), an object with
/// a known `resourceType`, no property twice in an object, within `limits`.
/// Decimals keep every digit.
///
/// # Errors
/// One [`Issue`] of severity fatal with line and column; it never quotes the document.
pub fn parse_resource(bytes: &[u8], limits: Limits) -> Result<Value, Issue> {
    let fatal = |code, text: String| Issue::error(code, "", text).with_severity(Severity::Fatal);
    if bytes.len() > limits.bytes_max {
        let text = format!("the document is larger than {} bytes", limits.bytes_max);
        return Err(fatal("too-long", text));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let problem = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Bounded { depth: limits.depth_max, problem: &problem };
    let read = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    let value = read.map_err(|error| {
        // serde_json's own text can quote the document; only its place is used.
        let what = problem.get().unwrap_or(match error.classify() {
            serde_json::error::Category::Eof => "the document ends too early",
            _ => "not JSON",
        });
        fatal("structure", format!("{what}, line {} column {}", error.line(), error.column()))
    })?;
    match value["resourceType"].as_str() {
        Some(name) if definitions().is_resource_type(name) => Ok(value),
        Some(_) => Err(fatal("structure", "resourceType names no FHIR R4 resource".to_owned())),
        None => Err(fatal("structure", "not a resource: resourceType is missing".to_owned())),
    }
}

#[derive(Clone, Copy)]
struct Bounded<'a> {
    depth: usize,
    problem: &'a Cell<Option<&'static str>>,
}

impl Bounded<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| self.fail("nested too deeply"))?;
        Ok(Self { depth, ..self })
    }

    fn fail<E: Error>(self, what: &'static str) -> E {
        self.problem.set(Some(what));
        E::custom(what)
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| self.fail("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        /// How serde_json hands over a number under `arbitrary_precision`.
        const NUMBER: &str = "$serde_json::private::Number";
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == NUMBER {
                let digits: String = fields.next_value()?;
                let number = digits.parse::<Number>().map_err(|_| self.fail("not a number"))?;
                return Ok(Value::Number(number));
            }
            if object.contains_key(&name) {
                return Err(self.fail("the same property twice in an object"));
            }
            let value = fields.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(text: &str) -> String {
        parse_resource(text.as_bytes(), Limits::default()).expect_err("is refused").diagnostics
    }

    #[test]
    fn decimals_and_order_survive() {
        let text = r#"{"resourceType":"Observation","z":1.00,"a":[1e5,-0.10]}"#;
        let value = parse_resource(text.as_bytes(), Limits::default()).expect("parses");
        assert_eq!(value.to_string().replace("1e+5", "1e5"), text);
    }

    #[test]
    fn what_is_wrong_is_told_by_place_and_never_by_content() {
        for (text, said) in [
            (
                "{\"resourceType\":\"Patient\",\n \"id\":\"secret\",\"id\":\"secret\"}",
                "twice in an object, line 2 column",
            ),
            ("{\"resourceType\":\"Patient\" \"secret\"}", "not JSON, line 1 column 27"),
            ("{\"resourceType\":\"Patient\"", "ends too early, line 1"),
            ("{\"resourceType\":\"secret\"}", "names no FHIR R4 resource"),
            ("[]", "resourceType is missing"),
            ("{\"resourceType\":\"Patient\"} secret", "not JSON, line 1"),
        ] {
            let found = refuse(text);
            assert!(found.contains(said) && !found.contains("secret"), "{found}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(refuse(&deep).contains("nested too deeply"));
        assert!(refuse(&"[".repeat(1_000_000)).contains("nested too deeply"));
        let limits = Limits { bytes_max: 10, ..Limits::default() };
        let issue = parse_resource(br#"{"resourceType":"Patient"}"#, limits).expect_err("too long");
        assert_eq!(issue.code, "too-long");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse_resource(&bytes, Limits::default());
        }
    }
}
