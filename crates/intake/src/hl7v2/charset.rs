//! Character sets: MSH-18 (HL7 table 0211), and what senders really send.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// How the bytes of a message stand for characters. Only sets in which no byte
/// of a longer character looks like a delimiter; others are transcoded to UTF-8
/// before a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static Encoding);

impl Charset {
    /// UTF-8.
    pub const UTF_8: Charset = Charset(UTF_8);

    /// The set's name in the Encoding Standard.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The characters of `bytes`; what cannot be read becomes U+FFFD.
    pub(super) fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        self.0.decode_without_bom_handling(bytes).0
    }
}

/// What MSH-18 asks for.
enum Declared {
    /// Nothing, or plain ASCII, which senders use as if it were "whatever".
    Nothing,
    /// A set that we know.
    Known(&'static Encoding),
    /// A set that we do not know.
    Unknown,
}

/// HL7 table 0211 to the Encoding Standard, and the spellings that occur.
fn declared(msh_18: &str) -> Declared {
    let label: String = msh_18.chars().filter(char::is_ascii_alphanumeric).collect();
    let label = label.to_ascii_uppercase();
    let known = match label.as_str() {
        "" | "ASCII" | "USASCII" | "ISOIR6" => return Declared::Nothing,
        "UNICODEUTF8" | "UTF8" | "UNICODE" => UTF_8,
        "UNICODEUTF16" | "UTF16" | "UNICODEUTF16LE" => UTF_16LE,
        "ISOIR14" | "ISOIR87" | "ISOIR159" => encoding_rs::ISO_2022_JP,
        "GB180302000" | "GB18030" => encoding_rs::GB18030,
        "KSX1001" => encoding_rs::EUC_KR,
        "BIG5" | "CNS116431992" => encoding_rs::BIG5,
        _ => {
            let digits = label.strip_prefix("88590").or_else(|| label.strip_prefix("8859"));
            let guess = match digits {
                Some(part) => Encoding::for_label(format!("iso-8859-{part}").as_bytes()),
                None => Encoding::for_label(msh_18.trim().as_bytes()),
            };
            match guess {
                Some(encoding) => encoding,
                None => return Declared::Unknown,
            }
        }
    };
    Declared::Known(known)
}

/// Whether every delimiter byte of a message in `encoding` is a delimiter.
fn is_delimiter_safe(encoding: &'static Encoding) -> bool {
    encoding == UTF_8 || (encoding.is_single_byte() && encoding.is_ascii_compatible())
}

/// `bytes` as UTF-8 when a byte-order mark or the bytes themselves say that they
/// are UTF-16; unchanged otherwise.
pub(crate) fn without_utf16(bytes: &[u8]) -> Cow<'_, [u8]> {
    let encoding = match bytes {
        [0xFF, 0xFE, ..] => UTF_16LE,
        [0xFE, 0xFF, ..] => UTF_16BE,
        [b'M' | b'F' | b'B', 0, b'S' | b'H', 0, ..] => UTF_16LE,
        [0, b'M' | b'F' | b'B', 0, b'S' | b'H', ..] => UTF_16BE,
        _ => return Cow::Borrowed(bytes),
    };
    Cow::Owned(encoding.decode_with_bom_removal(bytes).0.into_owned().into_bytes())
}

/// How the message is to be read.
pub(super) struct Reading<'a> {
    pub bytes: Cow<'a, [u8]>,
    pub charset: Charset,
    /// What is odd about it, for people.
    pub remark: Option<&'static str>,
}

/// Settles the character set of a message whose MSH-18 is `msh_18`.
pub(super) fn settle<'a>(bytes: Cow<'a, [u8]>, msh_18: &str) -> Reading<'a> {
    let utf8 = std::str::from_utf8(&bytes).is_ok();
    let (charset, remark) = match declared(msh_18) {
        Declared::Known(encoding) if is_delimiter_safe(encoding) => {
            if encoding == UTF_8 && !utf8 {
                (WINDOWS_1252, Some("declared as UTF-8 and is not; read as Windows-1252"))
            } else {
                (encoding, None)
            }
        }
        Declared::Known(encoding) if encoding == UTF_16LE || bytes.is_ascii() => (UTF_8, None),
        Declared::Known(encoding) => {
            let text = encoding.decode_without_bom_handling(&bytes).0.into_owned();
            let bytes = Cow::Owned(text.into_bytes());
            return Reading { bytes, charset: Charset(UTF_8), remark: None };
        }
        Declared::Nothing if utf8 => (UTF_8, None),
        Declared::Nothing => {
            (WINDOWS_1252, Some("no character set is declared; read as Windows-1252"))
        }
        Declared::Unknown if utf8 => (UTF_8, Some("character set unknown; read as UTF-8")),
        Declared::Unknown => (WINDOWS_1252, Some("character set unknown; read as Windows-1252")),
    };
    Reading { bytes, charset: Charset(charset), remark }
}
