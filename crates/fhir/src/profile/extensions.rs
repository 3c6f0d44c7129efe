//! Every extension of a document against its own definition, and whether it may be
//! where it is (FHIR R4 defining-extensions.html#context).

use serde_json::Value;

use super::Strictness;
use super::check::Check;
use super::model::Context;
use super::walk::Place;
use crate::definitions;
use crate::fhirpath::{Environment, Expression, Item};
use crate::outcome::{Issue, Severity};

/// Elements within elements; the parser allows fewer.
const DEPTH_MAX: usize = 100;

/// The names by which a context may call a place: its types, and its paths from each
/// type that it is in.
#[derive(Clone, Default)]
struct Names(Vec<String>);

impl<'a> Check<'a> {
    /// Checks the extensions in `resource`, and the resources in it.
    pub(super) fn extensions(&mut self, place: &Place<'a>) {
        self.walk(place, &Names::default(), None, 0);
    }

    fn walk(&mut self, place: &Place<'a>, names: &Names, outer: Option<&'a str>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let names = names_of(place, names);
        // The extension that the place is, or is the value of.
        let own = place.value.get("url").and_then(Value::as_str);
        let outer = own.filter(|_| place.type_code == "Extension").or(outer);
        for child in place.all_children() {
            let Some(element) = child.element else { continue };
            if child.is_resource() {
                continue;
            }
            if child.type_code == "Extension" {
                self.extension(&child, place, &names, outer);
            }
            let mut below = Names::default();
            let plain = element.path.rsplit('.').next().unwrap_or(element.path);
            for name in &names.0 {
                below.0.push(format!("{name}.{plain}"));
                if element.is_choice() {
                    below.0.push(format!("{name}.{}", element.name()));
                }
            }
            if !element.content_reference.is_empty() {
                below.0.push(element.content_reference.to_owned());
            }
            if child.node.is_some() || child.sibling.is_some() {
                self.walk(&child, &below, outer, depth + 1);
            }
        }
    }

    fn extension(
        &mut self,
        child: &Place<'a>,
        holder: &Place<'a>,
        names: &Names,
        outer: Option<&str>,
    ) {
        let Some(url) = child.value["url"].as_str() else { return };
        let is_part = holder.type_code == "Extension" && !url.contains(':');
        if is_part {
            return;
        }
        if !url.contains(':') {
            return self.fail("value", &child.path, "the URL of an extension has to be absolute");
        }
        let Some(profile) = self.registry.profile(url) else {
            let is_modifier = child.element.is_some_and(|element| element.is_modifier);
            let severity = match self.strictness {
                Strictness::Reference if is_example(url) => return,
                Strictness::Reference => Severity::Error,
                Strictness::Usual if is_modifier => Severity::Warning,
                Strictness::Usual => return,
            };
            let text = "the definition of this extension is not at hand";
            let issue = Issue::error("not-found", child.path.clone(), text);
            return self.add(issue.with_severity(severity));
        };
        if profile.type_name != "Extension" {
            return self.fail("structure", &child.path, "its URL is not that of an extension");
        }
        let fits = |context: &Context| match context.kind.as_str() {
            "element" => {
                let wanted = context.expression.as_str();
                wanted == "Element" && !holder.is_resource()
                    || names.0.iter().any(|name| name == wanted)
            }
            "extension" => outer == Some(context.expression.as_str()),
            "fhirpath" => self.is_named_by(&context.expression, holder),
            _ => true,
        };
        if !profile.contexts.is_empty() && !profile.contexts.iter().any(fits) {
            self.fail("structure", &child.path, "this extension may not be used here");
        }
        self.profile(child, &profile);
    }
}

impl<'a> Check<'a> {
    /// Whether an expression over the resource finds this place.
    fn is_named_by(&self, expression: &str, place: &Place<'a>) -> bool {
        let resource = self.resources.last().map_or(self.root, |(resource, _)| resource);
        let Ok(expression) = Expression::compile(expression) else { return true };
        let found = expression.evaluate_with(resource, None, &Environment::default());
        found.is_err()
            || found.into_iter().flatten().any(|item| match item {
                Item::Node(node) => std::ptr::eq(node.value, place.value),
                _ => false,
            })
    }
}

fn names_of(place: &Place<'_>, paths: &Names) -> Names {
    let mut names = paths.clone();
    let mut kind = Some(place.type_code);
    while let Some(name) = kind {
        names.0.push(name.to_owned());
        let base = definitions().type_definition(name).map(|kind| kind.base);
        kind = base.filter(|base| !base.is_empty());
    }
    names
}

/// Hosts that examples use; the reference validator takes what they define as given.
fn is_example(url: &str) -> bool {
    let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    ["example.org", "example.com", "acme.com"].iter().any(|known| host.ends_with(known))
}
