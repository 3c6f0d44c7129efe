//! A place in a document, with its type and its FHIRPath, and the places below it.

use serde_json::Value;

use crate::definitions;
use crate::definitions::Element;
use crate::fhirpath::Node;
use crate::schema::{NodeId, Property};

/// A resource, an element or a primitive of a document.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    /// The JSON value; `Null` when a primitive has only extensions.
    pub value: &'a Value,
    /// `id` and `extension` of a primitive.
    pub sibling: Option<&'a Value>,
    /// FHIR type code; of a resource, its own type.
    pub type_code: &'static str,
    /// Where its children are described; `None` for a primitive.
    pub node: Option<NodeId>,
    /// Where it is.
    pub path: String,
    /// The element of R4 that it is; `None` for a root.
    pub element: Option<&'static Element>,
}

impl<'a> Place<'a> {
    /// A resource at `path`; `None` when its type is not known.
    pub fn resource(value: &'a Value, path: String) -> Option<Self> {
        let kind = definitions().type_definition(value["resourceType"].as_str()?)?;
        let node = definitions().schema().root(kind.name);
        Some(Self { value, sibling: None, type_code: kind.name, node, path, element: None })
    }

    /// What FHIRPath has found.
    pub fn of_node(node: &Node<'a>) -> Self {
        Self {
            value: node.value,
            sibling: node.sibling,
            type_code: node.type_code,
            node: node.schema_id(),
            path: node.type_code.to_owned(),
            element: None,
        }
    }

    /// The same for FHIRPath.
    pub fn node(&self) -> Node<'a> {
        let value_set = self.element.map_or("", |element| element.value_set);
        Node::at(self.value, self.sibling, self.type_code, value_set, self.node)
    }

    pub fn is_resource(&self) -> bool {
        self.node.is_some() && self.value.get("resourceType").is_some()
    }

    /// The children called `name` (a choice by its base name), in order.
    pub fn children(&self, name: &str) -> Vec<Place<'a>> {
        let mut found = Vec::new();
        let Some(node) = self.node else {
            return self.of_primitive(name);
        };
        let node = definitions().schema().node(node);
        for property in node.named(name) {
            let element = &node.elements[property.element];
            self.add(element, property, &mut found);
        }
        found
    }

    /// Every child, in the order of the definition.
    pub fn all_children(&self) -> Vec<Place<'a>> {
        let mut found = Vec::new();
        if let Some(node) = self.node {
            let node = definitions().schema().node(node);
            for property in &node.properties {
                self.add(&node.elements[property.element], property, &mut found);
            }
        } else {
            found = self.of_primitive("extension");
        }
        found
    }

    fn of_primitive(&self, name: &str) -> Vec<Place<'a>> {
        let Some(sibling) = self.sibling else { return Vec::new() };
        let Some(node) = definitions().schema().root("Element") else { return Vec::new() };
        let holder = Place { value: sibling, sibling: None, node: Some(node), ..self.clone() };
        holder.children(name)
    }

    fn add(
        &self,
        element: &'static Element,
        property: &'static Property,
        found: &mut Vec<Place<'a>>,
    ) {
        let value = self.value.get(&property.json);
        let is_primitive = property.node.is_none() && property.type_code != "Resource";
        let sibling = if is_primitive { self.value.get(&property.sibling) } else { None };
        if value.is_none() && sibling.is_none() {
            return;
        }
        let name = element.name();
        let base = if element.is_choice() {
            format!("{}.{name}.ofType({})", self.path, property.type_code)
        } else {
            format!("{}.{name}", self.path)
        };
        let is_list = value.or(sibling).is_some_and(Value::is_array);
        let list = |value: Option<&'a Value>| -> Vec<Option<&'a Value>> {
            match value {
                Some(Value::Array(items)) => items.iter().map(Some).collect(),
                other => vec![other],
            }
        };
        let (values, siblings) = (list(value), list(sibling));
        for place in 0..values.len().max(siblings.len()) {
            let value = values.get(place).copied().flatten().filter(|value| !value.is_null());
            let sibling = siblings.get(place).copied().flatten().filter(|extra| extra.is_object());
            if value.is_none() && sibling.is_none() {
                continue;
            }
            let value = value.unwrap_or(&Value::Null);
            let path = if is_list { format!("{base}[{place}]") } else { base.clone() };
            if property.type_code == "Resource" {
                let inner = Place::resource(value, path);
                found.extend(inner.map(|inner| Place { element: Some(element), ..inner }));
                continue;
            }
            found.push(Place {
                value,
                sibling,
                type_code: property.type_code,
                node: property.node,
                path,
                element: Some(element),
            });
        }
    }
}
