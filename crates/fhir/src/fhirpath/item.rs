//! What expressions work on: places in a document with their types, and values.

use std::borrow::Cow;

use serde_json::Value;

use super::number::Number;
use super::quantity::Quantity;
use super::temporal::{Temporal, TemporalKind};
use crate::definitions;
use crate::schema::{self, NodeId, Property};

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

/// What an expression works on and gives.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// A part of the document.
    Node(Node<'a>),
    /// `System.Boolean`
    Boolean(bool),
    /// `System.Integer`
    Integer(i64),
    /// `System.Decimal`
    Decimal(Number),
    /// `System.String`
    Text(Cow<'a, str>),
    /// `System.Date`, `System.DateTime` or `System.Time`
    Temporal(Temporal),
    /// `System.Quantity`
    Quantity(Box<Quantity<'a>>),
    /// What `type()` gives.
    Type {
        /// `System` or `FHIR`.
        namespace: &'static str,
        /// Name of the type.
        name: &'static str,
    },
    /// What a reference points to, when only its type is known.
    Resolved(&'a str),
}

impl<'a> Node<'a> {
    /// The root of `resource`; `None` when its type is not known.
    pub fn resource(resource: &'a Value) -> Option<Self> {
        let name = resource.get("resourceType")?.as_str()?;
        let kind = definitions().type_definition(name)?;
        let schema = definitions().schema().root(kind.name);
        Some(Self { value: resource, sibling: None, type_code: kind.name, value_set: "", schema })
    }

    /// A value of a datatype; `None` when there is no such type.
    pub fn of_type(value: &'a Value, type_code: &str) -> Option<Self> {
        let kind = definitions().type_definition(type_code)?;
        let schema = definitions().schema().root(kind.name);
        Some(Self { value, sibling: None, type_code: kind.name, value_set: "", schema })
    }

    /// A place that something else than an expression has found.
    pub(crate) fn at(
        value: &'a Value,
        sibling: Option<&'a Value>,
        type_code: &'static str,
        value_set: &'static str,
        schema: Option<NodeId>,
    ) -> Self {
        Self { value, sibling, type_code, value_set, schema }
    }

    /// A value where the schema knows the place.
    pub(crate) fn of_property(
        value: &'a Value,
        sibling: Option<&'a Value>,
        parent: &schema::Node,
        property: &Property,
    ) -> Option<Self> {
        if property.type_code == "Resource" {
            return Node::resource(value);
        }
        let value_set =
            parent.elements.get(property.element).map_or("", |element| element.value_set);
        let (type_code, schema) = (property.type_code, property.node);
        Some(Self { value, sibling, type_code, value_set, schema })
    }

    /// Where its children are described.
    pub(crate) fn schema_id(&self) -> Option<NodeId> {
        self.schema
    }

    fn schema(&self) -> Option<&'static schema::Node> {
        self.schema.map(|id| definitions().schema().node(id))
    }

    /// Whether it is a value without elements of its own.
    pub fn is_primitive(&self) -> bool {
        self.schema.is_none()
    }

    /// The children called `name`: list items one by one, a choice by its base name.
    pub fn children(&self, name: &str) -> Vec<Node<'a>> {
        let mut found = Vec::new();
        self.each_child(name, &mut |child| found.push(child));
        found
    }

    /// Calls `visit` with each child called `name`; `false` when the type has no
    /// such element.
    pub(super) fn each_child(&self, name: &str, visit: &mut dyn FnMut(Node<'a>)) -> bool {
        let Some(schema) = self.schema() else {
            return self.each_child_of_primitive(name, visit);
        };
        let mut is_known = false;
        for property in schema.named(name) {
            is_known = true;
            let value = self.value.get(property.json.as_str());
            let is_primitive = property.node.is_none() && property.type_code != "Resource";
            let sibling =
                if is_primitive { self.value.get(property.sibling.as_str()) } else { None };
            each_value(value, sibling, &mut |value, sibling| {
                Node::of_property(value, sibling, schema, property)
                    .into_iter()
                    .for_each(&mut *visit);
            });
        }
        is_known
    }

    fn each_child_of_primitive(&self, name: &str, visit: &mut dyn FnMut(Node<'a>)) -> bool {
        let Some(sibling) = self.sibling.filter(|_| matches!(name, "id" | "extension")) else {
            return matches!(name, "id" | "extension" | "value");
        };
        match (name, sibling.get(name)) {
            ("id", Some(value)) => Node::of_type(value, "string").into_iter().for_each(visit),
            (_, Some(Value::Array(list))) => {
                list.iter().filter_map(|value| Node::of_type(value, "Extension")).for_each(visit);
            }
            _ => {}
        }
        true
    }

    /// Calls `visit` with every child, in the order of the document.
    pub(super) fn each_of_all(&self, visit: &mut dyn FnMut(Node<'a>)) {
        let Some(schema) = self.schema() else {
            self.each_child_of_primitive("id", visit);
            self.each_child_of_primitive("extension", visit);
            return;
        };
        let Some(object) = self.value.as_object() else { return };
        for key in object.keys() {
            let plain = key.strip_prefix('_').unwrap_or(key);
            if plain.len() < key.len() && object.contains_key(plain) {
                continue;
            }
            let Some(property) = schema.property(plain) else { continue };
            let is_primitive = property.node.is_none() && property.type_code != "Resource";
            let sibling = if is_primitive { object.get(property.sibling.as_str()) } else { None };
            each_value(object.get(plain), sibling, &mut |value, sibling| {
                Node::of_property(value, sibling, schema, property)
                    .into_iter()
                    .for_each(&mut *visit);
            });
        }
    }

    /// The extensions, of a primitive too.
    pub(super) fn extensions(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let holder = if self.schema.is_some() { Some(self.value) } else { self.sibling };
        let list = holder.and_then(|holder| holder.get("extension")).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|value| Node::of_type(value, "Extension"))
    }

    /// The value of a primitive or a quantity as one of the language; `None` for
    /// other types, and when the value is not what its type says.
    pub fn system(&self) -> Option<Item<'a>> {
        let value = self.value;
        match self.type_code {
            "boolean" => value.as_bool().map(Item::Boolean),
            "integer" | "positiveInt" | "unsignedInt" => value.as_i64().map(Item::Integer),
            "decimal" => match value {
                Value::Number(number) => Number::parse(number.as_str()).map(Item::Decimal),
                _ => None,
            },
            "date" => Some(self.temporal(TemporalKind::Date)?),
            "dateTime" | "instant" => Some(self.temporal(TemporalKind::DateTime)?),
            "time" => Some(self.temporal(TemporalKind::Time)?),
            _ if self.schema.is_none() => {
                value.as_str().map(|text| Item::Text(Cow::Borrowed(text)))
            }
            "Quantity" | "Age" | "Duration" | "Distance" | "Count" | "SimpleQuantity"
            | "MoneyQuantity" => {
                let Some(Value::Number(number)) = value.get("value") else { return None };
                let text = |name: &str| value.get(name).and_then(Value::as_str);
                let code =
                    text("code").filter(|_| text("system") == Some(crate::ucum::UCUM_SYSTEM));
                let unit = Cow::Borrowed(code.or(text("unit")).or(text("code")).unwrap_or("1"));
                let value = Number::parse(number.as_str())?;
                text("comparator")
                    .is_none()
                    .then(|| Item::Quantity(Box::new(Quantity { value, unit })))
            }
            _ => None,
        }
    }

    /// A malformed date is left as the text that it is.
    fn temporal(&self, kind: TemporalKind) -> Option<Item<'a>> {
        let text = self.value.as_str()?;
        Some(Temporal::parse(kind, text).map_or(Item::Text(Cow::Borrowed(text)), Item::Temporal))
    }
}

/// Calls `visit` with each value of a property and what stands beside it.
fn each_value<'a>(
    value: Option<&'a Value>,
    sibling: Option<&'a Value>,
    visit: &mut dyn FnMut(&'a Value, Option<&'a Value>),
) {
    let mut one = |value: Option<&'a Value>, sibling: Option<&'a Value>| {
        let sibling = sibling.filter(|extra| extra.is_object());
        match value {
            None | Some(Value::Null) if sibling.is_none() => {}
            value => visit(value.unwrap_or(&Value::Null), sibling),
        }
    };
    match (value, sibling) {
        (None, None) => {}
        (Some(Value::Array(values)), None) => {
            values.iter().for_each(|value| one(Some(value), None))
        }
        (value, sibling) if is_list(value) || is_list(sibling) => {
            let length = |list: Option<&Value>| list.and_then(Value::as_array).map_or(0, Vec::len);
            let at = |list: Option<&'a Value>, place: usize| list.and_then(|list| list.get(place));
            for place in 0..length(value).max(length(sibling)) {
                one(at(value, place), at(sibling, place));
            }
        }
        (value, sibling) => one(value, sibling),
    }
}

fn is_list(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_array)
}

impl<'a> Item<'a> {
    /// The item as JSON; what a reference points to is null.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Node(node) => node.value.clone(),
            Self::Boolean(value) => Value::Bool(*value),
            Self::Integer(value) => Value::from(*value),
            Self::Decimal(number) => {
                serde_json::from_str(&number.to_string()).unwrap_or(Value::Null)
            }
            Self::Text(text) => Value::String(text.clone().into_owned()),
            Self::Temporal(at) => Value::String(at.to_string()),
            Self::Quantity(quantity) => Value::String(quantity.to_string()),
            Self::Type { namespace, name } => Value::String(format!("{namespace}.{name}")),
            Self::Resolved(_) => Value::Null,
        }
    }

    /// The type: its namespace and name.
    pub fn type_of(&self) -> (&'static str, &'static str) {
        match self {
            Self::Node(node) => ("FHIR", node.type_code),
            Self::Boolean(_) => ("System", "Boolean"),
            Self::Integer(_) => ("System", "Integer"),
            Self::Decimal(_) => ("System", "Decimal"),
            Self::Text(_) => ("System", "String"),
            Self::Temporal(at) => match at.kind() {
                TemporalKind::Date => ("System", "Date"),
                TemporalKind::DateTime => ("System", "DateTime"),
                TemporalKind::Time => ("System", "Time"),
            },
            Self::Quantity(_) => ("System", "Quantity"),
            Self::Type { .. } => ("System", "TypeInfo"),
            Self::Resolved(kind) => {
                ("FHIR", definitions().type_definition(kind).map_or("Resource", |kind| kind.name))
            }
        }
    }

    /// As a value of the language where it stands for one, otherwise as it is.
    pub fn system(&self) -> Self {
        match self {
            Self::Node(node) => node.system().unwrap_or_else(|| self.clone()),
            other => other.clone(),
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Node(node) => match node.system() {
                // A date of the document keeps the form in which it is written.
                Some(Item::Text(_)) => node.value.as_str().map(Cow::Borrowed),
                _ => None,
            },
            _ => None,
        }
    }
}
