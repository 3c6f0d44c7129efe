//! Whether a code is in a value set: answered from the rules of the set over the
//! code systems at hand, without writing the set out.
//!
//! Code systems that nobody has in full (SNOMED CT, LOINC, UCUM, …) and filters
//! that are not known give [`Membership::Unknown`], never a wrong no.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

/// Value sets in value sets, at most so deep: a circle ends here.
const DEPTH_MAX: usize = 16;

/// Whether a code is in a value set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It is.
    In,
    /// It is not.
    Out,
    /// The set or the code system is not at hand.
    Unknown,
}

impl Membership {
    fn of(is_in: bool) -> Self {
        if is_in { Self::In } else { Self::Out }
    }

    /// In when one of them is in, otherwise unknown when one is.
    pub(crate) fn any(all: impl Iterator<Item = Self>) -> Self {
        let mut best = Self::Out;
        for one in all {
            match one {
                Self::In => return Self::In,
                Self::Unknown => best = Self::Unknown,
                Self::Out => {}
            }
        }
        best
    }

    fn all(all: impl Iterator<Item = Self>) -> Self {
        let mut worst = Self::In;
        for one in all {
            match one {
                Self::Out => return Self::Out,
                Self::Unknown => worst = Self::Unknown,
                Self::In => {}
            }
        }
        worst
    }
}

/// The codes of a code system, each with the place of its parent.
#[derive(Debug, Default)]
struct System {
    places: HashMap<String, usize>,
    parents: Vec<Option<usize>>,
    /// Whether what is not here is no code of the system.
    is_complete: bool,
    properties: HashMap<String, Vec<(String, String)>>,
}

impl System {
    fn add(&mut self, code: &str, parent: Option<usize>) -> usize {
        let place = self.parents.len();
        self.parents.push(parent);
        self.places.entry(code.to_owned()).or_insert(place);
        place
    }

    fn is_below(&self, code: &str, ancestor: &str, itself: bool) -> bool {
        let (Some(place), Some(top)) = (self.places.get(code), self.places.get(ancestor)) else {
            return false;
        };
        let mut at = if itself { Some(*place) } else { self.parents[*place] };
        while let Some(place) = at {
            if place == *top {
                return true;
            }
            at = self.parents[place];
        }
        false
    }
}

/// Code systems and value sets by canonical URL.
#[derive(Debug, Default)]
pub struct Terms {
    systems: HashMap<String, System>,
    sets: HashMap<String, Value>,
}

impl Terms {
    /// Those of the core package of R4.
    pub fn core() -> &'static Self {
        static CORE: OnceLock<Terms> = OnceLock::new();
        CORE.get_or_init(|| {
            Self::read(crate::definitions::unpack(include_bytes!("../../data/terms.tsv.gz")))
        })
    }

    fn read(table: &str) -> Self {
        let mut terms = Self::default();
        let mut current: Option<(String, System)> = None;
        let mut above: Vec<usize> = Vec::new();
        for line in table.lines() {
            if let Some(head) = line.strip_prefix("C\t") {
                let next = System { is_complete: true, ..System::default() };
                if let Some((url, system)) = current.replace((head.to_owned(), next)) {
                    terms.systems.insert(url, system);
                }
                above.clear();
            } else if let Some((url, rules)) =
                line.strip_prefix("V\t").and_then(|rest| rest.split_once('\t'))
            {
                if let Ok(rules) = serde_json::from_str(rules) {
                    terms.sets.insert(url.to_owned(), rules);
                }
            } else if let Some((_, system)) = &mut current {
                let code = line.trim_start_matches(' ');
                above.truncate(line.len() - code.len());
                let place = system.add(code, above.last().copied());
                above.push(place);
            }
        }
        terms.systems.extend(current);
        terms
    }

    /// Adds a CodeSystem or ValueSet; whether it was one.
    pub fn add(&mut self, resource: &Value) -> bool {
        let Some(url) = resource["url"].as_str() else { return false };
        match resource["resourceType"].as_str() {
            Some("CodeSystem") => {
                let mut system =
                    System { is_complete: resource["content"] == "complete", ..System::default() };
                add_concepts(resource, None, 0, &mut system);
                self.systems.insert(url.to_owned(), system);
                true
            }
            Some("ValueSet") => {
                let mut rules = serde_json::Map::new();
                for name in ["include", "exclude"] {
                    if resource["compose"][name].is_array() {
                        rules.insert(name.into(), resource["compose"][name].clone());
                    }
                }
                let contains = &resource["expansion"]["contains"];
                if rules.is_empty() && contains.is_array() {
                    rules.insert("contains".into(), contains.clone());
                }
                self.sets.insert(url.to_owned(), Value::Object(rules));
                true
            }
            _ => false,
        }
    }
}

fn add_concepts(concept: &Value, parent: Option<usize>, depth: usize, system: &mut System) {
    let inner = concept["concept"].as_array().into_iter().flatten();
    for inner in inner.filter(|_| depth < 100) {
        let code = inner["code"].as_str().unwrap_or_default();
        let place = system.add(code, parent);
        let mut properties = Vec::new();
        for property in inner["property"].as_array().into_iter().flatten() {
            let value = property.as_object().into_iter().flatten();
            let value = value.filter(|(name, _)| name.starts_with("value"));
            let text = value.map(|(_, value)| plain(value)).next().unwrap_or_default();
            properties.push((property["code"].as_str().unwrap_or_default().to_owned(), text));
        }
        if !properties.is_empty() {
            system.properties.insert(code.to_owned(), properties);
        }
        add_concepts(inner, Some(place), depth + 1, system);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields.get("code").map(plain).unwrap_or_default(),
        other => other.to_string(),
    }
}

/// Several [`Terms`] seen as one: the first that has a system or set tells.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a>(pub &'a [&'a Terms]);

impl Lookup<'_> {
    fn set(&self, url: &str) -> Option<&Value> {
        let bare = url.split('|').next().unwrap_or(url);
        self.0.iter().find_map(|terms| terms.sets.get(bare))
    }

    fn system(&self, url: &str) -> Option<&System> {
        let bare = url.split('|').next().unwrap_or(url);
        self.0.iter().find_map(|terms| terms.systems.get(bare))
    }

    /// Whether `code` is a code of `system`.
    pub fn in_system(&self, system: &str, code: &str) -> Membership {
        match self.system(system) {
            Some(known) if known.places.contains_key(code) => Membership::In,
            Some(known) if known.is_complete => Membership::Out,
            Some(_) => Membership::Unknown,
            None => by_form(system, code),
        }
    }

    /// Whether the value set is at hand.
    pub fn has_set(&self, url: &str) -> bool {
        self.set(url).is_some()
    }

    /// Whether `code` is in the value set `url`; without a system, in whatever system.
    pub fn member(&self, url: &str, system: Option<&str>, code: &str) -> Membership {
        self.member_at(url, system, code, 0)
    }

    fn member_at(&self, url: &str, system: Option<&str>, code: &str, depth: usize) -> Membership {
        let Some(rules) = self.set(url).filter(|_| depth < DEPTH_MAX) else {
            return Membership::Unknown;
        };
        if rules["contains"].is_array() {
            return Membership::of(listed(&rules["contains"], system, code, 0));
        }
        let parts = |name: &str| {
            let list = rules[name].as_array().map(Vec::as_slice).unwrap_or_default();
            Membership::any(list.iter().map(|part| self.part(part, system, code, depth)))
        };
        match parts("include") {
            Membership::Out => Membership::Out,
            included => match parts("exclude") {
                Membership::In => Membership::Out,
                Membership::Unknown => Membership::Unknown,
                Membership::Out => included,
            },
        }
    }

    /// Whether `code` is in one include or exclude.
    fn part(&self, part: &Value, system: Option<&str>, code: &str, depth: usize) -> Membership {
        let mut answers = Vec::new();
        for set in part["valueSet"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            answers.push(self.member_at(set, system, code, depth + 1));
        }
        if let Some(own) = part["system"].as_str() {
            if system.is_some_and(|system| system != own.split('|').next().unwrap_or(own)) {
                return Membership::Out;
            }
            if let Some(concepts) = part["concept"].as_array() {
                let hit = concepts.iter().any(|concept| concept["code"] == *code);
                answers.push(Membership::of(hit));
            } else if let Some(filters) = part["filter"].as_array() {
                answers.push(self.in_system(own, code));
                answers.extend(filters.iter().map(|filter| self.filter(own, filter, code)));
            } else {
                answers.push(self.in_system(own, code));
            }
        }
        if answers.is_empty() { Membership::Out } else { Membership::all(answers.into_iter()) }
    }

    fn filter(&self, system: &str, filter: &Value, code: &str) -> Membership {
        let Some(known) = self.system(system) else { return Membership::Unknown };
        let text = |name: &str| filter[name].as_str().unwrap_or_default();
        let (property, value) = (text("property"), text("value"));
        let is_concept = matches!(property, "concept" | "code");
        match text("op") {
            "is-a" if is_concept => Membership::of(known.is_below(code, value, true)),
            "descendent-of" if is_concept => Membership::of(known.is_below(code, value, false)),
            "is-not-a" if is_concept => Membership::of(!known.is_below(code, value, true)),
            "=" if is_concept => Membership::of(code == value),
            "in" if is_concept => {
                Membership::of(value.split(',').any(|listed| listed.trim() == code))
            }
            "=" if !known.properties.is_empty() => {
                let properties = known.properties.get(code).into_iter().flatten();
                let mut given = properties.filter(|(name, _)| name == property);
                Membership::of(given.any(|(_, given)| given == value))
            }
            _ => Membership::Unknown,
        }
    }
}

fn listed(contains: &Value, system: Option<&str>, code: &str, depth: usize) -> bool {
    contains.as_array().into_iter().flatten().any(|entry| {
        let is_it =
            entry["code"] == *code && system.is_none_or(|system| entry["system"] == *system);
        is_it || (depth < DEPTH_MAX && listed(&entry["contains"], system, code, depth + 1))
    })
}

/// Code systems that are grammars: what has the form of a code may be one.
fn by_form(system: &str, code: &str) -> Membership {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
    match system {
        "urn:ietf:bcp:13" => {
            let bare = code.split(';').next().unwrap_or_default();
            let whole = bare.split_once('/').is_some_and(|(kind, sub)| {
                !kind.is_empty() && !sub.is_empty() && kind.chars().chain(sub.chars()).all(plain)
            });
            Membership::of(whole)
        }
        "urn:ietf:bcp:47" => {
            let fits = |part: &str| {
                (1..=8).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric())
            };
            let first = code.split('-').next().unwrap_or_default();
            let letters = first.chars().all(|c| c.is_ascii_alphabetic());
            Membership::of(letters && code.split('-').all(fits))
        }
        "urn:iso:std:iso:3166" | "urn:iso:std:iso:4217" => {
            let fits = (2..=3).contains(&code.len());
            Membership::of(fits && code.chars().all(|c| c.is_ascii_alphanumeric()))
        }
        _ => Membership::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";

    #[test]
    fn hierarchies_and_imports_of_the_core_package_are_followed() {
        let lookup = Lookup(&[Terms::core()]);
        let check = |set: &str, system: &str, code: &str, expected| {
            let set = format!("http://{set}|4.0.1");
            assert_eq!(lookup.member(&set, Some(system), code), expected, "{set} {code}");
        };
        let family = "terminology.hl7.org/ValueSet/v3-FamilyMember";
        check(family, ROLE, "MTH", Membership::In);
        check(family, ROLE, "HOSP", Membership::Out);
        let gender = "hl7.org/fhir/ValueSet/administrative-gender";
        check(gender, "http://hl7.org/fhir/administrative-gender", "male", Membership::In);
        check(gender, "http://hl7.org/fhir/administrative-gender", "m", Membership::Out);
        check(
            "hl7.org/fhir/ValueSet/condition-code",
            "http://snomed.info/sct",
            "1",
            Membership::Unknown,
        );
        check("hl7.org/fhir/ValueSet/mimetypes", "urn:ietf:bcp:13", "text/plain", Membership::In);
        check("hl7.org/fhir/ValueSet/mimetypes", "urn:ietf:bcp:13", "text", Membership::Out);
        check("nowhere.example/set", "x", "y", Membership::Unknown);
    }

    #[test]
    fn filters_exclusions_and_expansions_are_read() {
        let mut own = Terms::default();
        assert!(own.add(
            &json!({"resourceType": "CodeSystem", "url": "http://s", "content": "complete",
            "concept": [{"code": "a", "concept": [{"code": "b", "concept": [{"code": "c"}]}]},
                        {"code": "d", "property": [{"code": "kind", "valueCode": "x"}]}]})
        ));
        let compose = |include, exclude| json!({"include": [include], "exclude": exclude});
        let filter = |property: &str, op: &str, value: &str| json!({"system": "http://s", "filter": [{"property": property, "op": op, "value": value}]});
        let mut check = |rules: Value, inside: &[&str]| {
            own.add(&json!({"resourceType": "ValueSet", "url": "http://v", "compose": rules}));
            let lookup = Lookup(&[&own]);
            for code in ["a", "b", "c", "d"] {
                let expected = Membership::of(inside.contains(&code));
                assert_eq!(lookup.member("http://v", Some("http://s"), code), expected, "{code}");
            }
        };
        check(compose(filter("concept", "is-a", "b"), json!([])), &["b", "c"]);
        check(compose(filter("concept", "descendent-of", "a"), json!([])), &["b", "c"]);
        check(compose(filter("concept", "is-not-a", "b"), json!([])), &["a", "d"]);
        check(compose(filter("kind", "=", "x"), json!([])), &["d"]);
        let without = json!([{"system": "http://s", "concept": [{"code": "a"}]}]);
        check(compose(json!({"system": "http://s"}), without), &["b", "c", "d"]);
        own.add(&json!({"resourceType": "ValueSet", "url": "http://e", "expansion": {"contains": [
            {"system": "http://s", "code": "a", "contains": [{"system": "http://s", "code": "z"}]}]}}));
        let lookup = Lookup(&[&own]);
        assert_eq!(lookup.member("http://e", Some("http://s"), "z"), Membership::In);
        assert_eq!(lookup.member("http://e", None, "q"), Membership::Out);
    }

    #[test]
    fn a_circle_of_value_sets_ends() {
        let mut own = Terms::default();
        for (url, other) in [("http://a", "http://b"), ("http://b", "http://a")] {
            own.add(&json!({"resourceType": "ValueSet", "url": url,
                "compose": {"include": [{"valueSet": [other]}]}}));
        }
        assert_eq!(Lookup(&[&own]).member("http://a", None, "x"), Membership::Unknown);
    }
}
