//! The resources at hand (FHIR R4 codesystem.html, valueset.html).

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

/// Concepts within concepts, at most so deep.
const DEPTH_MAX: usize = 64;

/// A code of a code system.
#[derive(Debug, Clone, Default)]
pub struct Concept {
    /// The code.
    pub code: String,
    /// What people read.
    pub display: Option<String>,
    /// Its meaning, when the code system was posted with it.
    pub definition: Option<String>,
    /// `CodeSystem.concept.designation`.
    pub designations: Vec<Value>,
    /// `CodeSystem.concept.property`.
    pub properties: Vec<Value>,
    /// Places of what it is a kind of.
    pub parents: Vec<usize>,
}

impl Concept {
    /// Values of a property as text; codings by their code.
    pub fn property<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let named = self.properties.iter().filter(move |property| property["code"] == name);
        named.filter_map(|property| {
            let mut fields = property.as_object()?.iter();
            let (_, value) = fields.find(|(name, _)| name.starts_with("value"))?;
            Some(match value {
                Value::String(text) => text.clone(),
                Value::Object(_) => value["code"].as_str().unwrap_or_default().to_owned(),
                other => other.to_string(),
            })
        })
    }

    /// Whether it is no longer used (codesystem-concept-properties.html).
    pub fn is_inactive(&self) -> bool {
        self.property("inactive").any(|value| value == "true")
            || self.property("status").any(|value| value == "retired" || value == "deprecated")
    }

    /// Whether it only groups others.
    pub fn is_abstract(&self) -> bool {
        self.property("notSelectable").any(|value| value == "true")
    }
}

/// A code system.
#[derive(Debug, Default)]
pub struct CodeSystem {
    /// Canonical URL.
    pub url: String,
    /// Business version.
    pub version: Option<String>,
    /// Name for machines.
    pub name: String,
    /// Whether what is not here is no code of the system.
    pub is_complete: bool,
    /// Whether the case of codes counts.
    pub is_case_sensitive: bool,
    /// Its concepts, each after its parent.
    pub concepts: Vec<Concept>,
    places: HashMap<String, usize>,
}

impl CodeSystem {
    /// Reads a CodeSystem resource; `None` without a URL.
    pub fn read(resource: &Value) -> Option<Self> {
        let text = |name: &str| resource[name].as_str().map(str::to_owned);
        let mut system = Self {
            url: text("url")?,
            version: text("version"),
            name: text("name").unwrap_or_default(),
            is_complete: resource["content"] == "complete",
            is_case_sensitive: resource["caseSensitive"] == true,
            ..Self::default()
        };
        system.add(&resource["concept"], None, 0);
        system.add_subsumed();
        Some(system)
    }

    fn add(&mut self, list: &Value, parent: Option<usize>, depth: usize) {
        for told in list.as_array().into_iter().flatten().filter(|_| depth < DEPTH_MAX) {
            let Some(code) = told["code"].as_str() else { continue };
            let text = |name: &str| told[name].as_str().map(str::to_owned);
            let items = |name: &str| told[name].as_array().cloned().unwrap_or_default();
            let place = self.concepts.len();
            self.concepts.push(Concept {
                code: code.to_owned(),
                display: text("display"),
                definition: text("definition"),
                designations: items("designation"),
                properties: items("property"),
                parents: parent.into_iter().collect(),
            });
            self.places.entry(self.folded(code)).or_insert(place);
            self.add(&told["concept"], Some(place), depth + 1);
        }
    }

    /// Further parents, told as properties.
    fn add_subsumed(&mut self) {
        let mut further = Vec::new();
        for (place, concept) in self.concepts.iter().enumerate() {
            for name in ["subsumedBy", "parent"] {
                let above = concept.property(name).filter_map(|code| self.place(&code));
                further.extend(above.map(|parent| (place, parent)));
            }
        }
        for (place, parent) in further {
            if place != parent && !self.concepts[place].parents.contains(&parent) {
                self.concepts[place].parents.push(parent);
            }
        }
    }

    fn folded(&self, code: &str) -> String {
        if self.is_case_sensitive { code.to_owned() } else { code.to_lowercase() }
    }

    /// Where a code is.
    pub fn place(&self, code: &str) -> Option<usize> {
        self.places.get(&self.folded(code)).copied()
    }

    /// The concept of a code.
    pub fn concept(&self, code: &str) -> Option<&Concept> {
        self.concepts.get(self.place(code)?)
    }

    /// Whether the concept at `place` is the one at `ancestor` or lies below it.
    pub fn is_below(&self, place: usize, ancestor: usize) -> bool {
        let mut waiting = vec![place];
        let mut seen = vec![false; self.concepts.len()];
        while let Some(at) = waiting.pop() {
            if at == ancestor {
                return true;
            }
            if !std::mem::replace(&mut seen[at], true) {
                waiting.extend(&self.concepts[at].parents);
            }
        }
        false
    }

    /// The concepts right below a place.
    pub fn children(&self, place: usize) -> impl Iterator<Item = &Concept> {
        self.concepts.iter().filter(move |concept| concept.parents.contains(&place))
    }
}

/// Code systems, value sets and concept maps by canonical URL.
#[derive(Debug, Default)]
pub struct Library {
    systems: HashMap<String, CodeSystem>,
    sets: HashMap<String, Value>,
    maps: Vec<Value>,
}

impl Library {
    /// Adds a CodeSystem or ValueSet that has a URL, or a ConceptMap; whether it was one.
    pub fn add(&mut self, resource: &Value) -> bool {
        if resource["resourceType"] == "ConceptMap" {
            self.maps.push(resource.clone());
            return true;
        }
        let Some(url) = resource["url"].as_str() else { return false };
        match resource["resourceType"].as_str() {
            Some("CodeSystem") => {
                let system = CodeSystem::read(resource);
                self.systems.extend(system.map(|system| (url.to_owned(), system)));
            }
            Some("ValueSet") => drop(self.sets.insert(url.to_owned(), resource.clone())),
            _ => return false,
        }
        true
    }

    /// The code system of this URL.
    pub fn system(&self, url: &str) -> Option<&CodeSystem> {
        self.systems.get(url)
    }

    /// The value set of this URL.
    pub fn value_set(&self, url: &str) -> Option<&Value> {
        self.sets.get(url)
    }

    /// Every concept map.
    pub fn maps(&self) -> &[Value] {
        &self.maps
    }
}

/// The code systems and value sets of the core package of R4, whose tables are made by
/// `cargo xtask fhir-defs`. Those of others (SNOMED CT, LOINC, …) are not in it.
pub fn core() -> &'static Library {
    static CORE: OnceLock<Library> = OnceLock::new();
    CORE.get_or_init(|| {
        let table = crate::definitions::unpack(include_bytes!("../../data/terminology.jsonl.gz"));
        let mut library = Library::default();
        for line in table.lines() {
            if let Ok(resource) = serde_json::from_str(line) {
                library.add(&resource);
            }
        }
        library
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_package_has_displays_and_hierarchies() {
        let gender = core().system("http://hl7.org/fhir/administrative-gender");
        let male = gender.and_then(|system| system.concept("male"));
        assert_eq!(male.and_then(|concept| concept.display.as_deref()), Some("Male"));
        let role = core().system("http://terminology.hl7.org/CodeSystem/v3-RoleCode");
        let role = role.expect("it is in the package");
        let (mother, family) = (role.place("MTH"), role.place("FAMMEMB"));
        assert!(role.is_below(mother.expect("a code"), family.expect("a code")));
        assert!(core().value_set("http://hl7.org/fhir/ValueSet/administrative-gender").is_some());
    }
}
