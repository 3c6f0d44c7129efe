//! The doors: FHIR API, MLLP, sign-in, operator API and console.
