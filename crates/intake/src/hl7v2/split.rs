//! Several messages in one payload: files, batches, or just one after another.

use std::borrow::Cow;

use super::charset::without_utf16;

/// The messages in `bytes`: batch and file envelopes (FHS, BHS, BTS, FTS;
/// section 2.10.3) are taken off, a new message starts with every MSH at the
/// start of a line. A message of a UTF-16 payload comes as UTF-8, all others
/// as they stand. Bytes before the first MSH that are no envelope are a message
/// of their own, so that nothing disappears; it will not parse.
pub fn split(bytes: &[u8]) -> Vec<Cow<'_, [u8]>> {
    match without_utf16(bytes) {
        Cow::Borrowed(bytes) => parts(bytes).map(Cow::Borrowed).collect(),
        Cow::Owned(bytes) => parts(&bytes).map(|part| Cow::Owned(part.to_vec())).collect(),
    }
}

fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    let mut open: Option<usize> = None;
    for (start, line) in lines(bytes) {
        let head = head(line);
        let blank = line.iter().all(|byte| byte.is_ascii_whitespace() || *byte < 0x20);
        if is_named(head, b"MSH") {
            if let Some(began) = open.replace(start) {
                starts.push(began);
                ends.push(start);
            }
        } else if [b"FHS", b"BHS", b"BTS", b"FTS"].into_iter().any(|name| is_named(head, name)) {
            if let Some(began) = open.take() {
                starts.push(began);
                ends.push(start);
            }
        } else if open.is_none() && !blank && !head.is_empty() {
            open = Some(start);
        }
    }
    if let Some(began) = open {
        starts.push(began);
        ends.push(bytes.len());
    }
    starts.into_iter().zip(ends).filter_map(|(start, end)| bytes.get(start..end))
}

/// Lines with their offsets; ends are CR, LF or both.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut offset = 0;
    bytes.split(|byte| matches!(byte, b'\r' | b'\n')).map(move |line| {
        let start = offset;
        offset += line.len() + 1;
        (start, line)
    })
}

/// A line without what may stand before a segment name.
fn head(line: &[u8]) -> &[u8] {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let lead = line.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte < 0x20).count();
    line.get(lead..).unwrap_or_default()
}

/// Whether a line is the segment `name`: its field separator is punctuation.
fn is_named(head: &[u8], name: &[u8; 3]) -> bool {
    head.strip_prefix(name.as_slice())
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_punctuation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<String> {
        split(bytes).iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect()
    }

    #[test]
    fn envelopes_are_taken_off() {
        let batch = b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|a\rPID|1\rMSH|^~\\&|b\rBTS|2\rFTS|1\r";
        assert_eq!(texts(batch), ["MSH|^~\\&|a\rPID|1\r", "MSH|^~\\&|b\r"]);
    }

    #[test]
    fn messages_without_envelope_are_told_apart() {
        assert_eq!(texts(b"\xEF\xBB\xBFMSH|^~\\&|a\n\nMSH|^~\\&|b").len(), 2);
    }

    #[test]
    fn what_is_no_message_does_not_disappear() {
        assert_eq!(texts(b"PID|1\rMSH|^~\\&|a\r"), ["PID|1\r", "MSH|^~\\&|a\r"]);
        assert!(texts(b" \r\n").is_empty());
    }

    #[test]
    fn utf_16_comes_as_utf_8() {
        let wide: Vec<u8> =
            "\u{FEFF}MSH|^~\\&|ä\rMSH|^~\\&|b".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(texts(&wide), ["MSH|^~\\&|ä\r", "MSH|^~\\&|b"]);
    }
}
