//! What is so, kept aside: nothing of it is shown to the thief.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its type.
    pub kind: String,
    /// Its code, when it is a condition or an observation.
    pub code: Option<String>,
}

/// Who a patient is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patient {
    /// `female` or `male`.
    pub sex: String,
    /// Year of birth.
    pub birth_year: u16,
    /// Family name.
    pub family: String,
    /// First given name.
    pub given: String,
    /// Whether a diagnosis is one that people would mind most of all.
    pub sensitive: bool,
}

/// The truth about a store, by id tokens, which are part of the rows' keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Truth {
    /// By the id token of the resource, in hex.
    pub resources: HashMap<String, Resource>,
    /// By the id token of the Patient resource, in hex.
    pub patients: HashMap<String, Patient>,
}

/// A token as the truth names it.
pub fn name(token: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(token)
}
