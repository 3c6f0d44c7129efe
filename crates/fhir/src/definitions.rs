//! The FHIR R4 (4.0.1) definitions, decoded once from the tables in `data/`
//! that `cargo xtask fhir-defs` makes. Everything borrowed from here lives as
//! long as the program.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::OnceLock;

use crate::schema::Schema;
use crate::tables::{self, SearchRow};

/// Kind of a search parameter (FHIR R4 search.html#ptypes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ParameterKind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

impl ParameterKind {
    /// The code of value set `search-param-type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::String => "string",
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Composite => "composite",
            Self::Quantity => "quantity",
            Self::Uri => "uri",
            Self::Special => "special",
        }
    }

    fn from_code(code: &str) -> Self {
        let kinds = [
            Self::Number,
            Self::Date,
            Self::String,
            Self::Token,
            Self::Reference,
            Self::Composite,
            Self::Quantity,
            Self::Uri,
        ];
        kinds.into_iter().find(|kind| kind.as_str() == code).unwrap_or(Self::Special)
    }
}

/// One search parameter of one resource type.
#[derive(Debug, Clone)]
pub struct SearchParameter {
    /// Identifier of the definition; its canonical URL ends in it.
    pub id: &'static str,
    /// The name in a query.
    pub name: &'static str,
    /// How its values are compared.
    pub kind: ParameterKind,
    /// FHIRPath that finds the values; empty when the definition gives none.
    pub expression: &'static str,
    /// Resource types that a reference may point to; empty when not a reference.
    pub targets: Vec<&'static str>,
    /// `normal`, `phonetic` or `nearby`.
    pub usage: &'static str,
}

impl SearchParameter {
    /// The canonical URL of the definition.
    pub fn url(&self) -> String {
        format!("http://hl7.org/fhir/SearchParameter/{}", self.id)
    }
}

/// The codes of a required binding, by code system.
#[derive(Debug, Clone, Default)]
pub struct ValueSet {
    /// Code system URL and its codes.
    pub systems: Vec<(&'static str, Vec<&'static str>)>,
}

impl ValueSet {
    /// Whether `code` is in the set, in whatever system.
    pub fn has_code(&self, code: &str) -> bool {
        self.system_of(code).is_some()
    }

    /// Whether `code` of `system` is in the set.
    pub fn has(&self, system: &str, code: &str) -> bool {
        self.systems.iter().any(|(known, codes)| *known == system && codes.contains(&code))
    }

    /// The system that `code` belongs to.
    pub fn system_of(&self, code: &str) -> Option<&'static str> {
        self.systems.iter().find(|(_, codes)| codes.contains(&code)).map(|(system, _)| *system)
    }
}

/// One type that an element may have.
#[derive(Debug, Clone)]
pub struct ElementType {
    /// Type code such as `CodeableConcept` or `dateTime`.
    pub code: &'static str,
    /// What a Reference or canonical may point to; `Resource` means anything.
    pub targets: Vec<&'static str>,
}

/// One element of a type, as its StructureDefinition snapshot says.
#[derive(Debug, Clone)]
pub struct Element {
    /// Path below the type: `component.code`, `effective[x]`.
    pub path: &'static str,
    /// How many there must be.
    pub min: u32,
    /// How many there may be; `None` is unbounded.
    pub max: Option<u32>,
    /// The types it may have; more than one for a choice.
    pub types: Vec<ElementType>,
    /// Whether it belongs to the summary view.
    pub is_summary: bool,
    /// Whether it changes the meaning of what it is in.
    pub is_modifier: bool,
    /// Value set of a required binding; empty when there is none.
    pub value_set: &'static str,
    /// Path (`Bundle.link`) of the element whose definition it shares; empty when it has its own.
    pub content_reference: &'static str,
}

impl Element {
    /// The last step of the path, without `[x]`.
    pub fn name(&self) -> &'static str {
        let last = self.path.rsplit('.').next().unwrap_or(self.path);
        last.strip_suffix("[x]").unwrap_or(last)
    }

    /// Whether the JSON property carries the type in its name.
    pub fn is_choice(&self) -> bool {
        self.path.ends_with("[x]")
    }

    /// Whether JSON has it as an array.
    pub fn is_list(&self) -> bool {
        self.max != Some(1)
    }
}

/// What a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// A resource, abstract ones included.
    Resource,
    /// A datatype with elements.
    Complex,
    /// A primitive: a JSON value.
    Primitive,
}

/// A resource type or datatype.
#[derive(Debug, Clone)]
pub struct TypeDefinition {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: TypeKind,
    /// The type it specialises; empty for `Element` and `Resource`.
    pub base: &'static str,
    /// Its elements in the order of the definition, inherited ones included.
    pub elements: Vec<Element>,
}

/// The definitions of FHIR R4.
#[derive(Debug)]
pub struct Definitions {
    types: HashMap<&'static str, TypeDefinition>,
    resource_types: Vec<&'static str>,
    search: HashMap<&'static str, Vec<SearchParameter>>,
    search_rows: Vec<SearchRow>,
    parameter_names: HashSet<&'static str>,
    value_sets: HashMap<&'static str, ValueSet>,
    compartment: HashMap<&'static str, Vec<&'static str>>,
    schema: Schema,
}

/// The definitions, decoded at the first call.
pub fn definitions() -> &'static Definitions {
    static DEFINITIONS: OnceLock<Definitions> = OnceLock::new();
    DEFINITIONS.get_or_init(Definitions::decode)
}

impl Definitions {
    fn decode() -> Self {
        let types = tables::types(unpack(include_bytes!("../data/elements.tsv.gz")));
        let search_rows = tables::search_rows(unpack(include_bytes!("../data/search.tsv.gz")));
        let value_sets = tables::value_sets(unpack(include_bytes!("../data/valuesets.tsv.gz")));
        let compartment = tables::compartment(unpack(include_bytes!("../data/compartment.tsv.gz")));
        let mut resource_types: Vec<&'static str> = types
            .values()
            .filter(|kind| kind.kind == TypeKind::Resource)
            .map(|kind| kind.name)
            .filter(|name| !matches!(*name, "Resource" | "DomainResource"))
            .collect();
        resource_types.sort_unstable();
        let search = search_by_type(&resource_types, &types, &search_rows);
        let schema = Schema::build(&types);
        let parameter_names = search_rows.iter().map(|row| row.name).collect();
        Self {
            types,
            resource_types,
            search,
            search_rows,
            parameter_names,
            value_sets,
            compartment,
            schema,
        }
    }

    /// The concrete resource types, in alphabetical order.
    pub fn resource_types(&self) -> &[&'static str] {
        &self.resource_types
    }

    /// Whether `name` is a concrete resource type.
    pub fn is_resource_type(&self, name: &str) -> bool {
        self.resource_types.binary_search(&name).is_ok()
    }

    /// The resource type or datatype called `name`.
    pub fn type_definition(&self, name: &str) -> Option<&TypeDefinition> {
        self.types.get(name)
    }

    /// The elements of a type; empty when there is no such type.
    pub fn elements(&self, type_name: &str) -> &[Element] {
        self.types.get(type_name).map_or(&[], |kind| &kind.elements)
    }

    /// The search parameters of a resource type, those of every resource
    /// included, in alphabetical order.
    pub fn search_parameters(&self, resource_type: &str) -> &[SearchParameter] {
        self.search.get(resource_type).map_or(&[], Vec::as_slice)
    }

    /// The search parameter `name` of a resource type.
    pub fn search_parameter(&self, resource_type: &str, name: &str) -> Option<&SearchParameter> {
        let parameters = self.search_parameters(resource_type);
        let place = parameters.binary_search_by(|parameter| parameter.name.cmp(name)).ok()?;
        parameters.get(place)
    }

    /// The name of a search parameter of whatever type, as it lives in the definitions.
    pub fn parameter_name(&self, name: &str) -> Option<&'static str> {
        self.parameter_names.get(name).copied()
    }

    /// Every search expression of the definitions, with the identifier of its parameter.
    pub fn search_expressions(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.search_rows.iter().map(|row| (row.id, row.expression)).filter(|row| !row.1.is_empty())
    }

    /// The value set of a required binding; `None` when it cannot be listed.
    pub fn value_set(&self, url: &str) -> Option<&ValueSet> {
        self.value_sets.get(url)
    }

    /// The search parameters that place a resource of this type into a
    /// patient's compartment; empty when the type is in none.
    pub fn compartment_parameters(&self, resource_type: &str) -> &[&'static str] {
        self.compartment.get(resource_type).map_or(&[], Vec::as_slice)
    }

    /// Whether `kind` is `ancestor` or specialises it.
    pub fn is_a(&self, kind: &str, ancestor: &str) -> bool {
        let mut name = kind;
        loop {
            if name == ancestor {
                return true;
            }
            match self.types.get(name) {
                Some(definition) if !definition.base.is_empty() => name = definition.base,
                _ => return false,
            }
        }
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }
}

fn search_by_type(
    resource_types: &[&'static str],
    types: &HashMap<&'static str, TypeDefinition>,
    rows: &[SearchRow],
) -> HashMap<&'static str, Vec<SearchParameter>> {
    let mut by_type = HashMap::new();
    for name in resource_types {
        let domain = types.get(name).is_some_and(|kind| kind.base == "DomainResource");
        let applies = |base: &&'static str| {
            base == name || *base == "Resource" || (domain && *base == "DomainResource")
        };
        let mut parameters: Vec<SearchParameter> = rows
            .iter()
            // The specification's own examples of search parameters are no part of the API.
            .filter(|row| !row.id.starts_with("example") && row.bases.iter().any(applies))
            .map(|row| SearchParameter {
                id: row.id,
                name: row.name,
                kind: ParameterKind::from_code(row.kind),
                expression: row.expression,
                targets: row.targets.clone(),
                usage: row.usage,
            })
            .collect();
        parameters.sort_by_key(|parameter| parameter.name);
        parameters.dedup_by_key(|parameter| parameter.name);
        by_type.insert(*name, parameters);
    }
    by_type
}

/// The text of an embedded table; it stays for the life of the program.
pub(crate) fn unpack(packed: &[u8]) -> &'static str {
    let mut text = String::new();
    let read = flate2::read::GzDecoder::new(packed).read_to_string(&mut text);
    read.expect("the embedded definition tables are whole gzip");
    Box::leak(text.into_boxed_str())
}
