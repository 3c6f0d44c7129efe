//! A document against the rules of a profile.
//!
//! Only what the profile adds is looked at; the base definitions are checked by
//! [`crate::validate`]. What a slice says is checked for the items that belong to it
//! (`slices`). Work is bounded: circles of references and profiles end, and a
//! document that would take too long gets an issue that says so.

use std::sync::Arc;

use serde_json::Value;

use super::asked::Asked;
use super::model::{Binding, Profile, Rule, Strength, TypeRule};
use super::registry::Registry;
use super::terms::Membership;
use super::walk::Place;
use super::{Strictness, compare, compile::is_base_type};
use crate::definitions;
use crate::invariant::Invariant;
use crate::outcome::{Issue, Severity};
use crate::reference::reference_type;

/// Rules applied to places of one document: a bundle of a thousand resources under
/// several profiles takes about a million.
const WORK_MAX: usize = 20_000_000;
/// Profiles within profiles, by types and references.
const DEPTH_MAX: usize = 24;
/// More problems than anybody reads.
const ISSUES_MAX: usize = 500;

/// One run over one document.
pub(crate) struct Check<'a> {
    pub registry: &'a Registry,
    /// The document: a resource or a Bundle of them.
    pub root: &'a Value,
    pub strictness: Strictness,
    /// The resource at hand, and the ones around it.
    pub resources: Vec<(&'a Value, String)>,
    pub issues: Vec<Issue>,
    /// What is being checked against what: a circle counts as met.
    active: Vec<(*const Value, String)>,
    /// How many runs whose issues nobody sees are under way.
    pub silent: usize,
    work: usize,
}

impl<'a> Check<'a> {
    pub fn new(registry: &'a Registry, root: &'a Value, strictness: Strictness) -> Self {
        let (issues, active) = (Vec::new(), Vec::new());
        let resources = vec![(root, root["resourceType"].as_str().unwrap_or_default().to_owned())];
        Self { registry, root, strictness, resources, issues, active, silent: 0, work: 0 }
    }

    pub fn add(&mut self, issue: Issue) {
        if self.issues.len() < ISSUES_MAX && !self.issues.contains(&issue) {
            self.issues.push(issue);
        }
    }

    pub fn fail(&mut self, code: &'static str, path: &str, text: impl Into<String>) {
        self.add(Issue::error(code, path, text));
    }

    /// Whether `place` meets `profile`; its issues are not told.
    pub fn conforms(&mut self, place: &Place<'a>, profile: &Arc<Profile>) -> bool {
        let before = std::mem::take(&mut self.issues);
        self.silent += 1;
        self.profile(place, profile);
        self.silent -= 1;
        let found = std::mem::replace(&mut self.issues, before);
        !found.iter().any(Issue::is_error)
    }

    /// `place` against everything that `profile` says.
    pub fn profile(&mut self, place: &Place<'a>, profile: &Arc<Profile>) {
        let mark = (std::ptr::from_ref(place.value), profile.url.clone());
        if self.active.contains(&mark) || self.active.len() > DEPTH_MAX {
            return;
        }
        if !definitions().is_a(place.type_code, &profile.type_name) {
            let text = format!("must be a {} by {}", profile.type_name, profile.url);
            return self.fail("structure", &place.path, text);
        }
        self.active.push(mark);
        let is_inner = place.is_resource()
            && self.resources.last().is_none_or(|(at, _)| !std::ptr::eq(*at, place.value));
        if is_inner {
            self.resources.push((place.value, place.path.clone()));
        }
        self.content(&profile.root, place, profile);
        if is_inner {
            self.resources.pop();
        }
        self.active.pop();
    }

    /// What a rule says of one item.
    pub fn content(&mut self, rule: &Rule, place: &Place<'a>, profile: &Arc<Profile>) {
        self.work += 1;
        if self.work > WORK_MAX {
            if self.work == WORK_MAX + 1 {
                self.fail("too-costly", &self.root_path(), "the profiles take too long to check");
            }
            return;
        }
        let by = &profile.url;
        if place.value.is_null() && place.node.is_none() {
            let alternatives = &rule.value_alternatives;
            let has = |url: &String| {
                place.children("extension").iter().any(|extension| extension.value["url"] == **url)
            };
            if rule.must_have_value || (!alternatives.is_empty() && !alternatives.iter().any(has)) {
                self.fail("required", &place.path, format!("a value is needed by {by}"));
            }
        }
        if let Some(fixed) = &rule.fixed
            && !(place.value.is_null() && place.sibling.is_some())
            && !compare::is_equal(fixed, place.value)
        {
            self.fail("value", &place.path, format!("is not the value that {by} fixes"));
        }
        if let Some(pattern) = &rule.pattern
            && !compare::matches(pattern, place.value)
        {
            self.fail("value", &place.path, format!("does not match the pattern in {by}"));
        }
        let too_long = |most: &u64| {
            place.value.as_str().is_some_and(|text| text.chars().count() as u64 > *most)
        };
        if let Some(most) = rule.length_max.filter(too_long) {
            self.fail("too-long", &place.path, format!("longer than {most} characters ({by})"));
        }
        let below =
            |least| compare::order(place.value, least).is_some_and(std::cmp::Ordering::is_lt);
        if rule.min_value.as_ref().is_some_and(below) {
            self.fail("value", &place.path, format!("below the least value in {by}"));
        }
        let above = |most| compare::order(place.value, most).is_some_and(std::cmp::Ordering::is_gt);
        if rule.max_value.as_ref().is_some_and(above) {
            self.fail("value", &place.path, format!("above the greatest value in {by}"));
        }
        self.types(rule, place, profile);
        for binding in rule.binding.iter().chain(&rule.more_bindings) {
            self.binding(binding, place, by);
        }
        for invariant in &rule.invariants {
            self.invariant(invariant, place, by);
        }
        for child in &rule.children {
            let items = place.children(&child.name);
            self.element(child, &items, place, profile);
        }
    }

    fn root_path(&self) -> String {
        self.resources.first().map(|(_, path)| path.clone()).unwrap_or_default()
    }

    /// What a rule says of all items of an element.
    fn element(
        &mut self,
        rule: &Rule,
        items: &[Place<'a>],
        parent: &Place<'a>,
        profile: &Arc<Profile>,
    ) {
        let at = format!("{}.{}", parent.path, rule.name);
        self.count(rule, items.len(), &at, profile);
        for item in items {
            self.content(rule, item, profile);
        }
        self.slices(rule, items, &at, profile);
    }

    pub fn count(&mut self, rule: &Rule, count: usize, at: &str, profile: &Arc<Profile>) {
        let what = match rule.slice.as_str() {
            "" => String::new(),
            slice => format!(" of the slice {slice}"),
        };
        let by = &profile.url;
        if let Some(min) = rule.min.filter(|min| count < *min as usize) {
            self.fail("required", at, format!("at least {min}{what} needed by {by}"));
        }
        match rule.max {
            Some(Some(0)) if count > 0 => {
                self.fail("structure", at, format!("nothing{what} is allowed here by {by}"));
            }
            Some(Some(max)) if count > max as usize => {
                self.fail("structure", at, format!("at most {max}{what} allowed by {by}"));
            }
            _ => {}
        }
    }

    fn invariant(&mut self, invariant: &Invariant, place: &Place<'a>, by: &str) {
        let resource = self.resources.last().map_or(self.root, |(resource, _)| resource);
        let hooks = Asked { registry: self.registry, root: self.root };
        let holds = invariant.holds(place.node(), resource, self.root, Some(&hooks));
        if holds == Some(false) {
            let text = format!("{}: {} ({by})", invariant.key, invariant.human);
            let issue = Issue::error("invariant", place.path.clone(), text);
            let severity = if invariant.is_error { Severity::Error } else { Severity::Warning };
            self.add(issue.with_severity(severity));
        }
    }

    fn types(&mut self, rule: &Rule, place: &Place<'a>, profile: &Arc<Profile>) {
        if rule.types.is_empty() || rule.types.iter().any(|kind| kind.code.is_empty()) {
            return;
        }
        let fitting: Vec<&TypeRule> =
            rule.types.iter().filter(|kind| fits_type(place.type_code, &kind.code)).collect();
        if fitting.is_empty() {
            let text = format!("a {} is not allowed here by {}", place.type_code, profile.url);
            return self.fail("structure", &place.path, text);
        }
        // Extensions are checked against their own definitions wherever they are.
        let is_extension = place.type_code == "Extension" && self.silent == 0;
        let mut profiles = Vec::new();
        let named = fitting.iter().flat_map(|kind| &kind.profiles).filter(|url| is_base_type(url));
        let mut named = named.peekable();
        if named.peek().is_some() && !named.any(|url| is_of_type(place.type_code, url)) {
            let text = format!("a {} is not allowed here by {}", place.type_code, profile.url);
            return self.fail("structure", &place.path, text);
        }
        for kind in fitting.iter().filter(|_| !is_extension) {
            for url in kind.profiles.iter().filter(|url| !is_base_type(url)) {
                match self.registry.profile(url) {
                    Some(known) => profiles.push(known),
                    None => return self.unknown_profile(url, place),
                }
            }
        }
        match profiles.as_slice() {
            [] => {}
            [only] => self.profile(place, only),
            several => {
                if !several.iter().any(|one| self.conforms(place, one)) {
                    let text = format!("meets none of the profiles that {} allows", profile.url);
                    self.fail("structure", &place.path, text);
                }
            }
        }
        if place.type_code == "Reference" {
            self.reference(&fitting, place, profile);
        }
    }

    fn unknown_profile(&mut self, url: &str, place: &Place<'a>) {
        let text = format!("the profile {url} is not at hand; it was not checked");
        let issue = Issue::error("not-found", place.path.clone(), text);
        let severity = match self.strictness {
            Strictness::Reference => Severity::Error,
            Strictness::Usual => Severity::Warning,
        };
        self.add(issue.with_severity(severity));
    }

    fn reference(&mut self, kinds: &[&TypeRule], place: &Place<'a>, profile: &Arc<Profile>) {
        let targets: Vec<&String> = kinds.iter().flat_map(|kind| &kind.targets).collect();
        let Some(reference) = place.value["reference"].as_str() else { return };
        let found = self.resolve(reference);
        let modes: Vec<&String> = kinds.iter().flat_map(|kind| &kind.aggregation).collect();
        if !modes.is_empty() {
            let mode = match () {
                () if reference.starts_with('#') => "contained",
                () if found.is_some() => "bundled",
                () => "referenced",
            };
            let fits = modes
                .iter()
                .any(|allowed| *allowed == mode || (*allowed == "referenced" && mode == "bundled"));
            if !fits {
                let text = format!("a {mode} resource is not allowed here by {}", profile.url);
                self.fail("structure", &place.path, text);
            }
        }
        if targets.is_empty() {
            return;
        }
        let said = found.as_ref().map(|found| found.type_code).or_else(|| type_named(reference));
        let Some(said) = said else { return };
        let mut known = Vec::new();
        let (mut fits, mut is_open) = (false, false);
        for url in &targets {
            if is_base_type(url) {
                let meets = is_of_type(said, url);
                fits |= meets;
                is_open |= meets;
            } else if let Some(target) = self.registry.profile(url) {
                if definitions().is_a(said, &target.type_name) {
                    fits = true;
                    known.push(target);
                }
            } else {
                fits = true;
                is_open = true;
            }
        }
        if !fits {
            let text = format!("may not refer to a {said} by {}", profile.url);
            return self.fail("structure", &place.path, text);
        }
        let Some(found) = found.filter(|_| !is_open) else { return };
        if !known.iter().any(|target| self.conforms(&found, target)) {
            let text =
                format!("what it refers to meets none of the profiles that {} allows", profile.url);
            self.fail("structure", &place.path, text);
        }
    }

    /// The contained resource or the entry of the bundle that a reference names.
    pub fn resolve(&self, reference: &str) -> Option<Place<'a>> {
        if let Some(id) = reference.strip_prefix('#') {
            for (resource, path) in self.resources.iter().rev() {
                if id.is_empty() {
                    return Place::resource(resource, path.clone());
                }
                let inner = resource["contained"].as_array().into_iter().flatten();
                if let Some((at, inner)) = inner.enumerate().find(|(_, inner)| inner["id"] == *id) {
                    return Place::resource(inner, format!("{path}.contained[{at}]"));
                }
            }
            return None;
        }
        let bundle = self.resources.iter().rev().find(|(it, _)| it["resourceType"] == "Bundle");
        let (bundle, path) = bundle?;
        let ids = self.resources.iter().map(|(resource, _)| *resource);
        let at = super::bundled::find(bundle, ids, reference)?;
        Place::resource(&bundle["entry"][at]["resource"], format!("{path}.entry[{at}].resource"))
    }

    fn binding(&mut self, binding: &Binding, place: &Place<'a>, by: &str) {
        if binding.strength == Strength::Other {
            return;
        }
        let is_required = binding.strength == Strength::Required;
        let (membership, has_code) = self.membership(&binding.value_set, place);
        let set = &binding.value_set;
        let path = place.path.clone();
        let warn = |code, text: String| {
            Issue::error(code, path.clone(), text).with_severity(Severity::Warning)
        };
        match membership {
            Membership::In => {}
            Membership::Out if is_required => {
                self.fail(
                    "code-invalid",
                    &place.path,
                    format!("not in the required value set {set} ({by})"),
                );
            }
            Membership::Out if has_code => {
                self.add(warn(
                    "code-invalid",
                    format!("not in the extensible value set {set} ({by})"),
                ));
            }
            Membership::Unknown if is_required => {
                self.add(warn(
                    "not-supported",
                    format!("whether it is in the required value set {set} is not known ({by})"),
                ));
            }
            Membership::Out | Membership::Unknown => {}
        }
    }

    /// Whether a coded place is in a value set, and whether it has a code at all.
    pub fn membership(&self, set: &str, place: &Place<'a>) -> (Membership, bool) {
        self.registry.with_terms(|terms| {
            let of = |coding: &Value| match coding["code"].as_str() {
                Some(code) => terms.member(set, coding["system"].as_str(), code),
                None => Membership::Out,
            };
            match place.type_code {
                "CodeableConcept" => {
                    let codings =
                        place.value["coding"].as_array().map(Vec::as_slice).unwrap_or_default();
                    (Membership::any(codings.iter().map(of)), !codings.is_empty())
                }
                "Coding" => (of(place.value), true),
                kind if definitions().is_a(kind, "Quantity") => {
                    let has_code = place.value["code"].is_string();
                    (if has_code { of(place.value) } else { Membership::In }, has_code)
                }
                _ => match place.value.as_str() {
                    Some(code) => (terms.member(set, None, code), true),
                    None => (Membership::In, false),
                },
            }
        })
    }
}

/// Whether `code` is the base type with this canonical URL, or specialises it.
fn is_of_type(code: &str, url: &str) -> bool {
    let bare = url.split('|').next().unwrap_or(url);
    definitions().is_a(code, bare.rsplit('/').next().unwrap_or(bare))
}

/// Whether an element of type `code` may stand where `allowed` is.
pub(crate) fn fits_type(code: &str, allowed: &str) -> bool {
    definitions().is_a(code, allowed)
        || (allowed == "Resource" && definitions().is_resource_type(code))
}

/// The type that a literal reference names.
pub(crate) fn type_named(reference: &str) -> Option<&'static str> {
    let kind = definitions().type_definition(reference_type(reference)?)?;
    Some(kind.name)
}
