//! Bringing spellings together before they become tokens.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Lower case, without accents; letters and digits are kept, everything else
/// becomes one space.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => out.push_str("ss"),
            'æ' => out.push_str("ae"),
            'ø' => out.push('o'),
            'ł' => out.push('l'),
            '\'' | '’' | '`' | '.' => {}
            c if c.is_alphanumeric() => out.push(c),
            _ if out.ends_with(' ') || out.is_empty() => {}
            _ => out.push(' '),
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// The digits of a text.
pub(crate) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// How a name sounds: a key that joins common misspellings. Consonants by
/// group, vowels dropped after the first sound, doubles joined.
pub(crate) fn sound(name: &str) -> String {
    let joined = name.replace(' ', "");
    let mut text = joined.as_str();
    for (prefix, rest) in [("kn", "n"), ("gn", "n"), ("wr", "r"), ("ps", "s"), ("pf", "f")] {
        if text.starts_with(prefix) {
            text = &text[prefix.len() - rest.len()..];
        }
    }
    let replaced = text
        .replace("sch", "s")
        .replace("tch", "c")
        .replace("ph", "f")
        .replace("gh", "")
        .replace("ck", "k")
        .replace("sh", "s")
        .replace("th", "t")
        .replace("dg", "j")
        .replace("ce", "se")
        .replace("ci", "si")
        .replace("cy", "sy");
    let mut out = String::new();
    for (place, c) in replaced.chars().enumerate() {
        let sound = match c {
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' if place == 0 => 'a',
            'a' | 'e' | 'i' | 'o' | 'u' | 'y' | 'h' | 'w' => continue,
            'c' | 'k' | 'q' | 'x' => 'k',
            's' | 'z' => 's',
            'd' | 't' => 't',
            'b' | 'p' => 'p',
            'f' | 'v' => 'f',
            'g' | 'j' => 'j',
            'm' | 'n' => 'n',
            other => other,
        };
        if !out.ends_with(sound) {
            out.push(sound);
        }
    }
    if out.is_empty() { joined } else { out }
}

/// A street without the words that are abbreviated in every way. USPS
/// Publication 28, appendix C lists them; the kind and the direction of a
/// street are left out rather than unified, as senders drop them.
pub(crate) fn street(text: &str) -> String {
    const DROPPED: &[&str] = &[
        "street",
        "st",
        "str",
        "avenue",
        "ave",
        "av",
        "road",
        "rd",
        "drive",
        "dr",
        "lane",
        "ln",
        "boulevard",
        "blvd",
        "court",
        "ct",
        "circle",
        "cir",
        "place",
        "pl",
        "terrace",
        "ter",
        "parkway",
        "pkwy",
        "highway",
        "hwy",
        "way",
        "trail",
        "trl",
        "square",
        "sq",
        "north",
        "n",
        "south",
        "s",
        "east",
        "e",
        "west",
        "w",
        "ne",
        "nw",
        "se",
        "sw",
        "northeast",
        "northwest",
        "southeast",
        "southwest",
        "loop",
        "plaza",
        "close",
        "crescent",
        "cres",
        "the",
    ];
    let words = plain(text);
    let kept: Vec<_> = words.split(' ').filter(|word| !DROPPED.contains(word)).collect();
    if kept.is_empty() { words } else { kept.join(" ") }
}

/// Nine digits, unless they are a placeholder. Numbers that were never issued
/// (areas 9xx among them) are kept: samples and some payers use them.
pub(crate) fn ssn(digits: &str) -> Option<&str> {
    let bytes = digits.as_bytes();
    let placeholder = bytes.windows(2).all(|pair| pair[0] == pair[1])
        || ["123456789", "987654321", "078051120", "012345678", "123123123"].contains(&digits)
        || digits.starts_with("000")
        || digits.ends_with("0000")
        || digits.get(3..5) == Some("00");
    (bytes.len() == 9 && !placeholder).then_some(digits)
}

/// Ten digits of a telephone number, unless they are a placeholder.
pub(crate) fn phone(text: &str) -> Option<String> {
    let all = digits(text);
    let number = match all.len() {
        11 if all.starts_with('1') => &all[1..],
        7..=15 => &all,
        _ => return None,
    };
    let tail = &number.as_bytes()[number.len() - 7..];
    let placeholder = tail.windows(2).all(|pair| pair[0] == pair[1]);
    (!placeholder).then(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_come_together() {
        assert_eq!(plain("  Muñoz-O’Brien, Jr. "), "munoz obrien jr");
        for (a, b) in [
            ("catherine", "katherine"),
            ("smith", "smyth"),
            ("philip", "filip"),
            ("knight", "nite"),
            ("stephen", "steven"),
            ("schneider", "snyder"),
            ("geoffrey", "jeffrey"),
            ("wright", "rite"),
        ] {
            assert_eq!(sound(a), sound(b), "{a} {b}");
        }
        assert_ne!(sound("miller"), sound("walker"));
        assert_eq!(street("N. Main Street"), street("main st"));
        assert_eq!(street("The Avenue"), "the avenue");
    }

    #[test]
    fn placeholders_are_nobodys() {
        for none in ["999999999", "000000000", "123456789", "111111111", "123450000", "12345678"] {
            assert_eq!(ssn(none), None, "{none}");
        }
        assert_eq!(ssn("912345678"), Some("912345678"));
        assert_eq!(phone("+1 (260) 555-0123").as_deref(), Some("2605550123"));
        assert_eq!(phone("000-000-0000"), None);
        assert_eq!(phone("x12"), None);
    }

    #[test]
    fn any_text_has_a_form() {
        for text in ["", " ", "李", "🙂", "ŁÓDŹ", "'", "ghghgh", "knkn", "aeiou"] {
            let form = plain(text);
            let _ = (sound(&form), street(text), phone(text), digits(text));
            assert_eq!(plain(&form), form, "{text:?}");
        }
    }
}
