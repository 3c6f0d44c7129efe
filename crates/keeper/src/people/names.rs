//! Names that no principal may have (P6).

/// Names under which nobody in particular signs in. `tester` opened the breach
/// of 2015.
const SHARED: [&str; 22] = [
    "admin",
    "administrator",
    "clinic",
    "default",
    "demo",
    "dev",
    "doctor",
    "frontdesk",
    "generic",
    "guest",
    "hospital",
    "info",
    "lab",
    "nurse",
    "office",
    "reception",
    "root",
    "shared",
    "test",
    "tester",
    "testing",
    "user",
];

/// Whether the name, digits and the part after `@` aside, is one of those that
/// are handed around.
pub(crate) fn is_shared(id: &str) -> bool {
    let name = id.split('@').next().unwrap_or(id);
    let letters: String = name.chars().filter(char::is_ascii_lowercase).collect();
    SHARED.contains(&letters.as_str())
}

/// Whether the name stands for something of the keeper's own in entries.
pub(crate) fn is_reserved(id: &str) -> bool {
    let prefixes = ["organization:", "set-up:", "system:"];
    id == "nobody" || prefixes.iter().any(|prefix| id.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p06_names_that_many_share_are_refused() {
        for shared in ["tester", "test1", "admin", "front-desk@lakeside", "user_2", "guest"] {
            assert!(is_shared(shared), "{shared}");
        }
        for own in ["dr.amara.okafor", "interface:lab", "testa.rossa", "nurse.joy"] {
            assert!(!is_shared(own) && !is_reserved(own), "{own}");
        }
        assert!(is_reserved("system:exchange") && is_reserved("organization:lakeside"));
    }
}
