//! What the FHIR API offers. Metadata and the OpenAPI document are made from this
//! table, and a test calls everything that it names: whoever adds an interaction or
//! an operation adds its line here.

use holdfast_exchange::READ_ONLY_TYPES;
use holdfast_fhir::{Offered, Operation, Types};

/// The table.
pub(crate) const OFFERED: Offered = Offered {
    interactions: &["read", "vread", "search-type", "create", "update"],
    system_interactions: &["transaction", "batch", "search-system"],
    types: Types::All,
    read_only_types: READ_ONLY_TYPES,
    read_history: true,
    update_create: true,
    conditional_create: true,
    conditional_read: "not-match",
    conditional_update: false,
    conditional_delete: "not-supported",
    include: true,
    reverse_include: true,
    system_parameters: &["_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"],
    compartments: &[
        "http://hl7.org/fhir/CompartmentDefinition/patient",
        "http://hl7.org/fhir/CompartmentDefinition/encounter",
        "http://hl7.org/fhir/CompartmentDefinition/relatedPerson",
        "http://hl7.org/fhir/CompartmentDefinition/practitioner",
        "http://hl7.org/fhir/CompartmentDefinition/device",
    ],
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
    Operation {
        name: "meta",
        definition: "http://hl7.org/fhir/OperationDefinition/Resource-meta",
        system: false,
        types: Types::None,
        instances: Types::All,
        by_get: true,
    },
    Operation {
        name: "meta-add",
        definition: "http://hl7.org/fhir/OperationDefinition/Resource-meta-add",
        system: false,
        types: Types::None,
        instances: Types::All,
        by_get: false,
    },
    Operation {
        name: "meta-delete",
        definition: "http://hl7.org/fhir/OperationDefinition/Resource-meta-delete",
        system: false,
        types: Types::None,
        instances: Types::All,
        by_get: false,
    },
    Operation {
        name: "diff",
        definition: "urn:holdfast:operation:diff",
        system: true,
        types: Types::None,
        instances: Types::All,
        by_get: true,
    },
    Operation {
        name: "lastn",
        definition: "http://hl7.org/fhir/OperationDefinition/Observation-lastn",
        system: false,
        types: Types::These(&["Observation"]),
        instances: Types::None,
        by_get: true,
    },
    Operation {
        name: "docref",
        definition: "http://hl7.org/fhir/us/core/OperationDefinition/docref",
        system: false,
        types: Types::These(&["DocumentReference"]),
        instances: Types::None,
        by_get: true,
    },
    Operation {
        name: "document",
        definition: "http://hl7.org/fhir/OperationDefinition/Composition-document",
        system: false,
        types: Types::None,
        instances: Types::These(&["Composition"]),
        by_get: true,
    },
    Operation {
        name: "match",
        definition: "http://hl7.org/fhir/OperationDefinition/Patient-match",
        system: false,
        types: Types::These(&["Patient"]),
        instances: Types::None,
        by_get: false,
    },
    Operation {
        name: "process-message",
        definition: "http://hl7.org/fhir/OperationDefinition/MessageHeader-process-message",
        system: true,
        types: Types::None,
        instances: Types::None,
        by_get: false,
    },
    Operation {
        name: "convert",
        definition: "http://hl7.org/fhir/OperationDefinition/Resource-convert",
        system: true,
        types: Types::None,
        instances: Types::None,
        by_get: false,
    },
    Operation {
        name: "versions",
        definition: "http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions",
        system: true,
        types: Types::None,
        instances: Types::None,
        by_get: true,
    },
];
