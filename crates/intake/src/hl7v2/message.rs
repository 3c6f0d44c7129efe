//! A message: its header, its segments, and their bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::charset::{Charset, settle, without_utf16};
use super::part::Part;

/// Segments of one message that are read. No real message comes near; it keeps
/// the tables of a hostile one small.
const SEGMENTS_COUNT_MAX: usize = 50_000;

/// Encoding characters: MSH-1 and MSH-2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delimiters {
    /// MSH-1, mostly `|`.
    pub field: u8,
    /// Mostly `^`.
    pub component: u8,
    /// Mostly `~`.
    pub repetition: u8,
    /// Mostly `\`; `None` when the sender names none.
    pub escape: Option<u8>,
    /// Mostly `&`; `None` when the sender names none.
    pub subcomponent: Option<u8>,
    /// `#` since version 2.7, if the sender truncates.
    pub truncation: Option<u8>,
}

impl Delimiters {
    /// `|^~\&`.
    pub const STANDARD: Delimiters = Delimiters {
        field: b'|',
        component: b'^',
        repetition: b'~',
        escape: Some(b'\\'),
        subcomponent: Some(b'&'),
        truncation: None,
    };

    /// MSH-2 as these delimiters are written.
    pub fn encoding_characters(&self) -> Vec<u8> {
        let all = [Some(self.component), Some(self.repetition), self.escape, self.subcomponent];
        all.into_iter().chain([self.truncation]).flatten().collect()
    }

    /// Reads MSH-1 and MSH-2 from the bytes after `MSH`.
    fn read(after_name: &[u8]) -> Result<Self, ParseError> {
        let field = *after_name.first().ok_or(ParseError::HeaderTruncated)?;
        if field.is_ascii_alphanumeric() || field.is_ascii_whitespace() || !field.is_ascii_graphic()
        {
            return Err(ParseError::FieldSeparatorUnusable);
        }
        let rest = after_name.get(1..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == field || is_line_end(*byte));
        let characters = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        // `^~\\&`: an escape character that was itself escaped on the way.
        let unescaped;
        let characters = match characters {
            [component, repetition, b'\\', b'\\', rest @ ..] => {
                unescaped = [&[*component, *repetition, b'\\'], rest].concat();
                unescaped.as_slice()
            }
            _ => characters,
        };
        let usable = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric();
        let distinct = |(place, byte): (usize, &u8)| {
            !characters.get(..place).unwrap_or_default().contains(byte)
        };
        if characters.len() > 5
            || !characters.iter().all(usable)
            || !characters.iter().enumerate().all(distinct)
        {
            return Err(ParseError::EncodingCharactersUnusable);
        }
        let at = |place: usize| characters.get(place).copied();
        let standard = Self::STANDARD;
        let unless_taken =
            |byte: u8| (byte != field && !characters.contains(&byte)).then_some(byte);
        Ok(Self {
            field,
            component: at(0).or(unless_taken(standard.component)).unwrap_or(0),
            repetition: at(1).or(unless_taken(standard.repetition)).unwrap_or(0),
            escape: at(2).or(if characters.is_empty() { unless_taken(b'\\') } else { None }),
            subcomponent: at(3).or(if characters.is_empty() { unless_taken(b'&') } else { None }),
            truncation: at(4),
        })
    }
}

/// Why bytes cannot be read as a message at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first segment is not MSH.
    #[error("the message does not start with an MSH segment")]
    HeaderMissing,
    /// Nothing follows `MSH`.
    #[error("the message ends within its MSH segment")]
    HeaderTruncated,
    /// MSH-1 is a letter, a digit, white space or no ASCII character.
    #[error("MSH-1 is no usable field separator")]
    FieldSeparatorUnusable,
    /// MSH-2 is longer than five characters, repeats one, or has letters.
    #[error("MSH-2 has no usable encoding characters")]
    EncodingCharactersUnusable,
    /// More segments than any message has.
    #[error("the message has too many segments")]
    TooManySegments,
}

impl ParseError {
    /// Whose fault: always the sender's.
    pub fn category(self) -> holdfast_base::Category {
        holdfast_base::Category::Incorrect
    }

    /// Where it is, for the acknowledgement: MSH field, 0 for the segment.
    pub fn field(self) -> usize {
        match self {
            Self::HeaderMissing | Self::HeaderTruncated | Self::TooManySegments => 0,
            Self::FieldSeparatorUnusable => 1,
            Self::EncodingCharactersUnusable => 2,
        }
    }
}

#[derive(Debug, Clone)]
struct Span {
    /// Name and fields, without the line end.
    content: Range<usize>,
    /// Its number among the segments of the same name, from 1.
    sequence: usize,
    /// Whether lines that are no segment of their own were taken in.
    continued: bool,
}

/// A message that has been read. Borrows the bytes unless they had to be
/// transcoded (UTF-16 and sets in which delimiters are not bytes of their own).
#[derive(Clone)]
pub struct Message<'a> {
    bytes: Cow<'a, [u8]>,
    delimiters: Delimiters,
    charset: Charset,
    charset_remark: Option<&'static str>,
    spans: Vec<Span>,
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.segments().map(|segment| segment.name().to_owned()).collect();
        f.debug_struct("Message").field("segments", &names).finish_non_exhaustive()
    }
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// Whether a segment starts with `line`: three letters or digits, then a field
/// separator or the end of the line. Anything else goes on with the field
/// before, as senders do with line breaks in text.
fn starts_segment(line: &[u8], field: u8) -> bool {
    match line {
        [first, second, third, rest @ ..] => {
            let upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
            let named = first.is_ascii_alphabetic()
                && second.is_ascii_alphanumeric()
                && third.is_ascii_alphanumeric();
            let whole = first.is_ascii_uppercase() && upper(second) && upper(third);
            named && (rest.first() == Some(&field) || (whole && rest.trim_ascii().is_empty()))
        }
        _ => false,
    }
}

/// Where the header starts: after a byte-order mark, framing and white space.
fn header_offset(bytes: &[u8]) -> usize {
    let after_mark = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let lead = bytes.get(after_mark..).unwrap_or_default().iter();
    after_mark + lead.take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0B).count()
}

/// Reads one message. Any line end is understood; blank lines are passed over.
///
/// # Errors
/// [`ParseError`] when there is no usable MSH segment; nothing else is an error.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, ParseError> {
    let bytes = without_utf16(bytes);
    let start = header_offset(&bytes);
    let header = bytes.get(start..).unwrap_or_default();
    let after_name = header.strip_prefix(b"MSH").ok_or(ParseError::HeaderMissing)?;
    let delimiters = Delimiters::read(after_name)?;
    let header_end = header.iter().position(|byte| is_line_end(*byte)).unwrap_or(header.len());
    let header_line = header.get(..header_end).unwrap_or_default();
    let msh_18 = header_line.split(|byte| *byte == delimiters.field).nth(17).unwrap_or_default();
    let msh_18 = msh_18.split(|byte| *byte == delimiters.repetition).next().unwrap_or_default();
    let msh_18 = String::from_utf8_lossy(msh_18).into_owned();
    let reading = settle(bytes, &msh_18);
    let start = header_offset(&reading.bytes);
    let spans = spans(&reading.bytes, start, delimiters.field)?;
    Ok(Message {
        bytes: reading.bytes,
        delimiters,
        charset: reading.charset,
        charset_remark: reading.remark,
        spans,
    })
}

fn spans(bytes: &[u8], start: usize, field: u8) -> Result<Vec<Span>, ParseError> {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts: HashMap<&[u8], usize> = HashMap::new();
    let mut line_start = start;
    while line_start < bytes.len() {
        let rest = bytes.get(line_start..).unwrap_or_default();
        let length = rest.iter().position(|byte| is_line_end(*byte)).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        let end = line_start + length;
        // Framing bytes may be left at the end: they are no line of text.
        let blank = line.iter().all(|byte| byte.is_ascii_whitespace() || *byte < 0x20);
        if starts_segment(line, field) {
            if spans.len() == SEGMENTS_COUNT_MAX {
                return Err(ParseError::TooManySegments);
            }
            let count = counts.entry(line.get(..3).unwrap_or_default()).or_insert(0);
            *count += 1;
            let sequence = *count;
            spans.push(Span { content: line_start..end, sequence, continued: false });
        } else if !blank && let Some(last) = spans.last_mut() {
            last.content.end = end;
            last.continued = true;
        }
        line_start = end + 1;
    }
    Ok(spans)
}

impl<'a> Message<'a> {
    /// The bytes that were read (transcoded to UTF-8 if they had to be).
    pub fn render(&self) -> &[u8] {
        &self.bytes
    }

    /// The segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.spans.iter().enumerate().map(|(place, span)| Segment { message: self, place, span })
    }

    /// The segments with this name.
    pub fn segments_named<'m>(&'m self, name: &'m str) -> impl Iterator<Item = Segment<'m>> {
        self.segments().filter(move |segment| segment.name().eq_ignore_ascii_case(name))
    }

    /// The first segment with this name.
    pub fn segment<'m>(&'m self, name: &'m str) -> Option<Segment<'m>> {
        self.segments_named(name).next()
    }

    /// The encoding characters.
    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// The character set the text is read in.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// What is odd about the character set, for people.
    pub fn charset_remark(&self) -> Option<&'static str> {
        self.charset_remark
    }

    /// A field of the header, numbered as in the standard: MSH-1 is the field
    /// separator.
    pub fn header(&self, field: usize) -> Part<'_> {
        match self.segments().next() {
            Some(header) => header.field(field),
            None => Part::new(&[], &self.delimiters, self.charset),
        }
    }

    /// MSH-10.
    pub fn control_id(&self) -> Option<String> {
        self.header(10).value()
    }

    /// MSH-9.1, upper case: `ADT`.
    pub fn message_type(&self) -> Option<String> {
        self.header(9).at(1).map(|text| text.to_ascii_uppercase())
    }

    /// MSH-9.2, upper case: `A01`.
    pub fn trigger(&self) -> Option<String> {
        self.header(9).at(2).map(|text| text.to_ascii_uppercase())
    }

    /// MSH-3.1.
    pub fn sending_application(&self) -> Option<String> {
        self.header(3).at(1)
    }

    /// MSH-4.1.
    pub fn sending_facility(&self) -> Option<String> {
        self.header(4).at(1)
    }

    /// MSH-12.1: `2.5.1`.
    pub fn version(&self) -> Option<String> {
        self.header(12).at(1)
    }
}

/// One segment of a [`Message`].
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    message: &'m Message<'m>,
    place: usize,
    span: &'m Span,
}

impl std::fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({})", self.name())
    }
}

impl<'m> Segment<'m> {
    /// The name as sent: `PID`.
    pub fn name(&self) -> &'m str {
        std::str::from_utf8(self.raw().get(..3).unwrap_or_default()).unwrap_or_default()
    }

    /// The bytes, without the line end.
    pub fn raw(&self) -> &'m [u8] {
        self.message.bytes.get(self.span.content.clone()).unwrap_or_default()
    }

    /// Place in the message, from 0.
    pub fn place(&self) -> usize {
        self.place
    }

    /// Its number among the segments of the same name, from 1, as in ERR-2.2.
    pub fn sequence(&self) -> usize {
        self.span.sequence
    }

    /// Whether lines that are no segment were taken in as text.
    pub fn is_continued(&self) -> bool {
        self.span.continued
    }

    /// The field with this number, from 1, all repetitions.
    pub fn field(&self, number: usize) -> Part<'m> {
        let delimiters = &self.message.delimiters;
        let raw = self.raw();
        let header = matches!(raw, [b'M', b'S', b'H', ..] | [b'F' | b'B', b'H', b'S', ..]);
        let found = match (header, number) {
            (_, 0) => None,
            (true, 1) => raw.get(3..4),
            (true, _) => raw.split(|byte| *byte == delimiters.field).nth(number - 1),
            (false, _) => raw.split(|byte| *byte == delimiters.field).nth(number),
        };
        Part::new(found.unwrap_or_default(), delimiters, self.message.charset)
    }

    /// The first repetition of the field with this number, from 1.
    pub fn first(&self, number: usize) -> Part<'m> {
        let field = self.field(number);
        field.repetitions().next().unwrap_or(field)
    }

    /// How many fields there are.
    pub fn fields_count(&self) -> usize {
        let separator = self.message.delimiters.field;
        self.raw().iter().filter(|byte| **byte == separator).count()
    }
}
