//! From a StructureDefinition's differential to a tree of rules over what its base
//! profile says. A full snapshot is read the same way where the base is not at hand.

use serde_json::Value;

use super::model::{
    Binding, Context, Discriminator, DiscriminatorKind, Profile, Rule, Slicing, Step, Strength,
    TypeRule,
};
use crate::definitions;
use crate::invariant::Invariant;
use crate::schema::NodeId;

/// Elements of one profile: the biggest published ones have some thousands.
const ELEMENTS_COUNT_MAX: usize = 20_000;
/// Steps of a path.
const DEPTH_MAX: usize = 40;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[name].as_array().into_iter().flatten()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    items(value, name).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Compiles `structure` over its base; `None` when it constrains nothing that R4 has.
pub(crate) fn compile(structure: &Value, base: Option<&Profile>) -> Option<Profile> {
    let type_name = text(structure, "type");
    let kind = definitions().type_definition(type_name)?;
    let mut bases = vec![text(structure, "baseDefinition").to_owned()];
    bases.extend(base.into_iter().flat_map(|base| base.bases.iter().cloned()));
    let mut profile = Profile {
        url: text(structure, "url").to_owned(),
        version: text(structure, "version").to_owned(),
        name: text(structure, "name").to_owned(),
        type_name: type_name.to_owned(),
        bases,
        contexts: items(structure, "context").map(context).collect(),
        root: base.map_or_else(Rule::default, |base| base.root.clone()),
        notes: Vec::new(),
    };
    profile.root.name = kind.name.to_owned();
    let differential = &structure["differential"];
    let is_whole = base.is_some() || is_base_type(text(structure, "baseDefinition"));
    let has_snapshot = structure["snapshot"]["element"].is_array();
    let chosen = if differential["element"].is_array() && (is_whole || !has_snapshot) {
        differential
    } else {
        &structure["snapshot"]
    };
    if !is_whole && !has_snapshot {
        let base = text(structure, "baseDefinition");
        profile.notes.push(format!("{base}, which it derives from, is not at hand"));
    }
    let mut before: Vec<(String, String)> = Vec::new();
    for element in items(chosen, "element").take(ELEMENTS_COUNT_MAX) {
        let Some(steps) = steps(element, type_name, &before) else {
            profile.notes.push(format!("the path {} is not understood", text(element, "path")));
            continue;
        };
        let rule = locate(&mut profile.root, type_name, &steps);
        apply(element, rule, &mut profile.notes);
        before = steps;
    }
    Some(profile)
}

/// Whether a canonical URL names a type of R4 itself.
pub(crate) fn is_base_type(url: &str) -> bool {
    let bare = url.split('|').next().unwrap_or(url);
    let name = bare.strip_prefix("http://hl7.org/fhir/StructureDefinition/");
    name.is_some_and(|name| definitions().type_definition(name).is_some())
}

fn context(context: &Value) -> Context {
    Context {
        kind: text(context, "type").to_owned(),
        expression: text(context, "expression").to_owned(),
    }
}

/// The path of an element below the root, each step with its slice. The id tells
/// the slices; where it is not in the usual form, the elements before do.
fn steps(
    element: &Value,
    type_name: &str,
    before: &[(String, String)],
) -> Option<Vec<(String, String)>> {
    let path = text(element, "path");
    let mut names = path.split('.');
    if names.next() != Some(type_name) {
        return None;
    }
    let names: Vec<&str> = names.collect();
    if names.len() > DEPTH_MAX {
        return None;
    }
    if let Some(steps) = from_id(text(element, "id"), &names) {
        return Some(steps);
    }
    let mut steps: Vec<(String, String)> = Vec::new();
    let mut is_same = true;
    for name in &names {
        let at = steps.len();
        let known = before.get(at).filter(|known| is_same && known.0 == **name);
        is_same = known.is_some();
        let is_last = at + 1 == names.len();
        let slice = known.filter(|_| !is_last).map(|known| known.1.clone());
        steps.push(((*name).to_owned(), slice.unwrap_or_default()));
    }
    if let (Some(last), Some(slice)) = (steps.last_mut(), element["sliceName"].as_str()) {
        last.1 = slice.to_owned();
    }
    Some(steps)
}

fn from_id(id: &str, names: &[&str]) -> Option<Vec<(String, String)>> {
    if id.is_empty() {
        return None;
    }
    let mut steps = Vec::new();
    let parts: Vec<&str> = id.split('.').skip(1).collect();
    if parts.len() != names.len() {
        return None;
    }
    for (part, name) in parts.into_iter().zip(names) {
        let (own, slice) = part.split_once(':').unwrap_or((part, ""));
        if own != *name && !own.ends_with("[x]") && !name.ends_with("[x]") {
            return None;
        }
        // Path `valueQuantity`, id `value[x]:valueQuantity`.
        let own = if slice.is_empty() { name } else { own };
        steps.push((own.to_owned(), slice.to_owned()));
    }
    Some(steps)
}

/// The rule at the steps, made where there is none yet. A choice named with its
/// type (`valueQuantity`) is the slice of that type.
fn locate<'r>(root: &'r mut Rule, type_name: &str, steps: &[(String, String)]) -> &'r mut Rule {
    let mut node = definitions().schema().root(type_name);
    let mut rule = root;
    for (name, slice) in steps {
        let bare = name.strip_suffix("[x]").unwrap_or(name);
        let mut chosen_type = None;
        let mut found = None;
        if let Some(described) = node.map(|node| definitions().schema().node(node)) {
            if described.named(bare).next().is_some() {
                found = Some((bare.to_owned(), slice.clone()));
            } else if let Some(property) = described.property(bare) {
                let element = &described.elements[property.element];
                chosen_type = Some(property.type_code);
                let slice = if slice.is_empty() { bare } else { slice };
                found = Some((element.name().to_owned(), slice.to_owned()));
            }
        }
        let (own, slice) = found.unwrap_or_else(|| (bare.to_owned(), slice.clone()));
        rule = rule.child_mut(&own);
        if !slice.is_empty() {
            rule = rule.slice_mut(&slice);
            if let Some(code) = chosen_type
                && rule.types.is_empty()
            {
                rule.types = vec![TypeRule { code: code.to_owned(), ..TypeRule::default() }];
            }
        }
        let code = chosen_type.map(str::to_owned).or_else(|| match rule.types.as_slice() {
            [only] => Some(only.code.clone()),
            _ => type_of_slice(node, &own, &slice).map(str::to_owned),
        });
        if chosen_type.is_none() && rule.types.is_empty() && !slice.is_empty() {
            let typed = type_of_slice(node, &own, &slice);
            rule.types.extend(
                typed.map(|code| TypeRule { code: code.to_owned(), ..TypeRule::default() }),
            );
        }
        node = below(node, &own, code.as_deref());
    }
    rule
}

/// `value[x]:valueQuantity` is a Quantity by the name of its slice.
fn type_of_slice(node: Option<NodeId>, name: &str, slice: &str) -> Option<&'static str> {
    let node = definitions().schema().node(node?);
    let property = node.property(slice)?;
    let element = &node.elements[property.element];
    (element.is_choice() && element.name() == name).then_some(property.type_code)
}

/// Where the children of the element `name` are described.
fn below(node: Option<NodeId>, name: &str, code: Option<&str>) -> Option<NodeId> {
    let described = definitions().schema().node(node?);
    let mut properties = described.named(name);
    let first = properties.next()?;
    let Some(code) = code else { return first.node };
    if first.type_code == code {
        return first.node.or_else(|| definitions().schema().root(code));
    }
    let exact = properties.find(|property| property.type_code == code);
    exact.and_then(|property| property.node).or_else(|| definitions().schema().root(code))
}

fn apply(element: &Value, rule: &mut Rule, notes: &mut Vec<String>) {
    if let Some(min) = element["min"].as_u64() {
        rule.min = u32::try_from(min).ok();
    }
    if let Some(max) = element["max"].as_str() {
        rule.max = Some(max.parse().ok());
    }
    let types: Vec<TypeRule> = items(element, "type").map(type_rule).collect();
    // `type: Extension` without a profile repeats the base.
    if !types.is_empty() {
        rule.types = types;
    }
    for (name, value) in element.as_object().into_iter().flatten() {
        let slot = match () {
            () if is_typed(name, "fixed") => &mut rule.fixed,
            () if is_typed(name, "pattern") => &mut rule.pattern,
            () if is_typed(name, "minValue") => &mut rule.min_value,
            () if is_typed(name, "maxValue") => &mut rule.max_value,
            () => continue,
        };
        *slot = Some(value.clone());
    }
    // R5 has them as elements; R4 as extensions of that name.
    for extension in items(element, "extension") {
        match text(extension, "url").rsplit('.').next() {
            Some("mustHaveValue") => rule.must_have_value = extension["valueBoolean"] == true,
            Some("valueAlternatives") => {
                let canonical = extension["valueCanonical"].as_str();
                let url = canonical.or(extension["valueUri"].as_str());
                rule.value_alternatives.extend(url.map(str::to_owned));
            }
            _ => {}
        }
    }
    rule.length_max = element["maxLength"].as_u64().or(rule.length_max);
    if let Some(value_set) = element["binding"]["valueSet"].as_str() {
        let strength = match text(&element["binding"], "strength") {
            "required" => Strength::Required,
            "extensible" => Strength::Extensible,
            _ => Strength::Other,
        };
        rule.binding = Some(Binding { strength, value_set: value_set.to_owned() });
    }
    for extension in items(&element["binding"], "extension") {
        let part = |name: &str| items(extension, "extension").find(|part| part["url"] == *name);
        let is_required = part("purpose").is_some_and(|part| part["valueCode"] == "required");
        let set = part("valueSet").and_then(|part| part["valueCanonical"].as_str());
        if let Some(set) = set.filter(|_| is_required) {
            let value_set = set.to_owned();
            rule.more_bindings.push(Binding { strength: Strength::Required, value_set });
        }
    }
    if element["slicing"].is_object() {
        rule.slicing = slicing(&element["slicing"], notes).or(rule.slicing.take());
    }
    for constraint in items(element, "constraint") {
        let key = text(constraint, "key");
        let known = rule.invariants.iter().any(|known| known.key == key);
        if known
            || Invariant::is_of_base(key, text(constraint, "expression"))
            || text(constraint, "expression").is_empty()
        {
            continue;
        }
        let invariant = Invariant::new(
            key,
            text(constraint, "severity") == "error",
            text(constraint, "expression"),
            text(constraint, "human"),
        );
        if let Some(why) = invariant.unsupported() {
            notes.push(format!("{key} cannot be run: {why}"));
        }
        rule.invariants.push(invariant);
    }
}

/// `fixedCode` is `fixed` with a type; `fixed` alone or `fixedness` is not.
fn is_typed(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn type_rule(entry: &Value) -> TypeRule {
    let code = text(entry, "code");
    TypeRule {
        code: if code.starts_with("http://hl7.org/fhirpath/") {
            String::new()
        } else {
            code.to_owned()
        },
        profiles: texts(entry, "profile"),
        targets: texts(entry, "targetProfile"),
        aggregation: texts(entry, "aggregation"),
    }
}

fn slicing(slicing: &Value, notes: &mut Vec<String>) -> Option<Slicing> {
    let mut discriminators = Vec::new();
    for discriminator in items(slicing, "discriminator") {
        let kind = match text(discriminator, "type") {
            "value" | "pattern" => DiscriminatorKind::Value,
            "exists" => DiscriminatorKind::Exists,
            "type" => DiscriminatorKind::Type,
            "profile" => DiscriminatorKind::Profile,
            _ => return None,
        };
        let Some(path) = discriminator_path(text(discriminator, "path")) else {
            notes.push("a path of a discriminator is not understood".to_owned());
            return None;
        };
        discriminators.push(Discriminator { kind, path });
    }
    let rules = text(slicing, "rules");
    Some(Slicing {
        discriminators,
        is_closed: rules == "closed",
        is_open_at_end: rules == "openAtEnd",
        is_ordered: slicing["ordered"] == true,
    })
}

/// The part of FHIRPath that discriminators may use (FHIR R4 profiling.html#discriminator).
fn discriminator_path(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        let end = if rest.starts_with("extension(")
            || rest.starts_with("ofType(")
            || rest.starts_with("resolve(")
        {
            rest.find(')')? + 1
        } else {
            rest.find('.').unwrap_or(rest.len())
        };
        let (step, after) = rest.split_at(end);
        rest = after.strip_prefix('.').unwrap_or(after);
        let inside = |name: &str| -> Option<&str> {
            step.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')').map(str::trim)
        };
        if let Some(url) = inside("extension") {
            steps.push(Step::Extension(url.trim_matches(['\'', '"']).to_owned()));
        } else if let Some(kind) = inside("ofType") {
            steps.push(Step::OfType(kind.to_owned()));
        } else if inside("resolve").is_some() {
            steps.push(Step::Resolve);
        } else if step != "$this" {
            let name = step.strip_suffix("[x]").unwrap_or(step);
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
                return None;
            }
            steps.push(Step::Child(name.to_owned()));
        }
    }
    Some(steps)
}
