//! XML as it comes: character sets, bounds, and how elements are looked up.
//!
//! Bounds are checked on the text before the tree is built. Document type
//! definitions are refused, so no entity can grow and nothing outside is read.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use roxmltree::ParsingOptions;

use crate::converted::Refusal;

/// An element of the document.
pub(super) type Node<'d> = roxmltree::Node<'d, 'd>;

/// Extensions that HL7's Structured Documents group added to CDA.
const SDTC: &str = "urn:hl7-org:sdtc";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Bytes of one document; the largest of the corpora has 0.4 MB, documents with
/// embedded scans some MB.
const DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Elements within elements; real documents stay below 30. Walking the tree
/// recurses, so this bounds the stack.
const DEPTH_MAX: usize = 200;
/// Children of one element: looking for one walks over the others. The longest
/// lists of the corpora have some hundreds.
const CHILDREN_COUNT_MAX: usize = 20_000;
/// Attributes of one element: the parser compares each with the others.
const ATTRIBUTES_COUNT_MAX: usize = 64;
/// Elements and texts of one document.
const NODES_COUNT_MAX: u32 = 4_000_000;
/// Where an XML declaration ends at the latest.
const DECLARATION_BYTES_MAX: usize = 256;

const WHAT: &str = "C-CDA document";

/// The characters of a document, by its byte-order mark, its declaration, or as
/// UTF-8. Text that is not what it says is read as Windows-1252, and told.
pub(super) fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Option<&'static str>), Refusal> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(Refusal::TooLarge { what: "size of the document", bound: DOCUMENT_BYTES_MAX });
    }
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        let rest = bytes.get(length..).unwrap_or_default();
        return Ok((encoding.decode_without_bom_handling(rest).0, None));
    }
    match bytes {
        [0, b'<', ..] => return Ok((UTF_16BE.decode_without_bom_handling(bytes).0, None)),
        [b'<', 0, ..] => return Ok((UTF_16LE.decode_without_bom_handling(bytes).0, None)),
        _ => {}
    }
    let declared = match declared_encoding(bytes) {
        None => UTF_8,
        Some(label) => Encoding::for_label(label.as_bytes())
            .ok_or(Refusal::Unsupported { what: "character set" })?,
    };
    // A declaration that can be read as ASCII is not in UTF-16.
    let declared = if declared == UTF_16LE || declared == UTF_16BE { UTF_8 } else { declared };
    match declared.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok((text, None)),
        None => {
            let remark = "the document is not in the character set that it names; \
                          read as Windows-1252";
            Ok((WINDOWS_1252.decode_without_bom_handling(bytes).0, Some(remark)))
        }
    }
}

/// `encoding="…"` of the XML declaration.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..bytes.len().min(DECLARATION_BYTES_MAX))?;
    let head = String::from_utf8_lossy(head);
    let head = head.trim_start().strip_prefix("<?xml")?;
    let declaration = head.split_once("?>")?.0;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value.get(1..)?.split_once(quote).map(|(label, _)| label.trim().to_owned())
}

/// The tree of a document whose bounds are kept.
pub(super) fn parse(text: &str) -> Result<roxmltree::Document<'_>, Refusal> {
    let text = text.trim_start();
    check_bounds(text)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: NODES_COUNT_MAX,
        ..ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(text, options).map_err(|error| {
        let place = error.pos();
        Refusal::Malformed {
            what: WHAT,
            place: format!("line {}, column {}", place.row, place.col),
        }
    })
}

/// Walks over the markup without building anything.
fn check_bounds(text: &str) -> Result<(), Refusal> {
    // Children counted so far, of each open element.
    let mut open: Vec<usize> = vec![0];
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = rest.get(start..).unwrap_or_default();
        let skip = |end: &str| rest.find(end).and_then(|at| rest.get(at + end.len()..));
        // What does not end is for the parser to refuse.
        let after = if rest.starts_with("<!--") {
            skip("-->")
        } else if rest.starts_with("<![CDATA[") {
            skip("]]>")
        } else if rest.starts_with("<?") {
            skip("?>")
        } else if rest.starts_with("<!") {
            return Err(Refusal::Unsupported { what: "document type definition" });
        } else {
            let tag = tag(rest)?;
            if rest.starts_with("</") {
                open.pop();
            } else {
                if let Some(count) = open.last_mut() {
                    *count += 1;
                    if *count > CHILDREN_COUNT_MAX {
                        let what = "number of elements in one";
                        return Err(Refusal::TooLarge { what, bound: CHILDREN_COUNT_MAX });
                    }
                }
                if !rest.get(..tag).is_some_and(|tag| tag.ends_with("/>")) {
                    open.push(0);
                    if open.len() > DEPTH_MAX {
                        let what = "depth of elements";
                        return Err(Refusal::TooLarge { what, bound: DEPTH_MAX });
                    }
                }
            }
            rest.get(tag..)
        };
        let Some(after) = after else { return Ok(()) };
        rest = after;
    }
    Ok(())
}

/// Length of the tag that starts `text`, with its `>`.
fn tag(text: &str) -> Result<usize, Refusal> {
    let mut quote = None;
    let mut attributes_count = 0;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Ok(at + 1),
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                attributes_count += 1;
                if attributes_count > ATTRIBUTES_COUNT_MAX {
                    let what = "number of attributes";
                    return Err(Refusal::TooLarge { what, bound: ATTRIBUTES_COUNT_MAX });
                }
            }
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    Ok(text.len())
}

/// Looking up elements by their names. Senders leave namespaces out or use
/// prefixes; only HL7's extensions are told apart by theirs.
pub(super) trait Lookup<'d>: Sized {
    /// The child elements of this name, extensions excluded.
    fn all(&self, name: &str) -> impl Iterator<Item = Node<'d>>;
    /// The first child element of this name, extensions excluded.
    fn child(&self, name: &str) -> Option<Node<'d>>;
    /// The first child along a path of names.
    fn path(&self, names: &[&str]) -> Option<Node<'d>>;
    /// The child elements of this name that HL7 added to CDA (`sdtc:`).
    fn extensions(&self, name: &str) -> impl Iterator<Item = Node<'d>>;
    /// An attribute that says something, without white space around.
    fn attr(&self, name: &str) -> Option<&'d str>;
    /// `xsi:type`, without prefix.
    fn type_name(&self) -> Option<&'d str>;
    /// `@nullFlavor`.
    fn null_flavor(&self) -> Option<&'d str>;
    /// Whether the element claims the template `root`, whatever version.
    fn is_template(&self, root: &str) -> bool;
    /// `code/@code`.
    fn code(&self) -> Option<&'d str>;
    /// What the statement is linked to: `entryRelationship` children of this
    /// type (any, when empty), and the statement within.
    fn related(&self, type_code: &str) -> impl Iterator<Item = Node<'d>>;
    /// `@negationInd`.
    fn is_negated(&self) -> bool;
}

impl<'d> Lookup<'d> for Node<'d> {
    fn all(&self, name: &str) -> impl Iterator<Item = Node<'d>> {
        self.children().filter(move |child| {
            child.is_element()
                && child.tag_name().name() == name
                && child.tag_name().namespace() != Some(SDTC)
        })
    }

    fn child(&self, name: &str) -> Option<Node<'d>> {
        self.all(name).next()
    }

    fn path(&self, names: &[&str]) -> Option<Node<'d>> {
        names.iter().try_fold(*self, |node, name| node.child(name))
    }

    fn extensions(&self, name: &str) -> impl Iterator<Item = Node<'d>> {
        self.children().filter(move |child| {
            child.is_element()
                && child.tag_name().name() == name
                && child.tag_name().namespace() == Some(SDTC)
        })
    }

    fn attr(&self, name: &str) -> Option<&'d str> {
        self.attribute(name).map(str::trim).filter(|text| !text.is_empty())
    }

    fn type_name(&self) -> Option<&'d str> {
        let name = self.attribute((XSI, "type"))?.trim();
        Some(name.rsplit(':').next().unwrap_or(name))
    }

    fn null_flavor(&self) -> Option<&'d str> {
        self.attr("nullFlavor")
    }

    fn is_template(&self, root: &str) -> bool {
        self.all("templateId").any(|template| template.attr("root") == Some(root))
    }

    fn code(&self) -> Option<&'d str> {
        self.child("code")?.attr("code")
    }

    fn related(&self, type_code: &str) -> impl Iterator<Item = Node<'d>> {
        let links = self
            .all("entryRelationship")
            .filter(move |link| type_code.is_empty() || link.attr("typeCode") == Some(type_code));
        links.filter_map(|link| link.children().find(|child| is_statement(*child)))
    }

    fn is_negated(&self) -> bool {
        matches!(self.attr("negationInd"), Some("true" | "1"))
    }
}

/// Whether an element is a clinical statement.
pub(super) fn is_statement(node: Node<'_>) -> bool {
    node.is_element()
        && matches!(
            node.tag_name().name(),
            "act"
                | "encounter"
                | "observation"
                | "observationMedia"
                | "organizer"
                | "procedure"
                | "regionOfInterest"
                | "substanceAdministration"
                | "supply"
        )
}

/// `section[2]/entry[3]/observation`: the way to an element, without values.
pub(super) fn place(node: Node<'_>) -> String {
    let mut steps = Vec::new();
    let mut at = Some(node);
    while let Some(node) = at.filter(|node| node.is_element()) {
        let name = node.tag_name().name();
        let before = node
            .prev_siblings()
            .skip(1)
            .filter(|other| other.is_element() && other.tag_name().name() == name)
            .count();
        let safe: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        steps.push(if before == 0 { safe } else { format!("{safe}[{}]", before + 1) });
        at = node.parent();
    }
    steps.reverse();
    format!("/{}", steps.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_the_set_that_they_name() {
        let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xE9</a>";
        assert!(decode(latin).expect("readable").0.contains('\u{E9}'));
        let wide: Vec<u8> =
            "\u{FEFF}<a>\u{E9}</a>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&wide).expect("readable").0, "<a>\u{E9}</a>");
        let (text, remark) = decode(b"<a>\xE9</a>").expect("readable");
        assert!(text.contains('\u{E9}') && remark.is_some());
        assert!(decode(b"<?xml version='1.0' encoding='klingon'?><a/>").is_err());
    }

    #[test]
    fn what_could_exhaust_us_is_refused_before_the_tree_is_built() {
        let deep = "<a>".repeat(DEPTH_MAX + 1);
        assert!(matches!(parse(&deep), Err(Refusal::TooLarge { what: "depth of elements", .. })));
        let wide = format!("<a {}/>", "b='' ".repeat(ATTRIBUTES_COUNT_MAX + 1));
        assert!(matches!(parse(&wide), Err(Refusal::TooLarge { .. })));
        let bomb = "<!DOCTYPE a [<!ENTITY b \"x\">]><a>&b;</a>";
        assert!(matches!(parse(bomb), Err(Refusal::Unsupported { .. })));
        assert!(matches!(parse("<a><b></a>"), Err(Refusal::Malformed { .. })));
        let long = format!("<a>{}</a>", "<b/>".repeat(CHILDREN_COUNT_MAX + 1));
        assert!(matches!(parse(&long), Err(Refusal::TooLarge { .. })));
        let fine = format!("<a>{}<!-- <b> --><![CDATA[<b>]]></a>", "<b/>".repeat(DEPTH_MAX * 2));
        assert!(parse(&fine).is_ok());
    }
}
