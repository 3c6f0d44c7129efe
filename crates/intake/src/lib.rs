//! HL7 v2 and C-CDA bytes to FHIR resources and issues; pure and tolerant.
