//! Nicknames and common names, from the tables in `data/`.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

struct Tables {
    roots: HashMap<&'static str, &'static str>,
    common_family: HashSet<&'static str>,
    common_given: HashSet<&'static str>,
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut roots = HashMap::new();
        for line in lines(include_str!("../data/nicknames.txt")) {
            let mut names = line.split(' ');
            let Some(root) = names.next() else { continue };
            roots.entry(root).or_insert(root);
            for name in names {
                roots.entry(name).or_insert(root);
            }
        }
        let (mut common_family, mut common_given) = (HashSet::new(), HashSet::new());
        let mut into = &mut common_family;
        for line in lines(include_str!("../data/common.txt")) {
            match line {
                "[family]" => into = &mut common_family,
                "[given]" => into = &mut common_given,
                names => into.extend(names.split(' ')),
            }
        }
        Tables { roots, common_family, common_given }
    })
}

/// The name that `name` is short for; itself when it is none.
pub(crate) fn root(name: &str) -> &str {
    tables().roots.get(name).copied().unwrap_or(name)
}

/// Whether many people have this family name.
pub(crate) fn is_common_family(name: &str) -> bool {
    tables().common_family.contains(name)
}

/// Whether many people have this given name.
pub(crate) fn is_common_given(name: &str) -> bool {
    tables().common_given.contains(name)
}

/// The generation that a word of a name stands for.
pub(crate) fn generation(word: &str) -> Option<&'static str> {
    match word {
        "jr" | "junior" => Some("junior"),
        "sr" | "senior" => Some("senior"),
        "ii" | "2nd" => Some("second"),
        "iii" | "3rd" => Some("third"),
        "iv" | "4th" => Some("fourth"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_lead_to_their_root() {
        for (nick, full) in [("bill", "william"), ("peggy", "margaret"), ("bob", "robert")] {
            assert_eq!(root(nick), root(full));
        }
        assert_eq!(root("zebulon"), "zebulon");
        assert!(is_common_family("smith") && !is_common_family("okafor"));
        assert!(is_common_given("mary") && !is_common_given("smith"));
    }

    #[test]
    fn tables_are_plain() {
        for line in lines(include_str!("../data/nicknames.txt")) {
            for name in line.split(' ') {
                assert_eq!(crate::normalise::plain(name), name, "in {line:?}");
                assert!(!name.is_empty(), "two spaces in {line:?}");
            }
        }
    }
}
