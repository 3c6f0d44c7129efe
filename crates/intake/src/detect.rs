//! What a payload is, by its first bytes.

use crate::hl7v2::without_utf16;

/// A format that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// HL7 v2 in vertical-bar encoding, batches included.
    Hl7v2,
    /// A C-CDA document (XML).
    Ccda,
    /// A FHIR resource or bundle (JSON).
    Fhir,
}

/// Bytes of an XML payload in which `ClinicalDocument` must occur: comments and
/// style-sheet instructions stand before it.
const XML_HEAD_BYTES_MAX: usize = 16 * 1024;

/// The format of `bytes`, or `None` if it is none of ours. Byte-order marks,
/// MLLP framing and white space before it are passed over. Says nothing about
/// whether the payload is well formed.
pub fn detect(bytes: &[u8]) -> Option<Format> {
    let head = bytes.get(..bytes.len().min(XML_HEAD_BYTES_MAX)).unwrap_or_default();
    let head = without_utf16(head);
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&head);
    let lead = head.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0B).count();
    let head = head.get(lead..).unwrap_or_default();
    match head {
        [b'M', b'S', b'H', separator, ..] | [b'F' | b'B', b'H', b'S', separator, ..]
            if separator.is_ascii_punctuation() =>
        {
            Some(Format::Hl7v2)
        }
        [b'{', ..] => Some(Format::Fhir),
        [b'<', ..] => {
            let name = b"ClinicalDocument";
            head.windows(name.len()).any(|window| window == name).then_some(Format::Ccda)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        for (bytes, format) in [
            (b"\xEF\xBB\xBFMSH|^~\\&|".as_slice(), Some(Format::Hl7v2)),
            (b"\x0BFHS|^~\\&|", Some(Format::Hl7v2)),
            (b" \n{\"resourceType\":\"Patient\"}", Some(Format::Fhir)),
            (b"<?xml version=\"1.0\"?><!-- x --><cda:ClinicalDocument/>", Some(Format::Ccda)),
            (b"<html>", None),
            (b"%PDF-1.7", None),
            (b"MSHA", None),
            (b"", None),
        ] {
            assert_eq!(detect(bytes), format);
        }
        let wide: Vec<u8> = "\u{FEFF}MSH|^~".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(detect(&wide), Some(Format::Hl7v2));
    }
}
