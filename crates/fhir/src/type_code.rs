//! Stable numbers of the resource types, for keys and rows.
//!
//! `data/type-codes.txt` lists them, one a line; the number is the line's.
//! Append-only: a changed line would make stored keys mean something else.

use std::collections::HashMap;
use std::sync::OnceLock;

const LIST: &str = include_str!("../data/type-codes.txt");

fn names() -> &'static Vec<&'static str> {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| LIST.lines().collect())
}

/// The number of a resource type, from 1; `None` when there is no such type.
pub fn type_code(name: &str) -> Option<u16> {
    static CODES: OnceLock<HashMap<&'static str, u16>> = OnceLock::new();
    CODES.get_or_init(|| names().iter().copied().zip(1..).collect()).get(name).copied()
}

/// The resource type with this [`type_code`].
pub fn type_name(code: u16) -> Option<&'static str> {
    names().get(usize::from(code).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_type_has_a_number_of_its_own() {
        for name in crate::definitions().resource_types() {
            let code = type_code(name).expect("has a number");
            assert_eq!(type_name(code), Some(*name));
        }
        assert_eq!(type_name(0), None);
        assert_eq!(type_code("Resource"), None);
    }

    #[test]
    fn numbers_given_once_stay() {
        for (name, code) in [("Account", 1), ("Observation", 96), ("Patient", 103)] {
            assert_eq!((type_code(name), type_name(code)), (Some(code), Some(name)));
        }
    }
}
