//! Escape sequences in text (HL7 v2.8.2 section 2.7).

use std::borrow::Cow;

use super::{Charset, Delimiters};

/// Longest content of an escape sequence that is looked for; hexadecimal data
/// may be longer than the formatting commands, and nothing sane is longer.
const ESCAPE_BYTES_MAX: usize = 512;

/// `raw` with escape sequences replaced. A stray escape character and a sequence
/// that is not known stay as they are: paths and drive letters in free text are
/// more common than locally defined sequences.
pub(super) fn unescape<'a>(
    raw: &'a [u8],
    delimiters: &Delimiters,
    charset: Charset,
) -> Cow<'a, str> {
    let Some(escape) = delimiters.escape.filter(|escape| raw.contains(escape)) else {
        return charset.decode(raw);
    };
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(start) = rest.iter().position(|byte| *byte == escape) {
        let (before, from) = rest.split_at(start);
        text.push_str(&charset.decode(before));
        let body = from.get(1..).unwrap_or_default();
        let end = body.iter().take(ESCAPE_BYTES_MAX).position(|byte| *byte == escape);
        let sequence = end.and_then(|end| Some((body.get(..end)?, body.get(end + 1..)?)));
        match sequence {
            Some((name, after)) if push_meaning(&mut text, name, delimiters, charset) => {
                rest = after;
            }
            _ => {
                text.push_str(&charset.decode(&[escape]));
                rest = body;
            }
        }
    }
    text.push_str(&charset.decode(rest));
    Cow::Owned(text)
}

/// Pushes what the sequence `name` stands for; false when it is not known.
fn push_meaning(text: &mut String, name: &[u8], delimiters: &Delimiters, charset: Charset) -> bool {
    match name {
        b"F" => text.push(char::from(delimiters.field)),
        b"S" => text.push(char::from(delimiters.component)),
        b"T" => text.push(delimiters.subcomponent.map_or('&', char::from)),
        b"R" => text.push(char::from(delimiters.repetition)),
        b"E" => text.push(delimiters.escape.map_or('\\', char::from)),
        b"P" => text.push(delimiters.truncation.map_or('#', char::from)),
        // Highlighting has no plain-text form.
        b"H" | b"N" => {}
        b".br" | b".BR" | b".ce" => text.push('\n'),
        b".fi" | b".nf" => {}
        [b'X', digits @ ..] => match hexadecimal(digits) {
            Some(bytes) => text.push_str(&charset.decode(&bytes)),
            None => return false,
        },
        [b'.', b's', b'p', count @ ..] => match skip_count(count) {
            Some(count) => text.extend(std::iter::repeat_n('\n', count)),
            None => return false,
        },
        [b'.', b's', b'k', count @ ..] => match skip_count(count) {
            Some(count) => text.extend(std::iter::repeat_n(' ', count)),
            None => return false,
        },
        [b'.', b'i' | b't', b'n' | b'i', count @ ..] => return skip_count(count).is_some(),
        _ => return false,
    }
    true
}

/// The number after a formatting command: 1 when absent, at most 99.
fn skip_count(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?.trim().trim_start_matches(['+', '-']);
    if text.is_empty() {
        return Some(1);
    }
    text.parse::<usize>().ok().filter(|count| *count <= 99)
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(nibble(*high)? * 16 + nibble(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: &str) {
        let delimiters = Delimiters::STANDARD;
        assert_eq!(unescape(raw.as_bytes(), &delimiters, Charset::UTF_8), expected);
    }

    #[test]
    fn sequences_stand_for_what_the_standard_says() {
        check(r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f");
        check(r"one\.br\two\.sp2\three", "one\ntwo\n\nthree");
        check(r"\H\Positive\N\", "Positive");
        check(r"caf\XC3A9\ \X0D0A\.", "café \r\n.");
        check(r"\.in+4\text\.sk3\x", "text   x");
    }

    #[test]
    fn what_is_no_sequence_stays_as_it_is() {
        check(r"C:\temp\file", r"C:\temp\file");
        check(r"10 \ 12", r"10 \ 12");
        check(r"ends with \", r"ends with \");
        check(r"\Zlocal\ \XGG\ \X1\", r"\Zlocal\ \XGG\ \X1\");
        check(r"\\F\", r"\|");
    }
}
