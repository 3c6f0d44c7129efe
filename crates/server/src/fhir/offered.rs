//! What the FHIR API offers. Metadata and the OpenAPI document are made from this
//! table, and a test calls everything that it names: whoever adds an interaction or
//! an operation adds its line here.

use holdfast_exchange::READ_ONLY_TYPES;
use holdfast_fhir::{Offered, Operation, Types};

/// The table.
pub(crate) const OFFERED: Offered = Offered {
    interactions: &["read", "vread", "search-type", "create", "update"],
    system_interactions: &["transaction", "batch"],
    types: Types::All,
    read_only_types: READ_ONLY_TYPES,
    read_history: true,
    update_create: true,
    conditional_create: true,
    conditional_read: "not-match",
    conditional_update: false,
    conditional_delete: "not-supported",
    include: false,
    reverse_include: false,
    system_parameters: &[],
    compartments: &[],
    formats: &["application/fhir+json", "application/fhir+xml", "json", "xml"],
    patch_formats: &[],
    operations: OPERATIONS,
    instantiates: &[],
    guides: &[],
};

/// The operations, by name.
const OPERATIONS: &[Operation] = &[
    Operation {
        name: "everything",
        definition: "http://hl7.org/fhir/OperationDefinition/Patient-everything",
        system: false,
        types: Types::These(&["Patient"]),
        instances: Types::These(&["Patient"]),
        by_get: true,
    },
    Operation {
        name: "everything",
        definition: "http://hl7.org/fhir/OperationDefinition/Encounter-everything",
        system: false,
        types: Types::None,
        instances: Types::These(&["Encounter"]),
        by_get: true,
    },
];
