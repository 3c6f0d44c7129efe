//! FHIR R4 documents, definitions, search parameters, FHIRPath, validation and OperationOutcome; pure.
