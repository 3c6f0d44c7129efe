//! The FHIR API.

pub(crate) mod answer;
