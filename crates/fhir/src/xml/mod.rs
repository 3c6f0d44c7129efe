//! Resources as XML (FHIR R4 xml.html), with the same content as their JSON.
//!
//! Values are attributes; `id` of an element and `url` of an extension are, too;
//! narratives are XHTML in their own namespace. Elements are written in the order
//! of the definition and read in any order. Decimals keep every digit.
//!
//! Invariants: pure; no input panics; document type definitions are refused, so no
//! entity can grow and nothing outside is read; no issue holds a value.

mod bounds;
mod read;
mod write;
mod xhtml;

pub use read::from_xml;
pub use write::to_xml;

/// Namespace of FHIR's elements.
pub(crate) const FHIR: &str = "http://hl7.org/fhir";
/// Namespace of narratives.
pub(crate) const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// Where something stands: `id` is an attribute of elements and an element of
/// resources, `url` is an attribute of extensions alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Resource,
    Extension,
    Element,
}

impl Within {
    /// In a datatype or backbone element of this type code.
    fn of_type(type_code: &str) -> Self {
        if type_code == "Extension" { Self::Extension } else { Self::Element }
    }

    /// Whether the property `name` is an attribute here (xml.html#xml).
    fn is_attribute(self, name: &str) -> bool {
        match self {
            Self::Resource => false,
            Self::Extension => matches!(name, "id" | "url"),
            Self::Element => name == "id",
        }
    }
}
