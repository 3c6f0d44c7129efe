//! FHIR R4 (4.0.1) documents, driven by the published definitions: reading,
//! validation, FHIRPath, search, compartments, element classes, bundles.
//!
//! Resources stay `serde_json::Value` with their property order and exact
//! decimals; there is no generated model.
//!
//! Invariants: pure (no I/O, no clock); no input panics; no issue, error or
//! `Debug` output holds a value from a record.
#![forbid(unsafe_code)]

pub mod bundle;
mod bundle_rules;
mod capability;
mod class;
mod compartment;
mod definitions;
pub mod fhirpath;
mod government;
mod invariant;
mod narrative;
mod openapi;
pub mod operations;
mod outcome;
mod parse;
pub mod patch;
mod patient_view;
mod primitive;
pub mod profile;
mod reference;
mod residence;
mod schema;
pub mod search;
mod tables;
pub mod terminology;
mod type_code;
pub mod ucum;
mod validate;
pub mod xml;

pub use capability::{
    Instance, Offered, Operation, StatedParameter, Types, capability_statement,
    supported_parameters,
};
pub use class::class_of;
pub use compartment::{compartment_patient, compartment_types};
pub use definitions::{
    Definitions, Element, ElementType, ParameterKind, SearchParameter, TypeDefinition, TypeKind,
    ValueSet, definitions,
};
pub use government::{
    is_government_id, join_government_ids, split_government_ids, unmask_government_ids,
};
pub use openapi::openapi;
pub use outcome::{Issue, Severity, operation_outcome};
pub use parse::{Limits, parse_resource};
pub use patient_view::{Name, PatientIdentifier, PatientView, PostalAddress, Telecom};
pub use reference::{
    LiteralReference, is_id, parse_reference, reference_type, references, rewrite_references,
};
pub use residence::residence;
pub use type_code::{type_code, type_name};
pub use validate::validate;

/// The README, whose example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
