//! What an operation is called with: the query of a GET, or a Parameters resource
//! (FHIR R4 operations.html#request, parameters.html).
//!
//! Invariant: what was not declared is an issue that names it; nothing is passed
//! over in silence. Issues hold names of parameters, never values.

use serde_json::Value;

use crate::outcome::Issue;

/// Parameters of one call.
pub const PARAMETERS_COUNT_MAX: usize = 1_000;
/// Parameters of the HTTP layer that say nothing to an operation.
const TRANSPORT: [&str; 2] = ["_format", "_pretty"];

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string, code, id, uri, canonical, or the literal of a Reference.
    Text,
    /// `system|code`: a token in a query, a Coding or CodeableConcept in a body.
    Token,
    /// A boolean.
    Boolean,
    /// An integer that is not negative.
    Count,
    /// A date, dateTime or instant.
    Time,
    /// A datatype such as Coding or Meta; only in a body.
    Complex,
    /// A resource; only in a body.
    Resource,
    /// Parts; only in a body.
    Parts,
}

/// One declared parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether the operation means nothing without it.
    pub required: bool,
    /// Whether there may be several.
    pub repeats: bool,
}

impl Declared {
    /// An optional parameter that comes once.
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, required: false, repeats: false }
    }

    /// The same, required.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same, as often as one likes.
    #[must_use]
    pub const fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }
}

/// A value of a parameter.
#[derive(Clone, PartialEq)]
pub enum Argument {
    /// [`Kind::Text`], [`Kind::Token`] and [`Kind::Time`].
    Text(String),
    /// [`Kind::Boolean`].
    Boolean(bool),
    /// [`Kind::Count`].
    Count(usize),
    /// [`Kind::Complex`], [`Kind::Resource`], and the list of [`Kind::Parts`].
    Json(Value),
}

impl std::fmt::Debug for Argument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[phi]")
    }
}

/// The parameters of one call, as declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments {
    values: Vec<(&'static str, Argument)>,
}

impl Arguments {
    /// Reads the pairs of a query and, of a POST, the Parameters resource.
    ///
    /// # Errors
    /// Every parameter that is not declared, malformed, repeated or missing.
    pub fn read(
        declared: &'static [Declared],
        pairs: &[(String, String)],
        body: Option<&Value>,
    ) -> Result<Self, Vec<Issue>> {
        let mut read = Self::default();
        let mut issues = Vec::new();
        let listed = body.map(|body| &body["parameter"]);
        let listed = listed.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if body.is_some_and(|body| body["resourceType"] != "Parameters") {
            issues.push(Issue::error("structure", "resourceType", "has to be Parameters"));
        }
        if pairs.len() + listed.len() > PARAMETERS_COUNT_MAX {
            let text = format!("more than {PARAMETERS_COUNT_MAX} parameters");
            return Err(vec![Issue::error("too-costly", "Parameters", text)]);
        }
        let given = pairs.iter().filter(|(name, _)| !TRANSPORT.contains(&name.as_str()));
        for (name, value) in given {
            match find(declared, name) {
                Some(one) => read.add(one, from_query(one.kind, value), &mut issues),
                None => issues.push(unknown(name)),
            }
        }
        for (place, parameter) in listed.iter().enumerate() {
            let Some(name) = parameter["name"].as_str() else {
                let at = format!("Parameters.parameter[{place}].name");
                issues.push(Issue::error("required", at, "a parameter needs a name"));
                continue;
            };
            match find(declared, name) {
                Some(one) => read.add(one, from_body(one.kind, parameter), &mut issues),
                None => issues.push(unknown(name)),
            }
        }
        for one in declared.iter().filter(|one| one.required) {
            let malformed = issues.iter().any(|issue| issue.expression == one.name);
            if !read.has(one.name) && !malformed {
                issues.push(Issue::error("required", one.name, "this parameter is needed"));
            }
        }
        if issues.is_empty() { Ok(read) } else { Err(issues) }
    }

    fn add(
        &mut self,
        declared: &Declared,
        value: Result<Argument, &'static str>,
        issues: &mut Vec<Issue>,
    ) {
        match value {
            Ok(_) if !declared.repeats && self.has(declared.name) => {
                issues.push(Issue::error("invalid", declared.name, "may be given once"));
            }
            Ok(value) => self.values.push((declared.name, value)),
            Err(wanted) => {
                issues.push(Issue::error("value", declared.name, format!("has to be {wanted}")));
            }
        }
    }

    /// Whether the parameter was given.
    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(known, _)| *known == name)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Argument> {
        self.values.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The first text of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).into_iter().next()
    }

    /// Every text of this name.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let named = self.values.iter().filter(|(known, _)| *known == name);
        let text = named.filter_map(|(_, value)| match value {
            Argument::Text(text) => Some(text.as_str()),
            _ => None,
        });
        text.collect()
    }

    /// The number of this name.
    pub fn count(&self, name: &str) -> Option<usize> {
        self.all(name).find_map(|value| match value {
            Argument::Count(count) => Some(*count),
            _ => None,
        })
    }

    /// The boolean of this name.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.all(name).find_map(|value| match value {
            Argument::Boolean(boolean) => Some(*boolean),
            _ => None,
        })
    }

    /// The datatype, resource or parts of this name.
    pub fn json(&self, name: &str) -> Option<&Value> {
        self.jsons(name).into_iter().next()
    }

    /// Every datatype, resource or list of parts of this name.
    pub fn jsons(&self, name: &str) -> Vec<&Value> {
        let named = self.values.iter().filter(|(known, _)| *known == name);
        let json = named.filter_map(|(_, value)| match value {
            Argument::Json(value) => Some(value),
            _ => None,
        });
        json.collect()
    }
}

fn find<'a>(declared: &'a [Declared], name: &str) -> Option<&'a Declared> {
    declared.iter().find(|one| one.name == name)
}

/// Names of parameters are the client's own text: only what looks like one is
/// repeated.
fn unknown(name: &str) -> Issue {
    let plain =
        name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:.".contains(&b));
    let name = if plain { name } else { "(unreadable)" };
    Issue::error("not-supported", name, "this operation has no such parameter")
}

fn from_query(kind: Kind, text: &str) -> Result<Argument, &'static str> {
    match kind {
        Kind::Text | Kind::Token | Kind::Time if text.is_empty() => Err("given a value"),
        Kind::Text | Kind::Token => Ok(Argument::Text(text.to_owned())),
        Kind::Time => time(text),
        Kind::Boolean => boolean(text),
        Kind::Count => count(text),
        Kind::Complex | Kind::Resource | Kind::Parts => {
            Err("sent in the body of a POST, in a Parameters resource")
        }
    }
}

fn boolean(text: &str) -> Result<Argument, &'static str> {
    text.parse().map(Argument::Boolean).map_err(|_| "true or false")
}

fn count(text: &str) -> Result<Argument, &'static str> {
    text.parse().map(Argument::Count).map_err(|_| "an integer that is not negative")
}

fn time(text: &str) -> Result<Argument, &'static str> {
    let known = crate::search::Span::parse(text).is_some();
    known.then(|| Argument::Text(text.to_owned())).ok_or("a date, dateTime or instant")
}

fn from_body(kind: Kind, parameter: &Value) -> Result<Argument, &'static str> {
    let fields = parameter.as_object();
    let value = fields.and_then(|fields| {
        fields.iter().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value)
    });
    let json = |value: &Value, wanted| match value {
        Value::Object(_) => Ok(Argument::Json(value.clone())),
        _ => Err(wanted),
    };
    match kind {
        Kind::Resource => json(&parameter["resource"], "a resource"),
        Kind::Parts => match &parameter["part"] {
            parts @ Value::Array(_) => Ok(Argument::Json(parts.clone())),
            _ => Err("a list of parts"),
        },
        Kind::Complex => json(value.unwrap_or(&Value::Null), "a datatype"),
        Kind::Boolean => match value {
            Some(Value::Bool(boolean)) => Ok(Argument::Boolean(*boolean)),
            Some(Value::String(text)) => boolean(text),
            _ => Err("true or false"),
        },
        Kind::Count => match value {
            Some(Value::Number(number)) => count(&number.to_string()),
            Some(Value::String(text)) => count(text),
            _ => count(""),
        },
        Kind::Time => time(value.and_then(Value::as_str).unwrap_or_default()),
        Kind::Text => {
            let text = value.and_then(|value| value.as_str().or(value["reference"].as_str()));
            from_query(Kind::Text, text.unwrap_or_default())
        }
        Kind::Token => {
            let value = value.unwrap_or(&Value::Null);
            let coding = if value["coding"].is_array() { &value["coding"][0] } else { value };
            let text = match (value.as_str(), &coding["system"], &coding["code"]) {
                (Some(text), ..) => text.to_owned(),
                (None, Value::String(system), Value::String(code)) => format!("{system}|{code}"),
                (None, _, Value::String(code)) => code.clone(),
                _ => String::new(),
            };
            from_query(Kind::Token, &text)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DECLARED: &[Declared] = &[
        Declared::new("name", Kind::Text).required(),
        Declared::new("code", Kind::Token).repeats(),
        Declared::new("start", Kind::Time),
        Declared::new("max", Kind::Count),
        Declared::new("exact", Kind::Boolean),
        Declared::new("meta", Kind::Complex),
        Declared::new("resource", Kind::Resource),
    ];

    fn query(text: &str) -> Result<Arguments, Vec<Issue>> {
        let pairs: Vec<_> = text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Arguments::read(DECLARED, &pairs, None)
    }

    #[test]
    fn a_query_and_a_body_say_the_same() {
        let asked = query("name=n&code=s|c&code=d&start=2015-05&max=3&exact=true&_pretty=true");
        let body = json!({ "resourceType": "Parameters", "parameter": [
            { "name": "name", "valueString": "n" },
            { "name": "code", "valueCoding": { "system": "s", "code": "c" } },
            { "name": "code", "valueCodeableConcept": { "coding": [{ "code": "d" }] } },
            { "name": "start", "valueDate": "2015-05" },
            { "name": "max", "valuePositiveInt": 3 },
            { "name": "exact", "valueBoolean": true },
        ]});
        let told = Arguments::read(DECLARED, &[], Some(&body));
        assert_eq!(asked, told);
        let told = told.expect("well-formed");
        assert_eq!(told.texts("code"), ["s|c", "d"]);
        assert_eq!((told.count("max"), told.boolean("exact")), (Some(3), Some(true)));
    }

    #[test]
    fn whatever_is_wrong_is_named_and_all_of_it_at_once() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let issues = query(text).expect_err("refused");
            let told: Vec<_> = issues.iter().map(|i| (i.code, i.expression.as_str())).collect();
            assert_eq!(told, expected, "{text}");
        };
        check("name=n&colour=blue", &[("not-supported", "colour")]);
        check("name=n&name=o", &[("invalid", "name")]);
        check("", &[("required", "name")]);
        check(
            "name=&start=noon&max=-1&exact=1&meta=x",
            &[
                ("value", "name"),
                ("value", "start"),
                ("value", "max"),
                ("value", "exact"),
                ("value", "meta"),
            ],
        );
        check("name=n&a b=1", &[("not-supported", "(unreadable)")]);
        let nameless = json!({ "resourceType": "Parameters", "parameter": [{}] });
        assert_eq!(Arguments::read(DECLARED, &[], Some(&nameless)).expect_err("refused").len(), 2);
        assert!(Arguments::read(DECLARED, &[], Some(&json!({}))).is_err());
    }
}
