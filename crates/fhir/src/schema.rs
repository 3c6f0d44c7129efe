//! The element tree of every type, by JSON property name: what validation and
//! FHIRPath walk along with a document.

use std::collections::HashMap;

use crate::definitions::{Element, TypeDefinition, TypeKind};

/// Place of a node of the [`Schema`].
pub(crate) type NodeId = u32;

/// The JSON property of an element (for a choice, of one of its types).
#[derive(Debug, Clone)]
pub(crate) struct Property {
    /// Name in JSON: `valueQuantity`.
    pub json: String,
    /// Name of the property beside it that holds `id` and `extension` of a primitive.
    pub sibling: String,
    /// Place among [`Node::elements`].
    pub element: usize,
    /// Type code; `Resource` for an inlined resource.
    pub type_code: &'static str,
    /// Place among the element's types.
    pub type_place: usize,
    /// Where the children are described; `None` for a primitive or a resource.
    pub node: Option<NodeId>,
}

/// What can stand inside a type or a backbone element.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// The resource type or datatype that describes it.
    pub type_name: &'static str,
    /// Path below that type; empty for the type itself.
    pub path: &'static str,
    pub elements: Vec<Element>,
    pub properties: Vec<Property>,
    by_json: HashMap<String, usize>,
    by_name: HashMap<&'static str, Vec<usize>>,
}

impl Node {
    /// The property with this JSON name.
    pub fn property(&self, json: &str) -> Option<&Property> {
        self.by_json.get(json).map(|place| &self.properties[*place])
    }

    /// The properties of the element called `name`: several for a choice.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.by_name.get(name).into_iter().flatten().map(|place| &self.properties[*place])
    }
}

/// The element trees of all types.
#[derive(Debug)]
pub(crate) struct Schema {
    nodes: Vec<Node>,
    roots: HashMap<&'static str, NodeId>,
}

impl Schema {
    pub fn build(types: &HashMap<&'static str, TypeDefinition>) -> Self {
        let mut places: HashMap<(&str, &str), NodeId> = HashMap::new();
        let mut parents: Vec<(&TypeDefinition, &'static str)> = Vec::new();
        let mut structured: Vec<&TypeDefinition> =
            types.values().filter(|kind| kind.kind != TypeKind::Primitive).collect();
        structured.sort_by_key(|kind| kind.name);
        for kind in structured {
            let inner = kind.elements.iter().filter(|element| has_children(element));
            for path in std::iter::once("").chain(inner.map(|element| element.path)) {
                places.insert((kind.name, path), parents.len() as NodeId);
                parents.push((kind, path));
            }
        }
        let nodes = parents.iter().map(|(kind, path)| node(kind, path, types, &places)).collect();
        let roots = places
            .iter()
            .filter(|((_, path), _)| path.is_empty())
            .map(|((name, _), id)| (types.get(name).map_or("", |kind| kind.name), *id));
        Self { roots: roots.collect(), nodes }
    }

    /// The root of a resource type or datatype.
    pub fn root(&self, type_name: &str) -> Option<NodeId> {
        self.roots.get(type_name).copied()
    }

    /// Every node, each at the place of its id.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }
}

/// Whether the element's own children stand in the same definition.
fn has_children(element: &Element) -> bool {
    element.types.iter().any(|kind| matches!(kind.code, "BackboneElement" | "Element"))
}

fn node(
    kind: &TypeDefinition,
    path: &'static str,
    types: &HashMap<&'static str, TypeDefinition>,
    places: &HashMap<(&str, &str), NodeId>,
) -> Node {
    let mut node = Node { type_name: kind.name, path, ..Node::default() };
    let is_child = |element: &&Element| match element.path.strip_prefix(path) {
        Some(rest) if path.is_empty() => !rest.contains('.'),
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| !rest.contains('.')),
        None => false,
    };
    for element in kind.elements.iter().filter(is_child) {
        let place = node.elements.len();
        let mut add = |json: String, type_code, type_place, child| {
            if node.by_json.contains_key(&json) {
                return;
            }
            node.by_json.insert(json.clone(), node.properties.len());
            node.by_name.entry(element.name()).or_default().push(node.properties.len());
            node.properties.push(Property {
                sibling: format!("_{json}"),
                json,
                element: place,
                type_code,
                type_place,
                node: child,
            });
        };
        if !element.content_reference.is_empty() {
            let (owner, shared) =
                element.content_reference.split_once('.').unwrap_or((kind.name, ""));
            let child = places.get(&(owner, shared)).copied();
            add(element.name().to_owned(), "BackboneElement", 0, child);
        }
        for (type_place, element_type) in element.types.iter().enumerate() {
            let code = element_type.code;
            let child = match types.get(code).map(|kind| kind.kind) {
                _ if has_children(element) => places.get(&(kind.name, element.path)).copied(),
                Some(TypeKind::Complex) => places.get(&(code, "")).copied(),
                _ => None,
            };
            let json = if element.is_choice() {
                format!("{}{}", element.name(), capitalised(code))
            } else {
                element.name().to_owned()
            };
            add(json, code, type_place, child);
        }
        node.elements.push(element.clone());
    }
    node
}

fn capitalised(code: &str) -> String {
    let mut letters = code.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
