//! What is in a value set: `compose` evaluated over the code systems at hand
//! (FHIR R4 valueset.html#compositions).

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::library::{CodeSystem, Concept};
use super::{Terminology, bare};
use crate::outcome::Issue;

/// Codes of one expansion.
pub const EXPANSION_MAX: usize = 20_000;
/// Value sets in value sets, at most so deep: a circle ends here.
const DEPTH_MAX: usize = 16;
/// Memory of a compiled filter; patterns are the author's of a value set.
const REGEX_BYTES_MAX: usize = 1 << 18;

/// A code in a value set.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Code system.
    pub system: String,
    /// The code.
    pub code: String,
    /// What people read.
    pub display: Option<String>,
    /// `designation` of the code system or the value set.
    pub designations: Vec<Value>,
    /// Whether it is no longer used.
    pub is_inactive: bool,
    /// Whether it only groups others.
    pub is_abstract: bool,
}

impl Member {
    fn of(system: &CodeSystem, concept: &Concept) -> Self {
        Self {
            system: system.url.clone(),
            code: concept.code.clone(),
            display: concept.display.clone(),
            designations: concept.designations.clone(),
            is_inactive: concept.is_inactive(),
            is_abstract: concept.is_abstract(),
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn not_at_hand(what: &str, url: &str) -> Issue {
    Issue::error("not-found", "", format!("the {what} {url} is not at hand"))
}

/// One condition of an include, ready to be asked.
enum Test {
    Below(usize, bool),
    NotBelow(usize),
    Above(usize),
    Property { name: String, values: Vec<String>, inside: bool },
    Matches(String, Regex),
    Exists(String, bool),
}

impl Test {
    fn read(system: &CodeSystem, filter: &Value) -> Result<Self, Issue> {
        let text = |name: &str| filter[name].as_str().unwrap_or_default().to_owned();
        let (name, op, value) = (text("property"), text("op"), text("value"));
        let unknown = |what: &str| {
            Err(Issue::error(
                "not-supported",
                "",
                format!("the filter {what} of {} is not known", system.url),
            ))
        };
        // A code that the system does not have has nothing below it.
        let place = system.place(&value).unwrap_or(usize::MAX);
        let hierarchy = matches!(name.as_str(), "concept" | "code" | "");
        let values = |list: &str| list.split(',').map(|one| one.trim().to_owned()).collect();
        Ok(match op.as_str() {
            "is-a" if hierarchy => Self::Below(place, true),
            "descendent-of" if hierarchy => Self::Below(place, false),
            "is-not-a" if hierarchy => Self::NotBelow(place),
            "generalizes" if hierarchy => Self::Above(place),
            "=" => Self::Property { name, values: vec![value], inside: true },
            "in" => Self::Property { name, values: values(&value), inside: true },
            "not-in" => Self::Property { name, values: values(&value), inside: false },
            "exists" => Self::Exists(name, value == "true"),
            "regex" => {
                let whole = format!("^(?:{value})$");
                match RegexBuilder::new(&whole).size_limit(REGEX_BYTES_MAX).build() {
                    Ok(regex) => Self::Matches(name, regex),
                    Err(_) => return unknown("regex"),
                }
            }
            _ => return unknown("operator"),
        })
    }

    fn passes(&self, system: &CodeSystem, place: usize) -> bool {
        let concept = &system.concepts[place];
        let known = |top: usize| top < system.concepts.len();
        match self {
            Self::Below(top, itself) => {
                known(*top) && (*itself || *top != place) && system.is_below(place, *top)
            }
            Self::NotBelow(top) => !known(*top) || !system.is_below(place, *top),
            Self::Above(low) => known(*low) && system.is_below(*low, place),
            Self::Property { name, values, inside } => {
                property(system, concept, place, name).iter().any(|v| values.contains(v)) == *inside
            }
            Self::Matches(name, regex) => {
                property(system, concept, place, name).iter().any(|value| regex.is_match(value))
            }
            Self::Exists(name, wanted) => {
                property(system, concept, place, name).is_empty() != *wanted
            }
        }
    }
}

/// The values of a property, those that every system has among them
/// (codesystem.html#defined-props).
fn property(system: &CodeSystem, concept: &Concept, place: usize, name: &str) -> Vec<String> {
    match name {
        "concept" | "code" => vec![concept.code.clone()],
        "display" => concept.display.iter().cloned().collect(),
        "definition" => concept.definition.iter().cloned().collect(),
        "parent" => {
            concept.parents.iter().map(|parent| system.concepts[*parent].code.clone()).collect()
        }
        "child" => system.children(place).map(|child| child.code.clone()).collect(),
        "inactive" => vec![concept.is_inactive().to_string()],
        "notSelectable" => vec![concept.is_abstract().to_string()],
        _ => concept.property(name).collect(),
    }
}

impl Terminology<'_> {
    /// Every code of a value set, in the order of its definition.
    ///
    /// # Errors
    /// A code system, value set or filter that is not at hand, or more codes than
    /// [`EXPANSION_MAX`].
    pub fn expand(&self, set: &Value) -> Result<Vec<Member>, Issue> {
        self.expand_at(set, 0)
    }

    fn expand_at(&self, set: &Value, depth: usize) -> Result<Vec<Member>, Issue> {
        if depth > DEPTH_MAX {
            return Err(Issue::error("too-costly", "", "value sets include each other too deeply"));
        }
        let compose = &set["compose"];
        if compose.is_null() {
            return Ok(listed(&set["expansion"]["contains"], 0));
        }
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        for include in list(compose, "include") {
            for member in self.part(include, depth)? {
                if seen.insert((member.system.clone(), member.code.clone())) {
                    members.push(member);
                }
                if members.len() > EXPANSION_MAX {
                    let text = format!("the value set has more than {EXPANSION_MAX} codes");
                    return Err(Issue::error("too-costly", "", text));
                }
            }
        }
        for exclude in list(compose, "exclude") {
            let out: HashSet<_> =
                self.part(exclude, depth)?.into_iter().map(|m| (m.system, m.code)).collect();
            members.retain(|member| !out.contains(&(member.system.clone(), member.code.clone())));
        }
        Ok(members)
    }

    fn part(&self, part: &Value, depth: usize) -> Result<Vec<Member>, Issue> {
        let mut members = match part["system"].as_str() {
            Some(url) => Some(self.of_system(url, part)?),
            None => None,
        };
        // Several value sets in one include are what all of them have.
        for url in list(part, "valueSet").iter().filter_map(Value::as_str) {
            let set = self.value_set(url).ok_or_else(|| not_at_hand("value set", bare(url)))?;
            let others = self.expand_at(set, depth + 1)?;
            members = Some(match members {
                None => others,
                Some(mut own) => {
                    let has: HashSet<_> =
                        others.iter().map(|m| (m.system.as_str(), m.code.as_str())).collect();
                    own.retain(|m| has.contains(&(m.system.as_str(), m.code.as_str())));
                    own
                }
            });
        }
        Ok(members.unwrap_or_default())
    }

    fn of_system(&self, url: &str, part: &Value) -> Result<Vec<Member>, Issue> {
        let system = self.system(url);
        let concepts = list(part, "concept");
        if !concepts.is_empty() {
            let member = |told: &Value| {
                let code = told["code"].as_str().unwrap_or_default();
                let known = system.and_then(|s| Some(Member::of(s, s.concept(code)?)));
                let mut member = known.unwrap_or_else(|| Member {
                    system: bare(url).to_owned(),
                    code: code.to_owned(),
                    display: None,
                    designations: Vec::new(),
                    is_inactive: false,
                    is_abstract: false,
                });
                if let Some(display) = told["display"].as_str() {
                    member.display = Some(display.to_owned());
                }
                member.designations.extend(list(told, "designation").iter().cloned());
                member
            };
            return Ok(concepts.iter().map(member).collect());
        }
        let system = system.filter(|system| system.is_complete);
        let system = system.ok_or_else(|| not_at_hand("code system", bare(url)))?;
        let tests = list(part, "filter").iter().map(|filter| Test::read(system, filter));
        let tests = tests.collect::<Result<Vec<_>, _>>()?;
        let passing = (0..system.concepts.len())
            .filter(|place| tests.iter().all(|test| test.passes(system, *place)));
        Ok(passing.map(|place| Member::of(system, &system.concepts[place])).collect())
    }

    /// Whether a code is in a value set, without writing the set out; `None` when that
    /// cannot be told.
    pub fn contains_in(&self, set: &Value, system: Option<&str>, code: &str) -> Option<bool> {
        self.contains_at(set, system, code, 0)
    }

    fn contains_at(
        &self,
        set: &Value,
        system: Option<&str>,
        code: &str,
        depth: usize,
    ) -> Option<bool> {
        if depth > DEPTH_MAX {
            return None;
        }
        let compose = &set["compose"];
        if compose.is_null() {
            let members = listed(&set["expansion"]["contains"], 0);
            let is_it = |m: &Member| m.code == code && system.is_none_or(|s| s == m.system);
            return Some(members.iter().any(is_it));
        }
        let any = |name: &str| {
            let mut answer = Some(false);
            for part in list(compose, name) {
                match self.part_has(part, system, code, depth) {
                    Some(true) => return Some(true),
                    None => answer = None,
                    Some(false) => {}
                }
            }
            answer
        };
        match (any("include"), any("exclude")) {
            (Some(false), _) | (_, Some(true)) => Some(false),
            (_, None) | (None, _) => None,
            (Some(true), Some(false)) => Some(true),
        }
    }

    fn part_has(
        &self,
        part: &Value,
        system: Option<&str>,
        code: &str,
        depth: usize,
    ) -> Option<bool> {
        let mut answer = Some(true);
        let mut asked = false;
        if let Some(url) = part["system"].as_str() {
            asked = true;
            match self.system_has(url, part, system, code) {
                Some(false) => return Some(false),
                other => answer = other,
            }
        }
        for url in list(part, "valueSet").iter().filter_map(Value::as_str) {
            asked = true;
            let set = self.value_set(url);
            match set.and_then(|set| self.contains_at(set, system, code, depth + 1)) {
                Some(false) => return Some(false),
                Some(true) => {}
                None => answer = None,
            }
        }
        if asked { answer } else { Some(false) }
    }

    fn system_has(
        &self,
        url: &str,
        part: &Value,
        system: Option<&str>,
        code: &str,
    ) -> Option<bool> {
        if system.is_some_and(|system| bare(system) != bare(url)) {
            return Some(false);
        }
        let concepts = list(part, "concept");
        if !concepts.is_empty() {
            return Some(concepts.iter().any(|concept| concept["code"] == *code));
        }
        let known = self.system(url)?;
        let Some(place) = known.place(code) else {
            return if known.is_complete { Some(false) } else { None };
        };
        for filter in list(part, "filter") {
            if !Test::read(known, filter).ok()?.passes(known, place) {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// The codes of an expansion that came with the value set.
fn listed(contains: &Value, depth: usize) -> Vec<Member> {
    let mut members = Vec::new();
    for told in contains.as_array().into_iter().flatten().filter(|_| depth < DEPTH_MAX) {
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        if let Some(code) = text("code") {
            members.push(Member {
                system: text("system").unwrap_or_default(),
                code,
                display: text("display"),
                designations: list(told, "designation").to_vec(),
                is_inactive: told["inactive"] == true,
                is_abstract: told["abstract"] == true,
            });
        }
        members.extend(listed(&told["contains"], depth + 1));
    }
    members
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Library;
    use super::*;

    fn library(rules: Value) -> Library {
        let mut library = Library::default();
        library.add(
            &json!({ "resourceType": "CodeSystem", "url": "http://s", "content": "complete",
            "caseSensitive": true, "concept": [
                { "code": "a", "display": "Alpha", "concept": [
                    { "code": "b", "concept": [{ "code": "c", "display": "Gamma" }] }] },
                { "code": "d", "property": [{ "code": "kind", "valueCode": "x" },
                    { "code": "parent", "valueCode": "b" }] },
                { "code": "e", "property": [{ "code": "status", "valueCode": "retired" }] }] }),
        );
        library.add(&json!({ "resourceType": "ValueSet", "url": "http://v", "compose": rules }));
        library.add(&json!({ "resourceType": "ValueSet", "url": "http://ab", "compose": {
            "include": [{ "system": "http://s", "concept": [{ "code": "a" }, { "code": "b" }] }] } }));
        library
    }

    fn check(rules: Value, expected: &[&str]) {
        let library = library(rules.clone());
        let terms = Terminology(&[&library]);
        let set = terms.value_set("http://v|1").expect("added");
        let members = terms.expand(set).expect("expands");
        let codes: Vec<_> = members.iter().map(|member| member.code.as_str()).collect();
        assert_eq!(codes, expected, "{rules}");
        for code in ["a", "b", "c", "d", "e", "A", "z"] {
            let inside = terms.contains("http://v", Some("http://s"), code);
            assert_eq!(inside, Some(expected.contains(&code)), "{rules} {code}");
        }
    }

    fn filtered(property: &str, op: &str, value: &str) -> Value {
        json!({ "include": [{ "system": "http://s",
            "filter": [{ "property": property, "op": op, "value": value }] }] })
    }

    #[test]
    fn every_filter_operator_is_what_the_specification_says() {
        check(json!({ "include": [{ "system": "http://s" }] }), &["a", "b", "c", "d", "e"]);
        check(filtered("concept", "is-a", "b"), &["b", "c", "d"]);
        check(filtered("concept", "descendent-of", "b"), &["c", "d"]);
        check(filtered("concept", "is-not-a", "b"), &["a", "e"]);
        check(filtered("concept", "generalizes", "c"), &["a", "b", "c"]);
        check(filtered("concept", "is-a", "nothing"), &[]);
        check(filtered("code", "in", "a, e"), &["a", "e"]);
        check(filtered("code", "not-in", "a,e"), &["b", "c", "d"]);
        check(filtered("kind", "=", "x"), &["d"]);
        check(filtered("kind", "exists", "true"), &["d"]);
        check(filtered("kind", "exists", "false"), &["a", "b", "c", "e"]);
        check(filtered("display", "regex", ".*a"), &["a", "c"]);
        check(filtered("parent", "=", "a"), &["b"]);
        check(filtered("inactive", "=", "true"), &["e"]);
    }

    #[test]
    fn includes_add_up_value_sets_intersect_and_excludes_go() {
        let own = json!({ "system": "http://s", "concept": [{ "code": "b" }, { "code": "c" }] });
        check(json!({ "include": [own, { "valueSet": ["http://ab"] }] }), &["b", "c", "a"]);
        let both = json!({ "system": "http://s", "valueSet": ["http://ab"],
            "filter": [{ "property": "concept", "op": "is-a", "value": "b" }] });
        check(json!({ "include": [both] }), &["b"]);
        check(
            json!({ "include": [{ "system": "http://s" }], "exclude": [{ "valueSet": ["http://ab"] }] }),
            &["c", "d", "e"],
        );
    }

    #[test]
    fn what_is_not_at_hand_is_said_to_be_so() {
        for rules in [
            json!({ "include": [{ "system": "http://snomed.info/sct" }] }),
            json!({ "include": [{ "valueSet": ["http://nowhere"] }] }),
            json!({ "include": [{ "valueSet": ["http://v"] }] }),
            filtered("concept", "regex", "(((a{1000}){1000}){1000})"),
            filtered("kind", "surprises", "x"),
        ] {
            let library = library(rules.clone());
            let terms = Terminology(&[&library]);
            let set = terms.value_set("http://v").expect("added");
            assert!(terms.expand(set).is_err(), "{rules}");
            let system = rules["include"][0]["system"].as_str();
            assert_eq!(terms.contains("http://v", system, "a"), None, "{rules}");
        }
        let library = library(json!({}));
        let terms = Terminology(&[&library]);
        assert_eq!(terms.subsumes("http://s", "a", "d"), Some(true));
        assert_eq!(terms.subsumes("http://s", "d", "a"), Some(false));
        assert_eq!(terms.subsumes("http://s", "a", "z"), None);
    }
}
