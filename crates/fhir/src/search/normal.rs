//! Text as searches compare it.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Letters that people type without their stroke or as two, and that Unicode
/// does not take apart.
const BASE_LETTERS: [(char, &str); 11] = [
    ('ø', "o"),
    ('ł', "l"),
    ('đ', "d"),
    ('ð', "d"),
    ('ħ', "h"),
    ('ŧ', "t"),
    ('ı', "i"),
    ('ß', "ss"),
    ('æ', "ae"),
    ('œ', "oe"),
    ('þ', "th"),
];

/// `text` without case, accents and other combining marks, and with single
/// spaces: what string search compares (search.html#string).
pub fn normalise(text: &str) -> String {
    let lower = text.nfkd().flat_map(char::to_lowercase);
    let mut plain = String::with_capacity(text.len());
    for c in lower.nfkd().filter(|c| !is_combining_mark(*c)) {
        match BASE_LETTERS.iter().find(|(letter, _)| *letter == c) {
            Some((_, base)) => plain.push_str(base),
            None => plain.push(c),
        }
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_spaces_do_not_matter() {
        for (a, b) in [
            ("Müller", "MULLER"),
            ("  José  María ", "jose maria"),
            ("İ", "i"),
            ("Ångström", "angstrom"),
            ("Østergård", "ostergard"),
            ("Łukasz Weiß", "lukasz weiss"),
        ] {
            assert_eq!(normalise(a), normalise(b));
        }
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,40}") {
            let once = normalise(&text);
            proptest::prop_assert_eq!(normalise(&once), once);
        }
    }
}
