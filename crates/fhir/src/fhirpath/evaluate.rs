//! Expression tree and document to items. The schema goes along, so that a
//! choice is found by its base name and every item knows its type.

use serde_json::Value;

use super::{Expr, Expression};
use crate::definitions;
use crate::reference::reference_type;
use crate::schema::NodeId;

/// A place in a document, with its type.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The JSON value; `Null` when a primitive has only extensions.
    pub value: &'a Value,
    /// `id` and `extension` of a primitive (the `_name` property).
    pub sibling: Option<&'a Value>,
    /// FHIR type code.
    pub type_code: &'static str,
    /// Value set of a required binding; empty when there is none.
    pub value_set: &'static str,
    schema: Option<NodeId>,
}

/// What an expression gives.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A part of the document.
    Node(Node<'a>),
    /// The outcome of a test.
    Boolean(bool),
    /// A literal of the expression.
    Text(&'a str),
    /// What a reference points to, when only its type is known.
    Resolved(&'a str),
}

impl Item<'_> {
    /// The item as JSON; what a reference points to is null.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Node(node) => node.value.clone(),
            Self::Boolean(value) => Value::Bool(*value),
            Self::Text(text) => Value::String((*text).to_owned()),
            Self::Resolved(_) => Value::Null,
        }
    }

    fn is_a(&self, name: &str) -> bool {
        match self {
            Self::Node(node) => definitions().is_a(node.type_code, name),
            Self::Resolved(kind) => definitions().is_a(kind, name),
            Self::Boolean(_) => matches!(name, "boolean" | "Boolean"),
            Self::Text(_) => matches!(name, "string" | "String"),
        }
    }

    fn equals(&self, other: &Self) -> bool {
        fn text<'b>(item: &'b Item<'_>) -> Option<&'b str> {
            match item {
                Item::Node(node) => node.value.as_str(),
                Item::Text(text) => Some(text),
                _ => None,
            }
        }
        fn boolean(item: &Item<'_>) -> Option<bool> {
            match item {
                Item::Node(node) => node.value.as_bool(),
                Item::Boolean(value) => Some(*value),
                _ => None,
            }
        }
        match (self, other) {
            (Self::Node(a), Self::Node(b)) => a.value == b.value,
            _ => match (text(self), text(other)) {
                (Some(a), Some(b)) => a == b,
                _ => boolean(self).is_some() && boolean(self) == boolean(other),
            },
        }
    }
}

impl<'a> Node<'a> {
    /// The root of `resource`; `None` when its type is not known.
    pub fn resource(resource: &'a Value) -> Option<Self> {
        let name = resource["resourceType"].as_str()?;
        let kind = definitions().type_definition(name)?;
        let schema = definitions().schema().root(kind.name);
        Some(Self { value: resource, sibling: None, type_code: kind.name, value_set: "", schema })
    }

    /// The children called `name`: list items one by one, a choice by its base name.
    pub fn children(&self, name: &str) -> Vec<Node<'a>> {
        let mut found = Vec::new();
        let Some(schema) = self.schema.map(|id| definitions().schema().node(id)) else {
            return found;
        };
        for property in schema.named(name) {
            let value = self.value.get(&property.json);
            let is_primitive = property.node.is_none() && property.type_code != "Resource";
            let sibling = self.value.get(&property.sibling).filter(|_| is_primitive);
            if value.is_none() && sibling.is_none() {
                continue;
            }
            let list = |value: Option<&'a Value>| match value {
                Some(Value::Array(items)) => items.iter().map(Some).collect(),
                other => vec![other],
            };
            let (values, siblings) = (list(value), list(sibling));
            for place in 0..values.len().max(siblings.len()) {
                let value = values.get(place).copied().flatten();
                let sibling =
                    siblings.get(place).copied().flatten().filter(|extra| extra.is_object());
                if value.is_none_or(Value::is_null) && sibling.is_none() {
                    continue;
                }
                let value = value.unwrap_or(&Value::Null);
                if property.type_code == "Resource" {
                    found.extend(Node::resource(value));
                    continue;
                }
                let value_set = schema.elements[property.element].value_set;
                let (type_code, schema) = (property.type_code, property.node);
                found.push(Node { value, sibling, type_code, value_set, schema });
            }
        }
        found
    }

    fn extensions(&self) -> Vec<Node<'a>> {
        let holder = if self.schema.is_some() { Some(self.value) } else { self.sibling };
        let list = holder.and_then(|holder| holder["extension"].as_array());
        let schema = definitions().schema().root("Extension");
        list.into_iter()
            .flatten()
            .map(|value| Node {
                value,
                sibling: None,
                type_code: "Extension",
                value_set: "",
                schema,
            })
            .collect()
    }
}

impl Expression {
    /// What the expression finds in `resource`, in document order; nothing when
    /// the resource's type is not known.
    pub fn evaluate<'a>(&'a self, resource: &'a Value) -> Vec<Item<'a>> {
        let Some(root) = Node::resource(resource) else { return Vec::new() };
        evaluate(&self.0, Item::Node(root), resource)
    }
}

fn evaluate<'a>(expr: &'a Expr, this: Item<'a>, root: &'a Value) -> Vec<Item<'a>> {
    let all = |inner: &'a Expr| evaluate(inner, this, root);
    let flag = |value: bool| vec![Item::Boolean(value)];
    match expr {
        Expr::This => vec![this],
        Expr::Type(name) => Some(this).filter(|item| item.is_a(name)).into_iter().collect(),
        Expr::Text(text) => vec![Item::Text(text)],
        Expr::Boolean(value) => flag(*value),
        Expr::Child(inner, name) => {
            let children = |node: Node<'a>| node.children(name).into_iter().map(Item::Node);
            nodes(all(inner)).flat_map(children).collect()
        }
        Expr::Index(inner, place) => all(inner).into_iter().skip(*place).take(1).collect(),
        Expr::Where(inner, test) => {
            all(inner).into_iter().filter(|item| holds(&evaluate(test, *item, root))).collect()
        }
        Expr::Exists(inner) => flag(!all(inner).is_empty()),
        Expr::Resolve(inner) => nodes(all(inner)).filter_map(|node| resolve(node, root)).collect(),
        Expr::Extension(inner, url) => {
            nodes(all(inner)).flat_map(|node| extensions(node, url)).map(Item::Node).collect()
        }
        Expr::HasExtension(inner, url) => {
            flag(nodes(all(inner)).any(|node| extensions(node, url).next().is_some()))
        }
        Expr::As(inner, name) => all(inner).into_iter().filter(|item| item.is_a(name)).collect(),
        Expr::Is(inner, name) => match all(inner).first() {
            Some(item) => flag(item.is_a(name)),
            None => Vec::new(),
        },
        Expr::Equal(left, right) => compare(&all(left), &all(right)).map_or_else(Vec::new, flag),
        Expr::NotEqual(left, right) => {
            compare(&all(left), &all(right)).map_or_else(Vec::new, |equal| flag(!equal))
        }
        Expr::And(left, right) => flag(holds(&all(left)) && holds(&all(right))),
        Expr::Or(left, right) => flag(holds(&all(left)) || holds(&all(right))),
        Expr::Union(parts) => parts.iter().flat_map(all).collect(),
    }
}

fn nodes<'a>(items: Vec<Item<'a>>) -> impl Iterator<Item = Node<'a>> {
    items.into_iter().filter_map(|item| match item {
        Item::Node(node) => Some(node),
        _ => None,
    })
}

fn extensions<'a>(node: Node<'a>, url: &str) -> impl Iterator<Item = Node<'a>> {
    node.extensions().into_iter().filter(move |extension| extension.value["url"] == *url)
}

/// Whether a test is met; an empty collection is not.
fn holds(items: &[Item<'_>]) -> bool {
    match items {
        [] => false,
        [Item::Boolean(value)] => *value,
        [Item::Node(node)] => node.value.as_bool().unwrap_or(true),
        _ => true,
    }
}

/// `None` when a side is empty, as FHIRPath has it.
fn compare(left: &[Item<'_>], right: &[Item<'_>]) -> Option<bool> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    Some(left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.equals(b)))
}

fn resolve<'a>(node: Node<'a>, root: &'a Value) -> Option<Item<'a>> {
    let reference = node.value.as_str().or_else(|| node.value["reference"].as_str());
    if let Some(id) = reference.and_then(|reference| reference.strip_prefix('#')) {
        let mut contained = root["contained"].as_array()?.iter();
        let target = contained.find(|resource| resource["id"] == *id)?;
        return Node::resource(target).map(Item::Node);
    }
    let named = || node.value["type"].as_str().filter(|name| definitions().is_resource_type(name));
    reference.and_then(reference_type).or_else(named).map(Item::Resolved)
}
