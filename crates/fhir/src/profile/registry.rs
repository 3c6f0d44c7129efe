//! The profiles, extensions and terms that validation knows: those of the core
//! package and those that were loaded.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};

use serde_json::Value;

use super::compile::{compile, is_base_type};
use super::model::Profile;
use super::terms::{Lookup, Terms};

/// Profiles that derive from profiles, at most so deep: a circle ends here.
const DEPTH_MAX: usize = 32;

/// Definitions by canonical URL, over those of the core package.
#[derive(Debug, Default)]
pub struct Registry {
    structures: HashMap<String, Value>,
    /// In the order in which they came.
    urls: Vec<String>,
    questionnaires: HashMap<String, Value>,
    terms: Terms,
    compiled: RwLock<HashMap<String, Option<Arc<Profile>>>>,
}

impl Registry {
    /// One without anything but the core package.
    pub fn core() -> &'static Self {
        static CORE: OnceLock<Registry> = OnceLock::new();
        CORE.get_or_init(Self::default)
    }

    /// Adds a StructureDefinition that constrains an R4 type, a ValueSet, a CodeSystem
    /// or a Questionnaire; whether it was one of them.
    pub fn add(&mut self, resource: Value) -> bool {
        let Some(url) = resource["url"].as_str().map(str::to_owned) else { return false };
        match resource["resourceType"].as_str() {
            Some("StructureDefinition") if resource["derivation"] == "constraint" => {
                if let Some(version) = resource["version"].as_str() {
                    self.structures.insert(format!("{url}|{version}"), resource.clone());
                }
                if self.structures.insert(url.clone(), resource).is_none() {
                    self.urls.push(url);
                }
                self.compiled = RwLock::default();
                true
            }
            Some("Questionnaire") => {
                self.questionnaires.insert(url, resource);
                true
            }
            _ => self.terms.add(&resource),
        }
    }

    /// The canonical URLs of the profiles and extensions that were added, in order.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The profile with this canonical URL, compiled at the first call.
    pub fn profile(&self, url: &str) -> Option<Arc<Profile>> {
        self.profile_at(url, 0)
    }

    fn profile_at(&self, url: &str, depth: usize) -> Option<Arc<Profile>> {
        if depth > DEPTH_MAX {
            return None;
        }
        let known = self.compiled.read().ok()?.get(url).cloned();
        if let Some(known) = known {
            return known;
        }
        let bare = url.split('|').next().unwrap_or(url);
        let own = self.structures.get(url).or_else(|| self.structures.get(bare));
        let compiled = match own {
            Some(structure) => self.compile(structure, depth),
            None => core_structure(bare).and_then(|structure| self.compile(&structure, depth)),
        };
        let compiled = compiled.map(Arc::new);
        self.compiled.write().ok()?.insert(url.to_owned(), compiled.clone());
        compiled
    }

    fn compile(&self, structure: &Value, depth: usize) -> Option<Profile> {
        let base = structure["baseDefinition"].as_str().filter(|base| !is_base_type(base));
        let base = base.and_then(|base| self.profile_at(base, depth + 1));
        compile(structure, base.as_deref())
    }

    /// The questionnaire with this canonical URL.
    pub fn questionnaire(&self, url: &str) -> Option<&Value> {
        self.questionnaires.get(url.split('|').next().unwrap_or(url))
    }

    /// Asks something of its terms and those of the core package.
    pub fn with_terms<T>(&self, ask: impl FnOnce(Lookup<'_>) -> T) -> T {
        ask(Lookup(&[&self.terms, Terms::core()]))
    }
}

/// A StructureDefinition of the core package, read when it is asked for.
fn core_structure(url: &str) -> Option<Value> {
    static LINES: OnceLock<HashMap<&str, &str>> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let table = crate::definitions::unpack(include_bytes!("../../data/profiles.jsonl.gz"));
        let url = |line: &'static str| {
            let start = line.find("\"url\":\"")? + 7;
            line.get(start..)?.split('"').next()
        };
        table.lines().filter_map(|line| Some((url(line)?, line))).collect()
    });
    serde_json::from_str(lines.get(url)?).ok()
}
