//! Payment card numbers: recognised at the door and masked before anything is
//! kept.
//!
//! Invariants: the payload keeps its length and its structure; a number is
//! masked only if its issuer range, length and check digit all fit; HL7 v2
//! identifier fields (record, visit, order and message numbers) are left alone,
//! as one in ten of their 16-digit values would fit by chance.

use std::borrow::Cow;
use std::ops::Range;

/// Digits of a number that stay readable. PCI DSS 4.0 requirement 3.4.1 allows
/// the last four.
const DIGITS_KEPT: usize = 4;

/// Fewest and most digits of a card number (ISO/IEC 7812-1).
const DIGITS_COUNT: Range<usize> = 13..20;

/// `bytes` with card numbers masked by `X` (by `9` where a JSON number must stay
/// a number), and how many there were. Nothing is copied when there are none.
pub fn mask(bytes: &[u8]) -> (Cow<'_, [u8]>, usize) {
    match bytes {
        [0xFF, 0xFE, ..] => mask_wide(bytes, 0),
        [0xFE, 0xFF, ..] => mask_wide(bytes, 1),
        _ => mask_plain(bytes),
    }
}

fn mask_plain(bytes: &[u8]) -> (Cow<'_, [u8]>, usize) {
    let found = find(bytes);
    if found.is_empty() {
        return (Cow::Borrowed(bytes), 0);
    }
    let mut masked = bytes.to_vec();
    for card in &found {
        let filler = filler(bytes, card);
        for place in hidden(bytes, card) {
            if let Some(byte) = masked.get_mut(place) {
                *byte = filler;
            }
        }
    }
    (Cow::Owned(masked), found.len())
}

/// UTF-16: looks at the low byte of each unit; `low` is its place in the unit.
fn mask_wide(bytes: &[u8], low: usize) -> (Cow<'_, [u8]>, usize) {
    let narrow: Vec<u8> = bytes
        .chunks_exact(2)
        .map(|unit| if unit.get(1 - low) == Some(&0) { unit.get(low).copied() } else { None })
        .map(|byte| byte.unwrap_or(0xFF))
        .collect();
    let found = find(&narrow);
    if found.is_empty() {
        return (Cow::Borrowed(bytes), 0);
    }
    let mut masked = bytes.to_vec();
    for card in &found {
        let filler = filler(&narrow, card);
        for place in hidden(&narrow, card) {
            if let Some(byte) = masked.get_mut(place * 2 + low) {
                *byte = filler;
            }
        }
    }
    (Cow::Owned(masked), found.len())
}

/// The places of the digits that are to be masked.
fn hidden(bytes: &[u8], card: &Range<usize>) -> Vec<usize> {
    let digit = |place: &usize| bytes.get(*place).is_some_and(u8::is_ascii_digit);
    let digits: Vec<usize> = card.clone().filter(digit).collect();
    let keep_from = digits.len().saturating_sub(DIGITS_KEPT);
    digits.into_iter().take(keep_from).collect()
}

/// `9` for a bare JSON number, `X` everywhere else.
fn filler(bytes: &[u8], card: &Range<usize>) -> u8 {
    let before = bytes.get(..card.start).unwrap_or_default().trim_ascii_end().last();
    let after = bytes.get(card.end..).unwrap_or_default().trim_ascii_start().first();
    let json = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    let bare =
        matches!(before, Some(b':' | b'[' | b',')) && matches!(after, Some(b',' | b']' | b'}'));
    if json && bare { b'9' } else { b'X' }
}

/// Where the card numbers are, in order, without overlaps.
fn find(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut place = 0;
    while place < bytes.len() {
        let Some(next) = bytes.get(place..).unwrap_or_default().iter().position(u8::is_ascii_digit)
        else {
            break;
        };
        let start = place + next;
        let (end, digits) = digit_run(bytes, start);
        place = end;
        if DIGITS_COUNT.contains(&digits.len())
            && stands_alone(bytes, start, end)
            && is_card_number(&digits)
            && !in_identifier_field(bytes, start)
        {
            found.push(start..end);
        }
    }
    found
}

/// The digits from `start` on, in one piece or in groups of four or more parted
/// by the same single space or hyphen; and where they end.
fn digit_run(bytes: &[u8], start: usize) -> (usize, Vec<u8>) {
    let mut digits = Vec::new();
    let mut parted_by = None;
    let mut group = 0;
    let mut end = start;
    while let Some(byte) = bytes.get(end) {
        if byte.is_ascii_digit() {
            // A longer run is no card number; do not collect all of it.
            if digits.len() < DIGITS_COUNT.end {
                digits.push(byte - b'0');
            }
            group += 1;
            end += 1;
            continue;
        }
        let parts = matches!(byte, b' ' | b'-')
            && group >= 4
            && parted_by.is_none_or(|parted_by| parted_by == byte)
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !parts {
            break;
        }
        parted_by = Some(byte);
        group = 0;
        end += 1;
    }
    (end, digits)
}

/// Not a piece of a word, a decimal, an OID or Base64.
fn stands_alone(bytes: &[u8], start: usize, end: usize) -> bool {
    let glued = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'_');
    let before = start.checked_sub(1).and_then(|place| bytes.get(place));
    let after = bytes.get(end);
    let digit_at = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_digit);
    let dotted_before = before == Some(&b'.') && start >= 2 && digit_at(start - 2);
    let dotted_after = after == Some(&b'.') && digit_at(end + 1);
    let zone_after = after == Some(&b'+') && digit_at(end + 1);
    !before.is_some_and(glued)
        && (!after.is_some_and(glued) || zone_after)
        && !dotted_before
        && !dotted_after
}

/// Length and issuer range (ISO/IEC 7812 registry), then the check digit.
fn is_card_number(digits: &[u8]) -> bool {
    let prefix = |length: usize| {
        digits.iter().take(length).fold(0_u32, |number, digit| number * 10 + u32::from(*digit))
    };
    let length = digits.len();
    let issued = match (prefix(1), prefix(2), prefix(3), prefix(4)) {
        (4, ..) => matches!(length, 13 | 16 | 19),
        (_, 34 | 37, ..) => length == 15,
        (_, 51..=55, ..) | (_, _, _, 2221..=2720) => length == 16,
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => matches!(length, 14 | 16 | 19),
        (_, _, _, 6011) | (_, _, 644..=649, _) | (_, 62 | 65, ..) | (_, _, _, 3528..=3589) => {
            (16..=19).contains(&length)
        }
        _ => false,
    };
    let varied = digits.iter().any(|digit| Some(digit) != digits.first());
    issued && varied && luhn(digits)
}

/// ISO/IEC 7812-1 annex B.
fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| u32::from(if place % 2 == 1 { doubled(*digit) } else { *digit }))
        .sum();
    sum.is_multiple_of(10)
}

/// Segment fields that hold identifiers of records, visits, orders and messages.
const IDENTIFIER_FIELDS: [(&[u8], &[usize]); 12] = [
    (b"MSH", &[9, 12]),
    (b"PID", &[2, 3, 4, 18, 20]),
    (b"MRG", &[1, 2, 3, 4, 5, 6]),
    (b"PV1", &[5, 19, 50]),
    (b"ORC", &[2, 3, 4, 8]),
    (b"OBR", &[2, 3, 26, 29]),
    (b"OBX", &[21]),
    (b"SPM", &[2, 3, 30, 31]),
    (b"TXA", &[12, 13, 14, 15, 16]),
    (b"IN1", &[36, 49]),
    (b"DG1", &[20, 22]),
    (b"NK1", &[12, 33]),
];

/// Whether `place` is in an identifier field of an HL7 v2 segment.
fn in_identifier_field(bytes: &[u8], place: usize) -> bool {
    let before = bytes.get(..place).unwrap_or_default();
    let line_start =
        before.iter().rposition(|byte| matches!(byte, b'\r' | b'\n' | 0x0B)).map_or(0, |at| at + 1);
    let line = before.get(line_start..).unwrap_or_default();
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let (Some(name), Some(separator)) = (line.get(..3), line.get(3)) else { return false };
    if !separator.is_ascii_punctuation() {
        return false;
    }
    let field = line.iter().filter(|byte| *byte == separator).count();
    IDENTIFIER_FIELDS.iter().any(|(segment, fields)| *segment == name && fields.contains(&field))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (masked, count) = mask(text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&masked), expected);
        assert_eq!(count > 0, text != expected);
    }

    #[test]
    fn numbers_of_the_big_issuers_are_masked_to_the_last_four() {
        check("card 4111111111111111 on file", "card XXXXXXXXXXXX1111 on file");
        check("5555-5555-5555-4444", "XXXX-XXXX-XXXX-4444");
        check("3782 822463 10005.", "XXXX XXXXXX X0005.");
        check("6011111111111117|", "XXXXXXXXXXXX1117|");
        check("NTE|1||2223003122003222\r", "NTE|1||XXXXXXXXXXXX3222\r");
        check("30569309025904", "XXXXXXXXXX5904");
    }

    #[test]
    fn json_stays_json() {
        check(r#"{"n":4111111111111111}"#, r#"{"n":9999999999991111}"#);
        check(r#"{"n":"4111111111111111"}"#, r#"{"n":"XXXXXXXXXXXX1111"}"#);
    }

    #[test]
    fn other_numbers_are_left_alone() {
        for text in [
            "4111111111111112",            // check digit
            "1111111111111117",            // no issuer
            "20150526123456",              // a time
            "2.16.840.1.4111111111111111", // an OID
            "x4111111111111111",           // a token
            "4111111111111111abc",         // Base64
            "41111111111111111111111",     // too long
            "0000000000000000",            // a filler
            "MSH|^~\\&|a\rPID|1||4111111111111111^^^MRN\r",
            "ORC|RE|4111111111111111|4111111111111111\r",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn utf_16_is_masked_in_its_own_units() {
        let wide =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_be_bytes).collect() };
        let (masked, count) = mask(&wide("\u{FEFF}é 4111111111111111 x")).to_owned_pair();
        assert_eq!((masked, count), (wide("\u{FEFF}é XXXXXXXXXXXX1111 x"), 1));
    }

    trait Pair {
        fn to_owned_pair(self) -> (Vec<u8>, usize);
    }
    impl Pair for (Cow<'_, [u8]>, usize) {
        fn to_owned_pair(self) -> (Vec<u8>, usize) {
            (self.0.into_owned(), self.1)
        }
    }

    proptest! {
        #[test]
        fn length_and_all_but_digits_stay(text in "[0-9 a-z|^-]{0,80}") {
            let (masked, _) = mask(text.as_bytes());
            prop_assert_eq!(masked.len(), text.len());
            for (before, after) in text.bytes().zip(masked.iter()) {
                prop_assert!(before == *after || (before.is_ascii_digit() && *after == b'X'));
            }
        }

        #[test]
        fn masking_twice_changes_nothing_more(bytes: Vec<u8>) {
            let once = mask(&bytes).0.into_owned();
            prop_assert_eq!(mask(&once).1, 0);
        }
    }
}
