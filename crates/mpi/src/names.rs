//! Nicknames and common names, from the tables in `data/`.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

struct Tables {
    roots: HashMap<&'static str, Vec<&'static str>>,
    common_family: HashSet<&'static str>,
    common_given: HashSet<&'static str>,
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut roots = HashMap::<_, Vec<_>>::new();
        for line in lines(include_str!("../data/nicknames.txt")) {
            let root = line.split(' ').next().unwrap_or_default();
            for name in line.split(' ') {
                roots.entry(name).or_default().push(root);
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

/// The names that `name` may be short for; itself when it is none.
pub(crate) fn roots(name: &str) -> Vec<&str> {
    tables().roots.get(name).cloned().unwrap_or_else(|| vec![name])
}

/// Words that stand where a given name should, and name nobody.
const NO_NAMES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "dr",
    "man",
    "woman",
    "male",
    "female",
    "baby",
    "babyboy",
    "babygirl",
    "boy",
    "girl",
    "son",
    "daughter",
    "child",
    "infant",
    "newborn",
    "twin",
    "unknown",
    "unk",
    "none",
    "nfn",
    "nmn",
    "patient",
    "person",
    "respondent",
    "gentleman",
    "lady",
    "mom",
    "mother",
    "dad",
    "father",
    "oldest",
    "youngest",
    "grandchild",
    "doe",
    "test",
];

/// Whether a given name says only that the name is not known.
pub(crate) fn is_no_name(name: &str) -> bool {
    NO_NAMES.contains(&name)
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
            assert!(roots(nick).contains(&full), "{nick}");
        }
        assert_eq!(roots("zebulon"), ["zebulon"]);
        assert_eq!(roots("millie"), ["emily", "mildred"]);
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
