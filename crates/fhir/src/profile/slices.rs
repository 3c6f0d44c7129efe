//! Which items of an element belong to which slice (FHIR R4 profiling.html#slicing).

use std::sync::Arc;

use super::check::{Check, fits_type, type_named};
use super::compare;
use super::compile::is_base_type;
use super::model::{Discriminator, DiscriminatorKind, Profile, Rule, Slicing, Step, Strength};
use super::terms::Membership;
use super::walk::Place;

/// Types within profiles within types, on the way of a discriminator.
const DEPTH_MAX: usize = 16;

impl<'a> Check<'a> {
    /// The slices of an element: each item goes to the slice whose discriminators it
    /// meets.
    pub(super) fn slices(
        &mut self,
        rule: &Rule,
        items: &[Place<'a>],
        at: &str,
        profile: &Arc<Profile>,
    ) {
        if rule.slices.is_empty() {
            return;
        }
        let Some(slicing) = rule.slicing.clone().or_else(|| implied(rule)) else { return };
        let mut taken: Vec<Option<usize>> = vec![None; items.len()];
        let mut is_decided = true;
        for (number, slice) in rule.slices.iter().enumerate() {
            let mut own = Vec::new();
            let mut is_known = true;
            for (place, item) in items.iter().enumerate() {
                match self.belongs(item, slice, &slicing) {
                    Some(true) => {
                        // The first slice that fits has it.
                        if taken[place].is_none() {
                            taken[place] = Some(number);
                            own.push(item.clone());
                        }
                    }
                    Some(false) => {}
                    None => is_known = false,
                }
            }
            if !is_known {
                is_decided = false;
                continue;
            }
            self.count(slice, own.len(), at, profile);
            for item in &own {
                self.content(slice, item, profile);
            }
            self.slices(slice, &own, at, profile);
        }
        if !is_decided {
            return;
        }
        let order: Vec<usize> = taken.iter().flatten().copied().collect();
        if slicing.is_ordered && order.windows(2).any(|pair| pair[0] > pair[1]) {
            self.fail("structure", at, format!("the slices are out of order ({})", profile.url));
        }
        let mut is_after = false;
        for (item, taken) in items.iter().zip(&taken) {
            match taken {
                None if slicing.is_closed => {
                    let text =
                        format!("belongs to no slice, and there are no others in {}", profile.url);
                    self.fail("structure", &item.path, text);
                }
                None => is_after = true,
                Some(_) if slicing.is_open_at_end && is_after => {
                    let text = format!("what is in no slice has to come last ({})", profile.url);
                    self.fail("structure", &item.path, text);
                    is_after = false;
                }
                Some(_) => {}
            }
        }
    }

    /// Whether an item belongs to a slice; `None` when the slice does not say enough.
    fn belongs(&mut self, item: &Place<'a>, slice: &Rule, slicing: &Slicing) -> Option<bool> {
        let mut answer = None;
        for discriminator in &slicing.discriminators {
            match self.discriminates(item, slice, discriminator) {
                Some(false) => return Some(false),
                Some(true) => answer = Some(true),
                None => {}
            }
        }
        answer
    }

    fn discriminates(
        &mut self,
        item: &Place<'a>,
        slice: &Rule,
        by: &Discriminator,
    ) -> Option<bool> {
        match by.kind {
            DiscriminatorKind::Value => {
                let places = self.follow(item, &by.path);
                let mut answer = None;
                self.rules_at(slice, &by.path, 0, &mut |check, rule| {
                    if is_decisive(rule) {
                        let fits = places.iter().any(|place| check.fits(rule, place));
                        answer = Some(answer.unwrap_or(true) && fits);
                    }
                });
                answer.or_else(|| by_extension_url(item, slice, &by.path))
            }
            DiscriminatorKind::Exists => {
                let is_there = !self.follow(item, &by.path).is_empty();
                let mut answer = None;
                self.rules_at(slice, &by.path, 0, &mut |_, rule| match (rule.min, rule.max) {
                    (_, Some(Some(0))) => answer = Some(!is_there),
                    (Some(1..), _) => answer = Some(is_there),
                    _ => {}
                });
                answer
            }
            DiscriminatorKind::Type => self.by_type(item, slice, &by.path),
            DiscriminatorKind::Profile => self.by_profile(item, slice, &by.path),
        }
    }

    fn by_type(&mut self, item: &Place<'a>, slice: &Rule, path: &[Step]) -> Option<bool> {
        let (path, resolves) = without_resolve(path);
        let mut allowed: Vec<String> = Vec::new();
        let mut open = false;
        self.rules_at(slice, path, 0, &mut |check, rule| {
            for kind in &rule.types {
                if !resolves {
                    allowed.push(kind.code.clone());
                    continue;
                }
                for url in &kind.targets {
                    match check.registry.profile(url) {
                        Some(target) => allowed.push(target.type_name.clone()),
                        None if is_base_type(url) => {
                            let bare = url.split('|').next().unwrap_or(url);
                            allowed.push(bare.rsplit('/').next().unwrap_or(bare).to_owned());
                        }
                        None => open = true,
                    }
                }
            }
        });
        if open || allowed.is_empty() || allowed.iter().any(String::is_empty) {
            return None;
        }
        let mut types = Vec::new();
        for place in self.follow(item, path) {
            if !resolves {
                types.push(place.type_code);
            } else if let Some(reference) = place.value["reference"].as_str() {
                let found = self.resolve(reference).map(|found| found.type_code);
                types.extend(found.or_else(|| type_named(reference)));
            }
        }
        Some(types.iter().any(|code| allowed.iter().any(|allowed| fits_type(code, allowed))))
    }

    fn by_profile(&mut self, item: &Place<'a>, slice: &Rule, path: &[Step]) -> Option<bool> {
        let (path, resolves) = without_resolve(path);
        let mut profiles = Vec::new();
        let mut unknown = false;
        self.rules_at(slice, path, 0, &mut |check, rule| {
            for kind in &rule.types {
                let urls = if resolves { &kind.targets } else { &kind.profiles };
                for url in urls {
                    match check.registry.profile(url) {
                        Some(known) => profiles.push(known),
                        None => unknown = true,
                    }
                }
            }
        });
        if profiles.is_empty() || unknown {
            return None;
        }
        let mut places = self.follow(item, path);
        if resolves {
            let references = places.iter().filter_map(|place| place.value["reference"].as_str());
            places = references.filter_map(|reference| self.resolve(reference)).collect();
        }
        Some(places.iter().any(|place| profiles.iter().any(|one| self.conforms(place, one))))
    }

    /// The places that the path of a discriminator leads to.
    fn follow(&self, item: &Place<'a>, path: &[Step]) -> Vec<Place<'a>> {
        let mut places = vec![item.clone()];
        for step in path {
            places = places
                .iter()
                .flat_map(|place| match step {
                    Step::Child(name) => place.children(name),
                    Step::Extension(url) => {
                        let all = place.children("extension").into_iter();
                        all.filter(|extension| extension.value["url"] == **url).collect()
                    }
                    Step::OfType(code) => Some(place.clone())
                        .filter(|it| fits_type(it.type_code, code))
                        .into_iter()
                        .collect(),
                    Step::Resolve => {
                        let reference = place.value["reference"].as_str();
                        reference.and_then(|it| self.resolve(it)).into_iter().collect()
                    }
                })
                .collect();
        }
        places
    }

    /// Hands `found` what a slice, and the profiles of its types, say at a path.
    fn rules_at(
        &mut self,
        rule: &Rule,
        path: &[Step],
        depth: usize,
        found: &mut dyn FnMut(&mut Self, &Rule),
    ) {
        if depth > DEPTH_MAX {
            return;
        }
        let Some((step, rest)) = path.split_first() else {
            found(self, rule);
            // A pattern may stand in the profile of the type.
            return self.in_profiles(rule, false, &[], depth, found);
        };
        match step {
            Step::Child(name) => {
                if let Some(child) = rule.child(name) {
                    self.rules_at(child, rest, depth + 1, found);
                    for slice in
                        child.slices.iter().filter(|slice| slice.min.is_some_and(|min| min > 0))
                    {
                        self.rules_at(slice, rest, depth + 1, found);
                    }
                }
                self.in_profiles(rule, false, path, depth, found);
            }
            Step::Extension(url) => {
                if let Some(extensions) = rule.child("extension") {
                    let of_url =
                        |slice: &&Rule| slice.types.iter().any(|kind| kind.profiles.contains(url));
                    for slice in extensions.slices.iter().filter(of_url) {
                        self.rules_at(slice, rest, depth + 1, found);
                    }
                }
                self.in_profiles(rule, false, path, depth, found);
            }
            Step::OfType(code) => {
                let slices = rule
                    .slices
                    .iter()
                    .filter(|slice| slice.types.iter().any(|kind| kind.code == *code));
                for slice in slices {
                    self.rules_at(slice, rest, depth + 1, found);
                }
                self.rules_at(rule, rest, depth + 1, found);
            }
            Step::Resolve => self.in_profiles(rule, true, rest, depth, found),
        }
    }

    fn in_profiles(
        &mut self,
        rule: &Rule,
        resolves: bool,
        path: &[Step],
        depth: usize,
        found: &mut dyn FnMut(&mut Self, &Rule),
    ) {
        for kind in &rule.types {
            let urls = if resolves { &kind.targets } else { &kind.profiles };
            for profile in urls.iter().filter_map(|url| self.registry.profile(url)) {
                self.rules_at(&profile.root, path, depth + 1, found);
            }
        }
    }

    /// Whether a place has the values that tell a slice.
    fn fits(&mut self, rule: &Rule, place: &Place<'a>) -> bool {
        if rule.fixed.as_ref().is_some_and(|fixed| !compare::is_equal(fixed, place.value))
            || rule.pattern.as_ref().is_some_and(|pattern| !compare::matches(pattern, place.value))
        {
            return false;
        }
        let required = rule.binding.as_ref().filter(|it| it.strength == Strength::Required);
        if required.is_some_and(|it| self.membership(&it.value_set, place).0 != Membership::In) {
            return false;
        }
        rule.children.iter().filter(|child| is_decisive(child)).all(|child| {
            let items = place.children(&child.name);
            let is_needed = child.min.is_some_and(|min| min > 0);
            (items.is_empty() && !is_needed && child.fixed.is_none() && child.pattern.is_none())
                || items.iter().any(|item| self.fits(child, item))
        })
    }
}

/// Whether a rule tells slices from each other by value.
fn is_decisive(rule: &Rule) -> bool {
    rule.fixed.is_some()
        || rule.pattern.is_some()
        || rule.binding.as_ref().is_some_and(|binding| binding.strength == Strength::Required)
        || rule.children.iter().any(is_decisive)
}

fn without_resolve(path: &[Step]) -> (&[Step], bool) {
    match path.split_last() {
        Some((Step::Resolve, rest)) => (rest, true),
        _ => (path, false),
    }
}

/// How elements are sliced where a profile need not say it: extensions by their
/// URL, choices by their type.
fn implied(rule: &Rule) -> Option<Slicing> {
    let by = |kind, path| Slicing {
        discriminators: vec![Discriminator { kind, path }],
        is_closed: false,
        is_open_at_end: false,
        is_ordered: false,
    };
    if matches!(rule.name.as_str(), "extension" | "modifierExtension") {
        return Some(by(DiscriminatorKind::Value, vec![Step::Child("url".to_owned())]));
    }
    let is_typed =
        rule.slices.iter().all(|slice| slice.types.len() == 1 && !slice.types[0].code.is_empty());
    is_typed.then(|| by(DiscriminatorKind::Type, Vec::new()))
}

/// An extension slice whose definition is not at hand is told by the URL of that.
fn by_extension_url(item: &Place<'_>, slice: &Rule, path: &[Step]) -> Option<bool> {
    if item.type_code != "Extension" || path != [Step::Child("url".to_owned())] {
        return None;
    }
    let mut urls = slice.types.iter().flat_map(|kind| &kind.profiles).peekable();
    urls.peek()?;
    Some(urls.any(|url| item.value["url"] == *url.split('|').next().unwrap_or(url)))
}
